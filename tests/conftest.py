"""Fixtures shared by all tests."""

import os
import signal
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
sys.path[:0] = [str(TESTS / "support"), str(TESTS)]  # pytest's importlib mode leaves them out
from servers import bucket, fault_proxy, s3_server, web  # noqa: E402, F401 - fixtures

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores ^C
os.environ.setdefault("SCIPY_ARRAY_API", "1")  # before SciPy is imported: strict-array kernels


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real files; tests on them skip where it is missing, unless it was asked for."""
    asked = os.environ.get("DPIPE_TEST_DATA")
    root = Path(asked).absolute() if asked else Path(__file__).parents[2] / "shared"
    if (root / "data").is_dir():
        return root / "data"
    if asked:
        pytest.fail(f"DPIPE_TEST_DATA={asked}: no folder data/ in it")
    pytest.skip("no real files: set DPIPE_TEST_DATA to the folder that holds data/")
