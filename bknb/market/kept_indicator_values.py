"""Values of indicators that are kept from one run to the next, where the setting ``indicator_cache`` asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from .indicator_formula import Formula, Made
    from .window import Window

    Floats = NDArray[np.float64]


class KeptValues(Protocol):
    """Values of one indicator, by the candles they are made of."""

    def of(self, known: Floats, before: int) -> Made | None:
        """The values of a block, NaN for the candles ``before`` it; ``None``: they are not there, or not whole."""
        ...

    def keep(self, known: Floats, made: Made, before: int) -> None:
        """Keep what was made of a block."""
        ...


Keeper: TypeAlias = "Callable[..., KeptValues | None]"
"""Called with the setting ``indicator_cache``, the source, the formula, what decides values beside it (interval, and
how its blocks are padded), and who is warned; ``None``: its values cannot be kept."""

_keepers: list[Keeper] = []


def keep_with(keeper: Keeper) -> None:
    """Have values of indicators kept by a function of a room above."""
    _keepers[:] = [keeper]


def kept_values(window: Window, formula: Formula, interval: str, *, irregular: bool) -> KeptValues | None:
    """What is kept of an indicator over the candles of a window; ``None``: nothing is.

    Those that are known by name are made faster than they are read.
    """
    chosen = window.settings.indicator_cache
    if chosen is False or formula.is_known or not _keepers:
        return None
    return _keepers[0](chosen, window.source, formula, (interval, irregular), window.warn_once)
