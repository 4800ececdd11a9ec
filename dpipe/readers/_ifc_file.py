"""One picture in an HDF5 file: ``image (H, W, C)``, maybe ``mask`` and ``label``.

Files with contiguous arrays, as h5py writes them by default, are parsed by ``_ifc_layout``, which
is five times as fast as the HDF5 library. h5py has the last word on all others, and on what is
damaged; it too follows no link to another place and reads no bytes of other files.

Knows what these three datasets must be; knows no folders and no other pictures.
"""

import io
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import h5py
import hdf5plugin  # noqa: F401  registers the filters of HDF5, among them LZ4
import numpy as np

from dpipe.errors import InputError
from dpipe.readers._ifc_layout import LOST, Pages, Unlike, label_of, members, view

_LARGEST = 1 << 30
_PROBLEMS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file says of its picture: sizes, dtypes ("" for no mask) and label (None for none)."""

    height: int
    width: int
    channels: int
    dtype: str
    mask: str = ""
    label: str | None = None


def look(file: BinaryIO) -> Facts:
    """Return the facts of a file.

    Parameters
    ----------
    file : binary file
        Open; of one on disk only some pages are read.

    Returns
    -------
    Facts
        Sizes, dtypes and label; no pixel was looked at.

    Raises
    ------
    InputError
        The file is damaged, or holds something else; the text does not name it.
    """
    data = file.getvalue() if isinstance(file, io.BytesIO) else Pages(file)
    with suppress(*LOST):
        found = members(data, len(data))
        label = _text(label_of(data, found["label"])) if "label" in found else None
        return _facts(found.get("image"), found.get("mask"), label)
    with _opened(file.read()) as opened:
        image, mask, held = (_child(opened, name) for name in ("image", "mask", "label"))
        return _facts(image, mask, None if held is None else _text(held[()]))


def planes(data: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the picture and the mask of a file.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    tuple of (numpy.ndarray, numpy.ndarray or None)
        Both (height, width, channels); views of `data` where it holds them as they are.

    Raises
    ------
    InputError
        As for `look`, or the pixels cannot be decoded.
    """
    with suppress(*LOST):
        found = members(data, len(data))
        _facts(found.get("image"), found.get("mask"), None)
        image = view(data, found["image"])
        return image, view(data, found["mask"]) if "mask" in found else None
    with _opened(data) as file:
        held, covered = _child(file, "image"), _child(file, "mask")
        _facts(held, covered, None)
        return _native(held), None if covered is None else _native(covered)


def _facts(image: Any, mask: Any, label: str | None) -> Facts:
    """Check what the datasets say of themselves, whoever read it."""
    if image is None:
        raise InputError("no dataset image (height, width, channels)")
    if image.dtype is None or (mask is not None and mask.dtype is None):
        raise Unlike
    shape = tuple(int(n) for n in image.shape)
    if len(shape) != 3 or not all(shape):
        raise InputError(f"image of shape {shape}; expected (height, width, channels)")
    if image.dtype.kind not in "uif":
        raise InputError(f"image of {image.dtype}; expected integers or floats")
    if math.prod(shape) * image.dtype.itemsize > _LARGEST:
        raise InputError(f"image of shape {shape}; more than 1 GiB is refused")
    kind = image.dtype.newbyteorder("=").str
    if mask is None:
        return Facts(*shape, kind, "", label)
    if tuple(mask.shape) != shape:
        raise InputError(f"mask of shape {tuple(mask.shape)} beside an image of {shape}")
    if mask.dtype.kind not in "buif":
        raise InputError(f"mask of {mask.dtype}; expected numbers or truth values")
    return Facts(*shape, kind, mask.dtype.newbyteorder("=").str, label)


def _text(value: Any) -> str:
    """Return a label as text, whatever it is kept as."""
    if isinstance(value, np.ndarray):
        if value.size != 1:
            raise InputError(f"label of shape {value.shape}; expected one")
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        raw = bytes(value).rstrip(b"\0")
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw.decode("latin-1")
    return str(value)


class _opened:
    """h5py's view of a file in memory; what it raises becomes an InputError."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.file: h5py.File

    def __enter__(self) -> h5py.File:
        try:
            self.file = h5py.File(io.BytesIO(self.data), "r", rdcc_nbytes=0)
        except _PROBLEMS as error:
            raise InputError(_diagnosis(self.data, error)) from None
        return self.file

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.file.close()
        if isinstance(error, _PROBLEMS) and not isinstance(error, InputError):
            raise InputError(_diagnosis(self.data, error)) from None
        if isinstance(error, Unlike):
            raise InputError("holds numbers of a kind that is not known")


def _diagnosis(data: bytes, error: BaseException) -> str:
    said = " ".join(str(error).split())[:200]
    if not data:
        return "empty: 0 bytes"
    if "signature not found" in said:
        return "not an HDF5 file"
    if "truncated file" in said:
        return "truncated, shorter than its header says"
    return f"damaged: {said}"


def _native(dataset: h5py.Dataset) -> np.ndarray:
    values = dataset[...]
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _child(file: h5py.File, name: str) -> Any:
    """Return a dataset of the root group that lies in this very file, None where there is none."""
    links = file.id.links
    if not links.exists(name.encode()):
        return None
    if links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise InputError(f"{name} is a link to another place, which is not followed")
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise InputError(f"{name} is no dataset")
    layout = found.id.get_create_plist()
    if layout.get_layout() == h5py.h5d.VIRTUAL or layout.get_external_count():
        raise InputError(f"{name} keeps its values in other files, which is refused")
    if found.id.get_space().get_simple_extent_npoints() * found.dtype.itemsize > _LARGEST:
        raise InputError(f"{name} of shape {found.shape}; more than 1 GiB is refused")
    if layout.get_layout() == h5py.h5d.CHUNKED:
        chunk = math.prod(layout.get_chunk()) * found.dtype.itemsize
        if chunk > _LARGEST:
            raise InputError(f"{name} has chunks of {chunk} bytes; more than 1 GiB is refused")
    return found
