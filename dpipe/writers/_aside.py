"""Where a writer writes until all is whole: under another name beside the one it is for."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dpipe.errors import UsageError


@contextmanager
def aside(targets: Sequence[Path]) -> Iterator[list[Path]]:
    """Give paths of files or folders, which take the names of `targets` when all went well.

    Raises
    ------
    UsageError
        One of the targets is there already.
    """
    for target in targets:
        if target.exists():
            raise UsageError(f"{target}: is there already; delete it, or choose another folder")
        target.parent.mkdir(parents=True, exist_ok=True)
    paths = [target.with_name(f".{target.name}.partial") for target in targets]
    try:
        _remove(paths)  # of a writer that was killed
        yield paths
        for path, target in zip(paths, targets, strict=True):
            path.replace(target)
    finally:
        _remove(paths)


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
