"""Transformations of OME-Zarr as matrices: world = matrix * index + shift.

The words are those of all versions and of SpatialData; one that is not known, or that cannot be a
matrix, is refused by its name.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dpipe.errors import InputError

_OF_NUMBERS = ("scale", "translation", "affine", "rotation")


class Map(NamedTuple):
    """World = matrix * index + shift."""

    matrix: np.ndarray
    shift: np.ndarray

    def then(self, later: "Map") -> "Map":
        """Return the map that applies this one first."""
        return Map(later.matrix @ self.matrix, later.matrix @ self.shift + later.shift)

    @property
    def turns(self) -> bool:
        """Whether an axis of the world is not that of the array."""
        sizes = np.abs(self.matrix)
        aside = sizes[~np.eye(len(sizes), dtype=bool)].max(initial=0.0)
        return bool(aside > 1e-9 * sizes.max())


def composed(transformations: Sequence[Any], words: Sequence[str]) -> Map:
    """Return transformations of axes of these names, one after the other.

    Raises
    ------
    InputError
        One that is not read, or whose numbers are not what they should be.
    """
    product = Map(np.eye(len(words)), np.zeros(len(words)))
    with np.errstate(over="ignore", invalid="ignore"):  # what comes out is looked at
        for transformation in transformations:
            product = product.then(_map(transformation, words))
    return product


def says_size(transformation: Any) -> bool:
    """Tell whether a transformation says a step, be it 1."""
    kind = kind_of(transformation)
    if kind == "identity":  # between named systems, which have units
        return "output" in transformation
    if kind == "sequence":
        return any(map(says_size, listed(transformation.get("transformations"))))
    return kind in ("scale", "affine", "byDimension", "bijection")


def kind_of(transformation: Any) -> str:
    """Return the type of a transformation."""
    if not isinstance(transformation, Mapping) or not isinstance(transformation.get("type"), str):
        raise InputError(f"transformation {short(transformation)} has no type; it is damaged")
    return str(transformation["type"])


def end_of(transformation: Any, end: str) -> str:
    """Return the name of the coordinate system at an end of a transformation, "" for none."""
    system = transformation.get(end) if isinstance(transformation, Mapping) else None
    system = system.get("name") if isinstance(system, Mapping) else system
    return system if isinstance(system, str) else ""


def listed(value: Any) -> list[Any]:
    """Return a list of the metadata; an empty one where there is none."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise InputError(f"found {short(value)}, expected a list; the metadata are damaged")
    return value


def short(value: Any) -> str:
    """Quote a value of the metadata, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _map(transformation: Any, words: Sequence[str]) -> Map:
    kind = kind_of(transformation)
    if kind not in _MAPS:
        raise InputError(f"transformation {kind[:30]!r} is not one that dpipe reads")
    if kind in _OF_NUMBERS and "path" in transformation and kind not in transformation:
        raise InputError(
            f"the {kind} lies in an array, {short(transformation['path'])}; dpipe reads numbers"
        )
    return _MAPS[kind](transformation, words)


def _identity(transformation: Mapping[str, Any], words: Sequence[str]) -> Map:
    return composed((), words)


def _scale(transformation: Mapping[str, Any], words: Sequence[str]) -> Map:
    return Map(np.diag(_numbers(transformation, "scale", (len(words),))), np.zeros(len(words)))


def _translation(transformation: Mapping[str, Any], words: Sequence[str]) -> Map:
    return Map(np.eye(len(words)), _numbers(transformation, "translation", (len(words),)))


def _rotation(transformation: Mapping[str, Any], words: Sequence[str]) -> Map:
    n = len(words)
    return Map(_numbers(transformation, "rotation", (n, n), (n * n,)).reshape(n, n), np.zeros(n))


def _affine(transformation: Mapping[str, Any], words: Sequence[str]) -> Map:
    n = len(words)
    rows = _numbers(transformation, "affine", (n, n + 1), (n + 1, n + 1))
    return Map(rows[:n, :n], rows[:n, n])


def _map_axis(transformation: Mapping[str, Any], words: Sequence[str]) -> Map:
    return Map(_permutation(transformation.get("mapAxis"), words), np.zeros(len(words)))


def _sequence(transformation: Mapping[str, Any], words: Sequence[str]) -> Map:
    return composed(listed(transformation.get("transformations")), words)


def _bijection(transformation: Mapping[str, Any], words: Sequence[str]) -> Map:
    return _map(transformation.get("forward"), words)


def _permutation(axis_map: Any, words: Sequence[str]) -> np.ndarray:
    """Return the matrix of a map from axes to axes: by names, or by the place of each input."""
    every, places = [*range(len(words))], axis_map
    if isinstance(axis_map, Mapping):  # input by output, as SpatialData has it
        names = [axis_map.get(word) for word in words]
        places = [words.index(name) if name in words else -1 for name in names]
    if not isinstance(places, list) or sorted(map(repr, places)) != sorted(map(repr, every)):
        raise InputError(
            f"mapAxis is {short(axis_map)}; expected each of {short(list(words))} once"
        )
    return np.eye(len(words))[places]


def _by_dimension(transformation: Mapping[str, Any], words: Sequence[str]) -> Map:
    matrix, shift = np.zeros((len(words), len(words))), np.zeros(len(words))
    done = list[int]()
    for item in listed(transformation.get("transformations")):
        part = item if isinstance(item, Mapping) else {}
        ends = [
            [words.index(a) if a in words else a for a in listed(_axes_of(part, end))]
            for end in ("input", "output")
        ]
        good = all(type(i) is int and 0 <= i < len(words) for end in ends for i in end)
        if not good or not ends[0] or len(ends[0]) != len(ends[1]) or {*done} & {*ends[1]}:
            raise InputError(f"byDimension maps {short(ends)}; expected axes, each once")
        submap = _map(part.get("transformation", part), [words[i] for i in ends[0]])
        matrix[np.ix_(ends[1], ends[0])] = submap.matrix
        shift[ends[1]] = submap.shift
        done += ends[1]
    if sorted(done) != list(range(len(words))):
        raise InputError(f"byDimension leads to {short(sorted(done))}; expected all axes")
    return Map(matrix, shift)


def _axes_of(part: Mapping[str, Any], end: str) -> Any:
    """Return the axes of a part, by the names that drafts and versions have for them."""
    keys = (f"{end}Axes", f"{end}_axes", end)
    return next((part[key] for key in keys if isinstance(part.get(key), list)), [])


def _numbers(transformation: Mapping[str, Any], kind: str, *shapes: tuple[int, ...]) -> np.ndarray:
    value = transformation.get(kind)
    try:
        entries = np.array(value, dtype=object)
        numbers = entries.astype(float)
        good = not any(isinstance(value, str | bool) for value in entries.ravel())
    except (TypeError, ValueError, OverflowError):
        numbers, good = np.empty(0), False
    if not good or numbers.shape not in shapes or not np.isfinite(numbers).all():
        sizes = " or ".join(" x ".join(map(str, shape)) for shape in shapes)
        raise InputError(f"the {kind} is {short(value)}; expected {sizes} numbers")
    return numbers


_MAPS: dict[str, Callable[[Mapping[str, Any], Sequence[str]], Map]] = {
    "identity": _identity,
    "scale": _scale,
    "translation": _translation,
    "rotation": _rotation,
    "affine": _affine,
    "mapAxis": _map_axis,
    "sequence": _sequence,
    "bijection": _bijection,
    "byDimension": _by_dimension,
}
