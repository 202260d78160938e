"""The signal a strategy returns, its scheduled and open form, and the events of its lifecycle.

Prices are in quote currency, moments are UTC milliseconds, a percentage of 1.5 means 1.5 %.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal, TypeAlias, TypedDict, get_args

import msgspec

Position: TypeAlias = Literal["long", "short"]
Mode: TypeAlias = Literal["backtest", "live"]
CloseReason: TypeAlias = Literal["take_profit", "stop_loss", "time_expired", "frame_end", "data_end"]
CLOSE_REASONS: Final[tuple[str, ...]] = get_args(CloseReason)
CancelReason: TypeAlias = Literal["timeout", "price_reject", "risk", "frame_end", "data_end", "stopped", "disagreement"]
EntryKind: TypeAlias = Literal["market", "limit", "stop"]


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy returns when it wants a position.

    Parameters
    ----------
    position
        ``"long"`` or ``"short"``.
    price_take_profit, price_stop_loss
        The two exit levels, in quote currency.
    minute_estimated_time
        Whole minutes after the fill of the entry at which the position is closed at the market.
    price_open
        The price of the entry order, in quote currency: a limit (at most this for a long, at least this for a short),
        or with ``entry="stop"`` the price at which the market has to come first. ``None``: a market order, which
        fills at the open of the next candle with volume (``execution="pessimistic"``), of the next candle
        (``"touch"``), or at the average price of the moment (``"vwap"``).
    entry
        ``"limit"`` or ``"stop"``: what ``price_open`` means.
    note
        Free text that travels with the trade.
    id
        A name of your own for the signal; by default it is made of strategy, symbol and minute.

    Notes
    -----
    Nothing is checked here. The engine checks every rule when the strategy returns the signal, and a signal
    that breaks some becomes a ``Rejected`` event that lists them all. Levels must be on their sides of every price at
    which the entry may fill, as far as it is known then.

    Examples
    --------
    >>> Signal(position="long", price_take_profit=110.0, price_stop_loss=95.0, minute_estimated_time=60).position
    'long'
    """

    position: Position
    price_take_profit: float
    price_stop_loss: float
    minute_estimated_time: int
    price_open: float | None = None
    entry: Literal["limit", "stop"] = "limit"
    note: str = ""
    id: str | None = None


class CheckedSignal(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A valid signal with its run, its entry price (quote currency) and the moment it was decided at (UTC ms).

    ``price_open`` is the price of a fill once there is one; before, the price of a limit or stop entry, and for a
    market order the average price at the moment of the decision.
    """

    id: str
    symbol: str
    strategy: str
    exchange: str
    position: Position
    price_open: float
    price_take_profit: float
    price_stop_loss: float
    minute_estimated_time: int
    note: str
    scheduled_at: int
    entry: EntryKind = "limit"


class SignalLabels(TypedDict):
    """The fields that identify the run of a signal."""

    symbol: str
    strategy: str
    exchange: str


def labels_of(signal: CheckedSignal) -> SignalLabels:
    """Symbol, strategy and exchange of a signal, for a record that carries them too."""
    return SignalLabels(symbol=signal.symbol, strategy=signal.strategy, exchange=signal.exchange)


class ScheduledSignal(CheckedSignal, frozen=True, kw_only=True, gc=False):
    """A checked signal whose entry order has not filled."""


class OpenSignal(CheckedSignal, frozen=True, kw_only=True, gc=False):
    """A checked signal with an open position, since ``pending_at`` (UTC ms)."""

    pending_at: int


class Pnl(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Result of one trade in percent of the entry value; ``gross - fee - slippage = pnl``."""

    pnl_percentage: float
    gross_percentage: float
    fee_percentage: float
    slippage_percentage: float


class Reason(msgspec.Struct, frozen=True, gc=False):
    """One broken rule: a stable code and a sentence for people."""

    code: str
    text: str


class RunEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of every event: the run, the moment (UTC ms), and the average price then (quote currency)."""

    symbol: str
    strategy: str
    exchange: str
    frame: str | None
    mode: Mode
    when: int
    price: float


class Idle(RunEvent, frozen=True, kw_only=True, tag_field="action", tag="idle"):
    """A minute with nothing open or scheduled.

    Examples
    --------
    >>> where = dict(symbol="BTCUSDT", strategy="sma", exchange="demo", frame=None, mode="live")
    >>> Idle(**where, when=0, price=100.0).price
    100.0
    """

    action: ClassVar[Literal["idle"]] = "idle"


class Scheduled(RunEvent, frozen=True, kw_only=True, tag_field="action", tag="scheduled"):
    """A signal was accepted and waits for its entry price.

    Examples
    --------
    >>> Scheduled.__struct_fields__[-1]
    'signal'
    """

    action: ClassVar[Literal["scheduled"]] = "scheduled"

    signal: ScheduledSignal


class Opened(RunEvent, frozen=True, kw_only=True, tag_field="action", tag="opened"):
    """A position was opened at ``signal.price_open``.

    Examples
    --------
    >>> Opened.__struct_fields__[-1]
    'signal'
    """

    action: ClassVar[Literal["opened"]] = "opened"

    signal: OpenSignal


class Active(RunEvent, frozen=True, kw_only=True, tag_field="action", tag="active"):
    """A minute with a scheduled signal or an open position; both percentages are 0 while scheduled.

    Examples
    --------
    >>> Active.__struct_fields__[-2:]
    ('percent_tp', 'percent_sl')
    """

    action: ClassVar[Literal["active"]] = "active"

    signal: OpenSignal | ScheduledSignal
    percent_tp: float
    percent_sl: float


class Closed(RunEvent, frozen=True, kw_only=True, tag_field="action", tag="closed"):
    """A position ended; ``closed_at`` is the open time of the candle that decided it.

    Examples
    --------
    >>> "close_reason" in Closed.__struct_fields__
    True
    """

    action: ClassVar[Literal["closed"]] = "closed"

    signal: OpenSignal
    close_reason: CloseReason
    closed_at: int
    price_close: float
    pnl: Pnl
    peak_percentage: float
    trough_percentage: float
    ambiguous: bool


class Cancelled(RunEvent, frozen=True, kw_only=True, tag_field="action", tag="cancelled"):
    """A scheduled signal ended without ever opening.

    Examples
    --------
    >>> "reason" in Cancelled.__struct_fields__
    True
    """

    action: ClassVar[Literal["cancelled"]] = "cancelled"

    signal: ScheduledSignal
    reason: CancelReason
    closed_at: int
    note: str = ""


TickResult: TypeAlias = Idle | Scheduled | Opened | Active | Closed | Cancelled
"""The six possible results of a minute, distinguished by ``action``."""


class Rejected(RunEvent, frozen=True, kw_only=True):
    """A strategy's answer broke rules; ``signal`` is the answer as text.

    Examples
    --------
    >>> Rejected.__struct_fields__[-2:]
    ('reasons', 'signal')
    """

    reasons: tuple[Reason, ...]
    signal: str


class RiskRefused(RunEvent, frozen=True, kw_only=True):
    """A risk profile refused a candidate; ``note`` says which rule and why.

    Examples
    --------
    >>> "note" in RiskRefused.__struct_fields__
    True
    """

    risk: str
    note: str
    signal: OpenSignal | ScheduledSignal
    open_positions: int


class Milestone(RunEvent, frozen=True, kw_only=True):
    """A position has come ``level`` percent of the way to its target (profit) or its stop (loss).

    Examples
    --------
    >>> Milestone.__struct_fields__[-3:]
    ('side', 'level', 'signal')
    """

    side: Literal["profit", "loss"]
    level: int
    signal: OpenSignal


Event: TypeAlias = TickResult | Rejected | RiskRefused | Milestone
