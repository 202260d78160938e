"""The position of a run that is still open, and how many positions it opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..domain.signal import OpenSignal, key_of
from ..domain.signal_events import Opened

if TYPE_CHECKING:
    from .run_record import RunRecord


def open_signal(record: RunRecord) -> OpenSignal | None:
    """The position that is still open, if there is one."""
    newest = next((event.signal for event in reversed(record.records.events) if isinstance(event, Opened)), None)
    over = newest is None or any(key_of(event.signal) == key_of(newest) for event in reversed(record.records.closed))
    return None if over else newest


def position_count(record: RunRecord) -> int:
    """How many positions a run opened; one that is still open counts."""
    return len(record.records.closed) + (open_signal(record) is not None)
