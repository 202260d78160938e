"""Milestones that positions passed, and signals that risk profiles refused, as tables and reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from ..domain.formatting import minute_text, price_text
from ..domain.signal_events import Milestone, RiskRefused
from .markup import cell, markdown_table
from .refusals_counted import by_kind

if TYPE_CHECKING:
    import pandas as pd

# columns of the tables, and where an event has what is not under the column's own name
_MILESTONE_FIELDS: Final = ("when", "symbol", "strategy", "signal_id", "position", "side", "level", "price", "mode")
_REFUSAL_FIELDS: Final = (
    "when", "symbol", "strategy", "risk", "note", "position", "price", "open_positions", "mode",
)  # fmt: skip
_PLACES: Final = {"signal_id": "signal.id", "position": "signal.position"}

# columns of the reports, and the text of an event in each
_MILESTONE_COLUMNS: Final = ("When (UTC)", "Symbol", "Strategy", "Signal", "Position", "Level", "Price", "Mode")
_REFUSAL_COLUMNS: Final = (
    "When (UTC)", "Symbol", "Strategy", "Profile", "Why", "Position", "Price", "Open then", "Mode",
)  # fmt: skip
_TEXTS: Final[Mapping[str, Callable[[Any], str]]] = {
    "When (UTC)": lambda event: minute_text(event.when),
    "Symbol": attrgetter("symbol"),
    "Strategy": attrgetter("strategy"),
    "Signal": attrgetter("signal.id"),
    "Position": attrgetter("signal.position"),
    "Level": lambda event: f"{'+' if event.side == 'profit' else '-'}{event.level} %",
    "Price": lambda event: price_text(event.price),
    "Profile": attrgetter("risk"),
    "Why": attrgetter("note"),
    "Open then": lambda event: f"{event.open_positions:,}",
    "Mode": attrgetter("mode"),
}


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
        return _table(_MILESTONE_FIELDS, self.milestones)

    def report(self) -> str:
        """The milestones as Markdown."""
        counts = f"**Milestones:** {len(self.milestones):,} ({self.profits:,} to a target, {self.losses:,} to a stop)"
        empty = "No position has come a tenth of the way to its target or stop yet."
        return _report(f"Partial milestones: {self.title}", _MILESTONE_COLUMNS, self.milestones, [counts], empty=empty)


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
        """The number of refusals per rule, most frequent first; texts that differ in numbers alone count as one.

        Such a rule is there with its newest text.
        """
        return dict(by_kind((event.note, "") for event in self.refusals))

    @property
    def table(self) -> pd.DataFrame:
        """One row per refusal: ``when`` (UTC), symbol, strategy, risk, note, position, price, open_positions, mode."""
        return _table(_REFUSAL_FIELDS, self.refusals)

    def report(self) -> str:
        """The refusals as Markdown."""
        counts = [f"- {count:,} x {cell(note)}" for note, count in self.by_note.items()]
        total = f"**Refusals:** {len(self.refusals):,}"
        after, empty = [total, "", *counts], "No candidate was refused yet."
        return _report(f"Risk refusals: {self.title}", _REFUSAL_COLUMNS, self.refusals, after, empty=empty)


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


def _table(fields: Sequence[str], events: Iterable[Any]) -> pd.DataFrame:
    import pandas as pd

    from .time_columns import with_times

    read = attrgetter(*(_PLACES.get(name, name) for name in fields))
    return with_times(pd.DataFrame([read(event) for event in events], columns=list(fields)), ["when"])


def _report(title: str, columns: Sequence[str], events: Sequence[Any], after: Sequence[str], *, empty: str) -> str:
    """A title, a table of the events and what follows it; one sentence where there are none."""
    rows = [[_TEXTS[name](event) for name in columns] for event in events]
    body = [*markdown_table(columns, rows), "", *after] if rows else [empty]
    return "\n".join([f"# {cell(title)}", "", *body, ""])
