"""Batches of records for training, straight from the store.

It knows in which order pieces of lazy Datasets are read, mixed, cut and shared by processes. It
knows no network and no library of networks: a batch is an xarray Dataset in memory.
"""

import copy
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import Any

import numpy as np
import xarray as xr

from dpipe.api import DataLike, as_parts
from dpipe.batches.parts import DIMS, dim_of, together
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import check_whole, select, without_aside

_PIECE = 1024  # records of what is in memory already

_Piece = tuple[xr.Dataset, slice]


class Batches:
    """Records of one or many parts, in batches; each time it is gone through is an epoch.

    What is read at once are pieces, the Dask chunks along the records: shuffled, they come in a
    random order, and the records of `hold` of them are mixed. So each chunk is decoded once an
    epoch, one between two processes by both. The next pieces are read while a batch is used.

    Processes that train together each have as many batches as the others: the records of an
    epoch are cut into n runs of one length. If n does not divide them, some records come twice an
    epoch; with `drop_last` some are left out instead. `notes` says how many.

    Parameters
    ----------
    data : xarray.Dataset, xarray.DataTree or mapping
        What ``dpipe.open``, ``pictures``, ``track-crops`` or `each` gave: variables over
        ``record`` or ``event``, every part with the same ones, of the same further sizes. Packed
        pictures are brought to one size by ``dpipe.pictures`` first. Pictures that were put aside
        are left out, and a warning says how many.
    size : int
        Records in a batch; the last one of an epoch may have fewer.
    where : str, optional
        Which records or events: a gate, or an expression, as for ``dpipe.select``.
    shuffle : bool
        Mix the records, in another way each epoch.
    seed : int
        Where the mixing starts: the same seed, the same epochs.
    hold : int
        Pieces that are mixed with each other; with those that come next, twice as many are held.
    share : two ints
        ``(i, n)``: the i-th of n processes that train together, with the same seed and epoch.
    drop_last : bool
        Leave out a last batch that is smaller, and records that not all processes would have.
    epoch : int
        The first epoch.

    Raises
    ------
    SchemaError
        No records, packed pictures, or parts that do not fit each other.
    UsageError
        A parameter that cannot work, more processes than pieces, or an expression that cannot be
        read.

    Notes
    -----
    A copy, also a pickled one in another process, begins at the epoch at which it was copied, so
    say ``batches.set_epoch(epoch)`` before each one. Copies in the workers of a PyTorch
    ``DataLoader`` share the batches of their process, each batch in one worker; elsewhere
    ``batches.worker(i, n)`` is the i-th of n such copies::

        class Cells(torch.utils.data.IterableDataset):
            def __init__(self, batches):
                self.batches = batches
            def __len__(self):
                return len(self.batches)
            def __iter__(self):
                for batch in self.batches:
                    yield torch.from_numpy(batch.image.values)

        loader = DataLoader(Cells(batches), batch_size=None, num_workers=4,
                            multiprocessing_context="spawn")
        for epoch in range(epochs):
            batches.set_epoch(epoch)
            for pictures in loader: ...

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
        epoch: int = 0,
    ) -> None:
        for name, value, least in (("size", size, 1), ("hold", hold, 1), ("seed", seed, 0)):
            check_whole(name, value, least)
        self._share = _place("share", share)
        chosen = {stem: _chosen(stem, ds, where) for stem, ds in as_parts(data).items()}
        aside = sum(count for _, count in chosen.values())
        alike, lost = together({stem: ds for stem, (ds, _) in chosen.items()})
        self._dim = next(map(dim_of, alike.values()), "record")
        self._pieces = _pieces(list(alike.values()), self._dim, self._share[1])
        self._lengths = [rows.stop - rows.start for _, rows in self._pieces]
        self._size, self._hold = size, hold if shuffle else 1
        self._shuffle, self._seed, self._drop_last = shuffle, seed, drop_last
        self._worker: tuple[int, int] | None = None
        self.set_epoch(epoch)
        self.notes = self._said(aside) + lost
        for note in self.notes:
            if note.startswith("no batches") or (aside and note == self.notes[0]):
                warnings.warn(f"batches: {note}", UserWarning, stacklevel=2)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next; without this, each time is the one after the last.

        Parameters
        ----------
        epoch : int
            From 0.

        Raises
        ------
        UsageError
            It is no such number.
        """
        check_whole("epoch", epoch, 0)
        self._epoch = epoch

    def worker(self, i: int, n: int) -> "Batches":
        """Return the i-th of n copies that share the batches of this process.

        Parameters
        ----------
        i, n : int
            i from 0 to n - 1. In the workers of a ``DataLoader`` this is not needed.

        Returns
        -------
        Batches
            Whole batches; together the n copies have each batch once.

        Raises
        ------
        UsageError
            No such place.
        """
        copied = copy.copy(self)
        copied._worker = _place("worker", (i, n))
        return copied

    def __len__(self) -> int:
        """Return how many batches an epoch has in this process, or in this worker of it."""
        first, last = self._batches()
        return last - first

    def __repr__(self) -> str:
        """Return size, number and share of the batches, and what is to be said of them."""
        i, n = self._share
        facts = [f"{len(self)} batches of {self._size} {self._dim}s"]
        facts += [f"process {i} of {n}"] if n > 1 else []
        return f"<Batches: {'; '.join([*facts, *self.notes])}>"

    def __iter__(self) -> Iterator[xr.Dataset]:
        """Yield the batches of the next epoch, in memory."""
        epoch, self._epoch = self._epoch, self._epoch + 1
        first, last = self._batches()
        start = self._share[0] * self._run() + first * self._size
        stop = min(start + (last - first) * self._size, (self._share[0] + 1) * self._run())
        return self._read_batches(epoch, start, stop)

    def _run(self) -> int:
        """Return how many records each process has in an epoch."""
        total, n = sum(self._lengths), self._share[1]
        return total // n if self._drop_last else -(-total // n)

    def _batches(self) -> tuple[int, int]:
        """Return the first batch of this worker among those of its process, and the one after."""
        run = self._run()
        count = run // self._size if self._drop_last else -(-run // self._size)
        i, n = self._worker or _loader()
        return count * i // n, count * (i + 1) // n

    def _said(self, aside: int) -> list[str]:
        """Return notes on records that are left out or come twice."""
        total, n, run, what = sum(self._lengths), self._share[1], self._run(), f"{self._dim}s"
        uneven, unfilled = run * n - total, run % self._size * n if self._drop_last else 0
        notes = [f"{aside} of {total + aside} {what} left out: put aside"] if aside else []
        if uneven > 0:
            notes.append(f"{uneven} of {total} {what} twice an epoch, so that all {n} are even")
        if uneven < 0:
            notes.append(f"{-uneven} of {total} {what} left out so that all {n} are even")
        if not run or run * n == unfilled:
            notes.append(f"no batches: each process has {run} {what}, a batch {self._size}")
        elif unfilled:
            notes.append(f"{unfilled} of {total} {what} left out an epoch: they fill no batch")
        return notes

    def _read_batches(self, epoch: int, start: int, stop: int) -> Iterator[xr.Dataset]:
        pieces = self._order(epoch, start, stop)
        rng = np.random.default_rng((self._seed, epoch, 1, start))
        groups = [pieces[i : i + self._hold] for i in range(0, len(pieces), self._hold)]
        carried: xr.Dataset | None = None
        with ThreadPoolExecutor(1) as thread:
            coming = [thread.submit(self._read, group) for group in groups[:1]]
            for i in range(len(groups)):
                read = coming.pop().result()
                coming += [thread.submit(self._read, group) for group in groups[i + 1 : i + 2]]
                if self._shuffle:
                    read = read.isel({self._dim: rng.permutation(read.sizes[self._dim])})
                if carried is not None:
                    read = _joined([carried, read], self._dim)
                whole = read.sizes[self._dim] - read.sizes[self._dim] % self._size
                for first in range(0, whole, self._size):
                    yield read.isel({self._dim: slice(first, first + self._size)})
                carried = read.isel({self._dim: slice(whole, None)})
        if carried is not None and carried.sizes[self._dim]:
            yield carried

    def _order(self, epoch: int, start: int, stop: int) -> list[_Piece]:
        """Return the pieces read in an epoch, in order, which hold its records `start` to `stop`.

        Beyond the last record it begins anew.
        """
        order: Any = range(len(self._pieces))
        if self._shuffle:
            order = np.random.default_rng((self._seed, epoch)).permutation(len(self._pieces))
        total, pieces = sum(self._lengths), list[_Piece]()
        for low, high in ((start, min(stop, total)), (max(start, total) - total, stop - total)):
            ends = accumulate(self._lengths[k] for k in order)
            for k, end in zip(order, ends, strict=True):
                (ds, rows), first = self._pieces[k], end - self._lengths[k]
                a, b = max(low, first), min(high, end)
                if a < b:
                    pieces.append((ds, slice(rows.start + a - first, rows.start + b - first)))
        return pieces

    def _read(self, pieces: Sequence[_Piece]) -> xr.Dataset:
        return _joined([ds.isel({self._dim: rows}).load() for ds, rows in pieces], self._dim)


def _place(name: str, pair: Sequence[int]) -> tuple[int, int]:
    whole = isinstance(pair, list | tuple) and [type(n) for n in pair] == [int, int]
    if not whole or not 0 <= pair[0] < pair[1]:
        raise UsageError(f"{name}: found {pair!r}; expected (i, n) with i from 0 to n - 1")
    return pair[0], pair[1]


def _loader() -> tuple[int, int]:
    """Return number and count of the PyTorch worker that this process is, without an import."""
    torch = sys.modules.get("torch.utils.data")
    info = torch.get_worker_info() if torch is not None else None
    return (0, 1) if info is None else (int(info.id), int(info.num_workers))


def _chosen(stem: str, ds: xr.Dataset, where: str | None) -> tuple[xr.Dataset, int]:
    """Choose records or events of a part, and count what was put aside among them."""
    if not any(dim in ds.dims for dim in DIMS):
        raise SchemaError(
            f"{stem}: found the dims {', '.join(map(str, ds.dims))}; expected record or event"
        )
    try:
        return without_aside(ds if where is None else select(ds, where))
    except UsageError as error:
        raise UsageError(f"{stem}: {error}") from error


def _pieces(parts: Sequence[xr.Dataset], dim: str, processes: int) -> list[_Piece]:
    """Cut all parts into pieces; refuse more processes than there are."""
    total = sum(ds.sizes[dim] for ds in parts)
    longest = max(1, min(_PIECE, -(-total // processes)))
    pieces = [piece for ds in parts for piece in _cut(ds, dim, longest)]
    if total and processes > len(pieces):
        raise UsageError(
            f"share: {processes} processes, and {len(pieces)} pieces that are read at once "
            f"({total} {dim}s); expected at most as many processes, or smaller pieces: "
            f".chunk({dim}={max(1, total // processes)})"
        )
    return pieces


def _cut(ds: xr.Dataset, dim: str, longest: int) -> Iterator[_Piece]:
    """Yield the Dask chunks of a part, or pieces of what is in memory."""
    steps = next((v.chunksizes[dim] for v in ds.data_vars.values() if dim in v.chunksizes), None)
    count = ds.sizes[dim]
    ends = range(longest, count + longest, longest) if steps is None else np.cumsum(steps).tolist()
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
