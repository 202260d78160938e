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
from quick import first_quick, rest_long
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


@pytest.mark.slow
@pytest.mark.parametrize(("symbols", "first", "last"), [*first_quick(CASES[::2]), *rest_long(CASES[1::2], kept=0)])
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


@pytest.mark.parametrize(("symbols", "told"), [(("FX", "COIN"), True), (("FX", "CME"), False)])
def test_days_of_two_markets_are_compared_by_their_dates(symbols: tuple[str, str], *, told: bool) -> None:
    made = {}
    for place, symbol in enumerate(symbols):
        listed = HOURS["FX" if symbol == "CME" else symbol][1](2024, 2024)
        rows = [row for row in listed if date(2024, 3, 4) <= row[0] <= date(2024, 3, 19)]
        if symbol == "CME":  # the same days, opened an hour later
            rows = [(row[0], row[1] + 4 * STEP, row[2], [(row[1] + 4 * STEP, row[2])]) for row in rows]
        made[symbol] = world(rows, every=STEP // MINUTE, seed=place)[0]
    source = source_of(
        {symbol: each for symbol, each in made.items() if symbol != "CME"}
        | {symbol: each for symbol, each in made.items() if symbol == "CME"}
    )
    hours = {"sun": "18:00-24:00", "mon-thu": "00:00-17:00, 18:00-24:00", "fri": "00:00-17:00"}
    source.symbol_sessions["CME"] = Sessions.weekly("America/New_York", hours)

    def get_signal(ctx: Any) -> None:
        for interval in ("1d", "1w"):
            assert len(ctx.candles(interval, 1)) == len(ctx.get_candles(symbols[1], interval, 1)) == 1

    strategy = bknb.add_strategy("two", at="session_open+120m", get_signal=get_signal)
    frame = (datetime(2024, 3, 11, tzinfo=UTC), datetime(2024, 3, 19, tzinfo=UTC))
    result = bknb.backtest("FX", strategy=strategy, exchange=source, frame=frame)
    assert result.errors == []
    assert [text.partition(" UTC ")[2].partition(" (")[0] for text in result.warnings if "belong together" in text] == (
        ["are not of the same days"] if told else []
    )


@pytest.mark.slow
@pytest.mark.parametrize("peeks", [False, True])
def test_the_look_ahead_check_sees_what_is_asked_of_session_days(*, peeks: bool) -> None:
    def get_signal(ctx: Any) -> Any:
        panel = ctx.panel(["BTCUSDT", "ETHUSDT"], "1d", 2)
        closes = panel.close[-1]
        if peeks:
            closes = panel._matrix.column("close")[panel._last : panel._last + 1, 0]
        week, month = ctx.candles("1w", since="20d", forming=True), ctx.candles("1M", 1, forming=True)
        day = ctx.candles("1d", 2, forming=True)
        if not len(closes):
            return None
        shift = (closes[0] + week.close[-1] + month.close[-1] + day.high[-1]) * 1e-9
        return bknb.Signal(position="long", price_take_profit=ctx.price * 1.1 + shift,
                           price_stop_loss=ctx.price * 0.9, minute_estimated_time=9)  # fmt: skip

    source = bknb.exchanges.in_sessions(bknb.exchanges.demo(), "fx")
    strategy = bknb.add_strategy("looks", at="session_open+180m, session_close-5m", get_signal=get_signal)
    report = bknb.check_lookahead(strategy, "BTCUSDT", exchange=source, frame=("2024-03-06", "2024-03-13"), moments=4)
    assert report.ok is not peeks, report


@pytest.mark.parametrize(
    ("interval", "told"),
    [
        ("1M", ["1M has no one length"] * 4),
        (
            "1w",
            ["for up to '3d'", "leave interval= out, or interval='1d'", "at='mon' asks once a week", "manage_at='mon'"],
        ),
    ],
)
def test_weeks_and_months_are_refused_in_words_where_they_are_no_candles_of_a_strategy(
    interval: str, told: list[str]
) -> None:
    frame = ("2024-01-01", "2024-02-01")
    run = {"exchange": "demo", "frame": frame}
    calls: list[Any] = [
        lambda: bknb.add_frame("a", interval=interval, start=frame[0], end=frame[1]),
        lambda: bknb.download("BTCUSDT", interval=interval, **run),
        lambda: bknb.backtest("BTCUSDT", strategy=len, base=interval, **run),
        lambda: bknb.backtest(
            "BTCUSDT",
            strategy=bknb.add_strategy(
                "a", interval="1d", get_signal=lambda: None, manage=lambda: None, manage_interval=interval
            ),
            **run,
        ),
    ]
    for call, words in zip(calls, told, strict=True):
        with pytest.raises(bknb.UsageError, match=words):
            call()
