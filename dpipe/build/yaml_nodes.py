"""Pieces of YAML that know where they stand, so that a mistake is told with line and column.

All YAML comes in here: what nobody types (depths, anchors, numbers of a thousand digits) is refused
before anything is built of it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from dpipe.errors import DpipeError, RecipeError, unknown

_DEEPEST = 30
_LONGEST_NUMBER = 200
_NUMBER = re.compile(r"[-+]?[0-9.][0-9a-fA-FxX_.:+-]*")
_NO_TEXT = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\ud800-\\udfff]")
_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)
_PLAIN_TAGS = {None, "!"} | {
    f"tag:yaml.org,2002:{kind}" for kind in "str int float bool null seq map".split()
}


def read(text: str, where: str) -> tuple[yaml.Node | None, Any]:
    """Read a text; return its nodes and its value.

    Raises
    ------
    RecipeError
        With the place in it.
    """
    try:
        _bound(text, where)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _once(node, where)
        return node, yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        place = _place(where, error.problem_mark or error.context_mark)
        raise RecipeError(f"{place}: not YAML: {error.problem}") from error
    except RecipeError:
        raise
    except _NOT_YAML as error:
        problem = str(error).partition("\n")[0]
        raise RecipeError(f"{_place(where, None)}: not YAML: {problem}") from error


def read_words(text: str, where: str) -> Any:
    """Read what a person typed in one line: YAML, or else the text that stands there.

    Raises
    ------
    RecipeError
        It is too deep or large, or a list or mapping that is no YAML.
    """
    try:
        _bound(text, where)
        _once(yaml.compose(text, Loader=yaml.SafeLoader), where)
        return yaml.safe_load(text)
    except RecipeError:
        raise
    except _NOT_YAML as error:
        if not text.startswith(("[", "{")):
            return text
        raise RecipeError(
            f"{where}: {shown(text)} is not YAML; are all brackets and quotes closed?"
        ) from error


def _place(where: str, mark: Any) -> str:
    return f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else f"{where}:1:1"


def shown(value: Any) -> str:
    """Return a value as a message quotes it."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


@dataclass(frozen=True)
class Node:
    """A piece of YAML that knows where it stands."""

    node: yaml.Node
    where: str
    value: Any

    @classmethod
    def root(cls, text: str, where: str, keys: Sequence[str]) -> "Node":
        """Read a text whose top is a mapping with some of these keys."""
        node, value = read(text, where)
        if not isinstance(node, yaml.MappingNode):
            raise RecipeError(f"{where}:1:1: expected a mapping with the keys {', '.join(keys)}")
        return cls(node, where, value)

    def typed(self) -> Any:
        """Return the value with every scalar as the text that stands there."""
        return yaml.constructor.BaseConstructor().construct_object(self.node, deep=True)

    def error(self, text: str, node: yaml.Node | None = None) -> RecipeError:
        """Return a mistake with the place where it stands."""
        mark = (node or self.node).start_mark
        return RecipeError(f"{self.where}:{mark.line + 1}:{mark.column + 1}: {text}")

    def items(self) -> list[tuple[str, "Node"]]:
        """Return the keys and nodes of a mapping."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(f"expected a mapping; found {shown(self.value)}")
        if len(self.value) < len(self.node.value):  # such as 1 and 0x1
            names = ", ".join(sorted(str(key.value) for key, _ in self.node.value))
            raise self.error(f"two of the keys {names[:200]} are the same one")
        pairs = zip(self.node.value, self.value.values(), strict=True)
        return [(str(key.value), Node(node, self.where, value)) for (key, node), value in pairs]

    def keys(self, names: Sequence[str]) -> None:
        """Refuse a key that is not known."""
        self.items()
        for key, _ in self.node.value:
            if key.value not in names:
                raise self.error(unknown("key", str(key.value), names), key)

    def get(self, name: str) -> "Node | None":
        """Return the node of a key, None without it."""
        return dict(self.items()).get(name)

    def plain(self, name: str, kinds: type | tuple[type, ...], default: Any) -> Any:
        """Return the value of a key, of one of some kinds; the default without it."""
        node = self.get(name)
        if node is None:
            return default
        if not isinstance(node.value, kinds):
            types = kinds if isinstance(kinds, tuple) else (kinds,)
            names = " or ".join(_KINDS[kind] for kind in types)
            raise node.error(f"{name}: expected {names}; found {shown(node.value)}")
        return node.value

    def told(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function; its refusal gets this place."""
        try:
            return function(*args, **kwargs)
        except RecipeError as error:
            raise self.error(str(error)) from error
        except (DpipeError, TypeError, ValueError) as error:
            raise self.error(str(error)) from error


def _bound(text: str, where: str) -> None:
    """Refuse YAML that nobody types, and YAML that could grow, before it is built."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            wrong = f"nested more than {_DEEPEST} deep; is a bracket missing?"
        elif isinstance(event, yaml.NodeEvent):
            wrong = _wrong(event, depth)
        else:
            continue
        if wrong:
            raise RecipeError(f"{_place(where, event.start_mark)}: {wrong}")


def _once(top: yaml.Node | None, where: str) -> None:
    """Refuse a key that stands twice in a mapping: YAML would take the last."""
    todo = [top]
    while todo:
        node = todo.pop()
        if isinstance(node, yaml.SequenceNode):
            todo += node.value
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in seen:
                        place = _place(where, key.start_mark)
                        raise RecipeError(f"{place}: {key.value!r} stands here twice")
                    seen.add(key.value)
                todo += [key, value]


def _wrong(event: yaml.NodeEvent, depth: int) -> str:
    """Say why a piece is not read; "" if it is."""
    if event.anchor and not (isinstance(event, yaml.AliasEvent) and not depth):  # that is no YAML
        return "anchors and aliases are not read; write the value out, or in quotes"
    tag: Any = getattr(event, "tag", None)
    if tag not in _PLAIN_TAGS:
        return f"the tag {tag[:80]!r} is not read; write the value without it"
    return _wrong_text(event) if isinstance(event, yaml.ScalarEvent) else ""


def _wrong_text(event: yaml.ScalarEvent) -> str:
    if sign := _NO_TEXT.search(event.value):  # files of tables, XML and HDF5 cannot hold it
        return f"the character {sign[0]!r} is no text; leave it out"
    if not event.implicit[0]:
        return ""
    if event.value == "<<":
        return "the merge key << is not read; write the value out, or '<<' in quotes"
    if len(event.value) > _LONGEST_NUMBER and _NUMBER.fullmatch(event.value):
        return f"a number of {len(event.value)} signs; at most {_LONGEST_NUMBER}; quote a text"
    return ""


_KINDS = {str: "text", int: "a whole number", dict: "a mapping", list: "a list"}
