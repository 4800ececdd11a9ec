"""Pictures with a mask a channel, read from HDF5 files into packed rows."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO

import numpy as np

from dpipe import ledger, schema, sources
from dpipe.errors import GoneError, InputError
from dpipe.readers.packing import BlockRows, Plan, state_of

_CODES = ("|u1", "|u1", "<u2", "<u4", "<u4")
"""dtype of the mask code by the bytes that its bits take."""
Decoded = tuple[np.ndarray, np.ndarray | None]
"""A picture (height, width, channels), and its mask."""


def _rows(plan: Plan) -> dict[schema.Variable, tuple[str, int]]:
    """Return the variables of a collection: dtype and length of a row of each."""
    values = plan.places * plan.channels
    layout = {schema.PIXELS: (plan.dtype, values)}
    if plan.mask:
        layout[schema.MASK_CODE] = (_CODES[-(-plan.channels // 8)], plan.places)
        layout[schema.MASK_VALUE] = (plan.mask, plan.block)
        if plan.mask != "|b1":  # a truth value has one value besides 0
            layout[schema.MASK_PIXELS] = (plan.mask, values)
    return layout | {schema.PICTURE_FLAG: ("|u1", plan.block)}


@dataclass(eq=False)
class Rows(BlockRows):
    """Pictures with masks of their channels, each with its mask in one file.

    Attributes
    ----------
    files : sequence of str
        URI of each record.
    plan : Plan
        Where each lies.
    states : numpy.ndarray
        Of each file when it was listed (the first 63 bits of `state_of`); one on disk that is
        another when it is read counts as unreadable.
    decode : callable
        ``decode(data)`` returns the picture of a file's bytes, (height, width, channels), and its
        mask or None.
    """

    files: Sequence[str]
    plan: Plan
    states: np.ndarray = field(repr=False)
    decode: Callable[[bytes], Decoded] = field(repr=False)
    _blocks: dict[int, tuple[int, dict[str, np.ndarray]]] = field(default_factory=dict, repr=False)

    def rows(self) -> dict[schema.Variable, tuple[str, int]]:
        """Return dtype and length of a row of each variable."""
        return _rows(self.plan)

    def fill(self, number: int) -> dict[str, np.ndarray]:
        """Return the rows of one block by the names of their variables."""
        plan = self.plan
        first = number * plan.block
        row = _Row.empty(plan)
        records = [
            i for i in range(first, min(first + plan.block, len(self.files))) if plan.heights[i]
        ]
        take = partial(_planes_of, decode=self.decode)
        files = sources.read_many((self.files[i] for i in records), take)
        for i, got in zip(records, files, strict=True):
            shape = (int(plan.heights[i]), int(plan.widths[i]), plan.channels)
            state = int(self.states[i]) if self.files[i].startswith("/") else None
            if isinstance(got, GoneError):
                row.flag(i - first, schema.UNREADABLE | schema.GONE)
            elif isinstance(got, InputError):
                row.flag(i - first, schema.UNREADABLE)
            elif not _as_planned(*got, shape, state, plan):
                row.flag(i - first, schema.UNREADABLE | schema.GONE)
            else:
                row.put(i - first, int(plan.offsets[i]), got[0], got[1])
        return row.variables


def _planes_of(
    file: BinaryIO, *, decode: Callable[[bytes], Decoded]
) -> tuple[np.ndarray, np.ndarray | None, int | None]:
    """Return picture and mask, and of a file on disk its state once it is read."""
    data, name = file.read(), getattr(file, "name", None)
    image, mask = decode(data)
    if not isinstance(name, str):
        return image, mask, None
    if (notes := ledger.current()) is not None:
        notes.whole(name, data)
    stat = os.fstat(file.fileno())
    digest = state_of(os.path.basename(name), stat.st_size, str(stat.st_mtime_ns))
    return image, mask, int.from_bytes(digest[:8], "big") >> 1


def _as_planned(
    image: np.ndarray,
    mask: np.ndarray | None,
    state: int | None,
    shape: tuple[int, ...],
    state_listed: int | None,
    plan: Plan,
) -> bool:
    """Tell whether a picture is the one that was listed, and fits into its place."""
    same = None in (state, state_listed) or state == state_listed
    fits = mask is None or not plan.mask or np.can_cast(mask.dtype, plan.mask)
    return same and image.shape == shape and image.dtype == plan.dtype and fits


@dataclass
class _Row:
    """One block being filled."""

    variables: dict[str, np.ndarray]
    channels: int

    @classmethod
    def empty(cls, plan: Plan) -> "_Row":
        rows = _rows(plan).items()
        variables = {variable.name: np.zeros(length, dtype) for variable, (dtype, length) in rows}
        return cls(variables, plan.channels)

    def flag(self, slot: int, bit: int) -> None:
        self.variables["picture_flag"][slot] |= bit

    def put(self, slot: int, offset: int, image: np.ndarray, mask: np.ndarray | None) -> None:
        """Lay a picture and its mask into the row."""
        size = image.shape[0] * image.shape[1]
        place = slice(offset * self.channels, (offset + size) * self.channels)
        _turn(image, self.variables["pixels"][place])
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            self.flag(slot, 4)
        if mask is None or "mask_code" not in self.variables:
            return
        _code(mask, self.variables["mask_code"][offset : offset + size])
        value = _only_value(mask)
        if value is not None:
            self.variables["mask_value"][slot] = value
            return
        self.flag(slot, 2)
        _turn(
            mask.astype(self.variables["mask_pixels"].dtype), self.variables["mask_pixels"][place]
        )


def _turn(image: np.ndarray, out: np.ndarray) -> None:
    """Write (height, width, channels) as planes one after another."""
    height, width, channels = image.shape
    out.reshape(channels, height, width)[...] = image.transpose(2, 0, 1)


def _code(mask: np.ndarray, out: np.ndarray) -> None:
    """Write a mask as one number a pixel: bit k is set where channel k is not zero."""
    channels, bits = mask.shape[2], 8 * out.itemsize
    plain = mask if mask.dtype.itemsize == 1 and mask.dtype.kind in "bu" else mask != 0
    if channels < bits:
        plain, narrow = np.zeros((*mask.shape[:2], bits), plain.dtype), plain
        plain[..., :channels] = narrow
    packed = np.packbits(plain.reshape(-1), bitorder="little")
    out[...] = packed.view(out.dtype.newbyteorder("<"))


def _only_value(mask: np.ndarray) -> Any:
    """Return the one value of a mask besides 0; 0 if it is empty, None if there are several."""
    if mask.dtype.kind == "b":
        return bool(mask.any())
    value = mask.max()
    if mask.dtype.kind == "u" and value <= 1:
        return value
    if value == 0:
        value = mask.min()
    if mask.dtype.kind == "f":  # NaN and the zero with a sign must come back too
        restored = np.where(mask != 0, value, mask.dtype.type(0))
        return value if restored.tobytes() == mask.tobytes() else None
    return value if ((mask == value) | (mask == 0)).all() else None
