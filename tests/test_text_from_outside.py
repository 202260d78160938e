"""Texts nobody can write, numbers without measure, formulas, tiny prices: a reason or a right figure, no crash."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bknb
from bknb.domain.formatting import price_decimals, price_text
from bknb.domain.text import text_fault
from bknb.reports.plots import _places

UNWRITABLE = {"half a surrogate pair": "a\ud800", "NUL": "a\0b", "an escape": "a\x1b[31m", "a bell": "\x07"}
HUGE = (10**30, 10**400)
SPAN = "2024-01-02:2024-01-03"


def run(symbol: str = "BTCUSDT", frame: Any = SPAN, settings: Any = None, **answer: Any) -> bknb.Result:
    def get_signal(price: float) -> dict[str, Any]:
        levels = {"price_take_profit": price * 1.02, "price_stop_loss": price * 0.97}
        return {"position": "long", "minute_estimated_time": 300, **levels, **answer}

    return bknb.backtest(symbol, strategy=get_signal, interval="1h", exchange="demo", frame=frame, settings=settings)


@pytest.mark.parametrize("text", UNWRITABLE.values(), ids=UNWRITABLE)
@pytest.mark.parametrize("field", ["note", "id"])
def test_a_text_nobody_can_write_is_a_reason(field: str, text: str) -> None:
    result = run(**{field: text})
    assert not len(result.trades)
    reason = result.rejections[0].reasons[0]
    assert reason.code == field
    assert "U+" in reason.text
    result.report().encode()
    repr(result).encode()
    result._repr_html_().encode()


def test_a_note_may_have_lines_and_any_script() -> None:
    assert len(run(note="breakout\n\tof the day: 突破 ↗ 🚀").trades)
    assert text_fault("a\nb") == "it holds the control character U+000A"


@pytest.mark.parametrize("text", UNWRITABLE.values(), ids=UNWRITABLE)
def test_a_name_nobody_can_write_is_refused(text: str) -> None:
    with pytest.raises(bknb.UsageError, match=r"cannot be a symbol: it holds .*U\+"):
        run(symbol=text)
    with pytest.raises(bknb.UsageError, match="cannot be the name of a strategy"):
        bknb.add_strategy(text, get_signal=lambda: None, interval="1h")
    with pytest.raises(bknb.UsageError, match="cannot be the name of an exchange"):
        bknb.add_exchange(text, get_candles=list)
    with pytest.raises(bknb.UsageError, match="cannot be the name of a frame"):
        bknb.add_frame(text, start="2024-01-02", end="2024-01-03")


@pytest.mark.parametrize("number", [*HUGE, 1e30], ids=str)
@pytest.mark.parametrize("field", ["minute_estimated_time", "price_take_profit", "price_stop_loss", "price_open"])
def test_a_number_without_measure_in_an_answer_ends_no_run(field: str, number: float) -> None:
    result = run(**{field: number})
    result.report().encode()
    repr(result).encode()


@pytest.mark.parametrize("number", HUGE, ids=("1e30", "1e400"))
@pytest.mark.parametrize(
    "name", ["max_signal_lifetime_minutes", "get_candles_retry_count", "price_tick", "percent_fee"]
)
def test_a_number_without_measure_in_settings_is_told_or_harmless(name: str, number: int) -> None:
    if number > 1e300 or name in ("max_signal_lifetime_minutes", "get_candles_retry_count", "percent_fee"):
        with pytest.raises(bknb.UsageError, match=name):
            run(settings={name: number})
    else:
        run(settings={name: number}).report()


@pytest.mark.parametrize("frame", [(10**30, 10**30 + 1), (0, 10**30)])
def test_a_frame_beyond_the_calendar_is_refused_before_anything_is_fetched(frame: tuple[int, int]) -> None:
    with pytest.raises(bknb.UsageError, match="before the year 10000"):
        run(frame=frame)


@pytest.mark.parametrize("note", ["=1+1", "+1+1", "-2+3", "@SUM(A1)", '=HYPERLINK("http://x")'])
def test_a_note_is_no_formula_in_a_spreadsheet(note: str, tmp_path: Path) -> None:
    result = run(note=note)
    assert result.trades["note"].iloc[0] == note
    with result.to_csv(tmp_path).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(result.trades) > 0
    assert rows[0]["note"] == f"'{note}"
    assert [float(row["price_open"]) for row in rows] == list(result.trades["price_open"])
    assert all(not row["pnl_percentage"].startswith("'") for row in rows)


def test_the_trades_are_written_into_a_folder(tmp_path: Path) -> None:
    result = run()
    folder = tmp_path / "reports" / "first"
    assert result.to_csv(folder) == folder / "trades.csv"
    assert result.to_csv(str(folder)) == folder / "trades.csv"  # once more in its place
    assert sorted(path.name for path in folder.iterdir()) == ["fills.csv", "trades.csv"]
    (tmp_path / "notes").write_text("mine")
    for wrong in (tmp_path / "notes", tmp_path / "out.csv"):
        with pytest.raises(bknb.UsageError, match=r"into a folder, and .* is the path of a file\ngive the folder"):
            result.to_csv(wrong)
    assert not (tmp_path / "out.csv").exists()
    with pytest.raises(bknb.UsageError, match=r"got ''\ngive a path such as './dump'"):
        result.to_csv("")


@given(st.floats(min_value=1e-16, max_value=1e-5))
def test_a_tiny_price_keeps_four_significant_digits(price: float) -> None:
    assert math.isclose(float(price_text(price)), price, rel_tol=5.1e-4)
    assert math.isclose(round(price, price_decimals(price)), price, rel_tol=5.1e-4)


def test_a_figure_keeps_the_digits_of_the_smallest_price_of_its_run() -> None:
    assert _places(np.asarray([2.0e-5, 1.234e-7])) == 10
    assert _places(np.asarray([42_000.0, 0.5])) == 2
    assert _places(np.asarray([])) == 2


def cheap(symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
    minutes = [since // 60_000 + i for i in range(limit)]
    return [(m * 60_000, 1.2345678e-9, 1.3e-9, 1.2e-9, 1.2345678e-9, 1.0) for m in minutes]


def test_a_cheap_coin_is_shown_with_its_digits_everywhere() -> None:
    bknb.add_exchange("cheap", get_candles=cheap, intervals=["1m"])

    def get_signal(price: float) -> bknb.Signal:
        return bknb.Signal(
            position="long", price_take_profit=price * 1.2, price_stop_loss=price * 0.8, minute_estimated_time=60
        )

    result = bknb.backtest("PEPE", strategy=get_signal, interval="1h", exchange="cheap", frame=SPAN)
    assert "0.00000000123" in result.report()
    moment = result.at("2024-01-02 05:30")
    lines = repr(moment).splitlines()
    assert "price 1.24" in lines[0]  # the average of the candle
    assert all(len(line.split()) == 6 for line in lines[-3:])  # columns do not touch
    assert "0.00000000123" in moment._repr_html_()
    assert ".12f" in str(result.figure().to_dict())
