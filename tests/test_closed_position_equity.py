"""What a strategy sees of its own run: ``ctx.closed``, ``ctx.position``, ``ctx.equity``; live as over history."""

from __future__ import annotations

from typing import Any

import pytest
from scenarios import MINUTE, ORIGIN, source
from worlds import walk

import bknb
from bknb.testing.clocks import SimulatedClock

MINUTES = 40
END = ORIGIN + MINUTES * MINUTE
MARKET = source(walk(3))
RUN: dict[str, Any] = {"exchange": MARKET, "frame": (ORIGIN, END)}
MONEY: dict[str, Any] = {"capital": 10_000.0, "costs": bknb.Costs(taker=0.1)}


def minute_of(ctx: Any) -> int:
    return (ctx.when_ms - ORIGIN) // MINUTE


class Looks:
    """A strategy that enters again and again, sits one out after a loss, and notes what it sees."""

    def __init__(self) -> None:
        self.seen: dict[tuple[int, str], Any] = {}
        self.positions: list[tuple[Any, Any]] = []

    def note(self, ctx: Any, by: str) -> None:
        held = ctx.position
        self.seen[minute_of(ctx), by] = (
            ctx.closed(99), ctx.equity, held, ctx.positions == (() if held is None else (held,)),
            (ctx.strategy, ctx.exchange, ctx.frame),
        )  # fmt: skip

    def get_signal(self, ctx: Any) -> Any:
        self.note(ctx, "signal")
        trades = ctx.closed(1)
        if trades and trades[0].pnl_percentage < -0.15 and minute_of(ctx) % 3:
            return None
        return bknb.Signal(position="long", minute_estimated_time=3, note="again", memo={"at": minute_of(ctx)})

    def manage(self, ctx: Any, position: Any) -> Any:
        self.note(ctx, "manage")
        self.positions.append((ctx.position, position))
        return bknb.Close() if minute_of(ctx) % 7 == 0 else None

    def added(self) -> Any:
        return bknb.add_strategy(
            "looks", interval="1m", get_signal=self.get_signal, manage=self.manage, manage_interval="1m"
        )


def backtest() -> tuple[Looks, Any]:
    looks = Looks()
    return looks, bknb.backtest("BTCUSDT", strategy=looks.added(), **RUN, **MONEY)


def test_trades_are_seen_from_the_close_of_their_last_candle() -> None:
    looks, result = backtest()
    assert not result.errors
    assert len(result.trades) > 5
    names = ("signal_id", "pnl_percentage", "close_reason", "price_open", "price_close")
    trades = [*zip(*(result.trades[name].tolist() for name in names), strict=True)]
    ends = [trade.closed_at for trade in looks.seen[max(looks.seen)][0]][::-1]
    for (minute, by), (closed, _, held, same, named) in looks.seen.items():
        known = [
            trade for trade, end in zip(trades, ends, strict=False) if end.timestamp() * 1000 < ORIGIN + minute * MINUTE
        ]
        assert [(t.id, t.pnl_percentage, t.reason, t.price_open, t.price_close) for t in closed] == known[::-1]
        assert (held is None) == (by == "signal")
        assert same
        assert named[0] == "looks"
        assert all(trade.note == "again" and trade.bars >= 1 and "at" in trade.memo for trade in closed)
    assert looks.positions
    assert all(one == other for one, other in looks.positions)


@pytest.mark.parametrize("cut", [(), (9,), (17, 18, 30)])
def test_what_is_seen_is_the_same_live_and_after_a_restart(cut: tuple[int, ...]) -> None:
    expected, result = backtest()
    store, looks = bknb.stores.memory(), Looks()
    for begin, until in zip((0, *cut), (*cut, MINUTES), strict=True):
        task = bknb.Live.background(
            "BTCUSDT", strategy=looks.added(), exchange=MARKET, clock=SimulatedClock(ORIGIN + begin * MINUTE),
            until=ORIGIN + until * MINUTE, store=store, **MONEY,
        )  # fmt: skip
        live = task.result(timeout=60)
        assert not live.errors
    assert len(result.trades) > 5
    for key, (closed, equity, held, same, names) in looks.seen.items():
        if key[0] < MINUTES - 1:
            assert (closed, equity, held, same, names[:2]) == (*expected.seen[key][:4], expected.seen[key][4][:2])
    assert {key for key in looks.seen if key[0] < MINUTES - 1} == {key for key in expected.seen if key[0] < MINUTES - 1}


def test_it_is_asked_again_with_what_there_was() -> None:
    looks, result = backtest()
    asked, first = [*looks.seen], dict(looks.seen)
    for minute, by in asked:
        moment = result.at(ORIGIN + minute * MINUTE)
        if by == "signal":
            moment.ask()
        else:
            assert not moment.manage().diverged
        assert looks.seen[minute, by] == first[minute, by], (minute, by)


def test_the_check_for_look_ahead_has_the_trades_of_a_run() -> None:
    counts: set[int] = set()

    def get_signal(ctx: Any) -> Any:
        trades = ctx.closed(99)
        counts.add(len(trades))
        if trades and trades[0].reason != "time_expired":
            return None
        return bknb.Signal(position="long" if len(trades) % 2 else "short", minute_estimated_time=5)

    report = bknb.check_lookahead(get_signal, exchange=MARKET, frame=(ORIGIN, END), interval="1m", moments=4)
    assert not report.findings, str(report)
    assert len(counts) > 4


def test_what_cannot_be_seen_says_what_to_do() -> None:
    kept: list[Any] = []

    def get_signal(ctx: Any) -> Any:
        kept.append(ctx)
        if minute_of(ctx) == 1:
            ctx.closed(0)
        if minute_of(ctx) == 2:
            return ctx.equity
        return None

    strategy = bknb.add_strategy("looks", interval="1m", get_signal=get_signal)
    result = bknb.backtest("BTCUSDT", strategy=strategy, exchange=MARKET, frame=(ORIGIN, ORIGIN + 4 * MINUTE))
    first, second = [failure.message for failure in result.errors]
    assert "at least 1, got 0" in first
    assert "capital=10_000" in second


def test_a_get_weights_sees_the_positions_of_its_symbols() -> None:
    seen: list[Any] = []

    def get_weights(ctx: Any) -> Any:
        seen.append((ctx.position("A"), ctx.position("B"), ctx.positions, dict(ctx.weights)))
        if len(seen) == 3:
            ctx.position("C")
        if len(seen) == 4:
            ctx.closed(1)
        return {"A": 0.5} if len(seen) < 8 else {"B": 0.25}

    strategy = bknb.weights("book", symbols=["A", "B"], get_weights=get_weights, interval="1m")
    result = bknb.portfolio(
        strategies=[strategy], exchange=MARKET, frame=(ORIGIN, ORIGIN + 12 * MINUTE), capital=10_000.0
    )
    texts = [failure.message for leg in result.legs.values() for failure in leg.errors]
    assert any("is of no symbol of this strategy: A, B" in text for text in texts)
    assert any("ctx.closed are the trades of one" in text for text in texts)
    assert seen[0][:3] == (None, None, ())
    for first, second, every, weights in seen[2:]:
        assert every == tuple(held for held in (first, second) if held is not None)
        assert {held.symbol: held.weight for held in every} == {s: w for s, w in weights.items() if w}
    assert seen[-1][0] is None
    assert seen[-1][1].symbol == "B"


def test_a_get_weight_sees_what_it_holds() -> None:
    seen: list[Any] = []

    def get_weight(ctx: Any) -> Any:
        seen.append((ctx.position, ctx.equity, len(ctx.closed(9))))
        return 0.5 if minute_of(ctx) % 6 < 4 else 0.0

    strategy = bknb.add_strategy("one", interval="1m", get_weight=get_weight)
    result = bknb.backtest("BTCUSDT", strategy=strategy, **RUN, **MONEY)
    assert not result.errors
    assert {held is None for held, _, _ in seen} == {True, False}
    assert all(held is None or not held.size or 0.4 < held.weight < 0.6 for held, _, _ in seen)
    assert [closed for _, _, closed in seen] == sorted(closed for _, _, closed in seen)
    assert seen[-1][2] > 4
