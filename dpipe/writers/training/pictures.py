"""Pictures for machine learning: some channels of a movie, frame by frame, as TIFF and PNG.

This module knows how channels are chosen by name, how frames are computed a block at a time, and
what PNG and OME-TIFF hold. Values are never stretched or rounded. It knows nothing of labels.
"""

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tifffile
import xarray as xr
from PIL import Image

from dpipe import schema
from dpipe.compute import compute
from dpipe.errors import SchemaError, UsageError, unknown
from dpipe.writers.narrow import narrowed

TIFF = "uint8 uint16 uint32 int8 int16 int32 float32 float64".split()
PNG = ("uint8", "uint16")
"""The kinds of numbers that files hold."""

Names = str | int | Sequence[str | int] | None
"""Names of channels: a text is cut at commas; a name that is a number may come as one."""


def chosen(stem: str, ds: xr.Dataset, names: Names) -> list[int]:
    """Return the numbers of the channels of these names, all for None."""
    channels = ds["c"].values.astype(str).tolist() if "c" in ds.coords else ["0"]
    if names is None:
        return list(range(ds.sizes.get("c", 1)))
    listed = names.split(",") if isinstance(names, str) else names
    choice = [str(name) for name in ([listed] if isinstance(listed, int) else listed)]
    for name in choice:
        if name not in channels:
            raise UsageError(f"{stem}: {unknown('channel', name, channels)}")
    if not choice:
        raise UsageError("channels: none given; name at least one, or leave the option out")
    return [channels.index(name) for name in dict.fromkeys(choice)]


def numbers(text: str, names: Sequence[str]) -> list[int]:
    """Return the channels that a text names: by commas, each a name or ``ch1``, counted from 1.

    Examples
    --------
    >>> numbers("ch2, GFP", ["GFP", "DiD"])
    [1, 0]
    """
    channels = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        counted = name.lower().removeprefix("ch").strip()
        if name in names:
            channels.append(list(names).index(name))
        elif name.lower().startswith("ch") and counted.isdecimal() and int(counted) <= len(names):
            channels.append(int(counted) - 1)
        else:
            raise SchemaError(f"no channel {name!r}. Found: {', '.join(names)}")
    return channels


def pixels(stem: str, ds: xr.Dataset, name: str, channels: Sequence[int]) -> xr.DataArray:
    """Return some channels of a movie, over (t, c, z, y, x) or (t, c, y, x)."""
    if name not in ds:
        variables = ", ".join(map(str, ds.data_vars)) or "none"
        raise SchemaError(f"{stem}: no variable {name!r} to write. Found: {variables}")
    array = ds[name]
    if not {"y", "x"} <= set(array.dims) <= set(schema.MOVIE_DIMS):
        dims = ", ".join(map(str, array.dims))
        raise SchemaError(f"{stem}: {name!r} has dims ({dims}); expected y, x and any of t, c, z")
    array = array.drop_vars(list(array.coords))
    array = array.expand_dims([dim for dim in ("t", "c") if dim not in array.dims])
    return array.transpose("t", "c", ..., "y", "x").isel(c=list(channels))


def fitting(stem: str, array: xr.DataArray, file: str) -> xr.DataArray:
    """Return pixels or labels in a kind that TIFF holds, or PNG; whole numbers lose nothing."""
    if file == "tiff":
        return narrowed(array, TIFF, f"{stem}: OME-TIFF")
    long = array.dtype.kind in "ui" and array.dtype.itemsize == 8
    return narrowed(array, PNG, f"{stem}: PNG") if long else array


def pieces(dim: str, *arrays: xr.DataArray) -> Iterator[tuple[int, tuple[np.ndarray, ...]]]:
    """Yield the arrays at each index along a dim, computing whole blocks at a time."""
    chunks = [array.chunksizes.get(dim, (1,)) for array in arrays]
    step = max(max(steps, default=1) for steps in chunks)
    for start in range(0, arrays[0].sizes[dim], step):
        cut = {dim: slice(start, start + step)}
        blocks = compute(*(array.isel(cut).transpose(dim, ...).data for array in arrays))
        for i in range(len(blocks[0])):
            yield start + i, tuple(np.asarray(block[i]) for block in blocks)


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write a plane as grey PNG of 8 or 16 bit."""
    if picture.dtype.name not in PNG:
        raise SchemaError(
            f"{path.stem}: PNG holds uint8 and uint16, not {picture.dtype}; write TIFF (file=tiff)"
        )
    plain = np.ascontiguousarray(picture, picture.dtype.newbyteorder("="))
    Image.fromarray(plain).save(path, format="PNG")


def write_tiff(
    path: Path, picture: np.ndarray, axes: str, of: xr.Dataset, channels: Sequence[str]
) -> None:
    """Write a picture as OME-TIFF, one page a plane; `of` has the steps of its coordinates."""
    if picture.dtype.name not in TIFF:
        raise SchemaError(f"{path.stem}: OME-TIFF holds no {picture.dtype}; convert it first")
    metadata: dict[str, object] = {"axes": axes, "Name": path.stem, "Creator": "dpipe"}
    # two files of one content are one: no clock, no chance
    metadata["UUID"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"dpipe:{path.parent.name}/{path.stem}"))
    for dim in [dim for dim in schema.SPACE_DIMS if dim.upper() in axes]:
        metadata[f"PhysicalSize{dim.upper()}"] = schema.spacing(of, dim)
        metadata[f"PhysicalSize{dim.upper()}Unit"] = "\u00b5m"
    if "T" in axes:
        metadata |= {"TimeIncrement": schema.spacing(of, "t"), "TimeIncrementUnit": "s"}
    if "C" in axes:
        metadata["Channel"] = {"Name": list(channels)}
    tifffile.imwrite(
        path,
        picture,
        ome=True,
        photometric="minisblack",
        compression="zlib",
        predictor=picture.dtype.kind in "ui",
        maxworkers=1,
        metadata=metadata,
    )
