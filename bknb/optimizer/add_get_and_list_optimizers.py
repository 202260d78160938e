"""Registering optimizers: every option is checked here, before a model is asked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..domain.fills_at_stops_and_gaps import execution_model
from ..domain.whole_number import whole_number
from ..engine.registration_checks import checked_callbacks
from ..engine.registry import Table, registry
from ..engine.resolve import resolve_frame
from ..errors import ModelError, UnknownName, UsageError
from ..events.messages import error_of
from ..llm.ask import as_model
from ..ports import Model, ModelReply
from ..sandbox.process import Limits
from ..stores.atomic import as_path
from . import prompt, proposal_as_cells
from .prompt import Range
from .shown_data_pages import Source, as_source

OPTIMIZER_CALLBACKS: Final = ("on_source_data", "on_data", "on_code", "on_dump")
_TEMPLATES: Final = {**prompt.DEFAULT, **proposal_as_cells.DEFAULT}


@dataclass(frozen=True, slots=True)
class OptimizerSpec:
    """A registered optimizer: sources, ranges, model, and the limits of its trials."""

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


_registered: Final[Table[OptimizerSpec]] = registry.optimizers


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
) -> OptimizerSpec:
    """Register an optimizer and return its spec.

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
    _registered.refuse_second(name, strict=strict)
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
        model = OwnCall(get_prompt)
    elif model is not None:
        as_model(model)
    made = OptimizerSpec(
        name=name,
        sources=tuple(_source(each, at) for at, each in enumerate(_listed(sources, "sources"), 1)),
        range_train=train,
        range_test=test,
        model=model,
        exchange=exchange,
        templates=prompt.chosen(templates, _TEMPLATES),
        callbacks=checked_callbacks("optimizer", callbacks, OPTIMIZER_CALLBACKS),
        drafts=whole_number("drafts", drafts, least=1),
        tries=whole_number("tries", tries, least=1),
        tokens=whole_number("tokens", tokens, least=1),
        seed=seed,
        execution=execution_model(execution).name,
        limits=_limits(limits),
        lead_days=whole_number("lead_days", lead_days, least=1),
        ledger=None if ledger is None else as_path(ledger, "./dump/optimizer"),
    )
    return _registered.add(name, made, strict=strict)


def list_optimizers() -> list[str]:
    """Return the names of the registered optimizers, in order of registration.

    Examples
    --------
    >>> import bknb
    >>> isinstance(bknb.list_optimizers(), list)
    True
    """
    return _registered.names()


def get_optimizer(name: str) -> OptimizerSpec:
    """Return the optimizer of that name.

    Examples
    --------
    >>> import bknb
    >>> _ = bknb.add_optimizer("weekly", sources=["1h"], range_train=["2024-01-01:2024-01-08"],
    ...                        range_test="2024-01-08:2024-01-15", model="qwen3:8b")
    >>> bknb.get_optimizer("weekly").drafts
    1
    """
    return _registered.get(name)


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
        from .shown_data import candles

        return candles(given)
    return as_source(given, number=number)


def _limits(given: Mapping[str, Any] | None) -> Limits:
    values = dict(given or {})
    unknown = [name for name in values if name not in Limits.__struct_fields__]
    if unknown:
        raise UnknownName("limit", unknown[0], known=Limits.__struct_fields__)
    for name, value in values.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value <= 0:
            raise UsageError(f"the limit {name} must be a number above 0, got {value!r}")
    return Limits(**values)


class OwnCall:
    """The user's ``get_prompt`` function as a model."""

    def __init__(self, function: Callable[..., Any], *, symbol: str = "") -> None:
        if not callable(function):
            raise UsageError(f"get_prompt must be a function (symbol, messages) -> text, got {function!r:.80}")
        self.name = getattr(function, "__name__", "get_prompt")
        self.symbol = symbol
        self._function = function

    def about(self, symbol: str) -> OwnCall:
        """Return the same function for a symbol."""
        return OwnCall(self._function, symbol=symbol)

    async def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any] | None = None,  # noqa: ARG002 -- the function knows what it asks for
        seed: int | None = None,  # noqa: ARG002
        on_text: Callable[[str, str], object] | None = None,
    ) -> ModelReply:
        """Return what the function answers."""
        try:
            text = self._function(self.symbol, [dict(message) for message in messages])
            if inspect.isawaitable(text):
                text = await text
        except Exception as error:
            failed = error_of(error, "model")
            text = f"get_prompt failed: {failed.message}" + (f"\n{failed.where}" if failed.where else "")
            raise ModelError(text) from error
        if not isinstance(text, str):
            raise ModelError(f"get_prompt must return text, got {type(text).__name__}")
        if on_text is not None:
            on_text("text", text)
        return ModelReply(text=text, model=self.name)
