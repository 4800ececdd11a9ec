"""The vocabulary: what is checked, what is written down, and where places come from."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from dpipe import schema
from dpipe.errors import SchemaError


def a_movie(**said: object) -> xr.Dataset:
    pixels = da.zeros((3, 2, 4, 5, 6), chunks=2, dtype="u2")
    return schema.movie(pixels, **said)


# --------------------------------------------------------------------------------- variables


@pytest.mark.parametrize("variable", schema.VARIABLES.values(), ids=lambda v: v.name)
def test_every_variable_is_described(variable: schema.Variable) -> None:
    assert schema.VARIABLES[variable.name] is variable
    assert variable.meaning
    assert not variable.meaning.endswith(".")
    assert variable.unit in (
        "1",
        "dB",
        "s",
        "micrometer",
        "micrometer2",
        "micrometer3",
        "micrometer s-1",
        "pixel",
        "pixel2",
    )
    assert set(variable.kinds) <= set("uifbU")
    assert len(set(variable.dims)) == len(variable.dims)


def test_wrapping_names_and_describes_a_result() -> None:
    snr = xr.DataArray(da.ones((2, 3)), dims=("c", "t"), name="x", attrs={"old": 1})
    (wrapped,) = schema.FRAME_SNR.wrap(snr, window=5).values()
    assert (wrapped.name, wrapped.dims) == ("frame_snr", ("t", "c"))
    assert wrapped.attrs == {
        "long_name": schema.FRAME_SNR.meaning,
        "units": "dB",
        "window": 5,
    }
    flag = xr.DataArray(np.zeros((3, 2), "u1"), dims=("t", "c"))
    (wrapped,) = schema.QUALITY_FLAG.wrap(flag).values()
    assert wrapped.attrs["flag_values"] == [0, 1, 2]
    assert wrapped.attrs["flag_meanings"] == "good doubtful unusable"
    with pytest.raises(SchemaError, match=r"result for frame_snr\(t, c\) has dims \(t\)"):
        schema.FRAME_SNR.wrap(snr.isel(c=0))


def test_checking_gives_the_order_of_the_vocabulary() -> None:
    ds = a_movie().transpose("x", "y", "z", "c", "t")
    assert schema.IMAGE.check(ds).dims == schema.MOVIE_DIMS
    assert schema.IMAGE.check(ds.rename(image="raw"), "raw").name == "raw"
    assert schema.IMAGE.check(ds).chunks is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.rename(image="raw"), r"no variable 'image'; .*image\(t, c, z, y, x\)"),
        (lambda ds: ds.drop_vars("image"), "Found: none"),
        (lambda ds: ds.isel(z=0), r"has dims \(t, c, y, x\); expected image\(t, c, z, y, x\)"),
        (lambda ds: ds.astype(complex), "is complex128; expected unsigned integer or integer"),
    ],
    ids=["renamed", "missing", "plane", "complex"],
)
def test_what_is_wrong_is_said(change: object, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        schema.IMAGE.check(change(a_movie()))


# ------------------------------------------------------------------------------------- movie


def test_a_movie_in_seconds_and_micrometres() -> None:
    ds = a_movie(
        spacing=(2, 0.5, 0.25), origin=(1, 0, -3), interval=30, channels=["red", "red"],
        colors=["FF0000", "00FF00"], attrs={"recording_date": "2020-01-01"},
    )  # fmt: skip
    assert ds["t"].values.tolist() == [0, 30, 60]
    assert ds["z"].values.tolist() == [1, 3, 5, 7]  # centres: 1 + i * 2
    assert ds["x"].values.tolist() == [-3, -2.75, -2.5, -2.25, -2, -1.75]
    assert ds["c"].values.tolist() == ["red 0", "red 1"]
    assert ds["channel_color"].dims == ("c",)
    assert ds.attrs == {"recording_date": "2020-01-01"}
    assert [schema.spacing(ds, d) for d in ("t", "z", "y", "x")] == [30, 2, 0.5, 0.25]
    assert ds["image"].attrs["long_name"] == schema.IMAGE.meaning
    assert ds["image"].chunks is not None


def test_one_frame_has_a_step_too() -> None:
    ds = schema.movie(np.zeros((1, 1, 1, 1, 1)), spacing=(3, 2, 1), interval=60)
    assert [schema.spacing(ds, d) for d in ("t", "z", "y", "x")] == [60, 3, 2, 1]
    assert schema.spacing(ds["image"], "z") == 3


def test_times_of_frames_give_the_usual_step() -> None:
    ds = a_movie(times=[0, 29, 62], interval=30)
    assert schema.spacing(ds, "t") == 31  # median of 29 and 33
    assert ds["t"].dtype == np.float64


def test_steps_without_a_word_of_them() -> None:
    ds = xr.Dataset(coords={"y": [0.0, 0.5, 1.0], "x": [7.0]})
    assert [schema.spacing(ds, d) for d in "yxz"] == [0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "a"], ["a 0", "a 1"]),
        (["", "b"], ["channel 0", "b"]),
        (["a", "a", "a 0"], ["a 0 0", "a 1", "a 0 2"]),
        (["x", "y"], ["x", "y"]),
    ],
    ids=["repeated", "empty", "repeated-again", "distinct"],
)
def test_names_of_channels_are_distinct(names: list[str], expected: list[str]) -> None:
    ds = schema.movie(np.zeros((1, len(names), 1, 1, 1)), channels=names)
    assert ds["c"].values.tolist() == expected
    assert ds["c"].dtype.kind == "U"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"times": [0, 1]}, "times has 2 entries; expected 3 along t"),
        ({"channels": ["a"]}, "channels has 1 entries; expected 2 along c"),
        ({"colors": ["FFFFFF"]}, "colors has 1 entries; expected 2 along c"),
        ({"spacing": (1, 2)}, "spacing has 2 entries; expected 3 along z, y, x"),
        ({"origin": (1, 2, 3, 4)}, "origin has 4 entries; expected 3 along z, y, x"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_lists_of_another_length(said: dict[str, object], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        a_movie(**said)


def test_a_movie_has_five_dims() -> None:
    with pytest.raises(SchemaError, match=r"a movie has dims \(t, c, z, y, x\); found 3"):
        schema.movie(np.zeros((2, 3, 4)))


# ------------------------------------------------------------------------------------ revise


def test_what_a_file_says_is_overruled() -> None:
    ds = a_movie(spacing=(9, 9, 9), times=[0, 1, 5], colors=["FF0000", "00FF00"], attrs={"a": 1})
    ds["c"].attrs["windows"] = [{"start": 0, "end": 9}] * 2
    ds = ds.assign(labels=(("t", "z", "y", "x"), np.ones((3, 4, 5, 6), "u4")))
    ds = ds.assign_coords(stage=("t", ["m", "m", "n"]))
    said = schema.revise(ds, spacing=[2, 0.5, 0.5], channels=["red", "green"])
    assert said["z"].values.tolist() == [0, 2, 4, 6]
    assert said["t"].values.tolist() == [0, 1, 5]  # as it was
    assert said["c"].values.tolist() == ["red", "green"]
    assert said["channel_color"].values.tolist() == ["FF0000", "00FF00"]
    assert said["c"].attrs["windows"] == ds["c"].attrs["windows"]
    assert said["stage"].values.tolist() == ["m", "m", "n"]
    assert said["labels"].shape == (3, 4, 5, 6)
    assert said["labels"]["z"].values.tolist() == [0, 2, 4, 6]
    assert (said.attrs, said["image"].chunks) == ({"a": 1}, ds["image"].chunks)
    assert ds["z"].values.tolist() == [0, 9, 18, 27]  # untouched
    timed = schema.revise(ds, interval=30, origin=(1, 0, 0))
    assert timed["t"].values.tolist() == [0, 30, 60]
    assert timed["z"].values.tolist() == [1, 10, 19, 28]
    assert schema.revise(ds) is ds


NOTES = {
    "spacing": [
        "voxel size along z is 1 micrometre: the extents are None, None",
        "lengths are micrometres: the unit is 'pixel'",
        "voxel size along z, y, x is 1 micrometre: the file is silent",
        "voxel sizes are in micrometres",
        "the voxel size along y is 1 micrometre",
        "spacing is 1",
    ],
    "interval": [
        "frames are 1 s apart: TimeInfo has no date that can be read; set interval",
        "frames are 1 s apart: the file is silent",
        "times of some frames are put between those of their neighbours: frame 2",
        "the clock was set back before frame 2",
        "times are seconds: no unit is said",
        "the interval is 1 second",
        "interval is 1",
    ],
    "origin": ["the origin is 0: the translation is not read"],
    "channels": ["channel names: DataSetInfo counts its channels from 1"],
    "colors": ["colours of channels: 'red' of channel 0 is not RRGGBB"],
}
KEPT = [
    "Spots 0: Scene8 is right: it holds 3 spots, Scene 2",
    "Spots 0: lengths are micrometres: the unit is 'pixel'",
    "the time points of DataSet are counted from 1: taken in their order",
    "a recording that was stopped: 4 of 10 time points are whole and taken",
    "DataSetInfo promises 3 channels, 2 are there",
    "2 of 96 chunks not there: 0/0; read as the fill value",
    "labels left out: 'cells', 'nuclei'; labels=NAME reads one of them",
]


@pytest.mark.parametrize("keys", [["spacing"], ["interval"], ["interval", "channels"], [*NOTES]])
def test_what_was_overruled_is_not_said(keys: list[str]) -> None:
    every = [line for lines in NOTES.values() for line in lines]
    ds = a_movie(
        attrs={"assumed": [*every, *KEPT], "notes": every, "verdict": "interval: doubtful"}
    )
    values = {
        "spacing": [2, 0.5, 0.5],
        "origin": [0, 0, 0],
        "interval": 30,
        "channels": ["a", "b"],
        "colors": ["FF0000", "00FF00"],
    }
    said = schema.revise(ds, **{key: values[key] for key in keys})
    left = [line for key, lines in NOTES.items() if key not in keys for line in lines]
    assert said.attrs["assumed"] == [*left, *KEPT]
    assert said.attrs.get("notes", []) == left
    assert said.attrs["verdict"] == "interval: doubtful"
    assert ds.attrs["notes"] == every  # untouched


def test_the_times_of_spots_go_with_the_interval() -> None:
    ds = a_movie(times=[0, 1, 5]).assign(spot_t=("spot", [np.nan, 5.0], {"units": "s"}))
    ds = ds.assign_coords(frame=("spot", [1, 2]))
    said = schema.revise(ds, interval=30)
    assert said["spot_t"].values.tolist() == [30, 60]
    assert said["spot_t"].attrs == {"units": "s"}
    assert schema.revise(ds, spacing=[1, 1, 1])["spot_t"].values[1] == 5


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"spacing": [1, 1, 1e308]}, "set: a step of 1e.308 leads beyond all numbers along x"),
        ({"interval": 1e308}, "set: a step of 1e.308 leads beyond all numbers along t"),
        ({"spacings": [1, 1, 1]}, "cannot set 'spacings'; what can be set: spacing, origin"),
        ({"spacing": [1, 2]}, r"set spacing: found \[1, 2\]; expected three numbers above 0"),
        ({"spacing": [1, 2, "x"]}, "expected three numbers above 0"),
        ({"spacing": [1, 2, 0]}, "expected three numbers above 0"),
        ({"spacing": [1, 2, float("nan")]}, "expected three numbers above 0"),
        ({"spacing": 2}, "set spacing: found 2; expected three numbers"),
        ({"spacing": [True, 1, 1]}, "expected three numbers"),
        ({"origin": None}, "set origin: found None; expected three numbers"),
        ({"interval": 0}, "set interval: found 0; expected a number of seconds above 0"),
        ({"interval": [30]}, "expected a number of seconds"),
        ({"channels": "ab"}, "set channels: found 'ab'; expected a list of names"),
        ({"channels": [1, 2]}, "expected a list of names"),
        ({"channels": ["a"]}, "channels has 1 entries; expected 2 along c"),
        ({"colors": ["red", "blue"]}, "expected a list of RRGGBB"),
        ({"colors": [112233, 445566]}, "expected a list of RRGGBB, each as text"),
    ],
    ids=str,
)
def test_what_cannot_be_set(said: dict[str, object], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        schema.revise(a_movie(), **said)


def test_only_movies_are_revised() -> None:
    with pytest.raises(SchemaError, match="no variable 'image'"):
        schema.revise(xr.Dataset({"a": ("t", [1])}), interval=2)


def test_nothing_can_be_revised() -> None:
    empty = schema.movie(np.zeros((0, 1, 1, 0, 1)))
    assert schema.revise(empty, interval=2.0).sizes["y"] == 0
