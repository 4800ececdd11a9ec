"""Pairs of picture and mask for segmentation, in folders by split.

``train/images/Neu1_t0007.tif`` has its mask in ``train/masks/Neu1_t0007.tif``. This module knows
nothing of how labels are made.
"""

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
import xarray as xr
from tqdm import tqdm

from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.writers.training.pictures import (
    Names,
    chosen,
    fitting,
    pieces,
    pixels,
    write_png,
    write_tiff,
)
from dpipe.writers.training.splits import SplitChoice, Watch, settle, whole_folder


class _Row(TypedDict):
    """A row of ``index.csv``: a picture and its mask."""

    image: str
    mask: str
    split: str
    movie: str
    frame: int
    channels: str
    objects: int
    voxels: int


COLUMNS = ("image", "mask", "split", "movie", "frame", "channels", "objects", "voxels")
_LARGEST = 65535


def write_segmentation(
    parts: Mapping[str, xr.Dataset],
    to: str | os.PathLike[str],
    *,
    split: SplitChoice = None,
    dims: int = 3,
    mask: Literal["labels", "binary"] = "labels",
    file: Literal["tiff", "png"] = "tiff",
    image: str = "image",
    channels: Names = None,
    empty: bool = False,
) -> list[str]:
    """Write each frame and its labels as a pair of files, in folders by split.

    Parameters
    ----------
    parts : mapping of str to xarray.Dataset
        By stem, each an image and ``labels(t, z, y, x)``: open a dataset of movies and one of
        masks together.
    to : str or path
        A folder that is new or empty; it appears when all is written, else nothing is left:
        ``<split>/images/<movie>_t0007.tif``, its mask under the same name in ``<split>/masks``,
        and ``index.csv`` with a row a pair.
    split : str, path, mapping or xarray.Dataset, optional
        What each movie is for: ``"train"``, ``"validation"`` or ``"test"`` for all; a table with
        columns ``movie,split``; what ``split_movies`` returns. By default the parts hold it:
        name the dataset of splits beside the others.
    dims : {3, 2}
        Volumes, or planes: the maximum over z of the picture, and the largest label of each
        column.
    mask : {"labels", "binary"}
        Numbers of objects, or 1 inside any (uint8).
    file : {"tiff", "png"}
        OME-TIFF, or PNG for planes of one channel in uint8 or uint16; numbers of objects are
        16 bit there. Whole numbers of 64 bits become 32 (16 in PNG), where the values fit.
    image : str
        Name of the variable; dims among t, c, z, y, x.
    channels : str or sequence of str, optional
        Names (a text is cut at commas); by default all. Several make axes (c, ..., y, x).
    empty : bool
        Whether frames without a label are written too; by default only marked frames are.

    Returns
    -------
    list of str
        Paths of the files.

    Raises
    ------
    RefusedError
        A movie without a split or in two, or the same pixels in two.
    SchemaError
        A part lacks image or labels, they do not fit, or a file cannot hold them.
    UsageError
        An unknown option value or channel, or the folder is not empty.
    """
    for name, value, choices in (
        ("dims", dims, (3, 2)),
        ("mask", mask, ("labels", "binary")),
        ("file", file, ("tiff", "png")),
    ):
        if value not in choices:
            raise UsageError(f"{name}={value!r}; expected {choices[0]} or {choices[1]}")
    numbers = {stem: chosen(stem, ds, channels) for stem, ds in parts.items()}
    if file == "png" and (dims == 3 or any(len(channels) > 1 for channels in numbers.values())):
        raise UsageError("PNG holds a plane of one channel; say dims=2 and channels=NAME")
    splits, watch, rows = settle(parts, split), Watch(), list[_Row]()
    pairs = {stem: _pair(stem, ds, image, numbers[stem], dims, file) for stem, ds in parts.items()}
    bar = tqdm(
        total=sum(labels.sizes["t"] for _, labels in pairs.values()),
        desc="frames", delay=2, disable=None,
    )  # fmt: skip
    with whole_folder(to) as folder, bar:
        for name in [f"{split}/{kind}" for split in schema.SPLITS for kind in ("images", "masks")]:
            (folder / name).mkdir(parents=True)
        for stem, pair in pairs.items():
            ds = parts[stem]
            names = [str(ds["c"].values[i]) if "c" in ds.coords else str(i) for i in numbers[stem]]
            for frame, (picture, labels) in pieces("t", *pair):
                bar.update()
                if not (empty or labels.any()):
                    continue
                row = _row(stem, frame, splits[stem], labels, file, names)
                watch.look(picture, row["split"], row["image"])
                drawn = (labels > 0).astype("u1") if mask == "binary" else labels
                shown = picture if len(names) > 1 else picture[0]
                _save(folder / row["image"], shown, ds, names)
                _save(folder / row["mask"], drawn, ds, [])
                rows.append(row)
        with (folder / "index.csv").open("w", encoding="utf-8", newline="") as out:
            table = csv.DictWriter(out, COLUMNS)
            table.writeheader()
            table.writerows(rows)
    written = [path for row in rows for path in (row["image"], row["mask"])]
    return [str(Path(to).expanduser().absolute() / name) for name in [*written, "index.csv"]]


def _pair(
    stem: str, ds: xr.Dataset, image: str, channels: list[int], dims: int, file: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return pictures (t, c, ...) and masks (t, ...) of the same size."""
    pictures = pixels(stem, ds, image, channels)
    try:
        labels = schema.LABELS.check(ds)
    except SchemaError as error:
        raise SchemaError(f"{stem}: {error}") from error
    labels = labels.drop_vars(list(labels.coords))
    if dims == 2:
        pictures = pictures.max("z") if "z" in pictures.dims else pictures
        labels = labels.max("z")
    elif "z" not in pictures.dims:
        raise SchemaError(f"{stem}: {image!r} has no depth; write planes (dims=2)")
    if labels.sizes != pictures.isel(c=0).sizes:
        raise SchemaError(
            f"{stem}: labels {dict(labels.sizes)} do not fit {image} {dict(pictures.sizes)}"
        )
    return fitting(stem, pictures, file), fitting(stem, labels, file)


def _row(
    stem: str, frame: int, split: str, labels: np.ndarray, file: str, channels: list[str]
) -> _Row:
    name = f"{stem}_t{frame:04}.{'tif' if file == 'tiff' else 'png'}"
    present = np.unique(labels[labels > 0], return_counts=True)
    return {
        "image": f"{split}/images/{name}",
        "mask": f"{split}/masks/{name}",
        "split": split,
        "movie": stem,
        "frame": frame,
        "channels": ",".join(channels),
        "objects": len(present[0]),
        "voxels": int(present[1].sum()),
    }


def _save(path: Path, picture: np.ndarray, ds: xr.Dataset, channels: list[str]) -> None:
    """Write a picture, or a mask, which has no channels."""
    if path.suffix == ".tif":
        axes = ("C" if len(channels) > 1 else "") + "ZYX"[-(picture.ndim - (len(channels) > 1)) :]
        write_tiff(path, picture, axes, ds, channels)
        return
    if not channels and picture.dtype.itemsize > 1:
        if picture.max(initial=0) > _LARGEST:
            raise SchemaError(
                f"{path.stem}: PNG holds labels up to {_LARGEST}, not {picture.max()}; write TIFF"
            )
        picture = picture.astype(np.uint16)
    write_png(path, picture)
