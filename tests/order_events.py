"""Events and states of signals for the tests of orders; moments are minutes, everything else has a default."""

from __future__ import annotations

from msgspec.structs import replace

from bknb.domain.fills_at_stops_and_gaps import Minute
from bknb.domain.lifecycle import Holding, Leaving, Opening, Waiting
from bknb.domain.position_book import PositionOrder, new_book
from bknb.domain.position_fills import Fill
from bknb.domain.signal import OpenSignal, ScheduledSignal
from bknb.domain.signal_events import AddCancelled, Added, Cancelled, Closed, Opened, Pnl, Reduced, Scheduled

MINUTE = 60_000
WHERE = {"symbol": "BTCUSDT", "strategy": "sma", "exchange": "demo", "frame": None, "mode": "live"}


def waiting(name="a", *, at=1, position="long", price=100.0, entry="limit") -> ScheduledSignal:
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
        entry=entry,
    )


def held(name="a", *, at=1, opened=None, **more) -> OpenSignal:
    row = waiting(name, at=at, **more)
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


# States


def ordering(name="a", *, at=1, not_before=None, ending=None, entry="market", **more) -> Opening:
    moment = (at if not_before is None else not_before) * MINUTE
    return Opening(signal=waiting(name, at=at, entry=entry, **more), not_before=moment, ending=ending)


def resting(name="a", **more) -> Waiting:
    return Waiting(signal=waiting(name, **more))


def holding(name="a", **more) -> Holding:
    signal = held(name, **more)
    return Holding(signal=signal, highest=signal.price_open, lowest=signal.price_open)


def leaving(name="a", *, ends=9, not_before=None, **more) -> Holding:
    moment = (ends if not_before is None else not_before) * MINUTE
    order = Leaving(reason="time_expired", decided_at=ends * MINUTE, not_before=moment, price=109.0)
    return replace(holding(name, **more), leaving=order)


def candle(minute, opened, low=None, high=None, *, traded=True) -> Minute:
    """A candle that closes where it opens."""
    low, high = (opened if low is None else low), (opened if high is None else high)
    return Minute(minute * MINUTE, opened, high, low, opened, opened, traded)


# Positions that are managed


def part(number=1, share=0.5, *, kind="reduce", at=3, not_before=None, price_open=None) -> PositionOrder:
    """An order on an open position that was decided at a minute; with ``price_open`` a resting add."""
    return PositionOrder(
        kind=kind,
        number=number,
        share=share,
        decided_at=at * MINUTE,
        not_before=(at if not_before is None else not_before) * MINUTE,
        price=102.0,
        price_open=price_open,
        until=None if price_open is None else (at + 30) * MINUTE,
    )


def managed(*orders, ends=None, **more) -> Holding:
    """A managed position with orders that no candle has filled; ``ends``: it leaves at that minute."""
    state = holding(**more) if ends is None else leaving(ends=ends, **more)
    book = new_book(state.signal, highest=state.highest, lowest=state.lowest)
    return replace(state, book=replace(book, orders=orders, number=1 + len(orders)))


def reduced(number=1, share=0.5, *, when=3, price=102.0, reason="strategy", **more) -> Reduced:
    fill = Fill(number=number, kind="reduce", at=when * MINUTE, share=share, price=price, reason=reason)
    return Reduced(**WHERE, when=when * MINUTE, price=price, signal=held(**more), fill=fill, size=0.5)


def added(number=1, share=0.5, *, when=3, price=102.0, **more) -> Added:
    fill = Fill(number=number, kind="add", at=when * MINUTE, share=share, price=price)
    return Added(
        **WHERE, when=when * MINUTE, price=price, signal=held(**more), fill=fill, size=1.5, average_price=101.0
    )


def taken_back(number=1, share=0.5, *, when=4, price_open=98.0, **more) -> AddCancelled:
    return AddCancelled(
        **WHERE,
        when=when * MINUTE,
        price=101.0,
        signal=held(**more),
        number=number,
        share=share,
        price_open=price_open,
        reason="timeout",
    )
