"""Recipes: every mistake is told with line and column."""

from pathlib import Path

import pytest
import xarray as xr

from dpipe import operators
from dpipe.build import Recipe, operator_step, reader_step
from dpipe.build import load_recipe as load
from dpipe.build.recipe import Step, parse
from dpipe.build.yaml_nodes import read_words
from dpipe.errors import RecipeError, UsageError

GOOD = """\
name: study
study: {title: Movies, description: Death of leukocytes, license: CC0}
datasets:
  quality: {operator: frame-quality, input: leuko, params: {median: 3}}
  leuko:
    reader: imaris
    source: [raw/*.h5, /data/x.ims, s3://bucket/y.ims]
    set: {spacing: [2, 0.5, 0.5]}
    levels: 2
"""


def test_steps_stand_in_the_order_in_which_they_can_be_made():
    recipe = parse(GOOD)
    assert [step.name for step in recipe.steps] == ["leuko", "quality"]
    leuko, quality = recipe.steps
    assert leuko.reader == "imaris"
    assert leuko.levels == 2
    assert leuko.said == {"spacing": [2, 0.5, 0.5]}
    assert leuko.params["level"] == 0, "defaults are filled in"
    assert quality.inputs == {"ds": "leuko"}
    assert quality.params["median"] == 3
    assert quality.params["min_snr"] == 5, "the paper's line"
    assert recipe.study["title"] == "Movies"


def test_relative_sources_are_below_the_recipe(tmp_path):
    (tmp_path / "r.yaml").write_text(GOOD)
    sources = load(tmp_path / "r.yaml").steps[0].sources
    assert sources == (str(tmp_path / "raw/*.h5"), "/data/x.ims", "s3://bucket/y.ims")


def test_name_defaults_to_the_file(tmp_path):
    (tmp_path / "mine.yaml").write_text("datasets:\n  a: {reader: imaris, source: x}\n")
    assert load(tmp_path / "mine.yaml").name == "mine"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("a: [1", "recipe:1:6: not YAML", id="not yaml"),
        pytest.param("a: \0", "recipe:1:1: not YAML: unacceptable character", id="NUL"),
        pytest.param("a: 2026-13-45", "recipe:1:1: not YAML: month must be in 1..12", id="no date"),
        pytest.param("- 1", "recipe:1:1: expected a mapping with the keys", id="a list"),
        pytest.param("", "recipe:1:1: expected a mapping", id="empty"),
        pytest.param("name: x", "recipe:1:1: a recipe needs datasets", id="no datasets"),
        pytest.param("name: x\ndatasets:", "recipe:2:10: expected a mapping", id="null datasets"),
        pytest.param("nam: x\ndatasets: {}", "recipe:1:1: unknown key 'nam'; did you mean 'name'?",
                     id="wrong top key"),
        pytest.param("datasets:\n  a: {reader: imaris, sorce: x}",
                     "recipe:2:23: unknown key 'sorce'; did you mean 'source'?", id="wrong key"),
        pytest.param("datasets:\n  a: {reader: imaris, params: {}, source: x}",
                     "recipe:2:23: unknown key 'params'", id="key of the other kind"),
        pytest.param("datasets:\n  a: {reader: imarsi, source: x}",
                     "recipe:2:6: unknown reader 'imarsi'; did you mean 'imaris'?", id="reader"),
        pytest.param("datasets:\n  a: {operator: frame-qualty, input: x}",
                     "did you mean 'frame-quality'?", id="operator"),
        pytest.param("datasets:\n  a: {operator: frame-quality, input: x, params: {medain: 5}}",
                     "unknown parameter 'medain'; did you mean 'median'?", id="parameter"),
        pytest.param("datasets:\n  a: {reader: imaris, source: x, options: {lvl: 1}}",
                     "unknown parameter 'lvl'", id="option"),
        pytest.param("datasets:\n  a: {source: x}", "needs either a reader or an operator",
                     id="neither"),
        pytest.param("datasets:\n  a: {reader: imaris, operator: frame-quality}",
                     "needs either a reader or an operator", id="both"),
        pytest.param("datasets:\n  a: {reader: imaris}", "needs a source", id="no source"),
        pytest.param("datasets:\n  a: {operator: frame-quality}", "needs an input", id="no input"),
        pytest.param("datasets:\n  a: {reader: 3, source: x}",
                     "recipe:2:15: reader: expected text; found 3", id="type"),
        pytest.param("datasets:\n  a: {reader: imaris, source: x, levels: two}",
                     "levels: expected a whole number; found 'two'", id="levels"),
        pytest.param("datasets:\n  a: {operator: frame-quality, input: {dss: x}}",
                     "unknown input 'dss'; did you mean 'ds'?", id="role"),
        pytest.param("datasets:\n  a: {operator: frame-quality, input: [x, y]}",
                     "2 inputs (x, y); it takes at most 1: ds", id="too many inputs"),
        pytest.param("datasets:\n  a: {operator: projections, input: b}\n"
                     "  b: {operator: projections, input: a}",
                     "these datasets need each other: a, b", id="circle"),
        pytest.param("datasets:\n  a: {reader: imaris, source: x}\n  a: {}",
                     "recipe:3:3: 'a' stands here twice", id="twice"),
        pytest.param("datasets:\n  'a b': {reader: imaris, source: x}",
                     "dataset name 'a b'", id="bad name"),
        pytest.param("x: &a 1\ndatasets: *a", "recipe:1:4: anchors and aliases", id="anchor"),
        pytest.param("study: {titel: x}\ndatasets:\n  a: {reader: imaris, source: x}",
                     "recipe:1:8:", id="study"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(text, said):
    with pytest.raises(RecipeError) as error:
        parse(text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2


def test_a_recipe_that_is_not_there(tmp_path):
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        load(tmp_path / "none.yaml")


def test_a_recipe_that_is_too_long(tmp_path):
    path = tmp_path / "long.yaml"
    path.write_text("#" * (1 << 20) + "\n")
    with pytest.raises(RecipeError, match="a recipe has at most 1048576"):
        load(path)


def test_steps_of_the_command_line_are_checked_too():
    step = reader_step("leuko", "imaris", ["x.h5"])
    recipe = Recipe.of(step, operator_step("q", "frame-quality", "leuko"))
    assert recipe.name == "q"
    assert recipe.digest == Recipe.of(*recipe.steps).digest
    with pytest.raises(UsageError, match="dataset name"):
        reader_step("../x", "imaris", ["x.h5"])


def test_inputs_that_may_be_left_out(monkeypatch):
    def joined(ds: xr.Dataset, more: xr.DataTree | None = None) -> xr.Dataset:
        return ds

    monkeypatch.setitem(operators.OPERATORS, "joined", operators.Operator(joined, 1))
    assert operator_step("q", "joined", "a").inputs == {"ds": "a"}
    assert operator_step("q", "joined", ["a", "b"]).inputs == {"ds": "a", "more": "b"}
    with pytest.raises(RecipeError, match=r"needs 1 input\(s\): ds; ds is missing"):
        operator_step("q", "joined", {"more": "b"})


def test_what_a_version_keeps_of_a_step():
    kept = reader_step("leuko", "imaris", ["x.h5"]).to_dict()
    assert kept.pop("params")["level"] == 0
    assert kept == {"name": "leuko", "reader": "imaris", "sources": ["x.h5"]}
    assert Step("a").to_dict() == {"name": "a"}


def test_numbers_as_keys_are_unknown_keys():
    with pytest.raises(RecipeError, match="unknown key '3'"):
        parse("3: x\ndatasets: {}")


def test_the_recipe_of_a_folder_is_found_by_path_object(tmp_path: Path):
    (tmp_path / "r.yaml").write_text(GOOD)
    assert load(tmp_path / "r.yaml").digest == parse(GOOD).digest


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("study: {title: T, title: U}", "r:1:19: 'title' stands here twice"),
        ("study: {title: T, publications: [{publication_doi: 1, publication_doi: 2}]}", "twice"),
        ('study: {title: "a\\0b"}', "no text"),
        ('study: {title: "\\ud83d"}', "no text"),
        ("datasets: {a: {reader: imaris, source: x, options: {unit: mm, unit: um}}}", "twice"),
    ],
)
def test_nothing_that_was_typed_is_dropped_or_breaks_what_comes_later(
    text: str, match: str
) -> None:
    """YAML takes the last of two keys, and files of tables cannot hold what is no text."""
    more = "" if text.startswith("datasets") else "\ndatasets: {a: {reader: imaris, source: x}}"
    with pytest.raises(RecipeError, match=match):
        parse(text + more, "r")


def test_params_typed_twice_on_the_command_line_are_refused() -> None:
    with pytest.raises(RecipeError, match="twice"):
        read_words("{a: 1, a: 2}", "--param x")
