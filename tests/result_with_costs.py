"""The result of a position whose fills each have their own costs: what the product works out in money, in percent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from bknb.domain.costs import FillCosts
from bknb.domain.pnl import slipped_exit
from bknb.domain.position_fills import Fill
from bknb.domain.signal import Position, sign_of
from bknb.domain.signal_events import Pnl


def result_with_costs(
    position: Position, fills: Sequence[Fill], costs: Sequence[FillCosts], *, quantity: float = 1.0
) -> Pnl:
    """The result of a closed position in percent of the cost of its first fill, each fill with its own costs.

    Where all cost the same percentages it is, to the last bit, that of :func:`bknb.domain.pnl.trade_pnl` and
    :func:`bknb.domain.profit_of_partial_closes.result`.

    Parameters
    ----------
    position
        ``"long"`` or ``"short"``.
    fills
        In order, until nothing is left; the first is the entry.
    costs
        Those of each fill.
    quantity
        Of the first fill, in base currency; fixed fees are spread over it.

    Examples
    --------
    >>> entry, exit_ = (Fill(number=n, kind=k, at=n, share=1.0, price=p) for n, (k, p) in
    ...                 enumerate([("entry", 100.0), ("exit", 110.0)]))
    >>> costs, one = Costs(taker=0.1, maker=0.0, slippage=0.0), {"symbol": "A", "quantity": 1.0}
    >>> bought = CostRequest(at=0, side="buy", kind="entry", filled_by="market", price=100.0, **one)
    >>> sold = CostRequest(at=1, side="sell", kind="exit", filled_by="limit", price=110.0, **one)
    >>> result_with_costs("long", [entry, exit_], [fill_costs(each, costs) for each in (bought, sold)]).pnl_percentage
    9.9
    """
    sign, first = sign_of(position), fills[0].price
    entered, left = _by_rate(fills, costs, enters=True), _by_rate(fills, costs, enters=False)
    entry = first * (1 + sign * costs[0].slippage_percent / 100) + sign * costs[0].half_spread
    paid = {rates: part.paid(sign, rates[1]) for rates, part in entered.items()}
    received = {rates: part.paid(-sign, rates[1]) for rates, part in left.items()}
    slipped = (sum(received.values()) - sum(paid.values())) / entry * 100 * sign
    fees = 0.0
    for rate in dict.fromkeys(fee for fee, *_ in [*paid, *received]):
        fees += rate * (_of(rate, paid) / entry + _of(rate, received) / entry)
    fixed = sum(each.fixed for each in costs)
    if fixed:
        fees += 100 * fixed / (quantity * entry)
    gross = (sum(part.value for part in left.values()) - sum(part.value for part in entered.values())) / first * 100
    gross *= sign
    return Pnl(
        pnl_percentage=slipped - fees,
        gross_percentage=gross,
        fee_percentage=fees,
        slippage_percentage=gross - slipped,
    )


class _Part(NamedTuple):
    """Sums over fills: share times price, and share times half the spread."""

    value: float
    spread: float

    def paid(self, sign: int, slippage: float) -> float:
        return slipped_exit(self.value, -sign, slippage) + sign * self.spread


_Rates: TypeAlias = tuple[float, float, bool, bool]
"""Fee and slippage in percent; whether the price, and what was paid for it, are at or below zero."""


def _by_rate(fills: Iterable[Fill], costs: Iterable[FillCosts], *, enters: bool) -> dict[_Rates, _Part]:
    """The fills that enter, or leave, by what they cost: what costs the same is multiplied once."""
    found: dict[_Rates, _Part] = {}
    for fill, cost in zip(fills, costs, strict=True):
        if fill.enters is enters:
            rates = (cost.fee_percent, cost.slippage_percent, fill.price <= 0.0, cost.price <= 0.0)
            part = found.get(rates, _Part(0.0, 0.0))
            found[rates] = _Part(part.value + fill.share * fill.price, part.spread + fill.share * cost.half_spread)
    return found


def _of(rate: float, money: dict[_Rates, float]) -> float:
    return sum(abs(amount) for (fee, *_), amount in money.items() if fee == rate)
