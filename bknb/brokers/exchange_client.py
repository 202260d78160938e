"""A client of ccxt that sends exactly what it is given, and what becomes of its errors.

ccxt signs, limits the rate of requests and holds the connections. What it makes of an error is not used: the answer
itself is read by the profile of the exchange.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

from ..domain.broker_account import BrokerMarket
from ..domain.broker_orders_and_ids import Order
from ..errors import BrokerError, Forgotten
from ..stores.keys_and_tokens import Secret, without_keys
from .exchange_profile import Answer, Profile, Request

_Read = TypeVar("_Read")

_LONGEST_WAIT_SECONDS: Final = 20.0  # within the time that one call of a broker has
_CLOCK_SAMPLES: Final = 3
_SILENT: Final = logging.getLogger("bknb.silent")  # ccxt logs requests with the key in them
_SILENT.propagate = False
_SILENT.addHandler(logging.NullHandler())
_SILENT.setLevel(logging.CRITICAL + 1)


class ErrorAnswer(Exception):  # noqa: N818 -- never reaches a user
    """An exchange has answered with an error."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


class NoSuchOrderError(BrokerError):
    """An exchange has no such order, and would know it."""


class KnownOrderError(BrokerError):
    """An exchange has an order with that id already."""


def as_given(request: Request) -> Any:
    """The parameters of a request as a client of ccxt takes them."""
    return [dict(request.params)] if request.in_list else dict(request.params)


def client_of(base: Any, profile: Profile, config: Mapping[str, Any]) -> Any:
    """A client of a class of ccxt for a profile: its errors are the answers of the exchange, and it logs nothing."""

    class Client(base):  # type: ignore[misc]  # ccxt has no types
        def handle_errors(self, code: int, _reason: str, _url: str, _method: str, headers: Any, *rest: Any) -> None:
            body, answer = (*rest, None, None)[:2]
            if profile.is_error(code, answer):
                raise ErrorAnswer(profile.error_of(code, headers or {}, str(body or ""), answer))

    client = Client(dict(config))
    client.logger = _SILENT
    client.verbose = False
    return client


def sent_parameters(url: str, body: object) -> dict[str, str]:
    """The parameters of a request as it leaves, from its address and its body, as text.

    Examples
    --------
    >>> sent_parameters("https://host/api/order?a=1&b=x%2Fy", "c=3")
    {'a': '1', 'b': 'x/y', 'c': '3'}
    >>> sent_parameters("https://host/api/order", '[{"a": true}]')
    {'a': 'true'}
    """
    text = body if isinstance(body, str) else ""
    if not text.startswith(("{", "[")):
        return dict([*parse_qsl(urlsplit(url).query), *parse_qsl(text)])
    found = json.loads(text)
    (entry,) = found if isinstance(found, list) else [found]
    return {**dict(parse_qsl(urlsplit(url).query)), **{name: _as_text(value) for name, value in entry.items()}}


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class ExchangeClient:
    """Sends the requests of a profile, in order of their urgency, by the clock of the exchange.

    Parameters
    ----------
    client
        Of ccxt; see :func:`client_of`.
    profile
        Of its exchange.
    now
        The clock here, UTC ms.
    sleep
        How to wait for so many seconds.
    """

    def __init__(
        self,
        client: Any,
        profile: Profile,
        *,
        now: Callable[[], int],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.profile = profile
        self._client, self._now, self._sleep = client, now, sleep
        self._ahead_ms: int | None = None  # how far the clock here is ahead
        self._blocked_until = 0  # by the clock here, UTC ms
        self._guard(client)

    def _guard(self, client: Any) -> None:
        """Have a request end that does not bear all it was given, such as the trigger of a stop."""
        sign = client.sign

        def checked(path: str, api: Any = "public", method: str = "GET", params: Any = None, *rest: Any) -> Any:
            given = dict((params[0] if isinstance(params, list) else params) or {})
            request = sign(path, api, method, [given] if isinstance(params, list) else given, *rest)
            sent = sent_parameters(request["url"], request["body"])
            lost = sorted(name for name, value in given.items() if sent.get(name) != _as_text(value))
            if lost:
                raise BrokerError(
                    f"ccxt does not send {', '.join(lost)} of {method} {path}, so it was not sent at all", refused=True
                )
            return request

        client.sign = checked

    async def exchange_now(self) -> int:
        """The time by the clock of the exchange, UTC ms."""
        if self._ahead_ms is None:
            await self.measure_clock()
        return self._now() - (self._ahead_ms or 0)

    async def measure_clock(self) -> None:
        """Measure how far the clocks differ: the quickest of three answers counts."""
        await self._until_free(urgent=True)
        best: tuple[int, int] | None = None
        for _ in range(_CLOCK_SAMPLES):
            before = self._now()
            there = await self._time_there()
            after = self._now()
            sample = (after - before, (before + after) // 2 - there)
            best = sample if best is None else min(best, sample)
        assert best is not None  # the loop ran  # noqa: S101
        self._ahead_ms = best[1]
        self._client.options["timeDifference"] = best[1]

    async def _time_there(self) -> int:
        request = self.profile.time()
        try:
            return self.profile.time_of(await self._raw(request))
        except ErrorAnswer as error:
            why: Exception = self._error(request, error.answer)
        except (BrokerError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            why = error
        text = f"the clock of {self.profile.exchange} is not known, so nothing else was sent: {why}"
        raise BrokerError(text, refused=True, later=True)

    async def clock_ahead_ms(self) -> int:
        """How far the clock here is ahead of that of the exchange, measured now, in ms."""
        await self.measure_clock()
        return self._ahead_ms or 0

    async def ask(self, request: Request, *, urgent: bool = False) -> Any:
        """The answer to a request.

        Where the exchange has asked to wait, it leaves behind that, and those that are urgent leave first.

        Raises
        ------
        BrokerError
            With ``refused=True`` where it is certain that nothing happened, and ``later=True`` where the same may be
            asked again after a while.
        """
        await self.exchange_now()
        for again in (True, False):
            await self._until_free(urgent=urgent)
            try:
                return await self._raw(request)
            except ErrorAnswer as error:
                answer = error.answer
            if again and self.profile.verdict(request, answer) == "clock":
                await self.measure_clock()  # it was surely not carried out
                continue
            raise self._error(request, answer)
        raise AssertionError  # the second try returns or raises

    def read(self, read: Callable[..., _Read], *given: Any) -> _Read:
        """What an answer says, the last one that is given.

        Raises
        ------
        BrokerError
            It cannot be read.
        """
        try:
            return read(*given)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            known = (getattr(each, "symbol", each) for each in given[:-1] if isinstance(each, str | BrokerMarket))
            about = next(known, "")
            what = f" about {about}" if about else ""
            name = f"{self.profile.exchange} {self.profile.market}"
            raise BrokerError(f"an answer of {name}{what} cannot be read: {error!r}") from None

    async def _until_free(self, *, urgent: bool) -> None:
        left = (self._blocked_until - self._now()) / 1000
        if left <= 0.0:
            return
        if left > _LONGEST_WAIT_SECONDS:
            text = f"{self.profile.exchange} asks to wait for {left:.0f} s more"
            raise BrokerError(text, refused=True, later=True)
        await self._sleep(left if urgent else left + 0.5)

    async def _raw(self, request: Request) -> Any:
        """The answer; what is raised has no frame of ccxt behind it, for these hold the request with the key."""
        failed: Exception
        try:
            return await getattr(self._client, request.call)(as_given(request))
        except (ErrorAnswer, BrokerError) as error:
            failed = copy(error)
        except Exception as error:  # noqa: BLE001 -- whatever ccxt raises, nobody knows what became of the request
            failed = BrokerError(f"no answer of {self.profile.exchange} to {request.call}: {type(error).__name__}")
        raise failed

    def _error(self, request: Request, answer: Answer) -> BrokerError:
        exchange, verdict = self.profile.exchange, self.profile.verdict(request, answer)
        said = without_keys(answer.text, self._keys()) or "nothing"
        text = f"{exchange} answers {answer.code or answer.status} to {request.call}: {said}"
        if verdict == "wait":
            self._blocked_until = max(self._blocked_until, self.profile.wait_until(answer, self._now()))
            seconds = max((self._blocked_until - self._now()) / 1000, 0.0)
            return BrokerError(f"{text}; nothing is asked for {seconds:.0f} s", refused=True, later=True)
        if verdict == "missing":
            return NoSuchOrderError(text, refused=True)
        if verdict == "known":
            return KnownOrderError(text)
        if verdict == "forgotten":
            return Forgotten(text)
        later, reached = verdict in ("busy", "clock"), verdict == "reached"
        return BrokerError(text, refused=later or reached or verdict == "refused", later=later, reached=reached)

    def _keys(self) -> list[Secret]:
        return [Secret(str(getattr(self._client, name, None) or "")) for name in ("apiKey", "secret", "password")]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def is_urgent(order: Order) -> bool:
    """Whether an order protects or ends a position: it leaves before others where the exchange has asked to wait."""
    return order.reduces_only
