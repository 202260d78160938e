"""Scheduled signals: how many were filled or cancelled, and how long they waited."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..domain.formatting import MISSING, exit_text, minute_text, number_text, price_text
from ..domain.interval import MINUTE_MS
from ..domain.signal import SignalKey, key_of
from ..domain.signal_events import Cancelled, Opened, Scheduled
from .markup import Html, figures_report, fragment, html_figures, html_table, markdown_table, text_figures

if TYPE_CHECKING:
    import pandas as pd

_FIELDS: Final = (
    "when", "action", "symbol", "signal_id", "position", "note", "price", "price_open", "price_take_profit",
    "price_stop_loss", "minutes", "reason", "scheduled_at",
)  # fmt: skip
_OF_THE_SIGNAL: Final = (
    "symbol", "position", "note", "price_open", "price_take_profit", "price_stop_loss", "scheduled_at",
)  # fmt: skip
_TITLES: Final = (
    "Time (UTC)", "Action", "Symbol", "Signal ID", "Position", "Note", "Price", "Entry price", "Take profit",
    "Stop loss", "Waited (min)", "Cancelled because", "Scheduled (UTC)",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow:
    """One event of a scheduled signal; ``minutes`` is its waiting time so far, None when it is scheduled."""

    when: int
    action: str
    symbol: str
    signal_id: str
    position: str
    note: str
    price: float
    price_open: float
    price_take_profit: float | None
    price_stop_loss: float | None
    minutes: float | None
    reason: str
    scheduled_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleInfo:
    """The outcome of the scheduled signals of a run.

    Attributes
    ----------
    strategy, symbol : str
    rows : tuple of ScheduleRow
        Scheduled, opened and cancelled, in order of time.
    scheduled, opened, cancelled : int
        A signal that is both scheduled and, later, opened or cancelled counts in both.
    activation_rate, cancellation_rate : float or None
        Percent of the signals whose fate is known; they add up to 100.
    avg_activation_minutes, avg_wait_minutes : float or None
        Mean wait of those that opened, and of those that were cancelled.
    reasons : tuple of (str, int)
        Why signals were cancelled, most frequent first.
    """

    strategy: str
    symbol: str
    rows: tuple[ScheduleRow, ...]
    scheduled: int
    opened: int
    cancelled: int
    activation_rate: float | None
    cancellation_rate: float | None
    avg_activation_minutes: float | None
    avg_wait_minutes: float | None
    reasons: tuple[tuple[str, int], ...]

    def to_pandas(self) -> pd.DataFrame:
        """One row per event."""
        import pandas as pd

        from .time_columns import with_times

        made = pd.DataFrame([[getattr(row, name) for name in _FIELDS] for row in self.rows], columns=list(_FIELDS))
        return with_times(made, ("when", "scheduled_at"))

    def _pairs(self) -> list[tuple[str, str]]:
        why = ", ".join(f"{count:,} x {reason}" for reason, count in self.reasons)
        return [
            ("Scheduled", f"{self.scheduled:,}"),
            ("Opened", f"{self.opened:,}"),
            ("Cancelled", f"{self.cancelled:,}" + (f" ({why})" if why else "")),
            ("Activation rate", _percent(self.activation_rate, better="higher")),
            ("Cancellation rate", _percent(self.cancellation_rate, better="lower")),
            ("Average wait of those that opened", _minutes(self.avg_activation_minutes, "none opened")),
            ("Average wait of those that were cancelled", _minutes(self.avg_wait_minutes, "none was cancelled")),
        ]

    def _cells(self) -> list[list[str]]:
        return [
            [
                minute_text(row.when),
                row.action.upper(),
                row.symbol,
                row.signal_id,
                row.position.upper(),
                row.note,
                *(price_text(price) for price in (row.price, row.price_open)),
                *(exit_text(price) for price in (row.price_take_profit, row.price_stop_loss)),
                number_text(row.minutes, decimals=0),
                row.reason,
                minute_text(row.scheduled_at),
            ]
            for row in self.rows
        ]

    def report(self) -> str:
        """The report as Markdown."""
        title = f"Scheduled signals: {self.strategy} on {self.symbol}"
        table = markdown_table(_TITLES, self._cells()) if self.rows else []
        rates = (
            "The rates are of the signals whose fate is known: opened / (opened + cancelled) and its opposite. "
            "A signal that opened at once was never scheduled."
        )
        return figures_report(title, self._pairs(), table, [rates], empty="No signal was scheduled.")

    def __repr__(self) -> str:
        return text_figures(f"scheduled signals of {self.strategy} on {self.symbol}", self._pairs())

    def _repr_html_(self) -> Html:
        title = f"Scheduled signals of {self.strategy} on {self.symbol}"
        return fragment(html_figures(title, self._pairs()), html_table(_TITLES, self._cells(), left=6))


def _percent(value: float | None, *, better: str) -> str:
    return f"{MISSING}: none opened or was cancelled" if value is None else f"{value:.2f} % ({better} is better)"


def _minutes(value: float | None, reason: str) -> str:
    return f"{MISSING}: {reason}" if value is None else f"{value:.2f} minutes"


def schedule_info(strategy: str, symbol: str, events: Iterable[Any]) -> ScheduleInfo:
    """The outcome of scheduled signals, collected from the tick results of a run.

    Examples
    --------
    >>> schedule_info("patient", "BTCUSDT", []).cancellation_rate is None
    True
    """
    rows: list[ScheduleRow] = []
    waiting: set[SignalKey] = set()
    for event in events:
        match event:
            case Scheduled():
                waiting.add(key_of(event.signal))
                rows.append(_row(event, "scheduled", minutes=None))
            case Opened() if key_of(event.signal) in waiting:
                rows.append(_row(event, "opened", minutes=_waited(event.signal.pending_at, event.signal.scheduled_at)))
            case Cancelled():
                minutes = _waited(event.closed_at, event.signal.scheduled_at)
                rows.append(_row(event, "cancelled", minutes=minutes, reason=event.reason))
            case _:
                pass
    opened = [row for row in rows if row.action == "opened"]
    cancelled = [row for row in rows if row.action == "cancelled"]
    known = len(opened) + len(cancelled)
    return ScheduleInfo(
        strategy=strategy,
        symbol=symbol,
        rows=tuple(rows),
        scheduled=len(waiting),
        opened=len(opened),
        cancelled=len(cancelled),
        activation_rate=100 * len(opened) / known if known else None,
        cancellation_rate=100 * len(cancelled) / known if known else None,
        avg_activation_minutes=_mean(opened),
        avg_wait_minutes=_mean(cancelled),
        reasons=tuple(Counter(row.reason for row in cancelled).most_common()),
    )


def _waited(until: int, since: int) -> float:
    return (until - since) / MINUTE_MS


def _mean(rows: list[ScheduleRow]) -> float | None:
    waits = [row.minutes for row in rows if row.minutes is not None]
    return sum(waits) / len(waits) if waits else None


def _row(event: Any, action: str, *, minutes: float | None, reason: str = "") -> ScheduleRow:
    signal = {name: getattr(event.signal, name) for name in _OF_THE_SIGNAL}
    own = {"when": event.when, "action": action, "signal_id": event.signal.id, "price": event.price}
    return ScheduleRow(**own, **signal, minutes=minutes, reason=reason)
