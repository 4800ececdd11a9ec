"""The pictures that a file of annotations names, among the files of a source.

Names in such files are bare, with a folder or with another suffix than the picture's; pictures lie
flat or in folders by class. One is found by the path that fits best, else it is missing.
"""

import unicodedata
from collections.abc import Iterable, Sequence

from dpipe.errors import InputError

MISSING = "no picture of this name among the sources"


class NamedPictures:
    """Pictures by name.

    Parameters
    ----------
    uris : iterable of str
        Those of the source.
    """

    def __init__(self, uris: Iterable[str]) -> None:
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for uri in uris:
            name = _composed(uri.rpartition("/")[2])
            self._by_name.setdefault(name, []).append(uri)
            self._by_stem.setdefault(_stem(name), []).append(uri)

    def __len__(self) -> int:
        return sum(map(len, self._by_name.values()))

    def find(self, file_name: str) -> str:
        """Return the picture of a name as a file of annotations has it.

        Raises
        ------
        InputError
            None fits, or several do.
        """
        path = _composed(file_name).replace("\\", "/")
        name = path.rpartition("/")[2]
        candidates = self._by_name.get(name) or self._by_stem.get(_stem(name), [])
        if len(candidates) > 1:
            candidates = _nearest(candidates, path)
        if not candidates:
            raise InputError(MISSING)
        if len(candidates) > 1:
            shown = ", ".join(sorted(candidates)[:3])
            raise InputError(f"{len(candidates)} pictures of this name: {shown}; name one folder")
        return candidates[0]


def _composed(name: str) -> str:
    """Return a name with its accents composed: macOS writes them apart."""
    return unicodedata.normalize("NFC", name)


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _nearest(candidates: Sequence[str], path: str) -> list[str]:
    """Return those that share most of the last folders of a path."""
    wanted = path.split("/")[:-1][::-1]

    def shared(uri: str) -> int:
        folders = uri.split("/")[:-1][::-1]
        pairs = zip(wanted, folders, strict=False)
        return next((i for i, (a, b) in enumerate(pairs) if a != b), len(wanted))

    best = max(map(shared, candidates))
    return [uri for uri in candidates if shared(uri) == best]
