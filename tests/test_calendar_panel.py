"""Panels of session days, weeks and months over several markets, against loops over listed sessions."""

from __future__ import annotations

from ast import literal_eval
from datetime import UTC, date, datetime
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from market_rows import Row, forex_rows, rows_of, utc_rows
from quick import first_quick
from test_calendar_slots import INTERVALS, Numbers, Plain
from test_session_candles import MINUTE, world

import bknb
from bknb.market.sessions import Sessions, as_sessions

STEP = 15 * MINUTE
HOURS: dict[str, Any] = {
    "FX": (lambda: as_sessions("fx"), forex_rows),
    "US": (lambda: Sessions.of_exchange("XNYS"), lambda a, b: rows_of("XNYS", a, b)),
    "JP": (lambda: Sessions.of_exchange("XTKS"), lambda a, b: rows_of("XTKS", a, b)),
    "UK": (lambda: Sessions.of_exchange("XLON"), lambda a, b: rows_of("XLON", a, b)),
    "CME": (lambda: Sessions.of_exchange("CMES"), lambda a, b: rows_of("CMES", a, b)),
    "COIN": (lambda: None, utc_rows),
}


def source_of(bars: dict[str, pd.DataFrame]) -> Any:
    """A source of several symbols, each with sessions of its own."""
    source = bknb.exchanges.from_frame(pd.concat([each.assign(symbol=symbol) for symbol, each in bars.items()]))
    source.symbol_sessions = {symbol: HOURS[symbol][0]() for symbol in bars}
    return source


def plain_of(symbol: str, first: str, last: str, *, seed: int) -> tuple[Plain, pd.DataFrame]:
    since, until = date.fromisoformat(first), date.fromisoformat(last)
    listed: list[Row] = HOURS[symbol][1](since.year - 1, until.year + 1)
    rows = [row for row in listed if since <= row[0] <= until]
    minutes, _ = world(rows, every=STEP // MINUTE, seed=seed)
    return Plain(listed, list(minutes.itertuples(index=False, name=None)), STEP), minutes


def panel_of(plains: dict[str, Plain], interval: str, when: int, how: str) -> list[tuple[int, dict[str, Numbers]]]:
    """All rows: when the first of the markets opens on a day, week or month, and what has closed of it."""
    found: dict[date, dict[str, Numbers]] = {}
    for symbol, plain in plains.items():
        for key, _, numbers in plain.closed(interval, when):
            found.setdefault(key, {})[symbol] = numbers
    opens = {
        key: min(int(plain.slots[interval][key][0][1]) for plain in plains.values() if key in plain.slots[interval])
        for key in found
    }
    return [(opens[key], found[key]) for key in sorted(found) if how == "union" or len(found[key]) == len(plains)]


CASES = [
    (("FX", "COIN"), "2024-03-04", "2024-03-19"),
    (("FX", "US", "COIN"), "2024-11-20", "2024-12-05"),
    (("JP", "US", "UK"), "2024-12-16", "2025-01-10"),
    (("CME", "UK"), "2024-10-24", "2024-11-08"),
]


@pytest.mark.parametrize(("symbols", "first", "last"), first_quick(CASES))
def test_rows_of_a_panel_are_the_days_weeks_and_months_that_markets_have(
    symbols: tuple[str, ...], first: str, last: str
) -> None:
    if set(symbols) - {"FX", "COIN"}:
        pytest.importorskip("exchange_calendars")
    made = {symbol: plain_of(symbol, first, last, seed=place) for place, symbol in enumerate(symbols)}
    source = source_of({symbol: each[1] for symbol, each in made.items()})
    plains = {symbol: each[0] for symbol, each in made.items()}
    answers: list[str] = []

    def get_signal(ctx: Any) -> None:
        for interval, how, limit in product(INTERVALS, ("union", "common"), (1, 4)):
            try:
                panel = ctx.panel(list(symbols), interval, limit, how)
            except bknb.NotEnoughData as error:
                answers.append(repr((ctx.when_ms, interval, how, limit, error.available, [])))
                continue
            block = np.stack([panel.open, panel.high, panel.low, panel.close, panel.volume], axis=2)
            rows = [[None if np.isnan(each[0]) else tuple(each) for each in row] for row in block.tolist()]
            answers.append(repr((ctx.when_ms, interval, how, limit, panel.timestamp.tolist(), rows)))

    strategy = bknb.add_strategy("panels", interval="4h", get_signal=get_signal)
    begin = min(plain.first for plain in plains.values())
    frame = (begin + 86_400_000, datetime.fromisoformat(last).replace(tzinfo=UTC))
    result = bknb.backtest(symbols[0], strategy=strategy, exchange=source, frame=frame)
    assert result.errors == []
    widths = set()
    for when, interval, how, limit, times, rows in map(literal_eval, answers):
        expected = panel_of(plains, interval, when, how)
        if len(expected) < limit:
            assert (times, rows) == (len(expected), []), (when, interval, how)
            continue
        mine = expected[-limit:]
        assert times == [opened for opened, _ in mine], (when, interval, how)
        assert rows == [[line.get(symbol) for symbol in symbols] for _, line in mine], (when, interval, how)
        widths.add((interval, how, len(mine[-1][1])))
    assert {("1d", "union", 1), ("1d", "common", len(symbols)), ("1w", "common", len(symbols))} <= widths
