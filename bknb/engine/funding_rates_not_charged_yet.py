"""The funding of a leg that has not been charged yet: rows that were given, or those of a registered series."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from ..domain.costs import Costs
from ..domain.funding_and_borrow_amounts import Funding, funding_of
from ..domain.market_clock_protocol import NEVER
from ..errors import UsageError

if TYPE_CHECKING:
    from ..market.newest_series_rows import ReadSeries

_NEWEST: Final = 16
"""Of how many rows of a series that were charged the next process knows that they were there."""


class FundingDue:
    """The funding of a leg, each of which is handed out once, in order of their moments."""

    def __init__(self, costs: Costs) -> None:
        rows = costs.funding
        self._series = rows if isinstance(rows, str) else None
        self._rows = () if rows is None or isinstance(rows, str) else funding_of(rows)
        self.charged = 0  # how many were handed out
        self._behind: set[int] = set()  # moments of rows that came behind later ones
        self._funded = 0  # up to which moment (UTC ms) an earlier process has
        self._newest: tuple[int, ...] = ()  # moments of the newest rows that it knew up to then
        self._untold: tuple[int, ...] = ()  # those of rows that came behind these between two processes

    @property
    def series(self) -> str | None:
        """The name of its series; ``None``: its rows were given."""
        return self._series

    @property
    def funded(self) -> int:
        """The last moment (UTC ms) whose funding was handed out; 0 for none."""
        return self._rows[self.charged - 1].moment if self.charged else self._funded

    @property
    def newest(self) -> tuple[int, ...]:
        """The moments (UTC ms) of the newest rows of a series that were known of what was handed out."""
        if self._series is None:
            return ()
        rows = self._rows[max(self.charged - _NEWEST, 0) : self.charged]
        return tuple(sorted({*(row.moment for row in rows), *self._behind}))[-_NEWEST:] if rows else self._newest

    def go_on(self, charged: int, funded: int, newest: tuple[int, ...] = ()) -> None:
        """Go on where an earlier process had handed out so many rows; of a series those up to a moment (UTC ms).

        ``newest`` are then the moments of the newest rows that it knew: others among them came behind later ones.
        """
        self.charged, self._funded = (charged, 0) if self._series is None else (0, funded)
        self._newest = newest

    def __bool__(self) -> bool:
        return self.charged < len(self._rows)

    def read(self, published: ReadSeries, symbol: str, last: int) -> tuple[int, ...]:
        """Read the series, if it is one, with the rows up to a moment (UTC ms); they count when they were published.

        Read again, it has those that have come since; what is known of moments that were handed out stays. The moments
        of rows that are new and not later than what was handed out come back, each once: they are not charged.

        Raises
        ------
        UsageError
            It has no column of rates, or a row that is no funding.
        """
        if self._series is None:
            return ()
        rows = published(self._series, symbol, last).rows(symbol, NEVER, None)
        moments, names = rows[rows.times[0]].tolist(), rows.columns
        if "rate" in names:
            found = funding_of(zip(moments, rows["rate"].tolist(), strict=True))
        elif "long" in names and "short" in names:
            found = funding_of(zip(moments, rows["long"].tolist(), rows["short"].tolist(), strict=True))
        else:
            raise UsageError(
                f"series {self._series!r} is no funding: it has the columns {', '.join(names)}\n"
                "it needs rate, a share of the value that longs pay to shorts (0.0001 is 0.01 %), or long and short"
            )
        known, funded = self._rows[: self.charged], self.funded
        if not known:
            self._rows, self.charged = found, bisect_right(found, funded, key=attrgetter("moment"))
            before, first = {*self._newest}, min(self._newest, default=NEVER)
            handed_out = (row.moment for row in found[: self.charged])
            self._untold = tuple(moment for moment in handed_out if moment > first and moment not in before)
            return ()
        self._rows = (*known, *(row for row in found if row.moment > funded))
        seen = {row.moment for row in known} | self._behind
        behind = tuple(row.moment for row in found if row.moment <= funded and row.moment not in seen)
        self._behind.update(behind)
        behind, self._untold = (*self._untold, *behind), ()
        return behind

    def until(self, when: int) -> Iterator[Funding]:
        """What is due up to a moment (UTC ms) and has not been handed out."""
        first = self.charged
        self.charged = max(bisect_right(self._rows, when, lo=first, key=attrgetter("moment")), first)
        return iter(self._rows[first : self.charged])

    def moment_after(self, when: int) -> int:
        """The first moment of funding later than another (UTC ms), charged or not; far in the future for none."""
        at = bisect_right(self._rows, when, key=attrgetter("moment"))
        return self._rows[at].moment if at < len(self._rows) else NEVER

    @property
    def next_moment(self) -> int:
        """The moment of the next funding that has not been handed out, UTC ms; far in the future for none."""
        return self._rows[self.charged].moment if self else NEVER
