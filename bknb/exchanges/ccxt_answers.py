"""Candles made of what ccxt answered, and what such rows show of how the exchange understood the question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..domain.formatting import utc_text
from ..market.candles import Candles
from .ccxt_client import (
    BrokenAnswer,
)

if TYPE_CHECKING:
    pass


def with_unasked(rows: Any, uncut: Sequence[Any], since: int, step: int) -> Any:
    """The rows of an answer, with those that ccxt left out where they may show that ``since`` was ignored.

    That is where the answer began long before the question, or behind it and held more than was asked for.
    """
    if not rows or len(uncut) <= len(rows):
        return rows
    dated = [row for row in uncut if row[0]]
    return dated if dated[0][0] < since - step or rows[0][0] > since else rows


def outside_text(rows: Sequence[Any], since: int) -> str | None:
    """What rows are of which none opens at or after ``since``; ``None`` for no rows.

    Raises
    ------
    BrokenAnswer
        Their times are seconds.
    """
    if not rows:
        return None
    try:
        times = [int(float(row[0])) for row in rows]
    except (TypeError, ValueError, LookupError):
        return f"got {len(rows)} rows whose times are no numbers"
    if since <= min(times) * 1000 and max(times) < since // 100:
        raise BrokenAnswer(f"open times such as {times[0]}: these look like seconds, not milliseconds")
    return f"got {len(rows)} candles, {utc_text(min(times))} .. {utc_text(max(times))}: `since` was ignored"


def candles_of_rows(rows: Any) -> Candles:
    """The candles of an answer.

    Raises
    ------
    BrokenAnswer
        They are none.
    """
    if not isinstance(rows, list):
        raise BrokenAnswer(f"the exchange answered {type(rows).__name__} instead of candles: {str(rows)[:60]!r}")
    if not rows:
        return Candles.empty()
    try:
        table = np.array([[float(value) for value in row[:6]] for row in rows], dtype=np.float64)
        if table.shape[1] != 6:
            raise ValueError("a candle has six values")
        return Candles.from_rows(table)  # type: ignore[arg-type]  # a table is rows
    except (TypeError, ValueError, IndexError) as error:
        raise BrokenAnswer(f"rows that are no candles: {str(rows[0])[:60]} ({error})") from None
