"""Candles and the manifest of a shared folder: what is kept of answers, read back to the last bit, and refused."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from quick import first_quick

import bknb
from bknb.engine.registry import Exchange
from bknb.exchanges.candle_bundle import Bundle, CandleFile, Manifest, Record, csv_bytes
from bknb.market.candles import Candles


def series(count: int, since: int = 0) -> Candles:
    price = np.random.default_rng(7).uniform(1e-9, 1e9, count)
    times = since + 60_000 * np.arange(count)
    return Candles.from_columns(timestamp=times, open=price, high=price, low=price, close=price, volume=price)


def test_every_float_comes_back_to_the_last_bit() -> None:
    from bknb.exchanges.candle_bundle import _parsed

    candles = series(5_000)
    assert _parsed(gzip.decompress(csv_bytes(candles))) == candles
    assert csv_bytes(candles) == csv_bytes(candles.copy())


def record_of(*answers: tuple[int, Candles]) -> Record:
    record = Record()

    class Source:
        name, intervals, page_limit = "given", ("1m",), None

        def __init__(self) -> None:
            self.left = [candles for _, candles in answers]

        async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
            return self.left.pop(0)

        def format_price(self, symbol: str, price: float) -> str:
            return "exact"

        format_quantity = format_price

    exchange = record.wrap(Exchange("given", Source()))
    assert exchange.source.format_price("x", 1.0) == "exact"
    assert isinstance(exchange.source, Source)
    for since, _ in answers:
        asyncio.run(exchange.source.get_candles("BTCUSDT", "1m", since, 10))
    return record


def test_overlapping_answers_become_one_series() -> None:
    whole = series(30)
    record = record_of((600_000, whole[10:20]), (0, whole[:10]), (300_000, whole[5:15]), (1_200_000, whole[20:30]))
    assert record.merged() == {("given", "BTCUSDT", "1m"): whole}


def test_only_what_was_asked_for_is_kept() -> None:
    assert record_of((300_000, series(30))).merged()["given", "BTCUSDT", "1m"] == series(30)[5:15]


def test_two_sources_of_one_name_are_refused() -> None:
    other = Candles.from_rows([(0, 1.0, 1.0, 1.0, 1.0, 1.0)])
    with pytest.raises(bknb.UsageError, match="two sources of that name"):
        record_of((0, series(5)), (0, other)).merged()


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"bknb_share": 99, "notebook": "x"})])
def test_a_manifest_that_cannot_be_read_is_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "bknb-share.json").write_text(content)
    with pytest.raises(bknb.StateError, match=r"cannot be read|written by a newer bknb"):
        Bundle(tmp_path, explain=lambda file, candles: "")


def test_the_manifest_of_no_folder_is_told() -> None:
    explain: Callable[..., str] = lambda file, candles: ""  # noqa: E731
    with pytest.raises(bknb.UsageError, match=r"there is no bknb-share\.json"):
        Bundle(Path("/nowhere"), explain=explain)


@pytest.mark.parametrize(
    ("changed", "count", "says", "most_mb"),
    first_quick(
        [
            (False, 10, "holds more than 2,200 bytes, and 10 candles were to be in it", 5),
            (True, 10, "holds more than 2,200 bytes, and 10 candles were to be in it", 5),
            (False, 10**18, "and none of its size can hold more", 20),
        ]
    ),
)
def test_a_received_file_is_unpacked_no_further_than_its_candles_can_go(
    tmp_path: Path, *, changed: bool, count: int, says: str, most_mb: int
) -> None:
    content = gzip.compress(b"timestamp,open,high,low,close,volume\n" + b"0" * 50_000_000)
    (tmp_path / "candles").mkdir()
    (tmp_path / "candles" / "a.csv.gz").write_bytes(content)
    entry = CandleFile(
        exchange="given", symbol="BTCUSDT", interval="1m", path="candles/a.csv.gz", count=count, first=0, last=540_000,
        sha256="0" * 64 if changed else hashlib.sha256(content).hexdigest(),
    )  # fmt: skip
    (tmp_path / "bknb-share.json").write_bytes(msgspec.json.encode(Manifest(notebook="n.ipynb", candles=(entry,))))
    tracemalloc.start()
    with pytest.raises(bknb.StateError, match=says):
        Bundle(tmp_path, explain=lambda file, candles: "")
    assert tracemalloc.get_traced_memory()[1] < most_mb * 1_000_000
    tracemalloc.stop()


def test_calm_candles_that_pack_well_are_unpacked() -> None:
    from bknb.exchanges.candle_bundle import _parsed, _unpacked

    calm = Candles.from_rows([(k * 86_400_000, *[100.0] * 4, 1.0) for k in range(5_000)])
    packed = csv_bytes(calm)
    entry = CandleFile(
        exchange="given", symbol="BTCUSDT", interval="1d", path="a", count=5_000, first=0, last=0, sha256=""
    )
    assert _parsed(_unpacked(packed, entry)) == calm
