"""Candles from a query, whatever database answers it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bknb
from bknb.errors import BadCandle, DataError, UnknownName, UsageError
from bknb.market.candles import Candles
from bknb.market.demo import DemoSource
from bknb.testing.sources import CandleSourceContract

START = 1_641_038_400_000
COLUMNS = "timestamp, open, high, low, close, volume"
from_query = bknb.exchanges.from_query


def demo(symbol: str = "BTCUSDT", count: int = 60) -> Candles:
    return asyncio.run(DemoSource().get_candles(symbol, "1m", START, count))


def rows(symbol: str) -> list[tuple[Any, ...]]:
    return [(symbol, *candle.values()) for candle in demo(symbol)]


def sqlite_file(folder: Path) -> Path:
    path = folder / "candles.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"create table candles (symbol, {COLUMNS})")
        for symbol in ("BTCUSDT", "ETHUSDT"):
            database.executemany("insert into candles values (?,?,?,?,?,?,?)", rows(symbol))
        database.commit()
    return path


def duckdb_file(folder: Path) -> Path:
    duckdb = pytest.importorskip("duckdb")
    path = folder / "candles.duckdb"
    frame = demo().to_pandas().reset_index()  # noqa: F841 -- DuckDB finds it by its name
    with contextlib.closing(duckdb.connect(str(path))) as database:
        database.execute("create table candles as select 'BTCUSDT' as symbol, * from frame")
    return path


@pytest.fixture(params=["sqlite", "duckdb"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return sqlite_file(tmp_path) if request.param == "sqlite" else duckdb_file(tmp_path)


def served(source: Any, symbol: str = "BTCUSDT") -> Candles:
    candles: Candles = asyncio.run(source.get_candles(symbol, "1m", START, 60))
    return candles


def test_a_path_is_opened_for_reading(path: Path) -> None:
    before = path.read_bytes()
    source = from_query(path, f"select symbol, {COLUMNS} from candles order by timestamp desc")  # noqa: S608
    assert served(source) == demo()
    assert "BTCUSDT" in (source.symbols or ())
    assert path.read_bytes() == before
    with pytest.raises(UsageError, match="the query failed"):
        from_query(path, "drop table candles")
    assert path.read_bytes() == before


def test_parameters_go_to_the_database(path: Path) -> None:
    sql = f"select {COLUMNS} from candles where symbol = ?"  # noqa: S608
    source = from_query(str(path), sql, parameters=["BTCUSDT"], symbol="BTC")
    assert served(source, "BTC") == demo()
    with pytest.raises(UnknownName):
        served(source, "ETH")


def test_an_open_connection_stays_open(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(sqlite_file(tmp_path))) as database:
        sql = f"select {COLUMNS} from candles where symbol = :s"  # noqa: S608
        source = from_query(database, sql, parameters={"s": "ETHUSDT"})
        assert served(source) == demo("ETHUSDT")
        assert database.execute("select count(*) from candles").fetchone() == (120,)


def test_duckdb_reads_stored_candles(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    asyncio.run(bknb.exchanges.stored(DemoSource(), folder=tmp_path).get_candles("BTCUSDT", "1m", START, 60))
    source = from_query(":memory:", f"from '{tmp_path}/demo/BTCUSDT/1m/*.parquet'")
    assert served(source) == demo()


def test_a_value_that_is_not_there_is_refused() -> None:
    pytest.importorskip("duckdb")
    missing = "select 0 as timestamp, 1 as open, 1 as high, 1 as low, 1 as close, null::double as volume"
    with pytest.raises(BadCandle, match="volume must be a number"):
        from_query(":memory:", missing)
    values = "1 as open, 1 as high, 1 as low, 1 as close, 2 as volume"
    aware = f"select timestamptz '2022-01-01 13:00:00+01' as timestamp, {values}"
    assert served(from_query(":memory:", aware)).timestamp.tolist() == [START]


class _Rows:
    """What SQLAlchemy answers, as far as it is looked at."""

    def __init__(self, answer: list[tuple[Any, ...]]) -> None:
        self.answer = answer

    def keys(self) -> list[str]:
        return COLUMNS.split(", ")

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.answer


class _Engine:
    @contextlib.contextmanager
    def connect(self) -> Iterator[Any]:
        yield self.Connection()

    class Connection:
        def exec_driver_sql(self, sql: str, *parameters: Any) -> _Rows:
            return _Rows([row[1:] for row in rows("BTCUSDT")])


def test_an_engine_is_connected_for_the_query() -> None:
    assert served(from_query(_Engine(), "select")) == demo()


@pytest.mark.parametrize(
    ("sql", "error", "says"),
    [
        ("select * from nowhere", UsageError, "the query failed: OperationalError: no such table"),
        ("select timestamp, open, high, low, close from candles", UsageError, "missing: volume"),
        (
            "select timestamp, open, high, low, close, 'much' as volume from candles where symbol = 'BTCUSDT'",
            BadCandle,
            "volume must be a number, got 'much'",
        ),
        (
            f"select timestamp * 7 - 9845971200000 as timestamp, {COLUMNS[11:]} from candles limit 60",  # noqa: S608
            DataError,
            "1m 3m .* are needed, got candles spaced 7m",
        ),
    ],
)
def test_a_bad_answer_is_refused(tmp_path: Path, sql: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        from_query(sqlite_file(tmp_path), sql)


def test_a_wrong_path_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        from_query(tmp_path / "nowhere.db", "select 1")
    with pytest.raises(UsageError, match="a connection or the path"):
        from_query(17, "select 1")
    pytest.importorskip("duckdb")
    (tmp_path / "text.db").write_text("not a database " * 100)
    with pytest.raises(UsageError, match="cannot be opened as a database"):
        from_query(tmp_path / "text.db", "select 1")


class TestContract(CandleSourceContract):
    since = START

    def source(self) -> Any:
        with contextlib.closing(sqlite3.connect(":memory:")) as database:
            database.execute(f"create table candles (symbol, {COLUMNS})")
            database.executemany("insert into candles values (?,?,?,?,?,?,?)", rows("BTCUSDT"))
            return from_query(database, f"select {COLUMNS} from candles")  # noqa: S608
