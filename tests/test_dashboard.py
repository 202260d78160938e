"""Panels without a browser: bars that keep every extreme, rows rebuilt from events, updates of changed panels only."""

from __future__ import annotations

import hashlib
import re
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from waiting import until

import bknb
from bknb.domain import signal_events as signals
from bknb.domain.signal import OpenSignal
from bknb.events import messages, subjects
from bknb.events.listener_failures import ListenerFailure, ListenerOverflow
from bknb.jupyter.dashboard import static_html
from bknb.jupyter.dashboard.costly_updates import CostlyUpdates
from bknb.jupyter.dashboard.dashboard import Dashboard
from bknb.jupyter.dashboard.event_pump import EventPump
from bknb.jupyter.dashboard.updates import Updates
from bknb.market.candles import Candles
from bknb.reports import dashboard_panels as panels
from bknb.reports import equity_arrays as equity
from bknb.reports.candles_thinned_for_zoom import bar_length, bars
from bknb.reports.dashboard_panels import PANELS
from bknb.reports.dashboard_run import _HANDLERS, RunView
from bknb.reports.dashboard_runs import RunViews
from bknb.reports.equity_png import equity_png
from bknb.reports.portfolio_panels import PORTFOLIO_PANELS

WHERE: dict[str, Any] = {"symbol": "BTCUSDT", "strategy": "sma", "exchange": "demo", "frame": None}
ROW: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "strategy": "sma",
    "exchange": "demo",
    "position": "long",
    "price_open": 100.0,
    "price_take_profit": 110.0,
    "price_stop_loss": 95.0,
    "minute_estimated_time": 60,
    "note": "",
    "scheduled_at": 60_000,
}


def get_signal(price: float, when: Any) -> Any:
    up = 1 if when.hour % 3 else -1
    return bknb.Signal(
        position="long" if up > 0 else "short",
        price_open=price * (1 - up * 0.003) if when.hour % 2 else None,
        price_take_profit=price * (1 + up * 0.02),
        price_stop_loss=price * (1 - up * 0.015),
        minute_estimated_time=300,
        note=f"hour <{when.hour}>",
    )


def not_on_sundays(request: Any) -> None:
    if request.when // 86_400_000 % 7 == 3:
        raise ValueError("no trading on a Sunday")


RUN: dict[str, Any] = {"exchange": "demo", "frame": ("2024-01-01", "2024-01-22")}


@pytest.fixture
def strategy() -> str:
    bknb.add_risk("calm", validations=[not_on_sundays])
    bknb.add_strategy("panel", get_signal=get_signal, interval="15m", risk="calm")
    return "panel"


@pytest.fixture
def result(strategy: str) -> bknb.Result:
    return bknb.backtest("BTCUSDT", strategy=strategy, **RUN)


def view_of(board: Dashboard) -> RunView:
    view = board._views.view
    assert view is not None
    return view


# -- bars ----------------------------------------------------------------------------------------------------------


def walk(count: int, seed: int) -> Candles:
    random = np.random.default_rng(seed)
    close = 100 + np.cumsum(random.standard_normal(count))
    open_ = np.concatenate(([100.0], close[:-1]))
    reach = random.exponential(1.0, (2, count))
    high, low = np.maximum(open_, close) + reach[0], np.minimum(open_, close) - reach[1]
    kept = random.random(count) > 0.02  # gaps
    kept[0] = True
    columns = dict(zip(("open", "high", "low", "close"), (open_, high, low, close), strict=True))
    times = 1_700_000_000_000 // 60_000 * 60_000 + np.arange(count) * 60_000
    return Candles.from_columns(
        timestamp=times[kept], volume=np.ones(kept.sum()), **{name: column[kept] for name, column in columns.items()}
    )


@example(count=542, seed=219, points=3, cut=(0.0, 0.0))  # the second candle is missing
@given(
    count=st.integers(1, 3000),
    seed=st.integers(0, 10_000),
    points=st.integers(3, 400),
    cut=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_bars_keep_every_extreme_and_are_whole(count: int, seed: int, points: int, cut: tuple[float, float]) -> None:
    candles = walk(count, seed)
    times = candles.timestamp
    first, last = (int(times[0] + part * (times[-1] - times[0])) for part in sorted(cut))
    found = bars(candles, start_ms=first, end_ms=last, points=points)
    assert len(found) <= points
    inside = (times >= first) & (times <= last)
    if inside.any():
        assert found.high.max() >= candles.high[inside].max()
        assert found.low.min() <= candles.low[inside].min()
    for at, begin in enumerate(found.time_ms.tolist()):
        within = (times >= begin) & (times < begin + found.step_ms)
        assert begin % found.step_ms == 0
        assert found.open[at] == candles.open[within][0]
        assert found.high[at] == candles.high[within].max()
        assert found.low[at] == candles.low[within].min()
        assert found.close[at] == candles.close[within][-1]


def test_where_there_is_room_bars_are_the_candles() -> None:
    candles = walk(100, 1)
    found = bars(candles, points=102)
    assert found.step_ms == 60_000
    assert found.time_ms.tolist() == candles.timestamp.tolist()
    assert found.close.tolist() == candles.close.tolist()


def test_a_year_of_minutes_fits_on_a_screen() -> None:
    candles = walk(525_600, 2)
    found = bars(candles, points=1000)
    assert 400 < len(found) <= 1000
    assert (found.high.max(), found.low.min()) == (candles.high.max(), candles.low.min())


def test_no_candles_make_no_bars() -> None:
    assert len(bars(Candles.empty(), points=10)) == 0
    assert len(bars(walk(10, 1), start_ms=2_000_000_000_000, points=10)) == 0
    with pytest.raises(bknb.UsageError, match="at least 3"):
        bars(walk(10, 1), points=2)


@given(span=st.integers(1, 10**13), points=st.integers(3, 5000))
def test_a_bar_is_never_so_short_that_the_screen_overflows(span: int, points: int) -> None:
    length = bar_length(span, points)
    assert span / length <= points - 2
    assert length % 60_000 == 0


# -- events of a run -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_events_alone_give_what_the_result_gives(result: bknb.Result) -> None:
    view = view_of(bknb.dashboard(result))
    own, known = panels.equity_info(view), equity.equity_info(result)
    assert len(own) == len(known) > 20
    for name in ("time_ms", "opened_ms", "closed_ms", "price_open", "price_close", "pnl_percent", "drawdown_time_ms"):
        assert getattr(own, name).tolist() == getattr(known, name).tolist()
    assert own.equity == pytest.approx(known.equity)
    assert own.drawdown_percent == pytest.approx(known.drawdown_percent)
    assert (own.sides, own.reasons) == (known.sides, known.reasons)
    assert equity_png(own).startswith(b"\x89PNG")
    shown = {row[0]: row[2] for row in panels.statistics_panel(view)}
    assert {key: shown[key] for key in result.account} == {key: result.account.text(key) for key in result.account}
    for signal in [*result.trades["signal_id"][:5], *result.cancelled["signal_id"][:5]]:
        assert view.why(signal) == result.why(signal)
    assert view.why("nobody") == "no event of a signal 'nobody'"
    assert view.counts["risk"] == len(result.refused) > 0
    assert view.counts["milestones"] == len(result.milestones) > 0
    assert len(view.signals.cancelled) == len(result.cancelled) > 0
    assert not view.signals.levels


def test_a_followed_run_ends_equal_to_the_view_of_its_result(strategy: str) -> None:
    task = bknb.Backtest.background("BTCUSDT", strategy=strategy, **RUN)
    followed = bknb.dashboard(task)
    assert followed.wait(60)
    finished = bknb.dashboard(task.result())
    told, known = view_of(followed), view_of(finished)
    assert [e.signal.id for e in told.signals.trades.events] == [e.signal.id for e in known.signals.trades.events]
    assert told.counts == known.counts
    for name in ("price", "equity", "trades"):
        make = getattr(panels, f"{name}_panel")
        for key, value in make(told).items():
            assert np.array_equal(value, make(known)[key]), key
    for name in ("risk", "milestones", "problems"):
        assert sorted(map(str, panels.table_panel(told, name)["rows"])) == sorted(
            map(str, panels.table_panel(known, name)["rows"])
        )
    assert repr(followed) == repr(finished)


def test_a_dashboard_opened_late_shows_every_event(strategy: str) -> None:
    gate, reached = threading.Event(), threading.Event()

    def slow(price: float, when: Any) -> Any:
        if when.day == 8:
            reached.set()
            gate.wait(30)
        return get_signal(price, when)

    task = bknb.Backtest.background("BTCUSDT", strategy=slow, interval="15m", **RUN)
    assert reached.wait(30)
    board = bknb.dashboard(task)
    assert len(view_of(board).signals.trades) > 0
    gate.set()
    assert board.wait(60)
    assert [e.signal.id for e in view_of(board).signals.trades.events] == task.result().trades["signal_id"].tolist()
    assert view_of(board).counts["milestones"] == len(task.result().milestones)


def test_a_dashboard_does_not_change_the_run(strategy: str, result: bknb.Result) -> None:
    task = bknb.Backtest.background("BTCUSDT", strategy=strategy, **RUN)
    bknb.dashboard(task).wait(60)
    assert task.result().trades.equals(result.trades)


def listeners() -> int:
    return sum(len(subject.subscriptions) for subject in subjects.ALL)


def test_a_dashboard_leaves_no_listener_behind(strategy: str) -> None:
    before = listeners()
    task = bknb.Backtest.background("BTCUSDT", strategy=strategy, **RUN)
    board = bknb.dashboard(task)
    assert board.wait(60)
    board._pump._closed.wait(10)  # type: ignore[union-attr]
    assert listeners() == before
    every = bknb.dashboard()
    assert every.live
    assert listeners() > before
    every.close()
    assert listeners() == before
    assert not every.live


def test_a_failed_run_is_shown_as_failed(strategy: str) -> None:
    def empty(symbol: str, interval: str, since: int, limit: int) -> list[Any]:
        return []

    task = bknb.Backtest.background("BTCUSDT", strategy=strategy, exchange=empty, frame=("2024-01-01", "2024-01-02"))
    board = bknb.dashboard(task)
    assert board.wait(60)
    assert ": failed · 0 trades" in repr(board)
    (row,) = panels.table_panel(view_of(board), "problems")["rows"]
    assert row[0] == "run"


@pytest.mark.slow
def test_a_stopped_run_is_shown_as_stopped(strategy: str) -> None:
    task = bknb.Backtest.background("BTCUSDT", strategy=strategy, exchange="demo", frame=("2020-01-01", "2024-01-01"))
    board = bknb.dashboard(task)
    task.stop(now=True)
    assert board.wait(60)
    assert ": stopped early · " in repr(board)


@pytest.mark.slow
def test_everything_that_runs_is_found(strategy: str) -> None:
    board = bknb.dashboard()
    try:
        tasks = [bknb.Backtest.background(symbol, strategy=strategy, **RUN) for symbol in ("BTCUSDT", "ETHUSDT")]
        for task in tasks:
            task.result()
        assert until(lambda: [row["status"] for row in board._views.runs()] == ["fulfilled"] * 2)
        found = {row["key"][1]: row["trades"] for row in board._views.runs()}
        assert found == {task.symbol: len(task.result().trades) for task in tasks}
    finally:
        board.close()


def test_a_portfolios_legs_do_not_show_an_earlier_backtest_of_their_name(strategy: str) -> None:
    earlier = bknb.Backtest.background("BTCUSDT", strategy=strategy, **RUN)
    earlier.result()
    board = bknb.dashboard()
    try:
        for _ in range(3):  # each takes the place of the views before
            days = ("2024-02-01", "2024-02-03")
            bknb.portfolio(symbols=["BTCUSDT", "ETHUSDT"], strategies=[strategy], exchange="demo", frame=days)
            assert until(lambda: len(board._views.views) == 2 and all(v.over for v in board._views.views.values()))
            with board._lock:
                views = list(board._views.views.values())
                shown = [(view.title, view.start_ms, view.candles is None, board._tasks.get(view)) for view in views]
            assert all(row[1:] == (None, True, None) for row in shown), shown
    finally:
        board.close()


@pytest.mark.slow
def test_a_live_run_is_followed_through_its_quiet_minutes() -> None:
    from bknb.testing.clocks import SimulatedClock

    def always(price: float) -> Any:
        return bknb.Signal(
            position="long", price_take_profit=price * 1.2, price_stop_loss=price * 0.85, minute_estimated_time=1000
        )

    clock = SimulatedClock(1_704_067_200_000)
    task = bknb.Live.background(
        "BTCUSDT",
        strategy=always,
        interval="15m",
        exchange="demo",
        clock=clock,
        until="2024-01-01 03:00",
        store=bknb.stores.memory(),
    )
    board = bknb.dashboard(task)
    assert board.wait(60)
    view = view_of(board)
    assert view.mode == "live"
    assert len(view.series()) >= 170
    (level,) = view.signals.levels.values()
    assert level.is_open
    assert level.percent_tp > 0 or level.percent_sl > 0
    status = panels.status_panel(view, 0.0)
    assert status["facts"]["State on disk"].startswith("MemoryStore")
    assert status["facts"]["Last tick"].startswith("2024-01-01 0")
    assert "target" in static_html.static_html(view, PANELS)


@pytest.mark.slow
def test_a_comparison_is_ranked_as_it_goes(strategy: str) -> None:
    def idle() -> None:
        return None

    def broken() -> None:
        raise RuntimeError("no idea")

    task = bknb.Walker.background(
        "BTCUSDT", strategies=[idle, strategy, broken], metric="n", exchange="demo", frame=("2024-01-01", "2024-01-08")
    )
    board = bknb.dashboard(task)
    assert board.panels == ["status", "problems", "walker"]
    assert board.wait(60)
    assert ": done · 3 of 3 strategies" in repr(board)
    view = view_of(board)
    comparison = task.result()
    assert [row["Strategy"] for row in view.ranking.rows] == [entry.strategy for entry in comparison.entries]
    rows = panels.table_panel(view, "walker")["rows"]
    assert rows[0][:3] == [1, strategy, f"{comparison.entries[0].stats['n']:,}"]
    assert panels.table_panel(view_of(bknb.dashboard(comparison)), "walker")["rows"] == rows
    assert "Ranking (3)" in static_html.static_html(view, board.panels)


# -- single events -------------------------------------------------------------------------------------------------


def opened(**more: Any) -> signals.Opened:
    row = OpenSignal(id="one", pending_at=60_000, **ROW)
    return signals.Opened(**WHERE, mode="live", when=60_000, price=100.0, signal=row, **more)


def test_the_way_to_target_and_stop_follows_quiet_minutes_and_milestones() -> None:
    view = RunView("BTCUSDT", "sma", mode="live")
    view.take(opened())
    (row,) = panels.signals_panel(view)["rows"]
    assert (row["percent_tp"], row["percent_sl"], row["open"]) == (0.0, 0.0, True)
    held = opened().signal
    active = signals.Active(
        **WHERE, mode="live", when=120_000, price=104.0, signal=held, percent_tp=40.0, percent_sl=0.0
    )
    view.take(active)
    assert panels.signals_panel(view)["rows"][0]["percent_tp"] == 40.0
    view.take(signals.Milestone(**WHERE, mode="live", when=180_000, price=97.0, side="loss", level=60, signal=held))
    row = panels.signals_panel(view)["rows"][0]
    assert (row["percent_tp"], row["percent_sl"]) == (0.0, 60.0)
    assert panels.table_panel(view, "milestones")["rows"][0][2] == "▼ 60 % to the stop"


def test_every_kind_of_event_has_a_handler() -> None:
    kinds = {*signals.Event.__args__, messages.ErrorEvent, messages.Progress, messages.Done, messages.Performance}
    kinds |= {messages.WalkerStep, ListenerFailure, ListenerOverflow}
    assert kinds == set(_HANDLERS)


def test_weights_that_were_made_smaller_are_one_row_of_the_problems() -> None:
    view = RunView("BTCUSDT", "sma")
    for when in (60_000, 120_000):
        scaled = signals.Scaled(
            **WHERE, mode="backtest", when=when, price=1.0, symbols=("A",), part=0.5, wanted=2.0, free=1.0
        )
        view.take(scaled)
    ((what, text, where, times, last),) = panels.table_panel(view, "problems")["rows"]
    assert (what, where, times, last) == ("scaled", "", 2, "1970-01-01 00:02")
    assert text.startswith("less was free than its weights take")


def test_errors_are_counted_by_place() -> None:
    view = RunView("BTCUSDT", "sma")
    for at in (1, 2, 3):
        view.take(
            messages.ErrorEvent(kind="strategy", message="ValueError: no", where="cell, line 3", count=at, when=at)
        )
    view.take(ListenerFailure(kind="listener", subject="signal", listener="mine", message="KeyError: x", where=""))
    view.warn(["the data begins late"])
    rows = panels.table_panel(view, "problems")["rows"]
    assert [row[:2] for row in rows] == [
        ["warning", "the data begins late"],
        ["strategy", "ValueError: no"],
        ["listener", "KeyError: x"],
    ]
    assert rows[1][3] == 3


def progress(processed: int) -> messages.Progress:
    return messages.Progress(kind="backtest", **WHERE, total=10_000, processed=processed, progress=processed / 10_000)


def test_rate_and_time_left_are_those_of_the_last_seconds() -> None:
    view = RunView("BTCUSDT", "sma", interval="1h")
    assert view.pace(0.0) == (None, None)
    for second in range(6):
        view.take(progress(100 * second))
        view.pace(float(second))
    for second in range(6, 11):  # ten times as fast from here on
        view.take(progress(500 + 1000 * (second - 5)))
        rate, left = view.pace(float(second))
    assert (rate, left) == (60_000.0, pytest.approx(4.5))
    text = panels.status_panel(view, 10.0)["text"]
    assert text == "running · 55 % · 0 trades · 60 k minutes/s · 0:04 left"


def test_nothing_is_left_after_a_loss_of_everything() -> None:
    """Two shorts at -150 % each: the account is gone with the first, and is not -75 % after the second."""
    view = RunView("BTCUSDT", "sma", interval="1h")
    view.signals.trades.pnl.extend([-150.0, -150.0])
    view.signals.trades.events.extend([None, None])  # type: ignore[list-item]  # only their number is shown
    assert "▼ -100.00 %" in panels.status_panel(view, 0.0)["text"]


# -- many runs -----------------------------------------------------------------------------------------------------


def test_each_view_receives_the_events_of_its_run() -> None:
    views = RunViews()
    idle = {**WHERE, "mode": "live", "when": 60_000, "price": 1.0}
    for symbol in ("BTCUSDT", "ETHUSDT", "BTCUSDT"):
        views.take(signals.Idle(**{**idle, "symbol": symbol}))
    assert [view.symbol for view in views.views.values()] == ["BTCUSDT", "ETHUSDT"]
    assert views.selected == ("live", "BTCUSDT", "sma")
    views.take(messages.ErrorEvent(kind="run", message="StateError: torn", symbol="ETHUSDT", strategy="sma"))
    assert [row["status"] for row in views.runs()] == ["pending", "rejected"]
    views.take(signals.Idle(**{**idle, "symbol": "ETHUSDT"}))  # it was started again
    assert [row["status"] for row in views.runs()] == ["pending", "pending"]


def test_a_dashboard_of_one_run_ignores_other_runs() -> None:
    views = RunViews(RunView("BTCUSDT", "sma", mode="live"))
    views.take(signals.Idle(**{**WHERE, "symbol": "ETHUSDT", "mode": "live", "when": 0, "price": 1.0}))
    views.take(signals.Idle(**WHERE, mode="backtest", when=0, price=1.0))
    assert len(views.views) == 1
    assert views.view is not None
    assert views.view.last_ms is None


# -- updates -------------------------------------------------------------------------------------------------------


class Ticking:
    """A stopwatch that is set by hand and advances a little with every reading."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_a_frame_holds_only_changed_panels(result: bknb.Result) -> None:
    view = view_of(bknb.dashboard(result))
    updates = Updates(RunViews(view), PANELS, seconds=lambda: 0.0)
    first = updates.next()
    assert {"head", "bars", "equity", "trades", "signals", "managed", "figures", "tables", "runs"} == set(first)
    assert updates.next() == {}
    view.take(messages.Performance(**WHERE, mode="backtest", metric="tick", duration_ms=1.5, at=0))
    assert set(updates.next()) == {"tables", "head", "runs"}


def test_what_is_costly_is_done_where_something_changed_and_rests_forty_times_as_long() -> None:
    now, done = [0.0], list[str]()
    updates = CostlyUpdates(seconds=lambda: now[0])

    def work() -> None:
        now[0] += 1.0
        done.append("again" if done else "first")

    def fail() -> None:
        now[0] += 1.0
        raise bknb.DataError("no candles yet")

    with pytest.raises(bknb.DataError):
        updates.do_where_changed("equity", 1, fail)
    updates.do_where_changed("equity", 1, work)  # what failed was not done, and needs no rest
    assert (now[0], done) == (2.0, ["first"])
    now[0] = 40.9
    updates.do_where_changed("equity", 2, work)
    assert done == ["first"]
    now[0] = 41.0  # it began at 1 and took 1
    updates.do_where_changed("equity", 1, work)
    assert done == ["first"]
    updates.do_where_changed("equity", 2, work)
    assert done == ["first", "again"]


def test_a_costly_panel_is_not_made_in_every_frame(result: bknb.Result) -> None:
    view = view_of(bknb.dashboard(result))
    clock = Ticking(0.05)
    updates = Updates(RunViews(view), ["statistics"], seconds=clock)
    assert "figures" in updates.next()
    view.version["statistics"] += 1
    assert "figures" not in updates.next()
    assert updates.more
    clock.now += 10
    assert "figures" in updates.next()
    view.version["statistics"] += 1
    assert "figures" in updates.next(everything=True)


def test_a_window_shows_the_candles_themselves(result: bknb.Result) -> None:
    updates = Updates(RunViews(view_of(bknb.dashboard(result))), ["price", "equity"], seconds=lambda: 0.0)
    start = result.start + 86_400_000
    found = updates.window(start_ms=start, end_ms=start + 3_600_000, points=400)
    candles = result.candles
    first = int(candles.timestamp.searchsorted(start))
    assert found["bars"]["close"].tolist() == candles.close[first : first + 61].tolist()
    inside = (found["equity"]["time"] >= start) & (found["equity"]["time"] <= start + 3_600_000)
    assert len(found["equity"]["time"]) <= inside.sum() + 2


def test_many_events_become_few_frames_and_none_is_lost() -> None:
    received: list[Any] = []
    calls: list[int] = []
    done = threading.Event()

    def frame(events: list[Any]) -> bool | None:
        calls.append(len(events))
        received.extend(event for event in events if getattr(event, "strategy", "") == "flood")
        if received and received[-1].processed == 5000:
            done.set()
            return None
        return False

    pump = EventPump(frame)
    pump.start()
    for at in range(1, 5001):
        subjects.progress_backtest.emit(
            messages.Progress(**{**WHERE, "strategy": "flood"}, kind="backtest", total=5000, processed=at, progress=0.0)
        )
    assert done.wait(60)
    assert [event.processed for event in received] == list(range(1, 5001))
    assert len(calls) < 500
    assert not pump.listening


# -- what remains --------------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """What is in a piece of HTML, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.slow
def test_the_saved_dashboard_is_plain_html(result: bknb.Result) -> None:
    view = view_of(bknb.dashboard(result))
    html = static_html.static_html(view, PANELS, png=static_html.static_png(view))
    tags = Tags(html)
    assert not tags.open
    assert "script" not in tags.seen
    assert tags.seen.count("img") == 1
    text = " ".join(tags.texts)
    assert result.trades["signal_id"].iloc[-1] in text
    assert "hour <" in text  # a note is text, not a tag
    assert "no trading on a Sunday" in text
    assert f"the newest 100 of {len(result.trades):,} trades" in text or f"{len(result.trades):,} trades" in text
    assert len(html) < 400_000


def test_an_empty_dashboard_shows_that_nothing_is_running() -> None:
    assert "nothing is running" in static_html.static_html(None, PANELS)


def test_what_cannot_be_shown_is_refused_with_what_can() -> None:
    with pytest.raises(bknb.UsageError, match="no panel is called 'prise'\nthe panels: status, price"):
        bknb.dashboard(panels=["prise"])
    with pytest.raises(bknb.UsageError, match=r"a task comes from bknb\.Backtest\.background"):
        bknb.dashboard(42)


def test_each_panel_stands_alone(result: bknb.Result) -> None:
    for name in bknb.panels.__all__:
        if name in ("runs", *{*PORTFOLIO_PANELS} - {"status", "equity"}):  # of everything that runs, and of portfolios
            continue
        board = getattr(bknb.panels, name)(result)
        assert board.panels == [{"progress": "status"}.get(name, name)]


# -- what the browser gets -----------------------------------------------------------------------------------------

STATIC = Path(bknb.__file__).parent / "jupyter" / "static"


def test_the_bundle_is_built_from_its_sources() -> None:
    digest = hashlib.sha256()
    for path in sorted((STATIC / "source").iterdir(), key=lambda path: path.name):
        if re.fullmatch(r"[a-z]+\.(js|css)", path.name):
            digest.update(path.read_bytes())
    first = (STATIC / "dashboard.js").read_text(encoding="utf-8").splitlines()[0]
    assert f"sources {digest.hexdigest()[:16]}" in first, "npm run build was forgotten"


def test_the_bundle_is_small_and_needs_no_network() -> None:
    script, style = ((STATIC / name).read_text(encoding="utf-8") for name in ("dashboard.js", "dashboard.css"))
    assert len(script.encode()) < 200_000
    assert not re.findall(r"https?://|import\(|fetch\(|XMLHttpRequest", script + style)
    assert "Leon Sorokin" in (STATIC / "uPlot-LICENSE.txt").read_text(encoding="utf-8")


def test_arrays_travel_as_bytes(result: bknb.Result) -> None:
    pytest.importorskip("anywidget")
    widget = bknb.dashboard(result).widget
    data = widget.get_state()
    times = np.frombuffer(data["trades"]["closed"]["f8"], dtype="<f8")
    assert times.tolist() == [event.closed_at for event in view_of(bknb.dashboard(result)).signals.trades.events]
    assert data["trades"]["pnl"].keys() == {"f4"}
    assert all(isinstance(data["bars"][name]["f8"], bytes) for name in ("time", "open", "high", "low", "close"))
