"""Orders of the market's clock in live runs: the events of a backtest, also after restarts, and orders at a broker."""

from __future__ import annotations

import asyncio
import re
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from clocked import DAY, SHORT_DAYS, ClockRow, clock_source, functions_of, numbered, open_times, play
from managed import FREE, told
from scenarios import MINUTE, ORIGIN
from test_market_orders import AT_17, LAST, LEAVING, QUIET, ROWS, long
from test_scheduled_questions import HOURS, ZONE, OpenHoursClock, closed_by, minutes, ms, shown

import bknb
from bknb.brokers.paper_broker import PaperBroker
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.testing.clocks import SimulatedClock

SHORT = 26  # minutes of a row that are lived through: until the second day


class OpenHours(SimulatedClock):
    """A clock that passes over closed hours once the market has been closed for two minutes."""

    async def sleep_until(self, when: int) -> None:
        opens = SHORT_DAYS.next_open(when, when + 5 * DAY)
        closed = opens > when + 3 * MINUTE and when % DAY > 22 * MINUTE
        await super().sleep_until(opens - MINUTE if closed else when)


def lived(row: ClockRow, model: str, *, lives: list[int], late: list[str] | None = None) -> list[str]:
    """The lines of a live run over the minutes of a row, in as many lives, each up to the minute of a number."""
    heard: dict[str, int] = {}
    store, exchange, times = bknb.stores.memory(), clock_source(row), open_times(row.sessions)
    get_signal, manage = functions_of(row)
    strategy = bknb.add_strategy(
        "clocked",
        interval=row.interval,
        at=row.at,
        get_signal=get_signal,
        manage=manage if row.answers else None,
        manage_interval="1m" if row.answers else None,
        execution=model,
    )
    for since, until in pairwise([ORIGIN, *(times[k] for k in lives)]):
        task = bknb.Live.background(
            "BTCUSDT",
            strategy=strategy,
            exchange=exchange,
            clock=OpenHours(since),
            until=until,
            store=store,
            settings=FREE | dict(row.settings),
        )
        result = task.result(timeout=60)
        assert not [one for one in result.errors if one.kind not in ("warm-up", "late")], result.errors
        if late is not None:
            late += [one.message for one in result.errors if one.kind == "late"]
        records = result.run_record.records
        heard |= {numbered(told(event), row.sessions): event.when for event in (*records.events, *records.positions)}
    return sorted(heard)


def expected(row: ClockRow, model: str) -> list[str]:
    """The lines of a backtest that happen in the part that is lived through, without answers that were rejected."""
    lines = [line for line in play(row, model) if not line.startswith("rejected")]
    return sorted(line for line in lines if int(re.findall(r"@([0-9]+)", line)[0]) < SHORT)


WHOLE = [row for row in ROWS if not row.missing and row.sessions is not None]


@cache
def live_rows() -> list[ClockRow]:
    """The rows of which enough happens in the part that is lived through; they are played when they are asked for."""
    return [row for row in WHOLE if len(expected(row, "pessimistic")) > 1]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["pessimistic", "vwap"])
def test_a_live_run_tells_what_a_backtest_does(model: str) -> None:
    for row in live_rows()[:: 8 if model == "pessimistic" else 16]:
        assert lived(row, model, lives=[SHORT]) == expected(row, model), row.name


@pytest.mark.slow
def test_a_restarted_run_tells_what_one_that_went_on_does() -> None:
    for number, row in enumerate(live_rows()[1::8]):
        assert lived(row, "pessimistic", lives=[12 + number % 9, SHORT]) == expected(row, "pessimistic"), row.name


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", [row for row in LEAVING if row in WHOLE and row.end > SHORT][::2], ids=lambda row: row.name
)
def test_what_leaves_before_a_close_is_out_at_it_live_as_well(row: ClockRow) -> None:
    assert row in live_rows()
    for lives in ([SHORT], [19, SHORT]):
        assert lived(row, "pessimistic", lives=lives) == expected(row, "pessimistic")


@pytest.mark.slow
@pytest.mark.parametrize("minutes", [13, None])
def test_what_leaves_before_a_close_sends_one_order(minutes: int | None) -> None:
    """With a market deadline before the close, and without: at the broker it fills when somebody trades again."""
    broker, row = (
        PaperBroker(),
        ClockRow("", {5: long(until="session_end", minute_estimated_time=minutes)}, (), **QUIET),
    )
    strategy = bknb.add_strategy("clocked", interval="1m", get_signal=functions_of(row)[0])
    result = bknb.Live.background(
        "BTCUSDT",
        strategy=strategy,
        exchange=clock_source(row),
        clock=OpenHours(ORIGIN),
        until=open_times(SHORT_DAYS)[24],
        store=bknb.stores.memory(),
        settings=FREE,
        broker=broker,
        quantity=2.0,
    ).result(timeout=60)
    assert result.errors == []
    assert [numbered(told(event), SHORT_DAYS) for event in result.events] == ["opened 100 @5", AT_17]
    assert [(order.side, order.average_price) for order in broker.orders.values()] == [("buy", 100.0), ("sell", 102.0)]


@pytest.mark.slow
def test_an_entry_at_a_close_that_is_out_at_the_next_is_in_time() -> None:
    row = ClockRow("", {5: long(entry="close", until="session_end")}, (), {19: LAST})
    late: list[str] = []
    assert lived(row, "pessimistic", lives=[SHORT], late=late) == expected(row, "pessimistic")
    assert not late


def test_what_ends_in_closed_hours_frees_no_question_of_before() -> None:
    signals = {5: long(until="01:00"), 20: bknb.Signal(position="short")}
    row = ClockRow("", signals, at="00:05 UTC, session_close", interval="1d")
    assert expected(row, "pessimistic") == ["closed time_expired 100 @20", "opened 100 @5"]
    assert lived(row, "pessimistic", lives=[SHORT]) == expected(row, "pessimistic")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signal", "answers", "purpose"),
    [
        (long(until="session_end"), {}, "close"),
        (long(), {8: bknb.Close(at="close")}, "close"),
        (long(entry="close"), {}, "open"),
    ],
    ids=["until", "told by manage", "entry"],
)
def test_an_order_for_the_close_leaves_for_the_broker_at_the_open_of_the_last_minute(
    signal: Any, answers: Any, purpose: str
) -> None:
    broker, row = PaperBroker(), ClockRow("", {5: signal}, (), {19: (100.5, 102, 99, 101)}, answers)
    store = bknb.stores.memory()
    get_signal, manage = functions_of(row)
    strategy = bknb.add_strategy(
        "clocked",
        interval="1m",
        get_signal=get_signal,
        manage=manage if answers else None,
        manage_interval="1m" if answers else None,
    )
    result = bknb.Live.background(
        "BTCUSDT",
        strategy=strategy,
        exchange=clock_source(row),
        clock=SimulatedClock(ORIGIN),
        until=ORIGIN + 22 * MINUTE,
        store=store,
        settings=FREE,
        broker=broker,
        quantity=2.0,
    ).result(timeout=60)
    assert {failure.kind for failure in result.errors} <= {"warm-up"}, result.errors
    (order,) = [order for order in broker.orders.values() if order.side == ("sell" if purpose == "close" else "buy")]
    assert (order.status, order.average_price) == ("filled", 100.5)
    fills = [event for event in result.events if isinstance(event, bknb.Closed if purpose == "close" else bknb.Opened)]
    price = fills[0].price_close if isinstance(fills[0], bknb.Closed) else fills[0].signal.price_open
    assert (len(fills), price) == (1, 101.0)


@pytest.mark.slow
def test_an_entry_for_the_close_that_has_not_left_is_no_trouble_at_a_restart() -> None:
    store, broker, row = bknb.stores.memory(), PaperBroker(), ClockRow("", {5: long(entry="close")}, (), {19: LAST})
    strategy = bknb.add_strategy("clocked", interval="1m", get_signal=functions_of(row)[0])
    for since, until in pairwise([ORIGIN, ORIGIN + 9 * MINUTE, ORIGIN + 22 * MINUTE]):
        assert not broker.orders  # it leaves at the open of the last minute
        task = bknb.Live.background("BTCUSDT", strategy=strategy, exchange=clock_source(row), store=store,
                                    clock=SimulatedClock(since), until=until, settings=FREE, broker=broker,
                                    quantity=2.0)  # fmt: skip
        assert {failure.kind for failure in task.result(timeout=60).errors} <= {"warm-up"}
    assert [(order.side, order.status) for order in broker.orders.values()] == [("buy", "filled")]


# --- a machine that sleeps over a close -----------------------------------------------------------------------------


class Sleeping(OpenHoursClock):
    """A clock that passes over closed hours, and over the time from one moment to another, as a machine asleep does."""

    def __init__(self, start: int, since: int, until: int) -> None:
        super().__init__(start, HOURS)
        self._since, self._until = since, until

    async def sleep_until(self, when: int) -> None:
        asleep = self.now() < self._until and when > self._since
        await (SimulatedClock.sleep_until(self, self._until) if asleep else super().sleep_until(when))


OUT = {"position": "long", "until": "session_end"}
BEFORE = {"position": "long", "until": "session_end-5m"}
NIGHT = {"position": "long", "minute_estimated_time": 600}  # its deadline is at 19:35, when the market is closed
SLEEPS = [  # asleep since, awake again, what is decided at 09:35 on the 26th, what comes of it
    ("09:50", "26 09:58:50", OUT, "closed 26 09:59", 0),  # in time for the last minute
    ("09:50", "26 10:00:20", OUT, "closed 27 09:30", 1),
    ("09:50", "26 23:00", OUT, "closed 27 09:30", 1),
    ("09:50", "27 09:40", OUT, "closed 27 09:40", 1),
    ("09:59:30", "27 09:40", OUT, "closed 26 09:59", 0),  # its order had left
    ("09:50", "26 09:57:20", BEFORE, "closed 26 09:58", 1),  # late for 09:55, before the close
    ("09:50", "26 10:00:20", BEFORE, "closed 27 09:30", 2),
    ("09:50", "27 09:40", BEFORE, "closed 27 09:40", 2),
    ("09:50", "27 09:40", {"position": "long", "entry": "close", "bars": 1}, "cancelled 26 10:00", 1),
    ("09:50", "27 09:40", {**OUT, "price_stop_loss": 99.07}, "closed 26 09:59", 0),  # a stop in the last minute
    ("09:59:30", "26 23:00", NIGHT, "closed 27 09:30", 0),  # nothing could have filled it before
    ("09:59:30", "27 09:31", NIGHT, "closed 27 09:30", 0),
    ("09:59:30", "27 09:31:01", NIGHT, "closed 27 09:32", 1),
]


@pytest.mark.slow
@pytest.mark.parametrize(("asleep", "awake", "signal", "expected", "late"), SLEEPS)
@pytest.mark.parametrize("model", ["pessimistic", "touch"])
def test_a_close_that_a_machine_slept_over_is_not_traded(
    asleep: str, awake: str, signal: dict[str, Any], expected: str, late: int, model: str
) -> None:
    since, until = ms("2024-11-26 09:25", ZONE), ms("2024-11-27 09:50", ZONE)
    whole = minutes(HOURS, "2024-11-22", "2024-12-05")
    first = ms("2024-11-26 09:35", ZONE)
    strategy = bknb.add_strategy(
        "closes", get_signal=lambda ctx: bknb.Signal(**signal) if ctx.when_ms == first else None, at="session_open+5m"
    )
    clock = Sleeping(since, ms(f"2024-11-26 {asleep}", ZONE), ms(f"2024-11-{awake}", ZONE))
    source = bknb.exchanges.in_sessions(closed_by(clock, whole), HOURS)
    live = bknb.Live.background("X", strategy=strategy, exchange=source, clock=clock, until=until, execution=model,
                                store=bknb.stores.memory()).result(timeout=60)  # fmt: skip
    told = live.run_record.records.late
    assert [f"{type(each).__name__.lower()} {shown([each.when])[0]}" for each in live.events][-1] == expected
    assert (len(told), sum(each.count for each in live.errors if each.kind == "late")) == (late, late)
    run = BacktestRun(plan_backtest("X", strategy, whole, (since, until), execution=model), late=dict(told))
    asyncio.run(run.through())
    assert [(each.action, each.when, each.price) for each in run.records.ends] == [
        (each.action, each.when, each.price) for each in live.run_record.records.ends
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("awake", "signal", "sides", "closed"),
    [
        ("26 10:00:20", OUT, ["buy", "sell"], "27 09:30"),
        ("27 09:40", OUT, ["buy", "sell"], "27 09:40"),
        ("27 09:40", {"position": "long", "entry": "close", "bars": 1}, [], ""),
    ],
)
def test_at_a_broker_a_close_that_was_slept_over_is_one_order_afterwards(
    awake: str, signal: dict[str, Any], sides: list[str], closed: str
) -> None:
    since, until = ms("2024-11-26 09:25", ZONE), ms("2024-11-27 09:50", ZONE)
    whole, broker, first = minutes(HOURS, "2024-11-22", "2024-12-05"), PaperBroker(), ms("2024-11-26 09:35", ZONE)
    strategy = bknb.add_strategy(
        "closes", get_signal=lambda ctx: bknb.Signal(**signal) if ctx.when_ms == first else None, at="session_open+5m"
    )
    clock = Sleeping(since, ms("2024-11-26 09:50", ZONE), ms(f"2024-11-{awake}", ZONE))
    source = bknb.exchanges.in_sessions(closed_by(clock, whole), HOURS)
    result = bknb.Live.background("X", strategy=strategy, exchange=source, clock=clock, until=until, broker=broker,
                                  store=bknb.stores.memory(), quantity=2.0).result(timeout=60)  # fmt: skip
    assert [(order.side, order.status) for order in broker.orders.values()] == [(side, "filled") for side in sides]
    assert {each.kind for each in result.errors} == {"late"}
    if closed:
        assert shown([result.run_record.records.ends[-1].when]) == [closed]
        prices = [order.average_price for order in broker.orders.values()]
        assert prices[1] == pytest.approx(result.trades["price_close"].iloc[-1], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("again", [0, 1])
def test_what_was_decided_in_closed_hours_and_never_left_is_not_late_at_the_open(again: int) -> None:
    """The broker fills nothing of a stop entry that the last minute reached, so there is nothing to close there."""
    broker, store, opens = PaperBroker(), bknb.stores.memory(), open_times(SHORT_DAYS)[20]
    signal = long(price_open=105.0, entry="stop", minute_estimated_time=120)
    row = ClockRow("", {5: signal}, (), {19: (100, 106, 99, 101)})
    strategy = bknb.add_strategy("clocked", interval="1m", get_signal=functions_of(row)[0])
    late: list[str] = []
    for since, until in ((ORIGIN, opens - again * MINUTE), (opens + again * MINUTE, opens + 9 * MINUTE)):
        task = bknb.Live.background("BTCUSDT", strategy=strategy, exchange=clock_source(row), store=store,
                                    clock=SimulatedClock(since), until=until, settings=FREE, broker=broker,
                                    quantity=2.0)  # fmt: skip
        result = task.result(timeout=60)
        late += [each.message for each in result.errors if each.kind == "late"]
    assert [(order.side, order.filled_quantity) for order in broker.orders.values()] == [("buy", 0.0)]
    assert [closed.when for closed in result.run_record.records.closed] == [opens]
    assert not late
