"""The weights of several symbols in a portfolio: one question for all of them, and what each leg does of its answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from ..domain.accounts import initial_margin
from ..domain.costs import CostRequest, fill_costs
from ..domain.interval import floor_to, interval_ms
from ..domain.is_rounded_quantity import EXACT
from ..domain.manage_answers import Add, Close, PositionAnswer, Reduce
from ..domain.risk import WeightLimits
from ..domain.signal import Position, Signal
from ..domain.signal_events import Reason
from ..domain.weights import HeldWeight, read_weights, weight_changes, weight_signal
from ..errors import UsageError
from ..market.strategy_context import Context, weight_limits_of
from .cost_requests import side_of

if TYPE_CHECKING:
    from ..domain.position_view import HeldPosition
    from .leg_account import LegAccount
    from .registry import Strategy


class BookContext:
    """What a ``get_weights`` is asked with: the moment, the account, and candles of any symbol.

    Attributes
    ----------
    symbols : tuple of str
        Those of the strategy.
    equity : float
        Of the account, marked at the last closes.
    weights : dict
        What is held now, by symbol, as parts of the equity; 0 where nothing is.
    """

    def __init__(self, context: Context, symbols: tuple[str, ...], equity: float, weights: dict[str, float]) -> None:
        self._context = context
        self.symbols, self.equity, self.weights = symbols, equity, weights

    def price_of(self, symbol: str) -> float:
        """The average price of a symbol now."""
        return self._context.get_average_price(symbol)

    @property
    def symbol(self) -> str:
        """None: it is asked about several."""
        raise UsageError("get_weights is asked about several symbols at once, and ctx.symbol is one\nuse ctx.symbols")

    @property
    def price(self) -> float:
        """None: it is asked about several symbols."""
        raise UsageError(
            "get_weights is asked about several symbols at once, and ctx.price is that of one\nuse ctx.price_of(symbol)"
        )

    def candles(self, *_: Any, **__: Any) -> Any:
        """None: it is asked about several symbols."""
        raise UsageError(
            "get_weights is asked about several symbols at once, and ctx.candles are those of one\n"
            "use ctx.get_candles(symbol, interval, n), or ctx.panel(ctx.symbols, interval, n)"
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def __repr__(self) -> str:
        return f"BookContext({len(self.symbols)} symbols, {self._context.when_ms})"


class _Plan(NamedTuple):
    """What is to be done at a moment (UTC ms): what each leg holds changes so, and larger ones by this part of it."""

    when: int
    changes: Mapping[str, list[PositionAnswer]]
    part: float


class WeightBook:
    """The legs of a strategy that answers for several symbols at once.

    The first leg whose turn comes at a moment has it asked. Then each does its part: in the turn of ``manage`` what
    makes positions smaller, in that of questions what makes them larger.

    Parameters
    ----------
    strategy
        The strategy, whose ``ask`` calls its ``get_weights``.

    Attributes
    ----------
    scaled
        How many moments there were at which all increases were made smaller by one factor, to what was free.
    """

    def __init__(self, strategy: Strategy) -> None:
        self._strategy, self._ask = strategy, strategy.ask
        self._legs: dict[str, LegAccount] = {}
        self._slot: int | None = None  # of the answer that is known
        self._answer: Mapping[str, float | None] | None = None
        self._plan: _Plan | None = None
        self._turns: dict[str, int] = {}  # the moment (UTC ms) at which each leg was asked last about what it holds
        self.scaled = 0

    def leg(self, symbol: str) -> Strategy:
        """The strategy of one leg."""

        def opening(ctx: Context) -> Any:
            return self._asked(ctx, lambda: self._signal(symbol, ctx))

        def holding(ctx: Context, _: HeldPosition) -> Any:
            return self._asked(ctx, lambda: self._changes(symbol, ctx))

        return replace(self._strategy, ask=opening, ask_manage=holding, symbols=(), book=self)

    def begin(self, symbol: str, account: LegAccount) -> None:
        """Take what the leg of a symbol has of the account."""
        self._legs[symbol] = account

    def end(self) -> None:
        """Let go of the account of a portfolio that is over."""
        self._legs = {}

    # --- the question -----------------------------------------------------------------------------------------------

    def _asked(self, ctx: Context, made: Callable[[], object]) -> Any:
        """What a leg does once the answer of its slot is known."""
        limits = weight_limits_of(ctx)
        if limits is None or not self._legs:
            raise UsageError("the weights of several symbols are asked in a run of their portfolio alone")
        slot = ctx.when_ms
        if self._strategy.at is None:
            slot = floor_to(slot, interval_ms(self._strategy.interval))
        if slot == self._slot:
            return made()
        self._slot, self._answer, self._plan = slot, None, None
        answer = self._ask(self._context(ctx))  # type: ignore[arg-type]  # it has what a context has
        if inspect.isawaitable(answer):

            async def later() -> object:
                return self._read(await answer, limits, made)

            return later()
        return self._read(answer, limits, made)

    def _context(self, ctx: Context) -> BookContext:
        when = ctx.when_ms
        equity = next(iter(self._legs.values())).shared.marked_at(when).equity
        held = {symbol: leg.held_weight(when)[0] for symbol, leg in self._legs.items()}
        return BookContext(ctx, tuple(self._legs), equity, held)

    def _read(self, answer: object, limits: WeightLimits, made: Callable[[], object]) -> object:
        if answer is None:
            return None
        read = read_weights(answer, [*self._legs], limits)
        if isinstance(read, tuple):
            return Reason(read[0].code, "; ".join(reason.text for reason in read))
        self._answer = read
        return made()

    # --- what comes of it -------------------------------------------------------------------------------------------

    def _planned(self, when: int) -> _Plan:
        """What all legs do at a moment (UTC ms)."""
        if self._plan is None or self._plan.when != when:
            assert self._answer is not None  # whoever asks looked  # noqa: S101
            held = {symbol: _held(leg, when) for symbol, leg in self._legs.items()}
            changes = {
                symbol: _changes_of(weight, held[symbol], self._strategy.tolerance or 0.0)
                for symbol, weight in self._answer.items()
                if weight is not None
            }
            self._plan = _Plan(when, changes, self._part(when, changes, held))
        return self._plan

    def _part(
        self, when: int, changes: Mapping[str, Sequence[PositionAnswer]], held: Mapping[str, HeldWeight | None]
    ) -> float:
        """The part of all increases that is paid for at a moment (UTC ms), once what is to leave has left."""
        shared = next(iter(self._legs.values())).shared
        equity, exits, needed = shared.marked_at(when).equity, [], 0.0
        for symbol, answers in changes.items():
            leg, now = self._legs[symbol], held[symbol]
            for answer in answers:
                if isinstance(answer, Close | Reduce):
                    part = answer.share if isinstance(answer, Reduce) else 1.0
                    left = leg.exits.part(shared.ledger, part, leg.prices.at(when), when)
                    exits += [] if left is None else [left]
                elif isinstance(answer, Signal):
                    assert answer.position is not None  # weights say it  # noqa: S101
                    needed += _takes(leg, symbol, when, (answer.size or 0.0) * equity, answer.position)
                elif isinstance(answer, Add) and now is not None:
                    side: Position = "long" if now.sign > 0 else "short"
                    value = answer.share / now.size * abs(now.weight) * equity
                    needed += _takes(leg, symbol, when, value, side)
        free = shared.ledger.expected_free(exits, shared.prices_at(when))
        if needed <= free * (1 + EXACT):
            return 1.0
        self.scaled += 1
        return max(free, 0.0) / needed

    def _signal(self, symbol: str, ctx: Context) -> Signal | None:
        """What a leg answers that holds nothing, or whose position leaves."""
        if self._answer is None or (weight := self._answer[symbol]) is None:
            return None
        plan, signal = self._planned(ctx.when_ms), weight_signal(weight)
        if signal is None or signal.size is None or not plan.part:
            return None
        return replace(signal, size=signal.size * plan.part)

    def _changes(self, symbol: str, ctx: Context) -> list[PositionAnswer] | None:
        """What a leg answers about what it holds: first what makes it smaller, when it is asked again what does not."""
        if self._answer is None or self._answer[symbol] is None:
            return None
        plan, when = self._planned(ctx.when_ms), ctx.when_ms
        answers, again = plan.changes.get(symbol, []), self._turns.get(symbol) == when
        self._turns[symbol] = when
        larger = not any(isinstance(answer, Close | Reduce) for answer in answers)
        if larger != again:
            return None
        scaled = (
            replace(answer, share=answer.share * plan.part) if isinstance(answer, Add) else answer for answer in answers
        )
        return [
            answer for answer in scaled if not isinstance(answer, Signal) and getattr(answer, "share", 1.0) > 0.0
        ] or None


def _changes_of(weight: float, held: HeldWeight | None, tolerance: float) -> list[PositionAnswer]:
    if held is not None:
        return weight_changes(weight, held, tolerance)
    signal = weight_signal(weight)
    return [] if signal is None else [signal]


def _held(leg: LegAccount, when: int) -> HeldWeight | None:
    weight, size = leg.held_weight(when)
    return HeldWeight(weight, size, leg.orders) if size else None


def _takes(leg: LegAccount, symbol: str, when: int, value: float, position: Position) -> float:
    """What so much more of a position takes of cash or margin, with its costs, at the last close (UTC ms)."""
    price = leg.prices.at(when)
    order = CostRequest(
        symbol=symbol,
        at=when,
        side=side_of(position, enters=True),
        kind="add",
        filled_by="market",
        quantity=value / price,
        price=price,
    )
    return initial_margin(leg.money.account, value) + fill_costs(order, leg.money.costs).fee
