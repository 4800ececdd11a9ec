"""Where a writer writes until all is whole: under another name beside the one it is for."""

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dpipe.errors import UsageError


@contextmanager
def aside(targets: Sequence[Path]) -> Iterator[list[Path]]:
    """Give paths of files or folders, which take the names of `targets` when all went well.

    If not, nothing is left: no file, and no folder that was made for one. Several of them may be
    open at once, in an ``ExitStack``, so that what goes together comes together.

    Raises
    ------
    UsageError
        One of the targets is there already.
    """
    paths = [target.with_name(f".{target.name}.partial") for target in targets]
    for target in targets:
        if target.exists():
            raise UsageError(f"{target}: is there already; delete it, or choose another folder")
    with folders([target.parent for target in targets]):
        try:
            _remove(paths)  # of a writer that was killed
            yield paths
            for path, target in zip(paths, targets, strict=True):
                path.replace(target)
        finally:
            _remove(paths)


@contextmanager
def folders(targets: Iterable[Path]) -> Iterator[None]:
    """Make folders; those that were not there before go again if something goes wrong."""
    created: list[Path] = []
    try:
        for folder in targets:
            above = (*reversed(folder.parents), folder)
            created += [path for path in above if not path.exists()]
            folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in reversed(created):
            with contextlib.suppress(OSError):  # not empty: somebody else uses it
                folder.rmdir()
        raise


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
