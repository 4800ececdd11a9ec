"""What an Imaris file says of each object beside its place: statistics and the user's labels.

It knows the tables of ``Scene8`` that hold both, and how the names of statistics become ours. A
statistic's name in small letters, every run of other characters than letters and digits a ``_``;
``_ch1`` behind it for channel 1; and where names are still alike, whatever else Imaris tells them
apart by. Statistics are found on opening and read when computed.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import h5py
import numpy as np
import xarray as xr

from dpipe import compute, schema
from dpipe.formats.hdf5 import Flaw, child, open_hdf5
from dpipe.readers.imaris import scene
from dpipe.sources import opened

_OF_OBJECTS = re.compile(r"(spot|point|(mega)?surface)s?", re.IGNORECASE)
_BLOCK_VALUES = 1 << 23
_ROWS = 1 << 20
_LABELS = ("LabelGroupNames", "LabelValues", "LabelSets", "LabelSetLabelIDs", "LabelSetObjectIDs")


class Statistic(NamedTuple):
    """One kind of number: Imaris's number of it, our name, its own name and unit."""

    number: int
    name: str
    title: str
    unit: str


class Description(NamedTuple):
    """Statistics and labels of the members of one object of the scene, in the order of `ids`."""

    path: str
    ids: np.ndarray
    statistics: list[Statistic]
    left_out: list[str]
    labels: dict[str, list[str]]


def describe(
    thing: scene.Thing, ids: np.ndarray, track: np.ndarray, own_numbers: bool
) -> Description:
    """Describe the members of an object by their statistics and labels.

    Parameters
    ----------
    thing : Thing
        An object of the scene.
    ids : numpy.ndarray, shape (n,)
        Numbers of its members.
    track : numpy.ndarray, shape (n,)
        Their tracks as the file numbers them, -1 none.
    own_numbers : bool
        Whether these are Imaris's own numbers; nothing can be found by others.

    Returns
    -------
    Description
        Empty where the file has neither.
    """
    group = thing.new
    if group is None or not own_numbers or len(np.unique(ids)) != len(ids):
        return Description("", ids, [], [], {})
    kinds, left_out = _statistics(group, thing)
    return Description(group.name, ids, kinds, left_out, _labels(group, ids, track, thing))


def variables(
    descriptions: Sequence[Description], dim: str, uri: str, name: str
) -> tuple[dict[str, xr.DataArray], dict[str, xr.DataArray], schema.Attributes]:
    """Return the variables, coordinates and attributes of all objects together.

    Parameters
    ----------
    descriptions : sequence of Description
        One an object, in the order of the rows.
    dim : str
        ``"spot"`` or ``"surface"``.
    uri, name : str
        The file, and what it is called in messages.

    Returns
    -------
    tuple of three dict
        ``<dim>_statistic(dim, name)`` and ``<dim>_label(dim, label_group)``, where there are any.
    """
    variables: dict[str, xr.DataArray] = {}
    coords: dict[str, xr.DataArray] = {}
    attrs: schema.Attributes = {}
    kinds: dict[str, Statistic] = {}
    for item in descriptions:
        kinds |= {kind.name: kind for kind in item.statistics if kind.name not in kinds}
    rows = sum(len(item.ids) for item in descriptions)
    if kinds and rows:
        columns = {key: i for i, key in enumerate(kinds)}
        pieces = [
            (item.path, item.ids, {kind.number: columns[kind.name] for kind in item.statistics})
            for item in descriptions
        ]
        chunks = (max(1, _BLOCK_VALUES // len(kinds)), len(kinds))
        read = partial(_read, uri=uri, name=name, pieces=pieces)
        array = xr.DataArray(
            compute.lazy(read, (rows, len(kinds)), "f8", chunks), dims=(dim, "name")
        )
        variables |= schema.VARIABLES[f"{dim}_statistic"].wrap(array)
        coords["name"] = _texts(list(kinds), "name")
        coords["statistic_title"] = _texts([kind.title for kind in kinds.values()], "name")
        coords["statistic_unit"] = _texts([kind.unit for kind in kinds.values()], "name")
    groups = list(dict.fromkeys(group for item in descriptions for group in item.labels))
    if groups and rows:
        table = [
            [item.labels[group][i] if group in item.labels else "" for group in groups]
            for item in descriptions
            for i in range(len(item.ids))
        ]
        array = xr.DataArray(np.asarray(table, str), dims=(dim, "label_group"))
        variables |= schema.VARIABLES[f"{dim}_label"].wrap(array)
        coords["label_group"] = _texts(groups, "label_group")
    if left_out := list(dict.fromkeys(line for item in descriptions for line in item.left_out)):
        attrs["statistics_left_out"] = left_out
    return variables, coords, attrs


def _texts(values: Sequence[str], dim: str) -> xr.DataArray:
    return xr.DataArray(np.asarray(values, str), dims=dim)


# --- statistics -------------------------------------------------------------------------------


def snake(title: str) -> str:
    """Turn a name of Imaris into one of ours.

    Examples
    --------
    >>> snake("Ellipticity (oblate)"), snake("Displacement^2")
    ('ellipticity_oblate', 'displacement_2')
    """
    return re.sub(r"[^0-9a-z]+", "_", title.lower()).strip("_") or "unnamed"


def _statistics(group: h5py.Group, thing: scene.Thing) -> tuple[list[Statistic], list[str]]:
    """List the kinds of numbers that members have, and those of something else, by their names."""
    if not (_has_rows(group, "StatisticsType") and _has_rows(group, "StatisticsValue")):
        return [], []
    numbers = scene.table(group, "StatisticsType", ("ID", "ID_Category", "ID_FactorList"))
    titles, units = (scene.texts(group, "StatisticsType", key) for key in ("Name", "Unit"))
    categories: dict[int, str] = {}
    if _has_rows(group, "Category"):
        ids = scene.table(group, "Category", ("ID",))["ID"].tolist()
        categories = dict(zip(ids, scene.texts(group, "Category", "CategoryName"), strict=True))
    else:
        thing.assumed.append(f"{thing.name}: all statistics are of its members: no Category says")
    factors = _factors(group)
    kinds: dict[int, tuple[str, str, list[tuple[str, str]]]] = {}
    left_out = []
    for number, category, list_, title, unit in zip(
        *(numbers[key].tolist() for key in ("ID", "ID_Category", "ID_FactorList")),
        titles,
        units,
        strict=True,
    ):
        of = categories.get(category, "")
        if categories and not _OF_OBJECTS.fullmatch(of):
            left_out.append(f"{title} ({of or 'of nothing'})")
        else:
            kinds.setdefault(number, (title, unit, factors.get(list_, [])))
    names = _distinct({number: (kind[0], kind[2]) for number, kind in kinds.items()})
    statistics = [
        Statistic(number, names[number], kind[0], kind[1]) for number, kind in kinds.items()
    ]
    return statistics, list(dict.fromkeys(left_out))


def _factors(group: h5py.Group) -> dict[int, list[tuple[str, str]]]:
    """Return by list what a statistic is split by: (``Channel``, ``1``) and such."""
    if not _has_rows(group, "Factor"):
        return {}
    factors: dict[int, list[tuple[str, str]]] = {}
    lists = scene.table(group, "Factor", ("ID_List",))["ID_List"].tolist()
    texts = (scene.texts(group, "Factor", key) for key in ("Name", "Level"))
    for number, name, level in zip(lists, *texts, strict=True):
        factors.setdefault(number, []).append((name, level))
    return factors


def _distinct(kinds: Mapping[int, tuple[str, list[tuple[str, str]]]]) -> dict[int, str]:
    """Name statistics: by their channels, then by other factors, then by a count."""
    named = {}
    for number, (title, factors) in kinds.items():
        channels = [snake(level) for factor, level in factors if factor == "Channel"]
        named[number] = "_ch".join([snake(title), *channels])
    alike = Counter(named.values())
    for number, (_, factors) in kinds.items():
        if alike[named[number]] > 1:
            others = [snake(f"{f} {level}") for f, level in factors if f != "Channel"]
            named[number] = "_".join([named[number], *others])
    seen: Counter[str] = Counter()
    for number, name in named.items():
        seen[name] += 1
        named[number] = name if seen[name] == 1 else f"{name}_{seen[name]}"
    return named


def _read(
    region: compute.Region,
    *,
    uri: str,
    name: str,
    pieces: Sequence[tuple[str, np.ndarray, dict[int, int]]],
) -> np.ndarray:
    """Read the numbers of some members, NaN where there is none; runs in a task."""
    rows, columns = region
    out = np.full((rows.stop - rows.start, columns.stop), np.nan)
    first = 0
    with opened(uri) as file, open_hdf5(file, name) as h5:
        for path, ids, kinds in pieces:
            low, high = max(rows.start, first), min(rows.stop, first + len(ids))
            if low < high and kinds:
                part = out[low - rows.start : high - rows.start]
                _fill(part, _at(h5, path), ids[low - first : high - first], kinds)
            first += len(ids)
    return out[:, columns]


def _at(h5: h5py.File, path: str) -> h5py.Group:
    group: Any = h5
    for step in path.strip("/").split("/"):
        group = None if group is None else child(group, step)
    if group is None:
        raise Flaw(f"no {path.lstrip('/')}, which was there when the file was opened")
    return group


def _fill(out: np.ndarray, group: h5py.Group, ids: np.ndarray, kinds: Mapping[int, int]) -> None:
    """Put each number in its place; the first one stands where there are several."""
    order = np.argsort(ids)
    sorted_ids = ids[order]
    numbers = np.array(sorted(kinds))
    column_of = np.array([kinds[number] for number in numbers.tolist()])
    fields = ("ID_Object", "ID_StatisticsType", "Value")
    for values in scene.table_in_runs(group, "StatisticsValue", fields, _ROWS):
        member = np.minimum(np.searchsorted(sorted_ids, values[fields[0]]), len(ids) - 1)
        kind = np.minimum(np.searchsorted(numbers, values[fields[1]]), len(numbers) - 1)
        ours = (sorted_ids[member] == values[fields[0]]) & (numbers[kind] == values[fields[1]])
        place, column = order[member[ours]], column_of[kind[ours]]
        fits = column < out.shape[1]
        place, column, value = place[fits], column[fits], values[fields[2]][ours][fits]
        first = np.unique(place * out.shape[1] + column, return_index=True)[1]
        first = first[np.isnan(out[place[first], column[first]])]
        out[place[first], column[first]] = value[first]


# --- labels -----------------------------------------------------------------------------------


def _labels(
    group: h5py.Group, ids: np.ndarray, track: np.ndarray, thing: scene.Thing
) -> dict[str, list[str]]:
    """Return by group of labels what each member is called; a track's label is its members'."""
    if not all(_has_rows(group, key) for key in _LABELS):
        return {}
    values = scene.texts(group, "LabelValues", "LabelValue")
    ends = scene.table(group, "LabelGroupNames", ("EndLabelValue",))["EndLabelValue"].tolist()
    names = scene.texts(group, "LabelGroupNames", "LabelGroupName")
    owner = [name for name, count in zip(names, _runs(ends, len(values)), strict=True)
             for _ in range(count)]  # fmt: skip
    label_ids = scene.table(group, "LabelSetLabelIDs", ("IDLabel",))["IDLabel"].tolist()
    members = scene.table(group, "LabelSetObjectIDs", ("IDObject",))["IDObject"].tolist()
    sets = scene.table(group, "LabelSets", ("EndLabelIDs", "EndObjectIDs"))
    rows: dict[int, list[int]] = {}
    for row in np.flatnonzero(track >= 0).tolist():
        rows.setdefault(int(track[row]), []).append(row)
    rows |= {number: [row] for row, number in enumerate(ids.tolist())}
    labels_of: dict[str, list[str]] = {name: [""] * len(ids) for name in owner}
    strange, label_at, member_at = 0, 0, 0
    counts = (_runs(sets["EndLabelIDs"].tolist(), len(label_ids)),
              _runs(sets["EndObjectIDs"].tolist(), len(members)))  # fmt: skip
    for labels, objects in zip(*counts, strict=True):
        for label in label_ids[label_at : label_at + labels]:
            if not 0 <= label < len(owner):
                raise Flaw(f"{group.name.lstrip('/')}/LabelSetLabelIDs names label {label}, which "
                           f"is not one of {len(owner)}")  # fmt: skip
            for member in members[member_at : member_at + objects]:
                strange += member not in rows
                for row in rows.get(member, []):
                    column = labels_of[owner[label]]
                    column[row] = ", ".join(filter(None, (column[row], values[label])))
        label_at, member_at = label_at + labels, member_at + objects
    if strange:
        thing.assumed.append(f"{thing.name}: {strange} labels are of objects that are not there")
    return labels_of


def _runs(ends: Sequence[int], total: int) -> list[int]:
    """Return lengths of runs that are said by where they end."""
    lengths = np.diff([0, *ends]).tolist()
    if min(lengths, default=0) < 0 or (ends and ends[-1] > total):
        raise Flaw(f"labels that end at {ends[-1]} of {total}, or before they begin; damaged")
    return lengths


def _has_rows(group: h5py.Group, key: str) -> bool:
    dataset = child(group, key, h5py.Dataset)
    return dataset is not None and bool(dataset.size)
