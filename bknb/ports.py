"""The ports of bknb: the protocols an exchange, a clock, a store, a broker, ... must implement.

Each port has a shipped implementation and a shipped contract suite in :mod:`bknb.testing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .domain.broker_account import Abilities, AccountPosition, Balance, BrokerMarket, Fill
    from .domain.broker_orders_and_ids import Order, Report
    from .domain.fills_at_stops_and_gaps import Minute
    from .domain.sweep_trial import Trial
    from .market.candles import Candles


@runtime_checkable
class CandleSource(Protocol):
    """Where candles come from.

    Attributes
    ----------
    name : str
        A short name for reports and messages.
    intervals : tuple of str or None
        Intervals the source answers itself; bknb resamples all others from the shortest. ``None``: any interval.
    page_limit : int or None
        Most candles it hands out at once; ``None``: no limit.
    """

    name: str
    intervals: tuple[str, ...] | None
    page_limit: int | None

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """Up to ``limit`` candles whose open time is at or after ``since`` (UTC ms), oldest first.

        The time grid is UTC. Fewer (or no) candles come back where the data ends. It may raise anything;
        bknb retries and then reports.
        """
        ...

    def format_price(self, symbol: str, price: float) -> str:
        """A price as the exchange writes it."""
        ...

    def format_quantity(self, symbol: str, quantity: float) -> str:
        """A quantity as the exchange writes it."""
        ...


@runtime_checkable
class Clock(Protocol):
    """The clock of a live run."""

    def now(self) -> int:
        """The present, UTC milliseconds; may be asked from any thread."""
        ...

    async def sleep_until(self, when: int) -> None:
        """Return at ``when`` (UTC ms) or a little later; at once when it has passed. May be cancelled."""
        ...


@runtime_checkable
class ClockWithSpeed(Clock, Protocol):
    """A clock that says how fast it runs; one that does not is taken to run in real time.

    Attributes
    ----------
    speed : float
        How many of its seconds pass in a second; above 0.
    """

    speed: float


@runtime_checkable
class ClockWithPauses(Clock, Protocol):
    """A simulated clock that also goes to the end of each pause beside a run, such as that before another try.

    Other simulated clocks pass over them to the next minute.

    Attributes
    ----------
    keeps_pauses : bool
        Whether it does.
    """

    keeps_pauses: bool


@runtime_checkable
class StateStore(Protocol):
    """A store for the state a live run is resumed from: open and scheduled signals, risk positions, milestones.

    A value is JSON (bytes) under a *kind* (a short lower-case word such as ``"signal"``) and a *key* (a tuple of any
    names such as ``("sma", "BTCUSDT")``). Calls block until they are done and may come from any thread. An
    implementation passes :class:`bknb.testing.stores.StateStoreContract`.
    """

    def acquire(self) -> None:
        """Become the only one who uses this state, or count one more user of this object.

        Runs of one process share one store object: each acquires it at its start and releases it at its end. The lock
        ends with the process, however that ends. Nothing else may be called before.

        Raises
        ------
        StateError
            When another process, or another store object on the same place, has it; or the place cannot be used.
        """
        ...

    def release(self) -> None:
        """Count one user less; the last one gives the state back for others to acquire."""
        ...

    def read(self, kind: str, key: tuple[str, ...]) -> bytes | None:
        """The value as it was written; ``None`` when there is none.

        Raises
        ------
        StateError
            When the value is damaged or belongs somewhere else. It is then moved aside, overwriting nothing, and this
            key cannot be read (after a restart neither) until it is written or deleted, or somebody repairs or removes
            what was moved: damage is never taken for "no position". A value of a later format is refused, not moved.
        """
        ...

    def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
        """Save a value. It is on the disk when this returns; a crash leaves the old value or the new one.

        Raises
        ------
        StateError
            When it could not be saved. The old value still stands, unless the text says otherwise.
        """
        ...

    def delete(self, kind: str, key: tuple[str, ...]) -> None:
        """Delete a value, if there is one; also settles what was moved aside under this key (which stays on the disk).

        Raises
        ------
        StateError
            When it could not be removed for good.
        """
        ...

    def keys(self, kind: str, under: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        """The keys of a kind, sorted; also those whose value was moved aside and waits for a decision.

        ``under`` narrows them down to the longer keys that begin with these names, without looking at the others.

        Raises
        ------
        StateError
            When the place cannot be listed.
        """
        ...


@runtime_checkable
class Broker(Protocol):
    """A broker that carries out orders: an account at an exchange, or paper.

    An order is known by the client id it was placed with, here and there. An implementation passes
    :class:`bknb.testing.brokers.BrokerContract`. One that tells its account and holds stops is a
    :class:`BrokerWithAccount`. Any call may raise; what that says is the same for all:

    * :class:`~bknb.errors.BrokerError` with ``refused=True``: the broker said no, and nothing happened.
    * everything else (a timeout, a lost connection, a bug): the outcome is unknown. It is queried with ``report``,
      and the order is never sent again. In doubt, let the error of your library through.

    Attributes
    ----------
    name : str
        A short name for reports and messages.
    """

    name: str

    async def place(self, order: Order) -> Report:
        """Send one order: its ``client_id, symbol, side, kind, quantity, price`` and, if possible, ``reduces_only``.

        It opens a position (its ``purpose`` is ``"open"``), makes it larger (``"add"``) or smaller (``"reduce"``), or
        ends it (``"close"``); several of one position may work at the same time.

        The same client id twice is one order; the second call reports on it. What comes back may be no more than
        ``accepted``; fills are asked for with ``report``.

        Raises
        ------
        BrokerError
            ``refused=True`` only when the order is certainly not, and never will be, at the exchange.
        """
        ...

    async def cancel(self, client_id: str, symbol: str) -> Report:
        """Cancel what is unfilled of an order; for one that is done already, report how it ended.

        What :meth:`report` says of it afterwards counts: it is asked for until the order is done.

        Raises
        ------
        BrokerError
            ``refused=True`` when the exchange has no such order or will not cancel it.
        """
        ...

    async def report(self, client_id: str, symbol: str) -> Report | None:
        """The state of an order; ``None`` when the exchange answers that it has never seen it.

        A missing answer is not ``None`` but an error. An order that is done must be found for days, not only while it
        works; where an exchange forgets it sooner, ``knows_hours`` of :meth:`BrokerWithAccount.abilities` says so.

        Raises
        ------
        Forgotten
            The exchange does not know the order, and it may be so old that it was forgotten.
        """
        ...

    async def open_orders(self, symbol: str) -> list[Report]:
        """All orders of the account that work on this symbol, whoever placed them."""
        ...


@runtime_checkable
class BrokerWithAccount(Broker, Protocol):
    """A broker that tells what its account holds and how its markets trade, and at which a stop may rest.

    One without these calls carries out orders all the same: quantities are sent to it as they are, and target, stop and
    deadline are watched by the process that runs.

    What :meth:`Broker.place` gets may be of the kinds ``"stop"`` and ``"target"`` here, with a ``trigger``, the last
    price at which it becomes a market order. One that is triggered counts as the same order: its report has the
    fills of what it became. :meth:`Broker.open_orders` lists them, too.
    """

    async def amend(self, order: Order) -> Report:
        """Move an order that rests, by one request.

        Where :meth:`abilities` says ``"amend"`` it has the id of the one that rests, and another trigger, price or
        quantity; where it says ``"replace"`` it is another order, and takes the place of the one that ``replaces``
        names: that one is cancelled, and only then this one is placed.

        Raises
        ------
        BrokerError
            ``refused=True``: this order does not rest so; the other one rests as before, or is done, also by this
            request: it is asked about. ``reached=True``: the price is beyond its trigger already.
        """
        ...

    async def fills(self, symbol: str, since: int) -> list[Fill]:
        """The trades of all orders of the account on a symbol at or after ``since`` (UTC ms), oldest first."""
        ...

    async def balance(self) -> Mapping[str, Balance]:
        """What the account has, by currency; one it does not name it has nothing of."""
        ...

    async def positions(self) -> list[AccountPosition]:
        """The positions of a swap account; of a spot account what it holds of the markets that were asked about."""
        ...

    async def market(self, symbol: str) -> BrokerMarket:
        """The rules of a market.

        Raises
        ------
        BrokerError
            ``refused=True``: there is no such market.
        """
        ...

    def abilities(self) -> Abilities:
        """What it can do to protect a position; asks nobody."""
        ...


@runtime_checkable
class PaperMarket(Protocol):
    """A broker without a market of its own, which fills orders by the prices of the candles."""

    def saw(self, symbol: str, minute: Minute) -> None:
        """The market traded as this candle says; candles come in order, once they have closed."""
        ...


@runtime_checkable
class TrialLedger(Protocol):
    """A record of tried parameter combinations: none is tried twice, and their number corrects for selection."""

    def get(self, key: str) -> Trial | None:
        """The trial of that key, if it was made."""
        ...

    def all(self) -> list[Trial]:
        """Every trial, in order of the first time."""
        ...

    def add(self, trials: Iterable[Trial]) -> None:
        """Add trials; they are on the disk when this returns."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReply:
    """The answer of a language model.

    Attributes
    ----------
    text : str
        The answer; JSON where a schema was asked for.
    thinking : str
        The reasoning of the model before its answer; empty where it does not show that.
    model : str
        The model that answered.
    tokens_in, tokens_out : int or None
        Tokens read and written, as the model counts them; ``None`` where it does not say.
    """

    text: str
    thinking: str = ""
    model: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None


@runtime_checkable
class Model(Protocol):
    """A language model that can be asked.

    Attributes
    ----------
    name : str
        Which model it is, for the ledger and for caches.
    """

    name: str

    async def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any] | None = None,
        seed: int | None = None,
        on_text: Callable[[str, str], object] | None = None,
    ) -> ModelReply:
        """Answer a conversation.

        Parameters
        ----------
        messages
            Mappings with ``role`` (``"system"``, ``"user"``, ``"assistant"``) and ``content``.
        schema
            JSON Schema the answer must follow; ``None``: free text.
        seed
            For models that can repeat themselves.
        on_text
            Called with ``(kind, piece)`` while the answer arrives; ``kind`` is ``"thinking"``, ``"text"``, or
            ``"retry"`` when everything so far is void.

        Raises
        ------
        ModelError
            When no complete answer came. Cancelling the coroutine ends the request.
        """
        ...
