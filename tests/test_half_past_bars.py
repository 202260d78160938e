"""Bars that count from the open of their market, such as hours from 09:30 on: read, run and made longer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from bar_loop import Bar, bar_loop
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from quick import some_quick
from test_base_bars import COSTS, FREE, answer, frame_of, rows_of, signal_of

import bknb
from bknb.domain.interval import INTERVAL_MS
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.exchanges import from_frame
from bknb.market.session_at_moment import session_at
from bknb.market.sessions import Sessions
from bknb.market.sources import FunctionSource
from bknb.runs.result import Result
from bknb.runs.run_record import record_of

HOUR = 3_600_000
MINUTE = 60_000


class Market(NamedTuple):
    """A market as its clock shows it: zone, open and close of each part of a day, and days that end early."""

    zone: str
    parts: tuple[tuple[str, str], ...]
    first: str  # a Monday
    early: dict[str, str]

    @property
    def sessions(self) -> Sessions:
        """The same as bknb is told it."""
        hours = ", ".join("-".join(part) for part in self.parts)
        return Sessions.weekly(self.zone, {"mon-fri": hours}, short=self.early)

    def spans(self, days: int) -> list[tuple[int, int]]:
        """Open and close (UTC ms) of each part, worked out from local clocks alone."""
        found = []
        for number in range(days):
            day = date.fromisoformat(self.first) + timedelta(days=number)
            if day.weekday() > 4:
                continue
            last = self.early.get(day.isoformat(), "24:00")
            for opened, closed in self.parts:
                if opened < last:
                    found.append((_ms(day, opened, self.zone), _ms(day, min(closed, last), self.zone)))
        return found


def _ms(day: date, clock: str, zone: str) -> int:
    hour, minute = map(int, clock.split(":"))
    return round(datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZoneInfo(zone)).timestamp() * 1000)


# The weeks of each hold a change of clocks where there is one, and a day that ends early.
MARKETS = {
    "new york": Market("America/New_York", (("09:30", "16:00"),), "2024-10-21", {"2024-11-01": "13:00"}),
    "spring": Market("America/New_York", (("09:30", "16:00"),), "2024-02-26", {"2024-03-15": "13:00"}),
    "mumbai": Market("Asia/Kolkata", (("09:15", "15:30"),), "2024-02-05", {"2024-02-16": "12:40"}),
    "two parts": Market("Asia/Hong_Kong", (("09:30", "12:00"), ("13:00", "16:00")), "2024-02-05", {}),
}


def bars_of(market: Market, step: int, seed: int, *, days: int = 28, holes: float = 0.0) -> list[Bar]:
    """Bars of a random walk on a coarse grid, so that levels are often met exactly."""
    rng, close, bars = np.random.default_rng(seed), 100.0, list[Bar]()
    spans = market.spans(days)
    for opens, closes in spans:
        for t in range(opens, closes, step):
            opened = close + float(rng.integers(-1, 2)) * (rng.random() < 0.3)
            path = np.maximum(opened + np.cumsum(rng.integers(-1, 2, size=6)), 20.0)
            close = float(path[-1])
            inner = [opened, *path.tolist()]
            at_edge = t < spans[2][0] or t >= spans[-3][0]
            if rng.random() >= holes or at_edge:
                quiet = rng.random() < 0.06 and not at_edge
                bars.append(Bar(t, opened, max(inner), min(inner), close, 0.0 if quiet else 5.0))
    return bars


def moments_of(spans: Sequence[tuple[int, int]], step: int) -> list[int]:
    """When bars open and close: counted from each open and from each close."""
    found: list[int] = []
    for (opens, closes), (following, _) in zip(spans, [*spans[1:], (spans[-1][1] + 1, 0)], strict=True):
        found += [*range(opens, closes, step), *range(closes, following, step)]
    return found


def slot_of(spans: Sequence[tuple[int, int]], when: int, step: int) -> tuple[int, int]:
    """Begin and end of the slot that a moment lies in."""
    anchors = sorted({edge for span in spans for edge in span})
    first = max(edge for edge in anchors if edge <= when)
    begin = first + (when - first) // step * step
    return begin, min([begin + step, *(edge for edge in anchors if edge > when)])


def made(
    bars: Iterable[Bar], spans: Sequence[tuple[int, int]], base: int, step: int, when: int, *, gaps: bool
) -> list[Bar]:
    """Candles of a longer interval that have closed at a moment, made bar by bar."""
    found: list[Bar] = []
    held: dict[int, list[Bar]] = {}
    for bar in bars:
        held.setdefault(slot_of(spans, bar.t, step)[0], []).append(bar)
    for begin, inside in held.items():
        end = slot_of(spans, begin, step)[1]
        if end > when or (not gaps and len(inside) != -(-(end - begin) // base)):
            continue
        volume = 0.0
        for bar in inside:
            volume += bar.volume
        highest, lowest = max(bar.high for bar in inside), min(bar.low for bar in inside)
        found.append(Bar(begin, inside[0].open, highest, lowest, inside[-1].close, volume))
    return found


def compared(seed: int, model: str, market: Market, base: str, interval: str, *, holes: float = 0.0) -> int:
    """Run a world in the engine and in the loop, and return how many rows were equal."""
    step, length = (INTERVAL_MS[each] for each in (base, interval))
    spans, gaps = market.spans(28), holes > 0
    bars = bars_of(market, step, seed, holes=holes)
    moments = moments_of(spans, step)
    start, end = spans[5][0] - 7 * MINUTE, spans[-4][0] + 90 * MINUTE
    inside = [moment for moment in moments if moment >= spans[5][0]]
    expected, _ = bar_loop(
        bars,
        step,
        model=model,
        ask=lambda when, price: answer(seed, when, price, step),
        start=start,
        end=max(moment for moment in moments if moment <= end),
        interval=length,
        may_ask=lambda when: any(opens < when < closes for opens, closes in spans),
        moments=inside,
        slot_of=lambda when: slot_of(spans, when, length)[0],
    )
    seen = list[int]()

    def get_signal(ctx: Any) -> bknb.Signal | None:
        seen.append(ctx.when_ms)
        if len(seen) % 9 == 1:
            for name in ("2h", "4h"):
                given = made(bars, spans, step, INTERVAL_MS[name], ctx.when_ms, gaps=gaps)[-3:]
                assert [tuple(candle.values()) for candle in ctx.candles(name, 3)] == [tuple(bar) for bar in given]
        return signal_of(answer(seed, ctx.when_ms, ctx.price, step))

    source = from_frame(frame_of(bars), symbol="X", sessions=market.sessions)
    assert source.base_interval == base
    plan = plan_backtest("X", get_signal, source, (start, end), interval, model, {**FREE, **COSTS}, allow_gaps=gaps)
    driver = BacktestRun(plan)
    asyncio.run(driver.through())
    assert rows_of(Result(record_of(driver))) == expected
    return len(expected)


@pytest.mark.parametrize("name", some_quick(list(MARKETS), ["new york", "mumbai"]))
@pytest.mark.parametrize(("model", "interval", "holes"), [("pessimistic", "1h", 0.0), ("touch", "2h", 0.08)])
def test_every_world_from_half_past_ends_as_in_the_plain_loop(
    name: str, model: str, interval: str, holes: float
) -> None:
    assert sum(compared(seed, model, MARKETS[name], "1h", interval, holes=holes) for seed in range(2)) > 10


@pytest.mark.slow
@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**16),
    name=st.sampled_from(list(MARKETS)),
    base=st.sampled_from(["30m", "1h", "2h"]),
    model=st.sampled_from(["pessimistic", "touch"]),
    longer=st.sampled_from([1, 2, 4]),
    holes=st.sampled_from([0.0, 0.05]),
)
def test_many_worlds_from_half_past_end_as_in_the_plain_loop(
    seed: int, name: str, base: str, model: str, longer: int, holes: float
) -> None:
    length = INTERVAL_MS[base] * longer
    interval = next(each for each, found in INTERVAL_MS.items() if found == length)
    source = from_frame(frame_of(bars_of(MARKETS[name], INTERVAL_MS[base], seed)), sessions=MARKETS[name].sessions)
    assume(source.bar_grid("X") is not None)  # half an hour is on the grid of UTC in New York
    compared(seed, model, MARKETS[name], base, interval, holes=holes)


# --- which bars they are ------------------------------------------------------------------------------------------


def table(opens: Iterable[str], zone: str = "America/New_York") -> pd.DataFrame:
    """Bars that open at local times, with prices that tell them apart."""
    index = pd.DatetimeIndex(list(opens), tz=zone, name="Datetime")
    price = 100.0 + np.arange(len(index))
    return pd.DataFrame(
        {"Open": price, "High": price + 1, "Low": price - 1, "Close": price + 0.5, "Volume": 5.0}, index=index
    )


def hourly(*days: str, first: str = "09:30", count: int = 7) -> list[str]:
    """Hours of a session each day: of New York from 09:30 to 15:30."""
    found = [pd.Timestamp(f"{day} {first}") + pd.Timedelta(hours=k) for day in days for k in range(count)]
    return [f"{moment:%Y-%m-%d %H:%M}" for moment in found]


WEEK = ("2024-11-25", "2024-11-26", "2024-11-27")


@pytest.mark.parametrize(
    ("opens", "zone", "sessions", "expected"),
    [
        (hourly(*WEEK), "America/New_York", "us-equities", ("1h", True)),
        (hourly(*WEEK), "America/New_York", None, ("1h", False)),
        (hourly(*WEEK, first="09:15"), "Asia/Kolkata", None, ("1h", False)),
        (hourly(*WEEK, first="09:45"), "America/New_York", "us-equities", ("1h", False)),  # do not count from 09:30
        (hourly(*WEEK, first="00:30", count=23), "UTC", None, ("1h", False)),
        ([f"{day} {time}" for day in WEEK for time in ("09:30", "13:30")] * 1, "America/New_York", None, ("4h", False)),
        (hourly(*WEEK, first="10:00"), "America/New_York", "us-equities", ("1h", None)),  # at multiples of an hour
    ],
)
def test_which_bars_count_from_an_open(
    opens: list[str], zone: str, sessions: str | None, expected: tuple[str, bool | None]
) -> None:
    source = from_frame(table(opens, zone), sessions=sessions)
    grid = source.bar_grid("X")
    assert (source.base_interval, None if grid is None else grid.in_sessions) == expected


HALF_PAST = hourly(*WEEK)
FIRST_HONG_KONG = ["09:30", "10:30", "11:30", "13:00", "14:00", "15:00"]


@pytest.mark.parametrize(
    ("opens", "zone", "words"),
    [
        ([*HALF_PAST[:7], *[f"2024-11-26 {h}:10" for h in range(10, 16)]], "America/New_York",
         ["count from the open of each session", "30 minutes after", "10", "sessions="]),
        ([f"{day} {time}" for day in WEEK for time in FIRST_HONG_KONG], "Asia/Hong_Kong",
         ["most are 1h apart", "where the market has a break, say when it is open: sessions="]),
        ([f"{day} {time}" for day in WEEK for time in ("09:30", "11:30", "13:00", "15:00")][3:], "Asia/Hong_Kong",
         ["most are 2h apart", "where the market has a break, say when it is open: sessions="]),
    ],
)  # fmt: skip
def test_bars_that_may_open_anywhere_are_refused_in_words(opens: list[str], zone: str, words: list[str]) -> None:
    with pytest.raises(bknb.DataError) as refused:
        from_frame(table(opens, zone))
    assert all(word in str(refused.value) for word in words), str(refused.value)


def test_a_session_with_a_break_is_read_once_its_hours_are_known() -> None:
    market = MARKETS["two parts"]
    opens = [f"{day} {time}" for day in WEEK for time in FIRST_HONG_KONG]
    source = from_frame(table(opens, market.zone), sessions=market.sessions)
    assert (source.base_interval, source.bar_grid("X").in_sessions) == ("1h", True)
    assert str(source.spacing("X")).startswith("1h bars")


ONE_A_PART = [f"{day} {time}" for day in WEEK for time in ("09:30", "13:00")]
"""Bars of four hours in Hong Kong, of two in Shanghai: each ends with its part of the session."""


@pytest.mark.parametrize(("calendar", "interval"), [("XHKG", "4h"), ("XSHG", "2h")])
def test_bars_that_are_longer_than_both_parts_of_a_session(calendar: str, interval: str) -> None:
    """They have the shortest interval that covers the longer part, and a run is asked where the market opens."""
    source = from_frame(table(ONE_A_PART, "Asia/Hong_Kong"), symbol="X", sessions=calendar)
    assert source.base_interval == interval
    assert str(source.spacing("X")).startswith(f"{interval} bars")
    seen: list[str] = []

    def get_signal(ctx: Any) -> bknb.Signal:
        closed = ctx.candles(interval, 2).timestamp
        moments = [pd.Timestamp(each, unit="ms", tz="Asia/Hong_Kong") for each in (ctx.when_ms, *closed.tolist())]
        seen.append(" ".join(f"{each:%d/%H:%M}" for each in moments))
        return bknb.Signal(position="long", until="session_end")

    options: Any = {"strategy": get_signal, "exchange": source, "frame": ("2024-11-26 03:00", "2024-11-28")}
    result = bknb.backtest("X", at="13:00 Asia/Hong_Kong", **options)
    assert seen == ["26/13:00 25/13:00 26/09:30", "27/13:00 26/13:00 27/09:30"]
    assert result.trades["price_close"].tolist() == [103.5, 105.5]
    with pytest.raises(bknb.UsageError, match=rf'no {interval} bar of X ends while its market is open(?s:.*)at="sess'):
        bknb.backtest("X", interval=interval, **options)
    holed = from_frame(table(ONE_A_PART[:3] + ONE_A_PART[4:], "Asia/Hong_Kong"), symbol="X", sessions=calendar)
    with pytest.raises(bknb.GapError, match="2024-11-26 05:00 UTC"):
        bknb.backtest("X", at="session_open", **{**options, "exchange": holed})


# --- the clock over them ------------------------------------------------------------------------------------------


def source_of(*, sessions: Any = "us-equities") -> Any:
    """Three whole days, the half day after Thanksgiving, and two days more."""
    return from_frame(
        table([*hourly(*WEEK), *hourly("2024-11-29", count=4), *hourly("2024-12-02", "2024-12-03")]), sessions=sessions
    )


def local(moments: Iterable[int]) -> list[str]:
    """Moments (UTC ms) by the clock of New York."""
    return [f"{pd.Timestamp(each, unit='ms', tz='UTC').tz_convert('America/New_York'):%d %H:%M}" for each in moments]


SPAN = ("2024-11-26", "2024-12-03")


def asked(at: str | None = None, **options: Any) -> list[str]:
    """When a strategy is asked that never answers."""
    seen: list[int] = []
    named = {"at": at} if at else {}
    bknb.backtest(
        "X", strategy=lambda ctx: seen.append(ctx.when_ms), exchange=source_of(), frame=SPAN, **named, **options
    )
    return local(seen)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["26 10:30", "26 11:30", "26 12:30", "26 13:30", "26 14:30", "26 15:30", "27 10:30"]),
        ({"interval": "2h"}, ["26 10:30", "26 11:30", "26 13:30", "26 15:30", "27 10:30", "27 11:30"]),
        ({"interval": "4h"}, ["26 10:30", "26 13:30", "27 10:30", "27 13:30", "29 10:30", "02 10:30", "02 13:30"]),
        ({"interval": "1d"}, ["26 09:30", "27 09:30", "29 09:30", "02 09:30"]),
        ({"at": "session_open"}, ["26 09:30", "27 09:30", "29 09:30", "02 09:30"]),
        ({"at": "session_open+60m"}, ["26 10:30", "27 10:30", "29 10:30", "02 10:30"]),
        ({"at": "session_close"}, ["26 16:00", "27 16:00", "29 13:00", "02 16:00"]),
        ({"at": "session_close-30m"}, ["26 15:30", "27 15:30", "29 12:30", "02 15:30"]),
        ({"at": "12:00 America/New_York"}, ["26 12:30", "27 12:30", "29 12:30", "02 12:30"]),
    ],
)  # fmt: skip
def test_when_a_strategy_is_asked(options: dict[str, Any], expected: list[str]) -> None:
    assert asked(**options)[: len(expected)] == expected


@pytest.mark.parametrize(
    ("signal", "opened", "closed"),
    [
        ({"minute_estimated_time": 90}, "26 10:30", "26 12:30"),
        ({"minute_estimated_time": 300}, "26 10:30", "26 15:30"),
        ({"minute_estimated_time": 330}, "26 10:30", "27 09:30"),
        ({"bars": 3}, "26 10:30", "26 13:30"),
        ({"bars": 6}, "26 10:30", "27 09:30"),  # the sixth is the half hour up to the close
        ({"bars": 7}, "26 10:30", "27 10:30"),
        ({"until": "session_end"}, "26 10:30", "26 15:30"),  # the bar at whose close it leaves
        ({"until": "session_end-30m"}, "26 10:30", "26 15:30"),
        ({"until": "12:00"}, "26 10:30", "26 12:30"),
        ({"entry": "close", "bars": 1}, "26 15:30", "27 10:30"),
        ({"interval": "4h", "bars": 1}, "26 10:30", "26 13:30"),
        ({"interval": "4h", "bars": 2}, "26 10:30", "27 09:30"),
        ({"interval": "4h", "bars": 3}, "26 10:30", "27 13:30"),
    ],
)
def test_when_the_clock_opens_and_closes(signal: dict[str, Any], opened: str, closed: str) -> None:
    answered = {name: value for name, value in signal.items() if name != "interval"}
    result = bknb.backtest(
        "X",
        strategy=lambda ctx: bknb.Signal(position="long", **answered),
        interval=signal.get("interval"),
        exchange=source_of(),
        frame=SPAN,
    )
    first = result.run_record.records.closed[0]
    assert local([first.signal.pending_at, first.closed_at]) == [opened, closed]
    if signal.get("until") == "session_end":
        closes = dict(zip(local(result.candles.timestamp.tolist()), result.candles.close.tolist(), strict=True))
        assert first.price_close == closes["26 15:30"]


def test_the_bars_of_a_position_are_those_of_the_sessions() -> None:
    seen: list[tuple[int, int]] = []

    def manage(ctx: Any, position: Any) -> None:
        seen.append((ctx.when_ms, position.bars))

    bknb.add_strategy(
        "held",
        get_signal=lambda ctx: bknb.Signal(position="long", minute_estimated_time=2 * 1440),
        interval="4h",
        manage=manage,
        manage_interval="1h",
    )
    bknb.backtest("X", strategy="held", exchange=source_of(), frame=SPAN)
    assert [(local([when])[0], bars) for when, bars in seen[:7]] == [
        ("26 11:30", 0), ("26 12:30", 0), ("26 13:30", 1), ("26 14:30", 1), ("26 15:30", 1), ("27 10:30", 2),
        ("27 11:30", 2),
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["2024-11-27 21:00", "2024-11-27 21:10", "2024-11-28"])
def test_the_account_is_marked_when_a_session_closes(end: str) -> None:
    result = bknb.backtest(
        "X",
        strategy=lambda ctx: bknb.Signal(position="long", minute_estimated_time=90) if ctx.when.hour == 20 else None,
        exchange=source_of(),
        frame=("2024-11-26", end),
        settings={**FREE, "percent_fee": 0.1},
    )
    marks = result.equity.set_axis(local(result.equity.index.as_unit("ms").asi8.tolist()))
    assert list(marks.index[-3:]) == ["27 14:30", "27 15:30", "27 16:00"]
    [first, second] = result.trades["price_open"]  # each entered at 15:30, at the open of the last bar
    closes = dict(zip(local(result.candles.timestamp.tolist()), result.candles.close.tolist(), strict=True))
    assert marks["26 15:30"] == 1.0
    assert marks["26 16:00"] == pytest.approx(closes["26 15:30"] / first - 0.001, rel=1e-12)
    assert result.account["end"] == pytest.approx((1 + result.trades["pnl_percentage"] / 100).prod(), rel=1e-12)
    assert 0 < result.account["exposure"] < 100
    assert second > first


def test_a_position_that_leaves_in_the_last_bar_is_booked_when_the_session_closes() -> None:
    def get_signal(ctx: Any) -> Any:
        if ctx.when.hour != 19 or ctx.when.day != 26:  # 14:30, at the open of the bar before the last
            return None
        level = ctx.price + 2.3  # that bar opens half above, and the last one reaches two more
        return bknb.Signal(position="long", price_take_profit=level, price_stop_loss=50.0, minute_estimated_time=600)

    result = bknb.backtest(
        "X", strategy=get_signal, exchange=source_of(), frame=("2024-11-26", "2024-11-28"), settings=FREE
    )
    [closed] = result.run_record.records.closed
    assert (local([closed.closed_at]), closed.close_reason) == (["26 15:30"], "take_profit")
    marks = result.equity.set_axis(local(result.equity.index.as_unit("ms").asi8.tolist()))
    assert [moment for moment in marks.index if moment.startswith("26")][-2:] == ["26 15:30", "26 16:00"]
    assert marks["26 16:00"] == pytest.approx(closed.price_close / closed.signal.price_open, rel=1e-12)


def test_a_stop_that_trails_in_the_last_bar_is_in_force_when_the_session_closes() -> None:
    def get_signal(ctx: Any) -> Any:
        trailing = bknb.Trailing(distance=10.0)
        return bknb.Signal(
            position="long", price_stop_loss=ctx.price - 10, minute_estimated_time=1440, trailing=trailing
        )

    result = bknb.backtest("X", strategy=get_signal, exchange=source_of(), frame=SPAN, settings=FREE)
    first = result.stops[result.stops["signal_id"] == result.trades["signal_id"].iloc[0]]
    moments = ["26 10:30", "26 11:30", "26 12:30", "26 13:30", "26 14:30", "26 15:30", "26 16:00"]
    assert local(first["at"].astype("datetime64[ms, UTC]").astype(np.int64).tolist())[:7] == moments


def test_what_a_strategy_sees_of_the_session() -> None:
    seen: dict[str, Any] = {}

    def get_signal(ctx: Any) -> None:
        forming = ctx.candles("4h", 1, forming=True)
        today = ctx.candles("1h", since=ctx.session.open)
        panel = ctx.panel(["X"], "2h", 2)
        seen[local([ctx.when_ms])[0]] = (
            ctx.session.bars,
            local(forming.timestamp.tolist()),
            local(today.timestamp.tolist()),
            local(panel.timestamp.tolist()),
            local(ctx.candles("1d", 1).timestamp.tolist()),
        )

    bknb.backtest("X", strategy=get_signal, interval="2h", exchange=source_of(), frame=("2024-11-27", "2024-12-03"))
    assert seen["27 11:30"] == (1, ["26 13:30", "27 09:30"], ["27 09:30", "27 10:30"], ["26 15:30", "27 09:30"],
                                ["26 09:30"])  # fmt: skip
    assert seen["27 13:30"][:2] == (2, ["27 09:30"])
    assert seen["02 10:30"][3:] == (["29 09:30", "29 11:30"], ["29 09:30"])


def test_bars_of_a_session_are_counted_from_its_open() -> None:
    source, when = source_of(), round(pd.Timestamp("2024-11-26 16:30", tz="UTC").timestamp() * 1000)  # 11:30 there
    counted = [session_at(source.sessions, when, 4 * HOUR, grid=grid).bars for grid in (None, source.bar_grid("X"))]
    assert counted == [1, 0]


@pytest.mark.parametrize(("interval", "until"), [("1h", "26 11:30"), ("4h", "26 13:30")])
def test_an_order_that_rests_until_the_next_question(interval: str, until: str) -> None:
    result = bknb.backtest(
        "X",
        strategy=lambda ctx: bknb.Signal(position="long", price_open=1.0, valid="slot"),
        interval=interval,
        exchange=source_of(),
        frame=SPAN,
    )
    assert local([result.run_record.records.cancelled[0].closed_at]) == [until]


def test_the_last_bar_is_known_when_its_session_closes() -> None:
    """It opens half an hour before, and nobody waits for the other half."""
    seen: list[tuple[int, int]] = []

    def get_signal(ctx: Any) -> None:
        seen.append((ctx.when_ms, int(ctx.candles("1h", 1).timestamp[-1])))

    bknb.backtest("X", strategy=get_signal, at="session_close", exchange=source_of(), frame=SPAN)
    assert [local(each) for each in seen[:3]] == [["26 16:00", "26 15:30"], ["27 16:00", "27 15:30"],
                                                  ["29 13:00", "29 12:30"]]  # fmt: skip


def test_sessions_may_be_declared_beside_bars_that_were_read_without() -> None:
    bare = source_of(sessions=None)  # of too few days to show their hours
    with pytest.raises(bknb.GapError, match="say when it is open: sessions='us-equities'"):
        bknb.backtest("X", strategy=lambda: None, exchange=bare, frame=SPAN)
    declared = bknb.exchanges.in_sessions(bare, "us-equities")
    assert declared.bar_grid("X").in_sessions
    seen: list[int] = []
    bknb.backtest("X", strategy=lambda ctx: seen.append(ctx.when_ms), interval="2h", exchange=declared, frame=SPAN)
    assert local(seen) == asked(interval="2h")


def test_without_hours_each_bar_counts_with_gaps_allowed() -> None:
    seen: list[int] = []
    result = bknb.backtest(
        "X",
        strategy=lambda ctx: seen.append(ctx.when_ms),
        exchange=source_of(sessions=None),
        frame=SPAN,
        allow_gaps=True,
    )
    assert local(seen)[:8] == [*(f"26 {hour}:30" for hour in range(10, 17)), "27 10:30"]
    assert result.base == "1h"


@pytest.mark.slow
def test_a_sweep_has_the_figures_of_its_backtests() -> None:
    def get_signals(candles: Any, back: int = 1) -> dict[str, Any]:
        up = candles.close > np.roll(candles.close, back)
        wanted = up & (np.arange(len(up)) % (back + 1) == 0)
        return {
            "position": wanted.astype(int),
            "price_take_profit": candles.close * 1.03,
            "price_stop_loss": candles.close * 0.97,
            "minute_estimated_time": 180,
        }

    bars = bars_of(MARKETS["new york"], HOUR, 5)
    source = from_frame(frame_of(bars), symbol="X", sessions=MARKETS["new york"].sessions)
    frame = ("2024-10-28", "2024-11-14")
    result = bknb.sweep(
        get_signals, symbol="X", exchange=source, frame=frame, interval="2h", params={"back": [1, 2, 3]}
    )
    assert any("over these candles a sweep goes through the event engine" in text for text in result.warnings)
    swept = result.table
    for back, found in zip((1, 2, 3), swept["total_pnl"], strict=True):
        alone = bknb.backtest(
            "X",
            strategy=lambda candles, back=back: get_signals(candles, back),
            exchange=source,
            frame=frame,
            interval="2h",
        )
        assert found == pytest.approx(alone.trades["pnl_percentage"].sum(), rel=1e-12)
        assert len(alone.trades) > 3


def test_a_store_and_a_function_say_the_way_out(tmp_path: Any) -> None:
    with pytest.raises(bknb.UsageError, match="give the source itself to the run, without a store"):
        bknb.backtest(
            "X",
            strategy=lambda: None,
            exchange=bknb.exchanges.stored(source_of(), folder=tmp_path),
            frame=SPAN,
        )
    given = table(hourly(*WEEK))
    ask = FunctionSource(
        lambda symbol, interval, since, limit: given[given.index >= pd.Timestamp(since, unit="ms", tz="UTC")],
        intervals=("1h",),
    )
    with pytest.raises(
        bknb.BadCandle, match=r"say so and when it is open: bknb\.exchanges\.in_sessions.*from_open=True"
    ):
        bknb.backtest("X", strategy=lambda: None, exchange=ask, frame=("2024-11-25", "2024-11-27"))


def test_bars_in_memory_are_audited_where_they_are_and_need_no_download() -> None:
    span: dict[str, Any] = {"start": "2024-11-25", "end": "2024-12-04"}
    whole = bknb.audit("X", exchange=source_of(), **span)
    assert whole.sound
    assert str(whole).splitlines()[1].startswith("  X: 1h bars ")
    less = table([*hourly(*WEEK)[:4], *hourly(*WEEK)[6:], *hourly("2024-11-29", count=4), *hourly("2024-12-02")])
    less.loc[less.index[20:24], "Volume"] = 0.0
    less.loc[less.index[9], ["High", "Close"]] *= 3
    found = bknb.audit("X", exchange=from_frame(less, sessions="us-equities"), **span).findings
    texts = {each.kind: each.text for each in found}
    assert set(texts) == {"absent", "flat", "wild"}
    assert texts["absent"] == "2024-11-25 18:30 UTC .. 2024-11-25 19:30 UTC (2 1h bars); the source has no bars"
    before = {"2020-01-01": 1, "2020-01-04": 0}  # a Saturday
    for start, count in before.items():
        end = pd.Timestamp(start) + pd.Timedelta(days=2)
        assert len(bknb.audit("X", exchange=source_of(), start=start, end=end).findings) == count
    nights = bknb.audit("X", exchange=source_of(sessions=None), **span).findings
    assert [each.text.partition(" UTC")[0] for each in nights][:2] == ["2024-11-25 21:30", "2024-11-26 21:30"]
    with pytest.raises(bknb.UsageError, match=r"nothing to download\ngive the source itself to a run.*bknb\.audit"):
        bknb.download("X", exchange=source_of(), progress=False, **span)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["new york", "two parts"])
def test_the_look_ahead_check_goes_by_the_closes_of_sessions(name: str) -> None:
    """The last bar of a session is known when that closes, though it is shorter than the others."""
    market = MARKETS[name]
    spans, bars = market.spans(28), bars_of(market, HOUR, 5)
    following = {bar.t: bar.close - bar.open for bar in bars}
    source = from_frame(frame_of(bars), symbol="X", sessions=market.sessions)

    def honest(ctx: Any) -> Any:
        candles = ctx.candles("2h", 3)
        side: Any = "long" if candles.close[-1] > candles.close[0] else "short"
        levels = {"price_take_profit": ctx.price + 6, "price_stop_loss": ctx.price - 6}
        return bknb.Signal(side="long", minute_estimated_time=300, **levels) if side == "long" else None

    def leaks(ctx: Any) -> Any:
        whole = [bar for bar in bars if bar.t >= ctx.when_ms]
        side: Any = "long" if whole and following[whole[0].t] > 0 else "short"
        return bknb.Signal(side=side, minute_estimated_time=60)

    span: dict[str, Any] = {"symbol": "X", "exchange": source, "frame": (spans[5][0], spans[-3][1]), "interval": "1h"}
    report = bknb.check_lookahead(honest, **span)
    assert report.ok, report
    assert report.signals > 10
    assert not bknb.check_lookahead(leaks, **span).ok


# --- hours that the bars show -------------------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", [60, 30])
@pytest.mark.parametrize("name", ["new york", "spring", "mumbai"])
def test_bars_without_declared_hours_show_them(name: str, minutes: int) -> None:
    market, step = MARKETS[name], minutes * MINUTE
    source = from_frame(frame_of(bars_of(market, step, 3)), symbol="X")
    spans = market.spans(28)
    shown = source.symbol_sessions["X"].open_ranges(spans[0][0], spans[-1][1] + step)
    whole = [(opens, opens + -(-(closes - opens) // step) * step) for opens, closes in spans]
    assert list(shown) == whole  # a last bar that is shorter than the others is taken for a whole one
    assert "the market is taken to be open as the bars show it: mon " in source.warnings[0]
    assert "1 day ends early, the first on " in source.warnings[1]


@pytest.mark.parametrize("name", ["new york", "mumbai"])
def test_a_run_over_shown_hours_has_the_trades_of_one_over_declared_hours(name: str) -> None:
    market = MARKETS[name]
    table, spans = frame_of(bars_of(market, HOUR, 4)), market.spans(28)

    def get_signal(ctx: Any) -> Any:
        given = answer(4, ctx.when_ms, ctx.price, HOUR)
        return signal_of(given) if given and given["kind"] == "market" else None

    found = [
        bknb.backtest(
            "X",
            strategy=get_signal,
            interval="2h",
            exchange=from_frame(table, sessions=sessions),
            frame=(spans[5][0], spans[-3][1]),
            settings=FREE,
        ).trades[["scheduled_at", "pending_at", "closed_at", "price_open", "price_close", "close_reason"]]
        for sessions in (None, market.sessions)
    ]
    assert len(found[0]) > 5
    pd.testing.assert_frame_equal(*found)


def opens_of(days: Iterable[str], times: Sequence[str], zone: str = "UTC") -> pd.DataFrame:
    """Bars at the same local times on each of some days."""
    return table([f"{day} {time}" for day in days for time in times], zone)


WORKING = [f"{day:%Y-%m-%d}" for day in pd.bdate_range("2024-01-08", periods=30)]
LONDON = [f"{hour:02d}:00" for hour in range(8, 17)]
AROUND = [f"{hour:02d}:00" for hour in range(24)]

TWELVE = [f"{day:%Y-%m-%d}" for day in pd.date_range("2024-02-28", periods=12)]
OUTAGES = [
    pd.date_range(begin, periods=count, freq="h", tz="UTC")
    for begin, count in (("2024-03-05 04:00", 12), ("2024-03-05 20:00", 10), ("2024-03-02 04:00", 12))
]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (opens_of(WORKING, LONDON, "Europe/London"), "08:00-17:00"),
        (opens_of(WORKING, [*LONDON[:4], *LONDON[5:]]), "08:00-12:00, 13:00-17:00"),
        (opens_of(WORKING, AROUND), "00:00-24:00"),  # closed at weekends
        (opens_of(WORKING[:9], LONDON), None),  # of too few days
        (opens_of([f"{d:%Y-%m-%d}" for d in pd.date_range("2024-01-08", periods=30)], AROUND), None),  # never closed
        (opens_of(WORKING, AROUND).sample(frac=0.8, random_state=1).sort_index(), None),  # with holes
        (opens_of(WORKING, LONDON).drop(opens_of(WORKING, LONDON).index[[12, 40, 77]]), "08:00-17:00"),
        (pd.concat([opens_of(WORKING, LONDON), opens_of(["2024-01-09"], ["20:00"])]).sort_index(), None),
        *((opens_of(TWELVE, AROUND).drop(out), None) for out in OUTAGES),  # on a day of the week that came once
        (opens_of(WORKING[:12], LONDON).drop(opens_of(WORKING[:12], LONDON).index[67:69]), "08:00-17:00"),
        (opens_of(WORKING[:12], LONDON).drop(opens_of(WORKING[:12], LONDON).index[70:72]), "08:00-17:00"),
    ],
)
def test_which_hours_bars_show(given: pd.DataFrame, expected: str | None) -> None:
    source = from_frame(given)
    if expected is None:
        assert source.sessions is None
    else:
        assert str(source.sessions).startswith(f"mon {expected};")
        assert f"wed {expected};" in str(source.sessions)
        assert "sat" not in str(source.sessions)


def test_a_day_without_a_bar_is_a_holiday_and_an_hour_without_one_a_hole() -> None:
    whole = opens_of(WORKING, LONDON)
    source = from_frame(whole.drop(whole.index[9:18]))  # 9 January
    assert "1 working day without a bar is taken for a holiday (2024-01-09)" in source.warnings[-1]
    frame = ("2024-01-10", "2024-02-10")
    assert len(bknb.backtest("X", strategy=lambda: None, exchange=source, frame=frame).candles) > 100
    with pytest.raises(bknb.GapError, match="1 candles are missing: 2024-01-11 11:00 UTC"):
        bknb.backtest("X", strategy=lambda: None, exchange=from_frame(whole.drop(whole.index[30])), frame=frame)


def test_declared_hours_come_before_those_that_bars_show() -> None:
    shown = from_frame(opens_of(WORKING, LONDON), symbol="X")
    declared = bknb.exchanges.in_sessions(shown, bknb.Sessions.weekly("UTC", {"mon-fri": "08:00-12:00"}))
    result = bknb.backtest("X", strategy=lambda: None, exchange=declared, frame=("2024-01-10", "2024-01-20"))
    assert {int(t) // HOUR % 24 for t in result.candles.timestamp} == {8, 9, 10, 11}
    assert [note for note in result.warnings if "as the bars show it" in note] == []
    result = bknb.backtest("X", strategy=lambda: None, exchange=shown, frame=("2024-01-10", "2024-01-20"))
    assert [note for note in result.warnings if "as the bars show it" in note] != []


def test_each_symbol_shows_its_own_hours() -> None:
    both = pd.concat(
        [
            opens_of(WORKING, LONDON).assign(symbol="VOD"),
            opens_of([f"{d:%Y-%m-%d}" for d in pd.date_range("2024-01-08", periods=30)], AROUND).assign(symbol="BTC"),
        ]
    )
    source = from_frame(both)
    assert source.symbol_sessions["BTC"] is None
    assert str(source.symbol_sessions["VOD"]).startswith("mon 08:00-17:00;")
    for symbol in ("VOD", "BTC"):
        bknb.backtest(symbol, strategy=lambda: None, exchange=source, frame=("2024-01-10", "2024-01-20"))
