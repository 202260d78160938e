"""Threads for strategies that compute, so that the event loop stays free."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import replace
from typing import Any

from ..engine.registry import Strategy
from ..market.strategy_context import Context


def in_threads(strategy: Strategy) -> Strategy:
    """The strategy with its function and its callbacks called in threads of their own.

    A strategy that computes for long delays no other run, and one that never ends can be abandoned; a callback that
    uses the network delays only its own run. Coroutine functions stay on the loop: what they await may belong to it.
    """
    callbacks = {name: _threaded(function) for name, function in strategy.callbacks.items()}
    if inspect.iscoroutinefunction(strategy.get_signal):
        return replace(strategy, callbacks=callbacks)
    ask = strategy.ask

    async def ask_in_thread(context: Context) -> Any:
        answer = await _in_thread(lambda: ask(context))
        return await answer if inspect.isawaitable(answer) else answer

    return replace(strategy, ask=ask_in_thread, callbacks=callbacks)


def _threaded(function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):
        return function

    async def call_in_thread(event: Any) -> Any:
        answer = await _in_thread(lambda: function(event))
        return await answer if inspect.isawaitable(answer) else answer

    return call_in_thread


async def _in_thread(function: Callable[[], Any]) -> Any:
    """Call a function in a daemon thread; unlike in a pool, one that never returns blocks no other call."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Any] = loop.create_future()
    variables = copy_context()

    def settle(value: Any, error: BaseException | None) -> None:
        if answered.done():
            return  # abandoned
        if error is None:
            answered.set_result(value)
        else:
            answered.set_exception(error)

    def work() -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            value = variables.run(function)
        except BaseException as raised:  # noqa: BLE001 -- handed to whoever asked
            error = raised
            if isinstance(raised, StopIteration) or not isinstance(raised, Exception):
                # A future cannot carry the one; exit() and the like would end more than this question.
                error = RuntimeError(f"the strategy raised {raised!r}")
        loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=work, name="bknb-strategy", daemon=True).start()
    return await answered
