"""Files and parts by their names.

It knows names and suffixes; it lists and opens nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict


class ItemFields(TypedDict):
    """An `Item` as specs hold it; an earlier dpipe wrote neither names nor stamp."""

    uri: str
    path: str
    size: int
    etag: str
    count: NotRequired[int]
    names: NotRequired[Sequence[str]]
    stamp: NotRequired[str]


@dataclass(frozen=True, slots=True)
class Item:
    """One foreign file.

    Attributes
    ----------
    uri : str
        What ``opened`` takes: an absolute path, or a URL.
    path : str
        Its path below the source given, with ``/``.
    size : int
        Bytes, -1 where a server does not say.
    etag : str
        What changes when the bytes do: an ETag, the modification time in nanoseconds on a
        folder, or a repository's checksum.
    count : int
        How many files it stands for, where it is a folder of many.
    names : tuple of str
        Which of the folder's files, where it stands for some only.
    stamp : str
        Of a file on disk, what changes whenever anybody writes it, whatever its times say: its
        inode and time of change of status. No fingerprint counts it.
    """

    uri: str
    path: str
    size: int
    etag: str
    count: int = 1
    names: tuple[str, ...] = ()
    stamp: str = ""

    def to_dict(self) -> ItemFields:
        """Return it as specs hold it."""
        return ItemFields(
            uri=self.uri,
            path=self.path,
            size=self.size,
            etag=self.etag,
            count=self.count,
            names=self.names,
            stamp=self.stamp,
        )

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Item":
        """Return an item from its fields, as JSON holds them."""
        return cls(**{**fields, "names": tuple(fields.get("names", ()))})


@dataclass(frozen=True, slots=True)
class Part:
    """The items that make one part, and the part's name."""

    stem: str
    items: tuple[Item, ...]


def stem_of(path: str, suffixes: Sequence[str] = ()) -> str:
    """Return the name of a file without its suffix.

    Parameters
    ----------
    path : str
        A path with ``/``.
    suffixes : sequence of str
        Suffixes to take off, in any case; the longest that fits goes. If none fits, what stands
        after the last dot goes.

    Examples
    --------
    >>> stem_of("plate/A01.ome.tif", [".tif", ".ome.tif"]), stem_of("a/Neu1.v2.ims")
    ('A01', 'Neu1.v2')
    """
    name = path.rstrip("/").rpartition("/")[2]
    for suffix in sorted(suffixes, key=len, reverse=True):
        if suffix and name.lower().endswith(suffix.lower()) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return Path(name).stem


def one_each(suffixes: Iterable[str]) -> Callable[[Iterable[Item]], Iterator[Part]]:
    """Make the ``find`` of a reader: each file of these suffixes is a part, named after it.

    Parameters
    ----------
    suffixes : iterable of str
        In small letters; files of others are passed over.

    Returns
    -------
    callable
        ``find(items)`` yields a Part a file.

    Examples
    --------
    >>> items = [Item("/raw/Neu1.H5", "Neu1.H5", 9, "0"), Item("/raw/a.txt", "a.txt", 9, "0")]
    >>> [part.stem for part in one_each([".h5"])(items)]
    ['Neu1']
    """
    endings = tuple(suffixes)

    def find(items: Iterable[Item]) -> Iterator[Part]:
        for item in items:
            if item.path.lower().endswith(endings):
                yield Part(stem_of(item.path, endings), (item,))

    return find
