"""What holds where a run has several signals at once: ids, positions still open, where the first entry can change."""

from __future__ import annotations

import math

from msgspec.structs import replace

from bknb.config import Settings
from bknb.domain.checked_signal import signal_id
from bknb.domain.fills_at_stops_and_gaps import execution_model
from bknb.domain.lifecycle import Flat, Opening, Waiting, waiting_signals
from bknb.domain.signal import OpenSignal, ScheduledSignal
from bknb.domain.signal_events import Closed, Opened, Pnl
from bknb.domain.states import Rules, labels
from bknb.engine.prices_that_change_a_state import entries_bounds, entry_bounds
from bknb.engine.records import Records

RULES = Rules("BTCUSDT", "sma", "demo", None, "backtest", execution_model("pessimistic"), Settings())
LONG = ScheduledSignal(
    id="a",
    symbol="BTCUSDT",
    strategy="sma",
    exchange="demo",
    position="long",
    price_open=90.0,
    price_take_profit=110.0,
    price_stop_loss=80.0,
    minute_estimated_time=60,
    note="",
    scheduled_at=0,
    entry="limit",
)


def test_a_suffix_tells_the_signals_of_one_answer_apart() -> None:
    assert [signal_id(RULES, 0, suffix) for suffix in ("", "#2", "@63000")] == [
        "sma-BTCUSDT-19700101T0000",
        "sma-BTCUSDT-19700101T0000#2",
        "sma-BTCUSDT-19700101T0000@63000",
    ]


def test_what_waits_are_the_signals_that_have_not_filled() -> None:
    assert waiting_signals(Flat()) == ()
    assert waiting_signals(Waiting(signal=LONG)) == waiting_signals(Opening(signal=LONG, not_before=0)) == (LONG,)


def test_entries_can_change_where_the_first_of_them_can() -> None:
    inf, far = math.inf, replace(LONG, price_open=85.0)
    short = replace(LONG, position="short", price_open=112.0, price_take_profit=100.0, price_stop_loss=120.0)
    breakout = replace(LONG, entry="stop", price_open=105.0, price_stop_loss=95.0)
    assert entries_bounds([LONG], average=False) == entry_bounds(LONG, average=False)
    assert entries_bounds([far, LONG, short], average=False) == (112.0, 90.0, inf, -inf)
    assert entries_bounds([breakout, far, short], average=False) == (105.0, 95.0, inf, -inf)
    assert entries_bounds([breakout, far, short], average=True) == (112.0, 85.0, 105.0, 95.0)


def test_positions_are_open_from_their_fill_to_their_exit_the_oldest_first() -> None:
    first, second, third = (
        OpenSignal(**{name: getattr(LONG, name) for name in LONG.__struct_fields__} | {"id": name_}, pending_at=at)
        for name_, at in (("a", 1), ("b", 2), ("c", 3))
    )
    records = Records()
    for each in (first, second, third):
        records.add(Opened(**labels(RULES), when=each.pending_at, price=90.0, signal=each))
    assert (records.open_signals, records.position_count) == ((first, second, third), 3)
    nothing = Pnl(pnl_percentage=0.0, gross_percentage=0.0, fee_percentage=0.0, slippage_percentage=0.0)
    records.add(
        Closed(
            **labels(RULES),
            when=4,
            price=90.0,
            signal=second,
            close_reason="take_profit",
            closed_at=4,
            price_close=90.0,
            pnl=nothing,
            peak_percentage=0.0,
            trough_percentage=0.0,
            ambiguous=False,
        )
    )
    assert (records.open_signals, records.position_count) == ((first, third), 3)
