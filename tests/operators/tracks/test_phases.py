"""Phases joined to tracks: by movie, channel and frames; what does not fit is flagged."""

import numpy as np
import pytest
import xarray as xr

from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import phase_tracks


def table(*rows):
    """Make a table of (movie, channel, first, last) events, all disruption."""
    movies, channels, first, last = zip(*rows, strict=True)
    held = {"disruption_start": first, "disruption_end": last}
    held |= dict.fromkeys(("blebbing_start", "blebbing_end"), [np.nan] * len(rows))
    ds = xr.Dataset({name: ("event", np.asarray(v, float)) for name, v in held.items()})
    return ds.assign_coords(
        event=[f"{m}_{i}" for i, m in enumerate(movies)], movie=("event", list(movies)),
        channel=("event", list(channels)),
    )  # fmt: skip


def spots(*tracks, channel=True):
    """Make a table of (number, channel, first, last) tracks: two spots each."""
    ds = xr.Dataset(
        coords={
            "track": ("spot", np.repeat([t[0] for t in tracks], 2)),
            "frame": ("spot", [f for t in tracks for f in t[2:]]),
            "spot_channel": ("spot", np.repeat([t[1] for t in tracks], 2)),
        }
    )
    return ds if channel else ds.drop_vars("spot_channel")


def tree(**held):
    return xr.DataTree.from_dict({f"/{name}": ds for name, ds in held.items()})


def joined(events, movies, **said):
    found = phase_tracks(tree(phases=table(*events)), movies, **said)
    names = [
        [name for bit, name in enumerate(schema.PHASE_FLAGS) if flag >> bit & 1]
        for flag in found.phase_flag.values.tolist()
    ]
    return found.phase_track.values.tolist(), found.phase_overlap.values.tolist(), names, found


@pytest.mark.parametrize(
    ("event", "track", "overlap", "flagged"),
    [
        (("Neu1", "ch1", 5, 9), 3, 1.0, []),
        (("Neu 1", "ch1", 5, 9), 3, 1.0, []),
        (("Neu1", "ch2,ch1", 5, 9), 3, 1.0, []),
        (("Neu1", "ch2/ch1", 5, 9), 3, 1.0, []),
        (("Neu1", "", 11, 20), 3, 0.5, []),  # 11 to 15 of ten frames
        (("Neu1", "ch1", 12, 20), -1, 4 / 9, ["little_overlap"]),
        (("Neu1", "ch1", 16, 20), -1, 0.0, ["no_track"]),
        (("Neu1", "ch2", 5, 9), -1, 0.0, ["no_track"]),
        (("Neu2", "ch1", 5, 9), -1, 0.0, ["no_track"]),
        (("Neu3", "ch4", 5, 9), -1, 1.0, ["ambiguous_track"]),
        (("Neu3", "ch4", 5, 30), 8, 16 / 26, []),
        (("Neu4", "ch9", 0, 1), 1, 1.0, []),  # its tracks say no channel
        (("Neu1", "ch1", np.nan, np.nan), -1, 0.0, ["no_track"]),
    ],
)
def test_the_rule(event, track, overlap, flagged):
    movies = tree(
        Neu1=spots((3, "ch1", 0, 15), (-1, "ch1", 5, 9)),
        Neu3=spots((7, "ch4", 0, 10), (8, "ch4", 5, 20)),
        Neu4=spots((1, "", 0, 9), channel=False),
    )
    tracks, overlaps, flags, _ = joined([event], movies)
    assert (tracks, flags) == ([track], [flagged])
    assert overlaps == pytest.approx([overlap])


def test_a_track_that_two_events_claim():
    movies = tree(Neu1=spots((3, "ch1", 0, 15), (4, "ch1", 50, 60)))
    tracks, _, flags, found = joined([("Neu1", "ch1", 0, 5), ("Neu1", "ch1", 6, 9)], movies)
    assert tracks == [-1, -1]
    assert flags == [["ambiguous_track"]] * 2
    assert found.attrs["tracks_without_phases"] == ["neu1/3", "neu1/4"]


def test_flags_of_the_table_stay():
    ds = table(("Neu1", "ch1", 0, 5))
    ds["phase_flag"] = ("event", np.asarray([2], "u4"))
    found = phase_tracks(tree(p=ds), tree(Neu1=spots((3, "ch1", 0, 1))))
    assert found.phase_flag.item() == 2 + 32
    assert found.phase_flag.attrs["flag_meanings"].split() == list(schema.PHASE_FLAGS)


def test_what_all_tables_say_of_events_is_kept():
    one, other = (
        table((movie, "ch1", 0, 1)).assign(response=("event", np.asarray([said], "i1")))
        for movie, said in (("Neu1", 1), ("Neu2", -1))
    )
    one["note"] = ("event", ["by hand"])
    movies = tree(Neu1=spots((3, "ch1", 0, 1)))
    found = phase_tracks(tree(p=one, q=other), movies)
    assert found.response.values.tolist() == [1, -1]
    assert found.response.dtype == "i1"
    assert "note" not in found
    assert "response" not in phase_tracks(tree(p=one, q=table(("b", "", 0, 1))), movies)


def test_the_share_that_is_enough():
    movies = tree(Neu1=spots((3, "ch1", 0, 1)))
    assert joined([("Neu1", "ch1", 0, 7)], movies)[0] == [-1]
    assert joined([("Neu1", "ch1", 0, 7)], movies, share=0.25)[0] == [3]


@pytest.mark.parametrize(
    ("phases", "tracks", "said", "error", "message"),
    [
        (tree(p=spots((1, "", 0, 1))), tree(), {}, SchemaError, "p: no variable 'blebbing_start'"),
        (tree(p=table(("a", "", 0, 1)).drop_vars("movie")), tree(), {}, SchemaError, "p: no var"),
        (tree(), tree(), {}, SchemaError, "no table of phases"),
        (tree(p=table(("a", "", 0, 1))), tree(a=table(("a", "", 0, 1))), {}, SchemaError, "a: no"),
        (
            tree(p=table(("a", "", 0, 1))),
            tree(a=spots((1, "", 0, 1)).assign_coords(annotator=("spot", ["anna", "ben"]))),
            {},
            SchemaError,
            "a: tracks of several annotators; join phases to their consensus",
        ),
        (tree(p=table(("a", "", 0, 1))), tree(), {"share": 0.0}, UsageError, "share: found 0.0"),
    ],
    ids=["no phases", "no movies", "empty", "no tracks", "annotators", "share"],
)
def test_refusals(phases, tracks, said, error, message):
    with pytest.raises(error, match=message):
        phase_tracks(phases, tracks, **said)


def test_an_event_of_any_length_costs_nothing():
    movies = tree(Neu1=spots((3, "ch1", 0, 9)))
    tracks, overlaps, flags, _ = joined([("Neu1", "ch1", 0, 50_000_000_000)], movies)
    assert (tracks, overlaps, flags) == ([-1], [10 / 50_000_000_001], [["little_overlap"]])


def test_events_at_infinity_are_refused():
    with pytest.raises(SchemaError, match="phases: a phase begins or ends at infinity"):
        joined([("Neu1", "ch1", 0, np.inf)], tree(Neu1=spots((3, "ch1", 0, 9))))


def test_the_order_of_rows_does_not_matter():
    """Two tracks that cover alike many frames are ambiguous, whichever comes first."""
    one, other = (3, "ch1", 0, 9), (4, "ch1", 5, 20)
    for tracks in ((one, other), (other, one)):
        found = joined([("Neu1", "ch1", 5, 9)], tree(Neu1=spots(*tracks)))
        assert (found[0], found[2]) == ([-1], [["ambiguous_track"]])
        assert joined([("Neu1", "ch1", 5, 10)], tree(Neu1=spots(*tracks)))[0] == [4]
