"""One TIFF or several, opened as a movie: which of the ways to count its planes is taken.

A person's word comes first; then a header that lists planes (OME over several files, ScanImage,
Micro-Manager); then what tifffile makes of one file, and what the names of several count.
"""

import os
import struct
from collections.abc import Sequence

import xarray as xr
from tifffile import TiffFile

from dpipe import compute, schema
from dpipe.errors import InputError, SchemaError, UsageError
from dpipe.formats.measures import HeaderFacts, check_steps
from dpipe.formats.ome_xml import parsed
from dpipe.formats.tiff import Complaint, Flaw, complaints, open_tiff_file
from dpipe.readers.tiff import micromanager, ome_planes, scanimage
from dpipe.readers.tiff.axes import parsed_axes
from dpipe.readers.tiff.movie import Asked, Movie, counted, note, plain, surveyed
from dpipe.readers.tiff.names import Named, named
from dpipe.readers.tiff.numbered import by_names
from dpipe.readers.tiff.planes import listed, short
from dpipe.readers.tiff.sets import micromanager_set, ome_set, scanimage_set
from dpipe.readers.tiff.torn import lost_header
from dpipe.sources import opened, uris_of

BLOCK_BYTES = 64 << 20
"""A lazy block is one volume of one channel, or some of its planes, no larger than this."""
COMPANIONS = (".companion.ome", ".companion.ome.xml")
_NDTIFF = 483729


def asked_for(
    axes: str | None,
    series: int | None,
    whole_frames: bool,
    spacing: Sequence[float] | None,
    interval: float | None,
) -> Asked:
    """Check the options that all readers of TIFF as movies have.

    Raises
    ------
    UsageError
        One that cannot work.
    """
    check_steps(spacing, interval)
    whole = isinstance(series, int) and not isinstance(series, bool) and series >= 0
    if series is not None and not whole:
        raise UsageError(f"series={series!r}; expected a number from 0")
    return Asked(parsed_axes(axes), series, bool(whole_frames), spacing, interval)


def open_movie(
    url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    asked: Asked,
    dim: str | None = None,
) -> xr.Dataset:
    """Open a TIFF, or several, as a lazy movie; no pixel is read, no file stays open.

    `dim` is what the last number of the names counts, whatever they say.
    """
    uris = uris_of(url)
    companion = next((uri for uri in uris if uri.lower().endswith(COMPANIONS)), "")
    text = next((uri for uri in uris if micromanager.is_metadata(uri)), "")
    files = [uri for uri in uris if uri not in (companion, text)]
    if not files:
        raise UsageError("no file given; a movie needs at least one")
    try:
        if len(files) == 1 and not text and dim is None:
            movie = _one_file(files[0], asked, companion)
        else:
            movie = _several(files, asked, dim, companion, text)
    except Flaw as flaw:
        raise InputError(f"{short(files[0])}: {flaw}") from None
    sizes, reading = movie.sizes, movie.reading
    plane = sizes["y"] * sizes["x"] * reading.layout.dtype.itemsize
    inner = reading.planes.inner
    thick = sizes["z"] if "z" in inner else max(1, BLOCK_BYTES // plane)
    chunks = (1, sizes["c"] if "c" in inner else 1, thick, sizes["y"], sizes["x"])
    shape = [sizes[dim] for dim in schema.MOVIE_DIMS]
    image = compute.lazy(reading, shape, reading.layout.dtype, chunks)
    try:
        return schema.movie(image, **movie.facts)
    except SchemaError as error:
        raise InputError(f"{short(files[0])}: {error}") from error


def _one_file(uri: str, asked: Asked, companion: str) -> Movie:
    """Settle a movie that is one file."""
    pages = 0
    with complaints() as heard:
        try:
            with opened(uri) as file, open_tiff_file(file, short(uri), torn=True) as tif:
                pages = len(tif.pages)
                movie = _one(tif, uri, asked, companion)
        except InputError:
            _refuse_lost(heard, asked, pages)
            raise
    if not heard:
        return movie
    _refuse_lost(heard, asked, pages)
    if not asked.torn:
        frames = movie.sizes["t"]
        way = f", or say whole_frames=true for the {frames} frames that are whole" * (frames > 1)
        raise Flaw(f"damaged: {heard[0].text}; fetch or export it again{way}")
    note(movie.facts, f"it is damaged ({heard[0].text}); what is whole before that is taken")
    return movie


def _refuse_lost(heard: Sequence[Complaint], asked: Asked, pages: int) -> None:
    """Refuse a file whose header is cut off: nobody knows then what its planes are."""
    if asked.axes is None and lost_header(heard):
        way = f", or say axes= with sizes, for example 'TZ4C2YX', for {pages} pages"
        way = f"{way}, and whole_frames=true" * (pages > 1)
        raise Flaw(
            f"damaged: {heard[0].text}: its header is cut off; fetch or export it again{way}"
        ) from None


def _one(tif: TiffFile, uri: str, asked: Asked, companion: str) -> Movie:
    axes = scanimage.sized(tif, asked.axes) if asked.axes is not None else None
    if axes is not None and axes.cuts:
        return counted(tif, uri, asked, axes)
    if _is_spread(tif, uri) and not _is_stack(tif):
        return ome_set([uri], asked, companion) if asked.axes is None else plain(tif, uri, asked)
    if asked.axes is None and _is_stack(tif):
        return micromanager_set([uri], asked)
    if asked.axes is None and asked.series is None and scanimage.header(tif):
        return scanimage_set([uri], asked)
    if asked.axes is None and _magic(tif) == _NDTIFF and len(tif.pages) > 1:
        raise Flaw(
            "it is an NDTiff of Micro-Manager, whose order of planes stands in NDTiff.index, which "
            "is not read; say axes= with sizes, for example 'TZ4C2YX'"
        )
    return surveyed(tif, uri, asked)


def _several(files: list[str], asked: Asked, dim: str | None, companion: str, text: str) -> Movie:
    """Settle a movie of several files, or of one with a text beside it."""
    if asked.axes is None and dim is None:
        with opened(files[0]) as file, open_tiff_file(file, short(files[0]), torn=True) as tif:
            stack, spread = _is_stack(tif), _is_spread(tif, files[0])
        if stack:
            return micromanager_set(files, asked)
        if spread:
            return ome_set(files, asked, companion)
    metadata = micromanager.read_metadata(text) if text else {}
    if len(files) == 1:
        names = Named(listed(files), "")
    else:
        names = named(files, dim, torn=asked.torn, channels=micromanager.channels_of(metadata))
    if asked.axes is None and names.dims == "t" and asked.series is None and not text:
        first = names.files[0]
        with opened(first) as file, open_tiff_file(file, short(first), torn=True) as tif:
            recording = bool(scanimage.header(tif))
        if recording:
            return scanimage_set(files, asked)
    header: HeaderFacts | None = None
    if text:
        counts = dict(zip(names.dims, names.files.counts, strict=True))
        frames = names.frames or list(range(counts.get("t", 1)))
        header = micromanager.micromanager_facts(metadata, frames, counts.get("c", 1))
        if not metadata:
            header["notes"].append(
                f"{short(text)} cannot be read; names and pages say what they can"
            )
    return by_names(names, asked, header, join=dim == "t")


def _is_spread(tif: TiffFile, uri: str) -> bool:
    """Tell whether an OME header names other files as the home of planes."""
    if not tif.is_ome or not tif.ome_metadata:
        return False
    return ome_planes.is_spread(parsed(tif.ome_metadata), short(uri))


def _is_stack(tif: TiffFile) -> bool:
    return _magic(tif) == micromanager.MAGIC


def _magic(tif: TiffFile) -> int:
    """Return the number behind the header, by which Micro-Manager tells its files apart."""
    tif.filehandle.seek(8)
    head = tif.filehandle.read(4)
    return int(struct.unpack(tif.byteorder + "I", head)[0]) if len(head) == 4 else 0
