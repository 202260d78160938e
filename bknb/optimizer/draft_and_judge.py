"""A study: show the data of a range, ask, check, send back objections, run, and collect proposals."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from ..errors import ModelError
from ..llm.structured import Objection, schema_of
from ..llm.tables import count_tokens
from ..ports import Model, ModelReply
from .drafts_verdicts_and_proposals import Attempt, Draft, Findings, Proposal, RunTrial, Status, Step, Task, Verdict
from .lint import Linted, lint
from .prompt import Message, Range, Shown, fill, pair
from .reply import Reply, read_reply
from .shown_data_pages import read_rows

SCHEMA: Final = schema_of(Reply)


class Study:
    """One run of an optimizer over its training ranges.

    Parameters
    ----------
    task
        The ranges, sources and limits of the study.
    model
        The model that is asked.
    run_trial
        Runs a draft in a sandbox.
    save
        Called with every attempt as soon as it is over; writes the ledger.
    emit
        Called with every step.
    now
        The present, UTC ms; for the ledger only.
    exchange
        Passed to sources with a parameter ``exchange``.
    on_rows
        Called with ``(symbol, source, rows, start, end)`` when a source was read.
    """

    def __init__(
        self,
        task: Task,
        *,
        model: Model,
        run_trial: RunTrial,
        save: Callable[[Attempt], object],
        emit: Callable[[Step], object],
        now: Callable[[], int],
        exchange: Any = None,
        on_rows: Callable[..., object] | None = None,
    ) -> None:
        self.task = task
        self.model = model
        self.findings = Findings()
        self._run_trial = run_trial
        self._save = save
        self._emit_step = emit
        self._now = now
        self._exchange = exchange
        self._on_rows = on_rows
        self._processed = 0
        self._leave = False

    @property
    def _total(self) -> int:
        return len(self.task.train) * (len(self.task.sources) + self.task.drafts)

    def stop(self) -> None:
        """Start no further draft; from any thread."""
        self._leave = True

    def _emit(self, kind: Any, text: str) -> None:
        self._emit_step(Step(kind=kind, text=text, processed=self._processed, total=self._total))

    async def run(self) -> Findings:
        """Return the findings after all training ranges; ``findings`` holds them in the meantime.

        Raises
        ------
        ModelError
            When the model fails before anything was proposed; later failures end the study and are noted.
        DataError
            When a source fails.
        """
        try:
            for at, range_ in enumerate(self.task.train, 1):
                messages = await self._conversation(range_)
                for number in range(1, self.task.drafts + 1):
                    if self._leave:
                        break
                    name = f"{self.task.optimizer}-{at}" + (f"-{number}" if self.task.drafts > 1 else "")
                    await self._draft(name, range_, messages, number=number)
                    self._processed += 1
        except ModelError as error:
            if not self.findings.proposals:
                raise
            self.findings.end_early(str(error))
        self._processed = self._processed if self._leave or self.findings.problem else self._total
        self._emit("end", f"{len(self.findings.proposals)} proposals from {len(self.findings.attempts)} answers")
        return self.findings

    # --- showing ------------------------------------------------------------------------------------------------

    async def _conversation(self, range_: Range) -> list[Message]:
        task = self.task
        messages = [{"role": "system", "content": fill(task.templates, "system", symbol=task.symbol, facts=task.facts)}]
        left = task.tokens - count_tokens(messages[0]["content"])
        shown: list[Shown] = []
        start, end = (datetime.fromtimestamp(when / 1000, UTC) for when in (range_.start, range_.end))
        for at, source in enumerate(task.sources):
            self._emit("source", f"reading {source.name} of {range_}")
            rows = await read_rows(source, symbol=task.symbol, start=start, end=end, exchange=self._exchange)
            if self._on_rows is not None:
                self._on_rows(task.symbol, source.name, rows, start, end)
            budget = max(left // (len(task.sources) - at), 0)
            pair_messages, cost = pair(task.templates, source, rows, symbol=task.symbol, range=range_, budget=budget)
            messages += pair_messages
            shown.append(cost)
            left -= cost.tokens
            self._processed += 1
            self.findings.rows[str(range_), source.name] = rows
        self.findings.shown[str(range_)] = shown
        self.findings.conversations[str(range_)] = list(messages)
        return messages

    # --- asking -------------------------------------------------------------------------------------------------

    async def _draft(self, name: str, range_: Range, messages: Sequence[Message], *, number: int) -> None:
        """Ask for one strategy, and again with the objections when it is refused."""
        task = self.task
        proposed = [proposal.draft.title for proposal in self.findings.proposals if proposal.draft.title]
        words = fill(task.templates, "request", symbol=task.symbol, range=range_, number=number, proposed=proposed)
        talk = [*messages, {"role": "user", "content": words}]
        seed = None if task.seed is None else task.seed + len(self.findings.attempts)
        for try_ in range(1, task.tries + 1):
            self._emit("ask", f"{name}: asking {self.model.name}, try {try_} of {task.tries}")
            reply = await self.model.chat(talk, schema=SCHEMA, seed=seed, on_text=self._emit)
            objections = await self._judge(name, range_, talk, reply, seed=seed, try_=try_)
            if not objections:
                break
            self._emit("refused", f"{name}: " + "; ".join(map(str, objections[:3])))
            if try_ == task.tries:
                self._emit("given up", f"{name}: no usable answer in {task.tries} tries")
                break
            back = fill(task.templates, "refusal", objections=objections, left=task.tries - try_)
            talk = [*talk, {"role": "assistant", "content": reply.text[:20_000]}, {"role": "user", "content": back}]
        self.findings.conversations[str(range_)] = [
            *talk,
            {"role": "assistant", "content": reply.text, "thinking": reply.thinking},
        ]

    async def _judge(
        self,
        name: str,
        range_: Range,
        talk: list[Message],
        reply: ModelReply,
        *,
        seed: int | None,
        try_: int,
    ) -> Sequence[Objection]:
        """Check an answer, run it when it passes, and save the attempt; returns the objections."""
        read = read_reply(reply.text)
        linted, draft = None, None
        if isinstance(read, Reply):
            linted = lint(read.code, parameters=read.parameters)
            objections: Sequence[Objection] = [*linted.objections, *self._seen_before(linted)]
            draft = _draft(name, read, linted)
        else:
            objections = read
        status: Status = "refused"
        train, test = Verdict(), Verdict()
        if draft is not None and not objections:
            self._emit("trial", f"{name}: trying it out on {range_}")
            train = await self._run_trial(draft, range_, look_ahead=True)
            objections, status = train.objections, "failed"
            if not objections:
                self._emit("trial", f"{name}: once on the test range {self.task.test}")
                test = await self._run_trial(draft, self.task.test, look_ahead=False)
                status = "proposed"
                self.findings.proposals.append(Proposal(draft=draft, range=range_, train=train, test=test))
        code = linted.code if linted is not None else ""
        attempt = Attempt(
            number=len(self.findings.attempts) + 1,
            optimizer=self.task.optimizer,
            symbol=self.task.symbol,
            draft=name,
            range=range_,
            test=self.task.test,
            try_=try_,
            model=reply.model or self.model.name,
            seed=seed,
            messages=list(talk),
            reply=reply.text,
            thinking=reply.thinking,
            tokens_in=reply.tokens_in,
            tokens_out=reply.tokens_out,
            tokens_counted=sum(count_tokens(message["content"]) for message in talk),
            status=status,
            objections=[str(objection) for objection in objections],
            code=code,
            code_sha256=hashlib.sha256(code.encode()).hexdigest() if code else "",
            train=dict(train.figures),
            trial=dict(test.figures),
            data_sha256={
                str(where): verdict.data_sha256
                for where, verdict in ((range_, train), (self.task.test, test))
                if verdict.data_sha256
            },
            at=self._now(),
        )
        self.findings.attempts.append(attempt)
        self._save(attempt)
        if status == "proposed":
            self._emit("proposed", f"{name}: {read.title if isinstance(read, Reply) else ''}")
        return objections

    def _seen_before(self, linted: Linted) -> list[Objection]:
        """Return an objection when the code repeats an earlier proposal."""
        if linted.objections:
            return []
        shape = ast.dump(ast.parse(linted.code))
        for proposal in self.findings.proposals:
            if ast.dump(ast.parse(proposal.draft.code)) == shape:
                text = f"this is the code of {proposal.draft.name} ({proposal.draft.title}) again; propose another idea"
                return [Objection(code="repeated", text=text)]
        return []


def _draft(name: str, reply: Reply, linted: Linted) -> Draft:
    return Draft(
        name=name,
        title=plain(reply.title)[:80] or name,
        rationale=plain(reply.rationale),
        interval=reply.interval,
        parameters=tuple(reply.parameters),
        code=linted.code,
        imports=linted.imports,
    )


def plain(text: str) -> str:
    r"""Return a model's words without control characters.

    Examples
    --------
    >>> plain("buy\x1b[31m low")
    'buy [31m low'
    """
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text).strip()
