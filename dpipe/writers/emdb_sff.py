"""EMDB-SFF: surfaces as segments of meshes, in XML, JSON or HDF5.

Vertices stay in micrometres,
x before y before z; the transform of the file says that one of them is 10,000 angstroms, the
format's unit. The format knows no time: each segment is one surface of one frame, and its
description says which (``frame=3 track=7 id=12``). A bounding box is left out: it is that of the
image, which a table of surfaces does not know, and the schema allows no places below 0.
"""

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import compute
from dpipe.errors import SchemaError, UsageError
from dpipe.formats.emdb_sff import ANGSTROMS
from dpipe.formats.emdb_sff_writer import FORMS, VERSION, encoded
from dpipe.writers.atomic import aside

_TO_ANGSTROMS = f"{ANGSTROMS} 0.0 0.0 0.0 0.0 {ANGSTROMS} 0.0 0.0 0.0 0.0 {ANGSTROMS} 0.0"
"""Of micrometres: a matrix of three rows."""
_PLACES = (schema.VERTEX_X, schema.VERTEX_Y, schema.VERTEX_Z)
_COLUMNS = (
    *(schema.SURFACE_FRAME, schema.SURFACE_TRACK, schema.SURFACE_ID, schema.SURFACE_OBJECT),
    *(schema.VERTEX_COUNT, schema.FACE_COUNT),
)


def write_emdb_sff(
    parts: Mapping[str, xr.Dataset],
    to: str | os.PathLike[str],
    *,
    form: str = "sff",
    per_frame: bool = False,
) -> list[str]:
    """Write surfaces as EMDB-SFF; the reader ``emdb-sff`` gives back exactly what was written.

    Parameters
    ----------
    parts : mapping of str to xarray.Dataset
        By stem: tables of surfaces, as the reader ``imaris-surfaces`` gives them. An object's
        name and colour come from ``attrs["objects"]``: ``name``, and ``color`` as RRGGBB. Places
        are kept as float32 where that loses nothing, else as float64.
    to : str or path
        Folder; it is made if need be.
    form : {"sff", "hff", "json"}
        XML, HDF5 or JSON. XML is the usual one; HDF5 lets single meshes be read, which pays
        where they are large, and is slow where they are many.
    per_frame : bool
        Write a file a frame, ``<stem>_t0003.sff``, as viewers without time need it; else one
        a part, ``<stem>.sff``. A file is held in memory while it is written.

    Returns
    -------
    list of str
        Paths of the files; they got their names when all were whole.

    Raises
    ------
    SchemaError
        A part holds no surfaces, or meshes that do not add up.
    UsageError
        A file is there already, or an unknown form.
    """
    if form not in FORMS:
        raise UsageError(f"form={form!r}; expected one of {', '.join(FORMS)}")
    folder, written = Path(to).expanduser().absolute(), list[str]()
    with ExitStack() as stack:  # all files or none
        for stem, ds in parts.items():
            table = _loaded(stem, ds)
            frames = np.unique(table["surface_frame"]).tolist() if per_frame else [None]
            for frame in frames:
                name = stem if frame is None else f"{stem}_t{frame:04d}"
                target = folder / f"{name}.{form}"
                (path,) = stack.enter_context(aside([target]))
                FORMS[form](_document(name, table, frame, ds.attrs), path)
                written.append(str(target))
    return written


def _loaded(stem: str, ds: xr.Dataset) -> dict[str, np.ndarray]:
    """Compute a table, and see that its meshes add up."""
    variables = [
        variable for variable in _COLUMNS if variable.name in ds or variable in _COLUMNS[-2:]
    ]
    lazy = {
        variable.name: variable.check(ds).data for variable in (*variables, *_PLACES, schema.FACE)
    }
    table = dict(zip(lazy, map(np.asarray, compute(*lazy.values())), strict=True))
    surfaces = len(table["vertex_count"])
    if not surfaces:
        raise SchemaError(f"{stem}: no surfaces; EMDB-SFF holds at least one segment")
    defaults = {"surface_frame": 0, "surface_track": -1, "surface_object": 0}
    for key, value in defaults.items():
        table.setdefault(key, np.full(surfaces, value))
    table.setdefault("surface_id", np.arange(surfaces))
    counts = table["vertex_count"], table["face_count"]
    stored = len(table["vertex_x"]), len(table[schema.FACE.name])
    if (
        any((variable < 0).any() for variable in counts)
        or (counts[0].sum(), counts[1].sum()) != stored
    ):
        counted = f"{counts[0].sum()} vertices and {counts[1].sum()} triangles"
        raise SchemaError(f"{stem}: {counted} are said, {stored[0]} and {stored[1]} are there")
    face, limits = table[schema.FACE.name], np.repeat(counts[0], counts[1])
    if face.shape[1] != 3 or (face < 0).any() or (face >= limits[:, None]).any():
        raise SchemaError(f"{stem}: a triangle names a vertex that is not there")
    return table


def _document(
    name: str, table: Mapping[str, np.ndarray], frame: int | None, attrs: Mapping[str, Any]
) -> dict[str, object]:
    """Put the tree of one file together, in the order of the schema."""
    places = np.stack([table[variable.name] for variable in _PLACES], axis=1)
    small = places.astype("<f4")
    places = small if np.array_equal(small, places, equal_nan=True) else places.astype("<f8")
    ends = [np.concatenate([[0], np.cumsum(table[key])]) for key in ("vertex_count", "face_count")]
    rows = range(len(table["surface_frame"]))
    segments = list[dict[str, object]]()
    for i in (i for i in rows if frame is None or table["surface_frame"][i] == frame):
        (v0, v1), (f0, f1) = ((int(end[i]), int(end[i + 1])) for end in ends)
        mesh = {
            "id": 0,
            "vertices": encoded("vertices", places[v0:v1]),
            "triangles": encoded("triangles", table[schema.FACE.name][f0:f1].astype("<u4")),
            "transform_id": 0,
        }
        segments.append(_segment(len(segments) + 1, i, table, attrs) | {"mesh_list": [mesh]})
    software = {"id": 0, "name": "dpipe", "version": version("dpipe")}
    software["processing_details"] = "a segment is a surface in one frame"
    transform = {"id": 0, "rows": 3, "cols": 4, "data": _TO_ANGSTROMS}
    return {
        "version": VERSION,
        "name": name,
        "software_list": [software],
        "transform_list": [transform],
        "primary_descriptor": "mesh_list",
        "segment_list": segments,
        "details": "Vertices are in micrometres; the transform makes them angstroms.",
    }


def _segment(
    number: int, i: int, table: Mapping[str, np.ndarray], attrs: Mapping[str, Any]
) -> dict[str, object]:
    """Return the segment of one surface."""
    owner = int(table["surface_object"][i])
    objects = attrs.get("objects") or []
    record = objects[owner] if 0 <= owner < len(objects) else {}
    color = str(record.get("color") or "FFFFFF")
    if not re.fullmatch("[0-9A-Fa-f]{6}", color):
        raise SchemaError(f"object {owner} has the color {color!r}; expected RRGGBB")
    keys = ("surface_frame", "surface_track", "surface_id")
    description = "frame={} track={} id={}".format(*(int(table[key][i]) for key in keys))
    return {
        "id": number,
        "parent_id": 0,
        "biological_annotation": {
            "name": _printable(str(record.get("name") or "surface")),
            "description": description + (f" object={owner}" if len(objects) > 1 else ""),
            "number_of_instances": 1,
        },
        "colour": [int(color[k : k + 2], 16) / 255 for k in (0, 2, 4)] + [1.0],
    }


def _printable(text: str) -> str:
    """XML has no place for control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
