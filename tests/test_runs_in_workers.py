"""Portfolios, walkers and walk-forwards with an executor: the same rows, events, warnings and tries as in one process.

A pool of threads does all that processes do but the killing: everything is pickled on the way there and back.
"""

from __future__ import annotations

import asyncio
import linecache
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bknb
from bknb.engine.milestones_in_columns import milestones_of
from bknb.engine.plan import open_window, plan_backtest
from bknb.engine.registration_checks import as_source
from bknb.engine.runs_in_workers import prepared_candles, run_done, wanted_of
from bknb.events.listen import drain
from bknb.runs.portfolio_workers import units_of
from bknb.runs.tries import keep_in
from bknb.runs.walker import _plan as walker_plan
from bknb.sweeps import worker_pool
from bknb.sweeps.packed_plans import pickled
from bknb.sweeps.units import Call

FRAME = ("2024-01-01", "2024-01-06")
SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


def mean(ctx: Any, count: int = 10, up: float = 1.01) -> Any:
    """Reads a series of another interval, and fails once a day."""
    if ctx.when.hour == 5:
        raise ValueError("at five")
    close = ctx.candles("15m", 40).close
    if close[-count:].mean() > close.mean():
        return bknb.Signal(
            position="long",
            price_take_profit=ctx.price * up,
            price_stop_loss=ctx.price * 0.99,
            minute_estimated_time=600,
        )
    return None


def falls(ctx: Any) -> Any:
    """Rests an entry, and fails once a day."""
    if ctx.when.hour == 23:
        raise ValueError("late")
    close = ctx.candles("1h", 3).close
    if close[-1] < close[0]:
        return bknb.Signal(
            position="short",
            price_open=ctx.price * 1.002,
            price_take_profit=ctx.price * 0.99,
            price_stop_loss=ctx.price * 1.01,
            minute_estimated_time=300,
        )
    return None


def rows(candles: Any, less: float = 0.99) -> Any:
    """Vectorised."""
    return {
        "position": candles.close > candles.open,
        "price_take_profit": candles.close * 1.01,
        "price_stop_loss": candles.close * less,
        "minute_estimated_time": 240,
    }


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


@pytest.fixture(autouse=True)
def strategies() -> None:
    """Those that are run, anew for each test."""
    bknb.add_strategy("mean", get_signal=mean, interval="1h")
    bknb.add_strategy("falls", get_signal=falls, interval="2h")
    bknb.add_strategy("rows", get_signals=rows, interval="4h")


def assert_same_result(one: bknb.Result, other: bknb.Result) -> None:
    assert one.run_record.records == other.run_record.records
    assert one.candles == other.candles
    assert one.run_record.fingerprints() == other.run_record.fingerprints()
    assert (one.stats, one.account) == (other.stats, other.account)
    assert_same_tries(one.run_record.tries, other.run_record.tries)
    assert one.run_record.manages == other.run_record.manages


def assert_same_tries(one: Any, other: Any) -> None:
    counted = [None if tries is None else (tries.number, tries.count, tries.of, tries.on) for tries in (one, other)]
    assert counted[0] == counted[1]


def assert_same(one: bknb.PortfolioResult, other: bknb.PortfolioResult) -> None:
    pd.testing.assert_frame_equal(one.trades, other.trades, check_exact=True)
    assert one.events == other.events
    assert one.warnings == other.warnings
    assert list(one.legs) == list(other.legs)
    for leg, result in one.legs.items():
        assert_same_result(result, other.legs[leg])


def ledger_of(folder: Path, executor: object) -> None:
    """Each executor counts tries in a ledger of its own."""
    keep_in(folder / f"{executor is None}.jsonl")


def portfolio(**changes: Any) -> bknb.PortfolioResult:
    options: dict[str, Any] = {"symbols": SYMBOLS, "strategies": ["mean", "falls", "rows"]}
    return bknb.portfolio(**(options | {"exchange": "demo", "frame": FRAME} | changes))


# --- portfolios ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_portfolio_in_workers_is_that_of_one_process_and_is_told_in_the_same_order(
    pool: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """Callbacks are called, listeners hear, and ``run`` yields in the order of the clock; failures are counted."""
    told: dict[str, list[Any]] = {}

    def note(kind: str) -> Any:
        def called(event: Any) -> None:
            told.setdefault(kind, []).append((event.symbol, event.strategy, event.when, type(event).__name__))
            if kind == "closes" and len(told[kind]) == 3:
                raise KeyError("the third")

        return called

    bknb.add_strategy(
        "called", get_signal=falls, interval="30m", callbacks={"on_close": note("closes"), "on_tick": note("ticks")}
    )
    bknb.listen_signal_backtest(note("signals"))
    bknb.listen_error(note("errors"))
    one, other = SYMBOLS[:2]
    legs = [(one, "called"), (other, "called"), (other, "mean"), (one, "mean")]  # not in the order of their units
    given = {"legs": legs, "strategies": None, "symbols": None}
    found, heard = [], []
    for executor in (None, pool):
        ledger_of(tmp_path, executor)
        found.append(portfolio(executor=executor, **given))
        drain()
        heard.append({**told})
        told.clear()
    assert_same(*found)
    assert heard[0] == heard[1]
    assert len(heard[0]["closes"]) > 10
    assert {"errors", "ticks"} < set(heard[0])
    kinds = [[failure.kind for failure in leg.errors] for leg in found[1].legs.values()]
    assert ["callback", "strategy"] in kinds  # in the order of time, though that of the callback was counted last


def test_legs_that_share_candles_or_a_profile_are_one_unit() -> None:
    bknb.add_risk("one", validations=[lambda request: request.open_position_count < 1])
    bknb.add_strategy("shares", get_signal=falls, interval="1h", risk="one")
    from bknb.engine.plan import plan_backtest
    from bknb.engine.resolve import resolve_exchange

    exchange = resolve_exchange("demo")
    legs = [
        ("A", "mean"),
        ("B", "shares"),
        ("C", "mean"),
        ("A", "falls"),
        ("D", "shares"),
        ("C", "shares"),
        ("E", "mean"),
    ]
    plans = [plan_backtest(symbol, strategy, exchange, FRAME) for symbol, strategy in legs]
    assert units_of(plans) == [[0, 3], [1, 2, 4, 5], [6]]


def test_legs_that_share_run_in_one_process_and_the_result_says_so(
    pool: ThreadPoolExecutor,
) -> None:
    legs = {"symbols": SYMBOLS[:1], "strategies": ["mean", "falls"]}
    shared = portfolio(executor=pool, **legs)
    assert shared.warnings == [
        "it ran in one process whatever the executor: all its legs share their candles or a risk profile"
    ]
    pd.testing.assert_frame_equal(shared.trades, portfolio(**legs).trades, check_exact=True)
    money = portfolio(executor=pool, symbols=SYMBOLS[:2], strategies=["rows"], capital=1_000)
    assert any(warning.endswith("its legs share an account") for warning in money.warnings)


def test_the_first_leg_that_cannot_begin_ends_the_portfolio_as_in_one_process(pool: ThreadPoolExecutor) -> None:
    """Its error has the type and the text, and names the leg; a strategy that cannot be sent is refused."""

    def broken(candles: Any) -> Any:
        raise LookupError("no rows today")

    bknb.add_strategy("broken", get_signals=broken, interval="1h")
    raised: list[Any] = []
    for executor in (None, pool):
        with pytest.raises(bknb.errors.StrategyError, match="no rows today") as caught:
            portfolio(executor=executor, strategies=["mean", "broken"])
        raised.append(caught.value)
    assert str(raised[0]) == str(raised[1])
    assert raised[1].__notes__[-1] == raised[0].__notes__[-1] == "in the leg broken on BTCUSDT of a portfolio"
    lock = threading.Lock()
    with pytest.raises(bknb.UsageError, match="cannot be sent to a worker"):
        portfolio(executor=pool, strategies=[lambda: lock.locked() or None])
    with pytest.raises(bknb.UsageError, match="executor must be"):
        portfolio(executor="cluster")


@pytest.mark.slow
def test_a_portfolio_that_is_stopped_has_the_legs_that_are_done() -> None:
    """Paused, it begins no leg; stopped, it does not wait for one that goes on."""
    gate, began = threading.Event(), threading.Event()

    class Gated(ThreadPoolExecutor):
        """Does one unit; each after it waits for ever."""

        def submit(self, function: Any, /, call: Call) -> Any:  # type: ignore[override]
            if not began.is_set():
                began.set()
                return super().submit(function, call)
            return super().submit(gate.wait)

    options: dict[str, Any] = {"symbols": SYMBOLS, "strategies": ["falls"], "exchange": "demo", "frame": FRAME}
    with Gated(1) as gated:
        task = bknb.Portfolio.background(executor=gated, **options)
        task.pause()
        assert task.paused
        task.resume()
        while task.progress < 0.3:  # the first leg is done
            assert not task.wait(0.01)
        task.stop(now=True)
        result = task.result()
        gate.set()
    done, *left = result.legs.values()
    assert len(done.trades) > 0
    assert not done.stopped
    assert [(leg.stopped, len(leg.trades), len(leg.candles)) for leg in left] == [(True, 0, 0)] * 2
    assert any("stopped before these legs were done" in warning for warning in result.warnings)
    assert "falls on SOLUSDT" in result.report()


# --- walkers -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_walker_in_workers_is_that_of_one_process_step_by_step(pool: ThreadPoolExecutor, tmp_path: Path) -> None:
    """One strategy fails, one has callbacks; steps come in the order of the strategies."""
    closes: list[Any] = []

    def broken(candles: Any) -> Any:
        raise LookupError("no rows today")

    bknb.add_strategy("broken", get_signals=broken, interval="1h")
    bknb.add_strategy("called", get_signal=falls, interval="1h", callbacks={"on_close": closes.append})
    found, heard, steps = [], [], []
    bknb.listen_walker(lambda step: steps.append((step.strategy, step.value, step.error, step.tested)))
    for executor in (None, pool):
        ledger_of(tmp_path, executor)
        names = ["rows", "broken", "mean", "called"]
        found.append(
            bknb.walker(
                "BTCUSDT", exchange="demo", frame=FRAME, strategies=names, metric="total_pnl", executor=executor
            )
        )
        drain()
        heard.append(([*closes], [*steps]))
        closes.clear()
        steps.clear()
    assert heard[0] == heard[1]
    assert len(heard[0][0]) > 5
    assert [*found[0]] == [*found[1]]
    assert found[0].warnings == found[1].warnings
    for name, result in found[0].results.items():
        other = found[1][name]
        assert_same_result(result, other)
        assert (result.stats, result.measured) == (other.run_record.stats, other.run_record.measured)
        assert other.stats is other.run_record.stats
    assert found[0].report() == found[1].report()


# --- walk-forwards -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "params"), [(mean, {"count": [5, 12]}), (rows, {"less": [0.98, 0.99]})])
def test_a_walk_forward_in_workers_is_that_of_one_process(
    pool: ThreadPoolExecutor, tmp_path: Path, strategy: Any, params: Any
) -> None:
    found = []
    for executor in (None, pool):
        ledger_of(tmp_path, executor)
        options: dict[str, Any] = {"train": "2d", "test": "1d", "interval": "1h", "metric": "total_pnl"}
        found.append(bknb.walk_forward(strategy, params, exchange="demo", frame=FRAME, executor=executor, **options))
    one, other = found
    assert len(one.folds) == 3
    pd.testing.assert_frame_equal(one.trades, other.trades, check_exact=True)
    pd.testing.assert_frame_equal(one.to_pandas(), other.to_pandas(), check_exact=True)
    assert (one.account, one.warnings, one.report()) == (other.account, other.warnings, other.report())
    assert_same_tries(one.tries, other.tries)
    for left, right in zip(one.folds, other.folds, strict=True):
        assert_same_records(left.result, right.result)


def assert_same_records(one: bknb.Result, other: bknb.Result) -> None:
    assert one.run_record.records == other.run_record.records
    assert one.candles == other.candles


# --- processes -----------------------------------------------------------------------------------------------------


def made_in_a_cell() -> Any:
    """A function of no file, whose lines only this process knows."""
    cell: dict[str, Any] = {}
    name, text = "<ipython-input-7-cell>", "def sells(price):\n    raise OSError('in a cell')\n"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    exec(compile(text, name, "exec"), cell)  # noqa: S102
    return cell["sells"]


@pytest.mark.slow
def test_a_killed_worker_costs_its_leg_another_try(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A real process is really killed while it has a leg; what it runs is not in a file that another could import."""
    killed: list[int] = []
    ask, once = worker_pool.Worker.ask, threading.Lock()

    def ask_and_shoot(self: worker_pool.Worker, call: Call) -> Any:
        if once.acquire(blocking=False):
            killed.append(self.pid)
            os.kill(self.pid, signal.SIGKILL)
        return ask(self, call)

    monkeypatch.setattr(worker_pool.Worker, "ask", ask_and_shoot)
    found = []
    for executor in (None, 2):
        ledger_of(tmp_path, executor)
        legs: dict[str, Any] = {"symbols": SYMBOLS[:2], "strategies": [falls, made_in_a_cell()]}
        found.append(portfolio(executor=executor, **legs))
    assert_same(*found)
    assert len(killed) == 1
    (failure,) = found[1].leg("BTCUSDT", "sells").errors
    assert failure.where == "<ipython-input-7-cell>, line 2: raise OSError('in a cell')"


def test_a_leg_that_kills_every_worker_is_named() -> None:
    from bknb.sweeps.run_units import RunsElsewhere, RunUnit

    runs = RunsElsewhere(2, b"", 1, name=lambda at: f"leg {at}", warn=print)
    unit = RunUnit(0)
    assert [unit.fail(), unit.fail(), unit.fail()] == [True, True, False]
    runs._settle(unit, None)
    import asyncio

    with pytest.raises(bknb.BknbError, match="leg 0: the worker died 3 times with it"):
        asyncio.run(runs.outcome(0))


# --- sweeps --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_sweep_of_an_event_driven_strategy_fetches_its_candles_once(pool: ThreadPoolExecutor) -> None:
    """What was fetched and checked for all combinations is sent to the workers; figures are the same."""
    asked: list[tuple[str, int]] = []
    demo = bknb.exchanges.demo()

    async def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        asked.append((symbol, since))
        return await demo.get_candles(symbol, interval, since, limit)

    source, tables = as_source("counted", get_candles), []
    options: dict[str, Any] = {"params": {"up": [1.01, 1.02]}, "symbol": "BTCUSDT", "frame": FRAME, "interval": "1h"}
    for executor in (None, pool):
        asked.clear()
        found = bknb.sweep(counted(), exchange=source, executor=executor, metric="total_pnl", **options)
        tables.append(found.table)
        assert len(asked) == len(set(asked)) > 0
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def counted() -> Any:
    def rises(price: float, up: float = 1.01) -> Any:
        return {"position": "long", "price_take_profit": price * up, "price_stop_loss": price * 0.99, "bars": 5}

    return rises


def test_what_a_run_loads_in_a_worker_is_sent_back_once_and_is_there_for_the_next_one() -> None:
    """It reads 15m candles of before the frame: with them come minutes that reach further back."""
    plan = plan_backtest("BTCUSDT", "mean", "demo", FRAME)
    held = asyncio.run(prepared_candles(open_window(plan, warn=print), plan))
    first, second = (run_done(plan, wanted_of([plan]), held, lambda run: run.processed) for _ in range(2))
    assert {interval for _, interval in first.run.candles.series} == {"1m", "15m"}
    assert second.run.candles.series == {}
    assert first.run.records == second.run.records
    assert len(first.run.records.closed) > 2
    assert first.run.milestones == second.run.milestones
    assert len({each.level for each in milestones_of(first.run.milestones)}) > 2
    assert first.figures == second.figures > 100


@pytest.mark.slow
def test_a_walker_that_is_stopped_before_its_workers_are_there_begins_nothing(pool: ThreadPoolExecutor) -> None:
    for name in "ab":
        bknb.add_strategy(name, interval="1h", get_signal=lambda: None)
    given: dict[str, Any] = {"walker": None, "strategies": ["a", "b"], "metric": "total_pnl", "executor": pool}
    task = walker_plan("BTCUSDT", exchange="demo", frame=FRAME, **given)
    task.stop(now=True)
    comparison = task.start().result(60)
    assert comparison.stopped
    assert list(task.results) == []


# --- where nobody says where ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_much_work_is_done_in_workers_where_nothing_is_said_and_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison, a walk and a sweep, which are the same here; one that is heard, or cannot be sent, stays here."""
    for name in ("a", "b"):
        bknb.add_strategy(name, interval="1h", get_signal=counted())
    begun: list[Any] = []
    init = worker_pool.WorkerPool.__init__
    monkeypatch.setattr(
        worker_pool.WorkerPool, "__init__", lambda self, *given: (begun.append(given), init(self, *given))[1]
    )
    options: dict[str, Any] = {"symbol": "BTCUSDT", "exchange": "demo", "frame": FRAME}
    locked = threading.Lock()

    def cannot_be_sent(price: float, up: float = 1.01) -> Any:
        with locked:
            return counted()(price, up)

    def compared() -> Any:
        return bknb.walker(**options, strategies=["a", "b"], metric="total_pnl").to_pandas()

    def walked(strategy: Any = "a") -> Any:
        spans = {"train": "2d", "test": "1d", "metric": "total_pnl"}
        return bknb.walk_forward(strategy, {"up": [1.01, 1.02]}, interval="1h", **spans, **options).to_pandas()

    def swept(strategy: Any = "a") -> Any:
        given = {"params": {"up": [1.01, 1.02]}, "metric": "total_pnl", "interval": "1h"}
        return bknb.sweep(strategy, **given, **options).table

    works = (compared, walked, swept, lambda: walked(cannot_be_sent), lambda: swept(cannot_be_sent))
    here = [work() for work in works]
    assert begun == []
    monkeypatch.setattr("bknb.sweeps.executor_options.MUCH", 10)
    for work, table, count in zip(works, here, (1, 1, 1, 0, 0), strict=True):
        pd.testing.assert_frame_equal(work(), table, check_exact=True)
        assert len(begun) == count
        begun.clear()
    bknb.listen_walker(lambda _: None)
    pd.testing.assert_frame_equal(compared(), here[0], check_exact=True)
    assert begun == []


def test_an_exchange_that_refuses_is_asked_once_where_workers_were_to_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def refuses(*given: Any) -> Any:
        asked.append(given)
        raise bknb.UsageError("no such market")

    monkeypatch.setattr("bknb.sweeps.executor_options.MUCH", 10)
    options: dict[str, Any] = {"symbol": "BTCUSDT", "exchange": refuses, "frame": FRAME, "interval": "1h", "base": "1m"}
    with pytest.raises(bknb.UsageError, match="no such market"):
        bknb.sweep(counted(), params={"up": [1.01, 1.02]}, metric="total_pnl", **options)
    assert len(asked) == 1


# --- what is sent back ----------------------------------------------------------------------------------------------


def arrays(number: int) -> list[np.ndarray[Any, Any]]:
    """A small array, a large one, and a large one that nobody may write to."""
    fixed = np.arange(30_000) + number
    fixed.setflags(write=False)
    return [np.arange(3), np.arange(20_000.0), fixed]


@pytest.mark.parametrize("mapped", [True, False])
def test_large_arrays_come_through_a_file_as_they_were(tmp_path: Path, *, mapped: bool) -> None:
    from bknb.sweeps.run_units import received, work_on

    content = pickled((arrays, ()), [], purpose="a test")
    done, sent, file = work_on(content, 7, tmp_path / "7.arrays")
    assert done
    assert file is not None
    assert file[1] == (160_000, 240_000)
    assert len(sent) < 1_000
    small, free, fixed = received(sent, file, mapped=mapped)
    assert [each.tolist() for each in (small, free, fixed)] == [each.tolist() for each in arrays(7)]
    assert not fixed.flags.writeable
    free += 1
    assert free[0] == 1
    assert not [*tmp_path.iterdir()]


def test_large_arrays_come_with_the_rest_where_no_file_can_be_written(tmp_path: Path) -> None:
    from bknb.sweeps.run_units import received, work_on

    content = pickled((arrays, ()), [], purpose="a test")
    for place in (None, tmp_path / "nowhere" / "7.arrays"):
        _, sent, file = work_on(content, 7, place)
        assert file is None
        assert [each.tolist() for each in received(sent, file, mapped=True)] == [each.tolist() for each in arrays(7)]


# --- what a worker keeps --------------------------------------------------------------------------------------------


def seen(number: int, before: list[int], kept: dict[str, Any]) -> Any:
    """The numbers that this unit finds in what it was given, and in what its worker keeps."""
    found = [*before], [*kept["numbers"]], float(kept["closes"].sum())
    before.append(number)
    kept["numbers"].append(number)
    return found


@pytest.mark.slow
def test_candles_are_made_once_in_a_worker_and_what_is_of_the_user_for_each_unit() -> None:
    from bknb.sweeps.executors import starting_workers
    from bknb.sweeps.run_units import RunsElsewhere

    content = pickled((seen, ([],)), [], purpose="a test")
    kept = {"numbers": [], "closes": np.arange(20_000.0)}

    async def outcomes(executor: Any, started: Any = ()) -> list[Any]:
        runs = RunsElsewhere(executor, content, 3, name=str, warn=print, kept=kept, started=started)
        with runs:
            return [await runs.outcome(number) for number in range(3)]

    with starting_workers(1, 3, "bknb.sweeps.run_units") as started:
        (process,) = (worker.pid for worker in started)
        found = asyncio.run(outcomes(1, started))
    assert found == [([], [*range(number)], 199_990_000.0) for number in range(3)]
    assert kept["numbers"] == []
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.slow
def test_workers_end_where_what_they_need_cannot_be_had() -> None:
    from bknb.sweeps.executors import starting_workers

    processes: list[int] = []

    def fails() -> None:
        with starting_workers(2, 5) as started:
            processes.extend(worker.pid for worker in started)
            raise bknb.DataError("no candles")

    with pytest.raises(bknb.DataError):
        fails()
    assert len(processes) == 2
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    with starting_workers(None, 5) as started:
        assert started == []


# --- workers that are forks of one process ---------------------------------------------------------------------------


def who_works() -> tuple[int, int, float]:
    """The process, the one that started it, and a number from the generator that nobody seeded."""
    return os.getpid(), os.getppid(), float(np.random.random())  # noqa: NPY002 -- the one that a fork could share


def never_ends() -> None:
    threading.Event().wait()


@contextmanager
def sockets_held_open() -> Iterator[None]:
    """As a fork of this process would hold them: nothing that reads from here comes to an end when it is closed."""
    opened = [each for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    held = [os.dup(int(each.name)) for each in opened if str(each.readlink()).startswith("socket:")]
    assert held
    try:
        yield
    finally:
        for each in held:
            os.close(each)


needs_forks = pytest.mark.skipif(sys.platform != "linux", reason="each worker is an interpreter of its own here")


@needs_forks
@pytest.mark.slow
def test_workers_are_forks_that_share_no_randomness_and_end_while_they_work() -> None:
    from bknb.sweeps.executors import starting_workers
    from bknb.sweeps.fork_server import end_kept

    with starting_workers(2, 5, __name__) as started:
        pass
    (one, parent, drawn), (other, same_parent, drawn_there) = (each.ask((who_works, ())) for each in started)
    assert parent == same_parent != os.getpid()
    assert one != other
    assert drawn != drawn_there
    with ThreadPoolExecutor(2) as pool, sockets_held_open():
        busy = pool.submit(started[0].ask, (never_ends, ()))
        started[1].end()
        pool.submit(started[0].end).result(timeout=10)
        assert busy.result(timeout=10) is None
        with starting_workers(1, 1) as (later,):
            assert later.ask((who_works, ()))[1] == parent  # it was kept, with what it had imported
        end_kept()  # with the last of its workers
        assert later.ask((who_works, ()))[1] == parent
        later.end()
    assert started[1].ask((who_works, ())) is None
    for process in (one, other, parent):
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def folder_and_variable() -> tuple[str, str | None]:
    return str(Path.cwd()), os.environ.get("BKNB_OF_A_TEST")


@needs_forks
@pytest.mark.slow
def test_workers_have_the_folder_and_the_environment_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bknb.sweeps.executors import starting_workers

    for number in range(2):
        (folder := tmp_path / str(number)).mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("BKNB_OF_A_TEST", str(number))
        with starting_workers(1, 1) as (worker,):
            assert worker.ask((folder_and_variable, ())) == (str(folder), str(number))
        worker.end()


@needs_forks
@pytest.mark.slow
def test_workers_end_with_the_process_that_started_them() -> None:
    code = f"""
import sys, threading
sys.path[:0] = {[str(Path(__file__).parent)]!r}
from bknb.sweeps.executors import starting_workers
from {__name__} import never_ends

with starting_workers(2, 2) as started:
    threading.Thread(target=started[0].ask, args=((never_ends, ()),), daemon=True).start()
    print(*(worker.pid for worker in started), flush=True)
    threading.Event().wait()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        watched = [os.pidfd_open(int(pid)) for pid in starter.stdout.readline().split()]
        starter.kill()
    ended = [bool(select.select([each], [], [], 10)[0]) for each in watched]
    for each in watched:
        os.close(each)
    assert ended == [True, True]
