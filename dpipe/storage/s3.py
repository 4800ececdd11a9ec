"""An S3 file system with patience: a request that may succeed later is sent up to ten times.

s3fs gives up a 500 at once, other faults after five tries, and nests one such loop in another. Here
botocore and s3fs try once, and one loop of ours, with random pauses that grow, stands around each
request and around each body that is read. What it gives up becomes a ``StoreError``.

It knows nothing of keys or stores.
"""

import asyncio
import atexit
import contextlib
import functools
import os
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import fsspec.asyn
import s3fs
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from s3fs.core import S3_RETRYABLE_ERRORS

from dpipe import retry
from dpipe.errors import DpipeError, NotFoundError, StoreError
from dpipe.storage.documents import Json

TRIES, FIRST_PAUSE, LONGEST_PAUSE = 10, 0.2, 8.0  # seconds; 18 s of pauses on average, 36 at most
_PASSING_STATUS = frozenset({409, 429, 500, 502, 503, 504})
_PASSING_CODES = frozenset(
    {"RequestTimeout", "SlowDown", "Throttling", "XAmzContentSHA256Mismatch"}
)
_PASSING_ERRORS = (
    *S3_RETRYABLE_ERRORS,
    FlexibleChecksumError,
    BotoConnectionError,
    ConnectionError,
    TimeoutError,
)
_known_buckets: set[tuple[str, str]] = set()


class PatientS3(s3fs.S3FileSystem):
    """s3fs with one loop of retries; it holds no credential and pickles without any.

    A protocol name of its own keeps fsspec's configuration (``FSSPEC_S3_KEY``), which would put
    secrets into its arguments and so into its pickle, away from it.
    """

    protocol = ("dpipe-s3",)
    retries = 1

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.home: asyncio.AbstractEventLoop | None = None

    async def _call_s3(self, method: str, *args: Any, **kwargs: Any) -> Any:
        if self.home is None:  # registered late: so it runs before the loop's own end
            self.home = asyncio.get_running_loop()
            atexit.register(_close, weakref.ref(self))
        return await patiently(functools.partial(super()._call_s3, method, *args, **kwargs))

    async def _cat_file(self, path: str, *args: Any, **kwargs: Any) -> bytes:
        return await patiently(functools.partial(super()._cat_file, path, *args, **kwargs))

    def call(self, method: str, **kwargs: Any) -> Json:
        """Send one request by its botocore name and return the answer."""
        return fsspec.asyn.sync(self.loop, self._call_s3, method, **kwargs)

    async def close(self) -> None:
        """Close the connections."""
        if getattr(self, "_s3", None) is not None:
            creator, self._s3 = self._s3creator, None
            await creator.__aexit__(None, None, None)


def connect(*, anonymous: bool = False) -> PatientS3:
    """Return the file system for the endpoint and credentials in the environment now."""
    variables = tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith("AWS_")))
    return _connect(variables, anonymous)


@functools.cache  # never dropped: a connection is closed at the end of the process
def _connect(variables: tuple[tuple[str, str], ...], anonymous: bool) -> PatientS3:
    return PatientS3(
        anon=anonymous,
        use_listings_cache=False,
        default_cache_type="none",
        max_concurrency=1,  # else a read is a HEAD and a GET
        config_kwargs={
            "connect_timeout": 10,
            "read_timeout": 30,
            "max_pool_connections": 64,
            "retries": {"total_max_attempts": 1},
        },
        skip_instance_cache=True,
    )


def _close(reference: "weakref.ref[PatientS3]") -> None:
    """Close the connections at the end of the process: aiohttp complains of those left open."""
    filesystem = reference()
    if filesystem is not None and filesystem.home is not None and filesystem.home.is_running():
        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(filesystem.close(), filesystem.home).result(2)


@contextlib.contextmanager
def told(url: str, key: str, what: str, *, anonymous: bool = False) -> Iterator[PatientS3]:
    """Give the file system, and turn its failures into one line that holds no secret."""
    where, bucket = f"{url}/{key}", url.partition("://")[2].partition("/")[0]
    try:
        yield connect(anonymous=anonymous)
    except StoreError as error:  # given up by `patiently`, or told already
        if url in str(error):
            raise
        raise StoreError(f"{where}: cannot {what}: {error}; is the server up?") from error
    except DpipeError:
        raise
    except FileNotFoundError as error:
        if _no_bucket(error, bucket, anonymous=anonymous):
            raise StoreError(
                f"{url}: no bucket {bucket!r}; check the name and AWS_ENDPOINT_URL"
            ) from error
        raise NotFoundError(f"{where}: no such object; check the name") from None
    except PermissionError as error:
        raise StoreError(
            f"{where}: may not {what} in bucket {bucket!r} ({describe(error)}); check the "
            "credentials in the environment and what they allow"
        ) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise StoreError(
            f"{where}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE"
            " or a role; a public bucket is anon+s3://"
        ) from error
    except (OSError, ValueError, ClientError, BotoCoreError) as error:
        raise StoreError(
            f"{where}: cannot {what}: {describe(error)}; check AWS_ENDPOINT_URL and the server"
        ) from error


def _no_bucket(error: FileNotFoundError, bucket: str, *, anonymous: bool) -> bool:
    """Tell a missing bucket from a missing object, which a HEAD does not."""
    code = answer(error)[1]
    place = (os.environ.get("AWS_ENDPOINT_URL", ""), bucket)
    if code != "404" or place in _known_buckets:
        return code == "NoSuchBucket"
    try:
        connect(anonymous=anonymous).call("head_bucket", Bucket=bucket)
    except FileNotFoundError:
        return True
    except OSError:  # it is there, or cannot be known
        return False
    _known_buckets.add(place)
    return False


async def patiently(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Await the answer of `ask`, again and again while its failure may pass."""
    for attempt in range(TRIES):
        if attempt:
            await asyncio.sleep(retry.pause(attempt, first=FIRST_PAUSE, longest=LONGEST_PAUSE))
        try:
            return await ask()
        except Exception as error:
            if not _may_pass(error):
                raise
            last = error
    raise StoreError(f"gave up after {TRIES} tries: {describe(last)}") from last


def answer(error: BaseException) -> tuple[int, str]:
    """Return the HTTP status and the S3 code behind an error, (0, "") without an answer."""
    refusal = error if isinstance(error, ClientError) else error.__cause__
    if not isinstance(refusal, ClientError):
        return 0, ""
    status = refusal.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status), str(refusal.response.get("Error", {}).get("Code", ""))


def describe(error: BaseException) -> str:
    """Name an error in a few words, without what the server wrote: it may repeat a key."""
    status, code = answer(error)
    if status:
        return f"{status} {code}".removesuffix(f" {status}")
    inner = getattr(error, "kwargs", {}).get("error") if isinstance(error, BotoCoreError) else None
    return type(inner or error).__name__


def _may_pass(error: Exception) -> bool:
    if isinstance(error, StoreError | FileNotFoundError | FileExistsError | PermissionError):
        return False
    status, code = answer(error)
    if status:
        return status in _PASSING_STATUS or code in _PASSING_CODES
    return isinstance(error, _PASSING_ERRORS)
