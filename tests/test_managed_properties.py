"""Properties of managed positions over random markets, random signals and random managers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from managed import Heard
from scenarios import MINUTE, ORIGIN, source
from worlds import LENGTH, MODELS, SEEDS, SETTINGS, walk

import bknb
from bknb.config import Settings
from bknb.domain.profit_of_partial_closes import average_price, held
from bknb.domain.signal_events import Added, Closed, Moved, Opened, Reduced
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.registration_checks import make_strategy
from bknb.events.heard import NOBODY
from bknb.kernels.first_change import first_trailed, first_trailed_plain
from bknb.runs.fill_table import fill_rows


def drawn(seed: int, *, lists: bool = False, ladders: bool = False) -> Callable[..., Any]:
    """A strategy of random signals with exits of every kind; a signal depends on its moment and price alone."""

    def get_signal(when: Any, price: float) -> Any:
        random = np.random.default_rng([seed, round(when.timestamp())])
        if random.random() < 0.6:
            return None
        answers = [signal(random, price) for _ in range(int(random.integers(1, 4)) if lists else 1)]
        answers = [in_parts(random, each) if ladders and random.random() < 0.6 else each for each in answers]
        return answers if lists else answers[0]

    return get_signal


def drawn_in_places(seed: int) -> Callable[..., Any]:
    """A strategy of random lists whose signals are for some of four places, and may compete for one."""
    answers = drawn(seed, lists=True)

    def get_signal(when: Any, price: float) -> Any:
        found = answers(when, price) or []
        places = [(when.minute // (1 + number)) % 4 for number in range(len(found))]
        return [msgspec.structs.replace(one, place=f"p{at}") for one, at in zip(found, places, strict=True)]

    return get_signal


def in_parts(random: Any, whole: bknb.Signal) -> bknb.Signal:
    """A signal whose entry is a ladder, of which the stop may refuse some."""
    if whole.price_open is None:
        return whole
    sign = (1 if whole.position == "long" else -1) * (1 if whole.entry == "stop" else -1)
    prices = [
        whole.price_open * (1 + sign * each) for each in (0, *random.uniform(0, 0.01, int(random.integers(1, 4))))
    ]
    return msgspec.structs.replace(whole, price_open=[(price, 0.9 / len(prices)) for price in prices])


def signal(random: Any, price: float) -> bknb.Signal:
    """A random signal."""
    sign = 1 if random.random() < 0.5 else -1
    stops = random.random() < 0.3
    entry = price * (1 + sign * (random.uniform(0.001, 0.01) if stops else -random.uniform(-0.005, 0.02)))
    near = entry * (1 + sign * random.uniform(0.008, 0.03))
    target = (None, near, [(near, 0.5), (entry * (1 + sign * 0.04), 0.3)])[int(random.integers(3))]
    return bknb.Signal(
        position="long" if sign > 0 else "short",
        price_take_profit=target,
        price_stop_loss=entry * (1 - sign * random.uniform(0.008, 0.05)) if random.random() < 0.6 else None,
        minute_estimated_time=int(random.integers(1, 90)) if random.random() < 0.7 else None,
        price_open=entry if random.random() < 0.5 else None,
        entry="stop" if stops else "limit",
        trailing=trailing(random, price) if random.random() < 0.5 else None,
        breakeven=bknb.Breakeven(after=random.uniform(0.5, 2)) if random.random() < 0.4 else None,
    )


def trailing(random: Any, price: float) -> bknb.Trailing:
    """A random trailing stop."""
    after = float(random.choice([0.0, 0.5, 1.5]))
    if random.random() < 0.5:
        return bknb.Trailing(percent=random.uniform(0.2, 3), after=after)
    return bknb.Trailing(distance=price * random.uniform(0.002, 0.03), after=after)


def managing(seed: int, *, loosens: bool = True) -> Callable[..., Any]:
    """A manager of random answers; they depend on the moment and on what it sees alone."""

    def manage(when: Any, position: Any, price: float) -> Any:
        random = np.random.default_rng([seed, 7, round(when.timestamp())])
        sign, kind = position.sign, random.random()
        if kind < 0.7:
            return None
        if not position.size:
            return [bknb.Cancel(), *([signal(random, price)] if kind < 0.9 else [])] if kind > 0.85 else None
        one = [
            lambda: bknb.Close(note="enough"),
            lambda: bknb.Reduce(random.uniform(0, 1.2)),
            lambda: bknb.Add(random.uniform(0.1, 1.5), only_better=bool(random.random() < 0.3)),
            lambda: bknb.Add(0.5, price_open=price * (1 - sign * random.uniform(-0.002, 0.02)), valid=30),
            lambda: bknb.Move(price_stop_loss=price * (1 - sign * random.uniform(-0.002, 0.02)),
                              loosen=loosens and bool(random.random() < 0.3)),
            lambda: bknb.Move(price_take_profit=[(price * (1 + sign * random.uniform(0.001, 0.02)), 0.4)]),
            lambda: bknb.Move(trailing=trailing(random, price) if random.random() < 0.8 else None),
            lambda: bknb.Move(breakeven=bknb.Breakeven(after=random.uniform(0.5, 2)),
                              minute_estimated_time=int(random.integers(1, 120))),
            bknb.Cancel,
            lambda: [bknb.Close(), signal(random, price)],
        ]  # fmt: skip
        answers: list[Any] = []
        for _ in range(int(random.integers(1, 3))):
            made = one[int(random.integers(len(one)))]()
            answers += made if isinstance(made, list) else [made]
        return answers

    return manage


def managing_orders(seed: int) -> Callable[..., Any]:
    """A manager as of :func:`managing`, that also adds by stop orders, and moves and cancels what waits by its id."""
    others = managing(seed)

    def manage(when: Any, position: Any, price: float) -> Any:
        random, sign = np.random.default_rng([seed, 11, round(when.timestamp())]), position.sign
        resting = [each.id for each in position.waiting if each.price_open is not None]
        if position.size and random.random() < 0.12:
            level = price * (1 + sign * random.uniform(-0.002, 0.01))
            stop = level * (1 - sign * random.uniform(0.001, 0.02)) if random.random() < 0.7 else None
            entry = "stop" if random.random() < 0.7 else "limit"
            return bknb.Add(random.uniform(0.1, 1), price_open=level, entry=entry, price_stop_loss=stop, valid=30)
        if not resting or random.random() < 0.5:
            return others(when, position, price)
        answers: list[Any] = []
        for name in resting[: int(random.integers(1, 3))]:
            moved = bknb.Move(price_open=price * random.uniform(0.99, 1.01), id=name)
            answers.append(moved if random.random() < 0.7 else bknb.Cancel(id=name))
        return answers

    return manage


def run(seed: int, model: str, *, every_minute: bool = False, tick: float | None = None, loosens: bool = True,
        changed_from: int | None = None, risk: bool = False, lists: bool = False,
        orders: bool = False) -> Heard:  # fmt: skip
    """A run of random signals and random answers over a random walk."""
    if risk:
        bknb.add_risk("drawn", validations=lambda request: hash((request.when, round(request.add, 6))) % 3 > 0)
    strategy = make_strategy(
        "drawn",
        drawn(seed, lists=lists, ladders=orders),
        interval="1m",
        manage=managing_orders(seed) if orders else managing(seed, loosens=loosens),
        manage_interval="1m" if seed % 2 else "5m",
        risk="drawn" if risk else None,
    )
    plan = plan_backtest(
        "BTCUSDT",
        strategy=strategy,
        exchange=source(walk(seed, changed_from=changed_from)),
        frame=(ORIGIN, ORIGIN + LENGTH * MINUTE),
        execution=model,
        settings=SETTINGS | {"price_tick": tick},
    )
    done = Heard(plan, every_minute=every_minute)
    asyncio.run(done.through())
    assert not done.records.failures, done.records.failures
    return done


def told(done: Heard, *, before: int | None = None) -> list[bytes]:
    """Events as bytes, those before a moment only."""
    return [msgspec.json.encode(event) for event in done.heard if before is None or event.when < before]


@pytest.mark.slow
@given(
    model=st.sampled_from(MODELS), seed=SEEDS, tick=st.sampled_from([None, 0.05]), risk=st.booleans(),
    lists=st.booleans(), orders=st.booleans(),
)  # fmt: skip
def test_skipping_minutes_changes_nothing(
    *, model: str, seed: int, tick: float | None, risk: bool, lists: bool, orders: bool
) -> None:
    skipped = told(run(seed, model, tick=tick, risk=risk, lists=lists, orders=orders))
    assert skipped == told(run(seed, model, tick=tick, risk=risk, lists=lists, orders=orders, every_minute=True))


@pytest.mark.slow
@given(model=st.sampled_from(MODELS), seed=SEEDS, at=st.integers(1, LENGTH), lists=st.booleans(), orders=st.booleans())
def test_nothing_depends_on_what_comes_later(*, model: str, seed: int, at: int, lists: bool, orders: bool) -> None:
    before, later = ORIGIN + at * MINUTE, run(seed, model, changed_from=at, lists=lists, orders=orders)
    assert told(run(seed, model, lists=lists, orders=orders), before=before) == told(later, before=before)


@pytest.mark.slow
@given(model=st.sampled_from(MODELS), seed=SEEDS)
def test_shares_and_money_are_conserved(model: str, seed: int) -> None:
    for event in run(seed, model).records.closed:
        parts = event.pnl
        rest = parts.gross_percentage - parts.fee_percentage - parts.slippage_percentage
        assert abs(rest - parts.pnl_percentage) < 1e-9
        assert event.trough_percentage <= parts.pnl_percentage + 1e-9
        assert parts.pnl_percentage <= event.peak_percentage + 1e-9
        if not event.fills:
            continue
        assert abs(held(event.fills)) < 1e-9
        assert event.fills[0].kind == "entry"
        assert event.fills[-1].kind == "exit"
        assert len({fill.number for fill in event.fills}) == len(event.fills)
        assert abs(parts.pnl_percentage - money(event)) < 1e-9
        average = average_price(event.fills)
        assert event.average_price in (None, average)


def test_costs_of_fills_add_up_to_those_of_their_trade() -> None:
    records = run(1, "pessimistic").records
    fills = pd.DataFrame(fill_rows(records, Settings(percent_fee=0.1, percent_slippage=0.1)))
    assert {"add", "reduce"} <= set(fills["kind"])
    assert {event.signal.position for event in records.closed} == {"long", "short"}
    for event in records.closed:
        mine, pnl = fills[fills["signal_id"] == event.signal.id], event.pnl
        sign = 1 if event.signal.position == "long" else -1
        assert mine["fee_percentage"].sum() == pytest.approx(pnl.fee_percentage)
        rest = sign * pnl.gross_percentage * 0.1 / (100 + sign * 0.1)
        assert mine["slippage_percentage"].sum() == pytest.approx(pnl.slippage_percentage - rest)


def money(event: Closed) -> float:
    """The net result of a position from its fills alone, in percent of the cost of the first: cash in less cash out."""
    sign = 1 if event.signal.position == "long" else -1
    cash = 0.0
    for fill in event.fills:
        buys = 1 if fill.enters == (sign > 0) else -1
        price = fill.price * (1 + buys * 0.001)
        cash -= fill.share * price * (buys + 0.001)
    return cash / (event.fills[0].price * (1 + sign * 0.001)) * 100


def test_in_one_run_there_is_one_position_at_a_time_and_no_stop_loosens() -> None:
    heard = run(1, "vwap", loosens=False).heard
    assert {Opened, Added, Reduced, Moved, Closed} <= {type(event) for event in heard}
    check_sizes(heard)
    check_stops(heard)


@pytest.mark.slow
@given(model=st.sampled_from(MODELS), seed=SEEDS)
def test_there_is_one_position_at_a_time_and_its_size_adds_up(model: str, seed: int) -> None:
    check_sizes(run(seed, model).heard)


def check_sizes(heard: list[Any]) -> None:
    """One position at a time, of the size that its fills add up to."""
    size, held_id = 0.0, None
    for event in heard:
        match event:
            case Opened():
                assert held_id is None
                size, held_id = 1.0, event.signal.id
            case Added():
                size += event.fill.share
            case Reduced():
                size -= event.fill.share
            case Closed():
                assert held_id == event.signal.id
                assert not event.fills or abs(event.fills[-1].share - size) < 1e-9
                held_id = None
        if isinstance(event, Added | Reduced):
            assert held_id == event.signal.id
            assert abs(event.size - size) < 1e-9
            assert size > 0
    assert held_id is None


@pytest.mark.slow
@given(model=st.sampled_from(MODELS), seed=SEEDS)
def test_a_stop_never_loosens_unless_asked_to(model: str, seed: int) -> None:
    check_stops(run(seed, model, loosens=False).heard)


def check_stops(heard: list[Any]) -> None:
    """No stop of a position is further from the market than the one before."""
    stops: dict[str, float] = {}
    for event in heard:
        if isinstance(event, Moved):
            sign = 1 if event.signal.position == "long" else -1
            before = stops.get(event.signal.id, event.signal.price_stop_loss)
            if before is not None:
                assert event.price_stop_loss is not None
                assert sign * (event.price_stop_loss - before) >= 0
            if event.price_stop_loss is not None:
                stops[event.signal.id] = event.price_stop_loss


def ends_of(rows: list[tuple[float, ...]], trails: bknb.Trailing, side: Any, tick: float) -> list[Any]:
    """When and where positions end that nobody manages: with no minute skipped, then with those that can be."""
    strategy = make_strategy("trails", lambda: bknb.Signal(side=side, trailing=trails), interval="1m")
    plan = plan_backtest("X", strategy=strategy, exchange=source(rows), frame=(ORIGIN, rows[-20][0]),
                         settings={"price_tick": tick, "percent_fee": 0.0, "percent_slippage": 0.0})  # fmt: skip
    found = []
    for every_minute in (True, False):
        done = BacktestRun(plan, listeners=NOBODY, every_minute=every_minute)
        asyncio.run(done.through())
        found.append([(event.closed_at, event.price_close) for event in done.records.closed])
    return found


@pytest.mark.slow
@given(seed=SEEDS, distance=st.sampled_from([0.3, 0.5, 0.7, 1.1, None]), side=st.sampled_from(["long", "short"]))
def test_a_trail_that_is_reached_to_the_tick_is_not_jumped_over(seed: int, distance: float | None, side: str) -> None:
    """Every price is on the grid, so that lows equal stops whose best price was seen within the jump."""
    random = np.random.default_rng(seed)
    closes = (1000 + np.cumsum(random.choice([-1, 0, 1], LENGTH))) / 10
    opens = np.concatenate([[100.0], closes[:-1]])
    highs = np.round(np.maximum(opens, closes) + random.integers(0, 2, LENGTH) / 10, 1)
    lows = np.round(np.minimum(opens, closes) - random.integers(0, 2, LENGTH) / 10, 1)
    prices = np.stack([opens, highs, lows, closes], axis=1).tolist()
    rows = [(ORIGIN + (k - 60) * MINUTE, *row, 1.0) for k, row in enumerate(prices)]
    trails = bknb.Trailing(percent=1.0) if distance is None else bknb.Trailing(distance=distance)
    stepped, skipped = ends_of(rows, trails, side, 0.1)
    assert stepped == skipped


def test_a_trail_in_percent_whose_level_is_rounded_towards_the_market() -> None:
    """2 % behind 103.5 are 101.42999999999999, on the grid 101.43: the low that equals it is the stop."""
    up, flat = (103.0, 103.5, 103.0, 103.2), (103.2, 103.2, 103.0, 103.2)
    candles = {30: up, **dict.fromkeys(range(31, 90), flat), 40: (103.2, 103.2, 101.43, 103.2)}
    rows = [(ORIGIN + k * MINUTE, *candles.get(k, (100.0,) * 4), 1.0) for k in range(-60, 90)]
    stepped, skipped = ends_of(rows, bknb.Trailing(percent=2.0), "long", 0.01)
    assert stepped[0] == (ORIGIN + 40 * MINUTE, 101.43)
    assert stepped == skipped


@given(seed=SEEDS, start=st.integers(0, 300), best=st.floats(95, 105), percent=st.sampled_from([0.0, 0.3, 2.0]),
       long=st.booleans())  # fmt: skip
def test_the_scan_of_a_trail_equals_its_specification(
    seed: int, start: int, best: float, percent: float, long: bool  # noqa: FBT001
) -> None:  # fmt: skip
    columns = np.array(walk(seed)).T
    data = (columns[2], columns[3], start, len(columns[0]))
    options: dict[str, Any] = {"best": best, "long": long, "percent": percent, "distance": 0.0 if percent else 1.0}
    assert first_trailed(*data, **options) == first_trailed_plain(*data, **options)
