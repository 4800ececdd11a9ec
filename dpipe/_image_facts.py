"""The facts of a movie that REMBI asks for: a private neighbour of ``dpipe.metadata``.

It knows coordinates and attributes of Datasets; it reads no pixel and no file.
"""

from collections.abc import Mapping
from typing import Any

import xarray as xr

from dpipe import schema

_TOLD = ("interval", "spacing", "channels", "channel_content", "recording_date")


def image_facts(ds: xr.Dataset) -> dict[str, Any]:
    """Return what REMBI asks about the images of a movie, as far as it is known.

    What a table of conditions says is known where the table was joined to the movie:
    ``dpipe.open(store, "leuko", "leuko-conditions")``. In REMBI's terms ``organ`` belongs to the
    biosample, ``stimulus`` to its extrinsic variables, ``channel_content``, ``fluorophores`` and
    ``markers`` to the channels of the specimen's preparation, and ``objective`` to the
    acquisition.

    Parameters
    ----------
    ds : xarray.Dataset
        A movie; its pixels are not read.

    Returns
    -------
    dict
        ``axes``, ``sizes`` by axis, ``dtype``, ``spacing`` (z, y, x in micrometres), ``interval``
        (seconds; the median where frames are not regular), ``duration`` (seconds from the first
        frame to the last), ``channels``. Where they are known: ``recording_date``, ``organ``,
        ``stimulus``, ``markers``, ``fluorophores``, ``objective`` (texts as in the table), and
        ``channel_content``, one text a channel, "" unknown.

    Raises
    ------
    SchemaError
        The Dataset is no movie.

    Examples
    --------
    >>> import numpy as np
    >>> movie = schema.movie(np.zeros((3, 1, 2, 4, 4), "u2"), spacing=(2, 0.5, 0.5), interval=30)
    >>> facts = image_facts(movie.assign_coords(organ="Spleen"))
    >>> facts["spacing"], facts["interval"], facts["duration"], facts["sizes"]["t"], facts["organ"]
    ([2.0, 0.5, 0.5], 30.0, 60.0, 3, 'Spleen')
    """
    image = schema.IMAGE.check(ds)
    times = ds["t"].values if "t" in ds.coords else range(image.sizes["t"])
    facts = {
        "axes": "".join(str(dim) for dim in image.dims),
        "sizes": {str(dim): int(n) for dim, n in image.sizes.items()},
        "dtype": str(image.dtype),
        "spacing": [schema.spacing(ds, dim) for dim in schema.SPACE_DIMS],
        "interval": schema.spacing(ds, "t"),
        "duration": float(times[-1] - times[0]) if len(times) else 0.0,
        "channels": [str(name) for name in ds["c"].values] if "c" in ds.coords else [],
    }
    date = str(ds.attrs.get("recording_date") or "")
    return facts | ({"recording_date": date} if date else {}) | _conditions(ds)


def _conditions(ds: xr.Dataset) -> dict[str, Any]:
    """Return what a row of conditions says, as far as it says anything."""
    known: dict[str, Any] = {}
    for variable in schema.CONDITIONS:
        text = ds.coords.get(variable.name)
        if text is not None and not text.dims and str(text.values):
            known[variable.name] = str(text.values)
    content = ds.coords.get(schema.CHANNEL_CONTENT.name)
    if content is not None and any(content.values.tolist()):
        known[schema.CHANNEL_CONTENT.name] = [str(text) for text in content.values]
    return known


def facts_line(facts: Mapping[str, Any]) -> str:
    """Return the facts of a movie as one line for people.

    Examples
    --------
    >>> facts_line({"interval": 30.0, "spacing": [2.0, 0.5, 0.5], "organ": "Spleen"})
    'interval 30 s, spacing 2 0.5 0.5 micrometer, organ Spleen'
    """
    words = []
    for key in (*_TOLD, *(variable.name for variable in schema.CONDITIONS)):
        value = facts.get(key)
        if key == "interval" and value is not None:
            words.append(f"interval {value:g} s")
        elif key == "spacing" and value is not None:
            words.append(f"spacing {' '.join(f'{step:g}' for step in value)} micrometer")
        elif value:
            several = [str(one) or "unknown" for one in value] if isinstance(value, list) else None
            words.append(f"{key.replace('_', ' ')} {' | '.join(several) if several else value}")
    return ", ".join(words)
