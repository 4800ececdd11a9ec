"""The families of numbers of packed pictures on any kind of array: the device's way.

Every family is computed where the pixels are; only small tables (sizes of pictures, matrices that
resize) are made on the host, and floods and hulls ask it whether they are done.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dpipe.compute import beside, namespace
from dpipe.operators.cell_features import columns
from dpipe.operators.cell_features.gpu import hog, outline, pairs
from dpipe.operators.cell_features.gpu import values as gpu_values
from dpipe.operators.cell_features.gpu.batch import Batch, batches


def measure(
    pixels: Any,
    codes: Any,
    offset: np.ndarray,
    height: np.ndarray,
    width: np.ndarray,
    *,
    channels: int,
    families: Sequence[str],
    data_range: float = 4095.0,
) -> Any:
    """Measure the pictures of a block as ``_cell_pictures.measure`` does, (n, names).

    `pixels` and `codes` are on the device, as is the result; the rest is on the host.
    """
    xp = namespace(pixels)
    size = sum(columns.count(family, channels) for family in families)
    tables = [xp.full((1, size), float("nan"), dtype=xp.float64, **beside(pixels))]
    place, row = np.zeros(len(offset), np.int64), 1  # row 0 is for pictures that were put aside
    for group in batches(height, width, channels):
        batch = Batch(pixels, codes, offset[group], height[group], width[group], channels)
        figures = [_KERNELS[family](batch, data_range) for family in families]
        tables.append(
            xp.concat([xp.reshape(values, (len(group), -1)) for values in figures], axis=1)
        )
        place[group] = np.arange(row, row + len(group))
        row += len(group)
    return xp.take(xp.concat(tables, axis=0), xp.asarray(place, **beside(pixels)), axis=0)


def _corrected_textures(batch: Batch) -> Any:
    return batch.xp.stack(
        [gpu_values.textures(batch, strict=True), gpu_values.cell_textures(batch)], axis=2
    )


_KERNELS: dict[str, Callable[[Batch, float], Any]] = {
    "mask-based": lambda batch, _: outline.outlines(batch),
    "glcm": lambda batch, _: gpu_values.textures(batch),
    "gradient-rms": lambda batch, _: gpu_values.gradient(batch),
    "background-mean": lambda batch, _: gpu_values.background(batch),
    "percentiles": lambda batch, _: gpu_values.percentiles(batch),
    "cell-shape": lambda batch, _: gpu_values.cell_shape(batch),
    "colocalisation": lambda batch, _: pairs.colocalisation(batch),
    "intersections": lambda batch, _: pairs.shared(batch),
    "cell-distances": lambda batch, _: outline.apart(batch),
    "hog": lambda batch, _: hog.gradients(batch),
    "glcm-corrected": lambda batch, _: _corrected_textures(batch),
    "colocalisation-corrected": pairs.corrected,
    "intersections-corrected": lambda batch, _: pairs.shared(batch, strict=True),
}
