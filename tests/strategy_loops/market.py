"""What the loops read and write: bars as they come from a source, fills, and the cash of an account."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from bknb.exchanges import demo

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


class Bar(NamedTuple):
    """A bar that opens at ``t`` (UTC ms)."""

    t: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Fill(NamedTuple):
    """What was bought (``units`` above 0) or sold at a price of the market, before slippage."""

    at: int
    units: float
    price: float


class Told(NamedTuple):
    """What a loop says: its fills in order, and what the account is worth at the end."""

    fills: list[Fill]
    end: float


def ms(text: str) -> int:
    """The moment of a day or a minute of UTC, in ms."""
    return int(pd.Timestamp(text, tz="UTC").value // 1_000_000)


def demo_bars(symbol: str, since: str, until: str, minutes: int = 1) -> list[Bar]:
    """Bars of the demo market, made of so many of its minutes each; it has no holes."""
    start = ms(since)
    count = (ms(until) - start) // 60_000
    candles = asyncio.run(demo().get_candles(symbol, "1m", start, count))
    rows = {
        name: np.asarray(getattr(candles, name)).reshape(-1, minutes)
        for name in ("open", "high", "low", "close", "volume")
    }
    parts = (rows["open"][:, 0], rows["high"].max(1), rows["low"].min(1), rows["close"][:, -1], rows["volume"].sum(1))
    times = range(start, ms(until), minutes * 60_000)
    return [Bar(*row) for row in zip(times, *(part.tolist() for part in parts), strict=True)]


def bars_of_table(table: pd.DataFrame) -> list[Bar]:
    """The bars of a table, by their open times."""
    times = table.index.tz_localize("UTC") if table.index.tz is None else table.index.tz_convert("UTC")
    stamps = (times.as_unit("ms").asi8).tolist()
    columns = (table[name].tolist() for name in ("open", "high", "low", "close", "volume"))
    return [Bar(*row) for row in zip(stamps, *columns, strict=True)]


def longer(bars: Sequence[Bar], length: int) -> list[Bar]:
    """Bars of a multiple of the length, of whole ones alone: by the clock of UTC."""
    made: dict[int, list[Bar]] = {}
    for bar in bars:
        made.setdefault(bar.t // length * length, []).append(bar)
    whole = max(map(len, made.values()))
    return [joined(t, part) for t, part in made.items() if len(part) == whole]


def joined(t: int, bars: Sequence[Bar]) -> Bar:
    """One bar of several that follow each other."""
    high, low = max(bar.high for bar in bars), min(bar.low for bar in bars)
    return Bar(t, bars[0].open, high, low, bars[-1].close, sum(bar.volume for bar in bars))


def without_gaps(bars: Sequence[Bar]) -> list[Bar]:
    """The same bars, each of which opens where the one before closed."""
    opens = [bars[0].open, *(bar.close for bar in bars)]
    return [
        Bar(bar.t, opened, max(bar.high, opened), min(bar.low, opened), bar.close, bar.volume)
        for bar, opened in zip(bars, opens, strict=False)
    ]


@dataclass(frozen=True)
class Terms:
    """What a run is given: its frame (UTC ms), its capital, costs of each side in percent, and the spread in prices.

    Without a fee of makers what rested costs what all others cost.
    """

    start: int
    end: int
    capital: float
    taker: float = 0.0
    maker: float | None = None
    slippage: float = 0.0
    spread: float = 0.0


@dataclass
class Account:
    """Cash and units of one market."""

    terms: Terms
    cash: float
    units: float = 0.0
    fills: list[Fill] = field(default_factory=list)

    def paid(self, price: float, sign: float) -> float:
        """The price that a taker pays who buys (``sign`` 1) or sells (-1)."""
        return price * (1 + sign * self.terms.slippage / 100) + sign * self.terms.spread / 2

    def take(self, at: int, units: float, price: float) -> None:
        """Buy or sell at the market, or at a stop."""
        self._book(at, units, price, self.paid(price, 1 if units > 0 else -1), self.terms.taker)

    def make(self, at: int, units: float, price: float) -> None:
        """Buy or sell by an order that rested: the fee of makers and no slippage."""
        if self.terms.maker is None:
            self.take(at, units, price)
        else:
            self._book(at, units, price, price, self.terms.maker)

    def _book(self, at: int, units: float, price: float, paid: float, fee: float) -> None:
        self.cash -= units * paid + abs(units) * paid * fee / 100
        self.units += units
        self.fills.append(Fill(at, units, price))

    def leaves(self, bar: Bar, stop: float, target: float | None = None, *, inside: bool = False) -> bool:
        """Whether a bar ends what is held: at the stop, else at the target, at an open beyond them at that open.

        ``inside``: it was opened within the bar by a limit, whose open and better half lie before the fill.
        """
        sign = 1 if self.units > 0 else -1
        best, worst = (bar.high, bar.low) if sign > 0 else (bar.low, bar.high)
        if not inside and sign * bar.open <= sign * stop:
            self.take(bar.t, -self.units, bar.open)
        elif not inside and target is not None and sign * bar.open > sign * target:
            self.make(bar.t, -self.units, bar.open)
        elif sign * worst <= sign * stop:
            self.take(bar.t, -self.units, stop)
        elif not inside and target is not None and sign * best > sign * target:
            self.make(bar.t, -self.units, target)
        else:
            return False
        return True

    def worth(self, price: float) -> float:
        """Cash, and what is held at a price."""
        return self.cash + self.units * price


def average_price(bars: Sequence[Bar]) -> float:
    """``price`` of a strategy over minutes: of the last five, each at the mean of high, low and close, by volume."""
    weights = [bar.volume for bar in bars]
    return sum(w * (b.high + b.low + b.close) / 3 for w, b in zip(weights, bars, strict=True)) / sum(weights)
