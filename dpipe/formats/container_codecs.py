"""How large a chunk of others says that it is, unpacked: looked at before a codec makes it.

Codecs take what a chunk says and ask for as much memory; 1 MB can stand for 1 GB. Chunks inside of
shards, and what gzip and zlib do not say, are not looked at.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Any

from dpipe.errors import InputError
from dpipe.formats.container_places import Place

_CHECKSUMS = ("crc32c", "crc32", "adler32", "fletcher32")
_TRAILER = 4


class Bounded:
    """A container whose chunks are no larger, unpacked, than they can rightly be.

    Parameters
    ----------
    inner : Place
        The container.
    codec : str
        What its chunks are packed by.
    checked : bool
        Whether a checksum of 4 bytes stands behind it.
    largest : int
        Bytes that a chunk has at most.
    """

    def __init__(self, inner: Place, codec: str, checked: bool, largest: int) -> None:
        self.url, self.packed = inner.url, inner.packed
        self.inner, self.codec, self.checked, self.largest = inner, codec, checked, largest

    def read(self, key: str) -> bytes:
        """Return the bytes at a key."""
        data = self.inner.read(key)
        size = unpacked(self.codec, data[: len(data) - _TRAILER * self.checked])
        if size > self.largest:
            raise InputError(
                f"{key}: an object cannot be decoded (it says that it takes {size} bytes unpacked; "
                f"at most {self.largest} are read); it is damaged or not what its metadata say"
            )
        return data

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Return some of them."""
        return self.inner.read_range(key, start, stop)

    def size(self, key: str) -> int:
        """Return how many there are."""
        return self.inner.size(key)

    def list(self, prefix: str) -> Iterator[tuple[str, int, str]]:
        """Yield what begins with a prefix."""
        return self.inner.list(prefix)


def bounded(place: Place, metadata: Mapping[str, Any], largest: int) -> Place:
    """Return a container that bounds the chunks of one array, where they say how large they are."""
    if metadata.get("zarr_format") == 2:
        packers = [metadata.get("compressor")]
    else:
        packers = list(metadata.get("codecs") or ())
    names = [_name(packer) for packer in packers]
    checked = bool(names) and names[-1] in _CHECKSUMS
    codec = names[-1 - checked] if len(names) > checked else ""
    return Bounded(place, codec, checked, largest) if codec in _SIZES else place


def _name(codec: Any) -> str:
    name = codec.get("id", codec.get("name")) if isinstance(codec, Mapping) else codec
    return str(name).removeprefix("numcodecs.")


def unpacked(codec: str, data: bytes) -> int:
    """Return the unpacked size that packed data tell, 0 where they do not.

    Examples
    --------
    >>> import gzip
    >>> unpacked("gzip", gzip.compress(bytes(1000)))
    1000
    """
    try:
        return _SIZES[codec](data)
    except (struct.error, IndexError):  # too short, which the codec will say
        return 0


def _zstd(data: bytes) -> int:
    """By RFC 8878: the first frame's size stands behind its descriptor."""
    if data[:4] != b"\x28\xb5\x2f\xfd":
        return 0
    descriptor = data[4]
    single, width = descriptor >> 5 & 1, (descriptor >> 5 & 1, 2, 4, 8)[descriptor >> 6]
    position = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    size = int.from_bytes(data[position : position + width], "little")
    return size + 256 * (width == 2)


_SIZES = {
    "blosc": lambda data: int(struct.unpack_from("<I", data, 4)[0]),
    "gzip": lambda data: int(struct.unpack_from("<I", data, len(data) - 4)[0]),
    "lz4": lambda data: int(struct.unpack_from("<I", data)[0]),
    "zstd": _zstd,
}
