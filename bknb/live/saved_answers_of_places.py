"""What a strategy answered for several of its places at one moment, on the disk before the first of them acts.

Each place saves a state of its own. A crash between two of them leaves the rest of the answer here, so that the
strategy is not asked again when it would see the first of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from ..domain.competing_entries import read_signals
from ..domain.declared_exits import Breakeven, Trailing
from ..domain.recovery import Owner
from ..domain.schedules import Schedule
from ..domain.signal import Signal
from ..domain.size_of_signal import size_of_text
from ..domain.until_text import moment_text
from ..ports import StateStore
from .saved_values import read_value

KIND: Final = "asked"
_DEFAULTS: Final = {field.name: field.default for field in msgspec.structs.fields(Signal)}


class SavedAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """The signals of an answer by place, as JSON has them, in the order in which the places get them.

    Attributes
    ----------
    when, price
        The moment of the question (UTC ms), and the average price then (quote currency).
    asked_before
        The moment of the question before it (UTC ms); ``None``: it was the first.
    decided_at
        The time of the clock when it was answered, UTC ms.
    memo
        What the strategy keeps, as JSON.
    signals
        The fields of each, as those of a mapping that a strategy returns.
    """

    version: int = 1
    owner: Owner
    when: int
    price: float
    asked_before: int | None
    decided_at: int | None
    memo: str
    signals: dict[str, tuple[dict[str, Any], ...]]

    def answer(self, *, negative: bool = False) -> dict[str, tuple[Signal, ...]]:
        """The signals by place, as they were answered."""
        return {
            name: read_signals([*map(_with_kinds, rows)], negative=negative).signals
            for name, rows in self.signals.items()
        }


def saved_signals(
    places: Mapping[str, tuple[Signal, ...]], *, negative: bool = False
) -> dict[str, tuple[dict[str, Any], ...]]:
    """Signals by place as they are saved; one that JSON cannot hold is left out, as its place will refuse it."""
    found: dict[str, tuple[dict[str, Any], ...]] = {}
    for name, signals in places.items():
        rows = [row for each in signals if (row := _saved(each, negative)) is not None]
        found |= {name: tuple(rows)} if rows else {}
    return found


def _saved(signal: Signal, negative: bool) -> dict[str, Any] | None:  # noqa: FBT001
    """The fields of a signal as JSON has them; ``None``: it has one that no valid signal has."""
    given = {name: value for name, value in msgspec.structs.asdict(signal).items() if value != _DEFAULTS[name]}
    for name in ("until", "valid"):
        if isinstance(given.get(name), datetime | Schedule):
            given[name] = moment_text(given[name], name)
    try:
        row: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(given))
        read = read_signals([_with_kinds(row)], negative=negative).signals
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None
    return row if read == read_signals([given], negative=negative).signals else None


def _with_kinds(row: dict[str, Any]) -> dict[str, Any]:
    """The fields of a signal with the kinds of exits and sizes that JSON has as plain fields."""
    kinds = {"trailing": Trailing, "breakeven": Breakeven}
    found: dict[str, Any] = {name: kind(**row[name]) for name, kind in kinds.items() if isinstance(row.get(name), dict)}
    if isinstance(row.get("size"), dict):
        found["size"] = size_of_text(msgspec.json.encode(row["size"]).decode())
    return row | found


def save_answers(store: StateStore, answers: SavedAnswers) -> None:
    """Save an answer in the place of the last one; raises ``StateError``."""
    store.write(KIND, (answers.owner.strategy, answers.owner.symbol), msgspec.json.encode(answers))


def read_answers(store: StateStore, owner: Owner) -> SavedAnswers | None:
    """The last answer that was for several places; ``None``: there was none.

    Raises
    ------
    StateError
        When it cannot be read.
    """
    return read_value(store, KIND, (owner.strategy, owner.symbol), SavedAnswers)
