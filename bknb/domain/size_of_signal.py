"""The size that a signal names for itself, such as ``bknb.size.Risk(1)``, in place of that of its run."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from ..errors import UsageError
from .percent_risk_and_kelly_sizes import AtrRisk, Cash, Kelly, Percent, Risk, Size, Units, read_size
from .signal_events import Reason
from .text import shown


def broken_size(value: object, *, in_money: bool) -> list[Reason]:
    """Why a signal cannot have a size that is no number above 0; empty where it can.

    ``in_money``: whether there is an account, of whose equity such a size is.

    Examples
    --------
    >>> broken_size(Risk(1), in_money=True), broken_size("risk:1", in_money=True)
    ([], [])
    >>> broken_size(-1.0, in_money=True)[0].code
    'size'
    """
    found = _read(value)
    if isinstance(found, Reason):
        return [found]
    if in_money:
        return []
    text = f"size={shown(value, 60)} is of the equity of an account, and this run has no capital"
    return [Reason("size", f"{text}; give it capital=10_000, say, or the signal a number: the part of the equity")]


def _read(value: object) -> Size | Reason:
    expected = (
        "size must be a finite number above 0, such as 0.5 for the half of what sizing gives, or bknb.size.Risk(1)"
    )
    if callable(value) and not isinstance(value, type):
        text = f"{expected}; got the function {getattr(value, '__name__', '')!r}, which a run is given: sizing=function"
        return Reason("size", text)
    if isinstance(value, str | Size):
        try:
            size = read_size(value)
        except UsageError:
            size = ""
        if isinstance(size, Size):
            return size
        if size:
            text = (
                f"{expected}; got {shown(value, 60)}, the name of a sizing, which a run is given: sizing={size!r:.60}"
            )
            return Reason("size", text)
    return Reason("size", f"{expected}; got {shown(value, 80)}")


def size_text(value: object) -> str:
    """A size as JSON, as it is saved with its signal; :func:`broken_size` has looked at it.

    Examples
    --------
    >>> size_text(Risk(1))
    '{"type":"Risk","percent":1}'
    """
    size = _read(value)
    assert isinstance(size, Size)  # it was looked at  # noqa: S101
    return msgspec.json.encode(size, enc_hook=_plain_number).decode()


def _plain_number(value: Any) -> Any:
    """A number of numpy as one that JSON has."""
    return value.item()


@lru_cache(maxsize=32)
def size_of_text(text: str) -> Size:
    """The size that was saved as JSON.

    Examples
    --------
    >>> size_of_text('{"type":"Kelly","part":0.5,"after":30,"start":1.0}')
    Kelly(part=0.5, after=30, start=1.0)
    """
    return msgspec.json.decode(text, type=Percent | Risk | Kelly | AtrRisk | Cash | Units)
