"""The compiled loops of a sweep, made before workers need them: compiled once, or read from the cache on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from ..domain.interval import MINUTE, MINUTE_MS
from ..engine.plan import Plan, chosen_settings
from ..engine.registration_checks import make_strategy
from ..engine.registry import Exchange, Frame
from ..kernels import simulate as kernel
from ..market.candles import Candles
from .evaluate_combination import Evaluator
from .prepared_candles import Prepared

if TYPE_CHECKING:
    from ..engine.registry import Strategy

Loop: TypeAlias = Literal["signals", "exits", "orders", "weights"]
"""The loop of one entry with prices, of declared exits, of several entries, levels in percent and sizes, of weights."""

_ROWS: Final = 8
_SLOT: Final = "15m"
_IDLE: Final[dict[str, Any]] = {
    "position": 0, "price_take_profit": 1.0, "price_stop_loss": 1.0, "minute_estimated_time": 1,
}  # fmt: skip
_COLUMNS: Final[dict[Loop, dict[str, Any]]] = {
    "signals": _IDLE,
    "exits": {**_IDLE, "exit_long": False},
    "orders": {**_IDLE, "size": np.nan},
    "weights": {"weight": np.nan},
}


def loop_of(strategy: Strategy, *, declares: bool, has_orders: bool) -> Loop:
    """The loop that rows of a strategy go through; ``declares``: exits, ``has_orders``: entries, percent and sizes."""
    if strategy.tolerance is not None:
        return "weights"
    return "orders" if has_orders else "exits" if declares else "signals"


def compile_loops(loop: Loop) -> None:
    """Have a loop in memory, by evaluating rows that want nothing; where it was never compiled, it is so now.

    Examples
    --------
    >>> compile_loops("signals")
    """
    columns, tolerance = _COLUMNS[loop], 0.0 if loop == "weights" else None
    idle = make_strategy("idle", interval=_SLOT, get_signals=lambda candles: columns, tolerance=tolerance)  # noqa: ARG005 -- as it is asked
    times = np.arange(15 * _ROWS, dtype=np.int64) * MINUTE_MS
    flat = np.ones(len(times))
    market = kernel.Market(
        times, flat, flat, flat, flat, flat > 0, regular=True, ready=np.zeros(0, dtype=bool), last_close=1.0, close=flat
    )
    none = np.zeros(0, dtype=np.int64)
    candles = Candles.from_rows([(int(each), 1, 1, 1, 1, 1) for each in times[::15]])
    closes = candles.timestamp + 15 * MINUTE_MS
    prepared = Prepared("IDLE", market, candles, closes, kernel.Days(none, none, none), "")
    frame = Frame(None, 0, int(times[-1]), MINUTE)
    plan = Plan("IDLE", idle, Exchange("idle", None), frame, "pessimistic", chosen_settings(None), series={})  # type: ignore[arg-type]  # nothing is fetched
    Evaluator(plan, prepared).evaluate({})
