"""What a strategy sees of its own run, as a context asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..domain.closed_trade import ClosedTrade
    from ..domain.position_seen_by_manage import HeldPosition


class RunSeen(Protocol):
    """What a strategy sees of its own run; moments are UTC ms."""

    strategy: str
    exchange: str
    frame: str | None

    def closed(self, n: int, when: int) -> tuple[ClosedTrade, ...]:
        """The newest closed trades, the newest first."""

    def positions(self, when: int) -> tuple[HeldPosition, ...]:
        """What is open or waits."""

    def equity(self, when: int) -> float:
        """What the account is worth, quote currency."""
