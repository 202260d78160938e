"""The contract every language model keeps, as a suite to run against your own.

In pytest, subclass :class:`ModelContract`.
"""

from __future__ import annotations

import asyncio
import inspect

from ..ports import Model, ModelReply

SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": ["yes", "no"]}},
    "required": ["answer"],
    "additionalProperties": False,
}
"""What the model is asked to answer in."""

QUESTION = (
    {"role": "system", "content": "Answer with one JSON object."},
    {"role": "user", "content": "Is one more than zero?"},
)


class ModelContract:
    """Subclass it and override :meth:`make`; the model may be a real one, and is asked a few times.

    Examples
    --------
    >>> from bknb.llm.recordings import RecordedModel
    >>> class TestMine(ModelContract):
    ...     def make(self):
    ...         return RecordedModel(['{"answer": "yes"}'] * 9)
    >>> TestMine().test_it_answers_in_the_schema()
    """

    def make(self) -> Model:
        """A model that can be asked at least once."""
        raise NotImplementedError

    def test_it_is_a_model(self) -> None:
        """It has a name and an asynchronous ``chat``."""
        model = self.make()
        _must(isinstance(model, Model), f"{type(model).__name__} lacks a part of bknb.ports.Model")
        _must(bool(model.name), "name must not be empty")
        _must(inspect.iscoroutinefunction(model.chat), "chat must be a coroutine function")

    def test_it_answers_in_the_schema(self) -> None:
        """The text of the reply is the JSON that was asked for."""
        import json

        reply = asyncio.run(self.make().chat(QUESTION, schema=SCHEMA, seed=1))
        _must(isinstance(reply, ModelReply), f"chat must return ModelReply, got {type(reply).__name__}")
        _must(json.loads(reply.text)["answer"] in ("yes", "no"), f"not in the schema: {reply.text!r:.80}")
        for count in (reply.tokens_in, reply.tokens_out):
            _must(count is None or count >= 0, f"tokens are a number of at least 0 or None, got {count!r}")

    def test_it_tells_the_text_as_it_comes(self) -> None:
        """The pieces after the last ``retry`` are the reply; nothing but text, thinking and retry is told."""
        heard: list[tuple[str, str]] = []
        reply = asyncio.run(
            self.make().chat(QUESTION, schema=SCHEMA, seed=1, on_text=lambda kind, piece: heard.append((kind, piece)))
        )
        strange = {kind for kind, _ in heard} - {"text", "thinking", "retry"}
        _must(not strange, f"on_text is told text, thinking and retry, not {strange}")
        last = max((at for at, (kind, _) in enumerate(heard) if kind == "retry"), default=-1)
        told = "".join(piece for kind, piece in heard[last + 1 :] if kind == "text")
        _must(told == reply.text, f"told {told!r:.80}, replied {reply.text!r:.80}")

    def test_it_leaves_the_conversation_alone(self) -> None:
        """What it was given is not changed."""
        messages = [dict(message) for message in QUESTION]
        asyncio.run(self.make().chat(messages, schema=SCHEMA, seed=1))
        _must(messages == [dict(message) for message in QUESTION], "the messages were changed")

    def test_it_can_be_asked_from_one_loop_after_another(self) -> None:
        """Nothing in it belongs to the loop that asked first."""
        model = self.make()
        for _ in range(2):
            _must(bool(asyncio.run(model.chat(QUESTION, schema=SCHEMA, seed=1)).text), "no answer")


def _must(kept: bool, otherwise: str) -> None:  # noqa: FBT001 -- a promise and what it says when it is broken
    if not kept:
        raise AssertionError(otherwise)
