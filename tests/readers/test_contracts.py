"""What holds for every reader, written once; each is tried on its row in ``examples.py``."""

import inspect
import os
import pickle
import re
from dataclasses import dataclass
from pathlib import Path

import dask
import numpy as np
import psutil
import pytest
import xarray as xr
from _pytest.mark import ParameterSet
from examples import ReaderExample, example_of
from readers.examples import EXAMPLES

from dpipe import schema, sources, testing
from dpipe.errors import InputError, UsageError
from dpipe.readers import READERS, Reader

ROW = '    "{name}": ReaderExample(write_{noun}, movie),'


@dataclass(frozen=True)
class Case:
    """A reader as the table has it, and the file of its example."""

    reader: Reader
    path: Path
    expected: xr.Dataset

    @property
    def target(self) -> Path:
        """A file that the reader cannot do without."""
        return self.path / "zarr.json" if self.path.is_dir() else self.path


def example(name: str) -> ReaderExample:
    row = ROW.format(name=name, noun=name.replace("-", "_"))
    return example_of(name, EXAMPLES, row, "readers/examples.py")


def cases() -> list[ParameterSet]:
    marks = {name: example.marks for name, example in EXAMPLES.items()}
    return [pytest.param(name, marks=marks.get(name, ())) for name in sorted(READERS)]


@pytest.fixture(params=cases())
def case(request, tmp_path) -> Case:
    row = example(request.param)
    return Case(READERS[request.param], row.write(tmp_path), row.expected())


def test_no_example_without_a_reader():
    assert set(EXAMPLES) <= set(READERS)


def test_a_new_reader_is_told_its_row():
    with pytest.raises(pytest.fail.Exception) as told:
        example("raw-bytes")
    first, row = str(told.value).splitlines()
    assert first == "raw-bytes has no example; paste into tests/readers/examples.py:"
    assert row == '    "raw-bytes": ReaderExample(write_raw_bytes, movie),'


def test_it_finds_its_part_and_names_it_by_its_stem(case):
    (part,) = case.reader.find(sources.list_items(str(case.path.parent)))
    assert part.stem == "m"
    assert all(Path(item.uri).is_relative_to(case.path.parent) for item in part.items)


def test_it_reads_no_pixel_and_leaves_no_file_open(case):
    process = psutil.Process()
    before = {file.path for file in process.open_files()}

    def refuse(*_, **__):
        raise AssertionError("a pixel was read")

    with dask.config.set(scheduler=refuse):
        ds = case.reader.open(str(case.path))
    assert not {f.path for f in process.open_files()} - before
    for variable in case.expected.data_vars:
        np.testing.assert_array_equal(ds[variable].values, case.expected[variable].values)
    assert not {f.path for f in process.open_files()} - before


def test_it_notes_what_it_reads(case):
    """Every file that it takes values of: a seal holds its digest."""
    testing.notes_its_files(case.reader, case.path)


def test_it_gives_what_is_in_the_vocabulary_in_few_bytes(case):
    ds = case.reader.open([str(case.path)])
    for key, variable in ds.data_vars.items():
        assert schema.VARIABLES[key].check(ds).dims == variable.dims
        assert variable.attrs["units"] == schema.VARIABLES[key].unit
    if "image" in case.expected:
        assert ds.image.dims == schema.MOVIE_DIMS
        assert ds.t.attrs["units"] == "s"
        assert ds.x.attrs["units"] == "micrometer"
    assert len(pickle.dumps(ds)) < 50_000
    assert all(isinstance(k, str) for k in ds.attrs)


def test_it_reads_slices_as_the_whole(case):
    ds, whole = case.reader.open(str(case.path)), case.expected
    cut = {"t": slice(1, 3), "c": 1, "z": slice(1, 2), "y": slice(3, 30), "x": slice(None, None, 2)}
    cut = {dim: cut.get(dim, slice(1, None, 2)) for dim in whole.dims}
    for variable in whole.data_vars:
        found, expected = (each[variable].isel(cut, missing_dims="ignore") for each in (ds, whole))
        np.testing.assert_array_equal(found, expected)


def test_it_says_what_is_wrong_with_rubbish(case):
    case.target.write_bytes(b"rubbish")
    with pytest.raises(InputError) as told:
        case.reader.open(str(case.path))
    assert "\n" not in str(told.value)
    assert case.path.name in str(told.value)


def test_it_opens_and_reads_as_the_kit_asks(case):
    testing.reads_slices(testing.reads_no_pixel(case.reader, case.path))


@pytest.mark.parametrize("kind", ["device", "pipe", "nowhere"])
def test_it_waits_for_nothing_without_end(case, kind):
    """A link to /dev/zero, a pipe that nobody writes to, a link to a share that is not there."""
    case.target.unlink()
    if kind == "pipe":
        os.mkfifo(case.target)
    else:
        case.target.symlink_to("/dev/zero" if kind == "device" else "/nowhere/at/all")
    with pytest.raises((InputError, UsageError)) as told:
        case.reader.open(str(case.path))
    assert len(str(told.value).splitlines()) == 1
    assert {case.path.name, case.path.parent.name} & set(re.split(r"[/: ]+", str(told.value)))


def test_its_options_have_defaults_and_documentation(case):
    function = case.reader.open
    testing.options_are_documented(function, 1)
    options = list(inspect.signature(function).parameters.values())[1:]
    assert all(option.default is not option.empty for option in options)
