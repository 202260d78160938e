"""Values of an indicator block by block: of a block of time, counted from the epoch, and the candles before it.

Each block is computed at its full length, with its look-back before it, in memory of its own. Rows that are not known
yet hold the newest candle, and what they give is thrown away. So a value depends on the candles from the look-back of
its block up to its own, and on nothing else: not on when a run began, and not on what came later.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from ..domain.interval import DAY_MS, INTERVAL_MS, SHORTEST_MONTH_MS
from ..errors import LookaheadError, LookbackTooShort
from .indicator_formula import maker_of, padded

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .candles import Candles
    from .indicator_formula import Formula, Made
    from .indicator_proof import Proof
    from .kept_indicator_values import KeptValues

    Floats = NDArray[np.float64]


class Blocks:
    """How time is cut into blocks for candles of an interval.

    Attributes
    ----------
    step : int
        The length of a candle, ms; of a month the shortest.
    length : int
        That of a block, ms.
    candles : int
        The most that are in a block.

    Examples
    --------
    >>> blocks = Blocks("15m")
    >>> blocks.candles, blocks.begin(1_704_067_200_000)
    (1024, 1704038400000)
    """

    __slots__ = ("candles", "length", "step")

    def __init__(self, interval: str) -> None:
        self.step = INTERVAL_MS.get(interval, SHORTEST_MONTH_MS)
        self.candles = 1024 if self.step <= INTERVAL_MS["1h"] else 128 if self.step <= DAY_MS else 32
        self.length = self.candles * self.step

    def begin(self, when: int) -> int:
        """Where the block begins that a candle is in which opens at ``when``; UTC ms."""
        return when - when % self.length


class BlockValues:
    """Values of a formula for some candles, made a block at a time.

    Parameters
    ----------
    candles
        Those there are. A block is made of all of them that are in it, and of those before it.
    proof
        Looks at each block before its values are used.
    kept
        Values of blocks that are over as an earlier run has kept them, after the same proof; ``None``: none are kept.
        The first that is found is made and shown here all the same, and where it differs none is taken.

    Attributes
    ----------
    values : ndarray, shape (outputs, candles), or None
        NaN where nothing has been made yet; ``None`` before the first block.
    make : callable or None
        Makes the tuple of several outputs.
    failed : LookaheadError, LookbackTooShort or None
        Of the proof: raised again whenever a value is asked for.
    """

    __slots__ = (
        *("_blocks", "_done", "_formula", "_is_confirmed", "_kept", "_proof", "_rows"),
        *("candles", "failed", "make", "values"),
    )

    def __init__(
        self,
        candles: Candles,
        formula: Formula,
        blocks: Blocks,
        proof: Proof,
        *,
        irregular: bool,
        kept: KeptValues | None = None,
    ) -> None:
        self._kept, self._is_confirmed = kept, False
        self.candles, self._formula, self._blocks, self._proof = candles, formula, blocks, proof
        # bars that end with a session are shorter, so that more of them may be in a block
        self._rows = formula.lookback + blocks.candles * (2 if irregular else 1)
        self._done: dict[int, tuple[int, int]] = {}
        self.values: Floats | None = None
        self.make: Callable[..., Any] | None = None
        self.failed: LookaheadError | LookbackTooShort | None = None

    def cover(self, first: int, last: int, ask: Callable[[int], Candles]) -> tuple[int, int]:
        """Have the values of the candles ``first`` to ``last`` (not included); returns from where to where they go.

        ``ask`` returns a number of the newest candles, for the proof.
        """
        begin, end = self._filled(last - 1, ask)
        while begin > first:
            begin = self._filled(begin - 1, ask)[0]
        return begin, end

    def _filled(self, place: int, ask: Callable[[int], Candles]) -> tuple[int, int]:
        """Have the values of the block that a candle is in; returns its candles."""
        times = self.candles.timestamp
        slot = self._blocks.begin(int(times[place]))
        done = self._done.get(slot)
        if done is None:
            first, end = times.searchsorted([slot, slot + self._blocks.length]).tolist()
            self._fill(first, end, ask)
            done = self._done[slot] = first, end
        return done

    def _fill(self, first: int, end: int, ask: Callable[[int], Candles]) -> None:
        if self.failed is not None:
            raise copy(self.failed)  # whose traceback does not grow with each question
        formula = self._formula
        before = min(formula.lookback, first)
        known = self.candles.block[:, first - before : end]
        try:
            made = self._shown(known, before, ask, is_over=end < len(self.candles))
        except (LookaheadError, LookbackTooShort) as error:
            self.failed = copy(error).with_traceback(None)  # where Dask is imported, a copy keeps it
            raise
        if self.values is None:
            self.values = np.full((len(made.values), len(self.candles)), np.nan)
            self.make = maker_of(made.names)
        begin = min(first + formula.lookback - before, end)  # a young symbol has no values yet
        self.values[:, begin:end] = made.values[:, before + begin - first : before + end - first]

    def _shown(self, known: Floats, before: int, ask: Callable[[int], Candles], *, is_over: bool) -> Made:
        """The values of a block, which the proof has looked at; of one that is over perhaps as they were kept."""
        kept = self._kept if is_over else None
        found = None if kept is None else kept.of(known, before)
        if found is not None and self._is_confirmed:
            return found
        made = self.made_of(known)
        self._proof.look(self, known, made, before, ask)
        if kept is None:
            return made
        if found is None:
            if self._proof.is_bit_stable:
                kept.keep(known, made, before)
        elif _are_same(found, made, slice(before, known.shape[1])):
            self._is_confirmed = True
        else:
            self._kept = None
            self._proof.tell_of_other_values()
        return made

    def made_of(self, known: Floats) -> Made:
        """What the formula gives for candles at the full length of a block."""
        return self._formula.of(padded(known, self._rows, self._blocks.step))


def _are_same(one: Made, other: Made, rows: slice) -> bool:
    values = one.values[:, rows], other.values[:, rows]
    return one.names == other.names and np.array_equal(*values, equal_nan=True)
