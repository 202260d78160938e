"""The life of a signal, minute by minute: hand-written scenarios, each also mirrored (long and short exchanged)."""

from __future__ import annotations

import pytest
from scenarios import Candle, Scenario, line, long, play

import bknb

IN = "opened 100 @m0"
WAIT = "scheduled 96 @m0"
BOTH: Candle = (100, 106, 94, 100)
WIN: Candle = (100, 106, 100, 100)
LOSE: Candle = (100, 100, 94, 100)
DIP: Candle = (100, 100, 95, 100)
CRASH: Candle = (100, 100, 89, 100)


def same(name: str, signal: dict[str, object], candles: dict[int, Candle], *lines: str, **more: int) -> Scenario:
    return Scenario(name, (signal,), candles, pessimistic=lines, touch=lines, **more)  # type: ignore[arg-type]


def split(name: str, signal: dict[str, object], candles: dict[int, Candle], first: str, a: str, b: str) -> Scenario:
    """The models differ: ``a`` is pessimistic, ``b`` is touch; lines are parted by semicolons."""
    return Scenario(name, (signal,), candles, pessimistic=[first, *a.split("; ")], touch=[first, *b.split("; ")])


OPEN, LIMIT = long(105, 95), long(110, 90, at=96)
TARGET, STOP = "closed take_profit 105", "closed stop_loss 95"
ROWS = [
    same("target", OPEN, {3: WIN}, IN, f"{TARGET} @m3"),
    same("stop", OPEN, {3: LOSE}, IN, f"{STOP} @m3"),
    same("target equals the high", OPEN, {3: (100, 105, 100, 100)}, IN, f"{TARGET} @m3"),
    same("stop equals the low", OPEN, {3: (100, 100, 95, 100)}, IN, f"{STOP} @m3"),
    same("just below the target", OPEN, {3: (100, 104.99, 100, 100)}, IN, "closed time_expired 100 @m10"),
    same("just above the stop", OPEN, {3: (100, 100, 95.01, 100)}, IN, "closed time_expired 100 @m10"),
    same("target on the entry candle", OPEN, {0: WIN}, IN, f"{TARGET} @m0"),
    same("stop on the entry candle", OPEN, {0: LOSE}, IN, f"{STOP} @m0"),
    same("target before the entry is nothing", OPEN, {-7: WIN}, IN, "closed time_expired 100 @m10"),
    same("gap through the target fills at the level", OPEN, {3: (108, 109, 107, 108)}, IN, f"{TARGET} @m3"),
    same("target first, stop later", OPEN, {3: WIN, 4: LOSE}, IN, f"{TARGET} @m3"),
    same("stop first, target later", OPEN, {3: LOSE, 4: WIN}, IN, f"{STOP} @m3"),
    same("last candle of the lifetime", OPEN, {9: WIN}, IN, f"{TARGET} @m9"),
    same("deadline before target", OPEN, {10: (100, 106, 94, 100)}, IN, "closed time_expired 100 @m10"),
    same("deadline before far levels", OPEN, {10: (100, 107, 93, 100)}, IN, "closed time_expired 100 @m10"),
    same("deadline of one minute", long(105, 95, 1), {1: BOTH}, IN, "closed time_expired 100 @m1"),
    same("target in the only minute", long(105, 95, 1), {0: WIN}, IN, f"{TARGET} @m0"),
    same("frame end", long(105, 95, 99), {}, IN, "closed frame_end 100 @m6", end=5),
    same("frame end before stop", long(105, 95, 99), {6: BOTH}, IN, "closed frame_end 100 @m6", end=5),
    same("target at the last moment", long(105, 95, 99), {5: WIN}, IN, f"{TARGET} @m5", end=5),
    same("frame end before deadline", long(105, 95, 6), {}, IN, "closed frame_end 100 @m6", end=5),
    same("deadline at the last moment", long(105, 95, 5), {}, IN, "closed time_expired 100 @m5", end=5),
    same("data end", long(105, 95, 20), {}, IN, "closed data_end 100 @m5", data_end=5),
    same("stop on the last candle", OPEN, {5: LOSE}, IN, f"{STOP} @m5", data_end=5),
    same("entry touched", LIMIT, {3: DIP}, WAIT, "opened 96 @m3", "closed time_expired 100 @m13"),
    same("entry equals the low", LIMIT, {3: (100, 100, 96, 100)}, WAIT, "opened 96 @m3",
         "closed time_expired 100 @m13"),
    same("entry not reached", LIMIT, {3: (100, 100, 96.01, 100)}, WAIT, "cancelled timeout @m120", end=200),
    same("entry at once", LIMIT, {0: DIP}, WAIT, "opened 96 @m0", "closed time_expired 100 @m10"),
    same("timeout", LIMIT, {}, WAIT, "cancelled timeout @m120", end=200),
    same("timeout before entry", LIMIT, {120: DIP}, WAIT, "cancelled timeout @m120", end=200),
    same("timeout before stop", LIMIT, {120: CRASH}, WAIT, "cancelled timeout @m120", end=200),
    same("entry a minute before", LIMIT, {119: DIP}, WAIT, "opened 96 @m119", "closed time_expired 100 @m129", end=200),
    same("scheduled at frame end", LIMIT, {}, WAIT, "cancelled frame_end @m6", end=5),
    same("frame end before entry", LIMIT, {6: DIP}, WAIT, "cancelled frame_end @m6", end=5),
    same("frame end before timeout", LIMIT, {}, WAIT, "cancelled frame_end @m120", end=119),
    same("scheduled at data end", LIMIT, {}, WAIT, "cancelled data_end @m5", data_end=5),
    same("profit is checked on the next candle", LIMIT, {3: (100, 111, 95, 100), 5: (100, 111, 100, 100)}, WAIT,
         "opened 96 @m3", "closed take_profit 110 @m5"),
    same("profit on the very next candle", LIMIT, {3: DIP, 4: (100, 111, 100, 100)}, WAIT, "opened 96 @m3",
         "closed take_profit 110 @m4"),
    same("stop on the candle after the entry", LIMIT, {3: DIP, 4: CRASH}, WAIT, "opened 96 @m3",
         "closed stop_loss 90 @m4"),
    same("open beyond the stop of a waiting signal", LIMIT, {3: (88, 89, 87, 88)}, WAIT, "cancelled price_reject @m3"),
    same("open at the stop of a waiting signal", LIMIT, {3: (90, 97, 90, 97)}, WAIT, "cancelled price_reject @m3"),
    same("gap over the entry fills at the entry", LIMIT, {3: (94, 95, 93, 95)}, WAIT, "opened 96 @m3",
         "closed time_expired 100 @m13"),
    same("a limit better than the market", long(110, 95, at=102), {}, IN, "closed time_expired 100 @m10"),
    same("a limit at the market", long(110, 95, at=100), {}, IN, "closed time_expired 100 @m10"),
    split("both in one candle", OPEN, {3: BOTH}, IN, f"{STOP} @m3 ambiguous", f"{TARGET} @m3 ambiguous"),
    split("both at their levels", OPEN, {3: (100, 105, 95, 100)}, IN, f"{STOP} @m3 ambiguous",
          f"{TARGET} @m3 ambiguous"),
    split("both on the entry candle", OPEN, {0: BOTH}, IN, f"{STOP} @m0 ambiguous", f"{TARGET} @m0 ambiguous"),
    split("gap through the stop", OPEN, {3: (93, 94, 92, 93)}, IN, "closed stop_loss 93 @m3", f"{STOP} @m3"),
    split("gap on the entry candle", OPEN, {0: (93, 94, 92, 93)}, IN, "closed stop_loss 93 @m0", f"{STOP} @m0"),
    split("open at the stop", OPEN, {3: (95, 96, 94, 95)}, IN, f"{STOP} @m3", f"{STOP} @m3"),
    split("gap, then the target", OPEN, {3: (93, 106, 92, 100)}, IN, "closed stop_loss 93 @m3",
          f"{TARGET} @m3 ambiguous"),
    split("gap beyond the target, then the stop", OPEN, {3: (108, 109, 94, 100)}, IN, f"{STOP} @m3 ambiguous",
          f"{TARGET} @m3 ambiguous"),
    split("entry and stop in one candle", LIMIT, {3: CRASH}, WAIT, "opened 96 @m3; closed stop_loss 90 @m3 ambiguous",
          "cancelled price_reject @m3"),
    split("entry and stop, the low equals the stop", LIMIT, {3: (100, 100, 90, 100)}, WAIT,
          "opened 96 @m3; closed stop_loss 90 @m3 ambiguous", "cancelled price_reject @m3"),
    split("entry and stop at once", LIMIT, {0: CRASH}, WAIT, "opened 96 @m0; closed stop_loss 90 @m0 ambiguous",
          "cancelled price_reject @m0"),
    split("entry, stop and target in one candle", LIMIT, {3: (100, 111, 89, 100)}, WAIT,
          "opened 96 @m3; closed stop_loss 90 @m3 ambiguous", "cancelled price_reject @m3"),
    split("opens between entry and stop", LIMIT, {3: (93, 95, 89, 93)}, WAIT,
          "opened 96 @m3; closed stop_loss 90 @m3 ambiguous", "cancelled price_reject @m3"),
    Scenario("no volume at all", (OPEN,), {3: WIN}, volume=dict.fromkeys(range(-60, 41), 0.0),
             pessimistic=[IN, f"{TARGET} @m3"], touch=[IN, f"{TARGET} @m3"]),
    Scenario("a candle without volume still stops", (OPEN,), {3: LOSE}, volume={3: 0.0},
             pessimistic=[IN, f"{STOP} @m3"], touch=[IN, f"{STOP} @m3"]),
    Scenario("the next trade opens after the closing minute", (OPEN, OPEN), {3: WIN, 4: LOSE},
             pessimistic=[IN, f"{TARGET} @m3", "opened 100.4 @m4", f"{STOP} @m4"],
             touch=[IN, f"{TARGET} @m3", "opened 100.4 @m4", f"{STOP} @m4"]),
]  # fmt: skip


@pytest.mark.parametrize("execution", ["pessimistic", "touch"])
@pytest.mark.parametrize("upside_down", [False, True], ids=["long", "short"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_happens_to_a_signal(row: Scenario, upside_down: bool, execution: str) -> None:  # noqa: FBT001
    world = row.mirrored() if upside_down else row
    result = play(world, execution)
    assert not result.errors
    assert result.rejected.empty
    assert [line(event) for event in result.events] == list(getattr(world, execution))


def test_a_question_comes_strictly_after_the_closing_minute() -> None:
    asked: list[int] = []
    result = play(ROWS[0], "pessimistic", asked=asked)
    (closed,) = [event for event in result.events if isinstance(event, bknb.Closed)]
    assert asked[1] == closed.closed_at + 60_000
