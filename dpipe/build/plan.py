"""What a run would do, and why: make, reuse or refuse each part, before anything is written.

Fingerprints decide: a part whose seal is there is reused, one that is not is made. The plan also
says how large the work is (partitions, bytes, memory of one task, S3 requests) and refuses what
would not fit or would make parts vanish.

This module opens sources and seals; it writes nothing.
"""

import math
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import xarray as xr

from dpipe import catalog, compute, operators, readers, sources
from dpipe.build import increments, pairing, part_spec, sizes, touched_sources
from dpipe.build.garbage import old_objects_kept
from dpipe.build.part_layout import PartLayout, base_of, lay_out
from dpipe.build.part_plan import Choice, PartPlan, StepPlan, odd_lines, read_plan, write_plan
from dpipe.build.part_spec import PartSpec
from dpipe.build.recipe import Recipe, Step
from dpipe.build.sealed_parts import Sealed, why_made
from dpipe.build.stems import told_apart, wrong_name
from dpipe.build.time_limit import in_time
from dpipe.catalog import seals
from dpipe.config import Settings
from dpipe.errors import (
    DpipeError,
    GoneError,
    InputError,
    RefusedError,
    SchemaError,
    UsageError,
    unknown,
)
from dpipe.redaction import masked
from dpipe.storage import Objects

__all__ = ["Choice", "PartPlan", "Planner", "StepPlan", "notes", "read_plan", "write_plan"]


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
        self._planned: dict[str, Callable[[], xr.Dataset]] = {}
        self._wanted_later: set[str] = set()

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
        self._wanted_later = {name for step in recipe.steps for name in step.inputs.values()}
        for step in recipe.steps:
            plan = self.step(step, made)
            plans.append(plan)
            made[step.name] = [
                part.ref or catalog.PartRef(part.stem, part.origin.fingerprint, part.base)
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
        known = parent.parts.by_stem if parent else {}
        if step.reader:
            origins, notes = self._sources(step, parent)
            try:
                origins, lines = told_apart(origins, known)
            except UsageError as error:
                raise UsageError(f"{step.name}: {error}") from error
            notes += lines
        else:
            origins, notes = list(self._operands(step, made)), self._unpaired(step, made)
        stems = {stem for stem, _ in origins}
        if notes and not stems and not made and not self.choice.partial:
            raise UsageError(f"{step.name}: nothing to make; {'; '.join(notes)}")
        wanted = self._wanted(step, origins)
        sealed, wanted = self._there(step, wanted, known)
        with old_objects_kept():
            chosen = [self._part(step, stem, found, parent, sealed) for stem, found in wanted]
        leaving = self._leaving(step, parent, stems)
        taken = {part.stem for part in chosen}
        others = parent.parts if parent and self.choice.partial else ()
        kept = tuple(ref for ref in others if ref.stem not in taken)
        return StepPlan(step, tuple(chosen), leaving, kept, tuple(notes), parent)

    def _there(
        self, step: Step, wanted: list[tuple[str, PartSpec]], known: Mapping[str, catalog.PartRef]
    ) -> tuple[Sealed, list[tuple[str, PartSpec]]]:
        """Return what is there of the wanted parts, and the origins of those that were touched."""
        if step.reader:
            wanted = touched_sources.looked_at(self.objects, step.name, wanted, known)
        sealed = Sealed.look(self.objects, step.name, known, wanted)
        bases = {base_of(step.name, stem, made.fingerprint): stem for stem, made in wanted}
        left = {bases[base]: base for base in sealed.bases}
        if step.reader and left:
            wanted, again = touched_sources.unnamed(self.objects, wanted, left)
            if again:
                sealed = Sealed.look(self.objects, step.name, known, wanted)
        return sealed, wanted

    def _sources(
        self, step: Step, parent: catalog.Version | None
    ) -> tuple[list[tuple[str, PartSpec]], list[str]]:
        """Return the parts that a reader finds, and what is to be said of the sources."""
        reader, odd = readers.resolve(step.reader), sources.Oddities()
        found = list(reader.parts(step.sources, odd))
        if not found:
            raise UsageError(
                f"{step.name}: reader {step.reader} finds nothing in {', '.join(step.sources)}, "
                "where there are files; check the source and the reader"
            )
        made = partial(
            part_spec.from_items,
            step.reader,
            options=step.params,
            said=step.said,
            levels=step.levels,
        )
        known = increments.by_folder(parent) if reader.state is not None else {}
        split = [
            increments.split(self.objects, known.get(part.stem, ()), reader, part, made)
            for part in found
        ]
        return [pair for pairs in split for pair in pairs], odd_lines(odd)

    def _operands(
        self, step: Step, made: Mapping[str, Sequence[catalog.PartRef]]
    ) -> Iterator[tuple[str, PartSpec]]:
        """Yield the parts that an operator makes: one a stem, or one of a whole dataset."""
        operator = operators.resolve(step.operator)
        kinds, may_lack = dict(operators.inputs(operator)), operators.optional(operator)
        held = {role: self._refs(name, made) for role, name in step.inputs.items()}
        per_part = [role for role in kinds if kinds[role] == "dataset" and role not in may_lack]
        stems = [ref.stem for ref in held[per_part[0]]] if per_part else [step.name]
        whole = {role for role in held if not per_part or kinds.get(role) == "tree"}
        listed = {role: [_input_of(ref) for ref in refs] for role, refs in held.items()}
        alone: dict[str, dict[str, list[dict[str, str]]]] = {
            role: {} for role in held if role not in whole
        }
        for role, by_stem in alone.items():
            for part in listed[role]:
                by_stem.setdefault(part["stem"], []).append(part)
        for stem in stems:
            inputs = {
                role: parts if role in whole else alone[role].get(stem, [])
                for role, parts in listed.items()
            }
            inputs = {
                role: parts for role, parts in inputs.items() if parts or role not in may_lack
            }
            if all(inputs.values()):
                yield (
                    stem,
                    PartSpec(
                        "operator",
                        step.operator,
                        operator.version,
                        step.params,
                        inputs=inputs,
                        levels=step.levels,
                        device=self.settings.device,
                        code=operator.code,
                    ),
                )

    def _unpaired(self, step: Step, made: Mapping[str, Sequence[catalog.PartRef]]) -> list[str]:
        """Say which parts of the inputs are left out, because another input has none for them."""
        kinds = dict(operators.inputs(operators.resolve(step.operator)))
        may_lack = operators.optional(operators.resolve(step.operator))
        several = {r: name for r, name in step.inputs.items() if kinds.get(r) != "tree"}
        names = [name for role, name in several.items() if role not in may_lack]
        return pairing.unpaired({n: [ref.stem for ref in self._refs(n, made)] for n in names})

    def _refs(
        self, name: str, made: Mapping[str, Sequence[catalog.PartRef]]
    ) -> Sequence[catalog.PartRef]:
        refs = made[name] if name in made else catalog.resolve(self.objects, name).parts
        return catalog.by_stem(refs)

    def _wanted(
        self, step: Step, origins: list[tuple[str, PartSpec]]
    ) -> list[tuple[str, PartSpec]]:
        only, sample = self.choice.only, self.choice.sample
        if only is not None and origins:
            kept = [pair for pair in origins if pair[0] == only]
            if not kept and step.reader:
                raise UsageError(f"{step.name}: {unknown('part', only, [s for s, _ in origins])}")
            return kept or [pair for pair in origins if pair[0] == step.name]
        if self.choice.retry:
            return [pair for pair in origins if self._retried(step, *pair)]
        return origins[:sample] if sample and step.reader else origins

    def _retried(self, step: Step, stem: str, found: PartSpec) -> bool:
        """Tell whether a retry takes a part: it was put aside, is sealed, or is made of all."""
        if stem in self.choice.retry or (step.operator and stem == step.name):
            return True
        return self.objects.exists(f"{base_of(step.name, stem, found.fingerprint)}.json")

    def _leaving(
        self, step: Step, parent: catalog.Version | None, stems: set[str]
    ) -> tuple[str, ...]:
        if parent is None or self.choice.partial:
            return ()
        leaving = tuple(ref.stem for ref in parent.parts if ref.stem not in stems)
        grows = bool(step.reader) and readers.resolve(step.reader).state is not None
        lost = [s for s in leaving if not grows or increments.folder_of(s) not in stems]
        if lost and not self.choice.drop and step.reader:
            raise RefusedError(
                f"{step.name}: {', '.join(lost[:5])} would leave: in {parent.label}, not among "
                "the sources now. Mount the share or widen the source, or say --drop"
            )
        return leaving

    def _part(
        self,
        step: Step,
        stem: str,
        found: PartSpec,
        parent: catalog.Version | None,
        sealed: Sealed,
    ) -> PartPlan:
        base = base_of(step.name, stem, found.fingerprint)
        items = max(1, sum(item.get("count", 1) for item in found.items))
        stamp = touched_sources.stamp_of(found)
        plan = PartPlan(step.name, stem, base, found, "make", "new", items=items, stamp=stamp)
        if (ref := sealed.named.get(stem)) is not None:
            ref = replace(ref, stamp=stamp)
            return replace(plan, action="reuse", why="sealed already", base=ref.base, ref=ref)
        if base in sealed.bases:
            return replace(plan, action="reuse", why="sealed already")
        if found.fingerprint in _aside(parent) and stem not in self.choice.retry:
            return replace(plan, action="aside", why="put aside before, and unchanged")
        if wrong := wrong_name(step.name, stem, found):
            return replace(plan, action="damaged", why=wrong)
        why = "begun before" if base in sealed.begun else why_made(step, stem, found, parent)
        return self._opened(replace(plan, why=why, new=base in sealed.new))

    def _opened(self, plan: PartPlan) -> PartPlan:
        """Open a part that is to be made; what cannot be opened is put aside, and the rest goes on.

        What a reader or operator raises that nobody foresaw is a bug of one part, not the end of a
        run.
        """
        try:
            return self._sized(plan, self._dataset(plan.base, plan.origin))
        except (InputError, SchemaError) as error:
            passing = isinstance(error, GoneError)
            return replace(plan, action="damaged", why=masked(str(error)), passing=passing)
        except DpipeError:
            raise
        except Exception as error:  # noqa: BLE001 - code of readers and users
            why = " ".join(f"a bug: {type(error).__name__}: {error}".split())
            trace = traceback.format_exc()
            return replace(plan, action="damaged", why=masked(why), passing=True, trace=trace)

    def _sized(self, plan: PartPlan, ds: xr.Dataset) -> PartPlan:
        made = plan.origin
        inputs = [self._input(part) for parts in made.inputs.values() for part in parts]
        bytes_in = sum(map(compute.source_bytes, inputs)) or sum(i["size"] for i in made.items)
        free = operators.resolve(made.name).free if made.kind == "operator" else None
        options: dict[str, Any] = {
            "free": free,
            "partition_bytes": self.settings.partition_bytes,
            "input_bytes": sum(map(compute.source_bytes, inputs)),
        }
        outline = lay_out(ds, plan.base, levels=made.levels, **options)
        memory = sizes.task_memory(ds, outline, inputs)
        if memory > self.settings.memory:
            need, have = math.ceil(memory / 2**20), self.settings.memory // 2**20
            raise RefusedError(
                f"{plan.dataset}/{plan.stem}: one task needs about {need} MiB, a worker has {have} "
                f"MiB; use fewer workers, or set memory to at least {need} MiB"
            )
        if plan.dataset in self._wanted_later:
            self._lazy[plan.base] = ds
            self._planned[plan.base] = partial(_as_sealed, ds, outline, plan.stem)
        return replace(
            plan,
            partitions=outline.grid.partitions,
            task_memory=memory,
            bytes_in=bytes_in,
            bytes_out=int(outline.summary["bytes"]),
            requests=sizes.requests(outline),
            options=options,
        )

    def _dataset(self, base: str, made: PartSpec) -> xr.Dataset:
        if base in self._lazy:
            return self._lazy[base]
        if made.kind == "reader":
            return in_time(partial(part_spec.guess, made), self.settings.stall_seconds)
        held = {
            role: {part["stem"]: self._input(part) for part in parts}
            for role, parts in made.inputs.items()
        }
        bases = {part["base"] for parts in made.inputs.values() for part in parts}
        return part_spec.operate(made, held, made=bases.isdisjoint(self._planned))

    def _input(self, part: Mapping[str, str]) -> xr.Dataset:
        """Return an input: what an earlier step will make, or what is sealed."""
        base = part["base"]
        if base in self._planned:
            return self._planned[base]()
        if base not in self._lazy:
            ref = catalog.PartRef(part["stem"], part["fingerprint"], base, part["seal"])
            self._lazy[base] = seals.open_named(self.objects, ref)
        return self._lazy[base]


def _as_sealed(ds: xr.Dataset, outline: PartLayout, stem: str) -> xr.Dataset:
    return sizes.as_sealed(ds, outline).assign_attrs(stem=stem)


def _input_of(ref: catalog.PartRef) -> dict[str, str]:
    return {
        "stem": ref.stem,
        "fingerprint": ref.fingerprint,
        "base": ref.base,
        "seal": ref.seal,
    }


def _aside(parent: catalog.Version | None) -> set[str]:
    """Return the fingerprints of parts that were put aside for good."""
    before = parent.put_aside if parent else ()
    return {
        str(entry.get("fingerprint"))
        for entry in before
        if entry.get("whole", True) and not entry.get("passing")
    }


def notes(plans: Sequence[StepPlan]) -> str:
    """Return what is to be said of the inputs of some steps, a line each."""
    said = ((plan.step.name, line) for plan in plans for line in plan.notes)
    return "".join(f"note: {name}: {line}\n" for name, line in said)
