"""Recorded replies of language models: written to a file and replayed, or cached by the request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

import msgspec

from ..errors import ModelError, UsageError
from ..ports import ModelReply
from ..stores.atomic import as_path, write_named
from ..stores.format_versions import read_json, read_version

if TYPE_CHECKING:
    from ..ports import Model

_FORMAT: Final = "bknb replies "


class Recorded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One reply in a file; ``question`` is the fingerprint of the request, empty for any request."""

    text: str
    question: str = ""
    thinking: str = ""
    model: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None

    @classmethod
    def of(cls, reply: ModelReply, question: str) -> Recorded:
        """The record of a reply to the request with that fingerprint."""
        return cls(
            text=reply.text,
            question=question,
            thinking=reply.thinking,
            model=reply.model,
            tokens_in=reply.tokens_in,
            tokens_out=reply.tokens_out,
        )

    def as_reply(self, model: str) -> ModelReply:
        """The recorded reply, under the name of a model."""
        return ModelReply(
            text=self.text,
            thinking=self.thinking,
            model=model,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
        )


class _Named(msgspec.Struct):
    format: str


class _RepliesFile(msgspec.Struct, kw_only=True):
    format: str
    replies: list[Recorded]


_READERS: Final[Mapping[int, Callable[[bytes], _RepliesFile]]] = {1: partial(msgspec.json.decode, type=_RepliesFile)}
"""Format of a file of replies -> the function that reads it."""


_ANSWERS: Final[Mapping[int, Callable[[bytes], Recorded]]] = {1: partial(msgspec.json.decode, type=Recorded)}
"""Version of a kept answer -> the function that reads it; the first is written without a number."""


def fingerprint(
    messages: Sequence[Mapping[str, str]], *, schema: Mapping[str, Any] | None, seed: int | None, model: str = ""
) -> str:
    """SHA-256 of a request, 64 hexadecimal digits; the same on every machine.

    Examples
    --------
    >>> fingerprint([{"role": "user", "content": "hello"}], schema=None, seed=1)[:8]
    '5cc46f2a'
    """
    request = {"messages": [dict(message) for message in messages], "schema": schema, "seed": seed, "model": model}
    text = json.dumps(request, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class RecordedModel:
    """A language model that replays recorded replies; offline, the same each time.

    A reply recorded for exactly this request is given first; otherwise the replies are given in order.

    Parameters
    ----------
    replies
        Path of a file that :class:`RecordingModel` wrote, or the replies themselves: texts, or mappings with
        ``text`` and perhaps ``thinking``, ``tokens_in``, ``tokens_out``.
    strict
        Give a reply only to the request it was recorded for.

    Raises
    ------
    UsageError
        When the file is not there or does not hold replies.

    Examples
    --------
    >>> import asyncio
    >>> model = RecordedModel(["yes", "no"])
    >>> [asyncio.run(model.chat([{"role": "user", "content": "?"}])).text for _ in range(2)]
    ['yes', 'no']
    """

    def __init__(self, replies: str | Path | Iterable[str | Mapping[str, Any]], *, strict: bool = False) -> None:
        if isinstance(replies, (str, Path)):
            self.source = Path(replies).name
            self._replies = _read(Path(replies))
        elif not isinstance(replies, Iterable):
            raise UsageError(f"recorded replies are the path of a file or a list of texts, got {replies!r:.80}")
        else:
            self.source = "a list"
            self._replies = [_recorded(reply) for reply in replies]
        self._strict = strict
        self._used: set[int] = set()
        known = next((reply.model for reply in self._replies if reply.model), "")
        self.name = f"{known} (recorded)" if known else "recorded"

    def __repr__(self) -> str:
        return f"RecordedModel({len(self._replies)} replies from {self.source})"

    async def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any] | None = None,
        seed: int | None = None,
        on_text: Callable[[str, str], object] | None = None,
    ) -> ModelReply:
        """The recorded reply; see :class:`bknb.ports.Model`.

        Raises
        ------
        ModelError
            When there is none (left).
        """
        reply = self._next(fingerprint(messages, schema=schema, seed=seed)).as_reply(self.name)
        if on_text is not None:
            for kind, piece in (("thinking", reply.thinking), ("text", reply.text)):
                if piece:
                    on_text(kind, piece)
        return reply

    def _next(self, question: str) -> Recorded:
        for at, reply in enumerate(self._replies):
            if reply.question == question:
                self._used.add(at)
                return reply
        if not self._strict:
            for at, reply in enumerate(self._replies):
                if at not in self._used:
                    self._used.add(at)
                    return reply
        what = "for this question" if self._strict else "left"
        raise ModelError(
            f"no recorded reply is {what}: {self.source} holds {len(self._replies)}\n"
            "record again with bknb.llm.recording(model, path), or ask a live model"
        )


class RecordingModel:
    """Passes every request on to another model and writes the replies to a file.

    Parameters
    ----------
    model
        The model that answers.
    path
        The file; replies are appended, a reply to the same request replaces the earlier one.
    """

    def __init__(self, model: Model, path: str | Path) -> None:
        self.model = model
        self.path = as_path(path)
        self.name = model.name

    async def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any] | None = None,
        seed: int | None = None,
        on_text: Callable[[str, str], object] | None = None,
    ) -> ModelReply:
        """Ask the model and write its reply to the file; see :class:`bknb.ports.Model`."""
        reply = await self.model.chat(messages, schema=schema, seed=seed, on_text=on_text)
        question = fingerprint(messages, schema=schema, seed=seed)
        known = _read(self.path) if self.path.is_file() else []
        _write(self.path, [*(old for old in known if old.question != question), Recorded.of(reply, question)])
        return reply


class AnswerFolder:
    """A cache of replies on disk by the fingerprint of the request: a folder for each model, one file for each reply.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     answers = AnswerFolder(folder)
    ...     answers.save("ab12", ModelReply(text="wait", model="qwen3:8b"))
    ...     answers.find("ab12").text, answers.find("ab12", model="llama3"), answers.models()
    ('wait', None, ['qwen3:8b'])
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = as_path(folder)

    def models(self) -> list[str]:
        """Names of the models with saved replies."""
        if not self.folder.is_dir():
            return []
        return sorted(unquote(place.name) for place in self.folder.iterdir() if place.is_dir())

    def _path(self, question: str, model: str) -> Path:
        return self.folder / (quote(model, safe=" -_+=()") or "model") / question[:2] / f"{question}.json"

    def find(self, question: str, *, model: str | None = None) -> ModelReply | None:
        """The readable reply to that request, of one model, or of the only one that answered it; else ``None``.

        Raises
        ------
        StateError
            When a newer bknb wrote it.
        ModelError
            When no model is named and several have answered it.
        """
        known = [model] if model is not None else self.models()
        found = [reply for name in known if (reply := self._read(question, name)) is not None]
        if len(found) > 1:
            names = ", ".join(reply.model for reply in found)
            raise ModelError(f"{names} have all answered this question in {self.folder}\nsay which one: model='...'")
        return found[0] if found else None

    def _read(self, question: str, model: str) -> ModelReply | None:
        path = self._path(question, model)
        try:
            saved = read_json(_ANSWERS, path.read_bytes(), what=str(path))
        except (OSError, ValueError, msgspec.MsgspecError):
            return None
        return saved.as_reply(saved.model)

    def save(self, question: str, reply: ModelReply) -> None:
        """Save a reply; whole or not at all.

        Raises
        ------
        StateError
            When a newer bknb has written one there; it is left as it is.
        UsageError
            When the disk does not take it.
        """
        self._read(question, reply.model)
        write_named(self._path(question, reply.model), msgspec.json.encode(Recorded.of(reply, question)))


def _recorded(reply: str | Mapping[str, Any]) -> Recorded:
    if isinstance(reply, str):
        return Recorded(text=reply)
    try:
        return msgspec.convert(dict(reply), Recorded)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise UsageError(f"a recorded reply is a text or a mapping with 'text', got {reply!r:.80} ({error})") from None


def _read(path: Path) -> list[Recorded]:
    try:
        content = path.read_bytes()
        name = msgspec.json.decode(content, type=_Named).format
        number = name.removeprefix(_FORMAT)
        version = int(number) if name.startswith(_FORMAT) and number.isdecimal() else name
        return read_version(_READERS, version, content, what=str(path)).replies
    except OSError:
        raise UsageError(f"no recorded replies at {path}; expected a file that bknb.llm.recording wrote") from None
    except (ValueError, msgspec.DecodeError) as error:
        raise UsageError(f"{path} does not hold recorded replies: {error}") from None


def _write(path: Path, replies: list[Recorded]) -> None:
    text = msgspec.json.format(
        msgspec.json.encode(_RepliesFile(format=f"{_FORMAT}{max(_READERS)}", replies=replies)), indent=1
    )
    write_named(path, text + b"\n")
