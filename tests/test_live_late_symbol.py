"""What a live run does about a symbol beside its own whose candles come late, and what it tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from quick import first_quick, rest_long
from scenarios import MINUTE, ORIGIN
from test_live_parity import backtest_with_late_decisions, told

import bknb
from bknb.testing.clocks import SimulatedClock

END = 130
NEVER = 10**9


class EndingClock(SimulatedClock):
    """A clock at whose moment ``when`` (UTC ms) something is done."""

    when, do = NEVER * MINUTE, staticmethod(print)

    async def sleep_until(self, when: int) -> None:
        """Advance to ``when`` (UTC ms)."""
        if when >= self.when:
            self.when = NEVER * MINUTE
            self.do()
        await super().sleep_until(when)


class Market:
    """Two symbols: of ``OTHER`` the candle of minute ``n`` is there from minute ``comes(n)`` on, if at all."""

    def __init__(self, comes: Callable[[int], int]) -> None:
        self.comes, self.clock = comes, EndingClock(ORIGIN)
        self.seen: dict[str, dict[int, list[int]]] = {"live": {}, "backtest": {}}
        self.at: list[tuple[int, int]] = []
        self.tasks: list[Any] = []

    def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        begin, now = -(-(since - ORIGIN) // MINUTE), (self.clock.now() - ORIGIN) // MINUTE
        there = (n for n in range(begin, min(begin + limit, now)) if symbol != "OTHER" or self.comes(n) <= now)
        return [
            (ORIGIN + n * MINUTE, 100.0 + n % 13, 115.0 + n % 13, 95.0 + n % 13, 101.0 + n % 13, 1.0) for n in there
        ]

    def get_signal(self, how: str) -> Callable[[bknb.Context], bknb.Signal | None]:
        def get_signal(ctx: bknb.Context) -> bknb.Signal | None:
            if how == "panel":
                times = ctx.panel(["BTCUSDT", "OTHER"], "1m", 3).timestamp
            else:
                times = ctx.get_candles("OTHER", how, 3).timestamp
            self.seen[ctx.mode][minute(ctx.when_ms)] = [minute(int(time)) for time in times]
            if ctx.mode == "live":
                self.at.append((minute(ctx.when_ms), minute(self.clock.now())))
            if minute(ctx.when_ms) % 20:
                return None
            levels = {"price_take_profit": ctx.price * 1.5, "price_stop_loss": ctx.price * 0.5}
            return bknb.Signal(position="long", minute_estimated_time=7, **levels)

        return get_signal

    def lived(
        self, how: str = "1m", *, until: int = END, store: Any = None, interval: str = "5m", **options: Any
    ) -> Any:
        self.options = {
            "strategy": bknb.add_strategy("looks", interval="5m", get_signal=self.get_signal(how)),
            "exchange": bknb.add_exchange("two", get_candles=self.get_candles, intervals=["1m"]),
        }
        task = bknb.Live.background(
            "BTCUSDT",
            clock=self.clock,
            until=ORIGIN + until * MINUTE,
            store=bknb.stores.memory() if store is None else store,
            **self.options,
            **options,
        )
        self.tasks.append(task)
        return task.result()

    def end_at(self, minutes: int, *, now: bool = False) -> None:
        """Stop the run, or leave it, when a minute comes."""
        self.clock.when, self.clock.do = at(minutes), lambda: self.tasks[-1].stop(now=now)

    def backtested(self, result: Any) -> Any:
        """The backtest that decides as late as the live run, over all that has come by now."""
        return backtest_with_late_decisions(
            result, start=ORIGIN, until=ORIGIN + END * MINUTE, allow_gaps=True, **self.options
        )


def at(minutes: int) -> int:
    return ORIGIN + minutes * MINUTE


def minute(when: int) -> int:
    return (when - ORIGIN) // MINUTE


@pytest.mark.parametrize(
    ("how", "delay"), [*first_quick([("1m", 5), ("panel", 2), ("5m", 5)]), *rest_long([("1m", 9)], kept=0)]
)
def test_questions_wait_for_a_symbol_that_always_comes_late_and_see_what_a_backtest_sees(how: str, delay: int) -> None:
    market = Market(lambda n: n + 1 + (delay if n >= 30 else 0))
    result = market.lived(how)
    assert not [failure for failure in result.errors if failure.kind != "late" and failure.last_at < at(END - 10)]
    late = [now - when for when, now in market.at if 45 <= when < END - delay]
    assert (max(late), min(late) > 0) == (delay, True)
    records = market.backtested(result)
    assert told(result, before=at(END - delay)) == told(records, before=at(END - delay))
    seen = market.seen["live"]
    assert {when: rows for when, rows in seen.items() if when < END} == {
        when: market.seen["backtest"][when] for when in seen if when < END
    }
    (waited,) = [failure for failure in result.errors if failure.message.startswith("the question of ")]
    assert waited.kind == "late"
    assert f"waited {delay} minutes for a candle" in waited.message
    assert waited.count >= len(late)


def test_with_gaps_allowed_a_symbol_that_comes_late_holds_up_nothing_and_is_told_once() -> None:
    market = Market(lambda n: n + 1 + (5 if n >= 30 else 0))
    result = market.lived(allow_gaps=True)
    assert {now - when for when, now in market.at} == {0}
    (text,) = result.warnings
    assert text.startswith(
        "candles of OTHER come late from 'two': that of 2024-01-01 00:30 UTC was not here at 2024-01-01 00:35 UTC, "
        "and a strategy that looked at it then saw those before"
    )


def test_a_symbol_that_is_later_than_the_patience_is_silent_once() -> None:
    market = Market(lambda n: n + 1 + (12 if n >= 30 else 0))
    result = market.lived()
    (text,) = result.warnings
    assert "it is not waited for any more" in text
    assert [when for when, now in market.at if now > when and when > 45] == []


BACK = (39, 44, 36, 40, 46, 55)


@pytest.mark.parametrize("back", [*first_quick(BACK, kept=2), *rest_long(sorted({*range(36, 56)} - {*BACK}), kept=0)])
def test_a_symbol_that_comes_back_with_a_hole_is_waited_for_once(back: int) -> None:
    market = Market(lambda n: NEVER if 30 <= n < back else n + 1)
    result = market.lived()
    first = 35  # the first question that lacks a candle
    waits = [(when, now) for when, now in market.at if now > when]
    assert max((now for _, now in waits), default=0) <= first + 10
    assert max((now - when for when, now in waits), default=0) <= 10
    assert not [failure for failure in result.errors if failure.kind != "late"]
    market.backtested(result)
    seen = market.seen["live"]
    assert {when: rows for when, rows in seen.items() if when < END} == {
        when: market.seen["backtest"][when] for when in seen if when < END
    }


@pytest.mark.parametrize("stopped", [False, True])
def test_a_run_whose_question_waits_ends_at_its_time_and_when_it_is_stopped(*, stopped: bool) -> None:
    market = Market(lambda n: n + 1 + (9 if n >= 30 else 0))
    market.end_at(37 if stopped else NEVER)
    result = market.lived(until=END if stopped else 40)
    assert market.clock.now() <= at(38 if stopped else 41)
    left_out = [failure.message.splitlines()[-1] for failure in result.errors if failure.kind == "warm-up"]
    assert left_out == ([] if stopped else ["the candle had not come 5 minutes after the question, which is left out"])


@pytest.mark.slow
def test_a_question_that_would_be_older_than_late_minutes_is_left_out_and_names_the_candle() -> None:
    market = Market(lambda n: n + 1 + (5 if n >= 30 else 0))
    result = market.lived(late_minutes=3)
    assert [when for when, _ in market.at if when > 35] == []
    (failure,) = [each for each in result.errors if each.message.startswith("the question of ")]
    assert (
        "more than late_minutes = 3: it was not asked; it waited for a candle: 3 closed 1m candles" in failure.message
    )


@pytest.mark.slow
@pytest.mark.parametrize("killed", rest_long([43, 52, 40, 45, 47], kept=2))
def test_a_run_that_is_started_again_while_its_question_waits_goes_on_as_one_that_was_not(killed: int) -> None:
    whole = Market(lambda n: n + 1 + (6 if n >= 30 else 0))
    expected = whole.lived()
    market, store = Market(whole.comes), bknb.stores.memory()
    market.end_at(killed, now=True)
    market.lived(store=store)
    assert minute(market.clock.now()) < END
    market.end_at(NEVER)
    again = market.lived(store=store)
    assert lines(again, since=killed) == lines(expected, since=killed)
    assert lines(expected, since=killed)


def lines(result: Any, *, since: int) -> list[tuple[str, int]]:
    """What happened behind a minute, up to the last questions."""
    events = ((event.action, minute(event.when)) for event in result.events)
    return [(action, when) for action, when in events if since < when < END - 7]


def test_manage_is_left_out_after_a_minute_for_its_position_is_watched() -> None:
    market, managed = Market(lambda n: n + 1 + (5 if n >= 30 else 0)), []

    def manage(ctx: bknb.Context, position: Any) -> None:
        managed.append(minute(ctx.when_ms))
        ctx.get_candles("OTHER", "1m", 3)

    def get_signal(ctx: bknb.Context) -> bknb.Signal:
        return bknb.Signal(
            position="long", price_take_profit=ctx.price * 2, price_stop_loss=ctx.price * 0.5, minute_estimated_time=60
        )

    result = bknb.Live.background(
        "BTCUSDT",
        strategy=bknb.add_strategy("m", interval="5m", get_signal=get_signal, manage=manage, manage_interval="5m"),
        exchange=bknb.add_exchange("two", get_candles=market.get_candles, intervals=["1m"]),
        clock=market.clock,
        until=at(61),
        store=bknb.stores.memory(),
    ).result()
    assert {35, 40, 45} <= set(managed)
    (failure,) = [each for each in result.errors if each.kind == "warm-up"]
    assert failure.message.endswith("the candle had not come a minute after the question, which is left out")


def test_a_callback_that_lacks_a_candle_is_told_as_no_question() -> None:
    market = Market(lambda n: n + 1 + (5 if n >= 30 else 0))

    def get_signal(ctx: bknb.Context) -> bknb.Signal:
        return bknb.Signal(
            position="long", price_take_profit=ctx.price * 2, price_stop_loss=ctx.price * 0.5, minute_estimated_time=3
        )

    def on_open(_event: Any) -> None:
        bknb.get_candles("OTHER", "1m", 3)

    result = bknb.Live.background(
        "BTCUSDT",
        strategy=bknb.add_strategy("c", interval="5m", get_signal=get_signal, callbacks={"on_open": on_open}),
        exchange=bknb.add_exchange("two", get_candles=market.get_candles, intervals=["1m"]),
        clock=market.clock,
        until=at(61),
        store=bknb.stores.memory(),
    ).result()
    (failure,) = result.errors
    assert failure.kind == "callback"
    assert "question" not in failure.message
