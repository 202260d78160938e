"""What a study is given and makes: its task, drafts, verdicts, attempts, proposals, steps and findings."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec

from ..llm.structured import Objection
from .prompt import DEFAULT, Message, Range, Shown, Template
from .reply import Parameter
from .shown_data_pages import Source

Status = Literal["refused", "failed", "proposed"]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of a model and its outcome; a line of the ledger.

    Parameters
    ----------
    number
        Counted from 1 within a study.
    optimizer, symbol, draft
        Names; ``draft`` is the name the strategy gets if it passes.
    range, test
        The training range whose data were shown, and the range the result is measured on.
    try_
        1 for the first answer to a request, more for corrections.
    model, seed, messages, reply, thinking
        The question and the answer, word for word.
    tokens_in, tokens_out, tokens_counted
        As the model counts them, and what was counted before asking.
    status
        ``"refused"`` by the checks, ``"failed"`` in the trial, ``"proposed"``.
    objections
        Why it was not taken.
    code, code_sha256
        The code that was checked, without comments.
    train, trial
        Figures of the training range and of the test range.
    data_sha256
        Range -> SHA-256 of the candles it was tried on.
    at
        When the answer was there, UTC ms.
    """

    number: int
    optimizer: str
    symbol: str
    draft: str
    range: Range
    test: Range
    try_: int
    model: str
    seed: int | None
    messages: list[Message]
    reply: str
    thinking: str
    tokens_in: int | None
    tokens_out: int | None
    tokens_counted: int
    status: Status
    objections: list[str]
    code: str
    code_sha256: str
    train: dict[str, float | None]
    trial: dict[str, float | None]
    data_sha256: dict[str, str]
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A strategy that passed the static checks."""

    name: str
    title: str
    rationale: str
    interval: str
    parameters: tuple[Parameter, ...]
    code: str
    imports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome of a trial on one range.

    Attributes
    ----------
    objections : tuple of Objection
        Why the draft is not taken; empty when it ran well.
    result : object
        The result of the run, where there is one.
    figures : mapping
        The figures that go into the ledger.
    data_sha256 : str
    enforced_limits : tuple of str
        Which limits held.
    """

    objections: tuple[Objection, ...] = ()
    result: Any = None
    figures: Mapping[str, float | None] = field(default_factory=dict)
    data_sha256: str = ""
    enforced_limits: tuple[str, ...] = ()


class RunTrial(Protocol):
    """Runs a draft on a range, in a sandbox."""

    def __call__(self, draft: Draft, range_: Range, /, *, look_ahead: bool) -> Awaitable[Verdict]:
        """Return the verdict of the draft on the range."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A strategy that passed every check.

    Attributes
    ----------
    draft : Draft
    range : Range
        The training range it was made from.
    train, test : Verdict
    """

    draft: Draft
    range: Range
    train: Verdict
    test: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of a study, for progress and for the conversation on screen."""

    kind: Literal["source", "ask", "thinking", "text", "retry", "refused", "trial", "proposed", "given up", "end"]
    text: str
    processed: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The ranges, sources and limits of a study."""

    optimizer: str
    symbol: str
    sources: tuple[Source, ...]
    train: tuple[Range, ...]
    test: Range
    facts: Mapping[str, Any]
    drafts: int = 1
    tries: int = 3
    tokens: int = 24_000
    seed: int | None = 1
    templates: Mapping[str, Template] = field(default_factory=lambda: dict(DEFAULT))


@dataclass(slots=True)
class Findings:
    """Proposals, attempts and conversations of a study so far."""

    proposals: list[Proposal] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    shown: dict[str, list[Shown]] = field(default_factory=dict)
    conversations: dict[str, list[Message]] = field(default_factory=dict)
    rows: dict[tuple[str, str], Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    problem: str = ""

    def end_early(self, problem: str) -> None:
        """Set why the study ended early; the first reason stays."""
        self.problem = self.problem or problem
