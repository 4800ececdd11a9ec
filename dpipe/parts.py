"""Parts: init, partition, finish. The only code that makes them.

``init`` lays a part out and leaves a mark with its outline; ``partition`` computes and writes a
run of whole shards with every level of their region and leaves a mark with the digests; ``finish``
refuses while marks are missing, checks every object against the marks, and seals. Each may be
called again at any time, by anybody, after any kill: nothing marked is done twice, and nothing
that lies in the store is overwritten.

This module knows one part; it knows nothing of versions, recipes or clusters.
"""

import base64
import contextlib
import hashlib
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from importlib.metadata import version as installed
from typing import Any

import numpy as np
import xarray as xr

from dpipe import _marks, blocks, origin, pyramid, seal, store
from dpipe.errors import DamageError, NotFoundError, UsageError
from dpipe.objects import Objects, Put, open_objects
from dpipe.outline import Outline, lay_out, put_aside, unreadable

_INLINE_OBJECT = 64 << 10
_LIBRARIES = ("dask", "distributed", "h5py", "numcodecs", "numpy", "scipy", "xarray", "zarr")


def init(
    url: str, base: str, made_by: Mapping[str, Any], options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Lay a part out in the store, unless that is done.

    Parameters
    ----------
    url : str
        The store.
    base : str
        Key of the part without suffix.
    made_by : mapping
        Its Origin, as a dict.
    options : mapping, optional
        ``free``, ``partition_bytes`` and ``input_bytes`` of `lay_out`.

    Returns
    -------
    dict
        ``partitions``: their number; ``done``: those that have a mark already; ``sealed``.

    Raises
    ------
    InputError
        A source is damaged; nothing was written.
    """
    objects = open_objects(url)
    if objects.exists(f"{base}.json"):
        return {"partitions": 0, "done": [], "sealed": True}
    try:
        outline = _marks.read_init(objects, base)[0]
    except NotFoundError:
        ds = _lazy(url, json.dumps(dict(made_by)))
        laid = lay_out(ds, base, levels=made_by["levels"], **(options or {}))
        outline = write_init(objects, laid, made_by)
    return {
        "partitions": outline.grid.partitions,
        "done": _marks.done(objects, base),
        "sealed": False,
    }


def write_init(objects: Objects, laid: Outline, made_by: Mapping[str, Any]) -> Outline:
    """Write a part's metadata and coordinates, and the mark that says how it is cut.

    Parameters
    ----------
    objects : Objects
        The store.
    laid : Outline
        What `lay_out` decided.
    made_by : mapping
        The part's Origin, as a dict.

    Returns
    -------
    Outline
        The one in the store: that of whoever came first.
    """
    held = {key: laid.document(key) for key in laid.documents} | laid.coordinates
    puts = [asdict(_put_once(objects, f"{laid.path}/{key}", data)) for key, data in held.items()]
    mark = {"origin": dict(made_by), "outline": laid.to_dict(), "objects": puts}
    objects.put_if_absent(_marks.init_key(laid.base), json.dumps(mark).encode())
    return _marks.read_init(objects, laid.base)[0]


def partition(url: str, base: str, index: int) -> dict[str, Any]:
    """Compute and write one partition of a part, unless that is done.

    Parameters
    ----------
    url : str
        The store.
    base : str
        Key of the part without suffix.
    index : int
        Which partition.

    Returns
    -------
    dict
        ``seconds``, ``bytes`` written, ``objects`` written.

    Raises
    ------
    InputError
        A source item is damaged.
    NotFoundError
        The part was not laid out.
    UsageError
        There is no such partition.
    """
    objects = open_objects(url)
    if objects.exists(_marks.key(base, index)):
        return {"seconds": 0.0, "bytes": 0, "objects": 0}
    outline, mark = _marks.read_init(objects, base)
    if not 0 <= index < outline.grid.partitions:
        raise UsageError(f"{base}: no partition {index}; there are {outline.grid.partitions}")
    return write_partition(objects, outline, _lazy(url, json.dumps(mark["origin"]), base), index)


def write_partition(
    objects: Objects, outline: Outline, ds: xr.Dataset, index: int
) -> dict[str, Any]:
    """Compute one partition of a lazy Dataset and write it, cell by cell."""
    began = time.perf_counter()
    puts: list[dict[str, Any]] = []
    small: list[dict[str, Any]] = []
    dims = {str(name): variable.dims for name, variable in ds.data_vars.items()}
    for cell in outline.grid.cells(index):
        names = [name for name in dims if outline.grid.owns(cell, dims[name])]
        for name, values in blocks.compute_region(ds, names, cell).items():
            if name in outline.small:
                small.append(_marks.packed(outline.levels(name)[0], cell, values))
            else:
                puts += _write_cell(objects, outline, name, cell, values)
    seconds = time.perf_counter() - began
    mark = {"partition": index, "objects": puts, "small": small, "seconds": seconds}
    objects.put_if_absent(_marks.key(outline.base, index), json.dumps(mark).encode())
    written = sum(put["size"] for put in puts)
    return {"seconds": seconds, "bytes": written, "objects": len(puts)}


def finish(url: str, base: str, stem: str, fingerprint: str) -> dict[str, Any]:
    """Check every object of a part against its marks, and seal it.

    Parameters
    ----------
    url : str
        The store.
    base : str
        Key of the part without suffix.
    stem, fingerprint : str
        Its name.

    Returns
    -------
    dict
        ``seal``: sha256 of the seal; ``summary``; ``bytes`` that were still to write.

    Raises
    ------
    NotFoundError
        Partitions are not marked yet; the message names some.
    DamageError
        Objects differ from their marks even after they were done again.
    InputError
        A source item changed while it was read.
    """
    objects = open_objects(url)
    try:
        sealed, digest = seal.read(objects, base)
        return {"seal": digest, "summary": sealed.summary, "bytes": 0}
    except NotFoundError:
        pass
    mark = _marks.read_init(objects, base)[1]
    origin.check_unchanged(origin.Origin.from_dict(mark["origin"]))
    ds = _lazy(url, json.dumps(mark["origin"]), base)
    return seal_part(objects, base, ds, stem, fingerprint)


def seal_part(
    objects: Objects, base: str, ds: xr.Dataset, stem: str, fingerprint: str
) -> dict[str, Any]:
    """Join small variables, compare the store with the marks, write objects.json and the seal."""
    outline, first = _marks.read_init(objects, base)
    marks = _marks.read_all(objects, outline)
    listed = _mend(objects, outline, ds, {-1: first} | marks)
    joined = dict(_marks.joined(outline, marks))
    small = [
        put
        for name, values in joined.items()
        for put in _write_cell(objects, outline, name, {}, values)
    ]
    listed |= {put["key"]: put for put in small}
    ds, replaced = _without_unreadable(objects, outline, ds, joined.get("picture_flag"))
    listed |= {put["key"]: put for put in replaced}
    _compare(objects, outline, listed)
    entries = {
        key.removeprefix(f"{outline.path}/"): {k: put[k] for k in ("size", "sha256", "etag")}
        for key, put in sorted(listed.items())
    }
    data = json.dumps(entries, indent=0).encode()
    objects.put(f"{outline.base}.objects.json", data)
    found = seal.Seal(
        base=outline.base,
        suffix=outline.suffix,
        stem=stem,
        fingerprint=fingerprint,
        documents=outline.documents,
        inline=_inline(objects, outline, [listed[put["key"]] for put in first["objects"]]),
        objects={
            "sha256": hashlib.sha256(data).hexdigest(),
            "count": len(entries),
            "bytes": sum(entry["size"] for entry in entries.values()),
        },
        provenance=_provenance(first["origin"], marks),
        summary=outline.summary | put_aside(ds),
    )
    objects.put_if_absent(f"{outline.base}.json", found.to_bytes())
    sealed, digest = seal.read(objects, outline.base)
    written = sum(put["size"] for put in small)
    return {"seal": digest, "summary": sealed.summary, "bytes": written}


@lru_cache(maxsize=8)
def _lazy(url: str, made_by: str, base: str = "") -> xr.Dataset:
    objects, made = open_objects(url), origin.Origin.from_dict(json.loads(made_by))
    if base:
        with contextlib.suppress(NotFoundError, DamageError):  # what is lost is opened anew
            return origin.lazy(objects, made, partial(_laid, objects, base))
    return origin.lazy(objects, made)


def _laid(objects: Objects, base: str) -> xr.Dataset:
    """Open a part that is not sealed yet, for its coordinates."""
    outline, mark = _marks.read_init(objects, base)
    keys = [put["key"] for put in mark["objects"] if not put["key"].endswith("zarr.json")]
    held = {key.removeprefix(f"{outline.path}/"): objects.read(key) for key in keys}
    documents = {key: outline.document(key) for key in outline.documents}
    return store.open_group(objects.url, outline.path, documents, held)


def _write_cell(
    objects: Objects, outline: Outline, name: str, cell: Mapping[str, slice], values: np.ndarray
) -> list[dict[str, Any]]:
    """Write the shards of one variable in one cell, with every level of their region."""
    levels = outline.levels(name)
    top = levels[0]
    puts: list[Put] = []
    for region in pyramid.shards(top, {d: s for d, s in cell.items() if d in top.dims}):
        inside = tuple(
            slice(s.start - cell[d].start, s.stop - cell[d].start) if d in cell else s
            for d, s in zip(top.dims, region, strict=True)
        )
        cut = dict(zip(top.dims, region, strict=True))
        for array, place, block in pyramid.levels_of(levels, cut, values[inside]):
            document = outline.document(f"{array.path}/zarr.json")
            puts += store.write_region(objects, outline.path, array, document, place, block)
    return [asdict(put) for put in puts]


def _mend(
    objects: Objects, outline: Outline, ds: xr.Dataset, marks: dict[int, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Do again what does not lie in the store as its mark says; return all objects by key."""
    there = {entry.key: entry for entry in objects.list(f"{outline.path}/")}
    listed: dict[str, dict[str, Any]] = {}
    for index, mark in marks.items():
        puts = mark["objects"]
        wrong = [put["key"] for put in puts if not _matches(there.get(put["key"]), put)]
        for key in wrong:
            objects.delete(key)
        if wrong and index < 0:
            held = {key: outline.document(key) for key in outline.documents}
            laid = lay_out(ds, outline.base, levels=outline.summary["levels"])
            puts = [
                asdict(_put_once(objects, f"{outline.path}/{key}", data))
                for key, data in (held | laid.coordinates).items()
            ]
        elif wrong:
            objects.delete(_marks.key(outline.base, index))
            write_partition(objects, outline, ds, index)
            puts = _marks.read(objects, _marks.key(outline.base, index))["objects"]
        listed |= {put["key"]: put for put in puts}
    return listed


def _without_unreadable(
    objects: Objects, outline: Outline, ds: xr.Dataset, flags: np.ndarray | None
) -> tuple[xr.Dataset, list[dict[str, Any]]]:
    """Put pictures aside that proved unreadable only when their block was made.

    The coordinates that ``init`` wrote said otherwise: of all objects, only these are replaced,
    before anybody can see them.
    """
    if "put_aside" not in ds.coords or not outline.levels("picture_flag"):
        return ds, []
    if flags is None:  # too many to travel in the marks
        documents = {key: outline.document(key) for key in outline.documents}
        written = store.open_group(objects.url, outline.path, documents, {})
        flags = np.asarray(written["picture_flag"].values)
    puts = []
    changed = unreadable(ds, flags)
    for name, values in changed.items():
        document = outline.document(f"{name}/zarr.json")
        for key, data in store.encode(document, (slice(0, len(values)),), values).items():
            puts.append(asdict(objects.put(f"{outline.path}/{name}/{key}", data)))
    return ds.assign_coords({name: ("record", v) for name, v in changed.items()}), puts


def _matches(entry: Any, put: Mapping[str, Any]) -> bool:
    """Tell whether a listed object has the size and, where there is one, the ETag of its mark."""
    if entry is None or entry.size != put["size"]:
        return False
    return not (entry.etag and put["etag"]) or entry.etag == put["etag"]


def _compare(objects: Objects, outline: Outline, listed: Mapping[str, Mapping[str, Any]]) -> None:
    """Compare the store with what was listed, and delete leftovers."""
    there = {entry.key: entry for entry in objects.list(f"{outline.path}/")}
    for key, put in listed.items():
        if not _matches(there.pop(key, None), put):
            raise DamageError(
                f"{objects.url}/{key}: differs from its mark after a second try; check the disk or "
                "server, and run again"
            )
    for key in there:
        objects.delete(key)


def _inline(
    objects: Objects, outline: Outline, puts: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """Return the small coordinate objects, which the seal holds; these are checked by digest."""
    inline: dict[str, str] = {}
    for put in puts:
        if put["size"] <= _INLINE_OBJECT and not put["key"].endswith("zarr.json"):
            data = objects.read(put["key"])
            if hashlib.sha256(data).hexdigest() != put["sha256"]:
                raise DamageError(
                    f"{objects.url}/{put['key']}: differs from its mark; delete it and "
                    f"{_marks.init_key(outline.base)}, and run again"
                )
            inline[put["key"].removeprefix(f"{outline.path}/")] = base64.b64encode(data).decode()
    return inline


def _put_once(objects: Objects, key: str, data: bytes) -> Put:
    """Put metadata or coordinates; what a killed run left is kept if it is the same."""
    put = objects.put_if_absent(key, data) or store.found(objects, key)
    same = put.sha256 == hashlib.sha256(data).hexdigest()
    return put if same else objects.put(key, data)


def _provenance(
    made_by: Mapping[str, Any], marks: Mapping[int, Mapping[str, Any]]
) -> dict[str, Any]:
    return {
        "origin": made_by,
        "partitions": len(marks),
        "seconds": round(sum(mark["seconds"] for mark in marks.values()), 3),
        "dpipe": installed("dpipe"),
        "python": platform.python_version(),
        "libraries": {name: installed(name) for name in _LIBRARIES},
        "machine": platform.machine(),
        "git": os.environ.get("DPIPE_GIT_REVISION", ""),
    }
