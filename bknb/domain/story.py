"""The story of a state for messages, and what is wrong with one that cannot be."""

from __future__ import annotations

from .fills import DUST
from .formatting import minute_text
from .position_money import held
from .signal import OpenSignal, sign_of
from .states import Asking, AskingAdds, Entering, Flat, Holding, Opening, Rules, State, Waiting


def story(state: State, rules: Rules) -> str:
    """A sentence on the state and how it came about, for messages.

    Examples
    --------
    >>> from bknb.config import Settings
    >>> from bknb.domain.execution import execution_model
    >>> story(Flat(), Rules("BTCUSDT", "s", "demo", None, "live", execution_model("touch"), Settings()))
    's on BTCUSDT (live, touch): flat, nothing was opened yet'
    """
    who = f"{rules.strategy} on {rules.symbol} ({rules.mode}, {rules.model.name})"
    match state:
        case Flat(last_id=None):
            return f"{who}: flat, nothing was opened yet"
        case Flat(last_id=last_id):
            return f"{who}: flat after {last_id}"
        case Asking(candidate=candidate, when=when):
            return f"{who}: risk was asked about {candidate.id} at {minute_text(when)} UTC"
        case AskingAdds(holding=Holding(signal=signal), when=when):
            return f"{who}: risk was asked about adding to {signal.id} at {minute_text(when)} UTC"
        case Opening(signal=signal, ending=ending):
            at = f"{minute_text(signal.scheduled_at)} UTC"
            before = "" if ending is None else f"{ending.signal.id} leaves, "
            return f"{who}: {before}{signal.id} was ordered at {at}, no candle has filled it yet"
        case Waiting(signal=signal):
            at = f"{minute_text(signal.scheduled_at)} UTC"
            return f"{who}: {signal.id} scheduled at {at} waits for {signal.price_open:g}"
        case Entering(signal=signal, minute=minute):
            at = f"{minute_text(minute.t)} UTC"
            return f"{who}: {signal.id} was touched at {at}, risk was asked again"
        case Holding(signal=signal, leaving=leaving):
            at = f"{minute_text(signal.pending_at)} UTC"
            opened = f"{who}: {signal.id} {signal.position} opened at {at} for {signal.price_open:g}"
            return opened if leaving is None else f"{opened}, leaves ({leaving.reason})"


def check(state: State) -> list[str]:
    """Broken invariants of a state, empty when all hold; used by tests and after a restart.

    Examples
    --------
    >>> check(Flat())
    []
    """
    match state:
        case Flat():
            return []
        case AskingAdds(holding=holding):
            return check(holding)
        case Asking(candidate=signal) | Holding(signal=signal):
            pass
        case Opening(signal=signal) | Waiting(signal=signal) | Entering(signal=signal):
            pass
    sign = sign_of(signal.position)
    found: list[str] = []
    target, stop = signal.price_take_profit, signal.price_stop_loss
    if target is not None and sign * (target - signal.price_open) <= 0:
        found.append("the take profit is on the wrong side of the entry")
    if stop is not None and sign * (signal.price_open - stop) <= 0:
        found.append("the stop loss is on the wrong side of the entry")
    if isinstance(signal, OpenSignal) and signal.pending_at < signal.scheduled_at:
        found.append("the position opened before it was scheduled")
    if isinstance(state, Holding):
        if not state.lowest <= signal.price_open <= state.highest:
            found.append("the extreme prices do not contain the entry")
        if any(level % 10 or not 0 <= level <= 100 for level in (state.profit_level, state.loss_level)):
            found.append("a milestone is no multiple of 10 between 0 and 100")
        if (book := state.book) is not None and not (book.left > DUST and abs(book.left - held(book.fills)) <= DUST):
            found.append("what is left of the position is not what its fills leave")
    return found
