"""Pictures and label images of a collection as files of their own names: PNG, or TIFF.

Both keep every value. A picture stays what it was, PNG or TIFF, where that holds its values;
what came as JPEG, BMP or of a microscope becomes PNG, or TIFF where PNG cannot hold it. It knows
names and pixels of one picture; it knows no collections.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import imagecodecs
import numpy as np
import tifffile

from dpipe.errors import SchemaError, UsageError

_PNG_DTYPES = ("uint8", "uint16")
_TIFF_DTYPES = "uint8 uint16 uint32 int8 int16 int32 float32 float64".split()
_SUFFIXES = {".png": ".png", ".tif": ".tif", ".tiff": ".tiff"}
_PLAIN_CHANNELS = (1, 3)
"""Channels that PNG shows as they are: grey, and colours; with two or four, one is transparency."""
_MOST_PNG_CHANNELS = 4
LARGEST_COLOUR = (1 << 24) - 1


def written_name(file: str, dtype: np.dtype, channels: int) -> str:
    """Return the name under which a picture is written, with its folders, and its suffix.

    Examples
    --------
    >>> written_name("A172/cells_3.tif", np.dtype("u1"), 1)
    'A172/cells_3.tif'
    >>> written_name("/data/a.JPG", np.dtype("u1"), 3), written_name("a.png", np.dtype("f4"), 1)
    ('a.png', 'a.tif')
    """
    path = PurePosixPath(safe_name(file))
    kept = _SUFFIXES.get(path.suffix.lower(), "")
    holds = dtype.name in _PNG_DTYPES and (
        channels in _PLAIN_CHANNELS or (kept == ".png" and channels <= _MOST_PNG_CHANNELS)
    )
    if kept and (kept != ".png" or holds):
        return str(path)
    return str(path.with_name(short(path.name) + (".png" if holds else ".tif")))


def safe_name(file: str) -> str:
    r"""Return the name of a picture with its folders; without them if they lead elsewhere.

    Examples
    --------
    >>> safe_name("a\\b.png"), safe_name("../b.png"), safe_name("C:/b.png")
    ('a/b.png', 'b.png', 'b.png')
    """
    path = PurePosixPath(file.replace("\\", "/"))
    inside = not path.is_absolute() and ".." not in path.parts and ":" not in file
    return str(path) if inside else path.name


def short(name: str) -> str:
    """Return the name of a file without its folders and its suffix.

    Examples
    --------
    >>> short("a/b.c.tif"), short("raw")
    ('b.c', 'raw')
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    return last.rpartition(".")[0] or last


def check_names(stem: str, names: Sequence[str]) -> None:
    """Refuse two files of one name, whatever its letters' case.

    Raises
    ------
    UsageError
        There are two.
    """
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise UsageError(
                f"{stem}: two files would be called {name}; write these parts or records apart "
                "(part=..., where=...)"
            )
        seen.add(name.lower())


def write_picture(path: Path, pixels: np.ndarray, suffix: str) -> None:
    """Write a picture.

    Parameters
    ----------
    path : Path
        Under whatever name it is written for now.
    pixels : numpy.ndarray, shape (height, width, channel)
        Its values.
    suffix : str
        Of the name that it gets: ``.png``, or TIFF.

    Raises
    ------
    SchemaError
        Neither holds such numbers.
    """
    plain = np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    plain = plain.astype(plain.dtype.newbyteorder("="), copy=False)
    if suffix.lower() == ".png":
        path.write_bytes(imagecodecs.png_encode(plain))
        return
    if plain.dtype.name not in _TIFF_DTYPES:
        raise SchemaError(f"{path.stem}: TIFF holds no {plain.dtype}; convert it first")
    tifffile.imwrite(
        path,
        plain,
        photometric="rgb" if pixels.shape[-1] in (3, 4) else "minisblack",
        planarconfig="contig" if plain.ndim > 2 else None,
        compression="zlib",
        predictor=plain.dtype.kind in "ui",
        maxworkers=1,
        metadata=None,
    )


def label_picture(labels: np.ndarray, *, colours: bool) -> tuple[np.ndarray, str]:
    """Return a label image as the pixels of a file, and the suffix of its name.

    Parameters
    ----------
    labels : numpy.ndarray, shape (height, width)
        Numbers of objects.
    colours : bool
        Whether each number is a colour: red * 65536 + green * 256 + blue.

    Returns
    -------
    tuple of (numpy.ndarray, str)
        (height, width, 1) or (height, width, 3), and ``.png``, or ``.tif`` for numbers of more
        than 16 bits.

    Raises
    ------
    SchemaError
        A number is no colour.

    Examples
    --------
    >>> pixels, suffix = label_picture(np.array([[0, 0x010203]], "u4"), colours=True)
    >>> pixels.tolist(), suffix
    ([[[0, 0, 0], [1, 2, 3]]], '.png')
    """
    largest = int(labels.max(initial=0))
    if colours:
        if largest > LARGEST_COLOUR:
            raise SchemaError(f"label {largest} is no colour of 24 bits; write numbers")
        shifts = np.array([16, 8, 0], np.uint32)
        return (labels[..., None].astype(np.uint32) >> shifts & 255).astype(np.uint8), ".png"
    if labels.dtype.itemsize == 1:
        return labels[..., None], ".png"
    if largest < 1 << 16:
        return labels[..., None].astype(np.uint16), ".png"
    return labels[..., None].astype(np.uint32), ".tif"
