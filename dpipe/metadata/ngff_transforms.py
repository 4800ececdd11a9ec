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
    made = Map(np.eye(len(words)), np.zeros(len(words)))
    with np.errstate(over="ignore", invalid="ignore"):  # what comes out is looked at
        for each in transformations:
            made = made.then(_map(each, words))
    return made


def says_size(transformation: Any) -> bool:
    """Tell whether a transformation says a step, be it 1."""
    kind = kind_of(transformation)
    if kind == "identity":  # between named systems, which have units
        return "output" in transformation
    if kind == "sequence":
        return any(map(says_size, listed(transformation.get("transformations"))))
    return kind in ("scale", "affine", "byDimension", "bijection")


def kind_of(said: Any) -> str:
    """Return the type of a transformation."""
    if not isinstance(said, Mapping) or not isinstance(said.get("type"), str):
        raise InputError(f"transformation {short(said)} has no type; it is damaged")
    return str(said["type"])


def end_of(transformation: Any, end: str) -> str:
    """Return the name of the coordinate system at an end of a transformation, "" for none."""
    said = transformation.get(end) if isinstance(transformation, Mapping) else None
    said = said.get("name") if isinstance(said, Mapping) else said
    return said if isinstance(said, str) else ""


def listed(said: Any) -> list[Any]:
    """Return a list of the metadata; an empty one where there is none."""
    if said is None:
        return []
    if not isinstance(said, list):
        raise InputError(f"found {short(said)}, expected a list; the metadata are damaged")
    return said


def short(said: Any) -> str:
    """Quote what was found."""
    text = repr(said)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _map(said: Any, words: Sequence[str]) -> Map:
    kind = kind_of(said)
    if kind not in _MAPS:
        raise InputError(f"transformation {kind[:30]!r} is not one that dpipe reads")
    if kind in _OF_NUMBERS and "path" in said and kind not in said:
        raise InputError(f"the {kind} lies in an array, {short(said['path'])}; dpipe reads numbers")
    return _MAPS[kind](said, words)


def _identity(said: Mapping[str, Any], words: Sequence[str]) -> Map:
    return composed((), words)


def _scale(said: Mapping[str, Any], words: Sequence[str]) -> Map:
    return Map(np.diag(_numbers(said, "scale", (len(words),))), np.zeros(len(words)))


def _translation(said: Mapping[str, Any], words: Sequence[str]) -> Map:
    return Map(np.eye(len(words)), _numbers(said, "translation", (len(words),)))


def _rotation(said: Mapping[str, Any], words: Sequence[str]) -> Map:
    n = len(words)
    return Map(_numbers(said, "rotation", (n, n), (n * n,)).reshape(n, n), np.zeros(n))


def _affine(said: Mapping[str, Any], words: Sequence[str]) -> Map:
    n = len(words)
    rows = _numbers(said, "affine", (n, n + 1), (n + 1, n + 1))
    return Map(rows[:n, :n], rows[:n, n])


def _map_axis(said: Mapping[str, Any], words: Sequence[str]) -> Map:
    return Map(_permutation(said.get("mapAxis"), words), np.zeros(len(words)))


def _sequence(said: Mapping[str, Any], words: Sequence[str]) -> Map:
    return composed(listed(said.get("transformations")), words)


def _bijection(said: Mapping[str, Any], words: Sequence[str]) -> Map:
    return _map(said.get("forward"), words)


def _permutation(said: Any, words: Sequence[str]) -> np.ndarray:
    """Return the matrix of a map from axes to axes: by names, or by the place of each input."""
    every, places = [*range(len(words))], said
    if isinstance(said, Mapping):  # input by output, as SpatialData has it
        names = [said.get(word) for word in words]
        places = [words.index(name) if name in words else -1 for name in names]
    if not isinstance(places, list) or sorted(map(repr, places)) != sorted(map(repr, every)):
        raise InputError(f"mapAxis is {short(said)}; expected each of {short(list(words))} once")
    return np.eye(len(words))[places]


def _by_dimension(said: Mapping[str, Any], words: Sequence[str]) -> Map:
    matrix, shift = np.zeros((len(words), len(words))), np.zeros(len(words))
    done = list[int]()
    for each in listed(said.get("transformations")):
        part = each if isinstance(each, Mapping) else {}
        ends = [
            [words.index(a) if a in words else a for a in listed(_axes_of(part, end))]
            for end in ("input", "output")
        ]
        good = all(type(i) is int and 0 <= i < len(words) for end in ends for i in end)
        if not good or not ends[0] or len(ends[0]) != len(ends[1]) or {*done} & {*ends[1]}:
            raise InputError(f"byDimension maps {short(ends)}; expected axes, each once")
        own = _map(part.get("transformation", part), [words[i] for i in ends[0]])
        matrix[np.ix_(ends[1], ends[0])] = own.matrix
        shift[ends[1]] = own.shift
        done += ends[1]
    if sorted(done) != list(range(len(words))):
        raise InputError(f"byDimension leads to {short(sorted(done))}; expected all axes")
    return Map(matrix, shift)


def _axes_of(part: Mapping[str, Any], end: str) -> Any:
    """Return the axes of a part, by the names that drafts and versions have for them."""
    keys = (f"{end}Axes", f"{end}_axes", end)
    return next((part[key] for key in keys if isinstance(part.get(key), list)), [])


def _numbers(said: Mapping[str, Any], kind: str, *shapes: tuple[int, ...]) -> np.ndarray:
    held = said.get(kind)
    try:
        given = np.array(held, dtype=object)
        found = given.astype(float)
        good = not any(isinstance(value, str | bool) for value in given.ravel())
    except (TypeError, ValueError, OverflowError):
        found, good = np.empty(0), False
    if not good or found.shape not in shapes or not np.isfinite(found).all():
        sizes = " or ".join(" x ".join(map(str, shape)) for shape in shapes)
        raise InputError(f"the {kind} is {short(held)}; expected {sizes} numbers")
    return found


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
