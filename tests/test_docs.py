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
    line = f"\n{step['line']}\n"
    assert text.count(line) == 1, f"{step['old']}: {step['line']}"
    (folder / step["old"]).write_text(text.replace(line, f"\n{code}{line[1:]}"))


def run_tests(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    env = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


FILES = {"an-operator": 5, "a-reader": 4, "a-writer": 4, "a-verb": 3}
"""Of each page, how many files its steps touch; an operator's vocabulary is one of them."""
CONTRACTS = {f"tests/{shelf}/test_contracts.py": n for shelf, n in
             [("operators", 8), ("readers", 11), ("writers", 4)]}  # fmt: skip
"""How many contracts the entries of the pages keep; the new reader reads the new writer's file."""


def steps_of(page: str) -> list[re.Match[str]]:
    return list(STEP.finditer((ROOT / f"docs/adding-{page}.md").read_text()))


@pytest.mark.parametrize("page", FILES)
def test_a_page_touches_few_files(page: str) -> None:
    assert len({step["new"] or step["old"] for step in steps_of(page)}) == FILES[page]


@pytest.mark.slow
def test_what_the_pages_say_works(tmp_path: Path) -> None:
    """All four in one copy: first without their examples, whose rows are to be pasted."""
    copy(tmp_path)
    steps = [step for page in FILES for step in steps_of(page)]
    later = [step for step in steps if str(step["new"] or step["old"]).startswith("tests/")]
    for step in steps:
        if step not in later:
            walk(tmp_path, step)
    words = ("-k", "sharpness or npy or test_parts.py or (verb and parts) or have_a_file or real")
    first = run_tests(tmp_path, *CONTRACTS, *words).stdout
    pasted = re.search(r'"sharpness": Op.*\n +movie, version=1, digest="(\w{64})"', first)
    assert pasted, first
    for row in ("ReaderExample(write_npy, movie)", "WriterExample(movie)"):
        assert f'\n    "npy": {row},' in first
    for step in later:
        walk(tmp_path, step, digest=pasted[1])
    own = [step["new"] for step in later if step["new"]]
    others = ("tests/cli/test_commands.py", "tests/test_layers.py")
    done = run_tests(tmp_path, "-rA", *CONTRACTS, *own, *others, *words)
    assert done.returncode == 0, done.stdout
    passed = [line.removeprefix("PASSED ").partition("::")[0] for line in done.stdout.splitlines()]
    assert {name: passed.count(name) for name in CONTRACTS} == CONTRACTS
    assert {*own, *others} <= set(passed)
