"""Managed positions, minute by minute: hand-written rows, each also mirrored, in the execution models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from managed import Row, play, run_of
from scenarios import MINUTE, ORIGIN, Candle, source

import bknb
from bknb import Add, Breakeven, Cancel, Close, Move, Reduce, Trailing
from bknb.domain.milestones_passed import progress
from bknb.domain.position_fills import Fill, FillKind
from bknb.domain.profit_of_partial_closes import largest_cost
from bknb.runs.fill_table import fill_rows

IN = "opened 100 @m0"
END = "closed frame_end 100 @m30"
UP: Candle = (100, 106, 100, 100)
DOWN: Candle = (100, 100, 94, 100)


def long(stop: float | None = None, take: Any = None, minutes: int | None = None, **more: Any) -> bknb.Signal:
    return bknb.Signal(
        position="long", price_stop_loss=stop, price_take_profit=take, minute_estimated_time=minutes, **more
    )


HALVES = [(104.0, 0.5), (108.0, 0.5)]
LADDER = [(104.0, 0.5), (108.0, 0.25)]
HALF4, LEFT8 = "reduced take_profit 0.5 at 104", "closed take_profit 108"
BY2 = Trailing(distance=2.0)
LATE2 = Trailing(distance=2.0, after=4.0)
EVEN = Breakeven(after=3.0, plus="")
NOTHING = long()

DECLARED = [
    # levels that are not given
    Row("nothing declared: the frame ends it", NOTHING, lines=[IN, END]),
    Row("no stop", long(take=105), {3: (100, 100, 50, 100), 5: UP}, lines=[IN, "closed take_profit 105 @m5"]),
    Row("no target", long(95), {3: (100, 150, 100, 100), 5: DOWN}, lines=[IN, "closed stop_loss 95 @m5"]),
    Row("no deadline", long(95, 105), {29: UP}, lines=[IN, "closed take_profit 105 @m29"]),
    Row("a deadline alone", long(minutes=7), lines=[IN, "closed time_expired 100 @m7"]),
    Row("no stop: a gap far below fills nothing", long(take=105), {3: (50, 60, 40, 50), 4: (50, 106, 50, 100)},
        lines=[IN, "closed take_profit 105 @m4"]),
    Row("no target: a gap far above fills nothing", long(95), {3: (150, 160, 140, 150)}, lines=[IN, END]),
    Row("a limit without stop", long(take=110, price_open=96), {3: (100, 100, 50, 100)},
        lines=["scheduled 96 @m0", "opened 96 @m3", END]),
    Row("a stop entry without stop", long(take=110, price_open=104, entry="stop"), {2: (100, 100, 50, 100),
        3: (100, 105, 100, 104)}, lines=["scheduled 104 @m0", "opened 104 @m3", END]),
    # a ladder
    Row("one level", long(95, HALVES), {3: (100, 105, 100, 100)}, lines=[IN, f"{HALF4} @m3, 0.5 left", END]),
    Row("two levels in two candles", long(95, HALVES), {3: (100, 105, 100, 100), 5: (100, 109, 100, 100)},
        lines=[IN, f"{HALF4} @m3, 0.5 left", f"{LEFT8} @m5"]),
    Row("two levels in one candle", long(95, HALVES), {3: (100, 109, 100, 100)},
        lines=[IN, f"{HALF4} @m3, 0.5 left", f"{LEFT8} @m3"]),
    Row("what is left runs on", long(95, LADDER), {3: (100, 109, 100, 100)},
        lines=[IN, f"{HALF4} @m3, 0.5 left", "reduced take_profit 0.25 at 108 @m3, 0.25 left", END]),
    Row("what is left meets the stop", long(95, LADDER), {3: (100, 105, 100, 100), 5: DOWN},
        lines=[IN, f"{HALF4} @m3, 0.5 left", "closed stop_loss 95 @m5"]),
    Row("levels given in another order", long(95, [(108.0, 0.5), (104.0, 0.5)]), {3: (100, 105, 100, 100)},
        lines=[IN, f"{HALF4} @m3, 0.5 left", END]),
    Row("a level at the high", long(95, HALVES), {3: (100, 104, 100, 100)}, lines=[IN, END],
        touch=[IN, f"{HALF4} @m3, 0.5 left", END]),
    Row("a level is passed once", long(95, HALVES), {3: (100, 105, 100, 100), 4: (100, 105, 100, 100)},
        lines=[IN, f"{HALF4} @m3, 0.5 left", END]),
    Row("a gap over one level", long(95, HALVES), {3: (106, 107, 106, 106)},
        lines=[IN, "reduced take_profit 0.5 at 106 @m3, 0.5 left", END],
        touch=[IN, f"{HALF4} @m3, 0.5 left", END]),
    Row("a gap over both levels", long(95, HALVES), {3: (110, 111, 110, 110)},
        lines=[IN, "reduced take_profit 0.5 at 110 @m3, 0.5 left", "closed take_profit 110 @m3"],
        touch=[IN, f"{HALF4} @m3, 0.5 left", f"{LEFT8} @m3"]),
    Row("a gap over one level, the other in the range", long(95, HALVES), {3: (106, 109, 106, 106)},
        lines=[IN, "reduced take_profit 0.5 at 106 @m3, 0.5 left", f"{LEFT8} @m3"],
        touch=[IN, f"{HALF4} @m3, 0.5 left", f"{LEFT8} @m3"]),
    Row("stop and level in one candle", long(95, HALVES), {3: (100, 105, 94, 100)},
        lines=[IN, "closed stop_loss 95 @m3 ambiguous"],
        touch=[IN, f"{HALF4} @m3, 0.5 left", "closed stop_loss 95 @m3 ambiguous"]),
    Row("stop and both levels in one candle", long(95, HALVES), {3: (100, 109, 94, 100)},
        lines=[IN, "closed stop_loss 95 @m3 ambiguous"],
        touch=[IN, f"{HALF4} @m3, 0.5 left", f"{LEFT8} @m3 ambiguous"]),
    Row("a gap over a level, then the stop", long(95, HALVES), {3: (106, 107, 94, 100)},
        lines=[IN, "reduced take_profit 0.5 at 106 @m3, 0.5 left", "closed stop_loss 95 @m3"],
        touch=[IN, f"{HALF4} @m3, 0.5 left", "closed stop_loss 95 @m3 ambiguous"]),
    Row("a gap below the stop, then a level", long(95, HALVES), {3: (93, 105, 92, 100)},
        lines=[IN, "closed stop_loss 93 @m3"],
        touch=[IN, f"{HALF4} @m3, 0.5 left", "closed stop_loss 95 @m3 ambiguous"]),
    Row("a level on the candle of the entry", long(95, HALVES), {0: (100, 105, 100, 100)},
        lines=[IN, f"{HALF4} @m0, 0.5 left", END]),
    Row("an entry at the open beyond a level", long(95, HALVES), {0: (104, 105, 104, 104)},
        lines=["opened 104 @m0", "reduced take_profit 0.5 at 104 @m0, 0.5 left", END]),
    Row("an entry at the open at a level", long(95, HALVES), {0: (104, 104, 104, 104)},
        lines=["opened 104 @m0", "reduced take_profit 0.5 at 104 @m0, 0.5 left", END]),
    Row("an entry at the open beyond the stop", long(95, HALVES), {0: (94, 105, 94, 94)},
        lines=["opened 94 @m0", "closed stop_loss 94 @m0"]),
    Row("a level in the candle of a limit", long(90, HALVES, price_open=96), {3: (100, 105, 95, 100)},
        lines=["scheduled 96 @m0", "opened 96 @m3", END]),
    Row("a limit and the stop of a ladder in one candle", long(90, HALVES, price_open=96), {3: (100, 105, 89, 100)},
        lines=["scheduled 96 @m0", "opened 96 @m3", "closed stop_loss 90 @m3 ambiguous"],
        touch=["scheduled 96 @m0", "cancelled price_reject @m3"]),
    Row("deadline before a level", long(95, HALVES, 5), {5: (100, 109, 100, 100)},
        lines=[IN, "closed time_expired 100 @m5"]),
    Row("deadline after a level", long(95, HALVES, 5), {4: (100, 105, 100, 100)},
        lines=[IN, f"{HALF4} @m4, 0.5 left", "closed time_expired 100 @m5"]),
    Row("the data end with a part left", long(95, HALVES), {4: (100, 105, 100, 102)}, data_end=4,
        lines=[IN, f"{HALF4} @m4, 0.5 left", "closed data_end 102 @m4"]),
    Row("a candle without volume reaches no level", long(95, HALVES), {3: (100, 109, 90, 100)}, volume={3: 0.0},
        lines=[IN, END], touch=[IN, f"{HALF4} @m3, 0.5 left", f"{LEFT8} @m3 ambiguous"]),
    # trailing stops
    Row("a trail from the start", long(trailing=BY2), {3: (100, 100, 97, 97)}, lines=[IN,
        "closed trailing_stop 98 @m3"]),
    Row("a trail is in force on the candle of the entry", long(trailing=BY2), {0: (100, 100, 97, 97)},
        lines=[IN, "closed trailing_stop 98 @m0"]),
    Row("a trail follows the high of the candle before", long(trailing=BY2),
        {3: (104, 105, 104, 105), 4: (105, 105, 102, 102)}, lines=[IN, "closed trailing_stop 103 @m4"]),
    Row("a candle's own high does not raise its stop", long(trailing=BY2), {3: (100, 105, 99, 105),
        4: (105, 105, 104, 104), 5: (104, 104, 102, 102)}, lines=[IN, "closed trailing_stop 103 @m5"]),
    Row("a trail never loosens", long(trailing=BY2), {3: (104, 105, 104, 104), 4: (104, 104, 103.5, 104),
        5: (104, 104, 102, 102)}, lines=[IN, "closed trailing_stop 103 @m5"]),
    Row("a raised stop beyond the next open", long(trailing=BY2), {3: (100, 105, 100, 101), 4: (101, 101, 100, 100)},
        lines=[IN, "closed trailing_stop 101 @m4"], touch=[IN, "closed trailing_stop 103 @m4"]),
    Row("a trail and a stop: the tighter holds", long(99, trailing=BY2), {3: (100, 100, 98.5, 100)},
        lines=[IN, "closed stop_loss 99 @m3"]),
    Row("a trail and a stop on one level: the declared", long(98, trailing=BY2), {3: (100, 100, 97, 100)},
        lines=[IN, "closed stop_loss 98 @m3"]),
    Row("a trail passes the stop", long(99, trailing=BY2), {3: (102, 103, 102, 103), 4: (103, 103, 100, 100)},
        lines=[IN, "closed trailing_stop 101 @m4"]),
    Row("a trail after a move", long(90, trailing=LATE2), {3: (100, 103, 100, 100), 5: (103, 104, 103, 104),
        6: (104, 104, 101, 101)}, lines=[IN, "moved trailing_stop to 102 @m5", "closed trailing_stop 102 @m6"]),
    Row("before it begins a trail is not in force", long(90, trailing=LATE2), {3: (100, 103, 97, 97)},
        lines=[IN, END]),
    Row("a trail begins and is hit in one candle", long(90, trailing=LATE2), {3: (100, 105, 99, 100)},
        lines=[IN, "moved trailing_stop to 103 @m3", "closed trailing_stop 100 @m4"],
        touch=[IN, "moved trailing_stop to 103 @m3", "closed trailing_stop 103 @m4"]),
    Row("a trail and a target in one candle", long(take=105, trailing=BY2), {3: (100, 106, 97, 100)},
        lines=[IN, "closed trailing_stop 98 @m3 ambiguous"], touch=[IN, "closed take_profit 105 @m3 ambiguous"]),
    Row("a trail and a ladder", long(take=LADDER, trailing=BY2), {3: (104, 105, 104, 105), 4: (105, 105, 102, 102)},
        lines=[IN, f"{HALF4} @m3, 0.5 left", "closed trailing_stop 103 @m4"]),
    Row("a limit is not trailed in its candle", long(90, price_open=96, trailing=BY2), {3: (100, 104, 93, 100)},
        lines=["scheduled 96 @m0", "opened 96 @m3", END]),
    Row("nor does its candle's high count", long(80, price_open=96, trailing=BY2), {3: (100, 104, 95, 96),
        4: (96, 96, 94.5, 95), 5: (95, 95, 93, 93)},
        lines=["scheduled 96 @m0", "opened 96 @m3", "closed trailing_stop 94 @m5"]),
    Row("the high of a stop entry's candle counts", long(80, price_open=104, entry="stop", trailing=BY2),
        {3: (100, 107, 100, 106), 4: (106, 106, 104, 104)},
        lines=["scheduled 104 @m0", "opened 104 @m3", "closed trailing_stop 105 @m4"]),
    Row("after an entry at an open both extremes count", long(90, trailing=BY2), {0: (100, 104, 100, 103),
        1: (103, 103, 101, 101)}, lines=[IN, "closed trailing_stop 102 @m1"]),
    Row("a trail in percent", long(trailing=Trailing(percent=2.0)), {3: (104, 105, 104, 105), 4: (105, 105, 102, 102)},
        mirrors=False, lines=[IN, "closed trailing_stop 102.9 @m4"]),
    Row("a trail in percent, short", bknb.Signal(side="short", trailing=Trailing(percent=2.0)),
        {3: (96, 96, 95, 95), 4: (95, 98, 95, 98)}, mirrors=False, lines=[IN, "closed trailing_stop 96.9 @m4"]),
    Row("a trail on the grid", long(90, trailing=Trailing(distance=1.75)), {3: (104, 105, 104, 105),
        4: (105, 105, 102, 102)}, lines=[IN, "closed trailing_stop 103 @m4"], settings={"price_tick": 0.5}),
    # break-even
    Row("a stop at break-even", long(90, breakeven=EVEN), {3: (101, 103, 101, 102), 4: (102, 102, 99, 99)},
        lines=[IN, "moved breakeven to 100 @m3", "closed breakeven 100 @m4"]),
    Row("before the move the stop stays", long(90, breakeven=EVEN), {3: (100, 102.9, 99, 99)}, lines=[IN, END]),
    Row("in the candle of the move the stop stays", long(90, breakeven=EVEN), {3: (100, 104, 99, 101),
        4: (101, 101, 100.5, 101)}, lines=[IN, "moved breakeven to 100 @m3", "closed breakeven 100 @m5"]),
    Row("an open at break-even", long(90, breakeven=EVEN), {3: (100, 104, 99, 99)},
        lines=[IN, "moved breakeven to 100 @m3", "closed breakeven 100 @m4"]),
    Row("an open beyond break-even", long(90, breakeven=EVEN), {3: (100, 104, 99, 99), 4: (98, 98, 98, 98)},
        lines=[IN, "moved breakeven to 100 @m3", "closed breakeven 98 @m4"],
        touch=[IN, "moved breakeven to 100 @m3", "closed breakeven 100 @m4"]),
    Row("break-even and a tighter trail", long(90, breakeven=EVEN, trailing=BY2), {3: (102.5, 104, 102.5, 103),
        4: (103, 103, 101, 101)}, lines=[IN, "closed trailing_stop 102 @m4"]),
    Row("break-even and a looser trail", long(90, breakeven=EVEN, trailing=Trailing(distance=5)),
        {3: (102.5, 104, 102.5, 103), 4: (103, 103, 98, 98)},
        lines=[IN, "moved breakeven to 100 @m3", "closed breakeven 100 @m4"]),
    Row("break-even and the stop on one level: the declared", long(99.99, breakeven=Breakeven(after=3, plus="")),
        {3: (102, 104, 102, 103), 4: (103, 103, 99, 99)}, lines=[IN, "moved breakeven to 100 @m3",
        "closed breakeven 100 @m4"]),
    Row("break-even, then the target", long(90, 106, breakeven=EVEN), {3: (102, 104, 102, 104), 4: (104, 107, 104,
        104)},
        lines=[IN, "moved breakeven to 100 @m3", "closed take_profit 106 @m4"]),
]  # fmt: skip

CLOSED4 = "closed strategy 100 @m4"
ANSWERED = [
    # Close
    Row("close", NOTHING, {}, {4: Close()}, lines=[IN, CLOSED4], vwap=["opened 100 @m0", CLOSED4]),
    Row("close fills at the next open", NOTHING, {4: (102, 103, 101, 102)}, {4: Close()},
        lines=[IN, "closed strategy 102 @m4"]),
    Row("close waits for volume", NOTHING, {4: (102, 103, 101, 102), 5: (103, 103, 103, 103)}, {4: Close()},
        volume={4: 0.0}, lines=[IN, "closed strategy 103 @m5"], touch=[IN, "closed strategy 102 @m4"]),
    Row("a level of the candle before comes first", long(95), {3: DOWN}, {4: Close()}, lines=[IN,
        "closed stop_loss 95 @m3"]),
    Row("close meets an open beyond the stop", long(95), {4: (93, 93, 93, 93)}, {4: Close()},
        lines=[IN, "closed strategy 93 @m4"]),
    Row("the deadline comes before manage", long(minutes=4), {}, {4: Close()}, lines=[IN,
        "closed time_expired 100 @m4"]),
    Row("the frame end comes before manage", NOTHING, {}, {5: Close()}, end=5, lines=[IN, "closed frame_end 100 @m5"]),
    Row("close too late", long(95), {3: DOWN}, {5: Close()}, lines=[IN, "closed stop_loss 95 @m3"]),
    Row("close at the first moment", NOTHING, {}, {1: Close()}, lines=[IN, "closed strategy 100 @m1"]),
    Row("manage is not asked at the moment of the entry", NOTHING, {}, {0: Close()}, lines=[IN, END]),
    Row("close twice", NOTHING, {}, {4: [Close(), Close()]}, lines=[IN, CLOSED4]),
    # Reduce
    Row("reduce the half", NOTHING, {}, {4: Reduce(0.5)},
        lines=[IN, "reduced strategy 0.5 at 100 @m4, 0.5 left", END]),
    Row("reduce twice of what is left", NOTHING, {}, {4: Reduce(0.5), 6: Reduce(0.5)},
        lines=[IN, "reduced strategy 0.5 at 100 @m4, 0.5 left", "reduced strategy 0.25 at 100 @m6, 0.25 left", END]),
    Row("reduce in units of the first size", NOTHING, {}, {4: Reduce(0.5), 6: Reduce(0.25, of="first")},
        lines=[IN, "reduced strategy 0.5 at 100 @m4, 0.5 left", "reduced strategy 0.25 at 100 @m6, 0.25 left", END]),
    Row("reduce to nothing", NOTHING, {}, {4: Reduce(1.0)}, lines=[IN, CLOSED4]),
    Row("reduce to nothing in two steps of one answer", NOTHING, {}, {4: [Reduce(0.5), Reduce(1.0)]},
        lines=[IN, "reduced strategy 0.5 at 100 @m4, 0.5 left", CLOSED4]),
    Row("reduce more than there is", NOTHING, {}, {4: Reduce(0.8), 5: Reduce(0.5, of="first")},
        lines=[IN, "reduced strategy 0.8 at 100 @m4, 0.2 left", "rejected reduce_more @m5", END]),
    Row("reduce nothing", NOTHING, {}, {4: Reduce(0.0)}, lines=[IN, "rejected reduce_share @m4", END]),
    Row("reduce less than nothing", NOTHING, {}, {4: Reduce(-1.0)}, lines=[IN, "rejected reduce_share @m4", END]),
    Row("reduce, then close in one answer", NOTHING, {}, {4: [Reduce(0.5), Close()]},
        lines=[IN, "reduced strategy 0.5 at 100 @m4, 0.5 left", CLOSED4]),
    Row("reduce behind close", NOTHING, {}, {4: [Close(), Reduce(0.5)]}, lines=[IN, "rejected closed @m4", CLOSED4]),
    Row("reduce at an open beyond the stop", long(95), {4: (93, 93, 93, 93)}, {4: Reduce(0.5)},
        lines=[IN, "reduced strategy 0.5 at 93 @m4, 0.5 left", "closed stop_loss 93 @m4"],
        touch=[IN, "reduced strategy 0.5 at 93 @m4, 0.5 left", "closed stop_loss 95 @m4"]),
    Row("reduce, and a level in the same candle", long(95, HALVES), {4: (100, 105, 100, 100)}, {4: Reduce(0.25)},
        lines=[IN, "reduced strategy 0.25 at 100 @m4, 0.75 left", f"{HALF4} @m4, 0.25 left", END]),
    Row("a level larger than what is left", long(95, HALVES), {4: (100, 105, 100, 100)}, {3: Reduce(0.6)},
        lines=[IN, "reduced strategy 0.6 at 100 @m3, 0.4 left", "closed take_profit 104 @m4"]),
    # Add
    Row("add at the market", NOTHING, {4: (102, 102, 102, 102)}, {4: Add(0.5)},
        lines=[IN, "added 0.5 at 102 @m4, 1.5 held", END]),
    Row("an add larger than the first size", NOTHING, {}, {4: Add(3)}, lines=[IN, "added 3 at 100 @m4, 4 held", END]),
    Row("two adds in one answer", NOTHING, {}, {4: [Add(0.5), Add(0.25)]},
        lines=[IN, "added 0.5 at 100 @m4, 1.5 held", "added 0.25 at 100 @m4, 1.75 held", END]),
    Row("reduce before add, whatever the order of the answer", NOTHING, {}, {4: [Add(0.5), Reduce(0.5, of="first")]},
        lines=[IN, "reduced strategy 0.5 at 100 @m4, 0.5 left", "added 0.5 at 100 @m4, 1 held", END]),
    Row("a reduce that counts on the add before it", NOTHING, {}, {4: [Add(1), Reduce(1, of="first")]},
        lines=[IN, "added 1 at 100 @m4, 2 held", "reduced strategy 1 at 100 @m4, 1 left", END]),
    Row("reduces of what is implied", NOTHING, {}, {4: [Add(0.5), Reduce(0.3), Reduce(0.9)]},
        lines=[IN, "reduced strategy 0.45 at 100 @m4, 0.55 left", "added 0.5 at 100 @m4, 1.05 held",
               "reduced strategy 0.945 at 100 @m4, 0.105 left", END]),
    Row("a reduce never counts on an add behind it", NOTHING, {}, {4: [Reduce(1), Add(1)]},
        lines=[IN, "rejected closed @m4", CLOSED4]),
    Row("a resting add is not held yet", NOTHING, {}, {4: [Add(1, price_open=95.0), Reduce(0.5)]},
        lines=[IN, "reduced strategy 0.5 at 100 @m4, 0.5 left", END]),
    Row("what was ordered and not filled is counted", NOTHING, {}, {4: [Add(1), Reduce(1, of="first")], 5: Close()},
        volume={4: 0, 5: 0}, lines=[IN, "closed strategy 100 @m6"], touch=[IN, "added 1 at 100 @m4, 2 held",
        "reduced strategy 1 at 100 @m4, 1 left", "closed strategy 100 @m5"]),
    Row("a reduce counts an add before it that waits for volume", NOTHING, {},
        {4: [Add(1), Reduce(0.5)], 5: Reduce(0.5)}, volume={4: 0},
        lines=[IN, "added 1 at 100 @m5, 2 held", "reduced strategy 1 at 100 @m5, 1 left",
               "reduced strategy 0.5 at 100 @m5, 0.5 left", END],
        touch=[IN, "added 1 at 100 @m4, 2 held", "reduced strategy 1 at 100 @m4, 1 left",
               "reduced strategy 0.5 at 100 @m5, 0.5 left", END]),
    Row("a wrong answer while an add waits for volume", NOTHING, {}, {4: [Add(1), Reduce(0.5)], 5: Reduce(-1.0)},
        volume={4: 0}, lines=[IN, "rejected reduce_share @m5", "added 1 at 100 @m5, 2 held",
        "reduced strategy 1 at 100 @m5, 1 left", END], touch=[IN, "added 1 at 100 @m4, 2 held",
        "reduced strategy 1 at 100 @m4, 1 left", "rejected reduce_share @m5", END]),
    Row("a reduce behind a cancel does not count an add that waits for volume", NOTHING, {},
        {4: Add(1), 5: [Cancel(), Reduce(0.5)]}, volume={4: 0},
        lines=[IN, "taken back strategy @m5", "reduced strategy 0.5 at 100 @m5, 0.5 left", END],
        touch=[IN, "added 1 at 100 @m4, 2 held", "reduced strategy 1 at 100 @m5, 1 left", END]),
    Row("a part before a close does not count an add that waits for volume", NOTHING, {},
        {4: Add(1), 5: [Reduce(0.5), Close()]}, volume={4: 0},
        lines=[IN, "reduced strategy 0.5 at 100 @m5, 0.5 left", "closed strategy 100 @m5"],
        touch=[IN, "added 1 at 100 @m4, 2 held", "reduced strategy 1 at 100 @m5, 1 left", "closed strategy 100 @m5"]),
    Row("a resting add behind the stop, once it is on the grid", long(98), {}, {4: Add(0.5, price_open=98.4)},
        settings={"price_tick": 1.0}, lines=[IN, "rejected add_stop @m4", END]),
    Row("an add below the first tick", NOTHING, {}, {4: Add(0.5, price_open=0.4)}, settings={"price_tick": 1.0},
        mirrors=False, lines=[IN, "rejected add_price @m4", END]),
    Row("cancel takes back a resting add of its own list", NOTHING, {5: (100, 100, 94, 100)},
        {4: [Add(0.5, price_open=95.0), Cancel()]}, lines=[IN, END]),
    Row("an add behind a cancel rests", NOTHING, {5: (100, 100, 94, 100)}, {4: [Cancel(), Add(0.5, price_open=95.0)]},
        lines=[IN, "added 0.5 at 95 @m5, 1.5 held", END]),
    Row("a time-out and the deadline at one moment", long(minutes=7), {}, {4: Add(0.5, price_open=95.0, valid=3)},
        lines=[IN, "taken back timeout @m7", "closed time_expired 100 @m7"]),
    Row("a ladder with a price below the first tick",
        bknb.Signal(position="short", price_take_profit=[(50.0, 0.5), (0.4, 0.5)]), settings={"price_tick": 1.0},
        mirrors=False, lines=["rejected ladder @m0"]),
    Row("a target at the last close, once it is on the grid", NOTHING, {},
        {4: Move(price_take_profit=100.00000001), 5: Move(price_take_profit=[(100.3, 0.5)])},
        settings={"price_tick": 1.0}, mirrors=False, lines=[IN, "rejected take_profit_side @m4",
        "moved strategy to none @m5", END]),
    Row("a moved target below the first tick", bknb.Signal(position="short"), {}, {4: Move(price_take_profit=0.4)},
        settings={"price_tick": 1.0}, mirrors=False, lines=[IN, "rejected positive @m4", END]),
    Row("add nothing", NOTHING, {}, {4: Add(0)}, lines=[IN, "rejected add_share @m4", END]),
    Row("more adds than the settings allow", NOTHING, {}, {4: Add(1), 5: Add(1)}, settings={"max_adds": 1},
        lines=[IN, "added 1 at 100 @m4, 2 held", "rejected add_limit @m5", END]),
    Row("as many adds as are answered", NOTHING, {}, {4: [Add(0.1)] * 12, 5: Add(0.1)}, settings={"max_adds": None},
        lines=[IN, *(f"added 0.1 at 100 @m4, {1 + k / 10:g} held" for k in range(1, 13)),
        "added 0.1 at 100 @m5, 2.3 held", END]),
    Row("no adds at all", NOTHING, {}, {4: Add(1)}, settings={"max_adds": 0}, lines=[IN, "rejected add_limit @m4",
        END]),
    Row("an eleventh add", NOTHING, {}, {4: [Add(0.1)] * 10, 5: Add(0.1)},
        lines=[IN, *(f"added 0.1 at 100 @m4, {1 + k / 10:g} held" for k in range(1, 11)), "rejected add_limit @m5",
               END]),
    Row("adds do not move where a trail begins", long(90, trailing=LATE2), {3: (100, 100, 98, 98), 4: (98, 98, 98, 98),
        6: (103, 103.9, 103, 103), 8: (104, 104, 104, 104), 9: (104, 104, 101, 101)}, {4: Add(1)},
        lines=[IN, "added 1 at 98 @m4, 2 held", "moved trailing_stop to 102 @m8", "closed trailing_stop 102 @m9"]),
    Row("break-even is at the average price", long(90, breakeven=EVEN), {3: (100, 100, 98, 98), 4: (98, 98, 98, 98),
        6: (101, 103, 101, 102), 7: (102, 102, 98, 98)}, {4: Add(1)},
        lines=[IN, "added 1 at 98 @m4, 2 held", "moved breakeven to 99 @m6", "closed breakeven 99 @m7"]),
    Row("later adds do not move a break-even stop", long(90, breakeven=EVEN), {3: (101, 103, 101, 102),
        4: (102, 102, 102, 102), 5: (102, 102, 99, 99)}, {4: Add(1)},
        lines=[IN, "moved breakeven to 100 @m3", "added 1 at 102 @m4, 2 held", "closed breakeven 100 @m5"]),
    Row("add, then the stop in one candle", long(95), {4: (100, 100, 94, 94)}, {4: Add(1)},
        lines=[IN, "added 1 at 100 @m4, 2 held", "closed stop_loss 95 @m4"]),
    Row("add at an open beyond the stop", long(95), {4: (93, 93, 93, 93)}, {4: Add(1)},
        lines=[IN, "added 1 at 93 @m4, 2 held", "closed stop_loss 93 @m4"],
        touch=[IN, "added 1 at 93 @m4, 2 held", "closed stop_loss 95 @m4"]),
    Row("close drops the adds of its answer", NOTHING, {}, {4: [Add(1), Close()]}, lines=[IN, CLOSED4]),
    Row("only better, and it is not", NOTHING, {}, {4: Add(1, only_better=True)}, lines=[IN, END]),
    Row("only better, and it is", NOTHING, {3: (100, 100, 98, 98), 4: (98, 98, 98, 98)}, {4: Add(1, only_better=True)},
        lines=[IN, "added 1 at 98 @m4, 2 held", END]),
    Row("the full target closes what was added", long(95, 105), {5: UP}, {4: Add(1)},
        lines=[IN, "added 1 at 100 @m4, 2 held", "closed take_profit 105 @m5"]),
    Row("a ladder is of the first size", long(95, HALVES), {5: (100, 109, 100, 100)}, {4: Add(1)},
        lines=[IN, "added 1 at 100 @m4, 2 held", "reduced take_profit 0.5 at 104 @m5, 1.5 left",
               "reduced take_profit 0.5 at 108 @m5, 1 left", END]),
    # resting adds
    Row("a resting add", long(90), {6: (100, 100, 97, 100)}, {4: Add(1, price_open=98.0)},
        lines=[IN, "added 1 at 98 @m6, 2 held", END]),
    Row("a resting add at the low", long(90), {6: (100, 100, 98, 100)}, {4: Add(1, price_open=98.0)},
        lines=[IN, END], touch=[IN, "added 1 at 98 @m6, 2 held", END]),
    Row("a resting add by a gap", long(90), {6: (97, 98, 96, 97)}, {4: Add(1, price_open=98.0)},
        lines=[IN, "added 1 at 97 @m6, 2 held", END], touch=[IN, "added 1 at 98 @m6, 2 held", END]),
    Row("a limit that the next open reaches", long(90), {4: (99, 99, 99, 99)}, {4: Add(1, price_open=99.0)},
        lines=[IN, "added 1 at 99 @m4, 2 held", END]),
    Row("a limit above the market", long(90), {}, {4: Add(1, price_open=101.0)},
        lines=[IN, "added 1 at 100 @m4, 2 held", END]),
    Row("several resting adds, the nearest first", long(90), {6: (100, 100, 95, 100)},
        {4: [Add(0.25, price_open=96.0), Add(0.5, price_open=98.0)]},
        lines=[IN, "added 0.5 at 98 @m6, 1.5 held", "added 0.25 at 96 @m6, 1.75 held", END]),
    Row("resting adds on the way to the stop", long(95), {6: (100, 100, 94, 100)},
        {4: [Add(1, price_open=98.0)]}, lines=[IN, "added 1 at 98 @m6, 2 held", "closed stop_loss 95 @m6"]),
    Row("a resting add behind the stop", long(95), {}, {4: Add(1, price_open=94.0)}, lines=[IN,
        "rejected add_stop @m4", END]),
    Row("a resting add below a stop that its list loosens", long(95), {6: (100, 100, 92, 100)},
        {4: [Move(price_stop_loss=90.0, loosen=True), Add(1, price_open=93.0)]},
        lines=[IN, "moved strategy to 90 @m4", "added 1 at 93 @m6, 2 held", END]),
    Row("an add and the target in one candle", long(90, 105), {6: (100, 106, 97, 100)}, {4: Add(1, price_open=98.0)},
        lines=[IN, "closed take_profit 105 @m6 ambiguous"]),
    Row("an add and a level of a ladder in one candle", long(90, LADDER), {6: (100, 105, 97, 100)},
        {4: Add(1, price_open=98.0)}, lines=[IN, f"{HALF4} @m6, 0.5 left", "added 1 at 98 @m6, 1.5 held", END]),
    Row("an add, the stop and the target in one candle", long(95, 105), {6: (100, 106, 94, 100)},
        {4: Add(1, price_open=98.0)},
        lines=[IN, "added 1 at 98 @m6, 2 held", "closed stop_loss 95 @m6 ambiguous"],
        touch=[IN, "closed take_profit 105 @m6 ambiguous"]),
    Row("adds die with the position", long(95, 105), {6: UP, 8: (100, 100, 97, 100)}, {4: Add(1, price_open=98.0)},
        lines=[IN, "closed take_profit 105 @m6"]),
    Row("an add is valid for so long", long(90), {9: (100, 100, 97, 100)}, {4: Add(1, price_open=98.0, valid=5)},
        lines=[IN, "taken back timeout @m9", END]),
    Row("an add a minute before", long(90), {8: (100, 100, 97, 100)}, {4: Add(1, price_open=98.0, valid=5)},
        lines=[IN, "added 1 at 98 @m8, 2 held", END]),
    Row("an add waits as long as an entry does", long(90), {9: (100, 100, 97, 100)}, {4: Add(1, price_open=98.0)},
        settings={"schedule_await_minutes": 5}, lines=[IN, "taken back timeout @m9", END]),
    Row("cancel takes adds back", long(90), {9: (100, 100, 97, 100)}, {4: Add(1, price_open=98.0), 6: Cancel()},
        lines=[IN, "taken back strategy @m6", END]),
    Row("what was taken back is not counted", long(90), {}, {4: Add(1, price_open=98.0), 6: Cancel(), 7: Add(1)},
        settings={"max_adds": 1}, lines=[IN, "taken back strategy @m6", "added 1 at 100 @m7, 2 held", END]),
    Row("nor is it in the list that takes it back", long(90), {9: (100, 100, 96.5, 100)},
        {4: Add(1, price_open=98.0), 6: [Cancel(), Add(1, price_open=97.0)]}, settings={"max_adds": 1},
        lines=[IN, "taken back strategy @m6", "added 1 at 97 @m9, 2 held", END]),
    Row("nothing to cancel", NOTHING, {}, {4: Cancel()}, lines=[IN, END]),
    # Move
    Row("move the stop", long(90), {6: (100, 100, 97, 100)}, {4: Move(price_stop_loss=98.0)},
        lines=[IN, "moved strategy to 98 @m4", "closed stop_loss 98 @m6"]),
    Row("a moved stop is in force on the next candle", long(90), {4: (100, 100, 97, 100)},
        {4: Move(price_stop_loss=98.0)},
        lines=[IN, "moved strategy to 98 @m4", "closed stop_loss 98 @m4"]),
    Row("a move that comes too late", long(90), {3: (100, 100, 89, 100)}, {4: Move(price_stop_loss=95.0)},
        lines=[IN, "closed stop_loss 90 @m3"]),
    Row("a looser stop is not taken", long(95), {6: DOWN}, {4: Move(price_stop_loss=90.0)},
        lines=[IN, "closed stop_loss 95 @m6"]),
    Row("a looser stop that is asked for", long(95), {6: DOWN}, {4: Move(price_stop_loss=90.0, loosen=True)},
        lines=[IN, "moved strategy to 90 @m4", END]),
    Row("no stop any more", long(95), {6: DOWN}, {4: Move(price_stop_loss=None, loosen=True)},
        lines=[IN, "moved strategy to none @m4", END]),
    Row("no stop any more, but not loosened", long(95), {6: DOWN}, {4: Move(price_stop_loss=None)},
        lines=[IN, "closed stop_loss 95 @m6"]),
    Row("a first stop", NOTHING, {6: DOWN}, {4: Move(price_stop_loss=95.0)},
        lines=[IN, "moved strategy to 95 @m4", "closed stop_loss 95 @m6"]),
    Row("a stop beyond the last close counts as reached", long(90), {}, {4: Move(price_stop_loss=101.0)},
        lines=[IN, "moved strategy to 101 @m4", "closed stop_loss 100 @m4"]),
    Row("a stop at the last close counts as reached", long(90), {}, {4: Move(price_stop_loss=100.0)},
        lines=[IN, "moved strategy to 100 @m4", "closed stop_loss 100 @m4"]),
    Row("levels are judged against the last close", long(90), {3: (100, 104, 100, 104), 4: (104, 104, 102, 104)},
        {4: Move(price_stop_loss=103.0)}, lines=[IN, "moved strategy to 103 @m4", "closed stop_loss 103 @m4"]),
    Row("move the target", long(90, 110), {6: UP}, {4: Move(price_take_profit=105.0)},
        lines=[IN, "moved strategy to 90 @m4", "closed take_profit 105 @m6"]),
    Row("no target any more", long(90, 105), {6: UP}, {4: Move(price_take_profit=None)},
        lines=[IN, "moved strategy to 90 @m4", END]),
    Row("a ladder in place of the target", long(90, 105), {6: UP}, {4: Move(price_take_profit=LADDER)},
        lines=[IN, "moved strategy to 90 @m4", f"{HALF4} @m6, 0.5 left", END]),
    Row("a target on the wrong side", long(90, 110), {}, {4: Move(price_take_profit=99.0)},
        lines=[IN, "rejected take_profit_side @m4", END]),
    Row("move the deadline", long(90, 110, 10), {}, {4: Move(minute_estimated_time=6)},
        lines=[IN, "moved strategy to 90 @m4", "closed time_expired 100 @m6"]),
    Row("a deadline that has passed", long(90, 110, 10), {}, {4: Move(minute_estimated_time=3)},
        lines=[IN, "moved strategy to 90 @m4", "closed time_expired 100 @m4"]),
    Row("no deadline any more", long(90, 110, 10), {}, {4: Move(minute_estimated_time=None)},
        lines=[IN, "moved strategy to 90 @m4", END]),
    Row("a trail from now on", long(90), {5: (104, 105, 104, 105), 6: (105, 105, 102, 102)}, {4: Move(trailing=BY2)},
        lines=[IN, "moved strategy to 98 @m4", "closed trailing_stop 103 @m6"]),
    Row("a trail that is reached at once", long(90), {2: (100, 105, 100, 100)}, {4: Move(trailing=BY2)},
        lines=[IN, "moved strategy to 103 @m4", "closed trailing_stop 100 @m4"]),
    Row("no trail any more: its level stays", long(90, trailing=BY2), {3: (102.5, 104, 102.5, 103),
        4: (103, 103, 103, 103), 5: (103, 107, 103, 107), 6: (107, 107, 101, 101)}, {4: Move(trailing=None)},
        lines=[IN, "moved strategy to 102 @m4", "closed trailing_stop 102 @m6"]),
    Row("no trail any more, loosened", long(90, trailing=BY2), {3: (102.5, 104, 102.5, 103), 4: (103, 103, 103, 103),
        6: (107, 107, 101, 101)}, {4: Move(trailing=None, loosen=True)},
        lines=[IN, "moved strategy to 90 @m4", END]),
    Row("what a trail left goes with the next one that is loosened", long(90, trailing=BY2),
        {3: (102.5, 104, 102.5, 103), 4: (103, 103, 103, 103), 6: (107, 107, 101, 101)},
        {4: [Move(trailing=bknb.Trailing(distance=9.0)), Move(trailing=None, loosen=True)]},
        lines=[IN, "moved strategy to 90 @m4", END]),
    Row("later, too", long(90, trailing=BY2), {3: (102.5, 104, 102.5, 103), 4: (103, 103, 103, 103),
        6: (107, 107, 101, 101)}, {4: Move(trailing=None), 5: Move(trailing=None, loosen=True)},
        lines=[IN, "moved strategy to 102 @m4", "moved strategy to 90 @m5", END]),
    Row("what a trail left goes with a looser stop", long(90, trailing=BY2), {3: (102.5, 104, 102.5, 103),
        4: (103, 103, 103, 103), 6: (100, 100, 94, 94)}, {4: Move(trailing=None), 5: Move(price_stop_loss=95.0,
        loosen=True)},
        lines=[IN, "moved strategy to 102 @m4", "moved strategy to 95 @m5", "closed stop_loss 95 @m6"]),
    Row("a break-even below a trail is there when that is taken away", long(90, trailing=BY2, breakeven=EVEN),
        {3: (102.5, 104, 102.5, 103), **dict.fromkeys((4, 5), (103, 103, 103, 103)), 6: (103, 103, 99, 99)},
        {4: Move(trailing=None, loosen=True)},
        lines=[IN, "moved strategy to 100 @m4", "closed breakeven 100 @m6"]),
    Row("a trail below break-even leaves its level", long(90, trailing=bknb.Trailing(distance=6.0), breakeven=EVEN),
        {3: (102.5, 104, 102.5, 103), **dict.fromkeys((4, 5, 6), (103, 103, 103, 103)), 7: (103, 103, 97, 97)},
        {4: Move(trailing=None), 5: Move(breakeven=None, loosen=True)},
        lines=[IN, "moved breakeven to 100 @m3", "moved strategy to 100 @m4", "moved strategy to 98 @m5",
        "closed trailing_stop 98 @m7"]),
    Row("a break-even that has moved stays when the next has not", long(90, breakeven=EVEN), {3: (102.5, 104, 102.5,
        103), **dict.fromkeys((4, 5), (103, 103, 103, 103)), 6: (103, 103, 99, 99)},
        {4: Move(breakeven=bknb.Breakeven(after=9.0))},
        lines=[IN, "moved breakeven to 100 @m3", "moved strategy to 100 @m4", "closed breakeven 100 @m6"]),
    Row("break-even from now on", long(90), {6: (101, 104, 101, 102), 7: (102, 102, 99, 99)}, {4: Move(breakeven=EVEN)},
        lines=[IN, "moved strategy to 90 @m4", "moved breakeven to 100 @m6", "closed breakeven 100 @m7"]),
    Row("a move that moves nothing", long(90), {}, {4: Move(price_stop_loss=90.0)}, lines=[IN, END]),
    # reverse
    Row("reverse", long(90), {4: (102, 102, 102, 102)}, {4: [Close(), bknb.Signal(position="short",
        price_stop_loss=110.0)]},
        lines=[IN, "closed strategy 102 @m4", "opened 102 @m4", END]),
    Row("a reverse that is not valid: the close stands", long(90), {},
        {4: [Close(), bknb.Signal(position="short", price_stop_loss=90.0)]},
        lines=[IN, "rejected stop_loss_side, stopped_at_once @m4", CLOSED4]),
    Row("a signal alone", long(90), {}, {4: bknb.Signal(position="short")}, lines=[IN, "rejected signal_alone @m4",
        END]),
    Row("close and open the same side again", long(90), {}, {4: [Close(), bknb.Signal(position="long")]},
        lines=[IN, CLOSED4, IN.replace("m0", "m4"), END]),
    Row("reverse into a limit", long(90), {6: (100, 104, 100, 100)},
        {4: [Close(), bknb.Signal(position="short", price_open=103.0)]},
        lines=[IN, CLOSED4, "scheduled 103 @m4", "opened 103 @m6", END]),
    Row("a close behind a signal contradicts it: the first close stands", long(90), {},
        {4: [Close(), bknb.Signal(position="short"), Close()]}, lines=[IN, "rejected behind_signal @m4", CLOSED4]),
    Row("a cancel behind a signal contradicts it", long(90), {},
        {4: [Close(), bknb.Signal(position="short"), Cancel()]}, lines=[IN, "rejected behind_signal @m4", CLOSED4]),
    # a list
    Row("what is wrong leaves the rest of a list, but not its reduces", long(90), {},
        {4: [Move(price_take_profit=99.0), Move(price_stop_loss=95.0), Reduce(0.5)]},
        lines=[IN, "rejected take_profit_side @m4", "reduced strategy 0.5 at 100 @m4, 0.5 left", END]),
    Row("nor its adds", long(90), {}, {4: [Add(1), Move(price_take_profit=99.0), Close()]},
        lines=[IN, "rejected take_profit_side @m4", CLOSED4]),
    Row("an add beside something wrong", long(90), {}, {4: [Add(1), Move(price_take_profit=99.0)]},
        lines=[IN, "rejected take_profit_side @m4", END]),
    Row("a reduce beside something wrong is of what is held", long(90), {}, {4: [Add(1), Reduce(0.25), Reduce(5)]},
        lines=[IN, "rejected reduce_more @m4", "reduced strategy 0.25 at 100 @m4, 0.75 left", END]),
    Row("a reduce whose add is left out is of all that is held at most", long(90), {},
        {4: [Add(1), Reduce(1.5, of="first"), Reduce(5)]}, lines=[IN, "rejected reduce_more @m4", CLOSED4]),
    Row("every reason of a list", long(90), {}, {4: [Add(-1), Reduce(5), Move(price_stop_loss=-1.0)]},
        mirrors=False, lines=[IN, "rejected add_share, reduce_more, finite @m4", END]),
    Row("no answer at all", long(90), {}, {4: []}, lines=[IN, END]),
    Row("something else", long(90), {}, {4: "close"}, lines=[IN, "rejected shape @m4", END]),
    Row("something else beside a close", long(90), {}, {4: ["nonsense", Close()]},
        lines=[IN, "rejected shape @m4", CLOSED4]),
    # what waits
    Row("cancel a resting entry", long(90, price_open=96.0), {6: (100, 100, 95, 100)}, {4: Cancel()},
        lines=["scheduled 96 @m0", "cancelled strategy @m4"]),
    Row("cancel and another", long(90, price_open=96.0), {}, {4: [Cancel(), long(95)]},
        lines=["scheduled 96 @m0", "cancelled strategy @m4", "opened 100 @m4", END]),
    Row("close needs a position", long(90, price_open=96.0), {6: (100, 100, 95, 100)}, {4: Close()},
        lines=["scheduled 96 @m0", "rejected nothing_open @m4", "opened 96 @m6", END]),
    Row("cancel of a list that is wrong", long(90, price_open=96.0), {}, {4: [Add(1), Cancel()]},
        lines=["scheduled 96 @m0", "rejected nothing_open @m4", "cancelled strategy @m4"]),
    Row("a cancel behind another entry contradicts it", long(90, price_open=96.0), {},
        {4: [Cancel(), long(95), Cancel()]},
        lines=["scheduled 96 @m0", "rejected behind_signal @m4", "cancelled strategy @m4"]),
    Row("a signal alone while one waits", long(90, price_open=96.0), {}, {4: long(95)},
        lines=["scheduled 96 @m0", "rejected signal_alone @m4", "cancelled frame_end @m30"]),
]  # fmt: skip


def at_most_two(request: bknb.RiskRequest) -> bool:
    "at most two"
    return request.size + request.add <= 2


def no_adds(request: bknb.RiskRequest) -> bool:
    "no adds"
    return request.add == 0


def one_small_add(request: bknb.RiskRequest) -> bool:
    "adds of at most a half"
    return request.add <= 0.5


def nobody_short(request: bknb.RiskRequest) -> bool:
    "one side"
    return request.signal.scheduled_at == request.when == ORIGIN or request.add > 0


def one_place(request: bknb.RiskRequest) -> bool:
    "one place"
    return request.open_position_count == 0


SHORT = bknb.Signal(position="short", price_stop_loss=110.0)
ASKED = [
    Row("an add that risk refuses", NOTHING, {}, {4: Add(1)}, risk=no_adds, lines=[IN, "refused no adds @m4", END]),
    Row("an add that risk allows keeps its place", NOTHING, {}, {4: Add(1)}, risk=one_place,
        lines=[IN, "added 1 at 100 @m4, 2 held", END]),
    Row("each add is asked about", NOTHING, {}, {4: [Add(1), Add(0.5)]}, risk=one_small_add,
        lines=[IN, "refused adds of at most a half @m4", "added 0.5 at 100 @m4, 1.5 held", END]),
    Row("a refused add leaves the rest of its answer", long(90), {}, {4: [Reduce(0.5), Add(1),
        Move(price_stop_loss=95.0)]},
        risk=no_adds, lines=[IN, "moved strategy to 95 @m4", "refused no adds @m4",
                             "reduced strategy 0.5 at 100 @m4, 0.5 left", END]),
    Row("a refused add is not counted", long(90), {}, {4: [Add(1), Reduce(0.5)]}, risk=no_adds,
        lines=[IN, "refused no adds @m4", "reduced strategy 0.5 at 100 @m4, 0.5 left", END]),
    Row("a reduce whose add is refused is of all that is held at most", long(90), {},
        {4: [Add(1), Reduce(1.5, of="first")]}, risk=no_adds, lines=[IN, "refused no adds @m4", CLOSED4]),
    Row("a resting add is asked about when it is decided", long(90), {6: (100, 100, 97, 100)},
        {4: Add(1, price_open=98.0)}, risk=no_adds, lines=[IN, "refused no adds @m4", END]),
    Row("risk is told how large the position is already", NOTHING, {}, {4: Add(0.5), 5: [Add(0.5), Add(0.25)]},
        risk=at_most_two, lines=[IN, "added 0.5 at 100 @m4, 1.5 held", "refused at most two @m5",
        "added 0.5 at 100 @m5, 2 held", END]),
    Row("parts that were closed leave room, and adds that wait take it", long(90), {},
        {4: Add(1), 5: Reduce(0.5), 6: Add(1, price_open=95.0), 7: Add(0.1)}, risk=at_most_two,
        lines=[IN, "added 1 at 100 @m4, 2 held", "reduced strategy 1 at 100 @m5, 1 left", "refused at most two @m7",
        END]),
    Row("reverse, its place is free", long(90), {}, {4: [Close(), SHORT]}, risk=one_place,
        lines=[IN, CLOSED4, "opened 100 @m4", END]),
    Row("reverse that risk refuses: the close stands", long(90), {}, {4: [Close(), SHORT]}, risk=nobody_short,
        lines=[IN, "refused one side @m4", CLOSED4]),
    Row("cancel and another, its place is free", long(90, price_open=96.0), {}, {4: [Cancel(), long(95)]},
        risk=one_place, lines=["scheduled 96 @m0", "cancelled strategy @m4", "opened 100 @m4", END]),
    Row("cancel and another that risk refuses", long(90, price_open=96.0), {}, {4: [Cancel(), long(95)]},
        risk=nobody_short, lines=["scheduled 96 @m0", "cancelled strategy @m4", "refused one side @m4"]),
]  # fmt: skip

VIN, VEND = "opened 100 @m0", "closed time_expired 100 @m31"
AVERAGE = [
    Row("average: a stop", long(95), dict.fromkeys(range(5, 12), (90, 90, 90, 90)), vwap=[VIN,
        "closed stop_loss 95 @m7"]),
    Row("average: a ladder", long(90, HALVES), dict.fromkeys(range(5, 12), (110, 110, 110, 110)),
        vwap=[VIN, f"{HALF4} @m6, 0.5 left", f"{LEFT8} @m8"]),
    Row("average: what a candle touches is nothing", long(90, HALVES), {5: (100, 120, 100, 100)}, vwap=[VIN, VEND]),
    Row("average: a trail", long(trailing=BY2), dict.fromkeys(range(5, 10), (110, 110, 110, 110)), vwap=[
        VIN, "closed trailing_stop 108 @m10"]),
    Row("average: break-even", long(90, breakeven=EVEN), dict.fromkeys(range(5, 8), (110, 110, 110, 110)), vwap=[
        VIN, "moved breakeven to 100 @m6", "closed breakeven 100 @m12"]),
    Row("average: reduce at the average of the moment", NOTHING, {3: (110, 110, 110, 110)}, {4: Reduce(0.5)},
        vwap=[VIN, "reduced strategy 0.5 at 102 @m4, 0.5 left", VEND]),
    Row("average: add at the average of the moment", NOTHING, {3: (110, 110, 110, 110)}, {4: Add(1)},
        vwap=[VIN, "added 1 at 102 @m4, 2 held", VEND]),
    Row("average: a limit the average has reached", NOTHING, {}, {4: Add(1, price_open=101.0)},
        vwap=[VIN, "added 1 at 101 @m4, 2 held", VEND]),
    Row("average: a resting add", NOTHING, {6: (100, 100, 98, 100)}, {4: Add(1, price_open=98.0)},
        vwap=[VIN, "added 1 at 98 @m6, 2 held", VEND]),
    Row("average: a resting add that nobody fills", NOTHING, {}, {4: Add(1, price_open=98.0, valid=5)},
        vwap=[VIN, "taken back timeout @m9", VEND]),
    Row("average: close", NOTHING, {}, {4: Close()}, vwap=[VIN, CLOSED4]),
    Row("average: reverse", long(90), {}, {4: [Close(), SHORT]}, vwap=[VIN, CLOSED4, "opened 100 @m4", VEND]),
    Row("average: a reverse that is not valid", long(90), {}, {4: [Close(), bknb.Signal(position="short",
        price_stop_loss=90.0)]},
        vwap=[VIN, CLOSED4, "rejected stop_loss_side, stopped_at_once @m4"]),
    Row("average: reduce to nothing in two steps", NOTHING, {}, {4: [Reduce(0.5), Reduce(1.0)]},
        vwap=[VIN, "reduced strategy 0.5 at 100 @m4, 0.5 left", CLOSED4]),
    Row("average: move", long(90), dict.fromkeys(range(6, 15), (97, 97, 97, 97)), {4: Move(price_stop_loss=98.0)},
        vwap=[VIN, "moved strategy to 98 @m4", "closed stop_loss 98 @m9"]),
    Row("average: the deadline", long(minutes=7), {}, vwap=[VIN, "closed time_expired 100 @m7"]),
    Row("average: a reduce that counts on the add before it", NOTHING, {}, {4: [Add(1), Reduce(1, of="first")]},
        vwap=[VIN, "added 1 at 100 @m4, 2 held", "reduced strategy 1 at 100 @m4, 1 left", VEND]),
    Row("average: reduces of what is implied", NOTHING, {}, {4: [Add(0.5), Reduce(0.3), Reduce(0.9)]},
        vwap=[VIN, "reduced strategy 0.45 at 100 @m4, 0.55 left", "added 0.5 at 100 @m4, 1.05 held",
              "reduced strategy 0.945 at 100 @m4, 0.105 left", VEND]),
    Row("average: a refused add is not counted", NOTHING, {}, {4: [Add(1), Reduce(0.5)]}, risk=no_adds,
        vwap=[VIN, "refused no adds @m4", "reduced strategy 0.5 at 100 @m4, 0.5 left", VEND]),
    Row("average: a reduce whose add is refused", NOTHING, {}, {4: [Add(1), Reduce(1.5, of="first")]}, risk=no_adds,
        vwap=[VIN, "refused no adds @m4", CLOSED4]),
    Row("average: an add that risk refuses", NOTHING, {}, {4: Add(1)}, risk=no_adds, vwap=[VIN, "refused no adds @m4",
        VEND]),
    Row("average: cancel and another", long(90, price_open=96.0), {}, {4: [Cancel(), long(95)]},
        vwap=["scheduled 96 @m0", "cancelled strategy @m4", "opened 100 @m4", VEND]),
]  # fmt: skip

# a row says nothing of a model whose lines it does not give; those of AVERAGE are of that model alone
ROWS = [*DECLARED, *ANSWERED, *ASKED, *(replace(row, lines=None, touch=None) for row in AVERAGE)]


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
def test_a_row(row: Row) -> None:
    """Long and short, in every model it says something of; once with no minute skipped."""
    models = [model for model in ("pessimistic", "touch", "vwap") if row.expected(model) is not None]
    for one in (row, row.mirrored()) if row.mirrors else (row,):
        for model in models:
            assert play(one, model) == one.expected(model), (model, one.name)
    assert play(row, models[0], every_minute=True) == row.expected(models[0])


TRAILED: list[tuple[str, Candle, int]] = [
    ("its own high raises the stop to its low", (100, 103, 101, 103), 1),
    ("its own high raises the stop over its low", (100, 103, 100.5, 103), 1),
    ("its low stays above", (100, 103, 101.5, 103), 0),
    ("it raises nothing", (100, 100, 98.5, 100), 0),
]


@pytest.mark.parametrize(("name", "candle", "count"), TRAILED)
def test_a_candle_whose_own_high_would_have_stopped_it_is_counted(name: str, candle: Candle, count: int) -> None:
    open_, high, low, close = candle
    candles = {3: (max(open_, low), high, low, close), 4: (close, close, close, close), 5: (close, close, 90, 90)}
    for row in (one := Row(name, long(90, trailing=BY2), candles), one.mirrored()):
        (closed,) = run_of(row, "pessimistic").records.closed
        assert closed.ambiguous_trails == count
        assert closed.close_reason == "trailing_stop"


def test_what_was_not_taken_is_counted() -> None:
    answers = {4: Move(price_stop_loss=85.0), 5: Add(1, only_better=True), 6: Close(note="done")}
    (closed,) = run_of(Row("", long(90), answers=answers), "pessimistic").records.closed
    assert (closed.not_taken, closed.note, closed.fills[-1].note) == (2, "done", "done")


@pytest.mark.parametrize("side", ["long", "short"])
def test_break_even_with_costs_wins_and_loses_nothing(side: Any) -> None:
    signal = bknb.Signal(side=side, breakeven=Breakeven(after=3.0))
    candles: dict[int, Candle] = {3: (101, 104, 101, 102), 4: (102, 102, 99, 99)}
    row = Row("", signal, candles, settings={"percent_fee": 0.1, "percent_slippage": 0.1})
    if side == "short":
        row = replace(row, candles={k: (200 - o, 200 - low, 200 - high, 200 - c) for k, (o, high, low, c)
                                    in candles.items()})  # fmt: skip
    (closed,) = run_of(row, "pessimistic").records.closed
    assert closed.close_reason == "breakeven"
    assert closed.pnl.pnl_percentage == pytest.approx(0.0, abs=1e-9)
    assert closed.pnl.gross_percentage == pytest.approx(0.4, abs=0.01)


def test_averaging_down_is_measured_by_the_first_fill() -> None:
    """100 and 90, both left at 99: 8 of the first 100, of 190 in all."""
    candles: dict[int, Candle] = {3: (90, 90, 90, 90), 4: (90, 90, 90, 90), 5: (99, 99, 99, 99), 6: (99, 99, 99, 99)}
    (closed,) = run_of(Row("", NOTHING, candles, {4: Add(1), 6: Close()}), "pessimistic").records.closed
    assert closed.pnl.pnl_percentage == pytest.approx(8.0)
    assert closed.cost_percentage == pytest.approx(8 / 190 * 100)
    assert closed.largest_cost == pytest.approx(1.9)


def test_what_close_ends_frees_the_question_of_its_moment() -> None:
    asked: list[int] = []

    def get_signal(when: Any) -> bknb.Signal:
        asked.append(when.minute)
        return NOTHING

    strategy = bknb.add_strategy(
        "again", interval="5m", get_signal=get_signal, manage=lambda when: Close() if when.minute == 10 else None
    )
    rows = [(ORIGIN + k * MINUTE, 100.0, 101.0, 99.0, 100.0, 1.0) for k in range(-60, 30)]
    result = bknb.backtest("X", strategy=strategy, exchange=source(rows), frame=(ORIGIN, ORIGIN + 20 * MINUTE))
    assert asked == [0, 10]
    assert [moment.minute for moment in result.trades["pending_at"]] == [0, 10]


LIMIT4 = {3: (100, 100, 97, 100)}
GAP8, AT8 = (109, 109, 109, 109), (100, 109, 100, 100)
MAKERS: list[tuple[str, Row, list[bool]]] = [
    ("a limit and a target", Row("", long(90, 104, 90, price_open=98.0), {**LIMIT4, 6: UP}), [True, True]),
    ("a gap over the target", Row("", long(90, 104, 90, price_open=98.0), {**LIMIT4, 6: GAP8}), [True, False]),
    ("a limit that a candle opens beyond", Row("", long(90, 104, 90, price_open=98.0), {3: (97, 97, 97, 97), 6: UP}),
     [False, True]),
    ("a limit that the first open reaches", Row("", long(90, 104, 90, price_open=101.0), {6: UP}), [False, True]),
    ("a stop entry", Row("", long(90, 104, 90, price_open=102.0, entry="stop"), {3: (100, 102, 100, 102),
     6: (102, 106, 102, 102)}), [False, True]),
    ("a ladder", Row("", long(90, HALVES, price_open=98.0), {**LIMIT4, 6: AT8}), [True, True, True]),
    ("a gap over a ladder", Row("", long(90, HALVES, price_open=98.0), {**LIMIT4, 6: GAP8}), [True, False, False]),
    ("the last target from an open at it", Row("", long(90, 104, price_open=98.0), {**LIMIT4, 6: (104, 105, 104, 104)}),
     [True, True]),
    ("a resting add", Row("", long(90), {6: (100, 100, 97, 100)}, {4: Add(1, price_open=98.0)}), [False, True, False]),
    ("an add by a gap", Row("", long(90), {6: (97, 98, 96, 97)}, {4: Add(1, price_open=98.0)}), [False, False, False]),
]  # fmt: skip


@pytest.mark.parametrize(("row", "makers"), [pytest.param(*case[1:], id=case[0]) for case in MAKERS])
def test_a_fill_at_the_level_of_a_resting_order_is_that_of_a_maker(row: Row, makers: list[bool]) -> None:
    for one in (row, row.mirrored()):
        records = run_of(one, "pessimistic").records
        assert [fill["maker"] for fill in fill_rows(records, bknb.Settings())] == makers


@pytest.mark.parametrize("model", ["pessimistic", "touch", "vwap"])
def test_the_note_of_a_part_that_closes_all_that_is_left_is_that_of_the_exit(model: str) -> None:
    """The add that the part counted on is refused, so that the part is all there is."""
    answers = {4: [Add(1), Reduce(1.5, of="first", note="enough")]}
    (closed,) = run_of(Row("", NOTHING, answers=answers, risk=no_adds), model).records.closed
    assert (closed.close_reason, closed.note, closed.fills[-1].note) == ("strategy", "enough", "enough")


def test_the_largest_cost_is_found_in_one_pass() -> None:
    shares: list[tuple[FillKind, float, float]] = [
        ("entry", 1.0, 100.0),
        ("add", 1.0, 90.0),
        ("reduce", 1.5, 95.0),
        ("add", 2.0, 120.0),
        ("exit", 2.5, 99.0),
    ]
    fills = [Fill(number=k, kind=kind, at=k, share=share, price=price) for k, (kind, share, price) in enumerate(shares)]
    assert largest_cost(iter(fills)) == pytest.approx(2.5 * (430 / 4) / 100)
    assert largest_cost(iter(fills[:3])) == pytest.approx(1.9)
    assert largest_cost(iter(fills[:1])) == 1.0


@pytest.mark.parametrize("sign", [1, -1])
def test_what_filled_beyond_its_last_target_is_on_no_way_to_it(sign: int) -> None:
    ladder = [(100.0 + sign * 4, 0.5)]
    signal = bknb.Signal(side="long" if sign > 0 else "short", price_take_profit=ladder)
    opened = run_of(Row("", signal, {0: (100.0 + sign * 6,) * 4}), "touch").records.closed[0].signal
    assert opened.price_open == 100 + sign * 6
    assert progress(opened, 100.0 + sign * 8) == ("profit", 0.0)
    with_stop = msgspec.structs.replace(opened, price_stop_loss=100.0 + sign * 2)
    assert progress(with_stop, 100.0 + sign * 5) == ("loss", 25.0)
