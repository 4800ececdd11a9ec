"""How the values of a part get into the store: documents, cells of whole shards, and marks."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from dpipe import compute, ledger
from dpipe.build import marks
from dpipe.build.part_layout import PartLayout
from dpipe.catalog import seals
from dpipe.errors import StoreError
from dpipe.storage import Objects, Put, chunking, zarr


@dataclass
class Cells:
    """What became of the cells of one partition.

    Attributes
    ----------
    puts : list of Put
        The objects that were written.
    pieces : Pieces
        Values of small variables.
    nothing : set of str
        Variables of which every value is NaN.
    unsteady : set of str
        Variables that were computed twice, and gave two answers.
    seconds : float
        How long it took.
    """

    puts: list[Put] = field(default_factory=list)
    pieces: marks.Pieces = field(default_factory=marks.Pieces)
    nothing: set[str] = field(default_factory=set)
    unsteady: set[str] = field(default_factory=set)
    seconds: float = 0.0


def put_documents(
    objects: Objects, outline: PartLayout, coordinates: Mapping[str, bytes]
) -> list[Put]:
    """Put every ``zarr.json`` and every coordinate object of a part."""
    held = {key: outline.document(key) for key in outline.documents} | dict(coordinates)

    def put(name: str) -> Put:
        key = f"{outline.path}/{name}"
        return zarr.keep(objects, key, held[name], seals.key_of(outline.base))

    found = []
    for one in objects.ask_many(put, held):
        if isinstance(one, StoreError):
            raise one
        found.append(one)
    return found


def write_cells(
    objects: Objects,
    outline: PartLayout,
    ds: xr.Dataset,
    index: int,
    again: xr.Dataset | None = None,
) -> Cells:
    """Compute one partition of a lazy Dataset and write it, cell by cell.

    Parameters
    ----------
    objects : Objects
        The store.
    outline : PartLayout
        How the part is cut.
    ds : xarray.Dataset
        What it will hold.
    index : int
        Which partition.
    again : xarray.Dataset, optional
        The same, made once more: its values are compared.

    Returns
    -------
    Cells
        What became of them.
    """
    began, made = time.perf_counter(), Cells()
    dims = {str(name): variable.dims for name, variable in ds.data_vars.items()}
    some: set[str] = set()
    for cell in outline.grid.cells(index):
        names = [name for name in dims if outline.grid.owns(cell, dims[name])]
        second = compute.compute_region(again, names, cell) if again is not None else {}
        for name, values in compute.compute_region(ds, names, cell).items():
            if name in second and not _same(values, second[name]):
                made.unsteady.add(name)
            (made.nothing if _is_nothing(values) else some).add(name)
            if name in outline.small:
                made.pieces.add(outline.levels(name)[0], cell, values)
            else:
                made.puts += write_cell(objects, outline, name, cell, values)
    made.nothing -= some
    made.seconds = time.perf_counter() - began
    return made


def write_cell(
    objects: Objects, outline: PartLayout, name: str, cell: Mapping[str, slice], values: np.ndarray
) -> list[Put]:
    """Write the shards of one variable in one cell, with every level of their region."""
    levels = outline.levels(name)
    top, key = levels[0], seals.key_of(outline.base)
    puts: list[Put] = []
    for region in chunking.shards(top, {d: s for d, s in cell.items() if d in top.dims}):
        inside = tuple(
            slice(s.start - cell[d].start, s.stop - cell[d].start) if d in cell else s
            for d, s in zip(top.dims, region, strict=True)
        )
        cut = dict(zip(top.dims, region, strict=True))
        for array, place, block in chunking.levels_of(levels, cut, values[inside]):
            document = outline.document(f"{array.path}/zarr.json")
            puts += zarr.write_region(objects, outline.path, array, document, place, block, key)
    return puts


def _is_nothing(values: np.ndarray) -> bool:
    """Tell whether every value is NaN; one look at the first settles most."""
    if values.dtype.kind != "f" or not values.size or not np.isnan(values.flat[0]):
        return False
    return bool(np.isnan(values).all())


def write_partition(
    objects: Objects,
    outline: PartLayout,
    ds: xr.Dataset,
    index: int,
    *,
    again: xr.Dataset | None = None,
    anew: bool = False,
) -> dict[str, Any]:
    """Compute one partition of a lazy Dataset and write it, cell by cell.

    Parameters
    ----------
    objects : Objects
        The store.
    outline : PartLayout
        How the part is cut.
    ds : xarray.Dataset
        What it will hold.
    index : int
        Which partition.
    again : xarray.Dataset, optional
        The same, made once more: its values are compared.
    anew : bool
        Replace the mark that is there.

    Returns
    -------
    dict
        As `partition`.
    """
    made = write_cells(objects, outline, ds, index, again)
    puts = [asdict(put) for put in made.puts]
    mark = {"partition": index, "objects": puts, "small": made.pieces.to_list()}
    mark |= {"seconds": made.seconds, "nothing": sorted(made.nothing)}
    mark |= {"unsteady": sorted(made.unsteady)} if made.unsteady else {}
    if (notes := ledger.current()) is not None:
        mark["read"] = notes.entries()
    marks.put(objects, marks.key(outline.base, index), mark, anew=anew)
    written = sum(put.size for put in made.puts)
    return {"seconds": made.seconds, "bytes": written, "objects": len(puts)}


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Tell whether two results are equal, bit for bit but for kinds of NaN."""
    return np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
