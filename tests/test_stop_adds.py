"""Adds by stop orders, and adds with a stop of their own: tables by hand, both sides, each execution model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from managed import Row, play
from minute_clock import MinuteClock
from scenarios import MINUTE, ORIGIN, source
from test_managed_positions import END, IN, NOTHING, long
from test_moved_orders import AVERAGE_END

import bknb
from bknb import Add, Close, Move
from bknb.brokers.paper_broker import PaperBroker
from bknb.stores.memory_store import MemoryStore
from bknb.testing.clocks import SimulatedClock

if TYPE_CHECKING:
    from collections.abc import Mapping

UP = (100.0, 105.0, 100.0, 104.0)
HIGH = (104.0, 104.0, 104.0, 104.0)
AT = "added 1 at 104"
BUY = Add(1, price_open=104.0, entry="stop")
OWN = {3: Add(1, price_open=104.0, entry="stop", price_stop_loss=102.0)}
NEAR = {3: Add(1, price_open=96.0, price_stop_loss=94.0)}

ROWS = [
    # where it fills
    Row("a stop add that is not touched", long(90), {6: (100, 103, 100, 100)}, {3: BUY}, lines=[IN, END]),
    Row("a stop add", long(90), {6: UP}, {3: BUY}, lines=[IN, f"{AT} @m6, 2 held", END]),
    Row("a stop add at the high", long(90), {6: (100, 104, 100, 100)}, {3: BUY},
        lines=[IN, f"{AT} @m6, 2 held", END]),
    Row("a gap beyond a stop add", long(90), {6: (106, 107, 105, 106)}, {3: BUY},
        lines=[IN, "added 1 at 106 @m6, 2 held", END], touch=[IN, f"{AT} @m6, 2 held", END]),
    Row("a stop add in a candle without volume", long(90), {6: UP, 9: UP}, {3: BUY}, volume={6: 0.0},
        lines=[IN, f"{AT} @m9, 2 held", END], touch=[IN, f"{AT} @m6, 2 held", END]),
    Row("a stop add that the market has passed fills at the next open", long(90), {}, {3: Add(1, 98.0, entry="stop")},
        lines=[IN, "added 1 at 100 @m3, 2 held", END], vwap=[IN, "added 1 at 98 @m3, 2 held", AVERAGE_END]),
    Row("a stop add when the average is there", NOTHING, {6: (105,) * 4}, {3: BUY}, volume={6: 1e25}, lines=None,
        vwap=[IN, f"{AT} @m6, 2 held", AVERAGE_END]),
    Row("a stop add waits as long as it says", long(90), {9: UP}, {3: Add(1, 104.0, entry="stop", valid=5)},
        lines=[IN, "taken back timeout @m8", END], vwap=[IN, "taken back timeout @m8", AVERAGE_END]),
    Row("several stop adds, the nearest first", long(90), {6: UP}, {3: [BUY, Add(0.5, 102.0, entry="stop")]},
        lines=[IN, "added 0.5 at 102 @m6, 1.5 held", f"{AT} @m6, 2.5 held", END]),
    Row("a limit and a stop add in one candle", long(90), {6: (100, 105, 96.5, 100)}, {3: [BUY, Add(0.5, 97.0)]},
        lines=[IN, "added 0.5 at 97 @m6, 1.5 held", f"{AT} @m6, 2.5 held", END]),
    Row("a stop add is moved", long(90), {6: (100, 103, 100, 100)}, {3: BUY, 5: Move(price_open=102.0)},
        lines=[IN, "taken back strategy @m5", "added 1 at 102 @m6, 2 held", END]),
    # beside levels of the position
    Row("a stop add and the stop in one candle", long(95), {6: (100, 105, 94, 100)}, {3: BUY},
        lines=[IN, f"{AT} @m6, 2 held", "closed stop_loss 95 @m6 ambiguous"]),
    Row("a stop add and the stop at the open", long(95), {6: (94, 105, 93, 100)}, {3: BUY},
        lines=[IN, "closed stop_loss 94 @m6"],
        touch=[IN, f"{AT} @m6, 2 held", "closed stop_loss 95 @m6 ambiguous"]),
    Row("a stop add and the target in one candle", long(90, 106.0), {6: (100, 107, 100, 106)}, {3: BUY},
        lines=[IN, "closed take_profit 106 @m6 ambiguous"]),
    Row("a stop add behind the target", long(90, 103.0), {6: UP}, {3: BUY},
        lines=[IN, "closed take_profit 103 @m6 ambiguous"]),
    Row("a gap beyond a stop add and the target", long(90, 106.0), {6: (107, 108, 106, 107)}, {3: BUY},
        lines=[IN, "added 1 at 107 @m6, 2 held", "closed take_profit 107 @m6"],
        touch=[IN, "closed take_profit 106 @m6 ambiguous"]),
    Row("a stop add and a level of a ladder in one candle", long(90, [(103.0, 0.5)]), {6: UP}, {3: BUY},
        lines=[IN, "reduced take_profit 0.5 at 103 @m6, 0.5 left", f"{AT} @m6, 1.5 held", END]),
    # a stop of its own
    Row("the stop of a stop add", long(90), {6: UP, 7: HIGH, 8: (104, 104, 101, 103)}, OWN,
        lines=[IN, f"{AT} @m6, 2 held", "moved strategy to 102 @m7", "closed stop_loss 102 @m8 ambiguous"]),
    Row("the stop of a stop add is not in force in its candle", long(90), {6: (103, 105, 101, 104), 7: HIGH}, OWN,
        lines=[IN, f"{AT} @m6, 2 held", "moved strategy to 102 @m7", "closed stop_loss 100 @m8 ambiguous"],
        touch=[IN, f"{AT} @m6, 2 held", "moved strategy to 102 @m7", "closed stop_loss 102 @m8 ambiguous"]),
    Row("nothing is in doubt where its candle did not reach it", long(90), {6: (103, 105, 102.5, 104), 7: HIGH}, OWN,
        lines=[IN, f"{AT} @m6, 2 held", "moved strategy to 102 @m7", "closed stop_loss 100 @m8"],
        touch=[IN, f"{AT} @m6, 2 held", "moved strategy to 102 @m7", "closed stop_loss 102 @m8"]),
    Row("a stop add at an open has its stop at once", long(90), {6: (106, 107, 101, 106)}, OWN,
        lines=[IN, "added 1 at 106 @m6, 2 held", "moved strategy to 102 @m6", "closed stop_loss 102 @m6"],
        touch=[IN, f"{AT} @m6, 2 held", "moved strategy to 102 @m7", "closed stop_loss 102 @m7 ambiguous"]),
    Row("a looser stop of an add is not taken", long(95), {6: UP, 8: (100, 100, 94, 100)},
        {3: Add(1, 104.0, entry="stop", price_stop_loss=92.0)},
        lines=[IN, f"{AT} @m6, 2 held", "closed stop_loss 95 @m8"]),
    Row("each add raises the stop", long(90), {5: (100, 103, 100, 103), 6: (103, 105, 103, 105), 7: (105, 105, 98, 99)},
        {2: [Add(1, 102.0, entry="stop", price_stop_loss=97.0), Add(1, 104.0, entry="stop", price_stop_loss=99.0)]},
        lines=[IN, "added 1 at 102 @m5, 2 held", "moved strategy to 97 @m6", f"{AT} @m6, 3 held",
               "moved strategy to 99 @m7", "closed stop_loss 99 @m7"]),
    Row("a limit add with a stop of its own", long(80), {6: (100, 100, 95, 100), 8: (100, 100, 93, 100)}, NEAR,
        lines=[IN, "added 1 at 96 @m6, 2 held", "moved strategy to 94 @m6", "closed stop_loss 94 @m8"]),
    Row("a limit add fills on the way to its stop", long(80), {6: (100, 100, 93, 100)}, NEAR,
        lines=[IN, "added 1 at 96 @m6, 2 held", "moved strategy to 94 @m6", "closed stop_loss 94 @m6"]),
    Row("a gap through a limit add and its stop", long(80), {6: (93, 94, 92, 93)}, NEAR,
        lines=[IN, "added 1 at 93 @m6, 2 held", "moved strategy to 94 @m6", "closed stop_loss 93 @m6"],
        touch=[IN, "added 1 at 96 @m6, 2 held", "moved strategy to 94 @m6", "closed stop_loss 94 @m6"]),
    Row("a market add with a stop of its own", long(80), {5: (100, 100, 97, 100)}, {3: Add(1, price_stop_loss=98.0)},
        lines=[IN, "added 1 at 100 @m3, 2 held", "moved strategy to 98 @m3", "closed stop_loss 98 @m5"]),
    Row("a position without a stop has that of its add", NOTHING, {6: UP, 7: HIGH, 8: (103, 103, 101, 103)}, OWN,
        lines=[IN, f"{AT} @m6, 2 held", "moved strategy to 102 @m7", "closed stop_loss 102 @m8 ambiguous"]),
    Row("a stop in percent moves with a stop add, from the next candle on",
        long(stop_percent=10.0), {6: (100, 111, 94, 100), 9: (100, 100, 94, 100)}, {3: Add(1, 110.0, entry="stop")},
        lines=[IN, "added 1 at 110 @m6, 2 held", "moved strategy to 94.5 @m7", "closed stop_loss 94.5 @m9 ambiguous"],
        mirrors=False),
    Row("the stop of an add takes the place of one in percent for good", long(stop_percent=10.0),
        {7: (120,) * 4, 9: (100, 100, 94, 100)}, {3: Add(1, price_stop_loss=95.0), 7: Add(1)},
        lines=[IN, "added 1 at 100 @m3, 2 held", "moved strategy to 95 @m3", "added 1 at 120 @m7, 3 held",
               "closed stop_loss 95 @m9"], vwap=None, mirrors=False),
    Row("until a move says a new one", long(stop_percent=10.0),
        {7: (120,) * 4, 8: (110,) * 4, 9: (100, 100, 94, 100)},
        {3: Add(1, price_stop_loss=95.0), 7: Add(2), 9: Move(stop_percent=12.0)},
        lines=[IN, "added 1 at 100 @m3, 2 held", "moved strategy to 95 @m3", "added 2 at 120 @m7, 4 held",
               "moved strategy to 96.8 @m9", "closed stop_loss 96.8 @m9"], vwap=None, mirrors=False),
    # what is wrong
    Row("a stop add without its price", long(90), {}, {3: Add(1, entry="stop")},
        lines=[IN, "rejected add_entry @m3", END]),
    Row("an add of no kind", long(90), {}, {3: Add(1, 104.0, entry="close")},  # type: ignore[arg-type]
        lines=[IN, "rejected add_entry @m3", END]),
    Row("a stop of an add on its wrong side", long(90), {}, {3: Add(1, 104.0, entry="stop", price_stop_loss=105.0)},
        lines=[IN, "rejected add_stop_side @m3", END]),
    Row("a stop of a market add at the last close", long(90), {}, {3: Add(1, price_stop_loss=100.0)},
        lines=[IN, "rejected add_stop_side @m3", END]),
    Row("a stop of an add that is none", long(90), {}, {3: Add(1, price_stop_loss=float("nan"))},
        lines=[IN, "rejected add_price @m3", END]),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "row",
    [row for each in ROWS for row in ((each, each.mirrored()) if each.mirrors else (each,))],
    ids=lambda row: row.name,
)
def test_what_comes_of_a_stop_add(row: Row) -> None:
    for model in ("pessimistic", "touch", "vwap"):
        wanted = row.expected(model)
        if wanted is not None:
            assert play(row, model) == wanted, model
            assert play(row, model, every_minute=True) == wanted, model


def market(candles: Mapping[int, Any], last: float = 100.0) -> Any:
    price, rows = 100.0, []
    for k in range(-60, 60):
        candle = candles.get(k, (price,) * 4)
        price = candle[3]
        rows.append((ORIGIN + k * MINUTE, *candle, 100.0))
    return source(rows)


def turtle(ctx: Any) -> Any:
    """Breakouts of ten minutes, both sides, as stop entries."""
    candles = ctx.candles("1m", 10)
    high, low = float(candles.high.max()), float(candles.low.min())
    both: dict[str, Any] = {"entry": "stop", "valid": "slot"}
    return [
        bknb.Signal(position="long", price_open=high + 0.5, price_stop_loss=high - 3.5, **both),
        bknb.Signal(position="short", price_open=low - 0.5, price_stop_loss=low + 3.5, **both),
    ]


def units(position: bknb.Position) -> Any:
    """A unit more for each move of 1 in favour, up to four, each with its stop for all."""
    if position.size and position.entries < 4 and not position.waiting:
        level = position.last_entry + position.sign * 1.0
        return bknb.Add(1, price_open=level, entry="stop", price_stop_loss=level - position.sign * 2.0, valid=None)
    return None


RISING: Mapping[int, Any] = {
    4: (100.0, 101.2, 100.0, 101.0), 6: (101.0, 101.9, 100.9, 101.8), 8: (101.8, 102.8, 101.7, 102.6),
    10: (102.6, 105.0, 102.6, 104.8), 12: (104.8, 105.2, 104.6, 105.0), 14: (105.0, 105.0, 101.0, 102.2),
}  # fmt: skip


def added(result: bknb.Result) -> list[tuple[str, float, float]]:
    return [(kind, share, price) for kind, share, price in result.fills[["kind", "share", "price"]].to_numpy()]


def test_a_turtle_adds_units_and_raises_the_stop_of_all() -> None:
    """Live as over history; ``turtle`` and ``units`` are the whole strategy."""
    strategy = bknb.add_strategy("turtle", interval="30m", get_signal=turtle, manage=units, manage_interval="1m")
    common: dict[str, Any] = {
        "strategy": strategy, "exchange": market(RISING), "capital": 10_000, "sizing": bknb.size.Risk(0.5),
        "settings": {"percent_fee": 0, "percent_slippage": 0},
    }  # fmt: skip
    result = bknb.backtest("BTCUSDT", frame=(ORIGIN, ORIGIN + 20 * MINUTE), **common)
    assert added(result) == [
        ("entry", 1.0, 100.5), ("add", 1.0, 101.5), ("add", 1.0, 102.5), ("add", 1.0, 103.5), ("exit", 4.0, 101.5),
    ]  # fmt: skip
    assert result.trades["close_reason"].tolist() == ["stop_loss"]
    live = bknb.Live.background(
        "BTCUSDT", clock=SimulatedClock(ORIGIN), until=ORIGIN + 20 * MINUTE, store=MemoryStore(), **common
    ).result(timeout=60)
    assert added(live) == added(result)
    assert live.fills["quantity"].tolist() == result.fills["quantity"].tolist()


def test_at_a_broker_a_stop_add_is_watched_here_until_it_fills() -> None:
    broker = PaperBroker()
    answers = {3: Add(1, price_open=104.0, entry="stop", price_stop_loss=98.0), 12: Close()}
    result = bknb.Live.background(
        "BTCUSDT",
        strategy=bknb.add_strategy(
            "adds", get_signal=lambda when: NOTHING if when.minute == 0 else None, interval="1m", manage_interval="1m",
            manage=lambda when: answers.get(when.minute),
        ),
        exchange=market({6: UP}), store=MemoryStore(), broker=broker, quantity=2.0, clock=MinuteClock(ORIGIN),
        until=ORIGIN + 20 * MINUTE,
    ).result(timeout=60)  # fmt: skip
    assert not result.errors, result.errors
    assert [(each.side, each.price, each.quantity, each.status) for each in broker.orders.values()] == [
        ("buy", None, 2.0, "filled"), ("buy", None, 2.0, "filled"), ("sell", None, 4.0, "filled"),
    ]  # fmt: skip


def test_the_money_of_a_stop_add_is_that_of_a_stop() -> None:
    """It pays what a stop costs, also where a candle opens beyond it; what it takes is reserved while it waits."""
    asked: list[tuple[str, float]] = []

    def costs(order: bknb.CostRequest) -> float:
        if order.kind == "add" and order.quantity > 0:
            asked.append((order.filled_by, order.price))
        return 0.0

    for candle, price in ((UP, 104.0), ((106.0, 107.0, 105.0, 106.0), 106.0)):
        asked.clear()
        bknb.backtest(
            "BTCUSDT",
            strategy=bknb.add_strategy(
                "adds", get_signal=lambda when: NOTHING if when.minute == 0 else None, interval="1m",
                manage=lambda when: Add(0.5, price_open=104.0, entry="stop") if when.minute == 3 else None,
            ),
            exchange=market({6: candle}), frame=(ORIGIN, ORIGIN + 20 * MINUTE), capital=10_000,
            sizing=bknb.size.Percent(20), costs=bknb.Costs(taker=costs),
        )  # fmt: skip
        assert {by for by, _ in asked} == {"stop"}
        assert asked[-1] == ("stop", price)


def test_a_position_with_a_stop_add_is_saved_in_the_newest_format_and_goes_on_after_a_restart() -> None:
    answers = {3: Add(1, price_open=104.0, entry="stop", price_stop_loss=102.0)}
    candles = {6: UP, 7: HIGH, 9: (104.0, 104.0, 101.0, 103.0)}

    def live(store: MemoryStore, begin: int, until: int) -> Any:
        return bknb.Live.background(
            "BTCUSDT",
            strategy=bknb.add_strategy(
                "adds", get_signal=lambda when: NOTHING if when.minute == 0 else None, interval="1m",
                manage=lambda when: answers.get(when.minute), manage_interval="1m",
            ),
            exchange=market(candles), store=store, clock=SimulatedClock(ORIGIN + begin * MINUTE),
            until=ORIGIN + until * MINUTE,
        ).result(timeout=60).run_record.records  # fmt: skip

    (whole,) = live(MemoryStore(), 0, 20).closed
    assert [fill.price for fill in whole.fills] == [100.0, 104.0, 102.0]
    for split, version in ((2, 4), (5, 5), (7, 4), (8, 4)):
        store = MemoryStore()
        live(store, 0, split)
        with store:
            (key,) = store.keys("signal")
            assert json.loads(store.read("signal", key))["version"] == version, split
        assert msgspec.structs.replace(live(store, split, 20).closed[0], price=0.0) == msgspec.structs.replace(
            whole, price=0.0
        )
