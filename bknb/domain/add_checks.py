"""What is wrong with the values of an answer of ``manage``, whatever is open."""

from __future__ import annotations

from typing import Final

from ..config import Settings
from .answers import Add
from .exit_checks import is_positive
from .position_fills import DUST
from .signal import Reason
from .signal_validation import allow
from .text import shown, text_fault, without_addresses

_MOST_SHARE: Final = 1e9  # of the first size; sums of a few of these are floats that still have the first size in them


def note_fault(note: object) -> Reason | None:
    """Why a note cannot be saved; ``None`` when it can."""
    if isinstance(note, str) and text_fault(note, lines=True) is None:
        return None
    return Reason("note", f"note must be text that can be written, got {without_addresses(ascii(note)):.80}")


def add_faults(add: Add, settings: Settings) -> list[Reason]:
    """Everything that is wrong with the size, the price and the validity of an add."""
    found: list[Reason] = []
    share: object = add.share
    limit: object = add.price_open
    valid: object = add.valid
    if not is_positive(share) or not DUST < add.share <= _MOST_SHARE:
        text = f"Add needs a share above {DUST:g} and at most {_MOST_SHARE:g}, in units of the first size"
        found.append(Reason("add_share", f"{text}, got {shown(share, 60)}"))
    if limit is not None and not is_positive(limit):
        text = "price_open of Add must be a finite number above 0, or None for the market"
        found.append(Reason("add_price", f"{text}, got {shown(limit, 60)}"))
    if valid is not None and (not isinstance(valid, int) or isinstance(valid, bool) or valid <= 0):
        text = "valid of Add must be whole minutes above 0, or None"
        found.append(Reason("add_valid", f"{text}, got {shown(valid, 60)}"))
    elif valid is not None and limit is None:
        text = f"valid {valid} of Add is how long a limit rests"
        found.append(Reason("add_valid", f"{text}, and price_open is None: give its price, or leave valid out"))
    elif isinstance(valid, int) and (longest := settings.max_signal_lifetime_minutes) and valid > longest:
        text = f"valid {valid} of Add is above max_signal_lifetime_minutes = {longest}"
        found.append(Reason("add_valid", f"{text}; {allow('max_signal_lifetime_minutes', None)}"))
    return found
