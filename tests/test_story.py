"""From recipe to pictures through the command line, with real processes, on a folder and on S3."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import ome_zarr.io
import ome_zarr.reader
import pytest
import xarray as xr
import yaozarrs
from ngio import open_ome_zarr_container

import dpipe
from dpipe import catalog, demo

pytestmark = pytest.mark.slow

DPIPE = [sys.executable, "-m", "dpipe"]


def dp(*args, code=0, **environ):
    told = subprocess.run(
        [*DPIPE, *map(str, args)], capture_output=True, text=True, timeout=240,
        env=os.environ | environ, check=False,
    )  # fmt: skip
    assert told.returncode == code, told.stderr + told.stdout
    return told


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return demo.write_study(folder, frames=12, size=(4, 72, 96), annotated=True)


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path):
    if request.param == "folder":
        return str(tmp_path / "store")
    return f"{request.getfixturevalue('bucket')}/lab/store"


def test_a_movie_becomes_a_checked_versioned_dataset(study, place):
    first = dp("run", study, "--store", place, "--workers", "2")
    assert "leuko@1" in first.stdout
    assert "leuko:" in first.stderr, "a progress bar"
    again = dp("run", study, "--store", place, "--workers", "2")
    assert again.stdout.startswith("nothing to do")
    dp("verify", "--store", place, "--mode", "decode")

    truth = json.loads((study.parent / "truth.json").read_text())["movies"]
    tree = dpipe.open(place, "leuko", "leuko-quality")
    assert set(tree.children) == set(truth)
    for stem, node in tree.children.items():
        source = dpipe.open_imaris(study.parent / "raw" / f"{stem}.h5")
        np.testing.assert_array_equal(node.image.values, source.image.values)
        for name in ("t", "z", "y", "x", "c"):
            np.testing.assert_array_equal(node[name], source[name])
        assert np.isfinite(node.frame_snr.values).all()

    report = next(line for line in first.stdout.splitlines() if line.startswith("report: "))
    store = catalog.open_store(place)
    page = store.read(report.removeprefix("report: ").removeprefix(store.url).lstrip("/")).decode()
    assert "Neu1" in page
    assert "data:image/png;base64," in page
    assert "<svg" in page


def test_others_read_every_movie_part(study, tmp_path):
    store = tmp_path / "store"
    dp("run", study, "--store", store, "--workers", "2", "--quiet")
    for ref in catalog.resolve(catalog.open_store(str(store)), "leuko").parts:
        part = store / f"{ref.base}.ome.zarr"
        expected = dpipe.open(str(store), "leuko", part=ref.stem).image.values
        models = Path(sys.executable).with_name("ome-zarr-models")
        subprocess.run([models, "validate", part], check=True, capture_output=True)
        yaozarrs.validate_zarr_store(str(part))
        container = open_ome_zarr_container(str(part))
        np.testing.assert_array_equal(container.get_image(path="0/image").get_as_numpy(), expected)
        assert container.get_image(path="0/image").pixel_size.x == 0.5
        (node, *_) = ome_zarr.reader.Reader(ome_zarr.io.parse_url(str(part)))()
        np.testing.assert_array_equal(np.asarray(node.data[0]), expected)
        plain = xr.open_zarr(part, group="0", zarr_format=3, consolidated=False)
        np.testing.assert_array_equal(plain.image.values, expected)


def test_one_command_reads_the_real_movies(shared_data, place):
    dp("make", "brain", "--reader", "imaris", "--source", shared_data / "imaris/brain*.ims",
       "--store", place, "--workers", "2")  # fmt: skip
    dp("make", "cho", "--reader", "tiff", "--source",
       shared_data / "timelapse/fluo_n3dh_cho/Fluo-N3DH-CHO_02_img.tif", "--option", "axes=TZYX",
       "--set", "spacing=[1.0, 0.202, 0.202]", "--set", "interval=570",
       "--store", place, "--workers", "2")  # fmt: skip
    dp("make", "quality", "--operator", "frame-quality", "--input", "cho", "--store", place)
    dp("verify", "--store", place)
    cho = dpipe.open(place, "cho", "quality")
    assert dict(cho.image.sizes) == {"t": 20, "c": 1, "z": 5, "y": 443, "x": 512}
    assert cho.t.values[1] == 570
    # Octave's psnr of frame 0 against its wiener2, data/reference/octave_leuko_qc/scalars.csv
    # (78 pixels of its filter are exact halves that it rounds down)
    np.testing.assert_allclose(cho.frame_psnr.values[0, 0], 33.1886103861122, rtol=0, atol=1e-4)
