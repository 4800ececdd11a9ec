"""A prefix of a bucket as a place of objects, conditional where a race is decided."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import batched
from typing import Any, override

from dpipe.errors import NotFoundError, StoreError
from dpipe.storage import s3
from dpipe.storage.documents import Json
from dpipe.storage.place import AT_ONCE, Below, Listed, Objects, Put, answered, put_of, safe_key

LARGEST_PUT = 5 * 2**30  # bytes that S3 takes in one request
_MOST_DELETED = 1000  # keys that it deletes in one
_MOST_WAITING = 512  # answers that are kept until somebody takes them


class S3(Objects):
    """A prefix of a bucket: one request an object, conditional where a race must be decided."""

    def __init__(self, scheme: str, root: str) -> None:
        self.bucket, _, prefix = root.partition("/")
        self.prefix = prefix + "/" * bool(prefix)
        self.url = f"{scheme}://{root}"
        self.anonymous = scheme == "anon+s3"

    def __reduce__(self) -> tuple[Any, ...]:
        return S3, (*self.url.split("://", 1),)

    @override
    def read(self, key: str) -> bytes:
        with self._told(key, "read") as fs:
            return fs.cat_file(self._path(key))

    @override
    def read_range(self, key: str, start: int, stop: int) -> bytes:
        if stop <= start:
            return b""
        with self._told(key, "read") as fs:
            try:
                return fs.cat_file(self._path(key), start=start, end=stop)
            except OSError as error:
                if s3.answer(error)[0] == 416:  # begins past the end
                    return b""
                raise

    @override
    def head(self, key: str) -> Listed:
        with self._told(key, "read") as fs:
            reply = fs.call("head_object", Bucket=self.bucket, Key=self.prefix + safe_key(key))
        when = reply["LastModified"].timestamp()
        return Listed(key, int(reply["ContentLength"]), reply["ETag"].strip('"'), when)

    @override
    def list(self, prefix: str = "") -> Iterator[Listed]:
        for page in self._pages(prefix):
            yield from self._entries(page)

    @override
    def below(self, prefix: str) -> Below:
        pages = [*self._pages(prefix, Delimiter="/")]
        names = (folder["Prefix"] for page in pages for folder in page.get("CommonPrefixes", ()))
        folders = tuple(name.rstrip("/").rpartition("/")[2] for name in names)
        return Below(folders, tuple(entry for page in pages for entry in self._entries(page)))

    @override
    def now(self) -> float:
        with self._told("", "list") as fs:
            answer = fs.call("list_objects_v2", Bucket=self.bucket, MaxKeys=1)
        date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
        try:
            return parsedate_to_datetime(date).timestamp()
        except ValueError:
            return time.time()

    @override
    def ask_many[T](self, ask: Callable[[str], T], keys: Iterable[str]) -> Iterator[T | StoreError]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for batch in batched(keys, _MOST_WAITING):
                yield from pool.map(partial(answered, ask), batch)

    @override
    def put(self, key: str, data: bytes) -> Put:
        with self._told(key, "write"):
            return self._put(key, data, mode="overwrite")

    @override
    def put_if_absent(self, key: str, data: bytes) -> Put | None:
        with self._told(key, "write"):
            try:
                return self._put(key, data, mode="create")
            except OSError as error:
                # Ceph's 412 has no message, so s3fs does not know it for what it is
                if not isinstance(error, FileExistsError) and s3.answer(error)[0] != 412:
                    raise
        # a lost answer to our own request looks like a lost race
        with contextlib.suppress(NotFoundError):
            entry = self.head(key)
            if entry.size == len(data) and self.read(key) == data:
                return put_of(key, data, entry.etag)
        return None

    @override
    def delete(self, key: str) -> None:
        with self._told(key, "delete") as fs:
            fs.call("delete_object", Bucket=self.bucket, Key=self.prefix + safe_key(key))

    @override
    def delete_many(self, keys: Iterable[str]) -> None:
        for batch in batched(keys, _MOST_DELETED):
            named = [{"Key": self.prefix + safe_key(key)} for key in batch]
            with self._told(batch[0], "delete") as fs:
                request = {"Objects": named, "Quiet": True}
                errors = fs.call("delete_objects", Bucket=self.bucket, Delete=request).get("Errors")
            if errors:
                key, code = errors[0].get("Key", ""), errors[0].get("Code", "")
                raise StoreError(f"{self.url}: cannot delete {key}: {code}; check what you may do")

    def _pages(self, prefix: str, **asked: Any) -> Iterator[Json]:
        asked |= {"Bucket": self.bucket, "Prefix": self.prefix + prefix}
        while True:
            with self._told(prefix, "list") as fs:
                page = fs.call("list_objects_v2", **asked)
            yield page
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def _entries(self, page: Json) -> Iterator[Listed]:
        for entry in page.get("Contents", ()):
            key = entry["Key"].removeprefix(self.prefix)
            if key and not key.endswith("/"):
                when = entry["LastModified"].timestamp()
                yield Listed(key, int(entry["Size"]), entry["ETag"].strip('"'), when)

    def _path(self, key: str) -> str:
        return f"{self.bucket}/{self.prefix}{safe_key(key)}"

    def _put(self, key: str, data: bytes, *, mode: str) -> Put:
        if len(data) >= LARGEST_PUT:
            raise StoreError(
                f"{self.url}/{key}: {len(data)} bytes; S3 takes less than {LARGEST_PUT} in one "
                "request: choose smaller shards"
            )
        fs = s3.connect(anonymous=self.anonymous)
        reply = fs.pipe_file(self._path(key), bytes(data), chunksize=LARGEST_PUT, mode=mode)
        return put_of(key, data, reply["ETag"].strip('"'))

    def _told(self, key: str, what: str) -> contextlib.AbstractContextManager[s3.PatientS3]:
        return s3.told(self.url, key, what, anonymous=self.anonymous)
