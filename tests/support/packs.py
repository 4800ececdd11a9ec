"""Packed collections of a few pictures, laid out here by a rule of its own, for tests."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

SAMPLE = "ifc/h5/Experiment_1/Donor_1/Eotaxin_5h"


def pack(
    pictures: Sequence[np.ndarray | None],
    masks: Sequence[np.ndarray | None] | None = None,
    *,
    block: int = 4,
    names: Sequence[str] | None = None,
    unreadable: Sequence[int] = (),
    several: Sequence[int] = (),
    lazy: bool = True,
    **over: Sequence[str],
) -> xr.Dataset:
    """Pack pictures (c, y, x), None for one that was put aside, and masks of the same shape."""
    first = next(p for p in pictures if p is not None)
    total, count = first.shape[0], len(pictures)
    shapes = np.array([(0, 0) if p is None else p.shape[1:] for p in pictures])
    in_block, in_slot = np.divmod(np.arange(count), block)
    offsets = np.zeros(count, int)
    for n in range(count):
        if in_slot[n]:
            offsets[n] = offsets[n - 1] + shapes[n - 1].prod()
    rows, places = int(in_block.max()) + 1, int((offsets + shapes.prod(axis=1)).max())
    pixels = np.zeros((rows, places * total), first.dtype)
    codes = np.zeros((rows, places), "u1" if total <= 8 else "u2")
    flags = np.zeros((rows, block), "u1")
    kinds = np.full(count, "", "U8")
    values = np.zeros((rows, block), "u1")
    for n, picture in enumerate(pictures):
        row, slot, size = in_block[n], in_slot[n], shapes[n].prod()
        flags[row, slot] = 1 * (n in unreadable) + 2 * (n in several)
        if picture is not None:
            pixels[row, offsets[n] * total :][: size * total] = picture.reshape(-1)
        if masks is not None and masks[n] is not None:
            bits = (masks[n] != 0) << np.arange(total)[:, None, None]
            codes[row, offsets[n] :][:size] = bits.sum(axis=0).reshape(-1)
            kinds[n], values[row, slot] = "uint8", 1
    held = {"pixels": (("block", "value"), pixels), "picture_flag": (("block", "slot"), flags)}
    if masks is not None:
        held["mask_code"] = (("block", "place"), codes)
        held["mask_value"] = (("block", "slot"), values)
    columns = {"in_block": in_block * 10, "in_slot": in_slot, "offset": offsets}
    columns |= {"height": shapes[:, 0], "width": shapes[:, 1], "mask_dtype": kinds}
    columns |= {name: np.asarray(column) for name, column in over.items()}
    coords = {name: ("record", column) for name, column in columns.items()}
    coords |= {
        "block": np.arange(rows) * 10,
        "c": list(names or [f"Ch{k + 1}" for k in range(total)]),
    }
    ds = xr.Dataset(held, coords)
    return ds.assign({k: v.variable.chunk({"block": 1}) for k, v in ds.items()}) if lazy else ds


def unpacked(ds: xr.Dataset, name: str = "pixels") -> list[np.ndarray]:
    """Return each picture (c, y, x), or each mask code (y, x), of a packed Dataset."""
    total = ds.sizes["c"] if name == "pixels" else 1
    values, found = ds[name].values, []
    for n in range(ds.sizes["record"]):
        one = ds.isel(record=n)
        height, width, first = (int(one[key]) for key in ("height", "width", "offset"))
        row = ds.indexes["block"].get_loc(int(one.in_block))
        flat = values[row, first * total : (first + height * width) * total]
        found.append(flat.reshape((total, height, width) if name == "pixels" else (height, width)))
    return found


def cells(count: int, channels: int = 3, seed: int = 0, dtype: str = "u2") -> list[np.ndarray]:
    """Round cells on noise, each of its own size, brighter from channel to channel."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        height, width = rng.integers(14, 30, 2)
        y, x = np.ogrid[:height, :width]
        cell = np.hypot(y - height / 2, x - width / 2) < min(height, width) * 0.35
        noise = rng.integers(20, 60, (channels, height, width))
        made.append(noise + cell * np.arange(300, 300 * channels + 1, 300)[:, None, None])
    return [picture.astype(dtype) for picture in made]
