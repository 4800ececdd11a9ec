"""300 spoiled inputs, spread over all readers; and the fuzzer, which must find what is bad."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from dpipe.errors import InputError
from dpipe.readers import READERS
from fuzz import mutations, run, seeds

pytestmark = pytest.mark.slow

RUN = [sys.executable, str(Path(run.__file__))]


def test_every_reader_has_seeds_that_open(tmp_path):
    assert set(seeds.WRITERS) <= set(READERS)
    for reader in READERS:
        for seed in seeds.seeds(reader):
            folder = tmp_path / reader / seed.name
            run.place(folder, dict(seed.files))
            outcome = run.judge(reader, folder, seed.options)
            assert outcome.kind == "opened", (reader, seed.name, outcome)


def test_a_reader_without_a_seed_has_that_of_its_example(monkeypatch, tmp_path):
    monkeypatch.delitem(seeds.WRITERS, "tiff-series")
    monkeypatch.setattr(seeds, "MADE", {})
    (seed,) = seeds.seeds("tiff-series")
    assert list(seed.files) == [f"{seeds.SECRET}/0007.tif"]
    run.place(tmp_path, dict(seed.files))
    assert run.judge("tiff-series", tmp_path, seed.options).kind == "opened"


def test_an_integer_tells_a_mutation():
    seed = seeds.seeds("tracks")[0]
    made = [mutations.mutate(dict(seed.files), n) for n in range(40)]
    assert made == [mutations.mutate(dict(seed.files), n) for n in range(40)]
    assert len({str(each) for each in made}) > 30


def test_300_spoiled_inputs_end_well():
    done = subprocess.run([*RUN, "--count", "300"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counted = [line for line in done.stdout.splitlines() if ": " in line]
    assert {line.partition(":")[0] for line in counted} == set(READERS)
    assert sum("refused" in line for line in counted) > len(READERS) // 2


def fail(error: Exception):
    def read(uri):
        raise error

    return read


def warn(uri):
    warnings.warn("something is odd", UserWarning, stacklevel=1)
    return READERS["spillover"].open(uri)


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (fail(ValueError("not ours")), "foreign"),
        (fail(InputError("no name of the file")), "unnamed"),
        (fail(InputError("spoiled7.csv: is named")), "refused"),
        (warn, "warning"),
    ],
)
def test_how_an_end_is_judged(tmp_path, monkeypatch, read, kind):
    run.place(tmp_path, dict(seeds.seeds("spillover")[0].files))
    monkeypatch.setattr(run.part_spec, "read", lambda origin: read(origin.items[0]["uri"]))
    outcome = run.judge("spillover", tmp_path, {})
    assert outcome.kind == kind
    assert ("Traceback" in outcome.trace) == (kind not in ("warning",))


PLANTED = """
import sys
sys.path.insert(0, {tests!r})
sys.path.insert(0, {tests!r} + "/support")
from dataclasses import replace
from fuzz import run
from dpipe.readers import READERS
def bad(urls, **_):
    {body}
READERS["spillover"] = replace(READERS["spillover"], open=bad)
words = ["--count", "2", "--workers", "1", "--reader", "spillover"]
sys.exit(run.main([*words, "--seconds", "{seconds}"]))
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ValueError('planted')", "foreign: ValueError: planted"),
        ("while True: pass", "hang: more than 2 s"),
        ("import os; os._exit(7)", "died: exit code 7"),
        ("b'x' * 10**9; raise SystemError", "foreign: SystemError"),
        ("x = b'x' * 10**9; from dpipe.errors import InputError; raise InputError('spoiled7.csv')",
         "memory: "),
        ("bytes(1 << 40)", "foreign: MemoryError"),
    ],
)  # fmt: skip
def test_a_planted_fault_is_reported_with_its_case(body, said):
    seconds = 2 if "more than 2 s" in said else 30
    text = PLANTED.format(tests=str(Path(run.__file__).parents[1]), body=body, seconds=seconds)
    env = os.environ | {"PYTHONPATH": str(Path(run.__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 1, done.stderr
    assert f"--case spillover:csv:0: {said}" in done.stdout
