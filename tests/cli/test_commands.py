"""The command line: one line an error, the right exit code, JSON where it lists."""

import dataclasses
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tifffile
import xarray as xr
from windows import crops

import dpipe
from dpipe import catalog, cli, demo, report, schema, view
from dpipe.cli import group


@pytest.fixture
def dp(capsys, monkeypatch, tmp_path):
    """Run the command line in this process; give exit code, stdout lines and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main([str(arg) for arg in args])
        told = capsys.readouterr()
        return SimpleNamespace(
            code=end.value.code, out=told.out, lines=told.out.splitlines(), err=told.err
        )

    return run


@pytest.fixture
def study(tmp_path):
    return demo.write_study(tmp_path / "study", frames=3, size=(2, 40, 48)).parent


RUN = ("--workers", "0", "--quiet", "--store", "store")


def test_make_then_quality_then_verify_as_the_readme_says(dp, study):
    made = dp("make", "leuko", "--reader", "imaris", "--source", f"{study}/raw/*.h5", *RUN)
    assert made.code == 0, made.err
    assert "leuko@1" in made.out
    measured = dp("make", "leuko-quality", "--operator", "frame-quality", "--input", "leuko",
                  "--param", "median=3", "--message", "small window", *RUN)  # fmt: skip
    assert measured.code == 0, measured.err
    checked = dp("verify", "--store", "store", "leuko", "leuko-quality", "--mode", "decode")
    assert (checked.code, checked.lines) == (0, ["every object is as it was sealed"])
    shown = json.loads(dp("show", "leuko-quality", "--store", "store", "--json").out)
    assert shown["recipe"]["params"]["median"] == 3
    assert shown["message"] == "small window"
    assert shown["lineage"] == ["leuko-quality@1", "leuko@1"]
    quality = dpipe.open("store", "leuko-quality", part="Neu1")
    expected = dpipe.frame_quality(dpipe.open_imaris(study / "raw/Neu1.h5"), median=3)
    np.testing.assert_array_equal(quality.frame_snr, expected.frame_snr)


@pytest.mark.filterwarnings("default")
def test_show_joins_conditions_and_says_what_is_missing(dp, tmp_path):
    movie = schema.movie(np.zeros((2, 1, 1, 16, 16), "u1"), interval=30)
    dpipe.save({"Neu1": movie, "Neu2": movie}, "store", "leuko", message="two")
    (tmp_path / "t.csv").write_text(
        "video_id,ch1,markers,fluorophore,organ,stimuli,objective\n"
        "Neu 1,Neu,CK6,CFP,Spleen,UV,40x\n"
    )
    dp("make", "conditions", "--reader", "conditions", "--source", "t.csv", *RUN)
    alone = dp("show", "leuko", "--store", "store")
    assert "  Neu1: interval 30 s, spacing 1 1 1 micrometer, channels 0" in alone.lines
    shown = dp("show", "leuko", "conditions", "--store", "store")
    assert shown.lines[-2].endswith(
        "channel content Neu, organ Spleen, stimulus UV, markers CK6, fluorophores CFP, "
        "objective 40x"
    )
    line = "conditions@1: no row for 1 of 2 movies (Neu2); it stays without"
    assert shown.err.splitlines() == [f"warning: {line}"]
    told = json.loads(dp("show", "leuko", "conditions", "--store", "store", "--json").out)
    assert told["facts"]["Neu1"]["channel_content"] == ["Neu"]
    assert "organ" not in told["facts"]["Neu2"]


def test_run_twice_and_list(dp, study):
    first = dp("run", study / "recipe.yaml", *RUN)
    assert first.code == 0, first.err
    report = next(line for line in first.lines if line.startswith("report: "))
    assert report.endswith("report.html")
    second = dp("run", study / "recipe.yaml", *RUN)
    assert (second.code, second.lines[0][:13]) == (0, "nothing to do")
    listed = json.loads(dp("ls", "--store", "store", "--json").out)
    assert [(row["dataset"], row["version"], row["parts"]) for row in listed] == [
        ("leuko", 1, 2),
        ("leuko-projections", 1, 2),
        ("leuko-quality", 1, 2),
        ("leuko-quality-table", 1, 1),
        ("leuko-thumbnails", 1, 2),
    ]
    (run,) = json.loads(dp("runs", "--store", "store", "--json").out)
    assert run["state"] == "ended with 0"
    plan = json.loads(dp("plan", study / "recipe.yaml", "--store", "store", "--json").out)
    assert {part["action"] for part in plan} == {"reuse"}
    (version,) = json.loads(dp("history", "leuko", "--store", "store", "--json").out)
    assert version["parts"] == 2
    assert "Neu1" in dp("show", "leuko", "--store", "store").out
    assert dp("sweep", "--store", "store").lines == ["nothing to sweep"]


def test_export_and_census(dp, study):
    dp("run", study / "recipe.yaml", *RUN)
    tiffs = dp("export", "tiff", "--input", "leuko", "--to", "out", "--store", "store")
    assert tiffs.code == 0, tiffs.err
    pixels = tifffile.imread("out/Neu1.ome.tif")
    truth = dpipe.open_imaris(study / "raw/Neu1.h5").image.values  # both are t, c, z, y, x
    np.testing.assert_array_equal(pixels, truth)
    tables = dp("export", "csv", "--input", "leuko-quality", "--to", "out", "--store", "store")
    assert tables.code == 0, tables.err
    table = pd.read_csv(tables.lines[0], comment="#")
    assert set(table["part"]) == {"Neu1", "Neu2"}
    counted = dp("census", study / "raw", "--json")
    assert [row["stem"] for row in json.loads(counted.out)] == ["Neu1", "Neu2"]
    assert "warning: dtype differs" in counted.err


def test_exports_for_machine_learning_as_the_readme_says(dp):
    """Movies, tracks, masks and crops of a store, split by movie, each in its own command."""
    rng = np.random.default_rng(0)
    stems = [f"Neu{i}" for i in range(1, 5)]
    movies = {s: schema.movie(rng.integers(1, 99, (3, 1, 2, 16, 24)).astype("u1")) for s in stems}
    # the corner of pixel (8, 12) is at 7.5, 11.5 micrometres; a box of 4 begins 2 before
    spots = xr.Dataset(
        {"spot_z": ("spot", [0.5]), "spot_y": ("spot", [7.5]), "spot_x": ("spot", [11.5])},
        {"track": ("spot", [3]), "frame": ("spot", [1])},
    )
    masks = {
        s: xr.Dataset(schema.LABELS.wrap((ds.image[:, 0] > 90).astype("u4").drop_vars("c")))
        for s, ds in movies.items()
    }
    tracks = {s: spots.isel(spot=slice(0, i)) for i, s in enumerate(stems)}
    dpipe.save(movies, "store", "leuko", message="movies")
    dpipe.save(tracks, "store", "leuko-tracks", message="Neu1 has none")
    dpipe.save(masks, "store", "leuko-masks", message="bright voxels")
    dpipe.save(
        {s: crops(s, seed=i) for i, s in enumerate(stems)}, "store", "leuko-crops", message=""
    )
    made = dp("make", "leuko-splits", "--operator", "split-movies", "--input", "leuko", "--param",
              "exact=true", "--param", "fractions=[0.5, 0.25, 0.25]", *RUN)  # fmt: skip
    assert made.code == 0, made.err
    split = dpipe.open("store", "leuko-splits").load()
    sizes = {name: split.split.values.tolist().count(name) for name in schema.SPLITS}
    assert sizes == {"train": 2, "validation": 1, "test": 1}

    done = dp("export", "classification", "--input", "leuko-crops", "--input", "leuko-splits",
              "--to", "crops", "--store", "store")  # fmt: skip
    assert (done.code, len(done.lines)) == (0, 4 * 3 + 2), done.err
    assert len(list(Path("crops/train").rglob("*.tif"))) == 2 * 3
    done = dp("export", "coco", "--input", "leuko", "--input", "leuko-tracks", "--input",
              "leuko-splits", "--to", "boxes", "--option", "size=4",
              "--store", "store")  # fmt: skip
    assert (done.code, len(done.lines)) == (0, 4 * 3 + 3), done.err
    found = [json.loads(Path(f"boxes/annotations/instances_{s}.json").read_text()) for s in sizes]
    assert [len(one["images"]) for one in found] == [6, 3, 3]
    boxes = [box["bbox"] for one in found for box in one["annotations"]]
    assert boxes == [[10, 6, 4, 4]] * 3
    done = dp("export", "segmentation", "--input", "leuko", "--input", "leuko-masks", "--input",
              "leuko-splits", "--to", "pairs", "--store", "store")  # fmt: skip
    assert (done.code, len(done.lines)) == (0, 4 * 3 * 2 + 1), done.err
    # a leak by table: one line, exit 2, and nothing left behind
    Path("leak.csv").write_text(
        "movie,split\nNeu1,train\nNeu2,test\nNeu3,test\nNeu4,train\nNeu1,test\n"
    )
    done = dp("export", "coco", "--input", "leuko", "--input", "leuko-tracks", "--to", "leak",
              "--option", "size=4", "--option", "split=leak.csv", "--store", "store")  # fmt: skip
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("RefusedError: Neu1 is in train and in test")
    # and one by pixels: the same movie under another name
    dpipe.save(movies | {"Neu4": movies["Neu1"]}, "store", "leuko", message="a copy")
    Path("split.csv").write_text("movie,split\nNeu1,train\nNeu2,test\nNeu3,test\nNeu4,test\n")
    done = dp("export", "coco", "--input", "leuko", "--input", "leuko-tracks", "--to", "leak",
              "--option", "size=4", "--option", "split=split.csv", "--store", "store")  # fmt: skip
    assert done.code == 2
    assert "Neu4_t0000_c0.png in test has the very pixels of Neu1_t0000_c0.png" in done.err
    assert not Path("leak").exists()
    assert not Path(".leak.partial").exists()


def test_demo_twice(dp, monkeypatch):
    monkeypatch.setattr(demo, "ensure_study", lambda folder: demo_study(folder))
    first = dp("demo", "here", "--workers", "0", "--quiet")
    assert first.code == 0, first.err
    assert any(
        line.startswith("report: here/store") or "report.html" in line for line in first.lines
    )
    (aside,) = (line for line in first.lines if line.startswith("aside"))
    assert aside.split(": ")[1].startswith("1 of 12 pictures")
    assert aside.endswith("_+SEA_3.h5: truncated, shorter than its header says")
    again = dp("demo", "here", "--workers", "0", "--quiet")
    assert again.code == 0
    assert again.lines[0].startswith("nothing to do")
    assert aside in again.lines, "it still says what is not there"
    seals = [e.key for e in dpipe.catalog.open_store("here/store").list("parts/leuko/Neu1")]
    dpipe.catalog.open_store("here/store").delete(min(k for k in seals if k.count("/") == 2))
    damaged = dp("demo", "here", "--workers", "0", "--quiet")
    assert damaged.code == 5, "the seal that a version names is missing"
    assert dp("repair", "--store", "here/store").code == 0
    assert dp("demo", "here", "--workers", "0", "--quiet").code == 0


def test_a_demo_that_loses_too_much_does_not_end_well(dp, monkeypatch):
    monkeypatch.setattr(demo, "ensure_study", lambda folder: demo_study(folder))
    monkeypatch.setenv("DPIPE_MAX_QUARANTINE", "0")
    done = dp("demo", "here", "--workers", "0", "--quiet")
    assert done.code == 4
    assert not any(line.startswith("again") for line in done.lines)


def demo_study(folder):
    path = Path(folder) / "recipe.yaml"
    return path if path.exists() else demo.write_study(folder, frames=2, size=(2, 32, 32), cells=24)


def test_verify_names_what_is_damaged_and_exits_5(dp, study):
    dp("make", "leuko", "--reader", "imaris", "--source", f"{study}/raw/*.h5", *RUN)
    store = dpipe.catalog.open_store("store")
    chunk = next(entry.key for entry in store.list("parts/leuko/") if "/0/image/c/" in entry.key)
    store.delete(chunk)
    found = dp("verify", "--store", "store")
    assert found.code == 5
    assert f"{chunk}" in found.out
    assert "missing" in found.out


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("make", "x", "--store", "s"), 2, "say --reader with --source, or --operator"),
        (("make", "x", "--reader", "imaris", "--store", "s"), 2, "--reader needs --source"),
        (("make", "x", "--reader", "imarsi", "--source", "a", "--store", "s"), 2,
         "did you mean 'imaris'"),
        (("make", "x", "--reader", "imaris", "--source", "none.h5", "--store", "s"), 2, "none.h5"),
        (("make", "x", "--operator", "frame-quality", "--input", "y", "--store", "s"), 2,
         "unknown dataset 'y'"),
        (("make", "x", "--operator", "frame-quality", "--input", "y", "--param", "median",
          "--store", "s"), 2, "expected KEY=VALUE"),
        (("make", "x", "--operator", "frame-quality", "--input", "y", "--param", "median=3",
          "--param", "median=5", "--store", "s"), 2, "'median': given twice; a list is median="),
        (("make", "x", "--reader", "imaris", "--source", "a", "--param", "b=1", "--store", "s"), 2,
         "--param goes with --operator; with --reader go --source, --option, --set"),
        (("make", "x", "--operator", "frame-quality", "--input", "y", "--set", "interval=30",
          "--store", "s"), 2, "--set goes with --reader; with --operator go --input, --param"),
        (("make", "x", "--reader", "imaris", "--source", "a", "--set", "spacing=[2, 0.5",
          "--store", "s"), 2, "--set spacing: '[2, 0.5' is not YAML; are all brackets and quotes"),
        (("make", "x", "--operator", "frame-quality", "--input", "a", "--input", "b", "--store",
          "s"), 2, "2 inputs (a, b); it takes at most 1: ds"),
        (("make", "x", "--reader", "imaris", "--source", "a", "--set", "spacing=2", "--store", "s"),
         2, "set spacing: found 2; expected three numbers above 0 (z, y, x in micrometres)"),
        (("make", "x", "--reader", "imaris", "--source", "a", "--set", "voxel=2", "--store", "s"),
         2, "cannot set 'voxel'; what can be set: spacing, origin, interval, channels, colors"),
        (("doc", "frame-qualty"), 2, "unknown reader, operator or writer 'frame-qualty'; did you"),
        (("ls", "--store", __file__), 2, "test_commands.py: a file, where a folder is expected"),
        (("run", "--store", "s"), 2, "which recipe?"),
        (("run", "none.yaml", "--store", "s"), 2, "none.yaml: cannot read the recipe"),
        (("run", "--retry", "20260101T000000-aaaa", "--store", "s"), 2, "no dpipe store there"),
        (("ls",), 2, "which store?"),
        (("ls", "--store", "s"), 2, "no dpipe store there"),
        (("ls", "--store", "ftp://x/y"), 2, "ftp://"),
        (("verify", "--mode", "hope", "--store", "s"), 2, "'hope' is not one of"),
        (("frobnicate",), 2, "No such command 'frobnicate'"),
        (("census", "none.h5"), 2, "none.h5"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_and_exit_2(dp, args, code, said):
    told = dp(*args)
    assert told.code == code, told.err
    assert said in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("`area-1` > 1", ["3", "5", "7"]),
        ("'a' == label", ["1", "5"]),
        ("label in ('a', 'c') and b > 3", ["5"]),
        ("'label == \"a\"'", ["1", "5"]),  # as YAML has a text
    ],
)
def test_where_is_an_expression_and_need_not_be_yaml(dp, where, rows):
    table = (("record", "name"), np.arange(8.0).reshape(4, 2))
    ds = xr.Dataset({"feature": table}, {"name": ["area-1", "b"]})
    dpipe.save({"x": ds.assign_coords(label=("record", list("abab")))}, "store", "f", message="m")
    told = dp("export", "csv", "--store", "store", "--input", "f", "--to", "out",
              "--option", f"where={where}", "--option", "variables=feature")  # fmt: skip
    assert told.code == 0, told.err
    table = pd.read_csv("out/table.csv")
    assert [f"{b:g}" for b in table["b"]] == rows
    if not where.startswith("'label"):
        also = dp("export", "csv", "--store", "store", "--input", "f", "--to", "also", "--option",
                  "variables=feature", "--where", where)  # fmt: skip
        assert also.code == 0, also.err
        assert Path("also/table.csv").read_text() == Path("out/table.csv").read_text()
    made = dp("make", "g", "--operator", "gate", "--input", "f", "--param", "gates={g: b > 2}",
              "--param", f"where={where}", *RUN)  # fmt: skip
    assert made.code == 0, made.err
    assert dpipe.open("store", "g").sizes["record"] == len(rows)


def test_a_list_or_mapping_that_is_no_yaml(dp):
    ds = xr.Dataset({"n": ("record", [1, 2])})
    dpipe.save({"x": ds}, "store", "f", message="m")
    told = dp("make", "g", "--operator", "gate", "--input", "f", "--param", "gates={g: [}", *RUN)
    assert told.code == 2
    said = "--param gates: '{g: [}' is not YAML; are all brackets and quotes closed?"
    assert told.err.strip() == f"UsageError: {said}"


def test_a_setting_says_where_the_store_is(dp, study, monkeypatch):
    monkeypatch.setenv("DPIPE_STORE", "elsewhere")
    assert dp("make", "leuko", "--reader", "imaris", "--source", study / "raw", *RUN[:3]).code == 0
    assert dp("ls").code == 0


def test_unknown_dataset_and_version(dp):
    ds = schema.movie(np.zeros((1, 1, 1, 8, 8), "u1"))
    dpipe.save(ds, "store", "leuko", message="")
    assert (
        "unknown dataset 'leuco'; did you mean 'leuko'?"
        in dp("show", "leuco", "--store", "store").err
    )
    assert "leuko has no version 3; it has 1" in dp("show", "leuko@3", "--store", "store").err


def test_a_bug_is_told_in_one_line_unless_debug(dp, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(catalog, "open_store", broken)
    told = dp("ls", "--store", "s")
    assert told.code == 70
    assert told.err.strip() == "bug: ZeroDivisionError: oops (--debug shows where)"
    monkeypatch.setattr(group.sys, "argv", ["dpipe", "--debug"])
    assert "Traceback" in dp("--debug", "ls", "--store", "s").err


def test_an_option_of_a_writer_is_none_of_the_command(dp):
    dpipe.save(xr.Dataset({"n": ("record", [1, 2])}), "store", "f", message="m")
    told = dp("export", "csv", "--input", "f", "--to", "o", "--option", "to=x", "--store", "store")
    assert told.code == 2
    assert told.err.startswith("UsageError: writer csv: unknown option 'to'.")


def test_a_census_of_what_is_no_image_and_of_nothing(dp, tmp_path):
    (tmp_path / "t.csv").write_text(
        "video_id,ch1,markers,fluorophore,organ,stimuli,objective\n"
        "Neu 1,Neu,CK6,CFP,Spleen,UV,40x\n"
    )
    counted = dp("census", "t.csv", "--reader", "conditions", "--json")
    assert counted.code == 0, counted.err
    assert json.loads(counted.out)[0]["sizes"]["movie"] == 1
    nothing = dp("census", "t.csv")
    assert nothing.lines == ["reader imaris finds nothing there; dpipe doc lists the readers"]


def test_doc_lists_what_there_is_and_tells_of_one(dp):
    lines = dp("doc").lines
    assert {line for line in lines if not line.startswith(" ")} == {
        "readers",
        "operators",
        "writers",
    }
    assert {line.split()[0] for line in lines} >= {*dpipe.READERS, *dpipe.OPERATORS, *dpipe.WRITERS}
    assert all(len(line.split()) > 3 for line in lines if line.startswith(" "))
    told = dp("doc", "frame-quality").lines
    assert told[0] == "operator frame-quality; in Python frame_quality"
    assert "median : int" in told
    twice = dp("doc", "ome-zarr").lines
    assert [line for line in twice if "ome-zarr;" in line] == [
        "reader ome-zarr; in Python open_ome_zarr", "writer ome-zarr; in Python write_ome_zarr",
    ]  # fmt: skip
    own = dp("doc", "dpipe.operators.frames.thumbnails:thumbnails").lines
    assert own[0].startswith("operator dpipe.operators.frames.thumbnails:thumbnails; in Python")


def test_who_reads_the_output_may_have_enough(dp, monkeypatch):
    def closed(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr(report, "table", closed)
    dpipe.save(schema.movie(np.zeros((1, 1, 1, 8, 8), "u1")), "store", "leuko", message="")
    told = dp("ls", "--store", "store")
    assert (told.code, told.err) == (128 + 13, "")


def test_a_fault_of_the_disk_is_no_bug(dp):
    dpipe.save(schema.movie(np.zeros((1, 1, 1, 8, 8), "u1")), "store", "leuko", message="")
    Path("taken").write_text("a file")
    told = dp("export", "tiff", "--input", "leuko", "--to", "taken/out", "--store", "store")
    assert told.code == 75
    assert told.err.startswith("StoreError: ")
    assert "taken" in told.err
    assert told.err.count("\n") == 1


@pytest.mark.parametrize("key", ["datasets/leuko/000001.json", "parts/leuko/"])
def test_a_store_of_a_newer_version_says_so(dp, key):
    dpipe.save(schema.movie(np.zeros((1, 1, 1, 8, 8), "u1")), "store", "leuko", message="")
    store = dpipe.catalog.open_store("store")
    keys = [e.key for e in store.list(key) if e.key.count("/") == 2]
    key = min(keys, key=len)
    newer = store.read(key).replace(b"-version/2", b"-version/3").replace(b"-seal/2", b"-seal/3")
    store.put(key, newer)
    if key.startswith("parts"):  # a version that names the newer seal
        version = dpipe.catalog.resolve(store, "leuko")
        ref = dataclasses.replace(version.parts[0], seal=hashlib.sha256(newer).hexdigest())
        dpipe.catalog.commit(store, "leuko", lambda _: {"parts": [ref], "message": ""}, author="")
    for command, code in ((("show", "leuko"), 2), (("verify",), 5)):
        told = dp(*command, "--store", "store")
        assert told.code == code, told.err
        assert "/3, and this dpipe reads dpipe-" in told.err + told.out


def test_show_and_ls_say_what_a_collection_holds(dp, tmp_path):
    demo.write_study(tmp_path / "study", movies=0, cells=24)
    made = dp("make", "cells", "--reader", "ifc", "--source", tmp_path / "study/cells", *RUN)
    assert made.code == 3, made.err
    (row,) = json.loads(dp("ls", "--store", "store", "--json").out)
    assert (row["parts"], row["records"], row["put aside"]) == (2, 24, 1)
    first, second = dp("show", "cells", "--store", "store").lines[-2:]
    assert first.startswith("  Experiment_1_Donor_1_+SEA: 12 pictures, channels Ch1 | Ch2 | ")
    assert first.endswith("1 put aside")
    assert second.endswith("0 put aside")


def test_interrupted(dp, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(catalog, "open_store", stop)
    told = dp("ls", "--store", "s")
    assert told.code == 130
    assert told.err.strip() == "stopped; the same command goes on where it was"


def test_view_says_what_is_missing(dp):
    dpipe.save(schema.movie(np.zeros((1, 1, 1, 8, 8), "u1")), "store", "leuko", message="")
    if view.importlib.util.find_spec("napari") is None:
        assert "dpipe[view]" in dp("view", "leuko", "--store", "store").err


def test_help_tells_the_story(dp):
    told = dp("--help")
    assert told.code == 0
    assert "A reader turns foreign files" in told.out
    for (
        verb
    ) in "doc make plan run runs ls show history verify export census sweep view demo".split():
        assert f"\n  {verb} " in told.out


def two_versions(store="store"):
    for n in (1, 2):
        movie = schema.movie(np.full((2, 1, 1, 16, 16), n, "u1"), interval=30)
        dpipe.save({"Neu1": movie}, store, "leuko", message="m")
    tree = dpipe.open(store, "leuko")
    dpipe.save(dpipe.each(tree, dpipe.frame_quality, median=3), store, "quality", message="m")


def test_listings_say_which_versions_are_gone(dp, tmp_path):
    two_versions()
    folder = tmp_path / "store" / "datasets" / "leuko"
    whole = (folder / "000002.json").read_bytes()
    (folder / "000002.json").unlink()
    for command in (["history", "leuko"], ["ls"]):
        told = dp(*command, "--store", "store")
        assert told.code == 5
        assert "leuko" in told.out
        assert "version 2 of leuko was committed and is gone" in told.err
    (folder / "000001.json").unlink()
    for command in (["history", "leuko"], ["ls"]):
        told = dp(*command, "--store", "store")
        assert told.code == 5
        assert "of leuko was committed and is gone" in told.err
        assert "unknown dataset" not in told.err
    (folder / "000002.json").write_bytes(whole)
    assert dp("repair", "--store", "store").code == 0
    assert dp("ls", "--store", "store").code == 0


def test_a_version_that_is_gone_with_its_copy_is_known_to_what_was_made_from_it(dp, tmp_path):
    two_versions()
    assert dp("verify", "--store", "store").code == 0
    for path in (tmp_path / "store" / "datasets" / "leuko").glob("000002*"):
        path.unlink()
    for command in (["verify"], ["verify", "quality"], ["repair"]):
        told = dp(*command, "--store", "store")
        assert told.code == 5
        assert "quality@1 was made from leuko@2, which is gone, with its copy" in told.out


@pytest.mark.parametrize("workers", ["banana", "-1", "gateway://x:1?workers=many", "tcp://nobody"])
def test_no_such_workers(dp, study, workers):
    args = ("leuko", "--reader", "imaris", "--source", f"{study}/raw/*.h5", "--store", "store")
    told = dp("make", *args, "--workers", workers)
    assert told.code == 2
    assert told.err.startswith("UsageError: workers")
    assert dp("runs", "--store", "store").out == ""


def test_what_was_put_aside_is_tried_again_from_any_folder(dp, study, tmp_path, monkeypatch):
    good = (study / "raw" / "Neu2.h5").read_bytes()
    (study / "raw" / "Neu2.h5").write_bytes(good[:1000])
    args = ("--reader", "imaris", "--source", "study/raw/*.h5", *RUN)
    assert dp("make", "leuko", *args).code == 3
    (name,) = [row["run"] for row in json.loads(dp("runs", "--store", "store", "--json").out)]
    (study / "raw" / "Neu2.h5").write_bytes(good)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = dp("run", "--retry", name, "--workers", "0", "--quiet", "--store", "../store")
    assert again.code == 0, again.err
    assert "1 made" in again.out


def test_nothing_to_upgrade(dp):
    two_versions()
    assert dp("upgrade", "--store", "store").lines == ["nothing to upgrade"]


@pytest.mark.parametrize("verb", group.VERBS)
def test_the_first_line_of_a_verb_is_the_one_that_help_lists(verb):
    command = group.cli.get_command(None, verb)
    assert command.name == verb
    assert command.help.partition("\n")[0] == group.VERBS[verb]


def test_verbs_are_those_that_have_a_file():
    files = {path.stem for path in Path(group.__file__).parent.glob("*.py")}
    shared = {"__init__", "arguments", "exits", "group", "opening", "options", "output", "running"}
    assert files - shared == {verb.replace("-", "_") for verb in group.VERBS}
