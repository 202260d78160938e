"""Vectorised strategies: ``get_signals(candles)`` answers for all candles at once, one row per candle.

A row belongs to its candle and is acted on when that candle has closed: row ``[t, t + interval)`` at ``t + interval``,
by the day in a market with sessions when the next session opens.
It may depend on its own candle and the ``lookback - 1`` before it. Live asks with exactly these candles and takes the
last row; a backtest asks once over everything and looks rows up. That both are the same is a property of the user's
function, so a backtest compares a sample of rows and says where they differ.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from msgspec.structs import replace

from ..domain.formatting import utc_text
from ..domain.interval import MINUTE_MS, interval_ms
from ..domain.manage_answers import Close
from ..domain.text import named_error
from ..errors import BknbError, NotEnoughData, StrategyError, UsageError
from ..market.rows_asked import RowsAsked, rows_asked
from ..user_code import where_it_failed
from .call_by_name import Manage, managing_by_name, named, takes_others

if TYPE_CHECKING:
    from ..domain.position_seen_by_manage import HeldPosition
    from ..market.candles import Candles
    from ..market.candles_beside_rows import Used
    from ..market.newest_series_rows import ReadSeries
    from ..market.strategy_context import Context
    from ..market.window import Window
    from .get_signals_candles import RowCandles
    from .get_signals_columns import RowAnswer, SignalRows
    from .plan import Plan
    from .records import Records
    from .registry import Strategy

DEFAULT_LOOKBACK: Final = 500
"""Candles a row may depend on, by default."""

_SAMPLES: Final = 12  # rows that a backtest compares with what live would have seen
_ROUNDED: Final = 1e-3  # so far, relatively, sums of many 32-bit floats may be off
_OF_32_BITS: Final = ", 32-bit floats"
_SAME: Final = 1e-6  # prices nearer than this, relatively, are the same: recursive averages depend on their start


def is_vectorised(function: Callable[..., Any]) -> bool:
    """Whether a function is a ``get_signals``: its first parameter is called ``candles``.

    Examples
    --------
    >>> is_vectorised(lambda candles, fast=10: None), is_vectorised(lambda ctx: None)
    (True, False)
    """
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return False
    return bool(parameters) and parameters[0] == "candles"


def signal_rows(
    strategy: Strategy, candles: Candles, params: Mapping[str, Any] | None = None, *, asked: RowsAsked | None = None
) -> SignalRows:
    """The rows of a vectorised strategy over these candles; row ``i`` belongs to candle ``i``.

    ``params`` go over the strategy's own; ``asked`` says from where it reads point-in-time series.

    Raises
    ------
    UsageError
        When the answer is no table of one row per candle.
    StrategyError
        When the function itself raises.
    """
    assert strategy.get_signals is not None  # the caller looked  # noqa: S101
    token = rows_asked.set(asked)
    try:
        chosen = named(strategy.get_signals, {**strategy.params, **(params or {})})
        answer = strategy.get_signals(candles, **_others(strategy.get_signals, candles, asked), **chosen)
    except BknbError:
        raise
    except Exception as error:
        where = where_it_failed(error)
        raise StrategyError(
            f"get_signals of {strategy.name!r} failed{f' at {where}' if where else ''}\n{named_error(error)}"
        ) from error
    finally:
        rows_asked.reset(token)
    from .get_signals_columns import read_rows

    weights = strategy.tolerance is not None
    return read_rows(answer, len(candles), strategy.name, times=candles.timestamp, weights=weights)


def _others(get_signals: Callable[..., Any], candles: Candles, asked: RowsAsked | None) -> dict[str, Any]:
    """What a ``get_signals`` is given beside its candles."""
    if asked is None or not takes_others(get_signals):
        return {}
    closes = asked.closes.of(candles.timestamp)
    assert closes is not None  # they are those of the strategy  # noqa: S101
    return {"others": asked.beside.others(closes)}


class Windowed:
    """``get_signals`` asked about the newest ``lookback`` candles: its last row is what it answers.

    Parameters
    ----------
    get_signals, params
        The function, and values for its parameters.
    name, interval, lookback
        Of the strategy.
    manage, manage_interval
        What the strategy has besides: it is asked where no row leaves.
    weights
        Whether rows are weights: the last one is answered as ``get_weight`` would.
    uses
        The candles it reads beside its own.

    Attributes
    ----------
    leaves : bool or None
        Whether it returns columns that say where to leave; ``None`` before its first answer.
    ask_manage
        Closes a position where the last row says so, else asks ``manage``.
    """

    def __init__(
        self,
        get_signals: Callable[..., Any],
        *,
        name: str,
        interval: str,
        lookback: int,
        params: Mapping[str, Any],
        manage: Callable[..., Any] | None = None,
        manage_interval: str | None = None,
        weights: bool = False,
        uses: tuple[Used, ...] = (),
    ) -> None:
        self._uses = uses
        self._get_signals, self._params = get_signals, named(get_signals, params)
        self._name, self._interval, self._lookback = name, interval, lookback
        self._manage_interval, self._weights = manage_interval, weights
        self.leaves: bool | None = None
        self.ask_manage = _leaving(self._leaves, manage, params)

    def get_signal(self, ctx: Context) -> RowAnswer:
        """The last row as a signal, or as a weight."""
        return self._rows(ctx, _newest(ctx, self._interval, self._lookback)).answer(-1)

    def _rows(self, ctx: Context, candles: Candles) -> SignalRows:
        from .get_signals_columns import read_rows

        asked = self._asked(ctx)
        token = rows_asked.set(asked)
        try:
            answer = self._get_signals(candles, **_others(self._get_signals, candles, asked), **self._params)
        finally:
            rows_asked.reset(token)
        rows = read_rows(answer, len(candles), self._name, times=candles.timestamp, weights=self._weights)
        if self._weights:
            return rows
        self.leaves = leaving_rows(rows, self._name, self._interval, self._manage_interval)
        return rows

    def _asked(self, ctx: Context) -> RowsAsked:
        from ..market.candles_beside_rows import asked_by  # few runs have rows

        return asked_by(ctx, self._interval, self._uses, self._lookback)

    def _leaves(self, ctx: Context, position: HeldPosition) -> bool:
        if position.opened_at is None or self.leaves is False:
            return False
        candles = _newest(ctx, self._interval, self._lookback)
        exits = self._rows(ctx, candles).exits
        if exits is None or not exits.leaves_at(-1, position.side):
            return False
        closes = self._asked(ctx).closes.of(candles.timestamp[-1:])
        return closes is not None and _is_later(int(closes[0]), position)


def leaving_rows(rows: SignalRows, name: str, interval: str, manage_interval: str | None) -> bool:
    """Whether rows say where to leave.

    Raises
    ------
    UsageError
        When the strategy would be asked too seldom to act on all of them.
    """
    if rows.exits is None or not rows.exits.leaves:
        return False
    if manage_interval is not None and interval_ms(manage_interval) > interval_ms(interval):
        raise UsageError(
            f"strategy {name!r}: exit_long and exit_short of get_signals act at every slot of its interval "
            f"{interval}, and manage_interval {manage_interval} asks less often\n"
            f"leave manage_interval out, or give one of at most {interval}"
        )
    return True


def _is_later(closed_at: int, position: HeldPosition) -> bool:
    """Whether a row whose candle closed at a moment (UTC ms) is later than the fill of the entry was known."""
    assert position.opened_at is not None  # the caller looked  # noqa: S101
    return closed_at >= round(position.opened_at.timestamp() * 1000) + MINUTE_MS


def _leaving(
    leaves: Callable[[Context, HeldPosition], bool], manage: Callable[..., Any] | None, params: Mapping[str, Any]
) -> Manage:
    """A ``manage`` that closes where a row leaves, and else asks that of the user."""
    if manage is None:
        return lambda ctx, position: _close(position) if leaves(ctx, position) else None
    ask = managing_by_name(manage, params)
    if inspect.iscoroutinefunction(manage):

        async def ask_later(ctx: Context, position: HeldPosition) -> Any:
            return _close(position) if leaves(ctx, position) else await ask(ctx, position)

        return ask_later
    return lambda ctx, position: _close(position) if leaves(ctx, position) else ask(ctx, position)


def _close(position: HeldPosition) -> Close:
    return Close(note=f"exit_{position.side}")


def _newest(ctx: Context, interval: str, lookback: int) -> Candles:
    try:
        return ctx.candles(interval, lookback)
    except NotEnoughData as error:
        if not error.available:
            raise
        return ctx.candles(interval, error.available)  # near the beginning of the data a row sees what there is


class LookedUp:
    """Rows computed once, answered by moment as a windowed ``get_signal`` would.

    Parameters
    ----------
    rows
        One per candle.
    candles
        The candles of the strategy's interval, and when they close.
    """

    def __init__(self, rows: SignalRows, candles: RowCandles) -> None:
        self._rows = rows
        self._closed, self._closes = candles.closed, candles.closes
        self._active = rows.position != 0 if rows.weight is None else rows.acts

    def __call__(self, ctx: Context) -> RowAnswer:
        """The row of the newest candle that has closed at the moment of the question."""
        row = self._row(ctx)
        return self._rows.answer(row) if self._active[row] else None

    def _row(self, ctx: Context) -> int:
        last = self._closed(ctx.when_ms)
        count = len(self._rows)
        if last <= 0 or last > count:
            where = "has not begun" if last <= 0 else "has ended"
            raise NotEnoughData(f"the data {where} at {utc_text(ctx.when_ms)}: no candle closes then")
        return last - 1

    def looked_up_by(self, strategy: Strategy) -> Strategy:
        """The strategy with these rows for answers, also about what is open."""
        if strategy.tolerance is None:
            return replace(strategy, get_signal=self, ask=self, ask_manage=self.managing(strategy))
        from .weight_questions import weight_asks  # few strategies answer with weights

        ask, manage = weight_asks(self, strategy.tolerance)
        return replace(strategy, get_signal=self, ask=ask, ask_manage=manage)

    def managing(self, strategy: Strategy) -> Manage | None:
        """What asks about an open position: the rows, where they say where to leave, then the strategy's ``manage``."""
        if leaving_rows(self._rows, strategy.name, strategy.interval, strategy.manage_interval):
            return _leaving(self._leaves, strategy.manage, strategy.params)
        return None if strategy.manage is None else managing_by_name(strategy.manage, strategy.params)

    def _leaves(self, ctx: Context, position: HeldPosition) -> bool:
        exits = self._rows.exits
        if position.opened_at is None or exits is None:
            return False
        row = self._row(ctx)
        return _is_later(int(self._closes[row]), position) and exits.leaves_at(row, position.side)


def unsteady_rows(
    strategy: Strategy, rows: SignalRows, candles: Candles, first: int, *, asked: RowsAsked | None = None
) -> str | None:
    """Whether some rows change when they are computed on their own ``lookback`` candles only, and what that means.

    Compares a few rows from ``first`` on: the first, the last and some in between that want a position.
    """
    where = _sampled(rows, first)
    differing: list[tuple[int, str]] = []
    for row in where:
        begin = max(0, row + 1 - strategy.lookback)
        try:
            how = _difference(rows, row, signal_rows(strategy, candles[begin : row + 1].copy(), asked=asked))
        except BknbError as error:
            how = f"{error.lines()[-1]}, with {row + 1 - begin} candles"
        if how is not None:
            differing.append((row, how))
    if not differing:
        return None
    row, how = differing[0]
    moment = utc_text(int(candles.timestamp[row]))
    why = "get_signals looks ahead, or needs a longer lookback"
    if how.endswith(_OF_32_BITS):
        why = "sums of these depend on where they begin; compute with 64-bit floats, which candles have"
    return (
        f"{len(differing)} of {len(where)} sampled rows of {strategy.name!r} change when only the "
        f"{strategy.lookback} candles up to them are known, the first at {moment} ({how}): {why}; live would not trade "
        f"as this backtest did"
    )


def _sampled(rows: SignalRows, first: int) -> list[int]:
    count = len(rows)
    if count <= first:
        return []
    wanting = np.flatnonzero(rows.acts[first:]) + first
    picks: Any = wanting[np.linspace(0, len(wanting) - 1, _SAMPLES - 4).astype(np.int64)] if len(wanting) else []
    even = np.linspace(first, count - 1, 4).astype(np.int64)
    return sorted({*map(int, picks), *map(int, even)})


def _difference(rows: SignalRows, row: int, alone: SignalRows) -> str | None:
    for side in ("long", "short"):
        here, there = (
            one.exits is not None and one.exits.leaves_at(at, side) for one, at in ((rows, row), (alone, -1))
        )
        if here != there:
            return f"exit_{side} {here} against {there}"
    position, other_position = int(rows.position[row]), int(alone.position[-1])
    if position != other_position:
        return f"position {position} against {other_position}"
    if position == 0 and rows.weight is None:
        return None
    if bool(rows.stop_entry[row]) != bool(alone.stop_entry[-1]):
        return "stop_entry differs"
    others = alone.numbers()
    for column, values in rows.numbers().items():
        one = float(values[row])
        other = float(others[column][-1]) if column in others else math.nan
        near = _SAME if column == "weight" else 0.0
        if not (math.isclose(one, other, rel_tol=_SAME, abs_tol=near) or (math.isnan(one) and math.isnan(other))):
            return f"{column} {one:.8g} against {other:.8g}{_OF_32_BITS if _are_of_32_bits(one, other) else ''}"
    return None


def _are_of_32_bits(one: float, other: float) -> bool:
    """Whether two numbers that are nearly the same came from 32-bit floats: others have more binary digits, or few."""
    pair = (one, other)
    if not (math.isclose(*pair, rel_tol=_ROUNDED) and max(map(abs, pair)) < 2**100):
        return False
    return all(float(np.float32(x)) == x for x in pair) and not all((x * 4096).is_integer() for x in pair)


async def looked_up(window: Window, plan: Plan, published: ReadSeries, records: Records) -> LookedUp | None:
    """The rows of a run, computed once over everything it will see; ``None``: its strategy has none."""
    strategy = plan.strategy
    if strategy.get_signals is None:
        return None
    from .get_signals_candles import row_candles  # few runs have rows

    given = await row_candles(window, strategy, plan.symbol, plan.frame.start)
    asked = given.asked(published, plan.symbol, lambda: window, strategy, records.indicators)
    rows = signal_rows(strategy, given.candles, asked=asked)
    first = given.known_at(plan.frame.start)
    if (warning := unsteady_rows(strategy, rows, given.candles, first, asked=asked)) is not None:
        records.warnings.append(warning)
    return LookedUp(rows, given)
