"""Content with the user's functions as bytes for another process; errors there say the line they are of as here."""

from __future__ import annotations

import io
import linecache
import pickle
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import CodeType, ModuleType
from typing import Any, Final

_UNNAMED: Final = "<dynamic-code>"  # the file that cloudpickle says code is of


def to_bytes(content: object, modules: Sequence[ModuleType] = ()) -> bytes:
    """Return content as bytes; functions of ``modules`` are pickled by value, not by import path.

    Examples
    --------
    >>> from_bytes(to_bytes(lambda: 7))()
    7
    """
    import cloudpickle

    files: set[str] = set()

    def reduced(code: CodeType) -> Any:
        make, given, *rest = cloudpickle.Pickler.dispatch_table[CodeType](code)
        files.add(code.co_filename)
        return (make, tuple(code.co_filename if each == _UNNAMED else each for each in given), *rest)

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # untyped
        dispatch_table = cloudpickle.Pickler.dispatch_table.new_child({CodeType: reduced})

    with _by_value(modules), io.BytesIO() as written:
        Pickler(written).dump(content)
        inner = written.getvalue()
    lines = {file: linecache.getlines(file) for file in sorted(files)}
    return pickle.dumps((lines, inner), protocol=5)


@contextmanager
def _by_value(modules: Sequence[ModuleType]) -> Iterator[None]:
    import cloudpickle

    with ExitStack() as registered:
        for module in modules:
            cloudpickle.register_pickle_by_value(module)
            registered.callback(cloudpickle.unregister_pickle_by_value, module)
        yield


def from_bytes(content: bytes) -> Any:
    """Return the content that ``to_bytes`` made bytes of; lines of files that are not here are known from then on."""
    lines, inner = pickle.loads(content)  # noqa: S301 -- our own bytes
    for file, text in lines.items():
        if text and not linecache.getlines(file):
            linecache.cache[file] = (sum(map(len, text)), None, text, file)
    return pickle.loads(inner)  # noqa: S301
