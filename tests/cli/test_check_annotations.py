"""``dpipe check-annotations``: lines, JSON, exit codes, files and datasets."""

import json

import faulty_annotations as made
import pytest
from click.testing import CliRunner

from dpipe import cli
from dpipe.cli import cli as group
from dpipe.doctor import KINDS


def run(*words):
    return CliRunner().invoke(group, ["check-annotations", *map(str, words)])


def exit_code(*words):
    with pytest.raises(SystemExit) as end:
        cli.main(["check-annotations", *map(str, words)])
    return end.value.code


def test_clean_annotations_exit_0(tmp_path):
    made.write(tmp_path, made.clean())
    told = run(tmp_path, "--pictures", tmp_path / "images")
    assert told.exit_code == 0
    assert told.output == "no fault\n"


def test_a_fault_is_told_with_where_it_is_and_what_to_do(tmp_path):
    path = made.write(tmp_path, made.planted("a box moved"))
    told = run(path)
    assert told.exit_code == 5
    assert told.output.splitlines() == [
        "box_disagrees: 1 (a box more than 1 pixel off its outline); make it anew; --repaired does",
        f"  m.json: {made.name_of(1)}: annotation 31: "
        "3, 3, 18, 18; expected 7.74, 34.44, 17.12, 17.12",
    ]


def test_three_of_a_kind_are_shown_and_json_has_all(tmp_path):
    content = made.clean()
    for one in content["annotations"][30:40]:
        one["area"] = 1.0
    path = made.write(tmp_path, content)
    lines = run(path).output.splitlines()
    assert lines[0].startswith("area_disagrees: 10 (")
    assert lines[4:] == ["  and 7 more; --json lists all"]
    (row,) = json.loads(run(path, "--json").output)
    assert (row["kind"], row["count"], row["fault"]) == ("area_disagrees", 10, True)
    assert row["advice"] == KINDS["area_disagrees"].advice
    assert [example["annotations"] for example in row["examples"]] == [[n] for n in range(31, 41)]


def test_an_information_is_no_fault(tmp_path):
    told = run(made.write(tmp_path, made.planted("an object on another")))
    assert told.exit_code == 0
    assert told.output.startswith("overlap: 1 (")


def test_copies_are_written_and_their_changes_are_said(tmp_path):
    path = made.write(tmp_path, made.planted("an object drawn twice"))
    told = run(path, "--repaired", tmp_path / "mended")
    assert told.exit_code == 5
    assert told.output.splitlines()[-1] == (
        "changed in the copy of m.json: double objects dropped (1)"
    )
    assert run(tmp_path / "mended").exit_code == 0
    rows = json.loads(run(path, "--repaired", tmp_path / "two", "--json").output)
    change = {"kind": "change", "file": "m.json", "what": "double objects dropped", "count": 1}
    assert rows[-1] == change


def test_a_dataset_of_a_store_has_the_faults_of_its_file(tmp_path):
    for fault in ("a vertex moved", "an object drawn twice", "an id given twice"):
        folder = tmp_path / fault.replace(" ", "-")
        path = made.write(folder, made.planted(fault))
        made_of = ["make", "cells", "--reader", "coco", "--source", folder, "--workers", "0"]
        made_of += ["--quiet", "--store", folder / "store"]
        assert CliRunner().invoke(group, list(map(str, made_of))).exit_code == 0
        told = run("cells", "--store", folder / "store", "--json")
        assert told.exit_code == 5
        rows, of_file = (json.loads(one.output) for one in (told, run(path, "--json")))
        assert [row["count"] for row in rows] == [1]
        assert rows[0]["examples"][0].pop("file") == "cells"
        assert of_file[0]["examples"][0].pop("file") == "m.json"
        assert rows == of_file


def test_parts_of_a_dataset_are_compared_with_each_other(tmp_path, monkeypatch):
    for name in ("train", "test"):
        made.write(tmp_path / "raw", made.clean(), f"{name}.json")
    made_of = ["make", "cells", "--reader", "coco", "--source", tmp_path / "raw", "--workers", "0"]
    made_of += ["--quiet", "--store", tmp_path / "store"]
    assert CliRunner().invoke(group, list(map(str, made_of))).exit_code == 0
    monkeypatch.setenv("DPIPE_STORE", str(tmp_path / "store"))
    told = run("cells", "--json")
    assert told.exit_code == 5
    (row,) = json.loads(told.output)
    assert (row["kind"], row["count"]) == ("in_two_files", made.PICTURES)
    assert {row["examples"][0]["file"], row["examples"][0]["detail"]} in (
        {"cells/train", "also in cells/test"},
        {"cells/test", "also in cells/train"},
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("nothing-there",), 2),
        (("images",), 2),
        (("m.json", "--repaired", "."), 2),
        (("cells", "--store", "nowhere"), 2),
        (("cells", "--store", "nowhere", "--repaired", "x"), 2),
        ((), 2),
    ],
)
def test_wrong_use_is_one_line(tmp_path, monkeypatch, capsys, words, code):
    monkeypatch.chdir(tmp_path)
    made.write(tmp_path, made.clean())
    assert exit_code(*words) == code
    assert "bug" not in capsys.readouterr().err
