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
from functools import lru_cache, partial

import xarray as xr

from dpipe import ledger
from dpipe.build import marks, part_spec
from dpipe.build.marked_parts import coordinates, seal_marked
from dpipe.build.part_layout import LayoutOptions, PartLayout, lay_out
from dpipe.build.sealing import Begun, Finished, SealedPart, seal_finished, sealed_part
from dpipe.build.writing import Written, put_documents, write_cells, write_partition
from dpipe.catalog import SpecFields, seals
from dpipe.errors import DamageError, GoneError, NotFoundError, UsageError
from dpipe.storage import Objects, Put, open_objects, zarr

__all__ = [
    "Begun",
    "SealedPart",
    "Written",
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

_NOTHING = Written(seconds=0.0, bytes=0, objects=0)


def make(
    url: str,
    base: str,
    spec: SpecFields,
    options: LayoutOptions | None = None,
    who: Mapping[str, str] | None = None,
    recompute: int = 0,
    new: bool = False,
) -> Begun | SealedPart:
    """Make a part whole if it is one partition; else lay it out, as `init` does.

    Parameters
    ----------
    url : str
        The store.
    base : str
        Key of the part without suffix.
    spec : SpecFields
        Its spec.
    options : LayoutOptions, optional
        How it is cut.
    who : mapping, optional
        ``author`` and ``run``, for the provenance.
    recompute : int
        Of so many partitions of operators one is computed twice, and what differs is noted.
    new : bool
        Whether nothing of it lay in the store when that was last looked at.

    Returns
    -------
    SealedPart or Begun
        As of `finish` if it is sealed now, else as of `init`.

    Raises
    ------
    InputError
        A source is damaged; nothing was written.
    """
    objects = open_objects(url)
    if not new and objects.exists(seals.key_of(base)):
        return _sealed(objects, base)
    if not new and objects.exists(marks.init_key(base)):
        return init(url, base, spec, options)
    with ledger.recording():
        ds = _lazy(url, json.dumps(spec))
        layout = lay_out(ds, base, levels=spec["levels"], **(options or {}))
        if layout.grid.partitions > 1:
            return _begun(objects, write_init(objects, layout, spec))
        with contextlib.suppress(zarr.SealedError):
            again = _again(url, spec, base, 0, recompute)
            return make_whole(objects, layout, ds, spec, who, again=again, leftovers=not new)
    return _sealed(objects, base)


def _sealed(objects: Objects, base: str) -> SealedPart:
    """Return a part that was sealed before."""
    data = objects.read(seals.key_of(base))
    seal, digest = seals.parse(objects, data, base)
    objects.put_if_absent(seals.copy_key(base), data)  # whoever sealed it may have been killed
    return sealed_part(seal, digest, _NOTHING)


def _begun(objects: Objects, layout: PartLayout) -> Begun:
    count = layout.grid.partitions
    return Begun(partitions=count, done=marks.done(objects, layout.base), sealed=False)


def init(
    url: str, base: str, spec: SpecFields, options: LayoutOptions | None = None
) -> Begun | SealedPart:
    """Lay a part out in the store, unless that is done.

    Parameters
    ----------
    url, base, spec, options
        As for `make`.

    Returns
    -------
    Begun or SealedPart
        Its partitions; the part, if it is sealed already.

    Raises
    ------
    InputError
        A source is damaged; nothing was written.
    """
    objects = open_objects(url)
    if objects.exists(seals.key_of(base)):
        return _sealed(objects, base)
    try:
        layout = marks.read_init(objects, base)[0]
    except (NotFoundError, DamageError) as error:
        if isinstance(error, DamageError):  # nothing that it says can be trusted
            keys = [entry.key for entry in objects.list(f"{base}.marks/")]
            objects.delete_many(keys)
        with ledger.recording():
            ds = _lazy(url, json.dumps(spec))
            layout = lay_out(ds, base, levels=spec["levels"], **(options or {}))
            layout = write_init(objects, layout, spec)
    return _begun(objects, layout)


def write_init(objects: Objects, layout: PartLayout, spec: SpecFields) -> PartLayout:
    """Write a part's metadata and coordinates, and the mark that says how it is cut.

    Parameters
    ----------
    objects : Objects
        The store.
    layout : PartLayout
        How the part will lie in the store.
    spec : SpecFields
        The part's spec.

    Returns
    -------
    PartLayout
        The one in the store: that of whoever came first.
    """
    puts = put_documents(objects, layout, layout.coordinates)
    marks.put_init(objects, layout, spec, puts)
    return marks.read_init(objects, layout.base)[0]


def partition(url: str, base: str, index: int, recompute: int = 0) -> Written:
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
    Written
        Seconds, bytes and objects; zeros if it was done.

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
        return _NOTHING.copy()
    try:
        layout, mark = marks.read_init(objects, base)
        if not 0 <= index < layout.grid.partitions:
            raise UsageError(f"{base}: no partition {index}; there are {layout.grid.partitions}")
        with ledger.recording():
            ds = _lazy(url, json.dumps(mark["origin"]), base)
            again = _again(url, mark["origin"], base, index, recompute)
            return write_partition(objects, layout, ds, index, again=again)
    except (NotFoundError, zarr.SealedError):
        if objects.exists(seals.key_of(base)):  # by another run, which took the marks away
            return _NOTHING.copy()
        raise


def finish(url: str, base: str, who: Mapping[str, str] | None = None) -> SealedPart:
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
    SealedPart
        With the bytes that were still to write.

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


def _check_unchanged(objects: Objects, base: str, spec: SpecFields) -> bool:
    """Refuse sources that changed while they were read, and forget the marks made of them."""
    try:
        return part_spec.check_unchanged(part_spec.PartSpec.from_dict(spec))
    except GoneError:
        marks.delete(objects, base, marks.done(objects, base))
        raise


def seal_part(
    objects: Objects, base: str, ds: xr.Dataset, who: Mapping[str, str] | None = None
) -> SealedPart:
    """Seal a part of which every partition has a mark; see `finish`."""
    if objects.exists(seals.key_of(base)):
        return _sealed(objects, base)
    return seal_marked(objects, base, lambda: ds, who or {})


def make_whole(
    objects: Objects,
    layout: PartLayout,
    ds: xr.Dataset,
    spec: SpecFields,
    who: Mapping[str, str] | None = None,
    *,
    again: xr.Dataset | None = None,
    leftovers: bool = True,
) -> SealedPart:
    """Write and seal a part at once, leaving no mark: if it is cut short, it is made again.

    Parameters
    ----------
    objects : Objects
        The store.
    layout : PartLayout
        How the part will lie in the store.
    ds : xarray.Dataset
        Its values, lazy or not.
    spec : SpecFields
        Its spec.
    who : mapping, optional
        ``author`` and ``run``, for the provenance.
    again : xarray.Dataset, optional
        The same, made once more: its values are compared.
    leftovers : bool
        Whether something of it may lie in the store.

    Returns
    -------
    SealedPart
        As of `finish`.
    """
    puts: dict[str, Put] = {}
    part = Finished(puts, dict(layout.coordinates), marks.Pieces(), spec, who or {}, 0, 0.0)
    part.notes = ledger.current() or part.notes
    for index in range(layout.grid.partitions):
        cells = write_cells(objects, layout, ds, index, again)
        part.unsteady |= cells.unsteady
        puts |= {put.key: put for put in cells.puts}
        part.pieces.cells |= {
            name: part.pieces.cells.get(name, []) + pieces
            for name, pieces in cells.pieces.cells.items()
        }
        part.partitions, part.seconds = index + 1, part.seconds + cells.seconds
        part.nothing = cells.nothing if not index else part.nothing & cells.nothing
    puts |= {put.key: put for put in put_documents(objects, layout, layout.coordinates)}
    if spec.get("items"):
        part.touched = part_spec.check_unchanged(part_spec.PartSpec.from_dict(spec))
    return seal_finished(objects, layout, part, lambda: ds, leftovers=leftovers)


def save(
    objects: Objects,
    base: str,
    ds: xr.Dataset,
    spec: SpecFields,
    who: Mapping[str, str] | None = None,
) -> None:
    """Make a part of a Dataset in memory, in this process.

    Parameters
    ----------
    objects : Objects
        The store.
    base : str
        Key of the part without suffix.
    ds : xarray.Dataset
        Lazy or not.
    spec : SpecFields
        Its spec.
    who : mapping, optional
        ``author``, for the provenance.
    """
    layout = lay_out(ds, base)
    with contextlib.suppress(zarr.SealedError):
        if layout.grid.partitions == 1:
            make_whole(objects, layout, ds, spec, who)
            return
        layout = write_init(objects, layout, spec)
        for index in range(layout.grid.partitions):
            write_partition(objects, layout, ds, index)
        seal_part(objects, base, ds, who)


@lru_cache(maxsize=8)
def _lazy(url: str, spec_json: str, base: str = "") -> xr.Dataset:
    objects, spec = open_objects(url), part_spec.PartSpec.from_dict(json.loads(spec_json))
    if base:
        with contextlib.suppress(NotFoundError, DamageError):  # what is lost is opened anew
            return part_spec.lazy(objects, spec, partial(_laid, objects, base))
    return part_spec.lazy(objects, spec)


def _again(url: str, spec: SpecFields, base: str, index: int, recompute: int) -> xr.Dataset | None:
    """Make a result of an operator once more, if this partition is one that is computed twice."""
    chosen = recompute and zlib.crc32(f"{base}#{index}".encode()) % recompute == 0
    if not chosen or spec["kind"] != "operator":
        return None
    return part_spec.lazy(open_objects(url), part_spec.PartSpec.from_dict(spec))


def _laid(objects: Objects, base: str) -> xr.Dataset:
    """Open a part that is not sealed yet, for its coordinates."""
    layout, mark = marks.read_init(objects, base)
    inline = coordinates(objects, layout, mark)
    return zarr.open_group(objects.url, layout.path, layout.documents, inline)
