"""How far back a strategy looked: a window that records it, also where some of the history is taken away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..domain.interval import interval_ms
from ..errors import NotEnoughData
from ..market.calendar_candles import LENGTHS_MS
from ..market.candles import Candles
from ..market.candles_of_one_symbol import Series
from ..market.window import Window

if TYPE_CHECKING:
    from ..market.panel import Panel


class RecordingWindow(Window):
    """A window that records how far back a strategy looked; in a world with less history, one that ``lacks`` some."""

    reach = 0
    looked = ""
    lacks: tuple[Window, int] | None = None  # the whole history, and where less begins (UTC ms)

    def hold(self, symbol: str, candles: Candles, since: int) -> None:
        """Put these base bars into memory."""
        self._series[symbol, self.base] = Series(
            candles, step=self.base_ms, since=since, until=self.horizon, grid=self.grid_of(symbol)
        )

    def newest(self, symbol: str, interval: str, limit: int, when: int, *, wait: bool = True) -> Candles:
        """Return the newest candles, and record how far back they reach."""
        candles = super().newest(symbol, interval, limit, when, wait=wait)
        length = LENGTHS_MS.get(interval) or interval_ms(interval)
        self._record(len(candles) * length, f"{len(candles)} x {interval} of {symbol}")
        return candles

    def since(self, symbol: str, interval: str, since: int, when: int) -> Candles:
        """Return the candles since a moment; too few are told where only the whole history has them all."""
        if self.lacks is not None and since < self.lacks[1]:
            series = self.lacks[0].known(symbol, interval)
            if series is not None and series.start <= since:
                raise NotEnoughData(f"candles of {symbol} from before the history were asked for")
        return super().since(symbol, interval, since, when)

    def panel(self, symbols: Sequence[str], interval: str, limit: int, how: str, when: int) -> Panel:
        """Return the newest rows of several symbols, and record how far back they reach."""
        panel = super().panel(symbols, interval, limit, how, when)
        self._record(when - int(panel.timestamp[0]), f"{limit} x {interval} of {', '.join(symbols)}")
        return panel

    def _record(self, reach: int, looked: str) -> None:
        if reach > self.reach:
            self.reach, self.looked = reach, looked
