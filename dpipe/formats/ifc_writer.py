"""Files of imaging flow cytometry, one HDF5 file a cell, as they are written."""

from pathlib import Path

import h5py
import numpy as np


def write_picture(
    path: Path, image: np.ndarray, mask: np.ndarray | None, label: str | None
) -> None:
    """Write the picture of a cell, (y, x, channel), and its mask and label where it has them."""
    with h5py.File(path, "w") as file:
        file["image"] = image
        if mask is not None:
            file["mask"] = mask
        if label is not None:
            file["label"] = label
