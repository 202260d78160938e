"""``%live close BTCUSDT --strategy s`` and the like: decisions by hand about a live run."""

from __future__ import annotations

from typing import Any, Final

import bknb

from .arguments import Call, Option
from .output import echo

ACTIONS: Final = {
    "close": ("note",),
    "reduce": ("share", "note"),
    "move": ("price_stop_loss", "price_take_profit", "minute_estimated_time", "loosen"),
    "cancel": ("note",),
    "activate": (),
    "open": ("position", "price_open", "price_stop_loss", "price_take_profit", "minute_estimated_time", "note"),
    "flatten": ("note",),
}
"""What can be decided, with the options of each."""

OPTIONS: Final = (
    Option(name="--share", help="with reduce: how much of what is held, such as 0.5"),
    Option(name="--position", help="with open: long or short"),
    Option(name="--price-open", help="with open: a limit; at the market by default"),
    Option(name="--price-stop-loss", help="with move and open: the stop, or none"),
    Option(name="--price-take-profit", help="with move and open: the target, none, or {ladder}"),
    Option(name="--minute-estimated-time", help="with move and open: minutes after the entry, or none"),
    Option(name="--loosen", help="with move: the stop may become looser", flag=True),
    Option(name="--note", help="free text that travels with the fill"),
)
_NUMBERS: Final = ("share", "price_open", "price_stop_loss", "price_take_profit", "minute_estimated_time")
_NAMED: Final = {option.key for option in OPTIONS}


def decide(call: Call) -> None:
    """Carry out the action of a line, and say what happens."""
    action, symbol, strategy = call.values["action"], call.get("symbol"), call.get("strategy")
    _check_options(action, call)
    options = {name: _value(name, call.values[name]) for name in ACTIONS[action] if name in call.values}
    if action == "flatten" and symbol is None:
        answers = bknb.Live.close_all(**options)
        echo("\n".join(f"{who} on {what}: {text}" for (what, who), text in answers.items()) or "nothing is open")
        return
    if symbol is None or strategy is None:
        runs = ", ".join(f"{task.strategy} on {task.symbol}" for task in bknb.Live.list() if not task.done)
        raise bknb.UsageError(f"%live {action} needs a symbol and --strategy\nrunning: {runs or 'nothing'}")
    task = _task(symbol, strategy)
    if action == "open":
        answer = task.open(_signal(options))
    elif action == "reduce" and "share" not in options:
        raise bknb.UsageError("%live reduce needs --share, how much of what is held is closed\nsuch as --share 0.5")
    else:
        answer = getattr(task, action)(**options)
    echo(f"{task.strategy} on {task.symbol}: {answer or 'nothing is open'}")


def _task(symbol: str, strategy: str) -> Any:
    known = {(task.symbol, task.strategy): task for task in bknb.Live.list()}
    if (symbol, strategy) not in known:
        raise bknb.UnknownName("live run", f"{strategy} on {symbol}", known=[f"{b} on {a}" for a, b in known])
    return known[symbol, strategy]


def _signal(options: dict[str, Any]) -> bknb.Signal:
    if options.get("position") not in ("long", "short"):
        raise bknb.UsageError(f"%live open needs --position long or short, got {options.get('position')!r}")
    return bknb.Signal(**options)


def _check_options(action: str, call: Call) -> None:
    wrong = sorted((call.values.keys() & _NAMED) - set(ACTIONS[action]))
    if wrong:
        mine = ", ".join(f"--{name.replace('_', '-')}" for name in ACTIONS[action]) or "none of them"
        raise bknb.UsageError(f"%live {action} takes {mine}; got --{wrong[0].replace('_', '-')}")


def refuse_without_action(call: Call) -> None:
    """Raise ``UsageError`` for options of a decision on a line that makes none."""
    wrong = sorted(call.values.keys() & _NAMED)
    if wrong:
        name = wrong[0].replace("_", "-")
        raise bknb.UsageError(f"--{name} needs an action before the symbol: {', '.join(ACTIONS)}")


def _value(name: str, given: Any) -> Any:
    if name not in _NUMBERS or not isinstance(given, str):
        return given
    if given.lower() == "none":
        return None
    try:
        return int(given) if name == "minute_estimated_time" else float(given)
    except ValueError:
        raise bknb.UsageError(f"--{name.replace('_', '-')} must be a number, got {given!r}") from None
