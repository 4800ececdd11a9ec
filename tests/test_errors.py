"""Errors: one line each, that pickles, and an exit code for each kind."""

import pickle

import pytest

from dpipe import errors
from dpipe.errors import DpipeError, unknown

KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_errors_say_their_line_and_travel(kind: type[DpipeError]) -> None:
    """Tasks raise them in other processes."""
    error = kind("Neu1.ims: found nothing; expected an image")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error) == "Neu1.ims: found nothing; expected an image"
    assert isinstance(error, DpipeError)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("a\r\tb", r"a\r\tb"),
        ("a\x85b\u2028c\u2029\x0b\x0c\x1c", r"a\x85b\u2028c\u2029\x0b\x0c\x1c"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("Neu\udcff.ims", r"Neu\udcff.ims"),
        ("\u00b5m \u2014 \U0001f600 \\n", "\u00b5m \u2014 \U0001f600 \\n"),
    ],
)
def test_whatever_errors_quote_they_stay_one_line_of_text(kind, found, shown):
    error = kind(f"a.csv: no column {found}; expected one")
    again = pickle.loads(pickle.dumps(error))
    assert str(error) == str(again) == f"a.csv: no column {shown}; expected one"
    assert len(str(error).splitlines()) == 1
    str(error).encode()


@pytest.mark.parametrize(
    ("kind", "code", "builtin"),
    [
        (errors.DpipeError, 70, Exception),
        (errors.UsageError, 2, ValueError),
        (errors.RecipeError, 2, errors.UsageError),
        (errors.RefusedError, 2, errors.UsageError),
        (errors.SchemaError, 2, ValueError),
        (errors.InputError, 3, ValueError),
        (errors.ImarisError, 3, errors.InputError),
        (errors.StoreError, 75, OSError),
        (errors.NotAStoreError, 2, errors.StoreError),
        (errors.NotFoundError, 2, KeyError),
        (errors.DamageError, 5, DpipeError),
        (errors.StalledError, 75, DpipeError),
    ],
)
def test_exit_codes_and_builtin_kin(
    kind: type[DpipeError], code: int, builtin: type[Exception]
) -> None:
    assert kind.exit_code == code
    assert issubclass(kind, builtin)
    assert kind in KINDS


def test_every_error_is_in_the_tree_of_the_docstring() -> None:
    assert all(kind.__name__ in str(errors.__doc__) for kind in KINDS)


def test_a_bare_not_found_error_has_no_text() -> None:
    assert str(errors.NotFoundError()) == ""


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("imari", ["tiff", "imaris"], "; did you mean 'imaris'? Known: imaris, tiff"),
        ("xyz", ["tiff", "imaris"], ". Known: imaris, tiff"),
        ("xyz", [], ". Known: none"),
        (7, ["tiff"], ". Known: tiff"),
    ],
    ids=["near", "far", "none", "a-number-from-yaml"],
)
def test_unknown_names(name: object, known: list[str], expected: str) -> None:
    assert unknown("reader", name, known) == f"unknown reader {name!r}{expected}"
