"""Tables of closed trades in any shape: what is read, what is left out, what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from math import nan
from typing import Any

import numpy as np
import pandas as pd
import pytest
from trade_rows import grid, near, sample_rows

from bknb.errors import BknbError, UsageError
from bknb.metrics.heat_of_symbols import heat_statistics
from bknb.metrics.statistics import statistics


def moment(ms: float) -> datetime:
    return datetime.fromtimestamp(ms / 1000, tz=UTC)


def with_times(change: Any) -> list[dict[str, Any]]:
    return [row | {key: change(row[key]) for key in ("pending_at", "close_timestamp")} for row in sample_rows()]


def test_a_frame_and_a_list_of_mappings_agree() -> None:
    rows = sample_rows()
    frame = pd.DataFrame(rows)
    expected = statistics(rows)
    assert expected["sharpe_ratio"] is not None
    assert expected["trend"] is not None
    assert statistics(frame) == expected
    assert statistics(frame.convert_dtypes()) == expected
    assert statistics(frame.astype(object)) == expected
    assert statistics(row for row in rows) == expected
    assert statistics(frame.set_index("symbol")) == expected
    assert heat_statistics(frame) == heat_statistics(rows)


def test_closed_at_is_another_name_of_the_exit_time() -> None:
    renamed = [
        {("closed_at" if key == "close_timestamp" else key): value for key, value in row.items()}
        for row in sample_rows()
    ]
    assert statistics(renamed) == statistics(sample_rows())
    assert statistics(pd.DataFrame(renamed)) == statistics(sample_rows())


@pytest.mark.parametrize(
    "change",
    [
        moment,
        lambda ms: moment(ms).replace(tzinfo=None),
        lambda ms: moment(ms).astimezone(timezone(timedelta(hours=5, minutes=30))),
        lambda ms: pd.Timestamp(ms, unit="ms"),
        lambda ms: pd.Timestamp(ms, unit="ms", tz="America/New_York"),
        lambda ms: np.datetime64(int(ms), "ms"),
        np.int64,
        float,
    ],
    ids=["aware", "naive", "offset", "timestamp", "zoned-timestamp", "datetime64", "int64", "float"],
)
def test_times_in_any_shape_agree(change: Any) -> None:
    rows = with_times(change)
    expected = statistics(sample_rows())
    assert statistics(rows) == expected
    assert statistics(pd.DataFrame(rows)) == expected
    assert statistics(pd.DataFrame(rows).astype({"pending_at": object})) == expected


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_datetime_columns_of_any_unit_agree(unit: str, zone: str | None) -> None:
    frame = pd.DataFrame(sample_rows())
    for name in ("pending_at", "close_timestamp"):
        column = pd.to_datetime(frame[name], unit="ms").dt.as_unit(unit)
        frame[name] = column if zone is None else column.dt.tz_localize("UTC").dt.tz_convert(zone)
    assert statistics(frame) == statistics(sample_rows())


@pytest.mark.parametrize("corrupt", [0, -1, None, nan, pd.NaT, pd.NA, "oops", True, 10**400])
@pytest.mark.parametrize("column", ["pending_at", "close_timestamp"])
def test_rows_with_a_corrupt_time_are_left_out(column: str, corrupt: Any) -> None:
    rows = sample_rows()
    good = statistics(rows)
    bad = {**rows[3], column: corrupt, "pnl_percentage": 50.0, "price_close": 1e6, "peak_percentage": 90.0}
    stats = statistics([*rows[:6], bad, *rows[6:]])
    assert stats["dropped"] == 1
    assert stats == {**good, "dropped": 1}
    assert heat_statistics([*rows, bad])["portfolio_total_trades"] == 13


def test_heat_keeps_rows_with_a_corrupt_time_without_annualising_from_them() -> None:
    rows = sample_rows()
    heat = heat_statistics([{**rows[0], "pending_at": 0, "pnl_percentage": -0.3}, *rows])
    row = heat["per_symbol"]["BTCUSDT"]
    assert row["n"] == 13
    assert row["span_days"] == near(21.0)
    assert row["avg_duration"] == near(21 / 12 * 1440)


def test_rows_without_a_result_are_left_out() -> None:
    rows = sample_rows()
    for corrupt in (None, nan, float("inf"), "n/a"):
        bad = {**rows[3], "pnl_percentage": corrupt}
        assert statistics([*rows, bad]) == {**statistics(rows), "dropped": 1}
        assert heat_statistics([*rows, bad])["per_symbol"]["BTCUSDT"]["dropped"] == 1


def test_optional_columns_may_be_absent() -> None:
    bare = [{key: row[key] for key in ("pending_at", "close_timestamp", "pnl_percentage")} for row in sample_rows()]
    stats = statistics(bare)
    absent = ("avg_peak_pnl", "avg_fall_pnl", "peak_profit_pnl", "max_drawdown_pnl", "trend", "median_step_size")
    assert [stats[key] for key in absent] == [None] * len(absent)
    assert stats["sharpe_ratio"] == statistics(sample_rows())["sharpe_ratio"]
    assert statistics(pd.DataFrame(bare)) == stats


@pytest.mark.parametrize(
    "bad",
    [
        None,
        5,
        "trades",
        b"trades",
        {"pnl_percentage": [1.0]},
        [1.0],
        [("BTCUSDT", 1)],
        np.zeros((2, 2)),
        pd.Series([1.0]),
    ],
)
def test_what_is_not_a_table_is_refused(bad: Any) -> None:
    for measure in (statistics, heat_statistics):
        with pytest.raises(UsageError, match="DataFrame or a list of mappings"):
            measure(bad)


@pytest.mark.parametrize("kind", [list, pd.DataFrame])
def test_missing_columns_are_named_beside_the_present_ones(kind: Any) -> None:
    with pytest.raises(UsageError) as refused:
        statistics(kind([{"symbol": "BTCUSDT", "pending_at": 1, "note": "x"}]))
    text = str(refused.value)
    assert "lack pnl_percentage, close_timestamp (or closed_at)" in text
    assert "present: symbol, pending_at, note" in text
    assert isinstance(refused.value, BknbError)
    assert len(refused.value.lines()) <= 3


def test_a_key_missing_in_one_row_names_the_row() -> None:
    rows: list[dict[str, Any]] = sample_rows()
    del rows[7]["pnl_percentage"]
    with pytest.raises(UsageError, match="lack pnl_percentage in row 7"):
        statistics(rows)


def test_heat_needs_a_symbol_in_every_row() -> None:
    rows = sample_rows()
    with pytest.raises(UsageError, match="lack symbol"):
        heat_statistics(pd.DataFrame(rows).drop(columns="symbol"))
    with pytest.raises(UsageError, match="row 2 has None"):
        heat_statistics([*rows[:2], rows[2] | {"symbol": None}])


def test_a_column_of_text_is_refused_with_advice() -> None:
    rows = with_times(lambda ms: moment(ms).isoformat())
    for table in (rows, pd.DataFrame(rows)):
        with pytest.raises(UsageError, match=r"pending_at holds text.*\n.*to_datetime"):
            statistics(table)
    with pytest.raises(UsageError, match=r"pnl_percentage holds text.*\n.*to_numeric"):
        statistics([row | {"pnl_percentage": "1.5 %"} for row in sample_rows()])


def test_two_columns_of_one_name_are_refused() -> None:
    frame = pd.DataFrame(sample_rows())
    with pytest.raises(UsageError, match="2 columns called 'pnl_percentage'"):
        statistics(pd.concat([frame, frame[["pnl_percentage"]]], axis=1))


def test_the_table_is_left_alone_and_no_row_is_too_old() -> None:
    rows = grid([-50.0, *[0.1] * 599])
    before = [dict(row) for row in rows]
    stats = statistics(rows)
    assert rows == before
    assert (stats["n"], stats["max_drawdown"]) == (600, 50.0)


def test_results_beyond_any_account_are_none_and_not_infinite() -> None:
    rows = grid([1e300, -1.0] * 10, days=14.5 * 10, price_close=[1e-300, 1e300] * 10)
    stats = statistics(rows)
    assert json.dumps(stats, allow_nan=False)
    assert stats["equity_final"] is None
    assert stats["median_step_size"] is None


@pytest.mark.parametrize("kind", [list, pd.DataFrame])
def test_a_trade_that_closes_before_it_opens_is_refused(kind: Any) -> None:
    rows = [
        {"pending_at": 2 * 86_400_000, "closed_at": 2 * 86_400_000, "pnl_percentage": 1.0, "symbol": "A"},
        {"pending_at": 2 * 86_400_000, "closed_at": None, "pnl_percentage": 1.0, "symbol": "A"},
        {"pending_at": 2 * 86_400_000, "closed_at": 86_400_000, "pnl_percentage": 1.0, "symbol": "A"},
    ]
    for measure in (statistics, heat_statistics):
        with pytest.raises(UsageError, match=r"row 2 closes at 1970-01-02 00:00 UTC.*opens at 1970-01-03 00:00 UTC"):
            measure(kind(rows))
