"""Windows of one size around many places in many frames, each frame of the movie read once.

It knows which pieces of a movie a block of windows needs, and reads each of them once, and how
windows are cut and filled. It knows nothing of events.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dpipe.compute import Region, beside, compute_region, namespace, to_device, to_host

_IMAGE = "image"
_BLOCK_BYTES = 32 << 20
_READ_BYTES = 256 << 20
_MOSTLY = 0.8
"""From this share of its tiles on, a rectangle is read at once."""
Size = tuple[int | None, int, int]


class Movie(NamedTuple):
    """The movie that windows are cut from.

    Attributes
    ----------
    data : xarray.Dataset
        ``image(t, c, z, y, x)`` alone.
    names : tuple of str
        Of all its channels.
    channels : tuple of int
        The channels wanted.
    tile : tuple of int
        Pieces of (t, y, x) that are decoded as one; 1, and the whole plane, where there are none.
    """

    data: xr.Dataset
    names: tuple[str, ...]
    channels: tuple[int, ...]
    tile: tuple[int, int, int]

    @property
    def image(self) -> xr.Variable:
        """The pixels."""
        return self.data.variables[_IMAGE]

    @classmethod
    def of(cls, ds: xr.Dataset, name: str, image: xr.DataArray, channels: Sequence[int]) -> "Movie":
        """Return the arrays and sizes of a movie that windows are cut from.

        Parameters
        ----------
        ds : xarray.Dataset
            The movie.
        name : str
            Its variable of pixels.
        image : xarray.DataArray
            The same, with its dims in order.
        channels : sequence of int
            The channels wanted.
        """
        blocks = {str(d): max(cut, default=1) for d, cut in image.chunksizes.items()}
        pieces = ds[name].encoding.get("chunks")
        if blocks and pieces is not None and len(pieces) == ds[name].ndim:
            sizes = dict(zip(map(str, ds[name].dims), pieces, strict=True))
            blocks |= {dim: min(blocks[dim], sizes[dim]) for dim in "yx"}
        whole = {"t": 1, "y": image.sizes["y"], "x": image.sizes["x"]}
        tile = tuple(max(1, int(blocks.get(dim, n))) for dim, n in whole.items())
        names = tuple(str(name) for name in image["c"].values)
        data = xr.Dataset({_IMAGE: image.variable})
        return cls(data, names, tuple(channels), tile)  # type: ignore[arg-type]


class Where(NamedTuple):
    """Where windows stand.

    Attributes
    ----------
    position : array of int, shape (event, t)
        Place of the frame in the movie, -1 for none.
    start : array of int, shape (event, t, 3)
        First voxel (z, y, x) of the window, also beyond the image.
    low, high : array of int, shape (event, t, 3)
        First voxel of the image that the window shows, and the one after the last.
    """

    position: np.ndarray
    start: np.ndarray
    low: np.ndarray
    high: np.ndarray


def cut(
    region: Region, *, movie: Movie, where: Where, size: Size, flat: bool, fill: float, device: str
) -> np.ndarray:
    """Cut one region of all windows; runs in a task.

    Parameters
    ----------
    region : tuple of slice
        Of (event, t, c, y, x), or (event, t, c, z, y, x).
    movie : Movie
        Where from.
    where : Where
        Of all windows.
    size : tuple
        Voxels of a window (z, y, x); None takes the whole stack.
    flat : bool
        Take the maximum over z.
    fill : float
        Value beyond the image, and where there is no frame.
    device : str
        Where windows are cut.

    Returns
    -------
    numpy.ndarray
        Of the region's shape.
    """
    position = where.position[region[:2]]
    starts, low, high = (
        side[region[:2]].reshape(-1, 3).astype(np.int64)
        for side in (where.start, where.low, where.high)
    )
    whole = (size[0] or movie.image.sizes["z"], *size[1:])
    channels = np.asarray(movie.channels[region[2]])
    out = np.full(
        (position.size, len(channels), *(whole[1:] if flat else whole)), fill, movie.image.dtype
    )
    sizes = np.array([movie.image.sizes[dim] for dim in "zyx"])
    place = np.where((high > low).all(axis=1), position.ravel(), -1)
    for run in np.split(np.arange(len(channels)), np.flatnonzero(np.diff(channels) != 1) + 1):
        c = slice(int(channels[run[0]]), int(channels[run[-1]]) + 1) if len(run) else slice(0, 0)
        for rows in _together(place, movie, int(np.prod(sizes)) * len(run)):
            t = slice(int(place[rows[0]]), int(place[rows[-1]]) + 1)
            stacks, corner = _read(movie, t, c, low[rows], high[rows])
            frames = to_device(stacks, device)
            for frame in np.unique(place[rows]):
                events = rows[place[rows] == frame]
                boxes = np.stack([side[events] - corner for side in (starts, low, high)], axis=1)
                cuts = windows(frames[int(frame) - t.start, ...], boxes, size, flat, fill)
                out[events[:, None], run] = to_host(cuts)
    inside: Any = (..., *region[3:])
    return out.reshape(*position.shape, *out.shape[1:])[inside]


def windows(stack: Any, boxes: np.ndarray, size: Size, flat: bool, fill: float) -> Any:
    """Cut windows from one frame: the kernel.

    Parameters
    ----------
    stack : array, shape (c, z, y, x)
        A frame, or the piece of it that the windows need.
    boxes : array of int, shape (n, 3, 3)
        Of each window its first voxel, the first that it shows and the one after the last that it
        shows, all within the stack but the first.
    size : tuple
        Voxels (z, y, x); None takes all planes.
    flat : bool
        Take the maximum over z; of planes that the window shows only.
    fill : float
        Value where a window shows nothing.

    Returns
    -------
    array, shape (n, c, y, x) or (n, c, z, y, x)
        Of the stack's kind and dtype.
    """
    xp = namespace(stack)
    height, width = stack.shape[2:]
    if flat and size[0] is None and len(boxes) * size[1] * size[2] >= height * width:
        stack = xp.max(stack, axis=1, keepdims=True)  # cheaper than window by window
    whole = (size[0] or stack.shape[1], *size[1:])
    shape = whole[1:] if flat else whole
    value = int(fill) if xp.isdtype(stack.dtype, "integral") else float(fill)
    crops = []
    for start, low, high in boxes.tolist():
        z = slice(None) if size[0] is None else slice(low[0], high[0])
        cut = stack[:, z, low[1] : high[1], low[2] : high[2]]
        put = [slice(a - s, b - s) for s, a, b in zip(start, low, high, strict=True)]
        if size[0] is None:
            put[0] = slice(None)
        if flat:
            cut, put = xp.max(cut, axis=1), put[1:]
        if cut.shape[1:] == shape:
            crops.append(cut)
            continue
        padded = xp.full((stack.shape[0], *shape), value, dtype=stack.dtype, **beside(stack))
        padded[(slice(None), *put)] = cut
        crops.append(padded)
    return xp.stack(crops)


def _together(place: np.ndarray, movie: Movie, frame: int) -> Iterator[np.ndarray]:
    """Yield the windows whose frames lie in one piece of the movie, in order of time."""
    order = np.argsort(place, kind="stable")
    order = order[place[order] >= 0]
    length = movie.tile[0]
    if length * frame * movie.image.dtype.itemsize > _READ_BYTES:
        length = 1
    bounds = np.flatnonzero(np.diff(place[order] // length)) + 1
    yield from (rows for rows in np.split(order, bounds) if len(rows))


def _read(
    movie: Movie, t: slice, c: slice, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Read the part of some frames that windows cover, (t, c, z, y, x), and its first voxel.

    Parameters
    ----------
    movie : Movie
        Where from.
    t, c : slice
        Frames and channels.
    low, high : array of int, shape (n, 3)
        First voxel of each window that lies within the image, and the one after its last.
    """

    def read(first: np.ndarray, end: np.ndarray) -> np.ndarray:
        box = {d: slice(int(a), int(b)) for d, a, b in zip("zyx", first, end, strict=True)}
        return compute_region(movie.data, [_IMAGE], {"t": t, "c": c, **box})[_IMAGE]

    tile = np.array([movie.image.sizes["z"] or 1, *movie.tile[1:]])
    first, last = low // tile, (high - 1) // tile
    base = first.min(axis=0)
    touched = np.zeros(last.max(axis=0) - base + 1, bool)
    for a, b in zip(first - base, last - base + 1, strict=True):
        touched[tuple(map(slice, a, b))] = True
    corner, end = low.min(axis=0), high.max(axis=0)
    if touched.mean() >= _MOSTLY:
        return read(corner, end), corner
    stacks = np.empty(
        (t.stop - t.start, c.stop - c.start, *(end - corner)), movie.image.dtype
    )  # what no window needs stays as it is
    for index in np.argwhere(touched):
        a = np.maximum((base + index) * tile, corner)
        b = np.minimum((base + index + 1) * tile, end)
        inside: Any = (..., *map(slice, a - corner, b - corner))
        stacks[inside] = read(a, b)
    return stacks, corner


def blocks_of(where: Where, window: Sequence[int], itemsize: int) -> tuple[int, int]:
    """Return numbers of events and times that make a block, so that few frames are read twice.

    Parameters
    ----------
    where : Where
        Of all windows, events in order of time.
    window : sequence of int
        Shape of one window of one channel.
    itemsize : int
        Bytes of a voxel.

    Returns
    -------
    tuple of int
        Events and times of a block of one channel, at most 32 MiB.
    """
    events, times = where.position.shape
    limit = max(1, _BLOCK_BYTES // max(1, int(np.prod(window)) * itemsize))
    best, fewest = (1, max(1, min(times, limit))), None
    many = max(1, events)
    while True:
        block = (min(many, limit), max(1, min(times, limit // min(many, limit))))
        reads = sum(
            np.unique(where.position[e : e + block[0], t : t + block[1]]).size
            for e in range(0, events, block[0])
            for t in range(0, times, block[1])
        )
        if fewest is None or reads < fewest:
            best, fewest = block, reads
        if many == 1 or block[1] >= times:  # fewer events gain nothing any more
            return best
        many //= 2
