"""The fills of a run as a table: one row for each entry, add, partial close and exit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from math import nan
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from ..config import Settings
from ..domain.pnl import slipped_exit
from ..domain.position_fills import Fill
from ..domain.signal import OpenSignal, SignalKey, key_of, sign_of
from ..domain.signal_events import Added, Closed, Opened, Reduced

if TYPE_CHECKING:
    from ..engine.position_in_money import PositionInMoney
    from ..engine.records import Records

FILL_COLUMNS: Final = (
    "signal_id",
    "at",
    "side",
    "kind",
    "share",
    "price",
    "reason",
    "fee_percentage",
    "slippage_percentage",
    "maker",
    "note",
)


def fills_of(event: Closed) -> tuple[Fill, ...]:
    """All fills of a position that is over; of a plain one its entry and its exit.

    Whether the entry rested is not in them: its signal says so.
    """
    if event.fills:
        return event.fills
    signal = event.signal
    entry = Fill(number=0, kind="entry", at=signal.pending_at, share=1.0, price=signal.price_open)
    target = signal.price_take_profit
    rested = event.close_reason == "take_profit" and event.price_close == target != signal.price_open
    end = Fill(
        number=1, kind="exit", at=event.closed_at, share=1.0, price=event.price_close, reason=event.close_reason,
        rested=rested, note=event.note,
    )  # fmt: skip
    return entry, end


def fill_rows(
    records: Records, settings: Settings, money: Mapping[SignalKey, PositionInMoney] | None = None
) -> list[dict[str, Any]]:
    """The fills of a run in order of time; moments are UTC ms, percentages are of the cost of the first fill.

    ``money``: its positions in money, where it has an account; a fill of which the account bought nothing has 0.
    """
    found = [(fill, event.signal) for event in records.closed for fill in fills_of(event)]
    found += _still_open(records)
    rows = [_row(fill, signal, settings) for fill, signal in found]
    if money is not None:
        from .account_result import fill_money

        for row, (fill, signal) in zip(rows, found, strict=True):
            row.update(fill_money(money.get(key_of(signal)), fill.number))
    return sorted(rows, key=itemgetter("at"))


def _still_open(records: Records) -> Iterator[tuple[Fill, OpenSignal]]:
    ended = {key_of(event.signal) for event in records.closed}
    told = {(key, fill.number): (fill, signal) for key, fill, signal in _told(records, ended)}  # some twice
    yield from told.values()


def _told(records: Records, ended: Set[SignalKey]) -> Iterator[tuple[SignalKey, Fill, OpenSignal]]:
    """The fills that were told of positions that have not ended."""
    for fill, signal in records.held:
        if (key := key_of(signal)) not in ended:
            yield key, fill, signal
    for event in records.events:
        if isinstance(event, Opened) and (key := key_of(event.signal)) not in ended:
            signal = event.signal
            yield key, Fill(number=0, kind="entry", at=signal.pending_at, share=1.0, price=signal.price_open), signal
    for part in records.positions:
        if isinstance(part, Added | Reduced) and (key := key_of(part.signal)) not in ended:
            yield key, part.fill, part.signal


def _row(fill: Fill, signal: OpenSignal, settings: Settings) -> dict[str, Any]:
    buys = fill.enters == (signal.position == "long")
    slippage, fee = settings.percent_slippage, settings.percent_fee
    first = signal.price_open * (1 + sign_of(signal.position) * slippage / 100)
    slipped = slipped_exit(fill.price, -1 if buys else 1, slippage)
    return {
        "signal_id": signal.id,
        "at": fill.at,
        "side": "buy" if buys else "sell",
        "kind": fill.kind,
        "share": fill.share,
        "price": fill.price,
        "reason": fill.reason,
        "fee_percentage": fee * fill.share * abs(slipped) / first if first > 0 else nan,
        "slippage_percentage": fill.share * abs(slipped - fill.price) / first * 100 if first > 0 else nan,
        "maker": fill.rested or (fill.kind == "entry" and signal.rested),
        "note": fill.note,
    }
