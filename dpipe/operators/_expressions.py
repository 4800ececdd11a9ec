"""Expressions over what is known of records, as people write gates: parsed, checked, computed.

``mask_based_area_Ch1 < 900 and condition == '+SEA'`` is parsed by Python's ``ast`` and walked
here; nothing is ever run. Known are names, numbers, texts, comparisons (also ``in``), ``and``,
``or``, ``not``, ``+ - * / // %`` and ``abs``. A name with odd characters stands in backticks, or
in ``feature("...")``.
"""

import ast
import difflib
import functools
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import xarray as xr

from dpipe.errors import UsageError
from dpipe.operators._grammar import Unread, tree

_LONGEST = 4000
_QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|`([^`\n]+)`")
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_JOIN = {ast.And: operator.and_, ast.Or: operator.or_}
_ALLOWED = "names, numbers, texts, comparisons, in, and, or, not, + - * / // %, abs, feature(...)"


def evaluate(text: str, ds: xr.Dataset, more: Mapping[str, xr.DataArray] | None = None) -> Any:
    """Compute an expression for each record, lazily where its names are.

    Parameters
    ----------
    text : str
        The expression.
    ds : xarray.Dataset
        Names are looked for among `more`, then the variables and coordinates over ``record``,
        the gates (``gate(record, gate_name)``), and the features (``feature(record, name)``).
    more : mapping of str to xarray.DataArray, optional
        Further names, over ``record``.

    Returns
    -------
    xarray.DataArray
        (record), boolean. Comparisons with NaN are false, but for ``!=`` and ``not in``; dividing
        by 0 gives NaN.

    Raises
    ------
    UsageError
        No expression, one that could not be true or false of a record, or an unknown name.

    Examples
    --------
    >>> ds = xr.Dataset({"feature": (("record", "name"), [[1.0], [7.0]])}, {"name": ["area-1"]})
    >>> ds = ds.assign_coords(donor=("record", ["a", "b"]))
    >>> evaluate("`area-1` * 2 > 4 and donor in ('a', 'b')", ds).values.tolist()
    [False, True]
    """
    parsed, quoted = _parsed(text)
    found = _Walk(text, _Names(ds, more or {}), quoted).value(parsed)
    if not isinstance(found, xr.DataArray) or found.dtype != bool:
        raise UsageError(f"{_said(text)}: not true or false of each record; compare something")
    return found


def _said(text: str) -> str:
    shown = " ".join(text.split())
    return f"expression {shown[:80] + '...' if len(shown) > 80 else shown!r}"


def _parsed(text: object) -> tuple[ast.expr, dict[str, str]]:
    """Return the tree of an expression, and what its names in backticks stand for."""
    if not isinstance(text, str) or not text.strip() or len(text) > _LONGEST:
        raise UsageError(
            f"expression: found {str(text)[:80]!r}; expected a text of up to {_LONGEST} characters"
        )
    quoted: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0]
        quoted[f"_quoted_{len(quoted)}"] = found[1]
        return f"_quoted_{len(quoted) - 1}"

    plain = " ".join(_QUOTED.sub(name, text).splitlines()).strip()
    try:
        return tree(plain), quoted
    except Unread as error:
        rest = "" if error.at is None else _shown(plain[error.at :], quoted)
        at = f" at {rest[:30]!r}" if rest else ""
        raise UsageError(
            f"{_said(text)}: cannot be read ({error.why}{at}); expected {_ALLOWED}; a name with "
            "other characters than letters, digits and _ stands in backticks"
        ) from error


def _shown(part: str, quoted: Mapping[str, str]) -> str:
    """Return a piece of an expression with its names in backticks again."""
    return re.sub(r"_quoted_\d+", lambda found: f"`{quoted.get(found[0], found[0])}`", part)


class _Names:
    """What may be named: variables over records, gates and features."""

    def __init__(self, ds: xr.Dataset, more: Mapping[str, xr.DataArray]) -> None:
        self.plain = {str(n): v for n, v in ds.variables.items() if v.dims == ("record",)}
        self.ds, self.more = ds, more
        self.gates = self._labels("gate", "gate_name")
        self.features = self._labels("feature", "name")

    def _labels(self, variable: str, dim: str) -> dict[str, int]:
        if variable not in self.ds or self.ds[variable].dims != ("record", dim):
            return {}
        labels = self.ds[dim].values if dim in self.ds.coords else ()
        return {str(label): i for i, label in enumerate(labels)}

    def get(self, name: str) -> xr.DataArray:
        if name in self.more:
            return self.more[name]
        if name in self.plain:
            return xr.DataArray(self.plain[name])
        if name in self.gates:
            return xr.DataArray(self.ds["gate"].variable.isel(gate_name=self.gates[name]))
        return self.feature(name, sorted({*self.more, *self.plain, *self.gates}))

    def feature(self, name: str, others: Sequence[str] = ()) -> xr.DataArray:
        if name not in self.features:
            near = difflib.get_close_matches(name, [*others, *self.features], n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            known = ", ".join([f"{len(self.features)} features", *others])
            raise UsageError(f"unknown name {name!r}{hint} Known: {known}")
        return xr.DataArray(self.ds["feature"].variable.isel(name=self.features[name]))


class _Walk:
    """Walks the tree of one expression."""

    def __init__(self, text: str, names: _Names, quoted: Mapping[str, str]) -> None:
        self.text, self.names, self.quoted = text, names, quoted

    def refuse(self, node: ast.AST, why: str) -> UsageError:
        part = _shown(ast.unparse(node), self.quoted)
        return UsageError(f"{_said(self.text)}: {part[:60]!r} {why}")

    def value(self, node: ast.expr) -> Any:
        walk = {
            ast.Constant: self._constant,
            ast.Name: lambda node: self.names.get(self.quoted.get(node.id, node.id)),
            ast.Compare: self._compare,
            ast.BoolOp: self._joined,
            ast.UnaryOp: self._signed,
            ast.BinOp: self._arithmetic,
            ast.Call: self._call,
        }.get(type(node), self._refused)
        return walk(node)

    def _refused(self, node: ast.expr) -> Any:
        raise self.refuse(node, f"is not allowed; expected {_ALLOWED}")

    def _constant(self, node: Any) -> Any:
        given = node.value
        if type(given) not in (int, float, str) or (type(given) is int and given >= 1 << 63):
            self._refused(node)
        return given

    def _joined(self, node: Any) -> Any:
        return functools.reduce(_JOIN[type(node.op)], [self._truth(each) for each in node.values])

    def _signed(self, node: Any) -> Any:
        if isinstance(node.op, ast.Not):
            return ~self._truth(node.operand)
        if isinstance(node.op, ast.USub):
            return -self._number(node.operand)
        return self._refused(node)

    def _call(self, node: Any) -> Any:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if len(node.args) == 1 and not node.keywords:
            (given,) = node.args
            if name == "abs":
                return abs(self._number(given))
            if name == "feature" and isinstance(given, ast.Constant):
                return self.names.feature(str(given.value))
        raise self.refuse(node, "is not allowed; there are abs(number) and feature('name')")

    def _truth(self, node: ast.expr) -> xr.DataArray:
        found = self.value(node)
        if not isinstance(found, xr.DataArray) or found.dtype != bool:
            raise self.refuse(node, "is neither true nor false of a record; compare it")
        return found

    def _number(self, node: ast.expr) -> Any:
        found = self.value(node)
        if _kind(found) != "a number":
            raise self.refuse(node, f"is {_kind(found)}; expected a number")
        if not isinstance(found, xr.DataArray):
            return float(found)  # else a product of whole numbers may be larger than any float
        return found.astype(float) if found.dtype.kind in "iu" else found

    def _arithmetic(self, node: Any) -> Any:
        if type(node.op) not in _ARITHMETIC:
            self._refused(node)
        left, right = self._number(node.left), self._number(node.right)
        if isinstance(node.op, ast.Div | ast.FloorDiv | ast.Mod):
            if isinstance(right, xr.DataArray):
                right = right.where(right != 0)
            elif right == 0:
                raise self.refuse(node, "divides by 0")
        return _ARITHMETIC[type(node.op)](left, right)

    def _compare(self, node: Any) -> Any:
        """Compare; ``1 < x < 2`` means both."""
        whole: Any = None
        pairs = zip([node.left, *node.comparators], node.comparators, node.ops, strict=False)
        for first, second, how in pairs:
            left = self.value(first)
            if isinstance(how, ast.In | ast.NotIn):
                found = self._among(left, second)
                found = ~found if isinstance(how, ast.NotIn) else found
            elif type(how) in _COMPARE:
                right = self.value(second)
                if _kind(left) != _kind(right):
                    raise self.refuse(node, f"compares {_kind(left)} with {_kind(right)}")
                found = _COMPARE[type(how)](left, right)
            else:
                raise self.refuse(node, "is not allowed; compare with < <= > >= == != in")
            whole = found if whole is None else whole & found
        return whole

    def _among(self, left: Any, node: ast.expr) -> Any:
        listed = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else None
        values = [self.value(each) for each in listed] if listed else []
        if not values or not isinstance(left, xr.DataArray):
            raise self.refuse(node, "is no list to look into; expected ('a', 'b', ...)")
        if odd := [v for v in values if isinstance(v, xr.DataArray) or _kind(v) != _kind(left)]:
            raise self.refuse(node, f"holds {_kind(odd[0])}; expected {_kind(left)} alone")
        return left.isin(values)


def _kind(value: Any) -> str:
    if isinstance(value, xr.DataArray):
        letter = value.dtype.kind
        known = {"b": "true or false", "M": "a date", "m": "a time"}
        return known.get(letter, "a text" if letter in "UOST" else "a number")
    return "a text" if isinstance(value, str) else "a number"
