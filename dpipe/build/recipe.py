"""The YAML of a recipe, checked: which operators make which datasets from which sources.

    name: leuko
    study: {title: ..., license: CC-BY-4.0}
    datasets:
      leuko: {reader: imaris, source: raw/*.h5, set: {spacing: [2, 0.5, 0.5]}}
      leuko-quality: {operator: frame-quality, input: leuko, params: {median: 5}}

Every mistake is told with file, line and column. Relative sources are below the recipe's folder.
This module knows names and parameters; it opens no source and no store.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from dpipe import operators, readers, schema
from dpipe.build import parameters
from dpipe.build.parameters import Params
from dpipe.build.yaml_nodes import Node, read_words, shown
from dpipe.catalog import StepFields, check_name
from dpipe.errors import RecipeError, unknown
from dpipe.metadata import Study
from dpipe.storage import Json

_TOP = ("name", "study", "datasets")
_READER = ("reader", "source", "options", "set", "levels")
_OPERATOR = ("operator", "input", "params", "levels")
_LARGEST = 1 << 20


@dataclass(frozen=True)
class Step:
    """One dataset of a recipe.

    Attributes
    ----------
    name : str
        The dataset.
    reader, operator : str
        What makes it; one of the two is "".
    sources : tuple of str
        Where a reader looks.
    params : dict
        Options of the reader, or parameters of the operator, defaults filled in.
    inputs : dict of str to str
        For an operator: by parameter, a dataset of this recipe or of the store.
    said : dict
        What is set over what files say.
    levels : int or None
        Levels of the pyramid.
    """

    name: str
    reader: str = ""
    operator: str = ""
    sources: tuple[str, ...] = ()
    params: Params = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    said: Json = field(default_factory=dict)
    levels: int | None = None

    def to_dict(self) -> StepFields:
        """Return it as versions hold it: without empty fields."""
        fields = {k: v for k, v in vars(self).items() if v not in ("", (), {}, None)}
        if self.sources:
            fields["sources"] = list(self.sources)
        return cast("StepFields", fields)


@dataclass(frozen=True)
class Recipe:
    """A checked recipe: its steps stand in an order in which they can be made.

    Attributes
    ----------
    name : str
        What it is called.
    steps : tuple of Step
        Its datasets.
    study : dict
        The study letter for letter as it was typed, every value a text; empty if there is none.
    digest : str
        Of its text.
    """

    name: str
    steps: tuple[Step, ...]
    study: Json = field(default_factory=dict)
    digest: str = ""

    @classmethod
    def of(cls, *steps: Step) -> "Recipe":
        """Make a recipe of steps, as the command line does."""
        text = json.dumps([step.to_dict() for step in steps], sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        return cls(steps[-1].name, tuple(steps), {}, digest)


def reader_step(
    name: str,
    reader: str,
    sources: Sequence[str],
    *,
    options: Mapping[str, Any] | None = None,
    said: Mapping[str, Any] | None = None,
    levels: int | None = None,
) -> Step:
    """Return a checked step that reads.

    Parameters
    ----------
    name : str
        The dataset.
    reader : str
        Which reader.
    sources : sequence of str
        Files, folders, globs or URLs.
    options, said : mapping, optional
        Options of the reader; what to set over what files say.
    levels : int, optional
        Levels of the pyramid.

    Returns
    -------
    Step
        With all options filled in.

    Raises
    ------
    UsageError
        An unknown reader or option, or a bad name.
    SchemaError
        What is set cannot be.
    """
    schema.check_said(said or {})
    params = parameters.bind(readers.resolve(reader).open, options or {}, f"reader {reader}")
    return Step(
        check_name(name),
        reader=reader,
        sources=tuple(sources),
        params=params,
        said=dict(said or {}),
        levels=levels,
    )


def operator_step(
    name: str,
    operator: str,
    inputs: str | Sequence[str] | Mapping[str, str],
    *,
    params: Mapping[str, Any] | None = None,
    levels: int | None = None,
) -> Step:
    """Return a checked step that computes.

    Parameters
    ----------
    name : str
        The dataset.
    operator : str
        Which operator.
    inputs : str, sequence or mapping
        Datasets in the order of the operator's parameters, or by parameter.
    params : mapping, optional
        Its parameters; and ``where``, an expression that chooses records of the first input. If
        it names what that input lacks, the input ``where`` is the dataset that has it.
    levels : int, optional
        Levels of the pyramid.

    Returns
    -------
    Step
        With all parameters filled in.

    Raises
    ------
    UsageError
        An unknown operator, parameter or input.
    """
    entry = operators.resolve(operator)
    bound = parameters.bind_operator(entry.function, params or {}, f"operator {operator}")
    roles = [role for role, _ in operators.inputs(entry)]
    if not isinstance(inputs, Mapping):
        listed = [inputs] if isinstance(inputs, str) else list(inputs)
        if len(listed) > len(roles):
            raise RecipeError(
                f"operator {operator}: {len(listed)} inputs ({', '.join(map(str, listed))}); it "
                f"takes at most {len(roles)}: {', '.join(roles)}"
            )
        inputs = dict(zip(roles, listed, strict=False))
    chosen = ["where"] if "where" in bound and not parameters.has_where(entry.function) else []
    for role, dataset in inputs.items():
        if not isinstance(dataset, str):
            raise RecipeError(f"input {role}: found {shown(dataset)}; expected a dataset's name")
        if role not in [*roles, *chosen]:
            raise RecipeError(f"operator {operator}: {unknown('input', role, [*roles, *chosen])}")
    needed = [role for role in roles if role not in operators.optional(entry)]
    if missing := [role for role in needed if role not in inputs]:
        raise RecipeError(
            f"operator {operator}: needs {len(needed)} input(s): {', '.join(needed)}; "
            f"{missing[0]} is missing"
        )
    return Step(
        check_name(name), operator=operator, params=bound, inputs=dict(inputs), levels=levels
    )


def load_recipe(path: str | Path) -> Recipe:
    """Read and check a recipe.

    Parameters
    ----------
    path : str or Path
        A YAML file.

    Returns
    -------
    Recipe
        Its steps in an order in which they can be made.

    Raises
    ------
    RecipeError
        With line and column of the mistake.
    """
    file = Path(path)
    try:
        with file.open("rb") as opened:
            data = opened.read(_LARGEST + 1)  # it may be a pipe, or a device without end
        text = data.decode("utf-8-sig") if len(data) <= _LARGEST else ""
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot read the recipe ({error})") from error
    if len(data) > _LARGEST:
        raise RecipeError(f"{path}: a recipe has at most {_LARGEST} bytes; split it")
    return parse(text, str(path), file.parent)


def parse(text: str, where: str = "recipe", folder: Path | None = None) -> Recipe:
    r"""Check the text of a recipe.

    Parameters
    ----------
    text : str
        YAML.
    where : str
        What to call it in messages.
    folder : Path, optional
        Relative sources are below it.

    Returns
    -------
    Recipe
        Its steps in an order in which they can be made.

    Examples
    --------
    >>> parse("datasets:\n  leuko: {reader: imaris, source: raw/*.h5}").steps[0].sources
    ('raw/*.h5',)
    """
    top = Node.root(text, where, _TOP)
    top.keys(_TOP)
    datasets = top.get("datasets")
    if datasets is None or not datasets.items():
        raise top.error("a recipe needs datasets: at least one name with a reader or an operator")
    steps = {name: _step(name, node, folder) for name, node in datasets.items()}
    study = top.get("study")
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    named = top.get("name")
    return Recipe(
        str(named.value if named else Path(where).stem),
        tuple(_ordered(steps, datasets)),
        _study(study) if study else {},
        digest,
    )


def typed(text: str, where: str) -> Any:
    """Return the value of one line of a person: YAML as in a recipe, or else the text itself.

    Parameters
    ----------
    text : str
        For example ``"[2, 0.5]"``.
    where : str
        What to call it in messages.

    Raises
    ------
    RecipeError
        It is too deep or large, or a list or mapping that is no YAML.

    Examples
    --------
    >>> typed("[2, 0.5]", "--set spacing"), typed("`a b` > 3", "--param where")
    ([2, 0.5], '`a b` > 3')
    """
    return read_words(text, where)


def _study(node: Node) -> Json:
    """Check a study; return it as it was typed."""
    typed = node.typed()
    node.told(Study.from_dict, typed)
    return dict(typed)


def _step(name: str, node: Node, folder: Path | None) -> Step:
    node.keys(sorted({*_READER, *_OPERATOR}))
    kinds = [kind for kind in ("reader", "operator") if node.get(kind)]
    if len(kinds) != 1:
        raise node.error(f"dataset {name!r} needs either a reader or an operator")
    node.keys(_READER if kinds == ["reader"] else _OPERATOR)
    levels = node.plain("levels", int, None)
    if kinds == ["reader"]:
        listed = node.plain("source", (str, list), None)
        if not listed:
            raise node.error(f"dataset {name!r} needs a source: a file, folder, glob or URL")
        paths = [listed] if isinstance(listed, str) else [str(entry) for entry in listed]
        return node.told(
            reader_step,
            name,
            node.plain("reader", str, ""),
            [_below(folder, source) for source in paths],
            options=node.plain("options", dict, {}),
            said=node.plain("set", dict, {}),
            levels=levels,
        )
    inputs = node.plain("input", (str, list, dict), None)
    if not inputs:
        raise node.error(f"dataset {name!r} needs an input: the name of a dataset")
    return node.told(
        operator_step,
        name,
        node.plain("operator", str, ""),
        inputs,
        params=node.plain("params", dict, {}),
        levels=levels,
    )


def _below(folder: Path | None, source: str) -> str:
    """Put a relative source below the recipe's folder."""
    if folder is None or "://" in source or source.startswith(("/", "~", "zenodo:")):
        return source
    return str(folder / source)


def _ordered(steps: Mapping[str, Step], node: Node) -> list[Step]:
    """Return the steps with every input before its users."""
    place = {name: i for i, name in enumerate(steps)}
    needs = {name: set(step.inputs.values()) & steps.keys() for name, step in steps.items()}
    users: dict[str, list[str]] = {name: [] for name in steps}
    for name, inputs in needs.items():
        for dataset in inputs:
            users[dataset].append(name)
    lacking = {name: len(inputs) for name, inputs in needs.items()}
    done, ready = list[str](), [name for name in steps if not lacking[name]]
    while ready:
        done += ready
        following = []
        for user in (user for name in ready for user in users[name]):
            lacking[user] -= 1
            if not lacking[user]:
                following.append(user)
        ready = sorted(following, key=place.__getitem__)
    if len(done) < len(steps):
        waiting = sorted(steps.keys() - set(done))
        raise node.error(f"these datasets need each other: {', '.join(waiting)}")
    return [steps[name] for name in done]
