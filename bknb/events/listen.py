"""What bknb announces, on which subject, and the functions to listen to it.

==========================  ======================================  ==========================================
subject                     event                                   when
==========================  ======================================  ==========================================
``signal``                  one of the six tick results             every transition; quiet minutes on demand
``signal_backtest``         the same, backtests only
``signal_live``             the same, live runs only
``partial_profit``          ``Milestone``                           10, 20 ... 100 % of the way to the target
``partial_loss``            ``Milestone``                           10, 20 ... 100 % of the way to the stop
``risk``                    ``RiskRefused``                         a risk profile refuses a candidate
``validation``              ``Rejected``                            a signal breaks rules
``error``                   ``ErrorEvent``, ``ListenerFailure``,    something failed and the run goes on
                            ``ListenerOverflow``
``exit``                    ``ErrorEvent``                          something failed and ended a background run
``done_*``                  ``Done``                                a background run is over, all queues drained
``progress_*``              ``Progress``                            a part of the work is done
``performance``             ``Performance``                         something was timed
``walker``                  a comparison's step                     one strategy of a walker was measured
``walker_complete``         a comparison                            a walker is over
``resumed``                 ``Resumed``                             a live run goes on from its saved state
==========================  ======================================  ==========================================

Examples
--------
>>> seen = []
>>> stop = listen_done_backtest(seen.append)
>>> subjects.done_backtest.emit(Done(symbol="BTCUSDT", strategy="sma", exchange="demo", frame="jan", mode="backtest"))
>>> drain()
True
>>> seen[0].strategy
'sma'
>>> stop()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast, overload

from ..domain.signal import TickResult
from . import subject, subjects
from .failures import ListenerFailure, ListenerOverflow, Overflow
from .messages import Done, ErrorEvent, Performance, Problem, Progress
from .subject import QUEUE_LIMIT, Subject
from .subjects import wants_quiet
from .subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Done",
    "ErrorEvent",
    "ListenerFailure",
    "ListenerOverflow",
    "Performance",
    "Problem",
    "Progress",
    "Subject",
    "Subscription",
    "adrain",
    "drain",
    "listen_done_backtest",
    "listen_done_backtest_once",
    "listen_done_live",
    "listen_done_live_once",
    "listen_done_walker",
    "listen_done_walker_once",
    "listen_error",
    "listen_error_once",
    "listen_exit",
    "listen_exit_once",
    "listen_partial_loss",
    "listen_partial_loss_once",
    "listen_partial_profit",
    "listen_partial_profit_once",
    "listen_performance",
    "listen_performance_once",
    "listen_progress_backtest",
    "listen_progress_backtest_once",
    "listen_progress_optimizer",
    "listen_progress_optimizer_once",
    "listen_progress_walker",
    "listen_progress_walker_once",
    "listen_resumed",
    "listen_resumed_once",
    "listen_risk",
    "listen_risk_once",
    "listen_signal",
    "listen_signal_backtest",
    "listen_signal_backtest_once",
    "listen_signal_live",
    "listen_signal_live_once",
    "listen_signal_once",
    "listen_validation",
    "listen_validation_once",
    "listen_walker",
    "listen_walker_complete",
    "listen_walker_complete_once",
    "listen_walker_once",
    "subjects",
    "wants_quiet",
]


def drain(*chosen: Subject[Any], timeout: float | None = None) -> bool:
    """Block until everything emitted so far has been handled by everybody who listens.

    Without ``chosen`` all are meant; then what failing listeners report on ``error`` meanwhile is waited
    for too. A call from inside a listener does not wait for that listener, so it cannot hang on itself.

    Parameters
    ----------
    chosen
        Whose listeners; none: everybody.
    timeout
        Seconds; ``None`` waits as long as it takes.

    Returns
    -------
    bool
        False when the time was not enough.

    Examples
    --------
    >>> drain(timeout=1.0)
    True
    """
    return subject.drain(chosen or subjects.ALL, timeout=timeout)


async def adrain(*chosen: Subject[Any], timeout: float | None = None) -> bool:  # noqa: ASYNC109 -- as drain()
    """Like :func:`drain`, for coroutines: the running loop goes on meanwhile.

    Examples
    --------
    >>> import asyncio
    >>> asyncio.run(adrain())
    True
    """
    return await subject.adrain(chosen or subjects.ALL, timeout=timeout)


T = TypeVar("T")


class Listen(Protocol[T]):
    """A function ``listen_...``: subscribes a function, plainly or as a decorator."""

    __name__: str

    @overload
    def __call__(self, fn: Callable[[T], object], *, limit: int = ..., overflow: Overflow = ...) -> Subscription[T]: ...

    @overload
    def __call__(
        self, *, limit: int = ..., overflow: Overflow = ...
    ) -> Callable[[Callable[[T], object]], Subscription[T]]: ...


class ListenResults(Protocol):
    """A function ``listen_signal...``: as :class:`Listen`, with a word about quiet minutes."""

    __name__: str

    @overload
    def __call__(
        self,
        fn: Callable[[TickResult], object],
        *,
        quiet: bool | None = ...,
        limit: int = ...,
        overflow: Overflow = ...,
    ) -> Subscription[TickResult]: ...

    @overload
    def __call__(
        self, *, quiet: bool | None = ..., limit: int = ..., overflow: Overflow = ...
    ) -> Callable[[Callable[[TickResult], object]], Subscription[TickResult]]: ...


class ListenOnce(Protocol[T]):
    """A function ``listen_..._once``: subscribes a function for one event."""

    __name__: str

    @overload
    def __call__(self, predicate: Callable[[T], object], fn: Callable[[T], object]) -> Subscription[T]: ...

    @overload
    def __call__(self, predicate: Callable[[T], object]) -> Callable[[Callable[[T], object]], Subscription[T]]: ...


_HOW = """

    Parameters
    ----------
    fn
        A function or coroutine function of one event. It gets its events one at a time and in order, in a
        thread of its own; what it prints appears in the cell that subscribed it. If it raises, that is
        reported to ``listen_error`` and it stays subscribed.{quiet}
    limit, overflow
        At most ``limit`` events wait for it; then ``"drop_oldest"`` loses the oldest that waits,
        ``"drop_newest"`` the one that came. The first loss is reported to ``listen_error``.

    Returns
    -------
    Subscription
        Call it to stop listening; it counts ``.delivered``, ``.pending`` and ``.dropped``. Below
        ``@bknb.{name}`` or ``@bknb.{name}(limit=100)`` the name of the function becomes the
        subscription, and ``.listener`` is the function.

    Examples
    --------
    >>> import bknb
    >>> stop = bknb.{name}(print)
    >>> stop()
    """

_QUIET = """
    quiet
        Whether to get the results of quiet minutes (``Idle``, ``Active``) too. ``None``: those of live
        runs, not those of backtests, where they would be most of the work."""

_HOW_ONCE = """

    Parameters
    ----------
    predicate
        The first event for which ``predicate(event)`` is true counts. If it raises, that is reported to
        ``listen_error`` and the event does not count.
    fn
        Called with that event, exactly once; then the listening is over, also when it raised. Left out, the
        result is a decorator: ``@bknb.{name}(predicate)``.

    Returns
    -------
    Subscription
        Call it to stop waiting.

    Examples
    --------
    >>> import bknb
    >>> stop = bknb.{name}(lambda event: True, print)
    >>> stop()
    """


def _listen(name: str, subject: Subject[T], summary: str) -> Listen[T]:
    def listen(
        fn: Callable[[T], object] | None = None,
        *,
        limit: int = QUEUE_LIMIT,
        overflow: Overflow = "drop_oldest",
    ) -> Subscription[T] | Callable[[Callable[[T], object]], Subscription[T]]:
        if fn is None:
            return lambda given: subject.listen(given, limit=limit, overflow=overflow)
        return subject.listen(fn, limit=limit, overflow=overflow)

    return cast("Listen[T]", _named(listen, name, summary + _HOW.format(name=name, quiet="")))


def _listen_results(name: str, subject: Subject[TickResult], summary: str) -> ListenResults:
    def listen(
        fn: Callable[[TickResult], object] | None = None,
        *,
        quiet: bool | None = None,
        limit: int = QUEUE_LIMIT,
        overflow: Overflow = "drop_oldest",
    ) -> Subscription[TickResult] | Callable[[Callable[[TickResult], object]], Subscription[TickResult]]:
        if fn is None:
            return lambda given: subject.listen(given, quiet=quiet, limit=limit, overflow=overflow)
        return subject.listen(fn, quiet=quiet, limit=limit, overflow=overflow)

    return cast("ListenResults", _named(listen, name, summary + _HOW.format(name=name, quiet=_QUIET)))


def _listen_once(name: str, subject: Subject[T], summary: str) -> ListenOnce[T]:
    def listen(
        predicate: Callable[[T], object], fn: Callable[[T], object] | None = None
    ) -> Subscription[T] | Callable[[Callable[[T], object]], Subscription[T]]:
        if fn is None:
            return lambda given: subject.listen(given, where=predicate, once=True)
        return subject.listen(fn, where=predicate, once=True)

    return cast("ListenOnce[T]", _named(listen, name, summary + _HOW_ONCE.format(name=name)))


def _named(function: Callable[..., object], name: str, doc: str) -> Callable[..., object]:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


listen_signal = _listen_results("listen_signal", subjects.signal, "Hear every tick result, of backtests and live runs.")
listen_signal_once = _listen_once(
    "listen_signal_once", subjects.signal, "Hear one tick result of any run; quiet minutes count in live runs only."
)
listen_signal_backtest = _listen_results(
    "listen_signal_backtest", subjects.signal_backtest, "Hear the tick results of backtests."
)
listen_signal_backtest_once = _listen_once(
    "listen_signal_backtest_once",
    subjects.signal_backtest,
    "Hear one tick result of a backtest; quiet minutes do not count.",
)
listen_signal_live = _listen_results("listen_signal_live", subjects.signal_live, "Hear the tick results of live runs.")
listen_signal_live_once = _listen_once(
    "listen_signal_live_once", subjects.signal_live, "Hear one tick result of a live run, quiet minutes included."
)
listen_partial_profit = _listen(
    "listen_partial_profit",
    subjects.partial_profit,
    "Hear when a position has come 10, 20 ... 100 % of the way to its target.",
)
listen_partial_profit_once = _listen_once(
    "listen_partial_profit_once", subjects.partial_profit, "Hear one milestone on the way to a target."
)
listen_partial_loss = _listen(
    "listen_partial_loss",
    subjects.partial_loss,
    "Hear when a position has come 10, 20 ... 100 % of the way to its stop.",
)
listen_partial_loss_once = _listen_once(
    "listen_partial_loss_once", subjects.partial_loss, "Hear one milestone on the way to a stop."
)
listen_risk = _listen("listen_risk", subjects.risk, "Hear when a risk profile refuses a candidate, and why.")
listen_risk_once = _listen_once("listen_risk_once", subjects.risk, "Hear one refusal of a risk profile.")
listen_validation = _listen(
    "listen_validation", subjects.validation, "Hear when a signal breaks rules, and all of them."
)
listen_validation_once = _listen_once("listen_validation_once", subjects.validation, "Hear one rejected signal.")
listen_error = _listen(
    "listen_error", subjects.error, "Hear what failed while a run went on: strategies, exchanges, state, listeners."
)
listen_error_once = _listen_once("listen_error_once", subjects.error, "Hear one failure.")
listen_exit = _listen("listen_exit", subjects.exit, "Hear of a failure that ended a background run.")
listen_exit_once = _listen_once("listen_exit_once", subjects.exit, "Hear of one failure that ended a background run.")
listen_done_backtest = _listen(
    "listen_done_backtest",
    subjects.done_backtest,
    "Hear when a background backtest is over and all its events are heard.",
)
listen_done_backtest_once = _listen_once(
    "listen_done_backtest_once", subjects.done_backtest, "Hear the end of one background backtest."
)
listen_done_live = _listen(
    "listen_done_live", subjects.done_live, "Hear when a live run is over and all its events are heard."
)
listen_done_live_once = _listen_once("listen_done_live_once", subjects.done_live, "Hear the end of one live run.")
listen_done_walker = _listen(
    "listen_done_walker", subjects.done_walker, "Hear when a comparison of strategies is over."
)
listen_done_walker_once = _listen_once(
    "listen_done_walker_once", subjects.done_walker, "Hear the end of one comparison of strategies."
)
listen_progress_backtest = _listen(
    "listen_progress_backtest", subjects.progress_backtest, "Hear how far backtests have come, in moments."
)
listen_progress_backtest_once = _listen_once(
    "listen_progress_backtest_once", subjects.progress_backtest, "Hear when a backtest has come as far as you ask."
)
listen_progress_walker = _listen(
    "listen_progress_walker", subjects.progress_walker, "Hear how far comparisons have come, in strategies."
)
listen_progress_walker_once = _listen_once(
    "listen_progress_walker_once", subjects.progress_walker, "Hear when a comparison has come as far as you ask."
)
listen_progress_optimizer = _listen(
    "listen_progress_optimizer",
    subjects.progress_optimizer,
    "Hear how far an optimizer has come, in sources and drafts.",
)
listen_progress_optimizer_once = _listen_once(
    "listen_progress_optimizer_once", subjects.progress_optimizer, "Hear when an optimizer has come as far as you ask."
)
listen_performance = _listen("listen_performance", subjects.performance, "Hear how long things take.")
listen_performance_once = _listen_once("listen_performance_once", subjects.performance, "Hear one measured duration.")
listen_walker = _listen("listen_walker", subjects.walker, "Hear what each strategy of a comparison came to.")
listen_walker_once = _listen_once(
    "listen_walker_once", subjects.walker, "Hear what one strategy of a comparison came to."
)
listen_walker_complete = _listen(
    "listen_walker_complete", subjects.walker_complete, "Hear the ranking of a comparison."
)
listen_walker_complete_once = _listen_once(
    "listen_walker_complete_once", subjects.walker_complete, "Hear the ranking of one comparison."
)
listen_resumed = _listen("listen_resumed", subjects.resumed, "Hear when a live run goes on from its saved state.")
listen_resumed_once = _listen_once(
    "listen_resumed_once", subjects.resumed, "Hear of one live run that goes on from its saved state."
)
