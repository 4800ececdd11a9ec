"""One dataset's parts on workers: a bounded window, retries, parts put aside.

Each part goes through ``init``, its partitions and ``finish`` as tasks. A damaged input is put
aside with its reason and the rest goes on. A task that took its worker down flies again alone; if
it does so twice, its part is put aside. A fault of the store or the network is tried again, then
ends the run, and blames no input.

This module decides what is tried again; it knows nothing of versions or pixels.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tqdm import tqdm

from dpipe import catalog, retry
from dpipe.build import parts
from dpipe.build.plan import PartPlan
from dpipe.errors import (
    DamageError,
    DpipeError,
    GoneError,
    InputError,
    NotFoundError,
    SchemaError,
    StoreError,
    UsageError,
)
from dpipe.redaction import masked
from dpipe.workers import Finished, Workers

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds


@dataclass
class Job:
    """One part on its way: its pending partitions, then its seal or why it was put aside."""

    plan: PartPlan
    pending: int = 0
    seal: str = ""
    summary: catalog.Summary = field(default_factory=catalog.Summary)
    reason: str = ""
    bug: bool = False
    passing: bool = False
    seconds: float = 0.0
    written: int = 0
    tries: dict[str, int] = field(default_factory=dict)
    round: int = 0
    """How often it was begun anew, since its source was gone; tasks of earlier rounds are void."""

    @property
    def aside(self) -> bool:
        """Whether it was put aside."""
        return bool(self.reason)

    def ref(self) -> catalog.PartRef:
        """Return it as a version names it."""
        plan = self.plan
        return plan.ref or catalog.PartRef(
            plan.stem,
            plan.origin.fingerprint,
            plan.base,
            self.seal,
            self.summary,
            plan.stamp,
            plan.origin.attempt,
        )

    def put_aside(self) -> catalog.PutAside:
        """Return the entry of a version for a part that was put aside."""
        entry = catalog.PutAside(
            stem=self.plan.stem,
            fingerprint=self.plan.origin.fingerprint,
            reason=self.reason,
            items=self.plan.items,
            sources=[item["path"] for item in self.plan.origin.items],
        )
        if self.passing:
            entry["passing"] = True
        return entry

    @property
    def lost(self) -> int:
        """Source items that were put aside: all of them, or some pictures of a collection."""
        if self.aside:
            return self.plan.items
        return self.summary.get("put_aside", 0) if self.plan.origin.kind == "reader" else 0

    def entries(self) -> list[catalog.PutAside]:
        """Return the entries of a version for the part, or for pictures of it, put aside."""
        if self.aside or not self.lost:
            return [self.put_aside()] if self.aside else []
        named = self.summary["aside"]
        entry = self.put_aside()
        first = ": ".join(named[0])
        entry["reason"] = f"{self.lost} of {self.plan.items} pictures; the first is {first}"
        entry["items"] = self.lost
        entry["sources"] = [name for name, _ in named]
        entry["whole"] = False
        return [entry]


class _Task(NamedTuple):
    """A task for a worker: ``init``, a partition or ``finish`` of a job."""

    job: Job
    what: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    round: int

    @property
    def void(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.job.aside or self.round != self.job.round


class Scheduler:
    """Makes the parts of one dataset.

    Parameters
    ----------
    name : str
        The dataset, for the progress bar.
    url : str
        The store.
    workers : Workers
        Where tasks run.
    who : mapping
        ``author`` and ``run``, for the provenance of parts.
    retries : int
        How often a task is tried again after a fault of the store.
    recompute : int
        Of so many partitions of operators one is computed twice.
    record : callable
        Called with a job that was put aside and a traceback or "".
    progress : bool
        Show a bar on stderr.
    """

    def __init__(
        self,
        name: str,
        url: str,
        workers: Workers,
        *,
        who: Mapping[str, str],
        retries: int,
        recompute: int = 0,
        record: Callable[[Job, str], None],
        progress: bool,
    ) -> None:
        self.name, self.url, self.workers, self.who = name, url, workers, dict(who)
        self.retries, self.record, self.progress = retries, record, progress
        self.recompute = recompute
        self._todo: deque[_Task] = deque()
        self._isolated: deque[_Task] = deque()
        self._in_flight: dict[str, _Task] = {}
        self._aside = self._total = 0
        self._bar = tqdm(disable=True)

    def make(self, jobs: Sequence[Job]) -> None:
        """Make the parts, or put them aside; raise if the run must end."""
        self._todo.extend(self._init(job) for job in jobs)
        self._total = sum(max(1, job.plan.partitions) for job in jobs)
        self._bar = tqdm(
            total=self._total,
            desc=self.name,
            unit="part.",
            disable=not self.progress,
            mininterval=0.2,
            dynamic_ncols=True,
        )
        with self._bar:
            while self._todo or self._isolated or self._in_flight:
                self._submit()
                if self._in_flight:
                    done = self.workers.next()
                    self._bar.update(self._finished(self._in_flight.pop(done.key), done))
                    if self._aside:
                        self._bar.set_postfix_str(f"{self._aside} put aside")

    def _submit(self) -> None:
        """Fill the window; suspects fly alone, when everything else is done."""
        if self._isolated and not self._todo and not self._in_flight:
            self._todo.append(self._isolated.popleft())
        while self._todo and len(self._in_flight) < self.workers.capacity:
            task = self._todo.popleft()
            if task.void:
                continue
            job, what = task.job, task.what
            attempt = sum(job.tries.get(kind + what, 0) for kind in ("store", "alone"))
            key = f"{job.plan.base}#{what}#{task.round}.{attempt}"
            self._in_flight[key] = task
            self.workers.submit(key, task.function, *task.args)
            if job.tries.get("alone" + what):
                return

    def _finished(self, task: _Task, done: Finished) -> int:
        """Take the result of a task; return the number of partitions that are done with it."""
        job, what = task.job, task.what
        if task.void:
            return 0
        if done.error is not None:
            return self._failed(task, done)
        if what == "init":
            return self._begun(job, done.value)
        if what == "finish":
            self._ended(job, done.value)
            return 0
        job.pending -= 1
        job.seconds += done.value["seconds"]
        job.written += done.value["bytes"]
        if not job.pending:
            self._todo.appendleft(self._finish(job))
        return 1

    def _ended(self, job: Job, part: parts.SealedPart) -> None:
        job.seal, job.summary = part["seal"], part["summary"]
        job.written += part["bytes"]

    def _begun(self, job: Job, part: parts.Begun | parts.SealedPart) -> int:
        if part["sealed"]:
            self._ended(job, part)
            job.seconds += part["seconds"]
            return max(1, job.plan.partitions)
        marked = set(part["done"])
        # what was begun before may be cut in another way
        self._total += part["partitions"] - max(1, job.plan.partitions)
        self._bar.total = self._total
        unmarked = [i for i in range(part["partitions"]) if i not in marked]
        job.pending = len(unmarked)
        url, base = self.url, job.plan.base
        self._todo.extendleft(
            _Task(job, str(i), parts.partition, (url, base, i, self.recompute), job.round)
            for i in reversed(unmarked)
        )
        if not unmarked:
            self._todo.appendleft(self._finish(job))
        return len(marked)

    def _init(self, job: Job) -> _Task:
        plan = job.plan
        new = plan.new and not job.tries  # what was tried may have left something
        spec = plan.origin.to_dict()
        args = (self.url, plan.base, spec, plan.options, self.who, self.recompute, new)
        return _Task(job, "init", parts.make, args, job.round)

    def _finish(self, job: Job) -> _Task:
        return _Task(job, "finish", parts.finish, (self.url, job.plan.base, self.who), job.round)

    def _failed(self, task: _Task, done: Finished) -> int:
        """Try again, put aside, or end the run."""
        job, error = task.job, done.error
        if done.killed or isinstance(error, MemoryError):
            return self._suspect(task, error)
        if isinstance(error, GoneError) and self._again(task, error):
            return 0  # a share that is away for a moment comes back
        if isinstance(error, InputError | SchemaError):
            job.passing = isinstance(error, GoneError)
            return self._put_aside(job, str(error))
        if isinstance(error, DpipeError | OSError):
            if type(error) is not DamageError and self._again(task, error):
                return 0
            raise self._end(job, error)
        job.bug = job.passing = True
        trace = "".join(getattr(error, "__notes__", []))
        why = " ".join(f"a bug: {type(error).__name__}: {error}".split())
        return self._put_aside(job, why, trace)

    def _suspect(self, task: _Task, error: BaseException | None) -> int:
        """Try a task that took its worker down again, alone; put its part aside the second time."""
        job, what = task.job, task.what
        if job.tries.get("alone" + what):
            return self._put_aside(job, f"its task ended its worker twice, once alone: {error}")
        job.tries["alone" + what] = 1
        self._isolated.append(self._init(job) if what == "init" else task)
        return 0

    @staticmethod
    def _end(job: Job, error: Exception) -> DpipeError:
        """Return the error that ends the run; a task's mistake is a fault of the store by now."""
        if isinstance(error, NotFoundError):
            return StoreError(f"{error}; did somebody delete it? Run the same command again")
        if isinstance(error, DpipeError) and not isinstance(error, UsageError):
            return error
        return StoreError(f"{job.plan.dataset}/{job.plan.stem}: {error}")

    def _again(self, task: _Task, error: Exception | None = None) -> bool:
        """Try a task again after a pause, unless that was done often enough or cannot help."""
        job, what = task.job, task.what
        if isinstance(error, NotFoundError | UsageError):
            return False
        job.tries["store" + what] = job.tries.get("store" + what, 0) + 1
        if job.tries["store" + what] > self.retries:
            return False
        failures = job.tries["store" + what]
        time.sleep(retry.pause(failures, first=FIRST_PAUSE, longest=LONGEST_PAUSE, least=0.5))
        gone = type(error) is GoneError  # a part whose source changed under it is begun anew
        job.round += gone
        self._todo.appendleft(self._init(job) if gone or what == "init" else task)
        return True

    def _put_aside(self, job: Job, reason: str, trace: str = "") -> int:
        job.reason = masked(" ".join(reason.split()))
        self._aside += 1
        self.record(job, trace)
        return max(1, job.plan.partitions)
