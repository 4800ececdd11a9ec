"""A CuPy where no GPU is: its names and keywords, over arrays that no NumPy function can take.

The arrays are those of array_api_strict on its second device, which come to the host by ``get``
alone and cannot be mixed with what is there. So a hidden conversion, a name that CuPy 14 lacks and
a keyword that it does not know fail as they would on a GPU. It knows neither CuPy's own roundings
nor its speed.
"""

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import array_api_strict as strict
import numpy as np
import pytest
import scipy.ndimage

NAMES = {
    **dict.fromkeys(["abs", "atan2", "floor", "isfinite", "isinf", "isnan", "log10", "log2"], ""),
    **dict.fromkeys(["maximum", "minimum", "remainder", "sqrt", "trunc"], ""),
    **dict.fromkeys(["all", "any", "max", "min"], "axis keepdims"),
    **dict.fromkeys(["mean", "sum"], "axis dtype keepdims"),
    **dict.fromkeys(["full_like", "ones_like", "zeros_like"], "dtype"),
    **dict.fromkeys(["bool", "float32", "float64", "iinfo", "int64", "uint8"], ""),
    **dict.fromkeys(
        ["clip", "imag", "isdtype", "matmul", "moveaxis", "real", "round", "where"], ""
    ),
    "arange": "dtype",
    "argmax": "axis keepdims",
    "asarray": "dtype copy",
    "astype": "copy",
    "bincount": "minlength",
    "concat": "axis",
    "count_nonzero": "axis",
    "cumulative_sum": "axis dtype include_initial",
    "diff": "n axis",
    "fft.rfft": "n axis norm",
    "full": "dtype",
    "ndimage.median_filter": "size footprint output mode cval origin axes",
    "reshape": "copy",
    "searchsorted": "side sorter",
    "sort": "axis",
    "stack": "axis",
    "take": "axis",
    "take_along_axis": "axis",
    "zeros": "dtype",
}
"""What kernels may name of CuPy, and by which keywords; a further name is looked up there first.

As in CuPy 14.2.0. It lacks the ``device=`` of the standard, and ``correction=`` of ``std``.
"""

_NEW = ("arange", "asarray", "full", "zeros")
_THERE, _HOST = strict.Device("device1"), strict.Device("CPU_DEVICE")


def get(block: Any) -> np.ndarray:
    """Bring an array to the host."""
    return np.asarray(block.to_device(_HOST))


def pretend(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Put the pretended CuPy in place; return the shapes of what is moved to its GPU."""
    moved: list[tuple[int, ...]] = []
    cupy = ModuleType("cupy")
    cupy.__spec__ = importlib.util.spec_from_loader("cupy", loader=None)
    cupy.cuda = SimpleNamespace(is_available=lambda: True)  # type: ignore[attr-defined]
    cupy.ones = lambda n: cupy.zeros(n) + 1.0  # type: ignore[attr-defined]
    cupy.fft = SimpleNamespace()  # type: ignore[attr-defined]
    filters = SimpleNamespace()
    kinds = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
    for name in [*NAMES, *kinds]:
        *group, last = name.split(".")
        place = {"fft": cupy.fft, "ndimage": filters}[group[0]] if group else cupy
        setattr(place, last, _wrapped(name, moved))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupyx.scipy.ndimage", filters)
    monkeypatch.setattr(type(strict.zeros(1)), "__module__", "cupy")
    monkeypatch.setattr(type(strict.zeros(1)), "get", get, raising=False)
    return moved


def _wrapped(name: str, moved: list[tuple[int, ...]]) -> Any:
    whole = {"bincount": _bincount, "ndimage.median_filter": _median_filter}
    found = whole.get(name)
    if found is None:
        found = strict.fft.rfft if name == "fft.rfft" else getattr(strict, name)
    if not callable(found) or name == "iinfo":
        return found
    return _checked(name, found, moved)


def _checked(name: str, function: Callable[..., Any], moved: list[tuple[int, ...]]) -> Any:
    known = set(NAMES[name].split())

    def call(*args: Any, **keywords: Any) -> Any:
        if more := keywords.keys() - known:
            raise TypeError(f"cupy.{name} knows no {', '.join(more)}")
        if name in _NEW:
            keywords["device"] = _THERE
        if name == "asarray" and isinstance(args[0], np.ndarray):
            moved.append(args[0].shape)
        return function(*args, **keywords)

    return call


def _bincount(values: Any, minlength: int = 0) -> Any:
    return strict.asarray(np.bincount(get(values), minlength=minlength), device=_THERE)


def _median_filter(plane: Any, **how: Any) -> Any:
    return strict.asarray(scipy.ndimage.median_filter(get(plane), **how), device=_THERE)
