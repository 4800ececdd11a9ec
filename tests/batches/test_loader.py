"""Batches: each record once an epoch, each chunk decoded once, mixed and shared as said."""

import pickle
import sys
from collections import Counter
from types import SimpleNamespace

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
    with pytest.warns(UserWarning, match="no batches"):
        nothing = Batches(two_parts(), where="number > 1000")
    assert (numbers(nothing), len(nothing)) == ([], 0)


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
    from dpipe.demo.study import write_ifc_tree

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
    heights = np.concatenate([ds.height.values for ds in dpipe.api.as_parts(cells).values()])
    assert sum(batch.sizes["record"] for batch in found) == (heights > 24).sum() > 7
    assert {batch.image.shape[1:] for batch in found} == {(8, 32, 32)}
    assert set(np.unique(np.concatenate([b.condition.values for b in found]))) == {"+SEA", "-SEA"}


def shares(data, n: int, **options) -> list[list[list[int]]]:
    """What each of n processes gets in an epoch; `len` tells how many batches."""
    found = []
    for i in range(n):
        batches = Batches(data, share=(i, n), **options)
        found.append(numbers(batches))
        assert len(found[-1]) == len(batches)
    return found


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_all_processes_have_as_many_batches(n, shuffle, drop_last):
    data = {"a": table(0, 35), "b": table(35, 3), "c": table(38, 49, 13)}
    options = {"size": 4, "shuffle": shuffle, "drop_last": drop_last, "seed": 5}
    found = shares(data, n, **options)
    run = 87 // n if drop_last else -(-87 // n)
    assert {len(share) for share in found} == {run // 4 if drop_last else -(-run // 4)}
    assert len({tuple(map(len, share)) for share in found}) == 1
    every = Counter(flat(flat(found)))
    if drop_last:
        assert max(every.values()) == 1
        assert 87 - len(every) <= (87 % n) + n * 3
    else:
        assert sorted(every) == list(range(87))
        assert sum(every.values()) == run * n
    said = Batches(data, share=(0, n), **options).notes
    if 87 % n == 0:
        assert not any("even" in line for line in said)
    else:
        assert said[0].startswith(f"{87 % n if drop_last else run * n - 87} of 87 records ")


@pytest.mark.filterwarnings("ignore:batches. no batches")
def test_more_processes_than_pieces_are_refused():
    assert len(shares(table(0, 30), 3)) == 3
    with pytest.raises(UsageError, match=r"share: 4 processes, and 3 pieces .*\.chunk\(record=7\)"):
        Batches(table(0, 30), share=(0, 4))
    assert len(shares(table(0, 4, None), 4)) == 4  # what is in memory is cut at will
    with pytest.raises(UsageError, match="share: 5 processes, and 4 pieces"):
        Batches(table(0, 4, None), share=(0, 5))
    assert shares(table(0, 3), 2, where="number > 9") == [[], []]


def test_an_epoch_is_said():
    batches, again = (Batches(two_parts(), size=8, shuffle=True, epoch=e) for e in (0, 4))
    epochs = [numbers(batches) for _ in range(5)]
    assert numbers(again) == epochs[4]
    batches.set_epoch(1)
    assert numbers(batches) == epochs[1]
    assert numbers(batches) == epochs[2]
    batches.set_epoch(3)
    copied = pickle.loads(pickle.dumps(batches))
    assert [numbers(copied), numbers(batches)] == [epochs[3], epochs[3]]
    with pytest.raises(UsageError, match="epoch: found -1; expected a whole number from 0"):
        batches.set_epoch(-1)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("share", [(0, 1), (1, 2)])
@pytest.mark.parametrize("n", [1, 2, 3, 30])
def test_workers_share_the_batches_of_their_process(n, share, drop_last):
    options = {"size": 8, "shuffle": True, "share": share, "drop_last": drop_last}
    batches = Batches(two_parts(), **options)
    batches.set_epoch(2)
    workers = [pickle.loads(pickle.dumps(batches)).worker(i, n) for i in range(n)]
    found = [numbers(worker) for worker in workers]
    assert list(map(len, found)) == list(map(len, workers))
    assert sum(map(len, found)) == len(batches)
    own = numbers(batches)
    assert sorted(flat(flat(found))) == sorted(flat(own))
    assert sorted(len(b) for b in flat(found)) == sorted(len(b) for b in own)


def test_workers_of_a_loader_know_their_place(monkeypatch):
    """PyTorch's workers hold pickled copies, and ask ``get_worker_info`` who they are."""
    place: list[tuple[int, int]] = []

    def info():
        return SimpleNamespace(id=place[0][0], num_workers=place[0][1]) if place else None

    batches = Batches(two_parts(), size=8, shuffle=True)
    alone = numbers(Batches(two_parts(), size=8, shuffle=True))
    monkeypatch.setitem(sys.modules, "torch.utils.data", SimpleNamespace(get_worker_info=info))
    assert len(batches) == len(alone)
    copies = [pickle.loads(pickle.dumps(batches)) for _ in range(3)]
    for _ in range(2):  # workers that stay go on to the next epoch
        found = []
        for i, copied in enumerate(copies):
            place[:] = [(i, 3)]
            found += numbers(copied)
        assert sorted(flat(found)) == list(range(87))
    place[:] = [(1, 3)]
    assert len(numbers(batches.worker(0, 1))) == len(alone)  # who says it himself is heard


def test_pictures_put_aside_are_left_out_and_counted():
    data = {"a": table(0, 35), "b": table(35, 5)}
    reasons = np.where(np.arange(35) % 10 == 3, "damaged", "")
    data["a"] = data["a"].assign_coords(put_aside=("record", reasons))
    data["b"] = data["b"].assign_coords(height=("record", [5, 0, 5, 5, 5]))
    with pytest.warns(UserWarning, match="batches: 5 of 40 records left out: put aside"):
        batches = Batches(data, size=6)
    assert flat(numbers(batches)) == [n for n in range(40) if n % 10 != 3 and n != 36]
    assert batches.notes == [
        "5 of 40 records left out: put aside",
        "left out, since not all parts have the same: put_aside, height",
    ]
    assert "5 of 40 records left out" in repr(batches)
    with pytest.warns(UserWarning, match="2 of 18 records left out"):
        assert len(flat(numbers(Batches(data["a"], where="number > 16")))) == 16


def test_numbers_of_unlike_kinds_become_one():
    small = table(0, 3).assign(image=table(0, 3).image.astype("u1"))
    found = list(Batches({"a": small, "b": table(300, 3)}, size=2))
    assert {batch.image.dtype for batch in found} == {np.dtype("f4")}
    texts = table(3, 3).assign_coords(odd=("record", ["yes", "no", "no"]))
    with pytest.raises(SchemaError, match="b: odd is text, and numbers in a"):
        Batches({"a": small, "b": texts})


def crops(movie: str, labels: list[int], interval: float = 30.0) -> xr.Dataset:
    count = len(labels)
    values = np.arange(count * 8.0).reshape(count, 2, 1, 2, 2)
    ds = xr.Dataset({"crop": (("event", "t", "c", "y", "x"), values)})
    return ds.assign_coords(
        event=[f"{movie}_cell{i}" for i in range(count)],
        label=("event", labels),
        t=[0.0, interval],
        organ="lung" if movie == "Neu1" else "skin",
    )


def test_where_over_events():
    data = {"Neu1": crops("Neu1", [1, 0, 1]), "Den1": crops("Den1", [0, 1], 60.0)}
    (batch,) = Batches(data, where="label == 1")
    assert batch.event.values.tolist() == ["Neu1_cell0", "Neu1_cell2", "Den1_cell1"]
    assert "t" not in batch.coords  # frames of the two movies are not as far apart
    (batch,) = Batches(data, where="label == 1 and organ == 'skin'")
    assert batch.event.values.tolist() == ["Den1_cell1"]
    with pytest.raises(UsageError, match="Neu1: unknown name 'lable'; did you mean 'label'"):
        Batches(data, where="lable == 1")


@pytest.mark.filterwarnings("ignore:batches. no batches")
@pytest.mark.parametrize(
    ("size", "said", "notes"),
    [
        (20, {"drop_last": True}, ["7 of 87 records left out an epoch: they fill no batch"]),
        (100, {"drop_last": True}, ["no batches: each process has 87 records, a batch 100"]),
        (29, {"drop_last": True}, []),
        (100, {}, []),
        (8, {"where": "number > 99"}, ["no batches: each process has 0 records, a batch 8"]),
        (
            *(5, {"drop_last": True, "share": (1, 4)}),
            [
                "3 of 87 records left out so that all 4 are even",
                "4 of 87 records left out an epoch: they fill no batch",
            ],
        ),
    ],
)
def test_records_that_are_in_no_batch_are_said(size, said, notes):
    assert Batches(two_parts(), size=size, **said).notes == notes
    _, n = said.get("share", (0, 1))
    every = [Batches(two_parts(), **{"size": size} | said | {"share": (k, n)}) for k in range(n)]
    lost = 87 if notes and "no batches" in notes[0] else sum(int(line.split()[0]) for line in notes)
    assert len(flat(flat([numbers(one) for one in every]))) == 87 - lost


def test_what_is_known_of_the_frames_of_crops_is_in_each_batch():
    """Of unlike dtypes and channels described otherwise, as movies of two microscopes have."""

    def crops(first, kind, **attrs):
        values = np.arange(first, first + 3 * 2 * 16).reshape(3, 2, 1, 4, 4).astype(kind)
        ds = xr.Dataset(
            {"crop": (("event", "t", "c", "y", "x"), values)}, {"c": ("c", ["a"], attrs)}
        )
        frames = np.arange(first, first + 6).reshape(3, 2)
        return ds.assign_coords(
            crop_frame=(("event", "t"), frames),
            crop_valid=(("event", "t"), frames % 2 == 0),
            label=("event", [0, 1, first]),
            y=np.arange(4.0) - first,
        )

    parts = {"a": crops(0, "u1", windows=[[0, 9]]), "b": crops(60, "u2", windows=[[0, 99]])}
    batches = Batches(parts, size=2, shuffle=True)
    assert batches.notes == ["left out, since not all parts have the same: y"]
    found = xr.concat(batches, dim="event")
    found = found.isel(event=np.argsort(found.crop_frame[:, 0].values))
    assert found.crop.dtype == np.uint16
    assert found.crop_frame.values[:, 0].tolist() == [0, 2, 4, 60, 62, 64]
    np.testing.assert_array_equal(found.crop_valid, found.crop_frame % 2 == 0)
    assert found.c.values.tolist() == ["a"]
    assert found.crop.values[:, 0, 0, 0, 0].tolist() == [0, 32, 64, 60, 92, 124]


@pytest.mark.parametrize("data", [42, "cells", [1], {"a": np.zeros(3)}, None])
def test_what_is_no_dataset_is_named(data):
    with pytest.raises(UsageError, match=r"found .*; expected what dpipe.open gave"):
        Batches(data)
