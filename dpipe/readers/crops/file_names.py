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
_HEALTHY = re.compile(
    r"((class|label)[ _-]?)?0|healthy|neg(atives?)?|controls?|alive|live|living|viable|normal|"
    r"surviv(ors?|ing)|(non?|not)[ _-]?(apoptotic|apoptosis|dying|dead|death|events?)",
    re.IGNORECASE,
)
_DYING = re.compile(
    r"((class|label)[ _-]?)?1|pos(itives?)?|apoptotic|apoptosis|dying|dead|(cell[ _-]?)?deaths?|"
    r"events?",
    re.IGNORECASE,
)


class Name(NamedTuple):
    """What the path of a file says: movie, event, one of `schema.CROP_KINDS`, class, track.

    Of which class it is may be said by nothing; then it is 1, and `known` is False.
    """

    movie: str
    event: str
    kind: str
    label: int
    track: int
    known: bool = True


def name_of(uri: str) -> Name | None:
    """Read a path; None where neither the file nor its folder is named like a crop."""
    above, _, _ = uri.rstrip("/").rpartition("/")
    folder, stem = above.rpartition("/")[2], stem_of(uri, SUFFIXES)
    if death := _DEATH.fullmatch(stem):
        label, known = _class(folder)
        track = int(death["track"])
        return Name(folder or "crops", f"cell_death_{track}", "event", label, track, known)
    found = _EVENT.fullmatch(stem)
    if not found and (found := _EVENT.fullmatch(folder)):
        folder = above.rpartition("/")[0].rpartition("/")[2]
    if not found:
        return None
    rest = found["rest"].lower()
    kind = "cell" if found["kind"].lower() == "negative" else "before" if "before" in rest else ""
    label, known = (0, True) if kind else _class(folder)
    movie = found["movie"].strip()
    event = f"{movie}_{found['kind'].lower()}{int(found['number'])}{rest}"
    return Name(movie, event, kind or ("event" if label else "cell"), label, -1, known)


def _class(folder: str) -> tuple[int, bool]:
    """Return the class that a folder stands for, and whether it says one."""
    healthy = bool(_HEALTHY.fullmatch(folder))
    return int(not healthy), healthy or bool(_DYING.fullmatch(folder))


def events(uris: Sequence[str]) -> tuple[list[Name], list[list[str]]]:
    """Say which files belong to which event; a folder's pages in the order of their numbers."""
    held: dict[tuple[str, str], list[str]] = {}
    names: dict[tuple[str, str], Name] = {}
    for uri in uris:
        stem = stem_of(uri, SUFFIXES)
        name = name_of(uri) or Name(stem, stem, "event", 1, -1, False)
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
