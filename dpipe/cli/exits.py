"""The last door of the command line: signals and errors become one line and an exit code."""

import contextlib
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import click

from dpipe import errors
from dpipe.redaction import masked

_STOPPED = 128


class _Stopped(BaseException):
    """A signal asked the program to end; a task that runs here must not take it for its own."""


_SAID = "\nstopped; the same command goes on where it was"


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that everything is closed."""

    def stop(number: int, _: Any) -> NoReturn:
        raise _Stopped(number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def guarded(command: Callable[[], Any]) -> int:
    """Call a command; return its exit code, whatever happens in it."""
    try:
        with _signals(), warnings.catch_warnings():
            warnings.showwarning = _warn
            code = command()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return errors.UsageError.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(_SAID, err=True)
        return _STOPPED + signal.SIGINT
    except _Stopped as error:
        click.echo(_SAID, err=True)
        return _STOPPED + int(error.args[0])
    except BrokenPipeError:  # who read it has enough, such as ``head``
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _STOPPED + signal.SIGPIPE
    except Exception as error:  # noqa: BLE001  the last door
        if "--debug" in sys.argv:
            click.echo(masked(traceback.format_exc()), err=True)
        line, code = _told(error)
        click.echo(masked(line), err=True)
        return code


def _told(error: Exception) -> tuple[str, int]:
    """Return an error as a line, and its exit code."""
    if isinstance(error, errors.DpipeError):
        return f"{type(error).__name__}: {error}", error.exit_code
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        line = f"{os.fsdecode(error.filename)}: {error.strerror}; check the path and the disk"
        return f"StoreError: {line}", errors.StoreError.exit_code
    line = f"bug: {type(error).__name__}: {error} (--debug shows where)"
    return line, errors.DpipeError.exit_code


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"warning: {message}", err=True)
