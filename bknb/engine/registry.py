"""Exchanges, strategies, frames and risk profiles, registered by name and wired when a run starts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Generic, Literal, TypeVar, overload

from ..domain.execution import execution_model
from ..domain.interval import MINUTE_MS, floor_to, interval_ms
from ..errors import UnknownName, UsageError
from ..log import log
from ..market.function import FunctionSource
from ..ports import CandleSource
from .asking import Ask, asker

AnyFunction = Callable[..., Any]
F = TypeVar("F", bound=AnyFunction)

STRATEGY_CALLBACKS = (
    "on_tick",
    "on_idle",
    "on_schedule",
    "on_open",
    "on_active",
    "on_close",
    "on_cancel",
    "on_reject",
    "on_partial_profit",
    "on_partial_loss",
)
RISK_CALLBACKS = ("on_allowed", "on_rejected")
EXCHANGE_CALLBACKS = ("on_candle_data",)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A registered source of candles."""

    name: str
    source: CandleSource
    callbacks: Mapping[str, AnyFunction] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Strategy:
    """A registered strategy: a function, how often it is asked, and how its signals are executed."""

    name: str
    interval: str
    get_signal: AnyFunction
    ask: Ask
    risk: str | None = None
    execution: str = "pessimistic"
    callbacks: Mapping[str, AnyFunction] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Frame:
    """A stretch of time: the moments ``start, start + interval, …`` up to and including ``end`` (UTC ms)."""

    name: str | None
    start: int
    end: int
    interval: str = "1m"

    @property
    def last(self) -> int:
        """The last moment of the frame, UTC ms."""
        return self.end - (self.end - self.start) % interval_ms(self.interval)

    def __str__(self) -> str:
        span = f"{_text(self.start)} .. {_text(self.end)} UTC"
        return f"{self.name} ({span})" if self.name else span


@dataclass(frozen=True, slots=True)
class Validation:
    """One rule of a risk profile; it refuses by raising, or by returning a text or False."""

    validate: AnyFunction
    note: str = ""


@dataclass(frozen=True, slots=True)
class Risk:
    """A registered risk profile: rules that every candidate must pass, in order."""

    name: str
    validations: tuple[Validation, ...]
    callbacks: Mapping[str, AnyFunction] = field(default_factory=dict)


T = TypeVar("T", Exchange, Strategy, Frame, Risk)


class Shelf(Generic[T]):
    """The registered things of one kind, in order of registration."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.items: dict[str, T] = {}
        self.built_in: dict[str, Callable[[], T]] = {}

    def add(self, name: str, item: T, *, strict: bool) -> T:
        """Put it on the shelf; an item of that name is replaced, and a notice says so."""
        if name in self.items:
            if strict:
                raise UsageError(
                    f"a {self.kind} called {name!r} exists already\nchoose another name, or leave out strict=True"
                )
            registry.notice(f"{self.kind} {name!r} replaced")
        self.items[name] = item
        return item

    def get(self, name: str) -> T:
        """The item of that name, or ``UnknownName`` with the known ones and the nearest."""
        if name in self.items:
            return self.items[name]
        if name in self.built_in:
            return self.built_in[name]()
        raise UnknownName(self.kind, name, known=self.names())

    def names(self) -> list[str]:
        """All names, registered and built in."""
        return [*self.items, *(name for name in self.built_in if name not in self.items)]


class Registry:
    """Everything registered in this process."""

    def __init__(self) -> None:
        self.exchanges: Shelf[Exchange] = Shelf("exchange")
        self.strategies: Shelf[Strategy] = Shelf("strategy")
        self.frames: Shelf[Frame] = Shelf("frame")
        self.risks: Shelf[Risk] = Shelf("risk")
        self.notice: Callable[[str], None] = log.info

    def _shelves(self) -> tuple[Shelf[Any], ...]:
        return (self.exchanges, self.strategies, self.frames, self.risks)

    def snapshot(self) -> list[dict[str, Any]]:
        """What is registered now, for ``restore``."""
        return [dict(shelf.items) for shelf in self._shelves()]

    def restore(self, snapshot: list[dict[str, Any]]) -> None:
        """Bring a snapshot back."""
        for shelf, items in zip(self._shelves(), snapshot, strict=True):
            shelf.items = dict(items)


registry = Registry()


# --- adding -----------------------------------------------------------------------------------------------------


def _name(kind: str, name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"the name of a {kind} must be a non-empty text, got {name!r}")
    return name


def _callbacks(kind: str, callbacks: Mapping[str, AnyFunction] | None, known: Iterable[str]) -> dict[str, AnyFunction]:
    chosen = dict(callbacks or {})
    for name, function in chosen.items():
        if name not in known:
            raise UnknownName("callback", name, known=known)
        if not callable(function):
            raise UsageError(f"callback {name} of a {kind} must be a function, got {function!r}")
    return chosen


def as_source(name: str, get_candles: object, **formats: Any) -> CandleSource:
    """A ready-made source as it is, a function wrapped as one."""
    if isinstance(get_candles, CandleSource):
        return get_candles
    if callable(get_candles):
        return FunctionSource(get_candles, name=name, **formats)
    raise UsageError(
        f"get_candles must be a function (symbol, interval, since, limit) or a source such as "
        f"bknb.exchanges.demo(), got {get_candles!r:.80}"
    )


@overload
def add_exchange(
    name: str,
    *,
    get_candles: AnyFunction | CandleSource,
    format_price: AnyFunction | None = None,
    format_quantity: AnyFunction | None = None,
    intervals: Iterable[str] | None = None,
    callbacks: Mapping[str, AnyFunction] | None = None,
    strict: bool = False,
) -> Exchange: ...
@overload
def add_exchange(
    name: str,
    *,
    get_candles: None = None,
    format_price: AnyFunction | None = None,
    format_quantity: AnyFunction | None = None,
    intervals: Iterable[str] | None = None,
    callbacks: Mapping[str, AnyFunction] | None = None,
    strict: bool = False,
) -> Callable[[F], F]: ...
def add_exchange(
    name: str,
    *,
    get_candles: AnyFunction | CandleSource | None = None,
    format_price: AnyFunction | None = None,
    format_quantity: AnyFunction | None = None,
    intervals: Iterable[str] | None = None,
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
        Intervals the function answers itself; others are resampled from its one-minute candles. ``None``: any.
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
    _name("exchange", name)
    chosen = _callbacks("exchange", callbacks, EXCHANGE_CALLBACKS)

    def register(function: AnyFunction | CandleSource) -> Exchange:
        source = as_source(
            name,
            function,
            format_price=format_price,
            format_quantity=format_quantity,
            intervals=None if intervals is None else tuple(intervals),
        )
        return registry.exchanges.add(name, Exchange(name, source, chosen), strict=strict)

    if get_candles is not None:
        return register(get_candles)

    def decorate(function: F) -> F:
        register(function)
        return function

    return decorate


def make_strategy(
    name: str,
    get_signal: AnyFunction,
    *,
    interval: str,
    risk: str | None = None,
    execution: str = "pessimistic",
    callbacks: Mapping[str, AnyFunction] | None = None,
) -> Strategy:
    """A checked strategy that is not registered (yet)."""
    interval_ms(interval)
    execution_model(execution)
    if not callable(get_signal):
        raise UsageError(f"get_signal of strategy {name!r} must be a function, got {get_signal!r:.80}")
    return Strategy(
        name=_name("strategy", name),
        interval=interval,
        get_signal=get_signal,
        ask=asker(get_signal),
        risk=risk,
        execution=execution,
        callbacks=_callbacks("strategy", callbacks, STRATEGY_CALLBACKS),
    )


@overload
def add_strategy(
    name: str,
    *,
    interval: str,
    get_signal: AnyFunction,
    risk: str | None = None,
    execution: str = "pessimistic",
    callbacks: Mapping[str, AnyFunction] | None = None,
    strict: bool = False,
) -> Strategy: ...
@overload
def add_strategy(
    name: str,
    *,
    interval: str,
    get_signal: None = None,
    risk: str | None = None,
    execution: str = "pessimistic",
    callbacks: Mapping[str, AnyFunction] | None = None,
    strict: bool = False,
) -> Callable[[F], F]: ...
def add_strategy(
    name: str,
    *,
    interval: str,
    get_signal: AnyFunction | None = None,
    risk: str | None = None,
    execution: str = "pessimistic",
    callbacks: Mapping[str, AnyFunction] | None = None,
    strict: bool = False,
) -> Strategy | Callable[[F], F]:
    """Register a strategy; without ``get_signal`` it is a decorator.

    Parameters
    ----------
    name
        The name runs, reports and files use.
    interval
        The strategy is asked at most once per slot of this interval.
    get_signal
        A function that asks for what it wants by parameter name, any of ``ctx``, ``symbol``, ``when``, ``price``;
        sync or async; it returns ``None`` or a ``bknb.Signal``.
    risk
        Name of a registered risk profile.
    execution
        ``"pessimistic"``, ``"touch"`` or ``"vwap"``.
    callbacks
        Functions by name (``on_open``, ``on_close``, …), each called with the event.
    strict
        Refuse to replace a strategy of that name.

    Examples
    --------
    >>> import bknb
    >>> bknb.add_strategy("patient", interval="1h", get_signal=lambda: None).interval
    '1h'
    """

    def register(function: AnyFunction) -> Strategy:
        made = make_strategy(name, function, interval=interval, risk=risk, execution=execution, callbacks=callbacks)
        return registry.strategies.add(name, made, strict=strict)

    if get_signal is not None:
        return register(get_signal)
    interval_ms(interval)
    execution_model(execution)

    def decorate(function: F) -> F:
        register(function)
        return function

    return decorate


def strategy(
    name: str,
    *,
    interval: str,
    risk: str | None = None,
    execution: str = "pessimistic",
    callbacks: Mapping[str, AnyFunction] | None = None,
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
    return add_strategy(name, interval=interval, risk=risk, execution=execution, callbacks=callbacks, strict=strict)


def as_moment(value: object, what: str = "a moment") -> int:
    """A text, date, datetime or number as UTC milliseconds; what has no time zone is UTC."""
    if isinstance(value, bool):
        pass
    elif isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    elif isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return round(aware.timestamp() * 1000)
    elif isinstance(value, date):
        return round(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp() * 1000)
    elif isinstance(value, str):
        try:
            return as_moment(datetime.fromisoformat(value.strip()))
        except ValueError:
            pass
    elif hasattr(value, "item"):
        import numpy as np

        if isinstance(value, np.datetime64):
            return int(value.astype("datetime64[ms]").astype(np.int64))
        return as_moment(value.item(), what)
    raise UsageError(
        f"{what} must be a text such as '2024-01-31' or '2024-01-31 12:00', a date, a datetime or UTC ms, got {value!r}"
    )


def make_frame(name: str | None, start: object, end: object, interval: str = "1m") -> Frame:
    """A checked frame that is not registered (yet); the start is floored to a minute."""
    interval_ms(interval)
    first = floor_to(as_moment(start, "start"), MINUTE_MS)
    last = as_moment(end, "end")
    if last < first:
        raise UsageError(f"a frame cannot end before it starts: start {_text(first)}, end {_text(last)} UTC")
    return Frame(name, first, last, interval)


def _text(when: int) -> str:
    return f"{datetime.fromtimestamp(when / 1000, UTC):%Y-%m-%d %H:%M}"


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
    return registry.frames.add(_name("frame", name), make_frame(name, start, end, interval), strict=strict)


def _validation(item: object) -> Validation:
    if isinstance(item, Validation):
        return item
    if isinstance(item, Mapping) and callable(item.get("validate")):
        return Validation(item["validate"], str(item.get("note", "")))
    if callable(item):
        note = (inspect.getdoc(item) or "").split("\n")[0]
        return Validation(item, note)
    raise UsageError(
        f"each validation must be a function (request), or a mapping with 'validate' and 'note'\ngot {item!r:.80}"
    )


@overload
def add_risk(
    name: str,
    *,
    validations: Iterable[object] | AnyFunction,
    callbacks: Mapping[str, AnyFunction] | None = None,
    strict: bool = False,
) -> Risk: ...
@overload
def add_risk(
    name: str,
    *,
    validations: None = None,
    callbacks: Mapping[str, AnyFunction] | None = None,
    strict: bool = False,
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
    _name("risk", name)
    chosen = _callbacks("risk", callbacks, RISK_CALLBACKS)

    def register(items: Iterable[object] | AnyFunction) -> Risk:
        if isinstance(items, (str, bytes)) or not (callable(items) or isinstance(items, Iterable)):
            raise UsageError(f"validations must be a list of functions, got {items!r:.80}")
        rules = [items] if callable(items) else list(items)
        risk = Risk(name, tuple(_validation(item) for item in rules), chosen)
        return registry.risks.add(name, risk, strict=strict)

    if validations is not None:
        return register(validations)

    def decorate(function: F) -> F:
        register(function)
        return function

    return decorate


# --- looking up -------------------------------------------------------------------------------------------------


def list_exchanges() -> list[str]:
    """Names of the exchanges that can be used.

    Examples
    --------
    >>> import bknb
    >>> "demo" in bknb.list_exchanges()
    True
    """
    return registry.exchanges.names()


def list_strategies() -> list[str]:
    """Names of the registered strategies, in order of registration.

    Examples
    --------
    >>> import bknb
    >>> isinstance(bknb.list_strategies(), list)
    True
    """
    return registry.strategies.names()


def list_frames() -> list[str]:
    """Names of the registered frames, in order of registration.

    Examples
    --------
    >>> import bknb
    >>> isinstance(bknb.list_frames(), list)
    True
    """
    return registry.frames.names()


def list_risks() -> list[str]:
    """Names of the registered risk profiles, in order of registration.

    Examples
    --------
    >>> import bknb
    >>> isinstance(bknb.list_risks(), list)
    True
    """
    return registry.risks.names()


def get_exchange(name: str) -> Exchange:
    """The exchange of that name.

    Examples
    --------
    >>> import bknb
    >>> bknb.get_exchange("demo").name
    'demo'
    """
    return registry.exchanges.get(name)


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


# --- what a run accepts -----------------------------------------------------------------------------------------


def resolve_exchange(exchange: str | Exchange | CandleSource | AnyFunction) -> Exchange:
    """A name, an exchange, a source or a function as an exchange."""
    if isinstance(exchange, str):
        return registry.exchanges.get(exchange)
    if isinstance(exchange, Exchange):
        return exchange
    name = getattr(exchange, "name", None) or getattr(exchange, "__name__", "exchange")
    return Exchange(str(name), as_source(str(name), exchange))


def resolve_strategy(chosen: str | Strategy | AnyFunction, *, interval: str | None = None) -> Strategy:
    """A name, a strategy or a function as a strategy; ``interval`` is for functions (default ``"1m"``)."""
    if isinstance(chosen, str):
        chosen = registry.strategies.get(chosen)
    if isinstance(chosen, Strategy):
        if interval is None or interval == chosen.interval:
            return chosen
        from dataclasses import replace

        interval_ms(interval)
        return replace(chosen, interval=interval)
    name = getattr(chosen, "__name__", type(chosen).__name__)
    return make_strategy(name, chosen, interval=interval or "1m")


def resolve_frame(frame: str | Frame | tuple[object, object]) -> Frame:
    """A name, a frame, a pair of moments, or ``"2022-01-01:2022-02-01"`` as a frame."""
    if isinstance(frame, Frame):
        return frame
    if isinstance(frame, str):
        if frame in registry.frames.items:
            return registry.frames.get(frame)
        start, separator, end = _split_span(frame)
        if separator:
            return make_frame(None, start, end)
        return registry.frames.get(frame)
    pair: object = frame
    if isinstance(pair, (tuple, list)) and len(pair) == 2:
        return make_frame(None, pair[0], pair[1])
    raise UsageError(f"a frame is a name, a pair (start, end), or 'start:end', got {frame!r:.80}")


def _split_span(text: str) -> tuple[str, Literal[":", ""], str]:
    """``"2022-01-01 10:00:2022-02-01"``: the colon between two moments is one that leaves two moments."""
    for at, letter in enumerate(text):
        if letter == ":":
            try:
                as_moment(text[:at])
                as_moment(text[at + 1 :])
            except UsageError:
                continue
            return text[:at], ":", text[at + 1 :]
    return text, "", ""
