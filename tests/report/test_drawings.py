"""Figure 3, the gallery and tests in a run's report: there when there is enough, said when not."""

import base64
import io
import uuid

import numpy as np
import pytest
import xarray as xr
from PIL import Image
from plot.test_figures import crops, movie
from report.test_page import EVIL, check, commit, outcome, quality, sealed, step

from dpipe import plot, report
from dpipe.operators import group_tests
from dpipe.plot import style
from dpipe.report import drawings
from dpipe.storage import Objects, open_objects


@pytest.fixture
def store() -> Objects:
    return open_objects(f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def drawing():
    pytest.importorskip("matplotlib", reason="matplotlib (extra plot) is not installed")


def made(store, **datasets):
    """Commit datasets of parts, and return the steps of the run that made them."""
    steps = []
    for name, parts in datasets.items():
        refs = [sealed(store, name, stem, ds) for stem, ds in parts.items()]
        steps.append(step(name, commit(store, name, refs, operator="x"), list(parts)))
    return steps


def written(store, *steps):
    done = outcome(*steps)
    report.write(store, done)
    return check(store.read(f"runs/{done.run}/report.html").decode())


def figures(page):
    return [image for image in page.all("img") if ", channel " not in image["alt"]]


def movies(count=2):
    return {f"Neu{i}": quality([[8 + i, 4.0]]) for i in range(count)}


def test_figure_3_stands_in_the_page(drawing, store):
    page = written(store, *made(store, quality=movies() | {"Den1": quality([[2, 3]])}))
    (figure,) = figures(page)
    assert figure["alt"] == (
        "A, Signal to noise: Den median 2.5 of 1, Neu median 6.25 of 2. "
        "B, Sampling interval: Den median 30 of 1, Neu median 30 of 2."
    )
    data = base64.b64decode(figure["src"].partition(",")[2])
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (int(figure["width"]), int(figure["height"]))
    assert len(data) < 200_000
    assert "Without data: C, D, E, F, G, H, I, J." in page.text
    assert any(link["href"] == "#figures" for link in page.all("a"))


def test_the_gallery_stands_in_the_page(drawing, store):
    steps = made(store, crops={s: crops(("event", "cell"), stem=s) for s in ("Neu1", "Neu2")})
    page = written(store, *steps)
    (figure,) = figures(page)
    assert figure["alt"] == ("Crops over time: Neu1_cell1, Neu2_cell1, Neu1_cell2, Neu2_cell2")
    assert "crops@1: 4 of 4 crops, one a line, over time." in page.text


def masks():
    places = {d: (d, np.arange(40.0), {"spacing": 1.0}) for d in "yx"}
    labels = np.ones((9, 2, 40, 40), "u2")
    return xr.Dataset({"labels": (("t", "z", "y", "x"), labels)}, coords=places | {"z": [0.0, 1]})


@pytest.mark.parametrize(("most", "outlined"), [(1 << 28, True), (1000, False)])
def test_masks_are_outlined_if_they_cost_little(drawing, store, monkeypatch, most, outlined):
    monkeypatch.setattr(drawings, "_MASK_BYTES", most)
    seen = []

    def look(held, *, masks, **said):
        seen.append(list(masks or ()))
        return rows(held, masks=masks, **said)

    rows = plot.rows
    monkeypatch.setattr(plot, "rows", look)
    written(store, *made(store, crops={"Neu1": crops()}, masks={"Neu1": masks(), "Neu9": masks()}))
    assert seen[0] == (["Neu1"] if outlined else [])


@pytest.mark.parametrize(
    "datasets",
    [
        {},
        {"quality": movies(1)},
        {"leuko": {"Neu1": movie(), "Neu2": movie()}},
        {"quality": {"Neu1": quality([[np.nan, np.inf]]), "Neu2": quality([[np.nan, np.inf]])}},
        {"crops": {"Neu1": crops().isel(event=slice(0, 0))}},
    ],
    ids=["nothing", "one movie", "only times", "no number", "no event"],
)
def test_nothing_is_drawn_of_little(drawing, store, datasets):
    page = written(store, *made(store, **datasets))
    assert figures(page) == []
    assert "cannot be drawn" not in page.text
    assert not any(link["href"] == "#figures" for link in page.all("a"))


def test_without_matplotlib_the_page_says_so_once(store, monkeypatch):
    monkeypatch.setattr(style, "available", lambda: False)
    monkeypatch.setattr(plot, "available", lambda: False)
    page = written(store, *made(store, quality=movies(), crops={"Neu1": crops()}))
    assert figures(page) == []
    assert page.text.count("matplotlib is missing; pip install 'dpipe[plot]'") == 1


def test_names_are_escaped(drawing, store):
    stem = EVIL.replace("/", "_")
    held = {stem: crops(stem=EVIL), "b": crops(stem="b")}
    steps = made(store, quality={stem: quality([[1, 2]]), "b": quality([[3, 4]])}, crops=held)
    page = written(store, *steps)
    assert len(figures(page)) == 2
    assert f"{EVIL}_cell1" in figures(page)[1]["alt"]
    assert "cannot be drawn" not in page.text


def test_what_goes_wrong_is_said_and_the_page_goes_on(drawing, store, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no <ink>")

    monkeypatch.setattr(plot, "figure3", broken)
    page = written(store, *made(store, quality=movies(), crops={"Neu1": crops()}))
    assert "Figure 3 cannot be drawn: no <ink>" in page.text
    assert len(figures(page)) == 1


def test_a_version_that_is_gone(store):
    (one,) = made(store, quality=movies())
    assert drawings.drawings(store, [one | {"version": "quality@7"}], problems := []) == []
    assert problems == []


def test_more_parts_than_a_report_reads(drawing, store, monkeypatch):
    monkeypatch.setattr(drawings, "MOST_PARTS", 1)
    page = written(store, *made(store, quality=movies()))
    assert "Figure 3 is not drawn: more than 1 parts; use dpipe plot" in page.text


def test_a_picture_too_large_is_drawn_smaller(drawing, store, monkeypatch):
    steps = made(store, quality=movies())
    (whole,) = figures(written(store, *steps))
    monkeypatch.setattr(drawings, "_LARGEST", 100)
    (half,) = figures(written(store, *steps))
    assert int(half["width"]) * 2 == pytest.approx(int(whole["width"]), abs=4)


def test_tests_between_groups_are_a_table(store):
    snr = {"Neu1": 9, "Neu2": 10, "Neu3": 11, "Neu4": 12, "Den1": 5, "Den2": 6}
    held = {f"/{stem}": quality([[v, v]]) for stem, v in snr.items()}
    page = written(store, *made(store, tests={"tests": group_tests(xr.DataTree.from_dict(held))}))
    assert "tests@1: one line a measure." in page.text
    heads = "measure Den median Den movies Neu median Neu movies all groups (p) Den : Neu (p)"
    # the least of two and four: 2 of the C(6, 2) = 15 ways, over all groups as over their only pair
    assert f"{heads} frame_snr 5.5 2 10.5 4 0.133 0.133" in page.text


def test_words_are_no_table(store):
    table = xr.Dataset({"organ": ("movie", ["node"])}, coords={"movie": ["Neu1"]})
    page = written(store, *made(store, conditions={"table": table}))
    assert "cannot be shown" not in page.text
    assert "one line a movie" not in page.text
