"""Pieces of YAML that know where they stand, so that a mistake is told with line and column.

A private neighbour of ``dpipe.recipe``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from dpipe.errors import DpipeError, RecipeError, unknown

_DEEPEST = 30


@dataclass(frozen=True)
class Node:
    """A piece of YAML that knows where it stands."""

    node: yaml.Node
    where: str
    value: Any

    @classmethod
    def root(cls, text: str, where: str, keys: Sequence[str]) -> "Node":
        """Read a text whose top is a mapping with some of these keys."""
        try:
            _bound(text, where)
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            value = yaml.safe_load(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
            raise RecipeError(f"{where}{place}: not YAML: {error.problem}") from error
        except RecipeError:
            raise
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            said = str(error).partition("\n")[0]
            raise RecipeError(f"{where}:1:1: not YAML: {said}") from error
        if not isinstance(node, yaml.MappingNode):
            raise RecipeError(f"{where}:1:1: expected a mapping with the keys {', '.join(keys)}")
        return cls(node, where, value)

    def typed(self) -> Any:
        """Return the value with every scalar as the text that stands there."""
        return yaml.constructor.BaseConstructor().construct_object(self.node, deep=True)

    def error(self, text: str, node: yaml.Node | None = None) -> RecipeError:
        mark = (node or self.node).start_mark
        return RecipeError(f"{self.where}:{mark.line + 1}:{mark.column + 1}: {text}")

    def items(self) -> list[tuple[str, "Node"]]:
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(f"expected a mapping; found {self.value!r}")
        seen: set[str] = set()
        for key, _ in self.node.value:
            if str(key.value) in seen:
                raise self.error(f"{key.value!r} stands here twice", key)
            seen.add(str(key.value))
        pairs = zip(self.node.value, self.value.values(), strict=True)
        return [(str(key.value), Node(node, self.where, value)) for (key, node), value in pairs]

    def keys(self, known: Sequence[str]) -> None:
        self.items()
        for key, _ in self.node.value:
            if key.value not in known:
                raise self.error(unknown("key", str(key.value), known), key)

    def get(self, name: str) -> "Node | None":
        return dict(self.items()).get(name)

    def plain(self, name: str, kinds: type | tuple[type, ...], default: Any) -> Any:
        found = self.get(name)
        if found is None:
            return default
        if not isinstance(found.value, kinds):
            wanted = kinds if isinstance(kinds, tuple) else (kinds,)
            names = " or ".join(_KINDS[kind] for kind in wanted)
            raise found.error(f"{name}: expected {names}; found {found.value!r}")
        return found.value

    def told(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function; what it refuses is said with this place."""
        try:
            return function(*args, **kwargs)
        except RecipeError as error:
            raise self.error(str(error)) from error
        except (DpipeError, TypeError, ValueError) as error:
            raise self.error(str(error)) from error


def _bound(text: str, where: str) -> None:
    """Refuse anchors and depths that nobody types, before anything is built of them."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        wrong = ""
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            wrong = "anchors and aliases are not used in recipes; write the value out"
        elif depth > _DEEPEST:
            wrong = f"nested more than {_DEEPEST} deep; is a bracket missing?"
        if wrong:
            mark = event.start_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise RecipeError(f"{where}:{line}:{column}: {wrong}")


_KINDS = {str: "text", int: "a whole number", dict: "a mapping", list: "a list"}
