"""Position sizing: its methods and their limits; plain numbers in, a quantity out.

A quantity is in units of what is traded, not rounded to an exchange's steps. Limits are applied in this order: the
minimum, then the share of the balance, then the maximum, so that a limit on risk comes last.
"""

from __future__ import annotations

from math import isfinite
from typing import Final, Literal, TypeAlias

import msgspec

from ..errors import UsageError

SizingMethod: TypeAlias = Literal["fixed-percentage", "kelly-criterion", "atr-based"]
METHODS: Final[tuple[SizingMethod, ...]] = ("fixed-percentage", "kelly-criterion", "atr-based")

_PARAMETERS: Final[dict[str, tuple[str, ...]]] = {
    "fixed-percentage": ("risk_percentage",),
    "kelly-criterion": ("kelly_multiplier",),
    "atr-based": ("risk_percentage", "atr_multiplier"),
}
_LIMITS: Final = ("max_position_percentage", "min_position_size", "max_position_size")


class Sizing(msgspec.Struct, frozen=True, kw_only=True):
    """A registered way to size positions.

    Parameters
    ----------
    name
        The name ``bknb.PositionSize`` uses.
    method
        ``"fixed-percentage"``, ``"kelly-criterion"`` or ``"atr-based"``.
    risk_percentage
        What may be lost at the stop, percent of the balance.
    kelly_multiplier
        Part of the full Kelly position, 0..1.
    atr_multiplier
        Distance of the stop in average true ranges.
    max_position_percentage
        Most a position may be worth, percent of the balance.
    min_position_size, max_position_size
        Least and most units.
    """

    name: str
    method: SizingMethod
    risk_percentage: float | None = None
    kelly_multiplier: float = 0.25
    atr_multiplier: float = 2.0
    max_position_percentage: float | None = None
    min_position_size: float | None = None
    max_position_size: float | None = None


def make_sizing(name: str, method: str, parameters: dict[str, object]) -> Sizing:
    """A checked way to size positions.

    Raises
    ------
    UsageError
        With every problem: an unknown method or parameter, a missing one, a number that cannot be.

    Examples
    --------
    >>> make_sizing("careful", "fixed-percentage", {"risk_percentage": 1}).risk_percentage
    1.0
    """
    if method not in METHODS:
        raise UsageError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    known = (*_PARAMETERS[method], *_LIMITS)
    problems = [
        f"{key} is not a parameter of {method} (it has {', '.join(known)})" for key in parameters if key not in known
    ]
    if "risk_percentage" in known and "risk_percentage" not in parameters:
        problems.append("risk_percentage is missing: what may be lost at the stop, percent of the balance")
    values: dict[str, float] = {}
    for key in known:
        if parameters.get(key) is not None:
            problem, values[key] = _checked(key, parameters[key])
            problems += [problem] if problem else []
    if values.get("min_position_size", 0.0) > values.get("max_position_size", float("inf")):
        problems.append("min_position_size is above max_position_size")
    if problems:
        raise UsageError(f"sizing {name!r}: " + "; ".join(problems))
    return Sizing(name=name, method=method, **values)


def _checked(key: str, value: object) -> tuple[str, float]:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        return f"{key} must be a number, got {value!r}", 0.0
    number = float(value)
    if key == "kelly_multiplier":
        return ("" if 0 <= number <= 1 else f"{key} must be from 0 to 1, got {number:g}"), number
    if key in ("risk_percentage", "max_position_percentage"):
        return ("" if 0 < number <= 100 else f"{key} must be above 0 and at most 100 %, got {number:g}"), number
    return ("" if number > 0 else f"{key} must be above 0, got {number:g}"), number


def _positive(**values: float) -> None:
    for name, value in values.items():
        given: object = value
        if given is None and name == "price_stop_loss":
            text = "price_stop_loss must be a number above 0, got None: the size follows from what is lost at the stop"
            raise UsageError(f"{text}\ndeclare a stop, or size by hand")
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not isfinite(given) or given <= 0:
            raise UsageError(f"{name} must be a number above 0, got {value!r}")


def _method(sizing: Sizing, method: SizingMethod) -> None:
    if sizing.method != method:
        raise UsageError(
            f"sizing {sizing.name!r} is {sizing.method}, not {method}\n"
            f"call bknb.PositionSize.{sizing.method.replace('-', '_')}, or register another sizing"
        )


def _limited(quantity: float, sizing: Sizing, *, balance: float, price_open: float) -> float:
    if sizing.min_position_size is not None:
        quantity = max(quantity, sizing.min_position_size)
    if sizing.max_position_percentage is not None:
        quantity = min(quantity, balance * sizing.max_position_percentage / 100 / price_open)
    if sizing.max_position_size is not None:
        quantity = min(quantity, sizing.max_position_size)
    return quantity


# --- formulas, for registered sizings and for those of :mod:`bknb.domain.percent_risk_and_kelly_sizes` ----------


def units_at_risk(balance: float, percent: float, distance: float) -> float:
    """Units that lose a percentage of the balance over a distance of prices: ``balance * percent / 100 / distance``.

    Examples
    --------
    >>> units_at_risk(10_000, 2, 1_000)
    0.2
    """
    return balance * percent / 100 / distance


def kelly_stake(win_rate: float, win_loss_ratio: float) -> float:
    """The share of the balance that a lost bet takes where wealth grows fastest: ``(w * R - (1 - w)) / R``.

    Never below 0. ``win_rate`` is a share between 0 and 1.

    Raises
    ------
    UsageError
        For numbers that cannot be.

    Examples
    --------
    >>> round(kelly_stake(0.55, 1.5), 9)
    0.25
    """
    _positive(win_loss_ratio=win_loss_ratio)
    share: object = win_rate
    if not isinstance(share, (int, float)) or isinstance(share, bool):
        raise UsageError(f"win_rate must be a share between 0 and 1, got {share!r}")
    if not 0 < share < 1:
        hint = f"\n{win_rate:g} % is {win_rate / 100:g}" if 1 < win_rate < 100 else ""
        raise UsageError(f"win_rate must be a share between 0 and 1, got {win_rate!r}{hint}")
    return max(0.0, (win_rate * win_loss_ratio - (1 - win_rate)) / win_loss_ratio)


def share_for_stake(stake: float, loss: float) -> float:
    """The value of a position, as a share of the balance, of which a lost trade takes ``stake`` of the balance.

    ``loss`` is the share of the position that a lost trade takes.

    Examples
    --------
    >>> share_for_stake(0.25, 0.02)
    12.5
    """
    return stake / loss


# --- registered sizings -------------------------------------------------------------------------------------------


def fixed_percentage(sizing: Sizing, *, balance: float, price_open: float, price_stop_loss: float) -> float:
    """Units whose loss at the stop is a fixed part of the balance: ``balance * risk / distance``.

    Examples
    --------
    >>> two = make_sizing("two", "fixed-percentage", {"risk_percentage": 2})
    >>> fixed_percentage(two, balance=10_000, price_open=50_000, price_stop_loss=49_000)
    0.2
    """
    _method(sizing, "fixed-percentage")
    _positive(balance=balance, price_open=price_open, price_stop_loss=price_stop_loss)
    distance = abs(price_open - price_stop_loss)
    if distance == 0:
        raise UsageError(f"the stop loss must be away from the entry, both are {price_open:g}")
    assert sizing.risk_percentage is not None  # registered with it  # noqa: S101
    quantity = units_at_risk(balance, sizing.risk_percentage, distance)
    return _limited(quantity, sizing, balance=balance, price_open=price_open)


def kelly_criterion(
    sizing: Sizing, *, balance: float, price_open: float, win_rate: float, win_loss_ratio: float
) -> float:
    """Units of a position worth a part of Kelly's stake, where a loss takes the whole stake.

    ``k = (w * R - (1 - w)) / R``, never below 0, is the share of the balance that is *lost* in a lost bet. Taken as
    the value of the position (the notional), as here, it makes wealth grow fastest only when a losing position loses
    all of its value. One that is stopped out after a few percent may be larger: :func:`kelly_at_stop`.

    J. L. Kelly, A New Interpretation of Information Rate, Bell System Technical Journal 35, 1956. ``win_rate`` is a
    share between 0 and 1, ``win_loss_ratio`` the average win over the average loss.

    Examples
    --------
    >>> quarter = make_sizing("quarter", "kelly-criterion", {})
    >>> round(kelly_criterion(quarter, balance=10_000, price_open=50_000, win_rate=0.55, win_loss_ratio=1.5), 9)
    0.0125
    """
    _method(sizing, "kelly-criterion")
    _positive(balance=balance, price_open=price_open)
    quantity = balance * kelly_stake(win_rate, win_loss_ratio) * sizing.kelly_multiplier / price_open
    if quantity == 0:
        return 0.0  # nothing to gain: no minimum makes that a position
    return _limited(quantity, sizing, balance=balance, price_open=price_open)


def kelly_at_stop(
    sizing: Sizing,
    *,
    balance: float,
    price_open: float,
    price_stop_loss: float,
    win_rate: float,
    win_loss_ratio: float,
    costs_percent: float = 0.0,
) -> float:
    """Units of a part of the position that makes wealth grow fastest, where a loss is one at the stop.

    With ``d`` the share of the position that is lost at the stop (its distance from the entry, and costs), the value
    of the position ``f`` that maximises ``E log(1 + f * r) = w * log(1 + f * R * d) + (1 - w) * log(1 - f * d)``, as a
    share of the balance, is ``f = k / d`` with Kelly's ``k = (w * R - (1 - w)) / R``, never below 0. It may be worth
    more than the balance; ``max_position_percentage`` limits it.

    J. L. Kelly, A New Interpretation of Information Rate, Bell System Technical Journal 35, 1956; E. O. Thorp, The
    Kelly Criterion in Blackjack, Sports Betting and the Stock Market, Handbook of Asset and Liability Management 1,
    2006, section 2; as *optimal f* in R. Vince, Portfolio Management Formulas, Wiley 1990.

    Parameters
    ----------
    sizing
        A ``"kelly-criterion"``; its ``kelly_multiplier`` is the part that is taken.
    balance, price_open, price_stop_loss
        Quote currency.
    win_rate
        Share of wins, between 0 and 1.
    win_loss_ratio
        Average win over average loss, both after costs.
    costs_percent
        What a round trip costs, percent of the position; lost at the stop on top of its distance.

    Raises
    ------
    UsageError
        For numbers that cannot be.

    Examples
    --------
    A stop 2 % away: the position may be fifty times the stake.

    >>> full = make_sizing("full", "kelly-criterion", {"kelly_multiplier": 1})
    >>> odds = {"balance": 10_000, "price_open": 50_000, "win_rate": 0.55, "win_loss_ratio": 1.5}
    >>> round(kelly_criterion(full, **odds), 9), round(kelly_at_stop(full, price_stop_loss=49_000, **odds), 9)
    (0.05, 2.5)
    """
    _method(sizing, "kelly-criterion")
    _positive(balance=balance, price_open=price_open, price_stop_loss=price_stop_loss)
    costs: object = costs_percent
    if isinstance(costs, bool) or not isinstance(costs, (int, float)) or not isfinite(costs) or costs < 0:
        raise UsageError(f"costs_percent must be a percentage of at least 0, got {costs_percent!r}")
    distance = abs(price_open - price_stop_loss) / price_open
    if distance == 0:
        raise UsageError(f"the stop loss must be away from the entry, both are {price_open:g}")
    share = share_for_stake(kelly_stake(win_rate, win_loss_ratio), distance + costs_percent / 100)
    quantity = balance * share * sizing.kelly_multiplier / price_open
    if quantity == 0:
        return 0.0  # nothing to gain: no minimum makes that a position
    return _limited(quantity, sizing, balance=balance, price_open=price_open)


def atr_based(sizing: Sizing, *, balance: float, price_open: float, atr: float) -> float:
    """Units whose loss over some average true ranges is a fixed part of the balance.

    ``balance * risk / (atr * multiplier)``; ``atr`` in quote currency (J. W. Wilder, New Concepts in Technical Trading
    Systems, 1978).

    Examples
    --------
    >>> wide = make_sizing("wide", "atr-based", {"risk_percentage": 2})
    >>> atr_based(wide, balance=10_000, price_open=50_000, atr=500)
    0.2
    """
    _method(sizing, "atr-based")
    _positive(balance=balance, price_open=price_open, atr=atr)
    assert sizing.risk_percentage is not None  # registered with it  # noqa: S101
    quantity = units_at_risk(balance, sizing.risk_percentage, atr * sizing.atr_multiplier)
    return _limited(quantity, sizing, balance=balance, price_open=price_open)


class Constant:
    """Milestones on the way from the entry to the target or to the stop, in percent of that way.

    A convention to close a position in parts: a third at each target level, a half at each stop level. The level of a
    milestone event (10, 20 … 100) can be compared with them.

    Examples
    --------
    >>> Constant.TP_LEVEL1, Constant.TP_LEVEL2, Constant.TP_LEVEL3, Constant.SL_LEVEL1, Constant.SL_LEVEL2
    (30, 60, 90, 40, 80)
    """

    TP_LEVEL1: Final = 30
    TP_LEVEL2: Final = 60
    TP_LEVEL3: Final = 90
    SL_LEVEL1: Final = 40
    SL_LEVEL2: Final = 80
