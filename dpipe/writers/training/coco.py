"""COCO: pictures of whole frames, and boxes around the cells that die in them.

A picture is a frame of one channel, the maximum over z. A box is ``[x, y, width, height]`` in
pixels, counted from the *corner* of the first one, which ``[0, 0, 1, 1]`` encloses. COCO has no
third dimension, no time and no units: what gets lost stands in extra keys of each picture
(``movie``, ``frame``, ``time``, ``channel``, ``pixel_size``) and box (``track_id``, ``frame``,
``source``, ``depth``), which its readers pass over.

This module knows the layout of COCO; where the cells are comes from ``boxes``.
"""

import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
import xarray as xr
from tqdm import tqdm

from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.writers.training.boxes import Placed, label_boxes, marked, merge, place, table_boxes
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

CATEGORY_ID = 1
CATEGORY = {"id": CATEGORY_ID, "name": "apoptotic cell", "supercategory": "cell"}
FILES = {"png": "png", "tiff": "tif"}
COUNTS = (
    *("frames", "pictures_left_out", "labels", "surfaces", "surfaces_without_mesh", "spots"),
    *("same_cell", "outside", "boxes", "clipped", "in_other_channels"),
)
"""What is counted: labels + surfaces - those without mesh + spots = boxes + same_cell + outside."""


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
) -> list[str]:
    """Write frames as pictures, and the cells in them as boxes and masks in the format of COCO.

    A cell has one box: that of its label, with the mask as run lengths; else the extent of its
    surface; else a cube around its spot. A surface or spot whose centre lies in a box of its
    frame that is there already is the same cell and only gives that box its track. Boxes are
    clipped at the border; those wholly outside, also in depth or time, are left out and counted.

    Parameters
    ----------
    parts : mapping of str to xarray.Dataset
        Whole movies by stem, each with at least one of ``labels(t, z, y, x)``, surfaces and a
        table of spots of one annotator: open these datasets together.
    to : str or path
        A folder that is new or empty; it appears when all is written, else nothing is left:
        ``<split>/<movie>_t0007_c0.png`` (frame and channel count from 0) and
        ``annotations/instances_<split>.json``.
    split : str, path, mapping or xarray.Dataset, optional
        What each movie is for: ``"train"``, ``"validation"`` or ``"test"`` for all; a table with
        columns ``movie,split``; what ``split_movies`` returns. By default the parts hold it:
        name the dataset of splits beside that of movies.
    size : float, optional
        Edge of the cube around a spot in micrometres; needed where there are spots.
    image : str
        Name of the variable with dims (t, c, z, y, x), or without z, as ``projection``.
    channels : str or sequence of str, optional
        Names (a text is cut at commas); by default all, each a picture of its own. A box stands
        in the pictures of the channels that its spot names, in all if it names none.
    file : {"png", "tiff"}
        PNG holds uint8 and uint16, TIFF floats too; values are kept as they are.
    empty : bool
        Whether frames without a box are written too.
    unmarked : {"refuse", "skip"}
        What becomes of a movie that has neither labels nor surfaces nor spots, so that nobody
        knows where its cells are. One whose table has no row is marked: it has no such cell.

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
        An unknown option value or channel, no `size`, or the folder is not empty.
    """
    if file not in FILES or unmarked not in ("refuse", "skip"):
        raise UsageError(
            f"file={file!r}, unmarked={unmarked!r}; expected png or tiff, and refuse or skip"
        )
    if size is not None and not (type(size) in (int, float) and 0 < size < math.inf):
        raise UsageError(f"size={size!r}; expected micrometres, above 0")
    skipped = [stem for stem, ds in parts.items() if not marked(ds)]
    if skipped and (unmarked == "refuse" or len(skipped) == len(parts)):
        raise SchemaError(
            f"{skipped[0]}: neither 'labels' nor surfaces nor spots say where its cells are; name "
            "a dataset of them too, or leave such movies out (unmarked=skip)"
        )
    movies = {stem: ds for stem, ds in parts.items() if stem not in skipped}
    splits = settle(movies, split)
    shown = {
        stem: (fitting(stem, pixels(stem, ds, image, numbers), file), numbers)
        for stem, ds in movies.items()
        for numbers in [chosen(stem, ds, channels)]
    }
    sets = {name: _Set(name, file, empty) for name in schema.SPLITS}
    bar = tqdm(
        total=sum(array.sizes["t"] for array, _ in shown.values()),
        desc="frames", delay=2, disable=None,
    )  # fmt: skip
    with whole_folder(to) as folder, bar:
        for name in ("annotations", *schema.SPLITS):
            (folder / name).mkdir()
        watch, ids = Watch(), (count(1), count(1))
        for stem, ds in movies.items():
            dataset, (array, numbers) = sets[splits[stem]], shown[stem]
            for frame, planes, boxes in _frames(stem, ds, array, size, dataset.counts):
                for channel, plane in zip(numbers, planes, strict=True):
                    mine = [
                        placed for placed in boxes if channel in (placed.box.channels or numbers)
                    ]
                    if path := dataset.add(stem, ds, frame, channel, mine, ids):
                        watch.look(plane, dataset.name, path)
                        _save(folder / dataset.name / path, plane, ds, file)
                dataset.counts["in_other_channels"] += sum(
                    not set(placed.box.channels or numbers) & set(numbers) for placed in boxes
                )
                bar.update()
        for dataset in sets.values():
            dataset.save(folder / "annotations" / f"instances_{dataset.name}.json", skipped)
    names = [
        f"{dataset.name}/{picture['file_name']}"
        for dataset in sets.values()
        for picture in dataset.images
    ]
    names += [f"annotations/instances_{name}.json" for name in schema.SPLITS]
    return [str(Path(to).expanduser().absolute() / name) for name in names]


class _RunLengths(TypedDict):
    """A mask as COCO packs it: height and width, and lengths of runs down its columns."""

    size: list[int]
    counts: list[int]


class _Picture(TypedDict):
    """An entry of ``images``."""

    id: int
    file_name: str
    width: int
    height: int
    movie: str
    frame: int
    time: float | None
    channel: str
    pixel_size: list[float]


class _Annotation(TypedDict):
    """An entry of ``annotations``: a box, and the mask in it where there is one."""

    id: int
    image_id: int
    category_id: int
    bbox: list[float]
    area: float
    iscrowd: int
    segmentation: _RunLengths | list[float]
    track_id: int
    frame: int
    source: str
    clipped: bool
    depth: list[float] | None


def _frames(
    stem: str, ds: xr.Dataset, array: xr.DataArray, size: float | None, counts: Counter[str]
) -> Iterator[tuple[int, np.ndarray, list[Placed]]]:
    """Yield each frame's number, its pictures (c, y, x) and the boxes that lie in it."""
    marks, table_counts = table_boxes(stem, ds, size)
    counts.update(table_counts)
    counts["outside"] += sum(not 0 <= box.frame < array.sizes["t"] for box in marks)
    arrays = [array.max("z") if "z" in array.dims else array]
    if "labels" in ds:
        arrays.append(schema.LABELS.check(ds))
        if any(arrays[1].sizes[dim] != array.sizes[dim] for dim in "tyx"):
            raise SchemaError(
                f"{stem}: labels {dict(arrays[1].sizes)} do not fit {array.name} "
                f"{dict(array.sizes)}"
            )
    for frame, (planes, *labels) in pieces("t", *arrays):
        counts["frames"] += 1
        boxes = [box for volume in labels for box in label_boxes(volume, frame, ds)]
        counts["labels"] += len(boxes)
        boxes, same = merge([*boxes, *(box for box in marks if box.frame == frame)])
        inside = [placed for box in boxes if (placed := place(box, ds))]
        counts["same_cell"] += same
        counts["outside"] += len(boxes) - len(inside)
        counts["boxes"] += len(inside)
        counts["clipped"] += sum(placed.clipped for placed in inside)
        yield frame, planes, inside


@dataclass
class _Set:
    """The pictures and annotations of one split."""

    name: str
    file: str
    empty: bool
    images: list[_Picture] = field(default_factory=list)
    annotations: list[_Annotation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(
        self, stem: str, ds: xr.Dataset, frame: int, channel: int, boxes: Sequence[Placed],
        ids: tuple[Iterator[int], Iterator[int]],
    ) -> str:  # fmt: skip
        """Note a picture and its boxes; return its name, or nothing if it is left out."""
        if not boxes and not self.empty:
            self.counts["pictures_left_out"] += 1
            return ""
        digits = len(str(max(1000, ds.sizes.get("t", 1) - 1)))
        name = f"{stem}_t{frame:0{digits}}_c{channel}.{FILES[self.file]}"
        number = next(ids[0])
        picture: _Picture = {
            "id": number,
            "file_name": name,
            "width": ds.sizes["x"],
            "height": ds.sizes["y"],
            "movie": stem,
            "frame": frame,
            "time": float(ds["t"].values[frame]) if "t" in ds.coords else None,
            "channel": str(ds["c"].values[channel]) if "c" in ds.coords else "0",
            "pixel_size": [schema.spacing(ds, "y"), schema.spacing(ds, "x")],
        }
        self.images.append(picture)
        self.annotations += [_annotation(placed, next(ids[1]), number) for placed in boxes]
        return name

    def save(self, path: Path, unmarked: Sequence[str]) -> None:
        counts = {"pictures": len(self.images), "annotations": len(self.annotations)}
        info = {
            "description": f"{self.name}: cells that die, marked in microscopy movies",
            "version": "1",
            "counts": counts | {key: self.counts[key] for key in COUNTS},
            "unmarked_movies_left_out": list(unmarked),
        }
        content = {
            "info": info,
            "licenses": [],
            "categories": [CATEGORY],
            "images": self.images,
            "annotations": self.annotations,
        }
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _annotation(placed: Placed, number: int, picture: int) -> _Annotation:
    box, (_, _, width, height) = placed.box, placed.bbox
    segmentation: _RunLengths | list[float] = []
    if box.mask is not None:
        segmentation = {"size": list(box.mask.shape), "counts": run_lengths(box.mask)}
    return {
        "id": number,
        "image_id": picture,
        "category_id": CATEGORY_ID,
        "bbox": placed.bbox,
        "area": float(box.mask.sum()) if box.mask is not None else round(width * height, 6),
        "iscrowd": 0,
        "segmentation": segmentation,
        "track_id": box.track,
        "frame": box.frame,
        "source": box.source,
        "clipped": placed.clipped,
        "depth": [float(box.low[0]), float(box.high[0])] if np.isfinite(box.low[0]) else None,
    }


def run_lengths(mask: np.ndarray) -> list[int]:
    """Return COCO's run lengths of a mask: down the columns, beginning with what is off.

    Examples
    --------
    >>> run_lengths(np.array([[0, 1, 1], [0, 0, 1]], bool))
    [2, 1, 1, 2]
    """
    flat = np.concatenate([[False], mask.T.reshape(-1)])
    starts = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff([0, *starts, mask.size]).tolist()


def _save(path: Path, plane: np.ndarray, ds: xr.Dataset, file: str) -> None:
    if file == "png":
        write_png(path, plane)
    else:
        write_tiff(path, plane, "YX", ds, [])
