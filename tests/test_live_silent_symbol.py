"""What a live run sees of a symbol that is silent, and of one whose data has just begun."""

from __future__ import annotations

from typing import Any

import pytest
from quick import first_quick

import bknb
from bknb.testing.clocks import SimulatedClock

ORIGIN = 1_704_067_200_000  # 2024-01-01 00:00 UTC
MINUTE = 60_000


def lived(interval: str, how: str, *, silent: tuple[int, int] = (40, 90), **options: Any) -> tuple[Any, list[Any]]:
    """What a live run saw of ``OTHER`` each five minutes: (moment, clock, open of the newest candle) in minutes."""
    clock, seen = SimulatedClock(ORIGIN), []
    first, end = silent

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        begin, now = -(-(since - ORIGIN) // MINUTE), (clock.now() - ORIGIN) // MINUTE
        last = first if symbol == "OTHER" and now < end else now
        rows = [(ORIGIN + n * MINUTE, 100.0, 110.0, 90.0, 100.0 + n % 7, 1.0) for n in range(begin, begin + limit)]
        return [row for row in rows if row[0] < ORIGIN + last * MINUTE]

    def get_signal(ctx: bknb.Context) -> None:
        if how == "panel":
            newest = int(ctx.panel(["MINE", "OTHER"], interval, 3).timestamp[-1])
        elif how == "price":
            bknb.get_average_price("OTHER")
            newest = ORIGIN
        else:
            newest = int(bknb.get_candles("OTHER", interval, 3).timestamp[-1])
        seen.append(tuple((when - ORIGIN) // MINUTE for when in (ctx.when_ms, clock.now(), newest)))

    result = bknb.Live.background(
        "MINE",
        strategy=bknb.add_strategy("looks", interval="5m", get_signal=get_signal),
        exchange=bknb.add_exchange("two", get_candles=get_candles, intervals=["1m"]),
        clock=clock,
        until=ORIGIN + 130 * MINUTE,
        store=bknb.stores.memory(),
        **options,
    ).result()
    return result, seen


@pytest.mark.parametrize("how", first_quick(["candles", "price", "panel"]))
def test_a_symbol_that_is_silent_is_waited_for_once(how: str) -> None:
    result, seen = lived("1m", how)
    assert [when for when, _, _ in seen] == [*range(0, 131, 5)]
    late = [(when, now) for when, now, _ in seen if now > when]
    assert late == [(45, 51), (50, 51)]  # ten minutes after the last candle
    if how == "candles":
        assert {newest for when, _, newest in seen if 40 <= when < 90} == {39}
        assert [newest for when, _, newest in seen if when >= 90][:2] == [89, 94]
    silent, back = result.warnings
    assert silent == (
        "no candle of OTHER has come from 'two' since 2024-01-01 00:40 UTC, for 11 minutes; it is not waited for any "
        "more: a strategy that looks at it sees the candles before, as in a backtest with allow_gaps=True"
    )
    assert back == "candles of OTHER come again, from 2024-01-01 00:40 UTC on; at 9 moments older ones were seen"


def test_longer_candles_of_a_silent_symbol_end_with_what_came_of_the_last() -> None:
    _, seen = lived("15m", "candles", silent=(40, 1000))
    assert [when for when, _, _ in seen] == [*range(0, 131, 5)]
    assert {newest for when, _, newest in seen if when >= 45} == {30}  # 10 of its 15 minutes came
    assert [(when, now) for when, now, _ in seen if now > when] == [(45, 55), (50, 55)]


def test_with_gaps_allowed_a_silent_symbol_holds_up_no_question() -> None:
    result, seen = lived("1m", "candles", allow_gaps=True)
    assert [(when, now) for when, now, _ in seen] == [(when, when) for when in range(0, 131, 5)]
    assert {newest for when, _, newest in seen if 40 <= when < 90} == {39}
    (late,) = result.warnings
    assert late.startswith(
        "candles of OTHER come late from 'two': that of 2024-01-01 00:40 UTC was not here at 2024-01-01 01:25 UTC"
    )


@pytest.mark.parametrize("allow_gaps", first_quick([False, True]))
def test_the_candle_in_which_the_data_begins_is_that_of_a_backtest(allow_gaps: bool) -> None:  # noqa: FBT001 -- a table's column
    begin, start, until = 20, 45, 180

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        first = -(-(since - ORIGIN) // MINUTE)
        return [
            (ORIGIN + n * MINUTE, 100.0, 110.0, 90.0, 100.0 + n % 7, 1.0)
            for n in range(max(first, begin), first + limit)
        ]

    seen: dict[str, dict[int, list[Any]]] = {"live": {}, "backtest": {}}

    def get_signal(ctx: bknb.Context) -> None:
        row: list[Any] = []
        for interval in ("15m", "1h", "1w"):
            since = ctx.candles(interval, since=ctx.at("00:00"))
            row.append(
                [
                    ((int(time) - ORIGIN) // MINUTE, volume)
                    for time, volume in zip(since.timestamp, since.volume, strict=True)
                ]
            )
            try:
                row.append(ctx.candles(interval, 1).timestamp.tolist())
            except bknb.NotEnoughData as error:
                row.append(error.late)
        seen[ctx.mode][(ctx.when_ms - ORIGIN) // MINUTE] = row

    exchange = bknb.add_exchange("young", get_candles=get_candles, intervals=["1m"])
    strategy = bknb.add_strategy("looks", interval="15m", get_signal=get_signal)
    frame = ORIGIN + start * MINUTE, ORIGIN + until * MINUTE
    bknb.backtest("MINE", strategy=strategy, exchange=exchange, frame=frame, allow_gaps=allow_gaps)
    bknb.Live.background(
        "MINE",
        strategy=strategy,
        exchange=exchange,
        clock=SimulatedClock(frame[0]),
        until=frame[1],
        store=bknb.stores.memory(),
        allow_gaps=allow_gaps,
    ).result()
    assert {when: seen["live"].get(when) for when in seen["backtest"]} == seen["backtest"]
    hours = [(0, 40.0), (60, 60.0)] if allow_gaps else [(60, 60.0)]
    assert seen["backtest"][120][2] == hours


@pytest.mark.parametrize("how", first_quick(["candles", "price", "panel"]))
def test_of_a_symbol_that_was_silent_before_a_run_began_the_last_candles_are_found(how: str) -> None:
    """After a restart, say: they lie farther back than a strategy looks. A panel has none of them."""
    result, seen = lived("1m", how, silent=(-80, 90))
    assert [(when, now) for when, now, _ in seen] == [(when, when) for when in range(0, 131, 5)]
    if how == "candles":
        assert {newest for when, _, newest in seen if when < 90} == {-81}
    assert [text.partition(",")[0] for text in result.warnings] == [
        f"no candle of OTHER has come from 'two' since 2023-12-31 22:{53 if how == 'panel' else 40} UTC",
        "candles of OTHER come again",
    ]
    assert result.errors == []
