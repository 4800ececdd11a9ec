"""The pages of docs/ say what works: each is walked, step by step, in a copy of dpipe."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STEP = re.compile(
    r"^(?:A new file `(?P<new>[^`]+)`|In `(?P<old>[^`]+)`, before the line `(?P<line>[^`]+)`):\n\n"
    r"```python\n(?P<code>.*?)```$",
    re.MULTILINE | re.DOTALL,
)


def copy(folder: Path) -> None:
    """Copy what the walk touches, and what its tests need."""
    hidden = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "dpipe", folder / "dpipe", ignore=hidden)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=hidden)
    shutil.copy(ROOT / "pyproject.toml", folder)


def walk(folder: Path, step: re.Match[str], **known: str) -> None:
    """Do what a step says."""
    code = step["code"]
    for name, value in known.items():
        code = code.replace(f"{{{name}}}", value)
    if step["new"]:
        (folder / step["new"]).write_text(code)
        return
    text = (folder / step["old"]).read_text()
    assert text.count(f"\n{step['line']}\n") == 1, f"{step['old']}: {step['line']}"
    (folder / step["old"]).write_text(text.replace(step["line"], code + step["line"]))


def run_tests(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    env = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_an_operator_is_added_in_four_files(tmp_path: Path) -> None:
    steps = list(STEP.finditer((ROOT / "docs/adding-an-operator.md").read_text()))
    assert len(steps) == 4
    copy(tmp_path)
    for step in steps[:3]:
        walk(tmp_path, step)
    kept = ("tests/operators/test_table.py", "-k", "sharpness and numbers")
    first = run_tests(tmp_path, *kept)
    assert first.returncode == 1, first.stdout
    pasted = re.search(r'"sharpness": \(1, "([0-9a-f]{64})"\),', first.stdout)
    assert pasted
    walk(tmp_path, steps[3], digest=pasted[1])
    again = run_tests(tmp_path, *kept)
    assert again.returncode == 0, again.stdout
    contracts = run_tests(tmp_path, "tests/test_contracts.py", "-k", "sharpness")
    assert contracts.returncode == 0, contracts.stdout
    assert "6 passed" in contracts.stdout
    layers = run_tests(tmp_path, "tests/test_layers.py", "-k", "real")
    assert layers.returncode == 0, layers.stdout
