"""What the answers of an exchange prove about moments for which no candle came.

A moment is absent when two answers to different questions cover it and lack it. An answer covers what lies between two
of its candles. What lies before its first candle it covers only when nothing older is known and it does not reach the
end of the data: the newest candles are also what is answered by an exchange that ignores ``since`` or has a short
memory. These, cut to fewer by the exchange or by the one who asks it, end before the end of the data as well: so one
answer must be to a question for a whole page, or more candles than a page must have been shown from there on. Both
answers must agree where the hole begins and ends and differ in where they begin themselves, or end, so that parts that
both lost by chance do not add up to a hole.

Some exchanges answer the next ``limit`` candles, others those of the next ``limit`` intervals. No answer of the latter
spans a hole longer than a page; there, two answers that end at the same candle count, and several empty ones. Empty
answers count as long as every question for a moment whose candle is known was answered with candles, and only beside
as many such questions: an exchange that answers nothing now and then has shown nothing with it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ..domain.ranges import Range, without
from ..market.missing_candles import gaps, spaces

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from ..market.shifted_bar_grid import BarGrid

ENOUGH: Final = 2
_FEWER: Final = 17  # so many candles fewer make another answer of it
_EMPTY_ENOUGH: Final = 3  # empty answers prove less than those with candles
_RELIABLE: Final = 6  # so many empty answers, and answers to questions for known candles, show that the former mean it


class Leading(NamedTuple):
    """An answer that begins later than it was asked: the question, and how many candles it holds, up to its limit.

    ``last`` is the last of these, ``reached`` the last of all that came.
    """

    since: int
    last: int
    held: int
    reached: int
    is_page: bool  # the question was for a whole page


class Evidence:
    """The answers to questions about one range of one series.

    Parameters
    ----------
    step
        Length of a candle, milliseconds.
    page
        The most candles that a question asks for.
    grid
        Where candles open that do not open at multiples of their length.

    Attributes
    ----------
    newest : int
        Open time of the newest candle that any answer held, UTC ms.
    silence_is_nothing : bool
        Whether an answer was empty although a candle was asked for.

    Examples
    --------
    >>> import numpy as np
    >>> evidence = Evidence(step=10, page=20)
    >>> evidence.answered(0, 20, np.array([0, 10, 50, 60]))
    >>> evidence.proven_until((20, 50), anchored=True, later=True)
    20
    >>> evidence.answered(10, 20, np.array([10, 50, 60]))
    >>> evidence.proven_until((20, 50), anchored=True, later=True)
    50
    """

    def __init__(self, *, step: int, page: int, grid: BarGrid | None = None) -> None:
        self._step = step
        self._grid = grid
        self._page = page
        self._inside: dict[Range, set[int]] = defaultdict(set)  # hole -> first candles of the answers
        self._shown: dict[int, int] = {}  # first candle -> candles of the longest answer
        self._leading: dict[int, list[Leading]] = defaultdict(list)  # first candle -> answers
        self._trailing: dict[int, dict[int, int]] = defaultdict(dict)  # end of the last candle -> question -> its end
        self._empty: dict[int, int] = {}  # question -> its end
        self._empties = self._controls = 0
        self.silence_is_nothing = False
        self._jumps = False  # the source answers the next candles there are, however far away
        self.newest = -1

    def answered(
        self, since: int, limit: int, times: NDArray[np.int64], *, oldest: int | None = None, covered: int | None = None
    ) -> None:
        """An answer to the question for ``limit`` candles from ``since`` on; ``times`` ascend, from ``since``.

        Of a source that answers fewer intervals than it is asked for, ``covered`` is how many it does.
        One whose ``oldest`` candle (UTC ms) lies more than a step before the question was not made for it: where it
        begins and ends shows nothing.
        """
        end = since + (limit if covered is None else covered) * self._step
        if not len(times):
            self._empty[since] = end
            self._empties += 1
            return
        first, last = int(times[0]), int(times[-1])
        self.newest = max(self.newest, last)
        self._shown[first] = max(self._shown.get(first, 0), len(times))
        self._jumps = self._jumps or last >= end
        for hole in gaps(times, self._step, self._grid):
            self._inside[hole].add(first)
        if oldest is not None and oldest < since - self._step:
            return
        if first > since:
            held = min(limit, len(times))
            self._leading[first].append(Leading(since, int(times[held - 1]), held, last, limit >= self._page))
        behind = last + self._step if self._grid is None else self._grid.after(last, self._step)
        if behind < end and len(times) < limit:  # one that is full may have more behind it: some bars are shorter
            self._trailing[behind][since] = end

    def proven_until(
        self, hole: Range, *, anchored: bool, later: bool, ends: bool = False, begins: bool = False
    ) -> int:
        """How far a hole is absent from its beginning on, UTC ms; its beginning: nothing is proven.

        Parameters
        ----------
        hole
            A range without candles.
        anchored
            Whether a candle before it is known: an answer that covers the hole then holds one.
        later
            Whether the exchange has shown a candle after the hole.
        begins, ends
            Whether the hole begins, or ends, where the range does and not at a candle.
        """
        first, end = hole
        if any(len(questions) >= ENOUGH for questions in self._covering(hole, begins=begins, ends=ends)):
            return end
        if not later:
            return first
        if not anchored:
            leading = self.leading(hole, ends=ends)
            lasts = {answer.last for answer in leading}
            if len(lasts) >= ENOUGH and self._has_more(leading):
                return end
        if self._jumps:
            return first
        reached = [reach for reach in self._trailing.get(first, {}).values() if first < reach <= end]
        if len(reached) >= ENOUGH:
            return min(reached)
        return first

    def silent_until(self, hole: Range, limit: int) -> int:
        """How far a hole before which no candle is known is absent because answers about it were empty, UTC ms.

        Its beginning: nothing is proven. A later answer may show that empty answers prove nothing.

        Parameters
        ----------
        hole
            A range without candles.
        limit
            Candles of a question.
        """
        empty = self.empty(hole, limit)
        proven = len(empty) >= _EMPTY_ENOUGH and min(self._empties, self._controls) >= _RELIABLE
        if self._jumps or self.silence_is_nothing or not proven:
            return hole[0]
        return min(empty) + limit * self._step

    def empty(self, hole: Range, limit: int) -> list[int]:
        """The questions for the beginning of a hole, and not beyond its end, that were answered with nothing."""
        first, end = hole
        length = limit * self._step
        return [since for since in self._empty if since <= first < since + length <= end]

    def controlled(self, *, held: bool) -> None:
        """A question for a candle that is known was answered, with candles or with nothing."""
        self._controls += held
        self.silence_is_nothing = self.silence_is_nothing or not held

    def known(self, times: NDArray[np.int64]) -> None:
        """The open times of candles that are known by now, ascending: an answer may have been empty for one of them."""
        questions = np.array(list(self._empty.items()), dtype=np.int64).reshape(-1, 2)
        first, behind = times.searchsorted(questions).T
        self.silence_is_nothing = self.silence_is_nothing or bool((first < behind).any())

    @property
    def late(self) -> list[Range]:
        """For each answer that began later than it was asked: the question, and its first candle."""
        return [(answer.since, first) for first, answers in self._leading.items() for answer in answers]

    def limit(self, hole: Range, since: int, limit: int, *, ends: bool = False) -> int:
        """How many candles to ask for from before a hole: fewer than an answer held that began where the hole ends."""
        answers = self.leading(hole, ends=ends)
        if not answers:
            return limit
        shortest = min(answers, key=lambda answer: answer.last)
        held = shortest.held if self._jumps else (shortest.last - since) // self._step + 1
        return max(1, held - min(_FEWER, shortest.held // 2))

    def leading(self, hole: Range, *, ends: bool = False) -> list[Leading]:
        """The answers that were asked for the hole, and begin where it ends."""
        groups = [
            [answer for answer in answers if answer.since <= hole[0]]
            for first, answers in self._leading.items()
            if first == hole[1] or (ends and first >= hole[1])
        ]
        return max(groups, key=len, default=[])

    def _has_more(self, answers: list[Leading]) -> bool:
        """Whether there are more candles from where these answers begin on than the source answers at once."""
        farthest = max(answers, key=lambda answer: (answer.reached, answer.held))
        behind = max((count for first, count in self._shown.items() if first > farthest.reached), default=0)
        has_page = self.has_page(answers) or farthest.held + behind > self._page
        return farthest.reached < self.newest and has_page

    @staticmethod
    def has_page(answers: list[Leading]) -> bool:
        """Whether one of the answers is to a question for a whole page."""
        return any(answer.is_page for answer in answers)

    def _covering(self, hole: Range, *, begins: bool, ends: bool) -> list[set[int]]:
        if not begins and not ends:
            return [self._inside[hole]] if hole in self._inside else []
        return [
            questions
            for (first, end), questions in self._inside.items()
            if (first == hole[0] or (begins and first <= hole[0])) and (end == hole[1] or (ends and end >= hole[1]))
        ]


def holes_in(
    times: NDArray[np.int64],
    since: int,
    until: int,
    *,
    step: int,
    done: Iterable[Range] = (),
    grid: BarGrid | None = None,
) -> deque[Range]:
    """The ranges of ``[since, until)`` without a candle, as far as they are not done with, oldest first.

    Examples
    --------
    >>> holes_in(np.array([0, 10, 40]), 0, 60, step=10, done=[(20, 30)])
    deque([(30, 40), (50, 60)])
    """
    if since >= until:
        return deque()
    inside = times[(times >= since) & (times < until)]
    return deque(without(spaces(inside, since, until, step, grid), done))


def question_about(first: int, before: NDArray[np.int64], number: int, step: int) -> int:
    """Where a question about a hole begins (UTC ms): each time at another candle before it, where one is known.

    Parameters
    ----------
    first
        Where the hole begins, UTC ms.
    before
        Open times of candles shortly before it, ascending.
    number
        How many questions came before.
    step
        Length of a candle, milliseconds.
    """
    if number < len(before):
        return int(before[-1 - number])
    return (int(before[0]) if len(before) else first + step) - (number - len(before) + 1) * step
