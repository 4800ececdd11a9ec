"""Sources held against the digests that were taken when a part was made of them.

This module reads sources again; it decides nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from dpipe import ledger, sources
from dpipe.catalog import seals
from dpipe.errors import InputError, NotFoundError, UsageError
from dpipe.sources import ItemFields
from dpipe.storage import Objects


def changed(objects: Objects, sealed: seals.Seal, now: Sequence[ItemFields] = ()) -> str:
    """Return the first difference between the sources of a part and their digests in its seal.

    Parameters
    ----------
    objects : Objects
        The store.
    sealed : Seal
        The part's seal.
    now : sequence of ItemFields, optional
        Its source items as they lie now, if that may be elsewhere.

    Returns
    -------
    str
        URI and difference, "" if there is none or nothing was recorded.
    """
    return next((f"{uri}: {text}" for uri, text in differences(objects, sealed, now)), "")


def differences(
    objects: Objects, sealed: seals.Seal, now: Sequence[ItemFields] = ()
) -> Iterator[tuple[str, str]]:
    """Yield URI and difference of each source that is not as it was read; see `changed`."""
    if not sealed.sources:
        return
    moved = _moved(sealed.provenance["origin"]["items"], now)
    listed = seals.sources_of(objects, sealed)
    yield from compared((_moved_to(uri, moved), entry) for uri, entry in listed)


def compared(entries: Iterable[tuple[str, ledger.Entry]]) -> Iterator[tuple[str, str]]:
    """Yield URI and difference of each file that is not as a ledger has it."""
    for uri, entry in entries:
        try:
            with sources.opened(uri) as file:
                if isinstance(file, str):
                    with open(file, "rb") as local:
                        problem = ledger.compared(entry, local)
                else:
                    problem = ledger.compared(entry, file)
        except (NotFoundError, InputError, UsageError) as error:
            problem = str(error).removeprefix(f"{uri}: ")
        except OSError as error:
            problem = f"cannot be read: {error.strerror or error}"
        if problem:
            yield uri, problem


def _moved(before: Sequence[ItemFields], now: Sequence[ItemFields]) -> dict[str, str]:
    """Return where items lie now, by where they lay, if that is elsewhere."""
    places = {item["path"]: item["uri"] for item in now}
    return {
        item["uri"]: places[item["path"]]
        for item in before
        if places.get(item["path"], item["uri"]) != item["uri"]
    }


def _moved_to(uri: str, moved: Mapping[str, str]) -> str:
    for old, new in moved.items():
        if uri == old or uri.startswith(f"{old}/"):
            return new + uri.removeprefix(old)
    return uri
