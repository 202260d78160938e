"""The stops of the positions of a run over time: declared, moved, trailing, at break-even."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ..domain.fills_at_stops_and_gaps import Entry, ExecutionModel, Minute, execution_model
from ..domain.interval import interval_ms
from ..domain.market_clock_protocol import NEVER
from ..domain.signal import OpenSignal, ScheduledSignal, SignalKey, key_of, sign_of
from ..domain.signal_events import Closed, Moved, Opened, Scheduled
from ..domain.stop_history import StopStep, stop_path
from ..domain.trailing_and_breakeven_stops import StopInForce
from ..engine.filling_minutes import look_back_begin, minutes_that_fill
from ..market.candles_of_one_symbol import prices_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..market.candles import Candles
    from .run_record import RunRecord

STOP_COLUMNS: Final = ("signal_id", "at", "until", "price_stop_loss", "stop_reason")


class PositionStops(NamedTuple):
    """A position, the moment it ended at (UTC ms; that of the run while it is open), and its stops over time."""

    signal: OpenSignal
    until: int
    steps: tuple[StopStep, ...]


class _Market(NamedTuple):
    """Candles of a run with what its execution model goes by: prices it watches, and which candles can fill."""

    candles: Candles
    model: ExecutionModel
    averages: NDArray[np.float64] | None
    fills: NDArray[np.bool_]

    def best(self, sign: int, first: int, last: int) -> NDArray[np.float64]:
        """The favourable extreme of each candle, higher is better; minus infinity where it cannot fill."""
        if self.averages is not None:
            prices = sign * self.averages[first:last]
        else:
            prices = self.candles.high[first:last] if sign > 0 else -self.candles.low[first:last]
        return np.where(self.fills[first:last], prices, -np.inf)

    def minute(self, at: int) -> Minute:
        """One candle."""
        when, open_, high, low, close, _ = self.candles.block[:, at].tolist()
        average = close if self.averages is None else float(self.averages[at])
        return Minute(int(when), open_, high, low, close, average, bool(self.fills[at]))


def _market(record: RunRecord) -> _Market:
    model, settings = execution_model(record.plan.execution), record.plan.settings
    window = record.candles.window
    candles, count, step = record.candles.minutes, settings.avg_price_candles_count, interval_ms(record.plan.base)
    averages = None
    if model.watches == "average" and window is not None:
        averages = window.average_prices(record.plan.symbol)
    elif model.watches == "average":
        averages = prices_of(candles, step, count)
    begin = look_back_begin(candles, record.start, count if window is None else window.price_count, step)
    return _Market(candles, model, averages, minutes_that_fill(candles, model, begin=begin))


def stop_at(record: RunRecord, signal: OpenSignal | ScheduledSignal, when: int) -> StopInForce | None:
    """The stop of a position at a moment (UTC ms), before anything was decided then; ``None``: there was none."""
    for found in position_stops(record, only=key_of(signal), before=when):
        return [step.stop for step in found.steps if step.begin <= when or step is found.steps[0]][-1]
    return None


def position_stops(record: RunRecord, *, only: SignalKey | None = None, before: int = NEVER) -> Iterator[PositionStops]:
    """The positions of a run with their stops, in order of their entries.

    Left out are positions of which a live run does not hold everything any more: moves of the levels, or candles
    where the stop trailed. With ``only``, so are all but the one of that key, and with ``before`` moves from that
    moment (UTC ms) on.

    Raises
    ------
    DataError
        When its candles were released and cannot be read again.
    """
    ended = {key_of(event.signal): event.closed_at for event in record.records.closed}
    entries = (event.signal for event in record.records.events if isinstance(event, Opened))
    opened = [
        signal
        for signal in entries
        if only in (None, key_of(signal)) and key_of(signal) not in record.records.moves_dropped
    ]
    if not opened:
        return
    orders = {key_of(event.signal): event for event in record.records.events if isinstance(event, Scheduled)}
    moves: dict[SignalKey, list[Moved]] = defaultdict(list)
    for event in record.records.positions:
        if isinstance(event, Moved) and event.when < before:
            moves[key_of(event.signal)].append(event)
    market, tick, bar_end = _market(record), record.plan.settings.price_tick, _bar_end(record)
    for signal in opened:
        until = ended.get(key_of(signal), NEVER)
        mine = moves.get(key_of(signal), [])
        trails = signal.trailing is not None or any(move.trailing is not None for move in mine)
        if trails and record.mode == "live" and _is_forgotten(market.candles, signal.pending_at):
            continue
        bests = _bests(market, signal, orders.get(key_of(signal)), until) if trails else []
        steps = stop_path(signal, mine, bests, tick=tick, bar_end=bar_end)
        kept = tuple(step for step in steps if step.begin <= until)
        yield PositionStops(signal, min(until, max(record.last, kept[-1].begin)), kept)


def _bar_end(record: RunRecord) -> Callable[[int], int]:
    """Return what says when the bar that opens at a moment closes (UTC ms); live runs have no bars that end early."""
    step = interval_ms(record.plan.base)
    return (lambda opened: opened + step) if record.rules is None else record.rules.bar_end


def _is_forgotten(candles: Candles, moment: int) -> bool:
    return not len(candles) or int(candles.timestamp[0]) > moment


def _bests(market: _Market, signal: OpenSignal, order: Scheduled | None, until: int) -> list[tuple[int, float]]:
    """Open times of the candles after which the best price since the fill was another, with that price."""
    times, sign = market.candles.timestamp, sign_of(signal.position)
    first, last = (int(times.searchsorted(moment)) for moment in (signal.pending_at, until))
    seen = market.best(sign, first, last)
    if not len(seen):
        return []
    if not _counts_at_entry(market, signal, order, first):
        seen[0] = -np.inf
    best = np.maximum.accumulate(np.maximum(seen, sign * signal.price_open))
    grew = np.flatnonzero(np.diff(best, prepend=sign * signal.price_open) > 0)
    return list(zip(times[first + grew].tolist(), (sign * best[grew]).tolist(), strict=True))


def _counts_at_entry(market: _Market, signal: OpenSignal, order: Scheduled | None, at: int) -> bool:
    """Whether the favourable extreme of the candle of the entry came after the fill."""
    model, minute = market.model, market.minute(at)
    if signal.entry == "market" or (order is None and not model.fills_at_open):  # filled at the moment it was decided
        return True
    if order is None:
        at_open = signal.price_open == minute.open
    else:
        entry = model.entry(order.signal, minute, first=order.when == signal.pending_at)
        at_open = isinstance(entry, Entry) and entry.at_open
    return at_open or (model.fills_at_open and signal.entry == "stop")


def stop_rows(record: RunRecord) -> tuple[list[dict[str, Any]], int]:
    """Rows of :data:`STOP_COLUMNS`, moments in UTC ms; and how many positions are left out."""
    records, rows = record.records, []
    known = {key_of(event.signal) for event in records.events if isinstance(event, Opened | Closed)}
    left_out = len(known | {key_of(signal) for _, signal in records.held})
    for signal, until, steps in position_stops(record):
        left_out -= 1
        ends = [*(step.begin for step in steps[1:]), until]
        for step, end in zip(steps, ends, strict=True):
            if step.stop is not None:
                rows.append(
                    {
                        "signal_id": signal.id,
                        "at": step.begin,
                        "until": end,
                        "price_stop_loss": step.stop.price,
                        "stop_reason": step.stop.reason,
                    }
                )
    return rows, left_out
