"""What a dashboard draws and stores of managed positions: fills, stops as they moved, targets of a ladder."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from managed_run import run
from msgspec.structs import replace
from scenarios import MINUTE, ORIGIN
from test_by_hand import at, play, rows
from test_dashboard import Tags, view_of
from waiting import until

import bknb
from bknb.domain.signal_events import Added, Closed, Opened
from bknb.jupyter.dashboard.dashboard import Dashboard
from bknb.jupyter.dashboard.dashboard_of_result_or_task import view_of_result
from bknb.jupyter.dashboard.live_stop_levels import LiveStops
from bknb.jupyter.dashboard.static_html import static_html
from bknb.jupyter.dashboard.updates import Updates
from bknb.market.candles_of_one_symbol import Series
from bknb.metrics.reasons import ADDS
from bknb.reports import dashboard_panels
from bknb.reports.dashboard_account import total_return
from bknb.reports.dashboard_panels import PANELS
from bknb.reports.dashboard_run import RunView
from bknb.reports.dashboard_runs import RunViews
from bknb.reports.managed_marks import POINTS
from bknb.reports.managed_panel import managed_panel
from bknb.runs.run_record import Loaded, RunCandles


@pytest.fixture(scope="module")
def added() -> bknb.Result:
    return run(adds=True)


def minutes(times: Any) -> list[float | None]:
    return [None if math.isnan(each) else (each - ORIGIN) / MINUTE for each in times]


def test_the_chart_gets_fills_the_stop_as_it_moved_and_the_targets(added: bknb.Result) -> None:
    found = managed_panel(view_of_result(added))
    parts = list(zip(found["kind"].tolist(), minutes(found["at"]), found["price"], found["share"], strict=True))
    assert parts == [(0, 3, 101.5, 0.5), (1, 3, 104.0, 0.5), (1, 5, 105.5, 0.25)]
    assert found["fills"] == 3
    assert minutes(found["stop_time"])[:-1] == [0, 2, 4, 5, 6, 6]
    assert found["stop_price"][:-1].tolist() == [95.0, 98.0, 102.5, 104.0, 105.0, 105.0]
    targets = zip(minutes(found["target_from"]), minutes(found["target_to"]), found["target_price"], strict=True)
    assert list(targets) == [(0, 3, 104.0)]


def test_a_target_that_moved_is_drawn_where_it_lay() -> None:
    result = run(
        signal=bknb.Signal(side="long", price_take_profit=[(120.0, 0.5), (130.0, 0.25)]),
        manage=lambda position: (
            bknb.Move(price_take_profit=[(120.0, 0.5), (140.0, 0.25)]) if position.minutes == 4 else None
        ),
    )
    found = managed_panel(view_of_result(result))
    targets = zip(minutes(found["target_from"]), minutes(found["target_to"]), found["target_price"], strict=True)
    assert sorted(targets) == [(0, 4, 130.0), (0, 30, 120.0), (4, 30, 140.0)]


def test_a_target_in_front_of_a_moved_ladder_is_the_one_that_is_taken() -> None:
    result = run(
        signal=bknb.Signal(side="long", price_take_profit=[(105.0, 0.5), (130.0, 0.25)]),
        manage=lambda position: (
            bknb.Move(price_take_profit=[(104.0, 0.5), (105.0, 0.5)]) if position.minutes == 2 else None
        ),
        candles={4: (104.0, 104.9, 103.9, 104.5), 5: (104.2,) * 4, 6: (104.2,) * 4},
    )
    found = managed_panel(view_of_result(result))
    targets = zip(minutes(found["target_from"]), minutes(found["target_to"]), found["target_price"], strict=True)
    assert sorted(targets) == [(0, 2, 130.0), (0, 30, 105.0), (2, 3, 104.0)]


def test_while_a_run_goes_on_a_target_has_no_end(added: bknb.Result) -> None:
    view = RunView(added.symbol, added.strategy)
    view.take_all(event for event in added.events if isinstance(event, Opened))
    found = managed_panel(view)
    assert minutes(found["target_to"]) == [None]
    assert (found["fills"], len(found["stop_time"])) == (0, 0)


def test_a_window_has_what_lies_in_it(added: bknb.Result) -> None:
    updates = Updates(RunViews(view_of_result(added)), ["price"], seconds=lambda: 0.0)
    found = updates.window(start_ms=ORIGIN + 5 * MINUTE, end_ms=ORIGIN + 9 * MINUTE, points=100)["managed"]
    assert found["kind"].tolist() == [1]
    assert found["fills"] == 3
    assert len(found["target_from"]) == 0
    empty = updates.window(start_ms=ORIGIN + 20 * MINUTE, end_ms=ORIGIN + 29 * MINUTE, points=100)["managed"]
    assert len(empty["at"]) == len(empty["stop_time"]) == 0


def test_what_is_sent_is_bounded(added: bknb.Result) -> None:
    view = view_of_result(added)
    (closed,) = view.signals.trades.events
    for _ in range(3000):
        view.signals.trades.add(closed)
    (managed,) = view.signals.positions_managed.values()
    view.signals.positions_managed = {(str(n), n): managed for n in range(3000)}
    view.set_stairs([[(k * MINUTE, 1.0), (k * MINUTE + 1, 2.0)] for k in range(3000)])
    found = managed_panel(view)
    assert found["fills"] == 9003
    assert len(found["at"]) <= 1000
    assert len(found["target_from"]) <= 1000
    assert len(found["stop_time"]) <= POINTS
    assert sum(each.nbytes for each in found.values() if isinstance(each, np.ndarray)) < 80_000


def test_a_plain_run_sends_nothing_of_it() -> None:
    plain = bknb.Signal(side="long", price_stop_loss=95.0, price_take_profit=104.0, minute_estimated_time=9)
    view = view_of_result(run(signal=plain, manage=lambda: None))
    assert len(view.signals.trades) == 1
    assert managed_panel(view) == {}
    assert "fills" not in dashboard_panels.trades_panel(view)
    assert "Average entry" not in static_html(view, PANELS)


def test_a_followed_run_is_drawn_as_its_result() -> None:
    made = run()
    frame = (ORIGIN, ORIGIN + 30 * MINUTE)
    task = bknb.Backtest.background("BTCUSDT", strategy="climber", exchange=made.run_record.plan.exchange, frame=frame)
    board = bknb.dashboard(task)
    assert board.wait(60)
    late = bknb.dashboard(task)
    assert late.wait(60)
    finished = view_of(bknb.dashboard(task.result()))
    known = managed_panel(finished)
    assert len(known["at"]) == 2
    for view in (view_of(board), view_of(late)):
        assert len(view.signals.managed) == len(finished.signals.managed) > 3
        told = managed_panel(view)
        for name, value in known.items():
            assert np.array_equal(told[name], value, equal_nan=True), name


def test_a_part_whose_listener_is_ahead_of_the_entry_counts(added: bknb.Result) -> None:
    view = RunView(added.symbol, added.strategy)
    view.take_all(event for event in added.position_events if isinstance(event, Added))
    view.take_all(event for event in added.events if isinstance(event, Opened))
    (row,) = dashboard_panels.signals_panel(view)["rows"]
    assert row["size"] == 1.5


def test_the_stored_tables_have_parts_and_levels_of_now(added: bknb.Result) -> None:
    html = static_html(view_of_result(added), PANELS)
    text = " ".join(Tags(html).texts)
    assert "parts, adds and moved levels (5)" in text
    assert "added 0.5 at 101.5: 1.5 is held at 100.5 on average [stronger]" in text
    assert "moved (strategy): stop 98" in text
    assert "Fills Average entry Why closed" in text
    assert "105.00 5 100.50 trailing stop" in text
    open_still = RunView(added.symbol, added.strategy)
    open_still.take_all(event for event in added.events if not isinstance(event, Closed))
    open_still.take_all(added.position_events)
    told = " ".join(Tags(static_html(open_still, PANELS)).texts)
    assert "State Side Held Entry Targets Stop" in told
    assert "open long 0.75 100.00 none 102.50" in told


# -- live ----------------------------------------------------------------------------------------------------------


def frame_of(task: Any) -> dict[str, Any]:
    """The state that a new dashboard of a task sends, in its first frame."""
    board = Dashboard(task, panels=["price"])
    with board._lock:
        board._take([])
        state = board._updates.next(everything=True)
    board.leave()
    return state


TRAILING: dict[str, Any] = {
    "side": "long",
    "price_stop_loss": 90.0,
    "price_take_profit": [(150.0, 0.5)],
    "trailing": bknb.Trailing(distance=4.0),
}


def test_a_live_trailing_stop_is_drawn_where_it_lies() -> None:
    """Rising minutes move it without an event."""
    seen: dict[str, Any] = {}

    def look(task: Any) -> str:
        seen.update(frame=frame_of(task), position=task.position)
        return ""

    candles = rows(101, 102, 103, 104)
    play({8.5: look}, candles=candles, signal=TRAILING)
    (row,) = seen["frame"]["signals"]["rows"]
    managed = seen["frame"]["managed"]
    assert seen["position"].price_stop_loss == row["stop"] == 99.5
    assert row["targets"] == ["150.00 x 0.5"]
    last = managed["stop_price"][~np.isnan(managed["stop_price"])]
    assert last.tolist() == [96.0, 96.5, 97.5, 98.5, 99.5, 99.5]


def test_a_trailing_stop_whose_candles_are_gone_goes_on_where_it_is_seen() -> None:
    """A live run holds the candles of a day or two; a position may be older."""
    view = RunView("X", "hand", mode="live")
    stops = LiveStops(seconds=lambda: 0.0)

    def look(task: Any) -> str:
        if not view.signals.levels:
            view.take_all(task.events_so_far)
        view.last_ms = task.now
        stops.follow(view, task)
        facts.append(dashboard_panels.status_panel(view, 0.0)["facts"]["Trailing stop"])
        return ""

    facts: list[str] = []
    play({6.5: look, 7.5: look, 9.5: look}, candles=rows(101, 102, 103, 104), signal=TRAILING)
    (stairs,) = view.stairs  # candles were never set: nothing can be worked out from them
    assert minutes([when for when, _ in stairs]) == [1, 6, 7, 9]
    assert [price for _, price in stairs][1:] == [97.5, 98.5, 100.5]
    assert facts == ["known from 2024-01-01 00:06 UTC on; the candles before are not held any more"] * 3


def test_a_dashboard_of_a_run_that_was_started_again_has_the_levels_of_now() -> None:
    """Its events are those of this life; the stop was moved, and a part was closed, in the one before."""
    store, candles = bknb.stores.memory(), rows(100, 100, 110, 100)
    first = {5.5: lambda task: task.move(price_stop_loss=95.0), 6.5: lambda task: task.reduce(0.25)}
    play(first, store=store, until=9, candles=candles)
    boards: list[Dashboard] = []
    totals: list[float | None] = []

    def look(_: Any) -> None:
        until(lambda: [each.size for each in view_of(boards[0]).signals.levels.values()] == [0.75])
        totals.append(total_return(view_of(boards[0])))

    decide = {10.5: lambda task: boards.append(Dashboard(task, panels=["price"])) or "", 12.5: look}
    play(decide, store=store, until=14, candles=candles)
    boards[0].wait(10)
    assert totals == [pytest.approx(2.5, abs=0.5)]  # a quarter at 110, the rest at 100, less costs
    view = view_of(boards[0])
    (row,) = dashboard_panels.signals_panel(view)["rows"]
    assert (row["stop"], row["size"]) == (95.0, 0.75)
    found = managed_panel(view)
    assert list(zip(found["kind"].tolist(), found["at"].tolist(), strict=True)) == [(1, at(7))]


def test_a_position_that_was_added_to_in_an_earlier_life_has_no_equity() -> None:
    """No event of this life tells of the add: what is held does, or its end."""
    held: list[Any] = []

    def manage(position: Any) -> Any:
        held.append(position)
        return bknb.Add(0.5) if position.minutes == 2 else None

    result = run(manage=manage)
    for known in (held[3], None):
        view = RunView(result.symbol, result.strategy, mode="live")
        view.take_all(event for event in result.events if isinstance(event, Opened))
        assert view.signals.no_equity == ""
        if known is None:
            view.take_all(event for event in result.events if isinstance(event, Closed))
        else:
            view.set_held(known)
        assert view.signals.no_equity == ADDS
        assert total_return(view) is None


def test_where_nothing_is_open_there_is_no_position() -> None:
    seen = []
    play({3.5: lambda task: seen.append(task.position), 0.5: lambda task: seen.append(task.position)}, until=5)
    assert [each and each.size for each in seen] == [None, 1.0]


def test_a_trailing_stop_whose_candles_are_gone_is_left_out_not_guessed() -> None:
    result, _, _ = play({}, candles=rows(101, 102, 103, 104), signal=TRAILING, until=10)
    assert len(result.stops) > 1
    record = result.run_record
    series = dict(record.candles.series)
    key = ("X", "1m")
    kept = Series(series[key].candles[-4:], step=MINUTE, since=at(6), until=at(10))
    record = replace(record, candles=RunCandles("X", lambda: Loaded(None, series | {key: kept})))
    assert len(bknb.Result(record).stops) == 0
