"""A list of signals in runs: one place of a risk profile, one amount of cash, restarts, a broker, tools."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from minute_clock import MinuteClock
from msgspec.structs import replace
from scenarios import MINUTE, ORIGIN, source
from test_competing_entries import LIMITS, STRADDLE, down, run, told, up
from test_several_signals_of_a_run import LONG, RULES

import bknb
from bknb.brokers.paper_broker import PaperBroker
from bknb.domain.fills_at_stops_and_gaps import execution_model
from bknb.domain.lifecycle import Activate, Halt, Holding, Opening, Waiting, step
from bknb.domain.signal import OpenSignal
from bknb.errors import InvalidTransition, UsageError
from bknb.live.manual_refusals import entry_to_activate
from bknb.live.saved_risk_places import saved_places
from bknb.stores.memory_store import MemoryStore
from bknb.testing.clocks import SimulatedClock

if TYPE_CHECKING:
    from collections.abc import Mapping

CANDLES = {4: (100.0, 104.2, 100.0, 102.0), 9: (100.0, 100.0, 96.7, 97.0)}
END = 30
LIMITS_OF_BOTH = [up(110, 90, 97, valid=3), up(110, 90, 96.8, valid=60), down(90, 110, 106, valid=60)]


def market(candles: Mapping[int, Any] = CANDLES) -> Any:
    flat = (100.0,) * 4
    return source([(ORIGIN + k * MINUTE, *candles.get(k, flat), 100.0) for k in range(-60, END + 20)])


def strategy(answers: Mapping[int, Any], **options: Any) -> Any:
    return bknb.add_strategy("lists", interval="1m", get_signal=lambda when: answers.get(when.minute), **options)


# --- the risk profile -------------------------------------------------------------------------------------------------


def test_a_list_has_one_place_and_its_rules_see_each_of_it() -> None:
    asked: list[tuple[str, int]] = []

    def one_place(request: bknb.RiskRequest) -> bool:
        asked.append((request.signal.position, request.open_position_count))
        return request.open_position_count == 0

    bknb.add_risk("one", validations=one_place)
    result = run(STRADDLE, {3: (97.0,) * 4}, {}, "pessimistic", risk="one")
    assert told(result)[2] == "opened 97 @m3"
    assert asked == [("long", 0), ("short", 0), ("short", 0)]


def test_a_rule_that_refuses_one_of_a_list_leaves_the_others() -> None:
    bknb.add_risk("longs", validations=lambda request: request.signal.position == "long")
    result = run(STRADDLE, {3: (97.0,) * 4, 5: (100.0, 104.2, 100.0, 104.0)}, {}, "pessimistic", risk="longs")
    assert [event.signal.position for event in result.run_record.records.refused] == ["short"]
    assert told(result)[:2] == ["scheduled 104 @m0", "opened 104 @m5"]


@pytest.mark.parametrize("execution", ["pessimistic", "touch", "vwap"])
def test_one_that_is_refused_when_it_is_touched_lets_the_others_have_their_turn(execution: str) -> None:
    """Both are touched in one candle; whichever is first is refused then, and the other one opens."""
    seen: list[str] = []

    def not_the_first_touched(request: bknb.RiskRequest) -> bool:
        if isinstance(request.signal, OpenSignal) and request.when > ORIGIN:
            seen.append(request.signal.position)
            return len(seen) > 1
        return True

    bknb.add_risk("second", validations=not_the_first_touched)
    heavy = {3: 1e25} if execution == "vwap" else {}
    both = [up(120, 90, 97), up(120, 90, 96.5)] if execution == "vwap" else LIMITS
    candle = (96.0,) * 4 if execution == "vwap" else (100.0, 105.0, 96.0, 100.0)
    result = run(both, {3: candle}, heavy, execution, risk="second")
    kinds = [text.split()[0] + " " + text.split()[1] for text in told(result)[2:4]]
    assert len(seen) == 2
    assert kinds[0] == "cancelled risk"
    assert kinds[1].startswith("opened")


def test_the_place_goes_on_to_what_still_waits() -> None:
    """Another strategy of the profile finds it taken, from the first of a list to its last."""
    counts: dict[str, dict[int, int]] = {"lists": {}, "other": {}}

    def note(request: bknb.RiskRequest) -> bool:
        counts[request.strategy][(request.when - ORIGIN) // MINUTE] = request.open_position_count
        return request.strategy == "lists"

    bknb.add_risk("shared", validations=note)
    strategy({0: LIMITS_OF_BOTH}, risk="shared")
    bknb.add_strategy(
        "other", interval="5m", get_signal=lambda: bknb.Signal(side="long", minute_estimated_time=1), risk="shared"
    )
    bknb.portfolio(
        symbols=["BTCUSDT"], strategies=["lists", "other"], exchange=market({9: (100.0, 100.0, 96.7, 97.0)}),
        frame=(ORIGIN, ORIGIN + END * MINUTE),
    )  # fmt: skip
    assert counts == {"lists": {0: 0, 9: 0}, "other": {0: 1, 5: 1, 10: 1, 15: 1, 20: 0, 25: 0}}


# --- an account -------------------------------------------------------------------------------------------------------


def test_the_money_of_the_largest_is_reserved_and_no_more() -> None:
    """10 000 pay for each of the two, and not for both; another leg finds what the larger one leaves."""
    both = [STRADDLE[0] | {"size": 0.5}, STRADDLE[1] | {"size": 0.8}]
    common: dict[str, Any] = {
        "capital": 10_000,
        "sizing": bknb.size.Cash(10_000),
        "account": bknb.Perpetual(leverage=1),
    }
    result = run(
        both, {3: (97.0,) * 4}, {}, "pessimistic", settings={"percent_fee": 0, "percent_slippage": 0}, **common
    )
    row = result.trades.iloc[0]
    assert row["cost"] == pytest.approx(8_000)
    free: list[float] = []
    bknb.add_strategy("lists", interval="1m", get_signal=lambda when: both if when.minute == 0 else None)

    def size(request: Any) -> float:
        free.append(request.free)
        return 0.0

    bknb.add_strategy(
        "other", interval="1m", get_signal=lambda when: {"position": "long"} if when.minute == 1 else None
    )
    bknb.portfolio(
        symbols=["BTCUSDT"], strategies=["lists", "other"], exchange=market(), frame=(ORIGIN, ORIGIN + 3 * MINUTE),
        settings={"percent_fee": 0, "percent_slippage": 0},
        **(common | {"sizing": {"other": size, "lists": bknb.size.Cash(10_000)}}),
    )  # fmt: skip
    assert free == [pytest.approx(2_000)]


# --- live -------------------------------------------------------------------------------------------------------------


def live(answers: Mapping[int, Any], store: Any, begin: int, until: int, **options: Any) -> Any:
    return bknb.Live.background(
        "BTCUSDT", strategy=strategy(answers, risk="one place"), exchange=market(), store=store,
        clock=options.pop("clock", None) or SimulatedClock(ORIGIN + begin * MINUTE), until=ORIGIN + until * MINUTE,
        **options,
    ).result(timeout=60)  # fmt: skip


def test_a_list_goes_on_after_a_restart_at_any_minute() -> None:
    bknb.add_risk("one place", validations=lambda request: request.open_position_count == 0)
    answers = {0: LIMITS_OF_BOTH, 20: STRADDLE}
    whole = [replace(each, price=0.0) for each in live(answers, MemoryStore(), 0, END).run_record.records.ends]
    assert [type(each).__name__ for each in whole[:3]] == ["Cancelled", "Cancelled", "Closed"]
    for split in (1, 3, 4, 9, 10, 21):
        store = MemoryStore()
        live(answers, store, 0, split)
        with store:
            taken = saved_places(store, "one place")
            assert len(taken) <= 1
            version = {json.loads(store.read(kind, key))["version"] for kind in ("signal", "schedule")
                       for key in store.keys(kind)}  # fmt: skip
            assert version <= {4, 5}
            assert (5 in version) == (split <= 9 or split > 20), split
        result = live(answers, store, split, END)
        assert not result.errors
        assert [replace(each, price=0.0) for each in result.run_record.records.ends] == whole, split


def test_a_broker_is_sent_each_and_the_others_are_taken_back_when_one_fills() -> None:
    bknb.add_risk("one place", validations=lambda _: True)
    broker = PaperBroker()
    answers = {0: [up(110, 90, 97, valid=60), down(90, 110, 103, valid=60)], 20: STRADDLE}
    candles = {4: (100.0, 104.0, 100.0, 102.0), 24: (97.0,) * 4}
    bknb.Live.background(
        "BTCUSDT", strategy=strategy(answers), exchange=market(candles), store=MemoryStore(), broker=broker,
        quantity=2.0, clock=MinuteClock(ORIGIN), until=ORIGIN + 45 * MINUTE,
    ).result(timeout=60)  # fmt: skip
    assert [(each.side, each.price, each.status) for each in broker.orders.values()] == [
        ("buy", 97.0, "cancelled"),
        ("sell", 103.0, "filled"),
        ("buy", None, "filled"),
        ("sell", None, "filled"),  # a stop entry is watched here
        ("buy", None, "filled"),
    ]
    assert broker.position("BTCUSDT") == 0.0


def test_a_second_entry_that_fills_before_its_cancel_arrives_is_closed_at_once_and_named() -> None:
    """One candle reaches both limits, which rest at the broker; the record opens the short, worth less at its end."""
    broker = PaperBroker()
    answers = {0: [up(110, 90, 97, valid=60), down(90, 110, 103, valid=60)]}
    result = bknb.Live.background(
        "BTCUSDT", strategy=strategy(answers), exchange=market({4: (100.0, 104.0, 96.0, 102.0)}), store=MemoryStore(),
        broker=broker, quantity=2.0, clock=MinuteClock(ORIGIN), until=ORIGIN + 25 * MINUTE,
    ).result(timeout=60)  # fmt: skip
    assert [(each.side, each.price, each.status) for each in broker.orders.values()] == [
        ("buy", 97.0, "filled"),
        ("sell", 103.0, "filled"),
        ("sell", None, "filled"),
        ("buy", None, "filled"),
    ]
    assert broker.position("BTCUSDT") == 0.0
    (failure,) = result.errors
    assert failure.kind == "double_fill"
    assert "the record never opened it, so it is closed again" in failure.message
    assert len(result.trades) == 1


def test_by_hand_one_of_several_is_opened_by_its_id() -> None:
    waits = Waiting(signal=LONG, beside=(replace(LONG, id="b"),))
    with pytest.raises(
        UsageError, match=r"there are several: the limit .*\(a\) and .*\(b\)\nsay which, such as activate\(id='a'\)"
    ):
        entry_to_activate(waits, None, at_broker=False)
    with pytest.raises(UsageError, match=r"no entry that waits has the id 'c'\nthere is the limit .*\(a\) and .*\(b\)"):
        entry_to_activate(waits, "c", at_broker=False)
    assert entry_to_activate(waits, "b", at_broker=False).id == "b"
    with pytest.raises(InvalidTransition, match=r"a scheduled at .*, b scheduled at"):
        step(waits, Activate(0, 100.0), RULES)
    with pytest.raises(InvalidTransition, match="none with the id 'c' is opened by hand"):
        step(waits, Activate(0, 100.0, "c"), RULES)
    halted = step(waits, Halt(0, 100.0, "manual"), RULES)
    assert [event.reason for event in halted.events] == ["manual", "manual"]


@pytest.mark.parametrize("model", ["pessimistic", "vwap"])
@pytest.mark.parametrize(("chosen", "other"), [("a", "b"), ("b", "a")])
def test_by_hand_one_is_opened_and_the_others_are_taken_back_in_one_step(chosen: str, other: str, model: str) -> None:
    """So one save holds both; the place of the first in the risk profile is that of the one that is opened."""
    rules = RULES._replace(model=execution_model(model), risk="limit")
    made = step(Waiting(signal=LONG, beside=(replace(LONG, id="b"),)), Activate(0, 100.0, chosen), rules)
    told = [(event.action, event.signal.id, getattr(event, "reason", "")) for event in made.events]
    opened = [("opened", chosen, "")] if model == "vwap" else []
    assert told == [("cancelled", other, "manual"), *opened]
    assert isinstance(made.state, Holding if model == "vwap" else Opening)
    assert made.state.signal.id == chosen
    released = [(each.signal_id, each.heir and each.heir.id) for each in made.commands]
    assert released == [(other, None if chosen == "a" else chosen)]


# --- tools ------------------------------------------------------------------------------------------------------------


def test_a_sweep_a_moment_and_the_check_for_look_ahead_take_lists() -> None:
    def get_signal(when: Any, away: float = 4.0) -> Any:
        return None if when.minute % 2 else [up(120, 90, 100 + away, entry="stop"), up(120, 90, 100 - away)]

    swept = bknb.add_strategy("swept", interval="1m", get_signal=get_signal)
    common: dict[str, Any] = {"exchange": market(), "frame": (ORIGIN, ORIGIN + END * MINUTE)}
    best = bknb.sweep(swept, symbol="BTCUSDT", params={"away": [3.0, 4.0, 5.0]}, **common)
    for row in best.table.to_dict("records"):
        alone = bknb.backtest(
            "BTCUSDT", strategy=lambda when, away=row["away"]: get_signal(when, away), interval="1m", **common
        )
        assert row["n"] == len(alone.trades)
    result = bknb.backtest("BTCUSDT", strategy=swept, **common)
    asked = result.at("2024-01-01 00:10").ask()
    assert asked.accepted
    assert isinstance(asked.answer, list)
    assert bknb.check_lookahead(swept, moments=6, **common).ok
