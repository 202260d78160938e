"""Milestones that positions passed, and signals that risk profiles refused, as tables and reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..domain.formatting import minute_text, price_text
from ..domain.signal import Milestone, RiskRefused
from .markup import cell, markdown_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class MilestoneTally:
    """Partial milestones, oldest first.

    Attributes
    ----------
    title : str
        Whose they are.
    milestones : tuple of Milestone
    """

    title: str
    milestones: tuple[Milestone, ...]

    @property
    def profits(self) -> int:
        """The number of milestones towards a target."""
        return sum(event.side == "profit" for event in self.milestones)

    @property
    def losses(self) -> int:
        """The number of milestones towards a stop."""
        return len(self.milestones) - self.profits

    @property
    def table(self) -> pd.DataFrame:
        """One row per milestone: ``when`` (UTC), whose, which way, ``level`` (%), ``price``."""
        rows = [
            (
                *(event.when, event.symbol, event.strategy, event.signal.id, event.signal.position, event.side),
                *(event.level, event.price, event.mode),
            )
            for event in self.milestones
        ]
        columns = ["when", "symbol", "strategy", "signal_id", "position", "side", "level", "price", "mode"]
        return _table(columns, rows)

    def report(self) -> str:
        """The milestones as Markdown."""
        rows = [
            (
                minute_text(event.when),
                event.symbol,
                event.strategy,
                event.signal.id,
                event.signal.position,
                f"{'+' if event.side == 'profit' else '-'}{event.level} %",
                price_text(event.price),
                event.mode,
            )
            for event in self.milestones
        ]
        columns = ("When (UTC)", "Symbol", "Strategy", "Signal", "Position", "Level", "Price", "Mode")
        counts = f"**Milestones:** {len(self.milestones):,} ({self.profits:,} to a target, {self.losses:,} to a stop)"
        empty = "No position has come a tenth of the way to its target or stop yet."
        return _report(f"Partial milestones: {self.title}", columns, rows, [counts], empty=empty)


@dataclass(frozen=True, slots=True)
class RefusalTally:
    """Signals that risk profiles refused, oldest first.

    Attributes
    ----------
    title : str
        Whose they are.
    refusals : tuple of RiskRefused
    """

    title: str
    refusals: tuple[RiskRefused, ...]

    @property
    def by_note(self) -> dict[str, int]:
        """The number of refusals per rule, most frequent first."""
        return dict(Counter(event.note for event in self.refusals).most_common())

    @property
    def table(self) -> pd.DataFrame:
        """One row per refusal: ``when`` (UTC), symbol, strategy, risk, note, position, price, open_positions, mode."""
        rows = [
            (
                *(event.when, event.symbol, event.strategy, event.risk, event.note, event.signal.position),
                *(event.price, event.open_positions, event.mode),
            )
            for event in self.refusals
        ]
        columns = ["when", "symbol", "strategy", "risk", "note", "position", "price", "open_positions", "mode"]
        return _table(columns, rows)

    def report(self) -> str:
        """The refusals as Markdown."""
        rows = [
            (
                minute_text(event.when),
                event.symbol,
                event.strategy,
                event.risk,
                event.note,
                event.signal.position,
                price_text(event.price),
                f"{event.open_positions:,}",
                event.mode,
            )
            for event in self.refusals
        ]
        columns = ("When (UTC)", "Symbol", "Strategy", "Profile", "Why", "Position", "Price", "Open then", "Mode")
        counts = [f"- {count:,} x {cell(note)}" for note, count in self.by_note.items()]
        total = f"**Refusals:** {len(self.refusals):,}"
        after = [total, "", *counts]
        return _report(f"Risk refusals: {self.title}", columns, rows, after, empty="No candidate was refused yet.")


def milestone_tally(title: str, milestones: Iterable[Milestone]) -> MilestoneTally:
    """Milestones of one or several runs, in order of time.

    Examples
    --------
    >>> milestone_tally("sma on BTCUSDT", []).losses
    0
    """
    return MilestoneTally(title, tuple(sorted(milestones, key=lambda event: event.when)))


def refusal_tally(title: str, refusals: Iterable[RiskRefused]) -> RefusalTally:
    """Refusals of one or several runs, in order of time.

    Examples
    --------
    >>> refusal_tally("sma on BTCUSDT", []).by_note
    {}
    """
    return RefusalTally(title, tuple(sorted(refusals, key=lambda event: event.when)))


def _table(columns: list[str], rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(rows, columns=columns)
    table["when"] = pd.to_datetime(table["when"].astype("int64"), unit="ms", utc=True)
    return table


def _report(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], after: Sequence[str], *, empty: str
) -> str:
    """A title, a table and what follows it; one sentence where the table has no row."""
    body = [*markdown_table(columns, rows), "", *after] if rows else [empty]
    return "\n".join([f"# {cell(title)}", "", *body, ""])
