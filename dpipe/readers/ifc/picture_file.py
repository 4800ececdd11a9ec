"""One picture in an HDF5 file: ``image (H, W, C)`` or ``(H, W)``, maybe ``mask`` and ``label``.

Files with contiguous arrays, as h5py writes them by default, are parsed by ``hdf5_layout``, which
is five times as fast as the HDF5 library. h5py has the last word on all others, and on what is
damaged; it too follows no link to another place and reads no bytes of other files.

Knows what these three datasets must be; knows no folders and no other pictures.
"""

import io
import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, BinaryIO

import h5py
import hdf5plugin  # noqa: F401  registers the filters of HDF5, among them LZ4
import imagecodecs
import numpy as np

from dpipe.errors import InputError
from dpipe.formats.hdf5_layout import LOST, NAMES, Unlike, label_of, members, view
from dpipe.readers.packing import Facts

LARGEST = 1 << 30
"""Bytes of a file, of its picture or of one of its chunks, above which it is refused."""
_HEAD = 4096
"""Bytes at the beginning of a file that mostly hold all headers."""
_SHOWN = 5
_DEFLATE, _SHUFFLE = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE
_PROBLEMS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError)


def look(file: BinaryIO, threshold: float | None = None) -> Facts:
    """Return the facts of a file.

    Parameters
    ----------
    file : binary file
        Open; of one on disk mostly only the beginning is read.
    threshold : float, optional
        What of a mask is inside: what lies above it. Without one, masks of floats and of signed
        numbers are looked at whole, for they must hold whole numbers from 0.

    Returns
    -------
    Facts
        Sizes, dtypes and label; no pixel of the picture was looked at.

    Raises
    ------
    InputError
        The file is damaged, or holds something else; the text does not name it.
    """
    facts = _looked(file)
    if facts.mask and threshold is not None:
        return replace(facts, mask="|b1")
    if facts.mask and np.dtype(facts.mask).kind in "fi":
        file.seek(0)
        planes(file.read())
    return facts


def _looked(file: BinaryIO) -> Facts:
    if not isinstance(file, io.BytesIO):
        number = file.fileno()
        with suppress(*LOST):
            size = os.fstat(number).st_size
            return _stated(
                os.pread(number, _HEAD, 0), size, lambda start, n: os.pread(number, n, start)
            )
    data = file.read()
    with suppress(*LOST):
        return _stated(data, len(data), lambda start, n: data[start : start + n])
    with _opened(data) as opened:
        image, mask = _named(opened, "image"), _named(opened, "mask")
        return _facts(image, mask, *_label_of(opened))


def _stated(data: bytes, size: int, read: Callable[[int, int], bytes]) -> Facts:
    datasets = members(data, size)
    label, odd = _told(label_of(read, datasets["label"])) if "label" in datasets else (None, "")
    return _facts(datasets.get("image"), datasets.get("mask"), label, odd)


def planes(data: bytes, threshold: float | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the picture and the mask of a file.

    Parameters
    ----------
    data : bytes
        The whole file.
    threshold : float, optional
        As for `look`: the mask becomes truth values.

    Returns
    -------
    tuple of (numpy.ndarray, numpy.ndarray or None)
        Both (height, width, channels); views of `data` where it holds them as they are.

    Raises
    ------
    InputError
        As for `look`, or the pixels cannot be decoded.
    """
    image, mask = arrays(data)
    return image, None if mask is None else _covered(mask, threshold)


def arrays(data: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """Return picture and mask of a file, (height, width, channels), whatever the mask holds."""
    image: np.ndarray
    mask: np.ndarray | None = None
    with suppress(*LOST):
        datasets = members(data, len(data))
        facts = _facts(datasets["image"], datasets.get("mask"), None)
        image = view(data, datasets["image"])
        mask = view(data, datasets["mask"]) if "mask" in datasets else None
        return _cubes(image, mask, facts)
    with _opened(data) as file:
        image_dataset, mask_dataset = _named(file, "image"), _named(file, "mask")
        facts = _facts(image_dataset, mask_dataset, None)
        image = _values(image_dataset, data)
        return _cubes(image, None if mask_dataset is None else _values(mask_dataset, data), facts)


def _cubes(
    image: np.ndarray, mask: np.ndarray | None, facts: Facts
) -> tuple[np.ndarray, np.ndarray | None]:
    """Give a grey picture the one channel that it has."""
    shape = (facts.height, facts.width, facts.channels)
    return image.reshape(shape), None if mask is None else mask.reshape(shape)


def _covered(mask: np.ndarray, threshold: float | None) -> np.ndarray:
    """Return a mask that says of each pixel whether it is inside, and maybe of what."""
    if mask.dtype.kind == "b":
        return mask
    if threshold is not None:
        return mask > threshold  # which NaN is not
    if mask.dtype.kind == "u":
        return mask
    finite = np.isfinite(mask)
    finite_values = mask[finite]
    odd = {
        "fractions": bool((finite_values != np.floor(finite_values)).any()),
        "values below 0": bool((finite_values < 0).any()),
        "values that are not finite": not finite.all(),
    }
    if not any(odd.values()):
        return mask
    largest = float(finite_values.max(initial=0))
    way = next((n / 2 for n in (1, 255) if largest <= n), largest / 2)
    if largest <= 0 or not (odd["fractions"] or odd["values that are not finite"]):
        way = 0
    kinds = " and ".join(kind for kind, present in odd.items() if present)
    raise InputError(
        f"mask of {mask.dtype} with {kinds}; "
        f"expected whole numbers from 0. Say threshold={way:g} to take what is above it"
    )


def _facts(image: Any, mask: Any, label: str | None, odd: str = "") -> Facts:
    """Check what the datasets say of themselves, whoever read it."""
    if image.dtype is None or (mask is not None and mask.dtype is None):
        raise Unlike
    size = tuple(int(n) for n in image.shape)
    if len(size) not in (2, 3) or not all(size):
        raise InputError(f"image of shape {size}; expected (height, width, channels)")
    height, width, channels = shape = (*size, 1)[:3]
    if image.dtype.kind not in "uif" or image.dtype.itemsize > 8:
        raise InputError(f"image of {image.dtype}; expected integers or floats of up to 64 bits")
    if math.prod(shape) * image.dtype.itemsize > LARGEST:
        raise InputError(f"image of shape {size}; more than 1 GiB is refused")
    kind = image.dtype.newbyteorder("=").str
    if mask is None:
        return Facts(height, width, channels, kind, "", label, odd)
    if (*map(int, mask.shape), 1)[:3] != shape:
        mismatch = f"mask of shape {tuple(mask.shape)} beside an image of {size}"
        raise InputError(f"{mismatch}; expected the same shape, a mask for each channel")
    if mask.dtype.kind not in "buif" or mask.dtype.itemsize > 8:
        raise InputError(f"mask of {mask.dtype}; expected numbers or truth values")
    return Facts(height, width, channels, kind, mask.dtype.newbyteorder("=").str, label, odd)


def _label_of(file: h5py.File) -> tuple[str | None, str]:
    """Return a label and a note on it, "" for none; a bad one spoils no picture."""
    try:
        dataset = _named(file, "label")
        value = None if dataset is None else dataset[()]
    except InputError as error:
        return None, f"{error}; the picture has no label"
    if not isinstance(value, np.ndarray) or value.size == 1:
        return (None, "") if value is None else _told(value)
    if value.dtype.kind in "buif" and value.ndim == 1 and np.count_nonzero(value) == 1:
        (place,) = np.flatnonzero(value)
        if value[place] == 1:
            return str(place), f"label is one of {value.size} by its place (one-hot), from 0"
    return None, f"label of shape {value.shape}; expected one; the picture has no label"


def _told(value: Any) -> tuple[str | None, str]:
    """Return a label as text, and a note on it: not a number is none."""
    text = _text(value)
    if text == "nan" and not isinstance(value, bytes | str):
        return None, "label is NaN; the picture has no label"
    return text, ""


def _text(value: Any) -> str:
    """Return a label as text, whatever it is kept as."""
    if isinstance(value, np.ndarray):
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
    reason = " ".join(str(error).split())[:100]  # every record of a table has as much room
    if not data:
        return "empty: 0 bytes"
    if "signature not found" in reason:
        return "not an HDF5 file"
    if "truncated file" in reason:
        return "truncated, shorter than its header says"
    return f"damaged: {reason}"


def _values(dataset: h5py.Dataset, data: bytes) -> np.ndarray:
    """Return all values of a dataset in this machine's byte order."""
    codes = _filters(dataset)
    if codes[codes[:1] == [_SHUFFLE] :] == [_DEFLATE] and dataset.dtype.kind in "uif":
        values = _inflated(dataset, data, shuffled=codes[0] == _SHUFFLE)
    else:
        values = dataset[...]
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _filters(dataset: h5py.Dataset) -> list[int]:
    layout = dataset.id.get_create_plist()
    return [layout.get_filter(i)[0] for i in range(layout.get_nfilters())]


def _inflated(dataset: h5py.Dataset, data: bytes, *, shuffled: bool) -> np.ndarray:
    """Decode deflated chunks into buffers of the size of a chunk: faster, and no bomb goes off."""
    chunk, dtype = dataset.chunks, dataset.dtype
    size = math.prod(chunk) * dtype.itemsize
    out = np.empty(dataset.shape, dtype)
    stored: list[Any] = []
    dataset.id.chunk_iter(stored.append)
    for chunk_stored in stored:
        raw: Any = data[chunk_stored.byte_offset : chunk_stored.byte_offset + chunk_stored.size]
        if not chunk_stored.filter_mask >> int(shuffled) & 1:  # a chunk may be kept as it is
            raw = imagecodecs.deflate_decode(raw, out=size)
        if len(raw) != size:
            raise InputError(f"damaged: a chunk decodes to {len(raw)} bytes; expected {size}")
        values = np.frombuffer(raw, np.uint8)
        if shuffled and not chunk_stored.filter_mask & 1:
            values = np.ascontiguousarray(values.reshape(dtype.itemsize, -1).T).reshape(-1)
        place = tuple(
            slice(i, min(i + n, end))
            for i, n, end in zip(chunk_stored.chunk_offset, chunk, dataset.shape, strict=True)
        )
        inside = tuple(slice(0, cut.stop - cut.start) for cut in place)
        out[place] = values.view(dtype).reshape(chunk)[inside]
    return out


def _named(file: h5py.File, key: str) -> Any:
    """Return a dataset by either of its names; only an image must be there."""
    names = [name for name in NAMES[key] if file.id.links.exists(name.encode())]
    if len(names) > 1:
        raise InputError(f"both {names[0]} and {names[1]}; expected one of them")
    if not names and key == "image":
        members_there = ", ".join(sorted(file)[:_SHOWN]) or "nothing"
        raise InputError(f"no dataset image (height, width, channels); found {members_there}")
    return _child(file, names[0]) if names else None


def _child(file: h5py.File, name: str) -> Any:
    """Return a dataset of the root group that lies in this very file, None where there is none."""
    links = file.id.links
    if not links.exists(name.encode()):
        return None
    if links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise InputError(f"{name} is a link to another place, which is not followed")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise InputError(f"{name} is no dataset")
    if dataset.shape is None:
        raise InputError(f"{name} is empty; expected values")
    layout = dataset.id.get_create_plist()
    if layout.get_layout() == h5py.h5d.VIRTUAL or layout.get_external_count():
        raise InputError(f"{name} keeps its values in other files, which is refused")
    if dataset.id.get_space().get_simple_extent_npoints() * dataset.dtype.itemsize > LARGEST:
        raise InputError(f"{name} of shape {dataset.shape}; more than 1 GiB is refused")
    if layout.get_layout() == h5py.h5d.CHUNKED:
        chunk = math.prod(layout.get_chunk()) * dataset.dtype.itemsize
        if chunk > LARGEST:
            raise InputError(f"{name} has chunks of {chunk} bytes; more than 1 GiB is refused")
        expected = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
        if dataset.id.get_num_chunks() != expected:
            raise InputError(f"damaged: {name} has not all of its {expected} chunks")
    elif dataset.size and not dataset.id.get_storage_size():
        raise InputError(f"damaged: {name} was never written")
    return dataset
