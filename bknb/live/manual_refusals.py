"""What a decision by hand is answered with when it cannot be carried out, and what there is instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..domain.formatting import minute_text
from ..domain.interval import MINUTE_MS
from ..domain.lifecycle import Holding, Opening, Waiting, waiting_signals
from ..domain.position_book import PositionOrder
from ..domain.signal import ScheduledSignal
from ..domain.signal_events import Rejected
from ..engine.strategy_loop import StrategyLoop
from ..errors import UsageError
from .broker_account import Account

if TYPE_CHECKING:
    from .live_market import LiveMarket

OVER: Final = (
    "the run is over: what it holds is watched by nobody\nstart it again with the same store, then repeat this"
)
GOES_ON: Final = "; the run is over, and the next start with the same store goes on with it"


@dataclass(frozen=True, slots=True)
class Now:
    """The moment up to which everything is done, when a decision can fill (UTC ms), and whether that is at an open.

    Else it fills at the average price of that moment, which is ``late_minutes`` old when minutes have not come.
    """

    moment: int
    when: int
    at_open: bool
    late_minutes: int

    @classmethod
    def of(cls, loop: StrategyLoop, market: LiveMarket, *, waits: bool) -> Now:
        """Those of a loop now; ``waits``: it is about a level, judged behind the minutes that closed before it."""
        moment, at_open = market.moment(), loop.rules.model.fills_at_open
        next_minute = max(moment, market.next_bar())
        waits = at_open or (waits and next_minute > market.close_of(moment))  # whatever the model
        late = (loop.decided_at(moment, "exit") or moment) - moment
        return cls(moment, next_minute if waits else moment, at_open, 0 if at_open else late // MINUTE_MS)

    @property
    def fills(self) -> str:
        """Where a decision fills, in words."""
        if not self.at_open:
            old = f", {self.late_minutes} minutes old: no minute has come since" if self.late_minutes else ""
            return f"at the average price of {minute_text(self.when)} UTC{old}"
        return f"at the open of the first candle from {minute_text(self.when)} UTC on"


def waits_text(state: Waiting) -> str:
    """The entry that waits, in words."""
    return " and ".join(map(entry_text, waiting_signals(state)))


def entry_text(signal: ScheduledSignal) -> str:
    """One entry that waits, in words."""
    return f"the {signal.entry} entry of {signal.position} {signal.symbol} at {signal.price_open:g} ({signal.id})"


def entry_to_activate(state: Waiting, wanted: str | None, *, at_broker: bool) -> ScheduledSignal:
    """The entry that is to be opened at the market: the only one, or that of an id; limits may rest at a broker.

    Raises
    ------
    UsageError
        There are several and none is named, none has that id, or it cannot be opened.
    """
    waits = waiting_signals(state)
    if wanted is None and len(waits) > 1:
        text = f"activate needs one entry that waits, and there are several: {waits_text(state)}"
        raise UsageError(f"{text}\nsay which, such as activate(id={waits[0].id!r}); the others are taken back")
    found = next((signal for signal in waits if wanted in (None, signal.id)), None)
    if found is None:
        raise UsageError(f"no entry that waits has the id {wanted!r}\nthere is {waits_text(state)}")
    if at_broker and found.entry == "limit":
        text = f"activate needs an entry that is not at the broker; {entry_text(found)} rests there as a limit order"
        raise UsageError(f"{text}\ntake it back with cancel(), then open a Signal without price_open")
    return found


def waiting_adds(state: Holding) -> list[PositionOrder]:
    """The adds to a position that wait."""
    return [] if state.book is None else [order for order in state.book.orders if order.kind == "add"]


def there_is(loop: StrategyLoop, account: Account) -> str:
    """What there is instead, and what can be done about it."""
    who = f"{loop.rules.strategy} on {loop.rules.symbol}"
    match loop.state:
        case Opening(signal=signal) as opening if not account.has_left(opening):
            text = f"the entry order of {signal.id} has not left"
            return f"{who}: {text}\nuse cancel() to take it back"
        case Waiting() as waits:
            if waits.beside:
                advice = (
                    "use cancel() to take them back, cancel(id=…) for one, activate(id=…) to open one at the market"
                )
                return f"{who} has {waits_text(waits)}\n{advice}"
            advice = "use cancel() to take it back, move(price_open=…) to move it, activate() to open it at the market"
            return f"{who} has {waits_text(waits)}\n{advice}"
        case Opening(signal=signal):
            text = f"the entry order of {signal.id} has left, no candle has filled it yet"
            return f"{who}: {text}\ntry again after the next minute"
        case Holding(leaving=None, signal=signal):
            text = f"{signal.position} {signal.id} is open"
            return f"{who}: {text}\nuse close(), reduce(share) or move(...)"
        case Holding(leaving=leaving, signal=signal):
            reason = "" if leaving is None else f" ({leaving.reason})"
            return f"{who}: {signal.id} leaves already{reason}\nthe next candle that trades closes it"
        case _:
            return f"{who} has nothing open and nothing that waits\nopen(bknb.Signal(...)) opens something"


def refuse(loop: StrategyLoop, events: tuple[object, ...]) -> None:
    """Raise ``UsageError`` with the reasons when a decision would be rejected."""
    for event in events:
        if isinstance(event, Rejected):
            reasons = "\n".join(reason.text for reason in event.reasons)
            raise UsageError(f"{loop.rules.strategy} on {loop.rules.symbol}: not carried out\n{reasons}")
