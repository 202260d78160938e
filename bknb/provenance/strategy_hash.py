"""What a strategy is, as a hash: its source text, that of the functions it calls, and the values it refers to."""

from __future__ import annotations

import hashlib
import inspect
import sys
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from ..engine.registry import Strategy

_PACKAGES: Final = ("site-packages", "dist-packages")
_PLAIN: Final = (int, float, complex, str, bytes, bool, type(None))


def fingerprint(strategy: Strategy) -> str:
    """A hash that changes when the strategy would: not by its name, not by a comment elsewhere in the file.

    Followed are functions in the user's own modules and cells, closures, defaults, and numbers, texts, arrays, tables
    and containers of them. What comes from an installed package counts by its name only.
    """
    digest = hashlib.sha256()
    _add(strategy.get_signals or strategy.get_signal, digest, seen=set())
    for part in (strategy.interval, strategy.lookback, strategy.risk):
        digest.update(f"|{part}".encode())
    return digest.hexdigest()


def _add(value: Any, digest: Any, *, seen: set[int]) -> None:
    if isinstance(value, _PLAIN):
        digest.update(repr(value).encode())
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, FunctionType):
        _add_function(value, digest, seen=seen)
        return
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
        return
    digest.update(f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value))}".encode())
    for part in _parts(value):
        _add(part, digest, seen=seen)


def _parts(value: Any) -> list[Any]:
    """What a value is made of, in an order that does not change."""
    if isinstance(value, (tuple, list)):
        return list(value)
    if isinstance(value, (set, frozenset)):
        return sorted(map(repr, value))
    if isinstance(value, dict):
        return [part for key, item in value.items() for part in (repr(key), item)]
    if inspect.ismethod(value):
        return [value.__func__, value.__self__]
    if hasattr(value, "func") and hasattr(value, "keywords"):  # functools.partial
        return [value.func, list(value.args), dict(value.keywords)]
    if hasattr(value, "to_numpy"):  # a DataFrame or a Series
        return [np.asarray(value.to_numpy()).astype(str)]
    if isinstance(value, (type, ModuleType)) or _from_a_package(type(value).__module__):
        return []  # a logger or a lock would say something else each time
    return [getattr(value, "__wrapped__", None), dict(getattr(value, "__dict__", {}))]


def _add_function(function: FunctionType, digest: Any, *, seen: set[int]) -> None:
    if is_installed(function):
        digest.update(f"{function.__module__}.{function.__qualname__}".encode())
        return
    try:
        digest.update(inspect.getsource(function).encode())
        whole = function.__name__ != "<lambda>"  # the text of a lambda is its line, with whatever else stands there
    except (OSError, TypeError):
        whole = False
    if not whole:
        _add_code(function.__code__, digest)
    for cell in function.__closure__ or ():
        try:
            _add(cell.cell_contents, digest, seen=seen)
        except ValueError:  # a cell that is not filled yet
            continue
    _add(function.__defaults__, digest, seen=seen)
    _add(function.__kwdefaults__, digest, seen=seen)
    for name in _names(function.__code__):
        used = function.__globals__.get(name)
        if used is not None and not isinstance(used, ModuleType):
            digest.update(name.encode())
            _add(used, digest, seen=seen)


def _add_code(code: CodeType, digest: Any) -> None:
    digest.update(code.co_code)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _add_code(constant, digest)
        else:
            digest.update(repr(constant).encode())


def _names(code: CodeType) -> list[str]:
    found = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found += _names(constant)
    return found


def is_installed(function: FunctionType) -> bool:
    """Whether a function belongs to an installed package or to Python, not to the user's own files and cells."""
    if _from_a_package(function.__module__ or ""):
        return True
    return any(folder in function.__code__.co_filename for folder in _PACKAGES)


def _from_a_package(module: str) -> bool:
    top = module.split(".", maxsplit=1)[0]
    if top in ("", "__main__"):
        return False
    if top == "bknb" or top in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return any(folder in file for folder in _PACKAGES)
