"""What a trade entered after each candle would have made: labels for a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from ..config import get_config
from ..domain.costs import Costs, with_settings
from ..domain.exit_validation import broken_trailing
from ..domain.fills_at_stops_and_gaps import ExecutionName, execution_model
from ..domain.interval import MINUTE_MS
from ..domain.percent_levels import percent_fault
from ..domain.signal import sign_of
from ..domain.text import shown
from ..domain.tick_grid import tick_numbers
from ..domain.whole_number import whole_number
from ..engine.filling_minutes import minutes_that_fill
from ..errors import UsageError
from ..kernels.declared_exit_loop import Exits
from ..kernels.random_trades import LEVELS, Declared, FillRules, Minutes, Shapes, minutes_of
from ..kernels.random_trades import outcomes as outcomes_of
from ..market.candles import Candles
from ..market.candles_of_one_symbol import prices_of
from ..market.measured_bar_length import length_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..config import Settings
    from ..domain.declared_exits import Trailing
    from ..domain.fills_at_stops_and_gaps import ExecutionModel
    from ..domain.signal import Position

Side: TypeAlias = Literal["long", "short", 1, -1]

_FOREVER: Final = 2**40  # candles
_NO_FRAME: Final = 2**62  # UTC ms
_SIDES: Final[dict[object, Position]] = {"long": "long", "short": "short", 1: "long", -1: "short"}
_NOT_IN_PERCENT: Final = ("maker", "fixed", "spread", "half_spread", "overshoot", "funding", "borrow_yearly")


def outcomes(
    candles: Candles,
    *,
    position: Side,
    stop_percent: float | None = None,
    target_percent: float | None = None,
    bars: int | None = None,
    trailing: Trailing | None = None,
    costs: Costs | None = None,
    execution: ExecutionName = "pessimistic",
) -> NDArray[np.float64]:
    """Return the net result in percent of a market order after each candle, shape (n,): labels for a model.

    Each is what a backtest over these candles as base bars makes of that trade alone, to the last bit: the order is
    decided at the close of the candle and fills as ``execution`` says, by default at the open of the next candle that
    traded. NaN where the candles end before the trade does, and where it never fills. A value for a candle looks at
    candles behind it: it is known once its trade has ended, and no input of a decision at that candle.

    Levels count from the price that is paid. No trade is refused, however near its levels are, and none is kept from
    entering by another that is open.

    Parameters
    ----------
    candles
        Of any interval, oldest first, such as ``ctx.candles("1h", 2000)``. There may be holes.
    position
        ``"long"`` or ``"short"``; or 1 or -1.
    stop_percent, target_percent, trailing
        As of ``bknb.Signal``.
    bars
        After how many of these candles the trade is closed at the market, that of the entry included. Of one-minute
        candles each minute counts, as for ``bknb.Signal``, of longer ones those that are there.
    costs
        ``bknb.Costs`` with ``taker`` and ``slippage`` as numbers; what is not given is that of the settings.
    execution
        As of ``bknb.backtest``: ``"pessimistic"``, ``"touch"``, or over one-minute candles without a hole ``"vwap"``.

    Returns
    -------
    ndarray of float64, shape (n,)
        Percent of what the entry cost, after fees and slippage of both sides.

    Raises
    ------
    UsageError
        For a number that cannot be, prices at or below zero, costs that are not percentages of a fill, or where nothing
        ends a trade.
    MissingDependency
        Without numba.

    Examples
    --------
    >>> import bknb
    >>> prices = [100, 100, 104, 99, 99]
    >>> rows = [(hour * 3_600_000, price, price, price, price, 5.0) for hour, price in enumerate(prices)]
    >>> candles = bknb.Candles.from_rows(rows)
    >>> free = bknb.Costs(taker=0, slippage=0)
    >>> bknb.outcomes(candles, position="long", target_percent=2, bars=2, costs=free).tolist()
    [4.0, -4.807692307692308, nan, nan, nan]
    """
    side, model = _read_side(position), execution_model(execution)
    sign = sign_of(side)
    _check_candles(candles)
    _check_exits(side, stop_percent, target_percent, bars, trailing)
    settings = get_config()
    if len(candles) == 0:
        return np.zeros(0)
    minutes = _with_end(candles, model, settings)
    rules = FillRules(
        *(model.fills_at_open, model.watches == "average", model.trades_through, model.stop_first, model.gap_fills),
        _NO_FRAME,
        *_percentages(costs, settings),
        *tick_numbers(settings.price_tick),
    )
    target = sign * np.inf if target_percent is None else 1 + sign * target_percent / 100
    stop = -sign * np.inf if stop_percent is None else 1 + -sign * stop_percent / 100
    longest = _FOREVER if bars is None else bars
    shapes = Shapes(np.array([sign]), np.array([target]), np.array([stop]), np.array([longest]))
    starts = np.arange(1, len(candles) + 1)[None]
    declared = None if trailing is None else _declared(trailing, settings.price_tick)
    asked = (minutes, rules, shapes, np.zeros_like(starts), starts, declared)
    found: NDArray[np.float64] = outcomes_of(*asked, purpose="bknb.outcomes").reshape(-1)
    return found


def _read_side(position: object) -> Position:
    try:
        return _SIDES[position]
    except (KeyError, TypeError):
        text = f"position of outcomes must be 'long' or 'short', or 1 or -1, got {shown(position, 60)}"
        raise UsageError(f"{text}\nask for each side on its own") from None


def _check_candles(candles: object) -> None:
    if not isinstance(candles, Candles):
        got = type(candles).__name__
        raise UsageError(f"outcomes takes candles such as ctx.candles('1h', 2000), got {got}\nsee bknb.Candles")
    if len(candles) and not candles.low.min() > 0:
        raise UsageError(
            f"outcomes are percentages of the entry and need prices above 0; the lowest here is {candles.low.min():g}"
        )
    if len(candles) > 1 and not (np.diff(candles.timestamp) > 0).all():
        raise UsageError("outcomes takes candles in the order of their time, each once, oldest first")


def _check_exits(
    side: Position, stop_percent: object, target_percent: object, bars: int | None, trailing: Trailing | None
) -> None:
    """Refuse exits that cannot be, and trades that nothing ends."""
    if all(given is None for given in (stop_percent, target_percent, bars, trailing)):
        raise UsageError(
            "nothing ends these trades, so that none has an outcome\n"
            "give stop_percent, target_percent, bars or trailing, such as outcomes(candles, position='long', bars=24)"
        )
    for name, percent in (("stop_percent", stop_percent), ("target_percent", target_percent)):
        if isinstance(percent, Sequence) and not isinstance(percent, str):
            raise UsageError(f"outcomes knows one {name}, got a ladder: {shown(percent, 60)}\ngive a number")
        if percent is not None and (fault := percent_fault(name, percent, side)) is not None:
            raise UsageError(fault.text)
    if bars is not None:
        whole_number("bars", bars, least=1)
    if trailing is not None and (faults := broken_trailing(trailing, sign=sign_of(side), price=None, what="")):
        raise UsageError(faults[0].text)


def _percentages(costs: Costs | None, settings: Settings) -> tuple[float, float]:
    """Slippage and fee of each side, in percent."""
    if costs is not None and not isinstance(costs, Costs):
        text = f"costs of outcomes must be bknb.Costs(taker=…, slippage=…) or None, got {shown(costs, 60)}"
        raise UsageError(f"{text}\nNone takes those of the settings")
    full = with_settings(costs, settings)
    if costs is not None:
        plain = Costs()
        given = [name for name in _NOT_IN_PERCENT if getattr(costs, name) != getattr(plain, name)]
        given += [name for name in ("taker", "slippage") if callable(getattr(full, name))]
        if given:
            raise UsageError(
                f"outcomes knows taker and slippage of Costs as numbers, got {', '.join(given)} too\n"
                "they depend on the size, the moment or the kind of a fill: leave them out, or backtest with a capital"
            )
    assert not callable(full.slippage)  # noqa: S101
    assert not callable(full.taker)  # noqa: S101
    assert full.slippage is not None  # of the settings  # noqa: S101
    assert full.taker is not None  # noqa: S101
    return float(full.slippage), float(full.taker)  # of a whole number loops would be compiled anew


def _with_end(candles: Candles, model: ExecutionModel, settings: Settings) -> Minutes:
    """The candles, and a last one without any price: what has not ended there has the result NaN.

    Times of candles longer than a minute are replaced by their numbers, a minute each: so deadlines count candles.
    """
    count, times = len(candles), candles.timestamp
    step = int(np.diff(times).min()) if count > 1 else MINUTE_MS
    is_longer = step > MINUTE_MS
    if is_longer and not model.fills_at_open:
        text = f"execution {model.name!r} needs 1m candles, and these are of {length_name(step)}"
        raise UsageError(f"{text}\nchoose execution='pessimistic' or 'touch'")
    if not model.fills_at_open and count > 1 and int(times[-1] - times[0]) != (count - 1) * MINUTE_MS:
        text = f"execution {model.name!r} needs each minute, and some are missing between the first and the last"
        raise UsageError(f"{text}\nchoose execution='pessimistic' or 'touch'")
    shown_times = np.arange(count + 1) * MINUTE_MS if is_longer else np.append(times, times[-1] + MINUTE_MS)
    prices = np.full((4, count + 1), np.nan)
    prices[:, :count] = candles.block[1:5]
    average = np.append(prices_of(candles, step, settings.avg_price_candles_count), np.nan)
    fills = np.append(minutes_that_fill(candles, model), np.False_)
    for array in (shown_times, prices):  # as of candles: the loop is compiled for one type of array
        array.setflags(write=False)
    return minutes_of(shown_times, prices, average, fills, watches_average=model.watches == "average")


def _declared(trailing: Trailing, tick: float | None) -> Declared:
    none, nothing, no = np.full(1, np.nan), np.zeros(1), np.zeros(1, dtype=np.bool_)
    percent, after = np.array([trailing.percent or 0.0]), np.array([float(trailing.after)])
    levels = (none,) * LEVELS
    exits = Exits(no, no, percent, after, none, levels, levels, *tick_numbers(tick))
    return Declared(exits, nothing, np.array([trailing.distance or 0.0]), np.ones(1))
