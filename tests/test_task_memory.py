"""What the tasks of a process keep in memory once they are over: numbers for ever, candles up to a limit."""

from __future__ import annotations

import asyncio
import gc
import mmap
import weakref
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_replies import HONEST, reply
from waiting import until

import bknb
from bknb.engine.registry import registry
from bknb.jupyter import display
from bknb.market.candles import Candles
from bknb.market.candles_in_mapped_files import CandleFiles
from bknb.market.candles_of_one_symbol import Series
from bknb.market.system_clock import limited_to
from bknb.market.window import Window
from bknb.runs.candle_memory import MEMORY, CandleMemory
from bknb.runs.task import Task
from bknb.runs.task_list import TaskList
from bknb.testing.clocks import SimulatedClock

MINUTE = 60_000
ORIGIN = 1_704_067_200_000
DAY = 1440
FRAME = ("2024-01-01", "2024-01-03")
BYTES = 7 * 8 * (2 * DAY)  # of one run over two days, nearly


can_let_go = pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="this system keeps what was read")


@pytest.fixture(autouse=True)
def _room_for_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for the candles of three runs over two days."""
    monkeypatch.setattr(MEMORY, "limit", round(3.5 * BYTES))


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> weakref.WeakSet[Window]:
    """The windows that are in memory, of those that were opened since."""
    made: weakref.WeakSet[Window] = weakref.WeakSet()
    begin = Window.__init__

    def noted(self: Window, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        made.add(self)

    monkeypatch.setattr(Window, "__init__", noted)
    return made


def eager(price: float) -> Any:
    return {
        "position": "long",
        "price_take_profit": price * 1.01,
        "price_stop_loss": price * 0.99,
        "minute_estimated_time": 120,
    }


def market(seed: int = 0, days: int = 4) -> Candles:
    """A day before the frame, and a day behind it."""
    count = days * DAY
    close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 5e-4, count)))
    open_ = np.concatenate([[100.0], close[:-1]])
    high, low = np.maximum(open_, close) * 1.0005, np.minimum(open_, close) * 0.9995
    times = ORIGIN + (np.arange(count) - DAY) * MINUTE
    columns = [column.tolist() for column in (times, open_, high, low, close, close)]
    return Candles.from_rows(list(zip(*columns, strict=True)))


def run(symbol: str, exchange: Any = "demo", **options: Any) -> bknb.Result:
    return bknb.backtest(symbol, strategy=eager, exchange=exchange, frame=FRAME, interval="1h", **options)


def in_memory(windows: weakref.WeakSet[Window]) -> int:
    gc.collect()
    return len(windows)


@pytest.mark.slow
def test_many_backtests_keep_the_candles_of_the_newest_alone(windows: weakref.WeakSet[Window]) -> None:
    for number in range(12):
        run(f"COIN{number}USDT")
    assert in_memory(windows) == 3
    assert len(bknb.Backtest.list()) == 12
    newest = bknb.Backtest.get_data("COIN11USDT", "eager")
    assert len(newest.candles) == 2 * DAY + 1
    assert in_memory(windows) == 3  # nothing was read again for it


@can_let_go
def test_candles_of_all_but_the_newest_run_are_in_files_and_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    files = CandleFiles(smallest=0)
    monkeypatch.setattr(MEMORY, "_files", files)
    first = run("BTCUSDT", capital=10_000)
    signal = first.trades["signal_id"][0]
    series = [*first.run_record.candles.series.values()]
    candles, report, moment = first.candles.copy(), first.report(), repr(first.at(signal))
    equity, prices = first.equity, series[0].average_prices(5).copy()
    assert not any(files.put(each.candles.block) is each.candles.block for each in series)
    again = run("ETHUSDT", capital=10_000)
    assert until(lambda: all(each.files is files for each in series))
    assert all(
        files.put(array) is array for each in series for array in (each.candles.block, each.averages) if len(array)
    )
    assert all(each.files is None for each in again.run_record.candles.series.values())
    assert first.candles == candles
    np.testing.assert_array_equal(series[0].average_prices(5), prices)
    assert (first.report(), repr(first.at(signal))) == (report, moment)
    fresh = run("BTCUSDT", capital=10_000)
    assert fresh.equity.equals(equity)


def test_a_run_with_a_capital_holds_its_candles_once() -> None:
    def looks_back(ctx: bknb.Context) -> Any:
        return eager(ctx.price) if len(ctx.candles("1h", 30)) == 30 else None

    strategy = bknb.add_strategy("looks back", interval="1h", get_signal=looks_back)
    result = bknb.backtest("BTCUSDT", strategy=strategy, exchange="demo", frame=FRAME, capital=10_000)
    assert len(result.trades)
    gc.collect()
    held = [each for each in gc.get_objects() if type(each) is Series and len(each.candles)]
    assert {id(each) for each in held} == {id(each) for each in result.run_record.candles.series.values()}


def test_of_a_run_over_longer_bars_nothing_holds_the_candles_that_it_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MEMORY, "limit", 0)

    def rests(price: float) -> Any:  # until candles of its interval have closed
        return {**eager(price), "price_open": price * 0.995}

    options: Any = {"exchange": "demo", "frame": FRAME, "interval": "1h", "base": "5m"}
    strategy = bknb.add_strategy("rests", interval="1h", get_signal=rests, manage=lambda ctx, position: position.bars)
    task = bknb.Backtest.background("BTCUSDT", strategy=strategy, **{**options, "interval": None})
    result = task.result()
    signal, trades = result.trades["signal_id"][0], result.trades
    moment = repr(result.at(signal))
    blocks = [weakref.ref(each.candles.block) for each in result.run_record.candles.series.values()]
    del result
    bknb.backtest("ETHUSDT", strategy=eager, **options)
    gc.collect()
    assert all(block() is None for block in blocks)
    again = task.result()
    assert again.trades.equals(trades)
    assert repr(again.at(signal)) == moment


class Releases:
    """What holds candles, and itself: only the collector of garbage ends it."""

    def __init__(self) -> None:
        self.itself = self

    def release(self) -> None:
        pass


def test_tasks_may_be_collected_while_the_limit_is_looked_at() -> None:
    memory, thresholds, newest = CandleMemory(), gc.get_threshold(), Releases()
    gc.collect()
    gc.disable()
    try:
        for _ in range(400):
            memory.add(Releases().release, 1)
        pairs = [(number, str(number)) for number in range(4_000)]  # so that those made next are new objects
        gc.set_threshold(gc.get_count()[0] + 100, 1_000, 1_000)  # in the middle of all that there are
        gc.enable()
        memory.add(newest.release, 1)
        assert len(pairs) == 4_000
    finally:
        gc.set_threshold(*thresholds)
        gc.enable()


@pytest.mark.slow
def test_a_run_whose_candles_were_released_reports_the_same_as_before(
    windows: weakref.WeakSet[Window], tmp_path: Any
) -> None:
    first = run("BTCUSDT")
    signal = first.trades["signal_id"][0]
    before = (first.report(), first.why(signal), repr(first.at(signal)), first.card.data, first.card.made_with)
    candles, price = first.candles, first.at(signal).price
    figure = first.figure().to_json()
    del first
    for number in range(6):
        run(f"COIN{number}USDT")
    assert in_memory(windows) == 3
    assert bknb.Backtest.get_report("BTCUSDT", "eager") == before[0]  # and no candle is read for it
    assert bknb.Backtest.dump("BTCUSDT", "eager", tmp_path).read_text(encoding="utf-8") == before[0]
    assert in_memory(windows) == 3
    again = bknb.Backtest.get_data("BTCUSDT", "eager")
    assert (again.report(), again.why(signal), repr(again.at(signal)), again.card.data, again.card.made_with) == before
    assert again.candles == candles
    assert again.at(signal).price == price
    assert again.at(signal).ask().event == again.at(signal).decision
    assert again.figure().to_json() == figure
    assert in_memory(windows) == 4  # read again once, and held by the result
    del again
    assert in_memory(windows) == 3


@pytest.mark.slow
def test_a_referenced_result_keeps_its_candles(windows: weakref.WeakSet[Window]) -> None:
    held = run("BTCUSDT")
    window = held.run_record.candles.window
    for number in range(6):
        run(f"COIN{number}USDT")
    assert bknb.Backtest.get_data("BTCUSDT", "eager") is held
    assert held.run_record.candles.window is window
    assert in_memory(windows) == 4


@pytest.mark.slow
def test_a_referenced_task_reads_its_candles_again(windows: weakref.WeakSet[Window]) -> None:
    task = bknb.Backtest.background("BTCUSDT", strategy=eager, exchange="demo", frame=FRAME, interval="1h")
    candles = task.result().candles.close.tolist()
    for number in range(6):
        run(f"COIN{number}USDT")
    assert in_memory(windows) == 3
    assert task.progress == 1.0
    assert len(task.trades_so_far) == len(task.result().trades) > 0
    assert task.candles.close.tolist() == candles


@pytest.mark.slow
def test_candles_that_changed_at_the_exchange_are_not_taken_for_those_of_the_run() -> None:
    found = [market(1)]

    async def get_candles(symbol: str, interval: str, since: int, limit: int) -> Candles:
        times = found[0].timestamp
        return found[0][int(times.searchsorted(since)) : int(times.searchsorted(since + limit * MINUTE))]

    run("BTCUSDT", get_candles)
    for number in range(6):
        run(f"COIN{number}USDT")
    result = bknb.Backtest.get_data("BTCUSDT", "eager")
    assert len(result.candles) == 2 * DAY + 1
    data = result.card.data
    del result
    gc.collect()
    found[0] = market(2)
    changed = bknb.Backtest.get_data("BTCUSDT", "eager")
    assert "2,881 one-minute candles" in changed.report()
    with pytest.raises(bknb.DataError, match=r"has other 1m candles of BTCUSDT now than the run was made on"):
        _ = changed.candles
    assert changed.card.data == data  # the card says what the run was made on


@pytest.mark.slow
def test_a_frame_that_nobody_else_holds_is_not_kept(windows: weakref.WeakSet[Window]) -> None:
    sources = weakref.WeakSet[Any]()
    for number in range(8):
        source = bknb.exchanges.from_frame(market(number))
        sources.add(source)
        run(f"COIN{number}USDT", source)
    assert in_memory(windows) == 3
    del source
    gc.collect()
    assert len(sources) == 3
    kept = bknb.exchanges.from_frame(market(0))
    run("BTCUSDT", kept)
    for number in range(4):
        run(f"MORE{number}USDT")
    assert len(bknb.Backtest.get_data("BTCUSDT", "eager").candles) == 2 * DAY + 1  # here it still is
    lost = bknb.Backtest.get_data("COIN0USDT", "eager")
    assert "2,881 one-minute candles" in lost.report()
    with pytest.raises(bknb.DataError, match="no longer in memory"):
        _ = lost.candles
    assert lost.card.data[0].count > 2 * DAY


@pytest.mark.slow
@pytest.mark.parametrize("sessions", [None, "fx"])
def test_candles_of_a_file_are_read_again(
    sessions: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MEMORY.limit = 0
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()
    frame = market(3).to_pandas()
    frame.to_csv("here/candles.csv")
    candles = run("BTCUSDT", bknb.exchanges.from_csv("here/candles.csv", sessions=sessions)).candles
    run("ETHUSDT")
    gc.collect()
    monkeypatch.chdir(tmp_path / "here")  # the file stays the same one
    lost = bknb.Backtest.get_data("BTCUSDT", "eager")
    assert lost.candles == candles
    assert "no equity curve" not in lost.report()
    run("ETHUSDT")
    del lost
    gc.collect()
    frame.assign(volume=7.0).to_csv(tmp_path / "here/candles.csv")
    with pytest.raises(bknb.DataError, match=r"other 1m candles of BTCUSDT now"):
        _ = bknb.Backtest.get_data("BTCUSDT", "eager").candles
    (tmp_path / "here/candles.csv").unlink()
    with pytest.raises(bknb.DataError, match=r"'candles\.csv', which can no longer be read: .*does not exist"):
        _ = bknb.Backtest.get_data("BTCUSDT", "eager").candles


@pytest.mark.slow
def test_a_run_whose_source_is_gone_has_its_card_and_is_shown_without_a_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ipython = pytest.importorskip("IPython.display")
    MEMORY.limit = 0
    card = run("BTCUSDT", bknb.exchanges.from_frame(market(3))).card
    run("ETHUSDT")
    gc.collect()
    lost = bknb.Backtest.get_data("BTCUSDT", "eager")
    assert lost.card.data == card.data
    assert lost.card.outcome == card.outcome
    shown: list[Any] = []
    monkeypatch.setattr(display, "in_kernel", lambda: True)
    monkeypatch.setattr(ipython, "display", lambda data, **options: shown.append(data))
    display.show(lost)
    (numbers,) = shown
    assert "no equity curve: the candles of this run were in 'frame', which is no longer" in numbers["text/plain"]
    assert "no equity curve" in numbers["text/html"]


@pytest.mark.slow
def test_a_referenced_source_in_sessions_keeps_the_candles_of_a_released_run() -> None:
    MEMORY.limit = 0
    source = bknb.exchanges.from_frame(market(3))
    candles = run("BTCUSDT", bknb.exchanges.in_sessions(source, "fx")).candles
    run("ETHUSDT")
    gc.collect()
    again = bknb.Backtest.get_data("BTCUSDT", "eager")
    assert again.candles == candles
    assert again.run_record.plan.exchange.source.sessions.zone == "America/New_York"


def test_what_a_strategy_held_when_it_raised_is_gone_at_once() -> None:
    held: list[weakref.ref[Any]] = []

    def get_signal(ctx: bknb.Context) -> None:
        closes = np.zeros(3)
        held.append(weakref.ref(closes))
        raise ValueError(ctx.symbol)

    gc.collect()
    gc.disable()
    try:
        bknb.backtest("BTCUSDT", strategy=get_signal, interval="6h", exchange="demo", frame=FRAME)
        assert [each() is None for each in held] == [True] * 8
    finally:
        gc.enable()


@pytest.mark.slow
def test_a_failed_run_releases_its_candles(windows: weakref.WeakSet[Window]) -> None:
    candles = market()

    def torn(candles: Any) -> Any:
        raise RuntimeError("torn")

    for number in range(6):
        with pytest.raises(bknb.StrategyError):
            bknb.backtest(
                f"COIN{number}USDT", strategy=torn, exchange=bknb.exchanges.from_frame(candles), frame=FRAME,
                interval="1m",
            )  # fmt: skip
    assert in_memory(windows) <= 3
    with pytest.raises(bknb.StrategyError, match="torn"):
        bknb.Backtest.get_data("COIN0USDT", "torn")


@pytest.mark.slow
def test_comparisons_release_their_candles(windows: weakref.WeakSet[Window]) -> None:
    def other(price: float) -> Any:
        return eager(price)

    reports = []
    for number in range(8):
        found = bknb.walker(
            f"COIN{number}USDT", walker="both", exchange="demo", frame=FRAME, strategies=[eager, other], metric="n"
        )
        reports.append(found.report())
    del found
    assert in_memory(windows) == 3  # two strategies, one window, counted once
    assert [bknb.Walker.get_report(f"COIN{number}USDT", "both") for number in range(8)] == reports
    first = bknb.Walker.get_data("COIN0USDT", "both")
    assert len(first["other"].candles) == 2 * DAY + 1
    assert bknb.Walker.get_data("COIN0USDT", "both") is first
    assert len(bknb.Walker.list()[0].trades_so_far) == 2 * len(first["other"].trades)


@pytest.mark.slow
def test_a_walker_and_backtests_share_the_limit(windows: weakref.WeakSet[Window]) -> None:
    bknb.walker("BTCUSDT", walker="one", exchange="demo", frame=FRAME, strategies=[eager])
    for number in range(4):
        run(f"COIN{number}USDT")
    assert in_memory(windows) == 3


@pytest.mark.slow
def test_a_sweep_is_gone_with_its_result() -> None:
    pytest.importorskip("numba")
    pytest.importorskip("cloudpickle")

    def get_signals(candles: Any, up: float = 1.02) -> Any:
        close = candles.close
        return {
            "position": 1,
            "price_take_profit": close * up,
            "price_stop_loss": close * 0.98,
            "minute_estimated_time": 60,
        }

    def sweeps() -> set[int]:
        gc.collect()
        return {id(each) for each in gc.get_objects() if type(each).__name__ == "SweepRun"}

    before = sweeps()
    found = bknb.sweep(
        get_signals, params={"up": [1.01, 1.02]}, symbol="BTCUSDT", exchange="demo", frame=FRAME, interval="1h"
    )
    gone = weakref.ref(found.run(0).run_record.candles.window), weakref.ref(found)
    del found
    assert sweeps() <= before
    assert [each() for each in gone] == [None, None]


@pytest.mark.slow
def test_a_live_run_that_is_over_keeps_its_minutes_alone(windows: weakref.WeakSet[Window]) -> None:
    def looks(ctx: Any) -> None:
        ctx.get_candles("ETHUSDT", "1h", 5)

    task = bknb.Live.background(
        "BTCUSDT",
        strategy=looks,
        exchange="demo",
        clock=SimulatedClock(ORIGIN),
        until="2024-01-01 00:10",
        store=bknb.stores.memory(),
    )
    candles, end = task.result(timeout=60).candles, task.now
    assert len(candles) == 10
    assert end == ORIGIN + 10 * MINUTE
    assert until(lambda: in_memory(windows) == 0, 5.0)
    assert task.candles.timestamp[-1] == end - MINUTE
    MEMORY.limit = 0
    run("ETHUSDT")
    gc.collect()
    assert task.candles == candles  # read again
    assert task.result().candles == candles
    assert task.snapshot().report() == task.result().report()


def test_a_limit_of_time_keeps_nothing_alive_once_it_is_over() -> None:
    """Its timer stays in the event loop until its moment."""
    seen: ContextVar[object | None] = ContextVar("seen", default=None)

    async def limited() -> bool:
        thing = Heavy("a", 1)
        gone, token = weakref.ref(thing), seen.set(thing)
        async with limited_to(60.0):
            await asyncio.sleep(0)
        seen.reset(token)
        del thing, token
        gc.collect()
        return gone() is None

    async def expires() -> None:
        async with limited_to(0.001) as limit:
            await asyncio.sleep(60)
        assert limit.expired()

    assert asyncio.run(limited())
    with pytest.raises(TimeoutError):
        asyncio.run(expires())


# --- the list ---------------------------------------------------------------------------------------------------


class Heavy(Task[list[int], None]):
    """Work that comes to nothing and takes some memory."""

    def __init__(self, symbol: str, size: int) -> None:
        super().__init__(symbol, "heavy")
        self.size = size
        self.gone = False

    async def _work(self) -> list[int]:
        return [1]

    def _announce_done(self) -> None: ...

    def stop(self, *, now: bool = False) -> None: ...

    def _candle_bytes(self) -> int:
        return self.size

    def _release_candles(self) -> None:
        self.gone = True


def test_the_oldest_is_released_first_and_the_newest_never() -> None:
    MEMORY.limit = 10
    tasks = TaskList[Heavy]("heavy work")
    small = [tasks.start(Heavy(symbol, 4)) for symbol in "abc"]
    for task in small:
        task.result(10)
    assert [task.gone for task in small].count(True) == 1  # they may end in any order; two of them fit
    big = tasks.start(Heavy("d", 100))
    big.result(10)
    assert [task.gone for task in (*small, big)] == [True, True, True, False]


def test_candles_that_tasks_share_are_counted_once() -> None:
    MEMORY.limit = 10
    tasks = TaskList[Heavy]("heavy work")
    series = object()
    shared = [tasks.start(Sharing(symbol, 6, series)) for symbol in "abc"]
    for task in shared:
        task.result(10)
    tasks.start(Heavy("d", 4)).result(10)
    assert not any(task.gone for task in shared)  # 6 + 4
    tasks.start(Heavy("e", 4)).result(10)
    assert all(task.gone for task in shared)  # none of them frees memory alone


class Sharing(Heavy):
    """Work whose candles other work holds too."""

    def __init__(self, symbol: str, size: int, series: object) -> None:
        super().__init__(symbol, size)
        self.series = series

    def _shared_candles(self) -> object:
        return self.series


@pytest.mark.slow
def test_live_runs_on_one_stream_share_their_minutes() -> None:
    def waits(ctx: Any) -> None: ...

    def rests(ctx: Any) -> None: ...

    clock, store, exchange = SimulatedClock(ORIGIN), bknb.stores.memory(), bknb.exchanges.demo()
    tasks = [
        bknb.Live.background(
            "BTCUSDT", strategy=strategy, exchange=exchange, clock=clock, until="2024-01-01 00:10", store=store
        )
        for strategy in (waits, rests)
    ]
    MEMORY.limit = 1_000  # the minutes of one of them take 896
    for task in tasks:
        task.result(timeout=60)
    assert len({id(task._shared_candles()) for task in tasks}) == 1
    assert all(task._shared_candles() is not None for task in tasks)  # neither has released its own


class Stuck(Heavy):
    """Work whose candles cannot be released."""

    def _release_candles(self) -> None:
        raise RuntimeError("stuck")


def test_a_release_that_fails_is_logged_and_the_next_is_released(caplog: pytest.LogCaptureFixture) -> None:
    MEMORY.limit = 10
    tasks = TaskList[Heavy]("heavy work")
    tasks.start(Stuck("a", 5)).result(10)
    second = tasks.start(Heavy("b", 5))
    second.result(10)
    big = tasks.start(Heavy("c", 100))
    assert big.result(10) == [1]
    assert second.gone
    assert "could not be released: RuntimeError('stuck')" in caplog.text


@pytest.mark.slow
def test_a_task_that_was_replaced_counts_no_more() -> None:
    MEMORY.limit = 10
    tasks = TaskList[Heavy]("heavy work")
    keeps = tasks.start(Heavy("a", 4))
    keeps.result(10)
    for _ in range(5):
        tasks.start(Heavy("b", 4)).result(10)
        gc.collect()
    assert not keeps.gone


def test_a_list_finds_by_symbol_and_name_and_names_what_it_has() -> None:
    tasks = TaskList[Heavy]("heavy work")
    tasks.add(Heavy("a", 1))
    newest = tasks.add(Heavy("a", 2))
    assert tasks.get("a", "heavy") is newest
    assert tasks.all() == [newest]
    assert tasks.find("a", "light") is None
    with pytest.raises(bknb.UnknownName, match=r"heavy on b") as raised:
        tasks.get("b", "heavy")
    assert "heavy on a" in str(raised.value)


@pytest.mark.parametrize(
    ("facade", "kind"),
    [(bknb.Backtest, "backtest"), (bknb.Live, "live run"), (bknb.Walker, "comparison"), (bknb.Optimizer, "study")],
)
def test_every_facade_names_an_unknown_run(facade: Any, kind: str) -> None:
    with pytest.raises(bknb.UnknownName, match=f"no {kind} is called 'nobody on BTCUSDT'"):
        facade.stop("BTCUSDT", "nobody")


# --- the registry -----------------------------------------------------------------------------------------------


def test_a_snapshot_of_the_registry_holds_every_kind() -> None:
    before = registry.snapshot()
    bknb.add_exchange("one", get_candles=bknb.exchanges.demo())
    bknb.add_strategy("one", interval="1h", get_signal=eager)
    bknb.add_frame("one", start=FRAME[0], end=FRAME[1])
    bknb.add_risk("one", validations=[])
    bknb.add_walker("one", exchange="one", frame="one", strategies=["one"])
    told: list[float] = []
    bknb.add_sizing(
        "one", method="kelly-criterion", callbacks={"on_calculate": lambda quantity, inputs: told.append(quantity)}
    )
    bknb.add_optimizer(
        "one", sources=["1h"], range_train=[FRAME], range_test=("2024-01-05", "2024-01-06"), model="none"
    )
    registry.middleware.append(lambda exchange: exchange)
    full = registry.snapshot()
    registry.restore(before)
    listed = [
        *(bknb.list_exchanges(), bknb.list_strategies(), bknb.list_frames(), bknb.list_risks(), bknb.list_walkers()),
        *(bknb.list_sizings(), bknb.list_optimizers()),
    ]
    assert not [names for names in listed if "one" in names]
    assert tuple(registry.middleware) == before.middleware
    registry.restore(full)
    bknb.PositionSize.kelly_criterion(
        "BTCUSDT", balance=1e4, price_open=5e4, win_rate=0.55, win_loss_ratio=1.5, sizing="one"
    )
    assert len(told) == 1
    assert bknb.get_optimizer("one").drafts == 1
    assert len(registry.middleware) == len(before.middleware) + 1


@pytest.mark.slow
def test_studies_release_their_candles_and_read_them_again(windows: weakref.WeakSet[Window]) -> None:
    bknb.add_optimizer(
        "ideas",
        sources=["1h"],
        range_train=[("2024-01-08", "2024-01-10")],
        range_test=("2024-01-10", "2024-01-12"),
        model=bknb.llm.recorded([reply(code=HONEST)]),
        ledger=None,
    )
    proposals = bknb.Optimizer.get_data("BTCUSDT", "ideas")
    (best,) = proposals
    before, shown = best.test.report(), proposals._repr_html_()
    candles = best.test.candles
    del proposals, best
    MEMORY.limit = 0
    run("ETHUSDT")
    assert in_memory(windows) == 1
    again = bknb.Optimizer.get_data("BTCUSDT", "ideas")
    assert again._repr_html_() == shown
    assert again[0].test.report() == before
    assert in_memory(windows) == 1
    assert again[0].test.candles == candles
    assert again[0].passed.test.result is again[0].test
    assert bknb.Optimizer.get_code("BTCUSDT", "ideas").count("def get_signal") == 1
    bknb.Optimizer.stop("BTCUSDT", "ideas")
