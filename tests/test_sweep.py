"""Sweeps: any executor, any number of workers, any interruption, the same table."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from packages import need_packages

import bknb
from bknb.domain.fills_at_stops_and_gaps import EXECUTION_MODELS, execution_model
from bknb.engine.registration_checks import make_strategy
from bknb.provenance.strategy_hash import fingerprint
from bknb.research.sweep_trial_ledger import TrialFile
from bknb.runs.sweep import SweepOptions, SweepTask, open_ledger, plan_sweep
from bknb.sweeps import worker_pool
from bknb.sweeps.batches import Batch, WorkDir, try_batch
from bknb.sweeps.parameter_search import Space, make_search
from bknb.sweeps.units import TRIES, Call, Unit

need_packages("numba", "cloudpickle")


FRAME = ("2024-01-01", "2024-01-20")
GRID = {"fast": [3, 5, 8], "slow": [13, 21, 34, 55]}


def get_signals(candles: Any, fast: int = 10, slow: int = 30, take: float = 2.0) -> dict[str, Any]:
    close = candles.close
    sums = np.concatenate([[0.0], np.cumsum(close)])

    def mean(length: int) -> np.ndarray:
        found = np.full(len(close), np.nan)
        found[length - 1 :] = (sums[length:] - sums[:-length]) / length
        return found

    above = mean(fast) > mean(slow)
    position = np.zeros(len(close), np.int8)
    position[1:] = above[1:] & ~above[:-1]
    return {
        "position": position,
        "price_take_profit": close * (1 + take / 100),
        "price_stop_loss": close * 0.99,
        "minute_estimated_time": 600,
    }


def options(**changes: Any) -> dict[str, Any]:
    return {
        "params": GRID,
        "symbol": "BTCUSDT",
        "exchange": "demo",
        "frame": FRAME,
        "interval": "15m",
        "metric": "total_pnl",
    } | changes


@pytest.fixture(scope="module")
def inline() -> bknb.SweepResult:
    return bknb.sweep(get_signals, **options())


def assert_same(one: bknb.SweepResult, other: bknb.SweepResult) -> None:
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)
    pd.testing.assert_frame_equal(one.returns, other.returns, check_exact=True)


# --- the table -----------------------------------------------------------------------------------------------------


def test_a_row_equals_the_backtest_of_its_combination(inline: bknb.SweepResult) -> None:
    assert len(inline.table) == 12
    assert list(inline.table["fast"].iloc[:5]) == [3, 3, 3, 3, 5]
    result = inline.run(7)
    row = inline.table.loc[7]
    assert row["n"] == len(result.trades) > 3
    for name in ("total_pnl", "sharpe_ratio", "max_drawdown", "profit_factor", "equity_final"):
        known = result.stats[name]
        assert row[name] == pytest.approx(np.nan if known is None else known, rel=1e-9, nan_ok=True)
    trades = inline.trades(7)
    for name in ("pnl_percentage", "price_close", "closed_at", "close_reason", "position", "peak_percentage"):
        assert list(trades[name]) == list(result.trades[name])
    day = result.trades.assign(day=result.trades["closed_at"].dt.floor("D")).groupby("day")["pnl_percentage"]
    by_day = day.apply(lambda pnl: (1 + pnl / 100).prod() - 1)
    np.testing.assert_allclose(inline.returns[7][by_day.index], by_day, rtol=1e-12)
    assert inline.returns[7].ne(0).sum() == len(by_day)
    assert len(inline.returns) == 20


def test_the_best_comes_first(inline: bknb.SweepResult) -> None:
    best = inline.best
    assert best is not None
    assert best["total_pnl"] == inline.table["total_pnl"].max()
    assert list(inline.ranking["total_pnl"]) == sorted(inline.table["total_pnl"], reverse=True)
    assert best["params"] == {name: inline.table.loc[best["combination"], name] for name in GRID}
    calm = bknb.sweep(get_signals, **options(metric="max_drawdown"))
    assert calm.best is not None
    assert calm.best["max_drawdown"] == inline.table["max_drawdown"].min()


def test_a_sweep_result_shows_text_and_html(inline: bknb.SweepResult) -> None:
    assert "12 combinations" in repr(inline)
    assert "fast" in inline._repr_html_()
    assert "rgba(26,158,119" in inline._repr_html_()
    report = inline.report()
    assert report.startswith("# Sweep: get_signals")
    assert "Tried on this data | 12" in report
    figure = inline.heatmap("fast", "slow", value="n")
    assert figure.data[0].z.shape == (4, 3)
    assert figure.data[0].z[0, 0] == inline.table["n"].iloc[0]
    assert inline.heatmap("fast", "slow").layout.xaxis.title.text == "fast"


def test_several_symbols(inline: bknb.SweepResult) -> None:
    both = bknb.sweep(get_signals, **options(symbol=["ETHUSDT", "BTCUSDT"]))
    own = both.table.xs("BTCUSDT", level="symbol")
    pd.testing.assert_frame_equal(own, inline.table, check_exact=True)
    means = both.table["total_pnl"].groupby(level="combination").mean()
    assert both.best is not None
    assert both.best["total_pnl"] == pytest.approx(means.max())
    assert both.returns.shape == inline.returns.shape
    assert len(both.trades(3, "ETHUSDT")) == both.table.loc[(3, "ETHUSDT"), "n"]


@pytest.mark.slow
def test_an_event_driven_strategy_is_swept_too() -> None:
    def get_signal(ctx: Any, length: int = 10) -> Any:
        close = ctx.candles("1h", length).close
        if close[-1] < close.mean():
            return None
        return bknb.Signal(
            position="long",
            price_take_profit=ctx.price * 1.02,
            price_stop_loss=ctx.price * 0.98,
            minute_estimated_time=300,
        )

    found = bknb.sweep(get_signal, **options(params={"length": [5, 20]}, interval="1h"))
    result = found.run(1)
    assert found.table.loc[1, "n"] == len(result.trades) > 5
    assert found.table.loc[1, "total_pnl"] == pytest.approx(result.stats["total_pnl"])
    assert_same(found, bknb.sweep(get_signal, **options(params={"length": [5, 20]}, interval="1h", executor=2)))


def test_a_risk_profile_goes_through_the_event_engine() -> None:
    def mornings(request: Any) -> Any:
        return (request.when // 3_600_000) % 24 < 12

    bknb.add_risk("mornings", validations=[mornings])
    made = bknb.add_strategy("careful", interval="15m", get_signals=get_signals, risk="mornings")
    found = bknb.sweep("careful", **options(params={"fast": [3]}, interval=None))
    assert found.table["n"].tolist() == [len(found.run(0).trades)]

    def unregistered(candles: Any, fast: int) -> Any:
        return get_signals(candles, fast)

    free = bknb.sweep(unregistered, **options(params={"fast": [3]}))
    assert 0 < found.table.loc[0, "n"] < free.table.loc[0, "n"]
    assert made.risk == "mornings"


def test_a_combination_that_fails_is_a_row() -> None:
    def picky(candles: Any, length: int = 1) -> Any:
        if length == 2:
            raise ZeroDivisionError("two is too many")
        return get_signals(candles, 3, 13) if length < 3 else {"position": [1]}

    found = bknb.sweep(picky, **options(params={"length": [1, 2, 3]}))
    errors = found.table["error"].tolist()
    assert errors[0] == ""
    assert "two is too many" in errors[1]
    assert "must return the columns" in errors[2]
    assert list(found.errors.index) == [1, 2]
    assert found.best is not None
    assert found.best["combination"] == 0
    assert any(line.startswith("  failed    2; see result.errors") for line in repr(found).splitlines())
    assert "it failed" in repr(bknb.sweep(picky, **options(params={"length": [2, 3]})))


def test_a_peeking_strategy_is_named() -> None:
    def peek(candles: Any) -> Any:
        rows = get_signals(candles, 3, 13)
        return rows | {"position": np.append(candles.close[1:] > candles.close[:-1], False)}

    found = bknb.sweep(peek, **options(params={}))
    assert "looks ahead" in found.warnings[0]


# --- searches ------------------------------------------------------------------------------------------------------


def test_random_search_is_seeded_and_repeats_nothing() -> None:
    def drawn(seed: int) -> list[tuple[int, int]]:
        table = bknb.sweep(get_signals, **options(search="random", trials=7, seed=seed)).table
        return list(zip(table["fast"], table["slow"], strict=True))

    assert drawn(1) == drawn(1) != drawn(2)
    assert len(set(drawn(1))) == 7


@pytest.mark.slow
def test_optuna_finds_its_way_whatever_the_executor() -> None:
    pytest.importorskip("optuna")
    space = {"fast": range(2, 30), "slow": range(10, 100), "take": [1.0, 2.0, 3.0]}
    one, other = (
        bknb.sweep(get_signals, **options(params=space, search="optuna", trials=40, seed=5, executor=executor))
        for executor in (None, 2)
    )
    assert_same(one, other)
    assert 20 < len(one.table) <= 40


def test_a_space_is_numbered() -> None:
    space = Space({"a": range(3), "b": "x", "c": np.array([1.5, 2.5])})
    assert len(space) == 6
    assert [space.at(i) for i in (0, 1, 5)] == [
        {"a": 0, "b": "x", "c": 1.5}, {"a": 0, "b": "x", "c": 2.5}, {"a": 2, "b": "x", "c": 2.5}]  # fmt: skip
    big = make_search(
        Space({"a": range(10**6), "b": range(10**6)}), search="random", trials=3, seed=0, lower_is_better=False
    )
    assert len(next(iter(big.rounds()))) == 3


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"params": {"fats": [1]}}, "did you mean 'fast'"),
        ({"params": {"fast": []}}, "has no value to try"),
        ({"params": [1]}, "params must be a mapping"),
        ({"metric": "sharp_ratio"}, "did you mean 'sharpe_ratio'"),
        ({"search": "gird"}, "did you mean 'grid'"),
        ({"search": "random"}, "needs trials="),
        ({"trials": 0}, "trials must be"),
        ({"symbol": []}, "symbol must be"),
        ({"executor": "cluster"}, "executor must be"),
        ({"ledger": 5}, "ledger must be"),
    ],
)
def test_mistakes_are_answered(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(bknb.UsageError, match=expected) as caught:
        bknb.sweep(get_signals, **options(**changes))
    assert len(caught.value.lines()) <= 3


# --- executors -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_processes_give_the_same(inline: bknb.SweepResult, workers: int) -> None:
    assert_same(inline, bknb.sweep(get_signals, **options(executor=workers)))


@pytest.mark.slow
def test_symbols_that_workers_prepare_are_those_of_one_process(tmp_path: Path) -> None:
    """Warnings of minutes that stand for hours, and the error of a symbol that is not there, are the same, too."""
    rng = np.random.default_rng(3)
    rows = np.cumsum(rng.normal(size=(4, 9_000)), axis=1) + 400
    tables = {}
    for name, closes in zip("ABCD", rows, strict=True):
        times = pd.date_range("2024-01-01", periods=len(closes), freq="min", tz="UTC")
        columns = {"open": closes, "high": closes + 1, "low": closes - 1, "close": closes, "volume": 1.0}
        tables[name] = pd.DataFrame(columns, index=times)
    tables["C"] = tables["C"][::60].reindex(tables["C"].index, method="ffill")
    source = bknb.exchanges.from_frame(pd.concat(tables, axis=1))
    given = options(exchange=source, symbol=[*"ABCD"], frame=("2024-01-02", "2024-01-06"), allow_gaps=True)
    one, other = (bknb.sweep(get_signals, **given, executor=executor) for executor in (None, 2))
    assert_same(one, other)
    assert one.warnings == other.warnings != []
    assert one.trials == other.trials
    for executor in (None, 2):
        with pytest.raises(bknb.UnknownName, match="E"):
            bknb.sweep(get_signals, **(given | {"symbol": [*"ABE"]}), executor=executor)
    for other in (bknb.sweep(get_signals, **given, executor=2, ledger=tmp_path / "trials") for _ in range(2)):
        assert_same(one, other)
    assert other.from_ledger == 48


def test_loops_that_workers_have_before_are_those_that_combinations_go_through() -> None:
    from bknb.kernels import jit
    from bknb.sweeps.compiled_loops import compile_loops, loop_of

    def with_exits(candles: Any, fast: int = 3) -> dict[str, Any]:
        return {**get_signals(candles, fast), "exit_long": False}

    def with_size(candles: Any, fast: int = 3) -> dict[str, Any]:
        return {**get_signals(candles, fast), "size": 0.5}

    def weights(candles: Any, fast: int = 3) -> dict[str, Any]:
        return {"weight": np.where(np.arange(len(candles)) % (9 * fast) == 0, 1.0, np.nan)}

    def compiled() -> dict[str, int]:
        return {name: len(loop.signatures) for name, loop in jit._made.items()}

    plain = make_strategy("plain", interval="15m", get_signals=get_signals)
    of_weights = make_strategy("weights", interval="15m", get_signals=weights, tolerance=0.0)
    kinds = {(get_signals, False, False): plain, (with_exits, True, False): plain, (with_size, True, True): plain}
    for (function, declares, has_orders), strategy in {**kinds, (weights, False, False): of_weights}.items():
        compile_loops(loop_of(strategy, declares=declares, has_orders=has_orders))
        before = compiled()
        chosen = strategy if strategy is of_weights else function
        found = bknb.sweep(chosen, **options(params={"fast": [3, 5]}))
        assert found.table["n"].min() > 0
        assert compiled() == before


def test_candles_are_let_go_with_what_evaluates_them() -> None:
    import gc
    import weakref

    from bknb.engine.plan import plan_backtest
    from bknb.sweeps.evaluate_combination import Evaluator
    from bknb.sweeps.prepared_candles import prepare

    plan = plan_backtest("BTCUSDT", get_signals, "demo", FRAME, "15m")
    gc.disable()
    try:
        evaluator = Evaluator(plan, asyncio.run(prepare(plan)))
        assert evaluator.evaluate({}).figures[0] > 0
        held = weakref.ref(evaluator)
        del evaluator
        assert held() is None
    finally:
        gc.enable()


def test_daily_returns_of_many_combinations_are_in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    from bknb.market.candles_in_mapped_files import CandleFiles
    from bknb.sweeps import sweep_run

    found = bknb.sweep(get_signals, **options())
    monkeypatch.setattr(sweep_run, "_IN_MEMORY", 5)
    monkeypatch.setattr(sweep_run, "CandleFiles", lambda: CandleFiles(smallest=0))
    monkeypatch.setattr(sweep_run, "_BATCH", 5)
    other = bknb.sweep(get_signals, **options())
    assert_same(found, other)
    owners = [other._run.outcomes[number, 0].daily.base for number in range(12)]
    assert all(isinstance(each.base, memoryview) for each in owners)


def test_a_pool_gives_the_same(inline: bknb.SweepResult) -> None:
    with ThreadPoolExecutor(2) as pool:
        assert_same(inline, bknb.sweep(get_signals, **options(executor=pool)))

    class OnlyMap:
        map = staticmethod(lambda *lists: list(map(*lists)))

    assert_same(inline, bknb.sweep(get_signals, **options(executor=OnlyMap())))


def test_a_broken_pool_is_a_warning_and_the_sweep_is_completed(inline: bknb.SweepResult) -> None:
    import multiprocessing

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(int).result()
        for process in pool._processes.values():
            os.kill(process.pid, signal.SIGKILL)
        found = bknb.sweep(get_signals, **options(executor=pool))
    assert_same(inline, found)
    assert any("the executor broke" in warning for warning in found.warnings)


@pytest.mark.slow
def test_a_killed_worker_costs_its_task_another_try(inline: bknb.SweepResult, monkeypatch: Any) -> None:
    """A real process is really killed while it has a task."""
    killed: list[int] = []
    ask = worker_pool.Worker.ask

    def ask_and_shoot(self: worker_pool.Worker, call: Call) -> Any:
        if len(killed) < 2:
            killed.append(self.pid)
            os.kill(self.pid, signal.SIGKILL)
        return ask(self, call)

    monkeypatch.setattr(worker_pool.Worker, "ask", ask_and_shoot)
    assert_same(inline, bknb.sweep(get_signals, **options(executor=2)))
    assert len(killed) == 2


def test_where_no_worker_can_be_started_each_task_says_why_and_none_is_waited_for() -> None:
    started: list[int] = []

    def start() -> worker_pool.Worker:
        started.append(1)
        raise OSError(24, "Too many open files")

    units = [Unit() for _ in range(3)]
    pool = worker_pool.WorkerPool[Unit](_NoWorkDir(), 2, start)
    said = "no worker could be started: OSError: [Errno 24] Too many open files"
    assert dict(pool.run(units, lambda: False)) == dict.fromkeys(units, said)
    assert len(started) == TRIES * len(units)


class _NoWorkDir:
    folder = Path()

    def call(self, unit: Unit) -> Call:
        return repr, (unit,)

    def scattered(self, unit: Unit, scatter: Any) -> Call:
        return repr, (unit, scatter)

    def forget(self) -> None:
        """Nothing was cached."""


@pytest.mark.slow
def test_a_combination_that_kills_every_worker_is_a_row() -> None:
    def deadly(candles: Any, length: int = 1) -> Any:
        if length == 2:
            os._exit(9)
        return get_signals(candles, 3, 13)

    found = bknb.sweep(deadly, **options(params={"length": [1, 2, 3]}, executor=2))
    assert found.table["error"].tolist() == ["", "the worker died 3 times with this combination", ""]
    assert found.table["n"].iloc[0] == found.table["n"].iloc[2] > 0


@pytest.mark.slow
def test_a_combination_that_kills_every_worker_leaves_those_of_its_batch() -> None:
    def deadly(candles: Any, length: int = 1) -> Any:
        if length == 13:
            os._exit(9)
        return get_signals(candles, 3, length)

    lengths = [length for length in range(5, 22) if length != 13]
    found = bknb.sweep(deadly, **options(params={"length": [*lengths, 13]}, executor=2))
    assert found.table["error"].tolist() == [""] * 16 + ["the worker died 3 times with this combination"]
    assert (
        found.table["n"].head(16).tolist()
        == bknb.sweep(deadly, **options(params={"length": lengths})).table["n"].tolist()
    )


@pytest.mark.slow
def test_dask_gives_the_same_and_survives_a_killed_worker(inline: bknb.SweepResult) -> None:
    """A cluster on loopback, in a process of its own: its threads and warnings are not this test's."""
    pytest.importorskip("distributed")
    script = Path(__file__).with_name("dask_sweep.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    expected = hash_of(inline)
    assert done.stdout.split() == [expected] * 3


def test_what_every_worker_is_to_have_is_sent_again_where_the_last_one_died() -> None:
    from bknb.sweeps.dask_executor import DaskCluster

    class Client:
        """A cluster whose last worker dies while something is sent to it, and begins again."""

        def __init__(self, deaths: int) -> None:
            self.deaths = deaths

        def nthreads(self) -> dict[str, int]:
            return {"worker": 1}

        def scatter(self, value: str, **_: Any) -> str:
            self.deaths -= 1
            if self.deaths >= 0:
                raise ValueError("Can not use replicate to delete data")
            return value

        def wait_for_workers(self, count: int, timeout: float) -> None:
            assert count == 1

    executor: Any = DaskCluster(None, Client(2))  # type: ignore[var-annotated,arg-type]
    assert executor._scattered("candles") == "candles"
    with pytest.raises(ValueError, match="replicate"):
        DaskCluster(None, Client(9))._scattered("candles")  # type: ignore[var-annotated,arg-type]


def hash_of(result: bknb.SweepResult) -> str:
    import hashlib

    numbers = result.table.drop(columns="error").to_numpy(dtype=float).tobytes() + result.returns.to_numpy().tobytes()
    return hashlib.sha256(numbers).hexdigest()


def test_candles_are_not_part_of_a_task(tmp_path: Path) -> None:
    import pickle

    batch = Batch(0, range(12), [{"fast": 3, "slow": 13}] * 12)
    assert len(pickle.dumps((str(tmp_path), batch.symbol, batch.params))) < 2_000
    with pytest.raises(FileNotFoundError):
        try_batch(str(WorkDir(tmp_path).folder), 0, batch.params)


CELL = """
STEP = 3

def helper(n):
    return n + STEP

def get_signals(candles, n=1):
    close = candles.close
    return {"position": 1, "price_take_profit": close * 1.02, "price_stop_loss": close * 0.98,
            "minute_estimated_time": 60 * helper(n)}
"""


@pytest.mark.slow
def test_a_sweep_of_one_symbol_writes_no_candles_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    written: list[list[str]] = []

    def get_rows(candles: Any, up: float = 1.02) -> dict[str, Any]:
        written.append([path.name for path in tmp_path.rglob("*.npy")])
        assert not candles.block.flags.writeable
        return {"position": 0, "price_take_profit": up, "price_stop_loss": 1.0, "minute_estimated_time": 60}

    for symbol in ("BTCUSDT", ["BTCUSDT", "ETHUSDT"]):
        bknb.sweep(get_rows, **options(params={"up": [1.02, 1.03]}, symbol=symbol))
    assert (written[0], bool(written[-1])) == ([], True)


@pytest.mark.slow
def test_a_strategy_of_a_cell_reaches_the_workers() -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(CELL, names)  # noqa: S102 -- as a notebook runs it
    one, other = (
        bknb.sweep(names["get_signals"], **options(params={"n": [1, 5]}, executor=executor)) for executor in (None, 2)
    )
    assert_same(one, other)
    assert one.table["n"].iloc[0] > 0


# --- background ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_progress_and_stop() -> None:
    seen: list[tuple[int, int]] = []
    reached = threading.Event()

    def slow(candles: Any, length: int = 1) -> Any:
        if length > 40:
            reached.set()
            threading.Event().wait(0.02)
        return get_signals(candles, 3, 13)

    task = bknb.Sweep.background(
        slow, **options(params={"length": range(1, 400)}, progress=lambda done, total: seen.append((done, total)))
    )
    assert reached.wait(600)
    task.stop()
    result = task.result(600)
    assert result.stopped
    assert 32 <= len(result.table) < 399
    assert seen[-1] == (len(result.table), 399)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert "stopped early" in result.report()


def test_progress_is_an_event() -> None:
    received: list[Any] = []
    stop = bknb.listen_progress_walker(received.append)
    bknb.sweep(get_signals, **options())
    stop()
    assert {event.kind for event in received} == {"sweep"}
    assert received[-1].progress == 1.0


# --- the ledger ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_resumed_equals_uninterrupted(inline: bknb.SweepResult, tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    half = bknb.sweep(get_signals, **options(params={"fast": [3, 5], "slow": GRID["slow"]}, ledger=path))
    assert half.trials == 8
    whole = bknb.sweep(get_signals, **options(ledger=path, executor=2))
    assert_same(inline, whole)
    assert (whole.from_ledger, whole.trials) == (8, 12)
    again = bknb.sweep(get_signals, **options(ledger=path))
    assert_same(inline, again)
    assert (again.from_ledger, again.trials) == (12, 12)
    assert len(again.trial_sharpes) == again.table["sharpe_ratio"].notna().sum()


def test_the_ledger_counts_everything_tried_on_the_data(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    counts = [
        bknb.sweep(get_signals, **options(params={"fast": [3]}, ledger=path, **changes)).trials
        for changes in (
            {},
            {},  # the same again is no new trial
            {"settings": {"percent_fee": 0.05}},
            {"execution": "touch"},
            {"frame": ("2024-01-15", "2024-01-25")},  # overlaps
            {"frame": ("2024-02-01", "2024-02-10")},  # does not
            {"symbol": "ETHUSDT"},
        )
    ]
    assert counts == [1, 1, 2, 3, 4, 1, 1]


def test_another_strategy_is_another_trial(tmp_path: Path) -> None:
    def make(stop: float) -> Any:
        def get_signals_too(candles: Any) -> Any:
            return get_signals(candles, 3, 13) | {"price_stop_loss": candles.close * stop}

        return get_signals_too

    path = tmp_path / "ledger"
    one, other = (bknb.sweep(make(stop), **options(params={}, ledger=path)) for stop in (0.99, 0.98))
    assert (one.trials, other.trials, other.from_ledger) == (1, 2, 0)


def test_figures_of_other_execution_rules_are_not_taken_from_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = options(params={"fast": [3], "slow": [13]}, ledger=tmp_path / "ledger")
    assert [bknb.sweep(get_signals, **known).from_ledger for _ in range(2)] == [0, 1]
    model = execution_model("pessimistic")
    monkeypatch.setitem(EXECUTION_MODELS, "pessimistic", model._replace(rules=model.rules + 1))
    assert bknb.sweep(get_signals, **known).from_ledger == 0


class Levels:
    def __init__(self, stop: float) -> None:
        self.stop = stop
        self.log = logging.getLogger("levels")


@pytest.mark.parametrize(
    "values",
    [
        (0.99, 0.98),
        ([1, 2], [1, 3]),
        ({"a": 1}, {"a": 2}),
        (np.array([1.0, 2.0]), np.array([1.0, 3.0])),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]})),
        (lambda x: x + 1, lambda x: x + 2),
        (frozenset({1}), frozenset({2})),
        (Levels(1), Levels(2)),
    ],
)
def test_values_a_strategy_refers_to_are_part_of_its_hash(values: tuple[Any, Any]) -> None:
    def printed(value: Any) -> str:
        def get_signals_too(candles: Any) -> Any:
            return get_signals(candles, 3, 13) | {"price_stop_loss": value}

        return fingerprint(make_strategy("x", get_signals_too, interval="1h"))

    one, other = values
    assert printed(one) == printed(one) != printed(other)


@pytest.mark.slow
def test_a_torn_or_flipped_ledger_is_read_as_far_as_it_holds(inline: bknb.SweepResult, tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    bknb.sweep(get_signals, **options(ledger=path))
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 12
    for cut in (1, 5, len(lines[-1]) - 1, len(lines[-1]) + 7):
        path.write_bytes(whole[:-cut])
        result = bknb.sweep(get_signals, **options(ledger=path))
        assert_same(inline, result)
        assert result.from_ledger == 12 - (2 if cut > len(lines[-1]) else cut > 1)
        assert len(TrialFile(path).all()) == 12
    flipped = bytearray(whole)
    flipped[len(lines[0]) // 2] ^= 1
    path.write_bytes(bytes(flipped))
    file = TrialFile(path)
    assert (file.damaged, len(file.all())) == (1, 11)
    result = bknb.sweep(get_signals, **options(ledger=path))
    assert f"1 line of the ledger {path} cannot be read; what they held is run again" in result.warnings


@pytest.mark.slow
def test_a_sweep_killed_in_the_middle_goes_on(inline: bknb.SweepResult, tmp_path: Path) -> None:
    """A process that sweeps is really killed after some trials are on disk."""
    path = tmp_path / "ledger"
    here = Path(__file__).parent
    code = (
        f"import sys; sys.path[:0] = [{str(here)!r}, {str(here.parent)!r}]\n"
        "from test_sweep import get_signals, options, die_after\nimport bknb\n"
        f"bknb.sweep(get_signals, **options(ledger=die_after({str(path)!r}, 5)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    resumed = bknb.sweep(get_signals, **options(ledger=path))
    assert_same(inline, resumed)
    assert resumed.from_ledger == 5


def die_after(path: str, count: int) -> Any:
    """A ledger on disk whose process dies in the middle of writing the trial after ``count``."""

    class Dying(TrialFile):
        def add(self, trials: Any) -> None:
            made = list(trials)
            super().add(made[:count])
            with self.path.open("ab") as file:
                file.write(b"0badc0de {half a li")
            os.kill(os.getpid(), signal.SIGKILL)

    return Dying(Path(path))


def test_a_ledger_of_ones_own_is_taken() -> None:
    given = options()
    over = [given.pop(name) for name in ("params", "symbol", "exchange", "frame")]
    plan = plan_sweep(get_signals, *over, SweepOptions(keep_trades=True, **given))
    ledger = open_ledger(None)
    task = SweepTask(plan, ledger)
    task.start()
    assert len(task.result().table) == 12
    assert len(ledger.all()) == 12
    assert len(task.result().trades(3)) == task.result().table.loc[3, "n"]


def test_a_module_that_cannot_be_sent_leaves_no_other_one_registered() -> None:
    from types import ModuleType

    import cloudpickle

    from bknb.sweeps.pickled_code import to_bytes

    before = set(cloudpickle.list_registry_pickle_by_value())
    with pytest.raises(ValueError, match="nowhere"):
        to_bytes(None, [sys.modules[__name__], ModuleType("nowhere")])
    assert cloudpickle.list_registry_pickle_by_value() == before
