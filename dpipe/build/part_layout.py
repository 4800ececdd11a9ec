"""The outline of a part: how a Dataset will lie in the store, before any value is computed.

Variables of image axes make an OME-Zarr part with levels; anything else is plain Zarr. A part is
cut into *cells* of whole shards along the dims that may be cut, and a run of cells is a
*partition*, which one task writes. A variable that lacks some of these dims belongs to the cells
that are first along them.

This module knows shapes and metadata; it writes nothing.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from dpipe import compute, metadata, schema
from dpipe.errors import SchemaError
from dpipe.storage import chunking, zarr

SMALL = 1 << 20
"""Variables of at most this many bytes travel in the marks; ``finish`` writes them as one shard."""
_MOST_PARTITIONS = 10_000
_MOST_NOTES = 20
_LONGEST_NOTE = 300
_MOST_NAMED = 100
_UNREADABLE = "its pixels cannot be decoded"
_NOTHING: dict[str, Any] = {
    "height": 0,
    "width": 0,
    "mask_dtype": "",
    "label": "-1",
    "set": "unlabeled",
}
"""What is known of a picture that was put aside."""


@dataclass(frozen=True)
class Grid:
    """How a part is cut into partitions: cells along the cut dims, in C order, in runs.

    Attributes
    ----------
    dims : tuple of str
        The dims that are cut.
    sizes, steps : tuple of int
        Size of each, and length of a cell along it.
    run : int
        Cells of one partition.
    """

    dims: tuple[str, ...]
    sizes: tuple[int, ...]
    steps: tuple[int, ...]
    run: int

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of cells along each dim."""
        return tuple(-(-n // step) for n, step in zip(self.sizes, self.steps, strict=True))

    @property
    def partitions(self) -> int:
        """Number of partitions."""
        return -(-math.prod(self.counts) // self.run)

    def cells(self, partition: int) -> Iterator[dict[str, slice]]:
        """Yield the regions of one partition's cells."""
        first = partition * self.run
        for flat in range(first, min(first + self.run, math.prod(self.counts))):
            index = np.unravel_index(flat, self.counts) if self.counts else ()
            yield {
                dim: slice(int(i) * step, min((int(i) + 1) * step, size))
                for dim, i, step, size in zip(self.dims, index, self.steps, self.sizes, strict=True)
            }

    def owns(self, cell: Mapping[str, slice], dims: Sequence[Any]) -> bool:
        """Tell whether a variable of these dims has values of its own in a cell."""
        return all(cut.start == 0 for dim, cut in cell.items() if dim not in dims)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "Grid":
        """Make one of what JSON holds."""
        known: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in given.items()
        }
        return cls(**known)


@dataclass(frozen=True)
class PartLayout:
    """A part before its values.

    Attributes
    ----------
    base : str
        Its key without suffix.
    suffix : str
        ``".ome.zarr"`` or ``".zarr"``.
    documents : dict
        Every ``zarr.json``, parsed, by key below the part.
    arrays : tuple of pyramid.Array
        How its data variables are cut, level by level.
    small : tuple of str
        Variables that travel in the marks.
    grid : Grid
        Its partitions.
    summary : dict
        Variables, sizes, dtype, levels, bytes, spacing.
    coordinates : dict of str to bytes
        Encoded coordinate objects by key below the part; not kept in the mark.
    """

    base: str
    suffix: str
    documents: dict[str, Any] = field(repr=False)
    arrays: tuple[chunking.Array, ...]
    small: tuple[str, ...]
    grid: Grid
    summary: dict[str, Any]
    coordinates: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def path(self) -> str:
        """Key prefix of the Zarr group."""
        return self.base + self.suffix

    def levels(self, name: str) -> list[chunking.Array]:
        """Return the levels of a variable."""
        return [array for array in self.arrays if array.variable == name]

    def document(self, key: str) -> bytes:
        """Return one ``zarr.json`` as it is stored; every shard of its array asks for it."""
        if key not in self._texts:
            self._texts[key] = zarr.stored(self.documents[key])
        return self._texts[key]

    @cached_property
    def _texts(self) -> dict[str, bytes]:
        """Documents as they are stored, by key."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it, without the coordinate objects."""
        return {k: v for k, v in asdict(self).items() if k != "coordinates"}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "PartLayout":
        """Make one of what JSON holds."""
        return cls(
            **{k: given[k] for k in ("base", "suffix", "documents", "summary")},
            arrays=tuple(chunking.Array.from_dict(array) for array in given["arrays"]),
            small=tuple(given["small"]),
            grid=Grid.from_dict(given["grid"]),
        )


def base_of(dataset: str, stem: str, fingerprint: str) -> str:
    """Return the key of a part without suffix."""
    return f"parts/{dataset}/{stem}-{fingerprint}"


def lay_out(
    ds: xr.Dataset,
    base: str,
    *,
    free: Sequence[str] | None = None,
    levels: int | None = None,
    partition_bytes: int = 256 << 20,
    input_bytes: int = 0,
) -> PartLayout:
    """Decide how a Dataset will lie in the store, computing nothing.

    Parameters
    ----------
    ds : xarray.Dataset
        Lazy or not.
    base : str
        Key of the part without suffix.
    free : sequence of str, optional
        Dims along which partitions may be cut; by default all.
    levels : int, optional
        Levels of the pyramid of images; by default as many as their size asks for, and never
        more than it takes to come down to one pixel.
    partition_bytes : int
        How many decoded bytes, of input or output, one partition handles at least, unless it is
        the last; it does so cell by cell, so a task's memory is that of one cell.
    input_bytes : int
        Decoded bytes of all inputs, where they are more than the output's.

    Returns
    -------
    PartLayout
        Where, and in which pieces.

    Raises
    ------
    SchemaError
        There is nothing in it, or something that cannot be kept exactly.
    """
    if not ds.data_vars:
        raise SchemaError(f"{base}: a part needs at least one variable; found none")
    images = _images(ds)
    depth = {name: chunking.level_count(ds[name].sizes, levels) for name in images}
    stem = base.rpartition("/")[2].rpartition("-")[0]
    template = zarr.describe(
        ds,
        levels=depth or None,
        attributes=_ome(ds, images, depth, stem) if images else None,
    )
    small = tuple(a.variable for a in template.arrays if not a.level and a.nbytes <= SMALL)
    return PartLayout(
        base=base,
        suffix=".ome.zarr" if images else ".zarr",
        documents=template.documents,
        coordinates=template.coordinates,
        arrays=template.arrays,
        small=small,
        grid=_grid(
            ds,
            template.arrays,
            small,
            free,
            partition_bytes / max(1, compute.source_bytes(ds), input_bytes),
        ),
        summary=_summary(ds, template.arrays),
    )


def put_aside(ds: xr.Dataset) -> dict[str, Any]:
    """Return what a summary says of the pictures of a collection that were put aside.

    Parameters
    ----------
    ds : xarray.Dataset
        Lazy or not; only a collection of pictures has something to say.

    Returns
    -------
    dict
        ``records``, ``put_aside`` (how many), and file and reason of the first of these;
        ``passing``: how many of these were gone or changed, if any were.
    """
    if "put_aside" not in ds.coords:
        return {}
    reasons = np.asarray(ds["put_aside"].values)
    at = np.flatnonzero(reasons != "")
    files = np.asarray(ds["file"].values)[at[:_MOST_NAMED]].tolist()
    named = [[file, str(reasons[i])] for file, i in zip(files, at, strict=False)]
    passing = int(np.char.startswith(reasons[at].astype(str), "gone").sum())
    said = {"records": len(reasons), "put_aside": len(at), "aside": named}
    return said | ({"passing": passing} if passing else {})


def unreadable(ds: xr.Dataset, flags: np.ndarray) -> dict[str, np.ndarray]:
    """Return the coordinates of a collection in which pictures that proved unreadable differ.

    Parameters
    ----------
    ds : xarray.Dataset
        A collection, as it was laid out from what its files say.
    flags : numpy.ndarray
        ``picture_flag`` as it was computed.

    Returns
    -------
    dict of str to numpy.ndarray
        By name, the values of whole coordinates: what they hold of one that was put aside from
        the start. Empty if no picture proved unreadable.

    Examples
    --------
    >>> coords = {"block": [0], "in_block": ("record", [0, 0]), "in_slot": ("record", [0, 1]),
    ...           "put_aside": ("record", ["", ""]), "height": ("record", [7, 8])}
    >>> unreadable(xr.Dataset(coords=coords), np.array([[0, 1]], "u1"))["height"]
    array([7, 0])
    """
    if "put_aside" not in ds.coords:
        return {}
    rows = ds.get_index("block").get_indexer(pd.Index(ds["in_block"].values))
    bits = flags[rows, ds["in_slot"].values]
    bad = (bits & schema.UNREADABLE) > 0
    if not bad.any():
        return {}
    reasons = np.asarray(ds["put_aside"].values)
    why = np.where(bits & schema.GONE, schema.GONE_REASON, _UNREADABLE)
    found = {"put_aside": np.where(bad & (reasons == ""), why, reasons)}
    for name, nothing in _NOTHING.items():
        if name in ds.coords:
            found[name] = np.where(bad, nothing, ds[name].values)
    return found


def _summary(ds: xr.Dataset, arrays: Sequence[chunking.Array]) -> dict[str, Any]:
    first = arrays[0]
    sizes = {str(dim): int(n) for dim, n in ds.sizes.items()}
    said = {
        "variables": [str(name) for name in ds.data_vars],
        "sizes": dict(sorted(sizes.items(), key=lambda size: size[0] != "record")),
        "dtype": np.dtype(first.dtype).name if first.dtype != "str" else "text",
        "levels": 1 + max(array.level for array in arrays),
        "bytes": sum(array.nbytes for array in arrays),
        "spacing": {d: schema.spacing(ds, d) for d in ("t", "z", "y", "x") if d in ds.coords},
    }
    return said | put_aside(ds) | ({"notes": notes} if (notes := _notes(ds)) else {})


def _notes(ds: xr.Dataset) -> list[str]:
    """Return the lines for people among the attributes, as far as a listing can hold them."""
    lines: list[str] = []
    for said in (ds.attrs.get(key) for key in schema.NOTES):
        given = [said] if isinstance(said, str) else said if isinstance(said, list | tuple) else []
        lines += [" ".join(str(line).split())[:_LONGEST_NOTE] for line in given]
    more = len(lines) - _MOST_NOTES
    return lines[:_MOST_NOTES] + ([f"... and {more} more, in its attributes"] if more > 0 else [])


def _images(ds: xr.Dataset) -> list[str]:
    """Return the variables that OME-Zarr can hold as an image: known axes, in its order."""
    if "record" in ds.dims:
        return []
    axes = [dim for dim in schema.MOVIE_DIMS if dim in ds.dims]
    return [
        str(name)
        for name, variable in ds.data_vars.items()
        if {"y", "x"} <= set(variable.dims)
        and list(variable.dims) == [dim for dim in axes if dim in variable.dims]
        and variable.dtype.kind in "uif"
    ]


def _ome(
    ds: xr.Dataset, images: Sequence[str], depth: Mapping[str, int], stem: str
) -> dict[str, Any]:
    name = "image" if "image" in images else images[0]
    if name == "labels":
        source = ds.attrs.get("source_image")
        return metadata.ngff.labels_attributes(ds, name, depth[name], name=stem, source=source)
    return metadata.ngff.image_attributes(ds, name, depth[name], name=stem)


def _grid(
    ds: xr.Dataset,
    arrays: Sequence[chunking.Array],
    small: Sequence[str],
    free: Sequence[str] | None,
    share: float,
) -> Grid:
    """Cut into cells of whole shards, and runs of cells that come to `share` of everything."""
    top = sorted((a for a in arrays if not a.level), key=lambda array: -len(array.dims))
    top = [array for array in top if 0 not in array.shape] or top  # what is empty cuts nothing
    dims = tuple(dict.fromkeys(d for a in top for d in a.dims if free is None or d in free))
    steps = []
    for dim in dims:
        lengths = [_length(ds, array, dim, array.variable in small) for array in top]
        bound = [length for length in lengths if length]
        steps.append(max(1, min(math.lcm(*bound), ds.sizes[dim]) if bound else ds.sizes[dim]))
    sizes = tuple(int(ds.sizes[dim]) for dim in dims)
    cells = math.prod(-(-n // step) for n, step in zip(sizes, steps, strict=True)) or 1
    run = max(1, min(cells, math.ceil(round(cells * share, 6))), -(-cells // _MOST_PARTITIONS))
    run = -(-cells // -(-cells // run))  # as many partitions, none of them a mere rest
    return Grid(dims, sizes, tuple(steps), run)


def _length(ds: xr.Dataset, array: chunking.Array, dim: str, small: bool) -> int:
    """Return the length along which a variable is made at once; 0 where it may be cut anywhere."""
    if dim not in array.dims:
        return 0
    if not small:
        return array.shard[array.dims.index(dim)]
    chunks = ds.variables[array.variable].chunksizes.get(dim)
    return max(1, int(chunks[0])) if chunks else 0
