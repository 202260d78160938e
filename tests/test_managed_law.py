"""The law of ``pessimistic`` for positions that are managed: on a martingale of single ticks nothing earns.

Many paths are played by ``managed_simulator.py``, a few by the event engine, which must give the same results. Money is
that of all positions, those cut off by the end of the frame included, over the cost of their first fills.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from law_rules import RULES
from law_runs import SEEN, Sample, paths, total
from managed_simulator import Held, ManagedByBars, ManagedWorld
from page_simulator import MINUTE
from quick import rest_long
from test_managed_simulator import Run, first_difference, results_of
from tick_paths import Path

import bknb

MINUTES = 150
KINDS = ("gaps", "silent", "plain", "clusters", "holes")
FEW_RULES = ("with_last", "near_low", "far_above_avg", "at_once_again")
MORE_RULES = (*FEW_RULES, "against_last", "below_avg", "with_gap", "with_big", "reversion_5", "outbreak")
Answer = Callable[[int, int, float], Any]


@dataclass(frozen=True)
class Plan:
    """What a rule does with a position; distances in ticks.

    ``manage(same, sign, close)`` answers after a candle: ``same`` is 1 where the rule is for the side that is held now,
    -1 where it is against it.
    """

    stop: float | None = 24
    targets: tuple[tuple[float, float], ...] = ()
    minutes: int | None = 25
    entry: str | None = None
    distance: float = 4
    exits: dict[str, Any] = field(default_factory=dict)
    manage: Answer | None = None


def _close(same: int, sign: int, close: float) -> Any:
    return bknb.Close() if same < 0 else None


def _reverse(same: int, sign: int, close: float) -> Any:
    if same >= 0:
        return None
    side = "short" if sign > 0 else "long"
    return [bknb.Close(), bknb.Signal(position=side, price_stop_loss=close + sign * 24, minute_estimated_time=25)]


def _reduce(same: int, sign: int, close: float) -> Any:
    return bknb.Reduce(0.5) if same < 0 else None


def _reduce_with(same: int, sign: int, close: float) -> Any:
    return bknb.Reduce(0.25, of="first") if same > 0 else None


def _add(same: int, sign: int, close: float) -> Any:
    return bknb.Add(1.0) if same > 0 else None


def _add_on_dip(same: int, sign: int, close: float) -> Any:
    return bknb.Add(1.0, only_better=True)


def _add_resting(same: int, sign: int, close: float) -> Any:
    return [bknb.Cancel(), bknb.Add(1.0, price_open=close - sign * 6)]


def _add_near(same: int, sign: int, close: float) -> Any:
    return [bknb.Cancel(), bknb.Add(1.0, price_open=close - sign * 2)]


def _move_stop(same: int, sign: int, close: float) -> Any:
    return bknb.Move(price_stop_loss=close - sign * 9) if same > 0 else None


def _move_target(same: int, sign: int, close: float) -> Any:
    return bknb.Move(price_take_profit=close + sign * (7 if same > 0 else 30))


def _everything(same: int, sign: int, close: float) -> Any:
    if same < 0:
        return [bknb.Reduce(0.5), bknb.Move(trailing=bknb.Trailing(distance=10))]
    return [bknb.Move(price_stop_loss=close - sign * 30, loosen=True), bknb.Add(0.5, price_open=close - sign * 10)]


TRAIL = {"trailing": bknb.Trailing(distance=6)}
PLANS: dict[str, Plan] = {
    "trailing": Plan(stop=None, exits=TRAIL),
    "trailing later": Plan(exits={"trailing": bknb.Trailing(distance=4, after=0.04)}),
    "trailing in percent": Plan(stop=None, exits={"trailing": bknb.Trailing(percent=0.0407)}),
    "breakeven": Plan(targets=((15, 1.0),), exits={"breakeven": bknb.Breakeven(after=0.03, plus="")}),
    "ladder": Plan(stop=8, targets=((4, 0.5), (8, 0.25))),
    "stop entry, ladder, trail, breakeven": Plan(
        entry="stop", targets=((8, 0.5), (20, 0.25)), exits={**TRAIL, "breakeven": bknb.Breakeven(after=0.02, plus="")}
    ),
    "limit, ladder, trail": Plan(entry="limit", targets=((8, 0.5),), exits=TRAIL),
    "close": Plan(manage=_close),
    "reverse": Plan(manage=_reverse),
    "reduce against": Plan(manage=_reduce),
    "reduce with": Plan(manage=_reduce_with),
    "add with": Plan(stop=12, manage=_add),
    "add on dip": Plan(stop=40, targets=((12, 1.0),), manage=_add_on_dip),
    "resting add": Plan(stop=14, targets=((8, 1.0),), manage=_add_resting),
    "resting add near": Plan(stop=None, minutes=3, targets=((3, 1.0),), manage=_add_near),
    "move the stop": Plan(manage=_move_stop),
    "move the target": Plan(manage=_move_target),
    "everything": Plan(targets=((15, 0.5), (40, 0.5)), manage=_everything),
}


class Trader:
    """A rule with a plan on a path, for the simulator and for the engine."""

    def __init__(self, path: Path, rule: str, plan: Plan) -> None:
        self.side = RULES[rule](path)
        self.side[:20] = 0
        self.rows = {int(t) + MINUTE: row for row, t in enumerate(path.times)}
        self.close = path.close.astype(np.float64)
        self.plan = plan

    def ask(self, when: int, price: float) -> dict[str, Any] | None:
        row, plan = self.rows[when], self.plan
        sign, close = int(self.side[row]), float(self.close[row])
        if sign == 0:
            return None
        # levels of a market order lie beyond the last close and the average price, since both are judged
        ahead, behind = (max(close, np.ceil(price)), min(close, np.floor(price)))[::sign]
        signal: dict[str, Any] = {"position": "long" if sign > 0 else "short", **plan.exits}
        if plan.entry:
            ahead = behind = close + sign * plan.distance * (1 if plan.entry == "stop" else -1)
            signal |= {"price_open": ahead, "entry": plan.entry}
        if plan.stop is not None:
            signal["price_stop_loss"] = float(behind - sign * plan.stop)
        if plan.targets:
            signal["price_take_profit"] = [(float(ahead + sign * far), share) for far, share in plan.targets]
        if plan.minutes is not None:
            signal["minute_estimated_time"] = plan.minutes
        return signal

    def manage(self, when: int, price: float, sign: int, *, waits: bool) -> Any:
        row = self.rows[when]
        if self.plan.manage is None or waits or row < 20:
            return None
        return self.plan.manage(int(self.side[row]) * sign, sign, float(self.close[row]))


def world(path: Path, rule: str, plan: Plan) -> ManagedWorld:
    trader = Trader(path, rule, plan)
    columns = (path.times, path.open, path.high, path.low, path.close, path.volume)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    settings = {"percent_fee": 0.0, "percent_slippage": 0.0, "max_adds": 10}
    start, end = path.frame
    return ManagedWorld(
        rows, "pessimistic", trader.ask, start, end, settings=settings, tick=1.0, manage=trader.manage
    )  # fmt: skip


def played(
    markets: Iterable[Path], rules: Iterable[str], plans: Iterable[str], by: type[ManagedByBars] = ManagedByBars
) -> Iterator[tuple[str, str, int, Any]]:
    """All results of the simulator, with plan, rule and side."""
    rules, plans = list(rules), list(plans)
    for market in markets:
        for rule in rules:
            for name in plans:
                run = by(world(market, rule, PLANS[name]))
                run.run()
                for result in run.results:
                    yield name, rule, run.signs[result.signal], result


def money(results: Iterable[tuple[str, str, int, Any]], of: str = "net") -> dict[tuple[str, str, int], Sample]:
    """Basis points by plan, rule and side."""
    found: dict[tuple[str, str, int], list[float]] = {}
    for name, rule, side, result in results:
        found.setdefault((name, rule, side), []).append(100 * getattr(result, of))
    return {key: Sample(values) for key, values in found.items()}


def limit(comparisons: int) -> float:
    """The t that one of so many comparisons passes with a chance of 6 %, where none earns: 4 for two thousand."""
    return NormalDist().inv_cdf(1 - 0.06 / comparisons)


SLOW_COMPARISONS = 2 * len(PLANS) * (len(KINDS) * len(FEW_RULES) + len(MORE_RULES) - len(FEW_RULES))  # 936: 3.8
LONG_COMPARISONS = 2 * len(PLANS) * len(KINDS) * len(MORE_RULES)  # 1800: 4.0


def winners(by: dict[tuple[str, str, int], Sample], comparisons: int) -> list[str]:
    """What earns, where each rule with each plan and side is one of so many comparisons."""
    return [f"{key}: {sample!r}" for key, sample in by.items() if sample.t > limit(comparisons)]


def earns(by: dict[tuple[str, str, int], Sample]) -> float:
    return max(sample.t for sample in by.values())


# --- the law ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", rest_long(["gaps", "silent", "holes", "plain", "clusters"], kept=2))
def test_no_managed_rule_earns(kind: str) -> None:
    by = money(played(paths(kind, 3, MINUTES), FEW_RULES, PLANS))
    assert {name for name, _, _ in by} == set(PLANS)
    assert sum(map(len, by.values())) > 4000
    assert winners(by, SLOW_COMPARISONS) == []


@pytest.mark.slow
def test_no_managed_rule_of_some_others_earns() -> None:
    others = [rule for rule in MORE_RULES if rule not in FEW_RULES]
    by = money(played(paths("gaps", 2, MINUTES), others, PLANS))
    assert {rule for _, rule, _ in by} == set(others)
    assert sum(map(len, by.values())) > 4000
    assert winners(by, SLOW_COMPARISONS) == []


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_no_managed_rule_of_many_earns(kind: str) -> None:
    by = money(played(paths(kind, 16, MINUTES), MORE_RULES, PLANS))
    assert winners(by, LONG_COMPARISONS) == []


NAMES = [name for name in PLANS if name != "everything"]
MARKETS = (("plain", "with_last"), ("gaps", "near_low"), ("silent", "at_once_again"))


def the_engine_earns_it(kind: str, rule: str, name: str) -> None:
    market = paths(kind, 1, MINUTES)[0]
    where = world(market, rule, PLANS[name])
    page = ManagedByBars(where)
    page.run()
    came = results_of(Run(where, gaps=False, whole=False))
    assert page.results
    assert first_difference(page.results, came) is None


@pytest.mark.slow
def test_the_engine_earns_what_the_simulator_does() -> None:
    for name, (kind, rule) in zip(NAMES, cycle(MARKETS), strict=False):
        the_engine_earns_it(kind, rule, name)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_the_engine_earns_what_the_simulator_does_on_every_market(name: str) -> None:
    for kind, rule in MARKETS:
        the_engine_earns_it(kind, rule, name)


# --- power: what would break the law is seen ------------------------------------------------------------------------


class Doubts(ManagedByBars):
    """Remembers bars in which a resting add and the last target both lie."""

    def __init__(self, world: ManagedWorld) -> None:
        super().__init__(world)
        self.doubts: list[tuple[int, int, float, float]] = []

    def levels(self, held: Held, t: int, open_: float, low: float, high: float) -> None:
        for order in held.waiting:
            level = order.level if order.rests and order.level is not None else -np.inf
            if held.targets and low < level < open_ < held.targets[0][0] < high and held.since != t:
                self.doubts.append((t, held.order.sign, level, held.targets[0][0]))
        super().levels(held, t, open_, low, high)


class TrailAtOnce(ManagedByBars):
    """Broken: the best price of a bar moves the stop of that very bar."""

    def levels(self, held: Held, t: int, open_: float, low: float, high: float) -> None:
        if open_ > held.stop:
            held.best = max(held.best, high)
            self.follow(held, t, tell=False)
            if low <= held.stop:
                self.sold(held, t, held.size, held.stop, held.stop_reason)
                return
        super().levels(held, t, open_, low, high)


@pytest.mark.slow
def test_an_add_that_fills_beside_the_last_target_is_seen() -> None:
    """What an add earns in such a bar is nothing by the contract; filled too it would be more than the prints give."""
    contract, both = [], []
    for market in paths("plain", 20, MINUTES):
        rows = {int(t): row for row, t in enumerate(market.times)}
        run = Doubts(world(market, "at_once_again", PLANS["resting add near"]))
        run.run()
        for t, sign, level, target in run.doubts:
            prints = sign * market.prints[rows[t]]
            add, take = np.argmax(prints < level), np.argmax(prints > target)
            truth = target - level if add < take else 0.0
            contract.append(0.0 - truth)
            both.append(target - level - truth)
    assert len(both) > 100
    assert Sample(contract).mean <= 0
    assert Sample(both).t > SEEN


def test_a_trail_that_follows_the_bar_it_is_in_is_seen() -> None:
    markets = paths("plain", 4, MINUTES)
    assert earns(money(played(markets, FEW_RULES, ["trailing"], TrailAtOnce))) > SEEN


@pytest.mark.slow
def test_percent_of_all_entries_would_pay_for_averaging_down() -> None:
    results = list(played(paths("plain", 48, MINUTES), ["at_once_again"], ["add on dip"]))
    of_first, of_all = (total(money(results, of).values()) for of in ("net", "cost_percentage"))
    assert of_all.t > SEEN
    assert of_first.t < SEEN


@pytest.mark.slow
def test_shares_in_are_shares_out() -> None:
    for _, _, _, result in played(paths("gaps", 1, MINUTES), FEW_RULES, PLANS):
        into = sum(fill.share for fill in result.fills if fill.kind in ("entry", "add"))
        out = sum(fill.share for fill in result.fills if fill.kind in ("reduce", "exit"))
        assert into == pytest.approx(out, abs=1e-9)
        assert result.gross - result.fees - result.slippage == pytest.approx(result.net, abs=1e-9)
