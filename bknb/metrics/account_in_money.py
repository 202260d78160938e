"""The figures of an account in money: start and end in its currency, and what holding positions cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from msgspec.structs import replace

from ..domain.formatting import money_decimals, percent_text
from .account_definitions import ACCOUNT_DEFINITIONS
from .account_sharpe_sortino_and_drawdown import Account
from .trade_definitions import Definition

_HELD: Final = {
    "funding": Definition(
        key="funding",
        label="Funding paid",
        unit="%",
        better="lower",
        formula="sum of the funding of all positions, of equity at the start; below 0 it was received",
        source="plain arithmetic",
        null_when="",
    ),
    "borrow": Definition(
        key="borrow",
        label="Interest paid",
        unit="%",
        better="lower",
        formula="sum of the interest on what shorts borrowed, of equity at the start",
        source="plain arithmetic",
        null_when="",
    ),
    "forgiven": Definition(
        key="forgiven",
        label="Losses beyond the margin",
        unit="%",
        better="lower",
        formula="sum of what positions lost beyond their margin, of equity at the start: nobody paid it",
        source="plain arithmetic",
        null_when="",
    ),
}


_MONEY: Final = {
    "start": "the capital",
    "end": "cash and what positions are worth at the end of the frame; 0 once nothing is left",
}


def _defined() -> dict[str, Definition]:
    found: dict[str, Definition] = {}
    for key, known in ACCOUNT_DEFINITIONS.items():
        found[key] = replace(known, unit="", formula=_MONEY[key], source="plain arithmetic") if key in _MONEY else known
        if key == "slippage":
            found |= _HELD
    return found


class AccountInMoney(Account):
    """Figures of an account with a capital: ``start`` and ``end`` are money, what was paid is percent.

    Attributes
    ----------
    currency : str
        Of the money; empty where it is not known.
    """

    __slots__ = ("currency",)
    _definitions: ClassVar[dict[str, Definition]] = _defined()
    currency: str

    @classmethod
    def of(cls, figures: Account, more: Mapping[str, float], *, capital: float, currency: str) -> AccountInMoney:
        """The figures of an account as multiples of its capital, with those that its ledger gives."""
        every = {**figures, **more, "start": capital, "end": figures["end"] * capital}
        made = cls({key: every[key] for key in cls._definitions}, figures.reasons)
        made.currency = currency
        return made

    @property
    def definitions(self) -> dict[str, Definition]:
        """The definition of every figure, by name."""
        known = super().definitions
        return {key: replace(each, unit=self.currency) if key in _MONEY else each for key, each in known.items()}

    def text(self, key: str) -> str:
        """A figure with its unit, or why it is not available."""
        if key in _MONEY:
            return money_text(self[key], self.currency, money_decimals(self["start"]))
        return percent_text(self[key], signed=True) if key in _HELD else super().text(key)


def money_text(money: Any, currency: str, decimals: int = 2) -> str:
    """An amount of money, with its currency where that is known.

    Examples
    --------
    >>> money_text(10_020.0, "USDT"), money_text(0.95, "", 4)
    ('10,020.00 USDT', '0.9500')
    """
    return f"{money:,.{decimals}f} {currency}".rstrip()
