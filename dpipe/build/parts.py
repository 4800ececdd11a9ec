"""Parts: make, or init, partition and finish. The only code that makes them.

A part of one partition is made whole by one task, ``make``. Of a larger one ``init`` leaves a mark
with its outline; ``partition`` computes and writes a run of whole shards with every level of their
region and leaves a mark with the digests; ``finish`` refuses while marks are missing, checks every
object against the marks, and seals. Each may be called again at any time, by anybody, after any
kill: nothing marked is done twice, and nothing of a sealed part is touched.

This module knows one part; it knows nothing of versions, recipes or clusters.
"""

import contextlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache, partial
from typing import Any

import xarray as xr

from dpipe import ledger
from dpipe.build import marks, part_spec
from dpipe.build.marked_parts import coordinates, seal_marked
from dpipe.build.part_layout import PartLayout, lay_out
from dpipe.build.sealing import Made, seal_made
from dpipe.build.writing import put_documents, write_cells, write_partition
from dpipe.catalog import seals
from dpipe.errors import DamageError, GoneError, NotFoundError, UsageError
from dpipe.storage import Objects, Put, open_objects, zarr

__all__ = [
    "finish",
    "init",
    "make",
    "make_whole",
    "partition",
    "save",
    "seal_part",
    "write_init",
    "write_partition",
]

_NOTHING = {"seconds": 0.0, "bytes": 0, "objects": 0}


def make(
    url: str,
    base: str,
    made_by: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    who: Mapping[str, str] | None = None,
    recompute: int = 0,
    new: bool = False,
) -> dict[str, Any]:
    """Make a part whole if it is one partition; else lay it out, as `init` does.

    Parameters
    ----------
    url : str
        The store.
    base : str
        Key of the part without suffix.
    made_by : mapping
        Its spec, as a dict.
    options : mapping, optional
        ``free``, ``partition_bytes`` and ``input_bytes`` of `lay_out`.
    who : mapping, optional
        ``author`` and ``run``, for the provenance.
    recompute : int
        Of so many partitions of operators one is computed twice, and what differs is noted.
    new : bool
        Whether nothing of it lay in the store when that was last looked at.

    Returns
    -------
    dict
        Of a part that is sealed now ``sealed`` (True), ``seal``, ``summary``, ``seconds`` and
        ``bytes`` as `finish` gives them; else what `init` gives.

    Raises
    ------
    InputError
        A source is damaged; nothing was written.
    """
    objects = open_objects(url)
    if not new and objects.exists(seals.key_of(base)):
        return _sealed(objects, base)
    if not new and objects.exists(marks.init_key(base)):
        return init(url, base, made_by, options)
    with ledger.recording():
        ds = _lazy(url, json.dumps(dict(made_by)))
        laid = lay_out(ds, base, levels=made_by["levels"], **(options or {}))
        if laid.grid.partitions > 1:
            return _begun(objects, write_init(objects, laid, made_by))
        with contextlib.suppress(zarr.SealedError):
            again = _again(url, made_by, base, 0, recompute)
            return make_whole(objects, laid, ds, made_by, who, again=again, leftovers=not new)
    return _sealed(objects, base)


def _sealed(objects: Objects, base: str) -> dict[str, Any]:
    data = objects.read(seals.key_of(base))
    sealed, digest = seals.parse(objects, data, base)
    objects.put_if_absent(seals.copy_key(base), data)  # whoever sealed it may have been killed
    said = {"seal": digest, "summary": sealed.summary}
    return {"partitions": 0, "done": [], "sealed": True, **said, **_NOTHING}


def _begun(objects: Objects, outline: PartLayout) -> dict[str, Any]:
    count = outline.grid.partitions
    return {"partitions": count, "done": marks.done(objects, outline.base), "sealed": False}


def init(
    url: str, base: str, made_by: Mapping[str, Any], options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Lay a part out in the store, unless that is done.

    Parameters
    ----------
    url, base, made_by, options
        As for `make`.

    Returns
    -------
    dict
        ``partitions``: their number; ``done``: those that have a mark already; ``sealed``, and if
        it is True what `make` gives.

    Raises
    ------
    InputError
        A source is damaged; nothing was written.
    """
    objects = open_objects(url)
    if objects.exists(seals.key_of(base)):
        return _sealed(objects, base)
    try:
        outline = marks.read_init(objects, base)[0]
    except (NotFoundError, DamageError) as error:
        if isinstance(error, DamageError):  # nothing that it says can be trusted
            keys = [entry.key for entry in objects.list(f"{base}.marks/")]
            objects.delete_many(keys)
        with ledger.recording():
            ds = _lazy(url, json.dumps(dict(made_by)))
            laid = lay_out(ds, base, levels=made_by["levels"], **(options or {}))
            outline = write_init(objects, laid, made_by)
    return _begun(objects, outline)


def write_init(objects: Objects, laid: PartLayout, made_by: Mapping[str, Any]) -> PartLayout:
    """Write a part's metadata and coordinates, and the mark that says how it is cut.

    Parameters
    ----------
    objects : Objects
        The store.
    laid : PartLayout
        What `lay_out` decided.
    made_by : mapping
        The part's spec, as a dict.

    Returns
    -------
    PartLayout
        The one in the store: that of whoever came first.
    """
    puts = [asdict(put) for put in put_documents(objects, laid, laid.coordinates)]
    mark = {"origin": dict(made_by), "outline": laid.to_dict(), "objects": puts}
    if (notes := ledger.current()) is not None:
        mark["read"] = notes.entries(complete=False)  # partitions read the rest
    marks.put(objects, marks.init_key(laid.base), mark)
    return marks.read_init(objects, laid.base)[0]


def partition(url: str, base: str, index: int, recompute: int = 0) -> dict[str, Any]:
    """Compute and write one partition of a part, unless that is done.

    Parameters
    ----------
    url : str
        The store.
    base : str
        Key of the part without suffix.
    index : int
        Which partition.
    recompute : int
        As for `make`.

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
    if objects.exists(marks.key(base, index)):
        return dict(_NOTHING)
    try:
        outline, mark = marks.read_init(objects, base)
        if not 0 <= index < outline.grid.partitions:
            raise UsageError(f"{base}: no partition {index}; there are {outline.grid.partitions}")
        with ledger.recording():
            ds = _lazy(url, json.dumps(mark["origin"]), base)
            again = _again(url, mark["origin"], base, index, recompute)
            return write_partition(objects, outline, ds, index, again=again)
    except (NotFoundError, zarr.SealedError):
        if objects.exists(seals.key_of(base)):  # by another run, which took the marks away
            return dict(_NOTHING)
        raise


def finish(url: str, base: str, who: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Check every object of a part against its marks, and seal it.

    Parameters
    ----------
    url : str
        The store.
    base : str
        Key of the part without suffix.
    who : mapping, optional
        ``author`` and ``run``, for the provenance.

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
    SourceChangedError
        A source item changed while it was read, or is gone.
    """
    objects = open_objects(url)
    if objects.exists(seals.key_of(base)):
        return _sealed(objects, base)
    try:
        mark = marks.read_init(objects, base)[1]
        touched = _check_unchanged(objects, base, mark["origin"])
        opened = partial(_lazy, url, json.dumps(mark["origin"]), base)
        return seal_marked(objects, base, opened, who or {}, touched=touched)
    except (NotFoundError, zarr.SealedError):
        if objects.exists(seals.key_of(base)):
            return _sealed(objects, base)
        raise


def _check_unchanged(objects: Objects, base: str, made_by: Mapping[str, Any]) -> bool:
    """Refuse sources that changed while they were read, and forget what was read of them."""
    try:
        return part_spec.check_unchanged(part_spec.PartSpec.from_dict(made_by))
    except GoneError:
        marks.delete(objects, base, marks.done(objects, base))
        raise


def seal_part(
    objects: Objects, base: str, ds: xr.Dataset, who: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Seal a part of which every partition has a mark; see `finish`."""
    if objects.exists(seals.key_of(base)):
        return _sealed(objects, base)
    return seal_marked(objects, base, lambda: ds, who or {})


def make_whole(
    objects: Objects,
    laid: PartLayout,
    ds: xr.Dataset,
    made_by: Mapping[str, Any],
    who: Mapping[str, str] | None = None,
    *,
    again: xr.Dataset | None = None,
    leftovers: bool = True,
) -> dict[str, Any]:
    """Write and seal a part at once, leaving no mark: if it is cut short, it is made again.

    Parameters
    ----------
    objects : Objects
        The store.
    laid : PartLayout
        What `lay_out` decided.
    ds : xarray.Dataset
        What the part will hold.
    made_by : mapping
        Its spec, as a dict.
    who : mapping, optional
        ``author`` and ``run``, for the provenance.
    again : xarray.Dataset, optional
        The same, made once more: its values are compared.
    leftovers : bool
        Whether something of it may lie in the store.

    Returns
    -------
    dict
        As `finish`.
    """
    puts: dict[str, Put] = {}
    made = Made(puts, dict(laid.coordinates), marks.Pieces(), made_by, who or {}, 0, 0.0)
    made.notes = ledger.current() or made.notes
    for index in range(laid.grid.partitions):
        cells = write_cells(objects, laid, ds, index, again)
        made.unsteady |= cells.unsteady
        puts |= {put.key: put for put in cells.puts}
        made.pieces.held |= {
            name: made.pieces.held.get(name, []) + pieces
            for name, pieces in cells.pieces.held.items()
        }
        made.partitions, made.seconds = index + 1, made.seconds + cells.seconds
        made.nothing = cells.nothing if not index else made.nothing & cells.nothing
    puts |= {put.key: put for put in put_documents(objects, laid, laid.coordinates)}
    if made_by.get("items"):
        made.touched = part_spec.check_unchanged(part_spec.PartSpec.from_dict(made_by))
    return seal_made(objects, laid, made, lambda: ds, leftovers=leftovers)


def save(
    objects: Objects,
    base: str,
    ds: xr.Dataset,
    made_by: Mapping[str, Any],
    who: Mapping[str, str] | None = None,
) -> None:
    """Make a part of a Dataset that somebody holds, in this process.

    Parameters
    ----------
    objects : Objects
        The store.
    base : str
        Key of the part without suffix.
    ds : xarray.Dataset
        Lazy or not.
    made_by : mapping
        Its spec, as a dict.
    who : mapping, optional
        ``author``, for the provenance.
    """
    laid = lay_out(ds, base)
    with contextlib.suppress(zarr.SealedError):
        if laid.grid.partitions == 1:
            make_whole(objects, laid, ds, made_by, who)
            return
        outline = write_init(objects, laid, made_by)
        for index in range(outline.grid.partitions):
            write_partition(objects, outline, ds, index)
        seal_part(objects, base, ds, who)


@lru_cache(maxsize=8)
def _lazy(url: str, made_by: str, base: str = "") -> xr.Dataset:
    objects, made = open_objects(url), part_spec.PartSpec.from_dict(json.loads(made_by))
    if base:
        with contextlib.suppress(NotFoundError, DamageError):  # what is lost is opened anew
            return part_spec.lazy(objects, made, partial(_laid, objects, base))
    return part_spec.lazy(objects, made)


def _again(
    url: str, made_by: Mapping[str, Any], base: str, index: int, recompute: int
) -> xr.Dataset | None:
    """Make a result of an operator once more, if this partition is one that is computed twice."""
    chosen = recompute and zlib.crc32(f"{base}#{index}".encode()) % recompute == 0
    if not chosen or made_by["kind"] != "operator":
        return None
    return part_spec.lazy(open_objects(url), part_spec.PartSpec.from_dict(dict(made_by)))


def _laid(objects: Objects, base: str) -> xr.Dataset:
    """Open a part that is not sealed yet, for its coordinates."""
    outline, mark = marks.read_init(objects, base)
    held = coordinates(objects, outline, mark)
    return zarr.open_group(objects.url, outline.path, outline.documents, held)
