"""Maximum projections: a movie seen from above.

It knows the plain projection and the one that the Leuko-Death study works on. It does not know
what is done with them.
"""

from typing import Any, Literal

import xarray as xr

from dpipe import schema
from dpipe.compute import map_chunks
from dpipe.errors import UsageError
from dpipe.operators.frames.projection_kernel import normalised_projection


def projections(
    ds: xr.Dataset, *, image: str = "image", normalise: Literal["none", "plane"] = "none"
) -> xr.Dataset:
    """Take the maximum over z of every frame and channel.

    Parameters
    ----------
    ds : xarray.Dataset
        A movie.
    image : str
        Name of the variable with dims (t, c, z, y, x).
    normalise : {"none", "plane"}
        ``"none"``: grey values and dtype stay; NaN spreads. ``"plane"``: each plane is divided by
        its own maximum first and the result times 255 rounded to uint8, halves up, as in the
        published code of the Leuko-Death study [1]_; voxels below 0 or not finite count as 0,
        and a plane without a value above 0 adds nothing.

    Returns
    -------
    xarray.Dataset
        Lazy ``projection`` over (t, c, y, x).

    Raises
    ------
    SchemaError
        The variable is missing or is no movie.
    UsageError
        An unknown `normalise`.

    References
    ----------
    .. [1] Leuko-Death, Methods, "Computation of quality metrics", and its code.

    Examples
    --------
    >>> import numpy as np
    >>> movie = schema.movie(np.array([[[[[2, 4]], [[10, 5]]]]], dtype="uint16"))
    >>> projections(movie)["projection"].values.tolist()
    [[[[10, 5]]]]
    >>> projections(movie, normalise="plane")["projection"].values.tolist()
    [[[[255, 255]]]]
    """
    frames = schema.IMAGE.check(ds, image)
    if normalise == "none":
        projected = frames.max("z", skipna=False)
    elif normalise == "plane":
        sizes = {"y": frames.sizes["y"], "x": frames.sizes["x"]}
        projected = map_chunks(_project, frames, sizes=sizes, dtype="u1")
    else:
        raise UsageError(f"normalise: found {normalise!r}; expected 'none' or 'plane'")
    return xr.Dataset(schema.PROJECTION.wrap(projected))


def _project(volume: Any) -> Any:
    return normalised_projection(volume)[0]
