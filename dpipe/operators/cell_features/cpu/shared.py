"""What part of each channel lies where the masks of two channels meet; host only, with numba.

It works on packed pictures (``_cell_pictures.py`` says how they lie). Each pixel's code says which
masks hold it; sums and maxima are kept once a code, and pairs of masks add up codes.
"""

import numba
import numpy as np

N_SHARED = 3


@numba.njit(nogil=True, cache=True, error_model="numpy")
def shared(
    pixels: np.ndarray,
    codes: np.ndarray,
    offset: np.ndarray,
    height: np.ndarray,
    width: np.ndarray,
    strict: bool,
    out: np.ndarray,
) -> None:  # pragma: no cover
    """Write for each pair a < b and channel c the ratios of sums, means and maxima.

    A ratio is what lies in both masks over the whole masked channel: sums; means over all pixels
    of the picture; the maximum over that mean. A tiny number keeps empty channels at 0. `strict`
    takes means over the pixels of the masks, the maximum over the maximum, and gives NaN for
    nothing.
    """
    channels = out.shape[2]
    largest = max(1, (height * width).max())
    slots = 1
    while slots < 2 * largest:
        slots *= 2
    table = np.full(slots, -1, np.int64)  # place of a code in `codes_seen`
    codes_seen, used = np.empty(largest, np.int64), np.empty(largest, np.int64)
    sums, tops = np.empty((largest, channels)), np.empty((largest, channels))
    counts = np.empty(largest, np.int64)
    own_sums, top, size = np.empty(channels), np.empty(channels), np.empty(channels, np.int64)
    for r in range(offset.size):
        area = np.int64(height[r]) * np.int64(width[r])
        code = codes[offset[r] :][:area]
        n = _codes(
            pixels[offset[r] * channels :][: channels * area],
            code,
            channels,
            table,
            codes_seen,
            used,
            counts,
            sums,
            tops,
        )
        out[r], out[r, :, :, 2] = 0, -np.inf
        own_sums[:], top[:], size[:] = 0, -np.inf, 0
        for k in range(n):
            table[used[k]] = -1
            for c in range(channels):
                if (codes_seen[k] >> c) & 1:
                    own_sums[c] += sums[k, c]
                    top[c] = max(top[c], tops[k, c])
                    size[c] += counts[k]
            _meet(codes_seen[k], sums, tops, counts, k, out, r)
        for pair in range(out.shape[1]):
            for c in range(channels):
                total, count, largest = out[r, pair, c]
                here = out[r, pair, c]
                if strict:
                    here[0] = total / own_sums[c]
                    here[1] = (total / count) / (own_sums[c] / size[c]) if count else np.nan
                    here[2] = largest / top[c] if count else np.nan
                else:
                    if count < area:  # the rest of the masked channel is 0
                        largest = max(largest, 0.0)
                    mean = own_sums[c] / area + 1e-12
                    here[0] = total / (own_sums[c] + 1e-12)
                    here[1], here[2] = total / area / mean, largest / mean


@numba.njit(nogil=True, cache=True)
def _meet(
    code: int,
    sums: np.ndarray,
    tops: np.ndarray,
    counts: np.ndarray,
    k: int,
    out: np.ndarray,
    r: int,
) -> None:  # pragma: no cover
    """Add sums, counts and maxima of one code to all pairs of masks that it has."""
    channels, pair = sums.shape[1], 0
    for a in range(channels):
        if not (code >> a) & 1:
            pair += channels - 1 - a
            continue
        for b in range(a + 1, channels):
            if (code >> b) & 1:
                for c in range(channels):
                    if (code >> c) & 1:
                        out[r, pair, c, 0] += sums[k, c]
                        out[r, pair, c, 1] += counts[k]
                        out[r, pair, c, 2] = max(out[r, pair, c, 2], tops[k, c])
            pair += 1


@numba.njit(nogil=True, cache=True)
def _codes(
    planes: np.ndarray,
    code: np.ndarray,
    channels: int,
    table: np.ndarray,
    codes_seen: np.ndarray,
    used: np.ndarray,
    counts: np.ndarray,
    sums: np.ndarray,
    tops: np.ndarray,
) -> int:  # pragma: no cover
    """Sum and find the maximum of each channel of a code, over the pixels of that code."""
    area, n, start = code.size, 0, 0
    while start < area:
        here = code[start]
        end = start + 1
        while end < area and code[end] == here:
            end += 1
        if here:
            slot = (np.int64(here) * 2654435761) & (table.size - 1)
            while table[slot] >= 0 and codes_seen[table[slot]] != here:
                slot = (slot + 1) & (table.size - 1)
            k = table[slot]
            if k < 0:
                k = n
                n += 1
                table[slot], used[k], codes_seen[k], counts[k] = k, slot, here, 0
                sums[k], tops[k] = 0, -np.inf
            counts[k] += end - start
            for c in range(channels):
                if (here >> c) & 1:
                    run = planes[c * area + start : c * area + end]
                    total, largest = sums[k, c], tops[k, c]
                    for i in range(run.size):
                        v = np.float64(run[i])
                        total += v
                        largest = max(largest, v)
                    sums[k, c], tops[k, c] = total, largest
        start = end
    return n
