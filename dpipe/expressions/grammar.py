"""Texts that people write, taken apart by Python's grammar: they are read, never run.

It knows how deep a text may go and where it cannot be read. It does not know what it means.
"""

import ast
import re
import warnings
from dataclasses import dataclass

_DEEPEST = 100
_COMMENT = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|(#)")


@dataclass
class Unread(Exception):
    """A text is no expression: why, and from which character on."""

    why: str
    at: int | None = None


def tree(text: str) -> ast.expr:
    """Return the tree of an expression.

    Raises
    ------
    Unread
        It is none, or so many terms stand in one another that walking it is not safe.

    Examples
    --------
    >>> type(tree("a & b")).__name__
    'BinOp'
    """
    for sign in _COMMENT.finditer(text):
        if sign[1]:  # Python would not read on
            raise Unread("# begins a comment", sign.start())
    try:
        with warnings.catch_warnings(action="error"):  # such as of 1or 2
            found = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        place = getattr(error, "offset", None)
        raise Unread(
            getattr(error, "msg", None) or "too deep", place - 1 if place else None
        ) from error
    for node in ast.walk(found):
        if isinstance(node, ast.Name):  # as it was written: Python takes µ for another letter
            node.id = ast.get_source_segment(text, node) or node.id
    level: list[ast.AST] = [found]
    for _ in range(_DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return found
    raise Unread(f"more than {_DEEPEST} terms in one another")
