"""Masks made of others, as people write them: ``dilate(CD3 & MHCII, 3)``.

It knows names, ``&``, ``|``, ``~``, brackets and ``dilate(term, n)``, and nothing else: a text is
taken apart by Python's grammar, but never run. A name that is no Python name stands in quotes.
"""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dpipe.errors import UsageError, unknown
from dpipe.operators._dilation import dilated

_LONGEST, _DEEPEST, _WIDEST = 1000, 30, 100


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


def parse(text: Any, names: Sequence[str], derived: Mapping[str, Term] | None = None) -> Term:
    """Read a term.

    Parameters
    ----------
    text : str
        For example ``"dilate(CD3 & 'P-CD3zeta', 3)"``.
    names : sequence of str
        What the bits of the mask code are called, from the lowest.
    derived : mapping of str to Term, optional
        Further masks that it may name.

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
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        told = error.msg if isinstance(error, SyntaxError) else "too deep"
        raise UsageError(f"mask {text!r}: cannot be read ({told}); {_ALLOWED}") from None
    return _Reader(text, names, derived or {}).term(tree.body, 0)


_ALLOWED = "expected names of masks, &, |, ~, brackets and dilate(mask, pixels)"


@dataclass(frozen=True)
class _Reader:
    text: str
    names: Sequence[str]
    derived: Mapping[str, Term]

    def term(self, node: ast.AST, depth: int) -> Term:
        if depth > _DEEPEST:
            raise UsageError(f"mask {self.text[:60]!r}: more than {_DEEPEST} terms in one another")
        match node:
            case ast.Name(id=name) | ast.Constant(value=str(name)):
                return self.named(name)
            case ast.UnaryOp(op=ast.Invert(), operand=inner):
                return Term("not", 0, (self.term(inner, depth + 1),))
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() as op, right=right):
                both = (self.term(left, depth + 1), self.term(right, depth + 1))
                return Term("and" if isinstance(op, ast.BitAnd) else "or", 0, both)
            case ast.Call(
                func=ast.Name(id="dilate"), args=[inner, ast.Constant(value=n)], keywords=[]
            ):
                if type(n) is not int or not 0 <= n <= _WIDEST:
                    raise UsageError(
                        f"mask {self.text!r}: dilate by {n!r}; expected 0 to {_WIDEST} pixels"
                    )
                return Term("dilate", n, (self.term(inner, depth + 1),))
        found = ast.unparse(node)[:60]
        hint = ""
        if isinstance(node, ast.BinOp):
            hint = "; a name with other signs than letters, digits and _ stands in quotes"
        raise UsageError(f"mask {self.text!r}: found {found}; {_ALLOWED}{hint}")

    def named(self, name: str) -> Term:
        if name in self.derived:
            return self.derived[name]
        if name not in self.names:
            known = [*self.names, *self.derived]
            raise UsageError(f"mask {self.text!r}: {unknown('mask', name, known)}")
        return Term("bit", list(self.names).index(name))
