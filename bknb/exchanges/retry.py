"""How long to go on asking somebody who does not answer."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Attempts and the pauses between them.

    Pauses double from the first one on and are shortened by chance, so that many who were refused together do not come
    back together. What the other side asks for with ``Retry-After`` is never undercut.

    Parameters
    ----------
    attempts
        How often to ask in all.
    first_pause_ms, longest_pause_ms
        The pause after the first attempt, and the limit of doubling.
    jitter
        Largest part of a pause that is left out by chance, 0 to 1.
    longest_retry_after_ms
        Give up at once when the other side asks for a longer pause than this.

    Examples
    --------
    >>> patience = Patience(first_pause_ms=1000, longest_pause_ms=5000, jitter=0.0)
    >>> [patience.pause_ms(attempt, chance=Random(1)) for attempt in (1, 2, 3, 4)]
    [1000, 2000, 4000, 5000]
    >>> patience.pause_ms(1, chance=Random(1), retry_after_ms=30_000)
    30000
    """

    attempts: int = 6
    first_pause_ms: int = 500
    longest_pause_ms: int = 30_000
    jitter: float = 0.25
    longest_retry_after_ms: int = 300_000

    def pause_ms(self, attempt: int, *, chance: Random, retry_after_ms: int | None = None) -> int:
        """The pause after an attempt, counted from 1, in milliseconds."""
        pause: int = min(self.first_pause_ms << (attempt - 1), self.longest_pause_ms)
        shortened = round(pause * (1 - self.jitter * chance.random()))
        if retry_after_ms is None:
            return shortened
        return max(shortened, retry_after_ms + round(self.jitter * self.first_pause_ms * chance.random()))
