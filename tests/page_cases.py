"""The tables of the contract's page: what is asked for, the candles, and what is told, by model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from page_simulator import MINUTE, Event, Simulator, World
from scenarios import ORIGIN, Candle, long

MODELS = ("pessimistic", "touch", "vwap")
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
