"""Optimizers: a language model reads the data of training ranges and proposes strategies; each is tried out first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from ..config import Settings, get_config
from ..domain.formatting import utc_text
from ..engine.registry import Exchange, registry
from ..engine.resolve import resolve_exchange
from ..errors import UsageError
from ..events import messages, subjects
from ..frontend import frontend
from ..llm.ask import as_model
from ..market.clock import SystemClock
from ..ports import Model
from ..runs.book import TaskBook
from ..runs.result import Result
from ..runs.run_record import unheld
from ..runs.task import Task
from ..user_code import where_it_failed
from ..version import __version__
from . import cells, prompt
from .attempt_ledger import AttemptBook
from .proposals import Proposals
from .registration import Assignment, OwnCall, get_optimizer
from .study import Attempt, Step, Study
from .study import Task as Work
from .trial import Bench


class OptimizerTask(Task[Proposals, Step]):
    """A study in the background; ``progress`` counts sources that were read and drafts that are done."""

    kind = "optimizer"

    def __init__(self, symbol: str, assignment: Assignment) -> None:
        given: object = symbol
        if not (isinstance(given, str) and given):
            raise UsageError(f"symbol must be a non-empty text such as 'BTCUSDT', got {symbol!r}")
        super().__init__(symbol, assignment.name)
        self.assignment = assignment
        self.exchange: Exchange = _exchange(assignment)
        self.settings: Settings = get_config()
        model = as_model(assignment.model)
        self.model: Model = model.about(symbol) if isinstance(model, OwnCall) else model
        self.said: list[Step] = []
        self.processed = 0
        self._streamed = 0  # characters of the answer that is arriving
        self.total = len(assignment.range_train) * (len(assignment.sources) + assignment.drafts)
        self._inner: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = ""
        self.bench = Bench(
            symbol=symbol,
            exchange=self.exchange,
            settings=self.settings,
            execution=assignment.execution,
            limits=assignment.limits,
            lead_days=assignment.lead_days,
        )
        self.book = None if assignment.ledger is None else AttemptBook(assignment.ledger, assignment.name, symbol)
        self._study: Study | None = Study(
            Work(
                optimizer=assignment.name,
                symbol=symbol,
                sources=assignment.sources,
                train=assignment.range_train,
                test=assignment.range_test,
                facts=_facts(self.settings, assignment.lead_days),
                drafts=assignment.drafts,
                tries=assignment.tries,
                tokens=assignment.tokens,
                seed=assignment.seed,
                templates=assignment.templates,
            ),
            model=self.model,
            try_out=self.bench,
            keep=self._keep,
            tell=self._step,
            now=SystemClock().now,
            exchange=self.exchange,
            on_rows=assignment.callbacks.get("on_source_data"),
        )

    async def _work(self) -> Proposals:
        assignment = self.assignment
        earlier = self._earlier_codes()
        self._loop = asyncio.get_running_loop()
        assert self._study is not None  # until its candles are let go  # noqa: S101
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
            optimizer=assignment.name,
            symbol=self.symbol,
            model=self.model.name,
            train=assignment.range_train,
            test=assignment.range_test,
            earlier_looks=len(earlier - {each.code_sha256 for each in findings.attempts}),
            token_budget=assignment.tokens,
        )
        _call(assignment, "on_data", self.symbol, made)
        return made

    def _earlier_codes(self) -> set[str]:
        """Codes that earlier runs tried on this very test range."""
        if self.book is None:
            return set()
        test = self.assignment.range_test
        seen: set[str] = set()
        for line in self.book.lines():
            where = line.get("test") or {}
            same = (where.get("start"), where.get("end")) == (test.start, test.end)
            if same and line.get("status") == "proposed":
                seen.add(str(line.get("code_sha256")))
        return seen

    def _keep(self, attempt: Attempt) -> None:
        if self.book is not None:
            self.book.add(attempt)

    def _step(self, step: Step) -> None:
        if step.kind in ("text", "thinking"):
            self._streamed += len(step.text)
        else:
            self.said.append(step)
            self._streamed = 0
        self.processed = step.processed
        self._hear(step)
        if step.kind in ("source", "ask", "end") and subjects.progress_optimizer.heard:
            subjects.progress_optimizer.emit(
                messages.Progress(
                    kind="optimizer",
                    **self._labels(),
                    total=step.total,
                    processed=step.processed,
                    progress=step.processed / step.total,
                )
            )

    def _announce_done(self) -> None:
        """The last step of ``progress_optimizer`` says it."""

    def _labels(self) -> messages.RunLabels:
        """Symbol, optimizer and exchange by name, as the events of the study carry them; there is no frame."""
        return messages.RunLabels(symbol=self.symbol, strategy=self.strategy, exchange=self.exchange.name, frame=None)

    def _candle_bytes(self) -> int:
        """The memory of the candles it tried drafts on, bytes."""
        return self.bench.candle_bytes()

    def _lighter(self, result: Proposals) -> Callable[[], Proposals]:
        """A function that makes the proposals again; their results read candles when they are asked for."""
        bare = result.with_results(lambda each: each.run_record.light(exchange=unheld(self.exchange)))
        return lambda: bare.with_results(lambda make: Result(make()))

    def _let_go(self) -> None:
        """Hold no candles any more, once it is over."""
        super()._let_go()
        self.bench.let_go()
        self._study = self._inner = None

    @property
    def progress(self) -> float:
        """Part of the study that is behind, 0.0 to 1.0."""
        return self.processed / self.total

    def facts_so_far(self) -> list[str]:
        """What it is doing, in a few words."""
        answered = [f"{self._streamed:,} characters so far"] if self._streamed else []
        return [*(step.text[:140] for step in self.said[-1:]), *answered]

    def ending(self) -> str:
        """What it came to, in one sentence."""
        proposals = self.result()
        return (f"{proposals.problem.splitlines()[0]}; " if proposals.problem else "") + proposals.summary

    @property
    def stopping(self) -> str:
        """``""``, ``"entries"`` once it asks for no further draft, ``"now"`` once it leaves as soon as possible."""
        return self._stopping

    def stop(self, *, now: bool = False) -> None:
        """Ask for no further draft; ``now`` also ends the question or trial that is under way."""
        if self._study is not None:
            self._study.stop()
        self._stopping = "now" if now else (self._stopping or "entries")
        if now and self._loop is not None and self._inner is not None and not self.done:
            self._loop.call_soon_threadsafe(self._inner.cancel)


def _exchange(assignment: Assignment) -> Exchange:
    if assignment.exchange is not None:
        return resolve_exchange(assignment.exchange)
    own = list(registry.exchanges.items)
    if len(own) > 1:
        raise UsageError(
            f"several exchanges are registered: {', '.join(own)}\n"
            f"say which one: bknb.add_optimizer({assignment.name!r}, ..., exchange={own[0]!r})"
        )
    return resolve_exchange(own[0] if own else "demo")


def _facts(settings: Settings, lead_days: int) -> dict[str, Any]:
    """What the model must know about the rules of this run."""
    return {
        "min_take_profit": settings.min_take_profit_distance_percent,
        "min_stop_loss": settings.min_stop_loss_distance_percent,
        "max_stop_loss": settings.max_stop_loss_distance_percent,
        "max_minutes": settings.max_signal_lifetime_minutes,
        "most_days": lead_days,
    }


def _call(assignment: Assignment, name: str, *values: object) -> None:
    function = assignment.callbacks.get(name)
    if function is None:
        return
    try:
        function(*values)
    except Exception as error:  # noqa: BLE001 -- a callback never costs a study its result
        subjects.error.emit(
            messages.ErrorEvent(
                kind="callback",
                message=f"{type(error).__name__}: {error}",
                where=where_it_failed(error),
                strategy=assignment.name,
            )
        )


BOOK: Final[TaskBook[OptimizerTask]] = TaskBook("study")


class Optimizer:
    """Studies of registered optimizers: run them, and take what they propose.

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
        """What happens in a study, as it happens; leaving the loop early stops it."""
        async with aclosing(BOOK.add(OptimizerTask(symbol, get_optimizer(optimizer))).follow()) as steps:
            async for step in steps:
                yield step

    @staticmethod
    def background(symbol: str, optimizer: str) -> OptimizerTask:
        """Start a study and return at once; one that is under way is given back."""
        assignment = get_optimizer(optimizer)
        running = BOOK.running(symbol, optimizer, lambda known: known.assignment is assignment)
        return running or BOOK.start(OptimizerTask(symbol, assignment))

    @staticmethod
    def stop(symbol: str, optimizer: str, *, now: bool = False) -> None:
        """Stop a study; see ``OptimizerTask.stop``."""
        BOOK.get(symbol, optimizer).stop(now=now)

    @staticmethod
    def list() -> list[OptimizerTask]:
        """The last study of every symbol and optimizer."""
        return BOOK.all()

    @staticmethod
    def get_data(symbol: str, optimizer: str, *, again: bool = False) -> Proposals:
        """The proposals; runs the study when it has not run (well) yet, or ``again``."""
        known, assignment = BOOK.find(symbol, optimizer), get_optimizer(optimizer)
        if known is None or again or known.status == "rejected" or known.assignment is not assignment:
            known = Optimizer.background(symbol, optimizer)
        return known.wait_or_stop()

    @staticmethod
    def get_code(symbol: str, optimizer: str) -> str:
        """Everything as one Python program: exchange, frames, strategies and a walker on the test range."""
        text = cells.program(_cells(symbol, optimizer, folder=None))
        _call(get_optimizer(optimizer), "on_code", symbol, text)
        return text

    @staticmethod
    def dump(symbol: str, optimizer: str, path: str | Path = "./dump/optimizer") -> Path:
        """Write a notebook that runs from top to bottom, and return its path.

        Where the exchange cannot be written down as code, the candles are written beside the notebook.
        """
        from .export import write_notebook

        folder = Path(path)
        made = _cells(symbol, optimizer, folder=folder)
        where = write_notebook(
            folder, (optimizer, symbol), cells.notebook(made, provenance=_provenance(symbol, optimizer))
        )
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
        return ProposalCells(proposals, path=where, cells=_insertable(symbol, optimizer))


class ProposalCells:
    """Proposals on their way into a notebook.

    Attributes
    ----------
    path : Path
        The notebook that holds everything.
    cells : list of Cell
        What the buttons insert.
    """

    def __init__(self, proposals: Proposals, *, path: Path, cells: list[cells.Cell]) -> None:
        self.proposals = proposals
        self.path = path
        self.cells = cells

    def __repr__(self) -> str:
        return f"{self.proposals!r}\nnotebook: {self.path}"

    def _ipython_display_(self) -> None:
        frontend().show_proposals(self)


# --- cells ------------------------------------------------------------------------------------------------------


def _setting(symbol: str, optimizer: str, *, exchange_code: str) -> cells.Setting:
    proposals = Optimizer.get_data(symbol, optimizer)
    return cells.Setting(
        optimizer=optimizer,
        symbol=symbol,
        exchange=BOOK.get(symbol, optimizer).exchange.name,
        exchange_code=exchange_code,
        train=proposals.train,
        test=proposals.test,
        model=proposals.model,
        summary=proposals.summary,
    )


def _ranked(symbol: str, optimizer: str) -> list[tuple[Any, str, dict[str, Any]]]:
    proposals = Optimizer.get_data(symbol, optimizer)
    made = []
    for each in proposals:
        attempt = next(a for a in proposals.attempts if a.status == "proposed" and a.draft == each.name)
        origin = {
            "model": attempt.model,
            "seed": attempt.seed,
            "attempt": attempt.number,
            "code_sha256": attempt.code_sha256,
            "data_sha256": attempt.data_sha256,
            "rank": each.rank,
        }
        made.append((each.passed, each.numbers, origin))
    return made


def _insertable(symbol: str, optimizer: str) -> list[cells.Cell]:
    setting = _setting(symbol, optimizer, exchange_code="")
    templates = BOOK.get(symbol, optimizer).assignment.templates
    frames = prompt.fill(templates, "frames_cell", setting=setting)
    first = cells.Cell(kind="code", source=frames)
    known = setting.exchange in registry.exchanges.names()  # else a backtest cell could not name it
    return [first, *cells.for_insertion(setting, _ranked(symbol, optimizer), templates, backtests=known)]


def _cells(symbol: str, optimizer: str, *, folder: Path | None) -> list[cells.Cell]:
    Optimizer.get_data(symbol, optimizer)
    task = BOOK.get(symbol, optimizer)
    code = _exchange_code(task, folder)
    setting = _setting(symbol, optimizer, exchange_code=code)
    return cells.for_notebook(setting, _ranked(symbol, optimizer), task.assignment.templates)


def _exchange_code(task: OptimizerTask, folder: Path | None) -> str:
    """How the source of candles is written in Python; where it cannot be, the candles go into a file."""
    from ..market.demo import DemoSource
    from .export import write_candles

    if isinstance(task.exchange.source, DemoSource):
        return "bknb.exchanges.demo()"
    name = f"{task.strategy}@{task.symbol}.csv.gz"
    if folder is not None:
        with ThreadPoolExecutor(1) as aside:  # a notebook's kernel has a loop of its own in this thread
            aside.submit(asyncio.run, _fetch_all(task)).result()
        name = write_candles(folder, (task.strategy, task.symbol), task.bench.together()).name
    return f'bknb.exchanges.from_csv("{name}", symbol="{task.symbol}")'


async def _fetch_all(task: OptimizerTask) -> None:
    for each in (*task.assignment.range_train, task.assignment.range_test):
        await task.bench.candles(each)


def _provenance(symbol: str, optimizer: str) -> dict[str, Any]:
    proposals = Optimizer.get_data(symbol, optimizer)
    data: dict[str, str] = {}
    for attempt in proposals.attempts:
        data |= attempt.data_sha256
    return {
        "kind": "optimizer",
        "bknb_version": __version__,
        "optimizer": optimizer,
        "symbol": symbol,
        "model": proposals.model,
        "train": [f"{utc_text(each.start)} .. {utc_text(each.end)}" for each in proposals.train],
        "test": f"{utc_text(proposals.test.start)} .. {utc_text(proposals.test.end)}",
        "answers": len(proposals.attempts),
        "looks_at_the_test_range": len(proposals) + proposals.earlier_looks,
        "tokens": dict(proposals.tokens),
        "data_sha256": data,
    }
