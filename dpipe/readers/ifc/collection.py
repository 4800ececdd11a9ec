"""Pictures of single cells from imaging flow cytometry: a folder of HDF5 files is one collection.

Trees are ``Experiment_k/Donor_k/<condition>/*.h5`` or of another depth; each file holds
``image (height, width, channels)``, maybe ``mask`` of the same shape and ``label``. A folder may
hold tens of thousands of files, so a part's one item stands for the folder, and what the files
say of themselves is read once: `resume` takes it from what ``init`` has laid out.

This module knows folders and names; how a file is read stands in ``picture_file``, how pictures are
packed in ``packing``.
"""

import math
import os
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema, sources
from dpipe.errors import InputError, UsageError
from dpipe.readers import packing
from dpipe.readers.ifc.duplicates import content
from dpipe.readers.ifc.folders import SUFFIXES, state
from dpipe.readers.ifc.picture_file import LARGEST, look, planes
from dpipe.readers.ifc.rows import Rows
from dpipe.readers.packing import Facts, Outcome, Plan
from dpipe.sources import Item, natural_key

__all__ = ["content", "guess", "open_ifc", "resume"]

_SAMPLE = 64
_OWN = ("pixels", "mask_code", "mask_value", "mask_pixels", "picture_flag")
_TAKEN = {"c", "record", "block", "value", "place", "slot", *_OWN, *schema.OF_RECORDS}
_TAKEN -= {"experiment", "donor", "condition"}


def open_ifc(
    url: str | os.PathLike[str] | Sequence[str],
    *,
    levels: str | Sequence[str] = "experiment,donor,condition",
    channels: str | Sequence[str] | None = None,
    block: int = 0,
    threshold: float | None = None,
) -> xr.Dataset:
    """Open a folder of pictures as a lazy packed collection; headers are read, no pixels.

    Parameters
    ----------
    url : str, path, or sequence of these
        A folder, on disk or in a bucket, or files of one folder; one that is not there any more
        keeps a record that is put aside.
    levels : str or sequence of str
        What the last folders of the path are, outermost first, by commas; each becomes a
        coordinate over the pictures.
    channels : str or sequence of str, optional
        Names of the channels, by commas; by default Ch1, Ch2, ...
    block : int
        Pictures of a block: what one task reads, and one object in the store. 0 chooses a power
        of two up to 1,024, as many as make a row of at most 96 MiB.
    threshold : float, optional
        What of a mask is inside: what lies above it, which NaN does not; each mask becomes truth
        values. Without one, a mask must hold whole numbers from 0, of which 0 is outside; a
        picture with another mask (soft edges, NaN, -1 for outside) is put aside.

    Returns
    -------
    xarray.Dataset
        ``pixels(block, value)`` and, where there are masks, ``mask_code(block, place)``,
        ``mask_value(block, slot)`` and ``mask_pixels(block, value)``; ``picture_flag(block,
        slot)``; over ``record`` where each picture lies and what is known of it. Pictures are in
        the natural order of their files' names. One that cannot be used keeps its record, with
        height 0 and the reason in ``put_aside``. ``attrs["notes"]`` says what is odd about labels.

    Raises
    ------
    InputError
        No picture of the folder can be read.
    UsageError
        No files, files of several folders, or names that do not fit.
    """
    items = _listed(url)
    outcomes = _once(items, _survey(items, threshold))
    return _collection(
        items, outcomes, levels=levels, channels=channels, block=block, threshold=threshold
    )


def guess(
    url: str | os.PathLike[str] | Sequence[str],
    count: int = 0,
    *,
    levels: str | Sequence[str] = "experiment,donor,condition",
    channels: str | Sequence[str] | None = None,
    block: int = 0,
    threshold: float | None = None,
) -> xr.Dataset:
    """Return a collection of about the same size as `open_ifc` would, from a few of its files.

    A plan asks for it: to read millions of headers takes as long as to read the pictures. It knows
    their `count`, so they are not listed again either.
    """
    sample = _listed(url, _SAMPLE if count else None)
    options = {"levels": levels, "channels": channels, "block": block, "threshold": threshold}
    survey = _survey(sample[:_SAMPLE], threshold)
    sound = [outcome for outcome in survey if isinstance(outcome, Facts)]
    if not sound:
        return open_ifc(url, **options)  # type: ignore[arg-type]
    numbers = range(count or len(sample))
    items = [sample[i % len(sample)] for i in numbers]
    outcomes = [sound[i % len(sound)] for i in numbers]
    return _collection(items, outcomes, **options)  # type: ignore[arg-type]


def resume(
    layout: xr.Dataset,
    url: str | os.PathLike[str] | Sequence[str],
    *,
    threshold: float | None = None,
    **_: Any,
) -> xr.Dataset:
    """Return the collection of `open_ifc` again, from its layout; no file is looked at.

    Parameters
    ----------
    layout : xarray.Dataset
        The layout: coordinates of `open_ifc`, and variables of the dims and dtypes it promised.
    url : str, path, or sequence of these
        As for `open_ifc`.
    threshold : float, optional
        As for `open_ifc`.
    **_
        Its other options, which the coordinates hold already.

    Returns
    -------
    xarray.Dataset
        Lazy; it reads the files of the folder.
    """
    folder = _folder_of(sources.urls_of(url))
    mask = layout.mask_value.dtype.str if "mask_value" in layout else ""
    heights, widths, offsets = (
        np.asarray(layout[name].values, np.int64) for name in ("height", "width", "offset")
    )
    channels = int(layout.sizes["c"])
    plan = Plan(
        block=layout.sizes["slot"],
        heights=heights,
        widths=widths,
        offsets=offsets,
        channels=channels,
        dtype=layout.pixels.dtype.str,
        mask=mask,
        places=layout.sizes["value"] // channels,
    )
    files = [f"{folder}/{name}" for name in layout["file"].values.tolist()]
    states = np.asarray(layout["file_state"].values, np.int64)
    return layout.assign(
        Rows(files, plan, states, partial(planes, threshold=threshold)).variables()
    )


def _folder_of(urls: Sequence[str | os.PathLike[str]]) -> str:
    """Return the folder that is given, or that holds the files given."""
    texts = [sources.resolve_uri(url).rstrip("/") for url in urls]
    if len(texts) == 1 and not texts[0].lower().endswith(SUFFIXES):
        return texts[0]
    folders = {text.rpartition("/")[0] for text in texts}
    if len(folders) != 1:
        raise UsageError(f"expected one folder, or files of one; found {len(folders)} folders")
    return folders.pop()


def _listed(url: str | os.PathLike[str] | Sequence[str], limit: int | None = None) -> list[Item]:
    """List the files of a folder itself, in natural order; files that are named are taken so.

    With `limit`, so many of them at most, whichever come first. One that is gone has the size -1.
    """
    urls = sources.urls_of(url)
    folder = _folder_of(urls)
    named = {sources.resolve_uri(name).rstrip("/") for name in urls} - {folder}
    inside = (item for item in sources.walk_items(folder) if "/" not in item.path)
    fitting = (item for item in inside if item.uri.lower().endswith(SUFFIXES))
    items = list(islice((i for i in fitting if not named or i.uri in named), limit))
    if limit is None and items:
        gone = named - {item.uri for item in items}
        items += [Item(uri, uri.rpartition("/")[2], -1, "") for uri in gone]
    if not items:
        raise UsageError(f"{folder}: no .h5 files in this folder itself; give a sample's folder")
    return sorted(items, key=lambda item: natural_key(item.path))


def _survey(items: Sequence[Item], threshold: float | None) -> list[Outcome]:
    """Read the headers of files; those of a bucket are small enough to be read whole."""
    if threshold is not None and not (_is_number(threshold) and math.isfinite(threshold)):
        raise UsageError(f"threshold: found {threshold!r}; expected a number")
    fitting = [item for item in items if 0 <= item.size <= LARGEST]
    take = partial(look, threshold=threshold)
    looks = sources.read_many((item.uri for item in fitting), take)
    outcomes: list[Outcome] = []
    for item in items:
        if item.size < 0:
            outcomes.append(InputError("gone; it was there when the source was listed"))
        elif item.size > LARGEST:
            outcomes.append(InputError(f"{item.size} bytes; it is no picture"))
        else:
            outcomes.append(next(looks))
    return outcomes


def _collection(
    items: Sequence[Item],
    outcomes: Sequence[Outcome],
    *,
    levels: str | Sequence[str],
    channels: str | Sequence[str] | None,
    block: int,
    threshold: float | None,
) -> xr.Dataset:
    folder = items[0].uri.rpartition("/")[0]
    if type(block) is not int or block < 0:
        raise UsageError(f"block: found {block!r}; expected a number of pictures, or 0")
    try:
        names = [item.uri.rpartition("/")[2] for item in items]
        facts, reasons = packing.judge(outcomes, names)
        plan = packing.plan(facts, block)
    except InputError as error:
        raise InputError(f"{folder.rpartition('/')[2]}: {error}") from None
    called = _split(channels) or [f"Ch{i + 1}" for i in range(plan.channels)]
    if len(called) != plan.channels or len(set(called)) != len(called):
        raise UsageError(
            f"channels: {len(called)} names ({', '.join(called)}); the pictures of {folder} have "
            f"{plan.channels} channels, and no two may have one name"
        )
    columns = _columns(items, facts, reasons, plan) | _levels(folder, _split(levels), len(items))
    coords = {
        "block": xr.Variable("block", np.arange(plan.count)),
        "c": xr.Variable("c", np.array(called, dtype=str)),
    }
    for name, values in columns.items():
        described = schema.OF_RECORDS.get(name)
        attrs = {"long_name": described.meaning, "units": described.unit} if described else {}
        coords[name] = xr.Variable("record", values, attrs)
    decode = partial(planes, threshold=threshold)
    rows = Rows([item.uri for item in items], plan, columns["file_state"], decode)
    notes = packing.channels_first(facts) + packing.odd_labels(names, facts)
    return xr.Dataset(rows.variables(), coords, {"notes": notes} if notes else {})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _columns(
    items: Sequence[Item], facts: Sequence[Facts | None], reasons: Sequence[str], plan: Plan
) -> dict[str, np.ndarray]:
    """Return the columns of the records, one a picture."""
    numbers = np.arange(len(items))
    labels = [
        "-1" if picture is None or picture.label is None else picture.label for picture in facts
    ]
    sets = [
        "labeled" if picture and picture.label is not None else "unlabeled" for picture in facts
    ]
    masks = [np.dtype(picture.mask).name if picture and picture.mask else "" for picture in facts]
    return {
        "in_block": numbers // plan.block,
        "in_slot": numbers % plan.block,
        "offset": plan.offsets,
        "height": plan.heights,
        "width": plan.widths,
        "file_state": np.array([state(item) for item in items], np.int64),
        "file": np.array([item.uri.rpartition("/")[2] for item in items], dtype=str),
        "object_number": np.array([_object_number(item) for item in items]),
        "label": np.array(labels, dtype=str),
        "set": np.array(sets, dtype=str),
        "mask_dtype": np.array(masks, dtype=str),
        "put_aside": np.array(reasons, dtype=str),
    }


def _once(items: Sequence[Item], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Put aside all but the first sound picture of an object."""
    seen: dict[int, str] = {}
    once: list[Outcome] = []
    for item, outcome in zip(items, outcomes, strict=True):
        number = _object_number(item)
        first = item.uri
        if isinstance(outcome, Facts) and number >= 0:
            first = seen.setdefault(number, item.uri)
        other = first.rpartition("/")[2]
        again = InputError(f"object {number} again; it is in {other} too")
        once.append(outcome if first == item.uri else again)
    return once


def _object_number(item: Item) -> int:
    """Return what stands after the last ``_`` of a file's name, -1 if that is no number."""
    text = item.uri.rpartition("/")[2].rpartition(".")[0].rpartition("_")[2]
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else -1


def _levels(folder: str, names: Sequence[str], count: int) -> dict[str, np.ndarray]:
    """Return a column for each of the last folders of a path, by the names of the levels."""
    wrong = [name for name in names if not name.isidentifier() or name in _TAKEN]
    if wrong or len(set(names)) != len(names):
        raise UsageError(f"levels: {', '.join(wrong or names)}; expected names, each once")
    folders = [name.strip() for name in folder.rpartition("://")[2].split("/")]
    if len(folders) < len(names):
        raise UsageError(f"levels: {len(names)} names; {folder} has {len(folders)} folders")
    chosen = folders[len(folders) - len(names) :]
    return {
        name: np.full(count, text, dtype=f"<U{max(1, len(text))}")
        for name, text in zip(names, chosen, strict=True)
    }


def _split(names: str | Sequence[str] | None) -> list[str]:
    """Return names that are given as a list, or by commas."""
    parts = names.split(",") if isinstance(names, str) else names or []
    return [str(part).strip() for part in parts if str(part).strip()]
