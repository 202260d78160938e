"""What a ``get_weights`` is asked with."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..errors import UsageError
from ..market.newest_series_rows import rows_of_several_symbols
from ..market.strategy_context import Context, RunSources, current, reads_of

if TYPE_CHECKING:
    from ..domain.position_seen_by_manage import HeldPosition
    from ..market.series_rows import SeriesRows

_READS: Final = frozenset({"panel", "get_candles", "get_average_price"})


class WeightsContext:
    """What a ``get_weights`` is asked with: the moment, the account, and candles of any symbol.

    Attributes
    ----------
    symbols : tuple of str
        Those of the strategy.
    equity : float
        Of the account, marked at the last closes.
    weights : dict
        What is held now, by symbol, as parts of the equity; 0 where nothing is.
    """

    def __init__(
        self,
        context: Context,
        symbols: tuple[str, ...],
        equity: float,
        weights: dict[str, float],
        position_of: Callable[[str], HeldPosition | None],
        *,
        several_exchanges: bool = False,
    ) -> None:
        self._context, self._several_exchanges, self._position_of = context, several_exchanges, position_of
        self.symbols, self.equity, self.weights = symbols, equity, weights

    def position(self, symbol: str) -> HeldPosition | None:
        """What is open or waits on a symbol now, as ``manage`` gets it; ``None``: nothing, or it leaves already."""
        if symbol not in self.symbols:
            raise UsageError(
                f"ctx.position({symbol!r:.60}) is of no symbol of this strategy: {', '.join(self.symbols)}"
            )
        return self._position_of(symbol)

    @property
    def positions(self) -> tuple[HeldPosition, ...]:
        """What is open or waits on any of the symbols now."""
        return tuple(held for symbol in self.symbols if (held := self._position_of(symbol)) is not None)

    def closed(self, *_: Any, **__: Any) -> Any:
        """None: it is asked about several symbols."""
        raise UsageError(
            "get_weights is asked about several symbols at once, and ctx.closed are the trades of one\n"
            "look at ctx.positions and ctx.weights, or give each symbol a get_weight of its own"
        )

    def price_of(self, symbol: str) -> float:
        """The average price of a symbol now."""
        self._one_exchange("price_of")
        return self._context.get_average_price(symbol)

    def _one_exchange(self, name: str) -> None:
        """Refuse to read candles where symbols are of several exchanges: all would be read from the first one's."""
        if self._several_exchanges:
            raise UsageError(
                f"ctx.{name} reads from one exchange, and exchange= gives the symbols of this strategy several\n"
                "give one exchange that has all of them, such as bknb.exchanges.joined(...)"
            )

    @property
    def _run(self) -> RunSources:
        """Where an indicator reads its candles."""
        self._one_exchange("indicator")
        return reads_of(self._context)[-1]

    def indicator(self, *given: Any, **more: Any) -> Any:
        """The newest values of an indicator of ``symbol=``; see ``Context.indicator``."""
        asked: Any = self
        return Context.indicator(asked, *given, **more)

    def series(self, name: str, limit: int | None = None, *, symbol: str | None = None, **more: Any) -> SeriesRows:
        """The newest rows of a series; of one with a column of symbols, of ``symbol=``; see ``bknb.get_series``."""
        rows = self._context.series(name, limit, symbol=symbol, **more)
        return rows_of_several_symbols(rows, name, "get_weights is asked about", named=symbol is not None)

    def model(self, name: str) -> Any:
        """What a model with ``shared=True`` is now; any other is of one symbol."""
        from .registry import registry  # few have a model

        if not registry.models.get(name).shared:
            raise UsageError(
                f"get_weights is asked about several symbols at once, and the model {name!r} is of one\n"
                "register it with shared=True: bknb.model(…, shared=True)"
            )
        return self._context.model(name)

    @property
    def symbol(self) -> str:
        """None: it is asked about several."""
        raise UsageError("get_weights is asked about several symbols at once, and ctx.symbol is one\nuse ctx.symbols")

    @property
    def price(self) -> float:
        """None: it is asked about several symbols."""
        raise UsageError(
            "get_weights is asked about several symbols at once, and ctx.price is that of one\nuse ctx.price_of(symbol)"
        )

    @property
    def memo(self) -> dict[str, Any]:
        """None: a memo is of one symbol."""
        raise UsageError(
            "get_weights is asked about several symbols at once, and ctx.memo is that of one symbol\n"
            "keep nothing between its questions, or give each symbol a get_weight of its own"
        )

    def candles(self, *_: Any, **__: Any) -> Any:
        """None: it is asked about several symbols."""
        raise UsageError(
            "get_weights is asked about several symbols at once, and ctx.candles are those of one\n"
            "use ctx.get_candles(symbol, interval, n), or ctx.panel(ctx.symbols, interval, n)"
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_context":  # while it is copied it has no context yet
            raise AttributeError(name)
        if name in _READS:
            self._one_exchange(name)
        return getattr(self._context, name)

    def __repr__(self) -> str:
        return f"WeightsContext({len(self.symbols)} symbols, {self._context.when_ms})"


def answer_of(ask: Callable[[Any], Any], context: WeightsContext) -> Any:
    """What ``get_weights`` answers; ``bknb.get_series`` and the like know meanwhile that it is asked about several."""
    token = current.set(context)  # type: ignore[arg-type]  # it has what a context has
    try:
        answer = ask(context)
    finally:
        current.reset(token)
    if not inspect.isawaitable(answer):
        return answer

    async def later() -> object:
        token = current.set(context)  # type: ignore[arg-type]  # as above
        try:
            return await answer
        finally:
            current.reset(token)

    return later()
