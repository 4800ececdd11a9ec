"""The OME-Zarr writer: accepted by both validators, opened alike by others, and by ourselves."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import yaozarrs
import zarr
from ngio import open_ome_zarr_container
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.v05.image import Image

from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.formats import containers
from dpipe.readers import open_ome_zarr
from dpipe.writers import export, write_ome_zarr


def movie(shape=(3, 2, 4, 40, 300), dtype="u2", labels=True, **said):
    rng = np.random.default_rng(0)
    pixels = da.from_array(rng.integers(0, 100, shape).astype(dtype), chunks=(1, 1, *shape[2:]))
    given = {
        "spacing": (2, 0.5, 0.25),
        "origin": (1, 2, -3.3),
        "interval": 30,
        "channels": ["GFP", "RFP"][: shape[1]],
        "colors": ["00FF00", "FF00AA"][: shape[1]],
    } | said
    ds = schema.movie(pixels, **given)
    ds["c"].attrs["windows"] = [[3.0, 90.0], [0.0, 50.0]][: shape[1]]
    if labels:
        cells = (ds["image"].isel(c=0, drop=True) % 7).astype("u4")
        ds = ds.merge(schema.LABELS.wrap(cells))
    return ds


def same(found: xr.Dataset, ds: xr.Dataset) -> None:
    for name in ds.data_vars:
        assert found[name].dtype == ds[name].dtype
        np.testing.assert_array_equal(found[name], ds[name])
    for dim in ("t", "z", "y", "x"):
        np.testing.assert_allclose(found[dim], ds[dim], rtol=0, atol=1e-9)
        assert schema.spacing(found, dim) == pytest.approx(schema.spacing(ds, dim), abs=1e-12)
    assert found.c.values.tolist() == ds.c.values.tolist()
    assert found.channel_color.values.tolist() == ds.channel_color.values.tolist()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    ds = movie()
    (path,) = write_ome_zarr({"Neu1": ds}, tmp_path_factory.mktemp("out"))
    return path, ds


def test_round_trip(written):
    path, ds = written
    assert path.endswith("/Neu1.ome.zarr")
    found = open_ome_zarr(path)
    same(found, ds)
    assert found.c.attrs["windows"] == ds.c.attrs["windows"]
    assert found.attrs["name"] == "Neu1"


def test_lower_levels(written):
    path, ds = written
    lower = open_ome_zarr(path, level=1)  # 300 pixels are more than 256: two levels
    assert dict(lower.sizes) == {"t": 3, "c": 2, "z": 4, "y": 20, "x": 150}
    # the centre of the first two pixels is half a pixel further: 2 + 0.25, -3.3 + 0.125
    assert float(lower.y[0]) == pytest.approx(2.25)
    assert float(lower.x[0]) == pytest.approx(-3.175)
    fine = ds.image[0, 0, 0, :2, :2].values.astype(int)
    assert int(lower.image[0, 0, 0, 0, 0]) == (fine.sum() + 2) // 4
    np.testing.assert_array_equal(lower["labels"], ds["labels"][..., ::2, ::2])


def test_validators_accept_it(written):
    path, _ = written
    yaozarrs.validate_zarr_store(path)
    image = Image.from_zarr(zarr.open_group(path, mode="r"))
    assert image.labels.label_paths == ["labels"]
    assert len(image.labels.get_image_labels_group("labels").ome_attributes.multiscales) == 1


def test_ngio_reads_the_same(written):
    path, ds = written
    container = open_ome_zarr_container(path)
    image = container.get_image(path="0")
    np.testing.assert_array_equal(image.get_as_numpy(), ds.image)
    size = image.pixel_size
    assert (size.t, size.z, size.y, size.x) == (30, 2, 0.5, 0.25)
    assert container.channel_labels == ["GFP", "RFP"]
    assert container.list_labels() == ["labels"]
    found = container.get_label("labels", path="0").get_as_numpy()
    np.testing.assert_array_equal(found, ds["labels"])


def test_ome_zarr_py_reads_the_same(written):
    path, ds = written
    nodes = list(Reader(parse_url(path))())
    first = nodes[0]
    np.testing.assert_array_equal(first.data[0], ds.image)
    assert [axis["name"] for axis in first.metadata["axes"]] == list("tczyx")
    assert first.metadata["channel_names"] == ["GFP", "RFP"]
    scale, shift = first.metadata["coordinateTransformations"][0]
    assert scale["scale"] == [30, 1, 2, 0.5, 0.25]
    assert shift["translation"] == [0, 0, 1, 2, -3.3]
    labels = next(n for n in nodes if "labels/labels" in str(n.zarr.path))
    np.testing.assert_array_equal(labels.data[0], ds["labels"])


@pytest.mark.parametrize("times", [[5, 15.1, 26], [0, 1, 1e6], [7, 17, 27]])
def test_times_that_are_uneven(tmp_path, times):
    ds = movie(labels=False, times=times)
    (path,) = write_ome_zarr({"a": ds}, tmp_path)
    same(open_ome_zarr(path), ds)
    yaozarrs.validate_zarr_store(path)
    own = dict(zarr.open_group(path, mode="r").attrs).get("dpipe")
    assert (own is None) == (times == [7, 17, 27])


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
def test_kinds_of_numbers(tmp_path, dtype):
    ds = movie((1, 1, 1, 20, 30), dtype, labels=False)
    (path,) = write_ome_zarr({"a": ds}, tmp_path)
    same(open_ome_zarr(path), ds)


def test_other_images_and_few_dims(tmp_path):
    ds = movie(labels=False)
    flat = xr.Dataset(schema.PROJECTION.wrap(ds.image.max("z", keep_attrs=True)))
    (path,) = write_ome_zarr({"a": flat}, tmp_path, image="projection", levels=1)
    yaozarrs.validate_zarr_store(path)
    found = open_ome_zarr(path)
    np.testing.assert_array_equal(found.image[:, :, 0], flat["projection"])
    assert found.attrs["resolution_levels"] == 1


def test_a_single_plane(tmp_path):
    ds = movie(labels=False).isel(t=0, c=0, z=0, drop=True)
    (path,) = write_ome_zarr({"a": ds}, tmp_path)
    yaozarrs.validate_zarr_store(path)
    np.testing.assert_array_equal(open_ome_zarr(path).image.squeeze(), ds.image)


def test_labels_alone_as_an_image(tmp_path):
    ds = movie()[["labels"]]
    (path,) = write_ome_zarr({"a": ds}, tmp_path, image="labels")
    np.testing.assert_array_equal(open_ome_zarr(path).image[:, 0], ds["labels"])
    np.testing.assert_array_equal(
        open_ome_zarr(path, level=1).image[:, 0], ds["labels"][..., ::2, ::2]
    )
    said = zarr.open_group(path, mode="r").attrs["ome"]
    assert said["image-label"] == {}
    assert said["multiscales"][0]["type"] == "nearest"


def test_computed_piece_by_piece(tmp_path):
    """No more than one shard's blocks are computed before something is written."""
    log = []

    def pixels(block_info=None):
        log.append(sum(1 for f in tmp_path.rglob("*") if f.is_file()))
        return np.zeros((1, 1, 8, 256, 512), "u2")

    chunks = ((1,) * 6, (1,), (8,), (256,), (512,))
    image = da.map_blocks(pixels, chunks=chunks, meta=np.empty((0,) * 5, "u2"))
    write_ome_zarr({"a": schema.movie(image)}, tmp_path)
    assert len(log) == 6
    assert log[-1] > log[0]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda ds: ds[["labels"]], {}, "a: no variable 'image' to write as an image"),
        (lambda ds: ds.drop_vars("image").drop_dims("x"), {}, "Found: none"),
        (lambda ds: ds, {"image": "nothing"}, "no variable 'nothing'"),
    ],
)
def test_what_is_no_image(tmp_path, change, options, message):
    with pytest.raises(SchemaError, match=message):
        write_ome_zarr({"a": change(movie())}, tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_labels_that_do_not_fit(tmp_path):
    ds = movie()
    flat = xr.Dataset(schema.PROJECTION.wrap(ds.image.max("z"))).merge(ds[["labels"]])
    with pytest.raises(SchemaError, match=r"a: labels .* do not fit projection"):
        write_ome_zarr({"a": flat}, tmp_path, image="projection")


def test_nothing_is_overwritten(tmp_path):
    ds = movie(labels=False)
    (path,) = write_ome_zarr({"a": ds}, tmp_path)
    with pytest.raises(UsageError, match=r"a.ome.zarr: is there already"):
        write_ome_zarr({"a": ds}, tmp_path)
    same(open_ome_zarr(path), ds)
    with pytest.raises(UsageError, match="levels=0"):
        write_ome_zarr({"b": ds}, tmp_path, levels=0)


def test_what_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(containers.zarr, "encode", fail)
    with pytest.raises(OSError, match="No space"):
        write_ome_zarr({"a": movie()}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_all_parts_or_none(tmp_path):
    with pytest.raises(SchemaError, match="b: no variable 'image'"):
        write_ome_zarr({"a": movie(), "b": movie().rename(image="other")}, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_by_name(tmp_path):
    (path,) = export({"a": movie(labels=False)}, "ome-zarr", tmp_path, levels=1)
    assert open_ome_zarr(path).attrs["resolution_levels"] == 1
