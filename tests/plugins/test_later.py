"""Entries that are imported when they are used."""

import inspect
import pickle
import subprocess
import sys

import pytest

from dpipe import operators, readers, writers
from dpipe.plugins import Later
from dpipe.readers import open_tiff

TIFF = Later("dpipe.readers.tiff.files:open_tiff")


def test_what_is_named_is_called_and_inspected() -> None:
    assert Later("math:sqrt")(9) == 3
    assert TIFF.__name__ == "open_tiff"
    assert inspect.signature(TIFF) == inspect.signature(open_tiff)
    assert inspect.getdoc(TIFF) == inspect.getdoc(open_tiff)
    assert repr(TIFF) == "<dpipe.readers.tiff.files:open_tiff>"


def test_it_equals_the_function_and_travels_by_name() -> None:
    assert open_tiff == TIFF
    assert Later("dpipe.readers.tiff.files:open_tiff") == TIFF
    assert Later("dpipe.readers.tiff.files:find") != TIFF
    assert pickle.loads(pickle.dumps(TIFF)) == TIFF
    assert len({TIFF, Later(TIFF.target)}) == 1


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        _ = TIFF.nothing
    with pytest.raises(AttributeError):
        _ = TIFF.__nothing__


def test_every_row_names_what_there_is() -> None:
    rows = [*readers.READERS.values(), *operators.OPERATORS.values()]
    named = [value for row in rows for value in vars(row).values() if isinstance(value, Later)]
    named += [value for value in writers.WRITERS.values() if isinstance(value, Later)]
    assert len(named) > 80
    assert all(callable(value.__wrapped__) for value in named)


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import dpipe", "numpy xarray dask zarr click numba"),
        ("import dpipe.cli.group", "numpy xarray dask zarr numba yaml"),
        ("import dpipe.cli.ls", "xarray dask zarr numba s3fs pandas"),
        ("import dpipe.cli.show", "xarray dask zarr numba s3fs pandas"),
        ("from dpipe import catalog; catalog.part_facts", "xarray dask zarr numba s3fs pandas"),
        ("import dpipe.cli.make", "dask.array numba s3fs distributed scipy h5py matplotlib jinja2"),
        ("from dpipe import readers; readers.resolve('tiff')", "tifffile h5py dask.array numba"),
        ("from dpipe import operators; operators.resolve('gate')", "dask.array numba scipy"),
        ("from dpipe import workers; workers.connect", "distributed dask"),
    ],
)
def test_nothing_is_imported_that_is_not_used(code: str, heavy: str) -> None:
    asked = f"{code}\nimport sys\nprint(*[n for n in {heavy.split()} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
