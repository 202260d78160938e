"""The registry: exchanges, strategies, frames, risk profiles and more, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from ..domain.formatting import minute_text, with_article
from ..domain.interval import interval_ms
from ..domain.risk_request_and_verdict import WeightLimits
from ..domain.sizing_formulas import Sizing
from ..errors import UnknownName, UsageError
from ..log import log
from ..ports import CandleSource
from ..process import at_reset
from .call_by_name import Ask, Manage, defaults_of, parameters_of

if TYPE_CHECKING:
    from ..domain.quantity_step_and_least_amount import MarketLimits
    from ..domain.schedules import Schedule
    from ..market.candles_beside_rows import Used
    from ..market.strategy_context import Context
    from .get_signals_vectorised import Windowed

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
    "on_reduce",
    "on_add",
    "on_move",
)
RISK_CALLBACKS = ("on_allowed", "on_rejected")
EXCHANGE_CALLBACKS = ("on_candle_data",)
WALKER_CALLBACKS = ("on_strategy_start", "on_strategy_complete", "on_strategy_error", "on_complete")


class Exchange(msgspec.Struct, frozen=True):
    """A registered source of candles, and what its markets take, for all or by symbol.

    ``tick`` is the step of prices (quote currency), ``step`` that of quantities, ``least_quantity`` and ``least_value``
    (quote currency) are the least that an order may have; ``None``: unknown.
    """

    name: str
    source: CandleSource
    callbacks: Mapping[str, AnyFunction] = msgspec.field(default_factory=dict)
    tick: float | Mapping[str, float] | None = None
    step: float | Mapping[str, float] | None = None
    least_quantity: float | Mapping[str, float] | None = None
    least_value: float | Mapping[str, float] | None = None

    def tick_of(self, symbol: str) -> float | None:
        """The step of a symbol's prices (quote currency); ``None``: unknown."""
        return _of_symbol(self.tick, symbol)

    def limits_of(self, symbol: str) -> MarketLimits:
        """What the market of a symbol takes of quantities; 0 where it is unknown."""
        from ..domain.quantity_step_and_least_amount import MarketLimits  # runs with a capital alone ask

        given = {name: _of_symbol(getattr(self, name), symbol) or 0.0 for name in MarketLimits.__struct_fields__}
        return MarketLimits(**given)


def _of_symbol(given: float | Mapping[str, float] | None, symbol: str) -> float | None:
    return given.get(symbol) if isinstance(given, Mapping) else given


class Strategy(msgspec.Struct, frozen=True):
    """A registered strategy: a function, how often it is asked, and how its signals are executed.

    A vectorised strategy has ``get_signals`` too; its ``get_signal`` and ``ask`` compute it on the newest ``lookback``
    candles and take the last row. ``params`` are already bound in ``ask``. ``manage`` is asked, by
    ``ask_manage``, about what is open or waits, once per slot of ``manage_interval``; columns of a vectorised one that
    say where to leave are asked so, too. With ``at`` it is asked at the moments of a schedule, in place of slots of
    ``interval``; with ``late`` also after one that has passed. ``manage_at`` is the same for ``manage``.
    One with a ``tolerance`` answers with weights: its ``get_signal`` is a ``get_weight``; ``ask_manage`` asks it, too.
    With ``reenter`` what was ended by a level, by liquidation or by hand is entered again at the next answer.
    One with ``symbols`` answers for all of them at once, in a portfolio, with ``PortfolioWeights`` of its legs;
    with ``together`` they are opened and left together, and ``cash_buffer_percent`` of the equity stay free.
    ``places`` says how many of its signals may wait or be open at a time, each with a lifecycle of its own.
    ``uses`` are candles that a ``get_signals`` reads beside its own: an interval of its symbol, or symbol and interval.
    """

    name: str
    interval: str
    get_signal: AnyFunction
    ask: Ask
    risk: str | None = None
    execution: str = "pessimistic"
    callbacks: Mapping[str, AnyFunction] = msgspec.field(default_factory=dict)
    get_signals: AnyFunction | None = None
    params: Mapping[str, Any] = msgspec.field(default_factory=dict)
    lookback: int = 0
    manage: AnyFunction | None = None
    ask_manage: Manage | None = None
    manage_interval: str | None = None
    at: Schedule | None = None
    late: bool = False
    manage_at: Schedule | None = None
    tolerance: float | None = None
    reenter: bool = False
    together: bool = False
    cash_buffer_percent: float = 0.0
    symbols: tuple[str, ...] = ()
    portfolio_weights: Any = None
    places: int = 1
    uses: tuple[Used, ...] = ()

    def register(self) -> None:
        """Register it under its name, in place of another one of that name.

        Examples
        --------
        >>> import bknb
        >>> first = bknb.add_strategy("again", interval="1h", get_signal=lambda: None)
        >>> _ = bknb.add_strategy("again", interval="4h", get_signal=lambda: None)
        >>> first.register()
        >>> bknb.get_strategy("again").interval
        '1h'
        """
        registry.strategies.add(self.name, self, strict=False)

    @property
    def parameters(self) -> dict[str, Any]:
        """Its parameters by name: what it was given in ``params=`` over the defaults of its function and ``manage``.

        Examples
        --------
        >>> import bknb
        >>> trend = bknb.add_strategy("trend", interval="1h", get_signal=lambda ctx, fast=5, slow=20: None)
        >>> trend.parameters
        {'fast': 5, 'slow': 20}
        """
        return parameters_of(self.get_signals or self.get_signal, self.manage, self.params)

    @property
    def defaults(self) -> dict[str, Any]:
        """Its parameters where nothing is given in ``params=``, but for those of which ``manage`` has another default.

        Examples
        --------
        >>> import bknb
        >>> trend = bknb.add_strategy("trend", interval="1h", get_signal=lambda fast=5: None, params={"fast": 8})
        >>> trend.defaults
        {'fast': 5}
        """
        return defaults_of(self.get_signals or self.get_signal, self.manage)

    @property
    def weights(self) -> WeightLimits | None:
        """What a run without a capital allows of weights; ``None``: it answers with signals."""
        return None if self.tolerance is None else WeightLimits(reenter=self.reenter)

    @property
    def manages(self) -> bool:
        """Whether it is asked about what is open; a vectorised strategy that has not answered yet may be."""
        if self.get_signals is not None and self.manage is None:
            rows: Windowed | None = getattr(self.get_signal, "__self__", None)  # ``None``: they are looked up
            if rows is not None and rows.leaves is False:
                return False
        return self.ask_manage is not None

    @property
    def manages_every(self) -> str:
        """The interval at which ``manage`` is asked, where it has no schedule."""
        return self.manage_interval or self.interval

    @property
    def manages_at(self) -> Schedule | None:
        """The schedule by which ``manage`` is asked; ``None``: once per slot of :attr:`manages_every`."""
        return self.at if self.manage_at is None and self.manage_interval is None else self.manage_at

    @property
    def zone(self) -> str | None:
        """The time zone of times of the day that name none: that of its schedule; ``None``: that of its market."""
        named = (each.clock_zone for each in (self.at, self.manage_at) if each is not None)
        return next((zone for zone in named if zone is not None), None)

    @property
    def asked(self) -> str:
        """When it is asked, as words: ``"every 15m"``, ``"at session_open+30m"``."""
        return f"every {self.interval}" if self.at is None else f"at {self.at}"


class Frame(msgspec.Struct, frozen=True):
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
        span = f"{minute_text(self.start)} .. {minute_text(self.end)} UTC"
        return f"{self.name} ({span})" if self.name else span


class Validation(msgspec.Struct, frozen=True):
    """One rule of a risk profile; it refuses by raising, or by returning a text or False."""

    validate: AnyFunction
    note: str = ""


class Risk(msgspec.Struct, frozen=True):
    """A registered risk profile: rules that every candidate must pass, in order."""

    name: str
    validations: tuple[Validation, ...]
    callbacks: Mapping[str, AnyFunction] = msgspec.field(default_factory=dict)


class WalkerSpec(msgspec.Struct, frozen=True):
    """Strategies to compare over one frame; what is named is looked up when the comparison starts."""

    name: str
    exchange: Any
    frame: Any
    strategies: tuple[Any, ...]
    metric: str = "sharpe_ratio"
    callbacks: Mapping[str, AnyFunction] = msgspec.field(default_factory=dict)


T = TypeVar("T")


class Table(Generic[T]):
    """The registered items of one kind, in order of registration."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.items: dict[str, T] = {}
        self.built_in: dict[str, Callable[[], T]] = {}

    def add(self, name: str, item: T, *, strict: bool) -> T:
        """Add an item; one of that name is replaced, and a notice says so."""
        self.refuse_second(name, strict=strict)
        if name in self.items:
            log.info("%s %r replaced", self.kind, name)
        self.items[name] = item
        return item

    def refuse_second(self, name: str, *, strict: bool) -> None:
        """Raise ``UsageError`` when ``strict`` and there is an item of that name already."""
        if strict and name in self.items:
            raise UsageError(
                f"{with_article(self.kind)} called {name!r} exists already\n"
                "choose another name, or leave out strict=True"
            )

    def replace_all(self, items: Mapping[str, T]) -> None:
        """Register exactly these items."""
        self.items = dict(items)

    def get(self, name: str) -> T:
        """The item of that name, or ``UnknownName`` with the known ones and the nearest."""
        given: object = name
        if isinstance(given, str):
            if given in self.items:
                return self.items[given]
            if given in self.built_in:
                return self.built_in[given]()
        raise UnknownName(self.kind, name, known=self.names())

    def names(self) -> list[str]:
        """All names, registered and built in."""
        return [*self.items, *(name for name in self.built_in if name not in self.items)]


def _demo() -> Exchange:
    from ..market.demo import DemoSource

    return Exchange("demo", DemoSource())


class Snapshot(NamedTuple):
    """The registered items of each table, and the middleware, at one moment."""

    items: tuple[dict[str, Any], ...]
    middleware: tuple[Callable[[Exchange], Exchange], ...]


class Registry:
    """Everything registered in this process.

    Attributes
    ----------
    exchanges, strategies, frames, risks, walkers, sizings, optimizers, series, models
        What was registered, by name. The last three are typed where they are made: nothing here runs them.
    sizing_callbacks
        ``on_calculate`` of sizings that have one, by name.
    middleware
        Functions applied in order to every exchange before a run uses it, for example to replace or record candles.
    """

    def __init__(self) -> None:
        self.exchanges: Table[Exchange] = Table("exchange")
        self.exchanges.built_in["demo"] = _demo
        self.strategies: Table[Strategy] = Table("strategy")
        self.frames: Table[Frame] = Table("frame")
        self.risks: Table[Risk] = Table("risk")
        self.walkers: Table[WalkerSpec] = Table("walker")
        self.sizings: Table[Sizing] = Table("sizing")
        self.sizing_callbacks: Table[AnyFunction] = Table("sizing callback")
        self.optimizers: Table[Any] = Table("optimizer")
        self.series: Table[Any] = Table("series")
        self.models: Table[Any] = Table("model")
        self.middleware: list[Callable[[Exchange], Exchange]] = []

    def _tables(self) -> list[Table[Any]]:
        return [each for each in vars(self).values() if isinstance(each, Table)]

    def snapshot(self) -> Snapshot:
        """What is registered now, for ``restore``."""
        return Snapshot(tuple(dict(table.items) for table in self._tables()), tuple(self.middleware))

    def restore(self, snapshot: Snapshot) -> None:
        """Bring a snapshot back."""
        for table, items in zip(self._tables(), snapshot.items, strict=True):
            table.replace_all(items)
        self.middleware[:] = snapshot.middleware


registry = Registry()


def ask_model(context: Context, name: str) -> Any:
    """What ``ctx.model(name)`` gives of the registered models."""
    from ..market.fitted_models import model_in_use  # few strategies have one

    return model_in_use(context, name, registry.models.get)


_EMPTY: Final = registry.snapshot()


@at_reset
def _empty_again() -> None:
    registry.restore(_EMPTY)
