"""How many cells a frame shows, how far apart they are, and how many of them stand in clusters.

It knows the rules of the Leuko-Death study for counts, distances and clusters, and where its
paper and its published code differ. It does not find single cells for anyone: these are figures
of whole frames. Segmentation is host only: a frame is filtered where it is, then brought back.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy.spatial import cKDTree

from dpipe import schema
from dpipe.compute import map_frames
from dpipe.errors import UsageError
from dpipe.operators.frames.find_cells import find_cells, larger, limits
from dpipe.operators.parameters import check_number, check_whole

_THREE = 2
"""Others near a cell that stands in a cluster of at least three."""


def cell_density(
    ds: xr.Dataset,
    *,
    image: str = "image",
    opened_area: Sequence[float] = (30, 200),
    watershed_area: Sequence[float] = (10, 300),
    largest_gap: float = 50,
    opened_only: Sequence[str] = (),
    most: int = 1500,
    neighbours: int = 3,
    radius: float = 20.0,
    equalise: bool = True,
    round_threshold: bool = True,
) -> xr.Dataset:
    """Count the cells of every frame and channel, and measure how they crowd.

    All is measured on the maximum over z of the planes, each divided by its own maximum, times
    255, rounded to 8 bits; on that a Wiener filter of 3 x 3 and an adaptive equalisation of the
    histogram. Two sets of blobs, neighbours by sides and corners, compete [1]_:

    - *opened*: what exceeds 1.2 times Otsu's threshold, opened with a disk of radius 2, without
      objects of fewer than 10 pixels; blobs of `opened_area`.
    - *watershed*: basins of the complement, flooded from the background of that mask and from
      the maxima that stand at least 5 grey values out, closed with a disk of radius 1; lines
      apart, without the basin of the first pixel; blobs of `watershed_area`.

    The count is the mean of the two if they differ by at most `largest_gap`, else that of
    *opened*. Centroids are those of the larger set.

    Parameters
    ----------
    ds : xarray.Dataset
        A movie.
    image : str
        Name of the variable with dims (t, c, z, y, x).
    opened_area : sequence of 2 floats
        Least and largest area of a cell in *opened*, in pixels, both included. The published
        limits know no micrometres: other pixels need others.
    watershed_area : sequence of 2 floats
        The same for *watershed*.
    largest_gap : float
        Largest difference of the two counts at which their mean is taken.
    opened_only : sequence of str
        Channels whose count is always that of *opened*. The published code has one, its third.
    most : int
        Blobs of each set beyond this number, column by column, are left out.
    neighbours : int
        A cell stands in a cluster with at least so many others within `radius`: 3 in the paper's
        text, 4 in its code. The caption of its Figure 3E says a cluster of at least three cells,
        which are 2 others: that is ``cell_clustered_three``.
    radius : float
        Micrometres. Only the code gives one.
    equalise : bool
        False leaves the equalisation out.
    round_threshold : bool
        1.2 times the threshold is rounded to a whole grey value, halves up, as MATLAB's uint8
        does. False compares with the exact product.

    Returns
    -------
    xarray.Dataset
        Lazy ``cell_count``, ``cell_distance`` (mean distance to the nearest other cell,
        micrometres), ``cell_clustered`` and ``cell_clustered_three`` (0 to 1) over (t, c);
        ``attrs["spacing"]`` is the voxel size (z, y, x) in micrometres.

    Raises
    ------
    SchemaError
        The variable is missing or is no movie.
    UsageError
        A parameter that cannot work.

    Notes
    -----
    A frame of one grey value has 0 cells. Without cells there is no distance and no share: NaN,
    where the code has 0 and then leaves it out of means. A lone cell has distance NaN (9,999,999
    in the code) and share 0. A blob that is flat up to its border holds no maximum of its own, so
    the watershed has none there, and the mean counts it half. Cells whose
    centroids coincide, as rings do, are no neighbours. No number is rounded; the code floors a
    movie's count.

    MATLAB's ``adapthisteq`` has no equal outside it: ours is scikit-image's
    ``equalize_adapthist`` (tiles of an eighth of the picture, clip limit 0.01, 256 bins), rounded
    to 8 bits. Lines of a watershed depend on the order in which equals are taken: MATLAB, Octave
    and scikit-image differ there by some pixels, and their counts by fewer than one in a hundred.

    References
    ----------
    .. [1] Leuko-Death, Methods and Figure 3, and its published code.

    Examples
    --------
    >>> y, x = np.mgrid[:96, :96]
    >>> cells = [200 - 3 * ((y - 24) ** 2 + (x - at) ** 2) for at in (20, 40, 76)]
    >>> pixels = np.maximum(20, np.max(cells, axis=0))[None, None, None].astype("uint8")
    >>> found = cell_density(schema.movie(pixels, spacing=(2.0, 0.5, 0.5)), equalise=False)
    >>> found["cell_count"].values.item(), round(found["cell_distance"].values.item(), 2)
    (3.0, 12.67)
    """
    frames = schema.IMAGE.check(ds, image)
    for name, whole in (("most", most), ("neighbours", neighbours)):
        check_whole(name, whole, 1)
    for name, value in (("largest_gap", largest_gap), ("radius", radius)):
        check_number(name, value, 0, finite=False)
    exact = _channels(frames, opened_only)
    count, opened_count, distance, clustered, three = map_frames(
        _cell_density,
        frames,
        outputs=5,
        dtypes=["f8"] * 5,
        areas=(
            limits("opened_area", opened_area),
            limits("watershed_area", watershed_area),
        ),
        largest_gap=float(largest_gap),
        most=int(most),
        neighbours=int(neighbours),
        radius=float(radius),
        pixel=(schema.spacing(ds, "y"), schema.spacing(ds, "x")),
        equalise=bool(equalise),
        round_threshold=bool(round_threshold),
    )
    if exact.any():
        count = xr.where(xr.DataArray(exact, dims="c"), opened_count, count)
    rule = {"radius": float(radius)}
    return xr.Dataset(
        {
            **schema.CELL_COUNT.wrap(count),
            **schema.CELL_DISTANCE.wrap(distance),
            **schema.CELL_CLUSTERED.wrap(clustered, neighbours=int(neighbours), **rule),
            **schema.CELL_CLUSTERED_THREE.wrap(three, neighbours=_THREE, **rule),
        },
        attrs={"spacing": [schema.spacing(ds, dim) for dim in schema.SPACE_DIMS]},
    )


def _channels(frames: xr.DataArray, chosen: Sequence[str]) -> np.ndarray:
    """Return for each channel whether it is among the names."""
    names = [str(name) for name in frames["c"].values]
    if isinstance(chosen, str) or not set(chosen) <= set(names):
        raise UsageError(f"opened_only: found {chosen!r}; expected a list of {', '.join(names)}")
    return np.isin(names, list(chosen))


def _cell_density(
    volume: Any,
    *,
    areas: tuple[tuple[float, float], tuple[float, float]],
    largest_gap: float,
    most: int,
    neighbours: int,
    radius: float,
    pixel: tuple[float, float],
    equalise: bool,
    round_threshold: bool,
) -> list[float]:
    """Measure one volume (z, y, x): count, that of *opened*, distance, both shares in clusters."""
    opened, flooded = find_cells(
        volume, areas=areas, most=most, equalise=equalise, round_threshold=round_threshold
    )
    close = abs(len(opened) - len(flooded)) <= largest_gap
    count = (len(opened) + len(flooded)) / 2 if close else len(opened)
    cells = larger(opened, flooded) * pixel
    distances, others = crowding(cells, radius)
    near = distances[np.isfinite(distances)]
    return [
        count,
        len(opened),
        near.mean() if near.size else math.nan,
        (others >= neighbours).mean() if len(cells) else math.nan,
        (others >= _THREE).mean() if len(cells) else math.nan,
    ]


def crowding(cells: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Look from each cell at the others, those in the same place left out.

    Parameters
    ----------
    cells : array, shape (n, 2)
        Places, in micrometres.
    radius : float
        Micrometres; a cell just so far away counts.

    Returns
    -------
    distances : array of float, shape (n,)
        To the nearest other; infinite where there is none.
    others : array of int, shape (n,)
        How many are within the radius.
    """
    if not len(cells):
        return np.empty(0), np.empty(0, int)
    places, which, same = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    tree = cKDTree(places)
    distances, _ = tree.query(places, k=[2])
    within = cKDTree(cells).query_ball_point(places, radius, return_length=True)
    return distances[which, 0], (within - same)[which]
