"""Strategies with several places: each is a lifecycle of its own, fed in order, and asked for while one is free."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from managed import FREE
from scenarios import MINUTE, ORIGIN, line, source
from test_managed_properties import drawn, managing
from worlds import LENGTH, MODELS, SEEDS, SETTINGS, walk

import bknb
from bknb.domain.signal_events import Rejected
from bknb.domain.signals_by_place import signals_by_place
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.registration_checks import make_strategy
from bknb.errors import UsageError
from bknb.events.heard import NOBODY

NAMES = ("p0", "p1", "p2")
FLAT = (100.0,) * 4


class Heard(BacktestRun):
    """A backtest that keeps the events of all places in the order in which they happened."""

    def __init__(self, plan: Any, **options: Any) -> None:
        self.heard: list[Any] = []
        super().__init__(plan, on_event=self.heard.append, listeners=NOBODY, **options)


def heard(strategy: Any, rows: Any, *, end: int = LENGTH, every_minute: bool = False, **options: Any) -> Heard:
    given_settings = SETTINGS | options.pop("settings", {})
    plan = plan_backtest(
        "BTCUSDT", strategy=strategy, exchange=source(rows), frame=(ORIGIN, ORIGIN + end * MINUTE),
        settings=given_settings, **options,
    )  # fmt: skip
    run = Heard(plan, every_minute=every_minute)
    asyncio.run(run.through())
    assert not run.records.failures, run.records.failures
    return run


def market(candles: Mapping[int, Any], end: int = 30) -> list[tuple[float, ...]]:
    return [(ORIGIN + k * MINUTE, *candles.get(k, FLAT), 100.0) for k in range(-60, end + 10)]


def told(answers: Callable[[int], Any], candles: Mapping[int, Any], *, end: int = 30, **options: Any) -> list[str]:
    """What comes of answers by minute, each line with its place."""
    places = options.pop("places", 3)
    strategy = make_strategy(
        "placed", lambda when: answers(when.hour * 60 + when.minute), interval="1m", places=places, **options
    )
    run = heard(strategy, market(candles, end), end=end, settings=FREE)
    events = [event for event in run.heard if not isinstance(event, bknb.Milestone | bknb.Idle | bknb.Active)]
    return [f"{line(event)}{f' in {event.signal.place}' if event.signal.place else ''}" for event in events]


def buy(place: str | None, at: float, **more: Any) -> bknb.Signal:
    given: dict[str, Any] = {"position": "long", "price_open": at, "price_take_profit": at + 2, "valid": None} | more
    return bknb.Signal(place=place, **given)


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_a_grid_is_said_whole_each_time_and_each_place_goes_round_by_itself() -> None:
    grid = [buy("99", 99), buy("98", 98), buy("97", 97)]
    candles = {2: (100, 100, 97.9, 98.5), 3: (98.5, 100.1, 98.5, 100.0), 5: (100, 101.1, 98.9, 101.0)}
    lines = told(lambda _minute: grid, candles, end=8)
    assert lines == [
        "scheduled 97 @m0 in 97",
        "scheduled 98 @m0 in 98",
        "scheduled 99 @m0 in 99",
        "opened 98 @m2 in 98",
        "opened 99 @m2 in 99",
        "closed take_profit 100 @m3 in 98",
        "scheduled 98 @m4 in 98",
        "closed take_profit 101 @m5 in 99",
        "scheduled 99 @m6 in 99",
        "cancelled frame_end @m8 in 97",
        "cancelled frame_end @m8 in 98",
        "cancelled frame_end @m8 in 99",
    ]


def test_what_is_said_for_a_place_that_is_taken_is_counted_and_does_nothing_else() -> None:
    strategy = make_strategy("placed", lambda: [buy("99", 99), buy("98", 98)], interval="1m", places=3)
    run = heard(strategy, market({}), end=5, settings=FREE)
    assert (run.records.places_taken, len(run.records.rejected)) == (2 * 4, 0)


def test_signals_without_a_name_take_the_next_place_one_at_each_question() -> None:
    """Cohorts that overlap: asked while one of two places is free, at minute 0, 1, and once the first has ended."""
    asked: list[int] = []

    def cohort(minute: int) -> bknb.Signal:
        asked.append(minute)
        return bknb.Signal(position="long", minute_estimated_time=5, size=0.5)

    lines = told(cohort, {}, places=2, end=9)
    assert lines == [
        "opened 100 @m0 in 1",
        "opened 100 @m1 in 2",
        "closed time_expired 100 @m5 in 1",
        "opened 100 @m5 in 1",
        "closed time_expired 100 @m6 in 2",
        "opened 100 @m6 in 2",
        "closed frame_end 100 @m9 in 1",
        "closed frame_end 100 @m9 in 2",
    ]
    assert asked == [0, 1, 5, 6]


def test_four_cohorts_of_a_week_each_overlap() -> None:
    """A quarter is bought each Monday and held for four weeks: the place that is left is the one that is taken."""
    index = pd.date_range("2024-01-01", periods=140, freq="D", tz="UTC")
    close = 100.0 + np.arange(140) % 9
    prices = {"open": close, "high": close + 1, "low": close - 1, "close": close}
    days = pd.DataFrame(prices, index=index).assign(volume=1.0)

    def get_signal() -> bknb.Signal:
        return bknb.Signal(position="long", until=bknb.at.week("mon", after=4), size=0.25)

    strategy = bknb.add_strategy("cohorts", at="mon", get_signal=get_signal, places=4)
    frame = ("2024-01-15", "2024-05-13")
    source = bknb.exchanges.from_frame(days)
    result = bknb.backtest("X", strategy=strategy, exchange=source, frame=frame, capital=10_000)
    trades = result.trades.sort_values("pending_at")
    mondays = [f"{day:%m-%d}" for day in pd.date_range("2024-01-15", "2024-05-06", freq="W-MON")]
    assert trades["pending_at"].dt.strftime("%m-%d").tolist() == mondays
    ended = trades[trades["close_reason"] == "time_expired"]
    assert (ended["closed_at"] - ended["pending_at"]).dt.days.tolist() == [28] * (len(mondays) - 4)
    assert trades["place"].tolist() == [*"1234"] * 4 + ["1"]
    assert trades["size"].tolist() == [0.25] * len(mondays)


def test_signals_of_one_place_compete_and_those_without_a_name_are_one_place() -> None:
    def answers(minute: int) -> Any:
        return [buy("a", 99), buy("a", 98), buy(None, 97), buy(None, 96)] if minute == 0 else None

    lines = told(answers, {2: (100, 100, 98.5, 99), 3: (99, 99, 96.5, 96.6)}, end=4)
    assert [text for text in lines if not text.startswith("scheduled")] == [
        "opened 99 @m2 in a",
        "cancelled place_taken @m2 in a",
        "opened 97 @m3 in 1",
        "cancelled place_taken @m3 in 1",
        "closed frame_end 100 @m4 in a",
        "closed frame_end 100 @m4 in 1",
    ]


def test_a_minute_is_fed_by_age_then_by_name() -> None:
    """All end in one candle: the oldest first, of those opened together by name."""

    def answers(minute: int) -> Any:
        market_order = {"price_open": None, "price_take_profit": 110}
        named = {0: ["c"], 1: ["b", "a"]}.get(minute, [])
        return [buy(name, 100, **market_order) for name in named]

    lines = told(answers, {4: (100, 111, 100, 111)}, end=6)
    assert [text for text in lines if text.startswith("closed")] == [
        f"closed take_profit 110 @m4 in {name}" for name in ("c", "a", "b")
    ]


def test_ids_hold_the_place_and_the_table_says_it() -> None:
    bknb.add_strategy("grid", interval="1m", get_signal=lambda: [buy("99", 99), buy(None, 98)], places=4)
    result = bknb.backtest(
        "BTCUSDT", strategy="grid", exchange=source(market({3: (100, 100, 97, 97), 4: (97, 103, 97, 103)})),
        frame=(ORIGIN, ORIGIN + 9 * MINUTE), settings=FREE,
    )  # fmt: skip
    ids = [f"grid-BTCUSDT-20240101T000{minute}@{name}" for minute, name in enumerate(("1", "2", "3"))]
    assert list(result.trades["signal_id"])[:4] == [*ids, "grid-BTCUSDT-20240101T0000@99"]
    assert list(result.trades["place"])[:4] == ["1", "2", "3", "99"]
    assert result.account["total_return"] is None
    assert "adds and places need a capital" in str(result)
    assert "signals were left out: the place was taken, or none was free" in result.report()


def test_manage_is_asked_about_each_place_and_sees_all_of_them() -> None:
    seen: list[tuple[int, str, list[str]]] = []

    def manage(ctx: Any, position: Any) -> Any:
        seen.append((ctx.when.minute, position.place, [each.place for each in ctx.positions]))
        return bknb.Close() if position.place == "b" and position.minutes >= 2 else None

    def answers(minute: int) -> Any:
        return [bknb.Signal(position="long", place=name) for name in ("b", "a")] if minute == 0 else None

    lines = told(answers, {}, manage=manage, end=4)
    assert seen == [
        (1, "a", ["a", "b"]),
        (1, "b", ["a", "b"]),
        (2, "a", ["a", "b"]),
        (2, "b", ["a", "b"]),
        (3, "a", ["a"]),
    ]
    assert "closed strategy 100 @m2 in b" in lines


def test_all_places_have_one_memo_and_the_oldest_position_is_that_of_the_context() -> None:
    looked: list[tuple[int, str | None, float]] = []

    def get_signal(ctx: Any) -> Any:
        ctx.memo["asked"] = ctx.memo.get("asked", 0) + 1
        held = ctx.position
        looked.append((ctx.memo["asked"], held and held.place, max((p.best_price for p in ctx.positions), default=0)))
        return bknb.Signal(position="long", place=f"x{ctx.memo['asked']}") if ctx.memo["asked"] < 3 else None

    strategy = make_strategy("placed", get_signal, interval="1m", places=3)
    heard(strategy, market({2: (100, 105, 100, 100)}), end=4, settings=FREE)
    assert looked == [(1, None, 0), (2, "x1", 100.0), (3, "x1", 100.0), (4, "x1", 105.0)]


def test_a_quiet_minute_is_told_of_what_is_open_or_of_nothing() -> None:
    quiet: list[tuple[int, str]] = []

    def note(event: Any) -> None:
        quiet.append((event.when // MINUTE % 60, event.signal.place if isinstance(event, bknb.Active) else "nothing"))

    def answers(minute: int) -> Any:
        return [bknb.Signal(position="long", place="a", minute_estimated_time=2)] if minute == 1 else None

    told(answers, {}, end=5, places=2, callbacks={"on_idle": note, "on_active": note})
    assert quiet == [(0, "nothing"), (1, "a"), (2, "a"), (4, "nothing"), (5, "nothing")]


@pytest.mark.parametrize(("now", "lines"), [
    (False, ["cancelled stopped @m4 in b", "closed time_expired 100 @m5 in c", "closed time_expired 100 @m8 in a"]),
    (True, []),
])  # fmt: skip
def test_a_stop_takes_back_what_rests_and_watches_every_place_to_its_end(now: bool, lines: list[str]) -> None:  # noqa: FBT001
    runs: list[Heard] = []

    def answers(when: Any) -> Any:
        if when.minute == 4:
            runs[0].stop(now=now)
        first = [bknb.Signal(position="long", place="a", minute_estimated_time=8), buy("b", 99)]
        third = bknb.Signal(position="long", place="c", minute_estimated_time=3)
        return {0: first, 2: third}.get(when.minute)

    plan = plan_backtest(
        "BTCUSDT", strategy=make_strategy("placed", answers, interval="1m", places=4), exchange=source(market({})),
        frame=(ORIGIN, ORIGIN + 30 * MINUTE), settings=SETTINGS | FREE,
    )  # fmt: skip
    runs.append(Heard(plan))
    asyncio.run(runs[0].through())
    told_lines = [f"{line(event)} in {event.signal.place}" for event in runs[0].heard]
    assert told_lines == ["opened 100 @m0 in a", "scheduled 99 @m0 in b", "opened 100 @m2 in c", *lines]
    assert runs[0].stopped


# --- properties -------------------------------------------------------------------------------------------------------


def told_by_place(run: Heard, place: str) -> list[bytes]:
    """Events of a place as bytes, without its name; what no signal was made of is left out."""
    found = [msgspec.json.encode(event) for event in run.heard if getattr(event.signal, "place", None) == place]
    return [text.replace(f"@{place}".encode(), b"").replace(f',"place":"{place}"'.encode(), b"") for text in found]


def in_places(seeds: Mapping[str, int], *, lists: bool) -> dict[str, Any]:
    """``get_signal`` and ``manage`` that answer in each place as its own strategy would."""
    asked = {name: (drawn(seed, lists=lists), managing(seed)) for name, seed in seeds.items()}

    def get_signal(when: Any, price: float) -> Any:
        found: list[Any] = []
        for name, (answer, _) in asked.items():
            one = answer(when, price)
            signals = one if isinstance(one, list) else [] if one is None else [one]
            found += [msgspec.structs.replace(signal, place=name) for signal in signals]
        return found

    def manage(when: Any, position: Any, price: float) -> Any:
        return asked[position.place][1](when, position, price)

    return {"get_signal": get_signal, "manage": manage}


@pytest.mark.slow
@given(model=st.sampled_from(MODELS), seed=SEEDS, count=st.integers(2, 3), lists=st.booleans())
@settings(max_examples=4)
def test_n_places_are_n_strategies_of_one(model: str, seed: int, count: int, lists: bool) -> None:  # noqa: FBT001
    seeds = {name: seed + 17 * number for number, name in enumerate(NAMES[:count])}
    common: dict[str, Any] = {"interval": "1m", "manage_interval": "1m" if seed % 2 else "5m"}
    rows = walk(seed)
    together = make_strategy("drawn", **in_places(seeds, lists=lists), **common, places=count)
    run = heard(together, rows, execution=model)
    for name, own in seeds.items():
        alone = make_strategy("drawn", drawn(own, lists=lists), manage=managing(own), **common)
        expected = heard(alone, rows, execution=model).heard
        assert told_by_place(run, name) == [
            msgspec.json.encode(event) for event in expected if not isinstance(event, Rejected)
        ]


@pytest.mark.slow
@given(model=st.sampled_from(MODELS), seed=SEEDS)
@settings(max_examples=3)
def test_skipping_minutes_changes_nothing_in_any_place(model: str, seed: int) -> None:
    seeds = {name: seed + number for number, name in enumerate(NAMES)}
    strategy = make_strategy("drawn", **in_places(seeds, lists=True), interval="1m", places=2)
    skipped, stepped = (heard(strategy, walk(seed), execution=model, every_minute=each) for each in (False, True))
    assert [msgspec.json.encode(event) for event in skipped.heard] == [
        msgspec.json.encode(event) for event in stepped.heard
    ]
    assert skipped.records.places_taken == stepped.records.places_taken


@given(names=st.lists(st.sampled_from(["a", "b", "c", None]), max_size=6), taken=st.sets(st.sampled_from("abc1")),
       leaving=st.sets(st.sampled_from("ab2")), count=st.integers(1, 4))  # fmt: skip
def test_no_more_places_are_given_than_there_are(
    names: list[str | None], taken: set[str], leaving: set[str], count: int
) -> None:
    given_signals, held = [bknb.Signal(position="long", place=name) for name in names], taken | (leaving - taken)
    found = signals_by_place(given_signals, taken=taken, leaving=leaving - taken, ids=(), count=count)
    assert not taken & found.places.keys()
    assert len(held | found.places.keys()) <= max(count, len(held))
    assert sum(map(len, found.places.values())) + found.left_out == len(names)
    assert all(signal.place == place for place, signals in found.places.items() for signal in signals)


def test_while_a_place_is_left_no_other_is_taken_in_its_stead() -> None:
    """At minute 3 ``a`` leaves; ``c`` has to wait for that, and ``a`` itself has not."""

    def answers(minute: int) -> Any:
        short = {"position": "long", "minute_estimated_time": 3}
        said = {0: ("a", "b"), 3: ("c", "a"), 4: ("c",)}.get(minute, ())
        return [bknb.Signal(place=name, **(short if name == "a" else {"position": "long"})) for name in said]  # type: ignore[arg-type]

    assert told(answers, {}, places=2, end=5)[:4] == [
        "opened 100 @m0 in a",
        "opened 100 @m0 in b",
        "closed time_expired 100 @m3 in a",
        "opened 100 @m3 in a",
    ]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("place", "said"), [
    (63000, "place must be a non-empty text such as '63000', or None; got 63000"),
    (" ", "place must be a non-empty text"),
    ("a\x00", "cannot name a place"),
    ("a#2", "place='a#2' cannot name a place: # and ~ number the orders of a place in their ids; write another"),
    ("a~2", "# and ~ number the orders of a place in their ids; write another"),
])  # fmt: skip
def test_a_place_is_a_text(place: Any, said: str) -> None:
    strategy = make_strategy("placed", lambda: [buy(place, 99)], interval="1m", places=3)
    rejected = heard(strategy, market({}), end=2).records.rejected
    assert said in rejected[0].reasons[0].text


def test_a_strategy_with_one_place_rejects_a_signal_that_names_one() -> None:
    strategy = make_strategy("placed", lambda: buy("63000", 99), interval="1m")
    (reason,) = heard(strategy, market({}), end=2).records.rejected[0].reasons
    assert (reason.code, reason.text) == (
        "place", "place='63000' is for a strategy with several places, such as places=20; this has one",
    )  # fmt: skip


def test_an_id_of_the_users_own_is_in_one_place_at_a_time() -> None:
    def answers(minute: int) -> Any:
        return {0: [buy("a", 99, id="mine"), buy("b", 98, id="mine")], 1: [buy("b", 98, id="mine")]}.get(minute)

    strategy = make_strategy("placed", lambda when: answers(when.minute), interval="1m", places=3)
    reasons = [event.reasons[0].code for event in heard(strategy, market({}), end=5).records.rejected]
    assert reasons == ["repeated", "repeated"]


@pytest.mark.parametrize("places", [0, 1.5, True, "2"])
def test_places_are_a_whole_number(places: Any) -> None:
    with pytest.raises(UsageError, match=r"places must be .*\n.*say how many of its signals"):
        make_strategy("placed", lambda: None, interval="1m", places=places)


def test_what_has_no_places_says_so() -> None:
    with pytest.raises(UsageError, match="answers with weights, which say what is held in all: they have no places"):
        bknb.add_strategy("held", interval="1h", get_weight=lambda: 1.0, places=2)
    strategy = bknb.add_strategy("grid", interval="1m", get_signal=lambda: [buy("99", 99)], places=np.int64(2))
    assert strategy.places == 2
    rows = source(market({2: (100, 100, 98, 98)}))
    given_frame = {"exchange": rows, "frame": (ORIGIN, ORIGIN + 9 * MINUTE), "settings": FREE}
    with pytest.raises(UsageError, match="more of them would be open at once than there are places"):
        bknb.luck(bknb.backtest("BTCUSDT", strategy="grid", **given_frame))


def test_a_sweep_goes_through_the_event_engine_and_says_why_it_has_no_account() -> None:
    def get_signals(candles: Any, every: int = 2) -> Any:
        count = len(candles)
        return {"position": (np.arange(count) % every == 0) * 1, "price_take_profit": candles.close * 1.02,
                "price_stop_loss": candles.close * 0.98, "minute_estimated_time": np.full(count, 7.0)}  # fmt: skip

    strategy = bknb.add_strategy("cohorts", interval="5m", get_signals=get_signals, places=3, lookback=20)
    common: Any = {"exchange": "demo", "frame": "2024-01-01:2024-01-02"}
    swept = bknb.sweep(strategy, symbol="BTCUSDT", params={"every": [1, 2]}, metric="equity_final", **common)
    alone = bknb.backtest("BTCUSDT", strategy=strategy, **common)
    trades = swept.trades(1)
    assert trades["place"].tolist() == alone.trades["place"].tolist()
    assert len(trades) > 0
    assert not trades["adds"].any()
    assert bknb.statistics(trades)["equity_final"] is None
    assert [*swept.why_no_account] == [0, 1]


@pytest.mark.parametrize("managed", [False, True])
def test_the_check_for_look_ahead_shows_the_positions_of_all_places(managed: bool) -> None:  # noqa: FBT001
    """Whoever asks again, at each moment there are as many as in the run; the first question alone knows of no run."""
    seen: dict[tuple[str, int], set[int]] = {}

    def see(who: str, ctx: Any) -> int:
        seen.setdefault((who, ctx.when_ms), set()).add(len(ctx.positions))
        return len(ctx.positions)

    def get_signal(ctx: Any) -> Any:
        see("entries", ctx)
        busy = {position.place for position in ctx.positions}
        free = [name for name in NAMES if name not in busy]
        return [bknb.Signal(position="long", place=name, minute_estimated_time=9) for name in free[:1]]

    def manage(ctx: Any, position: Any) -> Any:
        return bknb.Close() if see(position.place, ctx) == 3 and position.place == "p1" else None

    own = {"manage": manage} if managed else {}
    strategy = make_strategy("looks", get_signal, interval="1m", places=4, **own)
    report = bknb.check_lookahead(strategy, exchange=source(walk(3)), frame=(ORIGIN, ORIGIN + 60 * MINUTE), moments=4)
    assert not report.findings, str(report)
    assert sum(len(counts) > 1 for counts in seen.values()) <= 1
    assert set().union(*seen.values()) >= {0, 1, 2, 3}
