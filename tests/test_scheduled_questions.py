"""Strategies that are asked by the clock of the market: which moments, what is missed, and the same live."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from quick import first_quick

import bknb
from bknb.domain.schedules import Listed
from bknb.engine.scheduled_questions import DueMoments, ScheduledQuestions, moments_of_bars
from bknb.market.candles import Candles
from bknb.market.candles_of_one_symbol import Series
from bknb.market.sessions import Sessions
from bknb.provenance.strategy_hash import fingerprint, unnamed_fingerprint
from bknb.testing.clocks import SimulatedClock

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
ZONE = "America/New_York"
HOURS = Sessions.weekly(ZONE, {"mon-fri": "09:30-10:00"}, closed=["2024-11-28"], short={"2024-11-29": "09:40"})


def ms(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1000


def shown(moments: list[int], zone: str = ZONE) -> list[str]:
    return [f"{datetime.fromtimestamp(each / 1000, ZoneInfo(zone)):%d %H:%M}" for each in moments]


def minutes(hours: Sessions | None, since: str, until: str, *, without: tuple[tuple[str, str], ...] = ()) -> Any:
    """A source of random minutes in some hours."""
    times = np.arange(ms(since), ms(until), MINUTE)
    if hours is not None:
        times = times[hours.mask(times)]
    for first, end in without:
        times = times[(times < ms(first, ZONE)) | (times >= ms(end, ZONE))]
    steps = np.random.default_rng(5).normal(0, 0.05, len(times))
    close = 100 + np.cumsum(steps)
    opened = np.concatenate([[100.0], close[:-1]])
    table = pd.DataFrame({
        "timestamp": times, "open": opened, "close": close, "volume": 1.0,
        "high": np.maximum(opened, close), "low": np.minimum(opened, close),
    })  # fmt: skip
    return bknb.exchanges.from_frame(table, sessions=hours)


def asked(
    source: Any, frame: tuple[Any, Any] = ("2024-11-25", "2024-12-04"), answer: Any = None, **options: Any
) -> tuple[list[int], bknb.Result]:
    """The moments at which a strategy is asked, and the result."""
    seen: list[int] = []

    def get_signal(ctx: Any) -> Any:
        seen.append(ctx.when_ms)
        return None if answer is None else answer(ctx)

    run = {name: options.pop(name) for name in ("allow_gaps", "settings", "execution") if name in options}
    strategy = bknb.add_strategy("asked", get_signal=get_signal, **options)
    return seen, bknb.backtest("X", strategy=strategy, exchange=source, frame=frame, **run)


SOURCE = minutes(HOURS, "2024-11-22", "2024-12-05")

TABLE = [
    ("session_open+5m", ["25 09:35", "26 09:35", "27 09:35", "29 09:35", "02 09:35", "03 09:35"]),
    ("session_close-5m", ["25 09:55", "26 09:55", "27 09:55", "29 09:35", "02 09:55", "03 09:55"]),
    ("session_open", ["25 09:30", "26 09:30", "27 09:30", "29 09:30", "02 09:30", "03 09:30"]),
    ("session_close", ["25 10:00", "26 10:00", "27 10:00", "29 09:40", "02 10:00", "03 10:00"]),
    ("session_open+15m", ["25 09:45", "26 09:45", "27 09:45", "02 09:45", "03 09:45"]),
    ("month, wed", ["27 09:30", "02 09:30"]),
    ("14:33 UTC", ["25 09:33", "26 09:33", "27 09:33", "29 09:33", "02 09:33", "03 09:33"]),
]


@pytest.mark.parametrize(("at", "expected"), TABLE)
def test_it_is_asked_at_the_moments_of_its_schedule(at: str, expected: list[str]) -> None:
    seen, result = asked(SOURCE, at=at)
    assert shown(seen) == expected
    assert result.missed == 0
    assert result.interval == "1d"


def test_the_candles_of_a_question_at_the_open_are_those_before_it() -> None:
    newest = []

    def get_signal(ctx: Any) -> None:
        newest.append((ctx.when_ms, int(ctx.get_candles("X", "1m", 1).timestamp[0]), ctx.price))

    strategy = bknb.add_strategy("open", at="session_open", get_signal=get_signal)
    bknb.backtest("X", strategy=strategy, exchange=SOURCE, frame=("2024-11-26", "2024-11-27"))
    ((when, last, price),) = newest
    assert shown([when, last]) == ["26 09:30", "25 09:59"]
    assert price == pytest.approx(100, abs=5)


def hold(length: int) -> Callable[[Any], bknb.Signal]:
    return lambda ctx: bknb.Signal(
        position="long",
        price_take_profit=ctx.price * 1.15,
        price_stop_loss=ctx.price * 0.85,
        minute_estimated_time=length,
    )


# how long a position lasts -> when it is asked, and how many moments it misses; 30 minutes of each hour are open
HELD = [
    ({"at": "session_open+5m"}, 10, ["25 09:35", "26 09:35", "27 09:35", "29 09:35", "02 09:35", "03 09:35"], 0),
    ({"at": "session_open+5m"}, 1440, ["25 09:35", "26 09:35", "27 09:35", "29 09:35", "02 09:35", "03 09:35"], 0),
    ({"at": "session_open+5m"}, 1441, ["25 09:35", "27 09:35", "29 09:35", "02 09:35"], 2),
    ({"at": "session_open+5m", "late": "ask"}, 1441, ["25 09:35", "26 09:36", "27 09:37", "29 09:35", "02 09:35",
                                                      "03 09:36"], 0),
    ({"at": "session_open+5m, session_open+7m", "late": "ask"}, 1446, ["25 09:35", "26 09:41", "27 09:47", "29 09:35",
                                                                        "02 09:30", "03 09:36"], 5),
]  # fmt: skip


@pytest.mark.parametrize(("options", "length", "expected", "missed"), HELD)
def test_a_moment_at_which_something_is_open_is_missed(
    options: dict[str, Any], length: int, expected: list[str], missed: int
) -> None:
    seen, result = asked(SOURCE, answer=hold(length), **options)
    assert (shown(seen), result.missed) == (expected, missed)
    assert ("missed of those of at='session_open+5m" in result.report()) is bool(missed)
    assert f", at {options['at']}, " in repr(result)


def test_what_is_managed_misses_nothing_and_is_asked_at_the_same_moments() -> None:
    managed: list[int] = []

    def manage(ctx: Any) -> Any:
        managed.append(ctx.when_ms)
        return bknb.Close() if len(managed) == 2 else None

    seen, result = asked(SOURCE, answer=hold(100_000), at="session_open+5m", manage=manage)
    assert shown(managed)[:2] == ["26 09:35", "27 09:35"]
    assert shown(seen) == ["25 09:35", "27 09:35"]  # closed and asked again at one moment
    assert shown(managed)[2:] == ["29 09:35", "02 09:35", "03 09:35"]
    assert result.missed == 0


def test_manage_has_a_schedule_of_its_own() -> None:
    managed: list[int] = []

    def manage(ctx: Any) -> None:
        managed.append(ctx.when_ms)

    asked(SOURCE, answer=hold(100_000), interval="5m", manage=manage, manage_at="session_close-1m")
    assert shown(managed) == ["25 09:59", "26 09:59", "27 09:59", "29 09:39", "02 09:59", "03 09:59"]
    managed.clear()
    asked(SOURCE, answer=hold(100_000), at="session_open", manage=manage, manage_interval="15m",
          frame=("2024-11-26", "2024-11-27"))  # fmt: skip
    assert shown(managed) == ["26 09:45"]  # as of any strategy: not within five minutes of an open, nor at a close


def test_a_moment_without_a_bar_is_missed_unless_it_is_asked_late() -> None:
    holed = minutes(HOURS, "2024-11-22", "2024-12-05", without=(("2024-11-26 09:33", "2024-11-26 09:39"),))
    seen, result = asked(holed, at="session_open+5m", allow_gaps=True)
    assert (shown(seen)[:3], result.missed) == (["25 09:35", "27 09:35", "29 09:35"], 1)
    seen, result = asked(holed, at="session_open+5m", late="ask", allow_gaps=True)
    assert (shown(seen)[:3], result.missed) == (["25 09:35", "26 09:39", "27 09:35"], 0)
    seen, result = asked(holed, at="session_open+5m, session_open+6m", late="ask", allow_gaps=True)  # once for both
    assert (shown(seen)[2:4], result.missed) == (["26 09:39", "27 09:35"], 1)
    seen, result = asked(holed, at="session_open+3m", allow_gaps=True)  # a bar closes at it
    assert (shown(seen)[:3], result.missed) == (["25 09:33", "26 09:33", "27 09:33"], 0)


def test_rows_of_a_series_are_moments() -> None:
    times = pd.DatetimeIndex(["2024-11-25 14:31:20", "2024-11-26 14:40", "2024-11-26 14:40", "2024-11-27 18:00"])
    rows = pd.DataFrame({"published_at": times, "score": [1, 2, 3, 4]})
    bknb.add_series("news", rows, delay="1m", tz="UTC")
    seen, result = asked(SOURCE, at=bknb.at.series("news"))
    assert (shown(seen), result.missed) == (["25 09:33", "26 09:41"], 0)  # at 13:00 in New York it is closed


def test_a_frame_without_a_moment_is_told() -> None:
    _, result = asked(SOURCE, at="09:00 America/New_York")
    assert any("at='09:00 America/New_York' has no moment in the frame; the market trades mon" in text
               for text in result.warnings)  # fmt: skip
    _, result = asked(SOURCE, at="month_end", frame=("2024-11-25", "2024-11-27"))
    assert any("at='month_end' has no moment in the frame" in text for text in result.warnings)


# --- on longer bars -----------------------------------------------------------------------------------------------


def days(sessions: Any = None) -> Any:
    dates = pd.bdate_range("2024-01-02", "2024-06-28").drop(pd.DatetimeIndex(["2024-03-29", "2024-05-27"]))
    close = 100 + np.cumsum(np.random.default_rng(1).normal(0, 1, len(dates)))
    return bknb.exchanges.from_frame(
        pd.DataFrame({"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 5.0}, index=dates),
        sessions=sessions,
    )


def test_daily_bars_know_days_weeks_and_months() -> None:
    seen, _ = asked(days(), at="month", frame=("2024-01-10", "2024-06-28"))
    assert shown(seen, "UTC") == ["01 00:00", "01 00:00", "01 00:00", "01 00:00", "03 00:00"]
    seen, _ = asked(days(), at="month_end", frame=("2024-02-10", "2024-04-15"))
    assert shown(seen, "UTC") == ["29 00:00", "28 00:00"]  # Good Friday is the 29th of March
    seen, _ = asked(days(), at="mon", frame=("2024-05-15", "2024-06-05"))
    assert shown(seen, "UTC") == ["20 00:00", "03 00:00"]  # the 27th was a holiday
    seen, _ = asked(days(), at="session_close", frame=("2024-05-23", "2024-05-30"))
    assert shown(seen, "UTC") == ["23 00:00", "24 00:00", "25 00:00", "29 00:00", "30 00:00"][: len(seen)]


@pytest.mark.parametrize("at", ["session_open+30m", "07:00 UTC", "mon 07:00 UTC", bknb.at.series("news")])
def test_a_time_of_day_is_refused_on_daily_bars(at: Any) -> None:
    with pytest.raises(bknb.UsageError, match="names times of a day, and the run has 1d bars"):
        asked(days(), at=at)
    with pytest.raises(bknb.UsageError, match=r"manage_at=.*names times of a day"):
        asked(days(), at="month", manage=lambda: None, manage_at=at)


def test_moments_closer_together_than_the_bars_are_refused() -> None:
    index = pd.date_range("2024-01-01", periods=200, freq="h")
    table = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), 5.0), index=index)
    source = bknb.exchanges.from_frame(table)
    frame = ("2024-01-02", "2024-01-05")
    with pytest.raises(bknb.UsageError, match="closer together than one 1h bar"):
        asked(source, at="07:00 UTC, 07:30 UTC", frame=frame)
    seen, _ = asked(source, at="07:30 UTC", frame=frame)  # at the first bar that opens after it
    assert shown(seen, "UTC") == ["02 08:00", "03 08:00", "04 08:00"]


def test_rows_that_become_known_within_one_bar_are_one_question() -> None:
    index = pd.date_range("2024-01-01", periods=200, freq="h")
    table = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), 5.0), index=index)
    times = pd.DatetimeIndex(["2024-01-02 07:05", "2024-01-02 07:40", "2024-01-02 08:00", "2024-01-02 08:01"])
    bknb.add_series("news", pd.DataFrame({"published_at": times, "score": 1.0}), tz="UTC")
    source, frame = bknb.exchanges.from_frame(table), ("2024-01-02", "2024-01-05")
    for at in (bknb.at.series("news"), bknb.at.any(bknb.at.series("news"), "08:00 UTC")):
        seen, result = asked(source, at=at, frame=frame)
        assert (shown(seen, "UTC")[:2], result.missed) == (["02 08:00", "02 09:00"], 2)  # counted: the two before 08:00


# --- wrong use ----------------------------------------------------------------------------------------------------

WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "neither interval nor at"),
    ({"at": "never"}, "no schedule: there is no 'never'"),
    ({"at": "month", "late": "yes"}, "late of strategy 'wrong' must be 'miss' or 'ask', got 'yes'"),
    ({"interval": "1m", "late": "ask"}, "late='ask' and no at"),
    ({"interval": "1m", "manage_at": "month"}, "a manage_at and no manage"),
    ({"at": "month", "manage": lambda: None, "manage_at": "mon", "manage_interval": "1h"}, "both manage_interval and"),
    ({"at": "month", "manage": lambda: None, "manage_at": "never"}, "manage_at='never' is no schedule"),
    ({"at": "month", "get_signal": None, "get_signals": lambda candles: None}, "get_signals answers for each candle"),
]


OF_CANDLES = [
    ("1w", "1w is the interval of a strategy over weekly bars alone; .*\n.*at='mon'"),
    ("1M", "1M is an interval of candles, .*\n.*at='month'"),
]


@pytest.mark.parametrize(("interval", "told"), OF_CANDLES)
def test_weeks_and_months_are_no_intervals_of_a_strategy(interval: str, told: str) -> None:
    with pytest.raises(bknb.UsageError, match=told):
        bknb.backtest(
            "BTCUSDT",
            strategy=bknb.add_strategy("wrong", interval=interval, get_signal=lambda: None),
            exchange="demo",
            frame=("2024-01-01", "2024-02-01"),
        )


@pytest.mark.parametrize(("options", "fault"), WRONG)
def test_wrong_use_says_what_is_expected(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(bknb.UsageError, match=fault):
        bknb.add_strategy("wrong", **{"get_signal": lambda: None, **options})


def test_a_decorator_takes_a_schedule() -> None:
    @bknb.strategy("decorated", at=bknb.at.session_open(minutes=30), late="ask")
    def get_signal() -> None: ...

    made = bknb.get_strategy("decorated")
    assert (made.asked, made.interval, made.late) == ("at session_open+30m", "1d", True)
    again = bknb.backtest("X", strategy="decorated", exchange=SOURCE, frame=("2024-11-25", "2024-11-27"),
                          interval="4h")  # fmt: skip
    assert again.run_record.plan.strategy.at == made.at
    assert again.interval == "4h"


def test_the_card_and_the_strategy_hash_know_the_schedule() -> None:
    cards = []
    for at in ("session_open+5m", "session_open+6m"):
        bknb.add_strategy("carded", at=at, get_signal=lambda: None)
        cards.append(bknb.backtest("X", strategy="carded", exchange=SOURCE, frame=("2024-11-25", "2024-11-26")).card)
    assert cards[0].code.values["asked at"] == "session_open+5m"
    assert any("session_open+6m" in part.text for part in cards[0].diff(cards[1]))

    def fingerprint_of(**options: Any) -> tuple[str, str]:
        made = bknb.add_strategy("carded", get_signal=nothing, manage=nothing, **options)
        return fingerprint(made), unnamed_fingerprint(made)

    def nothing() -> None: ...

    schedules: list[dict[str, Any]] = [{"interval": "1d"}, {"at": "mon"}, {"at": "tue"}, {"at": "mon", "late": "ask"}]
    schedules += [{"at": "mon", "manage_at": "mon"}, {"at": "mon", "manage_at": "tue"}]
    found = [fingerprint_of(**each) for each in schedules]
    assert len({*found}) == len(schedules)
    assert len({one for one, _ in found}) == len({unnamed for _, unnamed in found}) == len(schedules)
    assert fingerprint_of(at="mon") == found[1]


# --- the same in a loop, and live ---------------------------------------------------------------------------------


def asked_plainly(edges: list[int], moments: list[int], step: int, ends: dict[int, int], *, late: bool) -> list[int]:
    """The definition: at each edge of a bar, is something due, and is nothing open?"""
    found, free, told = [], -1, -1
    for when in edges:
        due = [m for m in moments if told < m <= when and (late or when - m < step)]
        if due and when > free:
            found.append(when)
            told, free = when, ends.get(when, when)
        elif due and not late:
            told = max(told, due[-1]) if when - due[-1] >= step else told
    return found


@settings(max_examples=80, deadline=None)
@example(bars={2, 5}, moments={10}, busy={}, late=False)
@given(
    bars=st.sets(st.integers(0, 40), min_size=1),
    moments=st.sets(st.integers(0, 80).map(lambda five: 5 * five), max_size=12),
    busy=st.dictionaries(st.integers(0, 40), st.integers(1, 90)),
    late=st.booleans(),
)
def test_questions_are_those_of_a_plain_loop(
    bars: set[int],
    moments: set[int],
    busy: dict[int, int],
    late: bool,  # noqa: FBT001 -- of Hypothesis
) -> None:
    times = sorted(bar * 10 for bar in bars)
    candles = Candles.from_rows([(time, 1.0, 1.0, 1.0, 1.0, 1.0) for time in times])
    series = Series(candles, step=10, since=0, until=410)
    given_moments = sorted(moments)
    edges = sorted(edge for edge in {*times, *(time + 10 for time in times)} if edge <= times[-1])
    ends = {start * 10: start * 10 + length for start, length in busy.items()}
    questions = ScheduledQuestions(moments_of_bars(series, ()), 10, given_moments, late=late, counts_open=True)
    found, when = [], questions.first(0)
    while when is not None:
        found.append(when)
        when = questions.next(after=ends.get(when, when), asked=when)
    assert found == asked_plainly(edges, given_moments, 10, ends, late=late)


@settings(max_examples=100, deadline=None)
@given(
    moments=st.sets(st.integers(1, 60), max_size=10),
    steps=st.lists(st.integers(1, 5), max_size=40),
    late=st.booleans(),
)
def test_every_moment_of_a_live_run_is_asked_at_or_missed(
    moments: set[int],
    steps: list[int],
    late: bool,  # noqa: FBT001 -- of Hypothesis
) -> None:
    due, when, count = DueMoments(Listed(tuple(m * MINUTE for m in sorted(moments))), since=0, late=late), 0, 0
    for step in steps:
        when += step * MINUTE
        if due.is_due(when, None):
            assert due.is_due(when, None)  # as long as it is not done
            count += 1
            due.done()
    assert count + due.missed == sum(m * MINUTE <= when for m in moments)
    assert due.missed == 0 or not late or count < len(moments)


PARITY: list[dict[str, Any]] = [
    {"at": "session_open"},
    {"at": "session_open+3m, session_close-2m"},
    {"at": "session_close"},
    {"at": "session_open+2m, session_open+4m", "late": "ask"},
    {"at": "session_open", "manages": True},
    {"at": "session_open+2m, session_open+4m", "late": "ask", "manages": True},
    {"at": "session_open+2m, session_open+4m", "late": "ask", "execution": "vwap"},
    {"at": "session_open+3m, session_close-2m", "manages": True, "execution": "vwap"},
    {"interval": "5m", "manages": True, "manage_at": "session_open"},
]


class OpenHoursClock(SimulatedClock):
    """A clock that passes over the time in which a market is closed."""

    def __init__(self, start: int, hours: Sessions, *, late: int = 0) -> None:
        super().__init__(start)
        self._hours, self._late = hours, late

    async def sleep_until(self, when: int) -> None:
        opened = self._hours.next_open(when - when % MINUTE - MINUTE, when + 8 * DAY)
        await super().sleep_until(when if opened <= when else opened + self._late)


def parity(options: dict[str, Any], hours: Sessions, since: int, until: int) -> tuple[Any, Any]:
    """What a live run and a backtest tell over the same minutes: questions and events."""
    clock, found = OpenHoursClock(since, hours), []
    whole = minutes(hours, "2024-11-22", "2024-12-05")
    for live in (False, True):
        seen: list[tuple[int, str]] = []

        def get_signal(ctx: Any, seen: list[tuple[int, str]] = seen) -> Any:
            seen.append((ctx.when_ms, "asked"))
            up = ctx.get_candles("X", "1m", 1).close[-1] * 1000 % 2 < 1
            return bknb.Signal(
                position="long" if up else "short",
                price_take_profit=ctx.price * (1.1 if up else 0.9),
                price_stop_loss=ctx.price * (0.9 if up else 1.1),
                minute_estimated_time=int(ctx.when_ms // MINUTE % 40 + 3),
            )

        def manage(ctx: Any, seen: list[tuple[int, str]] = seen) -> Any:
            seen.append((ctx.when_ms, "managed"))
            return bknb.Close() if ctx.when_ms // DAY % 2 else None

        given_options = {**options, **({"manage": manage} if options.get("manages") else {})}
        given_options.pop("manages", None)
        strategy = bknb.add_strategy("parity", get_signal=get_signal, **given_options)
        if live:
            source = bknb.exchanges.in_sessions(closed_by(clock, whole), hours)
            task = bknb.Live.background("X", strategy=strategy, exchange=source, clock=clock, until=until,
                                        store=bknb.stores.memory())  # fmt: skip
            result = task.result(timeout=60)
        else:
            result = bknb.backtest("X", strategy=strategy, exchange=whole, frame=(since, until))
        ends = [
            (event.signal.pending_at, event.signal.price_open, event.closed_at, event.price_close, event.close_reason)
            for event in result.run_record.records.closed
            if event.closed_at < until
        ]
        found.append((seen, ends, [each for each in result.errors if each.kind != "late"], result.missed))
    return found[0], found[1]


def closed_by(clock: SimulatedClock, source: Any) -> Any:
    """A function that answers the minutes of a source that have closed by a clock."""

    async def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        rows = await source.get_candles(symbol, interval, since, limit)
        return rows[: int(np.searchsorted(rows.timestamp, clock.now() - MINUTE, side="right"))]

    return get_candles


@pytest.mark.parametrize("options", first_quick(PARITY))
def test_a_live_run_asks_as_a_backtest_does(options: dict[str, Any]) -> None:
    since, until = ms("2024-11-27 09:20", ZONE), ms("2024-12-03 10:05", ZONE)
    backtest, live = parity(options, HOURS, since, until)
    assert live == backtest
    assert len(backtest[0]) >= 3
    assert backtest[1]


@pytest.mark.parametrize("start", ["26 09:30", "26 09:29:30", "26 09:30:30"])
@pytest.mark.parametrize("options", [{"at": "session_open"}, {"interval": "1d"}])
def test_a_live_run_that_begins_with_a_session_asks_at_its_open(start: str, options: dict[str, Any]) -> None:
    since, whole = ms(f"2024-11-{start}", ZONE), minutes(HOURS, "2024-11-22", "2024-12-05")
    clock, seen = OpenHoursClock(since, HOURS), list[int]()
    strategy = bknb.add_strategy("opening", get_signal=lambda ctx: seen.append(ctx.when_ms), **options)
    source = bknb.exchanges.in_sessions(closed_by(clock, whole), HOURS)
    bknb.Live.background("X", strategy=strategy, exchange=source, clock=clock, until=ms("2024-11-27 10:05", ZONE),
                         store=bknb.stores.memory()).result(timeout=60)  # fmt: skip
    late = start == "26 09:30:30"  # begins with the next minute
    assert shown(seen) == (["27 09:30"] if late else ["26 09:30", "27 09:30"])


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [False, True])
def test_a_live_run_that_slept_over_an_open_asks_about_it_once(stopped: bool) -> None:  # noqa: FBT001 -- a table's column
    since, until = ms("2024-11-27 09:20", ZONE), ms("2024-12-03 09:50", ZONE)
    clock, whole, store = (
        OpenHoursClock(since, HOURS, late=3 * MINUTE),
        minutes(HOURS, "2024-11-22", "2024-12-05"),
        bknb.stores.memory(),
    )
    seen: list[int] = []

    def get_signal(ctx: Any) -> None:
        seen.append(ctx.when_ms)

    strategy = bknb.add_strategy("slept", at="session_open, session_open+1m", get_signal=get_signal)
    source = bknb.exchanges.in_sessions(closed_by(clock, whole), HOURS)
    for end in (*([ms("2024-11-29 09:31", ZONE)] if stopped else []), until):  # asked before and after a restart
        task = bknb.Live.background("X", strategy=strategy, exchange=source, clock=clock, until=end, store=store)
        assert task.result(timeout=60).missed == 0
    assert shown(seen) == [f"{day} 09:3{minute}" for day in ("27", "29", "02", "03") for minute in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("lives", [["29 09:50"], ["27 09:50", "29 09:50"]])
def test_a_moment_that_is_asked_about_late_is_not_lost_at_a_restart(lives: list[str]) -> None:
    clock, whole, store = (
        OpenHoursClock(ms("2024-11-27 09:20", ZONE), HOURS),
        minutes(HOURS, "2024-11-22", "2024-12-05"),
        bknb.stores.memory(),
    )
    seen: list[int] = []

    def get_signal(ctx: Any) -> Any:
        seen.append(ctx.when_ms)
        return hold(2876)(ctx)

    strategy = bknb.add_strategy("owing", at="session_open+5m, session_open+7m", late="ask", get_signal=get_signal)
    source = bknb.exchanges.in_sessions(closed_by(clock, whole), HOURS)
    for day, time in (each.split() for each in lives):
        task = bknb.Live.background("X", strategy=strategy, exchange=source, clock=clock, store=store,
                                    until=ms(f"2024-11-{day} {time}", ZONE))  # fmt: skip
        task.result(timeout=60)
    assert shown(seen) == ["27 09:35", "29 09:31"]  # that of 09:37 is asked about once the position has ended


def missed_in_lives(options: dict[str, Any], lives: list[str], *, forget: bool = False) -> list[int]:
    """What each of several lives of a run says that was missed so far, up to a day and time each; in November 2024.

    ``forget``: between them the store is as a release left it that did not count.
    """
    clock, whole = OpenHoursClock(ms("2024-11-25 09:20", ZONE), HOURS), minutes(HOURS, "2024-11-22", "2024-12-05")
    store, source, found = bknb.stores.memory(), bknb.exchanges.in_sessions(closed_by(clock, whole), HOURS), []
    strategy = bknb.add_strategy("missing", get_signal=hold(1441), **options)
    for day, time in (each.split() for each in lives):
        task = bknb.Live.background("X", strategy=strategy, exchange=source, clock=clock, store=store,
                                    until=ms(f"2024-11-{day} {time}", ZONE))  # fmt: skip
        found.append(task.result(timeout=60).missed)
        with store:
            saved = msgspec.json.decode(store.read("signal", ("missing", "X")) or b"{}")
            if forget and saved.pop("moments", None):
                store.write("signal", ("missing", "X"), msgspec.json.encode(saved))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # asked on the 25th at 09:35, the 26th at 09:37, the 29th at 09:35
        ({"at": "session_open+5m, session_open+7m"}, [1, 2, 4, 4]),
        # and with late="ask" on the 25th at 09:35, the 26th at 09:36, the 27th at 09:37
        ({"at": "session_open+5m, session_open+7m", "late": "ask"}, [0, 1, 3, 3]),
    ],
)
def test_what_was_missed_is_counted_over_restarts(options: dict[str, Any], expected: list[int]) -> None:
    lives = ["25 09:50", "26 09:36", "27 09:45", "29 09:36"]
    assert missed_in_lives(options, lives) == [missed_in_lives(options, [life])[0] for life in lives] == expected


@pytest.mark.slow
def test_a_run_of_a_release_that_did_not_count_goes_on_from_zero() -> None:
    options = {"at": "session_open+5m, session_open+7m"}
    whole = missed_in_lives(options, ["25 09:50", "27 09:45"])
    assert missed_in_lives(options, ["25 09:50", "27 09:45"], forget=True) == [whole[0], whole[1] - whole[0]]


@pytest.mark.parametrize("options", [{"at": "session_open"}, {"interval": "1d"}])
def test_a_moment_of_a_managed_position_is_asked_again_as_in_the_run(options: dict[str, Any]) -> None:
    """``result.at`` replays the questions of the schedule, at the open of a session too."""
    managed: list[tuple[int, float]] = []

    def manage(ctx: Any, position: Any) -> Any:
        managed.append((ctx.when_ms, position.price_stop_loss))
        return bknb.Move(price_stop_loss=position.price_stop_loss * 1.001)

    _, result = asked(SOURCE, answer=hold(100_000), manage=manage, **options)
    ran = list(managed)
    assert shown([when for when, _ in ran]) == ["26 09:30", "27 09:30", "29 09:30", "02 09:30", "03 09:30"]
    managed.clear()
    found = result.at(datetime.fromtimestamp(ran[2][0] / 1000, ZoneInfo("UTC"))).manage()
    assert found.accepted
    assert (managed[-1][0], managed[-1][1]) == ran[2]
    assert [when for when, _ in managed][:2] == [when for when, _ in ran[:2]]


@pytest.mark.slow
def test_the_look_ahead_check_asks_at_the_moments_of_the_schedule() -> None:
    seen: set[int] = set()

    def get_signal(ctx: Any) -> None:
        seen.add(ctx.when_ms)

    bknb.add_strategy("checked", at="session_open+5m", get_signal=get_signal)
    report = bknb.check_lookahead("checked", symbol="X", exchange=SOURCE, frame=("2024-11-25", "2024-12-04"))
    assert shown(sorted(seen)) == TABLE[0][1]
    assert "on X, at session_open+5m" in repr(report)
