"""A language model asked inside get_signal: what it sees, what it may answer, and a backtest that repeats itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ollama_server import raw, saying, serving, silent

import bknb
from bknb.llm.ask import Advice
from bknb.llm.structured import schema_of

FRAME = ("2024-01-08", "2024-01-09 00:01")  # five questions every 6 hours: the last moment asks nobody
FEW = {"1h": 3, "15m": 2}


def advice(position: str = "wait", **changed: Any) -> str:
    values = {"note": "why", "price_open": 0, "price_take_profit": 0, "price_stop_loss": 0, "minute_estimated_time": 0}
    return json.dumps({"position": position, **values, **changed})


BUY = advice("long", price_take_profit=70_000, price_stop_loss=50_000, minute_estimated_time=120)


def run(model: Any, cache: Path | None, *, words: str = "Buy.", interval: str = "6h", **options: Any) -> Any:
    async def get_signal() -> Any:
        return await bknb.ask_model(words, model=model, candles=FEW, cache=cache, **options)

    return bknb.backtest("BTCUSDT", strategy=get_signal, interval=interval, exchange="demo", frame=FRAME)


class Counted:
    """A model with a fixed answer that counts its calls."""

    name = "counted"

    def __init__(self, *answers: str) -> None:
        self.answers = answers
        self.asked: list[Any] = []

    async def chat(self, messages: Any, *, schema: Any = None, seed: Any = None, on_text: Any = None) -> Any:
        from bknb.ports import ModelReply

        self.asked.append((messages, schema, seed))
        return ModelReply(text=self.answers[min(len(self.asked), len(self.answers)) - 1], model=self.name)


def test_wait_means_no_signal_and_an_answer_opens_a_position(tmp_path: Path) -> None:
    model = Counted(advice(), BUY)
    result = run(model, tmp_path)
    assert result.errors == []
    assert len(result.trades) == 4
    assert len(model.asked) == 5  # the first answer was "wait"
    assert set(result.trades["note"]) == {"why"}


def test_the_request_holds_instructions_candles_and_schema() -> None:
    model = Counted(advice())
    run(model, None)
    messages, schema, seed = model.asked[0]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert "20.0 %" in messages[0]["content"]
    assert messages[1]["content"].startswith(
        "1h candles of BTCUSDT\n\ntime|open|high|low|close|volume\n2024-01-07 21:00|"
    )
    assert messages[1]["content"].count("\n2024-01-07") == 3
    assert "2024-01-08 00:00 UTC" in messages[-1]["content"]
    assert schema == schema_of(Advice)
    assert schema["properties"]["position"] == {"enum": ["long", "short", "wait"]}
    assert schema["additionalProperties"] is False
    assert seed == 1


def test_the_same_backtest_again_needs_no_model(tmp_path: Path) -> None:
    first_model = Counted(advice(), BUY, advice(), BUY)
    first = run(first_model, tmp_path)
    silent_model = Counted("never asked")
    for model in (silent_model, None):
        again = run(model, tmp_path)
        assert again.trades.equals(first.trades)
        assert again.errors == []
    assert silent_model.asked == []
    assert len(first.trades) > 1


def test_another_prompt_is_another_cache_key(tmp_path: Path) -> None:
    model = Counted(advice())
    run(model, tmp_path)
    asked = len(model.asked)
    run(model, tmp_path, words="Sell.")
    assert len(model.asked) == 2 * asked
    run(model, tmp_path, words="Buy.", seed=2)
    assert len(model.asked) == 3 * asked
    without = run(None, tmp_path, words="Hold.")
    assert "no answer to this question" in without.errors[0].message


def test_the_cache_is_separate_for_each_model(tmp_path: Path) -> None:
    one, other = Counted(advice()), Counted(BUY)
    other.name = "other"
    assert len(run(one, tmp_path).trades) == 0
    assert len(run(other, tmp_path).trades) > 0
    assert len(run(one, tmp_path).trades) == 0
    unsure = run(None, tmp_path)
    assert "say which one" in unsure.errors[0].message


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("Buy now!", "ReplyRefused: counted answered something else than a signal: the answer is not JSON"),
        (json.dumps({"position": "buy"}), "does not have the fields"),
        (advice("long", price_take_profit="high"), "does not have the fields"),
    ],
)
def test_an_invalid_answer_is_counted_and_not_cached(answer: str, says: str, tmp_path: Path) -> None:
    result = run(Counted(answer), tmp_path)
    assert says in result.errors[0].message
    assert result.errors[0].count == 5
    assert not list(tmp_path.rglob("*.json"))


def test_an_answer_that_breaks_the_rules_is_rejected_by_the_engine(tmp_path: Path) -> None:
    model = Counted(advice("long", price_take_profit=1, price_stop_loss=2, minute_estimated_time=60))
    result = run(model, tmp_path)
    assert len(result.rejected) == 5
    assert len(result.trades) == 0


def test_asking_outside_a_strategy_is_refused() -> None:
    import asyncio

    with pytest.raises(bknb.UsageError, match="works only while a strategy"):
        asyncio.run(bknb.ask_model("Buy.", model=Counted(BUY)))


@pytest.mark.slow
def test_with_the_real_client(tmp_path: Path) -> None:
    pytest.importorskip("ollama")
    with serving(saying(advice(), thinking="hm"), saying(BUY), raw("junk\n"), saying(advice())) as server:

        async def no_pause(_: float) -> None:
            return None

        model = bknb.llm.ollama("qwen3:8b", host=server.url, retries=1, sleep=no_pause)
        result = run(model, tmp_path)
    assert result.errors == []
    assert len(result.trades) == 1
    assert server.asked[0]["format"] == schema_of(Advice)
    assert len(server.asked) == 6  # five questions, one of them twice


@pytest.mark.slow
def test_a_model_that_is_too_slow_costs_one_question(tmp_path: Path) -> None:
    pytest.importorskip("ollama")
    with serving(silent(), saying(BUY)) as server:
        model = bknb.llm.ollama("qwen3:8b", host=server.url, retries=0)
        result = run(model, tmp_path, timeout_seconds=1)
        assert server.gone.wait(10)
    assert [error.count for error in result.errors] == [1]
    assert "gave no answer within 1 s" in result.errors[0].message
    assert len(result.trades) == 4


def test_an_unreadable_cache_entry_is_asked_again(tmp_path: Path) -> None:
    model = Counted(advice())
    run(model, tmp_path)
    for path in tmp_path.rglob("*.json"):
        path.write_text("{")
    run(model, tmp_path)
    assert len(model.asked) == 10
