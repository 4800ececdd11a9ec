"""Expressions over what is known of rows, as people write gates: parsed, checked, computed.

Rows are records, events, spots, tracks, surfaces, movies: whatever a table has one of a line.

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

from dpipe.errors import SchemaError, UsageError
from dpipe.expressions.grammar import Unread, tree

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
_AXES = frozenset(
    "t c z y x name gate_name block value place slot vertex face corner person rater other "
    "label_group channel_number channel mask_name matrix".split()
)
"""Dims that are no rows: nobody chooses among these by what is known of each."""


def row_dims(ds: xr.Dataset) -> list[str]:
    """Return the dims of a Dataset that are rows, such as ``record``, ``event`` or ``spot``.

    Examples
    --------
    >>> row_dims(xr.Dataset({"crop": (("event", "t"), [[1, 2]]), "spot_x": ("spot", [1.0])}))
    ['event', 'spot']
    """
    return [str(dim) for dim in ds.dims if dim not in _AXES]


def row_dim(text: str, ds: xr.Dataset, *beside: xr.Dataset) -> str:
    """Return the dim along which an expression chooses: that of the names in it.

    Parameters
    ----------
    text : str
        The expression.
    ds : xarray.Dataset
        Whose rows are chosen.
    *beside : xarray.Dataset
        Where further names are.

    Returns
    -------
    str
        Such as ``"record"`` or ``"event"``.

    Raises
    ------
    SchemaError
        There are no rows.
    UsageError
        The expression cannot be read, or has names of rows of two kinds.

    Examples
    --------
    >>> ds = xr.Dataset(coords={"label": ("event", [0, 1]), "track": ("spot", [7])})
    >>> row_dim("label == 1", ds), row_dim("track >= 0", ds)
    ('event', 'spot')
    """
    parsed, quoted = _parsed(text)
    rows = row_dims(ds)
    if not rows:
        found = ", ".join(map(str, ds.dims)) or "none"
        raise SchemaError(
            f"where={text!r} chooses records; found the dims {found}: no records, events, spots, "
            "tracks or other rows"
        )
    over: dict[str, str] = {}
    for node in ast.walk(parsed):
        if isinstance(node, ast.Name):
            name = quoted.get(node.id, node.id)
            known = [held.variables[name] for held in (ds, *beside) if name in held.variables]
            if known and known[0].dims and known[0].dims[0] in rows:
                over.setdefault(str(known[0].dims[0]), name)
    if len(over) > 1:
        said = ", ".join(f"{name} is of each {dim}" for dim, name in over.items())
        raise UsageError(f"{_said(text)}: {said}; choose among one of them at a time")
    return next(iter(over), "record" if "record" in rows else rows[0])


def evaluate(
    text: str,
    ds: xr.Dataset,
    more: Mapping[str, xr.DataArray] | None = None,
    dim: str = "record",
) -> Any:
    """Compute an expression for each row, lazily where its names are.

    Parameters
    ----------
    text : str
        The expression.
    ds : xarray.Dataset
        Names are looked for among `more`, then the variables and coordinates over `dim`, the
        gates (``gate(record, gate_name)``), the features (``feature(record, name)``), and what
        is known of the whole part, such as ``organ``.
    more : mapping of str to xarray.DataArray, optional
        Further names, over `dim`.
    dim : str
        The rows.

    Returns
    -------
    xarray.DataArray
        Over `dim`, boolean. Comparisons with NaN are false, but for ``!=`` and ``not in``; dividing
        by 0 gives NaN.

    Raises
    ------
    UsageError
        No expression, one that could not be true or false of a row, or an unknown name.

    Examples
    --------
    >>> ds = xr.Dataset({"feature": (("record", "name"), [[1.0], [7.0]])}, {"name": ["area-1"]})
    >>> ds = ds.assign_coords(donor=("record", ["a", "b"]))
    >>> evaluate("`area-1` * 2 > 4 and donor in ('a', 'b')", ds).values.tolist()
    [False, True]
    """
    parsed, quoted = _parsed(text)
    found = _Walk(text, _Names(ds, more or {}, dim), quoted).value(parsed)
    if not isinstance(found, xr.DataArray) or found.dtype != bool:
        raise UsageError(f"{_said(text)}: not true or false of each {dim}; compare something")
    return found if found.dims else found.expand_dims({dim: ds.sizes[dim]})


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
    """What may be named: variables over rows, gates, features, and what a part is."""

    def __init__(self, ds: xr.Dataset, more: Mapping[str, xr.DataArray], dim: str) -> None:
        self.plain = {str(n): v for n, v in ds.variables.items() if v.dims == (dim,)}
        self.whole = {str(n): v for n, v in ds.variables.items() if not v.dims}
        self.ds, self.more, self.dim = ds, more, dim
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
        if name in self.whole and name not in self.features:
            return xr.DataArray(self.whole[name])
        found = self.ds.variables.get(name)
        if found is not None and name not in self.features:
            dims = ", ".join(map(str, found.dims))
            raise UsageError(f"{name!r} is over ({dims}); expected one value of each {self.dim}")
        return self.feature(name, sorted({*self.more, *self.plain, *self.gates, *self.whole}))

    def feature(self, name: str, others: Sequence[str] = ()) -> xr.DataArray:
        if name not in self.features:
            near = difflib.get_close_matches(name, [*others, *self.features], n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            features = [f"{len(self.features)} features"] if self.dim == "record" else []
            known = ", ".join([*features, *others]) or "none"
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
            raise self.refuse(node, f"is neither true nor false of a {self.names.dim}; compare it")
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
