"""Folders of pictures and label images: the readers ``pictures`` and ``instance-masks``."""

import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import xarray as xr

from dpipe import sources
from dpipe.errors import UsageError
from dpipe.formats import plain_pictures
from dpipe.readers.pictures.collection import PLAIN, Record, collection
from dpipe.readers.pictures.label_images import FOLDERS
from dpipe.readers.pictures.pairs import paired
from dpipe.sources import Item, Part, natural_key

SUFFIXES = plain_pictures.SUFFIXES


def find(items: Iterable[Item]) -> Iterator[Part]:
    """Group files into parts: each folder of pictures is one, with the label images beside it.

    Parameters
    ----------
    items : iterable of Item
        Files; those that are no pictures by their names are passed over.

    Yields
    ------
    Part
        One a folder, named after its path below the source. A folder of label images
        (``masks`` and its like) belongs to the folder that it lies in.

    Examples
    --------
    >>> names = ("train/images/1.png", "train/masks/1.png", "test/2.png", "test/2_objects.png")
    >>> items = [Item(f"/raw/{name}", name, 9, "0") for name in names]
    >>> [(part.stem, len(part.items)) for part in find(items)]
    [('test', 2), ('train_images', 2)]
    """
    folders: dict[str, list[Item]] = {}
    masks: dict[str, list[Item]] = {}
    for item in items:
        if item.uri.lower().endswith(SUFFIXES):
            folder, _, _ = item.path.rpartition("/")
            parent, _, name = folder.rpartition("/")
            if name.lower() in FOLDERS:
                masks.setdefault(parent, []).append(item)
            else:
                folders.setdefault(folder, []).append(item)
    for parent, found in masks.items():
        beside = [folder for folder in folders if folder.rpartition("/")[0] == parent]
        for folder in beside or [parent]:
            folders.setdefault(folder, []).extend(found)
    for folder in sorted(folders, key=natural_key):
        files = sorted(folders[folder], key=lambda item: natural_key(item.path))
        name = folder or files[0].uri.split("/")[-2]
        yield Part("_".join(part for part in name.split("/") if part) or "pictures", tuple(files))


def open_pictures(
    url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    channels: str | Sequence[str] | None = None,
    levels: str | Sequence[str] = "",
    block: int = 0,
) -> xr.Dataset:
    """Open a folder of pictures, with label images beside them; only headers are read.

    Parameters
    ----------
    url : str, path, or sequence of these
        A folder, or files: PNG, JPEG, BMP, plain TIFF. A file named as another one with
        ``_objects``, ``_mask``, ``_label`` or the like behind it, or of the same name in a folder
        ``masks`` or ``labels`` beside, is the label image of that one.
    channels : str or sequence of str, optional
        Names of the channels, by commas; by default Ch1, Ch2, ...
    levels : str or sequence of str
        What the last folders of a picture's path are, outermost first, by commas: each becomes a
        text over the pictures, for example ``label`` where a folder is a class.
    block : int
        Pictures of a block; 0 chooses by their size.

    Returns
    -------
    xarray.Dataset
        ``pixels(block, value)``, packed, in the natural order of names; where there are label
        images ``label_pixels(block, place)``, whose numbers are those of the file, or
        ``red * 65536 + green * 256 + blue`` where an object has a colour, and ``label_flag``.
        A picture that cannot be used keeps its record, with height 0 and the reason in
        ``put_aside``.

    Raises
    ------
    InputError
        No picture can be read.
    UsageError
        No pictures, or options that do not fit.
    """
    uris = _files(url)
    pairs = paired(uris)
    records = [
        Record(uri.rpartition("/")[2], (uri,), pairs.labels.get(uri, "")) for uri in pairs.pictures
    ]
    if not records:
        raise UsageError(
            f"pictures: {len(uris)} label images and no picture; reader instance-masks takes them"
        )
    notes = []
    if pairs.alone:
        name = pairs.alone[0].rpartition("/")[2]
        notes.append(f"{len(pairs.alone)} label images have no picture; the first: {name}")
    columns = _levels([record.files[0] for record in records], levels)
    folder = records[0].files[0].split("/")[-2]
    return collection(
        records, PLAIN, what=folder, columns=columns, channels=channels, block=block, notes=notes
    )


def open_instance_masks(
    url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], *, block: int = 0
) -> xr.Dataset:
    """Open a folder of label images without their pictures; only headers are read.

    Parameters
    ----------
    url : str, path, or sequence of these
        A folder, or files: 8-, 16- or 32-bit numbers, or a colour an object on black.
    block : int
        Pictures of a block; 0 chooses by their size.

    Returns
    -------
    xarray.Dataset
        ``label_pixels(block, place)`` and ``label_flag(block, slot)``, as of `open_pictures`.

    Raises
    ------
    InputError
        No label image can be read.
    UsageError
        No pictures.
    """
    records = [Record(uri.rpartition("/")[2], (), uri) for uri in _files(url)]
    folder = records[0].labels.split("/")[-2]
    return collection(records, PLAIN, what=folder, columns={}, block=block)


def _files(url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return the pictures of a folder, or those that are named, in natural order."""
    uris: list[str] = []
    for one in sources.uris_of(url):
        if one.lower().endswith(SUFFIXES):
            uris.append(one)
        else:
            uris += [i.uri for i in sources.list_items(one) if i.uri.lower().endswith(SUFFIXES)]
    if not uris:
        raise UsageError(f"{url}: no pictures ({', '.join(SUFFIXES)})")
    return sorted(dict.fromkeys(uris), key=natural_key)


def _levels(uris: Sequence[str], given: str | Sequence[str]) -> dict[str, np.ndarray]:
    """Return what the last folders of each picture say."""
    names = [n.strip() for n in (given.split(",") if isinstance(given, str) else given)]
    names = [name for name in names if name]
    wrong = [name for name in names if not name.isidentifier() or name in _TAKEN]
    if wrong or len(set(names)) != len(names):
        raise UsageError(f"levels: {', '.join(wrong or names)}; expected names, each once")
    paths = [uri.split("/")[:-1] for uri in uris]
    if names and min(map(len, paths)) < len(names):
        raise UsageError(f"levels: {len(names)} names; a picture has fewer folders")
    return {
        name: np.array([path[len(path) - len(names) + k].strip() for path in paths], dtype=str)
        for k, name in enumerate(names)
    }


_TAKEN = {"c", "record", "block", "value", "place", "slot", "file", "height", "width", "offset"}
_TAKEN |= {"in_block", "in_slot", "put_aside"}
