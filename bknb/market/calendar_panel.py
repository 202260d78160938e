"""Panels of session days, weeks and months: a row for each date that sessions bear, a column for each symbol.

Markets of other calendars close a day at other moments. A row is there once the first of its candles has closed, with
``how="common"`` once all of them have, and NaN stands where a candle has not closed yet, as where nothing was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.interval import DAY_MS, EPOCH_DAY, floor_to
from .calendar_candles import LENGTHS_MS
from .candles_of_one_symbol import Series
from .panel_matrix import PanelMatrix, SymbolCandles, matrix_back_to, of_series

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    from .calendar_candles import MadeCandles
    from .window import Window

    _Source: TypeAlias = MadeCandles | Series

_HEADROOM: Final = 8  # rows that are loaded beyond what was asked, so that a slightly longer look back finds them


def calendar_matrix(window: Window, key: tuple[tuple[str, ...], str, str], limit: int, when: int) -> PanelMatrix:
    """The candles of symbols from so early on that ``limit`` rows have closed at ``when``, if there are as many.

    Parameters
    ----------
    key
        Symbols, interval and calendar.
    when
        UTC ms.

    Raises
    ------
    NotEnoughData
        When a candle that has closed is not here yet.
    """
    (symbols, interval, how), calendar = key, window.calendar_candles()
    known = window.matrices.get(key)

    def load(since: int) -> PanelMatrix:
        nonlocal known
        sources = _loaded(window, symbols, interval, since, when)
        if known is None or any(each is not old.made_of for each, old in zip(sources, known.known, strict=True)):
            known = PanelMatrix(
                symbols, interval, tuple(map(_of_days, sources)), how, lambda days: _opens(sources, days)
            )
        return known

    if known is not None and known.closed(when) >= limit and load(known.since).closed(when) >= limit:
        return known
    since = min(calendar.begin(symbol, interval, limit + _HEADROOM, when) for symbol in symbols)
    length = LENGTHS_MS.get(interval, DAY_MS)
    return matrix_back_to(load, since, limit, when, length=length, farther=window.allow_gaps or how == "common")


def _loaded(window: Window, symbols: tuple[str, ...], interval: str, since: int, when: int) -> list[_Source]:
    """The candles of the symbols from ``since`` (UTC ms) on: made of base bars, or those of UTC days."""
    by_calendar = [symbol for symbol in symbols if window.is_by_calendar(symbol, interval)]
    others = [symbol for symbol in symbols if symbol not in by_calendar]
    if others:
        window.load_several(others, interval, floor_to(since, DAY_MS), when)
    window.load_several(by_calendar, window.base, since, when)
    calendar, in_memory = window.calendar_candles(), window.series()
    return [
        in_memory[symbol, interval] if symbol in others else calendar.made(symbol, interval, when) for symbol in symbols
    ]


def _of_days(source: _Source) -> SymbolCandles:
    """Candles in rows by the days they bear; without sessions those of UTC."""
    if isinstance(source, Series):
        found = of_series(source)
        return found._replace(rows=found.rows // DAY_MS + EPOCH_DAY)
    return SymbolCandles(source, source.candles, source.days, source.closes, source.of.since)


def _opens(sources: list[_Source], days: NDArray[np.int64]) -> NDArray[np.int64]:
    """When the first of the markets opens on each day, UTC ms; a market does not trade on all of them."""
    begins = [
        [(day - EPOCH_DAY) * DAY_MS if isinstance(each, Series) else each.begins.get(day) for each in sources]
        for day in days.tolist()
    ]
    return np.array([min(each for each in some if each is not None) for some in begins], dtype=np.int64)
