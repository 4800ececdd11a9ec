"""What holds for every operator, written once; each is tried on its row in ``examples.py``."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import devices
import numpy as np
import pytest
import xarray as xr
from examples import Data, OperatorExample, example_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from operators.examples import EXAMPLES, movie

from dpipe import testing
from dpipe.compute import devices as compute_devices
from dpipe.operators import OPERATORS, Operator, inputs

GPUS = ["pretended"] + ["real"] * compute_devices.has_cuda()
ROW = """    "{name}": OperatorExample(
        {inputs}, version={version}, digest="{digest}"
    ),"""


@dataclass(frozen=True)
class Case:
    """An operator as the table has it, on its example."""

    name: str
    entry: Operator
    example: OperatorExample
    inputs: tuple[Data, ...]

    @property
    def call(self) -> Callable[..., xr.Dataset]:
        return partial(self.entry.function, **self.example.params)

    def result(self) -> xr.Dataset:
        return self.call(*self.inputs)


@pytest.fixture(params=sorted(OPERATORS))
def case(request) -> Case:
    return case_of(request.param)


def case_of(name: str) -> Case:
    entry = OPERATORS[name]
    example = example_of(name, EXAMPLES, new_row(name, entry), "operators/examples.py")
    return Case(name, entry, example, example.operands())


def new_row(name: str, entry: Operator) -> str:
    """The row of an operator that has none: whole if it takes a movie, else with gaps."""
    try:
        digest, maker = testing.digest(entry.function(movie())), "movie"
    except Exception as error:  # noqa: BLE001 - it takes something else
        digest, maker = "", f"lambda: (...,)  # not the movie: {error}"
    return ROW.format(name=name, inputs=maker, version=entry.version, digest=digest)


def test_numbers_stay_while_the_version_does(case):
    found = replace(case.example, version=case.entry.version, digest=testing.digest(case.result()))
    assert case.example == found, "numbers are others: the version goes up, here and in the table"


def test_no_example_without_an_operator():
    assert set(EXAMPLES) <= set(OPERATORS)


def test_a_new_operator_is_told_its_row(monkeypatch):
    monkeypatch.setitem(OPERATORS, "new", OPERATORS["thumbnails"])
    with pytest.raises(pytest.fail.Exception) as told:
        case_of("new")
    lines = str(told.value).splitlines()
    assert lines[0] == "new has no example; paste into tests/operators/examples.py:"
    pasted = eval("{" + "\n".join(lines[1:]) + "}", globals())
    assert pasted == {"new": EXAMPLES["thumbnails"]}


def test_a_new_operator_of_something_else_is_told_what_it_lacks(monkeypatch):
    monkeypatch.setitem(OPERATORS, "new", OPERATORS["track-measures"])
    with pytest.raises(pytest.fail.Exception, match=r'"new".*\n +lambda: .* version=2, digest=""'):
        case_of("new")


def test_results_lie_along_the_free_dims(case):
    for value in case.result().data_vars.values() if case.entry.free else ():
        assert set(case.entry.free) <= set(value.dims)


def test_it_is_lazy_and_leaves_its_inputs_alone(case):
    testing.leaves_inputs_alone(case.call, *case.inputs)
    if case.entry.makes == "blocks":
        testing.is_lazy(case.call, *case.inputs)


def test_results_are_of_the_vocabulary(case):
    testing.is_of_the_vocabulary(case.result())


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(1, 3), st.integers(1, 2), st.integers(1, 3), st.integers(7, 40))
def test_it_does_not_depend_on_chunks(case, t, c, z, y):
    sizes = {"t": t, "c": c}
    if not isinstance(case.inputs[0], xr.DataTree):
        sizes |= {"z": z, "y": y}
    testing.needs_no_chunks(case.call, *case.inputs, sizes=[sizes])


def test_parts_along_free_dims_are_the_whole(case):
    testing.parts_are_the_whole(case.call, *case.inputs, free=case.entry.free)


@pytest.mark.parametrize("gpu", GPUS)
def test_it_gives_the_same_on_a_device(case, gpu, monkeypatch):
    first, *others = case.inputs
    data = testing.chunked(first, {"t": 2})
    expected = case.call(data, *others).compute()
    moved = devices.pretend(monkeypatch) if gpu == "pretended" else None
    with compute_devices.device("cuda"):
        found = case.call(data, *others)
    found = found.compute()
    assert set(found.variables) == set(expected.variables)
    for name, variable in expected.variables.items():
        assert found[name].dtype == variable.dtype
        if variable.dtype.kind == "f":
            np.testing.assert_allclose(found[name], variable, rtol=1e-9, atol=1e-12)
        else:
            np.testing.assert_array_equal(found[name], variable)
    if moved is not None:
        assert bool(moved) == (not case.example.on_host), f"expected on_host={not moved}"


def test_it_refuses_unknown_parameters(case):
    with pytest.raises(TypeError):
        case.entry.function(case.inputs[0], no_such_parameter=1)
    testing.options_are_documented(case.entry.function, len(inputs(case.entry)))
