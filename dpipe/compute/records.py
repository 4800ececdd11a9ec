"""Kernels over packed pictures: a block of some hundred of them is one call.

Which pictures are wanted, and in which order, is the caller's business: they are sorted by block,
their rows are found by the block's label, and the results are put back into the order of the
records.
"""

import itertools
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.highlevelgraph import HighLevelGraph

from dpipe import schema
from dpipe.compute.devices import chosen_device, to_device, to_host
from dpipe.compute.regions import Read, Region, RegionReader, attach_reader, region_reader, single
from dpipe.errors import SchemaError

_ROWS = ("pixels", "mask_code", "mask_pixels", "picture_flag")
_TABLE = ("offset", "height", "width", "in_slot")
_EDGES, _LARGEST_BLOCK = 32, 64 << 20
"""Rows of a block in another order for each block that it may take from; bytes of one at most."""


def map_records(
    kernel: Callable[..., Any],
    ds: xr.Dataset,
    *,
    names: Sequence[str],
    dim: str = "name",
    dtype: np.dtype | str = "f8",
    need: Sequence[str] = ("pixels", "mask_code"),
    **params: Any,
) -> xr.DataArray:
    """Turn each picture of a collection into a row of numbers.

    Parameters
    ----------
    kernel : callable
        ``kernel(pixels, codes, offsets, heights, widths, **params)`` gets some pictures of one
        block and returns an array (pictures, names). `pixels` and `codes` are flat: picture i of
        C channels has its planes at ``pixels[offsets[i] * C:]``, ``heights[i] * widths[i]``
        values each, and its masks at ``codes[offsets[i]:]``, bit k for channel k; `codes` is None
        where there are no masks. `offsets`, `heights` and `widths` stay on the host: a kernel
        cuts by them. Pictures that were put aside are not among them.
    ds : xarray.Dataset
        A packed collection, any selection of records of one, or pictures of one size
        ``image(record, c, y, x)``, maybe with ``mask(record, c, y, x)``.
    names : sequence of str
        What the numbers are called.
    dim : str
        Dim of the names.
    dtype : numpy.dtype or str
        Of the numbers.
    need : sequence of str
        As for `map_rows`.
    **params
        Passed to the kernel.

    Returns
    -------
    xarray.DataArray
        (record, `dim`), lazy, in the order of the records, with their coordinates; NaN, or 0 if
        they are no floats, for pictures that were put aside. Any order is right; one that runs
        through the blocks costs nothing; of a random one each block of the result waits for the
        blocks that it takes rows of.
    """
    numbers = map_rows(kernel, ds, sizes={dim: len(names)}, dtype=dtype, need=need, **params)
    return numbers.assign_coords({dim: np.array(list(names), dtype=str)})


def map_rows(
    kernel: Callable[..., Any],
    ds: xr.Dataset,
    *,
    sizes: Mapping[str, int],
    dtype: np.dtype | str,
    need: Sequence[str] = ("pixels", "mask_code"),
    **params: Any,
) -> xr.DataArray:
    """Turn each picture of a collection into an array of one size.

    Parameters
    ----------
    kernel : callable
        As for `map_records`; it returns (pictures, *sizes).
    ds : xarray.Dataset
        As for `map_records`.
    sizes : mapping of str to int
        Dims and sizes of what the kernel makes of a picture.
    dtype : numpy.dtype or str
        Its dtype.
    need : sequence of str
        Which of ``pixels`` and ``mask_code`` are read; the kernel gets None for the other. With
        ``mask_pixels`` it gets their row as ``valued``, and as ``several`` which of its pictures
        have a mask of several values there.
    **params
        Passed to the kernel.

    Returns
    -------
    xarray.DataArray
        (record, *sizes), lazy, in the order of the records, with their coordinates.
    """
    run = partial(
        _run,
        kernel=kernel,
        params=params,
        new=tuple(sizes.values()),
        dtype=np.dtype(dtype),
        name=chosen_device(),
    )
    packed = "pixels" in ds  # pictures of one size keep the coordinates of those packed
    if not packed and "image" not in ds:
        schema.PIXELS.check(ds)  # says what is missing
    data = (_packed if packed else _even)(run, ds, tuple(sizes.values()), np.dtype(dtype), need)
    coords = {name: coord for name, coord in ds.coords.items() if coord.dims == ("record",)}
    return xr.DataArray(data, dims=("record", *sizes), coords=coords)


def _packed(
    run: Callable[..., np.ndarray],
    ds: xr.Dataset,
    new: tuple[int, ...],
    dtype: np.dtype,
    need: Sequence[str],
) -> da.Array:
    used = [n for n in _ROWS if n in ds and (n in need or n == "picture_flag")]
    for name in ("pixels", *used):
        schema.VARIABLES[name].check(ds)
    for name in ("in_block", *_TABLE):
        schema.VARIABLES[name].check(ds)
    labels = np.asarray(ds["in_block"].values)
    table = np.stack([np.asarray(ds[name].values, np.int64) for name in _TABLE], axis=1)
    if not len(labels):
        return da.zeros((0, *new), dtype=dtype)
    order = None if (np.diff(labels) >= 0).all() else np.argsort(labels, kind="stable")
    if order is not None:
        labels, table = labels[order], table[order]
    starts = np.flatnonzero(np.diff(labels, prepend=labels[0] - 1))
    counts = tuple(np.diff(np.append(starts, len(labels))).tolist())
    places = places_of(ds, labels[starts])
    rows = {name: by_row(ds[name].data) for name in used}
    reads = {name: region_reader(array) for name, array in rows.items()}
    every = places == list(range(ds.sizes["block"]))
    chosen = {name: rows[name] if every else rows[name].blocks[places] for name in used}
    arrays: list[Any] = [in_pieces(table, counts), (0, 1)]
    for axis, name in enumerate(used, 2):
        arrays += [chosen[name], (0, axis)]
    result = da.blockwise(
        partial(_unwrapped, run=run, used=tuple(used)),
        (0, *(-1 - i for i in range(len(new)))),
        *arrays,
        new_axes={-1 - i: n for i, n in enumerate(new)},
        adjust_chunks={0: counts},
        align_arrays=False,
        concatenate=False,
        dtype=dtype,
        meta=np.empty((0,) * (1 + len(new)), dtype),
    )
    whole = {
        name: reader.read for name, reader in reads.items() if reader and reader.column is None
    }
    if order is not None:
        return _put_back(result, np.argsort(order, kind="stable"))
    if whole.keys() == reads.keys():
        lengths = {name: array.shape[1] for name, array in rows.items()}
        attach_reader(result, Records(run, whole, lengths, table, places, counts, new, dtype))
    return result


def _put_back(result: da.Array, order: np.ndarray) -> da.Array:
    """Return rows in another order: a task a block of it, over the blocks that it takes rows of.

    Dask's own selection makes a task for each pair of blocks. These blocks are larger than those
    that they take from, so that few tasks wait for many.
    """
    counts, trailing = result.chunks[0], (0,) * (result.ndim - 1)
    row = max(1, math.prod(result.shape[1:]) * result.dtype.itemsize)
    size = max(*counts, min(_EDGES * len(counts), _LARGEST_BLOCK // row))
    ends = np.cumsum(counts)
    name, tasks = f"records-in-order-{uuid.uuid4().hex}", {}
    lengths = [len(order[k : k + size]) for k in range(0, len(order), size)]
    for k in range(len(lengths)):
        rows = order[k * size : (k + 1) * size]
        blocks = np.searchsorted(ends, rows, side="right")
        used, which = np.unique(blocks, return_inverse=True)
        sources = [(result.name, int(block), *trailing) for block in used]
        tasks[name, k, *trailing] = (_gathered, sources, which, rows - (ends - counts)[blocks])
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=[result])
    chunks = (tuple(lengths), *result.chunks[1:])
    return da.Array(graph, name, chunks, dtype=result.dtype, meta=result._meta)


def _gathered(blocks: Sequence[np.ndarray], which: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Take a row of a block for each pair of block and row."""
    result = np.empty((len(rows), *blocks[0].shape[1:]), blocks[0].dtype)
    order = np.argsort(which, kind="stable")
    ends = np.searchsorted(which[order], np.arange(len(blocks)), side="right")
    first = 0
    for block, end in zip(blocks, ends, strict=True):
        places = order[first:end]
        result[places] = block[rows[places]]
        first = end
    return result


def in_pieces(table: np.ndarray, counts: tuple[int, ...]) -> da.Array:
    """Return a table as a lazy array; Dask itself would cut and hash all of it at once."""
    source = RegionReader(table.__getitem__, table.shape, table.dtype)
    name = f"records-{uuid.uuid4().hex}"
    meta = np.empty((0, 0), table.dtype)
    chunks = (counts, table.shape[1:])
    return da.from_array(source, chunks, name, asarray=False, fancy=False, meta=meta)


def places_of(ds: xr.Dataset, labels: np.ndarray) -> list[int]:
    """Return where blocks stand, by their labels; refuse a selection that rows do not follow."""
    if {"pixels", "mask_code"} <= set(ds.data_vars) and "c" in ds.sizes:
        total, row = ds.sizes["c"], ds["mask_code"].shape[1]
        if ds["pixels"].shape[1] != total * row:
            raise SchemaError(
                f"{total} channels of {row} places are not {ds['pixels'].shape[1]} values: "
                "select by isel(record=...) alone, and channels by dpipe.pictures(channels=...)"
            )
    index = ds.indexes.get("block")
    if index is not None and not index.is_unique:
        raise SchemaError("two blocks of one label; keep the parts of a collection apart")
    places = labels if index is None else index.get_indexer(list(labels))
    if len(places) and (min(places) < 0 or max(places) >= ds.sizes["block"]):
        lost = labels[np.argmin(places)]
        raise SchemaError(
            f"pictures of block {lost}, which is not there; select by isel(record=...) alone"
        )
    return [int(place) for place in places]


def by_row(data: Any) -> da.Array:
    """Return an array (block, ...) in blocks of one row."""
    if not isinstance(data, da.Array):
        return da.from_array(data, chunks=(1, -1))
    rows = all(n == 1 for n in data.chunks[0]) and len(data.chunks[1]) == 1
    return data if rows else data.rechunk((1, -1))


def _unwrapped(
    table: Any, *rows: Any, run: Callable[..., np.ndarray], used: tuple[str, ...]
) -> Any:
    flat = {name: single(row).reshape(-1) for name, row in zip(used, rows, strict=True)}
    return run(single(table), **flat)


def _run(
    table: np.ndarray,
    pixels: np.ndarray | None = None,
    mask_code: np.ndarray | None = None,
    mask_pixels: np.ndarray | None = None,
    picture_flag: np.ndarray | None = None,
    *,
    kernel: Callable[..., Any],
    params: Mapping[str, Any],
    new: tuple[int, ...],
    dtype: np.dtype,
    name: str,
) -> np.ndarray:
    """Call the kernel with the sound pictures of one block."""
    sound = table[:, 1] > 0
    if picture_flag is not None:
        sound &= (picture_flag[table[:, 3]] & schema.UNREADABLE) == 0
    result = np.full((len(table), *new), np.nan if dtype.kind == "f" else 0, dtype)
    if not sound.any():
        return result
    columns = [np.ascontiguousarray(table[sound, k]) for k in range(3)]
    rows = [None if row is None else to_device(row, name) for row in (pixels, mask_code)]
    more: dict[str, np.ndarray] = {}
    if mask_pixels is not None:
        slots = np.zeros(table[:, 3].max() + 1, np.uint8) if picture_flag is None else picture_flag
        several = (slots[table[sound, 3]] & schema.SEVERAL_VALUES) != 0
        more = {"valued": to_device(mask_pixels, name), "several": several}
    numbers = to_host(kernel(*rows, *columns, **params, **more))
    if numbers.shape != (int(sound.sum()), *new):
        raise ValueError(f"the kernel gave {numbers.shape}; expected {(int(sound.sum()), *new)}")
    if sound.all():
        return numbers.astype(dtype, copy=False)
    result[sound] = numbers
    return result


@dataclass(frozen=True, eq=False)
class Records:
    """Rows of packed pictures through a kernel, block by block, as the graph would do it.

    Attributes
    ----------
    run : callable
        Turns the table and the rows of one block into results.
    reads : mapping of str to callable
        By variable, what gives a region of it.
    lengths : mapping of str to int
        By variable, the length of its row.
    table : numpy.ndarray
        Offset, height, width and slot of each record, sorted by block.
    places, counts : sequence of int
        Of each block: its row, and how many records it has.
    new, dtype
        Shape and dtype of one result.
    """

    run: Callable[..., np.ndarray]
    reads: Mapping[str, Read]
    lengths: Mapping[str, int]
    table: np.ndarray
    places: Sequence[int]
    counts: Sequence[int]
    new: tuple[int, ...]
    dtype: np.dtype

    def __call__(self, region: Region) -> np.ndarray:
        """Compute a region of the result."""
        first, last = region[0].start, region[0].stop
        result = np.empty((last - first, *self.new), self.dtype)
        ends = itertools.accumulate(self.counts)
        for place, count, end in zip(self.places, self.counts, ends, strict=True):
            low, high = max(first, end - count), min(last, end)
            if low < high:
                block = {
                    name: read((slice(place, place + 1), slice(0, self.lengths[name])))[0]
                    for name, read in self.reads.items()
                }
                result[low - first : high - first] = self.run(self.table[low:high], **block)
        inside: Any = (slice(None), *region[1:])
        return result[inside]


def _even(
    run: Callable[..., np.ndarray],
    ds: xr.Dataset,
    new: tuple[int, ...],
    dtype: np.dtype,
    need: Sequence[str],
) -> da.Array:
    """Map over pictures of one size, as if they were packed."""
    blocks = {"pixels": schema.PICTURES.check(ds).chunk({"c": -1, "y": -1, "x": -1}).data}
    pieces = blocks["pixels"].chunks[0]
    if blocks["pixels"].shape[1] > 32 and "mask" in ds and "mask_code" in need:
        raise SchemaError(f"masks of {blocks['pixels'].shape[1]} channels; at most 32 go in a code")
    if "mask" in ds and "mask_code" in need:
        blocks["mask_code"] = (
            schema.PICTURE_MASKS.check(ds).chunk({"record": pieces, "c": -1, "y": -1, "x": -1}).data
        )
    sound = np.ones(ds.sizes["record"], np.int64)
    if "height" in ds.coords:  # what is left of a packed picture: those put aside have none
        sound = np.asarray(ds["height"].values > 0, np.int64)
    arrays: list[Any] = [in_pieces(sound[:, np.newaxis], pieces), (0, 1)]
    for k, array in enumerate(blocks.values(), 1):
        arrays += [array, (0, *(10 * k + i for i in (1, 2, 3)))]
    return da.blockwise(
        partial(_flattened, run=run, used=tuple(blocks)),
        (0, *(-1 - i for i in range(len(new)))),
        *arrays,
        new_axes={-1 - i: n for i, n in enumerate(new)},
        concatenate=False,
        dtype=dtype,
        meta=np.empty((0,) * (1 + len(new)), dtype),
    )


def _flattened(
    sound: Any, *parts: Any, run: Callable[..., np.ndarray], used: tuple[str, ...]
) -> np.ndarray:
    blocks = {name: single(block) for name, block in zip(used, parts, strict=True)}
    count, channels, height, width = blocks["pixels"].shape
    table = np.zeros((count, 4), np.int64)
    table[:, 0] = np.arange(count) * height * width
    table[:, 1:3] = single(sound) * (height, width)
    rows = {"pixels": blocks["pixels"].reshape(-1)}
    if "mask_code" in blocks:
        kind = np.dtype(f"u{1 if channels <= 8 else 2 if channels <= 16 else 4}")
        bits = (kind.type(1) << np.arange(channels, dtype=kind))[:, None, None]
        masks = blocks["mask_code"] != 0
        rows["mask_code"] = (masks * bits).sum(axis=1, dtype=kind).reshape(-1)
    return run(table, **rows)
