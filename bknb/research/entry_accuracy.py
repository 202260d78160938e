"""Whether entries are on the right side more often than simple rules on past prices are.

An entry counts from its fill, the open of the first base bar after the question, over a fixed time. Entries whose times
overlap count once. The same entries, and a family of simple causal rules at the same moments (with and against the
trend of the last 1 to 64 times, always long, always short), are then measured against futures made by shuffling the
market's moves in blocks: the best of them in each shuffle is what chance can reach.

More than that is no proof of a leak. An honest rule gets there in a market that is predictable by something these rules
do not know: the clock, another symbol, a level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.interval import MINUTE_MS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..market.candles import Candles

    Floats = NDArray[np.float64]

FEWEST: Final = 20
"""Fewer entries cannot be told from luck."""

_SHUFFLES: Final = 999
_BLOCK: Final = 8  # times of an entry in one block of the shuffle
_LOOK_BACKS: Final = (1, 2, 4, 8, 16, 32, 64)
RULES: Final = 2 + 2 * len(_LOOK_BACKS)
"""How many causal rules there are."""

_MARGIN: Final = 0.1  # beyond the best causal rule on the market as it is
LEVEL: Final = 0.01
"""Look-ahead is suspected when the p-value, times the number of times tried, is at most this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Accuracy of entries over the time that told most.

    Attributes
    ----------
    entries : int
        Market entries whose times do not overlap.
    minutes : int
        For how long each was held.
    right : float
        Share of them that moved to the right side.
    reached : float
        Share that the best causal rule reaches on a shuffled future, in all but one of a hundred shuffles.
    causal : float
        Share that the best causal rule reaches on the market as it is, asked at all times.
    p_value : float
        Share of shuffles in which the best causal rule is as accurate, times the number of times tried; at most 1.
    """

    entries: int
    minutes: int
    right: float
    reached: float
    causal: float
    p_value: float

    @property
    def enough(self) -> bool:
        """Whether there are enough entries to tell."""
        return self.entries >= FEWEST

    @property
    def too_good(self) -> bool:
        """Whether no causal rule is as accurate: a leak, or a market predictable by what these rules do not know."""
        return self.enough and self.p_value <= LEVEL and self.right >= self.causal + _MARGIN


def measure(
    entries: Sequence[tuple[int, int]],
    minutes: Candles,
    *,
    slot: int,
    lifetimes: Sequence[int],
    seed: int,
    step: int = MINUTE_MS,
) -> Accuracy:
    """Accuracy of entries against causal rules on shuffled futures.

    Parameters
    ----------
    entries
        Moment (UTC ms) and side (1, -1) of each market entry, in order of time.
    minutes
        One-minute candles, or longer base bars, around them.
    slot
        Time between two questions, ms.
    lifetimes
        How long the signals may last, minutes.
    seed
        Of the shuffles.
    step
        The length of one candle, ms.
    """
    lasts = int(np.median(lifetimes)) * MINUTE_MS // step if len(lifetimes) else 1
    hold = max(slot // step, lasts)
    lengths = sorted({slot // step, 4 * slot // step, hold})
    found = [_over(entries, minutes, length, step, seed=seed) for length in lengths]
    enough = [one for one in found if one.enough]
    if not enough:
        return max(found, key=lambda one: one.entries)
    best = min(enough, key=lambda one: (one.p_value, -one.right))
    return Accuracy(
        entries=best.entries,
        minutes=best.minutes,
        right=best.right,
        reached=best.reached,
        causal=best.causal,
        p_value=min(1.0, best.p_value * len(enough)),
    )


def _over(entries: Sequence[tuple[int, int]], minutes: Candles, length: int, step: int, *, seed: int) -> Accuracy:
    """Accuracy over so many candles of a length (ms)."""
    held = length * step // MINUTE_MS
    times, opens = minutes.timestamp, minutes.open
    whens = np.array([when for when, _ in entries], dtype=np.int64)
    sides = np.array([side for _, side in entries], dtype=np.int8)
    place = np.searchsorted(times, whens)
    inside = (place + length < len(times)) & (place >= length)
    place, sides = place[inside], sides[inside]
    kept, last = [], -length
    for number, at in enumerate(place.tolist()):
        if at >= last + length:
            kept.append(number)
            last = at
    place, sides = place[kept], sides[kept]
    count = len(place)
    if count < FEWEST:
        return Accuracy(entries=count, minutes=held, right=0.0, reached=1.0, causal=0.0, p_value=1.0)
    ahead = opens[place + length] - opens[place]
    right = _share(sides[None, :], ahead)[0]
    always = np.arange(length, len(times) - length, length)
    moves = opens[always + length] - opens[always]  # all of the market, one after the other
    causal = float(_share(_rules(opens, always, length), moves).max())
    everything = np.concatenate([_rules(opens, place, length), sides[None, :].astype(np.float64)])
    rng = np.random.default_rng(seed)
    best = _share(everything, _shuffled(moves, count, rng)).max(axis=0)
    return Accuracy(
        entries=count,
        minutes=held,
        right=float(right),
        reached=float(np.quantile(best, 1.0 - LEVEL)),
        causal=causal,
        p_value=float((1 + (best >= right).sum()) / (1 + _SHUFFLES)),
    )


def _rules(opens: Floats, place: NDArray[np.int64], length: int) -> Floats:
    """The sides of the causal rules at some places, a row for each rule."""
    rules = [np.ones(len(place)), -np.ones(len(place))]
    for back in _LOOK_BACKS:
        past = np.sign(opens[place - 1] - opens[np.maximum(place - 1 - back * length, 0)])
        rules += [past, -past]
    return np.array(rules)


def _share(sides: NDArray[np.generic], ahead: Floats) -> Floats:
    """Share of moves to the right side, for each row of sides and each column of moves; no move is half right."""
    right_less_wrong = np.asarray(sides, dtype=np.float64) @ np.sign(ahead)
    share: Floats = (0.5 * (len(ahead) + right_less_wrong)) / len(ahead)
    return share


def _shuffled(moves: Floats, count: int, rng: np.random.Generator) -> Floats:
    """A column of ``count`` moves for each shuffle, in blocks from random places of the market, each in its order."""
    blocks = -(-count // _BLOCK)
    starts = rng.integers(0, len(moves), size=(_SHUFFLES, blocks))
    places = (starts[:, :, None] + np.arange(_BLOCK)).reshape(_SHUFFLES, -1) % len(moves)
    chosen: Floats = moves[places[:, :count]].T
    return chosen
