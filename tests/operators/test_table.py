"""The table of operators: names, signatures, and that numbers stay while a version does."""

import hashlib
import sys

import numpy as np
import pytest
import xarray as xr
from cells import collection
from meshes import box, surfaces
from packs import pack

from dpipe import schema
from dpipe.errors import UsageError
from dpipe.operators import OPERATORS, frame_quality, inputs, optional, resolve

# Version and digest of each operator's result on the movie below. A digest that changes means
# that numbers have changed: then the version goes up, here and in the table.
DIGESTS = {
    "cell-density": (2, "68f7049a0993ba474907550bdf29fe47a140f09319fd3c4bc71746208c714f8f"),
    "cell-features": (3, "5624b11548a4d6f52f0a8ab92a73a1c617d3a7453d902a1a8cfdd0069ddcabc7"),
    "channel-statistics": (2, "0827573e7fc8a6ed9eec6554c7f823f280b71cf363afd3848ace03a146d44344"),
    "channel-sums": (2, "ca6130120f4ed8b26a89739972b8a6230954f38174d1491b530ec86aa4b62285"),
    "class-frequencies": (3, "b7c218f353d23cad16a8fc3e7ab5b7db9450d0dba2b5c1982f9ba11f8a8eef70"),
    "clean-features": (1, "d44a65e0e5744ddeca1c7bdd7875a6000d9d6e476deab912085d623f2e6ab91a"),
    "compensate": (2, "735056706996ce4cd1c4a71b43742e2cb14c9cdc061cccb5d5eaed6f4cb111dd"),
    "consensus-phases": (1, "1832b2854f906ebbcc97750c38b2181157534a40256a75e822266a58a3f2750e"),
    "consensus-tracks": (2, "379bdeea96e36dcb61dff9fed8bebe056956b09b3b29c8ab3083f16e95284abf"),
    "derive-masks": (1, "f75d8a0ba467bf6c28de0e2ff73c616abfc05a1db822cba96cae6f2d420953b2"),
    "feature-statistics": (2, "0cbfb8413369c2e758184f4cfa90b92f0daf3cc2a898bada493e2284ec620d5d"),
    "feature-sums": (2, "996107698aa86315d95b7fa553d0b84edf444d8ac6381b44a1071ffcb9b042fd"),
    "frame-quality": (1, "2d80ac9fb14ddc0f796e948e88431ce67822eeb8049d8ae8d1be502c8ebaf320"),
    "gate": (1, "d138d318c7e6f02297d52792f7e714c80f6feb47056602f3b5fbf67c725297b5"),
    "group-tests": (2, "55918b67d0b6a1b50f0bd51deb0e9b70a31fc93fc66baa16c64af78444f4ea1d"),
    "mesh-masks": (1, "d2aeca817c5c4a7b171c8fe8d971d8409b6010c35aa342bf6207462c108d9caa"),
    "phase-tracks": (2, "8a1c41186fcd1c4119897120e9dedb204e948df340be1606e77002fa8d6c8c88"),
    "pictures": (1, "a2b2fc3388105f2e33743ef0f4ec6e827a8cd942d2c2b0dd3b3871c23145c24f"),
    "picture-quality": (1, "2bf0021d727d57fec767668b8ff0cfa506569c5d274f9932c76100947af01c1b"),
    "projections": (1, "f4d09455c2c54fd37d5e252e5a01002066bf15b299658a4cfea7f90411dd2f72"),
    "quality-table": (1, "19609e4c5421e14b949daa3ae1dfa45289355cb04cec84071ea1d2d37ad9a664"),
    "rater-agreement": (1, "847b8eb95b2ff79a4634ba300726e033a402f2d4d8a60da39a32673331b9e918"),
    "rescale-intensity": (2, "96be2dc8676810a2d27ff2958c29033c8122dc2c038481014c10f32da4830a29"),
    "sample-records": (2, "503cb8a380641ce6a145df6988579406c36c79e85722d197fc41e22d0d967f8b"),
    "segment-cells": (2, "b8c4a6f6c4991d30e3ecc44a448546ce5648f741a151acb4e7dc6ecda10c38d0"),
    "split-movies": (1, "35772c2ee09782df423d9fa654235db1cc036495800e08f279f7407a054cad67"),
    "split-records": (2, "a26a927df591cdc7d0b9bddf29ea4d199013266ac4bbb9873fb505466d9ee1b7"),
    "surface-measures": (1, "2db0b760679c20756c8ec888c2834e354462091d9cd3a5e8a8197803b5923fd2"),
    "thumbnails": (1, "88f02706ee65d429955514f8ff076fdfd6b9ab6e55d18a30b27fb1d3520d0bf1"),
    "track-checks": (1, "fc5e981b0ee30fcffd922636385e4a14eabf7008db3888a701d8a772418989be"),
    "track-crops": (3, "42c92d03cfeb977d923f0c93ef4208494147c823e569e0a12516c4ac5ed93d3d"),
    "track-measures": (2, "d0e64f025d456c102065a81d97611b7f35bfc8b336cca7f014d95e035ad3d61e"),
}


def _movie():
    """Build a movie by integer arithmetic, the same on every machine and in every year."""
    t, c, z, y, x = np.ogrid[:3, :2, :3, :60, :80]
    noise = (t * 7919 + c * 104729 + z * 1299709 + y * 15485863 + x * 32452843) % 1009 % 97
    blob = 900 // (1 + ((y - 20 - 5 * t) ** 2 + (x - 40) ** 2) // 40)
    pixels = (200 * (c + 1) + noise + blob).astype("u2")
    pixels[1, 1, 2] = 0
    return schema.movie(pixels, spacing=(2, 0.5, 0.25))


def _digest(ds):
    summed = hashlib.sha256()
    for name in sorted(map(str, ds.variables)):
        values = ds[name].values
        exact = values.dtype.kind in "uiUb"
        summed.update(name.encode() + str((values.dtype, values.shape)).encode())
        summed.update(
            np.ascontiguousarray(values if exact else np.round(values, 6) + 0.0).tobytes()
        )
    return summed.hexdigest()


def _quality():
    parts = {"one": frame_quality(_movie()), "two": frame_quality(_movie().isel(t=slice(0, 2)))}
    return xr.DataTree.from_dict(parts)


def _spots():
    """Three tracks with gaps and a spot without, by integer arithmetic."""
    n = np.arange(24)
    ds = xr.Dataset(
        {
            f"spot_{axis}": ("spot", (n * k) % 13 / 8)
            for axis, k in zip("zyx", (5, 7, 11), strict=True)
        }
    )
    ds["spot_t"] = ("spot", (n * 2 + n % 3) * 15.0)
    return ds.assign_coords(track=("spot", n % 4 - 1), frame=("spot", n * 2 + n % 3))


def _phases():
    n = np.arange(12)
    names = ("blebbing_start", "blebbing_end", "disruption_start", "disruption_end")
    ds = xr.Dataset({name: ("event", 4.0 * i + n % 4) for i, name in enumerate(names)})
    return ds.assign_coords(
        event=[f"Neu{i // 3}" for i in n], annotator=("event", [f"{i % 3}" for i in n]),
        movie=("event", [f"Neu{i // 6}" for i in n]), channel=("event", ["ch1"] * 12),
    )  # fmt: skip


def _marked():
    """The same places, by three annotators in turn."""
    n = np.arange(24)
    who = np.asarray(["anna", "ben", "cleo"])[n % 3]
    return _spots().assign_coords(
        annotator=("spot", who), frame=("spot", n // 3), track=("spot", n // 12)
    )


def _groups():
    """Seven movies in two groups, three frames of two channels each."""
    n = np.arange(6.0).reshape(3, 2)
    stems = ["Neu1", "Neu2", "Neu3", "Neu4", "Den1", "Den2", "Den3"]
    parts = {s: xr.Dataset({"frame_snr": (("t", "c"), n * i % 7)}) for i, s in enumerate(stems)}
    return xr.DataTree.from_dict(parts)


def _packed():
    """Two pictures of 3 channels, 70 by 50 and 9 by 80, one after another."""
    heights, widths = np.array([70, 9]), np.array([50, 80])
    n = np.arange((heights * widths).sum())
    coords = {"in_block": [0, 0], "in_slot": [0, 1], "offset": [0, 3500]}
    coords |= {"height": heights, "width": widths, "label": ["T_cell", "-1"]}
    over = {name: ("record", column) for name, column in coords.items()}
    rows = {
        "pixels": (("block", "value"), (np.arange(3 * n.size)[None] * 7919 % 4001).astype("u2")),
        "mask_code": (("block", "place"), (n[None] * 31 // 97 % 8).astype("u1")),
    }
    return xr.Dataset(rows, over | {"block": [0], "c": ["BF", "CD3", "CD18"]})


def _cells():
    """Two pictures of 3 channels, the last without a mask, by integer arithmetic."""
    made = []
    for height, width in ((30, 41), (26, 19)):
        y, x, c = np.ogrid[:height, :width, :3]
        apart = (y - 12 - c) ** 2 + (x - 9 - 2 * c) ** 2
        noise = (y * 15485863 + x * 32452843 + c * 104729) % 1009 % 97
        image = (30 + noise + 40000 // (40 + apart)).astype("u2")
        made.append((image, ((apart < 60 + 10 * c) & (c < 2)).astype("u1")))
    return collection(made)


def _four():
    """Four pictures of two channels in blocks of two, with masks of all but the third."""
    y, x = np.ogrid[:40, :50]
    rounds = [(y - 20) ** 2 + (x - 25) ** 2 < (9 + n) ** 2 for n in range(4)]
    noise = (y * 15485863 + x * 32452843) % 1009 % 37
    pictures = [np.stack([noise + r * 90, noise + r * (y + x)])[:, n:, :] for n, r in
                enumerate(rounds)]  # fmt: skip
    return pack([picture.astype("u2") for picture in pictures],
                [None if n == 2 else picture > 60 for n, picture in enumerate(pictures)],
                block=2)  # fmt: skip


def _shares():
    names = {"detector": ["Ch1", "Ch2"], "source": ["Ch1", "Ch2"]}
    table = (("detector", "source"), [[1, 0.125], [0, 1]])
    return xr.DataTree.from_dict({"/m": xr.Dataset({"spillover": table}, names)})


def _table(first=0):
    """Features of twelve cells of two donors, with holes, by integer arithmetic."""
    n, k = np.ogrid[first : first + 12, :4]
    values = (n * 7 + k * 5) % 11 / 4 * (k != 3)
    values[3, 0], values[4, 1] = np.nan, np.inf
    i = np.arange(first, first + 12)
    said = {"object_number": i, "donor": np.array(["a", "b"])[i % 2]}
    said |= {"experiment": np.array(["E"] * 12), "condition": np.array(["-", "+", "o"])[i % 3]}
    said |= {"label": np.array(["T", "B", "-1", "T"])[i % 4]}
    ds = xr.Dataset({"feature": (("record", "name"), values)}, {"name": list("abcd")})
    return ds.assign_coords({name: ("record", column) for name, column in said.items()})


def _tables():
    return xr.DataTree.from_dict({"/p": _table(), "/q": _table(12)})


def _ratings():
    said = np.array(["T", "B", "M"])[np.add.outer(np.arange(9), [0, 0, 1]) * [1, 2, 1] % 3]
    return xr.Dataset({"rating": (("record", "rater"), said)}, {"rater": ["x", "y", "z"]})


OPERANDS = {
    "class-frequencies": lambda: (_tables(),),
    "clean-features": lambda: (_table(), _tables()),
    "feature-statistics": lambda: (_tables(),),
    "feature-sums": lambda: (_table(),),
    "gate": lambda: (_table(),),
    "rater-agreement": lambda: (_ratings(),),
    "sample-records": lambda: (_table(),),
    "split-records": lambda: (_table(), _tables()),
    "cell-features": lambda: (_cells(),),
    "channel-statistics": lambda: (_four(),),
    "channel-sums": lambda: (_four(),),
    "compensate": lambda: (_four(), _shares()),
    "derive-masks": lambda: (_four(),),
    "picture-quality": lambda: (_four(),),
    "rescale-intensity": lambda: (_four(),),
    "segment-cells": lambda: (_four(),),
    "pictures": lambda: (_packed(),),
    "consensus-phases": lambda: (_phases(),),
    "consensus-tracks": lambda: (_marked(),),
    "group-tests": lambda: (_groups(),),
    "mesh-masks": lambda: (_movie(), surfaces([box((1, 4, 3), (5, 21, 14))], [1])),
    "track-crops": lambda: (_movie(), _spots().assign_coords(frame=("spot", np.arange(24) % 5))),
    "phase-tracks": lambda: (
        xr.DataTree.from_dict({"/table": _phases().isel(event=slice(0, None, 3))}),
        xr.DataTree.from_dict({"/Neu0": _spots()}),
    ),
    "quality-table": lambda: (_quality(),),
    "split-movies": lambda: (xr.DataTree.from_dict({f"/Neu{i}": _movie() for i in range(9)}),),
    "track-checks": lambda: (_movie(), _spots()),
    "track-measures": lambda: (_spots(),),
    "surface-measures": lambda: (surfaces([box((1, 4, 3), (5, 21, 14))], [1]),),
}
"""What operators take that take something else than the movie alone."""


PARAMS = {
    "channel-sums": {"levels": 256},
    "class-frequencies": {"sample": "donor"},
    "derive-masks": {"masks": {"near": "dilate(Ch1 & ~Ch2, 2)"}},
    "gate": {"gates": {"low": "a < 2", "few": "low and donor == 'a' or b > 1"}},
    "sample-records": {"n": 2, "by": "donor", "labelled": False},
}
"""Parameters of operators that have no default, or make too much or too little by it."""


def _result(name):
    operands = OPERANDS.get(name, lambda: (_movie(),))()
    return OPERATORS[name].function(*operands, **PARAMS.get(name, {}))


@pytest.mark.parametrize("name", OPERATORS)
def test_numbers_stay_while_the_version_does(name):
    found = OPERATORS[name].version, _digest(_result(name))
    if name not in DIGESTS:
        pytest.fail(f'new; paste into DIGESTS:    "{name}": ({found[0]}, "{found[1]}"),')
    assert found == DIGESTS[name]


def test_no_digest_without_an_operator():
    assert set(DIGESTS) <= set(OPERATORS)


def test_inputs():
    kinds = {name: inputs(operator) for name, operator in OPERATORS.items()}
    assert kinds["frame-quality"] == [("ds", "dataset")]
    assert kinds["quality-table"] == [("tree", "tree")]
    assert kinds["group-tests"] == [("tree", "tree"), ("conditions", "tree")]


def test_results_lie_along_the_free_dims():
    for name, operator in OPERATORS.items():
        if operator.free:
            for value in _result(name).data_vars.values():
                assert set(operator.free) <= set(value.dims)


def test_names():
    assert all(resolve(name) is operator for name, operator in OPERATORS.items())


def test_unknown_name():
    with pytest.raises(UsageError, match="did you mean 'thumbnails'"):
        resolve("thumbnail")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Put a module of the user's own on the path."""
    (tmp_path / "ownlab").mkdir()
    (tmp_path / "ownlab" / "__init__.py").write_text("")
    (tmp_path / "ownlab" / "qc.py").write_text(
        "from __future__ import annotations\n"
        "import xarray as xr\n"
        "def sharpness(ds: xr.Dataset, *, power: int = 2) -> xr.Dataset: return ds\n"
        "def crops(ds: xr.Dataset, tracks: xr.Dataset, *, size: int = 9) -> xr.Dataset: return ds\n"
        "def whole(tree: xr.DataTree) -> xr.Dataset: return tree.to_dataset()\n"
        "crops.version, crops.free = 4, ('t',)\n"
        "def bare(ds): return ds\n"
        "def odd(ds: Unheard) -> None: pass\n"
        "def nothing(*, size: int = 1) -> xr.Dataset: return xr.Dataset()\n"
        "def catchall(ds: xr.Dataset, **rest) -> xr.Dataset: return ds\n"
        "def versioned(ds: xr.Dataset) -> xr.Dataset: return ds\n"
        "versioned.version = 'two'\n"
        "def freed(ds: xr.Dataset) -> xr.Dataset: return ds\n"
        "freed.free = 't'\n"
        "def may(ds: xr.Dataset, all: xr.DataTree | None = None, one: None | xr.Dataset = None,\n"
        "        *, size: int = 1) -> xr.Dataset: return ds\n"
        "def alone(ds: xr.Dataset | None = None) -> xr.Dataset: return ds\n"
        "def must(ds: xr.Dataset, one: xr.Dataset | None) -> xr.Dataset: return ds\n"
        "def never(ds: xr.Dataset, one: xr.Dataset = None) -> xr.Dataset: return ds\n"
        "number = 3\n"
    )
    (tmp_path / "ownlab" / "broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "ownlab"
    for name in [name for name in sys.modules if name.startswith("ownlab")]:
        del sys.modules[name]


def test_an_operator_of_the_users_own(own):
    plain, crops = resolve(f"{own}.qc:sharpness"), resolve(f"{own}.qc:crops")
    assert (plain.version, plain.free) == (1, ())
    assert (crops.version, crops.free) == (4, ("t",))
    assert inputs(crops) == [("ds", "dataset"), ("tracks", "dataset")]
    assert inputs(resolve(f"{own}.qc:whole")) == [("tree", "tree")]


def test_inputs_that_may_be_left_out(own):
    operator = resolve(f"{own}.qc:may")
    assert inputs(operator) == [("ds", "dataset"), ("all", "tree"), ("one", "dataset")]
    assert optional(operator) == {"all", "one"}
    assert optional(OPERATORS["mesh-masks"]) == set()
    assert optional(OPERATORS["group-tests"]) == {"conditions"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.qc:sharpness", "cannot import 'nowhere.qc'"),
        ("ownlab.broken:sharpness", "ZeroDivisionError"),
        (":sharpness", "cannot import ''"),
        ("ownlab.qc:sharpnes", "did you mean 'sharpness'"),
        ("ownlab.qc:", "unknown function ''"),
        ("ownlab.qc:number", "found a int; expected a function"),
        ("ownlab.qc:bare", "input 'ds' must be annotated"),
        ("ownlab.qc:odd", "cannot read its signature"),
        ("ownlab.qc:nothing", "no input"),
        ("ownlab.qc:catchall", r"\*\*rest"),
        ("ownlab.qc:versioned", "version is 'two'"),
        ("ownlab.qc:freed", "free is 't'"),
        ("ownlab.qc:alone", "'ds': one that may be left out .* is not the first"),
        ("ownlab.qc:must", r"'one': one that may be left out is annotated \| None"),
        ("ownlab.qc:never", "'one': one that may be left out is"),
    ],
)
def test_what_is_no_operator(own, name, words):
    with pytest.raises(UsageError, match=words):
        resolve(name)
