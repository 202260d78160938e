"""``%portfolio`` and ``%%portfolio`` in an IPython shell: what they run, what they answer to a mistake."""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

import bknb

pytest.importorskip("IPython")

from example import RUN, TRADER
from test_magics import PATIENT, Answer, cell, fine, offered, shell  # noqa: F401 -- fixtures

from bknb.jupyter.extension import COMMANDS
from bknb.runs.portfolio import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from IPython.core.interactiveshell import InteractiveShell

BOTH = "--symbols BTCUSDT,ETHUSDT"
HALVES = "def get_weights(ctx):\n    return dict.fromkeys(ctx.symbols, 0.4)\n"
AT_MONDAYS = f"{BOTH} {RUN} --at mon --capital 10_000 --name halves --benchmark equal --tolerance 1"

Cell: TypeAlias = "Callable[[str], Answer]"


def test_a_cell_of_weights_is_a_portfolio(fine: Cell, shell: InteractiveShell) -> None:  # noqa: F811
    """The same as its twin in Python; it is registered, listed, reported and told about."""
    shown = fine(f"%%portfolio {AT_MONDAYS} --out several\n{HALVES}")
    several = shell.user_ns["several"]
    assert shown.out.startswith(
        "strategy 'halves' registered (at mon, execution pessimistic)\nportfolio halves, 2 legs"
    )
    assert bknb.get_strategy("halves").tolerance == 1.0
    call: dict[str, Any] = {"exchange": "demo", "frame": "2024-01-01:2024-01-08", "capital": 10_000}
    twin = bknb.portfolio(strategies=["halves"], benchmark="equal", name="twin", **call)
    assert several.equity.equals(twin.equity)
    assert several.account == twin.account
    assert bknb.Portfolio.get_data("halves") is several
    assert fine("%runs").out == (
        f"  1  portfolio halves, 2 legs, 2024-01-01:2024-01-08: 2 trades, {several.account.text('total_return')}\n"
    )
    assert fine("%runs 1").out == f"{several!r}\n"
    assert fine("%report").out == f"{several.report()}\n"
    signal = several.leg("ETHUSDT").trades["signal_id"].iloc[0]
    assert fine(f"%why {signal}").out == several.leg("ETHUSDT").why(signal) + "\n"
    assert fine("%portfolio --strategies halves --capital 10_000 " + RUN).value.equity.equals(twin.equity)


def test_a_cell_of_signals_runs_on_each_symbol_beside_others(fine: Cell) -> None:  # noqa: F811
    fine(f"%%strategy calm --interval 1d\n{PATIENT}")
    several = fine(f"%%portfolio {BOTH} --strategies calm {RUN} --interval 1d --name trader\n{TRADER}").value
    assert list(several.legs) == [
        (symbol, strategy) for strategy in ("calm", "trader") for symbol in ("BTCUSDT", "ETHUSDT")
    ]
    assert fine("%runs").out == f"  1  portfolio trader, 4 legs, 2024-01-01:2024-01-08: {len(several.trades)} trades\n"
    with_weights = fine(f"%%portfolio {BOTH} --strategies calm {RUN} --interval 1d\n{HALVES}").value
    assert list(with_weights.legs)[::2] == [("BTCUSDT", "calm"), ("BTCUSDT", "cell")]
    lined = fine(f"%portfolio --legs BTCUSDT:trader,ETHUSDT:calm {RUN} --name two").value
    assert list(lined.legs) == [("BTCUSDT", "trader"), ("ETHUSDT", "calm")]
    assert lined.leg("BTCUSDT").trades.equals(several.leg("BTCUSDT", "trader").trades)


def test_one_in_the_background_is_listed_and_not_started_twice(fine: Cell, cell: Cell) -> None:  # noqa: F811
    gate = threading.Event()

    def waits() -> None:
        assert gate.wait(20)

    bknb.add_strategy("waits", interval="1d", get_signal=waits)
    line = f"%portfolio {BOTH} --strategies waits {RUN} --name slow"
    started = fine(f"{line} --background")
    assert started.out.startswith("run 1 goes on in the background: portfolio slow; %runs shows how far it is")
    assert "running, " in fine("%runs").out
    refused = cell(line)
    assert refused.lines[0] == "UsageError: a portfolio called 'slow' is running already"
    assert refused.lines[1] == "wait for it, or end it: bknb.Portfolio.stop('slow', now=True)"
    gate.set()
    assert started.value.result(20).name == "slow"


def test_a_backtest_has_a_benchmark_too(fine: Cell) -> None:  # noqa: F811
    line = fine(f"%%backtest BTCUSDT {RUN} --interval 1d --name trader --benchmark ETHUSDT\n{TRADER}").value
    assert line.benchmark.name == "ETHUSDT"
    assert fine(f"%backtest BTCUSDT --strategy trader {RUN} --benchmark equal").value.benchmark.name == "BTCUSDT"


def test_a_cell_that_is_refused_replaces_no_strategy(fine: Cell, cell: Cell) -> None:  # noqa: F811
    """The one of that name that was there is there again; a new one stays, and that is said."""
    before = fine(f"%%strategy halves --interval 1d\n{PATIENT}") and bknb.get_strategy("halves")
    gate = threading.Event()

    def waits() -> None:
        assert gate.wait(20)

    for name in ("halves", "new"):
        gate.clear()
        bknb.add_strategy("waits", interval="1d", get_signal=waits)
        legs: Any = {
            "symbols": ["BTCUSDT"],
            "strategies": ["waits"],
            "exchange": "demo",
            "frame": "2024-01-01:2024-01-03",
        }
        task = bknb.Portfolio.background(**legs, name=name)
        refused = cell(f"%%portfolio {BOTH} {RUN} --at mon --capital 10_000 --name {name}\n{HALVES}")
        assert refused.lines[0] == f"UsageError: a portfolio called {name!r} is running already"
        assert ("registered" in refused.out) is (name == "new")
        assert "replaced" not in refused.out
        gate.set()
        task.result(20)
    assert bknb.get_strategy("halves") is before
    cell(f"%%portfolio {BOTH} {RUN} --at mon --capital 0 --name halves\n{HALVES}")
    cell(f"%%backtest BTCUSDT {RUN} --interval 1d --name halves --capital 0\n{TRADER}")
    assert bknb.get_strategy("halves") is before


def test_params_are_written_or_a_variable_and_anything_else_is_told(fine: Cell, cell: Cell) -> None:  # noqa: F811
    code = "def get_signal(price, top=1.0):\n    return None\n"
    line = f"%%backtest BTCUSDT {RUN} --interval 1d --name tops"
    fine(f"{line} --params top=0.5\n{code}")
    assert bknb.get_strategy("tops").params == {"top": 0.5}
    fine("shape = {'top': 2}")
    fine(f"{line} --params {{shape}}\n{code}")
    assert bknb.get_strategy("tops").params == {"top": 2}
    for wrong, said in (
        ("0.5", "--params does not understand '0.5'"),
        ("top=x", "--params does not understand 'top=x'"),
    ):
        answer = cell(f"{line} --params {wrong}\n{code}")
        assert answer.lines == [f"UsageError: {said}", 'write "top=0.5, length=20", or a variable in braces: {params}']
    fine("shape = 0.5")
    assert cell(f"{line} --params {{shape}}\n{code}").lines == [
        "UsageError: params of strategy 'tops' must be a mapping from names to values, got 0.5",
        "such as params={'top': 0.5}",
    ]
    with pytest.raises(bknb.UsageError, match=r"got 'top=0.5'\nsuch as params=\{'top': 0.5\}"):
        bknb.add_strategy("x", interval="1d", get_signal=lambda top: None, params="top=0.5")  # type: ignore[call-overload]


MISTAKES = [
    (f"%%portfolio {RUN}\n{HALVES}", "needs --symbols"),
    (f"%%portfolio {BOTH} {RUN}\n{HALVES}", "neither interval nor at"),
    (f"%%portfolio {BOTH} {RUN} --at mon --late ask\n{HALVES}", "--late does not go with get_weights"),
    (f"%%portfolio {BOTH} {RUN} --at mon --lookback 5\n{HALVES}", "--lookback does not go with get_weights"),
    (f"%%portfolio {BOTH} {RUN} --at mon\n{HALVES}def manage(position): pass", "manage does not go with get_weights"),
    (f"%%portfolio {BOTH} {RUN} --at mon\n{HALVES}{PATIENT}", "defines both get_signal and get_weights"),
    (f"%%portfolio {BOTH} {RUN} --at mon\nx = 1", "must define a function get_weights or get_signal; it defines no"),
    (f"%%portfolio {BOTH} {RUN} --at mon --tolerance much\n{HALVES}", "--tolerance takes a number, got 'much'"),
    (f"%%portfolio {BOTH} {RUN} --at mon --capital 0\n{HALVES}", "capital must be an amount of money above 0"),
    (f"%%backtest BTCUSDT {RUN} --interval 1d\n{HALVES}", "run it with %%portfolio --symbols"),
    (f"%%portfolio {BOTH} {RUN} --at mon --together\n{PATIENT}", "--together goes with get_weights"),
    (f"%portfolio {RUN}", "symbols must be a list, at least one"),
    (f"%portfolio --strategies nobody {BOTH} {RUN}", "no strategy is called 'nobody'"),
    (f"%portfolio --legs BTCUSDT,ETHUSDT {RUN}", "--legs takes pairs SYMBOL:STRATEGY"),
    (f"%portfolio --legs BTCUSDT:calm {BOTH} {RUN}", "give symbols and strategies, or legs"),
    (f"%portfolio --legs BTCUSDT:calm {RUN} --benchmark equal", "without a capital there is none"),
    (f"%portfolio --legs BTCUSDT:calm {RUN} --priority first", "priority must be 'declared'"),
    (f"%portfolio --legs BTCUSDT:calm {RUN} --executor afar", "executor must be 'inline', 'processes'"),
    (f"%portfolio --legs BTCUSDT:calm {RUN} --sizing risk:1", "capital"),
    (f"%portfolio --legs BTCUSDT:calm {RUN} --capitol 10", "did you mean '--capital'?"),
]


@pytest.mark.parametrize(("code", "part"), MISTAKES)
def test_a_mistake_is_answered_in_at_most_three_lines(code: str, part: str, cell: Cell) -> None:  # noqa: F811
    cell(f"%%strategy calm --interval 1h\n{PATIENT}")
    answer = cell(code)
    assert isinstance(answer.error, bknb.BknbError)
    assert 1 <= len(answer.lines) <= 3
    assert part in "\n".join(answer.lines)
    assert answer.out.endswith("\n".join(answer.lines) + "\n")


def test_a_portfolio_has_its_card_and_its_tear_sheet(fine: Cell, cell: Cell) -> None:  # noqa: F811
    fine(f"%%portfolio {BOTH} {RUN} --interval 1d\n{PATIENT}")
    assert fine("%report --card").out.startswith("# Run card")
    assert "portfolio of 2 legs" in fine("%report --html").out


def test_its_run_card_is_shown_and_written(fine: Cell, cell: Cell, tmp_path: Path) -> None:  # noqa: F811
    options = "--at mon --reenter --together --cash-buffer-percent 2 --capital 1_000 --name halves"
    several = fine(f"%%portfolio {BOTH} {RUN} {options}\n{HALVES}").value
    strategy = bknb.get_strategy("halves")
    assert (strategy.reenter, strategy.together, strategy.cash_buffer_percent) == (True, True, 2.0)
    assert fine("%report --card").out == f"{several.card.report()}\n"
    path = tmp_path / "card.json"
    fine(f"%report --card --path {path}")
    assert bknb.verify(path).same
    assert "no run of this session has a signal 'x'" in cell("%why x").lines[0]


def test_its_options_are_the_parameters_of_its_function() -> None:
    """Those of `bknb.portfolio` with dashes; legs of a cell are its symbols."""
    parameters = {*inspect.signature(bknb.portfolio).parameters}
    line, of_cell = ({option.key for option in each.options} for each in COMMANDS if "portfolio" in each.name[-9:])
    if "legs" in of_cell:
        line, of_cell = of_cell, line
    assert line - parameters == {"out", "background"}
    assert parameters <= line
    assert parameters - of_cell == {"legs"}
    strategy = next(each for each in COMMANDS if each.name == "%%strategy")
    assert {option.key for option in strategy.options} - {"name"} <= of_cell
    assert {*inspect.signature(bknb.weights).parameters} - {"get_weights", "callbacks", "strict"} <= of_cell


def test_tab_goes_on_behind_a_comma(fine: Cell, shell: InteractiveShell) -> None:  # noqa: F811
    fine(f"%%strategy calm --interval 1h\n{PATIENT}")
    fine(f"%%strategy care --interval 1h\n{PATIENT}")
    assert offered(shell, "%portfolio --strategies calm,ca") == ["calm,care"]
    assert offered(shell, "%portfolio --symbols BTCUSDT,ETHU") == ["BTCUSDT,ETHUSDT"]
    assert offered(shell, "%portfolio --benchmark BTC") == ["BTCUSDT"]
    assert "--legs" in offered(shell, "%portfolio --")


@pytest.fixture(autouse=True)
def _ended() -> Any:
    yield
    TASKS.end_and_forget()
