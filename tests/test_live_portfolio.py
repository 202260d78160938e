"""A live portfolio over recorded minutes tells what the portfolio over them tells, in the same order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from scenarios import MINUTE, ORIGIN, source
from test_live_parity import JumpingClock
from worlds import LENGTH, MODELS, SETTINGS, signals, walk

import bknb
from bknb.jupyter.dashboard import portfolio_dashboard
from bknb.jupyter.run_buttons import on_message
from bknb.live.runtime import RUNTIME
from bknb.reports.portfolio_panels import PORTFOLIO_PANELS
from bknb.runs.portfolio import plan_portfolio
from bknb.testing.clocks import SimulatedClock

UNTIL = ORIGIN + 130 * MINUTE
WHOLE = ORIGIN + LENGTH * MINUTE


def one_place(request: bknb.RiskRequest) -> bool:
    "one at a time, and none at every fifth minute"
    return request.open_position_count == 0 and (request.when // MINUTE) % 5 != 0


def scored(get_signal: Any, seed: int) -> Any:
    """The signals with a score that depends on their moment."""

    def answer(when: Any, price: float) -> Any:
        drawn = get_signal(when, price)
        score = float(np.random.default_rng([seed, round(when.timestamp())]).integers(0, 3))
        return None if drawn is None else drawn | {"score": score}

    return answer


def closes_are_here(request: bknb.RiskRequest) -> bool:
    "closes of all symbols"
    assert request.closes is not None
    return min(map(len, request.closes(["S0USDT", "S1USDT"], "1m", 3))) == 3


def legs_of(
    seed: int, *, count: int, gone: float = 0.0, late: int = 0, model: str, score: bool = False,
    bars: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Random signals on random walks with one place together; of some minutes are gone, the last symbol begins late.

    ``bars`` are the base bars of the legs, one minute where none are given.
    """
    bknb.add_risk("one place", validations=[one_place, *([closes_are_here] if score else [])])
    random = np.random.default_rng(seed)
    exchanges, legs = {}, []
    for at in range(count):
        symbol, rows = f"S{at}USDT", walk(seed * 10 + at)
        if gone:
            rows = [row for row in rows if row[0] < ORIGIN or random.random() >= gone]
        if late and at == count - 1:
            rows = [row for row in rows if row[0] >= ORIGIN + late * MINUTE]
        exchanges[symbol] = source(rows)
        name, drawn = f"drawn {at}", signals(seed * 10 + at)
        drawn = scored(drawn, seed + at) if score else drawn
        interval = bars[at] if bars else "1m"
        bknb.add_strategy(name, interval=interval, get_signal=drawn, risk="one place", execution=model)
        legs.append((symbol, name))
    options = {"legs": legs, "exchange": exchanges, "settings": SETTINGS, "allow_gaps": bool(gone or late)}
    if bars:
        options["base"] = dict(zip(exchanges, bars, strict=False))
    return options | ({"priority": "score"} if score else {})


def live(options: dict[str, Any], clock: SimulatedClock, store: Any = None, until: int = UNTIL) -> bknb.PortfolioResult:
    store = bknb.stores.memory() if store is None else store
    task = bknb.Live.portfolio(**options, clock=clock, until=until, store=store)
    return task.result(timeout=120)


def backtest(options: dict[str, Any], like: bknb.PortfolioResult, until: int = UNTIL) -> Any:
    """The portfolio over the same minutes, told when the live one was late."""
    task = plan_portfolio(**options, frame=(ORIGIN, until))
    for run, leg in zip(task._run.legs, like.legs.values(), strict=True):
        run._late = dict(leg.run_record.records.late)
    return asyncio.run(task._work())


def until_of(request: pytest.FixtureRequest) -> int:
    """The end of a world: of one of many that are marked as long, its last minute."""
    return UNTIL if request.node.get_closest_marker("long") is None else WHOLE


def told(result: bknb.PortfolioResult, until: int = UNTIL) -> list[bytes]:
    plain = [msgspec.structs.replace(event, mode="live", frame=None) for event in result.told if event.when < until]
    return [msgspec.json.encode(event) for event in plain]


WORLDS: dict[str, dict[str, Any]] = {
    "whole": {},
    "jumping": {},
    "gone": {"gone": 0.05},
    "late": {"late": 40},
    "score": {"score": True},
}
SLOW = [("late", 2, "pessimistic"), ("score", 6, "touch")]  # those with an account are whole, gone and jumping ones
LONG = [(world, seed, model) for world in WORLDS for seed in range(20) for model in MODELS]


@pytest.mark.parametrize(
    ("world", "seed", "model"),
    [
        *(pytest.param(*each, marks=pytest.mark.slow) for each in SLOW),
        *(pytest.param(*each, marks=pytest.mark.long) for each in LONG),
    ],
)
def test_random_worlds(world: str, seed: int, model: str, request: pytest.FixtureRequest) -> None:
    """Two to four legs with one place together; minutes gone, a machine that sleeps, a symbol that begins late."""
    options = legs_of(seed, count=2 + seed % 3, model=model, **WORLDS[world])
    clock = JumpingClock(ORIGIN, seed) if world == "jumping" else SimulatedClock(ORIGIN)
    until = until_of(request)
    result = live(options, clock, until=until)
    assert told(result, until) == told(backtest(options, result, until), until)
    assert len(result.refused) > 3
    assert len(result.trades) > 1


@pytest.mark.slow
def test_a_leg_whose_bar_does_not_come_is_waited_for_then_the_others_go_on_and_it_is_told() -> None:
    """Patience is five minutes; the last symbol begins 40 minutes late."""
    options = legs_of(2, count=2, late=40, model="pessimistic")
    result = live(options | {"settings": SETTINGS | {"patience_minutes": 5}}, SimulatedClock(ORIGIN))
    on_time, late = result.legs.values()
    texts = [failure.message for failure in late.errors if failure.kind == "silence"]
    assert texts[-1].splitlines()[0] == (
        "the other legs go on without S1USDT: its 1m bar that closes 2024-01-01 00:01 UTC has not come by "
        "2024-01-01 00:06 UTC"
    )
    decided = [at - when for (when, _), at in on_time.run_record.records.late.items()]
    assert decided
    assert max(decided) <= 5 * MINUTE
    assert min(event.when for event in on_time.run_record.records.ends) < ORIGIN + 40 * MINUTE


@pytest.mark.slow
@pytest.mark.parametrize("of_weights", [True, False])
@pytest.mark.parametrize("late", ["AUSDT", "BUSDT"])
def test_the_bar_before_its_start_is_waited_for_as_any_other(late: str, *, of_weights: bool) -> None:
    """It comes 70 seconds after its close: what is decided at the start is late for both symbols, and told."""
    symbols, clock, until = ("AUSDT", "BUSDT"), SimulatedClock(ORIGIN), ORIGIN + 12 * MINUTE
    rows = {symbol: walk(seed) for seed, symbol in enumerate(symbols)}

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        delayed = {ORIGIN - MINUTE: 70_000} if symbol == late else {}
        there = (row for row in rows[symbol] if row[0] + MINUTE + delayed.get(int(row[0]), 0) <= clock.now())
        return [row for row in there if row[0] >= since][:limit]

    options: dict[str, Any] = {"exchange": bknb.add_exchange("late", get_candles=get_candles), "settings": SETTINGS}
    if of_weights:
        bknb.weights("both", symbols=symbols, interval="3m", get_weights=lambda: dict.fromkeys(symbols, 0.3))
        options |= {"strategies": ["both"], "capital": 1_000}
    else:
        signal = bknb.Signal(position="long", minute_estimated_time=2)
        strategy = bknb.add_strategy("both", interval="3m", get_signal=lambda: signal)
        options |= {"strategies": [strategy], "symbols": symbols}
    result = live(options, clock, until=until)
    before = until - 2 * MINUTE  # nothing is ended by the end of the frame
    assert told(result, before) == told(backtest(options, result, until), before)
    for leg in result.legs.values():
        entered = min(event.when for event in leg.events if isinstance(event, bknb.Opened))
        assert (entered - ORIGIN) // MINUTE == 2  # the first open from the decision on
        assert leg.run_record.records.late[ORIGIN, "entry"] == ORIGIN + 2 * MINUTE  # the look behind its coming
        assert [error.kind for error in leg.errors] == ["late"]


@pytest.mark.slow
def test_it_goes_on_where_it_left_off_and_says_what_ended_before() -> None:
    options, store = legs_of(5, count=3, model="pessimistic"), bknb.stores.memory()
    first = live(options, SimulatedClock(ORIGIN), store, until=ORIGIN + 60 * MINUTE)
    second = live(options, SimulatedClock(ORIGIN + 60 * MINUTE), store)
    whole = live(options, SimulatedClock(ORIGIN))
    ends = [event for event in told(whole) if b'"closed"' in event or b'"cancelled"' in event]
    assert [event for event in told(second) if b'"closed"' in event or b'"cancelled"' in event] == ends
    assert 0 < len(first.trades) < len(second.trades)


class HeldClock(SimulatedClock):
    """A clock that stands still from a moment on until it is let go."""

    def __init__(self, start: int, held_at: int) -> None:
        super().__init__(start)
        self.held_at = held_at
        self.is_held, self.go = threading.Event(), threading.Event()

    async def sleep_until(self, when: int) -> None:
        if when > self.held_at and not self.go.is_set():
            self.is_held.set()
            while not self.go.is_set():  # noqa: ASYNC110 -- it is set in another thread
                await asyncio.sleep(0.001)
        await super().sleep_until(when)


def test_it_is_paused_and_resumed_closed_by_hand_and_stopped_to_its_end() -> None:
    def always(price: float) -> bknb.Signal:
        return bknb.Signal(position="long", price_take_profit=price * 1.5, price_stop_loss=price * 0.5)

    bknb.add_strategy("always", interval="1m", get_signal=always)
    clock = HeldClock(ORIGIN, ORIGIN + 10 * MINUTE)
    exchange = {"A": source(walk(1)), "B": source(walk(2))}
    task = bknb.Live.portfolio(
        symbols=["A", "B"], strategies=["always"], exchange=exchange, clock=clock, name="two", until=UNTIL,
        store=bknb.stores.memory(),
    )  # fmt: skip
    assert clock.is_held.wait(20)
    assert bknb.Live.portfolio.list() == [task]
    bknb.Live.portfolio.pause("two")
    assert task.paused
    assert "closes" in task.legs["A", "always"].close("enough")
    bknb.Live.portfolio.resume("two")
    bknb.Live.portfolio.stop("two")
    assert task.stopping == "entries"
    assert "closes" in bknb.Live.close_all()["B", "always"]
    clock.go.set()
    result = task.result(timeout=20)
    assert result.trades["close_reason"].tolist() == ["manual", "manual"]
    assert result.stopped
    assert bknb.Live.portfolio.get_report("two").startswith("# Portfolio report: two")
    assert [leg.status for leg in task.legs.values()] == ["fulfilled"] * 2


@pytest.mark.slow
def test_one_leg_is_stopped_alone_and_the_others_go_on() -> None:
    options = legs_of(5, count=2, model="pessimistic")
    clock = HeldClock(ORIGIN, ORIGIN + 60 * MINUTE)
    task = bknb.Live.portfolio(**options, clock=clock, until=UNTIL, store=bknb.stores.memory())
    assert clock.is_held.wait(20)
    bknb.Live.stop("S0USDT", "drawn 0", now=True)
    clock.go.set()
    result = task.result(timeout=60)
    ends = [leg.run_record.last for leg in result.legs.values()]
    assert ends[0] == ORIGIN + 60 * MINUTE
    assert ends[1] == UNTIL


def test_a_leg_that_cannot_begin_ends_all_and_is_named() -> None:
    options, store = legs_of(5, count=2, model="pessimistic"), bknb.stores.memory()
    store.acquire()
    store.write("signal", ("drawn 1", "S1USDT"), b"{}")
    store.release()
    task = bknb.Live.portfolio(**options, clock=SimulatedClock(ORIGIN), until=UNTIL, store=store)
    with pytest.raises(bknb.StateError) as raised:
        task.result(timeout=20)
    assert raised.value.__notes__[-1] == "in the leg drawn 1 on S1USDT of a live portfolio"
    assert all(leg.done for leg in task.legs.values())


def test_a_leg_that_waits_for_another_is_closed_by_hand_at_once() -> None:
    """The bars of B end at minute 10: A, which waits for the next one, is closed while the clock stands at 13."""

    def always(price: float) -> bknb.Signal:
        return bknb.Signal(position="long", price_take_profit=price * 1.5, price_stop_loss=price * 0.5)

    bknb.add_strategy("always", interval="1m", get_signal=always)
    rows = [row for row in walk(2) if row[0] < ORIGIN + 10 * MINUTE]
    clock = HeldClock(ORIGIN, ORIGIN + 13 * MINUTE)
    task = bknb.Live.portfolio(
        symbols=["A", "B"], strategies=["always"], exchange={"A": source(walk(1)), "B": source(rows)}, clock=clock,
        until=ORIGIN + 30 * MINUTE, store=bknb.stores.memory(),
    )  # fmt: skip
    assert clock.is_held.wait(20)
    assert task.now == ORIGIN + 10 * MINUTE
    assert task.legs["A", "always"].position is not None
    assert "closes" in task.legs["A", "always"].close()
    task.pause()
    clock.go.set()
    result = task.result(timeout=20)
    assert result.leg("A").trades["close_reason"].tolist() == ["manual"]
    assert result.leg("B").run_record.records.open_signals


def test_run_yields_the_results_of_all_legs() -> None:
    async def seen() -> list[tuple[str, str]]:
        options = legs_of(5, count=2, model="pessimistic")
        run = bknb.Live.portfolio.run(
            **options, clock=SimulatedClock(ORIGIN), until=ORIGIN + 20 * MINUTE, store=bknb.stores.memory()
        )
        return [(each.symbol, each.action) async for each in run]

    found = asyncio.run(seen())
    assert {symbol for symbol, _ in found} == {"S0USDT", "S1USDT"}
    assert {"idle", "opened"} <= {action for _, action in found}


def test_what_is_asked_wrongly_is_said() -> None:
    options = legs_of(5, count=2, model="pessimistic") | {"store": bknb.stores.memory()}
    with pytest.raises(bknb.UsageError, match="two legs are drawn 0 on S0USDT"):
        bknb.Live.portfolio(**options | {"legs": [("S0USDT", "drawn 0")] * 2})
    clock = HeldClock(ORIGIN, ORIGIN + 2 * MINUTE)
    task = bknb.Live.portfolio(**options, clock=clock, name="held")
    try:
        with pytest.raises(bknb.UsageError, match="'drawn 0' on S0USDT is going on already"):
            bknb.Live.portfolio(**options, name="another")
        with pytest.raises(bknb.UsageError, match="is going on already"):
            bknb.Live.background("S1USDT", strategy="drawn 1", exchange="demo", store=options["store"])
        assert clock.is_held.wait(20)
    finally:
        task.stop(now=True)
        clock.go.set()
        task.wait(20)


def test_a_dashboard_follows_a_live_portfolio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its panels are those of its result up to now, and stay when it is over; pause and stop are its buttons."""
    pytest.importorskip("anywidget")
    outputs: list[dict[str, Any]] = []

    class Shown:
        def display(self, data: dict[str, Any], **_: Any) -> Shown:
            outputs.append(data)
            return self

        update = display

    for name, value in (("in_kernel", lambda: True), ("front_end_draws", lambda: True), ("ipython", lambda _: Shown())):
        monkeypatch.setattr(portfolio_dashboard, name, value)
    clock = HeldClock(ORIGIN, ORIGIN + 20 * MINUTE)
    options = legs_of(5, count=2, model="pessimistic") | {"store": bknb.stores.memory(), "capital": 1000}
    task = bknb.Live.portfolio(**options, clock=clock, name="shown")
    try:
        assert clock.is_held.wait(20)
        board = bknb.dashboard(task)
        assert str(board).startswith("dashboard of portfolio shown: live · up to 2024-01-01 00:")
        board.show()
        widget = board.widget
        assert list(widget.html) == [*PORTFOLIO_PANELS]
        assert "Equity" in widget.html["equity"]
        press = {"kind": "bknb-press", "id": widget.controls["id"], "action": "pause", "number": 1, "view": "v"}
        on_message(widget, press)
        assert task.paused
        task.stop(now=True)
    finally:
        task.stop(now=True)
        clock.go.set()
        task.wait(20)
    assert board.wait(20)
    worth = f"{task.result().account['end']:,.2f}"
    assert worth in outputs[-1]["text/html"]
    assert bknb.panels.allocation(task.result()).panels == ["allocation"]


def test_an_account_of_which_no_minute_has_closed_is_shown() -> None:
    clock = HeldClock(ORIGIN, ORIGIN)
    store = bknb.stores.memory()
    task = bknb.Live.portfolio(**legs_of(5, count=2, model="pessimistic"), clock=clock, store=store, capital=1000)
    try:
        assert clock.is_held.wait(20)
        result = task.snapshot()
        assert result.contribution["money"].tolist() == [0.0, 0.0]
        assert "live · up to" in str(bknb.dashboard(task))
        assert "1,000.00" in result._repr_html_()
    finally:
        task.stop(now=True)
        clock.go.set()
        task.wait(20)


@pytest.mark.slow
def test_a_run_beside_a_portfolio_shares_its_places_and_goes_on_when_that_is_over() -> None:
    bknb.add_risk("shared", validations=[bknb.protections.max_open(1), bknb.protections.correlation(0.9, 3, "1m")])

    def in_and_out(when: Any, price: float) -> Any:
        return {"position": "long", "minute_estimated_time": 2, "price_take_profit": price * 2,
                "price_stop_loss": price / 2}  # fmt: skip

    for name in ("leg", "beside"):
        bknb.add_strategy(name, interval="5m", get_signal=in_and_out, risk="shared")
    rows = [(ORIGIN + k * MINUTE, 100.0, 101.0, 99.0, 100.0, 1.0) for k in range(-60, 140)]
    store = bknb.stores.memory()
    place, over = {"store": store, "exchange": source(rows), "settings": SETTINGS}, ORIGIN + 24 * MINUTE
    RUNTIME.open(store, ("kept", "open"))  # as by a run without a risk profile that goes on
    try:
        clock = SimulatedClock(ORIGIN)
        legs = bknb.Live.portfolio(legs=[("BTCUSDT", "leg")], clock=clock, until=over, **place).result(60)
        clock = SimulatedClock(over)
        alone = bknb.Live.background("ETHUSDT", strategy="beside", clock=clock, until=UNTIL, **place).result(60)
    finally:
        RUNTIME.close(store, ("kept", "open"))
    assert len(legs.trades) > 2
    assert alone.refused == []
    assert len(alone.trades) > 19
