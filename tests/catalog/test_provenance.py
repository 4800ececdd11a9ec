"""Where a part comes from: the code that made it is all of dpipe's, its lock that beside it."""

import hashlib
import subprocess
from pathlib import Path

import pytest

import dpipe
from dpipe.catalog import provenance

ROOT = Path(dpipe.__file__).parent
SPEC = {
    "kind": "reader", "name": "tiff", "version": 1, "params": {}, "items": (), "inputs": {},
    "said": {}, "levels": None, "device": "cpu",
}  # fmt: skip


def recorded():
    return provenance(SPEC, {"author": "ann"}, partitions=1, seconds=0.5)


def test_the_digest_of_the_code_covers_every_file_of_the_package():
    whole = hashlib.sha256()
    for path in sorted(ROOT.rglob("*.py")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{path.relative_to(ROOT).as_posix()} {digest}\n".encode())
    assert recorded()["source"] == whole.hexdigest()


def test_the_lock_is_the_one_beside_the_package():
    lock = ROOT.parent / "requirements.lock"
    if not lock.is_file():
        pytest.skip("an installed package has no lock beside it")
    assert recorded()["lock"] == hashlib.sha256(lock.read_bytes()).hexdigest()


def test_the_commit_is_that_of_the_clone():
    if not (ROOT.parent / ".git").exists():
        pytest.skip("no clone")
    asked = subprocess.run(
        ["git", "-C", str(ROOT.parent), "rev-parse", "HEAD"], capture_output=True, text=True
    )
    assert recorded()["git"] == asked.stdout.strip()
