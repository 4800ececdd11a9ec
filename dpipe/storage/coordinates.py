"""Objects of coordinates: each is one chunk, encoded and decoded without Zarr.

Opening a part decodes some five of them and laying one out encodes them; through Zarr that costs
more than a millisecond each. Few numbers are their bytes and a checksum, text is length-prefixed
UTF-8, squeezed by Zstandard if it is long; anything else is left to Zarr.

It knows no store.
"""

from collections.abc import Mapping
from typing import Any

import google_crc32c
import numcodecs
import numpy as np

from dpipe.errors import DamageError

_CHECKSUM = 4
_LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
_NUMBERS = ([_LITTLE, {"name": "crc32c"}], [{"name": "bytes"}, {"name": "crc32c"}])
_TEXT = (["vlen-utf8", "crc32c"], ["vlen-utf8", "zstd", "crc32c"])


def encode(document: Mapping[str, Any], values: np.ndarray) -> dict[str, bytes] | None:
    """Return the one object of a coordinate by its key below the array; None if Zarr must do it."""
    if not values.size:
        return {}
    key = "/".join(["c", *("0" for _ in values.shape)])
    if _is_text(document):
        data = numcodecs.VLenUTF8().encode(values.astype(object).reshape(-1))
        large = len(document["codecs"]) == len(_TEXT[1])
        return {key: _checked(numcodecs.Zstd(level=1).encode(data) if large else data)}
    if document["codecs"] in _NUMBERS:
        dtype = values.dtype.newbyteorder("<")
        return {key: _checked(np.ascontiguousarray(values, dtype).tobytes())}
    return None


def decode(document: Mapping[str, Any], objects: Mapping[str, bytes], where: str) -> Any:
    """Return the values of a coordinate from its one object, None if Zarr must do it.

    Raises
    ------
    DamageError
        The checksum of the object is another, or it does not hold that many values.
    """
    shape = tuple(document["shape"])
    text = _is_text(document)
    if 0 in shape or len(objects) != 1 or not (text or document["codecs"] in _NUMBERS):
        return None
    data = next(iter(objects.values()))
    body = data[:-_CHECKSUM]
    if int(google_crc32c.value(body)).to_bytes(_CHECKSUM, "little") != data[-_CHECKSUM:]:
        raise DamageError(f"{where}: an object cannot be decoded (its checksum differs); verify")
    try:
        if text:
            large = len(document["codecs"]) == len(_TEXT[1])
            raw = numcodecs.Zstd().decode(body) if large else body
            values = numcodecs.VLenUTF8().decode(raw)
            return np.asarray(values.tolist(), dtype=str).reshape(shape)
        dtype = np.dtype(document["data_type"]).newbyteorder("<")
        return np.frombuffer(bytearray(body), dtype).reshape(shape)
    except (ValueError, RuntimeError, TypeError) as error:
        raise DamageError(f"{where}: an object cannot be decoded ({error}); verify") from error


def _is_text(document: Mapping[str, Any]) -> bool:
    return [codec["name"] for codec in document["codecs"]] in _TEXT


def _checked(data: bytes) -> bytes:
    data = bytes(data)
    return data + int(google_crc32c.value(data)).to_bytes(_CHECKSUM, "little")
