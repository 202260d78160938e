"""Sliders: a combination is the backtest with its parameters, to the last bit, and a try that is counted once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bknb
from bknb.runs.tries import keep_in

pytest.importorskip("numba")
pytestmark = pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaWarning")

WHERE: dict[str, Any] = {"exchange": "demo", "frame": ("2024-01-03", "2024-01-15")}


@pytest.fixture(autouse=True)
def ledger(tmp_path: Path) -> Path:
    """The ledger of a test."""
    path = tmp_path / "state" / "tries.jsonl"
    keep_in(path)
    return path


def crossings(candles, fast, slow):
    close = candles.close
    rises = np.zeros(len(close), dtype=bool)
    if len(close) > slow:
        rises[slow:] = close[slow:] / close[slow - fast : -fast] > close[slow - fast : -fast] / close[:-slow]
    turns = np.zeros(len(close), dtype=int)
    turns[1:] = (rises[1:] != rises[:-1]) * np.where(rises[1:], 1, -1)
    return turns


def plain(candles, fast=3, slow=9):
    side = crossings(candles, fast, slow)
    return {
        "position": side,
        "price_take_profit": candles.close * (1 + 0.012 * side),
        "price_stop_loss": candles.close * (1 - 0.011 * side),
        "minute_estimated_time": 400,
    }


def trails(candles, fast=3, slow=9):
    return {**plain(candles, fast, slow), "trailing_percent": 0.8, "exit_long": crossings(candles, 2, 5) < 0}


def in_parts(candles, fast=3, slow=9):
    given = plain(candles, fast, slow)
    last = given.pop("price_take_profit")
    first = candles.close * (1 + 0.006 * given["position"])
    return {**given, "target_1": first, "share_1": 0.5, "target_2": last, "share_2": 0.5}


def with_hours(candles, others, fast=3, slow=9):
    """Where the last closed hour rose."""
    given, hours = plain(candles, fast, slow), others["1h"]
    given["position"] = np.where(hours.close > hours.open, given["position"], 0)
    return given


def half_sized(candles, fast=3, slow=9):
    return {**plain(candles, fast, slow), "size": 0.5}


def all_or_nothing(candles, fast=3, slow=9):
    side = crossings(candles, fast, slow)
    return {"weight": np.where(side > 0, 1.0, np.where(side < 0, 0.0, np.nan))}


def rebalanced(candles, fast=3, slow=9):
    side = crossings(candles, fast, slow)
    return {"weight": np.select([side > 0, side < 0], [0.6, 0.0], np.nan)}


def asked(ctx, fast=3, slow=9):
    side = int(crossings(ctx.get_candles(ctx.symbol, "15m", 20), fast, slow)[-1])
    if side == 0:
        return None
    return bknb.Signal(
        position="long" if side > 0 else "short",
        price_take_profit=ctx.price * (1 + 0.012 * side),
        price_stop_loss=ctx.price * (1 - 0.011 * side),
        minute_estimated_time=400,
    )


def managed(position):
    return bknb.Close() if position.minutes > 300 else None


KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "rows": ({"get_signals": plain}, ""),
    "a trailing stop and rows that leave": ({"get_signals": trails}, ""),
    "vwap": ({"get_signals": plain, "execution": "vwap"}, ""),
    "touch": ({"get_signals": plain, "execution": "touch"}, ""),
    "weights of all or nothing": ({"get_signals": all_or_nothing, "tolerance": 0.0}, ""),
    "candles beside its own": ({"get_signals": with_hours, "uses": ["1h"]}, ""),
    "targets in parts": ({"get_signals": in_parts}, "in parts"),
    "a size": ({"get_signals": half_sized}, ""),
    "weights that are kept": ({"get_signals": rebalanced, "tolerance": 1.0}, "in parts"),
    "a manage": ({"get_signals": plain, "manage": managed}, "a manage"),
    "two places": ({"get_signals": plain, "places": 2}, "several places"),
    "get_signal": ({"get_signal": asked}, "get_signals(candles)"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_combination_is_the_backtest_with_its_parameters(kind: str) -> None:
    options, why = KINDS[kind]
    bknb.add_strategy("moved", interval="15m", **options)
    sliders = bknb.interact("BTCUSDT", strategy="moved", values={"fast": "2:6", "slow": "8:20:4"}, **WHERE)
    assert sliders.params == {"fast": 3, "slow": 8}
    look = sliders.move(fast=4, slow=12)
    own = bknb.backtest("BTCUSDT", strategy="moved", params={"fast": 4, "slow": 12}, **WHERE)
    assert look.error == ""
    assert len(own.trades) > 5
    assert dict(look.account) == dict(own.account)
    assert look.account.reasons == own.account.reasons
    assert np.array_equal(look.results, own.trades["pnl_percentage"].to_numpy())
    assert why in sliders.slow
    assert bool(sliders.slow) == bool(why) == look.by_events
    assert (look.tries.count, own.tries.count, own.tries.line) == (2, 2, look.tries.line)
    if not own.account.reasons:
        marked = own.marked
        assert look.equity[-1] == marked.equity[-1]
        assert look.drawdown.min() == marked.drawdown.min() == -look.account["max_drawdown"]
        assert np.isin(look.equity, marked.equity).all()
        assert len(look.equity) <= 800


def test_loops_that_are_compiled_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    from numba.core import event

    from bknb.kernels import jit

    said: list[str] = []

    def slow(candles, fast=3, slow=9):
        if not said:  # as numba does when it compiles
            event.start_event("numba:compile", data={"dispatcher": next(iter(jit._made.values()))})
            said.append(capsys.readouterr().err)
        return plain(candles, fast, slow)

    plain_sliders = {"values": {"fast": "2:6"}, "interval": "15m", **WHERE}
    bknb.interact("BTCUSDT", strategy=plain, **plain_sliders)
    assert capsys.readouterr().err == ""
    sliders = bknb.interact("BTCUSDT", strategy=slow, **plain_sliders)
    (begun,) = said
    assert begun.startswith("sliders of slow BTCUSDT: its loops are compiled, once for this version of bknb")
    assert capsys.readouterr().err == "sliders of slow BTCUSDT: its loops were compiled in 0 s\n"
    sliders.move(fast=5)
    assert capsys.readouterr().err == ""


def test_over_longer_bars_it_is_the_backtest_too() -> None:
    values = {"fast": "2:6", "slow": "8:20:4"}
    given: dict[str, Any] = {"strategy": plain, "interval": "4h", "base": "1h", **WHERE}
    sliders = bknb.interact("BTCUSDT", values=values, **given)
    own = bknb.backtest("BTCUSDT", params={"fast": 3, "slow": 8}, **given)
    assert dict(sliders.shown.account) == dict(own.account)


def test_a_combination_counts_once_and_belief_counts_it(ledger: Path) -> None:
    given: dict[str, Any] = {"strategy": plain, "interval": "15m", **WHERE}
    sliders = bknb.interact("BTCUSDT", values={"fast": "2:6"}, **given)
    assert sliders.shown.tries.line == "the first strategy tried on these data"
    for fast in (4, 5, 4, 3, 5):
        sliders.move(fast=fast)
    assert sliders.looks == 3
    assert sliders.shown.tries.line == "the 3rd strategy tried on these data"
    assert len(ledger.read_bytes().splitlines()) == 3
    kept = sliders.result()  # the same as the position: no other try
    assert kept.tries.line == sliders.shown.tries.line
    assert bknb.belief(kept).counted == 3
    again = bknb.interact("BTCUSDT", values={"fast": "2:6"}, **given)  # as in another session
    assert again.shown.tries.line == "the 1st of 3 strategies tried on these data"
    assert again.move(fast=6).tries.count == 4
    told = repr(again)
    assert "2 combinations looked at · the 4th strategy tried on these data" in told
    assert "of 4 tries without any skill the best would show a Sharpe ratio of" in told


def test_what_moves_the_strategy_between_two_combinations_makes_another_try() -> None:
    room = {"up": 1.01}

    def get_signals(candles, down=0.99):
        up = room["up"]
        return {
            "position": 1,
            "price_take_profit": candles.close * up,
            "price_stop_loss": candles.close * down,
            "minute_estimated_time": 60,
        }

    sliders = bknb.interact("BTCUSDT", strategy=get_signals, values={"down": "0.98:0.99:0.005"}, interval="1h", **WHERE)
    room["up"] = 1.02
    assert sliders.move(down=0.99).tries.count == 2


def test_without_a_count_there_is_none() -> None:
    sliders = bknb.interact(
        "BTCUSDT", strategy=plain, values={"fast": "2:6"}, interval="15m", settings={"count_tries": False}, **WHERE
    )
    assert sliders.shown.tries is None
    assert "1 combination looked at · tries are not counted" in repr(sliders)


def test_a_ledger_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    keep_in(tmp_path / "file" / "tries.jsonl")
    sliders = bknb.interact("BTCUSDT", strategy=plain, values={"fast": "2:6"}, interval="15m", **WHERE)
    sliders.move(fast=2)
    assert "at least 2 on these data" in repr(sliders)
    assert sum("unknown" in text for text in sliders.warnings) == 1


def test_a_combination_that_fails_says_so_and_the_next_one_goes_on() -> None:
    def get_signals(candles, fast=3):
        if fast == 4:
            raise ValueError("no <b> four")
        return plain(candles, fast)

    sliders = bknb.interact("BTCUSDT", strategy=get_signals, values={"fast": "3:5"}, interval="15m", **WHERE)
    assert "no <b> four" in sliders.move(fast=4).error
    assert sliders.shown.account is None
    assert "no <b> four" in repr(sliders)
    assert sliders.move(fast=5).error == ""
    assert sliders.looks == 3


def test_no_trade_is_a_combination_like_any_other() -> None:
    sliders = bknb.interact("BTCUSDT", strategy=plain, values={"slow": [9, 100_000]}, interval="15m", **WHERE)
    look = sliders.move(slow=100_000)
    assert (look.error, len(look.results), look.account["total_return"], look.sharpe) == ("", 0, 0.0, None)
    assert "none was closed" not in repr(sliders)
    assert "Trades: 0" in repr(sliders)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"values": {"fats": "2:6"}}, "has no parameter 'fats'; did you mean 'fast'?"),
        ({"values": {}}, "at least one parameter"),
        ({"values": {"fast": "6:2"}}, "write fast=2:6"),
        ({"values": {"fast": "2:6"}, "exchange": "dmeo"}, "did you mean"),
    ],
)
def test_wrong_uses_are_answered_in_words(options: dict[str, Any], said: str) -> None:
    with pytest.raises(bknb.BknbError) as caught:
        bknb.interact("BTCUSDT", **{"strategy": plain, "interval": "15m", **WHERE, **options})
    assert said in str(caught.value)


def test_sliders_begin_at_what_is_given() -> None:
    given: dict[str, Any] = {"strategy": plain, "interval": "15m", **WHERE}
    sliders = bknb.interact("BTCUSDT", values={"slow": [9, 12]}, params={"fast": 4, "slow": 12}, **given)
    assert sliders.shown.params == {"fast": 4, "slow": 12}


def test_moves_that_cannot_be() -> None:
    sliders = bknb.interact("BTCUSDT", strategy=plain, values={"fast": "2:6:2"}, interval="15m", **WHERE)
    with pytest.raises(bknb.UsageError, match="no slider over 'slow'\nsliders: fast"):
        sliders.move(slow=9)
    with pytest.raises(bknb.UsageError, match="has no 5\nthe nearest is 4"):
        sliders.move(fast=5)
    assert sliders.place([99]).params == {"fast": 6}
