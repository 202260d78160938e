"""``--interact`` on a line of ``%%backtest``: what it says of sliders, and the cell that keeps a combination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from test_magics import Answer, cell, fine, shell  # noqa: F401 -- fixtures

import bknb

if TYPE_CHECKING:
    from collections.abc import Callable

pytest.importorskip("numba")
pytestmark = pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaWarning")

from bknb.jupyter.magics.interact import kept_cell, values_of  # noqa: E402 -- after the check
from bknb.jupyter.magics.options_read_from_line import Call  # noqa: E402

RUN = "BTCUSDT --exchange demo --frame 2024-01-01:2024-01-08 --interval 1h"
BODY = """
def get_signals(candles, up=1.02, hours=4, mode="both"):
    side = 1 if mode != "short" else -1
    return {
        "position": side,
        "price_take_profit": candles.close * (1 + side * (up - 1)),
        "price_stop_loss": candles.close * (1 - side * 0.01),
        "minute_estimated_time": 60 * hours,
    }
"""


def test_sliders_of_a_cell_and_the_cell_that_keeps_them(fine: Callable[[str], Answer]) -> None:  # noqa: F811
    line = f"%%backtest r << {RUN} --interact up=1.01:1.05:0.01 hours=2:8 mode=both,short --name steps"
    answer = fine(f"{line}\n{BODY}")
    assert answer.value is None
    assert "strategy 'steps' registered" in answer.out
    assert "1 combination looked at · the first strategy tried on these data" in answer.out
    r = fine("r").value
    assert r.params == {"up": 1.02, "hours": 4, "mode": "both"}
    look = r.move(up=1.04, mode="short")
    call = Call(values={}, head=line, body=BODY)
    kept = fine(kept_cell(call, r.params)).value
    assert dict(kept.account) == dict(look.account)
    assert kept.tries.line == look.tries.line == "the 2nd strategy tried on these data"


def test_sliders_of_a_registered_strategy(fine: Callable[[str], Answer]) -> None:  # noqa: F811
    fine(f"%%strategy steps --interval 1h\n{BODY}")
    line = "%backtest BTCUSDT --strategy steps --exchange demo --frame 2024-01-01:2024-01-08"
    fine(f'{line} --params "up=1.03, hours=8" --interact hours=2:8 --out r')
    r = fine("r").value
    assert r.shown.params == {"up": 1.03, "hours": 8}
    kept = fine(f'r = {line} --params "up=1.03, hours=8"').value
    assert kept is None  # it was assigned
    assert dict(fine("r").value.account) == dict(r.shown.account)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--interact", "--interact needs a value"),
        ("--interact up", "--interact does not understand 'up'"),
        ("--interact up=1.01:1.05:0.01 up=1:2", "--interact has up twice"),
        ("--interact up=1.01:1.05", "needs a step"),
        ("--interact ups=1:5", "did you mean 'up'?"),
        ("--interact hours=2:8 --capital 10_000", "--capital does not go with --interact"),
        ("--interact hours=2:8 --background", "--background does not go with --interact"),
        ("--interact {none}", "there is no variable 'none'"),
        ("--interact {bknb}", "sliders need the values of at least one parameter"),
    ],
)
def test_wrong_uses_are_answered_in_words(options: str, said: str, cell: Callable[[str], Answer]) -> None:  # noqa: F811
    answer = cell(f"%%backtest {RUN} {options}\n{BODY}")
    assert said in str(answer.error)
    assert len(answer.lines) <= 3
    assert "cell" not in bknb.list_strategies() or "registered" in answer.out


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ("fast=5:50 slow=20:200", {"fast": "5:50", "slow": "20:200"}),
        ("fast=5:50,", {"fast": "5:50"}),
        ("mode=a,b x=1,2", {"mode": "a,b", "x": "1,2"}),
        ({"fast": range(3)}, {"fast": range(3)}),
    ],
)
def test_what_a_line_says_of_sliders(given: Any, values: dict[str, Any]) -> None:
    assert values_of(Call(values={"interact": given})) == values


@pytest.mark.parametrize(
    ("head", "params", "kept"),
    [
        ("%%backtest S --interact a=1:9 b=2:3 --frame jan", {"a": 2}, '%%backtest S --frame jan --params "a=2"'),
        ("%%backtest --interact=a=1:9 b=2:3 S", {"a": 2}, '%%backtest S --params "a=2"'),
        ("%%backtest --interact {grid} S", {"a": None}, '%%backtest S --params "a=None"'),
        ('%%backtest S --params "b=1, a=3" --interact a=1:9', {"b": 1, "a": 3}, '%%backtest S --params "b=1, a=3"'),
        (
            "%%backtest r << S --frame 'a b' --interact m=x,y",
            {"m": "x"},
            '%%backtest r << S --frame "a b" --params "m=\'x\'"',
        ),
        ("%%backtest S --interact m=x,y", {"m": "it's"}, ""),
        ("%%backtest S --interact a=1:9", {"a": 2, "source": object()}, ""),
    ],
)
def test_the_cell_that_keeps_a_combination(head: str, params: dict[str, Any], kept: str) -> None:
    made = kept_cell(Call(values={}, head=head, body="x = 1\n"), params)
    assert made == (f"{kept}\nx = 1" if kept else "")
