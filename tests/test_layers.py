"""The house: packages stand in an order, each uses only those before it, through their doors.

Every rule is a function from files (path below dpipe/ -> source) to findings, so each is also
tried on files that break it: a rule that finds nothing anywhere would be no rule.
"""

import ast
import graphlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1] / "dpipe"

ORDER = """
errors config redaction retry ledger plugins | schema metadata
compute workers storage sources formats expressions | operators readers writers
catalog build checks doctor joins api census service
plot report batches sklearn view demo blocks testing | __init__ cli __main__
""".replace("|", " ").split()
CALLS = ("import_module", "__import__", "find_spec", "Later")
OPEN = ("formats", "schema")
"""Packages whose files may be used by their own names: a codec a format, names an entity."""
OPERATORS_USE = ("errors", "schema", "plugins", "compute", "expressions", "operators")
BESIDE = {
    "operators.annotations": {"operators.cell_features", "operators.pictures"},
    "operators.cell_features": {"operators.pictures"},
    "operators.crops": {"operators.frames", "operators.surfaces"},
    "operators.tracks": {"operators.surfaces"},
}
"""Which room of a shelf uses another one of it; a shelf's files are used by all of its rooms."""
LIBRARIES = {
    "cupy": ("compute",),
    "cupyx": ("compute",),
    "dask": ("compute", "workers"),
    "dask_gateway": ("workers",),
    "distributed": ("workers",),
    "fsspec": ("storage", "sources"),
    "h5py": ("formats", "readers"),
    "numcodecs": ("storage",),
    "s3fs": ("storage", "sources"),
    "tifffile": ("formats", "readers", "writers"),
    "zarr": ("storage",),
}
LONGEST = 400

Files = Mapping[str, str]
REAL = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(ROOT.rglob("*.py"))
}


class Import(NamedTuple):
    """Who imports what, in which line, in a function or not, and out of which module."""

    who: str
    what: str
    line: int
    nested: bool
    through: str


def module(path: str) -> str:
    """``readers/tiff/axes.py`` -> ``readers.tiff.axes``; a package's door is the package."""
    name = path.removesuffix(".py").replace("/", ".")
    return name.removesuffix(".__init__")


def room(name: str, depth: int = 1) -> str:
    """The package that a module belongs to."""
    return ".".join(name.split(".")[:depth])


def imports(files: Files) -> Iterator[Import]:
    """All imports; of own modules without ``dpipe.``, as far as there is such a module."""
    known = {module(path) for path in files} | set(ORDER)
    for path, source in files.items():
        tree = ast.parse(source, path)
        inner = {
            id(node)
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for node in ast.walk(function)
        }
        for node in ast.walk(tree):
            for through, name in statements(node):
                own = [part.removeprefix("dpipe").removeprefix(".") for part in (through, name)]
                if name.partition(".")[0] == "dpipe":
                    parts = own[1].split(".")
                    while parts and ".".join(parts) not in known:
                        parts.pop()
                    name = "dpipe." + (".".join(parts) or "__init__")
                yield Import(
                    module(path), name, getattr(node, "lineno", 0), id(node) in inner, own[0]
                )


def statements(node: ast.AST) -> list[tuple[str, str]]:
    """Modules that a statement names and what it imports, also by ``import_module("name")``."""
    if isinstance(node, ast.Import):
        return [(alias.name, alias.name) for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        start = "." * node.level + (node.module or "")
        if start.partition(".")[0] == "dpipe":
            return [(start, f"{start}.{alias.name}") for alias in node.names]
        return [(start, start)]
    if isinstance(node, ast.Call) and called(node) in (
        "import_module",
        "__import__",
        "find_spec",
        "load",
    ):
        return [(a.value, a.value) for a in node.args if isinstance(a, ast.Constant) and a.value]
    return []


def called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def own(files: Files) -> Iterator[Import]:
    """Imports of own modules, without their first word."""
    for one in imports(files):
        if one.what.startswith("dpipe."):
            yield one._replace(what=one.what.removeprefix("dpipe."))


def unlisted(files: Files) -> list[str]:
    """Every package stands in the order; privacy is a place, not a prefix."""
    found = [f"{p}: not in the order" for p in files if room(module(p)) not in ORDER]
    names = [(path, path.rpartition("/")[2]) for path in files]
    return found + [f"{p}: a name with _" for p, n in names if n[0] == "_" and n[:2] != "__"]


def downward(files: Files) -> list[str]:
    """A package imports only what stands before it, and nothing runs in a circle."""
    found = [
        f"{one.who}:{one.line}: relative import {one.what}"
        for one in imports(files)
        if one.what.startswith(".")
    ]
    inside: dict[str, set[str]] = {}
    for who, what, line, _, _ in own(files):
        mine, other = room(who), room(what)
        if other not in ORDER or mine not in ORDER:
            continue  # `unlisted` says so
        if ORDER.index(other) > ORDER.index(mine):
            found.append(f"{who}:{line}: {what} does not stand before it")
        elif other == mine and what != who:
            inside.setdefault(who, set()).add(what)
    try:
        graphlib.TopologicalSorter(inside).prepare()
    except graphlib.CycleError as error:
        found.append(f"a circle: {' -> '.join(error.args[1])}")
    return found


def doors(files: Files) -> list[str]:
    """From outside a package is used through its door; inside, the door is not used."""
    packages = {module(path) for path in files if path.endswith("/__init__.py")}
    found = []
    for who, what, line, _, through in own(files):
        mine, other = room(who), room(what)
        if other not in packages:
            continue
        if mine == other and what == mine:
            found.append(f"{who}:{line}: the door of its own package")
        elif mine != other and through not in ("", other) and other not in OPEN:
            found.append(f"{who}:{line}: {through} stands inside {other}")
        elif mine == other and room(who, 2) != room(what, 2) and room(what, 2) in packages:
            if who in packages or f"{mine}.table" == who or room(who, 2) not in packages:
                continue
            if room(what, 2) not in BESIDE.get(room(who, 2), ()):
                found.append(f"{who}:{line}: {room(what, 2)} is not for {room(who, 2)}")
    return found


def inside(files: Files) -> list[str]:
    """Own modules are imported at the top of a file."""
    return [
        f"{one.who}:{one.line}: {one.what} is imported inside a function"
        for one in imports(files)
        if one.nested and one.what.startswith((".", "dpipe."))
    ]


def misplaced(files: Files) -> list[str]:
    """A library is named in its own package."""
    found = []
    for who, what, line, _, _ in imports(files):
        library = what.partition(".")[0]
        allowed = LIBRARIES.get(library)
        if allowed and room(who) not in allowed:
            found.append(f"{who}:{line}: {library} belongs to {', '.join(allowed)}")
        if library == "dask" and room(who) == "workers" and what != "dask.config":
            found.append(f"{who}:{line}: of dask, workers may use dask.config alone")
    return found


def greedy(files: Files) -> list[str]:
    """Operators know only the vocabulary, the blocks and expressions."""
    return [
        f"{who}:{line}: an operator may not use {what}"
        for who, what, line, _, _ in own(files)
        if room(who) == "operators" and room(what) not in OPERATORS_USE
    ]


def forbidden(files: Files) -> list[str]:
    """Calls that lose data silently, or run what a file says."""
    found = []
    for path, source in files.items():
        for node in ast.walk(ast.parse(source, path)):
            if not isinstance(node, ast.Call):
                continue
            text, name = ast.unparse(node.func), called(node)
            unpickles = text in ("pickle.load", "pickle.loads", "pickle.Unpickler", "yaml.load")
            writes = name == "to_zarr" or text in ("da.store", "dask.array.store")
            allows = any(
                word.arg == "allow_pickle" and getattr(word.value, "value", True)
                for word in node.keywords
            )
            if unpickles or writes or allows or text in ("eval", "exec"):
                found.append(f"{path}:{node.lineno}: {text}(...)")
    return found


def long(files: Files) -> list[str]:
    """Files fit into a head."""
    lengths = {path: len(source.splitlines()) for path, source in files.items()}
    return [f"{path}: {n} lines, at most {LONGEST}" for path, n in lengths.items() if n > LONGEST]


RULES = [unlisted, downward, doors, inside, misplaced, greedy, forbidden, long]

FINE = {
    "errors.py": "import difflib",
    "compute/__init__.py": "import lazy_loader",
    "compute/devices.py": "def f():\n    import cupy\n    importlib.import_module('cupyx.scipy')",
    "compute/blocks.py": "import dask.array as da\nfrom dpipe.compute.devices import device",
    "storage/__init__.py": "",
    "storage/objects.py": "import fsspec\nfrom dpipe.storage import s3",
    "storage/s3.py": "import s3fs\nfrom dpipe.errors import StoreError",
    "workers/__init__.py": "",
    "workers/dask.py": "import dask.config\nfrom distributed import Client",
    "formats/__init__.py": "",
    "formats/hdf5.py": "import h5py\nfrom dpipe import errors",
    "readers/__init__.py": "",
    "readers/table.py": "from dpipe.readers.imaris import movies\nfrom dpipe.readers import bioio",
    "readers/bioio.py": "",
    "readers/imaris/__init__.py": "",
    "readers/imaris/movies.py": "from dpipe.formats.hdf5 import f\nfrom dpipe.storage import f",
    "readers/tiff/__init__.py": "",
    "readers/tiff/files.py": "from dpipe.readers.tiff.names import f",
    "readers/tiff/names.py": "from dpipe.storage import objects",
    "operators/__init__.py": "",
    "operators/frames/__init__.py": "",
    "operators/frames/quality.py": "from dpipe import errors\nfrom dpipe.compute import lazy",
    "operators/crops/__init__.py": "",
    "operators/crops/cut.py": "from dpipe.operators.frames import quality",
    "build/__init__.py": "",
    "build/run.py": "from dpipe import readers\nfrom dpipe.workers import connect",
    "__init__.py": "from dpipe.build import run",
    "cli/__init__.py": "",
    "cli/group.py": "import dpipe\nfrom dpipe import build, errors\n'eval(x) pickle.load(f)'",
    "__main__.py": "from dpipe.cli import main",
}


@pytest.mark.parametrize("rule", RULES)
def test_real_files(rule):
    found = rule(REAL)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("rule", RULES)
def test_fine_files(rule):
    assert rule(FINE) == []


@pytest.mark.parametrize(
    ("rule", "path", "source", "says"),
    [
        (unlisted, "utils.py", "", "utils.py: not in the order"),
        (unlisted, "helpers/text.py", "", "not in the order"),
        (unlisted, "storage/_s3.py", "", "a name with _"),
        (downward, "errors.py", "from dpipe.compute import device", "compute does not stand"),
        (downward, "errors.py", "from dpipe import compute", "compute does not stand"),
        (downward, "errors.py", "import dpipe.build.run", "build.run does not stand"),
        (downward, "errors.py", "import dpipe", "__init__ does not stand"),
        (downward, "errors.py", "from dpipe import __version__", "__init__ does not stand"),
        (downward, "storage/s3.py", "from .errors import DpipeError", "relative import"),
        (downward, "storage/s3.py", "from . import errors", "relative import"),
        (downward, "storage/s3.py", "from dpipe.storage import objects", "a circle: storage."),
        (downward, "storage/s3.py", "from dpipe.storage.objects import f", "a circle"),
        (downward, "formats/tiff.py", "from dpipe.readers import READERS", "readers does not"),
        (doors, "storage/s3.py", "from dpipe.storage import open_objects", "its own package"),
        (doors, "build/run.py", "from dpipe.storage.objects import f", "inside storage"),
        (doors, "build/run.py", "import dpipe.storage.objects", "inside storage"),
        (doors, "readers/tiff/names.py", "from dpipe.readers.imaris import movies", "not for"),
        (doors, "operators/frames/flood.py", "from dpipe.operators.crops.cut import f", "not for"),
        (inside, "build/run.py", "def f():\n    from dpipe import errors", "dpipe.errors is"),
        (inside, "build/run.py", "class A:\n  def f(self):\n    import dpipe.build", "inside"),
        (inside, "build/run.py", "async def f():\n    from . import plan", "inside"),
        (inside, "build/run.py", "f = lambda: import_module('dpipe.build')", "inside"),
        (misplaced, "build/run.py", "import cupy as cp", "cupy belongs to compute"),
        (misplaced, "build/run.py", "importlib.import_module('cupyx.scipy')", "belongs to compute"),
        (misplaced, "build/run.py", "import dask.array as da", "dask belongs to compute"),
        (misplaced, "build/run.py", "def f():\n    import zarr.storage", "zarr belongs to storage"),
        (misplaced, "formats/tiff.py", "from numcodecs import Blosc", "numcodecs belongs to"),
        (misplaced, "build/run.py", "from fsspec import open", "fsspec belongs to storage"),
        (misplaced, "build/run.py", "import h5py", "h5py belongs to formats"),
        (misplaced, "api.py", "if TYPE_CHECKING:\n    from distributed import Client", "workers"),
        (misplaced, "workers/dask.py", "import dask.array", "dask.config alone"),
        (greedy, "operators/frames/quality.py", "from dpipe.storage import f", "use storage"),
        (greedy, "operators/frames/median.py", "from dpipe import config", "may not use config"),
        (forbidden, "build/run.py", "ds.to_zarr('x')", "ds.to_zarr"),
        (forbidden, "build/run.py", "da.to_zarr(x, 'x')", "da.to_zarr"),
        (forbidden, "build/run.py", "da.store(x, y, lock=False)", "da.store"),
        (forbidden, "build/run.py", "pickle.load(f)", "pickle.load"),
        (forbidden, "build/run.py", "pickle.loads(b)", "pickle.loads"),
        (forbidden, "build/run.py", "np.load(f, allow_pickle=True)", "np.load"),
        (forbidden, "build/run.py", "yaml.load(f)", "yaml.load"),
        (forbidden, "build/run.py", "eval('1')", "eval"),
        (long, "build/run.py", "x = 1\n" * 401, "run.py: 401 lines"),
    ],
)
def test_rules_find(rule, path, source, says):
    found = rule({**FINE, path: source})
    assert any(says in finding for finding in found), found
