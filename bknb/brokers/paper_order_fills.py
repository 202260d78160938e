"""One order as the paper broker has it, and the journal of its orders."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from ..domain.broker_account import Fee, Fill, Side
from ..domain.broker_orders_and_ids import OrderKind, Report, ReportStatus
from ..domain.fills_at_stops_and_gaps import Minute
from ..stores.disk import Disk
from ..stores.format_versions import read_json
from ..stores.journal import Journal, begins_with

JOURNAL_EXAMPLE: Final = "orders.jsonl"  # a name for a journal


class PaperTrade(msgspec.Struct, frozen=True):
    """A fill of an order: base currency, quote currency, UTC ms."""

    quantity: float
    price: float
    at: int


class PaperOrder(msgspec.Struct, kw_only=True):
    """One order as the paper broker has it.

    ``received`` counts how often it was placed; it may fill in candles that open at or after ``created_at`` (UTC ms);
    ``rests`` once one of them left it unfilled; ``part`` is the share of it that a market order fills, and
    ``cancels_rest`` says that the rest of it is then cancelled. ``fee_percent`` of each fill is paid in
    ``fee_currency``, which is what was bought where ``fee_in_base``. ``kind`` and ``trigger`` are those of a stop or a
    target; ``None``: it is neither.
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
    kind: OrderKind | None = None
    trigger: float | None = None
    reduces_only: bool = False
    fee_percent: float = 0.0
    fee_currency: str = ""
    fee_in_base: bool = False
    trades: list[PaperTrade] = []
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
            fees=self._fees(self.filled_quantity, self.average_price or 0.0),
            trigger=self.trigger if self.working else None,
        )

    def fills(self) -> list[Fill]:
        """Its fills, each with its fee."""
        return [
            Fill(
                client_id=self.client_id, symbol=self.symbol, side=self.side, quantity=each.quantity, price=each.price,
                at=each.at, trade_id=f"{self.broker_id}-{number}", fees=self._fees(each.quantity, each.price),
                broker_id=self.broker_id,
            )
            for number, each in enumerate(self.trades, start=1)
        ]  # fmt: skip

    def _fees(self, quantity: float, price: float) -> tuple[Fee, ...]:
        if not (self.fee_percent and quantity):
            return ()
        amount = quantity * self.fee_percent / 100 * (1.0 if self.fee_in_base else price)
        return (Fee(currency=self.fee_currency, amount=amount),)

    @property
    def signed_quantity(self) -> float:
        """What its fills changed of what is held, in base currency; below 0 for a sale."""
        if self.side == "sell":
            return -self.filled_quantity
        return self.filled_quantity * (1 - self.fee_percent / 100 if self.fee_in_base else 1)

    @property
    def rest(self) -> float:
        """How much of it is not filled, in base currency."""
        return self.quantity - self.filled_quantity

    @property
    def working(self) -> bool:
        """Whether it can still be filled or cancelled."""
        return self.status in ("accepted", "partly_filled")

    def receive_again(self) -> None:
        """Count one more request to place it."""
        self.received += 1

    def cancel(self, note: str = "") -> None:
        """Cancel what is not filled."""
        self.status, self.note = "cancelled", note or self.note

    def fill(self, quantity: float, price: float, at: int) -> None:
        """Fill a quantity (base currency) at a price (quote currency) and time (UTC ms); the average price follows."""
        before = self.filled_quantity
        # A remainder that is only an error of rounding is none.
        after = before + quantity
        self.filled_quantity = self.quantity if after >= self.quantity * (1 - 1e-12) else after
        self.average_price = (before * (self.average_price or 0.0) + quantity * price) / (before + quantity)
        self.status = "filled" if self.filled_quantity == self.quantity else "partly_filled"
        self.trades = [*self.trades, PaperTrade(quantity, price, at)]

    def fill_market(self, price: float, at: int, most: float = math.inf) -> None:
        """Fill a market order at a price (quote currency): all of it, or the share its trouble leaves it.

        No more than ``most`` is filled (base currency); what is beyond is cancelled.
        """
        self.fill(min(self.quantity * self.part, most), price, at)
        if self.cancels_rest or (self.rest and most < self.quantity * self.part):
            self.cancel()

    def meet(self, minute: Minute, most: float = math.inf) -> bool:
        """Fill the order by a candle, if it does, by ``most`` (base currency); returns whether the order changed."""
        if minute.t < self.created_at or not minute.traded or (self.is_market and self.filled_quantity > 0):
            return False
        first, self.rests = not self.rests, True
        price = minute.open if self.is_market else self._price_in(minute, first=first)
        if price is None:
            return first
        if most <= 0.0:
            self.cancel("it may only reduce a position, and there is none")
        elif self.is_market:
            self.fill_market(price, minute.t, most)
        else:
            self.fill(min(self.rest, most), price, minute.t)
            if self.rest:
                self.cancel("no more was held")
        return True

    @property
    def is_market(self) -> bool:
        """Whether it fills at once, at whatever price."""
        return self.price is None and self.trigger is None

    def _price_in(self, minute: Minute, *, first: bool) -> float | None:
        """At which price a candle fills what rests (quote currency); ``None``: it does not."""
        level = self.price if self.trigger is None else self.trigger
        assert level is not None  # it rests  # noqa: S101
        sign = 1 if self.side == "buy" else -1
        opened, at = sign * minute.open, sign * level
        if self.kind == "stop":
            reached = (minute.high if sign > 0 else -minute.low) >= at
            return sign * max(opened, at) if reached else None
        if opened < at or (first and opened == at):
            return minute.open
        return level if (minute.low if sign > 0 else -minute.high) < at else None


_READERS: Final[Mapping[int, Callable[[bytes], PaperOrder]]] = dict.fromkeys(
    (1, 2, 3), partial(msgspec.json.decode, type=PaperOrder)
)
"""In version 1 market orders were filled as they came, and no line said from when on an order may fill. Version 3 is
that of orders with a trigger or with a fee in what was bought: whoever reads 2 would take them for others."""


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
