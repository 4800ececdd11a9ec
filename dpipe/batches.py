"""Batches of records for training, straight from the store.

It knows in which order pieces of lazy Datasets are read, mixed and cut. It knows no network and
no library of networks: a batch is an xarray Dataset in memory.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import xarray as xr

from dpipe.errors import SchemaError, UsageError
from dpipe.operators.gate import select
from dpipe.tree import DataLike, as_parts

_DIMS = ("record", "event")
_PIECE = 1024  # records of what is in memory already

_Piece = tuple[xr.Dataset, slice]


class Batches:
    """Records of one or many parts, in batches; each time it is gone through is an epoch.

    What is read at once are pieces, the Dask chunks along the records: shuffled, the pieces come
    in a random order, and the records of `hold` of them are mixed. So each chunk is decoded once
    an epoch. The next pieces are read while a batch is used.

    Parameters
    ----------
    data : xarray.Dataset, xarray.DataTree or mapping
        What ``dpipe.open``, ``pictures``, ``track-crops`` or `each` gave: variables over
        ``record`` or ``event``, every part with the same ones, of the same further sizes. Packed
        pictures are brought to one size by ``dpipe.pictures`` first.
    size : int
        Records in a batch; the last one of an epoch may have fewer.
    where : str, optional
        Which records: a gate, or an expression, as for ``dpipe.select``.
    shuffle : bool
        Mix the records, in another way each epoch.
    seed : int
        Where the mixing starts: the same seed, the same epochs.
    hold : int
        Pieces that are mixed with each other. With those that come next, and what is left of
        those before, so many are in memory twice over.
    share : two ints
        ``(i, n)``: only each n-th piece, beginning with the i-th. With the same seed, n
        processes have every record once between them.
    drop_last : bool
        Leave out a last batch that is smaller.

    Raises
    ------
    SchemaError
        No records, packed pictures, or parts that do not fit each other.
    UsageError
        A parameter that cannot work, or an expression that cannot be read.

    Examples
    --------
    >>> pictures = np.arange(5.0).reshape(5, 1, 1, 1)
    >>> ds = xr.Dataset({"image": (("record", "c", "y", "x"), pictures)})
    >>> ds = ds.assign_coords(label=("record", list("ABABA")))
    >>> [batch.image.values.ravel().tolist() for batch in Batches(ds, size=2, where="label == 'A'")]
    [[0.0, 2.0], [4.0]]
    """

    def __init__(
        self,
        data: DataLike,
        *,
        size: int = 256,
        where: str | None = None,
        shuffle: bool = False,
        seed: int = 0,
        hold: int = 8,
        share: Sequence[int] = (0, 1),
        drop_last: bool = False,
    ) -> None:
        for name, found, least in (("size", size, 1), ("hold", hold, 1), ("seed", seed, 0)):
            if type(found) is not int or found < least:
                raise UsageError(f"{name}: found {found!r}; expected a whole number from {least}")
        whole = isinstance(share, list | tuple) and [type(n) for n in share] == [int, int]
        if not whole or not 0 <= share[0] < share[1]:
            raise UsageError(f"share: found {share!r}; expected (i, n) with i from 0 to n - 1")
        held = _alike({stem: _rows(stem, ds) for stem, ds in as_parts(data).items()})
        if where is not None:
            held = {stem: select(ds, where) for stem, ds in held.items()}
        self._dim = next((_dim(ds) for ds in held.values()), "record")
        self._pieces = [piece for ds in held.values() for piece in _cut(ds, self._dim)]
        self._size, self._hold = size, hold if shuffle else 1
        self._shuffle, self._seed, self._epoch = shuffle, seed, 0
        self._share, self._drop_last = (share[0], share[1]), drop_last

    def __len__(self) -> int:
        """Return how many batches the next epoch has."""
        records = sum(rows.stop - rows.start for _, rows in self._order(self._epoch))
        return records // self._size if self._drop_last else -(-records // self._size)

    def __iter__(self) -> Iterator[xr.Dataset]:
        """Yield the batches of the next epoch, in memory."""
        epoch, self._epoch = self._epoch, self._epoch + 1
        pieces, rng = self._order(epoch), np.random.default_rng((self._seed, epoch, 1))
        groups = [pieces[i : i + self._hold] for i in range(0, len(pieces), self._hold)]
        rest: xr.Dataset | None = None
        with ThreadPoolExecutor(1) as thread:
            coming = [thread.submit(self._read, group) for group in groups[:1]]
            for i in range(len(groups)):
                read = coming.pop().result()
                coming += [thread.submit(self._read, group) for group in groups[i + 1 : i + 2]]
                if self._shuffle:
                    read = read.isel({self._dim: rng.permutation(read.sizes[self._dim])})
                if rest is not None:
                    read = _joined([rest, read], self._dim)
                whole = read.sizes[self._dim] - read.sizes[self._dim] % self._size
                for start in range(0, whole, self._size):
                    yield read.isel({self._dim: slice(start, start + self._size)})
                rest = read.isel({self._dim: slice(whole, None)})
        if rest is not None and rest.sizes[self._dim] and not self._drop_last:
            yield rest

    def _order(self, epoch: int) -> list[_Piece]:
        """Return the pieces of an epoch in the order in which they are read."""
        order: Any = range(len(self._pieces))
        if self._shuffle:
            order = np.random.default_rng((self._seed, epoch)).permutation(len(self._pieces))
        first, step = self._share
        return [self._pieces[k] for k in order[first::step]]

    def _read(self, pieces: Sequence[_Piece]) -> xr.Dataset:
        return _joined([ds.isel({self._dim: rows}).load() for ds, rows in pieces], self._dim)


def _dim(ds: xr.Dataset) -> str:
    return next(dim for dim in _DIMS if dim in ds.dims)


def _rows(stem: str, ds: xr.Dataset) -> xr.Dataset:
    """Keep what lies along the records, and the coordinates of its other dims."""
    if "pixels" in ds and "in_block" in ds.coords:
        raise SchemaError(
            f"{stem}: packed pictures of unlike sizes; bring them to one: "
            "dpipe.each(tree, dpipe.pictures, size=64)"
        )
    if not any(dim in ds.dims for dim in _DIMS):
        raise SchemaError(
            f"{stem}: found the dims {', '.join(map(str, ds.dims))}; expected record or event"
        )
    dim = _dim(ds)
    kept = [name for name, variable in ds.variables.items() if dim in variable.dims]
    dims = {d for name in kept for d in ds.variables[name].dims}
    extra = [d for d in dims if d in ds.coords and d not in kept]
    return ds[kept].assign_coords({d: ds.coords[d] for d in extra})


def _alike(held: dict[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Refuse parts that cannot be in one batch; keep what is known of the records of all."""
    facts = {stem: _facts(ds) for stem, ds in held.items()}
    (first, wanted), *others = facts.items() or [("", {})]
    for stem, found in others:
        for name in sorted({*found, *wanted}):
            if found.get(name) != wanted.get(name):
                raise SchemaError(
                    f"{stem}: {name} is {found.get(name, 'missing')}, and "
                    f"{wanted.get(name, 'missing')} in {first}; a batch needs one shape"
                )
    everywhere = set.intersection(*(set(ds.coords) for ds in held.values())) if held else set()
    return {stem: ds.drop_vars(set(ds.coords) - everywhere) for stem, ds in held.items()}


def _facts(ds: xr.Dataset) -> dict[str, Any]:
    """Return what must be the same in all parts."""
    dim = _dim(ds)
    shapes: dict[str, Any] = {
        str(name): (*map(str, v.dims), *(n for d, n in v.sizes.items() if d != dim))
        for name, v in ds.data_vars.items()
    }
    names = {d: ds.coords[d].values for d in ds.dims if d in ds.coords and d != dim}
    return shapes | {str(d): v.tolist() for d, v in names.items() if v.dtype.kind in "UOT"}


def _cut(ds: xr.Dataset, dim: str) -> Iterator[_Piece]:
    """Yield the Dask chunks of a part, or pieces of what is in memory."""
    steps = next((v.chunksizes[dim] for v in ds.data_vars.values() if dim in v.chunksizes), None)
    count = ds.sizes[dim]
    ends = range(_PIECE, count + _PIECE, _PIECE) if steps is None else np.cumsum(steps).tolist()
    start = 0
    for end in ends:
        if end > start:
            yield ds, slice(start, min(end, count))
        start = end


def _joined(pieces: Sequence[xr.Dataset], dim: str) -> xr.Dataset:
    if len(pieces) == 1:
        return pieces[0]
    return xr.concat(
        pieces, dim=dim, data_vars="minimal", coords="minimal", compat="override", join="override",
        combine_attrs="drop_conflicts",
    )  # fmt: skip
