"""Symbols beside the one of a live run whose candles come late, or not at all: since when, and what is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..domain.formatting import utc_text
from ..domain.interval import MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Callable


class LateSymbols:
    """What a strategy looked at and was not here, as far as a live run knows.

    Parameters
    ----------
    source
        The name of the source.
    warn
        Gets what is told.

    Examples
    --------
    >>> late = LateSymbols("mine", print)
    >>> late.refused(("ETHUSDT", "1m"), 300_000), late.refused(("ETHUSDT", "1m"), 360_000)
    (None, None)
    >>> late.waited_since(("ETHUSDT", "1m")), late.waited_since(("ETHUSDT", "1m"))
    (300000, None)
    """

    def __init__(self, source: str, warn: Callable[[str], object]) -> None:
        self._source, self._warn = source, warn
        self._refused: dict[tuple[str, str], int] = {}
        self._silent: dict[str, tuple[int, int]] = {}  # at how many moments candles lacked, and the last
        self._older_seen: dict[str, int] = {}  # with gaps allowed: the last moment at which one lacked
        self._late: set[str] = set()  # it was told that they come late

    def refused(self, series: tuple[str, str], now: int) -> None:
        """The newest candle of a series, of a symbol and an interval, is waited for from ``now`` (UTC ms) on."""
        self._refused.setdefault(series, now)

    def waited_since(self, series: tuple[str, str]) -> int | None:
        """Since when (UTC ms) what comes next of a series has been waited for; ``None``: nobody has. Asked once."""
        return self._refused.pop(series, None)

    def silent(self, symbol: str, since: int, when: int, now: int) -> None:
        """Tell once that nothing of a symbol has come since a moment (UTC ms); count the moments at which it lacked."""
        told = self._silent.get(symbol)
        if told is None:
            self._warn(
                f"no candle of {symbol} has come from {self._source!r} since {utc_text(since)}, for "
                f"{(now - since) // MINUTE_MS} minutes; it is not waited for any more: a strategy that looks "
                "at it sees the candles before, as in a backtest with allow_gaps=True"
            )
        count, last = (0, 0) if told is None else told
        self._silent[symbol] = (count + (when > last), max(when, last))

    def came(self, symbol: str, first: int, *, in_time: bool) -> None:
        """Candles of a symbol have come, from ``first`` (UTC ms) on; ``in_time``: they are waited for again."""
        told = self._silent.pop(symbol, None) if in_time else None
        if told is not None:
            moments = "one moment" if told[0] == 1 else f"{told[0]} moments"
            self._warn(f"candles of {symbol} come again, from {utc_text(first)} on; at {moments} older ones were seen")
        seen = self._older_seen.pop(symbol, 0)
        if first < seen and symbol not in self._late:
            self._late.add(symbol)
            self._warn(
                f"candles of {symbol} come late from {self._source!r}: that of {utc_text(first)} was not here at "
                f"{utc_text(seen)}, and a strategy that looked at it then saw those before; a backtest sees it, and so "
                "does a live run without allow_gaps=True, in which questions wait for it; from now on it is not told"
            )

    def older_seen(self, symbol: str, when: int) -> None:
        """With gaps allowed a strategy saw at ``when`` (UTC ms) what there was, although the newest candle lacked."""
        self._older_seen[symbol] = max(when, self._older_seen.get(symbol, 0))
