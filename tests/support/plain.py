"""Small folders of plain pictures, label images and plates, and what readers make of them."""

from pathlib import Path

import imagecodecs
import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.formats import cellomics

PIXELS = (np.arange(9 * 13).reshape(9, 13) * 7 % 251).astype("u1")
NUMBERS = (np.arange(9 * 13).reshape(9, 13) // 20).astype("u1")


def write_masks(folder: Path) -> Path:
    path = folder / "m" / "a_mask.png"
    path.parent.mkdir()
    path.write_bytes(imagecodecs.png_encode(NUMBERS))
    return path


def write_pictures(folder: Path) -> Path:
    path = folder / "m" / "a.png"
    path.parent.mkdir()
    path.write_bytes(imagecodecs.png_encode(PIXELS))
    return path


def write_plate(folder: Path) -> Path:
    path = folder / "m_A01f00d0.C01"
    path.write_bytes(cellomics.write(PIXELS.astype("u2")))
    return path


def _packed(variable: schema.Variable, flag: schema.Variable, values: np.ndarray) -> xr.Dataset:
    row = values.reshape(1, -1)
    return xr.Dataset(
        {variable.name: (variable.dims, row), flag.name: (flag.dims, np.zeros((1, 1), "u1"))}
    )


def masks() -> xr.Dataset:
    return _packed(schema.LABEL_PIXELS, schema.LABEL_FLAG, NUMBERS)


def pictures() -> xr.Dataset:
    return _packed(schema.PIXELS, schema.PICTURE_FLAG, PIXELS)


def plate() -> xr.Dataset:
    return _packed(schema.PIXELS, schema.PICTURE_FLAG, PIXELS.astype("u2"))
