"""What a run would do, and why: make, reuse or refuse each part, before anything is written.

Fingerprints decide: a part whose seal is there is reused, one that is not is made. The plan also
says how large the work is (partitions, bytes, memory of one task, S3 requests) and refuses what
would not fit or would make parts vanish.

This module opens sources and seals; it writes nothing.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import xarray as xr

from dpipe import _increments, _pairs, _sizes, blocks, catalog, operators, origin, readers, seal
from dpipe.config import Settings
from dpipe.errors import InputError, RefusedError, SchemaError, UsageError, unknown
from dpipe.objects import Objects
from dpipe.origin import Origin
from dpipe.outline import base_of, lay_out
from dpipe.recipe import Recipe, Step

_MOST_NAMED = 5


@dataclass(frozen=True)
class PartPlan:
    """What will be done about one part.

    Attributes
    ----------
    dataset, stem, base : str
        Its dataset, name and key.
    origin : Origin
        How it is made.
    action : {"make", "reuse", "damaged", "aside"}
        Make it, use the one that is sealed, put it aside since it cannot be opened, or leave it
        put aside as it was before.
    why : str
        The reason, for people.
    partitions, task_memory, bytes_in, bytes_out, requests : int
        How large the work is; 0 where nothing is made.
    options : dict
        How it is cut.
    items : int
        Source items, or 1 for a part made of parts.
    """

    dataset: str
    stem: str
    base: str
    origin: Origin
    action: str
    why: str
    partitions: int = 0
    task_memory: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    requests: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    items: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {k: v for k, v in vars(self).items() if k != "origin"} | {
            "origin": self.origin.to_dict()
        }


@dataclass(frozen=True)
class StepPlan:
    """What will be done about one dataset.

    Attributes
    ----------
    step : Step
        The step of the recipe.
    parts : tuple of PartPlan
        What to do about each part that is wanted.
    leaving : tuple of str
        Stems that the next version will not hold any more.
    kept : tuple of PartRef
        With ``only`` or ``sample``: the newest version's other parts, which stay as they are.
    notes : tuple of str
        Parts of the inputs that are left out, a line for each input; folders of the sources in
        which there is nothing.
    """

    step: Step
    parts: tuple[PartPlan, ...]
    leaving: tuple[str, ...] = ()
    kept: tuple[catalog.PartRef, ...] = ()
    notes: tuple[str, ...] = ()

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


class Planner:
    """Plans the steps of a recipe, one after the other.

    Parameters
    ----------
    objects : Objects
        The store.
    settings : Settings
        Memory of a worker and size of a partition.
    choice : Choice
        Which parts are wanted.
    """

    def __init__(self, objects: Objects, settings: Settings, choice: Choice | None = None) -> None:
        self.objects, self.settings, self.choice = objects, settings, choice or Choice()
        self._lazy: dict[str, xr.Dataset] = {}
        self._sealed: dict[str, xr.Dataset] = {}

    def recipe(self, recipe: Recipe) -> list[StepPlan]:
        """Plan all steps, as if every part that can be made will be.

        Parameters
        ----------
        recipe : Recipe
            A checked recipe.

        Returns
        -------
        list of StepPlan
            In the order of the steps.
        """
        made: dict[str, list[catalog.PartRef]] = {}
        plans = []
        for step in recipe.steps:
            plan = self.step(step, made)
            plans.append(plan)
            made[step.name] = [
                catalog.PartRef(part.stem, part.origin.fingerprint, part.base)
                for part in plan.parts
                if part.action in ("make", "reuse")
            ] + list(plan.kept)
        return plans

    def step(self, step: Step, made: Mapping[str, Sequence[catalog.PartRef]]) -> StepPlan:
        """Plan one step.

        Parameters
        ----------
        step : Step
            The step.
        made : mapping of str to sequence of PartRef
            The parts of the recipe's earlier datasets; others are looked up in the store.

        Returns
        -------
        StepPlan
            What to do about each part.

        Raises
        ------
        RefusedError
            A task would not fit into a worker, or a part would leave without ``drop``.
        """
        parent = catalog.newest(self.objects, step.name)
        if step.reader:
            origins, notes = self._sources(step, parent)
        else:
            origins, notes = list(self._operands(step, made)), self._unpaired(step, made)
        stems = [stem for stem, _ in origins]
        if notes and not stems and not made and not self.choice.partial:
            raise UsageError(f"{step.name}: nothing to make; {'; '.join(notes)}")
        if repeated := sorted(stem for stem, count in Counter(stems).items() if count > 1):
            raise UsageError(
                f"{step.name}: two sources are called {repeated[0]!r}; "
                "rename one, or put them into two datasets"
            )
        before = parent.put_aside if parent else ()
        aside = {entry.get("fingerprint") for entry in before if entry.get("whole", True)}
        chosen = [
            self._part(step, stem, found, aside) for stem, found in self._wanted(step, origins)
        ]
        leaving = self._leaving(step, parent, stems)
        wanted = {part.stem for part in chosen}
        others = parent.parts if parent and self.choice.partial else ()
        kept = tuple(ref for ref in others if ref.stem not in wanted)
        return StepPlan(step, tuple(chosen), leaving, kept, tuple(notes))

    def _sources(
        self, step: Step, parent: catalog.Version | None
    ) -> tuple[list[tuple[str, Origin]], list[str]]:
        """Return the parts that a reader finds, and what is to be said of the sources."""
        reader, empty = readers.resolve(step.reader), set[str]()
        found = list(reader.parts(step.sources, empty))
        if not found:
            raise UsageError(
                f"{step.name}: reader {step.reader} finds nothing in {', '.join(step.sources)}, "
                "where there are files; check the source and the reader"
            )
        made = partial(
            origin.from_items,
            step.reader,
            options=step.params,
            said=step.said,
            levels=step.levels,
        )
        split = [_increments.split(self.objects, parent, reader, part, made) for part in found]
        return [pair for pairs in split for pair in pairs], _nothing_in(sorted(empty))

    def _operands(
        self, step: Step, made: Mapping[str, Sequence[catalog.PartRef]]
    ) -> Iterator[tuple[str, Origin]]:
        """Yield the parts that an operator makes: one a stem, or one of a whole dataset."""
        operator = operators.resolve(step.operator)
        kinds, may_lack = dict(operators.inputs(operator)), operators.optional(operator)
        held = {role: self._refs(name, made) for role, name in step.inputs.items()}
        per_part = [role for role in kinds if kinds[role] == "dataset" and role not in may_lack]
        stems = [ref.stem for ref in held[per_part[0]]] if per_part else [step.name]
        whole = {role for role in held if not per_part or kinds.get(role) == "tree"}
        for stem in stems:
            chosen = {
                role: [ref for ref in refs if ref.stem == stem or role in whole]
                for role, refs in held.items()
            }
            chosen = {role: refs for role, refs in chosen.items() if refs or role not in may_lack}
            if not all(chosen.values()):
                continue
            inputs = {
                role: [{"stem": r.stem, "fingerprint": r.fingerprint, "base": r.base} for r in refs]
                for role, refs in chosen.items()
            }
            found = Origin("operator", step.operator, operator.version, step.params, (), inputs)
            yield stem, replace(found, levels=step.levels, device=self.settings.device)

    def _unpaired(self, step: Step, made: Mapping[str, Sequence[catalog.PartRef]]) -> list[str]:
        """Say which parts of the inputs are left out, because another input has none for them."""
        kinds = dict(operators.inputs(operators.resolve(step.operator)))
        may_lack = operators.optional(operators.resolve(step.operator))
        several = {r: name for r, name in step.inputs.items() if kinds.get(r) != "tree"}
        names = [name for role, name in several.items() if role not in may_lack]
        return _pairs.unpaired({n: [ref.stem for ref in self._refs(n, made)] for n in names})

    def _refs(
        self, name: str, made: Mapping[str, Sequence[catalog.PartRef]]
    ) -> Sequence[catalog.PartRef]:
        refs = made[name] if name in made else catalog.resolve(self.objects, name).parts
        return catalog.by_stem(refs)

    def _wanted(self, step: Step, origins: list[tuple[str, Origin]]) -> list[tuple[str, Origin]]:
        only, sample = self.choice.only, self.choice.sample
        if only is not None and origins:
            kept = [pair for pair in origins if pair[0] == only]
            if not kept and step.reader:
                raise UsageError(f"{step.name}: {unknown('part', only, [s for s, _ in origins])}")
            return kept or [pair for pair in origins if pair[0] == step.name]
        if self.choice.retry:
            return [pair for pair in origins if self._retried(step, *pair)]
        return origins[:sample] if sample and step.reader else origins

    def _retried(self, step: Step, stem: str, found: Origin) -> bool:
        """Tell whether a retry takes a part: it was put aside, is sealed, or is made of all."""
        if stem in self.choice.retry or (step.operator and stem == step.name):
            return True
        return self.objects.exists(f"{base_of(step.name, stem, found.fingerprint)}.json")

    def _leaving(
        self, step: Step, parent: catalog.Version | None, stems: list[str]
    ) -> tuple[str, ...]:
        if parent is None or self.choice.partial:
            return ()
        leaving = tuple(ref.stem for ref in parent.parts if ref.stem not in stems)
        grows = bool(step.reader) and readers.resolve(step.reader).state is not None
        lost = [s for s in leaving if not grows or _increments.folder_of(s) not in stems]
        if lost and not self.choice.drop and step.reader:
            raise RefusedError(
                f"{step.name}: {', '.join(lost[:5])} would leave: in {parent.label}, not among "
                "the sources now. Mount the share or widen the source, or say --drop"
            )
        return leaving

    def _part(self, step: Step, stem: str, found: Origin, aside: set[Any]) -> PartPlan:
        base = base_of(step.name, stem, found.fingerprint)
        items = max(1, sum(item.get("count", 1) for item in found.items))
        plan = PartPlan(step.name, stem, base, found, "make", "new", items=items)
        if self.objects.exists(f"{base}.json"):
            return replace(plan, action="reuse", why="sealed already")
        if found.fingerprint in aside and stem not in self.choice.retry:
            return replace(plan, action="aside", why="put aside before, and unchanged")
        try:
            ds = self._dataset(base, found)
        except (InputError, SchemaError) as error:
            return replace(plan, action="damaged", why=str(error))
        begun = self.objects.exists(f"{base}.marks/init.json")
        return self._sized(replace(plan, why="begun before" if begun else "new"), ds)

    def _sized(self, plan: PartPlan, ds: xr.Dataset) -> PartPlan:
        made = plan.origin
        inputs = [self._input(part) for parts in made.inputs.values() for part in parts]
        bytes_in = sum(map(blocks.source_bytes, inputs)) or sum(i["size"] for i in made.items)
        free = operators.resolve(made.name).free if made.kind == "operator" else None
        options: dict[str, Any] = {
            "free": free,
            "partition_bytes": self.settings.partition_bytes,
            "input_bytes": sum(map(blocks.source_bytes, inputs)),
        }
        outline = lay_out(ds, plan.base, levels=made.levels, **options)
        memory = _sizes.task_memory(ds, outline, inputs)
        if memory > self.settings.memory:
            need, have = math.ceil(memory / 2**20), self.settings.memory // 2**20
            raise RefusedError(
                f"{plan.dataset}/{plan.stem}: one task needs about {need} MiB, a worker has {have} "
                f"MiB; use fewer workers, or set memory to at least {need} MiB"
            )
        self._sealed[plan.base] = _sizes.as_sealed(ds, outline).assign_attrs(stem=plan.stem)
        return replace(
            plan,
            partitions=outline.grid.partitions,
            task_memory=memory,
            bytes_in=bytes_in,
            bytes_out=int(outline.summary["bytes"]),
            requests=_sizes.requests(outline),
            options=options,
        )

    def _dataset(self, base: str, made: Origin) -> xr.Dataset:
        if base not in self._lazy:
            if made.kind == "reader":
                self._lazy[base] = origin.guess(made)
            else:
                held = {
                    role: {part["stem"]: self._input(part) for part in parts}
                    for role, parts in made.inputs.items()
                }
                bases = {part["base"] for parts in made.inputs.values() for part in parts}
                self._lazy[base] = origin.operate(made, held, made=bases.isdisjoint(self._lazy))
        return self._lazy[base]

    def _input(self, part: Mapping[str, str]) -> xr.Dataset:
        """Return an input: what an earlier step will make, or what is sealed."""
        base = part["base"]
        if base not in self._sealed:
            self._sealed[base] = seal.open_sealed(self.objects, seal.read(self.objects, base)[0])
        return self._sealed[base]


def _nothing_in(folders: Sequence[str]) -> list[str]:
    """Say in which folders of the sources there is nothing; that counts as no input."""
    if not folders:
        return []
    more = f" and {len(folders) - _MOST_NAMED} more" if len(folders) > _MOST_NAMED else ""
    named = ", ".join(map(repr, folders[:_MOST_NAMED]))
    return [f"there is nothing in {named}{more}; is a copy under way?"]


def notes(plans: Sequence[StepPlan]) -> str:
    """Return what is to be said of the inputs of some steps, a line each."""
    said = ((plan.step.name, line) for plan in plans for line in plan.notes)
    return "".join(f"note: {name}: {line}\n" for name, line in said)
