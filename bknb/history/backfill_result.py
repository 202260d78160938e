"""What came of a backfill."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..market.candles import Candles
from .candle_store import Stored, united


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
