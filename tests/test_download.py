"""Downloads: complete, resumed after interrupts and errors, with a correct report."""

from __future__ import annotations

import _thread
import asyncio
import atexit
import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packages import need_packages

import bknb
from bknb.domain.retry_pauses import Patience
from bknb.exchanges.downloaded_candles import DownloadProgress
from bknb.history.candle_store import CandleStore
from bknb.history.partition import SeriesName
from bknb.market.candles import Candles
from bknb.market.content_hash_of_candles import content_hash
from bknb.market.demo import DemoSource
from bknb.testing.fake_binance import LocalBinance, Market

need_packages("ccxt", "pyarrow")

MINUTE = 60_000
START = 1_706_659_200_000  # 2024-01-31 00:00 UTC: a day before a month ends
NOW = START + 20 * 86_400_000
SERIES = SeriesName("binance", "BTC/USDT", "1m")


def at(minute: int) -> int:
    return START + minute * MINUTE


def truth(first: int, end: int, symbol: str = "BTCUSDT") -> Candles:
    return asyncio.run(DemoSource().get_candles(symbol, "1m", at(first), end - first))


@pytest.fixture
def server() -> Iterator[LocalBinance]:
    with LocalBinance(DemoSource(), now=lambda: NOW, absent=[(at(1400), at(1500))]) as running:
        yield running


def exchange(server: LocalBinance, folder: Path) -> Any:
    patience = Patience(attempts=3, first_pause_ms=1, longest_pause_ms=5)
    config = {**server.ccxt_config, "rateLimit": 1}
    return bknb.exchanges.ccxt("binance", cache=folder, config=config, patience=patience)


def download(server: LocalBinance, folder: Path, symbols: Any = "BTCUSDT", **more: Any) -> bknb.Downloaded:
    given: dict[str, Any] = {"start": at(0), "end": at(4000), "warmup_minutes": 0, "progress": False}
    return bknb.download(symbols, exchange=exchange(server, folder), **{**given, **more})


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.parquet"))}


@pytest.mark.slow
def test_several_symbols_are_complete_and_the_second_time_nothing_is_asked(
    server: LocalBinance, tmp_path: Path
) -> None:
    done = download(server, tmp_path, "BTCUSDT, ETHUSDT")
    assert done.complete
    assert [one.symbol for one in done.series] == ["BTC/USDT", "ETH/USDT"]
    assert [one.candles for one in done.series] == [3900, 3900]
    assert all(one.absent == ((at(1400), at(1500)),) for one in done.series)
    stored = CandleStore(tmp_path).read(SERIES, at(0), at(4000))
    assert stored == Candles.concat([truth(0, 1400), truth(1500, 4000)])
    assert done.series[0].content_hash == content_hash(stored)
    asked = len(server.asked("klines"))
    again = download(server, tmp_path, ["BTCUSDT", "ETHUSDT"])
    assert len(server.asked("klines")) == asked
    assert (again.requests, [one.added for one in again.series]) == (0, [0, 0])
    assert [one.content_hash for one in again.series] == [one.content_hash for one in done.series]


@pytest.mark.slow
def test_the_report_lists_what_was_downloaded(server: LocalBinance, tmp_path: Path) -> None:
    done = download(server, tmp_path)
    text = str(done)
    assert text.splitlines()[0].startswith(
        "1m candles from binance, 2024-01-31 00:00 UTC .. 2024-02-02 18:40 UTC: complete,"
    )
    assert text.splitlines()[2].split()[:5] == ["BTC/USDT", "3,900", "3,905", "100", "0"]
    assert done.series[0].content_hash[:12] in done._repr_html_()


def test_a_backtest_over_a_downloaded_range_asks_nothing_more(server: LocalBinance, tmp_path: Path) -> None:
    market = exchange(server, tmp_path)
    bknb.download("BTCUSDT", exchange=market, start=at(1600), end=at(3000), warmup_minutes=60, progress=False)
    asked = len(server.asked("klines"))
    result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange=market, frame=(at(1600), at(3000)))
    assert len(server.asked("klines")) == asked
    assert result.warnings == []


def test_a_longer_interval_comes_from_the_exchange(server: LocalBinance, tmp_path: Path) -> None:
    done = download(server, tmp_path, interval="1h", start="2024-01-01", end="2024-02-10")
    assert done.complete
    assert done.series[0].candles == 40 * 24 - 1
    assert done.series[0].absent == ((at(1440), at(1500)),)
    assert {request.query["interval"] for request in server.asked("klines")} == {"1h"}
    assert list(files(tmp_path)) == ["binance/BTC%2FUSDT/1h/2024.parquet"]


@pytest.mark.slow
def test_an_error_keeps_what_came_and_the_next_call_goes_on(server: LocalBinance, tmp_path: Path) -> None:
    server.faults.extend([None, None, *["500"] * 3])  # type: ignore[list-item]
    with pytest.raises(bknb.DataError, match="no answer after 3 attempts"):
        download(server, tmp_path, at_once=1)
    kept = len(CandleStore(tmp_path).read(SERIES))
    assert kept >= 1000
    asked = len(server.asked("klines"))
    assert download(server, tmp_path, at_once=1).complete
    assert len(server.asked("klines")) - asked < 10
    whole = tmp_path / "at once"
    assert download(server, whole).complete
    assert {name: data for name, data in files(tmp_path).items() if "at once" not in name} == files(whole)


@pytest.mark.slow
def test_an_interrupt_keeps_what_came(server: LocalBinance, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.slow_s = 0.3
    server.faults.extend([None, *["slow"] * 40])  # type: ignore[list-item]
    interrupted = []

    def interrupt() -> None:
        if len(server.asked("klines")) >= 3 and not interrupted:
            interrupted.append(True)
            _thread.interrupt_main()

    server.on_klines = interrupt
    with pytest.raises(KeyboardInterrupt):
        download(server, tmp_path, at_once=1, progress=True, end=at(15_000))
    assert len(CandleStore(tmp_path).read(SERIES)) >= 900
    assert "interrupted; what came is kept" in capsys.readouterr().err
    server.faults.clear()
    assert download(server, tmp_path, end=at(15_000)).complete


@pytest.mark.slow
def test_progress_is_reported_up_to_the_end(server: LocalBinance, tmp_path: Path) -> None:
    told: list[DownloadProgress] = []
    server.slow_s = 0.15
    server.faults.extend(["slow"] * 8)
    download(server, tmp_path, at_once=1, progress=told.append)
    fractions = [state.fraction for state in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert 0 < fractions[len(fractions) // 2] < 1


@pytest.mark.slow
def test_again_replaces_changed_candles_and_reports_them(server: LocalBinance, tmp_path: Path) -> None:
    download(server, tmp_path)
    server.corrections["BTCUSDT", at(77)] = 50_000.0
    assert download(server, tmp_path).warnings == ()
    with_note = download(server, tmp_path, again=True)
    assert "1 candle revised by the exchange, the first at 2024-01-31 01:17 UTC" in with_note.warnings[0]
    assert CandleStore(tmp_path).read(SERIES, at(77), at(78)).close.tolist() == [50_000.0]


def test_a_name_of_ccxt_is_enough(tmp_path: Path) -> None:
    with pytest.raises(bknb.UnknownName, match="did you mean 'binance'"):
        bknb.download("BTCUSDT", exchange="binanc", start="2024-01-01", end="2024-01-02", folder=tmp_path)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"start": "2024-02-01", "end": "2024-01-01"}, "must end after it starts"),
        ({"symbols": ""}, "symbols must be names"),
        ({"interval": "7m"}, "unknown interval"),
        ({"start": "soon"}, "start must be"),
        ({"start": None}, "say which range"),
        ({"frame": "2024-01-01:2024-01-02"}, "not both"),
    ],
)
def test_wrong_use_is_reported(server: LocalBinance, tmp_path: Path, wrong: dict[str, Any], says: str) -> None:
    given = {"symbols": "BTCUSDT", **wrong}
    with pytest.raises(bknb.UsageError, match=says):
        download(server, tmp_path, given.pop("symbols"), **given)


# --- any order, any interruption -----------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.integers(0, 3900), st.integers(1, 2500), st.sampled_from(["BTCUSDT", "BTC/USDT"]), st.integers(0, 6)),
    max_size=4,
)


@pytest.mark.slow
@settings(max_examples=5)
@given(STEPS, st.integers(0, 2**32))
def test_any_order_of_overlapping_and_interrupted_downloads_gives_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, str, int]], seed: int
) -> None:
    odd = ["truncated", "duplicated", "reordered", "429", "not json", None]
    with LocalBinance(DemoSource(), now=lambda: NOW, absent=[(at(1400), at(1500))], retry_after_s=0) as server:
        at_once, in_steps = (tmp_path_factory.mktemp(name) for name in ("once", "steps"))
        download(server, at_once)
        chance = random.Random(seed)  # noqa: S311
        for first, size, symbol, good in steps:
            server.faults.extend([*(chance.choice(odd) for _ in range(good)), "500", "500", "500"])  # type: ignore[misc,list-item]
            with contextlib.suppress(bknb.DataError):
                download(server, in_steps, symbol, start=at(first), end=at(min(first + size, 4000)), at_once=1)
            server.faults.clear()
        download(server, in_steps)
        assert files(in_steps) == files(at_once)


KILLED = """
import sys, bknb
from pathlib import Path
config = {{"urls": {{"api": {{name: {url!r} + path for name, path in
    [("public", "/api/v3"), ("fapiPublic", "/fapi/v1"), ("dapiPublic", "/dapi/v1")]}}}}, "rateLimit": 1}}
binance = bknb.exchanges.ccxt("binance", cache={folder!r}, config=config)
bknb.download("BTCUSDT", exchange=binance, start={start}, end={end}, warmup_minutes=0, progress=False, at_once=2)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_download_that_is_killed_goes_on_where_it_was(server: LocalBinance, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    script = KILLED.format(url=server.url, folder=str(killed), start=at(0), end=at(28_000))
    children: list[subprocess.Popen[bytes]] = []
    seen = threading.Event()

    def kill() -> None:
        if len(server.asked("klines")) == 24 and children:
            os.kill(children[0].pid, signal.SIGKILL)
            seen.set()

    server.on_klines = kill
    children.append(subprocess.Popen([sys.executable, "-c", script]))
    assert children[0].wait(60) == -signal.SIGKILL
    assert seen.is_set()
    kept = CandleStore(killed)
    assert kept.problems() == []
    assert len(kept.read(SERIES)) > 0
    server.on_klines = None
    asked = len(server.asked("klines"))
    assert download(server, killed, end=at(28_000)).complete
    assert len(server.asked("klines")) - asked < 24
    assert download(server, whole, end=at(28_000)).complete
    assert files(killed) == files(whole)


@pytest.mark.slow
def test_two_downloads_at_once_lose_nothing(server: LocalBinance, tmp_path: Path) -> None:
    together, alone = tmp_path / "together", tmp_path / "alone"
    script = KILLED.format(url=server.url, folder=str(together), start=at(0), end=at(6000))
    children = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    assert [child.wait(60) for child in children] == [0, 0]
    assert download(server, alone, end=at(6000)).complete
    assert files(together) == files(alone)


def test_a_market_that_began_later_is_no_error(tmp_path: Path) -> None:
    with LocalBinance(DemoSource(), now=lambda: NOW, markets=[Market(base="BTC", listed_at=at(3000))]) as server:
        done = download(server, tmp_path)
        assert done.complete
        assert done.series[0].absent == ((at(0), at(3000)),)


@pytest.fixture
def shell() -> Iterator[Any]:
    shells = pytest.importorskip("IPython.core.interactiveshell")
    from traitlets.config import Config

    from bknb.jupyter.extension import load_ipython_extension, unload_ipython_extension

    config = Config()
    config.HistoryManager.enabled = False
    made = shells.InteractiveShell(config=config)
    load_ipython_extension(made)
    yield made
    unload_ipython_extension(made)
    atexit.unregister(made.atexit_operations)


@pytest.mark.slow
def test_in_a_notebook_cell(
    server: LocalBinance, tmp_path: Path, shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.user_ns["market"] = exchange(server, tmp_path)
    frame = "2024-01-31:2024-02-01"
    shell.run_cell(f"%download BTCUSDT,ETHUSDT --exchange {{market}} --frame {frame} --out done")
    assert shell.user_ns["done"].complete
    assert [one.candles for one in shell.user_ns["done"].series] == [1400, 1400]
    shell.run_cell(f"%download BTCUSDT --exchange {{market}} --frame {frame} --again all --out done")
    everything = shell.user_ns["done"].requests
    assert everything > 1  # all is known, and asked for all the same
    shell.run_cell(f"%download BTCUSDT --exchange {{market}} --frame {frame} --again absent --out done")
    assert 0 < shell.user_ns["done"].requests < everything
    shell.run_cell(f"%download BTCUSDT --exchange {{market}} --frame {frame} --again holes")
    assert "again must be 'all' (or True), 'absent' or False, got 'holes'" in capsys.readouterr().out
    shell.run_cell("%download BTCUSDT --exchange {market}")
    assert "say which range" in capsys.readouterr().out
