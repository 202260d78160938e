"""Profit and loss of a trade in percent, with its gross move, slippage and fees."""

from __future__ import annotations

from collections.abc import Iterable
from math import nan

from .signal import Position, sign_of
from .signal_events import Pnl


def net_percentage(position: Position, price_open: float, price_close: float, slippage: float, fee: float) -> float:
    """Net result in percent of the slipped entry value.

    With s and f per side in percent, long: entry' = open·(1 + s), exit' = close·(1 - s), mirrored for a short;
    net = 100·(exit' - entry')/entry' - f·(1 + exit'/entry'). An exit at or below zero costs as much of its size: see
    :func:`slipped_exit`. Of an entry at or below zero there is none: NaN.

    Examples
    --------
    >>> round(net_percentage("long", 100.0, 110.0, 0.1, 0.1), 10)
    9.5704395604
    """
    if price_open <= 0:
        return nan
    if position == "long":
        entry = price_open * (1 + slippage / 100)
        exit_ = slipped_exit(price_close, 1, slippage)
        slipped = (exit_ - entry) / entry * 100
    else:
        entry = price_open * (1 - slippage / 100)
        exit_ = slipped_exit(price_close, -1, slippage)
        slipped = (entry - exit_) / entry * 100
    return slipped - fee * (1 + abs(exit_) / entry)


def slipped_exit(price: float, sign: int, slippage: float) -> float:
    """The price at which a position (``sign`` 1: long, -1: short) leaves, with slippage in percent of its size.

    Examples
    --------
    >>> slipped_exit(100.0, 1, 1.0), slipped_exit(-100.0, 1, 1.0), slipped_exit(-100.0, -1, 1.0)
    (99.0, -101.0, -99.0)
    """
    return price * (1 - sign * slippage / 100) if price > 0 else price * (1 + sign * slippage / 100)


def trade_pnl(position: Position, price_open: float, price_close: float, *, slippage: float, fee: float) -> Pnl:
    """Net result of a trade in percent, with its parts: gross is the raw price move, ``gross - fee - slippage = net``.

    Of an entry at or below zero it is in points alone: see :func:`pnl_in_points`.

    Examples
    --------
    >>> parts = trade_pnl("long", 100.0, 100.0, slippage=0.1, fee=0.1)
    >>> parts.gross_percentage, round(parts.pnl_percentage, 10)
    (0.0, -0.3996003996)
    """
    sign = sign_of(position)
    if price_open <= 0:
        return pnl_in_points(net_points([(sign, price_open), (-sign, price_close)], slippage=slippage, fee=fee))
    entry = price_open * (1 + sign * slippage / 100)
    exit_ = slipped_exit(price_close, sign, slippage)
    slipped = (exit_ - entry) / entry * 100 * sign
    fees = fee * (1 + abs(exit_) / entry)
    gross = (price_close - price_open) / price_open * 100 * sign
    return pnl_of(gross, slipped, fees)


def pnl_of(gross: float, slipped: float, fees: float) -> Pnl:
    """A result with its parts, in percent: the raw price move, the move between slipped prices, and the fees.

    Examples
    --------
    >>> pnl_of(10.0, 9.5, 0.25)
    Pnl(pnl_percentage=9.25, gross_percentage=10.0, fee_percentage=0.25, slippage_percentage=0.5)
    """
    return Pnl(
        pnl_percentage=slipped - fees,
        gross_percentage=gross,
        fee_percentage=fees,
        slippage_percentage=gross - slipped,
    )


def pnl_in_points(points: float) -> Pnl:
    """A result of which there is no percentage, as the position opened at or below zero; see :func:`net_points`.

    Examples
    --------
    >>> pnl_in_points(-1.5).points, pnl_in_points(-1.5).pnl_percentage
    (-1.5, nan)
    """
    return Pnl(pnl_percentage=nan, gross_percentage=nan, fee_percentage=nan, slippage_percentage=nan, points=points)


def net_points(fills: Iterable[tuple[float, float]], *, slippage: float, fee: float) -> float:
    """What fills bring together, net of all costs, in points: quote currency for each unit.

    Points need no price above zero: who buys pays more by the slippage, who sells gets less, and fees are of the size
    of what was paid or received.

    Parameters
    ----------
    fills
        Pairs of a quantity, above 0 bought and below 0 sold, and a price (quote currency).
    slippage, fee
        Per side, in percent.

    Examples
    --------
    >>> net_points([(1.0, -20.0), (-1.0, -15.0)], slippage=0.0, fee=0.0)
    5.0
    >>> round(net_points([(1.0, -20.0), (-1.0, -15.0)], slippage=1.0, fee=0.0), 10)  # paid -19.8, got -15.15
    4.65
    """
    points = 0.0
    for quantity, price in fills:
        money = quantity * slipped_exit(price, -1 if quantity > 0 else 1, slippage)
        points -= money + abs(money) * fee / 100
    return points


def breakeven_price(position: Position, price_open: float, slippage: float, fee: float) -> float:
    """The price at which closing a position that was opened at ``price_open`` brings nothing, net of all costs.

    Examples
    --------
    >>> price = breakeven_price("short", 100.0, 0.1, 0.1)
    >>> round(price, 6), abs(net_percentage("short", 100.0, price, 0.1, 0.1)) < 1e-12
    (99.600799, True)
    >>> round(breakeven_price("long", -100.0, 0.0, 1.0), 6)  # 99 were received, which 98.0198 and 1 % of it are
    -98.019802
    """
    s, f = slippage / 100, fee / 100
    if price_open <= 0:
        sign = sign_of(position)
        # Below zero the long receives and pays to leave, the short the other way; costs are of the size of both.
        return price_open * ((1 - sign * s) * (1 - sign * f)) / ((1 + sign * s) * (1 + sign * f))
    if position == "long":
        return price_open * ((1 + s) * (1 + f)) / ((1 - s) * (1 - f))
    return price_open * ((1 - s) * (1 - f)) / ((1 + s) * (1 + f))
