"""YOLO: a text file a picture, a line an object, places as shares of width and height.

The layout is that of Ultralytics: ``images/`` and ``labels/`` with the same names, and
``data.yaml`` that says which folders are for training and how the classes are called. This module
knows that layout; outlines come from ``shapes``.

References
----------
.. [1] https://docs.ultralytics.com/datasets/detect/ and ``/segment/``
"""

import json
import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr

from dpipe import operators, schema
from dpipe.errors import SchemaError, UsageError
from dpipe.writers.annotations import files
from dpipe.writers.annotations.collection import (
    Losses,
    categories_of,
    check_objects,
    is_annotated,
    pictures_of,
)
from dpipe.writers.annotations.shapes import Shape, shapes_of
from dpipe.writers.atomic import aside

_KINDS = ("detection", "segmentation")
_SPLITS = {"train": "train", "validation": "val", "val": "val", "test": "test"}
_WORD = re.compile(r"[^A-Za-z]+")


def write_yolo(
    parts: Mapping[str, xr.Dataset],
    to: str | os.PathLike[str],
    *,
    kind: Literal["detection", "segmentation"] = "detection",
    pictures: bool = True,
) -> list[str]:
    """Write objects of pictures for YOLO.

    Parameters
    ----------
    parts : mapping of str to xarray.Dataset
        By stem: annotated pictures, as the reader ``coco`` gives them, or collections with
        ``label_pixels``.
    to : str or path
        Folder; it is made if need be: ``labels/<stem>/<picture>.txt``, ``images/<stem>/`` and
        ``data.yaml``, which must not be there yet.
    kind : {"detection", "segmentation"}
        A line is ``class x y width height``, of the middle of a box; or ``class x1 y1 x2 y2 ...``,
        an outline. Classes count from 0, in the order of the collection.
    pictures : bool
        Whether the pictures are written too. PNG and TIFF stay so; others become PNG of 8 or 16
        bits, or TIFF.

    Returns
    -------
    list of str
        Paths of the files; they got their names when all were whole. A picture without objects
        has an empty file. A part is for training, unless its coordinate ``split`` or the last
        word of its name that is one says ``val``, ``validation`` or ``test``.

    Raises
    ------
    SchemaError
        A part has no objects, or the parts have other classes.
    UsageError
        A file is there already, two would have one name, or an unknown option value.

    Warns
    -----
    UserWarning
        Counts what YOLO cannot carry: objects that stand for several or have no class or no
        outline are left out; parts and holes of an object are joined to one outline, runs are
        outlined along the borders of pixels, what is outside of the picture is cut to its border.
        Scores and numbers of objects have no place either.
    """
    if kind not in _KINDS:
        raise UsageError(f"kind={kind!r}; expected {' or '.join(_KINDS)}")
    if type(pictures) is not bool:
        raise UsageError(f"pictures: found {pictures!r}; expected true or false")
    for stem, ds in parts.items():
        check_objects(stem, ds)
    folder, written = Path(to).expanduser().absolute(), list[str]()
    with ExitStack() as stack:  # all files or none
        config = folder / "data.yaml"
        (path,) = stack.enter_context(aside([config]))
        path.write_text(_config(parts), encoding="utf-8")
        written.append(str(config))
        for stem, ds in parts.items():
            losses = Losses(stem)
            written += _labels(stack, stem, ds, folder, kind, losses)
            if pictures and "pixels" in ds:
                written += _pictures(stack, stem, ds, folder, losses)
            losses.warn()
    return written


def _config(parts: Mapping[str, xr.Dataset]) -> str:
    """Return ``data.yaml``: folders by split, and names of classes.

    Raises
    ------
    SchemaError
        The parts have other classes.
    """
    classes = {stem: categories_of(ds) for stem, ds in parts.items()}
    first = next(iter(classes))
    for stem, found in classes.items():
        if found[:2] != classes[first][:2]:
            raise SchemaError(
                f"{stem} has other classes than {first}: {', '.join(found.names)}; write it apart"
            )
    folders: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for stem, ds in parts.items():
        folders[_split_of(stem, ds)].append(f"images/{stem}")
    lines = [f"{split}: {json.dumps(listed)}" for split, listed in folders.items()]
    names = [name or str(i) for i, name in zip(*classes[first][:2], strict=True)]
    lines += ["names:", *(f"  {i}: {json.dumps(name)}" for i, name in enumerate(names))]
    return "\n".join(lines) + "\n"


def _split_of(stem: str, ds: xr.Dataset) -> str:
    """Return what a part is for, by its coordinate or its name.

    Examples
    --------
    >>> [_split_of(stem, xr.Dataset()) for stem in ("livecell_coco_val", "train_2", "plate")]
    ['val', 'train', 'train']
    """
    own = ds[schema.SPLIT.name] if schema.SPLIT.name in ds.variables else None
    words = _WORD.split(stem.lower())
    if own is not None and own.size == 1:
        words = [str(own.values.item())]
    return next((_SPLITS[word] for word in reversed(words) if word in _SPLITS), "train")


def _labels(
    stack: ExitStack, stem: str, ds: xr.Dataset, folder: Path, kind: str, losses: Losses
) -> list[str]:
    """Write the objects of each picture; return the paths."""
    names = [str(name) for name in ds["file"].values]
    numbers = {number: i for i, number in enumerate(categories_of(ds).ids)}
    written, seen = list[str](), set[str]()
    for record, shapes in shapes_of(ds, losses):
        path = Path(files.safe_name(names[record]))
        name = path.with_name(f"{files.short(path.name)}.txt").as_posix()
        if name.lower() in seen:
            raise UsageError(f"{stem}: two files would be called {name}; rename a picture")
        seen.add(name.lower())
        size = np.array([int(ds["width"].values[record]), int(ds["height"].values[record])])
        lines = [
            f"{numbers[shape.category]} {' '.join(f'{value:.9g}' for value in values)}\n"
            for shape in shapes
            if (values := _values(shape, size, kind, numbers, losses)) is not None
        ]
        target = folder / "labels" / stem / name
        (partial,) = stack.enter_context(aside([target]))
        partial.write_text("".join(lines), encoding="ascii")
        written.append(str(target))
    if is_annotated(ds) and "object_score" in ds:
        scores = np.asarray(ds["object_score"].values)
        losses.counts["scores of objects are not written"] += int(np.isfinite(scores).sum())
    return written


def _values(
    shape: Shape, size: np.ndarray, kind: str, numbers: Mapping[int, int], losses: Losses
) -> list[float] | None:
    """Return the numbers of a line; None for an object that YOLO cannot carry."""
    if shape.crowd:
        losses.counts["objects stand for several (iscrowd), and are left out"] += 1
        return None
    if shape.category not in numbers:
        losses.counts["objects are of no class, and are left out"] += 1
        return None
    if kind == "detection":
        corners = np.stack([shape.box[:2], shape.box[:2] + shape.box[2:]])
    else:
        rings = [ring for polygon in shape.polygons for ring in polygon]
        corners = _joined(rings)
        several = len(shape.polygons) > 1
        losses.counts["objects of several parts are joined to one outline"] += several
        holes = any(len(polygon) > 1 for polygon in shape.polygons)
        losses.counts["objects have holes, which are joined to the outline"] += holes
        losses.counts["objects were pixels, and are outlined along their borders"] += shape.traced
    if not len(corners) or not np.isfinite(corners).all():
        losses.counts["objects have no outline or box, and are left out"] += 1
        return None
    inside = np.clip(corners, 0, size)
    losses.counts["objects were cut at the border of their picture"] += bool(
        (inside != corners).any()
    )
    if (np.ptp(inside, axis=0) == 0).any():
        losses.counts["objects have no area in their picture, and are left out"] += 1
        return None
    shares = inside / size
    if kind == "segmentation":
        found: list[float] = shares.reshape(-1).tolist()
        return found
    low, high = shares
    return [*((low + high) / 2).tolist(), *(high - low).tolist()]


def _joined(rings: list[np.ndarray]) -> np.ndarray:
    """Return the rings of an object as one."""
    if len(rings) < 2:
        return rings[0] if rings else np.zeros((0, 2))
    sizes = np.array([len(ring) for ring in rings], np.int64)
    corners = np.concatenate(rings)
    x, y = (np.ascontiguousarray(corners[:, k], np.float64) for k in (0, 1))
    return np.stack(operators.one_ring(x, y, sizes), axis=1)


def _pictures(
    stack: ExitStack, stem: str, ds: xr.Dataset, folder: Path, losses: Losses
) -> list[str]:
    """Write the pictures; return the paths."""
    names, channels, written = ds["file"].values, ds.sizes.get("c", 1), list[str]()
    for picture in pictures_of(ds, losses, pixels=True):
        if picture.pixels is None:
            continue
        name = files.written_name(str(names[picture.record]), picture.pixels.dtype, channels)
        target = folder / "images" / stem / name
        (path,) = stack.enter_context(aside([target]))
        files.write_picture(path, picture.pixels, target.suffix)
        written.append(str(target))
    return written
