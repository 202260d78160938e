"""Strategies with several places live: the same events as over history, and after a crash the same fills, each once."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import msgspec
import pandas as pd
import pytest
import test_live_portfolio as of_portfolio
from hand_clock import HandClock
from hypothesis import example, given, settings
from hypothesis import strategies as st
from managed import FREE
from minute_clock import MinuteClock
from quick import rest_long
from scenarios import MINUTE, ORIGIN, source
from test_live_parity import JumpingClock
from test_managed_live import told
from test_managed_properties import drawn_in_places, managing
from test_places import buy, market
from waiting import until
from worlds import MODELS, SEEDS, SETTINGS, walk

import bknb
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.errors import StateError
from bknb.live.saved_answers_of_places import SavedAnswers, saved_signals
from bknb.live.unwatched_positions import unwatched
from bknb.stores.memory_store import MemoryStore
from bknb.testing.clocks import SimulatedClock

LENGTH = 200
UNTIL = ORIGIN + LENGTH * MINUTE


LONG = pytest.mark.long  # one more case of a costly test


def at(minute: float) -> int:
    return ORIGIN + round(minute * MINUTE)


def drawn_strategy(seed: int, model: str, asked: list[Any], **options: Any) -> Any:
    """Random signals for four names and three places; it notes when it was asked and how it saw its positions."""
    answers, manages = drawn_in_places(seed), managing(seed)

    def get_signal(ctx: Any, when: Any, price: float) -> Any:
        ctx.memo["asked"] = ctx.memo.get("asked", 0) + 1
        asked.append((when, ctx.memo["asked"], [each.place for each in ctx.positions]))
        return answers(when, price)

    def manage(ctx: Any, when: Any, position: Any, price: float) -> Any:
        ctx.memo["asked"] += len(ctx.positions)
        return manages(when, position, price)

    return bknb.add_strategy(
        "placed", interval="1m", get_signal=get_signal, manage=manage, manage_interval="1m" if seed % 2 else "5m",
        execution=model, places=3, **options,
    )  # fmt: skip


def live(strategy: Any, exchange: Any, *, clock: Any = None, until: int = UNTIL, **options: Any) -> bknb.Result:
    options = {"store": bknb.stores.memory(), "settings": SETTINGS} | options
    task = bknb.Live.background(
        "BTCUSDT", strategy=strategy, exchange=exchange, clock=clock or SimulatedClock(ORIGIN), until=until, **options
    )
    return task.result(timeout=120)


def equals_a_backtest(strategy: Any, exchange: Any, asked: list[Any], **options: Any) -> bknb.Result:
    """A live run, once it is seen that it was asked at the moments of a backtest, and told the same."""
    result = live(strategy, exchange, **options)
    records, questions = result.run_record.records, [each for each in asked if each[0].timestamp() * 1000 < UNTIL]
    asked.clear()
    plan = plan_backtest("BTCUSDT", frame=(ORIGIN, UNTIL), strategy=strategy, exchange=exchange, settings=SETTINGS)
    run = BacktestRun(plan, late=dict(records.late))
    asyncio.run(run.through())
    assert told(records, before=UNTIL) == told(run.records, before=UNTIL)
    assert records.late or questions == [each for each in asked if each[0].timestamp() * 1000 < UNTIL]
    return result


@pytest.mark.slow
@pytest.mark.parametrize("model", rest_long(["vwap", "pessimistic", "touch"], kept=1))
@settings(max_examples=3)
@example(seed=1, jumping=False, risk=False)  # all three places end at the average price of one moment
@given(seed=SEEDS, jumping=st.booleans(), risk=st.booleans())
def test_live_equals_a_backtest(model: str, seed: int, *, jumping: bool, risk: bool) -> None:
    bknb.add_risk("two", validations=[lambda request: request.open_position_count < 2])
    asked = list[Any]()
    strategy = drawn_strategy(seed, model, asked, risk="two" if risk else None)
    clock = JumpingClock(ORIGIN, seed) if jumping else SimulatedClock(ORIGIN)
    result = equals_a_backtest(strategy, source(walk(seed)), asked, clock=clock)
    assert {failure.kind for failure in result.errors} <= ({"late"} if jumping else set()), result.errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "seed"), [("pessimistic", 2), pytest.param("touch", 0, marks=LONG), pytest.param("vwap", 1, marks=LONG)]
)
def test_with_a_broker_on_paper_it_has_the_events_of_a_backtest(model: str, seed: int) -> None:
    asked = list[Any]()
    paper = {"broker": bknb.brokers.paper(), "quantity": 2.0, "late_minutes": 10_000}
    strategy = drawn_strategy(seed, model, asked)
    result = equals_a_backtest(strategy, source(walk(seed)), asked, clock=MinuteClock(ORIGIN), **paper)
    assert {failure.kind for failure in result.errors} <= {"broker", "double_fill"}, result.errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "score", "money"), [pytest.param(1, False, "", marks=LONG), (2, True, ""), (3, False, "margin")]
)
def test_legs_with_places_in_a_live_portfolio_equal_a_portfolio(seed: int, score: bool, money: str) -> None:  # noqa: FBT001
    """Two of three legs have three places, and all share one risk profile, and one account where there is one."""
    options = of_portfolio.legs_of(seed, count=3, model=MODELS[seed % 3], score=score)
    options |= {"capital": 10_000, **KINDS[money]} if money else {}
    answers, manages = drawn_in_places(seed), managing(seed)

    def get_signal(when: Any, price: float) -> Any:
        found = answers(when, price)
        return [msgspec.structs.replace(one, score=(when.minute * 7 + at) % 5) for at, one in enumerate(found)]

    bknb.add_risk("one place", validations=[lambda request: request.open_position_count < 3])
    for leg in (0, 2):
        bknb.add_strategy(f"drawn {leg}", interval="1m", get_signal=get_signal, manage=manages, manage_interval="1m",
                          risk="one place", execution=MODELS[seed % 3], places=3)  # fmt: skip
    result = of_portfolio.live(options, SimulatedClock(ORIGIN))
    expected = of_portfolio.backtest(options, result)
    assert of_portfolio.told(result) == of_portfolio.told(expected)
    if money:
        assert cash_of(result) == cash_of(expected)
    assert len({event.signal.place for event in result.told if getattr(event.signal, "place", "")}) == 4


# --- answers for several places -----------------------------------------------------------------------------------


GRID = [buy("a", 99), buy("b", 98), bknb.Signal(position="long", place="c", minute_estimated_time=6, memo={"n": [1]})]
DIP = {3: (100, 100, 97.5, 98.5), 6: (98.5, 101.5, 98.5, 101.5)}


def grid_strategy(asked: list[int], **options: Any) -> Any:
    def get_signal(ctx: Any, when: Any) -> Any:
        asked.append(when.minute)
        ctx.memo["asked"] = ctx.memo.get("asked", 0) + 1
        if when.minute == 1:  # asked again, it would see what it has said before
            return GRID if not ctx.positions else [buy("d", 97)]
        return buy("e", 96, valid=3) if when.minute == 9 and ctx.memo["asked"] == 10 else None

    return bknb.add_strategy("grid", interval="1m", get_signal=get_signal, **{"places": 4} | options)


class Failing(MemoryStore):
    """A store whose writes fail from one on, so many times."""

    def __init__(self, at: int, times: int = 1) -> None:
        super().__init__()
        self.left, self.times = at, times

    def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
        self.left -= 1
        if -self.times < self.left <= 0:
            raise StateError("the disk is full")
        super().write(kind, key, payload)


def ends(result: bknb.Result) -> list[bytes]:
    return [msgspec.json.encode(event) for event in result.run_record.records.ends]


def grid_life(asked: list[int], store: MemoryStore, start: int, end: int) -> bknb.Result:
    return live(grid_strategy(asked), source(market(DIP, 20)), clock=SimulatedClock(at(start)), until=at(end),
                store=store, settings=SETTINGS | FREE)  # fmt: skip


@pytest.mark.slow
def test_a_write_that_fails_changes_nothing_nor_does_a_start_behind_it() -> None:
    """At minute 1 it answers for three places, and would answer otherwise once one of them has its part."""
    asked: list[int] = []
    whole = grid_life(asked, MemoryStore(), 0, 14)
    assert [event.signal.place for event in whole.run_record.records.closed] == ["a", "b", "c"]
    assert [event.signal.place for event in whole.run_record.records.cancelled] == ["e"]
    for number in (*range(3, 14), 18, 27, 36, 45):
        assert ends(grid_life(asked, Failing(number), 0, 14)) == ends(whole), number
    for number in range(3, 14):
        store = Failing(number, times=100)
        grid_life(asked, store, 0, 2)
        store.left = 1_000
        assert ends(grid_life(asked, store, 1, 14)) == ends(whole), number


def test_a_place_that_a_minute_has_ended_is_not_free_in_it_after_a_start() -> None:
    """Both places are taken at minute 5, the older one is stopped in minute 6: it is asked at 7, whatever was saved."""
    asked: list[int] = []

    def get_signal(when: Any) -> Any:
        asked.append(when.minute)
        signals = [bknb.Signal(position="long", place="a", price_stop_loss=98.0), buy("b", 90)]
        return signals if when.minute == 0 else bknb.Signal(position="short", place="c")

    def lived(store: MemoryStore, start: int, end: int) -> list[int]:
        asked.clear()
        strategy = bknb.add_strategy("two", interval="5m", get_signal=get_signal, places=2)
        live(strategy, source(market({6: DIP[3]}, 20)), clock=SimulatedClock(at(start)), until=at(end), store=store,
             settings=SETTINGS | FREE)  # fmt: skip
        return list(asked)

    before, whole = Failing(10**6), Failing(10**6)
    assert (lived(before, 0, 6), lived(whole, 0, 8)) == ([0], [0, 7])
    for number in range(10**6 - before.left + 1, 10**6 - whole.left + 1):  # the last writes
        store = Failing(number, times=100)
        lived(store, 0, 7)
        store.left = 1_000
        assert lived(store, 7, 8) in ([7], []), number  # [] where that was saved


@pytest.mark.parametrize("signal", [
    GRID[2],
    buy("a", 99, size=bknb.size.Risk(1.5)),
    buy("a", 99, price_take_profit=[(101.0, 0.5), (102.0, 0.5)], trailing=bknb.Trailing(percent=1.0)),
    buy("a", 99, price_open=[(99.0, 0.5), (98.0, 0.25)], price_take_profit=None, target_percent=[(1.0, 0.5)]),
    buy("a", 99, valid=bknb.at.week("mon"), until="session_end", breakeven=bknb.Breakeven(after=1.0), size=0.5),
])  # fmt: skip
def test_what_was_answered_for_a_place_is_read_as_it_was_saved(signal: bknb.Signal) -> None:
    from bknb.domain.competing_entries import read_signals
    from bknb.domain.recovery import Owner

    (read,) = read_signals([signal]).signals
    owner = Owner(strategy="s", exchange="e", symbol="x", execution="touch")
    saved = SavedAnswers(owner=owner, when=1, price=1.0, asked_before=None, decided_at=None, memo="",
                         signals=saved_signals({"a": (read,)}))  # fmt: skip
    again = msgspec.json.decode(msgspec.json.encode(saved), type=SavedAnswers).answer()["a"][0]
    texts = {
        name: str(value) for name in ("valid", "until") if isinstance(value := getattr(read, name), bknb.at.Schedule)
    }
    assert again == msgspec.structs.replace(read, **texts)
    for broken in (float("nan"), float("inf")):  # JSON has none: it must not become an order at the market
        assert saved_signals({"a": (msgspec.structs.replace(read, price_open=broken),)}) == {}


# --- restarts ---------------------------------------------------------------------------------------------------------


def resting(places: int, names: list[str | None], *, name: str = "rests") -> Any:
    """Buys at the market at minute 1, in each of some places, for an hour."""

    def get_signal(when: Any) -> Any:
        signals = [bknb.Signal(position="long", place=each, minute_estimated_time=60) for each in names]
        return signals if when.minute == 1 else None

    return bknb.add_strategy(name, interval="1m", get_signal=get_signal, places=places)


def life(strategy: Any, store: Any, start: int, end: int, **options: Any) -> bknb.Result:
    return live(strategy, source(market({}, 90)), clock=SimulatedClock(at(start)), until=at(end), store=store,
                settings=SETTINGS | FREE, **options)  # fmt: skip


def saved(store: Any, name: str = "rests") -> dict[str, Any]:
    """What is saved of a strategy, by place; of an older one, or what it knows of all places, under no name."""
    store.acquire()
    keys = [key for key in store.keys("signal") if key[0] == name]
    found = {"".join(key[2:]): json.loads(store.read("signal", key)) for key in keys}
    store.release()
    return found


def test_each_place_has_a_state_of_its_own_that_an_older_release_refuses() -> None:
    store = bknb.stores.memory()
    life(resting(3, ["b", "a"]), store, 0, 5)
    found = saved(store)
    assert {place: value["signal"] and value["signal"]["id"] for place, value in found.items()} == {
        "": None,
        "a": "rests-BTCUSDT-20240101T0001@a",
        "b": "rests-BTCUSDT-20240101T0001@b",
    }
    assert {(value["version"], value["places"]) for value in found.values()} == {(5, 3)}
    alone = bknb.stores.memory()
    life(resting(1, [None]), alone, 0, 5)
    assert "places" not in saved(alone)[""]
    assert saved(alone)[""]["version"] == 4


@pytest.mark.parametrize(("before", "now"), [(3, 2), (3, 1), (2, 4), (1, 3)])
def test_what_is_open_is_watched_to_its_end_however_many_places_there_are_now(before: int, now: int) -> None:
    """Of three places one is left: all three positions end at their time, and meanwhile nothing else is opened."""
    store, names = bknb.stores.memory(), ["a", "b", "c"][:before]
    life(resting(before, names if before > 1 else [None]), store, 0, 5)
    asked: list[int] = []

    def get_signal(when: Any) -> Any:
        asked.append(when.hour * 60 + when.minute)
        return bknb.Signal(position="short", minute_estimated_time=5, id=f"new {when.hour * 60 + when.minute}")

    strategy = bknb.add_strategy("rests", interval="1m", get_signal=get_signal, places=now)
    result = life(strategy, store, 5, 65)
    changed = [error.message for error in result.errors if error.kind == "state"]
    assert len(changed) == 1
    assert f"places was {before if before > 1 else '(not given)'}, is {now if now > 1 else '(not given)'}" in changed[0]
    closed = result.run_record.records.closed
    old = [(event.signal.place, event.closed_at) for event in closed if event.signal.position == "long"]
    assert old == [(name, at(61)) for name in (names if before > 1 else [""])]
    free = now - (max(1, before))
    assert min(asked) == (5 if free > 0 else 61)
    store.acquire()
    left = {key for kind in ("signal", "schedule") for key in store.keys(kind)}
    store.release()
    assert {key[:2] for key in left} == {("rests", "BTCUSDT")}


def test_what_places_hold_is_in_the_contribution_and_the_allocation_of_their_leg() -> None:
    """Two places of the first leg and the second one have bought for 300 each, and are a tenth up when it ends."""
    higher = dict.fromkeys(range(3, 99), (110, 110, 110, 110))
    result = of_portfolio.live(
        {
            "legs": [("A", resting(2, ["a", "b"])), ("B", resting(1, [None], name="alone"))],
            "exchange": {symbol: source(market(higher, 90)) for symbol in "AB"},
            "settings": SETTINGS | FREE, "capital": 1_000, "sizing": bknb.size.Cash(300),
        },
        SimulatedClock(ORIGIN), until=at(20),
    )  # fmt: skip
    assert len(result.run_account.end.positions) == 3
    assert result.contribution["money"].tolist() == pytest.approx([60.0, 30.0])
    assert result.contribution["money"].sum() == pytest.approx(result.equity.iloc[-1] - 1_000)
    legs = result.snapshot().legs
    assert [leg.held for leg in legs] == pytest.approx([660 / 10.9, 330 / 10.9])
    assert [leg.result for leg in legs] == pytest.approx([60.0, 30.0])


def test_a_set_up_of_before_is_named_as_long_as_one_place_has_something_of_it() -> None:
    """ "a" ends, and is taken again with the interval of now; "b" is open from before all the time."""

    def strategy(interval: str) -> Any:
        def get_signal(when: Any) -> Any:
            minutes = {"a": 9, "b": 60} if when.minute == 1 else {"a": 60} if when.minute == 15 else {}
            return [
                bknb.Signal(position="long", place=name, minute_estimated_time=each) for name, each in minutes.items()
            ]

        return bknb.add_strategy("rests", interval=interval, get_signal=get_signal, places=2)

    store = bknb.stores.memory()
    spans = [("1m", 0, 5), ("5m", 5, 18), ("5m", 18, 20)]
    lives = [life(strategy(each), store, start, end) for each, start, end in spans]
    named = [[error.message.splitlines()[0] for error in each.errors] for each in lives]
    text = "StateError: what 'rests' has open on BTCUSDT was decided with another set-up: interval was 1m, is 5m"
    assert named == [[], [text], [text]]


def test_what_no_run_watches_of_a_place_is_named() -> None:
    store = bknb.stores.memory()
    life(resting(3, ["b", "a"], name="gone"), store, 0, 5)
    store.acquire()
    found = unwatched(store, [])
    store.release()
    assert sorted(found) == [("gone", "BTCUSDT", "a"), ("gone", "BTCUSDT", "b")]
    assert "'gone' holds a position on BTCUSDT in the place 'a' (long" in found["gone", "BTCUSDT", "a"]
    assert "store.delete('signal', ('gone', 'BTCUSDT', 'a'))" in found["gone", "BTCUSDT", "a"]
    store.acquire()
    assert unwatched(store, [("gone", "BTCUSDT")]) == {}
    store.delete("signal", ("gone", "BTCUSDT", "a"))
    store.release()
    (told_,) = [error.message for error in life(resting(3, [], name="gone"), store, 5, 9).errors]
    assert told_.startswith("StateError: the state of 'gone' on BTCUSDT in the place 'a' is gone: 'gone-BTC")


def test_positions_that_are_not_watched_are_named_behind_an_older_entry_that_waits() -> None:
    """No candle comes any more from minute 6 on."""
    answers = {1: buy("a", 90), 2: [bknb.Signal(position="long", place=name) for name in ("b", "c")]}
    strategy = bknb.add_strategy("held", interval="1m", get_signal=lambda when: answers.get(when.minute), places=3)
    rows = [row for row in market({}, 20) if row[0] < at(6)]
    result = live(strategy, source(rows), until=at(25), settings=SETTINGS | FREE)
    (silence,) = [error.message for error in result.errors if error.kind == "silence"]
    assert silence.splitlines()[1].startswith(
        "the positions of held-BTCUSDT-20240101T0002@b, held-BTCUSDT-20240101T0002@c and the entry of "
        "held-BTCUSDT-20240101T0001@a are not watched; "
    )


def test_what_is_open_in_places_has_its_places_of_the_risk_profile_before_its_run_goes_on() -> None:
    """Another strategy with the same profile starts alone, while two places hold what a limit of two allows."""
    bknb.add_risk("two", validations=[lambda request: request.open_position_count < 2])
    store = bknb.stores.memory()

    def buys() -> Any:
        levels = {"a": None, "b": 90.0}
        return [bknb.Signal(position="long", place=name, price_open=level) for name, level in levels.items()]

    bknb.add_strategy("rests", interval="1h", get_signal=buys, places=2, risk="two")
    life("rests", store, 0, 5)
    other = bknb.add_strategy("other", interval="1m", get_signal=lambda: bknb.Signal(position="long"), risk="two")
    result = life(other, store, 5, 8)
    assert {event.risk for event in result.run_record.records.refused} == {"two"}
    assert result.run_record.records.events == []


# --- a broker ---------------------------------------------------------------------------------------------------------


def test_at_a_broker_each_place_has_its_orders_and_the_account_is_what_all_of_them_hold() -> None:
    held: list[tuple[int, float, float]] = []
    paper = bknb.brokers.paper()
    candles = {4: (100, 100, 98.5, 99), 6: (99, 99, 97.5, 98), 9: (98, 101.5, 98, 100)}
    answer = [buy("a", 99, size=0.5), buy("b", 98), bknb.Signal(position="short", place="c", minute_estimated_time=6)]

    def get_signal(ctx: Any, when: Any) -> Any:
        units = sum(each.sign * each.size for each in ctx.positions if each.size)
        held.append((when.minute, units, paper.position("BTCUSDT")))
        return answer if when.minute == 1 else None

    strategy = bknb.add_strategy("placed", interval="1m", get_signal=get_signal, places=4)
    result = live(strategy, source(market(candles, 20)), clock=MinuteClock(ORIGIN), until=at(14), broker=paper,
                  quantity=2.0, late_minutes=1_000, settings=SETTINGS | FREE)  # fmt: skip
    assert not result.errors, result.errors
    assert [(event.signal.place, event.close_reason) for event in result.run_record.records.closed] == [
        ("c", "time_expired"), ("a", "take_profit"), ("b", "take_profit"),
    ]  # fmt: skip
    assert {position for _, _, position in held} == {0.0, -2.0, -1.0, 1.0, 3.0}
    assert paper.position("BTCUSDT") == 0.0


# --- money ------------------------------------------------------------------------------------------------------------


FUNDING = [(ORIGIN + k * MINUTE, 0.0003) for k in range(0, LENGTH, 7)]
KINDS: dict[str, dict[str, Any]] = {
    "margin": {"sizing": "percent:90", "account": bknb.Margin(5, 0.5, "isolated"),
               "costs": bknb.Costs(taker=0.05, borrow_yearly=300)},
    "perpetual": {"sizing": "percent:120", "account": bknb.Perpetual(10, 0.5, "isolated"),
                  "costs": bknb.Costs(taker=0.05, funding=FUNDING)},
    "series": {"sizing": "percent:120", "account": bknb.Perpetual(10, 0.5, "isolated"),
               "costs": bknb.Costs(taker=0.05, funding="rates")},
}  # fmt: skip


def cash_of(result: bknb.PortfolioResult) -> list[Any]:
    """Every movement of cash, and the equity but for the end."""
    rows = [row for row in result.run_account.rows if row.at < of_portfolio.UNTIL]
    return [rows, result.equity.iloc[:-3].tolist()]


def money_of(result: bknb.Result) -> list[Any]:
    """Every movement of cash, what each trade bought and brought, and the equity, but for the end."""
    rows = [row for row in result.run_record.money.rows if row.at < UNTIL - 3 * MINUTE]
    columns = ["signal_id", "place", "closed_at", "quantity", "cost", "money", "scaled", "cut"]
    trades = result.trades[columns].astype(str).to_numpy().tolist()
    return [rows, trades, result.equity.iloc[:-3].tolist()]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "model", "seed"), [("margin", "touch", 1), ("perpetual", "pessimistic", 0)])
def test_with_a_capital_it_is_its_backtest_to_the_last_bit(kind: str, model: str, seed: int) -> None:
    asked, exchange = list[Any](), source(walk(seed))
    options = {"capital": 10_000, **KINDS[kind]}
    strategy = drawn_strategy(seed, model, asked)
    result = live(strategy, exchange, **options)
    frame = (ORIGIN, UNTIL)
    expected = bknb.backtest("BTCUSDT", strategy=strategy, exchange=exchange, frame=frame, settings=SETTINGS, **options)
    assert told(result.run_record.records, before=UNTIL) == told(expected.run_record.records, before=UNTIL)
    here, there = money_of(result), money_of(expected)
    assert here[0] == there[0]
    assert [row for row in here[1] if row in there[1]] == here[1]
    assert here[2] == there[2]
    assert len(result.trades) > 20


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["margin", pytest.param("series", marks=LONG)])
def test_an_account_goes_on_with_the_positions_of_all_places_after_a_restart(kind: str) -> None:
    asked, exchange, store = list[Any](), source(walk(1)), bknb.stores.memory()
    bknb.add_series("rates", pd.DataFrame(FUNDING, columns=["published_at", "rate"]))
    options = {"capital": 10_000, **KINDS[kind]}
    strategy = drawn_strategy(1, "touch", asked)
    whole = live(strategy, exchange, **options)
    for start, end in itertools.pairwise((0, 20, 61, 90, 130, LENGTH)):
        found = live(strategy, exchange, until=at(end), store=store, clock=SimulatedClock(at(start)), **options)
    assert found.trades["signal_id"].tolist() == whole.trades["signal_id"].tolist()
    assert found.trades["money"].tolist() == whole.trades["money"].tolist()
    assert found.equity.iloc[-40:].tolist() == whole.equity.iloc[-40:].tolist()
    assert found.run_record.money.end == whole.run_record.money.end


def test_a_broker_is_sent_what_the_account_has_granted_to_each_place() -> None:
    paper = bknb.brokers.paper()

    def get_signal(when: Any) -> Any:
        signals = [bknb.Signal(position="long", place=name, size=size) for name, size in {"a": 1.0, "b": 0.5}.items()]
        return signals if when.minute == 1 else None

    strategy = bknb.add_strategy("placed", interval="1m", get_signal=get_signal, places=2)
    result = live(strategy, source(market({}, 20)), clock=MinuteClock(ORIGIN), until=at(8), broker=paper,
                  settings=SETTINGS | FREE, capital=1_000, sizing="percent:20", late_minutes=1_000)  # fmt: skip
    assert not result.errors, result.errors
    assert paper.position("BTCUSDT") == pytest.approx(3.0)
    assert sorted(order.quantity for order in paper.orders.values()) == [1.0, 2.0]
    held = {
        name: each.fills[0].fill.order.quantity for (name, _), each in (result.run_record.money_positions or {}).items()
    }
    assert held == {"placed-BTCUSDT-20240101T0001@a": 2.0, "placed-BTCUSDT-20240101T0001@b": 1.0}


# --- by hand ----------------------------------------------------------------------------------------------------------


def by_hand(
    decisions: dict[float, Any], *, places: int = 3, get_signal: Any = None, **options: Any
) -> tuple[bknb.Result, list[str]]:
    """A long at the market in "a", entries that rest in "b" and "c", and what is decided about them."""
    from bknb.runs.live_task import TASKS, LiveTask, plan_live

    names = {"a": None, "b": 95.0, "c": 94.0}

    def three(when: Any) -> Any:
        signals = [
            bknb.Signal(position="long", place=name, price_open=level, price_stop_loss=80.0, valid=None)
            for name, level in names.items()
        ]
        return signals if when.minute == 1 else None

    strategy = bknb.add_strategy("hand", interval="1m", get_signal=get_signal or three, places=places)
    clock = HandClock(ORIGIN, {at(minute): decide for minute, decide in decisions.items()})
    task = LiveTask(plan_live(
        "BTCUSDT", strategy=strategy, exchange=source(market({}, 40)), clock=clock, until=at(20),
        store=bknb.stores.memory(), settings=SETTINGS | FREE, **options,
    ))  # fmt: skip
    TASKS.add(task)
    clock.task = task
    task.start()
    result = task.result(timeout=60)
    assert not result.errors, result.errors
    return result, clock.answers


def test_a_decision_by_hand_is_for_the_place_it_names_or_the_only_one_it_can_be_for() -> None:
    seen: list[Any] = []
    result, answers = by_hand({
        4.5: lambda task: seen.append((task.decisions, [(each.place, each.size) for each in task.positions])),
        5.5: lambda task: task.move(price_stop_loss=90.0),
        6.5: lambda task: task.cancel(),
        7.5: lambda task: task.cancel(place="c"),
        8.2: lambda task: task.activate(id="other"),
        8.5: lambda task: task.activate(id="hand-BTCUSDT-20240101T0001@b"),
        10.2: lambda task: task.close(),
        10.5: lambda task: task.close("mine", place="a"),
        12.2: lambda task: task.close(place="x"),
        12.5: lambda task: task.open(bknb.Signal(side="short", place="d"), place="e"),
        13.5: lambda task: task.open(bknb.Signal(side="short"), place="d"),
        14.5: lambda task: task.open(bknb.Signal(side="short")),
        15.5: lambda task: task.open(bknb.Signal(side="short")),
        16.5: lambda task: task.flatten(),
    })  # fmt: skip
    assert seen == [(("close", "reduce", "move", "cancel", "activate"), [("a", 1.0), ("b", 0.0), ("c", 0.0)])]
    there, name = "hand on BTCUSDT has", "hand-BTCUSDT-20240101T0001"
    open_a, open_b = f"long open in 'a' ({name}@a)", f"long open in 'b' ({name}@b)"
    of_d = "short open in 'd' (hand-BTCUSDT-20240101T0014@d-manual)"
    of_1 = "short waiting at 100 (hand-BTCUSDT-20240101T0015@1-manual) in '1'"
    waits = f"long waiting at 95 ({name}@b) in 'b'"
    everything = f"{there} {open_a}, {waits}, long waiting at 94 ({name}@c) in 'c'"
    assert [text.splitlines()[0].partition(" at the open of")[0] for text in answers[1:]] == [
        f"move needs the place it is for; {everything}",
        f"cancel needs the place it is for; {everything}",
        "takes back the limit entry of long BTCUSDT at 94 (hand-BTCUSDT-20240101T0001@c)",
        f"no order that waits has the id 'other'; {there} {open_a}, {waits}",
        "opens the limit entry of long BTCUSDT at 95 (hand-BTCUSDT-20240101T0001@b)",
        f"close needs the place it is for; {there} {open_a}, {open_b}",
        "closes long BTCUSDT (hand-BTCUSDT-20240101T0001@a)",
        f"nothing is in the place 'x'; {there} {open_b}",
        "place='e' and Signal(place='d') are two places",
        "opens short BTCUSDT (hand-BTCUSDT-20240101T0014@d-manual)",
        "opens short BTCUSDT (hand-BTCUSDT-20240101T0015@1-manual)",
        f"open needs a place that is free; {there} {open_b}, {of_d}, {of_1}",
        "closes long BTCUSDT (hand-BTCUSDT-20240101T0001@b)",
    ]
    assert answers[2].endswith("\nname it, such as place='b', or the order by its id=")
    closed = result.run_record.records.closed
    assert [(event.signal.place, event.close_reason, (event.when - ORIGIN) // MINUTE) for event in closed] == [
        ("a", "manual", 11), ("b", "manual", 17), ("d", "manual", 17), ("1", "manual", 17),
    ]  # fmt: skip
    assert [event.note for event in closed if event.signal.place == "a"] == ["mine"]


def test_what_cannot_be_flattened_yet_in_one_place_keeps_back_no_other() -> None:
    """The order of "b", which is the second of the three, has left, and no candle has filled it."""
    left: list[Any] = []
    result, answers = by_hand({
        3.5: lambda task: task.activate(place="b"),
        3.7: lambda task: task.flatten(),
        5.5: lambda task: left.extend((each.place, each.size) for each in task.positions),
        6.5: lambda task: task.flatten(),
    })  # fmt: skip
    name = "hand-BTCUSDT-20240101T0001"
    assert answers[1].splitlines() == [
        f"nothing is closed yet; hand on BTCUSDT: the entry order of {name}@b has left, no candle has filled it yet",
        "try again after the next minute",
        f"carried out: closes long BTCUSDT ({name}@a) at the open of the first candle from 2024-01-01 00:04 UTC on",
        f"carried out: takes back the limit entry of long BTCUSDT at 94 ({name}@c)",
    ]
    assert left == [("b", 1.0)]
    assert [event.signal.place for event in result.run_record.records.closed] == ["a", "b"]


def test_a_place_that_is_closed_by_hand_while_the_strategy_thinks_gets_its_part_of_the_answer() -> None:
    """At minute 5 "b" is closed by hand, and the answer has a signal for it, alone or beside one for another place."""
    from threading import Thread

    for names in (["b"], ["a", "b"]):

        def get_signal(when: Any, names: list[str] = names) -> Any:
            if when.minute == 5:
                (task,) = [each for each in bknb.Live.list() if not each.done]
                by_hand = Thread(target=task.close, kwargs={"place": "b"})
                by_hand.start()
                by_hand.join(20)
                return [bknb.Signal(position="short", place=name) for name in names]
            return bknb.Signal(position="long", place="b") if when.minute == 1 else None

        strategy = bknb.add_strategy("hand", interval="1m", get_signal=get_signal, places=3)
        result = life(strategy, bknb.stores.memory(), 0, 9)
        assert not result.errors, result.errors
        assert [event.signal.position for event in result.run_record.records.events if event.action == "opened"] == [
            "long", *["short" for _ in names],
        ]  # fmt: skip


def test_a_run_with_one_place_refuses_the_name_of_one() -> None:
    def get_signal(when: Any) -> Any:
        return bknb.Signal(position="long") if when.minute == 1 else None

    bknb.add_strategy("hand", interval="1m", get_signal=get_signal)
    from bknb.runs.live_task import TASKS, LiveTask, plan_live

    clock = HandClock(ORIGIN, {at(4.5): lambda task: task.close(place="a")})
    task = LiveTask(plan_live("BTCUSDT", strategy="hand", exchange=source(market({}, 40)), clock=clock, until=at(8),
                              store=bknb.stores.memory()))  # fmt: skip
    TASKS.add(task)
    clock.task = task
    task.start()
    task.result(timeout=60)
    assert clock.answers == ["hand on BTCUSDT has one place, got place='a'\nleave place out"]


def test_the_list_of_live_runs_and_the_buttons_of_a_panel_name_the_place() -> None:
    from bknb.jupyter.magics.live import _open
    from bknb.jupyter.run_buttons import RunControls

    seen: list[str] = []

    def press(task: Any) -> str:
        seen.append(_open(task))
        switch = RunControls(task)
        assert "close" in switch.by_hand
        assert switch.press("close", signal=", ".join(each.id for each in task.positions))
        until(lambda: "…" not in str(switch.state()["status_text"]))
        return str(switch.state()["status_text"])

    _, answers = by_hand({10.2: lambda task: task.activate(place="b"), 12.2: press})
    assert seen == [
        (
            "; long 1 open at 100.00 in 'a', stop 80.00; long 1 open at 100.00 in 'b', stop 80.00; "
            "long waits for 94.00 in 'c'"
        )
    ]
    assert "close needs the place it is for; hand on BTCUSDT has long open in 'a' (" in answers[1]


def test_of_several_that_wait_for_one_place_one_is_opened_or_taken_back_by_its_id() -> None:
    levels = {"low": 94.0, "mid": 95.0, "top": 96.0}
    names = {"a": levels, "b": {"other": 93.0}}

    def get_signal(when: Any) -> Any:
        signals = [
            bknb.Signal(position="long", place=place, price_open=level, price_stop_loss=80.0, valid=None, id=name)
            for place, orders in names.items()
            for name, level in orders.items()
        ]
        return signals if when.minute == 1 else None

    result, answers = by_hand({
        3.5: lambda task: task.activate(place="a"),
        4.5: lambda task: task.cancel(id="mid"),
        5.5: lambda task: task.activate(id="top"),
        7.5: lambda task: task.cancel(),
    }, get_signal=get_signal)  # fmt: skip
    rows = {name: f"the limit entry of long BTCUSDT at {level:g} ({name})" for name, level in levels.items()}
    assert answers[0].splitlines() == [
        f"activate needs one entry that waits, and there are several: {' and '.join(rows.values())}",
        "say which, such as activate(id='low'); the others are taken back",
    ]
    assert answers[1] == "takes back mid"
    fills = "at the open of the first candle from 2024-01-01 00:06 UTC on"
    assert answers[2] == f"opens {rows['top']} {fills}, and takes back {rows['low']}"
    assert answers[3] == "takes back the limit entry of long BTCUSDT at 93 (other)"
    told = [(event.action, event.signal.id, getattr(event, "reason", "")) for event in result.events]
    assert [each for each in told if each[0] in ("opened", "cancelled")] == [
        ("cancelled", "mid", "manual"), ("cancelled", "low", "manual"), ("opened", "top", ""),
        ("cancelled", "other", "manual"),
    ]  # fmt: skip
