"""Crops for classification: a file a sequence, or a file a frame, in folders by split and label.

``train/1/Neu1_cell1.tif`` is what loaders of picture folders take; ``index.csv`` and
``index.json`` say the rest, also which frames of a sequence are no frames but filling, and what
but the pictures themselves would tell one class from the other. This module knows nothing of how
crops are cut.
"""

import csv
import json
import math
import os
import warnings
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict, cast

import numpy as np
import xarray as xr
from tqdm import tqdm

from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.writers.training.pictures import Names, chosen, fitting, numbers, pieces, write_tiff
from dpipe.writers.training.splits import SplitChoice, Watch, movies_of, settle, whole_folder

_List = Literal["channels", "frames", "valid", "times", "phases", "inside"]
_LISTS: tuple[_List, ...] = ("channels", "frames", "valid", "times", "phases", "inside")
"""What `index.csv` joins by spaces, channels by commas."""
_ENOUGH = 4
"""Files of each class from which on it is no chance that something parts them."""


class _Row(TypedDict, total=False):
    """A row of the index: a file, its event, and lists with an entry a frame."""

    file: str
    event: str
    label: int
    kind: str
    like: str
    movie: str
    track: int
    event_channel: str
    frames: list[int]
    valid: list[int]
    times: list[float | None]
    phases: list[int]
    inside: list[float]
    split: str
    channels: list[str]


def write_classification(
    parts: Mapping[str, xr.Dataset],
    to: str | os.PathLike[str],
    *,
    split: SplitChoice = None,
    frames: Literal["sequence", "single"] = "sequence",
    channels: Names = None,
) -> list[str]:
    """Write crops as TIFF for classification, in folders by split and label.

    Parameters
    ----------
    parts : mapping of str to xarray.Dataset
        Crops by stem: ``crop(event, t, c, y, x)`` or ``crop_volume(event, t, c, z, y, x)``.
    to : str or path
        A folder that is new or empty; it appears when all is written, else nothing is left:
        ``<split>/<label>/<event>.tif``, ``index.csv`` (a row a file) and ``index.json`` (that,
        and the counts). ``valid`` is the mask of each sequence: 1 for a frame, 0 for filling.
    split : str, path, mapping or xarray.Dataset, optional
        What each movie is for: ``"train"``, ``"validation"`` or ``"test"`` for all; a table with
        columns ``movie,split`` or ``event,split``; what ``split_movies`` returns. By default the
        parts hold it: name the dataset of splits beside that of crops.
    frames : {"sequence", "single"}
        A file an event with all its frames, as the crops have them; or a file a frame,
        ``<event>_t007.tif``, by its place in the sequence. Then frames beyond the movie are left
        out, and of events those outside their phases, which show no dying cell; of a negative
        that is like an event (``event_like``), those that are left out of that one. Each plane of
        each channel is a page; axes and steps are told as OME-XML.
    channels : str or sequence of str, optional
        Names (a text is cut at commas); by default all. ``"event"`` takes of each crop the first
        channel in which its event was marked, or of one without, around a healthy cell, that of
        most events of its movie.

    Returns
    -------
    list of str
        Paths of the files; the values in them are those of the crops.

    Raises
    ------
    RefusedError
        A movie has no split or lies in two, or the same pixels do.
    SchemaError
        A part holds no crops, or an event has no channel where it should.
    UsageError
        An unknown option value or channel, or the folder is not empty.

    Warns
    -----
    UserWarning
        The number of frames, the kind or size of pictures, their channels or whether they are
        filled part the classes wholly: a model would learn that. ``index.json`` says it too.
    """
    if frames not in ("sequence", "single"):
        raise UsageError(f"frames={frames!r}; expected 'sequence' or 'single'")
    crops = {stem: _crops(stem, ds) for stem, ds in parts.items()}
    splits = settle(parts, split)
    rows, features = list[_Row](), list[dict[str, Hashable]]()
    frames_left_out, watch = 0, Watch()
    total = sum(array.sizes["event"] for array in crops.values())
    with whole_folder(to) as folder, tqdm(total=total, desc="crops", delay=2, disable=None) as bar:
        for stem, array in crops.items():
            events = _events(stem, parts[stem])
            shown_channels = _channels(stem, events, parts[stem], channels)
            names = parts[stem]["c"].values.astype(str)
            shown = {row["event"]: _shown(row) for row in events}
            for i, (block,) in pieces("event", array):
                row = events[i]
                row["split"] = splits[row["movie"]]
                row["channels"] = names[shown_channels[i]].tolist()
                picture = block[:, shown_channels[i]]
                for k, frame in enumerate(picture):
                    watch.look(frame, row["split"], f"{row['event']}, frame {k}")
                alone = shown.get(row["like"], shown[row["event"]])
                files = list(_cut(picture, row, alone, single=frames == "single"))
                frames_left_out += len(picture) - sum(len(row["frames"]) for _, row, _ in files)
                for pages, row, axes in files:
                    path = folder / row["file"]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    if path.exists():
                        raise SchemaError(f"{stem}: two events are called {row['event']!r}")
                    write_tiff(path, pages, axes, parts[stem], row["channels"])
                    rows.append(row)
                    features.append(_features(pages, row))
                bar.update()
        telling = _telling(rows, features)
        _index(
            folder, rows, {"frames": frames, "frames_left_out": frames_left_out, "telling": telling}
        )
    if telling:
        warnings.warn("; ".join(telling), UserWarning, stacklevel=3)
    written = [*(row["file"] for row in rows), "index.csv", "index.json"]
    return [str(Path(to).expanduser().absolute() / name) for name in written]


def _crops(stem: str, ds: xr.Dataset) -> xr.DataArray:
    variables = [v for v in (schema.CROP, schema.CROP_VOLUME) if v.name in ds]
    if not variables:
        names = ", ".join(map(str, ds.data_vars)) or "none"
        raise SchemaError(f"{stem}: no crops to write; expected 'crop'. Found: {names}")
    return fitting(stem, variables[0].check(ds), "tiff")


def _events(stem: str, ds: xr.Dataset) -> list[_Row]:
    """Return the events of a part; each becomes the row of its files."""
    columns = {
        "event": ds["event"].values.astype(str).tolist(),
        "label": schema.LABEL.check(ds).values.tolist(),
        "kind": schema.KIND.check(ds).values.astype(str).tolist(),
        "like": _likes(ds),
        "movie": movies_of(stem, ds).tolist(),
        "track": schema.EVENT_TRACK.check(ds).values.tolist(),
        "event_channel": schema.EVENT_CHANNEL.check(ds).values.astype(str).tolist(),
        "frames": schema.CROP_FRAME.check(ds).values.tolist(),
        "valid": (schema.CROP_FRAME.check(ds).values >= 0).astype(int).tolist(),
        "times": _times(ds),
        "phases": schema.CROP_PHASE.check(ds).values.tolist(),
        "inside": np.round(schema.CROP_INSIDE.check(ds).values.astype(float), 6).tolist(),
    }
    for event in columns["event"]:
        if not event or event.startswith(".") or any(c in event for c in "/\\\0"):
            raise SchemaError(f"{stem}: event {event!r}: its name is no file name")
    events = zip(*columns.values(), strict=True)
    return [cast(_Row, dict(zip(columns, event, strict=True))) for event in events]


def _likes(ds: xr.Dataset) -> list[str]:
    """Return of each negative the event that it is like, "" where that is not known."""
    if schema.EVENT_LIKE.name not in ds.variables:
        return [""] * ds.sizes["event"]
    return schema.EVENT_LIKE.check(ds).values.astype(str).tolist()


def _times(ds: xr.Dataset) -> list[list[float | None]]:
    """Return the time of each frame in the movie, in seconds; None where it is not known."""
    frame = schema.CROP_FRAME.check(ds)
    times = np.full(frame.shape, np.nan)
    if schema.CROP_TIME.name in ds.variables:
        times = np.asarray(schema.CROP_TIME.check(ds).values, float)
    rows = np.round(times, 6).tolist()
    return [[None if math.isnan(t) else t for t in row] for row in rows]


def _shown(event: _Row) -> list[bool]:
    """Return a truth value a frame, whether it is written alone: whether it shows the event."""
    dying = event["label"] != 0
    return [
        frame >= 0 and not (dying and phase == 0)
        for frame, phase in zip(event["frames"], event["phases"], strict=True)
    ]


def _features(pages: np.ndarray, row: _Row) -> dict[str, Hashable]:
    """Return the features of a file that a model sees before it looks at the pictures."""
    return {
        "the kind of numbers": pages.dtype.name,
        "the size of pictures": pages.shape,
        "the channels": tuple(row["channels"]),
        "the number of frames": sum(row["valid"]),
        "filling": any(0 < inside < 1 for inside in row["inside"]),
    }


def _telling(rows: Sequence[_Row], features: Sequence[Mapping[str, Hashable]]) -> list[str]:
    """Return a line on each feature that parts the classes: a model would need no picture."""
    labels = Counter(row["label"] for row in rows)
    if len(labels) < 2 or min(labels.values()) < _ENOUGH:
        return []
    lines = []
    for name in features[0]:
        seen = {
            label: {fact[name] for row, fact in zip(rows, features, strict=True)
                    if row["label"] == label}
            for label in labels
        }  # fmt: skip
        if not set.intersection(*seen.values()):
            lines.append(f"{name} tells the class of every file: a model would learn that")
    return lines


def _channels(stem: str, events: Sequence[_Row], ds: xr.Dataset, choice: Names) -> list[list[int]]:
    """Return the channels of each event."""
    if choice != "event":
        return [chosen(stem, ds, choice)] * len(events)
    names = ds["c"].values.astype(str).tolist()
    try:
        named = [numbers(event["event_channel"], names)[:1] for event in events]
    except SchemaError as error:
        raise SchemaError(f"{stem}: {error}") from error
    usual = Counter(channels[0] for channels in named if channels)
    if events and not usual:
        raise SchemaError(f"{stem}: no event says its channel; name channels instead")
    commonest = min(usual, key=lambda channel: (-usual[channel], channel), default=0)
    return [channels or [commonest] for channels in named]


def _cut(
    picture: np.ndarray, event: _Row, alone: Sequence[bool], *, single: bool
) -> Iterator[tuple[np.ndarray, _Row, str]]:
    """Yield the pages of each file, its row of the index and its axes."""
    folder = f"{event['split']}/{event['label']}"
    axes = "TCYX" if picture.ndim == 4 else "TCZYX"
    if not single:
        yield picture, {"file": f"{folder}/{event['event']}.tif", **event}, axes
        return
    digits = len(str(max(100, len(picture) - 1)))
    for k, frame in enumerate(picture):
        if event["frames"][k] >= 0 and alone[k]:
            row: _Row = {"file": f"{folder}/{event['event']}_t{k:0{digits}}.tif", **event}
            row["frames"] = row["frames"][k : k + 1]
            row["valid"] = row["valid"][k : k + 1]
            row["times"] = row["times"][k : k + 1]
            row["phases"] = row["phases"][k : k + 1]
            row["inside"] = row["inside"][k : k + 1]
            yield frame, row, axes[1:]


def _index(folder: Path, rows: Sequence[_Row], summary: Mapping[str, object]) -> None:
    """Write the two indexes, and the folder of a split that has no file."""
    for name in schema.SPLITS:
        (folder / name).mkdir(exist_ok=True)
    counted = Counter((row["split"], row["label"]) for row in rows)
    counts = {
        name: {str(label): n for (split, label), n in sorted(counted.items()) if split == name}
        for name in schema.SPLITS
    }
    text = json.dumps({**summary, "counts": counts, "files": []}, ensure_ascii=False, indent=1)
    listed = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
    text = text.removesuffix("[]\n}") + (f"[\n{listed}\n ]\n}}\n" if rows else "[]\n}\n")
    (folder / "index.json").write_text(text, encoding="utf-8")
    columns = list(rows[0]) if rows else ["file", "split", "label", "movie", "event"]
    with (folder / "index.csv").open("w", encoding="utf-8", newline="") as out:
        table = csv.DictWriter(out, columns)
        table.writeheader()
        for row in rows:
            joined: dict[str, str] = {
                name: " ".join("" if v is None else str(v) for v in row[name]) for name in _LISTS
            }
            table.writerow({**row, **joined, "channels": ",".join(row["channels"])})
