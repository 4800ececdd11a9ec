"""Lineage of a Dataset in memory: the part that it is, or the operator and parts it is made of.

``open`` notes for each array that it gives of which part it is, ``each`` what made it; ``save``
asks. The note hangs on the array itself, so whatever else was done with it since, a selection or a
sum, has none: nothing is claimed of what was changed by hand.
"""

import weakref
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from dpipe import catalog, operators
from dpipe.build import parameters
from dpipe.build.parameters import Params
from dpipe.storage import Json

_ATTRIBUTE = "_dpipe_made"
_arrays: dict[int, tuple[weakref.ref[np.ndarray], int, Any]] = {}


@dataclass(frozen=True)
class Input:
    """A sealed part as a version names it."""

    label: str
    stem: str
    base: str
    seal: str


@dataclass(frozen=True)
class Call:
    """The call of an operator that made a Dataset.

    Attributes
    ----------
    operator : str
        Its name in recipes, or ``module:function``.
    version : int
        Its version.
    params : dict
        Its parameters.
    code : str
        Digest of a user's own code.
    inputs : dict of str to tuple of Input
        By parameter, the parts it was made of, as far as they are known.
    """

    operator: str
    version: int
    params: Params
    code: str = ""
    inputs: dict[str, tuple[Input, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, operator: Callable[..., Any] | str, params: Mapping[str, Any]) -> "Call | None":
        """Return the call of an operator; None for a function that nobody could import."""
        name = operator if isinstance(operator, str) else _name_of(operator)
        if not name:
            return None
        try:
            entry = operators.resolve(name)
            roles = {role for role, _ in operators.inputs(entry)}
            plain = {key: value for key, value in params.items() if key not in roles}
            bound = parameters.bind_operator(entry.function, plain, f"operator {name}")
        except ValueError:
            return None
        return cls(name, entry.version, bound, entry.code)

    def to_dict(self) -> Json:
        """Return it as JSON holds it."""
        return asdict(self)

    def recipe(self) -> catalog.StepFields:
        """Return it as versions hold a step of a recipe."""
        labels = {role: sorted({i.label for i in inputs}) for role, inputs in self.inputs.items()}
        return {
            "operator": self.operator,
            "params": self.params,
            "code": self.code,
            "inputs": {role: named[0] for role, named in labels.items() if named},
        }


def opened(ds: xr.Dataset, part: Input) -> None:
    """Note the part that the arrays of a Dataset are of."""
    for variable in ds.data_vars.values():
        _note(variable.variable.data, part)


def made(result: Any, call: Call | None, inputs: Mapping[str, Any]) -> Any:
    """Note the call that made a Dataset; return the Dataset."""
    if call is None or not isinstance(result, xr.Dataset):
        return result
    roles = [role for role, _ in operators.inputs(operators.resolve(call.operator))]
    named: dict[str, tuple[Input, ...]] = {}
    for role, value in inputs.items():
        parts = [_part_of(ds) for ds in _datasets(value)]
        named[role or roles[0]] = tuple(part for part in parts if part is not None)
    whole = Call(call.operator, call.version, call.params, call.code, named)
    for variable in result.data_vars.values():
        _note(variable.variable.data, whole)
    return result


def common(datasets: Iterable[xr.Dataset]) -> Call | None:
    """Return the call that made all of some Datasets; None if that is not one, or not known."""
    calls = []
    for ds in datasets:
        notes = [_noted(variable.variable.data) for variable in ds.data_vars.values()]
        if not notes or not all(isinstance(note, Call) for note in notes):
            return None
        calls += notes
    if not calls or any(
        (c.operator, c.params) != (calls[0].operator, calls[0].params) for c in calls
    ):
        return None
    roles = dict.fromkeys(role for call in calls for role in call.inputs)
    inputs = {
        role: tuple(dict.fromkeys(part for call in calls for part in call.inputs.get(role, ())))
        for role in roles
    }
    first = calls[0]
    return Call(first.operator, first.version, first.params, first.code, inputs)


def _name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function in recipes, "" if a recipe could not name it."""
    for name, operator in operators.OPERATORS.items():
        if operator.function == function:
            return name
    module, path = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    return f"{module}:{path}" if module and path.isidentifier() and module != "__main__" else ""


def _datasets(value: Any) -> list[xr.Dataset]:
    if isinstance(value, xr.Dataset):
        return [value]
    if isinstance(value, xr.DataTree):
        return [child.to_dataset() for child in value.children.values()]
    if isinstance(value, Mapping):
        return [ds for ds in value.values() if isinstance(ds, xr.Dataset)]
    return []


def _part_of(ds: xr.Dataset) -> Input | None:
    """Return the part that all arrays of a Dataset are of."""
    notes = [_noted(variable.variable.data) for variable in ds.data_vars.values()]
    same = bool(notes) and isinstance(notes[0], Input) and all(note == notes[0] for note in notes)
    return notes[0] if same else None


def _note(array: Any, what: Any) -> None:
    if isinstance(array, np.ndarray):
        key = id(array)
        reference = weakref.ref(array, partial(_forget, key))
        _arrays[key] = reference, _sum(array), what
    elif hasattr(array, "dask"):
        setattr(array, _ATTRIBUTE, (array.name, what))


def _noted(array: Any) -> Any:
    if isinstance(array, np.ndarray):
        reference, total, what = _arrays.get(id(array), (None, 0, None))
        same = reference is not None and reference() is array and total == _sum(array)
        return what if same else None
    name, what = getattr(array, _ATTRIBUTE, ("", None))
    return what if name == getattr(array, "name", None) else None


def _forget(key: int, _: object) -> None:
    _arrays.pop(key, None)


def _sum(array: np.ndarray) -> int:
    """Return a checksum: values can be changed in place."""
    if array.dtype.kind in "OT":
        return zlib.crc32(repr(array.tolist()).encode(errors="replace"))
    return zlib.crc32(np.ascontiguousarray(array).tobytes())
