"""Checks for entries of your own: what every reader, operator and writer of dpipe promises.

A plug-in's author calls them in his own tests, on his own example; dpipe's tests call the same::

    def test_brightness():
        dpipe.testing.check_operator(brightness, movie, params={"scale": 2.0})

Each check is a function of its own too. What does not hold is an AssertionError of one sentence.
"""

import hashlib
import inspect
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dpipe import compute, ledger, schema, sources
from dpipe.errors import InputError, UsageError
from dpipe.readers import Reader

__all__ = [
    "check_operator",
    "check_reader",
    "check_writer",
    "chunked",
    "digest",
    "is_lazy",
    "is_of_the_vocabulary",
    "keeps_files",
    "leaves_inputs_alone",
    "needs_no_chunks",
    "notes_its_files",
    "options_are_documented",
    "parts_are_the_whole",
    "reads_no_pixel",
    "reads_slices",
    "refuses_rubbish",
    "writes_the_same",
]

Data = xr.Dataset | xr.DataTree
Call = Callable[..., xr.Dataset]
_LARGEST_PICKLE = 50_000


def check_operator(
    function: Call, *inputs: Data, params: Mapping[str, Any] | None = None, lazy: bool = True
) -> None:
    """Hold an operator against all that operators promise.

    Parameters
    ----------
    function : callable
        ``function(ds, ..., *, parameters) -> Dataset``; its attribute ``free`` names the dims
        along which its work may be cut.
    *inputs : xarray.Dataset or xarray.DataTree
        An example of its inputs, small, in memory.
    params : mapping, optional
        Its parameters; by default its defaults.
    lazy : bool
        False for an operator whose rows cannot be counted before they are computed.

    Raises
    ------
    AssertionError
        It computes when it is called, changes its input, gives other numbers for other chunks or
        parts, or has a parameter that is not documented.
    """
    options_are_documented(function, len(inputs))
    call = partial(function, **(params or {}))
    leaves_inputs_alone(call, *inputs)
    if lazy:
        is_lazy(call, *inputs)
    needs_no_chunks(call, *inputs)
    parts_are_the_whole(call, *inputs, free=getattr(function, "free", ()))


def check_reader(reader: Reader, path: str | os.PathLike[str]) -> None:
    """Hold a reader against all that readers promise.

    Parameters
    ----------
    reader : Reader
        The reader.
    path : str or path
        An example: a file or a folder that is one part, alone in its folder.

    Raises
    ------
    AssertionError
        It does not find the part, reads pixels when it opens, leaves a file open, cuts otherwise
        than it reads, reads files that it does not note, or takes rubbish.
    """
    path = Path(path).absolute()
    options_are_documented(reader.open, 1)
    found = list(reader.find(sources.list_items(path.parent)))
    assert len(found) == 1, f"find: {len(found)} parts in {path.parent.name}; expected one"
    ds = reads_no_pixel(reader, path)
    assert len(pickle.dumps(ds)) < _LARGEST_PICKLE, "open: what travels to workers is large"
    reads_slices(ds)
    notes_its_files(reader, path)
    refuses_rubbish(reader, path)


def check_writer(
    write: Callable[..., list[str]], parts: Mapping[str, xr.Dataset], **options: Any
) -> None:
    """Hold a writer against all that writers promise.

    Parameters
    ----------
    write : callable
        ``write(parts, to, *, options) -> paths``.
    parts : mapping of str to xarray.Dataset
        An example of what it writes, by stem.
    **options
        Of the writer.

    Raises
    ------
    AssertionError
        It returns no paths or others than it wrote, writes other bytes the second time, or
        overwrites what is there.
    """
    options_are_documented(write, 2)
    write = partial(write, **options)
    writes_the_same(write, parts)
    keeps_files(write, parts)


# --- each alone -------------------------------------------------------------------------------


def options_are_documented(function: Callable[..., Any], inputs: int) -> None:
    """See that options stand behind ``*`` and are documented, each as ``name :``.

    The first parameters, as many as `inputs`, are no options.
    """
    parameters = list(inspect.signature(function).parameters.values())[inputs:]
    doc = inspect.getdoc(inspect.unwrap(function)) or ""
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is None:
            continue  # an input that may be left out
        assert parameter.kind is parameter.KEYWORD_ONLY, f"{parameter.name}: must stand behind *"
        assert f"{parameter.name} :" in doc, f"{parameter.name}: is not documented"


def is_lazy(call: Call, *inputs: Data) -> None:
    """See that an operator computes nothing when it is called."""
    with compute.nothing_computed("operator"):
        made = call(*(chunked(data, {"t": 1}) for data in inputs))
    lazy = any(variable.chunks is not None for variable in made.data_vars.values())
    assert lazy, "operator: its result is not lazy"


def leaves_inputs_alone(call: Call, *inputs: Data) -> None:
    """See that an operator changes none of its inputs."""
    given = [chunked(data, {"t": 1}) for data in inputs]
    before = [data.copy(deep=True) for data in given]
    call(*given)
    same = all(data.identical(old) for data, old in zip(given, before, strict=True))
    assert same, "operator: changed its input"


def needs_no_chunks(
    call: Call, *inputs: Data, sizes: Sequence[Mapping[str, int]] = ({"t": 1, "y": 7}, {"z": 1})
) -> None:
    """See that the numbers of an operator do not depend on how its inputs are cut."""
    whole = call(*inputs).compute()
    for cut in sizes:
        pieces = call(*(chunked(data, cut) for data in inputs)).compute()
        xr.testing.assert_identical(whole, pieces)


def parts_are_the_whole(call: Call, data: Data, *others: Data, free: Sequence[str]) -> None:
    """See that parts along dims that are free to be cut are those of the whole."""
    for dim in free:
        whole = call(data, *others)
        for i in range(whole.sizes[dim]):
            one = {dim: slice(i, i + 1)}
            given = dim in data.dims  # else only the result can be cut
            part = call(_cut(data, one), *others) if given else whole.isel(one)
            for name, variable in part.data_vars.items():
                assert dim in variable.dims, f"{name}: lacks {dim}, which is free to be cut"
                np.testing.assert_array_equal(variable, whole[name].isel(one))


def is_of_the_vocabulary(ds: xr.Dataset) -> None:
    """See that variables are those of `dpipe.schema`: dims, kind of number and unit."""
    for name, variable in ds.data_vars.items():
        known = schema.named(variable)
        assert known is not None, f"{name}: not in the vocabulary"
        assert variable.dims == known.dims, f"{name}: dims {variable.dims}; expected {known.dims}"
        assert variable.dtype.kind in known.kinds, f"{name}: {variable.dtype}"
        unit = variable.attrs.get("units")
        assert unit == known.unit, f"{name}: in {unit}; expected {known.unit}"
        assert variable.attrs.get("long_name"), f"{name}: has no meaning"


def digest(ds: xr.Dataset) -> str:
    """Return a digest of all values, the same on every machine: numbers are those of before.

    Fractions count to six digits behind the point; names, dtypes, shapes and coordinates count,
    attributes do not.

    >>> digest(xr.Dataset({"mean": ("t", [0.5, 2.0])}))[:8]
    '42549795'
    """
    summed = hashlib.sha256()
    for name in sorted(map(str, ds.variables)):
        values = ds[name].values
        exact = values.dtype.kind in "uiUb"
        summed.update(name.encode() + str((values.dtype, values.shape)).encode())
        rounded = values if exact else np.round(values, 6) + 0.0  # no -0.0
        summed.update(np.ascontiguousarray(rounded).tobytes())
    return summed.hexdigest()


def reads_no_pixel(reader: Reader, path: str | os.PathLike[str]) -> xr.Dataset:
    """See that a reader computes nothing when it opens, and leaves no file open."""
    before = _open_files()
    with compute.nothing_computed("reader"):
        ds = reader.open(os.fspath(path))
    left = _open_files() - before
    assert not left, f"open: leaves {sorted(left)} open"
    ds.compute()
    left = _open_files() - before
    assert not left, f"computing: leaves {sorted(left)} open"
    return ds


def reads_slices(ds: xr.Dataset) -> None:
    """See that a lazy Dataset gives the same numbers in slices as whole."""
    whole = ds.compute()
    names = [str(name) for name in ds.data_vars]
    for part in (2, 3):
        cut = {str(dim): slice(n // (part + 1), n // part + 1) for dim, n in ds.sizes.items()}
        found = compute.compute_region(ds, names, cut)  # as tasks read: without a graph
        for name in names:
            np.testing.assert_array_equal(found[name], whole[name].isel(cut, missing_dims="ignore"))


def notes_its_files(reader: Reader, path: str | os.PathLike[str]) -> None:
    """See that a reader opens its files through ``dpipe.sources``: seals hold their digests."""
    with ledger.recording() as notes:
        reader.open(os.fspath(path)).compute()
    noted = notes.entries()
    path = Path(path)
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        expected = {"size": file.stat().st_size, "sha256": digest}
        assert noted.pop(str(file), None) == expected, (
            f"{file.name}: read past dpipe.sources.opened"
        )
    assert not noted, f"noted, but not of the part: {sorted(noted)}"


def refuses_rubbish(reader: Reader, path: str | os.PathLike[str]) -> None:
    """See that what is no file of the format is an InputError of one line that names it."""
    path = Path(path)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        if path.is_dir():
            shutil.copytree(path, copy)
        else:
            shutil.copy(path, copy)
        files = [copy] if copy.is_file() else sorted(p for p in copy.rglob("*") if p.is_file())
        for file in files:
            file.write_bytes(b"rubbish")
        try:
            reader.open(str(copy)).compute()
        except InputError as error:
            told = str(error)
        else:
            raise AssertionError("rubbish: was taken for a file of the format")
    assert copy.name in told or any(file.name in told for file in files), f"which file? {told}"


def writes_the_same(
    write: Callable[..., list[str]], parts: Mapping[str, xr.Dataset], *, exact: bool = True
) -> None:
    """See that a writer returns what it wrote in its folder, the same bytes each time."""
    digests = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in "ab":
            to = Path(folder) / turn
            paths = [Path(path) for path in write(parts, str(to))]
            assert paths, "writer: returned no paths"
            assert all(path.exists() for path in paths), "writer: returned what it did not write"
            assert all(path.is_relative_to(to) for path in paths), "writer: wrote elsewhere"
            files = sorted(path for path in to.rglob("*") if path.is_file())
            digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in files])
    assert digests[0] == digests[1] or not exact, "writer: wrote other bytes the second time"


def keeps_files(write: Callable[..., list[str]], parts: Mapping[str, xr.Dataset]) -> None:
    """See that a writer does not overwrite, and leaves nothing half done."""
    with tempfile.TemporaryDirectory() as folder:
        before = {path: os.stat(path).st_mtime_ns for path in write(parts, folder)}
        try:
            write(parts, folder)
        except UsageError as error:
            assert "is there already" in str(error), str(error)
        else:
            raise AssertionError("writer: overwrote what is there")
        after = {path: os.stat(path).st_mtime_ns for path in before}
        left = list(Path(folder).rglob("*.partial"))
    assert after == before, "writer: touched what is there"
    assert not left, f"writer: left {left}"


def chunked(data: Any, sizes: Mapping[str, int]) -> Any:
    """Cut variables into blocks; coordinates stay in memory, as in what a store gives."""
    if isinstance(data, xr.DataTree):
        parts = {f"/{k}": chunked(v.to_dataset(), sizes) for k, v in data.items()}
        return xr.DataTree.from_dict(parts)
    cut = {"spot": 5, "event": 3} | dict(sizes)
    blocks = {
        name: variable.variable.chunk({dim: cut.get(str(dim), -1) for dim in variable.dims})
        for name, variable in data.data_vars.items()
    }
    return data.assign(blocks)


def _cut(data: Data, places: Mapping[str, slice]) -> Data:
    """Take a slice of each dim; pictures go with the blocks in which they are packed."""
    if isinstance(data, xr.Dataset) and "block" in places and "in_block" in data.coords:
        packed = np.isin(data["in_block"].values, data["block"].values[places["block"]])
        data = data.isel(record=np.flatnonzero(packed))
    return data.isel(places)


def _open_files() -> set[str]:
    """Return the files that this process has open; none where nobody can tell."""
    found = set()
    for entry in os.scandir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            target = os.readlink(entry.path)
        except OSError:  # closed meanwhile
            continue
        if target.startswith("/") and os.path.isfile(target):
            found.add(target)
    return found
