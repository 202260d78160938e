"""What a text from outside may hold: letters that can be written to a file and shown on a screen."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]{6,16}\b")  # as in <function f at 0x7f3a5c1d2e50>


def text_fault(text: str, *, lines: bool = False) -> str | None:
    r"""Why a text cannot be written or shown, or None when it can.

    Parameters
    ----------
    text
    lines
        Whether it may have several lines, and tabs.

    Examples
    --------
    >>> text_fault("breakout \u2197"), text_fault("two\nlines", lines=True)
    (None, None)
    >>> text_fault("a\x00b")
    'it holds the control character U+0000'
    >>> text_fault("\ud800")
    'it holds half a surrogate pair, U+D800'
    """
    if text.isprintable():
        return None
    for letter in text:
        kind = unicodedata.category(letter)
        if kind == "Cs":
            return f"it holds half a surrogate pair, U+{ord(letter):04X}"
        if kind == "Cc" and not (lines and letter in "\n\t\r"):
            return f"it holds the control character U+{ord(letter):04X}"
    return None


def readable(text: str) -> str:
    r"""The text with each letter that cannot be written or shown in its escaped form; lines and tabs stay.

    Examples
    --------
    >>> readable("no \ud800, no \x00")
    'no \\ud800, no \\x00'
    >>> readable("two\nlines")
    'two\nlines'
    """
    if text_fault(text, lines=True) is None:
        return text
    return "".join(
        letter if text_fault(letter, lines=True) is None else letter.encode("unicode_escape").decode()
        for letter in text
    )


def without_addresses(text: str) -> str:
    """The text without addresses in memory, which are others in every process.

    Examples
    --------
    >>> without_addresses("[<function f at 0x7f3a5c1d2e50>, <object object at 0x7f3a5c1d2e60>]")
    '[<function f>, <object object>]'
    """
    return _ADDRESS.sub("", text)


def shown(value: object, length: int) -> str:
    """A user's value as text of at most ``length`` characters, the same in every process.

    It is its ``repr`` without addresses, and the name of its class where that raises.

    Examples
    --------
    >>> shown([1, 2, 3], 4), shown([object()], 40)
    ('[1, ', '[<object object>]')
    """
    try:
        return without_addresses(repr(value))[:length]
    except Exception:  # noqa: BLE001 -- a user's repr may raise anything
        return f"<{type(value).__name__}>"


def error_text(error: BaseException) -> str:
    """The text of an error as it can be written and shown, without addresses in memory.

    Of one whose text cannot be had it is words that say so.

    Examples
    --------
    >>> error_text(ValueError("no such candle"))
    'no such candle'
    """
    try:
        return readable(without_addresses(str(error)))
    except Exception:  # noqa: BLE001 -- a user's exception may raise in its own text
        return "(its text cannot be read)"


def named_error(error: BaseException) -> str:
    """The class of an error and its text, if it has one.

    Examples
    --------
    >>> named_error(ValueError("no such candle")), named_error(TimeoutError())
    ('ValueError: no such candle', 'TimeoutError')
    """
    text = error_text(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def without_formula(text: str) -> str:
    """The text as a spreadsheet shows it: what would be a formula gets an apostrophe in front.

    Examples
    --------
    >>> without_formula("=1+1"), without_formula("breakout"), without_formula("-0.5")
    ("'=1+1", 'breakout', '-0.5')
    """
    if not text.startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
