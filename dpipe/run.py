"""Drives parts on workers: a bounded window, retries, what is put aside, resume, commit.

One dataset after the other, in the order of the recipe: its parts go through ``init``, their
partitions and ``finish`` as tasks, at most a window of them in flight; then the dataset gets a new
version. A damaged input is put aside with its reason and the rest goes on; a fault of the store or
the network ends the run, and the same command resumes it. When nothing needs doing, nothing is
written and no cluster is started.

This module decides what is tried again; it knows nothing of pixels.
"""

import contextlib
import json
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from tqdm import tqdm

from dpipe import catalog, cluster, parts, seal
from dpipe.cluster import Finished, Workers
from dpipe.config import Settings
from dpipe.errors import (
    DamageError,
    DpipeError,
    InputError,
    NotFoundError,
    SchemaError,
    StoreError,
    UsageError,
)
from dpipe.objects import Objects
from dpipe.plan import Choice, PartPlan, Planner, StepPlan
from dpipe.metadata import Study
from dpipe.recipe import Recipe, Step, load

DONE, SOME_ASIDE, TOO_MANY, BUG = 0, 3, 4, 70
_PAUSE = 0.5
_Task = tuple["_Job", str, Callable[..., Any], tuple[Any, ...]]


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


@dataclass
class _Job:
    """One part on its way."""

    plan: PartPlan
    left: int = 0
    seal: str = ""
    summary: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    bug: bool = False
    seconds: float = 0.0
    written: int = 0
    tries: dict[str, int] = field(default_factory=dict)

    @property
    def aside(self) -> bool:
        return bool(self.reason)

    def ref(self) -> catalog.PartRef:
        plan = self.plan
        return catalog.PartRef(
            plan.stem, plan.origin.fingerprint, plan.base, self.seal, self.summary
        )

    def put_aside(self) -> dict[str, Any]:
        return {
            "stem": self.plan.stem,
            "fingerprint": self.plan.origin.fingerprint,
            "reason": self.reason,
            "items": self.plan.items,
            "sources": [item["path"] for item in self.plan.origin.items],
        }


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
        driver.outcome.exit_code = SOME_ASIDE if any(p.of("aside") for p in plans) else DONE
        return driver.outcome
    driver.start(plans)
    with driver.workers(any(plan.of("make") for plan in plans)) as workers:
        for plan in plans:
            if not driver.step(plan.step.name, workers):
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
        if plan.of("make"):
            return True
        parent = catalog.newest(self.objects, plan.step.name)
        held = {ref.base for ref in parent.parts} if parent else set()
        wanted = {part.base for part in plan.of("reuse")}
        partial = bool(self.planner.choice.only or self.planner.choice.sample)
        return bool(wanted) and (not wanted <= held if partial else wanted != held)

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

    def step(self, name: str, workers: Workers | None) -> bool:
        """Make one dataset and commit it; False if the run must not go on."""
        began = time.perf_counter()
        step = next(step for step in self.recipe.steps if step.name == name)
        plan = self.planner.step(step, self.made)
        jobs = [_Job(part) for part in plan.parts]
        todo = [job for job in jobs if job.plan.action == "make"]
        if todo and workers is not None:
            self._make(name, todo, workers)
        for job in jobs:
            if job.plan.action == "aside":
                job.reason = job.plan.why
            elif job.plan.action == "reuse":
                sealed, job.seal = seal.read(self.objects, job.plan.base)
                job.summary = sealed.summary
        good = [job for job in jobs if not job.aside]
        self.made[name] = [job.ref() for job in good]
        fate = self._fate(jobs)
        version = self._commit(plan, jobs) if fate in (DONE, SOME_ASIDE) else None
        self.labels[name] = version.label if version else ""
        self.outcome.steps.append(
            {
                "dataset": name,
                "version": self.labels[name],
                "made": [job.plan.stem for job in good if job.plan.action == "make"],
                "reused": [job.plan.stem for job in good if job.plan.action == "reuse"],
                "aside": [job.put_aside() for job in jobs if job.aside],
                "items": sum(job.plan.items for job in jobs),
                "seconds": round(time.perf_counter() - began, 3),
                "task_seconds": round(sum(job.seconds for job in jobs), 3),
                "bytes": sum(job.written for job in jobs),
            }
        )
        self.outcome.exit_code = max(self.outcome.exit_code, fate)
        return version is not None

    def _fate(self, jobs: Sequence[_Job]) -> int:
        """Decide what a step ends in: its exit code."""
        if any(job.bug for job in jobs):
            return BUG
        items = sum(job.plan.items for job in jobs)
        lost = sum(job.plan.items for job in jobs if job.aside)
        if not lost:
            return DONE
        everything = all(job.aside for job in jobs)
        too_many = lost > allowed(self.settings.max_quarantine, items)
        return TOO_MANY if everything or too_many else SOME_ASIDE

    def _commit(self, plan: StepPlan, jobs: Sequence[_Job]) -> catalog.Version | None:
        refs = {job.plan.stem: job.ref() for job in jobs if not job.aside}
        aside = tuple(job.put_aside() for job in jobs if job.aside)
        partial = bool(self.planner.choice.only or self.planner.choice.sample)
        inputs = {
            role: self.labels.get(name) or catalog.resolve(self.objects, name).label
            for role, name in plan.step.inputs.items()
        }
        study = self.recipe.study

        def build(parent: catalog.Version | None) -> dict[str, Any] | None:
            kept = {ref.stem: ref for ref in parent.parts} if parent and partial else {}
            held = tuple((kept | refs).values())
            if parent and catalog.same_parts(parent.parts, held):
                if {a["fingerprint"] for a in aside} <= {
                    a["fingerprint"] for a in parent.put_aside
                }:
                    return None
            return {
                "parts": held,
                "put_aside": aside,
                "message": self.message or f"{self.recipe.name}: {plan.step.name}",
                "recipe": plan.step.to_dict() | {"inputs": inputs, "digest": self.recipe.digest},
                "metadata": study.to_mifa() if study else {},
            }

        made = catalog.commit(self.objects, plan.step.name, build, author=self.settings.author)
        return made or catalog.newest(self.objects, plan.step.name)

    def _make(self, name: str, jobs: Sequence[_Job], workers: Workers) -> None:
        todo: deque[_Task] = deque(self._init(job) for job in jobs)
        alone: deque[_Task] = deque()
        flying: dict[str, _Task] = {}
        total = sum(max(1, job.plan.partitions) for job in jobs)
        bar = tqdm(
            total=total,
            desc=name,
            unit="part.",
            disable=not self.progress,
            mininterval=0.2,
            dynamic_ncols=True,
        )
        with bar:
            while todo or alone or flying:
                self._launch(todo, alone, flying, workers)
                if flying:
                    done = workers.next()
                    task = flying.pop(done.key)
                    bar.update(self._land(task, done, todo, alone))
                    aside = sum(job.aside for job in jobs)
                    if aside:
                        bar.set_postfix_str(f"{aside} put aside")

    def _launch(
        self,
        todo: deque[_Task],
        alone: deque[_Task],
        flying: dict[str, _Task],
        workers: Workers,
    ) -> None:
        """Fill the window; suspects fly alone, when everything else is done."""
        if alone and not todo and not flying:
            todo.append(alone.popleft())
        while todo and len(flying) < workers.capacity:
            task = todo.popleft()
            job, what, function, args = task
            if job.aside:
                continue
            attempt = sum(job.tries.get(kind + what, 0) for kind in ("store", "alone"))
            key = f"{job.plan.base}#{what}#{attempt}"
            flying[key] = task
            workers.submit(key, function, *args)
            if job.tries.get("alone" + what):
                return

    def _land(self, task: _Task, done: Finished, todo: deque[_Task], alone: deque[_Task]) -> int:
        """Deal with a finished task; return by how much the work got less."""
        job, what, _, _ = task
        if job.aside:
            return 0
        if done.error is not None:
            return self._failed(task, done, todo, alone)
        if what == "init":
            return self._begun(job, done.value, todo)
        if what == "finish":
            job.seal, job.summary = done.value["seal"], done.value["summary"]
            return 0
        job.left -= 1
        job.seconds += done.value["seconds"]
        job.written += done.value["bytes"]
        if not job.left:
            todo.appendleft(self._finish(job))
        return 1

    def _begun(self, job: _Job, found: Mapping[str, Any], todo: deque[_Task]) -> int:
        marked = set(found["done"])
        left = [i for i in range(found["partitions"]) if i not in marked]
        job.left = len(left)
        url, base = self.objects.url, job.plan.base
        todo.extendleft((job, str(i), parts.partition, (url, base, i)) for i in reversed(left))
        if not left:
            todo.appendleft(self._finish(job))
        return len(marked) if not found["sealed"] else max(1, job.plan.partitions)

    def _init(self, job: _Job) -> _Task:
        plan = job.plan
        args = (self.objects.url, plan.base, plan.origin.to_dict(), plan.options)
        return job, "init", parts.init, args

    def _finish(self, job: _Job) -> _Task:
        plan = job.plan
        args = (self.objects.url, plan.base, plan.stem, plan.origin.fingerprint)
        return job, "finish", parts.finish, args

    def _failed(self, task: _Task, done: Finished, todo: deque[_Task], alone: deque[_Task]) -> int:
        """Try again, put aside, or end the run."""
        job, what, _, _ = task
        error = done.error
        if done.killed or isinstance(error, MemoryError):
            if not job.tries.get("alone" + what):
                job.tries["alone" + what] = 1
                alone.append(task)
                return 0
            return self._aside(job, f"its task ended its worker twice, once alone: {error}")
        if isinstance(error, InputError | SchemaError):
            return self._aside(job, str(error))
        if isinstance(error, StoreError | DamageError | OSError):
            job.tries["store" + what] = job.tries.get("store" + what, 0) + 1
            if job.tries["store" + what] <= self.settings.retries and not isinstance(
                error, NotFoundError | DamageError
            ):
                time.sleep(_PAUSE * 2 ** job.tries["store" + what])
                todo.appendleft(task)
                return 0
            if isinstance(error, DpipeError):
                raise error
            raise StoreError(f"{job.plan.base}: {error}") from error
        notes = "".join(getattr(error, "__notes__", []))
        self._record(job, notes)
        job.bug = True
        return self._aside(job, f"a bug: {type(error).__name__}: {error}")

    def _aside(self, job: _Job, reason: str) -> int:
        job.reason = " ".join(reason.split())
        self._record(job)
        return max(1, job.plan.partitions)

    def _record(self, job: _Job, trace: str = "") -> None:
        """Keep the reason in the run's folder, so that it can be read and tried again."""
        key = f"runs/{self.outcome.run}/quarantine/{job.plan.dataset}-{job.plan.stem}.json"
        entry = (
            job.put_aside() | {"dataset": job.plan.dataset} | ({"trace": trace} if trace else {})
        )
        self.objects.put(key, json.dumps(entry, indent=1).encode())


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


def _idle(plan: StepPlan) -> dict[str, Any]:
    return {
        "dataset": plan.step.name,
        "version": "",
        "made": [],
        "reused": [part.stem for part in plan.of("reuse")],
        "aside": [{"stem": p.stem, "reason": p.why, "items": p.items} for p in plan.of("aside")],
        "items": sum(part.items for part in plan.parts),
        "seconds": 0.0,
        "task_seconds": 0.0,
        "bytes": 0,
    }
