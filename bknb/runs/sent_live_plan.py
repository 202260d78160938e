"""The plan of a live run as bytes for a process of its own: functions as they are here, and no keys."""

from __future__ import annotations

from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias
from uuid import uuid4

from msgspec.structs import replace

from ..engine.registration_checks import definition, make_strategy
from ..engine.registry import registry
from ..errors import UsageError
from ..market.system_clock import SystemClock
from ..ports import ClockWithSpeed, StateStore
from ..provenance.strategy_hash import models_of
from ..stores.default_store import files, sqlite
from ..stores.file_store import FileStore
from ..sweeps.executor_options import CannotBeSentError
from ..sweeps.packed_plans import have_settings_of_fits, pickled, settings_of_fits
from ..sweeps.pickled_code import from_bytes
from .live_task import WALL_CLOCK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..live.plan import LivePlan

Place: TypeAlias = tuple[Literal["files", "sqlite"], str]
"""Where a store keeps its state: what it is, and its path."""

_PURPOSE: Final = "live runs in a process of their own"
_HERE: Final = "or leave process=True out: then it runs in this process"
_PARTS: Final = ("exchange", "clock", "broker")
"""What several runs may have in common, as one object."""


class SentPlan(NamedTuple):
    """The plan of a live run, without its store, and with numbers in place of what it may share with others."""

    content: bytes
    parts: dict[str, str]


class SharedParts:
    """Exchanges, clocks and brokers that were sent, each once.

    Two runs that have one of them in common here have it there, too: they read one stream of candles.
    """

    def __init__(self) -> None:
        self._known: list[tuple[Any, str]] = []
        self.bytes_of: dict[str, bytes] = {}

    def numbers(self, plan: LivePlan) -> dict[str, str]:
        """The names under which the parts of a plan are known there.

        Raises
        ------
        UsageError
            When one cannot be sent; the message says which, and what to do.
        """
        return {part: self._number(part, plan) for part in _PARTS if getattr(plan, part) is not None}

    def _number(self, part: str, plan: LivePlan) -> str:
        given = getattr(plan, part)
        for known, number in self._known:
            same = known is given or (part == "exchange" and _is_one(known, given))
            if same:
                return number
        number = uuid4().hex
        self.bytes_of[number] = _as_bytes(_sent(part, given), plan, _name_of(part, given))
        self._known.append((given, number))
        return number


def _is_one(known: Any, given: Any) -> bool:
    """Whether two exchanges are the same source with the same callbacks, whose candles runs share."""
    return getattr(known, "source", known) is given.source and known == given


def _name_of(part: str, given: Any) -> str:
    return f"{part} {given.name!r}" if part == "exchange" else f"the {part} {given!r:.80}"


def _sent(part: str, given: Any) -> Any:
    """What is sent of a part: a broker as it was made, a clock as it goes."""
    if part == "broker":
        return getattr(given, "made_by", None) or (lambda: given)
    if part == "clock" and not isinstance(given, SystemClock | ClockWithSpeed):
        raise UsageError(
            f"the clock {given!r:.80} goes in this process alone\n"
            f"use the computer's clock or an AcceleratedClock, {_HERE}"
        )
    return given


def place_of(store: StateStore) -> Place:
    """Where a store keeps its state; ``UsageError`` for one that another process cannot use."""
    if type(store) is FileStore:
        return "files", str(store.place)
    if type(store).__name__ == "SqliteStore":
        return "sqlite", str(getattr(store, "place", ""))
    raise UsageError(
        f"a process of its own needs a store on the disk, got {store!r:.80}\n"
        f"give store=bknb.stores.files(…) or bknb.stores.sqlite(…), {_HERE}"
    )


def store_of(place: Place) -> StateStore:
    """The store at a place."""
    kind, path = place
    return files(Path(path)) if kind == "files" else sqlite(Path(path))


def sent_plan(plan: LivePlan, shared: SharedParts) -> SentPlan:
    """Return a plan as bytes.

    Raises
    ------
    UsageError
        When something of it cannot be sent; the message says what, and what to do.
    MissingDependency
        Without cloudpickle.
    """
    strategy = plan.strategy
    # What is left out is put back by received_plan.
    bare = replace(plan, strategy=None, exchange=None, store=None, clock=None, broker=None)
    risk = None if strategy.risk is None else registry.risks.get(strategy.risk)
    series, models = dict(registry.series.items), models_of(strategy)
    fits = settings_of_fits() if models else {}
    content = (strategy.name, definition(strategy), bare, risk, series, models, fits)
    return SentPlan(_as_bytes(content, plan, f"strategy {strategy.name!r}"), shared.numbers(plan))


def _as_bytes(content: Any, plan: LivePlan, what: str) -> bytes:
    try:
        return pickled(content, [plan.strategy], purpose=_PURPOSE)
    except CannotBeSentError as error:
        cause = error.__cause__
        raise UsageError(
            f"{what} cannot be sent to a process of its own: {type(cause).__name__}: {cause}\n"
            f"let it be made of what can be copied (no locks, open files or connections), {_HERE}"
        ) from error


class ReceivedParts:
    """Exchanges, clocks and brokers that were received, each made once."""

    def __init__(self) -> None:
        self.bytes_of: dict[str, bytes] = {}
        self._made: dict[str, Any] = {}

    def add(self, sent: Mapping[str, bytes]) -> None:
        """Take in parts as bytes."""
        self.bytes_of |= sent

    def part(self, kind: str, number: str) -> Any:
        """The part of a number."""
        if number not in self._made:
            made = from_bytes(self.bytes_of[number])
            if kind == "broker":
                made = made()
            self._made[number] = WALL_CLOCK if isinstance(made, SystemClock) else made
        return self._made[number]


class BrokerThere:
    """Stands for the broker of a run in another process, which alone speaks with it."""

    name = "the broker of its process"


def received_plan(sent: SentPlan, parts: ReceivedParts, store: StateStore, *, runs_here: bool = True) -> LivePlan:
    """Return the plan that ``sent_plan`` made bytes of; what it names is registered, as if it had been here.

    Unless it ``runs_here``, no broker is made: its keys may not be here.
    """
    name, made, plan, risk, series, models, fits = from_bytes(sent.content)
    registry.series.items.update(series)
    registry.models.items.update(models)
    if models:
        have_settings_of_fits(fits)
    if risk is not None:
        registry.risks.items[risk.name] = risk
    shared = {
        kind: parts.part(kind, number) if runs_here or kind != "broker" else BrokerThere()
        for kind, number in sent.parts.items()
    }
    base = intern(plan.base)  # the one of the constant: what is saved leaves a default out that is the very object
    received: LivePlan = replace(plan, strategy=make_strategy(name, **made), store=store, base=base, **shared)
    return received
