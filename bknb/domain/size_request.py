"""What is known when the size of a position is asked for, and the form of the answer; ``bknb.SizeRequest``."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from .signal import Position


class ClosedTrades(msgspec.Struct, frozen=True):
    """Sums over the trades of a leg that were closed before a moment, after costs.

    Attributes
    ----------
    wins, losses
        How many ended above 0, and how many did not.
    won, lost
        Sums of their results in percent, as positive numbers.

    Examples
    --------
    >>> three = ClosedTrades().after(2.0).after(-1.0).after(4.0)
    >>> three.count, round(three.win_rate, 6), three.win_loss_ratio, three.mean_loss
    (3, 0.666667, 3.0, 1.0)
    """

    wins: int = 0
    losses: int = 0
    won: float = 0.0
    lost: float = 0.0

    @property
    def count(self) -> int:
        """How many trades were closed."""
        return self.wins + self.losses

    @property
    def win_rate(self) -> float:
        """Share of trades that won; 0 without any."""
        return self.wins / self.count if self.count else 0.0

    @property
    def mean_loss(self) -> float:
        """What a losing trade lost on average, percent; 0 without any."""
        return self.lost / self.losses if self.losses else 0.0

    @property
    def win_loss_ratio(self) -> float:
        """Average win over average loss; 0 where one of the two is not known."""
        return self.won / self.wins / self.mean_loss if self.wins and self.lost else 0.0

    def after(self, net: float) -> ClosedTrades:
        """The sums with one more trade; ``net`` in percent."""
        if net > 0.0:
            return replace(self, wins=self.wins + 1, won=self.won + net)
        return replace(self, losses=self.losses + 1, lost=self.lost - net)


class SizeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is known when a size is asked for: at the moment of the answer, before anything fills.

    Attributes
    ----------
    symbol, strategy
        The leg that asks.
    position : str
        ``"long"`` or ``"short"``.
    when : int
        The moment, UTC ms.
    entry : float
        The price at which the answer enters: its limit or stop entry, else the last close. Quote currency.
    price_stop_loss : float or None
        Its stop, in quote currency.
    equity, free : float
        Of the account, marked at the last closed minute: all of it, and the cash or margin that nothing has taken.
    atr : float or None
        Average true range, in quote currency, where the size asks for one.
    closed : ClosedTrades
        Trades of the leg that were closed before.
    costs_percent : float
        What a round trip costs, percent of the position.
    leverage : float
        The most that positions may be worth together, in multiples of the equity.

    Examples
    --------
    >>> request = SizeRequest(symbol="BTCUSDT", strategy="trend", position="long", when=0, entry=100.0,
    ...                       price_stop_loss=98.0, equity=10_000.0, free=10_000.0)
    >>> request.stop_distance, request.stop_percent
    (2.0, 2.0)
    """

    symbol: str
    strategy: str
    position: Position
    when: int
    entry: float
    price_stop_loss: float | None
    equity: float
    free: float
    atr: float | None = None
    closed: ClosedTrades = ClosedTrades()
    costs_percent: float = 0.0
    leverage: float = 1.0

    @property
    def stop_distance(self) -> float | None:
        """From the entry to the stop, quote currency; 0 where the entry is at or beyond it, ``None`` without a stop."""
        if self.price_stop_loss is None:
            return None
        distance = self.entry - self.price_stop_loss
        return max(distance if self.position == "long" else -distance, 0.0)

    @property
    def stop_percent(self) -> float | None:
        """From the entry to the stop, percent of the entry; ``None`` without a stop."""
        return None if self.stop_distance is None else self.stop_distance / self.entry * 100


class WantedSize(NamedTuple):
    """What a size answered: the value of the position (quote currency), or its units (base currency)."""

    money: float | None = None
    units: float | None = None

    def value(self, price: float) -> float:
        """What it is worth at a price, both in quote currency."""
        return (self.money or 0.0) if self.units is None else self.units * price

    def times(self, size: float) -> WantedSize:
        """So many times as much.

        Examples
        --------
        >>> WantedSize(money=500.0).times(0.5)
        WantedSize(money=250.0, units=None)
        """
        return WantedSize(*(None if value is None else value * size for value in self))
