"""Crops around events: dpipe's windows against decoding the chunks that they touch, and no more."""

import math
from collections.abc import Callable
from functools import partial
from unittest import mock

import numpy as np
import xarray as xr
from _side_by_side import Line, by_turns, line
from zarr.codecs import BloscCodec

import dpipe
from dpipe import schema
from dpipe.compute import blocks

WINDOW = 59
Draw = Callable[[int, int], np.ndarray]


def drawn(region: blocks.Region, *, draw: Draw) -> np.ndarray:
    """Draw a region of a movie of one channel."""
    frames = range(region[0].start, region[0].stop)
    return np.stack([draw(t, 0)[None] for t in frames])[(slice(None), *region[1:])]


def spots(track: np.ndarray, frame: np.ndarray, volume: tuple[int, ...]) -> xr.Dataset:
    """Put spots anywhere in a movie of voxels of one micrometre."""
    places = np.random.default_rng(0).uniform(0, 1, (3, track.size)) * np.array(volume)[:, None]
    ds = xr.Dataset({f"spot_{d}": ("spot", place) for d, place in zip("zyx", places, strict=True)})
    return ds.assign_coords(track=("spot", track), frame=("spot", frame))


def compute(ds: xr.Dataset) -> np.ndarray:
    (name,) = map(str, ds.data_vars)
    return blocks.compute_region(ds, [name], {})[name]


def check(ds: xr.Dataset, crops: xr.Dataset) -> None:
    """Compare some crops with slices of a padded frame, and count what is decoded for all."""
    count, decode = 0, BloscCodec._decode_sync

    def counting(*args: object) -> object:
        nonlocal count
        count += 1
        return decode(*args)  # type: ignore[arg-type]

    with mock.patch.object(BloscCodec, "_decode_sync", counting):
        found = compute(crops)
    frames = np.unique(crops["crop_frame"])
    pieces = ds["image"].encoding["chunks"]
    cuts = zip(ds["image"].shape, pieces, strict=True)
    assert count <= math.prod(-(-n // k) for n, k in cuts), "a chunk was decoded twice"
    for t in frames[:2]:
        flat = np.pad(ds["image"][int(t), 0].max("z").values, WINDOW)
        for event, k in np.argwhere(crops["crop_frame"].values == t):
            middle = [float(crops[f"crop_{d}"][event, k]) + WINDOW for d in "yx"]
            box = tuple(
                slice(round(at) - WINDOW // 2, round(at) + WINDOW // 2 + 1) for at in middle
            )
            np.testing.assert_array_equal(found[event, k, 0], flat[box])


def cropping(
    place: str, draw: Draw, *, volume: tuple[int, int, int], frames: int, count: int, turns: int
) -> list[Line]:
    """Measure crops of a stored movie of one channel: frames alone, and tracks over all frames."""
    shape = (frames, 1, *volume)
    pixels = blocks.lazy(partial(drawn, draw=draw), shape, "u2", (1, 1, *volume))
    dpipe.save(schema.movie(pixels, interval=30), place, "movie", message="for crops")
    ds = dpipe.open(place, "movie")
    assert isinstance(ds, xr.Dataset)
    tracks = count // frames
    n = np.arange(count)
    alone = spots(n, n % frames, volume)
    follow = spots(np.repeat(np.arange(tracks), frames), np.tile(np.arange(frames), tracks), volume)
    wholes = [{"t": slice(t, t + 1)} for t in range(frames)]
    lines = []
    for what, table in ((f"{count} crops", alone), (f"{tracks} tracks, crops", follow)):
        crops = dpipe.track_crops(ds, table, window=WINDOW)
        check(ds, crops)
        took = by_turns(
            {
                "decode": lambda: [blocks.compute_region(ds, ["image"], t) for t in wholes],
                "dpipe": partial(compute, crops),
            },
            turns,
        )
        measured = f"{what} of {WINDOW} x {WINDOW} over {frames} frames"
        ratio = took["dpipe"] / took["decode"]
        lines.append(
            line(measured, "decoding the chunks they touch", ratio, " x its time", most=1.3)
        )
    return lines
