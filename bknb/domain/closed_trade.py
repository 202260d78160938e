"""A closed trade as a strategy sees it in ``ctx.closed``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from .position_memo import position_memo
from .position_seen_by_manage import bars_since
from .signal import Position, sign_of
from .signal_events import Closed
from .states import Rules

_BY_LEVELS: Final = frozenset({"take_profit", "stop_loss", "trailing_stop", "breakeven", "liquidation"})


class ClosedTrade(msgspec.Struct, frozen=True, kw_only=True):
    """A trade that is over; prices in quote currency, the result in percent of the first fill after all costs.

    Attributes
    ----------
    id, symbol, note : str
        Of its signal.
    side : {"long", "short"}
    sign : int
        1 for a long, -1 for a short.
    opened_at, closed_at : datetime
        Open times of the candles of its entry and of its end (UTC).
    price_open, price_close : float
        Of its first and of its last fill.
    pnl_percentage : float
        The net result; NaN where the first fill was at or below zero.
    reason : str
        Why it ended, such as ``"stop_loss"``.
    bars : int
        Candles of the strategy's interval that closed while it was open, those of the entry and of the end included.
    memo : mapping
        The values its signal brought.
    points : float or None
        The net result in quote currency for each unit of the first fill, where that was at or below zero.

    Examples
    --------
    >>> def get_signal(ctx):
    ...     last = ctx.closed(1)
    ...     if last and last[0].pnl_percentage < 0:
    ...         return None  # sit one out
    """

    id: str
    symbol: str
    side: Position
    sign: int
    opened_at: datetime
    closed_at: datetime
    price_open: float
    price_close: float
    pnl_percentage: float
    reason: str
    bars: int
    note: str
    memo: Mapping[str, Any]
    points: float | None = None


def closed_trade(event: Closed, rules: Rules) -> ClosedTrade:
    """A trade as its end tells of it."""
    signal = event.signal
    return ClosedTrade(
        id=signal.id,
        symbol=signal.symbol,
        side=signal.position,
        sign=sign_of(signal.position),
        opened_at=datetime.fromtimestamp(signal.pending_at / 1000, UTC),
        closed_at=datetime.fromtimestamp(event.closed_at / 1000, UTC),
        price_open=signal.price_open,
        price_close=event.price_close,
        pnl_percentage=event.pnl.pnl_percentage,
        reason=event.close_reason,
        bars=bars_since(signal.pending_at, rules.bar_end(event.closed_at), rules),
        note=signal.note,
        memo=position_memo(signal.memo),
        points=event.pnl.points,
    )


def was_closed(event: Closed, when: int, rules: Rules, *, managing: bool) -> bool:
    """Whether a trade was over for a question at a moment (UTC ms); ``managing``: for that of ``manage``."""
    if rules.model.fills_at_open or event.close_reason in _BY_LEVELS:
        return rules.bar_end(event.closed_at) <= when
    return event.closed_at < when or (event.closed_at == when and not managing)
