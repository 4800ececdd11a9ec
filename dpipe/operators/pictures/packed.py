"""What operators on packed pictures share: their layout, their channels, one picture at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import namespace
from dpipe.errors import SchemaError, UsageError, unknown


def layout(ds: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the coordinates that say where each picture lies and what is known of it.

    Raises
    ------
    SchemaError
        The Dataset is no packed collection, or its channels have no names.
    """
    for name in ("block", "c", *(v.name for v in _NEEDED)):
        if name not in ds.coords:
            present = ", ".join(map(str, ds.coords)) or "none"
            raise SchemaError(
                f"no coordinate {name!r}; expected a packed collection. Coordinates: {present}"
            )
    dims = ({"record"}, {"block"}, {"c"}, {"mask"})
    return {str(name): coord for name, coord in ds.coords.items() if set(coord.dims) in dims}


_NEEDED = (schema.IN_BLOCK, schema.IN_SLOT, schema.OFFSET, schema.HEIGHT, schema.WIDTH)


def covered(ds: xr.Dataset, masks: xr.Dataset | None) -> xr.Dataset:
    """Return a collection with masks of another part in place of its own, and flags if it had none.

    Raises
    ------
    SchemaError
        They are not of the same pictures, or there are none.
    """
    if masks is None:
        return ds
    schema.MASK_CODE.check(masks)
    for name in ("block", "in_block", "in_slot", "offset", "height", "width"):
        pair = [
            np.asarray(dataset[name].values) for dataset in (ds, masks) if name in dataset.coords
        ]
        if len(pair) < 2 or not np.array_equal(pair[0], pair[1]):
            raise SchemaError(
                f"the masks are of other pictures: {name} differs; give masks that were made of "
                "these, and the same selection of both"
            )
    old = [name for name in _OF_MASKS if name in ds.variables]
    new = {name: masks[name] for name in _OF_MASKS if name in masks.variables}
    new |= _flags_of_both(ds, masks) if "mask_pixels" in new else {}
    new |= {} if "picture_flag" in {*ds.variables, *new} else flags(masks)
    return ds.drop_vars(old).assign(new).set_coords([n for n in new if n in masks.coords])


def _flags_of_both(ds: xr.Dataset, masks: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the flags of pixels with what those of masks of several values say."""
    theirs = flags(masks)
    if "picture_flag" not in ds or not theirs:
        return theirs
    flag, bit = schema.PICTURE_FLAG.check(ds), schema.SEVERAL_VALUES
    meanings = {key: value for key, value in flag.attrs.items() if key.startswith("flag_")}
    combined = (flag & ~np.uint8(bit)) | (theirs["picture_flag"].variable & np.uint8(bit))
    return schema.PICTURE_FLAG.wrap(combined.astype(flag.dtype), **meanings)


_OF_MASKS = ("mask_code", "mask_value", "mask_pixels", "mask_dtype", "mask_name")


def flags(ds: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the flags of pictures, which go with new pixels: some could not be read."""
    if "picture_flag" not in ds:
        return {}
    array = schema.PICTURE_FLAG.check(ds)
    meanings = {key: value for key, value in array.attrs.items() if key.startswith("flag_")}
    return schema.PICTURE_FLAG.wrap(array, **meanings)


def places(ds: xr.Dataset) -> int:
    """Return the length of a row in pixels of one plane."""
    if "mask_code" in ds:
        return int(ds["mask_code"].sizes["place"])
    return int(ds["pixels"].sizes["value"]) // int(ds.sizes["c"])


def slots(ds: xr.Dataset) -> int:
    """Return how many pictures a block has at most."""
    if "slot" in ds.sizes:
        return int(ds.sizes["slot"])
    return int(np.asarray(ds["in_slot"].values).max(initial=0)) + 1


def channels(ds: xr.Dataset) -> list[str]:
    """Return the names of the channels."""
    return [str(name) for name in ds["c"].values]


def mask_names(ds: xr.Dataset) -> list[str]:
    """Return the names of masks, one a bit of the code: those of channels, then derived ones."""
    return [str(n) for n in ds["mask_name"].values] if "mask_name" in ds.coords else channels(ds)


def chosen(what: str, choice: Any, channels: list[str]) -> list[str]:
    """Check names of channels that a person gave: one, or several, each once."""
    names = [choice] if isinstance(choice, str) else choice
    if not isinstance(names, list | tuple) or len(set(map(str, names))) != len(names):
        raise UsageError(f"{what}: found {choice!r}; expected names of channels, each once")
    for name in names:
        if name not in channels:
            raise UsageError(f"{what}: {unknown('channel', name, channels)}")
    return list(names)


def code_dtype(bits: int) -> np.dtype:
    """Return the smallest dtype of mask codes that holds so many bits.

    Raises
    ------
    UsageError
        More than 32.
    """
    if bits > 32:
        raise UsageError(f"{bits} masks; at most 32 fit into a mask code")
    return np.dtype("u1" if bits <= 8 else "u2" if bits <= 16 else "u4")


def pixel_dtype(name: Any) -> np.dtype:
    """Return a dtype of pixels by its name, or refuse it."""
    if name not in _PIXEL_DTYPES:
        raise UsageError(unknown("dtype", name, _PIXEL_DTYPES))
    return np.dtype(name)


_PIXEL_DTYPES = ("float32", "float64", "int16", "int32", "uint8", "uint16", "uint32")


def pieces(offsets: Any, heights: Any, widths: Any) -> Iterator[tuple[slice, tuple[int, int]]]:
    """Yield, of each picture of a block, its places and its shape."""
    for i in range(offsets.shape[0]):
        start, height, width = (int(column[i]) for column in (offsets, heights, widths))
        yield slice(start, start + height * width), (height, width)


def planes(pixels: Any, place: slice, shape: tuple[int, int], total: int) -> Any:
    """Return one picture (channel, height, width), without a copy."""
    values = pixels[place.start * total : place.stop * total]
    return namespace(pixels).reshape(values, (total, *shape))


def cast(values: Any, kind: str) -> Any:
    """Return float64 pixels as `kind`; whole numbers: rounded half to even, clipped, NaN as 0."""
    xp = namespace(values)
    if np.dtype(kind).kind in "ui":
        info = np.iinfo(kind)
        values = xp.where(xp.isnan(values), xp.zeros_like(values), xp.round(values))
        values = xp.clip(values, float(info.min), float(info.max))
    return xp.astype(values, getattr(xp, kind))
