"""Random pictures of cells and their masks, packed for kernels or as a collection."""

import numpy as np
import xarray as xr

from benchmarks._flow_pictures import Packed, Picture, pack
from dpipe import schema

MASKS = "nothing noise pixel row column ellipse two all".split()


def random_pictures(number: int, channels: int, seed: int, dtype="u2", top=4096) -> list[Picture]:
    """Pictures of 1 to 36 pixels a side: every kind of mask, empty channels, pixels of 0."""
    random = np.random.default_rng(seed)
    made = []
    for k in range(number):
        height, width = (int(n) for n in random.integers(1, 36, 2))
        image = random.integers(0, top, (height, width, channels)).astype(dtype)
        if k % 4 == 1:
            image[..., random.integers(channels)] = 0
        if k % 4 == 2:
            image[random.random(image.shape) < 0.5] = 0
        if k % 4 == 3:
            image[...] = image[0, 0]
        mask = np.zeros(image.shape, np.uint8)
        for c in range(channels):
            mask[..., c] = _mask(random, height, width, MASKS[random.integers(len(MASKS))])
        made.append((image, mask))
    return made


def _mask(random: np.random.Generator, height: int, width: int, kind: str) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    y, x = np.mgrid[:height, :width]
    if kind == "noise":
        mask = random.random(mask.shape) < random.random()
    elif kind in ("pixel", "two"):
        n = 1 if kind == "pixel" else 2
        mask[random.integers(height, size=n), random.integers(width, size=n)] = True
    elif kind == "row":
        mask[random.integers(height)] = True
    elif kind == "column":
        mask[:, random.integers(width)] = True
    elif kind == "ellipse":
        at, axes = random.random(2), 0.2 + random.random(2)
        apart = (y / height - at[0]) ** 2 / axes[0] ** 2 + (x / width - at[1]) ** 2 / axes[1] ** 2
        mask = apart < 0.3
    elif kind == "all":
        mask[:] = True
    return mask


def collection(pictures: list[Picture], in_block: int = 4) -> xr.Dataset:
    """Lay pictures into blocks of so many; the rest of a row holds what nobody should read."""
    blocks = [pictures[i : i + in_block] for i in range(0, len(pictures), in_block)]
    packed: list[Packed] = [pack(some) for some in blocks]
    rows = {"pixels": [p.pixels for p in packed], "mask_code": [p.codes for p in packed]}
    longest = {name: max(map(len, values)) for name, values in rows.items()}
    filled = {
        name: np.stack([np.pad(v, (0, longest[name] - len(v)), constant_values=1) for v in values])
        for name, values in rows.items()
    }
    over = {
        "in_block": np.repeat(np.arange(len(blocks)), [len(some) for some in blocks]),
        "in_slot": np.concatenate([np.arange(len(some)) for some in blocks]),
    }
    for name in ("offset", "height", "width"):
        over[name] = np.concatenate([getattr(p, name) for p in packed])
    ds = xr.Dataset({name: (schema.VARIABLES[name].dims, v) for name, v in filled.items()})
    names = [f"Ch{c + 1}" for c in range(pictures[0][0].shape[2])]
    ds = ds.assign_coords({name: ("record", values) for name, values in over.items()})
    return ds.assign_coords(block=np.arange(len(blocks)), c=names)
