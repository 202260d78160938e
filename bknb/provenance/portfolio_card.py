"""The run card of a portfolio: the cards of its legs, the candles of all of them, its account, and its benchmark."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from msgspec.structs import replace

from ..domain.formatting import utc_text
from ..domain.interval import interval_ms
from ..errors import UsageError
from ..market.candle_fingerprint import CandleRange
from . import card_file
from .account_card import CardAccount, CardBenchmark
from .card import READERS, Card, Outcome, RunCard, candle_lines, kind_of, outcome_lines
from .card_differences import (
    Difference,
    account_differences,
    benchmark_differences,
    data_differences,
    money_differences,
)
from .card_file import MONEY_FORMAT, Read

_NAMED: Final = 3  # symbols or legs in a text


class PortfolioCard(RunCard, frozen=True, kw_only=True, omit_defaults=True):
    """Run card of a portfolio: what :class:`Card` is of one run.

    Attributes
    ----------
    name : str
    legs : tuple of Card
        In declared order, without candles: those of all legs are in ``data``, each once.
    bases : tuple of str
        The interval of the candles that filled the orders of each leg.
    data : tuple of CandleRange
    priority : str
        Which leg went first where several asked at one moment: ``"declared"`` or ``"score"``.
    account : CardAccount or None
        ``None``: it had no capital, each leg was measured alone.
    benchmark : CardBenchmark or None

    Examples
    --------
    >>> import bknb
    >>> def rests(ctx): ...
    >>> result = bknb.portfolio(
    ...     legs=[("BTCUSDT", rests), ("ETHUSDT", rests)], exchange="demo", frame="2024-01-01:2024-01-02")
    >>> isinstance(result.card, bknb.PortfolioCard), len(result.card.legs), result.card.diff(result.card)
    (True, 2, [])
    """

    format: int
    kind: str
    name: str
    legs: tuple[Card, ...]
    bases: tuple[str, ...]
    data: tuple[CandleRange, ...]
    account: CardAccount | None = None
    benchmark: CardBenchmark | None = None
    priority: str = "declared"

    @property
    def strategy(self) -> str:
        """The name of the portfolio, as the card of one run has that of its strategy."""
        return self.name

    @property
    def symbol(self) -> str:
        """The symbols of its legs, the first three by name."""
        symbols = list(dict.fromkeys(leg.symbol for leg in self.legs))
        more = f" and {len(symbols) - _NAMED} more" if len(symbols) > _NAMED else ""
        return f"{', '.join(symbols[:_NAMED])}{more}"

    @property
    def stopped(self) -> bool:
        """Whether it was stopped before its end."""
        return any(leg.stopped for leg in self.legs)

    @property
    def made_with(self) -> dict[str, str]:
        """What its legs were made with; of what differs that of the first one."""
        found: dict[str, str] = {}
        for leg in self.legs:
            found |= {name: text for name, text in leg.made_with.items() if name not in found}
        return found

    @property
    def outcome(self) -> Outcome:
        """The counts of all legs, and a digest of what came of them and of the account."""
        parts = [leg.outcome for leg in self.legs]
        made = hashlib.sha256("\n".join(part.digest for part in parts).encode())
        if self.account is not None and self.account.outcome is not None:
            made.update(msgspec.json.encode(self.account.outcome, order="deterministic"))
        counts = {
            name: sum(getattr(part, name) for part in parts) for name in ("trades", "cancelled", "rejected", "refused")
        }
        return Outcome(**counts, digest=made.hexdigest(), marks=())

    # --- on disk ------------------------------------------------------------------------------------------------

    @staticmethod
    def from_json(text: str, *, where: str = "the text") -> PortfolioCard:
        """A card from what :meth:`to_json` gave; see :meth:`load` for the errors."""
        return _of_portfolio(decode(text.encode(), where=where), where)

    @staticmethod
    def load(path: str | Path) -> PortfolioCard:
        """Read a card that :meth:`save` wrote, or the one in the HTML file of a report; errors as ``Card.load``."""
        return _of_portfolio(read_card(path), str(path))

    def brief(self) -> PortfolioCard:
        """The same card without the rows of its legs, small enough for the metadata of a notebook.

        The sums of days stay for the shortest candles of each symbol, of which the others are made.
        """
        finest = _finest(self.data)
        return replace(
            self,
            legs=tuple(leg.brief() for leg in self.legs),
            data=tuple(part if _place(part) in finest else replace(part, days={}) for part in self.data),
        )

    # --- comparing ----------------------------------------------------------------------------------------------

    def diff(self, other: PortfolioCard) -> list[Difference]:
        """The differences of ``other``; earlier ones explain later ones. What many legs have in common is told once."""
        return [
            *_leg_list_differences(self, other),
            *account_differences(self.account, other.account),
            *benchmark_differences(self.benchmark, other.benchmark),
            *_told_once(self, other),
            *data_differences(self.data, other.data),
            *money_differences(self, other),
        ]

    def report(self) -> str:
        """The card as Markdown."""
        return portfolio_card_markdown(self)


AnyCard: TypeAlias = Card | PortfolioCard


def _read_3(content: msgspec.Raw) -> Read:
    if kind_of(content) != "portfolio":
        return READERS[MONEY_FORMAT](content)
    card = msgspec.json.decode(content, type=PortfolioCard)
    return Read(card, card)


_READERS: Final = {**READERS, MONEY_FORMAT: _read_3}


def decode(content: bytes, *, where: str) -> AnyCard:
    """A card of a run or of a portfolio from JSON; see :func:`read_card` for the errors."""
    found: AnyCard = card_file.decode(content, _READERS, where=where)
    return found


def read_card(path: str | Path) -> AnyCard:
    """A card of a run or of a portfolio from its file, or from the HTML file of a report that holds one.

    Raises
    ------
    UsageError
        There is no such file, or the HTML file holds no card.
    StateError
        It is not a run card, it was changed by hand, or a later bknb wrote it.
    """
    return decode(card_file.card_json(path), where=str(path))


def _of_portfolio(card: AnyCard, where: str) -> PortfolioCard:
    if isinstance(card, Card):
        raise UsageError(f"{where} is the run card of one run\nread it with bknb.Card.load(path)")
    return card


def differences_of(old: AnyCard, new: AnyCard) -> list[Difference]:
    """The differences of two cards, also where one is of a run and the other of a portfolio."""
    if isinstance(old, Card) and isinstance(new, Card):
        return old.diff(new)
    if isinstance(old, PortfolioCard) and isinstance(new, PortfolioCard):
        return old.diff(new)
    kinds = ["a portfolio" if isinstance(card, PortfolioCard) else "one run" for card in (old, new)]
    return [Difference(kind="run", text=f"{kinds[0]} -> {kinds[1]}")]


def portfolio_card(
    name: str,
    legs: tuple[Card, ...],
    *,
    bases: tuple[str, ...],
    priority: str,
    account: CardAccount | None,
    benchmark: CardBenchmark | None,
) -> PortfolioCard:
    """The card of a portfolio from those of its legs."""
    data = {_place(part): part for leg in legs for part in leg.data}
    return PortfolioCard(
        format=MONEY_FORMAT,
        kind="portfolio",
        name=name,
        legs=tuple(replace(leg, data=()) for leg in legs),
        bases=bases,
        priority=priority,
        data=tuple(data[key] for key in sorted(data)),
        account=account,
        benchmark=benchmark,
    )


def _place(part: CandleRange) -> tuple[str, str, str]:
    return part.exchange, part.symbol, part.interval


def _finest(data: tuple[CandleRange, ...]) -> set[tuple[str, str, str]]:
    """Exchange, symbol and interval of the shortest candles of each symbol."""
    found: dict[tuple[str, str], CandleRange] = {}
    for part in sorted(data, key=lambda part: interval_ms(part.interval)):
        found.setdefault((part.exchange, part.symbol), part)
    return {_place(part) for part in found.values()}


def _by_name(card: PortfolioCard) -> dict[str, tuple[Card, str]]:
    pairs = zip(card.legs, card.bases, strict=True)
    return {f"{leg.strategy} on {leg.symbol}": (leg, base) for leg, base in pairs}


def _leg_list_differences(old: PortfolioCard, new: PortfolioCard) -> list[Difference]:
    before, after = _by_name(old), _by_name(new)
    found = [
        f"{what}: {getattr(old, what)} -> {getattr(new, what)}"
        for what in ("name", "priority")
        if getattr(old, what) != getattr(new, what)
    ]
    found += [f"leg {name} is not there any more" for name in before if name not in after]
    found += [f"leg {name} is new" for name in after if name not in before]
    if not found and [*before] != [*after]:
        found.append("its legs come in another order")
    found += [
        f"base of {name}: {base} -> {after[name][1]}"
        for name, (_, base) in before.items()
        if name in after and after[name][1] != base
    ]
    return [Difference(kind="run", text=text) for text in found]


def _told_once(old: PortfolioCard, new: PortfolioCard) -> list[Difference]:
    """Differences of the legs; one that several have is told once, with how many."""
    before, after = _by_name(old), _by_name(new)
    common = [name for name in before if name in after]
    found: dict[Difference, list[str]] = {}
    for name in common:
        for part in before[name][0].diff(after[name][0]):
            found.setdefault(part, []).append(name)
    told = []
    for part, names in found.items():
        of = "" if len(names) == len(common) else f"{len(names)} legs: " if len(names) > 1 else f"{names[0]}: "
        told.append(part if part.kind == "with" or not of else Difference(kind=part.kind, text=f"{of}{part.text}"))
    return told


def portfolio_card_markdown(card: PortfolioCard) -> str:
    """The card of a portfolio as Markdown."""
    first = card.legs[0]
    texts = {written.text for leg in card.legs for written in leg.code.functions}
    if card.account is not None:
        texts |= {written.text for written in card.account.code.functions}
    lines = [
        f"# Run card: portfolio {card.name}",
        "",
        "| | |",
        "|---|---|",
        f"| Frame | {utc_text(first.start)} .. {utc_text(max(leg.end for leg in card.legs))} |",
        *outcome_lines(card.outcome, card.made_with, card.account, card.benchmark),
        "",
        "## Legs",
        "",
        "| Strategy | Symbol | Exchange | Interval | Execution | Risk | Trades |",
        "|---|---|---|---|---|---|--:|",
        *(
            f"| {leg.strategy} | {leg.symbol} | {leg.exchange} | {leg.interval} | {leg.execution} (rules {leg.rules}) "
            f"| {leg.risk or ''} | {leg.outcome.trades} |"
            for leg in card.legs
        ),
        "",
        *candle_lines(card.data),
        "## Code",
        "",
        *(f"```python\n{text or '# the source text is not known'}\n```" for text in sorted(texts)),
    ]
    return "\n".join(lines)
