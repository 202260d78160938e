"""``bknb.Risk``: what risk profiles refused."""

from __future__ import annotations

from pathlib import Path

from ..reports.milestones_and_refusals import RefusalTally, refusal_tally
from ..stores.atomic import write_report
from .kept_records import names_of, records_of, title_of


class Risk:
    """Candidates that risk profiles refused, with the note of the rule that refused.

    They come from the last backtest and the last live run of every strategy and symbol in this process; ``symbol`` and
    ``strategy`` narrow them down.

    Examples
    --------
    >>> import bknb
    >>> bknb.Risk.get_data("BTCUSDT", "nobody").by_note
    {}
    """

    @staticmethod
    def get_data(symbol: str | None = None, strategy: str | None = None) -> RefusalTally:
        """The refusals up to now."""
        events = (event for records in records_of(symbol, strategy) for event in list(records.refused))
        return refusal_tally(title_of(symbol, strategy), events)

    @staticmethod
    def get_report(symbol: str | None = None, strategy: str | None = None) -> str:
        """The refusals as Markdown."""
        return Risk.get_data(symbol, strategy).report()

    @staticmethod
    def dump(
        symbol: str | None = None, strategy: str | None = None, *, path: str | Path = "./dump/risk"
    ) -> Path:  # fmt: skip
        """Write the report into a folder and return its path; the name holds strategy and symbol."""
        return write_report(path, names_of(symbol, strategy), Risk.get_report(symbol, strategy))
