"""NumPy or CuPy: the only file that names CuPy.

A kernel asks ``namespace(block)`` for arithmetic and ``ndimage(block)`` for compiled filters,
and never learns which library it got. This module knows nothing of Dask or xarray.
"""

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import numpy as np
import scipy.ndimage

from dpipe.errors import UsageError

_DEVICES = ("cpu", "cuda")
_chosen: ContextVar[str] = ContextVar("dpipe_device", default="cpu")


@contextmanager
def device(name: str) -> Iterator[str]:
    """Choose where blocks are computed, for graphs built inside the ``with``.

    Parameters
    ----------
    name : {"cpu", "cuda"}
        ``"cuda"`` moves whole blocks to the GPU and their results back.

    Yields
    ------
    str
        The name.

    Raises
    ------
    UsageError
        An unknown name, or no CuPy, or no GPU.

    Examples
    --------
    >>> with device("cpu") as name:
    ...     print(name)
    cpu
    """
    if name not in _DEVICES:
        raise UsageError(f"unknown device {name!r}; known: {', '.join(_DEVICES)}")
    if name == "cuda" and not has_cuda():
        raise UsageError(
            f"device 'cuda': no usable GPU found ({_why_not()}); install dpipe[gpu] on a machine "
            "with an NVIDIA driver, or use device 'cpu'"
        )
    token = _chosen.set(name)
    try:
        yield name
    finally:
        _chosen.reset(token)


def chosen_device() -> str:
    """Return the device that ``device`` chose, ``"cpu"`` by default."""
    return _chosen.get()


def has_cuda() -> bool:
    """Tell whether CuPy is installed, sees a GPU and computes on it."""
    return not _why_not()


def _why_not() -> str:
    """Say why blocks cannot be computed on a GPU; nothing if they can."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed"
    try:
        cupy = importlib.import_module("cupy")
        if not cupy.cuda.is_available():
            return "CuPy sees none"
        (cupy.ones(2) + 1).get()  # compiled here and now: needs CUDA's libraries, not a driver only
    except Exception as error:  # noqa: BLE001 - whatever a half installed CUDA raises
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return ""


def namespace(block: Any) -> ModuleType:
    """Return the array namespace of a block.

    Parameters
    ----------
    block : array
        A NumPy or CuPy array, or any array of the array API standard.

    Returns
    -------
    module
        ``numpy``, ``cupy``, or what ``block.__array_namespace__()`` gives.
    """
    if isinstance(block, np.ndarray | np.generic):
        return np
    if _is_cupy(block):  # CuPy 14 arrays have no __array_namespace__
        return importlib.import_module("cupy")
    return block.__array_namespace__()


def beside(block: Any) -> dict[str, Any]:
    """Return the argument by which a creation function puts its array on the device of a block.

    Parameters
    ----------
    block : array
        A NumPy or CuPy array, or any array of the array API standard.

    Returns
    -------
    dict
        ``{"device": ...}``; nothing for CuPy 14, whose functions know no such parameter.

    Examples
    --------
    >>> np.zeros(2, **beside(np.ones(3)))
    array([0., 0.])
    """
    return {} if _is_cupy(block) else {"device": block.device}


def ndimage(block: Any) -> ModuleType:
    """Return the module of compiled image filters for a block.

    Parameters
    ----------
    block : array
        A NumPy or CuPy array.

    Returns
    -------
    module
        ``cupyx.scipy.ndimage`` for CuPy, else ``scipy.ndimage``, which (with
        ``SCIPY_ARRAY_API=1``) takes other standard arrays too.
    """
    if _is_cupy(block):
        return importlib.import_module("cupyx.scipy.ndimage")
    return scipy.ndimage


def to_device(block: np.ndarray, name: str) -> Any:
    """Move a whole block to the device `name`."""
    return importlib.import_module("cupy").asarray(block) if name == "cuda" else block


def to_host(block: Any) -> np.ndarray:
    """Bring a block back to NumPy; a block that is not on a GPU is returned as it is."""
    return block.get() if _is_cupy(block) else np.asarray(block)


def _is_cupy(block: Any) -> bool:
    return type(block).__module__.partition(".")[0] == "cupy"
