"""What an order comes to on the prints themselves, one after the other: the truth behind the candles.

A limit and a target fill when a print lies beyond them, a stop and a stop entry when one reaches them, all at their
level, or at the first print of a minute when that lies beyond already. What the clock ends leaves at the next first
print.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from law_rules import Wishes
from numpy.typing import NDArray
from scenarios import MINUTE
from tick_paths import Path

AWAIT_MINUTES = 120
_LATE = 2**62


class Position(NamedTuple):
    """One position on the prints; times are open times of its minutes (UTC ms), prices ticks.

    ``worth`` is what it brings at the fair prices of the very prints that filled it. A resting limit and a target are
    worth a tick more than they pay, since the market had to go through them.
    """

    side: int
    entry: float
    exit: float
    opened_at: int
    closed_at: int
    reason: str
    within_a_minute: bool  # it went in at its level and out in the same minute
    worth: float


class Truth:
    """The prints of a path, looked at order by order; what one order comes to is kept, since many rules give it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._times = path.times.tolist()
        self._known: dict[tuple[object, ...], Position | None] = {}
        self._high, self._low = path.high.tolist(), path.low.tolist()
        self._traded = [len(ticks) > 0 for ticks in path.prints]
        self._last = path.frame[1]

    def positions(
        self, wanted: Wishes, whens: NDArray[np.int64], await_minutes: int = AWAIT_MINUTES
    ) -> list[Position | None]:
        """What the orders that were decided at these moments (UTC ms) come to; ``None``: nothing."""
        rows = np.searchsorted(self.path.times, whens - MINUTE)
        assert (self.path.times[rows] == whens - MINUTE).all()
        found: list[Position | None] = []
        for row, side, level, target, stop in zip(rows.tolist(), *wanted.columns(rows), strict=True):
            limit = None if wanted.entry == "market" else level  # of a market order it is NaN, which equals nothing
            order = (row, side, limit, target, stop, wanted.entry, wanted.minutes, await_minutes)
            if order not in self._known:
                self._known[order] = self._position(row, side, level, target, stop, wanted, await_minutes)
            found.append(self._known[order])
        return found

    def _position(
        self, row: int, side: int, level: float, target: float, stop: float, wanted: Wishes, await_minutes: int
    ) -> Position | None:
        patience = 2**40 if wanted.entry == "market" else await_minutes * MINUTE
        due = min(self._last, self._times[row] + MINUTE + patience)
        found = self._enter(row + 1, due, wanted.entry, side, level, stop)
        if found is None:
            return None
        at, tick, entry, at_open = found
        opened = self._times[at]
        if at_open and (side * (entry - stop) <= 0 or side * (target - entry) <= 0):
            reason = "stop_loss" if side * (entry - stop) <= 0 else "take_profit"
            return Position(side, entry, entry, opened, opened, reason, within_a_minute=False, worth=0.0)
        due = min(self._last, opened + wanted.minutes * MINUTE)
        exit_, end, reason, last = self._leave(at, tick + 1, due, side, target, stop)
        worth = side * (last - float(self.path.fair[at][tick]))
        within = not at_open and end == opened
        return Position(side, entry, exit_, opened, end, reason, within_a_minute=within, worth=worth)

    def _enter(
        self, at: int, due: int, kind: str, side: int, level: float, stop: float
    ) -> tuple[int, int, float, bool] | None:
        """Index of the minute, of the print in it, price, and whether it is the first print."""
        first = True
        for i in range(at, len(self._times)):
            if self._times[i] >= due:
                return None
            if not self._traded[i]:
                continue
            ticks = self.path.prints[i]
            opened = int(ticks[0])
            beyond = side * (opened - level)
            if kind == "market":
                return i, 0, opened, True
            if kind == "limit":
                if beyond < 0 or (first and beyond == 0):
                    return i, 0, opened, True
                hit = _first(side * (ticks - level) < 0) if self._reaches(i, -side, level) else _LATE
                if hit < _LATE:
                    return i, hit, level, False
            else:
                if beyond > 0 or (first and beyond == 0):
                    return i, 0, opened, True
                hit = _first(side * (ticks - level) >= 0) if self._reaches(i, side, level) else _LATE
                gone = _first(side * (ticks - stop) <= 0) if self._reaches(i, -side, stop) else _LATE
                if gone < hit:
                    return None
                if hit < _LATE:
                    return i, hit, level, False
            first = False
        return None

    def _leave(
        self, at: int, tick: int, due: int, side: int, target: float, stop: float
    ) -> tuple[float, int, str, float]:
        """Price, minute and reason, and what the print that made it is worth."""
        for i in range(at, len(self._times)):
            if not self._traded[i]:
                continue
            ticks = self.path.prints[i]
            if self._times[i] >= due:
                reason = "frame_end" if due == self._last else "time_expired"
                return float(ticks[0]), self._times[i], reason, float(self.path.fair[i][0])
            if not (self._reaches(i, side, target) or self._reaches(i, -side, stop)):
                continue
            start = tick if i == at else 0
            rest = ticks[start:]
            won, lost = _first(side * (rest - target) > 0), _first(side * (rest - stop) <= 0)
            hit = min(won, lost)
            if hit < _LATE:
                level, reason = (stop, "stop_loss") if lost < won else (target, "take_profit")
                price = float(rest[hit]) if hit + start == 0 else level
                return price, self._times[i], reason, float(self.path.fair[i][hit + start])
        close, end = float(self.path.close[-1]), self._times[-1]
        return close, end, "data_end", close

    def _reaches(self, i: int, side: int, level: float) -> bool:
        return self._high[i] >= level if side > 0 else self._low[i] <= level


def _first(found: np.ndarray) -> int:
    at = int(found.argmax()) if len(found) else 0
    return at if at < len(found) and found[at] else _LATE
