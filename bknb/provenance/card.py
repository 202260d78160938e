"""The run card: strategy, candles, settings, versions and outcome of a run; and the differences of two cards."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from ..config import Settings
from ..domain.formatting import utc_text
from ..domain.interval import MINUTE_MS, interval_ms
from ..errors import UsageError
from . import card_file
from .account_card import (
    CardAccount,
    CardBenchmark,
    account_changes,
    account_lines,
    account_outcome_changes,
    figure_changes,
)
from .candle_fingerprint import CandleRange, SeriesRange, changes
from .card_file import FORMAT, MONEY_FORMAT, Read, Reader
from .source_walk import ASKED_AT, Code
from .value_text import NOT_COMPARED

_T = TypeVar("_T")

_LEFT_OUT: Final = {"max_adds": Settings().max_adds}  # cards have it only where it is another (``Settings.decisive``)
_SHOWN: Final = 8  # lines of one kind in a report of differences
_ROWS_SHOWN: Final = 4
_COLUMNS_SHOWN: Final = 4
_CLOSE: Final = 1e-9
_INCOMPLETE: Final = (NOT_COMPARED, "characters, sha256")  # values of which one reader shows more than another

MOVED_DEFAULTS: Final[Mapping[str, tuple[float | None, float | None]]] = {
    "min_take_profit_distance_percent": (0.5, 0.0),
    "min_stop_loss_distance_percent": (0.5, 0.0),
    "max_stop_loss_distance_percent": (20.0, None),
    "max_signal_lifetime_minutes": (1440.0, None),
}
"""Setting -> its default when cards had format 1, and since."""

Kind = Literal["candles", "series", "code", "value", "setting", "run", "account", "rules", "outcome", "with"]


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


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One difference between two cards.

    Attributes
    ----------
    kind : {"candles", "series", "code", "value", "setting", "run", "account", "rules", "outcome", "with"}
        ``"account"``: what was given of an account, and a benchmark. ``"rules"``: the same orders filled otherwise
        then, so the outcomes cannot be compared. ``"with"``: versions, their defaults and the platform, which may
        differ without harm.
    text : str
        The difference as a sentence.
    """

    kind: Kind
    text: str


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
        return [
            *_run_differences(self, other),
            *account_differences(self.account, other.account),
            *benchmark_differences(self.benchmark, other.benchmark),
            *_setting_differences(self, other),
            *_code_differences(self.code, other.code),
            *_value_differences(self.code, other.code),
            *data_differences(self.data, other.data),
            *_series_differences(self.series, other.series),
            *_results_differences(self, other),
            *money_differences(self, other),
            *_text_differences("with", self.made_with, other.made_with, missing="none"),
        ]

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
    lines = tuple(row_text(row) for row in rows)
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


def row_text(row: dict[str, Any]) -> str:
    """A row as text in which equal floats, and only those, look the same on every platform.

    Examples
    --------
    >>> row_text({"position": "long", "pnl_percentage": 0.1 + 0.2, "closed_at": 60000})
    '{"position":"long","pnl_percentage":0.30000000000000004,"closed_at":60000}'
    """
    plain = {key: float(value) + 0.0 if isinstance(value, float) else value for key, value in row.items()}
    return msgspec.json.encode(plain).decode()


# --- differences ------------------------------------------------------------------------------------------------


def _changed(kind: Kind, name: str, before: object, after: object) -> Difference:
    return Difference(kind=kind, text=f"{name}: {before} -> {after}")


def _run_differences(old: Card, new: Card) -> list[Difference]:
    ran = ("strategy", "symbol", "exchange", "interval", "execution", "risk")
    names = (*ran, "frame_interval", "base", "allow_gaps", "seed")
    found = [
        _changed("run", name, getattr(old, name), getattr(new, name))
        for name in names
        if getattr(old, name) != getattr(new, name)
    ]
    for name in ("start", "end"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            found.append(_changed("run", f"{name} of the frame", utc_text(before), utc_text(after)))
    if old.stopped != new.stopped:
        found.append(_changed("run", "stopped before its end", old.stopped, new.stopped))
    return found


def _setting_differences(old: Card, new: Card) -> list[Difference]:
    names = [*old.settings, *(name for name in new.settings if name not in old.settings)]

    def text(card: Card, name: str) -> str:
        settings = _LEFT_OUT | card.settings
        return _setting(settings[name]) if name in settings else "not known"

    found = []
    for name in names:
        was, now = old.settings.get(name), new.settings.get(name)
        if was == now:
            continue
        if (old.format == 1) != (new.format == 1) and MOVED_DEFAULTS.get(name) in ((was, now), (now, was)):
            found.append(_changed("with", f"default of {name}", text(old, name), text(new, name)))
        else:
            found.append(_changed("setting", f"setting {name}", text(old, name), text(new, name)))
    return found


def _setting(value: float | None) -> str:
    return "not set" if value is None else f"{value:g}"


def _code_differences(old: Code, new: Code) -> list[Difference]:
    if old.reader != new.reader:
        return _code_differences_of_readers(old, new)
    found: list[Difference] = []
    before = {written.name: written for written in old.functions}
    after = {written.name: written for written in new.functions}
    for name, written in before.items():
        if name not in after:
            found.append(Difference(kind="code", text=f"{name} is not called any more"))
        elif written.digest != after[name].digest:
            found += _line_differences(name, written.text, after[name].text)
    found += [Difference(kind="code", text=f"{name} is called now") for name in after if name not in before]
    return found


def _code_differences_of_readers(old: Code, new: Code) -> list[Difference]:
    """Differences in the text of functions that both cards hold, where one was made by an older reader."""
    found: list[Difference] = []
    before, after = (_by_plain_name({each.name: each.text for each in code.functions}) for code in (old, new))
    for name in before if old.reader < new.reader else after:
        was, now = before.get(name, []), after.get(name, [])
        if not was or not now:
            text = f"{name} is not called any more" if was else f"{name} is called now"
            found.append(Difference(kind="code", text=text))
        elif all(was) and all(now) and set(was).isdisjoint(now):
            found += _line_differences(name, was[0], now[0])
    return found


def _by_plain_name(texts: dict[str, str]) -> dict[str, list[str]]:
    """Texts by name, those of ``name (2)`` together with that of ``name``."""
    found: dict[str, list[str]] = {}
    for name, text in texts.items():
        found.setdefault(re.sub(r" \(\d+\)$", "", name), []).append(text)
    return found


def _line_differences(name: str, old: str, new: str) -> list[Difference]:
    if not (old and new):
        return [Difference(kind="code", text=f"{name} is another function (its source text is not known)")]
    before, after = old.splitlines(), new.splitlines()
    found = []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        for offset in range(max(i2 - i1, j2 - j1)):
            was = before[i1 + offset].strip() if i1 + offset < i2 else None
            now = after[j1 + offset].strip() if j1 + offset < j2 else None
            line = (j1 if was is None else i1) + offset + 1
            if was is None:
                found.append(f"line {line} of {name}: new: {now}")
            elif now is None:
                found.append(f"line {line} of {name}: gone: {was}")
            else:
                found.append(f"line {line} of {name}: {was}  ->  {now}")
    return [Difference(kind="code", text=text) for text in _some(found, "lines")]


def _value_differences(old: Code, new: Code) -> list[Difference]:
    if old.reader != new.reader:
        return _value_differences_of_readers(old, new)
    return _text_differences("value", old.values, new.values, missing="not read")


def _text_differences(kind: Kind, old: Mapping[str, str], new: Mapping[str, str], *, missing: str) -> list[Difference]:
    """Differences in texts by name; ``missing`` stands for one that is not there."""
    return [
        _changed(kind, name, old.get(name, missing), new.get(name, missing))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def _value_differences_of_readers(old: Code, new: Code) -> list[Difference]:
    """Differences in values that both cards hold in full."""
    before, after = _by_plain_name(old.values), _by_plain_name(new.values)
    found = []
    for name in sorted(before if old.reader < new.reader else after):
        was, now = before.get(name, ["not read"]), after.get(name, ["not read"])
        comparable = not any(part in text for part in _INCOMPLETE for text in (*was, *now))
        if comparable and set(was).isdisjoint(now):
            found.append(_changed("value", name, was[0], now[0]))
    return found


def data_differences(old: tuple[CandleRange, ...], new: tuple[CandleRange, ...]) -> list[Difference]:
    """Differences of the candles of two runs."""
    before = {(part.symbol, part.interval): part for part in old}
    after = {(part.symbol, part.interval): part for part in new}
    found: list[str] = []
    for key, part in before.items():
        now = after.get(key)
        if now is None:
            found.append(f"{part.name}: not used any more")
            continue
        for name in ("first", "last"):
            was, is_now = getattr(part, name), getattr(now, name)
            if was != is_now:
                found.append(f"{part.name}: {name} candle {utc_text(was)} -> {utc_text(is_now)}")
        if part.count != now.count:
            found.append(f"{part.name}: {part.count:,} candles -> {now.count:,}")
        found += _some(changes(part, now), "days")
    found += [f"{part.name}: used now" for key, part in after.items() if key not in before]
    return [Difference(kind="candles", text=text) for text in found]


def account_differences(old: CardAccount | None, new: CardAccount | None) -> list[Difference]:
    """Differences of what was given of an account, and of the functions in it."""
    found = [Difference(kind="account", text=text) for text in account_changes(old, new)]
    if old is None or new is None:
        return found
    return [*found, *_code_differences(old.code, new.code), *_value_differences(old.code, new.code)]


def benchmark_differences(old: CardBenchmark | None, new: CardBenchmark | None) -> list[Difference]:
    """Differences of the benchmark that was given, and of its prices."""
    if old is None or new is None or old.name != new.name:
        names = ["none" if each is None else each.name for each in (old, new)]
        return [] if old is new else [_changed("account", "benchmark", *names)]
    candles = [() if each.candles is None else (each.candles,) for each in (old, new)]
    series = [() if each.series is None else (each.series,) for each in (old, new)]
    found = [*data_differences(*candles), *_series_differences(*series)]
    return [Difference(kind=part.kind, text=f"benchmark {part.text}") for part in found]


def money_differences(old: Any, new: Any) -> list[Difference]:
    """Differences of the figures, the fills and the cash of the accounts of two cards."""
    before, after = (each.benchmark.figures if each.benchmark else {} for each in (old, new))
    lines = [*account_outcome_changes(old.account, new.account), *figure_changes(before, after)]
    return [Difference(kind="outcome", text=text) for text in _some(lines, "figures")]


def _series_differences(old: tuple[SeriesRange, ...], new: tuple[SeriesRange, ...]) -> list[Difference]:
    before, after = ({part.name: part for part in series} for series in (old, new))
    found = _changes_by_name(before, after, _series_change, gone=": not read any more", added=": read now")
    return [Difference(kind="series", text=text) for text in found]


def _changes_by_name(
    before: Mapping[str, _T], after: Mapping[str, _T], change: Callable[[_T, _T], str], *, gone: str, added: str
) -> list[str]:
    """What became of each of some named things; ``change`` says how one differs, an empty text for not at all."""
    found = []
    for name, thing in before.items():
        now = after.get(name)
        if now is None:
            found.append(f"{name}{gone}")
        elif text := change(thing, now):
            found.append(f"{name}: {text}")
    return found + [f"{name}{added}" for name in after if name not in before]


def _series_change(old: SeriesRange, new: SeriesRange) -> str:
    if old.digest == new.digest:
        return ""
    parts = [f"{old.count:,} rows -> {new.count:,}"] if old.count != new.count else []
    for name in ("first", "last"):
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            parts.append(f"{name} row published {utc_text(was)} -> {utc_text(now)}")
    if old.delay_ms != new.delay_ms:
        parts.append(f"delay {old.delay_ms / 1000:g} s -> {new.delay_ms / 1000:g} s")
    return ", ".join(parts) or f"other values in its {old.count:,} rows"


def _results_differences(old: Card, new: Card) -> list[Difference]:
    """Differences in the outcome, or why it cannot be compared."""
    if old.execution != new.execution or old.rules == new.rules:
        return _outcome_differences(old.outcome, new.outcome)
    if old.outcome.digest == new.outcome.digest:
        return [_changed("with", f"rules of {old.execution}", old.rules, new.rules)]
    changed = f"{old.execution} fills at other prices now (its rules {old.rules} -> {new.rules})"
    return [Difference(kind="rules", text=f"{changed}: outcomes cannot be compared, make a new card")]


def _outcome_differences(old: Outcome, new: Outcome) -> list[Difference]:
    if old.digest == new.digest:
        return []
    found = [
        f"{name}: {getattr(old, name)} -> {getattr(new, name)}"
        for name in ("trades", "cancelled", "rejected", "refused")
        if getattr(old, name) != getattr(new, name)
    ]
    changed = _rows_by_name(old, new) if old.rows and new.rows else _rows_by_number(old, new)
    return [Difference(kind="outcome", text=text) for text in [*found, *_some(changed, "rows", shown=_ROWS_SHOWN)]]


def _rows_by_number(old: Outcome, new: Outcome) -> list[str]:
    """Differences in rows of which only the digests are known."""
    return [
        f"row {number + 1} of {len(old.marks)} is not what it was"
        for number, (was, now) in enumerate(zip(old.marks, new.marks, strict=False))
        if was != now
    ]


def _rows_by_name(old: Outcome, new: Outcome) -> list[str]:
    before, after = ({row["signal_id"]: row for row in map(msgspec.json.decode, side.rows)} for side in (old, new))
    found = _changes_by_name(before, after, _row_difference, gone=" is gone", added=" is new")
    return found or ["the rows come in another order"]


def _row_difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    if before == after:
        return ""
    names = [name for name in after if before.get(name) != after[name]]
    parts = [f"{name} {_shown(name, before.get(name))} -> {_shown(name, after[name])}" for name in names]
    if all(_nearly(before.get(name), after[name]) for name in names):
        return f"{parts[0]} (the same to 1e-9: arithmetic of another machine)"
    return ", ".join(_some(parts, "columns", shown=_COLUMNS_SHOWN))


def _shown(name: str, value: object) -> str:
    if name.endswith("_at") and isinstance(value, int):
        return utc_text(value)
    return repr(value) if isinstance(value, float) else str(value)


def _nearly(a: object, b: object) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= _CLOSE * max(abs(a), abs(b), 1.0)
    return a == b


def _some(lines: list[str], what: str, *, shown: int = _SHOWN) -> list[str]:
    if len(lines) <= shown:
        return lines
    return [*lines[:shown], f"... and {len(lines) - shown} more {what}"]


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


def card_markdown(card: Card) -> str:
    """The card as Markdown."""
    span = f"{utc_text(card.start)} .. {utc_text(card.end)}"
    result = card.outcome
    counts = f"{result.trades} trades, {result.cancelled} cancelled"
    counts += f", {result.rejected} rejected by rules, {result.refused} refused by risk"
    lines = [
        f"# Run card: {card.strategy} on {card.symbol}",
        "",
        "| | |",
        "|---|---|",
        f"| Run | {card.strategy}, {card.symbol} on {card.exchange}, {_asked(card)} |",
        f"| Frame | {span}{f' ({card.frame})' if card.frame else ''} |",
        f"| Execution | {card.execution} (rules {card.rules}){f', risk {card.risk}' if card.risk else ''} |",
        *([f"| Price tick | {tick} |"] if (tick := _tick(card)) else ()),
        *(account_lines(card.account) if card.account else ()),
        *([f"| Benchmark | {card.benchmark.name} |"] if card.benchmark else ()),
        f"| Outcome | {counts} |",
        f"| Digest of the outcome | `{result.digest[:32]}` |",
        f"| Made with | {', '.join(f'{name} {text}' for name, text in card.made_with.items())} |",
        "",
        *candle_lines(card.data),
        *_series_lines(card),
        "## Settings",
        "",
        ", ".join(f"{name} {_setting(value)}" for name, value in card.settings.items()),
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
