"""Splits of movies, and the watch over them: what a model was tested on it must not have seen.

This module knows where a split may stand (in the parts, in a file, in a table), what a leak is
(one movie in two splits, or the same pixels in two), and how a folder is written whole or not at
all. It knows nothing of what is written into it.
"""

import difflib
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import InputError, RefusedError, SchemaError, UsageError, unknown
from dpipe.formats.spreadsheets import Unfit, read_bytes, read_rows, table
from dpipe.writers.atomic import folders

SplitChoice = str | os.PathLike[str] | Mapping[str, str] | xr.Dataset | None
"""A choice of splits, as a user may give it: see `settle`."""

_HOW = (
    "make one with the operator split-movies and name it as a further --input, or give "
    "split=FILE with columns movie,split"
)


def settle(parts: Mapping[str, xr.Dataset], choice: SplitChoice) -> dict[str, str]:
    """Return the split of every movie in the parts.

    Parameters
    ----------
    parts : mapping of str to xarray.Dataset
        By stem. A part is a movie; one of crops shows those in its coordinate ``movie(event)``.
    choice : str, path, mapping, xarray.Dataset or None
        ``"train"``, ``"validation"`` or ``"test"`` for all; a table with the columns ``split``
        and ``movie`` (or ``event``, for crops); a mapping from movies to splits; what
        ``split_movies`` returns; or nothing: then each part holds its ``split``.

    Returns
    -------
    dict of str to str
        By the name of the movie.

    Raises
    ------
    RefusedError
        A movie without a split, or in two.
    """
    events_of = _held(parts)
    movies = dict.fromkeys(movie for movie, _ in events_of)
    if choice is None:
        marked = [(movie, _own(parts[stem])) for movie, stem in events_of]
        _missing([movie for movie, split in marked if not split], "the data", ())
        return _one_each(marked)
    if isinstance(choice, str) and choice in schema.SPLITS:
        return dict.fromkeys(movies, choice)
    column, rows, where = _rows(choice)
    split_of = _one_each(rows)
    if column == "event":
        events = [
            (movie, event) for (movie, stem), of in events_of.items() for event in of or [stem]
        ]
        _missing([event for _, event in events if event not in split_of], where, split_of)
        split_of = _one_each([(movie, split_of[event]) for movie, event in events])
    _missing([movie for movie in movies if movie not in split_of], where, split_of)
    return {movie: split_of[movie] for movie in movies}


def movies_of(stem: str, ds: xr.Dataset) -> np.ndarray:
    """Return the movie of each event of a part of crops."""
    if "movie" in ds.variables and ds["movie"].dims == ("event",):
        return ds["movie"].values.astype(str)
    return np.array([stem] * ds.sizes["event"], dtype=str)


def _held(parts: Mapping[str, xr.Dataset]) -> dict[tuple[str, str], list[str]]:
    """Return the events of each movie in each part: none where a part is a movie."""
    events_of: dict[tuple[str, str], list[str]] = {}
    for stem, ds in parts.items():
        if schema.CROP.name not in ds and schema.CROP_VOLUME.name not in ds:
            events_of[stem, stem] = []
            continue
        names = ds["event"].values.astype(str).tolist()
        for movie, name in zip(movies_of(stem, ds).tolist(), names, strict=True):
            events_of.setdefault((movie, stem), []).append(name)
    return events_of


def _own(ds: xr.Dataset) -> str:
    if schema.SPLIT.name not in ds.variables or ds[schema.SPLIT.name].size != 1:
        return ""
    return str(ds[schema.SPLIT.name].values.item())


def _rows(choice: Any) -> tuple[str, list[tuple[str, str]], str]:
    """Return the entity that has splits (movie or event), its rows, and where they stand."""
    if isinstance(choice, xr.Dataset):
        if "movie" not in choice.coords:
            raise SchemaError("split: no coordinate 'movie'; expected what split_movies returns")
        choice = dict(
            zip(choice["movie"].values.astype(str), schema.SPLIT.check(choice).values, strict=True)
        )
    if isinstance(choice, Mapping):
        return "movie", [(str(movie), str(split)) for movie, split in choice.items()], "split"
    if not isinstance(choice, str | os.PathLike):
        raise UsageError(f"split: found {choice!r}; expected a file, or one of {_names()}")
    path = Path(choice).expanduser()
    if not path.is_file():
        raise UsageError(
            f"split={os.fspath(choice)!r}: no such file, and none of {_names()}; {_HOW}"
        )
    try:
        cells, comma = read_rows(path.name, read_bytes(str(path.absolute())))
        columns = table(cells[0], cells[1:], 2, comma)
        column = next((name for name in ("movie", "event") if columns.has(name)), "movie")
        keys, splits = columns.text(column), columns.text("split")
    except Unfit as error:
        raise InputError(f"{path.name}: {error}") from error
    return column, [(k.strip(), s.strip()) for k, s in zip(keys, splits, strict=True)], path.name


def _one_each(rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Turn rows into a mapping; refuse a name in two splits, and a word that is no split."""
    split_of: dict[str, str] = {}
    for name, split in rows:
        if split not in schema.SPLITS:
            raise UsageError(f"{name}: {unknown('split', split, schema.SPLITS)}")
        if split_of.setdefault(name, split) != split:
            raise RefusedError(
                f"{name} is in {split_of[name]} and in {split}: what a model is tested on would "
                "leak into what it learns from; a movie goes whole"
            )
    return split_of


def _missing(names: Sequence[str], where: str, names_listed: Iterable[str]) -> None:
    if names:
        near = difflib.get_close_matches(names[0], list(names_listed), n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise RefusedError(f"{names[0]}: no split in {where}{hint}; {_HOW}")


def _names() -> str:
    return ", ".join(schema.SPLITS)


class Watch:
    """Refuses pixels that were written into another split before.

    Pictures of one value, such as padding, are alike everywhere and say nothing; they pass.
    """

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[str, str]] = {}

    def look(self, picture: np.ndarray, split: str, name: str) -> None:
        """Look at one picture; `name` says what it shows, for the complaint."""
        raw = np.ascontiguousarray(picture).reshape(-1)
        if not raw.size or raw.tobytes() == raw[:1].tobytes() * raw.size:
            return
        digest = hashlib.blake2b(raw, digest_size=16, key=str(picture.dtype).encode())
        digest.update(str(picture.shape).encode())
        before, where = self._seen.setdefault(digest.digest(), (name, split))
        if where != split:
            raise RefusedError(
                f"{name} in {split} has the very pixels of {before} in {where}: one movie under "
                "two names leaks; give both the same split, or leave one out"
            )


@contextmanager
def whole_folder(to: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a folder to write into, which takes the name of `to` when all went well."""
    target = Path(to).expanduser().absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target}: is there already and not empty; choose another folder")
    aside = target.with_name(f".{target.name}.partial")
    with folders([target.parent]):
        shutil.rmtree(aside, ignore_errors=True)  # of a writer that was killed
        aside.mkdir()
        try:
            yield aside
            if target.exists():
                target.rmdir()
            aside.replace(target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
