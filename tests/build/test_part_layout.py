"""Outlines: cells own every value once, and nothing is computed for them."""

import json
import math
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from dpipe import schema
from dpipe.build import PartLayout, base_of, lay_out
from dpipe.build.part_layout import SMALL, Grid
from dpipe.errors import SchemaError
from dpipe.storage import chunking

BASE = base_of("leuko", "Neu-1", "3fa9c1d2e0b4")


def lazy(shape: tuple[int, ...], dtype: str = "u2", chunks: Any = None) -> da.Array:
    return da.zeros(shape, dtype=dtype, chunks=chunks or (1,) * (len(shape) - 2) + shape[-2:])


def movie(shape: tuple[int, ...] = (97, 3, 12, 512, 512)) -> xr.Dataset:
    return schema.movie(lazy(shape), spacing=(2, 0.5, 0.5), interval=30)


def outline(ds: xr.Dataset, **said: Any) -> PartLayout:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        return lay_out(ds, BASE, **said)


# ------------------------------------------------------------------------------------- kinds


def test_a_movie_is_an_ome_zarr_part() -> None:
    laid = outline(movie())
    assert laid.path == "parts/leuko/Neu-1-3fa9c1d2e0b4.ome.zarr"
    assert [array.path for array in laid.arrays] == ["0/image", "1/image"]
    (image,) = laid.documents["zarr.json"]["attributes"]["ome"]["multiscales"]
    assert image["name"] == "Neu-1"
    assert [d["path"] for d in image["datasets"]] == ["0/image", "1/image"]
    assert laid.small == ()
    assert laid.summary == {
        "variables": ["image"],
        "sizes": {"t": 97, "c": 3, "z": 12, "y": 512, "x": 512},
        "dtype": "uint16",
        "levels": 2,
        "bytes": 97 * 3 * 12 * (512 * 512 + 256 * 256) * 2,
        "spacing": {"t": 30.0, "z": 2.0, "y": 0.5, "x": 0.5},
    }
    assert not any(key.endswith("zarr.json") for key in laid.coordinates)


def test_lines_for_people_travel_with_the_summary() -> None:
    said = {"assumed": ["a\nb"], "verdict": [], "notes": "one", "corrected": 7, "other": ["no"]}
    assert outline(movie().assign_attrs(said)).summary["notes"] == ["one", "a b"]
    many = outline(movie().assign_attrs(notes=["x" * 999] * 25)).summary["notes"]
    assert [len(line) for line in many[:20]] == [300] * 20
    assert many[20:] == ["... and 5 more, in its attributes"]


def test_labels_name_their_image() -> None:
    labels = xr.Dataset({"labels": (("t", "z", "y", "x"), lazy((2, 3, 40, 50), "u4"))})
    ome = outline(labels.assign_attrs(source_image="../x.ome.zarr")).documents["zarr.json"]
    assert ome["attributes"]["ome"]["image-label"] == {"source": {"image": "../x.ome.zarr"}}
    both = movie((2, 1, 3, 40, 50)).assign(labels.variables)
    assert "image-label" not in outline(both).documents["zarr.json"]["attributes"]["ome"]


@pytest.mark.parametrize(
    "ds",
    [
        xr.Dataset({"frame_snr": (("t", "c"), lazy((4, 2), "f8"))}),
        xr.Dataset({"image": (("record", "y", "x"), lazy((4, 9, 9)))}),
        xr.Dataset({"image": (("x", "y"), lazy((9, 9)))}),
        xr.Dataset({"mask": (("y", "x"), lazy((9, 9), "?"))}),
        xr.Dataset({"image": (("w", "y", "x"), lazy((4, 9, 9)))}),
    ],
    ids=["table", "records", "turned", "truth", "unknown-axis"],
)
def test_what_is_no_image_is_plain_zarr(ds: xr.Dataset) -> None:
    laid = outline(ds)
    assert laid.suffix == ".zarr"
    assert {array.path for array in laid.arrays} == set(ds.data_vars)
    assert "ome" not in laid.documents["zarr.json"]["attributes"]


def test_nothing_is_no_part() -> None:
    with pytest.raises(SchemaError, match="a part needs at least one variable; found none"):
        lay_out(xr.Dataset(coords={"t": [1]}), BASE)


@pytest.mark.parametrize(("wanted", "levels"), [(None, 2), (1, 1), (4, 4), (99, 10)])
def test_levels(wanted: int | None, levels: int) -> None:
    laid = outline(movie((1, 1, 1, 300, 301)), levels=wanted)
    assert laid.summary["levels"] == levels == len(laid.arrays)
    assert (
        len(laid.documents["zarr.json"]["attributes"]["ome"]["multiscales"][0]["datasets"])
        == levels
    )


def test_no_levels_are_refused() -> None:
    with pytest.raises(SchemaError, match="levels: found 0; expected at least 1"):
        outline(movie((1, 1, 1, 300, 301)), levels=0)


def test_an_outline_survives_json() -> None:
    laid = outline(movie((2, 1, 3, 40, 50)), free=["t"])
    again = PartLayout.from_dict(json.loads(json.dumps(laid.to_dict())))
    assert again.coordinates == {}
    assert again.to_dict() == laid.to_dict()
    assert (again.grid, again.arrays) == (laid.grid, laid.arrays)
    document = json.loads(laid.document("0/image/zarr.json"))
    assert document == laid.documents["0/image/zarr.json"]


# -------------------------------------------------------------------------------------- cells


@pytest.mark.parametrize(
    ("ds", "free", "dims", "steps"),
    [
        # a frame of one channel is a shard
        pytest.param(movie(), None, "tczyx", (1, 1, 12, 512, 512), id="movie"),
        pytest.param(movie(), ("t",), "t", (1,), id="free-t"),
        pytest.param(movie(), (), "", (), id="free-nothing"),
        # 120 KiB a frame: 32 frames of 34 that fit make a shard
        pytest.param(movie((97, 2, 3, 200, 100)), None, "tczyx", (32, 1, 3, 200, 100), id="small"),
        # labels lack c: they belong to the cells of the first channel
        pytest.param(
            movie().assign(labels=(("t", "z", "y", "x"), lazy((97, 12, 512, 512), "u4"))),
            None, "tczyx", (1, 1, 12, 512, 512), id="labels",
        ),
        # a number, or names in memory, do not make one cell of a movie
        pytest.param(
            movie().assign(voxel=((), 2.0)), None, "tczyx", (1, 1, 12, 512, 512), id="number",
        ),
        pytest.param(
            movie().assign(stage=("t", ["m"] * 97)), ("t",), "t", (1,), id="in-memory",
        ),
        # computed five frames at once, beside an image of one frame a shard
        pytest.param(
            movie().assign(mean=(("t", "c"), lazy((97, 3), "f8", (5, 3)))),
            ("t",), "t", (5,), id="least-common-multiple",
        ),
        pytest.param(
            xr.Dataset({"snr": (("t", "c"), lazy((97, 3), "f8", (10, 3)))}),
            None, "tc", (10, 3), id="table",
        ),
        pytest.param(
            xr.Dataset({"a": ("t", lazy((7,), "f8", 2)), "b": ("c", lazy((3,), "f8", 3))}),
            None, "tc", (2, 3), id="unlike-dims",
        ),
        pytest.param(xr.Dataset({"a": ((), 3)}), None, "", (), id="only-a-number"),
    ],
)  # fmt: skip
def test_cells_by_hand(
    ds: xr.Dataset, free: tuple[str, ...] | None, dims: str, steps: tuple[int, ...]
) -> None:
    grid = outline(ds, free=free).grid
    assert (grid.dims, grid.steps) == (tuple(dims), steps)


def test_partitions_are_runs_of_cells() -> None:
    # 97 * 3 cells of 6 MiB; 256 MiB are 42.7 of them, so 7 partitions, of 42 rather than 43
    grid = outline(movie()).grid
    assert (math.prod(grid.counts), grid.run, grid.partitions) == (291, 42, 7)
    cells = [cell for i in range(grid.partitions) for cell in grid.cells(i)]
    assert len(cells) == 291
    assert list(grid.cells(7)) == []
    assert cells[4]["t"] == slice(1, 2)  # in C order: c within t
    assert cells[4]["c"] == slice(1, 2)
    assert outline(movie(), partition_bytes=1).grid.run == 1
    assert outline(movie(), partition_bytes=1 << 50).grid.partitions == 1
    # the output is 24 KiB, but its input 1.7 GiB
    table = xr.Dataset({"snr": (("t", "c"), lazy((97, 3), "f8", (1, 1)))})
    assert outline(table, input_bytes=97 * 3 * 6 << 20).grid.partitions == 7
    assert outline(table).grid.partitions == 1


@pytest.mark.parametrize(("mebibytes", "run"), [(1, 1), (6, 1), (6.5, 2), (9, 2), (12, 2), (13, 3)])
def test_a_partition_comes_to_the_bytes_that_are_asked(mebibytes: float, run: int) -> None:
    assert outline(movie(), partition_bytes=round(mebibytes * 2**20)).grid.run == run


@pytest.mark.parametrize("mask", ["u1", "u2"])
def test_tasks_of_a_large_folder_of_pictures(mask: str) -> None:
    """60,000 pictures of 8 channels of 105 x 105: 118 blocks of 141 or 186 MB, two to a task."""
    places = 512 * 105 * 105
    kinds = {"pixels": ("u2", 8), "mask_pixels": (mask, 8), "mask_code": ("u1", 1)}
    rows = {
        name: (("block", f"of_{name}"), lazy((118, n * places), kind, (1, n * places)))
        for name, (kind, n) in kinds.items()
    }
    grid = outline(xr.Dataset(rows, coords={"record": np.arange(60_000)})).grid
    assert (grid.dims[0], grid.steps[0], grid.run, grid.partitions) == ("block", 1, 2, 59)
    # 53 such folders, each with a task that begins and one that ends it
    assert 53 * (grid.partitions + 2) < 3_300


def test_at_most_ten_thousand_partitions() -> None:
    pixels = lazy((40_000, 3, 12, 512, 512), chunks=(1000, 3, 12, 512, 512))
    grid = outline(schema.movie(pixels), partition_bytes=1).grid
    assert math.prod(grid.counts) == 120_000
    assert grid.partitions == 10_000


def test_nothing_has_no_partitions() -> None:
    empty = xr.Dataset({"area": ("record", lazy((0, 1), "f8", (1, 1))[:, 0])})
    laid = outline(empty)
    assert (laid.grid.partitions, laid.small) == (0, ("area",))
    more = outline(empty.assign(total=((), 3.0), means=("channel", [1.0, 2.0])))
    assert (more.grid.partitions, more.grid.dims) == (1, ("channel",))
    assert Grid((), (), (), 1).partitions == 1
    assert list(Grid((), (), (), 1).cells(0)) == [{}]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_value_has_one_owner(data: st.DataObject) -> None:
    """Variables over any dims, small and large ones, cut along any dims, in any run."""
    sizes = {d: data.draw(st.integers(1, 5), d) for d in "tcz"} | {"y": 40, "x": 30}
    ds = xr.Dataset()
    for name in ("one", "two", "six"):
        dims = data.draw(st.sampled_from(["tczyx", "tzyx", "tc", "t", "c", "czyx", "yx", ""]), name)
        shape = tuple(sizes[d] for d in dims)
        chunks = tuple(data.draw(st.integers(1, n)) for n in shape)
        values = np.zeros(shape) if data.draw(st.booleans()) else da.zeros(shape, chunks=chunks)
        ds[name] = (tuple(dims), values)
    free = data.draw(st.one_of(st.none(), st.sets(st.sampled_from("tczyx"))))
    room = data.draw(st.sampled_from([1, 1 << 14, 1 << 30]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dpipe.build.part_layout.SMALL", data.draw(st.sampled_from([0, 100, SMALL])))
        patch.setattr(chunking, "SMALL_SHARD_BYTES", data.draw(st.sampled_from([1, 1 << 22])))
        laid = outline(ds, free=free, partition_bytes=room)
    owned = {name: np.zeros(ds[name].shape, int) for name in ds.data_vars}
    for index in range(laid.grid.partitions):
        for cell in laid.grid.cells(index):
            for name, count in owned.items():
                if laid.grid.owns(cell, ds[name].dims):
                    count[tuple(cell.get(d, slice(None)) for d in ds[name].dims)] += 1
                    if name not in laid.small:  # whole shards, or this raises
                        top = laid.levels(name)[0]
                        cut = {d: s for d, s in cell.items() if d in top.dims}
                        assert chunking.shards(top, cut)
    assert all((count == 1).all() for count in owned.values())


def test_small_pixels_in_memory_are_one_cell():
    """They may be cut anywhere, which is no reason to cut them everywhere."""
    ds = schema.movie(np.zeros((2, 2, 3, 300, 280), "u1"))
    outline = lay_out(ds, "parts/a/a-0123456789ab")
    assert outline.small == ("image",)
    assert outline.grid.counts == (1, 1, 1, 1, 1)
    assert outline.grid.steps == (2, 2, 3, 300, 280)
