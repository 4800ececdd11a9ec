"""Names of parts: those of their files, and of their folders where files have one name.

It knows names and specs, and reads nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from dpipe.build.part_layout import base_of
from dpipe.build.part_spec import PartSpec
from dpipe.catalog import PartRef
from dpipe.errors import InputError, UsageError
from dpipe.storage import safe_key

_LONGEST = 255 - len("-0123456789ab.sources.json")
"""Bytes of a stem: what lies beside a part is a file, whose name has at most 255."""
_MOST_NAMED = 3

Named = list[tuple[str, PartSpec]]


def told_apart(specs: Named, refs: Mapping[str, PartRef]) -> tuple[Named, list[str]]:
    """Give parts of one name the names of their folders too.

    Parameters
    ----------
    specs : list of (str, PartSpec)
        Stem and spec of each part.
    refs : mapping of str to PartRef
        By stem, the parts of the newest version: one that is there already keeps its name.

    Returns
    -------
    tuple of (list of (str, PartSpec), list of str)
        The parts, no two of one name, and notes on those that were renamed.

    Raises
    ------
    UsageError
        Two have the same folders too.
    """
    counts = Counter(stem for stem, _ in specs)
    again = {stem for stem, count in counts.items() if count > 1}
    if not again:
        return specs, []
    groups: dict[str, list[PartSpec]] = {}
    for stem, spec in specs:
        if stem in again and not _keeps(refs.get(stem), spec):
            groups.setdefault(stem, []).append(spec)
    names = {
        id(spec): name
        for stem, group in groups.items()
        for spec, name in zip(group, _with_folders(stem, group), strict=True)
    }
    named = [(names.get(id(spec), stem), spec) for stem, spec in specs]
    twice = [stem for stem, count in Counter(stem for stem, _ in named).items() if count > 1]
    if twice:
        raise UsageError(
            f"two sources are called {twice[0]!r}, and their folders too; rename one, or put them "
            "into two datasets"
        )
    lines = [
        f"{counts[stem]} files are called {stem}: named by their folders, "
        f"{', '.join(names[id(spec)] for spec in group[:_MOST_NAMED])}"
        + (", ..." if len(group) > _MOST_NAMED else "")
        for stem, group in groups.items()
    ]
    return named, lines


def _keeps(ref: PartRef | None, spec: PartSpec) -> bool:
    return ref is not None and ref.fingerprint == replace(spec, attempt=ref.attempt).fingerprint


def _with_folders(stem: str, group: Sequence[PartSpec]) -> list[str]:
    """Return the stem behind the folders below the source, or as many above as tell them apart."""
    below = [_folders(str(spec.items[0]["path"]), stem) for spec in group]
    if len({tuple(folders) for folders in below}) == len(group) and all(below):
        return ["_".join([*folders, stem]) for folders in below]
    whole = [_folders(str(spec.items[0]["uri"]).rstrip("/"), stem) for spec in group]
    for count in range(1, max(map(len, whole)) + 1):
        names = ["_".join([*folders[-count:], stem]) for folders in whole]
        if len(set(names)) == len(names):
            return names
    return [stem] * len(group)


def _folders(path: str, stem: str) -> list[str]:
    names = [name for name in path.split("/")[:-1] if name]
    return names[:-1] if names[-1:] == [stem] else names


def wrong_name(dataset: str, stem: str, spec: PartSpec) -> str:
    """Return why a part cannot be called by its stem, "" if it can."""
    name = str(spec.items[0]["path"]) if spec.items else stem
    try:
        safe_key(base_of(dataset, stem, spec.fingerprint))
    except InputError as error:
        return f"{name!r}: {error}; rename the file"
    size = len(stem.encode(errors="replace"))
    if "/" in stem or size > _LONGEST:
        return f"{name!r}: a name of {size} bytes; at most {_LONGEST} can be kept; rename the file"
    return ""
