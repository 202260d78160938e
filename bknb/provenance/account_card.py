"""What a run card says of an account and of a benchmark: how they were given, and what came of them in money."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ..domain.formatting import plain_number
from ..market.candle_fingerprint import CandleRange, SeriesRange
from ..user_code import is_users
from .source_code_and_hash import Code

FUNCTION: Final = "function"
"""The kind of a :class:`Choice` that is a function of the user's."""


class Choice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One size, kind of account, or costs, as they were given, so that they can be given again.

    Attributes
    ----------
    kind : str
        Name of its class, such as ``"Risk"``; ``"function"``.
    name : str
        Of a function with its module, or of what is registered.
    numbers : dict of str to float or None
        Its values. Of a function nothing is known but its name: its text is in ``code`` of the account.
    texts : dict of str to str
        Values that are texts.
    functions : dict of str to str
        Values that are functions, by their names.
    rows : tuple of tuple of float
        Funding that was given as rows.
    """

    kind: str
    name: str = ""
    numbers: dict[str, float | None] = {}
    texts: dict[str, str] = {}
    functions: dict[str, str] = {}
    rows: tuple[tuple[float, ...], ...] = ()

    @property
    def text(self) -> str:
        """It as a user writes it: ``Risk(percent=1)``, ``half (a function)``.

        Examples
        --------
        >>> Choice(kind="Margin", numbers={"leverage": 3.0}, texts={"mode": "cross"}).text
        "Margin(leverage=3, mode='cross')"
        """
        if self.kind == FUNCTION:
            return f"{_short(self.name)} (a function)"
        parts = [
            f"{name}={'None' if value is None else plain_number(value)}" for name, value in sorted(self.numbers.items())
        ]
        parts += [f"{name}={value!r}" for name, value in sorted(self.texts.items())]
        parts += [f"{name}={_short(value)}" for name, value in sorted(self.functions.items())]
        if self.rows:
            digest = hashlib.sha256(repr(self.rows).encode()).hexdigest()[:12]
            parts.append(f"funding={len(self.rows):,} rows, sha256 {digest}")
        shown = f"{self.kind}({', '.join(parts)})"
        return f"{self.name!r}, {shown}" if self.name else shown


def _short(name: str) -> str:
    """The name of a function without its module, which differs between a notebook and a file."""
    return name.partition(":")[2] or name


def users_function(name: str) -> Any:
    """The user's function ``module:name`` where that module is loaded, else that of the notebook; ``None``: none.

    Examples
    --------
    >>> users_function("os:remove"), users_function("nowhere:half")
    (None, None)
    """
    module, _, path = name.partition(":")
    for place in (module, "__main__"):
        found: Any = sys.modules.get(place)
        for part in path.split("."):
            found = getattr(found, part, None)
        if callable(found) and not isinstance(found, type) and is_users(getattr(found, "__func__", found)):
            return found
    return None


Choices = dict[str, Choice]
"""What was given of one kind: for all legs under an empty name, or by symbol or strategy."""


class AccountOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an account.

    Attributes
    ----------
    figures : dict of str to float or None
        Those of ``result.account``.
    fills, movements : int
        How many fills, and movements of cash.
    fills_digest, movements_digest : str
        SHA-256 of all of them, to the last bit.
    """

    figures: dict[str, float | None]
    fills: int
    movements: int
    fills_digest: str
    movements_digest: str


class CardAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The account of a run or of a portfolio on its card.

    Attributes
    ----------
    capital : float
    currency : str
        Empty where it is not known.
    currency_given : bool
        Whether the call named it.
    sizing, account, costs : dict of str to Choice
        As they were given: one for all legs under ``""``, or one for each symbol or strategy; empty where nothing was.
    code : Code
        Source text of functions that say a size or a cost, and of what they call.
    outcome : AccountOutcome or None
        ``None`` while the run goes on.
    """

    capital: float
    currency: str
    currency_given: bool
    sizing: Choices
    account: Choices
    costs: Choices
    code: Code
    outcome: AccountOutcome | None = None


class CardBenchmark(msgspec.Struct, frozen=True, kw_only=True):
    """The benchmark of a run on its card.

    Attributes
    ----------
    name : str
        Of the symbol or of the series.
    is_symbol : bool
        Whether it is a symbol; a series of prices has to be given again.
    candles : CandleRange or None
        The candles of a symbol that no leg trades.
    series : SeriesRange or None
        The prices of a series.
    figures : dict of str to float or None
        The figures beside it.
    """

    name: str
    is_symbol: bool
    candles: CandleRange | None = None
    series: SeriesRange | None = None
    figures: dict[str, float | None] = {}


def account_changes(old: CardAccount | None, new: CardAccount | None) -> list[str]:
    """What of an account was given otherwise, as sentences."""
    if old is None or new is None:
        texts = ["none" if each is None else f"a capital of {plain_number(each.capital)}" for each in (old, new)]
        return [] if old is new else [f"account: {texts[0]} -> {texts[1]}"]
    found = []
    if old.capital != new.capital:
        found.append(f"capital: {plain_number(old.capital)} -> {plain_number(new.capital)}")
    if old.currency != new.currency:
        found.append(f"currency: {old.currency or 'not known'} -> {new.currency or 'not known'}")
    for name in ("sizing", "account", "costs"):
        found += _choice_changes(name, getattr(old, name), getattr(new, name))
    return found


def _choice_changes(what: str, old: Mapping[str, Choice], new: Mapping[str, Choice]) -> list[str]:
    found = []
    for name in dict.fromkeys((*old, *new)):
        was, now = (each[name].text if name in each else "not given" for each in (old, new))
        if was != now:
            found.append(f"{what}{f' of {name}' if name else ''}: {was} -> {now}")
    return found


def account_outcome_changes(old: CardAccount | None, new: CardAccount | None) -> list[str]:
    """What else came of an account, as sentences."""
    if old is None or new is None or old.outcome is None or new.outcome is None:
        return []
    before, after = old.outcome, new.outcome
    found = figure_changes(before.figures, after.figures)
    for what in ("fills", "movements"):
        name = "movements of cash" if what == "movements" else what
        was, now = getattr(before, what), getattr(after, what)
        if was != now:
            found.append(f"{name}: {was:,} -> {now:,}")
        elif getattr(before, f"{what}_digest") != getattr(after, f"{what}_digest"):
            found.append(f"{name}: the same {was:,}, but of other sizes, prices or moments")
    return found


def figure_changes(old: Mapping[str, float | None], new: Mapping[str, float | None]) -> list[str]:
    """Figures of an account that differ, as sentences; they are equal to the last bit or differ."""
    return [
        f"{name} of the account: {_figure(old.get(name))} -> {_figure(new.get(name))}"
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    ]


def _figure(value: float | None) -> str:
    return "none" if value is None else repr(value)


def account_lines(account: CardAccount) -> list[str]:
    """The account as rows of the table of a card in Markdown."""
    money = f"{plain_number(account.capital)} {account.currency}".rstrip()
    lines = [f"| Capital | {money} |"]
    for name in ("sizing", "account", "costs"):
        choices: Choices = getattr(account, name)
        told = "; ".join(f"{leg}: {each.text}" if leg else each.text for leg, each in choices.items())
        lines.append(f"| {name.capitalize()} | {told or 'as by default'} |")
    if account.outcome is not None:
        made = account.outcome
        lines.append(f"| Fills and movements of cash | {made.fills:,} and {made.movements:,} |")
    return lines
