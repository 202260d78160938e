"""Orders of the market's clock, minute by minute: deadlines, the close of a session, how long an order rests."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from clocked import ALWAYS, ClockRow, clock_source, functions_of, mirrored, open_times, play, run_of
from managed import FREE
from quick import rest_long
from scenarios import ORIGIN

import bknb
from bknb import Add, Cancel, Close, Move, Reduce
from bknb.domain.market_on_close_orders import HELD_OVER

LAST = (100, 102, 99, 101)  # a candle that closes elsewhere than it opens


def long(**more: Any) -> bknb.Signal:
    return bknb.Signal(position="long", **more)


IN = "opened 100 @5"
FRAME_END = "closed frame_end 100 @85"
DAY1_CLOSE = "closed time_expired 101 @19"

CLOSES = [
    # out at the close
    ClockRow("the close of the session", {5: long(until="session_end")}, [IN, DAY1_CLOSE], {19: LAST}),
    ClockRow("the last minute has no candle", {5: long(until="session_end")}, [IN, "closed time_expired 101 @18"],
        {18: LAST}, missing=[19]),
    ClockRow("the last minutes have no volume", {5: long(until="session_end")}, [IN, "closed time_expired 101 @17"],
        {17: LAST}, quiet=[18, 19], touch=[IN, "closed time_expired 100 @19"]),
    ClockRow("the stop of the last candle is first", {5: long(until="session_end", price_stop_loss=99.5)},
        [IN, "closed stop_loss 99.5 @19"], {19: LAST}),
    ClockRow("the target of the last candle is first", {5: long(until="session_end", price_take_profit=101.5)},
        [IN, "closed take_profit 101.5 @19"], {19: LAST}),
    ClockRow("a stop that the last candle opens beyond", {5: long(until="session_end", price_stop_loss=99.5)},
        [IN, "closed stop_loss 98 @19"], {19: (98, 102, 98, 101)}, touch=[IN, "closed stop_loss 99.5 @19"]),
    ClockRow("an entry in the last candle", {19: long(until="session_end")}, ["opened 100 @19", DAY1_CLOSE],
        {19: LAST}),
    ClockRow("a half day", {45: long(until="session_end")}, ["opened 100 @45", "closed time_expired 101 @49"],
        {49: LAST}),
    ClockRow("a limit that fills on the next day leaves at that day's close",
        {16: long(until="session_end", price_open=95, valid=None)},
        ["scheduled 95 @16", "opened 95 @25", "closed time_expired 101 @39"], {25: (100, 100, 94, 100), 39: LAST}),
    ClockRow("a limit that fills in the last candle", {5: long(until="session_end", price_open=95)},
        ["scheduled 95 @5", "opened 95 @19", "closed time_expired 96 @19"], {19: (100, 100, 94, 96)}),
    ClockRow("a market entry that no candle of the day fills", {18: long(until="session_end")},
        ["opened 100 @20", "closed time_expired 101 @39"], {39: LAST}, missing=[18, 19]),
    ClockRow("a market that never closes has the days of UTC", {1320: long(until="session_end")},
        ["opened 100 @1320", "closed time_expired 101 @1439"], {1439: LAST}, sessions=ALWAYS, end=1500, interval="1h"),
    ClockRow("a minute deadline before the close", {5: long(until="session_end", minute_estimated_time=3)},
        [IN, "closed time_expired 100 @8"], {19: LAST}),
    ClockRow("a minute deadline behind the close", {5: long(until="session_end", minute_estimated_time=60)},
        [IN, DAY1_CLOSE], {19: LAST}),
    ClockRow("the frame ends at that close", {5: long(until="session_end")}, [IN, DAY1_CLOSE], {19: LAST}, end=20),
    ClockRow("the frame ends before", {5: long(until="session_end")}, [IN, "closed frame_end 100 @19"], {19: LAST},
        end=19),
    ClockRow("a ladder, and what is left at the close",
        {5: long(until="session_end", price_take_profit=[(101.5, 0.5)])},
        [IN, "reduced take_profit 0.5 at 101.5 @19, 0.5 left", DAY1_CLOSE], {19: LAST}),
    ClockRow("a trailing stop of the last candle", {5: long(until="session_end", trailing=bknb.Trailing(distance=0.5))},
        [IN, "closed trailing_stop 99.5 @19"], {19: LAST}),
    # before the close
    ClockRow("five minutes before", {5: long(until="session_end-5m")}, [IN, "closed time_expired 100 @15"],
        {15: LAST}),
    ClockRow("opened within the five minutes: at the close", {16: long(until="session_end-5m")},
        ["opened 100 @16", DAY1_CLOSE], {19: LAST}),
    ClockRow("opened in the last minute: at the close", {19: long(until="session_end-5m")},
        ["opened 100 @19", DAY1_CLOSE], {19: LAST}),
    # an order to close at the close
    ClockRow("close at the close", {5: long()}, [IN, "moved strategy to none @8", "closed strategy 101 @19"],
        {19: LAST}, {8: Close(at="close")}),
    ClockRow("it is said again", {5: long()}, [IN, "moved strategy to none @8", "closed strategy 101 @19"],
        {19: LAST}, {8: Close(at="close"), 9: Close(at="close")}),
    ClockRow("the stop holds until then", {5: long(price_stop_loss=99.5)},
        [IN, "moved strategy to 99.5 @8", "closed stop_loss 99.5 @12"], {12: LAST}, {8: Close(at="close")}),
    ClockRow("closed before at the market", {5: long()}, [IN, "moved strategy to none @8", "closed strategy 100 @10"],
        {19: LAST}, {8: Close(at="close"), 10: Close()}),
    ClockRow("decided at the last minute", {5: long()}, [IN, "moved strategy to none @19", "closed strategy 101 @19"],
        {19: LAST}, {19: Close(at="close")}),
    ClockRow("no candle since it was decided", {5: long()},
        [IN, "moved strategy to none @18", "closed strategy 102 @20"],
        {20: (102, 102, 102, 102)}, {18: Close(at="close")}, quiet=[18, 19],
        touch=[IN, "moved strategy to none @18", "closed strategy 100 @19"]),
    ClockRow("a part before", {5: long()},
        [IN, "moved strategy to none @8", "reduced strategy 0.5 at 100 @8, 0.5 left", "closed strategy 101 @19"],
        {19: LAST}, {8: [Reduce(0.5), Close(at="close")]}),
    # a move
    ClockRow("moved to the close", {5: long(minute_estimated_time=60)}, [IN, "moved strategy to none @8", DAY1_CLOSE],
        {19: LAST}, {8: Move(until="session_end")}),
    ClockRow("no deadline any more", {5: long(until="session_end")}, [IN, "moved strategy to none @8", FRAME_END],
        {19: LAST}, {8: Move(until=None)}),
    ClockRow("moved to the close again", {5: long()}, [IN, "moved strategy to none @8", DAY1_CLOSE], {19: LAST},
        {8: Move(until="session_end"), 9: Move(until="session_end")}),
    ClockRow("an order for the close stands", {5: long()},
        [IN, "moved strategy to none @8", "closed strategy 101 @19"], {19: LAST},
        {8: Close(at="close"), 9: Move(until=None)}),
    ClockRow("minutes of a move count from the fill", {5: long(until="session_end")},
        [IN, "moved strategy to none @8", "closed time_expired 100 @15"], {19: LAST}, {8: Move(until=10)}),
    ClockRow("candles of a move count from the fill", {5: long()},
        [IN, "moved strategy to none @8", "closed time_expired 100 @9"], {}, {8: Move(bars=4)}),
    ClockRow("candles that have passed", {5: long()},
        [IN, "moved strategy to none @8", "closed time_expired 100 @8"], {}, {8: Move(bars=2)}),
]  # fmt: skip
NEXT_DAY = (102, 102, 102, 102)  # it opens elsewhere
AT_17 = "closed time_expired 101 @17"
QUIET: dict[str, Any] = {"candles": {17: LAST, 20: NEXT_DAY}, "quiet": [18, 19]}
LEAVING = [  # out at the market so shortly before the close that no candle of the day can fill it any more
    ClockRow("out at the market before the close: a deadline, and out at the close",
        {5: long(until="session_end", minute_estimated_time=13)}, [IN, AT_17],
        touch=[IN, "closed time_expired 100 @18"], **QUIET),
    ClockRow("out at the market before the close: no candle at all",
        {5: long(until="session_end", minute_estimated_time=13)}, [IN, AT_17], {17: LAST, 20: NEXT_DAY},
        missing=[18, 19]),
    ClockRow("out at the market before the close: candles, and out at the close",
        {5: long(until="session_end", bars=13)}, [IN, AT_17], **QUIET),
    ClockRow("out at the market before the close: two minutes before it", {5: long(until="session_end-2m")},
        [IN, AT_17], touch=[IN, "closed time_expired 100 @18"], **QUIET),
    ClockRow("out at the market before the close: closed by manage, and out at the close",
        {5: long(until="session_end")}, [IN, AT_17], answers={18: Close()},
        touch=[IN, "closed strategy 100 @18"], **QUIET),
    ClockRow("out at the market before the close: closed at the close, then at the market", {5: long()},
        [IN, "moved strategy to none @8", "closed strategy 101 @17"], answers={8: Close(at="close"), 18: Close()},
        **QUIET),
    ClockRow("out at the market before the close: out at the close, then closed at the close",
        {5: long(until="session_end")}, [IN, "moved strategy to none @18", "closed strategy 101 @17"],
        answers={18: Close(at="close")},
        touch=[IN, "moved strategy to none @18", "closed strategy 100 @19"], **QUIET),
    ClockRow("out at the market before the close: a candle of the day is left",
        {5: long(until="session_end", minute_estimated_time=12)}, [IN, "closed time_expired 100 @17"], **QUIET),
    ClockRow("out at the market before the close: a deadline alone: at the next open",
        {5: long(minute_estimated_time=13)}, [IN, "closed time_expired 102 @20"],
        touch=[IN, "closed time_expired 100 @18"], **QUIET),
    ClockRow("out at the market before the close: closed by manage alone: at the next open", {5: long()},
        [IN, "closed strategy 102 @20"], answers={18: Close()}, **QUIET),
    ClockRow("out at the market before the close: turned round",
        {5: long(until="session_end")}, [IN, AT_17, "opened 102 @20", "closed time_expired 100 @39"],
        answers={18: [Close(), long(until="session_end", note="again")]}, **QUIET),
    ClockRow("out at the market before the close: what follows it opens on the next day",
        {5: long(until="session_end", minute_estimated_time=13), 18: long(until="session_end")},
        [IN, AT_17, "opened 102 @20", "closed time_expired 100 @39"], **QUIET),
    ClockRow("out at the market before the close: what follows it is for the close too",
        {5: long(until="session_end"), 18: long(entry="close")}, [IN, AT_17, "cancelled timeout @20-"],
        answers={18: Close()}, **QUIET),
    ClockRow("out at the market before the close: the frame ends at that close",
        {5: long(until="session_end", minute_estimated_time=13)}, [IN, AT_17], end=20, **QUIET),
    ClockRow("out at the market before the close: the frame ends before it",
        {5: long(until="session_end", minute_estimated_time=13)}, [IN, "closed time_expired 102 @20"], end=19,
        **QUIET),
    ClockRow("out at the market before the close: nothing since it opened",
        {17: long(until="session_end", minute_estimated_time=1)}, ["opened 100 @17", AT_17], **QUIET),
    ClockRow("out at the market before the close: nothing since both were decided", {5: long()},
        [IN, "moved strategy to none @18", "closed strategy 102 @20"],
        answers={18: Close(at="close"), 19: Close()}, **QUIET),
]  # fmt: skip
ENTRIES = [
    ClockRow("in at the close", {5: long(entry="close")}, ["opened 101 @19", FRAME_END], {19: LAST}),
    ClockRow("an entry at the close: its levels are looked at from the next candle on",
        {5: long(entry="close", price_stop_loss=99.5)},
        ["opened 101 @19", "closed stop_loss 98 @20"], {19: LAST, 20: (98, 98, 98, 98)},
        touch=["opened 101 @19", "closed stop_loss 99.5 @20"]),
    ClockRow("in at the close, out at the next", {5: long(entry="close", until="session_end")},
        ["opened 101 @19", "closed time_expired 100 @39"], {19: LAST}),
    ClockRow("in at the close, and nothing trades until the next one",
        {5: long(entry="close", until="session_end")},
        ["opened 101 @19", "closed time_expired 102 @40"], {19: LAST, 40: NEXT_DAY}, missing=range(20, 40)),
    ClockRow("minutes of an entry at the close count from there",
        {5: long(entry="close", minute_estimated_time=1440 + 5)},
        ["opened 101 @19", "closed time_expired 100 @40"], {19: LAST}),
    ClockRow("candles of an entry at the close count from there", {5: long(entry="close", bars=2)},
        ["opened 101 @19", "closed time_expired 100 @22"], {19: LAST}),
    ClockRow("an entry at the close: the last minute has no candle",
        {5: long(entry="close")}, ["opened 101 @18", FRAME_END], {18: LAST},
        missing=[19]),
    ClockRow("an entry at the close: no candle since it was decided",
        {18: long(entry="close")}, ["cancelled timeout @20-"], quiet=[18, 19],
        touch=["opened 100 @19", FRAME_END]),
    ClockRow("in at the close beyond its own stop", {5: long(entry="close", price_stop_loss=99.9)},
        ["opened 99 @19", "closed stop_loss 99 @19"], {19: (100, 100, 99, 99)}),
    ClockRow("in at the close beyond its own target", {5: long(entry="close", price_take_profit=100.5)},
        ["opened 101 @19", "closed take_profit 101 @19"], {19: LAST}),
    ClockRow("an entry at the close decided at the last minute",
        {19: long(entry="close")}, ["opened 101 @19", FRAME_END], {19: LAST}),
    ClockRow("an entry at the close: the frame ends before",
        {5: long(entry="close")}, ["cancelled frame_end @19"], {19: LAST}, end=19),
    ClockRow("an entry at the close is managed when the session has closed, whichever candle filled it",
        {5: long(entry="close")}, ["opened 101 @17", "closed strategy 100 @25"],
        {17: LAST}, {18: Close(), 25: Close()}, missing=[18, 19]),
    ClockRow("turned round: out at the market, in at the close", {5: long()},
        [IN, "closed strategy 100 @8", "opened 101 @19", FRAME_END], {19: LAST},
        {8: [Close(), bknb.Signal(position="short", entry="close")]}),
]  # fmt: skip
MOMENTS = [
    ClockRow("a time of the day", {5: long(until="00:12")}, [IN, "closed time_expired 100 @12"]),
    ClockRow("the next one after the opening", {12: long(until="00:12")},
        ["opened 100 @12", "closed time_expired 100 @32"]),
    ClockRow("after an early close: at the next open", {45: long(until="00:12")},
        ["opened 100 @45", "closed time_expired 100 @50"]),
    ClockRow("in another zone", {5: long(until="01:12 Europe/Paris")}, [IN, "closed time_expired 100 @12"]),
    ClockRow("a moment", {5: long(until=datetime(2024, 1, 1, 0, 9, tzinfo=UTC))}, [IN, "closed time_expired 100 @9"]),
    ClockRow("a moment in another zone",
        {5: long(until=datetime(2024, 1, 1, 2, 9, tzinfo=timezone(timedelta(hours=2))))},
        [IN, "closed time_expired 100 @9"]),
    ClockRow("a moment as text", {5: long(until="2024-01-01T00:09:00+00:00")}, [IN, "closed time_expired 100 @9"]),
    ClockRow("a moment that has passed when it opens",
        {5: long(price_open=95, until=datetime(2024, 1, 1, 0, 9, tzinfo=UTC))},
        ["scheduled 95 @5", "opened 95 @12", "closed time_expired 100 @13"], {12: (100, 100, 94, 100)}),
    ClockRow("minutes", {5: long(until=4)}, [IN, "closed time_expired 100 @9"]),
    ClockRow("the earlier of two", {5: long(until=9, minute_estimated_time=4)}, [IN, "closed time_expired 100 @9"]),
    ClockRow("a schedule", {5: long(until="session_open+9m")}, [IN, "closed time_expired 100 @9"]),
    ClockRow("a schedule of several times of the day", {5: long(until="00:18 UTC, 00:09 UTC")},
        [IN, "closed time_expired 100 @9"]),
    ClockRow("a schedule of bknb.at", {5: long(until=bknb.at.week("mon", after=1))},
        [IN, "closed time_expired 100 @70"]),
    ClockRow("candles", {5: long(bars=3)}, [IN, "closed time_expired 100 @8"]),
    ClockRow("candles of five minutes: that of the entry counts", {5: long(bars=1)},
        [IN, "closed time_expired 100 @10"], interval="5m"),
    ClockRow("candles over night", {18: long(bars=3)}, ["opened 100 @18", "closed time_expired 100 @21"]),
    ClockRow("candles and a moment", {5: long(bars=3, until="00:07")}, [IN, "closed time_expired 100 @7"]),
]  # fmt: skip
LIMIT = "scheduled 95 @5"
VALID = [
    ClockRow("waits for minutes", {5: long(price_open=95, valid=3)}, [LIMIT, "cancelled timeout @8"]),
    ClockRow("the candle before it is over", {5: long(price_open=95, valid=3)},
        [LIMIT, "opened 95 @7", FRAME_END], {7: (100, 100, 94, 100)}),
    ClockRow("waits until it is cancelled", {5: long(price_open=95, valid=None)}, [LIMIT, "opened 95 @80", FRAME_END],
        {80: (100, 100, 94, 100)}),
    ClockRow("waits until the next question", {5: long(price_open=95, valid="slot")}, [LIMIT, "cancelled timeout @15"],
        interval="15m"),
    ClockRow("and the question of that moment is asked",
        {5: long(price_open=95, valid="slot"), 10: long(price_open=96, valid=3)},
        [LIMIT, "cancelled timeout @10", "scheduled 96 @10", "cancelled timeout @13"], interval="5m"),
    ClockRow("waits until the next question of a schedule",
        {5: long(price_open=95, valid="slot"), 10: long(price_open=96, valid=3)},
        [LIMIT, "cancelled timeout @10", "scheduled 96 @10", "cancelled timeout @13"], interval="1d",
        at="00:05 UTC, 00:10 UTC"),
    ClockRow("waits until the next question of a schedule, on the next day",
        {5: long(price_open=95, valid="slot")}, [LIMIT, "cancelled timeout @22"], interval="5m",
        at="session_open+5m, tue 00:02 UTC"),
    ClockRow("waits until the next question of a schedule: an add", {5: long()},
        [IN, "taken back timeout @25", FRAME_END], {}, {7: Add(1, price_open=95, valid="slot")}, interval="1m",
        at="session_open+5m"),
    ClockRow("waits until the next question of a schedule, in a week", {5: long(price_open=95, valid="slot")},
        [LIMIT, "cancelled timeout @75"], interval="1d", at="mon 00:05 UTC"),
    ClockRow("waits until the session ends", {5: long(price_open=95, valid="session_end")},
        [LIMIT, "cancelled timeout @20-"]),
    ClockRow("waits until five minutes before the end, which have begun: until the end",
        {16: long(price_open=95, valid="session_end-5m")}, ["scheduled 95 @16", "cancelled timeout @20-"]),
    ClockRow("waits until a time of the day", {5: long(price_open=95, valid="00:08")}, [LIMIT, "cancelled timeout @8"]),
    ClockRow("waits until a moment", {5: long(price_open=95, valid=datetime(2024, 1, 1, 0, 9, tzinfo=UTC))},
        [LIMIT, "cancelled timeout @9"]),
    ClockRow("a stop entry", {5: long(price_open=105, entry="stop", valid=3)},
        ["scheduled 105 @5", "cancelled timeout @8"]),
    ClockRow("by default two hours: over night", {5: long(price_open=95)}, [LIMIT, "cancelled timeout @20-"],
        {30: (100, 100, 94, 100)}),
    ClockRow("by default an interval: a day", {20: long(price_open=95)},
        ["scheduled 95 @20", "opened 95 @35", FRAME_END], {35: (100, 100, 94, 100)}, interval="1d"),
    ClockRow("an add until the session ends", {5: long()}, [IN, "taken back timeout @20-", FRAME_END], {},
        {7: Add(1, price_open=95, valid="session_end")}),
    ClockRow("an add until it is cancelled", {5: long()}, [IN, "taken back strategy @60", FRAME_END], {},
        {7: Add(1, price_open=95, valid=None), 60: Cancel()}),
    ClockRow("an add until the next question", {5: long()}, [IN, "taken back timeout @10", FRAME_END], {},
        {7: Add(1, price_open=95, valid="slot")}, interval="5m"),
]  # fmt: skip
ROWS = [*CLOSES, *LEAVING, *ENTRIES, *MOMENTS, *VALID]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row(row: ClockRow) -> None:
    for each in (row, mirrored(row)):
        assert play(each) == each.expected("pessimistic")


@pytest.mark.parametrize("row", [row for row in ROWS if row.touch], ids=lambda row: row.name)
def test_a_row_where_levels_are_touched(row: ClockRow) -> None:
    assert play(row, "touch") == row.expected("touch")


MODELS = ("pessimistic", "touch", "vwap")
SKIPPED = [*ROWS[::3], *LEAVING[::2]]
IN_TURN = [*zip(SKIPPED, itertools.cycle(MODELS), strict=False)]  # each row in one model


@pytest.mark.parametrize(
    ("row", "model"),
    [*IN_TURN, *rest_long([pair for pair in itertools.product(SKIPPED, MODELS) if pair not in IN_TURN], kept=0)],
    ids=lambda part: getattr(part, "name", part),
)
def test_skipping_minutes_changes_nothing(row: ClockRow, model: str) -> None:
    assert play(row, model) == play(row, model, every_minute=True)


def test_what_is_held_over_a_close_is_marked_and_told() -> None:
    given = {18: Close(at="close", note="mine")}
    row = ClockRow("", {5: long()}, answers=given, candles={20: NEXT_DAY}, quiet=[18, 19])
    closes = [event for event in run_of(row, "pessimistic").heard if isinstance(event, bknb.Closed)]
    assert [(event.price_close, event.note) for event in closes] == [(102, f"mine; {HELD_OVER}")]
    strategy = bknb.add_strategy("held", interval="1m", get_signal=functions_of(row)[0], manage=functions_of(row)[1])
    frame = (ORIGIN, open_times(row.sessions)[row.end])
    options: dict[str, Any] = {"strategy": strategy, "exchange": clock_source(row), "frame": frame}
    result = bknb.backtest("BTCUSDT", settings=FREE, **options)
    assert result.fills.note.tolist()[-1] == f"mine; {HELD_OVER}"
    assert "over the close: 1 position that was to be out at a session's close left later" in result.report()
    assert "over the close" not in bknb.backtest("BTCUSDT", execution="touch", settings=FREE, **options).report()


def test_at_average_prices_the_close_is_the_average_of_the_last_minutes() -> None:
    row = ClockRow("", {5: long(until="session_end")}, candles={19: (100, 103, 100, 103)})
    typical = (103 + 100 + 103) / 3
    assert play(row, "vwap") == [IN, f"closed time_expired {(4 * 100 + typical) / 5:.10g} @19"]


WRONG: dict[str, tuple[Any, str]] = {
    "no time zone": (long(until=datetime(2024, 1, 1, 0, 9)),
        "until must have a time zone, got 2024-01-01T00:09:00, which has none"),
    "a text without a time zone": (long(until="2024-01-01T00:09"), "until must have a time zone, got 2024-01-01T"),
    "a month that does not exist": (long(until="2024-13-01T00:00:00+00:00"),
        "until '2024-13-01T00:00:00+00:00' is no date and time: month must be in 1..12; write "),
    "a moment out of range": (long(until=datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5)))),
        "until 9999-12-31T23:00:00-05:00 is out of range; give a moment within some years, or None"),
    "no end of minutes": (long(until=float("inf")), "until in minutes must be a whole number above 0, got inf"),
    "no end of candles": (long(bars=float("inf")), "bars must be a whole number above 0, of candles of the"),
    "a resting order without end of minutes": (long(price_open=95.0, valid=float("inf")),
        "valid in minutes must be a whole number above 0, got inf"),
    "the close, misspelled": (long(until="session-end"),
        "got 'session-end': there is no 'session-end'; did you mean 'session_end'?"),
    "a distance without its unit": (long(until="session_open+30"),
        "there is no 'session_open+30'; a distance is written"),
    "a time that there is not": (long(until="16:60"), "got '16:60': a time is written '07:00', from 00:00 to 23:59"),
    "the past": (long(until=datetime(2024, 1, 1, 0, 5, tzinfo=UTC)),
        "until 2024-01-01 00:05 UTC is not later than the moment of the decision, 2024-01-01 00:05 UTC; give a later"),
    "an unknown word": (long(until="tomorrow"), "'session_end-5m' or a time of the day: '16:00'; got 'tomorrow': "),
    "after the end": (long(until="session_end+5m"), "until='session_end' is the close itself, and 'session_end-5m'"),
    "nothing": (long(until=""), "got an empty text"),
    "a zone that is none": (long(until="16:00 Mars/Phobos"), "unknown time zone 'Mars/Phobos'; expected a name"),
    "a series": (long(until="series news"), "the moments of series('news') are known in a run alone"),
    "no minutes": (long(until=0), "until in minutes must be a whole number above 0, got 0"),
    "half a minute": (long(until=0.5), "until in minutes must be a whole number above 0, got 0.5"),
    "a list": (long(until=[5]), "got list: [5]"),
    "no candles": (long(bars=0), "bars must be a whole number above 0, of candles of the strategy's interval, got 0"),
    "half a candle": (long(bars=1.5), "bars must be a whole number above 0, of candles of the strategy's interval"),
    "too long": (long(until="session_end"), "until would end the position later than max_signal_lifetime_minutes = 9"),
    "too many candles": (long(bars=12), "bars would end the position later than max_signal_lifetime_minutes = 9"),
    "a price at the close": (long(entry="close", price_open=99.0),
        "entry='close' fills at the close of the session, got price_open=99.0; leave one of them out"),
    "an entry of no kind": (long(entry="open"), "entry must be 'limit', 'stop' or 'close', got 'open'"),
    "a market order that rests": (long(valid=5),
        "valid=5 is how long an order rests, and price_open is None: give its price, or leave valid out"),
    "for nothing": (long(price_open=95.0, valid=0), "valid in minutes must be a whole number above 0, got 0"),
    "for a word": (long(price_open=95.0, valid="ever"), "got 'ever': "),
    "for a list": (long(price_open=95.0, valid=[1]), "or 'slot', until the next question, or None, until it is cancel"),
    "for too long": (long(price_open=95.0, valid=None), "valid None is above max_signal_lifetime_minutes = 9"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_signal_says_what_to_do(name: str) -> None:
    signal, text = WRONG[name]
    row = ClockRow(name, {5: signal}, settings={"max_signal_lifetime_minutes": 9})
    (rejected,) = run_of(row, "pessimistic").records.rejected
    assert text in "; ".join(reason.text for reason in rejected.reasons)


ANSWERED: dict[str, tuple[Any, str]] = {
    "at what": (Close(at="open"), "at of Close must be 'market' or 'close', got 'open'"),  # type: ignore[arg-type]
    "a signal behind": ([Close(at="close"), long()], "would open while the position is still there; give it when it"),
    "a move into the past": (Move(until=datetime(2024, 1, 1, 0, 6, tzinfo=UTC)), "is not later than the moment of the"),
    "a move to a word": (Move(until="soon"), "a time of the day: '16:00'; got 'soon': "),
    "a move by no candles": (Move(bars=-1), "bars must be a whole number above 0"),
    "an add for a word": (
        Add(1, price_open=95.0, valid="soon"),
        "valid of Add must be minutes, a datetime with a time",
    ),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_a_wrong_answer_says_what_to_do(name: str) -> None:
    answer, text = ANSWERED[name]
    (rejected,) = run_of(ClockRow(name, {5: long()}, answers={8: answer}), "pessimistic").records.rejected
    assert text in rejected.reasons[0].text


def test_an_order_of_a_market_without_a_clock_is_refused() -> None:
    from bknb.config import Settings
    from bknb.domain.fills_at_stops_and_gaps import execution_model
    from bknb.domain.lifecycle import Answer, Flat, Rules, step

    rules = Rules("BTCUSDT", "s", "demo", None, "backtest", execution_model("touch"), Settings())
    for signal in (long(until="session_end"), long(bars=3), long(entry="close")):
        (rejected,) = step(Flat(), Answer(0, 100.0, signal), rules).events
        assert "needs the clock of a market, and this run has none" in rejected.reasons[0].text  # type: ignore[union-attr]
