"""Notebooks are kept without outputs, and every cell of them runs on what the demo makes."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dpipe
from dpipe import demo

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells(path: Path, kind: str) -> list[dict]:
    held = json.loads(path.read_text(encoding="utf-8"))
    assert (held["nbformat"], held["nbformat_minor"]) == (4, 5)
    return [cell for cell in held["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_outputs_are_kept(path):
    held = cells(path, "code")
    assert held
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in held)


def run(path: Path, folder: Path, after: str, **environ: str) -> str:
    """Run the code cells one after another in a process of their own."""
    code = ["".join(cell["source"]) for cell in cells(path, "code")]
    script = folder / "notebook.py"
    script.write_text("\n\n".join([*code, after]) + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", script], capture_output=True, text=True, timeout=240,
        env=os.environ | {"MPLBACKEND": "Agg"} | environ, cwd=folder, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_cytometry(tmp_path):
    """480 cells: the classes differ in three channels, and the classifier finds them."""
    for name in ("sklearn", "matplotlib"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"the notebook needs {name}")
    recipe = demo.write_study(tmp_path / "study", movies=1, frames=2, size=(2, 32, 32), cells=480)
    store = str(tmp_path / "store")
    dpipe.run_recipe(recipe, store, progress=False, workers="0")
    said = run(
        FOLDER / "cytometry.ipynb", tmp_path, "print('counts', len(about), usable.sum(), "
        "labelled.sum(), others.sum()); print('accuracy', accuracy); print(*weights.index[:3])",
        DPIPE_NOTEBOOK_STORE=store,
    )  # fmt: skip
    truth = json.loads((tmp_path / "study" / "truth.json").read_text())["cells"]
    labels = sum(n for one in truth.values() for k, n in one["labels"].items() if k != "-1")
    counts = next(line.split()[1:] for line in said.splitlines() if line.startswith("counts"))
    assert list(map(int, counts)) == [480, 478, labels, 478 - labels]
    assert "Experiment_1_Donor_1_+SEA_3.h5 truncated" in said
    accuracy = float(next(s.split()[1] for s in said.splitlines() if s.startswith("accuracy")))
    assert accuracy > 0.6, "by chance 0.25"
    stained = said.splitlines()[-1].split()
    assert all(any(f"Ch{k}" in name for k in (5, 6, 7)) for name in stained), stained
