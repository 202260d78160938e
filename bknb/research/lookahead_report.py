"""The report of a look-ahead check: what was found, what was looked at, and what cannot be seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ..domain.formatting import minute_text, utc_text
from ..reports.markup import Html, cell, figures, fragment, html_figures, html_table, markdown_table
from .entry_accuracy import FEWEST, RULES, Accuracy

if TYPE_CHECKING:
    import pandas as pd

Kind: TypeAlias = Literal["future", "accuracy", "clock", "chance", "memory", "outside", "history"]

MEANING: Final[dict[Kind, str]] = {
    "future": "knows something that had not happened yet",
    "accuracy": "is right more often than simple rules on past prices or reads what goes with later moves: a suspicion",
    "clock": "depends on the computer's clock, or reads one that cannot be shifted to see whether it does",
    "chance": "answers differently when asked again: random numbers without a seed of their own",
    "memory": "answers differently depending on what it was asked before",
    "outside": "reads something besides the candles; whether it holds the future cannot be seen from here",
    "history": "answers differently when less history is there",
}
SUSPICION: Final = (
    "either a leak that nothing else here could see, or a market predictable by something those rules do not know (the "
    "clock, another symbol, a level): find out which of its inputs makes it right, and test it on data recorded later"
)
BLIND: Final = (
    "numbers typed in, or settings chosen, after looking at this stretch",
    "what compiled libraries and other processes hold inside themselves",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding of a look-ahead check: something a strategy must not depend on, and does.

    One of kind ``accuracy`` is a suspicion: no experiment showed what the strategy depends on.

    Attributes
    ----------
    kind : {"future", "accuracy", "clock", "chance", "memory", "outside", "history"}
    when : int or None
        The moment whose answer differed, UTC ms.
    candle : int or None
        Open time of the candle that leaked, UTC ms.
    signal : str
        The answer, and the one it became.
    what : str
        What was read: a number of candles ahead, a variable, a file, a function.
    how : str
        The experiment.
    times : int
        At how many of the moments looked at.
    """

    kind: Kind
    what: str
    how: str
    when: int | None = None
    candle: int | None = None
    signal: str = ""
    times: int = 1

    def __str__(self) -> str:
        parts = [f"{self.kind}: {self.what}"]
        if self.candle is not None:
            parts.append(f"candle {utc_text(self.candle)}")
        if self.when is not None:
            parts.append(f"asked at {utc_text(self.when)}")
        if self.signal:
            parts.append(self.signal)
        return "; ".join([*parts, self.how])


@dataclass(frozen=True, slots=True, kw_only=True)
class LookaheadReport:
    """Result of a look-ahead check.

    Attributes
    ----------
    strategy, symbol, interval : str
    moments : int
        How many moments were looked at closely.
    signals : int
        How many of them had a signal.
    looks_back : str
        The longest look back that was seen.
    findings : tuple of Finding
        The worst first.
    failure : str
        The first exception of the strategy with its line, when it raised at every moment.
    asked_at : str
        The schedule by which the strategy is asked; empty where it is asked in slots of ``interval``.
    asked, raised : int
        At how many moments it was asked in all, and at how many of these it raised.
    first_error : str
        The first exception with its line, when it raised at some moments.
    rows_chosen, rows_compared : int
        For ``get_signals``: at how many moments its rows were to be computed again over other candles, and at how many
        of these it gave rows to compare; 0 for ``get_signal``.
    looked_at : tuple of str
        Data besides the candles that was judged.
    unseen : tuple of str
        What could not be judged in this strategy.
    remarks : tuple of str
        What was noticed and is no finding, such as a clock that is read for a log.
    accuracy : Accuracy or None
        How often entries were right, against rules that know the past alone.
    managed, managed_answers : int
        At how many moments ``manage`` was looked at closely, while something was open or waited, and at how many of
        these it had an answer.
    """

    strategy: str
    symbol: str
    interval: str
    moments: int
    signals: int
    looks_back: str
    findings: tuple[Finding, ...]
    failure: str = ""
    asked_at: str = ""
    looked_at: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    accuracy: Accuracy | None = None
    remarks: tuple[str, ...] = ()
    asked: int = 0
    raised: int = 0
    first_error: str = ""
    rows_chosen: int = 0
    rows_compared: int = 0
    managed: int = 0
    managed_answers: int = 0

    @property
    def ok(self) -> bool:
        """Whether signals were looked at, and nothing was found in them: no proof that there is nothing.

        False where none of the rows that were chosen could be compared.
        """
        return not self.findings and self.signals > 0 and not self._no_row_compared

    @property
    def _no_row_compared(self) -> bool:
        return self.rows_chosen > 0 and self.rows_compared == 0

    @property
    def suspected(self) -> bool:
        """Whether nothing was found but that the entries are right too often: a suspicion; ``ok`` is false."""
        return bool(self.findings) and all(finding.kind == "accuracy" for finding in self.findings)

    @property
    def verdict(self) -> str:
        """The result in one sentence, and at how many moments the strategy raised."""
        if self.failure:
            return f"it raised at every moment, so nothing could be compared: {self.failure}"
        if not self.raised:
            return self._result()
        moments = f"it raised at {self.raised:,} of the {self.asked:,} moments at which it was asked"
        return f"{self._result()}; {moments}, first {self.first_error}"

    def _result(self) -> str:
        kinds = list(dict.fromkeys(finding.kind for finding in self.findings))
        if kinds:
            return "; ".join(self._suspicion() if kind == "accuracy" else f"it {MEANING[kind]}" for kind in kinds)
        if not self.signals:
            return "it gave no signal at these moments, so there was nothing to compare; " + (
                "mend what it raises" if self.raised else "try a longer frame"
            )
        if self._no_row_compared:
            return (
                f"it raised over other candles at all {self.rows_chosen} moments, so no row could be compared; let "
                "get_signals return rows for fewer candles than the frame has, or check it on another frame"
            )
        where = [self._seen, *self.looked_at]
        return f"nothing found in {'; '.join(where)}"

    @property
    def _seen(self) -> str:
        seen = f"{self.moments} moments, {self.signals} of them with a signal"
        rows = f"; rows compared at {self.rows_compared} of {self.rows_chosen} moments" if self.rows_chosen else ""
        return seen + rows + self._seen_of_manage

    @property
    def _seen_of_manage(self) -> str:
        if not self.managed:
            return ""
        return f"; manage asked at {self.managed} moments, {self.managed_answers} of them with an answer"

    def _suspicion(self) -> str:
        found = next(finding for finding in self.findings if finding.kind == "accuracy")
        return f"look-ahead is suspected: {found.what}, {found.how}; {SUSPICION}"

    @property
    def _headline(self) -> str:
        return "" if self.ok else "suspected" if self.suspected else "not ok"

    @property
    def entries_text(self) -> str:
        """What the accuracy of the entries says, in one sentence."""
        found = self.accuracy
        if found is None:
            return "not measured"
        if not found.enough:
            return f"{found.entries} entries that do not overlap, too few to tell ({FEWEST} are needed)"
        return f"{found.right:.0%} of {found.entries} were right after {found.minutes} minutes; {_reached(found)}"

    @property
    def cannot_see(self) -> tuple[str, ...]:
        """What no experiment of this check can see: in this strategy, and in any."""
        return (*self.unseen, *BLIND)

    @property
    def _when(self) -> str:
        return f"at {self.asked_at}" if self.asked_at else f"every {self.interval}"

    def __repr__(self) -> str:
        seen = f"{self.signals} of {self.moments} moments with a signal{self._seen_of_manage}"
        lines = [f"look-ahead check of {self.strategy} on {self.symbol}, {self._when}: {seen}"]
        lines.append(f"  {self.verdict}" if self.ok else f"  {self._headline.upper()}  {self.verdict}")
        lines += [f"  {finding}" for finding in self.findings]
        if not self.failure:
            lines.append(f"  entries: {self.entries_text}")
        lines += [f"  remark: {text}" for text in self.remarks]
        lines += [f"  cannot see: {text}" for text in self.cannot_see]
        if self.looks_back:
            lines.append(f"  looks back {self.looks_back}")
        return "\n".join(lines)

    def _pairs(self) -> list[tuple[str, str]]:
        return [
            ("Strategy", f"{self.strategy} on {self.symbol}, {self._when}"),
            ("Looked at", self._seen),
            ("Looks back", self.looks_back or "not known"),
            ("Verdict", self.verdict if self.ok else f"{self._headline}: {self.verdict}"),
            ("Entries", self.entries_text),
            *([("Remarks", "; ".join(self.remarks))] if self.remarks else []),
            ("Cannot see", "; ".join(self.cannot_see)),
        ]

    def _cells(self) -> list[list[str]]:
        rows = []
        for each in self.findings:
            moments = (minute_text(each.when), minute_text(each.candle))
            rows.append([each.kind, each.what, *moments, each.signal, each.how, str(each.times)])
        return rows

    def report(self) -> str:
        """The report as Markdown."""
        lines = [f"# Look-ahead check: {cell(self.strategy)} on {cell(self.symbol)}", "", *figures(self._pairs()), ""]
        if self.findings:
            lines += [*markdown_table(_TITLES, self._cells()), ""]
        lines += ["## What the kinds mean", "", *[f"- **{kind}**: it {text}" for kind, text in MEANING.items()]]
        return "\n".join(lines) + "\n"

    def _repr_html_(self) -> Html:
        table = html_table(_TITLES, self._cells(), left=len(_TITLES))
        return fragment(html_figures("Look-ahead check", self._pairs()), table)

    def to_pandas(self) -> pd.DataFrame:
        """One row for each finding."""
        import pandas as pd

        from ..reports.time_columns import with_times

        table = pd.DataFrame(
            [[getattr(finding, name) for name in _COLUMNS] for finding in self.findings], columns=list(_COLUMNS)
        )
        return with_times(table, ("when", "candle"))


_TITLES: Final = ("Kind", "What", "Asked at (UTC)", "Candle (UTC)", "Answer", "Experiment", "Times")
_COLUMNS: Final = ("kind", "what", "when", "candle", "signal", "how", "times")
_ORDER: Final[dict[str, int]] = {kind: at for at, kind in enumerate(MEANING)}


def sort_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The worst first: the future before everything else."""
    return tuple(sorted(findings, key=lambda finding: _ORDER[finding.kind]))


def accuracy_findings(accuracy: Accuracy) -> list[Finding]:
    """A finding, which is a suspicion, when entries are right more often than simple rules on past prices."""
    if not accuracy.too_good:
        return []
    return [
        Finding(
            kind="accuracy",
            what=f"{accuracy.right:.0%} of {accuracy.entries} entries were right after {accuracy.minutes} minutes",
            how=_reached(accuracy),
            times=accuracy.entries,
        )
    ]


def _reached(accuracy: Accuracy) -> str:
    return (
        f"the best of {RULES} rules on past prices reached {accuracy.reached:.0%} at most in 99 of 100 shuffled "
        f"futures, and {accuracy.causal:.0%} on this market (p = {accuracy.p_value:.2g})"
    )
