"""Events of signals for the tests of orders; moments are minutes, everything else has a default."""

from __future__ import annotations

from bknb.domain.signal import Cancelled, Closed, Opened, OpenSignal, Pnl, Scheduled, ScheduledSignal

MINUTE = 60_000
WHERE = {"symbol": "BTCUSDT", "strategy": "sma", "exchange": "demo", "frame": None, "mode": "live"}


def waiting(name="a", *, at=1, position="long", price=100.0) -> ScheduledSignal:
    return ScheduledSignal(
        id=name,
        symbol="BTCUSDT",
        strategy="sma",
        exchange="demo",
        position=position,
        price_open=price,
        price_take_profit=110.0 if position == "long" else 90.0,
        price_stop_loss=90.0 if position == "long" else 110.0,
        minute_estimated_time=60,
        note="",
        scheduled_at=at * MINUTE,
    )


def held(name="a", *, at=1, opened=None, position="long", price=100.0) -> OpenSignal:
    row = waiting(name, at=at, position=position, price=price)
    fields = {field: getattr(row, field) for field in row.__struct_fields__}
    return OpenSignal(**fields, pending_at=(at if opened is None else opened) * MINUTE)


def scheduled(name="a", *, at=1, **more) -> Scheduled:
    return Scheduled(**WHERE, when=at * MINUTE, price=101.0, signal=waiting(name, at=at, **more))


def opened(name="a", *, at=1, opened=None, **more) -> Opened:
    signal = held(name, at=at, opened=opened, **more)
    return Opened(**WHERE, when=signal.pending_at, price=101.0, signal=signal)


def closed(name="a", *, at=1, opened=None, ended=9, price_close=110.0, **more) -> Closed:
    return Closed(
        **WHERE,
        when=ended * MINUTE,
        price=109.0,
        signal=held(name, at=at, opened=opened, **more),
        close_reason="take_profit",
        closed_at=ended * MINUTE,
        price_close=price_close,
        pnl=Pnl(pnl_percentage=9.0, gross_percentage=10.0, fee_percentage=0.5, slippage_percentage=0.5),
        peak_percentage=10.0,
        trough_percentage=0.0,
        ambiguous=False,
    )


def cancelled(name="a", *, at=1, ended=9, **more) -> Cancelled:
    return Cancelled(
        **WHERE,
        when=ended * MINUTE,
        price=105.0,
        signal=waiting(name, at=at, **more),
        reason="timeout",
        closed_at=ended * MINUTE,
    )
