"""Plates of Cellomics: fields in the order of wells, channels together, labels beside."""

import csv

import imagecodecs
import numpy as np
import pytest
from annotated import labels_of

import dpipe
from dpipe.errors import UsageError
from dpipe.formats import cellomics
from dpipe.readers import READERS
from dpipe.readers.pictures.plates import open_cellomics

FIELD = (np.arange(10 * 14).reshape(10, 14) * 331 % 4096).astype("u2")


def write(folder, stem, add=0, **options):
    suffix = ".C01" if options.get("packed", True) else ".DIB"
    (folder / f"{stem}{suffix}").write_bytes(cellomics.write(FIELD + add, **options))


def test_fields_wells_and_labels(tmp_path):
    for k, stem in enumerate(["P_1_B02f00d0", "P_1_A10f01d0", "P_1_A02f03d0", "P_1_A02f00d0"]):
        write(tmp_path, stem, k, spacing=0.645)
    labels = np.zeros((10, 14, 3), "u1")
    labels[2:4, 5:9] = (1, 2, 3)
    (tmp_path / "P_1_A02f03d0_objects.png").write_bytes(imagecodecs.png_encode(labels))
    (part,) = READERS["cellomics"].parts([str(tmp_path)])
    assert part.stem == "P_1"
    ds = open_cellomics([item.uri for item in part.items])
    assert ds["well"].values.tolist() == ["A02", "A02", "A10", "B02"]
    assert ds["field"].values.tolist() == [0, 3, 1, 0]
    assert ds["plate"].values.tolist() == ["P_1"] * 4
    assert (ds.attrs["wells"], ds.attrs["field_count"]) == (96, 4)
    assert ds.attrs["spacing"] == pytest.approx([0.645, 0.645], rel=1e-6)
    images = dpipe.pictures(ds, size=(10, 14)).image.values[:, 0]
    np.testing.assert_array_equal(images, [FIELD + 3, FIELD + 2, FIELD + 1, FIELD])
    assert (labels_of(ds, 1) == 1 << 16 | 2 << 8 | 3).sum() == 8
    assert not labels_of(ds, 0).any()


def test_channels_of_a_field_lie_together(tmp_path):
    for channel in range(3):
        for field in range(2):
            write(tmp_path, f"P_A02f0{field}d{channel}", 100 * channel + field, packed=channel < 2)
    ds = open_cellomics(str(tmp_path), channels="DNA,actin,tubulin")
    images = dpipe.pictures(ds, size=(10, 14)).image
    np.testing.assert_array_equal(images.sel(c="tubulin").values, [FIELD + 200, FIELD + 201])


def test_a_field_without_a_channel_is_put_aside_and_said(tmp_path):
    for stem in ("P_A01f00d0", "P_A01f00d1", "P_A01f01d0", "P_A02f00d0", "P_A02f00d1"):
        write(tmp_path, stem)
    ds = open_cellomics(str(tmp_path))
    assert ds["height"].values.tolist() == [10, 0, 10]
    assert ds["put_aside"].values[1] == "1 channels; most pictures beside it have 2"
    (note,) = ds.attrs["notes"]
    assert note == "1 fields have other channels than most (0, 1): P_A01f01d0.C01"


@pytest.mark.parametrize(
    ("wells", "count"),
    [(["H12"], 96), (["A13"], 384), (["P24"], 384), (["Q01"], 1536), (["AF48"], 1536)],
)
def test_size_of_the_plate(tmp_path, wells, count):
    for well in wells:
        write(tmp_path, f"P_{well}f00d0")
    assert open_cellomics(str(tmp_path)).attrs["wells"] == count


def test_of_a_picture_in_two_formats_that_of_the_microscope_is_taken(tmp_path):
    write(tmp_path, "P_A01f00d0")
    small = (FIELD >> 4).astype("u1")
    (tmp_path / "P_A01f00d0.png").write_bytes(imagecodecs.png_encode(small))
    ds = open_cellomics(str(tmp_path))
    assert ds["file"].values.tolist() == ["P_A01f00d0.C01"]
    assert "in another format too" in ds.attrs["notes"][0]


@pytest.mark.parametrize("other", ["b/P_A01f00d0", "a/P_A01"])
def test_of_two_pictures_of_one_field_none_is_guessed(tmp_path, other):
    for name in ("a/P_A01f00d0", other, "a/P_A01f01d0"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path, name)
    ds = open_cellomics(str(tmp_path))
    assert ds["height"].values.tolist() == [0, 10]
    assert ds["put_aside"].values[0].startswith("2 pictures of this field: ")
    assert ds["put_aside"].values[0].endswith("; name one of them")


def test_the_same_picture_in_two_folders_and_formats(tmp_path):
    for folder in ("raw", "png"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "raw", "P_A01f00d0")
    (tmp_path / "png/P_A01f00d0.png").write_bytes(imagecodecs.png_encode(FIELD))
    ds = open_cellomics(str(tmp_path))
    assert ds["file"].values.tolist() == ["P_A01f00d0.C01"]
    assert ds["put_aside"].values.tolist() == [""]


def test_fields_of_unlike_scale_have_none(tmp_path):
    write(tmp_path, "P_A01f00d0", spacing=0.65)
    write(tmp_path, "P_A01f01d0", spacing=1.3)
    ds = open_cellomics(str(tmp_path))
    assert "spacing" not in ds.attrs
    assert "pixels of unlike size (0.65" in ds.attrs["notes"][0]


def test_a_well_that_no_plate_has_is_said(tmp_path):
    write(tmp_path, "P_Z99f00d0")
    ds = open_cellomics(str(tmp_path))
    assert "wells" not in ds.attrs
    assert ds.attrs["notes"] == ["well Z99 is on no plate of 96, 384, 1536 wells"]


def test_damaged_files_keep_their_record(tmp_path):
    write(tmp_path, "P_A01f00d0")
    write(tmp_path, "P_A01f01d0")
    path = tmp_path / "P_A01f01d0.C01"
    path.write_bytes(path.read_bytes()[:-60])
    (tmp_path / "P_A01f02d0.C01").write_bytes(b"\0\0\0\x11" + bytes(90))
    ds = open_cellomics(str(tmp_path))
    assert "no Cellomics picture" in ds["put_aside"].values[2]
    assert ds["picture_flag"].values.tolist() == [[0, 1, 0]]


def test_wrong_use(tmp_path):
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(UsageError, match="no file named as"):
        open_cellomics(str(tmp_path))
    write(tmp_path, "P_A01f00d0")
    write(tmp_path, "Q_A01f00d0")
    with pytest.raises(UsageError, match=r"files of 2 plates \(P, Q\)"):
        open_cellomics(str(tmp_path))


def test_published_names_of_a_plate(shared_data, tmp_path):
    """The 50 fields of the nuclei study, each with its label image, open as five plates."""
    with open(shared_data / "cellomics/aitslab_files.csv") as file:
        rows = list(csv.DictReader(file))
    mask = imagecodecs.png_encode(np.zeros((10, 14, 3), "u1"))
    for row in rows:
        write(tmp_path, row["c01"].removesuffix(".C01"))
        (tmp_path / row["objects_png"]).write_bytes(mask)
    parts = list(READERS["cellomics"].parts([str(tmp_path)]))
    assert [part.stem for part in parts] == sorted({f"MFGTMPcx7_{r['plate']}" for r in rows})
    for part in parts:
        ds = open_cellomics([item.uri for item in part.items])
        own = {r["c01"]: r for r in rows if f"MFGTMPcx7_{r['plate']}" == part.stem}
        assert set(ds["file"].values.tolist()) == set(own)
        for name, well, field in zip(
            ds["file"].values, ds["well"].values, ds["field"].values, strict=True
        ):
            assert (own[name]["well"], int(own[name]["field"])) == (well, field)
        assert "label_pixels" in ds
        fields = [int(r["field"]) for r in own.values()]
        assert ds.attrs["field_count"] >= max(fields) + 1


def test_a_real_plate_with_three_channels(shared_data):
    ds = open_cellomics(str(shared_data / "cellomics/ExampleHuman"))
    assert ds["well"].values.tolist() == ["D03"]
    assert (ds.sizes["c"], ds["height"].values.tolist()) == (3, [512])
    assert "left out: AS_09125_050116030001_D03f00d0_Overlay.png" in ds.attrs["notes"][0]
