"""The files that a plan means of a folder, whose files get more while a run is at them.

A plan holds of a folder the number of its files and a digest that is a sum, no names. It lists
folders, and reads no file.
"""

import os

from dpipe import sources
from dpipe.errors import GoneError, UsageError
from dpipe.readers import Reader
from dpipe.sources import ItemFields


def changed(item: ItemFields, size: int) -> str:
    """Return the message for an item that changed since the run was planned."""
    return (
        f"{item['path']}: changed since the plan was made ({item['size']} bytes then, {size} now); "
        "run the same command again"
    )


def planned(reader: Reader, item: ItemFields) -> list[str]:
    """Return the files of a folder that a plan means, or the folder if it is as it was.

    Where there are more now, the oldest, the first by name, or all but one make up the sum. Where
    none do, because some changed, what is there now is taken on disk, the oldest first; a bucket is
    refused, for whether an object changes while it is read cannot be seen there.

    Parameters
    ----------
    reader : Reader
        Tells the state of single files.
    item : ItemFields
        An item that stands for the folder, or for some files of it.

    Returns
    -------
    list of str
        URIs, also of those that are gone; one whose name nobody knows is called so.

    Raises
    ------
    GoneError
        None is there, or they are not those of the plan.
    """
    folder, count, names = item["uri"], item["count"], item.get("names", ())
    try:
        listed = sources.list_items(folder)
    except UsageError:
        listed = []
    whole = next((p.items[0] for p in reader.find(listed) if p.items[0].uri == folder), None)
    if not names and whole is not None and _same(item, whole):
        return [folder]
    files = [i for i in listed if "/" not in i.path and next(reader.find([i]), None)]
    if names:
        paths, planned_names = {i.path for i in files}, set(names)
        gone = [f"{folder}/{name}" for name in names if name not in paths]
        files = [i for i in files if i.path in planned_names]
    else:
        gone = [f"{folder}/name not known ({k + 1})" for k in range(count - len(files))]
    if not files:
        raise GoneError(f"{item['path']}: gone since the plan was made; is the disk mounted?")
    items = _adding_up(reader, item, files)
    if items is None:
        if not os.path.isdir(folder):
            raise GoneError(changed(item, sum(i.size for i in files)))
        items = sorted(files, key=_time)[:count]
    return [*(i.uri for i in items), *gone]


def _adding_up(
    reader: Reader, item: ItemFields, files: list[sources.Item]
) -> list[sources.Item] | None:
    """Return the files of a folder whose sizes and digests are those of an item, if any are."""
    count = item["count"]
    ways = [files, sorted(files, key=_time)[:count], files[:count]]
    if len(files) == count + 1:
        digests = [int(next(reader.find([i])).items[0].etag, 16) for i in files]
        more = (sum(digests) - int(item["etag"], 16)) % 2**128
        ways.append([i for i, digest in zip(files, digests, strict=True) if digest != more])
    for subset in ways:
        (part,) = reader.find(subset)
        if _same(item, part.items[0]):
            return subset
    return None


def _same(item: ItemFields, now: sources.Item) -> bool:
    return (now.count, now.size, now.etag) == (item["count"], item["size"], item["etag"])


def _time(item: sources.Item) -> int:
    """Return when a file on disk was written, 0 of an object."""
    return int(item.etag) if item.etag.isdecimal() else 0
