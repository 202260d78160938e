"""Questions whose answers only show where a source has candles, and how far it answers.

A source that answers fewer candles than it is asked for is asked these, and one that may be such: see
:mod:`bknb.market.paging`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy as np
    from numpy.typing import NDArray

    from .short_answers import Reach

    # Each question is a beginning, UTC ms, and a number of candles, or begins a `Page` up to the candle that is known;
    # what comes back are open times, ascending.
    Question = tuple[int, int] | tuple[int, int, None, int]
    Looking = Generator[Question, NDArray[np.int64], None]

_PARTS: Final = 64  # of a range in which nothing has come, at the begin of each of which is looked


def looked_before(reach: Reach, page: tuple[int, int], first: int, count: int, *, step: int) -> Looking:
    """Learn whether an answer holds the newest candles of its page alone: it lacks those before them once more.

    Parameters
    ----------
    reach
        What is known of the source, and learned.
    page
        What was asked for: a beginning, UTC ms, and a number of candles.
    first, count
        When its first candle opens, UTC ms, and how many it held.
    step
        The length of an interval, ms.
    """
    since = page[0]
    before = yield since, (first - since) // step + 1, None, first
    if count == 1:  # it may answer no more than one, and may have failed to
        for _ in range(2):
            if not (before < first).any():
                before = yield since, (first - since) // step
    again = (yield *page, None, first) if (before < first).any() else before
    any_is = bool((before < first).any() and (again >= first).all() and len(again))
    reach.looked_before(len(again) if any_is else count, any_is=any_is)


def measured(reach: Reach, there: int, count: int, *, step: int) -> Looking:
    """Learn whether a source answers a candle in the last of ``count`` intervals, or else how far it answers.

    Parameters
    ----------
    reach
        What is known of it, and learned; where it answers fewer intervals it is found to within half.
    there
        When the candle opens, UTC ms: it is there.
    count, step
        How many intervals, and how long one is, ms.
    """
    sure = reach.sure
    if count <= sure:
        return
    for asked in (count, *(sure << n for n in range(1, (count // sure).bit_length()) if sure << n < count)):
        times = yield there - (asked - 1) * step, asked
        has_come = there in times
        if has_come:
            reach.answered(asked)
        else:
            reach.ended(asked - 1)
        if has_come == (asked == count):
            return


def file_end(reach: Reach, empty: int, first: int, *, step: int) -> Generator[Question, NDArray[np.int64], bool]:
    """Whether an empty answer ended with a file of the source, such as one of an hour or a day, and learn where.

    Parameters
    ----------
    reach
        What is known of the source, and learned.
    empty
        Where the page begins that was answered with nothing, UTC ms.
    first
        When a candle opens, behind it, with which the next page begins, UTC ms.
    step
        The length of an interval, ms.
    """
    times = yield first - step, 1
    if not len(times):
        return False
    shows = last = first - step
    while shows - empty > step:
        middle = empty + (shows - empty) // (2 * step) * step
        times = yield middle, (first - middle) // step + 1
        if len(times):
            shows, last = middle, int(times[-1])
        else:
            empty = middle
    reach.answered((last - shows) // step + 1)
    reach.ended_at(shows)
    return True


def looked_for(
    reach: Reach, hole: int, until: int, *, step: int, size: int, first_page: int, newest: bool, shown_from: int
) -> Generator[Question, NDArray[np.int64], bool]:
    """Whether there is a candle behind the begin of a hole, and learn how far the source answers there.

    Parameters
    ----------
    reach
        What is known of the source, and learned.
    hole, until
        The range, UTC ms.
    step, size
        The length of an interval, ms, and how many a question may ask for.
    first_page
        How many intervals from ``hole`` on the first empty page had: others have begun behind it.
    newest
        Whether to look at the end of the range alone.
    shown_from
        From here to the end it was asked for nothing farther off than it answers, and answered nothing.
    """
    last = max(hole, until - reach.sure * step)
    begins, first_end = [last], hole if newest else min(hole + first_page * step, last)
    while (further := hole + (reach.sure << len(begins) - 1) * step) < first_end:
        begins.append(further)
    if reach.sure == 1 and not newest:  # it has shown nothing yet
        begins += [hole + n * (until - hole) // _PARTS // step * step for n in range(1, _PARTS)]
    for begin in begins[1:] if shown_from <= last and len(begins) > 1 else begins:
        times = yield begin, min(size, (until - begin) // step)
        if len(times):
            there = int(times[0])
            yield from measured(reach, there, (there - hole) // step + 1, step=step)
            return True
    return False
