"""The walk over the minutes of a backtest: from one that can change something to the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..domain.lifecycle import DataEnd, Flat, Halt, Holding, Managed, Opening, State, Waiting
from ..domain.market_on_close_orders import close_due
from ..domain.signal import OpenSignal
from .strategy_loop import StrategyLoop

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .leg_liquidation import LegLiquidation
    from .next_change import NextChange
    from .plain_positions import PlainPositions
    from .portfolio_clock import LegTurn
    from .questions import AskedAt


def _rests(state: State) -> bool:
    """Whether an entry order waits, for its price or for the close of a session."""
    return isinstance(state, Waiting) or (isinstance(state, Opening) and state.close_at is not None)


class MinuteWalk:
    """The walk over the minutes of a run while something is open or scheduled.

    ``changes`` are the minutes, and what comes next in them. ``leave``: whether the run is left at once; ``stopping``:
    whether it opens nothing new. ``managing`` are the moments at which a strategy that manages its positions can be
    asked about them. ``turn``: in a portfolio, the turns of this leg, which it waits for before anything changes.
    ``liquidation``: that of an account, where it changes while something is held.
    """

    def __init__(
        self,
        changes: NextChange,
        loop: StrategyLoop,
        *,
        every_minute: bool,
        leave: Callable[[], bool],
        stopping: Callable[[], bool],
        managing: AskedAt | None = None,
        turn: LegTurn | None = None,
        liquidation: LegLiquidation | None = None,
    ) -> None:
        self._changes = changes
        self.count, self.follow = changes.count, changes.follow
        self.time_of, self.index_at, self.minute = changes.time_of, changes.index_at, changes.minute
        self._closes_at, self._next = changes.closes_at, changes.next
        self._loop = loop
        self._every_minute = every_minute or loop.rules.quiet
        self._next_index: int | None = None
        self._managing, self._turn = managing, turn
        self._leave, self._stopping, self._liquidation = leave, stopping, liquidation
        # Where nobody looks between them, all milestones up to the end of a plain position are told at once.
        self._at_once = loop.tells_at_once and managing is None and turn is None and liquidation is None
        self._plain: PlainPositions | None = None
        if self._at_once and not self._every_minute:
            from .plain_positions import plain_positions  # a run needs it, `import bknb` does not

            self._plain = plain_positions(changes, loop)
        self._event: tuple[OpenSignal | None, int, int, int] = (None, 0, 0, 0)  # what _next_event found last

    @property
    def fills(self) -> NDArray[np.bool_]:
        """Which minutes can fill an order, shape (n,)."""
        return self._changes.fills

    @property
    def watched_averages(self) -> NDArray[np.float64] | None:
        """The average prices of its minutes, shape (n,), where those are watched; ``None``: ranges are."""
        return self._changes.watched_averages

    def asked(self) -> Sequence[StrategyLoop]:
        """The loops in which a question may be under way."""
        return (self._loop,)

    async def up_to(self, when: int) -> bool:
        """Feed the minutes between two questions: those not fed yet that open before ``when`` (UTC ms).

        Returns whether a question may follow: the run was not stopped meanwhile. ``when`` is the next question, or the
        end of the frame and one millisecond. Call it where nothing is open, or what is open leaves: then only the
        minute that fills the closing order can change the state, and minutes before it are jumped over. Where the
        results of quiet minutes are wanted (``rules.quiet``) every minute is fed.
        """
        stop, turn = self.index_at(when), self._turn
        index, nothing_at = stop if self._next_index is None else self._next_index, 0
        while not self._leave() and (self._loop.rules.quiet or not isinstance(self._loop.state, Flat)):
            target = index
            if index < stop and not (self._every_minute or isinstance(self._loop.state, Flat)):
                target = self._next(self._loop.state, index, stop)
            due = self._close_due(self.time_of(target) if target < stop else when, nothing_at)
            if due is None and target >= stop:
                break
            if turn is not None and not await self._has_turn(turn, target, due, None):
                continue
            index = target
            if due is not None:
                nothing_at = await self._end_close(due)
            else:
                await self._loop.take(self.minute(index))
                index += 1
        self._next_index = max(index, stop)
        return not self._stopping()

    def _close_due(self, moment: int, nothing_at: int) -> int | None:
        """The close (UTC ms), up to ``moment``, at which what leaves is to be out; ``None``: there is none.

        At ``nothing_at`` (UTC ms) there was nothing to end.
        """
        last, due = self._loop.rules.frame_last, close_due(self._loop.state, self._loop.rules)
        return None if due > moment or due == nothing_at or (last is not None and due > last) else due

    async def _end_close(self, due: int) -> int:
        """End what is to be out at a close (UTC ms); returns that moment where there was nothing, else 0."""
        before = self._loop.state
        await self._end_due(due, self.index_at(due))
        return due if self._loop.state is before else 0

    async def _has_turn(self, turn: LegTurn, index: int, ends: int | None, manages: int | None) -> bool:
        """Wait for the turn to work on the minute ``index``, or on a moment (UTC ms) before it, and return whether."""
        if ends is not None:
            return await turn.ends(ends)
        if manages is not None:
            return await turn.manage(manages)
        if index >= self.count:
            return await turn.data_end(self._closes_at(self.count - 1))
        return await turn.bar(self.time_of(index), self._closes_at(index))

    def lived(self, when: int, answer: object) -> tuple[int, int] | None:
        """Live through what a strategy answered at a moment (UTC ms) at once, where nobody looks between its events.

        Returns as :meth:`bknb.engine.plain_positions.PlainPositions.live`; ``None``: nothing was done.
        """
        if self._plain is None or self._leave():
            return None
        self.follow()
        lived = self._plain.live(when, answer)
        if lived is not None:
            self._next_index = lived[1]
        return lived

    async def until_free(self, index: int) -> int:
        """Feed minutes from ``index`` on until the strategy may be asked again.

        Returns the moment (UTC ms) after which it may: the open of the minute that ended everything, or the
        millisecond before the moment at which the clock did.
        """
        self.follow()
        loop, managing, turn = self._loop, self._managing, self._turn
        after = self.time_of(max(index - 1, 0))
        watched: OpenSignal | None = None  # the plain position whose end by the clock is known: it stays the same
        due = stop = jumps = 0
        while not loop.is_free:
            jumps += 1
            if jumps % 64 == 0:
                await asyncio.sleep(0)  # lets a stop request and the listeners' loop in
            if self._leave():
                break
            state = loop.state
            held = state if isinstance(state, Holding) else None
            if held is None and self._takes_back(state, index):
                await self._take_back(index)
                break
            plain = held.signal if held is not None and held.book is None else None
            if plain is None or plain is not watched or self._liquidation is not None:
                watched, due = plain, self._due()
                stop = self._stop(due)
            manage_at = None if managing is None else self._manage_at(managing, index)
            until = stop if manage_at is None else min(stop, self.index_at(manage_at))
            target = self._target(state, index, stop, until)
            ends_at, manages_at = self._first_of(due, manage_at, target)
            if turn is not None and not await self._has_turn(turn, target, ends_at, manages_at):
                continue
            self._pass(held, index, target)
            index = target
            if ends_at is not None:
                await self._end_due(due, index)
                after = due - 1
                continue
            if manages_at is not None:
                await self._manage(manages_at, self._changes.close_before(index))
                after = manages_at - 1 if loop.rules.model.fills_at_open else manages_at
                continue
            if index >= self.count:
                await self.end_of_data()
                after = self.time_of(self.count - 1)
                break
            after = self.time_of(index)
            await loop.take(self.minute(index))
            index += 1
        self._next_index = index
        return after

    def _target(self, state: State, index: int, stop: int, until: int) -> int:
        """The next minute from ``index`` on at which a price can change a state.

        It is at most ``until``, where ``manage`` is asked, or ``stop``, where the clock changes it. Where milestones
        are told at once, it is the next at which a price can end a plain position.
        """
        if self._every_minute:
            return index
        if isinstance(state, Holding) and state.book is None:
            if self._managing is not None:
                return min(self._next_event(state, index, stop), max(until, index))
            if self._at_once:
                return self._changes.next_end(state, index, until)
        return self._next(state, index, until)

    async def _manage(self, when: int, close: float) -> None:
        """Ask about what is held at a moment (UTC ms); again, once what legs share was made smaller."""
        loop, turn = self._loop, self._turn
        await loop.manage(when, close)
        if loop.strategy.portfolio_weights is None or turn is None or loop.known_at is None:
            return
        is_given = False
        while not (is_given or self._stopping()):  # the legs may be told to look again
            is_given, _ = await turn.question(when, None)
        if is_given and loop.known_at is not None:
            loop.strategy.portfolio_weights.ask_again(loop.rules.symbol, when)
            await loop.manage(when, close)

    def _first_of(self, due: int, manage_at: int | None, index: int) -> tuple[int | None, int | None]:
        """What comes first: the clock ends something (UTC ms), or ``manage`` is asked (UTC ms); or the minute does."""
        moment = self.time_of(index) if index < self.count else self._closes_at(self.count - 1)
        if due <= moment and (manage_at is None or due <= manage_at):
            return due, None
        return None, None if manage_at is None or manage_at > moment else manage_at

    async def _end_due(self, due: int, index: int) -> None:
        """End what the clock ends at a moment (UTC ms) before the minute ``index``."""
        loop = self._loop
        weights = loop.strategy.portfolio_weights
        if weights is not None and weights.due(loop.rules.symbol, loop.state) <= due:
            answer = weights.together.answer(loop.rules.symbol, loop.state)
            price, close = self._changes.price_before(index), self._changes.close_before(index)
            decided_at = loop.decided_at(due, "exit")
            await loop.take(Managed((answer,), price, due, close, decided_at=decided_at, source="together"))
            return
        newest = None if close_due(loop.state, loop.rules) > due else self._changes.newest_fill(index)
        await loop.end_due(due, self._changes.price_before(index), newest)

    def _takes_back(self, state: State, index: int) -> bool:
        """Whether an entry that rests is taken back: a minute that fills it and has closed by now comes before."""
        if not _rests(state) or not self._stopping():
            return False
        now = 0 if self._turn is None else self._turn.now
        closed = self.index_at(now)
        if closed > index and self._closes_at(closed - 1) > now:
            closed -= 1
        return closed <= index or self._next(state, index, closed) >= closed

    async def _take_back(self, index: int) -> None:
        """Take back an entry that rests, before the minute ``index``, or where a portfolio has come to by now."""
        if self._turn is not None:
            index = max(index, self.index_at(self._turn.now))
        await self._loop.take(Halt(self.time_of(min(index, self.count - 1)), self._changes.price_before(index)))

    async def until_flat(self) -> None:
        """Feed what is left of the minutes to a position that leaves."""
        index, nothing_at = self._next_index, 0
        while index is not None and isinstance(self._loop.state, Holding) and not self._leave():
            target = index if self._every_minute else self._next(self._loop.state, index, self.count)
            moment = self.time_of(target) if target < self.count else self._closes_at(self.count - 1)
            due = self._close_due(moment, nothing_at)
            if self._turn is not None and not await self._has_turn(self._turn, target, due, None):
                continue
            if due is not None:
                nothing_at = await self._end_close(due)
            elif target >= self.count:
                await self.end_of_data()
            else:
                await self._loop.take(self.minute(target))
                self._next_index = index = target + 1

    async def end_of_data(self) -> None:
        """Tell the lifecycle that no further minute comes."""
        changes, count = self._changes, self.count
        price, close = changes.price_before(count), changes.close_before(count)
        await self._loop.take(DataEnd(self.time_of(count - 1), price, close))

    def _manage_at(self, managing: AskedAt, index: int) -> int | None:
        """The next moment (UTC ms), not before the minute ``index``, at which the strategy manages what it has."""
        loop = self._loop
        if (known := loop.known_at) is None:
            return None
        closed = self._closes_at(index - 1) if index else self.time_of(index)  # where a hole begins, perhaps
        when = managing.next(after=closed - 1, asked=max(loop.last_managed, known - 1))
        rules = loop.rules
        if when is None or rules.frame_last is None:
            return when
        return when if when < rules.frame_last + (not rules.model.fills_at_open) else None

    def _pass(self, held: Holding | None, start: int, stop: int) -> None:
        """Tell a position the extremes of minutes that are passed over, and milestones where they are told at once."""
        if stop > start and held is not None:
            if self._at_once and held.book is None:
                self._loop.skip(self._changes.survived(held, start, stop))
            else:
                self._loop.skip(self._changes.extremes(start, stop))

    def _due(self) -> int:
        """The moment (UTC ms) at which the clock, the account or another leg that is held together changes something.

        Far in the future for none.
        """
        loop, due = self._loop, self._loop.due
        due = due if self._liquidation is None else min(due, self._liquidation.next_change())
        weights = loop.strategy.portfolio_weights
        return due if weights is None else min(due, weights.due(loop.rules.symbol, loop.state))

    def _stop(self, due: int) -> int:
        """Index before which the state can change only by a price."""
        stop = self._changes.stop_by_clock(self._loop.state, due)
        return stop if self._liquidation is None else min(stop, self.index_at(self._liquidation.bar_opens))

    def _next_event(self, state: Holding, index: int, stop: int) -> int:
        """``_next`` for a plain position that is managed: looked for once, not again at every question meanwhile."""
        signal, profit, loss, event = self._event
        if signal is not state.signal or (profit, loss) != (state.profit_level, state.loss_level) or event < index:
            event = self._next(state, index, stop)
            self._event = (state.signal, state.profit_level, state.loss_level, event)
        return event
