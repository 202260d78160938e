"""Values of indicators on disk: the same numbers, for the same candles and code alone, whatever is in the folder."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bknb
from bknb.market.indicator_blocks import BlockValues
from bknb.provenance import indicator_values_on_disk

OPTIONS: dict[str, Any] = {"frame": ("2024-01-04", "2024-01-12"), "exchange": "demo"}
BLOCKS = 3  # of 5m candles, that are over within that frame


def slope(close: Any, length: int) -> Any:
    return pd.Series(close).diff(length) / length


def bands(candles: Any) -> Any:
    rolling = pd.Series(candles.high).rolling(20)
    return {"up": rolling.max(), "down": rolling.min()}


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each block had that was computed, and shown to be causal."""
    found: list[int] = []
    made_of = BlockValues.made_of

    def counted(self: BlockValues, known: Any) -> Any:
        found.append(known.shape[1])
        return made_of(self, known)

    monkeypatch.setattr(BlockValues, "made_of", counted)
    return found


def values(function: Any, *parameters: Any, cache: Any, **more: Any) -> tuple[bytes, bknb.Result]:
    """All values of an indicator in a backtest, and its result."""
    asked, found = bknb.indicator(function, "5m", *parameters, lookback=30), []

    def get_signal(ctx: Any) -> None:
        found.append(np.ravel(asked(ctx)))

    settings = {"indicator_cache": cache}
    result = bknb.backtest("BTCUSDT", strategy=get_signal, interval="15m", settings=settings, **(OPTIONS | more))
    assert not result.errors, result.errors
    return np.concatenate(found).tobytes(), result


@pytest.mark.parametrize("given", [(slope, 12), (bands,)], ids=["one output", "two"])
def test_values_from_disk_are_those_that_are_made(given: Any, tmp_path: Path, computed: list[int]) -> None:
    plain, _ = values(*given, cache=False)
    assert len(computed) > 3 * BLOCKS
    assert not [*tmp_path.iterdir()]
    assert values(*given, cache=str(tmp_path))[0] == plain
    assert len([*tmp_path.rglob("*.values")]) == BLOCKS
    computed.clear()
    again, result = values(*given, cache=str(tmp_path))
    assert again == plain
    assert not result.warnings
    few = len(computed)
    longer = {"frame": ("2024-01-04", "2024-01-20")}
    assert values(*given, cache=str(tmp_path), **longer)[0].startswith(plain)
    assert len([*tmp_path.rglob("*.values")]) > BLOCKS
    computed.clear()
    values(*given, cache=str(tmp_path), **longer)
    # the first that is found is shown again and the newest is not over, however many are between
    assert len(computed) - few <= 2


def test_another_function_parameter_candle_or_version_has_values_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factor = 1.0

    def scaled(close: Any, length: int) -> Any:
        return factor * pd.Series(close).diff(length)

    seen = []

    def kept(*parameters: Any, **more: Any) -> int:
        seen.append(values(scaled, *parameters, cache=str(tmp_path), **more)[0])
        return len([*tmp_path.rglob("*.values")])

    assert kept(3) == BLOCKS
    assert kept(4) == 2 * BLOCKS
    factor = 2.0  # what the function reads, and no line of it
    assert kept(3) == 3 * BLOCKS
    assert (np.frombuffer(seen[2]) == 2 * np.frombuffer(seen[0])).all()
    rows = asyncio.run(bknb.exchanges.demo().get_candles("BTCUSDT", "1m", 1_703_376_000_000, 40_000)).to_pandas()
    assert kept(3, exchange=bknb.exchanges.from_frame(rows)) == 3 * BLOCKS  # the same candles from elsewhere
    rows.iloc[17_534, [rows.columns.get_loc(name) for name in ("low", "close")]] -= 1  # of one within the first block
    count = kept(3, exchange=bknb.exchanges.from_frame(rows))
    assert 3 * BLOCKS < count < 4 * BLOCKS
    assert seen[3] == seen[2] != seen[4]
    monkeypatch.setattr(indicator_values_on_disk, "_machine", lambda: "another one")
    assert kept(3) == count + BLOCKS
    assert seen[5] == seen[2]


def test_files_that_are_torn_flipped_or_foreign_are_made_anew(tmp_path: Path) -> None:
    plain, _ = values(slope, 12, cache=str(tmp_path))
    one, other, _ = sorted(tmp_path.rglob("*.values"))
    whole, of_other = one.read_bytes(), other.read_bytes()
    rng = np.random.default_rng(1)
    flipped = []
    for place in (0, 20, 50, *rng.integers(0, len(whole), 12).tolist()):
        content = bytearray(whole)
        content[place] ^= 1 << int(rng.integers(8))
        flipped.append(bytes(content))
    for content in (b"", whole[:40], whole[:-1], whole + b"\0", of_other, b"another program's", *flipped):
        one.write_bytes(content)
        found, result = values(slope, 12, cache=str(tmp_path))
        assert found == plain
        assert not result.warnings
        assert one.read_bytes() == whole


def test_values_that_the_code_does_not_explain_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the function had read something that nobody sees: what is kept is whole, and is not what is made now."""
    plain, _ = values(slope, 12, cache=False)
    seal = indicator_values_on_disk.ValuesOnDisk.keep

    def keep(self: Any, known: Any, made: Any, before: int) -> None:
        seal(self, known, made._replace(values=made.values + 1), before)

    with monkeypatch.context() as patched:
        patched.setattr(indicator_values_on_disk.ValuesOnDisk, "keep", keep)
        assert values(slope, 12, cache=str(tmp_path))[0] == plain
    found, result = values(slope, 12, cache=str(tmp_path))
    assert found == plain
    (warning,) = result.warnings
    assert "other values than those that were kept on disk" in warning


def test_what_reads_files_is_not_kept_and_what_leaks_is_refused_each_time(tmp_path: Path) -> None:
    levels = tmp_path / "levels.txt"
    levels.write_text("2")

    def from_file(close: Any) -> Any:
        return close * float(levels.read_text())

    _, result = values(from_file, cache=str(tmp_path / "kept"))
    (warning,) = result.warnings
    assert warning.startswith("values of the indicator from_file are not kept on disk: ")
    assert not (tmp_path / "kept").exists()

    def leaks(close: Any) -> Any:
        return pd.Series(close).shift(-1)

    for _ in range(2):
        with pytest.raises(AssertionError, match="LookaheadError"):
            values(leaks, cache=str(tmp_path / "kept"))
    assert not [*tmp_path.rglob("*.values")]


def test_they_are_beside_the_candle_store_and_rows_take_them_too(tmp_path: Path, computed: list[int]) -> None:
    pulse = bknb.indicator(slope, "15m", 12, lookback=12)

    def get_signals(candles: Any) -> dict[str, Any]:
        rises = pulse(candles) > 0
        return {"position": rises, "target_percent": 2, "stop_percent": 1, "minute_estimated_time": 600}

    stored = bknb.exchanges.stored(bknb.exchanges.demo(), folder=tmp_path / "candles")
    given: dict[str, Any] = {"strategy": get_signals, "interval": "15m", **OPTIONS, "exchange": stored}
    plain = bknb.backtest("BTCUSDT", **given)
    trades, counts = [], []
    for _ in range(2):
        computed.clear()
        result = bknb.backtest("BTCUSDT", settings={"indicator_cache": True}, **given)
        trades.append(result.trades)
        counts.append(len(computed))
    assert len(trades[0]) > 5
    assert all(each.equals(plain.trades) for each in trades)
    assert counts[0] > counts[1]
    assert [*(tmp_path / "indicators").rglob("*.values")]


def test_a_folder_that_cannot_be_written_is_told_once_and_the_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    plain, _ = values(slope, 12, cache=False)
    found, result = values(slope, 12, cache=str(tmp_path / "file"))
    assert found == plain
    (warning,) = result.warnings
    assert "cannot be kept in" in warning


@pytest.mark.parametrize("wrong", [1, None, "", "a\0b"])
def test_a_setting_that_is_no_folder_is_refused(wrong: Any) -> None:
    with pytest.raises(bknb.UsageError, match="indicator_cache must be True, False or a folder"):
        bknb.set_config(indicator_cache=wrong)
