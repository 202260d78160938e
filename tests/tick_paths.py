"""Markets made of single prints, for tests that need to know more than candles say.

Prices are whole ticks, so that no rounding blurs a comparison. The prints are a martingale: inside a minute the price
moves one tick up or down with the same chance, between minutes it may jump, as far up as down. The kinds:

* ``plain``: the next minute goes on where the last one ended;
* ``gaps``: every sixth minute begins with a jump;
* ``clusters``: calm and wild stretches, from a few prints a minute to thousands;
* ``holes``: stretches without candles, behind which the market opens somewhere else;
* ``silent``: minutes in which nobody trades, filled by the exchange with flat candles of volume 0, while the price that
  others see goes on.

Outside the law, since their prints are no martingale of single ticks:

* ``jumps``: three prints in a hundred jump, far;
* ``bounce``: every print is at the bid or the ask, three ticks away from the middle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scenarios import MINUTE, ORIGIN

from bknb.exchanges.dataframe_source import FrameSource
from bknb.market.candles import Candles

KINDS = ("plain", "gaps", "clusters", "holes", "silent")
OUTSIDE = ("jumps", "bounce")
WARM = 60  # minutes before the frame
HALF_SPREAD = 3
START = 20_000

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Path:
    """One market: its candles, the prints inside each, and what an insider sees who watches a busier market.

    ``prints[i]`` is empty for a candle without volume; ``fair[i]`` is what each print is worth, which is itself but for
    the middle behind a bid or ask. ``leader`` is the price at the close of each minute that others
    see, also while nobody trades here.
    """

    kind: str
    times: Ints
    prints: tuple[Ints, ...]
    fair: tuple[Ints, ...]
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints
    leader: Ints
    minutes: int

    @property
    def frame(self) -> tuple[int, int]:
        """First and last moment of the frame, UTC ms."""
        return ORIGIN, ORIGIN + self.minutes * MINUTE

    @cached_property
    def source(self) -> FrameSource:
        candles = Candles.from_columns(
            timestamp=self.times, open=self.open, high=self.high, low=self.low, close=self.close, volume=self.volume
        )
        return FrameSource(candles)

    @cached_property
    def moved(self) -> tuple[Ints, Ints]:
        """The sum of squared moves from print to print, up to the first print of each candle and up to its last."""
        to_first, to_last = np.zeros((2, len(self.prints)), dtype=np.int64)
        last, total = int(self.open[0]), 0
        for i, ticks in enumerate(self.prints):
            if len(ticks):
                total += (int(ticks[0]) - last) ** 2
                to_first[i] = total
                total += int((np.diff(ticks) ** 2).sum())
                last = int(ticks[-1])
            else:
                to_first[i] = total
            to_last[i] = total
        return to_first, to_last

    @cached_property
    def average(self) -> NDArray[np.float64]:
        """The average price that a strategy is shown after each candle; the open before there is one."""
        typical = (self.high + self.low + self.close) / 3
        found = self.open.astype(np.float64)
        for last in range(4, len(found)):
            part = slice(last - 4, last + 1)
            volume = self.volume[part]
            found[last] = (typical[part] @ volume) / volume.sum() if volume.sum() else self.close[part].mean()
        return found


@lru_cache(maxsize=256)
def path(kind: str, seed: int, minutes: int = 150, *, data_ends: bool = False) -> Path:
    """A market of one kind; with ``data_ends`` its candles end before the frame does."""
    random = np.random.default_rng([*kind.encode(), seed])
    size = WARM + minutes + (-9 if data_ends else 2)  # a run looks for a fill in the two minutes after its frame
    counts = random.integers(800, 1400, size)
    if kind == "clusters":
        level = np.zeros(size)
        for i in range(1, size):
            level[i] = 0.95 * level[i - 1] + random.normal(0, 0.3)
        counts = np.clip(1300 * np.exp(level), 40, 9000).astype(np.int64)
    steps = random.integers(0, 2, counts.sum()) * 2 - 1
    if kind == "jumps":
        far = np.flatnonzero(random.random(len(steps)) < 0.03)
        steps[far] *= 1 + random.geometric(0.1, len(far))
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    if kind == "gaps":
        at = first[random.random(size) < 1 / 6]
        steps[at] *= random.integers(5, 80, len(at))
    kept = np.ones(size, dtype=np.bool_)
    if kind == "holes":
        for begin in random.integers(WARM, size - 20, minutes // 25):
            kept[begin : begin + random.integers(1, 15)] = False
    walked = middle = START + np.cumsum(steps)
    if kind == "bounce":
        walked = middle + HALF_SPREAD * (random.integers(0, 2, len(walked)) * 2 - 1)
    prints, fair = np.split(walked, first[1:]), np.split(middle, first[1:])
    leader = walked[np.append(first[1:], len(walked)) - 1]
    silent = np.zeros(size, dtype=np.bool_)
    if kind == "silent":
        silent = random.random(size) < 0.6
        silent[:30] = False
    last = int(prints[0][0])
    for i in np.flatnonzero(silent):
        last = int(prints[i - 1][-1]) if not silent[i - 1] else last
        prints[i] = np.array([last])
    candles = [(ticks[0], ticks.max(), ticks.min(), ticks[-1]) for ticks in prints]
    open_, high, low, close = np.array(candles, dtype=np.int64)[kept].T
    times = ORIGIN + (np.arange(size) - WARM) * MINUTE
    none = walked[:0]
    return Path(
        kind=kind,
        times=times[kept],
        prints=tuple(none if silent[i] else prints[i] for i in np.flatnonzero(kept)),
        fair=tuple(none if silent[i] else fair[i] for i in np.flatnonzero(kept)),
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=np.where(silent, 0, counts)[kept],
        leader=leader[kept],
        minutes=minutes,
    )
