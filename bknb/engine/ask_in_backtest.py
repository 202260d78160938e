"""How a backtest asks its strategy: without a coroutine where nothing comes of it, else with all that follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..domain.lifecycle import Flat
from ..market.strategy_context import Context, current, memo_of, reads_of
from ..market.system_clock import stopwatch
from .questions import moments_from
from .strategy_memo import keep_memo

if TYPE_CHECKING:
    from .minute_walk import MinuteWalk
    from .portfolio_clock import LegTurn
    from .questions import AskedAt
    from .strategy_loop import StrategyLoop
    from .strategy_places_walk import PlacesWalk


class AsksOn(Protocol):
    """Whether a run asks on: it is not paused, and not stopped."""

    asks_on: bool


class _Answer:
    """What a strategy answered to a question, or raised, before its loop came to it."""

    __slots__ = ("_error", "_value", "context")

    def __init__(self, context: Context, value: object, error: BaseException | None = None) -> None:
        self.context, self._value, self._error = context, value, error

    @property
    def value(self) -> Any:
        """The answer; ``None`` where the strategy raised, or looked at its memo."""
        return self._value if memo_of(self.context) is None else None

    def take(self) -> Any:
        """The answer, or the error raised, once: neither is held here any longer."""
        value, error = self._value, self._error
        self._value = self._error = None
        if error is not None:
            try:
                raise error
            finally:
                del error  # this frame is in its traceback, which would keep what the strategy held
        return value


class BacktestAsk:
    """Asks the strategy of a loop at moments of a backtest.

    Parameters
    ----------
    loop, walk
        The strategy with its lifecycle, and the minutes that follow an order of it.
    run
        Whether it asks on is looked at before each question.
    time
        Called with a metric and its seconds, where somebody listens to them.

    Attributes
    ----------
    after : int or None
        The moment (UTC ms) after which the next question may be asked.
    """

    __slots__ = ("_answer", "_ask", "_loop", "_run", "_time", "_timings", "_walk", "after")

    def __init__(
        self, loop: StrategyLoop, walk: MinuteWalk | PlacesWalk, run: AsksOn, *, time: Callable[[str, float], object]
    ) -> None:
        self._loop, self._walk, self._run, self._time = loop, walk, run, time
        self._timings, self._ask = loop.listeners.performance, loop.strategy.ask
        self._answer: _Answer | None = None  # to the question that comes next
        self.after: int | None = None

    async def at(self, when: int) -> int:
        """One question and what follows from it; returns the moment (UTC ms) after which the next may be asked."""
        loop, timing = self._loop, self._timings.subscribed
        began = stopwatch() if timing else 0.0
        after, index = when, None
        if self._answer is not None or not self.answers_nothing(when):
            assert self._answer is not None  # else nothing came of it  # noqa: S101
            given, self._answer = self._answer, None
            if not timing and (lived := self._walk.lived(when, given.value)) is not None:
                after, index = lived
            else:
                await loop.ask(when, answer=given.take, context=given.context)
        if type(loop.state) is not Flat and not loop.is_free:
            opened = stopwatch() if timing else 0.0
            after = await self._walk.until_free(self._walk.index_at(when) if index is None else index)
            if timing:
                self._time("backtest_signal", stopwatch() - opened)
        if timing:
            self._time("backtest_timeframe", stopwatch() - began)
        self.after = after
        return after

    def answers_nothing(self, when: int) -> bool:
        """Ask at a moment (UTC ms), and return whether nothing comes of it.

        Else the answer, or the error, is held for :meth:`at`, which has to be called next, with the same moment.
        """
        loop = self._loop
        context = loop.context(when)
        loop.now = when
        loop.thinking += 1
        token = current.set(context)
        try:
            answer = self._ask(context)
            if answer is None:
                if memo_of(context) is not None:
                    keep_memo(loop, context)
                return True
        except BaseException as error:  # noqa: BLE001 -- the loop counts it, or raises it
            self._answer = _Answer(context, None, error)
            return False
        finally:
            current.reset(token)
            loop.thinking += 1
        self._answer = _Answer(context, answer)
        return False

    async def to_look_at(
        self, when: int, questions: AskedAt, until: int, turn: LegTurn | None
    ) -> tuple[bool, int | None]:
        """Whether a question is to be given to :meth:`at` now, and its moment: of those before it nothing came.

        Parameters
        ----------
        when
            The moment (UTC ms) from which on it asks, up to the first that is not before ``until`` (UTC ms).
        turn
            In a portfolio, the turns of its leg, which it waits for.
        """
        if turn is not None:
            return await turn.question(when, self.in_turn(questions, until))
        if until <= when or not self._is_alone:
            return True, when
        following = self._until_answer(when, questions, until)
        return self._answer is not None, following

    def _until_answer(self, when: int, questions: AskedAt, until: int) -> int | None:
        """The moment of the first question of which something comes, or that is not asked; ``None``: none follows."""
        loop = self._loop
        ask, set_current, memo, run = self._ask, current.set, memo_of, self._run
        first = loop.context(when)
        symbol, mode, reads = first.symbol, first.mode, reads_of(first)
        token = set_current(None)
        try:
            for when in moments_from(questions, when):  # noqa: B020 -- where it has come to is told
                if when >= until or not run.asks_on:
                    return when
                loop.now = when
                context = Context(symbol, when, mode, *reads)
                set_current(context)
                try:
                    answer = ask(context)
                    if answer is None and memo(context) is not None:
                        keep_memo(loop, context)
                except BaseException as error:  # noqa: BLE001 -- the loop counts it, or raises it
                    self._answer = _Answer(context, None, error)
                    return when
                if answer is not None:
                    self._answer = _Answer(context, answer)
                    return when
                self.after = when
        finally:
            current.reset(token)
        return None

    @property
    def _is_alone(self) -> bool:
        """Whether nothing is looked at between two questions: no minutes, and not the time of each."""
        return not (self._loop.rules.quiet or type(self._loop.state) is not Flat or self._timings.subscribed)

    def in_turn(self, questions: AskedAt, until: int) -> Callable[[int], int | None] | None:
        """What a portfolio calls with the moment of a question (UTC ms) in the turn of this leg; ``None``: nothing.

        It asks, and returns the moment of the next question, before ``until`` (UTC ms); ``None``: :meth:`at` is to be
        called with this one.
        """
        if not self._is_alone:
            return None

        def ask(when: int) -> int | None:
            following = questions.next(after=when, asked=when)
            if following is None or following >= until or not self.answers_nothing(when):
                return None
            self.after = when
            return following

        return ask
