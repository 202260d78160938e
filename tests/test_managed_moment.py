"""Stepping into a managed run: the position of any minute is what `manage` saw, and it can be asked again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from managed_run import run
from scenarios import MINUTE, ORIGIN, source
from test_stop_table import watched

import bknb


@pytest.fixture(scope="module")
def added() -> bknb.Result:
    return run(adds=True)


def at(result: bknb.Result, minute: int) -> Any:
    return result.at(ORIGIN + minute * MINUTE)


def test_the_position_of_a_minute_is_what_manage_saw() -> None:
    seen: dict[int, Any] = {}

    def manage(when: Any, position: Any) -> Any:
        minute = (round(when.timestamp() * 1000) - ORIGIN) // MINUTE
        seen.setdefault(minute, position)
        if minute == 2:
            return [bknb.Add(0.5, price_open=97.0), bknb.Move(price_stop_loss=96.0, memo={"step": 1})]
        return bknb.Reduce(0.25, of="first") if minute == 5 else None

    result = run(manage=manage)
    assert set(seen) == {1, 2, 3, 4, 5, 6}
    for minute, position in dict(seen).items():
        moment = at(result, minute)
        assert moment.position == position
        assert moment.manage().diverged == ""
    assert dict(at(result, 4).position.memo) == {"step": 1}
    assert [order.price_open for order in at(result, 4).position.waiting] == [97.0]
    assert at(result, 0).position is None
    assert at(result, 9).position is None


@pytest.mark.parametrize("places", [1, 2])
@pytest.mark.parametrize("model", ["pessimistic", "vwap"])
def test_an_entry_that_waits_is_there_as_long_as_manage_saw_it(model: str, places: int) -> None:
    """At the average price it is taken back with the candle of that moment, behind the question; else before it."""
    seen: dict[int, Any] = {}

    def get_signal(ctx: Any) -> Any:
        return bknb.Signal(side="long", price_open=90.0, valid=5) if ctx.when_ms == ORIGIN else None

    def manage(ctx: Any, position: Any) -> None:
        seen[(ctx.when_ms - ORIGIN) // MINUTE] = position

    bknb.add_strategy("waits", interval="1m", get_signal=get_signal, manage=manage, places=places)
    exchange, frame = (
        source([(ORIGIN + k * MINUTE, *[100.0] * 4, 1.0) for k in range(-60, 30)]),
        (ORIGIN, ORIGIN + 20 * MINUTE),
    )
    result = bknb.backtest("BTCUSDT", strategy="waits", exchange=exchange, frame=frame, execution=model)
    assert max(seen) == (5 if model == "vwap" else 4)
    for minute in range(1, 8):
        moment = at(result, minute)
        assert moment.position == seen.get(minute)
        assert moment.state == ("scheduled" if minute in seen else "flat")


def test_manage_is_asked_again_and_its_answer_judged(added: bknb.Result) -> None:
    moment = at(added, 5)
    again = moment.manage()
    assert again.answers == (bknb.Reduce(0.25, of="first", note="a little"),)
    assert again.accepted
    assert "manage answers Reduce(share=0.25, of='first', note='a little')" in repr(again)
    other = moment.manage(lambda position: [bknb.Reduce(5.0), bknb.Close()])
    assert [reason.code for reason in other.reasons] == ["reduce_more"]
    assert not other.accepted
    moved = moment.manage(lambda position: bknb.Move(price_stop_loss=position.price_stop_loss + 1))
    assert [event.price_stop_loss for event in moved.events] == [105.0]
    assert moment.manage(lambda: None).answers == ()


def test_the_text_of_a_moment_tells_what_is_left(added: bknb.Result) -> None:
    text = repr(at(added, 6))
    assert "is open with 0.75 of its first size" in text
    assert "added 0.5 at 101.5" in text


def test_the_text_of_a_moment_has_the_stop_in_force() -> None:
    result = run()
    assert [at(result, minute).position.price_stop_loss for minute in (2, 3, 4, 6)] == [95.0, 98.0, 102.5, 105.0]
    assert "now" not in repr(at(result, 2)).splitlines()[1]
    assert "stop 95, no deadline) is open" in repr(at(result, 3))
    assert "net at this price; the stop lies at 98 now (stop_loss)" in repr(at(result, 3))
    assert "the stop lies at 102.5 now (trailing_stop)" in repr(at(result, 4))
    assert "the stop lies at 105 now (trailing_stop)" in repr(at(result, 6))
    loose = run(manage=lambda position: bknb.Move(price_stop_loss=None, trailing=None, loosen=True))
    assert "net at this price; no stop now" in repr(at(loose, 4))


def test_a_manager_that_answers_otherwise_is_told() -> None:
    mood = [bknb.Reduce(0.25)]
    result = run(manage=lambda position: mood[0] if position.minutes == 3 else None)
    assert at(result, 5).manage().diverged == ""
    mood[0] = bknb.Reduce(0.1)
    assert "since 2024-01-01 00:03" in at(result, 5).manage().diverged
    assert "asked again, manage answers otherwise" in repr(at(result, 5).manage())


def test_where_there_is_nothing_to_manage_it_says_so(added: bknb.Result) -> None:
    with pytest.raises(bknb.UsageError, match="nothing that could be managed was open or waiting at 2024-01-01 00:20"):
        at(added, 20).manage()
    plain = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
    with pytest.raises(bknb.UsageError, match="does not manage its positions"):
        plain.at("2024-01-01 10:00").manage()


def test_a_moved_deadline_is_the_one_that_leaves() -> None:
    result = run(
        signal=bknb.Signal(side="long", minute_estimated_time=4),
        manage=lambda position: bknb.Move(minute_estimated_time=10) if position.minutes == 2 else None,
    )
    assert result.trades["close_reason"].tolist() == ["time_expired"]
    assert [at(result, minute).state for minute in (3, 6, 9)] == ["open"] * 3
    assert at(result, 9).position.deadline.minute == 10


@pytest.mark.parametrize("seed", [2, 5])
def test_positions_of_random_worlds_come_out_again(seed: int) -> None:
    result, seen = watched(seed, "pessimistic", None)
    names = list(dict.fromkeys(name for name, _ in seen))[:4]
    some = [(name, moment) for name, moment in seen if name in names][::7]
    assert some
    for name, moment in some:
        there = result.at(moment)
        if there.state == "open":
            assert there.position is not None
            assert (there.position.id, there.position.price_stop_loss) == (name, seen[name, moment])
            assert there.manage().diverged == ""
    assert msgspec.structs.asdict(result.at(some[0][1]).position)["symbol"] == "BTCUSDT"
