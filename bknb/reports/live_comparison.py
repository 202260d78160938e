"""A live run beside its backtest: what differs, the cause of each difference, and sums that add up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from ..domain.formatting import minute_text
from .markup import (
    Html,
    cell,
    element,
    figures_report,
    fragment,
    html_figures,
    html_table,
    markdown_table,
    text_figures,
)

if TYPE_CHECKING:
    import pandas as pd

_EXACT: Final = 1e-9
_MOST_LISTED: Final = 20
_TITLES: Final = ("Decided", "Signal", "Cause", "What happened", "Profit")
CAUSES: Final[dict[str, str]] = {
    "revised candle": "the exchange has other candles now than those that were recorded",
    "setting": "settings or parameters were others then",
    "code": "the strategy had other code then",
    "outage": "minutes that did not come, or that were worked on late",
    "risk": "the risk profile or the account refused it: something else had its place",
    "order": "an order was refused, lost, late or filled in part",
    "fill": "fills at other prices than those of the record",
    "fee": "fees other than those that are assumed",
    "dust": "fees that were taken in coins, and what rounding has left",
    "protection gap": "no stop rested at the exchange when it was reached",
    "trigger price": "the exchange triggered a stop by another price than the last of a candle",
    "closed by exchange": "the exchange closed it",
    "manual": "decided by hand",
    "unexplained": "nothing that is known",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference between a live run and its backtest.

    Attributes
    ----------
    signal_id : str
    decided_at : int
        UTC ms.
    cause : str
        One of those of ``bknb.reports.live_comparison.CAUSES``.
    amount : float
        How much more the live run made, in the unit of the comparison.
    text : str
        What happened.
    """

    signal_id: str
    decided_at: int
    cause: str
    amount: float
    text: str


@dataclass(frozen=True, slots=False, kw_only=True)
class LiveComparison:
    """A live run beside the backtest of the minutes it has recorded.

    Attributes
    ----------
    strategy, symbol : str
    start, end : int
        First and last moment, UTC ms.
    unit : str
        Of all amounts: a currency; ``"%"``, where the run had no broker: sums of the results of trades in percent.
    backtest : float
        The profit of the backtest as ``bknb.backtest`` has it now, after its costs.
    recorded : float
        That of the backtest with everything that is known of the live run.
    record : float
        That of the record of the live run.
    live : float
        That of the account; without a broker, of the record.
    trades, backtest_trades : int
        How many trades are compared of each.
    open : int
        Trades that are open at the end, and are not compared.
    differences : tuple of Difference
    notes : tuple of str
        What a reader should know.
    """

    strategy: str
    symbol: str
    start: int
    end: int
    unit: str
    backtest: float
    recorded: float
    record: float
    live: float
    trades: int
    backtest_trades: int
    open: int
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()

    @property
    def difference(self) -> float:
        """How much more the live run made than the backtest."""
        return self.live - self.backtest

    @cached_property
    def by_cause(self) -> dict[str, float]:
        """How much each cause made, the largest first; those that are not there are left out."""
        names = dict.fromkeys(each.cause for each in self.differences if each.cause != "unexplained")
        sums = {name: math.fsum(each.amount for each in self.differences if each.cause == name) for name in names}
        return dict(sorted(sums.items(), key=lambda item: -abs(item[1])))

    @property
    def causes(self) -> tuple[str, ...]:
        """The causes that were found, by what they made."""
        return (*self.by_cause, *(("unexplained",) if any(self._unexplained) else ()))

    @property
    def _unexplained(self) -> list[Difference]:
        return [each for each in self.differences if each.cause == "unexplained"]

    @property
    def unexplained(self) -> float:
        """What no cause is known of: the difference less the sum of all causes; 0 where all of it is explained."""
        rest = self.difference - math.fsum(self.by_cause.values())
        amounts = (abs(each.amount) for each in self.differences)
        scale = max(abs(self.live), abs(self.backtest), *amounts, 1e-6)
        return rest if abs(rest) > _EXACT * scale else 0.0

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not self.differences and not self.unexplained

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row for each difference: signal, moment, cause, amount, what happened."""
        import pandas as pd

        columns = ["signal_id", "decided_at", "cause", "amount", "text"]
        table = pd.DataFrame([[getattr(each, name) for name in columns] for each in self.differences], columns=columns)
        table["decided_at"] = pd.to_datetime(table["decided_at"], unit="ms", utc=True)
        return table.astype({"amount": float})

    def report(self) -> str:
        """All of it as Markdown."""
        rows = markdown_table(_TITLES, self._cells(self.differences)) if self.differences else []
        meanings = [f"- **{cell(name)}**: {CAUSES[name]}" for name in self.causes]
        return figures_report(self._title, self._pairs(), rows, meanings, empty="\n".join(_plain(self._pairs())))

    @property
    def _title(self) -> str:
        return f"live against backtest: {self.strategy} on {self.symbol}"

    def _pairs(self) -> list[tuple[str, str]]:
        pairs = [
            ("Time", f"{minute_text(self.start)} to {minute_text(self.end)} UTC"),
            ("Backtest", f"{self._amount(self.backtest)}, {self.backtest_trades:,} trades"),
            ("Live", f"{self._amount(self.live)}, {self.trades:,} trades"),
        ]
        if self.agrees:
            pairs.append(("Difference", "none: every trade is that of the backtest"))
        else:
            pairs.append(("Difference", self._amount(self.difference, signed=True)))
            pairs += [(name, self._amount(amount, signed=True)) for name, amount in self.by_cause.items()]
            pairs.append(("unexplained", self._amount(self.unexplained, signed=True) if self.unexplained else "0"))
        if self.open:
            pairs.append(("Not compared", f"{self.open:,} open at the end"))
        return pairs + [("Note", note) for note in self.notes]

    @cached_property
    def _decimals(self) -> int:
        """As many for all amounts: four digits of the largest, two behind the point at least."""
        largest = max(map(abs, (self.live, self.backtest, *(each.amount for each in self.differences))), default=0.0)
        return 2 if largest >= 10 or not largest else min(3 - math.floor(math.log10(largest)), 8)

    def _amount(self, amount: float, *, signed: bool = False) -> str:
        return f"{amount:{'+' if signed else ''},.{self._decimals}f} {self.unit}".rstrip()

    def _cells(self, differences: Sequence[Difference]) -> list[tuple[str, ...]]:
        return [
            (minute_text(one.decided_at), one.signal_id, one.cause, one.text, self._amount(one.amount, signed=True))
            for one in differences
        ]

    def __repr__(self) -> str:
        lines = [text_figures(self._title, self._pairs())]
        lines += ["  " + "  ".join(row) for row in self._cells(self.differences[:_MOST_LISTED])]
        more = len(self.differences) - _MOST_LISTED
        return "\n".join([*lines, *([f"  and {more:,} more, see .table"] if more > 0 else [])])

    def _repr_html_(self) -> Html:
        figures = html_figures(self._title[:1].upper() + self._title[1:], self._pairs())
        if not self.differences:
            return figures
        more = len(self.differences) - _MOST_LISTED
        table = html_table(_TITLES, self._cells(self.differences[:_MOST_LISTED]), left=len(_TITLES) - 1)
        return fragment(figures, table, element("p", f"and {more:,} more, see .table") if more > 0 else None)


def _plain(pairs: Sequence[tuple[str, str]]) -> list[str]:
    return [f"- **{cell(label)}:** {cell(text)}" for label, text in pairs]
