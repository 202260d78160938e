"""Registering exchanges, frames and risk profiles by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Unpack, overload

from ..errors import UsageError
from ..ports import CandleSource
from .add_get_and_list_strategies import CallbackOptions, decorator
from .registration_checks import (
    as_source,
    as_validation,
    checked_callbacks,
    checked_least,
    checked_name,
    checked_tick,
    limits_of_source,
    make_frame,
)
from .registry import EXCHANGE_CALLBACKS, RISK_CALLBACKS, AnyFunction, Exchange, F, Frame, Risk, registry


class _ExchangeOptions(CallbackOptions, total=False):
    """Options of ``add_exchange``, as its overloads take them."""

    format_price: AnyFunction | None
    format_quantity: AnyFunction | None
    intervals: Iterable[str] | None
    tick: float | Mapping[str, float] | None
    step: float | Mapping[str, float] | None
    least_quantity: float | Mapping[str, float] | None
    least_value: float | Mapping[str, float] | None
    negative: bool


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
    step: float | Mapping[str, float] | None = None,
    least_quantity: float | Mapping[str, float] | None = None,
    least_value: float | Mapping[str, float] | None = None,
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
    step, least_quantity, least_value
        The step of quantities (base currency), and the least quantity and value (quote currency) of an order, or
        mappings from symbol to them. A run with a capital rounds what it buys and closes down to the step, refuses less
        than the least, and closes all where less than that would be left. ``None``: unknown.
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
    given = {"step": step, "least_quantity": least_quantity, "least_value": least_value}
    takes = {"tick": checked_tick(tick), **{name: checked_least(name, value) for name, value in given.items()}}
    about: dict[str, Any] = {"format_price": format_price, "format_quantity": format_quantity, "negative": negative}
    about["intervals"] = None if intervals is None else tuple(intervals)

    def register(function: AnyFunction | CandleSource) -> Exchange:
        source = as_source(name, function, **about)
        limits = {**limits_of_source(source), **{key: value for key, value in takes.items() if value is not None}}
        return registry.exchanges.add(name, Exchange(name, source, chosen, **limits), strict=strict)

    if get_candles is not None:
        return register(get_candles)

    return decorator(register)


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
    **options: Unpack[CallbackOptions],
) -> Risk: ...
@overload
def add_risk(
    name: str,
    *,
    validations: None = None,
    **options: Unpack[CallbackOptions],
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

    return decorator(register)


def list_exchanges() -> list[str]:
    """Names of the exchanges that can be used.

    Examples
    --------
    >>> import bknb
    >>> "demo" in bknb.list_exchanges()
    True
    """
    return registry.exchanges.names()


def get_exchange(name: str) -> Exchange:
    """The exchange of that name.

    Examples
    --------
    >>> import bknb
    >>> bknb.get_exchange("demo").name
    'demo'
    """
    return registry.exchanges.get(name)


def list_frames() -> list[str]:
    """Names of the registered frames, in order of registration.

    Examples
    --------
    >>> import bknb
    >>> isinstance(bknb.list_frames(), list)
    True
    """
    return registry.frames.names()


def get_frame(name: str) -> Frame:
    """The frame of that name.

    Examples
    --------
    >>> import bknb
    >>> _ = bknb.add_frame("week", start="2024-01-01", end="2024-01-08")
    >>> bknb.get_frame("week").interval
    '1m'
    """
    return registry.frames.get(name)


def list_risks() -> list[str]:
    """Names of the registered risk profiles, in order of registration.

    Examples
    --------
    >>> import bknb
    >>> isinstance(bknb.list_risks(), list)
    True
    """
    return registry.risks.names()


def get_risk(name: str) -> Risk:
    """The risk profile of that name.

    Examples
    --------
    >>> import bknb
    >>> _ = bknb.add_risk("open", validations=[])
    >>> bknb.get_risk("open").validations
    ()
    """
    return registry.risks.get(name)
