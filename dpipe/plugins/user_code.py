"""The code of a user's own operator, as a digest: edited code gives other numbers.

What counts is the source of the operator's module, of whatever it imports from its own package or
from files that are not installed, and of the packages around these; comments and blank lines do
not. Installed packages count by their version, which is provenance. Imports inside functions count,
and ``import_module`` of a written name; names that are made while it runs, and files that it reads,
are not seen.
"""

import ast
import hashlib
import importlib.util
import io
import sys
import sysconfig
import tokenize
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from typing import Any

from dpipe.plugins.edited_modules import assigned, edited

_INSTALLED = tuple(
    {sysconfig.get_path(name) for name in ("purelib", "platlib")} | {"/usr/lib/python3"}
)


@dataclass(frozen=True)
class Code:
    """What an operator is made of.

    Attributes
    ----------
    digest : str
        Sixteen hexadecimal digits.
    packages : dict of str to str
        Installed packages that are imported, with their versions.
    """

    digest: str
    packages: dict[str, str]


@dataclass
class _Source:
    """One module: where it stands, and how it is told from an older state of itself."""

    path: Path
    text: bytes
    spec: Any = None
    seen: tuple[int, int] = (0, 0)


_known: dict[str, tuple[dict[str, _Source], Code]] = {}


def code_of(module: ModuleType) -> Code:
    """Return the code of a module that holds an operator.

    Parameters
    ----------
    module : module
        Imported.

    Returns
    -------
    Code
        The same for the same files, wherever they lie.

    Raises
    ------
    ValueError
        The module has no file, or a file was edited after it was imported: what would run is not
        what stands there.
    """
    name = module.__name__
    if name in _known and all(_is_current(n, s) for n, s in _known[name][0].items()):
        return _known[name][1]
    if getattr(module, "__file__", None) is None:
        raise ValueError("its module has no file; write it to one that can be imported")
    sources, packages = _collected(name)
    written = (
        module_source.text
        for module_source in sources.values()
        if module_source.path.suffix == ".py"
    )
    elsewhere = frozenset[str]().union(*map(assigned, written))
    whole = hashlib.sha256()
    for key, source in sorted(sources.items()):
        loaded = sys.modules.get(key)
        is_text = source.path.suffix == ".py"
        if (
            loaded is not None
            and is_text
            and (what := edited(loaded, source.path, source.text, elsewhere))
        ):
            raise ValueError(
                f"{source.path} was edited after it was imported here ({what} is another there); "
                "restart Python, so that what runs is what stands there"
            )
        whole.update(f"{key} {hashlib.sha256(_plain(source.text)).hexdigest()}\n".encode())
    code = Code(whole.hexdigest()[:16], dict(sorted(packages.items())))
    _known[name] = sources, code
    return code


def _collected(name: str) -> tuple[dict[str, _Source], dict[str, str]]:
    """Follow imports from a module; return own sources, and versions of installed packages."""
    top = name.partition(".")[0]
    sources: dict[str, _Source] = {}
    packages: dict[str, str] = {}
    todo = [name]
    while todo:
        current = todo.pop()
        first = current.partition(".")[0]
        if current in sources or first in sys.stdlib_module_names or first == "dpipe":
            continue
        source = _located(current)
        if source is None:
            continue
        if str(source.path).startswith(_INSTALLED):
            packages |= _versions(first)
            if first != top:
                continue
        sources[current] = source
        todo += [current.rpartition(".")[0]] if "." in current else []
        todo += _imported(current, source)
    return sources, packages


def _located(name: str) -> _Source | None:
    """Find the file of a module, imported or not; None if it has none, or is no module."""
    loaded = sys.modules.get(name)
    path = _path(name)
    if path is None or not path.is_file():
        return None
    stat = path.stat()
    spec = getattr(loaded, "__spec__", None)
    return _Source(path, path.read_bytes(), spec, (stat.st_size, stat.st_mtime_ns))


def _path(name: str) -> Path | None:
    """Return where a module stands; one that was not imported is looked for and not run."""
    if (loaded := sys.modules.get(name)) is not None:
        origin = getattr(loaded, "__file__", None)
        return None if origin is None else Path(origin)
    above, _, last = name.rpartition(".")
    if not above:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError, AttributeError):
            return None
        return Path(spec.origin) if spec is not None and spec.origin else None
    for folder in _folders(above):
        for end in (f"{last}/__init__.py", f"{last}.py", *(last + s for s in EXTENSION_SUFFIXES)):
            if (folder / end).is_file():
                return folder / end
    return None


def _folders(package: str) -> list[Path]:
    """Return where the modules of a package stand; empty for a module that is no package."""
    if (loaded := sys.modules.get(package)) is not None:
        return [Path(place) for place in getattr(loaded, "__path__", ())]
    path = _path(package)
    if path is not None:
        return [path.parent] if path.name == "__init__.py" else []
    above, _, last = package.rpartition(".")
    if above:
        return [folder / last for folder in _folders(above) if (folder / last).is_dir()]
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError, AttributeError):
        return []
    return [Path(place) for place in (spec and spec.submodule_search_locations) or ()]


def _is_current(name: str, source: _Source) -> bool:
    """Tell whether a module is still what it was: the same import, or the same file."""
    loaded = sys.modules.get(name)
    if source.spec is not None or loaded is not None:
        return getattr(loaded, "__spec__", None) is source.spec
    try:
        stat = source.path.stat()
    except OSError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == source.seen


def _imported(name: str, source: _Source) -> Iterator[str]:
    """Yield the names that a module imports, each as if it were a module."""
    if source.path.suffix != ".py":
        return
    package = name if source.path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and (written := _written(node)):
            with suppress(ImportError):  # relative to another package than this one
                yield importlib.util.resolve_name(written, package)


def _written(call: ast.Call) -> str:
    """Return the name in ``import_module("name")`` and its like; "" of any other call."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    called = call.func.id if isinstance(call.func, ast.Name) else called
    first = call.args[0] if call.args else None
    if called not in ("import_module", "__import__") or not isinstance(first, ast.Constant):
        return ""
    return first.value if isinstance(first.value, str) else ""


def _plain(text: bytes) -> bytes:
    """Return source text without comments and blank lines."""
    try:
        tokens = list(tokenize.tokenize(io.BytesIO(text).readline))
    except (tokenize.TokenError, SyntaxError):
        return text
    lines = text.decode(tokens[0].string, errors="surrogateescape").splitlines()
    for token in tokens:
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    code = [line.rstrip() for line in lines if line.strip()]
    return "\n".join(code).encode(errors="surrogateescape")


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


def _versions(top: str) -> dict[str, str]:
    return {name: metadata.version(name) for name in _distributions().get(top, ())}
