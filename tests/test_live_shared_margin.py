"""Cross margin with leverage that legs of a live portfolio share: liquidations and money are those over history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from live_portfolio_life import JUMPING, KINDS, LENGTH, START, far, market_of, what_runs
from scenarios import MINUTE, ORIGIN, source
from test_live_account import FUNDING, FailingStore, money_of
from test_live_parity import JumpingClock
from test_live_portfolio import UNTIL, backtest, live, told
from worlds import SETTINGS, drawn_weights, signals, walk

import bknb
from bknb.domain.market_clock_protocol import NEVER
from bknb.live.account_saver import MoneyJournal
from bknb.live.saved_account import ACCOUNT_READERS, ACCOUNT_VERSION
from bknb.testing.clocks import SimulatedClock

ACCOUNTS: list[dict[str, Any]] = [
    {"account": bknb.Perpetual(50, 1.9), "costs": bknb.Costs(taker=0.02, funding=FUNDING)},
    {"account": bknb.Margin(50, 1.5), "costs": bknb.Costs(taker=0.02, borrow_yearly=3_000)},
]


def jumping(rows: list[list[float]], random: np.random.Generator) -> list[list[float]]:
    """The rows of a market that now and then opens some percent away from its last close."""
    found, factor = [], 1.0
    for at, *prices, volume in rows:
        if at >= ORIGIN and random.random() < 0.03:
            factor *= 1 + random.normal() * 0.04
        found.append([at, *(price * factor for price in prices), volume])
    return found


def world(seed: int, model: str, *, gone: float = 0.0, bars: Sequence[str] = ("1m",)) -> dict[str, Any]:
    """Two to four legs, each of which takes a third of what there is fifty times; they have these ``bars`` in turn."""
    random, exchanges, legs, base = np.random.default_rng(seed), {}, [], {}
    for at in range(2 + seed % 3):
        symbol, rows = f"S{at}USDT", walk(seed * 10 + at)
        rows = jumping(rows, random) if seed % 4 >= 2 else rows
        exchanges[symbol] = source([row for row in rows if row[0] < ORIGIN or random.random() >= gone])
        base[symbol] = bars[(at + seed) % len(bars)]
        bknb.add_strategy(f"drawn {at}", interval=base[symbol], get_signal=signals(seed * 10 + at), execution=model)
        legs.append((symbol, f"drawn {at}"))
    options = {"legs": legs, "exchange": exchanges, "base": base, "settings": SETTINGS, "allow_gaps": bool(gone)}
    return options | {"capital": 10_000, "sizing": "percent:1650"} | ACCOUNTS[seed % 2]


BARS = ("5m", "1m", "15m", "1m")
HOW = [("pessimistic", "whole"), ("touch", "gone"), ("vwap", "jumping"), ("touch", "failing"), ("touch", "bars")]
LONG = [(seed, model, how) for seed in range(20) for model, how in HOW]
SLOW = [(2, "vwap", "jumping"), (4, "pessimistic", "failing"), (2, "touch", "bars")]


@pytest.mark.parametrize(
    ("seed", "model", "how"),
    [
        *(pytest.param(*each, marks=pytest.mark.slow) for each in SLOW),
        *(pytest.param(*each, marks=pytest.mark.long) for each in LONG),
    ],
)
def test_what_liquidates_them_all_is_that_of_the_portfolio(seed: int, model: str, how: str) -> None:
    """Also where minutes are gone, the machine sleeps, every seventh write fails, or legs have other bars."""
    options = world(seed, model, gone=0.05 if how == "gone" else 0.0, bars=BARS if how == "bars" else ("1m",))
    until = ORIGIN + 120 * MINUTE if how == "bars" else UNTIL  # no bar is under way then
    clock = JumpingClock(ORIGIN, seed) if how == "jumping" else SimulatedClock(ORIGIN)
    result = live(options, clock, FailingStore() if how == "failing" else None, until=until)
    expected = backtest(options, result, until)
    assert told(result, until) == told(expected, until)
    assert money_of(result, until) == money_of(expected, until)
    closed = [event for event in expected.told if isinstance(event, bknb.Closed) and event.when < until]
    liquidated = [event.when for event in closed if event.close_reason == "liquidation"]
    if (seed, model, how) in SLOW:
        assert len(liquidated) > len({*liquidated}) > (how != "bars")  # some of several legs in one minute


def test_each_is_liquidated_at_the_price_at_which_all_is_used_up() -> None:
    """50 each of A and B from 100 on with 1 000: all is used up at 1 000 + 100 (p - 100) = p / 2, in minute 3."""
    hold = {"position": "long", "price_take_profit": 150.0, "price_stop_loss": 50.0, "minute_estimated_time": 20}

    def once(when: Any) -> Any:
        return hold if when.minute == 0 else None

    bknb.add_strategy("once", interval="1m", get_signal=once)
    flat, fall = (100.0, 100.0, 100.0, 100.0), (100.0, 100.0, 90.0, 95.0)
    rows = [[ORIGIN + k * MINUTE, *(fall if k == 3 else flat), 100.0] for k in range(-60, 40)]
    result = live(
        {"legs": [("A", "once"), ("B", "once")], "exchange": {"A": source(rows), "B": source(rows)},
         "settings": {"percent_fee": 0.0, "percent_slippage": 0.0}, "capital": 1000, "account": "perpetual:10",
         "sizing": "units:50"},
        SimulatedClock(ORIGIN), until=ORIGIN + 10 * MINUTE,
    )  # fmt: skip
    ends = [event for event in result.told if isinstance(event, bknb.Closed)]
    assert [(event.symbol, event.close_reason, (event.when - ORIGIN) // MINUTE) for event in ends] == [
        ("A", "liquidation", 3), ("B", "liquidation", 3)
    ]  # fmt: skip
    assert [event.price_close for event in ends] == [pytest.approx(9000 / 99.5)] * 2
    assert result.trades["money"].sum() == pytest.approx(float(result.equity.iloc[-1]) - 1000)


def test_a_leg_whose_bars_come_late_is_not_liquidated_in_them() -> None:
    """Both fall to 90 in minute 3. Of B that comes at minute 20: by then A has gone on beside B at its last close."""
    clock, until = SimulatedClock(ORIGIN), ORIGIN + 40 * MINUTE
    hold = {"position": "long", "price_take_profit": 150.0, "price_stop_loss": 50.0, "minute_estimated_time": 30}
    bknb.add_strategy("once", interval="1m", get_signal=lambda when: hold if when.minute == 0 else None)
    flat, fall = (100.0, 100.0, 100.0, 100.0), (100.0, 100.0, 90.0, 95.0)
    rows = [(ORIGIN + k * MINUTE, *(fall if k == 3 else flat), 100.0) for k in range(-60, 60)]

    def late(symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        held_up = ORIGIN + 3 * MINUTE if clock.now() < ORIGIN + 20 * MINUTE else clock.now()
        return [row for row in rows if since <= row[0] and row[0] + MINUTE <= held_up][:limit]

    options: dict[str, Any] = {
        "legs": [("A", "once"), ("B", "once")],
        "exchange": {"A": source(rows), "B": bknb.add_exchange("late", get_candles=late)},
        "settings": {"percent_fee": 0.0, "percent_slippage": 0.0, "patience_minutes": 5},
    }
    money = {"capital": 1000, "account": "perpetual:10", "sizing": "units:50"}
    result = live(options | money, clock, until=until)
    ends = [(event.symbol, event.close_reason) for event in result.told if isinstance(event, bknb.Closed)]
    assert ends == [("A", "time_expired"), ("B", "time_expired")]
    assert [error.kind for error in result.leg("B").errors if error.kind == "silence"]
    over_history = backtest(options | money, result, until)
    assert over_history.trades["close_reason"].tolist() == ["liquidation"] * 2


class CopiedStore(bknb.stores.MemoryStore):
    """A store that keeps a copy of itself behind each write from a moment on."""

    def __init__(self, clock: SimulatedClock, since: int) -> None:
        super().__init__()
        self.clock, self.since = clock, since
        self.copies: list[bknb.stores.MemoryStore] = []

    def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
        super().write(kind, key, payload)
        if self.since <= self.clock.now() < self.since + MINUTE:
            self.copies.append(copied := bknb.stores.memory())
            copied.sealed |= self.sealed


def from_each_write(kind: str, minute: int) -> tuple[bknb.PortfolioResult, bknb.stores.MemoryStore]:
    """A life of :mod:`live_portfolio_life`; from each write of a minute on another one comes to the same end."""
    options = {**what_runs(kind), "exchange": market_of(kind), "settings": SETTINGS, "capital": 10_000, **KINDS[kind]}
    start, since = START.get(kind, ORIGIN), ORIGIN + minute * MINUTE
    store = CopiedStore(clock := SimulatedClock(start), since)
    whole = live(options, clock, store, until=start + LENGTH)
    assert len(store.copies) > 5
    for number, left in enumerate(store.copies):
        result = live(options, SimulatedClock(since), left, until=start + LENGTH)
        assert result.run_account.end == whole.run_account.end, number
        assert result.run_account.positions == whole.run_account.positions, number
        assert result.equity.tolist() == whole.equity.tolist(), number
    return whole, store


@pytest.mark.slow
def test_one_that_goes_on_between_two_liquidations_liquidates_the_others() -> None:
    """Three legs are liquidated at the open of minute 24, and more is lost than there is: from each write then on."""
    whole, store = from_each_write("cross", 25)
    assert whole.trades["forgiven"].tolist()[-3:] == pytest.approx([387, 8, 385], abs=40)
    assert len(store.copies) > 9
    with store:  # what was forgiven when the last one was closed
        saved = [MoneyJournal(store, (leg.strategy, leg.symbol)).load() for leg in whole.legs.values()]
    assert [{item.key: item.position for item in items} for items in saved] == list(whole.run_account.positions)


@pytest.mark.slow
def test_one_that_goes_on_at_a_full_hour_pays_interest_once() -> None:
    """Three shorts share their margin, and interest is due at minute 60."""
    whole, _ = from_each_write("cross interest", 60)
    assert (whole.trades["borrow"] > 0.0).sum() > 3
    assert (whole.trades["forgiven"] > 0.0).sum() == 3


@pytest.mark.slow
def test_one_that_goes_on_as_one_of_its_markets_opens_ends_as_one_that_went_on() -> None:
    """Weights of two symbols, one of which is closed from minute 8 to 17."""
    whole, _ = from_each_write("weights hours", 18)
    assert len(whole.trades) > 2


class FailsOnce(bknb.stores.MemoryStore):
    """A store at which the first write of each value fails from a moment on."""

    def __init__(self, clock: SimulatedClock, since: int) -> None:
        super().__init__()
        self.clock, self.since, self.failed = clock, since, set[Any]()

    def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
        if self.clock.now() >= self.since and (kind, key) not in self.failed:
            self.failed.add((kind, key))
            raise bknb.StateError("the disk is full")
        super().write(kind, key, payload)


@pytest.mark.slow
def test_what_was_closed_in_a_turn_that_could_not_be_saved_has_not_been_closed() -> None:
    """Three legs are liquidated at the open of minute 24, and the first write of each value fails then."""
    ends, watched = [], []
    for since in (NEVER, ORIGIN + 25 * MINUTE):
        clock = SimulatedClock(ORIGIN)
        store = FailsOnce(clock, since)
        options = {"legs": far("long"), "exchange": JUMPING["cross"], "settings": SETTINGS, "capital": 10_000}
        result = live(options | KINDS["cross"] | {"name": "shared"}, clock, store, until=ORIGIN + LENGTH)
        ends.append([result.run_account.end, result.run_account.positions, result.equity.tolist()])
        with store:
            payload = store.read("portfolio", ("shared", "account"))
        assert payload is not None
        saved = ACCOUNT_READERS[ACCOUNT_VERSION](payload)
        assert saved.money is not None
        watched.append(saved.money.watched)
    assert ends[0] == ends[1]
    assert watched[0] == watched[1]
    assert len(store.failed) > 3
    assert len(watched[0].closed) == 3


@pytest.mark.slow
def test_what_was_ordered_to_leave_too_late_for_an_open_is_not_replaced_at_it() -> None:
    """S2 is to leave at the open of minute 30, which is decided too late for it, and is turned round then."""
    random, candles, until = np.random.default_rng(24), {}, ORIGIN + 35 * MINUTE
    for at in range(4):
        rows = walk(240 + at, length=260)
        rows = jumping(rows, random) if at == 3 else rows
        rows = [row for row in rows if row[0] < ORIGIN or random.random() >= 0.03]
        candles[f"S{at}USDT"] = bknb.Candles.from_rows(rows)
    bknb.weights("turns", symbols=[*candles], interval="1m", get_weights=drawn_weights(24, 30), tolerance=1.0)
    options = {
        "strategies": ["turns"], "exchange": bknb.exchanges.FrameSource(candles), "allow_gaps": True,
        "settings": {"schedule_await_minutes": 7}, "capital": 10_000, **ACCOUNTS[0],
    }  # fmt: skip
    result = live(options, SimulatedClock(ORIGIN), until=until)
    expected = backtest(options, result, until)
    assert {error.kind for leg in result.legs.values() for error in leg.errors} == {"late"}
    assert told(result, until) == told(expected, until)
    assert money_of(result, until) == money_of(expected, until)
