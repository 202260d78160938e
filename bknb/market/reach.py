"""What the answers of a source have shown of how many candles it answers, whatever it is asked for."""

from __future__ import annotations


class Reach:
    """How many intervals from the beginning of a question on a source answers, as far as its answers have shown.

    ``newest`` is how many candles it answers at most where these are the newest of the range; ``None``: they are not.

    Examples
    --------
    >>> reach = Reach()
    >>> reach.answered(5), reach.ended(5)
    (None, None)
    >>> reach.sure, reach.is_short
    (5, True)
    >>> reach.answered(300)
    >>> reach.sure, reach.is_short
    (300, False)
    >>> reach.looked_before(200, any_is=True)
    >>> reach.newest
    200
    """

    def __init__(self) -> None:
        self.sure = 1  # it answers as far as this
        self._end: int | None = None
        self.newest: int | None = None
        self._whole = 0  # so many candles may be all there are

    @property
    def is_short(self) -> bool:
        """Whether it is known to answer no farther than it has so far, whatever it is asked for."""
        return self._end is not None and self.sure <= self._end

    def answered(self, count: int) -> None:
        """An answer held a candle in the last of so many intervals."""
        self.sure = max(self.sure, count)

    def ended(self, count: int) -> None:
        """An answer ended after so many intervals, although there was a candle in the next one that was asked for."""
        self._end = max(count, 1)

    def may_be_newest(self, count: int) -> bool:
        """Whether an answer of so many candles, which begins later than asked, may be the newest of its range alone."""
        return count >= (self._whole if self.newest is None else self.newest)

    def was_whole(self, count: int) -> None:
        """An answer of so many candles left out none before them."""
        self._whole = max(self._whole, count)

    def looked_before(self, count: int, *, any_is: bool) -> None:
        """Before an answer of so many candles, in its range, there are others, or none."""
        if any_is:
            self.newest = count
        else:
            self.was_whole(count + 1)
