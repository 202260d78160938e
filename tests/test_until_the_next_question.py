"""An order until the next question of a strategy with a schedule, and the zone of a time that names none."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from managed import Heard
from test_scheduled_questions import HOURS, SOURCE, ZONE, days, minutes, ms, shown

import bknb
from bknb.domain.recovery import Owner
from bknb.domain.schedule_text import as_schedule
from bknb.engine.plan import plan_backtest
from bknb.live.unwatched_positions import changed_setup, setup_of
from bknb.testing.clocks import SimulatedClock

NEW_YORK = bknb.Sessions.weekly(ZONE, {"mon-fri": "09:30-16:00"}, closed=["2024-03-29", "2024-05-27"])
FRAME = ("2024-11-25", "2024-12-04")
LIMIT = {"position": "long", "price_open": 1.0}  # never reached


def run(source: Any, answer: Any, *, frame: Any = FRAME, base: str | None = None, **options: Any) -> bknb.Result:
    strategy = bknb.add_strategy("slots", get_signal=answer, **options)
    return bknb.backtest("X", strategy=strategy, exchange=source, frame=frame, base=base, settings={"percent_fee": 0.0})


def cancels(result: bknb.Result, zone: str = ZONE) -> list[str]:
    found = [event for event in result.events if isinstance(event, bknb.Cancelled)]
    assert {event.reason for event in found[:-1]} <= {"timeout"}
    return shown([event.when for event in found], zone)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("session_open+5m", ["26 09:35", "27 09:35", "29 09:35", "02 09:35", "03 09:35"]),
        ("session_close-5m", ["26 09:55", "27 09:55", "29 09:35", "02 09:55", "03 09:55"]),
        ("09:45 America/New_York", ["26 09:45", "27 09:45", "02 09:45", "03 09:45"]),
        ("wed, session_open+20m", ["26 09:50", "27 09:30", "27 09:50", "02 09:50", "03 09:50"]),
    ],
)
def test_an_order_until_the_next_question_rests_until_the_next_moment_of_the_schedule(
    at: str, expected: list[str]
) -> None:
    asked: list[int] = []

    def get_signal(ctx: Any) -> Any:
        asked.append(ctx.when_ms)
        return bknb.Signal(**LIMIT, valid="slot")

    result = run(SOURCE, get_signal, at=at)
    # at every cancel the strategy is asked again; the last order ends with the frame
    assert cancels(result)[:-1] == expected == shown(asked)[1:]
    assert result.missed == 0


def test_in_a_frame_that_asks_less_often_an_order_waits_for_the_interval_of_its_strategy() -> None:
    asked: list[int] = []

    def get_signal(ctx: Any) -> Any:
        asked.append(ctx.when_ms)
        return bknb.Signal(**LIMIT, valid="slot")

    frame = bknb.add_frame("rarely", start="2024-11-25", end="2024-11-25 06:00", interval="1h")
    result = run(minutes(None, "2024-11-24", "2024-11-26"), get_signal, interval="15m", frame=frame)
    assert shown(asked, "UTC") == [f"25 0{hour}:00" for hour in range(6)]
    assert cancels(result, "UTC") == [f"25 0{hour}:15" for hour in range(6)]


@pytest.mark.parametrize(("options", "minutes_"), [({}, 1440), ({"interval": "4h"}, 240), ({"interval": "1h"}, 120)])
def test_the_default_of_a_strategy_with_a_schedule_is_its_interval(options: dict[str, Any], minutes_: int) -> None:
    source = minutes(None, "2024-11-25", "2024-11-28")
    result = run(source, lambda: bknb.Signal(**LIMIT), at="07:00 UTC", **options, frame=("2024-11-25", "2024-11-27"))
    first = next(event for event in result.events if isinstance(event, bknb.Cancelled))
    assert first.when - first.signal.scheduled_at == minutes_ * 60_000


def test_an_add_rests_until_the_next_question_of_the_strategy_too() -> None:
    def manage(ctx: Any, position: Any) -> Any:
        return bknb.Add(1, price_open=1.0, valid="slot") if ctx.when.minute == 50 else None

    strategy: dict[str, Any] = {"at": "session_open+5m", "manage": manage, "manage_at": "session_open+20m"}
    plan = plan_backtest("X", bknb.add_strategy("slots", get_signal=lambda: bknb.Signal(position="long"), **strategy),
                         SOURCE, ("2024-11-25", "2024-11-28"))  # fmt: skip
    heard = Heard(plan)
    asyncio.run(heard.through())
    taken = [event for event in heard.heard if isinstance(event, bknb.AddCancelled)]
    assert shown([event.when for event in taken]) == ["26 09:35", "27 09:35"]


def test_the_slot_of_a_strategy_by_the_day_is_the_session() -> None:
    result = run(SOURCE, lambda: bknb.Signal(**LIMIT, valid="slot"), interval="1d")
    assert cancels(result)[:-1] == ["26 09:30", "27 09:30", "29 09:30", "02 09:30", "03 09:30"]


WEEKDAYS = bknb.Sessions.weekly(ZONE, {"mon-fri": "09:30-16:00"}, closed=["2024-11-28"], short={"2024-11-29": "13:00"})
TWO_PARTS = bknb.Sessions.weekly("UTC", {"mon-fri": "01:00-03:30, 04:30-07:00"})


@pytest.mark.parametrize(
    ("hours", "step", "interval", "expected"),
    [
        # over minutes a question needs five minutes of its session
        (WEEKDAYS, 1, "1h", ["26 15:00", "27 10:00", "27 15:00", "29 10:00", "29 12:00", "02 10:00"]),
        (WEEKDAYS, 60, "1h", ["26 15:30", "27 10:30", "27 15:30", "29 10:30", "29 12:30", "02 10:30"]),
        (WEEKDAYS, 30, "4h", ["26 15:00", "27 10:00", "27 15:00", "29 10:00", "29 11:00", "02 10:00"]),
        (TWO_PARTS, 1, "1h", ["26 01:05", "26 03:00", "26 04:35", "26 06:00", "27 01:05"]),
        (TWO_PARTS, 30, "2h", ["26 01:30", "26 02:00", "26 05:00", "26 06:00", "27 01:30"]),
    ],
)
def test_an_order_from_the_last_question_of_a_session_rests_into_the_next(
    hours: bknb.Sessions, step: int, interval: str, expected: list[str]
) -> None:
    since, until = ms("2024-11-25", hours.zone), ms("2024-12-03", hours.zone)
    opens = [each for begin, end in hours.known_ranges(since, until) for each in range(begin, end, step * 60_000)]
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), 100.0) | {"timestamp": opens})
    source = bknb.exchanges.from_frame(bars, sessions=hours, symbol="X")
    asked: list[int] = []

    def get_signal(ctx: Any) -> Any:
        asked.append(ctx.when_ms)
        return bknb.Signal(**LIMIT, valid="slot")

    result = run(source, get_signal, interval=interval, frame=(since, until))
    assert cancels(result, hours.zone)[:-1] == shown(asked, hours.zone)[1:]  # none of them is taken back before
    assert set(expected) <= set(shown(asked, hours.zone))


@pytest.mark.parametrize("hours", [None, WEEKDAYS])
def test_over_daily_bars_an_order_until_the_next_question_waits_for_a_bar(hours: Any) -> None:
    asked: list[int] = []

    def get_signal(ctx: Any) -> Any:
        asked.append(ctx.when_ms)
        return bknb.Signal(**LIMIT, valid="slot")

    result = run(days(sessions=hours), get_signal, interval="1d", frame=("2024-05-02", "2024-05-15"))
    assert cancels(result, "UTC")[:-1] == shown(asked, "UTC")[1:]
    assert shown(asked, "UTC")[:4] == ["02 00:00", "03 00:00", "04 00:00", "07 00:00"]


@pytest.mark.parametrize(
    ("at", "closed", "slots"),
    [
        ("mon", "06 00:00", ["13 00:00", "20 00:00", "03 00:00"]),
        ("month", "03 00:00", ["03 00:00"]),
        ("month_end", "31 00:00", []),
    ],
)
@pytest.mark.parametrize("hours", [None, NEW_YORK])
def test_over_daily_bars_a_moment_is_that_of_the_bar_of_its_session(
    at: str, closed: str, slots: list[str], hours: Any
) -> None:
    frame = ("2024-05-02", "2024-06-05")
    source = days(sessions=hours)
    result = run(source, lambda: bknb.Signal(position="long", until=at), interval="1d", frame=frame)
    first = next(event for event in result.events if isinstance(event, bknb.Closed))
    assert shown([first.when], "UTC") == [closed]
    result = run(source, lambda: bknb.Signal(**LIMIT, valid="slot"), at=at, frame=("2024-05-01", "2024-06-05"))
    assert cancels(result, "UTC")[:-1] == slots


def test_rows_of_a_series_do_not_say_when_they_come() -> None:
    bknb.add_series("rows", {"published_at": [ms("2024-11-25 09:40", ZONE)]})
    result = run(SOURCE, lambda: bknb.Signal(**LIMIT, valid="slot"), at=bknb.at.series("rows"))
    assert "rows of a series do not say when they come; give minutes" in result.rejected["reasons"].iloc[0]


BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("options", "zone"),
    [
        ({"at": "15:35 Europe/Berlin"}, BERLIN),
        ({"at": "session_open+5m"}, ZONE),
        ({"interval": "5m"}, ZONE),
        ({"interval": "5m", "manage": lambda: None, "manage_at": "15:50 Europe/Berlin"}, BERLIN),
    ],
)
@pytest.mark.parametrize("hours", [HOURS, None])
def test_a_time_that_names_no_zone_is_of_the_zone_of_at(options: dict[str, Any], zone: str, hours: Any) -> None:
    zone = "UTC" if hours is None and zone == ZONE else zone
    seen: list[datetime] = []

    def get_signal(ctx: Any) -> Any:
        seen.append(ctx.at("00:00"))
        now = ctx.when.astimezone(ZoneInfo(zone))
        return bknb.Signal(position="long", until=f"{now:%H}:{now.minute + 4:02d}")

    source = SOURCE if hours else minutes(None, "2024-11-25", "2024-11-27")
    result = run(source, get_signal, **options, frame=("2024-11-26", "2024-11-27"))
    assert seen[0].astimezone(ZoneInfo(zone)).strftime("%H:%M") == "00:00"
    first = next(event for event in result.events if isinstance(event, bknb.Closed))
    opened = first.signal.pending_at
    assert (first.close_reason, first.when - opened) == ("time_expired", 4 * 60_000)


def test_zones_of_schedules() -> None:
    texts = {
        "07:00 Europe/London": "Europe/London", "mon 09:30 UTC": "UTC", "session_open": None, "month": None,
        "07:00 Europe/London, 08:00 Europe/London, mon": "Europe/London", "07:00 UTC, 07:00 Europe/London": None,
        "mon 09:30 UTC after 2": "UTC",
    }  # fmt: skip
    assert {text: as_schedule(text).clock_zone for text in texts} == texts


# --- what is shown of such runs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["pessimistic", "touch", "vwap"])
@pytest.mark.parametrize("frame", [FRAME, ("2024-11-25", "2024-11-25 14:50")])
def test_an_entry_for_the_close_is_asked_again_with_what_came_of_it(model: str, frame: Any) -> None:
    strategy = bknb.add_strategy(
        "slots", at="session_open+5m", get_signal=lambda: bknb.Signal(position="long", entry="close", bars=1)
    )
    result = bknb.backtest("X", strategy=strategy, exchange=SOURCE, frame=frame, execution=model)
    moments = [event.signal.scheduled_at for event in result.events if isinstance(event, bknb.Opened)]
    assert len(moments) == (3 if frame == FRAME else 0)  # each is held over the next session, to its close
    for moment in moments:
        at = result.at(datetime.fromtimestamp(moment / 1000, UTC))
        assert at.ask().event == at.decision
    first = result.at(datetime(2024, 11, 25, 14, 35, tzinfo=UTC)).ask().event
    assert isinstance(first, bknb.Opened if frame == FRAME else bknb.Cancelled)


def test_the_card_says_when_it_was_asked() -> None:
    result = run(SOURCE, lambda: None, at="session_open+5m", late="ask")
    assert "| Run | slots, X on frame, asked at session_open+5m, late |" in result.card._repr_markdown_()
    assert "interval of manage" not in result.card.code.values
    result = run(SOURCE, lambda: None, interval="15m")
    assert "| Run | slots, X on frame, asked every 15m |" in result.card._repr_markdown_()


# --- at= where a function is given --------------------------------------------------------------------------------


def opening(ctx: Any, hold: int = 5) -> Any:
    return bknb.Signal(position="long", minute_estimated_time=hold)


@pytest.mark.slow
def test_every_function_that_takes_an_interval_takes_at(tmp_path: Any) -> None:
    run_: dict[str, Any] = {"exchange": SOURCE, "frame": FRAME}
    made = bknb.add_strategy("opening", get_signal=opening, at="session_open+5m")

    def bare(ctx: Any, hold: int = 5) -> Any:  # not the registered one
        return opening(ctx, hold)

    expected = bknb.backtest("X", strategy=made, **run_)
    at: dict[str, Any] = {**run_, "at": "session_open+5m"}
    found = bknb.backtest("X", strategy=bare, **at)
    assert repr(found).startswith("backtest bare on X, at session_open+5m,")
    assert (found.interval, len(found.trades)) == ("1d", 6)
    assert found.trades["pending_at"].tolist() == expected.trades["pending_at"].tolist()
    assert bknb.Backtest.background("X", strategy=bare, **at).result().card.diff(found.card) == []
    assert bknb.open_holdout(bare, "X", path=tmp_path / "looks.jsonl", **at).result.card.diff(found.card) == []
    assert "every" not in str(bknb.check_lookahead(bare, "X", **at).report()).split("\n")[0]
    swept = bknb.sweep(bare, params={"hold": [5]}, symbol="X", keep_trades=True, **at)
    assert len(swept.trades(0)) == 6
    at = {"exchange": minutes(None, "2024-11-20", "2024-12-04"), "frame": FRAME, "at": "09:35 America/New_York"}
    walk = bknb.walk_forward(bare, {"hold": [5]}, symbol="X", train="3d", test="2d", metric="total_pnl", **at)
    opened = walk.trades["pending_at"].dt.tz_convert(ZONE)
    assert set(opened.dt.strftime("%H:%M")) == {"09:35"}
    assert len(walk.trades) > 1


def test_at_comes_before_that_of_the_strategy_and_a_card_is_run_again_with_it() -> None:
    made = bknb.add_strategy("slots", get_signal=lambda: None, at="session_open+5m", late="ask")
    result = bknb.backtest("X", strategy=made, exchange=SOURCE, frame=FRAME, at="month")
    plan = result.run_record.plan
    assert (plan.strategy.asked, plan.strategy.late, plan.given) == ("at month", True, ("at",))
    assert bknb.verify(result, exchange=SOURCE).same
    result = bknb.backtest("X", strategy=opening, exchange=SOURCE, frame=FRAME, at="month")
    assert bknb.verify(result, strategy=opening, exchange=SOURCE).same
    rows = bknb.add_strategy("rows", get_signals=lambda candles: None, interval="5m")
    with pytest.raises(bknb.UsageError, match="get_signals answers for each candle of its interval"):
        bknb.backtest("X", strategy=rows, exchange=SOURCE, frame=FRAME, at="month")
    with pytest.raises(bknb.UsageError, match="at='noon' is no schedule"):
        bknb.backtest("X", strategy=opening, exchange=SOURCE, frame=FRAME, at="noon")


def test_a_live_run_of_a_function_takes_at() -> None:
    begin = ms("2024-11-25 09:30", ZONE)
    task = bknb.Live.background(
        "X", strategy=opening, exchange=SOURCE, at="session_open+5m", store=bknb.stores.memory(),
        clock=SimulatedClock(begin), until=begin + 20 * 60_000, settings={"percent_fee": 0.0},
    )  # fmt: skip
    result = task.result()
    [opened] = [event for event in result.events if isinstance(event, bknb.Opened)]
    assert shown([opened.when]) == ["25 09:35"]
    assert task.plan.strategy.asked == "at session_open+5m"


def test_bars_of_half_an_hour_run_from_half_past_on() -> None:
    opens = pd.DatetimeIndex(
        [f"2024-11-{day} {hour}:{minute}" for day in (25, 26, 27) for hour in range(9, 16) for minute in ("00", "30")
         if (hour, minute) != (9, "00")], tz=ZONE,
    )  # fmt: skip
    table = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), 100.0), index=opens)
    seen: list[int] = []

    def get_signal(ctx: Any) -> Any:
        seen.append(ctx.when_ms)
        return bknb.Signal(position="long", until="session_end") if ctx.when.minute == 30 else None

    source = bknb.exchanges.from_frame(table, sessions=NEW_YORK)
    result = run(source, get_signal, at="session_open+30m", frame=("2024-11-25", "2024-11-28"))
    assert shown(seen) == ["25 10:00", "26 10:00", "27 10:00"]
    assert result.run_record.plan.base == "30m"


def test_a_start_with_another_schedule_says_what_was_decided_with_which() -> None:
    owner = Owner(strategy="slots", exchange="ny", symbol="X", execution="pessimistic")
    setups = [
        setup_of(bknb.add_strategy("slots", get_signal=lambda: None, at=at), bknb.get_config())
        for at in ("session_open+5m", "session_close-5m")
    ]
    assert "at was session_open+5m, is session_close-5m" in changed_setup(owner, *setups)
    assert changed_setup(owner, setups[0], setups[0]) == ""
