"""The ledger of the local exchanges: nothing is lost or made, and each order meets its price."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from exchange_requests import NOW
from hypothesis import given
from hypothesis import strategies as st

from bknb.testing.exchange.book import Book, Habits
from bknb.testing.exchange.faults import Faults
from bknb.testing.exchange.ledger import Ledger, Wish
from bknb.testing.exchange.markets import Market
from bknb.testing.exchange.matching import candle, to_price
from bknb.testing.exchange.orders import ZERO, Order, RefusedError

BTC = Market(base="BTC", tick="1", step="0.001", least="0.001", notional="1", taker="0.1", maker="0.02")


def ledger(*, swap: bool = False, balances: dict[str, str] | None = None, **habits: Any) -> Ledger:
    cash = {name: Decimal(amount) for name, amount in (balances or {"USDT": "1000", "BTC": "3"}).items()}
    market = Market(base="BTC", tick="1", step="0.001", least="0.001", notional="1", taker="0.05", swap=swap)
    book = Book([market if swap else BTC], cash, habits=Habits(**habits), faults=Faults(), now=lambda: NOW)
    to_price(book, "BTCUSDT", Decimal(100))
    return Ledger(book)


def wish(side: str, quantity: str = "1", *, price: str = "", trigger: str = "", **more: Any) -> Wish:
    return Wish(
        symbol="BTCUSDT",
        side="buy" if side == "buy" else "sell",
        kind="limit" if price else "market",
        quantity=Decimal(quantity),
        price=Decimal(price) if price else None,
        trigger=Decimal(trigger) if trigger else None,
        **more,
    )


def walk(of: Ledger, *prices: int) -> None:
    open_, high, low, close = map(Decimal, prices)
    candle(of.book, "BTCUSDT", (open_, high, low, close))


FILLS: list[tuple[str, Wish, dict[str, Any], tuple[int, int, int, int], str | None]] = [
    ("a limit is filled at its price", wish("buy", price="95"), {}, (100, 100, 90, 92), "95"),
    ("at a gap too, as somebody sells into it", wish("buy", price="95"), {}, (90, 91, 89, 90), "95"),
    ("touched is filled", wish("buy", price="95"), {}, (100, 100, 95, 98), "95"),
    ("touched is not enough where it must pass", wish("buy", price="95"), {"through": True}, (100, 100, 95, 98), None),
    ("passed is", wish("buy", price="95"), {"through": True}, (100, 100, 94, 98), "95"),
    ("not reached", wish("sell", price="111"), {}, (100, 110, 95, 98), None),
    ("a stop is filled at its trigger on the way", wish("sell", trigger="95"), {}, (100, 101, 90, 92), "95"),
    ("and at the open behind a gap", wish("sell", trigger="95"), {}, (90, 91, 89, 90), "90"),
    ("a stop buys when the price has risen", wish("buy", trigger="105"), {}, (100, 106, 99, 100), "105"),
    ("a target waits for the price above", wish("sell", trigger="105", falls=False), {}, (100, 106, 99, 100), "105"),
    ("a stop with a limit rests behind a gap", wish("sell", trigger="95", price="94"), {}, (90, 93, 89, 90), None),
    ("and is filled when the price comes back", wish("sell", trigger="95", price="94"), {}, (90, 96, 89, 90), "94"),
    ("a buy above the market is filled at the market", wish("buy", price="110"), {}, (100, 101, 99, 100), "100"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("order", "habits", "prices", "expected"), [row[1:] for row in FILLS], ids=[r[0] for r in FILLS]
)
def test_an_order_meets_its_price(
    order: Wish, habits: dict[str, Any], prices: tuple[int, int, int, int], expected: str | None
) -> None:
    of = ledger(**habits)
    placed = of.place(order)
    walk(of, *prices)
    assert [fill.price for fill in of.book.fills_of(placed)] == ([] if expected is None else [Decimal(expected)])


@pytest.mark.parametrize(
    ("prices", "first"), [((100, 104, 90, 95), "target"), ((100, 110, 97, 105), "stop"), ((96, 104, 90, 95), "stop")]
)
def test_a_candle_goes_to_the_nearer_extreme_first(prices: tuple[int, int, int, int], first: str) -> None:
    of = ledger()
    of.pair((wish("sell", price="104", client_id="target"), wish("sell", trigger="97", client_id="stop")))
    walk(of, *prices)
    assert [of.book.orders[fill.order].client_id for fill in of.book.fills] == [first]


def test_of_orders_on_the_way_the_nearest_is_met_first_whenever_it_was_placed() -> None:
    of = ledger()
    for price in ("92", "98", "95"):
        of.place(wish("buy", price=price))
    walk(of, 100, 100, 90, 90)
    assert [fill.price for fill in of.book.fills] == [Decimal(98), Decimal(95), Decimal(92)]


@pytest.mark.parametrize(("stops_lock", "price"), [(True, "94"), (True, "106"), (False, "94"), (False, "106")])
def test_a_pair_that_is_done_holds_nothing_whatever_its_orders_cost(price: str, *, stops_lock: bool) -> None:
    of = ledger(stops_lock=stops_lock, children=not stops_lock)
    of.pair((wish("buy", price="95", client_id="low"), wish("buy", trigger="105", client_id="high")))
    to_price(of.book, "BTCUSDT", Decimal(price))
    assert [fill.quantity for fill in of.book.fills] == [1]
    assert of.book.funds.locked["USDT"] == 0


# --- swaps ------------------------------------------------------------------------------------------------------------


def swap(leverage: int = 5, **habits: Any) -> Ledger:
    of = ledger(swap=True, balances={"USDT": "1000"}, children=True, stops_lock=False, **habits)
    of.book.position("BTCUSDT").leverage = leverage
    return of


def held(of: Ledger) -> Decimal:
    return of.book.position("BTCUSDT").quantity


def test_positions_net_and_profit_is_booked_when_they_are_reduced() -> None:
    of = swap()
    of.place(wish("buy", "2"))
    to_price(of.book, "BTCUSDT", Decimal(110))
    of.place(wish("sell", "3"))
    assert (held(of), of.book.position("BTCUSDT").entry) == (Decimal(-1), Decimal(110))
    assert of.book.funds.free["USDT"] == 1000 + 20 - Decimal("0.05") * (200 + 330) / 100


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (wish("sell", "1", reduce_only=True), "reduce_only"),
        (wish("buy", "100"), "margin"),
        (wish("sell", trigger="101", reduce_only=True), "would_trigger"),
    ],
)
def test_what_a_swap_refuses(order: Wish, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        swap().place(order)


def test_a_reduce_only_limit_for_all_blocks_the_close_and_a_waiting_stop_does_not() -> None:
    of = swap()
    of.place(wish("buy", "2"))
    of.place(wish("sell", "2", trigger="90", reduce_only=True))
    target = of.place(wish("sell", "2", price="120", reduce_only=True))
    with pytest.raises(RefusedError, match="reduce_only_blocked"):
        of.place(wish("sell", "2", reduce_only=True))
    of.cancel(target)
    assert of.place(wish("sell", "5", reduce_only=True)).filled == 2
    assert held(of) == 0


def test_a_triggered_stop_is_another_order_and_two_close_no_more_than_there_is() -> None:
    of = swap()
    of.place(wish("buy", "2"))
    stops = [of.place(wish("sell", "2", trigger=price, reduce_only=True)) for price in ("90", "89")]
    walk(of, 100, 100, 80, 85)
    assert held(of) == 0
    children = [of.book.orders[stop.child or 0] for stop in stops]
    assert [child.status for child in children] == ["filled", "rejected"]
    assert [stop.status for stop in stops] == ["triggered", "rejected"]


def test_the_exchange_closes_a_position_whose_margin_is_used_up() -> None:
    of = swap(leverage=10)
    of.place(wish("buy", "50"))
    to_price(of.book, "BTCUSDT", Decimal(50))
    (closed,) = [order for order in of.book.orders.values() if order.client_id.startswith("autoclose-")]
    assert (held(of), closed.average) == (0, Decimal("90.4"))
    assert of.book.available("USDT") > 0


# --- nothing is lost ------------------------------------------------------------------------------------------------

QUANTITIES = st.integers(1, 4000).map(lambda n: str(Decimal(n) / 1000))
LEVELS = st.integers(60, 140).map(str)
WISHES = st.one_of(
    st.builds(wish, st.sampled_from(["buy", "sell"]), QUANTITIES),
    st.builds(wish, st.sampled_from(["buy", "sell"]), QUANTITIES, price=LEVELS),
    st.builds(wish, st.sampled_from(["buy", "sell"]), QUANTITIES, trigger=LEVELS),
    st.builds(wish, st.sampled_from(["buy", "sell"]), QUANTITIES, trigger=LEVELS, price=LEVELS),
)
PAIRS = st.builds(
    lambda side, quantity, price, trigger: (wish(side, quantity, price=price), wish(side, quantity, trigger=trigger)),
    *(st.sampled_from(["buy", "sell"]), QUANTITIES, LEVELS, LEVELS),
)
STEPS = st.lists(
    st.one_of(
        WISHES,
        PAIRS,
        st.integers(60, 140),
        st.tuples(*(st.integers(0, 20),) * 4),
        st.sampled_from(["cancel", "partial", "slippage", "fill_after_cancel", "pair_not_linked"]),
    ),
    max_size=25,
)


def act(of: Ledger, step: Any) -> None:
    try:
        if isinstance(step, Wish):
            of.place(step)
        elif isinstance(step, int):
            to_price(of.book, "BTCUSDT", Decimal(step))
        elif step == "cancel":
            for order in of.book.open_orders()[:1]:
                of.cancel(order)
        elif isinstance(step, str):
            of.book.faults.arm({"name": step, "share": "0.3"})
        elif isinstance(step[0], Wish):
            of.pair(step)
        else:
            last = int(of.book.last("BTCUSDT"))
            open_, up, down, close = step
            walk(of, last + open_ - 10, last + 10 + up, last - 10 - down, last + 10 - close)
    except RefusedError:
        return


@given(STEPS, st.sampled_from(["received", "quote"]), st.booleans())
def test_balances_locks_and_fees_are_what_came_in(steps: list[Any], fee_currency: str, stops_lock: bool) -> None:  # noqa: FBT001
    of = ledger(fee_currency=fee_currency, stops_lock=stops_lock, children=not stops_lock)
    for step in steps:
        act(of, step)
        funds = of.book.funds
        for currency, sign in (("BTC", 1), ("USDT", -1)):
            moved = sum(
                (fill.quantity if currency == "BTC" else fill.cost) * (sign if fill.side == "buy" else -sign)
                for fill in of.book.fills
            )
            assert funds.total(currency) == funds.deposits[currency] + moved - funds.fees[currency]
            held_by = sum(
                (order.locked for order in of.book.orders.values() if order.locked_currency == currency), ZERO
            )
            assert funds.locked[currency] == held_by
            assert funds.free[currency] >= 0
        assert all(order.is_open for order in of.book.orders.values() if order.locked)
        assert all(_counted(of, order) for order in of.book.orders.values())


def _counted(of: Ledger, order: Order) -> bool:
    fills = of.book.fills_of(order)
    return order.filled == sum(fill.quantity for fill in fills) <= order.quantity


REDUCE_ONLY = st.just(value=True)
REDUCING = st.builds(
    wish, st.sampled_from(["buy", "sell"]), QUANTITIES, trigger=LEVELS, reduce_only=REDUCE_ONLY
) | st.builds(wish, st.sampled_from(["buy", "sell"]), QUANTITIES, reduce_only=REDUCE_ONLY)


@given(st.lists(st.one_of(WISHES, REDUCING, STEPS.filter(bool).map(lambda steps: steps[0])), max_size=25))
def test_a_swap_never_owes_more_than_it_has_and_reduce_only_never_turns_a_position(steps: list[Any]) -> None:
    of = swap(leverage=3)
    told: list[tuple[Order, Decimal, Decimal]] = []

    def note(event: str, what: dict[str, Any]) -> None:
        if event == "fill":
            fill = what["fill"]
            change = fill.quantity if fill.side == "buy" else -fill.quantity
            told.append((what["order"], held(of) - change, held(of)))

    of.book.tell = note
    for step in steps:
        if not (isinstance(step, tuple) and isinstance(step[0], Wish)):
            act(of, step)
        funds = of.book.funds
        profits = sum((fill.profit for fill in of.book.fills), ZERO)
        assert abs(funds.total("USDT") - (1000 + profits - funds.fees["USDT"])) < Decimal("1e-12")
        assert funds.free["USDT"] >= 0
    for order, before, after in told:
        if order.reduce_only:
            assert abs(after) < abs(before)
            assert before * after >= 0
    cash = sum((fill.cost if fill.side == "sell" else -fill.cost) for fill in of.book.fills)
    profits = sum((fill.profit for fill in of.book.fills), ZERO)
    assert abs(profits - (cash + held(of) * of.book.position("BTCUSDT").entry)) < Decimal("1e-9")
