"""An exchange with the candles that a live run has recorded in place of its own of now."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..domain.interval import interval_ms
from ..market.calls_in_threads import candles_from
from ..market.candles import Candles
from ..market.source_hours import bar_grid_of

Row = tuple[int, float, float, float, float, float]


def _rows(candles: Candles) -> list[Row]:
    times = candles.timestamp.tolist()
    return [(when, *values) for when, values in zip(times, candles.block[1:].T.tolist(), strict=True)]


class RecordedCandlesSource:
    """A source whose base bars of one symbol are those that were recorded, and that lacks what never came.

    Longer bars of that symbol that the exchange hands out itself are made anew where a base bar of theirs is another
    one; everything else is the exchange's.

    Parameters
    ----------
    source
        The exchange.
    symbol, base
        Which of its candles were recorded.
    changed
        By open time (UTC ms), the recorded candles that are others than the exchange's of now.
    missing
        Ranges ``[first, end)`` of base bars (UTC ms) that are left out.
    """

    def __init__(
        self,
        source: Any,
        symbol: str,
        base: str,
        *,
        changed: Mapping[int, Row],
        missing: Collection[tuple[int, int]] = (),
    ) -> None:
        self._source, self._symbol, self._base = source, symbol, base
        self._changed, self._missing = changed, tuple(missing)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Any:
        """The answer of the exchange, with what was recorded in its place."""
        if symbol == self._symbol and interval == self._base:
            return await self._base_bars(since, limit)
        answer: Any = await candles_from(self._source, symbol, interval, since, limit)
        if symbol != self._symbol or not isinstance(answer, Candles) or not len(answer) or not self._changed:
            return answer
        return answer if bar_grid_of(self._source, symbol) is not None else await self._made_anew(answer, interval)

    async def _base_bars(self, since: int, limit: int) -> Candles:
        """Base bars, as many as were asked for: the exchange is asked on where some were left out."""
        found: dict[int, Row] = {}
        asked = since
        while len(found) < limit:
            answer: Any = await candles_from(self._source, self._symbol, self._base, asked, limit)
            rows = _rows(answer) if isinstance(answer, Candles) else []
            last = rows[-1][0] if rows else max(self._changed, default=asked)
            known = {row[0]: row for row in rows}
            known |= {when: row for when, row in self._changed.items() if asked <= when <= last}
            found |= {when: row for when, row in known.items() if not any(a <= when < b for a, b in self._missing)}
            if not rows or not self._missing:
                break
            asked = last + 1
        return Candles.from_rows([found[when] for when in sorted(found)][:limit]) if found else Candles.empty()

    async def _made_anew(self, answer: Candles, interval: str) -> Candles:
        step, base_ms = interval_ms(interval), interval_ms(self._base)
        rows = _rows(answer)
        times = np.array(sorted(self._changed))
        for at, (when, *_) in enumerate(rows):
            if (times.searchsorted(when + step) - times.searchsorted(when)) == 0:
                continue
            inner: Any = await candles_from(self._source, self._symbol, self._base, when, step // base_ms)
            known = {row[0]: row for row in _rows(inner) if row[0] < when + step}
            known |= {each: row for each, row in self._changed.items() if when <= each < when + step}
            rows[at] = _one_bar(when, [known[each] for each in sorted(known)])
        return Candles.from_rows(rows)


def _one_bar(when: int, rows: Sequence[Row]) -> Row:
    return (
        when,
        rows[0][1],
        max(row[2] for row in rows),
        min(row[3] for row in rows),
        rows[-1][4],
        sum(row[5] for row in rows),
    )
