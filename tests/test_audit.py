"""An audit finds what was planted, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from packages import need_packages

import bknb
from bknb.exchanges.dataframe_source import FrameSource
from bknb.market.candles import Candles
from bknb.market.content_hash_of_candles import content_hash
from bknb.market.demo import DemoSource
from bknb.market.resample import resample
from bknb.testing.fake_binance import LocalBinance

need_packages("ccxt", "pyarrow")

MINUTE = 60_000
START = 1_704_067_200_000  # 2024-01-01 00:00 UTC
DAY = {"start": START, "end": START + 1440 * MINUTE}
NOW = START + 30 * 86_400_000


def demo() -> Candles:
    return asyncio.run(DemoSource().get_candles("BTCUSDT", "1m", START - 1440 * MINUTE, 3 * 1440))


def planted(edit: Any) -> FrameSource:
    block = demo().block.copy()
    return FrameSource(Candles(edit(block)), name="planted")


@pytest.fixture
def server() -> Iterator[LocalBinance]:
    with LocalBinance(DemoSource(), now=lambda: NOW) as running:
        yield running


def binance(server: LocalBinance, folder: Path) -> Any:
    return bknb.exchanges.ccxt("binance", cache=folder, config={**server.ccxt_config, "rateLimit": 1})


def audited(source: Any, folder: Path, **more: Any) -> bknb.Audit:
    market = bknb.exchanges.stored(source, folder=folder)
    bknb.download("BTCUSDT", exchange=market, progress=False, **DAY)
    return bknb.audit("BTCUSDT", exchange=market, **DAY, **more)


@pytest.mark.slow
def test_a_sound_market_is_sound(tmp_path: Path) -> None:
    found = audited(DemoSource(), tmp_path)
    assert found.sound
    assert found.hashes == {"BTCUSDT": content_hash(demo()[1440:2880])}
    assert str(found).splitlines()[0] == "candles from demo, 2024-01-01 00:00 UTC .. 2024-01-02 00:00 UTC: sound"


def test_planted_oddities_are_found(tmp_path: Path) -> None:
    def edit(block: Any) -> Any:
        block[5, 1500:1600] = 0.0  # a hundred minutes without a trade
        block[1:5, 2000] *= 1.5  # a spike, up and down again
        return np.delete(block, slice(1700, 1710), axis=1)

    found = audited(planted(edit), tmp_path)
    kinds = [(one.kind, (one.when - START) // MINUTE) for one in found.findings]
    assert kinds == [("flat", 60), ("absent", 260), ("wild", 560), ("wild", 561)]
    text = str(found)
    assert "flat: 2024-01-01 01:00 UTC .. 2024-01-01 02:39 UTC (100 minutes); nothing was traded" in text
    assert "absent: 2024-01-01 04:20 UTC .. 2024-01-01 04:29 UTC (10 minutes); the exchange has no candles" in text
    assert "4 findings" in found._repr_html_()


def test_what_was_never_downloaded_is_missing(tmp_path: Path) -> None:
    market = bknb.exchanges.stored(DemoSource(), folder=tmp_path)
    half = {"start": START, "end": START + 720 * MINUTE}
    bknb.download("BTCUSDT", exchange=market, progress=False, warmup_minutes=0, **half)
    (one,) = bknb.audit("BTCUSDT", exchange=market, **DAY).findings
    assert (one.kind, one.text) == (
        "missing",
        "2024-01-01 12:05 UTC .. 2024-01-01 23:59 UTC (715 minutes); never downloaded, or not to be had",
    )


def test_longer_candles_are_compared_with_minutes(server: LocalBinance, tmp_path: Path) -> None:
    market = binance(server, tmp_path)
    bknb.download("BTCUSDT", exchange=market, progress=False, **DAY)
    assert bknb.audit("BTCUSDT", exchange=market, compare=("15m", "4h"), **DAY).compared == {
        ("BTC/USDT", "15m"): 96,
        ("BTC/USDT", "4h"): 6,
    }
    server.corrections["BTCUSDT", START + 3 * 3_600_000] = 50_000.0
    found = bknb.audit("BTCUSDT", exchange=market, compare=["1h"], **DAY)
    (one,) = found.findings
    assert one.kind == "differs"
    assert one.text.startswith("1h candle of 2024-01-01 03:00 UTC: low 50000, minutes make ")
    assert "; close 50000, minutes make " in one.text


def test_wrong_use_is_reported(tmp_path: Path) -> None:
    market = bknb.exchanges.stored(DemoSource(), folder=tmp_path)
    with pytest.raises(bknb.UsageError, match="has no 1h candles of its own"):
        bknb.audit("BTCUSDT", exchange=market, compare="1h", **DAY)
    with pytest.raises(bknb.UsageError, match="compared with themselves"):
        bknb.audit("BTCUSDT", exchange=market, compare="1m", **DAY)


def hours(edit: Any = None) -> FrameSource:
    block = resample(demo(), "1h").block.copy()
    return FrameSource(Candles(block if edit is None else edit(block)), name="hours")


def test_longer_bars_are_downloaded_and_audited(tmp_path: Path) -> None:
    market = bknb.exchanges.stored(hours(), folder=tmp_path)
    done = bknb.download("BTCUSDT", exchange=market, progress=False, **DAY)
    assert (done.interval, done.complete, done.series[0].candles) == ("1h", True, 24)
    found = bknb.audit("BTCUSDT", exchange=market, **DAY)
    assert found.sound, found
    assert (found.base, str(found).splitlines()[1][:19]) == ("1h", "  BTCUSDT: 1h bars ")
    with pytest.raises(bknb.UsageError, match="1h bars cannot be compared with themselves"):
        bknb.audit("BTCUSDT", exchange=market, compare="1h", **DAY)
    with pytest.raises(bknb.UsageError, match="30m candles cannot be made of the 1h bars of"):
        bknb.audit("BTCUSDT", exchange=market, compare="30m", **DAY)


def test_an_audit_finds_what_was_planted_in_longer_bars(tmp_path: Path) -> None:
    def edit(block: Any) -> Any:
        block[1:5, 30:] *= 1.7  # from 06:00 on
        block[5, 36:40] = 0.0
        return np.delete(block, 44, axis=1)

    market = bknb.exchanges.stored(hours(edit), folder=tmp_path)
    bknb.download("BTCUSDT", exchange=market, progress=False, **DAY)
    found = bknb.audit("BTCUSDT", exchange=market, **DAY)
    assert [(each.kind, (each.when - START) // (60 * MINUTE)) for each in found.findings] == [
        ("wild", 6), ("flat", 12), ("absent", 20),
    ]  # fmt: skip
    assert "% in a 1h bar" in found.findings[0].text
    assert "2024-01-01 12:00 UTC .. 2024-01-01 15:00 UTC (4 1h bars); nothing was traded" in found.findings[1].text


def test_days_of_a_market_with_weekends_have_no_gaps_there(tmp_path: Path) -> None:
    index = pd.date_range("2024-01-01", periods=100, freq="B", tz="UTC")
    price = 100.0 + np.arange(100) % 7
    table = pd.DataFrame(
        {"open": price, "high": price + 2, "low": price - 1, "close": price, "volume": 1e6}, index=index
    )
    market = bknb.exchanges.stored(bknb.exchanges.from_frame(table, symbol="X"), folder=tmp_path)
    range_ = {"start": "2024-02-01", "end": "2024-04-01"}
    assert bknb.download("X", exchange=market, progress=False, **range_).complete
    found = bknb.audit("X", exchange=market, **range_)
    assert [each for each in found.findings if each.kind in ("missing", "absent")] == []
