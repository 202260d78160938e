"""A question that may be asked more than once: attempts, pauses, a limit of time, and what is told when all failed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from ..domain.formatting import utc_text
from ..domain.text import named_error
from ..errors import BknbError, DataError
from .system_clock import limited_to

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..config import Settings

T = TypeVar("T")


async def answer_to(
    question: Callable[[], Awaitable[T]],
    *,
    what: str,
    since: int,
    until: int,
    settings: Settings,
    once: bool = False,
    seconds: float | None = None,
    warn: Callable[[str], object] | None = None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> T:
    """The answer to a question, which is asked again after a pause where it raises.

    Parameters
    ----------
    question
        Asks.
    what
        What is asked, as messages begin with it.
    since, until
        The range that is asked for, UTC ms.
    settings
        Supplies ``get_candles_retry_count`` and ``get_candles_retry_delay_ms``.
    once
        Whether to ask once only.
    seconds
        How long one attempt may take; ``None``: as long as it takes.
    warn
        Called with one sentence for each attempt that failed and is followed by another.
    sleep
        How to wait so many seconds.

    Raises
    ------
    DataError
        All attempts failed; the last error is its cause.
    BknbError
        What the question raises of these: asking again cannot help.

    Examples
    --------
    >>> from bknb.config import Settings
    >>> async def ask() -> int:
    ...     raise OSError("no line")
    >>> once = answer_to(ask, what="news", since=0, until=60_000, settings=Settings(), once=True)
    >>> asyncio.run(once)
    Traceback (most recent call last):
        ...
    bknb.errors.DataError: news: no answer for 1970-01-01 00:00 UTC .. 1970-01-01 00:01 UTC after 1 attempt
    the last one failed with OSError: no line
    """
    attempts = 1 if once else max(1, settings.get_candles_retry_count)
    pause_ms = settings.get_candles_retry_delay_ms
    attempt = 1
    while True:
        try:
            return await _in_time(question, seconds)
        except BknbError:
            raise
        except Exception as error:
            failure = named_error(error)
            if attempt == attempts:
                from ..domain.retry_pauses import attempts_text  # here: every run loads this module, and few need it

                raise DataError(
                    f"{what}: no answer for {utc_text(since)} .. {utc_text(until)} after {attempts_text(attempts)}\n"
                    f"the last one failed with {failure}"
                ) from error
        if warn is not None:
            warn(f"{what}: attempt {attempt} of {attempts} failed with {failure}; next one in {pause_ms / 1000:g} s")
        await sleep(pause_ms / 1000)
        attempt += 1


async def _in_time(question: Callable[[], Awaitable[T]], seconds: float | None) -> T:
    try:
        async with limited_to(seconds) as limit:
            return await question()
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise TimeoutError(f"it did not answer within {seconds:g} s") from error
