"""Legs of a live account that were marked at their last close, as bars of them had not come: told when they come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..domain.formatting import utc_text

if TYPE_CHECKING:
    from .live_leg_account import LiveLegAccount


class StaleMarks:
    """Up to when each leg of an account was marked without its bars."""

    def __init__(self) -> None:
        self._spans: dict[str, tuple[int, int]] = {}  # by leg: how far it had come, and up to when it was marked

    def note(self, legs: Iterable[LiveLegAccount], until: int, shortest: int) -> None:
        """The account was marked up to a moment (UTC ms) at which some of its legs have not come so far.

        ``shortest`` is the length of the shortest of their bars, ms.
        """
        for leg in legs:
            if leg.changes_from(shortest) <= until:
                since, _ = self._spans.get(leg.name, (leg.known, 0))
                self._spans[leg.name] = since, until

    def tell(self, legs: Iterable[LiveLegAccount]) -> None:
        """Tell of bars of these legs that have come since; those of a market that was closed there are none."""
        for leg in legs:
            if leg.name not in self._spans or leg.known < self._spans[leg.name][1]:
                continue
            since, until = self._spans.pop(leg.name)
            closes = leg.bars().closed_ms
            count = int(((closes > since) & (closes <= until)).sum())
            if count:
                leg.warn(
                    f"{count:,} bars came so late that equity has the last close of {utc_text(since)} in their place, "
                    f"up to {utc_text(until)}: a portfolio over history has theirs"
                )
