"""Trials of drafts: answers come from the sandbox, figures from the engine.

The other process only says what the strategy answered, moment by moment. These answers are then played through the
same engine as any backtest, here; what a result says was not computed where the foreign code ran.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from ..config import Settings
from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, MINUTE, floor_to, interval_ms
from ..domain.manage_answers import PositionAnswer
from ..domain.signal import Signal
from ..engine.backtest import BacktestRun
from ..engine.call_by_name import calling_by_name, managing_by_name
from ..engine.plan import Plan, over_bars
from ..engine.registry import Exchange, Frame, Strategy
from ..errors import DataError, NotEnoughData
from ..exchanges.dataframe_source import frame_in_sessions
from ..llm.structured import Objection
from ..market.candles import Candles
from ..market.feed import Feed
from ..market.measured_bar_length import longer_than
from ..market.sessions import Sessions
from ..market.source_hours import sessions_of
from ..market.system_clock import SystemClock
from ..runs.result import Result
from ..runs.run_record import record_of
from ..runs.tries import strategy_key, with_tries
from ..sandbox.manage_answers import received
from ..sandbox.process import Job, Limits, Outcome, run_job
from .drafts_verdicts_and_proposals import Draft, Verdict
from .prompt import Range
from .reply import intervals_of

_PRELOADED: Final = ("numpy", "pandas", "talib", "statistics")
_LONGEST_CLOSE_MS: Final = 7 * DAY_MS
_FIGURES: Final = (
    *("n", "win_rate", "total_pnl", "mean_pnl", "sharpe_ratio", "sortino_ratio", "profit_factor", "max_drawdown"),
    "expectancy",
)


@dataclass(slots=True)
class DraftTrials:
    """Runs drafts on one symbol, with the candles of the ranges and the limits.

    Parameters
    ----------
    lead_days
        Days of candles before a range that a strategy may look back on.
    base
        The interval of the bars that fill orders.
    notes
        What was decided about them, for the results of trials.
    """

    symbol: str
    exchange: Exchange
    settings: Settings
    execution: str = "pessimistic"
    limits: Limits = field(default_factory=Limits)
    lead_days: int = 30
    base: str = MINUTE
    notes: tuple[str, ...] = ()
    _candles: dict[tuple[int, int], Candles] = field(default_factory=dict)

    async def candles(self, range_: Range, *, search: bool = True) -> Candles:
        """Return the base bars of a range, those before it and the two that end what is open; fetched once.

        ``search``: see :meth:`bknb.market.feed.Feed.fetch`.
        """
        key = (range_.start, range_.end)
        if key not in self._candles:
            feed = Feed(self.exchange.source, self.settings, allow_gaps=True, now=SystemClock().now)
            since = floor_to(range_.start, DAY_MS) - self.lead_days * DAY_MS
            until = range_.end
            if (sessions := sessions_of(self.exchange.source, self.symbol)) is not None:
                until = sessions.next_open(until, until + _LONGEST_CLOSE_MS)  # what is open then leaves there
            end = until + 2 * interval_ms(self.base)
            found = await feed.fetch(self.symbol, self.base, since, end, search=search)
            if not len(found) or int(found.timestamp[-1]) < range_.start:
                raise NotEnoughData(
                    f"{self.exchange.name} has no candles of {self.symbol} for the range {range_}\n"
                    "choose a range inside the data"
                )
            self._candles[key] = found
        return self._candles[key]

    async def choose_base(self, ranges: Iterable[Range]) -> bool:
        """Go over longer bars where the finest begin behind the first of some ranges; whether it does.

        What the trials of that range need is asked for, and nothing else where the finest bars cover it.
        """
        longer = tuple(each for each in longer_than(self.base, self.exchange.source) if intervals_of(each))
        first = min(ranges, key=lambda each: each.start)
        if not longer or await self._covers(first):
            return False
        from ..engine.base_that_covers import over_bars_that_cover  # where the finest do not
        from ..engine.registration_checks import make_strategy

        plan = Plan(
            symbol=self.symbol,
            strategy=make_strategy("trial", lambda: None, interval=self.base),
            exchange=self.exchange,
            frame=over_bars(Frame(None, first.start, first.end), self.base, self.exchange.source, self.symbol),
            execution=self.execution,
            settings=self.settings,
            allow_gaps=True,
            base=self.base,
            longer_bases=longer,
            asked_at_bars=True,
        )
        with suppress(NotEnoughData):  # which the trials say
            (plan,) = await over_bars_that_cover([plan], None)
        if plan.base == self.base:
            return False
        self.base, self.notes = plan.base, plan.notes
        self._candles.clear()
        return True

    async def _covers(self, range_: Range) -> bool:
        sessions = sessions_of(self.exchange.source, self.symbol)
        opens = range_.start if sessions is None else sessions.next_open(range_.start, range_.end)
        try:
            return int((await self.candles(range_, search=False)).timestamp[0]) <= opens
        except NotEnoughData:
            return False
        except DataError:  # which the trials say
            return True

    def candle_bytes(self) -> int:
        """Return the memory of the candles fetched so far, bytes: once here, and once in the results."""
        return 2 * 48 * sum(len(candles) for candles in self._candles.values())

    def release_candles(self) -> None:
        """Release the candles; they are fetched again when needed."""
        self._candles.clear()

    def all_candles(self) -> Candles:
        """Return all candles fetched so far, each minute once, oldest first."""
        parts = sorted(self._candles.values(), key=lambda part: int(part.timestamp[0]))
        series: list[Candles] = []
        until = -1
        for part in parts:
            rest = part[int(part.timestamp.searchsorted(until, side="right")) :]
            if len(rest):
                series.append(rest)
                until = int(rest.timestamp[-1])
        return Candles.concat(series)

    async def __call__(self, draft: Draft, range_: Range, /, *, look_ahead: bool) -> Verdict:
        """Return the verdict of a draft on a range."""
        candles = await self.candles(range_)
        block = candles.block.tobytes()
        digest = hashlib.sha256(block).hexdigest()
        if interval_ms(draft.interval) % interval_ms(self.base):
            text = f"its interval {draft.interval} cannot be made of {self.base} bars: choose one of "
            return Verdict(
                objections=(Objection(code="interval", text=text + " ".join(intervals_of(self.base))),),
                data_sha256=digest,
            )
        outcome = await run_job(
            Job(
                code=draft.code,
                name=draft.name,
                symbol=self.symbol,
                interval=draft.interval,
                execution=self.execution,
                start=range_.start,
                end=range_.end,
                settings=self.settings,
                candles={self.symbol: block},
                packages=tuple(name for name in _PRELOADED if name in draft.imports),
                limits=self.limits,
                look_ahead=look_ahead,
                base=self.base,
                sessions=self._sessions(),
            )
        )
        objections = _objections(outcome, range_, self.lead_days)
        verdict = Verdict(objections=tuple(objections), data_sha256=digest, enforced_limits=outcome.enforced_limits)
        if objections and look_ahead:
            return verdict
        result = await self._backtest(draft, range_, candles, outcome)
        figures = {name: _number(result.stats.get(name)) for name in _FIGURES if name in result.stats}
        found = (*objections, *_without_trades(outcome, result))
        return Verdict(
            objections=found,
            result=result,
            figures=figures,
            data_sha256=digest,
            enforced_limits=outcome.enforced_limits,
        )

    def _sessions(self) -> dict[str, Sessions | None]:
        """Return when the market of the symbol is open, as the source tells it of all its candles."""
        return {self.symbol: sessions_of(self.exchange.source, self.symbol)}

    async def _backtest(self, draft: Draft, range_: Range, candles: Candles, outcome: Outcome) -> Result:
        """Return the result of a backtest that replays the recorded answers."""
        answers, managed = dict(outcome.answers), dict(outcome.managed)

        def recorded(ctx: Any) -> Signal | tuple[Signal, ...] | None:
            return answers.get(ctx.when_ms)

        def manage(ctx: Any) -> list[PositionAnswer] | None:
            return received(managed[ctx.when_ms]) if ctx.when_ms in managed else None

        source = frame_in_sessions({self.symbol: candles}, self._sessions(), name=self.exchange.name)
        plan = Plan(
            symbol=self.symbol,
            strategy=Strategy(
                name=draft.name,
                interval=draft.interval,
                get_signal=recorded,
                ask=calling_by_name(recorded),
                manage=manage if managed else None,
                ask_manage=managing_by_name(manage) if managed else None,
            ),
            exchange=Exchange(self.exchange.name, source),
            frame=over_bars(Frame(None, range_.start, range_.end), self.base, source, self.symbol),
            execution=self.execution,
            settings=self.settings,
            allow_gaps=True,
            base=self.base,
            notes=self.notes,
        )
        run = BacktestRun(plan)
        async for _ in run.results():
            await asyncio.sleep(0)
        return Result(with_tries(record_of(run), strategy_key(draft.code, {"interval": draft.interval})))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _objections(outcome: Outcome, range_: Range, lead_days: int) -> list[Objection]:
    """Return the objections to an outcome, in words for the user and the model."""
    found = [Objection(code="touched", text=f"it tried {what}; a strategy only computes") for what in outcome.touched]
    if outcome.problem:
        return [*found, Objection(code="trial", text=outcome.problem)]
    found += [Objection(code="future", text=f"the look-ahead check found: {peek}") for peek in outcome.peeks]
    raised = [trouble for trouble in outcome.troubles if trouble.kind in ("strategy", "timeout")]
    for trouble in raised[:3]:
        where = f" ({trouble.where})" if trouble.where else ""
        text = f"it raised at {trouble.count} of {outcome.asked} questions: {trouble.message}{where}"
        found.append(Objection(code="raised", text=text))
    for trouble in outcome.troubles:
        if trouble.kind == "warm-up" and (trouble.count >= outcome.asked or not outcome.answers):
            text = f"there were not enough candles at {trouble.count} of {outcome.asked} questions: {trouble.message}"
            hint = f"; ask for at most {lead_days} days, and only for the symbol itself"
            found.append(Objection(code="history", text=" ".join(text.split()) + hint))
        elif trouble.kind == "rejected" and trouble.count * 2 > len(outcome.answers):
            text = f"{trouble.count} of its signals break the rules, such as: {trouble.message}"
            found.append(Objection(code="signal", text=text))
        elif trouble.kind == "exchange":
            found.append(Objection(code="history", text=f"candles could not be had: {trouble.message}"))
    if not found and not outcome.answers:
        span = f"{utc_text(range_.start)} to {utc_text(range_.end)}"
        text = f"it never gave a signal: asked {outcome.asked} times from {span}"
        found.append(Objection(code="idle", text=text))
    return found


def _without_trades(outcome: Outcome, result: Result) -> list[Objection]:
    """Return an objection when no signal became a trade."""
    if outcome.answers and not len(result.trades) and not len(result.rejected):
        return [Objection(code="idle", text="none of its signals became a trade: the entry prices were not reached")]
    return []
