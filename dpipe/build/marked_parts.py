"""A part that was made in partitions: marks are compared with what is there, and it is sealed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import xarray as xr

from dpipe import ledger
from dpipe.build import marks
from dpipe.build.part_layout import PartLayout, lay_out
from dpipe.build.sealing import Made, seal_made
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
) -> dict[str, Any]:
    """Seal a part whose partitions have left their marks; what is not as marked is made again."""
    outline, first = marks.read_init(objects, base)
    done = marks.read_all(objects, outline)
    puts = _mended(objects, outline, first, done, opened)
    pieces = marks.Pieces()
    for mark in done.values():
        pieces.read(outline, mark["small"])
    notes = ledger.Ledger()
    for mark in (first, *done.values()):
        notes.take(mark.get("read", {}))
    nothing = [set(mark.get("nothing", ())) for mark in done.values()]
    try:
        made = Made(
            puts,
            coordinates(objects, outline, first),
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
        sealed = seal_made(objects, outline, made, opened)
    except GoneError:  # of a source that changed, or marks that are no longer whole, nothing counts
        marks.delete(objects, base, list(done))
        raise
    marks.delete(objects, base, list(done))
    return sealed


def _mended(
    objects: Objects,
    outline: PartLayout,
    first: Mapping[str, Any],
    done: dict[int, dict[str, Any]],
    opened: Callable[[], xr.Dataset],
) -> dict[str, Put]:
    """Do again what does not lie in the store as its mark says; return all objects by key."""
    there = {entry.key: entry for entry in objects.list(f"{outline.path}/")}
    puts = [Put(**put) for put in first["objects"]]
    if wrong(objects, puts, there):
        laid = lay_out(opened(), outline.base, levels=outline.summary["levels"])
        puts = put_documents(objects, outline, laid.coordinates)
    found = {put.key: put for put in puts}
    again: list[Put] = []
    for index, mark in list(done.items()):
        puts = [Put(**put) for put in mark["objects"]]
        if wrong(objects, puts, there):
            with ledger.recording():
                write_partition(objects, outline, opened(), index, anew=True)
            done[index] = marks.read(objects, marks.key(outline.base, index))
            puts = [Put(**put) for put in done[index]["objects"]]
            again += puts
        found |= {put.key: put for put in puts}
    if bad := wrong(objects, again, {}):
        raise DamageError(
            f"{objects.url}/{bad[0].key}: differs from its mark after a second try; check the disk "
            "or server, and run again"
        )
    return found


def coordinates(
    objects: Objects, outline: PartLayout, first: Mapping[str, Any]
) -> dict[str, bytes]:
    """Read the coordinate objects of a part that was begun, and hold them to their digests."""
    found = {}
    for put in first["objects"]:
        name = put["key"].removeprefix(f"{outline.path}/")
        if not name.endswith("zarr.json"):
            data = objects.read(put["key"])
            if documents.sha256(data) != put["sha256"]:
                raise GoneError(
                    f"{objects.url}/{put['key']}: differs from its mark; the part is begun anew"
                )
            found[name] = data
    return found


def wrong(objects: Objects, puts: Sequence[Put], there: Mapping[str, Listed]) -> list[Put]:
    """Return the objects that are not in the store as they were written.

    Parameters
    ----------
    objects : Objects
        The store.
    puts : sequence of Put
        What was written.
    there : mapping of str to Listed
        What a listing says, by key. It is not believed: what it lacks, or says otherwise, is
        looked at.

    Returns
    -------
    list of Put
        Those that are gone or hold other bytes.
    """
    return [put for put in puts if not (_alike(there.get(put.key), put) or _same(objects, put))]


def _alike(entry: Listed | None, put: Put) -> bool:
    """Tell whether what is known of an object fits; an ETag that is not known fits none."""
    return entry is not None and entry.size == put.size and entry.etag == put.etag != ""


def _same(objects: Objects, put: Put) -> bool:
    try:
        entry = objects.head(put.key)
        if entry.size != put.size:
            return False
        return _alike(entry, put) or documents.sha256(objects.read(put.key)) == put.sha256
    except NotFoundError:
        return False
