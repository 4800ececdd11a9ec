"""The recipe that a person means: a file, or that of an earlier run."""

import json
from collections.abc import Callable

from dpipe.build.part_plan import read_plan
from dpipe.build.recipe import Recipe, Step, load_recipe
from dpipe.errors import UsageError
from dpipe.storage import Objects


def chosen_recipe(
    path: str | None, retry: str | None, store: Callable[[], Objects]
) -> tuple[Recipe, frozenset[str]]:
    """Return the recipe that a person means, and the parts to try again.

    Parameters
    ----------
    path : str or None
        A recipe file.
    retry : str or None
        A run whose put-aside parts are wanted again; its own recipe is used without `path`.
    store : callable
        Opens the store.

    Returns
    -------
    tuple of (Recipe, frozenset of str)
        Recipe and stems.

    Raises
    ------
    UsageError
        Neither is given.
    NotFoundError
        There is no such run.
    """
    if retry is None:
        if path is None:
            raise UsageError("run: which recipe? Give a file, or --retry RUN")
        return load_recipe(path), frozenset()
    objects = store()
    plan = read_plan(objects, retry)
    aside = [json.loads(objects.read(e.key)) for e in objects.list(f"runs/{retry}/quarantine/")]
    stems = frozenset(entry["stem"] for entry in aside)
    if path is not None:
        return load_recipe(path), stems
    steps = tuple(Step(**{**s, "sources": tuple(s["sources"])}) for s in plan["steps"])
    return Recipe(plan["recipe"], steps, plan["study"] or {}, plan["digest"]), stems
