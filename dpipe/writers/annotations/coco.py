"""Annotated collections in the format of COCO: a file of annotations a part, and its pictures.

Numbers of outlines, runs and boxes are those that were read; whole ones are written as 12.0. What
COCO has no place for is counted and said. This module knows the keys of COCO; where outlines come
from is known to ``collection``, and how label images are traced to ``operators``.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import xarray as xr

from dpipe import operators, schema
from dpipe.errors import UsageError
from dpipe.formats import run_lengths
from dpipe.writers.annotations import files
from dpipe.writers.annotations.collection import (
    Losses,
    Outline,
    Picture,
    categories_of,
    check_collection,
    image_ids,
    is_annotated,
    is_bare,
    objects_of_pictures,
    outlines_of,
    pictures_of,
    sound_records,
)
from dpipe.writers.atomic import aside

FOLDER = "images"
"""Where pictures lie, beside the files of annotations."""
_OWN_COLUMNS = {
    *("in_block", "in_slot", "offset", "height", "width", "mask_dtype", "file_state"),
    *("file", "put_aside", "image_id", "record"),
}
"""Columns of records that are not kept as keys of an image."""
_FACTS = ("spacing", "wells", "field_count")
"""What readers say of all pictures, and COCO has no place for."""
_encode = msgspec.json.Encoder().encode


def write_collections(
    parts: Mapping[str, xr.Dataset],
    to: Path,
    *,
    pictures: bool = True,
    runs: str = "list",
    outlines: str = "runs",
) -> list[str]:
    """Write annotated collections; see `dpipe.writers.coco.write_coco`."""
    for stem, ds in parts.items():
        if not is_bare(ds):
            check_collection(stem, ds)
    names = {stem: _names(ds, pictures) for stem, ds in parts.items()}
    if pictures:
        files.check_names("pictures", [n for stem in parts for n in names[stem].values()])
    written: list[str] = []
    with ExitStack() as stack:  # all files or none
        for stem, ds in parts.items():
            losses = Losses(stem)
            target = to / f"{stem}.json"
            (path,) = stack.enter_context(aside([target]))
            written.append(str(target))
            with path.open("wb") as out:
                document = _Document(ds, names[stem], losses, runs, outlines)
                document.write_head(out)
                if is_annotated(ds):
                    document.write_outlines(out)
                shown = pictures and "pixels" in ds
                if shown or not is_annotated(ds):
                    traced = not is_annotated(ds)
                    for picture in pictures_of(ds, losses, pixels=shown, labels=traced):
                        if traced and picture.labels is not None:
                            document.write_labels(out, picture.record, picture.labels)
                        written += _saved(stack, to, names[stem], picture)
                out.write(b"\n]\n" if is_bare(ds) else b"\n]}\n")
            losses.warn()
    return written


def _names(ds: xr.Dataset, pictures: bool) -> dict[int, str]:
    """Return the name of the picture of each record that is written; none of a bare list."""
    if is_bare(ds):
        return {}
    given = [str(name) for name in ds["file"].values]
    if not pictures or "pixels" not in ds:
        return {int(i): given[i] for i in sound_records(ds)}
    dtype, channels = ds["pixels"].dtype, ds.sizes.get("c", 1)
    return {int(i): files.written_name(given[i], dtype, channels) for i in sound_records(ds)}


def _saved(stack: ExitStack, to: Path, names: Mapping[int, str], picture: Picture) -> Iterator[str]:
    """Write the pixels of a picture, if it has any; yield its path."""
    if picture.pixels is None:
        return
    target = to / FOLDER / names[picture.record]
    (path,) = stack.enter_context(aside([target]))
    files.write_picture(path, picture.pixels, target.suffix)
    yield str(target)


class _Document:
    """One file of annotations, written piece by piece."""

    def __init__(
        self, ds: xr.Dataset, names: Mapping[int, str], losses: Losses, runs: str, outlines: str
    ) -> None:
        self.ds, self.names, self.losses = ds, names, losses
        self.as_text, self.as_polygons = runs == "text", outlines == "polygons"
        self.ids = image_ids(ds)
        self.bare = is_bare(ds)
        self.sizes: list[list[int]] = [] if self.bare else np.stack(
            [np.asarray(ds[name].values, np.int64) for name in ("height", "width")], axis=1
        ).tolist()  # fmt: skip
        self.count = 0

    def write_head(self, out: BinaryIO) -> None:
        """Write all but the annotations; of a bare list there is nothing else."""
        if self.bare:
            out.write(b"[")
            return
        if not is_annotated(self.ds):
            aside = int((np.asarray(self.ds["height"].values) <= 0).sum())
            self.losses.counts["pictures that were put aside are left out"] += aside
        given = self.ds["file"].values
        self.losses.counts["pictures have another name than the file they came from"] += sum(
            name != str(given[i]) for i, name in self.names.items()
        )
        out.write(b'{"info": ' + _encode(self.ds.attrs.get("info") or {}))
        out.write(b',\n"licenses": ' + _encode(self.ds.attrs.get("licenses") or []))
        kinds = zip(*categories_of(self.ds), strict=True)
        entries = [
            {"id": number, "name": name} | ({"supercategory": above} if above else {})
            for number, name, above in kinds
        ]
        out.write(b',\n"categories": ' + _encode(entries) + b',\n"images": [')
        columns = _columns(self.ds, self.losses)
        for at, (i, name) in enumerate(self.names.items()):
            height, width = self.sizes[i]
            entry = {"id": int(self.ids[i]), "file_name": name, "height": height, "width": width}
            entry |= {k: column[i] for k, column in columns.items() if column[i] is not None}
            out.write((b",\n" if at else b"\n") + _encode(entry))
        out.write(b'\n],\n"annotations": [')

    def _add(self, out: BinaryIO, entry: Mapping[str, Any]) -> None:
        out.write((b",\n" if self.count else b"\n") + _encode(entry))
        self.count += 1

    def write_outlines(self, out: BinaryIO) -> None:
        """Write the objects of an annotated collection."""
        ds, losses = self.ds, self.losses
        wanted, owners = objects_of_pictures(ds, losses)
        numbers = _numbers(ds, wanted, losses)
        categories = np.asarray(schema.OBJECT_CATEGORY.check(ds).values).tolist()
        crowd = np.asarray(schema.OBJECT_CROWD.check(ds).values, bool)
        for one in outlines_of(ds, wanted):
            i, record = one.number, int(owners[one.number])
            category = categories[i] if categories[i] >= 0 else None
            losses.counts["objects are of no class (category_id null)"] += category is None
            entry: dict[str, Any] = {
                "id": numbers[i],
                "image_id": int(self.ids[record]),
                "category_id": category,
            }
            if self.bare and numbers[i] < 0:
                del entry["id"]
            if not self.bare or one.rings or len(one.runs):
                entry |= {"segmentation": self._segmentation(one, record)}
            entry |= {} if math.isnan(one.area) else {"area": one.area}
            entry |= {} if np.isnan(one.box).all() else {"bbox": one.box.tolist()}
            entry |= {} if self.bare and not crowd[i] else {"iscrowd": int(crowd[i])}
            entry |= {} if math.isnan(one.score) else {"score": one.score}
            self._add(out, entry)

    def _segmentation(self, one: Outline, record: int) -> Any:
        if not len(one.runs):
            return [ring.reshape(-1).tolist() for ring in one.rings]
        if self.bare:
            self.losses.counts["objects have runs whose height and width nobody knows"] += 1
            return {"counts": self._counts(one.runs)}
        height, width = self.sizes[record]
        found = self._runs(one.runs, height, width)
        if int(one.runs.sum(dtype=np.int64)) != height * width:
            self.losses.counts["objects have runs of another size than their picture"] += 1
            del found["size"]
        return found

    def _runs(self, runs: np.ndarray, height: int, width: int) -> dict[str, Any]:
        return {"size": [height, width], "counts": self._counts(runs)}

    def _counts(self, runs: np.ndarray) -> str | list[int]:
        return run_lengths.encode(runs) if self.as_text else runs.tolist()

    def write_labels(self, out: BinaryIO, record: int, labels: np.ndarray) -> None:
        """Write each object of a label image."""
        height, width = labels.shape
        runs = operators.label_runs(labels)
        stops = np.cumsum(runs.counts)
        rings = _polygons(labels) if self.as_polygons else None
        for k, number in enumerate(runs.numbers.tolist()):
            own = slice(stops[k] - runs.counts[k], stops[k])
            begins, ends = runs.begins[own], runs.ends[own]
            segmentation: Any
            if rings is None:
                lengths = operators.run_lengths(begins, ends, labels.size)
                segmentation = self._runs(lengths, height, width)
            else:
                segmentation = [ring.reshape(-1).tolist() for ring in rings[k]]
                self.losses.counts["pixels of objects are lost in their polygons"] += _changed(
                    rings[k], begins, ends, labels.shape
                )
            entry: dict[str, Any] = {"id": self.count + 1, "image_id": int(self.ids[record])}
            entry["category_id"] = 1
            entry |= {"segmentation": segmentation, "area": float(runs.areas[k])}
            entry |= {"bbox": runs.boxes[k].astype(float).tolist(), "iscrowd": 0, "label": number}
            self._add(out, entry)


def _columns(ds: xr.Dataset, losses: Losses) -> dict[str, list[Any]]:
    """Return what else is known of each picture, by key; None where a file said nothing."""
    columns: dict[str, list[Any]] = {}
    unsaid = [key for key in _FACTS if key in ds.attrs]
    named = [str(name) for name in ds["c"].values] if "c" in ds.coords else []
    if named != [f"Ch{k + 1}" for k in range(len(named))]:
        unsaid.append("names of channels")
    if unsaid:
        losses.counts[f"facts of all pictures are not written: {', '.join(unsaid)}"] += len(unsaid)
    for name, column in ds.coords.items():
        if column.dims != ("record",) or name in _OWN_COLUMNS:
            continue
        key = str(name).removeprefix("image_")
        values = np.asarray(column.values).tolist()
        if column.dtype.kind not in "iufbUO":
            losses.counts[f"columns of pictures are no JSON: {name}"] += 1
            continue
        if column.dtype.kind in "UO" and any(values) and not all(values):
            # a key that some pictures lack came as text, of numbers too
            values = [_number(str(text)) if text else None for text in values]
        columns[key] = values
    return columns


def _number(text: str) -> int | str:
    """Return the whole number that a text is, else the text."""
    number = int(text) if text.isascii() and text.removeprefix("-").isdigit() else None
    return text if number is None or str(number) != text else number


def _numbers(ds: xr.Dataset, wanted: np.ndarray, losses: Losses) -> list[int]:
    """Return a number for each object: its own, or a new one where it has none."""
    if "annotation_id" not in ds.variables:
        return list(range(1, len(wanted) + 1))
    numbers = np.array(schema.ANNOTATION_ID.check(ds).values, np.int64)
    nameless = (numbers < 0) & (not is_bare(ds))
    start = int(numbers.max(initial=0)) + 1
    numbers[nameless] = start + np.arange(int(nameless.sum()))
    losses.counts["objects had no number, and got one"] += int((nameless & wanted).sum())
    used = numbers[wanted & (numbers >= 0)]
    again = len(used) - len(np.unique(used))
    losses.counts["objects have the number of another one; some tools take one of them"] += again
    return [int(number) for number in numbers]


def _polygons(labels: np.ndarray) -> list[list[np.ndarray]]:
    """Return the polygons of each object of a label image: one a part, its holes joined to it."""
    found = operators.label_outlines(labels)
    polygons: list[list[np.ndarray]] = []
    part = ring = point = 0
    for parts in found.part_counts.tolist():
        own: list[np.ndarray] = []
        for rings in found.ring_counts[part : part + parts].tolist():
            sizes = found.ring_points[ring : ring + rings]
            end = point + int(sizes.sum())
            x, y = operators.one_ring(found.x[point:end], found.y[point:end], sizes)
            own.append(np.stack([x, y], axis=1))
            ring, point = ring + rings, end
        polygons.append(own)
        part += parts
    return polygons


def _changed(
    rings: Sequence[np.ndarray], begins: np.ndarray, ends: np.ndarray, shape: tuple[int, ...]
) -> int:
    """Return how many pixels are other ones when polygons are drawn by the rule of COCO."""
    drawn = operators.polygon_pixels(list(rings), shape[0], shape[1])
    if np.array_equal(drawn[0::2], begins) and np.array_equal(drawn[1::2], ends):
        return 0
    pictures = np.zeros((2, shape[0] * shape[1]), bool)
    for picture, (starts, stops) in zip(
        pictures, ((begins, ends), (drawn[0::2], drawn[1::2])), strict=True
    ):
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            picture[start:stop] = True
    return int((pictures[0] != pictures[1]).sum())


def check_choices(runs: str, outlines: str, pictures: object) -> None:
    """Refuse options that are none of the choices."""
    if runs not in ("list", "text") or outlines not in ("runs", "polygons"):
        raise UsageError(
            f"runs={runs!r}, outlines={outlines!r}; expected list or text, and runs or polygons"
        )
    if type(pictures) is not bool:
        raise UsageError(f"pictures: found {pictures!r}; expected true or false")
