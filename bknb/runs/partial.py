"""``bknb.Partial``: the milestones that positions passed on the way to a target or a stop."""

from __future__ import annotations

from pathlib import Path

from ..reports.milestones_and_refusals import MilestoneTally, milestone_tally
from ..stores.atomic import write_report
from .kept_records import names_of, records_of, title_of


class Partial:
    """Partial milestones: 10, 20 … 100 % of the way to a target or a stop, each passed once per position.

    They come from the last backtest and the last live run of every strategy and symbol in this process; ``symbol`` and
    ``strategy`` narrow them down.

    Examples
    --------
    >>> import bknb
    >>> def get_signal(price):
    ...     return bknb.Signal(position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.98,
    ...                        minute_estimated_time=600)
    >>> _ = bknb.backtest("BTCUSDT", strategy=get_signal, exchange="demo", frame="2024-01-01:2024-01-02")
    >>> tally = bknb.Partial.get_data("BTCUSDT", "get_signal")
    >>> len(tally.table) == tally.profits + tally.losses
    True
    """

    @staticmethod
    def get_data(symbol: str | None = None, strategy: str | None = None) -> MilestoneTally:
        """The milestones up to now."""
        events = (event for records in records_of(symbol, strategy) for event in list(records.milestones))
        return milestone_tally(title_of(symbol, strategy), events)

    @staticmethod
    def get_report(symbol: str | None = None, strategy: str | None = None) -> str:
        """The milestones as Markdown."""
        return Partial.get_data(symbol, strategy).report()

    @staticmethod
    def dump(
        symbol: str | None = None, strategy: str | None = None, *, path: str | Path = "./dump/partial"
    ) -> Path:  # fmt: skip
        """Write the report into a folder and return its path; the name holds strategy and symbol."""
        return write_report(path, names_of(symbol, strategy), Partial.get_report(symbol, strategy))
