"""The magics in an IPython shell: what they do, what they answer to a mistake, what Tab offers."""

from __future__ import annotations

import atexit
import re
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from example import RUN, TRADER, WEEK
from quick import first_quick

import bknb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest.importorskip("IPython")

from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from bknb.domain.fills_at_stops_and_gaps import EXECUTION_MODELS
from bknb.domain.interval import INTERVAL_MS
from bknb.jupyter import completion, session
from bknb.jupyter.extension import COMMANDS, load_ipython_extension, unload_ipython_extension
from bknb.jupyter.magics import cell_body as cells
from bknb.jupyter.magics import options_read_from_line as options

PATIENT = "def get_signal(ctx):\n    return None\n"


class Answer:
    """What a cell printed, raised and returned."""

    def __init__(self, shell: InteractiveShell, code: str, capsys: pytest.CaptureFixture[str]) -> None:
        capsys.readouterr()
        done = shell.run_cell(code, store_history=True)
        self.out = capsys.readouterr().out
        self.value = done.result
        self.error = done.error_before_exec or done.error_in_exec
        self.lines = self.error._render_traceback_() if hasattr(self.error, "_render_traceback_") else []


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    InteractiveShell.clear_instance()
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    made = InteractiveShell.instance(config=config)
    made.run_line_magic("load_ext", "bknb")
    made.user_ns["bknb"] = bknb
    yield made
    unload_ipython_extension(made)
    atexit.unregister(made.atexit_operations)  # dozens of shells would clean up one after the other
    InteractiveShell.clear_instance()


@pytest.fixture
def cell(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Answer]:
    return lambda code: Answer(shell, code, capsys)


@pytest.fixture
def fine(cell: Callable[[str], Answer]) -> Callable[[str], Answer]:
    """A cell that must not fail."""

    def run(code: str) -> Answer:
        answer = cell(code)
        assert answer.error is None, answer.error
        return answer

    return run


# -- registering -------------------------------------------------------------------------------------------------


def test_a_cell_becomes_a_strategy_and_a_second_run_replaces_it(fine: Callable[[str], Answer]) -> None:
    first = fine(f"%%strategy sma-cross --interval 15m\n{PATIENT}")
    assert first.out == "strategy 'sma-cross' registered (interval 15m, execution pessimistic)\n"
    before = bknb.get_strategy("sma-cross").get_signal
    second = fine(f"%%strategy sma-cross --interval 1h --execution touch\n{PATIENT}")
    assert second.out == "strategy 'sma-cross' replaced (interval 1h, execution touch)\n"
    after = bknb.get_strategy("sma-cross")
    assert after.get_signal is not before
    assert (after.interval, after.execution) == ("1h", "touch")


def test_replacing_from_python_prints_a_notice_in_a_notebook(fine: Callable[[str], Answer]) -> None:
    code = "_ = bknb.add_strategy('mine', interval='1h', get_signal=lambda: None)"
    assert fine(code).out == ""
    assert fine(code).out == "strategy 'mine' replaced\n"


def test_a_function_of_an_earlier_cell_is_not_taken_by_mistake(cell: Callable[[str], Answer]) -> None:
    cell(f"%%strategy first --interval 15m\n{PATIENT}")
    answer = cell("%%strategy second --interval 15m\ndef get_signl(ctx): return None\ndef other(): pass")
    assert "get_signl, other" in answer.lines[0]
    assert "second" not in bknb.list_strategies()
    assert bknb.list_strategies() == ["first"]


def test_the_earlier_function_stays_where_a_cell_fails(cell: Callable[[str], Answer], shell: InteractiveShell) -> None:
    cell(f"%%strategy first --interval 15m\n{PATIENT}")
    kept = shell.user_ns["get_signal"]
    for body in ("1 / 0", "x = 1", "def get_signal(:"):
        assert cell(f"%%strategy second --interval 15m\n{body}").error
        assert shell.user_ns["get_signal"] is kept


def test_what_a_cell_defines_is_seen_by_later_cells(fine: Callable[[str], Answer], shell: InteractiveShell) -> None:
    fine("length = 7")
    fine("%%strategy one --interval 15m\nimport math\ndef get_signal():\n    return None if length else math.nan")
    fine("double = 2 * length")
    assert shell.user_ns["math"].floor(shell.user_ns["double"]) == 14
    assert bknb.get_strategy("one").get_signal() is None


COLUMNS = """
def get_signals(candles, hold=300):
    return {"position": 1, "price_take_profit": candles.close * 1.02, "price_stop_loss": candles.close * 0.99,
            "minute_estimated_time": hold}
"""


def test_a_vectorised_cell_is_a_strategy(fine: Callable[[str], Answer], shell: InteractiveShell) -> None:
    assert fine(f"%%strategy fast --interval 1h --lookback 5{COLUMNS}").out.startswith("strategy 'fast' registered")
    assert bknb.get_strategy("fast").lookback == 5
    fine("short = {'hold': 60}")
    fine(f"%%backtest BTCUSDT {RUN} --interval 1h --name quick --params {{short}} --out quick{COLUMNS}")
    assert set(shell.user_ns["quick"].trades["minutes"]) >= {60.0}
    fine(f"%backtest BTCUSDT --strategy fast {RUN} --out calm")
    assert len(shell.user_ns["calm"].trades) < len(shell.user_ns["quick"].trades)


def test_a_cell_with_both_functions_is_refused(cell: Callable[[str], Answer]) -> None:
    lines = cell(f"%%strategy both --interval 15m{COLUMNS}{PATIENT}").lines
    assert "both get_signal and get_signals" in lines[0]


MANAGED = """
def get_signal(price):
    return bknb.Signal(side="long", price_stop_loss=price * 0.99, price_take_profit=price * 1.02)

def {name}(position):
    return bknb.Close(note="long enough") if position.minutes >= {minutes} else None
"""


@pytest.mark.parametrize("name", ["manage", "manage_position"])
def test_a_second_function_manages_the_position(
    name: str, fine: Callable[[str], Answer], shell: InteractiveShell
) -> None:
    body = MANAGED.format(name=name, minutes=10)
    out = fine(f"%%backtest BTCUSDT {RUN} --interval 1h --manage-interval 5m --name left --out left{body}").out
    assert "strategy 'left' registered (interval 1h, execution pessimistic, manage every 5m)" in out
    assert "strategy" in set(shell.user_ns["left"].trades["close_reason"])
    assert bknb.get_strategy("left").manage is shell.user_ns[name]


def test_manage_of_an_earlier_cell_is_not_taken_by_mistake(
    fine: Callable[[str], Answer], shell: InteractiveShell
) -> None:
    fine(f"%%strategy first --interval 1h{MANAGED.format(name='manage', minutes=10)}")
    kept = shell.user_ns["manage"]
    fine(f"%%strategy second --interval 1h\n{PATIENT}")
    assert bknb.get_strategy("first").manage is kept
    assert bknb.get_strategy("second").manage is None
    assert shell.user_ns["manage"] is kept


def test_a_cell_that_manages_twice_or_never_is_refused(cell: Callable[[str], Answer]) -> None:
    twice = MANAGED.format(name="manage", minutes=1) + "\ndef manage_position(position): pass\n"
    assert "both manage and manage_position" in cell(f"%%strategy twice --interval 1h{twice}").lines[0]
    assert (
        "manage_interval and no manage" in cell(f"%%strategy s --interval 1h --manage-interval 1m\n{PATIENT}").lines[0]
    )
    number = cell(f"%%strategy number --interval 1h\n{PATIENT}\nmanage = 5")
    assert number.lines[0].endswith("the cell of strategy 'number' has a manage that is int, not a function")
    assert len(number.lines) == 2
    alone = cell("%%strategy alone --interval 1h\ndef manage(position): pass")
    assert "it defines manage" in alone.lines[0]
    for misspelled in ("manage_positions", "Manage", "mange"):
        near = cell(f"%%strategy near --interval 1h\n{PATIENT}\ndef {misspelled}(position): pass")
        assert f"defines {misspelled}, which asks for position and which nothing in it calls" in near.lines[0]
        assert near.lines[1] == "a function that manages positions is called manage or manage_position: rename it"
    helper = f"{PATIENT}\ndef manages(position): pass\ndef manage(position): manages(position)"
    assert "manage every 1h" in cell(f"%%strategy helper --interval 1h\n{helper}").out
    assert "registered" in cell(f"%%strategy other --interval 1h\n{PATIENT}\ndef manages(price): pass").out


@pytest.mark.slow
def test_a_sweep_from_a_line(fine: Callable[[str], Answer], cell: Callable[[str], Answer], shell: Any) -> None:
    pytest.importorskip("numba")
    fine(f"%%strategy fast --interval 1h --lookback 5{COLUMNS}")
    line = f"%sweep BTCUSDT --strategy fast {RUN} --metric total_pnl"
    out = fine(f"{line} --params 'hold=range(60, 300, 60)' --out found").out
    assert "4 combinations, grid, ranked by total_pnl" in out
    assert list(shell.user_ns["found"].table["hold"]) == [60, 120, 180, 240]
    fine("grid = {'hold': [60, 120]}")
    fine(f"task = %sweep BTCUSDT,ETHUSDT --strategy fast {RUN} --params {{grid}} --executor 1 --background")
    assert len(shell.user_ns["task"].result(600).table) == 4
    assert "--params does not understand" in cell(f"{line} --params 'hold=open(1)'").lines[0]
    assert "--trials takes a whole number" in cell(f"{line} --params hold=1 --trials few").lines[0]
    assert "did you mean 'hold'" in cell(f"{line} --params hald=1").lines[0]
    assert "fast=range(5, 50, 5)" in fine("%sweep --help").out


@pytest.mark.slow
def test_rows_of_weights_from_cells(fine: Callable[[str], Answer], cell: Callable[[str], Answer], shell: Any) -> None:
    pytest.importorskip("numba")
    rows = '\ndef get_signals(candles, top=1.0):\n    return {"weight": top * (candles.close > candles.open)}'
    fine(f"%%strategy rows --interval 4h --lookback 2 --tolerance 1{rows}")
    out = fine(f"%sweep BTCUSDT --strategy rows {RUN} --params 'top=[0.5, 1]' --metric total_pnl --out found").out
    assert "2 combinations, grid, ranked by total_pnl" in out
    fine(f"%%backtest BTCUSDT {RUN} --interval 4h --lookback 2 --tolerance 1 --out alone{rows}")
    found, alone = (shell.user_ns[name] for name in ("found", "alone"))
    assert found.table.set_index("top").n[1.0] == len(alone.trades) > 0
    without = cell(f"%%backtest BTCUSDT {RUN} --interval 4h{rows}")
    assert "get_signals returned weight, and the strategy has no tolerance" in "".join(without.lines)


def test_a_comparison_from_a_line(fine: Callable[[str], Answer], cell: Callable[[str], Answer], shell: Any) -> None:
    fine(f"%%strategy eager --interval 1h\n{TRADER}")
    fine(f"%%strategy patient --interval 1h\n{PATIENT}")
    out = fine(f"%walker BTCUSDT --strategies patient,eager {RUN} --metric total_pnl --out found").out
    assert "ranked by Sum of results" in out
    assert [entry.strategy for entry in shell.user_ns["found"]] == ["eager", "patient"]
    fine("bknb.add_walker('pair', exchange='demo', frame='2024-01-01:2024-01-08', strategies=['eager', 'patient'])")
    fine("task = %walker BTCUSDT --walker pair --background")
    assert shell.user_ns["task"].result(600).best.strategy == "eager"
    assert "did you mean 'eager'" in cell(f"%walker BTCUSDT --strategies eagr {RUN}").lines[0]
    assert "needs the name of a walker" in cell("%walker BTCUSDT").lines[0]
    assert "bknb.walker(" in fine("%walker --help").out


@pytest.mark.slow
def test_a_look_ahead_check_from_a_line(fine: Callable[[str], Answer], cell: Callable[[str], Answer]) -> None:
    fine(f"%%strategy eager --interval 1h\n{TRADER}")
    assert "nothing found in 40 moments" in fine(f"%lookahead BTCUSDT --strategy eager {RUN}").out
    fine(
        "%%strategy clever --interval 1h\nimport asyncio\ntape = asyncio.run(bknb.exchanges.demo().get_candles("
        "'BTCUSDT', '1m', 1704067200000, 20000))\n"
        "def get_signal(ctx):\n    at = int(tape.timestamp.searchsorted(ctx.when_ms))\n"
        "    side = 1 if tape.close[at + 60] > ctx.price else -1\n"
        "    return bknb.Signal(position='long' if side > 0 else 'short', "
        "price_take_profit=ctx.price * (1 + side * .02), price_stop_loss=ctx.price * (1 - side * .01), "
        "minute_estimated_time=60)"
    )
    out = fine(f"%lookahead BTCUSDT --strategy clever {RUN} --moments 10").out
    assert "NOT OK" in out
    assert "variable tape" in out
    wrong = cell(f"%lookahead BTCUSDT --strategy eager {RUN} --moments all")
    assert "--moments takes a whole number" in wrong.lines[0]


def test_a_strategy_can_have_a_risk_profile_from_a_cell(fine: Callable[[str], Answer]) -> None:
    body = "def _half(n): return n / 2\ndef never(request):\n    'no trade at all'\n    return _half(0) > 1"
    assert fine(f"%%risk calm\n{body}").out == "risk 'calm' registered (1 rule)\n"
    assert fine("%%risk calm\nvalidations = [lambda request: True, lambda request: True]").out == (
        "risk 'calm' replaced (2 rules)\n"
    )
    assert fine(f"%%risk calm\n{body}").out == "risk 'calm' replaced (1 rule)\n"
    answer = fine(f"%%backtest BTCUSDT {RUN} --interval 1h --name careful --risk calm --out r\n{TRADER}")
    assert "risk calm" in answer.out
    assert len(answer.value.trades) == 0
    assert answer.value.refused[0].note == "no trade at all"


def test_a_risk_cell_without_a_rule_is_refused(cell: Callable[[str], Answer]) -> None:
    assert "must define rules; it is empty" in cell("%%risk calm\n# nothing").lines[0]


def test_exchanges_and_frames(fine: Callable[[str], Answer], cell: Callable[[str], Answer], tmp_path: Path) -> None:
    assert fine("%exchange paper --get-candles demo").out == "exchange 'paper' registered\n"
    assert "paper" in fine("%exchange").out.split()
    assert "BTCUSDT" in fine("%exchange demo").out
    assert fine("%frame jan 2024-01-01 2024-02-01").out.endswith(" registered\n")
    assert fine("%frame").out == "jan (2024-01-01 00:00 .. 2024-02-01 00:00 UTC)\n"
    assert fine("%frame jan").out == fine("%frame").out
    assert fine("%frame jan '2024-01-01 06:00' 2024-02-01 --interval 5m").out.endswith(" replaced\n")
    assert bknb.get_frame("jan").interval == "5m"
    assert "needs an end" in cell("%frame feb 2024-02-01").lines[0]
    assert "--get-candles takes" in cell("%exchange other --get-candles nonsense").lines[0]
    assert "needs --get-candles" in cell("%exchange other --format-price {bknb.format_price}").lines[0]


def test_an_exchange_from_a_file(fine: Callable[[str], Answer], tmp_path: Path) -> None:
    demo = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame=("2024-01-01", "2024-01-03"))
    path = tmp_path / "minutes.csv"
    demo.candles.to_pandas().to_csv(path)
    fine(f"%exchange mine --get-candles {path}")
    result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="mine", frame=("2024-01-01", "2024-01-03"))
    assert result.candles == demo.candles


# -- running -----------------------------------------------------------------------------------------------------


def test_one_cell_registers_runs_and_shows(fine: Callable[[str], Answer], shell: InteractiveShell) -> None:
    answer = fine(f"%%backtest BTCUSDT {RUN} --interval 1h --name trader --out r\n{TRADER}")
    result = shell.user_ns["r"]
    assert isinstance(result, bknb.Result)
    assert answer.value is result
    assert len(result.trades) > 5
    assert answer.out.count(repr(result)) == 1
    assert (result.strategy, result.interval, result.execution) == ("trader", "1h", "pessimistic")


def test_a_magic_gives_the_same_result_as_its_python_call(fine: Callable[[str], Answer]) -> None:
    magic = fine(f"%%backtest BTCUSDT {RUN} --interval 1h --name trader --execution touch\n{TRADER}").value
    names: dict[str, Any] = {"bknb": bknb}
    exec(TRADER, names)  # noqa: S102 -- the text of the cell itself
    twin = bknb.backtest(
        "BTCUSDT", strategy=names["get_signal"], interval="1h", exchange="demo", frame=WEEK, execution="touch"
    )
    columns = ["position", "pending_at", "closed_at", "pnl_percentage"]
    assert magic.trades[columns].equals(twin.trades[columns])
    assert magic.execution == twin.execution == "touch"


def test_a_line_runs_a_registered_strategy_with_another_model(fine: Callable[[str], Answer]) -> None:
    fine(f"%%strategy trader --interval 1h\n{TRADER}")
    one = fine(f"r = %backtest BTCUSDT --strategy trader {RUN} --execution vwap")
    assert "execution vwap" in one.out
    assert one.value is None
    assert fine("r.execution").value == "vwap"


def test_a_line_and_a_cell_have_the_options_of_an_account(
    fine: Callable[[str], Answer], cell: Callable[[str], Answer]
) -> None:
    fine("costs = bknb.Costs(taker=0.1, fixed=1.0)")
    options = "--capital 10_000 --sizing percent:50 --account spot --costs {costs} --currency USDT"
    result = fine(f"%%backtest BTCUSDT {RUN} --interval 1h --name trader {options}\n{TRADER}").value
    assert result.equity.equals(fine(f"%backtest BTCUSDT --strategy trader {RUN} {options}").value.equity)
    assert (result.capital, result.account.currency) == (10_000.0, "USDT")
    assert result.equity.iloc[-1] == pytest.approx(10_000 + result.trades["money"].sum())
    told = str(cell(f"%backtest BTCUSDT --strategy trader {RUN} --capital much").error)
    assert "capital must be an amount of money above 0" in told


def test_settings_and_variables_in_braces_keep_their_types(fine: Callable[[str], Answer]) -> None:
    fine(f"%%strategy trader --interval 1h\n{TRADER}")
    fine(
        "base, free = 'ETH', {'percent_fee': 0.0}\nspan = ('2024-01-01', '2024-01-04')\nsource = bknb.exchanges.demo()"
    )
    result = fine("%backtest {base}USDT --strategy trader --exchange {source} --frame {span} --settings {free}").value
    assert result.symbol == "ETHUSDT"
    assert result.settings.percent_fee == 0.0
    assert result.end - result.start == 3 * 86_400_000


@pytest.mark.parametrize(
    "line",
    first_quick(
        [
            f"%%backtest X --exchange {{holed}} --frame {WEEK} --interval 1h GAPS\n{TRADER}",
            f"%backtest X --strategy trader --exchange {{holed}} --frame {WEEK} GAPS",
            f"%sweep X --strategy trader --params {{grid}} --exchange {{holed}} --frame {WEEK} GAPS",
            f"%walker X --strategies trader --exchange {{holed}} --frame {WEEK} GAPS",
            f"%lookahead X --strategy trader --exchange {{holed}} --frame {WEEK} --moments 3 GAPS",
        ],
        kept=2,
    ),
)
def test_gaps_are_refused_with_the_option_that_allows_them(
    line: str, fine: Callable[[str], Answer], cell: Callable[[str], Answer], shell: InteractiveShell
) -> None:
    fine(f"%%strategy trader --interval 1h\n{TRADER}")
    candles = bknb.backtest("X", strategy=lambda: None, exchange="demo", frame=WEEK).candles.to_pandas()
    shell.user_ns["holed"] = bknb.exchanges.from_frame(candles.drop(candles.index[2000]))
    shell.user_ns["grid"] = {}
    refused = cell(line.replace("GAPS", ""))
    told = f"{refused.error}\n{refused.out}"
    assert "1 candles are missing" in told
    assert "%walker" in line or "in a magic --allow-gaps" in told  # a comparison goes on, and has one line for each
    fine(line.replace("GAPS", "--allow-gaps"))


@pytest.mark.parametrize(
    "written",
    [
        "%backtest r << BTCUSDT {}",
        "%backtest r<<BTCUSDT {}",
        "%backtest BTCUSDT {} --out r",
        "%backtest --out=r 'BTCUSDT' {}",
        '%backtest "BTCUSDT" {} --out "r"',
        "r = %backtest BTCUSDT {}",
    ],
)
def test_a_result_can_be_given_a_name(written: str, fine: Callable[[str], Answer], shell: InteractiveShell) -> None:
    fine(f"%%strategy trader --interval 1h\n{TRADER}")
    fine(written.format(f"--strategy trader {RUN}"))
    assert shell.user_ns["r"].symbol == "BTCUSDT"


def test_help_says_how_a_result_gets_a_name(fine: Callable[[str], Answer]) -> None:
    line = fine("%backtest --help").out
    assert "To keep the result as r: --out r, or %backtest r << SYMBOL ..., or r = %backtest SYMBOL ...\n" in line
    assert "To keep the result as r: --out r, or %%backtest r << SYMBOL ...\n" in fine("%%backtest --help\n ").out
    assert "To keep" not in fine("%frame --help").out


def test_the_magics_can_be_taken_away(fine: Callable[[str], Answer], shell: InteractiveShell) -> None:
    fine("%unload_ext bknb")
    assert "backtest" not in shell.magics_manager.magics["line"]
    fine("%load_ext bknb")
    assert "backtest" in shell.magics_manager.magics["line"]


def test_the_same_result_is_shown_once_per_cell_and_again_in_the_next(
    fine: Callable[[str], Answer], shell: InteractiveShell
) -> None:
    fine(f"%%strategy trader --interval 1h\n{TRADER}")
    line = f"%backtest BTCUSDT --strategy trader {RUN} --out r"
    assert fine(line).out.count("backtest trader on BTCUSDT") == 1
    assert fine(f"{line}\nr").out.count("backtest trader on BTCUSDT") == 1
    assert fine("r").out.count("backtest trader on BTCUSDT") == 1
    assert fine(f"{line}\n{line}").out.count("backtest trader on BTCUSDT") == 2


def test_in_the_background_it_returns_a_task(fine: Callable[[str], Answer], cell: Callable[[str], Answer]) -> None:
    gate = "import threading\ngate = threading.Event()\n"
    fine(gate)
    waiting = "def get_signal(ctx):\n    assert gate.wait(30)\n"
    answer = fine(f"%%backtest BTCUSDT {RUN} --interval 1h --name slow --background --out task\n{waiting}")
    assert "run 1 goes on in the background" in answer.out
    assert isinstance(answer.value, bknb.Task)
    assert "running, " in fine("%runs").out
    assert "still going" in cell("%report").lines[0]
    assert "running already" in cell(f"%backtest BTCUSDT --strategy slow {RUN}").lines[0]
    fine("gate.set()\nresult = task.result()")
    assert "0 trades" in fine("%runs").out


HANGS = """
import os, signal
def get_signal():
    for until in (waits, lambda: waits() and bknb.Backtest.list()[-1].stopping):
        for _ in range(2_000):
            if until():
                break
            gate.wait(0.01)
        else:
            raise AssertionError("the cell does not wait for its run")
        os.kill(os.getpid(), signal.SIGINT)
    gate.wait(30)
"""


def test_a_second_interrupt_is_answered_in_two_lines(cell: Callable[[str], Answer], shell: InteractiveShell) -> None:
    """The strategy hangs, so the first one does not end its run."""

    def waits() -> bool:
        "whether the cell waits in ``Task.wait``, where an interrupt is answered"
        main = sys._current_frames()[threading.main_thread().ident or 0]
        return any(frame.f_code is bknb.Task.wait.__code__ for frame, _ in traceback.walk_stack(main))

    gate = threading.Event()
    shell.user_ns |= {"gate": gate, "waits": waits}
    answer = cell(f"%%backtest BTCUSDT {RUN} --interval 1h --name hangs{HANGS}")
    again = cell(f"%backtest BTCUSDT {RUN} --strategy hangs")
    gate.set()
    assert answer.lines == [
        "KeyboardInterrupt: backtest hangs BTCUSDT was stopped",
        "when its strategy gives it back, run 1 of %runs has what it came to",
    ]
    assert "another name, with --name" in str(again.error)
    assert bknb.Backtest.list()[-1].wait(20)


def test_an_error_of_the_strategy_names_the_line_in_the_cell(fine: Callable[[str], Answer]) -> None:
    body = "def get_signal(ctx):\n    if ctx.when.hour == 3:\n        return undefined_name\n"
    answer = fine(f"%%backtest BTCUSDT {RUN} --interval 1h --name broken\n{body}")
    assert "<strategy broken>, line 4: return undefined_name" in answer.out
    assert "7 times" in answer.out


# -- looking back ------------------------------------------------------------------------------------------------


@pytest.fixture
def ran(fine: Callable[[str], Answer]) -> bknb.Result:
    result: bknb.Result = fine(f"%%backtest BTCUSDT {RUN} --interval 1h --name trader --out r\n{TRADER}").value
    return result


def test_runs_lists_and_shows(ran: bknb.Result, fine: Callable[[str], Answer], cell: Callable[[str], Answer]) -> None:
    fine(f"%backtest ETHUSDT --strategy trader {RUN}")
    lines = fine("%runs").out.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2"]
    assert f"trader on BTCUSDT, {WEEK}, pessimistic: {len(ran.trades)} trades" in lines[0]
    assert repr(ran) in fine("%runs 1").out
    assert cell("%runs 7").lines[1].startswith("runs of this session: 1, 2")


def test_why_prints_the_events_of_a_signal(
    ran: bknb.Result, fine: Callable[[str], Answer], cell: Callable[[str], Answer]
) -> None:
    name = ran.trades["signal_id"].iloc[0]
    fine(
        "nothing = bknb.backtest('BTCUSDT', strategy=lambda: None, exchange='demo', frame=('2024-01-01', '2024-01-02'))"
    )
    assert fine(f"%why {name}").out == ran.why(name) + "\n"
    assert fine(f"%why {name} --run 1").out == ran.why(name) + "\n"
    lines = cell(f"%why {name[:-1]}").lines
    assert len(lines) <= 3
    assert "did you mean 'trader-BTCUSDT-" in lines[0]
    assert max(map(len, lines)) < 200


def test_report_is_shown_and_written(ran: bknb.Result, fine: Callable[[str], Answer], tmp_path: Path) -> None:
    assert "# Backtest report: trader on BTCUSDT" in fine("%report").out
    path = tmp_path / "new" / "report.md"
    fine(f"%report --path {path}")
    assert path.read_text(encoding="utf-8") == ran.report()


def test_report_can_be_the_tear_sheet(
    ran: bknb.Result, fine: Callable[[str], Answer], cell: Callable[[str], Answer], tmp_path: Path
) -> None:
    assert "tear sheet of trader on BTCUSDT" in fine("%report --html").out
    path = tmp_path / "new" / "sheet.html"
    assert "tear sheet written to" in fine(f"%report --html --path {path}").out
    assert path.read_text(encoding="utf-8") == ran.tearsheet().html
    assert "--html and --card are two reports" in cell("%report --html --card").lines[0]
    assert "ends with .html" in " ".join(cell(f"%report --html --path {tmp_path}/x.md").lines)


def test_report_can_be_the_run_card(fine: Callable[[str], Answer], tmp_path: Path) -> None:
    fine(f"%%backtest BTCUSDT {RUN} --interval 1h --name trader{TRADER}")
    assert "# Run card: trader on BTCUSDT" in fine("%report --card").out
    path = tmp_path / "card.json"
    assert "run card written to" in fine(f"%report --card --path {path}").out
    assert bknb.verify(path).same


# -- mistakes ----------------------------------------------------------------------------------------------------

MISTAKES = [
    ("%%strategy\nx = 1", "needs NAME"),
    ("%%strategy sma\ndef get_signal(): pass", "neither interval nor at"),
    ("%%strategy sma --intervall 15m\ndef get_signal(): pass", "did you mean '--interval'?"),
    ("%%strategy sma --interval\ndef get_signal(): pass", "--interval needs a value"),
    ("%%strategy sma --interval --risk x\ndef get_signal(): pass", "--interval needs a value"),
    ("%%strategy sma --interval 15m --interval 15m\ndef get_signal(): pass", "--interval is there twice"),
    ("%%strategy sma cross --interval 15m\ndef get_signal(): pass", "does not know what to do with 'cross'"),
    ("%%strategy sma --interval 15min\ndef get_signal(): pass", "unknown interval '15min'"),
    ("%%strategy sma --interval 15m --execution tuch\ndef get_signal(): pass", "did you mean 'touch'?"),
    ("%%strategy 'sma --interval 15m\ndef get_signal(): pass", "a quote is not closed"),
    ("%%strategy sma --interval {tf}\ndef get_signal(): pass", "there is no variable 'tf'"),
    ("%%strategy sma --interval 15m\nx = 1", "it defines no function"),
    ("%%strategy sma --interval 15m\nget_signal = 3", "its get_signal is int"),
    ("%%strategy sma --interval 15m\ndef get_signal(simbol): pass", "simbol"),
    ("%%strategy sma --interval 15m\n%time 1\ndef get_signal(): pass", "the body of the cell is plain Python"),
    ("%strategy sma", "needs the rest of the cell"),
    ("%backtest BTCUSDT", "needs --strategy"),
    ("%backtest BTCUSDT --background=yes", "--background takes no value"),
    (f"%backtest BTCUSDT --strategy nobody {RUN}", "no strategy is called 'nobody'"),
    ("%backtest BTCUSDT --strategy calm --exchange demmo --frame jan", "did you mean 'demo'?"),
    (f"%backtest BTCUSDT --strategy calm {RUN} --out 1x", "--out needs the name of a variable"),
    ("%backtest BTCUSDT --strategy calm --exchange demo --frame jam", "jam"),
    ("%backtest BTCUSDT --strategy calm --exchange demo --frame 2024-02-01:2024-01-01", "cannot end before it starts"),
    (f"%backtest {{calm.nope}} --strategy calm {RUN}", "has no attribute 'nope'"),
    ("%report", "nothing has run"),
    ("%why x", "nothing has run"),
    ("%runs x", "there is no run x"),
    ("%dashboard bknb", "or a variable in braces\nwrite {bknb}"),
]


@pytest.mark.parametrize(("code", "part"), MISTAKES)
def test_a_mistake_is_answered_in_at_most_three_lines(code: str, part: str, cell: Callable[[str], Answer]) -> None:
    cell(f"%%strategy calm --interval 1h\n{PATIENT}\ncalm = 1")
    answer = cell(code)
    assert isinstance(answer.error, bknb.BknbError)
    assert 1 <= len(answer.lines) <= 3
    assert part in "\n".join(answer.lines)
    assert "Traceback" not in answer.out
    assert answer.out == "\n".join(answer.lines) + "\n"


def test_a_body_that_does_not_parse_names_the_line_in_the_cell(cell: Callable[[str], Answer]) -> None:
    lines = cell("%%strategy sma --interval 15m\ndef get_signal(ctx):\n    retrun None").lines
    assert len(lines) == 3
    assert "does not parse at line 3" in lines[0]
    assert lines[1].strip() == "retrun None"
    assert lines[2].index("^") == lines[1].index("None")


def test_a_body_that_raises_names_the_line_and_the_reason(cell: Callable[[str], Answer]) -> None:
    lines = cell("%%strategy sma --interval 15m\n\nlength = 0\nratio = 1 / length\ndef get_signal(): pass").lines
    assert lines == [
        "StrategyError: the cell of %%strategy sma failed at line 4: ratio = 1 / length",
        "ZeroDivisionError: division by zero",
    ]


# -- help and completion -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_magic_has_help(command: options.Command, fine: Callable[[str], Answer]) -> None:
    body = "\npass" if command.is_cell else ""
    text = fine(f"{command.name} --help{body}").out
    assert text.startswith(command.usage())
    for option in command.options:
        assert re.search(rf"^  {re.escape(option.name)} +{re.escape(option.help)}", text, re.MULTILINE)
    assert command.twin in text


def test_help_of_a_cell_magic_can_be_asked_on_a_line(fine: Callable[[str], Answer]) -> None:
    assert fine("%strategy --help").out.startswith("%%strategy NAME")


def offered(shell: InteractiveShell, code: str) -> list[str]:
    """What Tab offers at the end of ``code``."""
    with provisionalcompleter():
        found = list(shell.Completer.completions(code, len(code)))
    return [completion.text for completion in found]


@pytest.fixture
def registered_names(fine: Callable[[str], Answer]) -> None:
    fine(f"%%strategy sma-cross --interval 1h\n{TRADER}")
    fine(f"%%strategy sma-slow --interval 1h\n{PATIENT}")
    fine("%frame january 2024-01-01 2024-02-01")
    fine("%%risk calm\ndef rule(request): return True")
    fine("my_span = ('2024-01-01', '2024-01-03')")


@pytest.mark.usefixtures("registered_names")
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("%backtest BTCUSDT --str", ["--strategy"]),
        ("%backtest BTCUSDT --strategy sma-", ["sma-cross", "sma-slow"]),
        ("%backtest BTCUSDT --strategy ", ["sma-cross", "sma-slow"]),
        ("%backtest BTCUSDT --strategy sma-cross --fra", ["--frame"]),
        ("%backtest BTCUSDT --frame j", ["january"]),
        ("r = %backtest BTCUSDT --frame j", ["january"]),
        ("%backtest r << BTC", ["BTCUSDT"]),
        ("%backtest BTCUSDT --exchange d", ["demo"]),
        ("%backtest BTCUSDT --execution ", ["pessimistic", "touch", "vwap"]),
        ("%backtest BTCUSDT --settings {my", ["{my_span}"]),
        ("%backtest ET", ["ETHUSDT"]),
        ("%%strategy x --risk ", ["calm"]),
        ("%%strategy x --interval 1", ["1m", "15m", "1h", "12h", "1d", "1w"]),
        ("%%backtest BTCUSDT --interval 3", ["3m", "30m", "3d"]),
        ("%frame j", ["january"]),
        ("x = 1\n%frame j", ["january"]),
    ],
)
def test_tab_completes_options_and_values(code: str, expected: list[str], shell: InteractiveShell) -> None:
    assert offered(shell, code) == expected


@pytest.mark.usefixtures("registered_names")
def test_tab_offers_no_option_twice(shell: InteractiveShell) -> None:
    found = offered(shell, "%backtest BTCUSDT --strategy sma-cross --exchange=demo --")
    assert "--strategy" not in found
    assert "--exchange" not in found
    assert {"--frame", "--help"} <= set(found)


def test_tab_offers_the_signals_of_the_newest_run(ran: bknb.Result, shell: InteractiveShell) -> None:
    assert offered(shell, "%why tra") == list(reversed(ran.trades["signal_id"].tolist()))
    assert offered(shell, "%report --run ") == ["1"]


@pytest.mark.slow
@pytest.mark.usefixtures("registered_names")
@pytest.mark.parametrize("code", ["%%strategy x --interval 1h\n%frame x --strategy sma", "sma", "a % frame --stra"])
def test_tab_leaves_other_lines_alone(code: str, shell: InteractiveShell) -> None:
    assert not {"sma-cross", "--strategy"} & set(offered(shell, code))


def test_completion_offers_exactly_the_intervals_and_models_of_the_engine() -> None:
    assert list(completion.INTERVALS) == list(INTERVAL_MS)
    assert list(completion.EXECUTIONS) == list(EXECUTION_MODELS)


# -- loading -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_can_be_unloaded_and_loaded_again(shell: InteractiveShell, cell: Callable[[str], Answer]) -> None:
    unload_ipython_extension(shell)
    assert not {"backtest", "strategy"} & {*shell.magics_manager.magics["line"], *shell.magics_manager.magics["cell"]}
    assert "--strategy" not in offered(shell, "%backtest BTCUSDT --")
    load_ipython_extension(shell)
    load_ipython_extension(shell)
    assert offered(shell, "%backtest BTCUSDT --str") == ["--strategy"]
    cell("_ = bknb.add_strategy('mine', interval='1h', get_signal=lambda: None)")
    assert (
        cell("_ = bknb.add_strategy('mine', interval='1h', get_signal=lambda: None)").out
        == "strategy 'mine' replaced\n"
    )


def test_old_runs_are_forgotten(shell: InteractiveShell) -> None:
    state = shell.bknb_session
    for _ in range(session.RUNS_HELD + 5):
        state.add("run", task=None)
    assert [run.number for run in state.runs] == list(range(6, session.RUNS_HELD + 6))


def test_the_source_of_a_cell_is_available_to_tracebacks() -> None:
    import linecache

    names: dict[str, Any] = {}
    cells.run_body("%%strategy seen", "a = 1\nb = 2", filename="<strategy seen>", names=names)
    assert linecache.getline("<strategy seen>", 3) == "b = 2"
    assert names["b"] == 2


# -- handing over ------------------------------------------------------------------------------------------------


def test_doctor_returns_its_findings(fine: Callable[[str], Answer], tmp_path: Path) -> None:
    checkup = fine(f"%doctor --offline --state {tmp_path}").value
    assert isinstance(checkup, bknb.Checkup)
    assert checkup.findings[-1].found.endswith(str(tmp_path))


def test_verify_runs_a_saved_card_again(fine: Callable[[str], Answer], tmp_path: Path) -> None:
    fine(f"%%backtest BTCUSDT {RUN} --interval 1h --name trader{TRADER}")
    path = tmp_path / "card.json"
    fine(f"%report --card --path {path}")
    assert fine(f"%verify {path}").value.same
    fine("%%strategy trader --interval 1h" + TRADER.replace("1.02", "1.03"))
    assert "line 4 of get_signal" in repr(fine(f"%verify {path}").value)


def test_share_needs_a_saved_notebook(cell: Callable[[str], Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert "which notebook this is" in cell("%share").lines[0]
    assert "no notebook at nowhere.ipynb" in cell("%share nowhere.ipynb").lines[0]
    monkeypatch.setenv("JPY_SESSION_NAME", "gone.ipynb")
    assert "which notebook this is" in cell("%share").lines[0]
