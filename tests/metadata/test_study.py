"""A curator's study: kept letter for letter, shown wherever a dataset is, in every export."""

import html
import json
from pathlib import Path

import pytest

import dpipe
from dpipe import catalog, demo, report
from dpipe.build import recipe, run
from dpipe.cli import main
from dpipe.config import Settings
from dpipe.storage import open_objects

TYPED = {
    "title": "Dying leukocytes: \u00abL\u00e9a's\u00bb set",
    "description": "In vivo.\nTwo lines.",
    "keywords": ["yes", "007", "1e5", "NULL"],
    "license": "CC-BY-4.0",
    "authors": ["Ambros, Inge M.", "TU Wien"],
    "publications": [
        {"publication_title": "Without a DOI", "publication_year": "2020"},
        {"publication_title": "First", "publication_doi": "10.1/x"},
        {"publication_title": "Second of that DOI", "publication_doi": "10.1/x"},
    ],
}
TEXT = """
study:
  title: "Dying leukocytes: \u00abL\u00e9a's\u00bb set"
  description: |-
    In vivo.
    Two lines.
  keywords: [yes, 007, 1e5, NULL]
  license: CC-BY-4.0
  authors: ["Ambros, Inge M.", TU Wien]
  publications:
  - {{publication_title: Without a DOI, publication_year: 2020}}
  - {{publication_title: First, publication_doi: 10.1/x}}
  - {{publication_title: Second of that DOI, publication_doi: 10.1/x}}
datasets:
  leuko: {{reader: imaris, source: {raw}}}
  quality: {{operator: frame-quality, input: leuko}}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("study")
    demo.write_study(folder, movies=2, frames=2, size=(2, 32, 32), damaged=False)
    url = str(folder / "store")
    settings = Settings(workers="0", author="ann")
    chosen = recipe.parse(TEXT.format(raw=folder / "raw"))
    outcome = run.run(chosen, open_objects(url), settings, progress=False)
    assert report.write(open_objects(url), outcome)
    return url


def test_every_version_holds_what_was_typed(store: str) -> None:
    for name in ("leuko", "quality"):
        assert catalog.resolve(open_objects(store), name).study == TYPED


def test_listings_show_it(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["ls"], ["history", "leuko"]):
        with pytest.raises(SystemExit):
            main([*command, "--store", store, "--json"])
        rows = json.loads(capsys.readouterr().out)
        assert {row["study"] for row in rows} == {TYPED["title"]}
    with pytest.raises(SystemExit):
        main(["show", "leuko", "--store", store])
    shown = capsys.readouterr().out
    for line in (
        "  study license: CC-BY-4.0",
        "  study keywords: 007",
        "  study publications 1 publication_title: Without a DOI",
        "  study publications 2 publication_doi: 10.1/x",
        "  study publications 3 publication_doi: 10.1/x",
        "  study description: Two lines.",
    ):
        assert line in shown.splitlines()
    with pytest.raises(SystemExit):
        main(["show", "leuko", "--store", store, "--json"])
    assert json.loads(capsys.readouterr().out)["study"] == TYPED


def test_the_report_shows_it(store: str) -> None:
    objects = open_objects(store)
    (key,) = (e.key for e in objects.list("runs/") if e.key.endswith("report.html"))
    page = html.unescape(objects.read(key).decode())
    for text in (TYPED["title"], "CC-BY-4.0", "Second of that DOI", "Ambros, Inge M."):
        assert text in page


def test_notebooks_show_it(store: str) -> None:
    page = html.unescape(catalog.resolve(open_objects(store), "leuko")._repr_html_())
    assert f"title: {TYPED['title']}" in page


def test_what_is_opened_carries_it(store: str) -> None:
    tree = dpipe.open(store, "leuko", "quality")
    part = dpipe.open(store, "leuko", part="Neu1")
    for data in (
        tree,
        part,
        dpipe.each(tree, dpipe.frame_quality),
        dpipe.each(part, "projections"),
    ):
        assert json.loads(data.attrs["study"]) == TYPED


def test_what_is_saved_carries_it(store: str) -> None:
    made = dpipe.each(dpipe.open(store, "leuko"), dpipe.frame_quality)
    saved = dpipe.save(made, store, "mine", message="again", author="ben")
    assert saved.study == TYPED
    part = dpipe.open(store, "mine", part="Neu1")
    saved = dpipe.save(part, store, "one", message="one", author="ben")
    assert saved.study == TYPED
    sealed = saved.parts[0].base + ".json"
    assert b"Ambros" not in open_objects(store).read(sealed), "it stands in the version alone"


@pytest.mark.parametrize("writer", ["ome-zarr", "tiff"])
def test_exports_of_images_hold_it(store: str, tmp_path: Path, writer: str) -> None:
    paths = dpipe.export(dpipe.open(store, "leuko"), writer, tmp_path)
    check(tmp_path, paths)


@pytest.mark.parametrize("writer", ["csv", "parquet"])
def test_exports_of_tables_hold_it(store: str, tmp_path: Path, writer: str) -> None:
    paths = dpipe.export(dpipe.open(store, "quality"), writer, tmp_path)
    check(tmp_path, paths)


def check(folder: Path, paths: list[str]) -> None:
    assert paths[-1] == str(folder / "study.json")
    words = json.loads((folder / "study.json").read_text())
    assert words["study"] == TYPED
    assert words["mifa"]["license"] == "CC_BY"
    assert list(words["mifa"]["publications"]) == ["Without a DOI", "10.1/x", "10.1/x (2)"]


def test_two_studies_in_one_folder(store: str, tmp_path: Path) -> None:
    ds = dpipe.open(store, "leuko", part="Neu1")
    first = dpipe.export(ds, "tiff", tmp_path)
    other = ds.assign_attrs(study=json.dumps({"title": "Another"}), stem="other")
    second = dpipe.export(other, "tiff", tmp_path)
    third = dpipe.export(other.assign_attrs(stem="third"), "tiff", tmp_path)
    assert [Path(p[-1]).name for p in (first, second, third)] == [
        "study.json",
        "study-2.json",
        "study-2.json",
    ]
    assert json.loads((tmp_path / "study-2.json").read_text())["study"] == {"title": "Another"}


def test_datasets_of_unlike_studies_keep_both(store: str) -> None:
    objects = open_objects(store)
    parts = catalog.resolve(objects, "quality").parts
    fields = {"parts": parts, "message": "m", "recipe": {}, "study": {"title": "Another"}}
    catalog.commit(objects, "other", lambda _: fields, author="ann")
    said = json.loads(dpipe.open(store, "leuko", "other").attrs["study"])
    assert said == {"studies": {"leuko@1": TYPED, "other@1": {"title": "Another"}}}
