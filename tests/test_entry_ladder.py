"""Entry ladders: an entry in several parts; tables by hand, both sides, each execution model, and their money."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from managed import Row, mirrored_line, play
from minute_clock import MinuteClock
from scenarios import MINUTE, ORIGIN, Candle, source
from test_managed_positions import END, IN, long
from test_moved_orders import AVERAGE_END, ID

import bknb
from bknb import Add, Cancel, Move
from bknb.brokers.paper_broker import PaperBroker
from bknb.domain.signal_validation import read_answer
from bknb.stores.memory_store import MemoryStore
from bknb.testing.clocks import SimulatedClock

if TYPE_CHECKING:
    from collections.abc import Mapping

THREE = [(98.0, 0.5), (96.0, 0.25), (94.0, 0.25)]
HALVES = [(None, 0.5), (98.0, 0.5)]
W, O3 = "scheduled 98 @m0", "opened 98 @m3"
ADD2, ADD3 = "added 0.5 at 96", "added 0.5 at 94"

ROWS = [
    Row("none is touched", long(90, price_open=THREE, valid=5), {}, lines=[W, "cancelled timeout @m5"]),
    Row("one is touched", long(90, price_open=THREE), {3: (100, 100, 97, 100)}, lines=[W, O3, END]),
    Row("two are touched in one candle", long(90, price_open=THREE), {3: (100, 100, 95, 100)},
        lines=[W, O3, f"{ADD2} @m3, 1.5 held", END]),
    Row("one after the other", long(90, price_open=THREE), {3: (100, 100, 97, 100), 5: (100, 100, 93, 100)},
        lines=[W, O3, f"{ADD2} @m5, 1.5 held", f"{ADD3} @m5, 2 held", END]),
    Row("a part at the low waits", long(90, price_open=THREE), {3: (100, 100, 96, 100)}, lines=[W, O3, END],
        touch=[W, O3, f"{ADD2} @m3, 1.5 held", END]),
    Row("all of them and the stop in one candle", long(90, price_open=THREE), {3: (100, 100, 89, 100)},
        lines=[W, O3, f"{ADD2} @m3, 1.5 held", f"{ADD3} @m3, 2 held", "closed stop_loss 90 @m3 ambiguous"],
        touch=[W, "cancelled price_reject @m3"]),
    Row("a later part and the stop in one candle", long(90, price_open=THREE),
        {3: (100, 100, 97, 100), 5: (100, 100, 89, 100)},
        lines=[W, O3, f"{ADD2} @m5, 1.5 held", f"{ADD3} @m5, 2 held", "closed stop_loss 90 @m5"]),
    Row("a gap through two of them", long(90, price_open=THREE), {3: (95, 97, 94.5, 96)},
        lines=[W, "opened 95 @m3", "added 0.5 at 95 @m3, 1.5 held", END],
        touch=[W, O3, f"{ADD2} @m3, 1.5 held", END]),
    Row("a gap through the stop", long(90, price_open=THREE), {3: (89, 91, 88, 90)},
        lines=[W, "opened 89 @m3", *["added 0.5 at 89 @m3, " + each for each in ("1.5 held", "2 held")],
               "closed stop_loss 89 @m3"],
        touch=[W, "cancelled price_reject @m3"]),
    Row("a candle without volume", long(90, price_open=THREE), {3: (100, 100, 95, 100), 5: (100, 100, 97, 100)},
        volume={3: 0.0}, lines=[W, "opened 98 @m5", END], touch=[W, O3, f"{ADD2} @m3, 1.5 held", END]),
    Row("in any order", long(90, price_open=[THREE[2], THREE[0], THREE[1]]), {3: (100, 100, 95, 100)},
        lines=[W, O3, f"{ADD2} @m3, 1.5 held", END]),
    Row("one part", long(90, price_open=[(98.0, 0.5)]), {3: (100, 100, 97, 100)}, lines=[W, O3, END]),
    Row("a part at the market", long(90, price_open=HALVES), {3: (100, 100, 97, 100)},
        lines=[IN, "added 1 at 98 @m3, 2 held", END], vwap=[IN, "added 1 at 98 @m3, 2 held", AVERAGE_END]),
    Row("a part at the market, the other in its candle", long(90, price_open=HALVES), {0: (100, 100, 97, 100)},
        lines=[IN, "added 1 at 98 @m0, 2 held", END]),
    Row("parts that the market has passed", long(90, price_open=[(103.0, 0.5), (101.0, 0.5)]), {},
        lines=[IN, "added 1 at 100 @m0, 2 held", END]),
    Row("parts wait as long as valid says", long(90, price_open=HALVES, valid=5), {7: (100, 100, 97, 100)},
        lines=[IN, "taken back timeout @m5", END]),
    Row("a part whose time is over before the first fills",
        long(90, price_open=HALVES, valid=2), {2: (100, 100, 97, 100), 3: (100, 100, 97, 100)},
        volume={0: 0.0, 1: 0.0, 2: 0.0}, lines=["opened 100 @m3", "taken back timeout @m3", END],
        touch=[IN, "taken back timeout @m2", END]),
    Row("parts end with the position", long(90, price_open=HALVES, minutes=4), {6: (100, 100, 97, 100)},
        lines=[IN, "closed time_expired 100 @m4"]),
    Row("stop orders in parts", long(95, price_open=[(104.0, 0.5), (102.0, 0.5)], entry="stop"),
        {3: (100, 105, 100, 104)}, lines=["scheduled 102 @m0", "opened 102 @m3", "added 1 at 104 @m3, 2 held", END]),
    Row("stop orders in parts whose candle reaches a stop in percent, which was not there before",
        long(stop_percent=2.0, price_open=[(104.0, 0.5), (106.0, 0.5)], entry="stop"), {3: (100, 105, 100, 104)},
        lines=["scheduled 104 @m0", "opened 104 @m3", "closed stop_loss 100 @m4 ambiguous"], mirrors=False,
        touch=["scheduled 104 @m0", "opened 104 @m3", "closed stop_loss 101.92 @m4 ambiguous"]),
    Row("stop orders in parts whose candle reached what a later part moves a stop in percent to",
        long(stop_percent=1.0, price_open=[(102.0, 0.5), (104.0, 0.5)], entry="stop"), {3: (101.5, 105, 101.5, 104)},
        lines=["scheduled 102 @m0", "opened 102 @m3", "added 1 at 104 @m3, 2 held", "moved strategy to 101.97 @m4",
               "closed stop_loss 100 @m4 ambiguous"], mirrors=False,
        touch=["scheduled 102 @m0", "opened 102 @m3", "added 1 at 104 @m3, 2 held", "moved strategy to 101.97 @m4",
               "closed stop_loss 101.97 @m4 ambiguous"]),
    Row("a stop in percent that a later part moves away before it is reached leaves nothing in doubt",
        long(stop_percent=2.5, price_open=[(98.0, 0.5), (96.0, 0.5)]), {3: (100, 100, 95, 97)},
        lines=["scheduled 98 @m0", "opened 98 @m3", "added 1 at 96 @m3, 2 held", "moved strategy to 94.575 @m3", END],
        touch=["scheduled 98 @m0", "cancelled price_reject @m3"], mirrors=False),
    Row("a stop order of a part looks for its profit later", long(95, 106.0, price_open=[(102.0, 0.5), (104.0, 0.5)],
                                                                 entry="stop"), {3: (100, 107, 100, 104)},
        lines=["scheduled 102 @m0", "opened 102 @m3", "added 1 at 104 @m3, 2 held", END]),
    Row("stop orders and the stop in one candle", long(95, price_open=[(102.0, 0.5), (104.0, 0.5)], entry="stop"),
        {3: (100, 105, 94, 104), 4: (104,) * 4},
        lines=["scheduled 102 @m0", "opened 102 @m3", "added 1 at 104 @m3, 2 held",
               "closed frame_end 100 @m30 ambiguous"]),
    # levels
    Row("a target in percent moves with each part", long(target_percent=1.0, price_open=HALVES),
        {3: (100, 100, 97, 98), 4: (98, 99.5, 98, 99), 5: (99, 100.5, 99, 100)},
        lines=[IN, "added 1 at 98 @m3, 2 held", "moved strategy to none @m3", "closed take_profit 99.99 @m5"],
        mirrors=False),
    Row("a stop in percent moves before it is reached", long(stop_percent=3.0, price_open=HALVES),
        {3: (100, 100, 96.5, 98), 4: (98, 98, 96, 97)},
        lines=[IN, "added 1 at 98 @m3, 2 held", "moved strategy to 96.03 @m3", "closed stop_loss 96.03 @m4"],
        mirrors=False),
    Row("a target and a part in one candle", long(90, 103.0, price_open=HALVES), {3: (100, 104, 97, 100)},
        lines=[IN, "closed take_profit 103 @m3 ambiguous"]),
    # managed
    Row("parts are cancelled", long(90, price_open=THREE), {3: (100, 100, 97, 100), 6: (100, 100, 93, 100)},
        {5: Cancel()}, lines=[W, O3, "taken back strategy @m5", "taken back strategy @m5", END]),
    Row("one part is cancelled", long(90, price_open=THREE), {3: (100, 100, 97, 100), 6: (100, 100, 93, 100)},
        {5: Cancel(id=f"{ID}#1")}, lines=[W, O3, "taken back strategy @m5", f"{ADD3} @m6, 1.5 held", END]),
    Row("one part is moved", long(90, price_open=THREE), {3: (100, 100, 97, 100), 6: (100, 100, 92.5, 100)},
        {5: Move(price_open=93.0, id=f"{ID}#1")},
        lines=[W, O3, "taken back strategy @m5", f"{ADD3} @m6, 1.5 held", "added 0.5 at 93 @m6, 2 held", END]),
    Row("the first part is moved", long(90, price_open=THREE), {6: (100, 100, 95, 100)}, {4: Move(price_open=99.0)},
        lines=[W, "cancelled strategy @m4", "scheduled 99 @m4", "opened 99 @m6", f"{ADD2} @m6, 1.5 held", END]),
    Row("parts are no adds", long(90, price_open=HALVES), {3: (100, 100, 97, 100)},
        {1: Move(price_open=98.5), 5: Add(1)}, settings={"max_adds": 0},
        lines=[IN, "taken back strategy @m1", "added 1 at 98.5 @m3, 2 held", "rejected add_limit @m5", END]),
    Row("parts that are cancelled make no room for adds", long(90, price_open=THREE), {3: (100, 100, 97, 100)},
        {5: Cancel(), 6: [Add(1), Add(1)]}, settings={"max_adds": 1},
        lines=[W, O3, *["taken back strategy @m5"] * 2, "rejected add_limit @m6", END]),
    # what is wrong
    Row("more than the whole", long(90, price_open=[(98.0, 0.75), (96.0, 0.5)]), {},
        lines=["rejected entry_ladder @m0"]),
    Row("a part of next to nothing", long(90, price_open=[(98.0, 1e-12), (96.0, 0.5)]), {},
        lines=["rejected entry_ladder @m0"]),
    Row("no part", long(90, price_open=[]), {}, lines=["rejected entry_ladder @m0"]),
    Row("two at the market", long(90, price_open=[(None, 0.5), (None, 0.5)]), {}, lines=["rejected entry_ladder @m0"]),
    Row("a price that is none", long(90, price_open=[("98", 0.5)]), {}, lines=["rejected entry_ladder @m0"]),
    Row("no pair", long(90, price_open=[98.0]), {}, lines=["rejected entry_ladder @m0"], mirrors=False),
    Row("a part beyond the stop", long(97, price_open=[(98.0, 0.5), (96.0, 0.5)]), {},
        lines=["rejected stop_loss_side @m0"]),
    Row("at the close of the session", long(90, price_open=HALVES, entry="close"), {}, lines=["rejected entry @m0"]),
]  # fmt: skip


def mirrored(row: Row) -> Row:
    """Both sides: the prices of a ladder are mirrored here."""
    if not isinstance(ladder := row.signal.price_open, list):
        return row.mirrored()
    parts = [(200 - price if isinstance(price, float) else price, share) for price, share in ladder]
    signal = bknb.Signal(position="long", price_stop_loss=row.signal.price_stop_loss)
    other = replace(row, signal=signal).mirrored()
    flat = row.signal
    take = flat.price_take_profit
    return replace(
        other,
        signal=bknb.Signal(
            position="short", price_open=parts, price_stop_loss=other.signal.price_stop_loss, entry=flat.entry,
            price_take_profit=None if take is None else 200 - take, valid=flat.valid,
            minute_estimated_time=flat.minute_estimated_time,
        ),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "row",
    [row for each in ROWS for row in ((each, mirrored(each)) if each.mirrors else (each,))],
    ids=lambda row: row.name,
)
def test_what_comes_of_an_entry_ladder(row: Row) -> None:
    for model in ("pessimistic", "touch", "vwap"):
        wanted = row.expected(model)
        if wanted is not None:
            assert play(row, model) == wanted, model
            assert play(row, model, every_minute=True) == wanted, model


def test_a_line_is_mirrored() -> None:
    assert mirrored_line("opened 98 @m3") == "opened 102 @m3"


# --- money ------------------------------------------------------------------------------------------------------------

FREE: dict[str, Any] = {"percent_fee": 0, "percent_slippage": 0}
PARTS = [(None, 0.2), (98.0, 0.3), (96.0, 0.5)]  # 97.4 on average
FALLS: Mapping[int, Candle] = {3: (100.0, 100.0, 97.0, 97.5), 4: (97.5, 97.5, 95.0, 95.5), 6: (95.5, 95.5, 89.0, 89.5)}


def market(candles: Mapping[int, Candle] = FALLS, *, end: int = 60) -> Any:
    price, rows = 100.0, []
    for k in range(-60, end):
        candle = candles.get(k, (price,) * 4)
        price = candle[3]
        rows.append((ORIGIN + k * MINUTE, *candle, 100.0))
    return source(rows)


def strategy(answer: Any, **more: Any) -> Any:
    return bknb.add_strategy(
        "ladders", get_signal=lambda when: answer if when.minute == 0 else None, interval="1m", **more
    )


def run(answer: Any, sizing: Any, **options: Any) -> bknb.Result:
    options = {"settings": FREE, "exchange": market(), "capital": 10_000, "sizing": sizing} | options
    return bknb.backtest("BTCUSDT", strategy=strategy(answer), frame=(ORIGIN, ORIGIN + 20 * MINUTE), **options)


@pytest.mark.parametrize("percent", [50, 100, 250])
def test_the_whole_is_sized_once_and_each_part_buys_its_share_of_it(percent: float) -> None:
    fills = run(bknb.Signal(side="long", price_open=PARTS, price_stop_loss=90.0), bknb.size.Percent(percent)).fills
    money = min(percent, 100) * 100
    assert fills["price"].tolist() == [100.0, 98.0, 96.0, 90.0]
    assert fills["cost"].tolist()[:3] == pytest.approx([money * each / 97.4 for each in (20.0, 29.4, 48.0)])
    quantity = money / 97.4
    assert fills["quantity"].tolist() == pytest.approx([quantity * each for each in (0.2, 0.3, 0.5, 1.0)])
    assert not fills["cut"].any()


def test_the_size_of_a_signal_and_units_are_of_the_whole() -> None:
    signal = bknb.Signal(side="long", price_open=PARTS, price_stop_loss=90.0, size=0.5)
    assert run(signal, bknb.size.Units(20)).fills["quantity"].tolist() == pytest.approx([2.0, 3.0, 5.0, 10.0])


def test_one_part_that_is_moved_keeps_its_share() -> None:
    one = bknb.Signal(side="long", price_open=[(98.5, 0.5)], price_stop_loss=90.0)
    moves = strategy(one, manage=lambda when: Move(price_open=97.5) if when.minute == 2 else None, manage_interval="1m")
    result = bknb.backtest(
        "BTCUSDT", strategy=moves, exchange=market(), frame=(ORIGIN, ORIGIN + 20 * MINUTE), settings=FREE,
        capital=10_000, sizing=bknb.size.Units(20),
    )  # fmt: skip
    assert result.fills[["price", "quantity"]].to_numpy().tolist() == [[97.5, 10.0], [90.0, 10.0]]


def test_risk_counts_all_parts_to_the_stop() -> None:
    for levels in ({"price_stop_loss": 90.0}, {"stop_percent": 7.0}):
        result = run(bknb.Signal(side="long", price_open=PARTS, **levels), bknb.size.Risk(1))
        assert result.trades["close_reason"].tolist() == ["stop_loss"]
        assert result.trades["money"].tolist() == pytest.approx([-100.0])


def test_what_all_parts_need_is_reserved_until_they_fill_or_end() -> None:
    """Another leg finds what is left of 10 000 once 5 000 wait for the three parts; the parts that end free theirs."""
    free: list[float] = []

    def size(request: Any) -> float:
        free.append(request.free)
        return 0.0

    strategy(bknb.Signal(side="long", price_open=PARTS, valid=5))
    bknb.add_strategy(
        "other", interval="1m", get_signal=lambda when: {"position": "long"} if when.minute in (1, 8) else None
    )
    bknb.portfolio(
        symbols=["BTCUSDT"], strategies=["ladders", "other"], exchange=market({}), capital=10_000, settings=FREE,
        frame=(ORIGIN, ORIGIN + 12 * MINUTE), sizing={"other": size, "ladders": bknb.size.Cash(5_000)},
    )  # fmt: skip
    assert free == pytest.approx([5_000, 10_000 - 5_000 * 20 / 97.4])


def test_without_a_capital_the_first_part_is_its_share_of_the_equity() -> None:
    result = bknb.backtest(
        "BTCUSDT", strategy=strategy(bknb.Signal(side="long", price_open=PARTS, price_stop_loss=90.0)),
        exchange=market(), frame=(ORIGIN, ORIGIN + 20 * MINUTE), settings=FREE,
    )  # fmt: skip
    whole = 0.2 * (90 - 100) + 0.3 * (90 - 98) + 0.5 * (90 - 96)
    assert result.trades["pnl_percentage"].tolist() == pytest.approx([whole / (0.2 * 100) * 100])
    assert float(result.equity.iloc[-1]) == pytest.approx(1 + whole / 100)


# --- live -------------------------------------------------------------------------------------------------------------


def dca(price: float) -> bknb.Signal:
    """Safety orders at -1.5, -3, … %, each 1.5 times as large, out 1 % above the average: the cell of the page."""
    steps = [(None, 1.0)] + [(price * (1 - 0.015 * k), 1.5**k) for k in range(1, 6)]
    total = sum(share for _, share in steps)
    parts = [(p, share / total) for p, share in steps]
    return bknb.Signal(position="long", price_open=parts, target_percent=1.0, valid=None)


DIP: Mapping[int, Candle] = {
    3: (100.0, 100.0, 96.5, 96.8), 5: (96.8, 96.8, 95.0, 95.3), 9: (95.3, 98.4, 95.3, 98.0),
    12: (98.0, 99.9, 98.0, 99.7),
}  # fmt: skip


def test_safety_orders_lower_the_target_live_as_over_history() -> None:
    cell = bknb.add_strategy(
        "dca", get_signal=lambda when, price: dca(price) if when.minute == 0 else None, interval="1m"
    )
    common: dict[str, Any] = {
        "strategy": cell, "exchange": market(DIP), "capital": 10_000, "sizing": bknb.size.Percent(90), "settings": FREE,
    }  # fmt: skip
    result = bknb.backtest("BTCUSDT", frame=(ORIGIN, ORIGIN + 20 * MINUTE), **common)
    live = bknb.Live.background(
        "BTCUSDT", clock=SimulatedClock(ORIGIN), until=ORIGIN + 20 * MINUTE, store=MemoryStore(), **common
    ).result(timeout=60)
    columns = ["kind", "at", "price", "share", "quantity"]
    assert live.fills[columns].to_numpy().tolist() == result.fills[columns].to_numpy().tolist()
    assert result.fills["price"].tolist()[:4] == [100.0, 98.5, 97.0, 95.5]
    (trade,) = result.run_record.records.closed
    shares = (1.0, 1.5, 1.5**2, 1.5**3)
    average = sum(s * p for s, p in zip(shares, (100.0, 98.5, 97.0, 95.5), strict=True)) / sum(shares)
    assert trade.close_reason == "take_profit"
    assert trade.price_close == pytest.approx(average * 1.01)


def test_at_a_broker_each_part_is_an_order_of_its_size() -> None:
    broker = PaperBroker()
    answer = bknb.Signal(side="long", price_open=[(99.0, 0.5), (97.0, 0.25), (90.0, 0.25)], minute_estimated_time=12)
    candles = {3: (100.0, 100.0, 98.5, 100.0), 8: (100.0, 100.0, 96.0, 100.0)}
    result = bknb.Live.background(
        "BTCUSDT", strategy=strategy(answer), exchange=market(candles), store=MemoryStore(), broker=broker,
        quantity=4.0, clock=MinuteClock(ORIGIN), until=ORIGIN + 30 * MINUTE,
    ).result(timeout=60)  # fmt: skip
    assert not result.errors, result.errors
    assert [(each.side, each.price, each.quantity, each.status) for each in broker.orders.values()] == [
        ("buy", 99.0, 2.0, "filled"), ("buy", 97.0, 1.0, "filled"), ("buy", 90.0, 1.0, "cancelled"),
        ("sell", None, 3.0, "filled"),
    ]  # fmt: skip


def test_a_ladder_goes_on_after_a_restart_at_any_minute() -> None:
    answer = bknb.Signal(side="long", price_open=THREE, target_percent=2.0, minute_estimated_time=14)
    candles = {3: (100.0, 100.0, 97.0, 98.0), 5: (98.0, 98.0, 95.0, 96.0)}

    def live(store: MemoryStore, begin: int, until: int) -> Any:
        return bknb.Live.background(
            "BTCUSDT", strategy=strategy(answer), exchange=market(candles), store=store, capital=10_000,
            sizing=bknb.size.Percent(80), clock=SimulatedClock(ORIGIN + begin * MINUTE), until=ORIGIN + until * MINUTE,
            settings=FREE,
        ).result(timeout=60)  # fmt: skip

    whole = live(MemoryStore(), 0, 25)
    columns = ["kind", "price", "share", "quantity"]
    assert len(whole.fills) == 3
    for split in (1, 3, 4, 5, 6, 9):
        store = MemoryStore()
        live(store, 0, split)
        again = live(store, split, 25)
        assert not again.errors
        assert again.fills[columns].to_numpy().tolist() == whole.fills[columns].to_numpy().tolist(), split


def test_a_moment_of_a_run_knows_the_parts_that_filled_and_those_that_wait() -> None:
    answer = bknb.Signal(side="long", price_open=THREE, stop_percent=5.0)
    result = bknb.backtest(
        "BTCUSDT", strategy=strategy(answer, manage=lambda: None, manage_interval="1m"),
        exchange=market({3: (100.0, 100.0, 97.0, 98.0), 5: (98.0, 98.0, 95.0, 96.0)}),
        frame=(ORIGIN, ORIGIN + 20 * MINUTE), settings=FREE,
    )  # fmt: skip
    position = result.at("2024-01-01 00:08").position
    assert position.size == 1.5
    assert [(each.id[-2:], each.price_open) for each in position.waiting] == [("#2", 94.0)]
    assert position.price_stop_loss == pytest.approx((98 + 0.5 * 96) / 1.5 * 0.95)


def test_luck_refuses_positions_that_are_entered_in_parts() -> None:
    result = run(bknb.Signal(side="long", price_open=PARTS, price_stop_loss=90.0, price_take_profit=120.0), None)
    with pytest.raises(bknb.UsageError, match="are entered in parts, by an entry ladder in price_open"):
        bknb.luck(result, n=5)


def test_an_array_of_pairs_is_a_ladder_and_what_is_none_is_told_that_there_are_ladders() -> None:
    array = np.array([[99.0, 0.5], [98.0, 0.5]])
    assert read_answer(bknb.Signal(side="long", price_open=array)).price_open == ((99.0, 0.5), (98.0, 0.5))
    assert read_answer(bknb.Signal(side="long", price_open=np.array([99.0]))).price_open == 99.0
    told = run(bknb.Signal(side="long", price_open=np.array([99.0, 98.0])), None).rejected["reasons"]
    pairs = "or a ladder: a list of pairs (price, share)"
    assert {f"must be one number, {pairs}, got ndarray" in text for text in told} == {True}
    for wrong in ((pair for pair in PARTS), {99.0, 98.0}):
        for name in ("price_open", "price_take_profit"):
            told = run(bknb.Signal(side="long", **{name: wrong}), None).rejected["reasons"]
            assert {f"{name} must be a finite number, {pairs}, got" in text for text in told} == {True}
