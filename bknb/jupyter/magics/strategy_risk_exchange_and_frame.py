"""``%%strategy``, ``%%risk``, ``%exchange`` and ``%frame``: registering what a run needs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import bknb

from ..session import Session
from .cell_body import risk_rules, strategy_function
from .option_declarations import (
    AT,
    EXECUTION,
    INTERVAL,
    LATE,
    LOOKBACK,
    MANAGE_AT,
    MANAGE_INTERVAL,
    PARAMS,
    PLACES,
    REENTER,
    RISK,
    TOLERANCE,
    USES,
    helped,
    optional,
    uses_of,
)
from .options_read_from_line import Call, Option, number, whole, written_params
from .output import echo, still_live
from .table import Magics

_NAME: Final = Option(name="NAME", help="its name", required=True)

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGICS: Final = Magics()


_OF_WEIGHTS: Final = ("interval", "at", "params", "risk", "execution", "reenter")
_OF_SIGNALS: Final = ("late", "manage_interval", "manage_at")


@contextmanager
def registered_for_a_run(session: Session, call: Call, *, name: str, symbols: Any = None) -> Iterator[bool]:
    """Register the cell's functions as a strategy for a run that the block starts, and print so once it has started.

    Where it raises, the strategy that was registered by that name before is registered again. With ``symbols`` the cell
    may define ``get_weights`` for all of them at once; the value is whether it does.
    """
    before = bknb.get_strategy(name) if name in bknb.list_strategies() else None
    of_several, text = _register(session, call, name=name, symbols=symbols)
    try:
        yield of_several
    except BaseException:
        if before is None:
            echo(text)
        else:
            with session.quietly():
                before.register()
        raise
    echo(text)


def _register(session: Session, call: Call, *, name: str, symbols: Any = None) -> tuple[bool, str]:
    """Register the cell's functions; returns whether they answer for several symbols, and what is to be printed."""
    if not isinstance(name, str):
        raise bknb.UsageError(f"the name of a strategy must be text, got {type(name).__name__}")
    functions: dict[str, Any] = strategy_function(
        call.head, call.body, name=name, names=session.names, of_several=symbols is not None
    )
    known = name in bknb.list_strategies()
    of_several = "get_weights" in functions
    options: dict[str, Any] = {key: call.values[key] for key in (*_OF_WEIGHTS, *_OF_SIGNALS) if key in call.values} | {
        **number(call, "tolerance"),
        **whole(call, "places"),
    }
    if "params" in options:
        such_as = '"top=0.5, length=20", or a variable in braces: {params}'
        options["params"] = written_params(options["params"], such_as=such_as)
    with session.quietly():
        if of_several:
            _refuse_what_weights_have_not(call, functions)
            more: dict[str, Any] = {"together": True} if call.get("together") else {}
            more |= number(call, "cash_buffer_percent")
            strategy = bknb.weights(name, symbols=symbols, **functions, **options, **more)
        else:
            _refuse_what_weights_alone_have(call)
            strategy = bknb.add_strategy(name, **functions, **options, **whole(call, "lookback"), **uses_of(call))
    asked = f"interval {strategy.interval}" if strategy.at is None else f"at {strategy.at}"
    what = f"{asked}, execution {strategy.execution}"
    what += f", risk {strategy.risk}" if strategy.risk else ""
    what += f", {strategy.places} places" if strategy.places > 1 else ""
    if strategy.manage and not of_several:
        at = strategy.manages_at
        what += f", manage every {strategy.manages_every}" if at is None else f", manage at {at}"
    if strategy.parameters:
        from ...reports.asked_and_missed import parameters_text  # few strategies have some

        what += f", parameters {parameters_text(strategy.parameters)}"
    told = f"strategy {name!r} {'replaced' if known else 'registered'} ({what})"
    if text := still_live(name):
        told += f"\n{text}"
    return of_several, told


def _refuse_what_weights_alone_have(call: Call) -> None:
    """Raise where a cell that is asked for each symbol alone has an option of weights of several symbols."""
    for key in ("together", "cash_buffer_percent"):
        if key in call.values:
            option = f"--{key.replace('_', '-')}"
            raise bknb.UsageError(
                f"{option} goes with get_weights, which answers for several symbols at once\nleave it out"
            )


def _refuse_what_weights_have_not(call: Call, functions: dict[str, Any]) -> None:
    """Raise where a cell of weights of several symbols has what only a strategy of one symbol can have."""
    given = [f"--{key.replace('_', '-')}" for key in (*_OF_SIGNALS, "lookback", "uses", "places") if key in call.values]
    if given or "manage" in functions:
        raise bknb.UsageError(
            f"{given[0] if given else 'manage'} does not go with get_weights, which answers for several symbols at once"
            "\nleave it out: an answer says what is to be held of each symbol"
        )


@MAGICS.add(
    "%%strategy",
    *(_NAME, optional(INTERVAL), AT, LATE, PARAMS, LOOKBACK, USES, TOLERANCE, REENTER, PLACES, RISK, EXECUTION),
    *(MANAGE_INTERVAL, MANAGE_AT),
    twin='bknb.add_strategy("sma-cross", interval="15m", get_signal=get_signal)',
)
def strategy(session: Session, call: Call) -> None:
    """The get_signal, get_signals or get_weight in the cell becomes a registered strategy.

    A function manage (or manage_position) beside it is asked while a position is open or a signal waits.
    """
    echo(_register(session, call, name=call.values["name"])[1])


@MAGICS.add("%%risk", _NAME, twin='bknb.add_risk("calm", validations=[at_most_three])')
def risk(session: Session, call: Call) -> None:
    """The functions in the cell (or its list validations) become a risk profile; each sees a request."""
    name = call.values["name"]
    rules = risk_rules(call.head, call.body, name=name, names=session.names)
    known = name in bknb.list_risks()
    with session.quietly():
        profile = bknb.add_risk(name, validations=rules)
    count = len(profile.validations)
    echo(f"risk {name!r} {'replaced' if known else 'registered'} ({count} rule{'' if count == 1 else 's'})")


def _source(given: Any) -> Any:
    """The candle source of ``--get-candles``: the demo, a file, or the user's object."""
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


@MAGICS.add(
    "%exchange",
    Option(name="NAME", help="its name", kind="exchange"),
    Option(name="--get-candles", help="demo, ccxt:binance, a .csv or .parquet file, {function}", kind="source"),
    Option(name="--format-price", help="{function} of symbol and price", kind="variable"),
    Option(name="--format-quantity", help="{function} of symbol and quantity", kind="variable"),
    twin='bknb.add_exchange("demo", get_candles=bknb.exchanges.demo())',
)
def exchange(session: Session, call: Call) -> None:
    """Registers where candles come from; without a name, lists what is registered."""
    name = call.get("name")
    if name is None:
        echo("\n".join(bknb.list_exchanges()))
        return
    given = {key: value for key, value in call.values.items() if key not in ("name", "get_candles")}
    if "get_candles" not in call.values:
        if given:
            raise bknb.UsageError(
                f"%exchange {name} needs --get-candles (demo, a .csv or .parquet file, or {{function}})"
            )
        source = bknb.get_exchange(name).source
        symbols = getattr(source, "symbols", None)
        echo(f"exchange {name!r}: {type(source).__name__}" + (f", symbols {', '.join(symbols)}" if symbols else ""))
        return
    known = name in bknb.list_exchanges()
    with session.quietly():
        bknb.add_exchange(name, get_candles=_source(call.values["get_candles"]), **given)
    echo(f"exchange {name!r} {'replaced' if known else 'registered'}")


@MAGICS.add(
    "%frame",
    Option(name="NAME", help="its name", kind="frame"),
    Option(name="START", help="first moment, such as 2024-01-01; UTC"),
    Option(name="END", help="last moment; UTC"),
    helped(optional(INTERVAL), "distance of two moments; 1m by default"),
    twin='bknb.add_frame("january", start="2024-01-01", end="2024-02-01")',
)
def frame(session: Session, call: Call) -> None:
    """Registers a stretch of time; without a name, lists what is registered."""
    name = call.get("name")
    if name is None:
        echo("\n".join(str(bknb.get_frame(known)) for known in bknb.list_frames()) or "no frame is registered yet")
        return
    if "start" not in call.values:
        echo(str(bknb.get_frame(name)))
        return
    if "end" not in call.values:
        raise bknb.UsageError(f"%frame {name} needs an end\nusage: %frame NAME START END [--interval INTERVAL]")
    known = name in bknb.list_frames()
    with session.quietly():
        made = bknb.add_frame(name, **{key: value for key, value in call.values.items() if key != "name"})
    echo(f"frame {made} {'replaced' if known else 'registered'}")
