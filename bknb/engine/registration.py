"""Registering exchanges, strategies, frames and risk profiles by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

from ..domain.execution_fills import execution_model
from ..errors import UsageError
from ..ports import CandleSource
from .build import (
    as_source,
    as_validation,
    checked_callbacks,
    checked_interval,
    checked_name,
    checked_tick,
    make_frame,
    make_strategy,
)
from .registry import EXCHANGE_CALLBACKS, RISK_CALLBACKS, AnyFunction, Exchange, F, Frame, Risk, Strategy, registry
from .vectorised import DEFAULT_LOOKBACK

if TYPE_CHECKING:
    from ..domain.schedules import Schedule


class _RiskOptions(TypedDict, total=False):
    """Options of ``add_risk``, as its overloads take them."""

    callbacks: Mapping[str, AnyFunction] | None
    strict: bool


class _ExchangeOptions(_RiskOptions, total=False):
    """Options of ``add_exchange``, as its overloads take them."""

    format_price: AnyFunction | None
    format_quantity: AnyFunction | None
    intervals: Iterable[str] | None
    tick: float | Mapping[str, float] | None
    negative: bool


class _StrategyOptions(_RiskOptions, total=False):
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


def _decorator(register: Callable[[Any], object]) -> Callable[[F], F]:
    """A decorator that registers a function and leaves it as it is."""

    def decorate(function: F) -> F:
        register(function)
        return function

    return decorate


@overload
def add_exchange(
    name: str,
    *,
    get_candles: AnyFunction | CandleSource,
    **options: Unpack[_ExchangeOptions],
) -> Exchange: ...
@overload
def add_exchange(
    name: str,
    *,
    get_candles: None = None,
    **options: Unpack[_ExchangeOptions],
) -> Callable[[F], F]: ...
def add_exchange(
    name: str,
    *,
    get_candles: AnyFunction | CandleSource | None = None,
    format_price: AnyFunction | None = None,
    format_quantity: AnyFunction | None = None,
    intervals: Iterable[str] | None = None,
    tick: float | Mapping[str, float] | None = None,
    negative: bool = False,
    callbacks: Mapping[str, AnyFunction] | None = None,
    strict: bool = False,
) -> Exchange | Callable[[F], F]:
    """Register where candles come from; without ``get_candles`` it is a decorator.

    Parameters
    ----------
    name
        The name runs use.
    get_candles
        A function ``(symbol, interval, since, limit)``, sync or async, that returns rows
        ``(timestamp, open, high, low, close, volume)``, mappings, a DataFrame or ``bknb.Candles``; ``since`` is UTC
        ms. Or a source from ``bknb.exchanges``.
    format_price, format_quantity
        Functions ``(symbol, number) -> str``.
    intervals
        Intervals the function answers itself; others are resampled from the shortest of them. ``None``: any.
    tick
        The step of prices (quote currency), or a mapping from symbol to it: levels of signals are put on this grid,
        away from the market, as by the setting ``price_tick`` of one run. ``None``: unknown.
    negative
        Whether prices at or below zero are traded, as of spreads; else they are refused. Of a function alone.
    callbacks
        ``on_candle_data(symbol, interval, since, count, candles)``, after candles came into memory.
    strict
        Refuse to replace an exchange of that name.

    Examples
    --------
    >>> import bknb
    >>> bknb.add_exchange("paper", get_candles=bknb.exchanges.demo()).name
    'paper'
    """
    checked_name("exchange", name)
    chosen = checked_callbacks("exchange", callbacks, EXCHANGE_CALLBACKS)
    grid = checked_tick(tick)
    about: dict[str, Any] = {"format_price": format_price, "format_quantity": format_quantity, "negative": negative}
    about["intervals"] = None if intervals is None else tuple(intervals)

    def register(function: AnyFunction | CandleSource) -> Exchange:
        source = as_source(name, function, **about)
        return registry.exchanges.add(name, Exchange(name, source, chosen, grid), strict=strict)

    if get_candles is not None:
        return register(get_candles)

    return _decorator(register)


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
        sync or async; it returns ``None`` or a ``bknb.Signal``.
    get_signals
        Instead of it, a vectorised strategy: a function ``(candles, ...)`` that answers for all candles of the
        interval at once, with a DataFrame or a mapping of arrays, one row per candle. A row is acted on when its
        candle has closed (that of a session's day when the next one opens), and may use it and those before it.
        Columns: ``position`` (1, 0, -1), ``price_take_profit``, ``price_stop_loss``, ``minute_estimated_time`` (NaN:
        none); optional ``price_open`` (NaN: market), ``stop_entry`` (True: a stop entry, not a limit);
        ``trailing_percent`` with ``trailing_after``, and ``breakeven_after`` (percent, as in ``bknb.Trailing`` and
        ``bknb.Breakeven`` with its costs; NaN: none); ``target_1`` to ``target_3`` with ``share_1`` to ``share_3``, a
        ladder in place of ``price_take_profit``; ``exit_long`` and ``exit_short`` (True: a position of that side that
        was open before the row's candle closed is closed at the market, reason ``strategy``). What else ``manage`` can
        do has no column.
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
    strict
        Refuse to replace a strategy of that name.

    Examples
    --------
    >>> import bknb
    >>> bknb.add_strategy("patient", interval="1h", get_signal=lambda: None).interval
    '1h'
    >>> bknb.add_strategy("opening", at="session_open+30m", get_signal=lambda: None).asked
    'at session_open+30m'
    >>> def get_signals(candles, length=20):
    ...     rise = candles.close > candles.open
    ...     return {"position": rise, "price_take_profit": candles.close * 1.02,
    ...             "price_stop_loss": candles.close * 0.99, "minute_estimated_time": 240}
    >>> bknb.add_strategy("rise", interval="1h", get_signals=get_signals, params={"length": 10}).params
    {'length': 10}
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
        )
        return registry.strategies.add(name, made, strict=strict)

    if get_signal is not None or get_signals is not None:
        return register(get_signal)
    checked_interval(name, interval, at)
    execution_model(execution)

    return _decorator(register)


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
    strict: bool = False,
) -> Callable[[F], F]:
    """Decorator that registers a function as a strategy; see ``add_strategy``.

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
        strict=strict,
    )


def add_frame(name: str, *, start: object, end: object, interval: str = "1m", strict: bool = False) -> Frame:
    """Register a stretch of time.

    Parameters
    ----------
    name
        The name runs use.
    start, end
        Text (``"2024-01-31"``, ``"2024-01-31 12:00"``), date, datetime or UTC ms; without a zone they are UTC.
        Both ends are moments of the frame.
    interval
        Distance between two moments at which a strategy can be asked.
    strict
        Refuse to replace a frame of that name.

    Examples
    --------
    >>> import bknb
    >>> print(bknb.add_frame("jan", start="2024-01-01", end="2024-02-01"))
    jan (2024-01-01 00:00 .. 2024-02-01 00:00 UTC)
    """
    return registry.frames.add(checked_name("frame", name), make_frame(name, start, end, interval), strict=strict)


@overload
def add_risk(
    name: str,
    *,
    validations: Iterable[object] | AnyFunction,
    **options: Unpack[_RiskOptions],
) -> Risk: ...
@overload
def add_risk(
    name: str,
    *,
    validations: None = None,
    **options: Unpack[_RiskOptions],
) -> Callable[[F], F]: ...
def add_risk(
    name: str,
    *,
    validations: Iterable[object] | AnyFunction | None = None,
    callbacks: Mapping[str, AnyFunction] | None = None,
    strict: bool = False,
) -> Risk | Callable[[F], F]:
    """Register a risk profile; without ``validations`` it is a decorator for its only rule.

    Parameters
    ----------
    name
        The name strategies use.
    validations
        Functions ``(request)``, or mappings with ``validate`` and ``note``, asked in order. One refuses by raising,
        or by returning a text or False. ``request`` is a ``RiskRequest``.
    callbacks
        ``on_allowed(request)``, ``on_rejected(request)``.
    strict
        Refuse to replace a profile of that name.

    Examples
    --------
    >>> import bknb
    >>> def at_most_three(request):
    ...     "at most three positions at once"
    ...     return request.open_position_count < 3
    >>> bknb.add_risk("calm", validations=[at_most_three]).validations[0].note
    'at most three positions at once'
    """
    checked_name("risk", name)
    chosen = checked_callbacks("risk", callbacks, RISK_CALLBACKS)

    def register(items: Iterable[object] | AnyFunction) -> Risk:
        if isinstance(items, (str, bytes)) or not (callable(items) or isinstance(items, Iterable)):
            raise UsageError(f"validations must be a list of functions, got {items!r:.80}")
        rules = [items] if callable(items) else list(items)
        risk = Risk(name, tuple(as_validation(item) for item in rules), chosen)
        return registry.risks.add(name, risk, strict=strict)

    if validations is not None:
        return register(validations)

    return _decorator(register)
