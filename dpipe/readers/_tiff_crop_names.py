"""What names of files and folders say of a crop: movie, event, label.

Knows the names of the Leuko-Death study and those that `track_crops` gives; opens nothing.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from dpipe.errors import InputError
from dpipe.sources import natural_key, stem_of

SUFFIXES = (".ome.tiff", ".ome.tif", ".tiff", ".tif")
_EVENT = re.compile(
    r"(?P<movie>.+?)[ _-]*(?P<kind>cell|negative)[ _-]?(?P<number>\d+)"
    r"(?P<rest>(_frame\d+)?(_before)?)",
    re.IGNORECASE,
)
_DEATH = re.compile(r"cell_death_(?P<track>\d+)", re.IGNORECASE)
_HEALTHY = re.compile(r"0|healthy|negatives?|controls?|non[ _-]?apoptotic", re.IGNORECASE)


class Name(NamedTuple):
    """What the path of a file says: movie, event, one of `schema.CROP_KINDS`, class, track."""

    movie: str
    event: str
    kind: str
    label: int
    track: int


def name_of(uri: str) -> Name | None:
    """Read a path; None where neither the file nor its folder is named like a crop."""
    above, _, _ = uri.rstrip("/").rpartition("/")
    folder, stem = above.rpartition("/")[2], stem_of(uri, SUFFIXES)
    if death := _DEATH.fullmatch(stem):
        label = int(not _HEALTHY.fullmatch(folder))
        track = int(death["track"])
        return Name(folder or "crops", f"cell_death_{track}", "event", label, track)
    found = _EVENT.fullmatch(stem)
    if not found and (found := _EVENT.fullmatch(folder)):
        folder = above.rpartition("/")[0].rpartition("/")[2]
    if not found:
        return None
    rest = found["rest"].lower()
    kind = "cell" if found["kind"].lower() == "negative" else "before" if "before" in rest else ""
    label = 0 if kind or _HEALTHY.fullmatch(folder) else 1
    movie = found["movie"].strip()
    event = f"{movie}_{found['kind'].lower()}{int(found['number'])}{rest}"
    return Name(movie, event, kind or ("event" if label else "cell"), label, -1)


def events(uris: Sequence[str]) -> tuple[list[Name], list[list[str]]]:
    """Say which files belong to which event; a folder's pages in the order of their numbers."""
    held: dict[tuple[str, str], list[str]] = {}
    names: dict[tuple[str, str], Name] = {}
    for uri in uris:
        stem = stem_of(uri, SUFFIXES)
        name = name_of(uri) or Name(stem, stem, "event", 1, -1)
        folder = uri.rpartition("/")[0]
        page = not (_EVENT.fullmatch(stem) or _DEATH.fullmatch(stem)) and name.event != stem
        key = (name.event, folder if page else uri)
        held.setdefault(key, []).append(uri)
        names[key] = name
    events = [key[0] for key in held]
    for event in events:
        if events.count(event) > 1:
            first, other = [key[1] for key in held if key[0] == event][:2]
            raise InputError(
                f"{other.rpartition('/')[2]}: {event} is also in {first}; expected once"
            )
    return list(names.values()), [sorted(own, key=natural_key) for own in held.values()]
