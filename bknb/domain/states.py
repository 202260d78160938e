"""The states of a signal, the parameters they depend on, and what comes of a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from ..config import Settings
from .fills_at_stops_and_gaps import Entry, ExecutionModel, Minute
from .interval import MINUTE_MS, ceil_to
from .market_clock_protocol import MarketClock, Slots
from .position_book import PositionBook, PositionOrder, UnsizedPart
from .risk_request_and_verdict import Command, WeightLimits
from .signal import OpenSignal, ScheduledSignal
from .signal_events import (
    Active,
    Cancelled,
    Closed,
    CloseReason,
    Event,
    Mode,
    PositionEvent,
    Reason,
    Rejected,
    Scheduled,
)
from .text import shown


class Rules(NamedTuple):
    """The parameters of a run that the lifecycle depends on.

    Attributes
    ----------
    frame_last
        Last moment of the frame (UTC ms), which ends what is open. ``None`` in live.
    risk
        Name of the risk profile to ask, or ``None``.
    sized
        Whether an account is asked for the size of what is opened: before an order is made, and again when it fills.
    in_money
        Whether there is an account with a capital: a signal may have one of ``bknb.size`` for its size.
    place
        The place of the strategy that the lifecycle is of; empty where that has one.
    weights
        What the account allows of weights, where the strategy answers with them: ``max_adds`` does not count what they
        lead to.
    negative
        Whether prices at or below zero are traded: stops and targets may lie there.
    quiet
        Whether minutes in which nothing happens give ``Idle`` and ``Active`` results.
    tick
        The smallest step of prices on this market (quote currency); ``None``: unknown, levels stay as they are.
    grid
        The slots that candles lie in, where they do not begin at multiples of their length.
    by_day
        Whether the candles of the strategy's interval are the days of a market with sessions, which its clock knows.
    interval_ms, base_ms
        The strategy's interval, and the length of the candles that fill orders: those that inputs call minutes.
    close_of
        The close (UTC ms) of the n-th candle that opens at or after a moment, or ``None`` where there are fewer; given
        where candles are longer than a minute: what rests waits for at least twenty of them.
    bars_between
        How many candles of the strategy's interval closed after a moment and up to another (UTC ms); ``None`` where
        there is one for every interval, as on a market that never closes.
    clock
        Returns the clock of the market, which is made when it is first asked for.
    """

    symbol: str
    strategy: str
    exchange: str
    frame: str | None
    mode: Mode
    model: ExecutionModel
    settings: Settings
    frame_last: int | None = None
    risk: str | None = None
    quiet: bool = False
    tick: float | None = None
    interval_ms: int = MINUTE_MS
    base_ms: int = MINUTE_MS
    close_of: Callable[[int, int], int | None] | None = None
    bars_between: Callable[[int, int], int] | None = None
    clock: Callable[[], MarketClock] | None = None
    by_day: bool = False
    grid: Slots | None = None
    sized: bool = False
    weights: WeightLimits | None = None
    negative: bool = False
    place: str = ""
    in_money: bool = False

    @property
    def asks(self) -> bool:
        """Whether a risk profile or an account is asked about what is to be opened."""
        return self.sized or self.risk is not None

    @property
    def learns_bars(self) -> bool:
        """Whether which bars there are is known only once they have come: live, over bars longer than a minute."""
        return self.mode == "live" and self.close_of is not None

    def bar_end(self, when: int) -> int:
        """When the candle that opens at a moment closes (UTC ms)."""
        return when + self.base_ms if self.grid is None else self.grid.after(when, self.base_ms)

    def bar_before(self, when: int) -> int:
        """When the candle opened that closes at a moment (UTC ms)."""
        return when - self.base_ms if self.grid is None else self.grid.floor(when - 1, self.base_ms)

    def on_bars(self, when: int) -> int:
        """The first moment at or after ``when`` (UTC ms) at which a candle that fills orders opens or closes."""
        return ceil_to(when, self.base_ms) if self.grid is None else self.grid.ceil(when, self.base_ms)


StaysFlat: TypeAlias = Literal["long", "short", "both"]


# --- states -----------------------------------------------------------------------------------------------------


class Flat(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Nothing open, nothing scheduled; ``last_id`` is the signal that was opened last.

    ``stays_flat``: the side on which weights open nothing, until one has been 0 or on the other side; ``"both"``: they
    open nothing any more.
    """

    last_id: str | None = None
    stays_flat: StaysFlat | None = None


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """The order that ends a position: why, when it was decided, and from when on it may fill (UTC ms).

    ``price`` is the average price when it was decided.
    """

    reason: CloseReason
    decided_at: int
    not_before: int
    price: float
    note: str = ""


class Holding(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A position is open.

    ``highest`` and ``lowest`` are the extreme prices it has seen, ``profit_level`` and ``loss_level`` the furthest
    milestones it has passed (0..100). ``leaving`` is its closing order, once it was decided. ``in_doubt``: a candle
    did not say whether the position survived it. ``book``: what is managed of it; a plain position has none.
    """

    signal: OpenSignal
    highest: float
    lowest: float
    profit_level: int = 0
    loss_level: int = 0
    leaving: Leaving | None = None
    in_doubt: bool = False
    book: PositionBook | None = None


class Asking(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A checked candidate is with the risk profile; ``ending`` is a position that leaves meanwhile.

    ``earlier`` are events of the same answer that are told once it has answered; the places of what they ended are
    given back then. Of a list of signals ``granted`` are those that it has allowed, and ``rest`` those that it is asked
    about next.
    """

    candidate: OpenSignal | ScheduledSignal
    when: int
    price: float
    not_before: int
    last_id: str | None = None
    ending: Holding | None = None
    earlier: tuple[Event, ...] = ()
    granted: tuple[ScheduledSignal, ...] = ()
    rest: tuple[OpenSignal | ScheduledSignal, ...] = ()


class AskingAdds(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The risk profile is asked about adds to an open position, one after the other.

    ``adds`` are those it has not answered yet, the first is asked about, and ``granted`` those it has allowed;
    ``parts`` of the same answer are ordered and its ``earlier`` events told once all are answered.
    """

    holding: Holding
    adds: tuple[PositionOrder, ...]
    when: int
    price: float
    granted: tuple[PositionOrder, ...] = ()
    parts: tuple[UnsizedPart, ...] = ()
    earlier: tuple[Event, ...] = ()


class Opening(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An entry order was decided, and no minute that can fill it has closed yet.

    ``not_before`` is the moment (UTC ms) from which on it may fill; ``ending`` a position that leaves meanwhile;
    ``activated``: it waited, and was ordered by hand. ``close_at``: the close of the session (UTC ms) that it is for,
    ``sent`` whether it has left for the broker, ``late_at`` the time of the clock (UTC ms) at which it was to leave,
    where that was behind the close. ``beside``: other entry orders for the same place, of which the first that fills
    takes it.
    """

    signal: ScheduledSignal
    not_before: int
    last_id: str | None = None
    ending: Holding | None = None
    activated: bool = False
    close_at: int | None = None
    sent: bool = False
    late_at: int = 0
    beside: tuple[ScheduledSignal, ...] = ()


class Waiting(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A limit or stop entry rests; ``beside`` are others for the same place: the first that fills takes it."""

    signal: ScheduledSignal
    last_id: str | None = None
    beside: tuple[ScheduledSignal, ...] = ()


class Entering(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The entry was touched in ``minute``; the risk profile is asked again before ``entry`` is made.

    ``earlier`` are events of that minute that are told once it has answered; the place of what they closed is given
    back then, too, when they are saved. ``beside`` are the others that wait for the same place, ``holder`` the one of
    all of them that holds it in the risk profile, and ``first`` says whether it is their first minute.
    """

    signal: ScheduledSignal
    minute: Minute
    entry: Entry
    last_id: str | None = None
    earlier: tuple[Closed | Scheduled | PositionEvent | Cancelled, ...] = ()
    beside: tuple[ScheduledSignal, ...] = ()
    holder: ScheduledSignal | None = None
    first: bool = False


State: TypeAlias = Flat | Asking | AskingAdds | Opening | Waiting | Entering | Holding


# --- results ----------------------------------------------------------------------------------------------------


class Step(NamedTuple):
    """What an input led to: the next state, events in order, commands in order."""

    state: State
    events: tuple[Event, ...] = ()
    commands: tuple[Command, ...] = ()


def labels(rules: Rules) -> dict[str, Any]:
    """The fields that every event of a run has."""
    return {
        "symbol": rules.symbol,
        "strategy": rules.strategy,
        "exchange": rules.exchange,
        "frame": rules.frame,
        "mode": rules.mode,
    }


def rejection(rules: Rules, when: int, price: float, reasons: tuple[Reason, ...], signal: object) -> Rejected:
    """The event for an answer that was no valid signal, with the reasons."""
    text = shown(signal, 400)
    return Rejected(**labels(rules), when=when, price=price, reasons=reasons, signal=text, place=rules.place)


def after_frame(t: int, rules: Rules) -> bool:
    """Whether the minute that opens at ``t`` (UTC ms) is behind the frame."""
    return rules.frame_last is not None and t > rules.frame_last


def frame_over(when: int, rules: Rules) -> bool:
    """Whether the frame ends at the moment ``when`` (UTC ms), or has ended."""
    return rules.frame_last is not None and when >= rules.frame_last


def quiet_minute(signal: OpenSignal | ScheduledSignal, minute: Minute, rules: Rules) -> tuple[Event, ...]:
    """The result of a minute in which nothing happened, when it is wanted."""
    if not rules.quiet:
        return ()
    active = Active(**labels(rules), when=minute.t, price=minute.price, signal=signal, percent_tp=0.0, percent_sl=0.0)
    return (active,)


def position_of(state: State) -> Holding | None:
    """The position of a state, also one that leaves while the next is being opened; none while adds are asked about."""
    return state.ending if isinstance(state, Opening) else state if isinstance(state, Holding) else None


def waiting_signals(state: State) -> tuple[ScheduledSignal, ...]:
    """The signals whose entry has been ordered, or waits, and has not filled.

    Examples
    --------
    >>> waiting_signals(Flat())
    ()
    """
    return (state.signal, *state.beside) if isinstance(state, Opening | Waiting) else ()


def place_of_state(state: State) -> str:
    """The place of its strategy in which something is in a state; empty where that has one, or nothing is.

    Examples
    --------
    >>> place_of_state(Flat())
    ''
    """
    return next((signal.place for signal in signals_of(state)), "")


def signals_of(state: State) -> tuple[OpenSignal | ScheduledSignal, ...]:
    """The signals that are open, ordered or scheduled in a state, the oldest first.

    Examples
    --------
    >>> signals_of(Flat())
    ()
    """
    match state:
        case AskingAdds(holding=Holding(signal=signal)):
            return (signal,)
        case Holding(signal=signal):
            return (signal,)
        case Opening(ending=ending) if ending is not None:
            return (ending.signal, *waiting_signals(state))
        case Opening() | Waiting():
            return waiting_signals(state)
        case _:
            return ()
