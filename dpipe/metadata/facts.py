"""The facts of a movie that REMBI asks for, and those of a collection of pictures.

They are told from a `Header`: names, sizes, attributes and coordinates. It reads no pixel and no
file, and needs no Dataset.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, cast

import numpy as np

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


@dataclass(frozen=True)
class ArrayHeader:
    """An array without what it holds, or a coordinate with its values.

    Attributes
    ----------
    dims : tuple of str
        Its dims.
    shape : tuple of int
        Its size along each.
    dtype : str
        Name of its dtype.
    attrs : mapping
        Its attributes.
    values : numpy.ndarray or None
        Those of a coordinate.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    attrs: Mapping[Any, Any]
    values: np.ndarray | None = None


@dataclass(frozen=True)
class Header:
    """What a part says of itself, without what it holds.

    Attributes
    ----------
    arrays : dict of str to ArrayHeader
        By name; coordinates have values.
    attrs : mapping
        Attributes of the part.
    """

    arrays: Mapping[str, ArrayHeader]
    attrs: Mapping[Any, Any]

    def values(self, name: str) -> np.ndarray | None:
        """Return the values of a coordinate, None without it."""
        array = self.arrays.get(name)
        return None if array is None else array.values


def facts_of(header: Header) -> ImageFacts | CollectionFacts | None:
    """Return the facts of a movie or of a collection of pictures, None for anything else."""
    if "image" in header.arrays:
        return movie_facts(header)
    if "pixels" in header.arrays and header.values("put_aside") is not None:
        return picture_facts(header)
    return None


def movie_facts(header: Header) -> ImageFacts:
    """Return the facts of a movie; see `image_facts`."""
    image = header.arrays["image"]
    sizes = dict(zip(image.dims, image.shape, strict=True))
    times, channels = header.values("t"), header.values("c")
    if times is None:
        times = np.arange(sizes["t"])
    facts: ImageFacts = {
        "axes": "".join(image.dims),
        "sizes": {dim: int(n) for dim, n in sizes.items()},
        "dtype": image.dtype,
        "spacing": [_step(header, dim) for dim in schema.SPACE_DIMS],
        "interval": _step(header, "t"),
        "duration": float(times[-1] - times[0]) if len(times) else 0.0,
        "channels": [] if channels is None else [str(name) for name in channels],
    }
    if date := str(header.attrs.get("recording_date") or ""):
        facts["recording_date"] = date
    return facts | _conditions(header)


def _step(header: Header, dim: str) -> float:
    coordinate = header.arrays.get(dim)
    if coordinate is None or coordinate.values is None:
        return 1.0
    return schema.step_of(coordinate.values, coordinate.attrs)


def picture_facts(header: Header) -> CollectionFacts:
    """Return the facts of a packed collection of pictures; see `collection_facts`."""
    columns = {name: array.values for name, array in header.arrays.items()}
    reasons = np.asarray(columns["put_aside"])
    sound = reasons == ""
    kinds = Counter(str(reason) for reason in reasons[~sound])
    channels = columns.get("c")
    facts: CollectionFacts = {
        "pictures": len(reasons),
        "dtype": header.arrays["pixels"].dtype,
        "channels": [] if channels is None else [str(name) for name in channels],
    }
    if sound.any():
        facts["height"] = _spread(np.asarray(columns["height"])[sound])
        facts["width"] = _spread(np.asarray(columns["width"])[sound])
    if (sets := columns.get("set")) is not None:
        facts["labels"] = int((sets == "labeled").sum())
    if (masks := columns.get("mask_dtype")) is not None:
        facts["masks_missing"] = int((np.asarray(masks)[sound] == "").sum())
    return facts | {
        "duplicates": sum(n for reason, n in kinds.items() if reason.startswith("object ")),
        "put_aside": int((~sound).sum()),
        "reasons": dict(kinds.most_common(_MOST_REASONS)),
    }


def _spread(values: np.ndarray) -> list[int]:
    """Return the least, the median and the largest of some numbers."""
    return [int(values.min()), int(np.median(values)), int(values.max())]


def _conditions(header: Header) -> ImageFacts:
    """Return the conditions that a row of a table tells, as far as it tells any."""
    facts: schema.Attributes = {}
    for variable in schema.CONDITIONS:
        text = header.values(variable.name)
        if text is not None and not text.shape and str(text):
            facts[variable.name] = str(text)
    content = header.values(schema.CHANNEL_CONTENT.name)
    if content is not None and any(content.tolist()):
        facts[schema.CHANNEL_CONTENT.name] = [str(text) for text in content]
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
