"""Tasks on all four kinds of workers, and every way in which workers can fail.

Tasks are functions of the standard library, so that worker processes need nothing of the tests.
"""

import builtins
import operator
import os
import resource
import signal
import subprocess
import sys
import time
import types
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import dask.config
import distributed  # noqa: F401 - its defaults, before anything is set beside them
import psutil
import pytest
from processes import (
    ROOT,
    GatewayServer,
    Scheduler,
    Worker,
    alive,
    certificates,
    family,
    wait_until,
)

from dpipe.config import Settings
from dpipe.errors import InputError, StalledError, StoreError, UsageError
from dpipe.workers import Finished, connect, processes, tasks
from dpipe.workers import address as workers_address
from dpipe.workers.dask import DaskWorkers

pytestmark = pytest.mark.slow

GB = 10**9


def settings(workers, **other):
    return Settings(**{"workers": workers, "memory": GB, "stall_seconds": 60.0, **other})


def ask(workers, function, *args, key="k"):
    """One task, alone."""
    workers.submit(key, function, *args)
    return workers.next()


def raise_odd():
    class Odd(Exception):
        """Its arguments do not rebuild it, so it cannot be unpickled."""

        def __init__(self, a, b):
            super().__init__(a + b)

    raise Odd(1, 2)


def raise_input():
    try:
        raise KeyError("inner")
    except KeyError as inner:
        raise InputError("a.ims: truncated") from inner


# --- what an address says ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "scheme", "count"),
    [
        ("0", "here", 2),
        (" 3 ", "local", 3),
        ("tcp://127.0.0.1:8786", "tcp", 2),
        ("tcp://localhost:8786", "tcp", 2),
        ("tcp://[::1]:8786", "tcp", 2),
        ("tls://scheduler.lab.org:8786", "tls", 2),
        ("gateway://", "gateway", 2),
        ("gateway://hub:8001/services/dask-gateway?workers=7", "gateway", 7),
    ],
)
def test_address(text, scheme, count):
    url = workers_address.parse(text)
    assert (url.scheme, workers_address.count(url)) == (scheme, count)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (" ", "expected 0, a number"),
        ("two", "expected 0, a number"),
        ("-1", "expected 0, a number"),
        ("http://127.0.0.1:8786", "expected 0, a number"),
        ("tls://127.0.0.1", "expected 0, a number"),
        ("tcp://127.0.0.1:99999", "expected 0, a number"),
        ("tcp://[::1", "expected 0, a number"),
        ("tcp://10.0.0.7:8786", "DPIPE_INSECURE"),
        ("tcp://localhost.evil.org:8786", "DPIPE_INSECURE"),
        ("gateway://me:secret@hub:8001", "password"),
        ("gateway://127.0.0.1:1?workers=0", "number from 1"),
        ("gateway://127.0.0.1:1?workers=many", "number from 1"),
    ],
)
def test_bad_address(text, says, monkeypatch):
    monkeypatch.delenv("DPIPE_INSECURE", raising=False)
    with pytest.raises(UsageError, match=says) as caught, connect(settings(text)):
        pass
    assert "secret" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_plain_traffic_can_be_allowed(monkeypatch):
    monkeypatch.setenv("DPIPE_INSECURE", "1")
    assert workers_address.parse("tcp://10.0.0.7:8786").hostname == "10.0.0.7"


# --- this process -----------------------------------------------------------------------------


def test_here_runs_in_order():
    with connect(settings("0")) as workers:
        assert (workers.label, workers.capacity, workers.memory) == ("this process", 1, GB)
        workers.submit("a", operator.add, 1, 2)
        workers.submit("b", os.getpid)
        assert workers.in_flight() == 2
        assert workers.next() == Finished("a", 3)
        assert workers.next() == Finished("b", os.getpid())
        with pytest.raises(LookupError, match="nothing"):
            workers.next()
        workers.submit("c", operator.add, 1, 2)
        workers.cancel()
        assert workers.in_flight() == 0


@pytest.mark.parametrize(
    ("function", "kind", "says", "noted"),
    [
        (raise_input, InputError, "a.ims: truncated", "inner"),
        (raise_odd, RuntimeError, "Odd: 3", "raise_odd"),
        (sys.exit, RuntimeError, "a task must not exit", "SystemExit"),
    ],
)
def test_errors_are_values(function, kind, says, noted):
    with connect(settings("0")) as workers:
        finished = ask(workers, function)
    assert type(finished.error) is kind
    assert says in str(finished.error)
    assert not finished.killed
    assert noted in finished.error.__notes__[0]  # the traceback of where it happened
    # Nothing that holds frames, and with them arrays, alive.
    assert (finished.error.__traceback__, finished.error.__cause__) == (None, None)
    assert finished.error.__context__ is None


def test_keyboard_goes_through():
    with connect(settings("0")) as workers, pytest.raises(KeyboardInterrupt):
        ask(workers, signal.raise_signal, signal.SIGINT)


# --- processes of this machine ----------------------------------------------------------------


def test_processes_here(capfd, monkeypatch):
    """One cluster, one story: it works, it bears everything, it leaves nothing."""
    before = family(os.getpid())
    with connect(settings("2")) as workers:
        assert (workers.label, workers.capacity) == ("2 processes here", 4)
        assert workers.memory == GB
        for i in range(20):
            workers.submit(f"k{i}", operator.mul, i, i)
        found = [workers.next() for _ in range(20)]
        assert {f.key: f.value for f in found} == {f"k{i}": i * i for i in range(20)}
        with pytest.raises(LookupError):
            workers.next()

        # Its own processes only, reached from this machine only.
        ours = [pid for pid in family(os.getpid()) if pid not in before]
        listening = [
            c.laddr.ip
            for pid in [os.getpid(), *ours]
            for c in psutil.Process(pid).net_connections()
            if c.status == psutil.CONN_LISTEN
        ]
        assert set(listening) == {"127.0.0.1"}
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
            assert ask(workers, os.getenv, name).value == "1"

        # Too much memory: an error at once, and the same process lives on.
        pid = ask(workers, os.getpid).value
        hungry = ask(workers, bytearray, 3 * GB)
        assert isinstance(hungry.error, MemoryError)
        assert not hungry.killed
        assert alive([pid])
        again = ask(workers, os.getpid)  # alone after that: a fresh process
        assert again.value != pid

        # A crash, and an exit that no exception tells of.
        for function, argument in ((signal.raise_signal, signal.SIGSEGV), (os._exit, 0)):
            dead = ask(workers, function, argument, key="poison")
            assert (dead.key, dead.killed, type(dead.error)) == ("poison", True, MemoryError)
        assert ask(workers, operator.add, 1, 2).value == 3

        unknown = ask(workers, builtins.eval, "1 +")
        assert type(unknown.error) is SyntaxError

        # A function of a module that workers do not have.
        monkeypatch.setitem(sys.modules, "my_lab", types.ModuleType("my_lab"))
        exec("def sharpness(): return 1", sys.modules["my_lab"].__dict__)
        absent = ask(workers, sys.modules["my_lab"].sharpness)
        assert type(absent.error) is ModuleNotFoundError
        assert "my_lab" in str(absent.error)

        # Cancelled tasks never come back, not even those that run.
        workers.submit("long", time.sleep, 60)
        workers.submit("longer", time.sleep, 60)
        workers.cancel()
        assert workers.in_flight() == 0
        started = time.monotonic()
    assert time.monotonic() - started < 40  # the tasks take 60
    wait_until(lambda: not alive(ours[1:]), 20, "the processes are gone")
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


@pytest.mark.faults
def test_all_die_at_once():
    """What is tried after that meets none that is dead already."""
    with connect(settings("2")) as workers:
        for turn in range(6):
            workers.submit("a", time.sleep, 60)
            time.sleep(0.3)
            ours = list(workers._client.run(os.getpid).values())
            for pid in ours if turn % 2 else ours[::-1]:
                os.kill(pid, signal.SIGKILL)
            assert workers.next().killed
            assert ask(workers, operator.add, 1, 2).value == 3
            wait_until(lambda: len(workers._client.run(os.getpid, on_error="ignore")) == 2, 20, "")


@pytest.mark.faults
def test_nothing_hangs_here():
    """Frozen for ever, or merely endless."""
    with connect(settings("1", stall_seconds=90.0)) as workers:  # patience is a third of it
        assert workers.label == "1 process here"
        pid = ask(workers, os.getpid).value
        os.kill(pid, signal.SIGSTOP)
        frozen = ask(workers, operator.add, 1, 2, key="frozen")
        assert (frozen.key, frozen.killed) == ("frozen", True)
        assert ask(workers, operator.add, 1, 2).value == 3  # another process took its place
        workers._stall = 0.5
        with pytest.raises(
            StalledError, match=r"nothing was finished for 0.5 s.*the first endless"
        ):
            ask(workers, time.sleep, 60, key="endless")


DRIVER = """
import time
from dpipe.workers import connect
from dpipe.config import Settings
def main():
    print("starting", flush=True)
    with connect(Settings(workers="2", memory=10**9)) as workers:
        workers.submit("a", time.sleep, 60)
        workers.submit("b", time.sleep, 60)
        time.sleep(0.2)
        print("working", flush=True)
        workers.next()
if __name__ == "__main__":
    main()
"""


@pytest.mark.faults
@pytest.mark.parametrize(
    ("number", "when", "quiet"),
    [
        (signal.SIGKILL, "working", False),
        (signal.SIGINT, "working", True),
        (signal.SIGINT, "starting", True),
    ],
    ids=["killed", "^C", "^C at start"],
)
def test_driver_stops(tmp_path, number, when, quiet):
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    driver = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert driver.stdout is not None
    try:
        while driver.stdout.readline().strip() != when:
            assert driver.poll() is None
        if when == "starting":
            wait_until(lambda: len(family(driver.pid)) > 2, 60, "workers start")
        pids = family(driver.pid)
        (os.kill if number == signal.SIGKILL else os.killpg)(driver.pid, number)
        _, err = driver.communicate(timeout=50)
    finally:
        if driver.poll() is None:
            os.killpg(driver.pid, signal.SIGKILL)
            driver.communicate()
    assert driver.returncode == -number
    wait_until(lambda: not alive(pids), 40, "the processes are gone")
    if quiet:
        assert err.rstrip().endswith("KeyboardInterrupt")
        assert err.count("Traceback") == 1
        assert not list(tmp_path.glob("dpipe-*"))  # spill folders


def test_processes_that_do_not_start(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("Nanny failed to start.\nand more")

    monkeypatch.setattr(processes, "LocalCluster", fail)
    with pytest.raises(StoreError, match=r"started here: RuntimeError: Nanny failed to start\.$"):
        connect(settings("1")).__enter__()


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_limit_memory(monkeypatch):
    """A limit counts from what is used; a process above it keeps a tenth for its errors."""
    asked = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (-1, -1))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits[0]))
    page = resource.getpagesize()
    monkeypatch.setattr(Path, "read_text", lambda _: "900 100 50 1 0 300 0")
    tasks.limit_memory(1000 * page)
    tasks.limit_memory(50 * page)
    # mapped 300; 0.9 * 1000 - 100 used = 800 to come; 50 is less than is used: 50 / 10 to come
    assert asked == [(300 + 800) * page, (300 + 5) * page]
    tasks.limit_memory(0)
    assert len(asked) == 2


# --- a scheduler that others started ----------------------------------------------------------


@pytest.fixture
def scheduler(tmp_path):
    with Scheduler(tmp_path) as scheduler:
        yield scheduler


@pytest.mark.faults
def test_scheduler_lost(scheduler, tmp_path):
    with Worker(scheduler, tmp_path, threads=2, memory="600MB") as worker:
        with connect(settings(scheduler.address)) as workers:
            assert (workers.label, workers.capacity) == (scheduler.address, 4)
            assert workers.memory == 300_000_000  # half of a worker's, since it has two threads
            assert ask(workers, operator.add, 1, 2).value == 3
            workers.submit("a", time.sleep, 60)
            time.sleep(0.2)
            scheduler.signal(signal.SIGKILL)
            started = time.monotonic()
            with pytest.raises(StoreError, match="scheduler is lost; run the same command again"):
                workers.next()
        assert time.monotonic() - started < 10
        worker.signal(signal.SIGKILL)  # it would wait for its task
    scheduler.start()
    with Worker(scheduler, tmp_path), connect(settings(scheduler.address)) as workers:
        assert ask(workers, operator.add, 1, 2).value == 3


@pytest.mark.faults
def test_workers_come_and_go(scheduler, tmp_path):
    """One is killed with a task on it: another does the task. All are gone: the run ends."""
    with (
        Worker(scheduler, tmp_path) as first,
        Worker(scheduler, tmp_path) as second,
        connect(settings(scheduler.address)) as workers,
    ):
        wait_until(lambda: workers._look() or workers.capacity == 4, 10, "both are there")
        workers.submit("a", time.sleep, 1)
        workers.submit("b", time.sleep, 1)
        time.sleep(0.4)
        first.signal(signal.SIGKILL)
        assert {workers.next().key, workers.next().key} == {"a", "b"}
        workers._looked -= 11
        assert ask(workers, operator.add, 1, 2).value == 3
        assert workers.capacity == 2
        second.signal(signal.SIGKILL)
        workers._stall = 1.0
        with pytest.raises(StalledError, match="nothing was finished for 1 s"):
            ask(workers, operator.add, 1, 2)


@pytest.mark.faults
def test_no_workers(tmp_path):
    env = {"DASK_DISTRIBUTED__SCHEDULER__NO_WORKERS_TIMEOUT": "1s"}
    with Scheduler(tmp_path, env=env) as scheduler:
        with (
            pytest.raises(StoreError, match="no worker came up in 1 s"),
            connect(settings(scheduler.address, stall_seconds=1.0)),
        ):
            pass
        with Worker(scheduler, tmp_path) as worker, connect(settings(scheduler.address)) as workers:
            worker.signal(signal.SIGKILL)
            with pytest.raises(StalledError, match="no workers are left"):
                ask(workers, operator.add, 1, 2)


@pytest.mark.faults
def test_version_skew(scheduler, tmp_path):
    other = tmp_path / "old" / "zarr-3.0.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: zarr\nVersion: 3.0.0\n")
    path = os.pathsep.join([str(other.parent), str(ROOT)])
    with (
        Worker(scheduler, tmp_path, env={"PYTHONPATH": path}),
        pytest.raises(UsageError, match=r"zarr is \S+ here and 3.0.0 on tcp://127") as caught,
        connect(settings(scheduler.address)),
    ):
        pass
    assert len(str(caught.value).splitlines()) == 1


def test_nobody_there():
    with (
        pytest.raises(StoreError, match="no scheduler can be reached"),
        connect(settings("tcp://127.0.0.1:1", stall_seconds=0.5)),
    ):
        pass


@pytest.mark.faults
def test_tls(tmp_path):
    ours, other = certificates(tmp_path / "ours"), certificates(tmp_path / "other")
    names = {"ca-file": "ca", "client.cert": "cert", "client.key": "key"}

    def configured(files):
        return dask.config.set(
            {f"distributed.comm.tls.{name}": str(files[file]) for name, file in names.items()}
        )

    with Scheduler(tmp_path, ours) as scheduler, Worker(scheduler, tmp_path):
        with configured(ours), connect(settings(scheduler.address)) as workers:
            assert ask(workers, operator.add, 1, 2).value == 3
        plain = scheduler.address.replace("tls", "tcp")
        for files, address, kind, says in (
            (None, scheduler.address, UsageError, "found no certificate"),
            (other, scheduler.address, UsageError, "other certificates"),
            (None, plain, StoreError, "no scheduler can be reached"),
        ):
            with (
                configured(files) if files else nullcontext(),
                pytest.raises(kind, match=says) as caught,
                connect(settings(address, stall_seconds=3.0)),
            ):
                pass
            assert len(str(caught.value).splitlines()) == 1


# --- dask-gateway -----------------------------------------------------------------------------


@pytest.mark.faults
def test_gateway(tmp_path):
    pytest.importorskip("dask_gateway_server")
    import dask_gateway  # noqa: F401  before its configuration is touched

    def configured(password):
        return dask.config.set(
            {
                "gateway.proxy-address": server.proxy,
                "gateway.auth.kwargs": {"username": "ada", "password": password},
            }
        )

    with GatewayServer(tmp_path) as server:
        wanted = settings(f"gateway://{server.host}?workers=1", stall_seconds=60.0)
        idle = len(family(server.process.pid))
        with configured(server.password), connect(wanted) as workers:
            assert workers.label.startswith("cluster ")
            assert (workers.capacity, workers.memory) == (2, 2**30)
            assert ask(workers, operator.add, 1, 2).value == 3
            assert len(family(server.process.pid)) > idle
        wait_until(
            lambda: len(alive(family(server.process.pid))) <= idle, 20, "the cluster is gone"
        )
        with (
            configured("wrong"),
            pytest.raises(StoreError, match=r"no cluster was made: .*401"),
            connect(wanted),
        ):
            pass


def test_gateway_without_address():
    import dask_gateway  # noqa: F401

    with (
        dask.config.set({"gateway.address": None}),
        pytest.raises(UsageError, match="No dask-gateway address"),
        connect(settings("gateway://")),
    ):
        pass


def test_gateway_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_gateway", None)
    with (
        pytest.raises(UsageError, match=r"pip install dpipe\[hub\]"),
        connect(settings("gateway://")),
    ):
        pass


def test_result_lost_on_the_way():
    """The scheduler says finished, and then is gone or silent when the result is asked for."""
    client = SimpleNamespace(scheduler_info=lambda: {"workers": {}})
    workers = DaskWorkers(client, "tcp://s", settings("tcp://s:1"), own=False)

    def future(error):
        def result(timeout):
            raise error

        return SimpleNamespace(key="name", result=result)

    for error, kind in ((OSError("closed"), StoreError), (TimeoutError(), StalledError)):
        workers._in_flight["name"] = ("k", future(error))
        workers._done.put(SimpleNamespace(key="cancelled before"))
        workers._done.put(future(error))
        with pytest.raises(kind, match="tcp://s"):
            workers.next()
