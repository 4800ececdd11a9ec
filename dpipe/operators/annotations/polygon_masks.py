"""Outlines and run lengths of annotated pictures, drawn as label images.

It knows the columns of annotations and how pictures are packed; how an outline is drawn stands in
``drawing``.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from dpipe import schema
from dpipe.compute import Stretch, map_blocks
from dpipe.errors import SchemaError, UsageError
from dpipe.operators.annotations.block_drawing import FIRST, LAST, SMALLEST, draw_block
from dpipe.operators.parameters import check_choice
from dpipe.operators.pictures.packed import layout, places, slots

_RULES = {"last": LAST, "first": FIRST, "smallest": SMALLEST}
_PIXELS = ("coco", "centre")


def polygon_masks(
    ds: xr.Dataset,
    pictures: xr.Dataset | None = None,
    *,
    overlap: Literal["last", "first", "smallest"] = "last",
    pixels: Literal["coco", "centre"] = "coco",
    crowd: bool = False,
) -> xr.Dataset:
    """Draw the objects of annotated pictures as label images.

    By default a pixel is inside an outline as COCO's tools have it [1]_, to the last pixel: the
    outline is traced on a grid five times as fine.

    Parameters
    ----------
    ds : xarray.Dataset
        Annotated pictures, as the reader ``coco`` gives them, or any selection of their records.
    pictures : xarray.Dataset, optional
        A packed collection that has the pictures, where `ds` has only their annotations; they are
        joined by ``file``.
    overlap : {"last", "first", "smallest"}
        Which object has a pixel that is in several: the last of the file, as drawing one after
        another gives it, the first, or the one of fewest pixels.
    pixels : {"coco", "centre"}
        When a pixel is inside: by the rule of COCO, or if its centre is.
    crowd : bool
        Whether objects that stand for several are drawn too.

    Returns
    -------
    xarray.Dataset
        ``label_pixels(block, place)``, laid out as masks of the collection: 1 is the first object
        of its picture. ``pixels_lost(block, slot)`` counts pixels of objects on which others lie,
        ``objects_lost(block, slot)`` objects of which nothing is left or nothing could be drawn:
        fewer than three vertices, one that is not finite or more than 10^6 pixels away, runs of
        another sum than the picture has pixels.

    Raises
    ------
    SchemaError
        No annotations, or no packed collection.
    UsageError
        A parameter that is none of the choices, or two pictures of one name.

    References
    ----------
    .. [1] T.-Y. Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014, with
       ``pycocotools``.

    Examples
    --------
    >>> square = {"outline_x": ("point", [1.0, 4, 4, 1]), "outline_y": ("point", [1.0, 1, 3, 3]),
    ...           "run_length": ("run", np.zeros(0, "u4"))}
    >>> of_objects = {"object_image": [7], "object_crowd": [False], "ring_count": [1],
    ...               "run_count": [0]}
    >>> coords = {name: ("object", values) for name, values in of_objects.items()}
    >>> coords |= {"ring_points": ("ring", [4]), "block": [0], "c": ["Ch1"]}
    >>> layout = {"image_id": 7, "in_block": 0, "in_slot": 0, "offset": 0, "height": 4, "width": 5}
    >>> coords |= {name: ("record", [value]) for name, value in layout.items()}
    >>> labels = polygon_masks(xr.Dataset(square, coords)).label_pixels
    >>> labels.values.reshape(4, 5)
    array([[0, 0, 0, 0, 0],
           [0, 1, 1, 1, 0],
           [0, 1, 1, 1, 0],
           [0, 0, 0, 0, 0]], dtype=uint16)
    """
    check_choice("overlap", overlap, tuple(_RULES))
    check_choice("pixels", pixels, _PIXELS)
    if type(crowd) is not bool:
        raise UsageError(f"crowd: found {crowd!r}; expected true or false")
    place = _placed(ds, pictures)
    coords = layout(place)
    first, end = _objects_of(ds, np.asarray(place["image_id"].values, np.int64))
    at = place["block"].to_index().get_indexer(pd.Index(place["in_block"].values))
    objects = _Range.around(first, end, at, int(place.sizes["block"]))
    most = int((end - first).max(initial=0))
    dtype = np.dtype("u2" if most < 2**16 else "u4")
    inputs: schema.Attributes = {
        "need": (),
        "columns": {"first": first - objects.starts[at], "end": end - objects.starts[at]},
        "stretches": _stretches(ds, objects, crowd=crowd),
        "row": _row_length(place),
        "rule": _RULES[overlap],
        "centre": pixels == "centre",
        "label_dtype": dtype.name,
    }
    labels = map_blocks(_labels, place, sizes={"place": inputs["row"]}, dtype=dtype, **inputs)
    count = slots(place)
    sizes = {"what": 2, "slot": count}
    lost = map_blocks(
        _lost, place, sizes=sizes, dtype="u4", **inputs | {"columns": inputs["columns"] | {
            "in_slot": np.asarray(place["in_slot"].values)}}, slots=count,
    )  # fmt: skip
    made = schema.LABEL_PIXELS.wrap(labels)
    made |= schema.PIXELS_LOST.wrap(lost.isel(what=0))
    made |= schema.OBJECTS_LOST.wrap(lost.isel(what=1))
    notes = _notes(ds, place, first, end, crowd=crowd)
    return xr.Dataset(made, coords, {"notes": notes} if notes else {})


def _notes(
    ds: xr.Dataset, place: xr.Dataset, first: np.ndarray, end: np.ndarray, *, crowd: bool
) -> list[str]:
    """Say how many objects of the pictures cannot be drawn, as far as counts alone tell it."""
    count = ds.sizes["object"]
    owner = np.full(count, -1)
    for record, (begin, stop) in enumerate(zip(first.tolist(), end.tolist(), strict=True)):
        owner[begin:stop] = record
    shown = (owner >= 0) & (crowd | ~np.asarray(ds["object_crowd"].values, bool))
    shown &= np.asarray(place["height"].values)[owner] > 0
    rings = np.asarray(ds["ring_count"].values, np.int64)
    closed = np.asarray(ds["ring_points"].values) > 2
    sound = np.zeros(count, np.int64)
    np.add.at(sound, np.repeat(np.arange(count), rings), closed)
    runs = np.asarray(ds["run_count"].values) > 0
    rows = _run_heights(ds)
    other = shown & runs & (rows > 0) & (rows != np.asarray(place["height"].values)[owner])
    lines = []
    if none := int((shown & ~runs & (sound == 0)).sum()):
        lines.append(f"{none} objects have neither runs nor a ring of three vertices: not drawn")
    if wrong := int(other.sum()):
        lines.append(f"{wrong} objects have runs of a mask of another size: not drawn")
    return lines


class _Range(NamedTuple):
    """Of each block of pictures, where its objects, rings, vertices or runs begin and end."""

    starts: np.ndarray
    stops: np.ndarray

    @classmethod
    def around(cls, first: np.ndarray, end: np.ndarray, at: np.ndarray, blocks: int) -> "_Range":
        """Return the range around the objects of the pictures of each block."""
        some = end > first
        starts, stops = np.full(blocks, np.iinfo(np.int64).max), np.zeros(blocks, np.int64)
        np.minimum.at(starts, at[some], first[some])
        np.maximum.at(stops, at[some], end[some])
        return cls(np.minimum(starts, stops), stops)

    def within(self, counts: np.ndarray) -> "_Range":
        """Return the range of the members of its groups, of which each has so many."""
        ends = np.concatenate([[0], np.cumsum(counts)])
        return _Range(ends[self.starts], ends[self.stops])


def _stretches(ds: xr.Dataset, objects: _Range, *, crowd: bool) -> dict[str, Stretch]:
    """Return what a block needs of the outlines."""
    left_out = np.asarray(ds["object_crowd"].values, bool) & (not crowd)
    rings, ring_sizes, runs = (
        np.asarray(ds[name].values, np.int64) for name in ("ring_count", "ring_points", "run_count")
    )
    ring_range = objects.within(rings)
    vertex_range, run_range = ring_range.within(ring_sizes), objects.within(runs)
    return {
        "left_out": Stretch(left_out, *objects),
        "ring_count": Stretch(rings, *objects),
        "run_count": Stretch(runs, *objects),
        "run_heights": Stretch(_run_heights(ds), *objects),
        "ring_sizes": Stretch(ring_sizes, *ring_range),
        "x": Stretch(ds["outline_x"].data, *vertex_range),
        "y": Stretch(ds["outline_y"].data, *vertex_range),
        "run_lengths": Stretch(ds["run_length"].data, *run_range),
    }


def _run_heights(ds: xr.Dataset) -> np.ndarray:
    """Return the rows of the masks that runs fill; 0 where nobody says."""
    if "run_height" not in ds.variables:
        return np.zeros(ds.sizes["object"], np.int64)
    return np.asarray(ds["run_height"].values, np.int64)


_NEEDED = (
    *(schema.OBJECT_IMAGE, schema.OBJECT_CROWD, schema.RING_COUNT, schema.RUN_COUNT),
    *(schema.RING_POINTS, schema.OUTLINE_X, schema.OUTLINE_Y, schema.RUN_LENGTH),
)


def _placed(ds: xr.Dataset, pictures: xr.Dataset | None) -> xr.Dataset:
    """Return the packed pictures, with the number that the annotations give each.

    Raises
    ------
    SchemaError
        No annotations.
    UsageError
        Two pictures of one name.
    """
    for variable in _NEEDED:
        variable.check(ds)
    schema.IMAGE_ID.check(ds)
    if pictures is None:
        return ds
    names = [_plain(name) for name in ds["file"].values.tolist()]
    ids = dict(zip(names, np.asarray(ds["image_id"].values).tolist(), strict=True))
    theirs = [_plain(name) for name in pictures["file"].values.tolist()]
    for where in (names, theirs):
        if len(set(where)) < len(where):
            again = next(name for name in where if where.count(name) > 1)
            raise UsageError(f"{again}: two pictures of this name; they cannot be joined by file")
    numbers = np.array([ids.get(name, _NONE) for name in theirs], np.int64)
    return pictures.assign_coords(image_id=("record", numbers))


_NONE = np.iinfo(np.int64).min


def _plain(name: str) -> str:
    """Return the name of a file without folders and suffix, by which pictures are joined."""
    return str(name).replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or str(name)


def _objects_of(ds: xr.Dataset, image_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the objects of each picture begin and end; they stand together.

    Raises
    ------
    SchemaError
        The objects of a picture do not stand together.
    """
    images = np.asarray(ds["object_image"].values, np.int64)
    begins = np.flatnonzero(np.concatenate([[True], images[1:] != images[:-1]]))[: len(images)]
    ends = np.append(begins[1:], len(images))[: len(begins)]
    owners = images[begins]
    order = np.argsort(owners, kind="stable")
    ordered = owners[order]
    if (ordered[1:] == ordered[:-1]).any():
        again = ordered[1:][ordered[1:] == ordered[:-1]][0]
        raise SchemaError(
            f"objects of picture {again} stand in several places; sort them by object_image"
        )
    if not len(ordered):
        return np.zeros(len(image_ids), np.int64), np.zeros(len(image_ids), np.int64)
    at = np.minimum(np.searchsorted(ordered, image_ids), len(ordered) - 1)
    there = ordered[at] == image_ids
    return np.where(there, begins[order][at], 0), np.where(there, ends[order][at], 0)


def _row_length(ds: xr.Dataset) -> int:
    """Return the length of a row: that of masks or pixels, else what the pictures need."""
    if "mask_code" in ds or "pixels" in ds:
        return places(ds)
    ends = [np.asarray(ds[name].values, np.int64) for name in ("offset", "height", "width")]
    return int((ends[0] + ends[1] * ends[2]).max(initial=0))


def _drawn(
    offsets: Any,
    heights: Any,
    widths: Any,
    *,
    first: np.ndarray,
    end: np.ndarray,
    left_out: np.ndarray,
    ring_count: np.ndarray,
    run_count: np.ndarray,
    run_heights: np.ndarray,
    ring_sizes: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    run_lengths: np.ndarray,
    row: int,
    rule: int,
    centre: bool,
    label_dtype: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a block; return its labels, and what is lost of each picture."""
    rings, runs, sizes = (
        np.concatenate([[0], np.cumsum(counts)]) for counts in (ring_count, run_count, ring_sizes)
    )
    out = np.zeros(row, label_dtype)
    lost = draw_block(
        out, offsets, heights, widths, first, end, rings, np.asarray(ring_sizes, np.int64),
        sizes[rings], runs, np.asarray(run_heights, np.int64), np.asarray(left_out, bool),
        np.ascontiguousarray(x, np.float64), np.ascontiguousarray(y, np.float64),
        np.ascontiguousarray(run_lengths, np.uint32), rule, centre,
    )  # fmt: skip
    return out, lost


def _labels(_: Any, __: Any, offsets: Any, heights: Any, widths: Any, **given: Any) -> np.ndarray:
    return _drawn(offsets, heights, widths, **given)[0]


def _lost(
    _: Any,
    __: Any,
    offsets: Any,
    heights: Any,
    widths: Any,
    *,
    in_slot: np.ndarray,
    slots: int,
    **given: Any,
) -> np.ndarray:
    made = np.zeros((2, slots), "u4")
    made[:, in_slot] = _drawn(offsets, heights, widths, **given)[1]
    return made
