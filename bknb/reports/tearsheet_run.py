"""A result of one run or of a portfolio, as its tear sheet looks at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..domain.formatting import money_decimals
from ..domain.interval import DAY_MS
from ..domain.printed_text import printed_day, printed_minute, printed_number
from ..metrics.statistics import statistics
from .grouped_by_leg import grouped_by_leg
from .portfolio_report import ALONE, portfolio_warnings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pandas as pd

    from ..metrics.account_sharpe_sortino_and_drawdown import Account
    from ..metrics.statistics import Statistics

_SHORT_DAYS: Final = 4

Leg = tuple[str, str]  # symbol, strategy


class SheetRun:
    """A result of one run or of a portfolio, looked at in one way."""

    def __init__(self, result: Any) -> None:
        self.result = result
        self.is_portfolio = hasattr(result, "legs")
        self.legs: Mapping[Leg, Any] = result.legs if self.is_portfolio else {(result.symbol, result.strategy): result}
        self.money: Any = result.run_account if self.is_portfolio else result.run_record.money
        self.no_account = ALONE if self.is_portfolio and self.money is None else ""
        self.account: Account | None = None if self.no_account else result.account
        if self.account is not None and (reason := self.account.reasons.get("total_return", "")):
            self.no_account = reason
        self.trades: pd.DataFrame = result.trades
        self.stats: Statistics = statistics(result.trades) if self.is_portfolio else result.stats
        self.warnings: list[str] = portfolio_warnings(result) if self.is_portfolio else [*result.warnings]

    def each_leg(self, of_leg: Callable[[Any], Iterable[object]]) -> list[tuple[str, str]]:
        """Name of a leg and each sentence that is said of it."""
        return [(f"{name} on {symbol}", str(text)) for (symbol, name), leg in self.legs.items() for text in of_leg(leg)]

    def grouped(self, of_leg: Callable[[Any], Iterable[object]]) -> list[str]:
        """What is said of the legs, each sentence once; of one run as it is."""
        told = self.each_leg(of_leg)
        return grouped_by_leg(told, legs=len(self.legs)) if self.is_portfolio else [text for _, text in told]

    def leg_name(self, symbol: str, strategy: str) -> str:
        """A leg as short as it can be told from the others."""
        symbols, strategies = ({key[at] for key in self.legs} for at in (0, 1))
        if len(strategies) == 1:
            return symbol
        return strategy if len(symbols) == 1 else f"{strategy} on {symbol}"

    @property
    def result_column(self) -> str:
        """The column of trades that holds their results: in percent, or in points where one has no percentage."""
        return "points" if self.stats.in_points else "pnl_percentage"

    @property
    def capital(self) -> float:
        """What the account began with; 1 where it is measured in multiples of its start."""
        return 1.0 if self.money is None else float(self.money.capital)

    @property
    def decimals(self) -> int:
        """Decimals of large amounts."""
        return 0 if self.capital >= 1000 else self.small_decimals

    @property
    def small_decimals(self) -> int:
        """Decimals of small amounts: results of single trades, costs."""
        return money_decimals(self.capital)

    def moment(self, when: int) -> str:
        """A moment of the run (UTC ms): its day, with its year in a run of several, or its minute in a short run."""
        start, end = self.result.start, self.result.end
        if end - start <= _SHORT_DAYS * DAY_MS:
            return printed_minute(when)
        first, last = (printed_day(at, year=True)[-4:] for at in (start, end - 1))
        return printed_day(when, year=first != last)

    @property
    def unit(self) -> str:
        """What amounts are in."""
        return "x start" if self.capital == 1.0 else str(self.money.currency)

    @property
    def bars(self) -> list[str]:
        """Lengths of the bars that filled orders."""
        return [*dict.fromkeys(str(leg.base) for leg in self.legs.values())]


def signed(value: float, decimals: int) -> str:
    """A result or a difference."""
    return printed_number(value, decimals, signed=True)


def tone_of(value: float) -> int:
    """1 for a gain, -1 for a loss."""
    return (value > 0) - (value < 0)
