"""The subjects of bknb, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from ..domain.signal_events import (
    Active,
    AddCancelled,
    Added,
    Event,
    Idle,
    Milestone,
    Mode,
    Moved,
    PositionEvent,
    Reduced,
    Rejected,
    RiskRefused,
    Scaled,
    TickResult,
)
from ..process import at_reset
from .messages import Done, ErrorEvent, Performance, Problem, Progress, Resumed
from .subject import Subject

error: Subject[Problem] = Subject("error")
signal: Subject[TickResult] = Subject("signal", errors=error)
signal_backtest: Subject[TickResult] = Subject("signal_backtest", errors=error)
signal_live: Subject[TickResult] = Subject("signal_live", errors=error)
partial_profit: Subject[Milestone] = Subject("partial_profit", errors=error)
partial_loss: Subject[Milestone] = Subject("partial_loss", errors=error)
position: Subject[PositionEvent] = Subject("position", errors=error)
risk: Subject[RiskRefused] = Subject("risk", errors=error)
scaled: Subject[Scaled] = Subject("scaled", errors=error)
validation: Subject[Rejected] = Subject("validation", errors=error)
exit: Subject[ErrorEvent] = Subject("exit", errors=error)  # noqa: A001 -- the event's name everywhere else
done_backtest: Subject[Done] = Subject("done_backtest", errors=error)
done_live: Subject[Done] = Subject("done_live", errors=error)
done_walker: Subject[Done] = Subject("done_walker", errors=error)
progress_backtest: Subject[Progress] = Subject("progress_backtest", errors=error)
progress_walker: Subject[Progress] = Subject("progress_walker", errors=error)
progress_optimizer: Subject[Progress] = Subject("progress_optimizer", errors=error)
resumed: Subject[Resumed] = Subject("resumed", errors=error)
performance: Subject[Performance] = Subject("performance", errors=error)
walker: Subject[Any] = Subject("walker", errors=error)
walker_complete: Subject[Any] = Subject("walker_complete", errors=error)

ALL: tuple[Subject[Any], ...] = (
    *(signal, signal_backtest, signal_live, partial_profit, partial_loss, risk, validation, error, exit),
    *(done_backtest, done_live, done_walker, progress_backtest, progress_walker, progress_optimizer),
    *(position, performance, walker, walker_complete, resumed, scaled),
)
"""Every subject above."""


def emit_progress(
    subject: Subject[Progress],
    kind: Literal["walker", "optimizer", "sweep"],
    labels: Mapping[str, Any],
    *,
    processed: int,
    total: int,
) -> None:
    """Emit how far the work of the run with these labels has come, where somebody listens."""
    if subject.subscribed:
        done = processed / total if total else 1.0
        subject.emit(Progress(kind=kind, **labels, total=total, processed=processed, progress=done))


_OF_QUIET_MINUTES = frozenset((Idle, Active))


@at_reset
def unsubscribe_all() -> None:
    """End every subscription of these subjects; a call that is running may finish."""
    for subject in ALL:
        for subscription in subject.subscriptions:
            subscription()


def wants_quiet(mode: Mode) -> bool:
    """Whether any subscription takes the results of quiet minutes (``Idle``, ``Active``) of runs in ``mode``.

    Examples
    --------
    >>> wants_quiet("live")
    False
    >>> stop = signal_live.listen(print)
    >>> wants_quiet("live"), wants_quiet("backtest")
    (True, False)
    >>> stop()
    """
    of_mode = signal_live if mode == "live" else signal_backtest
    return of_mode.wants_quiet(mode) or signal.wants_quiet(mode)


def hears_milestones() -> bool:
    """Whether any subscription takes milestones; without one they need not be told.

    Examples
    --------
    >>> hears_milestones()
    False
    """
    return partial_profit.subscribed or partial_loss.subscribed


def hears_results(mode: Mode) -> bool:
    """Whether any subscription takes results of minutes of runs in ``mode``.

    Examples
    --------
    >>> hears_results("backtest")
    False
    """
    return signal.subscribed or (signal_live if mode == "live" else signal_backtest).subscribed


def subjects_of(event: Event) -> tuple[Subject[Any], ...]:
    """The subjects on which an event of a run is emitted, in order.

    Examples
    --------
    >>> from bknb.domain.signal_events import Idle
    >>> quiet = Idle(symbol="BTCUSDT", strategy="sma", exchange="demo", frame=None, mode="live", when=0, price=100.0)
    >>> [subject.name for subject in subjects_of(quiet)]
    ['signal_live', 'signal']
    """
    if type(event) is Milestone:
        return _OF_PROFIT if event.side == "profit" else _OF_LOSS
    return _OF_KIND.get(type(event)) or (_OF_LIVE if event.mode == "live" else _OF_BACKTEST)


_OF_PROFIT, _OF_LOSS = (partial_profit,), (partial_loss,)
_OF_LIVE, _OF_BACKTEST = (signal_live, signal), (signal_backtest, signal)
_OF_KIND: Final[dict[type, tuple[Subject[Any], ...]]] = {
    RiskRefused: (risk,),
    Scaled: (scaled,),
    Rejected: (validation,),
    **dict.fromkeys((Reduced, Added, AddCancelled, Moved), (position,)),
}


def emit_event(event: Event) -> None:
    """Emit an event of a run on the subjects of its kind."""
    live, quiet = event.mode == "live", type(event) in _OF_QUIET_MINUTES
    for subject in subjects_of(event):
        subject.emit(event, quiet=quiet, live=live)
