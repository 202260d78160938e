"""The life of a signal, minute by minute: hand-written scenarios, each also mirrored (long and short exchanged)."""

from __future__ import annotations

import pytest
from quick import first_quick
from scenarios import MINUTE, ORIGIN, Candle, Scenario, line, long, play

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
BREAKOUT = long(110, 95, at=104) | {"entry": "stop"}
ABOVE = "scheduled 104 @m0"
TARGET, STOP = "closed take_profit 105", "closed stop_loss 95"
OUT = "closed time_expired 100"
ROWS = [
    # targets, stops, the deadline
    same("target", OPEN, {3: WIN}, IN, f"{TARGET} @m3"),
    same("stop", OPEN, {3: LOSE}, IN, f"{STOP} @m3"),
    split("target equals the high", OPEN, {3: (100, 105, 100, 100)}, IN, f"{OUT} @m10", f"{TARGET} @m3"),
    same("stop equals the low", OPEN, {3: (100, 100, 95, 100)}, IN, f"{STOP} @m3"),
    same("just below the target", OPEN, {3: (100, 104.99, 100, 100)}, IN, f"{OUT} @m10"),
    same("just above the stop", OPEN, {3: (100, 100, 95.01, 100)}, IN, f"{OUT} @m10"),
    same("target on the entry candle", OPEN, {0: WIN}, IN, f"{TARGET} @m0"),
    same("stop on the entry candle", OPEN, {0: LOSE}, IN, f"{STOP} @m0"),
    same("target before the entry is nothing", OPEN, {-7: WIN}, IN, f"{OUT} @m10"),
    split("open beyond the target", OPEN, {3: (108, 109, 107, 108)}, IN, "closed take_profit 108 @m3", f"{TARGET} @m3"),
    split("open at the target", OPEN, {3: (105, 105, 104, 104)}, IN, f"{OUT} @m10", f"{TARGET} @m3"),
    same("target first, stop later", OPEN, {3: WIN, 4: LOSE}, IN, f"{TARGET} @m3"),
    same("stop first, target later", OPEN, {3: LOSE, 4: WIN}, IN, f"{STOP} @m3"),
    same("last candle of the lifetime", OPEN, {9: WIN}, IN, f"{TARGET} @m9"),
    same("deadline before target", OPEN, {10: BOTH}, IN, f"{OUT} @m10"),
    same("deadline at the open of its candle", OPEN, {10: (102, 107, 93, 100)}, IN, "closed time_expired 102 @m10"),
    same("deadline and an open beyond the stop", OPEN, {10: (93, 93, 93, 93)}, IN, "closed time_expired 93 @m10"),
    same("deadline of one minute", long(105, 95, 1), {1: BOTH}, IN, f"{OUT} @m1"),
    same("target in the only minute", long(105, 95, 1), {0: WIN}, IN, f"{TARGET} @m0"),
    # the entry at the open
    same("entry at the open of its first candle", long(110, 95), {0: (102, 103, 101, 102)}, "opened 102 @m0",
         f"{OUT} @m10"),
    same("open beyond the target of a market order", OPEN, {0: (106, 107, 94, 100)}, "opened 106 @m0",
         "closed take_profit 106 @m0"),
    same("open at the target of a market order", OPEN, {0: (105, 107, 94, 100)}, "opened 105 @m0", f"{TARGET} @m0"),
    same("open beyond the stop of a market order", OPEN, {0: (93, 106, 92, 93)}, "opened 93 @m0",
         "closed stop_loss 93 @m0"),
    same("open at the stop of a market order", OPEN, {0: (95, 106, 94, 95)}, "opened 95 @m0", f"{STOP} @m0"),
    # the ends of frame and data
    same("frame end", long(105, 95, 99), {}, IN, "closed frame_end 100 @m5", end=5),
    same("frame end before stop", long(105, 95, 99), {5: BOTH}, IN, "closed frame_end 100 @m5", end=5),
    same("target before the last moment", long(105, 95, 99), {4: WIN}, IN, f"{TARGET} @m4", end=5),
    same("frame end before deadline", long(105, 95, 6), {}, IN, "closed frame_end 100 @m5", end=5),
    same("frame end and deadline", long(105, 95, 5), {}, IN, "closed frame_end 100 @m5", end=5),
    same("data end", long(105, 95, 20), {5: (100, 101, 99, 101)}, IN, "closed data_end 101 @m5", data_end=5),
    same("stop on the last candle", OPEN, {5: LOSE}, IN, f"{STOP} @m5", data_end=5),
    # limits
    same("entry traded through", LIMIT, {3: DIP}, WAIT, "opened 96 @m3", f"{OUT} @m13"),
    split("entry equals the low", LIMIT, {3: (100, 100, 96, 100)}, WAIT, "cancelled frame_end @m30",
          f"opened 96 @m3; {OUT} @m13"),
    same("entry not reached", LIMIT, {3: (100, 100, 96.01, 100)}, WAIT, "cancelled timeout @m120", end=200),
    same("entry in the first candle", LIMIT, {0: DIP}, WAIT, "opened 96 @m0", f"{OUT} @m10"),
    same("first candle opens beyond the entry", LIMIT, {0: (94, 97, 93, 97)}, "opened 94 @m0", f"{OUT} @m10"),
    same("first candle opens at the entry", LIMIT, {0: (96, 97, 96, 97)}, "opened 96 @m0", f"{OUT} @m10"),
    same("first candle opens beyond entry and stop", LIMIT, {0: (88, 97, 87, 97)}, "opened 88 @m0",
         "closed stop_loss 88 @m0"),
    same("first candle opens beyond the entry and reaches the stop", LIMIT, {0: (94, 97, 89, 97)}, "opened 94 @m0",
         "closed stop_loss 90 @m0"),
    same("timeout", LIMIT, {}, WAIT, "cancelled timeout @m120", end=200),
    same("timeout before entry", LIMIT, {120: DIP}, WAIT, "cancelled timeout @m120", end=200),
    same("timeout before stop", LIMIT, {120: CRASH}, WAIT, "cancelled timeout @m120", end=200),
    same("entry a minute before", LIMIT, {119: DIP}, WAIT, "opened 96 @m119", f"{OUT} @m129", end=200),
    same("scheduled at frame end", LIMIT, {}, WAIT, "cancelled frame_end @m5", end=5),
    same("frame end before entry", LIMIT, {5: DIP}, WAIT, "cancelled frame_end @m5", end=5),
    same("frame end before timeout", LIMIT, {}, WAIT, "cancelled frame_end @m119", end=119),
    same("frame end and timeout", LIMIT, {}, WAIT, "cancelled frame_end @m120", end=120),
    same("scheduled at data end", LIMIT, {}, WAIT, "cancelled data_end @m5", data_end=5),
    same("profit is checked on the next candle", LIMIT, {3: (100, 111, 95, 100), 5: (100, 111, 100, 100)}, WAIT,
         "opened 96 @m3", "closed take_profit 110 @m5"),
    same("profit on the very next candle", LIMIT, {3: DIP, 4: (100, 111, 100, 100)}, WAIT, "opened 96 @m3",
         "closed take_profit 110 @m4"),
    same("stop on the candle after the entry", LIMIT, {3: DIP, 4: CRASH}, WAIT, "opened 96 @m3",
         "closed stop_loss 90 @m4"),
    split("open beyond entry and stop", LIMIT, {3: (88, 89, 87, 88)}, WAIT, "opened 88 @m3; closed stop_loss 88 @m3",
          "cancelled price_reject @m3"),
    split("open at the stop of a waiting signal", LIMIT, {3: (90, 97, 90, 97)}, WAIT,
          "opened 90 @m3; closed stop_loss 90 @m3", "cancelled price_reject @m3"),
    split("open beyond the entry", LIMIT, {3: (94, 95, 93, 95)}, WAIT, f"opened 94 @m3; {OUT} @m13",
          f"opened 96 @m3; {OUT} @m13"),
    split("open beyond the entry, then the target", LIMIT, {3: (94, 111, 93, 95)}, WAIT,
          "opened 94 @m3; closed take_profit 110 @m3", f"opened 96 @m3; {OUT} @m13"),
    same("a limit better than the market", long(110, 95, at=102), {}, IN, f"{OUT} @m10"),
    same("a limit at the market", long(110, 95, at=100), {}, IN, f"{OUT} @m10"),
    split("a limit the market leaves before it opens", long(110, 90, at=102), {0: (103, 104, 103, 103)},
          "scheduled 102 @m0", f"opened 100 @m1; {OUT} @m11", f"opened 102 @m1; {OUT} @m11"),
    # doubt
    split("both in one candle", OPEN, {3: BOTH}, IN, f"{STOP} @m3 ambiguous", f"{TARGET} @m3 ambiguous"),
    split("both at their levels", OPEN, {3: (100, 105, 95, 100)}, IN, f"{STOP} @m3", f"{TARGET} @m3 ambiguous"),
    split("both on the entry candle", OPEN, {0: BOTH}, IN, f"{STOP} @m0 ambiguous", f"{TARGET} @m0 ambiguous"),
    split("gap through the stop", OPEN, {3: (93, 94, 92, 93)}, IN, "closed stop_loss 93 @m3", f"{STOP} @m3"),
    same("open at the stop", OPEN, {3: (95, 96, 94, 95)}, IN, f"{STOP} @m3"),
    split("gap, then the target", OPEN, {3: (93, 106, 92, 100)}, IN, "closed stop_loss 93 @m3",
          f"{TARGET} @m3 ambiguous"),
    split("gap beyond the target, then the stop", OPEN, {3: (108, 109, 94, 100)}, IN, "closed take_profit 108 @m3",
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
          "opened 93 @m3; closed stop_loss 90 @m3", "cancelled price_reject @m3"),
    # stop entries
    same("a breakout", BREAKOUT, {3: (100, 105, 100, 104)}, ABOVE, "opened 104 @m3", f"{OUT} @m13"),
    same("a breakout that touches its level", BREAKOUT, {3: (100, 104, 100, 104)}, ABOVE, "opened 104 @m3",
         f"{OUT} @m13"),
    same("the stop is not in force in the candle of a breakout", BREAKOUT, {3: (100, 105, 94, 104)}, ABOVE,
         "opened 104 @m3", f"{OUT} @m13 ambiguous"),
    same("nor the target", BREAKOUT, {3: (100, 111, 100, 104)}, ABOVE, "opened 104 @m3", f"{OUT} @m13"),
    same("the stop is in force in the next candle", BREAKOUT, {3: (100, 105, 94, 104), 4: LOSE}, ABOVE,
         "opened 104 @m3", f"{STOP} @m4 ambiguous"),
    same("the stop before the breakout", BREAKOUT, {3: LOSE}, ABOVE, "cancelled price_reject @m3"),
    split("a breakout by a gap", BREAKOUT, {3: (106, 107, 105, 106)}, ABOVE, f"opened 106 @m3; {OUT} @m13",
          f"opened 104 @m3; {OUT} @m13"),
    split("a breakout by a gap that falls to the stop", BREAKOUT, {3: (106, 107, 94, 106)}, ABOVE,
          f"opened 106 @m3; {STOP} @m3", f"opened 104 @m3; {OUT} @m13 ambiguous"),
    split("a breakout by a gap beyond the target", BREAKOUT, {3: (111, 112, 105, 106)}, ABOVE,
          "opened 111 @m3; closed take_profit 111 @m3", f"opened 104 @m3; {OUT} @m13"),
    same("a breakout at a later open", BREAKOUT, {3: (104, 105, 94, 104)}, ABOVE, "opened 104 @m3",
         f"{OUT} @m13 ambiguous"),
    Scenario("a breakout at the first open, then the stop", (BREAKOUT,), {0: (104, 105, 94, 104)},
             pessimistic=["opened 104 @m0", f"{STOP} @m0"], touch=["opened 104 @m0", f"{OUT} @m10 ambiguous"]),
    Scenario("a breakout at the first open", (BREAKOUT,), {0: (104, 105, 100, 104)},
             pessimistic=["opened 104 @m0", f"{OUT} @m10"], touch=["opened 104 @m0", f"{OUT} @m10"]),
    Scenario("a breakout beyond the first open", (BREAKOUT,), {0: (106, 107, 94, 104)},
             pessimistic=["opened 106 @m0", f"{STOP} @m0"], touch=["opened 104 @m0", f"{OUT} @m10 ambiguous"]),
    # candles without volume
    Scenario("no volume at all", (OPEN,), {3: WIN}, volume=dict.fromkeys(range(-60, 41), 0.0),
             pessimistic=[IN, f"{TARGET} @m3"], touch=[IN, f"{TARGET} @m3"]),
    Scenario("a source that begins to report volumes", (OPEN,), {5: LOSE},
             volume=dict.fromkeys((*range(-5, 3), 5), 0.0),
             pessimistic=[IN, f"{OUT} @m10"], touch=[IN, f"{STOP} @m5"]),
    Scenario("a candle without volume stops nothing", (OPEN,), {3: LOSE}, volume={3: 0.0},
             pessimistic=[IN, f"{OUT} @m10"], touch=[IN, f"{STOP} @m3"]),
    Scenario("nor does it open", (OPEN,), {0: LOSE, 1: (101, 101, 101, 101)}, volume={0: 0.0},
             pessimistic=["opened 101 @m1", f"{OUT} @m11"], touch=[IN, f"{STOP} @m0"]),
    Scenario("nor close at a deadline", (OPEN,), {12: (99, 106, 94, 100)}, volume={10: 0.0, 11: 0.0},
             pessimistic=[IN, "closed time_expired 99 @m12"], touch=[IN, f"{OUT} @m10"]),
    Scenario("nor fill a limit", (LIMIT,), {3: DIP}, volume={3: 0.0},
             pessimistic=[WAIT, "cancelled frame_end @m30"], touch=[WAIT, "opened 96 @m3", f"{OUT} @m13"]),
    Scenario("frame end waits for a candle with volume", (long(105, 95, 99),), {7: (99, 106, 94, 100)}, end=5,
             volume={5: 0.0, 6: 0.0}, pessimistic=[IN, "closed frame_end 99 @m7"],
             touch=[IN, "closed frame_end 100 @m5"]),
    Scenario("an order whose candle never comes", (*[None] * 5, OPEN), data_end=5, volume={5: 0.0},
             pessimistic=["cancelled data_end @m5"], touch=["opened 100 @m5", "closed data_end 100 @m5"]),
    # question after question
    Scenario("the next trade opens after the closing minute", (OPEN, OPEN), {3: WIN, 4: LOSE},
             pessimistic=[IN, f"{TARGET} @m3", "opened 100 @m4", f"{STOP} @m4"],
             touch=[IN, f"{TARGET} @m3", "opened 100 @m4", f"{STOP} @m4"]),
    Scenario("a deadline frees the question of its moment", (long(105, 95, 5), OPEN), {5: (101, 101, 101, 101)},
             pessimistic=[IN, "closed time_expired 101 @m5", "opened 101 @m5", f"{OUT} @m15"],
             touch=[IN, "closed time_expired 101 @m5", "opened 101 @m5", f"{OUT} @m15"]),
    Scenario("what leaves and what enters wait for the same open", (long(105, 95, 5), OPEN), {7: (101, 101, 101, 101)},
             volume={5: 0.0, 6: 0.0},
             pessimistic=[IN, "closed time_expired 101 @m7", "opened 101 @m7", f"{OUT} @m17"],
             touch=[IN, f"{OUT} @m5", IN.replace("m0", "m5"), f"{OUT} @m15"]),
    Scenario("a timeout frees the question of its moment", (LIMIT, OPEN), end=200,
             pessimistic=[WAIT, "cancelled timeout @m120", "opened 100 @m120", f"{OUT} @m130"],
             touch=[WAIT, "cancelled timeout @m120", "opened 100 @m120", f"{OUT} @m130"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("execution", "upside_down"),
    first_quick([("pessimistic", False), ("touch", True), ("pessimistic", True), ("touch", False)], kept=2),
    ids=["pessimistic-long", "touch-short", "pessimistic-short", "touch-long"],
)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_happens_to_a_signal(row: Scenario, upside_down: bool, execution: str) -> None:  # noqa: FBT001
    world = row.mirrored() if upside_down else row
    result = play(world, execution)
    assert not result.errors
    assert result.rejected.empty
    assert [line(event) for event in result.events] == list(getattr(world, execution))


@pytest.mark.parametrize("execution", ["pessimistic", "touch"])
def test_the_last_moment_of_a_frame_asks_nobody(execution: str) -> None:
    asked: list[int] = []
    play(Scenario("nothing", (), end=5), execution, asked=asked)
    assert [(moment - ORIGIN) // MINUTE for moment in asked] == [0, 1, 2, 3, 4]


def test_a_question_comes_at_the_close_of_the_closing_minute() -> None:
    asked: list[int] = []
    result = play(ROWS[0], "pessimistic", asked=asked)
    (closed,) = [event for event in result.events if isinstance(event, bknb.Closed)]
    assert asked[1] == closed.closed_at + 60_000
