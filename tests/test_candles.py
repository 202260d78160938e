"""``Candles`` themselves: the block behind the columns, and choosing candles from it."""

from __future__ import annotations

import asyncio
import copy
import pickle

import numpy as np
import pytest

import bknb
import bknb.exchanges
from bknb.domain.interval import MINUTE_MS
from bknb.exchanges.candle_bundle import Record
from bknb.market.candles import COLUMNS, Candles
from bknb.market.candles_repaired_or_refused import CandleRequest, in_sessions
from bknb.market.sessions import Sessions


def minutes(count: int) -> Candles:
    return Candles.from_rows([(i * MINUTE_MS, 10.0 + i, 12.0 + i, 9.0 + i, 11.0 + i, 5.0 * i) for i in range(count)])


def test_the_block_holds_the_columns_as_rows():
    candles = minutes(4)
    assert candles.block.shape == (6, 4)
    assert candles.block.dtype == np.float64
    for row, name in enumerate(("open", "high", "low", "close", "volume"), start=1):
        assert candles.block[row].tolist() == getattr(candles, name).tolist()
    assert candles.block[0].view(np.int64).tolist() == candles.timestamp.tolist()
    assert np.shares_memory(candles.block, candles.close)


def test_take_by_mask_and_by_place():
    candles = minutes(4)
    assert candles.take(np.array([True, False, False, True])) == Candles.concat([candles[:1], candles[3:]])
    assert candles.take(np.array([2, 0, -1])).timestamp.tolist() == [2 * MINUTE_MS, 0, 3 * MINUTE_MS]
    assert candles.take(np.zeros(4, dtype=bool)) == Candles.empty()
    with pytest.raises(IndexError):
        candles.take(np.array([4]))


def test_take_accepts_any_sequence():
    candles = minutes(4)
    assert candles.take([0, 2]) == candles.take(np.array([0, 2]))
    assert candles.take((True, False, False, True)) == candles.take([0, 3])
    assert candles.take([]) == Candles.empty() == Candles.empty().take([])
    assert candles.take(np.array([3], dtype=np.uint64)) == candles[3:]


@pytest.mark.parametrize("which", [[True], np.ones(5, dtype=bool), np.ones((4, 1), dtype=bool), [0.5], 1, [[0]], "ab"])
def test_take_refuses_what_is_neither_mask_nor_places(which):
    with pytest.raises(bknb.UsageError, match="mask"):
        minutes(4).take(which)


def test_candles_cannot_be_given_another_block():
    candles = minutes(4)
    with pytest.raises(AttributeError, match="cannot be set"):
        candles.block = 3
    with pytest.raises(AttributeError, match="cannot be set"):
        candles.close = candles.open
    with pytest.raises(AttributeError, match="cannot be deleted"):
        del candles.block
    assert candles == minutes(4)


CHOSEN = {
    "from_rows": lambda c: c,
    "slice": lambda c: c[1:3],
    "copy": Candles.copy,
    "concat": lambda c: Candles.concat([c, c[:1]]),
    "take": lambda c: c.take(c.volume > 5),
    "constructor": lambda c: Candles(c.block.copy()),
    "pickle": lambda c: pickle.loads(pickle.dumps(c)),  # noqa: S301 -- its own bytes
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "in_sessions": lambda c: in_sessions(
        c,
        CandleRequest(exchange="demo", symbol="X", interval="1m", since=0, until=4 * MINUTE_MS),
        Sessions.weekly("UTC", {"thu": "00:00-00:02"}),
    )[0],
}


@pytest.mark.parametrize("how", CHOSEN)
def test_no_block_can_be_written_to(how):
    candles = CHOSEN[how](minutes(4))
    assert len(candles) > 1
    assert not candles.block.flags.writeable
    assert not any(getattr(candles, name).flags.writeable for name in COLUMNS)
    with pytest.raises(ValueError, match="read-only"):
        candles.block[1, 0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        candles.close[0] = 1.0


def test_recorded_candles_cannot_be_written_to():
    record = Record()
    for part in (minutes(4)[:3], minutes(4)[1:]):
        record.add("demo", "X", "1m", part)
    merged = record.merged()["demo", "X", "1m"]
    assert merged == minutes(4)
    assert not merged.block.flags.writeable


def test_a_frame_out_of_order_is_put_in_order():
    candles = minutes(5)
    source = bknb.exchanges.from_frame(candles.take(np.array([3, 1, 0, 4, 2])).to_pandas(), name="mine")
    assert asyncio.run(source.get_candles("X", "1m", 0, 5)) == candles
