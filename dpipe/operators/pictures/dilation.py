"""Dilation and closing of a mask by a disk, on any kind of array.

A disk is a stack of rows: the mask is widened along x once for each width of a row, and the rows
are laid over each other, so a radius of 5 takes 21 shifts instead of 81.
"""

from math import isqrt
from typing import Any

from dpipe.compute import namespace


def dilated(mask: Any, radius: int) -> Any:
    """Return a mask (y, x) with every pixel at most `radius` pixels from it."""
    height = mask.shape[0]
    widened = [mask]
    for shift in range(1, radius + 1):
        widened.append(_beside(widened[-1], mask, shift))
    out = namespace(mask).zeros_like(mask)
    for dy in range(-radius, radius + 1):
        row = widened[isqrt(radius * radius - dy * dy)]
        low, high = max(0, dy), min(height, height + dy)
        if low < high:
            out[low:high, :] |= row[low - dy : high - dy, :]
    return out


def closed(mask: Any, radius: int) -> Any:
    """Return a mask closed by a disk: what is dilated onto the border stays, as in scikit-image."""
    return ~dilated(~dilated(mask, radius), radius)


def _beside(widened: Any, mask: Any, shift: int) -> Any:
    """Add the mask shifted to both sides."""
    out = widened | mask  # a new array
    if shift < mask.shape[1]:
        out[:, shift:] |= mask[:, :-shift]
        out[:, :-shift] |= mask[:, shift:]
    return out
