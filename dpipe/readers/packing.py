"""Pictures of unlike size, packed into rows of a block each; every row is read by one task.

A `Plan` says which pictures lie where, from their facts alone. `Rows` reads the files of a block
and fills its row of every variable. Knows neither folders nor names of samples.
"""

import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import xarray as xr

from dpipe import compute, ledger, schema, sources
from dpipe.errors import GoneError, InputError

MOST, ROW_BYTES = 1024, 96 << 20
"""Pictures of a block: a power of two, at most so many, at most so many bytes of pixels."""
_LARGEST_ROW = 2**31 - 1
_CODES = ("|u1", "|u1", "<u2", "<u4", "<u4")
"""dtype of the mask code by the bytes that its bits take."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file says of its picture.

    Attributes
    ----------
    height, width, channels : int
        Its size.
    dtype, mask : str
        Of the picture and of its mask, "" for no mask.
    label : str or None
        None for none.
    odd : str
        What is to be said of its label, "" for nothing.
    """

    height: int
    width: int
    channels: int
    dtype: str
    mask: str = ""
    label: str | None = None
    odd: str = ""


Outcome = Facts | InputError
Decoded = tuple[np.ndarray, np.ndarray | None]
"""A picture (height, width, channels), and its mask."""


@dataclass(frozen=True)
class Plan:
    """Where each picture lies.

    Attributes
    ----------
    block : int
        Pictures of a block.
    heights, widths, offsets : numpy.ndarray
        Of each record; 0 by 0 where it was put aside.
    channels : int
        Of every picture.
    dtype, mask : str
        Of the pixels, and of the masks that are packed as pixels; "" where there are no masks.
    places : int
        Length of a row, in pixels of one plane.
    """

    block: int
    heights: np.ndarray = field(repr=False)
    widths: np.ndarray = field(repr=False)
    offsets: np.ndarray = field(repr=False)
    channels: int
    dtype: str
    mask: str
    places: int

    @property
    def count(self) -> int:
        """Number of blocks."""
        return -(-len(self.heights) // self.block)


def state_of(name: str, size: int, etag: str) -> bytes:
    """Return a digest of 256 bits that changes when a file's name, size or etag does."""
    return hashlib.sha256(f"{name}\0{size}\0{etag}".encode(errors="replace")).digest()


def judge(
    outcomes: Sequence[Outcome], names: Sequence[str]
) -> tuple[list[Facts | None], list[str]]:
    """Return the facts of sound pictures, and reasons against the others.

    Pictures of a part have one number of channels and one dtype: those of most of them.

    Parameters
    ----------
    outcomes : sequence of Facts or InputError
        One of each file.
    names : sequence of str
        The files' names, for messages.

    Returns
    -------
    tuple of (list of Facts or None, list of str)
        The facts of the sound ones, and a reason for each other ("" for sound ones).

    Raises
    ------
    InputError
        None is sound.
    """
    sound = [outcome for outcome in outcomes if isinstance(outcome, Facts)]
    if not sound:
        raise InputError(
            f"none of {len(outcomes)} pictures can be read; the first: {names[0]}: {outcomes[0]}"
        )
    usual = Counter((outcome.channels, outcome.dtype) for outcome in sound).most_common(1)[0][0]
    facts: list[Facts | None] = []
    reasons = []
    for outcome in outcomes:
        reason = ""
        if isinstance(outcome, InputError):
            reason = str(outcome)
        elif outcome.channels != usual[0]:
            reason = f"{outcome.channels} channels; most pictures beside it have {usual[0]}"
        elif outcome.dtype != usual[1]:
            kinds = [np.dtype(kind).name for kind in (outcome.dtype, usual[1])]
            reason = f"image of {kinds[0]}; most pictures beside it have {kinds[1]}"
        facts.append(None if reason else outcome)  # type: ignore[arg-type]
        reasons.append(reason)
    return facts, reasons


def odd_labels(names: Sequence[str], facts: Sequence[Facts | None]) -> list[str]:
    """Return a line on each oddity of labels: how many pictures have it, and the first."""
    odd: dict[str, list[str]] = {}
    for name, picture in zip(names, facts, strict=True):
        if picture and picture.odd:
            odd.setdefault(picture.odd, []).append(name)
    return [
        f"{len(files)} pictures: {text}; the first is {files[0]}" for text, files in odd.items()
    ]


def channels_first(facts: Sequence[Facts | None]) -> list[str]:
    """Return a line if all pictures have more channels than rows: they may stand first."""
    sound = [picture for picture in facts if picture is not None]
    if not sound or any(picture.channels <= picture.height for picture in sound):
        return []
    picture = sound[0]
    size = f"{picture.height} rows, {picture.width} columns and {picture.channels} channels"
    return [
        f"pictures of {size}: an image is read as (height, width, channels); if its channels stand "
        "first, write it anew"
    ]


def plan(facts: Sequence[Facts | None], block: int = 0) -> Plan:
    """Lay pictures out one after another, in their order.

    Parameters
    ----------
    facts : sequence of Facts or None
        None takes no place.
    block : int
        Pictures of a block; 0 chooses by their size.
    """
    sound = [picture for picture in facts if picture is not None]
    heights = np.array([picture.height if picture else 0 for picture in facts], np.int64)
    widths = np.array([picture.width if picture else 0 for picture in facts], np.int64)
    channels, dtype = sound[0].channels, sound[0].dtype
    masks = sorted({picture.mask for picture in sound if picture.mask})
    sizes = heights * widths
    bytes_of_one = float(sizes.sum()) / len(sound) * channels * np.dtype(dtype).itemsize
    if not block:
        block = min(MOST, 1 << max(0, int(ROW_BYTES / bytes_of_one).bit_length() - 1))
    block = max(1, min(block, len(facts)))
    ends = np.cumsum(sizes)
    starts = np.arange(0, len(facts), block)
    before = np.concatenate([[0], ends])
    offsets = before[:-1] - np.repeat(before[starts], np.diff([*starts, len(facts)]))
    places = int((before[np.append(starts[1:], len(facts))] - before[starts]).max())
    if places * channels > _LARGEST_ROW:
        raise InputError(f"a block of {block} pictures has {places} places; set a smaller block")
    if channels > 32:
        raise InputError(
            f"{channels} channels; at most 32 can be packed. A picture is (height, width, channels)"
        )
    mask = _common(masks)
    return Plan(block, heights, widths, offsets, channels, dtype, mask, places)


def _common(masks: Sequence[str]) -> str:
    """Return the dtype that holds the values of all masks exactly."""
    if not masks:
        return ""
    common = np.result_type(*masks)
    whole = all(np.dtype(mask).kind in "iub" for mask in masks)
    if whole and common.kind == "f":  # NumPy's way out for uint64 beside signed integers
        raise InputError(f"masks of {', '.join(masks)}, which no dtype holds all; convert them")
    return common.str


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
class Rows:
    """Reads blocks: all variables of one at once, since they come from the same files.

    Attributes
    ----------
    files : sequence of str
        URI of each record.
    plan : Plan
        Where each lies.
    states : numpy.ndarray
        Of each file when it was listed (the first 63 bits of `state_of`); one on disk that is
        another when it is read counts as unreadable.
    decode : callable, optional
        ``decode(data)`` returns the picture of a file's bytes, (height, width, channels), and its
        mask or None.
    """

    files: Sequence[str]
    plan: Plan
    states: np.ndarray = field(repr=False)
    decode: Callable[[bytes], Decoded] = field(repr=False)
    _blocks: dict[int, tuple[int, dict[str, np.ndarray]]] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_blocks": {}}

    def variables(self) -> dict[str, xr.DataArray]:
        """Return the lazy variables of the vocabulary; a lazy block is a row."""
        variables: dict[str, xr.DataArray] = {}
        for variable, (dtype, length) in _rows(self.plan).items():
            read = partial(self.read, variable.name)
            array = compute.blocks.lazy(read, (self.plan.count, length), dtype, (1, length))
            flags = {}
            if variable is schema.PICTURE_FLAG:
                masks = [1 << i for i in range(len(schema.PICTURE_FLAGS))]
                flags = {"flag_masks": masks, "flag_meanings": " ".join(schema.PICTURE_FLAGS)}
            variables |= variable.wrap(xr.DataArray(array, dims=variable.dims), **flags)
        return variables

    def read(self, name: str, region: compute.blocks.Region) -> np.ndarray:
        """Return a region of one variable; the others of its block wait for the same thread."""
        rows, thread = [], threading.get_ident()
        for number in range(region[0].start, region[0].stop):
            last, block = self._blocks.pop(thread, (number, {}))
            if last != number or name not in block:
                block = self._fill(number)
            rows.append(block.pop(name)[region[1]])
            if block:
                self._blocks[thread] = number, block
        if len(rows) == 1:
            return rows[0][np.newaxis]
        dtype = _rows(self.plan)[schema.VARIABLES[name]][0]
        return np.stack(rows) if rows else np.empty((0, region[1].stop - region[1].start), dtype)

    def _fill(self, number: int) -> dict[str, np.ndarray]:
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
