"""Batches: each record once an epoch, each chunk decoded once, mixed and shared as said."""

from collections import Counter

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import dpipe
from dpipe import Batches
from dpipe.errors import SchemaError, UsageError


def table(first: int, count: int, chunk: int | None = 10, **coords) -> xr.Dataset:
    """Pictures of one pixel, whose value says which they are."""
    values = np.arange(first, first + count, dtype="f4").reshape(count, 1, 1, 1)
    data = values if chunk is None else da.from_array(values, chunks=(chunk, 1, 1, 1))
    ds = xr.Dataset({"image": (("record", "c", "y", "x"), data)}, {"c": ["BF"]})
    number = ("record", np.arange(first, first + count))
    return ds.assign_coords(number=number, odd=("record", number[1] % 2 == 1), **coords)


def two_parts() -> dict[str, xr.Dataset]:
    return {"a": table(0, 35), "b": table(35, 52)}


def numbers(batches: Batches) -> list[list[int]]:
    found = []
    for batch in batches:
        np.testing.assert_array_equal(batch.image.values.ravel(), batch.number)  # rows stay rows
        found.append(batch.number.values.tolist())
    return found


def flat(found: list[list[int]]) -> list[int]:
    return [n for batch in found for n in batch]


@pytest.mark.parametrize("chunk", [1, 7, 10, 100, None])
@pytest.mark.parametrize("size", [1, 8, 29, 87, 1000])
def test_all_in_order(chunk, size):
    data = {"a": table(0, 35, chunk), "b": table(35, 52, chunk)}
    batches = Batches(data, size=size)
    found = numbers(batches)
    assert flat(found) == list(range(87))
    assert [len(b) for b in found[:-1]] == [size] * (len(found) - 1)
    assert len(batches) == len(found)


def test_shuffled_anew_each_epoch_and_alike_with_one_seed():
    batches, again = (Batches(two_parts(), size=8, shuffle=True, seed=3) for _ in range(2))
    first, second = numbers(batches), numbers(batches)
    assert sorted(flat(first)) == sorted(flat(second)) == list(range(87))
    assert flat(first) != flat(second)
    assert [numbers(again), numbers(again)] == [first, second]
    assert numbers(Batches(two_parts(), size=8, shuffle=True, seed=4)) != first
    assert flat(first) != list(range(87))


def test_records_of_unlike_pieces_are_mixed():
    """By chance a batch of 40 of the 90 holds some of at least 7 of the 9 chunks of 10."""
    (batch, *_) = numbers(Batches(table(0, 90), size=40, shuffle=True, hold=20))
    assert len({n // 10 for n in batch}) >= 7
    alone = numbers(Batches(table(0, 90), size=5, shuffle=True, hold=1))
    assert len({n // 10 for n in alone[0]}) == 1


def test_each_chunk_is_decoded_once_an_epoch():
    seen: Counter[int] = Counter()

    def decode(block: np.ndarray) -> np.ndarray:
        seen[int(block.min())] += 1
        return block

    ds = table(0, 95)
    ds["image"] = (
        ds.image.dims,
        da.map_blocks(decode, ds.image.data, dtype="f4", meta=ds.image.data),
    )
    seen.clear()
    list(Batches(ds, size=16, shuffle=True, hold=3))
    assert seen == Counter(dict.fromkeys(range(0, 95, 10), 1))


def test_where():
    found = flat(numbers(Batches(two_parts(), size=9, where="odd and number > 30", shuffle=True)))
    assert sorted(found) == list(range(31, 87, 2))
    assert numbers(Batches(two_parts(), where="number > 1000")) == []
    assert len(Batches(two_parts(), where="number > 1000")) == 0


@pytest.mark.parametrize("shuffle", [False, True])
def test_shares_have_everything_once(shuffle):
    shares = [Batches(two_parts(), size=8, shuffle=shuffle, share=(i, 3)) for i in range(3)]
    for _ in range(2):
        found = [flat(numbers(batches)) for batches in shares]
        assert all(found)
        assert sorted(flat(found)) == list(range(87))


def test_drop_last():
    batches = Batches(two_parts(), size=20, shuffle=True, drop_last=True)
    assert [len(b) for b in numbers(batches)] == [20] * 4 == [20] * len(batches)


def test_stopped_in_the_middle():
    batches = Batches(two_parts(), size=8)
    for batch in batches:
        assert batch.sizes["record"] == 8
        break
    assert flat(numbers(batches)) == list(range(87))


def test_crops_are_events():
    crops = xr.Dataset({"crop": (("event", "t", "c", "y", "x"), np.zeros((5, 2, 1, 3, 3)))})
    crops = crops.assign_coords(event=[f"Neu1_cell{i}" for i in range(5)], label=("event", [1] * 5))
    (one, other) = Batches(crops, size=3)
    assert one.event.values.tolist() == [f"Neu1_cell{i}" for i in range(3)]
    assert other.sizes == {"event": 2, "t": 2, "c": 1, "y": 3, "x": 3}


def test_what_only_some_parts_know_is_left_out():
    data = {"a": table(0, 3, donor=("record", ["x"] * 3)), "b": table(3, 3)}
    (batch,) = Batches(data)
    assert set(batch.coords) == {"c", "number", "odd"}


PACKED = xr.Dataset(
    {"pixels": (("block", "value"), [[1, 2, 3]])},
    {"in_block": ("record", [0]), "block": [0]},
)


@pytest.mark.parametrize(
    ("data", "options", "error", "said"),
    [
        (PACKED, {}, SchemaError, "data: packed pictures of unlike sizes.*dpipe.pictures"),
        (
            xr.Dataset({"image": ("t", [1])}),
            {},
            SchemaError,
            "data: found the dims t; expected rec",
        ),
        (
            {"a": table(0, 3), "b": table(3, 3).assign_coords(c=["CD3"])},
            {},
            SchemaError,
            r"b: c is \['CD3'\], and \['BF'\] in a",
        ),
        (
            {"a": table(0, 3), "b": table(3, 3).drop_vars("image")},
            {},
            SchemaError,
            "b: .* is missing, and .* in a; a batch needs one shape",
        ),
        (table(0, 3), {"size": 0}, UsageError, "size: found 0; expected a whole number from 1"),
        (table(0, 3), {"hold": 1.5}, UsageError, "hold: found 1.5"),
        (table(0, 3), {"seed": -1}, UsageError, "seed: found -1"),
        (table(0, 3), {"share": (2, 2)}, UsageError, r"share: found \(2, 2\)"),
        (table(0, 3), {"share": 2}, UsageError, r"share: found 2; expected \(i, n\)"),
        (table(0, 3), {"share": (0, 1.5)}, UsageError, r"share: found \(0, 1.5\)"),
        (table(0, 3), {"where": "size >"}, UsageError, "size >"),
    ],
    ids=[
        *("packed", "movie", "channels", "variables", "size", "hold", "seed"),
        *("share", "share of one", "half a share", "where"),
    ],
)
def test_what_cannot_work(data, options, error, said):
    with pytest.raises(error, match=said):
        Batches(data, **options)


def test_from_a_store(tmp_path):
    """Packed pictures of two folders, brought to one size, by a gate, in batches."""
    from dpipe.demo import write_ifc_tree

    tree = write_ifc_tree(
        tmp_path / "raw", 40, samples=["E/D/-SEA", "E/D/+SEA"], mean_size=24, damage=False
    )
    recipe = tmp_path / "recipe.yaml"
    gates = "params: {gates: {tall: height > 24}}"
    recipe.write_text(
        f"datasets:\n  cells: {{reader: ifc, source: {tree}}}\n"
        f"  gates: {{operator: gate, input: cells, {gates}}}\n"
    )
    store = str(tmp_path / "store")
    dpipe.run_recipe(recipe, store, workers="0", progress=False)
    cells = dpipe.open(store, "cells", "gates")
    pictures = dpipe.each(cells, dpipe.pictures, size=32, where="tall")
    found = list(Batches(pictures, size=7, shuffle=True))
    heights = np.concatenate([ds.height.values for ds in dpipe.tree.as_parts(cells).values()])
    assert sum(batch.sizes["record"] for batch in found) == (heights > 24).sum() > 7
    assert {batch.image.shape[1:] for batch in found} == {(8, 32, 32)}
    assert set(np.unique(np.concatenate([b.condition.values for b in found]))) == {"+SEA", "-SEA"}
