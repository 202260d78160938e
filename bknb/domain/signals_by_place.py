"""The signals of an answer by place: which one each is for, and what is left out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from .signal import Signal
from .signal_events import Reason
from .text import shown, text_fault


class Refused(NamedTuple):
    """A signal that is for no place, and why."""

    signal: Signal
    reason: Reason


class SignalsByPlace(NamedTuple):
    """The signals for each place, in the order of the answer, those that are for none, and how many were left out."""

    places: dict[str, tuple[Signal, ...]]
    refused: tuple[Refused, ...] = ()
    left_out: int = 0


def signals_by_place(
    signals: Sequence[Signal], *, taken: Collection[str], leaving: Collection[str], ids: Collection[str], count: int
) -> SignalsByPlace:
    """The signals of an answer by place; those that name none share the first place that is free.

    Parameters
    ----------
    signals
        Those of one answer that could be read.
    taken
        The places in which something waits or is open.
    leaving
        Those in which a position leaves: they may have the next signal, and no other place may in their stead.
    ids
        The ids of the signals there: one of the user's own may not come again meanwhile.
    count
        How many places there are.

    Examples
    --------
    >>> grid = [Signal(position="long", place=name) for name in ("90", "80", "70")]
    >>> found = signals_by_place(grid, taken=["80"], leaving=(), ids=(), count=2)
    >>> list(found.places), found.left_out
    (['90'], 2)
    >>> list(signals_by_place([Signal(position="long")] * 2, taken=["1"], leaving=["2"], ids=(), count=2).places)
    ['2']
    """
    named: dict[str, list[Signal]] = {}
    refused: list[Refused] = []
    known, left_out, unnamed = set(ids), 0, None
    for signal in signals:
        reason = _place_fault(signal.place)
        if reason is not None:
            refused.append(Refused(signal, reason))
            continue
        place = signal.place
        if place is None:
            place = unnamed = unnamed or _first_free(taken, named)
        full = len({*taken, *leaving, *named}) >= count
        if place in taken or (full and place not in named and place not in leaving):
            left_out += 1
            continue
        if signal.id is not None and signal.id in known:
            text = f"the signal {shown(signal.id, 60)} is in another place already: an id of your own is for one"
            refused.append(Refused(signal, Reason("repeated", text)))
            continue
        if signal.id is not None:
            known.add(signal.id)
        named.setdefault(place, []).append(signal if signal.place == place else replace(signal, place=place))
    return SignalsByPlace({place: tuple(each) for place, each in named.items()}, tuple(refused), left_out)


def _place_fault(place: object) -> Reason | None:
    if place is None:
        return None
    if not isinstance(place, str) or not place.strip():
        return Reason("place", f"place must be a non-empty text such as '63000', or None; got {shown(place, 60)}")
    fault = text_fault(place)
    if fault is None and ("#" in place or "~" in place):
        fault = "# and ~ number the orders of a place in their ids; write another"
    return None if fault is None else Reason("place", f"place={shown(place, 60)} cannot name a place: {fault}")


def _first_free(taken: Collection[str], named: Collection[str]) -> str:
    """The lowest number that names a place in which nothing is."""
    number = 1
    while str(number) in taken or str(number) in named:
        number += 1
    return str(number)
