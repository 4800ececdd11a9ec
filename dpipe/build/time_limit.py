"""A limit of time for a look into a file: a reader that never comes back ends nobody's run."""

import ctypes
import threading
from collections.abc import Callable
from contextvars import copy_context

from dpipe.errors import GoneError


class _Overdue(BaseException):
    """Raised from outside; a ``BaseException``, so that no reader takes it for a damaged file."""


def in_time[T](look: Callable[[], T], seconds: float) -> T:
    """Return the result of a look into a file, unless it takes for ever.

    Parameters
    ----------
    look : callable
        Runs in a thread of its own. Where it does not come back its Python code is ended, in an
        endless loop too; a call into a C library is left behind.
    seconds : float
        The longest that it may take.

    Raises
    ------
    GoneError
        It takes longer: the next run looks at the file again.
    """
    results: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            results.append(look())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            failed.append(error)

    thread = threading.Thread(target=copy_context().run, args=(run,), daemon=True)
    thread.start()
    thread.join(seconds)
    if results:
        return results[0]
    if failed:
        raise failed[0]
    name = ctypes.c_ulong(thread.ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(name, ctypes.py_object(_Overdue))
    raise GoneError(
        f"opening it took more than {seconds:g} s; is it damaged, or its disk gone? The next "
        "run tries it again; a larger stall_seconds waits longer"
    )
