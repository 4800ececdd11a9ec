"""Masks made of others, as people write them: ``dilate(CD3 & MHCII, 3)``.

It knows names, ``&``, ``|``, ``~``, brackets and ``dilate(term, n)``, and nothing else: a text is
taken apart by Python's grammar, but never run. A name that is no Python name stands in quotes.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dpipe.errors import UsageError, unknown
from dpipe.expressions import Unread, tree
from dpipe.operators.pictures.dilation import dilated

_LONGEST, _WIDEST = 1000, 100


@dataclass(frozen=True)
class Term:
    """A mask that is made of others.

    Attributes
    ----------
    what : {"bit", "and", "or", "not", "dilate"}
        How.
    number : int
        The bit of a mask in the code, or the radius of a dilation in pixels.
    terms : tuple of Term
        Of what.
    """

    what: str
    number: int = 0
    terms: tuple["Term", ...] = ()

    def __call__(self, code: Any) -> Any:
        """Return the mask (y, x) from the mask code of a picture."""
        if self.what == "bit":
            return (code & (1 << self.number)) != 0
        masks = [term(code) for term in self.terms]
        if self.what == "not":
            return ~masks[0]
        if self.what == "dilate":
            return dilated(masks[0], self.number)
        return masks[0] & masks[1] if self.what == "and" else masks[0] | masks[1]


def parse(text: Any, names: Sequence[str]) -> Term:
    """Read a term.

    Parameters
    ----------
    text : str
        For example ``"dilate(CD3 & 'P-CD3zeta', 3)"``.
    names : sequence of str
        What the bits of the mask code are called, from the lowest.

    Returns
    -------
    Term
        What it means.

    Raises
    ------
    UsageError
        It cannot be read, names an unknown mask, or says something else than these few words.

    Examples
    --------
    >>> parse("CD3 & ~'Live/Dead'", ["CD3", "Live/Dead"]).terms[1].terms[0].number
    1
    """
    if not isinstance(text, str) or not text.strip() or len(text) > _LONGEST:
        raise UsageError(f"mask: found {str(text)[:60]!r}; expected a text such as 'CD3 & MHCII'")
    plain = " ".join(text.splitlines()).strip()
    try:
        parsed = tree(plain)
    except Unread as error:
        tail = "" if error.at is None else plain[error.at :]
        where = f" at {tail[:30]!r}" if tail else ""
        raise UsageError(
            f"mask {_said(plain)}: cannot be read ({error.why}{where}); {_ALLOWED}{_QUOTES}"
        ) from None
    return _Reader(plain, names).term(parsed)


def _said(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:80]}...")


_ALLOWED = "expected names of masks, &, |, ~, brackets and dilate(mask, pixels)"
_QUOTES = "; a name with other signs than letters, digits and _ stands in quotes"


@dataclass(frozen=True)
class _Reader:
    text: str
    names: Sequence[str]

    def term(self, node: ast.AST) -> Term:
        match node:
            case ast.Name(id=name) | ast.Constant(value=str(name)):
                return self.named(name)
            case ast.UnaryOp(op=ast.Invert(), operand=inner):
                return Term("not", 0, (self.term(inner),))
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() as op, right=right):
                operands = (self.term(left), self.term(right))
                return Term("and" if isinstance(op, ast.BitAnd) else "or", 0, operands)
            case ast.Call(
                func=ast.Name(id="dilate"), args=[inner, ast.Constant(value=n)], keywords=[]
            ):
                if type(n) is not int or not 0 <= n <= _WIDEST:
                    raise UsageError(
                        f"mask {_said(self.text)}: dilate by {n!r}; expected 0 to {_WIDEST} pixels"
                    )
                return Term("dilate", n, (self.term(inner),))
        source = ast.unparse(node)[:60]
        hint = _QUOTES if isinstance(node, ast.BinOp) else ""
        raise UsageError(f"mask {_said(self.text)}: found {source}; {_ALLOWED}{hint}")

    def named(self, name: str) -> Term:
        if name not in self.names:
            raise UsageError(f"mask {_said(self.text)}: {unknown('mask', name, self.names)}")
        return Term("bit", list(self.names).index(name))
