"""Crops for tests: windows of noise, with all that is known of them."""

import dask.array as da
import numpy as np
import xarray as xr

CHANNELS = ("GFP", "DiD")


def crops(
    stem="Neu1", labels=(1, 1, 0), frames=4, depth=0, size=5, dtype="u2", chunks=None, seed=0
):
    """Crops of one movie; the last frame of each lies beyond the movie."""
    n = len(labels)
    shape = (n, frames, 2, *([depth] if depth else []), size, size + 1)
    pixels = np.random.default_rng(seed).integers(1, 200, shape).astype(dtype)
    pixels[:, -1] = 0
    dims = ("event", "t", "c", *(["z"] if depth else []), "y", "x")
    data = pixels if chunks is None else da.from_array(pixels, chunks=chunks)
    places = np.tile(np.r_[2 : frames + 1, -1], (n, 1))
    steps = {"t": 30.0, "z": 2.0, "y": 0.5, "x": 0.25}
    coords = {
        dim: (dim, (np.arange(size_) - size_ // 2) * steps[dim], {"spacing": steps[dim]})
        for dim, size_ in zip(dims, shape, strict=True) if dim in steps
    }  # fmt: skip
    return xr.Dataset(
        {"crop_volume" if depth else "crop": (dims, data)},
        coords | {
            "event": [f"{stem}_cell{i + 1}" for i in range(n)],
            "c": list(CHANNELS),
            "label": ("event", np.array(labels, np.int64)),
            "kind": ("event", np.array(["event" if label else "cell" for label in labels], str)),
            "event_track": ("event", np.arange(n) - 1),
            "event_channel": ("event", np.array((["ch2", "DiD,GFP", "GFP"] * n)[:n], str)),
            "movie": ("event", np.array([stem] * n, str)),
            "crop_frame": (("event", "t"), places),
            "crop_phase": (("event", "t"), (places % 3).astype("u1")),
            "crop_inside": (("event", "t"), np.where(places < 0, 0.0, 1.0)),
        },
    )  # fmt: skip
