"""Parts of several inputs that go together by stem.

It says which parts have no partner, so that nothing is left out in silence; it reads nothing.
"""

from collections.abc import Mapping, Sequence

from dpipe import schema


def unpaired(stems_by_dataset: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the parts of an operator's inputs that have no partner, a line each dataset.

    Parameters
    ----------
    stems_by_dataset : mapping of str to sequence of str
        By name of the dataset, the stems of its parts; only datasets joined part by part.

    Returns
    -------
    list of str
        A line for each dataset with such parts.

    Examples
    --------
    >>> unpaired({"leuko": ["Neu1", "Neu8"], "tracks": ["Neu1", "Neu_8"]})[1]
    "1 of 2 parts of tracks left out, without a partner in leuko: Neu_8 ('Neu8' there: rename one)"
    """
    lines = []
    for name, stems in stems_by_dataset.items():
        others = {
            other: set(partners) for other, partners in stems_by_dataset.items() if other != name
        }
        lone = [stem for stem in stems if not all(stem in partners for partners in others.values())]
        if not lone:
            continue
        lacking = [
            o for o, partners in others.items() if any(stem not in partners for stem in lone)
        ]
        alike = {schema.movie_key(stem): stem for partners in others.values() for stem in partners}
        words = []
        for stem in lone[:5]:
            meant = alike.get(schema.movie_key(stem), stem)
            words.append(stem if meant == stem else f"{stem} ({meant!r} there: rename one)")
        words += ["..."] if len(lone) > 5 else []
        lines.append(
            f"{len(lone)} of {len(stems)} parts of {name} left out, without a partner in "
            f"{', '.join(lacking)}: {', '.join(words)}"
        )
    return lines
