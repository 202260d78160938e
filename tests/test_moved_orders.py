"""Orders that wait are moved and cancelled one by one: tables by hand, both sides, each execution model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from managed import Row, flipped, mirrored_line, play, run_of
from minute_clock import MinuteClock
from scenarios import MINUTE, ORIGIN, source
from test_managed_positions import END, IN, NOTHING, long

import bknb
from bknb import Add, Cancel, Move
from bknb.brokers.paper_broker import PaperBroker
from bknb.stores.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Mapping

AVERAGE_END = "closed time_expired 100 @m31"
ID = "managed-BTCUSDT-20240101T0000"
WAITS = "scheduled 96 @m0"
DOWN = (100.0, 100.0, 95.0, 100.0)
LOW = (100.0, 100.0, 97.0, 100.0)
HEAVY = {6: 1e25}
TWO = {3: [Add(1, price_open=96.0), Add(0.5, price_open=98.0)]}

ROWS = [
    # an entry
    Row("an entry moved nearer", long(90, price_open=96.0), {6: LOW}, {4: Move(price_open=98.0)},
        lines=[WAITS, "cancelled strategy @m4", "scheduled 98 @m4", "opened 98 @m6", END]),
    Row("an entry moved away", long(80, price_open=98.0), {6: LOW, 8: (100, 100, 94, 100)}, {4: Move(price_open=95.0)},
        lines=["scheduled 98 @m0", "cancelled strategy @m4", "scheduled 95 @m4", "opened 95 @m8", END]),
    Row("an entry moved to where the market is", long(90, price_open=96.0), {}, {4: Move(price_open=101.0)},
        lines=[WAITS, "cancelled strategy @m4", "opened 100 @m4", END],
        vwap=[WAITS, "cancelled strategy @m4", "opened 101 @m4", AVERAGE_END]),
    Row("the candle before the move is of the old price", long(90, price_open=96.0), {3: DOWN},
        {4: Move(price_open=98.0)}, lines=[WAITS, "opened 96 @m3", "rejected order_id @m4", END]),
    Row("a moved entry waits no longer than the first", long(90, price_open=96.0, valid=10), {12: DOWN},
        {4: Move(price_open=97.0)},
        lines=[WAITS, "cancelled strategy @m4", "scheduled 97 @m4", "cancelled timeout @m10"]),
    Row("a moved entry waits for volume", long(90, price_open=96.0), {4: DOWN, 6: LOW}, {4: Move(price_open=98.0)},
        volume={4: 0.0, 5: 0.0},
        lines=[WAITS, "cancelled strategy @m4", "scheduled 98 @m6", "opened 98 @m6", END],
        touch=[WAITS, "cancelled strategy @m4", "scheduled 98 @m4", "opened 98 @m4", END]),
    Row("a gap through the moved price", long(80, price_open=96.0), {6: (94, 96, 93, 95)}, {4: Move(price_open=98.0)},
        lines=[WAITS, "cancelled strategy @m4", "scheduled 98 @m4", "opened 94 @m6", END],
        touch=[WAITS, "cancelled strategy @m4", "scheduled 98 @m4", "opened 98 @m6", END]),
    Row("a stop entry is moved", long(95, price_open=104.0, entry="stop"), {6: (100, 103, 100, 102)},
        {4: Move(price_open=102.0)},
        lines=["scheduled 104 @m0", "cancelled strategy @m4", "scheduled 102 @m4", "opened 102 @m6", END]),
    Row("its levels are moved with it", long(90, price_open=96.0), {6: LOW, 8: (100, 100, 96, 100)},
        {4: Move(price_open=98.0, price_stop_loss=96.5)},
        lines=[WAITS, "cancelled strategy @m4", "scheduled 98 @m4", "opened 98 @m6", "closed stop_loss 96.5 @m8"]),
    Row("a moved price beyond its stop is refused, the order stays", long(95, price_open=96.0), {6: DOWN},
        {4: Move(price_open=94.0)},
        lines=[WAITS, "rejected stop_loss_side @m4", "opened 96 @m6", "closed stop_loss 95 @m6 ambiguous"],
        touch=[WAITS, "rejected stop_loss_side @m4", "cancelled price_reject @m6"]),
    Row("a price that is none", long(90, price_open=96.0), {6: DOWN}, {4: Move(price_open=None)},  # type: ignore[arg-type]
        lines=[WAITS, "rejected finite @m4", "opened 96 @m6", END]),
    Row("levels alone are those of an open position", long(90, price_open=96.0), {6: DOWN},
        {4: Move(price_stop_loss=92.0)}, lines=[WAITS, "rejected nothing_open @m4", "opened 96 @m6", END]),
    Row("moved and taken back", long(90, price_open=96.0), {6: DOWN}, {4: [Move(price_open=98.0), Cancel()]},
        lines=[WAITS, "cancelled strategy @m4"]),
    Row("taken back and moved", long(90, price_open=96.0), {6: DOWN}, {4: [Cancel(), Move(price_open=98.0)]},
        lines=[WAITS, "rejected closed @m4", "cancelled strategy @m4"]),
    Row("moved twice by one answer", long(90, price_open=96.0), {6: DOWN},
        {4: [Move(price_open=98.0), Move(price_open=97.0)]},
        lines=[WAITS, "rejected moved_twice @m4", "opened 96 @m6", END]),
    Row("moved twice, each by its id", long(90, price_open=96.0), {8: LOW},
        {4: Move(price_open=97.0, id=ID), 6: Move(price_open=98.0, id=f"{ID}~2")},
        lines=[WAITS, "cancelled strategy @m4", "scheduled 97 @m4", "cancelled strategy @m6", "scheduled 98 @m6",
               "opened 98 @m8", END]),
    Row("the id it had before", long(90, price_open=96.0), {8: DOWN},
        {4: Move(price_open=97.0), 6: Move(price_open=98.0, id=ID)},
        lines=[WAITS, "cancelled strategy @m4", "scheduled 97 @m4", "rejected order_id @m6", "opened 97 @m8", END]),
    Row("an entry is cancelled by its id", long(90, price_open=96.0), {6: DOWN}, {4: Cancel(id=ID)},
        lines=[WAITS, "cancelled strategy @m4"]),
    Row("an id that nothing has", long(90, price_open=96.0), {6: DOWN}, {4: Cancel(id="other")},
        lines=[WAITS, "rejected order_id @m4", "opened 96 @m6", END]),
    Row("a moved entry that risk refuses: nothing waits", long(90, price_open=96.0), {6: LOW},
        {4: Move(price_open=98.0)}, lines=[WAITS, "cancelled strategy @m4", "refused no @m4"],
        vwap=[WAITS, "cancelled strategy @m4", "refused no @m4"],
        risk=lambda request: request.when < ORIGIN + 4 * MINUTE or "no"),
    Row("the place of a moved entry is its own", long(90, price_open=96.0), {6: LOW},
        {4: Move(price_open=98.0)}, lines=[WAITS, "cancelled strategy @m4", "scheduled 98 @m4", "opened 98 @m6", END],
        risk=lambda request: request.open_position_count == 0),
    # adds
    Row("an add moved nearer", long(80), {6: LOW}, {3: Add(1, price_open=96.0), 5: Move(price_open=98.0)},
        lines=[IN, "taken back strategy @m5", "added 1 at 98 @m6, 2 held", END]),
    Row("an add moved to where the market is", long(80), {}, {3: Add(1, price_open=96.0), 5: Move(price_open=101.0)},
        lines=[IN, "taken back strategy @m5", "added 1 at 100 @m5, 2 held", END],
        vwap=[IN, "taken back strategy @m5", "added 1 at 101 @m5, 2 held", AVERAGE_END]),
    Row("a moved add waits no longer than the first", long(80), {14: DOWN},
        {3: Add(1, price_open=96.0, valid=10), 5: Move(price_open=97.0)},
        lines=[IN, "taken back strategy @m5", "taken back timeout @m13", END]),
    Row("of several adds one is moved", long(80), {6: (100, 100, 96.5, 100)},
        TWO | {5: Move(price_open=97.0, id=f"{ID}#1")},
        lines=[IN, "taken back strategy @m5", "added 0.5 at 98 @m6, 1.5 held", "added 1 at 97 @m6, 2.5 held", END]),
    Row("of several adds one is cancelled", long(80), {6: DOWN}, TWO | {5: Cancel(id=f"{ID}#2")},
        lines=[IN, "taken back strategy @m5", "added 1 at 96 @m6, 2 held", END]),
    Row("of several adds none is named", long(80), {6: (100, 100, 97.5, 100)}, TWO | {5: Move(price_open=97.0)},
        lines=[IN, "rejected order_id @m5", "added 0.5 at 98 @m6, 1.5 held", END]),
    Row("a moved add has an id of its own", long(80), {8: LOW},
        {3: Add(1, price_open=96.0), 5: Move(price_open=97.5, id=f"{ID}#1"), 6: Cancel(id=f"{ID}#2")},
        lines=[IN, "taken back strategy @m5", "taken back strategy @m6", END]),
    Row("an add that is not there", long(80), {6: DOWN}, {5: Move(price_open=97.0)},
        lines=[IN, "rejected order_id @m5", END]),
    Row("an add moved behind the stop is refused, and stays", long(90), {6: DOWN},
        {3: Add(1, price_open=96.0), 5: Move(price_open=89.0)},
        lines=[IN, "rejected add_stop @m5", "added 1 at 96 @m6, 2 held", END]),
    Row("a moved add moves nothing else", long(90), {6: DOWN},
        {3: Add(1, price_open=96.0), 5: Move(price_open=97.0, price_stop_loss=95.5)},
        lines=[IN, "rejected add_move @m5", "added 1 at 96 @m6, 2 held", END]),
    Row("an id is of an order, and moves no levels", long(90), {6: DOWN, 8: (100, 100, 94, 100)},
        {3: Add(1, price_open=96.0), 5: Move(price_stop_loss=95.5, id=f"{ID}#1")},
        lines=[IN, "rejected order_id @m5", "added 1 at 96 @m6, 2 held", END]),
    Row("an id alone moves nothing", long(90), {}, {5: Move(id="other")}, lines=[IN, "rejected order_id @m5", END]),
    Row("a moved add does not count twice", long(80), {6: LOW},
        {3: Add(1, price_open=96.0), 5: Move(price_open=98.0), 7: Add(1)}, settings={"max_adds": 1},
        lines=[IN, "taken back strategy @m5", "added 1 at 98 @m6, 2 held", "rejected add_limit @m7", END]),
    Row("what is wrong in its list leaves an add where it is", long(80), {6: LOW, 7: DOWN},
        {3: Add(1, price_open=96.0), 5: [Move(price_open=98.0), Add(-1)]},
        lines=[IN, "rejected add_share @m5", "added 1 at 96 @m7, 2 held", END]),
    Row("moved, then all are cancelled", long(80), {6: DOWN},
        TWO | {5: [Move(price_open=97.0, id=f"{ID}#1"), Cancel()]},
        lines=[IN, "taken back strategy @m5", "taken back strategy @m5", END]),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("row", [row for each in ROWS for row in (each, each.mirrored())], ids=lambda row: row.name)
def test_what_is_moved_or_cancelled(row: Row) -> None:
    for model in ("pessimistic", "touch", "vwap"):
        wanted = row.expected(model)
        if wanted is not None:
            assert play(row, model) == wanted, model
            assert play(row, model, every_minute=True) == wanted, model


STRADDLE = [long(price_open=104.0, entry="stop"), long(price_open=97.0)]
BOTH = ["scheduled 104 @m0", "scheduled 97 @m0"]
LISTS: dict[str, tuple[Mapping[int, Any], Mapping[int, Any], list[str]]] = {
    "one of two is moved, and fills": (
        {4: Move(price_open=98.0, id=f"{ID}#2")},
        {6: LOW},
        [*BOTH, "cancelled strategy @m4", "scheduled 98 @m4", "opened 98 @m6", "cancelled place_taken @m6", END],
    ),
    "one of two is moved, and the other fills": (
        {4: Move(price_open=98.0, id=f"{ID}#2")},
        {6: (100.0, 105.0, 100.0, 104.0)},
        [*BOTH, "cancelled strategy @m4", "scheduled 98 @m4", "opened 104 @m6", "cancelled place_taken @m6", END],
    ),
    "the first is moved to where the market is": (
        {4: Move(price_open=99.0, id=ID)},
        {},
        [*BOTH, "cancelled strategy @m4", "opened 100 @m4", "cancelled place_taken @m4", END],
    ),
    "both are moved": (
        {4: [Move(price_open=103.0, id=ID), Move(price_open=98.0, id=f"{ID}#2")]},
        {6: (100.0, 103.5, 100.0, 103.0)},
        [*BOTH, *["cancelled strategy @m4"] * 2, "scheduled 103 @m4", "scheduled 98 @m4", "opened 103 @m6",
         "cancelled place_taken @m6", END],
    ),
    "none is named": (
        {4: Move(price_open=98.0)},
        {6: LOW},
        [*BOTH, "rejected order_id @m4", "cancelled frame_end @m30", "cancelled frame_end @m30"],
    ),
    "one is cancelled": (
        {4: Cancel(id=ID)},
        {6: (100.0, 105.0, 96.0, 100.0)},
        [*BOTH, "cancelled strategy @m4", "opened 97 @m6", END],
    ),
    "a signal behind one that is cancelled has no place": (
        {4: [Cancel(id=ID), NOTHING]},
        {6: DOWN},
        [*BOTH, "rejected signal_alone @m4", "cancelled strategy @m4", "opened 97 @m6", END],
    ),
    "one is cancelled, the other moved": (
        {4: [Cancel(id=ID), Move(price_open=98.0)]},
        {6: LOW},
        [*BOTH, *["cancelled strategy @m4"] * 2, "scheduled 98 @m4", "opened 98 @m6", END],
    ),
}  # fmt: skip


@pytest.mark.parametrize("risk", [None, lambda request: request.open_position_count == 0], ids=["alone", "one place"])
@pytest.mark.parametrize("name", LISTS)
def test_what_is_moved_or_cancelled_of_a_list(name: str, risk: Any) -> None:
    answers, candles, lines = LISTS[name]
    row = Row(name, STRADDLE, candles, answers, lines=lines, risk=risk)  # type: ignore[arg-type]  # a list of signals
    mirrored = replace(
        row, signal=flipped(STRADDLE), candles={k: (200 - o, 200 - low, 200 - high, 200 - c)
                                                 for k, (o, high, low, c) in candles.items()},
        answers={k: flipped(answer) for k, answer in answers.items()}, lines=[mirrored_line(text) for text in lines],
    )  # fmt: skip
    for each in (row, mirrored):
        assert play(each, "pessimistic") == each.lines
        assert play(each, "pessimistic", every_minute=True) == each.lines


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Move(price_stop_loss=95.0, id="a"), "leave id out for them"),
        ([Add(1, price_open=96.0), Move(price_open=97.0)], "nothing waits; what this answer orders can be moved or "),
        (Cancel(id="a"), "what this answer orders can be moved or cancelled at the next question"),
    ],
)
def test_what_is_wrong_with_an_id_is_said_with_what_to_do(answer: Any, said: str) -> None:
    run = run_of(Row("ids", long(90), {}, {5: answer}, lines=[]), "pessimistic")
    (reason,) = (reason for event in run.records.rejected for reason in event.reasons)
    assert reason.code == "order_id"
    assert said in reason.text


def test_orders_that_wait_have_ids() -> None:
    seen: dict[int, list[str]] = {}

    def manage(when: Any, position: bknb.Position) -> Any:
        seen[when.minute] = [each.id for each in position.waiting]
        return TWO.get(when.minute)

    bknb.backtest(
        "BTCUSDT",
        strategy=bknb.add_strategy("managed", get_signal=lambda when: NOTHING if when.minute == 0 else None,
                                   interval="1m", manage=manage, manage_interval="1m"),
        exchange=source([(ORIGIN + k * MINUTE, 100.0, 100.0, 100.0, 100.0, 100.0) for k in range(-60, 20)]),
        frame=(ORIGIN, ORIGIN + 6 * MINUTE),
    )  # fmt: skip
    assert seen[4] == [f"{ID}#1", f"{ID}#2"]


def test_orders_that_wait_say_what_they_are() -> None:
    answers = {6: [Add(0.5, price_open=90.0), Add(0.25, price_open=110.0, entry="stop")]}
    seen: dict[tuple[bool, int], tuple[Any, ...]] = {}

    def manage(when: Any, position: bknb.Position) -> Any:
        seen[position.opened_at is None, when.minute] = position.waiting
        return answers.get(when.minute)

    ladder = bknb.Signal(side="long", price_open=[(99.0, 0.5), (80.0, 0.5)], entry="limit")
    rows = {4: (100.0, 100.0, 98.0, 100.0)}
    bknb.backtest(
        "BTCUSDT",
        strategy=bknb.add_strategy("managed", get_signal=lambda when: ladder if when.minute == 0 else None,
                                   interval="1m", manage=manage, manage_interval="1m"),
        exchange=source([(ORIGIN + k * MINUTE, *rows.get(k, (100.0,) * 4), 100.0) for k in range(-60, 20)]),
        frame=(ORIGIN, ORIGIN + 9 * MINUTE),
    )  # fmt: skip
    (first,) = seen[True, 1]
    assert (first.price_open, first.entry, [each.price for each in first.rungs]) == (99.0, "limit", [80.0])
    assert not hasattr(first, "kind")
    assert [(each.kind, each.share, each.price_open, each.entry) for each in seen[False, 7]] == [
        ("add", 1.0, 80.0, msgspec.UNSET),
        ("add", 0.5, 90.0, msgspec.UNSET),
        ("add", 0.25, 110.0, "stop"),
    ]


def test_a_note_says_where_an_order_was_moved_to_and_the_trade_has_the_id_of_the_last() -> None:
    row = Row("notes", long(90, price_open=96.0), {8: LOW}, {4: Move(price_open=97.0), 6: Move(price_open=98.0)})
    records = run_of(row, "pessimistic").records
    assert [(event.signal.id, event.note) for event in records.cancelled] == [
        (ID, "moved to 97"),
        (f"{ID}~2", "moved to 98"),
    ]
    assert records.closed[0].signal.id == f"{ID}~3"
    for price in (97.5, 94.0, 90.0):  # before the second part, where it is, and beyond it
        ladder = long(80, price_open=[(96.0, 0.5), (94.0, 0.25)])
        parts = Row("a ladder", ladder, {8: LOW}, {4: Move(price_open=price)})
        notes = [event.note for event in run_of(parts, "pessimistic").records.cancelled]
        assert notes[:1] == [f"moved to {price:g}"]
    near = Row("a price of many digits", long(90, price_open=96.0), {8: LOW}, {4: Move(price_open=97.1234567)})
    assert [event.note for event in run_of(near, "pessimistic").records.cancelled] == ["moved to 97.1234567"]


def test_money_of_a_moved_order_is_that_of_its_price() -> None:
    """All there is waits at 50; moved to 99 it still pays for it, and an add that is moved keeps its share."""
    answers = {2: Move(price_open=99.0), 8: Add(0.5, price_open=80.0), 9: Move(price_open=97.0)}

    def run(first: float, sizing: Any) -> bknb.Result:
        candles = {5: (100.0, 100.0, 98.0, 100.0), 12: (100.0, 100.0, 96.0, 100.0)}
        rows = [(ORIGIN + k * MINUTE, *candles.get(k, (100.0,) * 4), 100.0) for k in range(-60, 40)]
        signal = bknb.Signal(side="long", price_open=first)
        return bknb.backtest(
            "BTCUSDT",
            strategy=bknb.add_strategy("moves", get_signal=lambda when: signal if when.minute == 0 else None,
                                       interval="1m", manage=lambda when: answers.get(when.minute),
                                       manage_interval="1m"),
            exchange=source(rows), frame=(ORIGIN, ORIGIN + 30 * MINUTE), capital=10_000, sizing=sizing,
            settings={"percent_fee": 0, "percent_slippage": 0},
        )  # fmt: skip

    fills = run(50.0, bknb.size.Percent(60)).fills
    assert fills["price"].tolist() == [99.0, 97.0, 100.0]
    assert fills["cost"].tolist()[0] == pytest.approx(6_000)
    assert fills["quantity"].tolist()[1] == pytest.approx(6_000 / 99 / 2)


@pytest.mark.parametrize("kind", ["entry", "add"])
def test_at_a_broker_another_order_takes_the_place_of_the_one_that_is_moved(kind: str) -> None:
    broker = PaperBroker()
    entry = NOTHING if kind == "add" else bknb.Signal(side="long", price_open=95.0)
    answers = {3: Add(1, price_open=95.0)} if kind == "add" else {}
    candles = {9: (100.0, 100.0, 96.0, 100.0)}
    rows = [(ORIGIN + k * MINUTE, *candles.get(k, (100.0,) * 4), 100.0) for k in range(-60, 60)]
    result = bknb.Live.background(
        "BTCUSDT",
        strategy=bknb.add_strategy(
            "moves", get_signal=lambda when: entry if when.minute == 0 else None, interval="1m", manage_interval="1m",
            manage=lambda when: (answers | {5: Move(price_open=97.0), 12: bknb.Close()}).get(when.minute),
        ),
        exchange=source(rows), store=MemoryStore(), broker=broker, quantity=2.0, clock=MinuteClock(ORIGIN),
        until=ORIGIN + 20 * MINUTE,
    ).result(timeout=60)  # fmt: skip
    assert not result.errors
    limits = [(each.price, each.status) for each in broker.orders.values() if each.price is not None]
    assert limits == [(95.0, "cancelled"), (97.0, "filled")]
    assert broker.position("BTCUSDT") == 0.0
