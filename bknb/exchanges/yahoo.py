"""A source over what yfinance downloads from Yahoo Finance."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, WEEK, interval_ms
from ..errors import DataError, MissingDependency, UsageError
from ..market.system_clock import SystemClock
from ..market.table_notes import TableNotes
from .dataframe_source import FrameSource
from .from_csv_frame_and_parquet import from_frame

if TYPE_CHECKING:
    from datetime import date

    import pandas as pd
    from numpy.typing import NDArray

    from ..market.sessions import Sessions

_INTERVALS: Final = ("1m", "5m", "15m", "30m", "1h", "1d", "1wk")
_DAY_IS_OVER_MS: Final = 6 * 3_600_000
"""After 00:00 UTC: then a day, or a week, has ended at every exchange of the Americas, too."""


def yfinance(
    symbols: str | Iterable[str],
    *,
    interval: str = "1d",
    start: str | date | None = None,
    end: str | date | None = None,
    period: str | None = None,
    dividends: bool = False,
    sessions: Sessions | str | None = None,
    negative: bool = False,
    name: str = "yfinance",
) -> FrameSource:
    """A source over bars of Yahoo Finance, downloaded once, now, with the package yfinance.

    Yahoo has days since a share was first traded, hours of the last 730 days, bars of 5 to 30 minutes of the last 60
    days, and minutes of the last 30, eight days at most in one download. Its hours begin where the market opens:
    ``sessions`` says when that is, else they show it. It tells neither delisted shares nor what it corrects
    afterwards: what comes tomorrow may differ, so keep what a result was made of (``bknb share`` does).

    Prices are in terms of the shares of today: Yahoo adjusts all of them for splits. A bar that has not ended when it
    is downloaded is left out; a day or week counts as ended at 06:00 UTC of the next one.

    Parameters
    ----------
    symbols
        Tickers as Yahoo writes them: ``"AAPL"``, ``"AAPL MSFT"``, ``["VOD.L", "BTC-USD"]``.
    interval
        How long the bars are: ``"1m"``, ``"5m"``, ``"15m"``, ``"30m"``, ``"1h"``, ``"1d"``, or ``"1wk"`` for weeks
        from Monday on.
    start, end
        The first day and the day after the last one; ``None``: as far back as Yahoo goes, and until now.
    period
        In place of both, as yfinance takes it, such as ``"5y"``.
    dividends
        Whether prices are adjusted for dividends as well.
    sessions, negative, name
        As in :func:`bknb.exchanges.from_frame`.

    Raises
    ------
    MissingDependency
        yfinance is not installed.
    UsageError
        An argument that cannot be right.
    DataError
        The download failed, or nothing came; bars that cannot be trusted, as in :func:`bknb.exchanges.from_frame`.

    Examples
    --------
    >>> shares = yfinance("AAPL MSFT", start="2005-01-01")  # doctest: +SKIP
    >>> shares.symbols  # doctest: +SKIP
    ('AAPL', 'MSFT')
    """
    tickers = _tickers(symbols)
    if interval not in _INTERVALS:
        raise UsageError(f"interval must be one of {', '.join(_INTERVALS)}, got {interval!r}")
    if period is not None and (start is not None or end is not None):
        raise UsageError("give start and end, or period; not both")
    span = {"start": start, "end": end} if start is not None or end is not None else {"period": period or "max"}
    frame, missing = _downloaded(tickers, interval, span, dividends=dividends, name=name)
    frame, notes = _ended(frame, interval, SystemClock().now(), name)
    source = from_frame(frame, name=name, sessions=sessions, negative=negative)
    if source.base_interval != _name_of(interval):
        raise DataError(
            f"{name}: bars of {interval} were asked for, and what came are bars of {source.base_interval}, as far as "
            f"{len(frame)} of them show\nask for a longer time"
        )
    source.remark = f"adjusted for splits{' and dividends' if dividends else ''} by Yahoo"
    if missing:
        notes.append(
            f"{name}: nothing came for {', '.join(missing)}: the ticker may be written otherwise at Yahoo, or was not "
            "traded then"
        )
    source.notes = TableNotes(notes) + source.notes
    return source


def _name_of(interval: str) -> str:
    """What an interval of Yahoo is called here."""
    return WEEK if interval == "1wk" else interval


def _tickers(symbols: str | Iterable[str]) -> list[str]:
    listed: object = symbols
    given: list[Any] = []
    if isinstance(listed, str):
        given = listed.replace(",", " ").split()
    elif isinstance(listed, Iterable):
        given = list(listed)
    if not given or not all(isinstance(each, str) and each.strip() for each in given):
        raise UsageError(f"symbols must be tickers such as 'AAPL' or ['AAPL', 'MSFT'], got {symbols!r:.80}")
    return list(dict.fromkeys(each.strip().upper() for each in given))


def _downloaded(
    tickers: list[str], interval: str, span: dict[str, Any], *, dividends: bool, name: str
) -> tuple[pd.DataFrame, list[str]]:
    """The table of prices by tickers, and the tickers of which nothing came."""
    try:
        import yfinance as package
    except ImportError:
        raise MissingDependency("yfinance", purpose="a download from Yahoo Finance", extra="yfinance") from None
    options: dict[str, Any] = {"auto_adjust": dividends, "actions": False, "progress": False, "group_by": "column"}
    try:
        frame = package.download(tickers, interval=interval, **span, **options)
    except Exception as error:  # the package and what it asks with have errors of their own
        text = (str(error).strip().splitlines() or [""])[0]
        raise DataError(f"{name}: the download failed: {type(error).__name__}: {text[:200]}") from error
    came: set[str] = set()
    if frame is not None and len(frame):
        frame = frame.drop(columns=["Adj Close"], level=0, errors="ignore").dropna(axis=1, how="all")
        came = set(frame.columns.get_level_values(1)) if frame.columns.nlevels == 2 else set()
    missing = [each for each in tickers if each not in came]
    if not came:
        raise DataError(
            f"{name}: nothing came for {', '.join(missing)}\n"
            "look at how Yahoo writes the ticker (finance.yahoo.com), and whether it has such bars for that time; "
            "when it was asked too often it answers nothing for a while"
        )
    return frame, missing


def _ended(frame: pd.DataFrame, interval: str, now: int, name: str) -> tuple[pd.DataFrame, list[str]]:
    """The bars that have ended at ``now`` (UTC ms), and a note on those that have not."""
    index: Any = frame.index
    times = index if index.tz is None else index.tz_convert("UTC").tz_localize(None)  # days come without a zone
    opens: NDArray[np.int64] = times.to_numpy().astype("datetime64[ms]").astype(np.int64)
    length = interval_ms(_name_of(interval))
    ends = opens + length + (_DAY_IS_OVER_MS if length >= DAY_MS else 0)
    open_yet = ends > now
    if not open_yet.any():
        return frame, []
    first = utc_text(int(opens[int(np.argmax(open_yet))]))
    return frame.loc[~open_yet], [f"{name}: the bar of {first} has not ended, and is left out"]
