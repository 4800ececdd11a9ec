"""OME-TIFF files: one a movie, one for its labels, written plane by plane.

This module knows OME-TIFF's dialect: five axes in the order t, c, z, y, x, physical sizes in
micrometres, the time of each frame at its planes, colours as signed 32-bit RGBA. OME-XML has no
place for the centre of the first voxel; it goes into a map annotation that dpipe's reader knows.
"""

import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tifffile
import xarray as xr

from dpipe import schema
from dpipe.compute import compute
from dpipe.errors import SchemaError, UsageError
from dpipe.writers.atomic import aside
from dpipe.writers.narrow import narrowed

COMPRESSIONS = {"none": None, "deflate": "zlib", "lzw": "lzw", "zstd": "zstd"}
_DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
_BIG = 2**32 - 2**26
"""From so many bytes on offsets need 64 bits; the rest is for the pages' directories."""


def write_tiff(
    parts: Mapping[str, xr.Dataset],
    to: str | os.PathLike[str],
    *,
    image: str = "image",
    compression: str = "deflate",
) -> list[str]:
    """Write movies, with their labels if they have any, as OME-TIFF.

    Parameters
    ----------
    parts : mapping of str to xarray.Dataset
        By stem; each holds an image, or ``labels(t, z, y, x)``, or both.
    to : str or path
        Folder; it is made if need be. A part becomes ``<stem>.ome.tif`` and
        ``<stem>_labels.ome.tif``, which must not be there yet.
    image : str
        Name of the variable; dims among t, c, z, y, x.
    compression : {"deflate", "none", "lzw", "zstd"}
        All without loss. ImageJ reads the first three.

    Returns
    -------
    list of str
        Paths of the files; they got their names when all were whole. Whole numbers of 64 bits
        become 32, where the values fit.

    Raises
    ------
    SchemaError
        A part has neither, or pixels that OME-TIFF cannot hold. Then no file is left.
    UsageError
        A file is there already, or an unknown compression.
    """
    if compression not in COMPRESSIONS:
        names = ", ".join(COMPRESSIONS)
        raise UsageError(f"compression={compression!r}; expected one of {names}")
    folder = Path(to).expanduser().absolute()
    movies: dict[str, tuple[xr.Dataset, xr.DataArray]] = {}
    for stem, ds in parts.items():
        planned = [(name, end) for name, end in ((image, ""), ("labels", "_labels")) if name in ds]
        if not planned:
            variables = ", ".join(map(str, ds.data_vars)) or "none"
            raise SchemaError(
                f"{stem}: neither {image!r} nor 'labels' to write. Found: {variables}"
            )
        for name, end in dict(planned).items():
            title = f"{stem}{end}"
            if title in movies:
                raise SchemaError(f"two files would be called {title}.ome.tif; rename a part")
            movies[title] = ds, narrowed(_five(ds, name), _DTYPES, f"{title}: OME-TIFF")
    targets = [folder / f"{title}.ome.tif" for title in movies]
    with aside(targets) as paths:
        for path, (title, (ds, movie)) in zip(paths, movies.items(), strict=True):
            _write(path, title, ds, movie, COMPRESSIONS[compression])
    return [str(target) for target in targets]


def _write(
    path: Path, title: str, ds: xr.Dataset, movie: xr.DataArray, compression: str | None
) -> None:
    with tifffile.TiffWriter(path, bigtiff=movie.nbytes > _BIG, ome=True) as file:
        file.write(
            _planes(movie),
            shape=movie.shape,
            dtype=movie.dtype,
            photometric="minisblack",
            compression=compression,
            predictor=compression is not None and movie.dtype.kind in "ui",
            maxworkers=1,
            metadata=_metadata(ds, movie, title),
        )


def _five(ds: xr.Dataset, name: str) -> xr.DataArray:
    """Return a variable with all five dims."""
    array = ds[name]
    if not {"y", "x"} <= set(array.dims) <= set(schema.MOVIE_DIMS):
        dims = ", ".join(map(str, array.dims))
        raise SchemaError(f"{name!r} has dims ({dims}); expected y, x and any of t, c, z")
    bare = array.drop_vars(list(array.coords))
    missing = [dim for dim in schema.MOVIE_DIMS if dim not in array.dims]
    return bare.expand_dims(missing).transpose(*schema.MOVIE_DIMS)


def _planes(movie: xr.DataArray) -> Iterator[np.ndarray]:
    """Yield the planes in order, computing no more at a time than whole blocks along t need."""
    steps = movie.chunks[0] if movie.chunks is not None else (1,) * movie.sizes["t"]
    start = 0
    for step in steps:
        frames = movie.isel(t=slice(start, start + step))
        start += step
        # blocks of several frames hold one channel each, and planes run through all channels
        for c in [slice(None)] if step > 1 else [slice(i, i + 1) for i in range(frames.sizes["c"])]:
            (block,) = compute(frames.isel(c=c).data)
            yield from np.asarray(block).reshape(-1, *block.shape[-2:])


def _metadata(ds: xr.Dataset, movie: xr.DataArray, title: str) -> dict[str, object]:
    """Return the metadata of a movie, by the words that tifffile makes OME-XML of."""
    metadata: dict[str, object] = {
        "axes": "TCZYX",
        "Name": title,
        "Creator": "dpipe",
        "UUID": str(uuid.uuid4()),
        "TimeIncrement": schema.spacing(ds, "t"),
        "TimeIncrementUnit": "s",
    }
    origin = {}
    for dim in schema.SPACE_DIMS:
        metadata[f"PhysicalSize{dim.upper()}"] = schema.spacing(ds, dim)
        metadata[f"PhysicalSize{dim.upper()}Unit"] = "\u00b5m"
        origin[dim] = repr(float(ds[dim].values[0]) if dim in ds.coords else 0.0)
    metadata["MapAnnotation"] = {"Namespace": "dpipe:origin", **origin}
    if "t" in ds.coords:
        planes = movie.sizes["c"] * movie.sizes["z"]
        times = [float(time) for time in ds["t"].values for _ in range(planes)]
        metadata["Plane"] = {"DeltaT": times, "DeltaTUnit": ["s"] * len(times)}
    if movie.sizes["c"] == ds.sizes.get("c"):
        channels: dict[str, object] = {"Name": [str(name) for name in ds["c"].values]}
        if "channel_color" in ds.coords:
            channels["Color"] = [_rgba(str(c)) for c in ds["channel_color"].values]
        metadata["Channel"] = channels
    if "recording_date" in ds.attrs:
        metadata["AcquisitionDate"] = str(ds.attrs["recording_date"]).replace(" ", "T")
    return metadata


def _rgba(color: str) -> int:
    """Return RRGGBB as the signed 32-bit RGBA of OME-XML."""
    value = int(color, 16) << 8 | 0xFF
    return value - 2**32 if value >= 2**31 else value
