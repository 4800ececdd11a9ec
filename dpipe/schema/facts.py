"""Facts of a movie beside its pixels, as readers gather them for `schema.movie`."""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np

Attributes = dict[str, Any]
"""Attributes of a Dataset, a group or a record by name: any JSON value that a format keeps."""


class MovieFacts(TypedDict, total=False):
    """Arguments of `schema.movie` beside the image; what a file does not tell is absent.

    Attributes
    ----------
    spacing, origin : sequence of 3 floats
        Voxel size, and centre of the first voxel, along z, y, x in micrometres.
    times : sequence of float
        Seconds of each frame.
    interval : float
        Seconds between frames.
    channels, colors : sequence of str
        Name, and RRGGBB, of each channel.
    attrs : dict
        Attributes of the Dataset.
    """

    spacing: Sequence[float]
    origin: Sequence[float]
    times: Sequence[float] | np.ndarray
    interval: float
    channels: Sequence[str]
    colors: Sequence[str] | None
    attrs: Attributes
