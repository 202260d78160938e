"""Stops and targets that are percent from the average price that was paid: checked, and as prices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ..config import Settings
from .declared_exits import Target, targets_of
from .exit_validation import is_finite_number, is_positive, read_ladder, sorted_ladder
from .pnl import net_percentage
from .signal import Position, Signal, entry_price, sign_of
from .signal_events import Reason
from .signal_validation import broken_stop_distance, eaten_by_costs, target_too_near
from .text import shown
from .trailing_and_breakeven_stops import percent_stop, percent_targets

if TYPE_CHECKING:
    from .manage_answers import Move
    from .position_book import PositionBook


class PercentMove(NamedTuple):
    """A move whose percent levels are prices (quote currency), with what they were: percent, and its targets so."""

    move: Move
    stop: float | None
    targets: tuple[Target, ...]

    def noted(self, book: PositionBook) -> PositionBook:
        """The book that knows where the levels are in percent that this move has put there."""
        if self.targets:
            book = msgspec.structs.replace(book, target_percent=self.targets)
        if self.stop is not None and book.stop == self.move.price_stop_loss:
            book = msgspec.structs.replace(book, stop_percent=self.stop)
        return book


def broken_percents(signal: Signal, *, price: float, settings: Settings) -> list[Reason]:
    """What is wrong with the percent levels of a signal, whose ladder was read, at the average ``price``.

    Distances count from whatever is paid, so that they are judged as they are.
    """
    position: Position = "short" if signal.position == "short" else "long"
    level = entry_price(signal)
    entry = price if level is None else level
    above = is_finite_number(entry) and entry > 0  # from other prices no distance is a percentage of the settings
    found: list[Reason] = []
    for name, other in (("stop_percent", "price_stop_loss"), ("target_percent", "price_take_profit")):
        if getattr(signal, name) is not None and getattr(signal, other) is not None:
            found.append(Reason(name, f"a signal has {other} and {name}; give one of them"))
        elif is_finite_number(entry) and entry == 0 and getattr(signal, name) is not None:
            found.append(Reason(name, f"{name} of an entry at 0 is no distance; give {other}"))
    if signal.stop_percent is not None:
        found += _broken_stop(signal.stop_percent, position, settings if above else None)
    target = signal.target_percent
    if target is not None:
        percents = [percent for percent, _ in target] if isinstance(target, tuple) else [target]
        for percent in percents:
            found += _broken_target(percent, position, settings if above else None)
    first = {reason.code: reason for reason in reversed(found)}
    return [reason for reason in found if first[reason.code] is reason]


def percent_fault(name: str, percent: object, position: Position) -> Reason | None:
    """Why a number is no distance of a level of a position in percent; ``None``: it is one.

    Examples
    --------
    >>> percent_fault("stop_percent", 100, "long").text
    'stop_percent of a long must be a number above 0 and below 100, such as 2 for 2 % below what was paid; got 100'
    """
    falls = (position == "long") == (name == "stop_percent")
    if is_positive(percent) and (not falls or percent < 100):  # type: ignore[operator]  # it is a number
        return None
    most = " and below 100" if falls else ""
    side = "below" if falls else "above"
    text = f"{name} of a {position} must be a number above 0{most}, such as 2 for 2 % {side} what was paid"
    return Reason(name, f"{text}; got {shown(percent, 80)}")


def percent_move(move: Move, position: Position, average: float, tick: float | None) -> PercentMove | list[Reason]:
    """A move with its percent levels as prices from the average price of all entries, or what is wrong with them."""
    sign, found, levels = sign_of(position), list[Reason](), dict[str, Any]()
    stop: Any = None if move.stop_percent is msgspec.UNSET else move.stop_percent
    target: Any = None if move.target_percent is msgspec.UNSET else move.target_percent
    targets: tuple[Target, ...] = ()
    for name, given, other in (
        ("stop_percent", stop, move.price_stop_loss),
        ("target_percent", target, move.price_take_profit),
    ):
        if given is not None and other is not msgspec.UNSET:
            price = "price_stop_loss" if name == "stop_percent" else "price_take_profit"
            found.append(Reason(name, f"a move has {price} and {name}; give one of them"))
    if stop is not None:
        if (fault := percent_fault("stop_percent", stop, position)) is not None:
            found.append(fault)
        else:
            levels["price_stop_loss"] = percent_stop(stop, sign, average, tick)
    if target is not None:
        ladder = read_ladder(target, "target_percent") if isinstance(target, list | tuple | Mapping) else target
        if isinstance(ladder, Reason):
            return [*found, ladder]
        percents = [percent for percent, _ in ladder] if isinstance(ladder, tuple) else [ladder]
        faults = [fault for each in percents if (fault := percent_fault("target_percent", each, position))]
        if faults:
            return [*found, faults[0]]
        targets = targets_of(sorted_ladder(ladder, 1) if isinstance(ladder, tuple) else float(ladder))
        prices = percent_targets(targets, sign, average, tick)
        whole = len(prices) == 1 and prices[0].share is None
        levels["price_take_profit"] = prices[0].price if whole else tuple((each.price, each.share) for each in prices)
    if found:
        return found
    given_as_prices = msgspec.structs.replace(move, stop_percent=msgspec.UNSET, target_percent=msgspec.UNSET, **levels)
    return PercentMove(given_as_prices, stop, targets)


def _broken_stop(percent: object, position: Position, settings: Settings | None) -> list[Reason]:
    if (fault := percent_fault("stop_percent", percent, position)) is not None:
        return [fault]
    assert isinstance(percent, int | float)  # it is a distance  # noqa: S101
    if settings is None:
        return []
    return broken_stop_distance(percent, "stop_percent is {:g}", settings)


def _broken_target(percent: object, position: Position, settings: Settings | None) -> list[Reason]:
    if (fault := percent_fault("target_percent", percent, position)) is not None:
        return [fault]
    assert isinstance(percent, int | float)  # it is a distance  # noqa: S101
    if settings is None:
        return []
    found: list[Reason] = []
    if percent < settings.min_take_profit_distance_percent:
        found.append(target_too_near(f"target_percent is {percent:g}", settings))
    away = 100 + percent if position == "long" else 100 - percent
    net = net_percentage(position, 100.0, away, settings.percent_slippage, settings.percent_fee)
    if net <= 0:
        found.append(eaten_by_costs(f"{net:.3f} %", settings, "target_percent"))
    return found
