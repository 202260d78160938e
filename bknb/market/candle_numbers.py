"""Prices and volumes of a table: numbers with their marks, and columns without names in an order that they prove."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import BadCandle, UsageError
from .candles import COLUMNS
from .time_units import plain_value

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from .candle_rows import Reading

_GROUPED: Final = re.compile(r"[+-]?\d{1,3}(?:([.,' \u00a0\u202f])\d{3})(?:\1\d{3})*(?:([.,])\d+)?")
_PRICED: Final = re.compile(r"[$€£¥₹]\s*[\d.,]+|[\d.,]+\s*[$€£¥₹]")
_SHORTENED: Final = re.compile(r"[\d.,]+\s*[KMBkmb]")
_ROUNDING: Final = 1e-9  # of a price
_FAR: Final = 2  # times between low and high, more than those of most minutes of any market
_TIMES: Final = 1e8  # the least number that is a time since 1970
_MANY: Final = 20  # candles with a range, of which not all have a volume within it by chance


def read_numbers(given: pd.Series[Any], reading: Reading, where: str) -> NDArray[np.float64]:
    """A column of numbers.

    Parameters
    ----------
    given
        Numbers, or text with the marks of ``reading``.
    reading
        How it is to be read.
    where
        The name of the source, for messages.

    Raises
    ------
    BadCandle
        A value is missing or is not a number; missing ones are passed on where a feed checks them.

    Examples
    --------
    >>> import pandas as pd
    >>> from bknb.market.candle_rows import Reading
    >>> german = Reading(where="mine", place=str, decimal=",", thousands=".")
    >>> read_numbers(pd.Series(["1.234,5", "987"]), german, "mine").tolist()
    [1234.5, 987.0]
    """
    import pandas as pd

    if isinstance(given.dtype, np.dtype) and given.dtype.kind in "iuf":  # the usual case, many times faster
        numbers: NDArray[np.float64] = given.to_numpy(dtype=np.float64)
        if reading.is_checked_later or np.isfinite(numbers).all():
            return numbers
    plain = given
    if not pd.api.types.is_numeric_dtype(given) and (reading.decimal != "." or reading.thousands is not None):
        plain = _with_points(given.astype(str).str.strip(), reading)
    values = as_numbers(plain)
    bad = ~np.isfinite(values)
    if reading.is_checked_later:
        bad &= given.notna().to_numpy() & ~_are_numbers(given)
    if bad.any():
        at = int(np.argmax(bad))
        value = plain_value(given.iloc[at])
        raise BadCandle(
            f"{where}, {reading.place(given.index[at])}: {str(given.name).strip()} must be a number, "
            f"got {value!r}\n{_advice(value, reading)}"
        )
    return values


def as_numbers(given: pd.Series[Any]) -> NDArray[np.float64]:
    """A column as numbers, NaN for what is none: True and False are none, and text is read to its last digit.

    Examples
    --------
    >>> import pandas as pd
    >>> as_numbers(pd.Series([True, "1.5", 2, "x"], dtype=object)).tolist()
    [nan, 1.5, 2.0, nan]
    """
    import pandas as pd

    if pd.api.types.is_bool_dtype(given):
        return np.full(len(given), np.nan)
    values = pd.to_numeric(given, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    if pd.api.types.is_numeric_dtype(given):
        return values
    # Before pandas 3.1 the last bit of a number that is text may be another one.
    pairs = zip(given.to_numpy(dtype=object), values.tolist(), strict=True)
    return np.array([_number(each, value) for each, value in pairs], dtype=np.float64)


def _number(given: Any, value: float) -> float:
    if isinstance(given, (bool, np.bool_)):
        return np.nan
    return float(given) if isinstance(given, str) and not np.isnan(value) else value


def check_order(frame: pd.DataFrame, values: dict[str, NDArray[np.float64]], where: str) -> list[str]:
    """What is told of columns without names that were taken as time, open, high, low, close, volume.

    Parameters
    ----------
    frame
        The table, with all its columns.
    values
        Open, high, low, close and volume, as they were taken.
    where
        The name of the source, for messages.

    Raises
    ------
    UsageError
        The values contradict that order: a high is not the highest, most prices of a candle are far from one another,
        a volume is negative, or all volumes are prices, as those of an average price or an adjusted close that stands
        before the volume.
    """
    if not len(frame):
        return []
    highest = np.maximum(np.maximum(values["open"], values["close"]), values["low"])
    lowest = np.minimum(np.minimum(values["open"], values["close"]), values["high"])
    volume = values["volume"]
    name_them = 'name them: columns=["timestamp", "open", "high", "low", "close", "volume", ...]'
    far = np.count_nonzero(values["high"] > _FAR * values["low"]) * 2 > len(frame) and (values["low"] > 0).all()
    if far or (values["high"] < highest).any() or (values["low"] > lowest).any() or (volume < 0).any():
        raise UsageError(
            f"{where}: has no header line, and its columns are not time, open, high, low, close, volume in this "
            f"order\n{name_them}"
        )
    if len(volume) > 1 and volume.min() >= _TIMES and (np.diff(volume) > 0).all() | (np.diff(volume) < 0).all():
        raise UsageError(
            f"{where}: has no header line, and what stands behind the close goes on like a time from row to row: it is "
            f"no volume\n{name_them}"
        )
    spread = values["high"] > values["low"]
    further = [label for label in frame.columns if str(label).startswith("column ")]
    if not further and np.count_nonzero(spread) < _MANY:
        return []
    traded = volume > 0
    slack = _ROUNDING * values["high"]
    if traded.any() and bool(((volume >= values["low"] - slack) & (volume <= values["high"] + slack))[traded].all()):
        raise UsageError(
            f"{where}: has no header line, and what stands behind the close lies between low and high in every row: "
            "it is a price, such as an average or an adjusted close, and no volume\n"
            f'{name_them}, with None for columns that are not read, such as columns=["timestamp", "open", "high", '
            '"low", "close", None, "volume", None]'
        )
    if not further or _is_known(frame, further):
        return []
    told = (
        f"{where}: has no header line: its first {len(COLUMNS)} columns were read as {', '.join(COLUMNS)}, and "
        f"{len(further)} more were not read; where the volume is another one, {name_them}"
    )
    return [told]


def _is_known(frame: pd.DataFrame, further: list[Any]) -> bool:
    """Whether the columns behind the volume are those of Binance (a later time first) or Kraken (a count of trades)."""
    import pandas as pd

    if all(frame[label].isna().all() for label in further):  # a separator at the end of each line
        return True
    first = frame[further[0]]
    if not pd.api.types.is_numeric_dtype(first) or bool(first.isna().any()):
        return False
    times = pd.to_numeric(frame.iloc[:, 0], errors="coerce")
    if len(further) >= 5:
        return bool((first > times).all())
    return len(further) == 1 and pd.api.types.is_integer_dtype(first) and bool(times.notna().all())


def _with_points(texts: pd.Series[Any], reading: Reading) -> pd.Series[Any]:
    """Numbers as text with a decimal point; what is written otherwise than ``reading`` says is missing."""
    thousands, decimal = reading.thousands, re.escape(reading.decimal)
    whole = r"\d*"
    between = None
    if thousands is not None:
        between = r"[ \u00a0\u202f]" if thousands == " " else re.escape(thousands)
        whole = rf"(?:\d{{1,3}}(?:{between}\d{{3}})+|\d*)"
    plain = texts.where(texts.str.fullmatch(rf"[+-]?{whole}(?:{decimal}\d*)?(?:[eE][+-]?\d+)?"))
    if between is not None:
        plain = plain.str.replace(between, "", regex=True)
    return plain.str.replace(reading.decimal, ".", regex=False)


def _are_numbers(given: pd.Series[Any]) -> NDArray[np.bool_]:
    """Which values are numbers, though they may not be finite."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(given):
        return np.full(len(given), not pd.api.types.is_bool_dtype(given))
    numbers = (int, float, np.number)
    return np.array([isinstance(each, numbers) and not isinstance(each, bool) for each in given], dtype=bool)


def _advice(value: Any, reading: Reading) -> str:
    """What may help with a value that is no number."""
    correct = "correct the value or leave the row out"
    if not isinstance(value, str) or not re.search(r"\d", value):
        return correct
    with_pandas = "make numbers of the column with pandas, then bknb.exchanges.from_frame"
    if _PRICED.fullmatch(value.strip()):
        return f"a price with the sign of its currency: {with_pandas}"
    if _SHORTENED.fullmatch(value.strip()):
        told = f"a number with K, M or B for thousands, millions or billions: {with_pandas}"
        return f'{told}; to read a file without its volumes: columns={{"volume": 1.0}}'
    grouped = _GROUPED.fullmatch(value.strip())
    if not reading.from_text:
        return _advice_for_a_column(value, grouped)
    if grouped is not None and (grouped[2] is not None or grouped[1] not in ".,"):
        if grouped[1] == grouped[2]:
            return correct
        decimal = grouped[2] or "."
        between = " " if grouped[1] in "\u00a0\u202f" else grouped[1]
        return f'numbers with a mark between thousands: thousands="{between}", decimal="{decimal}"'
    if "," in value and reading.decimal == ".":
        return 'numbers with a decimal comma: decimal=","; with commas between thousands: thousands=","'
    if "." in value and reading.decimal == ",":
        return (
            'numbers with a decimal point: decimal="."; with a decimal comma and points between thousands: '
            'thousands=".", decimal=","'
        )
    return correct


def _advice_for_a_column(value: str, grouped: re.Match[str] | None) -> str:
    """How a column of text becomes one of numbers, where no option says which marks they have."""
    if grouped is None and "," not in value:
        return "make numbers of the column, or leave the row out"
    point = '.str.replace(",", ".")'
    if grouped is None:
        return f"numbers with a decimal comma: change the column with {point}"
    bare = f'.str.replace("{grouped[1]}", "")'
    if grouped[1] == "," and grouped[2] is None and value.count(",") == 1:
        return f"numbers with a decimal comma: change the column with {point}; with commas between thousands: {bare}"
    return f"numbers with a mark between thousands: change the column with {bare}{point if grouped[2] == ',' else ''}"
