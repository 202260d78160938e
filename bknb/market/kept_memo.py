"""What a strategy keeps from question to question: the memo of a context, and how it is kept."""

from __future__ import annotations

from typing import Any

import msgspec

from ..domain.exit_validation import memo_text
from ..domain.signal_events import Reason
from ..errors import UsageError


def read_memo(text: str) -> dict[str, Any]:
    """A memo that was kept as JSON; an empty one where there is no text.

    Examples
    --------
    >>> read_memo('{"losses":2}'), read_memo("")
    ({'losses': 2}, {})
    """
    return {} if not text else msgspec.json.decode(text, type=dict[str, Any])


def kept_memo(memo: dict[str, Any]) -> str:
    """A memo as JSON text, as it is kept; empty for an empty one.

    Raises
    ------
    UsageError
        It is nothing that JSON can hold, or too long.
    """
    text = memo_text(memo)
    if isinstance(text, Reason):
        raise UsageError(f"ctx.{text.text}\nthe question counts as one that raised: nothing was ordered, nothing kept")
    return "" if text == "{}" else text


def memo_before(memos: list[tuple[int, int, str]], when: int, turn: int) -> str:
    """The text that was kept before a question at a moment (UTC ms); ``turn``: 0 that of ``manage``, 1 the other.

    ``memos`` are moments, turns and what was kept from them on, in order.

    Examples
    --------
    >>> memo_before([(5, 0, "a"), (5, 1, "b")], 5, 1), memo_before([(5, 0, "a")], 5, 0)
    ('a', '')
    """
    return next((text for at, by, text in reversed(memos) if (at, by) < (when, turn)), "")
