"""Candles on disk: the same bytes in whatever order they come, and never damaged by anybody."""

from __future__ import annotations

import errno
import hashlib
import itertools
import multiprocessing
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packages import need_packages

from bknb.domain.interval import INTERVAL_MS
from bknb.domain.ranges import length, merged, within, without
from bknb.errors import BadCandle, StateError, UsageError
from bknb.history.candle_store import CandleStore
from bknb.history.partition import SeriesName, encoded, period_of
from bknb.market.candles import Candles
from bknb.market.content_hash_of_candles import content_hash
from bknb.testing.faults import FaultyDisk, PowerCutDisk

need_packages("pyarrow")

MINUTE = 60_000
START = 1_643_500_800_000  # 2022-01-30 00:00 UTC: two days before a month ends
LATER = START + 40 * 86_400_000
SERIES = SeriesName("binance", "BTC/USDT", "1m")


def tape(*minutes: int, step: int = MINUTE) -> Candles:
    return Candles.from_rows([(START + n * step, 100.0 + n, 102.0 + n, 99.0 + n, 101.0 + n, 1.0 + n) for n in minutes])


def span(first: int, end: int) -> tuple[int, int]:
    return START + first * MINUTE, START + end * MINUTE


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.parquet"))}


# --- sets of moments -----------------------------------------------------------------------------------------------

RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8)


def moments(ranges: object) -> set[int]:
    return {moment for first, end in ranges for moment in range(first, end)}  # type: ignore[attr-defined]


@pytest.mark.slow
@given(RANGES, RANGES, st.integers(0, 60), st.integers(0, 60))
def test_ranges_are_sets(one: list[tuple[int, int]], two: list[tuple[int, int]], low: int, high: int) -> None:
    assert moments(merged(one)) == moments(one)
    assert moments(without(one, two)) == moments(one) - moments(two)
    assert moments(within(one, low, high)) == moments(one) & set(range(low, high))
    assert length(merged(one)) == len(moments(one))
    for ranges in (merged(one), without(one, two), within(one, low, high)):
        assert list(ranges) == sorted(ranges)
        assert all(a[1] < b[0] for a, b in itertools.pairwise(ranges))


# --- what is kept --------------------------------------------------------------------------------------------------


def test_what_was_put_can_be_read(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    candles = tape(*range(10_000))  # over the end of a month
    assert store.put(SERIES, candles, now=LATER).added == 10_000
    assert store.read(SERIES) == candles
    assert store.read(SERIES, *span(5, 9)) == candles[5:9]
    assert list(files(tmp_path)) == ["binance/BTC%2FUSDT/1m/2022-01.parquet", "binance/BTC%2FUSDT/1m/2022-02.parquet"]
    assert store.series() == [SERIES]
    assert store.known(SERIES) == (span(0, 10_000),)
    assert store.problems() == []
    assert len(store.read(SeriesName("binance", "ETH/USDT", "1m"))) == 0


def test_absent_candles_differ_from_candles_never_requested(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.put(SERIES, tape(0, 1, 5), known=[span(0, 8), span(10, 12)], now=LATER)
    assert store.absent(SERIES, *span(0, 20)) == (span(2, 5), span(6, 8), span(10, 12))
    assert store.missing(SERIES, *span(0, 20)) == (span(8, 10), span(12, 20))


@pytest.mark.parametrize(("interval", "names"), [("30m", ["2022-01", "2022-02"]), ("1h", ["2022"]), ("1d", ["2022"])])
def test_longer_candles_lie_in_longer_files(tmp_path: Path, interval: str, names: list[str]) -> None:
    store = CandleStore(tmp_path)
    series = SeriesName("binance", "BTC/USDT", interval)
    store.put(series, tape(*range(120), step=INTERVAL_MS[interval]), now=LATER + 200 * 86_400_000)
    assert [Path(name).stem for name in files(tmp_path)] == names


def test_a_forming_candle_is_never_stored(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.put(SERIES, tape(0, 1, 2), known=[span(0, 10)], now=START + 2 * MINUTE + 59_999)
    assert store.read(SERIES) == tape(0, 1)
    assert store.known(SERIES) == (span(0, 2),)
    store.put(SERIES, tape(2), now=START + 3 * MINUTE)
    assert store.read(SERIES) == tape(0, 1, 2)


def test_appending_rewrites_one_month_and_equal_candles_write_nothing(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.put(SERIES, tape(*range(4000)), now=LATER)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    assert store.put(SERIES, tape(*range(3000, 5000)), now=LATER).added == 1000
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    assert [path.stem for path in after if after[path] != before[path]] == ["2022-02"]
    disk = FaultyDisk(only=("create", "replace"))
    assert CandleStore(tmp_path, disk=disk).put(SERIES, tape(*range(5000)), now=LATER).added == 0
    assert disk.calls == []


def test_names_that_differ_stay_apart(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    names = ["BTC/USDT", "BTC%2FUSDT", "BTC/USDT:USDT", "..", "aux", "x" * 300, "x" * 301]
    for number, name in enumerate(names):
        store.put(SeriesName("binance", name, "1m"), tape(number), now=LATER)
    assert {series.symbol for series in store.series()} == set(names)
    for number, name in enumerate(names):
        assert store.read(SeriesName("binance", name, "1m")) == tape(number)


# --- the content hash ----------------------------------------------------------------------------------------------


def test_the_content_hash_is_that_of_the_values_alone(tmp_path: Path) -> None:
    candles = tape(*range(5000))
    store = CandleStore(tmp_path)
    store.put(SERIES, candles, now=LATER)
    name = content_hash(candles)
    assert (
        name
        == hashlib.sha256(
            b"bknb candles 1\n" + b"".join(np.ascontiguousarray(row).tobytes() for row in candles.block)
        ).hexdigest()
    )
    assert content_hash(store.read(SERIES)) == name
    assert content_hash(Candles.concat([candles[:17], candles[17:]])) == name
    zero = Candles.from_rows([(0, 1.0, 1.0, 1.0, 1.0, 0.0)])
    minus = Candles.from_rows([(0, 1.0, 1.0, 1.0, 1.0, -0.0)])
    assert content_hash(zero) == content_hash(minus)


@given(st.integers(0, 29), st.integers(0, 5))
def test_any_change_changes_the_content_hash(row: int, column: int) -> None:
    candles = tape(*range(30))
    block = candles.block.copy()
    block[column].view(np.int64)[row] += 1
    assert content_hash(Candles(block)) != content_hash(candles)


# --- bad data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        ([(START + 5 * MINUTE, 1.0, 0.5, 1.0, 1.0, 1.0)], "high must not be below low"),
        ([(START + 5 * MINUTE, 1.0, 1.0, 1.0, float("nan"), 1.0)], "finite"),
        ([(START + 5 * MINUTE, 1.0, 1.0, -1.0, 1.0, 1.0)], "above 0"),
        ([(START + 5 * MINUTE, 1.0, 1.0, 1.0, 1.0, -1.0)], "volume"),
        ([(START + 5 * MINUTE + 1, 1.0, 1.0, 1.0, 1.0, 1.0)], "multiple of 1m"),
        ([(START + 5 * MINUTE, 1.0, 1.0, 1.0, 1.0, 1.0)] * 2, "later than"),
    ],
)
def test_bad_data_is_refused_with_candle_rule_and_file(tmp_path: Path, bad: list[tuple[float, ...]], rule: str) -> None:
    store = CandleStore(tmp_path)
    store.put(SERIES, tape(0, 1), now=LATER)
    before = files(tmp_path)
    with pytest.raises(BadCandle) as refused:
        store.put(SERIES, Candles.from_rows(bad), now=LATER)
    text = str(refused.value)
    assert "2022-01-30 00:05" in text
    assert rule in text
    assert "2022-01.parquet" in text
    assert files(tmp_path) == before


def test_a_contradiction_is_refused_and_nothing_of_the_call_is_stored(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.put(SERIES, tape(*range(4000)), now=LATER)
    before = files(tmp_path)
    rows = [tuple(row.values()) for row in tape(*range(2000, 6000))]
    rows[10] = (*rows[10][:5], 77.0)
    with pytest.raises(BadCandle, match=r"contradicts the stored one(.|\n)*2022-01\.parquet: nothing was changed"):
        store.put(SERIES, Candles.from_rows(rows), now=LATER)
    assert files(tmp_path) == before
    stored = store.put(SERIES, Candles.from_rows(rows), now=LATER, revise=True)
    assert (stored.added, stored.revised) == (2000, (START + 2010 * MINUTE,))
    assert store.read(SERIES, *span(2010, 2011)).volume.tolist() == [77.0]


def test_a_late_candle_is_reported(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.put(SERIES, tape(0, 2), known=[span(0, 3)], now=LATER)
    stored = store.put(SERIES, tape(1), now=LATER)
    assert (stored.added, stored.late) == (1, (START + MINUTE,))
    assert store.absent(SERIES, *span(0, 3)) == ()


def test_known_ranges_must_make_sense(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    with pytest.raises(UsageError, match="grid"):
        store.put(SERIES, tape(0), known=[(START, START + 1)], now=LATER)
    with pytest.raises(UsageError, match="outside"):
        store.put(SERIES, tape(0, 5), known=[span(0, 3)], now=LATER)


@pytest.mark.slow
def test_every_flipped_bit_is_noticed_or_harmless(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.put(SERIES, tape(*range(200)), now=LATER)
    path = next(tmp_path.rglob("*.parquet"))
    good, chance, noticed = path.read_bytes(), random.Random(1), 0  # noqa: S311
    for at in chance.sample(range(len(good)), 250):
        spoiled = bytearray(good)
        spoiled[at] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(spoiled))
        try:
            assert store.read(SERIES) == tape(*range(200))
            assert store.known(SERIES) == (span(0, 200),)
        except StateError as error:
            noticed += str(path) in str(error)
    assert noticed > 150
    for end in (0, 3, 100, len(good) - 1):
        path.write_bytes(good[:end])
        with pytest.raises(StateError):
            store.read(SERIES)
        with pytest.raises(StateError):
            store.put(SERIES, tape(500), now=LATER)
        assert path.read_bytes() == good[:end]
    assert len(store.problems()) == 1


def test_a_file_in_a_wrong_place_is_refused(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.put(SERIES, tape(0), now=LATER)
    other = SeriesName("binance", "ETH/USDT", "1m")
    place = tmp_path / "binance" / "ETH%2FUSDT" / "1m" / "2022-01.parquet"
    place.parent.mkdir(parents=True)
    place.write_bytes(encoded(SERIES, tape(0), (span(0, 1),)))
    with pytest.raises(StateError, match="belongs somewhere else"):
        store.read(other)


def test_other_tools_can_read_the_files(tmp_path: Path) -> None:
    import pandas as pd

    CandleStore(tmp_path).put(SERIES, tape(*range(3)), now=LATER)
    frame = pd.read_parquet(next(tmp_path.rglob("*.parquet")))
    assert list(frame.columns) == ["timestamp", "open", "high", "low", "close", "volume"]
    assert str(frame["timestamp"].dt.tz) == "UTC"
    assert frame["timestamp"][1] == pd.Timestamp("2022-01-30 00:01", tz="UTC")


# --- any order gives the same bytes --------------------------------------------------------------------------------

# 2022-01-31 23:00 .. 2022-02-01 01:00 in steps of a minute, with an hour of nothing in between
WORLD = [n for n in range(2820, 2940) if not 2850 <= n < 2865]
PIECES = st.lists(
    st.tuples(st.integers(2820, 2940), st.integers(1, 60)).map(
        lambda piece: (piece[0], min(piece[0] + piece[1], 2940))
    ),
    max_size=12,
)


def put_piece(store: CandleStore, first: int, end: int) -> None:
    if first < end:
        store.put(SERIES, tape(*(n for n in WORLD if first <= n < end)), known=[span(first, end)], now=LATER)


@pytest.mark.slow
@settings(max_examples=40)
@given(PIECES, st.randoms(use_true_random=False))
def test_any_order_of_overlapping_pieces_gives_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, int]], chance: random.Random
) -> None:
    at_once, in_pieces = (CandleStore(tmp_path_factory.mktemp(name)) for name in ("once", "pieces"))
    put_piece(at_once, 2820, 2940)
    whole = [*pieces, (2820, 2880), (2870, 2940)]
    chance.shuffle(whole)
    for first, end in whole:
        put_piece(in_pieces, first, end)
    assert files(in_pieces.root) == files(at_once.root)
    assert len(files(at_once.root)) == 2


# --- crashes, full disks, and others -------------------------------------------------------------------------------


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    CandleStore(tmp_path).put(SERIES, tape(*range(100)), now=LATER)
    before = files(tmp_path)
    for call in ("create", "write", "sync", "close", "replace"):
        full = FaultyDisk(at=1, fault=OSError(errno.ENOSPC, "No space left on device"), only=(call,))
        with pytest.raises(StateError, match="what was stored before is untouched"):
            CandleStore(tmp_path, disk=full).put(SERIES, tape(*range(100, 200)), now=LATER)
        assert files(tmp_path) == before
        assert not list(tmp_path.rglob("*.tmp"))


def test_a_power_cut_at_any_moment_leaves_a_readable_store(tmp_path: Path) -> None:
    root = tmp_path / "before"
    root.mkdir()
    disk = PowerCutDisk(root)
    store = CandleStore(root / "candles", disk=disk)
    store.put(SERIES, tape(*range(50)), now=LATER)
    safe = len(disk.calls)
    store.put(SERIES, tape(*range(50, 100)), now=LATER)
    for number, (calls, remains) in enumerate(disk.every_moment()):
        left = tmp_path / f"left-{number}"
        for path, data in remains.items():
            target = left / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.mkdir(exist_ok=True) if data is None else target.write_bytes(data)
        candles = CandleStore(left / "candles").read(SERIES)
        assert candles in ((tape(*range(50)), tape(*range(100))) if calls >= safe else (tape(), tape(*range(50))))


KILL_DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_candle_store import LATER, SERIES, tape
from bknb.history.candle_store import CandleStore
from bknb.testing.faults import killed_at_system_call
import tempfile, pyarrow.parquet, pyarrow as pa
pa.set_cpu_count(1); pa.set_io_thread_count(1)
points, places = 0, []
for number in range(1, 2000, {stride}):
    folder = Path({root!r}) / str(number)
    CandleStore(folder).put(SERIES, tape(*range(2860, 2880)), now=LATER)
    def child():
        CandleStore(folder).put(SERIES, tape(*range(2870, 2890)), now=LATER)
    killed = killed_at_system_call(number, child)
    found = CandleStore(folder).read(SERIES)
    whole, half, old = tape(*range(2860, 2890)), None, tape(*range(2860, 2880))
    if found not in (whole, old):
        print("after", number, found); raise SystemExit(1)
    again = CandleStore(folder).put(SERIES, tape(*range(2870, 2890)), now=LATER)
    assert CandleStore(folder).read(SERIES) == whole
    assert not list(folder.rglob("*.tmp")), number
    points += 1
    if not killed:
        break
else:
    raise SystemExit("it never came to its end")
print(points)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kills at system calls are a thing of Linux")
def test_a_process_killed_at_any_system_call_leaves_a_readable_store(tmp_path: Path) -> None:
    driver = KILL_DRIVER.format(tests=str(Path(__file__).parent), root=str(tmp_path), stride=3)
    done = subprocess.run([sys.executable, "-c", driver], capture_output=True, text=True, timeout=120, check=False)
    if "does not let a process trace" in done.stderr:
        pytest.skip("this system does not let a process trace its children")
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 10


def _write_pieces(root: str, own: int, writers: int) -> None:
    store = CandleStore(root)
    for first in range(own * 10, 1200, writers * 10):
        store.put(SERIES, tape(*range(first, first + 15)), now=LATER)


@pytest.mark.slow
def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_pieces, args=(str(tmp_path), own, 2)) for own in range(2)]
    for writer in writers:
        writer.start()
    reader, seen = CandleStore(tmp_path), 0
    while any(writer.is_alive() for writer in writers):
        now = len(reader.read(SERIES))
        assert now >= seen
        seen = now
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert reader.read(SERIES) == tape(*range(1205))


def test_a_partition_is_a_calendar_month() -> None:
    assert period_of(START, MINUTE)[0] == "2022-01"
    assert period_of(1_672_531_199_999, MINUTE) == ("2022-12", 1_669_852_800_000, 1_672_531_200_000)
