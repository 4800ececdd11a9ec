"""Folders of pictures: parts, packing, what is put aside, and that everything comes back."""

import io
import os
import pickle
import shutil

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import dpipe
from dpipe import schema, sources
from dpipe.demo.study import write_ifc_tree
from dpipe.errors import InputError, UsageError
from dpipe.readers import packing
from dpipe.readers.ifc import collection, folders, rows
from dpipe.sources import Item
from dpipe.storage import safe_key


def write(path, image, mask=None, label=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["image"] = image
        if mask is not None:
            file["mask"] = mask
        if label is not None:
            file["label"] = label
    return path


def picture(height=4, width=5, channels=3, dtype="u2", seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 200, (height, width, channels)).astype(dtype)
    return image, (image > 100).astype("u1")


# --- parts -------------------------------------------------------------------------------------


def items(*paths, size=3, etag="0"):
    return [Item(f"/raw/{path}", path, size, etag) for path in paths]


def test_folders_become_parts_with_safe_names():
    names = ["E 1/D/+SEA /a_1.h5", "E 1/D/+SEA /a_2.h5", "E 1/D/-SEA/b_1.HDF5", "E 1/D/notes.txt",
             "E 1/D/x:y*z/c_1.h5", "top_1.h5", ".-odd/a_1.h5"]  # fmt: skip
    found = {part.stem: part.items[0] for part in folders.find(items(*names))}
    assert {stem: (item.uri, item.count, item.size) for stem, item in found.items()} == {
        "raw": ("/raw", 1, 3),
        "odd": ("/raw/.-odd", 1, 3),
        "E_1_D_+SEA": ("/raw/E 1/D/+SEA ", 2, 6),
        "E_1_D_-SEA": ("/raw/E 1/D/-SEA", 1, 3),
        "E_1_D_x_y_z": ("/raw/E 1/D/x:y*z", 1, 3),
    }


def test_names_that_would_be_alike_or_long_get_a_digest():
    stems = [
        part.stem for part in folders.find(items("a b/x_1.h5", "a_b/x_1.h5", "a" * 300 + "/x.h5"))
    ]
    assert len(set(stems)) == 3
    assert all(safe_key(stem) and len(stem) < 130 for stem in stems)
    assert sorted(stem.partition(".")[0] for stem in stems)[:2] == ["a_b", "a_b"]


def test_a_folder_is_another_when_any_of_its_files_is():
    def etag(*given, **said):
        return next(folders.find(items(*given, **said))).items[0].etag

    one = etag("a/x_1.h5", "a/x_2.h5")
    assert one == etag("a/x_2.h5", "a/x_1.h5")
    others = [etag("a/x_1.h5"), etag("a/x_1.h5", "a/x_3.h5"), etag("a/x_1.h5", "a/x_2.h5", size=4)]
    others += [etag("a/x_1.h5", "a/x_2.h5", etag="1"), etag("a/x_1.h5", "a/x_2.h5", "a/x_3.h5")]
    assert len({one, *others}) == 6


# --- what is read ------------------------------------------------------------------------------


def test_coordinates_say_what_the_tree_says(tmp_path):
    folder = tmp_path / "Experiment_1" / "Donor_2" / "+SEA "
    write(folder / "a_b_10.h5", *picture(), "T_cell")
    write(folder / "a_b_9.h5", *picture(3, 2))
    write(folder / "a_b_last.h5", picture(6, 1)[0])
    ds = collection.open_ifc(folder)
    assert ds.file.values.tolist() == ["a_b_9.h5", "a_b_10.h5", "a_b_last.h5"]
    assert ds.object_number.values.tolist() == [9, 10, -1]
    assert ds.label.values.tolist() == ["-1", "T_cell", "-1"]
    assert ds["set"].values.tolist() == ["unlabeled", "labeled", "unlabeled"]
    assert ds.mask_dtype.values.tolist() == ["uint8", "uint8", ""]
    assert set(ds.experiment.values) == {"Experiment_1"}
    assert set(ds.donor.values) == {"Donor_2"}
    assert set(ds.condition.values) == {"+SEA"}
    assert ds.c.values.tolist() == ["Ch1", "Ch2", "Ch3"]
    # 3 x 2 = 6 places, then 4 x 5 = 20, then 6 x 1
    assert ds.offset.values.tolist() == [0, 6, 26]
    assert dict(ds.sizes) == {
        "block": 1, "value": 96, "slot": 3, "place": 32, "c": 3, "record": 3,
    }  # fmt: skip
    assert ds.offset.attrs["long_name"] == schema.OFFSET.meaning
    assert ds.label.attrs["long_name"] == "class that somebody gave a picture, -1 none"


def test_options(tmp_path):
    for n in range(5):
        write(tmp_path / "plate" / "A01" / f"x_{n}.h5", *picture(2 + n))
    ds = collection.open_ifc(
        tmp_path / "plate/A01", levels="plate,well", channels="BF, CD3,CD18", block=2
    )
    assert ds.well.values.tolist() == ["A01"] * 5
    assert ds.plate.values.tolist() == ["plate"] * 5
    assert ds.c.values.tolist() == ["BF", "CD3", "CD18"]
    assert ds.in_block.values.tolist() == [0, 0, 1, 1, 2]
    assert ds.in_slot.values.tolist() == [0, 1, 0, 1, 0]
    assert ds.offset.values.tolist() == [0, 10, 0, 20, 0]
    assert ds.sizes["place"] == 45  # 20 and 25: the largest block
    assert ds.pixels.chunksizes["block"] == (1, 1, 1)
    bare = collection.open_ifc(tmp_path / "plate/A01", levels=[], channels=["a", "b", "c"])
    assert not {"experiment", "donor", "condition"} & set(bare.coords)


def test_a_block_is_a_power_of_two_of_at_most_96_mib():
    def block(height, width, channels, count):
        return packing.plan([collection.Facts(height, width, channels, "<u2")] * count).block

    assert block(105, 105, 8, 9000) == 512  # 176,400 bytes: 570 fit
    assert block(40, 40, 6, 9000) == 1024
    assert block(40, 40, 6, 30) == 30
    assert block(4000, 4000, 12, 3) == 1


BAD_OPTIONS = {
    "levels a keyword": ({"levels": "experiment,label"}, "levels: label; expected names"),
    "levels twice": ({"levels": "a,a"}, "levels: a, a; expected names, each once"),
    "levels a dim": ({"levels": "plate,block"}, "levels: block; expected names"),
    "levels a place": ({"levels": "in_slot"}, "levels: in_slot; expected names"),
    "levels a variable": ({"levels": "pixels"}, "levels: pixels; expected names"),
    "levels no name": ({"levels": "a b"}, "levels: a b"),
    "levels too deep": ({"levels": [f"l{i}" for i in range(99)]}, "levels: 99 names"),
    "channels": ({"channels": "a,b"}, r"channels: 2 names \(a, b\); the pictures of .* have 3"),
    "channels twice": ({"channels": "a,b,a"}, "no two may have one name"),
    "block": ({"block": -1}, "block: found -1; expected a number of pictures, or 0"),
    "block text": ({"block": "many"}, "block: found 'many'"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options(name, tmp_path):
    write(tmp_path / "x_1.h5", *picture())
    options, text = BAD_OPTIONS[name]
    with pytest.raises(UsageError, match=text):
        collection.open_ifc(tmp_path, **options)


def test_bad_places(tmp_path):
    write(tmp_path / "a" / "x_1.h5", *picture())
    write(tmp_path / "b" / "x_1.h5", *picture())
    with pytest.raises(UsageError, match=r"no \.h5 files in this folder itself"):
        collection.open_ifc(tmp_path)
    with pytest.raises(UsageError, match="found 2 folders"):
        collection.open_ifc([tmp_path / "a/x_1.h5", tmp_path / "b/x_1.h5"])
    with pytest.raises(UsageError, match="no such file or folder"):
        collection.open_ifc(tmp_path / "none")
    assert collection.open_ifc([tmp_path / "a/x_1.h5"]).sizes["record"] == 1


# --- everything comes back ---------------------------------------------------------------------

MASKS = [np.dtype(kind) for kind in ("?", "u1", "u2", "i1", "i4", "f4", "f8")]


@st.composite
def pictures(draw):
    """Some pictures of one dtype and number of channels, each with any mask or none."""
    dtype = draw(st.sampled_from([np.dtype(kind) for kind in ("u1", "u2", "i2", "u4", "f4")]))
    channels = draw(st.sampled_from([1, 2, 6, 8, 9, 16, 17, 32]))
    made = []
    for _ in range(draw(st.integers(1, 5))):
        shape = (draw(st.integers(1, 6)), draw(st.integers(1, 6)), channels)
        mask = None
        if kind := draw(st.sampled_from([None, *MASKS])):
            values = [0, 1, draw(st.sampled_from([1, 2, 100]))]
            if draw(st.booleans()) and kind.kind == "f":
                values += [-0.0]
            mask = draw(arrays.arrays(kind, shape, elements=st.sampled_from(values).map(kind.type)))
        label = draw(st.sampled_from([None, "T_cell", "", "-1"]))
        made.append((draw(arrays.arrays(dtype, shape)), mask, label))
    return made


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(pictures(), st.integers(1, 3))
def test_every_picture_mask_and_label_comes_back(tmp_path_factory, given_pictures, block):
    folder = tmp_path_factory.mktemp("tree")
    for n, one in enumerate(given_pictures):
        write(folder / f"x_{n}.h5", *one)
    ds = collection.open_ifc(folder, block=block)
    if ds.mask_dtype.values.any():
        assert ds.mask_code.dtype.itemsize * 8 >= ds.sizes["c"]
    for n, (image, mask, label) in enumerate(given_pictures):
        found, covered = dpipe.unpack(ds, n)
        assert found.dtype == image.dtype
        assert found.tobytes() == image.tobytes()
        assert (covered is None) == (mask is None)
        if mask is not None:
            assert covered.dtype == mask.dtype
            assert covered.tobytes() == mask.tobytes()
        assert ds.label.values[n] == ("-1" if label is None else label)
        assert ds["set"].values[n] == ("unlabeled" if label is None else "labeled")
    shutil.rmtree(folder)


def test_real_cells_come_back(shared_data):
    (part,) = folders.find(sources.walk_items(shared_data / "ifc" / "h5"))
    assert (part.stem, part.items[0].count) == ("Experiment_1_Donor_1_Eotaxin_5h", 37)
    ds = collection.open_ifc(part.items[0].uri)
    assert (ds.sizes["record"], ds.sizes["c"], ds.pixels.dtype) == (37, 6, "u2")
    assert ds.object_number.values[:4].tolist() == [0, 3, 6, 9]
    loaded = ds.compute()
    for n, name in enumerate(ds.file.values):
        with h5py.File(f"{part.items[0].uri}/{name}") as file:
            image, mask = dpipe.unpack(loaded, n)
            np.testing.assert_array_equal(image, file["image"][...])
            np.testing.assert_array_equal(mask, file["mask"][...])
            assert (image.dtype, mask.dtype) == (file["image"].dtype, file["mask"].dtype)


# --- damage ------------------------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path):
    """Ten pictures of 3 channels, of which the first and the last are sound."""
    for n in range(10):
        write(tmp_path / f"x_{n}.h5", *picture(seed=n))
    (tmp_path / "x_1.h5").write_bytes(b"rubbish")
    (tmp_path / "x_2.h5").write_bytes(b"")
    (tmp_path / "x_3.h5").write_bytes((tmp_path / "x_3.h5").read_bytes()[:900])
    write(tmp_path / "x_4.h5", *picture(channels=4))
    write(tmp_path / "x_5.h5", picture()[0], picture(6)[1])
    write(tmp_path / "x_6.h5", *picture(dtype="f4"))
    write(tmp_path / "x_007.h5", *picture())
    write(tmp_path / "x_8.h5", picture()[0][0])
    return tmp_path


def test_damaged_pictures_keep_their_records(damaged):
    ds = collection.open_ifc(damaged)
    reasons = dict(zip(ds.file.values, ds.put_aside.values, strict=True))
    assert reasons == {
        "x_0.h5": "",
        "x_1.h5": "not an HDF5 file",
        "x_2.h5": "empty: 0 bytes",
        "x_3.h5": "truncated, shorter than its header says",
        "x_4.h5": "4 channels; most pictures beside it have 3",
        "x_5.h5": "mask of shape (6, 5, 3) beside an image of (4, 5, 3); expected the "
        "same shape, a mask for each channel",
        "x_6.h5": "image of float32; most pictures beside it have uint16",
        "x_007.h5": "",
        "x_7.h5": "object 7 again; it is in x_007.h5 too",
        "x_8.h5": "1 channels; most pictures beside it have 3",
        "x_9.h5": "",
    }
    sound = ds.put_aside.values == ""
    assert ((ds.height.values > 0) == sound).all()
    assert ((ds.width.values > 0) == sound).all()
    image, mask = dpipe.unpack(ds, 10)
    np.testing.assert_array_equal(image, picture(seed=9)[0])
    np.testing.assert_array_equal(mask, picture(seed=9)[1])
    assert dpipe.unpack(ds, 1)[0].shape == (0, 0, 3)


def test_a_file_that_is_no_picture_by_its_size_is_not_read(tmp_path):
    write(tmp_path / "x_0.h5", *picture())
    with open(tmp_path / "x_1.h5", "wb") as file:
        file.truncate(3 << 30)  # sparse
    reasons = collection.open_ifc(tmp_path).put_aside.values.tolist()
    assert reasons == ["", "3221225472 bytes; it is no picture"]


def test_a_folder_without_a_sound_picture_is_refused(tmp_path):
    for n in range(3):
        write(tmp_path / f"x_{n}.h5", *picture()).write_bytes(b"rubbish")
    with pytest.raises(
        InputError, match=r"none of 3 pictures can be read; the first: x_0\.h5: not"
    ):
        collection.open_ifc(tmp_path)


@pytest.mark.parametrize("how", ["gone", "changed", "mask", "gzip"])
def test_what_turns_out_damaged_later_is_flagged(tmp_path, how):
    image, mask = picture()
    write(tmp_path / "x_0.h5", image, mask > 0)
    path = tmp_path / "x_1.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=image, compression="gzip", chunks=(4, 5, 3))
    ds = collection.open_ifc(tmp_path)
    if how == "gone":
        path.unlink()
    elif how == "changed":
        path.unlink()
        write(path, picture(5)[0])
    elif how == "mask":  # of several values, where there were truth values
        write(path, image, image.astype("u1"))
    else:
        data = bytearray(path.read_bytes())
        with h5py.File(path) as file:
            start = file["image"].id.get_chunk_info(0).byte_offset
        data[start : start + 20] = b"\xff" * 20
        path.write_bytes(data)
    gone = 0 if how == "gzip" else schema.GONE
    assert ds.picture_flag.values.tolist() == [[0, schema.UNREADABLE | gone]]
    assert not dpipe.unpack(ds, 1)[0].any()
    np.testing.assert_array_equal(dpipe.unpack(ds, 0)[0], image)
    np.testing.assert_array_equal(dpipe.unpack(ds, 0)[1], mask > 0)


SOFT = {
    "soft edges": ("f4", [0, 0.25, 1], "fractions", 0.5),
    "soft to the end": ("f8", [0, 0.25, 200.5], "fractions", 127.5),
    "large": ("f8", [0, 0.5, 4000], "fractions", 2000),
    "nan": ("f8", [0, np.nan, 255], "values that are not finite", 127.5),
    "inf": ("f4", [0, np.inf, 1], "values that are not finite", 0.5),
    "both": ("f2", [0.5, np.nan, 1], "fractions and values that are not finite", 0.5),
    "below": ("i2", [-1, -1, 1], "values below 0", 0),
    "below, floats": ("f4", [-1, 0, 2], "values below 0", 0),
    "only below": ("f4", [-1, -0.5, 0], "fractions and values below 0", 0),
}


@pytest.mark.parametrize("how", ["contiguous", "gzip"])
@pytest.mark.parametrize("kind", SOFT)
def test_masks_that_do_not_say_what_is_inside_are_refused(tmp_path, kind, how):
    """By name, counted, and with a way on that helps."""
    dtype, values, message, threshold = SOFT[kind]
    image, mask = np.ones((2, 6, 1), "u2"), np.resize(values, (2, 6, 1)).astype(dtype)
    write(tmp_path / "x_0.h5", image, mask > 0)
    with h5py.File(tmp_path / "x_1.h5", "w") as file:
        file["image"] = image
        file.create_dataset("mask", data=mask, compression="gzip" if how == "gzip" else None)
    ds = collection.open_ifc(tmp_path)
    assert ds.put_aside.values[0] == ""
    assert ds.put_aside.values[1] == (
        f"mask of {np.dtype(dtype)} with {message}; expected whole numbers from 0. Say "
        f"threshold={threshold:g} to take what is above it"
    )
    assert (ds.height.values > 0).tolist() == [True, False]
    ds = collection.open_ifc(tmp_path, threshold=threshold)
    assert ds.put_aside.values.tolist() == ["", ""]
    assert ds.mask_dtype.values.tolist() == ["bool", "bool"]
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(dpipe.unpack(ds, 1)[1], mask > threshold)
    laid = ds.assign({name: xr.zeros_like(array) for name, array in ds.data_vars.items()})
    again = collection.resume(laid, [str(tmp_path)], threshold=threshold, levels="")
    xr.testing.assert_identical(again.compute(), ds.compute())


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i8"])
@pytest.mark.parametrize("values", [[0, 1], [0, 100], [0], [0, 1, 2, 3]])
def test_masks_of_whole_numbers_are_read_as_they_are(tmp_path, dtype, values):
    mask = np.resize(values, (2, 6, 1)).astype(dtype)
    write(tmp_path / "x_0.h5", np.ones((2, 6, 1), "u2"), mask)
    ds = collection.open_ifc(tmp_path)
    assert ds.put_aside.values.tolist() == [""]
    found = dpipe.unpack(ds, 0)[1]
    assert (found.dtype, found.tobytes()) == (mask.dtype, mask.tobytes())


def test_a_threshold_takes_masks_of_all_kinds(tmp_path):
    image = np.ones((1, 4, 1), "u2")
    for n, (dtype, values) in enumerate(
        [("?", [0, 1, 0, 1]), ("u1", [0, 255, 1, 254]), ("f4", [0, 0.6, 0.4, np.nan])]
    ):
        write(tmp_path / f"x_{n}.h5", image, np.reshape(values, (1, 4, 1)).astype(dtype))
    ds = collection.open_ifc(tmp_path, threshold=0.5)
    masks = [dpipe.unpack(ds, n)[1].reshape(-1).tolist() for n in range(3)]
    assert masks == [
        [False, True, False, True], [False, True, True, True], [False, True, False, False],
    ]  # fmt: skip
    assert "mask_pixels" not in ds


@pytest.mark.parametrize("threshold", ["half", float("nan"), True])
def test_a_threshold_that_is_none(tmp_path, threshold):
    write(tmp_path / "x_0.h5", *picture())
    with pytest.raises(UsageError, match=r"threshold: found .*; expected a number"):
        collection.open_ifc(tmp_path, threshold=threshold)


def test_grey_pictures_have_one_channel(tmp_path):
    """Read by the parser and by h5py, alone and with a mask."""
    image, mask = picture(channels=1)
    write(tmp_path / "x_0.h5", image[..., 0], mask[..., 0] > 0)
    write(tmp_path / "x_1.h5", image, mask[..., 0] > 0)
    with h5py.File(tmp_path / "x_2.h5", "w") as file:
        file.create_dataset("image", data=image[..., 0], compression="gzip")
    ds = collection.open_ifc(tmp_path)
    assert (ds.put_aside.values.tolist(), ds.sizes["c"]) == ([""] * 3, 1)
    for n in range(3):
        np.testing.assert_array_equal(dpipe.unpack(ds, n)[0], image)
    np.testing.assert_array_equal(dpipe.unpack(ds, 0)[1], mask > 0)
    paths = [tmp_path / f"x_{n}.h5" for n in range(3)]
    assert len({content(path, kept) for path in paths for kept in (False, True)}) == 1


@pytest.mark.parametrize("how", [None, "gzip"])
def test_names_in_the_plural(tmp_path, how):
    image, mask = picture()
    with h5py.File(tmp_path / "x_0.h5", "w") as file:
        file.create_dataset("images", data=image, compression=how)
        file.create_dataset("masks", data=mask, compression=how)
        file["labels"] = "T_cell"
    ds = collection.open_ifc(tmp_path)
    assert ds.label.values.tolist() == ["T_cell"]
    np.testing.assert_array_equal(dpipe.unpack(ds, 0)[0], image)
    np.testing.assert_array_equal(dpipe.unpack(ds, 0)[1], mask)


def test_other_names_are_shown_and_two_images_are_refused(tmp_path):
    with h5py.File(tmp_path / "x_0.h5", "w") as file:
        file["picture"], file["seg"] = picture()
    with pytest.raises(InputError, match=r"no dataset image .*; found picture, seg"):
        collection.open_ifc(tmp_path)
    with h5py.File(tmp_path / "x_0.h5", "a") as file:
        file["image"], file["images"] = picture()
    with pytest.raises(InputError, match="both image and images; expected one of them"):
        collection.open_ifc(tmp_path)


def test_a_label_that_is_none_spoils_no_picture(tmp_path):
    text = h5py.string_dtype()
    labels = [
        *("T", np.int64(2), np.bytes_("B"), np.array(["a", "b"], text)),
        *(np.eye(4, dtype="f4")[2], np.eye(4, dtype="i8")[0]),
        *(np.zeros(4), h5py.Empty("i4"), np.array([0, 2, 0])),
    ]
    for n, label in enumerate(labels):
        write(tmp_path / f"x_{n}.h5", *picture(), label)
    ds = collection.open_ifc(tmp_path)
    assert ds.put_aside.values.tolist() == [""] * 9
    assert ds.label.values.tolist() == ["T", "2", "B", "-1", "2", "0", "-1", "-1", "-1"]
    assert (ds["set"].values == "labeled").tolist() == [True] * 3 + [False, True, True] + [
        False
    ] * 3
    assert sorted(ds.attrs["notes"]) == [
        "1 pictures: label is empty; expected values; the picture has no label; the first is "
        "x_7.h5",
        "1 pictures: label of shape (2,); expected one; the picture has no label; the first is "
        "x_3.h5",
        "1 pictures: label of shape (3,); expected one; the picture has no label; the first is "
        "x_8.h5",
        "1 pictures: label of shape (4,); expected one; the picture has no label; the first is "
        "x_6.h5",
        "2 pictures: label is one of 4 by its place (one-hot), from 0; the first is x_4.h5",
    ]


@pytest.mark.parametrize("how", ["changed", "touched", "gone"])
def test_a_file_that_changed_since_it_was_listed_is_put_aside_alone(tmp_path, how):
    """Its shape and dtype tell nothing: the state that was listed does."""
    for n in range(3):
        write(tmp_path / f"x_{n}.h5", *picture(seed=n))
    ds = collection.open_ifc(tmp_path)
    path = tmp_path / "x_1.h5"
    if how == "changed":
        write(path, *picture(seed=9))
        os.utime(path, ns=(5, 5))
    elif how == "touched":
        os.utime(path, ns=(5, 5))
    else:
        path.unlink()
    assert ds.picture_flag.values.tolist() == [[0, schema.UNREADABLE | schema.GONE, 0]]
    for n in (0, 2):
        np.testing.assert_array_equal(dpipe.unpack(ds, n)[0], picture(seed=n)[0])


def test_files_that_are_gone_keep_a_record(tmp_path):
    write(tmp_path / "x_0.h5", *picture())
    write(tmp_path / "x_2.h5", *picture())
    ds = collection.open_ifc([str(tmp_path / f"x_{n}.h5") for n in (2, 0, 1)])
    assert ds.file.values.tolist() == ["x_0.h5", "x_1.h5", "x_2.h5"]
    assert ds.height.values.tolist() == [4, 0, 4]
    assert ds.put_aside.values[1] == "gone; it was there when the source was listed"
    with pytest.raises(UsageError, match=r"no \.h5 files in this folder itself"):
        collection.open_ifc([tmp_path / "x_9.h5"])


def test_values_that_are_not_finite_are_flagged(tmp_path):
    image = np.ones((2, 2, 1), "f4")
    write(tmp_path / "x_0.h5", image)
    image[0, 0, 0] = np.nan
    write(tmp_path / "x_1.h5", image)
    ds = collection.open_ifc(tmp_path)
    assert ds.picture_flag.values.tolist() == [[0, 4]]
    assert "mask_code" not in ds


def test_masks_without_a_common_dtype(tmp_path):
    image = np.ones((2, 2, 1), "u2")
    write(tmp_path / "x_0.h5", image, np.ones((2, 2, 1), "u8"))
    write(tmp_path / "x_1.h5", image, np.ones((2, 2, 1), "i8"))
    with pytest.raises(InputError, match=r"masks of <i8, <u8, which no dtype holds all"):
        collection.open_ifc(tmp_path)


def test_a_row_that_would_be_too_long(tmp_path):
    facts = [collection.Facts(1 << 14, 1 << 14, 3, "|u1")] * 3
    with pytest.raises(InputError, match="a block of 3 pictures has 805306368 places; set a small"):
        packing.plan(facts, 3)


def test_regions_of_several_blocks_and_of_none(tmp_path):
    for n in range(3):
        write(tmp_path / f"x_{n}.h5", *picture(seed=n))
    ds = collection.open_ifc(tmp_path, block=1)
    for cut in (slice(0, 3), slice(1, 3), slice(0, 0)):
        found = dpipe.compute.blocks.compute_region(
            ds, ["pixels"], {"block": cut, "value": slice(5, 9)}
        )
        np.testing.assert_array_equal(found["pixels"], ds.pixels.values[cut, 5:9])
        assert found["pixels"].dtype == "u2"


def test_more_channels_than_bits(tmp_path):
    write(tmp_path / "x_0.h5", np.ones((2, 2, 33), "u2"))
    with pytest.raises(InputError, match="33 channels; at most 32"):
        collection.open_ifc(tmp_path)


# --- read again, guessed, resumed --------------------------------------------------------------


def test_a_guess_has_the_sizes_without_all_headers(tmp_path, monkeypatch):
    root = write_ifc_tree(tmp_path / "t", 300, samples=["E/D/c"], channels=2, mean_size=9)
    looked = []
    survey = collection._survey
    monkeypatch.setattr(
        collection, "_survey", lambda items, t: looked.extend(items) or survey(items, t)
    )
    ds = collection.guess(root / "E/D/c", block=64)
    assert len(looked) <= 64
    whole = collection.open_ifc(root / "E/D/c", block=64)
    same = ("block", "record", "slot", "c")
    assert all(ds.sizes[dim] == whole.sizes[dim] for dim in same)
    assert ds.sizes["place"] == pytest.approx(whole.sizes["place"], rel=0.3)
    assert {k: v.dtype for k, v in ds.data_vars.items()} == {
        k: v.dtype for k, v in whole.data_vars.items()
    }


def test_what_was_laid_out_is_enough_to_go_on(damaged):
    ds = collection.open_ifc(damaged, block=3)
    laid = ds.assign({name: xr.zeros_like(array) for name, array in ds.data_vars.items()})
    again = collection.resume(laid, [str(damaged)], levels="", block=3)
    xr.testing.assert_identical(again.compute(), ds.compute())


def test_blocks_are_read_once_for_all_variables(tmp_path, monkeypatch):
    root = write_ifc_tree(tmp_path / "t", 40, samples=["E/D/c"], channels=2, mean_size=9)
    ds = collection.open_ifc(root / "E/D/c", block=16)
    opened = []
    read_many = sources.read_many
    monkeypatch.setattr(
        sources, "read_many", lambda uris, take: read_many(map(_seen(opened), uris), take)
    )
    names = list(ds.data_vars)
    for block in range(3):
        dpipe.compute.blocks.compute_region(ds, names, {"block": slice(block, block + 1)})
    assert len(opened) == len(set(opened)) == 39  # one is corrupt
    assert len(pickle.dumps(ds)) < 50_000


def test_threads_do_not_take_rows_from_each_other(tmp_path, monkeypatch):
    root = write_ifc_tree(tmp_path / "t", 32, samples=["E/D/c"], channels=2, mean_size=9)
    ds = collection.open_ifc(root / "E/D/c", block=16)
    expected, names, filled = ds.compute(), list(ds.data_vars), []
    fill = rows.Rows.fill
    monkeypatch.setattr(rows.Rows, "fill", lambda self, n: filled.append(n) or fill(self, n))
    for name in names:  # two threads by turns, each at its own block
        for block in (0, 1):
            monkeypatch.setattr(packing.threading, "get_ident", lambda block=block: block)
            cut = {"block": slice(block, block + 1)}
            found = dpipe.compute.blocks.compute_region(ds, [name], cut)[name]
            np.testing.assert_array_equal(found, expected[name][block : block + 1])
    assert filled == [0, 1]


def _seen(opened):
    return lambda uri: opened.append(uri) or uri


# --- the same picture twice ----------------------------------------------------------------------


def content(path, in_memory=False):
    data = path.read_bytes()
    with path.open("rb", buffering=0) as file:
        bits, several = collection.content(io.BytesIO(data) if in_memory else file)
        assert not several
        return bits


def test_the_same_pixels_give_the_same_number_however_they_are_kept(tmp_path):
    image, mask = picture(60, 50)  # 18,000 bytes: only the middle of them is looked at
    same = [write(tmp_path / "a.h5", image), write(tmp_path / "b.h5", image, mask, "T_cell")]
    for name, how in (("c", {"compression": "gzip"}), ("d", {"dtype": ">u2"})):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file.create_dataset("image", data=image, **how)
        same.append(tmp_path / f"{name}.h5")
    first = content(same[0])
    assert 0 < first < 2**64
    assert {content(path, kept) for path in same for kept in (False, True)} == {first}
    other = image.copy()
    other[30, 25, 1] += 1
    others = [other, image.reshape(50, 60, 3), image.astype("i2"), picture(60, 50, seed=1)[0]]
    found = {content(write(tmp_path / "o.h5", one)) for one in others}
    assert len(found | {first}) == 5


@pytest.mark.parametrize("how", [{}, {"compression": "gzip"}])
@pytest.mark.parametrize("kind", ["u1", "i2", "u4", "f4"])
@pytest.mark.parametrize(
    ("values", "several"),
    [((0, 1), False), ((0, 255), False), ((7, 7), False), ((0, 0), False), ((1, 2), True)],
)
def test_masks_of_several_values_are_told(tmp_path, how, kind, values, several):
    image, _ = picture(6, 5)
    mask = np.resize(np.array([0, *values]), image.shape).astype(kind)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("image", data=image)
        file.create_dataset("mask", data=mask, **how)
    data = (tmp_path / "a.h5").read_bytes()
    with (tmp_path / "a.h5").open("rb", buffering=0) as file:
        assert collection.content(file)[1] is several
    assert collection.content(io.BytesIO(data))[1] is several


def test_what_cannot_be_told_apart_has_no_number(tmp_path):
    assert content(write(tmp_path / "a.h5", np.full((90, 90, 3), 258, "u2"))) == 0
    assert content(write(tmp_path / "b.h5", np.full((1, 1, 1), 3, "u1"))) == 0
    (tmp_path / "c.h5").write_bytes(b"rubbish")
    for in_memory in (False, True):
        with pytest.raises(InputError, match="not an HDF5 file"):
            content(tmp_path / "c.h5", in_memory)


def test_the_generated_tree_is_what_it_says(tmp_path):
    root = write_ifc_tree(tmp_path / "t", 60, channels=3, mean_size=12)
    parts = list(folders.find(sources.walk_items(root)))
    assert [part.items[0].count for part in parts] == [30, 30]
    first, second = (collection.open_ifc(part.items[0].uri) for part in parts)
    assert np.flatnonzero(first.put_aside.values != "").tolist() == [3]
    assert np.flatnonzero(first.mask_dtype.values == "").tolist() == [3, 5]
    assert (first["set"].values == "labeled").sum() == 9  # of ten thirds, one is corrupt
    assert not (second.put_aside.values != "").any()
    empty = [not dpipe.unpack(second, n)[1][..., 1].any() for n in (0, 11, 22, 5)]
    assert empty == [True, True, True, False]


def test_a_label_of_nan_is_no_class(tmp_path):
    for i, label in enumerate((1.0, np.nan)):
        write(tmp_path / f"a_{i}.h5", picture()[0], label=label)
    ds = collection.open_ifc([tmp_path / "a_0.h5", tmp_path / "a_1.h5"])
    assert ds.label.values.tolist() == ["1.0", "-1"]
    assert ds.attrs["notes"][0].startswith("1 pictures: label is NaN; the picture has no label")


@pytest.mark.parametrize(("shape", "said"), [((3, 6, 8), True), ((6, 8, 3), False)])
def test_channels_that_may_stand_first_are_said(tmp_path, shape, said):
    write(tmp_path / "a_0.h5", np.zeros(shape, "u2"))
    notes = collection.open_ifc([tmp_path / "a_0.h5"]).attrs.get("notes", [])
    assert [line.split(":")[0] for line in notes] == [
        "pictures of 3 rows, 6 columns and 8 channels"
    ] * said
