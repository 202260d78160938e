"""The funding of a leg that has not been charged yet."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from operator import attrgetter

from ..domain.costs import Costs
from ..domain.funding import Funding, funding_of


class FundingDue:
    """The funding of a leg, each of which is handed out once, in order of their moments."""

    def __init__(self, costs: Costs) -> None:
        rows = costs.funding
        self._left = () if rows is None or isinstance(rows, str) else funding_of(rows)

    def __bool__(self) -> bool:
        return bool(self._left)

    def until(self, when: int) -> Iterator[Funding]:
        """What is due up to a moment (UTC ms) and has not been handed out."""
        count = bisect_right(self._left, when, key=attrgetter("moment"))
        due, self._left = self._left[:count], self._left[count:]
        return iter(due)
