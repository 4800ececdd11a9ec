"""Label images as PNG: numbers of 8 or 16 bits, or the colours that they came as.

This module knows names and options; how pixels become a file stands in ``files``.
"""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import xarray as xr

from dpipe.errors import SchemaError, UsageError
from dpipe.writers.annotations import files
from dpipe.writers.annotations.collection import Losses, check_collection, pictures_of
from dpipe.writers.atomic import aside

ENDING = "_objects"
"""What the name of a label image has behind that of its picture."""


def write_label_png(
    parts: Mapping[str, xr.Dataset],
    to: str | os.PathLike[str],
    *,
    colours: bool = False,
    pictures: bool = False,
) -> list[str]:
    """Write label images as PNG, under the names of their pictures.

    Parameters
    ----------
    parts : mapping of str to xarray.Dataset
        By stem: packed collections with ``label_pixels``, as of the readers ``instance-masks``,
        ``pictures`` and ``cellomics``, or of ``polygon-masks``.
    to : str or path
        Folder; it is made if need be. The labels of ``a.tif`` become ``a_objects.png``, in the
        folders of its name; they must not be there yet. Of several parts, each has a folder.
    colours : bool
        Write the colour of each number, red * 65536 + green * 256 + blue, in 24 bits: labels that
        came as colours become the picture that was read, pixel for pixel. If not, they are
        numbers of 8 bits where the labels are uint8, else of 16, or of 32 in a TIFF where one is
        above 65,535.
    pictures : bool
        Write the pictures too, under their own names: PNG and TIFF stay so, others become PNG of
        8 or 16 bits, or TIFF. The reader ``pictures`` finds their labels.

    Returns
    -------
    list of str
        Paths of the files; they got their names when all were whole.

    Raises
    ------
    SchemaError
        A part has no label images (nor pictures, with `pictures`), or a number is no colour.
    UsageError
        A file is there already, or two would have one name.

    Warns
    -----
    UserWarning
        Counts pictures without labels, and those that cannot be read.
    """
    for option, value in (("colours", colours), ("pictures", pictures)):
        if type(value) is not bool:
            raise UsageError(f"{option}: found {value!r}; expected true or false")
    for stem, ds in parts.items():
        check_collection(stem, ds)
        if "label_pixels" not in ds and not (pictures and "pixels" in ds):
            raise SchemaError(
                f"{stem}: no label images; make them with polygon-masks and name that dataset too"
            )
    folder, written = Path(to).expanduser().absolute(), list[str]()
    with ExitStack() as stack:  # all files or none
        for stem, ds in parts.items():
            below = folder / stem if len(parts) > 1 else folder
            written += _write_part(stack, stem, ds, below, colours=colours, pictures=pictures)
    return written


def _write_part(
    stack: ExitStack, stem: str, ds: xr.Dataset, folder: Path, *, colours: bool, pictures: bool
) -> list[str]:
    losses, written, seen = Losses(stem), list[str](), set[str]()
    channels = ds.sizes.get("c", 1)
    losses.counts["pictures that were put aside are left out"] += int((ds["height"] <= 0).sum())
    names = [str(name) for name in ds["file"].values]
    for picture in pictures_of(ds, losses, pixels=pictures, labels=True):
        name = names[picture.record]
        planned = []
        if picture.labels is not None:
            losses.counts["label images have no object"] += not picture.labels.any()
            pixels, suffix = files.label_picture(picture.labels, colours=colours)
            planned.append((_label_name(name, suffix), pixels))
        if picture.pixels is not None:
            own = files.written_name(name, picture.pixels.dtype, channels)
            planned.append((own, picture.pixels))
        for title, pixels in planned:
            if title.lower() in seen:
                raise UsageError(
                    f"{stem}: two files would be called {title}; write these records apart "
                    "(where=...)"
                )
            seen.add(title.lower())
            target = folder / title
            (path,) = stack.enter_context(aside([target]))
            files.write_picture(path, pixels, target.suffix)
            written.append(str(target))
    losses.warn()
    return written


def _label_name(file: str, suffix: str) -> str:
    """Return the name of the label image of a picture; one that is a label image keeps its own.

    Examples
    --------
    >>> _label_name("a/b.tif", ".png"), _label_name("b_objects.png", ".tif")
    ('a/b_objects.png', 'b_objects.tif')
    """
    path = Path(files.safe_name(file))
    title = files.short(path.name)
    return path.with_name(title.removesuffix(ENDING) + ENDING + suffix).as_posix()
