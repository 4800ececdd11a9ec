"""The plan of a run: make, reuse or refuse each part, and why, before anything is written.

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

import xarray as xr

from dpipe import catalog, compute, operators, readers, sources
from dpipe.build import increments, pairing, part_spec, sizes, touched_sources
from dpipe.build.garbage import old_objects_kept
from dpipe.build.part_layout import LayoutOptions, PartLayout, base_of, lay_out
from dpipe.build.part_plan import Choice, PartPlan, StepPlan, odd_lines, read_plan, write_plan
from dpipe.build.part_spec import PartSpec
from dpipe.build.recipe import Recipe, Step
from dpipe.build.sealed_parts import Sealed, why_made
from dpipe.build.stems import told_apart, wrong_name
from dpipe.build.time_limit import in_time
from dpipe.catalog import opening
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
        self._used_later: set[str] = set()

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
        parts: dict[str, list[catalog.PartRef]] = {}
        plans = []
        self._used_later = {name for step in recipe.steps for name in step.inputs.values()}
        for step in recipe.steps:
            plan = self.step(step, parts)
            plans.append(plan)
            parts[step.name] = [
                part.ref or catalog.PartRef(part.stem, part.origin.fingerprint, part.base)
                for part in plan.parts
                if part.action in ("make", "reuse")
            ] + list(plan.unchanged)
        return plans

    def step(self, step: Step, parts: Mapping[str, Sequence[catalog.PartRef]]) -> StepPlan:
        """Plan one step.

        Parameters
        ----------
        step : Step
            The step.
        parts : mapping of str to sequence of PartRef
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
        refs = parent.parts.by_stem if parent else {}
        if step.reader:
            specs, notes = self._sources(step, parent)
            try:
                specs, lines = told_apart(specs, refs)
            except UsageError as error:
                raise UsageError(f"{step.name}: {error}") from error
            notes += lines
        else:
            specs, notes = list(self._operands(step, parts)), self._unpaired(step, parts)
        stems = {stem for stem, _ in specs}
        if notes and not stems and not parts and not self.choice.partial:
            raise UsageError(f"{step.name}: nothing to make; {'; '.join(notes)}")
        sealed, specs = self._sealed(step, self._chosen(step, specs), refs)
        with old_objects_kept():
            plans = [self._part(step, stem, spec, parent, sealed) for stem, spec in specs]
        leaving = self._leaving(step, parent, stems)
        planned = {part.stem for part in plans}
        others = parent.parts if parent and self.choice.partial else ()
        unchanged = tuple(ref for ref in others if ref.stem not in planned)
        return StepPlan(step, tuple(plans), leaving, unchanged, tuple(notes), parent)

    def _sealed(
        self, step: Step, specs: list[tuple[str, PartSpec]], refs: Mapping[str, catalog.PartRef]
    ) -> tuple[Sealed, list[tuple[str, PartSpec]]]:
        """Return the parts that are sealed, and all specs; touched sources are another attempt."""
        if step.reader:
            specs = touched_sources.looked_at(self.objects, step.name, specs, refs)
        sealed = Sealed.look(self.objects, step.name, refs, specs)
        stems = {base_of(step.name, stem, spec.fingerprint): stem for stem, spec in specs}
        bases = {stems[base]: base for base in sealed.bases}
        if step.reader and bases:
            specs, again = touched_sources.unnamed(self.objects, specs, bases)
            if again:
                sealed = Sealed.look(self.objects, step.name, refs, specs)
        return sealed, specs

    def _sources(
        self, step: Step, parent: catalog.Version | None
    ) -> tuple[list[tuple[str, PartSpec]], list[str]]:
        """Return stem and spec of the parts that a reader finds, and notes on the sources."""
        reader, odd = readers.resolve(step.reader), sources.Oddities()
        groups = list(reader.parts(step.sources, odd))
        if not groups:
            raise UsageError(
                f"{step.name}: reader {step.reader} finds nothing in {', '.join(step.sources)}, "
                "where there are files; check the source and the reader"
            )
        spec_of = partial(
            part_spec.from_items,
            step.reader,
            options=step.params,
            said=step.said,
            levels=step.levels,
        )
        folders = increments.by_folder(parent) if reader.state is not None else {}
        split = [
            increments.split(self.objects, folders.get(part.stem, ()), reader, part, spec_of)
            for part in groups
        ]
        return [pair for pairs in split for pair in pairs], odd_lines(odd)

    def _operands(
        self, step: Step, parts: Mapping[str, Sequence[catalog.PartRef]]
    ) -> Iterator[tuple[str, PartSpec]]:
        """Yield stem and spec of an operator's parts: one a stem, or one of a whole dataset."""
        operator = operators.resolve(step.operator)
        kinds, may_lack = dict(operators.inputs(operator)), operators.optional(operator)
        refs = {role: self._refs(name, parts) for role, name in step.inputs.items()}
        per_part = [role for role in kinds if kinds[role] == "dataset" and role not in may_lack]
        stems = [ref.stem for ref in refs[per_part[0]]] if per_part else [step.name]
        whole = {role for role in refs if not per_part or kinds.get(role) == "tree"}
        listed = {role: [*map(catalog.input_fields, refs[role])] for role in refs}
        by_stem: dict[str, dict[str, list[catalog.InputFields]]] = {
            role: {} for role in refs if role not in whole
        }
        for role, groups in by_stem.items():
            for part in listed[role]:
                groups.setdefault(part["stem"], []).append(part)
        for stem in stems:
            inputs = {
                role: inputs if role in whole else by_stem[role].get(stem, [])
                for role, inputs in listed.items()
            }
            inputs = {
                role: inputs for role, inputs in inputs.items() if inputs or role not in may_lack
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

    def _unpaired(self, step: Step, parts: Mapping[str, Sequence[catalog.PartRef]]) -> list[str]:
        """Return a line for the parts of each input for which another input has none."""
        kinds = dict(operators.inputs(operators.resolve(step.operator)))
        may_lack = operators.optional(operators.resolve(step.operator))
        several = {r: name for r, name in step.inputs.items() if kinds.get(r) != "tree"}
        names = [name for role, name in several.items() if role not in may_lack]
        return pairing.unpaired({n: [ref.stem for ref in self._refs(n, parts)] for n in names})

    def _refs(
        self, name: str, parts: Mapping[str, Sequence[catalog.PartRef]]
    ) -> Sequence[catalog.PartRef]:
        refs = parts[name] if name in parts else catalog.resolve(self.objects, name).parts
        return catalog.by_stem(refs)

    def _chosen(self, step: Step, specs: list[tuple[str, PartSpec]]) -> list[tuple[str, PartSpec]]:
        only, sample = self.choice.only, self.choice.sample
        if only is not None and specs:
            chosen = [pair for pair in specs if pair[0] == only]
            if not chosen and step.reader:
                raise UsageError(f"{step.name}: {unknown('part', only, [s for s, _ in specs])}")
            return chosen or [pair for pair in specs if pair[0] == step.name]
        if self.choice.retry:
            return [pair for pair in specs if self._retried(step, *pair)]
        return specs[:sample] if sample and step.reader else specs

    def _retried(self, step: Step, stem: str, spec: PartSpec) -> bool:
        """Tell whether a retry takes a part: it was put aside, is sealed, or is made of all."""
        if stem in self.choice.retry or (step.operator and stem == step.name):
            return True
        return self.objects.exists(f"{base_of(step.name, stem, spec.fingerprint)}.json")

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
        spec: PartSpec,
        parent: catalog.Version | None,
        sealed: Sealed,
    ) -> PartPlan:
        base = base_of(step.name, stem, spec.fingerprint)
        items = max(1, sum(item.get("count", 1) for item in spec.items))
        stamp = touched_sources.stamp_of(spec)
        plan = PartPlan(step.name, stem, base, spec, "make", "new", items=items, stamp=stamp)
        if (ref := sealed.named.get(stem)) is not None:
            ref = replace(ref, stamp=stamp)
            return replace(plan, action="reuse", why="sealed already", base=ref.base, ref=ref)
        if base in sealed.bases:
            return replace(plan, action="reuse", why="sealed already")
        if spec.fingerprint in _aside(parent) and stem not in self.choice.retry:
            return replace(plan, action="aside", why="put aside before, and unchanged")
        if wrong := wrong_name(step.name, stem, spec):
            return replace(plan, action="damaged", why=wrong)
        why = "begun before" if base in sealed.begun else why_made(step, stem, spec, parent)
        return self._opened(replace(plan, why=why, new=base in sealed.new))

    def _opened(self, plan: PartPlan) -> PartPlan:
        """Open a part that is to be made; one that cannot be opened is planned as damaged.

        An error of a reader or operator that nobody foresaw is a bug of one part, not the end of
        a run.
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
        spec = plan.origin
        inputs = [self._input(part) for parts in spec.inputs.values() for part in parts]
        bytes_in = sum(map(compute.source_bytes, inputs)) or sum(i["size"] for i in spec.items)
        free = operators.resolve(spec.name).free if spec.kind == "operator" else None
        options: LayoutOptions = {
            "free": free,
            "partition_bytes": self.settings.partition_bytes,
            "input_bytes": sum(map(compute.source_bytes, inputs)),
        }
        outline = lay_out(ds, plan.base, levels=spec.levels, **options)
        memory = sizes.task_memory(ds, outline, inputs)
        if memory > self.settings.memory:
            need, have = math.ceil(memory / 2**20), self.settings.memory // 2**20
            raise RefusedError(
                f"{plan.dataset}/{plan.stem}: one task needs about {need} MiB, a worker has {have} "
                f"MiB; use fewer workers, or set memory to at least {need} MiB"
            )
        if plan.dataset in self._used_later:
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

    def _dataset(self, base: str, spec: PartSpec) -> xr.Dataset:
        if base in self._lazy:
            return self._lazy[base]
        if spec.kind == "reader":
            return in_time(partial(part_spec.guess, spec), self.settings.stall_seconds)
        inputs = {
            role: {part["stem"]: self._input(part) for part in parts}
            for role, parts in spec.inputs.items()
        }
        bases = {part["base"] for parts in spec.inputs.values() for part in parts}
        return part_spec.operate(spec, inputs, made=bases.isdisjoint(self._planned))

    def _input(self, part: catalog.InputFields) -> xr.Dataset:
        """Return the Dataset of an input: sealed, or as an earlier step will make it."""
        base = part["base"]
        if base in self._planned:
            return self._planned[base]()
        if base not in self._lazy:
            ref = catalog.PartRef(part["stem"], part["fingerprint"], base, part["seal"])
            self._lazy[base] = opening.open_named(self.objects, ref)
        return self._lazy[base]


def _as_sealed(ds: xr.Dataset, outline: PartLayout, stem: str) -> xr.Dataset:
    return sizes.as_sealed(ds, outline).assign_attrs(stem=stem)


def _aside(parent: catalog.Version | None) -> set[str]:
    """Return the fingerprints of parts that were put aside for good."""
    before = parent.put_aside if parent else ()
    return {
        str(entry.get("fingerprint"))
        for entry in before
        if entry.get("whole", True) and not entry.get("passing")
    }


def notes(plans: Sequence[StepPlan]) -> str:
    """Return the notes on the inputs of some steps, a line each."""
    lines = ((plan.step.name, line) for plan in plans for line in plan.notes)
    return "".join(f"note: {name}: {line}\n" for name, line in lines)
