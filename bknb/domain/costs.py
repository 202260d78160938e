"""What fills cost: fees of takers and makers, slippage, spread, fixed fees; ``bknb.Costs``.

Percentages are those of ``percent_fee`` and ``percent_slippage``: 0.1 means 0.1 % of the traded value, per side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from ..config import Settings
from ..errors import UsageError
from .funding_and_borrow_amounts import funding_of
from .keyword_arguments import ByName
from .pnl import slipped_exit
from .position_fills import FillKind
from .signal import EntryKind
from .text import error_text
from .whole_number import checked_number

FilledBy: TypeAlias = Literal["market", "limit", "stop"]
"""``"limit"``: a limit entry, a limit of an add or a target that rested; ``"stop"``: at the level of a stop or a stop
entry; ``"market"``: at an open or a close, which is also where a stop fills that a candle opens beyond."""
_STOPS: Final = ("stop_loss", "trailing_stop", "breakeven")


class CostRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An order that is filled, for a function of yours that says what it costs.

    Attributes
    ----------
    symbol : str
    at : int
        Open time of the candle in which it fills, UTC ms.
    side : str
        ``"buy"`` or ``"sell"``.
    kind : str
        ``"entry"``, ``"add"``, ``"reduce"`` or ``"exit"``.
    filled_by : str
        ``"market"``, ``"limit"`` (it rested) or ``"stop"``.
    quantity : float
        Base currency.
    price : float
        Before slippage and spread, in quote currency.
    reason : str
        Why a position or a part of it is closed, such as ``"take_profit"``; empty for an entry and an add.

    Examples
    --------
    >>> order = CostRequest(symbol="AAPL", at=0, side="buy", kind="entry", filled_by="market", quantity=50.0,
    ...                     price=20.0)
    >>> order.value
    1000.0
    """

    symbol: str
    at: int
    side: Literal["buy", "sell"]
    kind: FillKind
    filled_by: FilledBy
    quantity: float
    price: float
    reason: str = ""

    @property
    def value(self) -> float:
        """Quantity times price, in quote currency."""
        return self.quantity * self.price


Cost: TypeAlias = float | Callable[[CostRequest], float]
"""A number, or a function of the order that gives it."""


class Costs(ByName, frozen=True, kw_only=True):
    """What fills cost. Each number may be a function of the order instead, which gets a ``bknb.CostRequest``.

    A function is also asked what orders would cost that are not made: when a run with a capital begins, for a size, and
    for what is free once others have left.

    Parameters
    ----------
    taker
        Fee of a fill at the market and of one at a stop, percent of the traded value; by default ``percent_fee`` of the
        settings.
    maker
        Fee of a limit entry and of a target, percent; such fills have no slippage. Below 0 it is a rebate. ``None``:
        they cost what all others cost.
    fixed
        Fee of each order, in quote currency.
    slippage
        By how much a fill is worse than its price, percent; by default ``percent_slippage`` of the settings.
    spread
        Difference between ask and bid, in quote currency; half of it makes every fill worse, those of makers too.
    half_spread
        The same half in percent of the price; give one of the two.
    overshoot
        By how much a fill at the level of a stop or of a stop entry is worse, percent, beside slippage: prices jump
        over levels inside a candle.
    funding
        Name of a registered series, or rows of a moment (UTC ms) and a rate, or of a moment and what longs and shorts
        pay. A rate is a share of the position's value, as exchanges publish it: 0.0001 is 0.01 %, and above 0 longs pay
        it to shorts.
    borrow_yearly
        What a short pays, percent of its value a year of 365 days: with its fills, and where it has cross margin with
        leverage at each full hour (UTC), too.

    Raises
    ------
    UsageError
        For a number that cannot be.

    Examples
    --------
    >>> costs = Costs(taker=0.05, maker=0.02, slippage=0.02)
    >>> order = CostRequest(symbol="BTCUSDT", at=0, side="buy", kind="entry", filled_by="market", quantity=2.0,
    ...                     price=100.0)
    >>> paid = fill_costs(order, costs)
    >>> paid.maker, round(paid.price, 9), round(paid.fee, 9), round(paid.slippage, 9)
    (False, 100.02, 0.10002, 0.04)
    >>> fill_costs(msgspec.structs.replace(order, filled_by="limit"), costs)[:3]
    (True, 100.0, 0.04)
    >>> Costs(fixed=lambda order: max(1.0, 0.005 * order.quantity)).maker is None
    True
    """

    taker: Cost | None = None
    maker: Cost | None = None
    fixed: Cost = 0.0
    slippage: Cost | None = None
    spread: Cost = 0.0
    half_spread: Cost = 0.0
    overshoot: Cost = 0.0
    funding: str | Sequence[tuple[int, float] | tuple[int, float, float]] | None = None
    borrow_yearly: float = 0.0

    def __post_init__(self) -> None:
        for name in ("taker", "maker", "fixed", "slippage", "spread", "half_spread", "overshoot", "borrow_yearly"):
            value = getattr(self, name)
            if value is not None and (name == "borrow_yearly" or not callable(value)):
                _checked(name, value, f"{name} of Costs")
        if self.spread != 0.0 and self.half_spread != 0.0:
            text = "give spread (quote currency) or half_spread (percent) of Costs, not both"
            raise UsageError(f"{text}\nthey are the same cost, and would count twice")
        if self.funding is not None and not isinstance(self.funding, str):
            rows = tuple(self.funding) if isinstance(self.funding, Iterator) else self.funding  # read once, kept
            funding_of(rows)
            msgspec.structs.force_setattr(self, "funding", rows)


_EXPECTED: Final = {
    "maker": ("a percentage above -1 and below 100", lambda x: -1.0 < x < 100.0),
    "fixed": ("an amount of at least 0", lambda x: x >= 0.0),
    "spread": ("a difference of prices of at least 0", lambda x: x >= 0.0),
    "borrow_yearly": ("a percentage of at least 0", lambda x: x >= 0.0),
}
_PERCENT: Final = ("a percentage of at least 0 and below 100", lambda x: 0.0 <= x < 100.0)


def _checked(name: str, value: object, called: str) -> float:
    expected, fits = _EXPECTED.get(name, _PERCENT)
    return checked_number(called, value, expected, fits=fits, hint="0.1 means 0.1 %" if "percent" in expected else "")


def with_settings(costs: Costs | None, settings: Settings) -> Costs:
    """Costs of which the settings say what was left out; without any they are ``percent_fee`` and ``percent_slippage``.

    Examples
    --------
    >>> with_settings(Costs(fixed=1.0), Settings(percent_fee=0.05)).taker
    0.05
    """
    given = Costs() if costs is None else costs
    return msgspec.structs.replace(
        given,
        taker=settings.percent_fee if given.taker is None else given.taker,
        slippage=settings.percent_slippage if given.slippage is None else given.slippage,
    )


def not_told(exchange: str, symbol: str) -> UsageError:
    """The error that says that an exchange does not tell what fills of a symbol cost."""
    text = f"{exchange!r} does not say which percentage of its value a fill of {symbol} costs"
    return UsageError(f"{text}\ngive what you pay: costs=bknb.Costs(taker=0.1, maker=0.05), say")


def costs_at(source: object, symbol: str) -> Costs:
    """What fills of a symbol cost by what a source of candles says.

    Raises
    ------
    UsageError
        It does not say so.

    Examples
    --------
    >>> costs_at(object(), "BTCUSDT")
    Traceback (most recent call last):
    bknb.errors.UsageError: 'object' does not say which percentage of its value a fill of BTCUSDT costs
    give what you pay: costs=bknb.Costs(taker=0.1, maker=0.05), say
    """
    ask: Callable[[str], Costs] | None = getattr(source, "costs", None)
    if ask is None:
        raise not_told(getattr(source, "name", type(source).__name__), symbol)
    return ask(symbol)


def filled_by(kind: FillKind, *, rested: bool, entry: EntryKind = "market", reason: str = "") -> FilledBy:
    """How an order was filled, which says what it pays.

    A limit that the market had reached before it was sent takes what is there, as an order at the market does. A target
    rested, wherever it is filled.

    Parameters
    ----------
    kind
        As of ``Fill``.
    rested
        Whether it waited and filled at its level.
    entry
        Of an entry or an add: its order.
    reason
        Of what closes: why.

    Examples
    --------
    >>> filled_by("entry", rested=True, entry="limit"), filled_by("entry", rested=False, entry="limit")
    ('limit', 'market')
    >>> filled_by("exit", rested=False, reason="take_profit"), filled_by("exit", rested=True, reason="stop_loss")
    ('limit', 'stop')
    """
    if kind in ("reduce", "exit"):
        if reason == "take_profit":
            return "limit"
        return "stop" if rested and reason in _STOPS else "market"
    if not rested:
        return "market"
    return "stop" if entry == "stop" else "limit"


class FillCosts(NamedTuple):
    """What one fill costs.

    Attributes
    ----------
    maker
        Whether it paid the fee of a maker.
    price
        What was really paid or received for each unit, in quote currency, with slippage and spread.
    fee, slippage
        In quote currency; ``slippage`` is the difference to the price before it, times the quantity.
    fee_percent, slippage_percent, fixed, half_spread
        What they are made of: percent, percent, and money; ``half_spread`` in quote currency a unit.
    """

    maker: bool
    price: float
    fee: float
    slippage: float
    fee_percent: float
    slippage_percent: float
    fixed: float
    half_spread: float


def fill_costs(order: CostRequest, costs: Costs) -> FillCosts:
    """What a fill costs: long ``price * (1 + slippage)``, short mirrored, and the fee on what is paid so.

    Fills at a limit pay ``maker`` and no slippage where there is a fee of makers, all others ``taker``. Only those at
    the level of a stop have an ``overshoot``. At or below zero slippage and fee are percentages of the size of the
    price: see :func:`bknb.domain.pnl.slipped_exit`.

    Raises
    ------
    UsageError
        Where a function of the costs answers what cannot be, or a price above zero would be at or below it with them.
    """
    maker = order.filled_by == "limit" and costs.maker is not None
    fee = _number("maker", costs.maker, order) if maker else _number("taker", costs.taker, order)
    worse = 0.0 if maker else _number("slippage", costs.slippage, order)
    worse += _number("half_spread", costs.half_spread, order)
    if order.filled_by == "stop":
        worse += _number("overshoot", costs.overshoot, order)
    half, fixed = _number("spread", costs.spread, order) / 2, _number("fixed", costs.fixed, order)
    sign = 1 if order.side == "buy" else -1
    price = slipped_exit(order.price, -sign, worse) + sign * half
    if price <= 0.0 < order.price:
        text = f"a sale at {order.price:g} would bring {price:g} a unit after slippage and spread"
        raise UsageError(f"{text}\nthe spread of Costs is in quote currency; half_spread is in percent")
    return FillCosts(
        maker=maker,
        price=price,
        fee=order.quantity * abs(price) * fee / 100 + fixed,
        slippage=sign * order.quantity * (price - order.price),
        fee_percent=fee,
        slippage_percent=worse,
        fixed=fixed,
        half_spread=half,
    )


def _number(name: str, cost: Cost | None, order: CostRequest) -> float:
    if cost is None:
        raise UsageError(f"{name} of Costs is not known: expected costs with the settings filled in, see with_settings")
    if not callable(cost):
        return cost
    called = f"{name} of Costs, for {order.side} {order.quantity:g} at {order.price:g},"
    try:
        answer = cost(order)
    except Exception as error:
        text = f"{called} raised {type(error).__name__}: {error_text(error) or 'without a text'}"
        raise UsageError(f"{text}\nyour function is given a bknb.CostRequest and answers a number") from error
    return _checked(name, answer, called)
