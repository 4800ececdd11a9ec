"""NumPy or CuPy: each block gets its own library, and a GPU that is not there is said."""

import ast
import importlib
import importlib.util
import inspect
import re
import sys
import threading
from collections import defaultdict
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import array_api_strict as strict
import numpy as np
import pytest
import scipy.ndimage
from devices import NAMES

from dpipe.compute import devices
from dpipe.errors import UsageError


class Block:
    """What CuPy's arrays look like from outside."""

    def __init__(self, host: np.ndarray) -> None:
        self.host, self.device = host, "GPU 0"

    def get(self) -> np.ndarray:
        return self.host

    def __add__(self, other: float) -> "Block":
        return Block(self.host + other)


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A CuPy without a GPU behind it."""
    fake = ModuleType("cupy")
    fake.__spec__ = importlib.util.spec_from_loader("cupy", loader=None)
    fake.cuda = SimpleNamespace(is_available=lambda: True)
    fake.ones = lambda n: Block(np.ones(n))
    fake.asarray = Block
    filters = ModuleType("cupyx.scipy.ndimage")
    monkeypatch.setattr(Block, "__module__", "cupy")
    for name, module in {
        "cupy": fake,
        "cupyx": ModuleType("cupyx"),
        "cupyx.scipy": ModuleType("cupyx.scipy"),
        "cupyx.scipy.ndimage": filters,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    return fake


@pytest.mark.parametrize("block", [np.zeros(2), np.float32(1), np.ma.zeros(2)], ids=type)
def test_numpy(block: Any) -> None:
    assert devices.namespace(block) is np
    assert devices.ndimage(block) is scipy.ndimage
    assert np.zeros(1, **devices.beside(block)).tolist() == [0]
    assert devices.to_device(block, "cpu") is block


def test_arrays_of_the_standard() -> None:
    block = strict.zeros(2, device=strict.Device("device1"))
    assert devices.namespace(block).__name__ == "array_api_strict"
    assert strict.ones(1, **devices.beside(block)).device == block.device
    with pytest.raises(RuntimeError):  # hidden conversions to NumPy are found so
        devices.to_host(block)


def test_cupy(cupy: ModuleType) -> None:
    block = devices.to_device(np.ones(3), "cuda")
    assert isinstance(block, Block)
    assert devices.namespace(block) is cupy
    assert devices.ndimage(block).__name__ == "cupyx.scipy.ndimage"
    assert devices.beside(block) == {}
    assert devices.to_host(block).tolist() == [1, 1, 1]
    with devices.device("cuda"):
        assert devices.chosen_device() == "cuda"


def no_driver() -> bool:
    raise RuntimeError("cudaErrorInsufficientDriver")


def no_compiler(n: int) -> Block:
    raise OSError("libnvrtc.so.13: cannot open shared object file\nNo such file")


@pytest.mark.parametrize(
    ("name", "answer", "reason"),
    [
        ("cuda", SimpleNamespace(is_available=lambda: False), "CuPy sees none"),
        ("cuda", SimpleNamespace(is_available=no_driver), "RuntimeError: cudaErrorInsufficient"),
        ("ones", no_compiler, r"OSError: libnvrtc.so.13: cannot open shared object file No such"),
    ],
    ids=["no-gpu", "old-driver", "no-toolkit"],
)
def test_a_gpu_that_cannot_be_used_is_refused(
    cupy: ModuleType, name: str, answer: Any, reason: str
) -> None:
    setattr(cupy, name, answer)
    assert not devices.has_cuda()
    with (
        pytest.raises(UsageError, match=rf"no usable GPU found \({reason}.*install dpipe\[gpu\]"),
        devices.device("cuda"),
    ):
        pass
    assert devices.chosen_device() == "cpu"


def test_without_cupy_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not devices.has_cuda()


def test_a_cupy_that_cannot_be_imported(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ModuleType:
        raise ImportError("libcublas.so.13: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", broken)
    assert not devices.has_cuda()


def test_an_unknown_device() -> None:
    with pytest.raises(UsageError, match="unknown device 'gpu'; known: cpu, cuda"):
        devices.device("gpu").__enter__()


def test_the_device_holds_inside_its_block_and_thread_only(cupy: ModuleType) -> None:
    found: list[str] = []
    with devices.device("cuda"):
        thread = threading.Thread(target=lambda: found.append(devices.chosen_device()))
        thread.start()
        thread.join()
        with devices.device("cpu"):
            found.append(devices.chosen_device())
        found.append(devices.chosen_device())
    with pytest.raises(ZeroDivisionError), devices.device("cuda"):
        1 / 0  # noqa: B018
    assert [*found, devices.chosen_device()] == ["cpu", "cpu", "cuda", "cpu"]


LIBRARY = re.compile(r"(?:\w+\.)*xp\.([\w.]+)|namespace\(.*\)\.(\w+)|(ndimage)\(.*\)\.(\w+)")
GIVEN = re.compile(r"namespace\([^()]*\)")


def named() -> dict[str, set[str]]:
    """What the package names of an array library: ``{"sum": {"axis"}, ...}``."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in Path(devices.__file__).parents[1].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and GIVEN.fullmatch(ast.unparse(node.value)):
                assert all(ast.unparse(one).endswith("xp") for one in node.targets), path
            called = isinstance(node, ast.Call)
            asks = node.func if isinstance(node, ast.Call) else node
            if isinstance(asks, ast.Attribute) and (hit := LIBRARY.fullmatch(ast.unparse(asks))):
                name = ".".join(part for part in hit.groups() if part)
                found[name] |= {key.arg for key in node.keywords if key.arg} if called else set()
    return found


def test_kernels_name_nothing_that_cupy_lacks() -> None:
    """All lines are read, also those that no test runs on a device."""
    found = named()
    assert found["sum"] >= {"axis", "keepdims"}
    assert found["ndimage.median_filter"] == {"size", "mode", "cval"}
    for name, keywords in found.items():
        if name != "fft":  # the group
            assert name in NAMES, f"{name}: does CuPy 14 have it? Then say so in tests/devices.py"
            assert keywords <= set(NAMES[name].split()), name
    assert set(NAMES) == set(found) - {"fft"}, "nobody names these any more"


@pytest.mark.filterwarnings("ignore")
def test_cupy_has_what_is_said_of_it() -> None:
    pytest.importorskip("cupy", reason="CuPy is not installed; the names are those of 14.2.0")
    for name, keywords in NAMES.items():
        group, _, last = name.rpartition(".")
        module = {"ndimage": "cupyx.scipy.ndimage", "fft": "cupy.fft"}.get(group, "cupy")
        found = getattr(importlib.import_module(module), last)
        if keywords:
            assert set(keywords.split()) <= set(inspect.signature(found).parameters), name
