"""Plain pictures: what other programs write is read, pixel by pixel; what is none is told."""

import io

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from dpipe.errors import InputError
from dpipe.formats import plain_pictures

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (13, 17), dtype="u1")
COLOUR = RNG.integers(0, 255, (13, 17, 3), dtype="u1")
DEEP = RNG.integers(0, 65_535, (13, 17)).astype("u2")


def saved(array, form, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, form, **options)
    return file.getvalue()


def tiff(array, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def palette():
    file = io.BytesIO()
    image = Image.fromarray(GREY // 64, "L").convert("P")
    image.putpalette([k for level in range(256) for k in (level, 2 * level % 256, 7)])
    image.save(file, "PNG")
    return file.getvalue()


CASES = {
    "grey": (saved(GREY, "PNG"), GREY[..., None]),
    "colour": (saved(COLOUR, "PNG"), COLOUR),
    "16 bits": (saved(DEEP, "PNG"), DEEP[..., None]),
    "16 bits a colour": (imagecodecs.png_encode(np.dstack([DEEP] * 3)), np.dstack([DEEP] * 3)),
    "transparent": (saved(np.dstack([COLOUR, GREY]), "PNG"), np.dstack([COLOUR, GREY])),
    "bmp": (saved(COLOUR, "BMP"), COLOUR),
    "tiff": (tiff(GREY), GREY[..., None]),
    "tiff, big endian": (tiff(DEEP, byteorder=">"), DEEP[..., None]),
    "tiff, packed": (tiff(DEEP, compression="zlib"), DEEP[..., None]),
    "tiff, floats": (tiff(GREY.astype("f4")), GREY.astype("f4")[..., None]),
    "tiff, colour": (tiff(COLOUR, photometric="rgb"), COLOUR),
    "tiff, colours apart": (
        tiff(np.moveaxis(COLOUR, -1, 0), planarconfig="separate", photometric="rgb"),
        COLOUR,
    ),
    "tiff, one bit": (saved(GREY > 99, "TIFF"), (GREY > 99).astype("u1")[..., None]),
}


@pytest.mark.parametrize("name", CASES)
def test_pixels_and_header(name):
    data, expected = CASES[name]
    header, pixels = plain_pictures.look(io.BytesIO(data)), plain_pictures.read(data)
    np.testing.assert_array_equal(pixels, expected)
    assert pixels.dtype == expected.dtype == np.dtype(header.dtype)
    assert (header.height, header.width, header.channels) == expected.shape


def test_colours_of_a_palette():
    pixels = plain_pictures.read(palette())
    assert pixels.shape == (13, 17, 3)
    np.testing.assert_array_equal(pixels[..., 1], 2 * (GREY // 64))


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_as_pillow_decodes_it(progressive):
    data = saved(COLOUR, "JPEG", progressive=progressive, quality=95)
    expected = np.asarray(Image.open(io.BytesIO(data)))
    pixels = plain_pictures.read(data)
    assert plain_pictures.look(io.BytesIO(data)).width == 17
    assert np.abs(pixels.astype(int) - expected).max() <= 2  # decoders round differently


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "an empty file"),
        (b"GIF89a", "no PNG, JPEG, BMP or TIFF"),
        (CASES["grey"][0][:20], "the header cannot be read"),
        (CASES["grey"][0][:60], "pixels cannot be decoded"),
        (saved(COLOUR, "JPEG")[:100], "the header cannot be read"),
        (tiff(np.stack([GREY, GREY]), photometric="minisblack"), "TIFF of 2 pages; reader tiff"),
        (CASES["tiff"][0][:100], "damaged"),
    ],
)
def test_what_cannot_be_read_is_told(data, problem):
    with pytest.raises(InputError, match=problem):
        plain_pictures.read(data)


def test_a_picture_that_promises_too_much_is_not_decoded():
    data = bytearray(CASES["grey"][0])
    data[16:24] = (1 << 20).to_bytes(4, "big") * 2
    with pytest.raises(InputError, match="bytes of pixels; a plain picture has at most"):
        plain_pictures.read(bytes(data))
