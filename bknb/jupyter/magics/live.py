"""``%live``: starting, listing, looking at and stopping live runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import bknb

from ...reports.markup import minute_text, price_text
from ...reports.progress_text import total_text
from .manual_orders import ACTIONS, COMPARE, EARLIER, OPTIONS, decide, refuse_without_action, task_of
from .option_declarations import (
    ALLOW_GAPS,
    BASE,
    BENCHMARK,
    EXCHANGE,
    EXECUTION,
    MONEY,
    SETTINGS,
    STRATEGY,
    SYMBOL,
    helped,
    money_of,
    names_of,
    optional,
    out,
)
from .options_read_from_line import Call, Option
from .output import assign_or_return, echo
from .portfolio import LEGS, PRIORITY, STRATEGIES, SYMBOLS, legs_in
from .table import Magics

if TYPE_CHECKING:
    from ..session import Session

MAGICS: Final = Magics()
_NONE: Final = f"no live run has been started in this kernel\n{EARLIER}"
_SEVERAL: Final = ("symbols", "strategies", "legs", "name")
_MONEY: Final = tuple(option for option in MONEY if option is not BENCHMARK)
"""Of an account; a live run is set beside nothing."""
_OF_SAVED: Final = ("execution", "settings", "base", "allow_gaps")
_FAILURES: Final = 3
"""Most failures that are listed of a run, the newest."""
_PLACES: Final = 5
"""Most places that are listed of a run, first those in which something is open."""


@MAGICS.add(
    "%live",
    Option(
        name="ACTION",
        help=f"{', '.join((*ACTIONS, COMPARE))}: about a run that goes on; left out, one is started",
        kind="symbol",
    ),
    optional(helped(SYMBOL, f"{SYMBOL.help}; left out, the live runs are listed")),
    *(optional(STRATEGY), optional(EXCHANGE), EXECUTION, SETTINGS),
    helped(ALLOW_GAPS, "go on over missing minutes at once; else after settings.patience_minutes"),
    *(BASE, *_MONEY, optional(SYMBOLS), optional(STRATEGIES), optional(LEGS), PRIORITY),
    Option(name="--name", help="with several legs: what bknb.Live.portfolio calls it; 'portfolio' by default"),
    Option(name="--store", help="a folder, a .db file or {store}; ./dump/data by default", kind="path"),
    Option(name="--clock", help="{clock}; the computer's by default", kind="variable"),
    Option(name="--until", help="moment at which it leaves, such as 2024-01-31; UTC"),
    Option(name="--broker", help="{broker} that carries out orders", kind="variable"),
    Option(name="--quantity", help="how much per signal, in base currency; for a broker"),
    Option(name="--adopt", help="take over orders of bknb at the broker that the store does not know", flag=True),
    Option(name="--stop", help="open nothing new, watch an open position to its end", flag=True),
    Option(name="--now", help="with --stop: leave at once and keep the state for the next run", flag=True),
    Option(name="--process", help="run in a process of its own, which no cell holds up and no kernel ends", flag=True),
    *OPTIONS,
    out("the task"),
    twin='bknb.Live.background("BTCUSDT", strategy="sma-cross", exchange="demo")',
)
def live(session: Session, call: Call) -> Any:
    """Runs a registered strategy on the running clock; alone, lists the live runs, also those that go on by themselves.

    %live --symbols BTCUSDT,ETHUSDT --strategies s --exchange demo runs several legs on one clock; --name N --stop ends
    them.
    %live close BTCUSDT --strategy s closes what is open; reduce, move, cancel, activate and open likewise.
    %live flatten closes everything.
    %live compare BTCUSDT --strategy s sets a run beside its backtest; with --exchange and --store one that was saved.
    """
    if call.get("action") == COMPARE:
        return assign_or_return(session, call, _compared(call))
    if call.get("action") in ACTIONS:
        decide(call)
        return None
    refuse_without_action(call)
    symbol, strategy = call.get("action"), call.get("strategy")
    if symbol is None and any(name in call.values for name in _SEVERAL):
        return _together(session, call)
    if symbol is None:
        if call.values:
            named = f"--{next(iter(call.values)).replace('_', '-')}"
            raise bknb.UsageError(
                f"%live without a symbol lists the live runs; got {named} too\n"
                f"write the symbol, such as %live BTCUSDT --strategy NAME {named}"
            )
        echo("\n".join((*_followed(), *map(_line, bknb.Live.list()))) or _NONE)
        return None
    if call.get("now") and not call.get("stop"):
        raise bknb.UsageError("--now goes with --stop: %live SYMBOL --strategy STRATEGY --stop --now")
    if several := [name for name in (*_SEVERAL, "priority") if name in call.values]:
        raise bknb.UsageError(
            f"--{several[0]} is of several legs, and %live {symbol} is one\n"
            f"leave it out, or write --symbols {symbol},… --strategies … without a symbol in front"
        )
    if strategy is None:
        raise bknb.UsageError(f"%live {symbol} needs --strategy\nregistered: {', '.join(bknb.list_strategies())}")
    if call.get("stop"):
        was_over = task_of(symbol, strategy).done
        task = bknb.Live.stop(symbol, strategy, now=bool(call.get("now")))
        how = "leaving" if call.get("now") else "no new entries from now on"
        echo(f"{task.strategy} on {task.symbol}: " + (f"is over already ({task.status})" if was_over else how))
        return None
    if "exchange" not in call.values:
        raise bknb.UsageError(f"%live {symbol} needs --exchange\nknown: {', '.join(bknb.list_exchanges())}")
    task = bknb.Live.background(symbol, process=bool(call.get("process")), **_options(call))
    echo(f"live: {task.strategy} on {task.symbol}; %live tells how it is, %live {symbol} --strategy {strategy} --stop")
    return assign_or_return(session, call, task)


def _followed() -> list[str]:
    """Follow what goes on in a process of its own, as after a restart of the kernel; what is to be said of it."""
    try:
        bknb.Live.attach()
    except bknb.BknbError as error:
        return [str(error)]
    return []


def _compared(call: Call) -> Any:
    """A live run of this kernel, or one that was saved, beside its backtest."""
    symbol, strategy = call.get("symbol"), call.get("strategy")
    if symbol is None or strategy is None:
        raise bknb.UsageError("%live compare needs a symbol and --strategy\nsuch as %live compare BTCUSDT --strategy s")
    if wrong := sorted(call.values.keys() - {"action", "symbol", "strategy", "exchange", "store", *_OF_SAVED}):
        raise bknb.UsageError(f"%live compare takes --strategy, --exchange and --store; got --{wrong[0]}")
    if "exchange" not in call.values:
        return task_of(symbol, strategy).snapshot().against_backtest()
    return bknb.Live.saved(symbol, **_options(call)).against_backtest()


def _together(session: Session, call: Call) -> Any:
    """Start a live portfolio, or stop one."""
    name = call.get("name", "portfolio")
    if call.get("stop"):
        bknb.Live.portfolio.stop(name, now=bool(call.get("now")))
        echo(f"portfolio {name}: {'leaving' if call.get('now') else 'no new entries from now on'}")
        return None
    if call.get("now"):
        raise bknb.UsageError(f"--now goes with --stop: %live --name {name} --stop --now")
    if "strategy" in call.values:
        raise bknb.UsageError("%live with several legs takes --strategies, with commas, in place of --strategy")
    if call.get("process"):
        raise bknb.UsageError("--process is of one run: the legs of a live portfolio run in this process")
    if "exchange" not in call.values:
        raise bknb.UsageError(f"%live with several legs needs --exchange\nknown: {', '.join(bknb.list_exchanges())}")
    legs = {key: names_of(call, key) for key in ("symbols", "strategies")} | {"legs": legs_in(call)}
    priority = call.get("priority", "declared")
    task = bknb.Live.portfolio(**legs, name=name, priority=priority, **_options(call))
    echo(f"live: portfolio {name} of {len(task.legs)} legs; %live tells how they are, %live --name {name} --stop")
    return assign_or_return(session, call, task)


def _options(call: Call) -> dict[str, Any]:
    names = ("strategy", "exchange", "execution", "settings", "clock", "until", "broker", "base")
    chosen = {name: call.values[name] for name in names if name in call.values}
    money = money_of(call)
    chosen |= {option.key: money[option.key] for option in _MONEY if money[option.key] is not None}
    for name in ("clock", "broker"):
        if isinstance(given := chosen.get(name), str):
            raise bknb.UsageError(f"--{name} must be a variable in braces, got {given!r}\nwrite --{name} {{{given}}}")
    chosen["allow_gaps"] = bool(call.get("allow_gaps"))
    if call.get("adopt"):
        chosen["adopt"] = True
    if "store" in call.values:
        chosen["store"] = _store(call.values["store"])
    if "quantity" in call.values:
        chosen["quantity"] = _number(call.values["quantity"])
    return chosen


def _store(given: Any) -> Any:
    """A path as a store; anything else as it is."""
    if not isinstance(given, str):
        return given
    return bknb.stores.sqlite(given) if given.endswith((".db", ".sqlite")) else bknb.stores.files(given)


def _number(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    try:
        return float(given)
    except ValueError:
        raise bknb.UsageError(f"--quantity must be a number or {{function}}, got {given!r}") from None


def _line(task: Any) -> str:
    """One live run in a line."""
    trades = task.trades_so_far
    state = task.status
    if not task.done:
        state = "stopping" if task.stopping else "paused" if task.paused else state
    total = f", {total_text(trades, needs_capital=task.records.needs_capital)}" if trades else ""
    count = f"{len(trades):,} trade{'' if len(trades) == 1 else 's'}"
    left = f"; {task.unwatched}" if task.unwatched else ""
    run = f"{task.strategy} on {task.symbol}: {state}, up to {minute_text(task.now)} UTC"
    slippage = [f"  slippage: {line}"] if (line := task.slippage.line) else []
    return "\n".join((f"{run}, {count}{total}{_open(task)}{left}", *slippage, *_failures(task)))


def _failures(task: Any) -> list[str]:
    """What failed in a run and how often, a line for each."""
    failures = sorted(task.records.failures, key=lambda each: each.last_at)
    lines = []
    for each in failures[-_FAILURES:]:
        where = f" ({each.where})" if each.where else ""
        lines.append(f"  {each.kind}: {each.message}{where}, {each.count:,} time{'' if each.count == 1 else 's'}")
    more = len(failures) - len(lines)
    return [*lines, *([f"  and {more} more, see bknb.dashboard or listen_error"] if more else [])]


def _open(task: Any) -> str:
    """What is open or waits in each place, with a semicolon before it; empty where nothing does."""
    held = sorted(task.positions, key=lambda each: not each.size)
    more = len(held) - _PLACES
    return "".join(f"; {_held_text(each)}" for each in held[:_PLACES]) + (f"; and {more} more" if more > 0 else "")


def _held_text(held: Any) -> str:
    """What is open or waits in one place, in words."""
    place = f" in {held.place!r}" if held.place else ""
    if not held.size:
        return f"{held.side} waits for {price_text(held.waiting[0].price_open)}{place}"
    stop = "no stop" if held.price_stop_loss is None else f"stop {price_text(held.price_stop_loss)}"
    return f"{held.side} {held.size:.4g} open at {price_text(held.average_price)}{place}, {stop}"
