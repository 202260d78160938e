"""User code of live runs called outside of their loop: strategies, callbacks, risk rules, brokers.

Whatever one of them does, the loop of the live runs stays free; what takes too long is given up and told.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

from msgspec.structs import replace

from ..domain.broker_account import Abilities, AccountPosition, Balance, BrokerMarket, Fill
from ..domain.broker_orders_and_ids import Order, Report
from ..domain.fills_at_stops_and_gaps import Minute
from ..domain.position_seen_by_manage import HeldPosition
from ..engine.call_by_name import Ask, Manage
from ..engine.registry import Risk, Strategy
from ..errors import BrokerError
from ..market.calls_in_threads import UserCalls, ships_with_bknb, user_calls_of
from ..market.strategy_context import Context
from ..market.system_clock import limited_to
from ..ports import Broker, BrokerWithAccount, PaperMarket
from .callbacks import Callbacks
from .order_quantity import Quantity

_Answer = TypeVar("_Answer")


def strategy_outside(strategy: Strategy, *, seconds: float, callbacks: Callbacks) -> Strategy:
    """The strategy with its function and its callbacks called outside.

    Parameters
    ----------
    strategy
        A plain function is called in a thread for each question, a coroutine function on the loop of the strategy.
    seconds
        A callback that takes longer is given up; the questions are limited by who asks them.
    callbacks
        Calls the callbacks, and decides whether they are waited for.
    """
    limited = {name: _limited(function, name, seconds) for name, function in strategy.callbacks.items()}
    strategy = replace(strategy, callbacks=callbacks.wrapped(limited))
    if strategy.portfolio_weights is not None and strategy.ask_manage is not None:
        strategy.portfolio_weights.call_outside(lambda ask: _ask_outside(strategy, ask))
        return replace(strategy, ask=_awaited(strategy.ask), ask_manage=_awaited(strategy.ask_manage))
    ask_manage = None if strategy.ask_manage is None else _manage_outside(strategy)
    return replace(strategy, ask=_ask_outside(strategy, strategy.ask), ask_manage=ask_manage)


def _ask_outside(strategy: Strategy, ask: Ask) -> Ask:
    """What calls the function of a strategy, outside."""
    calls = user_calls_of(strategy.get_signal, f"strategy-{strategy.name}")
    is_async = inspect.iscoroutinefunction(strategy.get_signal)

    async def ask_outside(context: Context) -> Any:
        return await calls.call(lambda: ask(context), is_async=is_async)

    return ask_outside


def _awaited(ask: Callable[..., Any]) -> Callable[..., Any]:
    """A function that may answer at once as one that is awaited."""

    async def awaited(*given: Any) -> Any:
        answer = ask(*given)
        return await answer if inspect.isawaitable(answer) else answer

    return awaited


def _manage_outside(strategy: Strategy) -> Manage:
    """The strategy's ``manage`` called outside, as its ``get_signal`` is."""
    ask = strategy.ask_manage
    assert ask is not None  # the caller looked  # noqa: S101
    function = strategy.get_signal if strategy.manage is None else strategy.manage
    calls, is_async = user_calls_of(function, f"strategy-{strategy.name}"), inspect.iscoroutinefunction(function)

    async def manage_outside(context: Context, position: HeldPosition) -> Any:
        return await calls.call(lambda: ask(context, position), is_async=is_async)

    return manage_outside


def risk_outside(risk: Risk, *, seconds: float) -> Risk:
    """The risk profile with its rules and callbacks called outside; one that takes longer than ``seconds`` refuses."""
    rules = tuple(
        replace(rule, validate=_limited(rule.validate, getattr(rule.validate, "__name__", "a rule"), seconds))
        for rule in risk.validations
    )
    callbacks = {name: _limited(function, name, seconds) for name, function in risk.callbacks.items()}
    return replace(risk, validations=rules, callbacks=callbacks)


def _limited(function: Callable[..., Any], name: str, seconds: float) -> Callable[..., Any]:
    calls = user_calls_of(function, name)
    is_async = inspect.iscoroutinefunction(function)

    async def call_outside(given: Any) -> Any:
        try:
            async with limited_to(seconds) as limit:
                return await calls.call(lambda: function(given), is_async=is_async)
        except TimeoutError as error:
            if not limit.expired():
                raise
            text = f"{name} took longer than max_signal_generation_seconds = {seconds:g}"
            raise TimeoutError(text) from error

    call_outside.__name__ = name
    return call_outside


def quantity_outside(quantity: Quantity, *, seconds: float) -> Quantity:
    """The quantity; a function of it is called outside, and fails when it takes longer than ``seconds``."""
    return _limited(quantity, "the function of the quantity", seconds) if callable(quantity) else quantity


async def answered(answer: Awaitable[_Answer], seconds: float) -> _Answer:
    """What a broker answers within so many seconds; one that is cancelled by itself has failed, and ends nobody else.

    Raises
    ------
    TimeoutError, BrokerError
        When no answer came.
    """
    try:
        async with limited_to(seconds):
            return await answer
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerError("it was cancelled, and not by who called it") from None


def broker_outside(broker: Broker) -> Broker:
    """The broker with its calls made outside; one of bknb, or with its market, stays as it is.

    One of several joined brokers (``joined_part``) counts as what it hands its calls on to.
    """
    own: Broker = getattr(broker, "joined_part", broker)
    if ships_with_bknb(own) or _has_market_of_bknb(own) or not isinstance(broker, Broker):
        return broker
    calls = user_calls_of(own, f"broker-{own.name}")
    has_account = isinstance(broker, BrokerWithAccount)
    if isinstance(broker, PaperMarket):
        return (_MarketAndAccountOutside if has_account else MarketOutside)(broker, calls, market=broker)
    return (_AccountOutside if has_account else _BrokerOutside)(broker, calls)


def _has_market_of_bknb(broker: Broker) -> bool:
    """Whether a broker is derived from one of bknb with a market of its own: its orders are there before a candle."""
    classes = (each for each in type(broker).__mro__ if each is not PaperMarket)
    return any("saw" in vars(each) and each.__module__.startswith("bknb.") for each in classes)


class _BrokerOutside:
    def __init__(self, broker: Broker, calls: UserCalls) -> None:
        self.name = broker.name
        self._broker, self._calls = broker, calls

    async def place(self, order: Order) -> Report:
        return await self._calls.on_loop(lambda: self._broker.place(order))

    async def cancel(self, client_id: str, symbol: str) -> Report:
        return await self._calls.on_loop(lambda: self._broker.cancel(client_id, symbol))

    async def report(self, client_id: str, symbol: str) -> Report | None:
        return await self._calls.on_loop(lambda: self._broker.report(client_id, symbol))

    async def open_orders(self, symbol: str) -> list[Report]:
        return await self._calls.on_loop(lambda: self._broker.open_orders(symbol))


@runtime_checkable
class SeesMinutes(Protocol):
    """A broker whose market trades the minutes of its runs, somewhere else than in their loop."""

    @property
    def send_seconds(self) -> float:
        """How long each minute waits for the orders before it, at most."""
        ...

    async def see(self, symbol: str, minute: Minute) -> None:
        """Have its market trade a minute."""
        ...


class MarketOutside(_BrokerOutside):
    """A broker with a market of its own that is called outside, like its orders on its own loop."""

    send_seconds: Final = 1.0

    def __init__(self, broker: Broker, calls: UserCalls, *, market: PaperMarket) -> None:
        super().__init__(broker, calls)
        self._market = market

    async def see(self, symbol: str, minute: Minute) -> None:
        """Have it see a minute."""

        async def saw() -> None:
            self._market.saw(symbol, minute)

        await self._calls.on_loop(saw)


class _AccountOutside(_BrokerOutside):
    """A broker that tells its account and is called outside."""

    _broker: BrokerWithAccount

    async def amend(self, order: Order) -> Report:
        return await self._calls.on_loop(lambda: self._broker.amend(order))

    async def fills(self, symbol: str, since: int) -> list[Fill]:
        return await self._calls.on_loop(lambda: self._broker.fills(symbol, since))

    async def balance(self) -> Mapping[str, Balance]:
        return await self._calls.on_loop(self._broker.balance)

    async def positions(self) -> list[AccountPosition]:
        return await self._calls.on_loop(self._broker.positions)

    async def market(self, symbol: str) -> BrokerMarket:
        return await self._calls.on_loop(lambda: self._broker.market(symbol))

    def abilities(self) -> Abilities:
        return self._broker.abilities()


class _MarketAndAccountOutside(MarketOutside, _AccountOutside):
    """One that does both."""
