"""A limit of time for what runs in this thread: a reader that never comes back ends nobody's run.

A private neighbour of ``dpipe.plan``.
"""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dpipe.errors import InputError


class _Overdue(BaseException):
    """Raised from outside; a ``BaseException``, so that no reader takes it for a damaged file."""


@contextmanager
def limit(seconds: float, text: str) -> Iterator[None]:
    """End what is inside the ``with`` after so many seconds.

    Python code is ended within an instant, even in an endless loop; a call into a C library when
    it comes back.

    Parameters
    ----------
    seconds : float
        How long it may take.
    text : str
        What the error then says.

    Raises
    ------
    InputError
        It took longer.
    """
    thread, lock, done = threading.get_ident(), threading.Lock(), False

    def interrupt() -> None:
        with lock:
            if not done:
                name = ctypes.c_ulong(thread)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(name, ctypes.py_object(_Overdue))

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        try:
            yield
        finally:
            with lock:
                done = True
            timer.cancel()
    except _Overdue:
        raise InputError(text) from None
