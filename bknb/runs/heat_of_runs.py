"""Heat: the runs of one strategy on many symbols, as a table by symbol with all trades pooled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..domain.signal_events import Mode
from ..engine.plan import ExchangeLike, FrameLike, StrategyLike
from ..errors import UnknownName, UsageError
from ..reports.heat_info import HeatInfo, heat_info
from ..stores.atomic import write_report
from .backtest import Backtest, backtest
from .live_runs import Live
from .result import Result


def _results(mode: Mode) -> list[Result]:
    """Return the results of one mode: of backtests those that are over, of live runs those up to now."""
    if mode == "backtest":
        return [task.result() for task in Backtest.list() if task.status == "fulfilled"]
    if mode != "live":
        raise UsageError(f"mode must be 'backtest' or 'live', got {mode!r}")
    return [task.snapshot() for task in Live.list()]


class Heat:
    """One strategy on many symbols: a table by symbol, and all trades pooled.

    Examples
    --------
    >>> import bknb
    >>> def rising(ctx):
    ...     closes = ctx.candles("1h", 4).close
    ...     if closes[-1] > closes[0]:
    ...         return bknb.Signal(position="long", price_take_profit=ctx.price * 1.02,
    ...                            price_stop_loss=ctx.price * 0.99, minute_estimated_time=240)
    >>> heat = bknb.Heat.run(["BTCUSDT", "ETHUSDT"], strategy=rising, exchange="demo", frame="2024-01-01:2024-01-08")
    >>> heat.statistics["total_symbols"]
    2
    """

    @staticmethod
    def run(
        symbols: Sequence[str], *, strategy: StrategyLike, exchange: ExchangeLike, frame: FrameLike, **options: Any
    ) -> HeatInfo:
        """Backtest a strategy on every symbol, one after the other; options as in ``bknb.backtest``."""
        if isinstance(symbols, str) or not symbols:
            raise UsageError(f"symbols must be a list such as ['BTCUSDT', 'ETHUSDT'], got {symbols!r:.80}")
        results = []
        for symbol in dict.fromkeys(symbols):
            results.append(backtest(symbol, strategy=strategy, exchange=exchange, frame=frame, **options))
            if results[-1].stopped:
                break
        return heat_info(results[0].strategy, results)

    @staticmethod
    def get_data(strategy: str, *, mode: Mode = "backtest", results: Iterable[Result] | None = None) -> HeatInfo:
        """The last run of a strategy on every symbol, pooled; or the results that are given."""
        if results is not None:
            return heat_info(strategy, results)
        ran = _results(mode)
        chosen = [result for result in ran if result.strategy == strategy]
        if not chosen:
            raise UnknownName(f"{mode} run", strategy, known=dict.fromkeys(result.strategy for result in ran))
        return heat_info(strategy, chosen)

    @staticmethod
    def get_report(strategy: str, *, mode: Mode = "backtest", results: Iterable[Result] | None = None) -> str:
        """The same as Markdown."""
        return Heat.get_data(strategy, mode=mode, results=results).report()

    @staticmethod
    def dump(
        strategy: str,
        path: str | Path = "./dump/heatmap",
        *,
        mode: Mode = "backtest",
        results: Iterable[Result] | None = None,
    ) -> Path:
        """Write the Markdown report into a folder and return its path; the name holds strategy and mode."""
        return write_report(path, (strategy, mode), Heat.get_report(strategy, mode=mode, results=results))
