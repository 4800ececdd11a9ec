"""Whether spots that do not fit a movie would fit it in another unit: plain arrays and text.

It proposes and never changes: each line says what was found, what would fit and what to do.
"""

from dataclasses import dataclass

import numpy as np

_SLACK = 1e-3  # of a voxel: Imaris keeps places as float32
_LARGE = 100.0


@dataclass(frozen=True)
class Frame:
    """Where a movie lies: first centre, step and number of voxels along z, y, x; frame times."""

    origin: np.ndarray
    step: np.ndarray
    count: np.ndarray
    times: np.ndarray
    interval: float

    def inside(self, places: np.ndarray) -> np.ndarray:
        """Tell which places (n, 3) lie within the outer borders of the voxels."""
        voxels = (places - self.origin) / self.step
        with np.errstate(invalid="ignore"):
            within = (voxels >= -0.5 - _SLACK) & (voxels <= self.count - 0.5 + _SLACK)
        return within.all(axis=1)

    def exists(self, frame: np.ndarray) -> np.ndarray:
        """Tell which frames the movie has."""
        return (frame >= 0) & (frame < len(self.times))

    def off_time(self, seconds: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """Tell which times are more than half an interval from those of their frames."""
        off = np.zeros(len(frame), bool)
        timed = self.exists(frame) & ~np.isnan(seconds)
        off[timed] = abs(seconds[timed] - self.times[frame[timed]]) > self.interval / 2
        return off


def places(zyx: np.ndarray, movie: Frame, share: float) -> str:
    """Say in which unit nearly all places would lie in the image, if they do not as they are."""
    zyx = zyx[np.isfinite(zyx).all(axis=1)]
    outside = int(np.count_nonzero(~movie.inside(zyx)))
    if not len(zyx) or 1 - outside / len(zyx) >= share:
        return ""
    for readings in (_lengths(zyx, movie), _readings(zyx, movie)):
        fitting = [text for text, other in readings if movie.inside(other).mean() >= share]
        if fitting:
            break
    head = f"places: {outside} of {len(zyx)} lie outside the image"
    if not fitting:
        low, high = movie.origin - movie.step / 2, movie.origin + (movie.count - 0.5) * movie.step
        return (
            f"{head}, in any unit tried: they span {_span(zyx.min(axis=0), zyx.max(axis=0))}, the "
            f"image {_span(low, high)} (z, y, x in micrometres); are they of another movie?"
        )
    return f"{head}; they would fit {'; or '.join(fitting)}"


def _lengths(zyx: np.ndarray, movie: Frame) -> list[tuple[str, np.ndarray]]:
    """Return places in other units of length: a thousand times off, they fit by no chance."""
    readings = [
        (f"as {unit}: multiply them by {factor:,}", zyx * factor)
        for unit, factor in (("metres", 1_000_000), ("millimetres", 1000))
    ]
    if abs(zyx).max() > _LARGE * abs(movie.origin + movie.count * movie.step).max():
        readings.append(("as nanometres: divide them by 1,000", zyx / 1e3))
    return readings


def _readings(zyx: np.ndarray, movie: Frame) -> list[tuple[str, np.ndarray]]:
    """Return other ways to read places: what they would be and what to do; the places then."""
    spacing, origin = _listed(movie.step), _listed(movie.origin)
    readings = []
    if movie.origin.any():
        readings.append(
            (
                f"as micrometres from the first voxel: read the tracks with origin={origin}",
                zyx + movie.origin,
            )
        )
    readings.append(
        (
            f"as pixels: read the tracks with unit=pixel, spacing={spacing}, origin={origin}",
            movie.origin + zyx * movie.step,
        )
    )
    planes, flat = zyx.copy(), zyx.copy()
    planes[:, 0] = movie.origin[0] + zyx[:, 0] * movie.step[0]
    readings.append(
        (f"with z in planes: turn it into {movie.origin[0]:g} + z * {movie.step[0]:g}", planes)
    )
    if not zyx[:, 0].any():
        flat[:, 0] = movie.origin[0]
        readings.insert(0, ("with any z: all are 0, so the table has none; add it", flat))
    readings.append(("with x and y exchanged: exchange the columns", zyx[:, [0, 2, 1]]))
    return readings


def frames(frame: np.ndarray, movie: Frame, base: int | None) -> str:
    """Return a note on frames that are not in the movie, and on a reading by which all would be."""
    last = len(movie.times) - 1
    strange = int(np.count_nonzero(~movie.exists(frame)))
    if not strange:
        return ""
    low, high = int(frame.min()), int(frame.max())
    head = f"frames: {strange} of {len(frame)} are not in the movie: they run from {low} to {high}"
    head = f"{head}, its own from 0 to {last}"
    if low >= 1 and high == last + 1:
        again = "" if base is None else f": read the tracks with first_frame={base + 1}"
        return f"{head}; they would fit counted from 1{again}"
    step = movie.interval
    whole = np.rint(frame / step)
    if step > 1 and movie.exists(whole).all() and np.all(abs(frame - whole * step) <= 0.5):
        return f"{head}; they would fit as seconds: read the tracks by times, not frames"
    return f"{head}; are they of another movie, or is this one cut?"


def times(seconds: np.ndarray, frame: np.ndarray, movie: Frame, share: float) -> str:
    """Return a note on times that are not those of their frames, and on a shift that cures most."""
    timed = movie.exists(frame) & np.isfinite(seconds)
    frame, seconds = frame[timed], seconds[timed]
    off = int(np.count_nonzero(movie.off_time(seconds, frame)))
    if not len(frame) or 1 - off / len(frame) >= share:
        return ""
    head = f"times: {off} of {len(frame)} are not those of their frames"
    apart = seconds - movie.times[frame]
    shift = float(np.median(apart))
    if (abs(apart - shift) <= movie.interval / 2).mean() >= share:
        return f"{head}; they would fit {shift:+g} s later: does the movie start at {shift:g} s?"
    later = frame > 0
    step = float(np.median(seconds[later] / frame[later])) if later.any() else 0.0
    if step > 0 and (abs(seconds - frame * step) <= step / 2).mean() >= share:
        named = {
            1.0: "frames",
            movie.interval / 60: "minutes",
            movie.interval * 1e3: "milliseconds",
        }
        unit = next((f", as {u}" for k, u in named.items() if abs(step / k - 1) < 1e-2), "")
        return (
            f"{head}; they would fit an interval of {step:g} s{unit}; the movie's is "
            f"{movie.interval:g} s: set interval in one of the two"
        )
    return f"{head}; are they of another movie?"


def _listed(values: np.ndarray) -> str:
    return f"[{','.join(f'{value:g}' for value in values)}]"


def _span(low: np.ndarray, high: np.ndarray) -> str:
    return ", ".join(f"{a:g} to {b:g}" for a, b in zip(low, high, strict=True))
