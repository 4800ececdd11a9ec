"""The demo's recipe against what was planted in its study: every number from truth.json alone.

What is expected is worked out here with plain NumPy; nothing of dpipe is asked for it.
"""

import itertools
import json
import math
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

import dpipe
from dpipe import demo

pytestmark = pytest.mark.slow

T0 = 1_000_000_000
STEMS = ("Neu1", "Neu2", "Neu3", "Neu4")
INTERVAL = 30.0


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """The study of `dpipe demo`, with a fifth movie that is cut off, and what its recipe made."""
    folder = tmp_path_factory.mktemp("truth")
    recipe = demo.write_study(folder / "study", movies=4, annotated=True, cells=2000, damaged=True)
    outcome = dpipe.run_recipe(recipe, str(folder / "store"), progress=False, workers="0")
    return folder, outcome


@pytest.fixture(scope="session")
def truth(lab):
    return json.loads((lab[0] / "study" / "truth.json").read_text(encoding="utf-8"))


@pytest.fixture(params=STEMS)
def stem(request):
    return request.param


@pytest.fixture
def said(truth, stem):
    return truth["movies"][stem]


@pytest.fixture
def made(lab, stem):
    """Give a dataset of this movie, in memory."""
    return lambda name: dpipe.open(str(lab[0] / "store"), name, part=stem).compute()


def whole(lab, name: str) -> xr.Dataset:
    return dpipe.open(str(lab[0] / "store"), name).compute()


def rows(ds: xr.Dataset, *names: str) -> list[tuple]:
    return list(zip(*(ds[name].values.tolist() for name in names), strict=True))


def centre(said, one, frame: int) -> list[float]:
    return said["cells"][one["cell"]]["centres"][frame]


# --- all of it


def test_everything_adds_up(lab, truth):
    _, outcome = lab
    assert outcome.exit_code == 3, "the movie that is cut off and a picture are put aside"
    of_all = {"leuko-quality-table", "leuko-phases", "leuko-events", "leuko-conditions"}
    of_all |= {"leuko-phase-marks", "leuko-phase-consensus", "leuko-groups", "leuko-splits"}
    of_files = {"leuko", "leuko-spots", "leuko-cells"}
    for step in outcome.steps:
        name, lost = step["dataset"], [entry["stem"] for entry in step["aside"]]
        assert step["reused"] == []
        if name.startswith("cells"):
            continue  # below
        assert lost == ["Neu5"] * (name in of_files), name
        parts = 1 if name in of_all else len(truth["movies"])
        assert len(step["made"]) == parts, name
        people = len(truth["movies"]["Neu1"]["annotators"]) if name == "leuko-tracks" else 1
        assert step["items"] == parts * people + len(lost), name


def test_a_second_run_has_nothing_to_do(lab):
    folder, first = lab
    again = dpipe.run_recipe(
        folder / "study" / "recipe.yaml", str(folder / "store"), progress=False, workers="0"
    )
    assert again.nothing
    assert again.count("reused") == first.count("made")


# --- what is drawn


def test_dying_cells_are_bright_where_and_while_they_die(said, made):
    image = made("leuko")["image"]
    channel = said["channels"][1]
    for cell in (c for c in said["cells"] if c["channel"] == 1):
        for frame, place in enumerate(cell["centres"]):
            index = [
                round((p - o) / s)
                for p, o, s in zip(place, said["origin"], said["spacing"], strict=True)
            ]
            # Brightness is sqrt(1 - r^2), r in radii. The centre is up to half a voxel (1 um of
            # at least 3 along z) away, eight more voxels up to half a micrometre of 5: above 0.7.
            _, y, x = index
            seen = image.values[frame, 1, index[0], y - 1 : y + 2, x - 1 : x + 2].mean()
            level = (seen - channel["background"]) / channel["brightness"]
            alive = cell["frames"][0] <= frame <= cell["frames"][1]
            noise = 4 * channel["noise"]["sigma"] / channel["brightness"] / 3
            assert (0.7 - noise <= level <= 1 + noise) if alive else abs(level) < noise


# --- spots and tracks


def test_spots_are_those_of_the_scene(said, made):
    ds = made("leuko-spots")
    expected = [
        (death["track"], frame, INTERVAL * frame, *centre(said, death, frame),
         said["cells"][death["cell"]]["radii"][2])
        for death in said["deaths"] for frame in death["spot_frames"]
    ]  # fmt: skip
    stray = said["debris"][0]
    cell = said["cells"][stray["cell"]]
    first = cell["frames"][0]
    expected.append((-1, first, INTERVAL * first, *centre(said, stray, first), cell["radii"][2]))
    names = ("track", "frame", "spot_t", "spot_z", "spot_y", "spot_x", "spot_radius")
    assert sorted(rows(ds, *names)) == sorted(expected)
    assert any(np.diff(death["spot_frames"]).max() > 1 for death in said["deaths"])


def test_track_measures(said, made):
    """To six digits, as Imaris prints them; gaps count with their true time."""
    ds = made("leuko-track-measures")
    assert ds["track_id"].values.tolist() == [death["track"] for death in said["deaths"]]
    spots = {(t, f): i for i, (t, f) in enumerate(rows(ds, "track", "frame"))}
    for k, death in enumerate(said["deaths"]):
        frames = np.array(death["spot_frames"])
        places = np.array([centre(said, death, frame) for frame in frames])
        times = INTERVAL * frames
        steps = np.sqrt((np.diff(places, axis=0) ** 2).sum(axis=1))
        apart = np.sqrt(((places[-1] - places[0]) ** 2).sum())
        expected = {
            "track_length": steps.sum(),
            "track_displacement": apart,
            "track_straightness": apart / steps.sum(),
            "track_duration": times[-1] - times[0],
            "track_speed_mean": steps.sum() / (times[-1] - times[0]),
            "track_spots": len(frames),
            "track_gaps": frames[-1] - frames[0] + 1 - len(frames),
            "track_branches": 0,
            "track_first": frames[0],
            "track_last": frames[-1],
        }
        for name, value in expected.items():
            assert ds[name].values[k] == pytest.approx(value, rel=1e-6), (death["cell"], name)
        for i, frame in enumerate(frames):
            before, after = max(i - 1, 0), min(i + 1, len(frames) - 1)
            way = np.sqrt(((places[after] - places[before]) ** 2).sum())
            at = spots[death["track"], frame]
            speed = way / (times[after] - times[before])
            assert ds["spot_speed"].values[at] == pytest.approx(speed, rel=1e-6)
            squared = ((places[i] - places[0]) ** 2).sum()
            assert ds["spot_displacement2"].values[at] == pytest.approx(squared, rel=1e-6)
    lone = ds["track"].values == -1
    assert lone.sum() == 1
    assert np.isnan(ds["spot_speed"].values[lone]).all()
    assert np.isnan(ds["spot_displacement2"].values[lone]).all()


# --- annotators


def test_marks_are_read_as_they_were_made(truth, said, made):
    ds = made("leuko-tracks")
    expected = [
        (who, mark["track"], frame, INTERVAL * frame, *place)
        for one in (*said["deaths"], *said["debris"]) for who, mark in one["marks"].items()
        for frame, place in zip(mark["frames"], mark["places"], strict=True)
    ]  # fmt: skip
    for mark in said["lone_marks"]:
        expected.append((mark["who"], -1, mark["frame"], INTERVAL * mark["frame"], *mark["place"]))
    names = ("annotator", "track", "frame", "spot_t", "spot_z", "spot_y", "spot_x")
    found = rows(ds, *names)
    # track numbers of two files may be shifted, by multiples of 2^32
    assert sorted((who, t if t < 0 else t % 2**32, *rest) for who, t, *rest in found) == sorted(
        expected
    )
    assert set(ds["spot_channel"].values) == {"ch2"}


def test_no_mark_is_in_doubt(said, made):
    """All lie in the movie, in micrometres, in frames from 1."""
    ds = made("leuko-track-checks")
    seen = (*said["deaths"], *said["debris"])
    count = sum(len(mark["frames"]) for one in seen for mark in one["marks"].values())
    assert ds.sizes["spot"] == ds.attrs["spots_good"] == count + len(said["lone_marks"])
    assert not ds["spot_flag"].values.any()
    assert ds.attrs["verdict"] == []


def planted(said) -> list[dict]:
    """Every event that anyone saw: frames and places on which two agree, and who saw it."""
    events = []
    for one in (*said["deaths"], *said["debris"]):
        counts = [
            sum(frame in mark["frames"] for mark in one["marks"].values())
            for frame in range(len(said["cells"][0]["centres"]))
        ]
        agreed = [frame for frame, count in enumerate(counts) if count > 1]
        events.append(
            {
                "spots": [(f, *centre(said, one, f), counts[f]) for f in agreed],
                "people": {who: mark["track"] for who, mark in one["marks"].items()},
                "left_out": agreed[-1] - agreed[0] + 1 - len(agreed) if agreed else 0,
            }
        )
    for mark in said["lone_marks"]:
        events.append({"spots": [], "people": {mark["who"]: -1}, "left_out": 0})
    return events


def test_consensus_is_what_was_planted(truth, said, made):
    ds = made("leuko-consensus")
    expected = planted(said)
    # the plan says in words what the marks must add up to
    for death, event in zip(said["deaths"], expected, strict=False):
        assert [spot[0] for spot in event["spots"]] == death["frames"]
        assert event["left_out"] == len(death["left_out"])
    names = ("frame", "spot_z", "spot_y", "spot_x", "spot_agreement")
    people = ds["person"].values.tolist()
    assert people == truth["movies"]["Neu1"]["annotators"]
    found = []
    for k, number in enumerate(ds["track_id"].values):
        own = ds.isel(spot=np.flatnonzero(ds["track"].values == number))
        whose = dict(zip(people, ds["annotator_track"].values[k].tolist(), strict=True))
        seen = int(ds["track_agreement"].values[k])
        left_out = int(ds["track_left_out"].values[k])
        found.append((rows(own, *names), {w: t % 2**32 for w, t in whose.items() if t >= 0},
                      seen, left_out))  # fmt: skip
    wanted = [
        (e["spots"], {w: t for w, t in e["people"].items() if t >= 0}, len(e["people"]),
         e["left_out"]) for e in expected
    ]  # fmt: skip
    assert len(found) == len(wanted)
    for event in wanted:
        assert event in found
    np.testing.assert_array_equal(ds["spot_t"].values, INTERVAL * ds["frame"].values)
    ratio = sum(len(e["people"]) > 1 for e in expected) / len(expected)
    assert float(ds["consensus_ratio"]) == ratio == said["consensus_ratio"]
    assert "annotators_missing" not in ds.attrs


def track_of(ds: xr.Dataset, said, death) -> int:
    """The consensus track whose first spot is that of a death."""
    first = death["frames"][0]
    spot = (first, *centre(said, death, first))
    at = rows(ds, "frame", "spot_z", "spot_y", "spot_x").index(spot)
    return int(ds["track"].values[at])


def test_phases_join_as_planted_and_odd_rows_are_flagged(lab, truth):
    events = whole(lab, "leuko-events")
    masks = dict(
        zip(events["phase_flag"].attrs["flag_meanings"].split(),
            events["phase_flag"].attrs["flag_masks"], strict=True)
    )  # fmt: skip
    flagged = 0
    for stem, said in truth["movies"].items():
        consensus = dpipe.open(str(lab[0] / "store"), "leuko-consensus", part=stem).compute()
        for number, row in enumerate(said["phases"], 1):
            event = events.isel(event=events["event"].values.tolist().index(f"{stem}_{number}"))
            phases = ("blebbing_start", "blebbing_end", "disruption_start", "disruption_end")
            told = [math.nan if frame is None else frame for frame in row["frames"]]
            np.testing.assert_array_equal([event[name].item() for name in phases], told)
            assert event["movie"].item() == stem
            response = {"yes": 1, "no": 0, "": -1}[row["response"]]
            assert event["response"].item() == response
            assert event["phase_flag"].item() == sum(masks[name] for name in row["flags"])
            flagged += bool(row["flags"])
            if row["death"] is None:
                assert (event["phase_track"].item(), event["phase_overlap"].item()) == (-1, 0)
                continue
            death = said["deaths"][row["death"]]
            assert event["phase_track"].item() == track_of(consensus, said, death)
            low, high = np.nanmin(told), np.nanmax(told)
            common = min(high, death["frames"][-1]) - max(low, death["frames"][0]) + 1
            assert event["phase_overlap"].item() == common / (high - low + 1)
    assert flagged == 4, "one odd row a movie"
    assert events.sizes["event"] == sum(len(said["phases"]) for said in truth["movies"].values())
    assert events.attrs["tracks_without_phases"] == []


def test_phases_are_agreed_on_as_planted(lab, truth):
    """The majority is the planted row; each frame that one annotator alone has costs agreement."""
    ds = whole(lab, "leuko-phase-consensus")
    names = ("blebbing_start", "blebbing_end", "disruption_start", "disruption_end")
    agreed = labelled = 0
    for stem, said in truth["movies"].items():
        for number, row in enumerate(said["phases"], 1):
            event = ds.isel(event=ds["event"].values.tolist().index(f"{stem}_{number}"))
            told = [math.nan if frame is None else frame for frame in row["frames"]]
            np.testing.assert_array_equal([event[name].item() for name in names], told)
            votes: dict[int, list[int]] = {}
            for bleb, stop, fall, end in row["marks"].values():
                given = {} if bleb is None else dict.fromkeys(range(bleb, stop + 1), 1)
                given |= dict.fromkeys(range(fall, end + 1), 2)
                for frame, phase in given.items():
                    votes.setdefault(frame, []).append(phase)
            ours = sum(max(found.count(1), found.count(2)) > 1 for found in votes.values())
            assert 0 < ours < len(votes), "they do disagree"
            assert event["phase_agreement"].item() == ours / len(votes)
            agreed, labelled = agreed + ours, labelled + len(votes)
    assert float(ds["consensus_ratio"]) == agreed / labelled
    assert ds.sizes["event"] == sum(len(said["phases"]) for said in truth["movies"].values())


def window(said, image, frame: int, place) -> np.ndarray:
    """59 x 59 pixels of each channel around a voxel's centre (y, x): the maximum over z."""
    row, column = (
        (p - said["origin"][k]) / said["spacing"][k] for k, p in zip((1, 2), place, strict=True)
    )
    y, x = int(row), int(column)
    assert (row, column) == (y, x), "in the middle of a voxel"
    return image[frame, :, :, y - 29 : y + 30, x - 29 : x + 30].max(axis=1)


def test_crops_follow_what_dies(said, made):
    ds, consensus, image = made("leuko-crops"), made("leuko-consensus"), made("leuko")["image"]
    assert ds.attrs["left_out"] == {}
    assert (ds["label"].values == 1).sum() == ds.attrs["events"] == len(said["deaths"])
    channel = said["channels"][1]
    bright = channel["background"] + 0.7 * channel["brightness"]
    for k, death in enumerate(said["deaths"]):
        track = track_of(consensus, said, death)
        (at,) = np.flatnonzero((ds["event_track"].values == track) & (ds["label"].values == 1))
        one = ds.isel(event=int(at))
        (blebs, falls) = (
            range(frames[0], frames[1] + 1) if frames[0] is not None else ()
            for row in said["phases"] if row["death"] == k
            for frames in (row["frames"][:2], row["frames"][2:])
        )  # fmt: skip
        agreed = death["frames"]
        frames = [*range(agreed[0] - 1, agreed[-1] + 2)]  # a margin of one
        frames += [-1] * (ds.sizes["t"] - len(frames))
        for i, frame in enumerate(frames):
            cut = one.isel(t=i)
            if not 0 <= frame < image.sizes["t"]:
                told = [int(cut[name]) for name in ("crop_frame", "crop_phase", "crop_spots")]
                assert told == [-1, 255, 0]
                assert not cut["crop"].values.any()
                continue
            assert cut["crop_frame"] == frame
            assert cut["crop_phase"] == (2 if frame in falls else frame in blebs)
            assert cut["crop_spots"] == (frame in agreed)
            assert cut["crop_inside"] == 1
            near = np.clip(frame, agreed[0], agreed[-1])
            places = np.array([centre(said, death, f) for f in agreed])
            true = [np.interp(near, agreed, places[:, axis]) for axis in (1, 2)]
            place = [float(cut[f"crop_{dim}"]) for dim in "yx"]
            assert np.abs(np.subtract(place, true)).max() <= 0.25, "half a voxel"
            pixels = window(said, image.values, frame, place)
            np.testing.assert_array_equal(cut["crop"].values, pixels)
            if frame in agreed:
                assert pixels[1, 28:31, 28:31].mean() > bright


def test_crops_of_what_does_not_die(said, made):
    """Around the cells that live, never what one annotator took for a death, one crop each."""
    ds, image = made("leuko-crops"), made("leuko")["image"]
    marked = [
        place[1:]
        for one in (*said["deaths"], *said["debris"]) for mark in one["marks"].values()
        for place in mark["places"]
    ] + [mark["place"][1:] for mark in said["lone_marks"]]  # fmt: skip
    found = {kind: int((ds["kind"].values == kind).sum()) for kind in ("cell", "before")}
    assert found == ds.attrs["negatives"]["found"]
    # before they die, these cells are not seen in their channel: there are no such crops
    assert found == {"cell": len(said["living"]), "before": 0}
    met = []
    for i in np.flatnonzero(ds["label"].values == 0):
        one = ds.isel(event=int(i))
        like = ds.sel(event=one["event_like"].item())
        assert like["label"] == 1
        frames, shown = one["crop_frame"].values, one["crop_valid"].values
        assert frames.tolist() == like["crop_frame"].values.tolist()
        assert one["crop_inside"].values.tolist() == like["crop_inside"].values.tolist()
        assert (one["crop_phase"].values[shown] == 0).all()
        assert one["event_channel"].item() == "ch2"
        for t in np.flatnonzero(shown):
            at = [float(one[f"crop_{dim}"][t]) for dim in "yx"]
            assert np.sqrt(((np.array(marked) - at) ** 2).sum(axis=1)).min() > 20
            away = [
                math.dist(said["cells"][cell]["centres"][frames[t]][1:], at)
                for cell in said["living"]
            ]
            assert min(away) < 1
            met.append((int(i), int(np.argmin(away))))
            pixels = window(said, image.values, int(frames[t]), at)
            np.testing.assert_array_equal(one["crop"].values[t], pixels)
    assert len(set(met)) == len(said["living"]) == 2


def test_conditions_come_through(lab, truth):
    ds = whole(lab, "leuko-conditions")
    names = {"markers": "markers", "fluorophores": "fluorophore", "organ": "organ",
             "stimulus": "stimuli", "objective": "objective"}  # fmt: skip
    assert ds["movie"].values.tolist() == list(truth["conditions"])
    for stem, row in truth["conditions"].items():
        one = ds.sel(movie=stem)
        assert {key: one[name].item() for name, key in names.items()} == {
            key: row[key] for key in names.values()
        }
        assert one["content"].values.tolist() == [row["ch1"], row["ch2"], row["ch3"]]
    assert ds.attrs["corrected"] == ["Neu2: UPPR8 to UVPR8", "Neu4: UPPR8 to UVPR8"]


def test_every_movie_is_in_one_split(lab, truth):
    ds = whole(lab, "leuko-splits")
    assert sorted(ds["movie"].values) == sorted(truth["movies"])
    assert sorted(ds["split"].values) == ["test", "train", "train", "validation"]


def test_groups_are_compared_by_organ(lab, truth):
    ds = whole(lab, "leuko-groups")
    assert ds["group"].values.tolist() == ["Lymph node", "Spleen"]
    for name in ("track_length", "track_speed_mean"):
        means: dict[str, list[float]] = {"Lymph node": [], "Spleen": []}
        for stem, said in truth["movies"].items():
            own = []
            for death in said["deaths"]:
                frames = death["spot_frames"]
                places = np.array([centre(said, death, frame) for frame in frames])
                length = np.sqrt((np.diff(places, axis=0) ** 2).sum(axis=1)).sum()
                time = INTERVAL * (frames[-1] - frames[0])
                own.append(length if name == "track_length" else length / time)
            means[truth["conditions"][stem]["organ"]].append(np.mean(own))
        nodes, spleens = means.values()
        one = ds.sel(measure=name)
        assert one["group_size"].values.tolist() == [2, 2]
        medians = [np.mean(nodes), np.mean(spleens)]  # of two numbers
        np.testing.assert_allclose(one["group_median"].values, medians, rtol=1e-6)
        # Mann and Whitney: pairs that the first group wins, against all six ways to choose two
        u = sum(a > b for a, b in itertools.product(nodes, spleens))
        every = [*nodes, *spleens]
        ways = []
        for chosen in itertools.combinations(range(4), 2):
            rest = set(range(4)) - set(chosen)
            ways.append(sum(every[i] > every[j] for i in chosen for j in rest))
        p = np.mean([abs(way - 2) >= abs(u - 2) for way in ways])
        assert one["pair_u"].values.tolist() == [u]
        np.testing.assert_allclose(one["pair_p"].values, [p], rtol=1e-12)
        # Kruskal and Wallis: H = 12 / (n (n + 1)) sum R^2 / n_i - 3 (n + 1); one degree of freedom
        ranks = 1 + np.argsort(np.argsort(every))
        h = 12 / 20 * (ranks[:2].sum() ** 2 + ranks[2:].sum() ** 2) / 2 - 15
        assert one["kruskal_h"].item() == pytest.approx(h, abs=1e-12)
        assert one["kruskal_p"].item() == pytest.approx(math.erfc(math.sqrt(h / 2)), rel=1e-9)


# --- surfaces and masks

# A mesh has 12 steps from pole to pole and 24 around, so the corners of a triangle on the unit
# ball are at most the diagonal of a cell of pi/12 by pi/12 apart: sqrt(2) pi/12. By Jung's theorem
# they lie in a cap of radius r, sin r = sqrt(4/3) sin(diagonal / 2) = 0.2126, so that no triangle
# comes closer to the centre than cos r: the mesh holds the ellipsoid shrunk by this factor.
INNER = math.sqrt(1 - 4 / 3 * math.sin(math.sqrt(2) * math.pi / 24) ** 2)


def raw_meshes(path: Path):
    """Vertices (z, y, x) and triangles of each surface, object by object, straight from HDF5."""
    with h5py.File(path) as h5:
        for number in range(int(b"".join(h5["Scene/Content"].attrs["NumberOfSurfaces"]))):
            group = h5[f"Scene/Content/Surfaces{number}"]
            counts = group["TimeNVerticesNTriangles"][()]
            v, f = (np.concatenate([[0], np.cumsum(counts[:, k])]) for k in (1, 2))
            for i in range(len(counts)):
                vertices = group["Vertices"][v[i] : v[i + 1]].astype(float)[:, ::-1]
                yield vertices, group["Triangles"][f[i] : f[i + 1]]


def test_surfaces_are_those_of_the_scene(lab, stem, said, made):
    ds, measured = made("leuko-cells"), made("leuko-cell-measures")
    surfaces = said["surfaces"]
    assert ds["surface_frame"].values.tolist() == [s["frame"] for s in surfaces]
    assert ds["surface_object"].values.tolist() == [s["object"] for s in surfaces]
    tracks = [
        -1 if s["track"] is None else s["track"] + T0 * s["object"]  # one number in two objects
        for s in surfaces
    ]
    assert ds["surface_track"].values.tolist() == tracks
    meshes = list(raw_meshes(lab[0] / "study" / "raw" / f"{stem}.h5"))
    for i, (one, (vertices, faces)) in enumerate(zip(surfaces, meshes, strict=True)):
        assert measured["surface_flag"].values[i] == (0 if one["closed"] else 2), "2: holes"
        volume = measured["surface_volume"].values[i]
        if not one["closed"]:
            assert np.isnan(volume)
            continue
        # the tetrahedra from the centre, by determinants; float32 keeps 1e-4 of 1,200 um
        around = vertices - one["centre"]
        assert volume == pytest.approx(abs(np.linalg.det(around[faces]).sum()) / 6, rel=1e-4)
        assert INNER**3 * one["volume"] <= volume <= one["volume"]
        found = [measured[f"surface_{dim}"].values[i] for dim in "zyx"]
        np.testing.assert_allclose(found, one["centre"], rtol=0, atol=1e-3)
        radii = one["radii"]
        if len(set(radii)) == 1:  # of convex bodies in each other the outer has more surface
            area, ball = measured["surface_area"].values[i], 4 * math.pi * radii[0] ** 2
            assert INNER**2 * ball <= area <= ball
    assert any(len(set(s["radii"])) == 1 for s in surfaces)
    assert sum(not s["closed"] for s in surfaces) == (stem in ("Neu1", "Neu3"))


def voxels(said, one) -> np.ndarray:
    """Distance of every voxel's centre from the middle of an ellipsoid, in radii."""
    axes = [
        (o + s * np.arange(n) - m) / r
        for o, s, n, m, r in zip(
            *(said[k] for k in ("origin", "spacing", "size")), one["centre"], one["radii"],
            strict=True,
        )
    ]  # fmt: skip
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    return np.sqrt(z**2 + y**2 + x**2)


def largest_error(said, one) -> float:
    """How far the volume of the voxels with their centre in a convex body may be from its own.

    For a function f that rises, then falls, the sum over a lattice of step d differs from the
    integral by at most d times its largest value: d * sum(f) - integral <= d * max f, and the
    other way round. The body within the ellipsoid of radii a, b, c (z, y, x) is measured along x
    (f is 1 inside: each row errs by dx dy dz at most), then the rows of each plane along y (f is
    the chord, at most 2 c), then the planes along z (f is the section, at most pi b c).
    """
    dz, dy, dx = said["spacing"]
    a, b, c = one["radii"]
    near = voxels(said, one | {"radii": [a, b, math.inf]})[..., 0]
    met = near <= 1
    planes = int(met.any(axis=1).sum())
    return met.sum() * dx * dy * dz + planes * dz * dy * 2 * c + dz * math.pi * b * c


def test_masks_of_closed_meshes(said, made):
    labels = made("leuko-masks")["labels"].values
    assert labels.shape == (12, *said["size"])
    voxel = math.prod(said["spacing"])
    measured = made("leuko-cell-measures")["surface_volume"].values
    drawn = np.bincount(labels.ravel(), minlength=len(said["surfaces"]) + 1)
    assert len(drawn) == len(said["surfaces"]) + 1
    ratios = []
    for i, one in enumerate(said["surfaces"]):
        mask = labels[one["frame"]] == i + 1
        assert mask.sum() == drawn[i + 1], "in its own frame and nowhere else"
        if not one["closed"]:
            continue
        distance = voxels(said, one)
        assert mask[distance < INNER].all()
        assert not mask[distance > 1 + 1e-4].any()
        error = abs(mask.sum() * voxel - measured[i])
        assert error <= largest_error(said, one)
        ratios.append(mask.sum() * voxel / measured[i])
    # The bound is for the worst place; single masks err by some hundredths, to both sides.
    assert np.mean(ratios) == pytest.approx(1, abs=0.02)
    assert max(abs(np.array(ratios) - 1)) < 0.15


def test_the_open_mesh_is_drawn_as_a_shell_and_said_so(lab, truth):
    said = truth["movies"]["Neu1"]
    (row,) = (i for i, s in enumerate(said["surfaces"]) if not s["closed"])
    one = said["surfaces"][row]
    part = dpipe.open(str(lab[0] / "store"), "leuko-masks", part="Neu1")
    assert part["labels"].attrs["unclosed"] == "shell"
    assert part["labels"].attrs["rule"] == "solid"
    mask = part["labels"].values[one["frame"]] == row + 1
    vertices, faces = list(raw_meshes(lab[0] / "study" / "raw" / "Neu1.h5"))[row]
    used = vertices[np.unique(faces)]
    at = (used - said["origin"]) / said["spacing"]
    within = (abs(at - np.rint(at)) < 0.499).all(axis=1)  # not on a border of voxels
    assert within.sum() > 100
    index = np.rint(at[within]).astype(int)
    assert mask[tuple(index.T)].all(), "each vertex lies in a voxel of the shell"
    middle = np.rint((np.array(one["centre"]) - said["origin"]) / said["spacing"]).astype(int)
    assert not mask[tuple(middle)]
    # A voxel that the shell passes through is within half its own diagonal of the ellipsoid.
    low, high = (
        np.min([voxels(shifted(said, k), one) for k in corners], axis=0) if low_side
        else np.max([voxels(shifted(said, k), one) for k in corners], axis=0)
        for low_side, corners in ((True, CORNERS), (False, CORNERS))
    )  # fmt: skip
    assert not mask[high < INNER].any(), "nothing inside"
    far = np.array(said["spacing"]) / 2 / one["radii"]
    assert not mask[low > 1 + np.sqrt((far**2).sum())].any(), "nothing outside"


CORNERS = list(itertools.product((-0.5, 0.5), repeat=3))


def shifted(said, corner) -> dict:
    """The same movie, seen from a corner of its voxels."""
    origin = [o + k * s for o, k, s in zip(said["origin"], corner, said["spacing"], strict=True)]
    return said | {"origin": origin}


# --- cells


def test_cells_are_counted(said, made):
    """Dying cells exactly; others as far as they do not touch and noise does not split them."""
    ds = made("leuko-density")
    frames = range(12)
    for c in range(3):
        for t in frames:
            cells = [
                cell for cell in said["cells"]
                if cell["channel"] == c
                and ("frames" not in cell or cell["frames"][0] <= t <= cell["frames"][1])
            ]  # fmt: skip
            count = ds["cell_count"].values[t, c]
            if c == 1:
                assert count == len(cells)
                places = np.array([cell["centres"][t][1:] for cell in cells])
                apart = np.sqrt(((places[:, None] - places[None]) ** 2).sum(axis=-1))
                apart[np.diag_indices(len(cells))] = np.inf
                found = ds["cell_distance"].values[t, c]
                if len(cells) == 1:
                    assert np.isnan(found)
                else:  # centroids of blobs of some hundred pixels of half a micrometre
                    assert found == pytest.approx(apart.min(axis=1).mean(), abs=0.5)
            else:
                assert abs(count - len(cells)) <= 1
    assert (ds["cell_clustered"].values[:, 1] == 0).all(), "they are planted far apart"


# --- exports for machine learning


def test_boxes_in_pixels_are_those_of_the_cells_planted(lab, truth, tmp_path):
    """COCO's corners: pixel 0 reaches from 0 to 1, and its centre is the origin."""
    tree = dpipe.open(str(lab[0] / "store"), "leuko", "leuko-cells", "leuko-spots")
    split = dict(zip(STEMS, ("train", "train", "validation", "test"), strict=True))
    dpipe.export(tree, "coco", tmp_path / "out", split=split, size=6, channels="dying cells")
    for name in ("train", "validation", "test"):
        path = tmp_path / "out" / "annotations" / f"instances_{name}.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        pictures = {picture["id"]: picture for picture in content["images"]}
        assert {picture["movie"] for picture in pictures.values()} == {
            stem for stem, where in split.items() if where == name
        }
        found = {
            (pictures[box["image_id"]]["movie"], box["frame"], *np.round(box["bbox"], 1)): box
            for box in content["annotations"]
        }
        expected = {}
        for stem in (stem for stem, where in split.items() if where == name):
            said = truth["movies"][stem]
            (oy, ox), (sy, sx) = said["origin"][1:], said["spacing"][1:]
            for one in said["surfaces"]:
                (_, y, x), (_, ry, rx) = one["centre"], one["radii"]
                edges = [(x - rx - ox) / sx, (y - ry - oy) / sy, (x + rx - ox) / sx]
                left, top, right, bottom = (e + 0.5 for e in (*edges, (y + ry - oy) / sy))
                assert 0 < left < right < said["size"][2]
                assert 0 < top < bottom < said["size"][1]
                bbox = left, top, right - left, bottom - top
                expected[stem, one["frame"], *np.round(bbox, 1)] = bbox
        # each surface is there, none of a spot of the same cell besides
        assert set(found) == set(expected)
        for key, bbox in expected.items():
            # float32 keeps 1e-4 micrometres of 1,200, two thousandths of a pixel at most
            np.testing.assert_allclose(found[key]["bbox"], bbox, rtol=0, atol=2e-3)
            assert found[key]["source"] == "surfaces"
        counts = content["info"]["counts"]
        assert counts["boxes"] == counts["surfaces"] == len(expected)
        assert counts["same_cell"] == counts["spots"]


# --- pictures of single cells


def test_pictures_add_up(lab, truth):
    steps = {step["dataset"]: step for step in lab[1].steps}
    (stem, other), said = truth["cells"], truth["cells"]
    assert [said[s]["pictures"] for s in (stem, other)] == [1000, 1000]
    for name in ("cells", "cells-features"):
        assert steps[name]["made"] == [stem, other]
    assert steps["cells"]["items"] == 2000
    (aside,) = steps["cells"]["aside"]
    assert (aside["stem"], aside["items"], aside["whole"]) == (stem, 1, False)
    assert aside["sources"] == said[stem]["corrupt"] == [f"{stem}_3.h5"]
    assert steps["cells-features"]["aside"] == []


def test_every_picture_is_a_record_and_as_planted(lab, truth):
    store = str(lab[0] / "store")
    for stem, said in truth["cells"].items():
        ds = dpipe.open(store, "cells", part=stem).compute()
        files = ds["file"].values
        assert ds.sizes["record"] == said["pictures"]
        assert files[ds.put_aside.values != ""].tolist() == said["corrupt"]
        assert files[ds.height.values == 0].tolist() == said["corrupt"]
        there = ds.put_aside.values == ""
        assert files[there & (ds.mask_dtype.values == "")].tolist() == said["without_mask"]
        labels, counts = np.unique(ds.label.values[there], return_counts=True)
        assert dict(zip(labels.tolist(), counts.tolist(), strict=True)) == said["labels"]
        np.testing.assert_array_equal(ds["set"] == "unlabeled", ds.label == "-1")


def test_pictures_are_those_of_the_files(lab, truth):
    for stem in truth["cells"]:
        ds = dpipe.open(str(lab[0] / "store"), "cells", part=stem)
        folder = next((lab[0] / "study" / "cells").rglob(f"{stem}_0.h5")).parent
        for record in (0, 5, 11, 500, 999):
            image, mask = dpipe.unpack(ds, record)
            with h5py.File(folder / str(ds["file"].values[record])) as h5:
                np.testing.assert_array_equal(image, h5["image"][...])
                assert (mask is None) == ("mask" not in h5)
                if mask is not None:
                    np.testing.assert_array_equal(mask, h5["mask"][...])


def test_features_are_those_of_what_was_drawn(lab, truth):
    """Areas count pixels of masks; later channels are brighter, and so are stained ones."""
    store = str(lab[0] / "store")
    for stem, said in truth["cells"].items():
        table = dpipe.open(store, "cells-features", part=stem).feature.compute()
        assert table.shape == (said["pictures"], 1584), "scifAI's nine families of eight channels"
        files, lost = table["file"].values, np.isnan(table.values).all(axis=1)
        assert files[lost].tolist() == said["corrupt"]
        area = np.stack([table.sel(name=f"Area_Ch{k}").values for k in range(1, 9)], axis=1)
        bare = np.isin(files, said["without_mask"])
        assert (area[bare] == 0).all()
        folder = next((lab[0] / "study" / "cells").rglob(f"{stem}_0.h5")).parent
        for n in np.flatnonzero(~lost & ~bare):
            with h5py.File(folder / str(files[n])) as h5:
                assert area[n].tolist() == (h5["mask"][...] != 0).sum(axis=(0, 1)).tolist()
        assert int((area[~lost & ~bare] == 0).sum()) == said["empty_masks"], "the second channel's"
        highest = np.stack([table.sel(name=f"max_intensity_Ch{k}") for k in (1, 3, 4, 8)], axis=1)
        assert (np.diff(highest[~lost & ~bare], axis=1) > 0).all()
        signal = table.sel(name="max_intensity_Ch7").values  # counted from 1
        synapse = table.label.values == "Synapses_with_signaling"
        others = ~synapse & (table.label.values != "-1") & ~bare
        assert signal[synapse].mean() > 1.3 * signal[others].mean(), "1.3 / 0.8, and the background"
