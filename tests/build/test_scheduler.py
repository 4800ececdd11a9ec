"""One dataset's parts on workers whose answers are written down: what is tried again, and how."""

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from dpipe import retry
from dpipe.build import PartSpec, parts, scheduler
from dpipe.build.plan import PartPlan
from dpipe.build.scheduler import Job, Scheduler
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
from dpipe.workers import Finished

SEALED = {"sealed": True, "seal": "s", "summary": {"records": 1}, "seconds": 2.0, "bytes": 7}
DONE = {"seconds": 1.0, "bytes": 10, "objects": 1}
KILLED = MemoryError("its worker died")


def begun(count: int, *done: int) -> dict[str, Any]:
    return {"sealed": False, "partitions": count, "done": list(done)}


class Script:
    """Workers that answer as they are told: by part and task, one answer after the other."""

    def __init__(self, capacity: int = 8, **answers: list[Any]) -> None:
        self.capacity = capacity
        self.answers = {key.replace("_", "#"): deque(said) for key, said in answers.items()}
        self.flying: deque[str] = deque()
        self.late: set[str] = set()
        self.sent: list[str] = []
        self.beside: list[list[str]] = []
        self.new: list[bool] = []

    def submit(self, key: str, function: Callable[..., Any], *args: Any) -> None:
        assert key not in self.sent, "a task that was sent before"
        task = key.rpartition("#")[0]
        self.sent.append(key)
        self.beside.append([other.rpartition("#")[0] for other in self.flying])
        self.flying.append(key)
        self.new += [args[-1]] if function is parts.make else []
        wanted = {"init": parts.make, "finish": parts.finish}
        assert function is wanted.get(task.rpartition("#")[2], parts.partition)

    def next(self) -> Finished:
        key = next((k for k in self.flying if k.rpartition("#")[0] not in self.late),
                   self.flying[0])  # fmt: skip
        self.flying.remove(key)
        task = key.rpartition("#")[0]
        answer = self.answers[task].popleft() if self.answers.get(task) else DONE
        if isinstance(answer, BaseException):
            return Finished(key, None, answer, answer is KILLED)
        return Finished(key, answer, None, False)

    @property
    def tasks(self) -> list[str]:
        return [key.rpartition("#")[0] for key in self.sent]


class Made:
    """Jobs, what became of them, and the pauses that were made."""

    def __init__(self, patch: pytest.MonkeyPatch, script: Script, *stems: str, **said: Any) -> None:
        self.pauses: list[float] = []
        self.aside: list[str] = []
        patch.setattr(scheduler.time, "sleep", self.pauses.append)
        patch.setattr(retry.random, "uniform", lambda low, high: high)
        self.jobs = {stem: Job(plan(stem)) for stem in stems}
        made = Scheduler(
            "d", "memory://x", script, who={}, retries=said.get("retries", 2), progress=False,
            record=lambda job, trace: self.aside.append(job.plan.stem),
        )  # fmt: skip
        made.make(list(self.jobs.values()))


def plan(stem: str) -> PartPlan:
    return PartPlan("d", stem, stem, PartSpec("saved", stem, 1), "make", "new", new=True)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Made]:
    return lambda script, *stems, **said: Made(monkeypatch, script, *stems, **said)


def test_a_part_goes_through_its_partitions_and_is_finished(make: Callable[..., Made]) -> None:
    script = Script(a_init=[begun(3)], a_finish=[SEALED])
    job = make(script, "a").jobs["a"]
    assert script.tasks == ["a#init", "a#0", "a#1", "a#2", "a#finish"]
    assert (job.seal, job.summary, job.aside) == ("s", {"records": 1}, False)
    assert (job.seconds, job.written) == (3.0, 3 * 10 + 7)


def test_what_is_done_is_not_done_again(make: Callable[..., Made]) -> None:
    script = Script(a_init=[begun(3, 0, 2)], b_init=[begun(2, 0, 1)], c_init=[SEALED],
                    a_finish=[SEALED], b_finish=[SEALED])  # fmt: skip
    jobs = make(script, "a", "b", "c").jobs
    assert sorted(script.tasks) == ["a#1", "a#finish", "a#init", "b#finish", "b#init", "c#init"]
    assert [job.seal for job in jobs.values()] == ["s"] * 3
    assert (jobs["c"].seconds, jobs["c"].written) == (2.0, 7)


def test_a_fault_of_the_store_is_tried_again_as_often_as_was_said(
    make: Callable[..., Made],
) -> None:
    fault = StoreError("503")
    script = Script(a_init=[begun(1)], a_0=[fault, fault, fault, DONE], a_finish=[SEALED])
    made = make(script, "a", retries=3)
    assert made.jobs["a"].seal == "s"
    assert script.tasks.count("a#0") == 4
    assert made.pauses == [1, 2, 4]
    script = Script(a_init=[begun(1)], a_0=[fault, fault, fault, DONE])
    with pytest.raises(StoreError, match="503"):
        make(script, "a", retries=2)
    assert script.tasks.count("a#0") == 3


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (DamageError("damaged"), DamageError),
        (NotFoundError("no such object"), StoreError),
        (UsageError("no partition"), StoreError),
    ],
)
def test_what_cannot_help_is_not_tried_again(
    make: Callable[..., Made], error: DpipeError, ends: type[DpipeError]
) -> None:
    script = Script(a_init=[begun(1)], a_0=[error])
    with pytest.raises(ends, match=str(error)) as told:
        make(script, "a")
    assert type(told.value) is ends
    assert script.tasks.count("a#0") == 1


@pytest.mark.parametrize(
    ("error", "bug", "passing"),
    [
        (InputError("damaged"), False, False),
        (SchemaError("other"), False, False),
        (KeyError("x"), True, True),
    ],
)
def test_one_part_is_put_aside_and_the_others_go_on(
    make: Callable[..., Made], error: Exception, bug: bool, passing: bool
) -> None:
    script = Script(a_init=[begun(3)], a_0=[error], a_1=[error], b_init=[begun(1)],
                    b_finish=[SEALED])  # fmt: skip
    made = make(script, "a", "b")
    job = made.jobs["a"]
    assert made.aside == ["a"]  # once, though two of its tasks failed
    assert (job.aside, job.bug, job.passing) == (True, bug, passing)
    assert job.put_aside().get("passing", False) == passing
    assert made.jobs["b"].seal == "s"
    assert script.tasks.count("a#finish") == 0
    assert made.pauses == []


def test_a_source_that_is_gone_is_begun_anew_and_then_put_aside_for_now(
    make: Callable[..., Made],
) -> None:
    gone = GoneError("the share is away")
    script = Script(a_init=[begun(1), SEALED], a_0=[gone])
    assert make(script, "a").jobs["a"].seal == "s"
    assert script.tasks == ["a#init", "a#0", "a#init"]
    script = Script(a_init=[gone] * 3)
    made = make(script, "a", retries=2)
    assert (made.aside, made.jobs["a"].passing) == (["a"], True)
    assert script.tasks == ["a#init"] * 3


def test_a_source_that_is_gone_for_several_tasks_at_once_is_begun_anew_once(
    make: Callable[..., Made],
) -> None:
    gone = GoneError("the share is away")
    script = Script(
        a_init=[begun(3), begun(3)], a_0=[gone, DONE], a_1=[gone, DONE], a_2=[gone, DONE],
        a_finish=[SEALED],
    )  # fmt: skip
    made = make(script, "a", retries=1)
    assert script.tasks == [
        *("a#init", "a#0", "a#1", "a#2"), *("a#init", "a#0", "a#1", "a#2"), "a#finish",
    ]  # fmt: skip
    assert (made.jobs["a"].seal, made.pauses) == ("s", [1])


def test_a_task_that_lands_after_its_part_was_begun_anew_does_not_count(
    make: Callable[..., Made],
) -> None:
    """Partition 1 of the first round comes last of all but the end, and is not waited for twice."""
    gone = GoneError("the share is away")
    script = Script(
        a_init=[begun(2), begun(2)], a_0=[gone, DONE], a_1=[DONE, DONE], a_finish=[SEALED]
    )
    script.late = {"a#1"}
    made = make(script, "a")
    assert script.tasks == ["a#init", "a#0", "a#1", "a#init", "a#0", "a#1", "a#finish"]
    assert made.jobs["a"].seal == "s"
    assert made.jobs["a"].written == 2 * 10 + 7


def test_tasks_that_wait_when_a_part_is_begun_anew_are_not_sent(
    make: Callable[..., Made],
) -> None:
    script = Script(
        1, a_init=[begun(4), begun(2)], a_0=[GoneError("away"), DONE], a_finish=[SEALED]
    )
    make(script, "a")
    assert script.tasks == ["a#init", "a#0", "a#init", "a#0", "a#1", "a#finish"]


@pytest.mark.parametrize("fault", [KILLED, GoneError("away"), StoreError("slow")])
def test_what_was_tried_may_have_left_something(
    make: Callable[..., Made], fault: BaseException
) -> None:
    script = Script(a_init=[fault, SEALED], b_init=[begun(1), SEALED], b_0=[GoneError("away")])
    make(script, "a", "b")
    assert script.new.count(True) == 2
    assert script.new.count(False) == 2


def test_tasks_that_took_their_workers_down_fly_alone_one_after_the_other(
    make: Callable[..., Made],
) -> None:
    script = Script(
        a_init=[begun(2)], a_0=[KILLED, DONE], a_1=[KILLED, DONE], a_finish=[SEALED],
        b_init=[begun(3)], b_finish=[SEALED],
    )  # fmt: skip
    made = make(script, "a", "b")
    assert [job.seal for job in made.jobs.values()] == ["s", "s"]
    again = [script.tasks.index(task, script.tasks.index(task) + 1) for task in ("a#0", "a#1")]
    assert all(script.beside[at] == [] for at in again)
    assert min(again) > script.tasks.index("b#finish")
    assert not {"a#0", "a#1"} & {t for at in again for t in script.beside[at]}


def test_a_task_that_kills_twice_is_put_aside(make: Callable[..., Made]) -> None:
    script = Script(a_init=[begun(1)], a_0=[KILLED, KILLED], b_init=[SEALED])
    made = make(script, "a", "b")
    assert made.aside == ["a"]
    assert made.jobs["a"].reason.startswith("its task ended its worker twice, once alone")
    assert (made.jobs["a"].passing, made.jobs["b"].seal) == (False, "s")


def test_no_more_tasks_fly_than_there_is_room_for(make: Callable[..., Made]) -> None:
    script = Script(2, **{f"{stem}_init": [SEALED] for stem in "abcde"})
    make(script, *"abcde")
    assert max(len(beside) for beside in script.beside) == 1
    assert len(script.sent) == 5


@pytest.mark.parametrize(("kind", "lost"), [("reader", 3), ("operator", 0)])
def test_what_a_reader_put_aside_is_lost_once_not_at_every_operator(kind: str, lost: int) -> None:
    made = PartPlan("d", "a", "a", PartSpec(kind, "ifc", 1), "make", "new", items=9)
    job = Job(made, summary={"put_aside": 3, "aside": [["p1.h5", "damaged"]]})
    assert job.lost == lost
    entries = [(entry["reason"], entry["items"], entry["whole"]) for entry in job.entries()]
    said = "3 of 9 pictures; the first is p1.h5: damaged"
    assert entries == ([(said, 3, False)] if lost else [])
    assert Job(made, reason="gone").lost == 9
