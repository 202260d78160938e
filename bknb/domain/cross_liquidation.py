"""When positions with margin are liquidated, and at which prices.

Isolated: each position at its own price (``Ledger.liquidation_price``); the nearer of that and its stop comes first
(:func:`bknb.domain.trailing_and_breakeven_stops.stop_or_liquidation`), and a bar that opens beyond it liquidates at
that open. Cross: all positions together, judged at the close of a bar and, inside it, with every leg on its way to its
worst price. Forgiven losses are not under the martingale law: an account that cannot lose more than its margin earns by
gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from .funding_charged_and_fills_booked import Ledger
from .liquidation_price import away_from_market
from .signal import Position, sign_of

Closed = Callable[[Ledger, str, float], Ledger]
"""A ledger after a leg was closed at a price."""


class CrossLiquidation(NamedTuple):
    """A liquidation of all positions with cross margin.

    ``way`` is the part of the way from the first prices to the worst ones, 0 to 1, at which the margin is used up, and
    ``prices`` are those of each leg there: where ``way`` is 0, the first ones.
    """

    way: float
    prices: Mapping[str, float]


def cross_legs(ledger: Ledger) -> tuple[str, ...]:
    """The legs whose positions share the account's margin."""
    found = ((leg, ledger.account_of(leg)) for leg in ledger.positions)
    return tuple(leg for leg, account in found if account.borrows and account.mode == "cross")


def cross_liquidation(
    ledger: Ledger,
    start: Mapping[str, float],
    worst: Mapping[str, float],
    *,
    since: float = 0.0,
    ticks: Mapping[str, float] | None = None,
) -> CrossLiquidation | None:
    """Where positions with cross margin are liquidated inside a bar; ``None``: nowhere.

    It is assumed that all prices go from the open of the bar to their worst in proportion. With one leg that is the
    liquidation price of its position.

    Parameters
    ----------
    ledger
        At the start of the bar.
    start, worst
        For each leg with a position, the open, and the low for a long or the high for a short; quote currency. At a
        close both are the close.
    since
        The part of the way that is behind: that of the last stop of the bar that was met.
    ticks
        The smallest step of prices of each leg of which it is known: its price is put on this grid, away from the
        market, but not beyond the worst one.

    Examples
    --------
    >>> from .spot_margin_and_perpetual import Perpetual
    >>> from .costs import CostRequest, Costs, fill_costs
    >>> from .funding_charged_and_fills_booked import LegFill
    >>> order = CostRequest(symbol="A", at=0, side="buy", kind="entry", filled_by="market", quantity=50.0, price=100.0)
    >>> fill = LegFill("A", "long", order, fill_costs(order, Costs(taker=0.0, slippage=0.0)))
    >>> ledger = Ledger.begin(1000.0, Perpetual(leverage=5, maintenance=0.5)).apply(fill).ledger
    >>> cross_liquidation(ledger, {"A": 95.0}, {"A": 81.0}) is None
    True
    >>> found = cross_liquidation(ledger, {"A": 95.0}, {"A": 75.0})
    >>> round(found.prices["A"], 6)
    80.40201
    >>> cross_liquidation(ledger, {"A": 79.0}, {"A": 75.0}).prices
    {'A': 79.0}
    """
    legs = cross_legs(ledger)
    if not legs:
        return None
    pool, _, maintenance = ledger.cross_margin(start)
    before = pool - maintenance
    pool, _, maintenance = ledger.cross_margin(worst)
    after = pool - maintenance
    if before > 0.0 and after > 0.0:
        return None
    way = max(0.0 if before <= 0.0 else before / (before - after), since)
    prices = {leg: start[leg] + way * (worst[leg] - start[leg]) for leg in legs}
    for leg, tick in (ticks or {}).items():
        if leg in prices and way:
            side = ledger.positions[leg].side
            nearer = max if side == "long" else min
            prices[leg] = nearer(away_from_market(side, prices[leg], tick), worst[leg])
    return CrossLiquidation(way, prices)


class StopOnTheWay(NamedTuple):
    """The stop that is met next: its leg, and the part of the way from the first price to the worst."""

    leg: str
    way: float


def next_stop(
    stops: Mapping[str, float], ledger: Ledger, start: Mapping[str, float], worst: Mapping[str, float]
) -> StopOnTheWay | None:
    """The stop of a position that is met first, where all prices go to their worst in proportion; ``None``: none is.

    One whose ``way`` is not above that of a liquidation comes before it: the position closes at the stop, and margin is
    judged again without it, from that part of the way on (``since`` of :func:`cross_liquidation`).

    Parameters
    ----------
    stops
        Of each leg that has one, quote currency.
    ledger, start, worst
        As of :func:`cross_liquidation`.

    Examples
    --------
    >>> from .leg_position import LegPosition
    >>> from .spot_margin_and_perpetual import Margin
    >>> held = {leg: LegPosition(1.0, 100.0, 100.0, 0.0, 0, 0) for leg in "AB"}
    >>> ledger = Ledger(capital=1000.0, account=Margin(), cash=800.0, positions=held)
    >>> next_stop({"A": 95.0, "B": 99.0}, ledger, {"A": 100.0, "B": 100.0}, {"A": 90.0, "B": 95.0})
    StopOnTheWay(leg='B', way=0.2)
    """
    found: StopOnTheWay | None = None
    for leg, stop in stops.items():
        held = ledger.positions.get(leg)
        way = None if held is None else way_to(held.side, stop, start[leg], worst[leg])
        if way is not None and (found is None or way < found.way):
            found = StopOnTheWay(leg, way)
    return found


def liquidation_in_bar(
    ledger: Ledger,
    start: Mapping[str, float],
    worst: Mapping[str, float],
    stops: Mapping[str, float],
    *,
    ticks: Mapping[str, float],
    closed: Closed,
) -> CrossLiquidation | None:
    """Where positions with cross margin are liquidated in a bar, once nearer stops are met; ``None``: nowhere.

    Parameters
    ----------
    ledger, start, worst, ticks
        As of :func:`cross_liquidation`.
    stops
        Of each leg that has one, quote currency.
    closed
        Returns a ledger after a leg was closed at a price: at its stop, or at the open of a bar beyond it.
    """
    since = 0.0
    while (found := cross_liquidation(ledger, start, worst, since=since, ticks=ticks)) is not None:
        stop = next_stop(stops, ledger, start, worst)
        if stop is None or stop.way > found.way:
            return found
        since = max(since, stop.way)
        ledger = closed(ledger, stop.leg, stops[stop.leg] if stop.way > 0.0 else start[stop.leg])
    return None


def way_to(position: Position, level: float, start: float, worst: float) -> float | None:
    """The part of the way to the worst price of a bar at which a stop is met; ``None``: it is not met.

    Examples
    --------
    >>> way_to("long", 95.0, 100.0, 90.0), way_to("long", 101.0, 100.0, 90.0), way_to("short", 111.0, 100.0, 110.0)
    (0.5, 0.0, None)
    """
    sign = sign_of(position)
    if sign * (start - level) <= 0.0:
        return 0.0
    return None if sign * (worst - level) > 0.0 else (start - level) / (start - worst)
