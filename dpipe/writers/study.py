"""The study beside exported files: as a curator typed it, and in the form of MIFA.

Every writer's files get it; formats that hold text of their own hold it too.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dpipe.errors import UsageError
from dpipe.metadata import Study
from dpipe.schema import Attributes


def write_study(study: str, to: str | os.PathLike[str]) -> str:
    """Write ``study.json``, unless one with the same words lies there.

    Parameters
    ----------
    study : str
        ``attrs["study"]`` of what `dpipe.open` gave: JSON.
    to : str or path
        The folder of the files.

    Returns
    -------
    str
        Its path; ``study-2.json`` and so on where another study lies in the folder already.
    """
    typed = json.loads(study)
    words: Attributes = {"study": typed}
    record = mifa(typed)
    if record is not None:
        words["mifa"] = record
    data = (json.dumps(words, indent=1, ensure_ascii=False) + "\n").encode(errors="surrogatepass")
    for path in _paths(Path(to)):
        try:
            if path.read_bytes() == data:
                return str(path)
        except FileNotFoundError:
            path.write_bytes(data)
            return str(path)
    raise AssertionError("there is always another name")


def mifa(typed: Any) -> Attributes | None:
    """Return the MIFA form of a study; None of several studies, or of what is none."""
    try:
        return Study.from_dict(typed).to_mifa()
    except UsageError:
        return None


def _paths(folder: Path) -> Iterator[Path]:
    yield folder / "study.json"
    number = 2
    while True:
        yield folder / f"study-{number}.json"
        number += 1
