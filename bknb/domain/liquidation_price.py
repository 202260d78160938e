"""The price at which a position is liquidated."""

from __future__ import annotations

from .signal import Position
from .spot_margin_and_perpetual import Account
from .tick_grid import round_down, round_up


def liquidation_price(
    account: Account, position: Position, *, quantity: float, cost: float, margin: float, tick: float | None = None
) -> float | None:
    """The price at which an isolated position has only its maintenance margin left; ``None``: at no price above 0.

    A long with margin M, quantity q, average price a and maintenance m (a share) is liquidated where
    ``M + q * (p - a) = m * q * p``, at ``p = (a - M / q) / (1 - m)``; a short at ``p = (a + M / q) / (1 + m)``.
    The formula of Binance (How to Calculate Liquidation Price of USDⓈ-M Futures Contracts) for one position, without
    tiers: ``(WB + cumB - side * q * a) / (q * m - side * q)`` with the wallet balance WB = M and cumB = 0. The wallet
    of an isolated position pays and receives its funding: each payment f moves the price of a long by
    ``f / (q * (1 - m))``, and that of a short by ``f / (q * (1 + m))``, towards the market.

    Parameters
    ----------
    position
        ``"long"`` or ``"short"``.
    quantity
        Base currency, above 0.
    cost
        What was paid for it, or received for a short, with slippage: quantity times average price.
    margin
        What was set aside for it, less the funding that it paid.
    tick
        The smallest step of prices, where it is known: the price is put on this grid, away from the market, as nothing
        trades between two ticks.

    Examples
    --------
    >>> from .spot_margin_and_perpetual import Margin, Perpetual
    >>> ten = Perpetual(leverage=10, maintenance=0.5, mode="isolated")
    >>> round(liquidation_price(ten, "long", quantity=2.0, cost=200.0, margin=20.0), 6)
    90.452261
    >>> round(liquidation_price(ten, "short", quantity=2.0, cost=200.0, margin=20.0), 6)
    109.452736
    >>> liquidation_price(Margin(mode="isolated"), "long", quantity=2.0, cost=200.0, margin=200.0) is None
    True
    """
    if not account.borrows:
        return None
    share = account.maintenance / 100
    if position == "long":
        price = (cost - margin) / (quantity * (1 - share))
    else:
        price = (cost + margin) / (quantity * (1 + share))
    if tick is not None:
        price = away_from_market(position, price, tick)
    return price if price > 0.0 else None


def away_from_market(position: Position, price: float, tick: float) -> float:
    """A price at which a position is liquidated, on the tick grid: below it for a long, above it for a short.

    Examples
    --------
    >>> away_from_market("long", 96.48, 0.5), away_from_market("short", 103.48, 0.5)
    (96.0, 103.5)
    """
    return round_down(price, tick) if position == "long" else round_up(price, tick)
