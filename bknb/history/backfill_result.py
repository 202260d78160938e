"""What came of a backfill, and what the answers of the exchange left open or got wrong, as sentences."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from ..domain.formatting import utc_text
from ..domain.ranges import Range
from ..market.candles import Candles
from .candle_store import Stored
from .covered_ranges import united
from .partition import SeriesName

SINCE_IGNORED: Final = "ended before the moment they were asked for: `since` was ignored"
LACKED_CANDLES: Final = "lacked candles they were asked for: `since` was ignored, or a part was lost"


class AnswerFaults:
    """The faults of the answers about one series.

    Examples
    --------
    >>> faults = AnswerFaults(SeriesName("mine", "BTCUSDT", "1m"))
    >>> faults.unusable(SINCE_IGNORED, 0)
    >>> "`since` was ignored" in faults.notes()[0]
    True
    """

    def __init__(self, series: SeriesName) -> None:
        self._series = series
        self._holes: list[str] = []
        self._unusable: dict[str, list[int]] = defaultdict(list)  # what was wrong with an answer -> questions
        self._others: set[int] = set()

    def out_of_reach(self, hole: Range) -> None:
        """Note a hole for which the exchange answers what comes after it."""
        self._holes.append(
            f"{self._what(hole)} is out of reach: asked for it, the exchange answered candles from its end on, and "
            "nothing proves that none were before: it keeps no more, ignores `since`, or began there; it stays missing"
        )

    def unknown(self, hole: Range) -> None:
        """Note a hole about which nothing is proven."""
        self._holes.append(
            f"{self._what(hole)} is not known: no candle came, and no two answers prove that there is none; it stays "
            "missing, and is asked for again next time"
        )

    def unusable(self, what: str, question: int) -> None:
        """Note an answer from which nothing is concluded, and the moment it was asked for (UTC ms)."""
        self._unusable[what].append(question)

    def compare(self, candles: Candles, before: Candles) -> None:
        """Note the candles that differ from those that were answered before for the same moments."""
        _, here, there = np.intersect1d(candles.timestamp, before.timestamp, assume_unique=True, return_indices=True)
        other = (candles.block[1:, here] != before.block[1:, there]).any(axis=0)
        self._others.update(candles.timestamp[here[other]].tolist())

    def notes(self) -> list[str]:
        """A sentence for each kind."""
        notes = list(self._holes)
        if self._others:
            several = "1 candle was" if len(self._others) == 1 else f"{len(self._others)} candles were"
            notes.append(
                f"{self._series}: {several} answered with other values than before, the first at "
                f"{utc_text(min(self._others))}; the values that came first are stored; again=True asks once more, and "
                "stores what comes then"
            )
        for what, questions in self._unusable.items():
            answers = "1 answer" if len(questions) == 1 else f"{len(questions)} answers"
            notes.append(
                f"{self._series}: {answers} {what}; nothing is concluded from that; the first was asked "
                f"for {utc_text(questions[0])}"
            )
        return notes

    def _what(self, hole: Range) -> str:
        return f"{self._series}: {utc_text(hole[0])} .. {utc_text(hole[1])}"


@dataclass(slots=True)
class BackfillResult:
    """Result of one backfill.

    Attributes
    ----------
    added : int
        New candles on disk.
    revised, late : list of int
        Open times (UTC ms); see :class:`bknb.history.candle_store.Stored`.
    pages : int
        Requests that were made.
    fresh : Candles
        Closed candles too young to be stored.
    notes : list of str
        What was repaired on the way, what could not be used, and what could not be proven.
    """

    added: int = 0
    revised: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    pages: int = 0
    fresh: Candles = field(default_factory=Candles.empty)
    notes: list[str] = field(default_factory=list)

    def count(self, stored: Stored) -> None:
        """Add the result of one :meth:`CandleStore.put`."""
        self.added += stored.added
        self.revised.extend(stored.revised)
        self.late.extend(stored.late)

    def count_request(self) -> None:
        """Count one request of a page."""
        self.pages += 1

    def add_fresh(self, candles: Candles) -> None:
        """Append closed candles that are too young to be stored."""
        self.fresh = united(self.fresh, candles)
