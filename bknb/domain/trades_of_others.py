"""Trades of an account that no order of bknb has made: what they changed, and who made them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from .broker_account import Fill, in_currency
from .formatting import plain_number
from .quote_currency import of_exchange, quote_of
from .signal_events import ClosedBy

_BY_EXCHANGE: Final[Mapping[str, tuple[ClosedBy, str]]] = {
    "autoclose-": ("liquidation", "liquidated by the exchange"),
    "adl_autoclose": ("adl", "closed by the exchange, which deleveraged others"),
    "settlement_autoclose-": ("settlement", "closed by the exchange, as the contract was settled"),
}
"""What the ids of orders begin with that an exchange makes itself."""


def closed_by_of(client_id: str) -> ClosedBy:
    """Who has closed a position by an order with this id that is none of bknb.

    Examples
    --------
    >>> closed_by_of("adl_autoclose"), closed_by_of("web_1")
    ('adl', 'manual')
    """
    return next((by for prefix, (by, _) in _BY_EXCHANGE.items() if client_id.startswith(prefix)), "manual")


def trades_behind(fills: Sequence[Fill], difference: float, exact: float, base: str = "") -> list[Fill]:
    """The newest trades of others that together make a difference; none where there are none.

    Parameters
    ----------
    fills
        The trades of others, oldest first.
    difference, exact
        How much has come, or below 0 gone, and what rounding may leave of it.
    base
        The currency in which fees make less of what was bought.
    """
    found: list[Fill] = []
    for fill in reversed(fills):
        found.append(fill)
        if abs(difference - math.fsum(filled_by(found, base).values())) <= exact:
            return found
    return []


def how_it_went(trades: Sequence[Fill]) -> str:
    """How a position went that no order of bknb has ended, by the trades that did.

    Examples
    --------
    >>> fill = Fill(client_id="web", symbol="BTCUSDT", side="sell", quantity=0.5, price=90.0, at=0, trade_id="1")
    >>> from msgspec.structs import replace
    >>> how_it_went([fill]), how_it_went([replace(fill, client_id="autoclose-7")])
    ('sold by hand at 90', 'liquidated by the exchange at 90')
    >>> how_it_went([])
    'sold, moved or withdrawn by hand'
    """
    if not trades:
        return "sold, moved or withdrawn by hand"
    first = trades[0]
    by_exchange = (text for prefix, (_, text) in _BY_EXCHANGE.items() if first.client_id.startswith(prefix))
    way = next(by_exchange, "bought by hand" if first.side == "buy" else "sold by hand")
    return f"{way} at {plain_number(average_price(trades) or 0.0)}"


def average_price(trades: Sequence[Fill]) -> float | None:
    """The average price of trades, in quote currency; ``None`` where there are none."""
    quantity = math.fsum(fill.quantity for fill in trades)
    return math.fsum(fill.quantity * fill.price for fill in trades) / quantity if quantity > 0.0 else None


def paid_by(trades: Iterable[Fill]) -> dict[str, float]:
    """What trades have changed of what they were paid in, and of what their fees were paid in."""
    found: dict[str, float] = {}
    for fill in trades:
        value, quote = fill.quantity * fill.price, quote_of(of_exchange(fill.symbol)) or ""
        found[quote] = found.get(quote, 0.0) + (value if fill.side == "sell" else -value)
        for fee in fill.fees:
            found[fee.currency] = found.get(fee.currency, 0.0) - fee.amount
    return found


def filled_by(fills: Iterable[Fill], base: str = "") -> dict[str, float]:
    """What trades have changed of what they trade, by client id; below 0 for sales."""
    found: dict[str, float] = {}
    for fill in fills:
        bought = fill.quantity - in_currency(fill.fees, base)
        found[fill.client_id] = found.get(fill.client_id, 0.0) + (bought if fill.side == "buy" else -fill.quantity)
    return found
