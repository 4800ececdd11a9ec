"""The kit for authors of plug-ins: what keeps its promises passes, each broken one is named."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from dpipe import schema, testing
from dpipe.blocks import lazy
from dpipe.errors import InputError, UsageError
from dpipe.readers import READERS, Reader
from dpipe.sources import one_each, opened

SHAPE = (2, 1, 2, 8, 9)


def movie() -> xr.Dataset:
    return schema.movie(np.arange(np.prod(SHAPE), dtype="u2").reshape(SHAPE))


def brightness(ds: xr.Dataset, *, scale: float = 1.0) -> xr.Dataset:
    """Return the mean of each frame.

    Parameters
    ----------
    ds : xarray.Dataset
        A movie.
    scale : float
        Times this.
    """
    return xr.Dataset({"brightness": ds["image"].mean(("z", "y", "x")) * scale})


brightness.free = ("t", "c")


def test_an_operator_that_keeps_its_promises() -> None:
    testing.check_operator(brightness, movie(), params={"scale": 2.0})


def eager(ds: xr.Dataset) -> xr.Dataset:
    return xr.Dataset({"mean": ds["image"].mean("t").compute()})


def changing(ds: xr.Dataset) -> xr.Dataset:
    ds["image"] = ds["image"] + 1
    return ds


def by_block(ds: xr.Dataset) -> xr.Dataset:
    sums = da.map_blocks(lambda b: b - b.min(), da.asarray(ds["image"].data), dtype="u2")
    return ds.assign(image=(ds["image"].dims, sums))


def over_time(ds: xr.Dataset) -> xr.Dataset:
    return xr.Dataset({"image": ds["image"] - ds["image"].mean("t")})


over_time.free = ("t",)


def positional(ds: xr.Dataset, scale: float = 1.0) -> xr.Dataset:
    return brightness(ds, scale=scale)


def undocumented(ds: xr.Dataset, *, scale: float = 1.0) -> xr.Dataset:
    """Return the mean of each frame."""
    return brightness(ds, scale=scale)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (eager, "something was computed"),
        (changing, "changed its input"),
        (by_block, "(?s)not identical"),
        (over_time, "(?s)Arrays are not equal"),
        (positional, "scale: must stand behind"),
        (undocumented, "scale: is not documented"),
    ],
)
def test_an_operator_that_does_not(function, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        testing.check_operator(function, movie())


def read_raw(uri: str, region) -> np.ndarray:
    with opened(uri) as path:
        return np.frombuffer(Path(path).read_bytes(), "u2").reshape(SHAPE)[region]


def open_raw(url) -> xr.Dataset:
    """Open raw bytes as a movie."""
    (uri,) = [url] if isinstance(url, str) else url
    with opened(uri) as path:
        if os.path.getsize(path) != 2 * np.prod(SHAPE):
            raise InputError(f"{Path(path).name}: another size than that of a movie")
    return schema.movie(lazy(partial(read_raw, uri), SHAPE, "u2", (1, 1, 2, 8, 9)))


RAW = Reader(one_each((".raw",)), open_raw, version=1)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "m.raw"
    path.write_bytes(movie().image.values.tobytes())
    return path


def test_a_reader_that_keeps_its_promises(raw: Path) -> None:
    testing.check_reader(RAW, raw)
    testing.check_reader(READERS["tiff"], written_tiff(raw.parent / "tiff"))


def written_tiff(folder: Path) -> Path:
    from dpipe import export

    (path,) = export({"m": movie()}, "tiff", folder)
    return Path(path)


def reading(url) -> xr.Dataset:
    return open_raw(url).assign(image=lambda ds: ds.image.astype("u2").compute())


KEPT = []


def leaving(url) -> xr.Dataset:
    KEPT.append(open(url if isinstance(url, str) else url[0], "rb"))  # noqa: SIM115
    return open_raw(url)


def read_shifted(uri: str, region) -> np.ndarray:
    return read_raw(uri, region) + region[3].start


def slicing(url) -> xr.Dataset:
    (uri,) = [url] if isinstance(url, str) else url
    return schema.movie(lazy(partial(read_shifted, uri), SHAPE, "u2", (1, 1, 2, 4, 9)))


def past(url) -> xr.Dataset:
    (uri,) = [url] if isinstance(url, str) else url
    return schema.movie(da.from_array(np.fromfile(uri, "u2").reshape(SHAPE)))


def taking(url) -> xr.Dataset:
    try:
        return open_raw(url)
    except InputError:
        return movie()


def talking(url) -> xr.Dataset:
    try:
        return open_raw(url)
    except InputError as error:
        raise InputError("it is damaged") from error


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (reading, "something was computed"),
        (leaving, "open: leaves .*m.raw"),
        (slicing, "(?s)Arrays are not equal"),
        (past, "m.raw: read past dpipe.sources.opened"),
        (taking, "rubbish: was taken"),
        (talking, "which file"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_reader_that_does_not(raw: Path, function, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        testing.check_reader(replace(RAW, open=function), raw)
    while KEPT:
        KEPT.pop().close()


def test_a_reader_that_finds_nothing(raw: Path) -> None:
    with pytest.raises(AssertionError, match=r"find: 0 parts in .*; expected one"):
        testing.check_reader(replace(RAW, find=one_each((".other",))), raw)


def names(parts, to, *, suffix: str = ".txt") -> list[str]:
    """Write names.

    Parameters
    ----------
    parts, to
        As for all writers.
    suffix : str
        Of the files.
    """
    paths = [Path(to) / (stem + suffix) for stem in parts]
    for path in paths:
        if path.exists():
            raise UsageError(f"{path.name}: is there already")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.stem)
    return [str(path) for path in paths]


def test_a_writer_that_keeps_its_promises() -> None:
    testing.check_writer(names, {"a": movie(), "b": movie()}, suffix=".csv")


def silent(parts, to) -> list[str]:
    names(parts, to)
    return []


def lying(parts, to) -> list[str]:
    return [str(Path(to) / "x.txt")]


def changing_bytes(parts, to) -> list[str]:
    (path,) = names(parts, to)
    Path(path).write_bytes(os.urandom(8))
    return [path]


def overwriting(parts, to) -> list[str]:
    Path(to, "a.txt").unlink(missing_ok=True)
    return names(parts, to)


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (silent, "returned no paths"),
        (lying, "returned what it did not write"),
        (changing_bytes, "other bytes the second time"),
        (overwriting, "overwrote what is there"),
    ],
)
def test_a_writer_that_does_not(write, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        testing.check_writer(write, {"a": movie()})
