"""The signal a strategy returns, and its checked, scheduled and open form.

Prices are in quote currency, moments are UTC milliseconds, a percentage of 1.5 means 1.5 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict

import msgspec

from .declared_exits import Breakeven, Target, Trailing
from .keyword_arguments import ByName

if TYPE_CHECKING:
    from datetime import datetime

    from .percent_risk_and_kelly_sizes import Size
    from .schedules import Schedule

    Until: TypeAlias = int | str | datetime | Schedule
    SignalSize: TypeAlias = float | str | Size
else:
    SignalSize = Any  # few signals have one, and its module is loaded for those
    Until = Any  # a saved one is a text; no field that is read can be a text or a datetime

Position: TypeAlias = Literal["long", "short"]
EntryKind: TypeAlias = Literal["market", "limit", "stop", "close"]
SignalKey: TypeAlias = tuple[str, int]
"""A signal's id and the moment it was decided at (UTC ms): an id of the user's own may come twice."""


class Signal(ByName, frozen=True, kw_only=True):
    """What a strategy returns when it wants a position.

    Parameters
    ----------
    position
        ``"long"`` or ``"short"``; ``side`` is another name for it.
    price_take_profit
        The target, in quote currency; or a ladder, a list of pairs ``(price, share)``: each level closes its share of
        the first size, and what is left runs on. ``None``: no target.
    price_stop_loss
        The stop, in quote currency; ``None``: no stop.
    minute_estimated_time
        Whole minutes after the fill of the entry at which the position is closed at the market; ``None``: no deadline.
    until, bars
        Other deadlines, worked out when the position opens; of several the earliest counts. ``until``: minutes, a
        ``datetime`` with a time zone, a time of the day (``"16:00 Europe/London"``, or ``"16:00"`` in
        the zone of the times of ``at=``, else of the market; the next one on a day on which the market trades), or the
        end of the session.
        ``"session_end"`` closes at the close of its last candle that can fill, and ``"session_end-5m"`` five minutes
        before it at the market. ``bars``: whole candles of the strategy's interval, the one of the entry included.
    price_open
        The price of the entry order, in quote currency: a limit (at most this for a long, at least this for a short),
        or with ``entry="stop"`` the price at which the market has to come first. ``None``: a market order, which
        fills at the open of the next candle with volume (``execution="pessimistic"``), of the next candle
        (``"touch"``), or at the average price of the moment (``"vwap"``). An entry ladder is a list of pairs
        ``(price, share)``: each part buys its share of the whole, ``None`` at the market, and all shares together are
        1 at most. The position is open from the first fill on; the other parts rest as long as ``valid`` says.
    entry
        ``"limit"`` or ``"stop"``: what ``price_open`` means. ``"close"``: without a price, at the close of the
        session's last candle that can fill; a market that never closes has the days of UTC for sessions.
    valid
        How long ``price_open`` waits: minutes, a moment as for ``until``, ``"session_end"``, ``"slot"`` (until the next
        question of the strategy, with ``at=`` its next moment), or ``None``: until it is cancelled. By default for
        ``schedule_await_minutes`` or one interval of the strategy, whichever is longer; one with ``at=`` has the
        interval ``1d`` where it names none.
    note
        Free text that travels with the trade.
    id
        A name of your own for the signal; by default it is made of strategy, symbol and minute.
    trailing, breakeven
        A stop that follows the best price, and one that moves once to the entry; see ``bknb.Trailing`` and
        ``bknb.Breakeven``. The tightest of all stops is in force.
    memo
        Values for ``manage``, as a mapping that JSON can hold, with texts as keys: ``position.memo`` there, also after
        a restart. A tuple comes back as a list.
    size
        A number above 0 that multiplies what the sizing of the run gives: 0.5 is half of it. Without a capital it is
        the part of the equity that the position opens with. ``None``: all of it. One of ``bknb.size``, such as
        ``bknb.size.Risk(1)`` or the text ``"risk:1"``, takes the place of the sizing of the run; it needs a capital.
    stop_percent, target_percent
        The stop and the target as gross percent from the average price that was really paid, in place of prices: 2 is
        2 % of it away, on the side of each. They move with adds. A ladder of targets is a list of pairs
        ``(percent, share)``.
    score
        Any number: in ``bknb.portfolio(priority="score")`` signals of one moment have cash and places by it, the
        highest first, and those of ``None`` last.
    place
        For a strategy with ``places=``: a text that names the place it is for. What is for a place in which something
        waits or is open is left out, so that a grid may be said whole each time. ``None``: the next that is free.

    Notes
    -----
    Nothing is checked here. The engine checks every rule when the strategy returns the signal, and a signal
    that breaks some becomes a ``Rejected`` event that lists them all. Levels must be on their sides of every price at
    which the entry may fill, as far as it is known then.

    Examples
    --------
    >>> Signal(position="long", price_take_profit=110.0, price_stop_loss=95.0, minute_estimated_time=60).position
    'long'
    >>> Signal(side="short", trailing=Trailing(percent=1.0)).position
    'short'
    >>> Signal(position="long", stop_percent=2.0, target_percent=[(3.0, 0.5), (6.0, 0.5)]).stop_percent
    2.0
    >>> Signal(position="long", price_open=[(None, 0.2), (98.0, 0.3), (96.0, 0.5)], target_percent=1.0).target_percent
    1.0
    """

    position: Position | None = None
    price_take_profit: float | Sequence[tuple[float, float]] | None = None
    price_stop_loss: float | None = None
    minute_estimated_time: int | None = None
    price_open: float | Sequence[tuple[float | None, float]] | None = None
    entry: Literal["limit", "stop", "close"] = "limit"
    note: str = ""
    id: str | None = None
    trailing: Trailing | None = None
    breakeven: Breakeven | None = None
    side: Position | None = None
    memo: dict[str, Any] | None = None
    until: Until | None = None
    bars: int | None = None
    valid: Until | msgspec.UnsetType | None = msgspec.UNSET
    size: SignalSize | None = None
    score: float | None = None
    stop_percent: float | None = None
    target_percent: float | Sequence[tuple[float, float]] | None = None
    place: str | None = None

    def __post_init__(self) -> None:
        if self.position is None and self.side is not None:
            msgspec.structs.force_setattr(self, "position", self.side)

    def __repr__(self) -> str:
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        if self.side == self.position:
            del given["side"]
        if self.valid is msgspec.UNSET:
            del given["valid"]
        shown = (f"{name}={value!r}" for name, value in given.items() if name not in _WHEN_GIVEN or value is not None)
        return f"Signal({', '.join(shown)})"


_WHEN_GIVEN: Final = frozenset(
    (
        *("trailing", "breakeven", "side", "memo", "until", "bars", "size", "score"),
        *("stop_percent", "target_percent", "place"),
    )
)


def entry_price(signal: Signal) -> float | None:
    """The ``price_open`` of a signal (quote currency), of an entry ladder that of its first part; ``None``: the market.

    Examples
    --------
    >>> entry_price(Signal(position="long", price_open=[(99.0, 0.5), (98.0, 0.5)]))
    99.0
    """
    price = signal.price_open
    return price[0][0] if isinstance(price, list | tuple) else price  # type: ignore[return-value]  # no other sequence


class Rung(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, repr_omit_defaults=True):
    """A part of an entry beside the first: its price (quote currency), its share of the whole; a ``stop`` order or not.

    Examples
    --------
    >>> Rung(98.0, 0.5)
    Rung(price=98.0, share=0.5)
    """

    price: float
    share: float
    stop: bool = False


def _limit() -> EntryKind:
    return "limit"


def sign_of(position: Position) -> int:
    """1 for a long, -1 for a short.

    Examples
    --------
    >>> sign_of("long"), sign_of("short")
    (1, -1)
    """
    return 1 if position == "long" else -1


class CheckedSignal(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, repr_omit_defaults=True):
    """A valid signal with its run, its entry price (quote currency) and the moment it was decided at (UTC ms).

    ``price_open`` is the price of a fill once there is one; before, the price of a limit or stop entry, and for a
    market order the average price at the moment of the decision. With a ladder ``targets`` holds its levels, the
    nearest first, and ``price_take_profit`` is the farthest; a single target is no ladder. ``memo`` is JSON, empty
    when there is none. ``until`` is a text of :mod:`bknb.domain.valid_and_until`, empty when there is none, and
    ``waits_until`` the moment (UTC ms) at which its order is taken back; ``None``: it said nothing of that. ``size`` is
    what multiplies the size of the run; ``None``: it said nothing of that. ``own_size`` takes the place of that size,
    as JSON (:mod:`bknb.domain.size_of_signal`); empty where there is none. ``stop_percent`` and
    ``percent_targets``, whose prices are percent, are where stop and targets lie from the average price of all entries:
    prices beside them are where that is by the price of its order, and of a stop entry there is no stop before it
    fills. Of an entry ladder it is the part that is nearest to the market: ``rungs`` are the others, ``part`` is its
    share of the whole, and ``whole`` what multiplies the size of the run for all of it; ``None``: it has one part.
    ``place`` is the place of its strategy, empty where that has one. In JSON a field that has its default is left out,
    except for ``entry``.
    """

    id: str
    symbol: str
    strategy: str
    exchange: str
    position: Position
    price_open: float
    price_take_profit: float | None
    price_stop_loss: float | None
    minute_estimated_time: int | None
    note: str
    scheduled_at: int
    entry: EntryKind = msgspec.field(default_factory=_limit)  # a factory: JSON always has it
    targets: tuple[Target, ...] = ()
    trailing: Trailing | None = None
    breakeven: Breakeven | None = None
    memo: str = ""
    until: str = ""
    bars: int | None = None
    waits_until: int | None = None
    size: float | None = None
    stop_percent: float | None = None
    percent_targets: tuple[Target, ...] = ()
    rungs: tuple[Rung, ...] = ()
    part: float | None = None
    whole: float | None = None
    place: str = ""
    own_size: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether it has one stop, one target and a deadline, and nothing else: what a candle can do is known."""
        return (
            self.price_take_profit is not None
            and self.price_stop_loss is not None
            and self.minute_estimated_time is not None
            and not (self.targets or self.trailing or self.breakeven or self.memo or self.rungs)
            and not (self.until or self.bars or self.entry == "close")
        )


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
    """A checked signal with an open position, since ``pending_at`` (UTC ms).

    ``rested`` says whether its limit order rested and was filled at its limit, as a maker. ``price_ordered`` is the
    price of its limit or stop order (quote currency), where that filled at another one.
    """

    pending_at: int
    rested: bool = False
    price_ordered: float | None = None


def key_of(signal: CheckedSignal) -> SignalKey:
    """The key of a signal among all of its strategy and symbol: its id and the moment it was decided at (UTC ms)."""
    return signal.id, signal.scheduled_at
