"""What all that is read from an Imaris file shares: its name, its groups, its units.

Knows ``DataSetInfo`` and how files are grouped; knows neither pixels nor objects.
"""

import math
import os
from collections.abc import Sequence

import h5py

from dpipe.errors import UsageError
from dpipe.formats.hdf5 import Flaw, child, text
from dpipe.schema import units
from dpipe.sources import one_each, one_uri

SUFFIXES = (".ims", ".h5", ".hdf5")


find = one_each(SUFFIXES)


def one_file(url: str | os.PathLike[str] | Sequence[str]) -> tuple[str, str]:
    """Return the URI of a part's only file, and the name by which messages call it."""
    uri = one_uri(url, "an Imaris movie")
    return uri, uri.rstrip("/").rsplit("/", 1)[-1]


def directory(h5: h5py.File, usual: str) -> h5py.Group | None:
    """Return the group ``DataSet`` or ``DataSetInfo``, which a file may call by another name."""
    word = text(h5, f"{usual}DirectoryName").strip("/")
    for name in dict.fromkeys((word, usual)):
        if name and "/" not in name and (group := child(h5, name)) is not None:
            return group
    return None


def info(h5: h5py.File, key: str) -> h5py.Group | None:
    """Return a group of ``DataSetInfo``, None where there is none."""
    return child(directory(h5, "DataSetInfo"), key)


def micrometres(word: str, option: str | None) -> tuple[float, str]:
    """Return micrometres in a file's unit of length, and what is wrong with it.

    Parameters
    ----------
    word : str
        The unit of the file, "" none.
    option : str or None
        The unit that a person gives instead.

    Returns
    -------
    tuple of float and str
        1 and a reason where nobody says a unit; the reason is "" else.

    Raises
    ------
    UsageError
        The unit given is not known.
    Flaw
        That of the file is a word that is not known.
    """
    scale = units.micrometres_in(word if option is None else str(option))
    if scale is not None:
        return scale, ""
    if option is not None:
        raise UsageError(f"unit={option!r}: expected a unit of length, such as um, nm or mm")
    if word.lower() not in units.UNITLESS:
        raise Flaw(
            f"its unit of length, {word!r}, is not known; say what it is, as in option unit=um"
        )
    return 1.0, f"the unit is {word!r}"


def number(value: str) -> float | None:
    """Return a finite number that a text says, else None."""
    try:
        finite = float(value)
    except ValueError:
        return None
    return finite if math.isfinite(finite) else None


def whole(value: str) -> int | None:
    """Return a whole number that a text says, else None."""
    finite = number(value)
    return int(finite) if finite is not None and finite == int(finite) else None
