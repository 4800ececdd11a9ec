"""Records whose pictures were put aside: what tables for people and models leave out.

Such a record holds NaN, or zeros, which a model would take for a dark cell.
"""

import warnings
from collections.abc import Mapping

import xarray as xr

from dpipe.errors import UsageError
from dpipe.operators import without_aside

_NAMED = 5


def sound_parts(parts: Mapping[str, xr.Dataset], put_aside: bool) -> dict[str, xr.Dataset]:
    """Leave out records that were put aside, unless `put_aside`; a warning counts them."""
    if type(put_aside) is not bool:
        raise UsageError(f"put_aside: found {put_aside!r}; expected true or false")
    if put_aside:
        return dict(parts)
    sound = {stem: without_aside(ds) for stem, ds in parts.items()}
    if count := sum(aside for _, aside in sound.values()):
        total = sum(ds.sizes["record"] for ds in parts.values() if "record" in ds.dims)
        named = [stem for stem, (_, aside) in sound.items() if aside]
        listed = ", ".join([*named[:_NAMED], *["..."] * (len(named) > _NAMED)])
        warnings.warn(
            f"{count} of {total} records left out: their pictures were put aside ({listed}); "
            "put_aside=true writes them too",
            UserWarning,
            stacklevel=4,
        )
    return {stem: ds for stem, (ds, _) in sound.items()}
