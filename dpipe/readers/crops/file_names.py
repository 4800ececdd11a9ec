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
    """The path of a crop, read: movie, event, one of `schema.CROP_KINDS`, class, track.

    Where nothing says the class, it is 1, and `labelled` is False.
    """

    movie: str
    event: str
    kind: str
    label: int
    track: int
    labelled: bool = True


def name_of(uri: str) -> Name | None:
    """Read a path; None where neither the file nor its folder is named like a crop."""
    above, _, _ = uri.rstrip("/").rpartition("/")
    folder, stem = above.rpartition("/")[2], stem_of(uri, SUFFIXES)
    if death := _DEATH.fullmatch(stem):
        label, labelled = _class(folder)
        track = int(death["track"])
        return Name(folder or "crops", f"cell_death_{track}", "event", label, track, labelled)
    match = _EVENT.fullmatch(stem)
    if not match and (match := _EVENT.fullmatch(folder)):
        folder = above.rpartition("/")[0].rpartition("/")[2]
    if not match:
        return None
    ending = match["rest"].lower()
    kind = "cell" if match["kind"].lower() == "negative" else "before" if "before" in ending else ""
    label, labelled = (0, True) if kind else _class(folder)
    movie = match["movie"].strip()
    event = f"{movie}_{match['kind'].lower()}{int(match['number'])}{ending}"
    return Name(movie, event, kind or ("event" if label else "cell"), label, -1, labelled)


def _class(folder: str) -> tuple[int, bool]:
    """Return the class that a folder stands for, and whether it says one."""
    healthy = bool(_HEALTHY.fullmatch(folder))
    return int(not healthy), healthy or bool(_DYING.fullmatch(folder))


def events(uris: Sequence[str]) -> tuple[list[Name], list[list[str]]]:
    """Return the names of events and the files of each; pages in the order of their numbers."""
    uris_of: dict[tuple[str, str], list[str]] = {}
    names: dict[tuple[str, str], Name] = {}
    for uri in uris:
        stem = stem_of(uri, SUFFIXES)
        name = name_of(uri) or Name(stem, stem, "event", 1, -1, False)
        folder = uri.rpartition("/")[0]
        page = not (_EVENT.fullmatch(stem) or _DEATH.fullmatch(stem)) and name.event != stem
        key = (name.event, folder if page else uri)
        uris_of.setdefault(key, []).append(uri)
        names[key] = name
    events = [key[0] for key in uris_of]
    for event in events:
        if events.count(event) > 1:
            first, other = [key[1] for key in uris_of if key[0] == event][:2]
            raise InputError(
                f"{other.rpartition('/')[2]}: {event} is also in {first}; expected once"
            )
    return list(names.values()), [sorted(files, key=natural_key) for files in uris_of.values()]
