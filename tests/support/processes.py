"""Programs that run beside the tests and can be killed: Dask's, a gateway server, openssl.

with Scheduler(folder) as scheduler, Worker(scheduler, folder):
    ...
    scheduler.signal(signal.SIGKILL)
    scheduler.start()                      again, at the same address
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import psutil

ROOT = Path(__file__).parents[2]


def wait_until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for something, and fail with a text and not by hanging."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds} s still not: {what}")
        time.sleep(0.02)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def alive(pids: list[int]) -> list[int]:
    """Return those of some processes that still run."""
    found = []
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except psutil.NoSuchProcess:
            pass
    return found


def family(pid: int) -> list[int]:
    """Return a process and all below it."""
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


class Program:
    """A program in a session of its own, its output in a file."""

    def __init__(
        self, command: list[str], folder: Path, name: str, env: Mapping[str, str] | None = None
    ) -> None:
        self.command, self.folder, self.name = command, folder, name
        self.log = folder / f"{name}.log"
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
        self.env = {**os.environ, "PYTHONPATH": path, **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self.env,
                start_new_session=True,
            )
        try:
            self.ready()
        except BaseException:
            self.stop()
            raise
        return self

    def ready(self) -> None:
        """Wait until it can be used."""

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to it and to all that it started."""
        assert self.process is not None
        os.killpg(self.process.pid, number)
        if number == signal.SIGKILL:
            self.process.wait(10)

    def stop(self) -> None:
        """End it politely, then not."""
        if self.process is None:
            return
        for number, seconds in ((signal.SIGCONT, 0.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5)):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(seconds)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self.process.wait(5)

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class Scheduler(Program):
    """``dask scheduler`` on the loopback, with TLS where `tls` names files."""

    def __init__(
        self,
        folder: Path,
        tls: Mapping[str, Path] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.tls, self.port = tls, free_port()
        self.address = f"{'tls' if tls else 'tcp'}://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "dask", "scheduler", "--no-dashboard"]
        command += ["--host", f"{'tls' if tls else 'tcp'}://127.0.0.1", "--port", str(self.port)]
        command += ["--dashboard-address", "127.0.0.1:0", *options(tls)]
        super().__init__(command, folder, "scheduler", env)

    def ready(self) -> None:
        def listens() -> bool:
            assert self.running(), self.text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        wait_until(listens, 20, f"the scheduler listens; its log:\n{self.text()}")


class Worker(Program):
    """``dask worker``, without a nanny unless asked for, so that it stays dead when killed."""

    count = 0

    def __init__(
        self,
        scheduler: Scheduler,
        folder: Path,
        *,
        nanny: bool = False,
        threads: int = 1,
        memory: str = "1GB",
        env: Mapping[str, str] | None = None,
    ) -> None:
        Worker.count += 1
        command = [sys.executable, "-m", "dask", "worker", scheduler.address, "--no-dashboard"]
        command += ["--nanny" if nanny else "--no-nanny", "--nthreads", str(threads)]
        command += ["--memory-limit", memory, "--local-directory", str(folder)]
        command += ["--host", "127.0.0.1", "--death-timeout", "5", *options(scheduler.tls)]
        super().__init__(command, folder, f"worker-{Worker.count}", env)


def options(tls: Mapping[str, Path] | None) -> list[str]:
    """Return the options of Dask's programs for TLS."""
    if tls is None:
        return []
    names = {"--tls-ca-file": "ca", "--tls-cert": "cert", "--tls-key": "key"}
    return [word for option, name in names.items() for word in (option, str(tls[name]))]


def certificates(folder: Path) -> dict[str, Path]:
    """Make an authority and one certificate for this machine; each call makes other ones."""
    folder.mkdir(parents=True, exist_ok=True)
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc"
    (folder / "node.cnf").write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nkeyUsage=digitalSignature\n"
        "extendedKeyUsage=serverAuth,clientAuth\n"
    )
    authority = f"req -x509 {key} -days 2 -subj /CN=authority -keyout ca-key.pem -out ca.pem"
    for command in (
        f"{authority} -addext keyUsage=critical,keyCertSign,cRLSign",
        f"req {key} -subj /CN=localhost -keyout key.pem -out request.pem",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2"
        " -extfile node.cnf -out cert.pem",
    ):
        subprocess.run(["openssl", *command.split()], check=True, capture_output=True, cwd=folder)
    return {name: folder / f"{name}.pem" for name in ("ca", "cert", "key")}


class GatewayServer(Program):
    """``dask-gateway-server`` whose clusters are processes of this machine."""

    def __init__(self, folder: Path, password: str = "open sesame") -> None:
        api, web, proxy = free_port(), free_port(), free_port()
        self.host, self.password = f"127.0.0.1:{web}", password
        self.proxy = f"gateway://127.0.0.1:{proxy}"
        dask = [sys.executable, "-m", "dask"]
        settings = {
            "DaskGateway.backend_class": "dask_gateway_server.backends.local.UnsafeLocalBackend",
            "DaskGateway.address": f"127.0.0.1:{api}",
            "DaskGateway.authenticator_class": "dask_gateway_server.auth.SimpleAuthenticator",
            "SimpleAuthenticator.password": password,
            "Proxy.address": self.host,
            "Proxy.tcp_address": f"127.0.0.1:{proxy}",
            "UnsafeLocalBackend.clusters_directory": str(folder / "clusters"),
            # The defaults name programs that distributed no longer has.
            "ClusterConfig.scheduler_cmd": [*dask, "scheduler"],
            "ClusterConfig.worker_cmd": [*dask, "worker"],
            "ClusterConfig.worker_cores": 1,
            "ClusterConfig.worker_memory": "1 G",
            "ClusterConfig.cluster_max_workers": 2,
            "ClusterConfig.idle_timeout": 60,
        }
        config = folder / "gateway_config.py"
        config.write_text("".join(f"c.{name} = {value!r}\n" for name, value in settings.items()))
        command = [sys.executable, "-m", "dask_gateway_server", "-f", str(config)]
        super().__init__(command, folder, "gateway")

    def ready(self) -> None:
        def healthy() -> bool:
            assert self.running(), self.text()
            try:
                with urllib.request.urlopen(f"http://{self.host}/api/health", timeout=5) as answer:
                    return json.load(answer)["status"] != "fail"
            except (urllib.error.URLError, OSError):
                return False

        wait_until(healthy, 30, "the gateway is healthy")
