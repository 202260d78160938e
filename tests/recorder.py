"""Sixty small scenarios and a digest of all observable output of each: it must not change with an internal change.

::

    python tests/recorder.py                     compare with tests/data/digests.json
    python tests/recorder.py --update            record again
    python tests/recorder.py --out FOLDER        write the bytes behind every digest, one file per world and aspect
    python tests/recorder.py --json FILE         write the digests to a file
    python tests/recorder.py --only WORLD        only worlds whose name holds this
    python tests/recorder.py --worlds NAME ...   only the worlds of these names

Two folders written with ``--out``, before and after a change, can be compared with ``diff -r``. What is left out of the
bytes is listed in :mod:`recorder_bytes`. Worlds use public names only, and random numbers of the standard library, so
they are the same with every version of numpy.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import gc
import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import random
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import recorder_bytes as say
from minute_clock import MinuteClock
from recorder_bytes import Ears, Told

import bknb
import bknb.brokers
import bknb.exchanges
import bknb.llm
import bknb.stores
from bknb.live.event_loop_lag import LagWatch
from bknb.provenance.source_code_and_hash import source_hash
from bknb.testing.clocks import SimulatedClock

PYTHON = "{}.{}".format(*sys.version_info)
DIGESTS = Path(__file__).parent / "data" / "digests.json"
REPLIES = Path(__file__).parent.parent / "notebooks" / "data" / "optimizer-replies.json"
ORIGIN = 1_704_067_200_000  # 2024-01-01 00:00 UTC
MINUTE = 60_000
LENGTH = 400
MODELS = ("pessimistic", "touch", "vwap")
SETTINGS = {"schedule_await_minutes": 30}
KEY = ("recorded", "BTCUSDT")


@dataclass(frozen=True)
class World:
    """One world: its name, what is done in it (given a folder of its own), and packages it cannot do without.

    ``same_python``: what it tells is written by Python's own library, whose words change from version to version.
    """

    name: str
    play: Callable[[Path], Told]
    needs: tuple[str, ...] = ()
    same_python: bool = False

    @property
    def missing(self) -> list[str]:
        """What it lacks here."""
        missing = [name for name in self.needs if importlib.util.find_spec(name) is None]
        python = written().get("python", PYTHON)
        return [*missing, f"Python {python}"] if self.same_python and python != PYTHON else missing


# --- markets and strategies ---------------------------------------------------------------------------------------


def minutes(seed: int, *, length: int = LENGTH, gaps: bool = False) -> list[tuple[float, ...]]:
    """A random walk of minutes that starts an hour before the frame and goes on a little after it."""
    chance = random.Random(f"market {seed}")  # noqa: S311
    rows, close = [], 100.0
    for minute in range(-60, length + 20):
        before, close = close, close * (1 + 0.007 * (sum(chance.random() for _ in range(4)) - 2))
        opened = before * (1 + 0.004 * (chance.random() - 0.5))
        high = max(opened, close) * (1 + 0.004 * chance.random())
        low = min(opened, close) * (1 - 0.004 * chance.random())
        volume = 25.0 * int(chance.random() * 4)
        missing = gaps and (minute == 77 or 200 < minute < 230)
        if not missing:
            rows.append((ORIGIN + minute * MINUTE, opened, high, low, close, volume))
    return rows


def source(rows: list[tuple[float, ...]]) -> Any:
    """An exchange that serves these rows."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=["timestamp", "open", "high", "low", "close", "volume"])
    frame["timestamp"] = frame["timestamp"].astype("int64")
    return bknb.exchanges.from_frame(frame, name="walk")


def levels(seed: int, when_ms: int, price: float) -> dict[str, Any] | None:
    """A random signal, or none; it depends on the moment and the price alone."""
    chance = random.Random(f"signal {seed} {when_ms}")  # noqa: S311
    if chance.random() < 0.6:
        return None
    sign = 1 if chance.random() < 0.5 else -1
    entry = price * (1 - sign * (chance.random() * 0.025 - 0.005))
    take, stop = (0.008 + chance.random() * 0.04 for _ in range(2))
    signal = {
        "position": "long" if sign > 0 else "short",
        "price_take_profit": entry * (1 + sign * take),
        "price_stop_loss": entry * (1 - sign * stop),
        "minute_estimated_time": 1 + int(chance.random() * 90),
        "note": f"drawn at {when_ms // MINUTE % 1440}",
    }
    return signal | ({"price_open": entry} if chance.random() < 0.5 else {})


def drawing(seed: int) -> Callable[..., Any]:
    """A strategy of random signals."""

    def get_signal(when: Any, price: float) -> dict[str, Any] | None:
        return levels(seed, round(when.timestamp() * 1000), price)

    return get_signal


def waiting(seed: int) -> Callable[..., Any]:
    """A strategy whose every signal waits for a price."""

    async def get_signal(ctx: Any) -> Any:
        signal = levels(seed, ctx.when_ms, ctx.price)
        if signal is None:
            return None
        sign = 1 if signal["position"] == "long" else -1
        entry = ctx.price * (1 - sign * 0.004)
        prices = {"price_take_profit": entry * (1 + sign * 0.012), "price_stop_loss": entry * (1 - sign * 0.009)}
        return bknb.Signal(**(signal | prices | {"price_open": entry}))

    return get_signal


def stumbling(seed: int) -> Callable[..., Any]:
    """A strategy that raises, breaks rules, and answers something else now and then."""

    def get_signal(ctx: Any) -> Any:
        signal, kind = levels(seed, ctx.when_ms, ctx.price), ctx.when_ms // MINUTE % 7
        if kind == 1:
            raise ValueError(f"cannot think at {ctx.price:.2f}")
        if signal is not None and kind == 2:
            return signal | {"price_stop_loss": signal["price_take_profit"], "minute_estimated_time": 0}
        if signal is not None and kind == 3:
            return signal | {"price_take_profit": float("nan")}
        return {"position": "up"} if kind == 4 else signal

    return get_signal


def averaging(ctx: Any) -> Any:
    """A strategy that looks at several intervals and at the ambient functions."""
    closes, higher = ctx.candles("5m", 8).close, bknb.get_candles(bknb.get_symbol(), "15m", 3)
    price = bknb.get_average_price(ctx.symbol)
    assert bknb.get_mode() in ("backtest", "live")
    sign = 1 if sum(closes.tolist()) / 8 < price else -1
    if abs(higher.high[-1] / higher.low[-1] - 1) < 0.002:
        return None
    return bknb.Signal(
        position="long" if sign > 0 else "short",
        price_take_profit=float(bknb.format_price(ctx.symbol, price * (1 + sign * 0.015))),
        price_stop_loss=price * (1 - sign * 0.01),
        minute_estimated_time=45,
        note=f"{bknb.get_when():%H:%M} {ctx.symbol}",
    )


def crossing(candles: Any, fast: int = 3, slow: int = 8, take: float = 1.5) -> dict[str, Any]:
    """A vectorised strategy: averages that cross."""
    import numpy as np

    closes = candles.close.tolist()

    def mean(length: int) -> list[float]:
        return [float("nan")] * (length - 1) + [
            sum(closes[at - length + 1 : at + 1]) / length for at in range(length - 1, len(closes))
        ]

    above = np.array(mean(fast)) > np.array(mean(slow))
    position = np.zeros(len(closes), np.int8)
    position[1:] = above[1:].astype(np.int8) - above[:-1].astype(np.int8)
    return {
        "position": position,
        "price_take_profit": candles.close * (1 + position * take / 100),
        "price_stop_loss": candles.close * (1 - position * 0.01),
        "minute_estimated_time": 40,
    }


def picky(request: bknb.RiskRequest) -> bool:
    """Not on every fourth minute."""
    return (request.when // MINUTE) % 4 != 0 and request.open_position_count == 0


def no_more_than_two(request: bknb.RiskRequest) -> str | None:
    """A rule that says in words why it refuses."""
    return "two are enough" if request.open_position_count >= 2 else None


# --- backtests ----------------------------------------------------------------------------------------------------


def add(name: str, function: Callable[..., Any], **options: Any) -> Any:
    return bknb.add_strategy(name, get_signal=function, **({"interval": "1m"} | options))


def run(strategy: Any, exchange: Any, *, length: int = LENGTH, **options: Any) -> Any:
    frame = (ORIGIN, ORIGIN + length * MINUTE)
    options = {"settings": SETTINGS, "frame": frame} | options
    return bknb.backtest("BTCUSDT", strategy=strategy, exchange=exchange, **options)


def backtested(seed: int, model: str, variant: str, folder: Path) -> Told:
    """One backtest with a listener on every subject."""
    with Ears() as ears:
        made = VARIANTS[variant](seed, model)
    told = say.told_by(made, folder=folder) | ears.told()
    told["moments"] = b"".join(moment(made, minute) for minute in (17, 120, 301))
    if importlib.util.find_spec("plotly") is not None and model == "pessimistic":
        told["figure"] = say.figure(made.figure())
    return told


def moment(made: Any, minute: int) -> bytes:
    """What is seen at one minute of a run."""
    try:
        there = made.at(made.start + minute * MINUTE)
    except bknb.BknbError as refused:
        return f"{refused}\n".encode()
    candles = there.candles("5m", 3)
    seen = [there.state, there.price, there.signal, candles.timestamp, candles.close, repr(there)]
    return say.one(seen)


def plain_world(seed: int, model: str) -> Any:
    return run(add("recorded", drawing(seed)), source(minutes(seed)), execution=model)


def with_risk(seed: int, model: str) -> Any:
    rules = [picky, {"validate": no_more_than_two, "note": "at most two"}]
    bknb.add_risk("calm", validations=rules)
    return run(add("recorded", drawing(seed), risk="calm", execution=model), source(minutes(seed)))


def scheduled(seed: int, model: str) -> Any:
    return run(add("recorded", waiting(seed)), source(minutes(seed)), execution=model)


def with_gaps(seed: int, model: str) -> Any:
    exchange = source(minutes(seed, gaps=True))
    return run(add("recorded", drawing(seed)), exchange, execution=model, allow_gaps=True)


def in_sessions(seed: int, model: str) -> Any:
    hours = bknb.Sessions.weekly("Asia/Tokyo", {"mon-fri": "09:00-11:30, 12:30-15:00"}, closed=["2024-01-02"])
    return run(
        add("recorded", drawing(seed), interval="5m"),
        bknb.exchanges.in_sessions(bknb.exchanges.demo(), hours),
        frame=("2024-01-04", "2024-01-06"),
        execution=model,
    )


def dearer(seed: int, model: str) -> Any:
    settings = {"percent_fee": 0.04, "percent_slippage": 0.02, "max_signal_lifetime_minutes": 60} | SETTINGS
    return run(add("recorded", drawing(seed)), source(minutes(seed)), execution=model, settings=settings)


def with_troubles(seed: int, model: str) -> Any:
    def on_open(event: Any) -> None:
        if event.when // MINUTE % 2:
            raise RuntimeError("a callback that fails")

    strategy = add("recorded", stumbling(seed), callbacks={"on_open": on_open}, interval="3m")
    return run(strategy, source(minutes(seed)), execution=model)


def with_intervals(seed: int, model: str) -> Any:
    def asked(symbol: str, interval: str, since: int, limit: int) -> list[tuple[float, ...]]:
        known = minutes(seed)
        return [row for row in known if row[0] >= since][:limit]

    exchange = bknb.add_exchange(
        "asked", get_candles=asked, intervals=["1m"], format_price=lambda symbol, price: f"{price:.3f}"
    )
    return run(add("recorded", averaging, interval="5m"), exchange, execution=model)


def vectorised(seed: int, model: str) -> Any:
    strategy = bknb.add_strategy("recorded", interval="5m", get_signals=crossing, params={"slow": 6 + seed % 5})
    return run(strategy, source(minutes(seed)), execution=model)


def named_frame(seed: int, model: str) -> Any:
    bknb.add_frame("half", start=ORIGIN + 30 * MINUTE, end=ORIGIN + 230 * MINUTE, interval="5m")
    bknb.add_exchange("walk", get_candles=source(minutes(seed)))
    add("recorded", drawing(seed))
    return run("recorded", "walk", frame="half", execution=model)


VARIANTS: dict[str, Callable[[int, str], Any]] = {
    "plain": plain_world,
    "risk": with_risk,
    "scheduled": scheduled,
    "gaps": with_gaps,
    "sessions": in_sessions,
    "dearer": dearer,
    "troubles": with_troubles,
    "intervals": with_intervals,
    "vectorised": vectorised,
    "frame": named_frame,
}


# --- live ---------------------------------------------------------------------------------------------------------


class JumpingClock(SimulatedClock):
    """A machine that sleeps through minutes: some waits end late, by up to an hour."""

    def __init__(self, start: int, seed: int) -> None:
        super().__init__(start)
        self._chance = random.Random(f"clock {seed}")  # noqa: S311

    async def sleep_until(self, when: int) -> None:
        late = int(self._chance.random() * 60) * MINUTE if self._chance.random() < 0.3 else 0
        await super().sleep_until(when + late + int(self._chance.random() * 900))


def lived(
    seed: int, folder: Path, *, jumping: bool = False, orders: bool = False, store: str = "files", **options: Any
) -> Told:
    """A live run with one restart, its state recorded after each part; also with a listener on every subject."""
    told: Told = {}
    exchange = source(minutes(seed))
    strategy = add("recorded", options.pop("function", drawing)(seed), **options.pop("strategy", {}))

    def clock() -> SimulatedClock:
        if orders:  # its desk pauses, too
            return MinuteClock(ORIGIN)
        return JumpingClock(ORIGIN, seed) if jumping else SimulatedClock(ORIGIN)

    def live(until: int, place: Any, clock: SimulatedClock, **more: Any) -> Any:
        task = bknb.Live.background(
            "BTCUSDT",
            strategy=strategy,
            exchange=exchange,
            settings=SETTINGS,
            clock=clock,
            until=ORIGIN + until * MINUTE,
            store=place,
            **more,
        )
        task.result(timeout=120)
        return task

    quiet, received, held = clock(), clock(), bknb.stores.memory()
    for life, until in (("first", 150), ("second", LENGTH)):
        place, snapshot = stored(store, folder)
        task = live(until, place, quiet, **options)
        output = say.told_by(task.result(), folder=folder) | {"orders": say.one(task.orders)}
        told |= {f"{aspect}, {life} life": bytes_ for aspect, bytes_ in output.items()}
        told[f"state, {life} life"] = snapshot()
        with Ears() as ears:  # a run of its own: when a listener was done is on the disk as well
            live(until, held, received, execution=options.get("execution"))
        told[f"listeners, {life} life"] = ears.told()["listeners"]
    return told


def stored(store: str, folder: Path) -> tuple[Any, Callable[[], bytes]]:
    """A store, and what it holds on the disk."""
    if store == "files":
        return bknb.stores.FileStore(folder / "state"), partial(say.files, folder / "state")
    if store == "sqlite":
        return bknb.stores.SqliteStore(folder / "state.db"), partial(say.rows_of_sqlite, folder / "state.db")
    held = bknb.stores.memory()
    return held, lambda: b""


def plainly_lived(seed: int, model: str, folder: Path) -> Told:
    return lived(seed, folder, execution=model)


def lived_with_risk(seed: int, model: str, folder: Path) -> Told:
    bknb.add_risk("calm", validations=[picky])
    return lived(seed, folder, jumping=True, strategy={"risk": "calm"}, execution=model)


def lived_in_sqlite(seed: int, model: str, folder: Path) -> Told:
    return lived(seed, folder, store="sqlite", function=waiting, execution=model)


def lived_with_troubles(seed: int, model: str, folder: Path) -> Told:
    return lived(seed, folder, store="memory", function=stumbling, jumping=True, execution=model)


def lived_with_orders(seed: int, model: str, folder: Path) -> Told:
    """With the paper broker. The clock does not wait, so only the orders are recorded, not each attempt."""
    journal = folder / "orders.jsonl"
    broker = bknb.brokers.paper(journal=journal)
    told = lived(seed, folder, orders=True, execution=model, broker=broker, quantity=2.0, late_minutes=10_000)
    return told | {"journal": journal.read_bytes(), "at the broker": say.one(broker.position("BTCUSDT"))}


LIVES: dict[str, Callable[[int, str, Path], Told]] = {
    "plain": plainly_lived,
    "risk": lived_with_risk,
    "sqlite": lived_in_sqlite,
    "troubles": lived_with_troubles,
}


# --- sweeps and comparisons ---------------------------------------------------------------------------------------


def swept(folder: Path, *, told_trades: bool = False, **changes: Any) -> Told:
    """A sweep with a ledger, and the same again from the ledger."""
    ledger = folder / "trials"
    options: dict[str, Any] = {
        "params": {"fast": [2, 3, 5], "slow": [8, 13], "take": [1.0, 2.0]},
        "symbol": "BTCUSDT",
        "exchange": source(minutes(5)),
        "frame": (ORIGIN, ORIGIN + LENGTH * MINUTE),
        "interval": "5m",
        "metric": "total_pnl",
        "executor": "inline",
        "ledger": ledger,
    }
    function = changes.pop("function", crossing)
    progress: list[tuple[int, int]] = []
    found = bknb.sweep(function, **options | changes, progress=lambda *at: progress.append(at))
    again = bknb.sweep(function, **options | changes)
    told = {
        "table": say.one(found.table),
        "ranking": say.one(found.ranking),
        "returns": say.one(found.returns),
        "best": say.one(found.best),
        "errors": say.one(found.errors),
        "counts": say.one([found.trials, found.from_ledger, again.trials, again.from_ledger, found.warnings]),
        "sharpes": say.one(found.trial_sharpes),
        "table from the ledger": say.one(again.table),
        "progress": say.one(progress[-1]),
        "ledger": say.trial_lines(ledger),
        "best as a run": say.one(found.run().trades),
        **say.texts(found, folder=folder),
    }
    return told | ({"trades": say.one(found.trades())} if told_trades else {})


def sweep_of_models(model: str, folder: Path) -> Told:
    return swept(folder, execution=model, keep_trades=True, told_trades=True)


def sweep_at_random(folder: Path) -> Told:
    return swept(folder, search="random", trials=6, seed=4, exchange="demo", symbol=["BTCUSDT", "ETHUSDT"],
                 frame=("2024-01-02", "2024-01-05"), interval="1h")  # fmt: skip


def sweep_of_questions(folder: Path) -> Told:
    def asked(ctx: Any, hold: int = 20, up: float = 1.0) -> Any:
        signal = levels(9, ctx.when_ms, ctx.price)
        if hold == 40 and up > 1.5:
            raise ValueError("not these two together")
        return None if signal is None else signal | {"minute_estimated_time": hold}

    return swept(folder, function=asked, params={"hold": [10, 20, 40], "up": [1.0, 2.0]})


def sweep_with_risk(folder: Path) -> Told:
    bknb.add_risk("calm", validations=[picky])
    strategy = bknb.add_strategy("swept", interval="5m", get_signals=crossing, risk="calm")
    return swept(folder, function=strategy, interval=None)


def compared(folder: Path) -> Told:
    """Strategies side by side, one of which fails."""
    exchange = bknb.add_exchange("walk", get_candles=source(minutes(6)))
    bknb.add_strategy("crossing", interval="5m", get_signals=crossing)
    add("drawing", drawing(6))
    add("waiting", waiting(6))
    add("stumbling", stumbling(6), interval="3m")
    received: list[str] = []
    bknb.add_walker(
        "all",
        exchange=exchange,
        frame=(ORIGIN, ORIGIN + LENGTH * MINUTE),
        strategies=["crossing", "drawing", "waiting", "stumbling"],
        metric="total_pnl",
        callbacks={
            "on_strategy_start": lambda strategy, symbol: received.append(f"start {strategy} {symbol}"),
            "on_strategy_complete": lambda step: received.append(
                f"end {step.strategy} {step.value!r} {step.best_strategy}"
            ),
            "on_complete": lambda comparison: received.append(f"over {comparison.best.strategy}"),
        },
    )
    with Ears() as ears:
        comparison = bknb.walker("BTCUSDT", walker="all", settings=SETTINGS)
    return {
        "ranking": say.one(comparison.to_pandas()),
        "callbacks": say.lines(received),
        "luck": say.one([comparison.deflated, comparison.overfitting]),
        **ears.told(),
        **say.texts(comparison, folder=folder),
        **{f"belief {name}": held for name, held in believed(comparison["drawing"], 4).items()},
    }


def believed(result: Any, trials: int) -> Told:
    belief = bknb.belief(result, trials=trials, resamples=200)
    return say.texts(belief) | {"table": say.one(belief.to_pandas())}


def walked_forward(folder: Path) -> Told:
    walk = bknb.walk_forward(
        crossing,
        {"fast": [2, 3], "slow": [8, 13]},
        exchange="demo",
        frame=("2024-01-01", "2024-01-15"),
        train="5d",
        test="3d",
        interval="1h",
        metric="total_pnl",
    )
    return say.texts(walk, folder=folder) | {"trades": say.one(walk.trades), "folds": say.one(walk.to_pandas())}


def held_out(folder: Path) -> Told:
    """Three looks at data that was kept back, by two strategies."""
    told: Told = {}
    path = folder / "openings.jsonl"
    exchange, frame = source(minutes(8)), (ORIGIN, ORIGIN + LENGTH * MINUTE)
    for at, function in enumerate((drawing(1), waiting(1), drawing(1)), start=1):
        strategy = add(f"look-{at % 2}", function)
        look = bknb.open_holdout(strategy, exchange=exchange, frame=frame, path=path, settings=SETTINGS)
        told |= {f"{name}, look {at}": held for name, held in say.texts(look, folder=folder).items()}
        told[f"verdict, look {at}"] = say.cleaned(look.verdict).encode()
        told[f"trades, look {at}"] = say.one(look.result.trades)
    return told | {"ledger": say.json_lines(path)}


def tallied(folder: Path) -> Told:
    """Heat, milestones, refusals, waiting and timings of the runs before, as reports and as files."""
    bknb.add_risk("calm", validations=[picky])
    add("tallied", waiting(3), risk="calm", interval="5m")
    options: dict[str, Any] = {"strategy": "tallied", "exchange": "demo", "frame": ("2024-01-01", "2024-01-03")}
    bknb.Performance.start()
    heat = bknb.Heat.run(["BTCUSDT", "ETHUSDT", "SOLUSDT"], **options)
    bknb.Performance.stop()
    timings = bknb.Performance.get_data("BTCUSDT", "tallied")
    written = [
        bknb.Backtest.dump("BTCUSDT", "tallied", folder / "out"),
        bknb.Heat.dump("tallied", folder / "out" / "heat"),
        bknb.Schedule.dump("BTCUSDT", "tallied", folder / "out" / "schedule"),
        bknb.Partial.dump(symbol="BTCUSDT", strategy="tallied", path=folder / "out" / "partial"),
        bknb.Risk.dump(symbol="BTCUSDT", strategy="tallied", path=folder / "out" / "risk"),
    ]
    trades = bknb.Backtest.get_data("ETHUSDT", "tallied").trades
    return {
        "metrics that are timed": say.lines(sorted(timing.metric for timing in timings.timings)),
        "names of files": say.lines(path.relative_to(folder).as_posix() for path in written),
        "files": say.cleaned(say.files(folder / "out").decode()).encode(),
        "statistics": say.one(dict(bknb.statistics(trades))),
        "heat statistics": say.one(bknb.heat_statistics(trades)),
        **{f"heat {name}": held for name, held in say.texts(heat).items()},
        **{f"schedule {name}": held for name, held in say.texts(bknb.Schedule.get_data("BTCUSDT", "tallied")).items()},
        **{f"partial {name}": held for name, held in say.texts(bknb.Partial.get_data(strategy="tallied")).items()},
        **{f"risk {name}": held for name, held in say.texts(bknb.Risk.get_data(strategy="tallied")).items()},
    }


def looked_ahead(folder: Path) -> Told:
    """A strategy that uses future candles, and one that does not."""

    def knowing(candles: Any) -> dict[str, Any]:
        import numpy as np

        after = np.append(candles.close[1:], candles.close[-1])
        position = np.where(after > candles.close, 1, -1)
        prices = {"price_take_profit": candles.close * (1 + position * 0.02)}
        return prices | {
            "position": position,
            "price_stop_loss": candles.close * (1 - position * 0.01),
            "minute_estimated_time": 60,
        }

    told: Told = {}
    for name, function in (("knowing", knowing), ("honest", averaging)):
        report = bknb.check_lookahead(
            function, exchange="demo", frame=("2024-01-01", "2024-01-06"), interval="1h", moments=12
        )
        told |= {f"{name} {aspect}": held for aspect, held in say.texts(report, folder=folder).items()}
        told[f"{name} is ok"] = say.one(report.ok)
    return told


# --- data, models, sizes ------------------------------------------------------------------------------------------


def downloaded(folder: Path) -> Told:
    """A store of candles: what a download says, what an audit says, what is read back."""
    store = folder / "candles"
    market = bknb.exchanges.stored(bknb.exchanges.demo(), folder=store)
    with redirect_stdout(StringIO()):
        done = bknb.download(
            ["BTCUSDT", "ETHUSDT"], exchange=market, start="2024-01-30", end="2024-02-02", folder=store, progress=False
        )
    audit = bknb.audit("BTCUSDT", exchange=market, start="2024-01-30", end="2024-02-02", folder=store)
    shelf = bknb.exchanges.from_store(store)
    kept = asyncio.run(shelf.get_candles("BTCUSDT", "1m", ORIGIN + 30 * 86_400_000, 1440))
    hours = (
        asyncio.run(shelf.get_candles("BTCUSDT", "1h", ORIGIN + 30 * 86_400_000, 24)) if "1h" in shelf.intervals else []
    )
    names = sorted(path.relative_to(store).as_posix() for path in store.rglob("*.parquet"))
    return {
        "names of files": say.lines(names),
        "candles": say.one([bknb.content_hash(kept), kept.close[:5], repr(kept), repr(hours)]),
        **{f"download {name}": held for name, held in say.texts(done, folder=folder).items()},
        **{f"audit {name}": held for name, held in say.texts(audit, folder=folder).items()},
    }


def optimized(folder: Path) -> Told:
    """A study with recorded replies: what was asked, what came of it, the ledger, the program and the notebook."""
    bknb.add_optimizer(
        "ideas",
        exchange="demo",
        sources=["1h"],
        range_train=["2024-01-01:2024-01-08", "2024-01-08:2024-01-15"],
        range_test="2024-01-22:2024-02-05",
        model=bknb.llm.recorded(REPLIES),
        tokens=6_000,
        lead_days=5,
        ledger=folder / "ledger",
    )
    with Ears() as ears:
        proposals = bknb.Optimizer.get_data("BTCUSDT", "ideas")
    told = {
        "ranking": say.one(proposals.ranking),
        "ledger": b"".join(
            path.name.encode() + b"\n" + say.json_lines(path, without={"at"})
            for path in sorted((folder / "ledger").rglob("*.jsonl"))
        ),
        "conversation": say.one(proposals.conversation(1)),
        "code": say.cleaned(bknb.Optimizer.get_code("BTCUSDT", "ideas")).encode(),
        "tokens": say.one(dict(proposals.tokens)),
        **ears.told(),
        **say.texts(proposals, folder=folder),
    }
    if importlib.util.find_spec("nbformat") is not None:
        written = bknb.Optimizer.dump("BTCUSDT", "ideas", folder / "notebook")
        held = json.loads(written.read_text())
        cells = [[cell["cell_type"], "".join(cell["source"])] for cell in held["cells"]]
        told["notebook"] = say.cleaned(say.one([written.name, cells]).decode()).encode()
    return told


def advised(folder: Path) -> Told:
    """A model asked inside a strategy: its answers are kept, and give the same run without a model."""
    answers = [
        {"position": "long", "note": "held", "price_open": 0, "price_take_profit": 62000, "price_stop_loss": 52000,
         "minute_estimated_time": 600},
        {"position": "wait", "note": "unclear", "price_open": 0, "price_take_profit": 0, "price_stop_loss": 0,
         "minute_estimated_time": 0},
    ]  # fmt: skip
    asked: list[Any] = []

    class Listening:
        name = "listening"

        def __init__(self) -> None:
            self._model = bknb.llm.recorded([json.dumps(answer) for answer in answers * 10])

        async def chat(self, messages: Any, **options: Any) -> Any:
            asked.append([messages, sorted(options), options.get("schema")])
            return await self._model.chat(messages, **options)

    def advice(model: Any) -> Any:
        async def get_signal(ctx: Any) -> Any:
            return await bknb.ask_model(
                "Buy when support holds.", model=model, candles={"1h": 12}, cache=folder / "answers"
            )

        return get_signal

    told: Told = {}
    model = bknb.llm.recording(Listening(), folder / "replies.json")
    for name, chosen in (("first", model), ("again", None)):
        result = bknb.backtest(
            "BTCUSDT", strategy=advice(chosen), interval="12h", exchange="demo", frame="2024-01-08:2024-01-12"
        )
        told |= {f"{name} trades": say.one(result.trades), f"{name} troubles": say.lines(result.errors)}
    return told | {
        "questions": say.lines(asked),
        "answers": say.files(folder / "answers"),
        "replies": (folder / "replies.json").read_bytes(),
    }


def sized(folder: Path) -> Told:
    bknb.add_sizing("fixed", method="fixed-percentage", risk_percentage=1, max_position_percentage=50)
    bknb.add_sizing("kelly", method="kelly-criterion", min_position_size=0.01)
    bknb.add_sizing("atr", method="atr-based", risk_percentage=2, atr_multiplier=3, max_position_size=4)
    call: dict[str, Any] = {"balance": 10_000, "price_open": 251.3}
    sizes = [
        bknb.PositionSize.fixed_percentage("BTCUSDT", price_stop_loss=241.7, sizing="fixed", **call),
        bknb.PositionSize.kelly_criterion("BTCUSDT", win_rate=0.54, win_loss_ratio=1.3, sizing="kelly", **call),
        bknb.PositionSize.atr_based("BTCUSDT", atr=7.31, sizing="atr", **call),
    ]
    constants = {name: getattr(bknb.Constant, name) for name in dir(bknb.Constant) if name.isupper()}
    return {
        "sizes": say.one(sizes),
        "constants": say.one(constants),
        "settings": say.one(bknb.get_config()),
        "refusals": refusals(),
    }


def refusals() -> bytes:
    """What bknb says to those who use it wrongly."""
    add("known", drawing(1))
    calls: list[Callable[[], Any]] = [
        lambda: bknb.backtest("BTCUSDT", strategy="knwon", exchange="demo", frame="2024-01-01:2024-01-02"),
        lambda: bknb.backtest("BTCUSDT", strategy="known", exchange="nowhere", frame="2024-01-01:2024-01-02"),
        lambda: bknb.backtest("BTCUSDT", strategy="known", exchange="demo", frame="2024-01-02:2024-01-01"),
        lambda: bknb.backtest("", strategy="known", exchange="demo", frame="2024-01-01:2024-01-02"),
        lambda: run("known", source(minutes(2, gaps=True))),
        lambda: run("known", "demo", execution="lucky"),
        lambda: run("known", "demo", settings={"percent_fees": 1}),
        lambda: run("known", "demo", settings={"percent_fee": -1, "min_take_profit_distance_percent": 0}),
        lambda: bknb.add_strategy("x", interval="7m", get_signal=drawing(1)),
        lambda: bknb.add_strategy("x", interval="1m", get_signal=drawing(1), callbacks={"on_opened": print}),
        lambda: bknb.add_frame("x", start="yesterday", end="2024-01-01"),
        lambda: bknb.add_sizing("x", method="fixed-percentage", risk=1),
        lambda: bknb.get_candles("BTCUSDT", "1m", 3),
        lambda: bknb.Live.get_data("BTCUSDT", "nobody"),
        lambda: bknb.statistics([{"closed_at": 1}]),
        lambda: bknb.exchanges.from_store("/nowhere"),
        lambda: bknb.verify("/nowhere.json"),
    ]
    told = []
    for call in calls:
        try:
            call()
        except Exception as refused:  # noqa: BLE001 -- its class and text are what is told
            told.append(f"{type(refused).__name__}: {refused}")
        else:
            told.append("not refused")
    return say.cleaned(say.lines(told).decode()).encode()


def carded(folder: Path) -> Told:
    """A card that is saved, loaded, and run again with something changed."""
    exchange = bknb.add_exchange("walk", get_candles=source(minutes(4)))
    result = run(add("recorded", drawing(4)), "walk")
    path = folder / "card.json"
    result.card.save(path)
    again = bknb.verify(path)
    other = bknb.verify(path, exchange=source(minutes(5)), settings={"percent_fee": 0.05})
    loaded = bknb.Card.load(path)
    assert exchange.name == "walk"
    return {
        "same": say.one([again.same, again.same_outcome, other.same]),
        "differences": say.lines(other.differences),
        "loaded": say.card(loaded),
        **{f"verified {name}": untold_versions(held) for name, held in say.texts(again).items()},
        **{f"changed {name}": untold_versions(held) for name, held in say.texts(other).items()},
    }


def untold_versions(held: bytes) -> bytes:
    """Without the line about what a card was made with."""
    return b"\n".join(line for line in held.split(b"\n") if b"made with something else" not in line)


# --- names, magics, commands --------------------------------------------------------------------------------------


def named(folder: Path) -> Told:
    """Every public name and how it is called; the module a class of ours lives in is left out."""
    signatures = []
    for name in sorted(bknb.__all__):
        thing = getattr(bknb, name)
        if inspect.ismodule(thing):
            parts = {f"{name}.{part}": getattr(thing, part) for part in getattr(thing, "__all__", ())}
        else:
            parts = {name: thing} | members(name, thing)
        for path, part in parts.items():
            signatures.append(f"{path}{signature(part)}")
    return {"signatures": say.lines(signatures)}


def members(name: str, thing: Any) -> dict[str, Any]:
    if not inspect.isclass(thing):
        return {}
    own = [part for part in sorted(dir(thing)) if not part.startswith("_")]
    return {f"{name}.{part}": inspect.getattr_static(thing, part) for part in own if not issubclass(thing, Exception)}


def signature(part: Any) -> str:
    part = getattr(part, "__func__", part)
    try:
        written = str(inspect.signature(part)) if callable(part) else ""
        return say.cleaned(re.sub(r"\bbknb\.(?:[a-z_0-9]+\.)+(?=[A-Z])", "", written))
    except (TypeError, ValueError):
        return ""


@contextmanager
def notebook() -> Iterator[Any]:
    """An IPython shell with bknb's magics."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell(config=config)
    try:
        yield shell
    finally:
        shell.run_line_magic("unload_ext", "bknb")
        atexit.unregister(shell.atexit_operations)
        shell.atexit_operations()


def magics(folder: Path) -> Told:
    """The help of every magic, and what some cells print."""
    from IPython.utils.capture import capture_output

    told: Told = {}
    with notebook() as shell:
        before = {kind: set(names) for kind, names in shell.magics_manager.magics.items()}
        shell.run_line_magic("load_ext", "bknb")
        after = shell.magics_manager.magics
        for kind, sign in (("line", "%"), ("cell", "%%")):
            for name in sorted(set(after[kind]) - before[kind]):
                with capture_output() as output:
                    shell.run_cell(f"{sign}{name} --help" + ("\npass" if kind == "cell" else ""))
                told[f"help of {sign}{name}"] = (output.stdout + output.stderr).encode()
        for at, cell in enumerate(CELLS, start=1):
            with capture_output() as output:
                shell.run_cell(cell)
            shown = [shown.data.get("text/plain", "") for shown in output.outputs]
            text = "\n".join([output.stdout, output.stderr, *shown])
            told[f"cell {at}"] = say.untimed(say.without_ids(say.cleaned(text, folder=folder))).encode()
    return told


CELLS = (
    "%exchange",
    "%frame first-days 2024-01-01 2024-01-04",
    "%%risk calm\ndef at_most_one(request):\n    return request.open_position_count < 1",
    """%%strategy dip --interval 1h --risk calm
import bknb
def get_signal(ctx):
    if ctx.price < ctx.candles("1h", 12).close.min() * 1.002:
        return bknb.Signal(position="long", price_take_profit=ctx.price * 1.015, price_stop_loss=ctx.price * 0.985,
                           minute_estimated_time=600)""",
    "%backtest BTCUSDT --strategy dip --exchange demo --frame first-days --out result",
    "print(repr(result))",
    "%why {result.trades.signal_id[0]}",
    "name = result.trades.signal_id[0]\n%why {name}",
    "%report --card --path card.json",
    "%backtest BTCUSDT --strategy dpi --exchange demo --frame first-days",
    "%backtest BTCUSDT --strateg dip",
    "%walker BTCUSDT --strategies dip --exchange demo --frame first-days --out compared",
    "%lookahead BTCUSDT --strategy dip --exchange demo --frame first-days",
)


def commands(folder: Path) -> Told:
    """The help of every command of the shell."""
    from importlib.metadata import entry_points

    (script,) = [each for each in entry_points(group="console_scripts") if each.name == "bknb"]
    main = script.load()
    told: Told = {}
    for words in ([], ["--help"], *([name, "--help"] for name in ("run", "lab", "doctor", "share", "verify"))):
        output = StringIO()
        with redirect_stdout(output), redirect_stderr(output):
            try:
                main(words)
            except SystemExit as left:
                output.write(f"\nexit {left.code}\n")
        told[" ".join(["bknb", *words])] = say.cleaned(output.getvalue()).encode()
    return told


# --- all of them --------------------------------------------------------------------------------------------------


def worlds() -> list[World]:
    """All worlds, in order."""
    made = [
        World(f"backtest {variant} {model}", partial(backtested, 100 + at * 3 + number, model, variant))
        for at, variant in enumerate(VARIANTS)
        for number, model in enumerate(MODELS)
    ]
    made += [
        World(f"live {name} {model}", partial(life, 200 + at * 3 + number, model))
        for at, (name, life) in enumerate(LIVES.items())
        for number, model in enumerate(MODELS)
    ]
    made.append(World("live orders", partial(lived_with_orders, 36, "touch")))
    sweep = ("numba", "cloudpickle")
    made += [World(f"sweep {model}", partial(sweep_of_models, model), sweep) for model in MODELS]
    return [
        *made,
        World("sweep at random", sweep_at_random, sweep),
        World("sweep of questions", sweep_of_questions, sweep),
        World("sweep with risk", sweep_with_risk, sweep),
        World("comparison", compared),
        World("walk forward", walked_forward, sweep),
        World("hold-out", held_out),
        World("tallies", tallied),
        World("lookahead", looked_ahead),
        World("candle store", downloaded, ("pyarrow",)),
        World("optimizer", optimized, same_python=True),
        World("asking a model", advised),
        World("sizes and refusals", sized),
        World("cards", carded),
        World("names", named, same_python=True),
        World("magics", magics, ("IPython", "ipywidgets", "plotly", "anywidget")),
        World("commands", commands, same_python=True),
    ]


def play(world: World) -> Told:
    """The output of a world, in a folder and, where the system can do it, a process of its own: names stay in there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        told = folder / "told"
        (folder / "world").mkdir()
        if not hasattr(os, "fork"):
            _play_in(world, folder / "world", told)
        else:
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    _play_in(world, folder / "world", told)
                    code = 0
                except BaseException:  # noqa: BLE001 -- the child must not go on as its parent
                    traceback.print_exc()
                finally:
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            if status != 0:
                raise RuntimeError(f"the world {world.name!r} did not come to its end")
        found: dict[str, str] = json.loads(told.read_text())
    return {aspect: bytes.fromhex(held) for aspect, held in found.items()}


def _play_in(world: World, folder: Path, told: Path) -> None:
    home = Path.cwd()
    os.chdir(folder)
    patient = partial(LagWatch, long_seconds=86_400.0)  # a computer that is busy is no trouble of a world
    try:
        with patch("bknb.live.runtime.LagWatch", patient):
            found = world.play(folder)
    except Exception:  # noqa: BLE001 -- the other worlds are told all the same
        traceback.print_exc()
        found = {"failure": traceback.format_exc().encode()}
    finally:
        os.chdir(home)
    told.write_text(json.dumps({aspect: held.hex() for aspect, held in found.items()}))


def digest(held: bytes) -> str:
    return hashlib.sha256(held).hexdigest()


def written() -> dict[str, Any]:
    """What is on file."""
    found: dict[str, Any] = json.loads(DIGESTS.read_text()) if DIGESTS.exists() else {}
    return found


def recorded() -> dict[str, dict[str, str]]:
    """The digests on file: world -> aspect -> digest."""
    found: dict[str, dict[str, str]] = written().get("worlds", {})
    return found


def differences(name: str, now: dict[str, str], before: dict[str, str]) -> list[str]:
    """Aspects of a world that are not what was recorded."""
    return [
        f"{name}: {aspect} {'is new' if aspect not in before else 'is gone' if aspect not in now else 'changed'}"
        for aspect in sorted(now.keys() | before.keys())
        if now.get(aspect) != before.get(aspect)
    ]


LOADED_ONCE = (
    *("pandas", "pyarrow.pandas_compat", "numba", "plotly.graph_objects", "bknb.runs.backtest", "bknb.runs.live_task"),
    *(
        "bknb.runs.sweep",
        "bknb.runs.heat_of_runs",
        "bknb.runs.schedule",
        "bknb.runs.performance",
        "bknb.runs.partial",
        "bknb.runs.risk",
        "bknb.runs.card_of_result",
        "bknb.runs.measured",
    ),
    *(
        "bknb.runs.stop_table",
        "bknb.runs.played_again",
        "bknb.engine.add_get_and_list_exchanges_frames_and_risks",
        "bknb.engine.add_get_and_list_strategies",
        "bknb.exchanges.from_csv_frame_and_parquet",
    ),
    *(
        "bknb.engine.get_signals_deadline_columns",
        "bknb.exchanges.demo_in_sessions_and_bundled",
        "bknb.market.content_hash_of_candles",
        "bknb.metrics.statistics",
        "bknb.provenance.card_file",
        "bknb.reports.backtest_report",
        "bknb.reports.sweep_report",
        "bknb.research.comparison",
        "bknb.research.tries_ledger",
        "bknb.runs.moment",
        "bknb.runs.walker",
    ),
    *("bknb.metrics.heat_of_symbols", "bknb.metrics.run_account", "bknb.reports.plots", "bknb.reports.backtest_info"),
    *("bknb.provenance.card", "bknb.provenance.card_differences", "bknb.provenance.account_card"),
    *("bknb.engine.plain_positions", "bknb.engine.get_signals_columns", "bknb.provenance.row_texts"),
)


def load_once() -> None:
    """Import what several worlds need, and do what is done once in a process: they are forked from this one."""
    for name in LOADED_ONCE:
        with suppress(ImportError):
            importlib.import_module(name)
    importlib.import_module("bknb.runs.card_of_result").made_with()
    with suppress(ImportError):  # a figure imports its own classes, the first compiled function most of numba and scipy
        graphs = importlib.import_module("plotly.graph_objects")
        axis = {"title": {"text": "x", "font": {}}}
        layout: dict[str, Any] = {"xaxis": axis, "yaxis": axis, "title": {}, "legend": {}, "margin": {}, "font": {}}
        layout |= {"hoverlabel": {}, "modebar": {}}
        graphs.Figure(graphs.Scatter(x=[0], y=[0], line={}, marker={"line": {}}), layout)
    with suppress(ImportError):
        importlib.import_module("numba").njit(abs_of)(-1.0)
    source_hash(abs_of)  # reads this file


def abs_of(number: float) -> float:
    return abs(number)


def main() -> int:
    """The command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="record again")
    parser.add_argument("--out", type=Path, help="folder for the bytes behind the digests")
    parser.add_argument("--json", type=Path, help="file for the digests")
    parser.add_argument("--only", default="", help="only worlds whose name holds this")
    parser.add_argument("--worlds", nargs="+", help="only the worlds of these names")
    chosen = parser.parse_args()
    os.environ["COLUMNS"] = "80"
    load_once()
    gc.collect()
    gc.freeze()  # nor is it walked in each world
    gc.set_threshold(50_000)  # few collections are needed in so short a world
    os.fsync = lambda handle: None  # nobody pulls the plug here, and it takes most of the time of a live run
    out = None if chosen.out is None else chosen.out.resolve()
    made: dict[str, dict[str, str]] = {}
    for world in worlds():
        asked = chosen.only in world.name and (chosen.worlds is None or world.name in chosen.worlds)
        if not asked or world.missing:
            continue
        told = play(world)
        made[world.name] = {aspect: digest(held) for aspect, held in told.items()}
        for aspect, held in told.items() if out is not None else ():
            assert out is not None
            path = out / world.name.replace(" ", "-") / aspect.replace("/", "-").replace(" ", "-")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(held)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps({"worlds": made}))
    failed = [name for name, now in made.items() if "failure" in now]
    if chosen.update and not failed:
        kept = recorded() if chosen.only or chosen.worlds else {}
        text = json.dumps(
            {"bknb": bknb.__version__, "python": PYTHON, "worlds": kept | made}, indent=1, ensure_ascii=False
        )
        DIGESTS.write_text(text + "\n")
    wrong = [text for name, now in made.items() for text in differences(name, now, recorded().get(name, {}))]
    print("\n".join([*wrong, f"{len(made)} worlds, {sum(map(len, made.values()))} aspects, {len(wrong)} differ"]))  # noqa: T201
    return 1 if wrong and chosen.json is None else 0


if __name__ == "__main__":
    sys.exit(main())
