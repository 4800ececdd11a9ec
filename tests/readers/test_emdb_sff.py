"""EMDB-SFF in: real files, files of other programs by hand, sfftk-rw's, and bad input."""

import base64
import copy
import json
from pathlib import Path

import fsspec
import h5py
import numpy as np
import pytest

from dpipe import schema
from dpipe.errors import InputError, StoreError, UsageError
from dpipe.formats import emdb_sff as formats_emdb_sff
from dpipe.operators import surface_measures
from dpipe.readers import emdb_sff, open_emdb_sff
from dpipe.readers.emdb_sff import find
from dpipe.sources import Item

PLACES = np.array([[0.0, 0, 0], [10, 0, 0], [0, 20, 0], [0, 0, 30]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])


def encoded(what: str, values: np.ndarray, dtype: str) -> dict:
    kind = np.dtype(dtype)
    data = base64.b64encode(values.astype(dtype).tobytes()).decode()
    order = "big" if dtype[0] == ">" else "little"
    return {f"num_{what}": len(values), "mode": kind.name, "endianness": order, "data": data}


def mesh(places="<f4", faces="<u4", **more) -> dict:
    held = {"vertices": encoded("vertices", PLACES, places)}
    return held | {"triangles": encoded("triangles", FACES, faces)} | more


def matrix(rows, number: int = 0) -> dict:
    held = np.asarray(rows, float)
    text = " ".join(map(str, held.ravel().tolist()))
    return {"id": number, "rows": len(held), "cols": held.shape[1], "data": text}


SCALE = [[20, 0, 0, 1e4], [0, 40, 0, 0], [0, 0, 100, -5e3]]
"""An image of 20, 40 and 100 angstroms a voxel along x, y and z, a micrometre off along x."""


def segment(number: int, name: str = "Nucleus", *meshes: dict, **more) -> dict:
    said = {"name": name, "description": ""}
    held = {"id": number, "parent_id": 0, "biological_annotation": said}
    return held | {"colour": [1, 0.5, 0, 1], "mesh_list": list(meshes or [mesh()])} | more


def document(*segments: dict, transforms=None) -> dict:
    transforms = [matrix(SCALE)] if transforms is None else transforms
    return {
        "version": "0.8.0.dev1",
        "name": "cell",
        "transform_list": transforms,
        "primary_descriptor": "mesh_list",
        "segment_list": list(segments or [segment(3)]),
    }


def write(folder: Path, held, name: str = "a.json") -> Path:
    path = folder / name
    text = json.dumps(held) if isinstance(held, dict) else held
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def changed(path: str, value) -> dict:
    """The document with another value somewhere, ``None`` for no value."""
    held = copy.deepcopy(document())
    *walk, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    node = held
    for key in walk:
        node = node[key]
    node[last] = value
    return held


# --- real files -------------------------------------------------------------------------------


def test_real_files_hold_volumes_and_say_so(shared_data):
    """As many segments as sfftk-rw 0.8.1 found, none of them a mesh."""
    folder = shared_data / "formats" / "emdb_sff"
    expected = json.loads((folder / "expected_by_sfftk_rw_0.8.1.json").read_text())
    for name, said in expected.items():
        path = folder / name.removeprefix("dev/emdb_sff/")
        with pytest.raises(InputError, match=rf"no meshes; .* {said['n_segments']} of"):
            open_emdb_sff(path)
        with formats_emdb_sff.open_document(str(path)) as held:
            assert (held["version"], held["name"]) == (said["version"], said["name"])
            found = formats_emdb_sff.listed(held, "segment_list")
            assert [formats_emdb_sff.whole(each, "id") for each in found] == [
                s["id"] for s in said["segments"]
            ]
            for one, other in zip(found, said["segments"], strict=True):
                annotation = formats_emdb_sff.branch(one, "biological_annotation")
                assert formats_emdb_sff.text(annotation, "name") == (other["name"] or "")
                exact = np.round(255 * np.array(other["colour"][:3])).astype(int)
                assert emdb_sff._color(one) == "{:02X}{:02X}{:02X}".format(*exact)
            # in angstroms there, in micrometres here
            transforms = [*formats_emdb_sff.transforms(held).values()]
            assert said["transforms"] == [] or np.allclose(
                np.array(transforms) * 1e4, said["transforms"], rtol=1e-12
            )


# --- what other programs write ----------------------------------------------------------------


def xml(held: dict) -> str:
    """The document as other programs write it: tabs, line breaks, attributes in any order."""
    lines = ["<?xml version='1.0' encoding='utf-8'?>\n<segmentation>\n\t<version>0.8.0.dev1"]
    lines += ["</version>\n\t<name>cell</name>\n\t<transform_list>\n"]
    for each in held["transform_list"]:
        lines += [f'\t<transformation_matrix id="{each["id"]}">\n\t\t<rows>{each["rows"]}</rows>']
        lines += [f"<cols>{each['cols']}</cols>\n<data>{each['data']}</data>"]
        lines += ["</transformation_matrix>"]
    lines += ["</transform_list>\n<bounding_box/><segment_list>"]
    for each in held["segment_list"]:
        said = each["biological_annotation"]
        lines += [f'<segment parent_id="0" id="{each["id"]}"><biological_annotation>']
        lines += [f"<name>{said['name']}</name><description>{said['description']}</description>"]
        lines += ["</biological_annotation><colour><red>1.</red><green>0.5</green>"]
        lines += ["<blue>0.</blue></colour><mesh_list>"]
        for part in each["mesh_list"]:
            lines += ["<mesh>"]
            for name in ("vertices", "triangles"):
                values = "".join(f' {k}="{v}"' for k, v in part[name].items() if k != "mode")
                lines += [f"<{name}{values}/>"]
            lines += ["</mesh>"]
        lines += ["</mesh_list></segment>"]
    return "".join([*lines, "</segment_list></segmentation>\n"])


def hdf5(held: dict, path: Path) -> Path:
    def fill(group, node):
        for key, value in node.items():
            if isinstance(value, dict):
                fill(group.create_group(key), value)
            elif isinstance(value, list) and value and isinstance(value[0], dict):
                fill(group.create_group(key), {str(10 - i): v for i, v in enumerate(value[::-1])})
            else:
                group[key] = value

    with h5py.File(path, "w") as file:
        fill(file, held)
    return path


@pytest.mark.parametrize("form", ["json", "xml", "hff"])
def test_voxels_become_micrometres_by_the_first_transform(tmp_path, form):
    held = document(segment(3), segment(5, "Cytoplasm", mesh(), mesh()))
    if form == "hff":
        path = hdf5(held, tmp_path / "cell.hff")
    else:
        path = write(tmp_path, held if form == "json" else xml(held), "cell.sff")
    ds = open_emdb_sff(path)
    # x = (20 i + 10000) / 10000, y = 40 j / 10000, z = (100 k - 5000) / 10000
    np.testing.assert_allclose(ds.vertex_x, [1, 1.02, 1, 1] * 3, rtol=1e-15)
    np.testing.assert_allclose(ds.vertex_y, [0, 0, 0.08, 0] * 3, rtol=1e-15)
    np.testing.assert_allclose(ds.vertex_z, [-0.5, -0.5, -0.5, -0.2] * 3, rtol=1e-15)
    np.testing.assert_array_equal(ds.face_vertex, np.tile(FACES, (3, 1)))
    assert ds.surface_id.values.tolist() == [3, 5, 5]
    assert ds.surface_object.values.tolist() == [0, 1, 1]
    assert ds.surface_frame.values.tolist() == [0, 0, 0]
    assert ds.surface_track.values.tolist() == [-1, -1, -1]
    assert ds.attrs["objects"] == [
        {"name": "Nucleus", "number": 0, "surfaces": 1, "color": "FF8000"},
        {"name": "Cytoplasm", "number": 1, "surfaces": 2, "color": "FF8000"},
    ]
    assert "unreadable" not in ds.attrs


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[0, -1e4, 0, 0], [1e4, 0, 0, 0], [0, 0, 1e4, 0]], [[0, 0, 0], [0, 10, 0], [-20, 0, 0]]),
        ([*(1e4 * np.eye(3, 4)).tolist(), [0, 0, 0, 1]], [[0, 0, 0], [10, 0, 0], [0, 20, 0]]),
    ],
    ids=["a quarter turn", "4 rows"],
)
def test_transforms(tmp_path, rows, expected):
    ds = open_emdb_sff(write(tmp_path, document(transforms=[matrix(rows)])))
    found = np.stack([ds.vertex_x, ds.vertex_y, ds.vertex_z], axis=1)
    np.testing.assert_allclose(found[:3], expected, atol=1e-12)


def test_a_mesh_may_name_its_transform(tmp_path):
    both = [matrix(SCALE, 4), matrix(1e4 * np.eye(3, 4), 9)]
    held = document(segment(1, "a", mesh(transform_id=9), mesh()), transforms=both)
    ds = open_emdb_sff(write(tmp_path, held))
    np.testing.assert_allclose(ds.vertex_x, [0, 10, 0, 0, 1, 1.02, 1, 1], rtol=1e-15)


def test_without_a_transform_places_are_angstroms(tmp_path):
    ds = open_emdb_sff(write(tmp_path, document(transforms=[])))
    np.testing.assert_allclose(ds.vertex_y, [0, 0, 0.002, 0], rtol=1e-15)
    assert ds.attrs["assumed"] == ["without a transform in the file, places are in angstroms"]


@pytest.mark.parametrize("places", ["<f4", ">f4", "<f8", ">f8", "<i2", ">u8"])
@pytest.mark.parametrize("faces", ["<u4", ">u4", "|u1", "<i8", ">i2"])
def test_kinds_of_numbers(tmp_path, places, faces):
    held = document(segment(1, "a", mesh(places, faces)), transforms=[matrix(1e4 * np.eye(3, 4))])
    ds = open_emdb_sff(write(tmp_path, held))
    np.testing.assert_array_equal(np.stack([ds.vertex_x, ds.vertex_y, ds.vertex_z], 1), PLACES)
    np.testing.assert_array_equal(ds.face_vertex, FACES)


def test_what_is_no_mesh_is_counted(tmp_path):
    volume = segment(2, three_d_volume={"lattice_id": 0, "value": 2.0}, mesh_list=[])
    shape = segment(4, shape_primitive_list=[{"id": 0, "x": 1}], mesh_list=[])
    held = document(segment(1), volume, segment(3, three_d_volume=None), shape, volume)
    ds = open_emdb_sff(write(tmp_path, held))
    assert ds.surface_id.values.tolist() == [1, 3]
    assert ds.attrs["unreadable"] == [
        {"kind": "three_d_volume", "segments": 2}, {"kind": "shape_primitive", "segments": 1},
    ]  # fmt: skip
    assert ds.attrs["notes"] == [
        "segments left out, since they hold no mesh: three_d_volume 2, shape_primitive 1"
    ]
    nothing = segment(7, mesh_list=[])
    ds = open_emdb_sff(write(tmp_path, document(segment(1), nothing, nothing)))
    assert ds.attrs["notes"] == ["segments left out, since they hold no mesh: no_geometry 2"]
    assert "notes" not in open_emdb_sff(write(tmp_path, document())).attrs
    with pytest.raises(InputError, match="1 of three_d_volume and 1 of shape_primitive"):
        open_emdb_sff(write(tmp_path, document(volume, shape)))


def test_a_frame_stands_in_the_description_or_in_the_name_of_the_file(tmp_path):
    said = {"name": "a", "description": "frame=7 track=-1 id=4"}
    held = document(segment(1), segment(2, biological_annotation=said))
    paths = [write(tmp_path, held, f"m_t{t:03d}.json") for t in (2, 11)]
    assert open_emdb_sff(paths).surface_frame.values.tolist() == [2, 7, 11, 7]
    names = ["m_t11.json", "m_t2.json", "n_t1.sff", "n.sff", "n.hff", "x/m_t3.json", "m.txt"]
    parts = find(Item(f"/r/{name}", name, 9, "0") for name in names)
    assert [(part.stem, [item.path for item in part.items]) for part in parts] == [
        ("m", ["m_t2.json", "m_t11.json"]), ("n", ["n_t1.sff"]), ("n", ["n.sff"]),
        ("n", ["n.hff"]), ("m", ["x/m_t3.json"]),
    ]  # fmt: skip


@pytest.mark.parametrize("words", ["as drawn", "frame=3; track=7 id=12", "frame=3.5 track=1 id=2"])
def test_a_description_that_is_not_read_is_said(tmp_path, words):
    said = {"name": "a", "description": words}
    ds = open_emdb_sff(
        write(tmp_path, document(segment(1), segment(2, biological_annotation=said)))
    )
    (note,) = ds.attrs["notes"]
    assert note.startswith(
        f"1 of 2 surfaces have a description that is not read, the first {words!r}"
    )
    assert ds.surface_frame.values.tolist() == [0, 0]


def test_surfaces_of_one_object_name_none(tmp_path):
    one = open_emdb_sff(write(tmp_path, document(segment(1), segment(2))))
    assert "surface_object" not in one.coords
    assert [held["surfaces"] for held in one.attrs["objects"]] == [2]
    two = open_emdb_sff(write(tmp_path, document(segment(1), segment(2, "other"))))
    assert two.surface_object.values.tolist() == [0, 1]


def test_blocks_cut_through_meshes(tmp_path, monkeypatch):
    path = write(tmp_path, document(*(segment(k) for k in range(1, 6))))
    whole = open_emdb_sff(path).compute()
    monkeypatch.setattr(emdb_sff, "_BLOCK_ROWS", 3)
    pieces = open_emdb_sff([path, path]).compute()
    for key in ("vertex_z", "vertex_y", "vertex_x", "face_vertex"):
        np.testing.assert_array_equal(pieces[key], np.concatenate([whole[key]] * 2))


def test_a_file_of_sfftk_rw(tmp_path):
    adapter = pytest.importorskip("sfftkrw.schema.adapter_v0_8_0_dev1")
    held = adapter.SFFSegmentation(name="cell", primary_descriptor="mesh_list")
    held.transform_list = adapter.SFFTransformList()
    held.transform_list.append(adapter.SFFTransformationMatrix.from_array(np.array(SCALE)))
    held.segment_list = adapter.SFFSegmentList()
    one = adapter.SFFSegment(
        colour=adapter.SFFRGBA(red=0.2, green=0.4, blue=1.0),
        biological_annotation=adapter.SFFBiologicalAnnotation(name="Nucleus"),
    )
    one.mesh_list = adapter.SFFMeshList()
    one.mesh_list.append(
        adapter.SFFMesh(
            vertices=adapter.SFFVertices.from_array(PLACES.astype("f4")),
            triangles=adapter.SFFTriangles.from_array(FACES.astype("u4")),
        )
    )
    held.segment_list.append(one)
    found = []
    for form in ("sff", "hff", "json"):
        held.export(str(tmp_path / f"a.{form}"))
        ds = open_emdb_sff(tmp_path / f"a.{form}")
        found.append(np.stack([ds.vertex_x, ds.vertex_y, ds.vertex_z], axis=1).tolist())
        np.testing.assert_array_equal(ds.face_vertex, FACES)
        assert ds.attrs["objects"][0] | {"number": 0} == {
            "name": "Nucleus", "number": 0, "surfaces": 1, "color": "3366FF",
        }  # fmt: skip
    assert found[0] == found[1] == found[2]
    np.testing.assert_allclose(found[0][3], [1, 0, -0.2], rtol=1e-15)


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (b"rubbish", "a.json: neither HDF5 nor XML nor JSON"),
        (b"", "a.json: empty file"),
        (b"[1]", "a.json: JSON, but not EMDB-SFF"),
        (b"{}", "found no version; expected EMDB-SFF 0.8"),
        (b"<a>", "a.json: not XML"),
        (b"<OME/>", "XML, but not EMDB-SFF: found <OME>"),
        (b"\x89HDF\r\n\x1a\n rubbish", "a.json: damaged: "),
        (changed("version", "0.7.0.dev0"), "found version '0.7.0.dev0'; expected EMDB-SFF 0.8"),
        (changed("segment_list/0", 5), "segment_list holds what is no object"),
        (changed("segment_list/0/colour", ["x"] * 3), "has the colour"),
        (changed("segment_list/0/id", "three"), "id is 'three'; expected a whole number"),
        (changed("segment_list/0/id", 2**63), "id is '9223372036854775808'; expected a whole num"),
        (changed("segment_list/0/id", 1e300), r"id is '1e\+300'; expected a whole number"),
        (changed("segment_list/0/id", int("7" * 400)), "id is '7777777777777777777777777777777777"),
        (changed("segment_list/0/mesh_list/0/vertices/num_vertices", 10**30), "num_vertices is"),
        (changed("segment_list/0/mesh_list/0/vertices", None), "num_vertices is ''; expected"),
        (changed("segment_list/0/mesh_list/0/vertices/num_vertices", -1), "a mesh of -1 vertices"),
        (changed("segment_list/0/mesh_list/0/triangles/num_triangles", 1 << 40), "a mesh of 4 ver"),
    ],
)
def test_bad_files(tmp_path, held, message):
    with pytest.raises(InputError, match=message) as told:
        open_emdb_sff(write(tmp_path, held))
    assert "a.json: " in str(told.value)
    assert "\n" not in str(told.value)


VERTICES, TRIANGLES = "segment_list/0/mesh_list/0/vertices", "segment_list/0/mesh_list/0/triangles"


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (changed(f"{VERTICES}/data", "%%%%"), "vertices are not base64"),
        (changed(f"{VERTICES}/data", "AAAA"), "damaged: 4 vertices promised, 0.25 found"),
        (changed(f"{VERTICES}/mode", "float16"), "vertices are float16, little-endian, which"),
        (changed(f"{VERTICES}/endianness", "middle"), "vertices are float32, middle-endian"),
        (changed(f"{TRIANGLES}/mode", "float32"), "triangles are float32; expected whole numbers"),
        (changed(f"{TRIANGLES}/num_triangles", 3), "damaged: 3 triangles promised, 2 found"),
        (changed("transform_list/0/data", "1 2 3"), "transform 0 is '1 2 3'; expected 3 rows of 4"),
        (changed("transform_list/0/rows", 2), "transform 0 is '20.0 0.0"),
        (changed("transform_list/0/data", "a " * 12), "transform 0 is 'a a a"),
        (changed("transform_list/0/data", "nan " * 12), "transform 0 is 'nan nan"),
        (changed("transform_list/0/data", "1e999 " * 12), "transform 0 is '1e999 1e999"),
        (
            changed("transform_list/0/data", "0 " * 12),
            "transform 0 is '0 0 .*, which leaves no vol",
        ),
        (changed("transform_list/0/rows", 10**30), "transform 0 is '20.0 0.0"),
        (
            changed("transform_list/0", matrix([*np.eye(3, 4).tolist(), [0, 0, 1, 1]])),
            "transform 0 is .*; expected 0 0 0 1 at last",
        ),
        (
            changed("segment_list/0/mesh_list/0/transform_id", 7),
            "a mesh names transform 7; found 0",
        ),
    ],
)
def test_bad_numbers(tmp_path, held, message):
    path = write(tmp_path, held)
    ds = open_emdb_sff(path)
    with pytest.raises(InputError, match=f"a.json: {message}"):
        ds.compute()


def test_places_that_only_a_transform_makes_infinite_are_refused(tmp_path):
    """1e10 times 1e308 angstroms, which is 1e304 micrometres, is no number."""
    far = {"vertices": encoded("vertices", PLACES * 1e9, "<f8")}
    far |= {"triangles": encoded("triangles", FACES, "<u4")}
    scale = matrix(np.diag([1e308, 1, 1, 1])[:3])
    ds = open_emdb_sff(write(tmp_path, document(segment(1, "a", far), transforms=[scale])))
    message = "a.json: transform 0 puts vertices beyond what a number holds"
    with pytest.raises(InputError, match=message):
        ds.compute()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_vertex_that_is_no_number_stays_alone_and_is_flagged(tmp_path, value):
    places = PLACES.copy()
    places[1, 0] = value
    bad = {"vertices": encoded("vertices", places, "<f8")}
    bad |= {"triangles": encoded("triangles", FACES, "<u4")}
    ds = open_emdb_sff(write(tmp_path, document(segment(1), segment(2, "Nucleus", bad))))
    assert np.isfinite(ds.vertex_x.values).tolist() == [True] * 5 + [False] + [True] * 2
    assert np.isfinite(ds.vertex_y.values).all()
    flags = surface_measures(ds).surface_flag.values
    bit = 1 << schema.SURFACE_FLAGS.index("not_finite")
    assert [bool(flag & bit) for flag in flags] == [False, True]


def test_names_of_frames_beyond_all_bounds_are_no_frames(tmp_path):
    path = write(tmp_path, document(), "m_t99999999999999999999.json")
    assert open_emdb_sff(path).surface_frame.values.tolist() == [0]
    (part,) = find([Item(str(path), path.name, 9, "0")])
    assert part.stem == "m_t99999999999999999999"


def test_a_file_that_changed_since(tmp_path):
    ds = open_emdb_sff(write(tmp_path, document()))
    write(tmp_path, document(segment(1), segment(2)))
    with pytest.raises(InputError, match=r"a.json: now 8 vertices; it had 4 when opened"):
        ds.vertex_z.compute()


def test_hdf5_that_reaches_out_of_itself(tmp_path):
    hdf5(document(), tmp_path / "other.hff")
    for key, make in {
        "segment_list": lambda file: h5py.ExternalLink("other.hff", "/segment_list"),
        "version": lambda file: h5py.SoftLink("/name"),
        "name": lambda file: np.dtype("f8"),
    }.items():
        path = hdf5(document(), tmp_path / "a.hff")
        with h5py.File(path, "a") as file:
            del file[key]
            file[key] = make(file)
        if key == "name":  # a type that has a name: nobody looks at it
            assert open_emdb_sff(path).sizes["surface"] == 1
            with (
                formats_emdb_sff.open_document(str(path)) as held,
                pytest.raises(InputError, match="datatype"),
            ):
                held["name"]
            continue
        with pytest.raises(InputError, match=rf"a.hff: {key} is a link to another place"):
            open_emdb_sff(path)
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.hff"), "x", (4,))
    path = hdf5(document(), tmp_path / "a.hff")
    with h5py.File(path, "a") as file:
        place = file["segment_list/10"]
        del place["colour"]
        place.create_virtual_dataset("colour", layout)
    with pytest.raises(InputError, match=r"segment_list/10/colour keeps its values in other files"):
        open_emdb_sff(path)


def test_hdf5_that_promises_too_much(tmp_path):
    path = hdf5(document(), tmp_path / "a.hff")
    with h5py.File(path, "a") as file:
        del file["version"]
        file.create_dataset("version", (1 << 30,), "f8", chunks=(1 << 20,), compression=1)
        assert len(formats_emdb_sff._Group(file)) == len([*formats_emdb_sff._Group(file)]) == 5
    with pytest.raises(InputError, match="version holds 1073741824 values; expected one"):
        open_emdb_sff(path)


def test_no_file(tmp_path):
    with pytest.raises(UsageError, match="no file given"):
        open_emdb_sff([])
    with pytest.raises(InputError, match=r"a.sff: no such file"):
        open_emdb_sff(tmp_path / "a.sff")
    path = tmp_path / "b.sff"
    path.mkdir()
    with pytest.raises(InputError, match=r"b.sff: no such file"):
        open_emdb_sff(path)


@pytest.mark.parametrize("form", ["json", "hff"])
def test_in_a_bucket(tmp_path, form):
    path = write(tmp_path, document()) if form == "json" else hdf5(document(), tmp_path / "a.hff")
    with fsspec.open("memory://segmentations/a", "wb") as file:
        file.write(path.read_bytes())
    ds = open_emdb_sff("memory://segmentations/a").compute()
    np.testing.assert_array_equal(ds.face_vertex, FACES)


def test_a_disk_that_fails_blames_no_input(tmp_path, monkeypatch):
    def fail(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(formats_emdb_sff, "_begins", fail)
    with pytest.raises(StoreError, match=r"a.json: cannot be read"):
        open_emdb_sff(write(tmp_path, document()))
