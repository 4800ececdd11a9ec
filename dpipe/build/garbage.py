"""Python's cyclic collector, kept from walking again and again over a heap that only grows."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def old_objects_kept() -> Iterator[None]:
    """Collect only young objects while a plan grows: its old ones are not garbage.

    The oldest generation of a plan of 10,000 parts is some million objects, all of them wanted,
    and each full collection looks at every one. The two young generations are collected as
    always, so what a reader leaves behind goes; thresholds are put back at the end.
    """
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, 1 << 30)
    try:
        yield
    finally:
        gc.set_threshold(young, middle, old)
