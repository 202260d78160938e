"""What a liquidation earns on martingales, counted over all paths: nothing, but for the losses that are forgiven."""

from __future__ import annotations

from itertools import accumulate, product

import pytest
from liquidations import liquidated
from msgspec.structs import replace

from bknb.domain.costs import CostRequest, Costs, fill_costs
from bknb.domain.cross_liquidation import cross_liquidation, next_stop, way_to
from bknb.domain.funding_charged_and_fills_booked import Ledger, LegFill
from bknb.domain.spot_margin_and_perpetual import Margin, Perpetual

FREE = Costs(taker=0.0, slippage=0.0)
CAPITAL = 400.0
KINDS = [kind(25.0, 0.5, mode) for kind in (Margin, Perpetual) for mode in ("cross", "isolated")]


def fill(kind: str, position: str, price: float, quantity: float = 100.0) -> LegFill:
    side = "buy" if (position == "long") == (kind == "entry") else "sell"
    order = CostRequest(symbol="A", at=0, side=side, kind=kind, filled_by="market", quantity=quantity, price=price)  # type: ignore[arg-type]
    return LegFill("A", position, order, fill_costs(order, FREE))  # type: ignore[arg-type]


def after_bar(ledger: Ledger, prices: list[float], tick: float | None) -> Ledger:
    """The ledger after a bar of these prices, the first its open."""
    held = ledger.positions["A"]
    start, worst = prices[0], min(prices) if held.side == "long" else max(prices)
    level = ledger.liquidation_price("A", tick)
    if level is not None:
        sign = 1 if held.side == "long" else -1
        if sign * (worst - level) > 0.0:
            return ledger
        met = start if sign * (start - level) <= 0.0 else level
    else:
        ticks = None if tick is None else {"A": tick}
        found = cross_liquidation(ledger, {"A": start}, {"A": worst}, ticks=ticks)
        if found is None:
            return ledger
        met = found.prices["A"]
    symbols = {"A": "A"}
    return liquidated(
        ledger, ["A"], {"A": met}, at=1, symbols=symbols, costs_of=lambda _, each: fill_costs(each, FREE)
    ).ledger


def ended(account: Margin | Perpetual, position: str, bars: list[list[float]], tick: float | None) -> Ledger:
    ledger = Ledger.begin(CAPITAL, account).apply(fill("entry", position, 100.0)).ledger
    for bar in bars:
        ledger = after_bar(ledger, bar, tick)
        if not ledger.positions:
            return ledger
    return ledger.apply(fill("exit", position, bars[-1][-1])).ledger


@pytest.mark.parametrize("account", KINDS, ids=repr)
@pytest.mark.parametrize("position", ["long", "short"])
def test_inside_a_bar_a_liquidation_on_the_tick_grid_earns_nothing(account: Margin, position: str) -> None:
    paths = [[100.0 + step for step in accumulate(steps, initial=0)] for steps in product((-1, 1), repeat=9)]
    ends = [ended(account, position, [path], 1.0) for path in paths]
    assert sum(ledger.cash - CAPITAL for ledger in ends) == pytest.approx(0.0, abs=1e-6)
    assert sum(ledger.forgiven for ledger in ends) == 0.0
    assert len({round(ledger.cash) for ledger in ends}) > 3
    off_grid = [ended(account, position, [path], None) for path in paths]
    assert sum(ledger.cash - CAPITAL for ledger in off_grid) > 0.0  # as any level between two ticks


def test_margin_is_used_up_at_its_price_and_not_only_beyond_it() -> None:
    ledger = Ledger.begin(2000.0, Perpetual(leverage=5, maintenance=0.0)).apply(fill("entry", "long", 100.0)).ledger
    for start, worst, way in ((100.0, 80.0, 1.0), (80.0, 80.0, 0.0), (80.0, 70.0, 0.0), (100.0, 60.0, 0.5)):
        found = cross_liquidation(ledger, {"A": start}, {"A": worst}, ticks={"A": 1.0, "B": 1.0})
        assert found is not None
        assert (found.way, found.prices) == (way, {"A": 80.0})
    assert cross_liquidation(ledger, {"A": 100.0}, {"A": 81.0}) is None
    later = cross_liquidation(ledger, {"A": 100.0}, {"A": 60.0}, since=0.75)
    assert later is not None
    assert later.prices == {"A": 70.0}


@pytest.mark.parametrize(
    ("position", "level", "start", "worst", "way"),
    [
        ("long", 95.0, 100.0, 95.0, 1.0),
        ("long", 95.0, 100.0, 95.5, None),
        ("long", 100.0, 100.0, 100.0, 0.0),
        ("long", 95.0, 94.0, 94.0, 0.0),
        ("short", 105.0, 100.0, 110.0, 0.5),
        ("short", 105.0, 100.0, 104.0, None),
        ("short", 105.0, 106.0, 106.0, 0.0),
    ],
)
def test_where_on_the_way_a_stop_is_met(
    position: str, level: float, start: float, worst: float, way: float | None
) -> None:
    assert way_to(position, level, start, worst) == way  # type: ignore[arg-type]


def test_of_stops_met_at_once_the_first_that_was_declared_comes_first() -> None:
    ledger = Ledger.begin(CAPITAL, Margin()).apply(fill("entry", "long", 1.0)).ledger
    ledger = replace(ledger, positions=dict.fromkeys("BAC", ledger.positions["A"]))
    start, worst = dict.fromkeys("ABC", 100.0), dict.fromkeys("ABC", 90.0)
    assert next_stop({"A": 96.0, "B": 95.0, "C": 96.0, "D": 99.0}, ledger, start, worst) == ("A", 0.4)
    assert next_stop({"A": 80.0}, ledger, start, worst) is None


@pytest.mark.parametrize("account", KINDS, ids=repr)
@pytest.mark.parametrize("position", ["long", "short"])
def test_over_gaps_what_is_earned_is_what_was_forgiven(account: Margin, position: str) -> None:
    opens = [[100.0 + 3 * step for step in accumulate(steps)] for steps in product((-1, 1), repeat=8)]
    ends = [ended(account, position, [[price] for price in path], 1.0) for path in opens]
    earned, forgiven = sum(ledger.cash - CAPITAL for ledger in ends), sum(ledger.forgiven for ledger in ends)
    assert forgiven > 0.0
    assert earned == pytest.approx(forgiven, rel=1e-9)
