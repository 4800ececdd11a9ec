"""Settings: read once, from a TOML file and ``DPIPE_*`` variables, and then passed down.

What a caller gives wins over a variable, a variable over the file, the file over the default.
No setting is a secret: credentials stand in the environment, for the library that needs them.
This module knows names and sizes; it starts nothing and opens no store.
"""

import difflib
import getpass
import operator
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from dpipe.errors import UsageError, unknown

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_UNITS |= {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


@dataclass(frozen=True)
class Settings:
    """Where and how work is done.

    Attributes
    ----------
    store : str or None
        Folder or URL of the store.
    workers : str
        ``"0"`` for this process, a number of processes, or an address ``tcp://``, ``tls://``,
        ``gateway://``; by default as many processes as cores, at most 4.
    device : str
        ``"cpu"`` or ``"cuda"``.
    memory : int
        Bytes that a worker may use; by default 80 % of the machine's, shared by the processes.
    partition_bytes : int
        Decoded bytes that one task should handle, piece by piece; the more, the fewer tasks.
    window : int
        Tasks in flight for each worker.
    retries : int
        How often a task that failed is tried again.
    stall_seconds : float
        After so long without a finished task a run ends; it can be resumed. An input that is not
        opened within it while planning is put aside.
    max_quarantine : str or None
        How many inputs may be put aside, a number or ``"1%"``; None for max(1 item, 1 %).
    author : str
        Whom versions name; by default the user of the operating system.
    grace_hours : float
        What is younger is not swept.
    recompute : int
        Of so many partitions of operators one is computed twice, and what differs is noted; 0
        for none, 1 for all.
    """

    store: str | None = None
    workers: str = ""
    device: str = "cpu"
    memory: int = 0
    partition_bytes: int = 256 * 2**20
    window: int = 2
    retries: int = 3
    stall_seconds: float = 600.0
    max_quarantine: str | None = None
    author: str = ""
    grace_hours: float = 48.0
    recompute: int = 0

    def __post_init__(self) -> None:
        """Fill in the settings that depend on the machine."""
        object.__setattr__(self, "workers", self.workers or str(min(4, _cores())))
        object.__setattr__(self, "memory", self.memory or _memory_share(self.workers))
        object.__setattr__(self, "author", self.author or _user())

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] = os.environ,
        **overrides: Any,
    ) -> Self:
        """Read the settings.

        Parameters
        ----------
        path : str or path, optional
            A TOML file; by default the one that ``DPIPE_CONFIG`` names, else ``./dpipe.toml`` if
            it is there. A name stands for a setting; sizes may be written ``"4 GiB"``.
        environ : mapping
            Variables: ``DPIPE_STORE`` for `store`, and so on.
        **overrides
            Settings that win over both; None is no setting.

        Returns
        -------
        Settings
            All of them.

        Raises
        ------
        UsageError
            No such file, no TOML, an unknown name or a value that cannot be.

        Examples
        --------
        >>> settings = Settings.load(environ={"DPIPE_MEMORY": "4 GiB"}, workers="0")
        >>> settings.workers, settings.memory, settings.window
        ('0', 4294967296, 2)
        """
        names = [field.name for field in fields(cls)]
        values: dict[str, Any] = {}
        file = path or environ.get("DPIPE_CONFIG") or None
        if file or Path("dpipe.toml").is_file():
            values |= _file(Path(file or "dpipe.toml"), names)
        values |= _variables(environ, names)
        for name, value in overrides.items():
            if name not in names:
                raise UsageError(unknown("setting", name, names))
            if value is not None:
                values[name] = _value(name, value, f"setting {name}")
        return cls(**values)


def parse_bytes(text: str | int) -> int:
    """Read a number of bytes.

    Parameters
    ----------
    text : str or int
        A number, with a unit of 1000 (kB, MB, GB, TB) or of 1024 (KiB, MiB, GiB, TiB) or none.

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    ValueError
        The text is no size.

    Examples
    --------
    >>> parse_bytes("4 GiB"), parse_bytes("1.5kB"), parse_bytes(10)
    (4294967296, 1500, 10)
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?i?)b?", str(text).strip().lower())
    if not match or match[2] not in _UNITS:
        raise ValueError(f"{text!r} is no size such as '4 GiB'")
    return int(float(match[1]) * _UNITS[match[2]])


def _file(path: Path, names: list[str]) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"{path}: no settings can be read: {error.strerror}") from error
    except ValueError as error:  # tomllib says line and column
        raise UsageError(f"{path}: this is not TOML: {error}") from error
    for name in table:
        if name not in names:
            raise UsageError(f"{path}:{_line(text, name)}: {unknown('setting', name, names)}")
    return {k: _value(k, v, f"{path}:{_line(text, k)}: {k}") for k, v in table.items()}


def _line(text: str, name: str) -> int:
    """Return the line that begins with a name, 1 if there is none."""
    lines = enumerate(text.splitlines(), 1)
    return next((n for n, line in lines if re.match(rf'\s*\[?\s*"?{re.escape(name)}\b', line)), 1)


def _variables(environ: Mapping[str, str], names: list[str]) -> dict[str, Any]:
    """Read the variables; a setting misspelt is refused, others are not ours."""
    values = {}
    for variable, value in environ.items():
        name = variable.removeprefix("DPIPE_").lower()
        if not variable.startswith("DPIPE_") or not value:
            continue
        if name in names:
            values[name] = _value(name, value, f"variable {variable}")
        elif difflib.get_close_matches(name, names, n=1, cutoff=0.75):
            variables = [f"DPIPE_{setting.upper()}" for setting in names]
            raise UsageError(unknown("variable", variable, variables))
    return values


def _value(name: str, value: Any, where: str) -> Any:
    """Read one value and check it."""
    reader, check, expected = _KINDS[name]
    try:
        if isinstance(value, bool | dict | list):
            raise ValueError
        setting = reader(value)
        if not check(setting):
            raise ValueError
    except (ValueError, TypeError, OverflowError):
        raise UsageError(f"{where}: found {value!r}; expected {expected}") from None
    return setting


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, str) else operator.index(value)


def _is_share(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9]+|(100|[0-9]{1,2})(\.[0-9]+)?%", text))


def _is_text(value: str) -> bool:
    return bool(value.strip())


_SIZE = (parse_bytes, lambda n: n >= 2**20, "a size of at least 1 MiB, such as '4 GiB'")
_COUNT = (_whole, lambda n: 0 <= n <= 1000, "a number from 0 to 1000")
_TIME = (float, lambda n: 0 < n < 1e9, "a number above 0")
_TEXT = (str, _is_text, "a text")
_KINDS: dict[str, tuple[Any, Any, str]] = {
    "store": _TEXT,
    "workers": (str, _is_text, "0, a number of processes or tcp://, tls://, gateway://"),
    "device": (str, ("cpu", "cuda").__contains__, "'cpu' or 'cuda'"),
    "memory": _SIZE,
    "partition_bytes": _SIZE,
    "window": (_whole, lambda n: 1 <= n <= 1000, "a number from 1 to 1000"),
    "retries": _COUNT,
    "stall_seconds": _TIME,
    "max_quarantine": (str, _is_share, "a number of items or a share such as '1%'"),
    "author": _TEXT,
    "grace_hours": (float, lambda n: 0 <= n < 1e9, "a number of hours"),
    "recompute": (_whole, lambda n: 0 <= n <= 10**6, "0, or of how many partitions one"),
}


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_share(workers: str) -> int:
    """Return 80 % of the machine's memory, or of the container's, over the workers on it."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        total = min(total, int(text))
    count = int(workers) if workers.isdigit() else 1
    return int(total * 0.8) // max(1, count)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"
