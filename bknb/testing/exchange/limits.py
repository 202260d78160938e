"""How much may be asked: weights a minute, orders in ten seconds and a day, and bans."""

from __future__ import annotations

from collections import deque
from typing import Final

from .orders import RefusedError

_MINUTE_MS: Final = 60_000
_TEN_SECONDS_MS: Final = 10_000
_DAY_MS: Final = 86_400_000


class Limits:
    """Counts of one client.

    Parameters
    ----------
    weight
        What requests of a minute may weigh together.
    orders
        How many orders may be sent in ten seconds, and in a day.
    patience
        How many refused requests end in a ban.
    ban_ms
        How long a ban lasts.

    Examples
    --------
    >>> limits = Limits(weight=10)
    >>> limits.count(0, weight=10)
    >>> try:
    ...     limits.count(1000, weight=1)
    ... except RefusedError as refused:
    ...     print(refused.reason, refused.detail["seconds"])
    too_many 59
    """

    def __init__(
        self, *, weight: int = 6000, orders: tuple[int, int] = (100, 200_000), patience: int = 10, ban_ms: int = 120_000
    ) -> None:
        self.weight = weight
        self.orders = orders
        self.patience = patience
        self.ban_ms = ban_ms
        self.used = 0
        self.banned_until = 0
        self._held_until = 0
        self._tells_when = True
        self._minute = 0
        self._refused = 0
        self._sent: deque[int] = deque()

    def orders_in(self, now: int, length_ms: int) -> int:
        """How many orders were sent in so long a time."""
        return sum(1 for sent in self._sent if now - sent < length_ms)

    def hold(self, now: int, length_ms: int, *, banned: bool) -> None:
        """Refuse everything for so long; a ban says in its text alone when it ends."""
        if banned:
            self.banned_until, self._tells_when = now + length_ms, False
        else:
            self._held_until = now + length_ms

    def renew(self) -> None:
        """Begin to count anew: a minute of the market has passed."""
        self.used = self._refused = 0
        self._sent.clear()

    def count(self, now: int, *, weight: int, order: bool = False) -> None:
        """Count a request.

        Raises
        ------
        RefusedError
            When it is one too many.
        """
        if now // _MINUTE_MS != self._minute:
            self._minute, self.used, self._refused = now // _MINUTE_MS, 0, 0
        if now < self.banned_until:
            seconds = -(-(self.banned_until - now) // 1000)
            raise RefusedError("banned", until=self.banned_until, seconds=seconds, header=self._tells_when)
        if now < self._held_until:
            raise RefusedError("too_many", seconds=-(-(self._held_until - now) // 1000), limit=self.weight)
        if self.used + weight > self.weight:
            self._refused += 1
            if self._refused > self.patience:
                self.banned_until = now + self.ban_ms
                raise RefusedError("banned", until=self.banned_until, seconds=self.ban_ms // 1000)
            raise RefusedError("too_many", seconds=-(-(_MINUTE_MS - now % _MINUTE_MS) // 1000), limit=self.weight)
        self.used += weight
        if order:
            self._count_order(now)

    def _count_order(self, now: int) -> None:
        while self._sent and now - self._sent[0] >= _DAY_MS:
            self._sent.popleft()
        if self.orders_in(now, _TEN_SECONDS_MS) >= self.orders[0]:
            raise RefusedError("too_many_new_orders", limit=self.orders[0], interval="10 SECOND")
        if len(self._sent) >= self.orders[1]:
            raise RefusedError("too_many_new_orders", limit=self.orders[1], interval="1 DAY")
        self._sent.append(now)
