"""Registering strategies that answer with the weights of several symbols at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Unpack, overload

from ..domain.text import shown
from ..domain.whole_number import is_number
from ..errors import UsageError
from .add_get_and_list_strategies import CallbackOptions, decorator
from .registration_checks import make_strategy
from .registry import AnyFunction, F, Strategy, registry

if TYPE_CHECKING:
    from ..domain.schedules import Schedule


class _WeightsOptions(CallbackOptions, total=False):
    """Options of ``weights``, as its overloads take them."""

    interval: str | None
    at: Schedule | str | None
    tolerance: float
    reenter: bool
    together: bool
    cash_buffer_percent: float
    params: Mapping[str, Any] | None
    risk: str | None
    execution: str


@overload
def weights(
    name: str,
    *,
    symbols: Iterable[str],
    get_weights: AnyFunction,
    **options: Unpack[_WeightsOptions],
) -> Strategy: ...
@overload
def weights(
    name: str,
    *,
    symbols: Iterable[str],
    get_weights: None = None,
    **options: Unpack[_WeightsOptions],
) -> Callable[[F], F]: ...
def weights(
    name: str,
    *,
    symbols: Iterable[str],
    get_weights: AnyFunction | None = None,
    interval: str | None = None,
    at: Schedule | str | None = None,
    tolerance: float = 0.0,
    reenter: bool = False,
    together: bool = False,
    cash_buffer_percent: float = 0.0,
    params: Mapping[str, Any] | None = None,
    risk: str | None = None,
    execution: str = "pessimistic",
    callbacks: Mapping[str, AnyFunction] | None = None,
    strict: bool = False,
) -> Strategy | Callable[[F], F]:
    """Register a strategy that says what to hold of several symbols at once; without a function it is a decorator.

    ``bknb.portfolio(strategies=[name], exchange=…, frame=…)`` runs it over history, ``bknb.Live.portfolio`` live.

    Parameters
    ----------
    name
        The name portfolios, reports and files use.
    symbols
        What it answers for; the portfolio has a leg for each.
    get_weights
        A function that asks for ``ctx`` or ``when`` by name, and for its own parameters; sync or async. ``ctx`` has
        ``symbols``, ``equity``, ``weights`` (what is held now), ``price_of(symbol)``, ``panel`` and ``get_candles``. It
        returns ``None``, which leaves everything as it is, or a mapping from symbols to parts of the equity, below 0
        short. A symbol that is not named is to have 0, and one with ``None`` is left as it is. Together, without their
        signs, they are at most the leverage of the account.
    interval, at
        It is asked in every slot of ``interval``, or at the moments of a schedule, such as ``"month"``.
    tolerance
        What is held of a symbol and no more than so many percent of the equity away from its weight is left as it is;
        closing and changing the side never is.
    reenter
        What was ended by a level, by liquidation or by hand is entered again at the next answer. By default it stays
        flat until its weight has been 0 or on the other side.
    together
        The symbols are opened and left together: where one of them cannot be made larger, as it is halted, too small,
        without cash or refused, none is; and one that is ended by a level, by liquidation or by hand ends the others
        at their next market price, with the reason ``together``. ``result.groups`` has a row for each time.
    cash_buffer_percent
        So many percent of the equity are left free where something becomes larger, for opens that are dearer.
    params, risk, execution, callbacks
        As for ``bknb.add_strategy``.
    strict
        Refuse to replace a strategy of that name.

    Notes
    -----
    At its moment what becomes smaller is ordered for all symbols first, then what becomes larger. Where less is free
    than that takes, all of it is made smaller by one factor. Each order fills at the next open of its symbol.

    Examples
    --------
    >>> import bknb
    >>> @bknb.weights("halves", symbols=["BTCUSDT", "ETHUSDT"], at="mon")
    ... def get_weights(ctx):
    ...     return dict.fromkeys(ctx.symbols, 0.5)
    >>> result = bknb.portfolio(strategies=["halves"], exchange="demo", frame="2024-01-01:2024-01-29", capital=10_000)
    >>> len(result.leg("ETHUSDT").fills), round(float(result.equity.iloc[-1]), 2)
    (5, 9189.61)
    """
    chosen = _checked_symbols(name, symbols)
    if not is_number(cash_buffer_percent) or not 0.0 <= cash_buffer_percent < 100.0:
        raise UsageError(
            f"cash_buffer_percent of strategy {name!r} must be a percentage from 0 to below 100, "
            f"got {shown(cash_buffer_percent, 60)}"
        )
    if not isinstance(together, bool):
        raise UsageError(f"together of strategy {name!r} must be True or False, got {shown(together, 60)}")

    def register(function: AnyFunction) -> Strategy:
        made = make_strategy(
            name,
            get_weight=function,
            tolerance=tolerance,
            reenter=reenter,
            together=together,
            cash_buffer_percent=cash_buffer_percent,
            interval=interval,
            at=at,
            params=params,
            risk=risk,
            execution=execution,
            callbacks=callbacks,
            symbols=chosen,
        )
        return registry.strategies.add(name, made, strict=strict)

    if get_weights is not None:
        return register(get_weights)
    return decorator(register)


def _checked_symbols(name: str, symbols: object) -> tuple[str, ...]:
    given = [] if isinstance(symbols, str) or not isinstance(symbols, Iterable) else [*symbols]
    if not given or not all(isinstance(symbol, str) and symbol for symbol in given):
        raise UsageError(
            f"symbols of strategy {name!r} must be a list of names, at least one, got {shown(symbols, 80)}\n"
            'such as @bknb.weights("rotation", symbols=["BTCUSDT", "ETHUSDT"], interval="1d")'
        )
    twice = [symbol for at, symbol in enumerate(given) if symbol in given[:at]]
    if twice:
        raise UsageError(f"symbols of strategy {name!r} names {twice[0]!r} twice; name each symbol once")
    return tuple(given)
