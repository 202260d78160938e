"""What the lifecycle asks the clock of a market: when its session ends, and when it is 16:00 there."""

from __future__ import annotations

from typing import Final, Protocol

NEVER: Final = 2**62
"""A moment (UTC ms) that does not come; also with a length of time added it is a whole number of 64 bits."""


class Slots(Protocol):
    """Where candles of a market begin and end that do not begin at multiples of their length; moments are UTC ms."""

    def floor(self, when: int, step: int) -> int:
        """The begin of the candle of ``step`` ms that a moment lies in."""
        ...

    def after(self, when: int, step: int) -> int:
        """The end of the candle of ``step`` ms that a moment lies in."""
        ...

    def ceil(self, when: int, step: int) -> int:
        """The first moment at or after ``when`` at which a candle of ``step`` ms begins."""
        ...


class MarketClock(Protocol):
    """The clock of one market, for one strategy; moments are UTC ms.

    It depends on nothing but the calendar and the moments it is asked about.
    """

    def session_end(self, when: int) -> int:
        """The first close of a session that is later than ``when``; of a market that never closes, of the UTC day."""
        ...

    def next_moment(self, text: str, when: int) -> int:
        """The first moment that a text such as ``"16:00"`` means and that is later than ``when``."""
        ...

    def next_question(self, when: int) -> int | None:
        """When the strategy is asked after a question at ``when`` (UTC ms), if it is free then.

        ``None`` where nobody knows it before, as of a schedule by the rows of a series.
        """
        ...

    def fault(self, text: str) -> str:
        """Why a text means no moment of this clock; empty when it does."""
        ...

    def candles_closed(self, opened: int, count: int) -> int:
        """When ``count`` candles of the strategy's interval have closed, that in which ``opened`` lies included."""
        ...

    def interval_later(self, when: int) -> int:
        """The moment an interval of the strategy after ``when``; a session day later where those are its candles."""
        ...
