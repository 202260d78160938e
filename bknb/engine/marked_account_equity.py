"""An account in money marked at moments: what its ledgers are worth at the prices of each, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from ..domain.funding_charged_and_fills_booked import Ledger

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Times: TypeAlias = NDArray[np.int64]
    Floats: TypeAlias = NDArray[np.float64]
    Flags: TypeAlias = NDArray[np.bool_]


class LegCloses(NamedTuple):
    """When the base bars of a leg close (UTC ms, ascending) and at which prices; both of shape (n,)."""

    closed_ms: Times
    close: Floats


class Moments(NamedTuple):
    """Moments of marks (UTC ms, ascending), and whether a bar closed at each; both of shape (m,)."""

    time_ms: Times
    bar_closed: Flags


def moments_of(legs: Iterable[LegCloses], changes: Iterable[int], *, start: int, end: int) -> Moments:
    """The start, the close of every bar, every change of the account, and the end.

    Parameters
    ----------
    legs
        The bars of each leg.
    changes
        When the account changed, UTC ms.
    start, end
        First and last moment, UTC ms.
    """
    different = {id(leg.closed_ms): leg.closed_ms for leg in legs}.values()  # legs mostly have the same
    closes = _joined([each[slice(*each.searchsorted((start, end), side="right"))] for each in different])
    booked = sorted(min(change, end) for change in changes)
    extra = np.array([start, *(each for each in booked if each > start), end], dtype=np.int64)
    times = _joined([closes, extra])
    closed = np.zeros(len(times), dtype=np.bool_)
    closed[np.searchsorted(times, closes)] = True
    return Moments(times, closed)


def _joined(ascending: Sequence[Times]) -> Times:
    """The different moments of ascending ones, ascending; legs mostly have the same."""
    first, *others = ascending
    more = [each for each in others if not np.array_equal(each, first)]
    every = np.sort(np.concatenate([first, *more]), kind="stable")  # merges what is sorted already
    different: Times = every[np.append(True, every[1:] != every[:-1])[: len(every)]]
    return different


def marked_money(
    begin: Ledger, changes: Sequence[tuple[int, Ledger]], legs: Mapping[str, LegCloses], times: Times
) -> Floats:
    """What an account is worth at moments, in quote currency; shape (m,).

    Parameters
    ----------
    begin
        The account before the first change.
    changes
        The account from moments (UTC ms) on, in order; what changes behind the last mark is in that one.
    legs
        The bars of each leg by its name in the ledgers.
    times
        The moments, UTC ms, ascending; shape (m,).
    """
    ledgers, lengths = _in_force(begin, changes, times)
    owns = all(begin.account_of(name).owns for name in legs)  # then its cash is what does not depend on prices
    constant = [each.cash if owns else each.equity_terms().constant for each in ledgers]
    worth: Floats = np.repeat(np.array(constant), lengths)
    for held, bars in _held(ledgers, _parts(begin, legs)):
        worth += np.repeat(held, lengths) * prices_at(bars, times)
    return worth


def marked_exposure(
    begin: Ledger, changes: Sequence[tuple[int, Ledger]], legs: Mapping[str, LegCloses], times: Times
) -> tuple[Floats, Floats]:
    """What the longs and the shorts of an account are worth at moments, in quote currency; both of shape (m,).

    Shorts are below 0. Legs are not netted: a long and a short of one symbol count each. Parameters as of
    :func:`marked_money`.
    """
    ledgers, lengths = _in_force(begin, changes, times)
    longs, shorts = np.zeros(len(times)), np.zeros(len(times))
    for held, bars in _held(ledgers, _parts(begin, legs)):
        prices, long, short = prices_at(bars, times), np.maximum(held, 0.0), np.minimum(held, 0.0)
        if long.any():  # by what is held: a price may be below 0
            longs += np.repeat(long, lengths) * prices
        if short.any():
            shorts += np.repeat(short, lengths) * prices
    return longs, shorts


def _parts(begin: Ledger, legs: Mapping[str, LegCloses]) -> Iterator[tuple[str, LegCloses]]:
    """The names under which legs hold positions, each with the bars of its leg."""
    return ((part, bars) for name, bars in legs.items() for part in begin.parts_of(name))


def _in_force(
    begin: Ledger, changes: Sequence[tuple[int, Ledger]], times: Times
) -> tuple[list[Ledger], NDArray[np.int64]]:
    """The ledgers of an account, in order, and at how many of the moments each is in force."""
    since = np.array([moment for moment, _ in changes], dtype=np.int64)
    bounds = np.searchsorted(times, np.minimum(np.maximum.accumulate(since), times[-1]))
    return [begin, *(ledger for _, ledger in changes)], np.diff(bounds, prepend=0, append=len(times))


def _held(ledgers: Sequence[Ledger], parts: Iterable[tuple[str, LegCloses]]) -> Iterator[tuple[Floats, LegCloses]]:
    """What is held under each name in each ledger, below 0 for a short, of shape (n,), with the bars of its leg.

    Names under which nothing is held are left out.
    """
    held: dict[str, list[float]] = {}
    for number, ledger in enumerate(ledgers):
        for name, position in ledger.positions.items():
            if name not in held:
                held[name] = [0.0] * len(ledgers)
            held[name][number] = position.quantity
    for name, bars in parts:
        if name in held:
            yield np.array(held[name]), bars


def held_ms(begin: Ledger, changes: Sequence[tuple[int, Ledger]], start: int, end: int) -> int:
    """How long (ms) an account held something between two moments (UTC ms); ``begin, changes`` as of marks."""
    since = [start, *(min(max(moment, start), end) for moment, _ in changes), end]
    ledgers = [begin, *(ledger for _, ledger in changes)]
    spans = zip(ledgers, since[:-1], since[1:], strict=True)
    return sum(max(last - first, 0) for ledger, first, last in spans if ledger.positions)


def stale_marks(
    begin: Ledger,
    changes: Sequence[tuple[int, Ledger]],
    legs: Mapping[str, LegCloses],
    times: Times,
    bar_ms: Mapping[str, int],
) -> dict[str, int]:
    """At how many moments each leg was held whose newest bar had closed the length of one before, or earlier.

    Then it is worth its last close. ``bar_ms`` are the lengths of the bars of each leg; parameters else as of
    :func:`marked_money`.
    """
    counts = dict.fromkeys(legs, 0)
    late: dict[str, Flags] = {}
    for name, bars in legs.items():
        if len(bars.closed_ms) and not _are_closes(bars, times):
            at = np.searchsorted(bars.closed_ms, times, side="right") - 1
            old = (at >= 0) & (times - bars.closed_ms[np.maximum(at, 0)] >= bar_ms[name])
            if old.any():
                late[name] = old
    if late:
        ledgers, lengths = _in_force(begin, changes, times)
        for name, old in late.items():
            parts = begin.parts_of(name)
            held = np.array([any(part in each.positions for part in parts) for each in ledgers])
            counts[name] = int((np.repeat(held, lengths) & old).sum())
    return counts


def _are_closes(bars: LegCloses, times: Times) -> bool:
    """Whether moments are one before the first close of a leg, and its closes from that on."""
    behind = len(times) - 1
    return behind > 0 and bool(times[0] < bars.closed_ms[0]) and np.array_equal(times[1:], bars.closed_ms[:behind])


def prices_at(bars: LegCloses, times: Times) -> Floats:
    """The last close of a leg at each moment (UTC ms); before the first one, that one; shape (m,)."""
    if _are_closes(bars, times):  # as is usual
        return np.concatenate((bars.close[:1], bars.close[: len(times) - 1]))
    at = np.searchsorted(bars.closed_ms, times, side="right") - 1
    prices: Floats = bars.close[np.maximum(at, 0)]
    return prices
