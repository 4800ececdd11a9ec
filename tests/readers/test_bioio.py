"""bioio: real plugins against the TIFF reader and against a CZI made here, and what is missing."""

import logging
import struct
import sys
import warnings
from collections import namedtuple
from datetime import timedelta
from types import SimpleNamespace

import fsspec
import numpy as np
import psutil
import pytest
import tifffile

from dpipe.errors import InputError, StoreError, UsageError
from dpipe.readers import bioio, open_bioio, open_tiff
from dpipe.readers.bioio import find
from dpipe.sources import Item

ours = pytest.mark.filterwarnings("ignore:As of version 0.4.0:DeprecationWarning")
"""What ome-types says of an argument that the plugin for OME-TIFF gives it."""


@pytest.fixture
def plugin():
    return pytest.importorskip("bioio_ome_tiff")


def pixels(*shape: int, dtype="u2") -> np.ndarray:
    return np.random.default_rng(3).integers(0, 200, shape).astype(dtype)


def write(path, values, axes="TCZYX", **said):
    tifffile.imwrite(path, values, metadata={"axes": axes} | said)
    return path


SAID = {
    "Channel": {"Name": ["GFP", "DiD"]}, "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5,
    "PhysicalSizeZ": 2.0,
}  # fmt: skip


@ours
def test_as_the_tiff_reader(tmp_path, plugin):
    path = write(tmp_path / "a.ome.tif", pixels(3, 2, 4, 20, 30), **SAID)
    ds, other = open_bioio(path), open_tiff(path)
    assert ds.image.dtype == np.uint16
    assert ds.image.chunksizes["t"] == (1, 1, 1)
    for dim in ("z", "y", "x", "c"):
        np.testing.assert_array_equal(ds[dim], other[dim])
    np.testing.assert_array_equal(ds.image, other.image)
    np.testing.assert_array_equal(ds.image[1, 1, 1:3, 5:7, ::3], other.image[1, 1, 1:3, 5:7, ::3])
    assert ds.attrs["assumed"] == ["the interval is 1 second"]
    assert not [f for f in psutil.Process().open_files() if f.path == str(path)]


@ours
def test_scenes(tmp_path, plugin):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        for k in range(2):
            file.write(pixels(4, 5 + k), metadata={"axes": "YX"}, photometric="minisblack")
    with pytest.raises(InputError, match=r"a.ome.tif: 2 scenes; choose one with scene=. Found 0: "):
        open_bioio(path)
    ds = open_bioio(path, scene=1)
    np.testing.assert_array_equal(ds.image.squeeze(), pixels(4, 6))
    assert open_bioio(path, scene=ds.attrs["scene"]).sizes["x"] == 6
    for scene in (2, -1, "other"):
        with pytest.raises(InputError, match=f"no scene {scene!r}; choose one"):
            open_bioio(path, scene=scene)


@ours
def test_samples_of_colour_become_channels(tmp_path, plugin):
    values = pixels(20, 30, 3, dtype="u1")
    tifffile.imwrite(tmp_path / "a.ome.tif", values, photometric="rgb", metadata={"axes": "YXS"})
    ds = open_bioio(tmp_path / "a.ome.tif")
    assert dict(ds.sizes) == {"t": 1, "c": 3, "z": 1, "y": 20, "x": 30}
    np.testing.assert_array_equal(ds.image[0, :, 0], values.transpose(2, 0, 1))
    np.testing.assert_array_equal(ds.image[0, 1, 0, 3:, :4], values[3:, :4, 1])


def test_czi(tmp_path):
    """Runs where the plugin for CZI is installed; it is under the GPL, so no extra asks for it."""
    pytest.importorskip("bioio_czi")
    from pylibCZIrw import czi

    path, values = tmp_path / "a.czi", pixels(3, 2, 4, 20, 30)
    with czi.create_czi(str(path)) as file:
        for t, c, z in np.ndindex(3, 2, 4):
            file.write(data=values[t, c, z, :, :, None], plane={"T": t, "C": c, "Z": z})
        names = {0: "GFP", 1: "DiD"}  # metres, as CZI has it
        file.write_metadata("a", channel_names=names, scale_x=0.25e-6, scale_y=5e-7, scale_z=2e-6)
    ds = open_bioio(path)
    np.testing.assert_array_equal(ds.image, values)
    assert ds.c.values.tolist() == ["GFP", "DiD"]
    assert [ds[dim].values[1] for dim in "zyx"] == [2, 0.5, 0.25]
    assert not [f for f in psutil.Process().open_files() if f.path == str(path)]


# --- what a plugin says -----------------------------------------------------------------------

Zyx, Tczyx = namedtuple("Zyx", "Z Y X"), namedtuple("Tczyx", "T C Z Y X")


class Nanometre:
    """As much of pint's unit as is used."""

    def __rmul__(self, value: float):
        return SimpleNamespace(to=lambda unit: SimpleNamespace(magnitude=value * 1e-3))


NANOMETRES = (Nanometre(),) * 3


def said(sizes, units=(None, None, None), step=None, dims=(2, 1, 3, 4, 5), names=("a",)):
    held = SimpleNamespace(
        physical_pixel_sizes=Zyx(*sizes), time_interval=step, channel_names=names,
        dimension_properties=Zyx(*(SimpleNamespace(unit=unit) for unit in units)),
        dims=Tczyx(*dims), current_scene="Image:0",
    )  # fmt: skip
    return bioio._facts(held, 1)


@pytest.mark.parametrize(
    ("found", "spacing", "interval", "assumed"),
    [
        (said((2000, 500, -250), NANOMETRES, timedelta(minutes=1)), [2, 0.5, 0.25], 60, None),
        (said((2, 0.5, 0.25), step=30), [2, 0.5, 0.25], 30, ["voxel sizes are in micrometres"]),
        (said((None, 0, np.nan), step=30), [1, 1, 1], 30,
         [f"the voxel size along {dim} is 1 micrometre" for dim in "zyx"]),
        (said((None, 500, 250), NANOMETRES, dims=(1, 1, 1, 4, 5)),
         [1, 0.5, 0.25], 1, None),
        (said((1, 1, 1), step=timedelta(0)), [1, 1, 1], 1,
         ["voxel sizes are in micrometres", "the interval is 1 second"]),
    ],
    ids=["units", "no units", "no sizes", "one plane", "no interval"],
)  # fmt: skip
def test_sizes_and_times(found, spacing, interval, assumed):
    np.testing.assert_allclose(found["spacing"], spacing, rtol=1e-12)
    assert found["interval"] == interval
    assert found["attrs"].get("assumed") == assumed
    assert found["channels"] == ["a"]


def test_units_of_pint(plugin):
    units = pytest.importorskip("bioio_base.types").ureg
    found = said((2000, 0.5e-6, 0.25), (units.nanometer, units.meter, units.micrometer))
    np.testing.assert_allclose(found["spacing"], [2, 0.5, 0.25], rtol=1e-12)


@ours
@pytest.mark.parametrize(
    ("unit", "step", "clock", "expected"),
    [
        ("nm", 2, "min", [0.00025, 120.0]),
        ("mm", 0.5, "h", [250.0, 1800.0]),
        ("pixel", 500, "ms", [1.0, 0.5]),
    ],
)
def test_units_of_ome_that_the_plugin_leaves_behind(tmp_path, plugin, unit, step, clock, expected):
    said = {f"PhysicalSize{d}": 0.25 for d in "XYZ"} | {f"PhysicalSize{d}Unit": unit for d in "XYZ"}
    said |= {"TimeIncrement": step, "TimeIncrementUnit": clock}
    ds = open_bioio(write(tmp_path / "a.ome.tif", pixels(3, 2, 4, 20, 30), **said))
    # 0.25 nm = 0.00025 um; 2 min = 120 s
    assert [ds[dim].attrs["spacing"] for dim in "xt"] == pytest.approx(expected)
    quoted = [f"the voxel size along {dim} is 1 micrometre: its size along {dim} is 0.25 'pixel', "
              "which is no length" for dim in "zyx"]  # fmt: skip
    assert ds.attrs.get("assumed") == (quoted if unit == "pixel" else None)


def test_a_unit_of_pint_that_is_no_length(plugin):
    units = pytest.importorskip("bioio_base.types").ureg
    found = said((2, 0.5, 0.25), (units.pixel, units.pixel, units.micrometer))
    assert found["spacing"] == [1, 1, 0.25]
    assert found["attrs"]["assumed"][0].endswith("it is 2 'pixel', which is no length")


def test_channels_that_are_not_all_named():
    assert "channels" not in said((1, 1, 1), names=None)


# --- what is wrong ----------------------------------------------------------------------------


def test_find_knows_suffixes():
    items = [Item(f"/r/{n}", n, 9, "0") for n in ("a.czi", "b.ND2", "c.ome.tif", "d.txt")]
    assert [part.stem for part in find(items)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.nd2", {}, "a.nd2: needs bioio-nd2, which is not installed; pip install bioio-nd2"),
        ("a.vsi", {}, "a.vsi: needs bioio-bioformats, which is not installed"),
        ("a.xyz", {"plugin": "bioio-nothing"}, "a.xyz: needs bioio-nothing, which is not"),
        ("a.nd2", {"plugin": "os"}, "plugin='os'; expected a package such as 'bioio-nd2'"),
    ],
)
def test_missing_plugins(tmp_path, monkeypatch, name, options, message):
    monkeypatch.setitem(sys.modules, "bioio", SimpleNamespace())
    for module in ("bioio_nd2", "bioio_bioformats"):
        monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(b"rubbish")
    with pytest.raises(UsageError, match=message):
        open_bioio(tmp_path / name, **options)


def test_missing_bioio(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bioio", None)
    (tmp_path / "a.czi").write_bytes(b"rubbish")
    with pytest.raises(UsageError, match=r"a.czi: needs bioio, .* pip install 'dpipe\[formats\]'"):
        open_bioio(tmp_path / "a.czi")


def test_bad_files(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="a movie is one file; found 2"):
        open_bioio(["a.czi", "b.czi"])
    with pytest.raises(InputError, match="no such file"):
        open_bioio(tmp_path / "a.czi")
    (tmp_path / "a.xyz").write_bytes(b"rubbish")
    with pytest.raises(
        InputError, match=r"a.xyz: a suffix that no plugin is known for; say plugin"
    ):
        open_bioio(tmp_path / "a.xyz")
    with fsspec.open("memory://microscope/a.czi", "wb") as file:
        file.write(b"rubbish")
    with pytest.raises(
        UsageError, match=r"a.czi: bioio reads files on disk; run dpipe fetch first"
    ):
        open_bioio("memory://microscope/a.czi")


def failing(error: Exception, **said):
    """A plugin whose files fail, or say odd things."""

    class Image:
        scenes, current_scene_index, dtype = ("Image:0",), 0, "u2"
        dims, shape = SimpleNamespace(order="TCZYX"), (1, 1, 1, 2, 2)

        def __init__(self, path, reader):
            if error:
                raise error
            vars(self).update(said)

    return SimpleNamespace(BioImage=Image)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (RuntimeError("bad\nthing"), InputError, "a.nd2: damaged, or of another format: bad thing"),
        (KeyError(), InputError, "a.nd2: damaged, or of another format: KeyError"),
        (FileNotFoundError(), InputError, "a.nd2: no such file"),
        (PermissionError(13, "denied"), StoreError, "a.nd2: cannot be read: .* denied"),
        (ValueError("None. Readers attempted: - N: no"), InputError, "another format: N: no$"),
    ],
    ids=repr,
)
def test_what_plugins_raise_is_one_line(tmp_path, monkeypatch, error, kind, message):
    monkeypatch.setitem(sys.modules, "bioio", failing(error))
    monkeypatch.setitem(sys.modules, "bioio_nd2", SimpleNamespace(Reader=None))
    (tmp_path / "a.nd2").write_bytes(b"rubbish")
    with pytest.raises(kind, match=message):
        open_bioio(tmp_path / "a.nd2")
    assert logging.getLogger("bioio").handlers


def warning(library: str, level: int):
    """A plugin whose library logs something while a file is opened."""

    class Image:
        scenes, current_scene_index, dtype, dims = ("Image:0",), 0, "u2", Tczyx(1, 1, 1, 2, 2)
        shape, current_scene, channel_names, time_interval = (1, 1, 1, 2, 2), "Image:0", None, None
        physical_pixel_sizes = Zyx(1, 1, 1)
        dimension_properties = Zyx(*(SimpleNamespace(unit=None) for _ in range(3)))

        def __init__(self, path, reader):
            logging.getLogger(library).log(level, "frames are\nmissing")

    Image.dims = SimpleNamespace(order="TCZYX", T=1, C=1, Z=1)
    return SimpleNamespace(BioImage=Image)


@pytest.mark.parametrize(
    ("library", "level", "refused"),
    [
        ("tifffile", logging.WARNING, True),
        ("tifffile", logging.INFO, False),
        ("nd2", logging.ERROR, True),
        ("nd2.reader", logging.WARNING, False),
    ],
)
def test_what_a_library_warns_of(tmp_path, monkeypatch, library, level, refused):
    monkeypatch.setitem(sys.modules, "bioio", warning(library, level))
    monkeypatch.setitem(sys.modules, "bioio_nd2", SimpleNamespace(Reader=None))
    (tmp_path / "a.nd2").write_bytes(b"rubbish")
    if refused:
        with pytest.raises(InputError, match=r"a.nd2: damaged: frames are missing; fetch or exp"):
            open_bioio(tmp_path / "a.nd2")
        return
    noted = open_bioio(tmp_path / "a.nd2").attrs.get("notes")
    told = level >= logging.WARNING
    assert noted == (["nd2 warns: frames are missing"] if told else None)


@pytest.mark.parametrize(
    ("category", "told"), [(UserWarning, True), (RuntimeWarning, True), (DeprecationWarning, False)]
)
def test_what_a_library_warns_of_by_python(tmp_path, monkeypatch, category, told):
    """What is about the file is noted; what is about code is for its authors."""
    image = warning("nd2", logging.INFO).BioImage

    def opened(path, reader):
        warnings.warn("Casting invalid\nChannelID", category, stacklevel=1)
        return image(path, reader)

    monkeypatch.setitem(sys.modules, "bioio", SimpleNamespace(BioImage=opened))
    monkeypatch.setitem(sys.modules, "bioio_nd2", SimpleNamespace(Reader=None))
    (tmp_path / "a.nd2").write_bytes(b"rubbish")
    noted = open_bioio(tmp_path / "a.nd2").attrs.get("notes", [])
    assert [line.partition(" warns: ")[2] for line in noted] == ["Casting invalid ChannelID"] * told


@ours
def test_a_wrong_page_pointer(tmp_path, plugin):
    """The chain jumps from page 1 to page 3: the plugin would show zeros, or other pages."""
    path = write(tmp_path / "a.ome.tif", pixels(3, 2, 1, 20, 30), axes="TCZYX", **SAID)
    with tifffile.TiffFile(path) as tif:
        at = [page.offset for page in tif.pages]
    with path.open("r+b") as file:
        file.seek(at[1])
        (count,) = struct.unpack("<H", file.read(2))
        file.seek(at[1] + 2 + 12 * count)
        file.write(struct.pack("<I", at[3]))
    for read in (open_bioio, open_tiff):
        with pytest.raises(InputError, match=r"a.ome.tif: "):
            read(path).image.compute()


def test_other_dims_are_refused(tmp_path, monkeypatch):
    odd = failing(None, dims=SimpleNamespace(order="TCZYXH"), shape=(1,) * 6)
    monkeypatch.setitem(sys.modules, "bioio", odd)
    monkeypatch.setitem(sys.modules, "bioio_nd2", SimpleNamespace(Reader=None))
    (tmp_path / "a.nd2").write_bytes(b"rubbish")
    with pytest.raises(InputError, match=r"a.nd2: dims TCZYXH; expected TCZYX, or TCZYXS"):
        open_bioio(tmp_path / "a.nd2")


@ours
def test_a_file_that_changed_since(tmp_path, plugin):
    ds = open_bioio(write(tmp_path / "a.ome.tif", pixels(1, 1, 1, 20, 30)))
    write(tmp_path / "a.ome.tif", pixels(1, 1, 1, 10, 30))
    with pytest.raises(InputError, match=r"a.ome.tif: "):
        ds.image.compute()
