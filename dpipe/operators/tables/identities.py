"""What tells a record from all others, and a place between 0 and 1 that depends on that alone.

Beside it, what operators over all parts of a dataset take: a tree, or the only part.
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import SchemaError, UsageError, unknown

_ORIGIN = (schema.EXPERIMENT, schema.DONOR, schema.CONDITION)


def parts_of(data: xr.DataTree | xr.Dataset | None) -> dict[str, xr.Dataset]:
    """Return the parts of a dataset by stem; of one part, ``open`` gives a Dataset, not a tree."""
    if isinstance(data, xr.Dataset):
        return {str(data.attrs.get("stem", "data")): data}
    children = {} if data is None else data.children
    return {str(stem): child.to_dataset() for stem, child in children.items()}


def columns(ds: xr.Dataset, names: Sequence[str], what: str) -> np.ndarray:
    """Return some columns joined to one text a record."""
    variables = {str(n): v for n, v in ds.variables.items() if v.dims == ("record",)}
    for name in names:
        if name not in variables:
            raise UsageError(f"{what}: {unknown('name', name, variables)}")
    arrays = [np.asarray(variables[name].values) for name in names]
    if all(values.size and (values == values[0]).all() for values in arrays):  # as in one folder
        return np.full(
            ds.sizes["record"], "\0".join(values[:1].astype(str)[0] for values in arrays), object
        )
    texts = [values.astype(str).tolist() for values in arrays]
    return np.array(["\0".join(row) for row in zip(*texts, strict=True)], dtype=object)


def identities(ds: xr.Dataset) -> np.ndarray:
    """Return a key for each record: experiment, donor, condition, and object or file.

    Where none of the three is known, objects are numbered anew in every folder: then it is the
    file alone, if that is known.
    """
    if "record" not in ds.dims:
        raise SchemaError(f"no records; found the dims {', '.join(map(str, ds.dims)) or 'none'}")
    origin = [v.name for v in _ORIGIN if v.name in ds.coords]
    numbered = schema.OBJECT_NUMBER.name in ds.coords
    named = schema.PICTURE_FILE.name in ds.coords
    if not named and not numbered:
        raise SchemaError("records without file or object_number, which tell them apart")
    if not numbered or (named and not origin):
        return columns(ds, [*origin, schema.PICTURE_FILE.name], "records")
    numbers = ds[schema.OBJECT_NUMBER.name].values
    names = numbers.astype(str).astype(object)
    if named:  # a file without a number goes by its name
        names = np.where(numbers < 0, ds[schema.PICTURE_FILE.name].values.astype(object), names)
    before = columns(ds, origin, "records")
    return np.array([f"{a}\0{b}" for a, b in zip(before, names, strict=True)], dtype=object)


def sound(ds: xr.Dataset) -> np.ndarray:
    """Return which records have a picture: those that were not put aside."""
    if schema.PUT_ASIDE.name not in ds.coords:
        return np.ones(ds.sizes["record"], dtype=bool)
    return np.asarray(ds[schema.PUT_ASIDE.name].values == "", dtype=bool)


def places(names: Iterable[str], seed: int) -> np.ndarray:
    """Hash names to places in [0, 1)."""
    digests = (
        hashlib.blake2b(f"{seed}/{name}".encode(errors="replace"), digest_size=6).digest()
        for name in names
    )
    return np.array([int.from_bytes(digest, "big") / 2**48 for digest in digests], dtype=float)


def names_of(choice: object, what: str) -> list[str]:
    """Return names that were given as a list, or as a text cut at commas."""
    listed = choice.split(",") if isinstance(choice, str) else choice
    if not isinstance(listed, list | tuple) or not all(isinstance(name, str) for name in listed):
        raise UsageError(f"{what}: found {choice!r}; expected names")
    return [name.strip() for name in listed if name.strip()]
