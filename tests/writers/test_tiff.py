"""The OME-TIFF writer: read back alike by tifffile and by ourselves, never held whole."""

import dask.array as da
import numpy as np
import pytest
import tifffile
import xarray as xr

from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.readers import open_tiff
from dpipe.writers import tiff, write_tiff


def movie(shape=(3, 2, 4, 20, 30), dtype="u2", chunks=None, **said):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 100, shape).astype(dtype)
    data = pixels if chunks is None else da.from_array(pixels, chunks=chunks)
    given = {
        "spacing": (2, 0.5, 0.1 + 0.2),
        "origin": (1, 2, -3.3),
        "times": [5, 15.1, 26][: shape[0]],
        "channels": ["GFP <1> & \u00e9", "RFP"][: shape[1]],
        "colors": ["00FF00", "FF00AA"][: shape[1]],
    } | said
    return schema.movie(data, **given)


def same(found: xr.Dataset, ds: xr.Dataset) -> None:
    assert found.image.dtype == ds.image.dtype
    np.testing.assert_array_equal(found.image, ds.image)
    for dim in ("t", "z", "y", "x"):
        np.testing.assert_allclose(found[dim], ds[dim], rtol=0, atol=1e-9)
        assert schema.spacing(found, dim) == pytest.approx(schema.spacing(ds, dim), abs=1e-12)
    assert found.c.values.tolist() == ds.c.values.tolist()
    assert found.channel_color.values.tolist() == ds.channel_color.values.tolist()
    assert "assumed" not in found.attrs


@pytest.mark.parametrize("compression", tiff.COMPRESSIONS)
@pytest.mark.parametrize("chunks", [None, (1, 1, 4, 20, 30), (2, 1, 4, 20, 30), (3, 2, 2, 7, 30)])
def test_round_trip(tmp_path, compression, chunks):
    ds = movie(chunks=chunks)
    (path,) = write_tiff({"Neu1": ds}, tmp_path, compression=compression)
    assert path == str(tmp_path / "Neu1.ome.tif")
    found = open_tiff(path)
    same(found, ds)
    assert found.attrs == {"format": "ome-tiff", "name": "Neu1"}


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u4", "i4", "f4", "f8"])
def test_kinds_of_numbers(tmp_path, dtype):
    ds = movie(dtype=dtype)
    (path,) = write_tiff({"a": ds}, tmp_path)
    same(open_tiff(path), ds)


@pytest.mark.parametrize("shape", [(1, 1, 1, 20, 30), (3, 1, 1, 20, 30), (1, 2, 3, 4, 3)])
def test_small_shapes(tmp_path, shape):
    """A last axis of 3 is no colour."""
    ds = movie(shape, interval=7.5)
    (path,) = write_tiff({"a": ds}, tmp_path)
    same(open_tiff(path), ds)


def test_what_others_read(tmp_path):
    ds = movie()
    (path,) = write_tiff({"a": ds}, tmp_path)
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert not file.is_bigtiff
        assert file.series[0].axes == "TCZYX"
        np.testing.assert_array_equal(file.asarray(), ds.image)
        xml = file.ome_metadata
    for text in (
        'PhysicalSizeZ="2.0"', 'PhysicalSizeZUnit="\u00b5m"', 'TimeIncrement="10.5"',
        'Name="GFP &lt;1&gt; &amp; \u00e9"', 'Color="16711935"', 'DeltaT="15.1"',
    ):  # fmt: skip
        assert text in xml
    # red ff, green 00, blue aa, opaque: 0xFF00AAFF as a signed number
    assert f'Color="{0xFF00AAFF - 2**32}"' in xml


def test_recording_date(tmp_path):
    ds = movie()
    ds.attrs["recording_date"] = "2020-01-02 03:04:05"
    (path,) = write_tiff({"a": ds}, tmp_path)
    assert open_tiff(path).attrs["recording_date"] == "2020-01-02T03:04:05"


def test_labels(tmp_path):
    ds = movie()
    cells = (ds.image.isel(c=0, drop=True) % 7).astype("u4")
    both = ds.merge(schema.LABELS.wrap(cells))
    paths = write_tiff({"a": both, "b": both[["labels"]]}, tmp_path)
    assert [p.rpartition("/")[2] for p in paths] == [
        "a.ome.tif", "a_labels.ome.tif", "b_labels.ome.tif",
    ]  # fmt: skip
    for path in paths[1:]:
        found = open_tiff(path)
        np.testing.assert_array_equal(found.image[:, 0], cells)
        np.testing.assert_allclose(found.t, ds.t, rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.x, ds.x, rtol=0, atol=1e-9)
    assert len(write_tiff({"c": both[["labels"]]}, tmp_path, image="labels")) == 1


@pytest.mark.parametrize(
    ("dtype", "shift", "stored"),
    [
        ("i8", 0, "u4"),
        ("u8", 0, "u4"),
        ("i8", 2**32 - 100, "u4"),  # the largest value is 2**32 - 1
        ("i8", -(2**31), "i4"),
        ("i8", -1, "i4"),
        ("?", 0, "u1"),
        ("f2", 0, "f4"),
    ],
)
def test_numbers_that_fit_a_narrower_kind(tmp_path, dtype, shift, stored):
    pixels = movie(chunks=(1, 1, 4, 20, 30)).image.data % 100
    pixels[0, 0, 0, 0, :2] = [0, 99]
    pixels = pixels.astype(dtype) + np.array(shift).astype(dtype) if shift else pixels.astype(dtype)
    ds = schema.movie(pixels)
    (path,) = write_tiff({"a": ds}, tmp_path)
    found = open_tiff(path)
    assert found.image.dtype == stored
    np.testing.assert_array_equal(found.image.values.astype(dtype), ds.image)


def test_labels_of_64_bits(tmp_path):
    """As many programs make them; they come in as uint64 and must be able to go out."""
    ds = movie()
    cells = (ds.image.isel(c=0, drop=True) % 7).astype("u8")
    paths = write_tiff({"a": ds.merge(schema.LABELS.wrap(cells))}, tmp_path)
    found = open_tiff(paths[1])
    assert found.image.dtype == "u4"
    np.testing.assert_array_equal(found.image[:, 0], cells)


def test_a_refused_export_leaves_nothing(tmp_path):
    """Neither the image beside the labels, nor the parts before, nor folders."""
    ds = movie()
    cells = (ds.image.isel(c=0, drop=True) % 7).astype("u8")
    both = ds.merge(schema.LABELS.wrap(cells + 2**40))
    good = ds.merge(schema.LABELS.wrap(cells))
    to = tmp_path / "new" / "folder"
    with pytest.raises(SchemaError, match="b_labels: OME-TIFF holds no uint64 from 1099511627776"):
        write_tiff({"a": good, "b": both}, to)
    assert list(tmp_path.iterdir()) == []
    to.mkdir(parents=True)
    (to / "b.ome.tif").write_text("mine")
    with pytest.raises(UsageError, match=r"b.ome.tif: is there already"):
        write_tiff({"a": good, "b": good}, to)
    assert [path.name for path in to.iterdir()] == ["b.ome.tif"]
    with pytest.raises(SchemaError, match=r"two files would be called a_labels.ome.tif"):
        write_tiff({"a": good, "a_labels": ds}, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_part_that_fails_takes_those_before_with_it(tmp_path):
    def fail(block_info=None):
        raise OSError(28, "No space left on device")

    chunks = ((1, 1, 1), (2,), (4,), (20,), (30,))
    broken = schema.movie(da.map_blocks(fail, chunks=chunks, meta=np.empty((0,) * 5, "u2")))
    with pytest.raises(OSError, match="No space left"):
        write_tiff({"a": movie(), "b": broken}, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_big_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "_BIG", 1000)
    ds = movie()
    (path,) = write_tiff({"a": ds}, tmp_path)
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff
    same(open_tiff(path), ds)


@pytest.mark.parametrize(("step", "most"), [(1, 1), (2, 4)])
def test_frame_by_frame(tmp_path, step, most):
    """Between two writes at most the blocks of the same frames are computed."""
    plane, frames = (64, 512), 6
    size = []

    def pixels(block_info=None):
        (aside,) = tmp_path.iterdir()
        size.append(aside.stat().st_size)
        return np.zeros((step, 1, 8, *plane), "u2")

    chunks = ((step,) * (frames // step), (1, 1), (8,), (64,), (512,))
    ds = schema.movie(da.map_blocks(pixels, chunks=chunks, meta=np.empty((0,) * 5, "u2")))
    write_tiff({"a": ds}, tmp_path, compression="none")
    # bytes written when the last blocks were asked for: all planes but those of these blocks
    volume = 8 * 64 * 512 * 2
    assert len(size) == 12 // step
    assert size[-1] >= (12 - 2 * most) * volume


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.rename(image="other"), "a: neither 'image' nor 'labels'.*Found: other"),
        (lambda ds: ds.astype("c8"), "a: OME-TIFF holds no complex64; convert 'image' first"),
        (
            lambda ds: ds.astype("u8") + 2**32 - 1,
            "a: OME-TIFF holds no uint64 from 4294967295 to .*; convert 'image' first",
        ),
        (lambda ds: ds.astype("i8") - 2**31 - 1, "a: OME-TIFF holds no int64 from -2147483649"),
        (lambda ds: ds.isel(y=0), r"'image' has dims \(t, c, z, x\)"),
        (lambda ds: ds.rename(z="record"), "expected y, x and any of t, c, z"),
    ],
)
def test_what_it_cannot_hold(tmp_path, change, message):
    with pytest.raises(SchemaError, match=message):
        write_tiff({"a": change(movie())}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_wrong_use(tmp_path):
    ds = movie()
    with pytest.raises(UsageError, match="compression='jpeg'; expected one of none, deflate"):
        write_tiff({"a": ds}, tmp_path, compression="jpeg")
    write_tiff({"a": ds}, tmp_path)
    with pytest.raises(UsageError, match=r"a.ome.tif: is there already"):
        write_tiff({"a": ds}, tmp_path)


def test_what_fails_leaves_nothing(tmp_path):
    def pixels(block_info=None):
        if block_info[None]["chunk-location"][0] == 2:
            raise OSError(5, "Input/output error")
        return np.zeros((1, 1, 2, 8, 9), "u2")

    chunks = ((1,) * 4, (1,), (2,), (8,), (9,))
    image = da.map_blocks(pixels, chunks=chunks, meta=np.empty((0,) * 5, "u2"))
    with pytest.raises(OSError, match="Input/output"):
        write_tiff({"a": schema.movie(image)}, tmp_path)
    assert list(tmp_path.iterdir()) == []
