"""The tree: a file uses only what stands above it; each library is named in one file.

Every rule is a function from files (path below dpipe/ -> source) to findings, so each is also
tried on files that break it: a rule that finds nothing anywhere would be no rule.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "dpipe"

TREE = """
errors redaction units schema metadata ngff config
arrays blocks pyramid objects documents heartbeat
ledger sources spreadsheets pages measures store containers cluster
readers operators writers
versions catalog seal parameters source_checks origin outline marks parts tree recipe plan drive
outcome run plot report checks repair upkeep census
view batches sklearn web demo
__init__ cli __main__
""".split()
SHELVES = ("readers", "operators", "writers")
OPERATORS_USE = ("errors", "schema", "arrays", "blocks")
LIBRARIES = {
    "cupy": ("arrays",),
    "cupyx": ("arrays",),
    "dask": ("blocks", "cluster"),
    "dask_gateway": ("cluster",),
    "distributed": ("cluster",),
    "fsspec": ("objects", "sources", "store"),
    "numcodecs": ("store",),
    "s3fs": ("objects", "sources", "store"),
    "zarr": ("store",),
}
LONGEST = 400

Files = Mapping[str, str]
REAL = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(ROOT.rglob("*.py"))
}


def module(path: str) -> str:
    """``readers/_hdf5.py`` -> ``readers._hdf5``; a shelf's table is the shelf."""
    name = path.removesuffix(".py").replace("/", ".")
    return name.removesuffix(".__init__")


def place(name: str) -> str:
    """The entry of the tree that a module belongs to."""
    return name.partition(".")[0]


def private(name: str) -> bool:
    last = name.rpartition(".")[2]
    return last.startswith("_") and not last.startswith("__")


def imports(files: Files) -> Iterator[tuple[str, str, int, bool]]:
    """Who imports what, in which line, and whether inside a function."""
    known = {module(path) for path in files}
    for path, source in files.items():
        tree = ast.parse(source, path)
        inner = {
            id(node)
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for node in ast.walk(function)
        }
        for node in ast.walk(tree):
            for name in named(node):
                parts = name.split(".")
                while parts[0] == "dpipe" and ".".join(parts[1:]) not in known and parts[1:]:
                    if len(parts) == 2 and parts[1] in TREE:
                        break  # listed, though it is not there yet
                    parts.pop()
                full = ".".join(parts) if parts != ["dpipe"] else "dpipe.__init__"
                yield module(path), full, getattr(node, "lineno", 0), id(node) in inner


def named(node: ast.AST) -> list[str]:
    """Modules that a statement imports, also by ``import_module("name")``."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        start = "." * node.level + (node.module or "")
        if start.partition(".")[0] == "dpipe":
            return [f"{start}.{alias.name}" for alias in node.names]
        return [start]
    if isinstance(node, ast.Call) and called(node) in ("import_module", "__import__", "find_spec"):
        return [a.value for a in node.args if isinstance(a, ast.Constant) and a.value]
    return []


def called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def owners(files: Files) -> dict[str, set[str]]:
    """The public files by whose side each private one stands: those that import it, at last."""
    users: dict[str, set[str]] = {module(path): set() for path in files}
    for who, what, _, _ in imports(files):
        target = what.removeprefix("dpipe.")
        if what.startswith("dpipe.") and private(target) and target in users:
            users[target].add(who)

    def public(name: str, seen: frozenset[str]) -> set[str]:
        if not private(name):
            return {name}
        found = [public(user, seen | {name}) for user in users[name] if user not in seen]
        return set().union(*found)

    return {name: public(name, frozenset()) for name in users if private(name)}


def kernel(name: str, users: set[str]) -> bool:
    """A private file of a shelf may serve several of it, of the readers those of one format."""
    shelf, _, own = name.partition(".")
    inside = bool(users) and all(user.startswith(f"{shelf}.") for user in users)
    formats = {user.partition(".")[2].partition("_")[0] for user in users}
    several = shelf in ("operators", "writers") or (shelf == "readers" and len(formats) == 1)
    return own.startswith("_") and inside and several


def rank(name: str, owned: Mapping[str, set[str]]) -> tuple[int, int]:
    """Where a module stands: a private one just above its owner, a table below its shelf."""
    if private(name):
        return min((rank(owner, owned) for owner in owned.get(name, ())), default=(0, 0))
    where = place(name)
    height = TREE.index(where) if where in TREE else len(TREE)
    return height, int(name in SHELVES)


# --- the rules --------------------------------------------------------------------------------


def unlisted(files: Files) -> list[str]:
    """Every file stands in the tree, or by the side of one that does."""
    owned = owners(files)
    found = []
    for path in files:
        name = module(path)
        if private(name):
            if len(owned[name]) != 1 and not kernel(name, owned[name]):
                found.append(
                    f"{path}: by the side of {sorted(owned[name]) or 'nobody'}, not of one"
                )
        elif place(name) not in TREE:
            found.append(f"{path}: not in the tree")
    return found


def downward(files: Files) -> list[str]:
    """Imports of own modules point up; those between files of a shelf do not exist."""
    owned = owners(files)
    found = []
    for who, what, line, _ in imports(files):
        if what.startswith("."):
            found.append(f"{who}:{line}: relative import {what}")
        if not what.startswith("dpipe."):
            continue
        target = what.removeprefix("dpipe.")
        beside = private(target) and owned.get(target) == (owned.get(who) or {who})
        if beside or target == who or kernel(target, {who}):
            continue
        if private(target):
            found.append(f"{who}:{line}: {target} is private to {sorted(owned.get(target, ()))}")
        elif rank(target, owned) >= rank(who, owned):
            found.append(f"{who}:{line}: {target} does not stand above it")
    return found


def inside(files: Files) -> list[str]:
    """Own modules are imported at the top of a file."""
    return [
        f"{who}:{line}: {what} is imported inside a function"
        for who, what, line, nested in imports(files)
        if nested and what.startswith((".", "dpipe."))
    ]


def misplaced(files: Files) -> list[str]:
    """A library is named in its own file, or in a private one by its side."""
    owned = owners(files)
    found = []
    for who, what, line, _ in imports(files):
        library = what.partition(".")[0]
        allowed = LIBRARIES.get(library)
        if allowed and not (owned.get(who) or {who}) <= set(allowed):
            found.append(f"{who}:{line}: {library} belongs to {', '.join(allowed)}")
        if library == "dask" and place(who) == "cluster" and what != "dask.config":
            found.append(f"{who}:{line}: of dask, cluster may use dask.config alone")
    return found


def greedy(files: Files) -> list[str]:
    """Operators know only the vocabulary and the blocks."""
    return [
        f"{who}:{line}: an operator may not use {what}"
        for who, what, line, _ in imports(files)
        if who.startswith("operators.")
        and what.startswith("dpipe.")
        and place(what.removeprefix("dpipe.")) not in OPERATORS_USE
        and not private(what)
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


RULES = [unlisted, downward, inside, misplaced, greedy, forbidden, long]

FINE = {
    "errors.py": "import difflib",
    "arrays.py": "def f():\n    import cupy\n    importlib.import_module('cupyx.scipy')",
    "blocks.py": "import dask\nimport dask.array as da\nfrom dpipe.arrays import device",
    "objects.py": "import fsspec\nfrom dpipe import _s3",
    "_s3.py": "import s3fs\nfrom dpipe._wire import f\nfrom dpipe.errors import StoreError",
    "_wire.py": "from dpipe import errors",
    "cluster.py": "import dask.config\ndef f():\n    from distributed import Client",
    "readers/imaris.py": "from dpipe.readers._hdf5 import f\nfrom dpipe.objects import Objects",
    "readers/_hdf5.py": "import h5py\nfrom dpipe import errors",
    "readers/imaris_spots.py": "import dpipe.readers._scene\nfrom dpipe.readers._hdf5 import f",
    "readers/_scene.py": "from dpipe.readers._hdf5 import f",
    "readers/__init__.py": "from dpipe.readers import imaris",
    "operators/quality.py": "from dpipe import errors\nfrom dpipe.operators._median import f",
    "operators/_median.py": "from dpipe.blocks import lazy",
    "run.py": "from dpipe import readers, operators\nfrom dpipe.cluster import connect",
    "__init__.py": "from dpipe.run import run",
    "cli.py": "import dpipe\nfrom dpipe import run, errors\n'eval(x) pickle.load(f)'",
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
        (unlisted, "utils.py", "", "utils.py: not in the tree"),
        (unlisted, "helpers/text.py", "", "not in the tree"),
        (unlisted, "_lonely.py", "", "nobody"),
        (unlisted, "store.py", "from dpipe._s3 import f", "['objects', 'store']"),
        (unlisted, "readers/tiff.py", "from dpipe.readers import _hdf5", "readers.tiff"),
        (downward, "errors.py", "from dpipe.arrays import device", "arrays does not stand"),
        (downward, "errors.py", "from dpipe import arrays", "arrays does not stand"),
        (downward, "errors.py", "import dpipe.run", "run does not stand"),
        (downward, "errors.py", "from dpipe.plan import Planner", "plan does not stand"),
        (downward, "errors.py", "import dpipe", "__init__ does not stand"),
        (downward, "errors.py", "from dpipe import __version__", "__init__ does not stand"),
        (downward, "store.py", "from .errors import DpipeError", "relative import"),
        (downward, "store.py", "from . import errors", "relative import"),
        (downward, "readers/tiff.py", "from dpipe.readers import imaris", "readers.imaris does"),
        (downward, "readers/tiff.py", "from dpipe.readers.imaris import f", "readers.imaris does"),
        (downward, "readers/tiff.py", "from dpipe.readers import READERS", "readers does not"),
        (downward, "readers/tiff.py", "from dpipe.operators import OPERATORS", "operators does"),
        (unlisted, "run.py", "from dpipe.operators._median import f", "operators/_median.py"),
        (downward, "_wire.py", "from dpipe import objects", "objects does not stand"),
        (downward, "_s3.py", "from dpipe.store import f", "store does not stand"),
        (downward, "store.py", "from dpipe._s3 import f", "_s3 is private to"),
        (inside, "run.py", "def f():\n    from dpipe import errors", "dpipe.errors is imported"),
        (inside, "run.py", "class A:\n  def f(self):\n    import dpipe.plan", "inside"),
        (inside, "run.py", "async def f():\n    from . import plan", "inside"),
        (inside, "run.py", "f = lambda: import_module('dpipe.plan')", "inside"),
        (misplaced, "run.py", "import cupy as cp", "cupy belongs to arrays"),
        (misplaced, "run.py", "importlib.import_module('cupyx.scipy')", "belongs to arrays"),
        (misplaced, "run.py", "import dask.array as da", "dask belongs to blocks"),
        (misplaced, "run.py", "def f():\n    import zarr.storage", "zarr belongs to store"),
        (misplaced, "run.py", "from numcodecs import Blosc", "numcodecs belongs to store"),
        (misplaced, "run.py", "from fsspec import open", "fsspec belongs to objects"),
        (misplaced, "readers/_hdf5.py", "import s3fs", "s3fs belongs to objects"),
        (misplaced, "run.py", "if TYPE_CHECKING:\n    from distributed import Client", "cluster"),
        (misplaced, "run.py", "import dask_gateway", "dask_gateway belongs to cluster"),
        (misplaced, "cluster.py", "import dask.array", "dask.config alone"),
        (greedy, "operators/quality.py", "from dpipe.store import f", "may not use dpipe.store"),
        (greedy, "operators/_median.py", "from dpipe import config", "may not use dpipe.config"),
        (forbidden, "run.py", "ds.to_zarr('x')", "ds.to_zarr"),
        (forbidden, "run.py", "da.to_zarr(x, 'x')", "da.to_zarr"),
        (forbidden, "run.py", "da.store(x, y, lock=False)", "da.store"),
        (forbidden, "run.py", "pickle.load(f)", "pickle.load"),
        (forbidden, "run.py", "pickle.loads(b)", "pickle.loads"),
        (forbidden, "run.py", "np.load(f, allow_pickle=True)", "np.load"),
        (forbidden, "run.py", "yaml.load(f)", "yaml.load"),
        (forbidden, "run.py", "eval('1')", "eval"),
        (long, "run.py", "x = 1\n" * 401, "run.py: 401 lines"),
    ],
)
def test_rules_find(rule, path, source, says):
    found = rule({**FINE, path: source})
    assert any(says in finding for finding in found), found


def test_doors_import_no_cluster():
    """Listing a store must not cost the second that distributed takes to import."""
    outer = {what.partition(".")[0] for _, what, _, nested in imports(REAL) if not nested}
    lazy = {"distributed", "dask_gateway", "cupy"}
    typing_only = "if TYPE_CHECKING:\n    from distributed import Client" in REAL["cluster.py"]
    assert outer & lazy <= ({"distributed"} if typing_only else set())
