"""COCO: movies with the cells in them, or annotated pictures; the parts decide which.

This module knows options and which of the two writers takes them.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import xarray as xr

from dpipe.errors import SchemaError, UsageError
from dpipe.writers.annotations.coco import check_choices, write_collections
from dpipe.writers.annotations.collection import is_collection
from dpipe.writers.training import coco
from dpipe.writers.training.pictures import Names
from dpipe.writers.training.splits import SplitChoice


def write_coco(
    parts: Mapping[str, xr.Dataset],
    to: str | os.PathLike[str],
    *,
    split: SplitChoice = None,
    size: float | None = None,
    image: str = "image",
    channels: Names = None,
    file: Literal["png", "tiff"] = "png",
    empty: bool = True,
    unmarked: Literal["refuse", "skip"] = "refuse",
    pictures: bool = True,
    runs: Literal["list", "text"] = "list",
    outlines: Literal["runs", "polygons"] = "runs",
) -> list[str]:
    """Write annotated pictures, or frames of movies and the cells in them, in the format of COCO.

    Annotated pictures become ``<stem>.json`` each part, and ``images/`` with the pictures under
    their own names: the reader ``coco`` gives back the same Dataset. Numbers of outlines and
    runs are those that were read; label images beside them are not written. Where there are
    only these, each label is an object of the class ``object``, with its number as ``label``;
    where there are only pictures, there are no objects. Pictures that were put aside are left
    out with their objects; what else COCO cannot carry is counted in a warning. A bare list of
    detections becomes one.

    Of a movie, a picture is a frame of one channel. A cell has one box: that of its label, with
    the mask as run lengths; else the extent of its surface; else a cube around its spot. A
    surface or spot whose centre lies in a box of its frame that is there already is the same cell
    and only gives that box its track. Boxes are clipped at the border; those wholly outside, also
    in depth or time, are left out and counted.

    Parameters
    ----------
    parts : mapping of str to xarray.Dataset
        Annotated or labelled pictures by stem, packed collections all; or whole movies, each with
        at least one of ``labels(t, z, y, x)``, surfaces and a table of spots of one annotator:
        open these datasets together.
    to : str or path
        A folder. For movies it is new or empty, and appears when all is written, else nothing is
        left: ``<split>/<movie>_t0007_c0.png`` (frame and channel count from 0) and
        ``annotations/instances_<split>.json``.
    split : str, path, mapping or xarray.Dataset, optional
        Of movies: what each is for, ``"train"``, ``"validation"`` or ``"test"`` for all; a table
        with columns ``movie,split``; what ``split_movies`` returns. By default the parts hold it:
        name the dataset of splits beside that of movies.
    size : float, optional
        Of movies: edge of the cube around a spot in micrometres; needed where there are spots.
    image : str
        Of movies: name of the variable with dims (t, c, z, y, x), or without z, as
        ``projection``.
    channels : str or sequence of str, optional
        Of movies: names (a text is cut at commas); by default all, each a picture of its own. A
        box stands in the pictures of the channels that its spot names, in all if it names none.
    file : {"png", "tiff"}
        Of movies: PNG holds uint8 and uint16, TIFF floats too; values are kept as they are.
    empty : bool
        Of movies: whether frames without a box are written too.
    unmarked : {"refuse", "skip"}
        What becomes of a movie that has neither labels nor surfaces nor spots, so that nobody
        knows where its cells are. One whose table has no row is marked: it has no such cell.
    pictures : bool
        Of annotated pictures: whether they are written. PNG and TIFF stay so; others become PNG
        of 8 or 16 bits, or TIFF.
    runs : {"list", "text"}
        Of annotated pictures: run lengths as numbers, or in the compressed text of COCO.
    outlines : {"runs", "polygons"}
        Of label images: how an object is written. Polygons run along the borders of pixels; holes
        are joined to them, so that drawing by the rule of COCO gives the same pixels. A pixel
        that it does not is counted.

    Returns
    -------
    list of str
        Paths of the files.

    Raises
    ------
    RefusedError
        A movie without a split or in two, or the same pixels in two.
    SchemaError
        A part lacks what is needed, or labels do not fit their movie.
    UsageError
        An unknown option value or channel, an option that is for the other kind of parts, no
        `size`, or a file is there already.
    """
    check_choices(runs, outlines, pictures)
    collections = [stem for stem, ds in parts.items() if is_collection(ds)]
    of_movies = {
        "split": split is not None,
        "size": size is not None,
        "image": image != "image",
        "channels": channels is not None,
        "file": file != "png",
        "empty": empty is not True,
        "unmarked": unmarked != "refuse",
    }
    of_pictures = {
        "pictures": not pictures,
        "runs": runs != "list",
        "outlines": outlines != "runs",
    }
    if collections and len(collections) < len(parts):
        other = next(stem for stem in parts if stem not in collections)
        raise SchemaError(
            f"{collections[0]} holds a collection of pictures, {other} does not; write them apart"
        )
    wrong = of_movies if collections else of_pictures
    if any(wrong.values()):
        option = next(name for name, given in wrong.items() if given)
        here, there = (
            ("annotated pictures", "movies") if collections else ("movies", "annotated pictures")
        )
        raise UsageError(f"{option}: an option for {there}; these parts are {here}")
    if collections:
        folder = Path(to).expanduser().absolute()
        return write_collections(parts, folder, pictures=pictures, runs=runs, outlines=outlines)
    return coco.write_coco(
        parts, to, split=split, size=size, image=image, channels=channels, file=file,
        empty=empty, unmarked=unmarked,
    )  # fmt: skip
