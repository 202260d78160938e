"""The orders of an account at a local exchange as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS: Final = (
    *("at", "symbol", "side", "type", "quantity", "price", "trigger", "status", "filled", "average", "client_id"),
)
_NUMBERS: Final = ("quantity", "price", "trigger", "filled", "average")


def order_table(orders: Iterable[Mapping[str, Any]], *, open_only: bool) -> pd.DataFrame:
    """Orders as the exchange tells them as a table; see :meth:`LocalExchange.orders`."""
    import pandas as pd

    chosen = [each for each in orders if not open_only or each["status"] in ("working", "waiting")]
    rows = [{**each, "at": each["created"], "type": each["word"]} for each in chosen]
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    for name in _NUMBERS:
        table[name] = table[name].astype(float)
    table["average"] = table["average"].where(table["filled"] > 0)
    table["at"] = pd.to_datetime(table["at"], unit="ms", utc=True)
    return table
