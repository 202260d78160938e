"""What a strategy keeps from question to question: the memo of a context, and how it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from ..domain.exit_validation import memo_text
from ..domain.position_seen_by_manage import began_at
from ..domain.signal_events import Reason
from ..domain.signal_validation import plain_numbers
from ..errors import UsageError

if TYPE_CHECKING:
    from ..domain.position_seen_by_manage import HeldPosition

Turn: TypeAlias = tuple[int, int, str]
"""When in a moment a question comes: those of ``manage`` place by place, the oldest first, then that of entries."""
ENTRY: Final[Turn] = (1, 0, "")


def read_memo(text: str) -> dict[str, Any]:
    """A memo that was kept as JSON; an empty one where there is no text.

    Examples
    --------
    >>> read_memo('{"losses":2}'), read_memo("")
    ({'losses': 2}, {})
    """
    return {} if not text else msgspec.json.decode(text, type=dict[str, Any])


def kept_memo(memo: dict[str, Any]) -> str:
    """A memo as JSON text, as it is kept; empty for an empty one. Numbers of numpy are numbers.

    Raises
    ------
    UsageError
        It is nothing that JSON can hold, or too long.

    Examples
    --------
    >>> kept_memo({"losses": 2})
    '{"losses":2}'
    """
    values: dict[str, Any] = {"memo": memo}
    text = plain_numbers(values) or memo_text(values["memo"])
    if isinstance(text, Reason):
        raise UsageError(f"ctx.{text.text}\nthe question counts as one that raised: nothing was ordered, nothing kept")
    return "" if text == "{}" else text


def turn_of(position: HeldPosition) -> Turn:
    """When in a moment ``manage`` is asked about a position.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> turn_of(SimpleNamespace(place="")) < ENTRY
    True
    """
    return (0, began_at(position), position.place) if position.place else (0, 0, "")


def memo_before(memos: list[tuple[int, Turn, str]], when: int, turn: Turn) -> str:
    """The text that was kept before a question at a moment (UTC ms), which has its ``turn`` in it.

    ``memos`` are moments, turns and what was kept from them on, in order.

    Examples
    --------
    >>> manage = 0, 0, ""
    >>> memo_before([(5, manage, "a"), (5, ENTRY, "b")], 5, ENTRY), memo_before([(5, manage, "a")], 5, manage)
    ('a', '')
    """
    return next((text for at, by, text in reversed(memos) if (at, by) < (when, turn)), "")
