"""A guard for tests: nothing may be computed inside of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import dask.config


@contextmanager
def nothing_computed(what: str) -> Iterator[None]:
    """Raise an AssertionError where a lazy array is computed; `what` says what was promised."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError(f"{what}: something was computed")

    with dask.config.set(scheduler=refuse):
        yield
