"""Label images as people save them: numbers, or a colour an object.

A grey picture holds numbers of objects; of a coloured one each colour is an object, black is none,
and its number is red * 65536 + green * 256 + blue, so the picture can be written back as it was.
"""

from typing import NamedTuple

import numpy as np

from dpipe.errors import InputError
from dpipe.formats import plain_pictures
from dpipe.readers.picture_rows import NEGATIVE, TINY

SUFFIXES = (
    *("_objects", "_mask", "_masks", "_label", "_labels", "_instances", "_annotation"),
    *("_annotations", "_sparse_annotation", "_cp_masks"),
)
"""What the name of a label image has behind that of its picture."""
FOLDERS = ("masks", "mask", "labels", "label", "objects", "annotations", "ground_truth", "gt")
"""Folders beside those of the pictures that hold label images of the same names."""
_TINY, _MANY = 4, 100
_OPAQUE = 255


class LabelHeader(NamedTuple):
    """Size and dtype of a label image as `read` gives it."""

    height: int
    width: int
    dtype: str


def header_of(header: plain_pictures.Header) -> LabelHeader:
    """Return size and dtype of the labels in a picture.

    Raises
    ------
    InputError
        It is no label image.
    """
    dtype = np.dtype(header.dtype)
    if header.channels > 1:
        if dtype != np.uint8:
            raise InputError(f"labels in colours of {dtype.name}; expected 8 bits a colour")
        return LabelHeader(header.height, header.width, "<u4")
    if dtype.kind not in "iu" or dtype.itemsize > 8:
        raise InputError(f"labels of {dtype.name}; expected whole numbers, or a colour an object")
    bytes_of = min(dtype.itemsize, 4)
    return LabelHeader(header.height, header.width, f"<u{bytes_of}" if bytes_of > 1 else "|u1")


def read(data: bytes) -> tuple[np.ndarray, int]:
    """Return the labels in a picture, and the bits of its flag.

    Parameters
    ----------
    data : bytes
        A file.

    Returns
    -------
    tuple of (numpy.ndarray, int)
        (height, width) whole numbers, 0 outside objects; negative ones count as outside and are
        flagged, and so is a picture with more than 100 objects of fewer than 4 pixels, as colours
        that were smoothed give them.

    Raises
    ------
    InputError
        It cannot be read, holds numbers beyond 32 bits, or is transparent in places.
    """
    pixels = plain_pictures.read(data)
    bits = 0
    if pixels.shape[2] == 1:
        labels = pixels[..., 0]
        if labels.dtype.kind == "i":
            bits |= NEGATIVE * bool((labels < 0).any())
            labels = np.maximum(labels, 0)
        if labels.max(initial=0) > np.iinfo(np.uint32).max:
            raise InputError(f"label {labels.max()}; at most 32 bits: number the objects anew")
    else:
        labels = _packed(pixels)
    kind = labels.dtype.itemsize
    labels = labels.astype(np.uint32 if kind > 2 else f"u{kind}", copy=False)
    return labels, bits | TINY * _is_smoothed(labels)


def _packed(pixels: np.ndarray) -> np.ndarray:
    """Return colours as numbers."""
    if pixels.dtype != np.uint8:
        raise InputError(f"labels in colours of {pixels.dtype}; expected 8 bits a colour")
    if pixels.shape[2] in (2, 4) and (pixels[..., -1] != _OPAQUE).any():
        raise InputError("labels in colours that are transparent in places; save them without")
    colours = pixels[..., : 3 if pixels.shape[2] > 2 else 1].astype(np.uint32)
    if colours.shape[2] == 1:
        return colours[..., 0]
    return colours[..., 0] << 16 | colours[..., 1] << 8 | colours[..., 2]


def _is_smoothed(labels: np.ndarray) -> bool:
    """Tell whether many objects have but a few pixels."""
    counts = np.unique(labels[labels > 0], return_counts=True)[1]
    return int((counts < _TINY).sum()) > _MANY
