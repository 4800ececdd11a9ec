"""Pictures of Cellomics: bytes written by hand from the layout, and what is wrong with them."""

import io
import struct
import zlib

import numpy as np
import pytest

from dpipe.errors import InputError
from dpipe.formats import cellomics

PIXELS = (np.arange(6 * 9).reshape(6, 9) * 997 % 65_536).astype("<u2")


def content(width=9, height=6, planes=1, bits=16, compression=0, across=1_550_388, body=None):
    """The bytes of a .DIB: header of 52 bytes, then pixels."""
    head = struct.pack("<iii", 40, width, height) + struct.pack("<hh", planes, bits)
    head += struct.pack("<i", compression) + bytes(4) + struct.pack("<iiii", across, across, 0, 0)
    return head.ljust(52, b"\xaa") + (PIXELS.tobytes() if body is None else body)


def c01(data):
    return b"\0\0\0\x10" + zlib.compress(data)


@pytest.mark.parametrize("wrap", [bytes, c01])
def test_pixels_and_header(wrap):
    data = wrap(content())
    header = cellomics.look(io.BytesIO(data))
    assert (header.height, header.width, header.planes, header.dtype) == (6, 9, 1, "<u2")
    assert header.spacing == pytest.approx((0.645, 0.645), rel=1e-6)
    np.testing.assert_array_equal(cellomics.read(data)[..., 0], PIXELS)


def test_planes_become_channels():
    body = np.arange(2 * 3 * 4, dtype="u1").reshape(2, 3, 4)
    data = c01(content(4, 3, 2, 8, body=body.tobytes()))
    np.testing.assert_array_equal(cellomics.read(data), body.transpose(1, 2, 0))


def test_a_file_that_does_not_say_its_scale():
    assert cellomics.look(io.BytesIO(content(across=0))).spacing is None


@pytest.mark.parametrize("packed", [True, False])
def test_what_is_written_is_read(packed):
    data = cellomics.write(PIXELS, packed=packed, spacing=0.5)
    np.testing.assert_array_equal(cellomics.read(data)[..., 0], PIXELS)
    assert cellomics.look(io.BytesIO(data)).spacing == (0.5, 0.5)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (c01(content())[:40], "the file is cut off or its pixels are compressed"),
        (c01(content(body=b"few")), "the file is cut off or its pixels are compressed"),
        (content()[:20], "bytes of a header"),
        (b"\0\0\0\x10no zlib stream at all", "no zlib stream"),
        (b"\0\0\0\x11" + bytes(60), "no Cellomics picture"),
        (b"\x89PNG\r\n\x1a\n" + bytes(60), "no Cellomics picture"),
        (content(width=-9), "no Cellomics picture"),
        (content(bits=12), "12 bits a pixel"),
        (content(compression=1), "compression 1"),
        (content(width=1 << 19, height=1 << 19), "at most 2147483648 bytes"),
    ],
)
def test_what_cannot_be_read_is_told(data, problem):
    with pytest.raises(InputError, match=problem):
        cellomics.read(data)


def test_a_stream_is_unpacked_no_further_than_its_header_promises():
    bomb = b"\0\0\0\x10" + zlib.compress(content() + bytes(200 << 20), 9)
    assert cellomics.read(bomb).shape == (6, 9, 1)


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("MFGTMPcx7_170702000001_B14f07d0", ("MFGTMPcx7_170702000001", "B14", 7, 0, "")),
        ("AS_09125_050116030001_D03f00d2", ("AS_09125_050116030001", "D03", 0, 2, "")),
        ("P_1_A02f07d0_objects", ("P_1", "A02", 7, 0, "_objects")),
        ("P_1_AF48f100o1", ("P_1", "AF48", 100, 1, "")),
        ("P_1_a02d1", ("P_1", "A02", 0, 1, "")),
        ("P_1_H12", ("P_1", "H12", 0, 0, "")),
        ("A172_Phase_C7_1_02d16h00m_2", None),
        ("cells", None),
    ],
)
def test_names(stem, expected):
    found = cellomics.name_of(stem)
    told = found and (found.plate, found.well, found.field, found.channel, found.rest)
    assert told == expected
