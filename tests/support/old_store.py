"""Stores of earlier days, with their sources, as they were written then.

``0.1.0`` is of the last release; ``0.1.0-flat`` of the day before the modules moved into packages.
"""

import json
import os
import zipfile
from pathlib import Path

RELEASES = Path(__file__).parents[1] / "releases"


def unzipped(folder: Path, name: str = "0.1.0") -> Path:
    """Unzip one into a new folder; files get the times of change that fingerprints hold."""
    with zipfile.ZipFile(RELEASES / f"{name}.zip") as archive:
        archive.extractall(folder)
    times = json.loads((folder / "times.json").read_text())
    for name, time in times.items():
        os.utime(folder / name, ns=(time, time))
    return folder
