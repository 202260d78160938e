"""Options that several magics have, each written once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from .options_read_from_line import Call, Option

SYMBOL: Final = Option(name="SYMBOL", help="what is traded, such as BTCUSDT", kind="symbol", required=True)
STRATEGY: Final = Option(name="--strategy", help="a registered strategy", kind="strategy", required=True)
EXCHANGE: Final = Option(
    name="--exchange", help="where candles come from: a name or {source}", kind="exchange", required=True
)
FRAME: Final = Option(
    name="--frame", help="a name, or START:END such as 2024-01-01:2024-02-01", kind="frame", required=True
)
INTERVAL: Final = Option(name="--interval", help="how often the strategy is asked", kind="interval", required=True)
AT: Final = Option(name="--at", help="moments it is asked at, such as 'session_open+30m', in place of an interval")
LATE: Final = Option(name="--late", help="ask: a moment that was missed is asked at when that is possible")
MANAGE_AT: Final = Option(name="--manage-at", help="moments manage is asked at, in place of an interval")
MANAGE_INTERVAL: Final = Option(
    name="--manage-interval", help="how often manage is asked; as often as the strategy by default", kind="interval"
)
PARAMS: Final = Option(
    name="--params",
    help='values for the function\'s parameters: "fast=5, slow=20", or a variable: {params}',
    kind="variable",
)
LOOKBACK: Final = Option(name="--lookback", help="candles a row of get_signals depends on; 500 by default")
USES: Final = Option(name="--uses", help="candles get_signals reads beside its own: 4h,BTCUSDT:1d, or {uses}")
TOLERANCE: Final = Option(name="--tolerance", help="percent of the equity up to which a weight is left as it is")
PLACES: Final = Option(name="--places", help="how many of its signals may wait or be open at a time; 1 by default")
REENTER: Final = Option(
    name="--reenter", help="a weight whose position a level or a hand has ended is held again", flag=True
)
RISK: Final = Option(name="--risk", help="risk profile that every signal must pass", kind="risk")
EXECUTION: Final = Option(name="--execution", help="pessimistic (default), touch or vwap", kind="execution")
METRIC: Final = Option(name="--metric", help="figure to rank by; sharpe_ratio by default")
SETTINGS: Final = Option(name="--settings", help="costs and limits of this run, as {settings}", kind="variable")
EXECUTOR: Final = Option(
    name="--executor", help="inline, processes, a number of workers, or {client}; by default workers where they pay"
)
ALLOW_GAPS: Final = Option(name="--allow-gaps", help="missing candles are holes, not an error", flag=True)
BASE: Final = Option(
    name="--base", help="bars that fill orders, such as 1h; the finest there are by default", kind="interval"
)
CAPITAL: Final = Option(name="--capital", help="what an account begins with, such as 10_000; then results are money")
SIZING: Final = Option(name="--sizing", help="how large positions are: risk:1, percent:10, a registered name, {sizing}")
ACCOUNT: Final = Option(name="--account", help="margin (default), spot, perpetual:3, or {account}")
COSTS: Final = Option(name="--costs", help="what fills cost, as {costs}", kind="variable")
CURRENCY: Final = Option(name="--currency", help="of the capital, such as USDT; by default what the symbol ends with")
BENCHMARK: Final = Option(
    name="--benchmark", help="what the account is set beside: a symbol, equal, or prices as {prices}", kind="symbol"
)
MONEY: Final = (CAPITAL, SIZING, ACCOUNT, COSTS, CURRENCY, BENCHMARK)
INTERACT: Final = Option(
    name="--interact",
    help="sliders over its parameters: fast=5:50 x=0.5:2:0.1 mode=a,b, or a variable: {values}",
    kind="variable",
    several=True,
)
BACKGROUND: Final = Option(name="--background", help="return at once, with a task", flag=True)


def money_of(call: Call) -> dict[str, Any]:
    """The account that a call asks for and what it is set beside, as arguments of ``bknb.backtest``."""
    given = {option.key: call.get(option.key) for option in MONEY}
    if isinstance(capital := given["capital"], str):
        with suppress(ValueError):  # what is no number is told with whatever else cannot be
            given["capital"] = float(capital)
    return given


def executor_of(call: Call) -> Any:
    """What is given as ``--executor``, a number of workers as such."""
    executor = call.get("executor")
    return int(executor) if isinstance(executor, str) and executor.isdigit() else executor


def names_of(call: Call, name: str) -> Any:
    """What an option that takes several names gives: a list of those between commas, or the variable in braces.

    Examples
    --------
    >>> names_of(Call(values={"symbols": "BTCUSDT, ETHUSDT"}), "symbols")
    ['BTCUSDT', 'ETHUSDT']
    """
    given = call.get(name)
    return [each.strip() for each in given.split(",") if each.strip()] if isinstance(given, str) else given


def uses_of(call: Call) -> dict[str, Any]:
    """What ``--uses`` names, as an argument of ``bknb.add_strategy``: intervals, and symbols with an interval.

    Examples
    --------
    >>> uses_of(Call(values={"uses": "4h, BTC/USDT:USDT:1d"}))
    {'uses': ['4h', ('BTC/USDT:USDT', '1d')]}
    """
    given = names_of(call, "uses")
    if given is None:
        return {}
    if not isinstance(call.get("uses"), str):
        return {"uses": given}
    return {"uses": [tuple(each.rsplit(":", 1)) if ":" in each else each for each in given]}


def optional(option: Option) -> Option:
    """The same option for a magic that can do without it.

    Examples
    --------
    >>> EXCHANGE.usage, optional(EXCHANGE).usage
    ('--exchange EXCHANGE', '[--exchange EXCHANGE]')
    """
    return replace(option, required=False)


def helped(option: Option, text: str) -> Option:
    """The same option with another line of help.

    Examples
    --------
    >>> helped(SETTINGS, "costs, as {settings}").help
    'costs, as {settings}'
    """
    return replace(option, help=text)


def out(what: str) -> Option:
    """``--out`` of a magic whose value can also be assigned with ``NAME <<``.

    Examples
    --------
    >>> out("the task").help
    'variable that receives the task; NAME << does the same'
    """
    return Option(name="--out", help=f"variable that receives {what}; NAME << does the same", kind="variable")
