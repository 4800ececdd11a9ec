"""Where and when crops lie: which events a movie shows, and the place of every window.

It knows frames, voxels and the counts that must add up; it knows no pixels and no parameters.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dpipe.operators.crops.events import Clip, Event
from dpipe.operators.crops.windows import Size, Where
from dpipe.operators.surfaces.places import Grid

_FAR = 1 << 30


class Box(NamedTuple):
    """First voxels (..., 3) of windows, and between which voxels of the image they are not filled.

    What lies from `low` on and before `high` is shown; `start` may lie beyond the image.
    """

    start: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def filled_like(self, other: "Box") -> "Box":
        """Fill these windows wherever others are filled."""
        low, high = other.low - other.start, other.high - other.start
        return Box(
            self.start,
            np.maximum(self.low, self.start + low).astype(np.int32),
            np.minimum(self.high, self.start + high).astype(np.int32),
        )

    def covers(self, other: "Box") -> bool:
        """Tell whether these windows lie in the image as far as others."""
        low, high = self.low - self.start, self.high - self.start
        less = (low > other.low - other.start) | (high < other.high - other.start)
        return not less.any()


class Shown(NamedTuple):
    """What a movie shows, and through windows of which size (None: all planes)."""

    numbers: np.ndarray
    grid: Grid
    sizes: tuple[int, ...]
    window: Size
    flat: bool

    def voxel(self, places: np.ndarray) -> np.ndarray:
        """Turn places (..., 3) in micrometres into voxels; 0 is the centre of the first."""
        return (places - np.asarray(self.grid.origin)) / np.asarray(self.grid.spacing)

    @property
    def axes(self) -> list[int]:
        """The axes along which a window is limited."""
        return [axis for axis, n in enumerate(self.window) if n is not None]

    def windows(self, places: np.ndarray) -> Box:
        """Place a window around each of some places (..., 3)."""
        size = np.asarray([n or whole for n, whole in zip(self.window, self.sizes, strict=True)])
        corner = np.floor(self.voxel(places) - (size - 1) / 2 + 0.5)
        corner[..., [axis for axis, n in enumerate(self.window) if n is None]] = 0
        start = np.clip(np.nan_to_num(corner), -_FAR, _FAR).astype(np.int32)
        sizes = np.asarray(self.sizes)
        low = np.clip(start, 0, sizes).astype(np.int32)
        high = np.maximum(np.clip(start + size, 0, sizes), low).astype(np.int32)
        return Box(start, low, high)

    def holds(self, places: np.ndarray) -> np.ndarray:
        """Tell which places (n, 3) lie in a voxel of the image, along the limited axes."""
        voxels = self.voxel(places)[:, self.axes]
        return ((voxels >= -0.5) & (voxels < np.asarray(self.sizes)[self.axes] - 0.5)).all(axis=1)


def seen(
    events: Sequence[Event], shown: Shown, length: int | None
) -> tuple[list[Event], dict[str, Any]]:
    """Return the events that the movie shows; count all spots by what becomes of them."""
    spots = dict.fromkeys(("shown", "outside_image", "beyond_movie", "cut", "without_place"), 0)
    placed, left_out = [], {}
    for event in events:
        fates = {"without_place": ~np.isfinite(event.places[:, shown.axes]).all(axis=1)}
        if length is not None:
            fates["cut"] = event.frames >= event.frames[0] + length
        fates["beyond_movie"] = ~np.isin(event.frames, shown.numbers)
        fates["outside_image"] = ~shown.holds(event.places)
        remaining = np.full(len(event.frames), True)
        why = []
        for fate, struck in fates.items():
            spots[fate] += int(event.spots[remaining & struck].sum())
            why += [fate.replace("_", " ")] if (remaining & struck).any() else []
            remaining &= ~struck
        spots["shown"] += int(event.spots[remaining].sum())
        if remaining.any():
            placed.append(event)
        else:
            left_out[event.name] = ", ".join(why)
    return placed, {"events": len(events), "left_out": left_out, "spots": spots}


def clips(
    event: Event, shown: Shown, frames: str, around: tuple[int, int], length: int | None
) -> list[Clip]:
    """Return the crops of an event: one, or one for each frame whose spot the movie shows."""
    before, after = around
    first, last = int(event.frames[0]), int(min(event.frames[-1], shown.numbers.max()))
    count = last - first + 1  # what is said of frames beyond the movie makes no crop longer
    if frames == "sequence":
        count = count if length is None else min(count, length)
        return [Clip(event.name, "event", event, first - before, count + before + after)]
    visible = shown.holds(event.places) & np.isin(event.frames, shown.numbers)
    return [
        Clip(f"{event.name}_frame{f}", "event", event, f - before, 1 + before + after)
        for f in event.frames[visible].tolist()
    ]


class Laid(NamedTuple):
    """Crops over (event, t): frames, spots, where the windows stand, and the share inside."""

    frame: np.ndarray
    spots: np.ndarray
    place: np.ndarray
    where: Where
    inside: np.ndarray


def lay(crops: Sequence[Clip], times: int, shown: Shown) -> Laid:
    """Lay crops side by side: the t-th frame of each, up to so many.

    A negative shows frames and is filled where the event is that it is like, so that neither how
    many frames it has nor its borders tell what it is.
    """
    order = np.argsort(shown.numbers, kind="stable")
    frame = np.full((len(crops), times), -1, np.int64)
    spots = np.zeros((len(crops), times), np.uint32)
    place = np.full((len(crops), times, 3), np.nan)
    for i, crop in enumerate(crops):
        numbers = crop.start + np.arange(min(crop.length, times))
        frame[i, : len(numbers)] = numbers
        place[i, : len(numbers)] = crop.event.at(numbers)
        _, column, which = np.intersect1d(numbers, crop.event.frames, return_indices=True)
        spots[i, column] = crop.event.spots[which]
    visible = np.isin(frame, shown.numbers)
    row = {crop.name: i for i, crop in enumerate(crops)}
    like = np.asarray([row.get(crop.like, i) for i, crop in enumerate(crops)], int)
    visible &= visible[like]
    nearest = np.searchsorted(shown.numbers, frame, sorter=order)
    position = np.where(
        visible, order[np.minimum(nearest, len(order) - 1)] if len(order) else 0, -1
    )
    box = shown.windows(place)
    box = box.filled_like(Box(*(side[like] for side in box)))
    size = np.asarray([n or whole for n, whole in zip(shown.window, shown.sizes, strict=True)])
    overlap = np.clip(box.high - box.low, 0, None)
    inside = np.where(visible, np.prod(overlap / np.maximum(size, 1), axis=-1), 0.0)
    origin, spacing = (np.asarray(three) for three in shown.grid)
    middle = origin + (box.start + (size - 1) / 2) * spacing
    if shown.flat and shown.window[0] is None:  # there is no window along z, but a place
        middle[..., 0] = place[..., 0]
    middle[~visible] = np.nan
    frame[~visible] = -1
    spots[~visible] = 0
    return Laid(frame, spots, middle, Where(position.astype(np.int32), *box), inside)
