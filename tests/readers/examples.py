"""Examples of readers: a file that each reads, what it gives of it, and a row for each reader."""

from pathlib import Path

import annotated
import h5py
import numpy as np
import plain
import pytest
import scenes
import tifffile
import xarray as xr
from examples import ReaderExample
from meshes import box, octahedron, placed, surfaces

from dpipe import schema, writers
from dpipe.formats import containers
from dpipe.formats.imaris_writer import write_imaris
from dpipe.metadata import ngff


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


def spots() -> xr.Dataset:
    """Two tracks of six frames, one with a gap, and a spot without."""
    track, frame = [3, 3, 3, 8, 8, 8, 8, -1], [0, 1, 4, 0, 1, 2, 5, 3]
    place = np.random.default_rng(5).normal(size=(3, len(track))) * 0.5
    place += np.array([track, frame, frame]) * np.array([[20.0], [2.0], [0.5]])
    kinds = {schema.TRACK: track, schema.FRAME: frame}
    values = {schema.SPOT_T: np.array(frame) * 30.0, schema.SPOT_Z: place[0]}
    values |= {schema.SPOT_Y: place[1], schema.SPOT_X: place[2]}
    values[schema.SPOT_RADIUS] = np.full(place.shape[1], np.nan)
    ds = xr.Dataset({k: v for one in values.items() for k, v in wrapped(*one).items()})
    return ds.assign_coords({k: v for one in kinds.items() for k, v in wrapped(*one).items()})


def wrapped(variable: schema.Variable, values) -> dict[str, xr.DataArray]:
    return variable.wrap(xr.DataArray(np.asarray(values), dims=variable.dims))


def phases() -> xr.Dataset:
    """Two events in the movie ``m``, one of them odd."""
    rows = np.array([[0, 1, 2, 3], [np.nan, np.nan, 1, 2]]).T
    values = dict(zip(schema.PHASES, rows, strict=True))
    ds = xr.Dataset({k: v for one in values.items() for k, v in wrapped(*one).items()})
    return ds.assign_coords(
        event=("event", ["m_1", "m_2"]), movie=("event", ["m", "m"]),
        channel=("event", ["ch1", "ch1,ch2"]), annotator=("event", ["anna", "anna"]),
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


def meshes_of_movie() -> xr.Dataset:
    """Surfaces in the frames 0, 1 and 2 of `movie`."""
    return surfaces([mesh[1:] for mesh in MESHES_BY_FRAME], [mesh[0] for mesh in MESHES_BY_FRAME])


def write_sff(folder: Path) -> Path:
    writers.export({"m": meshes_of_movie()}, "emdb-sff", folder)
    return folder / "m.sff"


OF_BIOIO = pytest.mark.filterwarnings("ignore:As of version 0.4.0")  # by its plugin


def write_bioio(folder: Path) -> Path:
    pytest.importorskip("bioio_ome_tiff")
    tifffile.imwrite(folder / "m.ome.tif", movie().image.values, metadata={"axes": "TCZYX"})
    return folder / "m.ome.tif"


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


EXAMPLES = {
    "bioio": ReaderExample(write_bioio, movie, marks=(OF_BIOIO,)),
    "cellomics": ReaderExample(plain.write_plate, plain.plate),
    "coco": ReaderExample(annotated.write_alone, annotated.dataset),
    "conditions": ReaderExample(write_conditions, conditions),
    "crops": ReaderExample(write_crops, cropped),
    "emdb-sff": ReaderExample(write_sff, meshes_of_movie),
    "ifc": ReaderExample(write_ifc, one_picture),
    "imaris": ReaderExample(write_imaris_movie, movie),
    "imaris-spots": ReaderExample(write_imaris_spots, spots_of_imaris),
    "imaris-surfaces": ReaderExample(write_imaris_surfaces, meshes_of_movie),
    "instance-masks": ReaderExample(plain.write_masks, plain.masks),
    "livecell": ReaderExample(annotated.write_alone, annotated.dataset),
    "ome-zarr": ReaderExample(write_ome_zarr, movie),
    "phases": ReaderExample(write_phases, phases),
    "pictures": ReaderExample(plain.write_pictures, plain.pictures),
    "spillover": ReaderExample(write_spillover, spillover),
    "tiff": ReaderExample(write_tiff, movie),
    "tiff-series": ReaderExample(write_tiff_series, movie),
    "tracks": ReaderExample(write_tracks, spots),
    "tracks-labels": ReaderExample(write_labels, labels),
}
