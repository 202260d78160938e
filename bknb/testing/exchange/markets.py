"""What is traded at a local exchange: names, steps, limits and fees of one market."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """One symbol: its names and the rules of its orders; amounts are text, as an exchange writes them.

    Attributes
    ----------
    base, quote
        The currencies; a swap is settled in ``quote``.
    tick, step
        The steps of prices and quantities.
    listed_at, delisted_at
        When it is traded, UTC ms.
    swap
        Whether it is a linear perpetual.
    contract
        What one contract holds of the base currency, where the exchange counts in contracts.
    least, most, market_most
        Quantities: of any order, and the largest of one at the market.
    notional
        The least an order may be worth, in ``quote``.
    band
        Prices may be up to so many times the last one and down to its reciprocal; ``"0"``: no limit.
    stops
        How many conditional orders may wait at a time.
    maker, taker
        Fees in percent.
    maintenance
        Of a swap: the share of a position in percent at which it is liquidated.
    halted
        Whether trading is suspended.
    name
        What the exchange calls it, where that is not base and quote in one word.
    """

    base: str
    quote: str = "USDT"
    tick: str = "0.01000000"
    step: str = "0.00001000"
    listed_at: int = 0
    delisted_at: int | None = None
    swap: bool = False
    contract: str = "1"
    least: str = "0.00001000"
    most: str = "9000.00000000"
    market_most: str = "120.00000000"
    notional: str = "5.00000000"
    band: str = "5"
    stops: int = 5
    maker: str = "0.1"
    taker: str = "0.1"
    maintenance: str = "0.4"
    halted: bool = False
    name: str = ""

    @property
    def id(self) -> str:
        """What the exchange calls it: its ``name``, else base and quote in one word, as at Binance.

        Examples
        --------
        >>> Market(base="BTC").id, Market(base="BTC", swap=True, name="BTC-USDT-SWAP").id
        ('BTCUSDT', 'BTC-USDT-SWAP')
        """
        return self.name or self.pair

    @property
    def pair(self) -> str:
        """Base and quote in one word, whatever the exchange calls it."""
        return self.base + self.quote

    def least_quantity(self) -> Decimal:
        """The smallest quantity of an order, in base currency or contracts."""
        return max(Decimal(self.least), Decimal(self.step))

    def down_to_step(self, quantity: Decimal) -> Decimal:
        """The quantity, rounded down to the step.

        Examples
        --------
        >>> Market(base="BTC", step="0.001").down_to_step(Decimal("0.00199"))
        Decimal('0.001')
        """
        step = Decimal(self.step)
        return (quantity // step * step).normalize() + 0


def is_multiple(value: Decimal, step: str) -> bool:
    """Whether a number lies on the grid of a step.

    Examples
    --------
    >>> is_multiple(Decimal("0.015"), "0.01"), is_multiple(Decimal("0.02"), "0.01")
    (False, True)
    """
    return value % Decimal(step) == 0
