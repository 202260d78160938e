"""How a context reads candles, and where its answers come from: quick, for what each question asks.

``bknb.market.strategy_context`` loads indicators where a strategy asks for one, so these are in a module of their own.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from .candles import Candles
    from .strategy_context import RunSources

run_of: Final[Callable[[Any], RunSources]] = attrgetter("_run")
"""What the contexts of a run share; ``AttributeError`` where something else is given."""
newest_of: Final[Callable[[Any], Callable[[str, str, int, int], Candles]]] = attrgetter("_newest")
"""The function that returns the newest candles of a symbol and an interval at a moment."""
