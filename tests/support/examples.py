"""Examples of readers, operators and writers: one row holds all that tests know of an entry.

The rows stand in ``tests/readers/examples.py``, ``tests/operators/examples.py`` and
``tests/writers/examples.py``; the contracts beside them are parametrised from the tables of dpipe
and look their row up here. An entry without a row fails, with the line to paste.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

Data = xr.Dataset | xr.DataTree


@dataclass(frozen=True)
class OperatorExample:
    """An operator on a small input.

    Attributes
    ----------
    inputs : callable
        Returns its input, or a tuple of them: small, in memory, the same on every machine.
    version : int
        Its version.
    digest : str
        `dpipe.testing.digest` of its result on them; where it changes, numbers have changed:
        then the version goes up, here and in the table.
    params : mapping
        Parameters that have no default, or make too much or too little by it.
    on_host : bool
        Whether it moves nothing to a device: tables, meshes, and what xarray does by itself.
    """

    inputs: Callable[[], Data | tuple[Data, ...]]
    version: int
    digest: str
    params: Mapping[str, Any] = field(default_factory=dict)
    on_host: bool = False

    def operands(self) -> tuple[Data, ...]:
        """Return its inputs, in order."""
        inputs = self.inputs()
        return inputs if isinstance(inputs, tuple) else (inputs,)


@dataclass(frozen=True)
class ReaderExample:
    """A reader and a file that it reads.

    Attributes
    ----------
    write : callable
        Writes one part whose stem is ``m`` into a folder, and returns the path of what is opened.
    expected : callable
        Returns what the reader gives of it: its variables, in memory.
    marks : tuple
        Marks of pytest for tests of this reader.
    """

    write: Callable[[Path], Path]
    expected: Callable[[], xr.Dataset]
    marks: tuple[pytest.MarkDecorator, ...] = ()


@dataclass(frozen=True)
class WriterExample:
    """A writer and a Dataset that it writes.

    Attributes
    ----------
    data : callable
        Returns the Dataset.
    exact : bool
        Whether it writes the same bytes each time.
    inverse : bool
        Whether the reader of its name, if there is one, gives back what was written; if not, it
        makes something else of the same files, but opens them.
    options_of : str
        Name of the writer to whose docstring its own refers for its options, if any.
    """

    data: Callable[[], xr.Dataset]
    exact: bool = True
    inverse: bool = True
    options_of: str = ""


def example_of[E](name: str, examples: Mapping[str, E], line: str, file: str) -> E:
    """Return the example of an entry, or fail with the line to paste."""
    if name not in examples:
        pytest.fail(f"{name} has no example; paste into tests/{file}:\n{line}", pytrace=False)
    return examples[name]
