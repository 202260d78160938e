"""Large arrays of candles of a portfolio in files: the same values, memory only where they are read."""

from __future__ import annotations

import mmap
import subprocess
import sys
import tempfile
import threading
from collections import deque
from pathlib import Path

import numpy as np
import pytest

import bknb
from bknb.market.candles import Candles
from bknb.market.candles_in_mapped_files import CandleFiles

can_let_go = pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="this system keeps what was read")

MONTHS = """
import bknb

symbols = "BTCUSDT ETHUSDT SOLUSDT BNBUSDT XRPUSDT ADAUSDT DOTUSDT LTCUSDT LINKUSDT AVAXUSDT".split()
bknb.add_strategy("none", interval="4h", get_signal=lambda ctx: ctx.candles("4h", 60) and None)
frame = ("2024-01-01", "2024-05-01")
given = {"exchange": "demo", "frame": frame, "capital": 10_000, "benchmark": "equal"}
result = bknb.portfolio(symbols=symbols, strategies=["none"], **given)
highest = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(len(result.marked.equity), int(highest.split()[1]) / 1024)
"""


@can_let_go
def test_an_array_is_the_same_in_a_file_before_and_after_it_was_let_go() -> None:
    files, array = CandleFiles(smallest=80), np.arange(60_000, dtype=np.float64).reshape(6, -1)[:, 2_000:]
    kept = files.put(array)
    assert kept is not array
    assert not np.shares_memory(kept, array)
    assert not kept.flags.writeable
    for _ in range(2):
        np.testing.assert_array_equal(kept, array)
        files.let_go()
    assert files.put(kept) is kept
    assert files.put(part := kept[2:4]) is part
    assert files.put(small := np.arange(9.0)) is small
    times = files.put(np.arange(2**40, 2**40 + 10))
    assert times.dtype == np.int64
    assert times.tolist() == [*range(2**40, 2**40 + 10)]


@can_let_go
def test_candles_may_come_in_one_thread_while_another_one_lets_go() -> None:
    files, often = CandleFiles(smallest=0), sys.getswitchinterval()
    kept: deque[object] = deque(maxlen=50)
    adds = threading.Thread(target=lambda: kept.extend(files.put(np.arange(9.0)) for _ in range(500)))
    sys.setswitchinterval(1e-6)
    try:
        adds.start()
        while adds.is_alive():
            files.let_go()
    finally:
        sys.setswitchinterval(often)
        adds.join()
    assert len(kept) == 50


@can_let_go
def test_a_process_that_may_open_few_files_keeps_most_arrays_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (16, 1_024))
    files, array = CandleFiles(smallest=0), np.arange(9.0)
    kept = [files.put(array) for _ in range(6)]
    assert [each is array for each in kept] == [False] * 4 + [True] * 2


@can_let_go
def test_candles_stay_the_same_in_a_file() -> None:
    candles = Candles.from_rows([(60_000 * i, 3.0, 5.0, 2.0, 4.0 + i, 7.0) for i in range(9)])
    assert (kept := CandleFiles(smallest=0).kept(candles)) == candles
    assert kept is not candles
    assert CandleFiles().kept(candles) is candles


def test_arrays_stay_in_memory_where_no_file_can_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    array = np.arange(60.0)
    assert CandleFiles(smallest=0).put(array) is array


@can_let_go
@pytest.mark.slow
def test_legs_with_candles_in_files_are_those_of_runs_alone() -> None:
    def falls(ctx: bknb.Context) -> bknb.Signal | None:
        closes = ctx.candles("15m", 30).close
        if closes[-5:].mean() > closes.mean():
            return None
        up, down = ctx.price * 1.01, ctx.price * 0.99
        return bknb.Signal(position="long", price_take_profit=up, price_stop_loss=down, minute_estimated_time=240)

    given = {"exchange": "demo", "frame": ("2024-01-01", "2024-01-25")}
    bknb.add_strategy("falls", interval="1h", get_signal=falls)
    legs = bknb.portfolio(symbols=["BTCUSDT", "ETHUSDT"], strategies=["falls"], **given)
    for leg in legs.legs.values():
        window = leg.run_record.candles.window
        assert window is not None
        files = window.files
        assert files is not None
        minutes = window.minutes(leg.symbol)
        assert files.put(minutes.candles.block) is minutes.candles.block
        assert minutes.averages is not None
        assert minutes.candles.block.nbytes > 2**20 > minutes.averages.nbytes
        alone = bknb.backtest(leg.symbol, strategy="falls", **given)
        assert alone.run_record.records == leg.run_record.records
        assert alone.candles == leg.candles
        assert alone.account == leg.account
        assert len(alone.trades) > 10


@pytest.mark.skipif(sys.platform != "linux", reason="this system does not say what a process took of itself alone")
@pytest.mark.slow
def test_ten_symbols_over_months_of_minutes_take_little_memory(tmp_path: Path) -> None:
    call = [sys.executable, "-c", MONTHS]  # tries are counted in a ledger there
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120)
    marks, mib = done.stdout.split()
    assert int(marks) == 121 * 1_440 + 1
    assert float(mib) < 115  # with the candles in memory 190 and more; with all that was read at the end 136
