"""Whether a module that was imported is still what stands in its file.

Functions are held by their code and their defaults, those of classes too; numbers, texts and tables
of the module and its classes by what is written there, if nothing else assigns or changes them.
"""

import ast
import functools
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

_WRITTEN = (int, float, complex, bool, str, bytes, tuple, list, dict, set, type(None))


def edited(
    module: ModuleType, path: Path, text: bytes, elsewhere: frozenset[str] = frozenset()
) -> str:
    """Return the name of a function or value whose source in the file is not the imported one.

    Parameters
    ----------
    module : module
        Imported.
    path : Path
        Its file.
    text : bytes
        What stands there now.
    elsewhere : frozenset of str
        Names that other modules assign in it, which do not count.

    Returns
    -------
    str
        Name of a function or constant; "" if none is found.
    """
    codes: dict[str, list[CodeType]] = {}
    for code in _walk(compile(text, str(path), "exec", dont_inherit=True)):
        codes.setdefault(code.co_qualname, []).append(_bare(code))
    for function in _functions(vars(module), module.__name__):
        code = function.__code__
        if Path(code.co_filename) == path and _bare(code) not in codes.get(code.co_qualname, []):
            return str(code.co_qualname)
    tree = ast.parse(text)
    return _other_values(tree.body, vars(module), _changing(tree) | elsewhere)


def assigned(text: bytes) -> set[str]:
    """Return the names of attributes that a source text assigns, of whatever object.

    Examples
    --------
    >>> assigned(b"import settings; settings.seed = 7; x = 1")
    {'seed'}
    """
    return {
        node.attr
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)
    }


def _functions(names: Mapping[str, Any], module: str, within: str = "") -> Iterator[Any]:
    """Yield the functions of a module and of its classes, those below decorators too."""
    for value in list(names.values()):
        if isinstance(value, type):
            defined_here = value.__module__ == module and value.__qualname__.startswith(within)
            if defined_here and value.__qualname__ != within.rstrip("."):
                yield from _functions(vars(value), module, f"{value.__qualname__}.")
        elif (function := _plain(value)) is not None and function.__module__ == module:
            yield function


def _plain(value: Any) -> Any:
    """Return the function below what wraps it; None if there is none."""
    for _ in range(20):
        if isinstance(value, functools.partial):
            value = value.func
        elif isinstance(value, staticmethod | classmethod):
            value = value.__func__
        elif isinstance(value, property):
            value = value.fget
        elif inspect.isfunction(value):
            if "__wrapped__" not in vars(value):
                return value
            value = vars(value)["__wrapped__"]
        else:
            namespace = getattr(value, "__dict__", {})
            wrapped = namespace.get("__wrapped__") if isinstance(namespace, dict) else None
            # a cache names what it wraps, and what Numba compiles keeps its source
            value = wrapped or getattr(value, "py_func", None)
    return None


def _changing(tree: ast.AST) -> set[str]:
    """Return names that code may change after they were assigned, wherever it stands."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            names.update(node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names.add(node.value.id)
            if not isinstance(node.ctx, ast.Load):
                names.add(node.attr)
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            names.update(n.id for n in ast.walk(node.value) if isinstance(n, ast.Name))
    return names


def _other_values(body: list[ast.stmt], namespace: Mapping[str, Any], changing: set[str]) -> str:
    """Return a name whose written value, or written default, is not what is held."""
    named = [target.id for node in body for target in _targets(node)]
    for node in body:
        if isinstance(node, ast.ClassDef) and isinstance(namespace.get(node.name), type):
            if changed := _other_values(node.body, vars(namespace[node.name]), changing):
                return f"{node.name}.{changed}"
        elif isinstance(node, ast.FunctionDef) and inspect.isfunction(namespace.get(node.name)):
            if _other_defaults(node, namespace[node.name]):
                return node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in _targets(node):
                alone = named.count(target.id) == 1 and target.id not in changing
                if alone and target.id in namespace and _is_other(node.value, namespace[target.id]):
                    return target.id
    return ""


def _targets(node: ast.stmt) -> list[ast.Name]:
    """Return the names that a statement assigns, one at any depth of it."""
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [target for target in targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return []
    return [n for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


def _other_defaults(node: ast.FunctionDef, function: Any) -> bool:
    if "__wrapped__" in vars(function) or function.__code__.co_name != node.name:
        return False
    written = zip(reversed(node.args.defaults), reversed(function.__defaults__ or ()), strict=False)
    named = function.__kwdefaults__ or {}
    alone = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return any(_is_other(value, is_now) for value, is_now in written) or any(
        value is not None and arg.arg in named and _is_other(value, named[arg.arg])
        for arg, value in alone
    )


def _is_other(written: ast.expr, current: Any) -> bool:
    """Tell whether a written value is another than what is held; False for what is computed."""
    if type(current) not in _WRITTEN:  # an Enum or a slot makes something else of what is written
        return False
    try:
        value = ast.literal_eval(written)
        return type(value) is not type(current) or bool(value != current)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False


def _walk(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _walk(constant)


def _bare(code: CodeType) -> CodeType:
    """Return code without the lines that it stands in."""
    constants = tuple(_bare(c) if isinstance(c, CodeType) else c for c in code.co_consts)
    return code.replace(co_firstlineno=1, co_linetable=b"", co_filename="", co_consts=constants)
