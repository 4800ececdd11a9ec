"""Entries of shelves, by ``module:name``: what a row names is imported when it is used.

>>> basename = Later("os.path:basename")
>>> basename("raw/Neu1.ims"), basename.__name__
('Neu1.ims', 'basename')
"""

import importlib
from functools import cached_property
from typing import Any


class Later:
    """A function that is imported when it is called, or when somebody looks at it.

    Parameters
    ----------
    target : str
        ``"package.module:function"``.
    """

    def __init__(self, target: str) -> None:
        self.target = target

    @cached_property
    def __wrapped__(self) -> Any:
        """The function itself; what inspects a function follows this name."""
        module, _, name = self.target.partition(":")
        return getattr(importlib.import_module(module), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Import the function and call it."""
        return self.__wrapped__(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the function, which is imported for it."""
        if name.startswith("__") and name not in ("__name__", "__qualname__"):
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel by name."""
        return Later, (self.target,)

    def __repr__(self) -> str:
        """Name the function."""
        return f"<{self.target}>"

    def __eq__(self, other: object) -> bool:
        """Tell whether another one, or a function, is the one that is named."""
        if isinstance(other, Later):
            return self.target == other.target
        where = getattr(other, "__module__", ""), getattr(other, "__qualname__", "")
        return self.target == ":".join(map(str, where))

    def __hash__(self) -> int:
        """Agree with equality."""
        return hash(self.target)


def _doc(later: Later) -> str | None:
    doc: str | None = later.__wrapped__.__doc__
    return doc


Later.__doc__ = property(_doc)  # type: ignore[assignment]  # help() tells of the function
