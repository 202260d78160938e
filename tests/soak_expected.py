"""What a soak must come to: the results of backtests that nothing disturbed, each told, and nothing open unwatched."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from scenarios import MINUTE
from soak_world import (
    ASKED,
    AT_THE_END,
    ENDS_EARLY,
    EVERY,
    FAULTS,
    LONGEST_DELAY,
    ORDERS,
    QUANTITY,
    RECEIVED,
    SETTINGS,
    SLOT,
    STOPPED,
    Market,
    Soak,
    model_of,
    not_on_some_minutes,
    strategy,
    waits_for_holes,
)

import bknb
from bknb.brokers.paper_broker import PaperBroker
from bknb.domain.late_orders import Decision
from bknb.domain.lifecycle import State, signals_of
from bknb.domain.recovery import Owner
from bknb.domain.signal_events import Cancelled, Closed, Milestone
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import Plan, plan_backtest
from bknb.engine.questions import AskedAt, Questions
from bknb.live.ended_journal import EndedJournal
from bknb.live.values_saved_before_events import StateSaver
from bknb.market.candles_of_one_symbol import Series
from bknb.market.window import Window
from bknb.stores.file_store import FileStore

PATIENCE_MINUTES = int(SETTINGS.get("patience_minutes", 10))


def plain(end: Any) -> dict[str, Any]:
    """An end without what must differ between live and backtest."""
    return msgspec.to_builtins(msgspec.structs.replace(end, mode="live", frame=None))  # type: ignore[no-any-return]


def line_of(event: Closed | Cancelled | Milestone) -> str:
    """What a listener notes of an event it received."""
    line = f"{event.signal.id} {event.when}"
    return f"{line} {event.side} {event.level}" if isinstance(event, Milestone) else line


class LeftOut:
    """The moments (UTC ms) at which a live run asked its strategy nothing because account and record disagreed.

    It says when a disagreement begins, and it is over when it asks again. Meanwhile it cancels what waits: a run that
    had not asked for that either is the same. What it asked when a disagreement began counts where a signal came of it:
    an answer that could not be saved is asked for again, and then perhaps left out.

    Parameters
    ----------
    soak, symbol
        Whose moments.
    ends
        What ended in the run.
    decided
        The moments of all signals of the run.
    """

    def __init__(self, soak: Soak, symbol: str, ends: list[Closed | Cancelled], decided: set[int]) -> None:
        self._asked = moments(soak.folder / ASKED, symbol)
        self._stopped = moments(soak.folder / STOPPED, symbol)
        self._halted = {each.signal.scheduled_at: each.when for each in ends if is_halted(each)}
        self._decided = decided

    def __contains__(self, when: int) -> bool:
        if when in self._halted:
            return True
        place = bisect_left(self._asked, when)
        if place < len(self._asked) and self._asked[place] == when:
            return when in self._stopped and when not in self._decided
        stops = bisect_right(self._stopped, when)
        has_stopped = stops > 0 and place == bisect_right(self._asked, self._stopped[stops - 1])
        return has_stopped or any(since < when <= until for since, until in self._halted.items())


def is_halted(end: Closed | Cancelled) -> bool:
    return isinstance(end, Cancelled) and end.reason == "disagreement"


class Asked(AskedAt):
    """The moments of a backtest without those that a live run left out; ``left_out`` counts these, once per slot."""

    def __init__(self, every: Questions, left_out: LeftOut) -> None:
        self._every, self._left_out = every, left_out
        self.left_out = 0

    def first(self, earliest: int) -> int | None:
        return self._but_left_out(self._every.first(earliest))

    def next(self, *, after: int, asked: int) -> int | None:
        return self._but_left_out(self._every.next(after=after, asked=asked))

    def missed(self, until: int) -> int:
        return self._every.missed(until)

    def _but_left_out(self, when: int | None) -> int | None:
        slot = None
        while when is not None and when in self._left_out:
            self.left_out += when // SLOT != slot
            slot = when // SLOT
            when = self._every.first(when + MINUTE)
        return when


class Undisturbed(BacktestRun):
    """A backtest whose strategy is not asked at some moments."""

    asked: Asked

    def __init__(self, plan: Plan, *, late: dict[Decision, int], left_out: LeftOut) -> None:
        super().__init__(plan, late=late)
        self._left_out = left_out

    def questions(self, series: Series, window: Window) -> Asked:
        self.asked = Asked(super().questions(series, window), self._left_out)
        return self.asked


def moments(path: Path, symbol: str) -> list[int]:
    """The moments (UTC ms) that a file has for a symbol, in order."""
    lines = (line.split() for line in path.read_text().splitlines())
    return sorted({int(when) for name, when in lines if name == symbol})


def undisturbed(
    soak: Soak,
    market: Market,
    symbol: str,
    *,
    begun: int,
    late: dict[Decision, int],
    holes: list[tuple[int, int]],
    left_out: LeftOut,
) -> Undisturbed:
    """A finished backtest from ``begun`` (UTC ms) on.

    Orders that were late are late there, too; the minutes of holes are missing, and the questions that were left out.
    """
    known = market.candles[symbol]
    there = np.ones(len(known), dtype=bool)
    for first, end in holes:
        there &= (known.timestamp < first) | (known.timestamp >= end)
    market = copy(market)
    market.candles = {symbol: known.take(there)}
    plan = plan_backtest(
        symbol,
        strategy=strategy(soak.seed, symbol, calm=soak.calm),
        exchange=market,
        frame=(begun, soak.end),
        settings=SETTINGS,
        allow_gaps=True,
    )
    run = Undisturbed(plan, late=late, left_out=left_out)
    asyncio.run(run.through())
    return run


@dataclass
class Compared:
    """What backtests have, and what the live runs have otherwise."""

    trades: int = 0
    late: int = 0
    milestones: int = 0
    gone: int = 0  # minutes
    halted: int = 0
    left_out: int = 0
    wrong: list[str] = field(default_factory=list)


def compare(soak: Soak, market: Market, begun: dict[str, int]) -> Compared:
    """Compare the live runs with undisturbed backtests.

    ``begun`` has the moment (UTC ms) of the first start of each run that left something on the disk.
    """
    compared = Compared()
    bknb.add_risk("picky", validations=[not_on_some_minutes])
    received = set((soak.folder / RECEIVED).read_text().splitlines())
    paper = PaperBroker(journal=soak.folder / ORDERS)
    with FileStore(soak.folder / "state") as store:
        for symbol in market.symbols:
            compare_one(soak, market, symbol, store, paper, begun=begun[symbol], received=received, compared=compared)
    return compared


def compare_one(
    soak: Soak,
    market: Market,
    symbol: str,
    store: FileStore,
    paper: PaperBroker,
    *,
    begun: int,
    received: set[str],
    compared: Compared,
) -> None:
    """Add to ``compared`` what one live run has otherwise than its backtest."""
    owner = Owner(strategy=f"soak-{symbol}", exchange="soak", symbol=symbol, execution=model_of(symbol))
    saved = StateSaver(store, owner)
    late, holes = saved.late(), [hole for hole in saved.holes() if hole[0] >= begun]
    ends = EndedJournal(store, (owner.strategy, symbol)).load()
    restored = saved.restore()
    state = restored.state
    decided = {signal.scheduled_at for signal in (*(end.signal for end in ends), *signals_of(state))}
    left_out = LeftOut(soak, symbol, ends, decided)
    run = undisturbed(soak, market, symbol, begun=begun, late=late, holes=holes, left_out=left_out)
    reached = 0 if restored.last_minute is None else restored.last_minute + MINUTE
    last = min(soak.end - AT_THE_END, reached)
    expected = [plain(end) for end in run.records.ends if end.when < last]
    found = [plain(end) for end in ends if end.when < last and not is_halted(end)]
    compared.trades += len(run.records.closed)
    compared.late += len(late)
    compared.halted += sum(map(is_halted, ends))
    compared.left_out += run.asked.left_out
    wrong = [f"{symbol}: it ended at {reached}"] * (reached < soak.end - ENDS_EARLY)
    if found != expected:
        others = [end for end in found if end not in expected]
        missing = [end for end in expected if end not in found]
        wrong.append(f"{symbol}: {len(missing)} missing {missing[:1]}, {len(others)} others {others[:1]}")
    undelivered = [end for end in ends if end.when < last and line_of(end) not in received]
    wrong += [f"{symbol}: nobody heard of {len(undelivered)}: {undelivered[:1]}"] * bool(undelivered)
    wrong += not_watched(paper, symbol, state)
    told = {line_of(event) for event in run.records.milestones if event.when < last}
    names = {end.signal.id for end in ends} | {signal.id for signal in signals_of(state)}
    heard = {line for line in received if is_milestone(line, names) and int(line.split()[1]) < last}
    wrong += [f"{symbol}: milestones {sorted(told ^ heard)[:3]} of {len(told)}, heard {len(heard)}"] * (told != heard)
    compared.milestones += len(told)
    compared.gone += sum(end - first for first, end in holes) // MINUTE
    minutes = range(begun, last, MINUTE)
    wrong += [f"{symbol}: {text}" for text in unexplained(soak, market, symbol, minutes, holes=holes, late=late)]
    compared.wrong += wrong


def is_milestone(line: str, names: set[str]) -> bool:
    name, _, *more = line.split()
    return bool(more) and name in names


def unexplained(
    soak: Soak,
    market: Market,
    symbol: str,
    minutes: range,
    *,
    holes: list[tuple[int, int]],
    late: dict[Decision, int],
) -> list[str]:
    """The minutes a run went on without and the orders it decided late for no reason, and the minutes it left out.

    A run that waits goes on without the minutes that never come, and without one that comes later than those behind it
    where the question about it got no answer when twice the patience was over; another run goes on without all that
    come later than those behind them. An order is late because something went wrong between its moment and its
    decision.
    """
    number = market.symbols.index(symbol)
    gone = {minute for first, end in holes for minute in range(first, end, MINUTE)}.intersection(minutes)
    never = market.never_came(symbol).intersection(minutes)
    late_alone = market.came_alone(number)
    if waits_for_holes(symbol):
        late_alone = {minute for minute in late_alone if has_no_answer(soak, symbol, minute)}
    may_be = never | late_alone
    wrong = [f"it went on without {len(gone - may_be)} minutes that came: {sorted(gone - may_be)[:3]}"]
    wrong *= bool(gone - may_be)
    wrong += [f"{len(never - gone)} minutes never came: {sorted(never - gone)[:3]}"] * bool(never - gone)
    reasons = reasons_of(soak, market, symbol)
    slack = 3 * soak.step * MINUTE
    wrong += [
        f"the {order} of {when} was decided at {at}, for no reason"
        for (when, order), at in late.items()
        if not any(first <= at and when <= end + slack for first, end in reasons)
    ]
    return wrong


def faults_of(soak: Soak, *names: str) -> list[tuple[int, int]]:
    """First and last moments (UTC ms) at which something of these names went wrong."""
    lines = (line.split() for line in (soak.folder / FAULTS).read_text().splitlines())
    return [(int(first), int(end)) for name, first, end in lines if name in names]


def has_no_answer(soak: Soak, symbol: str, minute: int) -> bool:
    """Whether the first question about a minute once twice the patience was over can have got no answer."""
    over = minute + (2 + 2 * PATIENCE_MINUTES) * MINUTE  # the candle behind it closed a minute after its own close
    return any(over <= first < over + soak.step * MINUTE for first, _ in faults_of(soak, symbol))


def reasons_of(soak: Soak, market: Market, symbol: str) -> list[tuple[int, int]]:
    """When something went wrong that can make orders of a symbol late: first and last moments (UTC ms)."""
    noted = faults_of(soak, symbol, EVERY)
    patience = (PATIENCE_MINUTES + LONGEST_DELAY) * MINUTE
    never = [(minute, minute + patience) for minute in market.never_came(symbol)]
    times = market.candles[symbol].timestamp
    arrivals = market.arrivals(market.symbols.index(symbol))
    behind = arrivals > times + MINUTE
    return [*noted, *never, *zip(times[behind].tolist(), arrivals[behind].tolist(), strict=True)]


def not_watched(paper: PaperBroker, symbol: str, state: State) -> list[str]:
    """What is open at the broker beyond the signals of the record, and is not being closed."""
    least, most = 0.0, 0.0
    for signal in signals_of(state):
        signed = QUANTITY if signal.position == "long" else -QUANTITY
        least, most = least + min(signed, 0.0), most + max(signed, 0.0)
    for order in paper.orders.values():
        if order.symbol == symbol and order.working:
            rest = order.quantity - order.filled_quantity
            least, most = (least - rest, most) if order.side == "buy" else (least, most + rest)
    position = paper.position(symbol)
    watched = least - 1e-9 <= position <= most + 1e-9
    return [] if watched else [f"{symbol}: {position} are open at the broker, and the record is {state}"]
