"""One order as the paper broker has it, and the journal of its orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from ..domain.broker_orders_and_ids import Report, ReportStatus, Side
from ..domain.fills_at_stops_and_gaps import Minute
from ..stores.disk import Disk
from ..stores.format_versions import read_json
from ..stores.journal import Journal, begins_with

JOURNAL_EXAMPLE: Final = "orders.jsonl"  # a name for a journal


class PaperOrder(msgspec.Struct, kw_only=True):
    """One order as the paper broker has it.

    ``received`` counts how often it was placed; it may fill in candles that open at or after ``created_at`` (UTC ms);
    ``rests`` once one of them left it unfilled; ``part`` is the share of it that a market order fills, and
    ``cancels_rest`` says that the rest of it is then cancelled.
    """

    client_id: str
    broker_id: str
    symbol: str
    side: Side
    quantity: float
    price: float | None
    status: ReportStatus
    filled_quantity: float = 0.0
    average_price: float | None = None
    received: int = 1
    note: str = ""
    created_at: int = 0
    rests: bool = False
    part: float = 1.0
    cancels_rest: bool = False
    version: int = 2

    def report(self) -> Report:
        """The report of the broker on the order."""
        return Report(
            client_id=self.client_id,
            symbol=self.symbol,
            status=self.status,
            filled_quantity=self.filled_quantity,
            average_price=self.average_price,
            broker_id=self.broker_id,
            note=self.note,
        )

    @property
    def signed_quantity(self) -> float:
        """What is filled of it, in base currency; below 0 for a sale."""
        return self.filled_quantity if self.side == "buy" else -self.filled_quantity

    @property
    def working(self) -> bool:
        """Whether it can still be filled or cancelled."""
        return self.status in ("accepted", "partly_filled")

    def receive_again(self) -> None:
        """Count one more request to place it."""
        self.received += 1

    def cancel(self) -> None:
        """Cancel what is not filled."""
        self.status = "cancelled"

    def fill(self, quantity: float, price: float) -> None:
        """Fill a quantity (base currency) at a price (quote currency); the average price follows."""
        before = self.filled_quantity
        # A remainder that is only an error of rounding is none.
        after = before + quantity
        self.filled_quantity = self.quantity if after >= self.quantity * (1 - 1e-12) else after
        self.average_price = (before * (self.average_price or 0.0) + quantity * price) / (before + quantity)
        self.status = "filled" if self.filled_quantity == self.quantity else "partly_filled"

    def fill_market(self, price: float) -> None:
        """Fill a market order at a price (quote currency): all of it, or the share its trouble leaves it."""
        self.fill(self.quantity * self.part, price)
        if self.cancels_rest:
            self.cancel()

    def meet(self, minute: Minute) -> bool:
        """Fill the order by a candle, if it does; returns whether the order changed."""
        if minute.t < self.created_at or not minute.traded or (self.price is None and self.filled_quantity > 0):
            return False
        first, self.rests = not self.rests, True
        if self.price is None:
            self.fill_market(minute.open)
            return True
        sign = 1 if self.side == "buy" else -1
        opened, limit = sign * minute.open, sign * self.price
        rest = self.quantity - self.filled_quantity
        if opened < limit or (first and opened == limit):
            self.fill(rest, minute.open)
        elif (minute.low if sign > 0 else -minute.high) < limit:
            self.fill(rest, self.price)
        return self.status == "filled" or first


_READERS: Final[Mapping[int, Callable[[bytes], PaperOrder]]] = dict.fromkeys(
    (1, 2), partial(msgspec.json.decode, type=PaperOrder)
)
"""In version 1 market orders were filled as they came, and no line said from when on an order may fill."""


def journal_of_orders(path: Path, disk: Disk | None) -> Journal:
    """The journal of the orders of a paper broker in a file."""
    opening = begins_with(b'{"client_id":')
    return Journal(path, entry="order of a paper broker", is_beginning=opening, example=JOURNAL_EXAMPLE, disk=disk)


def orders_in(journal: Journal) -> list[PaperOrder]:
    """The orders in a journal, one for each change of an order, oldest first.

    Raises
    ------
    StateError
        When a line cannot be read, or a newer bknb wrote it.
    """
    return journal.read_strictly(
        lambda line: read_json(_READERS, line, what=str(journal.path)),
        advice="it holds the orders of a broker on paper; repair the line, or begin another journal",
    )
