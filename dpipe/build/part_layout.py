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
from typing import Any, TypedDict

import numpy as np
import xarray as xr

from dpipe import compute, metadata, schema
from dpipe.build.pictures_aside import put_aside
from dpipe.catalog import Summary
from dpipe.errors import SchemaError
from dpipe.storage import Json, chunking, zarr

SMALL = 1 << 20
"""Variables of at most this many bytes travel in the marks; ``finish`` writes them as one shard."""
_MOST_PARTITIONS = 10_000
_MOST_NOTES = 20
_LONGEST_NOTE = 300


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
    def from_dict(cls, fields: Mapping[str, Any]) -> "Grid":
        """Return a grid from its fields, as JSON holds them."""
        values: Json = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return cls(**values)


class LayoutFields(TypedDict):
    """A `PartLayout` as marks hold it."""

    base: str
    suffix: str
    documents: dict[str, zarr.Document]
    arrays: Sequence[Json]
    small: Sequence[str]
    grid: Json
    summary: Summary


class LayoutOptions(TypedDict, total=False):
    """How a part is cut: parameters of `lay_out` that a plan decides."""

    free: Sequence[str] | None
    partition_bytes: int
    input_bytes: int


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
    summary : Summary
        Variables, sizes, dtype, levels, bytes, spacing.
    coordinates : dict of str to bytes
        Encoded coordinate objects by key below the part; not kept in the mark.
    """

    base: str
    suffix: str
    documents: dict[str, zarr.Document] = field(repr=False)
    arrays: tuple[chunking.Array, ...]
    small: tuple[str, ...]
    grid: Grid
    summary: Summary
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

    def to_dict(self) -> LayoutFields:
        """Return it as marks hold it: without the coordinate objects."""
        return LayoutFields(
            base=self.base,
            suffix=self.suffix,
            documents=self.documents,
            arrays=[asdict(array) for array in self.arrays],
            small=self.small,
            grid=asdict(self.grid),
            summary=self.summary,
        )

    @classmethod
    def from_dict(cls, fields: LayoutFields) -> "PartLayout":
        """Return a layout from its fields, as marks hold them."""
        return cls(
            base=fields["base"],
            suffix=fields["suffix"],
            documents=fields["documents"],
            arrays=tuple(chunking.Array.from_dict(array) for array in fields["arrays"]),
            small=tuple(fields["small"]),
            grid=Grid.from_dict(fields["grid"]),
            summary=fields["summary"],
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


def _summary(ds: xr.Dataset, arrays: Sequence[chunking.Array]) -> Summary:
    first = arrays[0]
    sizes = {str(dim): int(n) for dim, n in ds.sizes.items()}
    summary: Summary = {
        "variables": [str(name) for name in ds.data_vars],
        "sizes": dict(sorted(sizes.items(), key=lambda size: size[0] != "record")),
        "dtype": np.dtype(first.dtype).name if first.dtype != "str" else "text",
        "levels": 1 + max(array.level for array in arrays),
        "bytes": sum(array.nbytes for array in arrays),
        "spacing": {d: schema.spacing(ds, d) for d in ("t", "z", "y", "x") if d in ds.coords},
        **put_aside(ds),
    }
    if notes := _notes(ds):
        summary["notes"] = notes
    return summary


def _notes(ds: xr.Dataset) -> list[str]:
    """Return the lines for people among the attributes, as far as a listing can hold them."""
    lines: list[str] = []
    for note in (ds.attrs.get(key) for key in schema.NOTES):
        texts = [note] if isinstance(note, str) else note if isinstance(note, list | tuple) else []
        lines += [" ".join(str(text).split())[:_LONGEST_NOTE] for text in texts]
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


def _ome(ds: xr.Dataset, images: Sequence[str], depth: Mapping[str, int], stem: str) -> Json:
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
