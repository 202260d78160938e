"""What the fills of an account cost beside the prices of the record, as a table and as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from ..domain.formatting import plain_number
from ..domain.implementation_shortfall import FILL_PURPOSES, FillAgainstRecord, Shortfall, shortfall_of
from .markup import Html, fragment, html_figures, html_table, text_figures

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS: Final = ("fills", "value", "money", "basis_points")
_FILL_COLUMNS: Final = (
    "signal_id", "at", "purpose", "side", "quantity", "price", "record_price", "money", "basis_points", "fees",
)  # fmt: skip
_TITLES: Final = ("Purpose", "Fills", "Traded", "Cost", "Basis points")


@dataclass(frozen=True, slots=False, kw_only=True)
class Slippage:
    """Implementation shortfall: what the fills of an account cost beside the prices of the record.

    A purchase above the price of the record costs, and so does a sale below it; below 0 the account had the better
    price. Fees are apart, by currency.

    Attributes
    ----------
    strategy, symbol : str
    currency : str
        Of prices and money; empty where the symbol does not say it.
    assumed_basis_points : float
        The slippage that the record assumes for each fill (``settings.percent_slippage``).
    each : tuple of FillAgainstRecord
        All fills that the record has, too, in the order of their orders.
    without_record : int
        Orders that filled and that the record has no price for: those it has taken back, and fills of what it still
        has open.
    unfilled : int
        Orders to open or to add of which the record has a fill and the account nothing.

    Examples
    --------
    >>> import bknb
    >>> from bknb.testing.clocks import SimulatedClock
    >>> task = bknb.Live.background("BTCUSDT", strategy=lambda: None, exchange="demo",
    ...                             clock=SimulatedClock(1_704_067_200_000), until="2024-01-01 00:10",
    ...                             store=bknb.stores.memory(), broker=bknb.brokers.paper(), quantity=0.1)
    >>> task.result().slippage
    slippage of <lambda> on BTCUSDT
      Fills: none
    """

    strategy: str
    symbol: str
    currency: str
    assumed_basis_points: float
    each: tuple[FillAgainstRecord, ...]
    without_record: int = 0
    unfilled: int = 0

    @cached_property
    def total(self) -> Shortfall:
        """The sum of all fills."""
        return shortfall_of(self.each)

    @property
    def money(self) -> float:
        """What all fills cost beside the record, in quote currency."""
        return self.total.money

    @property
    def basis_points(self) -> float | None:
        """The same in basis points (1/100 %) of what was traded; ``None`` where nothing was."""
        return self.total.basis_points

    @property
    def fees(self) -> dict[str, float]:
        """The fees that the broker has told, by currency."""
        return {fee.currency: fee.amount for fee in self.total.fees}

    @cached_property
    def by_purpose(self) -> dict[str, Shortfall]:
        """The sums by purpose, of those that have fills: ``entry``, ``add``, ``target``, ``stop``, ``close``."""
        found = ((name, [fill for fill in self.each if fill.purpose == name]) for name in FILL_PURPOSES)
        return {name: shortfall_of(fills) for name, fills in found if fills}

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row for each purpose, and one for all: fills, value, money (quote currency), basis points."""
        import pandas as pd

        sums = {**self.by_purpose, "all": self.total}
        rows = [[getattr(each, name) for name in _COLUMNS] for each in sums.values()]
        index = pd.Index(list(sums), name="purpose")
        return pd.DataFrame(rows, index=index, columns=list(_COLUMNS)).astype({"fills": int, "basis_points": float})

    @cached_property
    def fills(self) -> pd.DataFrame:
        """One row for each fill: the price of the account beside that of the record, and what it cost."""
        import pandas as pd

        rows = [[_field(fill, name) for name in _FILL_COLUMNS] for fill in self.each]
        table = pd.DataFrame(rows, columns=list(_FILL_COLUMNS))
        table["at"] = pd.to_datetime(table["at"], unit="ms", utc=True)
        return table

    @property
    def line(self) -> str:
        """All of it in one line; empty where nothing was filled."""
        total = self.total
        if not total.fills:
            return ""
        count = f"{total.fills:,} fill{'' if total.fills == 1 else 's'}"
        return f"{_points(total)} of {count}, {self._money(total.money)}; assumed {self.assumed_basis_points:.1f} bp"

    def _pairs(self) -> list[tuple[str, str]]:
        total = self.total
        pairs = [("Fills", f"{total.fills:,}" if total.fills else "none")]
        if total.fills:
            pairs += [
                ("Traded", self._money(total.value)),
                ("Slippage", f"{_points(total)}, {self._money(total.money)}"),
                ("Assumed", f"{self.assumed_basis_points:.1f} bp for each fill"),
            ]
        if self.fees:
            fees = ", ".join(f"{plain_number(amount)} {code}" for code, amount in self.fees.items())
            pairs.append(("Fees apart", fees))
        if self.unfilled:
            pairs.append(("Not filled", f"{self.unfilled:,} orders that the record has filled"))
        if self.without_record:
            pairs.append(("Left out", f"{self.without_record:,} orders that the record has no price for"))
        return pairs

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (name, f"{each.fills:,}", self._money(each.value), self._money(each.money), _points(each))
            for name, each in self.by_purpose.items()
        ]

    def _money(self, amount: float) -> str:
        return f"{amount:,.2f} {self.currency}".rstrip() if abs(amount) >= 1 or not amount else self._small(amount)

    def _small(self, amount: float) -> str:
        return f"{amount:,.4g} {self.currency}".rstrip()

    def __repr__(self) -> str:
        lines = [text_figures(f"slippage of {self.strategy} on {self.symbol}", self._pairs())]
        lines += [
            f"  {name:<6} {points:>10}  {money}, {fills} fills" for name, fills, _, money, points in self._cells()
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> Html:
        figures = html_figures(f"Slippage of {self.strategy} on {self.symbol}", self._pairs())
        return fragment(figures, html_table(_TITLES, self._cells())) if self.each else figures


def _points(each: Shortfall) -> str:
    return "-" if each.basis_points is None else f"{each.basis_points:.1f} bp"


def _field(fill: FillAgainstRecord, name: str) -> object:
    if name == "fees":
        return ", ".join(f"{plain_number(fee.amount)} {fee.currency}" for fee in fill.fees)
    return getattr(fill, name)


def slippage_of(
    *,
    strategy: str,
    symbol: str,
    currency: str,
    assumed_basis_points: float,
    fills: Sequence[FillAgainstRecord],
    without_record: int = 0,
    unfilled: int = 0,
) -> Slippage:
    """The slippage of some fills, in the order of their moments.

    Examples
    --------
    >>> fill = FillAgainstRecord(
    ...     signal_id="s", at=0, purpose="entry", side="buy", quantity=2.0, price=100.5, record_price=100.0)
    >>> known = dict(strategy="sma", symbol="BTCUSDT", currency="USDT", assumed_basis_points=10.0)
    >>> slippage_of(**known, fills=[fill]).line
    '50.0 bp of 1 fill, 1.00 USDT; assumed 10.0 bp'
    """
    return Slippage(
        strategy=strategy,
        symbol=symbol,
        currency=currency,
        assumed_basis_points=assumed_basis_points,
        each=tuple(sorted(fills, key=lambda fill: fill.at)),
        without_record=without_record,
        unfilled=unfilled,
    )
