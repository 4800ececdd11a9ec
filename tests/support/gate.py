"""Holds runs at told instants: a partition that is done waits until the test lets it be known.

One that waits has written its objects and has no mark yet; a part of one partition, which needs
none, has not written its list of objects. Where ``GATE/DATASET`` is a folder, each partition of
that dataset takes one ticket out of it; a file ``open`` lets all pass.
"""

import importlib.util
import os
import sys
import time
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

SUPPORT = Path(__file__).parent
KINDS = {"dpipe.storage.local": "Folder", "dpipe.storage.s3_objects": "S3"}


class Gate:
    """The test's side of it.

    Attributes
    ----------
    env : dict
        Variables for a run or a worker.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = os.pathsep.join(map(str, [SUPPORT.parents[1], SUPPORT, SUPPORT / "gated"]))
        self.env = {"GATE": str(folder), "PYTHONPATH": path}

    def allow(self, dataset: str, marks: int) -> None:
        """Let so many marks of a dataset be written."""
        (self.folder / dataset).mkdir(parents=True)
        for number in range(marks):
            (self.folder / dataset / str(number)).touch()

    def open(self, dataset: str) -> None:
        """Let all marks of a dataset be written."""
        (self.folder / dataset / "open").touch()


class _Finder:
    """Puts the gate in front of a kind of store when its module is imported."""

    def __init__(self, module: str, kind: str) -> None:
        self.module, self.kind = module, kind

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        if name != self.module:
            return None
        sys.meta_path.remove(self)  # type: ignore[arg-type]
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def execute_and_gate(module: ModuleType) -> None:
            execute(module)
            kind = getattr(module, self.kind)
            kind.put_if_absent = _gated(kind.put_if_absent)

        spec.loader.exec_module = execute_and_gate  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Do it in this process, if it is one that a test holds."""
    if "GATE" in os.environ:
        for module, kind in KINDS.items():
            sys.meta_path.insert(0, _Finder(module, kind))  # type: ignore[arg-type]


def _gated(write: Callable[..., Any]) -> Callable[..., Any]:
    def waiting(self: Any, key: str, data: bytes) -> Any:
        whole = key.endswith(".objects.json") and not self.exists(_init(key))
        if ".marks/0" in key or whole:
            folder = Path(os.environ["GATE"]) / key.split("/")[1]
            while folder.is_dir() and not (folder / "open").exists() and not _ticket(folder):
                time.sleep(0.02)
        return write(self, key, data)

    return waiting


def _init(key: str) -> str:
    return key.replace(".objects.json", ".marks/init.json")


def _ticket(folder: Path) -> bool:
    for path in folder.iterdir():
        try:
            path.unlink()
        except FileNotFoundError:  # another worker took it
            continue
        return True
    return False
