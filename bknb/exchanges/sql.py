"""A source over the candles of a query: DuckDB, SQLite, or any database with a Python driver."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ..errors import MissingDependency, UsageError
from ..market.sessions import Sessions
from .dataframe_source import FrameSource
from .from_csv_frame_and_parquet import existing_file, from_frame

_SQLITE_MAGIC: Final = b"SQLite format 3\x00"


def from_query(
    database: Any,
    sql: str,
    *,
    parameters: Any = None,
    symbol: str | None = None,
    name: str = "query",
    sessions: Sessions | str | None = None,
    negative: bool = False,
) -> FrameSource:
    """A source over the candles that a query answers: minutes, or longer bars; the query runs once, now.

    Parameters
    ----------
    database
        An open connection (DuckDB, ``sqlite3``, any DB-API 2.0 connection, SQLAlchemy), or the path of a database
        file, which is opened for reading only: SQLite when it is one, DuckDB otherwise. ``":memory:"`` is an empty
        DuckDB, which can query Parquet and CSV files by their names.
    sql
        Answers the columns ``timestamp, open, high, low, close, volume`` (in any order and case), and ``symbol`` when
        it answers the candles of many. For their values see :func:`bknb.exchanges.from_frame`.
    parameters
        For the placeholders of the query, as the database takes them.
    symbol, name, sessions, negative
        As in :func:`bknb.exchanges.from_frame`.

    Raises
    ------
    MissingDependency
        DuckDB is needed and not installed.
    UsageError
        The query failed, or its answer lacks a column.
    DataError
        The bars are of no interval, or of several lengths; the message holds what was measured.
    BadCandle
        A value is missing or is not a number.

    Examples
    --------
    >>> import sqlite3
    >>> with contextlib.closing(sqlite3.connect(":memory:")) as database:
    ...     _ = database.execute("create table c (timestamp, open, high, low, close, volume)")
    ...     _ = database.execute("insert into c values (0, 1, 1, 1, 1, 5), (60000, 1, 1, 1, 1, 5)")
    ...     source = from_query(database, "select * from c order by timestamp", name="mine")
    >>> source.name
    'mine'
    """
    with _connected(database) as connection:
        try:
            frame = _answer(connection, sql, parameters)
        except Exception as error:  # every database has errors of its own
            text = (str(error).strip().splitlines() or [""])[0]
            raise UsageError(
                f"{name}: the query failed: {type(error).__name__}: {text[:200]}\n"
                "it must be one SELECT of timestamp, open, high, low, close, volume"
            ) from error
    return from_frame(frame, symbol=symbol, name=name, sessions=sessions, negative=negative)


@contextlib.contextmanager
def _connected(database: Any) -> Iterator[Any]:
    """The connection that was given, or one that is opened for this query."""
    if not isinstance(database, (str, Path)):
        if not any(hasattr(database, name) for name in ("cursor", "execute", "connect")):
            raise UsageError(f"from_query needs a connection or the path of a database, got {type(database).__name__}")
        yield database
        return
    path = str(database)
    file = Path(path) if path == ":memory:" else existing_file(path)
    opened = _opened_sqlite(file) if path != ":memory:" and _is_sqlite(file) else _opened_duckdb(path, file)
    with contextlib.closing(opened):
        yield opened


def _is_sqlite(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC


def _opened_sqlite(file: Path) -> Any:
    import sqlite3

    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)


def _opened_duckdb(path: str, file: Path) -> Any:
    try:
        import duckdb
    except ImportError:
        raise MissingDependency("duckdb", purpose="a query on a DuckDB database", extra="duckdb") from None
    if path == ":memory:":
        return duckdb.connect()
    try:
        return duckdb.connect(str(file), read_only=True)
    except duckdb.Error as error:
        raise UsageError(f"{file}: cannot be opened as a database: {str(error).strip().splitlines()[0]}") from error


def _answer(connection: Any, sql: str, parameters: Any) -> Any:
    import pandas as pd

    given = () if parameters is None else (parameters,)
    if hasattr(connection, "fetchdf") or hasattr(connection, "sql"):  # DuckDB
        # Not .df(): some of its releases warn with some releases of pandas. What has a time zone comes as UTC.
        columns = connection.execute(sql, *given).fetchnumpy()
        return pd.DataFrame({name: pd.Series(_plain(column)) for name, column in columns.items()})
    if hasattr(connection, "exec_driver_sql"):  # a connection of SQLAlchemy
        result = connection.exec_driver_sql(sql, *given)
        return pd.DataFrame(result.fetchall(), columns=list(result.keys()))
    if not hasattr(connection, "cursor"):  # an engine of SQLAlchemy
        with connection.connect() as opened:
            return _answer(opened, sql, parameters)
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute(sql, *given)
        if cursor.description is None:
            raise ValueError("the query answers no rows")
        return pd.DataFrame(cursor.fetchall(), columns=[column[0] for column in cursor.description])


def _plain(column: Any) -> Any:
    """A column without a mask; a value that is not there is NaN or None."""
    import numpy as np

    if not hasattr(column, "mask"):
        return column
    if not column.mask.any():
        return column.data
    if column.dtype.kind == "M":
        return column.filled(np.datetime64("NaT"))
    return column.filled(np.nan) if column.dtype.kind == "f" else column.astype(object).filled(None)
