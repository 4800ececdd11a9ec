"""How the values of a part get into the store: documents, cells of whole shards, and marks."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import xarray as xr

from dpipe import compute, ledger
from dpipe.build import marks
from dpipe.build.part_layout import PartLayout
from dpipe.catalog import seals
from dpipe.errors import StoreError
from dpipe.storage import Objects, Put, chunking, zarr


class Written(TypedDict):
    """How long a task computed, and the bytes and objects that it wrote."""

    seconds: float
    bytes: int
    objects: int


@dataclass
class Cells:
    """The cells of one partition, computed and written.

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
    objects: Objects, layout: PartLayout, coordinates: Mapping[str, bytes]
) -> list[Put]:
    """Put every ``zarr.json`` and every coordinate object of a part."""
    data = {key: layout.document(key) for key in layout.documents} | dict(coordinates)

    def put(name: str) -> Put:
        key = f"{layout.path}/{name}"
        return zarr.keep(objects, key, data[name], seals.key_of(layout.base))

    puts = []
    for answer in objects.ask_many(put, data):
        if isinstance(answer, StoreError):
            raise answer
        puts.append(answer)
    return puts


def write_cells(
    objects: Objects,
    layout: PartLayout,
    ds: xr.Dataset,
    index: int,
    again: xr.Dataset | None = None,
) -> Cells:
    """Compute one partition of a lazy Dataset and write it, cell by cell.

    Parameters
    ----------
    objects : Objects
        The store.
    layout : PartLayout
        How the part is cut.
    ds : xarray.Dataset
        Its values, lazy.
    index : int
        Which partition.
    again : xarray.Dataset, optional
        The same, made once more: its values are compared.

    Returns
    -------
    Cells
        Its objects, the values of small variables, and what is odd about them.
    """
    began, cells = time.perf_counter(), Cells()
    dims = {str(name): variable.dims for name, variable in ds.data_vars.items()}
    numbers: set[str] = set()
    for cell in layout.grid.cells(index):
        names = [name for name in dims if layout.grid.owns(cell, dims[name])]
        second = compute.compute_region(again, names, cell) if again is not None else {}
        for name, values in compute.compute_region(ds, names, cell).items():
            if name in second and not _same(values, second[name]):
                cells.unsteady.add(name)
            (cells.nothing if _is_nothing(values) else numbers).add(name)
            if name in layout.small:
                cells.pieces.add(layout.levels(name)[0], cell, values)
            else:
                cells.puts += write_cell(objects, layout, name, cell, values)
    cells.nothing -= numbers
    cells.seconds = time.perf_counter() - began
    return cells


def write_cell(
    objects: Objects, layout: PartLayout, name: str, cell: Mapping[str, slice], values: np.ndarray
) -> list[Put]:
    """Write the shards of one variable in one cell, with every level of their region."""
    levels = layout.levels(name)
    top, key = levels[0], seals.key_of(layout.base)
    puts: list[Put] = []
    for region in chunking.shards(top, {d: s for d, s in cell.items() if d in top.dims}):
        inside = tuple(
            slice(s.start - cell[d].start, s.stop - cell[d].start) if d in cell else s
            for d, s in zip(top.dims, region, strict=True)
        )
        cut = dict(zip(top.dims, region, strict=True))
        for array, place, block in chunking.levels_of(levels, cut, values[inside]):
            document = layout.document(f"{array.path}/zarr.json")
            puts += zarr.write_region(objects, layout.path, array, document, place, block, key)
    return puts


def _is_nothing(values: np.ndarray) -> bool:
    """Tell whether every value is NaN; one look at the first settles most."""
    if values.dtype.kind != "f" or not values.size or not np.isnan(values.flat[0]):
        return False
    return bool(np.isnan(values).all())


def write_partition(
    objects: Objects,
    layout: PartLayout,
    ds: xr.Dataset,
    index: int,
    *,
    again: xr.Dataset | None = None,
    anew: bool = False,
) -> Written:
    """Compute one partition of a lazy Dataset and write it, cell by cell.

    Parameters
    ----------
    objects : Objects
        The store.
    layout : PartLayout
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
    Written
        As of `partition`.
    """
    cells = write_cells(objects, layout, ds, index, again)
    marks.put(objects, marks.key(layout.base, index), _mark(index, cells), anew=anew)
    size = sum(put.size for put in cells.puts)
    return Written(seconds=cells.seconds, bytes=size, objects=len(cells.puts))


def _mark(index: int, cells: Cells) -> marks.PartitionMark:
    """Return the mark of a partition, with what the open ledger holds."""
    mark = marks.PartitionMark(
        partition=index,
        objects=[put.to_dict() for put in cells.puts],
        small=cells.pieces.to_list(),
        seconds=cells.seconds,
        nothing=sorted(cells.nothing),
    )
    if cells.unsteady:
        mark["unsteady"] = sorted(cells.unsteady)
    if (notes := ledger.current()) is not None:
        mark["read"] = notes.entries()
    return mark


def _same(values: np.ndarray, others: np.ndarray) -> bool:
    """Tell whether two results are equal, bit for bit but for kinds of NaN."""
    return np.array_equal(values, others, equal_nan=values.dtype.kind in "fc")
