"""What a strategy is, as a hash: its source text, that of the functions it calls, and the values it refers to."""

from __future__ import annotations

import hashlib
import inspect
import sys
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .registry import Strategy

_PLAIN: Final = (int, float, complex, str, bytes, bool, type(None))


def fingerprint(strategy: Strategy) -> str:
    """A hash that changes when the strategy would: not by its name, not by a comment elsewhere in the file.

    Followed are functions in the user's own modules and cells, closures, defaults, and numbers, texts and containers
    of them. What comes from an installed package counts by its name only.
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
    elif isinstance(value, (tuple, list)):
        for item in value:
            _add(item, digest, seen=seen)
    elif isinstance(value, dict):
        for key, item in value.items():
            digest.update(repr(key).encode())
            _add(item, digest, seen=seen)
    elif hasattr(value, "func") and hasattr(value, "keywords"):  # functools.partial
        _add((value.func, value.args, dict(value.keywords)), digest, seen=seen)
    elif hasattr(value, "__wrapped__"):
        _add(value.__wrapped__, digest, seen=seen)
    elif inspect.ismethod(value):
        _add(value.__func__, digest, seen=seen)
        _add(vars(value.__self__) if hasattr(value.__self__, "__dict__") else None, digest, seen=seen)
    else:
        digest.update(f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value))}".encode())


def _add_function(function: FunctionType, digest: Any, *, seen: set[int]) -> None:
    if is_installed(function):
        digest.update(f"{function.__module__}.{function.__qualname__}".encode())
        return
    try:
        digest.update(inspect.getsource(function).encode())
    except (OSError, TypeError):
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
    top = (function.__module__ or "").split(".")[0]
    if top in ("", "__main__"):
        return False
    if top == "bknb" or top in sys.stdlib_module_names:
        return True
    return "site-packages" in function.__code__.co_filename or "dist-packages" in function.__code__.co_filename
