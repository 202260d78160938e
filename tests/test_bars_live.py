"""Live runs over bars longer than minutes: the events of a backtest over the same bars, byte for byte."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from bar_loop import Bar
from hand_clock import HandClock
from quick import first_quick, rest_long
from test_base_bars import FAR, FREE, World, answer, frame_of, signal_of, walk, world
from test_live_parity import told

import bknb
from bknb.domain.interval import INTERVAL_MS
from bknb.domain.market_clock_protocol import NEVER
from bknb.domain.signal_events import Closed, Opened
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.exchanges import from_frame
from bknb.market.demo import DemoSource
from bknb.market.session_clock import SessionClock
from bknb.market.sessions import Sessions
from bknb.runs.live_task import TASKS, LiveTask, plan_live
from bknb.testing.clocks import SimulatedClock

HOUR = 3_600_000
SETTINGS = {**FREE, **FAR}


class SleepyClock(SimulatedClock):
    """A machine that wakes late now and then, by up to two and a half bars."""

    def __init__(self, start: int, step: int, seed: int) -> None:
        super().__init__(start)
        self._step, self._random = step, np.random.default_rng(seed)

    async def sleep_until(self, when: int) -> None:
        late = int(self._random.integers(0, 150)) * self._step // 60 if self._random.random() < 0.2 else 0
        await super().sleep_until(when + late // 60_000 * 60_000)


def lived(strategy: Any, source: Any, start: int, until: int, **options: Any) -> bknb.Result:
    """A live run from one moment to another on a clock of its own."""
    given: dict[str, Any] = {"clock": SimulatedClock(start), "store": bknb.stores.memory(), "settings": SETTINGS}
    task = bknb.Live.background("X", strategy=strategy, exchange=source, until=until, **{**given, **options})
    return task.result(timeout=60)


def compared(strategy: Any, source: Any, start: int, until: int, *, gaps: bool = False, **options: Any) -> bknb.Result:
    """A live run whose events are those of a backtest that decides as late."""
    live = lived(strategy, source, start, until, allow_gaps=gaps, **options)
    asked = {name: value for name, value in options.items() if name in ("interval", "at", "execution", "base")}
    plan = plan_backtest("X", strategy, source, (start, until), settings=SETTINGS, allow_gaps=gaps, **asked)
    run = BacktestRun(plan, late=dict(live.run_record.records.late))
    asyncio.run(run.through())
    before = until - 2 * INTERVAL_MS[plan.base]  # what a frame closes at its end is open in a live run
    expected = told(run.records, before=before)
    assert told(live, before=before) == expected
    assert len(expected) > 3
    assert parts(live.run_record.records, before) == parts(run.records, before)
    assert live.base == plan.base
    return live


def parts(records: Any, before: int) -> list[bytes]:
    """What happened to positions between their entry and their end, and to adds."""
    plain = [msgspec.structs.replace(event, mode="live", frame=None) for event in records.positions]
    return [msgspec.json.encode(event) for event in plain if event.when < before]


def drawn(given: World, step: int, seed: int) -> Any:
    """The strategy of a random world."""

    def get_signal(ctx: Any) -> bknb.Signal | None:
        return signal_of(answer(seed, ctx.when_ms, ctx.price, step))

    return bknb.add_strategy("drawn", interval=given.interval, get_signal=get_signal)


WORLDS = [("1h", "touch", "sessions"), ("1d", "pessimistic", "whole")]
MORE = [
    pytest.param(base, model, kind, marks=pytest.mark.long)
    for base in ("1d", "1h")
    for model in ("pessimistic", "touch")
    for kind in ("whole", "sessions")
    if (base, model, kind) not in WORLDS
]


@pytest.mark.slow
@pytest.mark.parametrize(("base", "model", "kind"), [*WORLDS, *MORE])
def test_a_live_run_over_bars_has_the_events_of_a_backtest(base: str, model: str, kind: str) -> None:
    given, step = world(1, base, kind), INTERVAL_MS[base]
    source = from_frame(frame_of(given.bars), sessions=given.sessions)
    live = compared(drawn(given, step, 1), source, given.start, given.end, execution=model)
    assert not live.errors
    assert {type(event) for event in live.events} >= {Opened, Closed}
    assert live.card.base == base


@pytest.mark.slow
@pytest.mark.parametrize("base", ["1d", "1h"])
def test_a_machine_that_wakes_late_decides_as_a_backtest_that_is_told_the_delays(base: str) -> None:
    given, step = world(2, base, "whole"), INTERVAL_MS[base]
    source = from_frame(frame_of(given.bars))
    clock = SleepyClock(given.start, step, 4)
    live = compared(drawn(given, step, 2), source, given.start, given.end, clock=clock)
    late = live.run_record.records.late
    assert len(late) > 1
    assert all(at > when + step for (when, _), at in late.items())  # within a bar it is in time


# --- a kill and a restart --------------------------------------------------------------------------------------------


class Filmed(bknb.stores.MemoryStore):
    """A store that keeps what was on the disk after each change, with the time of the clock."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__()
        self.clock = clock
        self.film: list[tuple[int, dict[Any, bytes]]] = []

    def write(self, kind: str, key: Any, payload: bytes) -> None:
        super().write(kind, key, payload)
        self.film.append((self.clock.now(), dict(self.sealed)))

    def delete(self, kind: str, key: Any) -> None:
        super().delete(kind, key)
        self.film.append((self.clock.now(), dict(self.sealed)))


def ends(result: bknb.Result) -> list[bytes]:
    """What ended, in every life of a run."""
    return [msgspec.json.encode(event) for event in result.run_record.records.ends]


def holding(base: str, **more: Any) -> Any:
    """Managed positions with ladders, trailing stops, and adds that rest; beside them entries that rest."""
    step = INTERVAL_MS[base]

    def get_signal(ctx: Any, price: float) -> bknb.Signal | None:
        which = ctx.when_ms // step % 3
        level = (
            {"price_open": price - 1, "price_stop_loss": price - 6} if which == 1 else {"price_stop_loss": price - 5}
        )
        return bknb.Signal(
            position="long",
            price_take_profit=[(price + 3, 0.5), (price + 7, 0.5)],
            trailing=bknb.Trailing(distance=6.0) if which else None,
            minute_estimated_time=7 * step // 60_000 + 7,
            **level,
        )

    def manage(position: Any) -> Any:
        if position.bars == 2:
            return bknb.Add(share=0.5, price_open=position.price - 1)
        return bknb.Reduce(share=0.2) if position.bars == 4 else None

    return bknb.add_strategy("holding", interval=base, get_signal=get_signal, manage=manage, **more)


@pytest.mark.slow
@pytest.mark.parametrize(("base", "sessions"), [("1h", True), ("1d", False)])
def test_a_run_over_bars_that_is_killed_anywhere_goes_on_as_one_that_never_was(base: str, sessions: bool) -> None:  # noqa: FBT001
    given, step = world(3, base, "sessions" if sessions else "whole"), INTERVAL_MS[base]
    source = from_frame(frame_of(given.bars), sessions=given.sessions)
    start, until = given.start, given.bars[85 if sessions else 115].t
    clock = SimulatedClock(start)
    store = Filmed(clock)
    whole = compared(holding(base), source, start, until, clock=clock, store=store)
    assert {"added", "reduced"} <= {event.action for event in whole.position_events}
    assert len(ends(whole)) > 3
    random = np.random.default_rng(1)
    for at in sorted(random.choice(len(store.film), size=6, replace=False).tolist()):
        when, sealed = store.film[at]
        again = bknb.stores.MemoryStore()
        again.sealed.update(sealed)
        woken = SimulatedClock(when + int(random.integers(0, 2)) * step // 3)
        assert ends(lived(holding(base), source, start, until, clock=woken, store=again)) == ends(whole), at


# --- the clock of the market -----------------------------------------------------------------------------------------


def timed(**fields: Any) -> Any:
    """A long position at each free moment, with how it is to end."""

    def get_signal(price: float) -> bknb.Signal:
        return bknb.Signal(position="long", price_take_profit=price + 9, price_stop_loss=price - 9, **fields)

    return get_signal


CLOCKS: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "weeks": ("1d", "whole", {"at": "mon"}, {"bars": 3}),
    "opens of days": ("1d", "whole", {"at": "session_open"}, {"minute_estimated_time": 3000}),
    "ends of months": ("1d", "whole", {"at": "month_end"}, {"bars": 5}),
    "opens of sessions": ("1h", "sessions", {"at": "session_open"}, {"until": "session_end"}),
    "times of the day": ("1h", "sessions", {"at": "11:30 UTC, 14:00 UTC"}, {"bars": 2}),
    "late moments": ("1h", "sessions", {"at": "10:00 UTC", "late": "ask"}, {"minute_estimated_time": 2000}),
    "session days": ("1h", "sessions", {"interval": "1d"}, {"bars": 2}),
    "closes": ("1h", "sessions", {"interval": "2h"}, {"entry": "close", "minute_estimated_time": 600}),
    "until a time": ("1h", "whole", {"interval": "4h"}, {"until": "16:00"}),
    "closes of days": ("1d", "whole", {"interval": "1d"}, {"until": "session_end"}),
}


@pytest.mark.parametrize(
    "name",
    [
        *first_quick(["weeks", "opens of sessions", "times of the day", "session days", "ends of months"]),
        *rest_long(["opens of days", "late moments", "closes", "until a time", "closes of days"], kept=0),
    ],
)
def test_a_live_run_over_bars_goes_by_the_clock_of_its_market(name: str) -> None:
    base, kind, asked, fields = CLOCKS[name]
    given = world(4, base, kind)
    source = from_frame(frame_of(given.bars), sessions=given.sessions)
    strategy = bknb.add_strategy("timed", get_signal=timed(**fields), **asked)
    until = given.bars[100].t - given.bars[100].t % INTERVAL_MS[base]
    live = compared(strategy, source, given.start, until)
    assert not live.errors
    assert len(live.trades) > 2


@pytest.mark.slow
def test_days_of_a_source_that_tells_the_hours_of_its_market_are_whole_days() -> None:
    given = world(4, "1d", "whole")
    source = from_frame(frame_of(given.bars))
    source.sessions, source.symbol_sessions = Sessions.weekly("America/New_York", {"mon-fri": "09:30-16:00"}), {}
    strategy = bknb.add_strategy("timed", at="session_open", get_signal=timed(bars=2))
    live = compared(strategy, source, given.start, given.bars[80].t)
    assert len(live.trades) > 5


@pytest.mark.slow
def test_questions_at_the_open_of_a_session_are_asked_before_its_first_bar_has_closed() -> None:
    given = world(4, "1h", "sessions")
    source, clock, asked = from_frame(frame_of(given.bars), sessions=given.sessions), SimulatedClock(given.start), []

    def get_signal(ctx: Any) -> None:
        asked.append((ctx.when_ms % (24 * HOUR) // HOUR, clock.now() - ctx.when_ms))

    strategy = bknb.add_strategy("opening", at="session_open", get_signal=get_signal)
    lived(strategy, source, given.start, given.start + 14 * 24 * HOUR, clock=clock)
    assert set(asked) == {(9, 0)}
    assert len(asked) >= 9


@pytest.mark.slow
@pytest.mark.parametrize("lives", [[31], [15, 31, 45]])  # minutes after an open at which a run ends, the next begins
def test_manage_is_asked_once_at_an_open_also_where_a_run_starts_again_within_the_first_bar(lives: list[int]) -> None:
    given, asked = world(4, "1h", "sessions"), []
    source, store = from_frame(frame_of(given.bars), sessions=given.sessions), bknb.stores.memory()
    opens = sorted({bar.t // (24 * HOUR): bar.t for bar in reversed(given.bars)}.values())
    third = [at for at in opens if at > given.start][2]

    def manage(ctx: Any, position: Any) -> None:
        asked.append(ctx.when_ms)

    strategy = bknb.add_strategy(
        "kept", at="session_open", get_signal=lambda: bknb.Signal(position="long", bars=100), manage=manage
    )
    since = given.start
    for end in (*(third + minutes * 60_000 for minutes in lives), third + 30 * HOUR):
        lived(strategy, source, since, end, store=store)
        since = end
    assert len(asked) > 2
    assert asked == sorted(set(asked))
    assert third in asked


# --- bars made of minutes, holes, bars that come late ----------------------------------------------------------------


@pytest.mark.slow
def test_a_base_chosen_for_a_live_run_is_that_of_a_backtest() -> None:
    def get_signal(ctx: Any, price: float) -> bknb.Signal | None:
        closes = ctx.candles("2h", 3).close
        if closes[-1] <= closes[0]:
            return None
        return bknb.Signal(position="long", price_take_profit=price * 1.01, price_stop_loss=price * 0.99)

    start = 1_704_067_200_000 + 5 * 24 * HOUR
    options: dict[str, Any] = {"base": "1h", "interval": "1h"}
    live = compared(get_signal, bknb.exchanges.demo(), start, start + 60 * HOUR, **options)
    assert (live.base, live.card.base, len(live.candles) >= 60) == ("1h", "1h", True)
    assert not live.errors


@pytest.mark.slow
def test_hours_made_of_minutes_have_the_market_fills_of_the_minutes_live() -> None:
    """Of a strategy that the clock alone takes out."""

    def get_signal(ctx: Any) -> bknb.Signal:
        candle = ctx.candles("1h", 1)
        side = "long" if candle.close[-1] > candle.open[-1] else "short"
        return bknb.Signal(side=side, minute_estimated_time=120)

    start = 1_704_067_200_000 + 5 * 24 * HOUR
    strategy = bknb.add_strategy("hourly", interval="1h", get_signal=get_signal)
    one, other = (
        lived(strategy, bknb.exchanges.demo(), start, start + 7 * HOUR, **more).trades for more in ({}, {"base": "1h"})
    )
    columns = ["position", "scheduled_at", "pending_at", "price_open", "closed_at", "price_close"]
    assert len(one) == 3
    pd.testing.assert_frame_equal(one[columns], other[columns])


def late_source(bars: list[Any], step: int, clock: SimulatedClock, *, gone: set[int], delay: int) -> Any:
    """A function with the bars of a table, each ``delay`` ms after its end; some never come."""
    candles = from_frame(frame_of(bars))._of("X")
    candles = candles.take(~np.isin(candles.timestamp, list(gone)))

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        here = candles.take(candles.timestamp + step + delay <= clock.now())
        at = int(here.timestamp.searchsorted(since))
        return here[at : at + limit]

    return bknb.add_exchange("mine", get_candles=get_candles, intervals=[{HOUR: "1h"}.get(step, "1d")])


@pytest.mark.parametrize("gaps", first_quick([False, True]))
def test_a_bar_that_never_comes_is_a_hole_after_the_patience(gaps: bool) -> None:  # noqa: FBT001
    bars = walk(6, "1h", 120)
    clock, gone = SimulatedClock(bars[40].t), {bars[57].t, bars[58].t}
    source = late_source(bars, HOUR, clock, gone=gone, delay=0)
    strategy = drawn(world(2, "1h", "whole"), HOUR, 2)
    live = lived(strategy, source, bars[40].t, bars[100].t, clock=clock, allow_gaps=gaps)
    assert live.run_record.records.holes == [(bars[57].t, bars[59].t)]
    told_of = [error.message for error in live.errors if error.kind == "hole"]
    assert len(told_of) == (0 if gaps else 1)
    if not gaps:
        assert told_of[0].startswith("2 bars of 1h of X are missing: 2024-01-03 09:00 UTC .. 2024-01-03 10:00 UTC")
        assert "did not answer them within 10 minutes" in told_of[0]


class Asleep(SimulatedClock):
    """A machine that sleeps from one moment to another."""

    def __init__(self, start: int, since: int, until: int) -> None:
        super().__init__(start)
        self._since, self._until = since, until

    async def sleep_until(self, when: int) -> None:
        await super().sleep_until(self._until if self._since <= when < self._until else when)


def test_a_late_question_does_not_wait_for_a_bar_behind_its_moment() -> None:
    """The machine wakes when the bar behind the missing one has closed, too."""
    bars, seen = walk(6, "1h", 60), list[int]()
    clock = Asleep(bars[38].t, bars[41].t - HOUR // 60, bars[43].t + HOUR // 6)
    source = late_source(bars, HOUR, clock, gone={bars[41].t}, delay=0)
    strategy = bknb.add_strategy(
        "looks", interval="1h", get_signal=lambda ctx: seen.append(int(ctx.candles("1h", 3).timestamp[-1]))
    )
    live = lived(strategy, source, bars[38].t, bars[46].t, clock=clock)
    assert seen == [bars[at].t for at in (37, 38, 39, 40, 42, 43, 44, 45)]
    assert [error.kind for error in live.errors] == ["hole"]


@pytest.mark.slow
def test_bars_that_come_hours_late_are_decided_on_in_time() -> None:
    """What is decided within a bar of its moment fills at the open of that bar, as in a backtest."""
    bars = walk(6, "1d", 120, weekends=True)
    clock = SimulatedClock(bars[40].t)
    source = late_source(bars, 24 * HOUR, clock, gone=set(), delay=6 * HOUR)
    live = compared(drawn(world(2, "1d", "holes"), 24 * HOUR, 2), source, bars[40].t, bars[70].t, clock=clock)
    assert not live.run_record.records.late
    assert {error.kind for error in live.errors} == {"silence"}


@pytest.mark.slow
@pytest.mark.parametrize(("minutes", "told"), [(8, 0), (12, 1), (240, 1)])
def test_silence_is_told_when_a_bar_is_ten_minutes_late(minutes: int, told: int) -> None:
    bars = walk(6, "1h", 120)
    clock = SimulatedClock(bars[40].t)
    source = late_source(bars[:60], HOUR, clock, gone=set(), delay=0)
    live = lived(lambda: None, source, bars[40].t, bars[60].t + HOUR + minutes * 60_000, clock=clock)
    silences = [error for error in live.errors if error.kind == "silence"]
    assert [error.count for error in silences] == [1] * told
    for error in silences:
        assert "no 1h bar of X has come from 'mine' since 2024-01-03 12:00 UTC, for 10 minutes" in error.message


def holed_hours() -> Any:
    """The flat hours without two, 30 and 31."""
    index = pd.date_range("2024-01-01", periods=len(FLAT), freq="h", tz="UTC")
    table = pd.DataFrame(FLAT, columns=["open", "high", "low", "close"], index=index).assign(volume=1.0)
    return from_frame(table.drop(index[30:32]), symbol="X")


def played(strategy: Any, until: int = 50, **options: Any) -> Any:
    """A backtest over them."""
    frame = (hour(22), hour(until))
    return bknb.backtest("X", strategy=strategy, exchange=holed_hours(), frame=frame, allow_gaps=True, **options)


def hours_of(results: Sequence[Any], table: str) -> list[float]:
    """When the first of each ended, in hours."""
    return [(getattr(each, table)["closed_at"].iloc[0].value // 10**6 - hour(0)) / HOUR for each in results]


@pytest.mark.parametrize("ends", [(50,), (31, 36, 50)], ids=["one life", "three lives"])
def test_the_twenty_bars_that_an_entry_rests_are_those_that_came(ends: tuple[int, ...]) -> None:
    """Two hours never come; the second life begins within them, the third behind them."""

    def get_signal(ctx: Any) -> bknb.Signal | None:
        return bknb.Signal(side="long", price_open=50.0) if ctx.when_ms == hour(25) else None

    strategy = bknb.add_strategy("rests", interval="1h", get_signal=get_signal)
    options = {"allow_gaps": True, "store": bknb.stores.memory(), "clock": SimulatedClock(hour(22))}
    for end in ends:
        live = lived(strategy, holed_hours(), hour(22), hour(end), **options)
    assert hours_of((live, played(strategy)), "cancelled") == [25 + 22, 25 + 22]


COUNTED: dict[str, tuple[dict[str, Any], dict[int, Any], float]] = {
    # the signal at 25, answers by hour, and when it ends: the hours 30 and 31 never come
    "bars": ({"bars": 20}, {}, 25 + 22),
    "bars that end before": ({"bars": 4}, {}, 25 + 4),
    "bars and minutes": ({"bars": 20, "minute_estimated_time": 21 * 60}, {}, 25 + 21),
    "bars and a moment": ({"bars": 20, "until": "1260m"}, {}, 25 + 21),
    "moved bars": ({"bars": 5}, {26: bknb.Move(bars=12)}, 25 + 14),
    "moved behind the hole": ({"bars": 30}, {34: bknb.Move(bars=12)}, 25 + 14),
    "moved to minutes": ({"bars": 5}, {26: bknb.Move(minute_estimated_time=12 * 60)}, 25 + 12),
    "bars of four hours": ({"bars": 4}, {}, 40),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ends"), [("bars", (50,)), ("moved bars", (50,)), *((name, (28, 33, 50)) for name in COUNTED)]
)
def test_the_bars_of_a_live_position_are_those_that_came(name: str, ends: tuple[int, ...]) -> None:
    """Also of one that is started again before and behind the hole."""
    signal, answers, closed = COUNTED[name]
    interval, at = ("4h", 24) if "four" in name else ("1h", 25)
    strategy = bknb.add_strategy(
        "holds", interval=interval,
        get_signal=lambda ctx: signal | {"side": "long"} if ctx.when_ms == hour(at) else None,
        manage=lambda ctx: answers.get((ctx.when_ms - hour(0)) // HOUR), manage_interval="1h",
    )  # fmt: skip
    options = {"allow_gaps": True, "store": bknb.stores.memory(), "clock": SimulatedClock(hour(22)), "base": "1h"}
    for end in ends:
        live = lived(strategy, holed_hours(), hour(22), hour(end), **options)
    assert hours_of((live, played(strategy, base="1h")), "trades") == [closed, closed]


@pytest.mark.slow
@pytest.mark.parametrize("ends", [(58,), (28, 33, 58)], ids=["one life", "three lives"])
def test_the_twenty_bars_that_an_add_and_a_part_of_an_entry_rest_are_those_that_came(ends: tuple[int, ...]) -> None:
    """An add of 27 that is moved at 28 is taken back 22 hours after the former, a part of the entry of 25 then."""
    answers = {27: bknb.Add(1.0, price_open=50.0), 28: bknb.Move(price_open=51.0, id="holds-X-20240102T0100#2")}
    strategy = bknb.add_strategy(
        "holds", interval="1h", manage_interval="1h",
        get_signal=lambda ctx: bknb.Signal(side="long", price_open=[(110.0, 0.5), (40.0, 0.5)], price_stop_loss=30.0)
        if ctx.when_ms == hour(25) else None,
        manage=lambda ctx: answers.get((ctx.when_ms - hour(0)) // HOUR),
    )  # fmt: skip
    options = {"allow_gaps": True, "store": bknb.stores.memory(), "clock": SimulatedClock(hour(22))}
    for end in ends:
        live = lived(strategy, holed_hours(), hour(22), hour(end), **options)
    over_history = played(strategy, until=58)
    for result in (live, over_history):
        taken = [
            ((event.when - hour(0)) // HOUR, event.number)
            for event in result.run_record.records.positions
            if isinstance(event, bknb.AddCancelled) and event.reason == "timeout"
        ]
        assert taken == [(25 + 22, 1), (27 + 22, 3)], result.rejections


DAYTIME = bknb.Sessions.weekly("UTC", {"mon-fri": "09:00-17:00"})


@pytest.mark.parametrize("interval", [1, 2, 4, 24])
@pytest.mark.parametrize("sessions", [None, DAYTIME], ids=["always open", "daytime"])
def test_candles_in_which_no_bar_came_are_none(sessions: Any, interval: int) -> None:
    """A clock that knows what is gone says what one says that knows what came."""
    random, count = np.random.default_rng(interval), 24 * 40
    hours = [at for at in range(count) if sessions is None or (at // 24 % 7 < 5 and 9 <= at % 24 < 17)]
    gone = [hours[at] for at in range(len(hours)) if random.random() < 0.2 or 30 < at % 100 < 60]
    came = np.array([hour(at) for at in hours if at not in gone])
    knows = SessionClock(sessions, interval * HOUR, step=HOUR, times=came)
    learns = SessionClock(sessions, interval * HOUR, step=HOUR, gone=[(hour(at), hour(at + 1)) for at in gone])
    for opened in (int(each) for each in random.choice(came[: len(came) // 2], 12)):
        for wanted in (1, 2, 5, 20):
            expected = knows.candles_closed(opened, wanted)
            assert expected == NEVER or learns.candles_closed(opened, wanted) == expected


class Pushing(DemoSource):
    """A source that can push minutes, and is not asked to."""

    class stream:  # noqa: N801 -- an attribute of sources
        @staticmethod
        def follow(symbol: str) -> None:
            raise AssertionError(symbol)


def test_a_run_over_longer_bars_has_no_minutes_pushed() -> None:
    start = 1_704_067_200_000 + 5 * 24 * HOUR
    live = lived(lambda: None, Pushing(), start, start + 3 * HOUR, base="1h")
    assert not live.errors
    assert len(live.candles) == 3


# --- by hand, and at a broker ----------------------------------------------------------------------------------------

FLAT = [
    (100.0 + at / 10, 101.0 + at / 10, 99.0 + at / 10, 100.0 + at / 10) for at in range(60)
]  # open, high, low, close


def flat_hours() -> Any:
    """Hours from 2024-01-01 on, each a tenth higher than the one before."""
    index = pd.date_range("2024-01-01", periods=len(FLAT), freq="h", tz="UTC")
    return from_frame(pd.DataFrame(FLAT, columns=["open", "high", "low", "close"], index=index).assign(volume=1.0))


def hour(at: float) -> int:
    return 1_704_067_200_000 + round(at * HOUR)


def decided(decisions: dict[float, Any], **options: Any) -> tuple[bknb.Result, list[str], Any]:
    """A live run over hours that opens a long at 25 o'clock, in which something is decided by hand."""

    def get_signal(ctx: Any) -> bknb.Signal | None:
        return bknb.Signal(position="long", price_stop_loss=90.0) if ctx.when_ms == hour(25) else None

    clock = HandClock(hour(22), {hour(at): decide for at, decide in decisions.items()})
    given = {"strategy": bknb.add_strategy("hand", interval="1h", get_signal=get_signal), "exchange": flat_hours()}
    plan = plan_live(
        "X", clock=clock, until=hour(40), store=bknb.stores.memory(), settings=SETTINGS, **given, **options
    )
    clock.task = task = TASKS.add(LiveTask(plan))
    task.start()
    return task.result(30), clock.answers, task


def test_what_is_decided_by_hand_within_a_bar_fills_at_the_open_of_the_next() -> None:
    result, answers, _ = decided({28.3: lambda task: task.reduce(0.5), 30.4: lambda task: task.close("enough")})
    trade = result.trades.iloc[0]
    assert (trade["closed_at"], trade["price_close"]) == (pd.Timestamp(hour(31), unit="ms", tz="UTC"), 103.1)
    assert answers[0].endswith("at the open of the first candle from 2024-01-02 05:00 UTC on")
    assert "2024-01-02 07:00 UTC" in answers[1]
    assert result.fills["price"].tolist()[:2] == [102.5, 102.9]


def test_a_level_that_is_moved_by_hand_within_a_bar_holds_from_the_next_on() -> None:
    result, answers, _ = decided({30.4: lambda task: task.move(price_stop_loss=102.4)})
    assert "in force from 2024-01-02 07:00 UTC on" in answers[0]
    trade = result.trades.iloc[0]  # the low of the bar of 7 o'clock is 102.1, that of 6 o'clock, 102.0, came before
    assert (trade["closed_at"], trade["price_close"]) == (pd.Timestamp(hour(31), unit="ms", tz="UTC"), 102.4)


def test_a_broker_on_paper_fills_at_the_opens_of_bars() -> None:
    result, _, task = decided({30.4: lambda task: task.close()}, broker=bknb.brokers.paper(), quantity=2.0)
    orders = task.orders
    assert orders["status"].tolist() == ["filled", "filled"]
    assert orders["average_price"].tolist() == [102.5, 103.1]
    assert not result.errors


@pytest.mark.slow
def test_an_order_for_bars_that_come_late_is_in_time_at_a_broker_on_paper() -> None:
    def get_signal(ctx: Any) -> bknb.Signal | None:
        return bknb.Signal(side="long", minute_estimated_time=180) if ctx.when_ms == hour(25) else None

    clock = SimulatedClock(hour(22))
    bars = [Bar(hour(at), *prices, 1.0) for at, prices in enumerate(FLAT)]
    source = late_source(bars, HOUR, clock, gone=set(), delay=HOUR // 3)
    options: dict[str, Any] = {"broker": bknb.brokers.paper(), "quantity": 2.0, "clock": clock}
    task = bknb.Live.background(
        "X", strategy=bknb.add_strategy("late", interval="1h", get_signal=get_signal), exchange=source,
        until=hour(32), store=bknb.stores.memory(), settings=SETTINGS, **options,
    )  # fmt: skip
    result = task.result(30)
    assert result.trades[["price_open", "price_close"]].iloc[0].tolist() == [102.5, 102.8]
    assert task.orders["average_price"].tolist() == [102.5, 102.8]
    assert not result.run_record.records.late


# --- where a run begins and ends -------------------------------------------------------------------------------------


def test_a_run_that_is_started_within_a_bar_begins_at_its_end_and_one_that_ends_within_one_decides_nothing_in_it() -> (
    None
):
    asked: list[float] = []

    def get_signal(ctx: Any) -> None:
        asked.append((ctx.when_ms - hour(0)) / HOUR)

    clock = SimulatedClock(hour(22.3))
    live = lived(get_signal, flat_hours(), hour(22.3), hour(26.5), clock=clock)
    assert asked == [23, 24, 25, 26]
    assert clock.now() == hour(26.5)
    assert not live.warnings
    assert not live.errors


def test_a_run_that_is_stopped_ends_when_its_position_does() -> None:
    def get_signal(price: float) -> bknb.Signal:
        return bknb.Signal(position="long", price_stop_loss=price - 9, minute_estimated_time=200)

    strategy = bknb.add_strategy("stopped", interval="1h", get_signal=get_signal)
    task = LiveTask(plan_live("X", strategy=strategy, exchange=flat_hours(), clock=(clock := HandClock(hour(22), {})),
                              store=bknb.stores.memory(), until=hour(40), settings=SETTINGS))  # fmt: skip
    clock.task = TASKS.add(task)
    clock._left = {hour(23.5): lambda task: task.stop()}
    task.start()
    result = task.result(30)
    assert result.trades["closed_at"].tolist() == [pd.Timestamp(hour(26), unit="ms", tz="UTC")]
    assert clock.now() == hour(27)  # when the bar in which it left has closed


@pytest.mark.parametrize("fields", [{"minute_estimated_time": 5_600}, {"price_open": 50.0, "valid": 5_600}])
def test_a_run_that_starts_again_on_a_weekend_asks_nothing_of_before_what_ended_on_it(fields: dict[str, Any]) -> None:
    """What the clock ends on Sunday frees no question of Saturday, with or without a restart in between."""
    index = pd.date_range("2024-01-01", periods=40, freq="B", tz="UTC")
    table = pd.DataFrame({"open": 100.0, "high": 101.0, "low": 99.0, "close": 100.0, "volume": 1.0}, index=index)
    asked: list[str] = []

    def get_signal(when: Any) -> bknb.Signal | None:
        asked.append(f"{when:%d}")
        return bknb.Signal(position="long", price_stop_loss=40.0, **fields) if when.day == 10 else None

    strategy = bknb.add_strategy("sunday", interval="1d", get_signal=get_signal)
    moments = [pd.Timestamp(f"2024-01-{at}").value // 10**6 for at in ("09", "14 10:00", "18")]
    for lives in ([0, 2], [0, 1, 2]):
        asked.clear()
        store = bknb.stores.memory()
        for first, last in itertools.pairwise(lives):
            lived(strategy, from_frame(table, symbol="X"), moments[first], moments[last], store=store)
        assert asked == ["09", "10", "16", "17", "18"]


def minutes_of(hours: int) -> Any:
    """The minutes of the first hours of :func:`flat_hours`, at their opens."""
    rows = [(hour(at) + minute * 60_000, *(FLAT[at][0],) * 4, 1.0) for at in range(hours) for minute in range(60)]
    return from_frame(bknb.Candles.from_rows(rows))


def test_a_position_over_hours_is_watched_on_over_minutes_from_where_the_hours_ended() -> None:
    def get_signal(ctx: Any) -> bknb.Signal | None:
        return bknb.Signal(position="long", price_stop_loss=90.0) if ctx.when_ms == hour(25) else None

    seen: list[int] = []
    callbacks = {"on_active": lambda event: seen.append(event.when)}
    strategy = bknb.add_strategy("moved", interval="1h", get_signal=get_signal, callbacks=callbacks)
    store = bknb.stores.memory()
    lived(strategy, flat_hours(), hour(22), hour(30), store=store)
    assert max(seen) == hour(29)
    seen.clear()
    again = lived(strategy, minutes_of(50), hour(30), hour(31), store=store)
    assert "base was 1h, is (not given)" in next(error.message for error in again.errors if error.kind == "state")
    assert min(seen) == hour(30)
    assert len(again.trades) == 0


@pytest.mark.slow
def test_holes_of_before_a_change_of_the_base_are_counted_in_the_bars_of_then() -> None:
    store, strategy = bknb.stores.memory(), bknb.add_strategy("idle", interval="1h", get_signal=lambda: None)
    begin, missing = hour(20), {hour(21) + minute * 60_000 for minute in (10, 11, 12)}
    minutes = minutes_of(60)._of("X")
    clock = SimulatedClock(begin)

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        here = minutes.take((minutes.timestamp < clock.now()) & ~np.isin(minutes.timestamp, list(missing)))
        at = int(here.timestamp.searchsorted(since))
        return here[at : at + limit]

    mine = bknb.add_exchange("frame", get_candles=get_candles, intervals=["1m"])
    first = lived(strategy, mine, begin, hour(22), clock=clock, store=store, allow_gaps=True)
    assert len(first.run_record.records.holes) == 1
    for start in (22, 24):  # the second start knows of the change, and the third of one long ago
        task = bknb.Live.background(
            "X", strategy=strategy, exchange=flat_hours(), until=hour(start + 2), clock=SimulatedClock(hour(start)),
            store=store, settings=SETTINGS,
        )  # fmt: skip
        again = task.result(timeout=60)
        assert again.warnings[0].startswith("before this start the run went on without 3 minutes that never came")
        assert task.facts["Minutes that never came"].startswith("3, the last before 2024-01-01 21:13")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"interval": "30m"}, "interval 30m: 30m candles cannot be made of the 1h bars of 'frame'\nask for 1h 2h"),
        ({"execution": "vwap"}, "execution 'vwap' .* needs 1m candles, and exchange 'frame' has 1h bars"),
        ({"base": "90m"}, "unknown interval '90m'"),
        ({"base": "30m"}, "base='30m': 30m candles cannot be made of the 1h bars of 'frame'"),
        ({"base": "2h", "interval": "1h"}, "1h candles cannot be made of the 2h bars"),
        ({"at": "07:00 UTC", "base": "1d"}, "names times of a day, and the run has 1d bars"),
    ],
)
def test_what_longer_bars_cannot_do_is_refused_to_a_live_run(options: dict[str, Any], told: str) -> None:
    with pytest.raises(bknb.UsageError, match=told):
        plan_live("X", strategy=lambda: None, exchange=flat_hours(), **options)
