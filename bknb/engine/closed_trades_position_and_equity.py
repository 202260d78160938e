"""What a strategy sees of its own run: ``ctx.closed``, ``ctx.position`` and ``ctx.equity``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..domain.closed_trade import ClosedTrade, closed_trade
from ..domain.position_seen_by_manage import HeldPosition, managed_from, position_view
from ..domain.states import Holding, Opening, Waiting
from ..errors import NotEnoughData, UsageError

if TYPE_CHECKING:
    from .shared_account import SharedAccount
    from .strategy_loop import StrategyLoop


class RunOfLoop:
    """The run of a loop as its strategy sees it.

    Parameters
    ----------
    loop
        The strategy with its lifecycle.
    at_once
        Calls a function where nobody else changes the account meanwhile, and returns what it returns.
    """

    def __init__(self, loop: StrategyLoop, at_once: Callable[[Callable[[], Any]], Any] = lambda work: work()) -> None:
        self._loop, self._at_once = loop, at_once
        rules = loop.rules
        self.strategy, self.exchange, self.frame = rules.strategy, rules.exchange, rules.frame

    def closed(self, n: int, when: int) -> tuple[ClosedTrade, ...]:  # noqa: ARG002 -- what the record has was before
        """The newest closed trades, the newest first."""
        return tuple(closed_trade(event, self._loop.rules) for event in self._loop.records.closed[: -n - 1 : -1])

    def positions(self, when: int) -> tuple[HeldPosition, ...]:
        """What is open or waits at a moment (UTC ms)."""
        held: tuple[HeldPosition, ...] = self._at_once(lambda: self._positions(when))
        return held

    def _positions(self, when: int) -> tuple[HeldPosition, ...]:
        held = position_now(self._loop, when)
        return () if held is None else (held,)

    def equity(self, when: int) -> float:
        """What the account is worth at a moment (UTC ms), quote currency."""
        account: SharedAccount | None = getattr(self._loop.places, "shared", None)
        if account is None:
            raise no_equity()
        equity: float = self._at_once(lambda: account.marked_at(when).equity)
        return equity


def position_now(loop: StrategyLoop, when: int) -> HeldPosition | None:
    """The position of a loop at a moment (UTC ms), or the signal that waits; ``None``: there is neither.

    What leaves at the next candle is not there any more.
    """
    state, rules = loop.state, loop.rules
    known = managed_from(state, rules)
    if known is None or known > when:
        return None
    assert isinstance(state, Holding | Opening | Waiting)  # nothing else is managed  # noqa: S101
    bars = loop.window.minutes(rules.symbol)
    close = float(bars.candles.close[bars.closed(when) - 1])
    try:
        price = loop.context(when).price
    except NotEnoughData:  # as at the beginning of a market
        price = close
    position = position_view(state, when, price, rules)
    if rules.weights is not None:
        from .weight_questions import with_weight  # few strategies have them

        position = with_weight(position, state, when, close, rules=rules, places=loop.places)
    return position


def no_equity() -> UsageError:
    """The error of a strategy that asks for the equity of a run that has none."""
    return UsageError(
        "ctx.equity is that of an account, and this run has none\n"
        "give it one: capital=10_000, say; without one positions are measured in percent of their own value"
    )
