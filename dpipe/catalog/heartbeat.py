"""Signs of life: who makes parts now, and who is about to delete some.

While a run lasts its *heartbeat*, ``alive/RUN.json``, names the datasets of which it makes parts
and is written again every minute. A sweeper leaves the parts of a dataset alone while a heartbeat
is younger than an hour, by the clock of the store, which dates both. Its own sign, a *sweep
note*, names the parts that it is about to delete; who commits reads it.

Each side writes first and reads what the other wrote afterwards, so of two that meet at least one
knows of the other. A machine that sleeps for hours may still lose parts that it has not committed;
then its commit, which looks at every new seal, refuses, and only time is lost.

This module knows names of datasets and keys of parts; it deletes nothing but its own signs.
"""

import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Iterable, Iterator
from typing import TypedDict, cast

from dpipe.errors import DamageError, DpipeError
from dpipe.storage import Objects, documents

PERIOD = 60.0
"""Seconds between two beats."""
TRUSTED = 3600.0
"""Seconds for which a sign is believed."""
_FORM = documents.Form("dpipe-alive", 1, "sign of life")


class Sign(TypedDict, total=False):
    """A heartbeat, or with ``sweeping`` (keys of parts) the note of a sweeper."""

    datasets: list[str]
    host: str
    process: int
    sweeping: list[str]


class Heartbeat:
    """The sign of life of one run.

    Parameters
    ----------
    objects : Objects
        The store.
    run : str
        What the run is called.
    datasets : iterable of str
        The datasets of which it makes parts.
    """

    def __init__(self, objects: Objects, run: str, datasets: Iterable[str]) -> None:
        self._objects, self._key = objects, _key(run)
        sign: Sign = {
            "datasets": sorted(datasets),
            "host": socket.gethostname(),
            "process": os.getpid(),
        }
        self._data = _FORM.write(sign)

    def beat(self) -> None:
        """Write the sign again; before a commit, so that its look at seals counts."""
        self._objects.put(self._key, self._data)

    def end(self) -> None:
        """Take the sign back."""
        self._objects.delete(self._key)


@contextlib.contextmanager
def beating(objects: Objects, run: str, datasets: Iterable[str]) -> Iterator[Heartbeat]:
    """Leave a sign of life while something lasts; see `Heartbeat`."""
    heart, stopped = Heartbeat(objects, run, datasets), threading.Event()
    heart.beat()

    def go_on() -> None:
        while not stopped.wait(PERIOD):
            with contextlib.suppress(DpipeError):  # the next beat may succeed
                heart.beat()

    thread = threading.Thread(target=go_on, name="dpipe heartbeat", daemon=True)
    thread.start()
    try:
        yield heart
    finally:
        stopped.set()
        thread.join(timeout=5)
        with contextlib.suppress(DpipeError):
            heart.end()


@contextlib.contextmanager
def sweeping(objects: Objects, bases: Iterable[str]) -> Iterator[None]:
    """Leave a note of the parts that are about to be deleted, while they are."""
    key = _key(f"sweep-{secrets.token_hex(4)}")
    objects.put(key, _FORM.write(Sign(sweeping=sorted(bases))))
    try:
        yield
    finally:
        with contextlib.suppress(DpipeError):
            objects.delete(key)


def alive(objects: Objects) -> set[str]:
    """Return the datasets of which somebody is making parts now."""
    return {name for sign in _signs(objects) for name in sign.get("datasets", ())}


def swept(objects: Objects) -> set[str]:
    """Return the parts that somebody is about to delete."""
    return {base for sign in _signs(objects) for base in sign.get("sweeping", ())}


def _signs(objects: Objects) -> Iterator[Sign]:
    entries = list(objects.list("alive/"))
    if not entries:
        return
    now = objects.now()
    young = [entry.key for entry in entries if entry.mtime > now - TRUSTED]
    for key, data in zip(young, objects.read_many(young), strict=True):
        if isinstance(data, bytes):
            try:
                yield cast("Sign", _FORM.read(data, f"{objects.url}/{key}"))
            except DamageError as error:
                way = "it counts for an hour after it was written; then the same command goes on"
                raise DamageError(f"{error}; {way}") from error


def _key(name: str) -> str:
    return f"alive/{name}.json"
