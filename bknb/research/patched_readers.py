"""What libraries hand out while a strategy is asked, replaced by something else: files, databases, the network.

The functions are replaced in their modules for as long as the ``with`` block runs, for the user's code in the threads
of a check (:mod:`bknb.research.check_threads`); other threads of the process get what there is. Replaced are
``pandas.read_csv`` and its like, ``numpy.load``, ``pickle.load``, ``json.load``, ``open``, ``os.read``,
``sqlite3.connect``, answers over HTTP, the output of other programs, values of ``os.environ``, and ``get_candles`` of
bknb's own sources. A function that was imported by its own name before (``from pandas import read_csv``) is not
replaced.
"""

from __future__ import annotations

import builtins
import functools
import http.client
import inspect
import io
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from ..user_code import is_users_file
from . import read_only
from .check_threads import belongs, called_by_user
from .tracing import data_file_name

Change = Callable[[str, Any], Any]
"""From a name of what was read and what was handed out to what is handed out instead."""

_BY_PATH: Final = {
    "pandas": (
        *("read_csv", "read_table", "read_fwf", "read_json", "read_parquet", "read_feather", "read_pickle"),
        *("read_hdf", "read_excel", "read_orc", "read_stata", "read_xml", "read_sas"),
    ),
    "numpy": ("load", "loadtxt", "genfromtxt", "fromfile"),
    "pickle": ("load", "loads"),
    "joblib": ("load",),
    "json": ("load", "loads"),
    "polars": ("read_csv", "read_parquet", "read_ipc", "read_json"),
}
_BY_QUERY: Final = {"pandas": ("read_sql", "read_sql_query", "read_sql_table")}
_LONGEST: Final = 50_000_000  # bytes of a file that is replaced in memory

_ROWS: Final = ("fetch", "df", "all", "first", "scalar")
DATABASE: Final = "a database"
NETWORK: Final = "the network"
PROGRAM: Final = "another program"
ENVIRONMENT: Final = "os.environ"


class _Busy(threading.local):
    inside = False


_busy = _Busy()
_OF_MAPPINGS: Final = frozenset({os.getenv.__code__.co_filename, Mapping.get.__code__.co_filename})
_WRAPPERS: Final = frozenset({__file__, read_only.__file__})


def _applies() -> bool:
    """Whether the user's code, in a thread of the check, is what reads now."""
    return not _busy.inside and belongs() and called_by_user(sys._getframe(2), _WRAPPERS)


@contextmanager
def handing_out(change: Change) -> Iterator[None]:
    """Hand out what ``change`` returns to the threads of the check, inside the ``with`` block."""
    with ExitStack() as stack:

        def put(owner: Any, name: str, made: Callable[[Any], Any]) -> None:
            before = vars(owner)[name] if isinstance(owner, type) else getattr(owner, name)
            setattr(owner, name, made(before))
            stack.callback(setattr, owner, name, before)

        for module_name, names in [*_BY_PATH.items(), *_BY_QUERY.items()]:
            module = sys.modules.get(module_name)
            for name in names if module is not None else ():
                if hasattr(module, name):
                    put(module, name, functools.partial(_reader, change=change, query=name in _BY_QUERY["pandas"]))
        opener = functools.partial(_opener, change=change)
        put(builtins, "open", opener)
        put(io, "open", opener)
        descriptors: dict[int, str] = {}
        put(os, "open", functools.partial(_descriptor, names=descriptors))
        put(os, "read", functools.partial(_descriptor_reader, names=descriptors, change=change))
        put(sqlite3, "connect", functools.partial(_connecter, change=change))
        put(http.client.HTTPResponse, "read", functools.partial(_method, name=NETWORK, change=change))
        put(subprocess.Popen, "communicate", functools.partial(_communicate, change=change))
        put(type(os.environ), "__getitem__", functools.partial(_environment, change=change))
        for source in _own_sources():
            put(source, "get_candles", functools.partial(_candles, change=change))
        yield


def _reader(function: Any, *, change: Change, query: bool) -> Any:
    @functools.wraps(function)
    def read(*args: Any, **options: Any) -> Any:
        if not _applies():
            return function(*args, **options)
        args = tuple(one.inside if isinstance(one, Rows) else one for one in args)
        options = {name: one.inside if isinstance(one, Rows) else one for name, one in options.items()}
        first = args[0] if args else next(iter(options.values()), "")
        _busy.inside = True
        try:
            result = function(*args, **options)
        finally:
            _busy.inside = False
        if isinstance(result, Iterator):  # in chunks: not looked into
            return result
        return change(DATABASE if query else name_of(first), result)

    return read


def name_of(place: Any) -> str:
    """The name under which a path, an address or an open file is reported."""
    if isinstance(place, (str, os.PathLike)):
        text = os.fspath(place)
        text = text if isinstance(text, str) else "data in memory"
        is_content = "\n" in text or text.lstrip().startswith(("{", "["))  # read_csv and json.loads take text itself
        return "data in memory" if is_content else NETWORK if "://" in text else data_file_name(text)
    name = getattr(place, "name", None)
    return data_file_name(name) if isinstance(name, str) else "data in memory"


def _opener(function: Any, *, change: Change) -> Any:
    @functools.wraps(function)
    def opened(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        handle = function(file, mode, *args, **options)
        if set(mode) & set("wax+") or not _applies() or not isinstance(file, (str, os.PathLike)):
            return handle
        path = os.fspath(file)
        label = data_file_name(path) if isinstance(path, str) else ""
        if not label or not Path(path).is_file() or Path(path).stat().st_size > _LONGEST:
            return handle
        with handle:
            content = handle.read()
        new = change(label, content)
        made: Any = _Text(new) if isinstance(new, str) else _Bytes(new)
        made.name = path
        return made

    return opened


class _Text(io.StringIO):
    """The content of a text file, with the file's name."""

    name = ""


class _Bytes(io.BytesIO):
    """The content of a file, with the file's name."""

    name = ""


def _descriptor(function: Any, *, names: dict[int, str]) -> Any:
    @functools.wraps(function)
    def opened(path: Any, *args: Any, **options: Any) -> int:
        number: int = function(path, *args, **options)
        names[number] = data_file_name(path) if isinstance(path, str) else ""
        return number

    return opened


def _descriptor_reader(function: Any, *, names: dict[int, str], change: Change) -> Any:
    @functools.wraps(function)
    def read(number: int, length: int, /) -> bytes:
        content: bytes = function(number, length)
        label = names.get(number, "")
        return change(label, content) if label and _applies() else content

    return read


def _method(function: Any, *, name: str, change: Change) -> Any:
    @functools.wraps(function)
    def read(self: Any, *args: Any, **options: Any) -> Any:
        content = function(self, *args, **options)
        return change(name, content) if _applies() else content

    return read


def _communicate(function: Any, *, change: Change) -> Any:
    @functools.wraps(function)
    def communicate(self: Any, *args: Any, **options: Any) -> Any:
        output, errors = function(self, *args, **options)
        return (change(PROGRAM, output) if output is not None and _applies() else output), errors

    return communicate


def _environment(function: Any, *, change: Change) -> Any:
    @functools.wraps(function)
    def read(self: Any, key: Any) -> Any:
        value = function(self, key)
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename in _OF_MAPPINGS:  # get, items, os.getenv
            frame = frame.f_back
        asked = belongs() and isinstance(value, str) and is_users_file(frame.f_code.co_filename)
        return change(f"{ENVIRONMENT}[{key!r}]", value) if asked else value

    return read


def _connecter(function: Any, *, change: Change) -> Any:
    @functools.wraps(function)
    def connect(*args: Any, **options: Any) -> Any:
        connection = function(*args, **options)
        return Rows(connection, change) if _applies() else connection

    return connect


def _candles(function: Any, *, change: Change) -> Any:
    @functools.wraps(function)
    def get_candles(self: Any, *args: Any, **options: Any) -> Any:
        asked = function(self, *args, **options)
        if not belongs() or not is_users_file(sys._getframe(1).f_code.co_filename):
            return asked
        name = f"candles of {type(self).__name__}"

        async def changed() -> Any:
            return change(name, await asked)

        return changed()

    return get_candles


_sources_in: dict[str, tuple[int, tuple[type, ...]]] = {}
"""By module: how many names it had when it was looked through, and its classes that hand out candles."""


def _own_sources() -> list[type]:
    # one that is replaced already is none
    return [one for one in _all_sources(len(sys.modules)) if inspect.iscoroutinefunction(vars(one).get("get_candles"))]


@functools.lru_cache(maxsize=1)
def _all_sources(_modules: int) -> list[type]:
    """The classes of bknb's own sources; looked for again when another number of modules is loaded."""
    found: dict[int, type] = {}
    for name, module in list(sys.modules.items()):
        if not name.startswith("bknb."):
            continue
        size, sources = _sources_in.get(name, (-1, ()))
        if size != len(vars(module)):
            things = list(vars(module).values())
            sources = tuple(each for each in things if isinstance(each, type) and "get_candles" in vars(each))
            _sources_in[name] = len(things), sources
        found |= {id(source): source for source in sources}
    return list(found.values())


class Rows:
    """A database connection or cursor whose rows are changed on their way out to the threads of the check.

    Attributes
    ----------
    inside
        The connection or cursor itself.
    """

    def __init__(self, inside: Any, change: Change) -> None:
        self.inside = inside
        self._change = change

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.inside, name)
        if not callable(value):
            return value

        @functools.wraps(value)
        def call(*args: Any, **options: Any) -> Any:
            result = value(*args, **options)
            if result is self.inside:
                return self
            if hasattr(result, "fetchone") or hasattr(result, "execute"):
                return Rows(result, self._change)
            return self._changed(result) if name.startswith(_ROWS) else result

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("inside", "_change"):
            object.__setattr__(self, name, value)
        else:
            setattr(self.inside, name, value)

    def __enter__(self) -> Rows:
        self.inside.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self.inside.__exit__(*error)

    def __iter__(self) -> Iterator[Any]:
        for row in self.inside:
            yield self._changed(row)

    def _changed(self, result: Any) -> Any:
        return self._change(DATABASE, result) if belongs() else result
