"""A run: does the part of a recipe that is missing, one dataset after the other.

Each dataset's parts are made on workers (``drive``), then it gets a new version, unless too many
were put aside. When nothing needs doing, nothing is written and no cluster is started. A run that
is killed or ends with a fault of the store is resumed by the same command.

This module decides what is committed; it knows nothing of tasks or pixels.
"""

import contextlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from dpipe import catalog, cluster, seal
from dpipe.cluster import Workers
from dpipe.config import Settings
from dpipe.drive import Drive, Job
from dpipe.errors import StoreError, UsageError
from dpipe.metadata import Study
from dpipe.objects import Objects
from dpipe.plan import Choice, Planner, StepPlan
from dpipe.recipe import Recipe, Step, load

DONE, SOME_ASIDE, TOO_MANY, BUG = 0, 3, 4, 70


@dataclass
class Outcome:
    """What a run did.

    Attributes
    ----------
    run : str
        Its name below ``runs/``; "" if there was nothing to do.
    steps : list of dict
        By dataset: version, made, reused, put aside, seconds, bytes.
    exit_code : int
        0 done or nothing to do, 3 some put aside, 4 too many put aside, 70 a bug.
    """

    run: str = ""
    recipe: str = ""
    where: str = ""
    seconds: float = 0.0
    steps: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int = DONE

    @property
    def nothing(self) -> bool:
        """Whether there was nothing to do."""
        return not self.run

    def count(self, what: str) -> int:
        """Return the number of parts that were ``made``, ``reused`` or put ``aside``."""
        return sum(len(step[what]) for step in self.steps)


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
    RefusedError
        The plan must not run as it stands; nothing was written.
    """
    began = time.perf_counter()
    planner = Planner(objects, settings, choice)
    plans = planner.recipe(recipe)
    driver = _Driver(recipe, objects, settings, planner, message, progress)
    if not any(driver.needed(plan) for plan in plans):
        driver.outcome.steps = [_idle(plan) for plan in plans]
        return driver.outcome
    driver.start(plans)
    with driver.workers(any(plan.of("make") for plan in plans)) as workers:
        for plan in plans:
            if not driver.step(plan, workers):
                break
    driver.outcome.seconds = round(time.perf_counter() - began, 3)
    return driver.outcome


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
        self.made: dict[str, list[catalog.PartRef]] = {}
        self.labels: dict[str, str] = {}
        self.outcome = Outcome(recipe=recipe.name, where=objects.url)

    def needed(self, plan: StepPlan) -> bool:
        """Tell whether a step would make a part or commit a version."""
        if plan.of("make") or plan.of("damaged"):
            return True
        parent = catalog.newest(self.objects, plan.step.name)
        held = {ref.base for ref in parent.parts} if parent else set()
        wanted = {part.base for part in plan.of("reuse")}
        return bool(wanted) and (
            not wanted <= held if self.planner.choice.partial else wanted != held
        )

    def start(self, plans: Sequence[StepPlan]) -> None:
        """Write the run's folder: its plan."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        self.outcome.run = f"{stamp}-{secrets.token_hex(2)}"
        plan = {
            "format": "dpipe-plan/1",
            "recipe": self.recipe.name,
            "digest": self.recipe.digest,
            "study": asdict(self.recipe.study) if self.recipe.study else None,
            "steps": [asdict(step) for step in self.recipe.steps],
            "parts": [part.to_dict() for step in plans for part in step.parts],
        }
        key = f"runs/{self.outcome.run}/plan.json"
        self.objects.put_if_absent(key, json.dumps(plan, indent=1).encode())

    @contextlib.contextmanager
    def workers(self, wanted: bool) -> Iterator[Workers | None]:
        """Start workers, if anything is to be made."""
        if not wanted:
            yield None
            return
        with cluster.connect(self.settings) as workers:
            yield workers

    def step(self, plan: StepPlan, workers: Workers | None) -> bool:
        """Make one dataset and commit it; False if the run must not go on."""
        began, name = time.perf_counter(), plan.step.name
        if self.made:  # the first was planned a moment ago: millions of files are listed once
            plan = self.planner.step(plan.step, self.made)
        jobs = [Job(part) for part in plan.parts]
        todo = [job for job in jobs if job.plan.action == "make"]
        if todo and workers is None:
            raise StoreError(
                f"{self.objects.url}: {name} changed while it was planned; run the command again"
            )
        if todo and workers is not None:
            drive = Drive(
                name,
                self.objects.url,
                workers,
                retries=self.settings.retries,
                record=self._record,
                progress=self.progress,
            )
            drive.make(todo)
        parent = catalog.newest(self.objects, name)
        named = {ref.base: ref.seal for ref in parent.parts} if parent else {}
        for job in jobs:
            if job.plan.action in ("aside", "damaged"):
                job.reason = job.plan.why
                if job.plan.action == "damaged":
                    self._record(job, "")
            elif job.plan.action == "reuse":
                expected = named.get(job.plan.base, "")
                sealed, job.seal = seal.read(self.objects, job.plan.base, expected)
                job.summary = sealed.summary
            elif job.lost and not job.aside:
                self._record(job, "")
        good = [job for job in jobs if not job.aside]
        fate = self._fate(jobs)
        version = self._commit(plan, jobs) if fate in (DONE, SOME_ASIDE) else None
        self.made[name] = list(version.parts) if version else []
        self.labels[name] = version.label if version else ""
        self.outcome.steps.append(
            {
                "dataset": name,
                "version": self.labels[name],
                "made": [job.plan.stem for job in good if job.plan.action == "make"],
                "reused": [job.plan.stem for job in good if job.plan.action == "reuse"],
                "aside": [entry for job in jobs for entry in job.entries()],
                "notes": [*plan.notes, *_notes(good)],
                "items": sum(job.plan.items for job in jobs),
                "reused_items": sum(
                    j.plan.items - j.lost for j in jobs if j.plan.action == "reuse" and not j.aside
                ),
                "seconds": round(time.perf_counter() - began, 3),
                "task_seconds": round(sum(job.seconds for job in jobs), 3),
                "bytes": sum(job.written for job in jobs),
            }
        )
        self.outcome.exit_code = max(self.outcome.exit_code, fate)
        return version is not None

    def _fate(self, jobs: Sequence[Job]) -> int:
        """Decide what a step ends in: its exit code."""
        if any(job.bug for job in jobs):
            return BUG
        items = sum(job.plan.items for job in jobs)
        lost = sum(job.lost for job in jobs)
        if not lost:
            return DONE
        everything = all(job.aside for job in jobs)
        too_many = lost > allowed(self.settings.max_quarantine, items)
        return TOO_MANY if everything or too_many else SOME_ASIDE

    def _commit(self, plan: StepPlan, jobs: Sequence[Job]) -> catalog.Version | None:
        refs = {job.plan.stem: job.ref() for job in jobs if not job.aside}
        aside = tuple(entry for job in jobs for entry in job.entries())
        ours = {job.plan.stem for job in jobs} | set(plan.leaving)  # others are somebody else's
        partial = self.planner.choice.partial
        inputs = {
            role: self.labels.get(name) or catalog.resolve(self.objects, name).label
            for role, name in plan.step.inputs.items()
        }
        study = self.recipe.study

        def build(parent: catalog.Version | None) -> dict[str, Any] | None:
            others = {r.stem: r for r in parent.parts if r.stem not in ours} if parent else {}
            held = tuple(catalog.by_stem((others | refs).values()))
            before = parent.put_aside if parent else ()
            known = {entry["fingerprint"] for entry in before}
            news = {entry["fingerprint"] for entry in aside} - known
            if parent and not news and catalog.same_parts(parent.parts, held):
                return None
            return {
                "parts": held,
                "put_aside": (*(a for a in before if partial and a["stem"] not in ours), *aside),
                "message": self.message or f"{self.recipe.name}: {plan.step.name}",
                "recipe": plan.step.to_dict() | {"inputs": inputs, "digest": self.recipe.digest},
                "metadata": study.to_mifa() if study else {},
            }

        made = catalog.commit(self.objects, plan.step.name, build, author=self.settings.author)
        return made or catalog.newest(self.objects, plan.step.name)

    def _record(self, job: Job, trace: str) -> None:
        """Keep the reason in the run's folder, so that it can be read and tried again."""
        key = f"runs/{self.outcome.run}/quarantine/{job.plan.dataset}-{job.plan.stem}.json"
        entry = job.entries()[0] | {"dataset": job.plan.dataset, "trace": trace}
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
    chosen = recipe if isinstance(recipe, Recipe) else load(os.fspath(recipe))
    objects = catalog.open_store(store, create=True)
    return run(chosen, objects, Settings.load(**settings), progress=progress)


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
        return load(path), frozenset()
    objects = store()
    plan = json.loads(objects.read(f"runs/{retry}/plan.json"))
    aside = [json.loads(objects.read(e.key)) for e in objects.list(f"runs/{retry}/quarantine/")]
    stems = frozenset(entry["stem"] for entry in aside)
    if path is not None:
        return load(path), stems
    study = Study.from_dict(plan["study"]) if plan["study"] else None
    steps = tuple(Step(**{**s, "sources": tuple(s["sources"])}) for s in plan["steps"])
    return Recipe(plan["recipe"], steps, study, plan["digest"]), stems


def allowed(limit: str | None, items: int) -> int:
    """Return how many items may be put aside.

    Parameters
    ----------
    limit : str or None
        A number or a percentage; None for max(1 item, 1 %).
    items : int
        Of how many.

    Returns
    -------
    int
        A number of items.

    Examples
    --------
    >>> allowed(None, 40), allowed("10%", 40), allowed("0", 40)
    (1, 4, 0)
    """
    if limit is None:
        return max(1, items // 100)
    if limit.endswith("%"):
        return int(items * float(limit[:-1]) / 100)
    return int(limit)


def _notes(jobs: Sequence[Job]) -> list[str]:
    """Return what the parts that were made say of themselves."""
    made = [job for job in jobs if job.plan.action == "make"]
    return [f"{j.plan.stem}: {line}" for j in made for line in j.summary.get("notes", ())]


def _idle(plan: StepPlan) -> dict[str, Any]:
    return {
        "dataset": plan.step.name,
        "version": "",
        "made": [],
        "reused": [part.stem for part in plan.of("reuse")],
        "aside": [{"stem": p.stem, "reason": p.why, "items": p.items} for p in plan.of("aside")],
        "notes": list(plan.notes),
        "items": sum(part.items for part in plan.parts),
        "reused_items": sum(part.items for part in plan.of("reuse")),
        "seconds": 0.0,
        "task_seconds": 0.0,
        "bytes": 0,
    }
