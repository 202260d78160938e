"""The minutes an exchange has pushed of one symbol, and what its answers say of them.

Nothing here depends on the order in which updates come: doubles, and old updates behind newer ones, change nothing. A
minute is taken as closed when the exchange said so, and only if no update contradicts that: another closing update with
other values, a higher high, a lower low, more volume, another open, or values that cannot be a candle. Whatever an
answer to a request says of a minute counts, not what was pushed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ..domain.formatting import utc_text
from ..domain.interval import MINUTE_MS
from .candles import COLUMNS, Candles

HELD: Final = 60  # minutes that are remembered
_AGREEMENTS_AFTER_A_DIFFERENCE: Final = 60
_MISSES: Final = 3

Row = tuple[float, float, float, float, float]
"""Open, high, low, close (quote currency) and volume (base currency)."""


class Difference(NamedTuple):
    """A minute that was pushed with other values than those of an answer; ``None``: the answer goes on without it."""

    time: int
    pushed: Row
    answer: Row | None

    def __str__(self) -> str:
        answer = "nothing" if self.answer is None else _text(self.answer)
        return f"{utc_text(self.time)}: pushed {_text(self.pushed)}, answered {answer}"


@dataclass(slots=True)
class _Updates:
    """What was pushed of one minute; order makes no difference."""

    open: float
    high: float
    low: float
    volume: float
    final: Row | None = None
    contradicts: bool = False

    def add(self, row: Row, *, closed: bool) -> None:
        open_, high, low, close, volume = row
        possible = all(map(math.isfinite, row)) and low <= min(open_, close) and high >= max(open_, close)
        if not possible or volume < 0 or open_ != self.open:
            self.contradicts = True
            return
        self.high, self.low = max(self.high, high), min(self.low, low)
        self.volume = max(self.volume, volume)
        if closed:
            self.contradicts |= self.final not in (None, row)
            self.final = row

    @property
    def closed(self) -> Row | None:
        final = self.final
        if final is None or self.contradicts:
            return None
        return final if (final[1], final[2], final[4]) == (self.high, self.low, self.volume) else None


class PushedMinutes:
    """What was pushed of one symbol in the last minutes, and what was answered.

    Attributes
    ----------
    heard : bool
        Whether updates come: one has since the connection was made, and of the last three minutes one has closed in
        time.
    compared, differed : int
        Minutes of which an answer was compared with what was pushed, and those in which they differ.
    differences : list of Difference
        Those that were not told yet, the oldest first.

    Examples
    --------
    >>> minutes = PushedMinutes()
    >>> minutes.push(0, (1.0, 2.0, 0.5, 1.5, 10.0), closed=True)
    >>> minutes.settled(0), minutes.believed
    (True, False)
    >>> minutes.answered(Candles.from_rows([(0, 1.0, 2.0, 0.5, 1.5, 10.0)]), 0, 60_000)
    >>> minutes.push(60_000, (1.5, 1.5, 1.5, 1.5, 1.0), closed=True)
    >>> minutes.believed, minutes.give(0, 120_000, with_pushed=True)
    (True, Candles(2, 1970-01-01T00:00 .. 1970-01-01T00:01 UTC))
    """

    def __init__(self) -> None:
        self.heard = False
        self.compared = self.differed = 0
        self.differences: list[Difference] = []
        self._pushed: dict[int, _Updates] = {}
        self._answered: dict[int, Row] = {}
        self._absent: set[int] = set()  # an answer had later minutes, and not these
        self._given: dict[int, Row] = {}  # before they were answered
        self._compared: set[int] = set()
        self._agreements, self._needed = 0, 1
        self._missed: set[int] = set()  # in a row

    # --- what comes ---------------------------------------------------------------------------------------------

    def push(self, time: int, row: Row, *, closed: bool) -> None:
        """Add an update of the minute that opens at ``time`` (UTC ms)."""
        if time % MINUTE_MS:
            return
        self.heard = True
        self._missed.clear()
        updates = self._pushed.get(time)
        if updates is None:
            self._pushed[time] = updates = _Updates(row[0], row[1], row[2], row[4])
            _forget(self._pushed)
        updates.add(row, closed=closed)
        self._compare(time)

    def missed(self, time: int) -> None:
        """A minute did not close in time; after three in a row none is waited for until an update comes."""
        self._missed.add(time)
        self.heard = self.heard and len(self._missed) < _MISSES

    def interrupted(self) -> None:
        """The connection is gone: what is pushed is believed again after one minute that an answer confirms."""
        self.heard, self._agreements = False, 0

    def answered(self, answer: Candles, first: int, end: int) -> None:
        """Note an answer for the closed minutes in ``[first, end)`` (UTC ms)."""
        rows: dict[int, Row | None] = {}
        for time, row in _rows(answer):
            rows[time] = row if rows.get(time, row) == row else None  # the answer contradicts itself
        newest = max(rows, default=first)
        for time in range(first, end, MINUTE_MS):
            answered = rows.get(time)
            if answered is not None:
                self._answered[time] = answered
                self._absent.discard(time)
                self._compare(time)
            elif time < newest and time not in rows and time not in self._answered:
                self._absent.add(time)
                if time in self._given:
                    self._tell(time, self._given[time], None)
        _forget(self._answered)
        self._absent = set(sorted(self._absent)[-HELD:])

    def _compare(self, time: int) -> None:
        pushed = self._given.get(time) or self._closed(time)
        answer = self._answered.get(time)
        if pushed is None or answer is None or time in self._compared:
            return
        if pushed != answer:
            self._tell(time, pushed, answer)
            return
        self._count(time)
        self._agreements += 1
        if self._agreements >= self._needed:
            self._needed = 1

    def _tell(self, time: int, pushed: Row, answer: Row | None) -> None:
        if time not in self._compared:
            self._count(time)
            self.differed += 1
            self.differences.append(Difference(time, pushed, answer))
            self._agreements, self._needed = 0, _AGREEMENTS_AFTER_A_DIFFERENCE

    def _count(self, time: int) -> None:
        self.compared += 1
        self._compared = {*sorted(self._compared)[-HELD:], time}

    # --- what is known ------------------------------------------------------------------------------------------

    @property
    def believed(self) -> bool:
        """Whether enough answers in a row agree with what was pushed: one, and sixty after one that differs."""
        return self._agreements >= self._needed

    def settled(self, time: int) -> bool:
        """Whether it makes no sense to wait for the minute that opens at ``time`` (UTC ms): it has closed, or cannot.

        It cannot where updates contradict each other, and where none come at all.
        """
        updates = self._pushed.get(time)
        if updates is not None and (updates.contradicts or updates.final is not None):
            return True
        return not self.heard or time in self._answered

    def has(self, time: int) -> bool:
        """Whether a minute (open time, UTC ms) was pushed as closed, and nothing contradicts it."""
        return self._closed(time) is not None

    def agrees(self, answer: Candles, time: int) -> bool:
        """Whether an answer has what was pushed of a minute (open time, UTC ms), as far as that is known."""
        pushed = self._closed(time)
        return pushed is None or pushed in [row for opened, row in _rows(answer) if opened == time]

    def give(self, first: int, end: int, *, with_pushed: bool) -> Candles | None:
        """The minutes in ``[first, end)`` (UTC ms); ``None`` where one has to be asked for.

        ``with_pushed``: those that were only pushed count, if what is pushed is believed.
        """
        times = range(first, end, MINUTE_MS)
        rows = [self._answered.get(time) or (self._to_give(time) if with_pushed else None) for time in times]
        if None in rows:
            return None
        for time, row in zip(times, rows, strict=True):
            if row is not None and time not in self._answered:
                self._given[time] = row
        _forget(self._given)
        return Candles.from_rows([(time, *row) for time, row in zip(times, rows, strict=True) if row is not None])

    def _to_give(self, time: int) -> Row | None:
        return None if not self.believed or time in self._absent else self._given.get(time) or self._closed(time)

    def first_to_ask(self, first: int, end: int) -> int:
        """From where on minutes before ``end`` are asked for, UTC ms: ``first``, or the oldest not answered yet."""
        oldest = end - HELD * MINUTE_MS
        return min([first, *(time for time in self._given if oldest <= time < first and time not in self._answered)])

    def _closed(self, time: int) -> Row | None:
        updates = self._pushed.get(time)
        return None if updates is None else updates.closed


def is_turn(place: int, count: int, at_once: int, minute: int) -> bool:
    """Whether a symbol is asked for in a minute (open time, UTC ms), where only ``at_once`` can be: they take turns.

    Parameters
    ----------
    place, count
        Which symbol it is, from 0, of how many.

    Examples
    --------
    >>> [is_turn(0, 3, 1, minute * 60_000) for minute in range(4)]
    [True, False, False, True]
    >>> is_turn(7, 20, 20, 0)
    True
    """
    rounds = max(1, -(-count // max(1, at_once)))
    return place % rounds == minute // MINUTE_MS % rounds


def _rows(candles: Candles) -> list[tuple[int, Row]]:
    columns = [getattr(candles, name).tolist() for name in COLUMNS]
    return [(int(time), tuple(row)) for time, *row in zip(*columns, strict=True)]


def _forget(minutes: dict[int, Row] | dict[int, _Updates]) -> None:
    for time in sorted(minutes)[:-HELD]:
        del minutes[time]


def _text(row: Sequence[float]) -> str:
    return " ".join(f"{value:.10g}" for value in row)
