"""The retry policy: the pause after a failed attempt, or the reason to give up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from ..errors import UsageError

_MOST_DOUBLINGS: Final = 40  # of a millisecond: 35 years


class Chance(Protocol):
    """Where a policy takes its jitter from, such as :class:`random.Random`."""

    def random(self) -> float:
        """A number from 0 up to, but not including, 1."""
        ...


class GiveUp(Enum):
    """Why there is no further attempt."""

    ATTEMPTS = "all attempts were made"
    RETRY_AFTER = "a longer pause is asked for than the policy allows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """A retry policy: attempts and the pauses between them.

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

    Raises
    ------
    UsageError
        When a number is none, or out of its range.

    Examples
    --------
    >>> patience = Patience(attempts=5, first_pause_ms=1000, longest_pause_ms=5000, jitter=0.25)
    >>> [patience.after(attempt) for attempt in (1, 2, 3, 4)]
    [1000, 2000, 4000, 5000]
    >>> patience.after(1, chance=0.5), patience.after(1, retry_after_ms=30_000)
    (875, 30000)
    >>> patience.after(5)
    <GiveUp.ATTEMPTS: 'all attempts were made'>
    """

    attempts: int = 6
    first_pause_ms: int = 500
    longest_pause_ms: int = 30_000
    jitter: float = 0.25
    longest_retry_after_ms: int = 300_000

    def __post_init__(self) -> None:
        """Check the numbers."""
        least = {"attempts": 1, "first_pause_ms": 0, "longest_pause_ms": 0, "longest_retry_after_ms": 0}
        for name, bound in least.items():
            value: object = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < bound:
                raise UsageError(f"{name} must be a whole number from {bound} on, got {value!r:.80}")
        jitter: object = self.jitter
        if isinstance(jitter, bool) or not isinstance(jitter, (int, float)) or not 0 <= jitter <= 1:
            raise UsageError(f"jitter must be a number from 0 to 1, got {jitter!r:.80}")

    def after(self, attempt: int, *, chance: float = 0.0, retry_after_ms: int | None = None) -> int | GiveUp:
        """The pause in milliseconds after an attempt that failed, counted from 1, or why there is no further one.

        Parameters
        ----------
        attempt
            The number of the attempt that failed.
        chance
            Where in the range of the jitter the pause lies: 0 gives the longest, 1 the shortest.
        retry_after_ms
            The pause that the other side asked for; ``None``: it asked for none.
        """
        if retry_after_ms is not None and retry_after_ms > self.longest_retry_after_ms:
            return GiveUp.RETRY_AFTER
        if attempt >= self.attempts:
            return GiveUp.ATTEMPTS
        return self._pause(attempt, chance, retry_after_ms)

    def pause_ms(self, attempt: int, *, chance: Chance, retry_after_ms: int | None = None) -> int:
        """The pause after an attempt, counted from 1, in milliseconds; whether there is a next one is not asked."""
        return self._pause(attempt, chance.random(), retry_after_ms)

    def _pause(self, attempt: int, chance: float, retry_after_ms: int | None) -> int:
        doubled: int = min(self.first_pause_ms << min(attempt - 1, _MOST_DOUBLINGS), self.longest_pause_ms)
        pause = round(doubled * (1 - self.jitter * chance))
        if retry_after_ms is None:
            return pause
        return max(pause, retry_after_ms + round(self.jitter * self.first_pause_ms * chance))


def attempts_text(count: int) -> str:
    """A number of attempts in words.

    Examples
    --------
    >>> attempts_text(1), attempts_text(3)
    ('1 attempt', '3 attempts')
    """
    return "1 attempt" if count == 1 else f"{count} attempts"


def checked_patience(given: object) -> Patience:
    """A policy that was given; ``None``: the usual one.

    Raises
    ------
    UsageError
        It is neither.

    Examples
    --------
    >>> checked_patience(None).attempts
    6
    """
    if given is None:
        return Patience()
    if isinstance(given, Patience):
        return given
    raise UsageError(
        f"patience must be bknb.exchanges.Patience(...) or None, got {given!r:.80}\n"
        "give for example bknb.exchanges.Patience(attempts=3)"
    )
