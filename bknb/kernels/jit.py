"""Compiling a loop with numba: lazily, once per process, and from a cache on disk in every later process."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from ..errors import MissingDependency

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_made: dict[str, Any] = {}


def compiled(function: Callable[..., Any], names: Mapping[str, Any], pieces: Sequence[str] = ()) -> Any:
    """``function`` as machine code; ``pieces`` are the functions of its module ``names`` that it calls.

    The source stays plain Python, which is what a reader and a test without numba see. The machine code is kept
    beside the module, or in the user's cache folder, or, when neither can be written, only in this process.

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
            raise MissingDependency("numba", purpose="a sweep", extra="sweep") from None
        namespace = dict(names)
        version = hashlib.blake2b(Path(names["__file__"]).read_bytes(), digest_size=4).hexdigest()
        for piece in pieces:
            namespace[piece] = _jit(namespace[piece], namespace, version)
        _made[key] = _jit(function, namespace, version)
    return _made[key]


def _jit(function: Any, namespace: dict[str, Any], version: str) -> Any:
    """Compile on first call; the function sees ``namespace`` as its module.

    Its name ends in the ``version`` of the source: numba unpickles the index of its cache before it looks whether the
    index is of this source, and fails where that names a class which a later version no longer has.
    """
    import numba

    moved = FunctionType(function.__code__, namespace, function.__name__, function.__defaults__)
    moved.__module__, moved.__qualname__ = function.__module__, f"{function.__qualname__}_{version}"
    try:
        return numba.njit(moved, cache=True, error_model="numpy")
    except RuntimeError:  # no folder for the cache can be written
        return numba.njit(moved, error_model="numpy")
