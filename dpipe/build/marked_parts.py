"""A part that was made in partitions: marks are compared with its objects, and it is sealed."""

from collections.abc import Callable, Mapping, Sequence

import xarray as xr

from dpipe import ledger
from dpipe.build import marks
from dpipe.build.part_layout import PartLayout, lay_out
from dpipe.build.sealing import Finished, SealedPart, seal_finished
from dpipe.build.writing import put_documents, write_partition
from dpipe.errors import DamageError, GoneError, NotFoundError
from dpipe.storage import Listed, Objects, Put, documents


def seal_marked(
    objects: Objects,
    base: str,
    opened: Callable[[], xr.Dataset],
    who: Mapping[str, str],
    *,
    touched: bool = False,
) -> SealedPart:
    """Seal a part whose partitions all have marks; objects that differ from them are made again."""
    layout, first = marks.read_init(objects, base)
    done = marks.read_all(objects, layout)
    puts = _mended(objects, layout, first, done, opened)
    pieces = marks.Pieces()
    for mark in done.values():
        pieces.read(layout, mark["small"])
    notes = ledger.Ledger()
    notes.take(first.get("read", {}))
    for mark in done.values():
        notes.take(mark.get("read", {}))
    nothing = [set(mark.get("nothing", ())) for mark in done.values()]
    try:
        part = Finished(
            puts,
            coordinates(objects, layout, first),
            pieces,
            first["origin"],
            who,
            len(done),
            sum(mark["seconds"] for mark in done.values()),
            set.intersection(*nothing) if nothing else set(),
            {name for mark in done.values() for name in mark.get("unsteady", ())},
            notes,
            touched,
        )
        sealed = seal_finished(objects, layout, part, opened)
    except GoneError:  # of a source that changed, or marks that are no longer whole, nothing counts
        marks.delete(objects, base, list(done))
        raise
    marks.delete(objects, base, list(done))
    return sealed


def _mended(
    objects: Objects,
    layout: PartLayout,
    first: marks.InitMark,
    done: dict[int, marks.PartitionMark],
    opened: Callable[[], xr.Dataset],
) -> dict[str, Put]:
    """Write objects again that differ from their marks; return all objects by key."""
    listed = {entry.key: entry for entry in objects.list(f"{layout.path}/")}
    puts = [Put(**put) for put in first["objects"]]
    if wrong(objects, puts, listed):
        laid = lay_out(opened(), layout.base, levels=layout.summary["levels"])
        puts = put_documents(objects, layout, laid.coordinates)
    by_key = {put.key: put for put in puts}
    again: list[Put] = []
    for index, mark in list(done.items()):
        puts = [Put(**put) for put in mark["objects"]]
        if wrong(objects, puts, listed):
            with ledger.recording():
                write_partition(objects, layout, opened(), index, anew=True)
            done[index] = marks.read_partition(objects, layout.base, index)
            puts = [Put(**put) for put in done[index]["objects"]]
            again += puts
        by_key |= {put.key: put for put in puts}
    if bad := wrong(objects, again, {}):
        raise DamageError(
            f"{objects.url}/{bad[0].key}: differs from its mark after a second try; check the disk "
            "or server, and run again"
        )
    return by_key


def coordinates(objects: Objects, layout: PartLayout, first: marks.InitMark) -> dict[str, bytes]:
    """Read the coordinate objects of a part that was begun, and hold them to their digests."""
    data_by_name = {}
    for put in first["objects"]:
        name = put["key"].removeprefix(f"{layout.path}/")
        if not name.endswith("zarr.json"):
            data = objects.read(put["key"])
            if documents.sha256(data) != put["sha256"]:
                raise GoneError(
                    f"{objects.url}/{put['key']}: differs from its mark; the part is begun anew"
                )
            data_by_name[name] = data
    return data_by_name


def wrong(objects: Objects, puts: Sequence[Put], listed: Mapping[str, Listed]) -> list[Put]:
    """Return the objects that are not in the store as they were written.

    Parameters
    ----------
    objects : Objects
        The store.
    puts : sequence of Put
        Objects that were written.
    listed : mapping of str to Listed
        Entries of a listing, by key. It is not believed: what it lacks, or says otherwise, is
        looked at.

    Returns
    -------
    list of Put
        Those that are gone or hold other bytes.
    """
    return [put for put in puts if not (_alike(listed.get(put.key), put) or _same(objects, put))]


def _alike(entry: Listed | None, put: Put) -> bool:
    """Tell whether a listed object is the one put; an ETag that is not known is that of none."""
    return entry is not None and entry.size == put.size and entry.etag == put.etag != ""


def _same(objects: Objects, put: Put) -> bool:
    try:
        entry = objects.head(put.key)
        if entry.size != put.size:
            return False
        return _alike(entry, put) or documents.sha256(objects.read(put.key)) == put.sha256
    except NotFoundError:
        return False
