"""The column of a table that names the symbol of each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import BadCandle

if TYPE_CHECKING:
    import pandas as pd

    from .time_units import Place

_EXACT: Final = 2.0**53  # whole numbers below it are kept by a float to the last digit


def symbols_in_column(column: pd.Series[Any], where: str, place: Place) -> pd.Series[Any]:
    """The symbol of each row, as text.

    Numbers without decimals are whole ones: where a row of a column of whole numbers is empty, pandas makes floats of
    all of them, and they stay floats when that row is left out.

    Parameters
    ----------
    column
        A column of text or numbers.
    where, place
        The name of the table and the words for a row, for messages.

    Raises
    ------
    BadCandle
        A symbol is missing, or is a number that is not whole.

    Examples
    --------
    >>> import pandas as pd
    >>> symbols_in_column(pd.Series([700.0, 5.0, None]).dropna(), "mine", str).tolist()
    ['700', '5']
    """
    import pandas as pd

    texts = column.astype(str).str.strip().to_numpy(dtype=object, copy=True)
    blank = column.isna().to_numpy() | (texts == "")
    name = str(column.name).strip()
    if blank.any():
        row = column.index[int(np.argmax(blank))]
        raise BadCandle(
            f"{where}, {place(row)}: {name} must name the symbol, and is empty\nfill it in, or leave the row out"
        )
    for at, value in enumerate(column.astype(object)):
        if isinstance(value, (float, np.floating)):
            texts[at] = symbol_text(value)
            if texts[at] is None:
                raise BadCandle(
                    f"{where}, {place(column.index[at])}: {name} must name the symbol, and is the number {value}\n"
                    f"give symbols as text: frame[{name!r}].astype(str)"
                )
    return pd.Series(texts, index=column.index, name=column.name)


def symbol_text(value: object) -> str | None:
    """A symbol as text; of a float the whole number it is, and ``None`` where it is none to the last digit.

    Examples
    --------
    >>> symbol_text("AAPL "), symbol_text(700), symbol_text(700.0), symbol_text(0.5)
    ('AAPL', '700', '700', None)
    """
    if not isinstance(value, (float, np.floating)):
        return str(value).strip()
    number = float(value)
    return str(int(number)) if abs(number) < _EXACT and number.is_integer() else None
