"""Session days live: panels, candles since, the forming candle, ``bars`` and resting orders as in a backtest."""

from __future__ import annotations

from typing import Any

import pytest
from test_scheduled_questions import HOURS, ZONE, OpenHoursClock, closed_by, minutes, ms

import bknb

WHOLE = ("2024-11-14", "2024-12-10")


def looked(ctx: Any) -> str:
    """All that can be asked of session days, weeks and months, as text."""
    panel = ctx.panel(["X", "Y"], "1d", 3)
    found: list[Any] = [ctx.when_ms, panel.timestamp.tolist(), panel.close.tolist(), ctx.session.bars]
    for interval in ("1d", "1w", "1M"):
        some = ctx.candles(interval, since="9d", forming=True)
        found.append((interval, some.timestamp.tolist(), some.close.tolist(), some.volume.tolist()))
    return repr(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "lasts"),
    [({"manage_at": "session_open, session_close-5m"}, {"minute_estimated_time": 1450}), ({}, {"bars": 2})],
)
def test_session_days_live_are_those_of_a_backtest(options: dict[str, Any], lasts: dict[str, Any]) -> None:
    whole, since, until = minutes(HOURS, *WHOLE), ms("2024-11-25 09:20", ZONE), ms("2024-12-06 10:05", ZONE)
    found = []
    for live in (False, True):
        seen: list[str] = []
        managed: list[tuple[int, int]] = []

        def get_signal(ctx: Any, seen: list[str] = seen) -> Any:
            seen.append(looked(ctx))
            if ctx.when.isoweekday() == 3:
                return bknb.Signal(position="long", price_open=ctx.price * 0.8, price_take_profit=ctx.price * 1.2,
                                   price_stop_loss=ctx.price * 0.7, **lasts)  # fmt: skip
            return bknb.Signal(position="long", price_take_profit=ctx.price * 1.2, price_stop_loss=ctx.price * 0.85,
                               **lasts)  # fmt: skip

        def manage(ctx: Any, position: Any, seen: list[str] = seen, managed: list[Any] = managed) -> None:
            seen.append(looked(ctx))
            managed.append((ctx.when_ms, position.bars))

        strategy = bknb.add_strategy("days-live", interval="1d", get_signal=get_signal, manage=manage, **options)
        settings = {"max_signal_lifetime_minutes": None}
        if live:
            clock = OpenHoursClock(since, HOURS)
            source = bknb.exchanges.in_sessions(closed_by(clock, whole), HOURS)
            task = bknb.Live.background("X", strategy=strategy, exchange=source, clock=clock, until=until,
                                        store=bknb.stores.memory(), settings=settings)  # fmt: skip
            result = task.result(timeout=60)
        else:
            result = bknb.backtest("X", strategy=strategy, exchange=whole, frame=(since, until), settings=settings)
        known = [trade for trade in result.trades.itertuples() if trade.closed_at.timestamp() * 1000 < until]
        ends = [(trade.pending_at, trade.closed_at, trade.price_close) for trade in known]
        errors = [each.message for each in result.errors if each.kind != "late"]
        found.append((seen, managed, ends, errors))
    for one, other in zip(*found, strict=True):
        assert one == other
    assert found[0][3] == []
    assert len(found[0][2]) >= 1
    assert {bars for _, bars in found[0][1]} >= {1}
