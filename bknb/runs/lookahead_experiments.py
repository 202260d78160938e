"""The experiments of a look-ahead check with one function: its rows, answers, series, clocks, variables and sources."""

from __future__ import annotations

import asyncio
import dataclasses
import queue
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..engine.get_signals_vectorised import signal_rows
from ..errors import StrategyError
from ..market.candles import Candles
from ..market.point_in_time_series import SYMBOL
from ..research.answers_compared_as_trades import Answer, change_text, same
from ..research.candles_changed_after_moment import AsIs, World
from ..research.data_checks import DataChecks
from ..research.foresight import suspicion
from ..research.get_signals_rows_compared import check_row_history, check_rows, row_answer
from ..research.lookahead_report import Finding
from ..research.market_values import MarketValues
from ..research.moments_asked_again import check_answers
from ..research.shifted_clock import SHIFTS, ShiftedClock, waiting_calls
from ..research.tracing import Tracer, clock_calls
from ..research.variables import caches, emptied, variables
from .candles_fetched_before_they_closed import fetched_too_early, is_source

if TYPE_CHECKING:
    from .strategy_asked_in_other_worlds import AskedStrategy

_FEWEST_ROWS: Final = 30  # fewer candles cannot be cut anywhere
_OUTSIDE: Final = 12  # moments at which variables are replaced
_CHANGING: Final = "answers that change by themselves prove nothing"


class Experiments:
    """The experiments with a strategy, its ``manage``, or a model: what is asked when they are done.

    Parameters
    ----------
    asked
        What is asked.
    unseen
        Takes what cannot be judged, in words.
    count, seed
        How many moments to look at closely; of their choice and of the changed prices.

    Attributes
    ----------
    looked_at, remarks : list of str
        What was judged, and what was noticed and is no finding, in words.
    rows_chosen, rows_compared : int
        At how many moments rows were to be computed again, and at how many of these they came.
    """

    def __init__(self, asked: AskedStrategy, unseen: list[str], *, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self.looked_at: list[str] = []
        self.remarks: list[str] = []
        self.unseen = unseen
        self.rows_chosen = self.rows_compared = 0
        self._asked = asked

    def findings(self, chosen: Sequence[int], answers: Mapping[int, Answer]) -> list[Finding]:
        """Everything that is done with one function, at moments that were chosen (UTC ms)."""
        findings = [self._named(finding) for finding in (*self._rows(), *self._answers(chosen, answers))]
        self._look_at_series()
        clocks, read = self._watched(chosen)
        if any(finding.kind in ("memory", "chance") for finding in findings):
            self.unseen += [f"whether {name} ({where}) matters: {_CHANGING}" for name, where in clocks.items()]
            self.unseen.append(f"data besides the candles: {_CHANGING}")
        else:
            findings += [*self._clocks(clocks, chosen), *self._data(chosen, answers, read)]
        if not findings:
            findings = [one for name in self._asked.published.readers for one in self._foreseen(name, chosen, answers)]
        self.unseen += [f"what threads started before read for it (through {name})" for name in self._threads()]
        return findings

    def _look_at_series(self) -> None:
        names = [f"the series {name}" for name in self._asked.published.readers]
        self.looked_at += [name for name in names if name not in self.looked_at]
        self.unseen += [
            f"whether the numbers in {name} were published at the times beside them, and not revised since"
            for name in names
        ]

    def _foreseen(self, name: str, chosen: Sequence[int], answers: Mapping[int, Answer]) -> list[Finding]:
        """A suspicion for a series that goes with later moves, and on which answers depend."""
        asked = self._asked
        table = asked.published(name, asked.plan.symbol, asked.plan.frame.last)
        own = table.take(table.columns[SYMBOL] == asked.plan.symbol) if table.has_symbols else table
        columns = {one: column for one, column in own.columns.items() if one not in (SYMBOL, *own.times)}

        def moved(column: str, when: int, since: int) -> bool:
            with asked.reading(name, table.backwards(column, since)):
                return not same(answers[when], asked.ask(when))

        minutes = asked.window.minutes(asked.plan.symbol).candles
        what = f"the series {name}"
        return suspicion(
            what, own.known_at, columns, minutes, asked.slot, step=asked.window.base_ms, moments=chosen, moved=moved
        )

    def _named(self, finding: Finding) -> Finding:
        """A finding about the future; one that candles alone do not make, with the names of the series it read."""
        asked = self._asked
        when = finding.when
        if finding.kind != "future" or when is None or not asked.published.readers:
            return finding
        try:
            with asked.series_as_they_are():
                if asked.asks_rows:
                    candles, closes = asked.candles()[:2]
                    count = int(np.searchsorted(closes, when, side="right"))
                    parts = (candles.copy(), candles[:count].copy())
                    every = (signal_rows(asked.strategy, part, asked=asked.rows_asked()) for part in parts)
                    whole, cut = (row_answer(rows, count - 1) for rows in every)
                else:
                    whole, cut = (asked.ask(when, world) for world in (AsIs, World(until=when)))
        except StrategyError:  # it raises over fewer candles
            return finding
        if not same(whole, cut):
            return finding
        names = ", ".join(asked.published.readers)
        return dataclasses.replace(
            finding, what=f"rows of the series {names} that were not known yet, or not so", candle=None
        )

    def _rows(self) -> list[Finding]:
        asked = self._asked
        strategy = asked.strategy
        if not asked.asks_rows:
            return []
        (candles, closes, *_), begin = asked.candles(), asked.begin
        if len(candles) < _FEWEST_ROWS:
            self.unseen.append(
                f"its rows over fewer candles: there are {len(candles)}, at least {_FEWEST_ROWS} are needed; "
                "try a longer frame"
            )
            return []
        options: dict[str, Any] = {"closes": closes, "moments": self.count, "seed": self.seed}

        def evaluate(part: Candles) -> Any:
            asked.check.go_on()
            return signal_rows(strategy, part, asked=asked.rows_asked(self._world_of(part, candles)))

        found, self.rows_chosen, self.rows_compared = check_rows(evaluate, candles.copy(), first=begin, **options)
        if self.rows_compared < self.rows_chosen:
            missing = self.rows_chosen - self.rows_compared
            self.unseen.append(f"its rows at {missing} of {self.rows_chosen} moments: it raised over other candles")
        if found or len(candles) <= strategy.lookback:
            return found
        return check_row_history(evaluate, candles.copy(), lookback=strategy.lookback, **options)

    def _world_of(self, part: Candles, whole: Candles) -> World:
        """The world in which candles were cut off, or changed from one on."""
        if len(part) < len(whole):
            closes = self._asked.candles().by.of(part.timestamp[-1:])
            return World(until=int(closes[0])) if closes is not None and len(closes) else AsIs
        changed = np.flatnonzero((part.block[1:] != whole.block[1:]).any(axis=0))
        return World(changed_after=int(whole.timestamp[changed[0]]), seed=self.seed) if len(changed) else AsIs

    def _answers(self, chosen: Sequence[int], known: Mapping[int, Answer]) -> list[Finding]:
        asked = self._asked
        if asked.asks_rows:
            chosen = chosen[:: max(1, len(chosen) // _OUTSIDE)]
        reach = asked.window.reach
        lengths = [max(reach // 2, asked.window.base_ms * 10), reach * 2] if reach and not asked.asks_rows else []
        return check_answers(asked.ask, chosen, history_ms=lengths, known=known)

    def _watched(self, chosen: Sequence[int]) -> tuple[dict[str, str], dict[str, str]]:
        """Return the clocks that were read, and what else was, with their lines."""
        asked = self._asked
        tracer = Tracer()
        empty = caches(asked.function())
        for when in chosen:
            for clear in empty:
                clear()  # what is in a cache is not read again
            with tracer.active():
                asked.ask(when)
        return tracer.clocks or clock_calls(asked.function()), tracer.files

    def _clocks(self, clocks: dict[str, str], chosen: Sequence[int]) -> list[Finding]:
        """Findings about clocks on which answers depend, or that cannot be shifted; the others are remarks."""
        asked = self._asked
        read: set[str] = set()
        moments = chosen[:: max(1, len(chosen) // _OUTSIDE)]
        waits = waiting_calls(asked.function()) if clocks else []
        shifts = SHIFTS if clocks and not waits else ()
        before = {when: asked.ask(when) for when in moments} if shifts else {}
        for seconds in shifts:
            for when in moments:
                clock = ShiftedClock(seconds)
                with clock.in_place(asked.function()), emptied(asked.function()):
                    seen = asked.ask(when)
                read |= clock.read
                if not same(before[when], seen):
                    what = ", ".join(f"{name} ({where})" for name, where in clocks.items())
                    how = "the clock was shifted"
                    signal = change_text(before[when], seen)
                    return [Finding(kind="clock", what=what, how=how, when=when, signal=signal)]
        found = []
        for name, where in clocks.items():
            if any(name.endswith(one) for one in read):
                self.remarks.append(f"it reads the clock {name} ({where}); shifted, its answers did not change")
            else:
                how = "it was watched while it was asked; this clock cannot be shifted to see whether it matters"
                if waits:  # until a moment that a shifted clock reaches in years
                    how = f"it was watched when it was asked; no clock was shifted: it waits ({', '.join(waits[:3])})"
                found.append(Finding(kind="clock", what=f"{name} ({where})", how=how, when=chosen[0]))
        return found

    def _data(self, chosen: Sequence[int], answers: Mapping[int, Answer], read: dict[str, str]) -> list[Finding]:
        asked = self._asked
        some, minutes = chosen[:: max(1, len(chosen) // (2 * _OUTSIDE))], asked.window.minutes(asked.plan.symbol)
        checks = DataChecks(
            asked.function(),
            asked.ask,
            answers=answers,
            moments=some,
            market=MarketValues(minutes.candles, asked.window.base_ms, minutes.closes),
            slot=asked.slot,
            end=asked.plan.frame.last,
            scopes=asked.check.scopes,
        )
        found = []
        for variable in variables(asked.function()):
            if is_source(variable.value):
                finding = fetched_too_early(variable, some, asked.ask)
                found += [] if finding is None else [finding]
        named = any("candles of" in finding.what for finding in found)
        more = checks.findings(read)
        self.looked_at += checks.looked_at
        self.unseen += checks.unseen
        return found + [one for one in more if not (named and "candles of" in one.what)]

    def _threads(self) -> list[str]:
        """Names of the threads, and of the queues and loops with which threads are given work, that it reaches."""
        kinds = (threading.Thread, queue.Queue, queue.SimpleQueue, asyncio.AbstractEventLoop)
        return [one.name for one in variables(self._asked.function()) if isinstance(one.value, kinds)]
