"""Cut windows of one size around places, also where they reach beyond the picture.

It knows voxels and how lengths become voxels; it knows nothing of tracks, frames or files.
"""

import math
from collections.abc import Sequence
from typing import Any

from dpipe.compute import beside, namespace
from dpipe.errors import UsageError
from dpipe.operators.parameters import check_whole


def crop(
    stack: Any, centre: Sequence[float], size: Sequence[int | None], fill: float = 0
) -> tuple[Any, float]:
    """Cut a window around a place; what lies beyond the borders is filled.

    The window starts at the voxel nearest to centre - (size - 1) / 2, halves up, so an odd one
    has the voxel nearest to the place in its middle, and an even one the place between its two
    middle voxels or half a voxel off.

    Parameters
    ----------
    stack : array, shape (..., *window's axes)
        Any dtype; the first axes stay whole.
    centre : sequence of float
        Place in voxels along the last axes; whole numbers are centres of voxels.
    size : sequence of int or None
        Voxels of the window along these axes; None takes an axis as it is.
    fill : float
        Value beyond the borders; the dtype must be able to hold it.

    Returns
    -------
    window : array, shape (..., *size)
        Of the stack's kind and dtype; a copy.
    inside : float
        Share of the window that lies within the stack, 0 to 1.

    Raises
    ------
    UsageError
        Lengths that do not fit, a place that is no number, a fill value that does not fit.
    """
    axes = len(size)
    if len(centre) != axes or stack.ndim < axes:
        raise UsageError(
            f"crop: {len(centre)} numbers of a place and {axes} of a window for "
            f"{stack.ndim} axes; expected as many, for the last axes"
        )
    lead = stack.ndim - axes
    shape, take, put = list(stack.shape), [slice(None)] * lead, [slice(None)] * lead
    inside = 1.0
    for axis, (middle, extent) in enumerate(zip(centre, size, strict=True), lead):
        length = stack.shape[axis]
        start, count = (0, length) if extent is None else (_start(middle, extent), int(extent))
        low = min(max(start, 0), length)
        high = max(min(start + count, length), low)
        shape[axis] = count
        take.append(slice(low, high))
        put.append(slice(low - start, high - start) if high > low else slice(0, 0))
        inside *= (high - low) / count if count else 1.0
    xp = namespace(stack)
    window = xp.full(tuple(shape), _fitting(fill, stack), dtype=stack.dtype, **beside(stack))
    if inside:
        window[tuple(put)] = stack[tuple(take)]
    return window, inside


def voxels(lengths: Sequence[float | None], spacing: Sequence[float]) -> tuple[int | None, ...]:
    """Turn the sizes of a window in micrometres into odd numbers of voxels.

    The middle voxel, and as many on each side as have their centre within half the length.

    >>> voxels((None, 20.0, 20.0), (2.0, 0.5, 0.4))
    (None, 41, 51)
    """
    sizes: list[int | None] = []
    for length, step in zip(lengths, spacing, strict=True):
        if length is None:
            sizes.append(None)
        elif 0 < length < math.inf and 0 < step < math.inf:
            sizes.append(2 * math.floor(length / step / 2 * (1 + 1e-9)) + 1)  # 0.6 / 0.1 is 5.9..
        else:
            raise UsageError(f"window of {length} over voxels of {step}; expected lengths above 0")
    return tuple(sizes)


def index(
    place: Sequence[float], origin: Sequence[float], spacing: Sequence[float]
) -> tuple[float, ...]:
    """Turn a place in micrometres into voxels: 0 at the centre of the first.

    >>> index((4.0, 1.25), origin=(2.0, 1.0), spacing=(2.0, 0.5))
    (1.0, 0.5)
    """
    axes = zip(place, origin, spacing, strict=True)
    return tuple((where - first) / step for where, first, step in axes)


def _start(middle: float, count: int) -> int:
    check_whole("window", count, 1, "a whole number of voxels above 0")
    if not math.isfinite(middle):
        raise UsageError(f"place: found {middle}; expected a number of voxels")
    return math.floor(middle - (count - 1) / 2 + 0.5)


def _fitting(fill: float, stack: Any) -> Any:
    xp = namespace(stack)
    if xp.isdtype(stack.dtype, "integral"):
        limits = xp.iinfo(stack.dtype)
        if not limits.min <= fill <= limits.max or fill != int(fill):
            raise UsageError(f"fill: found {fill}; {stack.dtype} cannot hold it")
        return int(fill)
    return fill
