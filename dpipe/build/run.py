"""A run: does the part of a recipe that is missing, one dataset after the other.

Each dataset's parts are made on workers (by a `Scheduler`), then it gets a new version, unless too
many were put aside. When nothing needs doing, nothing is written and no cluster is started. A run
that is killed or ends with a fault of the store is resumed by the same command.

This module decides what is committed; it knows nothing of tasks or pixels.
"""

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from dpipe import catalog, operators, readers
from dpipe.build.outcome import (
    AGAIN,
    BUG,
    DONE,
    SOME_ASIDE,
    TOO_MANY,
    Outcome,
    StepOutcome,
    allowed,
)
from dpipe.build.part_plan import RunPlan
from dpipe.build.plan import Choice, Planner, StepPlan, write_plan
from dpipe.build.recipe import Recipe, load_recipe
from dpipe.build.scheduler import Job, Scheduler
from dpipe.catalog import Heartbeat, beating, seals
from dpipe.config import Settings
from dpipe.errors import NotFoundError, SchemaError, StoreError, UsageError
from dpipe.redaction import masked
from dpipe.sources import resolve_uri
from dpipe.storage import Json, Objects
from dpipe.workers import Workers, address, connect

_LONGEST_NAME = 200


def run(
    recipe: Recipe,
    objects: Objects,
    settings: Settings,
    *,
    choice: Choice | None = None,
    message: str = "",
    progress: bool = True,
) -> Outcome:
    """Do the part of a recipe that is missing.

    Parameters
    ----------
    recipe : Recipe
        A checked recipe.
    objects : Objects
        The store.
    settings : Settings
        Where tasks run, how much is in flight, how much may be put aside.
    choice : Choice, optional
        Only some parts, put-aside parts again, parts that may leave.
    message : str
        For the versions' history.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    Outcome
        What was made, reused and put aside; ``exit_code`` for a shell.

    Raises
    ------
    StoreError, StalledError
        The run ended before its end; the same command resumes it.
    UsageError
        No such workers, or a plan that must not run as it stands; nothing was written.
    """
    began, _ = time.perf_counter(), address.parse(settings.workers)  # refused before it begins
    planner = Planner(objects, settings, choice)
    plans = planner.recipe(recipe)
    driver = _Driver(recipe, objects, settings, planner, message, progress)
    if not any(driver.needed(plan) for plan in plans):
        driver.outcome.steps = [_outcome(plan, _jobs(plan)) for plan in plans]
        driver.outcome.exit_code = max((driver.fate(_jobs(plan)) for plan in plans), default=DONE)
        return driver.outcome
    driver.start(plans)
    names = [step.name for step in recipe.steps]
    with (
        beating(objects, driver.outcome.run, names) as heart,
        _begun(),
        driver.workers(any(plan.of("make") for plan in plans)) as workers,
    ):
        for plan in plans:
            if not driver.step(plan, workers, heart):
                break
    driver.outcome.seconds = round(time.perf_counter() - began, 3)
    return driver.outcome


@contextlib.contextmanager
def _begun() -> Iterator[None]:
    """Turn a refusal in the middle of a run into a StoreError: the run had begun."""
    try:
        yield
    except (UsageError, SchemaError, NotFoundError) as error:
        raise StoreError(f"{error}; what was made is kept: run the same command again") from error


class _Driver:
    def __init__(
        self,
        recipe: Recipe,
        objects: Objects,
        settings: Settings,
        planner: Planner,
        message: str,
        progress: bool,
    ) -> None:
        self.recipe, self.objects, self.settings = recipe, objects, settings
        self.planner, self.message, self.progress = planner, message, progress
        self.parts: dict[str, list[catalog.PartRef]] = {}
        self.labels: dict[str, str] = {}
        self.outcome = Outcome("", recipe.name, objects.url, max_quarantine=settings.max_quarantine)

    def needed(self, plan: StepPlan) -> bool:
        """Tell whether a step would make a part or commit a version."""
        if plan.of("make") or plan.of("damaged"):
            return True
        parent, reused = plan.parent, plan.of("reuse")
        if parent is None or not reused:
            return bool(reused)
        before = {ref.base: ref.fingerprint for ref in parent.parts}
        after = {part.base: part.origin.fingerprint for part in reused}
        if not parent.signed or self._study(parent) != parent.study:
            return True
        if self.planner.choice.partial:
            return not after.items() <= before.items()
        return after != before

    def _study(self, parent: catalog.Version | None) -> Json:
        """Return the study of the recipe, else that of the version before."""
        return self.recipe.study or (parent.study if parent else {})

    def start(self, plans: Sequence[StepPlan]) -> None:
        """Write the run's folder: its plan."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        self.outcome.run = f"{stamp}-{secrets.token_hex(2)}"
        run_plan: RunPlan = {
            "recipe": self.recipe.name,
            "digest": self.recipe.digest,
            "study": self.recipe.study or None,
            "steps": [
                asdict(s) | {"sources": [*map(resolve_uri, s.sources)]} for s in self.recipe.steps
            ],
            "parts": [part.to_dict() for step in plans for part in step.parts],
        }
        write_plan(self.objects, self.outcome.run, run_plan)

    @contextlib.contextmanager
    def workers(self, needed: bool) -> Iterator[Workers | None]:
        """Start workers, if they are needed."""
        if not needed:
            yield None
            return
        with connect(self.settings) as workers:
            yield workers

    def step(self, plan: StepPlan, workers: Workers | None, heart: Heartbeat) -> bool:
        """Make one dataset and commit it; False if the run must not go on."""
        began, name = time.perf_counter(), plan.step.name
        if self.parts:  # the first was planned a moment ago: millions of files are listed once
            plan = self.planner.step(plan.step, self.parts)
        jobs = _jobs(plan)
        todo = [job for job in jobs if job.plan.action == "make"]
        if todo and workers is None:
            raise StoreError(
                f"{self.objects.url}: {name} changed while it was planned; run the command again"
            )
        if todo and workers is not None:
            scheduler = Scheduler(
                name,
                self.objects.url,
                workers,
                who={"author": self.settings.author, "run": self.outcome.run},
                retries=self.settings.retries,
                recompute=self.settings.recompute,
                record=self._record,
                progress=self.progress,
            )
            scheduler.make(todo)
        self._found_sealed([job for job in jobs if job.plan.action == "reuse"])
        for job in jobs:
            if job.plan.action == "damaged":
                self._record(job, job.plan.trace)
            elif job.plan.action == "make" and job.lost and not job.aside:
                self._record(job, "")
        fate = self.fate(jobs)
        heart.beat()
        version = self._commit(plan, jobs) if self._may_commit(jobs) else None
        self.parts[name] = list(version.parts) if version else []
        self.labels[name] = version.label if version else ""
        spent = round(time.perf_counter() - began, 3)
        self.outcome.steps.append(_outcome(plan, jobs, self.labels[name], spent))
        self.outcome.exit_code = max(self.outcome.exit_code, fate)
        return version is not None

    def _found_sealed(self, jobs: Sequence[Job]) -> None:
        """Read the seals of parts that are reused and that no version names yet."""
        unnamed = [job for job in jobs if job.plan.ref is None]
        keys = [seals.key_of(job.plan.base) for job in unnamed]
        for job, data in zip(unnamed, self.objects.read_many(keys), strict=True):
            if isinstance(data, StoreError):
                raise StoreError(
                    f"{self.objects.url}/{seals.key_of(job.plan.base)}: gone since the run was "
                    "planned; was the store swept? Run the same command again"
                )
            sealed, job.seal = seals.parse(self.objects, data, job.plan.base)
            job.summary = sealed.summary
            self.objects.put_if_absent(seals.copy_key(job.plan.base), data)  # a kill came before it

    def fate(self, jobs: Sequence[Job]) -> int:
        """Return the exit code of a step."""
        if any(job.bug for job in jobs):
            return BUG
        if not any(job.lost for job in jobs):
            return DONE
        if self._may_commit(jobs):
            return SOME_ASIDE
        return AGAIN if any(job.passing for job in jobs) else TOO_MANY

    def _may_commit(self, jobs: Sequence[Job]) -> bool:
        """Tell whether few enough items were put aside."""
        items = sum(job.plan.items for job in jobs)
        lost = sum(job.lost for job in jobs)
        everything = bool(jobs) and all(job.aside for job in jobs)
        return not everything and lost <= allowed(self.settings.max_quarantine, items)

    def _commit(self, plan: StepPlan, jobs: Sequence[Job]) -> catalog.Version | None:
        refs = {job.plan.stem: job.ref() for job in jobs if not job.aside}
        aside = tuple(entry for job in jobs for entry in job.entries())
        ours = {job.plan.stem for job in jobs} | set(plan.leaving)  # others are somebody else's
        partial = self.planner.choice.partial
        inputs = {
            role: self.labels.get(name) or catalog.resolve(self.objects, name).label
            for role, name in plan.step.inputs.items()
        }
        step: catalog.StepFields = {
            **plan.step.to_dict(),
            "inputs": inputs,
            "digest": self.recipe.digest,
        }
        entry = (
            operators.resolve(plan.step.operator)
            if plan.step.operator
            else readers.resolve(plan.step.reader)
        )
        if entry.code:
            step |= {"code": entry.code, "packages": entry.packages}

        def build(parent: catalog.Version | None) -> catalog.Draft | None:
            others = {r.stem: r for r in parent.parts if r.stem not in ours} if parent else {}
            parts = tuple(catalog.by_stem((others | refs).values()))
            before = parent.put_aside if parent else ()
            news = {a["fingerprint"] for a in aside} - {a["fingerprint"] for a in before}
            same = parent and parent.signed and self._study(parent) == parent.study
            if parent and same and not news and catalog.same_parts(parent.parts, parts):
                return None
            return {
                "parts": parts,
                "put_aside": (*(a for a in before if partial and a["stem"] not in ours), *aside),
                "message": self.message or f"{self.recipe.name}: {plan.step.name}",
                "recipe": step,
                "study": self._study(parent),
            }

        version = catalog.commit(self.objects, plan.step.name, build, author=self.settings.author)
        if plan.parent and not plan.parent.signed:
            seals.write_copies(self.objects, refs.values())
        return version or catalog.newest(self.objects, plan.step.name)

    def _record(self, job: Job, trace: str) -> None:
        """Keep the reason in the run's folder, so that it can be read and tried again."""
        name = _file_name(f"{job.plan.dataset}-{job.plan.stem}")
        key = f"runs/{self.outcome.run}/quarantine/{name}.json"
        entry = {**job.entries()[0], "dataset": job.plan.dataset, "trace": masked(trace)}
        self.objects.put(key, json.dumps(entry, indent=1).encode())


def run_recipe(
    recipe: Recipe | str | os.PathLike[str], store: str, *, progress: bool = True, **settings: Any
) -> Outcome:
    """Run a recipe from Python, as ``dpipe run`` does.

    Parameters
    ----------
    recipe : Recipe, str or path
        A recipe, or its file.
    store : str
        A store, or a new place.
    progress : bool
        Show a progress bar on stderr.
    **settings
        Over what ``Settings.load`` finds, for example ``workers="2"``.

    Returns
    -------
    Outcome
        What was made, reused and put aside.
    """
    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(os.fspath(recipe))
    objects = catalog.open_store(store, create=True)
    return run(chosen, objects, Settings.load(**settings), progress=progress)


def _file_name(text: str) -> str:
    """Return a name that any store can keep; one that had to be changed stays unlike others."""
    plain = "".join(c if c.isprintable() and c not in "/\\" else "_" for c in text)[:_LONGEST_NAME]
    if plain == text and len(text.encode(errors="replace")) <= _LONGEST_NAME:
        return text
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{plain[: _LONGEST_NAME // 4]}-{digest}"


def _notes(jobs: Sequence[Job]) -> list[str]:
    """Return the notes in the summaries of parts that were made."""
    new = [job for job in jobs if job.plan.action == "make"]
    return [f"{j.plan.stem}: {line}" for j in new for line in j.summary.get("notes", ())]


def _jobs(plan: StepPlan) -> list[Job]:
    """Return the parts of a step on their way; those that are put aside already say why."""
    jobs = [Job(part) for part in plan.parts]
    for job in jobs:
        if job.plan.action in ("aside", "damaged"):
            job.reason, job.passing = job.plan.why, job.plan.passing
            job.bug = bool(job.plan.trace)
        elif job.plan.ref is not None:
            job.summary = job.plan.ref.summary
    return jobs


def _outcome(
    plan: StepPlan, jobs: Sequence[Job], version: str = "", seconds: float = 0.0
) -> StepOutcome:
    """Return the outcome of a step; by default of one with nothing to make."""
    good = [job for job in jobs if not job.aside]
    reused = [job for job in good if job.plan.action == "reuse"]
    return StepOutcome(
        dataset=plan.step.name,
        version=version,
        made=[job.plan.stem for job in good if job.plan.action == "make"],
        reused=[job.plan.stem for job in reused],
        aside=[entry for job in jobs for entry in job.entries()],
        notes=[*plan.notes, *_notes(good)],
        items=sum(job.plan.items for job in jobs),
        reused_items=sum(job.plan.items - job.lost for job in reused),
        seconds=seconds,
        task_seconds=round(sum(job.seconds for job in jobs), 3),
        bytes=sum(job.written for job in jobs),
    )
