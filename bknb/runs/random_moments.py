"""Random moments for trades, each at its own hour of the day: wild and calm hours weigh as they do in the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ..domain.formatting import share_text
from ..domain.interval import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Indices = NDArray[np.int64]

LEAST_DAYS: Final = 5  # that have candles in the hour of a trade; of fewer there are too few moments to choose from
MOST_CROWDED: Final = 0.1  # of the trades at their own hours; with more, the random runs are no longer like the run
_PILOT: Final = 50  # runs in which that is measured
_HOURS: Final = 24
_ROUNDS: Final = 30  # how often trades that overlap are drawn again


class Hours(NamedTuple):
    """The minutes of a frame by their hour of the day.

    Attributes
    ----------
    minutes : ndarray of int64, shape (n,)
        Indices of minutes, those of one hour of the day after those of another.
    first, number : ndarray of int64, shape (trades,)
        Where the minutes in the hour of each trade begin, and how many there are.
    days : int
        On how many days there are minutes in the hour of a trade: the fewest of all trades.
    """

    minutes: Indices
    first: Indices
    number: Indices
    days: int


@dataclass(frozen=True, slots=True)
class Moments:
    """Where the trades of a run may be entered at random.

    Attributes
    ----------
    hours : Hours
        The minutes in the hour of each trade.
    lengths : ndarray of int64, shape (trades,)
        How many minutes each trade lasted in the run.
    first, last : int
        The minutes of the frame: from the first to before the last.
    seed : int
        Of the random numbers.
    any_hour : str
        Why moments are of any hour of the day; empty where each trade has the hour of its own.
    """

    hours: Hours
    lengths: Indices
    first: int
    last: int
    seed: int
    any_hour: str

    def drawn(self, n: int, *, at_once: int) -> Iterator[tuple[Indices, Indices]]:
        """Draw ``n`` runs, at most ``at_once`` of them at a time.

        Yields which trade is entered and the index of its minute, both of shape (runs, trades).
        """
        rng = np.random.default_rng(self.seed)
        for at in range(0, n, at_once):
            rows = min(at_once, n - at)
            if self.any_hour:
                yield anywhere(rng, rows, self.lengths, self.first, self.last)
            else:
                which = np.tile(np.arange(len(self.lengths)), (rows, 1))
                yield which, at_same_hours(rng, rows, self.hours, self.lengths, self.last)


def hours_of(times: Indices, entries: Indices, first: int, last: int, zone: str) -> Hours:
    """Return the minutes that have the hour of the day of each trade.

    Parameters
    ----------
    times
        Open times of minutes, UTC ms.
    entries
        The minute in which each trade was entered.
    first, last
        The minutes of the frame: from the first to before the last.
    zone
        The market's time zone, in which hours are counted.
    """
    import pandas as pd

    there = pd.to_datetime(times[first:last], unit="ms", utc=True).tz_convert(zone)
    hour = there.hour.to_numpy().astype(np.int64)
    day = there.tz_localize(None).as_unit("ms").asi8 // DAY_MS
    own = hour[np.clip(entries - first, 0, last - first - 1)]
    number = np.bincount(hour, minlength=_HOURS)
    days = np.bincount(np.unique(day * _HOURS + hour) % _HOURS, minlength=_HOURS)
    begins = np.cumsum(number) - number
    return Hours(first + np.argsort(hour, kind="stable"), begins[own], number[own], int(days[own].min()))


def at_same_hours(rng: np.random.Generator, rows: int, hours: Hours, lengths: Indices, last: int) -> Indices:
    """Return random minutes of any day, shape (rows, trades), each in the hour of the day of its trade.

    Trades that are crowded are drawn again, up to thirty times. Some remain where those of an hour fill most of it.
    """
    trades = np.broadcast_to(np.arange(len(lengths)), (rows, len(lengths)))
    starts = _drawn(rng, hours, trades)
    open_rows = np.arange(rows)
    for _ in range(_ROUNDS):
        bad = crowded(starts[open_rows], lengths, last)
        some = bad.any(axis=1)
        open_rows, bad = open_rows[some], bad[some]
        if not len(open_rows):
            break
        row, trade = np.nonzero(bad)
        starts[open_rows[row], trade] = _drawn(rng, hours, trade)
    return starts


def why_any_hour(hours: Hours, lengths: Indices, last: int, seed: int) -> str:
    """Why random trades cannot have the hours of the day of their own; empty where they can."""
    if hours.days < LEAST_DAYS:
        return f"the frame has fewer than {LEAST_DAYS} days to choose from"
    starts = at_same_hours(np.random.default_rng([seed, _PILOT]), _PILOT, hours, lengths, last)
    part = float(crowded(starts, lengths, last).mean())
    if part <= MOST_CROWDED:
        return ""
    return f"the trades fill their hours: at random moments of them, {share_text(part)} would overlap an earlier one"


def _drawn(rng: np.random.Generator, hours: Hours, trades: Indices) -> Indices:
    offset = (rng.random(trades.shape) * hours.number[trades]).astype(np.int64)
    return np.asarray(hours.minutes[hours.first[trades] + offset])


def crowded(starts: Indices, lengths: Indices, last: int) -> NDArray[np.bool_]:
    """Which trades, shape (rows, trades), begin before an earlier one has ended, or end behind the frame.

    Of two that overlap the later one counts: drawn again alone, it makes room for both.
    """
    order = np.argsort(starts, axis=1, kind="stable")
    begins = np.take_along_axis(starts, order, axis=1)
    ends = begins + lengths[order]
    late = ends > last
    late[:, 1:] |= begins[:, 1:] < np.maximum.accumulate(ends, axis=1)[:, :-1]
    found = np.empty_like(late)
    np.put_along_axis(found, order, late, axis=1)
    return found


def anywhere(rng: np.random.Generator, rows: int, lengths: Indices, first: int, last: int) -> tuple[Indices, Indices]:
    """Return the trades of each run in a random order, and random minutes in [first, last) for them.

    The hour of the day plays no part; as long as there is room, trades do not overlap.
    """
    count = len(lengths)
    which = rng.permuted(np.tile(np.arange(count), (rows, 1)), axis=1)
    free = max(last - first - int(lengths.sum()), 1)
    gaps = np.sort(rng.integers(free, size=(rows, count)), axis=1)
    held = np.cumsum(lengths[which], axis=1) - lengths[which]
    return which, np.asarray(np.minimum(first + gaps + held, last - 1))
