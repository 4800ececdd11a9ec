"""The README: its commands, recipes and Python name only what there is, and it names all of it."""

import ast
import inspect
import re
import shlex
import tomllib
from dataclasses import fields
from pathlib import Path

import click
import pytest

import dpipe
from dpipe import operators
from dpipe.build import parameters, recipe
from dpipe.cli import cli, group
from dpipe.config import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELVES = [*dpipe.READERS, *dpipe.OPERATORS, *dpipe.WRITERS]


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    lines = re.findall(r"^    (?:\S+/)?(dpipe (?:.*\\\n)*.*)", README, re.MULTILINE)
    return [shlex.split(line.replace("\\\n", " "), comments=True)[1:] for line in lines]


def parsed(command: click.Group, words: list[str], above: click.Context | None = None):
    """The contexts of a command line, outermost first; nothing is called."""
    context = command.make_context("dpipe", list(words), parent=above)
    if not isinstance(command, click.Group):
        return [context]
    _, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    return [context, *parsed(inner, rest, context)]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_has_the_words_it_is_given(words):
    params = parsed(cli, words)[-1].params
    if words[0] == "make" and params["reader"]:
        options = dict(pair.split("=", 1) for pair in params["option"])
        recipe.reader_step(params["name"], params["reader"], params["source"], options=options)
    elif words[0] == "make":
        given = dict(pair.split("=", 1) for pair in params["param"])
        recipe.operator_step(params["name"], params["operator"], params["inputs"], params=given)
    elif words[0] == "export":
        write = dpipe.WRITERS[params["writer"]]
        given = {pair.partition("=")[0] for pair in params["option"]}
        assert given <= {*inspect.signature(write).parameters, "where"}
    elif words[0] == "census":
        assert params["reader"] in dpipe.READERS


def test_recipes():
    texts = fenced("yaml")
    assert len(texts) == 4
    for text in texts:
        steps = recipe.parse(text).steps
        assert len(steps) == len(re.findall(r"(?:operator|reader): ", text))


def test_python_names_what_there_is():
    blocks = fenced("python")
    assert len(blocks) == 6
    for node in (node for block in blocks for node in ast.walk(ast.parse(block))):
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "dpipe":
            assert hasattr(dpipe, node.attr), node.attr
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[-1], ast.Attribute):
            function = getattr(dpipe, node.args[-1].attr, None)
            if function in [one.function for one in dpipe.OPERATORS.values()]:
                given = {k.arg: 3 for k in node.keywords if k.arg != "where"}  # every one has it
                parameters.bind(function, given, "README")


@pytest.mark.parametrize(
    "name", re.findall(r"`?(?:help\()?dpipe\.([a-z_]+(?:\.[a-z0-9]+)?)\(", README)
)
def test_a_function_in_the_text_exists(name):
    found = dpipe
    for word in name.split("."):
        found = getattr(found, word)
    assert callable(found)


@pytest.mark.parametrize("name", SHELVES)
def test_it_names_every_reader_operator_and_writer(name):
    assert re.search(rf"(?<![\w-]){name}(?![\w-])", README)


@pytest.mark.parametrize("name", group.VERBS)
def test_it_shows_every_command(name):
    assert any(words[0] == name for words in commands()) or f"`dpipe {name}" in README


def test_it_names_all_settings_and_extras():
    settings, extras = README.partition("## Settings")[2], README.partition("Extras:")[2]
    assert [f.name for f in fields(Settings) if f"`{f.name}`" not in settings] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(re.findall(r"`(\w+)`", extras)) == set(project["optional-dependencies"])


def test_inputs_in_the_text_are_those_of_operators():
    for roles in re.findall(r"--input (\w+)=", README):
        assert any(roles in dict(operators.inputs(one)) for one in dpipe.OPERATORS.values())
