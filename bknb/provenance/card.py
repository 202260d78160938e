"""The run card: strategy, candles, settings, versions and outcome of a run, on disk and as Markdown."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from ..domain.formatting import utc_text
from ..domain.interval import MINUTE_MS, interval_ms
from ..errors import UsageError
from ..market.candle_fingerprint import CandleRange, SeriesRange
from . import card_file
from .account_card import (
    CardAccount,
    CardBenchmark,
    account_lines,
)
from .card_differences import Difference, card_differences, setting_text
from .card_file import FORMAT, MONEY_FORMAT, Read, Reader
from .card_models import CardModel, model_lines
from .row_texts import row_texts
from .source_code_and_hash import ASKED_AT, Code


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of a run.

    Attributes
    ----------
    trades, cancelled, rejected, refused : int
        How many.
    digest : str
        SHA-256 of all rows.
    marks : tuple of str
        Eight hexadecimal digits for every row: they say which row differs where the rows are left out.
    rows : tuple of str
        One line per trade, then per cancelled signal; every float in the shortest text that gives it back exactly.
    """

    trades: int
    cancelled: int
    rejected: int
    refused: int
    digest: str
    marks: tuple[str, ...]
    rows: tuple[str, ...] = ()


class RunCard(msgspec.Struct, frozen=True):
    """What the card of a run and that of a portfolio can both do."""

    def save(self, path: str | Path) -> Path:
        """Write the card as JSON with a checksum; returns the path."""
        return card_file.save(self, path)

    def to_json(self) -> str:
        """The card as one line of JSON with its checksum."""
        return card_file.encode(self).decode()

    def verify(self, **changes: Any) -> Any:
        """Run it again and compare; see ``bknb.verify``."""
        from .. import verify

        card: Any = self  # of one of the two kinds that it takes
        return verify(card, **changes)

    def report(self) -> str:
        """The card as Markdown."""
        raise NotImplementedError

    def _repr_markdown_(self) -> str:
        return self.report()


class CardOfFormat1(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of format 1."""

    format: int = FORMAT
    kind: str = "backtest"
    strategy: str
    symbol: str
    exchange: str
    interval: str
    execution: str
    frame: str | None
    start: int
    end: int
    frame_interval: str
    risk: str | None
    allow_gaps: bool
    stopped: bool
    given: tuple[str, ...]
    settings: dict[str, float | None]
    code: Code
    data: tuple[CandleRange, ...]
    made_with: dict[str, str]
    seed: int | None = None
    outcome: Outcome
    notes: tuple[str, ...] = ()


class Card(CardOfFormat1, RunCard, frozen=True, kw_only=True):
    """Run card: strategy, candles, settings, versions and outcome of a run.

    Attributes
    ----------
    strategy, symbol, exchange, interval, execution : str
    frame : str or None
        Name of the frame, when it had one.
    start, end : int
        First and last moment, UTC ms.
    frame_interval : str
    risk : str or None
    allow_gaps, stopped : bool
    given : tuple of str
        Options given in the call, not taken from the strategy or the configuration.
    settings : dict of str to float or None
        ``None``: a limit that was not set.
    code : Code
        Source text of the strategy, of the risk rules, and of what they call.
    data : tuple of CandleRange
    made_with : dict of str to str
        Versions of Python, bknb, and the packages in use; the platform.
    seed : int or None
        A backtest draws no random numbers: ``None``.
    outcome : Outcome
    notes : tuple of str
    rules : int
        Version of the rules by which the execution model filled orders; 1 before cards told it.
    series : tuple of SeriesRange
        The point-in-time series that were read; left out on disk where there was none.
    account : CardAccount or None
        Capital, sizing, costs and kind of account, and what came of them; ``None``: it had no capital.
    benchmark : CardBenchmark or None
        What it was set beside.
    models : tuple of CardModel
        The fits of models that were used; left out on disk where there was none.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
    >>> result.card.symbol, result.card.data[0].count, result.card.diff(result.card)
    ('BTCUSDT', 1447, [])
    """

    rules: int = 1
    _series: tuple[SeriesRange, ...] | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="series")
    _account: CardAccount | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="account")
    _benchmark: CardBenchmark | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="benchmark")

    _models: tuple[CardModel, ...] | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="models")

    @property
    def account(self) -> CardAccount | None:
        """Capital, sizing, costs and kind of account, and what came of them; ``None``: it had no capital."""
        return self._account or None

    @property
    def benchmark(self) -> CardBenchmark | None:
        """What it was set beside; ``None``: nothing."""
        return self._benchmark or None

    @property
    def series(self) -> tuple[SeriesRange, ...]:
        """The point-in-time series that were read."""
        return self._series or ()

    @property
    def models(self) -> tuple[CardModel, ...]:
        """The fits of models that were used."""
        return self._models or ()

    @property
    def base(self) -> str:
        """Interval of the candles that filled orders, the finest of ``data``: ``"1m"``, or that of longer base bars."""
        known = [part.interval for part in self.data if part.symbol == self.symbol]
        return min(known, key=interval_ms, default="1m")

    # --- on disk ------------------------------------------------------------------------------------------------

    @staticmethod
    def from_json(text: str, *, where: str = "the text") -> Card:
        """A card from what :meth:`to_json` gave; see :meth:`load` for the errors."""
        found: Card = card_file.decode(text.encode(), READERS, where=where)
        return found

    @staticmethod
    def load(path: str | Path) -> Card:
        """Read a card that :meth:`save` wrote, or the one in the HTML file of a report.

        Raises
        ------
        UsageError
            There is no such file, or it is the card of a portfolio.
        StateError
            It is not a run card, it was changed by hand, or a later bknb wrote it.
        """
        found: Card = card_file.decode(card_file.card_json(path), READERS, where=str(path))
        return found

    def brief(self) -> Card:
        """The same card without the rows, small enough for the metadata of a notebook."""
        return msgspec.structs.replace(self, outcome=msgspec.structs.replace(self.outcome, rows=()))

    # --- comparing ----------------------------------------------------------------------------------------------

    def diff(self, other: Card) -> list[Difference]:
        """The differences of ``other``; earlier ones explain later ones."""
        return card_differences(self, other)

    def report(self) -> str:
        """The card as Markdown."""
        return card_markdown(self)


class _Kind(msgspec.Struct):
    kind: str = ""


def kind_of(content: msgspec.Raw) -> str:
    """What a card is of: ``"backtest"``, ``"live"``, ``"portfolio"``."""
    return msgspec.json.decode(content, type=_Kind).kind


def _read_1(content: msgspec.Raw) -> Read:
    return Read(msgspec.json.decode(content, type=Card), msgspec.json.decode(content, type=CardOfFormat1))


def _read_2(content: msgspec.Raw) -> Read:
    if kind_of(content) == "portfolio":
        raise UsageError("this is the run card of a portfolio\nread it with bknb.PortfolioCard.load(path)")
    card = msgspec.json.decode(content, type=Card)
    return Read(card, card)


READERS: Final[Mapping[int, Reader]] = {1: _read_1, 2: _read_2, MONEY_FORMAT: _read_2}
"""Format -> the function that reads the card of one run."""


# --- rows of an outcome -----------------------------------------------------------------------------------------


def outcome_of(rows: list[dict[str, Any]], *, trades: int, rejected: int, refused: int) -> Outcome:
    """The digest of trades and cancelled signals, one mapping per row, trades first."""
    lines = tuple(row_texts(rows))
    made = hashlib.sha256("\n".join(lines).encode())
    made.update(f"\n{trades} {len(rows) - trades} {rejected} {refused}".encode())
    return Outcome(
        trades=trades,
        cancelled=len(rows) - trades,
        rejected=rejected,
        refused=refused,
        digest=made.hexdigest(),
        marks=tuple(hashlib.sha256(line.encode()).hexdigest()[:8] for line in lines),
        rows=lines,
    )


# --- showing ----------------------------------------------------------------------------------------------------


def _asked(card: Card) -> str:
    """When the strategy was asked: ``"asked every 15m"``, ``"asked at session_open+30m"``."""
    at = card.code.values.get(ASKED_AT)
    return f"asked every {card.interval}" if at is None else f"asked at {at}"


def candle_lines(data: tuple[CandleRange, ...]) -> list[str]:
    """The candles that were used, as lines of Markdown."""
    return [
        "## Candles",
        "",
        "| Candles | From | To | Count | Gaps | SHA-256 |",
        "|---|---|---|--:|--:|---|",
        *(
            f"| {part.name} | {utc_text(part.first)} | {utc_text(part.last)} | {part.count:,} | {len(part.gaps)} "
            f"| `{part.digest[:16]}` |"
            for part in data
        ),
        "",
    ]


def outcome_lines(
    outcome: Outcome, made_with: Mapping[str, str], account: CardAccount | None, benchmark: CardBenchmark | None
) -> list[str]:
    """Account, benchmark, outcome and versions of a card, as rows of a table in Markdown."""
    counts = f"{outcome.trades} trades, {outcome.cancelled} cancelled"
    counts += f", {outcome.rejected} rejected by rules, {outcome.refused} refused by risk"
    return [
        *(account_lines(account) if account else ()),
        *([f"| Benchmark | {benchmark.name} |"] if benchmark else ()),
        f"| Outcome | {counts} |",
        f"| Digest of the outcome | `{outcome.digest[:32]}` |",
        f"| Made with | {', '.join(f'{name} {text}' for name, text in made_with.items())} |",
    ]


def card_markdown(card: Card) -> str:
    """The card as Markdown."""
    span = f"{utc_text(card.start)} .. {utc_text(card.end)}"
    lines = [
        f"# Run card: {card.strategy} on {card.symbol}",
        "",
        "| | |",
        "|---|---|",
        f"| Run | {card.strategy}, {card.symbol} on {card.exchange}, {_asked(card)} |",
        f"| Frame | {span}{f' ({card.frame})' if card.frame else ''} |",
        f"| Execution | {card.execution} (rules {card.rules}){f', risk {card.risk}' if card.risk else ''} |",
        *([f"| Price tick | {tick} |"] if (tick := _tick(card)) else ()),
        *outcome_lines(card.outcome, card.made_with, card.account, card.benchmark),
        "",
        *candle_lines(card.data),
        *_series_lines(card),
        *model_lines(card.models),
        "## Settings",
        "",
        ", ".join(f"{name} {setting_text(value)}" for name, value in card.settings.items()),
        "",
        "## Code",
        "",
        *(f"```python\n{written.text or '# the source text is not known'}\n```" for written in card.code.functions),
    ]
    if card.account:
        lines += [f"```python\n{written.text}\n```" for written in card.account.code.functions]
    values = {**card.code.values, **(card.account.code.values if card.account else {})}
    if values:
        lines += ["", *(f"* `{name}` = `{text}`" for name, text in values.items())]
    if card.notes:
        lines += ["", "## Notes", "", *(f"* {note}" for note in card.notes)]
    return "\n".join(lines)


def _series_lines(card: Card) -> list[str]:
    rows = [
        f"| {part.name} | {utc_text(part.first)} | {utc_text(part.last)} | {part.count:,} "
        f"| {part.delay_ms / MINUTE_MS:g} min | `{part.digest[:16]}` |"
        for part in card.series
    ]
    head = ["## Series", "", "| Series | From | To | Rows | Delay | SHA-256 |", "|---|---|---|--:|--:|---|"]
    return [*head, *rows, ""] if rows else []


def _tick(card: Card) -> str:
    """The grid that levels were put on, as text; empty for rules without one."""
    if card.rules < 2:
        return ""
    tick = card.settings.get("price_tick")
    return "unknown: no rounding of levels" if tick is None else f"{tick:g}"
