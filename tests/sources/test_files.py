"""Foreign files on disk, in buckets, on web servers and in Zenodo's records, and their faults."""

import concurrent.futures
import http.client
import io
import os
import shutil
import struct
import tarfile
import threading
import time
import tracemalloc
import uuid
import zipfile
from email.utils import formatdate
from pathlib import Path

import boto3
import h5py
import numpy as np
import pytest
from faultproxy import FaultProxy
from servers import SECRET, Web, environment, free_port

from dpipe import sources
from dpipe.errors import InputError, StoreError, UsageError
from dpipe.sources import (
    Oddities,
    fetch,
    files,
    list_items,
    natural_key,
    opened,
    resolve_record,
    resolve_uri,
    stem_of,
    walk_items,
    zenodo,
)
from dpipe.sources import http as sources_http
from dpipe.storage import open_objects

DATA = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, short pauses, and no record remembered."""
    monkeypatch.setenv("DPIPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sources_http, "FIRST_PAUSE", 0.001)
    zenodo._get.cache_clear()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of files, some of which no one wants."""
    root = tmp_path / "raw"
    names = ["b10.ims", "b2.ims", "c.txt", "d1/e.ims", "d1/f/g.ims", "Neu1.x/h5"]
    unwanted = [".hidden", ".git/x.ims", "d1/.y.ims", "k.tmp", "l.partial"]
    for name in names + unwanted:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    (root / "empty").mkdir()
    return root


@pytest.fixture(params=["folder", "s3", "memory"])
def source(request: pytest.FixtureRequest, tree: Path) -> str:
    """The same files on disk, in a bucket and in memory."""
    if request.param == "folder":
        return str(tree)
    if request.param == "s3":
        url = request.getfixturevalue("bucket") + "/some/raw"
    else:
        url = f"memory://{uuid.uuid4().hex}/raw"
    place = open_objects(url)
    for path in sorted(tree.rglob("*")):
        if path.is_file():
            place.put(path.relative_to(tree).as_posix(), path.read_bytes())
    place.put("../raw-beside".removeprefix("../"), b"")  # a name that begins like a folder
    place.delete("raw-beside")
    return url


def paths(source: str) -> list[str]:
    return [item.path for item in list_items(source)]


# --- names


@pytest.mark.parametrize(
    ("path", "suffixes", "expected"),
    [
        ("a/Neu1.ims", (), "Neu1"),
        ("Neu1.OME.TIF", (".tif", ".ome.tif"), "Neu1"),
        ("Neu1.v2.ims", (".ims",), "Neu1.v2"),
        ("Neu1", (".ims",), "Neu1"),
        (".ims", (".ims",), ".ims"),
        ("a/plate.zarr/", (".zarr",), "plate"),
    ],
)
def test_stems(path: str, suffixes: tuple[str, ...], expected: str) -> None:
    assert stem_of(path, suffixes) == expected


def test_natural_order() -> None:
    names = ["TimePoint 10", "TimePoint 2", "TimePoint 02", "10", "9", "", "a", "a1b10", "a1b9"]
    assert sorted(names, key=natural_key) == [
        "", "9", "10", "TimePoint 02", "TimePoint 2", "TimePoint 10", "a", "a1b9", "a1b10",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data/../x/./y", "/x/y"),
        ("file:///data/x", "/data/x"),
        ("x.tif", f"{Path.cwd()}/x.tif"),
        ("~/x", f"{Path.home()}/x"),
        ("s3://bucket/a b/*.tif", "s3://bucket/a b/*.tif"),
        ("anon+s3://bucket", "anon+s3://bucket"),
        ("memory://a/b", "memory://a/b"),
        ("https://host/a?download=1#md5=00", "https://host/a?download=1#md5=00"),
        ("http://127.0.0.1:80/a", "http://127.0.0.1:80/a"),
        ("zenodo:123", "zenodo:123"),
        ("zenodo:123/a b.ims", "zenodo:123/a b.ims"),
    ],
)
def test_uris(text: str, expected: str) -> None:
    assert resolve_uri(text) == expected


def test_a_path_with_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("day:1.tif").touch()
    assert resolve_uri("day:1.tif") == str(tmp_path / "day:1.tif")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("a\0b", "a NUL"),
        ("zip::s3://bucket/a.zip", "a chain"),
        ("reference://x", "scheme 'reference:' is not known"),
        ("simplecache:x", "scheme 'simplecache:' is not known"),
        ("ftp://host/x", "scheme 'ftp:' is not known; expected a path, s3://"),
        ("s3://bucket/a/../b", "'..', a backslash or no name"),
        ("s3://bucket/a\\b", "'..', a backslash or no name"),
        ("s3://bucket/a\nb", "'..', a backslash or no name"),
        ("s3:///a", "no name"),
        ("http://example.org/x", "http is not safe; use https"),
        ("http://169.254.169.254/latest", "http is not safe"),
        ("zenodo:", "no name"),
        ("zenodo:10.5281/zenodo.123", "expected zenodo:RECORD/file with the record's number"),
    ],
)
def test_bad_uris(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_uri(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "https://user:{}@host/x",
        "s3://id:{}@bucket/x",
        "https://host/x?X-Amz-Signature={}",
        "https://host/x?sig={}",
        "https://host/x?access_token={}",
    ],
)
def test_a_credential_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError, match="it holds a credential") as caught:
        resolve_uri(text.format(SECRET))
    assert SECRET not in str(caught.value)


# --- listings


def test_a_folder_is_listed_to_its_depth(source: str) -> None:
    expected = ["Neu1.x/h5", "b2.ims", "b10.ims", "c.txt", "d1/e.ims", "d1/f/g.ims"]
    assert paths(source) == expected
    assert paths(source + "/") == expected
    for item in list_items(source):
        assert item.uri == f"{source}/{item.path}"
        assert item.size == len(item.path)
        assert item.etag


def test_a_single_file(source: str) -> None:
    (item,) = list_items(f"{source}/d1/e.ims")
    assert (item.uri, item.path, item.size) == (f"{source}/d1/e.ims", "e.ims", 8)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.ims", ["b2.ims", "b10.ims"]),
        ("b[0-2].ims", ["b2.ims"]),
        ("b?.ims", ["b2.ims"]),
        ("**/*.ims", ["b2.ims", "b10.ims", "d1/e.ims", "d1/f/g.ims"]),
        ("d1/**/*.ims", ["e.ims", "f/g.ims"]),  # below the folder before the first wildcard
        ("*/e.ims", ["d1/e.ims"]),
        ("d*", ["d1/e.ims", "d1/f/g.ims"]),  # what lies in a folder that fits
        ("Neu?.x", ["Neu1.x/h5"]),
        ("**", ["Neu1.x/h5", "b2.ims", "b10.ims", "c.txt", "d1/e.ims", "d1/f/g.ims"]),
    ],
)
def test_globs(source: str, pattern: str, expected: list[str]) -> None:
    assert paths(f"{source}/{pattern}") == expected
    first = list_items(f"{source}/{pattern}")[0]
    with opened(first.uri) as file:
        assert (Path(file).read_bytes() if isinstance(file, str) else file.read())[:1]


def test_folders_with_nothing_in_them(tree: Path) -> None:
    (tree / "e" / "deeper").mkdir(parents=True)
    (tree / "half").mkdir()
    (tree / "half" / "x.ims.partial").touch()
    odd = Oddities()
    assert len(list(walk_items(tree, odd=odd))) == 6
    assert odd.empty == {f"{tree}/empty", f"{tree}/e/deeper", f"{tree}/half"}
    odd.empty.clear()
    assert len(list_items(f"{tree}/[de]*", odd)) == 2
    assert odd.empty == {f"{tree}/empty", f"{tree}/e/deeper"}


@pytest.mark.parametrize("name", ["none", "none/*.ims", "*.nd2", "b2.im", "empty"])
def test_nothing_there(source: str, name: str) -> None:
    with pytest.raises(UsageError, match="check the path, or that the disk is mounted") as caught:
        list_items(f"{source}/{name}")
    what = "the glob matches no file" if "*" in name else "no such file or folder"
    if name == "empty" and "://" not in source:  # buckets have no empty folders
        what = "no files in this folder"
    assert what in str(caught.value)


def test_what_is_found_twice_is_listed_once(tree: Path) -> None:
    (tree / "d1" / "d1").mkdir()
    (tree / "d1" / "d1" / "h.ims").touch()
    for given in [(f"{tree}/**/d1/**/*.ims",), (tree / "d1", tree), (f"{tree}/d*", f"{tree}/?1/*")]:
        uris = [item.uri for item in walk_items(*given)]
        assert len(set(uris)) == len(uris)
        assert {f"{tree}/d1/e.ims", f"{tree}/d1/f/g.ims", f"{tree}/d1/d1/h.ims"} <= set(uris)
    assert len(list(walk_items(tree / "d1", tree))) == 7


def test_a_whole_bucket(bucket: str) -> None:
    open_objects(bucket).put("a/x", b"1")
    assert paths(bucket) == ["a/x"]
    assert paths(f"{bucket}/*/x") == ["a/x"]


def test_a_missing_bucket_is_the_stores_fault(s3_server: str) -> None:
    assert s3_server
    with pytest.raises(StoreError, match="no bucket 'dpipe-none'"):
        list_items("s3://dpipe-none/x")


def test_links_back_are_not_followed(tree: Path) -> None:
    (tree / "d1" / "back").symlink_to(tree)
    (tree / "link.ims").symlink_to(tree / "b2.ims")
    (tree / "broken.ims").symlink_to(tree / "none")
    found = paths(str(tree))
    assert len(found) == 7
    assert "link.ims" in found
    assert paths(f"{tree}/*.ims") == ["b2.ims", "b10.ims", "link.ims"]  # one leads nowhere


@pytest.mark.parametrize("source", ["a.ims", "", "*.ims", "**/*.ims"])
def test_where_all_are_links_that_lead_nowhere(tmp_path, source):
    """As in a clone of git-annex, or beside a share that is not mounted."""
    for name in ("a.ims", "b.ims"):
        (tmp_path / name).symlink_to(f"/nowhere/at/all/{name}")
    with pytest.raises(UsageError) as told:
        list_items(f"{tmp_path}/{source}".rstrip("/"))
    more = "" if source == "a.ims" else " and 1 more"
    link = str(tmp_path / "a.ims")
    assert f": nothing is at the end of the link {link!r}{more}; mount the share" in str(told.value)
    (tmp_path / "c.ims").touch()
    (tmp_path / "bare").mkdir()
    with pytest.raises(UsageError, match="bare: no files in this folder"):  # of its own alone
        list(walk_items(tmp_path, f"{tmp_path}/bare"))


def test_a_folder_that_cannot_be_listed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.os, "scandir", refuse)
    with pytest.raises(StoreError, match="cannot list: Permission denied"):
        list_items(tree)


def test_another_content_has_another_etag(tree: Path) -> None:
    before = list_items(tree / "b2.ims")[0].etag
    os.utime(tree / "b2.ims", ns=(1, 2))
    assert (list_items(tree / "b2.ims")[0].etag, before != "2") == ("2", True)


# --- opening in place


def test_open_gives_a_path_on_disk(tree: Path) -> None:
    with opened(str(tree / "b2.ims")) as path:
        assert path == str(tree / "b2.ims")
    with pytest.raises(InputError, match="no such file"), opened(str(tree / "none")):
        pass


def test_hdf5_is_read_in_place(bucket: str, fault_proxy: FaultProxy) -> None:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 9, (8, 512, 512), "u1")
    with h5py.File(buffer, "w") as h5:
        h5["DataSet"] = pixels
        h5["DataSet"].attrs["x"] = 1
    open_objects(bucket).put("movie.ims", buffer.getvalue())
    fault_proxy.reset()
    with opened(f"{bucket}/movie.ims") as file:
        assert file.seekable()
        with h5py.File(file) as h5:
            np.testing.assert_array_equal(h5["DataSet"][3], pixels[3])
    assert file.closed
    assert fault_proxy.count("HEAD") == 1
    assert fault_proxy.count("GET") <= 4  # blocks of 1 MiB, not the whole file byte by byte


def test_a_public_bucket_is_read_without_credentials(bucket: str, s3_server: str) -> None:
    client, name = boto3.client("s3", endpoint_url=s3_server), bucket.removeprefix("s3://")
    client.put_bucket_acl(Bucket=name, ACL="public-read")
    client.put_object(Bucket=name, Key="a/x", Body=b"public", ACL="public-read")
    client.close()
    with environment(
        AWS_ENDPOINT_URL=s3_server, AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE=os.devnull
    ):
        (item,) = list_items(f"anon+{bucket}/a")
        assert item.uri == f"anon+{bucket}/a/x"
        with opened(item.uri) as file:
            assert file.read() == b"public"


def test_an_object_that_is_gone(bucket: str) -> None:
    with pytest.raises(InputError, match="no such object; is it deleted"), opened(f"{bucket}/x"):
        pass


def test_a_refusal_blames_no_input(bucket: str, fault_proxy: FaultProxy) -> None:
    fault_proxy.fail("HEAD", status=403)
    with pytest.raises(StoreError, match="may not read"), opened(f"{bucket}/x"):
        pass


# --- web servers


def test_a_file_of_a_web_server(web: Web, tmp_path: Path) -> None:
    web.files["/a/b%20c.tif"] = DATA
    uri = f"{web.url}/a/b%20c.tif"
    (item,) = list_items(uri)
    assert (item.uri, item.path, item.size) == (uri, "b c.tif", 2**20)
    assert item.etag
    with opened(uri) as path, opened(uri) as again:
        assert path == again
        assert Path(path).read_bytes() == DATA
        assert Path(path).is_relative_to(tmp_path / "cache")
    assert web.count("GET") == 1
    assert [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()][-1] == "b c.tif"
    web.files["/a/b%20c.tif"] = DATA[::-1]  # another content, as its ETag says
    assert fetch(uri, tmp_path / "cache").read_bytes() == DATA[::-1]


def test_a_broken_download_is_resumed(web: Web, tmp_path: Path) -> None:
    web.files["/x.ims"] = DATA
    web.cuts["/x.ims"] = 2
    assert fetch(f"{web.url}/x.ims", tmp_path).read_bytes() == DATA
    ranges = [asked for method, _, asked in web.requests if method == "GET"]
    # half of all is 524288; then half of what is left is 262144 more
    assert ranges == ["", "bytes=524288-", "bytes=786432-"]


def test_a_reset_connection_loses_nothing_that_arrived(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.files["/x.ims"] = DATA
    read, calls = http.client.HTTPResponse.read1, []

    def sometimes(self: http.client.HTTPResponse, size: int) -> bytes:
        calls.append(size)
        if len(calls) == 2:
            raise ConnectionResetError(104, "Connection reset by peer")
        return read(self, min(size, 1000))

    monkeypatch.setattr(http.client.HTTPResponse, "read1", sometimes)
    assert fetch(f"{web.url}/x.ims", tmp_path).read_bytes() == DATA
    assert web.requests[-1][2] == "bytes=1000-"


def test_what_came_whole_before_a_kill_is_only_checked(web: Web, tmp_path: Path) -> None:
    web.add_record("7", {"a.ims": b"hello"})
    path = fetch("zenodo:7/a.ims", tmp_path)
    (lock,) = path.parent.glob("*.lock")
    path.rename(lock.with_suffix(".partial"))
    assert fetch("zenodo:7/a.ims", tmp_path).read_bytes() == b"hello"
    assert web.count("GET", "content") == 1
    web.records.clear()
    zenodo._get.cache_clear()
    assert fetch("zenodo:7/a.ims", tmp_path) == path  # nothing is asked


def test_files_of_one_name_stay_apart(web: Web, tmp_path: Path) -> None:
    web.files |= {"/1/x": b"1", "/2/x": b"2"}
    web.lengths = False
    web.refusals = {path: [(405, {})] for path in web.files}
    assert [fetch(f"{web.url}/{i}/x", tmp_path).read_bytes() for i in (1, 2)] == [b"1", b"2"]


def test_a_killed_download_is_resumed(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.files["/x.ims"] = DATA
    web.cuts["/x.ims"] = 1
    with monkeypatch.context() as patch:
        patch.setattr(
            sources_http, "pause", lambda attempt: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            fetch(f"{web.url}/x.ims", tmp_path)
    (partial,) = tmp_path.rglob("*.partial")
    assert partial.stat().st_size == 524_288
    assert fetch(f"{web.url}/x.ims", tmp_path).read_bytes() == DATA
    assert web.requests[-1] == ("GET", "/x.ims", "bytes=524288-")


def test_a_server_that_knows_no_ranges(web: Web, tmp_path: Path) -> None:
    web.files["/x.ims"] = DATA
    web.cuts["/x.ims"], web.ranges = 1, False
    assert fetch(f"{web.url}/x.ims", tmp_path).read_bytes() == DATA


def test_a_server_that_tells_no_length(web: Web, tmp_path: Path) -> None:
    web.files["/x.ims"] = DATA
    web.lengths = False
    (item,) = list_items(f"{web.url}/x.ims")
    assert item.size == -1
    assert fetch(f"{web.url}/x.ims", tmp_path).read_bytes() == DATA


def test_a_server_that_knows_no_head(web: Web, tmp_path: Path) -> None:
    web.files["/x.ims"] = DATA
    web.refusals["/x.ims"] = [(405, {}), (405, {})]
    (item,) = list_items(f"{web.url}/x.ims")
    assert (item.size, item.etag) == (-1, "")
    assert fetch(f"{web.url}/x.ims", tmp_path).read_bytes() == DATA


def test_left_overs_that_are_too_long(web: Web, tmp_path: Path) -> None:
    web.files["/x.ims"] = b"short"
    target = tmp_path / "x.ims"
    sources_http.download(f"{web.url}/x.ims", target, size=None, checksum="", tag="")
    target.unlink()
    (lock,) = tmp_path.glob("*.lock")
    lock.with_suffix(".partial").write_bytes(b"much longer than it should be")
    sources_http.download(f"{web.url}/x.ims", target, size=None, checksum="", tag="")
    assert target.read_bytes() == b"short"  # the server answered 416, then all of it


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
def test_answers_that_pass(web: Web, tmp_path: Path, status: int) -> None:
    web.files["/x"] = b"1"
    web.refusals["/x"] = [(status, {})] * 3
    assert fetch(f"{web.url}/x", tmp_path).read_bytes() == b"1"


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("7", 7, 7),
        ("0.5", 0.5, 0.5),
        ("100000", 120, 120),
        (formatdate(0), 0, 0),
        ("soon", None, None),
        ("", None, None),
    ],
)
def test_retry_after(text: str, least: float | None, most: float | None) -> None:
    found = sources_http._retry_after(text)
    assert (found is None) if least is None else (least <= found <= most)


def test_retry_after_a_date() -> None:
    date = formatdate(time.time() + 60, usegmt=True)  # whole seconds
    assert 55 < sources_http._retry_after(date) <= 60


def test_a_server_that_asks_to_wait(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(sources_http.time, "sleep", slept.append)
    web.files["/x"] = b"1"
    web.refusals["/x"] = [(429, {"Retry-After": "3"})]
    fetch(f"{web.url}/x", tmp_path)
    assert [pause for pause in slept if pause] == [3.0]


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (404, InputError, "not there .404"),
        (410, InputError, "not there .410"),
        (401, StoreError, "it needs a login"),
        (403, StoreError, "the server refused: 403 Forbidden; it needs a login"),
        (400, StoreError, "the server refused: 400"),
        (503, StoreError, "no answer after 6 tries: 503"),
    ],
)
def test_answers_that_stay(
    web: Web, tmp_path: Path, status: int, error: type[Exception], said: str
) -> None:
    web.refusals["/x"] = [(status, {})] * 20
    with pytest.raises(error, match=said):
        fetch(f"{web.url}/x?a=1", tmp_path)
    if status == 404:
        with pytest.raises(UsageError, match=said):
            list_items(f"{web.url}/x?a=1")


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no answer after 6 tries: .*refused.*check the network"):
        fetch(f"http://127.0.0.1:{free_port()}/x", tmp_path)


def test_a_download_that_breaks_off_for_ever(web: Web, tmp_path: Path) -> None:
    web.files["/x"] = b"1"  # half of one byte is none
    web.cuts["/x"] = 100
    with pytest.raises(StoreError, match="broke off 6 times at byte 0; the same command resumes"):
        fetch(f"{web.url}/x", tmp_path)


def test_a_disk_that_is_full(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    web.files["/x"] = b"1"
    monkeypatch.setattr(sources_http.os, "fsync", full)
    with pytest.raises(StoreError, match="cannot keep the download: No space left on device"):
        fetch(f"{web.url}/x", tmp_path)


def test_a_redirect_out_of_https_is_not_followed(web: Web, tmp_path: Path) -> None:
    web.refusals["/x"] = [(302, {"Location": "http://169.254.169.254/latest/meta-data"})]
    with pytest.raises(InputError, match=r"it redirects to .*link-local.*expected https"):
        fetch(f"{web.url}/x", tmp_path)


@pytest.mark.parametrize(
    "fragment",
    [
        # md5sum and sha256sum of "hello"
        "md5=5d41402abc4b2a76b9719d911017c592",
        "sha256=2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        "part2",
    ],
)
def test_a_checksum_in_the_address(web: Web, tmp_path: Path, fragment: str) -> None:
    web.files["/x"] = b"hello"
    assert fetch(f"{web.url}/x#{fragment}", tmp_path).read_bytes() == b"hello"


def test_a_wrong_checksum_is_tried_once_more(web: Web, tmp_path: Path) -> None:
    web.files["/x"] = b"hello"
    with pytest.raises(InputError, match="its md5 is 5d41402abc4b2a76b9719d911017c592; expected 0"):
        fetch(f"{web.url}/x#md5=0000", tmp_path)
    assert web.count("GET") == 2
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_two_do_not_both_download(web: Web, tmp_path: Path) -> None:
    web.files["/x"] = DATA
    web.pause = 0.1
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: fetch(f"{web.url}/x", tmp_path), range(4)))
    assert len(set(found)) == 1
    assert web.count("GET") == 1


def test_only_files_of_servers_are_fetched(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected https:// or zenodo:RECORD/file"):
        fetch("s3://bucket/x", tmp_path)


# --- Zenodo


def test_a_record(web: Web, tmp_path: Path) -> None:
    web.add_record("14551288", {"Neu10.ims": DATA, "Neu2.ims": b"2", "read me.txt": b"r"})
    found = resolve_record(14551288)
    assert {k: v for k, v in found.items() if k != "files"} == {
        "asked": "14551288",
        "resolved": "14551288",
        "doi": "10.5281/zenodo.14551288",
        "title": "Movies",
        "license": "cc-by-4.0",
    }
    items = list_items("zenodo:14551288")
    assert [item.path for item in items] == ["Neu2.ims", "Neu10.ims", "read me.txt"]
    # md5sum of "2"
    assert items[0].etag == "md5:c81e728d9d4c2f636f067f89cc14862c"
    assert paths("zenodo:14551288/*.ims") == ["Neu2.ims", "Neu10.ims"]
    assert paths("zenodo:14551288/read me.txt") == ["read me.txt"]
    with opened(items[1].uri) as path:
        assert Path(path).read_bytes() == DATA
    host = web.url.removeprefix("http://").replace(":", "-")
    assert path == str(tmp_path / "cache" / host / "14551288/Neu10.ims")
    assert web.count("GET", "/api/records/14551288/files") == 1
    assert sum(path == "/api/records/14551288" for _, path, _ in web.requests) == 1


@pytest.mark.parametrize("asked", ["100", "101", "102"])
def test_old_records_and_concepts_stand_for_the_latest(web: Web, asked: str) -> None:
    web.add_record("101", {"a.ims": b"old"}, concept="100", is_last=False)
    web.add_record("102", {"a.ims": b"new"}, concept="100")
    found = resolve_record(asked)
    assert (found["asked"], found["resolved"]) == (asked, "102")
    (item,) = list_items(f"zenodo:{asked}")
    assert item.uri == "zenodo:102/a.ims"
    with opened(item.uri) as path:
        assert Path(path).read_bytes() == b"new"
    with opened("zenodo:101/a.ims") as path:  # an item names its version, and keeps to it
        assert Path(path).read_bytes() == b"old"


def test_a_record_is_resumed_and_checked(web: Web, tmp_path: Path) -> None:
    web.add_record("7", {"a.ims": DATA}, md5={"a.ims": "0" * 32})
    web.cuts["/api/records/7/files/a.ims/content"] = 1
    with pytest.raises(InputError, match=r"its md5 is .*; expected 0000"):
        fetch("zenodo:7/a.ims", tmp_path)
    assert web.count("GET", "content") == 3  # begun, resumed, and once more from the start


def test_a_file_of_another_size_than_the_record_says(web: Web, tmp_path: Path) -> None:
    web.add_record("7", {"a.ims": b"12345"})
    web.records["7"]["files"][0]["size"] = 4
    with pytest.raises(InputError, match="it holds 5 bytes; expected 4, twice"):
        fetch("zenodo:7/a.ims", tmp_path)


def test_other_shapes_of_an_answer(web: Web, tmp_path: Path) -> None:
    data = b"hello"
    web.files["/records/8/files/a b.ims"] = data
    web.files["/records/8/files/a%20b.ims"] = data
    web.records["8"] = {
        "id": 8,
        "metadata": {"doi": "10.5281/zenodo.8"},
        "files": [
            {
                "filename": "a b.ims",
                "filesize": 5,
                "checksum": "5d41402abc4b2a76b9719d911017c592",
                "links": {"self": "https://elsewhere.example/content"},
            },
            {"key": "b.ims", "size": 1, "checksum": "crc7:00"},
        ],
    }
    found = resolve_record(8)
    assert found["files"][0] == {
        "name": "a b.ims",
        "size": 5,
        "checksum": "md5:5d41402abc4b2a76b9719d911017c592",
        "url": f"{web.url}/records/8/files/a%20b.ims?download=1",
    }
    assert found["files"][1]["checksum"] == ""
    assert fetch("zenodo:8/a b.ims", tmp_path).read_bytes() == data


def test_a_record_that_is_not_there(web: Web) -> None:
    assert web.url
    with pytest.raises(UsageError, match=r"zenodo:9: .* has no such record; check the number"):
        list_items("zenodo:9")


def test_a_record_without_files_or_without_that_file(web: Web, tmp_path: Path) -> None:
    web.add_record("7", {})
    with pytest.raises(UsageError, match="no such file or folder"):
        list_items("zenodo:7")
    with pytest.raises(UsageError, match="no such file; the record has none"):
        fetch("zenodo:7/a.ims", tmp_path)


@pytest.mark.parametrize(
    "record",
    [{}, {"id": 7, "files": [{"links": {}}]}, {"id": 7, "files": 3}, [], "text"],
    ids=["empty", "file without a name", "files a number", "list", "text"],
)
def test_answers_that_are_no_record(web: Web, record: dict) -> None:
    web.files["/api/records/7"] = __import__("json").dumps(record).encode()
    with pytest.raises(StoreError, match="the answer is not a Zenodo record"):
        resolve_record(7)


def test_hostile_names_leave_no_cache(web: Web, tmp_path: Path) -> None:
    web.add_record("7", {"../../evil": b"x"})
    with pytest.raises(InputError, match=r"unsafe name '\.\./\.\./evil'"):
        list_items("zenodo:7")
    with pytest.raises(UsageError, match="backslash"):
        fetch("zenodo:7/../../evil", tmp_path)


def test_an_answer_that_breaks_off_is_asked_again(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.add_record("7", {"a.ims": b"1"})
    web.cuts["/api/records/7"] = 2
    assert resolve_record(7)["resolved"] == "7"
    zenodo._get.cache_clear()
    web.cuts["/api/records/7"] = 100
    with pytest.raises(StoreError, match="the answer broke off 6 times"):
        resolve_record(7)
    web.cuts.clear()
    monkeypatch.setattr(sources_http, "LONGEST_ANSWER", 10)
    with pytest.raises(StoreError, match="an answer of more than 10 bytes"):
        resolve_record(7)


def test_a_read_that_fails_is_no_crash(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.files["/x"] = b"1"

    def broken(*_: object) -> bytes:
        raise http.client.IncompleteRead(b"")

    with monkeypatch.context() as patch:
        patch.setattr(http.client.HTTPResponse, "read", broken)
        with pytest.raises(StoreError, match="broke off 6 times"):
            sources_http.read_all(f"{web.url}/x", {})


# --- many small files -----------------------------------------------------------------------------


def test_many_files_of_a_bucket_come_in_order_and_many_at_a_time(monkeypatch):
    places, lock, state = open_objects("memory://many"), threading.Lock(), {"now": 0, "most": 0}
    for n in range(300):
        places.put(f"{n}.h5", str(n).encode())
    read = type(places).read

    def slow(self, key):
        with lock:
            state["now"] += 1
            state["most"] = max(state["most"], state["now"])
        time.sleep(0.002)
        with lock:
            state["now"] -= 1
        return read(self, key)

    monkeypatch.setattr(type(places), "read", slow)
    uris = [f"memory://many/{n}.h5" for n in (*range(150), 999, *range(150, 300))]
    found = list(sources.read_many(uris, lambda file: int(file.read()), in_flight=20))
    assert isinstance(found.pop(150), InputError)
    assert found == list(range(300))
    assert 10 < state["most"] <= 20
    monkeypatch.undo()
    some = sources.read_many(uris, lambda file: file.read(), in_flight=3)
    assert next(some) == b"0"
    some.close()
    assert list(sources.read_many([], bytes)) == []


def test_many_files_on_disk(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"abc")
    uris = [str(tmp_path / name) for name in ("a.h5", "none.h5")]

    def take(file):
        return file.read(), os.pread(file.fileno(), 1, 1)

    found = list(sources.read_many(uris, take))
    assert found[0] == (b"abc", b"b")
    assert "no such file" in str(found[1])
    with pytest.raises(StoreError, match="cannot be read"):
        list(sources.read_many([str(tmp_path)], take))


# --- archives -------------------------------------------------------------------------------------


def packed(folder: Path, kind: str, files: dict[str, bytes]) -> str:
    for name, data in files.items():
        path = folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return shutil.make_archive(str(folder / "tree"), kind, folder / "in")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_files_of_an_archive_as_if_it_were_a_folder(tmp_path, kind):
    files = {"a/+SEA /x_1.h5": b"one", "a/+SEA /x_2.h5": b"second", "b/x.h5": b"b", ".hidden": b""}
    place = packed(tmp_path, kind, files)
    found = {item.path: item for item in list_items(place)}
    assert list(found) == ["a/+SEA /x_1.h5", "a/+SEA /x_2.h5", "b/x.h5"]
    assert found["a/+SEA /x_2.h5"].uri == f"{place}/a/+SEA /x_2.h5"
    assert [item.size for item in found.values()] == [3, 6, 1]
    assert [item.path for item in list_items(f"{place}/a/+SEA ")] == ["x_1.h5", "x_2.h5"]
    (one,) = list_items(f"{place}/b/x.h5")
    assert (one.path, one.etag) == ("x.h5", found["b/x.h5"].etag)
    uris = [item.uri for item in found.values()]
    assert list(sources.read_many(uris, lambda file: file.read())) == [b"one", b"second", b"b"]
    with opened(uris[0]) as file:
        assert file.read() == b"one"
    with pytest.raises(UsageError, match="no such file or folder"):
        list_items(f"{place}/c")
    (gone,) = sources.read_many([f"{place}/b/y.h5"], lambda file: file.read())
    assert "no file 'b/y.h5' in it" in str(gone)


def test_archives_that_are_damaged_or_packed_as_a_whole(tmp_path):
    place = Path(packed(tmp_path, "zip", {"x.h5": b"abc" * 999}))
    data = bytearray(place.read_bytes())
    data[45:50] = b"\xff" * 5
    place.write_bytes(data)
    (one,) = list_items(place)
    (found,) = sources.read_many([one.uri], lambda file: file.read())
    assert "x.h5: cannot be unpacked" in str(found)
    place.write_bytes(b"rubbish")
    with pytest.raises(UsageError, match=r"tree\.zip: damaged, or no archive"):
        list_items(place)
    with pytest.raises(UsageError, match="has to be unpacked first"):
        list_items(packed(tmp_path, "gztar", {"x.h5": b"abc"}))
    tar = Path(packed(tmp_path, "tar", {"x.h5": b"abc" * 9999}))
    (one,) = list_items(tar)
    os.truncate(tar, 9000)
    os.utime(tar)
    assert isinstance(next(sources.read_many([one.uri], bytes)), InputError)


def test_names_of_an_archive_that_lead_out_of_it_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("../out.h5", b"x")
    with pytest.raises(UsageError, match=r"a\.zip: unsafe name '../out.h5': it holds '\.\.'"):
        list_items(tmp_path / "a.zip")


@pytest.mark.parametrize("at", [12, 16], ids=["its size", "its place"])
@pytest.mark.parametrize("value", [0, 1, 2**31, 2**32 - 1])
def test_an_archive_whose_end_lies_is_damaged(tmp_path, at, value):
    """No trial helps: that is no fault of a disk."""
    place = Path(packed(tmp_path, "zip", {"a.h5": b"a" * 99}))
    data = bytearray(place.read_bytes())
    struct.pack_into("<I", data, data.rindex(b"PK\5\6") + at, value)
    place.write_bytes(data)
    try:
        found = list(sources.read_many([f"{place}/a.h5"], lambda file: file.read()))
    except StoreError as error:
        pytest.fail(f"no fault of a disk: {error}")
    assert found[0] == b"a" * 99 or (
        isinstance(found[0], InputError) and str(found[0]).startswith(f"{place}: ")
    )


def patched(place: str, name: str, at: int, form: str, value: int) -> None:
    """Change what the list of files of a zip says of one."""
    data = bytearray(Path(place).read_bytes())
    entry = data.index(name.encode(), data.index(b"PK\1\2")) - 46
    struct.pack_into(form, data, entry + at, value)
    Path(place).write_bytes(data)


LIES = {
    "password": (8, "<H", 1, "it has a password"),
    "compression": (10, "<H", 12, "or a compression other than deflate"),
    "checksum": (16, "<I", 7, "its checksum is wrong"),
    "more bytes than there are": (24, "<I", 10**6, "the archive says 1000000"),
    "fewer bytes than there are": (24, "<I", 100, "101 bytes; the archive says 100"),
    "into the next file": (20, "<I", 10**6, "truncated, or it overlaps with the next file"),
    "another place": (42, "<I", 9, "no header where the list of files says"),
    "too large": (24, "<I", 2**31, "2147483648 bytes; unpack the archive first"),
    "behind all": (42, "<I", 2**30, "damaged: the list of files has it at byte"),
    "far too dense": (24, "<I", 2**29, "more than 100 times as many; unpack the archive first"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_zip_whose_list_lies(tmp_path, name):
    *change, said = LIES[name]
    place = packed(tmp_path, "zip", {"a.h5": b"a" * 999, "b.h5": b"b" * 999})
    patched(place, "a.h5", *change)
    one, two = sources.read_many([f"{place}/{n}.h5" for n in "ab"], lambda file: file.read())
    assert two == b"b" * 999 or name == "another place"  # which is within the other
    assert isinstance(one, InputError)
    assert said in str(one)


def test_zeros_that_fill_the_memory_are_not_unpacked(tmp_path):
    """200 MB in 0.2 MB: what is too much is known before, and no byte of it is made."""
    place = tmp_path / "a.zip"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("zeros.csv", "w") as file:
            for _ in range(200):
                file.write(bytes(10**6))
        archive.writestr("small.csv", bytes(10**6))
    assert place.stat().st_size < 300_000
    tracemalloc.start()
    try:
        zeros, small = sources.read_many(
            [f"{place}/{n}.csv" for n in ("zeros", "small")], lambda file: len(file.read())
        )
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()
    assert "zeros.csv: 200000000 bytes out of 19" in str(zeros)
    assert str(zeros).endswith("more than 100 times as many; unpack the archive first")
    assert small == 10**6


def test_a_tar_with_a_size_below_zero_is_refused(tmp_path):
    """Older versions of Python would go back and forth in it for ever."""
    head = tarfile.TarInfo("a.h5").tobuf(tarfile.USTAR_FORMAT)
    size = b"\xff" * 10 + (-1024).to_bytes(2, "big", signed=True)
    head = bytearray(head[:124] + size + head[136:])
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    (tmp_path / "a.tar").write_bytes(bytes(head) + bytes(4096))
    with pytest.raises(UsageError, match=r"a\.tar: damaged"):
        list_items(tmp_path / "a.tar")


@pytest.mark.parametrize("how", ["a header", "the end"])
def test_a_tar_that_is_damaged_in_the_middle_loses_nothing_in_silence(tmp_path, how):
    place = tmp_path / "tree.tar"
    with tarfile.open(place, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("a.h5", "b.h5"):
            (tmp_path / name).write_bytes(b"x" * 999)
            tar.add(tmp_path / name, name)
    assert paths(str(place)) == ["a.h5", "b.h5"]
    data = bytearray(place.read_bytes())
    at = data.index(b"b.h5")
    assert at == 1536  # a header of 512 bytes, and two blocks of as many
    if how == "a header":
        data[at : at + 4] = b"\xff" * 4
    place.write_bytes(data if how == "a header" else data[:at])
    with pytest.raises(UsageError, match=f"damaged at byte {at}, or truncated"):
        list_items(place)


@pytest.fixture(params=["s3", "memory"])
def delivered(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A bucket with a zip of four files."""
    memory = request.param == "memory"
    url = f"memory://{uuid.uuid4().hex}" if memory else request.getfixturevalue("bucket")
    files = {f"E/+SEA /x_{n}.h5": bytes([n]) * 999 for n in range(3)} | {"F/y.h5": b"y"}
    place = packed(tmp_path, "zip", files)
    open_objects(url).put("raw/one.zip", Path(place).read_bytes())
    return url


def test_a_zip_in_a_bucket_as_if_it_were_a_folder(delivered):
    place = f"{delivered}/raw/one.zip"
    names = ["E/+SEA /x_0.h5", "E/+SEA /x_1.h5", "E/+SEA /x_2.h5", "F/y.h5"]
    assert paths(place) == paths(f"{place}/") == names
    uris = [item.uri for item in list_items(place)]
    assert uris == [f"{place}/{name}" for name in names]
    assert paths(f"{place}/E/+SEA ") == ["x_0.h5", "x_1.h5", "x_2.h5"]
    assert [len(one) for one in sources.read_many(uris, lambda f: f.read())] == [999] * 3 + [1]
    with opened(uris[1]) as file:
        assert file.read() == b"\1" * 999
    assert paths(f"{delivered}/raw/*.zip") == [f"one.zip/{name}" for name in names]
    assert paths(f"{delivered}/raw") == ["one.zip"]  # nobody asked for what is in it
    (gone,) = sources.read_many([f"{place}/none.h5"], lambda f: f.read())
    assert "no file 'none.h5' in it" in str(gone)


def test_a_zip_in_a_bucket_that_is_replaced(delivered, tmp_path):
    place, objects = f"{delivered}/raw/one.zip", open_objects(delivered)
    before = list_items(place)
    objects.put("raw/one.zip", Path(packed(tmp_path / "b", "zip", {"z.h5": b"z"})).read_bytes())
    (gone,) = sources.read_many([before[0].uri], lambda f: f.read())
    assert isinstance(gone, InputError)  # its bytes are others now
    (one,) = list_items(place)
    assert (one.path, list(sources.read_many([one.uri], lambda f: f.read()))) == ("z.h5", [b"z"])
    objects.delete("raw/one.zip")
    with pytest.raises(UsageError, match="no such file or folder"):
        list_items(place)


def test_archives_in_a_bucket_that_cannot_be_read(delivered, tmp_path):
    objects = open_objects(delivered)
    objects.put("bad.zip", b"rubbish")
    objects.put("tree.tar", Path(packed(tmp_path / "t", "tar", {"z.h5": b"z"})).read_bytes())
    objects.put("tree.tar.gz", b"x")
    objects.put("odd.zip/x.h5", b"x")
    for name, said in [
        ("bad.zip", "damaged, or no archive"),
        ("tree.tar", "a tar in a bucket has no list of its files; copy it to a disk"),
        ("tree.tar.gz", "has to be unpacked first"),
    ]:
        with pytest.raises(UsageError, match=said):
            list_items(f"{delivered}/{name}")
    assert paths(f"{delivered}/odd.zip") == ["x.h5"]
    uri = f"{delivered}/odd.zip/x.h5"
    assert list(sources.read_many([uri, uri], lambda f: f.read())) == [b"x", b"x"]


def test_a_file_of_a_zip_in_a_bucket_is_one_request(bucket, fault_proxy, tmp_path):
    files = {f"a/x_{n}.h5": bytes([n]) * 999 for n in range(40)}
    place = f"{bucket}/{uuid.uuid4().hex}.zip"
    data = Path(packed(tmp_path, "zip", files)).read_bytes()
    open_objects(bucket).put(place.rpartition("/")[2], data)
    uris = [item.uri for item in list_items(place)]
    fault_proxy.reset()
    found = list(sources.read_many(uris, lambda f: f.read()))
    assert found == list(files.values())
    assert fault_proxy.count("GET") == 40
    assert fault_proxy.count("HEAD") == 0


def test_a_fault_of_the_network_blames_no_archive(bucket, fault_proxy, tmp_path):
    name = f"{uuid.uuid4().hex}.zip"
    data = Path(packed(tmp_path, "zip", {"x": b"x"})).read_bytes()
    open_objects(bucket).put(name, data)
    fault_proxy.fail("GET", status=403, code="AccessDenied", times=9, match=f"/{name}")
    with pytest.raises(StoreError, match="may not read"):
        list_items(f"{bucket}/{name}")
    fault_proxy.reset()
    assert paths(f"{bucket}/{name}") == ["x"]


def test_a_zip_of_a_web_server_or_a_record_is_fetched(web, tmp_path):
    place = packed(tmp_path, "zip", {"E/x_1.h5": b"one", "E/x_2.h5": b"two"})
    data = Path(place).read_bytes()
    web.files["/files/all.zip"] = data
    web.add_record("7", {"all.zip": data, "read me.txt": b"r", "all.tar.gz": b"x"})
    for url in (f"{web.url}/files/all.zip?download=1", "zenodo:7/all.zip"):
        items = list_items(url)
        assert [item.path for item in items] == ["E/x_1.h5", "E/x_2.h5"]
        found = sources.read_many([item.uri for item in items], lambda f: f.read())
        assert list(found) == [b"one", b"two"]
        assert Path(items[0].uri).is_relative_to(tmp_path / "cache")
    assert paths("zenodo:7") == ["all.tar.gz", "all.zip", "read me.txt"]
    with pytest.raises(UsageError, match="has to be unpacked first"):
        list_items("zenodo:7/all.tar.gz")
    assert web.count("GET", "all.tar.gz/content") == 0


def test_a_glob_that_ends_like_an_archive_lists_what_is_inside(tmp_path):
    for name in ("E1", "E2"):
        shutil.move(packed(tmp_path / name, "zip", {"+SEA /x.h5": b"x"}), tmp_path / f"{name}.zip")
    assert paths(f"{tmp_path}/E?.zip") == ["E1.zip/+SEA /x.h5", "E2.zip/+SEA /x.h5"]
    assert paths(f"{tmp_path}/E?*") != paths(f"{tmp_path}/E?.zip")


def test_a_name_like_that_of_an_archive_is_no_archive(tmp_path):
    (tmp_path / "odd.zip").mkdir()
    (tmp_path / "odd.zip" / "x.h5").write_bytes(b"x")
    assert [item.path for item in list_items(tmp_path)] == ["odd.zip/x.h5"]
    assert [item.path for item in list_items(tmp_path / "odd.zip")] == ["x.h5"]


# --- brackets in names


@pytest.fixture(params=["folder", "s3", "memory"])
def anywhere(request, tmp_path):
    if request.param == "s3":
        return open_objects(request.getfixturevalue("bucket") + "/here")
    return open_objects(tmp_path if request.param == "folder" else f"memory://{uuid.uuid4().hex}")


def test_names_with_brackets(anywhere):
    """A whole path is a name; in a glob a bracket is written ``[[]``, which messages say."""
    for name in ("Exp [1]/a[2].ims", "Exp [1]/b.ims", "Exp 1/c.ims"):
        anywhere.put(f"raw/{name}", b"x")
    root = f"{anywhere.url}/raw"
    assert paths(f"{root}/Exp [1]") == ["a[2].ims", "b.ims"]
    (one,) = list_items(f"{root}/Exp [1]/a[2].ims")
    assert one.path == "a[2].ims"
    assert [item.uri for item in list_items(one.uri)] == [one.uri]
    assert paths(f"{root}/Exp [[]1]/*.ims") == ["a[2].ims", "b.ims"]
    assert paths(f"{root}/Exp [[]1]/a[[]2].ims") == ["a[2].ims"]
    assert paths(f"{root}/Exp [0-9]/*.ims") == ["Exp 1/c.ims"]
    with pytest.raises(UsageError) as told:
        list_items(f"{root}/Exp [2]/*.ims")
    assert "matches no file; in a glob [...] stands for one of the characters" in str(told.value)
    assert str(told.value).endswith(f"write [[] for it: {root}/Exp [[]2]/*.ims")


def test_a_glob_in_a_working_folder_with_brackets(tmp_path, monkeypatch):
    """Who wrote the glob wrote no bracket."""
    (tmp_path / "Exp [1] x*" / "raw").mkdir(parents=True)
    (tmp_path / "Exp [1] x*" / "raw" / "a.ims").touch()
    monkeypatch.chdir(tmp_path / "Exp [1] x*")
    assert paths("raw/*.ims") == ["a.ims"] == paths("./raw/../raw/a.ims") == paths("raw")
    assert paths("*") == ["raw/a.ims"]
    assert list_items("raw/*.ims")[0].uri == f"{tmp_path}/Exp [1] x*/raw/a.ims"
    with pytest.raises(UsageError, match="the glob matches no file; check the path"):
        list_items("raw/*.tif")
