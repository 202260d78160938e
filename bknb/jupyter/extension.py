"""The magics: ``%%strategy``, ``%%backtest`` and their companions. Thin: parse the line, call bknb, show the answer."""

from __future__ import annotations

import logging
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import bknb

from .. import frontend
from . import display
from .completion import matcher, signals_of
from .frontend import Notebook
from .kernel import ipython
from .magics import cell_body, compare, dashboard, data, live, optimize, share, sweep
from .magics.arguments import Call, Command, Option, parse
from .magics.output import keep, say
from .session import Run, Session
from .wait import wait

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = Option(name="NAME", help="its name", required=True)
_SYMBOL = Option(name="SYMBOL", help="what is traded, such as BTCUSDT", kind="symbol", required=True)
_EXCHANGE = Option(
    name="--exchange", help="where candles come from: a name or {source}", kind="exchange", required=True
)
_FRAME = Option(name="--frame", help="a name, or START:END such as 2024-01-01:2024-02-01", kind="frame", required=True)
_INTERVAL = Option(name="--interval", help="how often the strategy is asked", kind="interval", required=True)
_RISK = Option(name="--risk", help="risk profile that every signal must pass", kind="risk")
_EXECUTION = Option(name="--execution", help="pessimistic (default), touch or vwap", kind="execution")
_SETTINGS = Option(name="--settings", help="costs and limits of this run, as {settings}", kind="variable")
_PARAMS = Option(name="--params", help="values for the function's parameters, as {params}", kind="variable")
_LOOKBACK = Option(name="--lookback", help="candles a row of get_signals depends on; 500 by default")
_OUT = Option(name="--out", help="variable that receives the result", kind="variable")
_BACKGROUND = Option(name="--background", help="return at once; %runs shows how far it is", flag=True)
_RUN = Option(name="--run", help="number of the run (the newest by default); see %runs", kind="run")

COMMANDS: Final = (
    Command(
        name="%%strategy",
        summary="The get_signal, or get_signals, in the cell becomes a registered strategy.",
        options=(_NAME, _INTERVAL, _PARAMS, _LOOKBACK, _RISK, _EXECUTION),
        twin='bknb.add_strategy("sma-cross", interval="15m", get_signal=get_signal)',
    ),
    Command(
        name="%%backtest",
        summary="Registers the get_signal, or get_signals, in the cell and runs it over history.",
        options=(
            _SYMBOL,
            _EXCHANGE,
            _FRAME,
            _INTERVAL,
            Option(name="--name", help="name of the strategy; 'cell' by default", kind="strategy"),
            _PARAMS,
            _LOOKBACK,
            _RISK,
            _EXECUTION,
            _SETTINGS,
            _OUT,
            _BACKGROUND,
        ),
        twin='bknb.backtest("BTCUSDT", strategy=get_signal, exchange="demo", frame="2024-01-01:2024-02-01")',
    ),
    Command(
        name="%backtest",
        summary="Runs a registered strategy over history.",
        options=(
            _SYMBOL,
            Option(name="--strategy", help="a registered strategy", kind="strategy", required=True),
            _EXCHANGE,
            _FRAME,
            _EXECUTION,
            _SETTINGS,
            _OUT,
            _BACKGROUND,
        ),
        twin='bknb.backtest("BTCUSDT", strategy="sma-cross", exchange="demo", frame="2024-01-01:2024-02-01")',
    ),
    Command(
        name="%exchange",
        summary="Registers where candles come from; without a name, lists what is registered.",
        options=(
            Option(name="NAME", help="its name", kind="exchange"),
            Option(name="--get-candles", help="demo, ccxt:binance, a .csv or .parquet file, {function}", kind="source"),
            Option(name="--format-price", help="{function} of symbol and price", kind="variable"),
            Option(name="--format-quantity", help="{function} of symbol and quantity", kind="variable"),
        ),
        twin='bknb.add_exchange("demo", get_candles=bknb.exchanges.demo())',
    ),
    Command(
        name="%frame",
        summary="Registers a stretch of time; without a name, lists what is registered.",
        options=(
            Option(name="NAME", help="its name", kind="frame"),
            Option(name="START", help="first moment, such as 2024-01-01; UTC"),
            Option(name="END", help="last moment; UTC"),
            Option(name="--interval", help="distance of two moments; 1m by default", kind="interval"),
        ),
        twin='bknb.add_frame("january", start="2024-01-01", end="2024-02-01")',
    ),
    Command(
        name="%%risk",
        summary="The functions in the cell (or its list validations) become a risk profile; each sees a request.",
        options=(_NAME,),
        twin='bknb.add_risk("calm", validations=[at_most_three])',
    ),
    Command(
        name="%runs",
        summary="Lists the runs of this session; with a number, shows that one.",
        options=(Option(name="RUN", help="number of a run", kind="run"),),
        twin="result",
    ),
    dashboard.COMMAND,
    Command(
        name="%why",
        summary="Tells the whole story of one signal.",
        options=(Option(name="SIGNAL_ID", help="see result.trades", kind="signal", required=True), _RUN),
        twin="print(result.why(signal_id))",
    ),
    Command(
        name="%report",
        summary="Shows the report of a run as Markdown, or writes it to a file.",
        options=(
            _RUN,
            Option(name="--path", help="file to write", kind="path"),
            Option(name="--card", help="the run card in place of the report; --path writes it as JSON", flag=True),
        ),
        twin="result.report()",
    ),
    live.COMMAND,
    *share.COMMANDS,
    sweep.SWEEP,
    compare.WALKER,
    compare.LOOKAHEAD,
    *data.COMMANDS,
    optimize.COMMAND,
)


# -- registering -------------------------------------------------------------------------------------------------


def _register(session: Session, call: Call, *, name: str) -> None:
    """Make the cell's function a strategy and say whether it took another one's place."""
    if not isinstance(name, str):
        raise bknb.UsageError(f"the name of a strategy must be text, got {type(name).__name__}")
    function: dict[str, Any] = cell_body.strategy_function(call.head, call.body, name=name, names=session.names)
    known = name in bknb.list_strategies()
    options: dict[str, Any] = {
        key: call.values[key] for key in ("interval", "params", "risk", "execution") if key in call.values
    }
    options |= sweep.whole(call, "lookback")
    with session.quietly():
        strategy = bknb.add_strategy(name, **function, **options)
    what = f"interval {strategy.interval}, execution {strategy.execution}"
    what += f", risk {strategy.risk}" if strategy.risk else ""
    say(f"strategy {name!r} {'replaced' if known else 'registered'} ({what})")


def strategy(session: Session, call: Call) -> None:
    """``%%strategy``."""
    _register(session, call, name=call.values["name"])


def risk(session: Session, call: Call) -> None:
    """``%%risk``."""
    name = call.values["name"]
    rules = cell_body.risk_rules(call.head, call.body, name=name, names=session.names)
    known = name in bknb.list_risks()
    with session.quietly():
        profile = bknb.add_risk(name, validations=rules)
    count = len(profile.validations)
    say(f"risk {name!r} {'replaced' if known else 'registered'} ({count} rule{'' if count == 1 else 's'})")


def _source(given: Any) -> Any:
    """What ``--get-candles`` says: the demo, a file, or something of the user's."""
    if not isinstance(given, str):
        return given
    if given == "demo":
        return bknb.exchanges.demo()
    if given.startswith("ccxt:"):
        return bknb.exchanges.ccxt(given.removeprefix("ccxt:"))
    for suffix, reader in ((".csv", "from_csv"), (".csv.gz", "from_csv"), (".parquet", "from_parquet")):
        if given.endswith(suffix):
            return getattr(bknb.exchanges, reader)(given)
    raise bknb.UsageError(
        f"--get-candles takes demo, a path ending in .csv or .parquet, or a variable in braces; got {given!r}"
    )


def exchange(session: Session, call: Call) -> None:
    """``%exchange``."""
    name = call.get("name")
    if name is None:
        say("\n".join(bknb.list_exchanges()))
        return
    given = {key: value for key, value in call.values.items() if key not in ("name", "get_candles")}
    if "get_candles" not in call.values:
        if given:
            raise bknb.UsageError(
                f"%exchange {name} needs --get-candles (demo, a .csv or .parquet file, or {{function}})"
            )
        source = bknb.get_exchange(name).source
        symbols = getattr(source, "symbols", None)
        say(f"exchange {name!r}: {type(source).__name__}" + (f", symbols {', '.join(symbols)}" if symbols else ""))
        return
    known = name in bknb.list_exchanges()
    with session.quietly():
        bknb.add_exchange(name, get_candles=_source(call.values["get_candles"]), **given)
    say(f"exchange {name!r} {'replaced' if known else 'registered'}")


def frame(session: Session, call: Call) -> None:
    """``%frame``."""
    name = call.get("name")
    if name is None:
        say("\n".join(str(bknb.get_frame(known)) for known in bknb.list_frames()) or "no frame is registered yet")
        return
    if "start" not in call.values:
        say(str(bknb.get_frame(name)))
        return
    if "end" not in call.values:
        raise bknb.UsageError(f"%frame {name} needs an end\nusage: %frame NAME START END [--interval INTERVAL]")
    known = name in bknb.list_frames()
    with session.quietly():
        made = bknb.add_frame(name, **{key: value for key, value in call.values.items() if key != "name"})
    say(f"frame {made} {'replaced' if known else 'registered'}")


# -- running -----------------------------------------------------------------------------------------------------


def _run(session: Session, call: Call, *, strategy: Any, execution: str | None = None) -> Any:
    """Start a run, follow it, show and remember its result."""
    symbol, where = call.values["symbol"], call.values["frame"]
    _refuse_a_second(symbol, strategy)
    task = bknb.Backtest.background(
        symbol,
        strategy=strategy,
        exchange=call.values["exchange"],
        frame=where,
        execution=execution,
        settings=call.get("settings"),
    )
    label = f"backtest {task.strategy} {symbol}"
    chosen = execution or (bknb.get_strategy(strategy).execution if isinstance(strategy, str) else "pessimistic")
    listed = f"{task.strategy} on {symbol}, {where}, {chosen}"
    if call.get("background"):
        run = session.add(listed, task=task)
        say(f"run {run.number} goes on in the background: {label}; %runs shows how far it is")
        keep(session, call, task)
        return task
    result = wait(task, label)
    session.add(listed, result=result)
    session.shown = None
    display.show(result)
    keep(session, call, result)
    return result


def _refuse_a_second(symbol: Any, strategy: Any) -> None:
    """Two runs of one strategy on one symbol at a time would be taken for each other."""
    if any(task.symbol == symbol and task.strategy == strategy and not task.done for task in bknb.Backtest.list()):
        raise bknb.UsageError(
            f"a backtest of {strategy!r} on {symbol} is running already\n"
            f"wait for it, or end it: bknb.Backtest.stop({symbol!r}, {strategy!r}, now=True)"
        )


def backtest_cell(session: Session, call: Call) -> Any:
    """``%%backtest``."""
    name = call.get("name", "cell")
    _register(session, call, name=name)
    return _run(session, call, strategy=name)


def backtest(session: Session, call: Call) -> Any:
    """``%backtest``."""
    return _run(session, call, strategy=call.values["strategy"], execution=call.get("execution"))


# -- looking back ------------------------------------------------------------------------------------------------


def _state(run: Run) -> str:
    try:
        result = run.finished()
    except Exception as error:  # noqa: BLE001 -- a failed run is a line in the list, whatever it died of
        return f"failed: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    if result is None:
        return f"running, {100 * run.task.progress:.0f} %"
    partial = " (stopped early)" if result.stopped else ""
    trades = len(result.trades)
    total = result.stats["total_pnl"]
    money = f", {total:+.2f} % in all" if total is not None else ""
    return f"{trades:,} trade{'' if trades == 1 else 's'}{money}{partial}"


def runs(session: Session, call: Call) -> None:
    """``%runs``."""
    if "run" in call.values:
        run = session.run(call.values["run"])
        result = run.finished()
        if result is None:
            say(f"run {run.number}: {run.label}: {_state(run)}")
        else:
            session.shown = None
            display.show(result)
        return
    lines = [f"{run.number:>3}  {run.label}: {_state(run)}" for run in session.runs]
    say("\n".join(lines) or "nothing has run in this session yet")


def _result(run: Run) -> Any:
    result = run.finished()
    if result is None:
        raise bknb.UsageError(
            f"run {run.number} ({run.label}) is still going: {_state(run)}\nask again when it is done"
        )
    return result


def why(session: Session, call: Call) -> None:
    """``%why``."""
    signal = str(call.values["signal_id"])
    number = call.get("run")
    session.run(number)
    asked = [run for run in reversed(session.runs) if number is None or str(run.number) == str(number)]
    finished = [result for run in asked if (result := run.finished()) is not None]
    if not finished:
        raise bknb.UsageError("that run has not finished yet\nask again when it is done; %runs shows how far it is")
    for result in finished:
        try:
            say(result.why(signal))
        except bknb.UnknownName:
            continue
        return
    known = signals_of(finished[0])
    near = get_close_matches(signal, known, n=1, cutoff=0.5)
    where = "no run of this session" if number is None else f"run {number}"
    raise bknb.UsageError(
        f"{where} {'has' if number is None else 'does not have'} a signal {signal!r}"
        f"{f'; did you mean {near[0]!r}?' if near else ''}\n"
        f"the newest run asked has {len(known):,}: see its .trades and .cancelled, or press Tab"
    )


def report(session: Session, call: Call) -> None:
    """``%report``."""
    result = _result(session.run(call.get("run")))
    path = call.get("path")
    if call.get("card") and path is not None:
        say(f"run card written to {result.card.save(path)}")
        return
    text = result.card.report() if call.get("card") else result.report()
    if path is not None:
        from ..stores.atomic import write_whole

        say(f"report written to {write_whole(Path(path), text.encode())}")
        return
    ipython("display").display({"text/markdown": text, "text/plain": text}, raw=True)


# -- IPython -----------------------------------------------------------------------------------------------------

_ACTIONS: Final[dict[str, Callable[[Session, Call], Any]]] = {
    "%%strategy": strategy,
    "%%backtest": backtest_cell,
    "%backtest": backtest,
    "%exchange": exchange,
    "%frame": frame,
    "%%risk": risk,
    "%runs": runs,
    "%dashboard": dashboard.dashboard,
    "%why": why,
    "%report": report,
    "%live": live.live,
    **share.ACTIONS,
    "%sweep": sweep.sweep,
    "%walker": compare.walker,
    "%lookahead": compare.lookahead,
    "%download": data.download,
    "%audit": data.audit,
    "%optimize": optimize.optimize,
}


def _answer(session: Session, name: str, line: str, cell: str | None = None) -> Any:
    """What a magic does when its cell is run."""
    command = session.commands[name]
    call = parse(command, line, names=session.names, body=cell or "")
    if call.wants_help:
        say(command.help())
        return None
    return _ACTIONS[name](session, call)


def _magic(session: Session, name: str) -> Callable[..., Any]:
    """The function IPython calls; a name that exists as ``%x`` and ``%%x`` is one function."""
    line_name, cell_name = f"%{name}", f"%%{name}"

    def magic(line: str, cell: str | None = None) -> Any:
        if cell is None and line_name not in session.commands:
            if {"--help", "-h"} & set(line.split()):
                return _answer(session, cell_name, "--help")
            raise bknb.UsageError(
                f"{cell_name} needs the rest of the cell: write it with two per cent signs in the first line"
            )
        return _answer(session, line_name if cell is None else cell_name, line, cell)

    magic.__doc__ = "\n\n".join(
        session.commands[known].help() for known in (line_name, cell_name) if known in session.commands
    )
    return magic


def load_ipython_extension(shell: Any) -> None:
    """Add the magics to an IPython shell; ``%load_ext bknb`` calls this.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
    """
    unload_ipython_extension(shell)
    no_var_expand = ipython("core.magic").no_var_expand
    session = Session(shell=shell, commands={command.name: command for command in COMMANDS})
    for name in dict.fromkeys(command.name.lstrip("%") for command in COMMANDS):
        kind = "line_cell" if f"%%{name}" in session.commands else "line"
        shell.register_magic_function(no_var_expand(_magic(session, name)), magic_kind=kind, magic_name=name)
    attach(session)
    shell.bknb_session = session
    frontend.register(Notebook())


def unload_ipython_extension(shell: Any) -> None:
    """Take the magics out of an IPython shell; ``%unload_ext bknb`` calls this.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
    """
    session = getattr(shell, "bknb_session", None)
    if session is None:
        return
    for command in COMMANDS:
        for kind in ("line", "cell"):
            shell.magics_manager.magics[kind].pop(command.name.lstrip("%"), None)
    detach(session)
    shell.bknb_session = None
    frontend.register(None)


class ReplacedNotices(logging.Handler):
    """Prints what the registry says when a name is registered again; in a notebook that should not pass unseen."""

    def __init__(self, session: Session) -> None:
        super().__init__(logging.INFO)
        self.session = session

    def emit(self, record: logging.LogRecord) -> None:
        """Print a notice, unless a magic is about to say it better."""
        text = record.getMessage()
        if text.endswith(" replaced") and not self.session.quiet:
            say(text)


def attach(session: Session) -> None:
    """Let completion and notices of replaced names work in a shell."""
    session.shell.Completer.custom_matchers.append(matcher(session))
    session.listener = ReplacedNotices(session)
    log = logging.getLogger("bknb")
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)
    log.addHandler(session.listener)


def detach(session: Session) -> None:
    """Undo :func:`attach`."""
    matchers = session.shell.Completer.custom_matchers
    matchers[:] = [known for known in matchers if getattr(known, "matcher_identifier", "") != "bknb"]
    if session.listener is not None:
        logging.getLogger("bknb").removeHandler(session.listener)
