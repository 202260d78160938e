"""A signal with a size of its own, such as bknb.size.Risk(1), in place of that of its run: as if the run had it."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from scenarios import MINUTE, ORIGIN, source
from test_live_portfolio import UNTIL, backtest, live, told
from worlds import SETTINGS, signals, walk

import bknb
from bknb.domain.recovery import NEWEST_STATE_VERSION, STATE_VERSION
from bknb.domain.size_of_signal import size_of_text, size_text
from bknb.stores.memory_store import MemoryStore
from bknb.testing.clocks import SimulatedClock

FREE: dict[str, Any] = {"percent_fee": 0.1, "percent_slippage": 0.0, "schedule_await_minutes": 30}
SIZES = (
    *(bknb.size.Percent(35), bknb.size.Risk(0.5), bknb.size.Kelly(0.25, after=3, start=20), bknb.size.Units(7.5)),
    *(bknb.size.Cash(900), bknb.size.AtrRisk(0.5, interval="1m", length=5)),
)


def answering(size: Any, seed: int = 9, *, ladder: bool = False) -> Any:
    """Random signals with a size of their own; ``None``: with none."""
    drawn = signals(seed)

    def get_signal(when: Any, price: float) -> Any:
        signal = drawn(when, price)
        if signal is None:
            return None
        if ladder:
            entry, sign = signal.get("price_open", price), 1 if signal["position"] == "long" else -1
            signal["price_open"] = [(entry, 0.6), (entry * (1 - sign * 0.003), 0.4)]
        return signal | ({} if size is None else {"size": size})

    return bknb.add_strategy("drawn", interval="1m", get_signal=get_signal)


def run(strategy: Any, **options: Any) -> Any:
    given = {"exchange": source(walk(9)), "frame": (ORIGIN, UNTIL), "settings": FREE, "capital": 10_000}
    return bknb.backtest("AUSDT", strategy=strategy, **given | options)


def bought(result: Any) -> list[Any]:
    return [result.fills.to_numpy().tolist(), *(each for each in result.run_record.money.rows)]


@pytest.mark.parametrize("ladder", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: type(size).__name__)
def test_a_size_of_a_signal_takes_the_place_of_that_of_the_run(size: Any, ladder: Any) -> None:
    own = run(answering(size, ladder=ladder), sizing=bknb.size.Percent(3))
    of_run = run(answering(None, ladder=ladder), sizing=size)
    assert bought(own) == bought(of_run)
    assert len(own.fills) > 5
    assert bought(own) != bought(run(answering(None, ladder=ladder), sizing=bknb.size.Percent(3)))


def test_a_text_is_the_size_it_spells_and_a_number_multiplies_that_of_the_run() -> None:
    assert bought(run(answering("risk:0.5"))) == bought(run(answering(bknb.size.Risk(0.5))))
    percent = [run(answering(size), sizing=bknb.size.Percent(40)) for size in (0.5, "percent:20")]
    assert percent[0].fills["quantity"].tolist() == pytest.approx(percent[1].fills["quantity"].tolist(), rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("size", [bknb.size.Risk(0.5), bknb.size.AtrRisk(0.5, interval="1m", length=5)])
def test_a_portfolio_live_is_that_over_history(size: Any) -> None:
    bknb.add_strategy("own", interval="1m", get_signal=answering(size).get_signal)
    bknb.add_strategy("other", interval="1m", get_signal=signals(4))
    options: dict[str, Any] = {
        "symbols": ["AUSDT"], "strategies": ["own", "other"], "exchange": source(walk(9)), "settings": SETTINGS,
        "capital": 10_000, "sizing": bknb.size.Percent(30),
    }  # fmt: skip
    result = live(options, SimulatedClock(ORIGIN))
    assert told(result) == told(backtest(options, result))
    events = [event for event in result.told if type(event).__name__ == "Opened"]
    assert {event.signal.own_size for event in events} == {"", size_text(size)}


def resting(size: Any, *, moves: bool = False) -> Any:
    def get_signal(when: Any) -> Any:
        if when.minute == 1:
            return bknb.Signal(position="long", price_open=97.0, price_stop_loss=92.0, size=size, valid=30)
        return None

    def manage(when: Any, position: Any) -> Any:
        return bknb.Move(price_open=96.0) if moves and position.waiting and when.minute == 4 else None

    return bknb.add_strategy("resting", interval="1m", get_signal=get_signal, manage=manage, manage_interval="1m")


FALLS = source([(ORIGIN + k * MINUTE, 100.0, 100.0, 95.0 if k == 8 else 99.0, 99.0, 50.0) for k in range(-60, 40)])


def test_an_order_that_waits_keeps_its_size_over_a_move_and_a_restart() -> None:
    def one(store: MemoryStore, begin: int, until: int, *, moves: bool = True) -> Any:
        return bknb.Live.background(
            "AUSDT", strategy=resting(bknb.size.Risk(1), moves=moves), exchange=FALLS, store=store, capital=10_000,
            sizing=bknb.size.Percent(80), clock=SimulatedClock(ORIGIN + begin * MINUTE), until=ORIGIN + until * MINUTE,
            settings=FREE,
        ).result(timeout=60)  # fmt: skip

    for moves, quantity in ((True, 100 / 4), (False, 100 / 5)):
        for split in (None, 3, 6):
            store = MemoryStore()
            if split is not None:
                one(store, 0, split, moves=moves)
            result = one(store, split or 0, 20, moves=moves)
            assert not result.errors
            assert result.fills["quantity"].tolist()[:1] == pytest.approx([quantity]), (moves, split)


def test_an_older_release_refuses_a_state_with_a_size_of_its_own() -> None:
    for size, version in ((bknb.size.Risk(1), NEWEST_STATE_VERSION), (0.5, STATE_VERSION)):
        store = MemoryStore()
        bknb.Live.background(
            "AUSDT", strategy=resting(size), exchange=FALLS, store=store, capital=10_000, settings=FREE,
            clock=SimulatedClock(ORIGIN), until=ORIGIN + 3 * MINUTE,
        ).result(timeout=60)  # fmt: skip
        store.acquire()
        saved = msgspec.json.decode(store.read("schedule", ("resting", "AUSDT")) or b"")
        store.release()
        assert saved["version"] == version


def test_a_moment_of_a_run_knows_it() -> None:
    result = run(resting(bknb.size.Risk(1)), exchange=FALLS, frame=(ORIGIN, ORIGIN + 20 * MINUTE))
    asked = result.at("2024-01-01 00:01").ask()
    assert asked.signal.size == bknb.size.Risk(1)
    assert asked.event == result.at("2024-01-01 00:01").decision
    assert asked.event.signal.own_size == size_text(bknb.size.Risk(1))


REFUSED = [
    (bknb.size.Risk(1), {"capital": None}, "is of the equity of an account, and this run has no capital"),
    ("percent:10", {"capital": None}, "is of the equity of an account, and this run has no capital"),
    (lambda request: 5.0, {}, "which a run is given: sizing=function"),
    ("careful", {}, "the name of a sizing, which a run is given: sizing='careful'"),
    ("risk:-1", {}, "or bknb.size.Risk(1); got 'risk:-1'"),
    (bknb.size.Risk, {}, "or bknb.size.Risk(1); got"),
    (math.nan, {}, "got nan"),
    (-0.5, {}, "got -0.5"),
    (0, {}, "got 0"),
    (True, {}, "got True"),
    ([0.5], {}, "got [0.5]"),
]


@pytest.mark.parametrize(("size", "options", "words"), REFUSED)
def test_a_size_that_cannot_be_is_refused_in_words(size: Any, options: dict[str, Any], words: str) -> None:
    result = run(answering(size), **options)
    assert not len(result.trades)
    texts = {*result.rejected["reasons"]}
    assert all(words in text for text in texts), texts
    assert texts


def test_numbers_of_numpy_are_saved_and_read() -> None:
    of_numpy = (
        *(bknb.size.Risk(np.float64(0.5)), bknb.size.Risk(np.int64(1)), bknb.size.AtrRisk(np.int32(1))),
        *(bknb.size.Kelly(0.5, np.int32(30)), bknb.size.Units(np.uint8(3))),
    )
    for size in (*of_numpy, *SIZES):
        assert size_of_text(size_text(size)) == size
    assert repr(bknb.Signal(position="long", size=bknb.size.Risk(1))).endswith("size=Risk(percent=1))")


def test_a_portfolio_without_a_capital_and_a_live_run_without_one_refuse_it() -> None:
    strategy = answering(bknb.size.Risk(1))
    frame = (ORIGIN, ORIGIN + 30 * MINUTE)
    result = bknb.portfolio(symbols=["AUSDT"], strategies=[strategy], exchange=source(walk(9)), frame=frame)
    task = bknb.Live.background("AUSDT", strategy=strategy, exchange=source(walk(9)), store=MemoryStore(),
                                clock=SimulatedClock(ORIGIN), until=frame[1])  # fmt: skip
    for each in (*result.legs.values(), task.result(timeout=60)):
        assert len(each.rejected)
        assert not len(each.trades)
