"""From files to statistics through a recipe: masks, compensation, quality, each a dataset."""

import numpy as np
import pytest
from packs import unpacked

import dpipe
from dpipe import operators
from dpipe.build import operator_step, run
from dpipe.build.recipe import parse
from dpipe.config import Settings
from dpipe.demo.study import write_ifc_tree
from dpipe.errors import SchemaError
from dpipe.storage import open_objects

RECIPE = """
datasets:
  cells: {reader: ifc, source: SOURCE/tree, options: {block: 16, channels: "BF,CD3,MHCII"}}
  masks: {operator: segment-cells, input: cells, params: {min_size: 20, closing: 1}}
  regions:
    operator: derive-masks
    input: masks
    params: {masks: {synapse: "dilate(CD3 & MHCII, 1)", rim: "synapse & ~(CD3 & MHCII)"}}
  shares: {reader: spillover, source: SOURCE/*.csv}
  clean:
    operator: compensate
    input: {ds: cells, matrices: shares}
    params: {matrix: {Experiment_1: exp1}, channels: {BF: null, CD3: Ch07, MHCII: Ch06}}
  unit: {operator: rescale-intensity, input: clean, params: {in_range: [0, 4095]}}
  quality: {operator: picture-quality, input: {ds: cells, masks: masks}, params: {full_scale: 4095}}
  bare-quality: {operator: picture-quality, input: cells}
  sums: {operator: channel-sums, input: [cells, regions], params: {inside: rim, levels: 4096}}
  statistics: {operator: channel-statistics, input: sums}
"""
FIRST, SECOND = "Experiment_1_Donor_1_+SEA", "Experiment_1_Donor_1_-SEA"


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("pixels")
    write_ifc_tree(folder / "tree", 80, channels=3, mean_size=14)
    for k in (1, 2):
        (folder / f"exp{k}.csv").write_text(f",Ch07,Ch06\nCh07,1,0.{k}\nCh06,0,1\n")
    recipe = parse(RECIPE.replace("SOURCE", str(folder)))
    said = Settings(workers="0", author="ann", partition_bytes=20_000)
    objects = open_objects(str(folder / "store"))
    outcome = run.run(recipe, objects, said, progress=False)
    assert outcome.exit_code == run.SOME_ASIDE, "one file is corrupt"
    made = {step["dataset"]: step["made"] for step in outcome.steps}
    assert made.pop("shares") == ["exp1", "exp2"]
    assert made.pop("statistics") == ["statistics"]
    assert list(made.values()) == [[FIRST, SECOND]] * 8
    again = run.run(recipe, objects, said, progress=False)
    assert (again.nothing, again.exit_code) == (True, 3)
    return objects.url


def part(store: str, *names: str, stem: str = FIRST):
    return dpipe.open(store, *names, part=stem)


def test_the_picture_without_masks_has_some_now(store):
    cells, masks = part(store, "cells"), part(store, "masks")
    (bare,) = np.flatnonzero((cells.mask_dtype == "").values & (cells.height > 0).values)
    assert cells.file.values[bare].endswith("_5.h5")
    old, new = unpacked(cells, "mask_code"), unpacked(masks, "mask_code")
    assert not old[bare].any()
    assert new[bare].any()
    for n in set(range(40)) - {bare}:
        np.testing.assert_array_equal(old[n], new[n])
    both = part(store, "masks", "cells")
    assert dpipe.unpack(both, int(bare))[1].any()
    assert dpipe.pictures(both, size=8).mask.values[bare].any()


def test_compensation_took_its_own_matrix_and_left_brightfield(store):
    before, after = unpacked(part(store, "cells")), unpacked(part(store, "clean"))
    for mixed, clean in zip(before, after, strict=True):
        np.testing.assert_array_equal(mixed[0], clean[0])
        np.testing.assert_array_equal(mixed[2], clean[2])
        np.testing.assert_allclose(clean[1], mixed[1] - 0.1 * mixed[2], rtol=1e-4, atol=1e-3)
    for clean, unit in zip(after, unpacked(part(store, "unit")), strict=True):
        np.testing.assert_allclose(unit, np.clip(clean / 4095, 0, 1), rtol=1e-5, atol=1e-7)


def test_quality_with_masks_of_another_dataset_and_without(store):
    ds = part(store, "quality")
    aside = part(store, "cells").put_aside.values != ""
    assert aside.sum() == 1
    assert (ds.picture_verdict.values[aside] == 2).all()
    assert (ds.picture_verdict.values[~aside] < 2).all()
    bits = dict(
        zip(ds.picture_reason.flag_meanings.split(), ds.picture_reason.flag_masks, strict=True)
    )
    without = part(store, "bare-quality").picture_reason.values & bits["no_mask"]
    assert (without > 0).all(axis=1).sum() == 1
    assert not (ds.picture_reason.values & bits["no_mask"]).any()
    assert ds.file.values.tolist() == part(store, "cells").file.values.tolist()


def test_statistics_over_all_parts_inside_of_a_derived_mask(store):
    found = dpipe.open(store, "statistics").compute()
    values = [[], [], []]
    for stem in (FIRST, SECOND):
        both = part(store, "regions", "cells", stem=stem)
        assert both.mask_name.values.tolist() == ["BF", "CD3", "MHCII", "synapse", "rim"]
        codes = unpacked(both, "mask_code")
        for picture, code in zip(unpacked(both), codes, strict=True):
            for k in range(3):
                values[k] += picture[k][(code >> 4 & 1) > 0].tolist()
    assert found.channel_pixels.values.tolist() == [len(v) for v in values]
    assert min(len(v) for v in values) > 500
    np.testing.assert_allclose(found.channel_mean, [np.mean(v) for v in values], rtol=1e-12)
    np.testing.assert_allclose(
        found.channel_percentile, [np.percentile(v, found.percentile) for v in values], rtol=1e-12
    )


def test_masks_of_other_pictures_are_refused(store):
    cells, masks = part(store, "cells"), part(store, "masks")
    for other in (part(store, "masks", stem=SECOND), masks.isel(record=slice(9))):
        with pytest.raises(SchemaError, match="the masks are of other pictures: ") as told:
            dpipe.picture_quality(cells, other)
        assert "\n" not in str(told.value)
    with pytest.raises(SchemaError, match="no variable 'mask_code'"):
        dpipe.channel_sums(cells, part(store, "clean"))
    some = dpipe.picture_quality(cells.isel(record=[4, 9]), masks.isel(record=[4, 9]))
    np.testing.assert_array_equal(
        some.mask_share, part(store, "quality").mask_share.isel(record=[4, 9])
    )


def test_masks_can_be_left_out():
    for name in ("picture-quality", "channel-sums"):
        assert operators.optional(operators.OPERATORS[name]) == {"masks"}
        assert operator_step("q", name, {"ds": "cells"}).inputs == {"ds": "cells"}
        assert operator_step("q", name, ["cells", "masks"]).inputs["masks"] == "masks"
