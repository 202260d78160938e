"""Moved orders, how long orders wait, stop adds and entry ladders, on a martingale of single ticks: none earns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from law_runs import SEEN, Sample, over_gaps_and_clusters, paths, ran
from scenarios import MINUTE

import bknb
from bknb.domain.fills_at_stops_and_gaps import Entry, ExecutionModel
from bknb.domain.order_of_fills_in_a_managed_minute import _ManagedMinute

if TYPE_CHECKING:
    from collections.abc import Callable

    from tick_paths import Path


def played(
    ask: Callable[[float, int], Any], manage: Callable[[Any, float, float], Any], market: Path, *, of: str = "first"
) -> Sample:
    """Basis points of the cost of the first fill, or of ``"all"`` entries, of one that is told the last close."""
    closes = {int(t) + MINUTE: float(close) for t, close in zip(market.times, market.close, strict=True)}
    opens = {int(t) + MINUTE: float(each) for t, each in zip(market.times, market.open, strict=True)}

    def get_signal(ctx: Any) -> Any:
        return ask(closes[ctx.when_ms], 1 if ctx.when_ms // MINUTE % 2 else -1)

    def manages(ctx: Any, position: Any) -> Any:
        return manage(position, closes[ctx.when_ms], opens[ctx.when_ms])

    settings = {"price_tick": 1.0}
    run = ran(market, get_signal, settings=settings, manage=manages, manage_interval="1m")
    nets = [(each.pnl.pnl_percentage, each.cost_percentage) for each in run.records.closed]
    return Sample([100 * (all_ if of == "all" and all_ is not None else first) for first, all_ in nets])


def earned(rules: dict[str, Any], count: int, minutes: int = 300, *, of: str = "first") -> dict[str, Sample]:
    return {name: over_gaps_and_clusters(partial(played, *rule, of=of), count, minutes) for name, rule in rules.items()}


def entering(entry: str, distance: int) -> Callable[[float, int], bknb.Signal]:
    """An entry so many ticks from the last close: a limit behind it, a stop entry before it."""

    def ask(close: float, sign: int) -> bknb.Signal:
        level = close + sign * distance * (1 if entry == "stop" else -1)
        return bknb.Signal(
            position="long" if sign > 0 else "short",
            price_open=level,
            entry=entry,  # type: ignore[arg-type]  # one of the two
            minute_estimated_time=1,
            valid=6,
        )

    return ask


def following(entry: str, distance: int) -> Callable[[Any, float, float], Any]:
    """It is moved to so many ticks from each close."""

    def manage(position: Any, close: float, _open: float) -> Any:
        if position.size:
            return None
        return bknb.Move(price_open=close + position.sign * distance * (1 if entry == "stop" else -1))

    return manage


MOVED = {
    "a limit that follows": (entering("limit", 12), following("limit", 5)),
    "a limit moved to the market": (entering("limit", 12), following("limit", -3)),
    "a stop entry that follows": (entering("stop", 14), following("stop", 6)),
}


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, pytest.param(12, marks=pytest.mark.long)])
def test_no_order_that_is_moved_earns(count: int) -> None:
    found = earned(MOVED, count)
    assert all(len(sample) > 100 * count for sample in found.values()), found
    assert max(sample.t for sample in found.values()) < SEEN, found


@pytest.mark.slow
def test_a_moved_order_that_fills_at_the_best_price_of_its_candle_would_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken: an order that is moved to the market fills where the market was best, as if it had been there."""
    entry = ExecutionModel.entry

    def broken(self: ExecutionModel, signal: Any, minute: Any, *, first: bool) -> Any:
        made = entry(self, signal, minute, first=first)
        if not isinstance(made, Entry) or "~" not in signal.id:
            return made
        return made._replace(price=minute.low if signal.position == "long" else minute.high)

    monkeypatch.setattr(ExecutionModel, "entry", broken)
    found = earned({"a limit moved to the market": MOVED["a limit moved to the market"]}, 3)
    assert min(sample.t for sample in found.values()) > SEEN, found


# --- how long they wait -----------------------------------------------------------------------------------------------


def waiting(entry: str, distance: int, valid: Any) -> Callable[[float, int], bknb.Signal]:
    """An entry so many ticks from the last close that waits for so long."""
    ask = entering(entry, distance)
    return lambda close, sign: msgspec.structs.replace(ask(close, sign), valid=valid)


def patient(position: Any, close: float, _open: float) -> Any:
    """What waits is taken back once the market is far from it."""
    if position.size:
        return None
    return bknb.Cancel() if abs(close - position.waiting[0].price_open) > 25 else None


def adding_for(valid: Any) -> Callable[[Any, float, float], Any]:
    """An add by a limit near each close, for so long."""

    def manage(position: Any, close: float, _open: float) -> Any:
        if position.waiting or position.entries > 3:
            return None
        return bknb.Add(1, price_open=close - position.sign * 5, valid=valid)

    return manage


def market(stop: int, target: int | None = None) -> Callable[[float, int], bknb.Signal]:
    """An order at the market with its levels so many ticks away."""

    def ask(close: float, sign: int) -> bknb.Signal:
        return bknb.Signal(
            position="long" if sign > 0 else "short",
            price_stop_loss=close - sign * stop,
            price_take_profit=None if target is None else close + sign * target,
            minute_estimated_time=5,
        )

    return ask


VALID = {
    "a limit for a minute": (waiting("limit", 4, 1), patient),
    "a limit until the next question": (waiting("limit", 8, "slot"), patient),
    "a stop entry for two minutes": (waiting("stop", 6, 2), patient),
    "a limit until it is cancelled": (waiting("limit", 12, None), patient),
    "a stop entry until it is cancelled": (waiting("stop", 12, None), patient),
    "a limit add for two minutes": (market(45), adding_for(2)),
}


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, pytest.param(12, marks=pytest.mark.long)])
def test_no_order_earns_however_long_it_waits(count: int) -> None:
    found = earned(VALID, count)
    assert all(len(sample) > 60 * count for sample in found.values()), found
    assert max(sample.t for sample in found.values()) < SEEN, found


@pytest.mark.slow
def test_a_time_that_is_over_when_the_last_candle_of_an_order_is_known_would_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken: an order does not fill in a candle that ends against it, as if its time were over then."""
    entry = ExecutionModel.entry

    def broken(self: ExecutionModel, signal: Any, minute: Any, *, first: bool) -> Any:
        made = entry(self, signal, minute, first=first)
        if not isinstance(made, Entry):
            return made
        against = minute.close < made.price if signal.position == "long" else minute.close > made.price
        return None if against else made

    monkeypatch.setattr(ExecutionModel, "entry", broken)
    found = earned({"a limit for a minute": VALID["a limit for a minute"]}, 3)
    assert min(sample.t for sample in found.values()) > SEEN, found


# --- adds by stop orders ----------------------------------------------------------------------------------------------


def adding(away: int, stop: int | None, *, entry: str = "stop") -> Callable[[Any, float, float], Any]:
    """One add at a time, so many ticks ahead of each close (a limit: behind it), with a stop of its own or without."""

    def manage(position: Any, close: float, _open: float) -> Any:
        if position.waiting:
            return bknb.Cancel()
        if position.entries > 3:
            return None
        level = close + position.sign * away * (1 if entry == "stop" else -1)
        own = None if stop is None else level - position.sign * stop
        return bknb.Add(1, price_open=level, entry=entry, price_stop_loss=own)  # type: ignore[arg-type]  # one of two

    return manage


STOP_ADDS = {
    "a stop add near": (market(45), adding(5, None)),
    "a stop add with a stop near": (market(60), adding(8, 10)),
    "a stop add with a stop far": (market(60), adding(20, 40)),
    "a stop add and a target": (market(60, 30), adding(9, 25)),
    "a limit add with a stop near": (market(60), adding(8, 6, entry="limit")),
}


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, pytest.param(12, marks=pytest.mark.long)])
def test_no_stop_add_earns(count: int) -> None:
    found = earned(STOP_ADDS, count)
    assert all(len(sample) > 100 * count for sample in found.values()), found
    assert max(sample.t for sample in found.values()) < SEEN, found


@pytest.mark.slow
def test_a_stop_add_that_never_meets_the_stop_of_its_candle_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a candle reaches the stop, too, an add makes its loss; left out there it would make more than by prints."""
    doubts: list[tuple[int, int, float, float]] = []
    stopped = _ManagedMinute._stopped

    def noted(self: Any, stop: Any, adds: Any, stops: Any, **more: Any) -> Any:
        made = stopped(self, stop, adds, stops, **more)
        fills = {fill.number for fill in self.run.book.fills}
        doubts.extend((self.minute.t, self.sign, add.price_open, stop.price) for add, _ in stops if add.number in fills)
        return made

    monkeypatch.setattr(_ManagedMinute, "_stopped", noted)
    contract, left_out = [], []
    for market_ in paths("plain", 12, 300):
        doubts.clear()
        rows = {int(t): row for row, t in enumerate(market_.times)}
        played(market(24), adding(5, None), market_)
        for t, sign, level, stop in doubts:
            prints = sign * market_.prints[rows[t]]
            first = np.argmax(prints >= sign * level) < np.argmax(prints <= sign * stop)
            loss = sign * (stop - level)
            contract.append(loss - (loss if first else 0.0))
            left_out.append(0.0 - (loss if first else 0.0))
    assert len(contract) > 50
    assert Sample(contract).mean <= 0
    assert Sample(left_out).t > SEEN


# --- entry ladders ----------------------------------------------------------------------------------------------------


def in_parts(away: list[int | None], *, entry: str = "limit", **levels: int | None) -> Callable[[float, int], Any]:
    """An entry in equal parts, each so many ticks from the last close, ``None`` at the market."""

    def ask(close: float, sign: int) -> bknb.Signal:
        ahead = sign * (1 if entry == "stop" else -1)
        stop, target = levels.get("stop"), levels.get("target")
        return bknb.Signal(
            position="long" if sign > 0 else "short",
            price_open=[(None if each is None else close + ahead * each, 0.9 / len(away)) for each in away],
            entry=entry,  # type: ignore[arg-type]  # one of the two
            price_stop_loss=None if stop is None else close - sign * stop,
            target_percent=None if target is None else target / close * 100,
            minute_estimated_time=4,
            valid=8,
        )

    return ask


def leave(_position: Any, _close: float, _open: float) -> None:
    """Nothing is managed."""


AVERAGED = (in_parts([None, 20, 40, 60, 80], target=40), leave)
LADDERS = {
    "limits in parts": (in_parts([4, 12, 24]), leave),
    "limits in parts with a stop": (in_parts([4, 12, 24], stop=34), leave),
    "the market and limits, out at the average": (in_parts([None, 10, 25, 45], target=14), leave),
    "the market and limits far below": AVERAGED,
    "stop orders in parts": (in_parts([5, 12, 20], entry="stop"), leave),
    "stop orders in parts with a stop": (in_parts([5, 12, 20], entry="stop", stop=12), leave),
}


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, pytest.param(12, marks=pytest.mark.long)])
def test_no_entry_ladder_earns(count: int) -> None:
    found = earned(LADDERS, count)
    assert all(len(sample) > 60 * count for sample in found.values()), found
    assert max(sample.t for sample in found.values()) < SEEN, found


@pytest.mark.slow
def test_percent_of_all_parts_that_filled_would_be_seen() -> None:
    """Broken: what filled on the way, which is more the worse it went, is what percent are of."""
    assert earned({"averaged": AVERAGED}, 2, of="all")["averaged"].t > SEEN
    assert earned({"averaged": AVERAGED}, 2)["averaged"].t < SEEN
