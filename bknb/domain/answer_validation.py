"""What is wrong with the values of answers of ``manage`` and with their order, whatever is open."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from .exit_validation import is_finite_number, is_positive
from .manage_answers import Add, Cancel, Close
from .position_fills import DUST
from .signal_events import Reason
from .states import Rules
from .text import shown, text_fault, without_addresses
from .valid_and_until import read_valid

MOST_SHARE: Final = 1e9  # of the first size; sums of a few of these are floats that still have the first size in them


def note_fault(note: object) -> Reason | None:
    """Why a note cannot be saved; ``None`` when it can."""
    if isinstance(note, str) and text_fault(note, lines=True) is None:
        return None
    return Reason("note", f"note must be text that can be written, got {without_addresses(ascii(note)):.80}")


def share_fault(share: object) -> Reason:
    """What is wrong with the size of an add that is none.

    Examples
    --------
    >>> share_fault(0.0).text
    'Add needs a share above 1e-09 and at most 1e+09, in units of the first size, got 0.0'
    """
    text = f"Add needs a share above {DUST:g} and at most {MOST_SHARE:g}, in units of the first size"
    return Reason("add_share", f"{text}, got {shown(share, 60)}")


def add_faults(add: Add, when: int, rules: Rules) -> list[Reason]:
    """Everything that is wrong with the size, the price and the validity of an add, decided at ``when`` (UTC ms)."""
    found: list[Reason] = []
    share: object = add.share
    limit: object = add.price_open
    if not is_positive(share) or not DUST < add.share <= MOST_SHARE:
        found.append(share_fault(share))
    if limit is not None and not (is_finite_number(limit) if rules.negative else is_positive(limit)):
        above = "" if rules.negative else " above 0"
        text = f"price_open of Add must be a finite number{above}, or None for the market"
        found.append(Reason("add_price", f"{text}, got {shown(limit, 60)}"))
    if add.valid is UNSET:
        return found
    if limit is None and add.valid is not None:
        text = f"valid {shown(add.valid, 60)} of Add is how long a limit rests"
        found.append(Reason("add_valid", f"{text}, and price_open is None: give its price, or leave valid out"))
        return found
    read = read_valid(add.valid, when, rules, name="valid of Add")
    if isinstance(read, list):
        found += [Reason("add_valid", fault.text) for fault in read]
    return found


def lonely_signal(end: str) -> Reason:
    """A signal that nothing makes room for; ``end`` is the answer that would."""
    text = f"a Signal from manage stands behind {end}(), such as [bknb.{end}(), bknb.Signal(...)]"
    return Reason("signal_alone", f"{text}: there is one position at a time")


def behind_signal(end: Close | Cancel) -> Reason:
    """A ``Close`` or ``Cancel`` behind the signal it would have to make room for."""
    name = f"{type(end).__name__}()"
    text = f"{name} behind a Signal contradicts it: a Signal opens what {name} would end"
    return Reason("behind_signal", f"{text}; put {name} before the Signal, or leave one of them out")


TWO_SIGNALS: Final = Reason(
    "signal_alone",
    "one Signal stands behind Close() or Cancel(), got another: there is one position at a time; leave one out",
)
EARLY_SIGNAL: Final = Reason(
    "signal_alone",
    "a Signal behind Close(at='close') would open while the position is still there; give it when it has closed",
)
