"""The same promises of a folder, of S3 and of memory; races, faults and secrets on S3."""

import asyncio
import concurrent.futures
import errno
import hashlib
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import uuid
import weakref
from functools import partial
from pathlib import Path

import boto3
import fsspec
import pytest
from botocore.exceptions import ClientError
from faultproxy import FaultProxy
from servers import SECRET, environment, moto

from dpipe import retry
from dpipe.errors import (
    DpipeError,
    InputError,
    NotAStoreError,
    NotFoundError,
    StoreError,
    UsageError,
)
from dpipe.storage import Objects, Put, local, open_objects, safe_key
from dpipe.storage import s3 as storage_s3
from dpipe.storage.objects import Below


@pytest.fixture(params=["folder", "s3", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """One empty place of each kind."""
    if request.param == "folder":
        return open_objects(tmp_path / "new" / "store")
    if request.param == "s3":
        return open_objects(request.getfixturevalue("bucket") + "/some/prefix")
    return open_objects(f"memory://{uuid.uuid4().hex}/prefix")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without long pauses."""
    monkeypatch.setattr(storage_s3, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(storage_s3, "LONGEST_PAUSE", 0.01)


# --- what all places promise


def test_put_tells_size_digest_and_etag(place: Objects) -> None:
    put = place.put("a/b.bin", b"hello")
    # sha256 and md5 of "hello", as sha256sum and md5sum print them
    sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert put == Put("a/b.bin", 5, sha256, place.head("a/b.bin").etag)
    if place.url.startswith("s3"):
        assert put.etag == "5d41402abc4b2a76b9719d911017c592"
    assert place.put("a/b.bin", b"bye").size == 3
    assert place.read("a/b.bin") == b"bye"
    assert [(found.key, found.size) for found in place.list()] == [("a/b.bin", 3)]
    put = place.put("a/b.bin", b"bye")
    assert next(place.list()).etag == put.etag


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (0, 3, b"012"),
        (7, 10, b"789"),
        (8, 99, b"89"),
        (10, 12, b""),
        (50, 60, b""),
        (4, 4, b""),
        (8, 2**42, b"89"),
    ],
)
def test_ranges_are_clipped(place: Objects, start: int, stop: int, expected: bytes) -> None:
    place.put("k", b"0123456789")
    assert place.read_range("k", start, stop) == expected


def test_absent_objects(place: Objects) -> None:
    place.put("folder/k", b"x")
    for key in ("none", "folder", "folder/none", "folder/k/below"):
        assert not place.exists(key)
        for ask in (place.read, place.size, partial(place.read_range, start=0, stop=1)):
            with pytest.raises(NotFoundError, match=f"{key}: no such object"):
                ask(key)
        place.delete(key)
    assert place.exists("folder/k")
    assert place.size("folder/k") == 1


def test_list_is_in_order_of_keys_and_by_any_prefix(place: Objects) -> None:
    assert list(place.list()) == []
    # "-" < "." < "/" < "0": the order of whole keys is not that of a walk through folders
    keys = ["a-b/c", "a.b", "a/x", "a/y/z", "a0", "b"]
    for key in reversed(keys):
        place.put(key, key.encode())
    assert [found.key for found in place.list()] == keys
    assert [found.key for found in place.list("a/")] == ["a/x", "a/y/z"]
    assert [found.key for found in place.list("a/y")] == ["a/y/z"]
    assert [found.key for found in place.list("a-")] == ["a-b/c"]
    assert [found.key for found in place.list("c")] == []
    first = next(place.list())
    assert first.size == 5
    assert abs(first.mtime - __import__("time").time()) < 100


def test_what_lies_right_below_a_prefix(place: Objects) -> None:
    assert place.below("") == place.below("a/") == Below((), ())
    names = [f"{i:02d}" for i in range(20)]
    for name in sorted(names, key=lambda name: name[::-1]):
        place.put(f"a/{name}.json", b"12")
        place.put(f"a/{name}/deeper/k", b"x")
    place.put("a.json", b"beside")
    found = place.below("a/")
    assert found.folders == tuple(names)
    assert [(one.key, one.size) for one in found.objects] == [(f"a/{n}.json", 2) for n in names]
    assert found.objects[0] == place.head("a/00.json")
    top = place.below("")
    assert (top.folders, [one.key for one in top.objects]) == (("a",), ["a.json"])


def test_a_name_that_ends_in_tmp_is_a_name(place: Objects) -> None:
    place.put("a/x.tmp", b"x")
    assert [found.key for found in place.list()] == ["a/x.tmp"]
    assert [found.key for found in place.below("a/").objects] == ["a/x.tmp"]
    assert list(place.leftovers()) == []


def test_delete_leaves_nothing(place: Objects) -> None:
    place.put("a/b/c", b"x")
    place.delete("a/b/c")
    place.delete("a/b/c")
    assert list(place.list()) == []
    place.put("a", b"now an object")  # on a folder: the empty folder a/ is gone
    assert place.read("a") == b"now an object"


def test_put_if_absent_keeps_the_first(place: Objects) -> None:
    assert place.put_if_absent("v/1", b"first") is not None
    assert place.put_if_absent("v/1", b"second") is None
    assert place.put_if_absent("v/1", b"other") is None  # as long as the first
    assert place.read("v/1") == b"first"
    assert [found.key for found in place.list()] == ["v/1"]


@pytest.mark.parametrize("key", ["", "/a", "../a", "a/../b", "a//b", "a/", "./a", "a\\b", "a\0b"])
def test_unsafe_keys_are_refused(place: Objects, key: str) -> None:
    for ask in (place.read, place.size, place.delete, partial(place.put, data=b"")):
        with pytest.raises(InputError, match="unsafe name"):
            ask(key)


def test_a_key_may_hold_what_people_write() -> None:
    assert safe_key("plate 1/Zähler=2,#3?.tif") == "plate 1/Zähler=2,#3?.tif"
    with pytest.raises(InputError, match="longer than 1024 bytes"):
        safe_key("ä" * 513)
    assert safe_key("ä" * 512) == "ä" * 512  # 1024 bytes
    with pytest.raises(InputError, match="longer than 1024 bytes"):
        safe_key("ä" * 512 + "a")


@pytest.mark.parametrize("sign", ["\n", "\r", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\u202e"])
def test_a_key_holds_no_control_character(sign: str) -> None:
    with pytest.raises(InputError, match="it holds a control character"):
        safe_key(f"a{sign}b")


def test_pickles_as_its_url(place: Objects) -> None:
    place.put("k", b"x")
    text = pickle.dumps(place)
    assert len(text) < 300
    again = pickle.loads(text)
    assert (again.url, repr(again)) == (place.url, f"open_objects({place.url!r})")
    assert again.read("k") == b"x"


def test_six_threads_race(place: Objects) -> None:
    rounds = 10 if place.url.startswith("s3") else 100
    barrier = threading.Barrier(6)

    def racer(number: int) -> list[int]:
        won = []
        for i in range(rounds):
            barrier.wait()
            if place.put_if_absent(f"r/{i}", b"racer %d" % number):
                won.append(i)
        return won

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        won = list(pool.map(racer, range(6)))
    assert sorted(i for rounds_won in won for i in rounds_won) == list(
        range(rounds)
    )  # one winner each
    for number, rounds_won in enumerate(won):
        for i in rounds_won:
            assert place.read(f"r/{i}") == b"racer %d" % number


@pytest.mark.parametrize("place", ["folder", "s3"], indirect=True)
def test_six_processes_race(place: Objects) -> None:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(3, mp_context=context) as pool:
        tries = [
            pool.submit(place.put_if_absent, f"r/{i}", b"%d" % n)
            for i in range(10)
            for n in range(6)
        ]
        won = [future.result() for future in tries]
    assert [put.key for put in won if put] == [f"r/{i}" for i in range(10)]


# --- places


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gs://bucket/x", "expected a folder or one of"),
        ("zip::s3://bucket/x", "expected a folder or one of"),
        ("s3://", "expected s3://NAME"),
        ("s3://bucket/a/../b", "expected s3://NAME"),
        ("memory:///", "expected memory://NAME"),
        ("a\0b", "expected a folder"),
        ("s3://bucket/x::memory://y", "expected a folder or one of"),
        ("/data/x::y", "expected a folder or one of"),
    ],
)
def test_bad_urls(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_objects(url)


@pytest.mark.parametrize("said", [f"{SECRET}:{SECRET}", f"user:p@{SECRET}"])
@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_credential_in_a_url_is_not_repeated(scheme: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_objects(f"{scheme}://{said}@bucket/x")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file:///data/x", "/data/x"),
        ("/data/x/", "/data/x"),
        ("~/x", str(Path.home() / "x")),
        ("x", str(Path.cwd() / "x")),
        ("s3://bucket/x/", "s3://bucket/x"),
        ("anon+s3://bucket", "anon+s3://bucket"),
        ("s3://bucket/lab@home", "s3://bucket/lab@home"),
        ("memory://a/b/", "memory://a/b"),
    ],
)
def test_urls_have_one_spelling(url: str, expected: str) -> None:
    assert open_objects(url).url == expected


# --- a folder


def test_no_temporary_file_is_listed_or_left(tmp_path: Path) -> None:
    place = open_objects(tmp_path)
    place.put("a/k", b"x")
    place.put_if_absent("a/k", b"y")
    assert os.listdir(tmp_path / "a") == ["k"]
    (tmp_path / "a" / ".1-killed.tmp").write_bytes(b"half")  # what kill -9 leaves
    assert [found.key for found in place.list()] == ["a/k"]
    assert [found.key for found in place.below("a/").objects] == ["a/k"]
    assert [(left.key, left.size) for left in place.leftovers()] == [("a/.1-killed.tmp", 4)]
    place.delete("a/.1-killed.tmp")
    assert list(place.leftovers()) == []


def test_only_folders_have_leftovers() -> None:
    assert list(open_objects("memory://left").leftovers()) == []


def test_the_etag_of_a_folder_tells_another_file_from_the_same(tmp_path: Path) -> None:
    place = open_objects(tmp_path)
    first, path = place.put("k", b"one"), tmp_path / "k"
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    (tmp_path / "other").write_bytes(b"two")
    os.utime(tmp_path / "other", ns=times)
    (tmp_path / "other").rename(path)  # another file, of the same size and time
    second = place.head("k")
    assert (second.size, path.stat().st_mtime_ns) == (first.size, times[1])
    assert second.etag != first.etag
    path.write_bytes(b"six")  # the same file, written at another time
    os.utime(path, ns=(times[0], times[1] + 1))
    assert place.head("k").etag != second.etag
    assert place.head("k") == next(place.list())


def test_the_clock_of_a_folder_is_that_of_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_objects(tmp_path)
    place.put("k", b"x")
    monkeypatch.setattr(local.time, "time", lambda: 0.0)
    assert abs(place.now() - place.head("k").mtime) < 100
    assert os.listdir(tmp_path) == ["k"]


def test_folders_that_a_prefix_rules_out_are_not_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_objects(tmp_path)
    for key in ("ab/k", "ac/k", "b/k"):
        place.put(key, b"x")
    looked = []
    scandir = os.scandir

    def noted(path: Path) -> object:
        looked.append(Path(path).name)
        return scandir(path)

    monkeypatch.setattr(local.os, "scandir", noted)
    assert [found.key for found in place.list("ab")] == ["ab/k"]
    assert looked == [tmp_path.name, "ab"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_the_old_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    place = open_objects(tmp_path)
    place.put("k", b"old")

    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(local.os, "fsync", full)
    with pytest.raises(StoreError, match=r"k: cannot write: (No space|Disk quota).*; free space"):
        place.put("k", b"new")
    assert place.read("k") == b"old"
    assert os.listdir(tmp_path) == ["k"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="a handle has no name here")
@pytest.mark.parametrize("method", ["put", "put_if_absent"])
def test_bytes_and_names_are_on_disk_when_a_put_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Bytes are synced before they get their name, and every folder once it holds a new one."""
    synced: list[tuple[Path, object]] = []
    fsync = os.fsync

    def noted(handle: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        named = [n for n in os.listdir(path) if n[0] != "."] if path.is_dir() else path.stat()
        size = named if isinstance(named, list) else named.st_size
        synced.append((path.relative_to(tmp_path), size))
        fsync(handle)

    monkeypatch.setattr(local.os, "fsync", noted)
    place = open_objects(tmp_path / "store")
    getattr(place, method)("a/b/k", b"hello")
    (file,) = [path for path, size in synced if size == 5]
    assert file.parent == Path("store/a/b")
    assert file.name.endswith(".tmp")
    assert [(path.as_posix(), held) for path, held in synced if path != file] == [
        (".", ["store"]),
        ("store", ["a"]),
        ("store/a", ["b"]),
        ("store/a/b", ["k"]),
    ]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EPERM, "needs a file system with hard links"),
        (errno.ENOTSUP, "needs a file system with hard links"),
        (errno.EIO, "check the disk"),
    ],
)
def test_a_disk_that_refuses_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with pytest.raises(StoreError, match=said):
        open_objects(tmp_path).put_if_absent("k", b"x")


def test_a_link_whose_answer_was_lost_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = Path.hardlink_to

    def linked_but(self: Path, target: Path) -> None:
        link(self, target)
        raise FileExistsError(errno.EEXIST, "asked twice by NFS")

    monkeypatch.setattr(Path, "hardlink_to", linked_but)
    assert open_objects(tmp_path).put_if_absent("k", b"x") is not None


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    place = open_objects(tmp_path)
    place.put("a", b"x")
    with pytest.raises(StoreError, match="cannot write"):
        place.put("a/b", b"x")
    with pytest.raises(NotAStoreError, match="a: a file, where a folder is expected"):
        next(open_objects(tmp_path / "a").list(), None)


def test_a_folder_that_is_deleted_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_make", lambda folder: None)
    with pytest.raises(StoreError, match="vanishes again and again"):
        open_objects(tmp_path / "none").put("k", b"x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    try:
        with pytest.raises(StoreError, match="cannot list: Permission denied"):
            list(open_objects(tmp_path).list())
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(local.os, "scandir", refuse)
    with pytest.raises(StoreError, match="cannot list: Permission denied"):
        list(open_objects(tmp_path).list())


def test_writers_and_deleters_of_one_folder(tmp_path: Path) -> None:
    place = open_objects(tmp_path)

    def work(number: int) -> None:
        for _ in range(100):
            place.put(f"deep/er/{number}", b"x")
            place.delete(f"deep/er/{number}")

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert list(place.list()) == []


# --- faults of S3


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("fault", "times"),
    [
        ({"status": 500, "code": "InternalError"}, 8),
        ({"status": 502, "code": "BadGateway"}, 3),
        ({"status": 503, "code": "SlowDown"}, 8),
        ({"status": 503, "code": "ServiceUnavailable"}, 8),
        ({"status": 504, "code": "GatewayTimeout"}, 3),
        ({"status": 429, "code": "TooManyRequests"}, 3),
        ({"status": 400, "code": "RequestTimeout"}, 3),
        ({"kind": "reset"}, 8),
    ],
    ids=lambda value: str(value.get("code", "reset")) if isinstance(value, dict) else None,
)
def test_faults_that_pass(bucket: str, fault_proxy: FaultProxy, fault: dict, times: int) -> None:
    place = open_objects(bucket)
    for method in ("PUT", "GET", "HEAD", "DELETE"):
        if method != "HEAD" or fault.get("status") != 400:  # a HEAD cannot say which 400 it is
            fault_proxy.fail(method, times=times, **fault)
    assert place.put("k", b"hello").etag == hashlib.md5(b"hello").hexdigest()
    assert place.read("k") == b"hello"
    assert place.size("k") == 5
    place.delete("k")
    assert fault_proxy.count("PUT") >= times + 1  # a reset may be tried again inside aiohttp
    assert list(place.list()) == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", ["truncate", "flip"])
def test_a_body_that_arrives_damaged_is_asked_again(
    bucket: str, fault_proxy: FaultProxy, kind: str
) -> None:
    place = open_objects(bucket)
    place.put("k", bytes(1000))
    fault_proxy.fail("GET", kind=kind, times=3)
    assert place.read("k") == bytes(1000)
    assert fault_proxy.count("GET") == 4


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 503, "code": "SlowDown"}, "503 SlowDown"),
        ({"kind": "reset"}, "Client|Server|Connection"),
    ],
    ids=["503", "reset"],
)
def test_faults_that_stay(bucket: str, fault_proxy: FaultProxy, fault: dict, said: str) -> None:
    fault_proxy.fail("GET", times=float("inf"), **fault)
    with pytest.raises(StoreError, match=f"k: cannot read: gave up after 10 tries: ({said})"):
        open_objects(bucket).read("k")
    assert 10 <= fault_proxy.count("GET") <= 20  # one loop, not one in another


def failed(status: int, code: str) -> OSError:
    """What s3fs raises for an answer, with the answer as its cause."""
    answer = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code}}
    error = OSError(code)
    error.__cause__ = ClientError(answer, "GetObject")
    return error


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        *((failed(status, "Odd"), True) for status in (409, 429, 500, 502, 503, 504)),
        *((failed(status, "Odd"), False) for status in (400, 401, 403, 404, 412, 416, 501)),
        (failed(400, "RequestTimeout"), True),
        (failed(400, "SlowDown"), True),
        (failed(400, "Throttling"), True),
        (failed(400, "XAmzContentSHA256Mismatch"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (FileExistsError(), False),
        (FileNotFoundError(), False),
        (PermissionError(), False),
        (ValueError(), False),
    ],
    ids=lambda value: value if isinstance(value, bool) else f"{value!r}{storage_s3.answer(value)}",
)
def test_which_failures_may_pass(error: Exception, passes: bool) -> None:
    asked = []

    async def ask() -> str:
        asked.append(1)
        if len(asked) < 3:
            raise error
        return "there"

    async def soon(_: float) -> None:
        pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage_s3.asyncio, "sleep", soon)
        if passes:
            assert asyncio.run(storage_s3.patiently(ask)) == "there"
        else:
            with pytest.raises(type(error)):
                asyncio.run(storage_s3.patiently(ask))
    assert len(asked) == (3 if passes else 1)


def test_pauses_are_random_and_grow_to_8_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, slept = [], []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, round(high, 6)))
        return high / 4

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds * 4, 6))

    async def ask() -> None:
        raise failed(503, "SlowDown")

    monkeypatch.setattr(retry.random, "uniform", uniform)
    monkeypatch.setattr(storage_s3.asyncio, "sleep", sleep)
    with pytest.raises(StoreError, match="gave up after 10 tries: 503 SlowDown"):
        asyncio.run(storage_s3.patiently(ask))
    longest = [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 8, 8, 8]
    assert drawn == [(0, pause) for pause in longest]
    assert slept == longest


@pytest.mark.usefixtures("quick")
def test_no_server(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="ClientConnectorError; is the server up"):
        open_objects(bucket).put("k", b"x")


@pytest.mark.usefixtures("quick")
def test_an_address_that_is_none(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "not an address")
    with pytest.raises(StoreError, match=r"check AWS_ENDPOINT_URL"):
        open_objects(bucket).put("k", b"x")


@pytest.mark.usefixtures("quick")
def test_a_conflict_is_tried_again(bucket: str, fault_proxy: FaultProxy) -> None:
    fault_proxy.fail("PUT", times=3, status=409, code="ConditionalRequestConflict")
    assert open_objects(bucket).put_if_absent("k", b"x") is not None
    assert fault_proxy.count("PUT") == 4


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("times", [1, 3])
def test_a_lost_answer_is_no_lost_race(bucket: str, fault_proxy: FaultProxy, times: int) -> None:
    place = open_objects(bucket)
    fault_proxy.fail("PUT", kind="lost", times=times)
    put = place.put_if_absent("k", b"mine 1")
    assert put is not None
    assert put.etag == hashlib.md5(b"mine 1").hexdigest()
    assert place.put_if_absent("k", b"mine 2") is None


@pytest.mark.usefixtures("quick")
def test_a_refusal_without_a_message_is_known(bucket: str, fault_proxy: FaultProxy) -> None:
    fault_proxy.fail("PUT", status=412, code="PreconditionFailed")  # as Ceph says it
    assert open_objects(bucket).put_if_absent("k", b"x") is None


def test_requests_are_few(bucket: str, fault_proxy: FaultProxy) -> None:
    place = open_objects(bucket)
    place.put("k", bytes(100))
    place.read("k")
    place.read_range("k", 0, 10)
    place.exists("k")
    list(place.list())
    counts = {method: fault_proxy.count(method) for method in ("PUT", "GET", "HEAD", "POST")}
    assert counts == {"PUT": 1, "GET": 3, "HEAD": 1, "POST": 0}
    place.exists("none")
    place.exists("none either")  # that the bucket exists is asked but once
    assert fault_proxy.count("HEAD") == 4  # k, none, the bucket, none either


def test_a_large_object_is_one_request(bucket: str, fault_proxy: FaultProxy) -> None:
    data = bytes(101 * 2**20)  # s3fs would send more than 100 MiB in parts
    assert open_objects(bucket).put("k", data).etag == hashlib.md5(data).hexdigest()
    assert fault_proxy.count("PUT") == 1


def test_an_object_too_large_for_one_request(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpipe.storage.s3_objects.LARGEST_PUT", 10)
    with pytest.raises(StoreError, match="10 bytes; S3 takes less than 10 in one request"):
        open_objects(bucket).put("k", bytes(10))


def test_listing_of_many_pages(bucket: str, s3_server: str) -> None:
    client = boto3.client("s3", endpoint_url=s3_server)
    for i in range(1005):
        client.put_object(Bucket=bucket.removeprefix("s3://"), Key=f"k{i:04}", Body=b"")
    client.put_object(Bucket=bucket.removeprefix("s3://"), Key="folder/", Body=b"")
    client.close()
    assert [found.key for found in open_objects(bucket).list()] == [f"k{i:04}" for i in range(1005)]


def test_a_listing_is_never_old(bucket: str, s3_server: str) -> None:
    place = open_objects(bucket)
    place.put("a", b"")
    assert [found.key for found in place.list()] == ["a"]
    client = boto3.client("s3", endpoint_url=s3_server)
    client.put_object(Bucket=bucket.removeprefix("s3://"), Key="b", Body=b"")
    client.delete_object(Bucket=bucket.removeprefix("s3://"), Key="a")
    client.close()
    assert [found.key for found in place.list()] == ["b"]
    assert (place.exists("a"), place.exists("b")) == (False, True)


@pytest.mark.usefixtures("s3_server")
@pytest.mark.parametrize(
    "ask", ["read", "size", "exists", "put", "put_if_absent", "list", "delete"]
)
def test_a_missing_bucket(ask: str) -> None:
    place = open_objects("s3://dpipe-no-such-bucket/x")
    arguments = {"put": ("k", b""), "put_if_absent": ("k", b""), "list": ()}.get(ask, ("k",))
    with pytest.raises(StoreError, match="no bucket 'dpipe-no-such-bucket'; check the name") as e:
        list(getattr(place, ask)(*arguments) or ())
    assert not isinstance(e.value, NotFoundError)


def test_refused_access_fails_at_once_and_tells_no_secret(
    bucket: str, fault_proxy: FaultProxy
) -> None:
    place = open_objects(bucket + "/p")
    fault_proxy.fail("PUT", status=403, code="AccessDenied", times=float("inf"))
    fault_proxy.fail("GET", status=403, code="ExpiredToken", times=float("inf"))
    fault_proxy.fail("HEAD", status=403, times=float("inf"))
    name = bucket.removeprefix("s3://")
    cases = [
        (partial(place.put, "k", b""), f"p/k: may not write in bucket '{name}' .403 AccessDenied."),
        (partial(place.read, "k"), f"p/k: may not read in bucket '{name}' .403 ExpiredToken."),
        (partial(place.exists, "k"), f"p/k: may not read in bucket '{name}' .403."),
    ]
    for ask, said in cases:
        with pytest.raises(StoreError, match=said) as caught:
            ask()
        assert SECRET not in str(caught.value)
    assert [fault_proxy.count(m) for m in ("PUT", "GET", "HEAD")] == [1, 1, 1]


def test_no_credentials(bucket: str, s3_server: str) -> None:
    with (
        environment(
            AWS_ENDPOINT_URL=s3_server, AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE=os.devnull
        ),
        pytest.raises(StoreError, match="k: no credentials; set AWS_ACCESS_KEY_ID"),
    ):
        open_objects(bucket).read("k")


def test_no_secret_in_a_pickle(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSSPEC_S3_SECRET", SECRET)  # fsspec would put this into its arguments
    monkeypatch.setitem(fsspec.config.conf, "s3", {"secret": SECRET, "key": "id"})
    place = open_objects(bucket)
    filesystem = storage_s3.connect()
    for thing in (place, filesystem):
        assert SECRET.encode() not in pickle.dumps(thing)
        assert SECRET not in repr(thing)
    assert SECRET not in filesystem.to_json()
    assert SECRET not in str(filesystem.storage_options)
    assert not pickle.loads(pickle.dumps(filesystem)).secret


def test_another_environment_is_another_connection(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert storage_s3.connect() is storage_s3.connect()
    before = storage_s3.connect()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "rotated")
    assert storage_s3.connect() is not before
    assert open_objects(bucket).put("k", b"").size == 0


def test_a_server_that_checks_who_asks() -> None:
    """moto with its checks on: four free calls, then signatures and policies count."""
    with (
        moto(INITIAL_NO_AUTH_ACTION_COUNT="4") as url,
        environment(
            AWS_ENDPOINT_URL=url, AWS_DEFAULT_REGION="us-east-1", AWS_CONFIG_FILE=os.devnull
        ),
    ):
        options = {"endpoint_url": url, "aws_access_key_id": "x", "aws_secret_access_key": "x"}
        iam, s3 = boto3.client("iam", **options), boto3.client("s3", **options)
        iam.create_user(UserName="reader")
        key = iam.create_access_key(UserName="reader")["AccessKey"]
        allow = '{"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}'
        iam.put_user_policy(
            UserName="reader",
            PolicyName="p",
            PolicyDocument=f'{{"Version": "2012-10-17", "Statement": [{allow}]}}',
        )
        s3.create_bucket(Bucket="guarded")
        iam.close()
        s3.close()
        place = open_objects("s3://guarded")
        os.environ.update(
            AWS_ACCESS_KEY_ID=key["AccessKeyId"], AWS_SECRET_ACCESS_KEY=key["SecretAccessKey"]
        )
        assert list(place.list()) == []
        with pytest.raises(
            StoreError, match=r"may not write in bucket 'guarded' .403 AccessDenied"
        ):
            place.put("k", b"x")
        os.environ["AWS_SECRET_ACCESS_KEY"] = SECRET
        with pytest.raises(StoreError, match="SignatureDoesNotMatch") as caught:
            place.read("k")
        assert SECRET not in str(caught.value)
        os.environ["AWS_ACCESS_KEY_ID"] = "AKIAUNKNOWN"
        with pytest.raises(StoreError, match=r"may not read .*403 InvalidAccessKeyId"):
            place.read("k")


def test_a_connection_can_be_closed(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE_OF_NOBODY", "a connection of its own")
    filesystem = storage_s3.connect()
    storage_s3._close(weakref.ref(filesystem))  # not used yet
    open_objects(bucket).put("k", b"x")
    storage_s3._close(weakref.ref(filesystem))
    assert filesystem._s3 is None
    assert open_objects(bucket).read("k") == b"x"  # opens again


@pytest.mark.usefixtures("quick")
def test_a_bucket_that_may_not_be_looked_at(bucket: str, fault_proxy: FaultProxy) -> None:
    fault_proxy.fail("HEAD", status=404, match="/k")
    fault_proxy.fail("HEAD", status=403, times=2)
    assert not open_objects(bucket).exists("k")


def test_a_process_ends_without_a_complaint(bucket: str) -> None:
    code = (
        "from dpipe.storage.objects import open_objects\n"
        f"place = open_objects({bucket!r}); place.put('k', b'x'); print(place.read('k'))\n"
    )
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "b'x'\n", "")


def test_errors_are_dpipe_errors_of_one_line(bucket: str) -> None:
    with pytest.raises(DpipeError) as caught:
        open_objects(bucket).read("k")
    assert "\n" not in str(caught.value)
    assert str(caught.value) == f"{bucket}/k: no such object; check the name"
