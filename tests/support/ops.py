"""Operators that misbehave, for recipes of the tests: ``operator: ops:NAME``.

Where they are to misbehave only at times, a file in the folder ``OPS_FOLDER`` says so.
"""

import os
import signal
import time
from pathlib import Path

import numpy as np
import xarray as xr

from dpipe.compute import map_frames
from dpipe.errors import InputError

BAD = "Neu2"
"""The stem of the part at which they misbehave."""


def _numbers(ds: xr.Dataset, kernel: object, **params: object) -> xr.Dataset:
    (values,) = map_frames(kernel, ds["image"], outputs=1, stem=ds.attrs["stem"], **params)
    return xr.Dataset({"number": values})


def _count(name: str) -> int:
    """Count calls across processes."""
    path = Path(os.environ["OPS_FOLDER"]) / name
    with path.open("a") as file:
        file.write("x")
    return path.stat().st_size


def bug(ds: xr.Dataset, *, fixed: bool = False) -> xr.Dataset:
    return _numbers(ds, _bug, fixed=fixed)


def _bug(frame: np.ndarray, *, stem: str, fixed: bool) -> list[float]:
    if stem == BAD and not fixed:
        raise ZeroDivisionError("1/0 in an operator")
    return [float(frame.mean())]


def deadly(ds: xr.Dataset) -> xr.Dataset:
    """End the process that works on the bad part."""
    return _numbers(ds, _deadly)


def _deadly(frame: np.ndarray, *, stem: str) -> list[float]:
    if stem == BAD:
        _count("deaths")
        os.kill(os.getpid(), signal.SIGKILL)
    return [float(frame.mean())]


def hungry(ds: xr.Dataset, *, times: int = 99) -> xr.Dataset:
    """Be out of memory, so many times."""
    return _numbers(ds, _hungry, times=times)


def _hungry(frame: np.ndarray, *, stem: str, times: int) -> list[float]:
    if stem == BAD and _count("hunger") <= times:
        raise MemoryError("cannot have 8 EiB")
    return [float(frame.mean())]


def picky(ds: xr.Dataset) -> xr.Dataset:
    """Find the input damaged only when its pixels are read."""
    return _numbers(ds, _picky)


def _picky(frame: np.ndarray, *, stem: str) -> list[float]:
    if stem == BAD:
        raise InputError(f"{stem}: pixels are torn;\nexpected whole ones")
    return [float(frame.mean())]


def slow(ds: xr.Dataset, *, seconds: float = 0.2) -> xr.Dataset:
    """Take some time for each frame, and cut along time."""
    return _numbers(ds, _slow, seconds=seconds)


def _slow(frame: np.ndarray, *, stem: str, seconds: float) -> list[float]:
    time.sleep(seconds)
    return [float(frame.mean())]


def drifting(ds: xr.Dataset) -> xr.Dataset:
    """Give another answer each time that the process counts on."""
    return _numbers(ds, _drifting, seed=_count("drift"))


def _drifting(frame: np.ndarray, *, stem: str, seed: int) -> list[float]:
    return [float(frame.mean()) + seed]


def blank(ds: xr.Dataset) -> xr.Dataset:
    """Give nothing but NaN."""
    return _numbers(ds, _blank)


def _blank(frame: np.ndarray, *, stem: str) -> list[float]:
    return [float("nan")]


def array(ds: xr.Dataset) -> xr.DataArray:
    """Return no Dataset."""
    return _numbers(ds, _blank)["number"]


def leaking(ds: xr.Dataset) -> xr.Dataset:
    """Raise with a password in the text, from the environment and in the shape of one."""
    return _numbers(ds, _leaking)


def _leaking(frame: np.ndarray, *, stem: str) -> list[float]:
    if stem == BAD:
        url = "https://ann:hunter2@example.org/db?token=abc123def"
        raise RuntimeError(f"{url} refused {os.environ['LAB_PASSWORD']}")
    return [float(frame.mean())]


for _function in (bug, deadly, hungry, picky, slow, drifting, blank, leaking):
    _function.free = ("t", "c")  # type: ignore[attr-defined]


def hasty(ds: xr.Dataset) -> xr.Dataset:
    """Raise at once, before any pixel is asked for."""
    if ds.attrs["stem"] == BAD:
        raise KeyError("no channel called GFP")
    return _numbers(ds, _blank_not)


def _blank_not(frame: np.ndarray, *, stem: str) -> list[float]:
    return [float(frame.mean())]
