"""A question that is asked again where it raises: attempts, pauses, the limit of time, what is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bknb.config import Settings
from bknb.errors import DataError, UsageError
from bknb.market.retries import answer_to

TWICE = Settings(get_candles_retry_count=2, get_candles_retry_delay_ms=300)


def answered(question: Callable[[], Any], **options: Any) -> tuple[Any, list[str], list[float]]:
    """The answer, or the error; the warnings; the pauses (s)."""
    warnings: list[str] = []
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    given: dict[str, Any] = {"what": "X 1m", "since": 0, "until": 60_000, "settings": TWICE, **options}
    try:
        result: Any = asyncio.run(answer_to(question, warn=warnings.append, sleep=sleep, **given))
    except Exception as error:  # noqa: BLE001 -- it is looked at
        result = error
    return result, warnings, pauses


def raising(*errors: Exception) -> Callable[[], Any]:
    """A question that raises these, one after the other, and then answers 7."""
    left = list(errors)

    async def ask() -> int:
        if left:
            raise left.pop(0)
        return 7

    return ask


def test_it_is_asked_again_after_a_pause() -> None:
    assert answered(raising()) == (7, [], [])
    told = "X 1m: attempt 1 of 2 failed with OSError: no line; next one in 0.3 s"
    assert answered(raising(OSError("no line"))) == (7, [told], [0.3])


@pytest.mark.parametrize(
    ("options", "attempts"),
    [
        ({}, "2 attempts"),
        ({"once": True}, "1 attempt"),
        ({"settings": Settings(get_candles_retry_count=0)}, "1 attempt"),
    ],
)
def test_what_fails_at_every_attempt_is_told_with_the_range(options: dict[str, Any], attempts: str) -> None:
    error, warnings, pauses = answered(raising(*(OSError("no line"),) * 3), **options)
    text = "X 1m: no answer for 1970-01-01 00:00 UTC .. 1970-01-01 00:01 UTC after"
    assert (type(error), str(error)) == (DataError, f"{text} {attempts}\nthe last one failed with OSError: no line")
    assert isinstance(error.__cause__, OSError)
    assert len(warnings) == len(pauses) == int(attempts[0]) - 1


def test_a_mistake_is_not_asked_about_again() -> None:
    error, _, pauses = answered(raising(UsageError("wrong"), UsageError("again")))
    assert (str(error), pauses) == ("wrong", [])


def test_an_attempt_has_so_long_and_a_timeout_of_its_own_keeps_its_text() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    error, warnings, _ = answered(hang, seconds=0.0)
    assert "failed with TimeoutError: it did not answer within 0 s; next" in warnings[0]
    assert str(error).endswith("TimeoutError: it did not answer within 0 s")
    error, _, _ = answered(raising(TimeoutError("read"), TimeoutError("read")), seconds=60.0)
    assert str(error).endswith("TimeoutError: read")
