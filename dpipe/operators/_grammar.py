"""Texts that people write, taken apart by Python's grammar: they are read, never run.

It knows how deep a text may go and where it cannot be read. It does not know what it means.
"""

import ast
from dataclasses import dataclass

_DEEPEST = 100


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
    try:
        found = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        place = getattr(error, "offset", None)
        raise Unread(
            getattr(error, "msg", None) or "too deep", place - 1 if place else None
        ) from error
    level: list[ast.AST] = [found]
    for _ in range(_DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return found
    raise Unread(f"more than {_DEEPEST} terms in one another")
