"""What was found about rows of numbers, kept by their content: a table is looked at again for every other future."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_KEPT: Final = 50_000_000  # bytes of numbers, and of what was found for them, at a time


class FoundByNumbers:
    """Moments (UTC ms) that belong to numbers, kept by the numbers; read-only.

    Examples
    --------
    >>> found, numbers = FoundByNumbers(), np.array([2.0, 3.0])
    >>> one, other = (found.of(numbers, lambda numbers: numbers.astype(np.int64)) for _ in range(2))
    >>> one.tolist(), other is one
    ([2, 3], True)
    """

    def __init__(self) -> None:
        self._found: dict[bytes, NDArray[np.int64]] = {}
        self._bytes = 0

    def of(
        self, numbers: NDArray[np.float64], find: Callable[[NDArray[np.float64]], NDArray[np.int64]]
    ) -> NDArray[np.int64]:
        """The moments of numbers, shape (n,); ``find`` finds those of numbers that were not asked about before."""
        content = numbers.tobytes()
        found = self._found.get(content)
        if found is None or found.shape != numbers.shape:
            found = find(numbers)
            found.setflags(write=False)
            self._bytes += 2 * len(content)
            if self._bytes > _MOST_KEPT:
                self._found.clear()
                self._bytes = 2 * len(content)
            self._found[content] = found
        return found
