"""Requests and answers of a local exchange, and the tables that join them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias
from urllib.parse import parse_qsl

from .limits import Limits
from .orders import Fill, Order, RefusedError

Params: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request as it arrived; ``path`` is without the query, ``headers`` have lower-case names."""

    method: str
    path: str
    query: str = ""
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def form(self) -> dict[str, str]:
        """The parameters of query and body, as of a form."""
        return dict(parse_qsl(self.query, keep_blank_values=True) + parse_qsl(self.body, keep_blank_values=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back: a body for JSON, and a status."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One endpoint.

    Attributes
    ----------
    operation
        What is done, by a name that all faces share: ``place``, ``stop``, ``cancel``, ``report``, ``open_orders``,
        ``fills``, ``balance``, ...
    run
        Does it, given the parameters.
    allowed, required
        Names of parameters; without ``allowed`` all are.
    weight
        What it counts.
    signed
        Whether it is only for who has the key.
    orders
        Whether it counts among new orders.
    """

    operation: str
    run: Callable[[Params], Any]
    allowed: frozenset[str] | None = None
    required: tuple[str, ...] = ()
    weight: int = 1
    signed: bool = True
    orders: bool = False


class Face(Protocol):
    """One exchange as a client sees it."""

    name: str
    limits: Limits

    @property
    def prefixes(self) -> tuple[str, ...]:
        """How the paths it answers begin."""
        ...

    def route(self, call: Call) -> Route | None:
        """The endpoint of a request."""
        ...

    def params(self, call: Call) -> dict[str, Any]:
        """The parameters of a request, without those that sign it."""
        ...

    def admit(self, call: Call, route: Route, params: Params) -> None:
        """Refuse a request that is not signed as it has to be, or has parameters it must not."""
        ...

    def operation(self, route: Route, params: Params) -> str:
        """What a request is about: ``stop`` instead of ``place`` for a conditional order."""
        ...

    def subject(self, params: Params) -> tuple[str, str]:
        """The symbol and the client id that a request names."""
        ...

    def refused(self, error: RefusedError) -> Answer:
        """A refusal in the words of this exchange."""
        ...

    def message(self, order: Order, fill: Fill | None) -> tuple[str, dict[str, Any]]:
        """The channel of the user stream, and what it says of an order and its newest fill."""
        ...

    def headers(self) -> dict[str, str]:
        """What stands on every answer."""
        ...


def words(text: str) -> frozenset[str]:
    """Names, given with spaces between.

    Examples
    --------
    >>> sorted(words("symbol orderId"))
    ['orderId', 'symbol']
    """
    return frozenset(text.split())
