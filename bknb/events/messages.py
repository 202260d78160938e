"""The events of subjects besides the results of minutes: errors, progress, ends of runs, timings."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, TypedDict, Unpack

import msgspec

from ..domain.signal import OpenSignal, ScheduledSignal
from ..domain.signal_events import Mode
from ..domain.text import error_text
from ..user_code import where_it_failed
from .listener_failures import ListenerFailure, ListenerOverflow


class RunLabels(TypedDict):
    """The fields that identify the run of an event."""

    symbol: str
    strategy: str
    exchange: str
    frame: str | None


class ErrorLabels(TypedDict, total=False):
    """The fields that identify the run of a failure, as far as it is known."""

    symbol: str | None
    strategy: str | None
    exchange: str | None
    frame: str | None
    mode: Mode | None


class ErrorEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="error"):
    """A failure in a run: its strategy, its exchange, a callback, a state file, ...

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


def error_of(error: BaseException, kind: str, *, more: str = "", **run: Unpack[ErrorLabels]) -> ErrorEvent:
    """Return the event for an exception, with a sentence about it; the run as far as it is known."""
    message = f"{type(error).__name__}: {error_text(error)}"
    message = f"{message}\n{more}" if more else message
    return ErrorEvent(kind=kind, message=message, where=where_it_failed(error), **run)


Problem: TypeAlias = ErrorEvent | ListenerFailure | ListenerOverflow
"""The events of the subject ``error``."""


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
    """A background run is over and all its events have been handled; ``strategy`` names the walker for a walker."""

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
        How many results are emitted again because listeners may not have received them.
    """

    symbol: str
    strategy: str
    exchange: str
    when: int
    behind_since: int
    signal: OpenSignal | ScheduledSignal | None
    told_again: int


class WalkerStep(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="walker_step"):
    """What one strategy of a comparison came to.

    Parameters
    ----------
    walker, symbol, exchange, frame
        The comparison.
    strategy
        The strategy that is done.
    stats, account
        Statistics of its trades and figures of its account; empty when it failed.
    metric, value
        The statistic that ranks, and the strategy's own; ``None`` when it is not available.
    error
        Why it failed; empty when it did not.
    best_strategy, best_value
        The leader so far.
    tested, total
        Strategies that are done, and all.
    """

    walker: str
    symbol: str
    exchange: str
    frame: str | None
    strategy: str
    stats: dict[str, Any]
    account: dict[str, Any]
    metric: str
    value: float | None
    error: str
    best_strategy: str | None
    best_value: float | None
    tested: int
    total: int
