"""Readers: each turns foreign files into lazy Datasets, one module a format.

A reader is two functions. ``find`` groups the items of a source into parts, by their names only;
``open`` makes a lazy Dataset of the items of one part, without reading a pixel or leaving a file
open. `READERS` names them all.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import xarray as xr

from dpipe.errors import UsageError
from dpipe.plugins import Later, find
from dpipe.sources import Item, Oddities, Part, list_items, walk_items

__all__ = ["READERS", "Reader", "resolve"]


@dataclass(frozen=True)
class Reader:
    """One format.

    Attributes
    ----------
    find : callable
        ``find(items)`` yields a Part for each movie or collection among the items.
    open : callable
        ``open(urls, **options)`` returns the lazy Dataset of one part.
    version : int
        Raised whenever the same files would give other values than before.
    streams : bool
        Whether ``find`` takes items in any order and keeps none, since there may be millions.
    state : callable, optional
        ``state(item)`` returns a number that changes when a file does; its collections keep it
        as ``file_state``, so that a folder can be compared file by file. Its ``open`` takes
        files of one folder too, and keeps a record of one that is gone.
    guess : callable, optional
        As ``open``, but from a few files: for plans, where opening takes long. It takes the
        number of files after their URLs.
    resume : callable, optional
        ``resume(layout, urls, **options)`` returns the Dataset of ``open`` again, from its
        coordinates, without looking into the files.
    content : callable, optional
        ``content(file)`` returns a number of 64 bits that files of the same pixels share, 0 where
        it cannot tell, and whether the mask has several values besides 0: by it a census finds
        pictures that are there twice, and counts masks of several values.
    added : tuple of str
        Options that came after the first release: at their defaults fingerprints do not count
        them, so parts that were made before stay.
    alike : callable, optional
        ``alike(sealed, fresh)`` tells of a part that an older version made whether this one would
        make the same: then it stays. It gets the sealed Dataset, and a function that opens the
        source.
    code : str
        Digest of the code of a reader that is not dpipe's own; "" else.
    packages : dict of str to str
        Installed packages that such code imports, with their versions.
    """

    find: Callable[[Iterable[Item]], Iterator[Part]]
    open: Callable[..., xr.Dataset]
    version: int
    streams: bool = False
    state: Callable[[Item], int] | None = None
    guess: Callable[..., xr.Dataset] | None = None
    resume: Callable[..., xr.Dataset] | None = None
    content: Callable[[BinaryIO], tuple[int, bool]] | None = None
    added: tuple[str, ...] = ()
    alike: Callable[[xr.Dataset, Callable[[], xr.Dataset]], bool] | None = None
    code: str = ""
    packages: dict[str, str] = field(default_factory=dict)

    def parts(self, where: Sequence[str], odd: Oddities | None = None) -> Iterator[Part]:
        """Yield the parts of some sources; a file that lies in two of them is taken once.

        Oddities of the sources go into `odd`.
        """
        if self.streams:
            return self.find(walk_items(*where, odd=odd))
        items = {item.uri: item for url in where for item in list_items(url, odd)}
        return self.find(items.values())


def _later(name: str) -> Later:
    return Later(f"dpipe.readers.{name}")


READERS: dict[str, Reader] = {
    "bioio": Reader(
        _later("bioio:find"),
        _later("bioio:open_bioio"),
        version=2,
        alike=_later("alike:same_places"),
    ),
    "cellomics": Reader(
        _later("pictures.plates:find"), _later("pictures.plates:open_cellomics"), version=1
    ),
    "coco": Reader(
        _later("annotations.coco:find"), _later("annotations.coco:open_coco"), version=1
    ),
    "conditions": Reader(
        _later("tables.conditions:find"),
        _later("tables.conditions:open_conditions"),
        version=2,
        alike=_later("alike:same_values"),
    ),
    "crops": Reader(
        _later("crops.crops:find"),
        _later("crops.crops:open_crops"),
        version=2,
        alike=_later("alike:same_places"),
    ),
    "emdb-sff": Reader(
        _later("emdb_sff:find"),
        _later("emdb_sff:open_emdb_sff"),
        version=2,
        alike=_later("alike:same_values"),
    ),
    "ifc": Reader(
        _later("ifc.folders:find"),
        _later("ifc.collection:open_ifc"),
        version=2,
        added=("threshold",),
        alike=_later("alike:sound_masks"),
        streams=True,
        state=_later("ifc.folders:state"),
        guess=_later("ifc.collection:guess"),
        resume=_later("ifc.collection:resume"),
        content=_later("ifc.collection:content"),
    ),
    "imaris": Reader(
        _later("imaris.movies:find"),
        _later("imaris.movies:open_imaris"),
        version=2,
        added=("whole_frames", "unit"),
        alike=_later("alike:same_places"),
    ),
    "imaris-spots": Reader(
        _later("imaris.spots:find"),
        _later("imaris.spots:open_imaris_spots"),
        version=2,
        added=("unit",),
        alike=_later("alike:same_values"),
    ),
    "imaris-surfaces": Reader(
        _later("imaris.surfaces:find"),
        _later("imaris.surfaces:open_imaris_surfaces"),
        version=2,
        added=("unit",),
        alike=_later("alike:same_values"),
    ),
    "instance-masks": Reader(
        _later("pictures.folders:find"), _later("pictures.folders:open_instance_masks"), version=1
    ),
    "livecell": Reader(
        _later("annotations.livecell:find"), _later("annotations.livecell:open_livecell"), version=1
    ),
    "ome-zarr": Reader(
        _later("ome_zarr.movies:find"),
        _later("ome_zarr.movies:open_ome_zarr"),
        version=2,
        added=(
            *("multiscale", "background", "fill_missing", "axes"),
            *("unit", "time_unit", "system"),
        ),
        alike=_later("alike:same_places"),
    ),
    "phases": Reader(
        _later("tables.phases:find"),
        _later("tables.phases:open_phases"),
        version=2,
        alike=_later("alike:same_values"),
    ),
    "pictures": Reader(
        _later("pictures.folders:find"), _later("pictures.folders:open_pictures"), version=1
    ),
    "spillover": Reader(
        _later("tables.spillover:find"), _later("tables.spillover:open_spillover"), version=1
    ),
    "tiff": Reader(
        _later("tiff.files:find"),
        _later("tiff.files:open_tiff"),
        version=2,
        added=("whole_frames", "spacing", "interval"),
        alike=_later("alike:same_places"),
    ),
    "tiff-series": Reader(
        _later("tiff.series:find"), _later("tiff.series:open_tiff_series"), version=1
    ),
    "tracks": Reader(
        _later("tracks.spots:find"),
        _later("tracks.spots:open_tracks"),
        version=2,
        added=("time_unit", "movie", "gaps", "background"),
        alike=_later("alike:same_values"),
    ),
    "tracks-labels": Reader(
        _later("tracks.labels:find"),
        _later("tracks.labels:open_tracks_labels"),
        version=1,
        added=("first_frame", "frames", "planes", "background"),
    ),
}
"""Every reader by its name in recipes and on the command line."""


def resolve(name: str) -> Reader:
    """Return a reader by its name.

    Parameters
    ----------
    name : str
        A key of `READERS`, ``"package.module:READER"``, or an entry point of the group
        ``dpipe.readers``; what they name is a `Reader`.

    Returns
    -------
    Reader
        The reader.

    Raises
    ------
    UsageError
        There is none of that name (the nearest is suggested), it cannot be imported, or it is no
        `Reader`.

    Examples
    --------
    >>> resolve("tiff").version
    2
    """
    if name in READERS:
        return READERS[name]
    entry = find("reader", name, READERS)
    if not isinstance(entry.value, Reader):
        raise UsageError(
            f"{entry.label}: found a {type(entry.value).__name__}; expected a Reader of "
            "dpipe.readers, such as Reader(find, open, version=1)"
        )
    return replace(entry.value, code=entry.code, packages=entry.packages)
