"""Pictures of unlike size, packed into rows of a block each; every row is read by one task.

A `Plan` says which pictures lie where, from their facts alone. `BlockRows` reads rows of all
variables of a block at once. Knows neither formats nor folders.
"""

import hashlib
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import xarray as xr

from dpipe import compute, schema
from dpipe.errors import InputError, UsageError

MOST, ROW_BYTES = 1024, 96 << 20
"""Pictures of a block: a power of two, at most so many, at most so many bytes of pixels."""
_LARGEST_ROW = 2**31 - 1


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


def channel_names(given: Sequence[str] | str | None, count: int) -> list[str]:
    """Return names of channels as they were given, or Ch1, Ch2, ...

    Raises
    ------
    UsageError
        Another number of names, or one twice.
    """
    parts = given.split(",") if isinstance(given, str) else given or []
    names = [str(part).strip() for part in parts] or [f"Ch{i + 1}" for i in range(count)]
    if len(names) != count or len(set(names)) != count:
        raise UsageError(f"channels: {', '.join(names)}; the pictures have {count} channels")
    return names


class BlockRows(ABC):
    """Variables of packed pictures, read block by block: all of one block at once.

    Who inherits it says which variables there are (`rows`) and fills those of a block (`fill`).
    What is read of a block and not asked for yet waits for the thread that read it.

    Attributes
    ----------
    plan : Plan
        Where each picture lies.
    """

    plan: Plan
    _blocks: dict[int, tuple[int, dict[str, np.ndarray]]]

    @abstractmethod
    def rows(self) -> dict[schema.Variable, tuple[str, int]]:
        """Return dtype and length of a row of each variable."""

    @abstractmethod
    def fill(self, number: int) -> dict[str, np.ndarray]:
        """Return the rows of one block by the names of their variables."""

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_blocks": {}}

    def variables(self) -> dict[str, xr.DataArray]:
        """Return the lazy variables of the vocabulary; a lazy block is a row."""
        variables: dict[str, xr.DataArray] = {}
        for variable, (dtype, length) in self.rows().items():
            read = partial(self.read, variable.name)
            array = compute.blocks.lazy(read, (self.plan.count, length), dtype, (1, length))
            flags = {}
            if names := _FLAGS.get(variable.name):
                masks = [1 << i for i in range(len(names))]
                flags = {"flag_masks": masks, "flag_meanings": " ".join(names)}
            variables |= variable.wrap(xr.DataArray(array, dims=variable.dims), **flags)
        return variables

    def read(self, name: str, region: compute.blocks.Region) -> np.ndarray:
        """Return a region of one variable; the others of its block wait for the same thread."""
        rows, thread = [], threading.get_ident()
        for number in range(region[0].start, region[0].stop):
            last, block = self._blocks.pop(thread, (number, {}))
            if last != number or name not in block:
                block = self.fill(number)
            rows.append(block.pop(name)[region[1]])
            if block:
                self._blocks[thread] = number, block
        if len(rows) == 1:
            return rows[0][np.newaxis]
        dtype = self.rows()[schema.VARIABLES[name]][0]
        return np.stack(rows) if rows else np.empty((0, region[1].stop - region[1].start), dtype)


_FLAGS = {
    schema.PICTURE_FLAG.name: schema.PICTURE_FLAGS,
    schema.LABEL_FLAG.name: schema.LABEL_FLAGS,
}
