"""How large a position is to be: ``bknb.size.Percent``, ``Risk``, ``Kelly``, ``AtrRisk``, ``Cash`` and ``Units``.

Each is asked at the moment of an answer, with what is known then, and answers money: the value of the position in quote
currency, at the price that is really paid. What the account and the market make of it is in
:mod:`bknb.domain.quantity_or_lack_of_cash`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any, Final, TypeAlias

from msgspec.structs import replace

from ..errors import UsageError
from .formatting import plain_number
from .interval import INTERVAL_MS
from .keyword_arguments import ByName
from .signal_events import Reason
from .size_request import ClosedTrades, SizeRequest, WantedSize
from .sizing_formulas import (
    Sizing,
    atr_based,
    fixed_percentage,
    kelly_at_stop,
    kelly_criterion,
    kelly_stake,
    share_for_stake,
    units_at_risk,
)
from .text import shown
from .whole_number import checked_number, is_finite, whole_number


class Percent(ByName, frozen=True, tag=True):
    """A position worth a percentage of the equity.

    Examples
    --------
    >>> Percent(10)
    Percent(percent=10)
    """

    percent: float

    def __post_init__(self) -> None:
        checked_number("percent of Percent", self.percent, "a percentage above 0", fits=_above_0)

    def wanted(self, request: SizeRequest) -> WantedSize | Reason:
        """The value of the position."""
        return WantedSize(request.equity * self.percent / 100)


class Risk(ByName, frozen=True, tag=True):
    """A position that loses a percentage of the equity at its stop, before costs.

    Examples
    --------
    >>> Risk(1)
    Risk(percent=1)
    """

    percent: float

    def __post_init__(self) -> None:
        checked_number("percent of Risk", self.percent, "a percentage above 0 and at most 100", fits=_to_100)

    def wanted(self, request: SizeRequest) -> WantedSize | Reason:
        """The value of the position at its entry; without a stop, why there is none."""
        distance = request.stop_distance
        if not distance:
            return _no_stop(self, request)
        return WantedSize(units_at_risk(request.equity, self.percent, distance) * request.entry)


class Kelly(ByName, frozen=True, tag=True):
    """A part of the position that makes wealth grow fastest, judged by the trades that were closed before.

    Kelly's stake ``k = (w * R - (1 - w)) / R`` is what a lost trade takes of the equity; the position is worth
    ``part * k / d`` of it, where ``d`` is the share of the position that is lost at the stop, with the costs of a round
    trip; without a stop, the mean loss of the closed trades. Where they show no advantage, nothing is opened.

    J. L. Kelly, A New Interpretation of Information Rate, Bell System Technical Journal 35, 1956; E. O. Thorp, The
    Kelly Criterion in Blackjack, Sports Betting and the Stock Market, Handbook of Asset and Liability Management 1,
    2006, section 2.

    Parameters
    ----------
    part
        Above 0 and at most 1; a half or less where the estimates are uncertain, as they are.
    after
        How many trades have to be closed before they are believed.
    start
        Until then, and while no trade has lost or none has won: percent of the equity.

    Examples
    --------
    >>> Kelly(0.25)
    Kelly(part=0.25, after=30, start=1.0)
    """

    part: float
    after: int = 30
    start: float = 1.0

    def __post_init__(self) -> None:
        checked_number("part of Kelly", self.part, "a number above 0 and at most 1", fits=lambda x: 0.0 < x <= 1.0)
        checked_number("start of Kelly", self.start, "a percentage above 0 and at most 100", fits=_to_100)
        whole_number("after of Kelly", self.after, least=1)

    def wanted(self, request: SizeRequest) -> WantedSize | Reason:
        """The value of the position; why there is none where closed trades show no advantage."""
        closed = request.closed
        if request.stop_distance == 0.0:
            return _no_stop(self, request)
        if closed.count < self.after or not closed.win_loss_ratio:
            return WantedSize(request.equity * self.start / 100)
        stake = kelly_stake(closed.win_rate, closed.win_loss_ratio)
        if stake == 0.0:
            return _no_advantage(closed)
        loss = closed.mean_loss
        if request.stop_percent:
            loss = request.stop_percent + request.costs_percent
        return WantedSize(request.equity * share_for_stake(stake, loss / 100) * self.part)


class AtrRisk(ByName, frozen=True, tag=True):
    """A position that loses a percentage of the equity over some average true ranges.

    J. W. Wilder, New Concepts in Technical Trading Systems, 1978.

    Parameters
    ----------
    percent
        Of the equity, above 0 and at most 100.
    multiple
        How many average true ranges.
    interval, length
        Of the candles, and over how many of them the range is averaged.

    Examples
    --------
    >>> AtrRisk(1)
    AtrRisk(percent=1, multiple=2.0, interval='1d', length=14)
    """

    percent: float
    multiple: float = 2.0
    interval: str = "1d"
    length: int = 14

    def __post_init__(self) -> None:
        checked_number("percent of AtrRisk", self.percent, "a percentage above 0 and at most 100", fits=_to_100)
        checked_number("multiple of AtrRisk", self.multiple, "a number above 0", fits=_above_0)
        whole_number("length of AtrRisk", self.length, least=1)
        interval: object = self.interval
        if not isinstance(interval, str) or not interval:
            raise UsageError(f"interval of AtrRisk must be one of candles, such as '1d', got {shown(interval, 60)}")
        if interval not in INTERVAL_MS and interval != "1M":
            raise UsageError(f"interval of AtrRisk must be one of {' '.join(INTERVAL_MS)} 1M, got {interval!r:.60}")

    def wanted(self, request: SizeRequest) -> WantedSize | Reason:
        """The value of the position at its entry; why there is none without a range."""
        if not request.atr or not request.atr > 0.0:
            return _no_atr(self, request)
        return WantedSize(units_at_risk(request.equity, self.percent, request.atr * self.multiple) * request.entry)


class Cash(ByName, frozen=True, tag=True):
    """A position worth a fixed amount of quote currency.

    Examples
    --------
    >>> Cash(500)
    Cash(money=500)
    """

    money: float

    def __post_init__(self) -> None:
        checked_number("money of Cash", self.money, "an amount above 0", fits=_above_0)

    def wanted(self, request: SizeRequest) -> WantedSize | Reason:  # noqa: ARG002 -- all sizes are asked alike
        """The value of the position."""
        return WantedSize(float(self.money))


class Units(ByName, frozen=True, tag=True):
    """A fixed quantity, in base currency.

    Examples
    --------
    >>> Units(0.1)
    Units(quantity=0.1)
    """

    quantity: float

    def __post_init__(self) -> None:
        checked_number("quantity of Units", self.quantity, "a quantity above 0", fits=_above_0)

    def wanted(self, request: SizeRequest) -> WantedSize | Reason:  # noqa: ARG002 -- all sizes are asked alike
        """The quantity."""
        return WantedSize(units=float(self.quantity))


def _above_0(value: float) -> bool:
    return value > 0.0


def _to_100(value: float) -> bool:
    return 0.0 < value <= 100.0


RiskPercent = Risk
Atr = AtrRisk
Fixed = Cash
Size: TypeAlias = Percent | Risk | Kelly | AtrRisk | Cash | Units
SizeFunction: TypeAlias = Callable[[SizeRequest], Any]
_SHIPPED: Final = (Percent, Risk, Kelly, AtrRisk, Cash, Units)
_SPELLED: Final[dict[str, Callable[[float], Size]]] = {
    "percent": Percent,
    "risk": Risk,
    "kelly": Kelly,
    "atr": AtrRisk,
    "cash": Cash,
    "units": Units,
}


def read_size(value: object) -> Size | SizeFunction | str:
    """A size as a user gives it: itself, a text such as ``"risk:1"``, a function, or the name of a registered one.

    Raises
    ------
    UsageError
        It is none of them, or a number in it is not allowed.

    Examples
    --------
    >>> read_size("percent:10"), read_size("kelly:0.25"), read_size("careful")
    (Percent(percent=10.0), Kelly(part=0.25, after=30, start=1.0), 'careful')
    """
    if isinstance(value, _SHIPPED):
        return value
    if isinstance(value, str) and value:
        kind, colon, number = value.partition(":")
        if not colon:
            return value
        made = _SPELLED.get(kind.strip().lower())
        try:
            if made is not None:
                return made(float(number))
        except ValueError:
            pass
    elif callable(value) and value not in _SHIPPED:
        if iscoroutinefunction(value):
            raise UsageError(f"a sizing function must not be async, got {shown(value, 60)}\nit is asked inside the run")
        return value
    spelled = ", ".join(f"{kind}:NUMBER" for kind in _SPELLED)
    text = f"sizing must be such as bknb.size.Risk(1) or 'risk:1', got {shown(value, 60)}"
    raise UsageError(f"{text}\nas a text it is one of {spelled}, or the name of a registered sizing")


def spelling_meant(text: str) -> str:
    """The spelling of a size that a text without a colon may mean; empty: none.

    Examples
    --------
    >>> spelling_meant("percent60"), spelling_meant("60 %"), spelling_meant("0.6"), spelling_meant("careful")
    ('percent:60', 'percent:60', 'percent:60', '')
    """
    found = re.fullmatch(rf"({'|'.join(_SPELLED)})?[\s_=-]*([0-9]+\.?[0-9]*)\s*%?", text.strip().lower())
    if found is None:
        return ""
    part = found[1] is None and "%" not in text and float(found[2]) < 1
    return f"{found[1] or 'percent'}:{plain_number(float(found[2]) * 100) if part else found[2]}"


def wanted_size(
    size: Size | SizeFunction | Sizing, request: SizeRequest, *, atr_of: Callable[[AtrRisk], float | None] | None = None
) -> WantedSize | Reason:
    """What a size wants for a request, or why it wants nothing.

    Parameters
    ----------
    size
        One of this module, a registered sizing, or a function that is given the request and answers the value of the
        position in quote currency, or a size of this module.
    request
        What is known.
    atr_of
        The average true range for a size that a function answers, in quote currency.

    Examples
    --------
    >>> request = SizeRequest(symbol="BTCUSDT", strategy="trend", position="long", when=0, entry=100.0,
    ...                       price_stop_loss=98.0, equity=10_000.0, free=10_000.0)
    >>> wanted_size(Risk(1), request), wanted_size(Units(0.5), request)
    (WantedSize(money=5000.0, units=None), WantedSize(money=None, units=0.5))
    >>> wanted_size(lambda request: request.equity / 4, request).money
    2500.0
    """
    if isinstance(size, _SHIPPED):
        return size.wanted(request)
    if isinstance(size, Sizing):
        return _registered(size, request)
    answer = size(request)
    if isinstance(answer, AtrRisk) and atr_of is not None:
        request = replace(request, atr=atr_of(answer))
    return _answered(answer, request)


def _answered(value: object, request: SizeRequest) -> WantedSize | Reason:
    """What a function of the user's answered: the value of the position, or one of the sizes of this module."""
    if isinstance(value, _SHIPPED):
        return value.wanted(request)
    expected = (
        "a sizing function must answer the value of the position in quote currency, or a size as bknb.size.Risk(1)"
    )
    if not is_finite(value) or value < 0.0:
        return Reason("size", f"{expected}; got {shown(value, 60)}; answer a finite number, 0 for none")
    return WantedSize(float(value))


def _registered(sizing: Sizing, request: SizeRequest) -> WantedSize | Reason:
    """What a registered sizing wants, by the formulas of ``bknb.PositionSize``."""
    market = {"balance": request.equity, "price_open": request.entry}
    if sizing.method == "fixed-percentage":
        if request.price_stop_loss is None or not request.stop_distance:
            return _no_stop(sizing, request)
        return WantedSize(units=fixed_percentage(sizing, price_stop_loss=request.price_stop_loss, **market))
    if sizing.method == "atr-based":
        if not request.atr or not request.atr > 0.0:
            return _no_atr(AtrRisk(1.0), request)
        return WantedSize(units=atr_based(sizing, atr=request.atr, **market))
    closed, first = request.closed, Kelly(1.0)
    if request.stop_distance == 0.0:
        return _no_stop(sizing, request)
    if closed.count < first.after or not closed.win_loss_ratio:
        return first.wanted(request)
    odds = {"win_rate": closed.win_rate, "win_loss_ratio": closed.win_loss_ratio}
    if request.price_stop_loss is not None and request.stop_distance:
        costs = {"costs_percent": request.costs_percent, "price_stop_loss": request.price_stop_loss}
        units = kelly_at_stop(sizing, **market, **odds, **costs)
    else:
        units = kelly_criterion(sizing, **market, **odds)
    return WantedSize(units=units) if units else _no_advantage(closed)


def _no_stop(size: object, request: SizeRequest) -> Reason:
    text, advice = f"{_called(size)} sizes by the loss at the stop", "size with bknb.size.Percent"
    if request.price_stop_loss is None:
        expected = "expected price_stop_loss away from the entry, got none; declare a stop"
        return Reason("no_stop", f"{text}: {expected}, or {advice}")
    entry, stop = plain_number(request.entry), plain_number(request.price_stop_loss)
    side = "below" if request.position == "long" else "above"
    expected = f"expected price_stop_loss {side} the entry, which is {entry}, got {stop}"
    return Reason("no_stop", f"{text}: {expected}; wait for another price, or {advice}")


def _no_atr(size: AtrRisk, request: SizeRequest) -> Reason:
    text = f"expected an average true range of {size.length} candles of {size.interval}, got {request.atr}"
    return Reason("no_atr", f"{_called(size)}: {text}; begin later, or take a shorter interval or length")


def _no_advantage(closed: ClosedTrades) -> Reason:
    odds = f"win rate {closed.win_rate:.3f}, average win over average loss {closed.win_loss_ratio:.3f}"
    text = f"Kelly's stake is 0 after {closed.count} closed trades ({odds})"
    return Reason("no_advantage", f"{text}; size with bknb.size.Percent, or leave this strategy out")


def _called(size: object) -> str:
    return f"sizing {size.name!r}" if isinstance(size, Sizing) else repr(size)
