"""Contract suite for language models, to run against your own.

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
"""JSON Schema the contract asks a model to answer in."""

QUESTION = (
    {"role": "system", "content": "Answer with one JSON object."},
    {"role": "user", "content": "Is one more than zero?"},
)


class ModelContract:
    """Contract tests of a language model: subclass it and override :meth:`make`; a real model gets a few requests.

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
        """The pieces after the last ``retry`` are the reply; their kinds are text, thinking and retry."""
        pieces: list[tuple[str, str]] = []
        reply = asyncio.run(
            self.make().chat(QUESTION, schema=SCHEMA, seed=1, on_text=lambda kind, piece: pieces.append((kind, piece)))
        )
        strange = {kind for kind, _ in pieces} - {"text", "thinking", "retry"}
        _must(not strange, f"on_text is called with text, thinking and retry, not {strange}")
        last = max((at for at, (kind, _) in enumerate(pieces) if kind == "retry"), default=-1)
        text = "".join(piece for kind, piece in pieces[last + 1 :] if kind == "text")
        _must(text == reply.text, f"on_text got {text!r:.80}, the reply is {reply.text!r:.80}")

    def test_it_leaves_the_conversation_alone(self) -> None:
        """It does not change the messages it gets."""
        messages = [dict(message) for message in QUESTION]
        asyncio.run(self.make().chat(messages, schema=SCHEMA, seed=1))
        _must(messages == [dict(message) for message in QUESTION], "the messages were changed")

    def test_it_can_be_asked_from_one_loop_after_another(self) -> None:
        """It can be used from more than one event loop."""
        model = self.make()
        for _ in range(2):
            _must(bool(asyncio.run(model.chat(QUESTION, schema=SCHEMA, seed=1)).text), "no answer")


def _must(holds: bool, otherwise: str) -> None:  # noqa: FBT001 -- a condition and the text of its failure
    if not holds:
        raise AssertionError(otherwise)
