"""Pictures of Thermo Fisher Cellomics microscopes: .C01, and .DIB, which is the same unpacked.

A .C01 begins with the bytes 00 00 00 10; behind them stands the content of a .DIB as one zlib
stream. That is, in little-endian numbers, a header of 52 bytes (width, height, planes, bits a
pixel, compression, pixels per metre) and the planes, rows in order. The layout is that which
Bio-Formats reads; facts from it, no line of its code.

Knows one file, and what a file's name says; knows no folders.
"""

import re
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from dpipe.errors import InputError

SUFFIXES = (".c01", ".dib")
"""In small letters."""
MAGIC = b"\0\0\0\x10"
LARGEST = 1 << 31
"""Bytes of pixels above which a file is refused."""
_HEAD = struct.Struct("<iiihhiiiiii")
PIXELS = 52
"""Where the pixels begin; some bytes behind the numbers that are known say nothing."""
_DTYPES = {8: "|u1", 16: "<u2", 32: "<u4"}
_PLAIN = 0
_NAME = re.compile(
    r"(?P<plate>.+)_(?P<row>[A-Za-z]{1,2})(?P<column>\d{2})(?:f(?P<field>\d{2,3}))?"
    r"(?:[od](?P<channel>\d+))?(?P<rest>.*)"
)


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of its picture.

    Attributes
    ----------
    height, width, planes : int
        Its size.
    dtype : str
        Of its values.
    spacing : tuple of float or None
        Height and width of a pixel in micrometres; None where the file does not say.
    """

    height: int
    width: int
    planes: int
    dtype: str
    spacing: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Name:
    """What a file's name says.

    Attributes
    ----------
    plate, well : str
        For example ``"MFGTMPcx7_170702000001"`` and ``"B14"``.
    row, column : str
        Of the well: ``"B"`` and ``"14"``.
    field, channel : int
        Counted from 0; 0 where the name does not say.
    rest : str
        What stands behind, for example ``"_objects"``.
    """

    plate: str
    row: str
    column: str
    field: int
    channel: int
    rest: str

    @property
    def well(self) -> str:
        """Row and column."""
        return self.row + self.column


def name_of(stem: str) -> Name | None:
    """Return what the name of a file without suffix says, None if it is no such name.

    Examples
    --------
    >>> found = name_of("MFGTMPcx7_170702090001_A02f07d0")
    >>> found.plate, found.well, found.field, found.channel
    ('MFGTMPcx7_170702090001', 'A02', 7, 0)
    >>> name_of("A172_Phase_A7_1_00d00h00m_1") is None
    True
    """
    match = _NAME.fullmatch(stem)
    if match is None or (match["field"] is None and match["channel"] is None and match["rest"]):
        return None
    row, column = match["row"].upper(), match["column"]
    field, channel = int(match["field"] or 0), int(match["channel"] or 0)
    return Name(match["plate"], row, column, field, channel, match["rest"])


def look(file: BinaryIO) -> Header:
    """Return size and dtype of a picture; no pixel is unpacked.

    Raises
    ------
    InputError
        It is another format or damaged, or of a kind that nobody can read; the text does not name
        it.
    """
    start = file.read(4)
    return _header(
        _unpacked(file.read(4096), PIXELS) if start == MAGIC else start + file.read(PIXELS - 4)
    )


def read(data: bytes) -> np.ndarray:
    """Return the pixels of a picture, (height, width, planes).

    Raises
    ------
    InputError
        As of `look`, or it holds fewer bytes than its header promises.
    """
    packed = data[:4] == MAGIC
    header = _header(_unpacked(data[4 : 4 + 4096], PIXELS) if packed else data[:PIXELS])
    dtype = np.dtype(header.dtype)
    count = header.planes * header.height * header.width
    need = PIXELS + count * dtype.itemsize
    content = _unpacked(data[4:], need) if packed else data
    if len(content) < need:
        raise InputError(
            f"damaged: {len(content)} bytes; its header promises {need} "
            f"({header.width} x {header.height} x {header.planes} of {8 * dtype.itemsize} bits): "
            "the file is cut off or its pixels are compressed; export it again uncompressed"
        )
    pixels = np.frombuffer(content, dtype, count, PIXELS)
    planes = pixels.reshape(header.planes, header.height, header.width)
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def write(pixels: np.ndarray, *, packed: bool = True, spacing: float = 0.0) -> bytes:
    """Return the bytes of a file, for tests and the demo.

    Parameters
    ----------
    pixels : numpy.ndarray, shape (height, width)
        uint8 or uint16.
    packed : bool
        Whether as .C01, else as .DIB.
    spacing : float
        Micrometres of a pixel; 0 says nothing.
    """
    height, width = pixels.shape
    per_metre = round(1e6 / spacing) if spacing else 0
    bits = 8 * pixels.itemsize
    numbers = (40, width, height, 1, bits, 0, pixels.nbytes, per_metre, per_metre, 0, 0)
    head = _HEAD.pack(*numbers).ljust(PIXELS, b"\0")
    content = head + pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    return MAGIC + zlib.compress(content, 1) if packed else content


def _unpacked(data: bytes, most: int) -> bytes:
    """Unpack so many bytes and no more, whatever the stream would give."""
    try:
        return zlib.decompressobj().decompress(data, most)
    except zlib.error as error:
        raise InputError(f"damaged: no zlib stream behind the first 4 bytes ({error})") from error


def _header(head: bytes) -> Header:
    if len(head) < _HEAD.size:
        raise InputError(f"damaged: {len(head)} bytes of a header of {PIXELS}; fetch it again")
    _, width, height, planes, bits, compression, _, across, down, *_ = _HEAD.unpack(
        head[: _HEAD.size]
    )
    if not (0 < width < 1 << 20 and 0 < height < 1 << 20 and 0 < planes < 1 << 12):
        raise InputError(
            f"no Cellomics picture: {width} x {height} pixels in {planes} planes; expected a file "
            "that begins with 00 00 00 10 (.C01) or with its header (.DIB)"
        )
    if bits not in _DTYPES or compression != _PLAIN:
        raise InputError(
            f"{bits} bits a pixel, compression {compression}; only whole bytes that are not "
            "compressed can be read: export it again so, or as TIFF"
        )
    if planes * width * height * bits // 8 > LARGEST:
        raise InputError(f"{width} x {height} pixels in {planes} planes; at most {LARGEST} bytes")
    spacing = (1e6 / down, 1e6 / across) if across > 0 and down > 0 else None
    return Header(height, width, planes, _DTYPES[bits], spacing)
