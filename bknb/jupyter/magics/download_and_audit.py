"""``%download`` and ``%audit``: history on disk, from a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import bknb

from .option_declarations import EXCHANGE, FRAME, SYMBOL, helped, optional, out
from .options_read_from_line import Call, Option
from .output import assign_out
from .table import Magics

if TYPE_CHECKING:
    from ..session import Session

_FOLDER: Final = Option(name="--folder", help="where candles are kept; ./dump/candles by default", kind="path")
_OUT: Final = out("what was found")
_WHICH: Final = (
    helped(SYMBOL, "BTCUSDT, or several with commas between them"),
    helped(EXCHANGE, "a name, {source}, or any exchange ccxt knows"),
    optional(FRAME),
    Option(name="--start", help="first moment, in place of --frame; UTC"),
    Option(name="--end", help="last moment; now by default"),
)
"""The options that name the candles."""

MAGICS: Final = Magics()


def _range(call: Call) -> dict[str, Any]:
    """``start`` and ``end`` of ``--frame``, or of ``--start`` and ``--end``."""
    if "frame" not in call.values:
        if "start" not in call.values:
            raise bknb.UsageError("say which range: --frame START:END, or --start and --end")
        return {name: call.values[name] for name in ("start", "end") if name in call.values}
    if "start" in call.values or "end" in call.values:
        raise bknb.UsageError("a range is either --frame, or --start and --end, not both")
    return {"frame": call.values["frame"]}


@MAGICS.add(
    "%download",
    *_WHICH,
    Option(
        name="--interval",
        help="length of a candle; by default that of the bars that fill orders, 1m as a rule",
        kind="interval",
    ),
    _FOLDER,
    Option(name="--again", help="all: fetch what is known, too, and replace what differs; absent: what is marked so"),
    _OUT,
    twin='bknb.download("BTCUSDT", exchange="binance", start="2024-01-01", end="2024-02-01")',
)
def download(session: Session, call: Call) -> Any:
    """Has the history of one or more symbols on disk; fetches only what is not there yet."""
    options = {name: call.values[name] for name in ("interval", "folder", "again") if name in call.values}
    try:
        done = bknb.download(call.values["symbol"], exchange=call.values["exchange"], **_range(call), **options)
    except KeyboardInterrupt:
        return None  # the progress line has shown the summary
    assign_out(session, call, done)
    return done


@MAGICS.add(
    "%audit",
    *_WHICH,
    Option(name="--compare", help="longer intervals of the exchange, such as 1h,1d", kind="interval"),
    _FOLDER,
    _OUT,
    twin='bknb.audit("BTCUSDT", exchange="binance", start="2024-01-01", end="2024-02-01", compare="1h")',
)
def audit(session: Session, call: Call) -> Any:
    """Looks over stored minutes: gaps, oddities, and longer candles against minutes."""
    options = {name: call.values[name] for name in ("folder",) if name in call.values}
    compare = tuple(part.strip() for part in call.values["compare"].split(",")) if "compare" in call.values else ()
    found = bknb.audit(
        call.values["symbol"], exchange=call.values["exchange"], compare=compare, **_range(call), **options
    )
    assign_out(session, call, found)
    return found
