"""Compiling a loop with numba: lazily, once per process, and from a cache on disk in every later process."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from ..errors import MissingDependency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_made: dict[str, Any] = {}
_not_kept: set[str] = set()  # modules whose machine code no folder takes
_PACKAGE: Final = f"{__name__.partition('.')[0]}."


def compiled(
    function: Callable[..., Any],
    names: Mapping[str, Any],
    pieces: Iterable[Callable[..., Any]] = (),
    takes: Sequence[type] = (),
    *,
    beside: str = "",
    purpose: str = "a sweep",
) -> Any:
    """``function`` as machine code.

    The source stays plain Python, which is what a reader and a test without numba see. The machine code is kept
    beside the module, or in the user's cache folder, or, when neither can be written, only in this process.

    Parameters
    ----------
    function
        The loop.
    names
        The names of its module.
    pieces
        Functions it calls; one of another module sees the names of that. They make no arrays: then no references to
        those they are given are counted, which costs more than most of them do.
    takes
        Classes of its arguments that are defined in modules its own does not import.
    beside
        The module of another loop. Of its pieces, and those of modules it imports, both take the same machine code. It
        imports the modules of their arguments' classes.
    purpose
        What cannot be had without numba, for the message.

    Raises
    ------
    MissingDependency
        Without numba.
    """
    key = f"{function.__module__}.{function.__qualname__}"
    if key not in _made:
        try:
            import numba  # noqa: F401
        except ImportError:
            raise MissingDependency("numba", purpose=purpose, extra="sweep") from None
        version = source_version(names["__name__"], *(kind.__module__ for kind in takes))
        shared = _sources(beside) if beside else {}
        shared_version = _digest(shared)
        namespaces = {function.__module__: dict(names)}
        made: dict[Any, Any] = {}
        for piece in pieces:
            seen = namespaces.setdefault(piece.__module__, dict(getattr(piece, "__globals__", {})))
            of_piece = shared_version if piece.__module__ in shared else version
            made[piece] = _jit(piece, seen, of_piece, is_piece=True)
        for namespace in namespaces.values():  # nothing is compiled before it is called
            namespace.update({name: made[piece] for name, piece in namespace.items() if _is_in(piece, made)})
        _made[key] = _jit(function, namespaces[function.__module__], version)
    return _made[key]


@contextmanager
def when_compiling(tell: Callable[[bool], object]) -> Iterator[None]:
    """Call ``tell`` once, as soon as a loop of this package is compiled while the block runs, in whatever thread.

    It is told whether later processes find the machine code on disk. A loop that is read from there is not compiled.
    Without numba nothing is.
    """
    try:
        from numba.core import event
    except ImportError:
        yield
        return
    told: list[bool] = []

    class Listener(event.Listener):
        def on_start(self, event: Any) -> None:
            if not told and str(event.data["dispatcher"].py_func.__module__).startswith(_PACKAGE):
                told.append(True)
                tell(not _not_kept)

        def on_end(self, event: Any) -> None:
            pass

    with event.install_listener("numba:compile", Listener()):
        yield


def _is_in(value: object, functions: Mapping[Any, Any]) -> bool:
    return isinstance(value, FunctionType) and value in functions


def source_version(*modules: str) -> str:
    """A digest of the source of some modules and of those they import from their own package.

    Machine code holds the constants and functions of other modules as they were when it was compiled.
    """
    return _digest(_sources(*modules))


def _digest(sources: Mapping[str, bytes]) -> str:
    parts = (part for name in sorted(sources) for part in (name.encode(), sources[name]))
    return hashlib.blake2b(b"\0".join(parts), digest_size=4).hexdigest()


def _sources(*modules: str) -> dict[str, bytes]:
    """The source of some modules and of those they import from their own package, by name."""
    found: dict[str, bytes] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is None or name in found:
            continue
        found[name] = Path(file).read_bytes()
        waiting += _imports(found[name], name)
    return found


@lru_cache(maxsize=512)
def _imports(source: bytes, module: str) -> tuple[str, ...]:
    """The modules a module imports by ``from . import name`` and ``from .other import name``.

    A source is parsed once: several loops are compiled from the same modules.
    """
    package, found = sys.modules[module].__package__, []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level and package:
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(found)


def _jit(function: Any, namespace: dict[str, Any], version: str, *, is_piece: bool = False) -> Any:
    """Compile on first call; the function sees ``namespace`` as its module.

    A piece is called by compiled functions alone, and gets no entry for calls from Python or C, whose compilation takes
    a tenth of the time.

    Its name ends in the ``version`` of the source: numba unpickles the index of its cache before it looks whether the
    index is of this source, and fails where that names a class which a later version no longer has.
    """
    import numba
    from numba.core.options import DefaultOptions

    moved = FunctionType(function.__code__, namespace, function.__name__, function.__defaults__)
    moved.__module__, moved.__qualname__ = function.__module__, f"{function.__qualname__}_{version}"
    options: dict[str, Any] = {"error_model": "numpy"}
    if is_piece:
        without = {"_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        options |= {name: value for name, value in without.items() if hasattr(DefaultOptions, name)}
    try:
        return numba.njit(moved, cache=True, **options)
    except RuntimeError:  # no folder for the cache can be written
        _not_kept.add(function.__module__)
        return numba.njit(moved, **options)
