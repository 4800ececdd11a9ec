"""Small valid inputs of every reader, the same each time; `mutations` spoils them.

A seed is held in memory: the files of one folder, by their names, so that a mutation changes
bytes and writes them anew. Names of files begin with ``spoiled``, which is in no other text: a
message that names a file is told by it.
"""

import base64
import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scenes
import tifffile
import xarray as xr
from meshes import box, octahedron, placed
from readers.examples import EXAMPLES

from dpipe import schema, writers
from dpipe.formats import containers
from dpipe.formats.imaris_writer import write_imaris
from dpipe.metadata import ngff

STEM = "spoiled"
SECRET = STEM + "7"


@dataclass(frozen=True)
class Seed:
    """A valid input.

    Attributes
    ----------
    reader : str
        A key of ``READERS``.
    name : str
        Of the seed among those of its reader.
    files : mapping of str to bytes
        What lies in the folder, by path.
    options : mapping
        Of the reader.
    """

    reader: str
    name: str
    files: Mapping[str, bytes]
    options: Mapping[str, Any] = field(default_factory=dict)


def noise(*shape: int, dtype: str = "u2") -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, shape).astype(dtype)


def movie() -> xr.Dataset:
    return schema.movie(
        noise(2, 2, 3, 8, 9), spacing=(2, 0.5, 0.25), origin=(3, -20, 7.5), interval=30,
        channels=["GFP", "DiD"],
    )  # fmt: skip


# --- pictures ---------------------------------------------------------------------------------


def tif(folder: Path, values: np.ndarray, name: str = f"{SECRET}.tif", **said: Any) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, **({"photometric": "minisblack", "software": "dpipe"} | said))


OME = {"axes": "TCZYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0,
       "TimeIncrement": 30.0, "Channel": {"Name": ["GFP", "DiD"]},
       "UUID": "01234567-89ab-cdef-0123-456789abcdef"}  # fmt: skip
IMAGEJ = {"axes": "TZCYX", "spacing": 2.0, "unit": "um", "finterval": 30.0}


def ome_tiff(folder: Path, **said: Any) -> None:
    tif(folder, noise(2, 2, 3, 8, 9), f"{SECRET}.ome.tif", ome=True, metadata=OME, **said)


def imagej(folder: Path, name: str = f"{SECRET}.tif", **said: Any) -> None:
    values = noise(2, 2, 3, 8, 9).transpose(0, 2, 1, 3, 4)
    tif(folder, values, name, imagej=True, metadata=IMAGEJ, resolution=(4, 2), **said)


def scanimage(folder: Path) -> None:
    said = {"SI.VERSION_MAJOR": 2020, "SI.hChannels.channelSave": "[1;2]",
            "SI.hStackManager.framesPerSlice": 1, "SI.hStackManager.numSlices": 3,
            "SI.hStackManager.numVolumes": 2, "SI.hStackManager.stackZStepSize": 2,
            "SI.hRoiManager.scanFramePeriod": 0.05,
            "SI.hRoiManager.imagingFovUm": "[-8 -3;8 -3;8 3;-8 3]"}  # fmt: skip
    text = "".join(f"{key} = {value}\n" for key, value in said.items())
    with tifffile.TiffWriter(folder / f"{SECRET}.tif", bigtiff=True) as file:
        for page in noise(12, 6, 8, dtype="i2"):
            file.write(page, photometric="minisblack", metadata=None, contiguous=False,
                       software=text, description="frameNumbers = 1")  # fmt: skip


def tiled(folder: Path) -> None:
    values = noise(4, 32, 32)
    tif(folder, values, tile=(16, 16), compression="zlib", bigtiff=True, metadata={"axes": "ZYX"})


def frames(folder: Path) -> None:
    for t, frame in enumerate(noise(3, 4, 8, 9)):
        tif(folder, frame, f"{SECRET}_t{t:03d}.tif", metadata={"axes": "ZYX"})


def tiff_series(folder: Path) -> None:
    for n in range(3):
        imagej(folder, f"{SECRET}/{n:04d}.tif")


def crops(folder: Path) -> None:
    tif(folder, noise(3, 8, 8, dtype="u1"), f"{STEM}_crops/{SECRET}_cell1.tif")
    for k in range(3):
        tif(folder, noise(8, 8, dtype="u1"), f"{STEM}_crops/{SECRET}_cell2/{STEM}_{k}.tif")


def labels(folder: Path, head: str = "mask") -> None:
    for t in range(3):
        frame = np.zeros((3, 8, 9), "u2")
        frame[1, 2:5, 3:6], frame[2, 6, :2] = 4, 1 if t < 2 else 2
        tif(folder, frame, f"{SECRET}/{head}{t:03d}.tif", metadata={"axes": "ZYX"})


def challenge(folder: Path) -> None:
    labels(folder, "man_track")
    (folder / SECRET / "man_track.txt").write_text("1 0 1 0\n2 2 2 1\n4 0 2 0\n")


# --- HDF5 -------------------------------------------------------------------------------------


def imaris(folder: Path, **said: Any) -> Path:
    path = folder / f"{SECRET}.ims"
    write_imaris(
        path, noise(2, 2, 3, 8, 9), spacing=(2, 0.5, 0.25), origin=(2, -20, 7), interval=30,
        channels=["GFP", "DiD"], levels=2, chunks=(3, 8, 8), **said,
    )  # fmt: skip
    with h5py.File(path, "r+") as file:  # a picture of nothing, most of the file
        del file["Thumbnail"]
    return path


SPOTS = [(0, 0, 7.5, -19, 3, 1), (1, 0, 8, -18.5, 4, 1), (2, 1, 7.5, -19, 5, 1)]


def imaris_spots(folder: Path) -> None:
    scenes.points8(imaris(folder), 0, SPOTS, {3: [0, 2]})


def imaris_spots_old(folder: Path) -> None:
    scenes.points(imaris(folder), 0, [each[1:] for each in SPOTS], Id=7, Unit="um")


def imaris_statistics(folder: Path) -> None:
    path = imaris(folder)
    scenes.points8(path, 0, SPOTS, {3: [0, 2]})
    where = "Scene8/Content/Points0"
    scenes.statistics(path, where, [(1, 0, 0, "Diameter", "um")], [(1, 0, 1, 2.0), (2, 2, 1, 3.0)])
    scenes.labels(path, where, {"Class": ["A", "B"]}, [([0], [0, 1]), ([1], [2])])


MESHES = [(0, *box((3, -19, 8), (5, -18, 9))), (1, *placed(octahedron(), 1, (4, -18, 8)))]


def imaris_surfaces(folder: Path) -> None:
    scenes.surfaces(imaris(folder), 0, MESHES)


def imaris_surfaces_new(folder: Path) -> None:
    path = imaris(folder)
    scenes.surfaces(path, 0, MESHES)
    scenes.surfaces8(path, 0, [5, 6], {3: [5, 6]})


def imaris_mega(folder: Path) -> None:
    scenes.mega(imaris(folder), 0, [(5, 0, 8, -19, 4), (6, 1, 8, -18, 4)])


def ifc(folder: Path) -> None:
    (folder / SECRET).mkdir()
    for n in range(3):
        image = np.random.default_rng(n).integers(0, 200, (6 + n, 7, 3)).astype("u2")
        with h5py.File(folder / SECRET / f"{STEM}_{n}.h5", "w") as file:
            file["image"], file["mask"] = image, (image > 100).astype("u1")
            file["label"] = np.bytes_("A")


# --- Zarr -------------------------------------------------------------------------------------


def zarr3(folder: Path) -> None:
    attributes = ngff.image_attributes(movie(), "image", 1, name="m", path="{level}")
    containers.write_tree(folder / f"{SECRET}.zarr", {"": attributes}, [("", movie().image, 1)])


def zarr2(folder: Path) -> None:
    import zarr

    group = zarr.open_group(folder / f"{SECRET}.zarr", mode="w", zarr_format=2)
    array = group.create_array("0", shape=(2, 3, 8, 9), chunks=(1, 3, 8, 9), dtype="u2")
    array[...] = noise(2, 3, 8, 9)
    kinds = {"t": ("time", "second")} | dict.fromkeys("zyx", ("space", "micrometer"))
    axes = [{"name": a, "type": kind, "unit": unit} for a, (kind, unit) in kinds.items()]
    scale = [{"type": "scale", "scale": [30.0, 2.0, 0.5, 0.25]}]
    levels = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": levels}]


def zarr_labels(folder: Path) -> None:
    objects = schema.LABELS.wrap(movie().image.isel(c=0, drop=True).astype("u4"))
    writers.export({SECRET: movie().assign(objects)}, "ome-zarr", folder)


def zarr_zip(folder: Path) -> None:
    zarr3(folder)
    root = folder / f"{SECRET}.zarr"
    pack(folder / f"{SECRET}.zarr.zip", {str(p.relative_to(root)): p for p in walked(root)})
    remove(root)


def pack(target: Path, members: Mapping[str, Path]) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), path.read_bytes())


def walked(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    folder.rmdir()


# --- meshes -----------------------------------------------------------------------------------


def encoded(what: str, values: np.ndarray, mode: str) -> dict[str, Any]:
    data = base64.b64encode(values.astype(mode).tobytes()).decode()
    return {f"num_{what}": len(values), "mode": mode, "endianness": "little", "data": data}


def sff_json(folder: Path) -> None:
    vertices, faces = octahedron()
    mesh = {"id": 0, "vertices": encoded("vertices", vertices, "float32")}
    mesh |= {"triangles": encoded("triangles", faces, "uint32")}
    matrix = {"id": 0, "rows": 3, "cols": 4, "data": "1e4 0 0 0 0 1e4 0 0 0 0 1e4 0"}
    segment = {"id": 3, "parent_id": 0, "colour": [1, 0.5, 0, 1], "mesh_list": [mesh]}
    segment |= {"biological_annotation": {"name": "Nucleus", "description": ""}}
    held = {"version": "0.8.0.dev1", "name": "cell", "primary_descriptor": "mesh_list"}
    held |= {"transform_list": [matrix], "segment_list": [segment]}
    (folder / f"{SECRET}.json").write_text(json.dumps(held))


def sff(folder: Path, form: str) -> None:
    from dpipe.readers.imaris.surfaces import open_imaris_surfaces

    imaris_surfaces(folder)
    path = folder / f"{SECRET}.ims"
    held = open_imaris_surfaces(path).load()
    path.unlink()
    writers.export({SECRET: held}, "emdb-sff", folder, form=form)


# --- tables -----------------------------------------------------------------------------------

PHASES = (
    "video_id,blebbing_start,blebbing_end,disruption_start,disruption_end,channel\n"
    "Neu1,3,5,6,10,ch1\nNeu 2,18,20,21,22,ch1/ch4\nNeu2,,,24,30,ch1\n"
)
CONDITIONS = (
    "video_id,ch1,ch2,markers,fluorophore,organ,stimuli,objective\n"
    "Neu 1,Neu,\u2014,CK6,CFP,Spleen,UVPR8,40x\nNeu 2,Neu,SHG,CK6,CFP,Spleen,None,20x\n"
)
IMARIS_TABLE = (
    "\nPosition\n ==================== \nPosition X,Position Y,Position Z,Unit,Category,Collection,"
    "Time,TrackID,ID,\n12.5,3,1,um,Spot,Position,1,1000000000,0,\n"
    "13.5,3,1,um,Spot,Position,2,1000000000,1,\n14.5,4,1,um,Spot,Position,4,,2,\n"
)
TRACKS = {
    "imaris": (".csv", IMARIS_TABLE, {"interval": 30}),
    "columns": (".csv", "track_id,frame,x_um,y_um\n1,0,1,2\n1,1,2.5,3\n2,1,4,4\n", {}),
    "tab": (".tsv", "track_id\tt_s\tx_um\ty_um\n1\t0\t1,5\t2\n1\t30\t2,5\t3\n", {}),
    "dpipe": (
        ".csv",
        "part,spot,spot_id,spot_radius,spot_t,spot_x,spot_y,spot_z,annotator,frame,track\n"
        "m,0,5,,0.5,1,2,3,anna,0,9\nm,1,6,2,30.5,1,2,3,anna,1,9\n",
        {},
    ),
    "trackpy": (".csv", "y,x,frame,particle\n1,1,0,0\n2,1,1,0\n", {"spacing": [1, 1, 1]}),
    "btrack": (".csv", "t,x,y,z,states,label\n0,1,2,3,0,5\n1,2,2,3,0,5\n", {"spacing": [1, 1, 1]}),
    "trackmate": (
        ".xml",
        '<TrackMate version="7"><Model spatialunits="um" timeunits="sec"><AllSpots>'
        '<SpotsInFrame frame="0"><Spot ID="1" FRAME="0" POSITION_X="1" POSITION_Y="2" '
        'POSITION_Z="3" POSITION_T="0" RADIUS="1"/></SpotsInFrame><SpotsInFrame frame="1"><Spot '
        'ID="2" FRAME="1" POSITION_X="1" POSITION_Y="2" POSITION_Z="3" POSITION_T="30" '
        'RADIUS="1"/></SpotsInFrame></AllSpots><AllTracks><Track TRACK_ID="0"><Edge '
        'SPOT_SOURCE_ID="1" SPOT_TARGET_ID="2"/></Track></AllTracks><FilteredTracks><TrackID '
        'TRACK_ID="0"/></FilteredTracks></Model><Settings><ImageData timeinterval="30" '
        'pixelwidth="0.5" pixelheight="0.5" voxeldepth="2"/></Settings></TrackMate>',
        {},
    ),
    "detections": (
        ".xml",
        '<Tracks nTracks="1" spaceUnits="um" frameInterval="30" timeUnits="sec"><particle '
        'nSpots="2"><detection t="0" x="1" y="2" z="3"/><detection t="1" x="2" y="2" z="3"/>'
        "</particle></Tracks>",
        {},
    ),
    "immunemap": (
        ".json",
        '[{"id": 1, "author": 1, "points": [[0, 1, 2, 3], [1, 2, 2, 3]]}, '
        '{"id": 2, "author": 1, "points": [[1, 5, 6, 7]]}]',
        {"spacing": [1, 1, 1]},
    ),
    "mtrackj": (
        ".mdf",
        "MTrackJ 1.5.1 Data File\nAssembly 1 FF0000\nCluster 1 FF0000\nTrack 1 FF0000 true\n"
        "Point 1 10.0 20.0 4.0 1.0 1.0\nPoint 2 11.0 20.0 4.0 2.0 1.0\nEnd of MTrackJ Data File\n",
        {"spacing": [2, 0.5, 0.5]},
    ),
    "celltrackr": (
        ".txt", "1 0 1 1 1\n1 30 2 1 1\n2 0 1 4 4\n", {"format": "celltrackr"},
    ),
}  # fmt: skip
OBJECTS = "cmso_object_id,cmso_frame_id,cmso_x_coord,cmso_y_coord\n0,0,1,2\n1,1,2,2\n"


def text(name: str, held: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(held.encode()) and None


def biotracks(folder: Path) -> None:
    (folder / SECRET).mkdir()
    held = {"objects.csv": OBJECTS, "links.csv": "cmso_link_id,cmso_object_id\n0,0\n0,1\n"}
    held |= {"tracks.csv": "cmso_track_id,cmso_link_id\n0,0\n"}
    said = {"cmso_space_unit": "micron", "cmso_time_unit": "sec", "cmso_frame_rate": 30}
    for name, each in (held | {"dp.json": json.dumps(said)}).items():
        (folder / SECRET / name).write_text(each)


def excel(folder: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    for line in TRACKS["columns"][1].splitlines():
        cells = [cell if cell.isidentifier() else float(cell) for cell in line.split(",")]
        book.active.append(cells)
    stream = io.BytesIO()
    book.save(stream)
    with zipfile.ZipFile(stream) as made, zipfile.ZipFile(folder / f"{SECRET}.xlsx", "w") as out:
        for name in sorted(made.namelist()):
            if name != "docProps/core.xml":  # holds the time
                out.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), made.read(name))


# --- all --------------------------------------------------------------------------------------

Writer = Callable[[Path], object]
WRITERS: dict[str, dict[str, Writer | tuple[Writer, dict[str, Any]]]] = {
    "bioio": {"ome": ome_tiff},
    "conditions": {"csv": text(f"{SECRET}.csv", CONDITIONS)},
    "crops": {"both": crops},
    "emdb-sff": {
        "json": sff_json,
        "xml": lambda folder: sff(folder, "sff"),
        "hdf5": lambda folder: sff(folder, "hff"),
    },
    "ifc": {"folder": ifc},
    "imaris": {
        "plain": imaris,
        "lz4": lambda folder: imaris(folder, compression="lz4"),
        "objects": (imaris_spots, {"objects": True}),
    },
    "imaris-spots": {
        "new": imaris_spots, "old": imaris_spots_old, "statistics": imaris_statistics,
        "mega": (imaris_mega, {"centers": True}),
    },
    "imaris-surfaces": {"old": imaris_surfaces, "new": imaris_surfaces_new},
    "ome-zarr": {"3": zarr3, "2": zarr2, "labels": zarr_labels, "zip": zarr_zip},
    "phases": {"csv": text(f"{SECRET}.csv", PHASES)},
    "spillover": {"csv": text(f"{SECRET}.csv", ",A,B\nA,1,0.1\nB,0.3,1\n")},
    "tiff": {
        "ome": ome_tiff, "imagej": imagej, "scanimage": scanimage, "tiled": tiled,
        "frames": frames, "big": lambda folder: ome_tiff(folder, bigtiff=True),
        "reversed": lambda folder: ome_tiff(folder, byteorder=">"),
    },
    "tiff-series": {"folder": tiff_series},
    "tracks": {
        name: (text(SECRET + suffix, held), said) for name, (suffix, held, said) in TRACKS.items()
    } | {
        "biotracks": biotracks, "challenge": (challenge, {"spacing": [1, 1, 1]}), "excel": excel,
    },
    "tracks-labels": {"folder": labels, "challenge": challenge},
}  # fmt: skip


MADE: dict[str, tuple[Seed, ...]] = {}


def seeds(reader: str) -> tuple[Seed, ...]:
    """Return the seeds of a reader; they are made once."""
    if reader not in MADE:
        MADE[reader] = tuple(_made(reader))
    return MADE[reader]


def _made(reader: str) -> Iterator[Seed]:
    for name, given in WRITERS.get(reader, {"example": partial(example, reader)}).items():
        write, options = given if isinstance(given, tuple) else (given, {})
        with tempfile.TemporaryDirectory() as made:
            write(Path(made))
            files = {str(p.relative_to(made)): p.read_bytes() for p in walked(Path(made))}
        yield Seed(reader, name, files, options)


def example(reader: str, folder: Path) -> None:
    """Write the example of the contracts, for a reader that has no seed of its own."""
    EXAMPLES[reader].write(folder)
    for path in folder.iterdir():
        path.rename(folder / path.name.replace("m", SECRET, 1))
