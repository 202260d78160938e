"""The subjects bknb announces things on, and what it announces besides the results of minutes."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from ..domain.signal import (
    Active,
    Idle,
    Milestone,
    Mode,
    OpenSignal,
    Rejected,
    RiskRefused,
    ScheduledSignal,
    TickResult,
)
from .failures import ListenerFailure, ListenerOverflow
from .subject import Subject


class ErrorEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="error"):
    """Something of a run failed: its strategy, its exchange, a callback, a state file, ...

    Parameters
    ----------
    kind
        What failed: ``"strategy"``, ``"exchange"``, ``"callback"``, ``"timeout"``, ``"state"``, ``"run"``, ...
    message
        Class and text of the exception.
    where
        The innermost line of the user's own code; empty when there is none.
    symbol, strategy, exchange, frame, mode
        The run, as far as it is known.
    when
        The minute of the run (UTC ms).
    count
        How often this has happened at this place in this run.
    """

    kind: str
    message: str
    where: str = ""
    symbol: str | None = None
    strategy: str | None = None
    exchange: str | None = None
    frame: str | None = None
    mode: Mode | None = None
    when: int | None = None
    count: int = 1


Problem: TypeAlias = ErrorEvent | ListenerFailure | ListenerOverflow
"""What the subject ``error`` announces."""


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="progress"):
    """How far a run has come.

    Parameters
    ----------
    kind
        ``"backtest"`` counts moments, ``"walker"`` strategies, ``"optimizer"`` sources, ``"sweep"`` combinations.
    symbol, strategy, exchange, frame
        The run; ``strategy`` is the name of the walker or of the optimizer for these.
    total, processed
        Parts of the work in all, and done.
    progress
        ``processed / total``, from 0.0 to 1.0.
    """

    kind: Literal["backtest", "walker", "optimizer", "sweep"]
    symbol: str
    strategy: str
    exchange: str | None
    frame: str | None
    total: int
    processed: int
    progress: float


class Done(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="done"):
    """A background run is over and everybody has heard all of it; ``strategy`` names the walker for a walker."""

    symbol: str
    strategy: str
    exchange: str
    frame: str | None
    mode: Mode


class Performance(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="performance"):
    """How long something took.

    Parameters
    ----------
    metric
        What was timed: ``"backtest_total"``, ``"backtest_timeframe"``, ``"backtest_signal"``, ``"live_tick"``.
    symbol, strategy, exchange, frame, mode
        The run.
    duration_ms
        How long it took.
    at, previous_at
        When it ended, and when the same metric of the run ended before (UTC ms; ``None`` for the first).
    """

    metric: str
    symbol: str
    strategy: str
    exchange: str
    frame: str | None
    mode: Mode
    duration_ms: float
    at: int
    previous_at: int | None = None


class Resumed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="resumed"):
    """A live run goes on from what an earlier one left on disk.

    Parameters
    ----------
    symbol, strategy, exchange
        The run.
    when
        When it was resumed (UTC ms).
    behind_since
        The moment from which it catches up (UTC ms).
    signal
        What was open or scheduled, if anything.
    told_again
        How many results follow that listeners may have heard before.
    """

    symbol: str
    strategy: str
    exchange: str
    when: int
    behind_since: int
    signal: OpenSignal | ScheduledSignal | None
    told_again: int


error: Subject[Problem] = Subject("error")
signal: Subject[TickResult] = Subject("signal", errors=error)
signal_backtest: Subject[TickResult] = Subject("signal_backtest", errors=error)
signal_live: Subject[TickResult] = Subject("signal_live", errors=error)
partial_profit: Subject[Milestone] = Subject("partial_profit", errors=error)
partial_loss: Subject[Milestone] = Subject("partial_loss", errors=error)
risk: Subject[RiskRefused] = Subject("risk", errors=error)
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
    *(performance, walker, walker_complete, resumed),
)
"""Every subject above."""


def wants_quiet(mode: Mode) -> bool:
    """Whether anybody wants the results of quiet minutes (``Idle``, ``Active``) of runs in ``mode``.

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


def emit_result(result: TickResult) -> None:
    """Announce a tick result: on the subject of its mode, then on ``signal``."""
    live = result.mode == "live"
    quiet = isinstance(result, Idle | Active)
    (signal_live if live else signal_backtest).emit(result, quiet=quiet, live=live)
    signal.emit(result, quiet=quiet, live=live)
