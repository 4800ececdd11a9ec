"""The end of a part: what lies in the store is compared, listed and sealed."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from dpipe import ledger, schema
from dpipe.build import marks, part_spec, source_digests
from dpipe.build.part_layout import PartLayout, put_aside, unreadable
from dpipe.build.writing import write_cell
from dpipe.catalog import provenance, seals
from dpipe.errors import GoneError
from dpipe.redaction import masked
from dpipe.storage import Objects, Put, documents, zarr

_INLINE_OBJECT = 64 << 10


@dataclass
class Made:
    """What is known of a part when all of its partitions are done.

    Attributes
    ----------
    puts : dict of str to Put
        Its objects by key, but for small variables.
    coordinates : dict of str to bytes
        Its coordinate objects by key below the part.
    pieces : Pieces
        Values of small variables.
    made_by : dict
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
    made_by: Mapping[str, Any]
    who: Mapping[str, str]
    partitions: int
    seconds: float
    nothing: set[str] = field(default_factory=set)
    unsteady: set[str] = field(default_factory=set)
    notes: ledger.Ledger = field(default_factory=ledger.Ledger)
    touched: bool = False


def seal_made(
    objects: Objects,
    outline: PartLayout,
    made: Made,
    opened: Callable[[], xr.Dataset],
    *,
    leftovers: bool = True,
) -> dict[str, Any]:
    """Write small variables, the lists and the seal.

    Parameters
    ----------
    objects : Objects
        The store.
    outline : PartLayout
        How the part is cut.
    made : Made
        What was made of it.
    opened : callable
        Returns the Dataset that it holds; asked where pictures may prove unreadable.
    leftovers : bool
        Whether an older attempt may have left something.

    Returns
    -------
    dict
        ``sealed`` (True), ``seal``, ``summary``, ``seconds`` and ``bytes`` written here.
    """
    values = dict(made.pieces.joined(outline))
    small = [
        put
        for name, block in values.items()
        for put in write_cell(objects, outline, name, {}, block)
    ]
    said = _without_unreadable(objects, outline, made, values.get("picture_flag"), opened)
    puts = made.puts | {put.key: put for put in small}
    if leftovers:
        _drop_leftovers(objects, outline, puts)
    summary = outline.summary | said
    variables = {array.variable for array in outline.arrays}
    notes = [*map(masked, summary.get("notes", ())), *_notes(made, variables, "notes" in summary)]
    if several := said.get("several_values"):
        notes.append(
            f"{several} masks have several values besides 0; cell-features takes the smallest for "
            "shapes, as scifAI does, unless mask_values=union"
        )
    if notes:
        summary = summary | {"notes": notes}
    sources = _sources(objects, outline.base, made)
    entries = {
        key.removeprefix(f"{outline.path}/"): {"size": put.size, "sha256": put.sha256}
        for key, put in sorted(puts.items())
    }
    listed = json.dumps(entries, indent=0).encode()
    key = seals.key_of(outline.base)
    zarr.keep(objects, f"{outline.base}.objects.json", listed, key)
    stem, _, fingerprint = outline.base.rpartition("/")[2].rpartition("-")
    found = seals.Seal(
        base=outline.base,
        suffix=outline.suffix,
        stem=stem,
        fingerprint=fingerprint,
        documents=outline.documents,
        inline={
            name: base64.b64encode(data).decode()
            for name, data in made.coordinates.items()
            if len(data) <= _INLINE_OBJECT
        },
        objects={
            "sha256": documents.sha256(listed),
            "count": len(entries),
            "bytes": sum(entry["size"] for entry in entries.values()),
        },
        provenance=provenance(
            made.made_by, made.who, partitions=made.partitions, seconds=made.seconds
        ),
        summary=summary,
        sources=sources,
    )
    data = found.to_bytes()
    if objects.put_if_absent(key, data) is not None:
        objects.put(seals.copy_key(outline.base), data)
    else:  # another run was first
        data = objects.read(key)
        found = seals.parse(objects, data, outline.base)[0]
    return {
        "partitions": 0,
        "done": [],
        "sealed": True,
        "seal": documents.sha256(data),
        "summary": found.summary,
        "seconds": made.seconds,
        "bytes": sum(put.size for put in small),
        "objects": len(entries),
    }


def _sources(objects: Objects, base: str, made: Made) -> dict[str, Any]:
    """Put the list of what was read of sources; return what the seal says of it.

    Raises
    ------
    GoneError
        A source was not the same all the time.
    """
    if made.made_by.get("kind") != "reader":
        return {}
    found = part_spec.PartSpec.from_dict(made.made_by)
    part_spec.note_rest(found, made.notes)
    entries = made.notes.entries()
    changed = [uri for uri, entry in entries.items() if entry.get("changed")]
    if changed or (made.touched and any(source_digests.compared(entries.items()))):
        where = changed[0] if changed else found.items[0]["path"]
        raise GoneError(f"{where}: changed while it was read; run the same command again")
    data = seals.SOURCES.write({"folders": ledger.in_folders(entries)})
    zarr.keep(objects, seals.sources_key(base), data, seals.key_of(base))
    return {"sha256": documents.sha256(data), "count": len(entries)}


def _drop_leftovers(objects: Objects, outline: PartLayout, known: Mapping[str, Put]) -> None:
    """Delete what lies below a part that is not sealed and was not made: an older attempt's."""
    left = [e.key for e in objects.list(f"{outline.path}/") if e.key not in known]
    if left and objects.exists(seals.key_of(outline.base)):
        raise zarr.SealedError(f"{objects.url}/{outline.base}: sealed by another run")
    objects.delete_many(left)


def _notes(made: Made, variables: set[str], known: bool) -> list[str]:
    """Say which results hold nothing: of a user's operator each, of ours if it is all."""
    if made.made_by.get("kind") != "operator":
        return []
    lines = []
    if made.unsteady:
        named = ", ".join(sorted(made.unsteady))
        lines.append(f"not deterministic: {named} computed twice gave two answers")
    ours = not made.made_by.get("code")
    if made.nothing and not (ours and (known or made.nothing != variables)):
        lines.append(f"every value of {', '.join(sorted(made.nothing))} is NaN")
    return lines


def _without_unreadable(
    objects: Objects,
    outline: PartLayout,
    made: Made,
    flags: np.ndarray | None,
    opened: Callable[[], xr.Dataset],
) -> dict[str, Any]:
    """Put pictures aside that proved unreadable only when their block was made.

    The coordinates that were laid out said otherwise: of all objects, only these are replaced,
    before anybody can see them. Returned is what the summary says of pictures put aside.
    """
    if "put_aside/zarr.json" not in outline.documents:
        return {}
    ds = opened()
    if outline.levels("picture_flag"):
        if flags is None:  # too many to travel in the marks
            written = zarr.open_group(objects.url, outline.path, outline.documents, {})
            flags = np.asarray(written["picture_flag"].values)
        changed = unreadable(ds, flags)
        for name, values in changed.items():
            document = outline.document(f"{name}/zarr.json")
            for key, data in zarr.encode(document, (slice(0, len(values)),), values).items():
                put = objects.put(f"{outline.path}/{name}/{key}", data)
                made.puts[put.key] = put
                made.coordinates[f"{name}/{key}"] = data
        ds = ds.assign_coords({name: ("record", v) for name, v in changed.items()})
        if several := int(np.count_nonzero(flags & schema.SEVERAL_VALUES)):
            return put_aside(ds) | {"several_values": several}
    return put_aside(ds)
