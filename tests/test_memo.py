"""``ctx.memo``: kept once a question was answered, and not otherwise; saved, and copied for whoever asks again."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest
from scenarios import MINUTE, ORIGIN, source
from worlds import walk

import bknb
from bknb.domain.exit_validation import memo_text
from bknb.domain.position_memo import position_memo
from bknb.market.kept_memo import ENTRY, kept_memo, memo_before, read_memo
from bknb.testing.clocks import SimulatedClock

END = ORIGIN + 30 * MINUTE
MARKET = source(walk(3))
RUN: dict[str, Any] = {"exchange": MARKET, "frame": (ORIGIN, END)}


def minute_of(ctx: Any) -> int:
    return (ctx.when_ms - ORIGIN) // MINUTE


def backtest(get_signal: Any, **options: Any) -> Any:
    strategy = bknb.add_strategy("keeps", interval="1m", get_signal=get_signal, **options)
    return bknb.backtest("BTCUSDT", strategy=strategy, **RUN)


def live(get_signal: Any, *, begin: int = 0, until: int, store: Any, settings: Any = None, **options: Any) -> Any:
    strategy = bknb.add_strategy("keeps", interval="1m", get_signal=get_signal, **options)
    task = bknb.Live.background(
        "BTCUSDT", strategy=strategy, exchange=MARKET, clock=SimulatedClock(ORIGIN + begin * MINUTE),
        until=ORIGIN + until * MINUTE, store=store, settings=settings or {},
    )  # fmt: skip
    return task.result(timeout=60)


def test_what_an_answered_question_wrote_is_there_at_the_next_one() -> None:
    seen: dict[int, dict[str, Any]] = {}

    def get_signal(ctx: Any) -> Any:
        minute = minute_of(ctx)
        seen[minute] = json.loads(json.dumps(ctx.memo))
        ctx.memo["asked"] = (*ctx.memo.get("asked", ()), minute)
        if minute == 1:
            raise ValueError("not answered")
        if minute == 2:
            ctx.candles("1d", 500)  # more than there is
        if minute == 3:
            return bknb.Signal(position="long", price_stop_loss=ctx.price * 2)  # rejected, and answered
        return bknb.Signal(position="long", minute_estimated_time=3) if minute == 5 else None

    result = backtest(get_signal)
    assert [failure.kind for failure in result.errors] == ["strategy", "warm-up"]
    assert {minute: seen[minute].get("asked", []) for minute in (0, 1, 2, 3, 4, 5)} == {
        0: [], 1: [0], 2: [0], 3: [0], 4: [0, 3], 5: [0, 3, 4],
    }  # fmt: skip
    *answered, newest = [minute for minute in sorted(seen) if minute not in (1, 2)]
    assert seen[newest]["asked"] == answered


def test_manage_has_the_memo_of_get_signal() -> None:
    heard: list[tuple[int, int]] = []

    def get_signal(ctx: Any) -> Any:
        ctx.memo |= {"questions": ctx.memo.get("questions", 0) + 1}
        return bknb.Signal(position="long") if minute_of(ctx) == 2 else None

    def manage(ctx: Any, position: Any) -> Any:
        ctx.memo["held"] = ctx.memo.get("held", 0) + 1
        heard.append((ctx.memo["questions"], ctx.memo["held"]))
        return bknb.Close() if ctx.memo["held"] == 3 else None

    result = backtest(get_signal, manage=manage, manage_interval="1m")
    assert heard == [(3, 1), (3, 2), (3, 3)]
    assert result.trades["close_reason"].tolist() == ["strategy"]


ITSELF: list[Any] = []
ITSELF.append(ITSELF)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float64("nan"), "memo must be a mapping that JSON can hold"),
        ({1, 2}, "write a text, a finite number"),
        ({1: 2}, "has the key 1"),
        ("x" * 16_384, "at most 16384 bytes of JSON"),
        (ITSELF, "must not contain itself"),
    ],
)
def test_what_cannot_be_kept_is_no_answer(value: Any, text: str) -> None:
    kept: list[Any] = []

    def get_signal(ctx: Any) -> Any:
        kept.append(ctx.memo.get("value"))
        ctx.memo["value"] = value if minute_of(ctx) == 3 else minute_of(ctx)
        return bknb.Signal(position="long") if minute_of(ctx) == 3 else None

    result = backtest(get_signal)
    assert not len(result.trades)
    (failure,) = result.errors
    assert (failure.kind, failure.count) == ("strategy", 1)
    assert text in failure.message
    assert kept[3:5] == [2, 2]


def assigned(ctx: Any, position: Any) -> None:
    ctx.memo = {"losses": 2}


def other_name(ctx: Any, position: Any) -> None:
    ctx.losses = 2


def of_position(ctx: Any, position: Any) -> None:
    position.memo["step"] = 2


def of_position_updated(ctx: Any, position: Any) -> None:
    position.memo.update(step=2)


def of_closed(ctx: Any, position: Any) -> None:
    for trade in ctx.closed():
        del trade.memo["step"]


WRITE = {
    assigned: 'write ctx.memo["losses"] = 2 or ctx.memo.update(losses=2)',
    other_name: "ctx.memo['losses'] = ...",
    of_position: 'answer with bknb.Move(memo={**position.memo, "step": 2})',
    of_position_updated: 'ctx.memo["step"] = 2',
    of_closed: "is not written to",
}


@pytest.mark.parametrize("manage", WRITE)
def test_who_writes_where_nothing_is_kept_is_told_what_to_write(manage: Any) -> None:
    def get_signal(ctx: Any) -> Any:
        return bknb.Signal(position="long", memo={"step": 1}, minute_estimated_time=5)

    result = backtest(get_signal, manage=manage, manage_interval="1m")
    (failure,) = result.errors
    assert WRITE[manage] in failure.message
    assert failure.where.startswith("test_memo.py, line")


def test_the_memo_of_a_position_is_copied_as_what_it_is() -> None:
    memo = position_memo('{"step":1}')
    for again in (copy.deepcopy(memo), pickle.loads(pickle.dumps(memo))):  # noqa: S301 -- its own
        assert again == memo == {"step": 1}
        for name, given in {"clear": (), "popitem": (), "pop": ("step",), "setdefault": ("a", 1)}.items():
            with pytest.raises(bknb.UsageError, match="is not written to"):
                getattr(again, name)(*given)


def test_each_symbol_has_its_own() -> None:
    seen: dict[str, list[int]] = {"A": [], "B": []}

    def get_signal(ctx: Any) -> None:
        ctx.memo["n"] = ctx.memo.get("n", 0) + (1 if ctx.symbol == "A" else 10)
        seen[ctx.symbol].append(ctx.memo["n"])

    strategy = bknb.add_strategy("keeps", interval="1m", get_signal=get_signal)
    bknb.portfolio(strategies=[strategy], symbols=["A", "B"], exchange=MARKET, frame=(ORIGIN, ORIGIN + 4 * MINUTE))
    assert (seen["A"], seen["B"]) == ([1, 2, 3, 4], [10, 20, 30, 40])


def test_a_book_of_weights_has_none() -> None:
    @bknb.weights("book", symbols=["A", "B"], interval="1m")
    def get_weights(ctx: Any) -> Any:
        return ctx.memo

    result = bknb.portfolio(strategies=["book"], exchange=MARKET, frame=(ORIGIN, ORIGIN + 4 * MINUTE), capital=1_000)
    assert any("ctx.memo is that of one symbol" in each.message for leg in result.legs.values() for each in leg.errors)


def counts(ctx: Any) -> Any:
    """Opens at every fourth answered question."""
    ctx.memo["n"] = ctx.memo.get("n", 0) + 1
    if ctx.memo["n"] % 4:
        return None
    return bknb.Signal(position="long", minute_estimated_time=2, note=str(ctx.memo["n"]))


def test_it_is_asked_again_with_the_memo_of_that_moment() -> None:
    result = backtest(counts)
    opened = [event for event in result.run_record.records.events if isinstance(event, bknb.Opened)]
    assert len(opened) > 3
    for event in opened:
        moment = result.at(event.signal.scheduled_at)
        for _ in range(2):  # what it writes is not kept
            assert moment.ask().signal.note == event.signal.note
    assert not bknb.check_lookahead(counts, symbol="BTCUSDT", interval="1m", moments=6, **RUN).findings


def test_a_run_that_was_started_again_has_what_was_kept() -> None:
    notes = [event.signal.note for event in backtest(counts).run_record.records.closed]
    store = bknb.stores.memory()
    live(counts, until=7, store=store)
    live(counts, begin=7, until=8, store=store)
    closed = live(counts, begin=8, until=30, store=store).run_record.records.closed
    assert [event.signal.note for event in closed] == notes[: len(closed)]
    assert len(closed) > 3


def test_what_was_cancelled_keeps_nothing() -> None:
    seen: list[int] = []

    async def get_signal(ctx: Any) -> None:
        seen.append(ctx.memo.get("n", 0))
        ctx.memo["n"] = seen[-1] + 1
        if minute_of(ctx) == 2:
            sleeps = asyncio.ensure_future(asyncio.Event().wait())
            sleeps.cancel()
            await sleeps

    result = live(get_signal, until=5, store=bknb.stores.memory())
    assert [failure.kind for failure in result.errors] == ["strategy"]
    assert seen[:5] == [0, 1, 2, 2, 3]


def test_texts_of_memos() -> None:
    assert (kept_memo({}), kept_memo({"a": (1, None)})) == ("", '{"a":[1,null]}')
    assert read_memo(kept_memo({"a": [1.5, True, "b"]})) == {"a": [1.5, True, "b"]}
    assert kept_memo({"a": [np.float64(1.5), np.int64(2)]}) == '{"a":[1.5,2]}'
    assert memo_text({"a": "x" * (16_384 - 8)}) == '{"a":"' + "x" * (16_384 - 8) + '"}'
    first, other = (0, 5, "p1"), (0, 7, "p0")
    memos = [(1, ENTRY, "a"), (3, first, "b"), (3, ENTRY, "c")]
    asked = ((1, ENTRY), (2, first), (3, first), (3, other), (3, ENTRY), (4, first))
    assert [memo_before(memos, when, turn) for when, turn in asked] == ["", "a", "a", "b", "b", "c"]
