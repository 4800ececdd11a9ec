"""Splits: which movies a model learns from, which it is chosen by, and which it is tested on.

It knows that pictures of one movie are alike, so a movie goes whole, and movies of one origin go
together if told so. It does not know what the pictures show.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.operators.parameters import check_whole


def split_movies(
    tree: xr.DataTree,
    *,
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    by: str | None = None,
    exact: bool = False,
) -> xr.Dataset:
    """Split movies into train, validation and test.

    The name of a movie and the seed are hashed to a place between 0 and 1, and the place falls
    into one of three stretches as long as the fractions. So the split of a movie depends on
    nothing but its name: a movie that is added moves no other, and the sizes are near the
    fractions, as chance has it; few movies may leave a split empty.

    Parameters
    ----------
    tree : xarray.DataTree
        One child per movie; only names are used.
    fractions : sequence of 3 floats
        Shares of train, validation and test; their sum is 1.
    seed : int
        Another seed is another split.
    by : str, optional
        Attribute, or variable of one value, that every movie has: movies with the same value,
        for example of one animal or ``recording_date``, stay together.
    exact : bool
        Put the movies in the order of their places and cut that by the fractions, so that the
        sizes are right to half a movie. A movie that is added may then move others.

    Returns
    -------
    xarray.Dataset
        ``split`` over ``movie``: ``"train"``, ``"validation"`` or ``"test"``; computed at once.
        ``attrs["notes"]`` names a split without movies.

    Raises
    ------
    SchemaError
        No child, or one without `by`; the text names it.
    UsageError
        `fractions` are not three shares of 1, or `seed` is no whole number.

    Examples
    --------
    >>> tree = xr.DataTree.from_dict({f"/Neu{i}": xr.Dataset() for i in range(20)})
    >>> split_movies(tree, exact=True)["split"].values.tolist().count("train")
    14
    """
    limits = np.cumsum(_shares(fractions))
    check_whole("seed", seed)
    if not tree.children:
        raise SchemaError("a split needs one child per movie; the tree has none")
    stems = [str(stem) for stem in tree.children]
    groups = [_group(stem, child.to_dataset(), by) for stem, child in tree.children.items()]
    sizes = Counter(groups)
    places = {group: _place(group, seed) for group in sizes}
    if exact:
        before = 0
        for group in sorted(sizes, key=lambda group: places[group]):
            places[group] = (before + sizes[group] / 2) / len(stems)  # the group's middle
            before += sizes[group]
    chosen = {group: int(np.searchsorted(limits, p, "right")) for group, p in places.items()}
    splits = np.asarray([schema.SPLITS[chosen[group]] for group in groups], dtype=str)
    empty = [name for name in schema.SPLITS if name not in splits]
    exactly = "" if exact else "; exact=true makes exact sizes"
    notes = [f"no movie in {', '.join(empty)}: there are {len(stems)} movies{exactly}"]
    return xr.Dataset(
        schema.SPLIT.wrap(xr.DataArray(splits, dims="movie")),
        coords={"movie": ("movie", np.asarray(stems, dtype=str))},
        attrs={"notes": notes} if empty else {},
    )


def _shares(fractions: Sequence[float]) -> np.ndarray:
    try:
        shares = np.asarray(fractions, dtype=np.float64)
    except (TypeError, ValueError):
        shares = np.empty(0)
    if shares.shape != (3,) or not (shares >= 0).all() or not math.isclose(shares.sum(), 1):
        raise UsageError(
            f"fractions: found {fractions!r}; expected shares of train, validation and test, "
            "whose sum is 1, for example [0.7, 0.15, 0.15]"
        )
    return shares / shares.sum()


def _group(stem: str, ds: xr.Dataset, by: str | None) -> str:
    """Return the group of a movie, all of which come into one split."""
    if by is None:
        return stem
    if by in ds.attrs:
        return str(ds.attrs[by])
    if by in ds.variables and ds[by].size == 1:
        return str(ds[by].values.item())
    names = [*ds.attrs, *(name for name, v in ds.variables.items() if v.size == 1)]
    raise SchemaError(
        f"{stem}: no {by!r} to keep movies together by. Found: "
        f"{', '.join(sorted(map(str, names))) or 'none'}"
    )


def _place(name: str, seed: int) -> float:
    """Hash a name to a place in [0, 1)."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48
