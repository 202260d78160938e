"""A client of Ollama, local, on any host or in Ollama's cloud: a streamed chat with limits and retries."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from ..domain.retry_pauses import GiveUp, Patience, attempts_text
from ..errors import MissingDependency, ModelError, UsageError
from ..ports import ModelReply

CLOUD: Final = "https://ollama.com"
LOCAL: Final = "http://127.0.0.1:11434"
DEFAULT_MODEL: Final = "deepseek-v3.1:671b"

_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_REPLY: Final = 400_000  # characters; a model that repeats itself without end is stopped here


class _Retryable(Exception):  # noqa: N818 -- internal; a caller sees a ModelError
    """A failed attempt that is worth a retry."""


@dataclass(slots=True)
class _PartialReply:
    """The part of a reply that has arrived so far."""

    text: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    length: int = 0
    done: bool = False
    reason: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None

    def add(self, thinking: str, text: str) -> None:
        """Append the thinking and the text of one streamed part."""
        if thinking:
            self.thinking.append(thinking)
        if text:
            self.text.append(text)
        self.length += len(thinking) + len(text)

    def finish(self, reason: str | None, *, tokens_in: int | None, tokens_out: int | None) -> None:
        """Record why the reply ended, and the numbers of tokens."""
        self.done, self.reason = True, reason
        self.tokens_in, self.tokens_out = tokens_in, tokens_out


class OllamaModel:
    """A language model served by Ollama.

    Parameters
    ----------
    name
        Any model the host knows. By default ``deepseek-v3.1:671b``.
    host
        ``None``: Ollama's cloud for ``deepseek-v3.1:671b`` and every name that ends in ``-cloud``, else
        ``OLLAMA_HOST``, else this machine.
    key
        Sent as a bearer token. ``None``: ``OLLAMA_API_KEY``, and only to Ollama's own cloud.
    think
        ``True``, ``False``, ``"low"``, ``"medium"``, ``"high"``; ``None`` leaves it to the model.
    timeout_seconds
        For one attempt, from the request to the end of the reply, seconds.
    silence_seconds
        A reply that pauses longer than this counts as failed.
    retries
        Further attempts when the host is busy (429, 5xx), cannot be reached, falls silent, or breaks off.
    options
        Further options of Ollama, such as ``{"temperature": 0.2}``. ``num_ctx`` is chosen so that the conversation
        fits, except in the cloud, which gives every model its whole context.
    sleep
        How to wait between two attempts; takes seconds.

    Examples
    --------
    >>> OllamaModel("qwen3:8b", host="http://127.0.0.1:11434").name
    'qwen3:8b'
    """

    def __init__(
        self,
        name: str = DEFAULT_MODEL,
        *,
        host: str | None = None,
        key: str | None = None,
        think: bool | str | None = None,
        timeout_seconds: float = 600.0,
        silence_seconds: float = 120.0,
        retries: int = 3,
        options: Mapping[str, Any] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        given: object = name
        if not (isinstance(given, str) and given.strip()):
            raise UsageError(f"the name of a model must be a non-empty text such as {DEFAULT_MODEL!r}, got {name!r}")
        if timeout_seconds <= 0 or silence_seconds <= 0 or retries < 0:
            raise UsageError("timeout_seconds and silence_seconds must be above 0, retries at least 0")
        self.name = name
        in_cloud = name == DEFAULT_MODEL or name.endswith("-cloud")
        self.host = host or (CLOUD if in_cloud else os.environ.get("OLLAMA_HOST") or LOCAL)
        self.think = think
        self.timeout_seconds = timeout_seconds
        self.silence_seconds = silence_seconds
        self.retries = retries
        self.options = dict(options or {})
        self._key = key
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"OllamaModel({self.name!r}, host={self.host!r})"

    async def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any] | None = None,
        seed: int | None = None,
        on_text: Callable[[str, str], object] | None = None,
    ) -> ModelReply:
        """Answer a conversation; see :class:`bknb.ports.Model`."""
        report = on_text or _ignore
        policy = Patience(attempts=self.retries + 1, first_pause_ms=1000, longest_pause_ms=30_000)
        attempt = 0
        while True:
            attempt += 1
            try:
                partial = await self._once(messages, schema=schema, seed=seed, report=report)
            except _Retryable as problem:
                pause = policy.after(attempt)
                if isinstance(pause, GiveUp):
                    tried = attempts_text(attempt)
                    raise ModelError(
                        f"{self.name} at {self.host} gave no complete answer in {tried}; the last one: {problem}\n"
                        "ask again later, raise timeout_seconds or retries, or use another model"
                    ) from None
                report("retry", f"{problem}; attempt {attempt + 1} of {policy.attempts} follows")
                await self._sleep(pause / 1000)
            else:
                return ModelReply(
                    text="".join(partial.text),
                    thinking="".join(partial.thinking),
                    model=self.name,
                    tokens_in=partial.tokens_in,
                    tokens_out=partial.tokens_out,
                )

    # --- one attempt --------------------------------------------------------------------------------------------

    async def _once(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any] | None,
        seed: int | None,
        report: Callable[[str, str], object],
    ) -> _PartialReply:
        client = self._client()
        partial = _PartialReply()
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await self._stream(client, partial, messages, schema=schema, seed=seed, report=report)
        except TimeoutError:
            raise _Retryable(f"no end after {self.timeout_seconds:g} s") from None
        except (ModelError, _Retryable):
            raise
        except Exception as error:  # noqa: BLE001 -- whatever the client raises is explained
            raise self._explained(error) from None
        finally:
            await client.close()
        if partial.reason == "length":
            raise ModelError(
                f"{self.name} was cut off: its answer did not fit into the context it was given\n"
                "lower the token budget, or raise it: bknb.llm.ollama(..., options={'num_ctx': 65536})"
            )
        if not partial.done:
            raise _Retryable("the answer broke off in the middle")
        return partial

    def _client(self) -> Any:
        try:
            import httpx
            import ollama
        except ImportError:
            raise MissingDependency("ollama", purpose="asking a model behind Ollama", extra="ollama") from None
        limits = httpx.Timeout(self.silence_seconds, connect=min(15.0, self.silence_seconds))
        return ollama.AsyncClient(host=self.host, timeout=limits, headers=self._headers())

    def _context_size(self, messages: Sequence[Mapping[str, str]]) -> dict[str, int]:
        """The option ``num_ctx`` that holds messages and reply: Ollama would silently cut the beginning otherwise."""
        if self.host == CLOUD:
            return {}
        letters = sum(len(message["content"]) for message in messages)
        return {"num_ctx": 4096 * (2 + letters // (2 * 4096))}

    def _headers(self) -> dict[str, str]:
        known = os.environ.get("OLLAMA_API_KEY")
        is_cloud = (urlsplit(self.host).hostname or "").removeprefix("www.") == "ollama.com"
        key = self._key or (known if is_cloud else None)
        if key:
            return {"authorization": f"Bearer {key}"}
        # The client would add the key of Ollama's cloud to requests for any host; no other host may see it.
        return {"authorization": "none"} if known else {}

    async def _stream(
        self,
        client: Any,
        partial: _PartialReply,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any] | None,
        seed: int | None,
        report: Callable[[str, str], object],
    ) -> None:
        options = {**self._context_size(messages), **self.options, **({} if seed is None else {"seed": seed})}
        parts = await client.chat(
            model=self.name,
            messages=[dict(message) for message in messages],
            stream=True,
            think=self.think,
            format=None if schema is None else dict(schema),
            options=options or None,
        )
        async for part in parts:
            thinking, text = part.message.thinking or "", part.message.content or ""
            partial.add(thinking, text)
            for kind, piece in (("thinking", thinking), ("text", text)):
                if piece:
                    report(kind, piece)
            if partial.length > _LONGEST_REPLY:
                raise ModelError(
                    f"{self.name} wrote more than {_LONGEST_REPLY:,} characters and was stopped\nuse another model"
                )
            if part.done:
                partial.finish(part.done_reason, tokens_in=part.prompt_eval_count, tokens_out=part.eval_count)

    # --- what went wrong ----------------------------------------------------------------------------------------

    def _explained(self, error: Exception) -> Exception:
        """The error to raise for an error of the client: one to retry, or one for the user."""
        import httpx
        import ollama

        match error:
            case ollama.ResponseError():
                return self._refused(error.status_code, str(error.error).strip()[:200])
            case httpx.TimeoutException():
                return _Retryable(f"silent for {self.silence_seconds:g} s")
            case ConnectionError() | httpx.ConnectError():
                return _Retryable("the host cannot be reached; is Ollama running there?")
            case httpx.InvalidURL() | httpx.UnsupportedProtocol():
                return UsageError(f"{self.host!r} is not the address of an Ollama host; expected such as {LOCAL}")
            case httpx.TransportError():
                return _Retryable("the answer broke off in the middle")
            case json.JSONDecodeError() | UnicodeDecodeError():
                return _Retryable("the host sent something that is not Ollama's protocol")
            case ValueError() | TypeError() | AttributeError():  # pieces that are JSON, but not of a chat
                return _Retryable("the host sent something that is not Ollama's protocol")
            case _:
                return ModelError(f"{self.name} at {self.host} failed: {type(error).__name__}: {error}")

    def _refused(self, status: int, reason: str) -> Exception:
        if status in (401, 403):
            has = "the key was refused" if self._key or os.environ.get("OLLAMA_API_KEY") else "it needs a key"
            return ModelError(
                f"{self.host} does not let us in ({status}): {has}\n"
                "set OLLAMA_API_KEY, or pass key=...; a local model needs none: bknb.llm.ollama('qwen3:8b')"
            )
        if status == 404:
            return ModelError(f"{self.host} has no model {self.name!r}: {reason}\nget it with: ollama pull {self.name}")
        if status in _BUSY:
            return _Retryable(f"{'too many requests' if status == 429 else 'the host failed'} ({status}): {reason}")
        if status == -1:  # an error that came in the middle of the stream
            return _Retryable(f"the host gave up in the middle: {reason}")
        return ModelError(f"{self.host} refused the request ({status}): {reason}")


def _ignore(_kind: str, _piece: str) -> None:
    return None
