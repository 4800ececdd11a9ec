"""GeoJSON in pixels: outlines for viewers such as QuPath.

GeoJSON is meant for longitudes and latitudes. Here, as viewers of pictures have it, a position is x
and y in pixels, counted from the upper left corner of the picture, y downwards; each file says so.
Rings are closed; an exterior is counter-clockwise by its numbers (its signed area is positive,
RFC 7946, 3.1.6), a hole clockwise.
"""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import xarray as xr

from dpipe.errors import UsageError
from dpipe.writers.annotations import files
from dpipe.writers.annotations.collection import (
    Categories,
    Losses,
    categories_of,
    check_objects,
    image_ids,
    is_annotated,
)
from dpipe.writers.annotations.shapes import Polygon, Shape, shapes_of, signed_area
from dpipe.writers.atomic import aside

ORIGIN = (
    "upper left corner of the picture; the centre of the first pixel is (0.5, 0.5); "
    "y runs downwards"
)
_encode = msgspec.json.Encoder().encode


def write_geojson(
    parts: Mapping[str, xr.Dataset],
    to: str | os.PathLike[str],
    *,
    per: Literal["part", "picture"] = "part",
) -> list[str]:
    """Write the objects of pictures as GeoJSON, in pixels.

    Parameters
    ----------
    parts : mapping of str to xarray.Dataset
        By stem: annotated pictures, as the reader ``coco`` gives them, or collections with
        ``label_pixels``.
    to : str or path
        Folder; it is made if need be.
    per : {"part", "picture"}
        One file a part, ``<stem>.geojson``, whose features name their pictures; or one a picture,
        ``<stem>/<picture>.geojson``, those without objects too.

    Returns
    -------
    list of str
        Paths of the files; they got their names when all were whole. A feature is an object: a
        polygon, or several where it has several parts. Rings of COCO stay as they were read, each
        a polygon; runs and labels are outlined along the borders of pixels, with holes.
        ``properties`` hold ``objectType``, ``classification`` (its ``name``), ``image``,
        ``image_id``, ``annotation_id`` or ``label``, and what else is known of it. The file says
        ``unit``, ``axes`` and ``origin``, and which pictures there are.

    Raises
    ------
    SchemaError
        A part has no objects.
    UsageError
        A file is there already, two would have one name, or an unknown option value.

    Warns
    -----
    UserWarning
        Counts rings that enclose nothing, objects without an outline (their geometry is null),
        and those whose pictures are not there.
    """
    if per not in ("part", "picture"):
        raise UsageError(f"per={per!r}; expected part or picture")
    for stem, ds in parts.items():
        check_objects(stem, ds)
    folder, written = Path(to).expanduser().absolute(), list[str]()
    with ExitStack() as stack:  # all files or none
        for stem, ds in parts.items():
            losses, seen = Losses(stem), set[str]()
            for name, pictures, features in _collections(stem, ds, losses, per):
                if name.lower() in seen:
                    raise UsageError(f"{stem}: two files would be called {name}; say per=part")
                seen.add(name.lower())
                target = folder / name
                (path,) = stack.enter_context(aside([target]))
                _write(path, pictures, features, ds.attrs)
                written.append(str(target))
            losses.warn()
    return written


def _collections(
    stem: str, ds: xr.Dataset, losses: Losses, per: str
) -> Iterator[tuple[str, list[dict[str, Any]], Iterator[dict[str, Any]]]]:
    """Yield the name of each file, its pictures and its features."""
    classes, ids = categories_of(ds), image_ids(ds)
    key = "annotation_id" if is_annotated(ds) else "label"
    shown = [
        {"image": str(file), "image_id": int(number), "width": int(width), "height": int(height)}
        for file, number, width, height in zip(
            ds["file"].values, ids, ds["width"].values, ds["height"].values, strict=True
        )
    ]

    def features_of(record: int, shapes: list[Shape]) -> Iterator[dict[str, Any]]:
        for shape in shapes:
            yield _feature(shape, shown[record], key, classes, losses)

    found = shapes_of(ds, losses)
    if per == "part":
        features = (one for record, shapes in found for one in features_of(record, shapes))
        yield f"{stem}.geojson", [one for one in shown if one["height"]], features
        return
    for record, shapes in found:
        path = Path(stem) / files.safe_name(str(shown[record]["image"]))
        name = path.with_name(f"{files.short(path.name)}.geojson").as_posix()
        yield name, [shown[record]], features_of(record, shapes)


def _feature(
    shape: Shape, picture: Mapping[str, Any], key: str, classes: Categories, losses: Losses
) -> dict[str, Any]:
    """Return an object as a feature."""
    name = _class_of(shape.category, classes)
    properties: dict[str, Any] = {"objectType": "annotation"}
    properties |= {"classification": {"name": name}} if name else {}
    properties |= {"image": picture["image"], "image_id": picture["image_id"], "unit": "pixel"}
    properties |= {key: shape.number} if shape.number >= 0 else {}
    properties |= {"category_id": shape.category} if shape.category >= 0 else {}
    properties |= {"iscrowd": True} if shape.crowd else {}
    numbers = {"area": shape.area, "score": shape.score}
    properties |= {name: value for name, value in numbers.items() if not math.isnan(value)}
    properties |= {"box": shape.box.tolist()} if np.isfinite(shape.box).all() else {}
    if not shape.polygons:
        losses.counts["objects have no outline (geometry null)"] += 1
    if shape.traced and key != "label":
        losses.counts["objects were runs, and are outlined along the borders of pixels"] += 1
    feature: dict[str, Any] = {"type": "Feature", "geometry": _geometry(shape.polygons)}
    return feature | {"properties": properties}


def _class_of(category: int, classes: Categories) -> str:
    """Return the name of a class, its number where it has none; "" for no class."""
    if category < 0:
        return ""
    name = classes.names[classes.ids.index(category)] if category in classes.ids else ""
    return name or str(category)


def _geometry(polygons: list[Polygon]) -> dict[str, Any] | None:
    closed = [
        [_closed(ring, hole=number > 0) for number, ring in enumerate(rings)] for rings in polygons
    ]
    if not closed:
        return None
    if len(closed) == 1:
        return {"type": "Polygon", "coordinates": closed[0]}
    return {"type": "MultiPolygon", "coordinates": closed}


def _closed(ring: np.ndarray, *, hole: bool) -> list[list[float]]:
    """Return the positions of a ring, which begins and ends with its first vertex.

    Examples
    --------
    >>> _closed(np.array([[0.0, 0], [0, 2], [3, 2]]), hole=False)
    [[0.0, 0.0], [3.0, 2.0], [0.0, 2.0], [0.0, 0.0]]
    """
    if (signed_area(ring) > 0) == hole:
        ring = np.roll(ring[::-1], 1, axis=0)
    positions: list[list[float]] = ring.tolist()
    return [*positions, positions[0]]


def _write(
    path: Path,
    pictures: list[dict[str, Any]],
    features: Iterator[dict[str, Any]],
    attrs: Mapping[Any, Any],
) -> None:
    """Write one collection, a feature at a time."""
    said = {"unit": "pixel", "axes": ["x", "y"], "origin": ORIGIN, "pictures": pictures}
    said |= {key: attrs[key] for key in ("info", "licenses") if attrs.get(key)}
    with path.open("wb") as out:
        out.write(b'{"type":"FeatureCollection",\n' + _encode(said)[1:-1] + b',\n"features":[')
        for at, feature in enumerate(features):
            out.write((b",\n" if at else b"\n") + _encode(feature))
        out.write(b"\n]}\n")
