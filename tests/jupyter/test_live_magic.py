"""``%live`` in an IPython shell: starting, listing, stopping, and what it answers to a mistake."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

import bknb

pytest.importorskip("IPython")

from test_magics import PATIENT, TRADER, Answer, cell, fine, shell  # noqa: F401 -- fixtures
from waiting import until

from bknb.testing.clocks import AcceleratedClock, SimulatedClock

if TYPE_CHECKING:
    from collections.abc import Callable

START = 1_704_067_200_000
LIVE = "%live BTCUSDT --strategy quiet --exchange demo --clock {clock} --store {store}"


@pytest.fixture
def ready(fine: Callable[[str], Answer], shell: Any) -> Callable[[str], Answer]:  # noqa: F811
    """A session with a strategy, a clock and a store."""
    fine(f"%%strategy quiet --interval 1m\n{PATIENT}")
    shell.user_ns |= {"clock": SimulatedClock(START), "store": bknb.stores.memory()}
    return fine


@pytest.mark.slow
def test_a_run_is_started_kept_and_listed(ready: Callable[[str], Answer], shell: Any) -> None:  # noqa: F811
    assert ready("%live").out.startswith("no live run has been started in this kernel\n")
    output = ready(f"task << {LIVE} --until '2024-01-01 02:00'".replace("task << %live", "%live task <<"))
    assert output.out.startswith("live: quiet on BTCUSDT; ")
    assert output.value is None
    task = shell.user_ns["task"]
    assert len(task.result(20).trades) == 0
    assert ready("%live").out == "quiet on BTCUSDT: fulfilled, up to 2024-01-01 02:00 UTC, 0 trades\n"


@pytest.mark.slow
def test_the_listed_result_is_compounded(ready: Callable[[str], Answer], shell: Any) -> None:  # noqa: F811
    """Each trade is made with the whole account."""
    ready(f"%%strategy quiet --interval 1m\n{TRADER}")
    ready(f"{LIVE} --until '2024-01-01 12:00' --out task")
    trades = shell.user_ns["task"].result(60).trades
    total = (bknb.statistics(trades)["equity_final"] - 1) * 100
    assert f"{total:+.2f}" != f"{trades['pnl_percentage'].sum():+.2f}"
    assert ready("%live").out.endswith(f", {len(trades)} trades, {total:+.2f} % compounded\n")


def test_a_run_is_stopped(ready: Callable[[str], Answer], shell: Any) -> None:  # noqa: F811
    shell.user_ns["clock"] = AcceleratedClock(START, speed=600)
    ready(f"{LIVE} --out task")
    assert shell.user_ns["task"].status == "pending"
    output = ready("%live BTCUSDT --strategy quiet --stop")
    assert output.out == "quiet on BTCUSDT: no new entries from now on\n"
    assert shell.user_ns["task"].result(20).stopped


@pytest.mark.slow
def test_what_is_open_is_decided_about_by_hand(
    ready: Callable[[str], Answer], cell: Callable[[str], Answer], shell: Any  # noqa: F811
) -> None:  # fmt: skip
    """On a clock that shows ten seconds of the market in each of ours, a long is opened, moved and closed."""
    shell.user_ns["clock"] = AcceleratedClock(START, speed=600)
    ready(f"{LIVE} --out task")
    task = shell.user_ns["task"]
    hand = "BTCUSDT --strategy quiet"
    began = task.now
    assert until(lambda: task.now >= began + 120_000)
    answer = ready(f"%live open {hand} --position long --price-stop-loss 30000 --note mine").out
    assert answer.startswith("quiet on BTCUSDT: opens long BTCUSDT (quiet-BTCUSDT-20240101T")
    assert until(lambda: "close" in task.decisions)
    assert re.search(r", 0 trades; long 1 open at [\d,.]+, stop 30,000.00\n$", ready("%live").out)
    for line, text in (
        (f"%live move {hand} --minute-estimated-time 1.5", "must be a whole number or none, got '1.5'"),
        (f"%live move {hand} --price-take-profit {{[(1,2)]}}", "or a variable in braces, such as {ladder}"),
        (f"%live move {hand} --trailing wide", "quote currency, percent such as 1.5%, none, or a variable in braces"),
        (f"%live open {hand}", "%live open needs --position long or short"),
    ):
        assert text in str(cell(line).error)
    assert ready(f"%live move {hand} --price-stop-loss 31000 --price-take-profit none").out.startswith(
        "quiet on BTCUSDT: moves the levels of long BTCUSDT"
    )
    assert "moves the levels" in ready(f"%live move {hand} --trailing 1.5%").out
    assert until(lambda: task.position.price_stop_loss == pytest.approx(0.985 * task.position.best_price))
    assert ready(f"%live reduce {hand} --share 0.5").out.startswith("quiet on BTCUSDT: reduces long BTCUSDT")
    assert ready(f"%live close {hand} --note enough").out.startswith("quiet on BTCUSDT: closes long BTCUSDT")
    assert until(lambda: len(task.trades_so_far) > 0)
    (trade,) = task.trades_so_far
    assert (trade.close_reason, trade.note, trade.signal.note) == ("manual", "enough", "mine")
    assert ready("%live flatten").out == "nothing is open\n"
    assert "at 1000" in ready(f"%live open {hand} --position long --price-open 1000 --price-stop-loss 900").out
    assert until(lambda: "activate" in task.decisions)
    assert "nobody" in str(cell(f"%live activate {hand} --id nobody").error)
    moved = ready(f"%live move {hand} --price-open 1100 --id {task.position.waiting[0].id}").out
    assert moved.startswith("quiet on BTCUSDT: moves the limit entry of long BTCUSDT at 1000")
    assert until(lambda: "activate" in task.decisions)
    moved_to = task.position.waiting[0].id
    assert ready(f"%live cancel {hand} --id {moved_to}").out == f"quiet on BTCUSDT: takes back {moved_to}\n"
    ready(f"%live {hand} --stop --now")
    task.result(20)
    assert ready(f"%live {hand} --stop").out == "quiet on BTCUSDT: is over already (fulfilled)\n"


def test_the_list_says_what_fails_and_what_stops(ready: Callable[[str], Answer], shell: Any) -> None:  # noqa: F811
    """Nobody looks at a listener or a dashboard in a notebook that was left alone."""
    ready("%%strategy quiet --interval 1m\ndef get_signal(price):\n    raise ValueError('no idea')")
    shell.user_ns["clock"] = AcceleratedClock(START + 55_000, speed=30)  # two seconds from one question to the next
    ready(f"{LIVE} --out task")
    task = shell.user_ns["task"]
    assert until(lambda: len(task.records.failures) > 0)
    assert re.search(
        r", 0 trades\n  strategy: ValueError: no idea \(<strategy quiet>, line 3: .*\), \d+ times?\n$",
        ready("%live").out,
    )
    again = ready("%%strategy quiet --interval 1m\ndef get_signal(price):\n    return None").out
    goes_on = (
        "the live run on BTCUSDT goes on with the one it was started with: stop it and start it again to change that"
    )
    assert again.splitlines()[1] == goes_on
    told = ready("_ = bknb.add_strategy('quiet', interval='1m', get_signal=lambda: None)").out
    assert told == f"strategy 'quiet' replaced\n{goes_on}\n"
    task.open(bknb.Signal(side="long"))  # what is open is watched to its end
    task.stop()
    assert ": stopping, up to" in ready("%live").out
    task.stop(now=True)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("%live close", "%live close needs a symbol and --strategy\nrunning: nothing"),
        ("%live close BTCUSDT --strategy nobody", "no live run is called 'nobody on BTCUSDT'"),
        ("%live close BTCUSDT --strategy quiet --share 1", "%live close takes --note, --at, --place; got --share"),
        ("%live BTCUSDT --strategy quiet --share 1", "--share needs an action before the symbol: close, reduce"),
        ("%live shut BTCUSDT --strategy quiet", "%live shut is no action"),
        ("%live clsoe BTCUSDT --strategy quiet", "%live clsoe is no action; did you mean 'close'?"),
        ("%live BTCUSDT ETHUSDT --strategy quiet", "for ETHUSDT write a %live of its own"),
        ("%live stop BTCUSDT --strategy quiet", "write %live SYMBOL --strategy STRATEGY --stop"),
        ("%live stop", "write %live SYMBOL --strategy STRATEGY --stop"),
        ("%live pause BTCUSDT --strategy quiet", "write bknb.Live.pause(symbol, strategy)"),
        ("%live --stop", "%live without a symbol lists the live runs; got --stop too"),
        ("%live BTCUSDT --strategy quiet --exchange demo --capital 0", "capital must be an amount of money above 0"),
        ("%live BTCUSDT --strategy quiet --symbols ETHUSDT", "--symbols is of several legs, and %live BTCUSDT is one"),
        ("%live BTCUSDT --strategy quiet --priority score", "--priority is of several legs"),
        ("%live --symbols BTCUSDT --strategy quiet --exchange demo", "takes --strategies, with commas, in place of"),
        ("%live --name two --now", "--now goes with --stop: %live --name two --stop --now"),
        ("%live BTCUSDT --strategy quiet --exchange demo --now", "--now goes with --stop"),
        ("%live close BTCUSDT --strategy quiet --stop", "%live close takes --note, --at, --place; got --stop"),
        ("%live close BTCUSDT --strategy quiet --store x", "%live close takes --note, --at, --place; got --store"),
        ("%live flatten --strategy quiet", "needs its symbol, too"),
        ("%live close BTCUSDT --strategy quiet", "goes on when it is started again with its store"),
    ],
)
def test_mistakes_about_actions(
    ready: Callable[[str], Answer], cell: Callable[[str], Answer], line: str, text: str  # noqa: F811
) -> None:  # fmt: skip
    answer = cell(line)
    assert isinstance(answer.error, bknb.BknbError), answer.error
    assert text in str(answer.error)
    assert len(answer.lines) <= 3


@pytest.mark.slow
def test_a_run_is_left_with_a_position_and_taken_up_again(
    ready: Callable[[str], Answer], shell: Any  # noqa: F811
) -> None:  # fmt: skip
    ready(f"%%strategy quiet --interval 1m\n{TRADER}")
    shell.user_ns["clock"] = AcceleratedClock(START, speed=600)
    ready(f"{LIVE} --out task")
    task = shell.user_ns["task"]
    assert until(lambda: bool(task.snapshot().events))
    assert ready("%live BTCUSDT --strategy quiet --stop --now").out == "quiet on BTCUSDT: leaving\n"
    (opened,) = task.result(20).events
    shell.user_ns["clock"] = SimulatedClock(opened.when)
    ready(f"{LIVE} --out task --until '2024-01-01 12:00'")
    assert shell.user_ns["task"].result(20).trades["signal_id"].tolist()[0] == opened.signal.id


def test_a_store_is_a_folder_or_a_file(ready: Callable[[str], Answer], shell: Any, tmp_path: Any) -> None:  # noqa: F811
    for place in ("state", "state.db"):
        line = LIVE.replace("{store}", str(tmp_path / place))
        shell.user_ns["clock"] = SimulatedClock(START)
        ready(f"{line} --until 2024-01-01 --out task")
        shell.user_ns["task"].result(20)
    assert (tmp_path / "state" / "signal" / "quiet" / "BTCUSDT.json").is_file()
    assert (tmp_path / "state.db").is_file()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("%live BTCUSDT", "%live BTCUSDT needs --strategy\nregistered: quiet"),
        ("%live BTCUSDT --strategy quiet", "%live BTCUSDT needs --exchange\nknown: demo"),
        ("%live BTCUSDT --strategy nobody --exchange demo", "no strategy is called 'nobody'"),
        ("%live BTCUSDT --strategy quiet --exchange nowhere", "no exchange is called 'nowhere'"),
        ("%live BTCUSDT --strategy quiet --stop", "no live run is called 'quiet on BTCUSDT'"),
        (
            "%live BTCUSDT --strategy quiet --exchange demo --clock noon",
            "--clock must be a variable in braces, got 'noon'\nwrite --clock {noon}",
        ),
        ("%live BTCUSDT --strategy quiet --exchange demo --until soon", "until must be a text such as"),
        ("%live BTCUSDT --strategy quiet --exchange demo --store {clock}", "a store must be bknb.stores.files"),
        ("%live BTCUSDT --strategy quiet --exchange demo --quantity much", "--quantity must be a number"),
        ("%live BTCUSDT --strategy quiet --exchange demo --quantity 1", "a broker needs a quantity"),
        ("%live BTCUSDT --strateg quiet", "there is no option '--strateg'; did you mean '--strategy'?"),
    ],
)
def test_mistakes_are_answered_in_three_lines(
    ready: Callable[[str], Answer], cell: Callable[[str], Answer], line: str, text: str  # noqa: F811
) -> None:  # fmt: skip
    answer = cell(line)
    assert isinstance(answer.error, bknb.BknbError), answer.error
    assert text in str(answer.error)
    assert len(answer.lines) <= 3
    assert not bknb.Live.list()


def test_a_second_run_of_the_same_is_refused(
    ready: Callable[[str], Answer], cell: Callable[[str], Answer], shell: Any  # noqa: F811
) -> None:  # fmt: skip
    shell.user_ns["clock"] = AcceleratedClock(START, speed=600)
    ready(f"{LIVE} --out task")
    answer = cell(LIVE)
    assert "is going on already" in answer.lines[0]
    assert len(answer.lines) <= 3


def test_help_names_every_option(fine: Callable[[str], Answer]) -> None:  # noqa: F811
    out = fine("%live --help").out
    assert "Runs a registered strategy on the running clock" in out
    assert all(
        option in out for option in ("--clock", "--store", "--until", "--broker", "--quantity", "--stop", "--now")
    )


@pytest.mark.slow
def test_several_legs_are_started_listed_and_stopped(ready: Callable[[str], Answer], shell: Any) -> None:  # noqa: F811
    shell.user_ns["clock"] = AcceleratedClock(START, speed=600)
    line = "%live --symbols BTCUSDT,ETHUSDT --strategies quiet --exchange demo --clock {clock} --store {store}"
    output = ready(f"{line} --capital 10000 --sizing percent:40 --name two --out task")
    assert output.out == "live: portfolio two of 2 legs; %live tells how they are, %live --name two --stop\n"
    task = shell.user_ns["task"]
    assert bknb.Live.portfolio.list()[-1] is task
    assert [text.split(":")[0] for text in ready("%live").out.splitlines()] == ["quiet on BTCUSDT", "quiet on ETHUSDT"]
    assert ready("%live --name two --stop --now").out == "portfolio two: leaving\n"
    result = task.result(20)
    assert result.capital == 10_000
    assert len(result.legs) == 2


def test_a_run_takes_a_capital(ready: Callable[[str], Answer], shell: Any) -> None:  # noqa: F811
    ready(f"{LIVE} --until '2024-01-01 00:30' --capital 10000 --sizing percent:40 --out task")
    assert shell.user_ns["task"].result(20).capital == 10_000
