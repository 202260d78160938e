"""``bknb.Optimizer``: running optimizers as tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from ..config import Settings, get_config
from ..domain.interval import MINUTE_MS, interval_ms
from ..engine.plan import on_exchange
from ..engine.registry import Exchange, registry
from ..engine.resolve import resolve_exchange
from ..errors import UsageError
from ..events import messages, subjects
from ..llm.ask import as_model
from ..log import log
from ..market.measured_bar_length import base_of
from ..market.runs_refused_for_negative_prices import check_above_zero
from ..market.system_clock import SystemClock
from ..ports import Model
from ..runs.result import Result
from ..runs.run_record import with_weak_source
from ..runs.task import Task
from ..runs.task_list import TaskList
from . import proposal_as_cells
from .add_get_and_list_optimizers import OptimizerSpec, OwnCall, get_optimizer
from .attempt_ledger import AttemptLedger
from .draft_and_judge import Study
from .drafts_verdicts_and_proposals import Attempt, Step
from .drafts_verdicts_and_proposals import Task as Work
from .insert_and_export import ProposalCells, cells_of_notebook, cells_to_insert, provenance, write_notebook
from .proposals import Proposals
from .reply import intervals_of
from .trial import DraftTrials

_LONGEST_BARS: Final = 20  # that a model is told a position may last, where no setting limits it


class OptimizerTask(Task[Proposals, Step]):
    """A study in the background; ``progress`` counts sources that were read and drafts that are done."""

    kind = "optimizer"

    def __init__(self, symbol: str, spec: OptimizerSpec) -> None:
        given: object = symbol
        if not (isinstance(given, str) and given):
            raise UsageError(f"symbol must be a non-empty text such as 'BTCUSDT', got {symbol!r}")
        super().__init__(symbol, spec.name)
        self.spec = spec
        self.exchange: Exchange = _exchange(spec)
        check_above_zero(self.exchange.source, self.exchange.name, "an optimizer")
        self.settings: Settings = on_exchange(get_config(), self.exchange, symbol)
        model = as_model(spec.model)
        self.model: Model = model.about(symbol) if isinstance(model, OwnCall) else model
        self._steps: list[Step] = []
        self.processed = 0
        self._streamed = 0  # characters of the answer that is arriving
        self.total = len(spec.range_train) * (len(spec.sources) + spec.drafts)
        self._inner: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = ""
        self.trials = DraftTrials(
            symbol=symbol,
            exchange=self.exchange,
            settings=self.settings,
            execution=spec.execution,
            limits=spec.limits,
            lead_days=spec.lead_days,
            base=base_of(self.exchange.source),
        )
        self.attempt_ledger = None if spec.ledger is None else AttemptLedger(spec.ledger, spec.name, symbol)
        self._study: Study | None = self._new_study()

    def _new_study(self) -> Study:
        spec = self.spec
        return Study(
            Work(
                optimizer=spec.name,
                symbol=self.symbol,
                sources=spec.sources,
                train=spec.range_train,
                test=spec.range_test,
                facts=_facts(self.settings, spec.lead_days, self.trials.base),
                drafts=spec.drafts,
                tries=spec.tries,
                tokens=spec.tokens,
                seed=spec.seed,
                templates=spec.templates,
            ),
            model=self.model,
            run_trial=self.trials,
            save=self._save,
            emit=self._step,
            now=SystemClock().now,
            exchange=self.exchange,
            on_rows=spec.callbacks.get("on_source_data"),
        )

    async def _work(self) -> Proposals:
        spec = self.spec
        earlier = self._earlier_codes()
        self._loop = asyncio.get_running_loop()
        assert self._study is not None  # until its candles are let go  # noqa: S101
        if await self.trials.choose_base([*spec.range_train, spec.range_test]):
            log.warning("study %s of %s: %s", spec.name, self.symbol, self.trials.notes[-1])
            self._study = self._new_study()
            if self._stopping:
                self._study.stop()
        self._inner = asyncio.ensure_future(self._study.run())
        if self._stopping == "now":
            self._inner.cancel()
        try:
            findings = await self._inner
        except asyncio.CancelledError:
            findings = self._study.findings
            findings.end_early("stopped")
        made = Proposals(
            findings,
            optimizer=spec.name,
            symbol=self.symbol,
            model=self.model.name,
            train=spec.range_train,
            test=spec.range_test,
            earlier_looks=len(earlier - {each.code_sha256 for each in findings.attempts}),
            token_budget=spec.tokens,
        )
        _call(spec, "on_data", self.symbol, made)
        return made

    def _earlier_codes(self) -> set[str]:
        """Return hashes of the codes that earlier studies tried on the same test range."""
        if self.attempt_ledger is None:
            return set()
        test = self.spec.range_test
        seen: set[str] = set()
        lines = self.attempt_ledger.lines()
        if self.attempt_ledger.damaged:
            log.warning(
                "the ledger %s holds lines that cannot be read: %d; what they tried does not count as an earlier look",
                self.attempt_ledger.path,
                self.attempt_ledger.damaged,
            )
        for line in lines:
            where = line.get("test") or {}
            same = (where.get("start"), where.get("end")) == (test.start, test.end)
            if same and line.get("status") == "proposed":
                seen.add(str(line.get("code_sha256")))
        return seen

    def _save(self, attempt: Attempt) -> None:
        if self.attempt_ledger is not None:
            self.attempt_ledger.add(attempt)

    def _step(self, step: Step) -> None:
        if step.kind in ("text", "thinking"):
            self._streamed += len(step.text)
        else:
            self._steps.append(step)
            self._streamed = 0
        self.processed = step.processed
        self._emit(step)
        if step.kind in ("source", "ask", "end"):
            subject, labels = subjects.progress_optimizer, self._labels()
            subjects.emit_progress(subject, "optimizer", labels, processed=step.processed, total=step.total)

    def _announce_done(self) -> None:
        """Emit nothing: the last ``progress_optimizer`` event marks the end."""

    def _labels(self) -> messages.RunLabels:
        """Return symbol, optimizer and exchange for the study's events; there is no frame."""
        return messages.RunLabels(symbol=self.symbol, strategy=self.strategy, exchange=self.exchange.name, frame=None)

    def _candle_bytes(self) -> int:
        """Return the memory of the candles of its trials, bytes."""
        return self.trials.candle_bytes()

    def _rebuilder(self, result: Proposals) -> Callable[[], Proposals]:
        bare = result.with_results(lambda each: each.run_record.rebuilder(exchange=with_weak_source(self.exchange)))
        return lambda: bare.with_results(lambda make: Result(make()))

    def _release_candles(self) -> None:
        super()._release_candles()
        self.trials.release_candles()
        self._study = self._inner = None

    @property
    def progress(self) -> float:
        """Fraction of the study that is done, 0.0 to 1.0."""
        return self.processed / self.total

    def facts_so_far(self) -> list[str]:
        """Return what it is doing, as short texts."""
        answered = [f"{self._streamed:,} characters so far"] if self._streamed else []
        return [*(step.text[:140] for step in self._steps[-1:]), *answered]

    def ending(self) -> str:
        """Return its outcome in one sentence."""
        proposals = self.result()
        return (f"{proposals.problem.splitlines()[0]}; " if proposals.problem else "") + proposals.summary

    @property
    def stopping(self) -> str:
        """``""``, ``"entries"`` once it asks for no further draft, ``"now"`` once it ends as soon as possible."""
        return self._stopping

    def stop(self, *, now: bool = False) -> None:
        """Ask for no further draft; ``now`` also ends the question or trial in progress."""
        if self._study is not None:
            self._study.stop()
        self._stopping = "now" if now else (self._stopping or "entries")
        if now and self._loop is not None and self._inner is not None and not self.done:
            self._loop.call_soon_threadsafe(self._inner.cancel)


def _exchange(spec: OptimizerSpec) -> Exchange:
    if spec.exchange is not None:
        return resolve_exchange(spec.exchange)
    own = list(registry.exchanges.items)
    if len(own) > 1:
        raise UsageError(
            f"several exchanges are registered: {', '.join(own)}\n"
            f"say which one: bknb.add_optimizer({spec.name!r}, ..., exchange={own[0]!r})"
        )
    return resolve_exchange(own[0] if own else "demo")


def _facts(settings: Settings, lead_days: int, base: str) -> dict[str, Any]:
    """Return the rules of this run that the prompt states; a position over longer bars may last some of them."""
    advice = settings.advice()
    if settings.max_signal_lifetime_minutes is None:
        advice["max_minutes"] = max(advice["max_minutes"], _LONGEST_BARS * interval_ms(base) // MINUTE_MS)
    if not (intervals := intervals_of(base)):
        raise UsageError(f"rules are written for bars of up to a day, and these are {base} bars\ntake daily bars")
    return {**advice, "most_days": lead_days, "intervals": " ".join(intervals)}


def _call(spec: OptimizerSpec, name: str, *values: object) -> None:
    function = spec.callbacks.get(name)
    if function is None:
        return
    try:
        function(*values)
    except Exception as error:  # noqa: BLE001 -- a callback never costs a study its result
        subjects.error.emit(messages.error_of(error, "callback", strategy=spec.name))


TASKS: Final[TaskList[OptimizerTask]] = TaskList("study")


def _studied(symbol: str, optimizer: str) -> OptimizerTask:
    """The task of a study that is over; run as by ``Optimizer.get_data``."""
    Optimizer.get_data(symbol, optimizer)
    return TASKS.get(symbol, optimizer)


class Optimizer:
    """Studies of registered optimizers: run them, and get their proposals.

    A study runs once for a symbol; ``get_data`` starts it when it has not run yet. Nothing it proposes is executed in
    this process: drafts are tried in one of their own, and cells are only written.

    Examples
    --------
    >>> import bknb
    >>> _ = bknb.add_optimizer("none", sources=["1h"], range_train=["2024-01-01:2024-01-02"],
    ...                        range_test="2024-01-03:2024-01-04", tries=1, ledger=None,
    ...                        model=bknb.llm.recorded(["I would rather not."]))
    >>> proposals = bknb.Optimizer.get_data("BTCUSDT", "none")
    >>> len(proposals), proposals.attempts[0].status
    (0, 'refused')
    """

    @staticmethod
    async def run(symbol: str, optimizer: str) -> AsyncIterator[Step]:
        """Yield the steps of a study as they happen; leaving the loop early stops it."""
        async with aclosing(TASKS.add(OptimizerTask(symbol, get_optimizer(optimizer))).follow()) as steps:
            async for step in steps:
                yield step

    @staticmethod
    def background(symbol: str, optimizer: str) -> OptimizerTask:
        """Start a study and return its task at once; a running one is returned."""
        spec = get_optimizer(optimizer)
        running = TASKS.running(symbol, optimizer, lambda known: known.spec is spec)
        return running or TASKS.start(OptimizerTask(symbol, spec))

    @staticmethod
    def stop(symbol: str, optimizer: str, *, now: bool = False) -> None:
        """Stop all running studies of that optimizer on that symbol; see ``OptimizerTask.stop``."""
        TASKS.stop(symbol, optimizer, now=now)

    @staticmethod
    def list() -> list[OptimizerTask]:
        """All that run, and the last study of every symbol and optimizer."""
        return TASKS.all()

    @staticmethod
    def get_data(symbol: str, optimizer: str, *, again: bool = False) -> Proposals:
        """Return the proposals; runs the study when it has not run, or failed, or ``again``."""
        known, spec = TASKS.find(symbol, optimizer), get_optimizer(optimizer)
        if known is None or again or known.status == "rejected" or known.spec is not spec:
            known = Optimizer.background(symbol, optimizer)
        return known.wait_or_stop()

    @staticmethod
    def get_code(symbol: str, optimizer: str) -> str:
        """Return everything as one Python program: exchange, frames, strategies and a walker on the test range."""
        text = proposal_as_cells.program(cells_of_notebook(_studied(symbol, optimizer), folder=None))
        _call(get_optimizer(optimizer), "on_code", symbol, text)
        return text

    @staticmethod
    def dump(symbol: str, optimizer: str, path: str | Path = "./dump/optimizer") -> Path:
        """Write a notebook that runs from top to bottom, and return its path.

        Where the exchange cannot be written down as code, the candles are written beside the notebook.
        """
        from ..stores.atomic import as_path

        folder, task = as_path(path), _studied(symbol, optimizer)
        made = proposal_as_cells.notebook(cells_of_notebook(task, folder=folder), provenance=provenance(task))
        where = write_notebook(folder, (optimizer, symbol), made)
        _call(get_optimizer(optimizer), "on_dump", symbol, where)
        return where

    @staticmethod
    def cells(symbol: str, optimizer: str, path: str | Path = "./dump/optimizer") -> Any:
        """Write the notebook file, and show the proposals as a card whose buttons insert them as cells.

        The card appears in JupyterLab and Notebook 7; elsewhere the path of the file is shown. Nothing is run.

        Returns
        -------
        ProposalCells
            It shows itself; ``.path``, ``.cells``.
        """
        proposals = Optimizer.get_data(symbol, optimizer)
        where = Optimizer.dump(symbol, optimizer, path)
        return ProposalCells(proposals, path=where, cells=cells_to_insert(_studied(symbol, optimizer)))
