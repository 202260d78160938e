"""Out at the close never holds over night: random markets with half days, holidays, holes and silent minutes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from scenarios import MINUTE, source

import bknb
from bknb.exchanges import in_sessions
from bknb.market.sessions import as_sessions

FREE = {"percent_fee": 0.0, "percent_slippage": 0.0}
US = as_sessions("us-equities")
assert US is not None


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def minutes(seed: int, since: int, until: int, *, step: int = 5 * MINUTE) -> list[tuple[float, ...]]:
    """A random walk while the market is open; some candles are missing, and some have no volume."""
    assert US is not None
    random = np.random.default_rng(seed)
    spans = US.open_ranges(since, until)
    times = np.concatenate([np.arange(start, end, MINUTE) for start, end in spans])
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.0005, len(times))))
    rows: list[tuple[float, ...]] = []
    for at, (t, c) in enumerate(zip(times.tolist(), close.tolist(), strict=True)):
        o = close[at - 1] if at else 100.0
        there = random.random() > 0.03 or t in {start for start, _ in spans}
        if there:
            volume = 0.0 if random.random() < 0.05 else 10.0
            rows.append((t, float(o), float(max(o, c)), float(min(o, c)), float(c), volume))
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("how", ["until", "close"])
@pytest.mark.parametrize(
    ("since", "until"),
    [("2024-11-25", "2024-12-05"), ("2024-07-01", "2024-07-09"), ("2024-03-06", "2024-03-13")],
    ids=["thanksgiving", "independence day", "clocks go forward"],
)
def test_out_at_the_close_never_holds_over_night(how: str, since: str, until: str) -> None:
    assert US is not None
    begin, end = ms(since), ms(until)
    rows = minutes(7, begin, end)
    candles = {int(row[0]): row for row in rows}
    random = np.random.default_rng(11)

    def get_signal(ctx: Any) -> bknb.Signal | None:
        if random.random() > 0.05:
            return None
        side: Any = "long" if random.random() < 0.5 else "short"
        sign = 1 if side == "long" else -1
        limit = ctx.price * (1 - sign * 0.0005) if random.random() < 0.4 else None
        stop = ctx.price * (1 - sign * 0.002) if random.random() < 0.5 else None
        more: dict[str, Any] = {} if limit is None else {"price_open": limit, "valid": None}
        if how == "until":
            more["until"] = "session_end"
        return bknb.Signal(side=side, price_stop_loss=stop, **more)

    def manage(ctx: Any, position: Any) -> Any:
        return bknb.Close(at="close") if position.opened_at is not None else None

    result = bknb.backtest(
        "X",
        strategy=bknb.add_strategy(
            "clocked", interval="5m", get_signal=get_signal, manage=manage if how == "close" else None,
            manage_interval="1m" if how == "close" else None,
        ),
        exchange=in_sessions(source(rows), US),
        frame=(begin, end),
        settings=FREE,
        allow_gaps=True,
    )  # fmt: skip
    trades = result.run_record.records.closed
    assert len(trades) >= 5
    late = {"frame_end", "data_end", "stop_loss"}
    for trade in trades:
        opened, closed = trade.signal.pending_at, trade.closed_at
        (day,) = US.session_days(opened, opened + 1)
        ended_alone = how == "close" and not any(
            opened + MINUTE <= t < day.close and candles[t][5] > 0 for t in candles if opened < t < day.close
        )
        if ended_alone:  # no candle behind the first question could fill anything
            continue
        assert closed < day.close, (opened, trade.close_reason)
        if trade.close_reason in late:
            continue
        filling = [t for t in range(opened, day.close, MINUTE) if t in candles and candles[t][5] > 0]
        assert (closed, trade.price_close) == (filling[-1], candles[filling[-1]][4])


def days(base: str = "1d") -> tuple[list[tuple[float, ...]], bknb.Sessions]:
    """Daily bars of a market that is open from Monday to Friday, whose close is its open and one."""
    week = bknb.Sessions.weekly("UTC", {"mon-fri": "00:00-24:00"}, closed=["2024-01-04"])
    first, rows = ms("2024-01-01"), list[tuple[float, ...]]()
    for day in range(20):
        t = first + day * 24 * 60 * MINUTE
        if week.is_open(t):
            rows.append((float(t), 100.0 + day, 102.0 + day, 99.0 + day, 101.0 + day, 10.0))
    return rows, week


@pytest.mark.parametrize(
    ("signal", "answer", "opened", "closed"),
    [
        (bknb.Signal(side="long", until="session_end"), None, (1, 101.0), (1, 102.0)),
        (bknb.Signal(side="long"), bknb.Close(at="close"), (1, 101.0), (2, 103.0)),
        (bknb.Signal(side="long", entry="close", until="session_end"), None, (1, 102.0), (2, 103.0)),
        (bknb.Signal(side="long", bars=2), None, (1, 101.0), (4, 104.0)),  # the day between is a holiday
    ],
    ids=["out at the close", "told by manage", "in and out at the close", "two days"],
)
def test_daily_bars(signal: Any, answer: Any, opened: tuple[int, float], closed: tuple[int, float]) -> None:
    rows, week = days()
    asked: list[int] = []

    def get_signal(ctx: Any) -> Any:
        asked.append(1)
        return signal if len(asked) == 1 else None

    result = bknb.backtest(
        "X",
        strategy=bknb.add_strategy(
            "daily", interval="1d", get_signal=get_signal, manage=None if answer is None else (lambda ctx: answer)
        ),
        exchange=bknb.exchanges.from_frame(frame_of(rows), sessions=week),
        frame=("2024-01-02", "2024-01-12"),
        settings=FREE,
    )
    (trade,) = result.run_record.records.closed

    def day(moment: int) -> int:
        return (moment - ms("2024-01-01")) // (24 * 60 * MINUTE)

    assert (day(trade.signal.pending_at), trade.signal.price_open) == opened
    assert (day(trade.closed_at), trade.price_close) == closed


def frame_of(rows: list[tuple[float, ...]]) -> Any:
    pandas = pytest.importorskip("pandas")
    names = ["timestamp", "open", "high", "low", "close", "volume"]
    frame = pandas.DataFrame(rows, columns=names)
    return frame.assign(timestamp=pandas.to_datetime(frame.timestamp, unit="ms", utc=True)).set_index("timestamp")
