"""The plate and the outlined pictures of the demo, made and held against their truth."""

import json

import numpy as np
import pytest

import dpipe
from dpipe import demo
from dpipe.cli import main


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nuclei")
    recipe = demo.write_study(folder / "study", movies=1, frames=2, size=(2, 32, 32), nuclei=True)
    outcome = dpipe.run_recipe(recipe, str(folder / "store"), progress=False, workers="0")
    assert outcome.exit_code == 0
    return folder


@pytest.fixture(scope="module")
def truth(lab):
    return json.loads((lab / "study/truth.json").read_text())


def test_every_nucleus_is_measured_under_its_colour(lab, truth):
    ds = dpipe.open(str(lab / "store"), "nuclei-measures")
    found: dict[str, dict[str, int]] = {}
    area = ds.feature.sel(name="area").values.astype(int).tolist()
    for file, label, pixels in zip(ds["file"].values, ds["object_label"].values, area, strict=True):
        found.setdefault(str(file), {})[str(label)] = pixels
    assert found == {name: field["nuclei"] for name, field in truth["plate"]["fields"].items()}


def test_wells_and_scale(lab, truth):
    ds = dpipe.open(str(lab / "store"), "nuclei")
    wells = [truth["plate"]["fields"][name]["well"] for name in ds["file"].values.tolist()]
    assert ds["well"].values.tolist() == wells
    assert ds.attrs["spacing"] == pytest.approx([truth["plate"]["spacing"]] * 2, rel=1e-6)
    assert ds.attrs["field_count"] == 2


def test_pictures_in_8_bits_reach_from_black_to_white(lab):
    images = dpipe.pictures(dpipe.open(str(lab / "store"), "nuclei-8bit"), size=(128, 160)).image
    values = images.values.reshape(images.sizes["record"], -1)
    assert (values.min(1) == 0).all()
    assert (values.max(1) == 255).all()


def test_outlined_cells_are_drawn_and_measured(lab, truth):
    ds = dpipe.open(str(lab / "store"), "outlined-measures")
    names, counts = np.unique(ds["file"].values, return_counts=True)
    # the cell that is there twice lies under its double
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == truth["outlined"]["cells"]
    masks = dpipe.open(str(lab / "store"), "outlined-masks")
    assert int(masks["objects_lost"].values.sum()) == 1


def test_the_doctor_finds_each_planted_fault_once(lab, truth, capsys):
    source = str(lab / "study/outlined/outlined.json")
    with pytest.raises(SystemExit) as ended:
        main(["check-annotations", source, "--json"])
    assert ended.value.code == 5
    rows = json.loads(capsys.readouterr().out)
    assert sum(row["count"] for row in rows) == sum(truth["outlined"]["faults"].values())
