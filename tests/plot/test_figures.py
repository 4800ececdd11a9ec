"""Pictures: the numbers that they show, and that they are drawn without anybody's global state."""

import io
import math
import subprocess
import sys
import threading

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from PIL import Image

import dpipe
from dpipe import cli, plot, schema
from dpipe.errors import SchemaError, UsageError
from dpipe.plot import crop_gallery, figure3_panels, quality_sheet, style

NAN = math.nan


@pytest.fixture
def drawing():
    """Skip what draws where there is nothing to draw with."""
    pytest.importorskip("matplotlib", reason="matplotlib (extra plot) is not installed")


# Studies made by hand


def times(step, frames=3):
    return ("t", np.arange(frames) * float(step), {"units": "s", "spacing": float(step)})


def quality(snr, step=30):
    values = np.asarray(snr, float)
    return xr.Dataset({"frame_snr": (("t", "c"), values)}, coords={"t": times(step, len(values))})


def phases(rows, movies, agreement=None, **coords):
    columns = np.asarray(rows, float).T
    held = {v.name: ("event", c) for v, c in zip(schema.PHASES, columns, strict=True)}
    if agreement is not None:
        held["phase_agreement"] = ("event", np.asarray(agreement, float))
    return xr.Dataset(held, coords={"movie": ("event", movies)} | coords)


def tracks(lengths, first, last):
    held = {"track_length": np.asarray(lengths, float), "track_first": first, "track_last": last}
    return xr.Dataset({k: ("track_id", np.asarray(v)) for k, v in held.items()})


def density(cells):
    held = {"cell_count": cells, "cell_distance": cells / 10, "cell_clustered": cells / 100}
    return xr.Dataset({k: (("t", "c"), np.full((2, 1), v)) for k, v in held.items()})


def study():
    """Three datasets of movies and a table, as `gather` gives them."""
    held = {
        "/quality/Neu1": quality([[8, 10], [NAN, 12]], 15),  # (8 + 11) / 2
        "/quality/Neu2": quality([[7.0]], 29.97),
        "/quality/Den1": quality([[3.0]], 60),
        "/density/Neu1": density(20.0),
        "/density/Den1": density(60.0),
        "/measures/Neu1": tracks([12, NAN], [0, 4], [9, 4]),
        "/measures/Den1": tracks([30], [2], [4]),
        "/agreed/Neu1": xr.Dataset(
            {"consensus_ratio": 0.5, "track_agreement": ("track_id", np.ones(2, "u4"))}
        ),
        # 0..3 blebbing, 4..7 disruption; none blebs; no disruption; nothing
        "/phases/table": phases(
            [[0, 3, 4, 7], [NAN, NAN, 5, 9], [2, 5, NAN, NAN], [NAN] * 4],
            ["Neu1", "Neu2", "Den1", "Den1"], agreement=[1, 0.5, NAN, 0.75],
        ),
    }  # fmt: skip
    return xr.DataTree.from_dict(held)


def test_the_numbers_of_figure_3():
    found = {panel.letter: panel for panel in plot.panels(study())}
    shown = {
        letter: {name: values.tolist() for name, values in panel.groups.items()}
        for letter, panel in found.items()
    }
    assert shown == {
        "A": {"Den": [3.0], "Neu": [9.5, 7.0]},
        "B": {"Den": [60.0], "Neu": [15.0, 30.0]},
        "C": {"Den": [60.0], "Neu": [20.0]},
        "D": {"Den": [6.0], "Neu": [2.0]},
        "E": {"Den": [0.6], "Neu": [0.2]},
        "F": {"Neu": [4 / 8, 0.0]},  # 4 of 8 frames before disruption
        "G": {"Den": [30.0], "Neu": [12.0]},
        "H": {"Den": [3.0], "Neu": [10.0, 1.0]},
        "I": {"Neu": [0.5]},
        "J": {"Den": [0.75], "Neu": [1.0, 0.5]},
    }
    assert {k: p.left_out for k, p in found.items() if p.left_out} == {"F": 2, "G": 1, "J": 1}
    assert [found[k].source for k in "ACFGI"] == [
        "quality", "density", "phases", "measures", "agreed"
    ]  # fmt: skip
    assert found["A"].tests.sizes == {"Den": 1, "Neu": 2}
    assert found["B"].tests is None
    assert found["F"].tests is None


def test_movies_are_compared_not_their_events():
    """Forty events of two movies are two movies: no p below 2 / C(4, 2) is possible."""
    starts = {"Neu1": 2, "Neu 2": 3, "Den1": 6, "Den2": 7}
    rows, names = [], []
    for name, start in starts.items():
        rows += [[0, start - 1, start, 9]] * 10
        names += [name] * 10
    (panel,) = plot.panels({"t": phases(rows, names)}, panels="F")
    assert {k: v.size for k, v in panel.groups.items()} == {"Den": 20, "Neu": 20}
    assert panel.movies == {"Den": 2, "Neu": 2}
    assert panel.tests.sizes == {"Den": 2, "Neu": 2}
    assert panel.tests.medians == pytest.approx({"Den": 0.65, "Neu": 0.25})
    assert panel.tests.p == pytest.approx(1 / 3)
    assert panel.tests.pairs["Den", "Neu"] == (4, pytest.approx(1 / 3))
    spelled = phases([[0, 1, 2, 9]] * 2, ["Neu1", "neu 1"])
    (panel,) = plot.panels({"t": spelled}, panels="F")
    assert (panel.movies, panel.groups["Neu"].size) == ({"Neu": 1}, 2)


@pytest.mark.parametrize(
    ("neighbours", "drop", "value", "said"),
    [
        (3, False, 0.75, "at least 2 others within 20 µm, as the figure's caption has it"),
        (3, True, 0.25, "at least 3 others within 20 µm, as the study's text has it"),
        (4, True, 0.25, "at least 4 others within 20 µm, as neither the study's text nor"),
    ],
)
def test_clusters_are_those_of_the_caption(drawing, neighbours, drop, value, said):
    t, c = ("t", "c"), np.ones((1, 1))
    held = xr.Dataset({
        "cell_clustered": (t, c * 0.25, {"neighbours": neighbours, "radius": 20.0}),
        "cell_clustered_three": (t, c * 0.75, {"neighbours": 2, "radius": 20.0}),
    })  # fmt: skip
    held = held.drop_vars("cell_clustered_three") if drop else held
    (panel,) = plot.panels({"Neu1": held}, panels="E")
    assert panel.groups["Neu"].tolist() == [value]
    assert said in panel.rule
    drawn = plot.figure3({"Neu1": held}, panels="E")
    assert said in " ".join(drawn.texts[-1].get_text().split())


def test_a_movie_of_cells_has_both_rules():
    """Three cells in a row, 10 µm apart: the middle one has two others near, and so on."""
    y, x = np.mgrid[:96, :96]
    cells = [200 - 3 * ((y - 24) ** 2 + (x - at) ** 2) for at in (20, 40, 60)]
    pixels = np.maximum(20, np.max(cells, axis=0))[None, None, None].astype("uint8")
    movie = dpipe.schema.movie(pixels, spacing=(2.0, 0.5, 0.5))
    found = dpipe.cell_density(movie, equalise=False, radius=20).compute()
    assert found.cell_clustered.item() == 0
    assert found.cell_clustered_three.item() == 1
    near = dpipe.cell_density(movie, equalise=False, radius=10, neighbours=1).compute()
    assert near.cell_clustered.item() == 1
    assert near.cell_clustered_three.item() == pytest.approx(1 / 3)


def test_durations_are_of_phases_where_there_are_no_tracks():
    held = {"table": phases([[0, 3, 4, 7], [NAN] * 4], ["Neu1", "Neu1"])}
    (panel,) = plot.panels(held, panels="H")
    assert panel.groups["Neu"].tolist() == [8]
    assert panel.left_out == 1
    both = {"/events/table": held["table"], "/measures/Neu1": tracks([12], [0], [9])}
    (panel,) = plot.panels(xr.DataTree.from_dict(both), panels="H")
    assert (panel.source, panel.groups["Neu"].tolist()) == ("measures", [10])


@pytest.mark.parametrize(
    ("step", "said"),
    [(0.333, 0.33), (2.345, 2.3), (9.94, 9.9), (10, 10), (10.4, 10), (29.97, 30), (61.6, 62)],
)
def test_intervals_are_rounded_as_people_say_them(step, said):
    """Two digits below 10 s, whole seconds from there on."""
    held = xr.Dataset(coords={"t": ("t", [0.0, step], {"spacing": step, "units": "s"})})
    (panel,) = plot.panels({"Neu1": held}, panels="B")
    assert panel.groups["Neu"].tolist() == [said]


def test_annotators_apart_come_last():
    said = phases([[0, 1, 2, 3]] * 3, ["Neu1"] * 3, annotator=("event", ["a", "b", "c"]))
    tree = xr.DataTree.from_dict({"/one/t": said, "/two/t": phases([[0, 3, 4, 7]], ["Neu1"])})
    (panel,) = plot.panels(tree, panels="F")
    assert (panel.source, panel.groups["Neu"].size) == ("two", 1)
    (panel,) = plot.panels({"t": said}, panels="F")
    assert panel.groups["Neu"].size == 3


def test_what_people_hold():
    one = quality([[5.0]]).assign_attrs(stem="Mac3")
    (panel,) = plot.panels(one, panels="A")
    assert list(panel.groups) == ["Mac"]
    flat = xr.DataTree.from_dict({"/Neu1": one, "/7": one})
    (panel,) = plot.panels(flat, panels="A")
    assert (list(panel.groups), panel.source) == (["Neu", "no group"], "")
    assert panel.tests is None  # those without a group are no group
    table = xr.Dataset({"movie_snr": ("movie", [4.0, 6.0])}, coords={"movie": ["Neu1", "Neu2"]})
    (panel,) = plot.panels({"table": table}, panels="A")
    assert panel.groups["Neu"].tolist() == [4, 6]


def test_groups_by_a_condition():
    table = xr.Dataset(
        {"organ": ("movie", ["node", "spleen"])}, coords={"movie": ["Neu 1", "Neu2"]}
    )
    held = {"table": table, "Neu1": quality([[5.0]]), "Neu2": quality([[6.0]])}
    (panel,) = plot.panels(held, by="organ", panels="A")
    assert {k: v.tolist() for k, v in panel.groups.items()} == {"node": [5], "spleen": [6]}
    with pytest.raises(UsageError, match="unknown condition 'organs'; did you mean 'organ'"):
        plot.panels(held, by="organs")


@pytest.mark.parametrize(
    "data",
    [
        {},
        xr.DataTree(),
        xr.Dataset(),
        {"Neu1": quality([[NAN], [math.inf]]).drop_vars("t")},
        {"t": phases(np.zeros((0, 4)), np.asarray([], str))},
        {"Neu1": tracks(np.zeros(0), np.zeros(0, int), np.zeros(0, int))},
        {"Neu1": xr.Dataset({"frame_snr": ("x", ["a"])}).drop_vars("frame_snr")},
        {"Neu1": xr.Dataset({"blebbing_start": ("event", [1.0])})},
        {"Neu1": xr.Dataset(coords={"t": [0.0]})},
    ],
    ids=["none", "no tree", "no data", "NaN", "no event", "no track", "no variable",
         "one phase of four", "one frame, no interval"],
)  # fmt: skip
def test_nothing_to_draw_breaks_nothing(drawing, data):
    found = plot.panels(data)
    assert [panel.letter for panel in found] == list("ABCDEFGHIJ")
    assert not any(panel.groups for panel in found)
    drawn = plot.figure3(data)
    words = [text.get_text() for ax in drawn.axes for text in ax.texts]
    assert sum(word.startswith("no data: needs") for word in words) == 10


def test_an_unknown_panel():
    with pytest.raises(UsageError, match="panels: found 'AZ'; expected some of ABCDEFGHIJ"):
        plot.panels({}, panels="AZ")


# Figure 3 on paper


def many(count, shift=0.0, kinds=("Neu", "Den")):
    rng = np.random.default_rng(0)
    return {
        f"{kind}{i}": quality(rng.normal(8 + shift * k, 1, (3, 2)))
        for k, kind in enumerate(kinds)
        for i in range(count)
    }


def dots(ax):
    drawn = [c.get_offsets()[:, 1] for c in ax.collections if hasattr(c, "get_sizes")]
    return np.sort(np.concatenate(drawn))


def test_the_dots_are_the_numbers(drawing):
    data = many(8, shift=6)
    drawn = plot.figure3(data, panels="AB")
    snr, bars = drawn.axes
    (panel,) = plot.panels(data, panels="A")
    np.testing.assert_allclose(dots(snr), np.sort(np.concatenate(list(panel.groups.values()))))
    assert [label.get_text() for label in snr.get_xticklabels()] == ["Den\n(8)", "Neu\n(8)"]
    assert snr.get_ylabel() == "SNR (dB)"
    words = [text.get_text() for text in snr.texts]
    assert "***" in words  # 8 against 8, wholly apart: p = 2 / C(16, 8)
    assert "Kruskal-Wallis p < 0.001 ***" in words
    assert [bar.get_height() for bar in bars.patches] == [8, 8]
    assert [label.get_text() for label in bars.get_xticklabels()] == ["30"]
    low, high = snr.get_ylim()
    assert low <= dots(snr).min()
    assert dots(snr).max() < high


def test_groups_that_are_too_small_are_said(drawing):
    drawn = plot.figure3(many(2, shift=9), panels="A")
    words = [text.get_text() for text in drawn.axes[0].texts]
    assert "Kruskal-Wallis p = 0.33 ns, n too small" in words
    legend = " ".join(drawn.texts[-1].get_text().split())
    assert "n too small: so few movies cannot have a p below 0.05." in legend
    assert "Tests compare movies" in legend
    assert "not corrected for the 1 pairs" in legend
    events = phases([[0, 3, 4, 7]] * 3, ["Neu1", "Neu1", "Neu2"])
    ax = plot.figure3({"t": events}, panels="F").axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["Neu\n(3 in 2)"]


def test_no_stars_where_nothing_differs(drawing):
    snr = plot.figure3(many(8), panels="A").axes[0]
    assert not {text.get_text() for text in snr.texts} & {"*", "**", "***", "ns"}


def test_shares_go_from_0_to_1(drawing):
    ax = plot.figure3(study(), panels="E").axes[0]
    assert ax.get_ylim() == pytest.approx((-0.03, 1.03))
    assert ax.get_yticks().tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_many_groups_and_many_dots(drawing):
    kinds = [f"{chr(65 + i)}x" for i in range(26)]
    ax = plot.figure3(many(2, 1, kinds), panels="A").axes[0]
    assert len(ax.get_xticklabels()) == 24
    assert ax.get_xticklabels()[0].get_rotation() == 55
    assert any("2 groups not shown" in text.get_text() for text in ax.texts)
    events = phases(np.tile([0, 3, 4, 7], (4000, 1)), ["Neu1"] * 4000)
    assert len(dots(plot.figure3({"t": events}, panels="F").axes[0])) <= 1500


def test_equal_and_negative_numbers(drawing):
    for values in ([0.0, 0.0], [5.0, 5.0], [-3.0, -1.0]):
        held = {f"Neu{i}": quality([[v]]) for i, v in enumerate(values)}
        ax = plot.figure3(held, panels="A").axes[0]
        assert sorted(values) == dots(ax).tolist()


def test_names_are_drawn_as_they_are(drawing):
    held = {"$x^2$ \U0001f9ea\n<b>1": quality([[5.0]]), "b": quality([[6.0]])}
    table = xr.Dataset({"organ": ("movie", ["$\\frac$", "\u4e2d" * 40])},
                       coords={"movie": list(held)})  # fmt: skip
    drawn = plot.figure3({"t": table} | held, by="organ")
    plot.png(drawn)
    labels = [label.get_text() for label in drawn.axes[0].get_xticklabels()]
    assert labels[0] == "\\$\\frac\\$\n(1)"
    assert labels[1].startswith("\N{WHITE SQUARE}" * 15 + "\N{HORIZONTAL ELLIPSIS}")


def test_p_in_words():
    assert style.p_said(0.0004, "***") == "p < 0.001 ***"
    assert style.p_said(0.0321, "*") == "p = 0.032 *"
    assert style.p_said(0.5, "ns") == "p = 0.50 ns"


def test_dots_stand_beside_each_other():
    assert style.swarm(np.zeros(0), 0.3).tolist() == []
    same = style.swarm(np.ones(3), 0.3)
    assert same == pytest.approx([-0.1, 0, 0.1])  # 2 x 0.3 over at least 6
    apart = style.swarm(np.arange(5.0), 0.3)
    assert apart.tolist() == [0] * 5
    assert np.abs(style.swarm(np.ones(500), 0.3)).max() <= 0.3


# The gallery


def crops(events=("event",), frames=6, size=5, volume=False, stem="Neu1"):
    """Make crops of `size` pixels of 0.5 micrometres, in which each frame has its own grey."""
    count, channels = len(events), 2
    shape = (count, frames, channels, *((3,) if volume else ()), size, size)
    pixels = np.zeros(shape, "u2")
    pixels += (100 * np.arange(frames)).reshape(1, frames, *[1] * (len(shape) - 2)).astype("u2")
    pixels[:, :, 1] += 7
    places = 0.5 * (np.arange(size) - size // 2)
    over = ("event", "t")
    move = np.tile(np.arange(frames) * 0.5, (count, 1))  # one pixel a frame along x
    phase = np.tile(np.minimum(np.arange(frames) // 2, 2), (count, 1)).astype("u1")
    dims = ("event", "t", "c", *(("z",) if volume else ()), "y", "x")
    return xr.Dataset(
        {"crop_volume" if volume else "crop": (dims, pixels)},
        coords={
            "event": [f"{stem}_cell{i + 1}" for i in range(count)],
            "t": times(30, frames),
            "c": ["GFP", "DiD"],
            "y": ("y", places, {"spacing": 0.5}),
            "x": ("x", places, {"spacing": 0.5}),
            "kind": ("event", list(events)),
            "label": ("event", [int(kind == "event") for kind in events]),
            "movie": ("event", [stem] * count),
            "event_channel": ("event", ["DiD"] * count),
            "crop_frame": (over, np.tile(np.arange(frames) + 3, (count, 1))),
            "crop_phase": (over, phase),
            "crop_y": (over, np.full((count, frames), 10.0)),
            "crop_x": (over, 20 + move),
        },
    )


def test_a_row_of_the_gallery():
    (row,) = plot.rows(crops(), columns=3)
    assert (row.name, row.said, row.pixel) == ("Neu1_cell1", "apoptotic\nDiD", 0.5)
    # frames 0, 2 or 3, 5 evenly; the first of blebbing (2) and of disruption (4) are among them
    assert row.seconds.tolist() == [0, 60, 120]
    assert row.phases.tolist() == [0, 1, 2]
    # grey values 7, 207, 407: the percentiles 0.5 and 99.7 of 75 pixels are their ends
    assert [int(p.min()) for p in row.pictures] == [int(p.max()) for p in row.pictures]
    assert [int(p[0, 0]) for p in row.pictures] == [0, 128, 255]
    # the window follows the event, one pixel a frame: it was at the left of the middle (2, 2)
    assert row.paths[0].tolist() == [[2, 2]]
    assert row.paths[1].tolist() == [[2, 0], [2, 1], [2, 2]]
    assert row.outlines == [[], [], []]


def test_volumes_and_channels():
    (row,) = plot.rows(crops(volume=True), channel="GFP")
    assert row.said == "apoptotic\nGFP"
    assert row.pictures.shape == (6, 5, 5)
    with pytest.raises(UsageError, match="channel: unknown channel 'DID'"):
        plot.rows(crops(), channel="DID")


@pytest.mark.parametrize(
    ("marked", "channel"),
    [
        ("DiD", 1),
        ("ch2", 1),
        ("Channel 2", 1),
        ("ch1,ch2", 0),
        ("SHG, DiD", 1),
        ("ch3", 0),
        ("", 0),
    ],
)
def test_the_channel_of_an_event(marked, channel):
    ds = crops().assign_coords(event_channel=("event", [marked]))
    (row,) = plot.rows(ds)
    assert row.said == f"apoptotic\n{['GFP', 'DiD'][channel]}"


def test_only_what_is_shown_is_computed():
    ds = crops(("event", "cell"))
    seen = []

    def look(block):
        seen.append(block.shape)
        return block

    lazy = ds.assign(crop=ds["crop"].chunk({"event": 1, "t": 1, "c": 1}))
    lazy["crop"] = lazy["crop"].copy(data=lazy["crop"].data.map_blocks(look, dtype="u2"))
    seen.clear()
    plot.rows(lazy, most=1, columns=2)
    assert len([shape for shape in seen if 0 not in shape]) == 2


def test_outlines_lie_where_the_window_does():
    """The window's middle is at (10, 20 + t / 2) micrometres, voxels are of one micrometre."""
    labels = np.zeros((6, 2, 30, 40), "u2")
    labels[:, 1, 10, 20] = 3
    one = {d: (d, np.arange(float(n)), {"spacing": 1.0}) for d, n in (("y", 30), ("x", 40))}
    masks = xr.Dataset({"labels": (("t", "z", "y", "x"), labels)}, coords=one)
    (row,) = plot.rows(crops(), masks={"Neu1": masks}, columns=6)
    # frame 3 is the first of six: the movie has frames 0 to 5, so three are shown with outlines
    assert [len(lines) for lines in row.outlines] == [1, 1, 1, 0, 0, 0]
    (line,) = row.outlines[0]
    # pixels at 19.0, 19.5, 20.0, 20.5, 21.0 show voxels 19, 20, 20, 20, 21 (halves to even)
    assert (line[:, 1].min(), line[:, 1].max()) == (0.5, 3.5)
    assert plot.rows(crops(), masks={"Neu2": masks})[0].outlines[0] == []


def test_events_of_all_kinds_and_movies_in_turn():
    held = {s: crops(("event", "event", "event", "cell", "before"), stem=s) for s in ("A1", "B2")}
    said = {n: [row.name for row in plot.rows(held, most=n)] for n in (1, 4, 8, 99)}
    assert said[1] == ["A1_cell1"]
    assert said[4] == ["A1_cell1", "A1_cell2", "B2_cell1", "B2_cell2"]
    assert said[8] == [
        "A1_cell1", "A1_cell2", "B2_cell1", "B2_cell2", "A1_cell4", "B2_cell4", "A1_cell5",
        "B2_cell5",
    ]  # fmt: skip
    assert len(said[99]) == 10


@pytest.mark.parametrize(
    ("there", "phases", "columns", "chosen"),
    [
        ([0, 1, 2, 3, 4, 5, 6], [0] * 7, 3, [0, 3, 6]),
        ([2, 5], [0] * 7, 9, [2, 5]),
        ([], [0] * 7, 3, []),
        ([0, 1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 1, 2, 2], 3, [0, 2, 5]),
        ([0, 1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 1, 2, 2], 1, [2]),
    ],
    ids=["evenly", "few", "none", "first of each phase", "one"],
)
def test_frames_of_a_row(there, phases, columns, chosen):
    found = crop_gallery._frames(np.asarray(there, int), np.asarray(phases), columns)
    assert found.tolist() == chosen


@pytest.mark.parametrize("value", [0.0, 5.0, NAN])
def test_pictures_of_one_grey_value(value):
    pixels = np.full((1, 2, 2), value)
    assert crop_gallery._stretched(pixels, *crop_gallery._limits([pixels])).tolist() == [
        [[0, 0], [0, 0]]
    ]


def test_one_bright_pixel_is_seen():
    pixels = np.zeros((1, 40, 40))
    pixels[0, 3, 3] = 9
    assert crop_gallery._stretched(pixels, *crop_gallery._limits([pixels]))[0, 3, 3] == 255


def test_all_rows_have_one_contrast_unless_each_has_its_own(drawing):
    """Den1 is three times as bright: of the darker rows nothing is stretched, unless it is said."""
    dark, bright = crops(), crops(stem="Den1")
    bright["crop"] = bright["crop"] * 3
    held = {"Neu1": dark, "Den1": bright}
    one, other = plot.rows(held)
    assert [(row.low, row.high) for row in (one, other)] == [(7, 1521)] * 2
    # grey 507 of 7 to 1521 is (507 - 7) / (1521 - 7) of white: 84
    assert [int(row.pictures[-1].max()) for row in (one, other)] == [255, 84]
    apart = plot.rows(held, contrast="row")
    assert [(row.low, row.high) for row in apart] == [(21, 1521), (7, 507)]
    assert [int(row.pictures[-1].max()) for row in apart] == [255, 255]

    def words(drawn):
        return [t.get_text() for t in (*drawn.texts, *drawn.axes[0].texts)]

    said = words(plot.gallery(held))
    assert any("grey values 7 to 1521 in every row" in text for text in said)
    said = words(plot.gallery(held, contrast="row"))
    assert any("the grey values beside each row" in text for text in said)
    bits = {"Neu1": dark.assign(crop=dark["crop"].astype("u1")), "Den1": bright, "Den2": bright}
    found = [(row.low, row.high) for row in plot.rows(bits)]  # 507 of 8 bits is 251
    assert found[:2] == [(21, 1521)] * 2
    assert found[2][1] < 256
    assert [text for text in said if "grey 21 to 1521" in text]
    with pytest.raises(UsageError, match="contrast: found 'best'; expected gallery or row"):
        plot.rows(held, contrast="best")


def test_the_clock_goes_by_the_times_of_the_movie():
    """Its frames 3 to 8 were at 90, 120, 165, 180, 220 and 250 s; the event begins in frame 4."""
    ds = crops().assign_coords(crop_time=(("event", "t"), [[90.0, 120, 165, 180, 220, 250]]))
    ds = ds.assign_coords(t=("t", np.arange(6) * 30.0 - 30, {"units": "s", "spacing": 30.0}))
    (row,) = plot.rows(ds, columns=6)
    assert row.seconds.tolist() == [-30, 0, 45, 60, 100, 130]
    (even,) = plot.rows(ds.drop_vars("crop_time"), columns=6)
    assert even.seconds.tolist() == [-30, 0, 30, 60, 90, 120]


def test_each_row_has_the_bar_of_its_own_scale(drawing):
    """5 pixels of 0.5 µm: a third is 0.83 µm; 5 of 4 µm: 6.7 µm."""
    wide = crops(stem="Den1")
    wide = wide.assign_coords({d: (d, wide[d].values * 8, {"spacing": 4.0}) for d in "yx"})
    drawn = plot.gallery({"Neu1": crops(), "Den1": wide})
    (ax,) = drawn.axes
    bars = [t.get_text() for t in ax.texts if t.get_text().endswith(" µm")]
    assert bars == ["5 µm", "0.5 µm"]
    lines = [line.get_xdata() for line in ax.lines if line.get_color() == "white"]
    assert [float(x[1] - x[0]) for x in lines] == [5 / 4, 0.5 / 0.5]


@pytest.mark.parametrize(
    ("data", "said", "error", "words"),
    [
        ({}, {}, SchemaError, "a gallery needs crops"),
        (xr.Dataset({"crop": ("event", [1])}), {}, SchemaError, "'crop' has dims"),
        (crops(), {"most": 0}, UsageError, "most: found 0"),
        (crops(), {"columns": True}, UsageError, "columns: found True"),
    ],
    ids=["none", "other dims", "most", "columns"],
)
def test_what_is_no_gallery(data, said, error, words):
    with pytest.raises(error, match=words):
        plot.rows(data, **said)


def test_a_gallery_is_drawn(drawing):
    held = {"Neu1": crops(("event", "cell")), "Neu2": crops(size=9, stem="Neu2")}
    held["Neu2"]["crop_frame"][:] = -1  # nowhere in the movie
    drawn = plot.gallery(held)
    (ax,) = drawn.axes
    words = [text.get_text() for text in ax.texts]
    assert [w for w in words if w.endswith(("cell1", "cell2"))] == [
        "Neu1_cell1", "Neu2_cell1", "Neu1_cell2"
    ]  # fmt: skip
    assert "no frame of it lies in the movie" in words
    assert {"H  0:00", "B  1:00", "D  2:00"} <= set(words)
    assert "0.5 µm" in words  # a third of 2.5 micrometres
    legend = [text.get_text() for text in drawn.texts]
    assert legend[:4] == ["H  healthy", "B  blebbing", "D  disruption", "track so far"]
    assert plot.png(plot.gallery(plot.rows(held))) == plot.png(drawn)
    (mosaic,) = ax.images
    np.testing.assert_array_equal(mosaic.get_array()[:5, :5], plot.rows(held)[0].pictures[0])
    plot.png(drawn)


def test_a_gallery_of_nothing_but_pixels(drawing):
    kept = ["event", "t", "c", "y", "x"]
    bare = crops().reset_coords(drop=True).drop_vars(["y", "x", "c"])
    assert set(bare.coords) <= set(kept)
    plot.png(plot.gallery(bare.drop_vars("event")))
    empty = crops().isel(event=slice(0, 0))
    with pytest.raises(SchemaError, match="holds no event"):
        plot.gallery(empty)


def test_a_cell_is_not_healthy_again(drawing):
    ds = crops()
    ds["crop_phase"].values[0] = [0, 1, 0, 2, 0, 255]
    (ax,) = plot.gallery(ds).axes
    words = [text.get_text() for text in ax.texts]
    assert {"H  0:00", "B  0:30", "1:00", "D  1:30", "2:00", "2:30"} <= set(words)
    strips = [patch.get_facecolor()[:3] == (1, 1, 1) for patch in ax.patches]
    assert strips == [False, False, True, False, True, True], "white where no phase is said"


def test_time_on_a_clock():
    assert [style.clock(s) for s in (-75, 30.4, NAN)] == ["−1:15", "0:30", ""]


# A movie's sheet


def movie(frames=3, channels=("GFP", "DiD"), dtype="u1"):
    pixels = np.random.default_rng(0).integers(0, 200, (frames, len(channels), 2, 12, 16))
    ds = schema.movie(pixels.astype(dtype), spacing=(2, 0.5, 0.5), interval=30, channels=channels)
    return ds.assign_attrs(stem="Neu1")


def judged(ds):
    shape = (ds.sizes["t"], ds.sizes["c"])
    snr = np.arange(float(np.prod(shape))).reshape(shape)
    snr[0, 0] = NAN
    flags = np.zeros(shape, "u1")
    flags[0, 0], flags[-1, -1] = 2, 1
    return xr.Dataset({"frame_snr": (("t", "c"), snr), "quality_flag": (("t", "c"), flags)})


def test_what_a_sheet_shows():
    ds = movie()
    found = quality_sheet.sheet(ds, [ds, judged(ds)], None, 5.0)
    assert (found.stem, found.frame, list(found.names)) == ("Neu1", 1, ["GFP", "DiD"])
    assert found.facts == (
        "3 frames every 30 s, 2 × 12 × 16 voxels of 2 × 0.5 × 0.5 µm (z, y, x), uint8"
    )
    assert found.minutes.tolist() == [0, 0.5, 1]
    assert found.extent == (6, 8)
    assert found.counts.sum(axis=1).tolist() == [2 * 12 * 16] * 2  # every voxel is counted
    bins = np.digitize(ds.image.values[1, 0].ravel(), found.edges) - 1
    np.testing.assert_array_equal(
        found.counts[0], np.bincount(bins, minlength=found.counts[0].size)
    )
    assert found.lines["frame_snr"][2].tolist() == [4, 5]
    assert found.verdicts.tolist() == [[2, 0], [0, 0], [0, 1]]
    assert found.pictures[0].shape == (12, 16)


def test_a_sheet_is_drawn(drawing):
    ds = movie()
    drawn = plot.movie_sheet(ds, judged(ds))
    titles = [ax.get_title(loc="left") for ax in drawn.axes]
    assert titles == ["", "", "Grey values", "Signal to noise"]
    snr = drawn.axes[3]
    assert [line.get_ydata()[-1] for line in snr.lines[:2]] == [4, 5]
    words = [text.get_text() for text in snr.texts]
    assert {"4 good", "1 doubtful", "1 unusable", "5 dB"} <= set(words)
    assert drawn.axes[0].texts[0].get_text() == "GFP: maximum over z, frame 1, grey 27.83 to 199"
    plot.png(drawn)


@pytest.mark.parametrize(
    "ds",
    [
        movie(1, ("a",)),
        movie(2, list("abcdef")),
        movie(dtype="f4").map(lambda v: v * NAN),
        movie().map(lambda v: v * 0),
        movie().drop_vars(["t", "c"]),
        movie().assign(frame_focus=(("t", "c"), np.full((3, 2), NAN))),
        movie().assign(frame_saturated=(("t", "c"), np.zeros((3, 2)))),
        movie().assign(frame_snr=(("t", "c"), np.full((3, 2), -2.0))),
    ],
    ids=["one frame", "six channels", "NaN", "zeros", "no coordinates", "focus NaN", "flat",
         "no verdicts"],
)  # fmt: skip
def test_a_sheet_of_anything(drawing, ds):
    drawn = plot.movie_sheet(ds, limit=None)
    plot.png(drawn)
    known = any(name.startswith("frame_") for name in map(str, ds.data_vars))
    words = [text.get_text() for ax in drawn.axes for text in ax.texts]
    assert any("needs\nframe-quality" in word for word in words) != known


@pytest.mark.parametrize(
    ("ds", "said", "error", "words"),
    [
        (xr.Dataset(), {}, SchemaError, "no variable 'image'"),
        (movie(), {"frame": 3}, UsageError, "frame: found 3; the movie has the frames 0 to 2"),
        (movie(), {"frame": True}, UsageError, "frame: found True"),
        (movie().isel(x=slice(0, 0)), {}, SchemaError, "a sheet needs at least one frame"),
        (movie().assign(frame_snr=(("time", "c"), np.zeros((2, 2)))), {}, SchemaError, "has dims"),
    ],
)
def test_what_is_no_sheet(ds, said, error, words):
    with pytest.raises(error, match=words):
        plot.movie_sheet(ds, **said)


def test_measures_of_another_movie():
    with pytest.raises(SchemaError, match="the movie has 3 frames and 2 channels"):
        plot.movie_sheet(movie(), judged(movie(5)))


def test_a_frame_too_large(monkeypatch):
    monkeypatch.setattr(quality_sheet, "_LARGEST", 100)
    with pytest.raises(UsageError, match="take a smaller level"):
        plot.movie_sheet(movie())


# Files, threads, missing libraries


@pytest.mark.parametrize(
    ("name", "begins"), [("a.png", b"\x89PNG"), ("b/a.svg", b"<?xml"), ("a.PDF", b"%PDF")]
)
def test_files(drawing, tmp_path, name, begins):
    path = plot.save(plot.figure3({}, panels="A"), tmp_path / name)
    with open(path, "rb") as file:
        assert file.read().startswith(begins)


def test_files_that_cannot_be(drawing, tmp_path):
    drawn = plot.figure3({}, panels="A")
    with pytest.raises(UsageError, match=r"cannot draw \.jpg; expected \.png"):
        plot.save(drawn, tmp_path / "a.jpg")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        plot.save(drawn, tmp_path / "file" / "a.png")


def test_png_is_small_and_of_few_colours(drawing):
    data, width, height = plot.png(plot.figure3(study()), dpi=60, colors=16)
    image = Image.open(io.BytesIO(data))
    assert image.size == (width, height)
    assert image.mode == "P"
    assert len(data) < 60_000


def test_threads_draw_the_same(drawing):
    expected = plot.png(plot.figure3(many(4), panels="AB"))[0]
    found = [b""] * 4

    def work(i):
        found[i] = plot.png(plot.figure3(many(4), panels="AB"))[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_no_pyplot_and_no_settings_are_touched(drawing):
    """Also: importing dpipe does not import matplotlib at all."""
    code = (
        "import sys, xarray as xr, dpipe\n"
        "from dpipe import plot\n"
        "assert 'matplotlib' not in sys.modules\n"
        "import matplotlib\n"
        "before = matplotlib.rcParams.copy()\n"
        "plot.png(plot.figure3(xr.Dataset()))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert dict.__eq__(matplotlib.rcParams, before)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(style, "available", lambda: False)
    with pytest.raises(UsageError, match=r"pip install 'dpipe\[plot\]'"):
        plot.figure3({})


# Stores and the command line


@pytest.fixture
def store(tmp_path):
    url = str(tmp_path / "store")
    rng = np.random.default_rng(3)
    pixels = rng.poisson(30, (3, 2, 2, 40, 48)).astype("u1")
    films = {
        s: schema.movie(pixels, spacing=(2, 0.5, 0.5), interval=30, channels=["GFP", "DiD"])
        for s in ("Neu1", "Den1")
    }
    dpipe.save(films, url, "leuko", message="")
    dpipe.save(dpipe.each(films, "frame-quality"), url, "quality", message="")
    dpipe.save(crops(("event", "cell")), url, "crops", message="")
    table = xr.Dataset({"organ": ("movie", ["node"])}, coords={"movie": ["Neu1"]})
    dpipe.save({"table": table}, url, "conditions", message="")
    return url


def test_what_is_gathered(store):
    tree = plot.gather(store)
    # the movies themselves tell nothing that their quality does not
    assert {node.path for node in tree.leaves} == {
        "/quality/Neu1", "/quality/Den1", "/conditions/table"
    }  # fmt: skip
    kept = {str(name) for node in tree.leaves for name in node.dataset.data_vars}
    assert kept == {"frame_snr", "organ"}
    assert isinstance(tree["/quality/Neu1/frame_snr"].variable._data, np.ndarray)
    snr, step = plot.panels(tree, panels="AB")
    assert {k: v.size for k, v in snr.groups.items()} == {"Den": 1, "Neu": 1}
    assert step.groups["Neu"].tolist() == [30]
    assert len(list(plot.gather(store, "quality").leaves)) == 2
    (step,) = plot.panels(plot.gather(store, "leuko"), panels="B")
    assert {k: v.tolist() for k, v in step.groups.items()} == {"Den": [30], "Neu": [30]}
    (organ,) = plot.panels(tree, by="organ", panels="A")
    assert list(organ.groups) == ["node", "no group"]


def test_what_dpipe_open_gives_can_be_drawn(store):
    tree = dpipe.open(store, "quality")
    assert {k: v.size for k, v in plot.panels(tree, panels="A")[0].groups.items()} == {
        "Den": 1, "Neu": 1
    }  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        "figure3",
        "figure3 quality --panels AB",
        "figure3 --by organ",
        "gallery crops --most 1 --columns 3 --channel GFP",
        "sheet leuko quality --part Neu1 --frame 0",
    ],
)
def test_the_command_line(drawing, store, tmp_path, words):
    path = tmp_path / "out" / "a.png"
    args = ["plot", *words.split(), "--store", store, "--to", str(path)]
    result = CliRunner().invoke(cli.cli, args, catch_exceptions=False)
    assert result.output == f"{path}\n"
    with Image.open(path) as image:
        assert image.size[0] > 300


def test_mistakes_on_the_command_line(store, tmp_path, capsys):
    args = ["plot", "gallery", "quality", "--store", store, "--to", str(tmp_path / "a.png")]
    with pytest.raises(SystemExit) as ended:
        cli.main(args)
    assert ended.value.code == 2
    assert "a gallery needs crops" in capsys.readouterr().err


def test_colours_differ_in_lightness_too():
    """Phases can be told apart in grey."""

    def grey(color):
        return sum(int(color[i : i + 2], 16) * w for i, w in ((1, 0.3), (3, 0.59), (5, 0.11)))

    shades = sorted(grey(color) for _, _, color in style.PHASES.values())
    assert min(np.diff(shades)) > 25
    assert len(set(style.COLORS)) == len(set(style.MARKERS)) == 7
    assert figure3_panels._COLUMNS == 4
