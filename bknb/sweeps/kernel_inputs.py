"""What the compiled loops take of a plan and its candles: arrays of one type, and rules as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.fills_at_stops_and_gaps import execution_model
from ..domain.interval import DAY_MS, MINUTE, MINUTE_MS, WEEK, interval_ms
from ..domain.tick_grid import tick_ratio
from ..engine.column_values import EITHER_SIDE, constant
from ..engine.plan import Plan
from ..kernels import simulate as kernel
from ..kernels.entry_parts import PARTS
from ..kernels.row_orders import RowOrders
from .prepared_candles import Prepared

if TYPE_CHECKING:
    from ..engine.get_signals_columns import SignalRows

_EXACT: Final = 2**53  # whole numbers up to here are floats
CLOSE_CODES: Final = {text: code for code, text in kernel.REASONS.items() if code < kernel.FIRST_CANCEL}


def grid_of(plan: Plan, prepared: Prepared) -> kernel.Grid:
    """When the strategy of a plan can be asked; of weekly bars a slot of a day has one moment."""
    return kernel.Grid(
        plan.frame.start,
        interval_ms(plan.frame.interval),
        plan.frame.last,
        DAY_MS if plan.base == WEEK else interval_ms(plan.strategy.interval),
        plan.settings.avg_price_candles_count if plan.base == MINUTE else 1,
        *map(fixed, prepared.days),
    )


def fixed_market(prepared: Prepared) -> kernel.Market:
    """The base bars, with arrays of the one type that the compiled loops know."""
    given = prepared.market
    columns = ("times", "open", "high", "low", "average", "fills", "ready", "close")
    return given._replace(**{name: fixed(getattr(given, name)) for name in columns})


def is_exact(tick: float | None, market: kernel.Market) -> bool:
    """Whether floats hold every stop on the grid as a quotient of whole numbers: the compiled loop has nothing else."""
    if tick is None:
        return True
    unit, scale = tick_ratio(tick)
    highest = max(float(market.high.max(initial=0.0)), float(market.average.max(initial=0.0)))
    return max(unit, scale) < _EXACT and (2 * highest / tick + 1) * unit < _EXACT


def fixed(array: Any) -> Any:
    """Return a contiguous read-only view: the compiled loop is compiled for one array type only."""
    fixed = np.ascontiguousarray(array).view()
    fixed.setflags(write=False)
    return fixed


def row_orders(rows: SignalRows) -> RowOrders:
    """Several entries, levels in percent and sizes of rows that are on the tick grid, for the compiled loop."""
    none, entries, percents = fixed(constant(np.nan, len(rows))), rows.entries, rows.percents

    def of_sides(level: str) -> tuple[Any, ...]:
        if entries is None:
            return none, none
        return tuple(fixed(entries.levels(side)[level]) for side in ("long", "short"))

    return RowOrders(
        either=fixed(rows.position == EITHER_SIDE),
        levels=of_sides("price_open"),
        stops=of_sides("price_stop_loss"),
        targets=of_sides("price_take_profit"),
        parts=(none,) * PARTS if entries is None else tuple(map(fixed, entries.parts.values())),
        shares=(none,) * PARTS if entries is None else tuple(map(fixed, entries.shares.values())),
        stop_percent=none if percents is None else fixed(percents.stop_percent),
        target_percent=none if percents is None else fixed(percents.target_percent),
        size=none if percents is None else fixed(percents.size),
    )


def rule_numbers(plan: Plan) -> kernel.RuleNumbers:
    """The execution model and the settings of a plan, as numbers."""
    model, settings = execution_model(plan.execution), plan.settings
    return kernel.RuleNumbers(
        model.fills_at_open,
        model.watches == "average",
        model.trades_through,
        model.stop_first,
        model.gap_fills,
        model.fills_on_the_way,
        CLOSE_CODES[model.frame_end_close],
        kernel.TIMEOUT if model.frame_end_cancel == "timeout" else kernel.FRAME_END_CANCEL,
        max(settings.schedule_await_minutes * MINUTE_MS, interval_ms(plan.strategy.interval)),
        float(settings.percent_slippage),
        float(settings.percent_fee),
        float(settings.min_take_profit_distance_percent),
        float(settings.min_stop_loss_distance_percent),
        float(settings.max_stop_loss_distance_percent or np.inf),
        float(settings.max_signal_lifetime_minutes or np.inf),
    )
