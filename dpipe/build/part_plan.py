"""A plan: the action for each part of each dataset, the parts a person chose, and its file."""

from dataclasses import dataclass, field
from typing import TypedDict, cast

from dpipe import catalog, sources
from dpipe.build.part_layout import LayoutOptions
from dpipe.build.part_spec import PartSpec
from dpipe.build.recipe import Step
from dpipe.errors import NotFoundError
from dpipe.storage import Json, Objects, documents

_FORM = documents.Form("dpipe-plan", 2, "plan", unsigned=1)
_MOST_NAMED = 5


class RunPlan(TypedDict):
    """The plan of a run as its folder holds it: the recipe's steps, and the parts of them all."""

    recipe: str
    digest: str
    study: Json | None
    steps: list[Json]
    parts: list[Json]


@dataclass(frozen=True)
class PartPlan:
    """The action for one part, its reason, and how large the work is.

    Attributes
    ----------
    dataset, stem, base : str
        Its dataset, name and key.
    origin : PartSpec
        How it is made.
    action : {"make", "reuse", "damaged", "aside"}
        Make it, use the one that is sealed, put it aside since it cannot be opened, or leave it
        put aside as it was before.
    why : str
        The reason, for people.
    ref : PartRef or None
        Of one that is reused, what the newest version says of it, if it names it.
    passing : bool
        Whether the next run looks at it again, though nothing of it changed.
    trace : str
        Where a reader failed in a way that nobody foresaw: a bug.
    partitions, task_memory, bytes_in, bytes_out, requests : int
        How large the work is; 0 where nothing is made.
    options : LayoutOptions
        How it is cut.
    items : int
        Source items, or 1 for a part made of parts.
    stamp : str
        Of source items on disk, what changes whenever anybody writes them.
    new : bool
        Whether nothing of it lies in the store, not even of a run that was cut short.
    """

    dataset: str
    stem: str
    base: str
    origin: PartSpec
    action: str
    why: str
    ref: catalog.PartRef | None = None
    passing: bool = False
    trace: str = ""
    partitions: int = 0
    task_memory: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    requests: int = 0
    options: LayoutOptions = field(default_factory=LayoutOptions)
    items: int = 1
    stamp: str = ""
    new: bool = False

    def to_dict(self) -> Json:
        """Return it as JSON holds it, for a plan in the store and for people."""
        left_out = ("origin", "ref", "trace", "passing")
        fields = {k: v for k, v in vars(self).items() if k not in left_out}
        return fields | {"origin": self.origin.to_dict()}


@dataclass(frozen=True)
class StepPlan:
    """The plans of one dataset's parts, and the parts that leave it or stay in it.

    Attributes
    ----------
    step : Step
        The step of the recipe.
    parts : tuple of PartPlan
        A plan for each part that was chosen.
    leaving : tuple of str
        Stems that the next version will not hold any more.
    unchanged : tuple of PartRef
        With ``only`` or ``sample``: the newest version's other parts.
    notes : tuple of str
        Parts of the inputs that are left out, a line for each input; folders of the sources in
        which there is nothing; parts that are named by their folders.
    parent : Version or None
        The newest version of the dataset.
    """

    step: Step
    parts: tuple[PartPlan, ...]
    leaving: tuple[str, ...] = ()
    unchanged: tuple[catalog.PartRef, ...] = ()
    notes: tuple[str, ...] = ()
    parent: catalog.Version | None = None

    def of(self, action: str) -> list[PartPlan]:
        """Return the parts with this action."""
        return [part for part in self.parts if part.action == action]


@dataclass(frozen=True)
class Choice:
    """Which parts a person wants."""

    only: str | None = None
    sample: int | None = None
    retry: frozenset[str] = frozenset()
    drop: bool = False

    @property
    def partial(self) -> bool:
        """Whether other parts stay as they are."""
        return self.only is not None or self.sample is not None or bool(self.retry)


def write_plan(objects: Objects, run: str, plan: RunPlan) -> None:
    """Write the plan of a run."""
    objects.put_if_absent(f"runs/{run}/plan.json", _FORM.write(plan))


def read_plan(objects: Objects, run: str) -> RunPlan:
    """Read the plan of a run.

    Raises
    ------
    NotFoundError
        There is no such run.
    DamageError, UsageError
        Its plan is damaged, or a newer dpipe wrote it.
    """
    key = f"runs/{run}/plan.json"
    try:
        data = objects.read(key)
    except NotFoundError:
        raise NotFoundError(f"{objects.url}: no run {run!r}; dpipe runs lists them") from None
    return cast("RunPlan", _FORM.read(data, f"{objects.url}/{key}"))


def odd_lines(odd: sources.Oddities) -> list[str]:
    """Say in which folders of the sources there is nothing, and which links lead nowhere."""
    lines = []
    for words, places, hint in (
        ("there is nothing in", odd.empty, "is a copy under way?"),
        ("nothing is at the end of the link", odd.dangling, "is a share not mounted?"),
    ):
        if places:
            more = f" and {len(places) - _MOST_NAMED} more" if len(places) > _MOST_NAMED else ""
            named = ", ".join(map(repr, sorted(places)[:_MOST_NAMED]))
            lines.append(f"{words} {named}{more}; {hint}")
    return lines
