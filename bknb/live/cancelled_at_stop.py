"""What a live run takes back at a stop, or where its account is not what the record says."""

from __future__ import annotations

from typing import TypeGuard

from ..domain.lifecycle import Halt, HaltReason, Holding, Opening, State, Waiting
from ..domain.position_book import PositionBook
from ..engine.strategy_loop import StrategyLoop
from .broker_account import Account
from .failures_and_retries import Failures
from .live_market import LiveMarket
from .manual_orders_of_places import loops_of
from .run_progress import Reached


class TakingBack:
    """Takes back what waits in a run, and what was ordered and has not left.

    Parameters
    ----------
    loop, market, reached
        The state of the run, its minutes, and how far it has come.
    account
        Whether an order has left for the broker.
    failures
        Tells what goes wrong.
    """

    def __init__(
        self, loop: StrategyLoop, market: LiveMarket, *, reached: Reached, account: Account, failures: Failures
    ) -> None:
        self._loop, self._market, self._reached = loop, market, reached
        self._account, self._failures = account, failures

    async def take_back(self, reason: HaltReason) -> None:
        """Cancel what waits, entry or add, and an order that has not left for the broker, at a stop or a disagreement.

        Without a broker an order leaves when it is decided, as in a backtest.
        """
        for loop in loops_of(self._loop):
            await self._take_back(loop, reason)

    async def _take_back(self, loop: StrategyLoop, reason: HaltReason) -> None:
        if not self._can_halt(loop.state):
            return
        when = self._reached.known
        price: float | None = None
        close = self._market.last_close(None)
        if close is not None:
            price = await self._market.price_at(when, otherwise=close)
        state = loop.state
        if not self._can_halt(state):  # its order left while the price was read
            return
        if price is None:  # of a dead exchange after a restart nothing else is known
            price = state.signal.price_open
        with self._failures.left_out("state", when):
            await loop.take(Halt(when, price, reason))

    def _can_halt(self, state: State) -> TypeGuard[Holding | Opening | Waiting]:
        """Whether something can be taken back: it waits, or is ordered and has not left for the broker."""
        match state:
            case Opening():
                return not self._account.has_left(state)
            case Holding(leaving=None, book=PositionBook() as book):
                return bool(book.resting)  # adds
            case _:
                return isinstance(state, Waiting)
