"""The facts of a movie that REMBI asks for, and those of a collection of pictures.

It knows coordinates and attributes of Datasets; it reads no pixel and no file.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, TypedDict, cast

import numpy as np
import xarray as xr

from dpipe import schema

_TOLD = ("interval", "spacing", "channels", "channel_content", "recording_date")
_COUNTED = ("pictures", "labels", "masks_missing", "duplicates", "put_aside")
_MOST_REASONS = 10


class ImageFacts(TypedDict, total=False):
    """The facts of the images of a movie; see `image_facts`. What is not known is absent."""

    axes: str
    sizes: dict[str, int]
    dtype: str
    spacing: list[float]
    interval: float
    duration: float
    channels: list[str]
    recording_date: str
    organ: str
    stimulus: str
    markers: str
    fluorophores: str
    objective: str
    channel_content: list[str]


class CollectionFacts(TypedDict, total=False):
    """The facts of a collection of pictures; see `collection_facts`."""

    pictures: int
    dtype: str
    channels: list[str]
    height: list[int]
    width: list[int]
    labels: int
    masks_missing: int
    duplicates: int
    put_aside: int
    reasons: dict[str, int]


def image_facts(ds: xr.Dataset) -> ImageFacts:
    """Return the facts of the images of a movie that REMBI asks for, as far as they are known.

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
    ImageFacts
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
    facts: ImageFacts = {
        "axes": "".join(str(dim) for dim in image.dims),
        "sizes": {str(dim): int(n) for dim, n in image.sizes.items()},
        "dtype": str(image.dtype),
        "spacing": [schema.spacing(ds, dim) for dim in schema.SPACE_DIMS],
        "interval": schema.spacing(ds, "t"),
        "duration": float(times[-1] - times[0]) if len(times) else 0.0,
        "channels": [str(name) for name in ds["c"].values] if "c" in ds.coords else [],
    }
    if date := str(ds.attrs.get("recording_date") or ""):
        facts["recording_date"] = date
    return facts | _conditions(ds)


def collection_facts(ds: xr.Dataset) -> CollectionFacts:
    """Return the facts of a packed collection of pictures; only its coordinates are read.

    Parameters
    ----------
    ds : xarray.Dataset
        Pictures over ``record``, as a reader gives them.

    Returns
    -------
    CollectionFacts
        ``pictures``, ``dtype``, ``channels``, ``height`` and ``width`` (least, median, largest),
        ``labels`` (how many have one), ``masks_missing``, ``duplicates``, ``put_aside`` and the
        most frequent ``reasons`` by number.
    """
    reasons = np.asarray(ds["put_aside"].values)
    sound = reasons == ""
    kinds = Counter(str(reason) for reason in reasons[~sound])
    facts: CollectionFacts = {
        "pictures": len(reasons),
        "dtype": str(ds["pixels"].dtype),
        "channels": [str(name) for name in ds["c"].values],
    }
    if sound.any():
        facts["height"] = _spread(np.asarray(ds["height"].values)[sound])
        facts["width"] = _spread(np.asarray(ds["width"].values)[sound])
    if "set" in ds:
        facts["labels"] = int((ds["set"].values == "labeled").sum())
    if "mask_dtype" in ds:
        facts["masks_missing"] = int((np.asarray(ds["mask_dtype"].values)[sound] == "").sum())
    return facts | {
        "duplicates": sum(n for reason, n in kinds.items() if reason.startswith("object ")),
        "put_aside": int((~sound).sum()),
        "reasons": dict(kinds.most_common(_MOST_REASONS)),
    }


def _spread(values: np.ndarray) -> list[int]:
    """Return the least, the median and the largest of some numbers."""
    return [int(values.min()), int(np.median(values)), int(values.max())]


def _conditions(ds: xr.Dataset) -> ImageFacts:
    """Return the conditions that a row of a table tells, as far as it tells any."""
    facts: schema.Attributes = {}
    for variable in schema.CONDITIONS:
        text = ds.coords.get(variable.name)
        if text is not None and not text.dims and str(text.values):
            facts[variable.name] = str(text.values)
    content = ds.coords.get(schema.CHANNEL_CONTENT.name)
    if content is not None and any(content.values.tolist()):
        facts[schema.CHANNEL_CONTENT.name] = [str(text) for text in content.values]
    return cast(ImageFacts, facts)


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
            several = (
                [str(item) or "unknown" for item in value] if isinstance(value, list) else None
            )
            words.append(f"{name} {' | '.join(several) if several else value}")
    return ", ".join(words)
