"""The simulator of the contract's page against hand-written tables, and the engine against the simulator."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from page_cases import LIFETIME, MODELS, NAMES, PRICES, SYMMETRIC, Case, case, line, stop_entry, told
from page_simulator import MINUTE, Event, Simulator, World, money, on_grid, simulate
from page_worlds import INTERVALS, Drawn, draw
from quick import each_once, first_quick, rest_long
from scenarios import ORIGIN, long, source

import bknb
from bknb.domain.tick_grid import on_grid as on_grid_by_engine
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.records import Records
from bknb.testing.clocks import SimulatedClock

LIMITS = (
    "min_take_profit_distance_percent",
    "min_stop_loss_distance_percent",
    "max_stop_loss_distance_percent",
    "max_signal_lifetime_minutes",
)
LONG_WORLDS, WORLDS, FEW_WORLDS = 1000, 100, 60  # in the long set, in the slow one, in the fast one
FEW_LIVE_WORLDS, LIVE_WORLDS, SWEEP_WORLDS, SESSION_WORLDS, PARTS = 5, 20, 40, 24, 12

# --- tables: the simulator against the page -------------------------------------------------------------------------


@pytest.mark.parametrize("upside_down", [False, True], ids=["long", "short"])
@pytest.mark.parametrize(("one", "model"), SYMMETRIC, ids=NAMES)
def test_the_simulator_does_what_the_page_says(one: Case, model: str, upside_down: bool) -> None:  # noqa: FBT001
    world = one.mirrored() if upside_down else one
    assert told(simulate(world.world(model))) == getattr(world, model)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("signal", "kept"),
    [
        (long(100.5, 99.5), True),
        (long(100.49, 95), False),
        (long(105, 99.51), False),
        (long(105, 80), True),
        (long(105, 79.99), False),
        (long(105, 100), False),
        (long(100, 95), False),
        (long(105, 95, 1440), True),
        (long(105, 95, 1441), False),
        (long(105, 95, 0), False),
        (long(105, 95, -1), False),
        (long(105, 95) | {"minute_estimated_time": 1.5}, False),
        (long(105, 95) | {"position": "flat"}, False),
        (long(math.inf, 95), False),
        (long(105, math.nan), False),
        (long(105, 0), False),
        (long(105, 95, at=-1), False),
        (long(105, 95, at=math.inf), False),
        (long(105, 95, at=95), False),
        (long(105, 95, at=105), False),
        (long(105, 95, at=100), True),
        (long(105, 100, at=103), False),
        (stop_entry(105, 95, 10, 102), True),
        (stop_entry(105, 100, 10, 102), False),
        (stop_entry(105, 95, 10, 105), False),
        ({"position": "long"}, True),
        *((long(105, 95) | {name: None}, True) for name in ("price_take_profit", "price_stop_loss", LIFETIME)),
    ],
)
def test_what_is_validated_at_the_question(signal: Mapping[str, Any], kept: bool, model: str) -> None:  # noqa: FBT001
    run = simulate(case("", signal, {}, "").world(model))
    assert [event.kind == "rejected" for event in run.events][:1] == [not kept]


def test_a_target_must_pay_for_the_costs() -> None:
    settings = {"min_take_profit_distance_percent": 0.0}
    kept = {take: simulate(case("", long(take, 95), {}, "", settings=settings).world("touch")).trades for take in
            (100.3, 100.39, 100.41)}  # fmt: skip
    assert [bool(trades) for trades in kept.values()] == [False, False, True]


@pytest.mark.parametrize(
    ("changes", "moments"),
    [
        ({}, list(range(12))),
        ({"interval": 5 * MINUTE}, [0, 5, 10]),
        ({"interval": 5 * MINUTE, "start": ORIGIN + 2 * MINUTE}, [2, 5, 10]),
        ({"step": 3 * MINUTE}, [0, 3, 6, 9]),
        ({"step": 3 * MINUTE, "end": ORIGIN + 11 * MINUTE}, [0, 3, 6]),  # 9 is the last moment
        ({"step": 3 * MINUTE, "interval": 5 * MINUTE}, [0, 6]),  # 12 is in the next slot, and the last
        ({"start": ORIGIN + 90_000}, list(range(1, 12))),
        ({"is_open": lambda when: when != ORIGIN + 4 * MINUTE}, [0, 1, 2, 3, 10, 11]),
    ],
)
def test_when_a_strategy_is_asked(changes: Mapping[str, Any], moments: list[int]) -> None:
    run = simulate(replace(case("", None, {}, "", end=12).world("pessimistic"), **changes))
    assert [(when - ORIGIN) // MINUTE for when in run.asked] == moments


@pytest.mark.parametrize(
    ("missing", "interval", "moments"),
    [((5,), 1, [0, 1, 2, 3, 4, 5, *range(7, 12)]), ((4,), 5, [0, 6, 10]), ((5,), 5, [0, 5, 10])],
)
def test_a_missing_minute_only_delays_a_question(missing: tuple[int, ...], interval: int, moments: list[int]) -> None:
    run = simulate(case("", None, {}, "", end=12, missing=missing, interval=interval).world("pessimistic"))
    assert [(when - ORIGIN) // MINUTE for when in run.asked] == moments


def test_nobody_is_asked_before_the_price_has_its_bars() -> None:
    world = case("", None, {}, "", end=12).world("pessimistic")
    run = simulate(replace(world, rows=world.rows[60 - 2 :]))
    assert [(when - ORIGIN) // MINUTE for when in run.asked] == list(range(3, 12))


def test_money_of_one_trade() -> None:
    long_, short = money(1, 100.0, 110.0, 0.1, 0.1), money(-1, 100.0, 90.0, 0.1, 0.1)
    paid, got = 100 * 1.001, 110 * 0.999
    assert long_.net == pytest.approx(100 * (got - paid) / paid - 0.1 * (1 + got / paid), abs=1e-12)
    assert [long_.gross, short.gross] == pytest.approx([10, 10])
    paid, got = 100 * 0.999, 90 * 1.001
    assert short.net == pytest.approx(100 * (paid - got) / paid - 0.1 * (1 + got / paid), abs=1e-12)
    for one in (long_, short):
        assert one.gross - one.fees - one.slippage == pytest.approx(one.net, abs=1e-12)


@pytest.mark.parametrize(
    ("price", "tick", "down", "up"),
    [
        (98.6, 0.25, 98.5, 98.75),
        (98.75, 0.25, 98.75, 98.75),
        (98.6, None, 98.6, 98.6),
        (0.1 * 3, 0.1, 0.3, 0.3),  # a decimal, as a market quotes it
        (100.0 + 9e-8, 0.1, 100.0, 100.0),  # within a millionth of a tick
        (100.0 + 2e-7, 0.1, 100.0, 100.1),
        (100.0 - 2e-7, 0.1, 99.9, 100.0),
        (76771.77748507, 1e-8, 76771.77748507, 76771.77748507),  # many ticks, and a float between them
        (1.4126300811767578e-05, 5.960464477539063e-08, 1.412630081176758e-05, 1.412630081176758e-05),  # 2**-24
    ],
)
def test_the_grid(price: float, tick: float | None, down: float, up: float) -> None:
    assert (on_grid(price, tick, -1), on_grid(price, tick, 1)) == (down, up)
    signal = bknb.Signal(position="long", price_take_profit=price, price_stop_loss=price, minute_estimated_time=5)
    moved = on_grid_by_engine(signal, tick)
    assert (moved.price_stop_loss, moved.price_take_profit) == (down, up)


# --- random worlds --------------------------------------------------------------------------------------------------


def vectorised(world: World) -> tuple[Any, World]:
    """``get_signals`` over candles of a minute, and a world that asks the same: both take the close for the price.

    NaN in a column means that there is no such level, so a wrong NaN of the world is another wrong number here.
    """
    closes = {row[0] + MINUTE: row[4] for row in world.rows}

    def ask(when: int, price: float) -> Mapping[str, Any] | None:
        answer = world.ask(when, price)
        return answer and {name: -1.0 if value != value else value for name, value in answer.items()}

    names = {"position": 0.0, "entry": 0.0, **dict.fromkeys((*PRICES, "minute_estimated_time"), math.nan)}
    codes = {"long": 1.0, "short": -1.0, "stop": 1.0}

    def get_signals(candles: Any, spare: int = 0) -> dict[str, Any]:
        columns = {name: np.full(len(candles), nothing) for name, nothing in names.items()}
        for k, (t, close) in enumerate(zip(candles.timestamp.tolist(), candles.close.tolist(), strict=True)):
            for name, value in (ask(t + MINUTE, close) or {}).items():
                columns[name][k] = codes.get(value, value)
        return columns | {"stop_entry": columns.pop("entry") == 1}

    def ask_at_close(when: int, price: float) -> Any:
        return ask(when, closes[when])

    return get_signals, replace(world, ask=ask_at_close)


LEVELS = ("price_take_profit", "price_stop_loss", LIFETIME)
NEAR = {"min_take_profit_distance_percent": 0.0, "min_stop_loss_distance_percent": 0.0}


def with_columns(seed: int, model: str) -> set[int]:
    """Compare a world with ``get_signals`` whose columns have levels or NaN; numbers of the combinations that opened.

    Each combination has an eighth of the frame; the one without any levels, whose position ends with it, the last.
    """
    drawn = draw(seed, model, plain=True)
    drawn = replace(drawn, world=replace(drawn.world, settings=drawn.world.settings | NEAR))
    start, end = drawn.world.start, drawn.world.end
    closes = {row[0] + MINUTE: row[4] for row in drawn.world.rows}

    def ask(when: int, price: float) -> Mapping[str, Any]:
        combination, close = 7 - (when - start) * 8 // (end - start), closes[when]
        levels = {"price_take_profit": close * 1.003, "price_stop_loss": close * 0.997, LIFETIME: 10}
        given = {name: levels[name] for k, name in enumerate(LEVELS) if combination >> k & 1}
        return {"position": "long"} | given

    def get_signals(candles: Any) -> dict[str, Any]:
        combination, close = 7 - (candles.timestamp + MINUTE - start) * 8 // (end - start), candles.close
        levels = {"price_take_profit": close * 1.003, "price_stop_loss": close * 0.997, LIFETIME: 10.0}
        columns = {name: np.where(combination >> k & 1, levels[name], math.nan) for k, name in enumerate(LEVELS)}
        return {"position": np.ones(len(close)), **columns}

    strategy = bknb.add_strategy("columns", interval="1m", get_signals=get_signals, execution=model)
    result = bknb.backtest(
        "BTCUSDT",
        strategy=strategy,
        exchange=drawn.exchange,
        frame=(start, end),
        **options_of(drawn),
    )
    page = simulate(replace(drawn.world, ask=ask))
    assert_same_events(events_of(result.run_record.records), in_that_order(page.events), drawn.world)
    return {(event.when - start) * 8 // (end - start) for event in page.events if event.kind == "opened"}


@pytest.mark.parametrize("model", MODELS)
def test_nan_in_a_column_is_a_level_that_is_not_given(model: str) -> None:
    assert with_columns(5, model) | with_columns(8, model) == {*range(8)}


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_the_worlds_hold_every_kind_of_event(model: str) -> None:
    frame_end = {("closed", "frame_end"), ("cancelled", "frame_end")} if model != "vwap" else set()
    closed = {("closed", reason) for reason in ("stop_loss", "take_profit", "time_expired", "data_end")}
    cancelled = {("cancelled", reason) for reason in ("timeout", "price_reject", "risk", "data_end")}
    others = {(kind, "") for kind in ("scheduled", "opened", "rejected", "refused")}
    wanted, doubts = others | closed | cancelled | frame_end, 20 * (model != "vwap")
    kinds, ambiguous, drawn = set[tuple[str, str]](), 0, []
    while (kinds != wanted or ambiguous < doubts or len(drawn) < FEW_WORLDS) and len(drawn) < WORLDS:
        drawn.append(draw(len(drawn), model))
        events = simulate(drawn[-1].world).events
        kinds |= {(event.kind, event.reason) for event in events}
        ambiguous += sum(event.ambiguous for event in events)
    assert kinds == wanted
    assert ambiguous >= doubts
    assert model != "vwap" or not ambiguous
    assert {each.interval for each in drawn} == set(INTERVALS)
    assert {(each.gaps, each.sessions) for each in drawn} == {(a, b) for a in (False, True) for b in (False, True)}


# --- what bknb made of a world --------------------------------------------------------------------------------------


def registered(drawn: Drawn, asked: list[int]) -> Any:
    """The strategy of a world with its risk profile; ``asked`` collects the moments of its questions.

    Its functions hold no candles and no ``lambda``: a run reads all code and data that its strategy reaches.
    """
    ask, allowed = drawn.world.ask, drawn.world.allowed

    def get_signal(when: datetime, price: float) -> Mapping[str, Any] | None:
        moment = round(when.timestamp() * 1000)
        asked.append(moment)
        return ask(moment, price)

    def profile(request: bknb.RiskRequest) -> bool:
        "one place, and not at every moment"
        return allowed(request.when) and request.open_position_count == 0  # reading: what leaves takes no place

    bknb.add_risk("profile", validations=[profile])
    return bknb.add_strategy(
        "wishes", interval=drawn.interval, get_signal=get_signal, risk="profile", execution=drawn.world.model
    )  # fmt: skip


def options_of(drawn: Drawn) -> dict[str, Any]:
    settings = bknb.Settings.strict()
    strict = {name: getattr(settings, name) for name in LIMITS}
    tick = {} if drawn.world.tick is None else {"price_tick": drawn.world.tick}
    return {"settings": {**strict, **drawn.world.settings, **tick}, "allow_gaps": drawn.gaps}


def events_of(records: Records) -> list[Event]:
    """The events of a run, in the simulator's words; refusals and rejections behind the rest."""
    numbers: dict[str, int] = {}
    events = []
    for event in records.events:
        assert not isinstance(event, (bknb.Idle, bknb.Active))
        number = numbers.setdefault(event.signal.id, len(numbers))
        match event:
            case bknb.Scheduled() | bknb.Opened():
                events.append(Event(event.action, event.when, event.signal.price_open, "", number, ambiguous=False))
            case bknb.Closed():
                told = (event.when, event.price_close, event.close_reason, number)
                events.append(Event("closed", *told, ambiguous=event.ambiguous))
            case bknb.Cancelled():
                events.append(Event("cancelled", event.when, None, event.reason, number, ambiguous=False))
    for kind, those in (("rejected", records.rejected), ("refused", records.refused)):
        events += [Event(kind, one.when, None, "", -1, ambiguous=False) for one in those]
    return events


def in_that_order(events: list[Event]) -> list[Event]:
    return [one for one in events if one.signal >= 0] + [
        one for kind in ("rejected", "refused") for one in events if one.kind == kind
    ]


def assert_same_events(got: list[Event], expected: list[Event], world: World) -> None:
    """Equal to the bit, but for prices that are averages: to 1e-12."""
    for k, (mine, theirs) in enumerate(zip(expected, got, strict=False)):
        price = math.isclose(mine.price or 0, theirs.price or 0, rel_tol=1e-12)
        same = price and mine._replace(price=None) == theirs._replace(price=None)
        assert same, f"event {k} ({world.model}): the page says {line(mine)}, came {line(theirs)}"
    assert len(got) == len(expected), f"{len(expected)} events by the page, came {len(got)}"


def holes_of(world: World) -> list[tuple[int, int]]:
    """The minutes ``[first, end)`` (UTC ms) that never come, between two that do before the world ends."""
    times = [row[0] for row in world.rows if world.start - MINUTE <= row[0] < world.end]
    return [(before + MINUTE, behind) for before, behind in itertools.pairwise(times) if behind - before > MINUTE]


SILENT_MINUTES = 10  # after so many that do not come, that is told


def has_silence(world: World) -> bool:
    return any(end - first >= SILENT_MINUTES * MINUTE for first, end in holes_of(world))


def by_backtest(drawn: Drawn) -> tuple[bknb.Result, list[int]]:
    """A backtest of a world and the moments of its questions."""
    asked: list[int] = []
    bknb.add_frame("frame", start=drawn.world.start, end=drawn.world.end, interval=drawn.step)
    strategy = registered(drawn, asked)
    result = bknb.backtest(
        "BTCUSDT", strategy=strategy, exchange=drawn.exchange, frame="frame", **options_of(drawn)
    )  # fmt: skip
    assert not result.errors, result.errors
    return result, asked


def by_engine(drawn: Drawn) -> tuple[Records, list[int]]:
    """The same without task, hashes and tables."""
    asked: list[int] = []
    bknb.add_frame("frame", start=drawn.world.start, end=drawn.world.end, interval=drawn.step)
    plan = plan_backtest(
        "BTCUSDT", strategy=registered(drawn, asked), exchange=drawn.exchange, frame="frame", **options_of(drawn)
    )
    run = BacktestRun(plan)
    asyncio.run(run.through())
    assert not run.records.failures
    return run.records, asked


PARTS_OF_PNL = ("pnl_percentage", "gross_percentage", "fee_percentage", "slippage_percentage")


def compare(seed: int, model: str, *, whole: bool, by_day: bool = False) -> Simulator:
    """Compare a world with the simulator; ``whole``: as users run it, with the table of trades."""
    drawn = draw(seed, model, by_day=by_day)
    page = simulate(drawn.world)
    if whole:
        result, asked = by_backtest(drawn)
        records = result.run_record.records
        made = result.trades[[*PARTS_OF_PNL]].to_numpy(dtype=float)
    else:
        records, asked = by_engine(drawn)
        made = np.array([[getattr(end.pnl, name) for name in PARTS_OF_PNL] for end in records.closed], dtype=float)
    assert_same_events(events_of(records), in_that_order(page.events), drawn.world)
    assert asked == page.asked, f"asked at {first_difference(asked, page.asked)}"
    expected = np.array([parts for _, parts in page.trades], dtype=float).reshape(-1, 4)
    np.testing.assert_allclose(made.reshape(-1, 4), expected, rtol=0, atol=1e-9)
    return page


def first_difference(came: list[int], page: list[int]) -> str:
    k = next((k for k, (a, b) in enumerate(zip(came, page, strict=False)) if a != b), min(len(came), len(page)))
    return f"{came[k : k + 1]}, by the page at {page[k : k + 1]}"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("part", first_quick(range(PARTS)))
def test_a_backtest_is_the_simulator(model: str, part: int) -> None:
    for seed in range(part, FEW_WORLDS, PARTS):
        compare(seed, model, whole=part < 3)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("first", "end"), [(FEW_WORLDS, WORLDS), pytest.param(WORLDS, LONG_WORLDS, marks=pytest.mark.long)]
)
def test_a_backtest_is_the_simulator_in_many_worlds(model: str, first: int, end: int) -> None:
    for seed in range(first, end):
        compare(seed, model, whole=first >= WORLDS)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_by_the_day_a_backtest_is_the_simulator(model: str) -> None:
    pages = [compare(seed, model, whole=False, by_day=True) for seed in range(SESSION_WORLDS)]
    late = sum(when not in {opened for opened, _ in page.sessions} for page in pages for when in page.asked)
    waited = sum(event.reason == "timeout" for page in pages for event in page.events)
    assert late > 0
    assert waited > 0


@pytest.mark.parametrize(("one", "model"), SYMMETRIC, ids=NAMES)
def test_the_engine_does_what_the_tables_say(one: Case, model: str) -> None:
    world = one.world(model)
    drawn = Drawn(world, f"{one.interval}m", "1m", gaps=bool(one.missing), sessions=False)
    events = in_that_order(simulate(one.world(model)).events)
    assert_same_events(events_of(by_engine(drawn)[0]), events, world)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "model"),
    [
        *each_once(range(FEW_LIVE_WORLDS), MODELS),
        *rest_long(itertools.product(range(FEW_LIVE_WORLDS, LIVE_WORLDS), MODELS), kept=0),
    ],
)
def test_live_is_the_simulator(model: str, seed: int) -> None:
    drawn, asked = draw(seed, model, plain=True), list[int]()
    world = drawn.world
    task = bknb.Live.background(
        "BTCUSDT",
        strategy=registered(drawn, asked),
        exchange=drawn.exchange,
        clock=SimulatedClock(world.start),
        until=world.end,
        store=bknb.stores.memory(),
        **options_of(drawn),
    )
    result = task.result(timeout=120)
    assert [error.kind for error in result.errors] == ["silence"] * has_silence(world)
    records, page = result.run_record.records, simulate(world)
    assert (records.holes, records.late) == (holes_of(world), {})
    got, expected = ([one for one in events if one.when < world.end] for events in (events_of(records), page.events))
    assert_same_events(got, in_that_order(expected), world)
    assert [when for when in asked if when < world.end] == [when for when in page.asked if when < world.end]


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("part", rest_long(range(8), kept=1))
def test_a_sweep_is_the_simulator(model: str, part: int) -> None:
    pytest.importorskip("numba")
    for seed in range(part, SWEEP_WORLDS, 8):
        drawn = draw(seed, model, plain=True)
        world = drawn.world
        get_signals, alike = vectorised(world)
        found = bknb.sweep(
            get_signals,
            params={"spare": [0]},
            symbol="BTCUSDT",
            exchange=source(world.rows),
            frame=(world.start, world.end),
            interval="1m",
            metric="total_pnl",
            execution=model,
            keep_trades=True,
            **options_of(drawn),
        )
        trades = found.trades(0)
        expected = simulate(alike).trades
        assert list(trades["close_reason"]) == [event.reason for event, _ in expected]
        closed_at = [round(moment.timestamp() * 1000) for moment in trades["closed_at"]]
        assert closed_at == [event.when for event, _ in expected]
        assert list(trades["ambiguous"]) == [event.ambiguous for event, _ in expected]
        np.testing.assert_allclose(trades["pnl_percentage"], [parts.net for _, parts in expected], rtol=0, atol=1e-9)
