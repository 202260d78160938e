"""Audit of stored candles: gaps, outliers, longer candles compared with minutes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.formatting import points_text, utc_text
from ..domain.html import Html, element, elements, fragment
from ..domain.interval import DAY_MS, MINUTE, MINUTE_MS, bar_text, candles_text, interval_ms
from ..domain.ranges import merged, without
from ..errors import UsageError
from ..history.cached_source import StoredSource
from ..history.candle_store import DEFAULT_FOLDER
from ..history.partition import SeriesName
from ..market.candles import COLUMNS, Candles
from ..market.content_hash_of_candles import content_hash
from ..market.fetch_loop import fetch_now
from ..market.measured_bar_length import base_of, check_made_of
from ..market.resample import resample
from ..market.sessions import Sessions
from ..market.source_hours import bar_grid_of, sessions_of
from ..market.stretched_bars import doubts_of_length, stretched
from .ccxt_stored_and_from_store import is_in_no_store
from .download import as_range, as_stored, as_symbols

if TYPE_CHECKING:
    from ..market.shifted_bar_grid import BarGrid
    from ..ports import CandleSource

_SHOWN: Final = 5
_ASK_AGAIN: Final = 'bknb.download(..., again="absent")'
_WEEK: Final = 7 * 1440  # minutes that are looked at together for bars that were filled up
_FLAT_MINUTES: Final = 60  # that long without a trade is worth a look
_FLAT_BARS: Final = 3  # of longer bars that many
_WILD_MULTIPLE: Final = 40.0  # a move that many times the usual one is worth a look
_TOLERANCE: Final = 1e-9  # exchanges add volumes in an order of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding of an audit.

    Attributes
    ----------
    symbol : str
    kind : {"absent", "missing", "flat", "stretched", "wild", "differs"}
        Absent: the exchange has no candle; the text tells where that is the word of one answer. Missing: never
        downloaded, or not to be had. Flat: long without a trade. Stretched: longer bars that were filled up to
        minutes. Wild: a move far beyond the usual. Differs: a longer candle is not what its minutes make.
    when : int
        Where it begins, UTC ms.
    text : str
        In words.
    """

    symbol: str
    kind: str
    when: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Result of an audit; printing or displaying it lists the findings.

    Attributes
    ----------
    exchange : str
    start, end : int
        The range ``[start, end)``, UTC ms.
    compared : dict
        For each symbol and longer interval how many candles of the exchange were compared with what its base bars make.
    hashes : dict
        For each symbol the content hash of its base bars in the range.
    findings : tuple of Finding
        Oldest first within each symbol.
    base : str
        The interval of the bars that were looked at: minutes, or the shortest the exchange has.

    Examples
    --------
    >>> Audit(exchange="demo", start=0, end=60_000, compared={}, hashes={}, findings=()).sound
    True
    """

    exchange: str
    start: int
    end: int
    compared: dict[tuple[str, str], int]
    hashes: dict[str, str]
    findings: tuple[Finding, ...]
    base: str = MINUTE

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __str__(self) -> str:
        lines, bars = [self._headline()], _bars(self.base)
        lines += [f"  {symbol}: {bars} {name[:12]}" for symbol, name in self.hashes.items()]
        lines += [
            f"  {symbol}: {count:,} candles of {interval} compared with {bars}"
            for (symbol, interval), count in self.compared.items()
        ]
        for symbol in self.hashes:
            for kind in ("missing", "absent", "differs", "stretched", "wild", "flat"):
                same = [found for found in self.findings if (found.symbol, found.kind) == (symbol, kind)]
                lines += [f"  {symbol}: {kind}: {found.text}" for found in same[:_SHOWN]]
                lines += [f"  {symbol}: {kind}: and {len(same) - _SHOWN} more"] if len(same) > _SHOWN else []
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> Html:
        head, *rest = str(self).splitlines()
        return fragment(element("p", head), element("ul", elements("li", (line.strip() for line in rest))))

    def _headline(self) -> str:
        what = "sound" if self.sound else f"{len(self.findings)} finding{'' if len(self.findings) == 1 else 's'}"
        return f"candles from {self.exchange}, {utc_text(self.start)} .. {utc_text(self.end)}: {what}"


def audit(
    symbols: str | Iterable[str],
    *,
    exchange: Any,
    start: object = None,
    end: object = None,
    frame: Any = None,
    compare: str | Iterable[str] = (),
    folder: str | Path = DEFAULT_FOLDER,
) -> Audit:
    """Audit stored minutes: what is missing, what is unusual, and whether longer candles agree with them.

    Of an exchange whose shortest candles are longer than a minute, these. They are not fetched; :func:`bknb.download`
    does that. Bars that count from the open of their market, and those of a table that is adjusted for splits and
    dividends or holds prices at or below zero, which no store keeps, are looked at where they are: what
    is missing between the first and the last one in the range is a finding, as is a range without any; what is missing
    before the first one and behind the last is none.

    Parameters
    ----------
    symbols, exchange, start, end, frame, folder
        As in :func:`bknb.download`.
    compare
        Longer intervals that are fetched from the exchange (where it has them) and compared, value by value, with
        what the base bars make: prices exactly, volume to a relative 1e-9.

    Returns
    -------
    Audit

    Examples
    --------
    >>> import bknb, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     market = bknb.exchanges.stored(bknb.exchanges.demo(), folder=folder)
    ...     range_ = {"start": "2024-01-01", "end": "2024-01-02"}
    ...     _ = bknb.download("BTCUSDT", exchange=market, progress=False, **range_)
    ...     print(bknb.audit("BTCUSDT", exchange=market, **range_))
    candles from demo, 2024-01-01 00:00 UTC .. 2024-01-02 00:00 UTC: sound
      BTCUSDT: minutes b9069071bc9c
    """
    source = as_stored(exchange, folder=folder, saves=False)
    base = base_of(source.source)
    step = interval_ms(base)
    since, until = as_range(start, end, frame, step)
    intervals = (compare,) if isinstance(compare, str) else tuple(compare)
    for interval in intervals:
        if interval == base:
            raise UsageError(f"{_bars(base)} cannot be compared with themselves; choose longer intervals to compare")
        check_made_of(interval, base, (base,), source.name)
    findings: list[Finding] = []
    compared: dict[tuple[str, str], int] = {}
    hashes: dict[str, str] = {}
    for symbol in as_symbols(symbols):
        sessions = sessions_of(source, symbol)
        grid = bar_grid_of(source.source, symbol)
        if is_in_no_store(source.source) or (
            grid is not None and not grid.goes_on
        ):  # in no store, but where they are read
            name, bars = symbol, _held(source.source, symbol, base, since, until)
            nothing = not len(bars)
            found = (
                _nothing(name, since, until, base, sessions) if nothing else _absent(name, bars, base, grid, sessions)
            )
        else:
            series = fetch_now(source.series(symbol, base))
            name, bars = series.symbol, source.store.read(series, since, until)
            found = _gaps(source, series, since, until, sessions, grid)
        hashes[name] = content_hash(bars)
        found += _outliers(name, bars, base)
        for interval in intervals:
            if interval not in (source.intervals or ()):
                raise UsageError(f"{source.name!r} has no {interval} candles of its own to compare with")
            theirs = fetch_now(
                source.get_candles(symbol, interval, since, max((until - since) // interval_ms(interval), 1))
            )
            more, count = _differences(name, interval, bars, theirs, sessions, base)
            found += more
            compared[name, interval] = count
        findings += sorted(found, key=lambda one: one.when)
    return Audit(
        exchange=source.name,
        start=since,
        end=until,
        compared=compared,
        hashes=hashes,
        findings=tuple(findings),
        base=base,
    )


def _bars(base: str) -> str:
    """What the bars of an audit are called."""
    return "minutes" if base == MINUTE else candles_text(base)


def _gaps(
    source: StoredSource,
    series: SeriesName,
    since: int,
    until: int,
    sessions: Sessions | None,
    grid: BarGrid | None,
) -> list[Finding]:
    once = source.store.seen_once(series, since, until, grid=grid)
    absent = without(source.store.absent(series, since, until, grid=grid), once)
    missing = source.store.missing(series, since, until)
    if grid is not None:
        absent, once, missing = (grid.open_part(ranges, series.step) for ranges in (absent, once, missing))
    elif sessions is not None:
        absent, once, missing = (sessions.open_part(ranges, series.step) for ranges in (absent, once, missing))
    return [
        Finding(symbol=series.symbol, kind=kind, when=first, text=f"{_span((first, end), series.interval)}; {why}")
        for kind, ranges, why in (
            ("absent", absent, "the exchange has no candles"),
            ("absent", once, f"one answer held no candles, which proves nothing; {_ASK_AGAIN} asks once more"),
            ("missing", missing, "never downloaded, or not to be had"),
        )
        for first, end in ranges
    ]


def _held(source: CandleSource, symbol: str, base: str, since: int, until: int) -> Candles:
    """The bars of a source that holds them in memory."""
    count = 2 * (until - since) // interval_ms(base) + 1
    bars = fetch_now(source.get_candles(symbol, base, since, count))
    return bars[: int(bars.timestamp.searchsorted(until))]


def _absent(symbol: str, bars: Candles, base: str, grid: BarGrid | None, sessions: Sessions | None) -> list[Finding]:
    """Findings for bars that are not there between the first and the last, while their market is open."""
    times, step = bars.timestamp, interval_ms(base)
    if grid is not None and grid.in_sessions:
        slots = grid.missing(times, step)
    else:
        slots = np.setdiff1d(np.arange(times[0], times[-1], step), times)
    ranges = merged((slot, slot + step) for slot in slots.tolist())
    if grid is None and sessions is not None:
        ranges = sessions.open_part(ranges, step)
    return [
        Finding(symbol=symbol, kind="absent", when=first, text=f"{_span((first, end), base)}; the source has no bars")
        for first, end in ranges
    ]


def _nothing(symbol: str, since: int, until: int, base: str, sessions: Sessions | None) -> list[Finding]:
    """The finding for a range ``[since, until)`` (UTC ms) without a bar, if its market was open for one."""
    step = interval_ms(base)
    if until - since < step or (sessions is not None and not sessions.open_part(((since, until),), step)):
        return []
    text = f"{utc_text(since)} .. {utc_text(until)}; the source has no bars in this range"
    return [Finding(symbol=symbol, kind="absent", when=since, text=text)]


def _outliers(symbol: str, minutes: Candles, base: str) -> list[Finding]:
    """Findings for bars that were filled up, long stretches without a trade, and moves far beyond the usual."""
    if len(minutes) < 2:
        return []
    times, step = minutes.timestamp, interval_ms(base)
    flat = np.concatenate([[0], (minutes.volume == 0).astype(np.int64), [0]])
    edges = np.diff(flat)
    runs = [
        (int(times[first]), int(times[last - 1]) + step)
        for first, last in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True)
        if last - first >= max(_FLAT_MINUTES * MINUTE_MS // step, _FLAT_BARS)
    ]
    found = _filled(symbol, minutes) if base == MINUTE else _doubts(symbol, minutes, base)
    found += [
        Finding(symbol=symbol, kind="flat", when=run[0], text=f"{_span(run, base)}; nothing was traded") for run in runs
    ]
    below_zero = bool((minutes.close <= 0).any())  # of which there are no percentages
    least = 0.02 * float(np.abs(minutes.close).mean()) if below_zero else 0.02
    moves = np.abs(np.diff(minutes.close) if below_zero else np.log(minutes.close[1:] / minutes.close[:-1]))
    # The usual move is the median of those that are one; a night or a weekend between two candles is no minute.
    if step < DAY_MS:
        moves[np.diff(times) != step] = 0.0
    usual = float(np.median(moves[moves > 0])) if (moves > 0).any() else 0.0
    for at in np.flatnonzero(moves > max(_WILD_MULTIPLE * usual, least)):
        first, last = float(minutes.close[at]), float(minutes.close[at + 1])
        move = points_text(last - first) if below_zero else f"{100 * (last / first - 1):+.2f} %"
        told = f"{move} in a {bar_text(base)}, {moves[at] / usual:.0f} times the usual"
        text = f"{utc_text(int(times[at + 1]))}: {told}"
        found.append(Finding(symbol=symbol, kind="wild", when=int(times[at + 1]), text=text))
    return found


def _filled(symbol: str, minutes: Candles) -> list[Finding]:
    """Findings for longer bars that were filled up to minutes, one for the weeks that follow each other."""
    spans: list[tuple[str, int, int]] = []
    for first in range(0, len(minutes), _WEEK):
        week = minutes[first : first + _WEEK]
        bars = stretched(week)
        if bars is None:
            continue
        since, until = int(week.timestamp[0]), int(week.timestamp[-1]) + MINUTE_MS
        if spans and spans[-1][0] == bars.interval and spans[-1][2] == int(minutes.timestamp[first - 1]) + MINUTE_MS:
            since = spans.pop()[1]
        spans.append((bars.interval, since, until))
    return [
        Finding(
            symbol=symbol,
            kind="stretched",
            when=since,
            text=f"{_span((since, until), MINUTE)}; minutes filled in between {interval} bars",
        )
        for interval, since, until in spans
    ]


def _doubts(symbol: str, bars: Candles, base: str) -> list[Finding]:
    """Findings for longer bars that were not, or not all, made as bars of their length."""
    when = int(bars.timestamp[0])
    found = doubts_of_length(bars, base, interval_ms(base)).values()
    return [Finding(symbol=symbol, kind="stretched", when=when, text=text) for text in found]


def _differences(
    symbol: str, interval: str, minutes: Candles, theirs: Candles, sessions: Sessions | None, base: str
) -> tuple[list[Finding], int]:
    """Findings where a longer candle of the exchange is not what its minutes make, and how many were compared."""
    ours = resample(minutes, interval, sessions=sessions, base_ms=interval_ms(base))
    _, mine, other = np.intersect1d(ours.timestamp, theirs.timestamp, assume_unique=True, return_indices=True)
    found: dict[int, list[str]] = {}
    for name in COLUMNS[1:]:
        made, given = getattr(ours, name)[mine], getattr(theirs, name)[other]
        differs = made != given if name != "volume" else np.abs(made - given) > _TOLERANCE * np.abs(given)
        for at in np.flatnonzero(differs):
            when = int(theirs.timestamp[other[at]])
            found.setdefault(when, []).append(f"{name} {given[at]:.12g}, {_bars(base)} make {made[at]:.12g}")
    return [
        Finding(
            symbol=symbol, kind="differs", when=when, text=f"{interval} candle of {utc_text(when)}: {'; '.join(how)}"
        )
        for when, how in sorted(found.items())
    ], len(mine)


def _span(span: tuple[int, int], base: str) -> str:
    (first, end), step = span, interval_ms(base)
    count = -(-(end - first) // step)  # the last one may be shorter
    last = first + (count - 1) * step
    return utc_text(first) if count == 1 else f"{utc_text(first)} .. {utc_text(last)} ({count:,} {_bars(base)})"


__all__ = ["Audit", "Finding", "audit"]
