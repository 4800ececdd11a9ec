"""What programs write into tables of tracks: names, units, times, frame bases, empty cells.

Each text is laid out as the program's own documentation or exporter has it, with numbers of two
spots of one track and one spot without: x 10 and 11, y 20, z 3, frames 0 and 1 (from 0).
"""

import re
from pathlib import Path

import numpy as np
import pytest

from dpipe import schema
from dpipe.errors import InputError, UsageError
from dpipe.formats.spreadsheets import Unfit
from dpipe.formats.track_columns import PROGRAMS, meaning
from dpipe.formats.track_rows import micrometres_in, seconds_in
from dpipe.operators import track_measures
from dpipe.readers import open_tracks
from dpipe.readers.tracks.spots import find
from dpipe.sources import Item


def write(folder: Path, text: str | bytes, name: str = "Neu1.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def columns(ds, *names: str) -> list[list[float]]:
    return [ds[name].values.tolist() for name in names]


TABLES = {
    "cellprofiler": (
        "ImageNumber,ObjectNumber,Metadata_Well,Location_Center_X,Location_Center_Y,"
        "Location_Center_Z,TrackObjects_Label_50\n"
        "1,1,A01,10,20,3,7\n2,1,A01,11,20,3,7\n2,2,A01,9,9,3,nan\n",
        [],
    ),
    "cellprofiler, two rows of names": (
        "Image,Nuclei,Nuclei,Nuclei,Nuclei\nImageNumber,AreaShape_Center_X,AreaShape_Center_Y,"
        "AreaShape_Center_Z,TrackObjects_Label\n1,10,20,3,7\n2,11,20,3,7\n2,9,9,3,0\n",
        [],
    ),
    "cellprofiler, names of a database": (
        "ImageNumber,Nuclei_Number_Object_Number,Nuclei_Location_Center_X,"
        "Nuclei_Location_Center_Y,Nuclei_Location_Center_Z,Nuclei_TrackObjects_Label_30\n"
        "1,1,10,20,3,7\n2,1,11,20,3,7\n2,2,9,9,3,\n",
        ["columns not read: nuclei_number_object_number"],
    ),
    "ilastik": (
        "frame,labelimageId,trackId,lineageId,parentTrackId,mergerLabelId,Object_Center_0,"
        "Object_Center_1,Object_Center_2,Center_of_the_object_0,Size_in_pixels_0\n"
        "0,1,7,2,0,0,10.0,20.0,3.0,9,88\n1,1,7,2,0,0,11.0,20.0,3.0,10,88\n1,2,-1,-1,0,0,9,9,3,9,8\n",
        [
            "columns not read: lineageid, mergerlabelid, center_of_the_object_0, size_in_pixels_0",
        ],
    ),
    "cell-acdc": (
        "frame_i,Cell_ID,time_minutes,x_centroid,y_centroid,z_centroid,is_cell_dead\n"
        "0,7,0,10,20,3,0\n1,7,0.5,11,20,3,0\n1,,0.5,9,9,3,0\n",
        ["columns not read: is_cell_dead"],
    ),
    "btrack": (
        "ID t x y z parent root state generation dummy\n"
        "7.0 0.0 10.0 20.0 3.0 7.0 7.0 0.0 0.0 0.0\n7.0 1.0 11.0 20.0 3.0 7.0 7.0 0.0 0.0 0.0\n"
        "-1 1.0 9.0 9.0 3.0 -1 -1 0.0 0.0 0.0\n",
        ["columns not read: root, state, generation, dummy"],
    ),
    "trackpy": (
        ",y,x,z,mass,size,ecc,signal,raw_mass,ep,frame,particle\n"
        "0,20.0,10.0,3.0,9,1,0,1,1,0.1,0,7.0\n1,20.0,11.0,3.0,9,1,0,1,1,0.1,1,7.0\n"
        "2,9.0,9.0,3.0,9,1,0,1,1,0.1,1,\n",
        ["columns not read: mass, size, ecc, signal, raw_mass, ep"],
    ),
    "mosaic": (
        " ,Trajectory,Frame,x,y,z,m0,m1\n1,7,0,10,20,3,1,1\n2,7,1,11,20,3,1,1\n3,-1,1,9,9,3,1,1\n",
        ["columns not read: m0, m1"],
    ),
    "manual tracking": (
        " \tTrack n\u00b0\tSlice n\u00b0\tX\tY\tZ\tDistance\tVelocity\n"
        "1\t7\t1\t10\t20\t3\t-1\t-1\n2\t7\t2\t11\t20\t3\t1\t1\n3\t\t2\t9\t9\t3\t-1\t-1\n",
        ["columns not read: distance, velocity"],
    ),
    "mastodon": (
        "Label,ID,Spot frame,Spot position,Spot position,Spot position,Spot track ID\n"
        ",,,X,Y,Z,\n,,,(pixel),(pixel),(pixel),\n"
        "a,0,0,10,20,3,7\nb,1,1,11,20,3,7\nc,2,1,9,9,3,\n",
        ["columns not read: label"],
    ),
    "napari": ("TrackID,t,z,y,x\n7,0,3,20,10\n7,1,3,20,11\n-1,1,3,9,9\n", []),
    "ultrack": (
        ",track_id,t,z,y,x,id,parent_track_id,parent_id\n0,7,0,3,20,10,1000001,-1,-1\n"
        "1,7,1,3,20,11,2000001,-1,1000001\n2,-1,1,3,9,9,2000002,-1,-1\n",
        ["columns not read: parent_id"],
    ),
    "motile": (
        "t,z,y,x,id,parent_id,track_id\n0,3,20,10,1,,7\n1,3,20,11,2,1,7\n1,3,9,9,3,,\n",
        ["columns not read: parent_id"],
    ),
    "columns in pixels": (
        "cell_id,frame,x (px),y (px),z (px),mean\n7,0,10,20,3,1\n7,1,11,20,3,1\nNA,1,9,9,3,1\n",
        ["columns not read: mean"],
    ),
}


@pytest.mark.parametrize("program", TABLES)
def test_programs(tmp_path, program):
    text, notes = TABLES[program]
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=r"places are in pixels; say spacing=.* or unit=um"):
        open_tracks(path)
    ds = open_tracks(path, spacing=[2, 0.5, 0.25])
    assert columns(ds, "track", "frame") == [[7, 7, -1], [0, 1, 1]]
    assert columns(ds, "spot_x", "spot_y", "spot_z") == [[2.5, 2.75, 2.25], [10, 10, 4.5], [6] * 3]
    assert ds.attrs.get("notes", []) == notes
    assert ds.attrs["frame_base"] == (program.startswith(("cellprofiler", "manual")))
    times = [0, 30, 30] if program == "cell-acdc" else [np.nan] * 3
    np.testing.assert_array_equal(ds.spot_t, times)
    assert open_tracks(path, unit="um").spot_x.values.tolist() == [10, 11, 9]


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("ilastik", "frame,labelimageId,trackId,lineageId,parentTrackId,Object_Center_0,"
                    "Object_Center_1\n0,1,2,2,0,1,1\n1,1,3,2,2,1,1\n1,2,4,2,2,1,1\n"),
        ("napari", "track_id,t,y,x,parent_track_id\n2,0,1,1,-1\n3,1,1,1,2\n4,1,1,1,2\n"),
        ("btrack-tracks", "ID t x y z parent root\n2 0 1 1 0 2 2\n3 1 1 1 0 2 2\n4 1 1 1 0 2 2\n"),
        ("columns", "track_id,frame,y_px,x_px,parent_track\n2,0,1,1,\n3,1,1,1,2\n4,1,1,1,2\n"),
    ],
)  # fmt: skip
def test_parents(tmp_path, program, text):
    ds = open_tracks(write(tmp_path, text), format=program, spacing=[1, 1, 1])
    assert columns(ds, "track_id", "track_parent") == [[2, 3, 4], [-1, 2, 2]]
    again = [write(tmp_path, text, f"Neu1_ch{c}.csv") for c in (1, 2)]
    both = open_tracks([str(path) for path in again], spacing=[1, 1, 1])
    shift = 2**32
    assert columns(both, "track_id", "track_parent") == [
        [2, 3, 4, 2 + shift, 3 + shift, 4 + shift], [-1, 2, 2, -1, 2 + shift, 2 + shift],
    ]  # fmt: skip
    for variable in both.variables:
        assert schema.VARIABLES.get(str(variable)) is not None or variable == "track_id"


def test_a_track_of_two_parents_is_refused(tmp_path):
    text = "track_id,t,y,x,parent_track_id\n2,0,1,1,-1\n2,1,1,1,5\n"
    with pytest.raises(InputError, match="track 2 has the parents -1 and 5; expected one"):
        open_tracks(write(tmp_path, text), unit="um")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("track_id,frame,x_um,y_um", {}),
        ("TrackID,Frame,X [\u00b5m],Y [\u00b5m]", {}),
        ("Track,Time Point,Position X (microns),Position Y (microns)", {}),
        ("particle,timepoint,pos_x_um,pos_y_um", {}),
        ("track number,frame_number,x (\\u00B5m),y (\\u00B5m)", {}),
        ("Cell_ID,t,centroid_x,centroid_y", {"time_unit": "frame", "unit": "um"}),
        ("trajectory_id,frame_idx,x,y", {"unit": "um"}),
    ],
)
def test_words_for_columns(tmp_path, header, said):
    ds = open_tracks(write(tmp_path, f"{header}\n7,2,10,20\n"), **said)
    assert columns(ds, "track", "frame", "spot_x", "spot_y", "spot_z") == [
        [7],
        [2],
        [10],
        [20],
        [0],
    ]
    assert "notes" not in ds.attrs


@pytest.mark.parametrize(
    ("word", "factor"),
    [
        *((word, 1) for word in ("um", "\u00b5m", "\u03bcm", "micron", "Microns", "micrometre",
                                 "(micrometer)", "[um]", "\\u00B5m", "\u00c2\u00b5m")),
        ("nm", 1e-3), ("mm", 1000), ("cm", 1e4), ("m", 1e6), ("\u00c5", 1e-4), ("inch", 25400),
        ("pixel", None), ("px", None), ("Voxels", None),
    ],
)  # fmt: skip
def test_units_of_length(word, factor):
    assert micrometres_in(word) == factor


@pytest.mark.parametrize(
    ("word", "factor"),
    [
        *((word, 1) for word in ("s", "sec", "(sec)", "seconds", "[s]")),
        ("ms", 1e-3), ("msec", 1e-3), ("\u00b5s", 1e-6), ("min", 60), ("minutes", 60), ("h", 3600),
        ("hr", 3600), ("d", 86400), ("frame", None), ("frames", None), ("", None),
    ],
)  # fmt: skip
def test_units_of_time(word, factor):
    assert seconds_in(word) == factor


@pytest.mark.parametrize("word", ["furlong", "cubit", "", "?m", "x"])
def test_unknown_lengths_are_refused_by_name(word):
    with pytest.raises(Unfit, match=r"say unit=um, or unit=pixel and spacing="):
        micrometres_in(word)


def test_unknown_times_are_refused_by_name():
    with pytest.raises(Unfit, match=r"times are in 'fortnight'; say interval= in seconds"):
        seconds_in("fortnight")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x_um", ("x", "um")), ("position x [px]", ("x", "px")), ("time (h)", ("time", "h")),
        ("t_min", ("time", "min")), ("x_mean", ("", "")), ("x (furlong)", ("x", "furlong")),
        ("frame", ("frame", "")), ("area", ("", "")), ("track_duration", ("", "")),
        ("x_a", ("", "")), ("x_m", ("", "")), ("x_s", ("", "")), ("track_s", ("", "")),
        ("frame_s", ("", "")), ("frame (s)", ("time", "s")), ("time point [min]", ("time", "min")),
        ("radius_um", ("radius", "um")), ("x [m]", ("x", "m")), ("t_um", ("", "")),
    ],
)  # fmt: skip
def test_what_names_mean(name, expected):
    assert meaning(name) == expected


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("track_id,frame,x,y", "places have no unit in the file; say unit=um, or unit=pixel and"),
        ("track_id,frame,x (furlong),y (furlong)", "places are in 'furlong'; say unit=um"),
        ("track_id,frame,x_um,y_px", "places are in 'px (y_px), um (x_um)'; say unit=um"),
        ("track_id,time,x_um,y_um", "times have no unit in the file; say time_unit=s, or min"),
        ("track_id,time (lap),x_um,y_um", "times are in 'lap'; say interval= in seconds"),
        ("frame,x_um,y_um,id", "found frame, x_um, y_um, id; rename columns so that there are a"),
        ("track_id,x_um,y_um,z_um", "no column 'frame' or 't_s'; found track_id, x_um, y_um, z_um"),
        ("source_frame,source_label,target_frame,weight", "trackastra's table of links, without"),
        ("LABEL,TRACK_ID,SPOT_SOURCE_ID,SPOT_TARGET_ID", "TrackMate's table of links, without the"),
        ("LABEL,TRACK_ID,NUMBER_SPOTS,TRACK_DURATION", "TrackMate's table of tracks, without the"),
    ],
)
def test_what_is_missing_is_said(tmp_path, header, message):
    with pytest.raises(InputError, match=re.escape(message)):
        open_tracks(write(tmp_path, f"{header}\n7,2,10,20\n"))


def test_a_time_that_is_taken_for_a_frame_says_what_to_do(tmp_path):
    """celltrackR's tracks, saved with the names that napari's have."""
    path = write(tmp_path, "track_id,t,x,y\n1,0,1,1\n1,27.5,1,1\n1,55,1,1\n")
    with pytest.raises(InputError, match="if t is a time, say format=columns and time_unit=s"):
        open_tracks(path, unit="um")
    ds = open_tracks(path, unit="um", format="columns", time_unit="s")
    assert columns(ds, "frame", "spot_t") == [[0, 1, 2], [0, 27.5, 55]]


# --- times ------------------------------------------------------------------------------------

SPOTS = "LABEL,ID,TRACK_ID,POSITION_X,POSITION_Y,POSITION_T,FRAME\n"
UNITS = (
    "Label,Spot ID,Track ID,X,Y,T,Frame\nLabel,Spot ID,Track ID,X,Y,T,Frame\n,,,(um),(um),(%s),\n"
)


@pytest.mark.parametrize(
    ("unit", "second", "expected"),
    [("sec", 30, 30), ("min", 0.5, 30), ("h", 0.5, 1800), ("ms", 500, 0.5), ("frame", 1, np.nan)],
)
@pytest.mark.parametrize("form", ["csv", "xml"])
def test_trackmate_times_by_their_unit(tmp_path, unit, second, expected, form):
    if form == "csv":
        text = SPOTS + UNITS % unit + f"a,1,0,1,1,0,0\nb,2,0,1,1,{second},1\n"
    else:
        text = model(unit, [(1, 0, 0), (2, 1, second)])
    ds = open_tracks(write(tmp_path, text))
    np.testing.assert_array_equal(ds.spot_t, [0 if expected == expected else np.nan, expected])
    assert ds.attrs.get("interval", np.nan) == pytest.approx(expected, nan_ok=True)


def model(unit: str, rows, interval: float | str = "", tracks: str = "", kept: str = "") -> str:
    """A TrackMate file of spots (ID, frame, time)."""
    spots = "".join(
        f'<Spot ID="{n}" FRAME="{f}" POSITION_T="{t}" POSITION_X="1" POSITION_Y="1" '
        'POSITION_Z="0"/>'
        for n, f, t in rows
    )
    image = f'<Settings><ImageData timeinterval="{interval}"/></Settings>' if interval else ""
    return (
        f'<TrackMate><Model spatialunits="um" timeunits="{unit}"><AllSpots><SpotsInFrame>{spots}'
        f"</SpotsInFrame></AllSpots><AllTracks>{tracks}</AllTracks>{kept}</Model>{image}</TrackMate>"
    )


def test_an_unknown_unit_of_time_is_refused_and_an_interval_helps(tmp_path):
    path = write(tmp_path, model("fortnight", [(1, 0, 0), (2, 1, 1)]))
    with pytest.raises(InputError, match="times are in 'fortnight'; say interval= in seconds"):
        open_tracks(path)
    assert open_tracks(path, interval=20).spot_t.values.tolist() == [0, 20]


def test_what_an_interval_overrules_is_said(tmp_path):
    path = write(tmp_path, model("sec", [(1, 0, 0), (2, 1, 30)], interval=30))
    ds = open_tracks(path, interval=20)
    assert ds.spot_t.values.tolist() == [0, 20]
    assert ds.attrs["notes"] == ["interval=20 is taken; by the file, frames are 30 s apart"]
    assert "notes" not in open_tracks(path, interval=30.2).attrs  # within a hundredth
    assert "notes" in open_tracks(path, interval=30.4).attrs


def test_times_without_a_unit_are_said_and_not_taken(tmp_path):
    path = write(tmp_path, "track_id,frame,time,x_um,y_um\n1,0,0,1,1\n1,1,30,1,1\n")
    ds = open_tracks(path)
    assert np.isnan(ds.spot_t).all()
    assert ds.attrs["notes"] == [
        "times of the file have no unit and are not taken; say time_unit= or interval="
    ]
    assert open_tracks(path, time_unit="s").spot_t.values.tolist() == [0, 30]
    assert open_tracks(path, time_unit="min").spot_t.values.tolist() == [0, 1800]


def test_a_radius_in_another_unit_than_places_is_not_read(tmp_path):
    path = write(tmp_path, "track_id,frame,x_px,y_px,radius_um\n1,0,1,1,4\n")
    ds = open_tracks(path, spacing=[1, 0.5, 0.5])
    assert np.isnan(ds.spot_radius).all()
    assert ds.attrs["notes"] == ["radius_um is in another unit than places: not read"]
    path = write(tmp_path, "track_id,frame,x_px,y_px,radius\n1,0,1,1,4\n")
    assert open_tracks(path, spacing=[1, 0.5, 0.5]).spot_radius.item() == 2


def test_times_that_stand_still_are_said_and_not_taken(tmp_path):
    rows = [(1, 0, 0), (2, 1, 0), (3, 2, 0)]
    ds = open_tracks(write(tmp_path, model("sec", rows, interval=30)))
    assert ds.spot_t.values.tolist() == [0, 30, 60]
    assert ds.attrs["notes"] == ["times in the file stand still at 0 s; they are not taken"]
    ds = open_tracks(write(tmp_path, model("sec", rows)))
    assert np.isnan(ds.spot_t).all()


def test_one_time_that_goes_back_is_named_and_the_others_kept(tmp_path):
    rows = [(1, 0, 0), (2, 1, 30), (3, 2, 30), (4, 3, 90)]
    ds = open_tracks(write(tmp_path, model("sec", rows)))
    assert ds.spot_t.values.tolist() == [0, 30, 30, 90]
    assert ds.attrs["interval"] == 45  # the median of the steps that rise, 30 and 60
    assert ds.attrs["notes"] == [
        "times do not rise in 1 of 3 steps: frame 1 is at 30 s, frame 2 at 30 s"
    ]


def test_a_time_that_is_lacking_does_not_cost_the_others(tmp_path):
    text = "track,frame,spot_x,spot_y,spot_z,spot_t\n1,0,1,1,1,0\n1,1,1,1,1,\n1,2,1,1,1,61\n"
    ds = open_tracks(write(tmp_path, text))
    assert ds.spot_t.values.tolist() == [0, 30.5, 61]


def test_trackmate_times_that_are_frames_are_no_seconds(tmp_path):
    ds = open_tracks(write(tmp_path, SPOTS + "a,1,0,1,1,0,0\nb,2,0,1,1,1,1\n"))
    assert np.isnan(ds.spot_t).all()
    assert ds.attrs["notes"] == ["times (position_t) are the numbers of frames; say interval="]


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_rows_below_trackmates_header(tmp_path, kept):
    """Some programs keep one or two of the three rows that repeat the header."""
    below = (UNITS % "min").splitlines(keepends=True)
    text = SPOTS + "".join(below[3 - kept :]) + "a,1,0,1,1,0,0\nb,2,None,1,1,0.5,1\n"
    ds = open_tracks(write(tmp_path, text))
    assert columns(ds, "track", "frame") == [[0, -1], [0, 1]]
    assert ds.spot_t.values.tolist() == ([0, 30] if kept else [0, 0.5])
    assert ("assumed" in ds.attrs) == (not kept)


def test_trackmates_old_header_with_numbers_of_rows(tmp_path):
    text = (
        " \tLabel\tID\tTRACK_ID\tQUALITY\tPOSITION_X\tPOSITION_Y\tPOSITION_Z\tPOSITION_T\tFRAME\n"
    )
    rows = "1\tID1\t1\tNone\t5\t1\t2\t0\t0\t0\n2\tID2\t2\t0\t5\t1\t2\t0\t20\t1\n"
    ds = open_tracks(write(tmp_path, text + rows, "Spots.xls.csv"))
    assert columns(ds, "track", "spot_t") == [[-1, 0], [0, 20]]


# --- TrackMate's filter -----------------------------------------------------------------------


def test_tracks_that_their_author_filtered_out_are_left_out_and_counted(tmp_path):
    """Three tracks of two spots each; the filter keeps 0 and 2."""
    rows = [(n, n % 2, 30 * (n % 2)) for n in range(6)]
    tracks = "".join(
        f'<Track TRACK_ID="{k}"><Edge SPOT_SOURCE_ID="{2 * k}" '
        f'SPOT_TARGET_ID="{2 * k + 1}"/></Track>'
        for k in range(3)
    )
    kept = '<FilteredTracks><TrackID TRACK_ID="0"/><TrackID TRACK_ID="2"/></FilteredTracks>'
    ds = open_tracks(write(tmp_path, model("sec", rows, tracks=tracks, kept=kept)))
    assert ds.track.values.tolist() == [0, 0, -1, -1, 2, 2]
    assert ds.attrs["notes"] == [
        "1 of 3 tracks left out, as TrackMate's filter says; their spots have none"
    ]
    ds = open_tracks(write(tmp_path, model("sec", rows, tracks=tracks)))
    assert ds.track.values.tolist() == [0, 0, 1, 1, 2, 2]
    assert ds.attrs["notes"] == ["no <FilteredTracks> in the file: all tracks are taken"]
    ds = open_tracks(write(tmp_path, model("sec", rows, tracks=tracks, kept="<FilteredTracks/>")))
    assert set(ds.track.values) == {-1}


@pytest.mark.parametrize("said", ["0", "0.0", "false"])
def test_spots_that_their_author_hid_are_left_out_and_counted(tmp_path, said):
    text = model("sec", [(1, 0, 0), (2, 1, 30)]).replace('ID="2"', f'ID="2" VISIBILITY="{said}"')
    ds = open_tracks(write(tmp_path, text))
    assert ds.spot_id.values.tolist() == [1]
    assert ds.attrs["notes"] == ["1 of 2 spots left out: TrackMate's filter hides them"]


def test_spots_of_one_number_are_refused_and_those_without_a_place_counted(tmp_path):
    with pytest.raises(InputError, match="two spots have the ID 2; expected one"):
        open_tracks(write(tmp_path, model("sec", [(1, 0, 0), (2, 1, 30), (2, 2, 60)])))
    text = model("sec", [(1, 0, 0), (2, 1, 30)]).replace('X="1"', 'X="NaN"', 1)
    assert open_tracks(write(tmp_path, text)).attrs["notes"] == [
        "1 of 2 spots have no place, and so no track"
    ]


# --- XML and text -----------------------------------------------------------------------------

POINTS = (
    '<{0}{1}><detection t="0" x="10" y="20" z="3"/><detection t="1" x="11" y="20" z="3"/></{0}>'
)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ('<Tracks nTracks="1" spaceUnits="um" frameInterval="0.5" timeUnits="min">{p}</Tracks>', 1),
        ('<Tracks spaceUnits="nm" frameInterval="30.0" timeUnits="sec">{p}</Tracks>', 1e-3),
        ('<root><TrackContestISBI2012 snr="7">{p}</TrackContestISBI2012></root>', None),
        ('<root><trackfile version="1"/><trackgroup description="a">{t}</trackgroup></root>', None),
    ],
    ids=["trackmate", "nm", "isbi", "icy"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_tracks_of_detections(tmp_path, text, unit, encoding):
    particles = POINTS.format("particle", "") * 2
    tracks = POINTS.format("track", ' id="-1743400864"') + POINTS.format("track", ' id="5"')
    full = f'<?xml version="1.0" encoding="{encoding}"?>' + text.format(p=particles, t=tracks)
    path = write(tmp_path, full.encode(encoding), "a.xml")
    said = {"spacing": [1, 1, 1]} if unit is None else {}
    ds = open_tracks(path, **said)
    assert columns(ds, "track", "frame") == [[0, 0, 1, 1], [0, 1, 0, 1]]
    scale = unit or 1
    np.testing.assert_allclose(ds.spot_x, np.array([10, 11, 10, 11]) * scale)
    np.testing.assert_allclose(ds.spot_z, 3 * scale)
    np.testing.assert_array_equal(ds.spot_t, [np.nan] * 4 if unit is None else [0, 30, 0, 30])
    assert ds.attrs["assumed"] == ["tracks are numbered from 0 in the order of the file"]


MDF = """MTrackJ 1.5.1 Data File
Displaying true true true 1 2 0 0 100 10 0 0 0 2 1 12 0 true false false false
Assembly 1 FF0000
Cluster 1 FF0000
Track 1 FF0000 true
Point 1 10.0 20.0 4.0 1.0 1.0
Point 2 11.0 20.0 4.0 2.0 1.0
Cluster 2 FF0000
Track 1 FF0000 true
Point 1 9.0 9.0 4.0 2.0 {channel}
End of MTrackJ Data File
"""


def test_mtrackj(tmp_path):
    """x and y count from 0, z and t from 1, and each cluster counts its tracks anew."""
    path = write(tmp_path, MDF.format(channel="1.0"), "a.mdf")
    ds = open_tracks(path, spacing=[2, 0.5, 0.25], interval=30)
    assert columns(ds, "track", "frame", "spot_t") == [
        [1, 1, 1 + 2**32], [0, 1, 1], [0, 30, 30],
    ]  # fmt: skip
    assert columns(ds, "spot_x", "spot_y", "spot_z") == [[2.5, 2.75, 2.25], [10, 10, 4.5], [6] * 3]
    assert ds.attrs == {"frame_base": 1, "interval": 30}
    path = write(tmp_path, MDF.format(channel="2.0"), "b.mdf")
    told = open_tracks(path, unit="um").attrs["notes"]
    assert told == ["spots of the channels 1.0, 2.0 are together"]
    items = [Item(f"/r/{n}", n, 9, "0") for n in ("Neu1.mdf", "Neu2.MDF")]
    assert [part.stem for part in find(items)] == ["Neu1", "Neu2"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Point 2 11.0 20.0 4.0 2.0 1.0", "Point 2 11.0 20.0", "line 7: 'Point 2 11.0 20.0'; exp"),
        ("Point 2 11.0", "Point 2 oops", "line 7: 'Point 2 oops 20.0 4.0 2.0 1.0'; expected Point"),
        ("4.0 2.0 1.0\nCluster", "4.0 2.5 1.0\nCluster", "t whole"),
        ("Track 1 FF0000 true\nPoint 1 10.0", "Track x\nPoint 1 10.0", "line 5: 'Track x'; expec"),
        ("4.0 1.0 1.0", "4.0 0.0 1.0", "frame 0 is before the first, 1"),
    ],
)
def test_bad_mtrackj(tmp_path, old, new, message):
    path = write(tmp_path, MDF.format(channel="1.0").replace(old, new), "a.mdf")
    with pytest.raises(InputError, match=re.escape(message)):
        open_tracks(path, unit="um")


# --- bounds -----------------------------------------------------------------------------------

LARGE = {"2^63": str(2**63), "-2^63": str(-(2**63)), "1e300": "1e300", "400 digits": "7" * 400}
PLACES = {
    "Imaris": "Position X,Position Y,Position Z,Unit,Time,TrackID,ID\n1,1,1,um,{frame},{track},0\n",
    "TrackMate": SPOTS + UNITS % "sec" + "a,1,{track},1,1,0,{frame}\n",
    "trackpy": "y,x,frame,particle\n1,1,{frame},{track}\n",
    "columns": "track_id,frame,x_um,y_um\n{track},{frame},1,1\n",
    "biotracks": "",
    "xml": '<Tracks spaceUnits="um"><particle><detection t="{frame}" x="1" y="1" z="{track}"/>'
    "</particle></Tracks>",
    "trackmate-xml": '<TrackMate><Model spatialunits="um"><AllSpots><SpotsInFrame>'
    '<Spot ID="{track}" FRAME="{frame}" POSITION_X="1" POSITION_Y="1" POSITION_Z="0"/>'
    "</SpotsInFrame></AllSpots></Model></TrackMate>",
    "immunemap": '[{{"id": {track}, "points": [[{frame}, 1, 1, 1]]}}]',
    "mtrackj": "MTrackJ 1.5.1 Data File\nTrack {track}\nPoint 1 1 1 1 {frame} 1\n",
    "celltrackr": "{track} {frame} 1 1\n1 0 1 1\n1 1 1 1\n",
}


@pytest.mark.parametrize("value", LARGE)
@pytest.mark.parametrize("where", ["track", "frame"])
@pytest.mark.parametrize("form", [form for form in PLACES if PLACES[form]])
def test_numbers_beyond_all_bounds_are_refused_by_name(tmp_path, form, where, value):
    """No cast overflows; a place may be large, and what is no number says which it is."""
    text = PLACES[form].format(**({"track": "1", "frame": "1"} | {where: LARGE[value]}))
    said = {"format": form} if form in ("celltrackr", "mtrackj", "immunemap") else {}
    if (form, where) == ("xml", "track") and value != "400 digits":
        return  # it is a place there
    with pytest.raises(InputError) as told:
        open_tracks(write(tmp_path, text), unit="um", **said)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 200
    assert LARGE[value][:5] in str(told.value) or "e+" in str(told.value)


def test_one_frame_far_beyond_the_others_is_noted(tmp_path):
    rows = [f"1,{f},1,1" for f in (0, 1, 2, 3, 50_000_000_000)]
    ds = open_tracks(write(tmp_path, "\n".join(["track_id,frame,x_um,y_um", *rows, ""])))
    assert ds.frame.values.tolist()[-1] == 50_000_000_000
    assert ds.attrs["notes"] == [
        "1 of 5 spots are far beyond the others: frame 50000000000; is it mistyped?"
    ]


@pytest.mark.parametrize(
    ("frames", "odd"),
    [
        ([1_000_000], 0), ([1_000_001], 1),
        ([100, 100, 100, 100, 10_000], 0), ([100, 100, 100, 100, 10_001], 1),
        ([200, 200, 200, 200, 20_000], 0), ([200, 200, 200, 200, 20_001], 1),
        ([100, 100, 100, 20_000], 0), ([np.nan] * 9 + [2.0], 0),
    ],
)  # fmt: skip
def test_how_far_is_far(frames, odd):
    assert int(schema.far_frames(np.asarray(frames)).sum()) == odd


def test_negative_numbers_of_tracks_but_one_are_refused(tmp_path):
    path = write(tmp_path, "track_id,frame,x_um,y_um\n1,0,1,1\n-5,1,1,1\n")
    with pytest.raises(InputError, match=r"track -5; expected numbers from 0, or -1 for no track"):
        open_tracks(path)


@pytest.mark.parametrize(
    ("at", "said", "kept"),
    [
        *((sign * 0.01, {}, True) for sign in (1, -1)),
        *((sign * 0.0101, {}, False) for sign in (1, -1)),
        *((sign * 0.25, {"interval": 1}, True) for sign in (1, -1)),
        *((sign * 0.251, {"interval": 1}, False) for sign in (1, -1)),
    ],
)
def test_the_tolerance_of_times(tmp_path, at, said, kept):
    """A hundredth of the smallest step, 1 s here; a quarter of an interval that a person says."""
    text = f"track_id,t_s,x_um,y_um\n1,0,1,1\n1,1,1,1\n1,{5 + at},1,1\n"
    if kept:
        assert open_tracks(write(tmp_path, text), **said).frame.values.tolist() == [0, 1, 5]
    else:
        with pytest.raises(InputError, match="is no multiple of the interval 1 s"):
            open_tracks(write(tmp_path, text), **said)


def test_stamps_that_stray_take_the_interval_that_the_message_asks_for(tmp_path):
    text = "track_id,t_s,x_um,y_um\n1,0,1,1\n1,30.2,1,1\n1,59.1,1,1\n1,91,1,1\n"
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=r"no multiple of the interval 28\.9 s; say interval="):
        open_tracks(path)
    ds = open_tracks(path, interval=30)
    assert columns(ds, "frame", "spot_t") == [[0, 1, 2, 3], [0, 30.2, 59.1, 91]]


@pytest.mark.parametrize(("first", "frames"), [(15, [0, 1, 2]), (75, [2, 3, 4])])
def test_times_that_all_lie_beyond_multiples_of_the_step(tmp_path, first, frames):
    rows = "".join(f"1,{first + 30 * k},1,1\n" for k in range(3))
    ds = open_tracks(write(tmp_path, f"track_id,t_s,x_um,y_um\n{rows}"))
    assert columns(ds, "frame", "spot_t") == [frames, [first, first + 30, first + 60]]
    assert "times lie 15 s beyond multiples of 30 s" in ds.attrs["notes"][0]


def test_times_that_stand_in_a_column_of_frames_are_noted(tmp_path):
    text = "track_id,t,z,y,x\n1,0,0,1,2\n1,30,0,1,3\n1,60,0,1,4\n"
    path = write(tmp_path, text)
    ds = open_tracks(path, spacing=[2, 1, 1])
    assert "spots lie in frames 0, 30, 60, ... only, 30 apart" in ds.attrs["notes"][0]
    said = {"format": "columns", "time_unit": "s", "unit": "pixel", "spacing": [2, 1, 1]}
    assert columns(open_tracks(path, **said), "frame", "spot_t") == [[0, 1, 2], [0, 30, 60]]
    every = write(tmp_path, text.replace("1,30,", "1,1,").replace("1,60,", "1,2,"))
    assert "notes" not in open_tracks(every, spacing=[2, 1, 1]).attrs


def test_frames_that_begin_at_one_are_said_to_count_from_zero(tmp_path):
    text = "track_id,frame,x_um,y_um\n1,1,1,1\n1,2,1,1\n"
    line = "frames count from 0 in the file; they begin at 1"
    assert open_tracks(write(tmp_path, text)).attrs["assumed"] == [line]
    assert "assumed" not in open_tracks(write(tmp_path, text), first_frame=1).attrs


def test_places_in_micrometres_are_taken_rather_than_those_in_pixels(tmp_path):
    text = "track_id,frame,x_px,y_px,x_um,y_um\n1,0,10,20,5,10\n"
    for said in ({}, {"unit": "um"}):
        assert columns(open_tracks(write(tmp_path, text), **said), "spot_x", "spot_y") == [
            [5],
            [10],
        ]


def test_a_spot_without_a_place_does_not_cost_the_others(tmp_path):
    head = "track,frame,spot_z,spot_y,spot_x\n1,0,1,2,3\n"
    ds = open_tracks(write(tmp_path, f"{head}1,1,nan,,NaN\n"))
    np.testing.assert_array_equal(ds.spot_x.values, [3, np.nan])
    assert ds.track.values.tolist() == [1, -1]
    assert ds.attrs["notes"] == ["1 of 2 spots have no place, and so no track"]
    for row in ("1,1,5,,NaN", "1,1,inf,inf,inf"):
        with pytest.raises(InputError, match=r"line 3: spot_\w is '.*'; expected a number"):
            open_tracks(write(tmp_path, f"{head}{row}\n"))


def test_a_track_that_lacks_a_place_has_a_length(tmp_path):
    text = "track,frame,spot_z,spot_y,spot_x\n1,0,0,0,0\n1,1,nan,nan,nan\n1,2,0,3,4\n"
    found = track_measures(open_tracks(write(tmp_path, text), interval=1))
    assert columns(found, "track_length", "track_gaps") == [[5], [1]]


def test_units_of_trackmate_that_differ_are_not_one(tmp_path):
    rows = (
        "TRACK_ID,POSITION_X,POSITION_Y,POSITION_Z,FRAME,RADIUS\n"
        ",(micron),(micron),({}),,({})\n0,1,2,3,0,4\n"
    )
    path = write(tmp_path, rows.format("pixel", "micron"))
    with pytest.raises(InputError, match=r"micron \(position_x\), .*pixel \(position_z\)'; say"):
        open_tracks(path)
    assert open_tracks(path, unit="um").spot_z.values.tolist() == [3]
    ds = open_tracks(write(tmp_path, rows.format("micron", "pixel")))
    assert "radius is in pixel, places are not: it is not read" in ds.attrs["notes"]
    assert np.isnan(ds.spot_radius.values).all()


# --- several movies in one table --------------------------------------------------------------


def test_rows_of_several_movies_are_not_one(tmp_path):
    text = "well,site,track_id,frame,x_um,y_um\nA01,1,1,0,1,1\nA01,2,1,0,2,2\nB01,1,1,0,3,3\n"
    path = write(tmp_path, text)
    message = r"rows of 3 movies, by well and site \(A01/1, A01/2, B01/1\); say movie= for one"
    with pytest.raises(InputError, match=message):
        open_tracks(path)
    ds = open_tracks(path, movie="A01/2")
    assert (ds.spot_x.values.tolist(), "notes" in ds.attrs) == ([2], False)
    with pytest.raises(InputError, match=r"no movie 'C'; found A01/1, A01/2, B01/1"):
        open_tracks(path, movie="C")


def test_the_csv_of_several_parts_that_dpipe_writes(tmp_path):
    rows = "m,0,1,2,3,0,9\nn,0,4,5,6,0,9\n"
    path = write(tmp_path, f"part,spot,spot_x,spot_y,spot_z,frame,track\n{rows}")
    with pytest.raises(InputError, match=r"rows of 2 movies, by part \(m, n\)"):
        open_tracks(path)
    assert open_tracks(path, movie="n").spot_x.values.tolist() == [4]


def test_frames_that_are_counted_through_all_movies_are_said(tmp_path):
    text = "well,track_id,frame,x_um,y_um\nA,1,0,1,1\nA,1,1,1,1\nB,1,2,1,1\nB,1,3,1,1\n"
    path = write(tmp_path, text)
    assert "notes" not in open_tracks(path, movie="A").attrs
    (note,) = open_tracks(path, movie="B").attrs["notes"]
    assert note.endswith("if frames are counted through all movies, say first_frame=2")
    assert open_tracks(path, movie="B", first_frame=2).frame.values.tolist() == [0, 1]


def test_a_table_without_movies_has_none_to_choose(tmp_path):
    path = write(tmp_path, "track_id,frame,x_um,y_um\n1,0,1,1\n")
    with pytest.raises(InputError, match="no movie 'A'; found no column that names movies"):
        open_tracks(path, movie="A")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"time_unit": "weeks"}, "time_unit: found 'weeks'; expected s, ms, min, h or frame"),
        ({"first_frame": 10**30}, "first_frame: found 1000"),
        ({"frames": 2.5}, "frames: found 2.5; expected a whole number"),
        ({"interval": float("inf")}, "interval: found inf"),
        ({"spacing": [1, 1, 10**400]}, "spacing: found"),
    ],
)
def test_bad_options(tmp_path, said, message):
    with pytest.raises(UsageError, match=message):
        open_tracks(write(tmp_path, "track_id,frame,x_um,y_um\n1,0,1,1\n"), **said)


def test_objects_of_biotracks_under_another_name(tmp_path):
    text = "cmso_object_id,cmso_frame_id,cmso_x_coord,cmso_y_coord\n5,0,10,20\n"
    ds = open_tracks(write(tmp_path, text), spacing=[1, 1, 1])
    assert columns(ds, "track", "spot_id", "spot_x") == [[-1], [5], [10]]


def test_a_table_of_trackmate_without_frames(tmp_path):
    text = "TRACK_ID,POSITION_X,POSITION_Y,POSITION_T\n1,1,1,0\n1,2,1,30\n"
    with pytest.raises(InputError, match="places have no unit in the file; say unit=um"):
        open_tracks(write(tmp_path, text))
    ds = open_tracks(write(tmp_path, text), unit="um", time_unit="s")
    assert columns(ds, "frame", "spot_t") == [[0, 1], [0, 30]]


def test_hdf5_says_what_to_do(tmp_path):
    """btrack's own file."""
    with pytest.raises(InputError, match=r"HDF5; expected a table, .* export the tracks as CSV"):
        open_tracks(write(tmp_path, b"\x89HDF\r\n\x1a\n", "tracks.h5"))


def test_every_program_is_tried():
    tried = {name.partition(",")[0].replace(" ", "-") for name in TABLES}
    same = {"btrack": "btrack-tracks", "ultrack": "napari", "motile": "napari"}
    assert {same.get(name, name) for name in tried} - {"columns-in-pixels"} == set(PROGRAMS)


# --- two things that a file says --------------------------------------------------------------


def test_a_time_beside_a_frame_is_no_frame(tmp_path):
    text = "Label,ID,Track ID,X,Y,T,Frame\nID1,1,0,10,20,0,0\nID2,2,0,11,20,30,1\n"
    ds = open_tracks(write(tmp_path, text), unit="um", time_unit="s")
    assert columns(ds, "frame", "spot_t", "spot_x") == [[0, 1], [0, 30], [10, 11]]


def test_times_of_spots_go_before_an_interval_that_contradicts_them(tmp_path):
    spots = "".join(
        f'<SpotsInFrame frame="{n}"><Spot ID="{n}" FRAME="{n}" POSITION_X="1" POSITION_Y="1" '
        f'POSITION_Z="0" POSITION_T="{30 * n}"/></SpotsInFrame>'
        for n in range(3)
    )
    text = (
        f'<TrackMate><Model spatialunits="um" timeunits="sec"><AllSpots>{spots}</AllSpots></Model>'
        '<Settings><ImageData timeinterval="{}"/></Settings></TrackMate>'
    )
    ds = open_tracks(write(tmp_path, text.format(1), "a.xml"))
    assert (ds.attrs["interval"], ds.spot_t.values.tolist()) == (30, [0, 30, 60])
    assert "30 s apart by the times of spots, which are taken; the file" in ds.attrs["notes"][0]
    assert "notes" not in open_tracks(write(tmp_path, text.format(30), "b.xml")).attrs


@pytest.mark.parametrize(
    "text",
    [
        "id,t,x,y,z\n1,24,10,20,1\n1,48,11,20,1\n",
        '"","id","t","x","y","z"\n"1","1",24,10,20,1\n"2","1",48,11,20,1\n',
        '"id" "t" "x" "y" "z"\n"1" "1" 24 10 20 1\n"2" "1" 48 11 20 1\n',
    ],
)
def test_celltrackr_with_its_header(tmp_path, text):
    ds = open_tracks(write(tmp_path, text), format="celltrackr")
    assert columns(ds, "track", "frame", "spot_t", "spot_x") == [[1, 1], [1, 2], [24, 48], [10, 11]]
