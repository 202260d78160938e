"""The client of Ollama against a server on the loopback interface, with correct and with faulty answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ollama_server import (
    Answer,
    Server,
    cut_off,
    dripping,
    ending_early,
    failing_midway,
    raw,
    refusing,
    saying,
    serving,
    silent,
    truncated,
)
from packages import need_packages
from quick import some_quick

import bknb
from bknb.ports import Model, ModelReply
from bknb.testing.llm import ModelContract

if TYPE_CHECKING:
    from collections.abc import Iterator

need_packages("ollama")


QUESTION = [{"role": "system", "content": "You trade."}, {"role": "user", "content": "Well?"}]
SCHEMA = {"type": "object", "properties": {"position": {"type": "string"}}, "required": ["position"]}
ANSWER = json.dumps({"position": "wait"})


@pytest.fixture(autouse=True)
def _no_keys_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OLLAMA_API_KEY", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)


async def no_pause(_: float) -> None:
    return None


def model(server: Server, **options: Any) -> Any:
    return bknb.llm.ollama("qwen3:8b", host=server.url, **{"retries": 0, "sleep": no_pause} | options)


def ask(asked: Any, **options: Any) -> ModelReply:
    reply: ModelReply = asyncio.run(asked.chat(QUESTION, **options))
    return reply


def test_a_streamed_answer_arrives_in_pieces_and_whole() -> None:
    received: list[tuple[str, str]] = []
    with serving(saying(ANSWER, thinking="The market rests.")) as server:
        reply = ask(
            model(server, think=True, options={"temperature": 0.1}),
            schema=SCHEMA,
            seed=7,
            on_text=lambda kind, piece: received.append((kind, piece)),
        )
    assert reply == ModelReply(
        text=ANSWER, thinking="The market rests.", model="qwen3:8b", tokens_in=321, tokens_out=45
    )
    assert "".join(piece for kind, piece in received if kind == "text") == ANSWER
    assert [kind for kind, _ in received].index("text") > 1  # thinking came first, in several pieces
    (asked,) = server.asked
    assert asked["path"] == "/api/chat"
    assert asked["messages"] == QUESTION
    assert asked["format"] == SCHEMA
    assert asked["think"] is True
    assert asked["stream"] is True
    assert asked["options"] == {"temperature": 0.1, "seed": 7, "num_ctx": 8192}


def test_a_long_conversation_gets_a_context_it_fits_into() -> None:
    long = [{"role": "user", "content": "12345 " * 10_000}]
    with serving(saying("x")) as server:
        asyncio.run(model(server).chat(long))
    assert server.asked[0]["options"]["num_ctx"] >= 60_000 / 2.5


def test_it_is_a_model() -> None:
    assert isinstance(bknb.llm.ollama(), Model)


def test_the_host_follows_model_name_environment_and_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bknb.llm.ollama().name == "deepseek-v3.1:671b"
    assert bknb.llm.ollama().host == "https://ollama.com"
    assert bknb.llm.ollama("gpt-oss:120b-cloud").host == "https://ollama.com"
    assert bknb.llm.ollama("qwen3:8b").host == "http://127.0.0.1:11434"
    monkeypatch.setenv("OLLAMA_HOST", "http://10.0.0.5:11434")
    assert bknb.llm.ollama("qwen3:8b").host == "http://10.0.0.5:11434"
    assert bknb.llm.ollama("qwen3:8b", host="http://there:1").host == "http://there:1"


def test_an_api_key_is_sent_only_to_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(saying("x")) as server:
        ask(model(server, key="mine"))
        monkeypatch.setenv("OLLAMA_API_KEY", "of the cloud")
        ask(model(server))
    assert server.headers[0]["authorization"] == "Bearer mine"
    assert "of the cloud" not in server.headers[1].get("authorization", "")


FINAL: dict[str, tuple[Answer, str]] = {
    "401": (refusing(401, "unauthorized"), "does not let us in (401): it needs a key"),
    "403": (refusing(403, "forbidden"), "does not let us in (403)"),
    "404": (refusing(404, "model 'qwen3:8b' not found"), "get it with: ollama pull qwen3:8b"),
    "400": (refusing(400, "invalid format"), "refused the request (400): invalid format"),
    "cut by its length": (truncated('{"posi'), "did not fit into the context"),
}


@pytest.mark.parametrize("name", FINAL)
def test_permanent_errors_are_raised_at_once(name: str) -> None:
    answer, says = FINAL[name]
    with serving(answer) as server, pytest.raises(bknb.ModelError) as told:
        ask(model(server, retries=3))
    assert says in str(told.value)
    assert len(str(told.value).splitlines()) <= 3
    assert len(server.asked) == 1


PASSING: dict[str, tuple[Answer, str]] = {
    "429": (refusing(429, "slow down"), "too many requests (429): slow down"),
    "500": (refusing(500, "out of memory"), "the host failed (500): out of memory"),
    "503": (refusing(503, "loading"), "the host failed (503)"),
    "cut mid-stream": (cut_off('{"posi'), "the answer broke off in the middle"),
    "ends without being done": (ending_early('{"posi'), "the answer broke off in the middle"),
    "an error mid-stream": (failing_midway('{"posi', "worker died"), "gave up in the middle: worker died"),
    "malformed JSON": (raw('{"message": {"role": "assis\n'), "not Ollama's protocol"),
    "another protocol": (raw("<html>proxy</html>\n"), "not Ollama's protocol"),
    "JSON of something else": (raw("[1, 2]\n"), "not Ollama's protocol"),
    "no message": (raw('{"done": true}\n'), "not Ollama's protocol"),
}


@pytest.mark.parametrize("name", some_quick(PASSING, ["429", "cut mid-stream", "malformed JSON"]))
def test_temporary_errors_are_tried_again(name: str) -> None:
    bad, _ = PASSING[name]
    waited: list[float] = []
    received: list[str] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    with serving(bad, bad, saying(ANSWER)) as server:
        asked = model(server, retries=2, sleep=sleep)
        reply = ask(asked, on_text=lambda kind, _: received.append(kind))
    assert reply.text == ANSWER
    assert len(server.asked) == 3
    assert waited == [1.0, 2.0]
    assert received.count("retry") == 2


@pytest.mark.parametrize("name", some_quick(PASSING, ["429", "cut mid-stream", "malformed JSON"]))
def test_after_the_last_try_the_last_error_is_raised(name: str) -> None:
    bad, says = PASSING[name]
    with serving(bad) as server, pytest.raises(bknb.ModelError) as told:
        ask(model(server, retries=1))
    assert "gave no complete answer in 2 attempts" in str(told.value)
    assert says in str(told.value)
    assert len(server.asked) == 2


def test_a_host_that_stops_sending_times_out() -> None:
    with serving(silent(first="{"), saying(ANSWER)) as server:
        reply = ask(model(server, retries=1, silence_seconds=0.3))
        assert server.gone.wait(10)
    assert reply.text == ANSWER


@pytest.mark.slow
def test_a_host_that_sends_slowly_is_ended_at_the_time_limit() -> None:
    with serving(dripping(0.02)) as server:
        with pytest.raises(bknb.ModelError, match=r"no end after 0\.4 s"):
            ask(model(server, timeout_seconds=0.4))
        assert server.gone.wait(10)


@pytest.mark.slow
def test_an_endless_reply_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    from bknb.llm import ollama_client as ollama

    monkeypatch.setattr(ollama, "_LONGEST_REPLY", 1000)
    with serving(dripping(0.0)) as server:
        with pytest.raises(bknb.ModelError, match="wrote more than 1,000 characters"):
            ask(model(server))
        assert server.gone.wait(10)


def test_cancelling_ends_the_request() -> None:
    async def cancel(server: Server) -> None:
        arrived = asyncio.Event()
        task = asyncio.create_task(model(server).chat(QUESTION, on_text=lambda *_: arrived.set()))
        await asyncio.wait_for(arrived.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with serving(silent(first="{")) as server:
        asyncio.run(cancel(server))
        assert server.gone.wait(10)


def test_an_unreachable_host_is_reported() -> None:
    with serving(saying("x")) as server:
        pass
    with pytest.raises(bknb.ModelError, match="cannot be reached"):
        ask(model(server))


@pytest.mark.parametrize("name", ["", 5, None])
def test_a_model_needs_a_name(name: Any) -> None:
    with pytest.raises(bknb.UsageError, match="non-empty text"):
        bknb.llm.ollama(name)


class TestOllamaKeepsTheContract(ModelContract):
    @pytest.fixture(autouse=True)
    def _host(self) -> Iterator[None]:
        with serving(saying('{"answer": "yes"}', thinking="One is more.")) as server:
            self.url = server.url
            yield

    def make(self) -> Model:
        made: Model = bknb.llm.ollama("qwen3:8b", host=self.url)
        return made


class TestRecordedRepliesKeepTheContract(ModelContract):
    def make(self) -> Model:
        made: Model = bknb.llm.recorded(['{"answer": "yes"}'] * 3)
        return made


class TestRecordingKeepsTheContract(ModelContract):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "replies.json"

    def make(self) -> Model:
        made: Model = bknb.llm.recording(bknb.llm.recorded(['{"answer": "yes"}'] * 3), self.path)
        return made
