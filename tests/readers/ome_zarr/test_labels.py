"""Labels of OME-Zarr images: only object numbers, only where they fit, and what is left out."""

import numpy as np
import pytest
import xarray as xr
import zarr

from dpipe import schema
from dpipe.errors import InputError, UsageError
from dpipe.readers import open_ome_zarr
from dpipe.writers import write_ome_zarr


def values(array):
    return array.data.compute(scheduler="synchronous")


def axis(name):
    kinds = {"t": ("time", "second"), "c": ("channel", None)}
    kind, unit = kinds.get(name, ("space", "micrometer"))
    return {"name": name, "type": kind} | ({"unit": unit} if unit else {})


STEP = {"t": 30.0, "c": 1.0, "z": 2.0, "y": 0.5, "x": 0.5}


def write(path, pixels, axes, levels=1, steps=STEP, start=None, **more):
    """Write an image with zarr alone; `start` is the translation of its finest level."""
    datasets = []
    group = zarr.open_group(path, mode="a", zarr_format=3)
    for level in range(levels):
        block = pixels[..., :: 2**level, :: 2**level]
        scale = [steps[a] * (2**level if a in "yx" else 1) for a in axes]
        said = [{"type": "scale", "scale": scale}]
        said += [{"type": "translation", "translation": start}] if start else []
        datasets.append({"path": str(level), "coordinateTransformations": said})
        array = group.create_array(
            str(level), shape=block.shape, chunks=tuple(min(n, 16) for n in block.shape),
            dtype=block.dtype, config={"write_empty_chunks": True},
        )  # fmt: skip
        array[...] = block
    image = {"name": "img", "axes": [axis(a) for a in axes], "datasets": datasets}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]} | more
    return path


def add(path, pixels, axes="tyx", name="cells", **said):
    write(path / "labels" / name, pixels, axes, **said, **{"image-label": {}})
    group = zarr.open_group(path / "labels", mode="a", zarr_format=3)
    known = dict(group.attrs).get("ome", {}).get("labels", [])
    group.attrs["ome"] = {"version": "0.5", "labels": [*known, name]}


def numbers(dtype="u2", shape=(3, 20, 20)):
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@pytest.fixture
def image(tmp_path):
    """(t, c, y, x) = (3, 2, 20, 20) in two levels; 30 s, 0.5 um."""
    return write(tmp_path / "a.zarr", numbers("u2", (3, 2, 20, 20)), "tcyx", levels=2)


# values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", ">u2", "i1", "i2", "i4", "i8", ">i4"])
def test_integers_become_unsigned(image, dtype):
    cells = numbers() // (2 if dtype == "i1" else 1)
    add(image, cells.astype(dtype))
    ds = open_ome_zarr(image)
    assert ds["labels"].dims == ("t", "z", "y", "x")
    assert ds["labels"].dtype.str[1:] == f"u{np.dtype(dtype).itemsize}"
    np.testing.assert_array_equal(values(ds["labels"])[:, 0], cells)
    assert "notes" not in ds.attrs
    assert "labels" not in open_ome_zarr(image, labels="none")


@pytest.mark.parametrize(
    ("dtype", "most"), [("i8", 2**63 - 1), ("u8", 2**64 - 1), ("i4", 2**31 - 1), ("u4", 2**32 - 1)]
)
def test_the_largest_numbers_stay(image, dtype, most):
    cells = numbers(dtype)
    cells[0, 0, :2] = most, most - 1
    add(image, cells)
    found = values(open_ome_zarr(image)["labels"])
    assert found[0, 0, 0, :2].tolist() == [most, most - 1]


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8"])
def test_a_background_of_minus_one(image, dtype):
    cells = (numbers() % 100).astype(dtype)
    expected = cells.copy()
    cells[cells == 0] = -1
    add(image, cells)
    ds = open_ome_zarr(image)
    with pytest.raises(
        InputError, match=r"a.zarr: labels 'cells' hold -1, .*option background=-1 reads"
    ):
        values(ds["labels"])
    ds = open_ome_zarr(image, background=-1)
    np.testing.assert_array_equal(values(ds["labels"])[:, 0], expected)
    assert values(ds["labels"]).max() < 100
    assert ds.attrs["notes"] == ["labels 'cells': -1 is read as 0, no object"]
    cells[1, 2, 3] = -2
    zarr.open_array(image / "labels" / "cells" / "0")[...] = cells
    with pytest.raises(
        InputError,
        match=r"hold -2 besides the background, -1, which is no object number; option lab",
    ):
        values(ds["labels"])


@pytest.mark.parametrize("number", [1, 255])
def test_a_background_that_is_an_object(image, number):
    with pytest.raises(UsageError, match=f"background={number}: expected 0 or below"):
        open_ome_zarr(image, background=number)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_floats_are_read_when_they_are_named(image, dtype):
    cells = numbers(dtype)
    add(image, cells)
    ds = open_ome_zarr(image)
    assert "labels" not in ds
    (note,) = ds.attrs["notes"]
    assert note == (
        f"labels 'cells' left out: they are {cells.dtype}; option labels=NAME reads them if all "
        "are whole numbers"
    )
    ds = open_ome_zarr(image, labels="cells")
    assert ds["labels"].dtype == f"u{cells.dtype.itemsize}"
    np.testing.assert_array_equal(values(ds["labels"])[:, 0], cells)


@pytest.mark.parametrize(
    ("dtype", "value", "says"),
    [
        ("f4", 0.5, "hold 0.5, 1 such in a block; expected whole numbers up to 16777216"),
        ("f4", np.nan, "hold nan, 1 such in a block"),
        ("f8", np.inf, "hold inf, 1 such in a block"),
        ("f8", 1e300, r"hold 1e\+300, 1 such in a block; expected whole numbers up to 90071"),
        ("f4", 2**24 + 2, "expected whole numbers up to 16777216"),
        ("f8", 2**53 + 2, "expected whole numbers up to 9007199254740992"),
        ("f8", -1, "hold -1, which is no object number; option background=-1"),
    ],
)
def test_floats_that_are_no_object_numbers(image, dtype, value, says):
    cells = numbers(dtype)
    cells[2, 1, 1] = value
    add(image, cells)
    ds = open_ome_zarr(image, labels="cells")
    np.testing.assert_array_equal(values(ds["labels"][..., 16:, :16])[:, 0], cells[:, 16:, :16])
    with pytest.raises(InputError, match=says) as caught:
        values(ds["labels"])
    assert "option labels=none leaves them out" in str(caught.value)


def test_a_float_background(image):
    cells = numbers("f4")
    cells[0, 0, 0] = -1
    add(image, cells)
    found = values(open_ome_zarr(image, labels="cells", background=-1)["labels"])
    assert found[0, 0, 0, 0] == 0


def test_truth_values_are_one_object(image):
    add(image, numbers() > 100)
    found = open_ome_zarr(image)["labels"]
    assert found.dtype == "u1"
    np.testing.assert_array_equal(values(found)[:, 0], numbers() > 100)


# which of them, and where they lie ----------------------------------------------------------------


def test_a_channel_axis(image):
    add(image, numbers("u1", (3, 1, 20, 20)), "tcyx")
    assert open_ome_zarr(image)["labels"].dtype == "u1"


def test_several_are_left_out_and_said(image):
    add(image, numbers())
    add(image, numbers() * 2, name="nuclei")
    ds = open_ome_zarr(image)
    assert "labels" not in ds
    assert ds.attrs["notes"] == [
        "labels left out: 'cells', 'nuclei'; option labels=NAME reads one of them"
    ]
    found = open_ome_zarr(image, labels="nuclei")
    np.testing.assert_array_equal(values(found["labels"])[:, 0], numbers() * 2)
    assert "notes" not in found.attrs
    assert "notes" not in open_ome_zarr(image, labels="none").attrs
    with pytest.raises(InputError, match=r"a.zarr: no labels 'spots'. Found: cells, nuclei"):
        open_ome_zarr(image, labels="spots")


def test_none_are_asked_for_in_vain(image):
    with pytest.raises(InputError, match=r"no labels 'cells'. Found: none"):
        open_ome_zarr(image, labels="cells")


@pytest.mark.parametrize(
    ("shape", "axes", "sizes"),
    [
        ((20, 20), "yx", "(1, 1, 1, 20, 20)"),
        ((3, 10, 10), "tyx", "(3, 1, 1, 10, 10)"),
        ((3, 2, 20, 20), "tcyx", "(3, 2, 1, 20, 20)"),
        ((3, 2, 20, 20), "tzyx", "(3, 1, 2, 20, 20)"),
    ],
)
def test_of_another_size(image, shape, axes, sizes):
    add(image, numbers("u2", shape), axes)
    ds = open_ome_zarr(image)
    assert "labels" not in ds
    said = f"are (t, c, z, y, x) = {sizes}; the image is (3, 1, 1, 20, 20) at its level 0"
    assert ds.attrs["notes"] == [f"labels 'cells' left out: they {said}"]
    with pytest.raises(InputError) as caught:
        open_ome_zarr(image, labels="cells")
    assert str(caught.value) == f"a.zarr: labels 'cells' {said}"


def test_of_half_the_size_fit_a_lower_level(image):
    """Pyramids of labels may begin where those of the image go on."""
    cells = numbers("u2", (3, 10, 10))
    add(image, cells, steps=STEP | {"y": 1.0, "x": 1.0})
    found = open_ome_zarr(image, level=1)["labels"]
    np.testing.assert_array_equal(values(found)[:, 0], cells)


def test_each_level_has_its_own(image):
    add(image, numbers(), levels=2)
    found = open_ome_zarr(image, level=1)["labels"]
    np.testing.assert_array_equal(values(found)[:, 0], numbers()[..., ::2, ::2])


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ({"steps": STEP | {"y": 1.0, "x": 1.0}}, "y from 0 to 19, the image from 0 to 9.5; x from"),
        ({"steps": STEP | {"t": 1.0}}, "t from 0 to 2, the image from 0 to 60"),
        ({"start": [0, 5, 0]}, "y from 5 to 14.5, the image from 0 to 9.5"),
        ({"start": [90, 0, 0]}, "t from 90 to 150, the image from 0 to 60"),
    ],
    ids=["scale", "interval", "translation", "start"],
)
def test_of_another_place(image, said, place):
    add(image, numbers(), **said)
    ds = open_ome_zarr(image)
    assert "labels" not in ds
    (note,) = ds.attrs["notes"]
    assert note.startswith("labels 'cells' left out: they say another place: ")
    assert place in note
    assert note.endswith("labels=NAME reads them all the same")
    ds = open_ome_zarr(image, labels="cells")
    np.testing.assert_array_equal(values(ds["labels"])[:, 0], numbers())
    (note,) = ds.attrs["notes"]
    assert note.startswith("labels 'cells' say another place: ")
    assert note.endswith("they are taken to lie as the image does")
    assert float(ds["labels"].y[-1]) == 9.5


def test_without_a_size(image):
    """A scale of 1 without a unit means that nobody knows it."""
    add(image, numbers(), steps=dict.fromkeys("tczyx", 1.0))
    said = dict(zarr.open_group(image / "labels" / "cells").attrs)
    for one in said["ome"]["multiscales"][0]["axes"]:
        one.pop("unit", None)
    zarr.open_group(image / "labels" / "cells").attrs.update(said)
    ds = open_ome_zarr(image)
    np.testing.assert_array_equal(values(ds["labels"])[:, 0], numbers())
    assert ds.attrs["notes"] == [
        "labels 'cells' say no size along t, y, x; they are taken to lie as the image does"
    ]
    said["ome"]["multiscales"][0]["axes"][2]["unit"] = "micrometer"
    zarr.open_group(image / "labels" / "cells").attrs.update(said)
    (note,) = open_ome_zarr(image).attrs["notes"]
    assert "left out: they say another place: x from 0 to 19, the image from 0 to 9.5" in note


def test_half_a_voxel_is_no_other_place(image):
    """Writers name corners, or leave the shift of a lower level out."""
    add(image, numbers(), start=[0, 0.25, -0.25])
    assert "labels" in open_ome_zarr(image)


def test_what_cannot_be_read_does_not_spoil_the_image(image):
    add(image, numbers())
    (image / "labels" / "cells" / "zarr.json").write_text("{")
    ds = open_ome_zarr(image)
    assert ds.sizes["c"] == 2
    assert "labels 'cells' left out: they " in ds.attrs["notes"][0]
    assert "damaged" in ds.attrs["notes"][0]
    with pytest.raises(InputError, match=r"labels 'cells' .*its metadata are damaged: no JSON"):
        open_ome_zarr(image, labels="cells")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "labels/zarr.json: its metadata are damaged: no JSON"),
        ('{"attributes": {"ome": {"labels": "cells"}}}', "'labels' is 'cells'; expected a list"),
        ('{"attributes": {"ome": {"version": "0.9", "labels": []}}}', "OME-Zarr version '0.9'"),
    ],
)
def test_a_list_that_cannot_be_read(image, text, says):
    add(image, numbers())
    (image / "labels" / "zarr.json").write_text(text)
    (note,) = open_ome_zarr(image).attrs["notes"]
    assert note.startswith("labels left out: ")
    assert says in note
    with pytest.raises(InputError, match=says):
        open_ome_zarr(image, labels="cells")


def test_chunks_of_labels_that_are_not_there(image):
    """As of an image; zarr-python leaves those out that hold nothing but background."""
    add(image, numbers())
    (image / "labels" / "cells" / "0" / "c" / "0" / "1" / "0").unlink()
    gone = "1 of 4 chunks not there: c/0/1/0"
    for labels in (None, "cells"):
        says = (
            rf"a.zarr: labels 'cells': array 'labels/cells/0': {gone}; .* option fill_missing=true"
        )
        with pytest.raises(InputError, match=says):
            open_ome_zarr(image, labels=labels)
    assert "notes" not in open_ome_zarr(image, labels="none").attrs
    ds = open_ome_zarr(image, fill_missing=True)
    assert ds.attrs["notes"] == [f"labels 'cells': {gone}; read as the fill value"]
    expected = numbers()
    expected[:, 16:, :16] = 0
    np.testing.assert_array_equal(values(ds["labels"])[:, 0], expected)


# what we write comes back -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8"])
def test_round_trip(tmp_path, dtype):
    cells = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (2, 3, 30, 300), dtype)
    ds = schema.movie(np.ones((2, 1, 3, 30, 300), "u1"), spacing=(2, 0.5, 0.5), interval=30)
    ds = ds.merge(schema.LABELS.wrap(xr.DataArray(cells, dims=schema.LABELS.dims)))
    (path,) = write_ome_zarr({"a": ds}, tmp_path)
    found = open_ome_zarr(path)
    assert found["labels"].dtype == dtype
    np.testing.assert_array_equal(values(found["labels"]), cells)
    lower = open_ome_zarr(path, level=1)  # thinned, never averaged
    np.testing.assert_array_equal(values(lower["labels"]), cells[..., ::2, ::2])
    assert {"assumed", "notes"}.isdisjoint(found.attrs)


def test_two_numbers_below_zero_get_no_advice_that_ends_at_the_other(image):
    add(image, numbers("i2") - 2)
    cells = open_ome_zarr(image, background=-1)["labels"]
    with pytest.raises(
        InputError, match=r"hold -2 besides the background, -1, .*labels=none"
    ) as no:
        values(cells)
    assert "option background" not in str(no.value)
    assert "labels" not in open_ome_zarr(image, labels="none")


def test_labels_that_no_list_names_are_said(image):
    add(image, numbers())
    zarr.open_group(image / "labels", mode="a").attrs["ome"] = {"version": "0.5"}
    ds = open_ome_zarr(image)
    line = "labels left out: 'cells', which no list names; option labels=NAME reads one of them"
    assert ("labels" in ds, ds.attrs["notes"]) == (False, [line])
    np.testing.assert_array_equal(
        values(open_ome_zarr(image, labels="cells")["labels"])[:, 0], numbers()
    )


def test_channels_that_are_described_beside_the_ome_metadata(image):
    named = {"channels": [{"label": "GFP", "color": "00FF00"}, {"label": "RFP"}]}
    zarr.open_group(image, mode="a").attrs["omero"] = named
    assert open_ome_zarr(image)["c"].values.tolist() == ["GFP", "RFP"]
