"""The plan of a backtest: names and values of a call, checked and resolved."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ..config import Settings, changed, get_config
from ..domain.execution import execution_model
from ..domain.interval import MINUTE_MS
from ..domain.text import text_fault
from ..errors import UsageError
from ..events.messages import RunLabels
from ..market.clock import SystemClock
from ..market.feed import Feed
from ..market.window import Window
from ..ports import CandleSource
from .lookup import get_risk
from .registry import Exchange, Frame, Strategy
from .resolve import resolve_exchange, resolve_frame, resolve_strategy

Stopping: TypeAlias = Literal["", "entries", "now"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a backtest needs, resolved."""

    symbol: str
    strategy: Strategy
    exchange: Exchange
    frame: Frame
    execution: str
    settings: Settings
    allow_gaps: bool = False
    given: tuple[str, ...] = ()  # what the call gave itself: "interval", "execution", "setting percent_fee"

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
        horizon=plan.frame.last + 2 * MINUTE_MS,
        on_candles=plan.exchange.callbacks.get("on_candle_data"),
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
    allow_gaps: bool = False,
) -> Plan:
    """The plan of a backtest, with every name resolved; ``UnknownName`` for one that is not registered."""
    sys.audit("bknb.run", "a run over history")  # refused in statements that a look-ahead check runs again
    chosen = resolve_strategy(strategy, interval=interval)
    if chosen.risk is not None:
        get_risk(chosen.risk)
    given = [name for name, value in (("interval", interval), ("execution", execution)) if value is not None]
    resolved = resolve_exchange(exchange)
    return Plan(
        symbol=checked_symbol(symbol),
        strategy=chosen,
        exchange=resolved,
        frame=resolve_frame(frame),
        execution=execution_model(execution or chosen.execution).name,
        settings=on_exchange(chosen_settings(settings), resolved, symbol),
        allow_gaps=allow_gaps,
        given=(*given, *_given_settings(settings)),
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
