"""The facts of a movie that REMBI asks for, and those of a collection of pictures.

It knows coordinates and attributes of Datasets; it reads no pixel and no file.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema

_TOLD = ("interval", "spacing", "channels", "channel_content", "recording_date")
_COUNTED = ("pictures", "labels", "masks_missing", "duplicates", "put_aside")
_MOST_REASONS = 10


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


def collection_facts(ds: xr.Dataset) -> dict[str, Any]:
    """Return what a packed collection of pictures holds; only its coordinates are read.

    Parameters
    ----------
    ds : xarray.Dataset
        Pictures over ``record``, as a reader gives them.

    Returns
    -------
    dict
        ``pictures``, ``dtype``, ``channels``, ``height`` and ``width`` (least, median, largest),
        ``labels`` (how many have one), ``masks_missing``, ``duplicates``, ``put_aside`` and the
        most frequent ``reasons`` by number.
    """
    reasons = np.asarray(ds["put_aside"].values)
    sound = reasons == ""
    sizes = {name: np.asarray(ds[name].values)[sound] for name in ("height", "width")}
    masks = np.asarray(ds["mask_dtype"].values) if "mask_dtype" in ds else None
    kinds = Counter(str(reason) for reason in reasons[~sound])
    again = [n for reason, n in kinds.items() if reason.startswith("object ")]
    return {
        "pictures": len(reasons),
        "dtype": str(ds["pixels"].dtype),
        "channels": [str(name) for name in ds["c"].values],
        **{k: [int(v.min()), int(np.median(v)), int(v.max())] for k, v in sizes.items() if v.size},
        **({"labels": int((ds["set"].values == "labeled").sum())} if "set" in ds else {}),
        **({"masks_missing": int((masks[sound] == "").sum())} if masks is not None else {}),
        "duplicates": sum(again),
        "put_aside": int((~sound).sum()),
        "reasons": dict(kinds.most_common(_MOST_REASONS)),
    }


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
    """Return the facts of a movie or a collection as one line for people.

    Examples
    --------
    >>> facts_line({"interval": 30.0, "spacing": [2.0, 0.5, 0.5], "organ": "Spleen"})
    'interval 30 s, spacing 2 0.5 0.5 micrometer, organ Spleen'
    >>> facts_line({"pictures": 2000, "channels": ["BF", "CD3"], "height": [30, 41, 60]})
    '2,000 pictures, channels BF | CD3, height 30 to 60'
    """
    words = []
    conditions = (variable.name for variable in schema.CONDITIONS)
    for key in (*_COUNTED[:1], *_TOLD, *conditions, "height", "width", *_COUNTED[1:]):
        value, name = facts.get(key), key.replace("_", " ")
        if key == "interval" and value is not None:
            words.append(f"interval {value:g} s")
        elif key == "spacing" and value is not None:
            words.append(f"spacing {' '.join(f'{step:g}' for step in value)} micrometer")
        elif key in _COUNTED and value is not None:
            words.append(f"{value:,} {name}")
        elif key in ("height", "width") and value:
            words.append(f"{name} {value[0]} to {value[-1]}")
        elif value:
            several = [str(one) or "unknown" for one in value] if isinstance(value, list) else None
            words.append(f"{name} {' | '.join(several) if several else value}")
    return ", ".join(words)
