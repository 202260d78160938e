"""The simulator of the contract's page against hand-written tables, and the engine against the simulator."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from page_simulator import MINUTE, Event, Simulator, World, always, money, on_grid, simulate
from quick import first_quick, rest_long
from scenarios import ORIGIN, Candle, long, source

import bknb
from bknb.domain.tick_grid import on_grid as on_grid_by_engine
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.records import Records
from bknb.testing.clocks import SimulatedClock

MODELS = ("pessimistic", "touch", "vwap")
LIMITS = (
    "min_take_profit_distance_percent",
    "min_stop_loss_distance_percent",
    "max_stop_loss_distance_percent",
    "max_signal_lifetime_minutes",
)
LONG_WORLDS, WORLDS, FEW_WORLDS = 1000, 130, 60  # in the long set, in the slow one, in the fast one
LIVE_WORLDS, SWEEP_WORLDS, SESSION_WORLDS, PARTS = 20, 40, 40, 12

# --- tables: the simulator against the page -------------------------------------------------------------------------

PRICES = ("price_open", "price_take_profit", "price_stop_loss")
LIFETIME = "minute_estimated_time"


@dataclass(frozen=True)
class Case:
    """A flat market at 100 with some bars, one signal a question, and what must come of it in each model.

    Lines are parted by semicolons: ``opened 100 @0`` is at the bar that opens at minute 0 of the frame. A model whose
    text is None is not looked at.
    """

    name: str
    signals: tuple[Mapping[str, Any] | None, ...]
    candles: Mapping[int, Candle]
    pessimistic: str | None
    touch: str | None
    vwap: str | None = None
    end: int = 30
    data_end: int = 40
    interval: int = 1
    silent: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    refused: tuple[int, ...] = ()
    tick: float | None = None
    settings: Mapping[str, float] = field(default_factory=dict)

    def mirrored(self) -> Case:
        """Every price p becomes 200 - p, a long a short."""
        return replace(
            self,
            signals=tuple(None if signal is None else flipped(signal) for signal in self.signals),
            candles={k: (200 - o, 200 - low, 200 - high, 200 - c) for k, (o, high, low, c) in self.candles.items()},
            pessimistic=mirrored_lines(self.pessimistic),
            touch=mirrored_lines(self.touch),
            vwap=mirrored_lines(self.vwap),
        )

    def rows(self) -> list[tuple[float, ...]]:
        minutes = [k for k in range(-60, self.data_end + 1) if k not in self.missing]
        flat = (100.0,) * 4
        return [(ORIGIN + k * MINUTE, *self.candles.get(k, flat), 0.0 if k in self.silent else 100.0) for k in minutes]

    def world(self, model: str) -> World:
        answers, refused = iter(self.signals), self.refused

        def ask(when: int, price: float) -> Mapping[str, Any] | None:
            return next(answers, None)

        def allowed(when: int) -> bool:
            return (when - ORIGIN) // MINUTE not in refused

        return World(
            self.rows(),
            model,
            ask,
            ORIGIN,
            ORIGIN + self.end * MINUTE,
            interval=self.interval * MINUTE,
            settings=self.settings,
            tick=self.tick,
            allowed=allowed,
        )


def flipped(signal: Mapping[str, Any]) -> dict[str, Any]:
    prices = {name: 200 - signal[name] for name in PRICES if signal.get(name) is not None}
    return {**signal, **prices, "position": "short"}


def mirrored_lines(lines: str | None) -> str | None:
    if lines is None:
        return None
    return " ".join(f"{200 - float(word):.10g}" if word[:1].isdigit() else word for word in lines.split(" "))


def line(event: Event) -> str:
    words = [event.kind, event.reason, "" if event.price is None else f"{event.price:.10g}"]
    words += [f"@{(event.when - ORIGIN) / MINUTE:g}", "ambiguous" if event.ambiguous else ""]
    return " ".join(word for word in words if word)


def told(run: Simulator) -> str:
    return " ; ".join(line(event) for event in run.events)


def stop_entry(take: float, stop: float, minutes: int, at: float) -> dict[str, Any]:
    return long(take, stop, minutes, at=at) | {"entry": "stop"}


OPEN, LIMIT, BREAK = long(105, 95), long(110, 90, at=96), stop_entry(110, 95, 10, 104)
IN, WAIT, RISE = "opened 100 @0", "scheduled 96 @0", "scheduled 104 @0"
TARGET, STOP = "closed take_profit 105", "closed stop_loss 95"
OUT, EXPIRED = "closed time_expired", "closed time_expired 100 @10"
HELD = f"{WAIT} ; opened 96 @3 ; {OUT} 100 @13"
ROSE = f"{RISE} ; opened 104 @3 ; {OUT} 100 @13"
UP: Candle = (102, 102, 102, 102)


def case(name: str, signal: Any, candles: Mapping[int, Candle], *lines: str | None, **more: Any) -> Case:
    """Lines of the three models; one for all if there is one, two if they part only in ``pessimistic``."""
    p, t, v = lines * 3 if len(lines) == 1 else (*lines, None) if len(lines) == 2 else lines
    return Case(name, signal if isinstance(signal, tuple) else (signal,), candles, p, t, v, **more)


def level(first: int, last: int, price: float) -> dict[int, Candle]:
    """Bars of one price, from a minute to another."""
    return dict.fromkeys(range(first, last + 1), (price,) * 4)


CASES = [
    # "No free money": a market order decided at `when`
    case("market entry: open of the first bar, vwap at `when`", OPEN, {0: UP},
         f"opened 102 @0 ; {OUT} 100 @10", f"opened 102 @0 ; {OUT} 100 @10",
         f"opened 100 @0 ; {OUT} 100 @10"),
    case("market entry: the first bar with volume", OPEN, {0: UP, 1: UP, 2: (103, 103, 103, 103)},
         f"opened 103 @2 ; {OUT} 100 @12", f"opened 102 @0 ; {OUT} 100 @10", silent=(0, 1)),
    case("deadline: at the open", OPEN, {10: UP}, f"{IN} ; {OUT} 102 @10",
         f"{IN} ; {OUT} 102 @10", f"{IN} ; {OUT} 100.4 @10"),
    case("deadline: the first bar with volume", OPEN, {10: UP, 11: (103,) * 4},
         f"{IN} ; {OUT} 103 @11", f"{IN} ; {OUT} 102 @10", silent=(10,)),
    case("frame end: the first bar at its last moment", long(105, 95, 99), {5: UP},
         f"{IN} ; closed frame_end 102 @5", f"{IN} ; closed frame_end 102 @5",
         f"{IN} ; {OUT} 100.4 @6", end=5),
    case("data end: last close, last average", long(105, 95, 99), {8: (100, 102, 100, 101)},
         f"{IN} ; closed data_end 101 @8", f"{IN} ; closed data_end 101 @8", f"{IN} ; closed data_end 100.2 @8",
         data_end=8),
    # a limit that the first open reaches
    case("limit reached by the first open", long(110, 90, at=102), {0: (99,) * 4},
         f"opened 99 @0 ; {OUT} 100 @10", f"opened 99 @0 ; {OUT} 100 @10",
         f"opened 102 @0 ; {OUT} 100 @10"),
    case("limit at the first open", LIMIT, {0: (96, 97, 96, 97)}, f"opened 96 @0 ; {OUT} 100 @10",
         f"opened 96 @0 ; {OUT} 100 @10"),
    case("a limit that `price` has reached and the open has not rests", long(110, 90, at=101), {0: UP, 1: UP},
         f"scheduled 101 @0 ; opened 100 @2 ; {OUT} 100 @12",
         f"scheduled 101 @0 ; opened 101 @2 ; {OUT} 100 @12",
         f"opened 101 @0 ; {OUT} 100 @10"),
    # a resting limit
    case("limit traded through", LIMIT, {3: (100, 100, 95, 100)}, HELD,
         HELD),
    case("limit touched", LIMIT, {3: (100, 100, 96, 100)}, f"{WAIT} ; cancelled frame_end @30",
         HELD),
    case("limit: a bar opens beyond", LIMIT, {3: (94, 95, 93, 95)},
         f"{WAIT} ; opened 94 @3 ; {OUT} 100 @13", HELD),
    case("limit in its first bar", LIMIT, {0: (100, 100, 95, 100)},
         f"{WAIT} ; opened 96 @0 ; {OUT} 100 @10", f"{WAIT} ; opened 96 @0 ; {OUT} 100 @10"),
    case("limit: a bar reaches it, the average does not", LIMIT, {3: (100, 100, 96, 100)}, None, None,
         HELD),
    # target
    case("target traded through", OPEN, {3: (100, 106, 100, 100)}, f"{IN} ; {TARGET} @3", f"{IN} ; {TARGET} @3",
         f"{IN} ; {EXPIRED}"),
    case("target touched", OPEN, {3: (100, 105, 100, 100)}, f"{IN} ; {EXPIRED}", f"{IN} ; {TARGET} @3"),
    case("target: a bar opens beyond", OPEN, {3: (108, 109, 94, 100)}, f"{IN} ; closed take_profit 108 @3",
         f"{IN} ; {TARGET} @3 ambiguous"),
    case("target: the average crosses", OPEN, level(3, 7, 106), None, None, f"{IN} ; {TARGET} @7"),
    # stop
    case("stop reached", OPEN, {3: (100, 100, 95, 100)}, f"{IN} ; {STOP} @3", f"{IN} ; {STOP} @3", f"{IN} ; {EXPIRED}"),
    case("stop: a bar opens beyond", OPEN, {3: (93, 106, 92, 100)}, f"{IN} ; closed stop_loss 93 @3",
         f"{IN} ; {TARGET} @3 ambiguous"),
    case("stop: the average crosses", OPEN, level(3, 7, 94), None, None, f"{IN} ; {STOP} @7"),
    # stop entry
    case("stop entry reached", BREAK, {3: (100, 104, 100, 100)}, ROSE,
         ROSE, f"{RISE} ; cancelled timeout @31"),
    case("stop entry: the first open beyond", BREAK, {0: (105,) * 4}, f"opened 105 @0 ; {OUT} 100 @10",
         f"opened 104 @0 ; {OUT} 100 @10"),
    case("stop entry: a later open beyond", BREAK, {3: (106,) * 4},
         f"{RISE} ; opened 106 @3 ; {OUT} 100 @13", ROSE),
    case("stop entry: the average crosses", BREAK, level(3, 6, 106), None, None,
         f"{RISE} ; opened 104 @6 ; {OUT} 100 @16"),
    case("stop entry: the first open at the level is a fill at an open", BREAK, {0: (104, 104, 95, 100)},
         f"opened 104 @0 ; {STOP} @0", f"opened 104 @0 ; {OUT} 100 @10 ambiguous"),
    case("stop entry: a later open at the level is one at the level", BREAK, {3: (104, 104, 95, 100)},
         f"{RISE} ; opened 104 @3 ; {OUT} 100 @13 ambiguous", f"{RISE} ; opened 104 @3 ; {OUT} 100 @13 ambiguous"),
    case("stop entry: the first open beyond, and the stop", BREAK, {0: (105, 105, 94, 100)},
         f"opened 105 @0 ; {STOP} @0", f"opened 104 @0 ; {OUT} 100 @10 ambiguous"),
    # opens exactly at a level
    case("limit: a later open at the level is one at the level", LIMIT, {3: (96, 111, 95, 100)}, HELD, HELD),
    case("limit: a first open at the level is one at an open", LIMIT, {0: (96, 111, 96, 100)},
         "opened 96 @0 ; closed take_profit 110 @0", "opened 96 @0 ; closed take_profit 110 @0"),
    case("stop: an open at the level is no doubt", OPEN, {3: (95, 106, 95, 100)}, f"{IN} ; {STOP} @3",
         f"{IN} ; {TARGET} @3 ambiguous"),
    case("target: an open at the level is not beyond", OPEN, {3: (105, 106, 95, 100)}, f"{IN} ; {STOP} @3 ambiguous",
         f"{IN} ; {TARGET} @3 ambiguous"),
    case("a stop at the low of the bar of a limit", LIMIT, {3: (100, 100, 90, 100)},
         f"{WAIT} ; opened 96 @3 ; closed stop_loss 90 @3 ambiguous", f"{WAIT} ; cancelled price_reject @3",
         f"{WAIT} ; cancelled price_reject @3"),
    case("the first open beyond the limit, and the stop", LIMIT, {0: (95, 95, 89, 95)},
         "opened 95 @0 ; closed stop_loss 90 @0", "opened 95 @0 ; closed stop_loss 90 @0",
         f"{WAIT} ; cancelled price_reject @0"),
    case("a limit at the end of the data", LIMIT, {}, f"{WAIT} ; cancelled data_end @8", data_end=8),
    # a bar without volume
    case("a bar without volume fills nothing, checks nothing", OPEN, {3: (100, 106, 94, 100)}, f"{IN} ; {EXPIRED}",
         f"{IN} ; {TARGET} @3 ambiguous", silent=(3,)),
    case("no resting fill without volume", LIMIT, {3: (90.5,) * 4}, f"{WAIT} ; cancelled frame_end @30",
         HELD, silent=(3,)),
    case("a source without volume is exempt", OPEN, {3: (100, 106, 100, 100)}, f"{IN} ; {TARGET} @3",
         f"{IN} ; {TARGET} @3", silent=tuple(range(-60, 41))),
    case("until a source reports a volume its bars count", OPEN, {3: (100, 106, 100, 100)}, f"{IN} ; {TARGET} @3",
         None, silent=(*range(-60, 4), 5)),
    case("a volume reported before the run's first average is not seen", OPEN, {3: (100, 106, 100, 100)},
         f"{IN} ; {TARGET} @3", None, silent=tuple(range(-5, 41))),
    case("one reported among the bars of the first average is", OPEN, {3: (100, 106, 100, 100)},
         "cancelled data_end @40", None, silent=tuple(range(-4, 41)), end=50),
    # "The order of a moment"
    case("the deadline frees its own moment", (long(105, 95, 3), OPEN), {3: UP},
         f"{IN} ; {OUT} 102 @3 ; opened 102 @3 ; {OUT} 100 @13",
         f"{IN} ; {OUT} 102 @3 ; opened 102 @3 ; {OUT} 100 @13",
         f"{IN} ; {OUT} 100.4 @3 ; opened 100.4 @4 ; {OUT} 100 @14"),
    case("what a bar ended waits for the bar's close", (OPEN, OPEN), {3: (100, 106, 100, 100)},
         f"{IN} ; {TARGET} @3 ; opened 100 @4 ; {OUT} 100 @14",
         f"{IN} ; {TARGET} @3 ; opened 100 @4 ; {OUT} 100 @14"),
    case("the deadline comes before that bar's levels", OPEN, {10: (100, 106, 94, 100)}, f"{IN} ; {EXPIRED}"),
    case("a deadline at an open beyond the stop", OPEN, {10: (90,) * 4}, f"{IN} ; {OUT} 90 @10",
         f"{IN} ; {OUT} 90 @10"),
    case("an entry beyond its stop", OPEN, {0: (93, 106, 92, 100)}, "opened 93 @0 ; closed stop_loss 93 @0",
         "opened 93 @0 ; closed stop_loss 93 @0"),
    case("an entry beyond its target", OPEN, {0: (106, 107, 94, 100)}, "opened 106 @0 ; closed take_profit 106 @0",
         "opened 106 @0 ; closed take_profit 106 @0"),
    case("an order whose bar never comes", OPEN, {}, "cancelled data_end @40", None, silent=tuple(range(41)), end=50),
    case("nobody is asked at the last moment", (None, None, OPEN), {}, "", "", end=2),
    case("the frame's end is before the deadline", long(105, 95, 5), {}, f"{IN} ; closed frame_end 100 @5",
         f"{IN} ; closed frame_end 100 @5", end=5),
    case("a waiting signal at the frame's end", LIMIT, {5: (100, 100, 95, 100)}, f"{WAIT} ; cancelled frame_end @5",
         f"{WAIT} ; cancelled frame_end @5", end=5),
    # "From signal to position"
    case("profit of a fill at an open: that bar", LIMIT, {3: (94, 111, 94, 100)},
         f"{WAIT} ; opened 94 @3 ; closed take_profit 110 @3", None),
    case("profit of a fill at the level: the next bar", LIMIT, {3: (100, 111, 95, 100), 5: (100, 111, 100, 100)},
         f"{WAIT} ; opened 96 @3 ; closed take_profit 110 @5", f"{WAIT} ; opened 96 @3 ; closed take_profit 110 @5"),
    case("a time-out comes before that bar", LIMIT, {20: (100, 100, 95, 100)}, f"{WAIT} ; cancelled timeout @20",
         settings={"schedule_await_minutes": 20}),
    case("waits at least an interval", LIMIT, {}, f"{WAIT} ; cancelled timeout @15", interval=15,
         settings={"schedule_await_minutes": 5}),
    case("stop and limit in one bar", LIMIT, {3: (100, 100, 89, 100)},
         f"{WAIT} ; opened 96 @3 ; closed stop_loss 90 @3 ambiguous", f"{WAIT} ; cancelled price_reject @3"),
    case("a bar that opens beyond both", LIMIT, {3: (88, 97, 88, 97)},
         f"{WAIT} ; opened 88 @3 ; closed stop_loss 88 @3",
         f"{WAIT} ; cancelled price_reject @3"),
    case("the stop of a stop entry is not in force in the bar of its fill", BREAK, {3: (100, 104, 94, 103)},
         f"{RISE} ; opened 104 @3 ; {OUT} 100 @13 ambiguous",
         f"{RISE} ; opened 104 @3 ; {OUT} 100 @13 ambiguous"),
    case("the stop of a stop entry after a fill at an open", BREAK, {3: (106, 106, 94, 100)},
         f"{RISE} ; opened 106 @3 ; {STOP} @3", None),
    case("a bar that reaches the stop but not the stop entry", BREAK, {3: (100, 103, 95, 100)},
         f"{RISE} ; cancelled price_reject @3", f"{RISE} ; cancelled price_reject @3"),
    case("risk is asked at the question", (OPEN, OPEN), {}, f"refused @0 ; opened 100 @1 ; {OUT} 100 @11",
         refused=(0,)),
    case("risk is asked when a resting entry is touched", LIMIT, {3: (100, 100, 95, 100)},
         f"{WAIT} ; refused @3 ; cancelled risk @3", f"{WAIT} ; refused @3 ; cancelled risk @3", refused=(3,)),
    case("a market order is validated against `price`", long(105, 99.9), {0: (101,) * 4}, "rejected @0"),
    case("a limit is validated against the limit", long(105, 95.6, at=96), {}, "rejected @0"),
    case("a limit that `price` reached is validated against it too", long(105, 101, at=103), {}, "rejected @0"),
    case("a stop entry is validated against `price` too", stop_entry(110, 101, 10, 104), {}, "rejected @0"),
    case("levels on the grid, away from the market", long(103.3, 96.7, at=98.6), {3: (100, 100, 97.5, 100)},
         f"scheduled 98 @0 ; opened 98 @3 ; {OUT} 100 @13",
         f"scheduled 98 @0 ; opened 98 @3 ; {OUT} 100 @13", tick=1.0),
    # "Exits"
    case("both in one bar", OPEN, {3: (100, 106, 94, 100)},
         f"{IN} ; {STOP} @3 ambiguous", f"{IN} ; {TARGET} @3 ambiguous"),
    case("both in the bar of a market entry", OPEN, {0: (100, 106, 94, 100)}, f"{IN} ; {STOP} @0 ambiguous",
         f"{IN} ; {TARGET} @0 ambiguous"),
    case("the target of a market entry in that bar", OPEN, {0: (100, 106, 100, 100)}, f"{IN} ; {TARGET} @0",
         f"{IN} ; {TARGET} @0"),
    case("after a gap the bar opens beyond", OPEN, {8: (93,) * 4}, f"{IN} ; closed stop_loss 93 @8",
         f"{IN} ; {STOP} @8", missing=(3, 4, 5, 6, 7)),
    case("a deadline inside a gap", long(105, 95, 5), {8: UP}, f"{IN} ; {OUT} 102 @8",
         f"{IN} ; {OUT} 102 @8", missing=(3, 4, 5, 6, 7)),
    case("a deadline and a later frame's end inside one gap", long(105, 95, 5), {13: UP}, f"{IN} ; {OUT} 102 @13",
         f"{IN} ; {OUT} 102 @13", missing=tuple(range(3, 13)), end=8),
    case("a frame's end and a later deadline inside one gap", long(105, 95, 8), {13: UP},
         f"{IN} ; closed frame_end 102 @13", f"{IN} ; closed frame_end 102 @13", missing=tuple(range(3, 13)), end=5),
    case("a time-out and a later frame's end inside one gap", LIMIT, {13: (90.5,) * 4},
         f"{WAIT} ; cancelled timeout @5", f"{WAIT} ; cancelled timeout @5", missing=tuple(range(3, 13)), end=8,
         settings={"schedule_await_minutes": 5}),
    case("a frame's end and a later time-out inside one gap", LIMIT, {13: (90.5,) * 4},
         f"{WAIT} ; cancelled frame_end @5", f"{WAIT} ; cancelled frame_end @5", missing=tuple(range(3, 13)), end=5,
         settings={"schedule_await_minutes": 8}),
    case("a resting fill lives from its bar on", long(110, 90, 5, at=96), {3: (100, 100, 95, 100)},
         f"{WAIT} ; opened 96 @3 ; {OUT} 100 @8", f"{WAIT} ; opened 96 @3 ; {OUT} 100 @8"),
]  # fmt: skip
SYMMETRIC = [(one, model) for one in CASES for model in MODELS if getattr(one, model) is not None]
NAMES = [f"{one.name}-{model}" for one, model in SYMMETRIC]


@pytest.mark.parametrize("upside_down", [False, True], ids=["long", "short"])
@pytest.mark.parametrize(("one", "model"), SYMMETRIC, ids=NAMES)
def test_the_simulator_does_what_the_page_says(one: Case, model: str, upside_down: bool) -> None:  # noqa: FBT001
    world = one.mirrored() if upside_down else one
    assert told(simulate(world.world(model))) == getattr(world, model)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("signal", "kept"),
    [
        (long(100.5, 99.5), True),
        (long(100.49, 95), False),
        (long(105, 99.51), False),
        (long(105, 80), True),
        (long(105, 79.99), False),
        (long(105, 100), False),
        (long(100, 95), False),
        (long(105, 95, 1440), True),
        (long(105, 95, 1441), False),
        (long(105, 95, 0), False),
        (long(105, 95, -1), False),
        (long(105, 95) | {"minute_estimated_time": 1.5}, False),
        (long(105, 95) | {"position": "flat"}, False),
        (long(math.inf, 95), False),
        (long(105, math.nan), False),
        (long(105, 0), False),
        (long(105, 95, at=-1), False),
        (long(105, 95, at=math.inf), False),
        (long(105, 95, at=95), False),
        (long(105, 95, at=105), False),
        (long(105, 95, at=100), True),
        (long(105, 100, at=103), False),
        (stop_entry(105, 95, 10, 102), True),
        (stop_entry(105, 100, 10, 102), False),
        (stop_entry(105, 95, 10, 105), False),
        ({"position": "long"}, True),
        *((long(105, 95) | {name: None}, True) for name in ("price_take_profit", "price_stop_loss", LIFETIME)),
    ],
)
def test_what_is_validated_at_the_question(signal: Mapping[str, Any], kept: bool, model: str) -> None:  # noqa: FBT001
    run = simulate(case("", signal, {}, "").world(model))
    assert [event.kind == "rejected" for event in run.events][:1] == [not kept]


def test_a_target_must_pay_for_the_costs() -> None:
    settings = {"min_take_profit_distance_percent": 0.0}
    kept = {take: simulate(case("", long(take, 95), {}, "", settings=settings).world("touch")).trades for take in
            (100.3, 100.39, 100.41)}  # fmt: skip
    assert [bool(trades) for trades in kept.values()] == [False, False, True]


@pytest.mark.parametrize(
    ("changes", "moments"),
    [
        ({}, list(range(12))),
        ({"interval": 5 * MINUTE}, [0, 5, 10]),
        ({"interval": 5 * MINUTE, "start": ORIGIN + 2 * MINUTE}, [2, 5, 10]),
        ({"step": 3 * MINUTE}, [0, 3, 6, 9]),
        ({"step": 3 * MINUTE, "end": ORIGIN + 11 * MINUTE}, [0, 3, 6]),  # 9 is the last moment
        ({"step": 3 * MINUTE, "interval": 5 * MINUTE}, [0, 6]),  # 12 is in the next slot, and the last
        ({"start": ORIGIN + 90_000}, list(range(1, 12))),
        ({"is_open": lambda when: when != ORIGIN + 4 * MINUTE}, [0, 1, 2, 3, 10, 11]),
    ],
)
def test_when_a_strategy_is_asked(changes: Mapping[str, Any], moments: list[int]) -> None:
    run = simulate(replace(case("", None, {}, "", end=12).world("pessimistic"), **changes))
    assert [(when - ORIGIN) // MINUTE for when in run.asked] == moments


@pytest.mark.parametrize(
    ("missing", "interval", "moments"),
    [((5,), 1, [0, 1, 2, 3, 4, 5, *range(7, 12)]), ((4,), 5, [0, 6, 10]), ((5,), 5, [0, 5, 10])],
)
def test_a_missing_minute_only_delays_a_question(missing: tuple[int, ...], interval: int, moments: list[int]) -> None:
    run = simulate(case("", None, {}, "", end=12, missing=missing, interval=interval).world("pessimistic"))
    assert [(when - ORIGIN) // MINUTE for when in run.asked] == moments


def test_nobody_is_asked_before_the_price_has_its_bars() -> None:
    world = case("", None, {}, "", end=12).world("pessimistic")
    run = simulate(replace(world, rows=world.rows[60 - 2 :]))
    assert [(when - ORIGIN) // MINUTE for when in run.asked] == list(range(3, 12))


def test_money_of_one_trade() -> None:
    long_, short = money(1, 100.0, 110.0, 0.1, 0.1), money(-1, 100.0, 90.0, 0.1, 0.1)
    paid, got = 100 * 1.001, 110 * 0.999
    assert long_.net == pytest.approx(100 * (got - paid) / paid - 0.1 * (1 + got / paid), abs=1e-12)
    assert [long_.gross, short.gross] == pytest.approx([10, 10])
    paid, got = 100 * 0.999, 90 * 1.001
    assert short.net == pytest.approx(100 * (paid - got) / paid - 0.1 * (1 + got / paid), abs=1e-12)
    for one in (long_, short):
        assert one.gross - one.fees - one.slippage == pytest.approx(one.net, abs=1e-12)


@pytest.mark.parametrize(
    ("price", "tick", "down", "up"),
    [
        (98.6, 0.25, 98.5, 98.75),
        (98.75, 0.25, 98.75, 98.75),
        (98.6, None, 98.6, 98.6),
        (0.1 * 3, 0.1, 0.3, 0.3),  # a decimal, as a market quotes it
        (100.0 + 9e-8, 0.1, 100.0, 100.0),  # within a millionth of a tick
        (100.0 + 2e-7, 0.1, 100.0, 100.1),
        (100.0 - 2e-7, 0.1, 99.9, 100.0),
        (76771.77748507, 1e-8, 76771.77748507, 76771.77748507),  # many ticks, and a float between them
        (1.4126300811767578e-05, 5.960464477539063e-08, 1.412630081176758e-05, 1.412630081176758e-05),  # 2**-24
    ],
)
def test_the_grid(price: float, tick: float | None, down: float, up: float) -> None:
    assert (on_grid(price, tick, -1), on_grid(price, tick, 1)) == (down, up)
    signal = bknb.Signal(position="long", price_take_profit=price, price_stop_loss=price, minute_estimated_time=5)
    moved = on_grid_by_engine(signal, tick)
    assert (moved.price_stop_loss, moved.price_take_profit) == (down, up)


# --- random worlds --------------------------------------------------------------------------------------------------

NEW_YORK = ZoneInfo("America/New_York")
HOURS = {"mon-fri": "09:30-16:00"}
DAYS = ("2024-03-07", "2024-03-08", "2024-10-31", "2024-11-01", "2024-01-03")  # four lie right before the clocks change
INTERVALS = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "1d": 1440}
SAY_NOTHING, TAKE_WHAT_COMES = 0.55, 0.9


@cache
def is_open(when: int) -> bool:
    """The hours of ``HOURS`` by the definition."""
    there = datetime.fromtimestamp(when / 1000, UTC).astimezone(NEW_YORK)
    return there.weekday() < 5 and 570 <= there.hour * 60 + there.minute < 960


@dataclass(frozen=True)
class Drawn:
    """A random world with what bknb has to be told about it."""

    world: World
    interval: str
    step: str
    gaps: bool
    sessions: bool

    @property
    def exchange(self) -> Any:
        market = market_of(self.world)
        return (
            bknb.exchanges.in_sessions(market, bknb.Sessions.weekly(NEW_YORK.key, HOURS)) if self.sessions else market
        )


def times_of(random: np.random.Generator, *, sessions: bool, size: int) -> list[int]:
    """Open times of bars: of a market that never closes, or of three to five days of one that does."""
    if not sessions:
        return [ORIGIN + k * MINUTE for k in range(size)]
    first = int(datetime.fromisoformat(str(random.choice(DAYS))).replace(tzinfo=UTC).timestamp()) * 1000
    return [t for t in range(first, first + 6 * 1440 * MINUTE, MINUTE) if is_open(t)][:size]


def tick_of(random: np.random.Generator) -> float:
    """A tick such as markets have: 0.05, 0.0025, 1e-8, or a part of a dollar such as 1/32."""
    if random.random() < 0.2:
        return 2.0 ** int(random.integers(-12, 12))
    return float(f"{random.choice([1, 2, 5, 25])}e{random.integers(-10, 3)}")


def bars_of(random: np.random.Generator, times: list[int], tick: float | None) -> list[tuple[float, ...]]:
    """A nervous market: jumps at opens, wild bars, flat bars without volume, prices on a grid or not."""
    size = len(times)
    moves, wicks = random.normal(0, 0.003, size), np.abs(random.normal(0, 0.002, (2, size)))
    jumps = np.where(random.random(size) < 0.1, random.normal(0, 0.02, size), 0.0)
    wicks[:, random.random(size) < 0.03] += 0.03
    volume = random.integers(0, 4, size) * 25.0 if random.random() < 0.7 else np.full(size, 10.0)
    if random.random() < 0.1:
        volume[:] = 0.0
    unit = 2.0 ** int(random.integers(8, 16)) if tick is not None else 10.0 ** random.uniform(-8, 9)
    close = unit * np.exp(np.cumsum(moves + jumps))
    open_ = np.concatenate([[unit], close[:-1]]) * np.exp(jumps)
    high, low = np.maximum(open_, close) * (1 + wicks[0]), np.minimum(open_, close) * (1 - wicks[1])
    flat = (volume == 0) & (random.random(size) < 0.7)  # as exchanges fill silent minutes
    last = np.concatenate([[unit], close[:-1]])
    for column in (open_, high, low, close):
        column[flat] = last[flat]
    columns = [open_, high, low, close]
    if tick is not None:
        step = Decimal(repr(tick))
        on_it = cache(lambda count: float(count * step))
        prices = [[on_it(max(round(value), 2)) for value in column.tolist()] for column in columns]
    else:
        prices = [column.tolist() for column in columns]
    return list(zip(times, *prices, volume.tolist(), strict=True))


def wishes(seed: int, tick: float | None, *, far: float = 1) -> Any:
    """A strategy of random signals of all kinds; what a signal is depends on its moment and ``price`` alone.

    Levels are ``far`` times as far away.
    """

    def ask(when: int, price: float) -> dict[str, Any] | None:
        random = np.random.default_rng([seed, when // MINUTE])
        if random.random() < SAY_NOTHING:
            return None
        sign = 1 if random.random() < 0.5 else -1
        kind = random.choice(["market", "limit", "stop"])
        offset = far * random.uniform(-0.01, 0.02) * (-1 if kind == "stop" else 1)
        entry = price if kind == "market" else price * (1 - sign * offset)
        target = entry * (1 + far * sign * random.uniform(0.004, 0.04))
        stop = entry * (1 - far * sign * random.uniform(0.004, 0.04))
        if tick is not None and random.random() < 0.6:
            entry, target, stop = (max(1, round(value / tick)) * tick for value in (entry, target, stop))
        minutes = int(random.choice([1, 3, 10, 60, 400] if far == 1 else [10, 400, 1400, 1440]))
        spoilt = int(random.integers(0, 30))
        signal = {
            "position": "long" if sign > 0 else "short",
            "price_take_profit": math.nan if spoilt == 1 else -1.0 if spoilt == 2 else target,
            "price_stop_loss": math.inf if spoilt == 3 else stop,
            "minute_estimated_time": 0 if spoilt == 4 else 5000 if spoilt == 5 else minutes,
        }
        signal |= {} if kind == "market" else {"price_open": math.inf if spoilt == 6 else entry}
        if spoilt in (10, 11, 12):
            del signal[("price_take_profit", "price_stop_loss", "minute_estimated_time")[spoilt - 10]]
        return signal | ({"entry": "stop"} if kind == "stop" else {})

    return ask


def draw(seed: int, model: str, *, plain: bool = False, by_day: bool = False) -> Drawn:
    """A world of a seed.

    A plain one, for live runs and sweeps, asks every minute and has no hours; one by the day asks once a session.
    """
    random = np.random.default_rng([3, seed])
    sessions = (bool(random.random() < 0.25) or by_day) and not plain
    interval = "1m" if plain else str(random.choice(list(INTERVALS), p=[0.4, 0.2, 0.2, 0.15, 0.05]))
    interval = "1d" if by_day else interval
    times = times_of(
        random,
        sessions=sessions,
        size=int(random.integers(300, 1500 if interval in ("1h", "1d") else 700)) + 1000 * by_day,
    )
    grid = tick_of(random) if random.random() < 0.5 else None
    rows = bars_of(random, times, grid)
    frame_at = int(random.integers(30, 80))
    start = times[frame_at] + int(random.choice([0, 0, 1, 30_000, 59_999])) * (not plain)
    end = times[-int(random.integers(2, 60))] + int(random.integers(0, MINUTE)) * (not plain)
    gaps = bool(random.random() < 0.4)
    if gaps:
        gone = set(random.integers(frame_at + 1, len(rows), 10).tolist())
        hole = int(random.integers(frame_at + 1, len(rows) - 20))
        if by_day:
            hole = next(k for k in range(frame_at + 300, len(rows)) if times[k] - times[k - 1] > MINUTE)  # at an open
        rows = [row for k, row in enumerate(rows) if k not in gone and not hole <= k < hole + 15]
    if random.random() < 0.2 and not plain:
        rows = rows[: -int(random.integers(20, 120))]  # the data ends inside the frame
    step = "1m" if plain else str(random.choice(["1m", "1m", "1m", "3m", "15m"]))
    settings = {
        "schedule_await_minutes": int(random.choice([3, 30, 120])),
        "avg_price_candles_count": int(random.choice([1, 5])),
        "percent_fee": float(random.choice([0.0, 0.05, 0.1])),
        "percent_slippage": float(random.choice([0.0, 0.1])),
    }
    refuses = int(random.choice([1, 4])) if not plain else 1

    def allowed(when: int) -> bool:
        return refuses == 1 or (when // MINUTE) % refuses != 0

    world = World(
        rows,
        model,
        wishes(seed, grid, far=5 if by_day else 1),
        start,
        end,
        step=int(step[:-1]) * MINUTE,
        interval=INTERVALS[interval] * MINUTE,
        settings=settings,
        tick=grid if random.random() < TAKE_WHAT_COMES else None,
        allowed=allowed,
        is_open=is_open if sessions else always,
    )
    return Drawn(world, interval, step, gaps, sessions)


def vectorised(world: World) -> tuple[Any, World]:
    """``get_signals`` over candles of a minute, and a world that asks the same: both take the close for the price.

    NaN in a column means that there is no such level, so a wrong NaN of the world is another wrong number here.
    """
    closes = {row[0] + MINUTE: row[4] for row in world.rows}

    def ask(when: int, price: float) -> Mapping[str, Any] | None:
        answer = world.ask(when, price)
        return answer and {name: -1.0 if value != value else value for name, value in answer.items()}

    names = {"position": 0.0, "entry": 0.0, **dict.fromkeys((*PRICES, "minute_estimated_time"), math.nan)}
    codes = {"long": 1.0, "short": -1.0, "stop": 1.0}

    def get_signals(candles: Any, spare: int = 0) -> dict[str, Any]:
        columns = {name: np.full(len(candles), nothing) for name, nothing in names.items()}
        for k, (t, close) in enumerate(zip(candles.timestamp.tolist(), candles.close.tolist(), strict=True)):
            for name, value in (ask(t + MINUTE, close) or {}).items():
                columns[name][k] = codes.get(value, value)
        return columns | {"stop_entry": columns.pop("entry") == 1}

    def ask_at_close(when: int, price: float) -> Any:
        return ask(when, closes[when])

    return get_signals, replace(world, ask=ask_at_close)


LEVELS = ("price_take_profit", "price_stop_loss", LIFETIME)
NEAR = {"min_take_profit_distance_percent": 0.0, "min_stop_loss_distance_percent": 0.0}


def with_columns(seed: int, model: str) -> set[int]:
    """Compare a world with ``get_signals`` whose columns have levels or NaN; numbers of the combinations that opened.

    Each combination has an eighth of the frame; the one without any levels, whose position ends with it, the last.
    """
    drawn = draw(seed, model, plain=True)
    drawn = replace(drawn, world=replace(drawn.world, settings=drawn.world.settings | NEAR))
    start, end = drawn.world.start, drawn.world.end
    closes = {row[0] + MINUTE: row[4] for row in drawn.world.rows}

    def ask(when: int, price: float) -> Mapping[str, Any]:
        combination, close = 7 - (when - start) * 8 // (end - start), closes[when]
        levels = {"price_take_profit": close * 1.003, "price_stop_loss": close * 0.997, LIFETIME: 10}
        given = {name: levels[name] for k, name in enumerate(LEVELS) if combination >> k & 1}
        return {"position": "long"} | given

    def get_signals(candles: Any) -> dict[str, Any]:
        combination, close = 7 - (candles.timestamp + MINUTE - start) * 8 // (end - start), candles.close
        levels = {"price_take_profit": close * 1.003, "price_stop_loss": close * 0.997, LIFETIME: 10.0}
        columns = {name: np.where(combination >> k & 1, levels[name], math.nan) for k, name in enumerate(LEVELS)}
        return {"position": np.ones(len(close)), **columns}

    strategy = bknb.add_strategy("columns", interval="1m", get_signals=get_signals, execution=model)
    result = bknb.backtest(
        "BTCUSDT",
        strategy=strategy,
        exchange=drawn.exchange,
        frame=(start, end),
        **options_of(drawn),
    )
    page = simulate(replace(drawn.world, ask=ask))
    assert_same_events(events_of(result.run_record.records), in_that_order(page.events), drawn.world)
    return {(event.when - start) * 8 // (end - start) for event in page.events if event.kind == "opened"}


@pytest.mark.parametrize("model", MODELS)
def test_nan_in_a_column_is_a_level_that_is_not_given(model: str) -> None:
    assert with_columns(5, model) | with_columns(8, model) == {*range(8)}


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_the_worlds_hold_every_kind_of_event(model: str) -> None:
    frame_end = {("closed", "frame_end"), ("cancelled", "frame_end")} if model != "vwap" else set()
    closed = {("closed", reason) for reason in ("stop_loss", "take_profit", "time_expired", "data_end")}
    cancelled = {("cancelled", reason) for reason in ("timeout", "price_reject", "risk", "data_end")}
    others = {(kind, "") for kind in ("scheduled", "opened", "rejected", "refused")}
    wanted, doubts = others | closed | cancelled | frame_end, 20 * (model != "vwap")
    kinds, ambiguous, drawn = set[tuple[str, str]](), 0, []
    while (kinds != wanted or ambiguous < doubts or len(drawn) < FEW_WORLDS) and len(drawn) < WORLDS:
        drawn.append(draw(len(drawn), model))
        events = simulate(drawn[-1].world).events
        kinds |= {(event.kind, event.reason) for event in events}
        ambiguous += sum(event.ambiguous for event in events)
    assert kinds == wanted
    assert ambiguous >= doubts
    assert model != "vwap" or not ambiguous
    assert {each.interval for each in drawn} == set(INTERVALS)
    assert {(each.gaps, each.sessions) for each in drawn} == {(a, b) for a in (False, True) for b in (False, True)}


# --- what bknb made of a world --------------------------------------------------------------------------------------


def registered(drawn: Drawn, asked: list[int]) -> Any:
    """The strategy of a world with its risk profile; ``asked`` collects the moments of its questions.

    Its functions hold no candles and no ``lambda``: a run reads all code and data that its strategy reaches.
    """
    ask, allowed = drawn.world.ask, drawn.world.allowed

    def get_signal(when: datetime, price: float) -> Mapping[str, Any] | None:
        moment = round(when.timestamp() * 1000)
        asked.append(moment)
        return ask(moment, price)

    def profile(request: bknb.RiskRequest) -> bool:
        "one place, and not at every moment"
        return allowed(request.when) and request.open_position_count == 0  # reading: what leaves takes no place

    bknb.add_risk("profile", validations=[profile])
    return bknb.add_strategy(
        "wishes", interval=drawn.interval, get_signal=get_signal, risk="profile", execution=drawn.world.model
    )  # fmt: skip


def market_of(world: World) -> Any:
    """An exchange with the world's bars."""
    return source(world.rows)


def options_of(drawn: Drawn) -> dict[str, Any]:
    settings = bknb.Settings.strict()
    strict = {name: getattr(settings, name) for name in LIMITS}
    tick = {} if drawn.world.tick is None else {"price_tick": drawn.world.tick}
    return {"settings": {**strict, **drawn.world.settings, **tick}, "allow_gaps": drawn.gaps}


def events_of(records: Records) -> list[Event]:
    """The events of a run, in the simulator's words; refusals and rejections behind the rest."""
    numbers: dict[str, int] = {}
    events = []
    for event in records.events:
        assert not isinstance(event, (bknb.Idle, bknb.Active))
        number = numbers.setdefault(event.signal.id, len(numbers))
        match event:
            case bknb.Scheduled() | bknb.Opened():
                events.append(Event(event.action, event.when, event.signal.price_open, "", number, ambiguous=False))
            case bknb.Closed():
                told = (event.when, event.price_close, event.close_reason, number)
                events.append(Event("closed", *told, ambiguous=event.ambiguous))
            case bknb.Cancelled():
                events.append(Event("cancelled", event.when, None, event.reason, number, ambiguous=False))
    for kind, those in (("rejected", records.rejected), ("refused", records.refused)):
        events += [Event(kind, one.when, None, "", -1, ambiguous=False) for one in those]
    return events


def in_that_order(events: list[Event]) -> list[Event]:
    return [one for one in events if one.signal >= 0] + [
        one for kind in ("rejected", "refused") for one in events if one.kind == kind
    ]


def assert_same_events(got: list[Event], expected: list[Event], world: World) -> None:
    """Equal to the bit, but for prices that are averages: to 1e-12."""
    for k, (mine, theirs) in enumerate(zip(expected, got, strict=False)):
        price = math.isclose(mine.price or 0, theirs.price or 0, rel_tol=1e-12)
        same = price and mine._replace(price=None) == theirs._replace(price=None)
        assert same, f"event {k} ({world.model}): the page says {line(mine)}, came {line(theirs)}"
    assert len(got) == len(expected), f"{len(expected)} events by the page, came {len(got)}"


def holes_of(world: World) -> list[tuple[int, int]]:
    """The minutes ``[first, end)`` (UTC ms) that never come, between two that do before the world ends."""
    times = [row[0] for row in world.rows if world.start - MINUTE <= row[0] < world.end]
    return [(before + MINUTE, behind) for before, behind in itertools.pairwise(times) if behind - before > MINUTE]


SILENT_MINUTES = 10  # after so many that do not come, that is told


def has_silence(world: World) -> bool:
    return any(end - first >= SILENT_MINUTES * MINUTE for first, end in holes_of(world))


def by_backtest(drawn: Drawn) -> tuple[bknb.Result, list[int]]:
    """A backtest of a world and the moments of its questions."""
    asked: list[int] = []
    bknb.add_frame("frame", start=drawn.world.start, end=drawn.world.end, interval=drawn.step)
    strategy = registered(drawn, asked)
    result = bknb.backtest(
        "BTCUSDT", strategy=strategy, exchange=drawn.exchange, frame="frame", **options_of(drawn)
    )  # fmt: skip
    assert not result.errors, result.errors
    return result, asked


def by_engine(drawn: Drawn) -> tuple[Records, list[int]]:
    """The same without task, hashes and tables."""
    asked: list[int] = []
    bknb.add_frame("frame", start=drawn.world.start, end=drawn.world.end, interval=drawn.step)
    plan = plan_backtest(
        "BTCUSDT", strategy=registered(drawn, asked), exchange=drawn.exchange, frame="frame", **options_of(drawn)
    )
    run = BacktestRun(plan)
    asyncio.run(run.through())
    assert not run.records.failures
    return run.records, asked


PARTS_OF_PNL = ("pnl_percentage", "gross_percentage", "fee_percentage", "slippage_percentage")


def compare(seed: int, model: str, *, whole: bool, by_day: bool = False) -> Simulator:
    """Compare a world with the simulator; ``whole``: as users run it, with the table of trades."""
    drawn = draw(seed, model, by_day=by_day)
    page = simulate(drawn.world)
    if whole:
        result, asked = by_backtest(drawn)
        records = result.run_record.records
        made = result.trades[[*PARTS_OF_PNL]].to_numpy(dtype=float)
    else:
        records, asked = by_engine(drawn)
        made = np.array([[getattr(end.pnl, name) for name in PARTS_OF_PNL] for end in records.closed], dtype=float)
    assert_same_events(events_of(records), in_that_order(page.events), drawn.world)
    assert asked == page.asked, f"asked at {first_difference(asked, page.asked)}"
    expected = np.array([parts for _, parts in page.trades], dtype=float).reshape(-1, 4)
    np.testing.assert_allclose(made.reshape(-1, 4), expected, rtol=0, atol=1e-9)
    return page


def first_difference(came: list[int], page: list[int]) -> str:
    k = next((k for k, (a, b) in enumerate(zip(came, page, strict=False)) if a != b), min(len(came), len(page)))
    return f"{came[k : k + 1]}, by the page at {page[k : k + 1]}"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("part", first_quick(range(PARTS)))
def test_a_backtest_is_the_simulator(model: str, part: int) -> None:
    for seed in range(part, FEW_WORLDS, PARTS):
        compare(seed, model, whole=part < 3)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("first", "end"), [(FEW_WORLDS, WORLDS), pytest.param(WORLDS, LONG_WORLDS, marks=pytest.mark.long)]
)
def test_a_backtest_is_the_simulator_in_many_worlds(model: str, first: int, end: int) -> None:
    for seed in range(first, end):
        compare(seed, model, whole=first >= WORLDS)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_by_the_day_a_backtest_is_the_simulator(model: str) -> None:
    pages = [compare(seed, model, whole=False, by_day=True) for seed in range(SESSION_WORLDS)]
    late = sum(when not in {opened for opened, _ in page.sessions} for page in pages for when in page.asked)
    waited = sum(event.reason == "timeout" for page in pages for event in page.events)
    assert late > 0
    assert waited > 0


@pytest.mark.parametrize(("one", "model"), SYMMETRIC, ids=NAMES)
def test_the_engine_does_what_the_tables_say(one: Case, model: str) -> None:
    world = one.world(model)
    drawn = Drawn(world, f"{one.interval}m", "1m", gaps=bool(one.missing), sessions=False)
    events = in_that_order(simulate(one.world(model)).events)
    assert_same_events(events_of(by_engine(drawn)[0]), events, world)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seed", rest_long(range(LIVE_WORLDS), kept=5))
def test_live_is_the_simulator(model: str, seed: int) -> None:
    drawn, asked = draw(seed, model, plain=True), list[int]()
    world = drawn.world
    task = bknb.Live.background(
        "BTCUSDT",
        strategy=registered(drawn, asked),
        exchange=drawn.exchange,
        clock=SimulatedClock(world.start),
        until=world.end,
        store=bknb.stores.memory(),
        **options_of(drawn),
    )
    result = task.result(timeout=120)
    assert [error.kind for error in result.errors] == ["silence"] * has_silence(world)
    records, page = result.run_record.records, simulate(world)
    assert (records.holes, records.late) == (holes_of(world), {})
    got, expected = ([one for one in events if one.when < world.end] for events in (events_of(records), page.events))
    assert_same_events(got, in_that_order(expected), world)
    assert [when for when in asked if when < world.end] == [when for when in page.asked if when < world.end]


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("part", rest_long(range(8), kept=1))
def test_a_sweep_is_the_simulator(model: str, part: int) -> None:
    pytest.importorskip("numba")
    for seed in range(part, SWEEP_WORLDS, 8):
        drawn = draw(seed, model, plain=True)
        world = drawn.world
        get_signals, alike = vectorised(world)
        found = bknb.sweep(
            get_signals,
            params={"spare": [0]},
            symbol="BTCUSDT",
            exchange=source(world.rows),
            frame=(world.start, world.end),
            interval="1m",
            metric="total_pnl",
            execution=model,
            keep_trades=True,
            **options_of(drawn),
        )
        trades = found.trades(0)
        expected = simulate(alike).trades
        assert list(trades["close_reason"]) == [event.reason for event, _ in expected]
        closed_at = [round(moment.timestamp() * 1000) for moment in trades["closed_at"]]
        assert closed_at == [event.when for event, _ in expected]
        assert list(trades["ambiguous"]) == [event.ambiguous for event, _ in expected]
        np.testing.assert_allclose(trades["pnl_percentage"], [parts.net for _, parts in expected], rtol=0, atol=1e-9)
