"""What happens in live runs as one plain sentence each, with its moment in UTC."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec

from ...domain.formatting import plain_number, utc_text
from ...domain.signal_events import (
    AddCancelled,
    Added,
    Cancelled,
    Closed,
    Milestone,
    Moved,
    Opened,
    Reduced,
    Rejected,
    RiskRefused,
    Scheduled,
)
from ...domain.text import readable
from ...events.listener_failures import ListenerFailure, ListenerOverflow
from ...events.messages import Done, ErrorEvent, Resumed

Told: TypeAlias = Literal[
    "opened",
    "closed",
    "refused",
    "unprotected",
    "error",
    "stopped",
    "silence",
    "scheduled",
    "cancelled",
    "changed",
    "milestone",
    "resumed",
]
TOLD: Final[tuple[str, ...]] = get_args(Told)
DEFAULT: Final[tuple[Told, ...]] = ("opened", "closed", "refused", "unprotected", "error", "stopped", "silence")
"""What is told unless something else is chosen."""

_LONGEST: Final = 900  # characters of a sentence: a message of Telegram has 4096, one of Discord 2000
_OF_ERROR: Final[dict[str, Told]] = {"silence": "silence", "unprotected": "unprotected"}
_NOT_TOLD: Final = frozenset({"warm-up"})


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence about one event.

    Attributes
    ----------
    kind
        What happened, such as ``"opened"``; ``"heartbeat"`` and ``"message"`` are no events.
    text
        The sentence, in one line.
    symbol, strategy
        The run; empty where it is of none.
    at
        When, UTC ms; ``None``: not known.
    """

    kind: str
    text: str
    symbol: str = ""
    strategy: str = ""
    at: int | None = None


def one_line(text: str, longest: int = _LONGEST) -> str:
    r"""A text in one line that can be written everywhere, cut where it is long.

    Examples
    --------
    >>> one_line("look at\n the account\x07"), one_line("abcdef", 4)
    ('look at; the account\\x07', 'abc…')
    """
    line = "; ".join(part.strip() for part in readable(text).splitlines() if part.strip())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def notice_of(event: object) -> Notice | None:
    """The notice of an event of a live run; ``None``: there is none, as of backtests.

    Examples
    --------
    >>> notice_of(Done(symbol="BTCUSDT", strategy="sma", exchange="demo", frame=None, mode="live")).text
    'BTCUSDT, sma: the live run is over.'
    >>> notice_of(Done(symbol="BTCUSDT", strategy="sma", exchange="demo", frame="jan", mode="backtest")) is None
    True
    """
    if getattr(event, "mode", "live") == "backtest":
        return None
    if isinstance(event, ListenerFailure | ListenerOverflow):
        return _notice("error", f"listener {event.listener} of {event.subject}: {event.message}", None, None, None)
    if isinstance(event, ErrorEvent):
        return None if event.kind in _NOT_TOLD else _of_failure(event)
    told = _TOLD_OF.get(type(event))
    if told is None:
        return None
    kind, says = told
    of: Any = event
    when = getattr(event, "when", None)
    return _notice(kind, says(of), of.symbol, of.strategy, when)


def _notice(kind: Told, says: str, symbol: str | None, strategy: str | None, when: int | None) -> Notice:
    who = ", ".join(filter(None, (symbol, strategy)))
    moment = "" if when is None else f" at {utc_text(when)}"
    said = one_line(says, _LONGEST - len(who) - len(moment) - 4)
    text = f"{who}: {said}{moment}" if who else f"{said}{moment}"
    return Notice(kind=kind, text=f"{one_line(text)}.", symbol=symbol or "", strategy=strategy or "", at=when)


def _of_failure(event: ErrorEvent) -> Notice:
    if event.kind == "run":
        return _notice("stopped", f"the live run failed and has ended: {event.message}", event.symbol, event.strategy,
                       event.when)  # fmt: skip
    kind = _OF_ERROR.get(event.kind, "error")
    what = "" if kind == event.kind else f"{event.kind}: "
    said = event.message.removeprefix("BrokerError: ")  # that it is the broker's is said before it, or goes without
    times = f" (time {event.count})" if event.count > 1 else ""
    where = f" ({event.where})" if event.where else ""
    return _notice(kind, f"{what}{said}{where}{times}", event.symbol, event.strategy, event.when)


def _levels(signal: Any) -> str:
    named = (("stop", signal.price_stop_loss), ("target", signal.price_take_profit))
    levels = [f"{name} {plain_number(price)}" for name, price in named if price is not None]
    return f" ({', '.join(levels)})" if levels else " (no stop, no target)"


def _opened(event: Opened) -> str:
    signal = event.signal
    return f"opened {signal.position} at {plain_number(signal.price_open)}{_levels(signal)}"


def _closed(event: Closed) -> str:
    net, points = event.pnl.pnl_percentage, event.pnl.points
    came = f"{net:+.2f} %" if points is None else f"{plain_number(points)} a unit"
    why = event.close_reason.replace("_", " ")
    return f"closed {event.signal.position} at {plain_number(event.price_close)}, {why}, {came} after costs"


def _scheduled(event: Scheduled) -> str:
    signal = event.signal
    return f"waits to open {signal.position} at {plain_number(signal.price_open)}{_levels(signal)}"


def _cancelled(event: Cancelled) -> str:
    return f"the entry at {plain_number(event.signal.price_open)} was cancelled, {event.reason.replace('_', ' ')}"


def _refused(event: RiskRefused) -> str:
    return f"{event.signal.position} refused by {event.refused_by}: {event.note}"


def _rejected(event: Rejected) -> str:
    return f"signal rejected: {'; '.join(reason.text for reason in event.reasons)}"


def _milestone(event: Milestone) -> str:
    way = "target" if event.side == "profit" else "stop"
    return f"{event.level} % of the way to the {way} of the {event.signal.position} position"


def _reduced(event: Reduced) -> str:
    return (
        f"a part was closed at {plain_number(event.fill.price)}, {plain_number(event.size)} of the first size is left"
    )


def _added(event: Added) -> str:
    return f"added at {plain_number(event.fill.price)}, {plain_number(event.size)} of the first size is held"


def _add_cancelled(event: AddCancelled) -> str:
    return f"an add that waited was cancelled, {event.reason.replace('_', ' ')}"


def _moved(event: Moved) -> str:
    stop = "no stop" if event.price_stop_loss is None else f"stop at {plain_number(event.price_stop_loss)}"
    return f"levels moved ({event.reason.replace('_', ' ')}): {stop}"


def _resumed(event: Resumed) -> str:
    left = "nothing open" if event.signal is None else f"{event.signal.position} open or waiting"
    return f"the live run goes on from its saved state, behind since {utc_text(event.behind_since)}, {left},"


def _done(_event: Done) -> str:
    return "the live run is over"


_TOLD_OF: Final[dict[type, tuple[Told, Any]]] = {
    Opened: ("opened", _opened),
    Closed: ("closed", _closed),
    Scheduled: ("scheduled", _scheduled),
    Cancelled: ("cancelled", _cancelled),
    RiskRefused: ("refused", _refused),
    Rejected: ("refused", _rejected),
    Milestone: ("milestone", _milestone),
    Reduced: ("changed", _reduced),
    Added: ("changed", _added),
    AddCancelled: ("changed", _add_cancelled),
    Moved: ("changed", _moved),
    Resumed: ("resumed", _resumed),
    Done: ("stopped", _done),
}


class Repeated:
    """Which refusals were told: the same one again within an hour is counted, and said with the next.

    Examples
    --------
    >>> repeated, notice = Repeated(), Notice(kind="refused", text="no cash at 2024-01-01 00:00 UTC.", at=0)
    >>> repeated.told("no cash", notice) is notice, repeated.told("no cash", notice)
    (True, None)
    >>> repeated.told("no cash", Notice(kind="refused", text="no cash.", at=3_600_000)).text
    'no cash (and 1 more time since the last message).'
    """

    _PAUSE_MS: Final = 3_600_000

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int]] = {}  # when it was told (UTC ms), and how often not since

    def told(self, what: str, notice: Notice) -> Notice | None:
        """The notice as it is to be told, or ``None``; ``what`` tells those that are the same."""
        when = notice.at or 0
        last, left_out = self._last.get(what, (when - self._PAUSE_MS, 0))
        if when - last < self._PAUSE_MS:
            self._last[what] = last, left_out + 1
            return None
        self._last = {key: known for key, known in self._last.items() if when - known[0] < 24 * self._PAUSE_MS}
        self._last[what] = when, 0
        if not left_out:
            return notice
        times = "1 more time" if left_out == 1 else f"{left_out} more times"
        text = f"{notice.text.removesuffix('.')} (and {times} since the last message)."
        return msgspec.structs.replace(notice, text=text)
