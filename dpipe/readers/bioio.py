"""Files of other microscopes (CZI, ND2, LIF, DV, ...) as lazy movies, through the package bioio.

bioio gives each format a plugin, a package of its own; some are under the GPL, so dpipe asks for
none of them. This module knows which plugin reads which suffix, and makes micrometres and seconds
of what a plugin says. It knows no format.
"""

import importlib
import logging
import math
import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from dpipe import compute, schema
from dpipe.errors import DpipeError, InputError, StoreError, UsageError
from dpipe.formats.measures import Quantity, duration, length
from dpipe.formats.tiff import Complaint, Flaw, check_chain, complaints
from dpipe.sources import one_each, one_uri, opened

PLUGINS = {
    ".czi": "bioio-czi",
    ".dv": "bioio-dv",
    ".r3d": "bioio-dv",
    ".lif": "bioio-lif",
    ".nd2": "bioio-nd2",
    ".sldy": "bioio-sldy",
    ".ome.tif": "bioio-ome-tiff",
    ".ome.tiff": "bioio-ome-tiff",
    ".tif": "bioio-tifffile",
    ".tiff": "bioio-tifffile",
    **dict.fromkeys((".ids", ".lsm", ".mvd2", ".nd", ".oib", ".oif"), "bioio-bioformats"),
    **dict.fromkeys((".oir", ".pic", ".stk", ".vsi", ".zvi"), "bioio-bioformats"),
}
"""The package that reads a suffix; Bio-Formats needs Java, and fetches itself when first used."""
BLOCK_BYTES = 64 << 20
_OF_CODE = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning)
_alone = threading.Lock()
"""Of the threads that open files: what Python does with warnings is one for all of them."""


find = one_each(PLUGINS)


def open_bioio(
    url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    scene: str | int | None = None,
    plugin: str | None = None,
) -> xr.Dataset:
    """Open a file of a microscope as a lazy movie; no pixel is read, no file stays open.

    Parameters
    ----------
    url : str, path, or sequence of one
        A file on disk, or on a web server, from where it is downloaded first.
    scene : str or int, optional
        Which image of a file that holds several: its name, or its number from 0.
    plugin : str, optional
        Package of the bioio plugin, for example ``"bioio-bioformats"``; by default that of the
        suffix in `PLUGINS`.

    Returns
    -------
    xarray.Dataset
        ``image(t, c, z, y, x)`` of the file's own dtype; samples of colour are channels.
        ``attrs["assumed"]`` lists what the plugin does not say: sizes and times are 1 then, and
        sizes without a unit are taken for micrometres. Times are multiples of the interval.
        ``attrs["notes"]`` quotes what its library warns of.

    Raises
    ------
    InputError
        A damaged file, one of several scenes, a suffix without a plugin; also on computing.
    StoreError
        The disk failed.
    UsageError
        bioio or the plugin is not installed (the text names the package), more than one file, one
        in a bucket.
    """
    uri = one_uri(url, "a movie")
    with _opened(uri, plugin, scene) as (image, warned):
        order, shape = image.dims.order, tuple(map(int, image.shape))
        if order not in ("TCZYX", "TCZYXS"):
            raise InputError(f"{_name(uri)}: dims {order}; expected TCZYX, or TCZYXS of colours")
        samples = shape[5] if len(shape) > 5 else 1
        sizes = (shape[0], shape[1] * samples, *shape[2:5])
        dtype, which = np.dtype(image.dtype), image.current_scene_index
        facts = _facts(image, samples)
        if notes := [f"{warning.library} warns: {warning.text[:300]}" for warning in warned]:
            facts["attrs"]["notes"] = notes
    planes = max(1, BLOCK_BYTES // (math.prod(sizes[3:]) * dtype.itemsize * samples))
    chunks = (1, samples, planes, *sizes[3:])
    read = partial(_read, uri=uri, plugin=plugin, scene=which, sizes=sizes, samples=samples)
    return schema.movie(compute.lazy(read, sizes, dtype, chunks), **facts)


def _name(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2]


def _facts(image: Any, samples: int) -> schema.MovieFacts:
    """Gather the facts of a movie that a plugin tells."""
    sizes, interval = _ome(image)
    pixel_sizes, units = image.physical_pixel_sizes, image.dimension_properties
    spacing, assumed = list[float](), list[str]()
    for dim in "ZYX":
        size, doubt = sizes.get(dim, Quantity())
        if dim not in sizes:
            size, doubt = _size(getattr(pixel_sizes, dim), getattr(units, dim).unit, assumed)
        if size is None and (dim != "Z" or image.dims.Z > 1):
            why = f": {doubt}" if doubt else ""
            assumed.append(f"the voxel size along {dim.lower()} is 1 micrometre{why}")
        spacing.append(size or 1.0)
    step = image.time_interval
    seconds = step.total_seconds() if isinstance(step, timedelta) else float(step or 0)
    seconds = interval.value or seconds
    if not (math.isfinite(seconds) and seconds > 0):
        seconds = 1.0
        if image.dims.T > 1:
            why = f": {interval.doubt}" if interval.doubt else ""
            assumed.append(f"the interval is 1 second{why}")
    names = [str(name) for name in image.channel_names or ()]
    channels = [f"{name} {s}" if samples > 1 else name for name in names for s in range(samples)]
    attrs: schema.Attributes = {"format": "bioio", "scene": str(image.current_scene)}
    attrs |= {"assumed": assumed} if assumed else {}
    facts: schema.MovieFacts = {"spacing": spacing, "interval": seconds, "attrs": attrs}
    if len(names) == image.dims.C:
        facts["channels"] = channels
    return facts


def _size(size: float | None, unit: Any, assumed: list[str]) -> Quantity:
    """Return a voxel size in micrometres, by the unit that a plugin gives with it."""
    if not size or not math.isfinite(size):
        return Quantity()
    if unit is None:
        line = "voxel sizes are in micrometres"
        assumed += [line] if line not in assumed else []
        return Quantity(abs(float(size)))
    try:
        scale = float((1.0 * unit).to("micrometer").magnitude)
    except (TypeError, ValueError, AttributeError):  # as pint's errors are
        return Quantity(None, f"it is {size:g} {str(unit)!r}, which is no length")
    return Quantity(abs(float(size)) * scale)


def _ome(image: Any) -> tuple[dict[str, Quantity], Quantity]:
    """Return voxel sizes and interval by the OME metadata of a plugin that has such, with units.

    Some plugins read them from there and leave the units behind.
    """
    try:
        pixels = image.ome_metadata.images[image.current_scene_index].pixels
        lengths = {d: getattr(pixels, f"physical_size_{d.lower()}") for d in "ZYX"}
        units = {d: getattr(pixels, f"physical_size_{d.lower()}_unit").value for d in "ZYX"}
        step, clock = pixels.time_increment, pixels.time_increment_unit.value
    except Exception:  # noqa: BLE001 - most plugins have none, and raise anything
        return {}, Quantity()
    sizes = {
        d: length(lengths[d], units[d], f"its size along {d.lower()}") for d in "ZYX" if lengths[d]
    }
    return sizes, duration(step, clock, "its TimeIncrement")


def _read(
    region: compute.Region,
    *,
    uri: str,
    plugin: str | None,
    scene: int,
    sizes: tuple[int, ...],
    samples: int,
) -> np.ndarray:
    """Read one region; runs in a task, so it opens the file itself."""
    with _opened(uri, plugin, scene) as (image, _):
        order = "TCSZYX" if samples > 1 else "TCZYX"
        pixels = image.get_image_dask_data(order).reshape(sizes)[region]
        values = np.asarray(pixels.compute(scheduler="synchronous"))
    if values.shape != tuple(part.stop - part.start for part in region):
        raise InputError(f"{_name(uri)}: damaged: {values.shape} read of the region {region}")
    return values


@contextmanager
def _opened(
    uri: str, plugin: str | None, scene: str | int | None
) -> Iterator[tuple[Any, list[Complaint]]]:
    """Open a scene; inside the ``with``, whatever a plugin raises becomes one line.

    What libraries log as an error becomes one too, and what tifffile warns of: it goes on with
    what it has. Other warnings are there to be noted.
    """
    name = _name(uri)
    try:
        with opened(uri) as file:
            if not isinstance(file, str):
                raise UsageError(f"{name}: bioio reads files on disk; run dpipe fetch first")
            with complaints(logging.WARNING, "") as heard:
                with _alone, warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    image = _image(file, name, plugin)
                    _choose(image, name, scene)
                heard.extend(_about_the_file(caught))
                yield image, heard
            for complaint in heard:
                if complaint.level >= logging.ERROR or complaint.library == "tifffile":
                    raise Flaw(f"damaged: {complaint.text[:300]}; fetch or export it again")
    except (DpipeError, MemoryError):
        raise
    except Flaw as flaw:
        raise InputError(f"{name}: {flaw}") from None
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{name}: no such file") from None
    except Exception as error:  # plugins raise anything on damaged files
        text = " ".join(str(error).split()).rpartition("Readers attempted: - ")[2]
        text = text.replace(uri, name)[:300] or type(error).__name__
        if isinstance(error, OSError) and error.errno is not None:
            raise StoreError(f"{name}: cannot be read: {text}") from error
        raise InputError(f"{name}: damaged, or of another format: {text}") from error


def _about_the_file(caught: Iterable[warnings.WarningMessage]) -> Iterator[Complaint]:
    """Yield the warnings that libraries give by Python's own means, but those on their code."""
    for warning in caught:
        if not issubclass(warning.category, _OF_CODE):
            library = warning.filename.rpartition("site-packages/")[2].partition("/")[0]
            yield Complaint(library, logging.WARNING, " ".join(str(warning.message).split()))


def _image(path: str, name: str, plugin: str | None) -> Any:
    """Open a file with the plugin of its suffix, or the one that was named."""
    if plugin is not None and not plugin.startswith("bioio-"):
        raise UsageError(f"plugin={plugin!r}; expected a package such as 'bioio-nd2'")
    suffixes = sorted((s for s in PLUGINS if name.lower().endswith(s)), key=len)
    if plugin is None and not suffixes:
        raise InputError(f"{name}: a suffix that no plugin is known for; say plugin=bioio-...")
    bioio = _module("bioio", "'dpipe[formats]'", name)
    if not logging.getLogger("bioio").handlers:  # else it repeats each failure on the terminal
        logging.getLogger("bioio").addHandler(logging.NullHandler())
    package = plugin or PLUGINS[suffixes[-1]]
    reader = _module(package, package, name).Reader
    with open(path, "rb") as file:  # a plugin would follow a chain of pages for ever
        check_chain(file)
    return bioio.BioImage(path, reader=reader)


def _module(package: str, requirement: str, name: str) -> Any:
    try:
        return importlib.import_module(package.replace("-", "_"))
    except ImportError as error:
        raise UsageError(
            f"{name}: needs {package}, which is not installed; pip install {requirement}"
        ) from error


def _choose(image: Any, name: str, scene: str | int | None) -> None:
    scenes = [str(title) for title in image.scenes]
    if scene is None and len(scenes) == 1:
        return
    valid = scene in scenes or (isinstance(scene, int) and 0 <= scene < len(scenes))
    if scene is None or not valid:
        listed = ", ".join(f"{i}: {title}" for i, title in enumerate(scenes))[:300]
        told = f"{len(scenes)} scenes" if scene is None else f"no scene {scene!r}"
        raise InputError(f"{name}: {told}; choose one with scene=. Found {listed}")
    image.set_scene(scene)
