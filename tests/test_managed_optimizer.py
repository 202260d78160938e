"""Proposed strategies may declare exits and manage their positions: checked, tried out and replayed as any other."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
import pytest
from hostile_replies import reply
from test_optimizer_hostile_replies import WEEK, reasons

import bknb
from bknb.config import Settings
from bknb.domain.signal import Signal
from bknb.engine.registry import Exchange
from bknb.market.demo import DemoSource
from bknb.market.resample import resample
from bknb.optimizer.lint import lint
from bknb.optimizer.prompt import Range, system
from bknb.optimizer.proposal_as_cells import Cell, program
from bknb.optimizer.standalone import standalone
from bknb.optimizer.trial import DraftTrials
from bknb.sandbox.allowlist import SIGNAL_FIELDS
from bknb.sandbox.child import sent_signal

MANAGED = """import bknb

HALF = 0.5  # of what is held
NEAR = 0.98

def near(price):
    return price * NEAR

def get_signal(ctx):
    closes = ctx.candles("1h", 3).close
    if closes[-1] > closes[0]:
        return bknb.Signal(side="long", price_stop_loss=near(ctx.price), trailing=bknb.Trailing(percent=1.5, after=0.5))
    return None

def manage(ctx, position):
    if position.size == 1 and position.percent > -0.5:
        return [bknb.Reduce(HALF), bknb.Move(price_stop_loss=max(near(ctx.price), position.price_stop_loss))]
    return bknb.Close(note="long enough") if position.bars >= 12 else None
"""


def test_a_strategy_that_manages_is_two_functions_that_stand_alone() -> None:
    found = lint(MANAGED)
    assert found.objections == ()
    names: dict[str, Any] = {}
    exec(found.code, names)  # noqa: S102 -- the code of this test
    assert {name for name in names if not name.startswith("__")} == {"bknb", "get_signal", "manage"}
    assert found.code == standalone(found.code)
    assert "HALF = 0.5\n" in found.code
    assert "#" not in found.code


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("(ctx, position):", "(ctx, book):", "manage asks for book; it may ask for ctx, symbol, when, price, position"),
        ("(ctx, position):", "(*given):", "manage must name what it asks for: def manage(ctx, position)"),
        ("def near(price)", "def manage_position(position)", "manage is defined more than once"),
        ("price_stop_loss=near(ctx.price), ", "", "bknb.Signal needs price_stop_loss or stop_percent"),
        ("bknb.Close(", "bknb.close_all(", "bknb.close_all is not among what a strategy may use"),
        ("trailing=", "trails=", "bknb.Signal has no 'trails'"),
        ('side="long", ', "", "bknb.Signal needs position"),
    ],
)
def test_what_is_wrong_with_one_is_said(old: str, new: str, says: str) -> None:
    assert old in MANAGED
    assert any(says in str(objection) for objection in lint(MANAGED.replace(old, new)).objections)


def test_a_position_that_nothing_ends_is_refused() -> None:
    code = "import bknb\ndef get_signal(ctx):\n    return bknb.Signal(side='long', price_stop_loss=ctx.price * 0.98)"
    (objection,) = lint(code).objections
    named = "price_take_profit, target_percent, minute_estimated_time, trailing, until, bars"
    assert f"needs one of {named}, or a function manage" in str(objection)
    assert lint(code + "\ndef manage(position):\n    return bknb.Close()").objections == ()


def test_levels_in_percent_stand_for_prices() -> None:
    code = "import bknb\ndef get_signal(ctx):\n    return bknb.Signal(side='long', stop_percent=2, target_percent=3)"
    assert lint(code).objections == ()
    assert lint(code.replace(", target_percent=3", "")).objections != ()


def test_the_model_is_told_of_declared_exits_and_manage() -> None:
    facts = dict.fromkeys(
        ("min_take_profit", "min_stop_loss", "max_stop_loss", "max_minutes", "most_days", "intervals"), 1
    )
    text = system(symbol="BTCUSDT", facts=facts)
    for word in ("bknb.Trailing(", "bknb.Breakeven(", "def manage(ctx, position)", "bknb.Reduce(", "[(price, share)"):
        assert word in text


def test_each_end_the_model_is_told_of_passes_alone() -> None:
    facts = dict.fromkeys(
        ("min_take_profit", "min_stop_loss", "max_stop_loss", "max_minutes", "most_days", "intervals"), 1
    )
    _, _, told = system(symbol="BTCUSDT", facts=facts).partition("something that ends a position that goes well: ")
    sentence = told.partition("or a function manage")[0]
    others = SIGNAL_FIELDS - {"size"}  # "parts of the first size"
    named = [name for name in others if re.search(rf"\b{name}\b", sentence)]
    assert len(named) >= 3
    for name in named:
        code = f"import bknb\ndef get_signal(ctx):\n    return bknb.Signal(side='long', price_stop_loss=1.0, {name}=60)"
        assert lint(code).objections == (), name


@pytest.mark.slow
@pytest.mark.parametrize("execution", ["pessimistic", "vwap"])
def test_a_trial_of_one_that_manages_is_the_backtest_of_its_code(execution: str) -> None:
    _, draft = reasons(reply(MANAGED.replace("side=", "size=0.25, side=")))
    assert draft is not None
    trial = DraftTrials("BTCUSDT", Exchange("demo", DemoSource()), Settings(), execution=execution, lead_days=5)
    verdict = asyncio.run(trial(draft, WEEK, look_ahead=True))
    assert verdict.objections == ()
    names: dict[str, Any] = {}
    exec(draft.code, names)  # noqa: S102 -- the code of this test
    bknb.add_strategy("draft", interval=draft.interval, get_signal=names["get_signal"], manage=names["manage"])
    plain = bknb.backtest(
        "BTCUSDT", strategy="draft", exchange="demo", frame=(WEEK.start, WEEK.end), execution=execution
    )
    assert verdict.result is not None
    assert len(plain.fills) > 2 * len(plain.trades) > 0
    assert set(plain.trades["size"]) == {0.25}
    assert verdict.result.trades["size"].to_list() == plain.trades["size"].to_list()
    assert verdict.result.fills.to_dict() == plain.fills.to_dict()
    assert verdict.result.stops.to_dict() == plain.stops.to_dict()


@pytest.mark.slow
def test_a_trial_of_one_that_answers_with_lists_is_the_backtest_of_its_code() -> None:
    one = 'bknb.Signal(side="long", price_stop_loss=near(ctx.price), trailing=bknb.Trailing(percent=1.5, after=0.5))'
    other = 'bknb.Signal(side="long", price_open=ctx.price + 9, entry="stop", price_stop_loss=near(ctx.price), bars=9)'
    pullback = other.replace('price + 9, entry="stop"', "price - 9")
    _, draft = reasons(reply(MANAGED.replace(one, f"[{other}, {pullback}]")))
    assert draft is not None
    trial = DraftTrials("BTCUSDT", Exchange("demo", DemoSource()), Settings(), lead_days=5)
    verdict = asyncio.run(trial(draft, WEEK, look_ahead=False))
    assert verdict.objections == ()
    names: dict[str, Any] = {}
    exec(draft.code, names)  # noqa: S102 -- the code of this test
    bknb.add_strategy("draft", interval=draft.interval, get_signal=names["get_signal"], manage=names["manage"])
    plain = bknb.backtest("BTCUSDT", strategy="draft", exchange="demo", frame=(WEEK.start, WEEK.end))
    assert verdict.result is not None
    assert {end.reason for end in plain.run_record.records.cancelled} >= {"place_taken"}
    assert verdict.result.fills.to_dict() == plain.fills.to_dict()


GIVEN: dict[str, Any] = {
    "position": "short",
    "side": "short",
    "price_take_profit": ((90.0, 0.5), (80.0, 0.25)),
    "minute_estimated_time": 60,
    "entry": "stop",
    "note": "high",
    "id": "mine",
    "place": "63000",
    "trailing": bknb.Trailing(percent=1.0),
    "breakeven": bknb.Breakeven(after=2.0),
    "memo": {"a": 1},
    "until": "session_end",
    "bars": 3,
    "valid": "slot",
}


def test_a_signal_leaves_the_sandbox_with_all_of_its_fields() -> None:
    for name in Signal.__struct_fields__:
        value = GIVEN.get(name, 0.5)  # a number
        signal = Signal(**{"position": "short", name: value})
        arrived = msgspec.msgpack.decode(msgspec.msgpack.encode(sent_signal(signal)), type=Signal)
        assert getattr(arrived, name) == ([*value] if name == "price_take_profit" else value)
        texts = map(str, lint(f"import bknb\ndef get_signal(ctx):\n    return bknb.Signal({name}=1)").objections)
        assert not [text for text in texts if "bknb.Signal has no" in text]
    assert sent_signal(Signal(position="long", size="risk:1")).size == "risk:1"  # refused outside: there is no capital
    for wrong in (
        {"size": object()},
        {"bars": "half"},
        {"note": "\ud800"},
        {"bars": 1.5},
        {"bars": object()},
        {"bars": 2**70},
    ):
        with pytest.raises(ValueError, match=r"got|surrogates"):
            sent_signal(Signal(position="long", **wrong))


TO_THE_CLOSE = """import bknb

def get_signal(ctx):
    closes = ctx.candles("1h", 3).close
    if closes[-1] > closes[0]:
        return bknb.Signal(side="long", price_stop_loss=ctx.price * 0.9, until="session_end")
    return None
"""


def hours_of_the_day() -> Any:
    """Hours of the demo market from 09:00 to 17:00 UTC on weekdays of eight weeks: their hours are read off them."""
    begin = 1_704_067_200_000
    minutes = asyncio.run(DemoSource().get_candles("BTCUSDT", "1m", begin, 8 * 7 * 1440))
    table = resample(minutes, "1h").to_pandas()
    inside = (table.index.hour >= 9) & (table.index.hour < 17) & (table.index.day_of_week < 5)
    return bknb.exchanges.from_frame(table[inside], symbol="BTCUSDT", name="hours")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["read off", "declared"])
def test_a_trial_has_the_hours_of_the_market_that_a_backtest_has(name: str) -> None:
    _, draft = reasons(reply(TO_THE_CLOSE, interval="1h"))
    assert draft is not None
    source = (
        hours_of_the_day() if name == "read off" else bknb.exchanges.in_sessions(bknb.exchanges.demo(), "us-equities")
    )
    trial = DraftTrials(
        "BTCUSDT", Exchange("mine", source), Settings(), lead_days=3, base="1h" if name == "read off" else "1m"
    )
    tuesday = 1_705_363_200_000  # five days of bars, of which hours could not be read off
    week = Range(start=tuesday + 86_400_000, end=tuesday + 4 * 86_400_000)
    verdict = asyncio.run(trial(draft, week, look_ahead=False))
    assert verdict.objections == ()
    names: dict[str, Any] = {}
    exec(draft.code, names)  # noqa: S102 -- the code of this test
    bknb.add_strategy("draft", interval=draft.interval, get_signal=names["get_signal"])
    plain = bknb.backtest(
        "BTCUSDT", strategy="draft", exchange=source, frame=(week.start, week.end),
        settings=Settings(), allow_gaps=True,
    )  # fmt: skip
    assert len(plain.trades) > 1
    assert verdict.result is not None
    assert verdict.result.fills.to_dict() == plain.fills.to_dict()


@pytest.mark.slow
def test_a_memo_that_is_refused_in_a_run_is_refused_in_a_trial() -> None:
    _, draft = reasons(reply(MANAGED.replace("side=", "memo={1: 2}, side=")))
    assert draft is not None
    trial = DraftTrials("BTCUSDT", Exchange("demo", DemoSource()), Settings(), lead_days=5)
    verdict = asyncio.run(trial(draft, WEEK, look_ahead=False))
    assert any("with texts as keys: memo has the key 1 (int)" in str(each) for each in verdict.objections)


def test_the_program_of_a_proposal_registers_manage() -> None:
    cell = Cell(kind="code", source=f"%%strategy one --interval 1h\n{lint(MANAGED).code}")
    assert program([cell]).rstrip().endswith('interval="1h", get_signal=get_signal, manage=manage)')
