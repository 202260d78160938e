"""Backtests beside a live run: over the candles of now and over those that were recorded, with what live had of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from ..config import Settings
from ..domain.account_beside_record import Cause
from ..domain.late_orders import Lateness
from ..domain.run_notes import Life, NotAsked, RunNote, WhyNotAsked, lives_of_newest
from ..domain.signal import SignalKey
from ..domain.trades_beside_trades import ComparedTrade, TradeDifference, Trades, step_differences
from ..engine.backtest import BacktestRun
from ..engine.plan import Plan, plan_backtest
from ..engine.questions import AskedAt
from ..events.heard import NOBODY
from ..market.feed import Feed
from ..market.fetch_loop import fetch_now
from ..market.system_clock import SystemClock
from ..market.window import Window
from .nested_loop import run_here
from .recorded_candles_source import RecordedCandlesSource, Row

if TYPE_CHECKING:
    from ..engine.records import Records
    from ..live.plan import LivePlan
    from ..market.candles_of_one_symbol import Series

_OUTAGE: Final[frozenset[WhyNotAsked]] = frozenset({"late", "warm-up", "strategy", "timeout", "model_late"})
_DISAGREEMENT: Final[frozenset[WhyNotAsked]] = frozenset({"disagreement"})
_STOPPED: Final[frozenset[WhyNotAsked]] = frozenset({"stopped"})
_TEXTS: Final[Mapping[str, str]] = {
    "revised candle": "the exchange has other candles now than were recorded",
    "setting": "the settings were others then",
    "outage": "minutes did not come or were worked on late, or questions were not asked in time",
    "order": "nothing was asked: the account was not what the record said",
    "manual": "nothing was asked: the run was paused or stopped",
}


class NotAskedAt(AskedAt):
    """The moments of a backtest without some."""

    def __init__(self, every: AskedAt, without: frozenset[int]) -> None:
        self._every, self._without = every, without

    def first(self, earliest: int) -> int | None:
        """The first moment at or after one (UTC ms)."""
        return self._but(self._every.first(earliest))

    def next(self, *, after: int, asked: int) -> int | None:
        """The first moment later than ``after``, to which the question at ``asked`` leads; all in UTC ms."""
        return self._but(self._every.next(after=after, asked=asked))

    def missed(self, until: int) -> int:
        """How many moments up to one (UTC ms) were missed."""
        return self._every.missed(until)

    def _but(self, when: int | None) -> int | None:
        while when is not None and when in self._without:
            when = self._every.next(after=when, asked=when)
        return when


class _Replayed(BacktestRun):
    """A backtest that asks nothing at some moments."""

    def __init__(self, plan: Plan, *, late: Lateness, without: frozenset[int]) -> None:
        super().__init__(plan, listeners=NOBODY, late=late)
        self._without = without

    def questions(self, series: Series, window: Window, *, managing: bool = False) -> AskedAt:
        found = super().questions(series, window, managing=managing)
        return found if managing or not self._without else NotAskedAt(found, self._without)


class SetUp(NamedTuple):
    """The settings, as JSON, and the execution model from a moment on (UTC ms)."""

    since: int
    settings: str
    execution: str


class World(NamedTuple):
    """What a backtest is told of a live run.

    Attributes
    ----------
    set_ups
        With what it was run, in order; the first from its start on.
    recorded
        Recorded candles that are others than the exchange's of now, by open time (UTC ms).
    missing, late, not_asked
        Minutes that never came, orders that were late, and questions that were not asked; moments in UTC ms.
    """

    set_ups: tuple[SetUp, ...]
    recorded: Mapping[int, Row]
    missing: tuple[tuple[int, int], ...] = ()
    late: Lateness = MappingProxyType({})
    not_asked: frozenset[int] = frozenset()


class Steps(NamedTuple):
    """The backtests beside a live run.

    Attributes
    ----------
    first
        The trades over the candles as the exchange has them now, as the run is planned now.
    last
        Those with everything that is known of the live run.
    differences
        What changes between them, each with its cause.
    """

    first: Trades
    last: Trades
    differences: list[TradeDifference]


def lives_in(notes: Sequence[RunNote]) -> list[Life]:
    """The lives of a run since nothing was saved of it, in order."""
    return lives_of_newest(notes)


def backtests_beside(
    plan: LivePlan,
    records: Records,
    *,
    start: int,
    last: int,
    rows: Sequence[Row],
    notes: Sequence[RunNote],
    trades_of: Callable[[Records, Settings], Trades],
) -> Steps:
    """The backtests beside a live run, from its first to its last moment (UTC ms).

    Parameters
    ----------
    plan, records
        The live run.
    rows, notes
        What it recorded.
    trades_of
        The trades of a backtest that are compared, by its records and settings.

    Raises
    ------
    DataError
        When the exchange does not have the candles before the run, or those it went on without, any more.
    """
    played: dict[str, Trades] = {}
    now = World((SetUp(0, msgspec.json.encode(plan.settings).decode(), plan.execution),), MappingProxyType({}))
    worlds = _worlds(plan, records, start=start, last=last, rows=rows, notes=notes, now=now)

    def run(world: World) -> Trades:
        name = repr(world)
        if name not in played:
            played[name] = _by_set_up(plan, world, trades_of, start=start, last=last)
        return played[name]

    first = before = run(now)
    differences: list[TradeDifference] = []
    for cause, world in worlds:
        after = run(world)
        differences += step_differences(before, after, cause, _TEXTS[cause])
        before = after
    return Steps(first, before, differences)


def _worlds(
    plan: LivePlan,
    records: Records,
    *,
    start: int,
    last: int,
    rows: Sequence[Row],
    notes: Sequence[RunNote],
    now: World,
) -> list[tuple[Cause, World]]:
    changed = _revised(plan, rows, start=start, last=last)
    world = now._replace(recorded=changed)
    found: list[tuple[Cause, World]] = [("revised candle", world)]
    set_ups = tuple(SetUp(life.since, life.settings, life.execution) for life in lives_of_newest(notes))
    if set_ups:
        world = world._replace(set_ups=(set_ups[0]._replace(since=0), *set_ups[1:]))
    found.append(("setting", world))
    holes = tuple(hole for hole in records.holes if start <= hole[0] < last)
    asked_late = _moments(notes, _OUTAGE)
    world = world._replace(missing=holes, late=dict(records.late), not_asked=asked_late)
    found.append(("outage", world))
    world = world._replace(not_asked=world.not_asked | _moments(notes, _DISAGREEMENT))
    found.append(("order", world))
    world = world._replace(not_asked=world.not_asked | _moments(notes, _STOPPED))
    return [*found, ("manual", world)]


def _moments(notes: Sequence[RunNote], why: frozenset[WhyNotAsked]) -> frozenset[int]:
    return frozenset(note.when for note in notes if isinstance(note, NotAsked) and note.why in why)


def _revised(plan: LivePlan, rows: Sequence[Row], *, start: int, last: int) -> dict[int, Row]:
    """The recorded candles that are others than the exchange's of now, or that it has not any more."""
    window = Window(
        Feed(plan.exchange.source, plan.settings, allow_gaps=True, now=SystemClock().now, whole_until=last),
        horizon=last,
        base=plan.base,
    )
    candles = fetch_now(window.load(plan.symbol, plan.base, start)).candles
    times = candles.timestamp.tolist()
    known = dict(zip(times, candles.block[1:].T.tolist(), strict=True))
    recorded = ((row[0], row) for row in rows if start <= row[0] < last)
    return {when: row for when, row in recorded if known.get(when) != list(row[1:])}


def _by_set_up(
    plan: LivePlan, world: World, trades_of: Callable[[Records, Settings], Trades], *, start: int, last: int
) -> Trades:
    """The trades of a world, of each signal those of the set-up with which it was decided."""
    found: dict[SignalKey, ComparedTrade] = {}
    for each in {(one.settings, one.execution) for one in world.set_ups}:
        settings = msgspec.json.decode(each[0], type=Settings)
        trades = trades_of(_played(plan, world, settings, each[1], start=start, last=last), settings)
        found |= {key: trade for key, trade in trades.items() if _set_up_at(world, key[1]) == each}
    return found


def _set_up_at(world: World, when: int) -> tuple[str, str]:
    one = next(one for one in reversed(world.set_ups) if one.since <= when)
    return one.settings, one.execution


def _played(plan: LivePlan, world: World, settings: Settings, execution: str, *, start: int, last: int) -> Records:
    source: Any = RecordedCandlesSource(
        plan.exchange.source, plan.symbol, plan.base, changed=world.recorded, missing=world.missing
    )
    told = world.recorded or world.missing
    exchange = replace(plan.exchange, source=source, callbacks={}) if told else replace(plan.exchange, callbacks={})
    planned = plan_backtest(
        plan.symbol,
        strategy=replace(plan.strategy, callbacks={}),
        exchange=exchange,
        frame=(start, last),
        execution=execution,
        settings=settings,
        allow_gaps=True,
        base=plan.base,
    )
    run = _Replayed(planned, late=world.late, without=world.not_asked)
    run_here(run.through())
    return run.records
