"""How arrays are cut into blocks, and kernels mapped over them: the only file that names Dask.

Ways of cutting, each named after the picture: ``map_frames`` (a volume becomes numbers),
``map_chunks`` (a volume becomes an array of another size), ``map_tiles`` (same shape out, with a
halo), ``map_records`` and ``map_rows`` (pictures of a collection become numbers, or arrays),
``map_blocks`` (all pictures of a block become one array, of their layout or not), ``fold`` (a
table becomes sums). A kernel gets plain arrays, NumPy or CuPy, and returns plain arrays. ``lazy``
makes a Dask array of a function that reads a region.

This module knows nothing of files or clusters.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr

from dpipe.compute.devices import chosen_device, to_device, to_host
from dpipe.compute.regions import (
    Frames,
    Read,
    Region,
    RegionReader,
    at_once,
    attach_reader,
    region_reader,
    single,
)
from dpipe.errors import SchemaError

__all__ = [
    "Region",
    "compute",
    "compute_region",
    "lazy",
    "map_chunks",
    "map_frames",
    "map_tiles",
]


def lazy(
    read: Callable[[Region], np.ndarray],
    shape: Sequence[int],
    dtype: np.dtype | str,
    chunks: Sequence[int],
) -> da.Array:
    """Make a lazy array of a function that reads a region.

    Parameters
    ----------
    read : callable
        Takes one slice per dimension (step 1, start and stop set) and returns a NumPy array of
        that size. It must pickle; it opens what it needs and closes it again.
    shape : sequence of int
        Shape of the whole array.
    dtype : numpy.dtype or str
        Its dtype.
    chunks : sequence of int
        Largest size of a block along each dimension.

    Returns
    -------
    dask.array.Array
        Nothing has been read yet.

    Examples
    --------
    >>> lazy(lambda r: np.zeros([s.stop - s.start for s in r]), (4, 6), "f8", (2, 6)).numblocks
    (2, 1)
    """
    dtype = np.dtype(dtype)
    source = RegionReader(read, tuple(shape), dtype)
    meta = np.empty((0,) * len(source.shape), dtype)
    limits = tuple(max(1, min(c, n)) for c, n in zip(chunks, source.shape, strict=True))
    array = da.from_array(
        source, chunks=limits, asarray=False, fancy=False, meta=meta, inline_array=True
    )
    return attach_reader(array, read)


def map_frames(
    kernel: Callable[..., Sequence[Any]],
    frames: xr.DataArray,
    *,
    outputs: int,
    core: Sequence[str] = ("z", "y", "x"),
    dtypes: Sequence[np.dtype | str] | None = None,
    **params: Any,
) -> tuple[xr.DataArray, ...]:
    """Turn each frame (plane or volume) into numbers.

    Parameters
    ----------
    kernel : callable
        ``kernel(frame, **params)`` gets one frame with the dims `core` and returns `outputs`
        numbers (Python numbers or 0-d arrays of the frame's kind).
    frames : xarray.DataArray
        Has the dims `core`, and others, which stay.
    outputs : int
        How many numbers the kernel returns.
    core : sequence of str
        Dims of one frame; they are brought into one block.
    dtypes : sequence of numpy.dtype or str, optional
        Of each output; by default float64.
    **params
        Passed to the kernel.

    Returns
    -------
    tuple of xarray.DataArray
        `outputs` lazy arrays over the other dims of `frames`; the kernel runs once a frame if
        they are computed together.
    """
    array, outer, read = _frames_first(frames, core)
    run = partial(_numbers, kernel=kernel, core=len(core), outputs=outputs, params=params)
    result = _map(run, array, read, len(outer), (outputs,), np.dtype("f8"))
    coords = {k: v for k, v in frames.coords.items() if not set(v.dims) & set(core)}
    columns = []
    for i, dtype in enumerate(dtypes or ["f8"] * outputs):
        column = result[..., i].astype(dtype)
        if whole := region_reader(result):
            attach_reader(column, whole.read, i)
        columns.append(xr.DataArray(column, dims=outer, coords=coords))
    return tuple(columns)


def map_chunks(
    kernel: Callable[..., Any],
    frames: xr.DataArray,
    *,
    sizes: Mapping[str, int],
    dtype: np.dtype | str,
    core: Sequence[str] = ("z", "y", "x"),
    **params: Any,
) -> xr.DataArray:
    """Turn each frame into an array of another size.

    Parameters
    ----------
    kernel : callable
        ``kernel(frame, **params)`` gets one frame with the dims `core` and returns an array of
        the shape ``tuple(sizes.values())``.
    frames : xarray.DataArray
        Has the dims `core`, and others, which stay.
    sizes : mapping of str to int
        Dims and sizes of what the kernel returns.
    dtype : numpy.dtype or str
        Its dtype.
    core : sequence of str
        Dims of one frame; they are brought into one block.
    **params
        Passed to the kernel.

    Returns
    -------
    xarray.DataArray
        Over the other dims of `frames`, then those of `sizes`; coordinates along dims that kept
        their size are kept.
    """
    array, outer, read = _frames_first(frames, core)
    shape = tuple(sizes.values())
    run = partial(
        _arrays, kernel=kernel, core=len(core), shape=shape, dtype=np.dtype(dtype), params=params
    )
    result = _map(run, array, read, len(outer), shape, np.dtype(dtype))
    coords = {
        name: value
        for name, value in frames.coords.items()
        if all(d in outer or sizes.get(str(d)) == frames.sizes[d] for d in value.dims)
    }
    return xr.DataArray(result, dims=(*outer, *sizes), coords=coords)


def map_tiles(
    kernel: Callable[..., Any],
    image: xr.DataArray,
    *,
    halo: Mapping[str, int],
    dtype: np.dtype | str,
    **params: Any,
) -> xr.DataArray:
    """Turn each block into one of the same shape, seeing a halo of its neighbours.

    Parameters
    ----------
    kernel : callable
        ``kernel(block, **params)`` gets a block with its halo and returns one of the same shape.
    image : xarray.DataArray
        Any dims.
    halo : mapping of str to int
        How many neighbours along each dim a result depends on; at the border of the image the
        block just ends, so the kernel's own border rule holds there. A dim not longer than its
        halo is brought into one block.
    dtype : numpy.dtype or str
        Of the result.
    **params
        Passed to the kernel.

    Returns
    -------
    xarray.DataArray
        Same dims, shape and coordinates.
    """
    array = image.data if isinstance(image.data, da.Array) else da.from_array(image.data)
    if unknown := set(halo) - set(map(str, image.dims)):
        raise SchemaError(f"halo along {sorted(unknown)}; the image has dims {tuple(image.dims)}")
    depth = {axis: int(halo.get(str(dim), 0)) for axis, dim in enumerate(image.dims)}
    whole = [axis for axis, n in depth.items() if n >= max(1, array.shape[axis])]
    run = partial(_tile, kernel=kernel, dtype=np.dtype(dtype), params=params, name=chosen_device())
    depth |= dict.fromkeys(whole, 0)
    result = da.map_overlap(
        run,
        array.rechunk(dict.fromkeys(whole, -1)),
        depth=depth,
        boundary="none",
        dtype=np.dtype(dtype),
        meta=np.empty((0,) * array.ndim, dtype),
    )
    return image.copy(data=result)


def compute(*values: Any) -> tuple[Any, ...]:
    """Compute lazy values in this thread, one block after the other."""
    return dask.compute(*values, scheduler="synchronous")


def compute_region(
    ds: xr.Dataset, names: Sequence[str], region: Mapping[str, slice]
) -> dict[str, np.ndarray]:
    """Compute one region of some variables in this thread.

    What was only read, or mapped by frames and not computed with since, needs no graph.

    Parameters
    ----------
    ds : xarray.Dataset
        Lazy or not.
    names : sequence of str
        Variables; they are computed in one go, so shared work is done once.
    region : mapping of str to slice
        A slice for each dim that is cut; other dims are taken whole.

    Returns
    -------
    dict of str to numpy.ndarray
        The values of each variable in that region.
    """
    cuts = {}
    for name in names:
        variable = ds.variables[name]
        whole = zip(variable.dims, variable.shape, strict=True)
        cut = tuple(region.get(str(dim), slice(0, n)) for dim, n in whole)
        cuts[name] = (variable.data, cut)
    blocks = at_once(cuts)
    if blocks is None:
        values = compute(*(array[cut] for array, cut in cuts.values()))
        blocks = dict(zip(cuts, values, strict=True))
    return {name: np.asarray(values) for name, values in blocks.items()}


def _frames_first(
    frames: xr.DataArray, core: Sequence[str]
) -> tuple[da.Array, tuple[str, ...], Read | None]:
    """Order the dims as (others, core), one block a frame along the core dims.

    The last of the three gives a region of that array without its graph, where there is a way.
    """
    missing = [dim for dim in core if dim not in frames.dims]
    if missing:
        raise SchemaError(f"frames need the dims {tuple(core)}; found {tuple(frames.dims)}")
    outer = tuple(str(dim) for dim in frames.dims if dim not in core)
    ordered = frames.transpose(*outer, *core)
    array = ordered.data if isinstance(ordered.data, da.Array) else da.from_array(ordered.data)
    source = region_reader(array)
    read = source.read if source is not None and source.column is None else None
    return array.rechunk({len(outer) + i: -1 for i in range(len(core))}), outer, read


def _map(
    run: Callable[..., Any],
    array: da.Array,
    read: Read | None,
    outer: int,
    new: Sequence[int],
    dtype: np.dtype,
) -> da.Array:
    """Map over blocks: the axes up to `outer` stay, the rest is dropped and `new` axes made."""
    run = partial(run, name=chosen_device())
    result = da.blockwise(
        run,
        (*range(outer), *(-1 - i for i in range(len(new)))),
        array,
        tuple(range(array.ndim)),
        new_axes={-1 - i: n for i, n in enumerate(new)},
        concatenate=False,  # else Dask copies each block, though it is the only one of its frame
        dtype=dtype,
        meta=np.empty((0,) * (outer + len(new)), dtype),
    )
    if read is None:
        return result
    frames = Frames(read, run, array.chunks[:outer], array.shape[outer:], new, dtype)
    return attach_reader(result, frames)


def _numbers(
    nested: Any,
    *,
    kernel: Callable[..., Sequence[Any]],
    core: int,
    outputs: int,
    params: Mapping[str, Any],
    name: str,
) -> np.ndarray:
    block = single(nested)
    outer = block.shape[: block.ndim - core]
    result = np.empty((*outer, outputs), dtype=np.float64)
    for index in np.ndindex(*outer):
        values = [float(value) for value in kernel(to_device(block[index], name), **params)]
        if len(values) != outputs:
            raise ValueError(f"the kernel gave {len(values)} numbers; expected {outputs}")
        result[index] = values
    return result


def _arrays(
    nested: Any,
    *,
    kernel: Callable[..., Any],
    core: int,
    shape: tuple[int, ...],
    dtype: np.dtype,
    params: Mapping[str, Any],
    name: str,
) -> np.ndarray:
    block = single(nested)
    outer = block.shape[: block.ndim - core]
    result = np.empty((*outer, *shape), dtype=dtype)
    for index in np.ndindex(*outer):
        frame = to_host(kernel(to_device(block[index], name), **params))
        if frame.shape != shape:
            raise ValueError(f"the kernel gave an array of {frame.shape}; expected {shape}")
        result[index] = frame
    return result


def _tile(
    block: np.ndarray,
    *,
    kernel: Callable[..., Any],
    dtype: np.dtype,
    params: Mapping[str, Any],
    name: str,
) -> np.ndarray:
    tile = to_host(kernel(to_device(block, name), **params))
    if tile.shape != block.shape:
        raise ValueError(f"the kernel gave an array of {tile.shape}; expected {block.shape}")
    return tile.astype(dtype, copy=False)
