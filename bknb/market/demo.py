"""A synthetic market: deterministic, endless, offline.

Every number comes from a counter-based hash of (symbol, purpose, position), so any minute can be made without the
ones before it, and the same minute is the same in whatever range it is asked for.

The recipe, from the slow to the fast:

* *Days.* The logarithm of the price at midnight: values of their own every 256 days (this keeps the price within
  bounds for ever), and in between midpoint displacement down to one day, which is a random walk.
* *Swings.* A smooth wave with a knot every six hours whose size comes and goes over days: trending and ranging
  stretches.
* *Minutes.* Within a day a random walk that is bent to meet both midnights (a Brownian bridge, in time measured by
  variance). Its volatility is a product of noises from a week down to minutes (calm and wild stretches; large
  moves come in clusters), of the hour of the day and of the day of the week; rare minutes jump.
* *Candles.* A minute opens where the last one closed, one in ten a little off; wicks and volume follow the
  volatility, the volume also the size of the move.

Every symbol shares a part of its randomness with the market as a whole, so that symbols move together.

Why it is the same everywhere: integers wrap in 64 bits; floats are only added, subtracted, multiplied, divided,
compared, floored, rooted and summed one after the other (``cumsum``), which IEEE 754 fixes to the last bit.
No logarithm, exponential or cosine is used, since these differ between mathematical libraries: a normal deviate is
a sum of four uniforms, and the exponential is ``(1 + x/n)**n`` by repeated squaring.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import numpy as np

from ..domain.interval import DAY_MINUTES, MINUTE_MS, ceil_to, interval_ms
from ..errors import UsageError
from .candles import Candles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Hashes = NDArray[np.uint64]

_Number = TypeVar("_Number", np.int64, np.float64)

_ERA_DAYS: Final = 256
_DAYS_AT_ONCE: Final = 16  # the temporaries of that many days fit into a processor's cache

# One sixteen-bit uniform has variance 65536**2 / 12 (nearly); this makes the variance of the sum of four 1.
_NORMAL_SCALE: Final = 2.6428839e-05
_HALF_SUM: Final = 131_070

_ERA_DEVIATION: Final = 0.32
_DAY_DEVIATION: Final = 0.024
_MINUTE_DEVIATION: Final = 0.00052
_SWING_DEVIATION: Final = 0.009
# (knots every so many minutes, weight): the logarithm of volatility. Lengths with no common factor, so that
# knots do not fall together.
_VOLATILITY: Final = ((11_003, 0.38), (1_597, 0.40), (331, 0.32), (37, 0.32), (5, 0.3))
# By hour of the UTC day: volatility is high when the Americas trade, low before Asia wakes.
_HOURS: Final = (1.1, 1.0, 0.95, 0.9, 0.85, 0.85, 0.9, 1.0, 1.1, 1.05, 1.0, 1.0)
_HOURS_LATE: Final = (1.1, 1.3, 1.4, 1.35, 1.25, 1.15, 1.05, 1.0, 0.95, 0.9, 0.95, 1.05)
# By day of the week, Monday first.
_WEEKDAYS: Final = (1.05, 1.08, 1.1, 1.08, 1.02, 0.75, 0.8)

# Purposes, so that no two numbers share a hash.
_ERAS, _MIDPOINTS, _STEPS, _JUMPS, _SWINGS, _TREND, _WICKS, _VOLUME, _MOODS = range(1, 10)


class _Market(NamedTuple):
    """The parameters of one symbol."""

    price: float  # around which it moves, in quote currency
    decimals: int  # of a price
    quantity_decimals: int
    liveliness: float  # moves are that much larger than Bitcoin's
    reach: float  # the logarithm of (highest possible price / price)
    turnover: float  # quote currency traded in an ordinary minute
    own: float  # share of its randomness that is its own, 0..1
    key: int


_WORD: Final = 0xFFFFFFFFFFFFFFFF


def _name_key(name: str) -> int:
    """FNV-1a, 64 bits: Python's own ``hash`` differs from process to process."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & _WORD
    return value


_SHARED: Final = _name_key("the market as a whole")


def _known(
    name: str, price: float, decimals: int, quantity_decimals: int, *, lively: float, turnover: float
) -> _Market:
    return _Market(
        price=price,
        decimals=decimals,
        quantity_decimals=quantity_decimals,
        liveliness=lively,
        reach=0.8 if lively == 1.0 else 1.1,
        turnover=turnover,
        own=0.55,
        key=_name_key(name),
    )


_MARKETS: Final = {
    "BTCUSDT": _known("BTCUSDT", 44_700.0, 2, 5, lively=1.0, turnover=900_000.0),
    "ETHUSDT": _known("ETHUSDT", 2_600.0, 2, 4, lively=1.25, turnover=500_000.0),
    "SOLUSDT": _known("SOLUSDT", 110.0, 3, 3, lively=1.7, turnover=150_000.0),
    "BNBUSDT": _known("BNBUSDT", 420.0, 2, 3, lively=1.15, turnover=120_000.0),
    "XRPUSDT": _known("XRPUSDT", 0.62, 5, 1, lively=1.4, turnover=140_000.0),
}


def _market(symbol: str) -> _Market:
    if symbol in _MARKETS:
        return _MARKETS[symbol]
    key = _name_key(symbol)
    magnitude = key % 7 - 3  # prices from thousandths to thousands
    digits = 1 + (key >> 8) % 9
    price = float(digits * 10**magnitude) if magnitude >= 0 else digits / 10**-magnitude
    return _Market(
        price=price,
        decimals=min(9, max(2, 5 - magnitude)),
        quantity_decimals=min(5, max(0, 2 + magnitude)),
        liveliness=1.1 + ((key >> 16) % 10) / 10,
        reach=1.1,
        turnover=20_000.0 * (1 + (key >> 24) % 9),
        own=0.6,
        key=key,
    )


class DemoSource:
    """One-minute candles of a synthetic market.

    Deterministic on every platform, endless in both directions, any symbol. ``BTCUSDT`` stays between 20 000 and
    100 000. It looks like a market (clustered volatility, fat tails, trends and ranges, hours and weekends), but
    nothing can be predicted from it.

    Examples
    --------
    >>> import asyncio
    >>> source = DemoSource()
    >>> candles = asyncio.run(source.get_candles("BTCUSDT", "1m", 1_641_038_400_000, 1440))
    >>> candles
    Candles(1440, 2022-01-01T12:00 .. 2022-01-02T11:59 UTC)
    >>> again = asyncio.run(source.get_candles("BTCUSDT", "1m", 1_641_042_000_000, 5))
    >>> again == candles[60:65]
    True
    """

    intervals: tuple[str, ...] | None = ("1m",)
    page_limit: int | None = None
    is_local = True
    symbols: tuple[str, ...] = tuple(_MARKETS)

    def __init__(self) -> None:
        self.name = "demo"

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """Exactly ``limit`` candles from ``since`` (UTC milliseconds) on.

        Raises
        ------
        UsageError
            For another interval than ``1m``; a feed resamples.
        """
        if interval != "1m":
            interval_ms(interval)
            raise UsageError(f"the demo has 1m candles, not {interval}; bknb.get_candles resamples them")
        first = ceil_to(since, MINUTE_MS) // MINUTE_MS
        block = np.empty((6, max(0, limit)), dtype=np.float64)
        block[0].view(np.int64)[:] = np.arange(first, first + block.shape[1], dtype=np.int64) * MINUTE_MS
        market = _market(symbol)
        at, end = first, first + block.shape[1]
        candles, at_once = _candles, _DAYS_AT_ONCE
        if (end - 1) // DAY_MINUTES - at // DAY_MINUTES < 2:
            candles, at_once = _kept_candles, 1
        while at < end:
            day = at // DAY_MINUTES
            days = min(at_once, (end - 1) // DAY_MINUTES - day + 1)
            stop = min(end, (day + days) * DAY_MINUTES)
            columns = candles(market, day, days)
            for row, column in enumerate(columns, start=1):
                block[row, at - first : stop - first] = column[at - day * DAY_MINUTES : stop - day * DAY_MINUTES]
            at = stop
        block.setflags(write=False)
        return Candles(block)

    def format_price(self, symbol: str, price: float) -> str:
        """A price with the symbol's decimals."""
        return f"{price:.{_market(symbol).decimals}f}"

    def format_quantity(self, symbol: str, quantity: float) -> str:
        """A quantity with the symbol's decimals."""
        return f"{quantity:.{_market(symbol).quantity_decimals}f}"


@lru_cache(maxsize=32)  # of 58 kB a day; a live run asks for one minute after the other
def _kept_candles(market: _Market, day: int, days: int) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """The arrays of ``_candles``, the same ones each time: not to be written to."""
    return _candles(market, day, days)


def _candles(market: _Market, day: int, days: int) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Open, high, low, close and volume of whole days."""
    minute = np.arange(day * DAY_MINUTES, (day + days) * DAY_MINUTES, dtype=np.int64)
    mood = _mood(market, minute)
    rhythm = _rhythm(minute)
    volatility = _MINUTE_DEVIATION * market.liveliness * _exponential(mood, squarings=4) * rhythm
    boundaries = _path(market, day, days, volatility) + _swings(market, day * DAY_MINUTES, days * DAY_MINUTES + 1)
    price = market.price * _exponential(_bounded(boundaries, market.reach), squarings=7)

    wicks = _hash(_key(market.key, _WICKS), minute)
    reach = price[:-1] * volatility
    # One open in ten is a little off the last close.
    off = np.where(_uniform(wicks, 0) < 0.1, (_uniform(wicks, 1) - 0.5) * reach, 0.0)
    ticks = float(10**market.decimals)
    open_ = np.maximum(1.0, np.floor((price[:-1] + off) * ticks + 0.5))
    close = np.maximum(1.0, np.floor(price[1:] * ticks + 0.5))
    up, down = _uniform(wicks, 2), _uniform(wicks, 3)
    high = np.maximum(open_, close) + np.floor(up * up * reach * ticks + 0.5)
    low = np.maximum(1.0, np.minimum(open_, close) - np.floor(down * down * reach * ticks + 0.5))

    moved = np.abs(price[1:] - price[:-1]) / reach
    volume = _traded(market, minute, mood, moved, rhythm)
    return open_ / ticks, high / ticks, low / ticks, close / ticks, volume


def _mood(market: _Market, minute: Integers) -> Floats:
    """Logarithm of the volatility: half of it the whole market's."""
    total = np.zeros(len(minute))
    for number, (length, weight) in enumerate(_VOLATILITY):
        shared = _noise(_key(_SHARED, _MOODS, number), minute, length)
        own = _noise(_key(market.key, _MOODS, number), minute, length)
        total += weight * (0.8 * shared + 0.6 * own)
    return _bounded(total, 3.0)


def _rhythm(minute: Integers) -> Floats:
    """The hours of the day and the days of the week, around 1."""
    hours = np.array((*_HOURS, *_HOURS_LATE))
    of_day = minute % DAY_MINUTES
    hour, within = of_day // 60, (of_day % 60) / 60.0
    day = hours[hour] + (hours[(hour + 1) % 24] - hours[hour]) * within
    weekday = (minute // DAY_MINUTES + 3) % 7  # the first of January 1970 was a Thursday
    rhythm: Floats = day * np.array(_WEEKDAYS)[weekday]
    return rhythm


def _path(market: _Market, day: int, days: int, volatility: Floats) -> Floats:
    """Logarithm of the price at every minute boundary, without swings; shape (days * 1440 + 1,)."""
    minute = np.arange(day * DAY_MINUTES, (day + days) * DAY_MINUTES, dtype=np.int64)
    hashes = _hash(_key(market.key, _JUMPS), minute)
    jumps = np.where(hashes % np.uint64(2500) == 0, 7.0, 1.0)
    steps = volatility * _mixed(market, _STEPS, minute) * jumps
    walk = np.cumsum(steps.reshape(days, DAY_MINUTES), axis=1)
    share = np.cumsum((volatility * volatility).reshape(days, DAY_MINUTES), axis=1)
    share /= share[:, -1:]
    midnights = _midnights(market, day, days + 1)
    missing = midnights[1:] - midnights[:-1] - walk[:, -1]
    bridge = midnights[:-1, None] + walk + share * missing[:, None]
    bridge[:, -1] = midnights[1:]  # exactly: the next day begins with this very number
    return np.concatenate([midnights[:1], bridge.ravel()])


def _midnights(market: _Market, day: int, count: int) -> Floats:
    """Logarithm of the price, relative to the symbol's own, at ``count`` midnights from ``day`` on."""
    era, last = day // _ERA_DAYS, -(-(day + count - 1) // _ERA_DAYS)
    at = np.arange(era, max(last, era + 1) + 1, dtype=np.int64) * _ERA_DAYS
    values = market.liveliness * _ERA_DEVIATION * _mixed(market, _ERAS, at)
    half = _ERA_DAYS // 2
    variance = 0.5 * half  # of the midpoint of a walk with known ends and a variance of 1 a day
    while half:
        middle = at[:-1] + half
        shake = market.liveliness * _DAY_DEVIATION * np.sqrt(variance) * _mixed(market, _MIDPOINTS, middle)
        values = _interleaved(values, 0.5 * (values[:-1] + values[1:]) + shake)
        at = _interleaved(at, middle)
        half //= 2
        variance *= 0.5
    start = day - era * _ERA_DAYS
    return values[start : start + count]


def _interleaved(outer: NDArray[_Number], inner: NDArray[_Number]) -> NDArray[_Number]:
    together = np.empty(len(outer) + len(inner), dtype=outer.dtype)
    together[::2], together[1::2] = outer, inner
    return together


def _swings(market: _Market, first: int, count: int) -> Floats:
    """A smooth wave whose size comes and goes: trends of hours, and stretches without any."""
    boundary = np.arange(first, first + count, dtype=np.int64)
    size = _noise(_key(market.key, _TREND), boundary, 4 * DAY_MINUTES + 307)
    wave = _noise(_key(market.key, _SWINGS), boundary, 360, smooth=True)
    shared = _noise(_key(_SHARED, _SWINGS), boundary, 360, smooth=True)
    return market.liveliness * _SWING_DEVIATION * size * size * (0.8 * shared + 0.6 * wave)


def _traded(market: _Market, minute: Integers, mood: Floats, moved: Floats, rhythm: Floats) -> Floats:
    """Volume in base currency, at least the smallest quantity; ``moved`` in units of the expected move."""
    noise = 0.5 * _normal(_key(market.key, _VOLUME), minute) + 0.3 * _noise(_key(market.key, _VOLUME, 1), minute, 83)
    level = _exponential(0.9 * mood + noise, squarings=5) * (0.3 + 0.7 * moved) * rhythm * rhythm
    units = float(10**market.quantity_decimals)
    return np.maximum(1.0, np.floor(level * (market.turnover / market.price) * units + 0.5)) / units


def _bounded(value: Floats, reach: float) -> Floats:
    """``value``, bent so that it never leaves ``-reach .. reach``."""
    scaled = value / reach
    return value / np.sqrt(1.0 + scaled * scaled)


def _exponential(value: Floats, *, squarings: int) -> Floats:
    """``(1 + x/n)**n`` with ``n = 2**squarings``: near enough to the exponential, and the same everywhere."""
    result = 1.0 + value / float(2**squarings)
    for _ in range(squarings):
        result = result * result
    return result


def _mixed(market: _Market, purpose: int, position: Integers) -> Floats:
    """Normal deviates, partly the symbol's own and partly the whole market's."""
    own = _normal(_key(market.key, purpose), position)
    shared = _normal(_key(_SHARED, purpose), position)
    return market.own * own + float(np.sqrt(1.0 - market.own * market.own)) * shared


def _noise(key: int, position: Integers, length: int, *, smooth: bool = False) -> Floats:
    """Normal deviates every ``length`` positions, joined by lines (or by curves that are level at the knots)."""
    cell = position // length
    within = (position - cell * length) / float(length)
    if smooth:
        within = within * within * (3.0 - 2.0 * within)
    knots = _normal(key, np.arange(int(cell[0]), int(cell[-1]) + 2, dtype=np.int64))
    cell -= cell[0]
    left = knots[cell]
    return left + (knots[cell + 1] - left) * within


def _normal(key: int, position: Integers) -> Floats:
    """Nearly normal deviates with mean 0 and variance 1, never beyond 3.47: the sum of four uniforms."""
    hashes = _hash(key, position)
    low = np.uint64(0xFFFF)
    total = (hashes & low) + ((hashes >> np.uint64(16)) & low) + ((hashes >> np.uint64(32)) & low)
    total += hashes >> np.uint64(48)
    deviates: Floats = (total.astype(np.int64) - _HALF_SUM) * _NORMAL_SCALE
    return deviates


def _uniform(hashes: Hashes, part: int) -> Floats:
    """The ``part``-th sixteen bits of each hash as a number in [0, 1)."""
    return ((hashes >> np.uint64(16 * part)) & np.uint64(0xFFFF)) / 65536.0


def _key(key: int, purpose: int, number: int = 0) -> int:
    return _mix((key + purpose * 0xD1B54A32D192ED03 + number * 0x8CB92BA72F3D8DD7) & _WORD)


def _mix(value: int) -> int:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014) in plain integers."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _WORD
    return value ^ (value >> 31)


def _hash(key: int, position: Integers) -> Hashes:
    """The splitmix64 stream of a key at any positions: 64 bits each."""
    value = position.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    value += np.uint64(key)
    value ^= value >> np.uint64(30)
    value *= np.uint64(0xBF58476D1CE4E5B9)
    value ^= value >> np.uint64(27)
    value *= np.uint64(0x94D049BB133111EB)
    value ^= value >> np.uint64(31)
    return value
