"""What a ``get_weight`` answers, made into what the lifecycle knows: a signal, or changes of what is held."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ..domain.fills_at_stops_and_gaps import execution_model
from ..domain.lifecycle_inputs import Reenter
from ..domain.orders_from_weights import marked_weight, weight_changes, weight_signal
from ..domain.position_book import new_book
from ..domain.signal import Signal, sign_of
from ..domain.signal_events import Reason
from ..domain.states import Holding, Rules
from ..domain.stays_flat import stays_flat_in
from ..domain.text import shown
from ..domain.weight_answers import read_weight
from ..domain.weight_with_levels import Weight
from ..domain.whole_number import is_number
from ..errors import UsageError
from ..market.strategy_context import keep_flat, stays_flat_of, weight_limits_of

if TYPE_CHECKING:
    from ..domain.position_seen_by_manage import HeldPosition
    from ..market.strategy_context import Context
    from .call_by_name import Ask, Manage
    from .strategy_loop import StrategyLoop


def checked_weight(
    name: str, get_weight: object, tolerance: object, reenter: object, *, beside: Mapping[str, object], execution: str
) -> float:
    """The tolerance of a strategy that answers with weights, percent of the equity; 0 where none is given.

    Parameters
    ----------
    name, get_weight, tolerance, reenter, execution
        Of the strategy, as given.
    beside
        What says how a position is opened or managed, by the name of its option; a ``get_weight`` says all of it.

    Raises
    ------
    UsageError
        For what cannot be.
    """
    if getattr(beside.get("get_signal"), "__name__", "") == "get_weights":
        raise UsageError(
            f"strategy {name!r} has a get_weights, which answers for several symbols at once\n"
            f'register it with @bknb.weights({name!r}, symbols=[…], interval="1d"), and run it with bknb.portfolio'
        )
    rows = get_weight is None and tolerance is not None and beside.get("get_signals") is not None
    if get_weight is None and not rows:
        option = "tolerance" if reenter is False else "reenter"
        raise UsageError(
            f"strategy {name!r} has a {option} and no get_weight\n"
            f"{option} is for weights: give get_weight=, a function (ctx) that answers with a number, or leave it out; "
            "with tolerance= a get_signals returns the column weight"
        )
    if not isinstance(reenter, bool):
        raise UsageError(f"reenter of strategy {name!r} must be True or False, got {shown(reenter, 60)}")
    asked = "a tolerance for weights of get_signals" if rows else "get_weight"
    given = [option for option, value in beside.items() if value is not None and not (rows and option == "get_signals")]
    if given:
        raise UsageError(
            f"strategy {name!r} has {asked} and {' and '.join(given)}\n"
            "weights are asked for in every slot, whatever is open, and say all of what is held: leave the others out"
        )
    if not execution_model(execution).fills_at_open:
        raise UsageError(
            f"strategy {name!r} has {asked} and execution={execution!r}, which fills at an average of past prices\n"
            "a weight is of the equity at the last close: choose 'pessimistic' or 'touch'"
        )
    tolerance = 0.0 if tolerance is None else tolerance
    if not is_number(tolerance) or math.isnan(tolerance) or tolerance < 0.0:
        raise UsageError(
            f"tolerance of strategy {name!r} must be a number of at least 0, got {shown(tolerance, 60)}\n"
            "it is percent of the equity: tolerance=2 leaves a weight that is up to 2 % of the equity away as it is"
        )
    return float(tolerance)


def weight_asks(ask: Ask, tolerance: float) -> tuple[Ask, Manage]:
    """What asks a ``get_weight`` where nothing is open, and about what is; ``ask`` calls it."""

    def opening(ctx: Context) -> Any:
        return _then(ask(ctx), lambda weight: opened(weight_signal(weight), ctx), ctx)

    def holding(ctx: Context, position: HeldPosition) -> Any:
        if not position.size and not position.waiting:
            return None  # the account was worth nothing, and has closed it
        return _then(ask(ctx), lambda weight: weight_changes(weight, position, tolerance) or None, ctx)

    return opening, holding


def _then(answer: Any, made: Callable[[Weight], object], ctx: Context) -> Any:
    """What is made of a weight; of one that is awaited, once it is there."""
    if inspect.isawaitable(answer):

        async def later() -> object:
            return _made(await answer, made, ctx)

        return later()
    return _made(answer, made, ctx)


def _made(answer: object, made: Callable[[Weight], object], ctx: Context) -> object:
    if answer is None or isinstance(answer, Reason):
        return answer
    weight = read_weight(answer, weight_limits_of(ctx))
    return weight if isinstance(weight, Reason) else made(weight)


def opened(signal: Signal | None, ctx: Context) -> Signal | Reenter | None:
    """What the signal of a weight leads to where nothing is held; ``None``: it is 0.

    What was ended by a level, by liquidation or by hand stays flat until a weight has been 0 or on the other side.
    """
    side = stays_flat_of(ctx)
    if side is None or signal is None:
        return signal if side in (None, "both") else Reenter(ctx.when_ms)
    return None if side in (signal.position, "both") else signal


def asked_for_weight(loop: StrategyLoop, ask: Ask) -> Ask:
    """What asks a loop's strategy of weights where nothing is held, unless it was said at that moment what is to be.

    An account that is worth nothing opens nothing any more. The legs of several symbols share their answers.
    """
    weights = loop.strategy.portfolio_weights
    alone = weights is None
    if weights is not None:
        weights.hear(loop)

    def asked(ctx: Context) -> Any:
        when = ctx.when_ms
        if alone and (when == loop.last_managed or _is_worth_nothing(loop.places, when)):
            return None
        keep_flat(ctx, stays_flat_in(loop.state))
        return ask(ctx)

    return asked


def _is_worth_nothing(account: object, when: int) -> bool:
    """Whether the account of a leg is worth nothing at a moment (UTC ms); without one that is not known."""
    shared = getattr(account, "shared", None)
    return shared is not None and shared.marked_at(when).equity <= 0.0


def with_weight(
    position: HeldPosition, state: object, when: int, close: float, *, rules: Rules, places: object
) -> HeldPosition:
    """A position with what it is worth as a part of the equity at a moment (UTC ms).

    ``close`` is the last close before it; with an account both are those of the account.
    """
    if not isinstance(state, Holding):
        return position
    held = getattr(places, "held_weight", None)
    if held is not None:
        weight, size = held(when)
        return msgspec.structs.replace(position, weight=weight, size=size)
    signal, settings = state.signal, rules.settings
    known = state.book or new_book(signal, highest=state.highest, lowest=state.lowest)
    weight = marked_weight(
        known.fills,
        sign=sign_of(signal.position),
        opened_with=1.0 if signal.size is None else signal.size,
        left=known.left,
        mark=close,
        slippage=settings.percent_slippage,
        fee=settings.percent_fee,
    )
    return msgspec.structs.replace(position, weight=weight)
