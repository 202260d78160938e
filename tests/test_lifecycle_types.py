"""Impossible steps of a signal: refused by the type checker, and at run time with the events of the signal."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from bknb.config import Settings
from bknb.domain import lifecycle as life
from bknb.domain.execution import Minute, execution_model
from bknb.domain.signal import OpenSignal, ScheduledSignal, Signal
from bknb.errors import InvalidTransition

HEAD = """
from typing import assert_never
from bknb.domain.signal import Active, Cancelled, Closed, Idle, Opened, Scheduled, TickResult
from bknb.domain.lifecycle import Answer, DataEnd, Flat, Holding, Rules, Verdict, Waiting, step
"""
MATCH = """
def f(result: TickResult) -> float:
    match result:
        case Idle() | Scheduled() | Opened() | Active():
            return result.price
        case Closed():
            return result.price_close
{last}
        case _:
            assert_never(result)
"""
REFUSED = {
    "holding_answer": ("def f(s: Holding, a: Answer, r: Rules) -> None:\n    step(s, a, r)", "call-overload"),
    "flat_verdict": ("def f(s: Flat, v: Verdict, r: Rules) -> None:\n    step(s, v, r)", "call-overload"),
    "flat_signal": ("def f(s: Flat) -> object:\n    return s.signal", "attr-defined"),
    "closed_percent": ("def f(c: Closed) -> object:\n    return c.percent_tp", "attr-defined"),
    "frozen": ("def f(c: Closed) -> None:\n    c.price_close = 1.0", "misc"),
    "missing_case": (MATCH.format(last=""), "arg-type"),
}
ACCEPTED = MATCH.format(last="        case Cancelled():\n            return 0.0") + (
    "\ndef g(s: Waiting, d: DataEnd, r: Rules) -> None:\n    step(s, d, r)\n"
)


@pytest.mark.slow
def test_the_type_checker_refuses_what_cannot_be(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api")
    files = {"accepted": ACCEPTED} | {name: text for name, (text, _) in REFUSED.items()}
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(HEAD + text + "\n")
    paths = [str(tmp_path / f"{name}.py") for name in files]
    root = Path(__file__).parent.parent
    config = tmp_path / "mypy.ini"
    config.write_text(f"[mypy]\nmypy_path = {root}\nfollow_imports = silent\nignore_missing_imports = True\n")
    output, wrong, _ = api.run(["--strict", "--config-file", str(config), "--cache-dir", str(tmp_path / "c"), *paths])
    assert not wrong
    found = dict.fromkeys(files, "")
    for name, code in re.findall(r"(\w+)\.py:\d+: error: .*\[([\w-]+)\]", output):
        found[name] += code
    assert found == {"accepted": ""} | {name: code for name, (_, code) in REFUSED.items()}, output


ROW: dict[str, Any] = {
    "id": "mine", "symbol": "BTCUSDT", "strategy": "s", "exchange": "e", "position": "long", "price_open": 100.0,
    "price_take_profit": 110.0, "price_stop_loss": 90.0, "minute_estimated_time": 5, "note": "", "scheduled_at": 0,
}  # fmt: skip
WAITS, OPEN = ScheduledSignal(**ROW), OpenSignal(**ROW, pending_at=0)
CANDLE = Minute(0, 100.0, 100.0, 100.0, 100.0, 100.0)
STATES = [
    life.Flat(last_id="mine"),
    life.Asking(candidate=OPEN, when=0, price=100.0),
    life.Waiting(signal=WAITS),
    life.Entering(signal=WAITS, minute=CANDLE, stopped_too=False),
    life.Holding(signal=OPEN, highest=100.0, lowest=100.0),
]
ASKED = Signal(position="long", price_take_profit=110.0, price_stop_loss=90.0, minute_estimated_time=5)
INPUTS = [
    life.Answer(0, 100.0, ASKED), CANDLE, life.Verdict(True), life.SkippedMinutes(100.0, 100.0),  # noqa: FBT003
    life.DataEnd(0, 100.0), life.Halt(0, 100.0),
]  # fmt: skip
LEGAL = {
    "Flat": {"Answer", "Minute"},
    "Asking": {"Verdict"},
    "Waiting": {"Minute", "DataEnd", "Halt"},
    "Entering": {"Verdict"},
    "Holding": {"SkippedMinutes", "Minute", "DataEnd"},
}
RULES = life.Rules("BTCUSDT", "s", "e", None, "live", execution_model("touch"), Settings())


@pytest.mark.parametrize(("state", "given"), list(product(STATES, INPUTS)), ids=lambda value: type(value).__name__)
def test_an_impossible_step_raises_with_the_events_of_the_signal(state: Any, given: Any) -> None:
    source, came = type(state).__name__, type(given).__name__
    if came in LEGAL[source]:
        assert life.check(life.step(state, given, RULES).state) == []
        return
    with pytest.raises(InvalidTransition) as caught:
        life.step(state, given, RULES)
    text = str(caught.value)
    assert f"cannot go from {source} by {came}" in text
    assert "s on BTCUSDT (live, touch)" in text
    assert "mine" in text
    assert all(name in text for name in LEGAL[source])
