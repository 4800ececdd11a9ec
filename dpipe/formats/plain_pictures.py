"""Pictures of one plane: PNG, JPEG, BMP and plain TIFF, as (height, width, channels).

Pixels are those of the file: 1, 8 or 16 bits are not stretched, colours of a palette become their
red, green and blue unless its numbers are wanted, transparency is a channel. A TIFF of several
pages is no plain picture.

Knows one file; knows no names and no folders.
"""

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO

import imagecodecs
import numpy as np
import tifffile

from dpipe.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""In small letters."""
LARGEST = 1 << 31
"""Bytes of a decoded picture above which it is refused."""
_PNG, _JPEG, _BMP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_PALETTE = 3
_FRAMES = {0xC0 + k for k in range(16)} - {0xC4, 0xC8, 0xCC}
_HEAD = 64 << 10


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of its picture.

    Attributes
    ----------
    height, width, channels : int
        Its size.
    dtype : str
        Of its values.
    """

    height: int
    width: int
    channels: int
    dtype: str


def is_known(head: bytes) -> bool:
    """Tell whether a file begins as one of these formats does."""
    return head.startswith((_PNG, _JPEG, _BMP, *_TIFF))


def look(file: BinaryIO) -> Header:
    """Return size and dtype of a picture; its pixels are not decoded.

    Raises
    ------
    InputError
        It is damaged, another format, of several pages, or too large; the text does not name it.
    """
    head = file.read(_HEAD)
    if not head:
        raise InputError("an empty file; fetch it again")
    try:
        if head.startswith(_PNG):
            found = _png(head)
        elif head.startswith(_JPEG):
            found = _jpeg(head if len(head) < _HEAD else head + file.read())
        elif head.startswith(_TIFF):
            file.seek(0)
            found = _tiff(io.BytesIO(file.read()))
        elif head.startswith(_BMP):
            found = Header(*_shaped(imagecodecs.bmp_decode(head + file.read())), "|u1")
        else:
            raise InputError("no PNG, JPEG, BMP or TIFF; convert it, or leave it out")
    except InputError:
        raise
    except (struct.error, IndexError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise InputError(f"damaged: the header cannot be read ({error}); fetch it again") from error
    if not (found.height > 0 and found.width > 0):
        raise InputError(f"damaged: {found.height} x {found.width} pixels")
    size = found.height * found.width * found.channels * np.dtype(found.dtype).itemsize
    if size > LARGEST:
        raise InputError(f"{size} bytes of pixels; a plain picture has at most {LARGEST}")
    return found


def read(data: bytes) -> np.ndarray:
    """Return the pixels of a picture, (height, width, channels).

    Raises
    ------
    InputError
        As of `look`, or its pixels cannot be decoded, or are not as many as its header says.
    """
    header = look(io.BytesIO(data))
    try:
        if data.startswith(_PNG):
            pixels = imagecodecs.png_decode(data)
        elif data.startswith(_JPEG):
            pixels = imagecodecs.jpeg_decode(data)
        elif data.startswith(_BMP):
            pixels = imagecodecs.bmp_decode(data)
        else:
            with tifffile.TiffFile(io.BytesIO(data)) as tif:
                pixels = tif.pages.first.asarray()
                if tif.pages.first.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
                    pixels = np.moveaxis(pixels, 0, -1) if pixels.ndim > 2 else pixels
    except (RuntimeError, ValueError, KeyError, IndexError, TypeError, OSError) as error:
        raise InputError(f"damaged: its pixels cannot be decoded ({error})") from error
    pixels = pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
    pixels = pixels.view(np.uint8) if pixels.dtype == bool else pixels
    expected = (header.height, header.width, header.channels)
    if pixels.shape != expected or pixels.dtype.newbyteorder("=") != np.dtype(header.dtype):
        raise InputError(
            f"damaged: {pixels.shape} {pixels.dtype} decoded; its header says {expected} "
            f"{np.dtype(header.dtype).name}"
        )
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))


def _shaped(pixels: np.ndarray) -> tuple[int, int, int]:
    return pixels.shape if pixels.ndim == 3 else (*pixels.shape, 1)


def _png(head: bytes) -> Header:
    if head[12:16] != b"IHDR":
        raise ValueError("no IHDR")
    width, height, bits, colour = struct.unpack(">IIBB", head[16:26])
    channels = _PNG_CHANNELS[colour]
    if colour == _PALETTE and b"tRNS" in head[: head.find(b"IDAT")]:
        channels = 4
    elif colour in (0, 2) and b"tRNS" in head[: head.find(b"IDAT")]:
        channels += 1
    return Header(height, width, channels, "<u2" if bits == 16 else "|u1")


def _jpeg(data: bytes) -> Header:
    at = 2
    while True:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at] != 0xFF:
            raise ValueError("a marker is missing")
        if marker in _FRAMES:
            bits, height, width, channels = struct.unpack(">BHHB", data[at + 4 : at + 10])
            if bits != 8:
                raise ValueError(f"{bits} bits a pixel")
            return Header(height, width, channels, "|u1")
        at += 1 if marker == 0xFF else 2 + length


def _tiff(file: io.BytesIO) -> Header:
    with tifffile.TiffFile(file) as tif:
        if len(tif.pages) != 1:
            raise InputError(f"TIFF of {len(tif.pages)} pages; reader tiff opens it as a movie")
        page = tif.pages.first
        if page.dtype is None or page.imagedepth != 1:
            raise InputError("TIFF of a kind that is no plain picture; reader tiff may open it")
        dtype = "|u1" if page.dtype == bool else np.dtype(page.dtype).newbyteorder("<").str
        return Header(page.imagelength, page.imagewidth, page.samplesperpixel, dtype)
