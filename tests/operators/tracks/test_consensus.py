"""The consensus finds what was planted: who agrees, where, and on how much."""

import math

import numpy as np
import pytest
import xarray as xr

from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import consensus_phases, consensus_tracks

NAN = math.nan


def marked(*tracks, radius=False):
    """Make a table of spots of (annotator, number, frames, x, y) each."""
    rows = [
        (who, number, frame, a, b)
        for who, number, frames, x, y in tracks
        for frame, a, b in zip(frames, np.broadcast_to(x, len(frames)),
                               np.broadcast_to(y, len(frames)), strict=True)
    ]  # fmt: skip
    who, number, frame, x, y = zip(*rows, strict=True)
    held = {"spot_t": np.asarray(frame) * 30.0, "spot_z": np.zeros(len(rows)), "spot_y": y}
    held |= {"spot_x": x} | ({"spot_radius": np.arange(len(rows)) * 1.0} if radius else {})
    ds = xr.Dataset({name: ("spot", np.asarray(v, float)) for name, v in held.items()})
    return ds.assign_coords(
        track=("spot", list(number)), frame=("spot", list(frame)), annotator=("spot", list(who))
    )


def values(ds, *names):
    return [ds[name].values.tolist() for name in names]


def test_three_who_agree():
    # x 0, 1 and 5 in every frame: the closest two are 0 and 1; the third ends earlier, then
    # two are left, then one, which is outside of the event
    ds = consensus_tracks(
        marked(("a", 4, range(6), 0, 0), ("b", 9, range(1, 5), 1, 0), ("c", 7, range(1, 3), 5, 0))
    )
    assert values(ds, "frame", "spot_x", "spot_agreement", "spot_t") == [
        [1, 2, 3, 4], [0.5] * 4, [3, 3, 2, 2], [30, 60, 90, 120],
    ]  # fmt: skip
    assert values(ds, "track", "track_id", "track_agreement", "track_left_out") == [
        [0] * 4, [0], [3], [0],
    ]  # fmt: skip
    assert values(ds, "person", "annotator_track") == [["a", "b", "c"], [[4, 9, 7]]]
    assert ds.consensus_ratio.item() == 1
    assert ds.attrs == {"annotators": 3}


def test_of_pairs_as_close_the_longer_goes_first():
    ds = consensus_tracks(
        marked(("a", 1, range(4), 0, 0), ("b", 1, [0], 1, 0), ("b", 2, [1, 2, 3], 1, 0)),
        annotators=2,
    )
    assert values(ds, "annotator_track", "frame") == [[[1, 2], [-1, 1]], [1, 2, 3]]


def test_frames_that_fewer_than_two_marked_are_left_out():
    ds = consensus_tracks(marked(("a", 1, [0, 1, 2, 4, 5], 0, 0), ("b", 1, [0, 3, 5, 6], 2, 0)))
    # both at 0 and 5; between them 1, 2, 3, 4 have one each
    assert values(ds, "frame", "track_left_out", "spot_x") == [[0, 5], [4], [1, 1]]
    said = {"notes": ["2 annotators; 3 were expected"]}
    assert ds.attrs == {"annotators": 2, "annotators_missing": 1} | said


def test_planted_truth_is_found_exactly():
    """Ten events 50 um apart, moving; who saw which, and how far off, is planted."""
    rng = np.random.default_rng(3)
    seen = ["abc", "abc", "ab", "bc", "ac", "abc", "a", "b", "c", "ab"]
    tracks, truth = [], {}
    for event, who in enumerate(seen):
        start, length = int(rng.integers(0, 40)), int(rng.integers(4, 12))
        frames = np.arange(start, start + length)
        path = 50.0 * event + np.cumsum(rng.normal(0, 1, length))
        shift = dict(zip(who, rng.permutation([-0.5, 0.25, 3.0])[: len(who)], strict=True))
        late = {one: int(rng.integers(0, 2)) for one in who}
        for one in who:
            cut = slice(late[one], None)
            number = 100 * event + ord(one)
            tracks.append((one, number, frames[cut], path[cut] + shift[one], event * 7.0))
        both = sorted(late.values())[1] if len(who) > 1 else length
        truth[event] = (frames[both:], path, shift, late)
    order = rng.permutation(len(tracks))
    found = consensus_tracks(marked(*(tracks[i] for i in order)))
    assert found.consensus_ratio.item() == 0.7
    assert found.sizes["track_id"] == 10
    for i in range(10):
        numbers = found.annotator_track.values[i]
        (event,) = {n // 100 for n in numbers.tolist() if n >= 0}
        who = "".join(p for p, n in zip("abc", numbers, strict=True) if n >= 0)
        assert who == seen[event]
        assert found.track_agreement.values[i] == len(who)
        mine = found.isel(spot=np.flatnonzero(found.track.values == i))
        frames, path, shift, late = truth[event]
        np.testing.assert_array_equal(mine.frame, frames if len(who) > 1 else [])
        for frame, x in zip(mine.frame.values, mine.spot_x.values, strict=True):
            at = frame - frames[-1] - 1 + len(path)
            there = sorted(shift[one] for one in who if at >= late[one])
            gaps = np.diff(there)
            k = int(np.argmin(gaps))
            assert x == pytest.approx(path[at] + (there[k] + there[k + 1]) / 2, abs=1e-9)


def test_an_event_is_in_all_channels_it_was_marked_in():
    ds = marked(
        ("a", 1, [0], 0, 0), ("b", 1, [0], 1, 0), ("b", 2, [0], 90, 0), ("a", 2, [0], 90, 0)
    )
    ds = ds.assign_coords(spot_channel=("spot", ["ch4", "ch1", "ch1", "ch1"]))
    assert consensus_tracks(ds).spot_channel.values.tolist() == ["ch1,ch4", "ch1"]


def test_best_pairs_come_first():
    # b's track 1 lies between a's 1 (3 um) and a's 2 (2 um): it goes with the closer one
    ds = consensus_tracks(
        marked(("a", 1, range(3), 0, 0), ("a", 2, range(3), 5, 0), ("b", 1, range(3), 3, 0))
    )
    assert values(ds, "annotator_track") == [[[1, -1], [2, 1]]]
    assert ds.consensus_ratio.item() == 0.5
    # c matches b alone: a chain is one event, as long as nobody is in it twice
    ds = consensus_tracks(
        marked(("a", 1, [0], 0, 0), ("b", 1, [0], 8, 0), ("c", 1, [0], 16, 0)), distance=9
    )
    assert values(ds, "annotator_track", "spot_x") == [[[1, 1, 1]], [4]]


@pytest.mark.parametrize(("distance", "events"), [(5.0, 2), (5.001, 1)])
def test_the_limit_is_below(distance, events):
    ds = marked(("a", 1, [0, 1], 0, 0), ("b", 1, [0, 1], [3, 7], 0))
    assert consensus_tracks(ds, distance=distance).sizes["track_id"] == events


@pytest.mark.parametrize(("deep", "ratio"), [((0, 0), 1.0), ((0, 9.9), 1.0), ((0, 10.1), 0.0)])
def test_depth_is_part_of_the_distance(deep, ratio):
    ds = marked(("a", 1, [0], 5, 5), ("b", 1, [0], 5, 5))
    ds["spot_z"] = ("spot", np.asarray(deep, float))
    assert consensus_tracks(ds, annotators=2, distance=10).consensus_ratio.item() == ratio


def test_depth_tells_which_two_of_three_are_closest():
    """Alike along x and y; a and c are 2 apart along z, b is 6 away: the place is theirs."""
    ds = marked(("a", 1, [0], 1, 0), ("b", 1, [0], 1, 0), ("c", 1, [0], 2, 0))
    ds["spot_z"] = ("spot", np.array([0.0, 6, 2]))
    found = consensus_tracks(ds)
    assert values(found, "spot_z", "spot_x") == [[1.0], [1.5]]


def test_of_spots_as_close_the_first_two_by_name_are_taken():
    """Three on a line, 4 apart: a and b, whatever the order of the rows."""
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        ds = marked(("a", 1, [0], 0, 0), ("b", 1, [0], 4, 0), ("c", 1, [0], 8, 0))
        found = consensus_tracks(ds.isel(spot=order))
        assert values(found, "spot_x", "annotator_track") == [[2.0], [[1, 1, 1]]]


def test_tables_of_unlike_clocks_are_said():
    one = marked(("a", 1, [0, 1, 2], 0, 0), ("b", 1, [0, 1, 2], 0, 0))
    assert "notes" not in consensus_tracks(one, annotators=2).attrs
    one["spot_t"] = ("spot", [0.0, 30, 60, 0, 31, 62])
    (line,) = consensus_tracks(one, annotators=2).attrs["notes"]
    assert line.startswith("2 of 3 frames have other times in the tables of other annotators")


def test_tracks_without_a_common_frame_do_not_match():
    ds = consensus_tracks(marked(("a", 1, [0, 2], 0, 0), ("b", 1, [1, 3], 0, 0)))
    assert ds.consensus_ratio.item() == 0
    assert ds.sizes == {"spot": 0, "track_id": 2, "person": 2, "mark": 4}
    # what each of them marked is kept, for who looks for what nobody did
    assert sorted(ds.mark_frame.values.tolist()) == [0, 1, 2, 3]
    assert (ds.mark_y.values == 0).all()


def test_spots_without_track_are_events_of_one_frame():
    ds = consensus_tracks(
        marked(("a", -1, [0, 5], 0, 0), ("b", -1, [5], 1, 0), radius=True), annotators=2
    )
    assert values(ds, "track_agreement", "frame", "spot_radius") == [[1, 2], [5], [1.5]]
    assert values(ds, "annotator_track") == [[[-1, -1], [-1, -1]]]


@pytest.mark.parametrize(
    ("ds", "said", "error", "message"),
    [
        (marked(("a", 1, [0], 0, 0)), {}, SchemaError, r"1 annotator \(a\); a consensus needs at"),
        (marked(("a", 1, [3, 3], 0, 0), ("b", 1, [0], 0, 0)), {}, SchemaError,
         "annotator a: track 1 has two spots in frame 3"),
        (marked(("a", 1, [0], 0, 0)).drop_vars("annotator"), {}, SchemaError, "'annotator'"),
        (marked(("a", 1, [0], 0, 0)), {"distance": 0.0}, UsageError, "distance: found 0.0"),
        (marked(("a", 1, [0], 0, 0)), {"annotators": 1}, UsageError, "annotators: found 1"),
    ],
    ids=["one annotator", "twice in a frame", "no annotators", "distance", "count"],
)  # fmt: skip
def test_refusals(ds, said, error, message):
    with pytest.raises(error, match=message):
        consensus_tracks(ds, **said)


# --- phases -----------------------------------------------------------------------------------


def phases(*rows, event="e"):
    """Make a table of (annotator, b start, b end, d start, d end) of one event."""
    table = np.asarray([row[1:] for row in rows], float).T
    held = {v.name: ("event", column) for v, column in zip(schema.PHASES, table, strict=True)}
    return xr.Dataset(held).assign_coords(
        event=[event] * len(rows), annotator=("event", [row[0] for row in rows]),
        movie=("event", ["Neu1"] * len(rows)), channel=("event", ["ch1"] * len(rows)),
    )  # fmt: skip


def flags(number: int) -> list[str]:
    return [name for bit, name in enumerate(schema.PHASE_FLAGS) if number >> bit & 1]


@pytest.mark.parametrize(
    ("rows", "bounds", "share", "flagged"),
    [
        # frames 0-3 and 4-9 of all three
        ([("a", 0, 3, 4, 9)] * 1 + [("b", 0, 3, 4, 9), ("c", 0, 3, 4, 9)], [0, 3, 4, 9], 1, []),
        # 0: c alone; 1-3 blebbing by two; 4 disruption by two; 10: a alone: 9 of 11 frames
        ([("a", 1, 3, 4, 10), ("b", 1, 4, 5, 9), ("c", 0, 3, 4, 9)], [1, 3, 4, 9], 9 / 11, []),
        # a and b see no blebbing: 5-9 by three, 2-4 by c alone
        ([("a", NAN, NAN, 5, 9), ("b", NAN, NAN, 5, 9), ("c", 2, 4, 5, 9)],
         [NAN, NAN, 5, 9], 5 / 8, []),
        # where both phases of one cover a frame, disruption wins: 2-3 of a are disruption
        ([("a", 0, 3, 2, 5), ("b", 0, 1, 2, 5)], [0, 1, 2, 5], 1, ["annotator_missing"]),
        # nobody agrees on disruption
        ([("a", 0, 3, 4, 5), ("b", 0, 3, NAN, NAN), ("c", 0, 3, NAN, NAN)],
         [0, 3, NAN, NAN], 4 / 6, ["no_disruption"]),
        # two agree on 0-1 and 4-5 of blebbing
        ([("a", 0, 5, 6, 7), ("b", 0, 1, 6, 7), ("c", 4, 5, 6, 7)],
         [0, 5, 6, 7], 6 / 8, ["interrupted"]),
        # a frame between the phases has no majority
        ([("a", 0, 1, 3, 4), ("b", 0, 2, 3, 4), ("c", 0, 1, 3, 4)],
         [0, 1, 3, 4], 4 / 5, ["gap_between_phases"]),
        ([("a", 0, 3, 4, 5)], [NAN] * 4, 0, ["no_disruption", "annotator_missing"]),
        ([("a", NAN, NAN, NAN, NAN)] * 1 + [("b", NAN, NAN, NAN, NAN)], [NAN] * 4, NAN,
         ["no_disruption", "annotator_missing"]),
        ([("a", 0, 1, NAN, NAN), ("b", 0, 1, NAN, NAN), ("c", NAN, NAN, 0, 1),
          ("d", NAN, NAN, 0, 1)], [NAN] * 4, 0, ["no_disruption"]),
    ],
    ids=["all", "shares", "no blebbing", "disruption wins", "no disruption", "interrupted", "gap",
         "one", "nothing", "two and two"],
)  # fmt: skip
def test_phases_by_hand(rows, bounds, share, flagged):
    found = consensus_phases(phases(*rows))
    np.testing.assert_array_equal([found[v.name].item() for v in schema.PHASES], bounds)
    assert found.phase_agreement.item() == pytest.approx(share, nan_ok=True)
    assert found.consensus_ratio.item() == pytest.approx(share, nan_ok=True)
    assert flags(found.phase_flag.item()) == flagged
    assert values(found, "event", "movie", "channel") == [["e"], ["Neu1"], ["ch1"]]
    assert "annotator" not in found.coords


def by_frames(rows: np.ndarray) -> tuple[list[float], float]:
    """Vote frame by frame, as the rule is written down: four frames, and the share agreed on."""
    frames = np.arange(40)
    labels = np.zeros((len(rows), 40), int)
    for mine, (start, end, other, stop) in zip(labels, rows, strict=True):
        mine[(frames >= start) & (frames <= end)] = 1
        mine[(frames >= other) & (frames <= stop)] = 2
    found, agreed = [], np.zeros(40, bool)
    for phase, rival in ((1, 2), (2, 1)):
        votes, others = (labels == phase).sum(0), (labels == rival).sum(0)
        at = np.flatnonzero((votes > 1) & (votes > others))
        agreed[at] = True
        found += [at[0], at[-1]] if at.size else [np.nan, np.nan]
    return found, agreed.sum() / (labels > 0).any(0).sum()


def test_spans_give_what_frames_give():
    random = np.random.default_rng(7)
    for _ in range(200):
        rows = np.sort(random.integers(0, 40, (random.integers(2, 6), 4)), axis=1).astype(float)
        rows[random.random(len(rows)) < 0.2, :2] = np.nan
        people = [(f"p{i}", *row) for i, row in enumerate(rows.tolist())]
        found = consensus_phases(phases(*people))
        bounds, share = by_frames(rows)
        np.testing.assert_array_equal([found[v.name].item() for v in schema.PHASES], bounds)
        assert found["phase_agreement"].item() == share


def test_a_mistyped_frame_costs_nothing_and_stays_flagged():
    """Two of three say 8 to 9 at last; the third typed ten zeros too many."""
    ds = phases(("a", 0, 3, 4, 9), ("b", 0, 3, 4, 8), ("c", 0, 3, 4, 5e10))
    bit = 1 << schema.PHASE_FLAGS.index("far_frame")
    ds["phase_flag"] = ("event", np.array([0, 0, bit], np.uint32))
    found = consensus_phases(ds)
    assert [found[v.name].item() for v in schema.PHASES] == [0, 3, 4, 9]
    assert found["phase_agreement"].item() == 10 / (5e10 + 1)
    assert flags(found["phase_flag"].item()) == ["far_frame"]


def test_the_ratio_is_over_the_frames_of_all_events():
    one = phases(("a", 0, 3, 4, 9), ("b", 0, 3, 4, 9), event="one")
    two = phases(("a", 0, 4, NAN, NAN), ("b", NAN, NAN, 0, 4), event="two")
    found = consensus_phases(xr.concat([two, one], dim="event"), annotators=2)
    assert values(found, "event", "phase_agreement") == [["two", "one"], [0, 1]]
    assert found.consensus_ratio.item() == 10 / 15


@pytest.mark.parametrize(
    ("ds", "said", "error", "message"),
    [
        (phases(("a", 0, 1, 2, 3), ("a", 0, 1, 2, 3)), {}, SchemaError, "event e: an annotator"),
        (phases(("a", 0, 1, 2, 3)).drop_vars("annotator"), {}, SchemaError,
         r"no coordinate annotator\(event\); found"),
        (phases(("a", 0, 1, 2, 3)).drop_vars("blebbing_end"), {}, SchemaError, "'blebbing_end'"),
        (phases(("a", 0, 1, 2, 3)), {"annotators": True}, UsageError, "annotators: found True"),
        (phases(("a", 0, 1, 2, math.inf)), {}, SchemaError, "at infinity; expected frames"),
    ],
    ids=["twice", "no annotators", "no table", "count", "infinite"],
)  # fmt: skip
def test_refusals_of_phases(ds, said, error, message):
    with pytest.raises(error, match=message):
        consensus_phases(ds, **said)
