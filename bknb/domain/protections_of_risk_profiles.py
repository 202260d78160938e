"""Rules for risk profiles: nothing is opened for a while after losses, or beside too much that is open already.

Each is a function of the request alone. What was closed before in the profile, and what is open in it, is that of all
symbols and strategies that share it. Adds are refused as entries are, but for ``max_open`` and ``correlation``, which
look at what an entry is beside.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise, takewhile
from typing import ClassVar, Final, Literal

from ..errors import NotEnoughData, UsageError
from .formatting import utc_text
from .interval import DAY_MS, interval_ms
from .keyword_arguments import ByName
from .risk_request_and_verdict import ClosedPosition, RiskRequest
from .text import error_text
from .whole_number import checked_number, whole_number

Per = Literal["profile", "symbol", "strategy"]
_PER: Final = ("profile", "symbol", "strategy")
_NO_PERCENTAGE: Final = (
    "a position was opened at or below zero, of which there is no percentage; cooldown and stop_guard need none"
)
_STOPS: Final = ("stop_loss", "trailing_stop", "breakeven", "liquidation")


class _Protection(ByName, frozen=True):
    note: ClassVar[str] = ""  # the text of a refusal says all there is to say


class Cooldown(_Protection, frozen=True, kw_only=True):
    """No entry and no add for a while after losses in a row.

    Parameters
    ----------
    pause
        For how long after the last of them was closed, such as ``"4h"``.
    losses
        How many in a row.
    per
        Of what they are counted: the whole ``"profile"``, each ``"symbol"`` or each ``"strategy"``.

    Examples
    --------
    >>> Cooldown(pause="4h", losses=3)
    Cooldown(pause='4h', losses=3, per='profile')
    """

    pause: str = "1h"
    losses: int = 1
    per: Per = "profile"

    def __post_init__(self) -> None:
        _span_ms("cooldown", self.pause)
        whole_number("losses of cooldown", self.losses, least=1)
        _check_per("cooldown", self.per)

    def __call__(self, request: RiskRequest) -> str | None:
        """Why a candidate is refused; ``None``: it is not."""
        newest = [*islice(_newest_first(self, request, self.per), self.losses)]
        if len(newest) < self.losses or not all(one.is_loss for one in newest):
            return None
        until = newest[0].known_at + _span_ms("cooldown", self.pause)
        if request.when >= until:
            return None
        many = "a loss" if self.losses == 1 else f"{self.losses} losses in a row"
        return (
            f"cooldown: {many}, the last at {utc_text(newest[0].known_at)}; nothing is opened before {utc_text(until)}"
        )


class StopGuard(_Protection, frozen=True, kw_only=True):
    """No entry and no add while many stops were met not long ago.

    Parameters
    ----------
    stops
        How many.
    within
        In which time before the candidate, such as ``"1d"``.
    per
        Of what they are counted, as of ``cooldown``.

    Examples
    --------
    >>> StopGuard(stops=4)
    StopGuard(stops=4, within='1d', per='profile')
    """

    stops: int = 3
    within: str = "1d"
    per: Per = "profile"

    def __post_init__(self) -> None:
        whole_number("stops of stop_guard", self.stops, least=1)
        _span_ms("stop_guard", self.within)
        _check_per("stop_guard", self.per)

    def __call__(self, request: RiskRequest) -> str | None:
        """Why a candidate is refused; ``None``: it is not."""
        since = request.when - _span_ms("stop_guard", self.within)
        recent = takewhile(lambda one: one.known_at > since, _newest_first(self, request, self.per))
        met = sum(one.reason in _STOPS for one in recent)
        return None if met < self.stops else f"stop_guard: {met} stops within {self.within}, {self.stops} are too many"


class DailyLoss(_Protection, frozen=True):
    """No entry and no add for the rest of a day, by UTC, that has lost a percentage.

    With a capital it is of the equity; else the results of the positions that were closed in this day are summed.

    Examples
    --------
    >>> DailyLoss(3)
    DailyLoss(percent=3)
    """

    percent: float

    def __post_init__(self) -> None:
        _check_percent("daily_loss", self.percent)

    def __call__(self, request: RiskRequest) -> str | None:
        """Why a candidate is refused; ``None``: it is not."""
        since = request.when - request.when % DAY_MS
        day = [*takewhile(lambda one: one.known_at > since, _newest_first(self, request))]
        if any(one.points is not None for one in day):
            return f"daily_loss: {_NO_PERCENTAGE}"
        lost = -_result(day, request)
        if lost < self.percent:
            return None
        return f"daily_loss: {lost:.2f} % were lost since {utc_text(since)}, {self.percent:g} % are the limit of a day"


class MaxDrawdown(_Protection, frozen=True):
    """No entry and no add while what was closed not long ago has lost a percentage from its best.

    With a capital it is of the equity at that best; else the results of positions are summed.

    Parameters
    ----------
    percent
        The limit.
    within
        Which positions count: those closed in this time before the candidate, such as ``"30d"``.

    Examples
    --------
    >>> MaxDrawdown(10)
    MaxDrawdown(percent=10, within='30d')
    """

    percent: float
    within: str = "30d"

    def __post_init__(self) -> None:
        _check_percent("max_drawdown", self.percent)
        _span_ms("max_drawdown", self.within)

    def __call__(self, request: RiskRequest) -> str | None:
        """Why a candidate is refused; ``None``: it is not."""
        since = request.when - _span_ms("max_drawdown", self.within)
        fallen: list[ClosedPosition] = []
        lost, deepest, best = 0.0, 0.0, 0
        newest = takewhile(lambda one: one.known_at > since, _newest_first(self, request))
        for one in newest:  # from now back to its best
            if one.points is not None:
                return f"max_drawdown: {_NO_PERCENTAGE}"
            fallen.append(one)
            lost -= one.pnl_percentage if one.money is None else one.money
            if lost > deepest:
                deepest, best = lost, len(fallen)
        percent = -_result(fallen[:best], request)
        if percent < self.percent:
            return None
        return f"max_drawdown: {percent:.2f} % were lost within {self.within}, {self.percent:g} % are the limit"


class MaxOpen(_Protection, frozen=True):
    """No more than so many positions at once, those that rest in orders included; adds are not counted.

    Parameters
    ----------
    positions
        How many.
    per
        Of what they are counted, as of ``cooldown``.

    Examples
    --------
    >>> MaxOpen(2, per="symbol")
    MaxOpen(positions=2, per='symbol')
    """

    positions: int
    per: Per = "profile"

    def __post_init__(self) -> None:
        whole_number("positions of max_open", self.positions, least=1)
        _check_per("max_open", self.per)

    def __call__(self, request: RiskRequest) -> str | None:
        """Why a candidate is refused; ``None``: it is not."""
        if request.add:
            return None  # it has its place
        held = sum(
            self.per == "profile" or getattr(one, self.per) == getattr(request, self.per)
            for one in request.open_positions
        )
        return (
            None if held < self.positions else f"max_open: {held} are open, at most {self.positions} of one {self.per}"
        )


class MaxExposure(_Protection, frozen=True):
    """No entry or add with which all that is open or ordered would be worth more than a percentage of the equity.

    It needs a run with a capital.

    Examples
    --------
    >>> MaxExposure(150)
    MaxExposure(percent=150)
    """

    percent: float

    def __post_init__(self) -> None:
        checked_number("percent of max_exposure", self.percent, "a percentage above 0", fits=lambda x: x > 0.0)

    def __call__(self, request: RiskRequest) -> str | None:
        """Why a candidate is refused; ``None``: it is not."""
        if request.equity is None or request.exposure is None or request.value is None:
            return (
                "max_exposure needs to know the equity, which a run with a capital has, live too: give it "
                "capital=10_000, say, or leave the rule out"
            )
        if request.equity <= 0.0:
            return "max_exposure: the account is worth nothing"
        share = (request.exposure + request.value) / request.equity * 100
        if share <= self.percent:
            return None
        return f"max_exposure: with it {share:.1f} % of the equity would be at stake, at most {self.percent:g} %"


class Correlation(_Protection, frozen=True):
    """No entry beside a position of the same side whose symbol moves like that of the entry.

    The correlation (Pearson's) of the returns of both symbols, from close to close of candles that both have and that
    had closed by then. Positions that rest in orders count; so does another one on the same symbol, which correlates
    with itself by 1. A price that did not move correlates with nothing; with too little history an entry is refused.

    Parameters
    ----------
    limit
        More is refused; above 0 and below 1.
    window
        How many returns.
    interval
        Of the candles, such as ``"1d"``.

    Examples
    --------
    >>> Correlation(0.8)
    Correlation(limit=0.8, window=30, interval='1d')
    """

    limit: float
    window: int = 30
    interval: str = "1d"

    def __post_init__(self) -> None:
        checked_number("limit of correlation", self.limit, "above 0 and below 1", fits=lambda x: 0.0 < x < 1.0)
        whole_number("window of correlation", self.window, least=3)
        interval_ms(self.interval)

    def __call__(self, request: RiskRequest) -> str | None:
        """Why a candidate is refused; ``None``: it is not."""
        side, symbol = request.signal.position, request.symbol
        beside = {one.symbol for one in request.open_positions if one.position == side}
        if request.add or not beside:
            return None
        if symbol in beside:
            return f"correlation: {side} {symbol} is open already"
        for other in sorted(beside):
            try:
                found = self._between(request, symbol, other)
            except NotEnoughData as error:
                return f"correlation: too little history of {symbol} and {other}: {error_text(error)}"
            if found > self.limit:
                return (
                    f"correlation: {found:.2f} with {other}, which is {side}, over {self.window} returns of "
                    f"{self.interval}; {self.limit:g} is the limit"
                )
        return None

    def _between(self, request: RiskRequest, symbol: str, other: str) -> float:
        from statistics import StatisticsError, correlation  # few runs need it

        if request.closes is None:
            raise UsageError("correlation needs the candles of a run, and this request comes from none")
        closes = request.closes((symbol, other), self.interval, self.window + 1)
        one, two = ([now / before - 1.0 for before, now in pairwise(prices)] for prices in closes)
        try:
            return correlation(one, two)
        except StatisticsError:  # one of them did not move
            return 0.0


def _newest_first(rule: object, request: RiskRequest, per: Per = "profile") -> Iterator[ClosedPosition]:
    """What was closed before, the newest first, of what a rule counts."""
    if request.closed is None:
        name = type(rule).__name__
        raise UsageError(f"{name} needs the positions that were closed before, and this request does not tell them")
    closed = reversed(request.closed)
    return (one for one in closed if per == "profile" or getattr(one, per) == getattr(request, per))


def _result(closed: list[ClosedPosition], request: RiskRequest) -> float:
    """What positions made together, percent: of the equity before them, or as a sum without a capital."""
    if request.equity is None or any(one.money is None for one in closed):
        return sum(one.pnl_percentage for one in closed)
    made = sum(one.money or 0.0 for one in closed)
    before = request.equity - made
    return made / before * 100 if before > 0.0 else 0.0


def _check_per(rule: str, per: object) -> None:
    if per not in _PER:
        raise UsageError(f"per of {rule} must be one of {', '.join(_PER)}, got {per!r:.60}")


def _check_percent(rule: str, percent: float) -> None:
    checked_number(f"percent of {rule}", percent, "a percentage above 0 and below 100", fits=lambda x: 0.0 < x < 100.0)


def _span_ms(rule: str, text: object) -> int:
    """A number of days, hours or minutes, such as ``"30d"``, ms."""
    number, unit = (text[:-1], text[-1:]) if isinstance(text, str) else ("", "")
    units = {"d": DAY_MS, "h": DAY_MS // 24, "m": DAY_MS // 1440}
    if unit not in units or not number.isdecimal() or not int(number):
        raise UsageError(f"a time of {rule} must be such as '30d', '4h' or '90m', got {text!r:.60}")
    return int(number) * units[unit]
