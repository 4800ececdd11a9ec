"""``where`` in recipes, in Python and in exports: each operator and writer of records takes it."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import dpipe
from dpipe import operators, schema
from dpipe.build import run
from dpipe.build.recipe import parse
from dpipe.config import Settings
from dpipe.demo.study import write_ifc_tree
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import select_alike
from dpipe.storage import open_objects

pytestmark = pytest.mark.slow

BASE = """
  cells: {reader: ifc, source: SOURCE/tree, options: {block: 16}}
  shares: {reader: spillover, source: SOURCE/m.csv}
  masks: {operator: segment-cells, input: cells, params: {min_size: 10, closing: 1}}
  features: {operator: cell-features, input: [cells, masks], params: {families: [cell-shape]}}
  small: {operator: normalise, input: cells}
  statistics: {operator: feature-statistics, input: features}
  gates: {operator: gate, input: features, params: {gates: {large: Area_Ch1 > 20}}}
"""
# of each operator on records its inputs and parameters, as a recipe has them
STEPS = {
    "cell-features": (["cells", "masks"], {"families": ["cell-shape"]}),
    "channel-statistics": (["cells"], {}),
    "channel-sums": (["cells", "masks"], {"inside": "own"}),
    "class-frequencies": (["cells"], {}),
    "clean-features": (["features", "statistics"], {}),
    "compensate": (["cells", "shares"], {}),
    "derive-masks": (["masks"], {"masks": {"both": "Ch1 & Ch2"}}),
    "feature-statistics": (["features"], {}),
    "feature-sums": (["features"], {}),
    "flatten-background": (["small"], {"scale": 0.1}),
    "gate": (["features"], {"gates": {"bright": "mean_intensity_Ch2 > 300"}}),
    "normalise": (["cells"], {}),
    "picture-quality": (["cells", "masks"], {}),
    "pictures": (["cells", "masks"], {"size": 8}),
    "rescale-intensity": (["cells"], {}),
    "sample-records": (["cells"], {"n": 3}),
    "segment-cells": (["cells"], {"which": "all"}),
    "split-records": (["cells"], {"by": "label"}),
}
ELSEWHERE = {"polygon-masks", "rater-agreement"}  # of records of their own, which no gate is over
WHERE = "large and height > 5 and condition == '+SEA'"  # some of one folder, none of the other


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("where")
    write_ifc_tree(folder / "tree", 60, channels=3, mean_size=10)
    (folder / "m.csv").write_text(",Ch1,Ch2,Ch3\nCh1,1,0.1,0\nCh2,0,1,0.2\nCh3,0,0,1\n")
    steps = [BASE]
    for name, (inputs, params) in STEPS.items():
        roles = [role for role, _ in operators.inputs(operators.OPERATORS[name])]
        given = dict(zip(roles, inputs, strict=False)) | {"where": "gates"}
        step = {"operator": name, "input": given, "params": params | {"where": WHERE}}
        steps.append(f"  of-{name}: {step}\n")
    recipe = parse(f"datasets:{''.join(steps)}".replace("SOURCE", str(folder)))
    objects = open_objects(str(folder / "store"))
    told = Settings(workers="0", author="ann", partition_bytes=10_000)
    assert run.run(recipe, objects, told, progress=False).exit_code == run.SOME_ASIDE
    return objects.url


def test_these_are_all_operators_on_records():
    over = {name for name, one in operators.OPERATORS.items() if {"record", "block"} & {*one.free}}
    assert over <= STEPS.keys() | ELSEWHERE
    assert not ELSEWHERE & STEPS.keys()


@pytest.mark.parametrize("name", STEPS)
def test_a_step_works_on_the_records_chosen_alone(store, name):
    """As the operator does of records chosen beforehand, and as ``each`` does."""
    inputs, params = STEPS[name]
    trees = [dpipe.open(store, each) for each in inputs]
    gates, made = dpipe.open(store, "gates"), dpipe.open(store, f"of-{name}")
    first, *others = trees
    chosen = {stem: dpipe.select(ds.to_dataset(), WHERE, gates[stem].to_dataset())
              for stem, ds in first.children.items()}  # fmt: skip
    counts = [ds.sizes["record"] for ds in chosen.values()]
    assert [n > 0 for n in counts] == [True, False]
    assert sum(counts) < sum(ds.sizes["record"] for ds in first.children.values())
    roles = [role for role, _ in operators.inputs(operators.OPERATORS[name])]
    beside, merged = {}, {}
    for role, tree in zip(roles[1:], others, strict=False):
        beside[role] = tree
        merged[role] = tree
        if isinstance(tree, xr.DataTree):
            beside[role] = {
                stem: dpipe.select(ds.to_dataset(), WHERE, gates_of(store, stem))
                for stem, ds in tree.children.items()
            }
    expected = dpipe.each(chosen, name, **beside, **params)
    whole = {stem: child.to_dataset().merge(gates_of(store, stem).drop_attrs(), compat="override")
             for stem, child in first.children.items()}  # fmt: skip
    again = dpipe.each(whole, name, **merged, **params, where=WHERE)
    for stem in chosen if isinstance(expected, xr.DataTree) else [""]:
        one, two, three = (
            tree[stem].to_dataset() if stem else tree for tree in (expected, again, made)
        )
        for variable in one.data_vars:
            np.testing.assert_array_equal(two[variable], one[variable])
            np.testing.assert_array_equal(three[variable], one[variable])


def gates_of(store: str, stem: str) -> xr.Dataset:
    return dpipe.open(store, "gates", part=stem)


@pytest.mark.parametrize("writer", ["anndata", "csv", "parquet"])
def test_exports_of_tables(store, writer, tmp_path):
    tree = dpipe.open(store, "features", "gates")
    inside = sum(int(ds.gate.values.sum()) for ds in tree.children.values())
    said = {"variables": "feature"} if writer != "anndata" else {}
    paths = dpipe.export(tree, writer, tmp_path, where="large", **said)
    if writer == "anndata":
        anndata = pytest.importorskip("anndata")
        read = anndata.read_zarr if paths[0].endswith(".zarr") else anndata.read_h5ad
        assert sum(read(path).n_obs for path in paths) == inside
    else:
        read = pd.read_csv if writer == "csv" else pd.read_parquet
        assert len(read(paths[0])) == inside


@pytest.mark.parametrize("writer", ["coco", "tiff", "segmentation", "classification", "ome-zarr"])
def test_what_has_no_records_cannot_be_chosen_from(writer, tmp_path):
    movie = schema.movie(np.zeros((1, 1, 1, 4, 4), "u1"))
    with pytest.raises(SchemaError, match="where='a > 1' chooses records; found the dims t, c"):
        dpipe.export(movie, writer, tmp_path, where="a > 1")


def spots() -> xr.Dataset:
    """Tracks 1 and 2 of two people, who number them alike."""
    names = ("spot_t", "spot_z", "spot_y", "spot_x")
    ds = xr.Dataset({name: ("spot", np.arange(8.0)) for name in names})
    return ds.assign_coords(
        track=("spot", [1, 1, 2, 2] * 2),
        frame=("spot", [0, 1] * 4),
        annotator=("spot", ["anna"] * 4 + ["ben"] * 4),
        organ="lung",
    )


def test_spots_are_chosen():
    found = dpipe.select(spots(), "track == 2 and annotator == 'ben'")
    assert found.spot_x.values.tolist() == [6, 7]
    assert dpipe.select(spots(), "organ == 'lung' and frame == 0").sizes["spot"] == 4
    assert dpipe.select(spots(), "organ == 'skin'").sizes["spot"] == 0
    alone = dpipe.each({"Neu1": spots()}, "track-measures", where="annotator == 'anna'")["Neu1"]
    assert alone.track_id.values.tolist() == [1, 2]


def test_spots_go_with_their_tracks():
    measures = dpipe.track_measures(spots())
    assert measures.sizes["track_id"] == 4
    found = dpipe.select(measures, "track_id == 2 and track_annotator == 'anna'")
    assert found.sizes["track_id"] == 1
    assert found.track.values.tolist() == [2, 2]
    assert found.annotator.values.tolist() == ["anna", "anna"]
    fast = dpipe.select(measures, "spot_speed > 1e9")
    assert (fast.sizes["spot"], fast.sizes["track_id"]) == (0, 4)
    with pytest.raises(UsageError, match="spot_speed is of each spot, track_length is of each tr"):
        dpipe.select(measures, "spot_speed > 1 and track_length > 3")


def test_vertices_and_triangles_go_with_their_surfaces():
    places = {f"vertex_{dim}": ("vertex", np.arange(7.0)) for dim in "zyx"}
    faces = {"face_vertex": (("face", "corner"), np.arange(9).reshape(3, 3))}
    counts = {"vertex_count": ("surface", [3, 0, 4]), "face_count": ("surface", [1, 0, 2])}
    ds = xr.Dataset(places | faces, counts | {"surface_frame": ("surface", [5, 6, 7])})
    found = dpipe.select(ds, "surface_frame > 5")
    assert found.surface_frame.values.tolist() == [6, 7]
    assert found.vertex_x.values.tolist() == [3, 4, 5, 6]
    assert found.face_vertex.values.tolist() == [[3, 4, 5], [6, 7, 8]]


def phases() -> xr.Dataset:
    said = {"blebbing_start": 0.0, "blebbing_end": 3.0, "disruption_start": 4.0}
    ds = xr.Dataset({k: ("event", [v] * 6) for k, v in said.items()})
    ds["disruption_end"] = ("event", [7.0, 8, 9, 10, 11, 12])
    return ds.assign_coords(
        event=["a", "a", "a", "b", "b", "b"],
        annotator=("event", ["anna", "ben", "cleo"] * 2),
        movie=("event", ["Neu1"] * 6),
    )


def test_events_and_spots_are_chosen_in_a_recipe(tmp_path):
    """What a recipe makes of them is what `each` makes, and what a stored table says is text."""
    store = str(tmp_path / "store")
    dpipe.save({"Neu1": phases()}, store, "rows", message="m")
    dpipe.save({"Neu1": spots(), "Neu2": spots()}, store, "tracks", message="m")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "datasets:\n"
        "  two: {operator: consensus-phases, input: rows, params: {annotators: 2, "
        "where: \"annotator != 'cleo' and event == 'b'\"}}\n"
        "  anna: {operator: track-measures, input: tracks, params: {where: annotator == 'anna'}}\n"
    )
    dpipe.run_recipe(recipe, store, workers="0", progress=False)
    (row,) = dpipe.open(store, "two").disruption_end.values.tolist()
    assert row == 10.0  # what anna and ben agree on of event b
    anna = dpipe.open(store, "anna")
    assert [ds.sizes["track_id"] for ds in anna.children.values()] == [2, 2]
    rows = dpipe.select(dpipe.open(store, "rows"), "annotator in ('ben', 'cleo')")
    assert rows.disruption_end.values.tolist() == [8, 9, 11, 12]


@pytest.mark.parametrize("writer", ["csv", "parquet"])
def test_exports_of_events(tmp_path, writer):
    data = {"Neu1": phases(), "Neu2": phases().isel(event=slice(3))}
    (path, *_) = dpipe.export(data, writer, tmp_path, where="event == 'b'")
    table = (pd.read_csv if writer == "csv" else pd.read_parquet)(path)
    assert table["part"].tolist() == ["Neu1"] * 3
    assert table["disruption_end"].tolist() == [10, 11, 12]


def test_crops_that_are_exported_are_chosen(tmp_path):
    crops = xr.Dataset({"crop": (("event", "t", "c", "y", "x"), np.zeros((3, 2, 1, 4, 4), "u1"))})
    crops = crops.assign_coords(
        event=["Neu1_cell1", "Neu1_cell2", "Neu1_negative1"], c=["0"], organ="lung",
        label=("event", [1, 1, 0]), kind=("event", ["event", "event", "cell"]),
        event_track=("event", [1, 2, -1]), event_channel=("event", [""] * 3),
        movie=("event", ["Neu1"] * 3), crop_frame=(("event", "t"), [[0, 1]] * 3),
        crop_phase=(("event", "t"), np.full((3, 2), 255, "u1")),
        crop_inside=(("event", "t"), np.ones((3, 2))),
    )  # fmt: skip
    where = "label == 0 or event_track == 2 and organ == 'lung'"
    paths = dpipe.export({"Neu1": crops}, "classification", tmp_path / "to", where=where,
                         split="train")  # fmt: skip
    names = sorted(path.rpartition("train/")[2] for path in paths if path.endswith(".tif"))
    assert names == ["0/Neu1_negative1.tif", "1/Neu1_cell2.tif"]
    with pytest.raises(UsageError, match=r"'crop_phase' is over \(event, t\); expected one value"):
        dpipe.select(crops, "crop_phase == 1")
    with pytest.raises(UsageError, match="nothing to write: no parts with such events"):
        dpipe.export({"Neu1": crops}, "classification", tmp_path / "no", where="label == 5")


def test_trees_are_chosen_from_part_by_part():
    tree = xr.DataTree.from_dict({"/Neu1": phases(), "/Neu2": phases().isel(event=slice(3))})
    with pytest.raises(UsageError, match=r"dpipe.each\(tree, dpipe.select, where="):
        dpipe.select(tree, "event == 'b'")
    chosen = dpipe.each(tree, dpipe.select, where="event == 'b'")
    assert {stem: part.sizes["event"] for stem, part in chosen.children.items()} == {
        "Neu1": 3,
        "Neu2": 0,
    }


def test_batches_of_nothing_are_said():
    """Training would go over no picture."""
    ds = xr.Dataset({"image": (("record", "c", "y", "x"), np.zeros((5, 1, 2, 2)))})
    ds = ds.assign_coords(label=("record", list("ABABA")))
    with pytest.warns(UserWarning, match="no batches: each process has 0 records"):
        assert len(dpipe.Batches(ds, size=2, where="label == 'C'")) == 0


@pytest.mark.parametrize("writer", ["anndata", "csv", "parquet"])
def test_what_was_put_aside_is_left_out_of_tables(store, writer, tmp_path):
    tree = dpipe.open(store, "features")
    aside = sum(int((ds.put_aside.values != "").sum()) for ds in tree.children.values())
    total = sum(ds.sizes["record"] for ds in tree.children.values())
    assert aside > 0
    said = {} if writer == "anndata" else {"variables": "feature"}
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet}.get(writer)
    with pytest.warns(UserWarning, match=f"{aside} of {total} records left out: their pictures"):
        path, *_ = dpipe.export(tree, writer, tmp_path / "sound", **said)
    whole, *_ = dpipe.export(tree, writer, tmp_path / "all", put_aside=True, **said)
    if read is None:
        anndata = pytest.importorskip("anndata")
        assert [anndata.read_h5ad(p).n_obs for p in (path, whole)] == [total - aside, total]
        assert not np.isnan(anndata.read_h5ad(path).X[:, 0]).any()
    else:
        assert [len(read(p)) for p in (path, whole)] == [total - aside, total]
    with pytest.raises(UsageError, match="put_aside: found 'yes'; expected true or false"):
        dpipe.export(tree, writer, tmp_path / "no", put_aside="yes")


def test_rows_of_other_events_are_not_chosen_with_them():
    """Another input of as many rows is chosen with the first only if it is of the same ones."""
    other = phases().assign_coords(event=list("abcdef"))
    with pytest.raises(SchemaError, match="a table of other events: event differs"):
        select_alike({"": phases(), "more": other}, "annotator == 'anna'")
