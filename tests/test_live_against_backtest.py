"""A live run beside its backtest: each cause that is injected is the one that is named, and the sums add up."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hand_clock import BrokerHandClock, HandClock
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from scenarios import MINUTE, ORIGIN
from test_live_parity import JumpingClock
from worlds import SEEDS, signals, walk

import bknb
from bknb.brokers.paper_broker import PaperBroker, Trouble
from bknb.domain.account_beside_record import RecordOfTrade, account_beside_record
from bknb.domain.broker_account import BrokerMarket, Fee
from bknb.domain.implementation_shortfall import TradedOrder
from bknb.domain.position_fills import Fill
from bknb.live.recording import RecordedCandles
from bknb.market.candles import Candles
from bknb.runs.live_task import TASKS, LiveTask, plan_live
from bknb.testing.clocks import SimulatedClock

FREE = {"percent_slippage": 0.0, "percent_fee": 0.0}
LENGTH = 120
UNTIL = ORIGIN + LENGTH * MINUTE


class Market:
    """An exchange whose candles can be revised, and some of which can be missing."""

    name = "market"
    intervals = ("1m",)
    page_limit = None

    def __init__(self, rows: list[list[float]]) -> None:
        self.rows = [list(row) for row in rows]
        self.missing: set[int] = set()

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        rows = [row for row in self.rows if row[0] >= since and row[0] not in self.missing]
        return Candles.from_rows(rows[:limit]) if rows else Candles.empty()

    def format_price(self, symbol: str, price: float) -> str:
        return f"{price:g}"

    def format_quantity(self, symbol: str, quantity: float) -> str:
        return f"{quantity:g}"


def steady(price: float) -> bknb.Signal:
    """A long for five minutes, whatever happens."""
    return bknb.Signal(position="long", price_take_profit=price * 2, price_stop_loss=price / 2, minute_estimated_time=5)


def calm(length: int = LENGTH) -> list[list[float]]:
    """A market that rises by a hundredth each minute."""
    times = range(-60, length + 20)
    return [
        [ORIGIN + k * MINUTE, 100 + k / 100, 100.5 + k / 100, 99.5 + k / 100, 100.01 + k / 100, 10.0] for k in times
    ]


def started(market: Any, *, clock: Any = None, since: int = 0, until: int = LENGTH, **options: Any) -> LiveTask:
    given = {"strategy": steady, "interval": "15m", "store": bknb.stores.memory(), "settings": FREE} | options
    clock = SimulatedClock(ORIGIN + since * MINUTE) if clock is None else clock
    task = LiveTask(plan_live("BTCUSDT", exchange=market, clock=clock, until=ORIGIN + until * MINUTE, **given))
    TASKS.add(task)
    if isinstance(clock, HandClock | BrokerHandClock):
        clock.task = task
    task.start()
    return task


def live(market: Any, **options: Any) -> bknb.Result:
    return started(market, **options).result(timeout=60)


def check_sums(compared: Any) -> None:
    """What every comparison must be."""
    amounts = [each.amount for each in compared.differences]
    scale = max(1.0, *map(abs, amounts), abs(compared.live), abs(compared.backtest))
    assert math.fsum(amounts) == pytest.approx(compared.difference, abs=1e-9 * scale)
    assert math.fsum(compared.by_cause.values()) + compared.unexplained == pytest.approx(
        compared.difference, abs=1e-8 * scale
    )


def causes(result: bknb.Result) -> tuple[str, ...]:
    compared = result.against_backtest()
    check_sums(compared)
    assert compared.unexplained == 0.0, compared
    return compared.causes


# --- nothing differs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broker", [None, "paper"])
def test_a_run_that_is_its_backtest_says_so(broker: str | None) -> None:
    options = {} if broker is None else {"broker": PaperBroker(), "quantity": 2.0}
    compared = live(Market(calm()), **options).against_backtest()
    assert compared.agrees, compared
    assert (compared.trades, compared.difference) == (8, 0.0)
    assert compared.unit == ("%" if broker is None else "USDT")
    assert compared.live == pytest.approx(8 * 5 / 100 * 2 if broker else compared.record)
    assert "none: every trade is that of the backtest" in str(compared)


def test_a_new_process_opens_the_store_and_asks() -> None:
    market, store = Market(calm()), bknb.stores.memory()
    run = {"strategy": steady, "interval": "15m", "store": store, "settings": FREE}
    live(market, until=42, broker=PaperBroker(), quantity=2.0, **run)
    before = live(market, since=42, until=63, broker=PaperBroker(), quantity=2.0, **run).against_backtest()
    saved = bknb.Live.saved("BTCUSDT", exchange=market, **run)
    after = saved.against_backtest()
    assert (
        (after.trades, after.live, after.unit)
        == (before.trades, before.live, before.unit)
        == (4, pytest.approx(0.4), "USDT")
    )
    assert saved.slippage.total.fills == 9
    with pytest.raises(bknb.UsageError, match="nothing of a live run of 'steady' on ETHUSDT"):
        bknb.Live.saved("ETHUSDT", exchange=market, **run)


def test_recorded_minutes_are_forgotten_by_the_part_and_the_newest_stay() -> None:
    store, key = bknb.stores.memory(), ("steady", "BTCUSDT")
    with store:
        recorded = RecordedCandles(store, key)
        for day in range(3):
            for minute in range(day * 1_500, (day + 1) * 1_500):
                recorded.add((ORIGIN + minute * MINUTE, 1.0, 1.0, 1.0, 1.0, 1.0))
            recorded.save()
        recorded.add((ORIGIN + 4_500 * MINUTE, 1.0, 1.0, 1.0, 1.0, 1.0))
        recorded.save()

        def forgotten(before: int) -> int:
            moment = ORIGIN + before * MINUTE
            return bknb.Live.forget_minutes("BTCUSDT", strategy="steady", before=moment, store=store)

        assert [forgotten(before) for before in (1_499, 1_500, 1_500, 9_000)] == [0, 1_500, 0, 1_500]
        for recording in (recorded, RecordedCandles(store, key)):  # of the run that goes on, and of the next one
            recording.add((ORIGIN + 4_501 * MINUTE, 1.0, 1.0, 1.0, 1.0, 1.0))
            recording.save()
            assert [row[0] for row in recording.load()] == [ORIGIN + k * MINUTE for k in range(3_000, 4_502)]


# --- each cause ---------------------------------------------------------------------------------------------------


def test_a_revised_candle() -> None:
    market = Market(calm())
    result = live(market)
    at = next(row for row in market.rows if row[0] == ORIGIN + 20 * MINUTE)  # an exit fills at its open
    at[1] = 99.9
    compared = result.against_backtest()
    assert causes(result) == ("revised candle",)
    (difference,) = compared.differences
    assert difference.decided_at == ORIGIN + 15 * MINUTE


def test_longer_candles_of_the_exchange_are_made_anew_of_what_was_recorded() -> None:
    class WithHours(Market):
        intervals = ("1m", "5m")

        async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
            if interval == "1m":
                return await super().get_candles(symbol, interval, since, limit)
            bars: dict[int, list[list[float]]] = {}
            for row in self.rows:
                bars.setdefault(int(row[0]) // (5 * MINUTE) * 5 * MINUTE, []).append(row)
            made = [
                [t, m[0][1], max(r[2] for r in m), min(r[3] for r in m), m[-1][4], sum(r[5] for r in m)]
                for t, m in sorted(bars.items()) if t >= since and len(m) == 5
            ]  # fmt: skip
            return Candles.from_rows(made[:limit]) if made else Candles.empty()

    def by_bars(ctx: Any, price: float) -> Any:
        bars = ctx.candles("5m", 3)
        return steady(price) if bars.high[-1] < 103 else None

    market = WithHours(calm())
    result = live(market, strategy=by_bars)
    next(row for row in market.rows if row[0] == ORIGIN + 13 * MINUTE)[2] = 104.0
    assert causes(result) == ("revised candle",)
    assert [each.decided_at for each in result.against_backtest().differences] == [ORIGIN + 15 * MINUTE]


def test_a_setting() -> None:
    market, store = Market(calm()), bknb.stores.memory()
    run = {"strategy": steady, "interval": "15m", "store": store}
    live(market, until=42, **run)
    result = live(market, since=42, until=80, **run | {"settings": {"percent_slippage": 0.0, "percent_fee": 0.1}})
    assert causes(result) == ("setting",)
    assert {each.decided_at // MINUTE - ORIGIN // MINUTE for each in result.against_backtest().differences} == {
        0, 15, 30,
    }  # fmt: skip


def test_a_parameter_is_a_setting() -> None:
    def get_signal(price: float, minutes: int = 5) -> bknb.Signal:
        return bknb.Signal(
            position="long", price_take_profit=price * 2, price_stop_loss=price / 2, minute_estimated_time=minutes
        )

    market, store = Market(calm()), bknb.stores.memory()
    for minutes, since, until in ((5, 0, 42), (7, 42, 80)):
        strategy = bknb.add_strategy("timed", interval="15m", get_signal=get_signal, params={"minutes": minutes})
        result = live(market, strategy=strategy, interval=None, store=store, since=since, until=until)
    assert causes(result) == ("setting",)


def test_other_code() -> None:
    def shorter(price: float) -> bknb.Signal:
        return bknb.Signal(
            position="long", price_take_profit=price * 2, price_stop_loss=price / 2, minute_estimated_time=3
        )

    market, store = Market(calm()), bknb.stores.memory()
    for function, since, until in ((steady, 0, 42), (shorter, 42, 80)):
        strategy = bknb.add_strategy("edited", interval="15m", get_signal=function)
        result = live(market, strategy=strategy, interval=None, store=store, since=since, until=until)
    assert causes(result) == ("code",)
    assert len(result.against_backtest().differences) == 3


def test_an_outage_by_minutes_that_never_came() -> None:
    market = Market(calm())
    market.missing = {ORIGIN + k * MINUTE for k in range(18, 23)}
    result = live(market, allow_gaps=True)
    market.missing = set()
    assert causes(result) == ("outage",)


def test_an_outage_by_a_machine_that_slept() -> None:
    assert causes(live(Market(calm()), clock=JumpingClock(ORIGIN, 5))) == ("outage",)


def test_an_outage_by_a_strategy_that_raised() -> None:
    broken = [True]

    def get_signal(when: Any, price: float) -> bknb.Signal:
        if broken[0] and when.minute == 30:
            raise ConnectionError("no answer")
        return steady(price)

    result = live(Market(calm()), strategy=get_signal)
    broken[0] = False
    assert causes(result) == ("outage",)


def test_risk_with_who_held_the_place() -> None:
    bknb.add_risk("one", validations=[lambda request: not request.open_positions])
    market, store = Market(calm()), bknb.stores.memory()
    strategies = [
        bknb.add_strategy(name, interval=interval, get_signal=steady, risk="one")
        for name, interval in (("first", "30m"), ("second", "15m"))
    ]
    clock = SimulatedClock(ORIGIN)
    tasks = [
        started(market, strategy=each, interval=None, store=store, clock=clock, until=40) for each in strategies
    ]  # fmt: skip
    results = [task.result(timeout=60) for task in tasks]
    found = {each.cause: each.text for result in results for each in result.against_backtest().differences}
    assert found.keys() == {"risk"}
    assert found["risk"].startswith("risk profile 'one' refused it: ")
    assert found["risk"].endswith("on BTCUSDT held places")


@pytest.mark.parametrize("kind", ["refuse", "partly_cancelled"])
def test_an_order_that_was_refused_or_filled_in_part(kind: Any) -> None:
    broker = PaperBroker(script={"place": [None, None, Trouble(kind=kind)]})
    result = live(Market(calm()), broker=broker, quantity=2.0)
    assert causes(result) == ("order",)
    (difference,) = result.against_backtest().differences
    assert difference.amount == pytest.approx(-0.1 if kind == "refuse" else -0.05)


def test_a_fill_beside_the_record() -> None:
    class Dear(PaperBroker):
        def saw(self, symbol: str, minute: Any) -> None:
            super().saw(symbol, minute._replace(open=minute.open + 0.02, high=minute.high + 1))

    result = live(Market(calm()), broker=Dear(), quantity=2.0)
    compared = result.against_backtest()
    assert compared.agrees  # as much dearer when it is sold
    broker = PaperBroker(price_of=lambda _: 100.0)
    compared = live(Market(calm()), broker=broker, quantity=2.0).against_backtest()
    check_sums(compared)
    assert compared.causes == ("fill",)
    assert compared.difference == pytest.approx(-0.8)  # bought and sold at 100, where the record gained 0.05 each


@pytest.mark.parametrize("fee_in", ["base", "quote"])
def test_fees_in_coins_and_in_money(fee_in: str) -> None:
    rules = BrokerMarket(symbol="", base="BTC", quote="USDT", step=0.001, taker=0.1, fee_in=fee_in)
    result = live(Market(calm()), broker=PaperBroker(rules=rules), quantity=2.0)
    compared = result.against_backtest()
    check_sums(compared)
    assert set(compared.causes) == ({"fee", "dust"} if fee_in == "base" else {"fee"})
    assert compared.unexplained == 0.0


def test_by_hand() -> None:
    clock = HandClock(ORIGIN, {ORIGIN + 17 * MINUTE + 30_000: lambda task: task.close("enough")})
    result = live(Market(calm()), clock=clock)
    assert causes(result) == ("manual",)
    clock = HandClock(ORIGIN, {ORIGIN + 25 * MINUTE + 30_000: lambda task: task.open(steady(100.0))})
    assert causes(live(Market(calm()), clock=clock)) == ("manual",)
    clock = HandClock(
        ORIGIN, {ORIGIN + 25 * MINUTE: lambda task: task.pause(), ORIGIN + 50 * MINUTE: lambda task: task.resume()}
    )
    result = live(Market(calm()), clock=clock)
    assert causes(result) == ("manual",)
    assert len(result.against_backtest().differences) == 2


def test_two_at_once_are_both_named() -> None:
    market = Market(calm())
    clock = HandClock(ORIGIN, {ORIGIN + 17 * MINUTE + 30_000: lambda task: task.close("enough")})
    result = live(market, clock=clock)
    next(row for row in market.rows if row[0] == ORIGIN + 80 * MINUTE)[1] -= 0.2
    assert set(causes(result)) == {"manual", "revised candle"}
    clock = BrokerHandClock(ORIGIN, {ORIGIN + 17 * MINUTE + 30_000: lambda task: task.close("enough")})
    broker = PaperBroker(script={"place": [None] * 8 + [Trouble(kind="refuse")]})
    assert set(causes(live(Market(calm()), clock=clock, broker=broker, quantity=2.0))) == {"manual", "order"}


def test_what_cannot_be_compared_says_what_to_do_and_legs_of_a_portfolio_can_be() -> None:
    backtest = bknb.backtest("BTCUSDT", strategy=steady, interval="15m", exchange=Market(calm()), frame=(ORIGIN, UNTIL))
    with pytest.raises(bknb.UsageError, match="it is no live run"):
        backtest.against_backtest()
    bknb.add_strategy("leg", interval="15m", get_signal=steady)
    together = bknb.Live.portfolio(
        symbols=["BTCUSDT", "ETHUSDT"], strategies=["leg"], exchange=Market(calm()), store=bknb.stores.memory(),
        clock=SimulatedClock(ORIGIN), until=UNTIL, capital=1_000, settings=FREE,
    ).result(timeout=60)  # fmt: skip
    with pytest.raises(bknb.UsageError, match=r"result.legs\['BTCUSDT', 'leg'\].against_backtest\(\)"):
        together.against_backtest()
    first, second = together.legs.values()
    assert first.against_backtest().agrees
    assert causes(second) == ("risk",)  # the account had no money left for it


# --- the account beside the record ---------------------------------------------------------------------------------

ENTRY = {"client_id": "e", "signal_id": "s", "decided_at": 0, "purpose": "open", "side": "buy", "kind": "market"}
EXIT = {**ENTRY, "client_id": "x", "purpose": "close", "side": "sell"}
STOP = {**EXIT, "client_id": "p", "purpose": "protect", "kind": "stop", "trigger": 95.0}
FILLED: dict[str, Any] = {"status": "filled", "quantity": 1.0, "at": 0}
BOUGHT = TradedOrder(**ENTRY, **FILLED, filled=1.0, price=100.0, record_price=100.0, record_at=0)


def sold(kind: dict[str, Any], price: float, record: float, **more: Any) -> TradedOrder:
    known = {"filled": 1.0, "price": price, "record_price": record, "record_at": 0}
    return TradedOrder(**kind | FILLED | known | more)


@pytest.mark.parametrize(
    ("cause", "reason", "orders", "amount"),
    [
        ("fill", "take_profit", [BOUGHT, sold(EXIT, 109.5, 110.0)], -0.5),
        ("fill", "stop_loss", [BOUGHT, sold(STOP, 94.0, 95.0)], -1.0),
        ("closed by exchange", "take_profit", [BOUGHT, sold(STOP, 90.0, 110.0, trigger=99.0)], -20.0),
        ("trigger price", "take_profit", [BOUGHT, sold(STOP, 95.0, 110.0)], -15.0),
        (
            "protection gap",
            "stop_loss",
            [
                BOUGHT,
                TradedOrder(**STOP, status="rejected", quantity=1.0, at=0, note="it would trigger"),
                sold(EXIT, 93.0, 95.0),
            ],
            -2.0,
        ),
        ("order", "take_profit", [BOUGHT, sold(EXIT, 109.0, 110.0, attempt=2)], -1.0),
        ("order", "take_profit", [BOUGHT, sold(EXIT, 109.0, 110.0, at=5 * MINUTE)], -1.0),
        (
            "order",
            "take_profit",
            [TradedOrder(**ENTRY, status="rejected", quantity=1.0, at=0, record_price=100.0)],
            -10,
        ),
        (
            "order",
            "take_profit",
            [replace(BOUGHT, price=101.0, at=3 * MINUTE), sold(EXIT, 110.0, 110.0)],
            -1.0,
        ),
        (
            "manual",
            "take_profit",
            [
                BOUGHT,
                replace(BOUGHT, purpose="manual", side="sell", filled=0.4, price=None),
                sold(EXIT, 110.0, 110.0, filled=0.6),
            ],
            -4.0,
        ),
        ("dust", "take_profit", [BOUGHT, sold(EXIT, 110.0, 110.0, filled=0.999)], -0.01),
        ("order", "take_profit", [BOUGHT, sold(EXIT, 110.0, 110.0, filled=0.5)], -5.0),
        (
            "fee",
            "take_profit",
            [BOUGHT, sold(EXIT, 110.0, 110.0, fees=(Fee(currency="USDT", amount=0.11),))],
            -0.11,
        ),
    ],
)
def test_each_part_of_a_trade_has_its_cause(cause: str, reason: str, orders: list[TradedOrder], amount: float) -> None:
    exit_price = 95.0 if reason == "stop_loss" else 110.0
    trade = RecordOfTrade(
        position="long", reason=reason, opened_at=0, ended_at=9 * MINUTE, quantity=1.0, slippage=0.0, fee=0.0,
        fills=[
            Fill(number=0, kind="entry", at=0, share=1.0, price=100.0),
            Fill(number=1, kind="exit", at=9 * MINUTE, share=1.0, price=exit_price),
        ],
    )  # fmt: skip
    lowest = 98.0  # of the candles
    (part,) = account_beside_record(
        trade, orders, base="BTC", quote="USDT", bar_ms=MINUTE, reached=lambda trigger, *_: lowest <= trigger
    )
    assert (part.cause, part.amount) == (cause, pytest.approx(amount))


PARTS = st.lists(st.tuples(st.floats(0.1, 2.0), st.floats(50.0, 150.0), st.floats(0.0, 0.2)), min_size=1, max_size=3)


@settings(max_examples=60)
@given(
    position=st.sampled_from(["long", "short"]), price=st.floats(50, 150), end=st.floats(50, 150),
    ins=PARTS, outs=PARTS, slippage=st.floats(0, 1), fee=st.floats(0, 1), coins=st.booleans(),
)  # fmt: skip
def test_whatever_was_filled_the_parts_add_up(
    *, position: Any, price: float, end: float, ins: Any, outs: Any, slippage: float, fee: float, coins: bool
) -> None:
    side = "buy" if position == "long" else "sell"
    other = "sell" if side == "buy" else "buy"
    currency = "BTC" if coins and side == "buy" else "USDT"
    orders = [
        TradedOrder(**ENTRY | {"side": side}, **FILLED | {"filled": quantity}, price=paid, record_price=price,
                    fees=(Fee(currency=currency, amount=paid_fee),))
        for quantity, paid, paid_fee in ins
    ]  # fmt: skip
    orders += [
        TradedOrder(**EXIT | {"side": other}, **FILLED | {"filled": quantity}, price=paid, record_price=end,
                    fees=(Fee(currency="USDT", amount=paid_fee),))
        for quantity, paid, paid_fee in outs
    ]  # fmt: skip
    trade = RecordOfTrade(
        position=position, reason="strategy", opened_at=0, ended_at=0, quantity=1.5, slippage=slippage, fee=fee,
        fills=[Fill(number=0, kind="entry", at=0, share=1.0, price=price),
               Fill(number=1, kind="exit", at=0, share=1.0, price=end)],
    )  # fmt: skip
    parts = account_beside_record(trade, orders, base="BTC", quote="USDT", bar_ms=MINUTE, reached=lambda *_: True)
    bought, bought_for = sum(q for q, _, _ in ins), sum(q * p for q, p, _ in ins)
    left, left_for = sum(q for q, _, _ in outs), sum(q * p for q, p, _ in outs)
    fees = sum(f * (p if currency == "BTC" else 1) for _, p, f in ins) + sum(f for _, _, f in outs)
    sign = 1 if position == "long" else -1
    account = sign * (left_for - left * bought_for / bought) - fees
    assert trade.profit + sum(part.amount for part in parts) == pytest.approx(account, abs=1e-6)


@pytest.mark.slow
@settings(max_examples=8)
@given(seed=SEEDS, sleeps=st.booleans(), revised=st.booleans(), by_hand=st.booleans(), refused=st.booleans())
def test_random_worlds_with_random_causes_are_explained(
    *, seed: int, sleeps: bool, revised: bool, by_hand: bool, refused: bool
) -> None:
    """Causes that are not injected are not named; of those that are, what made a difference is."""
    market = Market(walk(seed, length=LENGTH))
    decided = {ORIGIN + k * MINUTE + 30_000: lambda task: task.flatten() for k in (23, 61, 97)} if by_hand else {}
    broker = PaperBroker(rates={"refuse": 0.2} if refused else {}, seed=seed) if refused else None
    clock: Any = BrokerHandClock(ORIGIN, decided) if refused else HandClock(ORIGIN, decided)
    if sleeps and not by_hand and not refused:
        clock = JumpingClock(ORIGIN, seed)
    options: dict[str, Any] = {"broker": broker, "quantity": 2.0} if refused else {}
    result = live(market, strategy=signals(seed), interval="1m", clock=clock, late_minutes=10_000, **options)
    if revised:
        for row in market.rows[100:160:7]:
            row[4] = (row[2] + row[3]) / 2
    compared = result.against_backtest()
    check_sums(compared)
    assert compared.unexplained == 0.0, compared.table.to_string()
    may_be = {"revised candle"} if revised else set()
    may_be |= {"outage"} if isinstance(clock, JumpingClock) else set()
    may_be |= {"manual"} if by_hand else set()
    may_be |= {"order", "fill", "fee", "dust", "outage"} if refused else set()
    assert set(compared.causes) <= may_be, compared
