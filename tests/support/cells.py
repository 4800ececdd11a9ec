"""Random pictures of cells and their masks, packed for kernels or as a collection; measured."""

from functools import partial

import array_api_strict
import numpy as np
import xarray as xr

from benchmarks import _nine_families as oracle
from benchmarks._flow_pictures import Packed, Picture, pack
from dpipe import schema
from dpipe.operators.cell_features import columns
from dpipe.operators.cell_features.features import _features

close = partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-9)
MASKS = "nothing noise pixel row column ellipse two all".split()


def random_pictures(
    number: int, channels: int, seed: int, dtype="u2", top=4096, over=1, largest=35
) -> list[Picture]:
    """Pictures of 1 to `largest` pixels a side: every kind of mask, empty channels, pixels of 0.

    Pixels are whole numbers below `top`, divided by `over`.
    """
    random = np.random.default_rng(seed)
    made = []
    for k in range(number):
        height, width = (int(n) for n in random.integers(1, largest + 1, 2))
        image = random.integers(0, top, (height, width, channels))
        image = (image if over == 1 else image / over).astype(dtype)
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


def odd_pictures(factor: float = 1.0) -> list[Picture]:
    """Three channels of few pixels, one row, one column or one value, without and with masks.

    With a `factor` they are fractions, of which no sum is exact.
    """
    random = np.random.default_rng(20)
    made = []
    for number, (height, width) in enumerate(_ODD):
        image = random.integers(0, 200, (height, width, 3))
        image[..., 1], image[..., 2] = 7, image[..., 0]  # one value; twice the same
        mask = np.zeros(image.shape, np.uint8)
        mask[..., 0] = number % 3 > 0
        mask[::2, ::2, 1:] = number % 3 > 1
        made.append((image * factor if factor != 1 else image.astype("u2"), mask))
    return made


_ODD = [(1, 1), (1, 9), (9, 1), (2, 2), (3, 40), (40, 2), (6, 6), (7, 7), (6, 12), (12, 7)]
_ODD += [(1, 5), (6, 1)] + [(8, 8)] * 3


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


def on_host(*packed):
    return packed


def on_device(pixels, codes, *rest):
    """Move to a device from which nothing comes back by itself."""
    far = array_api_strict.Device("device1")
    return *(array_api_strict.asarray(v, device=far) for v in (pixels, codes)), *rest


def measured(pictures, families, move=on_host):
    packed = pack(pictures)
    channels = pictures[0][0].shape[2]
    params = {"channels": channels, "families": families, "data_range": 4095.0}
    made = _features(*move(*packed), **params)
    assert made.dtype == (array_api_strict if move is on_device else np).float64
    if move is on_device:
        assert made.device == array_api_strict.Device("device1")
        made = made.to_device(array_api_strict.Device("CPU_DEVICE"))
    found = np.asarray(made)
    assert found.shape == (len(pictures), len(columns.names(families, channels)))
    return found


def expected(pictures, families):
    tables = [oracle.measure(image, mask, families) for image, mask in pictures]
    for table, (image, mask) in zip(tables, pictures, strict=True):
        for name in table:
            if name.startswith("structural_similarity"):
                a, b = (int(part[2:]) - 1 for part in name.split("_") if part.startswith("Ch"))
                table[name] = similarity(image.astype(float) * mask, a, b)
    return tables


def similarity(inside, a, b, data_range=2.0):
    """Similarity by whole sums: scikit-image's running means lose digits at 16 bits."""
    if min(inside.shape[:2]) < 7:
        return np.nan
    window = np.lib.stride_tricks.sliding_window_view

    def total(values):
        return window(values, (7, 7)).sum(axis=(2, 3))

    one, two = inside[..., a], inside[..., b]
    s, t = total(one), total(two)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    spread = (49 * (total(one * one) + total(two * two)) - s * s - t * t) / (49 * 48)
    above = (2 * s * t / 2401 + c1) * (2 * (49 * total(one * two) - s * t) / (49 * 48) + c2)
    return np.mean(above / (((s * s + t * t) / 2401 + c1) * (spread + c2)))


def same(found, tables, names):
    """Compare; a line has no width, a round shape no orientation, -pi/2 is pi/2."""
    for row, table in zip(found, tables, strict=True):
        assert list(table) == names
        for name, value, other in zip(names, row, table.values(), strict=True):
            if "minor_axis_length" in name:
                close(value, other, atol=1e-6, err_msg=name)
            elif "orientation" not in name:
                close(value, other, err_msg=name)
            elif value != other and not round_shape(table, name):
                close(np.sin(value - other), 0, err_msg=name)


def round_shape(table, name):
    major, minor = (
        table[name.replace("orientation", f"{k}_axis_length")] for k in ("major", "minor")
    )
    return major - minor < 1e-6 * abs(major) + 1e-6
