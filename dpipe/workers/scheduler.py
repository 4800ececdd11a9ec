"""Workers of a scheduler that others started: ``tcp://`` or ``tls://``."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import SplitResult

import dask.config
from distributed import Client, Security
from distributed.comm.core import FatalCommClosedError

from dpipe.config import Settings
from dpipe.errors import StoreError, UsageError
from dpipe.workers.dask import PATIENCE, DaskWorkers, short, welcome
from dpipe.workers.protocol import Workers

_CERTIFICATE = ("tls_ca_file", "tls_client_cert", "tls_client_key")


@contextmanager
def opened(settings: Settings, url: SplitResult) -> Iterator[Workers]:
    """Use a scheduler that others started."""
    address, security = f"{url.scheme}://{url.netloc}", Security()
    if url.scheme == "tls" and not all(getattr(security, name) for name in _CERTIFICATE):
        raise UsageError(
            f"workers {address}: found no certificate; set DASK_DISTRIBUTED__COMM__TLS__CA_FILE, "
            "..__TLS__CLIENT__CERT and ..__TLS__CLIENT__KEY"
        )
    patience = min(30.0, settings.stall_seconds)
    with dask.config.set({"distributed.comm.retry.count": 3}):
        try:
            client = Client(address, security=security, timeout=patience, set_as_default=False)
        except FatalCommClosedError as error:
            raise UsageError(f"{address}: other certificates there: {short(error)}") from error
        except OSError as error:
            raise StoreError(f"{address}: no scheduler can be reached: {short(error)}") from error
        try:
            welcome(client, address, min(PATIENCE, settings.stall_seconds))
            yield DaskWorkers(client, address, settings, own=False)
        finally:
            with suppress(TimeoutError):
                client.close(timeout=5)
