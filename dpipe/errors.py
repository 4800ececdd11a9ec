"""What can go wrong, as a shallow tree of exceptions.

Every error is one line that says what was found, what was expected and what to do.

    DpipeError
    |-- UsageError        a wrong name, parameter, recipe or option: nothing was started   exit 2
    |   |-- RecipeError       a recipe that cannot be read, with line and column
    |   `-- RefusedError      a plan that must not run: too large, or a part would vanish
    |-- SchemaError       a Dataset that is not what an operator or the store needs
    |-- InputError        one input is damaged or unlike its format: it is put aside
    |   |-- ImarisError
    |   `-- GoneError         one that was listed is gone, or changed since                exit 75
    |-- StoreError        the store, the network or a credential: no input is to blame     exit 75
    |   |-- NotAStoreError    the place given holds no dpipe store                         exit 2
    |   `-- NotFoundError     a dataset, version, part or object that does not exist       exit 2
    |-- DamageError       the store holds other bytes than its seal promises               exit 5
    `-- StalledError      a run made no progress; it can be resumed                        exit 75

This module knows nothing else of dpipe.
"""

import difflib
import re
from collections.abc import Iterable
from typing import Any

_NOT_IN_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class DpipeError(Exception):
    r"""Any error that dpipe foresees; its text is one line for a person.

    Texts quote names and cells of foreign files: what would break or colour the line, and what no
    encoding can hold, is written as an escape.

    Examples
    --------
    >>> print(DpipeError("column 'a\nb': found nothing"))
    column 'a\nb': found nothing
    """

    exit_code = 70

    def __init__(self, *args: Any) -> None:
        super().__init__(*(_line(arg) if isinstance(arg, str) else arg for arg in args))


class UsageError(DpipeError, ValueError):
    """A wrong name, parameter, recipe or option; nothing was started."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe that cannot be read; the text names file, line and column."""


class RefusedError(UsageError):
    """A plan that must not run as it stands."""


class SchemaError(DpipeError, ValueError):
    """A Dataset lacks a variable, a dimension or a kind of number."""

    exit_code = 2


class InputError(DpipeError, ValueError):
    """One input is damaged, truncated or not of its format."""

    exit_code = 3


class ImarisError(InputError):
    """An HDF5 file that is not a readable Imaris file."""


class GoneError(InputError):
    """An input that was listed is gone, or changed since; the next run looks at it again."""

    exit_code = 75


class StoreError(DpipeError, OSError):
    """The store, the network or a credential failed; trying again may help."""

    exit_code = 75


class NotAStoreError(StoreError):
    """The place given is no dpipe store."""

    exit_code = 2


class NotFoundError(StoreError, KeyError):
    """A dataset, version, part or object does not exist."""

    exit_code = 2

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class DamageError(DpipeError):
    """The store holds other bytes than its seal promises."""

    exit_code = 5


class StalledError(DpipeError):
    """Nothing was finished for too long; the same command resumes."""

    exit_code = 75


def _line(text: str) -> str:
    """Return a text without characters that end a line, steer a terminal or cannot be encoded."""
    return _NOT_IN_A_LINE.sub(lambda found: ascii(found[0])[1:-1], text)


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """Say that a name is unknown, list the known ones, and suggest the nearest.

    Parameters
    ----------
    kind : str
        What the name should have been, for example ``"operator"``.
    name : object
        The name found; a recipe may hold a number there.
    known : iterable of str
        The names that exist.

    Returns
    -------
    str
        One line.

    Examples
    --------
    >>> unknown("reader", "imari", ["imaris", "tiff"])
    "unknown reader 'imari'; did you mean 'imaris'? Known: imaris, tiff"
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(names) or 'none'}"
