"""``%live close BTCUSDT --strategy s`` and the like: decisions by hand about a live run."""

from __future__ import annotations

import difflib
from typing import Any, Final

import bknb

from .options_read_from_line import Call, Option
from .output import echo

ACTIONS: Final = {
    "close": ("note", "at", "place"),
    "reduce": ("share", "note", "place"),
    "move": (
        *("price_stop_loss", "price_take_profit", "trailing", "minute_estimated_time", "loosen"),
        *("price_open", "id", "place"),
    ),
    "cancel": ("note", "id", "place"),
    "activate": ("id", "place"),
    "open": (
        *("position", "price_open", "price_stop_loss", "price_take_profit", "trailing", "minute_estimated_time"),
        *("note", "place"),
    ),
    "flatten": ("note", "place"),
}
"""What can be decided, with the options of each."""
COMPARE: Final = "compare"
"""The action that decides nothing."""

OPTIONS: Final = (
    Option(name="--share", help="with reduce: how much of what is held, such as 0.5"),
    Option(name="--position", help="with open: long or short"),
    Option(name="--price-open", help="with open: a limit, at the market by default; with move: of what waits"),
    Option(name="--price-stop-loss", help="with move and open: the stop, or none"),
    Option(name="--price-take-profit", help="with move and open: the target, none, or {ladder}"),
    Option(name="--trailing", help="with move and open: a distance in quote currency, percent such as 1.5%, or none"),
    Option(name="--minute-estimated-time", help="with move and open: minutes after the entry, or none"),
    Option(name="--loosen", help="with move: the stop may become looser", flag=True),
    Option(name="--note", help="free text that travels with the fill"),
    Option(name="--id", help="with cancel, move and activate: of the order that waits, where there are several"),
    Option(name="--place", help="of a strategy with several places: the one that it is for"),
    Option(name="--at", help="with close: market, or close for the close of the session"),
)
_NUMBERS: Final = ("share", "price_open", "price_stop_loss", "price_take_profit", "minute_estimated_time")
_NAMED: Final = {option.key for option in OPTIONS}
EARLIER: Final = "an earlier one goes on when it is started again with its store"
_ELSEWHERE: Final = {
    "stop": "%live SYMBOL --strategy STRATEGY --stop",
    "pause": "bknb.Live.pause(symbol, strategy)",
    "resume": "bknb.Live.resume(symbol, strategy)",
    "close_all": "%live flatten",
    "list": "%live",
    "status": "%live",
}
"""What is no action, and how it is written."""


def decide(call: Call) -> None:
    """Carry out the action of a line, and say what happens.

    Raises
    ------
    UsageError
        For an option that is wrong, missing or not one of the action, and for what the run refuses.
    UnknownName
        When there is no such run.
    StateError
        When the decision could not be saved; then nothing has happened.
    """
    action, symbol, strategy = call.values["action"], call.get("symbol"), call.get("strategy")
    _check_options(action, call)
    options = {name: _value(name, call.values[name]) for name in ACTIONS[action] if name in call.values}
    if action == "flatten" and symbol is None and strategy is not None:
        raise bknb.UsageError("%live flatten with --strategy needs its symbol, too; without both it closes everything")
    if action == "flatten" and symbol is None and "place" in options:
        raise bknb.UsageError("%live flatten with --place needs its symbol and --strategy, too")
    if action == "flatten" and symbol is None:
        answers = bknb.Live.flatten(**options)
        echo("\n".join(f"{who} on {what}: {text}" for (what, who), text in answers.items()) or "nothing is open")
        return
    if symbol is None or strategy is None:
        runs = ", ".join(f"{task.strategy} on {task.symbol}" for task in bknb.Live.list() if not task.done)
        raise bknb.UsageError(f"%live {action} needs a symbol and --strategy\nrunning: {runs or 'nothing'}")
    task = task_of(symbol, strategy)
    if action == "open":
        answer = task.open(_signal(options))
    elif action == "reduce" and "share" not in options:
        raise bknb.UsageError("%live reduce needs --share, how much of what is held is closed\nsuch as --share 0.5")
    else:
        answer = getattr(task, action)(**options)
    echo(f"{task.strategy} on {task.symbol}: {answer or 'nothing is open'}")


def task_of(symbol: str, strategy: str) -> Any:
    """The latest live run of a symbol and a strategy; raises ``UnknownName`` with those there are."""
    known = {(task.symbol, task.strategy): task for task in bknb.Live.list()}
    if (symbol, strategy) not in known:
        names = [f"{one} on {where}" for where, one in known]
        listing = None if known else f"there is none in this kernel; {EARLIER}"
        raise bknb.UnknownName("live run", f"{strategy} on {symbol}", known=names, listing=listing)
    return known[symbol, strategy]


def _signal(options: dict[str, Any]) -> bknb.Signal:
    if options.get("position") not in ("long", "short"):
        raise bknb.UsageError(f"%live open needs --position long or short, got {options.get('position', 'nothing')}")
    return bknb.Signal(**options)


def _check_options(action: str, call: Call) -> None:
    wrong = sorted(call.values.keys() - {"action", "symbol", "strategy", *ACTIONS[action]})
    if wrong:
        mine = ", ".join(f"--{name.replace('_', '-')}" for name in ACTIONS[action]) or "none of them"
        raise bknb.UsageError(f"%live {action} takes {mine}; got --{wrong[0].replace('_', '-')}")


def refuse_without_action(call: Call) -> None:
    """Raise ``UsageError`` for a line that makes no decision and has options of one, or a word that is no action."""
    word, second = call.get("action"), call.get("symbol")
    if word in _ELSEWHERE:
        raise bknb.UsageError(f"%live {word} is no action\nwrite {_ELSEWHERE[word]}")
    if second is not None:
        near = difflib.get_close_matches(str(word), (*ACTIONS, COMPARE), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ", and a run trades one symbol"
        more = "" if near else f"; for {second} write a %live of its own"
        raise bknb.UsageError(f"%live {word} is no action{hint}\nactions: {', '.join(ACTIONS)}{more}")
    wrong = sorted(call.values.keys() & _NAMED)
    if wrong:
        name = wrong[0].replace("_", "-")
        raise bknb.UsageError(f"--{name} needs an action before the symbol: {', '.join(ACTIONS)}")


def _value(name: str, given: Any) -> Any:
    if name not in {*_NUMBERS, "trailing"} or not isinstance(given, str):
        return given
    if given.lower() == "none":
        return None
    if name == "trailing":
        return _trailing(given)
    whole = name == "minute_estimated_time"
    try:
        return int(given) if whole else float(given)
    except ValueError:
        what = "a whole number or none" if whole else "a number"
        what += ", none, or a variable in braces, such as {ladder}" if name == "price_take_profit" else ""
        raise bknb.UsageError(f"--{name.replace('_', '-')} must be {what}, got {given!r}") from None


def _trailing(given: str) -> bknb.Trailing:
    share = given.removesuffix("%")
    try:
        number = float(share)
    except ValueError:
        what = "a distance in quote currency, percent such as 1.5%, none, or a variable in braces, such as {trailing}"
        raise bknb.UsageError(f"--trailing must be {what}, got {given!r}") from None
    return bknb.Trailing(distance=number) if share == given else bknb.Trailing(percent=number)
