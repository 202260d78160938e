"""Bars that count from the open of their market: moments of a run, look-ahead, luck, series; and what needs others."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hostile_replies import reply
from quick import first_quick
from test_base_bars import FREE, frame_of
from test_half_past_bars import HOUR, MARKETS, MINUTE, bars_of

import bknb
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.exchanges.dataframe_source import FrameSource, frame_in_sessions
from bknb.runs.luck import moments_of


def market(name: str, *, declared: bool = True) -> tuple[Any, Any, list[tuple[int, int]]]:
    """A source of hourly bars, their frame, and when its sessions open and close (UTC ms)."""
    given = MARKETS[name]
    spans = given.spans(28)
    table = frame_of(bars_of(given, HOUR, 7))
    source = bknb.exchanges.from_frame(table, symbol="X", sessions=given.sessions if declared else None)
    return source, (spans[5][0], spans[-4][1]), spans


def rises(ctx: Any) -> Any:
    """Honest: it looks at closed bars alone."""
    close = ctx.candles("1h", 3).close
    if close[-1] > close[0]:
        return bknb.Signal(
            position="long", price_take_profit=ctx.price + 3, price_stop_loss=ctx.price - 3, minute_estimated_time=600
        )
    return None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["new york", "two parts"])
def test_a_managed_position_comes_out_again(name: str) -> None:
    source, frame, _ = market(name)
    seen: dict[int, Any] = {}

    def get_signal(price: float) -> Any:
        return bknb.Signal(position="long", price_take_profit=price + 5, price_stop_loss=price - 5)

    def manage(ctx: Any, position: Any) -> Any:
        assert seen.setdefault(ctx.when_ms, position) == position
        stop = position.average_price - 5 + 0.5 * position.bars  # one question more or less shows in the stop
        return bknb.Move(price_stop_loss=stop) if position.bars < 8 else None

    strategy = bknb.add_strategy("managed", interval="1h", get_signal=get_signal, manage=manage)
    result = bknb.backtest("X", strategy=strategy, exchange=source, frame=frame, settings=FREE)
    assert not result.errors
    assert len(seen) > 20
    for when, position in list(seen.items())[::3]:
        moment = result.at(when)
        assert (moment.when_ms, moment.position) == (when, position)
        assert moment.manage().diverged == ""
        assert result.at(when + 29 * MINUTE).when_ms == when  # within a bar nothing new is known
    for event in result.events:
        assert result.at(event.signal.scheduled_at).when_ms == event.signal.scheduled_at


def test_a_run_that_was_stopped_came_to_the_close_of_the_session() -> None:
    source, frame, spans = market("new york")

    def get_signal(when: Any) -> Any:
        return bknb.Signal(position="long", until="session_end") if when.minute == 30 else None

    strategy = bknb.add_strategy(
        "once", interval="1h", get_signal=get_signal, callbacks={"on_close": lambda *_: run.stop()}
    )
    run = BacktestRun(plan_backtest("X", strategy, source, frame, settings=FREE))
    asyncio.run(run.through())
    assert len(run.records.closed) == 1
    assert (run.stopped, run.reached) == (True, spans[5][1])


# --- look-ahead ---


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked", first_quick([{"at": "session_close"}, {"interval": "2h"}, {"interval": "1h"}, {"at": "session_open"}])
)
def test_an_honest_strategy_passes(asked: dict[str, str]) -> None:
    source, frame, _ = market("new york")
    report = bknb.check_lookahead(rises, "X", exchange=source, frame=frame, **asked)
    assert report.ok, report
    assert report.signals > 2


def rows(candles: Any, ahead: int) -> Any:
    """Rows that follow the last close, or with ``ahead`` 1 the next one."""
    rise = np.diff(candles.close, prepend=candles.close[0])
    rise = np.r_[rise[ahead:], np.zeros(ahead)]
    return {
        "position": (rise > 0).astype(int), "price_take_profit": candles.close + 3,
        "price_stop_loss": candles.close - 3, "minute_estimated_time": 600,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [0, 1])
def test_rows_of_candles_that_end_with_their_session_are_judged(ahead: int) -> None:
    """Candles of two hours: the last one of each session is half an hour long, and known at its close."""
    source, frame, _ = market("new york")
    strategy = bknb.add_strategy("rows", interval="2h", get_signals=rows, params={"ahead": ahead}, lookback=9)
    report = bknb.check_lookahead(strategy, "X", exchange=source, frame=frame, moments=20)
    assert report.ok == (ahead == 0), report


@pytest.mark.slow
@pytest.mark.parametrize(("at", "ahead"), [("session_close", 0), ("session_open+2h", 1)])
def test_candles_that_a_strategy_reads_itself_are_judged_by_the_close_of_their_session(at: str, ahead: int) -> None:
    source, frame, _ = market("new york")

    loop = asyncio.new_event_loop()

    def get_signal(ctx: Any) -> Any:
        """The bars of the session so far, the last of which opened half an hour before the close."""
        since = round(ctx.session.open.timestamp() * 1000)
        count = -(-(ctx.when_ms - since) // HOUR) + ahead
        mine = loop.run_until_complete(source.get_candles("X", "1h", since, count))
        side: Any = "long" if mine.close[-1] > mine.open[0] else "short"
        return bknb.Signal(position=side, minute_estimated_time=60)

    report = bknb.check_lookahead(get_signal, "X", exchange=source, frame=frame, at=at, moments=20)
    loop.close()
    found = [each for each in report.findings if "fetched through the variable source" in each.what]
    assert bool(found) == (ahead == 1), report
    assert report.ok == (ahead == 0), report


def test_series_are_joined_at_the_close_of_the_last_bar_of_a_session() -> None:
    source, frame, spans = market("new york")
    close = spans[6][1]
    bknb.add_series("news", {"published_at": [spans[4][0], close, close + 10 * MINUTE], "score": [1.0, 2.0, 3.0]})
    found: list[Any] = []

    def get_signals(candles: Any, unused: int = 0) -> Any:
        del unused
        scores = bknb.get_series("news", candles).score.tolist()
        found.append(dict(zip(candles.timestamp.tolist(), scores, strict=True)))
        bknb.get_series("news", candles[2:])
        with pytest.raises(bknb.UsageError, match="they open when none of its candles does"):
            bknb.get_series("news", bknb.Candles.from_rows([(close - HOUR // 4, 1.0, 1.0, 1.0, 1.0, 1.0)]))
        levels = {"price_take_profit": 1.0, "price_stop_loss": 1.0, "minute_estimated_time": 1}
        return {"position": np.zeros(len(candles)), **levels}

    strategy = bknb.add_strategy("rows", interval="1h", get_signals=get_signals, lookback=5)
    bknb.backtest("X", strategy=strategy, exchange=source, frame=frame)
    last = close - HOUR // 2  # opens half an hour before the close
    assert [found[0][time] for time in (last - HOUR, last, spans[7][0])] == [1.0, 2.0, 3.0]


def test_random_moments_are_of_the_same_hours_by_the_clock_of_the_symbol() -> None:
    given = MARKETS["new york"]
    bars = bknb.Candles.from_rows([tuple(bar) for bar in bars_of(given, HOUR, 7)])
    source, spans = FrameSource({"X": bars}), given.spans(28)
    assert source.sessions is None
    assert source.symbol_sessions["X"] is not None
    result = bknb.backtest("X", strategy=rises, exchange=source, frame=(spans[3][0], spans[-4][1]), interval="1h")
    times = result.candles.timestamp
    local = pd.to_datetime(times, unit="ms", utc=True).tz_convert(given.zone).hour
    hours = moments_of(result, times, 0).hours
    entries = result.trades["pending_at"].dt.tz_convert(given.zone).dt.hour.tolist()
    assert len(entries) > 9
    for hour, first, number in zip(entries, hours.first, hours.number, strict=True):
        assert set(local[hours.minutes[first : first + number]]) == {hour}


# --- an optimizer ---


DRAFT = """import bknb


def get_signal(ctx):
    closes = ctx.candles("1h", 3).close
    up = 1 if closes[-1] >= closes[0] else -1
    return bknb.Signal(
        position="long" if up > 0 else "short", price_take_profit=ctx.price * (1 + up * 0.2),
        price_stop_loss=ctx.price * (1 - up * 0.2), minute_estimated_time=200,
    )
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "declared"),
    [("new york", True), pytest.param("two parts", True, marks=pytest.mark.long),
     pytest.param("mumbai", False, marks=pytest.mark.long)],
)  # fmt: skip
def test_a_trial_of_an_optimizer_is_the_backtest_of_its_code(name: str, declared: bool) -> None:  # noqa: FBT001
    source, _, spans = market(name, declared=declared)
    train, test = (spans[4][0], spans[6][1] - HOUR), (spans[7][0], spans[-4][1])
    shown: list[Any] = []
    bknb.add_optimizer(
        "ideas", sources=["1h", "2h"], range_train=[train], range_test=test, lead_days=5, exchange=source, ledger=None,
        model=bknb.llm.recorded([reply(code=DRAFT, interval="1h", parameters=[])]),
        callbacks={"on_source_data": lambda *told: shown.append(told)},
    )  # fmt: skip
    (proposal,) = bknb.Optimizer.get_data("X", "ideas")
    names: dict[str, Any] = {}
    exec(proposal.code, names)  # noqa: S102
    strategy = bknb.add_strategy(proposal.name, interval="1h", get_signal=names["get_signal"])
    whole = bknb.backtest("X", strategy=strategy, exchange=source, frame=test)
    trades = proposal.test.trades
    assert len(trades) > 3
    assert trades.equals(whole.trades)
    assert proposal.test.run_record.records.missed == 0
    hours = [row["id"] for told in shown for each in told if isinstance(each, list) for row in each]
    assert hours
    assert max(hours) + HOUR <= train[1]


def test_a_part_of_bars_counts_from_no_hours_that_the_whole_does_not_have() -> None:
    source, _, _ = market("new york", declared=False)
    part = {"X": source._of("X")}
    assert frame_in_sessions(part, {"X": None}, name="part").bar_grid("X").in_sessions is False
    assert frame_in_sessions(part, source.symbol_sessions, name="part").bar_grid("X").in_sessions is True


def test_a_symbol_without_a_bar_shows_no_hours() -> None:
    bars = bknb.Candles.from_rows([tuple(bar) for bar in bars_of(MARKETS["new york"], HOUR, 7)])
    source = FrameSource({"A": bars, "B": bknb.Candles.empty()})
    assert source.symbol_sessions["A"] is not None
    assert source.symbol_sessions["B"] is None


def test_the_days_of_a_sweep_are_those_of_the_hours_that_bars_show() -> None:
    bars = bknb.Candles.from_rows([tuple(bar) for bar in bars_of(MARKETS["new york"], HOUR, 7)])

    def get_signal(ctx: Any, ahead: int = 0) -> Any:
        return rises(ctx) if ctx.when.hour > ahead else None

    found = bknb.sweep(
        get_signal, params={"ahead": [15]}, symbol="X", interval="1h", exchange=FrameSource({"X": bars}),
        frame=("2024-10-24", "2024-11-13"),
    )  # fmt: skip
    assert len(found.returns) > 9
    assert (found.returns.index.day_of_week < 5).all()
