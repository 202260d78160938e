"""Compact tables of rows for a model, and an estimate of the tokens of a text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from ..domain.formatting import minute_text

Row = Mapping[str, Any]

_PIECES: Final = re.compile(r"\d{1,3}|[^\W\d_]+|[^\w\s]+|_+|\n+| {2,}")
_LETTERS_PER_TOKEN: Final = 5


def count_tokens(text: str) -> int:
    """Estimate of the tokens of a text, without the model's own vocabulary.

    Counted as current tokenizers split: numbers in groups of up to three digits, words in pieces, signs one by one or
    in pairs. The model's own count arrives with its answer and is shown beside this one.

    Examples
    --------
    >>> count_tokens("close 42000.5"), count_tokens("")
    (5, 0)
    """
    count = 0
    for piece in _PIECES.findall(text):
        first = piece[0]
        if first.isalpha():
            count += math.ceil(len(piece) / _LETTERS_PER_TOKEN) if piece.isascii() else len(piece)
        elif first.isdigit() or first.isspace():
            count += 1
        else:
            count += math.ceil(len(piece) / 2)
    return count


def short_number(value: float, *, digits: int = 6) -> str:
    """A number with at most ``digits`` significant digits and no exponent where it can be avoided.

    Examples
    --------
    >>> short_number(42123.456789), short_number(0.5), short_number(float("nan"))
    ('42123.5', '0.5', '')
    """
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude >= digits or magnitude < -8:
        return f"{value:.{digits}g}" if magnitude < -8 else f"{value:.0f}"
    text = f"{value:.{max(digits - 1 - magnitude, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        moment = value.astimezone(UTC) if value.tzinfo else value
        return minute_text(moment)
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return short_number(value)
    return " ".join(str(value).split()).replace("|", "/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows rendered for a model.

    Attributes
    ----------
    text : str
        The table, its legend, and a sentence about rows left out.
    tokens : int
        About how many tokens the text is.
    shown, total : int
        Rows in the table, and rows there were.
    """

    text: str
    tokens: int
    shown: int
    total: int


def render(
    rows: Sequence[Row],
    *,
    legend: Mapping[str, str] | None = None,
    budget: int | None = None,
) -> Table:
    """Rows as a table with a legend; where the budget is too small the oldest rows are left out.

    Parameters
    ----------
    rows
        Mappings, oldest first; ``id`` is not shown.
    legend
        Column -> what it means; only columns that are there are explained.
    budget
        Most tokens of the whole text; ``None``: no limit.

    Examples
    --------
    >>> rows = [{"id": 1, "time": "10:00", "close": 10.0}, {"id": 2, "time": "10:15", "close": 11.5}]
    >>> print(render(rows, legend={"close": "last price"}).text)
    time|close
    10:00|10
    10:15|11.5
    <BLANKLINE>
    close: last price
    """
    columns = list(dict.fromkeys(name for row in rows for name in row if name != "id"))
    lines = ["|".join(_cell(row.get(name)) for name in columns) for row in rows]
    head = "|".join(columns)
    explained = "\n".join(f"{name}: {legend[name]}" for name in columns if legend and name in legend)

    def text_of(shown: int) -> str:
        left_out = len(lines) - shown
        parts = [head, *lines[left_out:]]
        if not lines:
            parts = ["(no rows)"]
        if explained:
            parts += ["", explained]
        if left_out:
            parts += ["", f"(the oldest {left_out} of {len(lines)} rows are left out to stay within the token budget)"]
        return "\n".join(parts)

    shown = len(lines)
    if budget is not None and count_tokens(text_of(shown)) > budget:
        low, high = 0, shown  # low rows fit (or nothing does), high rows do not
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if count_tokens(text_of(middle)) <= budget else (low, middle)
        shown = low
    text = text_of(shown)
    return Table(text=text, tokens=count_tokens(text), shown=shown, total=len(lines))
