"""The end of a part: its objects are listed and sealed, leftovers of older attempts deleted."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypedDict

import numpy as np
import xarray as xr

from dpipe import ledger, schema
from dpipe.build import marks, part_spec, source_digests
from dpipe.build.part_layout import PartLayout
from dpipe.build.pictures_aside import put_aside, unreadable
from dpipe.build.writing import Written, write_cell
from dpipe.catalog import SpecFields, Summary, provenance, seals
from dpipe.errors import GoneError
from dpipe.redaction import masked
from dpipe.storage import Objects, Put, documents, zarr

_INLINE_OBJECT = 64 << 10


class Begun(TypedDict):
    """A part that is laid out: the number of its partitions, and those that have a mark."""

    partitions: int
    done: list[int]
    sealed: Literal[False]


class SealedPart(Written):
    """A part that is sealed, in the shape of `Begun`: the digest of its seal, its summary.

    ``seconds``, ``bytes`` and ``objects`` are those of the task that sealed it.
    """

    partitions: int
    done: list[int]
    sealed: Literal[True]
    seal: str
    summary: Summary


@dataclass
class Finished:
    """A part all of whose partitions are done, before it is sealed.

    Attributes
    ----------
    puts : dict of str to Put
        Its objects by key, but for small variables.
    coordinates : dict of str to bytes
        Its coordinate objects by key below the part.
    pieces : Pieces
        Values of small variables.
    spec : SpecFields
        Its spec.
    who : dict
        ``author`` and ``run``.
    partitions : int
        How many there were.
    seconds : float
        How long they took.
    nothing : set of str
        Variables of which every value is NaN.
    unsteady : set of str
        Variables that gave two answers when they were computed twice.
    notes : Ledger
        What was read of sources.
    touched : bool
        Whether any was written since the run was planned.
    """

    puts: dict[str, Put]
    coordinates: dict[str, bytes]
    pieces: marks.Pieces
    spec: SpecFields
    who: Mapping[str, str]
    partitions: int
    seconds: float
    nothing: set[str] = field(default_factory=set)
    unsteady: set[str] = field(default_factory=set)
    notes: ledger.Ledger = field(default_factory=ledger.Ledger)
    touched: bool = False


def seal_finished(
    objects: Objects,
    layout: PartLayout,
    part: Finished,
    opened: Callable[[], xr.Dataset],
    *,
    leftovers: bool = True,
) -> SealedPart:
    """Write small variables, the lists and the seal.

    Parameters
    ----------
    objects : Objects
        The store.
    layout : PartLayout
        How the part is cut.
    part : Finished
        Its objects and values.
    opened : callable
        Returns the Dataset that it holds; asked where pictures may prove unreadable.
    leftovers : bool
        Whether an older attempt may have left something.

    Returns
    -------
    SealedPart
        With the bytes written here.
    """
    values = dict(part.pieces.joined(layout))
    small = [
        put
        for name, block in values.items()
        for put in write_cell(objects, layout, name, {}, block)
    ]
    aside = _without_unreadable(objects, layout, part, values.get("picture_flag"), opened)
    puts = part.puts | {put.key: put for put in small}
    if leftovers:
        _drop_leftovers(objects, layout, puts)
    summary: Summary = {**layout.summary, **aside}
    if notes := _notes(part, layout, summary):
        summary["notes"] = notes
    sources = _sources(objects, layout.base, part)
    entries = {
        key.removeprefix(f"{layout.path}/"): seals.ObjectEntry(size=put.size, sha256=put.sha256)
        for key, put in sorted(puts.items())
    }
    listed = json.dumps(entries, indent=0).encode()
    key = seals.key_of(layout.base)
    zarr.keep(objects, f"{layout.base}.objects.json", listed, key)
    stem, _, fingerprint = layout.base.rpartition("/")[2].rpartition("-")
    seal = seals.Seal(
        base=layout.base,
        suffix=layout.suffix,
        stem=stem,
        fingerprint=fingerprint,
        documents=layout.documents,
        inline={
            name: base64.b64encode(data).decode()
            for name, data in part.coordinates.items()
            if len(data) <= _INLINE_OBJECT
        },
        objects={
            "sha256": documents.sha256(listed),
            "count": len(entries),
            "bytes": sum(entry["size"] for entry in entries.values()),
        },
        provenance=provenance(
            part.spec, part.who, partitions=part.partitions, seconds=part.seconds
        ),
        summary=summary,
        sources=sources,
    )
    data = seal.to_bytes()
    if objects.put_if_absent(key, data) is not None:
        objects.put(seals.copy_key(layout.base), data)
    else:  # another run was first
        data = objects.read(key)
        seal = seals.parse(objects, data, layout.base)[0]
    work = Written(seconds=part.seconds, bytes=sum(put.size for put in small), objects=len(entries))
    return sealed_part(seal, documents.sha256(data), work)


def sealed_part(seal: seals.Seal, digest: str, work: Written) -> SealedPart:
    """Return a part that is sealed as the result of a task."""
    return SealedPart(partitions=0, done=[], sealed=True, seal=digest, summary=seal.summary, **work)


def _sources(objects: Objects, base: str, part: Finished) -> seals.SourceTotals:
    """Put the list of sources that were read; return its digest and length.

    Raises
    ------
    GoneError
        A source was not the same all the time.
    """
    if part.spec.get("kind") != "reader":
        return {}
    spec = part_spec.PartSpec.from_dict(part.spec)
    part_spec.note_rest(spec, part.notes)
    entries = part.notes.entries()
    changed = [uri for uri, entry in entries.items() if entry.get("changed")]
    if changed or (part.touched and any(source_digests.compared(entries.items()))):
        where = changed[0] if changed else spec.items[0]["path"]
        raise GoneError(f"{where}: changed while it was read; run the same command again")
    data = seals.SOURCES.write({"folders": ledger.in_folders(entries)})
    zarr.keep(objects, seals.sources_key(base), data, seals.key_of(base))
    return {"sha256": documents.sha256(data), "count": len(entries)}


def _drop_leftovers(objects: Objects, layout: PartLayout, puts: Mapping[str, Put]) -> None:
    """Delete objects of an older attempt: those below a part, not sealed yet, that are not its."""
    older = [e.key for e in objects.list(f"{layout.path}/") if e.key not in puts]
    if older and objects.exists(seals.key_of(layout.base)):
        raise zarr.SealedError(f"{objects.url}/{layout.base}: sealed by another run")
    objects.delete_many(older)


def _notes(part: Finished, layout: PartLayout, summary: Summary) -> list[str]:
    """Return the notes of a summary, and those on results and masks, a line each.

    Variables that are all NaN are named of a user's operator; of ours, if it is all of them and
    nothing else is noted.
    """
    lines = [*map(masked, summary.get("notes", ()))]
    if part.spec.get("kind") == "operator":
        if part.unsteady:
            named = ", ".join(sorted(part.unsteady))
            lines.append(f"not deterministic: {named} computed twice gave two answers")
        variables = {array.variable for array in layout.arrays}
        ours = not part.spec.get("code")
        if part.nothing and not (ours and ("notes" in summary or part.nothing != variables)):
            lines.append(f"every value of {', '.join(sorted(part.nothing))} is NaN")
    if several := summary.get("several_values"):
        lines.append(
            f"{several} masks have several values besides 0; cell-features takes the smallest for "
            "shapes, as scifAI does, unless mask_values=union"
        )
    return lines


def _without_unreadable(
    objects: Objects,
    layout: PartLayout,
    part: Finished,
    flags: np.ndarray | None,
    opened: Callable[[], xr.Dataset],
) -> Summary:
    """Put pictures aside that proved unreadable only when their block was made.

    The coordinates that were laid out said otherwise: of all objects, only these are replaced,
    before anybody can see them. Returned are the fields of the summary on pictures put aside.
    """
    if "put_aside/zarr.json" not in layout.documents:
        return {}
    ds = opened()
    if layout.levels("picture_flag"):
        if flags is None:  # too many to travel in the marks
            written = zarr.open_group(objects.url, layout.path, layout.documents, {})
            flags = np.asarray(written["picture_flag"].values)
        changed = unreadable(ds, flags)
        for name, values in changed.items():
            document = layout.document(f"{name}/zarr.json")
            for key, data in zarr.encode(document, (slice(0, len(values)),), values).items():
                put = objects.put(f"{layout.path}/{name}/{key}", data)
                part.puts[put.key] = put
                part.coordinates[f"{name}/{key}"] = data
        ds = ds.assign_coords({name: ("record", v) for name, v in changed.items()})
        if several := int(np.count_nonzero(flags & schema.SEVERAL_VALUES)):
            return {**put_aside(ds), "several_values": several}
    return {**put_aside(ds)}
