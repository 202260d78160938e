"""Hold-out runs: each look at held-out data is written to a ledger before its result is shown."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..config import Settings
from ..domain.formatting import minute_text
from ..engine.backtest import BacktestRun
from ..engine.plan import ExchangeLike, FrameLike, Plan, StrategyLike, open_window, plan_backtest
from ..engine.run_candles import run_minutes
from ..events.heard import NOBODY
from ..market.system_clock import SystemClock
from ..provenance.strategy_hash import VERSION, fingerprint, params_text, running, version_of
from ..reports.markup import Html, cell, figures, fragment, html_figures
from ..research.holdout_ledger import HoldoutLedger, HoldoutLook
from ..stores.atomic import as_path
from .result import Result
from .run_record import record_of
from .task import Task
from .tries import key_of, with_tries

if TYPE_CHECKING:
    from ..domain.schedules import Schedule

OPENINGS: Final = "./dump/holdout/openings.jsonl"
"""Default path of the hold-out ledger."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Holdout:
    """A look at held-out data: the result, and earlier looks.

    Attributes
    ----------
    result : Result
    opened_at : int
        When this strategy opened this data for the first time, UTC ms. A look that an older bknb recorded counts as
        its own when the name of the strategy is the same.
    earlier : tuple of HoldoutLook
        Looks at the same data, or at a part of the same time on the same exchange and symbol, before this one.
    strategies : int
        Different strategies that have looked by now, this one included. An upper bound: one that an older bknb
        recorded counts as another one.
    path : Path
        The hold-out ledger.
    """

    result: Result
    opened_at: int
    earlier: tuple[HoldoutLook, ...]
    strategies: int
    path: Path

    @property
    def first(self) -> bool:
        """Whether this is the first look."""
        return not self.earlier

    @property
    def verdict(self) -> str:
        """Whether the data is still held out, in one sentence."""
        if self.first:
            return "opened for the first time: the figures were not chosen on this data"
        times = len(self.earlier)
        looked = f"{times} time{'' if times == 1 else 's'} before, first {_moment(self.earlier[0])}"
        older = sum(version_of(each.strategy_hash) < VERSION for each in self.earlier if not each.cut_off)
        cut_off = sum(each.cut_off for each in self.earlier)
        unknown = f" ({cut_off} of them a look whose record was cut off: it counts as another strategy)"
        uncertain = (
            f" (the strategy of {older} earlier look{'' if older == 1 else 's'} was hashed by an older bknb and cannot "
            "be compared: it counts as another one)"
        )
        return (
            f"NOT A HOLD-OUT ANY MORE: opened {looked}, by {self.strategies} "
            f"{'strategy' if self.strategies == 1 else 'strategies'} up to now{uncertain if older else ''}"
            f"{unknown if cut_off else ''}; "
            f"count them as trials (bknb.belief(..., trials={self.strategies}))"
        )

    def _pairs(self) -> list[tuple[str, str]]:
        stats = self.result.stats
        return [
            ("Hold-out", self.verdict),
            ("This strategy opened it", f"{minute_text(self.opened_at)} UTC"),
            ("Trades", str(stats["n"])),
        ]

    def report(self) -> str:
        """Return the look and the report of the run as Markdown."""
        head = ["# Hold-out", "", *figures(self._pairs()), ""]
        who = (each.strategy if each.cut_off else f"{each.strategy} on {each.symbol}" for each in self.earlier)
        head += [f"- {_moment(each)}: {cell(name)}" for each, name in zip(self.earlier, who, strict=True)]
        return "\n".join([*head, ""]) + "\n" + self.result.report()

    def __repr__(self) -> str:
        return f"{self.verdict}\n{self.result!r}"

    def _repr_html_(self) -> Html:
        return fragment(html_figures("Hold-out", self._pairs()), self.result._repr_html_())


def open_holdout(
    strategy: StrategyLike,
    symbol: str = "BTCUSDT",
    *,
    exchange: ExchangeLike,
    frame: FrameLike,
    path: str | Path = OPENINGS,
    interval: str | None = None,
    at: Schedule | str | None = None,
    execution: str | None = None,
    settings: Settings | dict[str, Any] | None = None,
    allow_gaps: bool = False,
    base: str | None = None,
) -> Holdout:
    """Run a strategy over held-out data, and record the look in the hold-out ledger.

    At the first look, nothing was chosen on this data. Every later look, also with a changed strategy,
    is shown as well, and marked with when the data was opened and by how many strategies. A look is on the disk before
    its result is shown.

    Parameters
    ----------
    strategy, symbol, exchange, frame, interval, at, execution, settings, allow_gaps, base
        As for ``bknb.backtest``; the frame is the hold-out.
    path
        The hold-out ledger. Keep it with the notebook; it is append-only.

    Returns
    -------
    Holdout
        ``.first``, ``.verdict``, ``.result``, ``.earlier``, ``.report()``.

    Raises
    ------
    StateError
        When the look cannot be written, or the file cannot be read or holds something else; then nothing is shown.
    UsageError
        When ``path`` is no path.

    Examples
    --------
    >>> import bknb, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     look = dict(exchange="demo", frame="2024-03-01:2024-03-02", path=f"{folder}/openings.jsonl")
    ...     bknb.open_holdout(lambda: None, **look).first, bknb.open_holdout(lambda: None, **look).first
    (True, False)
    """
    given = (symbol, strategy, exchange, frame, interval, execution, settings)
    plan = plan_backtest(*given, at=at, allow_gaps=allow_gaps, base=base)
    task = _HoldoutTask(plan, HoldoutLedger(as_path(path, OPENINGS)))
    with running(plan.strategy):
        task.start()
        task.wait()
    return task.result()


class _HoldoutTask(Task[Holdout, None]):
    """One look: fetch candles, write the look to the ledger, run the backtest."""

    kind = "hold-out"

    def __init__(self, plan: Plan, ledger: HoldoutLedger) -> None:
        super().__init__(plan.symbol, plan.strategy.name)
        self.plan = plan
        self.ledger = ledger
        self._key = key_of(plan)
        self._run: BacktestRun | None = None

    async def _work(self) -> Holdout:
        plan = self.plan
        warnings: list[str] = []
        if plan.longer_bases:
            from ..engine.base_that_covers import loaded_over_bars_that_cover  # a table has bars of one length

            (plan,), window = await loaded_over_bars_that_cover([plan], warn=warnings.append, gather=False)
            self.plan = plan
        else:
            window = open_window(plan, warn=warnings.append)
        series = await run_minutes(window, plan)
        times = series.candles.timestamp
        held = series.candles[int(times.searchsorted(plan.frame.start)) : int(times.searchsorted(plan.frame.last + 1))]
        look = HoldoutLook(
            opened_at=SystemClock().now(),
            data=hashlib.sha256(held.copy().block.tobytes()).hexdigest(),
            strategy_hash=_hash_of(plan),
            strategy=plan.strategy.name,
            symbol=plan.symbol,
            exchange=plan.exchange.name,
            start=plan.frame.start,
            end=plan.frame.last,
        )
        earlier = [each for each in self.ledger.all() if _same_data(each, look)]
        self.ledger.add(look)
        run = self._run = BacktestRun(plan, listeners=NOBODY, window=window)
        await run.through()
        run.records.warnings.extend(warnings)
        own = [each.opened_at for each in earlier if _may_be_same_strategy(each, look)]
        return Holdout(
            result=Result(with_tries(record_of(run), self._key)),
            opened_at=min([*own, look.opened_at]),
            earlier=tuple(earlier),
            strategies=len({each.strategy_hash for each in [*earlier, look] if not each.cut_off})
            + sum(each.cut_off for each in earlier),
            path=self.ledger.path,
        )

    def stop(self, *, now: bool = False) -> None:
        """Stop the run; the look counts all the same."""
        if self._run is not None:
            self._run.stop(now=now)

    def _announce_done(self) -> None:
        """Emit nothing: a hold-out has no event."""


def _moment(look: HoldoutLook) -> str:
    return f"{minute_text(look.opened_at)} UTC" if look.opened_at else "at an unknown moment"


def _same_data(one: HoldoutLook, other: HoldoutLook) -> bool:
    """Whether two looks are (or may be) at the same candles, or at overlapping frames of the same market."""
    market = (one.symbol, one.exchange) == (other.symbol, other.exchange)
    return one.cut_off or one.data == other.data or (market and one.start <= other.end and other.start <= one.end)


def _may_be_same_strategy(one: HoldoutLook, other: HoldoutLook) -> bool:
    """Whether the hashes are equal; the names, where hashes of different versions cannot be compared."""
    if version_of(one.strategy_hash) == version_of(other.strategy_hash):
        return one.strategy_hash == other.strategy_hash
    return one.strategy == other.strategy


def _hash_of(plan: Plan) -> str:
    parts = (fingerprint(plan.strategy), params_text(plan.strategy.params), plan.execution, plan.settings.decisive())
    return f"{VERSION}:{hashlib.sha256(repr(parts).encode()).hexdigest()}"
