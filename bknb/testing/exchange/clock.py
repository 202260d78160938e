"""The clock of a local exchange: that of the computer, set off, or one that a test moves."""

from __future__ import annotations

from collections.abc import Callable


class ExchangeClock:
    """Two readings: what requests are compared with, and what stands on orders and fills.

    Parameters
    ----------
    system
        The computer's clock, UTC ms.

    Attributes
    ----------
    skew_ms
        How much the exchange is ahead of the computer; requests are compared with that.
    at
        The moment of the market, UTC ms, where a test has set one; ``None``: it goes with the other reading.

    Examples
    --------
    >>> clock = ExchangeClock(lambda: 1000)
    >>> clock.at = 5
    >>> clock.wall(), clock.now()
    (1000, 5)
    """

    def __init__(self, system: Callable[[], int]) -> None:
        self._system = system
        self.skew_ms = 0
        self.at: int | None = None

    def wall(self) -> int:
        """What requests are compared with, UTC ms."""
        return self._system() + self.skew_ms

    def now(self) -> int:
        """What stands on orders and fills, UTC ms."""
        return self.wall() if self.at is None else self.at
