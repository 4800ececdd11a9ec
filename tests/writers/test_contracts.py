"""What holds for every writer, written once; each is tried on its row in ``examples.py``."""

import contextlib
import inspect
from functools import partial

import numpy as np
import pytest
from examples import WriterExample, example_of
from readers.examples import EXAMPLES as READER_EXAMPLES
from writers.examples import EXAMPLES

from dpipe import sources, testing, writers
from dpipe.errors import InputError
from dpipe.readers import READERS
from dpipe.writers import WRITERS


def example(name: str) -> WriterExample:
    row = f'    "{name}": WriterExample(movie),'
    return example_of(name, EXAMPLES, row, "writers/examples.py")


def test_no_example_without_a_writer():
    assert set(EXAMPLES) <= set(WRITERS)


def test_a_new_writer_is_told_its_row():
    with pytest.raises(pytest.fail.Exception) as told:
        example("sums")
    assert str(told.value).splitlines() == [
        "sums has no example; paste into tests/writers/examples.py:",
        '    "sums": WriterExample(movie),',
    ]


def exported(name: str, parts, to: str) -> list[str]:
    return writers.export(parts, name, to)


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_it_writes_what_it_says_and_always_the_same(name):
    row = example(name)
    testing.writes_the_same(partial(exported, name), {"m": row.data()}, exact=row.exact)


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_it_leaves_what_is_there_alone(name):
    testing.keeps_files(partial(exported, name), {"m": example(name).data()})


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_its_options_have_defaults_and_documentation(name):
    documented = WRITERS[name].__doc__ + WRITERS[example(name).options_of or name].__doc__
    for parameter in list(inspect.signature(WRITERS[name]).parameters.values())[2:]:
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert parameter.default is not parameter.empty
        assert f"{parameter.name} :" in documented


def readable(inverse: bool) -> list[str]:
    """Names of writers, of whose name there is a reader too."""
    rows = {name: WriterExample(dict) for name in WRITERS} | EXAMPLES
    return sorted(n for n in set(WRITERS) & set(READERS) if rows[n].inverse is inverse)


@pytest.mark.parametrize("name", readable(inverse=False))
def test_the_reader_of_its_name_opens_what_it_wrote(name, tmp_path):
    writers.export({"m": example(name).data()}, name, tmp_path)
    opened = []
    for part in READERS[name].find(sources.list_items(str(tmp_path))):
        with contextlib.suppress(InputError):  # a split of no movie
            opened.append(READERS[name].open([item.uri for item in part.items]))
    assert len(opened) == 1
    opened[0].compute()


@pytest.mark.parametrize("name", readable(inverse=True))
def test_the_reader_of_its_name_gives_back_what_it_wrote(name, tmp_path):
    expected = READER_EXAMPLES[name].expected()
    writers.export({"m": expected}, name, tmp_path)
    (part,) = READERS[name].find(sources.list_items(str(tmp_path)))
    ds = READERS[name].open([item.uri for item in part.items])
    if "image" not in expected:
        for key, variable in expected.variables.items():
            np.testing.assert_array_equal(ds[key].values, variable.values)
        return
    np.testing.assert_array_equal(ds.image.values, expected.image.values)
    for dim in ("t", "z", "y", "x"):
        np.testing.assert_allclose(ds[dim], expected[dim], rtol=0, atol=1e-9)
    for name in {"c", "channel_color"} & set(expected.coords):
        assert ds[name].values.tolist() == expected[name].values.tolist()
