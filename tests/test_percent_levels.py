"""Stops and targets in percent of what was paid: rows by hand, properties, live, and no money for nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from law_rules import RULES
from law_runs import Sample, paths
from managed import Heard, Row, in_percent, play
from scenarios import MINUTE, ORIGIN, source
from test_managed_properties import drawn, managing, told
from worlds import LENGTH, MODELS, SEEDS, SETTINGS, walk

import bknb
from bknb import Add, Move
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.registration_checks import make_strategy
from bknb.testing.clocks import SimulatedClock

IN = "opened 100 @m0"
END = "closed frame_end 100 @m30"
HALVES = [(2.0, 0.5), (4.0, 0.5)]


def long(stop: float | None = None, target: Any = None, **more: Any) -> bknb.Signal:
    return bknb.Signal(position="long", stop_percent=stop, target_percent=target, **more)


def short(stop: float | None = None, target: Any = None, **more: Any) -> bknb.Signal:
    return bknb.Signal(position="short", stop_percent=stop, target_percent=target, **more)


def at(low: float, high: float = 100.0) -> tuple[float, float, float, float]:
    return (100.0, max(high, 100.0), min(low, 100.0), 100.0)


ROWS = [
    Row("stop", long(2, 3), {3: at(98.1), 4: at(97.9)}, lines=[IN, "closed stop_loss 98 @m4"]),
    Row("target", long(2, 3), {3: at(100, 102.9), 4: at(100, 103.1)}, lines=[IN, "closed take_profit 103 @m4"]),
    Row("the fill counts, not the price of the question", long(2, 3), {0: (102, 102, 102, 102), 3: at(99.97),
        4: at(99.9)}, lines=["opened 102 @m0", "closed stop_loss 99.96 @m4"]),
    Row("a limit", long(5, 5, price_open=96.0), {3: at(95.9), 5: at(91.3), 6: at(91.1)},
        lines=["scheduled 96 @m0", "opened 96 @m3", "closed stop_loss 91.2 @m6"]),
    Row("a limit that a candle fills and stops on its way", long(5, 5, price_open=96.0), {3: at(91.0)},
        lines=["scheduled 96 @m0", "opened 96 @m3", "closed stop_loss 91.2 @m3 ambiguous"],
        touch=["scheduled 96 @m0", "cancelled price_reject @m3"]),
    Row("a limit with a gap has the levels of its open", long(5, 5, price_open=96.0), {3: (94, 94, 94, 94),
        4: at(89.4), 5: at(89.2)}, lines=["scheduled 96 @m0", "opened 94 @m3", "closed take_profit 100 @m4"],
        touch=["scheduled 96 @m0", "opened 96 @m3", "closed stop_loss 91.2 @m4"]),
    Row("a stop entry is not cancelled by a stop that is not there yet", long(2, None, price_open=104.0, entry="stop"),
        {2: at(99), 3: (100, 105, 100, 104), 4: (104, 104, 102, 104), 5: (104, 104, 101.9, 104)},
        lines=["scheduled 104 @m0", "opened 104 @m3", "closed stop_loss 101.92 @m5 ambiguous"]),
    Row("a stop entry with a price for its stop has it", long(None, 9, price_stop_loss=98.0, price_open=104.0,
        entry="stop"), {3: (100, 105, 100, 104), 5: (104, 104, 97, 104)},
        lines=["scheduled 104 @m0", "opened 104 @m3", "closed stop_loss 98 @m5"]),
    Row("a price for its stop cancels a stop entry on its way", long(None, 9, price_stop_loss=98.0, price_open=104.0,
        entry="stop"), {3: at(97)}, lines=["scheduled 104 @m0", "cancelled price_reject @m3"]),
    Row("a ladder", long(2, HALVES), {3: at(100, 102.5), 5: at(100, 104.5)},
        lines=[IN, "reduced take_profit 0.5 at 102 @m3, 0.5 left", "closed take_profit 104 @m5"]),
    Row("a ladder given in another order", long(2, HALVES[::-1]), {3: at(100, 102.5)},
        lines=[IN, "reduced take_profit 0.5 at 102 @m3, 0.5 left", END]),
    Row("an add moves both", long(5, 5), {4: (96, 96, 96, 96), 6: at(93.2), 7: at(100, 102.95)}, {4: Add(1)},
        lines=[IN, "added 1 at 96 @m4, 2 held", "moved strategy to 93.1 @m4", "closed take_profit 102.9 @m7"]),
    Row("an add moves what is left of a ladder", long(None, HALVES), {2: at(100, 102.5), 4: (96, 96, 96, 96),
        6: at(100, 101.8), 7: at(100, 102)}, {4: Add(1)}, lines=[IN, "reduced take_profit 0.5 at 102 @m2, 0.5 left",
        "added 1 at 96 @m4, 1.5 held", "moved strategy to none @m4", "reduced take_profit 0.5 at 101.92 @m7, 1 left",
        END]),
    Row("an add on the way moves the stop before it is reached", long(3), {5: at(96.5), 7: at(96.0)},
        {2: Add(1, price_open=98.0)}, lines=[IN, "added 1 at 98 @m5, 2 held", "moved strategy to 96.03 @m5",
        "closed stop_loss 96.03 @m7"]),
    Row("an add on the way, and the stop behind it", long(3), {5: at(96.0)}, {2: Add(1, price_open=98.0)},
        lines=[IN, "added 1 at 98 @m5, 2 held", "moved strategy to 96.03 @m5", "closed stop_loss 96.03 @m5"]),
    Row("a stop that an add at the open moved holds in its candle", long(3), {4: (98, 98, 96.5, 98), 5: (98,) * 4,
        6: (98, 98, 95, 98)}, {4: Add(1)}, lines=[IN, "added 1 at 98 @m4, 2 held", "moved strategy to 96.03 @m4",
        "closed stop_loss 96.03 @m6"]),
    Row("a stop that a limit at a gap moved holds in its candle", long(3), {4: (97.5, 97.5, 96, 97)},
        {2: Add(1, price_open=98.0)}, lines=[IN, "added 1 at 97.5 @m4, 2 held", "moved strategy to 95.7875 @m4", END],
        touch=[IN, "added 1 at 98 @m4, 2 held", "moved strategy to 96.03 @m4", "closed stop_loss 96.03 @m4"]),
    Row("a price stop stays where it is", long(None, 5, price_stop_loss=97.0), {5: at(96.5)},
        {2: Add(1, price_open=98.0)}, lines=[IN, "added 1 at 98 @m5, 2 held", "moved strategy to 97 @m5",
        "closed stop_loss 97 @m5"]),
    Row("a target that an add moved is looked at from the next candle on", long(None, 2), {5: at(94, 101.9),
        6: at(99, 101.9)}, {2: Add(1, price_open=98.0)}, lines=[IN, "added 1 at 98 @m5, 2 held",
        "moved strategy to none @m5", "closed take_profit 100.98 @m6"]),
    Row("a move", long(5), {4: at(99.1), 5: at(98.9)}, {3: Move(stop_percent=1)},
        lines=[IN, "moved strategy to 99 @m3", "closed stop_loss 99 @m5"]),
    Row("a move that is looser", long(1), {5: at(97)}, {3: Move(stop_percent=2)},
        lines=[IN, "closed stop_loss 99 @m5"]),
    Row("a looser move that is wanted, and an add", long(1), {4: (98.0,) * 4, 5: at(96.1), 6: at(95.9)},
        {3: Move(stop_percent=3, loosen=True), 4: Add(1)}, lines=[IN, "moved strategy to 97 @m3",
        "added 1 at 98 @m4, 2 held", "moved strategy to 96.03 @m4", "closed stop_loss 96.03 @m6"]),
    Row("a move of the target, and an add", long(), {4: (98.0,) * 4, 6: at(100, 103)},
        {3: Move(target_percent=4), 4: Add(1)}, lines=[IN, "moved strategy to none @m3", "added 1 at 98 @m4, 2 held",
        "moved strategy to none @m4", "closed take_profit 102.96 @m6"]),
    Row("a move to a ladder", long(), {6: at(100, 105)}, {3: Move(target_percent=[(4, 0.5), (2, 0.25)])},
        lines=[IN, "moved strategy to none @m3", "reduced take_profit 0.25 at 102 @m6, 0.75 left",
        "reduced take_profit 0.5 at 104 @m6, 0.25 left", END]),
    Row("a stop moved by price stays where an add finds it", long(5), {4: (98.0,) * 4, 6: at(96.9)},
        {3: Move(price_stop_loss=97), 4: Add(1)}, lines=[IN, "moved strategy to 97 @m3", "added 1 at 98 @m4, 2 held",
        "closed stop_loss 97 @m6"]),
    Row("levels on the grid, away from the market", long(2.4, 2.4), {3: at(97.6), 4: at(97.4)},
        settings={"price_tick": 0.5}, lines=[IN, "closed stop_loss 97.5 @m4"]),
    # shorts: percent of what was paid, so not the mirror of a long
    Row("a short", short(2, 3), {0: (98, 98, 98, 98), 3: at(95.1), 4: at(95.0)},
        lines=["opened 98 @m0", "closed stop_loss 100 @m1"], touch=["opened 98 @m0", "closed stop_loss 99.96 @m1"]),
    Row("a short's target", short(5, 3), {0: (98, 98, 98, 98), 3: at(95.1), 4: at(95.0)},
        lines=["opened 98 @m0", "closed take_profit 95.06 @m4"]),
    Row("a short's add moves both", short(5, 5), {4: (104,) * 4, 6: at(97.0)}, {4: Add(1)},
        lines=[IN, "added 1 at 104 @m4, 2 held", "moved strategy to 107.1 @m4", END]),
    # what is refused
    Row("both stops", long(2, price_stop_loss=95.0), lines=["rejected stop_percent @m0"]),
    Row("both targets", long(None, 2, price_take_profit=105.0), lines=["rejected target_percent @m0"]),
    Row("a stop of all that was paid", long(100), lines=["rejected stop_percent @m0"]),
    Row("a short's target of all that was paid", short(2, 100), lines=["rejected target_percent @m0"]),
    Row("no distance", long(0, -1), lines=["rejected stop_percent, target_percent @m0"]),
    Row("no number", long(float("nan"), float("inf")), lines=["rejected stop_percent, target_percent @m0"]),
    Row("a ladder of too much", long(2, [(2, 0.6), (4, 0.6)]), lines=["rejected ladder @m0"]),
    Row("a text", long("2"), lines=["rejected stop_percent @m0"]),  # type: ignore[arg-type]
    Row("nearer than the settings allow", long(0.5, 0.5), settings={"min_stop_loss_distance_percent": 1.0,
        "min_take_profit_distance_percent": 1.0}, lines=["rejected stop_loss_near, take_profit_near @m0"]),
    Row("farther than the settings allow", long(3), settings={"max_stop_loss_distance_percent": 2.0},
        lines=["rejected stop_loss_far @m0"]),
    Row("exactly as far as the settings allow", long(2, 2), settings={"max_stop_loss_distance_percent": 2.0,
        "min_take_profit_distance_percent": 2.0}, lines=[IN, END]),
    Row("a target that costs take", long(None, 0.1), settings={"percent_fee": 0.1},
        lines=["rejected take_profit_costs @m0"]),
    Row("a move with both", long(5), answers={3: Move(stop_percent=2, price_stop_loss=98)},
        lines=[IN, "rejected stop_percent @m3", END]),
    Row("moves that are no distance", long(5), answers={3: Move(stop_percent=0), 4: Move(target_percent=[(2, 2)])},
        lines=[IN, "rejected stop_percent @m3", "rejected ladder @m4", END]),
    Row("a move of the target to where the market is", long(5), {3: (104.0,) * 4}, {4: Move(target_percent=2)},
        lines=[IN, "rejected take_profit_side @m4", END]),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_levels_are_percent_of_what_was_paid(row: Row) -> None:
    for model in ("pessimistic", "touch"):
        assert play(row, model) == row.expected(model), model


def percent_strategy(seed: int, *, model: str = "pessimistic") -> Any:
    """Random signals and random managers, all levels in percent."""
    signal, manage = drawn(seed), managing(seed)
    return make_strategy(
        "percent",
        lambda when, price: in_percent(signal(when, price), price),
        interval="1m",
        manage=lambda when, position, price: in_percent(manage(when, position, price), price),
        manage_interval="1m",
        execution=model,
    )


def run(seed: int, model: str, *, every_minute: bool = False, tick: float | None = None) -> Heard:
    plan = plan_backtest(
        "BTCUSDT",
        strategy=percent_strategy(seed),
        exchange=source(walk(seed)),
        frame=(ORIGIN, ORIGIN + LENGTH * MINUTE),
        execution=model,
        settings=SETTINGS | {"price_tick": tick},
    )
    done = Heard(plan, every_minute=every_minute)
    asyncio.run(done.through())
    assert not done.records.failures, done.records.failures
    return done


@pytest.mark.slow
@settings(max_examples=4)
@given(model=st.sampled_from(MODELS), seed=SEEDS, tick=st.sampled_from([None, 0.05]))
def test_skipping_minutes_changes_nothing_and_levels_are_those_of_the_fill(
    model: str, seed: int, tick: float | None
) -> None:
    done = run(seed, model, tick=tick)
    assert told(done) == told(run(seed, model, tick=tick, every_minute=True))
    opened = [event.signal for event in done.heard if isinstance(event, bknb.Opened)]
    assert any(signal.stop_percent for signal in opened)
    for signal in opened:
        sign, near = 1 if signal.position == "long" else -1, tick or 1e-9
        if signal.stop_percent is not None:
            stop = signal.price_open * (1 - sign * signal.stop_percent / 100)
            assert signal.price_stop_loss == pytest.approx(stop, abs=near)
        far = [signal.price_open * (1 + sign * target.price / 100) for target in signal.percent_targets]
        assert [target.price for target in signal.targets] == pytest.approx(far if signal.targets else [], abs=near)
        assert signal.price_take_profit == (pytest.approx(far[-1], abs=near) if far else None)


@pytest.mark.slow
@settings(max_examples=2)
@given(model=st.sampled_from(MODELS), seed=SEEDS)
def test_live_is_a_backtest(model: str, seed: int) -> None:
    until, exchange = ORIGIN + 120 * MINUTE, source(walk(seed))
    strategy = percent_strategy(seed, model=model)
    task = bknb.Live.background(
        "BTCUSDT", strategy=strategy, exchange=exchange, clock=SimulatedClock(ORIGIN), until=until,
        store=bknb.stores.memory(), settings=SETTINGS,
    )  # fmt: skip
    live = task.result(timeout=60).run_record.records
    past = bknb.backtest(
        "BTCUSDT", strategy=strategy, exchange=exchange, frame=(ORIGIN, until), settings=SETTINGS
    ).run_record.records
    for kind in ("events", "positions", "rejected"):
        both = [
            [
                msgspec.json.encode(msgspec.structs.replace(event, mode="live", frame=None))
                for event in getattr(records, kind)
                if event.when < until
            ]
            for records in (live, past)
        ]
        assert both[0] == both[1], kind


# --- the law: on a martingale of single ticks nothing earns -----------------------------------------------------------

PLANS: dict[str, tuple[Any, Any]] = {
    "add near": (
        lambda side, close: side(None, 0.015, minute_estimated_time=3),
        lambda sign, close: [bknb.Cancel(), Add(3.0, price_open=close - sign * 2)],
    ),
    "add on the way to the stop": (
        lambda side, close: side(0.05, 0.05, minute_estimated_time=25),
        lambda sign, close: [bknb.Cancel(), Add(1.0, price_open=close - sign * 4)],
    ),
    "limit": (
        lambda side, close: side(0.02, 0.02, price_open=close - (3 if side is long else -3), minute_estimated_time=9),
        None,
    ),
    "stop entry": (
        lambda side, close: side(0.01, 0.05, price_open=close + (4 if side is long else -4), entry="stop",
                                 minute_estimated_time=9),
        None,
    ),
}  # fmt: skip


def earned(market: Any, rule: str, plan: str) -> list[float]:
    """The results of a rule with a plan on a path, in basis points."""
    sides, opens, manages = RULES[rule](market), *PLANS[plan]
    row = {int(t) + MINUTE: at for at, t in enumerate(market.times)}

    def get_signal(ctx: Any) -> Any:
        at = row[ctx.when_ms]
        return None if not sides[at] else opens(long if sides[at] > 0 else short, float(market.close[at]))

    def manage(ctx: Any, position: bknb.HeldPosition) -> Any:
        if manages is None or not position.size:
            return None
        return manages(position.sign, float(market.close[row[ctx.when_ms]]))

    plan_ = plan_backtest(
        "BTCUSDT",
        strategy=make_strategy("law", get_signal, interval="1m", manage=manage, manage_interval="1m"),
        exchange=market.source,
        frame=market.frame,
        settings={"percent_fee": 0.0, "percent_slippage": 0.0, "max_adds": 50, "price_tick": 1.0},
    )
    done = BacktestRun(plan_)
    asyncio.run(done.through())
    assert not done.records.failures
    return [100 * event.pnl.pnl_percentage for event in done.records.closed]


@pytest.mark.slow
def test_no_rule_earns_with_percent_levels() -> None:
    for plan in PLANS:
        for rule in ("at_once_again", "near_low"):
            results = Sample(
                [
                    each
                    for kind in ("plain", "gaps")
                    for market in paths(kind, 3, 150)
                    for each in earned(market, rule, plan)
                ]
            )
            assert len(results) > 100, (plan, rule)
            assert results.t < 3.5, (plan, rule, results)


def test_sizing_takes_the_percentage_from_the_price_of_the_order() -> None:
    """The last close is 104 where the average of five minutes is 100.8: a hundredth of 10 400 is lost at 4 % of 104."""
    rows = [(ORIGIN + k * MINUTE, *((104.0,) * 4 if k >= -1 else (100.0,) * 4), 100.0) for k in range(-60, 40)]
    result = bknb.backtest(
        "BTCUSDT",
        strategy=make_strategy("sized", lambda when: long(4) if when.minute == 0 else None, interval="1m"),
        exchange=source(rows),
        frame=(ORIGIN, ORIGIN + 30 * MINUTE),
        capital=10_400,
        sizing=bknb.size.Risk(1),
        account=bknb.Margin(leverage=2),
        costs=bknb.Costs(taker=0, maker=0, slippage=0),
        settings={"percent_fee": 0.0, "percent_slippage": 0.0},
    )
    assert result.trades["price_stop_loss"].tolist() == pytest.approx([99.84])
    assert result.fills["quantity"].tolist()[0] == pytest.approx(104 / 4.16)


COLUMNS: dict[str, Any] = {"exchange": source(walk(5)), "frame": (ORIGIN, ORIGIN + LENGTH * MINUTE), "interval": "1m"}


def get_signals(candles: Any, far: float = 1.0) -> dict[str, Any]:
    side = np.where(candles.timestamp // MINUTE % 7 == 0, 1, np.where(candles.timestamp // MINUTE % 11 == 0, -1, 0))
    return {
        "position": side,
        "minute_estimated_time": 20,
        "stop_percent": np.where(side > 0, far, np.nan),
        "target_percent": far,
        "size": np.where(side > 0, 0.5, np.nan),
    }


def test_columns_are_what_a_get_signal_answers() -> None:
    def get_signal(when: Any) -> Any:
        minute = round(when.timestamp() * 1000) // MINUTE - 1
        if minute % 7 and minute % 11:
            return None
        of_side = {"stop_percent": 1.0, "size": 0.5} if minute % 7 == 0 else {}
        side = "long" if minute % 7 == 0 else "short"
        return bknb.Signal(position=side, minute_estimated_time=20, target_percent=1.0, **of_side)

    run = COLUMNS | {"settings": SETTINGS}
    rows, asked = (bknb.backtest("BTCUSDT", strategy=each, **run) for each in (get_signals, get_signal))
    assert len(rows.trades) > 20
    assert rows.trades.drop(columns=["strategy", "signal_id"]).equals(
        asked.trades.drop(columns=["strategy", "signal_id"])
    )


@pytest.mark.slow
def test_a_sweep_of_percent_columns_has_the_trades_of_a_backtest() -> None:
    run = COLUMNS | {"settings": SETTINGS}
    rows = bknb.backtest("BTCUSDT", strategy=get_signals, **run)
    swept = bknb.sweep(get_signals, symbol="BTCUSDT", params={"far": [1.0, 2.0]}, metric="total_pnl", **run)
    assert not any("event engine" in text for text in swept.warnings)
    total = dict(zip(swept.ranking["far"], swept.ranking["total_pnl"], strict=True))
    assert total[1.0] == pytest.approx(rows.stats["total_pnl"])
    assert total[1.0] != total[2.0]


def test_sizes_that_differ_as_they_are_sums_of_32_bit_floats_are_told_so() -> None:
    def get_signals(candles: Any) -> dict[str, Any]:
        sums = np.cumsum(candles.close.astype(np.float32))
        side = candles.timestamp // MINUTE % 7 == 0
        size = 1e-4 * np.append(sums[:9], sums[9:] - np.append(np.float32(0), sums[:-10])[: len(sums) - 9])
        return {"position": side, "minute_estimated_time": 20, "stop_percent": 1.0, "target_percent": 1.0, "size": size}

    strategy = bknb.add_strategy("sums", interval="1m", get_signals=get_signals, lookback=30)
    result = bknb.backtest("BTCUSDT", strategy=strategy, settings=SETTINGS, **COLUMNS)
    assert any("32-bit floats): sums of these depend on where they begin" in text for text in result.warnings)


def test_a_row_has_a_price_or_a_percentage() -> None:
    rows = {"position": 1, "price_take_profit": 110.0, "stop_percent": 2.0, "minute_estimated_time": 5, "size": -1.0}

    def run(columns: dict[str, Any]) -> bknb.Result:
        market, frame = source(walk(5)), (ORIGIN, ORIGIN + 3 * MINUTE)
        return bknb.backtest("B", strategy=lambda candles: columns, exchange=market, frame=frame, interval="1m")

    rejected = run(rows | {"target_percent": 3.0}).run_record.records.rejected
    assert {reason.code for event in rejected for reason in event.reasons} >= {"target_percent", "size"}
    with pytest.raises(bknb.UsageError, match="missing: price_take_profit"):
        run({name: value for name, value in rows.items() if name != "price_take_profit"})
