"""Surfaces in EMDB-SFF files, as triangle meshes one after another.

This module knows what a table of surfaces holds; the three forms of the format and how its
numbers are kept stand in ``dpipe.formats.emdb_sff``. The format knows no time: the frame and the
track of a surface stand in the description of its segment (``frame=3 track=7 id=12``), as dpipe
writes it, or the frame in the name of a file (``Neu1_t0003.sff``).
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import xarray as xr

from dpipe import compute, schema
from dpipe.errors import InputError, UsageError
from dpipe.formats import emdb_sff
from dpipe.formats.spreadsheets import Unfit
from dpipe.sources import Item, Part, natural_key, stem_of, uris_of

SUFFIXES = (".sff", ".hff", ".json")
_FRAME = re.compile(r"(?P<stem>.+)_t(?P<frame>\d{1,9})", re.ASCII)
_NUMBER = r"(-?\d{1,18})"
_DESCRIPTION = re.compile(
    rf"frame=(\d{{1,9}}) track={_NUMBER} id={_NUMBER}(?: object=(\d{{1,9}}))?", re.ASCII
)
_BLOCK_ROWS = 1 << 20
_SAMPLED = {"vertex_count": "vertex", "face_count": "face"}
_Rows = list[tuple[int, int, int, int, int, int]]
_Objects = dict[tuple[str, str, int], list[int]]
"""By name, color and number: how many there were before, and how many surfaces it has."""


def find(items: Iterable[Item]) -> Iterator[Part]:
    """Group files into parts: one each, or all frames of a movie.

    Parameters
    ----------
    items : iterable of Item
        Files; those that do not end in ``.sff``, ``.hff`` or ``.json`` are passed over.

    Yields
    ------
    Part
        ``Neu1_t0000.sff``, ``Neu1_t0001.sff`` of a folder are one part, ``Neu1``.

    Examples
    --------
    >>> names = ["Neu1_t0000.sff", "Neu1_t0001.sff", "Neu2.hff"]
    >>> [(p.stem, len(p.items)) for p in find(Item(f"/r/{n}", n, 9, "0") for n in names)]
    [('Neu1', 2), ('Neu2', 1)]
    """
    groups: dict[tuple[str, str, str], list[Item]] = {}
    for item in items:
        if not item.path.lower().endswith(SUFFIXES):
            continue
        folder, _, name = item.uri.rpartition("/")
        stem = stem_of(item.uri, SUFFIXES)
        match = _FRAME.fullmatch(stem)
        key = (folder, match["stem"] if match else stem, "" if match else name)
        groups.setdefault(key, []).append(item)
    for (_, stem, _), group in groups.items():
        yield Part(stem, tuple(sorted(group, key=lambda item: natural_key(item.path))))


def open_emdb_sff(url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> xr.Dataset:
    """Open the meshes of EMDB-SFF files (version 0.8) as a table of surfaces.

    Lengths come from the transform of a mesh, else from the first of the file, which the standard
    defines as that from the image to angstroms: they become micrometres. What is no mesh
    (volumes, cones, cuboids, ...) is never dropped in silence: ``attrs["unreadable"]`` gives the
    number of such segments by kind, ``attrs["notes"]`` says so, and a file of nothing else is an
    error. Descriptions in other words than dpipe's are counted there, and the first is quoted. A
    vertex that is no number stays one; ``surface-measures`` flags its surface.

    Parameters
    ----------
    url : str, path, or sequence of them
        The files of one movie, in any of the three forms. Of XML and JSON, the whole file is read
        for each block of a million rows; of HDF5, the numbers of meshes that are asked for.

    Returns
    -------
    xarray.Dataset
        Coordinates over ``surface``, one a mesh: ``surface_frame`` (from 0), ``surface_track``
        (-1 none), ``surface_id`` (else the number of the segment), ``vertex_count``,
        ``face_count`` and, with several objects, ``surface_object``. Lazy ``vertex_z``,
        ``vertex_y``, ``vertex_x`` over ``vertex``, in micrometres, and ``face_vertex(face,
        corner)``, the vertices of each triangle, counted within its surface from 0. ``attrs``:
        ``objects`` (name, color, number of surfaces), ``object``, ``unreadable``, ``assumed``,
        ``notes``.

    Raises
    ------
    InputError
        No EMDB-SFF, another version, a damaged file, no meshes; also on computing.
    StoreError
        The network or disk failed.
    UsageError
        No file was given.
    """
    uris = uris_of(url)
    if not uris:
        raise UsageError("no file given; surfaces need at least one")
    rows: _Rows = []
    objects: _Objects = {}
    others: dict[str, int] = {}
    assumed: list[str] = []
    unread: list[str] = []
    for uri in uris:
        with emdb_sff.open_document(uri) as document:
            rows += _surfaces(document, uri, objects, unread)
            _count_others(document, others)
            if not emdb_sff.listed(document, "transform_list"):
                assumed = ["without a transform in the file, places are in angstroms"]
    if others and not rows:
        kinds = " and ".join(f"{n} of {kind}" for kind, n in others.items())
        raise InputError(f"{_short(uris[0])}: no meshes; segments found: {kinds}")
    attrs: schema.Attributes = {"format": "emdb-sff", "frame_base": 0}
    order = sorted(objects, key=lambda key: key[2])  # dpipe says the number of an object
    attrs["object"] = ", ".join(name for name, _, _ in order)
    attrs["objects"] = [
        {"name": key[0], "number": k, "surfaces": objects[key][1], "color": key[1]}
        for k, key in enumerate(order)
    ]
    attrs |= (
        {"unreadable": [{"kind": k, "segments": n} for k, n in others.items()]} if others else {}
    )
    attrs |= {"assumed": assumed} if assumed else {}
    if others:
        kinds = ", ".join(f"{kind} {n}" for kind, n in others.items())
        attrs["notes"] = [f"segments left out, since they hold no mesh: {kinds}"]
    if unread:
        attrs.setdefault("notes", []).append(
            f"{len(unread)} of {len(rows)} surfaces have a description that is not read, the first "
            f"{unread[0][:200]!r}; their frame is that of the file's name, else 0"
        )
    columns = np.array(rows, np.int64).reshape(-1, 6).T
    ranks = {objects[key][0]: k for k, key in enumerate(order)}
    columns[5] = [ranks[k] for k in columns[5].tolist()]
    return xr.Dataset(_meshes(uris, columns), _coordinates(columns, len(objects)), attrs)


def _short(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2]


def _surfaces(document: emdb_sff.Node, uri: str, objects: _Objects, unread: list[str]) -> _Rows:
    """Return frame, track, number, vertices, triangles and object of each mesh of a file."""
    match = _FRAME.fullmatch(stem_of(uri, SUFFIXES))
    rows: _Rows = []
    for mesh in emdb_sff.meshes(document):
        annotation = emdb_sff.branch(mesh.segment, "biological_annotation")
        description = emdb_sff.text(annotation, "description")
        described = _DESCRIPTION.fullmatch(description)
        unread += [description] if description and not described else []
        name, color = emdb_sff.text(annotation, "name") or "surface", _color(mesh.segment)
        key = (name, color, int(described[4]) if described and described[4] else -1)
        record = objects.setdefault(key, [len(objects), 0])
        record[1] += 1
        frame = int(match["frame"]) if match else 0
        number = emdb_sff.whole(mesh.segment, "id", 0)
        where = (
            (int(described[1]), int(described[2]), int(described[3]))
            if described
            else (frame, -1, number)
        )
        rows.append((*where, mesh.vertices, mesh.faces, record[0]))
    return rows


def _color(segment: emdb_sff.Node) -> str:
    color = segment.get("colour")
    try:
        red, green, blue = (float(part) for part in (color or (1, 1, 1))[:3])
        return "".join(f"{round(255 * min(max(v, 0), 1)):02X}" for v in (red, green, blue))
    except (TypeError, ValueError):
        raise Unfit(f"a segment has the colour {color!r}; expected red, green, blue") from None


def _count_others(document: emdb_sff.Node, others: dict[str, int]) -> None:
    """Count the segments that hold something else than meshes."""
    for segment in emdb_sff.listed(document, "segment_list"):
        volume = segment.get("three_d_volume") is not None
        shapes = bool(emdb_sff.listed(segment, "shape_primitive_list"))
        nothing = not (volume or shapes or emdb_sff.listed(segment, "mesh_list"))
        kinds = {"three_d_volume": volume, "shape_primitive": shapes, "no_geometry": nothing}
        for kind in (kind for kind, present in kinds.items() if present):
            others[kind] = others.get(kind, 0) + 1


def _coordinates(columns: np.ndarray, objects: int) -> dict[str, xr.DataArray]:
    names = ("surface_frame", "surface_track", "surface_id", "vertex_count", "face_count")
    table = dict(zip((*names, "surface_object"), columns, strict=True))
    if objects < 2:
        del table["surface_object"]
    return {
        key: schema.VARIABLES[key].wrap(
            xr.DataArray(column, dims="surface"),
            **({"sample_dimension": _SAMPLED[key]} if key in _SAMPLED else {}),
        )[key]
        for key, column in table.items()
    }


def _meshes(uris: Sequence[str], columns: np.ndarray) -> dict[str, xr.DataArray]:
    vertices, faces = int(columns[3].sum()), int(columns[4].sum())
    read = partial(_read, uris=tuple(uris), total=vertices, what="vertices")
    places = compute.lazy(read, (vertices, 3), "f8", (_BLOCK_ROWS, 3))
    variables: dict[str, xr.DataArray] = {}
    for i, variable in enumerate((schema.VERTEX_X, schema.VERTEX_Y, schema.VERTEX_Z)):
        variables |= variable.wrap(xr.DataArray(places[:, i], dims="vertex"))
    read = partial(_read, uris=tuple(uris), total=faces, what="triangles")
    corners = compute.lazy(read, (faces, 3), "i8", (_BLOCK_ROWS, 3))
    return variables | schema.FACE.wrap(xr.DataArray(corners, dims=schema.FACE.dims))


def _read(region: compute.Region, *, uris: Sequence[str], total: int, what: str) -> np.ndarray:
    """Read rows of the meshes of all files, one after the other; runs in a task."""
    rows, axes = region
    out = np.empty((rows.stop - rows.start, 3), "f8" if what == "vertices" else "i8")
    first = 0
    for uri in uris:
        with emdb_sff.open_document(uri) as document:
            transforms = emdb_sff.transforms(document)
            for mesh in emdb_sff.meshes(document):
                count = mesh.vertices if what == "vertices" else mesh.faces
                low, high = max(rows.start, first), min(rows.stop, first + count)
                if low < high:
                    places = what == "vertices"
                    numbers = (
                        emdb_sff.vertices(mesh, transforms) if places else emdb_sff.faces(mesh)
                    )
                    out[low - rows.start : high - rows.start] = numbers[low - first : high - first]
                first += count
    if first != total:
        raise InputError(f"{_short(uris[0])}: now {first} {what}; it had {total} when opened")
    return out[:, axes]
