"""What is typed as K=V, and recipes: nothing costs more than it is long."""

import time
import tracemalloc

import pytest

from dpipe.build import load_recipe as load
from dpipe.build.recipe import parse
from dpipe.cli.arguments import pairs
from dpipe.errors import RecipeError, UsageError

LAUGHS = "[&a [x, x, x], " + ", ".join(f"&{n} [*{p}, *{p}, *{p}]" for p, n in zip(
    "abcdefghijklmnopqrs", "bcdefghijklmnopqrst", strict=True)) + "]"  # fmt: skip

REFUSED = {
    "open brackets": ("[" * 10_000, "nested more than 30 deep; is a bracket missing"),
    "brackets": ("[" * 5_000 + "]" * 5_000, "nested more than 30 deep"),
    "braces": ("{" * 10_000, "nested more than 30 deep"),
    "mappings in lists": ("[a: " * 2_500, "nested more than 30 deep"),
    "questions": ("? " * 5_000 + "a", "nested more than 30 deep"),
    "dashes": ("- " * 5_000 + "a", "nested more than 30 deep"),
    "billion laughs": (LAUGHS, "anchors and aliases are not read"),
    "an anchor": ("&a 1", "anchors and aliases are not read"),
    "a ring": ("&a [*a]", "anchors and aliases are not read"),
    "a number to base 60": ("1:" * 50_000 + "1", "a number of 100001 signs; at most 200"),
    "a hexadecimal number": ("0x" + "f" * 30_000, "a number of 30002 signs"),
    "digits": ("9" * 5_000, "a number of 5000 signs"),
    "a merge": ("{<<: {a: 1}, b: 2}", "the merge key << is not read"),
    "a set": ("!!set {a, b}", "the tag 'tag:yaml.org,2002:set' is not read"),
    "a python object": ("!!python/object:os.system {}", "is not read"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("option", ["--param", "--option", "--set"])
def test_what_nobody_types_is_refused_at_once(name: str, option: str) -> None:
    text, says = REFUSED[name]
    tracemalloc.start()
    start = time.thread_time()
    with pytest.raises(UsageError, match=says) as caught:
        pairs([f"k={text}"], option)
    assert time.thread_time() - start < 2
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    assert str(caught.value).startswith(f"{option} k:")
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", REFUSED)
def test_the_same_in_a_recipe(name: str) -> None:
    text, says = REFUSED[name]
    if text.startswith(("-", "?")):
        text = "\n    " + text
    with pytest.raises(RecipeError, match=says) as caught:
        parse(f"datasets:\n  a:\n    reader: imaris\n    source: x\n    set: {text}")
    assert str(caught.value).startswith("recipe:")
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("*.tif", "*.tif"),
        ("*a", "*a"),
        ("'&a'", "&a"),
        ("'<<'", "<<"),
        ("a: b: c", "a: b: c"),
        ("!!str 5", "5"),
        ("0x1F", 31),
        ("[[[[1]]]]", [[[[1]]]]),
        ("'" + "9" * 5_000 + "'", "9" * 5_000),
        ("1.5e-7", 1.5e-7),
        ("", None),
        ("2026-13-45", "2026-13-45"),
    ],
)
def test_what_people_type_is_read(text: str, value: object) -> None:
    assert pairs([f"k={text}"], "--option") == {"k": value}


def test_a_list_that_is_no_yaml_is_quoted_in_short() -> None:
    with pytest.raises(UsageError, match="are all brackets and quotes closed") as caught:
        pairs([f"k=[{'a, ' * 9_000}"], "--option")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "datasets: {1: {reader: imaris, source: x}, 0x1: {reader: imaris, source: y}}",
            "the same",
        ),
        ("datasets: {a: {operator: projections, input: [[b]]}}", "input ds: found"),
        ("datasets: {a: {operator: projections, input: {ds: 3}}}", "input ds: found 3"),
        ("datasets: {a: {reader: imaris, source: x, levels: [" + "1, " * 999 + "]}}", "levels"),
    ],
)
def test_odd_pieces_of_recipes(text: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says) as caught:
        parse(text)
    assert len(str(caught.value)) < 400


def test_a_long_chain_of_steps_is_ordered_in_time() -> None:
    """Backwards, each needs the next: 1,500 rounds of 1,500 steps took minutes."""
    lines = [f"  d{i}: {{operator: projections, input: d{i + 1}}}" for i in range(1500)]
    text = "\n".join(["datasets:", *lines, "  d1500: {reader: imaris, source: x}"])
    start = time.thread_time()
    steps = parse(text).steps
    assert time.thread_time() - start < 20
    assert [step.name for step in steps] == [f"d{i}" for i in range(1500, -1, -1)]


def test_a_recipe_without_end_is_not_read_to_its_end() -> None:
    tracemalloc.start()
    with pytest.raises(RecipeError, match="a recipe has at most 1048576 bytes"):
        load("/dev/zero")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
