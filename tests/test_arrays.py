"""NumPy or CuPy: each block gets its own library, and a GPU that is not there is said."""

import importlib
import importlib.util
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import array_api_strict as strict
import numpy as np
import pytest
import scipy.ndimage

from dpipe import arrays
from dpipe.errors import UsageError


class Block:
    """What CuPy's arrays look like from outside."""

    def __init__(self, host: np.ndarray) -> None:
        self.host, self.device = host, "GPU 0"

    def get(self) -> np.ndarray:
        return self.host


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A CuPy without a GPU behind it."""
    fake = ModuleType("cupy")
    fake.__spec__ = importlib.util.spec_from_loader("cupy", loader=None)
    fake.cuda = SimpleNamespace(is_available=lambda: True)
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
    assert arrays.namespace(block) is np
    assert arrays.ndimage(block) is scipy.ndimage
    assert np.zeros(1, **arrays.beside(block)).tolist() == [0]
    assert arrays.to_device(block, "cpu") is block


def test_arrays_of_the_standard() -> None:
    block = strict.zeros(2, device=strict.Device("device1"))
    assert arrays.namespace(block).__name__ == "array_api_strict"
    assert strict.ones(1, **arrays.beside(block)).device == block.device
    with pytest.raises(RuntimeError):  # hidden conversions to NumPy are found so
        arrays.to_host(block)


def test_cupy(cupy: ModuleType) -> None:
    block = arrays.to_device(np.ones(3), "cuda")
    assert isinstance(block, Block)
    assert arrays.namespace(block) is cupy
    assert arrays.ndimage(block).__name__ == "cupyx.scipy.ndimage"
    assert arrays.beside(block) == {}
    assert arrays.to_host(block).tolist() == [1, 1, 1]
    with arrays.device("cuda"):
        assert arrays.chosen_device() == "cuda"


def no_driver() -> bool:
    raise RuntimeError("cudaErrorInsufficientDriver")


@pytest.mark.parametrize("answer", [lambda: False, no_driver], ids=["no-gpu", "old-driver"])
def test_a_gpu_that_cannot_be_used_is_refused(cupy: ModuleType, answer: Any) -> None:
    cupy.cuda.is_available = answer
    assert not arrays.has_cuda()
    with (
        pytest.raises(UsageError, match=r"no usable GPU found; install dpipe\[gpu\]"),
        arrays.device("cuda"),
    ):
        pass
    assert arrays.chosen_device() == "cpu"


def test_without_cupy_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not arrays.has_cuda()


def test_a_cupy_that_cannot_be_imported(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ModuleType:
        raise ImportError("libcublas.so.13: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", broken)
    assert not arrays.has_cuda()


def test_an_unknown_device() -> None:
    with pytest.raises(UsageError, match="unknown device 'gpu'; known: cpu, cuda"):
        arrays.device("gpu").__enter__()


def test_the_device_holds_inside_its_block_and_thread_only(cupy: ModuleType) -> None:
    found: list[str] = []
    with arrays.device("cuda"):
        thread = threading.Thread(target=lambda: found.append(arrays.chosen_device()))
        thread.start()
        thread.join()
        with arrays.device("cpu"):
            found.append(arrays.chosen_device())
        found.append(arrays.chosen_device())
    with pytest.raises(ZeroDivisionError), arrays.device("cuda"):
        1 / 0  # noqa: B018
    assert [*found, arrays.chosen_device()] == ["cpu", "cpu", "cuda", "cpu"]
