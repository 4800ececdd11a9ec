"""Workers of a cluster that dask-gateway makes for a run: ``gateway://``."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import SplitResult

from distributed.utils import LoopRunner

from dpipe.config import Settings
from dpipe.errors import StoreError, UsageError
from dpipe.workers.address import count, trusted
from dpipe.workers.dask import DaskWorkers, short, welcome
from dpipe.workers.protocol import Workers

_START = 600.0  # dask-gateway may have to buy machines first


@contextmanager
def opened(settings: Settings, url: SplitResult) -> Iterator[Workers]:
    """Have dask-gateway make a cluster for this run, and end it afterwards."""
    try:
        from dask_gateway import GatewayCluster
    except ImportError as error:
        raise UsageError("gateway:// needs dask-gateway: pip install dpipe[hub]") from error
    scheme = "http" if trusted(url.hostname) else "https"
    address = f"{scheme}://{url.netloc}{url.path}" if url.netloc else None
    label, asked = address or "the gateway of Dask's configuration", count(url)
    threads = LoopRunner()  # never stopped: what is collected late still looks for its loop
    threads.start()
    try:
        cluster = GatewayCluster(address=address, loop=threads.loop, shutdown_on_close=True)
    except ValueError as error:
        raise UsageError(f"{label}: {short(error)}; see gateway.yaml of Dask") from error
    except Exception as error:
        raise StoreError(f"{label}: no cluster was made: {short(error)}") from error
    with cluster:
        cluster.scale(asked)
        with cluster.get_client(set_as_default=False) as client:
            welcome(client, label, min(_START, settings.stall_seconds))
            yield DaskWorkers(client, f"cluster {cluster.name}", settings, own=False)
