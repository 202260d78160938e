"""Orders, fills and refusals as a local exchange keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

Side: TypeAlias = Literal["buy", "sell"]
Kind: TypeAlias = Literal["market", "limit"]
Status: TypeAlias = Literal["waiting", "working", "triggered", "filled", "cancelled", "expired", "rejected"]

OPEN: Final[tuple[Status, ...]] = ("waiting", "working")
ZERO: Final = Decimal(0)


class RefusedError(Exception):
    """What an exchange does not do; each face says it with its own code and text.

    Parameters
    ----------
    reason
        A key of the tables of the faces, such as ``"balance"``.
    detail
        What the text names: a parameter, seconds, an order.
    """

    def __init__(self, reason: str, **detail: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


@dataclass(slots=True, kw_only=True)
class Fill:
    """One trade of an order."""

    number: int
    order: int
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_currency: str
    maker: bool
    at: int
    profit: Decimal = ZERO

    @property
    def cost(self) -> Decimal:
        """Quantity times price, in quote currency."""
        return self.quantity * self.price


@dataclass(slots=True, kw_only=True)
class Order:
    """One order. With a ``trigger`` it is conditional: it waits until the last price has come there.

    Attributes
    ----------
    number, client_id
        What the exchange and the client call it.
    kind
        What it is, or becomes once triggered.
    word
        The exchange's own name of its type.
    falls
        Whether a falling price triggers it.
    locked, locked_currency
        What of the free balance it holds.
    pair
        The number of the pair it belongs to; of a pair one order is carried out.
    child, parent
        A triggered order that is another one where it works, and back.
    hidden_until
        Nobody finds it before, UTC ms.
    """

    number: int
    client_id: str
    symbol: str
    side: Side
    kind: Kind
    quantity: Decimal
    price: Decimal | None = None
    trigger: Decimal | None = None
    falls: bool = False
    word: str = ""
    time_in_force: str = "GTC"
    maker_only: bool = False
    reduce_only: bool = False
    status: Status = "working"
    filled: Decimal = ZERO
    cost: Decimal = ZERO
    created: int = 0
    updated: int = 0
    locked: Decimal = ZERO
    locked_currency: str = ""
    pair: int | None = None
    child: int | None = None
    parent: int | None = None
    hidden_until: int = 0
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether it works or waits."""
        return self.status in OPEN

    @property
    def rest(self) -> Decimal:
        """What is not filled."""
        return self.quantity - self.filled

    @property
    def average(self) -> Decimal:
        """The price it was filled at, 0 where it was not."""
        return self.cost / self.filled if self.filled else ZERO

    @property
    def level(self) -> Decimal | None:
        """The price at which something happens to it; ``None``: at any."""
        return self.trigger if self.status == "waiting" else self.price

    def reached(self, price: Decimal, *, through: bool) -> bool:
        """Whether something happens to it at this price.

        Parameters
        ----------
        price
            The last price.
        through
            Whether a limit is filled only by a price beyond it.

        Examples
        --------
        >>> order = Order(number=1, client_id="a", symbol="BTCUSDT", side="buy", kind="limit", quantity=Decimal(1),
        ...     price=Decimal(100))
        >>> order.reached(Decimal(100), through=False), order.reached(Decimal(100), through=True)
        (True, False)
        """
        level = self.level
        if level is None:
            return True
        if self.status == "waiting":
            return price <= level if self.falls else price >= level
        if price == level:
            return not through
        return price < level if self.side == "buy" else price > level
