"""Fills and moved levels of managed positions as rows of text, and how many there were."""

from __future__ import annotations

from typing import Any, Final

from ..domain.formatting import level_text, minute_text, price_text
from ..domain.market_on_close_orders import HELD_OVER
from ..domain.signal_events import AddCancelled, Added, Closed, Moved, Opened, Reduced

STEP_COLUMNS: Final = ("Time", "Signal ID", "What", "Share", "Price", "Reason", "Note")
TRADE_COLUMNS: Final = ("Fills", "Average entry")
"""Columns that the trade table of a managed run has more."""


def step_rows(result: Any) -> tuple[tuple[str, ...], ...]:
    """Every fill and every move of levels in order of time; the price of a move is the stop that is in force then."""
    fills = result.fills
    rows: list[tuple[float, int, tuple[str, ...]]] = [
        (at.timestamp(), 0, (minute_text(at), signal, kind, f"{share:.6g}", price_text(price), reason, _one_line(note)))
        for at, signal, kind, share, price, reason, note in zip(
            *(fills[name] for name in ("at", "signal_id", "kind", "share", "price", "reason", "note")), strict=True
        )
    ]
    rows += [(event.when / 1000, 1, _event_row(event)) for event in result.position_events if _is_told(event)]
    return tuple(row for *_, row in sorted(rows, key=lambda row: row[:2]))


def _is_told(event: Any) -> bool:
    return isinstance(event, Moved | AddCancelled)


def _event_row(event: Moved | AddCancelled) -> tuple[str, ...]:
    when, signal = minute_text(event.when), event.signal.id
    if isinstance(event, AddCancelled):
        price = level_text(event.price_open)
        return (when, signal, "add taken back", f"{event.share:.6g}", price, event.reason, _one_line(event.note))
    return (when, signal, "levels moved", "", level_text(event.price_stop_loss), event.reason, "")


def without_stop(result: Any) -> tuple[str, ...]:
    """A remark that positions were opened without a stop; empty where each had one."""
    opened = [event.signal for event in result.events if isinstance(event, Opened)]
    bare = sum(
        signal.price_stop_loss is None and (signal.trailing is None or signal.trailing.after > 0) for signal in opened
    )
    if not bare:
        return ()
    were = "was" if bare == 1 else "were"
    return (
        f"no stop: {bare:,} of {len(opened):,} positions {were} opened without one, so nothing limits a loss there",
    )


def without_way_out(result: Any) -> tuple[str, ...]:
    """A remark that nothing ends positions which go well, and what would; empty where something does."""
    record = result.run_record
    if record.manages:
        return ()
    opened = [event.signal for event in result.events if isinstance(event, Opened)]
    ends = ("price_take_profit", "minute_estimated_time", "trailing", "until", "bars")
    bare = sum(not any(getattr(signal, name) for name in ends) for signal in opened)
    if not bare:
        return ()
    had = f"{bare:,} of {len(opened):,} positions had no target, no deadline and no trailing stop"
    rows = record.plan.strategy.get_signals is not None
    asks = "rows of get_signals open positions and turn none round" if rows else "get_signal is not asked meanwhile"
    columns = "columns exit_long and exit_short close a position, and " if rows else ""
    how = "manage(ctx, position) can return bknb.Close(), or [bknb.Close(), bknb.Signal(...)] to turn round"
    told = f"no way out of a gain: {had}, and {asks}, so a signal of the other side changes nothing; {columns}{how}"
    return (told,)


def at_the_close(result: Any) -> tuple[str, ...]:
    """A remark that the close of a session's last candle is not the price of an auction; empty where none filled."""
    ends = {event.signal.id for event in result.events if isinstance(event, Opened) and event.signal.entry == "close"}
    ends |= {
        event.signal.id
        for event in result.events
        if isinstance(event, Closed)
        and event.signal.until == "session_end"
        and event.close_reason == "time_expired"
        and HELD_OVER not in event.note
    }
    ends |= _closed_at_a_close(result)
    if not ends:
        return ()
    text = f"at the close: {len(ends):,} positions were opened or closed for the close of a session"
    return (f"{text}; they fill at the close of its last candle, and the price of a closing auction may be another",)


def held_over(result: Any) -> tuple[str, ...]:
    """A remark that positions to be out at a close were held over it; empty where none was."""
    held = sum(isinstance(event, Closed) and HELD_OVER in event.note for event in result.events)
    if not held:
        return ()
    positions = "1 position that was" if held == 1 else f"{held:,} positions that were"
    return (f"over the close: {positions} to be out at a session's close left later: no candle could fill that order",)


def _closed_at_a_close(result: Any) -> set[str]:
    """Ids of positions that ``Close(at="close")`` ended: at the close of a candle, where the market fills at its open.

    A candle whose open is its close tells nothing.
    """
    by_answer = ("strategy", "manual")
    closed = [event for event in result.events if isinstance(event, Closed) and event.close_reason in by_answer]
    if not closed or result.execution == "vwap":
        return set()
    candles, found = result.candles, set[str]()
    for event in closed:
        at = int(candles.timestamp.searchsorted(event.closed_at))
        if at == len(candles) or not event.fills or candles.timestamp[at] != event.fills[-1].at:
            continue
        if event.fills[-1].price == candles.close[at] != candles.open[at]:
            found.add(event.signal.id)
    return found


def position_remarks(result: Any) -> tuple[str, ...]:
    """What is to be told of how positions were opened and closed."""
    return (*without_stop(result), *without_way_out(result), *at_the_close(result), *held_over(result))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def trade_cells(trades: Any) -> list[tuple[str, str]]:
    """The cells of :data:`TRADE_COLUMNS`, one pair for each trade."""
    return [
        (str(count), price_text(average))
        for count, average in zip(trades["fills"].tolist(), trades["average_price"].tolist(), strict=True)
    ]


def managed_text(result: Any) -> str:
    """What was managed in a run, counted; empty where nothing was."""
    events = result.position_events
    told = (
        (sum(isinstance(event, Added) for event in events), "add", "adds"),
        (sum(isinstance(event, Reduced) for event in events), "part closed", "parts closed"),
        (sum(isinstance(event, Moved) for event in events), "move of levels", "moves of levels"),
        (sum(isinstance(event, AddCancelled) for event in events), "add taken back", "adds taken back"),
    )
    texts = [f"{count:,} {one if count == 1 else many}" for count, one, many in told if count]
    doubt = int(result.trades["ambiguous_trails"].sum())
    if doubt:
        candles = "1 candle" if doubt == 1 else f"{doubt:,} candles"
        texts.append(f"{candles} moved a trailing stop to where {'its' if doubt == 1 else 'their'} own range had been")
    return ", ".join(texts)
