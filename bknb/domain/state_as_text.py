"""The story of a state for messages."""

from __future__ import annotations

from .formatting import minute_text
from .states import Asking, AskingAdds, Entering, Flat, Holding, Opening, Rules, State, Waiting, waiting_signals


def story(state: State, rules: Rules) -> str:
    """A sentence on the state and how it came about, for messages.

    Examples
    --------
    >>> from bknb.config import Settings
    >>> from bknb.domain.fills_at_stops_and_gaps import execution_model
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
            ordered = " and ".join(each.id for each in waiting_signals(state))
            was, what = ("were", "one of them") if state.beside else ("was", "it")
            return f"{who}: {before}{ordered} {was} ordered at {at}, no candle has filled {what} yet"
        case Waiting():
            return f"{who}: " + ", ".join(
                f"{each.id} scheduled at {minute_text(each.scheduled_at)} UTC waits for {each.price_open:g}"
                for each in waiting_signals(state)
            )
        case Entering(signal=signal, minute=minute):
            at = f"{minute_text(minute.t)} UTC"
            return f"{who}: {signal.id} was touched at {at}, risk was asked again"
        case Holding(signal=signal, leaving=leaving):
            at = f"{minute_text(signal.pending_at)} UTC"
            opened = f"{who}: {signal.id} {signal.position} opened at {at} for {signal.price_open:g}"
            return opened if leaving is None else f"{opened}, leaves ({leaving.reason})"
