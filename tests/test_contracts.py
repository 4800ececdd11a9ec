"""What holds for every reader, operator and writer, written once."""

import inspect
import os
import pickle
import re
from functools import partial
from pathlib import Path

import dask
import devices
import h5py
import numpy as np
import psutil
import pytest
import scenes
import tifffile
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from meshes import box, octahedron, placed, surfaces
from windows import crops

from dpipe import operators, schema, sources, testing, writers
from dpipe.compute import devices as compute_devices
from dpipe.errors import InputError, UsageError
from dpipe.formats import containers
from dpipe.formats.imaris_writer import write_imaris
from dpipe.metadata import ngff
from dpipe.operators import OPERATORS
from dpipe.readers import READERS
from dpipe.writers import WRITERS


def movie(seed: int = 0, shape=(3, 2, 3, 40, 44)) -> xr.Dataset:
    pixels = np.random.default_rng(seed).integers(0, 4000, shape).astype("u2")
    return schema.movie(
        pixels, spacing=(2, 0.5, 0.25), origin=(3, -20, 7.5), interval=30,
        channels=["GFP", "DiD"], colors=["00FF00", "FF0000"],
    )  # fmt: skip


BOX = box((3.5, -18, 9), (6.5, -9, 14))
MESHES_BY_FRAME = [(0, *BOX), (1, *placed(octahedron(), (3, 4, 2), (5, -12, 12))), (2, *BOX)]


def write_imaris_movie(folder: Path) -> Path:
    ds = movie()
    return write_imaris(
        folder / "m.ims", lambda t, c: ds.image.values[t, c], shape=ds.image.shape, dtype="uint16",
        spacing=(2, 0.5, 0.25), origin=(2, -20.25, 7.375), interval=30, channels=["GFP", "DiD"],
        colors=["00FF00", "FF0000"], levels=1,
    )  # fmt: skip


def write_tiff(folder: Path) -> Path:
    path = folder / "m.tif"
    tifffile.imwrite(path, movie().image.values.transpose(0, 2, 1, 3, 4), imagej=True)
    return path


def write_tiff_series(folder: Path) -> Path:
    (folder / "m").mkdir()
    return write_tiff(folder / "m").rename(folder / "m" / "0007.tif")


def write_ome_zarr(folder: Path) -> Path:
    ds, path = movie(), folder / "m.ome.zarr"
    attributes = ngff.image_attributes(ds, "image", 1, name="m")
    for dataset in attributes["ome"]["multiscales"][0]["datasets"]:
        dataset["path"] = "0"
    containers.write_tree(path, {"": attributes}, [("", ds.image, 1)])
    return path


def spots(annotators: int = 0) -> xr.Dataset:
    """Two tracks of six frames, one with a gap, and a spot without; in turn by annotators."""
    track, frame = [3, 3, 3, 8, 8, 8, 8, -1], [0, 1, 4, 0, 1, 2, 5, 3]
    people = max(1, annotators)
    place = np.random.default_rng(5).normal(size=(3, len(track) * people)) * 0.5
    place += np.tile([track, frame, frame], people) * np.array([[20.0], [2.0], [0.5]])
    kinds = {schema.TRACK: track * people, schema.FRAME: frame * people}
    values = {schema.SPOT_T: np.tile(frame, people) * 30.0, schema.SPOT_Z: place[0]}
    values |= {schema.SPOT_Y: place[1], schema.SPOT_X: place[2]}
    values[schema.SPOT_RADIUS] = np.full(place.shape[1], np.nan)
    if annotators:
        kinds[schema.ANNOTATOR] = np.repeat(["anna", "ben", "cleo"][:annotators], len(track))
    ds = xr.Dataset({k: v for one in values.items() for k, v in wrapped(*one).items()})
    return ds.assign_coords({k: v for one in kinds.items() for k, v in wrapped(*one).items()})


def wrapped(variable: schema.Variable, values) -> dict[str, xr.DataArray]:
    return variable.wrap(xr.DataArray(np.asarray(values), dims=variable.dims))


def phases(annotators: int = 0) -> xr.Dataset:
    """Two events in the movie ``m``, one of them odd; in turn by annotators."""
    people = max(1, annotators)
    rows = np.tile([[0, 1, 2, 3], [np.nan, np.nan, 1, 2]], (people, 1)).T
    rows = np.where(np.arange(rows.shape[1]) == 2, rows + 1, rows)
    values = dict(zip(schema.PHASES, rows, strict=True))
    ds = xr.Dataset({k: v for one in values.items() for k, v in wrapped(*one).items()})
    who = np.repeat(["anna", "ben", "cleo"][:people], 2)
    return ds.assign_coords(
        event=("event", ["m_1", "m_2"] * people), movie=("event", ["m", "m"] * people),
        channel=("event", ["ch1", "ch1,ch2"] * people), annotator=("event", who),
    )  # fmt: skip


def conditions() -> xr.Dataset:
    values = {schema.CONTENT: [["Neu", "UVPR8"], ["DC, Neu", ""], ["", "SHG"]]}
    texts = (schema.MARKERS, schema.FLUOROPHORES, schema.ORGAN, schema.STIMULUS, schema.OBJECTIVE)
    values |= {v: [f"{v.name} {i}" for i in range(3)] for v in texts}
    ds = xr.Dataset({k: v for one in values.items() for k, v in wrapped(*one).items()})
    return ds.assign_coords(movie=["Neu1", "Neu2", "Den1"], channel_number=[1, 2])


def write_phases(folder: Path) -> Path:
    ds, path = phases(), folder / "m.csv"
    table = (ds[[v.name for v in schema.PHASES]] + 1).to_dataframe().reset_index(drop=True)
    table["video_id"], table["channel"] = ds.movie.values, ["ch1", "ch1/ch2"]
    table.to_csv(path, index=False)
    return path


def write_conditions(folder: Path) -> Path:
    ds, path = conditions(), folder / "m.csv"
    table = ds.drop_dims("channel_number").to_dataframe().reset_index(names="video_id")
    table["ch1"], table["ch2"] = ds.content.values.T
    table.to_csv(path, index=False)
    return path


def write_tracks(folder: Path) -> Path:
    path = folder / "m.csv"
    spots().to_dataframe().reset_index().to_csv(path, index=False)
    return path


def write_labels(folder: Path) -> Path:
    (folder / "m").mkdir()
    pixels = labels().labels.values[0]
    tifffile.imwrite(folder / "m" / "mask000.tif", pixels, photometric="minisblack")
    return folder / "m" / "mask000.tif"


def labels() -> xr.Dataset:
    values = np.random.default_rng(1).integers(0, 4, (1, 3, 40, 44)).astype("u2")
    return xr.Dataset(wrapped(schema.LABELS, values))


def write_imaris_spots(folder: Path) -> Path:
    path, ds = write_imaris_movie(folder), spots().isel(spot=[0, 3, 1, 4, 5])
    rows = [(k, *r) for k, r in enumerate(zip(*(ds[n].values.tolist() for n in SPOT), strict=True))]
    members = {track: [r[0] for r, t in zip(rows, ds.track.values, strict=True) if t == track]
               for track in (3, 8)}  # fmt: skip
    scenes.points8(path, 0, [(*row, 0) for row in rows], members)
    return path


SPOT = ("frame", "spot_x", "spot_y", "spot_z")


def spots_of_imaris() -> xr.Dataset:
    """What float32 leaves of the spots in frames 0 to 2, by frames."""
    ds = spots().isel(spot=[0, 3, 1, 4, 5])
    return ds.map(lambda v: v.astype("f4") if v.name != "spot_t" else v, keep_attrs=True)


def write_imaris_surfaces(folder: Path) -> Path:
    path = write_imaris_movie(folder)
    scenes.surfaces(path, 0, MESHES_BY_FRAME)
    return path


def write_sff(folder: Path) -> Path:
    writers.export({"m": meshes_of_movie()}, "emdb-sff", folder)
    return folder / "m.sff"


def write_bioio(folder: Path) -> Path:
    pytest.importorskip("bioio_ome_tiff")
    tifffile.imwrite(folder / "m.ome.tif", movie().image.values, metadata={"axes": "TCZYX"})
    return folder / "m.ome.tif"


MARKS = {"bioio": pytest.mark.filterwarnings("ignore:As of version 0.4.0")}  # its plugin's


def write_crops(folder: Path) -> Path:
    path = folder / "m_cell1.tif"
    tifffile.imwrite(path, cropped().crop.values[0], imagej=True, metadata={"axes": "TCYX"})
    return path


def cropped() -> xr.Dataset:
    return xr.Dataset({"crop": movie().image.max("z").expand_dims("event").drop_attrs()})


def collection() -> xr.Dataset:
    """Two pictures of 2 channels, 2 by 3 and 1 by 2, each with a mask; laid out by hand."""
    values = {
        schema.PIXELS: [[*range(12), *range(100, 104)]],
        schema.PICTURE_FLAG: [[0, 0]],
        schema.MASK_CODE: [[3, 1, 0, 2, 0, 0, 1, 1]],
        schema.MASK_VALUE: [[1, 255]],
        schema.MASK_PIXELS: [[0] * 16],
    }
    kinds = {schema.PIXELS: "u2"}
    ds = xr.Dataset(
        {
            name: array
            for variable, rows in values.items()
            for name, array in wrapped(variable, np.array(rows, kinds.get(variable, "u1"))).items()
        }
    )
    places = {"in_block": [0, 0], "in_slot": [0, 1], "offset": [0, 6], "height": [2, 1]}
    places |= {"width": [3, 2], "mask_dtype": ["uint8"] * 2, "put_aside": ["", ""]}
    over = {name: ("record", column) for name, column in places.items()}
    return ds.assign_coords(over | {"block": [0], "c": ["Ch1", "Ch2"]})


def write_ifc(folder: Path) -> Path:
    """The first of these pictures, in a file of the folder ``m``."""
    (folder / "m").mkdir()
    path = folder / "m" / "x_1.h5"
    ds = collection().isel(record=0)
    with h5py.File(path, "w") as file:
        file["image"] = ds.pixels.values[0, :12].reshape(2, 2, 3).transpose(1, 2, 0)
        codes = ds.mask_code.values[0, :6].reshape(2, 3, 1)
        file["mask"] = (codes >> np.arange(2) & 1).astype("u1")
    return path


SHARES = {"Ch1": [1.0, 0.25], "Ch2": [0.1, 1.0]}


def spillover() -> xr.Dataset:
    array = xr.DataArray(list(SHARES.values()), dims=("detector", "source"))
    names = {"detector": list(SHARES), "source": list(SHARES)}
    return xr.Dataset(schema.SPILLOVER.wrap(array), names)


def write_spillover(folder: Path) -> Path:
    path = folder / "m.csv"
    lines = [",".join(map(str, (name, *row))) for name, row in SHARES.items()]
    path.write_text("\n".join(["," + ",".join(SHARES), *lines]))
    return path


def one_picture() -> xr.Dataset:
    sizes = {"value": slice(12), "place": slice(6), "slot": slice(1), "record": slice(1)}
    return collection().isel(sizes)


FILES = {
    "crops": write_crops,
    "bioio": write_bioio,
    "conditions": write_conditions,
    "emdb-sff": write_sff,
    "ifc": write_ifc,
    "phases": write_phases,
    "spillover": write_spillover,
    "imaris": write_imaris_movie,
    "imaris-spots": write_imaris_spots,
    "imaris-surfaces": write_imaris_surfaces,
    "tiff": write_tiff,
    "tiff-series": write_tiff_series,
    "ome-zarr": write_ome_zarr,
    "tracks": write_tracks,
    "tracks-labels": write_labels,
}
TABLES = {
    "crops": cropped,
    "conditions": conditions,
    "ifc": one_picture,
    "phases": phases,
    "emdb-sff": lambda: meshes_of_movie(),
    "spillover": spillover,
    "imaris-spots": spots_of_imaris,
    "imaris-surfaces": lambda: meshes_of_movie(),
    "tracks": spots,
    "tracks-labels": labels,
}
"""What readers of tables, labels and collections give; the others give a movie."""


def held(name: str) -> xr.Dataset:
    return TABLES.get(name, movie)()


@pytest.fixture(params=[pytest.param(n, marks=MARKS.get(n, ())) for n in sorted(READERS)])
def source(request, tmp_path) -> tuple[str, Path]:
    return request.param, FILES[request.param](tmp_path)


def test_every_reader_has_a_file_here():
    assert set(FILES) == set(READERS)


def test_reader_finds_its_part_and_names_it_by_its_stem(source):
    name, path = source
    (part,) = READERS[name].find(sources.list_items(str(path.parent)))
    assert part.stem == "m"
    assert all(Path(item.uri).is_relative_to(path.parent) for item in part.items)


def test_reader_reads_no_pixel_and_leaves_no_file_open(source):
    name, path = source
    process = psutil.Process()
    before = {file.path for file in process.open_files()}

    def refuse(*_, **__):
        raise AssertionError("a pixel was read")

    with dask.config.set(scheduler=refuse):
        ds = READERS[name].open(str(path))
    assert not {f.path for f in process.open_files()} - before
    for variable in held(name).data_vars:
        np.testing.assert_array_equal(ds[variable].values, held(name)[variable].values)
    assert not {f.path for f in process.open_files()} - before


def test_reader_notes_what_it_reads(source):
    """Every file that it takes values of: a seal holds its digest."""
    name, path = source
    testing.notes_its_files(READERS[name], path)


def test_reader_gives_what_is_in_the_vocabulary_in_few_bytes(source):
    name, path = source
    ds = READERS[name].open([str(path)])
    for key, variable in ds.data_vars.items():
        assert schema.VARIABLES[key].check(ds).dims == variable.dims
        assert variable.attrs["units"] == schema.VARIABLES[key].unit
    if name not in TABLES:
        assert ds.image.dims == schema.MOVIE_DIMS
        assert ds.t.attrs["units"] == "s"
        assert ds.x.attrs["units"] == "micrometer"
    assert len(pickle.dumps(ds)) < 50_000
    assert all(isinstance(k, str) for k in ds.attrs)


def test_reader_reads_slices_as_the_whole(source):
    name, path = source
    ds, whole = READERS[name].open(str(path)), held(name)
    cut = {"t": slice(1, 3), "c": 1, "z": slice(1, 2), "y": slice(3, 30), "x": slice(None, None, 2)}
    cut = {dim: cut.get(dim, slice(1, None, 2)) for dim in whole.dims}
    for variable in whole.data_vars:
        found, expected = (each[variable].isel(cut, missing_dims="ignore") for each in (ds, whole))
        np.testing.assert_array_equal(found, expected)


def test_reader_says_what_is_wrong_with_rubbish(source):
    name, path = source
    target = path / "zarr.json" if path.is_dir() else path
    target.write_bytes(b"rubbish")
    with pytest.raises(InputError) as told:
        READERS[name].open(str(path))
    assert "\n" not in str(told.value)
    assert path.name in str(told.value)


def test_reader_opens_and_reads_as_the_kit_asks(source):
    name, path = source
    testing.reads_slices(testing.reads_no_pixel(READERS[name], path))


@pytest.mark.parametrize("kind", ["device", "pipe", "nowhere"])
def test_reader_waits_for_nothing_without_end(source, kind):
    """A link to /dev/zero, a pipe that nobody writes to, a link to a share that is not there."""
    name, path = source
    target = path / "zarr.json" if path.is_dir() else path
    target.unlink()
    if kind == "pipe":
        os.mkfifo(target)
    else:
        target.symlink_to("/dev/zero" if kind == "device" else "/nowhere/at/all")
    with pytest.raises((InputError, UsageError)) as told:
        READERS[name].open(str(path))
    assert len(str(told.value).splitlines()) == 1
    assert {path.name, path.parent.name} & set(re.split(r"[/: ]+", str(told.value)))


def test_reader_options_have_defaults_and_documentation(source):
    function = READERS[source[0]].open
    testing.options_are_documented(function, 1)
    options = list(inspect.signature(function).parameters.values())[1:]
    assert all(option.default is not option.empty for option in options)


# Operators


def quality_tree() -> xr.DataTree:
    held = {f"/m{i}": operators.frame_quality(movie(i)) for i in range(3)}
    return xr.DataTree.from_dict(held)


def sums() -> xr.DataTree:
    return xr.DataTree.from_dict({f"/m{i}": operators.channel_sums(collection()) for i in range(2)})


def table(first: int = 0) -> xr.Dataset:
    """Numbers and labels of six cells; two columns have holes, one has no spread."""
    values = np.arange(24.0).reshape(6, 4) % 7 + first
    values[:, 2], values[1, 0], values[2, 3] = 5, np.nan, np.inf
    said = {"label": ["A", "A", "B", "B", "-1", "A"], "donor": ["d", "e"] * 3}
    said |= {"file": [f"{first}_{i}.h5" for i in range(6)], "experiment": ["x"] * 6}
    said |= {"condition": [f"c{first}"] * 6}
    coords = {name: ("record", column) for name, column in said.items()}
    features = schema.FEATURE.wrap(xr.DataArray(values, dims=("record", "name")))
    return xr.Dataset(features).assign_coords(coords | {"name": ["a", "b", "c", "d"]})


def tables() -> xr.DataTree:
    return xr.DataTree.from_dict({f"/t{i}": table(i) for i in range(3)})


def ratings() -> xr.Dataset:
    said = xr.DataArray([["A", "A"], ["B", "A"], ["B", "B"]], dims=("record", "rater"))
    return xr.Dataset(schema.RATING.wrap(said)).assign_coords(rater=["KE", "NK"])


OPERANDS = {
    "cell-features": collection,
    "channel-statistics": sums,
    "channel-sums": collection,
    "class-frequencies": tables,
    "clean-features": table,
    "compensate": collection,
    "feature-statistics": tables,
    "feature-sums": table,
    "gate": table,
    "rater-agreement": ratings,
    "sample-records": table,
    "split-records": table,
    "consensus-phases": lambda: phases(3),
    "consensus-tracks": lambda: spots(3),
    "group-tests": quality_tree,
    "derive-masks": collection,
    "phase-tracks": lambda: xr.DataTree.from_dict({"/t": phases()}),
    "picture-quality": collection,
    "pictures": collection,
    "quality-table": quality_tree,
    "split-movies": quality_tree,
    "rescale-intensity": collection,
    "segment-cells": collection,
    "track-measures": spots,
    "surface-measures": lambda: meshes_of_movie(),
}
"""What operators take that do not take a movie."""


def operand(name: str) -> xr.Dataset | xr.DataTree:
    return OPERANDS.get(name, movie)()


def meshes_of_movie() -> xr.Dataset:
    """Surfaces in the frames 0, 1 and 2 of `movie`."""
    return surfaces([mesh[1:] for mesh in MESHES_BY_FRAME], [mesh[0] for mesh in MESHES_BY_FRAME])


OTHERS = {
    "clean-features": lambda: [tables()],
    "compensate": lambda: [xr.DataTree.from_dict({"/m": spillover()})],
    "mesh-masks": lambda: [meshes_of_movie()],
    "phase-tracks": lambda: [xr.DataTree.from_dict({"/m": spots()})],
    "track-checks": lambda: [spots()],
    "track-crops": lambda: [spots_in_movie()],
}
"""What operators take beside their first input."""


def spots_in_movie() -> xr.Dataset:
    """The same tracks, where `movie` shows them, or half of them beyond its border."""
    ds = spots()
    return ds.assign(
        spot_z=ds.spot_z * 0 + 5, spot_y=ds.spot_y - ds.spot_y.mean() - 18, spot_x=ds.spot_x + 9
    )


NEEDED = {
    "derive-masks": {"masks": {"both": "Ch1 & Ch2", "around": "dilate(both, 1)"}},
    "gate": {"gates": {"low": "a < 4", "one": "low and donor == 'd'"}},
}
"""Parameters that have no default."""


def apply(name: str, data: xr.Dataset | xr.DataTree) -> xr.Dataset:
    given = NEEDED.get(name, {})
    return OPERATORS[name].function(data, *OTHERS.get(name, list)(), **given)


@pytest.fixture(params=sorted(OPERATORS))
def operator(request) -> str:
    return request.param


def test_operator_is_lazy_and_leaves_its_input_alone(operator):
    call = partial(apply, operator)
    testing.leaves_inputs_alone(call, operand(operator))
    if OPERATORS[operator].makes == "blocks":
        testing.is_lazy(call, operand(operator))


def test_operator_results_are_of_the_vocabulary(operator):
    testing.is_of_the_vocabulary(apply(operator, operand(operator)))


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(1, 3), st.integers(1, 2), st.integers(1, 3), st.integers(7, 40))
def test_operator_does_not_depend_on_chunks(operator, t, c, z, y):
    data = operand(operator)
    sizes = {"t": t, "c": c} if isinstance(data, xr.DataTree) else {"t": t, "c": c, "z": z, "y": y}
    testing.needs_no_chunks(partial(apply, operator), data, sizes=[sizes])


def test_operator_parts_along_free_dims_are_the_whole(operator):
    free = OPERATORS[operator].free
    testing.parts_are_the_whole(partial(apply, operator), operand(operator), free=free)


ON_HOST = """class-frequencies consensus-phases consensus-tracks gate group-tests mesh-masks
    phase-tracks projections rater-agreement sample-records split-movies split-records
    surface-measures track-checks""".split()
"""Operators that move nothing to a device: tables, meshes, and what xarray does by itself."""
GPUS = ["pretended"] + ["real"] * compute_devices.has_cuda()


@pytest.mark.parametrize("gpu", GPUS)
def test_operator_gives_the_same_on_a_device(operator, gpu, monkeypatch):
    data = testing.chunked(operand(operator), {"t": 2})
    expected = apply(operator, data).compute()
    moved = devices.pretend(monkeypatch) if gpu == "pretended" else None
    with compute_devices.device("cuda"):
        found = apply(operator, data)
    found = found.compute()
    assert set(found.variables) == set(expected.variables)
    for name, variable in expected.variables.items():
        assert found[name].dtype == variable.dtype
        if variable.dtype.kind == "f":
            np.testing.assert_allclose(found[name], variable, rtol=1e-9, atol=1e-12)
        else:
            np.testing.assert_array_equal(found[name], variable)
    if moved is not None:
        assert bool(moved) == (operator not in ON_HOST)


def test_operator_refuses_unknown_parameters(operator):
    function = OPERATORS[operator].function
    with pytest.raises(TypeError):
        function(operand(operator), no_such_parameter=1)
    testing.options_are_documented(function, len(operators.inputs(OPERATORS[operator])))


# Writers


WRITABLE = {
    "anndata": lambda: table(),
    "classification": lambda: crops("m").assign_coords(split="train"),
    "coco": lambda: masked(),
    "csv": lambda: operators.frame_quality(movie()),
    "parquet": lambda: operators.frame_quality(movie()),
    "segmentation": lambda: masked(),
}
"""What writers take that do not take a movie alone."""


def masked() -> xr.Dataset:
    masks = operators.mesh_masks(movie(), meshes_of_movie())
    return movie().merge(masks).assign_coords(split="test")


def writable(name: str) -> xr.Dataset:
    return WRITABLE.get(name, lambda: held(name))()


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_writer_writes_what_it_says_and_always_the_same(name):
    exact = name != "tiff"  # a TIFF holds a fresh UUID
    testing.writes_the_same(partial(exported, name), {"m": writable(name)}, exact=exact)


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_writer_leaves_what_is_there_alone(name):
    testing.keeps_files(partial(exported, name), {"m": writable(name)})


def exported(name: str, parts: dict[str, xr.Dataset], to: str) -> list[str]:
    return writers.export(parts, name, to)


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_writer_options_have_defaults_and_documentation(name):
    for parameter in list(inspect.signature(WRITERS[name]).parameters.values())[2:]:
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert parameter.default is not parameter.empty
        # write_parquet refers to write_csv
        assert name == "parquet" or f"{parameter.name} :" in WRITERS[name].__doc__


@pytest.mark.parametrize("name", sorted(set(WRITERS) & set(READERS)))
def test_reader_reads_what_the_writer_wrote(name, tmp_path):
    writers.export({"m": held(name)}, name, tmp_path)
    (part,) = READERS[name].find(sources.list_items(str(tmp_path)))
    ds = READERS[name].open([item.uri for item in part.items])
    if name in TABLES:
        for key, variable in held(name).variables.items():
            np.testing.assert_array_equal(ds[key].values, variable.values)
        return
    np.testing.assert_array_equal(ds.image.values, movie().image.values)
    for dim in ("t", "z", "y", "x"):
        np.testing.assert_allclose(ds[dim], movie()[dim], rtol=0, atol=1e-9)
    assert list(ds.c.values) == ["GFP", "DiD"]
    assert list(ds.channel_color.values) == ["00FF00", "FF0000"]
