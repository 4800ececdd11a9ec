"""The store of the last release, with its sources, as it was written then."""

import json
import os
import zipfile
from pathlib import Path

ZIP = Path(__file__).parent / "releases" / "0.1.0.zip"


def unzipped(folder: Path) -> Path:
    """Unzip it into a new folder; files get the times of change that fingerprints hold."""
    with zipfile.ZipFile(ZIP) as archive:
        archive.extractall(folder)
    times = json.loads((folder / "times.json").read_text())
    for name, time in times.items():
        os.utime(folder / name, ns=(time, time))
    return folder
