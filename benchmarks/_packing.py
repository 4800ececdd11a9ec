"""Pictures in small files: packing them, against one array a picture; fetching them from afar.

``lines(folder)`` measures by turns and returns lines for the table of results; ``python
benchmarks/_packing.py [pictures]`` prints them. The pictures are 8 channels of about 105 x 105,
uint16, with masks, as h5py writes them: contiguous.
"""

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import h5py
import zarr
from _side_by_side import Line, by_turns, line, table

from dpipe import readers, sources
from dpipe.build import Recipe, base_of, parts, reader_step, run
from dpipe.build.part_spec import from_items
from dpipe.config import Settings
from dpipe.demo.study import write_ifc_tree
from dpipe.storage import open_objects

SAMPLE = "Experiment_1/Donor_1/+SEA"
LATENCY = 0.03


def lines(folder: Path, pictures: int = 2048, repeats: int = 3) -> list[Line]:
    """Measure everything; `folder` must be new."""
    tree = write_ifc_tree(
        folder / "tree", pictures, samples=[SAMPLE], mean_size=105, damage=False, labels=False
    )
    few = write_ifc_tree(folder / "few", 32, mean_size=20, damage=False)
    return [_packing(tree, folder, repeats), _processes(tree, few, folder, pictures), _fetching()]


def _packing(tree: Path, folder: Path, repeats: int) -> Line:
    sides = {
        "naive": lambda: _one_array_a_picture(tree / SAMPLE, folder / "out"),
        "ours": lambda: _packed(tree, folder / "out"),
    }
    found = by_turns(sides, repeats, lambda: shutil.rmtree(folder / "out"))
    ratio = found["naive"] / found["ours"]
    return line("HDF5 pictures to packed Zarr", "one Zarr array a picture", ratio, "x", least=3)


def _one_array_a_picture(sample: Path, out: Path) -> None:
    """Go the plain way: h5py, and two arrays a picture with the same compressor."""
    root = zarr.open_group(str(out), mode="w")
    squeeze = zarr.codecs.BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")
    for path in sorted(sample.iterdir()):
        group = root.create_group(path.stem)
        with h5py.File(path) as file:
            for name in ("image", "mask"):
                values = file[name][...]
                group.create_array(name, data=values, chunks=values.shape, compressors=[squeeze])


def _packed(tree: Path, out: Path) -> None:
    """Take the steps of a run in this process: init, partitions, finish."""
    (part,) = readers.resolve("ifc").parts([str(tree)])
    origin = from_items("ifc", part.items)
    base = base_of("cells", part.stem, origin.fingerprint)
    url, made_by = open_objects(out).url, origin.to_dict()
    parts._lazy.cache_clear()
    for i in range(parts.init(url, base, made_by)["partitions"]):
        parts.partition(url, base, i)
    parts.finish(url, base)


def _processes(tree: Path, few: Path, folder: Path, pictures: int) -> Line:
    """Pictures a second of wall time on two processes, from the listing to the commit.

    Two small folders go before, so that both processes have loaded what they need.
    """
    steps = [reader_step("few", "ifc", [str(few)]), reader_step("cells", "ifc", [str(tree)])]
    objects = open_objects(folder / "store")
    outcome = run.run(Recipe.of(*steps), objects, Settings(workers="2"), progress=False)
    rate = pictures / outcome.steps[1]["seconds"]
    shutil.rmtree(folder / "store")
    what = "the same on two processes, wall time, start of the processes not counted"
    return line(what, "pictures a second", rate, "", least=2000)


def _fetching(count: int = 2000) -> Line:
    """Files of a bucket that answers after 30 ms: 64 in flight against one after the other."""
    with _slow_bucket() as url:
        uris = [f"{url}/{n}.h5" for n in range(count)]
        turns = {}
        for in_flight, n in ((1, 60), (64, count)):
            list(sources.read_many(uris[:64], _all, in_flight=in_flight))
            began = time.perf_counter()
            list(sources.read_many(uris[:n], _all, in_flight=in_flight))
            turns[in_flight] = (time.perf_counter() - began) / n
    what = "fetching files of 264 KiB from a bucket, 30 ms a GET"
    return line(what, "one after the other", turns[1] / turns[64], "x", least=20)


def _all(file: BinaryIO) -> int:
    return len(file.read())


@contextlib.contextmanager
def _slow_bucket() -> Iterator[str]:
    """Run a server that knows one object under every name, in a process of its own."""
    held = {key: os.environ.get(key) for key in _ENVIRONMENT}
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            os.environ |= _ENVIRONMENT | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
            yield "s3://slow"
        finally:
            server.terminate()
            for key, value in held.items():
                os.environ.pop(key, None) if value is None else os.environ.update({key: value})


_ENVIRONMENT = {
    "AWS_ENDPOINT_URL": "",
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


async def _serve() -> None:
    body = os.urandom(264 << 10)
    head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nETag: "x"\r\n\r\n'.encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                asked = await reader.readuntil(b"\r\n\r\n")
                assert re.match(rb"GET ", asked)
                await asyncio.sleep(LATENCY)
                writer.write(head)
                writer.write(body)
                await writer.drain()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if "--serve" in sys.argv:
        asyncio.run(_serve())
    else:
        with tempfile.TemporaryDirectory() as made:
            count = int(sys.argv[1]) if sys.argv[1:] else 2048
            print(table(lines(Path(made) / "bench", count)))
