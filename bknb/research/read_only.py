"""Statements that are run again read files and databases; nothing outside the process is changed by them.

An audit hook refuses what Python itself would do: to open a file for writing, to start a program or a thread, to reach
the network. SQLite opens its files without asking Python, so it is connected read-only; what was opened before is
replaced by a copy that can only be read, or refused. A run of bknb audits ``bknb.run`` when it is planned, and is
refused with :class:`RunRefused`.
"""

from __future__ import annotations

import functools
import io
import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

_CHANGING: Final = frozenset(
    {
        *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink", "os.chmod"),
        *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.kill", "subprocess.Popen", "shutil.rmtree"),
        *("socket.connect", "socket.bind", "socket.sendto", "_thread.start_new_thread"),
        "sqlite3.connect",
    }
)
_RUN: Final = "bknb.run"
_refused: set[int] = set()  # threads in which nothing outside the process may be changed
_connecting: set[int] = set()  # those of them that connect read-only
_installed = threading.Event()


class RunRefused(BaseException):
    """A statement that is run again was about to start a run of bknb; no ``except Exception`` of the user holds it."""


@contextmanager
def nothing_changed_outside() -> Iterator[None]:
    """Refuse, in this thread, to write files and databases, start programs, threads and runs, and reach the network.

    Raises
    ------
    PermissionError
        Where the code inside the ``with`` block tries; for SQLite its own ``OperationalError``.
    RunRefused
        Where it tries to start a run of bknb: a backtest, a sweep, a live run, a study, a look-ahead check.
    """
    _install()
    thread, module = threading.get_ident(), sqlite3
    before, name = module.connect, "connect"
    _refused.add(thread)
    setattr(module, name, _connecter(before))
    try:
        yield
    finally:
        setattr(module, name, before)
        _refused.discard(thread)


def _install() -> None:
    """Install the audit hook once; Python cannot remove one, so it does nothing while no thread is refused anything.

    It runs until the process ends, when this module's names are None already: so it holds its own references.
    """
    if _installed.is_set():
        return
    _installed.set()
    thread, refused, connecting = threading.get_ident, _refused, _connecting
    changing, writing = _CHANGING, os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
    run, run_refused = _RUN, RunRefused

    def on_event(event: str, args: tuple[Any, ...]) -> None:
        if not refused or thread() not in refused:
            return
        if event == run:
            raise run_refused(f"{args[0]} is not started a second time")
        flags = args[2] if event == "open" and len(args) > 2 else 0
        if (event in changing and thread() not in connecting) or (isinstance(flags, int) and flags & writing):
            raise PermissionError(f"{event} is not done a second time")

    sys.addaudithook(on_event)


def _connecter(function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def connect(database: Any, *args: Any, **options: Any) -> Any:
        thread = threading.get_ident()
        if thread not in _refused:
            return function(database, *args, **options)
        if database != ":memory:":
            if options.get("uri"):
                raise PermissionError("a database with an address of its own is not connected a second time")
            database = f"{Path(os.fsdecode(database)).resolve().as_uri()}?mode=ro"
            options["uri"] = True
        _connecting.add(thread)
        try:
            connection = function(database, *args, **options)
        finally:
            _connecting.discard(thread)
        connection.set_authorizer(_without_other_files)
        return connection

    return connect


def _without_other_files(action: int, *_: Any) -> int:
    """SQLite asks before each action: another file could be attached for writing."""
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK


def is_database(value: Any) -> bool:
    """Whether a value is an open database connection or cursor."""
    return not isinstance(value, type) and callable(getattr(value, "execute", None)) and hasattr(value, "close")


def is_open_for_writing(value: Any) -> bool:
    """Whether a value is a file that can be written to; text and bytes in memory are none."""
    if not isinstance(value, io.IOBase) or isinstance(value, (io.StringIO, io.BytesIO)):
        return False
    return not value.closed and value.writable()


def could_be_written_to(value: Any) -> bool:
    """Whether a value is a file that can be written to, or leads to a database: a connection, a cursor, an engine."""
    if is_open_for_writing(value) or is_database(value):
        return True
    if isinstance(value, (type, ModuleType)):
        return False
    connects = (("cursor", "commit"), ("connect", "dispose"))  # of Python's database interface; of SQLAlchemy
    return any(all(callable(getattr(value, name, None)) for name in names) for names in connects)


def readable(value: Any, opened: ExitStack) -> Any:
    """What statements that are run again get for ``value``: itself, or a read-only connection to the same database.

    Parameters
    ----------
    value
        Of a variable that they read.
    opened
        Closes the connection.

    Raises
    ------
    PermissionError
        When it could be written to: a file open for writing, a database that is not SQLite's or cannot be read here.
    """
    if isinstance(value, sqlite3.Cursor):
        connection = readable(value.connection, opened)
        return connection.cursor()
    if isinstance(value, sqlite3.Connection):
        try:
            return _read_only(value, opened)
        except sqlite3.Error as error:
            if "same thread" in str(error):
                raise PermissionError("a connection for one thread: connect with check_same_thread=False") from error
            raise PermissionError(f"a database that cannot be read again: {error}") from error
    if could_be_written_to(value):
        raise PermissionError(f"a {type(value).__name__} that could be written to")
    return value


def _read_only(connection: sqlite3.Connection, opened: ExitStack) -> sqlite3.Connection:
    (_, _, file), *others = connection.execute("PRAGMA database_list").fetchall()
    if others:
        raise PermissionError("a connection with several databases")
    copy = sqlite3.connect(file or ":memory:")
    opened.callback(copy.close)
    if not file:
        connection.backup(copy)
    copy.row_factory, copy.text_factory = connection.row_factory, connection.text_factory
    return copy
