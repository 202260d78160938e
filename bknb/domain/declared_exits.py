"""Exits that a signal declares beside one stop and one target: a ladder of targets, a trailing stop, break-even.

Prices and distances are in quote currency, percentages of 1.5 mean 1.5 %. Nothing is checked here;
:mod:`bknb.domain.exit_validation` says what is wrong with one.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from .keyword_arguments import ByName

Plus: TypeAlias = Literal["costs", ""]


class Trailing(ByName, frozen=True, kw_only=True):
    """A stop that follows the best price of a position, and never loosens.

    Only the extremes of candles that have closed move it: it is in force from the next candle on.

    Parameters
    ----------
    percent
        Distance of the stop from the best price, percent of that price. Give this or ``distance``.
    distance
        Distance of the stop from the best price, in quote currency.
    after
        The gross move from the first fill, in percent, at which it begins; 0: with the fill. Once it has begun it
        goes on.

    Examples
    --------
    >>> Trailing(percent=1.0, after=2.0).after
    2.0
    """

    percent: float | None = None
    distance: float | None = None
    after: float = 0.0


class Breakeven(ByName, frozen=True, kw_only=True):
    """A stop that moves once to the average entry price of a position.

    Parameters
    ----------
    after
        The gross move from the first fill, in percent, at which it moves.
    plus
        ``"costs"``: to the price at which nothing is won or lost after fees and slippage of both sides; ``""``: to the
        average entry price itself. Later adds do not move it again.

    Examples
    --------
    >>> Breakeven(after=1.0).plus
    'costs'
    """

    after: float
    plus: Plus = "costs"


class Target(msgspec.Struct, frozen=True, gc=False):
    """One level of profit taking: its price (quote currency), and the share of the first size that it closes.

    ``share`` is ``None`` where it closes all that is left.
    """

    price: float
    share: float | None = None


Ladder: TypeAlias = tuple[tuple[float, float], ...]
"""Targets as a strategy gives them: pairs of price (quote currency) and share of the first size."""


def targets_of(price_take_profit: float | Ladder | None) -> tuple[Target, ...]:
    """The targets of a checked take profit, the nearest to the entry first where they are given so.

    Examples
    --------
    >>> targets_of(110.0), targets_of(None), targets_of(((104.0, 0.5),))
    ((Target(price=110.0, share=None),), (), (Target(price=104.0, share=0.5),))
    """
    if price_take_profit is None:
        return ()
    if isinstance(price_take_profit, tuple):
        return tuple(Target(price, share) for price, share in price_take_profit)
    return (Target(price_take_profit),)
