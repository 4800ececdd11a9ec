"""What lies beside a file whose name ends in a number: the next one of a series, perhaps."""

import os
import re

from dpipe.readers.tiff.names import SUFFIXES, tagged
from dpipe.sources import resolve_uri, stem_of

_LAST = re.compile(r"(\d+)[)\]]?$")


def numbered_neighbour(url: str) -> str:
    """Return the name of the file with the next number, if this one's is the first of a run.

    Only of files on disk, and only where the name does not say what it counts; else "".
    """
    path = resolve_uri(url)
    folder, name = os.path.split(path)
    stem = stem_of(name, SUFFIXES)
    match = _LAST.search(stem)
    if not path.startswith("/") or match is None or tagged(stem) is not None:
        return ""
    number, width = int(match[1]), len(match[1])
    before, after = (
        f"{stem[: match.start()]}{n:0{width}d}{name[match.end(1) :]}"
        for n in (number - 1, number + 1)
    )
    first = number == 0 or not os.path.exists(os.path.join(folder, before))
    return after if first and os.path.exists(os.path.join(folder, after)) else ""
