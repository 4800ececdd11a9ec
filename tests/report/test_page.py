"""The run's report: sums that add up, a page that is whole and harmless, figures in place."""

import base64
import io
import itertools
import json
import math
import re
import shutil
import subprocess
import uuid
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from dpipe import catalog, demo, plot, report, schema
from dpipe.build import PartSpec, base_of, lay_out, parts, recipe, run
from dpipe.config import Settings
from dpipe.plot import style
from dpipe.report import charts as report_charts
from dpipe.report import contents
from dpipe.report import page as report_page
from dpipe.report.text import digits, duration
from dpipe.service import maintenance
from dpipe.storage import Objects, open_objects

EVIL = "<script>alert('x')</script>&\"'"
RUN = "20260105T100000-7c2e"


# --- datasets and outcomes made by hand


def sealed(objects: Objects, name: str, stem: str, ds: xr.Dataset, operator="x", **params):
    """Seal a part as if an operator had made it."""
    made = PartSpec("operator", operator, 3, params)
    base = base_of(name, stem, made.fingerprint)
    outline = parts.write_init(objects, lay_out(ds, base), made.to_dict())
    for index in range(outline.grid.partitions):
        parts.write_partition(objects, outline, ds, index)
    done = parts.seal_part(objects, base, ds)
    return catalog.PartRef(stem, made.fingerprint, base, done["seal"], done["summary"])


def commit(objects: Objects, name: str, refs, **said) -> str:
    fields = {"parts": tuple(refs), "message": "", "recipe": said}
    return catalog.commit(objects, name, lambda _: fields, author="me").label


def step(dataset, version="", made=(), reused=(), aside=(), **said):
    counted = len(made) + len(reused) + sum(entry["items"] for entry in aside)
    return {
        "dataset": dataset,
        "version": version,
        "made": list(made),
        "reused": list(reused),
        "aside": list(aside),
        "items": counted,
        "seconds": 2.0,
        "task_seconds": 3.5,
        "bytes": 5 << 20,
    } | said


def lost(stem, reason="truncated", items=1, **said):
    return {"stem": stem, "fingerprint": "0" * 12, "reason": reason, "items": items} | said


def outcome(*steps, code=run.DONE, name="leuko", where="memory://store", seconds=65.0):
    return run.Outcome(RUN, name, where, seconds, list(steps), code)


def channels(names, colors):
    return {"c": np.array(names), "channel_color": ("c", np.array(colors))}


def quality(snr, flags=None, names=("a", "b"), colors=("00FF00", "FF0000"), reasons=None):
    snr = np.asarray(snr, float)
    dims = ("t", "c")
    held = {"frame_snr": (dims, snr)}
    if flags is not None:
        held["quality_flag"] = (dims, np.asarray(flags, "u1"))
    if reasons is not None:
        said = {"flag_meanings": "low_snr saturated empty identical"}
        held["quality_reason"] = (dims, np.asarray(reasons, "u1"), said)
    times = ("t", 30.0 * np.arange(len(snr)), {"units": "s", "spacing": 30.0})
    return xr.Dataset(held, coords={"t": times} | channels(names, colors))


def thumbnail(names=("a", "b"), colors=("00FF00", "FF0000"), dtype="u1"):
    values = np.arange(len(names) * 20 * 40).reshape(len(names), 20, 40) % 256
    places = {
        dim: (dim, np.arange(float(n)), {"units": "micrometer", "spacing": 1.0})
        for dim, n in {"y": 20, "x": 40}.items()
    }
    held = {"thumbnail": (("c", "y", "x"), values.astype(dtype), {"frame": 7})}
    return xr.Dataset(held, coords=channels(names, colors) | places)


def movie(names=("a", "b"), frames=2):
    pixels = np.zeros((frames, len(names), 2, 8, 8), "u1")
    return schema.movie(pixels, spacing=(2, 0.5, 0.5), interval=30, channels=names)


@pytest.fixture
def store() -> Objects:
    return open_objects(f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def study(store):
    """Two movies with pictures, quality and a table; returns the store and the run's steps."""
    stems = ("Neu1", "Neu2")
    raw = commit(store, "leuko", [sealed(store, "leuko", s, movie()) for s in stems], reader="r")
    good = quality([[20, 10], [21, math.nan], [22, 4]], [[0, 0], [0, 2], [0, 1]],
                   reasons=[[0, 0], [0, 8], [0, 1]])  # fmt: skip
    judged = commit(
        store,
        "leuko-quality",
        [sealed(store, "leuko-quality", s, good, "frame-quality", min_snr=5.0) for s in stems],
        operator="frame-quality",
        inputs={"ds": raw},
        params={"min_snr": 5.0},
        said={"spacing": [1, 2, 3]},
    )
    drawn = commit(
        store,
        "leuko-thumbnails",
        [sealed(store, "leuko-thumbnails", s, thumbnail(), "thumbnails") for s in stems],
        operator="thumbnails",
        inputs={"ds": raw},
    )
    numbers = xr.Dataset(
        {
            "movie_snr": ("movie", [20.04, math.nan], {"units": "dB"}),
            "movie_voxel_x": ("movie", [0.5, 0.25], {"units": "micrometer"}),
            "movie_snr_normalised": ("movie", [0.123456, 1.0], {"units": "1"}),
        },
        coords={"movie": np.array(stems)},
    )
    table = sealed(store, "table", "table", numbers, "quality-table")
    tabled = commit(store, "table", [table], operator="quality-table", inputs={"tree": judged})
    steps = [step("leuko", raw, stems), step("leuko-quality", judged, stems)]
    steps += [step("leuko-thumbnails", drawn, stems[:1], stems[1:])]
    return store, [*steps, step("table", tabled, ["table"])]


# --- a page is whole and harmless

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Reads a page strictly: tags must balance; keeps what the checks need."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    @property
    def pictures(self) -> list[dict]:
        return [image for image in self.all("img") if ", channel " in image["alt"]]

    def all(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.tags if name == tag]


def check(html: str) -> Page:
    """Check what holds of every page."""
    page = Page(html)
    names = {name for name, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "form", "base", "use", "image"}
    policy = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    for _, attrs in page.tags:
        assert not any(name.startswith("on") for name in attrs)
        assert attrs.get("src", "data:image/png;").startswith("data:image/png;")
        assert attrs.get("href", "#").startswith("#")
        assert re.fullmatch(r"(--on-(light|dark):#[0-9a-f]{6};?){2}|width:[\d.]+%|",
                            attrs.get("style", ""))  # fmt: skip
    assert "http:" not in html.replace("http-equiv", "")
    assert "https:" not in html
    assert "url(" not in html
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    pointed = [w for _, a in page.tags for w in a.get("aria-labelledby", "").split()]
    pointed += [a["href"][1:] for a in page.all("a")]
    assert set(pointed) <= set(ids)
    assert all(image["alt"] and image["width"] and image["height"] for image in page.all("img"))
    tables = [name for name, _ in page.tags if name in ("table", "caption")]
    assert tables == ["table", "caption"] * (len(tables) // 2)
    heads = [int(name[1]) for name, _ in page.tags if re.fullmatch(r"h\d", name)]
    assert heads[0] == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(heads))
    charts = [svg for svg in page.all("svg") if svg.get("class") == "chart"]
    assert all(svg["role"] == "img" for svg in charts)
    assert all("nan" not in attrs.get("d", "") + attrs.get("y", "") for _, attrs in page.tags)
    return page


def written(store, *steps, **said) -> Page:
    done = outcome(*steps, **said)
    where = report.write(store, done)
    assert where == f"{store.url}/runs/{RUN}/report.html"
    return check(store.read(f"runs/{RUN}/report.html").decode())


# --- what is written


def test_nothing_writes_nothing(store):
    assert report.write(store, run.Outcome(recipe="leuko", steps=[step("leuko")])) == ""
    assert list(store.list()) == []


def test_json_holds_the_outcome(store):
    done = outcome(step("leuko", aside=[lost("Neu3")]), code=run.TOO_MANY)
    report.write(store, done)
    said = json.loads(store.read(f"runs/{RUN}/report.json"))
    assert said == {"format": "dpipe-report/1"} | vars(done)
    store.put(f"runs/{RUN}/plan.json", b'{"recipe": "leuko", "parts": []}')
    assert maintenance.runs(store)[0]["state"] == "ended with 4"


def test_page_of_a_study(study):
    store, steps = study
    page = written(store, *steps)
    assert "05 January 2026, 10:00:00 UTC, took 1 min 5 s" in page.text
    assert [image["alt"] for image in page.pictures] == [
        f"{stem}, channel {c}, frame 7" for stem in ("Neu1", "Neu2") for c in "ab"
    ]
    assert (
        "2 frames every 30 s 2 channels 2 × 8 × 8 voxels of 2 × 0.5 × 0.5 µm (z, y, x) uint8"
        in (page.text)
    )
    # 3 frames x 2 channels: one identical (bit 8), one of low SNR (bit 1)
    assert "4 good 1 doubtful 1 unusable because: low SNR 1, identical 1" in page.text
    assert "a: 20 to 22 dB. b: 4 to 10 dB, 1 of 3 frames without one." in page.text
    assert "5 dB, doubtful below" in page.text
    assert "movie SNR (dB) voxel x (µm) Neu1 20 0.5 Neu2 – 0.25" in page.text
    assert "normalised" not in page.text
    assert "min_snr=5.0 set spacing=[1, 2, 3]" in page.text
    assert "operator frame-quality, version 3 leuko@1" in page.text
    assert f"dpipe.open('{outcome().where}', 'leuko@1')" in page.text
    assert "dpipe verify leuko@1 leuko-quality@1 leuko-thumbnails@1 table@1 --store" in page.text
    assert "numpy" in page.text
    assert "cannot be shown" not in page.text
    # 2 + 2 + 2 + 1 items, of which one is used again
    assert "all 6 1 0 7 = 6 + 1 + 0" in page.text


def test_names_are_escaped(store):
    names, colors = (EVIL, "b"), ("00FF00", "FF0000")
    stem = EVIL.replace("/", "_")
    refs = [
        sealed(store, "q", stem, quality([[1, 2]], [[0, 1]], names)),
        sealed(store, "th", stem, thumbnail(names, colors)),
    ]
    table = xr.Dataset({"movie_snr": ("movie", [1.0])}, coords={"movie": [EVIL]})
    refs += [sealed(store, "table", "table", table, min_snr=EVIL)]
    said = {"operator": EVIL, "inputs": {"ds": EVIL}, "params": {EVIL: EVIL}, "sources": [EVIL]}
    labels = [commit(store, n, [r], **said) for n, r in zip("xyz", refs, strict=True)]
    steps = [step(EVIL, v, [r.stem]) for v, r in zip(labels, refs, strict=True)]
    steps[0]["aside"] = [lost(EVIL, EVIL + "\x1b\0\ud800", sources=[EVIL] * 5)]
    page = written(store, *steps, name=EVIL, where=f"/{EVIL} $(x)", code=run.SOME_ASIDE)
    assert EVIL in page.text
    assert f"{EVIL}, {EVIL}, {EVIL} and 2 more" in page.text
    assert "cannot be shown" not in page.text
    assert f"dpipe run --retry {RUN} --store '/<script>" in page.text  # quoted for a shell


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (run.DONE, "Done"),
        (run.SOME_ASIDE, "Done, some put aside"),
        (run.TOO_MANY, "Stopped, too many put aside"),
        (run.BUG, "Ended with a bug"),
        (99, "Ended with 99"),
    ],
)
def test_exit_codes_in_words(store, code, says):
    page = written(store, step("leuko", aside=[lost("Neu1", sources=["Neu1.h5"])]), code=code)
    assert says in page.text
    assert f"Exit code {code}." in page.text
    assert "Neu1 1 truncated Neu1.h5" in page.text
    assert "leuko not committed" in page.text
    assert "Nothing was committed by this run." in page.text


def test_run_with_another_name(store):
    done = outcome(step("leuko"))
    done.run = "by-hand"
    report.write(store, done)
    assert "Started" not in check(store.read("runs/by-hand/report.html").decode()).text


def test_many_put_aside(store, monkeypatch):
    monkeypatch.setattr(report_page, "_MOST_ASIDE", 3)
    page = written(store, step("leuko", aside=[lost(f"N{i}") for i in range(1, 6)]))
    assert "The first 3 of 5; report.json names all." in page.text
    assert "N3" in page.text
    assert "N4" not in page.text


def test_more_movies_than_are_shown(store, monkeypatch):
    monkeypatch.setattr(contents, "MOST_MOVIES", 2)
    refs = [sealed(store, "q", f"N{i}", quality([[9, 9]])) for i in range(4)]
    label = commit(store, "q", refs, operator="frame-quality", inputs={"ds": "old@7"})
    page = written(store, step("q", label, ["N3", "N2"], ["N0", "N1"]))
    assert "2 of 4 movies are shown." in page.text
    heads = page.text.partition("are shown.")[2]
    assert "N2" in heads  # those made come first
    assert "N3" in heads
    assert "N0" not in heads
    assert "doubtful" not in heads  # neither verdicts nor a limit


def test_one_name_in_two_datasets(store):
    """A part's quality stands with the movie that it was made of, not with its namesake."""
    labels = [commit(store, n, [sealed(store, n, "Neu1", movie())], reader="r") for n in "ab"]
    ref = sealed(store, "q", "Neu1", quality([[9, 9]]))
    more = sealed(store, "q2", "Neu1", quality([[8, 8]]))
    judged = [
        commit(store, n, [r], inputs={"ds": labels[1]}) for n, r in (("q", ref), ("q2", more))
    ]
    steps = [step(v[0], v, ["Neu1"]) for v in labels] + [step("q", v, ["Neu1"]) for v in judged]
    shown = contents.gather(store, steps)
    assert [(m.dataset, len(m.quality)) for m in shown.movies] == [("a@1", 0), ("b@1", 2)]
    page = written(store, *steps)
    assert "Neu1 b@1" in page.text
    assert "by q2@1" in page.text


def test_parts_of_other_runs_are_left_out(study):
    store, steps = study
    for one in steps:
        one["made"] = [stem for stem in one["made"] if stem != "Neu2"]
        one["reused"] = []
    assert [m.stem for m in contents.gather(store, steps).movies] == ["Neu1"]


def test_many_channels(store):
    names = [f"c{i}" for i in range(10)]
    label = commit(store, "th", [sealed(store, "th", "N", thumbnail(names, ["FFFFFF"] * 10))])
    page = written(store, step("th", label, ["N"]))
    assert len(page.all("img")) == 8
    assert "and 2 channels more" in page.text


def test_long_table(store, monkeypatch):
    monkeypatch.setattr(contents, "MOST_ROWS", 2)
    held = xr.Dataset(
        {"movie_snr": ("movie", [1.0, 2.0, 3.0]), "movie_name": ("movie", list("abc"))}
    )
    label = commit(store, "table", [sealed(store, "table", "table", held)])
    page = written(store, step("table", label, ["table"]))
    assert "one line a movie. The first 2 of 3. movie SNR 0 1 1 2" in page.text
    assert "saved by hand" in page.text


def damage(store, ref, variable):
    for entry in store.list(ref.base):
        if f"/{variable}/c/" in entry.key:
            store.put(entry.key, b"\0" * entry.size)


def without_channels(ds):
    return ds.drop_vars(["c", "channel_color", "t"], errors="ignore")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(
            lambda s: (r := sealed(s, "d", "N", thumbnail()), damage(s, r, "thumbnail"))[0],
            "the picture in d@1 cannot be shown: memory:",
            id="damaged picture",
        ),
        pytest.param(
            lambda s: (r := sealed(s, "d", "N", quality([[1, 2]])), damage(s, r, "frame_snr"))[0],
            "the quality in d@1 cannot be shown: memory:",
            id="damaged quality",
        ),
        pytest.param(
            lambda s: sealed(s, "d", "N", thumbnail(dtype="u2")),
            "thumbnail is uint16 (2, 20, 40); expected uint8 pixels",
            id="deep picture",
        ),
        pytest.param(
            lambda s: sealed(s, "d", "N", xr.Dataset({"frame_snr": ("t", [1.0])})),
            "variable 'frame_snr' has dims (t)",
            id="other dims",
        ),
        pytest.param(
            lambda s: sealed(s, "d", "N", thumbnail()),
            "the provenance of d@1 cannot be shown",
            id="no seal",
        ),
    ],
)
def test_what_cannot_be_read_is_said(store, make, says):
    ref = make(store)
    good = sealed(store, "d", "other", quality([[1, 2]]))
    label = commit(store, "d", [ref, good])
    if "provenance" in says:
        store.delete(f"{ref.base}.json")
    page = written(store, step("d", label, ["N", "other"]))
    assert says in page.text
    assert "other" in page.text


def test_no_frame_is_said():
    one = contents.Movie("leuko@1", "Neu1")
    empty = quality(np.zeros((0, 2)))
    assert contents._draw([contents._Waiting(one, "q@1", empty, None)])
    assert one.problems == ["the quality in q@1 cannot be shown: frame_snr holds no frame"]


def test_large_parts_are_not_read(store, monkeypatch):
    label = commit(store, "d", [sealed(store, "d", "N", thumbnail())])
    monkeypatch.setattr(contents, "_LARGEST", 100)
    page = written(store, step("d", label, ["N"]))
    assert "bytes; a report reads at most 100" in page.text


def test_version_that_is_gone(store):
    page = written(store, step("d", "d@3", ["N"]))
    assert "d@3 cannot be shown: " in page.text


def test_bugs_are_not_swallowed(store, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    label = commit(store, "d", [sealed(store, "d", "N", thumbnail())])
    monkeypatch.setattr(contents, "_pictures", broken)
    with pytest.raises(ZeroDivisionError):
        report.write(store, outcome(step("d", label, ["N"])))


def test_two_environments(study):
    store, steps = study
    shown = contents.gather(store, steps)
    making = shown.makings[0]
    older = contents.Making(making.version, {**making.provenance, "dpipe": "0.0.1"})
    found = report_page._environments([*shown.makings, older, contents.Making(making.version, {})])
    assert [(e["what"]["dpipe"] == "0.0.1", len(e["for"])) for e in found] == [
        (False, 4),
        (True, 1),
    ]


def test_channels_without_names_and_times(store):
    ds = without_channels(quality([[9, 8], [7, 6]]))
    label = commit(store, "q", [sealed(store, "q", "N", ds)])
    page = written(store, step("q", label, ["N"]))
    assert "frame SNR (dB)" in page.text
    assert "0: 7 to 9 dB. 1: 6 to 8 dB." in page.text


# --- lines


def test_lines_of_datasets():
    done = outcome(
        step("leuko", "leuko@12", ["Neu1"], ["Neu2"], [lost("Neu3", "bad\x1b[31m\nfile", 400)]),
        step("leuko-quality", "", ["Neu1", "Neu2"], seconds=90),
        code=run.SOME_ASIDE,
    )
    assert report.lines(done) == [
        "leuko@12                       1 made  1 reused  1 put aside       2.0 s",
        "leuko-quality (not committed)  2 made  0 reused  0 put aside  1 min 30 s",
        "put aside: leuko/Neu3: bad\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}file",
        "done, some put aside: 404 planned = 3 made + 1 reused + 400 put aside",
    ]


def test_items_of_parts_used_again():
    """With many files a part, the run says how many belong to parts used again."""
    done = outcome(step("a", "a@2", ["x"], ["y"], items=1000, reused_items=600))
    assert report.lines(done)[-1] == "done: 1000 planned = 400 made + 600 reused + 0 put aside"


def test_lines_of_nothing():
    steps = [step("leuko", reused=["a", "b"], aside=[lost("c", "put aside before")]), step("q")]
    assert report.lines(run.Outcome(steps=steps)) == [
        "nothing to do: 2 parts of 2 datasets are there",
        "put aside: leuko/c: put aside before",
    ]


def test_a_name_is_said_once():
    done = outcome(step("groups", "groups@1", ["groups"], notes=["groups: too few", "a: few"]))
    assert report.lines(done)[1:3] == ["note: groups: too few", "note: groups: a: few"]


def test_notes_are_shown_and_escaped(store):
    notes = [f"Neu{i}: <b>odd</b>\x1b" for i in range(30)]
    done = outcome(step("leuko", "leuko@1", ["Neu1"], notes=notes))
    found = report.lines(done)
    assert found[1] == "note: leuko: Neu0: <b>odd</b>\N{REPLACEMENT CHARACTER}"
    assert found[-2] == "... and 10 more notes; the report holds them all"
    where = report.write(store, done)
    page = store.read(where.removeprefix(store.url).lstrip("/")).decode()
    assert "Neu29: &lt;b&gt;odd&lt;/b&gt;" in page


def test_lines_are_not_endless():
    done = outcome(step("leuko", aside=[lost(f"N{i}") for i in range(50)]), code=run.TOO_MANY)
    found = report.lines(done)
    assert len(found) == 1 + 20 + 1 + 1
    assert found[-2] == "... and 30 more put aside; the report names them all"


# --- tables


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        pytest.param([], (), [], id="none"),
        pytest.param(
            [{"a_b": 1, "c": "x"}, {"a_b": 22}], (), ["a b  c", "  1  x", " 22"], id="missing"
        ),
        pytest.param(
            [{"a": "x", "bytes_in": 1023}, {"a": "xyz", "bytes_in": 1536}],
            ("bytes_in", "a"),
            ["bytes in  a", "  1023 B  x", " 1.5 KiB  xyz"],
            id="bytes",
        ),
        pytest.param(
            [{"task_memory": 3 << 30, "bytes": 2048 << 40, "other": 4096}],
            (),
            ["task memory       bytes  other", "    3.0 GiB  2048.0 TiB   4096"],
            id="units",
        ),
        pytest.param(
            [{"a": ["p", "q"], "b": "x\n\x1b[0m"}],
            (),
            ["a     b", "p, q  x\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}[0m"],
            id="lists and controls",
        ),
        pytest.param([{"sizes": {"t": 3, "c": 2}}], (), ["sizes", "t 3, c 2"], id="mapping"),
        pytest.param([{"a": None}], ("a", "b"), ["a  b", ""], id="nothing in it"),
    ],
)
def test_table(rows, columns, expected):
    assert report.table(rows, columns) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0.0, "0"),
        (5.0, "5"),
        (12.345, "12.3"),
        (0.054321, "0.0543"),
        (0.00054321, "5.4e-04"),
        (1234.5, "1,234"),
        (12345.0, "12,345"),
        (math.nan, "–"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (-0.5, "-0.5"),
    ],
)
def test_digits(number, expected):
    assert digits(number) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.041, "0.04 s"),
        (59.94, "59.9 s"),
        (60, "1 min 0 s"),
        (3599.6, "1 h 0 min"),
        (9000, "2 h 30 min"),
    ],
)
def test_duration(seconds, expected):
    assert duration(seconds) == expected


# --- figures


def test_picture_has_the_tint_and_size():
    values = np.array([[0, 51, 255]], "u1")
    url, width, height = report_charts.picture(values, "FF8000", 160)
    image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    # 51/255 = 1/5 of (255, 128, 0); 128 / 5 = 25.6
    assert list(image.convert("RGB").get_flattened_data()) == [
        (0, 0, 0),
        (51, 25, 0),
        (255, 128, 0),
    ]
    assert (width, height) == (3, 1)
    assert report_charts.picture(np.zeros((100, 400), "u1"), "?", 100)[1:] == (100, 25)


@pytest.mark.parametrize("paper", report_charts.PAPER.values())
@pytest.mark.parametrize(
    "color", ["FFFFFF", "000000", "0000FF", "FFFF00", "00ff00", "777777", "red;}", "１２３４５６"]
)
def test_colours_are_legible(color, paper):
    """WCAG 2 contrast, worked out anew: (L1 + 0.05) / (L2 + 0.05)."""

    def luminance(rgb):
        parts = [int(rgb[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    found = report_charts.legible(color, paper)
    assert re.fullmatch("[0-9a-f]{6}", found)
    high, low = sorted((luminance(found), luminance(paper)), reverse=True)
    assert (high + 0.05) / (low + 0.05) >= 4.5


def draw(values, seconds=None, verdicts=None, limit=None, span=(0.0, 20.0), step=30.0):
    values = np.asarray(values, float)
    times = 30.0 * np.arange(len(values)) if seconds is None else np.asarray(seconds, float)
    names = [f"c{i}" for i in range(values.shape[1])]
    colors = ["00FF00"] * len(names)
    given = None if verdicts is None else np.asarray(verdicts)
    return report_charts.chart(
        times, values, names, colors, step=step, span=span, limit=limit, verdicts=given
    )


def test_chart_places_points():
    found = draw([[0], [10], [20]], limit=5)
    # frames at 0, 0.5, 1 min; the axis spans -0.25 to 1.25 min over x = 46 to 512: 466 / 1.5 a
    # minute; values span 0 to 20 dB over y = 134 to 8: 6.3 a decibel
    assert found.lines[0].path == "M123.7 134.0L279.0 71.0L434.3 8.0"
    assert found.limit == 134 - 5 * 6.3
    assert found.y_ticks == ((134.0, "0"), (102.5, "5"), (71.0, "10"), (39.5, "15"), (8.0, "20"))
    assert "1" in [text for _, text in found.x_ticks]
    assert found.x_label == "time (min)"
    assert found.lines[0].lost == ""
    assert found.binned == 1


@pytest.mark.parametrize("gap", [math.nan, math.inf, -math.inf])
def test_chart_leaves_gaps(gap):
    line = draw([[1], [gap], [2], [gap], [3], [3]]).lines[0]
    assert line.path.count("M") == 3
    assert line.lost.count("M") == 2
    assert line.said == "1 to 3 dB, 2 of 6 frames without one"
    assert draw([[gap]]).lines[0].said == "no finite value, 1 of 1 frames without one"


def test_chart_of_one_frame():
    found = draw([[10]], seconds=[90], verdicts=[[1]])
    # a frame of 30 s around 1.5 min fills the axis: its middle is at (46 + 512) / 2
    assert found.x_ticks == ((279.0, "1.5"),)
    assert found.rows[0].paths == ("", "M46.0 140.0H512.0v6H46.0z", "")  # of three, the second
    assert found.lines[0].marks.startswith("M276.2 71.0a")


@pytest.mark.parametrize(
    ("seconds", "step"),
    [([0, math.nan], 30), ([5, 5], 30), ([9, 1], 30), ([3], math.nan), ([3], 0)],
)
def test_chart_of_odd_times(seconds, step):
    found = draw(np.ones((len(seconds), 1)), seconds=seconds, step=step)
    assert found.x_label == ("frame" if len(seconds) > 1 else "time (min)")
    assert all(math.isfinite(x) for x, _ in found.x_ticks)


def deutan(color: str) -> np.ndarray:
    """A colour as people without green cones see it (Machado, Oliveira, Fernandes 2009)."""
    seen = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881]]  # fmt: skip
    rgb = np.frombuffer(bytes.fromhex(color.lstrip("#")), "u1") / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.clip(np.array(seen) @ linear, 0, 1) ** (1 / 2.4)


def test_charts_are_for_everybody(study):
    """Lines of channels that a microscope calls green and red, and verdicts, differ to all."""
    store, steps = study
    page = written(store, *steps)
    raw = store.read(f"runs/{RUN}/report.html").decode()
    ink = set(re.findall("--on-light:#([0-9a-fA-F]{6})", raw))
    assert ink == {report_charts.legible(c.lstrip("#"), "ffffff") for c in plot.COLORS[:2]}
    marks = re.findall("--(good|doubtful|unusable):#([0-9a-f]{6})", raw)[:3]
    assert [f"#{shade}" for _, shade in marks] == [shade.lower() for shade in style.VERDICTS]
    for colors in (ink, {shade for _, shade in marks}):
        for one, other in itertools.combinations(colors, 2):
            assert np.abs(deutan(one) - deutan(other)).max() > 0.25
    said = "maximum over z of frame 7; 40 µm wide; each channel is black to white by itself"
    assert said in page.text


def test_verdicts_lie_below_their_frames():
    found = draw(
        np.ones((4, 2)), seconds=[0, 60, 180, 240], verdicts=[[0, 2], [0, 1], [1, 1], [7, 0]]
    )
    # borders at -0.5, 0.5, 2, 3.5, 4.5 min; 5 min over 466
    at = [46 + 466 * (m + 0.5) / 5 for m in (-0.5, 0.5, 2, 3.5, 4.5)]
    first, second = found.rows
    assert first.counts == (2, 1, 1)  # 7 is none of them and counts as the last
    # the worse the higher, from the same foot: thirds of 9
    assert first.paths[0] == f"M{at[0]:.1f} 143.0H{at[2]:.1f}v3H{at[0]:.1f}z"
    assert first.paths[1] == f"M{at[2]:.1f} 140.0H{at[3]:.1f}v6H{at[2]:.1f}z"
    assert first.paths[2] == f"M{at[3]:.1f} 137.0H{at[4]:.1f}v9H{at[3]:.1f}z"
    assert second.counts == (1, 2, 1)
    assert second.y == 137 + 9 + 3
    assert found.foot == 134 + 2 * 12 + 3


def test_long_movies_are_drawn_small():
    """1000 frames fall together by three; spikes and the worst verdict stay."""
    values, flags = np.full((1000, 1), 10.0), np.zeros((1000, 1), int)
    values[500], flags[500] = 19, 2
    values[600:606] = math.nan
    found = draw(values, verdicts=flags)
    line, row = found.lines[0], found.rows[0]
    assert found.binned == 3
    assert line.path.count("M") == 2
    assert len(re.findall("[ML]", line.path)) == 334 + 1 - 2
    assert " 14.3" in line.path  # 134 - 19 * 6.3
    assert row.counts == (999, 0, 1)
    assert row.paths[2].count("M") == 1


def test_scale_of_no_chart():
    assert report_charts.scales([]) == []
    assert report_charts.scales([(np.array([math.nan]), None)]) == [(-0.05, 1.05)]


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-7, 7, 5, [-5, 0, 5]),
        (0.9, 1.1, 2, [0.9, 1, 1.1]),
        (0, 3000, 8, [0, 500, 1000, 1500, 2000, 2500, 3000]),
    ],
)
def test_ticks(low, high, most, expected):
    assert report_charts.ticks(low, high, most) == expected


# --- the whole way


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A small study with one damaged movie, run by its recipe."""
    folder = tmp_path_factory.mktemp("study")
    path = demo.write_study(folder, movies=2, frames=3, size=(2, 48, 64), damaged=True)
    store = catalog.open_store(str(folder / "store"), create=True)
    settings = Settings.load(None, workers="0")
    done = run.run(recipe.load_recipe(path), store, settings, progress=False)
    where = report.write(store, done)
    again = run.run(recipe.load_recipe(path), store, settings, progress=False)
    return store, done, where, again


def test_story(ran):
    store, done, where, again = ran
    page = check(store.read(f"runs/{done.run}/report.html").decode())
    assert where.startswith(store.url)
    assert "leuko-demo Done, some put aside" in page.text
    assert "leuko@1 2 0 1 3 = 2 + 0 + 1" in page.text
    assert "Neu3 1 Neu3.h5: truncated" in page.text
    assert len(page.pictures) == 2 * 3
    assert len([svg for svg in page.all("svg") if svg.get("class") == "chart"]) == 2
    # 3 frames x 3 channels of each movie, under little noise
    assert page.text.count("9 good 0 doubtful 0 unusable") == 2
    assert "contrast to noise" in page.text
    assert "cannot be shown" not in page.text
    assert "min_snr=5.0" in page.text
    found = report.lines(done)
    assert found[-1].startswith("done, some put aside: ")
    assert report.lines(again)[0].startswith("nothing to do: 9 parts of 5 datasets")
    assert report.write(store, again) == ""


def test_browser_accepts_the_page(ran, tmp_path):
    """Under the page's own policy a browser draws everything and complains of nothing."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    flags += ["--enable-logging=stderr", "--window-size=900,1400", f"--user-data-dir={tmp_path}"]
    flags += [f"--screenshot={tmp_path / 'page.png'}", f"file://{ran[2]}"]
    told = subprocess.run(
        [browser, *flags], capture_output=True, text=True, timeout=120, check=True
    )
    assert "CONSOLE" not in told.stderr
    shot = Image.open(tmp_path / "page.png").convert("RGB")
    greens = [p for p in shot.get_flattened_data() if p[1] > 150 and p[0] < 60 and p[2] < 60]
    assert len(greens) > 50  # the cells of a picture
