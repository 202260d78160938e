"""Orders at a broker over bars that count from the open of their market, or are longer than a minute otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from test_bars_live import SETTINGS
from test_base_bars import frame_of
from test_half_past_bars import HOUR, MARKETS, MINUTE, bars_of
from test_half_past_live import of_function

import bknb
from bknb.brokers import PaperBroker
from bknb.domain.broker_orders_and_ids import Order, Report
from bknb.domain.signal_events import Closed, Opened
from bknb.testing.clocks import SimulatedClock


class Told(PaperBroker):
    """A broker on paper that keeps when each order came, and the order."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__()
        self.clock, self.came = clock, list[tuple[int, Order]]()

    async def place(self, order: Order) -> Report:
        self.came.append((self.clock.now(), order))
        return await super().place(order)


def lived(strategy: Any, source: Any, span: tuple[int, int], clock: SimulatedClock) -> tuple[bknb.Result, Told]:
    broker = Told(clock)
    task = bknb.Live.background(
        "X", strategy=strategy, exchange=source, until=span[1], clock=clock, store=bknb.stores.memory(),
        settings=SETTINGS, broker=broker, quantity=2.0,
    )  # fmt: skip
    return task.result(timeout=60), broker


@pytest.mark.slow
@pytest.mark.parametrize("by_table", [True, False])
@pytest.mark.parametrize("purpose", ["open", "close"])
def test_an_order_for_the_close_is_at_the_broker_as_the_last_bar_opens(purpose: str, by_table: bool) -> None:  # noqa: FBT001
    """So the broker holds nothing over a night in which the record holds nothing."""
    market = MARKETS["new york"]
    bars, spans = bars_of(market, HOUR, 4), market.spans(28)
    bars = [bar._replace(volume=bar.volume or 1.0) for bar in bars]
    span = spans[3][0] - 7 * MINUTE, spans[-5][1] + HOUR
    clock = SimulatedClock(span[0])
    ends: dict[str, Any] = {"until": "session_end"} if purpose == "close" else {"entry": "close", "bars": 3}
    strategy = bknb.add_strategy("clocked", at="session_open", get_signal=lambda: bknb.Signal(position="long", **ends))
    table = bknb.exchanges.from_frame(frame_of(bars), symbol="X", sessions=market.sessions)
    result, broker = lived(strategy, table if by_table else of_function(bars, market, "1h", clock), span, clock)
    assert not result.errors
    opens = {bar.t: bar.open for bar in bars}
    last_open = {close: max(t for t in opens if t < close) for _, close in spans}
    orders = [(came, order) for came, order in broker.came if order.purpose == purpose]
    moments = [came for came, _ in orders]
    assert len(moments) > 3
    assert set(moments) <= set(last_open.values())
    assert [order.created_at for _, order in orders] == moments
    assert [broker.orders[order.client_id].average_price for _, order in orders] == [opens[t] for t in moments]
    if purpose == "close":
        assert broker.position("X") == 0.0
        assert [event.closed_at for event in result.events if isinstance(event, Closed)] == moments


@pytest.mark.slow
def test_what_opens_in_the_last_bar_before_its_close_is_closed_at_the_broker_at_the_next_open() -> None:
    """That it opened is known when that bar has closed: a broker on paper closes nothing in the past."""
    market = MARKETS["new york"]
    bars, spans = bars_of(market, HOUR, 4), market.spans(28)
    bars = [bar._replace(volume=bar.volume or 1.0) for bar in bars]
    span, clock = (spans[3][0], spans[6][1]), SimulatedClock(spans[3][0])
    signal = bknb.Signal(position="long", until="session_end")
    strategy = bknb.add_strategy("late", at="session_close-30m", get_signal=lambda: signal)
    result, broker = lived(strategy, of_function(bars, market, "1h", clock), span, clock)
    opened, closed = ([e for e in result.events if isinstance(e, kind)] for kind in (Opened, Closed))
    assert closed[0].closed_at == opened[0].when == max(bar.t for bar in bars if bar.t < spans[3][1])
    (came, order), *_ = [(came, order) for came, order in broker.came if order.purpose == "close"]
    assert came == order.created_at == spans[3][1]
    following = next(bar for bar in bars if bar.t == spans[4][0])
    assert broker.orders[order.client_id].average_price == following.open
