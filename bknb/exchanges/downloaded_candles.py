"""What a download has brought: progress, counts of candles by symbol, and how it shows itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..domain.formatting import utc_text
from ..domain.html import Html, element, elements, fragment
from ..domain.interval import interval_ms
from ..domain.ranges import Ranges

_TITLES: Final = ("symbol", "candles", "new", "absent", "missing", "hash")


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadProgress:
    """Progress of a download.

    Attributes
    ----------
    fraction : float
        0 to 1, of the time that was missing at the start.
    candles : int
        Candles requested so far, absent ones included.
    seconds : float
        Time since it began.
    """

    fraction: float
    candles: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadedSeries:
    """One symbol after a download.

    Attributes
    ----------
    symbol : str
        As the store calls it.
    candles : int
        How many are stored in the range.
    added : int
        How many of them are new.
    absent : tuple of (int, int)
        Ranges for which the exchange has no candles, as two of its answers have shown, UTC ms; in stores of earlier
        versions one answer was enough, which :func:`bknb.audit` names.
    missing : tuple of (int, int)
        Ranges that are still unknown, UTC ms: not requested, out of reach, not proven to be absent, or too young to be
        stored.
    content_hash : str
        Name of exactly these candles; see :func:`bknb.content_hash`.
    """

    symbol: str
    candles: int
    added: int
    absent: Ranges
    missing: Ranges
    content_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """Result of a download; printing or displaying it shows a table.

    Attributes
    ----------
    exchange, interval : str
        What was downloaded.
    start, end : int
        The range ``[start, end)``, UTC ms.
    series : tuple of DownloadedSeries
        One for each symbol.
    requests : int
        Pages that were asked for.
    warnings : tuple of str
        What was repaired, tried again or corrected, which answers could not be used, and what is out of reach.
    stopped : bool
        Whether it was interrupted.

    Examples
    --------
    >>> Downloaded(exchange="demo", interval="1m", start=0, end=60_000, series=(), requests=0).complete
    True
    """

    exchange: str
    interval: str
    start: int
    end: int
    series: tuple[DownloadedSeries, ...]
    requests: int
    warnings: tuple[str, ...] = ()
    stopped: bool = False

    @property
    def complete(self) -> bool:
        """Whether nothing of the range is missing any more."""
        return not any(one.missing for one in self.series)

    def __str__(self) -> str:
        step = interval_ms(self.interval)
        rows = [_TITLES, *(_row(one, step) for one in self.series)]
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        lines = [_headline(self)]
        for row in rows:
            cells = [
                text.ljust(width) if place in (0, 5) else text.rjust(width)
                for place, (text, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  " + "  ".join(cells).rstrip())
        return "\n".join([*lines, *(f"  note: {note}" for note in _few(self.warnings))])

    __repr__ = __str__

    def _repr_html_(self) -> Html:
        step = interval_ms(self.interval)
        body = (element("tr", elements("td", _row(one, step))) for one in self.series)
        notes = elements("li", _few(self.warnings))
        return fragment(
            element("p", _headline(self)),
            element("table", element("thead", element("tr", elements("th", _TITLES))), element("tbody", *body)),
            notes and element("ul", notes),
        )


def _headline(done: Downloaded) -> str:
    state = "interrupted" if done.stopped else ("complete" if done.complete else "not complete")
    span = f"{utc_text(done.start)} .. {utc_text(done.end)}"
    return f"{done.interval} candles from {done.exchange}, {span}: {state}, {done.requests:,} requests"


def _row(one: DownloadedSeries, step: int) -> tuple[str, str, str, str, str, str]:
    absent, missing = (sum(-(-(end - first) // step) for first, end in each) for each in (one.absent, one.missing))
    return one.symbol, f"{one.candles:,}", f"{one.added:,}", f"{absent:,}", f"{missing:,}", one.content_hash[:12]


def _few(notes: Sequence[str], *, most: int = 5) -> list[str]:
    more = len(notes) - most
    return [*notes[:most], *([f"and {more} more"] if more > 0 else [])]
