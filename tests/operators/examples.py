"""Examples of operators: small inputs by integer arithmetic, and a row for each operator."""

import annotated
import numpy as np
import xarray as xr
from cells import collection
from examples import OperatorExample
from meshes import box, surfaces
from packs import pack

from dpipe import schema
from dpipe.operators import frame_quality


def movie():
    """Build a movie by integer arithmetic, the same on every machine and in every year."""
    t, c, z, y, x = np.ogrid[:3, :2, :3, :60, :80]
    noise = (t * 7919 + c * 104729 + z * 1299709 + y * 15485863 + x * 32452843) % 1009 % 97
    blob = 900 // (1 + ((y - 20 - 5 * t) ** 2 + (x - 40) ** 2) // 40)
    pixels = (200 * (c + 1) + noise + blob).astype("u2")
    pixels[1, 1, 2] = 0
    return schema.movie(pixels, spacing=(2, 0.5, 0.25))


def quality():
    parts = {"one": frame_quality(movie()), "two": frame_quality(movie().isel(t=slice(0, 2)))}
    return xr.DataTree.from_dict(parts)


def spots():
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


def phases():
    n, ds = np.arange(12), xr.Dataset()
    for i, phase in enumerate(schema.PHASES):
        ds.update(phase.wrap(xr.DataArray(4.0 * i + n % 4, dims="event")))
    return ds.assign_coords(
        event=[f"Neu{i // 3}" for i in n], annotator=("event", [f"{i % 3}" for i in n]),
        movie=("event", [f"Neu{i // 6}" for i in n]), channel=("event", ["ch1"] * 12),
    )  # fmt: skip


def marked():
    """The same places, by three annotators in turn."""
    n = np.arange(24)
    who = np.asarray(["anna", "ben", "cleo"])[n % 3]
    return spots().assign_coords(
        annotator=("spot", who), frame=("spot", n // 3), track=("spot", n // 12)
    )


def groups():
    """Seven movies in two groups, three frames of two channels each."""
    n = np.arange(6.0).reshape(3, 2)
    stems = ["Neu1", "Neu2", "Neu3", "Neu4", "Den1", "Den2", "Den3"]
    parts = {s: xr.Dataset({"frame_snr": (("t", "c"), n * i % 7)}) for i, s in enumerate(stems)}
    return xr.DataTree.from_dict(parts)


def packed():
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


def grey():
    """The same pictures in 8 bits."""
    ds = packed()
    return ds.assign(pixels=(ds.pixels % 251).astype("u1"))


def counts():
    """Reference counts of forty pictures, and counts that fall behind, by integer arithmetic."""
    n = np.arange(40)
    truth = 30 * n + n * 7 % 11
    found = np.where(truth < 700, truth + n * 5 % 9, 700 + truth // 9)
    return xr.Dataset({"reference": ("record", truth), "predicted": ("record", found)})


def cells():
    """Two pictures of 3 channels, the last without a mask, by integer arithmetic."""
    made = []
    for height, width in ((30, 41), (26, 19)):
        y, x, c = np.ogrid[:height, :width, :3]
        apart = (y - 12 - c) ** 2 + (x - 9 - 2 * c) ** 2
        noise = (y * 15485863 + x * 32452843 + c * 104729) % 1009 % 97
        image = (30 + noise + 40000 // (40 + apart)).astype("u2")
        made.append((image, ((apart < 60 + 10 * c) & (c < 2)).astype("u1")))
    return collection(made)


def four():
    """Four pictures of two channels in blocks of two, with masks of all but the third."""
    y, x = np.ogrid[:40, :50]
    rounds = [(y - 20) ** 2 + (x - 25) ** 2 < (9 + n) ** 2 for n in range(4)]
    noise = (y * 15485863 + x * 32452843) % 1009 % 37
    pictures = [np.stack([noise + r * 90, noise + r * (y + x)])[:, n:, :] for n, r in
                enumerate(rounds)]  # fmt: skip
    return pack([picture.astype("u2") for picture in pictures],
                [None if n == 2 else picture > 60 for n, picture in enumerate(pictures)],
                block=2)  # fmt: skip


def shares():
    names = {"detector": ["Ch1", "Ch2"], "source": ["Ch1", "Ch2"]}
    table = (("detector", "source"), [[1, 0.125], [0, 1]])
    return xr.DataTree.from_dict({"/m": xr.Dataset({"spillover": table}, names)})


def table(first=0):
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


def tables():
    return xr.DataTree.from_dict({"/p": table(), "/q": table(12)})


def ratings():
    said = np.array(["T", "B", "M"])[np.add.outer(np.arange(9), [0, 0, 1]) * [1, 2, 1] % 3]
    return xr.Dataset({"rating": (("record", "rater"), said)}, {"rater": ["x", "y", "z"]})


EXAMPLES = {
    "average-precision": OperatorExample(
        annotated.detected,
        version=1,
        digest="ccf37da595282de8bc1dc9070e4b77de1dae636c5f4bb842d0f7812293f22702",
        on_host=True,
    ),
    "cell-density": OperatorExample(
        movie, version=2, digest="68f7049a0993ba474907550bdf29fe47a140f09319fd3c4bc71746208c714f8f"
    ),
    "cell-features": OperatorExample(
        cells, version=3, digest="5624b11548a4d6f52f0a8ab92a73a1c617d3a7453d902a1a8cfdd0069ddcabc7"
    ),
    "channel-statistics": OperatorExample(
        four, version=2, digest="0827573e7fc8a6ed9eec6554c7f823f280b71cf363afd3848ace03a146d44344"
    ),
    "channel-sums": OperatorExample(
        four,
        version=2,
        digest="ca6130120f4ed8b26a89739972b8a6230954f38174d1491b530ec86aa4b62285",
        params={"levels": 256},
    ),
    "class-frequencies": OperatorExample(
        tables,
        version=3,
        digest="b7c218f353d23cad16a8fc3e7ab5b7db9450d0dba2b5c1982f9ba11f8a8eef70",
        params={"sample": "donor"},
        on_host=True,
    ),
    "clean-features": OperatorExample(
        lambda: (table(), tables()),
        version=1,
        digest="d44a65e0e5744ddeca1c7bdd7875a6000d9d6e476deab912085d623f2e6ab91a",
    ),
    "compensate": OperatorExample(
        lambda: (four(), shares()),
        version=2,
        digest="735056706996ce4cd1c4a71b43742e2cb14c9cdc061cccb5d5eaed6f4cb111dd",
    ),
    "consensus-phases": OperatorExample(
        phases,
        version=1,
        digest="1832b2854f906ebbcc97750c38b2181157534a40256a75e822266a58a3f2750e",
        on_host=True,
    ),
    "consensus-tracks": OperatorExample(
        marked,
        version=2,
        digest="379bdeea96e36dcb61dff9fed8bebe056956b09b3b29c8ab3083f16e95284abf",
        on_host=True,
    ),
    "derive-masks": OperatorExample(
        four,
        version=1,
        digest="f75d8a0ba467bf6c28de0e2ff73c616abfc05a1db822cba96cae6f2d420953b2",
        params={"masks": {"near": "dilate(Ch1 & ~Ch2, 2)"}},
    ),
    "feature-statistics": OperatorExample(
        tables, version=2, digest="0cbfb8413369c2e758184f4cfa90b92f0daf3cc2a898bada493e2284ec620d5d"
    ),
    "feature-sums": OperatorExample(
        table, version=2, digest="996107698aa86315d95b7fa553d0b84edf444d8ac6381b44a1071ffcb9b042fd"
    ),
    "flatten-background": OperatorExample(
        grey, version=1, digest="6cb4182af118d44f8584efd484120d74a8e02dacae8cbb0707a58993a6315ba3"
    ),
    "frame-quality": OperatorExample(
        movie, version=1, digest="2d80ac9fb14ddc0f796e948e88431ce67822eeb8049d8ae8d1be502c8ebaf320"
    ),
    "gate": OperatorExample(
        table,
        version=1,
        digest="d138d318c7e6f02297d52792f7e714c80f6feb47056602f3b5fbf67c725297b5",
        params={"gates": {"low": "a < 2", "few": "low and donor == 'a' or b > 1"}},
        on_host=True,
    ),
    "group-tests": OperatorExample(
        groups,
        version=2,
        digest="55918b67d0b6a1b50f0bd51deb0e9b70a31fc93fc66baa16c64af78444f4ea1d",
        on_host=True,
    ),
    "mask-polygons": OperatorExample(
        annotated.labelled,
        version=1,
        digest="62077b14c5a2ea249606f1a38898d041b59f4db55621200b6bb4c620eea17c80",
        on_host=True,
    ),
    "mesh-masks": OperatorExample(
        lambda: (movie(), surfaces([box((1, 4, 3), (5, 21, 14))], [1])),
        version=1,
        digest="d2aeca817c5c4a7b171c8fe8d971d8409b6010c35aa342bf6207462c108d9caa",
        on_host=True,
    ),
    "normalise": OperatorExample(
        packed, version=1, digest="3112787becd288a45c942dc723e238e7e719e116881c5652345fcd992f463787"
    ),
    "object-counts": OperatorExample(
        counts,
        version=1,
        digest="72686edab635b5ef43726ef36f91a0881aadb90fc48c7493fd0924f1a0a1babb",
        on_host=True,
    ),
    "object-crops": OperatorExample(
        annotated.labelled,
        version=1,
        digest="f96a4e7b7e8543bd9ad3a8778534b2b28a71c1bc1aa0a5792129129e2766b906",
        on_host=True,
    ),
    "object-measures": OperatorExample(
        annotated.labelled,
        version=1,
        digest="d8ccf5c54fa0d0dab06b4822036a424402c8bb7e5202375cfdaf3789eaa98938",
        on_host=True,
    ),
    "phase-tracks": OperatorExample(
        lambda: (
            xr.DataTree.from_dict({"/table": phases().isel(event=slice(0, None, 3))}),
            xr.DataTree.from_dict({"/Neu0": spots()}),
        ),
        version=2,
        digest="8a1c41186fcd1c4119897120e9dedb204e948df340be1606e77002fa8d6c8c88",
        on_host=True,
    ),
    "pictures": OperatorExample(
        packed, version=1, digest="a2b2fc3388105f2e33743ef0f4ec6e827a8cd942d2c2b0dd3b3871c23145c24f"
    ),
    "picture-quality": OperatorExample(
        four, version=1, digest="2bf0021d727d57fec767668b8ff0cfa506569c5d274f9932c76100947af01c1b"
    ),
    "polygon-masks": OperatorExample(
        annotated.dataset,
        version=1,
        digest="72b12c373426cd74e481fa6c958e0d6c74385f3f90bb510ce84a14f09f180430",
        on_host=True,
    ),
    "projections": OperatorExample(
        movie,
        version=1,
        digest="f4d09455c2c54fd37d5e252e5a01002066bf15b299658a4cfea7f90411dd2f72",
        on_host=True,
    ),
    "quality-table": OperatorExample(
        quality,
        version=1,
        digest="19609e4c5421e14b949daa3ae1dfa45289355cb04cec84071ea1d2d37ad9a664",
    ),
    "rater-agreement": OperatorExample(
        ratings,
        version=1,
        digest="847b8eb95b2ff79a4634ba300726e033a402f2d4d8a60da39a32673331b9e918",
        on_host=True,
    ),
    "rescale-intensity": OperatorExample(
        four, version=2, digest="96be2dc8676810a2d27ff2958c29033c8122dc2c038481014c10f32da4830a29"
    ),
    "sample-records": OperatorExample(
        table,
        version=2,
        digest="503cb8a380641ce6a145df6988579406c36c79e85722d197fc41e22d0d967f8b",
        params={"n": 2, "by": "donor", "labelled": False},
        on_host=True,
    ),
    "segment-cells": OperatorExample(
        four, version=2, digest="b8c4a6f6c4991d30e3ecc44a448546ce5648f741a151acb4e7dc6ecda10c38d0"
    ),
    "semantic-scores": OperatorExample(
        lambda: (annotated.labelled(), annotated.labelled()),
        version=1,
        digest="3cd3e5a90bc9f799a9be69eddc902726460767eab5b26d96b2a6886bd9e9e11c",
        on_host=True,
    ),
    "split-movies": OperatorExample(
        lambda: xr.DataTree.from_dict({f"/Neu{i}": movie() for i in range(9)}),
        version=1,
        digest="35772c2ee09782df423d9fa654235db1cc036495800e08f279f7407a054cad67",
        on_host=True,
    ),
    "split-records": OperatorExample(
        lambda: (table(), tables()),
        version=2,
        digest="a26a927df591cdc7d0b9bddf29ea4d199013266ac4bbb9873fb505466d9ee1b7",
        on_host=True,
    ),
    "surface-measures": OperatorExample(
        lambda: surfaces([box((1, 4, 3), (5, 21, 14))], [1]),
        version=1,
        digest="2db0b760679c20756c8ec888c2834e354462091d9cd3a5e8a8197803b5923fd2",
        on_host=True,
    ),
    "thumbnails": OperatorExample(
        movie, version=1, digest="88f02706ee65d429955514f8ff076fdfd6b9ab6e55d18a30b27fb1d3520d0bf1"
    ),
    "track-checks": OperatorExample(
        lambda: (movie(), spots()),
        version=1,
        digest="fc5e981b0ee30fcffd922636385e4a14eabf7008db3888a701d8a772418989be",
        on_host=True,
    ),
    "track-crops": OperatorExample(
        lambda: (movie(), spots().assign_coords(frame=("spot", np.arange(24) % 5))),
        version=3,
        digest="42c92d03cfeb977d923f0c93ef4208494147c823e569e0a12516c4ac5ed93d3d",
    ),
    "track-measures": OperatorExample(
        spots, version=2, digest="d0e64f025d456c102065a81d97611b7f35bfc8b336cca7f014d95e035ad3d61e"
    ),
}
