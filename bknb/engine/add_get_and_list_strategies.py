"""Registering strategies by name: what answers with signals, rows of signals, or weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

from ..domain.fills_at_stops_and_gaps import execution_model
from .get_signals_vectorised import DEFAULT_LOOKBACK
from .registration_checks import make_strategy
from .registry import AnyFunction, F, Strategy, registry
from .strategy_checks import checked_interval

if TYPE_CHECKING:
    from ..domain.schedules import Schedule


class CallbackOptions(TypedDict, total=False):
    """Options of everything that has callbacks, as overloads take them."""

    callbacks: Mapping[str, AnyFunction] | None
    strict: bool


class _StrategyOptions(CallbackOptions, total=False):
    """Options of ``add_strategy``, as its overloads take them."""

    interval: str | None
    params: Mapping[str, Any] | None
    lookback: int
    risk: str | None
    execution: str
    manage: AnyFunction | None
    manage_interval: str | None
    at: Schedule | str | None
    late: Literal["miss", "ask"]
    manage_at: Schedule | str | None
    tolerance: float | None
    reenter: bool
    places: int
    uses: Sequence[str | tuple[str, str]] | None


def decorator(register: Callable[[Any], object]) -> Callable[[F], F]:
    """A decorator that registers a function and leaves it as it is."""

    def decorate(function: F) -> F:
        register(function)
        return function

    return decorate


@overload
def add_strategy(
    name: str,
    *,
    get_signal: AnyFunction,
    get_signals: None = None,
    **options: Unpack[_StrategyOptions],
) -> Strategy: ...
@overload
def add_strategy(
    name: str,
    *,
    get_signal: None = None,
    get_signals: AnyFunction,
    **options: Unpack[_StrategyOptions],
) -> Strategy: ...
@overload
def add_strategy(
    name: str,
    *,
    get_signal: None = None,
    get_signals: None = None,
    get_weight: AnyFunction,
    **options: Unpack[_StrategyOptions],
) -> Strategy: ...
@overload
def add_strategy(
    name: str,
    *,
    get_signal: None = None,
    get_signals: None = None,
    **options: Unpack[_StrategyOptions],
) -> Callable[[F], F]: ...
def add_strategy(
    name: str,
    *,
    interval: str | None = None,
    get_signal: AnyFunction | None = None,
    get_signals: AnyFunction | None = None,
    params: Mapping[str, Any] | None = None,
    lookback: int = DEFAULT_LOOKBACK,
    risk: str | None = None,
    execution: str = "pessimistic",
    callbacks: Mapping[str, AnyFunction] | None = None,
    manage: AnyFunction | None = None,
    manage_interval: str | None = None,
    at: Schedule | str | None = None,
    late: Literal["miss", "ask"] = "miss",
    manage_at: Schedule | str | None = None,
    get_weight: AnyFunction | None = None,
    tolerance: float | None = None,
    reenter: bool = False,
    places: int = 1,
    uses: Sequence[str | tuple[str, str]] | None = None,
    strict: bool = False,
) -> Strategy | Callable[[F], F]:
    """Register a strategy; without a function it is a decorator.

    Parameters
    ----------
    name
        The name runs, reports and files use.
    interval
        The strategy is asked at most once per slot of it; with ``at`` a signal waits at least so long, else a day.
    get_signal
        A function that asks for what it wants by parameter name, any of ``ctx``, ``symbol``, ``when``, ``price``;
        sync or async; it returns ``None``, a ``bknb.Signal``, or a list of signals with ``price_open`` that compete for
        one place: the first that fills takes it, and the others are cancelled (``place_taken``).
    get_signals
        Instead of it, a vectorised strategy: a function ``(candles, ...)`` that answers for all candles of the
        interval at once, with a DataFrame or a mapping of arrays, one row per candle. A row is acted on when its
        candle has closed (that of a session's day when the next one opens), and may use it and those before it.
        Columns: ``position`` (1, 0, -1), ``price_take_profit``, ``price_stop_loss``, ``minute_estimated_time`` (NaN:
        none); optional ``price_open`` (NaN: market), ``stop_entry`` (True: a stop entry, not a limit);
        ``trailing_percent`` with ``trailing_after``, and ``breakeven_after`` (percent, as in ``bknb.Trailing`` and
        ``bknb.Breakeven`` with its costs; NaN: none); ``target_1`` to ``target_3`` with ``share_1`` to ``share_3``, a
        ladder in place of ``price_take_profit``; ``stop_percent``, ``target_percent`` and ``size``, as in
        ``bknb.Signal`` (NaN: none); ``price_open_long`` with ``price_open_short``, which compete, and their levels
        ``price_stop_loss_long``, ``price_take_profit_long`` and so on; ``open_1`` to ``open_3`` with ``open_share_1``
        to ``open_share_3``, an entry ladder; ``exit_long`` and ``exit_short`` (True: a position of that side that
        was open before the row's candle closed is closed at the market, reason ``strategy``). What else ``manage`` can
        do has no column. With ``tolerance`` the column is ``weight`` alone: what a ``get_weight`` would answer when the
        row's candle has closed, NaN for ``None``.
    params
        Values for further parameters of the function; others keep their defaults. ``bknb.sweep`` tries many.
    lookback
        For ``get_signals``: how many candles, its own included, a row depends on. Live computes rows on exactly
        so many; a backtest, which computes them once, warns when a row would come out differently.
    risk
        Name of a registered risk profile.
    execution
        Which prices fill orders: ``"pessimistic"`` (market orders at the open of the next candle with volume, limits
        and targets when a candle trades through them, doubt against you), ``"touch"`` (at every level a candle
        reaches, doubt in your favour) or ``"vwap"`` (at the five-minute average price).
    callbacks
        Functions by name (``on_open``, ``on_close``, …), each called with the event.
    manage
        A function that is asked about a position that is open, or a signal that waits: any of ``ctx``, ``symbol``,
        ``when``, ``price``, ``position`` and the parameters of the strategy by name; sync or async. It returns
        ``None``, or one or a list of ``bknb.Close``, ``Reduce``, ``Add``, ``Move``, ``Cancel``, and a ``Signal`` behind
        a ``Close``.
    manage_interval, manage_at
        The same as ``interval`` and ``at`` for ``manage``; neither: as the strategy.
    at, late
        Moments by the clock of the market at which it is asked, in place of slots of ``interval``: a schedule of
        ``bknb.at``, or its text, such as ``"session_open+30m"``. Where no base bar opens or closes within one base bar
        of a moment, or something is open, it is missed and counted; with ``late="ask"`` asked at when that is possible.
    get_weight
        Instead of them, what is to be held: a function like ``get_signal``, asked in every slot, whatever is open. It
        returns ``None``, which leaves everything as it is, or a number: the part of the equity that is to be held from
        the next candle on, 1 for all of it, below 0 short, 0 for nothing. What it takes to get there is ordered at the
        market. Without a capital, and without leverage, it is at most 1 and at least -1.
    tolerance
        For ``get_weight``, and needed for rows of weights: as long as what is held is no more than so many percent of
        the equity away from it, nothing is changed; closing and changing the side always is. Infinity: nothing else is.
        By default every difference is.
    reenter
        For ``get_weight``: what was ended by a level, by liquidation or by hand is entered again at the next answer. By
        default it stays flat until a weight has been 0 or on the other side.
    places
        How many signals of it may wait or be open at a time on a symbol, each with a life of its own: grids, cohorts
        that overlap. It is asked as long as a place is free, and may return a list. Signals that name the same
        ``place``, and those that name none, compete for one; what is for a place that is taken is left out and counted.
    uses
        For ``get_signals``: candles that it reads beside its own, intervals of its symbol or ``(symbol, interval)``. It
        is then a function ``(candles, others, ...)``: ``others["4h"].close`` has for each row the close of the newest
        ``4h`` candle that had closed when the row's candle closed, NaN where there is none; ``others["4h"].candles``
        are these candles, of which ``others["4h"].rows(values)`` makes rows. Indicators of them are called with
        ``candles``.
    strict
        Refuse to replace a strategy of that name.

    Examples
    --------
    >>> import bknb
    >>> bknb.add_strategy("patient", interval="1h", get_signal=lambda: None).interval
    '1h'
    >>> bknb.add_strategy("opening", at="session_open+30m", get_signal=lambda: None).asked
    'at session_open+30m'
    >>> def breakout(price):
    ...     up = bknb.Signal(position="long", price_open=price * 1.01, entry="stop", bars=4)
    ...     return [up, bknb.Signal(position="short", price_open=price * 0.99, entry="stop", bars=4)]
    >>> bknb.add_strategy("breakout", interval="1h", get_signal=breakout).name
    'breakout'
    >>> def grid(price):
    ...     first = price // 250 * 250
    ...     levels = [first - 250 * k for k in range(10)]
    ...     return [bknb.Signal(position="long", place=f"{level:.0f}", price_open=level,
    ...                         price_take_profit=level + 250, valid=None) for level in levels]
    >>> bknb.add_strategy("grid", interval="15m", get_signal=grid, places=20).places
    20
    >>> def get_signals(candles, length=20):
    ...     rise = candles.close > candles.open
    ...     return {"position": rise, "price_take_profit": candles.close * 1.02,
    ...             "price_stop_loss": candles.close * 0.99, "minute_estimated_time": 240}
    >>> bknb.add_strategy("rise", interval="1h", get_signals=get_signals, params={"length": 10}).params
    {'length': 10}
    >>> def get_signals(candles, others):
    ...     rise = candles.close > others["4h"].close
    ...     return {"position": rise, "target_percent": 2, "stop_percent": 1, "minute_estimated_time": 240}
    >>> bknb.add_strategy("above", interval="1h", get_signals=get_signals, uses=["4h", ("ETHUSDT", "1d")]).uses
    ('4h', ('ETHUSDT', '1d'))
    >>> def get_weight(ctx):
    ...     closes = ctx.get_candles(ctx.symbol, "4h", 50).close
    ...     return 1 if closes[-10:].mean() > closes.mean() else -1
    >>> bknb.add_strategy("always in", interval="4h", get_weight=get_weight, tolerance=5).tolerance
    5.0
    """

    def register(function: AnyFunction | None) -> Strategy:
        made = make_strategy(
            name,
            function,
            interval=interval,
            get_signals=get_signals,
            params=params,
            lookback=lookback,
            risk=risk,
            execution=execution,
            callbacks=callbacks,
            manage=manage,
            manage_interval=manage_interval,
            at=at,
            late=late,
            manage_at=manage_at,
            get_weight=get_weight,
            tolerance=tolerance,
            reenter=reenter,
            places=places,
            uses=uses,
        )
        return registry.strategies.add(name, made, strict=strict)

    if tolerance is not None and get_signal is not None and get_weight is None:
        from .weight_questions import checked_weight  # what it says of it

        checked_weight(name, None, tolerance, reenter, beside={}, execution=execution)
    if any(function is not None for function in (get_signal, get_signals, get_weight)):
        return register(get_signal)
    checked_interval(name, interval, at)
    execution_model(execution)

    return decorator(register)


def strategy(
    name: str,
    *,
    interval: str | None = None,
    params: Mapping[str, Any] | None = None,
    lookback: int = DEFAULT_LOOKBACK,
    risk: str | None = None,
    execution: str = "pessimistic",
    callbacks: Mapping[str, AnyFunction] | None = None,
    manage: AnyFunction | None = None,
    manage_interval: str | None = None,
    at: Schedule | str | None = None,
    late: Literal["miss", "ask"] = "miss",
    manage_at: Schedule | str | None = None,
    tolerance: float | None = None,
    reenter: bool = False,
    places: int = 1,
    uses: Sequence[str | tuple[str, str]] | None = None,
    strict: bool = False,
) -> Callable[[F], F]:
    """Decorator that registers a function as a strategy; see ``add_strategy``.

    A function that is called ``get_weight``, or has a ``tolerance``, answers with weights.

    Examples
    --------
    >>> import bknb
    >>> @bknb.strategy("sleeper", interval="15m")
    ... def get_signal(ctx):
    ...     return None
    >>> "sleeper" in bknb.list_strategies()
    True
    """
    return add_strategy(
        name,
        interval=interval,
        params=params,
        lookback=lookback,
        risk=risk,
        execution=execution,
        callbacks=callbacks,
        manage=manage,
        manage_interval=manage_interval,
        at=at,
        late=late,
        manage_at=manage_at,
        tolerance=tolerance,
        reenter=reenter,
        places=places,
        uses=uses,
        strict=strict,
    )


def list_strategies() -> list[str]:
    """Names of the registered strategies, in order of registration.

    Examples
    --------
    >>> import bknb
    >>> isinstance(bknb.list_strategies(), list)
    True
    """
    return registry.strategies.names()


def get_strategy(name: str) -> Strategy:
    """The strategy of that name.

    Examples
    --------
    >>> import bknb
    >>> _ = bknb.add_strategy("quiet", interval="1h", get_signal=lambda: None)
    >>> bknb.get_strategy("quiet").execution
    'pessimistic'
    """
    return registry.strategies.get(name)
