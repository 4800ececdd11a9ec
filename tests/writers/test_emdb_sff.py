"""EMDB-SFF out: every form against sfftk-rw, units, exactness, and what cannot be written."""

import json
import re
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
import xarray as xr
from meshes import box, octahedron, placed, surfaces

from dpipe import writers
from dpipe.errors import SchemaError, UsageError
from dpipe.readers import open_emdb_sff
from dpipe.readers.emdb_sff import find
from dpipe.sources import list_items

FORMS = ("sff", "hff", "json")
OBJECTS = [{"name": "Neutrophils", "color": "00FF80"}, {"name": 'Dendritic "cells" <&>'}]


def table(objects: bool = True) -> xr.Dataset:
    """Three surfaces in the frames 0, 2, 2, of two objects; places that float32 holds exactly."""
    meshes = [box((1, 2, 3), (2.5, 4, 6)), placed(octahedron(), 0.5, (-1, -20, 7)), octahedron()]
    ds = surfaces(meshes, [0, 2, 2], [5, 1000000007, -1])
    ds = ds.assign_coords(surface_id=("surface", [40, 7, 8]))
    if objects:
        ds = ds.assign_coords(surface_object=("surface", [1, 0, 1])).assign_attrs(objects=OBJECTS)
    return ds


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("per_frame", [False, True])
@pytest.mark.parametrize("objects", [False, True])
def test_what_is_written_comes_back_exactly(tmp_path, form, per_frame, objects):
    ds = table(objects)
    paths = writers.export({"Neu1": ds}, "emdb-sff", tmp_path, form=form, per_frame=per_frame)
    names = ["Neu1_t0000", "Neu1_t0002"] if per_frame else ["Neu1"]
    assert paths == [str(tmp_path / f"{name}.{form}") for name in names]
    (part,) = find(list_items(str(tmp_path)))
    found = open_emdb_sff([item.uri for item in part.items])
    assert part.stem == "Neu1"
    assert found.variables.keys() == ds.variables.keys()
    for key, variable in ds.variables.items():
        np.testing.assert_array_equal(found[key].values, variable.values)
        assert found[key].dtype == variable.dtype
    said = [(each["name"], each["color"], each["surfaces"]) for each in found.attrs["objects"]]
    assert said == (
        [("Neutrophils", "00FF80", 1), ('Dendritic "cells" <&>', "FFFFFF", 2)]
        if objects
        else [("surface", "FFFFFF", 3)]
    )
    assert "assumed" not in found.attrs


@pytest.mark.parametrize("form", FORMS)
def test_places_that_float32_does_not_hold_stay_exact(tmp_path, form):
    ds = table()
    ds["vertex_z"] = ds.vertex_z + 0.1
    (path,) = writers.export({"a": ds}, "emdb-sff", tmp_path, form=form)
    np.testing.assert_array_equal(open_emdb_sff(path).vertex_z, ds.vertex_z)


def test_what_is_no_number_stays(tmp_path):
    ds = table()
    ds["vertex_y"] = ds.vertex_y.where(ds.vertex_y != 2)
    (path,) = writers.export({"a": ds}, "emdb-sff", tmp_path)
    found = open_emdb_sff(path)
    for key in ("vertex_z", "vertex_y", "vertex_x"):
        np.testing.assert_array_equal(found[key], ds[key])
    assert np.isnan(found.vertex_y).sum() == 4


@pytest.mark.parametrize("form", FORMS)
def test_sfftk_rw_reads_it(tmp_path, form):
    adapter = pytest.importorskip("sfftkrw.schema.adapter_v0_8_0_dev1")
    ds = table()
    (path,) = writers.export({"Neu1": ds}, "emdb-sff", tmp_path, form=form)
    found = adapter.SFFSegmentation.from_file(path)
    assert (found.version, found.name, found.primary_descriptor) == (
        "0.8.0.dev1", "Neu1", "mesh_list",
    )  # fmt: skip
    assert [each.name for each in found.software_list] == ["dpipe"]
    # a micrometre is 10,000 angstroms
    (transform,) = found.transform_list
    np.testing.assert_array_equal(transform.data_array, np.eye(3, 4) * 1e4)
    segments = list(found.segment_list)
    assert [(each.id, each.parent_id) for each in segments] == [(1, 0), (2, 0), (3, 0)]
    said = [each.biological_annotation for each in segments]
    assert [(each.name, each.description) for each in said] == [
        ('Dendritic "cells" <&>', "frame=0 track=5 id=40 object=1"),
        ("Neutrophils", "frame=2 track=1000000007 id=7 object=0"),
        ('Dendritic "cells" <&>', "frame=2 track=-1 id=8 object=1"),
    ]
    np.testing.assert_allclose(segments[1].colour.value, (0, 1, 128 / 255, 1), rtol=1e-12)
    v, f = 0, 0
    for segment in segments:
        (mesh,) = segment.mesh_list
        places, faces = mesh.vertices.data_array, mesh.triangles.data_array
        xyz = [ds[f"vertex_{dim}"].values[v : v + len(places)] for dim in "xyz"]
        np.testing.assert_array_equal(places, np.stack(xyz, axis=1))
        np.testing.assert_array_equal(faces, ds.face_vertex.values[f : f + len(faces)])
        assert (places.dtype, faces.dtype) == (np.float32, np.uint32)
        v, f = v + len(places), f + len(faces)
    assert (v, f) == (ds.sizes["vertex"], ds.sizes["face"])


def test_xml_is_in_the_order_of_the_schema(tmp_path):
    (path,) = writers.export({"Neu1": table()}, "emdb-sff", tmp_path)
    root = Xml.parse(path).getroot()
    assert [each.tag for each in root] == [
        "version", "name", "software_list", "transform_list", "primary_descriptor",
        "segment_list", "details",
    ]  # fmt: skip
    segment = root.find("segment_list/segment")
    assert segment.attrib == {"id": "1", "parent_id": "0"}, "the schema requires both"
    assert [each.tag for each in segment] == ["biological_annotation", "colour", "mesh_list"]
    mesh = segment.find("mesh_list/mesh")
    assert [each.tag for each in mesh] == ["vertices", "triangles", "transform_id"]
    assert mesh.find("triangles").attrib.keys() == {
        "num_triangles", "mode", "endianness", "data",
    }  # fmt: skip


def test_the_least_that_a_table_can_say(tmp_path):
    ds = table(objects=False).drop_vars(["surface_frame", "surface_track", "surface_id"])
    (path,) = writers.export({"a": ds}, "emdb-sff", tmp_path, form="json")
    found = open_emdb_sff(path)
    assert found.surface_frame.values.tolist() == [0, 0, 0]
    assert found.surface_track.values.tolist() == [-1, -1, -1]
    assert found.surface_id.values.tolist() == [0, 1, 2]
    held = json.loads((tmp_path / "a.json").read_text())
    assert held["segment_list"][0]["biological_annotation"]["number_of_instances"] == 1


def test_names_that_xml_cannot_hold(tmp_path):
    ds = table().assign_attrs(objects=[{"name": "a\x07b"}, {"name": "ü"}])
    (path,) = writers.export({"a": ds}, "emdb-sff", tmp_path)
    assert open_emdb_sff(path).attrs["object"] == "a b, ü"


def test_an_empty_mesh(tmp_path):
    ds = surfaces([octahedron(), (np.empty((0, 3)), np.empty((0, 3), int))], [0, 1])
    for form in FORMS:
        (path,) = writers.export({"a": ds}, "emdb-sff", tmp_path, form=form)
        found = open_emdb_sff(path)
        assert found.vertex_count.values.tolist() == [6, 0]
        np.testing.assert_array_equal(found.face_vertex, ds.face_vertex)


def change(ds: xr.Dataset, key: str, values) -> xr.Dataset:
    return ds.assign_coords({key: ("surface", values)})


@pytest.mark.parametrize(
    ("ds", "message"),
    [
        (table().isel(surface=[], vertex=[], face=[]), "a: no surfaces; EMDB-SFF holds at least"),
        (change(table(), "vertex_count", [8, 6, 7]), "21 vertices and 28 triangles are said, 20"),
        (change(table(), "face_count", [12, 17, -1]), "20 vertices and 28 triangles are said"),
        (
            table().assign(face_vertex=table().face_vertex + 1),
            "a triangle names a vertex that is not there",
        ),
        (
            table().assign(face_vertex=table().face_vertex - 1),
            "a triangle names a vertex that is not there",
        ),
        (table().drop_vars("vertex_x"), "no variable 'vertex_x'"),
        (table().assign_attrs(objects=[{"color": "red"}] * 2), "object 1 has the color 'red'"),
    ],
    ids=["empty", "vertices", "negative", "beyond", "before", "missing", "color"],
)
def test_what_cannot_be_written(tmp_path, ds, message):
    with pytest.raises(SchemaError, match=re.escape(message)):
        writers.export({"a": ds}, "emdb-sff", tmp_path)
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_bad_options(tmp_path):
    with pytest.raises(UsageError, match="form='stl'; expected one of sff, hff, json"):
        writers.export({"a": table()}, "emdb-sff", tmp_path, form="stl")
    writers.export({"a": table()}, "emdb-sff", tmp_path)
    with pytest.raises(UsageError, match=r"a.sff: is there already"):
        writers.export({"a": table()}, "emdb-sff", tmp_path)


@pytest.mark.parametrize("per_frame", [False, True])
def test_all_parts_or_none(tmp_path, per_frame):
    good, bad = table(), table().isel(surface=slice(0, 0))
    with pytest.raises(SchemaError, match="b: "):
        writers.export({"a": good, "b": bad}, "emdb-sff", tmp_path / "out", per_frame=per_frame)
    assert list(tmp_path.iterdir()) == []
