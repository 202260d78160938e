"""Behind which candles of a block an indicator is looked at: random ones, and those where a rare leak would show."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.interval import DAY_MS, INTERVAL_MS, WEEK_MS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_RANDOM: Final = 6  # of the first block
_CALENDAR: Final = ("day", "week", "month", "hole")  # all of them at the first block
_HOURS: Final = (*dict.fromkeys((5, 4, 21, 20, 14, 13, 8, 7, *range(24))),)
# first those at which days and sessions of New York and London begin and end


class Cuts:
    """The cuts of the blocks of one indicator; each is how many candles of a block are in front of it."""

    __slots__ = ("_largest", "_looked")

    def __init__(self) -> None:
        self._largest = np.full(4, -np.inf)  # of the candles that were looked at: volume, rise, fall, range
        self._looked: Counter[str] = Counter()  # how often each border of the calendar was looked at

    def first(self, known: Floats, values: Floats, rng: np.random.Generator) -> set[int]:
        """Those of the first block, with the values made of its candles."""
        rows = known.shape[1]
        random = rng.integers(max(1, rows // 3), rows, size=_RANDOM).tolist()
        return {
            rows - 1,
            *random,
            *self._behind_largest(known),
            *_behind_jumps(values),
            *self._at_borders(known, _CALENDAR),
        }

    def later(self, known: Floats, rng: np.random.Generator) -> set[int]:
        """Those of a later block."""
        rows = known.shape[1]
        random = int(rng.integers(max(1, rows // 3), rows))
        return {random, *self._behind_largest(known), *self._at_borders(known)}

    def _behind_largest(self, known: Floats) -> set[int]:
        """Behind candles that stand out more than all before: a leak at rare events shows there."""
        _, _, high, low, close, volume = known
        with np.errstate(divide="ignore", invalid="ignore"):
            moves = np.diff(close, prepend=close[0]) / np.abs(close)
            sizes = np.stack([volume, moves, -moves, (high - low) / np.abs(close)])
        sizes[np.isnan(sizes)] = -np.inf
        largest = sizes.max(axis=1)
        cuts = sizes.argmax(axis=1)[largest > self._largest] + 1
        self._largest = np.maximum(self._largest, largest)
        return {*cuts[cuts < known.shape[1]].tolist()}

    def _at_borders(self, known: Floats, always: tuple[str, ...] = ()) -> set[int]:
        """Where a day, a week, a month or an hour of the day begins, or a candle is missing.

        A gap that is put on the candle before it shows there alone. Those kinds are taken that are ``always``, and that
        which was looked at least.
        """
        borders = _borders(known[0].view(np.int64))
        chosen = [name for name in always if name in borders]
        least = min(borders, key=lambda name: self._looked[name], default=None)
        if least is not None and least not in chosen:
            chosen.append(least)
        self._looked.update(chosen)
        return {borders[name] for name in chosen}


def _borders(times: Any) -> dict[str, int]:
    """The newest candle behind each kind of border that is in a block, by times in ms."""
    steps = np.diff(times)
    hours = times // INTERVAL_MS["1h"]
    day = times.view("datetime64[ms]")
    begins = {
        "day": np.diff(times // DAY_MS) != 0,
        "week": np.diff((times + 3 * DAY_MS) // WEEK_MS) != 0,  # the epoch was a Thursday
        "month": np.diff(day.astype("datetime64[M]").view(np.int64)) != 0,
        "hole": steps > steps.min(initial=np.iinfo(np.int64).max),
    }
    begins |= {f"hour {hour}": (np.diff(hours) != 0) & (hours[1:] % 24 == hour) for hour in _HOURS}
    return {name: int(np.flatnonzero(where)[-1]) + 1 for name, where in begins.items() if where.any()}


def _behind_jumps(values: Floats) -> set[int]:
    """Behind the largest value of each output, and behind its largest change."""
    sizes = np.nan_to_num(np.abs(values), posinf=0.0)
    changes = np.abs(np.diff(sizes, prepend=sizes[:, :1]))
    cuts = np.concatenate([each.argmax(axis=1) for each in (sizes, changes)]) + 1
    return {*cuts[cuts < values.shape[1]].tolist()}
