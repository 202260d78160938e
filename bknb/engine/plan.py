"""The plan of a backtest: names and values of a call, checked and resolved."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from ..config import Settings, changed, get_config
from ..domain.fills_at_stops_and_gaps import execution_model
from ..domain.formatting import utc_text
from ..domain.interval import INTERVAL_MS, MINUTE, WEEK, ceil_to, interval_ms
from ..domain.text import text_fault
from ..errors import UsageError
from ..events.messages import RunLabels
from ..market.feed import Feed
from ..market.measured_bar_length import base_of, check_made_of, longer_than
from ..market.source_hours import bar_grid_of
from ..market.system_clock import SystemClock
from ..market.window import Window
from ..ports import CandleSource
from .registration_checks import rebuilt
from .registry import Exchange, Frame, Strategy, registry
from .resolve import resolve_exchange, resolve_frame, resolve_strategy, says_no_interval
from .strategy_checks import over_bars_of

if TYPE_CHECKING:
    from ..domain.schedules import Schedule
    from ..market.shifted_bar_grid import BarGrid
    from .account_plan import AccountPlan

Stopping: TypeAlias = Literal["", "entries", "now"]
PAUSE_POLL_SECONDS: Final = 0.02  # what is paused checks this often whether it goes on


class Plan(msgspec.Struct, frozen=True):
    """Everything a backtest needs, resolved."""

    symbol: str
    strategy: Strategy
    exchange: Exchange
    frame: Frame
    execution: str
    settings: Settings
    allow_gaps: bool = False
    base: str = MINUTE  # the interval of the candles that fill orders
    longer_bases: tuple[str, ...] = ()  # that may fill them where those of ``base`` begin too late; none once chosen
    why_base: str = ""  # why ``base`` was chosen, where the finest begin too late
    asked_at_bars: bool = False  # whether its strategy is asked at each base bar, as it says no interval
    notes: tuple[str, ...] = ()  # what was decided about the frame
    given: tuple[str, ...] = ()  # what the call gave itself: "interval", "execution", "setting percent_fee"
    account: AccountPlan | None = None  # of this run alone; legs of a portfolio share that of the portfolio
    benchmark: object | None = None  # of this run alone: a symbol, or a series of prices
    series: Mapping[str, Any] | None = None  # the point-in-time series of a sweep; None: those that are registered
    symbols: tuple[str, ...] = ()  # of all legs of its strategy, in the order of the alphabet; empty: it has one

    def labels(self) -> RunLabels:
        """Symbol, strategy, exchange and frame by name, as the events of the run carry them."""
        return RunLabels(
            symbol=self.symbol, strategy=self.strategy.name, exchange=self.exchange.name, frame=self.frame.name
        )


def open_window(plan: Plan, *, warn: Callable[[str], object]) -> Window:
    """The candles of a run, still to be loaded; runs over the same frame of the same exchange may share them."""
    return Window(
        Feed(
            plan.exchange.source,
            plan.settings,
            allow_gaps=plan.allow_gaps,
            warn=warn,
            now=SystemClock().now,
            whole_until=plan.frame.last,
        ),
        horizon=plan.frame.last + 2 * interval_ms(plan.base),
        base=plan.base,
        on_candles=plan.exchange.callbacks.get("on_candle_data"),
        why_base=plan.why_base,
    )


StrategyLike: TypeAlias = str | Strategy | Callable[..., Any]


ExchangeLike: TypeAlias = str | Exchange | CandleSource | Callable[..., Any]


FrameLike: TypeAlias = str | Frame | tuple[object, object]


def plan_backtest(
    symbol: str,
    strategy: StrategyLike,
    exchange: ExchangeLike,
    frame: FrameLike,
    interval: str | None = None,
    execution: str | None = None,
    settings: Settings | dict[str, Any] | None = None,
    *,
    at: Schedule | str | None = None,
    allow_gaps: bool = False,
    base: str | None = None,
    params: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan of a backtest, with every name resolved.

    Parameters
    ----------
    params
        Parameters of the strategy, over those it was registered with.
    at
        The moments at which the strategy is asked; ``None``: as it says.
    base
        The interval of the bars that fill orders; ``None``: the finest the exchange has, or where these do not cover
        frame and look-back, longer ones that do (:mod:`bknb.engine.base_that_covers`).

    Raises
    ------
    UnknownName
        A name is not registered.
    UsageError
        Something cannot be done with the base bars of the exchange: an interval finer than they are, execution
        ``vwap``.
    """
    sys.audit("bknb.run", "a run over history")  # refused in statements that a look-ahead check runs again
    resolved = resolve_exchange(exchange)
    given_base, base = base, chosen_base(base, resolved)
    chosen = resolve_strategy(strategy, interval=interval, at=at, default=base)
    if params is not None:
        if not isinstance(params, Mapping):
            raise UsageError(f"params must be a mapping such as {{'fast': 10}}, got {type(params).__name__}")
        from .registration_checks import with_params  # few runs give them

        chosen = with_params(chosen, params)
    if chosen.risk is not None:
        registry.risks.get(chosen.risk)
    call = (("interval", interval), ("at", at), ("execution", execution), ("base", given_base))
    given = [name for name, value in call if value is not None]
    model = execution_model(execution or chosen.execution).name
    asked = resolve_frame(frame)
    chosen = over_bars_of(base, chosen)
    if base != MINUTE:
        check_on_base(base, chosen, model, resolved.name)
    if chosen.weights is not None:
        from ..market.runs_refused_for_negative_prices import check_above_zero  # an ordinary run has signals

        check_above_zero(resolved.source, resolved.name, "a strategy of weights")
    span = over_bars(asked, base, resolved.source, checked_symbol(symbol))
    longer = longer_than(base, resolved.source) if given_base is None else ()
    return Plan(
        symbol=checked_symbol(symbol),
        strategy=chosen,
        exchange=resolved,
        frame=span,
        execution=model,
        settings=on_exchange(chosen_settings(settings), resolved, symbol),
        allow_gaps=allow_gaps,
        base=base,
        longer_bases=longer,
        asked_at_bars=bool(longer) and interval is None and at is None and says_no_interval(strategy),
        notes=_moved(asked, span, base),
        given=(*given, *_given_settings(settings)),
    )


def over_longer(plan: Plan, base: str) -> Plan:
    """The plan over longer base bars than it was made for, as if they had been given.

    Raises
    ------
    UsageError
        Something cannot be done with them.

    Examples
    --------
    >>> plan = plan_backtest("BTCUSDT", lambda: None, "demo", ("2024-01-01", "2024-02-01"), "4h")
    >>> longer = over_longer(plan, "1h")
    >>> longer.base, longer.strategy.interval, "base" in longer.given
    ('1h', '4h', True)
    """
    strategy = rebuilt(plan.strategy, interval=base) if plan.asked_at_bars else plan.strategy
    strategy = over_bars_of(base, strategy)
    check_on_base(base, strategy, plan.execution, plan.exchange.name)
    span = over_bars(plan.frame, base, plan.exchange.source, plan.symbol)
    return msgspec.structs.replace(
        plan,
        strategy=strategy,
        frame=span,
        base=base,
        longer_bases=tuple(each for each in plan.longer_bases if interval_ms(each) > interval_ms(base)),
        notes=(*plan.notes, *_moved(plan.frame, span, base)),
        given=tuple(dict.fromkeys((*plan.given, "base"))),
    )


def chosen_base(given: str | None, exchange: Exchange) -> str:
    """The interval of the base bars of a run, once it is clear that the exchange has them or what makes them."""
    finest = base_of(exchange.source)
    if given is None or given == finest:
        return finest
    if given == WEEK:
        raise UsageError(
            f"base={given!r}: {exchange.name!r} has {finest} bars, which tell more than weeks made of them\n"
            "leave base= out, or base='1d'; at='mon' asks once a week, and ctx.candles('1w', 12) are its weeks"
        )
    try:
        check_made_of(given, finest, (finest,), exchange.name)
    except UsageError as error:
        raise UsageError(f"base={given!r}: {error}") from None
    return given


def on_base(frame: Frame, base: str) -> Frame:
    """The frame over moments at which a base bar ends: it begins with the first of them.

    Examples
    --------
    >>> on_base(Frame(None, 3_600_000, 259_200_000, "1m"), "1d")
    Frame(name=None, start=86400000, end=259200000, interval='1d')
    """
    step = interval_ms(base)
    start = ceil_to(frame.start, step)
    if start > frame.end:
        raise UsageError(f"in the frame {frame} no bar of {base} ends\nchoose a longer frame, or take finer data")
    interval = base if interval_ms(frame.interval) % step else frame.interval
    return msgspec.structs.replace(frame, start=start, interval=interval)


def over_bars(frame: Frame, base: str, source: CandleSource, symbol: str) -> Frame:
    """The frame as a run over the base bars of a symbol has it: from and to where they may open or close.

    Examples
    --------
    >>> from bknb.exchanges import demo
    >>> over_bars(Frame(None, 3_600_001, 259_200_000, "1m"), "1h", demo(), "BTCUSDT").start
    7200000
    """
    if base == MINUTE:
        return frame
    grid = bar_grid_of(source, symbol)
    return on_base(frame, base) if grid is None else _on_grid(frame, base, grid)


def _on_grid(frame: Frame, base: str, grid: BarGrid) -> Frame:
    """The frame over bars that do not open at multiples of their length: it ends where a bar may open or close.

    One that begins within a bar begins with its end; one that begins while the market is closed stays as it is.
    """
    step = interval_ms(base)
    bar, closes = grid.floor(frame.start, step), grid.after(frame.start, step)
    if bar < frame.start and (not grid.in_sessions or grid.open_part(((bar, closes),), step)):
        frame = msgspec.structs.replace(frame, start=closes)
    end = max(grid.floor(frame.end, step), frame.start)
    interval = MINUTE if interval_ms(frame.interval) <= step else frame.interval
    return msgspec.structs.replace(frame, end=end, interval=interval)


def _moved(given: Frame, frame: Frame, base: str) -> tuple[str, ...]:
    if given.start == frame.start:
        return ()
    return (f"the frame begins at {utc_text(frame.start)}, where the first {base} bar in it ends",)


def check_on_base(base: str, strategy: Strategy, execution: str, exchange: str) -> None:
    """Raise ``UsageError`` for what cannot be done with base bars longer than a minute."""
    if strategy.at is not None or strategy.manage_at is not None:
        from .scheduled_questions import check_fine_enough

        for what, schedule in (("at", strategy.at), ("manage_at", strategy.manage_at)):
            if schedule is not None:
                check_fine_enough(schedule, what, base, interval_ms(base), ())
    used = (each if isinstance(each, str) else each[1] for each in strategy.uses)
    beside = (("uses", interval) for interval in used if interval in INTERVAL_MS and interval != WEEK)
    own = (("interval", strategy.interval), ("manage_interval", strategy.manage_interval))
    for what, interval in (*own, *beside):
        try:
            check_made_of(interval or base, base, (base,), exchange)
        except UsageError as error:
            raise UsageError(f"strategy {strategy.name!r}, {what} {interval}: {error}") from None
    if execution == "vwap":
        raise UsageError(
            f"execution 'vwap' fills at the average of the last minutes and needs 1m candles, and exchange "
            f"{exchange!r} has {base} bars\nchoose execution='pessimistic' or 'touch'"
        )


def checked_symbol(symbol: object) -> str:
    """The symbol, when it is a text."""
    if isinstance(symbol, str) and symbol:
        fault = text_fault(symbol)
        if fault is None:
            return symbol
        raise UsageError(f"symbol {symbol!a:.80} cannot be a symbol: {fault}\ngive one such as 'BTCUSDT'")
    raise UsageError(f"symbol must be a non-empty text such as 'BTCUSDT', got {symbol!r}")


def chosen_settings(settings: object) -> Settings:
    """The settings of a run: those that hold, with what the run changes."""
    if settings is None:
        return get_config()
    if isinstance(settings, dict):
        return changed(get_config(), settings)
    if isinstance(settings, Settings):
        return changed(settings, {})
    raise UsageError(f"settings must be a mapping of settings or bknb.Settings, got {settings!r:.80}")


def on_exchange(settings: Settings, exchange: Exchange, symbol: str) -> Settings:
    """The settings of a run with the tick of its exchange, where the run does not set one itself."""
    tick = exchange.tick_of(symbol)
    if tick is None or settings.price_tick is not None:
        return settings
    return changed(settings, {"price_tick": float(tick)})


def _given_settings(settings: object) -> list[str]:
    """Which settings a call chose itself, as a run card names them."""
    if isinstance(settings, dict):
        return [f"setting {name}" for name in settings]
    if not isinstance(settings, Settings):
        return []
    now = get_config()
    names = Settings.__struct_fields__
    return [f"setting {name}" for name in names if getattr(settings, name) != getattr(now, name)]
