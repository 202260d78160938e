"""Columns of ``get_signals`` with a long and a short that compete, and with entry ladders, as of ``get_signal``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scenarios import MINUTE, ORIGIN, source
from worlds import MODELS, walk

import bknb
from bknb.domain.signal_events import Reason
from bknb.engine.get_signals_columns import read_rows

NAN = math.nan
RUN: dict[str, Any] = {"exchange": source(walk(7)), "frame": (ORIGIN + 60 * MINUTE, ORIGIN + 600 * MINUTE)}


def columns_of(close: Any) -> dict[str, Any]:
    """Breakouts on both sides at every fourth candle, one side alone at some, ladders at others, and one entry."""
    at = np.arange(len(close))
    straddle, long_alone = at % 4 == 0, at % 12 == 4
    ladder = at % 4 == 2

    def where(rows: Any, factor: float) -> Any:
        return np.where(rows, close * factor, NAN)

    return {
        "position": np.where(ladder, np.where(at % 8 == 2, 1, -1), np.where(at % 4 == 3, 1, 0)),
        "price_take_profit": where(at % 4 == 3, 1.01),
        "price_stop_loss": where(at % 4 == 3, 0.985),
        "minute_estimated_time": 30,
        "price_open": where(at % 4 == 3, 0.999),
        "stop_entry": straddle,
        "price_open_long": where(straddle, 1.002),
        "price_open_short": where(straddle & ~long_alone, 0.998),
        "price_stop_loss_long": where(straddle, 0.997),
        "price_stop_loss_short": where(straddle, 1.003),
        "price_take_profit_long": where(straddle & (at % 8 == 0), 1.012),
        "stop_percent": np.where(ladder, 2.0, NAN),
        "target_percent": np.where(ladder, 0.9, NAN),
        "open_1": np.where(ladder, close, NAN),
        "open_share_1": 0.5,
        "open_2": np.where(ladder, np.where(at % 8 == 2, close * 0.998, close * 1.002), NAN),
        "open_share_2": 0.5,
    }


def get_signals(candles: Any, wide: float = 1.0) -> dict[str, Any]:
    columns = columns_of(candles.close)
    return columns | {name: columns[name] * wide for name in ("price_open_long",)}


def by_hand(ctx: Any) -> Any:
    """The same, question by question."""
    close, at = float(ctx.candles("5m", 1).close[0]), (ctx.when_ms // MINUTE - 5) // 5 - FIRST
    common = {"minute_estimated_time": 30}
    if at % 4 == 3:
        levels = {"price_take_profit": close * 1.01, "price_stop_loss": close * 0.985, "price_open": close * 0.999}
        return bknb.Signal(position="long", **levels, **common)
    if at % 4 == 2:
        long = at % 8 == 2
        parts = [(close, 0.5), (close * (0.998 if long else 1.002), 0.5)]
        levels = {"stop_percent": 2.0, "target_percent": 0.9}
        return bknb.Signal(position="long" if long else "short", price_open=parts, **levels, **common)
    if at % 4:
        return None
    target = close * 1.012 if at % 8 == 0 else None
    long = bknb.Signal(
        position="long", price_open=close * 1.002, entry="stop", price_stop_loss=close * 0.997,
        price_take_profit=target, **common,
    )  # fmt: skip
    short = bknb.Signal(
        position="short", price_open=close * 0.998, entry="stop", price_stop_loss=close * 1.003, **common
    )
    return long if at % 12 == 4 else [long, short]


FIRST = 0  # of the first candle that get_signals has; filled in


def ends(result: Any) -> list[Any]:
    found = result.run_record.records
    ended = [(type(each).__name__, each.when, each.signal.id.partition("-")[2], each.price) for each in found.ends]
    return [*ended, *[each.pnl for each in found.closed], len(found.rejected)]


@pytest.mark.parametrize("model", MODELS)
def test_rows_trade_as_the_same_answers_one_by_one(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []

    def noted(candles: Any) -> Any:
        heard.append(int(candles.timestamp[0]) // MINUTE // 5)
        return get_signals(candles)

    rows = bknb.add_strategy("rows", interval="5m", get_signals=noted)
    result = bknb.backtest("BTCUSDT", strategy=rows, execution=model, **RUN)
    monkeypatch.setattr("test_entry_columns.FIRST", heard[0])
    one = bknb.add_strategy("one", interval="5m", get_signal=by_hand)
    other = bknb.backtest("BTCUSDT", strategy=one, execution=model, **RUN)
    assert not result.errors + other.errors, (result.errors, other.errors)
    assert ends(result) == ends(other)
    kinds = {each.signal.position for each in result.run_record.records.closed}
    assert kinds == {"long", "short"}
    if model != "vwap":  # there none of these worlds fills one of two
        assert any(each.reason == "place_taken" for each in result.run_record.records.cancelled)
    assert any(each.adds for each in result.run_record.records.closed)
    assert len(result.trades) > 15


@pytest.mark.slow
def test_a_sweep_has_what_a_backtest_has_and_is_compiled() -> None:
    rows = bknb.add_strategy("rows", interval="5m", get_signals=get_signals)
    swept = bknb.sweep(rows, params={"wide": [1.0, 1.001]}, symbol="BTCUSDT", **RUN)
    for wide, count in zip(swept.table["wide"], swept.table["n"], strict=True):
        result = bknb.backtest("BTCUSDT", strategy=rows, params={"wide": float(wide)}, **RUN)
        assert count == len(result.trades)
    assert not any("event engine" in text for text in swept.warnings)


BASE: dict[str, Any] = {"position": 0, "price_take_profit": NAN, "price_stop_loss": NAN, "minute_estimated_time": 5}
BOTH: dict[str, Any] = {"price_open_long": 101.0, "price_open_short": 99.0}
ROWS: dict[str, tuple[dict[str, Any], Any]] = {
    "both": (BOTH, [("long", 101.0, None), ("short", 99.0, None)]),
    "one alone": (BOTH | {"price_open_short": NAN, "price_stop_loss_long": 98.0}, [("long", 101.0, 98.0)]),
    "the other": (BOTH | {"price_open_long": NAN}, [("short", 99.0, None)]),
    "neither": ({"price_open_long": NAN, "price_open_short": NAN}, None),
    "a ladder": (
        {"position": 1, "open_1": 99.0, "open_share_1": 0.5, "open_2": 98.0, "open_share_2": 0.5},
        [("long", [(99.0, 0.5), (98.0, 0.5)], None)],
    ),
    "a part alone": ({"position": 1, "open_1": NAN, "open_share_1": NAN, "open_2": 98.0, "open_share_2": 1.0},
                     [("long", [(98.0, 1.0)], None)]),
    "a ladder of nothing": ({"open_1": 99.0, "open_share_1": 1.0}, None),
    "a side, too": (BOTH | {"position": 1}, "has one entry"),
    "an entry, too": (BOTH | {"price_open": 100.0}, "has one entry"),
    "a ladder, too": (BOTH | {"open_1": 99.0, "open_share_1": 1.0}, "has one entry"),
    "with a ladder": ({"position": 1, "price_open": 99.0, "open_1": 99.0, "open_share_1": 1.0}, "has one entry"),
    "a stop of both": (BOTH | {"price_stop_loss": 95.0}, "has levels for each side"),
    "a target of both": (BOTH | {"target_1": 105.0, "share_1": 1.0}, "has levels for each side"),
    "a farther target of both": (BOTH | {"target_2": 105.0, "share_2": 1.0}, "has levels for each side"),
    "leaves": (BOTH | {"exit_short": True, "exit_long": False}, "set exit_short to False where price_open_short is"),
    "leaves by position": ({"position": -1, "exit_short": True}, "set exit_short to False where position is -1"),
}  # fmt: skip


@pytest.mark.parametrize("case", ROWS)
def test_what_a_row_answers(case: str) -> None:
    columns, wanted = ROWS[case]
    answer = read_rows(BASE | columns, 2, "demo").answer(1)
    if isinstance(wanted, str):
        assert isinstance(answer, Reason)
        assert wanted in answer.text
        return
    found = answer if isinstance(answer, list) or answer is None else [answer]
    said = found and [(each["position"], each["price_open"], each["price_stop_loss"]) for each in found]
    assert said == wanted


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (BASE | {"price_open_long": 101.0}, "price_open_long and no price_open_short"),
        (BASE | {"price_stop_loss_long": 98.0}, "price_stop_loss_long and no price_open_long"),
        (BASE | {"open_1": 98.0}, "open_1 and no open_share_1"),
        (BASE | {"open_share_2": 98.0}, "open_share_2 and no open_2"),
        (
            BASE | {"open_1": 98.0, "open_share_1": 1.0, "open_4": 98.0},
            "an entry ladder has the parts open_1 to open_3",
        ),
        (BASE | BOTH | {"price_stop_los_long": 98.0}, "did you mean 'price_stop_loss_long'?"),
        ({"position": 0, "price_open_lon": 3.0} | BASE, "did you mean 'price_open_long'?"),
        (BASE | {"price_open_1": 98.0}, "write open_1;"),
        (BASE | {"price_open_share_2": 0.5}, "write open_share_2;"),
        (BASE | BOTH | {"stop_percent_long": 2.0}, "write stop_percent; of one side are price_open_long,"),
        (BASE | {"target_percents": 2.0}, "did you mean 'target_percent'?"),
    ],
)
def test_columns_that_cannot_be_are_refused(columns: dict[str, Any], said: str) -> None:
    with pytest.raises(bknb.UsageError) as refused:
        read_rows(columns, 3, "demo")
    assert said in str(refused.value)


def test_position_and_levels_may_be_left_out_where_both_sides_have_their_own() -> None:
    rows = read_rows({**BOTH, "minute_estimated_time": 5}, 2, "demo")
    assert [each["position"] for each in rows.answer(0)] == ["long", "short"]
    assert rows.acts.all()
    assert rows.numbers()["price_open_long"].tolist() == [101.0, 101.0]


def test_a_look_ahead_in_these_columns_is_found() -> None:
    def peeks(candles: Any) -> dict[str, Any]:
        ahead = np.append(candles.close[1:], candles.close[-1])
        return {
            "price_open_long": ahead * 1.002,
            "price_open_short": candles.close * 0.998,
            "minute_estimated_time": 30,
        }

    strategy = bknb.add_strategy("peeks", interval="5m", get_signals=peeks)
    report = bknb.check_lookahead(strategy, symbol="BTCUSDT", moments=4, **RUN)
    assert not report.ok
    assert any(finding.kind == "future" and "long or short" in finding.signal for finding in report.findings)
