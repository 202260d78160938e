"""Liquidations of a ledger, for tests that drive one without a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from bknb.domain.costs import CostRequest, FillCosts
from bknb.domain.cross_liquidation import cross_legs
from bknb.domain.funding_charged_and_fills_booked import Booked, CashRow, Ledger, LegFill
from bknb.domain.signal import Position

CostsOf = Callable[[str, CostRequest], FillCosts]
"""What an order of a leg costs."""


def stop_comes_first(position: Position, stop: float | None, liquidation: float | None) -> bool:
    """Whether the market meets the stop of a position before its liquidation price; at the same price, the stop.

    Both lie on the same side of the market: below it for a long, above it for a short. ``None``: there is none.

    Examples
    --------
    >>> stop_comes_first("long", 95.0, 90.5), stop_comes_first("short", 112.0, 109.5)
    (True, False)
    """
    if stop is None or liquidation is None:
        return stop is not None
    return stop >= liquidation if position == "long" else stop <= liquidation


def liquidated(
    ledger: Ledger,
    legs: Iterable[str],
    prices: Mapping[str, float],
    *,
    at: int,
    symbols: Mapping[str, str],
    costs_of: CostsOf,
) -> Booked:
    """The ledger after positions were liquidated at these prices; a loss beyond the margin is forgiven.

    Of an isolated position no more than its margin is lost, costs of the liquidation included. Positions with cross
    margin lose no more than the money behind them. What is left of a margin is kept.

    Parameters
    ----------
    ledger, legs, prices
        ``legs`` are all with cross margin, or isolated ones.
    at
        Open time of the bar, UTC ms.
    symbols
        Of each leg.
    costs_of
        What an order costs; it is filled at the market.
    """
    rows: list[CashRow] = []
    cross = cross_legs(ledger)
    last = ""
    for leg in legs:
        held = ledger.positions[leg]
        order = CostRequest(
            symbol=symbols[leg],
            at=at,
            side="sell" if held.side == "long" else "buy",
            kind="exit",
            filled_by="market",
            quantity=abs(held.quantity),
            price=prices[leg],
            reason="liquidation",
        )
        costs = costs_of(leg, order)
        booked = ledger.apply(LegFill(leg, held.side, order, costs))
        ledger, rows = booked.ledger, [*rows, *booked.rows]
        if leg in cross:
            last = leg
            continue
        profit = held.quantity * costs.price - held.cost - costs.fee
        ledger, more = ledger.forgive(at, leg, -profit - held.margin)
        rows += more
    if last:
        pool, _, _ = ledger.cross_margin({})
        ledger, more = ledger.forgive(at, last, -pool)
        rows += more
    return Booked(ledger, tuple(rows))
