"""Optimizers: a language model reads the data of training ranges and proposes strategies; each is tried out first."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .adapters.attempts import AttemptBook
from .adapters.tryout import Limits
from .config import Settings, get_config
from .domain.execution import execution_model
from .domain.text import utc_text
from .engine import subjects
from .engine.asking import where_it_failed
from .engine.registry import Exchange, registry
from .engine.resolving import resolve_exchange, resolve_frame
from .errors import ModelError, UnknownName, UsageError
from .llm import as_model
from .market.clock import SystemClock
from .optimizer import cells, prompt
from .optimizer.prompt import Range
from .optimizer.sources import Source, as_source
from .optimizer.study import Attempt, Step, Study
from .optimizer.study import Task as Work
from .ports import Model, ModelReply
from .proposals import Proposals
from .tasks import Task
from .trying import Bench

OPTIMIZER_CALLBACKS: Final = ("on_source_data", "on_data", "on_code", "on_dump")
_TEMPLATES: Final = {**prompt.DEFAULT, **cells.DEFAULT}


@dataclass(frozen=True, slots=True)
class Assignment:
    """A registered optimizer: what is shown to whom, and where the answers are tried."""

    name: str
    sources: tuple[Source, ...]
    range_train: tuple[Range, ...]
    range_test: Range
    model: Model | str | None
    exchange: Any
    templates: Mapping[str, Callable[..., str]]
    callbacks: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    drafts: int = 1
    tries: int = 3
    tokens: int = 24_000
    seed: int | None = 1
    execution: str = "pessimistic"
    limits: Limits = field(default_factory=Limits)
    lead_days: int = 30
    ledger: Path | None = None


_assignments: dict[str, Assignment] = {}


def add_optimizer(
    name: str,
    *,
    sources: Iterable[object],
    range_train: Iterable[object],
    range_test: object,
    model: Model | str | None = None,
    get_prompt: Callable[..., Any] | None = None,
    templates: Mapping[str, Callable[..., str]] | None = None,
    callbacks: Mapping[str, Callable[..., Any]] | None = None,
    exchange: Any = None,
    drafts: int = 1,
    tries: int = 3,
    tokens: int = 24_000,
    seed: int | None = 1,
    execution: str = "pessimistic",
    limits: Mapping[str, Any] | None = None,
    lead_days: int = 30,
    ledger: str | Path | None = "./dump/optimizer",
    strict: bool = False,
) -> Assignment:
    """Register an optimizer.

    Parameters
    ----------
    name
        The name runs, strategies and files use.
    sources
        What the model is shown about each training range: intervals such as ``"1h"`` (candles with indicators), what
        ``bknb.sources`` makes, functions, or mappings with ``name`` and ``fetch``.
    range_train, range_test
        Stretches of time: ``(start, end)``, ``"2024-01-01:2024-01-08"``, a frame, or a mapping with ``start``, ``end``
        and perhaps ``note``. The test range must not overlap a training range.
    model
        From ``bknb.llm``, the name of a model behind Ollama, or anything with ``name`` and ``chat``. By default
        ``deepseek-v3.1:671b`` in Ollama's cloud.
    get_prompt
        ``(symbol, messages) -> text``, sync or async, in place of a model: your own call of a model.
    templates
        Texts to replace, by name: ``system``, ``user``, ``assistant``, ``request``, ``refusal``; of the cells
        ``title_cell``, ``setup_cell``, ``exchange_cell``, ``frames_cell``, ``about_cell``, ``strategy_cell``,
        ``backtest_cell``, ``walker_cell``.
    callbacks
        ``on_source_data(symbol, source, rows, start, end)``, ``on_data(symbol, proposals)``, ``on_code(symbol, code)``,
        ``on_dump(symbol, path)``.
    exchange
        Where candles come from: a name or a source. ``None``: the only exchange that is registered, or ``"demo"`` when
        none is.
    drafts, tries
        Strategies to ask for per training range, and answers the model may give to each request.
    tokens
        Budget of a conversation before the request; sources share it, the oldest rows are left out first.
    seed
        For models that can repeat themselves.
    execution
        ``"pessimistic"``, ``"touch"`` or ``"vwap"``.
    limits
        Of a trial: ``seconds`` (20) and ``memory_mb`` (1024).
    lead_days
        Days of candles before a range that strategies may look back on.
    ledger
        Folder in which every attempt is written down; tries of earlier runs count. ``None``: only in memory.
    strict
        Refuse to replace an optimizer of that name.

    Examples
    --------
    >>> import bknb
    >>> bknb.add_optimizer("ideas", sources=["1h", "15m"], range_train=["2024-01-01:2024-01-08"],
    ...                    range_test="2024-01-08:2024-01-15", model="qwen3:8b").sources[0].name
    '1h candles'
    """
    given: object = name
    if not (isinstance(given, str) and given and all(letter.isalnum() or letter in "-_." for letter in given)):
        raise UsageError(f"the name of an optimizer holds letters, digits, - _ and . only, got {name!r}")
    if name in _assignments and strict:
        raise UsageError(f"an optimizer called {name!r} exists already\nchoose another name, or leave out strict=True")
    train = tuple(_range(each, "range_train") for each in _listed(range_train, "range_train"))
    test = _range(range_test, "range_test")
    for each in train:
        if each.start < test.end and test.start < each.end:
            raise UsageError(
                f"the test range {test} overlaps the training range {each}\n"
                "a result on days the model has seen proves nothing; choose other days"
            )
    if get_prompt is not None:
        if model is not None:
            raise UsageError("model= and get_prompt= exclude each other: give one")
        model = _OwnCall(get_prompt)
    elif model is not None:
        as_model(model)
    made = Assignment(
        name=name,
        sources=tuple(_source(each, at) for at, each in enumerate(_listed(sources, "sources"), 1)),
        range_train=train,
        range_test=test,
        model=model,
        exchange=exchange,
        templates=prompt.chosen(templates, _TEMPLATES),
        callbacks=_callbacks(callbacks),
        drafts=_count(drafts, "drafts"),
        tries=_count(tries, "tries"),
        tokens=_count(tokens, "tokens"),
        seed=seed,
        execution=execution_model(execution).name,
        limits=_limits(limits),
        lead_days=_count(lead_days, "lead_days"),
        ledger=None if ledger is None else Path(ledger),
    )
    if name in _assignments:
        registry.notice(f"optimizer {name!r} replaced")
        for key in [key for key in _tasks if key[1] == name and _tasks[key].done]:
            del _tasks[key]
    _assignments[name] = made
    return made


def list_optimizers() -> list[str]:
    """Names of the registered optimizers, in order of registration.

    Examples
    --------
    >>> import bknb
    >>> isinstance(bknb.list_optimizers(), list)
    True
    """
    return list(_assignments)


def get_optimizer(name: str) -> Assignment:
    """The optimizer of that name.

    Examples
    --------
    >>> import bknb
    >>> _ = bknb.add_optimizer("weekly", sources=["1h"], range_train=["2024-01-01:2024-01-08"],
    ...                        range_test="2024-01-08:2024-01-15", model="qwen3:8b")
    >>> bknb.get_optimizer("weekly").drafts
    1
    """
    try:
        return _assignments[name]
    except KeyError:
        raise UnknownName("optimizer", name, known=_assignments) from None


# --- reading what was given -------------------------------------------------------------------------------------


def _listed(given: Iterable[object], what: str) -> list[object]:
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise UsageError(f"{what} must be a list, got {given!r:.80}")
    found = list(given)
    if not found:
        raise UsageError(f"{what} must not be empty")
    return found


def _range(given: Any, what: str) -> Range:
    note = ""
    if isinstance(given, Range):
        return given
    if isinstance(given, Mapping):
        unknown = [str(key) for key in given if key not in ("start", "end", "note")]
        if unknown or not {"start", "end"} <= set(given):
            raise UsageError(
                f"{what} as a mapping needs 'start' and 'end' and may have 'note', got {dict(given)!r:.80}"
            )
        note, given = str(given.get("note", "")), (given["start"], given["end"])
    frame = resolve_frame(given)
    if frame.end <= frame.start:
        raise UsageError(f"{what} must end after it starts, got {frame}")
    return Range(start=frame.start, end=frame.end, note=note or (frame.name or ""))


def _source(given: object, number: int) -> Source:
    if isinstance(given, str):
        from .sources import candles

        return candles(given)
    return as_source(given, number=number)


def _callbacks(given: Mapping[str, Callable[..., Any]] | None) -> dict[str, Callable[..., Any]]:
    chosen = dict(given or {})
    for name, function in chosen.items():
        if name not in OPTIMIZER_CALLBACKS:
            raise UnknownName("callback", name, known=OPTIMIZER_CALLBACKS)
        if not callable(function):
            raise UsageError(f"callback {name} of an optimizer must be a function, got {function!r:.80}")
    return chosen


def _count(given: object, what: str) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise UsageError(f"{what} must be a whole number of at least 1, got {given!r}")
    return given


def _limits(given: Mapping[str, Any] | None) -> Limits:
    values = dict(given or {})
    unknown = [name for name in values if name not in Limits.__struct_fields__]
    if unknown:
        raise UnknownName("limit", unknown[0], known=Limits.__struct_fields__)
    for name, value in values.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value <= 0:
            raise UsageError(f"the limit {name} must be a number above 0, got {value!r}")
    return Limits(**values)


class _OwnCall:
    """The user's ``get_prompt`` as a model."""

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise UsageError(f"get_prompt must be a function (symbol, messages) -> text, got {function!r:.80}")
        self.name = getattr(function, "__name__", "get_prompt")
        self.symbol = ""
        self._function = function

    async def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any] | None = None,  # noqa: ARG002 -- the function knows what it asks for
        seed: int | None = None,  # noqa: ARG002
        on_text: Callable[[str, str], object] | None = None,
    ) -> ModelReply:
        """What the function returns."""
        try:
            text = self._function(self.symbol, [dict(message) for message in messages])
            if inspect.isawaitable(text):
                text = await text
        except Exception as error:
            where = where_it_failed(error)
            said = f"get_prompt failed: {type(error).__name__}: {error}" + (f"\n{where}" if where else "")
            raise ModelError(said) from error
        if not isinstance(text, str):
            raise ModelError(f"get_prompt must return text, got {type(text).__name__}")
        if on_text is not None:
            on_text("text", text)
        return ModelReply(text=text, model=self.name)


# --- running ----------------------------------------------------------------------------------------------------


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
        self.model: Model = as_model(assignment.model)
        self.said: list[Step] = []
        self.processed = 0
        self._streamed = 0  # characters of the answer that is arriving
        self.total = len(assignment.range_train) * (len(assignment.sources) + assignment.drafts)
        if isinstance(self.model, _OwnCall):
            self.model.symbol = symbol
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
        self.study = Study(
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
        self._inner = asyncio.ensure_future(self.study.run())
        if self._stopping == "now":
            self._inner.cancel()
        try:
            findings = await self._inner
        except asyncio.CancelledError:
            findings = self.study.findings
            findings.problem = findings.problem or "stopped"
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
                subjects.Progress(
                    kind="optimizer",
                    symbol=self.symbol,
                    strategy=self.strategy,
                    exchange=self.exchange.name,
                    frame=None,
                    total=step.total,
                    processed=step.processed,
                    progress=step.processed / step.total,
                )
            )

    def _announce_done(self) -> None:
        """The last step of ``progress_optimizer`` says it."""

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
        self.study.stop()
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
            subjects.ErrorEvent(
                kind="callback",
                message=f"{type(error).__name__}: {error}",
                where=where_it_failed(error),
                strategy=assignment.name,
            )
        )


_tasks: dict[tuple[str, str], OptimizerTask] = {}


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
        task = OptimizerTask(symbol, get_optimizer(optimizer))
        _tasks[symbol, optimizer] = task
        async with aclosing(task.follow()) as steps:
            async for step in steps:
                yield step

    @staticmethod
    def background(symbol: str, optimizer: str) -> OptimizerTask:
        """Start a study and return at once; one that is under way is given back."""
        running, assignment = _tasks.get((symbol, optimizer)), get_optimizer(optimizer)
        if running is not None and running.status == "pending" and running.assignment is assignment:
            return running
        task = OptimizerTask(symbol, assignment)
        _tasks[symbol, optimizer] = task
        task.start()
        return task

    @staticmethod
    def stop(symbol: str, optimizer: str, *, now: bool = False) -> None:
        """Stop a study; see ``OptimizerTask.stop``."""
        _task(symbol, optimizer).stop(now=now)

    @staticmethod
    def list() -> list[OptimizerTask]:
        """The last study of every symbol and optimizer."""
        return [*_tasks.values()]

    @staticmethod
    def get_data(symbol: str, optimizer: str, *, again: bool = False) -> Proposals:
        """The proposals; runs the study when it has not run (well) yet, or ``again``."""
        known = _tasks.get((symbol, optimizer))
        if known is None or again or known.status == "rejected":
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
        from .adapters.generated import write_notebook

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
        from .jupyter.card import show

        show(self)


def _task(symbol: str, optimizer: str) -> OptimizerTask:
    try:
        return _tasks[symbol, optimizer]
    except KeyError:
        known = [f"{name} on {of}" for of, name in _tasks]
        raise UnknownName("study", f"{optimizer} on {symbol}", known=known) from None


# --- cells ------------------------------------------------------------------------------------------------------


def _setting(symbol: str, optimizer: str, *, exchange_code: str) -> cells.Setting:
    proposals = Optimizer.get_data(symbol, optimizer)
    return cells.Setting(
        optimizer=optimizer,
        symbol=symbol,
        exchange=_task(symbol, optimizer).exchange.name,
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
    templates = _task(symbol, optimizer).assignment.templates
    frames = prompt.fill(templates, "frames_cell", setting=setting)
    first = cells.Cell(kind="code", source=frames)
    known = setting.exchange in registry.exchanges.names()  # else a backtest cell could not name it
    return [first, *cells.for_insertion(setting, _ranked(symbol, optimizer), templates, backtests=known)]


def _cells(symbol: str, optimizer: str, *, folder: Path | None) -> list[cells.Cell]:
    Optimizer.get_data(symbol, optimizer)
    task = _task(symbol, optimizer)
    code = _exchange_code(task, folder)
    setting = _setting(symbol, optimizer, exchange_code=code)
    return cells.for_notebook(setting, _ranked(symbol, optimizer), task.assignment.templates)


def _exchange_code(task: OptimizerTask, folder: Path | None) -> str:
    """How the source of candles is written in Python; where it cannot be, the candles go into a file."""
    from .adapters.demo import DemoSource
    from .adapters.generated import write_candles

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
    from . import __version__

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
