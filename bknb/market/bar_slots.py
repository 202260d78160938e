"""Into which slots time is cut for candles of a length: multiples of it in UTC, or those of a grid; all in UTC ms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ..domain.interval import ceil_to, floor_to

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from ..domain.ranges import Range, Ranges
    from .sessions import Sessions
    from .shifted_bar_grid import BarGrid

_PIECE: Final = 8_192  # candles at a time: what is computed on the way stays in the cache of the processor


def slot_of(when: int, step: int, grid: BarGrid | None) -> int:
    """The begin of the slot of ``step`` ms that a moment lies in.

    Parameters
    ----------
    when
        The moment.
    step
        The length of a candle, ms.
    grid
        Where candles open that do not open at multiples of their length; ``None``: they do.

    Examples
    --------
    >>> slot_of(3_700_000, 3_600_000, None)
    3600000
    """
    return floor_to(when, step) if grid is None else grid.floor(when, step)


def slot_from(when: int, step: int, grid: BarGrid | None) -> int:
    """The first begin of a slot at or after a moment; parameters as of :func:`slot_of`.

    Examples
    --------
    >>> slot_from(3_700_000, 3_600_000, None)
    7200000
    """
    return ceil_to(when, step) if grid is None else grid.ceil(when, step)


def bar_close(opened: int, step: int, grid: BarGrid | None) -> int:
    """When a candle closes that opened at a moment; parameters as of :func:`slot_of`.

    Examples
    --------
    >>> bar_close(3_600_000, 3_600_000, None)
    7200000
    """
    return opened + step if grid is None else grid.after(opened, step)


class BarTimes(NamedTuple):
    """When candles open (UTC ms, shape (n,)), how long they are (ms), and their grid, as of :func:`slot_of`."""

    opened: NDArray[np.int64]
    step: int
    grid: BarGrid | None

    def close_of(self, when: int, count: int) -> int | None:
        """The close (UTC ms) of the ``count``-th candle that opens at or after ``when``; ``None`` for fewer."""
        at = int(self.opened.searchsorted(when)) + count - 1
        return bar_close(int(self.opened[at]), self.step, self.grid) if at < len(self.opened) else None


def bar_before(closed: int, step: int, grid: BarGrid | None) -> int:
    """When a candle opened that closes at a moment; parameters as of :func:`slot_of`.

    Examples
    --------
    >>> bar_before(7_200_000, 3_600_000, None)
    3600000
    """
    return closed - step if grid is None else grid.floor(closed - 1, step)


def open_slots(ranges: Iterable[Range], step: int, sessions: Sessions | None, grid: BarGrid | None) -> Ranges:
    """Of ranges without candles those slots in which the market is open; ``sessions`` is ``None`` where it always is.

    Examples
    --------
    >>> open_slots([(0, 120_000)], 60_000, None, None)
    ((0, 120000),)
    """
    if grid is not None and grid.in_sessions:
        return grid.open_part(ranges, step)
    return tuple(ranges) if sessions is None else sessions.open_part(ranges, step)


def is_even(timestamps: NDArray[np.int64], step: int) -> bool:
    """Whether each open time (ms) is a ``step`` later than the one before.

    Examples
    --------
    >>> import numpy as np
    >>> is_even(np.array([0, 60_000, 120_000]), 60_000), is_even(np.array([0, 120_000]), 60_000)
    (True, False)
    """
    if len(timestamps) and int(timestamps[-1]) - int(timestamps[0]) != (len(timestamps) - 1) * step:
        return False
    pieces = (timestamps[at : at + _PIECE + 1] for at in range(0, len(timestamps), _PIECE))
    return all((piece[1:] - piece[:-1] == step).all() for piece in pieces)
