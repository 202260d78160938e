"""What differs between two run cards: candles, code, values, settings, account, outcome, versions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import msgspec

from ..domain.formatting import utc_text
from ..market.candle_fingerprint import CandleRange, SeriesRange, changes
from .account_card import CardAccount, CardBenchmark, account_changes, account_outcome_changes, figure_changes
from .card_models import model_changes
from .source_code_and_hash import Code
from .value_text import NOT_COMPARED

if TYPE_CHECKING:
    from .card import Card, Outcome

_T = TypeVar("_T")
_LEFT_OUT: Final = {"max_adds": 10}  # what it was where a card does not have it (``Settings.decisive``)
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

Kind = Literal["candles", "series", "models", "code", "value", "setting", "run", "account", "rules", "outcome", "with"]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One difference between two cards.

    Attributes
    ----------
    kind : {"candles", "series", "models", "code", "value", "setting", "run", "account", "rules", "outcome", "with"}
        ``"account"``: what was given of an account, and a benchmark. ``"rules"``: the same orders filled otherwise
        then, so the outcomes cannot be compared. ``"with"``: versions, their defaults and the platform, which may
        differ without harm.
    text : str
        The difference as a sentence.
    """

    kind: Kind
    text: str


def card_differences(old: Card, new: Card) -> list[Difference]:
    """The differences of the card of one run from an earlier one; earlier ones explain later ones."""
    return [
        *_run_differences(old, new),
        *account_differences(old.account, new.account),
        *benchmark_differences(old.benchmark, new.benchmark),
        *_setting_differences(old, new),
        *_code_differences(old.code, new.code),
        *_value_differences(old.code, new.code),
        *data_differences(old.data, new.data),
        *_series_differences(old.series, new.series),
        *_model_differences(old, new),
        *_results_differences(old, new),
        *money_differences(old, new),
        *_text_differences("with", old.made_with, new.made_with, missing="none"),
    ]


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
        return setting_text(settings[name]) if name in settings else "not known"

    found = []
    for name in names:
        was, now = ((_LEFT_OUT | card.settings).get(name) for card in (old, new))
        if was == now:
            continue
        if (old.format == 1) != (new.format == 1) and MOVED_DEFAULTS.get(name) in ((was, now), (now, was)):
            found.append(_changed("with", f"default of {name}", text(old, name), text(new, name)))
        else:
            found.append(_changed("setting", f"setting {name}", text(old, name), text(new, name)))
    return found


def setting_text(value: float | None) -> str:
    """A setting as a card shows it."""
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
        found += [f"{part.name}: {text}" for text in _other_range("candle", part, now)]
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


def _model_differences(old: Card, new: Card) -> list[Difference]:
    found = model_changes(old.models, new.models)
    return [Difference(kind="models", text=text) for text in _some(found, "fits")]


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
    parts += _other_range("row published", old, new)
    if old.delay_ms != new.delay_ms:
        parts.append(f"delay {old.delay_ms / 1000:g} s -> {new.delay_ms / 1000:g} s")
    return ", ".join(parts) or f"other values in its {old.count:,} rows"


def _other_range(what: str, old: CandleRange | SeriesRange, new: CandleRange | SeriesRange) -> list[str]:
    """That the first or the last of what a run used is another one."""
    return [
        f"{name} {what} {utc_text(was)} -> {utc_text(now)}"
        for name, was, now in (("first", old.first, new.first), ("last", old.last, new.last))
        if was != now
    ]


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
