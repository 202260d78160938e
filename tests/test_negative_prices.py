"""Prices at or below zero, as of oil in April 2020: allowed where it is said; exits and adds lie at any price.

What is opened at or below zero, of which there is no percentage, is in test_entries_below_zero.py.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from quick import each_once

import bknb
from bknb.domain.pnl import net_percentage, net_points, slipped_exit
from bknb.domain.position_fills import Fill
from bknb.domain.profit_of_partial_closes import closed_points, net_results, result
from bknb.domain.tick_grid import on_grid
from bknb.exchanges import from_csv, from_frame, from_query
from bknb.reports.equity_png import equity_png
from bknb.reports.plots import figure_json
from bknb.runs.measured import positions_of_run

BEGIN = "2020-04-20"
FREE = {
    "percent_fee": 0.0,
    "percent_slippage": 0.0,
    "avg_price_candles_count": 1,
    "min_take_profit_distance_percent": 0.0,
    "min_stop_loss_distance_percent": 0.0,
    "max_stop_loss_distance_percent": None,
}


def minutes(closes: Sequence[float], *, spread: float = 0.0) -> pd.DataFrame:
    """One-minute candles, each of which opens at the close before it."""
    close = np.array(closes, dtype=float)
    opened = np.concatenate([close[:1], close[:-1]])
    return pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) + spread,
            "low": np.minimum(opened, close) - spread,
            "close": close,
            "volume": 1.0,
        },
        index=pd.date_range(BEGIN, periods=len(close), freq="min", tz="UTC", name="time"),
    )


def run(closes: Sequence[float], strategy: Any, *, count: int = 1, **options: Any) -> Any:
    """A run of one question, at minute 5, or of ``count`` in a row."""
    asked: list[int] = []

    def get_signal(ctx: Any) -> Any:
        if ctx.when.minute < 5 or len(asked) >= count:
            return None
        asked.append(ctx.when_ms)
        return strategy(ctx) if callable(strategy) else strategy

    frame = (BEGIN, str(pd.Timestamp(BEGIN) + pd.Timedelta(minutes=len(closes) - 1)))
    source = from_frame(minutes(closes), negative=True)
    return bknb.backtest(
        "CL", strategy=get_signal, interval="1m", exchange=source, frame=frame, settings={**FREE, **options}
    )


def ends(result: Any) -> list[tuple[str, float, float, float]]:
    """Why positions ended, where they were opened and closed, and what came of them in percent."""
    return [
        (event.close_reason, event.signal.price_open, event.price_close, event.pnl.pnl_percentage)
        for event in result.run_record.records.closed
    ]


FALL = [20.0] * 6 + [15.0, 10.0, 5.0, 0.0, -10.0, -30.0, -37.0, -37.0, -20.0, -5.0, 1.0, 8.0, 10.0, 10.0]


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        # ordered at minute 5, which opens at 20; every minute opens at the close of the one before
        ({"position": "long", "minute_estimated_time": 8}, ("time_expired", 20.0, -37.0, -285.0)),
        ({"position": "short", "minute_estimated_time": 8}, ("time_expired", 20.0, -37.0, 285.0)),
        ({"position": "long", "minute_estimated_time": 12}, ("time_expired", 20.0, 1.0, -95.0)),
        ({"position": "long", "price_stop_loss": 4.0, "price_take_profit": 30.0}, ("stop_loss", 20.0, 4.0, -80.0)),
        ({"position": "short", "price_stop_loss": 30.0, "price_take_profit": 2.0}, ("take_profit", 20.0, 2.0, 90.0)),
    ],
)
def test_positions_are_held_below_zero(signal: dict[str, Any], expected: tuple[str, float, float, float]) -> None:
    found = ends(run(FALL, bknb.Signal(**signal)))
    assert found == [(*expected[:3], pytest.approx(expected[3]))]


def test_a_stop_that_is_gapped_over_fills_below_zero() -> None:
    table = minutes([20.0] * 8 + [-12.0] * 8)
    table.iloc[8, table.columns.get_loc("open")] = -10.0  # it opens there
    table.iloc[8, table.columns.get_loc("high")] = -10.0
    result = bknb.backtest(
        "CL",
        strategy=lambda ctx: bknb.Signal(position="long", price_stop_loss=15.0, price_take_profit=40.0),
        interval="1m",
        exchange=from_frame(table, negative=True),
        frame=(BEGIN, f"{BEGIN} 00:12"),
        settings=FREE,
    )
    assert ends(result) == [("stop_loss", 20.0, -10.0, pytest.approx(-150.0))]


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        # ordered at minute 5, which opens at 20; minutes go 20, 15, 10, 5, 0, -10, -30, -37, -37, -20, -5, 1, 8, 10
        ({"position": "long", "price_stop_loss": -8.0, "price_take_profit": 30.0}, ("stop_loss", -8.0)),
        ({"position": "long", "price_stop_loss": 0.0, "price_take_profit": 30.0}, ("stop_loss", 0.0)),
        ({"position": "short", "price_stop_loss": 30.0, "price_take_profit": -33.0}, ("take_profit", -33.0)),
        ({"position": "short", "price_stop_loss": 30.0, "price_take_profit": 0.0}, ("take_profit", 0.0)),
        ({"position": "short", "price_take_profit": [(-33.0, 0.5), (-3.0, 0.5)]}, ("take_profit", -33.0)),
        ({"position": "short", "trailing": bknb.Trailing(distance=10.0)}, ("trailing_stop", -27.0)),
        ({"position": "long", "trailing": bknb.Trailing(distance=30.0)}, ("trailing_stop", -10.0)),
        # begins at -10, and lies behind the best price, -37 in the end, by a tenth of its size
        ({"position": "short", "trailing": bknb.Trailing(percent=10.0, after=150.0)}, ("trailing_stop", -33.3)),
        # the entry once 20 more than it is made: at -10 it is; nothing comes back to it
        ({"position": "short", "breakeven": bknb.Breakeven(after=150.0, plus="")}, ("frame_end", 10.0)),
    ],
)
def test_levels_lie_at_and_below_zero(signal: dict[str, Any], expected: tuple[str, float]) -> None:
    [(reason, entry, leaves, net)] = ends(run(FALL, bknb.Signal(**signal)))
    assert (reason, entry, leaves) == (expected[0], 20.0, pytest.approx(expected[1], rel=1e-12))
    if not isinstance(signal.get("price_take_profit"), list):
        sign = 1 if signal["position"] == "long" else -1
        assert net == pytest.approx(sign * (leaves - entry) / entry * 100)


@pytest.mark.parametrize(
    ("signal", "codes"),
    [
        ({"position": "long", "price_stop_loss": -8.0, "price_take_profit": -3.0}, ["take_profit_side"]),
        ({"position": "short", "price_stop_loss": -8.0, "price_take_profit": -9.0}, ["stop_loss_side"]),
        ({"position": "long", "price_stop_loss": float("nan")}, ["finite"]),
        ({"position": "short", "price_take_profit": [(-1.0, 0.5), (float("inf"), 0.5)]}, ["ladder"]),
        ({"position": "long", "trailing": bknb.Trailing(distance=-1.0)}, ["trailing"]),
    ],
)
def test_levels_below_zero_are_on_the_right_side_of_the_entry(signal: dict[str, Any], codes: list[str]) -> None:
    result = run(FALL, bknb.Signal(**signal))
    assert not len(result.trades)
    found = [reason.code for reason in result.run_record.records.rejected[0].reasons]
    assert [code for code in found if not code.endswith("_at_once")] == codes


@pytest.mark.parametrize(
    ("signal", "code"),
    [
        ({"position": "long", "price_stop_loss": -1.0, "price_take_profit": 30.0}, "positive"),
        ({"position": "short", "price_stop_loss": 30.0, "price_take_profit": -1.0}, "positive"),
        ({"position": "short", "price_take_profit": [(-1.0, 0.5)]}, "ladder"),
        ({"position": "long", "trailing": bknb.Trailing(distance=30.0)}, "trailing"),
    ],
)
def test_without_the_switch_no_level_lies_there(signal: dict[str, Any], code: str) -> None:
    result = bknb.backtest(
        "CL",
        strategy=lambda ctx: bknb.Signal(**signal),
        interval="5m",
        exchange=from_frame(minutes([20.0] * 15)),
        frame=(f"{BEGIN} 00:05", f"{BEGIN} 00:09"),
        settings=FREE,
    )
    assert [reason.code for reason in result.run_record.records.rejected[0].reasons] == [code]


def test_levels_below_zero_lie_on_the_grid_away_from_the_market() -> None:
    given = bknb.Signal(position="long", price_take_profit=-0.3, price_stop_loss=-7.3, price_open=-2.2)
    moved = on_grid(given, 0.5, negative=True)
    assert (moved.price_take_profit, moved.price_stop_loss, moved.price_open) == (0.0, -7.5, -2.5)
    short = on_grid(bknb.Signal(position="short", price_take_profit=-7.3, price_stop_loss=-0.3), 0.5, negative=True)
    assert (short.price_take_profit, short.price_stop_loss) == (-7.5, 0.0)
    assert on_grid(given, 0.5) == given  # where they are no prices they are rejected as they came


def test_a_target_is_net_of_the_costs_below_zero() -> None:
    options = {"percent_slippage": 10.0, "percent_fee": 0.0}
    # the entry at 20 brings 18; leaving at -1 brings 0.9, while leaving at 17 costs 18.7
    assert ends(run(FALL, bknb.Signal(position="short", price_take_profit=-1.0, price_stop_loss=30.0), **options)) == [
        ("take_profit", 20.0, -1.0, pytest.approx(100 * (18.0 + 0.9) / 18.0))
    ]
    refused = run(FALL, bknb.Signal(position="short", price_take_profit=17.0, price_stop_loss=30.0), **options)
    assert [reason.code for reason in refused.run_record.records.rejected[0].reasons] == ["take_profit_costs"]


def managed(answers: dict[int, Any], table: pd.DataFrame) -> Any:
    """A long from minute 5 on, managed by answers at minutes."""
    bknb.add_strategy(
        "managed",
        get_signal=lambda ctx: bknb.Signal(position="long", minute_estimated_time=12) if ctx.when.minute == 5 else None,
        manage=lambda ctx, position: answers.get(ctx.when.minute),
        interval="1m",
    )
    return bknb.backtest(
        "CL",
        strategy="managed",
        exchange=from_frame(table, negative=True),
        frame=(f"{BEGIN} 00:03", f"{BEGIN} 00:19"),
        settings=FREE,
    )


def test_parts_leave_and_adds_enter_below_zero() -> None:
    result = managed({10: [bknb.Reduce(0.5)], 12: [bknb.Add(1.0)]}, minutes(FALL))
    [closed] = result.run_record.records.closed
    # half of it at the open of minute 10, 0.0, as much as at first at that of minute 12, -30.0, the rest at 1.0
    told = [(fill.kind, fill.price) for fill in closed.fills]
    assert told == [("entry", 20.0), ("reduce", 0.0), ("add", -30.0), ("exit", 1.0)]
    assert closed.average_price == (20.0 - 30.0) / 2
    assert closed.pnl.pnl_percentage == pytest.approx(100 * (0.5 * 0.0 + 1.5 * 1.0 - 20.0 + 30.0) / 20.0)
    assert np.isnan(closed.cost_percentage)  # all entries together cost less than nothing
    assert result.trades["points"].tolist() == [11.5]


def test_moves_put_levels_at_and_below_zero() -> None:
    result = managed({7: [bknb.Move(price_stop_loss=-4.0)]}, minutes(FALL))
    [closed] = result.run_record.records.closed
    assert (closed.close_reason, closed.price_close) == ("stop_loss", -4.0)
    targets = managed({8: [bknb.Move(price_take_profit=[(30.0, 0.5), (-4.0, 0.5)])]}, minutes(FALL))
    [reason] = targets.run_record.records.rejected[0].reasons
    assert reason.text == "a long's price_take_profit -4 must be above the last close 10"
    [nothing] = managed({7: [bknb.Move(price_stop_loss=float("nan"))]}, minutes(FALL)).run_record.records.rejected
    assert "price_stop_loss of Move must be a finite number, or None, got nan" in nothing.reasons[0].text


def told(result: Any, by: float) -> list[Any]:
    """What happened in a run, with prices that lie lower by so much, and the result in points."""
    records = result.run_record.records
    found: list[Any] = []
    for event in [*records.events, *records.positions, *records.milestones, *records.rejected]:
        line: list[Any] = [event.when, type(event).__name__, round(event.price + by, 6)]
        named = [(name, getattr(event, name, None)) for name in ("price_close", "price_stop_loss", "average_price")]
        line += [(name, round(price + by, 6)) for name, price in named if price is not None]
        line += [getattr(event, name) for name in ("close_reason", "reason", "level", "side") if hasattr(event, name)]
        if hasattr(event, "reasons"):
            line.append([reason.code for reason in event.reasons])
        if hasattr(event, "fill"):
            line.append((event.fill.kind, event.fill.share, event.fill.price + by))
        if isinstance(event, bknb.Closed):
            line.append(round(closed_points(event, slippage=0.0, fee=0.0), 6))
            line.append([(fill.kind, fill.price + by) for fill in event.fills])
        found.append(line)
    return sorted(found, key=lambda line: (line[0], line[1]))


@pytest.mark.slow
@pytest.mark.parametrize(("execution", "tick"), each_once(["pessimistic", "touch", "vwap"], [None, 0.5]))
def test_a_market_that_lies_lower_has_the_same_events(execution: str, tick: float | None) -> None:
    """Without costs and percentages only differences of prices count, of entries, adds and exits alike."""
    rng = np.random.default_rng([3, len(execution), tick is None])
    # multiples of 1.5, so that average prices are exact, too
    closes = 105.0 + np.abs(np.cumsum(rng.integers(-2, 3, size=1500)) * 1.5 % 60.0 - 30.0)
    choices = rng.random((1500, 6))

    def world(by: float) -> Any:
        def get_signal(ctx: Any) -> Any:
            close, pick = float(ctx.candles("1m", 1).close[-1]), choices[(ctx.when_ms // 60_000) % 1500]
            side, sign = ("long", 1) if pick[0] < 0.5 else ("short", -1)
            stop, target = (round(8 + 80 * part) / 4 for part in pick[1:3])
            exits: dict[str, Any] = {"price_stop_loss": close - sign * stop}
            if pick[3] < 0.3:
                exits["price_take_profit"] = [
                    (close + sign * target, 0.5), (close + sign * (target + 8.25), 0.25)
                ]  # fmt: skip
            elif pick[3] < 0.6:
                exits["trailing"] = bknb.Trailing(distance=stop)
            else:
                exits["price_take_profit"] = close + sign * target
            if pick[4] < 0.4:
                exits["entry"] = "limit" if pick[4] < 0.2 else "stop"
                exits["price_open"] = close - sign * (1.0 if pick[4] < 0.2 else -1.0)
            return bknb.Signal(position=side, minute_estimated_time=int(20 + 100 * pick[5]), **exits)

        def manage(ctx: Any, position: Any) -> Any:
            pick = choices[(ctx.when_ms // 60_000) % 1500]
            if pick[0] < 0.06:
                close = float(ctx.candles("1m", 1).close[-1])
                return bknb.Move(price_stop_loss=close - position.sign * 6.0)
            if pick[0] < 0.10:
                close = float(ctx.candles("1m", 1).close[-1])
                return bknb.Add(0.5, price_open=None if pick[1] < 0.5 else close - position.sign * 1.25)
            return bknb.Reduce(0.5) if pick[0] < 0.12 else None

        bknb.add_strategy("lower", get_signal=get_signal, manage=manage, interval="1m")
        table = minutes(list(closes - by), spread=0.5)
        options = {**FREE, "price_tick": tick}
        frame = (f"{BEGIN} 00:10", "2020-04-21 00:50")
        source = from_frame(table, negative=True)
        return bknb.backtest(
            "CL", strategy="lower", exchange=source, frame=frame, settings=options, execution=execution
        )

    above, below = world(0.0), world(118.0)
    assert (below.trades["price_open"] < 0).sum() > 10
    assert (below.trades["price_open"] > 0).sum() > 10
    assert (below.trades["adds"] > 0).sum() > 3
    assert (below.trades["price_close"] < 0).sum() > 10
    assert (below.trades["price_stop_loss"] < 0).sum() > 5
    assert told(below, 118.0) == told(above, 0.0)


def test_costs_make_a_result_worse_at_any_price() -> None:
    assert slipped_exit(-37.0, 1, 1.0) == pytest.approx(-37.37)  # who sells gets less
    assert slipped_exit(-37.0, -1, 1.0) == pytest.approx(-36.63)  # who buys pays more
    for position in ("long", "short"):
        for price in (30.0, 0.0, -37.0):
            free = net_percentage(position, 20.0, price, 0.0, 0.0)
            assert price == 0.0 or net_percentage(position, 20.0, price, 0.1, 0.0) < free
            assert net_percentage(position, 20.0, price, 0.0, 0.1) < free
            entry = Fill(number=0, kind="entry", at=0, share=1.0, price=20.0)
            costs = {"slippage": 0.1, "fee": 0.1}
            whole = result(position, [entry], rest=1.0, price=price, **costs)
            assert whole.pnl_percentage == pytest.approx(net_percentage(position, 20.0, price, 0.1, 0.1), rel=1e-12)
            assert net_results(position, [entry], rest=1.0, prices=[price], **costs) == pytest.approx(
                [whole.pnl_percentage], rel=1e-12
            )


@pytest.mark.parametrize("leaves", [0.0, -1.0, -20.0])
@pytest.mark.parametrize("position", ["long", "short"])
def test_an_account_holds_its_costs_where_a_position_leaves_at_or_below_zero(position: Any, leaves: float) -> None:
    closes = [20.0] * 6 + [19.0, 19.0, leaves, leaves, leaves, leaves]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        signal = bknb.Signal(position=position, minute_estimated_time=4)
        found = run(closes, signal, percent_slippage=0.1, percent_fee=0.1)
    [net] = found.trades["pnl_percentage"].tolist()
    equity = found.equity.to_numpy()
    assert np.isfinite(equity).all()
    assert equity[-1] == pytest.approx(max(1 + net / 100, 0.0), rel=1e-12)
    # the fee of an entry is its own, 0.1 %, however the position leaves
    [positions] = [positions_of_run(found.run_record)]
    assert positions.entry_fee.tolist() == pytest.approx([0.001], rel=1e-12)
    assert found.account["turnover"] > 0


def test_parts_of_both_signs_cost_by_their_size() -> None:
    fills = [
        Fill(number=0, kind="entry", at=0, share=1.0, price=20.0),
        Fill(number=1, kind="reduce", at=1, share=0.5, price=10.0),
        Fill(number=2, kind="exit", at=2, share=0.5, price=-30.0),
    ]
    found = result("long", fills, slippage=1.0, fee=1.0)
    paid, got = 20.0 * 1.01, 0.5 * 10.0 * 0.99 + 0.5 * -30.0 * 1.01
    fees = paid + 0.5 * 10.0 * 0.99 + 0.5 * 30.0 * 1.01
    assert found.pnl_percentage == pytest.approx(100 * (got - paid) / paid - fees / paid)
    assert found.fee_percentage == pytest.approx(fees / paid)


# --- points -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fills", "slippage", "fee", "points"),
    [
        # bought, sold: without costs it is the difference, wherever zero is
        ([(1, 20), (-1, 25)], 0, 0, 5.0),
        ([(1, -20), (-1, -15)], 0, 0, 5.0),
        ([(1, -2), (-1, 3)], 0, 0, 5.0),
        ([(-1, -15), (1, -20)], 0, 0, 5.0),
        ([(-1, 0), (1, 0)], 1, 1, 0.0),
        # who buys pays more by 10 %, who sells gets less: 22 and 22.5, -18 and -16.5, -1.8 and 2.7
        ([(1, 20), (-1, 25)], 10, 0, 0.5),
        ([(1, -20), (-1, -15)], 10, 0, 1.5),
        ([(1, -2), (-1, 3)], 10, 0, 4.5),
        ([(-1, -15), (1, -20)], 10, 0, 1.5),
        # fees of 10 % of the size of both
        ([(1, 20), (-1, 25)], 0, 10, 0.5),
        ([(1, -20), (-1, -15)], 0, 10, 1.5),
        ([(1, -2), (-1, 3)], 0, 10, 4.5),
        # both: -18 and -16.5 with 1.8 and 1.65 of fees
        ([(1, -20), (-1, -15)], 10, 10, 1.5 - 3.45),
        # parts, and an add at another sign: 4 and -1 bought, 1.5 of 6 and 0.5 of -3 sold
        ([(1, 4), (-1.5, 6), (1, -1), (-0.5, -3)], 0, 0, 9.0 - 1.5 - 3.0),
    ],
)
def test_points_are_what_is_sold_less_what_is_bought(
    fills: list[tuple[float, float]], slippage: float, fee: float, points: float
) -> None:
    assert net_points(fills, slippage=slippage, fee=fee) == pytest.approx(points, abs=1e-12)


def test_points_are_the_percentage_of_the_entry_that_was_paid() -> None:
    costs = {"percent_slippage": 0.3, "percent_fee": 0.2}
    for position, sign in (("long", 1), ("short", -1)):
        trades = run(FALL, bknb.Signal(position=position, minute_estimated_time=8), **costs).trades
        [net], [points], [entry] = (trades[name].tolist() for name in ("pnl_percentage", "points", "price_open"))
        assert points == pytest.approx(net / 100 * entry * (1 + sign * 0.003), rel=1e-12)
        assert points < sign * (-37.0 - 20.0)
    parts = managed({8: [bknb.Add(0.5)], 9: [bknb.Reduce(0.25)], 10: [bknb.Reduce(0.75)]}, minutes(FALL))
    [closed] = parts.run_record.records.closed
    assert parts.trades["points"].tolist() == pytest.approx([closed.pnl.pnl_percentage / 100 * 20.0])


def test_points_are_told_where_prices_may_be_below_zero_and_nowhere_else() -> None:
    signal = {"position": "short", "price_take_profit": -33.0, "price_stop_loss": 30.0}
    below = run(FALL, bknb.Signal(**signal))
    assert below.trades["points"].tolist() == [53.0]
    assert "| Points | 53.00 after costs, each trade of one unit |" in below.report()
    assert "Points (net)" in below._repr_html_()
    assert "points    53.00 after costs" in repr(below)
    assert "Points" in below.tearsheet()._repr_html_()
    above = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
    assert "points" not in above.trades
    assert "Points" not in above.report()


def test_entries_near_zero_are_told_to_weigh_most() -> None:
    closes = [20.0] * 6 + [15.0] * 4 + [1.0] * 10
    signal = bknb.Signal(position="long", minute_estimated_time=2)
    both = run(closes, lambda ctx: signal if ctx.price in (20.0, 1.0) else None, count=99)
    told = "entries lie between 1.00 and 20.00: percentages are of each entry, so that those near zero weigh most"
    assert told in both.report()
    assert told not in run(closes, signal).report()


def test_levels_below_zero_are_taken_by_every_kind_of_source() -> None:
    table = minutes(FALL)
    bknb.add_exchange("made", get_candles=lambda symbol, interval, since, limit: table, negative=True)
    in_hours = bknb.exchanges.in_sessions(from_frame(table, negative=True), "fx")
    for source in ("made", in_hours):
        found = bknb.backtest(
            "CL",
            strategy=lambda: bknb.Signal(position="short", price_take_profit=-33.0, price_stop_loss=30.0),
            interval="15m",
            exchange=source,
            frame=(f"{BEGIN} 00:05", f"{BEGIN} 00:14"),
            settings=FREE,
        )
        assert "points" in found.trades
        assert not found.rejections


def test_a_portfolio_with_a_leg_below_zero_has_points_of_all() -> None:
    def get_signal(ctx: Any) -> Any:
        return bknb.Signal(position="short", minute_estimated_time=5) if ctx.when.minute == 5 else None

    bknb.add_strategy("falls", get_signal=get_signal, interval="1m")
    legs = [("CL", "falls")]
    frame = (BEGIN, f"{BEGIN} 00:19")
    found = bknb.portfolio(legs=legs, exchange=from_frame(minutes(FALL), negative=True), frame=frame, settings=FREE)
    assert found.trades["points"].tolist() == [20.0]  # from 20 to 0


# --- what says so -------------------------------------------------------------------------------------------------


def test_without_the_switch_it_is_refused_by_name(tmp_path: Any) -> None:
    table = minutes(FALL)
    path = tmp_path / "cl.csv"
    table.to_csv(path)
    frame = (f"{BEGIN} 00:05", f"{BEGIN} 00:18")
    for source in (from_frame(table), from_csv(path), lambda symbol, interval, since, limit: table):
        with pytest.raises(
            bknb.BadCandle, match=r"negative=True where the source is made, as in bknb\.exchanges\.from_frame, or of"
        ):
            bknb.backtest("CL", strategy=lambda: None, exchange=source, frame=frame)
    bknb.add_exchange("oil", get_candles=lambda symbol, interval, since, limit: table, negative=True)
    database = sqlite3.connect(":memory:")
    table.reset_index().assign(timestamp=lambda rows: rows["time"].astype(str)).to_sql("oil", database)
    stored = from_query(database, "select timestamp, open, high, low, close, volume from oil", negative=True)
    for source in (from_csv(path, negative=True), stored, "oil"):
        assert len(bknb.backtest("CL", strategy=lambda: None, exchange=source, frame=frame).candles) > 10


def test_what_no_market_has_is_refused_with_it_too() -> None:
    table = minutes([-5.0] * 20)
    table.iloc[9, table.columns.get_loc("high")] = -6.0
    table.iloc[9, table.columns.get_loc("low")] = -7.0
    with pytest.raises(bknb.BadCandle, match="high must not be below open or close"):
        bknb.backtest(
            "CL",
            strategy=lambda: None,
            exchange=from_frame(table, negative=True),
            frame=(f"{BEGIN} 00:05", f"{BEGIN} 00:18"),
        )


def test_a_switch_that_is_none_and_a_source_that_is_made_elsewhere() -> None:
    with pytest.raises(bknb.UsageError, match="negative must be True or False, got 'yes'"):
        from_frame(minutes(FALL), negative="yes")  # type: ignore[arg-type]
    with pytest.raises(bknb.UsageError, match="say it where the source is made"):
        bknb.add_exchange("oil", get_candles=from_frame(minutes([5.0] * 9)), negative=True)


def test_what_needs_prices_above_zero_says_so() -> None:
    source = from_frame(minutes(FALL * 10), negative=True)
    frame = (f"{BEGIN} 00:05", f"{BEGIN} 03:00")
    ranges = {"range_train": [f"{BEGIN}:2020-04-21"], "range_test": "2020-04-22:2020-04-23"}
    bknb.add_strategy("half", get_weight=lambda: 0.5, interval="5m")
    bknb.add_optimizer("ideas", sources=["1h"], **ranges, model=bknb.llm.recorded([]), exchange=source)
    for what, call in {
        "a live run": lambda: bknb.Live.background("CL", strategy=lambda: None, exchange=source),
        "a strategy of weights": lambda: bknb.backtest("CL", strategy="half", exchange=source, frame=frame),
        "an optimizer": lambda: bknb.Optimizer.get_data("CL", "ideas"),
    }.items():
        with pytest.raises(
            bknb.UsageError, match=f"{what} needs prices above 0, and exchange 'frame' has negative=True"
        ):
            call()


def test_prices_below_zero_are_audited_where_they_are(tmp_path: Any) -> None:
    rng = np.random.default_rng(2)
    closes = np.round(0.5 * np.sin(np.arange(600) / 40) + rng.normal(0.0, 0.02, 600), 2)
    closes[300:] -= 30.0
    frame = minutes(closes.tolist()).assign(volume=1.0 + rng.random(600))
    range_ = {"start": f"{BEGIN} 00:00", "end": f"{BEGIN} 10:00"}
    folder = tmp_path / "candles"
    sound = bknb.audit(
        "CL", exchange=from_frame(frame[:300], negative=True), folder=folder, start=BEGIN, end=f"{BEGIN} 05:00"
    )
    assert sound.sound, sound
    found = bknb.audit(
        "CL", exchange=from_frame(frame.drop(frame.index[400:403]), negative=True), folder=folder, **range_
    )
    assert [(one.kind, pd.Timestamp(one.when, unit="ms").minute) for one in found.findings] == [
        ("wild", 0),
        ("absent", 40),
    ]
    assert "-29.9" in found.findings[0].text
    assert " points in a minute, " in found.findings[0].text
    assert not folder.exists()


def test_a_store_keeps_prices_below_zero_of_a_source_that_has_them(tmp_path: Any) -> None:
    """And hands them out where it is said again that they are right."""
    frame = minutes([round(-3 + 4 * np.sin(at / 30), 2) for at in range(600)])
    opens = np.asarray(frame.index.as_unit("ms").asi8)

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        return frame[opens >= since][:limit]

    bknb.add_exchange("power", get_candles=get_candles, negative=True, intervals=["1m"])
    span = (f"{BEGIN} 01:00", f"{BEGIN} 08:00")

    def get_signal(price: float) -> bknb.Signal:
        levels = {"price_take_profit": price - 1, "price_stop_loss": price + 1}
        return bknb.Signal(position="short", minute_estimated_time=60, **levels)

    strategy = bknb.add_strategy("falls", interval="15m", get_signal=get_signal)

    def traded(exchange: Any) -> Any:
        trades = bknb.backtest("CL", strategy=strategy, exchange=exchange, frame=span).trades
        assert (trades["price_open"] < 0).sum() > 3
        return trades

    expected = traded("power")
    folder = tmp_path / "candles"
    stored = bknb.exchanges.stored(bknb.get_exchange("power").source, folder=folder)
    pd.testing.assert_frame_equal(traded(stored), expected)
    range_ = {"start": f"{BEGIN} 01:00", "end": f"{BEGIN} 08:00"}
    assert bknb.download("CL", exchange=stored, warmup_minutes=0, progress=False, **range_).complete
    pd.testing.assert_frame_equal(traded(bknb.exchanges.from_store(folder, negative=True)), expected)
    assert bknb.audit("CL", exchange=stored, **range_).hashes["CL"]
    with pytest.raises(bknb.BadCandle, match="every price must be above 0, unless it is said"):
        traded(bknb.exchanges.from_store(folder))
    bknb.add_exchange("above", get_candles=get_candles, intervals=["1m"])
    with pytest.raises(bknb.BadCandle, match="every price must be above 0, unless it is said"):
        bknb.download("CL", exchange="above", folder=folder, progress=False, **range_)


@pytest.mark.slow
def test_figures_reports_and_pictures_hold_below_zero() -> None:
    path = np.concatenate([np.linspace(20, -37, 900), np.linspace(-37, 12, 900)]).round(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = bknb.backtest(
            "CL",
            strategy=lambda ctx: bknb.Signal(
                position="short", price_take_profit=[(-5.0, 0.5)], price_stop_loss=55.0, minute_estimated_time=240
            ),
            interval="1h",
            exchange=from_frame(minutes(path, spread=0.05), negative=True),
            frame=(f"{BEGIN} 01:00", "2020-04-21 05:00"),
            settings={"max_stop_loss_distance_percent": None},
        )
        below = bknb.backtest(
            "CL",
            strategy=lambda ctx: None,
            interval="1h",
            exchange=from_frame(minutes(path, spread=0.05), negative=True),
            frame=(f"{BEGIN} 12:00", "2020-04-21 05:00"),
        )
        assert found.warnings == []
        assert len(found.report()) > 1000
        assert len(found._repr_html_()) > 1000
        assert "target -5" in found.why(found.trades["signal_id"][0])
        assert len(found.stops)
        assert "target -5" in str(found.at(f"{BEGIN} 03:00").ask())
        assert figure_json(found)["data"]
        assert equity_png(found)[1:4] == b"PNG"
    assert below.account["buy_and_hold"] is None  # nothing is held from a price below zero on
    assert below.account.reasons["buy_and_hold"] == "the first price is at or below zero"
    assert (found.trades["price_close"] < 0).any()


@pytest.mark.slow
def test_a_sweep_has_the_figures_of_its_backtests_below_zero() -> None:
    def get_signals(candles: Any, back: int = 1) -> dict[str, Any]:
        wanted = (np.arange(len(candles.close)) % (back + 1) == 0) & (candles.close > 0.5)
        return {
            "position": -wanted.astype(int),
            "price_take_profit": candles.close - 6.0 * back,
            "price_stop_loss": candles.close + 9.0,
            "minute_estimated_time": np.full(len(wanted), 170.0),
        }

    path = np.concatenate([np.linspace(20, -7, 500), np.linspace(-7, 12, 500)]).round(2)
    source = from_frame(minutes(path), negative=True)
    options: dict[str, Any] = {"interval": "15m", "frame": (f"{BEGIN} 01:00", f"{BEGIN} 16:00"), "exchange": source}
    options["settings"] = {"max_stop_loss_distance_percent": None}
    swept = bknb.sweep(get_signals, symbol="CL", params={"back": [1, 2]}, **options)
    for back, total in zip((1, 2), swept.table["total_pnl"], strict=True):
        alone = bknb.backtest("CL", strategy=lambda candles, back=back: get_signals(candles, back), **options)
        assert total == pytest.approx(alone.trades["pnl_percentage"].sum(), rel=1e-12)
        points = swept.trades(back - 1)["points"].tolist()
        assert points == pytest.approx(alone.trades["points"].tolist(), rel=1e-9)
        assert (alone.trades["price_close"] < 0).any()
