"""Parts: init, partition, finish. The only code that makes them.

``init`` lays a part out and leaves a mark with its outline; ``partition`` computes and writes a
run of whole shards with every level of their region and leaves a mark with the digests; ``finish``
refuses while marks are missing, checks every object against the marks, and seals. Each may be
called again at any time, by anybody, after any kill: nothing marked is done twice, and nothing
that lies in the store is overwritten.

This module knows one part; it knows nothing of versions, recipes or clusters.
"""

import base64
import hashlib
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import version as installed
from typing import Any

import numpy as np
import xarray as xr

from dpipe import blocks, origin, pyramid, seal, store
from dpipe.errors import DamageError, NotFoundError
from dpipe.objects import Objects, Put, open_objects
from dpipe.outline import Outline, lay_out

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
        outline = _read_init(objects, base)[0]
    except NotFoundError:
        made = origin.Origin.from_dict(made_by)
        ds = origin.lazy(objects, made)
        laid = lay_out(ds, base, levels=made.levels, **(options or {}))
        outline = write_init(objects, laid, made_by)
    return {"partitions": outline.grid.partitions, "done": _marked(objects, base), "sealed": False}


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
    objects.put_if_absent(_init_key(laid.base), json.dumps(mark).encode())
    return _read_init(objects, laid.base)[0]


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
    """
    objects = open_objects(url)
    if objects.exists(_mark(base, index)):
        return {"seconds": 0.0, "bytes": 0, "objects": 0}
    outline, mark = _read_init(objects, base)
    return write_partition(objects, outline, _lazy(url, json.dumps(mark["origin"])), index)


def write_partition(
    objects: Objects, outline: Outline, ds: xr.Dataset, index: int
) -> dict[str, Any]:
    """Compute one partition of a lazy Dataset and write it, cell by cell."""
    began = time.perf_counter()
    puts: list[dict[str, Any]] = []
    small: list[dict[str, Any]] = []
    names = [str(name) for name in ds.data_vars]
    for cell in outline.grid.cells(index):
        for name, values in blocks.compute_region(ds, names, cell).items():
            if name in outline.small:
                small.append(_packed(name, cell, ds[name].dims, values))
            else:
                puts += _write_cell(objects, outline, name, cell, values)
    seconds = time.perf_counter() - began
    mark = {"partition": index, "objects": puts, "small": small, "seconds": seconds}
    objects.put_if_absent(_mark(outline.base, index), json.dumps(mark).encode())
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
    mark = _read_init(objects, base)[1]
    origin.check_unchanged(origin.Origin.from_dict(mark["origin"]))
    return seal_part(objects, base, _lazy(url, json.dumps(mark["origin"])), stem, fingerprint)


def seal_part(
    objects: Objects, base: str, ds: xr.Dataset, stem: str, fingerprint: str
) -> dict[str, Any]:
    """Join small variables, compare the store with the marks, write objects.json and the seal."""
    outline, first = _read_init(objects, base)
    marks = _marks(objects, outline)
    listed = _mend(objects, outline, ds, {-1: first} | marks)
    small = _join_small(objects, outline, marks)
    _compare(objects, outline, listed | {put["key"]: put for put in small})
    entries = {
        key.removeprefix(f"{outline.path}/"): {k: put[k] for k in ("size", "sha256", "etag")}
        for key, put in sorted((listed | {put["key"]: put for put in small}).items())
    }
    data = json.dumps(entries, indent=0).encode()
    objects.put(f"{outline.base}.objects.json", data)
    found = seal.Seal(
        base=outline.base,
        suffix=outline.suffix,
        stem=stem,
        fingerprint=fingerprint,
        documents=outline.documents,
        inline=_inline(objects, outline, first["objects"]),
        objects={
            "sha256": hashlib.sha256(data).hexdigest(),
            "count": len(entries),
            "bytes": sum(entry["size"] for entry in entries.values()),
        },
        provenance=_provenance(first["origin"], marks),
        summary=outline.summary,
    )
    objects.put_if_absent(f"{outline.base}.json", found.to_bytes())
    sealed, digest = seal.read(objects, outline.base)
    written = sum(put["size"] for put in small)
    return {"seal": digest, "summary": sealed.summary, "bytes": written}


@lru_cache(maxsize=8)
def _lazy(url: str, made_by: str) -> xr.Dataset:
    return origin.lazy(open_objects(url), origin.Origin.from_dict(json.loads(made_by)))


def _init_key(base: str) -> str:
    return f"{base}.marks/init.json"


def _read_init(objects: Objects, base: str) -> tuple[Outline, dict[str, Any]]:
    mark = json.loads(objects.read(_init_key(base)))
    return Outline.from_dict(mark["outline"]), mark


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


def _packed(
    name: str, cell: Mapping[str, slice], dims: Sequence[Any], values: np.ndarray
) -> dict[str, Any]:
    text = values.dtype.kind in "UOT"
    return {
        "name": name,
        "start": [cell[d].start if d in cell else 0 for d in dims],
        "shape": list(values.shape),
        "dtype": "str" if text else values.dtype.str,
        "data": values.tolist() if text else base64.b64encode(values.tobytes()).decode(),
    }


def _unpacked(piece: Mapping[str, Any]) -> np.ndarray:
    if piece["dtype"] == "str":
        return np.asarray(piece["data"], dtype=str).reshape(piece["shape"])
    raw = base64.b64decode(piece["data"])
    return np.frombuffer(raw, piece["dtype"]).reshape(piece["shape"])


def _join_small(
    objects: Objects, outline: Outline, marks: Mapping[int, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Write the variables that travelled in the marks, each as one object."""
    puts: list[dict[str, Any]] = []
    for name in outline.small:
        top = outline.levels(name)[0]
        values: np.ndarray = np.zeros(top.shape, object if top.dtype == "str" else top.dtype)
        for mark in marks.values():
            for piece in mark["small"]:
                if piece["name"] == name:
                    block = _unpacked(piece)
                    place = tuple(
                        slice(i, i + n) for i, n in zip(piece["start"], block.shape, strict=True)
                    )
                    values[place] = block
        puts += _write_cell(objects, outline, name, {}, values)
    return puts


def _mark(base: str, index: int) -> str:
    return f"{base}.marks/{index:06d}.json"


def _marked(objects: Objects, base: str) -> list[int]:
    stems = [e.key.rpartition("/")[2].removesuffix(".json") for e in objects.list(f"{base}.marks/")]
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def _marks(objects: Objects, outline: Outline) -> dict[int, dict[str, Any]]:
    marks: dict[int, dict[str, Any]] = {}
    missing = []
    for index in range(outline.grid.partitions):
        try:
            marks[index] = json.loads(objects.read(_mark(outline.base, index)))
        except NotFoundError:
            missing.append(index)
    if missing:
        raise NotFoundError(
            f"{outline.base}: {len(missing)} of {outline.grid.partitions} partitions are not done "
            f"(first: {missing[0]}); run the same command again"
        )
    return marks


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
            for key, data in (held | laid.coordinates).items():
                _put_once(objects, f"{outline.path}/{key}", data)
        elif wrong:
            objects.delete(_mark(outline.base, index))
            write_partition(objects, outline, ds, index)
            puts = json.loads(objects.read(_mark(outline.base, index)))["objects"]
        listed |= {put["key"]: put for put in puts}
    return listed


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
            raise DamageError(f"{objects.url}/{key}: differs from its mark after a second try")
    for key in there:
        objects.delete(key)


def _inline(
    objects: Objects, outline: Outline, puts: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    data = {put["key"]: put["size"] for put in puts if not put["key"].endswith("zarr.json")}
    return {
        key.removeprefix(f"{outline.path}/"): base64.b64encode(objects.read(key)).decode()
        for key, size in data.items()
        if size <= _INLINE_OBJECT
    }


def _put_once(objects: Objects, key: str, data: bytes) -> Put:
    """Put metadata or coordinates, which are equal for equal fingerprints."""
    return objects.put_if_absent(key, data) or store.found(objects, key)


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
