"""The functions ``listen_*``: subscribe a function to the events of bknb.

==========================  ======================================  ==========================================
subject                     event                                   when
==========================  ======================================  ==========================================
``signal``                  one of the six tick results             every transition; quiet minutes on demand
``signal_backtest``         the same, backtests only
``signal_live``             the same, live runs only
``partial_profit``          ``Milestone``                           10, 20 ... 100 % of the way to the target
``partial_loss``            ``Milestone``                           10, 20 ... 100 % of the way to the stop
``position``                ``Reduced``, ``Added``, ``Moved``,      a part was closed, added or taken back; levels
                            ``AddCancelled``                        are others
``risk``                    ``RiskRefused``                         a risk profile or an account refuses a candidate
``scaled``                  ``Scaled``                              less was free than the weights of a portfolio take
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

from ..domain.signal_events import TickResult
from . import subject, subjects
from .listener_failures import ListenerFailure, ListenerOverflow, Overflow
from .listener_queue import Subscription
from .messages import Done, ErrorEvent, Performance, Problem, Progress
from .subject import QUEUE_LIMIT, Subject
from .subjects import wants_quiet

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
    "listen_position",
    "listen_position_once",
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
    "listen_scaled",
    "listen_scaled_once",
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
    """Block until everything emitted so far has been handled by every listener.

    Without ``chosen`` every subject counts; then what failing listeners report on ``error`` meanwhile is waited
    for too. A call from inside a listener does not wait for that listener, so it cannot hang on itself.

    Parameters
    ----------
    chosen
        The subjects whose listeners are waited for; none: all.
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
    """A function ``listen_signal...``: as :class:`Listen`, with the option ``quiet``."""

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


def _listen(subject: Subject[T], summary: str) -> Listen[T]:
    def listen(
        fn: Callable[[T], object] | None = None,
        *,
        limit: int = QUEUE_LIMIT,
        overflow: Overflow = "drop_oldest",
    ) -> Subscription[T] | Callable[[Callable[[T], object]], Subscription[T]]:
        if fn is None:
            return lambda given: subject.listen(given, limit=limit, overflow=overflow)
        return subject.listen(fn, limit=limit, overflow=overflow)

    return cast("Listen[T]", _named(listen, f"listen_{subject.name}", summary + _HOW, quiet=""))


def _listen_results(subject: Subject[TickResult], summary: str) -> ListenResults:
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

    return cast("ListenResults", _named(listen, f"listen_{subject.name}", summary + _HOW, quiet=_QUIET))


def _listen_once(subject: Subject[T], summary: str) -> ListenOnce[T]:
    def listen(
        predicate: Callable[[T], object], fn: Callable[[T], object] | None = None
    ) -> Subscription[T] | Callable[[Callable[[T], object]], Subscription[T]]:
        if fn is None:
            return lambda given: subject.listen(given, where=predicate, once=True)
        return subject.listen(fn, where=predicate, once=True)

    return cast("ListenOnce[T]", _named(listen, f"listen_{subject.name}_once", summary + _HOW_ONCE))


def _named(function: Callable[..., object], name: str, doc: str, **parts: str) -> Callable[..., object]:
    """The function with this name, and with this docstring after ``{name}`` and other ``parts`` are filled in."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc.format(name=name, **parts)
    return function


listen_signal = _listen_results(subjects.signal, "Call a function with every tick result, of backtests and live runs.")
listen_signal_once = _listen_once(
    subjects.signal,
    "Call a function with one tick result of any run; quiet minutes count in live runs only.",
)
listen_signal_backtest = _listen_results(
    subjects.signal_backtest, "Call a function with the tick results of backtests."
)
listen_signal_backtest_once = _listen_once(
    subjects.signal_backtest,
    "Call a function with one tick result of a backtest; quiet minutes do not count.",
)
listen_signal_live = _listen_results(subjects.signal_live, "Call a function with the tick results of live runs.")
listen_signal_live_once = _listen_once(
    subjects.signal_live,
    "Call a function with one tick result of a live run, quiet minutes included.",
)
listen_partial_profit = _listen(
    subjects.partial_profit,
    "Call a function when a position has come 10, 20 ... 100 % of the way to its target.",
)
listen_partial_profit_once = _listen_once(
    subjects.partial_profit, "Call a function with one milestone on the way to a target."
)
listen_partial_loss = _listen(
    subjects.partial_loss,
    "Call a function when a position has come 10, 20 ... 100 % of the way to its stop.",
)
listen_partial_loss_once = _listen_once(
    subjects.partial_loss, "Call a function with one milestone on the way to a stop."
)
listen_position = _listen(
    subjects.position,
    "Call a function when a part of a position is closed, when one is added to, and when its levels move.",
)
listen_position_once = _listen_once(subjects.position, "Call a function with one change of an open position.")
listen_risk = _listen(subjects.risk, "Call a function when a risk profile refuses a candidate, with the reason.")
listen_risk_once = _listen_once(subjects.risk, "Call a function with one refusal of a risk profile.")
listen_scaled = _listen(subjects.scaled, "Call a function when less is free than weights take, with the factor.")
listen_scaled_once = _listen_once(subjects.scaled, "Call a function with one moment at which less was free.")
listen_validation = _listen(subjects.validation, "Call a function when a signal breaks rules, with all of them.")
listen_validation_once = _listen_once(subjects.validation, "Call a function with one rejected signal.")
listen_error = _listen(
    subjects.error,
    "Call a function with failures during a run: of strategies, exchanges, state, listeners. A failure that ends a "
    "live run with something open comes here as well as to ``listen_exit``; any other end, only there.",
)
listen_error_once = _listen_once(subjects.error, "Call a function with one failure during a run.")
listen_exit = _listen(
    subjects.exit, "Call a function when a failure has ended a background run; it names what is left open."
)
listen_exit_once = _listen_once(subjects.exit, "Call a function with one failure that ended a background run.")
listen_done_backtest = _listen(
    subjects.done_backtest,
    "Call a function when a background backtest is over and all its events are handled.",
)
listen_done_backtest_once = _listen_once(
    subjects.done_backtest, "Call a function at the end of one background backtest."
)
listen_done_live = _listen(
    subjects.done_live, "Call a function when a live run is over and all its events are handled."
)
listen_done_live_once = _listen_once(subjects.done_live, "Call a function at the end of one live run.")
listen_done_walker = _listen(subjects.done_walker, "Call a function when a comparison of strategies is over.")
listen_done_walker_once = _listen_once(
    subjects.done_walker, "Call a function at the end of one comparison of strategies."
)
listen_progress_backtest = _listen(
    subjects.progress_backtest,
    "Call a function with the progress of backtests, in moments.",
)
listen_progress_backtest_once = _listen_once(
    subjects.progress_backtest, "Call a function with one progress of a backtest."
)
listen_progress_walker = _listen(
    subjects.progress_walker,
    "Call a function with the progress of comparisons, in strategies.",
)
listen_progress_walker_once = _listen_once(
    subjects.progress_walker, "Call a function with one progress of a comparison."
)
listen_progress_optimizer = _listen(
    subjects.progress_optimizer,
    "Call a function with the progress of optimizers, in sources and drafts.",
)
listen_progress_optimizer_once = _listen_once(
    subjects.progress_optimizer, "Call a function with one progress of an optimizer."
)
listen_performance = _listen(subjects.performance, "Call a function with measured durations.")
listen_performance_once = _listen_once(subjects.performance, "Call a function with one measured duration.")
listen_walker = _listen(subjects.walker, "Call a function with the result of each strategy of a comparison.")
listen_walker_once = _listen_once(subjects.walker, "Call a function with the result of one strategy of a comparison.")
listen_walker_complete = _listen(subjects.walker_complete, "Call a function with the ranking of each comparison.")
listen_walker_complete_once = _listen_once(
    subjects.walker_complete, "Call a function with the ranking of one comparison."
)
listen_resumed = _listen(subjects.resumed, "Call a function when a live run goes on from its saved state.")
listen_resumed_once = _listen_once(subjects.resumed, "Call a function when one live run goes on from its saved state.")
