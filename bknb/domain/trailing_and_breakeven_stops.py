"""The stop of a position that is in force: declared or moved, trailing, or at break-even. The tightest holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from ..config import Settings
from .declared_exits import Breakeven, Target, Trailing
from .pnl import breakeven_price
from .position_book import PositionBook, PositionOrder
from .profit_of_partial_closes import average_price
from .signal import OpenSignal, Position, sign_of
from .signal_events import CloseReason, Moved
from .tick_grid import round_down, round_up

Begun: TypeAlias = Literal["trailing_stop", "breakeven"]


class StopInForce(NamedTuple):
    """A stop (quote currency), and the close reason of who set it."""

    price: float
    reason: CloseReason


def level_at(signal: OpenSignal, after: float) -> float:
    """The price at which a position has made a gross move of ``after`` percent of the size of its first fill.

    Examples
    --------
    >>> row = OpenSignal(id="a", symbol="B", strategy="s", exchange="e", position="short", price_open=100.0,
    ...     price_take_profit=None, price_stop_loss=None, minute_estimated_time=None, note="", scheduled_at=0,
    ...     pending_at=0)
    >>> level_at(row, 2.0)
    98.0
    """
    return _apart(signal.price_open, sign_of(signal.position) * after)


def _apart(price: float, percent: float) -> float:
    """The price that lies above another one by a percentage of its size (below 0: below it)."""
    return price * (1 + percent / 100) if price > 0 else price * (1 - percent / 100)


def trail_level(trailing: Trailing, sign: int, best: float, tick: float | None) -> float:
    """Where a trailing stop lies when the best price was ``best`` (quote currency), away from the market on the grid.

    Its percentage is of the size of that price, so that it lies behind it below zero, too.

    Examples
    --------
    >>> trail_level(Trailing(percent=1.0), 1, 200.0, None), trail_level(Trailing(distance=0.75), -1, 100.0, 0.5)
    (198.0, 101.0)
    >>> trail_level(Trailing(percent=10.0), -1, -20.0, None)
    -18.0
    """
    if trailing.percent is not None:
        return stop_on_grid(_apart(best, -sign * trailing.percent), sign, tick)
    assert trailing.distance is not None  # one of them was given  # noqa: S101
    return stop_on_grid(best - sign * trailing.distance, sign, tick)


def stop_on_grid(level: float, sign: int, tick: float | None) -> float:
    """A stop (or the limit of an add) on the tick grid, away from the market: down for a long, up for a short."""
    if tick is None:
        return level
    return round_down(level, tick) if sign > 0 else round_up(level, tick)


def percent_stop(percent: float, sign: int, average: float, tick: float | None) -> float:
    """The stop that lies so many percent of its size from the average price of all entries (quote currency).

    Examples
    --------
    >>> percent_stop(5.0, 1, 200.0, None), percent_stop(5.0, -1, 200.0, None)
    (190.0, 210.0)
    """
    return stop_on_grid(_apart(average, -sign * percent), sign, tick)


def percent_targets(targets: Iterable[Target], sign: int, average: float, tick: float | None) -> tuple[Target, ...]:
    """Targets whose prices are percent from the average price of all entries, as prices (quote currency).

    Examples
    --------
    >>> percent_targets([Target(5.0, 0.5)], -1, 200.0, None)
    (Target(price=190.0, share=0.5),)
    """
    return tuple(
        Target(target_on_grid(_apart(average, sign * target.price), sign, tick), target.share) for target in targets
    )


def target_on_grid(level: float, sign: int, tick: float | None) -> float:
    """A target on the tick grid, away from the market: up for a long, down for a short."""
    if tick is None:
        return level
    return round_up(level, tick) if sign > 0 else round_down(level, tick)


def has_percents(signal: OpenSignal, book: PositionBook) -> bool:
    """Whether a level of a position is percent from the average price of all entries."""
    return bool(signal.stop_percent is not None or signal.percent_targets or book.stop_percent or book.target_percent)


def with_percent_levels(
    signal: OpenSignal, before: PositionBook, book: PositionBook, *, tick: float | None
) -> PositionBook:
    """A book after an add, with its percent levels from the average price of all entries now.

    Those that were not where the average price ``before`` put them stay: they were moved otherwise.
    """
    sign, was, now = sign_of(signal.position), average_price(before.fills), average_price(book.fills)
    percent = book.stop_percent or signal.stop_percent
    if percent is not None and before.stop == percent_stop(percent, sign, was, tick):
        book = msgspec.structs.replace(book, stop=percent_stop(percent, sign, now, tick))
    percents = (book.target_percent or signal.percent_targets)[-len(before.targets) :] if before.targets else ()
    if percents and before.targets == percent_targets(percents, sign, was, tick):
        book = msgspec.structs.replace(book, targets=percent_targets(percents, sign, now, tick))
    return book


def stop_in_force(book: PositionBook, sign: int, best: float, tick: float | None) -> StopInForce | None:
    """The tightest stop of a position whose best price so far is ``best``; of equal ones that set earlier.

    Examples
    --------
    >>> from bknb.domain.position_book import PositionBook
    >>> book = PositionBook(fills=(), left=1.0, stop=95.0, targets=(), deadline=None, phase_high=1.0, phase_low=1.0,
    ...     trailing=Trailing(percent=2.0), trails=True)
    >>> stop_in_force(book, 1, 100.0, None)
    StopInForce(price=98.0, reason='trailing_stop')
    """
    found = None if book.stop is None else StopInForce(book.stop, book.stop_reason)
    trail = trail_reached(book, sign, best, tick)
    later: list[tuple[float | None, CloseReason]] = [(book.breakeven_stop, "breakeven"), (trail, "trailing_stop")]
    for level, reason in reversed(later) if book.trail_first else later:
        if level is not None and (found is None or sign * (level - found.price) > 0):
            found = StopInForce(level, reason)
    return found


def with_tighter_stop(book: PositionBook, stop: float, sign: int, best: float, tick: float | None) -> PositionBook:
    """A book with a stop (quote currency) where it is tighter than the one in force."""
    before = stop_in_force(book, sign, best, tick)
    if before is not None and sign * (stop - before.price) <= 0:
        return book
    return msgspec.structs.replace(book, stop=stop, stop_reason="stop_loss")


def with_levels_behind(
    signal: OpenSignal,
    before: PositionBook,
    book: PositionBook,
    adds: Iterable[PositionOrder],
    best: float,
    tick: float | None,
) -> PositionBook:
    """A book behind adds that have filled since it was ``before``, with the levels that they move.

    Those that are percent from the average price follow it; then the stop is that of an add, where it is tighter than
    the one in force. ``best`` is the best price so far (quote currency).
    """
    if has_percents(signal, before):
        book = with_percent_levels(signal, before, book, tick=tick)
    for add in adds:
        if not isinstance(add.stop, msgspec.UnsetType):
            book = with_tighter_stop(book, add.stop, sign_of(signal.position), best, tick)
    return book


def stop_or_liquidation(book: PositionBook, sign: int, best: float, tick: float | None) -> StopInForce | None:
    """The stop in force, or the liquidation by the account where that is nearer; at one price the stop.

    Examples
    --------
    >>> from bknb.domain.position_book import PositionBook
    >>> book = PositionBook(fills=(), left=1.0, stop=95.0, targets=(), deadline=None, phase_high=1.0, phase_low=1.0,
    ...     liquidation=97.0)
    >>> stop_or_liquidation(book, 1, 100.0, None)
    StopInForce(price=97.0, reason='liquidation')
    """
    found = stop_in_force(book, sign, best, tick)
    level = book.liquidation
    if isinstance(level, msgspec.UnsetType) or (found is not None and sign * (level - found.price) <= 0):
        return found
    return StopInForce(level, "liquidation")


def trail_reached(book: PositionBook, sign: int, best: float, tick: float | None) -> float | None:
    """The tightest level that trailing stops have reached, those that are no more included (quote currency)."""
    if book.trailing is None or not book.trails:
        return book.trail_stop
    level = trail_level(book.trailing, sign, best, tick)
    return level if book.trail_stop is None or sign * (level - book.trail_stop) > 0 else book.trail_stop


class Costs(NamedTuple):
    """Costs per side, in percent."""

    slippage: float
    fee: float


def costs_of(settings: Settings) -> Costs:
    """The costs of a run."""
    return Costs(settings.percent_slippage, settings.percent_fee)


def after_progress(
    signal: OpenSignal, book: PositionBook, best: float, *, tick: float | None, costs: Costs
) -> tuple[PositionBook, tuple[Begun, ...]]:
    """The book once the best price of finished candles is ``best``, and which declared exits began with it."""
    began: list[Begun] = []
    sign = sign_of(signal.position)
    if book.breakeven is not None and sign * (best - level_at(signal, book.breakeven.after)) >= 0:
        level = breakeven_level(signal.position, book, book.breakeven, sign, tick=tick, costs=costs)
        before = stop_in_force(book, sign, best, tick)
        book = msgspec.structs.replace(book, breakeven=None)
        if book.breakeven_stop is None or sign * (level - book.breakeven_stop) > 0:
            trail = trail_reached(book, sign, best, tick)
            earlier = trail is not None and sign * (trail - level) >= 0
            book = msgspec.structs.replace(book, breakeven_stop=level, trail_first=earlier)
        if before is None or sign * (level - before.price) > 0:
            began.append("breakeven")
    if book.trailing is not None and not book.trails and sign * (best - level_at(signal, book.trailing.after)) >= 0:
        book = msgspec.structs.replace(book, trails=True)
        began.append("trailing_stop")
    return book, tuple(began)


def breakeven_level(
    position: Position, book: PositionBook, breakeven: Breakeven, sign: int, *, tick: float | None, costs: Costs
) -> float:
    """Where a break-even stop moves to now (quote currency)."""
    entry = average_price(book.fills)
    if breakeven.plus == "costs":
        entry = breakeven_price(position, entry, costs.slippage, costs.fee)
    return stop_on_grid(entry, sign, tick)


def moved_events(
    labels: dict[str, Any],
    when: int,
    price: float,
    signal: OpenSignal,
    book: PositionBook,
    best: float,
    reasons: tuple[Literal["strategy", "manual"] | Begun, ...],
    *,
    tick: float | None,
) -> tuple[Moved, ...]:
    """One event for each reason why the levels are those of the book now."""
    stop = stop_in_force(book, sign_of(signal.position), best, tick) if reasons else None
    return tuple(
        Moved(
            **labels,
            when=when,
            price=price,
            signal=signal,
            reason=reason,
            price_stop_loss=None if stop is None else stop.price,
            stop_reason="stop_loss" if stop is None else stop.reason,
            targets=book.targets,
            deadline=book.ends_at,
            trailing=book.trailing if book.trails else None,
        )
        for reason in reasons
    )
