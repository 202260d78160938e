"""The events of a signal's lifecycle: what a listener gets, with the run, the moment and the price.

Prices are in quote currency, moments are UTC milliseconds, a percentage of 1.5 means 1.5 %.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal, TypeAlias, get_args

import msgspec

from .declared_exits import Target, Trailing
from .position_fills import Fill
from .signal import OpenSignal, ScheduledSignal

Mode: TypeAlias = Literal["backtest", "live"]
CloseReason: TypeAlias = Literal[
    "take_profit",
    "stop_loss",
    "time_expired",
    "frame_end",
    "data_end",
    "trailing_stop",
    "breakeven",
    "strategy",
    "manual",
    "liquidation",
    "together",
]
ClosedBy: TypeAlias = Literal["exchange", "liquidation", "adl", "settlement", "manual"]
CLOSE_REASONS: Final[tuple[str, ...]] = get_args(CloseReason)
CancelReason: TypeAlias = Literal[
    "timeout",
    "price_reject",
    "risk",
    "frame_end",
    "data_end",
    "stopped",
    "disagreement",
    "strategy",
    "manual",
    "together",
    "place_taken",
]


class Pnl(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, repr_omit_defaults=True):
    """Result of one trade in percent of the entry value; ``gross - fee - slippage = pnl``.

    Of a position that opened at or below zero there is no percentage: then all four are NaN, and ``points`` is the net
    result in quote currency for each unit of the first fill; of others it is ``None``.
    """

    pnl_percentage: float
    gross_percentage: float
    fee_percentage: float
    slippage_percentage: float
    points: float | None = None

    @property
    def is_loss(self) -> bool:
        """Whether less came back than went in, after all costs."""
        return (self.pnl_percentage if self.points is None else self.points) < 0.0


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


class Closed(RunEvent, frozen=True, kw_only=True, tag_field="action", tag="closed", omit_defaults=True):
    """A position ended; ``closed_at`` is the open time of the candle that decided it.

    Of a position that was filled in parts ``fills`` holds all fills, ``price_close`` is the price of the last one, and
    percentages are of the cost of the first; a plain one has the entry and the exit, and ``fills`` is empty.
    ``cost_percentage`` is the result in percent of the cost of all entries, ``largest_cost`` the largest cost of what
    was held (the first fill's is 1). ``ambiguous_trails`` counts candles whose own extreme would have moved a trailing
    stop beyond their other one, ``not_taken`` moves of the stop that would have loosened it and adds that were not
    better. In JSON the fields from ``fills`` on are left out where they have their default.

    ``closed_by`` says what has closed it at the broker before a minute did: its stop there (``"exchange"``), a
    liquidation, a reduction of winners (``"adl"``), a settlement, or somebody by hand; ``None``: the record has.
    ``own_reason`` and ``own_price`` are then what the minute in which that was known would have done of itself;
    ``None``: nothing.

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
    fills: tuple[Fill, ...] = ()
    average_price: float | None = None
    cost_percentage: float | None = None
    largest_cost: float = 1.0
    ambiguous_trails: int = 0
    not_taken: int = 0
    note: str = ""
    closed_by: ClosedBy | None = None
    own_reason: CloseReason | None = None
    own_price: float | None = None

    @property
    def adds(self) -> int:
        """How many adds filled: without a ``size`` of its signal there is no account of it without a capital."""
        return sum([fill.kind == "add" for fill in self.fills]) if self.fills else 0

    @property
    def of_equity(self) -> float:
        """The net result in percent of the equity that there was: all of it went in, or the part the signal says."""
        net, size = self.pnl.pnl_percentage, self.signal.size
        return net if size is None else net * size


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


class Rejected(RunEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A strategy's answer broke rules; ``signal`` is the answer as text.

    ``place`` is the place of its strategy that the answer was for; empty where that has one, or it was for none.

    Examples
    --------
    >>> Rejected.__struct_fields__[-3:]
    ('reasons', 'signal', 'place')
    """

    reasons: tuple[Reason, ...]
    signal: str
    place: str = ""


class RiskRefused(RunEvent, frozen=True, kw_only=True):
    """A risk profile refused a candidate, or the account did; ``note`` says which rule and why.

    ``risk`` is the name of the profile; it is empty where it was the account of a run with a capital.

    Examples
    --------
    >>> "note" in RiskRefused.__struct_fields__
    True
    """

    risk: str
    note: str
    signal: OpenSignal | ScheduledSignal
    open_positions: int

    @property
    def refused_by(self) -> str:
        """Who refused it, for messages."""
        return f"risk profile {self.risk!r}" if self.risk else "the account"


class Scaled(RunEvent, frozen=True, kw_only=True):
    """Less was free than the weights of a portfolio took: all that was to become larger was made smaller by one factor.

    ``symbols`` are those that became larger, by ``part`` of what was wanted of each; ``wanted`` is what all of it would
    have taken of cash or margin, with costs, and ``free`` what there was (quote currency). ``symbol`` is that of the
    leg whose turn it was.

    Examples
    --------
    >>> Scaled.__struct_fields__[-4:]
    ('symbols', 'part', 'wanted', 'free')
    """

    symbols: tuple[str, ...]
    part: float
    wanted: float
    free: float


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


class Reduced(RunEvent, frozen=True, kw_only=True, tag_field="action", tag="reduced"):
    """A part of a position was closed; ``size`` is what is left of it, in units of the first size.

    Examples
    --------
    >>> Reduced.__struct_fields__[-3:]
    ('signal', 'fill', 'size')
    """

    action: ClassVar[Literal["reduced"]] = "reduced"

    signal: OpenSignal
    fill: Fill
    size: float


class Added(RunEvent, frozen=True, kw_only=True, tag_field="action", tag="added"):
    """A position was made larger; ``size`` is what is held now, in units of the first size.

    Examples
    --------
    >>> Added.__struct_fields__[-2:]
    ('size', 'average_price')
    """

    action: ClassVar[Literal["added"]] = "added"

    signal: OpenSignal
    fill: Fill
    size: float
    average_price: float


class AddCancelled(RunEvent, frozen=True, kw_only=True, tag_field="action", tag="add_cancelled"):
    """An add that no candle had filled was taken back; ``number`` is that of its order within the position.

    One that is left when its position ends has no such event.

    Examples
    --------
    >>> AddCancelled.__struct_fields__[-2:]
    ('reason', 'note')
    """

    action: ClassVar[Literal["add_cancelled"]] = "add_cancelled"

    signal: OpenSignal
    number: int
    share: float
    price_open: float | None
    reason: CancelReason
    note: str = ""


class Moved(RunEvent, frozen=True, kw_only=True, tag_field="action", tag="moved"):
    """The levels of a position are others from the candle that opens at ``when`` on, or after the one that opened then.

    ``reason`` says why: ``"strategy"``, ``"manual"``, or a declared exit that began, ``"trailing_stop"`` or
    ``"breakeven"``, in the candle that opened at ``when``. ``price_stop_loss`` is the stop in force then and
    ``stop_reason`` the close reason it would have. ``trailing`` is the trailing stop that has begun, if there is one:
    what it does later has no event, for it follows from the candles (:mod:`bknb.domain.stop_history`).

    Examples
    --------
    >>> Moved.__struct_fields__[-5:]
    ('price_stop_loss', 'stop_reason', 'targets', 'deadline', 'trailing')
    """

    action: ClassVar[Literal["moved"]] = "moved"

    signal: OpenSignal
    reason: Literal["strategy", "manual", "trailing_stop", "breakeven"]
    price_stop_loss: float | None
    stop_reason: CloseReason
    targets: tuple[Target, ...]
    deadline: int | None
    trailing: Trailing | None = None


PositionEvent: TypeAlias = Reduced | Added | AddCancelled | Moved
"""What happens to a position between its opening and its end."""
Event: TypeAlias = TickResult | Rejected | RiskRefused | Scaled | Milestone | PositionEvent
