"""The Imaris reader: real files, every branch of the format, every bad input."""

import itertools
import json
import os
import pickle
import warnings
import zlib
from functools import partial
from pathlib import Path

import dask
import fsspec
import h5py
import hdf5plugin
import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpipe.demo.study import write_imaris
from dpipe.errors import DpipeError, ImarisError, StoreError, UsageError
from dpipe.formats import hdf5
from dpipe.readers import open_imaris
from dpipe.readers.imaris import pixels as imaris_pixels
from dpipe.readers.imaris.movies import find
from dpipe.sources import Item

DATA = "DataSet/ResolutionLevel 0/TimePoint {}/Channel {}/Data"


def values(ds):
    return ds.image.data.compute(scheduler="synchronous")


def noise(shape, dtype="u2", seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, 200, shape).astype(dtype)


@pytest.fixture
def movie(tmp_path):
    """Write (t, c, z, y, x) = (3, 2, 5, 20, 30), padded to (8, 32, 32) with 77."""
    pixels = noise((3, 2, 5, 20, 30))
    path = write_imaris(
        tmp_path / "Neu1.h5",
        pixels,
        spacing=(2.0, 0.5, 0.25),
        origin=(10.0, -20.0, 30.0),
        interval=30.0,
        channels=["a", "b"],
        colors=["FF0000", "00FF80"],
        chunks=(4, 16, 16),
        padding=77,
    )
    return path, pixels


def edit(path, change):
    with h5py.File(path, "r+") as h5:
        change(h5)


def say(group, **attributes):
    for key, value in attributes.items():
        group.attrs[key] = np.frombuffer(str(value).encode(), "S1")


class TestRealFiles:
    def test_minimal_file(self, shared_data):
        # ImarisWriter's own minimal file. Numbers by h5py; extents 3..10 over 128 voxels
        # are 7 / 128 = 0.0546875 wide, so the first centre is 3 + 0.02734375.
        ds = open_imaris(shared_data / "imaris" / "Minimal_IMS_File.ims")
        assert dict(ds.sizes) == {"t": 1, "c": 1, "z": 1, "y": 128, "x": 128}
        assert ds.image.dtype == np.uint16
        assert ds.x.attrs["spacing"] == 0.0546875
        assert float(ds.x[0]) == 3.02734375
        assert float(ds.z[0]) == 0.05
        assert list(ds.c.values) == ["0"]
        assert int(ds.image.sum()) == 1439095
        assert ds.attrs["assumed"] == ["lengths are micrometres: the unit is ''"]

    def test_light_sheet_file(self, shared_data):
        # Imaris 9.8; Data is (16, 128, 128), the true size (12, 79, 84)
        path = shared_data / "imaris" / "brain_crop3_level3.ims"
        ds = open_imaris(path)
        assert dict(ds.sizes) == {"t": 1, "c": 2, "z": 12, "y": 79, "x": 84}
        with h5py.File(path) as h5:
            for c in range(2):
                expected = h5[DATA.format(0, c)][:12, :79, :84]
                np.testing.assert_array_equal(values(ds)[0, c], expected)
        assert int(ds.image.sum()) == 1021419421
        # (906.559 - 571.516) / 84, (3794.96 - 3523.13) / 12
        assert ds.x.attrs["spacing"] == pytest.approx(335.043 / 84)
        assert ds.z.attrs["spacing"] == pytest.approx(271.83 / 12)
        assert float(ds.y[0]) == pytest.approx(6081.06 + 316.12 / 79 / 2)
        assert list(ds.channel_color.values) == ["02FF00", "FF0000"]  # 0.009 1.000 -0.000
        assert list(ds.c.values) == ["0", "1"]  # "(name not specified)"
        assert ds.c.attrs["windows"] == [[1023.0, 19148.0], [767.0, 27493.0]]
        assert ds.attrs["recording_date"] == "2018-12-10 23:23:19.000"
        assert "assumed" not in ds.attrs
        assert "description" not in ds.attrs


class TestFacts:
    def test_places_times_and_channels(self, movie):
        path, pixels = movie
        ds = open_imaris(path)
        np.testing.assert_array_equal(values(ds), pixels)
        assert [ds[d].attrs["spacing"] for d in "zyx"] == [2.0, 0.5, 0.25]
        assert [float(ds[d][0]) for d in "zyx"] == [10.0, -20.0, 30.0]
        assert list(ds.t.values) == [0.0, 30.0, 60.0]
        assert list(ds.c.values) == ["a", "b"]
        assert list(ds.channel_color.values) == ["FF0000", "00FF80"]
        assert ds.attrs["format"] == "imaris"
        assert ds.attrs["resolution_levels"] == 2
        assert ds.attrs["recording_date"] == "2026-01-05 10:00:00.000"
        assert json.loads(json.dumps(ds.attrs)) == ds.attrs

    def test_lower_level(self, tmp_path):
        # 21 voxels of 0.5 are 10.5 um; level 1 has 10 of 1.05, the first centred 0.525 from
        # the border at -0.25; z has (10 * 2)^2 = 400 < 441 and is not halved
        pixels = np.full((1, 1, 2, 21, 21), 9, "u1")
        path = write_imaris(tmp_path / "a.ims", pixels, spacing=(1, 0.5, 0.5), chunks=(2, 16, 16))
        ds = open_imaris(path, level=1)
        assert dict(ds.sizes) == {"t": 1, "c": 1, "z": 2, "y": 10, "x": 10}
        assert ds.y.attrs["spacing"] == pytest.approx(1.05)
        assert float(ds.y[0]) == pytest.approx(0.275)
        assert ds.z.attrs["spacing"] == 1.0
        assert int(values(ds).min()) == 9

    @pytest.mark.parametrize(
        ("unit", "factor"),
        [("m", 1e6), ("mm", 1e3), ("um", 1), ("µm", 1), ("nm", 1e-3), ("inch", 25400)],
    )
    def test_units(self, tmp_path, unit, factor):
        path = write_imaris(
            tmp_path / "a.ims",
            noise((1, 1, 1, 4, 4)),
            spacing=(1.0, 0.5, 0.25),
            origin=(4.0, 2.0, 1.0),
            unit=unit,
        )
        ds = open_imaris(path)
        assert [ds[d].attrs["spacing"] for d in "zyx"] == pytest.approx(
            [factor, 0.5 * factor, 0.25 * factor]
        )
        assert [float(ds[d][0]) for d in "zyx"] == pytest.approx([4 * factor, 2 * factor, factor])

    @pytest.mark.parametrize("dtype", ["S1", None], ids=["bytes", "strings"])
    def test_latin1_micro(self, movie, dtype):
        path, _ = movie
        unit = [b"\xb5", b"m"]
        edit(path, lambda h5: h5["DataSetInfo/Image"].attrs.create("Unit", unit, dtype=dtype))
        ds = open_imaris(path)
        assert ds.z.attrs["spacing"] == 2.0
        assert "assumed" not in ds.attrs

    @pytest.mark.parametrize("unit", ["", "pixel", "Voxels", "unknown"])
    def test_a_unit_that_is_none_is_said(self, movie, unit):
        path, _ = movie
        edit(path, lambda h5: say(h5["DataSetInfo/Image"], Unit=unit))
        ds = open_imaris(path)
        assert ds.attrs["assumed"] == [f"lengths are micrometres: the unit is {unit!r}"]
        assert ds.z.attrs["spacing"] == 2.0
        ds = open_imaris(path, unit="mm")
        assert ds.z.attrs["spacing"] == 2000.0
        assert "assumed" not in ds.attrs

    def test_a_unit_that_is_not_known_is_asked_for(self, movie):
        path, _ = movie
        edit(path, lambda h5: say(h5["DataSetInfo/Image"], Unit="furlong"))
        with pytest.raises(ImarisError, match=r"Neu1\.h5: its unit of length, 'furlong', is not"):
            open_imaris(path)
        assert open_imaris(path, unit="nm").z.attrs["spacing"] == pytest.approx(0.002)
        with pytest.raises(UsageError, match="unit='span': expected a unit of length"):
            open_imaris(path, unit="span")

    def test_extents_beyond_all_numbers(self, movie):
        path, _ = movie
        edit(path, lambda h5: say(h5["DataSetInfo/Image"], Unit="m", ExtMax2="1e308"))
        ds = open_imaris(path)
        assert ds.z.attrs["spacing"] == 1.0
        assert np.isfinite(ds.z).all()
        assert ds.attrs["assumed"] == [
            "voxel size along z is 1 micrometre: the extents are 9.0, 1e+308"
        ]

    def test_irregular_times_are_exact(self, tmp_path):
        # over midnight by 0.1 s; floats of 86400.1 would not be exact if added up
        times = [0.0, 50399.9, 50400.1, 100800.125]
        path = write_imaris(tmp_path / "a.ims", noise((4, 1, 1, 4, 4)), times=times)
        assert list(open_imaris(path).t.values) == times

    def test_more_than_ten_frames_in_numeric_order(self, tmp_path):
        pixels = np.arange(12, dtype="u1").reshape(12, 1, 1, 1, 1) * np.ones((1, 11, 1, 4, 4), "u1")
        pixels += np.arange(11, dtype="u1").reshape(1, 11, 1, 1, 1) * 20
        path = write_imaris(tmp_path / "a.ims", pixels)
        np.testing.assert_array_equal(values(open_imaris(path)), pixels)

    def test_nothing_but_pixels(self, tmp_path):
        path = tmp_path / "bare.ims"
        pixels = noise((2, 1, 3, 4, 5), "f4")
        with h5py.File(path, "w") as h5:
            for t in range(2):
                h5[DATA.format(t, 0)] = pixels[t, 0]
        ds = open_imaris(path)
        np.testing.assert_array_equal(values(ds), pixels)
        assert [ds[d].attrs["spacing"] for d in "zyx"] == [1.0, 1.0, 1.0]
        assert [float(ds[d][0]) for d in "zyx"] == [0.0, 0.0, 0.0]
        assert len(ds.attrs["assumed"]) == 5  # z, y, x, the unit, the times
        assert "channel_color" not in ds.coords

    def test_size_from_the_image_attributes(self, movie):
        path, pixels = movie

        def drop(h5):
            for t, c in itertools.product(range(3), range(2)):
                del h5[DATA.format(t, c)].parent.attrs["ImageSizeX"]

        edit(path, drop)
        np.testing.assert_array_equal(values(open_imaris(path)), pixels)

    def test_attributes_as_numbers_and_strings(self, movie):
        path, pixels = movie

        def change(h5):
            for t, c in itertools.product(range(3), range(2)):
                attrs = h5[DATA.format(t, c)].parent.attrs
                attrs["ImageSizeX"], attrs["ImageSizeY"] = np.array([30], "u4"), 20.0
                attrs["ImageSizeZ"] = "5"
            info = h5["DataSetInfo/Image"].attrs
            info["ExtMin0"], info["Description"] = (
                np.float32(30 - 0.125),
                np.array(["été"], "O"),
            )
            info["Name"] = h5py.Empty("S1")
            info["NumericalAperture"] = h5["DataSetInfo"].ref
            info["LensPower"] = np.bytes_(b"25x\0\0")

        edit(path, change)
        ds = open_imaris(path)
        np.testing.assert_array_equal(values(ds), pixels)
        assert float(ds.x[0]) == 30.0
        assert ds.attrs["description"] == "été"
        assert ds.attrs["lens_power"] == "25x"
        assert {"name", "numerical_aperture"}.isdisjoint(ds.attrs)

    @pytest.mark.parametrize("end", ["4", "-4"])
    def test_flat_or_inverted_extent(self, movie, end):
        path, _ = movie
        edit(path, lambda h5: say(h5["DataSetInfo/Image"], ExtMin2="4", ExtMax2=end))
        ds = open_imaris(path)
        assert (ds.z.attrs["spacing"], float(ds.z[0])) == (1.0, 4.0)
        assert "along z" in ds.attrs["assumed"][0]

    def test_one_window_missing_drops_all(self, movie):
        path, _ = movie
        edit(path, lambda h5: say(h5["DataSetInfo/Channel 1"], ColorRange="wide", Color="1 0"))
        ds = open_imaris(path)
        assert "windows" not in ds.c.attrs
        assert list(ds.channel_color.values) == ["FF0000", "FFFFFF"]


class TestPixels:
    @pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "f2", "f4", "f8"])
    @pytest.mark.parametrize("shuffle", [False, True], ids=["plain", "shuffle"])
    @pytest.mark.parametrize("compression", ["gzip", "lz4", None])
    def test_equal_to_h5py(self, tmp_path, compression, shuffle, dtype):
        pixels = noise((1, 2, 5, 20, 30), dtype)
        path = write_imaris(
            tmp_path / "a.ims",
            pixels,
            chunks=(4, 16, 16),
            compression=compression,
            shuffle=shuffle,
            padding=99,
        )
        ds = open_imaris(path)
        np.testing.assert_array_equal(values(ds), pixels)
        assert ds.image.dtype == dtype
        part = ds.image[0, 1, 3:5, 15:17, ::7]
        np.testing.assert_array_equal(part, pixels[0, 1, 3:5, 15:17, ::7])

    @pytest.mark.parametrize(
        "options",
        [
            {"compression": "gzip", "fletcher32": True, "chunks": (2, 8, 8)},
            {"compression": "lzf", "chunks": (2, 8, 8)},
            {"scaleoffset": 0, "chunks": (2, 8, 8)},
            dict(hdf5plugin.Zstd()) | {"chunks": (2, 8, 8)},
            {},
            {"dtype": ">u2", "compression": "gzip", "chunks": (2, 8, 8)},
            {"dtype": ">u2"},
        ],
        ids=["fletcher32", "lzf", "scaleoffset", "zstd", "contiguous", "big-endian", "big-flat"],
    )
    def test_other_layouts(self, tmp_path, options):
        pixels = noise((5, 20, 30))
        with h5py.File(tmp_path / "a.ims", "w") as h5:
            h5.create_dataset(DATA.format(0, 0), data=pixels, **options)
        ds = open_imaris(tmp_path / "a.ims")
        assert ds.image.dtype == np.dtype("u2")
        np.testing.assert_array_equal(values(ds)[0, 0], pixels)

    def test_twelve_bit_type_and_odd_shuffle_go_through_hdf5(self, tmp_path):
        pixels = noise((2, 8, 8))
        with h5py.File(tmp_path / "a.ims", "w") as h5:
            kind = h5py.h5t.STD_U16LE.copy()
            kind.set_precision(12)
            layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            layout.set_chunk((2, 4, 4))
            layout.set_deflate(2)
            group = h5.create_group("DataSet/ResolutionLevel 0/TimePoint 0/Channel 0")
            space = h5py.h5s.create_simple(pixels.shape)
            dataset = h5py.h5d.create(group.id, b"Data", kind, space, dcpl=layout)
            h5py.Dataset(dataset)[...] = pixels
        np.testing.assert_array_equal(values(open_imaris(tmp_path / "a.ims"))[0, 0], pixels)

    @pytest.mark.parametrize(
        "options",
        [
            {"chunks": (2, 8, 8), "compression": "gzip"},
            {"chunks": (2, 8, 8), "compression": "lzf"},
            {},
        ],
        ids=["plain", "through hdf5", "contiguous"],
    )
    def test_chunk_not_there(self, tmp_path, options):
        """HDF5 reads zeros there, both if it was never written and if the index is damaged."""
        path = tmp_path / "a.ims"
        expected = np.full((4, 8, 8), 7)
        with h5py.File(path, "w") as h5:
            data = h5.create_dataset(DATA.format(0, 0), (4, 8, 8), "u2", fillvalue=7, **options)
            if options:
                data[:2] = expected[:2] = 3
        place = r"\(2, 0, 0\)" if options else r"\(0, 0, 0\)"
        with pytest.raises(ImarisError, match=f"the chunk at {place} is not in the file"):
            values(open_imaris(path))
        np.testing.assert_array_equal(values(open_imaris(path, fill_missing=True))[0, 0], expected)

    def test_no_chunk_there(self, tmp_path):
        path = tmp_path / "a.ims"
        with h5py.File(path, "w") as h5:
            h5.create_dataset(DATA.format(0, 0), (4, 8, 8), "u2", chunks=(2, 8, 8), compression=4)
        with pytest.raises(
            ImarisError, match=r"is not in the file; .* give option fill_missing=true"
        ):
            values(open_imaris(path))
        assert not values(open_imaris(path, fill_missing=True)).any()

    def test_filter_mask(self, tmp_path):
        """A chunk may say that a filter was not applied to it."""
        pixels = noise((2, 8, 8))
        with h5py.File(tmp_path / "a.ims", "w") as h5:
            data = h5.create_dataset(
                DATA.format(0, 0),
                (2, 8, 8),
                "u2",
                chunks=(1, 8, 8),
                compression="gzip",
                shuffle=True,
            )
            data[...] = pixels
            data.id.write_direct_chunk((1, 0, 0), pixels[1].tobytes(), filter_mask=3)
        np.testing.assert_array_equal(values(open_imaris(tmp_path / "a.ims"))[0, 0], pixels)

    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def test_any_box_of_any_shape(self, data):
        shape = data.draw(st.tuples(*[st.integers(1, 20)] * 3))
        chunk = data.draw(st.tuples(*[st.integers(1, 9)] * 3))
        box = []
        for n in shape:
            low = data.draw(st.integers(0, n - 1))
            box.append(slice(low, data.draw(st.integers(low + 1, n))))
        compression = data.draw(st.sampled_from(["gzip", None]))
        pixels = noise(shape, data.draw(st.sampled_from(["u1", "u2", "f4"])))
        with h5py.File("x", "w", driver="core", backing_store=False) as h5:
            padded = [-(-n // k) * k for n, k in zip(shape, chunk, strict=True)]
            held = h5.create_dataset(
                "d",
                padded,
                pixels.dtype,
                chunks=chunk,
                compression=compression,
                shuffle=data.draw(st.booleans()),
                fillvalue=5,
            )
            held[tuple(map(slice, shape))] = pixels
            out = np.empty([b.stop - b.start for b in box], pixels.dtype)
            hdf5.read_box(held, tuple(box), out)
        np.testing.assert_array_equal(out, pixels[tuple(box)])

    def test_large_volumes_are_cut_at_chunks(self, tmp_path, monkeypatch):
        pixels = noise((1, 1, 10, 20, 30))
        path = write_imaris(tmp_path / "a.ims", pixels, chunks=(2, 8, 8))
        # rows of z are 1,200 bytes: 4 chunks of 2 are 9,600
        monkeypatch.setattr(imaris_pixels, "BLOCK_BYTES", 9_700)
        ds = open_imaris(path)
        assert ds.image.chunks == ((1,), (1,), (8, 2), (20,), (30,))
        # one chunk along z is 2,400: too large, so y is cut too, and then x
        monkeypatch.setattr(imaris_pixels, "BLOCK_BYTES", 300)
        ds = open_imaris(path)
        assert [max(sizes) for sizes in ds.image.chunks[2:]] == [2, 8, 8]
        np.testing.assert_array_equal(values(ds), pixels)
        monkeypatch.setattr(imaris_pixels, "LARGEST_GRAPH", 59)  # 5 x 3 x 4 = 60 blocks
        with pytest.raises(ImarisError, match="more than can be cut"):
            open_imaris(path)


class TestManners:
    def test_opening_reads_no_pixel_and_leaves_nothing_open(self, movie, monkeypatch):
        path, _ = movie

        def refuse(*args, **kwargs):
            raise AssertionError("pixels were read")

        monkeypatch.setattr(imaris_pixels, "read_box", refuse)
        monkeypatch.setattr(h5py.Dataset, "__getitem__", refuse)
        ds = open_imaris(path)
        assert str(path) not in [file.path for file in psutil.Process().open_files()]
        monkeypatch.undo()
        ds.image[0, 0].compute()
        assert str(path) not in [file.path for file in psutil.Process().open_files()]

    def test_tasks_pickle_small(self, movie):
        path, pixels = movie
        ds = open_imaris(path)
        graph = pickle.dumps(ds)
        assert len(graph) < 20_000
        np.testing.assert_array_equal(values(pickle.loads(graph)), pixels)

    def test_threads(self, movie):
        path, pixels = movie
        with dask.config.set(scheduler="threads", num_workers=4):
            np.testing.assert_array_equal(open_imaris(path).image.values, pixels)

    def test_relative_path_and_sequence(self, movie, monkeypatch):
        path, pixels = movie
        monkeypatch.chdir(path.parent)
        ds = open_imaris([path.name])
        monkeypatch.chdir("/")
        np.testing.assert_array_equal(values(ds), pixels)

    def test_open_elsewhere_with_locks(self, movie):
        path, pixels = movie
        with h5py.File(path):
            np.testing.assert_array_equal(values(open_imaris(path)), pixels)

    def test_memory_url(self, movie):
        path, pixels = movie
        fsspec.filesystem("memory").pipe_file("/bucket/Neu1.h5", path.read_bytes())
        ds = open_imaris("memory://bucket/Neu1.h5")
        np.testing.assert_array_equal(values(ds), pixels)

    def test_many_volumes_open_quickly(self, tmp_path, monkeypatch):
        """One look at a volume, whatever their number."""
        path = write_imaris(tmp_path / "a.ims", noise((20, 3, 1, 4, 4)), levels=1)
        looks = []
        check = imaris_pixels.check_volume
        monkeypatch.setattr(
            imaris_pixels, "check_volume", lambda d: (looks.append(d.name), check(d))
        )
        open_imaris(path)
        assert len(looks) == 20 * 3

    def test_no_warning(self, movie):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            values(open_imaris(movie[0]))


def remove(*paths):
    def change(h5):
        for path in paths:
            del h5[path]

    return change


def resize(h5):
    say(h5[DATA.format(2, 0)].parent, ImageSizeX=29)


def replace_data(**options):
    def change(h5):
        del h5[DATA.format(0, 0)]
        h5.create_dataset(DATA.format(0, 0), **options)

    return change


def strange_filter(h5):
    del h5[DATA.format(0, 0)]
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_chunk((5, 20, 30))
    layout.set_filter(305, h5py.h5z.FLAG_OPTIONAL, (1,))
    h5py.h5d.create(
        h5[DATA.format(0, 1)].parent.parent["Channel 0"].id,
        b"Data",
        h5py.h5t.STD_U16LE,
        h5py.h5s.create_simple((5, 20, 30)),
        dcpl=layout,
    )


class TestBadContent:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                remove("DataSet"),
                "no group DataSet; this is not an Imaris file. Found: DataSetInfo,",
            ),
            (remove("DataSet/ResolutionLevel 0"), "no resolution level 0; levels there: 1"),
            (
                remove("DataSet/ResolutionLevel 0/TimePoint 1"),
                "DataSet/ResolutionLevel 0 lacks TimePoint 1 of 0 to 2",
            ),
            (
                remove("DataSet/ResolutionLevel 0/TimePoint 2"),
                "TimeInfo promises 3 time points, 2 are there",
            ),
            (
                remove(*(f"DataSet/ResolutionLevel 0/TimePoint {t}" for t in range(3))),
                "DataSet/ResolutionLevel 0 holds no TimePoint",
            ),
            (
                remove("DataSet/ResolutionLevel 0/TimePoint 1/Channel 0"),
                "DataSet/ResolutionLevel 0/TimePoint 1 lacks Channel 0 of 0 to 1",
            ),
            (
                remove("DataSet/ResolutionLevel 0/TimePoint 1/Channel 1"),
                "TimePoint 1 has 1 channels; TimePoint 0 has 2",
            ),
            (remove(DATA.format(2, 1)), "TimePoint 2/Channel 1 holds no Data"),
            (resize, "TimePoint 2 Channel 0 is uint16 of (z, y, x) = (5, 20, 29); expected"),
            (
                lambda h5: say(h5[DATA.format(0, 0)].parent, ImageSizeZ=99),
                "Channel 0 should be (z, y, x) = (99, 20, 30), but its Data is (8, 32, 32)",
            ),
            (replace_data(shape=(5, 20, 30), dtype="c8"), "holds complex64; expected integers"),
            (replace_data(shape=(20, 30), dtype="u1"), "has shape (20, 30); expected (z, y, x)"),
            (
                replace_data(shape=(2**11,) * 3, dtype="u1", chunks=(2**11, 2**10, 2**10)),
                "has chunks of 2147483648 bytes; more than 1 GiB is refused",
            ),
            (strange_filter, "is compressed by HDF5 filter 305, which is not installed"),
            (
                lambda h5: (remove("DataSet")(h5), h5.create_dataset("DataSet", data=1)),
                "DataSet is a dataset; expected a group",
            ),
        ],
        ids=lambda value: value[:30] if isinstance(value, str) else "",
    )
    def test_refused_in_one_line(self, movie, change, message):
        path, _ = movie
        edit(path, change)
        with pytest.raises(ImarisError) as caught:
            open_imaris(path)
        assert message in str(caught.value)
        assert str(caught.value).startswith("Neu1.h5: ")
        assert "\n" not in str(caught.value)

    def test_endless_attribute(self, tmp_path):
        with h5py.File(tmp_path / "a.ims", "w", libver="latest") as h5:
            h5[DATA.format(0, 0)] = noise((1, 4, 4))
            h5.create_group("DataSetInfo/Image").attrs["Unit"] = np.full(2 << 20, b"m")
        with pytest.raises(ImarisError, match="attribute Unit of /DataSetInfo/Image holds 2097152"):
            open_imaris(tmp_path / "a.ims")

    def test_many_missing_time_points(self, tmp_path):
        path = write_imaris(tmp_path / "a.ims", noise((14, 1, 1, 4, 4)), levels=1)
        edit(path, remove(*(f"DataSet/ResolutionLevel 0/TimePoint {t}" for t in range(1, 13))))
        with pytest.raises(ImarisError, match=r"lacks TimePoint 1, 2, 3, 4, 5, 6, 7, 8, \.\.\. of"):
            open_imaris(path)

    @pytest.mark.parametrize("level", [2, -1, 10**12])
    def test_bad_level(self, movie, level):
        with pytest.raises(ImarisError, match=f"no resolution level {level}; levels there: 0, 1"):
            open_imaris(movie[0], level=level)

    def test_lower_level_of_unknown_size(self, movie):
        path, _ = movie
        group = "DataSet/ResolutionLevel 1/TimePoint 0/Channel 0"
        edit(path, lambda h5: h5[group].attrs.__delitem__("ImageSizeZ"))
        with pytest.raises(ImarisError, match="does not say its ImageSizeX, Y, Z; open level 0"):
            open_imaris(path, level=1)

    def test_empty_hdf5(self, tmp_path):
        h5py.File(tmp_path / "a.ims", "w").close()
        with pytest.raises(ImarisError, match=r"a\.ims: no group DataSet.*Found: nothing"):
            open_imaris(tmp_path / "a.ims")

    @pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(5000)])
    def test_not_hdf5(self, tmp_path, content):
        path = tmp_path / "a.ims"
        path.write_bytes(content)
        with pytest.raises(ImarisError, match=r"a\.ims: not an HDF5 file"):
            open_imaris(path)

    @pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
    def test_truncated(self, movie, share):
        path, _ = movie
        os.truncate(path, int(path.stat().st_size * share))
        with pytest.raises(ImarisError, match=r"Neu1\.h5: truncated"):
            open_imaris(path)

    def test_truncated_after_opening(self, movie):
        path, _ = movie
        ds = open_imaris(path)
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(ImarisError, match=r"Neu1\.h5: truncated"):
            values(ds)

    def test_replaced_after_opening(self, movie):
        path, pixels = movie
        ds = open_imaris(path)
        write_imaris(path, pixels[:, :, :, :10])
        with pytest.raises(ImarisError, match=r"Channel . is now .*10, 30\); it was"):
            values(ds)
        write_imaris(path, pixels[:1])
        with pytest.raises(ImarisError, match="no TimePoint 1, which was there"):
            ds.image[1, 0].compute()

    def test_missing(self, tmp_path):
        with pytest.raises(DpipeError, match=r"none\.ims"):
            open_imaris(tmp_path / "none.ims")

    @pytest.mark.parametrize("files", [[], ["a.ims", "b.ims"]])
    def test_number_of_files(self, files):
        with pytest.raises(UsageError, match=f"one file; found {len(files)}"):
            open_imaris(files)


def overwrite(path: Path, t: int, c: int, data: bytes, mask: int = 0) -> None:
    with h5py.File(path, "r+") as h5:
        h5[DATA.format(t, c)].id.write_direct_chunk((0, 0, 0), data, filter_mask=mask)


class TestBadChunks:
    """Opening succeeds, since no pixel is read; computing says which chunk is bad."""

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"nonsense", "cannot be decoded"),
            (zlib.compress(bytes(2047)), "decodes to 2047 bytes; expected 2048"),
            (zlib.compress(bytes(2049)), "cannot be decoded"),
            (zlib.compress(bytes(1 << 22)), "cannot be decoded"),
            (bytes(9000), "out buffer is only"),
        ],
        ids=["nonsense", "short", "long", "bomb", "stored too large"],
    )
    def test_gzip(self, movie, data, message):
        path, pixels = movie
        overwrite(path, 1, 1, data)
        ds = open_imaris(path)
        np.testing.assert_array_equal(ds.image[0].values, pixels[0])
        with pytest.raises(ImarisError, match=message) as caught:
            ds.image[1, 1].compute()
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith("Neu1.h5: damaged")

    def test_shuffled_and_short(self, tmp_path):
        path = write_imaris(
            tmp_path / "a.ims", noise((1, 1, 4, 16, 16)), chunks=(4, 16, 16), shuffle=True
        )
        overwrite(path, 0, 0, zlib.compress(bytes(2046)))
        with pytest.raises(ImarisError, match=r"chunk at \(0, 0, 0\) decodes to 2046 bytes"):
            values(open_imaris(path))

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ((1 << 40).to_bytes(8, "big") + bytes(20), "promises 1099511627776 bytes"),
            ((2048).to_bytes(8, "big") + (2048).to_bytes(4, "big") + b"\xff" * 9, "cannot be dec"),
        ],
        ids=["bomb", "nonsense"],
    )
    def test_lz4(self, tmp_path, data, message):
        path = write_imaris(
            tmp_path / "a.ims", noise((1, 1, 4, 16, 16)), chunks=(4, 16, 16), compression="lz4"
        )
        overwrite(path, 0, 0, data)
        with pytest.raises(ImarisError, match=message):
            values(open_imaris(path))

    def test_checksum_found_by_hdf5(self, tmp_path):
        with h5py.File(tmp_path / "a.ims", "w") as h5:
            data = h5.create_dataset(
                DATA.format(0, 0), data=noise((2, 8, 8)), chunks=(2, 8, 8), fletcher32=True
            )
            data.id.write_direct_chunk((0, 0, 0), bytes(256) + b"oops")
        with pytest.raises(ImarisError, match=r"a\.ims: damaged: .*; fetch or export it again"):
            values(open_imaris(tmp_path / "a.ims"))

    def test_bytes_gone_behind_the_index(self, movie):
        """The chunk index points behind the end of the file."""
        path, _ = movie
        with h5py.File(path) as h5:
            place = h5[DATA.format(0, 0)].id.get_chunk_info(0).byte_offset
        raw = bytearray(path.read_bytes())
        where = raw.find(place.to_bytes(8, "little"))
        raw[where : where + 8] = (1 << 40).to_bytes(8, "little")
        path.write_bytes(raw)
        with pytest.raises(ImarisError, match=r"Neu1\.h5: damaged"):
            values(open_imaris(path))


class TestSecurity:
    @pytest.fixture
    def secret(self, tmp_path):
        path = tmp_path / "secret.h5"
        write_imaris(path, noise((3, 2, 5, 20, 30)))
        return path

    PLACES = (
        "DataSet",
        "DataSet/ResolutionLevel 0",
        "DataSet/ResolutionLevel 0/TimePoint 1",
        "DataSet/ResolutionLevel 0/TimePoint 2/Channel 1",
        DATA.format(2, 1),
        "DataSetInfo",
        "DataSetInfo/Image",
    )

    @pytest.mark.parametrize("place", PLACES)
    def test_links_out_of_the_file_are_not_followed(self, movie, secret, place):
        path, _ = movie

        def change(h5):
            h5.move(place, "elsewhere")
            h5[place] = h5py.ExternalLink(str(secret), place)

        edit(path, change)
        with pytest.raises(ImarisError, match=f"{place} is a link to another place"):
            open_imaris(path)

    @pytest.mark.parametrize("place", PLACES)
    @pytest.mark.parametrize("written", ["/Workflows/Initial/x", "relative"])
    def test_links_inside_the_file_are_followed(self, movie, place, written):
        path, pixels = movie
        expected = open_imaris(path)

        def change(h5):
            if written == "relative":
                h5.move(place, f"{place} moved")
                h5[place] = h5py.SoftLink(f"./{place.rpartition('/')[2]} moved")
            else:
                h5.create_group("Workflows/Initial")
                h5.move(place, written)
                h5[place] = h5py.SoftLink(written)

        edit(path, change)
        ds = open_imaris(path)
        np.testing.assert_array_equal(values(ds), pixels)
        assert ds.drop_vars("image").identical(expected.drop_vars("image"))

    def test_links_through_links(self, movie):
        path, pixels = movie

        def change(h5):
            h5.move("DataSet", "there/DataSet")
            h5["a"], h5["b"] = h5py.SoftLink("/there"), h5py.SoftLink("a/DataSet")
            h5["DataSet"] = h5py.SoftLink("/b")

        edit(path, change)
        np.testing.assert_array_equal(values(open_imaris(path)), pixels)

    @pytest.mark.parametrize(
        ("links", "says"),
        [
            ({"DataSet": "/DataSet"}, "DataSet is a link that leads back to itself"),
            ({"DataSet": "a", "a": "b", "b": "/DataSet"}, "DataSet is a link that leads back"),
            (
                {"DataSet": "/l1/" * 50} | {f"l{n}": f"/l{n + 1}/" * 50 for n in range(1, 40)},
                "DataSet is a link that leads back to itself",
            ),
            ({"DataSet": "/nowhere/x"}, "DataSet is a link to '/nowhere/x', which is not there"),
            ({"DataSet": "DataSetInfo/Image/Unit/x"}, "is a link to 'DataSetInfo/Image/Unit/x'"),
        ],
        ids=["itself", "circle", "many", "nowhere", "below no group"],
    )
    def test_links_that_lead_nowhere(self, movie, links, says):
        path, _ = movie

        def change(h5):
            del h5["DataSet"]
            for name, target in links.items():
                h5[name] = h5py.SoftLink(target)

        edit(path, change)
        with pytest.raises(ImarisError, match=says) as caught:
            open_imaris(path)
        assert "\n" not in str(caught.value)

    def test_a_link_inside_that_leads_out_after_all(self, movie, secret):
        path, _ = movie

        def change(h5):
            del h5["DataSet"]
            h5["out"] = h5py.ExternalLink(str(secret), "/")
            h5["DataSet"] = h5py.SoftLink("/out/DataSet")

        edit(path, change)
        with pytest.raises(ImarisError, match="out is a link to another place, which is not"):
            open_imaris(path)

    def test_virtual_dataset(self, movie, secret):
        path, _ = movie
        layout = h5py.VirtualLayout((8, 32, 32), "u2")
        layout[...] = h5py.VirtualSource(str(secret), DATA.format(0, 0), (8, 32, 32))

        def change(h5):
            del h5[DATA.format(0, 0)]
            h5.create_virtual_dataset(DATA.format(0, 0), layout)

        edit(path, change)
        with pytest.raises(ImarisError, match="keeps its pixels in other files"):
            open_imaris(path)

    def test_external_storage(self, movie):
        path, _ = movie
        edit(
            path,
            replace_data(shape=(1, 8, 8), dtype="u1", external=[("/etc/passwd", 0, 64)]),
        )
        with pytest.raises(ImarisError, match="keeps its pixels in other files"):
            open_imaris(path)

    def test_made_virtual_after_opening(self, movie, secret):
        path, _ = movie
        ds = open_imaris(path)
        edit(path, replace_data(shape=(1, 8, 8), dtype="u1", external=[("/etc/passwd", 0, 64)]))
        with pytest.raises(ImarisError, match="keeps its pixels in other files"):
            values(ds)


class TestNetwork:
    """A fault below HDF5 never blames the file."""

    @pytest.mark.parametrize(
        ("fault", "message"),
        [
            (partial(ConnectionError, "reset"), "Neu1.h5: cannot be read: reset"),
            (TimeoutError, "Neu1.h5: cannot be read: TimeoutError"),
            (partial(OSError, 5, "bad disk"), "Neu1.h5: cannot be read: .* bad disk"),
            (partial(StoreError, "bucket: said 503"), "^bucket: said 503$"),
        ],
        ids=["connection", "timeout", "errno", "store"],
    )
    def test_store_error(self, movie, fault, message):
        class Faulty:
            def __init__(self, path):
                self.file, self.reads = path.open("rb"), 0

            def __getattr__(self, name):
                return getattr(self.file, name)

            def readinto(self, buffer):
                self.reads += 1
                if self.reads > 3:
                    raise fault()  # a fresh one: its frames hold h5py objects, and must not stay
                return self.file.readinto(buffer)

        faulty = Faulty(movie[0])
        with (
            faulty.file,
            pytest.raises(StoreError, match=message),
            hdf5.open_hdf5(faulty, "Neu1.h5") as h5,
        ):
            imaris_pixels.survey(h5, 0, whole_frames=False, fill=False)

    def test_gone_between_looking_and_opening(self, tmp_path):
        with (
            pytest.raises(ImarisError, match=r"a\.ims: no such file"),
            hdf5.open_hdf5(str(tmp_path / "a.ims"), "a.ims"),
        ):
            pass

    def test_index_that_cannot_be_read(self):
        """HDF5 says RuntimeError both for a chunk never written and for a broken index."""

        class Broken:
            def read_direct_chunk(self, corner, out):
                raise RuntimeError("cannot")

            def get_chunk_info_by_coord(self, corner):
                return h5py.h5d.StoreInfo(corner, 0, 4096, 10)

        class Dataset:
            id = Broken()

        with pytest.raises(RuntimeError, match="cannot"):
            hdf5._stored(Dataset(), (0, 0, 0), np.empty(10, "u1"))


def test_find():
    paths = ["raw/Neu2.h5", "raw/Neu10.IMS", "notes.txt", "raw/Neu1.hdf5", "a.h5.bak"]
    items = [Item(f"/data/{path}", path, 1, "0") for path in paths]
    parts = list(find(items))
    assert [part.items[0].path for part in parts] == [
        "raw/Neu2.h5",
        "raw/Neu10.IMS",
        "raw/Neu1.hdf5",
    ]
    assert [part.stem for part in parts] == ["Neu2", "Neu10", "Neu1"]
