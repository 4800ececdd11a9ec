"""Plain pictures and their label images, read block by block into packed rows.

A picture is one file, or one file a channel; its labels are a file of their own. Knows neither
folders nor names.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

import numpy as np

from dpipe import ledger, schema, sources
from dpipe.errors import GoneError, InputError
from dpipe.readers.packing import BlockRows, Plan, state_of

Labels = tuple[np.ndarray, int]
"""A label image (height, width), and the bits of its flag."""
UNREADABLE, NEGATIVE, TINY, GONE, NONE = (1 << i for i in range(len(schema.LABEL_FLAGS)))
"""Bits of `dpipe.schema.LABEL_FLAG`."""


@dataclass(eq=False)
class PictureRows(BlockRows):
    """Pictures, and labels of their objects.

    Attributes
    ----------
    plan : Plan
        Where each picture lies.
    files : sequence of tuple of str
        URIs of each picture: one, or one a channel; none where there are only labels.
    read_pixels : callable
        Returns the pixels of a file's bytes, (height, width, channels).
    states : mapping of str to int
        State of each file on disk when it was listed; one that is another when it is read is
        flagged.
    labels : sequence of str
        URI of the label image of each, "" without; empty where nothing has labels.
    label_dtype : str
        dtype that holds the labels of all; "" where nothing has labels.
    read_labels : callable, optional
        Returns the labels of a file's bytes.
    """

    plan: Plan
    files: Sequence[tuple[str, ...]] = field(repr=False)
    read_pixels: Callable[[bytes], np.ndarray]
    states: Mapping[str, int] = field(repr=False)
    labels: Sequence[str] = field(default=(), repr=False)
    label_dtype: str = ""
    read_labels: Callable[[bytes], Labels] | None = None
    _blocks: dict[int, tuple[int, dict[str, np.ndarray]]] = field(default_factory=dict, repr=False)

    def rows(self) -> dict[schema.Variable, tuple[str, int]]:
        """Return dtype and length of a row of each variable."""
        plan, rows = self.plan, {}
        if any(self.files):
            rows[schema.PIXELS] = (plan.dtype, plan.places * plan.channels)
            rows[schema.PICTURE_FLAG] = ("|u1", plan.block)
        if self.label_dtype:
            rows[schema.LABEL_PIXELS] = (self.label_dtype, plan.places)
            rows[schema.LABEL_FLAG] = ("|u1", plan.block)
        return rows

    def fill(self, number: int) -> dict[str, np.ndarray]:
        """Return the rows of one block by the names of their variables."""
        plan, first = self.plan, number * self.plan.block
        block = {
            variable.name: np.zeros(length, dtype)
            for variable, (dtype, length) in self.rows().items()
        }
        last = min(first + plan.block, len(plan.heights))
        records = [i for i in range(first, last) if plan.heights[i]]
        if any(self.files):
            self._fill_pixels(block, first, records)
        if self.label_dtype:
            flags = block[schema.LABEL_FLAG.name]
            for i in records:
                flags[i - first] |= 0 if self.labels[i] else NONE
            self._fill_labels(block, first, [i for i in records if self.labels[i]])
        return block

    def _fill_pixels(
        self, block: dict[str, np.ndarray], first: int, records: Sequence[int]
    ) -> None:
        plan, flags = self.plan, block[schema.PICTURE_FLAG.name]
        uris = [uri for i in records for uri in self.files[i]]
        answers = sources.read_many(uris, partial(_taken, read=self.read_pixels))
        for i in records:
            height, width = int(plan.heights[i]), int(plan.widths[i])
            size, channel = height * width, 0
            begin = int(plan.offsets[i]) * plan.channels
            for uri in self.files[i]:
                answer = next(answers)
                if isinstance(answer, GoneError):
                    flags[i - first] |= schema.UNREADABLE | schema.GONE
                    continue
                if isinstance(answer, InputError):
                    flags[i - first] |= schema.UNREADABLE
                    continue
                pixels, state = answer
                shape = (height, width, plan.channels // len(self.files[i]))
                if pixels.shape != shape or pixels.dtype != plan.dtype or self._other(uri, state):
                    flags[i - first] |= schema.UNREADABLE | schema.GONE
                    continue
                place = begin + channel * size
                row = block[schema.PIXELS.name][place : place + size * shape[2]]
                row.reshape(shape[2], height, width)[...] = pixels.transpose(2, 0, 1)
                if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
                    flags[i - first] |= 1 << schema.PICTURE_FLAGS.index("not_finite")
                channel += shape[2]

    def _fill_labels(
        self, block: dict[str, np.ndarray], first: int, records: Sequence[int]
    ) -> None:
        plan, flags = self.plan, block[schema.LABEL_FLAG.name]
        if self.read_labels is None:
            return
        uris = [self.labels[i] for i in records]
        answers = sources.read_many(uris, partial(_taken, read=self.read_labels))
        for i, answer in zip(records, answers, strict=True):
            if isinstance(answer, InputError):
                gone = GONE if isinstance(answer, GoneError) else 0
                flags[i - first] |= UNREADABLE | gone
                continue
            (labels, bits), state = answer
            shape = (int(plan.heights[i]), int(plan.widths[i]))
            if labels.shape != shape or self._other(self.labels[i], state):
                flags[i - first] |= UNREADABLE | GONE
                continue
            flags[i - first] |= bits
            place = int(plan.offsets[i])
            row = block[schema.LABEL_PIXELS.name][place : place + labels.size]
            row[...] = labels.reshape(-1)

    def _other(self, uri: str, state: int | None) -> bool:
        """Tell whether a file is another than that which was listed."""
        return state is not None and self.states.get(uri, state) != state


def _taken[T](file: BinaryIO, *, read: Callable[[bytes], T]) -> tuple[T, int | None]:
    """Return what is read of a file, and of one on disk its state."""
    data, name = file.read(), getattr(file, "name", None)
    content = read(data)
    if not isinstance(name, str):
        return content, None
    if (notes := ledger.current()) is not None:
        notes.whole(name, data)
    return content, state_of_stat(name, os.fstat(file.fileno()))


def state_of_stat(path: str, stat: os.stat_result) -> int:
    """Return a number of 63 bits that changes when a file does."""
    told = state_of(os.path.basename(path), stat.st_size, str(stat.st_mtime_ns))
    return int.from_bytes(told[:8], "big") >> 1


def states_of(uris: Sequence[str]) -> dict[str, int]:
    """Return the states of those of some files that are on disk."""
    states = {}
    for uri in uris:
        try:
            states[uri] = state_of_stat(uri, os.stat(uri))
        except OSError:
            continue
    return states
