"""What others write as OME-Zarr metadata, 0.1 to 0.6: axes, units, levels, transformations.

Transformations are composed as matrices; what comes out must be a step and a start along each axis,
which is all that dpipe's coordinates hold. A word that is not known, and a map that turns or bends,
is refused by its name. What is not read is not checked.

Versions before 0.4 say no sizes, and those before 0.3 no axes, which were t, c, z, y, x always.
From 0.6 on an image has named coordinate systems, as SpatialData has them in any version; that of
the levels is the image's own.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dpipe.errors import InputError, UsageError
from dpipe.metadata.ngff_transforms import Map, composed, end_of, kind_of, listed, says_size, short
from dpipe.schema import Attributes, units

NONE = "none"
"""What a person says to have nothing of a kind."""
_AXES = "tczyx"
_MOST_NAMED = 10
_NAMES = {"time": "t", "frame": "t", "channel": "c", "ch": "c", "depth": "z", "height": "y"}
_NAMES |= {"width": "x"} | {axis: axis for axis in _AXES}
_TYPES = {"time": "t", "channel": "c"}
_KIND_OF = {"t": "time", "c": "channel"}
_WAY = "option system=none takes the image as it lies, without what holds for all its levels"


class Level(NamedTuple):
    """One resolution: path of its array, step along each axis, centre of the first voxel."""

    path: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]


@dataclass(frozen=True)
class Multiscale:
    """One image of a group: axes among t, c, z, y, x, and levels, the highest resolution first.

    Attributes
    ----------
    name, version : str
        What the metadata call it, and the version of OME-Zarr.
    axes : tuple of str
        In the order of its arrays.
    levels : tuple of Level
        The highest resolution first.
    unsaid : tuple of (str, str, str)
        Axes of which the file says no ``"size"`` or no ``"unit"``, and what it says instead.
    notes : tuple of str
        What was left out.
    """

    name: str
    version: str
    axes: tuple[str, ...]
    levels: tuple[Level, ...]
    unsaid: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()


class _Axis(NamedTuple):
    """One axis: our name, the file's, its unit as the file has it, and what is odd about it."""

    name: str
    word: str
    unit: str
    odd: str = ""


class Reading(NamedTuple):
    """How a person wants metadata to be read.

    Attributes
    ----------
    axes : str or None
        Names of the axes in their order, over what the file says.
    unit, time_unit : str or None
        Units of lengths and of times, over what the file says.
    system : str or None
        Which coordinate system of several; "none" that of the levels.
    """

    axes: str | None = None
    unit: str | None = None
    time_unit: str | None = None
    system: str | None = None


def version_of(attributes: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Return the OME metadata of a group and its version, two numbers with a dot."""
    metadata = attributes.get("ome", attributes)
    if not isinstance(metadata, Mapping):
        raise InputError("OME-Zarr: attribute 'ome' is not an object; the file is damaged")
    images = metadata.get("multiscales")
    first = (
        images[0] if "ome" not in attributes and isinstance(images, list) and images else metadata
    )
    first = first if isinstance(first, Mapping) else {}
    usual = "0.5" if "ome" in attributes else _usual(first)
    version = str(first.get("version", usual))
    match = re.match(r"(0\.[1-6])(?!\d)", version)
    if match is None:
        raise InputError(f"OME-Zarr version {version[:20]!r}; dpipe reads 0.1 to 0.6")
    return metadata, match[1]


def omero_of(attributes: Mapping[str, Any]) -> Any:
    """Return the block ``omero``; some programs write it beside ``ome``, not in it."""
    return version_of(attributes)[0].get("omero", attributes.get("omero"))


def _usual(image: Mapping[str, Any]) -> str:
    """Tell the version of an image that does not say it by the form of its axes."""
    axes = image.get("axes")
    if isinstance(axes, list) and axes and all(isinstance(axis, str) for axis in axes):
        return "0.3"
    return "0.4"


def multiscale(image: Any, version: str, how: Reading) -> Multiscale:
    """Read one entry of ``multiscales``."""
    if not isinstance(image, Mapping):
        raise InputError(f"'multiscales' holds {short(image)}; expected an object: it is damaged")
    datasets = image.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        raise InputError(f"'datasets' is {short(datasets)}; expected levels: it is damaged")
    axes = _axes(image, datasets, version, how)
    whole, units, notes = _for_all_levels(image, datasets, axes, version, how.system)
    axes = [axis._replace(unit=units.get(axis.word) or axis.unit) for axis in axes]
    factors, unsaid = _factors(axes, how)
    levels = []
    for dataset in datasets:
        level, odd = _level(dataset, axes, whole, factors, version)
        levels.append(level)
        unsaid += [item for item in odd if item not in unsaid]
    names = tuple(axis.name for axis in axes)
    name = _text(image.get("name"))
    notes = [*filter(None, (axis.odd for axis in axes)), *notes]
    return Multiscale(name, version, names, tuple(levels), tuple(unsaid), tuple(notes))


def assumed(ms: Multiscale, sizes: Mapping[str, int]) -> list[str]:
    """Return lines on what a file does not say and was assumed, for an image of these sizes."""
    without = {axis for axis, what, _ in ms.unsaid if what == "size"}
    grouped: dict[tuple[str, str, bool], list[str]] = {}
    for axis, what, reason in ms.unsaid:
        time = axis == "t"
        if (time and sizes.get("t", 1) < 2) or (what == "unit" and axis in without):
            continue
        grouped.setdefault((what, reason, time), []).append(axis)
    lines = []
    for (what, reason, time), axes in grouped.items():
        named = ", ".join(axes)
        if what == "unit":
            line = "times are seconds" if time else f"lengths along {named} are micrometres"
        else:
            line = "frames are 1 s apart" if time else f"voxel size along {named} is 1 micrometre"
        lines.append(f"{line}: {reason}")
    return lines


# --- axes -------------------------------------------------------------------------------------


def _axes(
    image: Mapping[str, Any], datasets: Sequence[Any], version: str, how: Reading
) -> list[_Axis]:
    axes_told = image.get("axes")
    if version == "0.6" or axes_told is None:
        axes_told = _own_axes(image, datasets) or axes_told
    if axes_told is None and version in ("0.1", "0.2"):
        axes_told = list(_AXES)
    if how.axes is not None:
        return _given_axes(how.axes, axes_told)
    if not isinstance(axes_told, list) or not axes_told:
        raise InputError(
            f"axes are {short(axes_told)}; expected a list. Say what they are, as in "
            "option axes=czyx"
        )
    axes = [_axis(axis) for axis in axes_told]
    names = [axis.name for axis in axes]
    if len(set(names)) != len(names) or not {"y", "x"} <= set(names):
        listed = ", ".join(axis.word[:20] for axis in axes)
        raise InputError(
            f"axes ({listed}); dpipe needs y, x, each axis once. Say what they are, as in "
            "option axes=czyx"
        )
    return axes


def _given_axes(option: str, axes_told: Any) -> list[_Axis]:
    letters = option.lower()
    if (
        set(letters) - set(_AXES)
        or len(set(letters)) != len(letters)
        or not set("yx") <= {*letters}
    ):
        raise UsageError(f"axes={option!r}: expected letters of tczyx, each once, with y and x")
    axes = (
        axes_told
        if isinstance(axes_told, list) and len(axes_told) == len(letters)
        else [{}] * len(letters)
    )
    axes = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in axes]
    return [
        _Axis(name, _text(axis.get("name")) or name, _text(axis.get("unit")))
        for name, axis in zip(letters, axes, strict=True)
    ]


def _own_axes(image: Mapping[str, Any], datasets: Sequence[Any]) -> Any:
    """Return the axes of the coordinate system that the levels lead to; None without any."""
    systems = image.get("coordinateSystems")
    named = [s for s in systems if isinstance(s, Mapping)] if isinstance(systems, list) else []
    chosen = [system for system in named if system.get("name") == _own_system(datasets)] or named
    return chosen[0].get("axes") if chosen else None


def _axis(axis: Any) -> _Axis:
    fields: Mapping[str, Any] = {"name": axis} if isinstance(axis, str) else axis
    if not isinstance(fields, Mapping) or not isinstance(fields.get("name"), str):
        raise InputError(
            f"axis {short(axis)} has no name. Say what axes are, as in option axes=czyx"
        )
    word, kind = fields["name"], _text(fields.get("type"))
    name = _NAMES.get(word.strip().lower()) or _TYPES.get(kind, "")
    if not name:
        raise InputError(
            f"axis {word[:20]!r}; dpipe reads t, c, z, y, x. Say what axes are, as in option "
            "axes=czyx"
        )
    wrong = kind in ("space", "time", "channel") and kind != _KIND_OF.get(name, "space")
    odd = f"axis {word[:20]!r} is of the type {kind!r}; it is taken by its name" if wrong else ""
    return _Axis(name, word, _text(fields.get("unit")), odd)


def _factors(axes: Sequence[_Axis], how: Reading) -> tuple[np.ndarray, list[tuple[str, str, str]]]:
    """Return the unit of each axis in micrometres or seconds, and the axes without one."""
    factors, unsaid = [], []
    for axis in axes:
        if axis.name == "c":
            factors.append(1.0)
            continue
        time = axis.name == "t"
        unit_option, option = (how.time_unit, "time_unit") if time else (how.unit, "unit")
        unit = axis.unit if unit_option is None else unit_option
        factor = (units.seconds_in if time else units.micrometres_in)(unit)
        if factor is None and unit_option is not None:
            example = "s, ms or min" if time else "um, nm or mm"
            raise UsageError(f"{option}={unit_option!r}: expected a unit such as {example}")
        if factor is None and unit.strip().lower() not in units.UNITLESS:
            example = "s" if time else "um"
            raise InputError(
                f"unit {unit[:30]!r} of axis {axis.word[:20]} is not known; say what it is, as in "
                f"option {option}={example}"
            )
        if factor is None:
            reason = f"the unit is {unit!r}" if unit else "no unit is said"
            unsaid.append((axis.name, "unit", reason))
        factors.append(factor or 1.0)
    return np.array(factors), unsaid


# --- levels and transformations ---------------------------------------------------------------


def _level(
    dataset: Any, axes: Sequence[_Axis], whole: Map, factors: np.ndarray, version: str
) -> tuple[Level, list[tuple[str, str, str]]]:
    if not isinstance(dataset, Mapping) or not isinstance(dataset.get("path"), str):
        raise InputError(f"level {short(dataset)} has no path; it is damaged")
    path, entries = dataset["path"], listed(dataset.get("coordinateTransformations"))
    try:
        level_map = composed(entries, [axis.word for axis in axes])
        sized = any(map(says_size, entries)) or not np.array_equal(whole.matrix, np.eye(len(axes)))
    except InputError as error:
        raise InputError(f"level {short(path)}: {error}") from error
    with np.errstate(over="ignore", invalid="ignore"):  # what comes out is looked at
        placed = level_map.then(whole)
        sizes, start = np.diag(placed.matrix) * factors, placed.shift * factors
    if placed.turns:
        way = "" if level_map.turns else f"; {_WAY}"
        raise InputError(
            f"level {short(path)}: its axes are turned or mixed, which is not read{way}"
        )
    steps, unsaid = np.diag(placed.matrix).copy(), []
    for i, axis in enumerate(axes):
        if axis.name == "c":
            steps[i] = 1.0
        elif not sized or steps[i] == 0:
            none = f"level {short(path)} says none"
            none = f"OME-Zarr {version} has no place for it" if version < "0.4" else none
            unsaid.append((axis.name, "size", "the scale is 0" if sized else none))
            steps[i] = 1.0
        else:
            steps[i] = sizes[i]
        if not (math.isfinite(steps[i]) and steps[i] > 0 and math.isfinite(start[i])):
            numbers = f"scale {steps[i]:g} and start {start[i]:g} along {axis.name}"
            raise InputError(f"level {short(path)}: {numbers}; expected a number above 0, and one")
    return Level(path, tuple(steps.tolist()), tuple(start.tolist())), unsaid


def _for_all_levels(
    image: Mapping[str, Any],
    datasets: Sequence[Any],
    axes: Sequence[_Axis],
    version: str,
    system: str | None,
) -> tuple[Map, dict[str, str], list[str]]:
    """Return the map behind that of each level, its units, and notes on systems left out."""
    words = [axis.word for axis in axes]
    own_system, nothing = _own_system(datasets), composed((), words)
    entries = listed(image.get("coordinateTransformations"))
    for_own = [entry for entry in entries if not end_of(entry, "output")]
    named = {end_of(entry, "output"): entry for entry in entries if entry not in for_own}
    named = {name: entry for name, entry in named.items() if name != own_system}
    if system == NONE or (system is not None and system == own_system):
        return nothing, {}, []
    if system is not None and system not in named:
        names = short([name for name in (own_system, *named) if name])
        raise UsageError(f"system={system!r}: no such coordinate system. Found: {names}")
    labels = [f"{short(name)} ({kind_of(entry)[:20]})" for name, entry in named.items()]
    labels = labels[:_MOST_NAMED]
    if system is None and version == "0.6":  # these lead away from the image's own system
        away = [line for line in labels if not line.endswith("(identity)")]
        return nothing, {}, [f"coordinate systems left out: {', '.join(away)}"] if away else []
    if system is None and len({repr(_content(entry)) for entry in named.values()}) > 1:
        raise InputError(f"several coordinate systems: {', '.join(labels)}; say which, as in "
                         f"option system=NAME; {_WAY}")  # fmt: skip
    chosen = [named[system]] if system is not None else list(named.values())[:1]
    try:
        for entry in chosen:
            _check_ends(entry, words)
        return composed(for_own + chosen, words), _units(chosen), []
    except InputError as error:
        raise InputError(f"{error}; {_WAY}") from error


def _own_system(datasets: Sequence[Any]) -> str:
    """Return the name of the coordinate system that the levels lead to, "" for none."""
    first = datasets[0] if isinstance(datasets[0], Mapping) else {}
    ends = [end_of(entry, "output") for entry in listed(first.get("coordinateTransformations"))]
    return next(filter(None, ends), "")


def _content(transformation: Mapping[str, Any]) -> Attributes:
    return {k: v for k, v in transformation.items() if k not in ("input", "output", "name")}


def _check_ends(transformation: Mapping[str, Any], words: Sequence[str]) -> None:
    """Refuse what leads from or to other axes, or the same in another order."""
    for end in ("input", "output"):
        system = transformation.get(end)
        axes = system.get("axes") if isinstance(system, Mapping) else None
        names = [a.get("name") for a in listed(axes) if isinstance(a, Mapping)]
        if names and names != list(words):
            raise InputError(f"its {end} has the axes {short(names)}, not {short(list(words))}")


def _units(transformations: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the units of the axes that transformations lead to, where they say any."""
    unit_of: dict[str, str] = {}
    for entry in transformations:
        system = entry.get("output")
        axes = listed(system.get("axes")) if isinstance(system, Mapping) else []
        unit_of |= {
            _text(a.get("name")): _text(a.get("unit")) for a in axes if isinstance(a, Mapping)
        }
    return {
        name: unit for name, unit in unit_of.items() if unit.strip().lower() not in units.UNITLESS
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
