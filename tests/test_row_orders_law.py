"""Columns of several entries, levels in percent and sizes on a martingale of single ticks: no rule earns with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from law_rules import RULES
from law_runs import LOOKBACK, SEEN, SETTINGS, Sample, paths, positions, total

from bknb.domain.fills_at_stops_and_gaps import EXECUTION_MODELS
from bknb.engine.plan import plan_backtest
from bknb.engine.registration_checks import make_strategy
from bknb.kernels import row_orders_loop as loop
from bknb.kernels import simulate as kernel
from bknb.sweeps import evaluate_combination
from bknb.sweeps.evaluate_combination import Evaluator
from bknb.sweeps.prepared_candles import prepare

if TYPE_CHECKING:
    from tick_paths import Path

pytestmark = pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaWarning")

NONE, MINUTES = np.nan, 300
Columns = Callable[[Any, Any], dict[str, Any]]


def competing(entry: int, stop: float = NONE, target: float = NONE, *, by_stop: bool, minutes: int = 3) -> Columns:
    """A long and a short so many ticks from the close; the rule says when."""

    def columns(close: Any, side: Any) -> dict[str, Any]:
        found: dict[str, Any] = {"stop_entry": by_stop, "minute_estimated_time": minutes}
        for name, sign in (("long", 1), ("short", -1)):
            level = np.where(side != 0, close + sign * entry * (1 if by_stop else -1), NONE)
            found[f"price_open_{name}"] = level
            found[f"price_stop_loss_{name}"] = level - sign * stop
            found[f"price_take_profit_{name}"] = level + sign * target
        return found

    return columns


def ladder(step: int, stop: float = NONE, target: float = NONE, *, by_stop: bool, percent: bool = False) -> Columns:
    """Three parts, each a step behind the one before; levels from the close, in ticks or percent of what is paid."""

    def columns(close: Any, side: Any) -> dict[str, Any]:
        way = side * (1 if by_stop else -1)
        far = {"stop_percent": stop, "target_percent": target} if percent else {}
        prices = (NONE, NONE) if percent else (close - side * (stop + 3 * step), close + side * (target + 3 * step))
        parts = {f"open_{k}": np.where(side != 0, close + way * step * k, NONE) for k in (1, 2, 3)}
        shares = {f"open_share_{k}": share for k, share in ((1, 0.2), (2, 0.3), (3, 0.5))}
        levels = {"price_stop_loss": prices[0], "price_take_profit": prices[1], "minute_estimated_time": 8}
        return {"position": side, "stop_entry": by_stop, **levels, **parts, **shares, **far}

    return columns


def percents(stop: float, target: float, entry: int | None = None, *, by_stop: bool = False, **more: Any) -> Columns:
    """One entry with levels in percent of what is paid."""

    def columns(close: Any, side: Any) -> dict[str, Any]:
        level = NONE if entry is None else close + side * entry * (1 if by_stop else -1)
        found = {"position": side, "stop_percent": stop, "target_percent": target, "minute_estimated_time": 10}
        return found | {"price_open": level, "stop_entry": by_stop, **more}

    return columns


COLUMNS: dict[str, Columns] = {
    "straddle": competing(6, by_stop=True),
    "straddle, stops": competing(6, 9, by_stop=True),
    "straddle, stops and targets": competing(10, 6, 14, by_stop=True, minutes=12),
    "both limits": competing(6, by_stop=False),
    "both limits, stops and targets": competing(6, 5, 8, by_stop=False, minutes=12),
    "limits": ladder(5, by_stop=False),
    "limits, stop and target": ladder(4, 10, 8, by_stop=False),
    "limits, percent": ladder(4, 0.12, 0.1, by_stop=False, percent=True),
    "breakouts": ladder(5, by_stop=True),
    "breakouts, stop and target": ladder(5, 20, 12, by_stop=True),
    "breakouts, percent": ladder(5, 0.12, 0.1, by_stop=True, percent=True),
    "market, percent": percents(0.1, 0.15),
    "limit, percent": percents(0.08, 0.08, 5),
    "breakout, percent, half": percents(0.08, 0.12, 6, by_stop=True, size=0.5),
    "market, percent, bars": percents(0.2, 0.2, bars=4),
    "market, percent, until": percents(0.2, 0.2, until="5m"),
    "breakout, trailing": percents(0.15, NONE, 6, by_stop=True, trailing_percent=0.1),
}
FEW_RULES = ("with_last", "against_last", "near_high", "near_low", "at_once_again", "on_volume", "against_gap")


def earned(markets: Iterable[Path], names: Iterable[str], rules: Iterable[str]) -> dict[tuple[str, str], Sample]:
    """The money of all positions by columns and rule: basis points of the cost of their first fills."""
    names, rules = list(names), list(rules)
    found: dict[tuple[str, str], list[Sample]] = {}
    for market in markets:

        def get_signals(candles: Any, columns: str = "", rule: str = "", market: Path = market) -> dict[str, Any]:
            rows = np.searchsorted(market.times, candles.timestamp)
            side = RULES[rule](market)[rows].astype(np.float64)
            return {"price_take_profit": NONE, "price_stop_loss": NONE} | COLUMNS[columns](candles.close, side)

        plan = plan_backtest(
            "BTCUSDT",
            strategy=make_strategy("law", interval="1m", get_signals=get_signals, lookback=LOOKBACK),
            exchange=market.source,
            frame=market.frame,
            execution="pessimistic",
            settings=SETTINGS | {"price_tick": 1.0, "schedule_await_minutes": 4},
            allow_gaps=True,
        )
        evaluator = Evaluator(plan, asyncio.run(prepare(plan)), keep_ends=True)
        for name in names:
            for rule in rules:
                outcome = evaluator.evaluate({"columns": name, "rule": rule})
                assert not outcome.error, outcome.error
                assert outcome.ends is not None
                opened = positions(outcome.ends)
                found.setdefault((name, rule), []).append(Sample(opened[:, kernel.NET] * 100))
    return {key: total(parts) for key, parts in found.items()}


def check(by: dict[tuple[str, str], Sample], least: int) -> None:
    for name in COLUMNS:
        assert sum(len(sample) for (columns, _), sample in by.items() if columns == name) >= least, name
    assert not {key: sample for key, sample in by.items() if sample.t > SEEN}


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, pytest.param(12, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", ["gaps", "clusters", pytest.param("holes", marks=pytest.mark.long)])
def test_no_rule_earns_with_these_columns(kind: str, count: int) -> None:
    check(earned(paths(kind, count, MINUTES), COLUMNS, FEW_RULES), least=100 * count)


@pytest.mark.slow
def test_the_choice_of_the_better_of_two_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    worth = loop._worth
    monkeypatch.setattr(evaluate_combination, "simulate_orders", loop.simulate_orders_plain)
    monkeypatch.setattr(loop, "_worth", lambda *given: -worth(*given))
    by = earned([*paths("gaps", 2, MINUTES), *paths("clusters", 2, MINUTES)], ["straddle"], ["at_once_again"])
    assert by["straddle", "at_once_again"].t > SEEN, by


@pytest.mark.slow
def test_a_target_before_the_stop_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = EXECUTION_MODELS["pessimistic"]
    monkeypatch.setitem(EXECUTION_MODELS, "pessimistic", model._replace(stop_first=False))
    names = ["market, percent"]
    by = earned([*paths("gaps", 4, MINUTES), *paths("clusters", 4, MINUTES)], names, ["at_once_again"])
    assert by["market, percent", "at_once_again"].t > SEEN, by
