"""What a kernel and the process of its live runs tell each other, and how it is sent."""

from __future__ import annotations

import contextlib
import pickle
import socket
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from ..domain.implementation_shortfall import TradedOrder
from ..domain.protection_gaps import ProtectionGaps
from ..errors import UsageError
from ..log import log
from ..sweeps.worker_pool import receive, send
from .run_changes import Changes
from .sent_live_plan import SentPlan

Key: TypeAlias = tuple[str, str]
"""Symbol and strategy of a run."""

What: TypeAlias = Literal[
    "follow", "hear", "start", "stop", "pause", "resume", "by hand", "orders", "money", "recorded", "heard", "carry"
]
"""What is asked: see the functions of ``live_process.Runs`` of these names."""

VERSION: Final = 1
"""Of these messages."""


class Question(NamedTuple):
    """What a kernel asks; ``number`` is in the answer."""

    number: int
    what: What
    given: tuple[Any, ...] = ()


class Answer(NamedTuple):
    """The answer to a question: a value, or an error."""

    number: int
    value: Any = None
    error: BaseException | None = None


class Start(NamedTuple):
    """A run that is to begin, with the parts of its plan that were not sent before."""

    key: Key
    plan: SentPlan
    parts: dict[str, bytes]


class Looked(NamedTuple):
    """What has changed of a run; ``anew``: everything of it."""

    key: Key
    anew: bool
    changes: Changes


class Told(NamedTuple):
    """An event of a subject, with its number there."""

    subject: str
    number: int
    event: Any


class Orders(NamedTuple):
    """What the orders of a run at its broker say: see :class:`bknb.live.orders_sent_to_broker.OrderDesk`."""

    rows: Sequence[dict[str, Any]] = ()
    traded: tuple[TradedOrder, ...] = ()
    manual: Mapping[str, float] = {}
    gaps: ProtectionGaps | None = None


class Over(NamedTuple):
    """A run is over, with what ended it, its account with its positions in money, and its orders at the broker."""

    key: Key
    error: BaseException | None = None
    money: Any = None
    orders: Orders = Orders()


class Greeting(NamedTuple):
    """The first message of the process: its number, and whether another one follows it already."""

    version: int
    pid: int
    taken_by: int | None


Message: TypeAlias = Answer | Looked | Told | Over | Greeting | Question


class Connection:
    """A socket to the other process; messages are sent from any thread, and received in one."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._to, self._from = connected.makefile("wb"), connected.makefile("rb")
        self._sending = threading.Lock()

    def send(self, *messages: Message) -> None:
        """Send messages.

        Raises
        ------
        OSError
            When the other process is gone.
        """
        content = pickle.dumps(messages, protocol=5)
        with self._sending:
            try:
                send(self._to, content)
            except ValueError as error:  # it was closed
                raise OSError(str(error)) from None

    def receive(self) -> tuple[Message, ...] | None:
        """The next messages; ``None`` when the other process is gone."""
        try:
            content = receive(self._from)
        except (OSError, ValueError):
            return None
        return None if content is None else pickle.loads(content)  # noqa: S301 -- from a process of this user

    def close(self) -> None:
        """Close it; whoever receives gets ``None``."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def send_what_can_be(connection: Connection, messages: Sequence[Message]) -> None:
    """Send messages; of what cannot be sent the rest, and that it cannot."""
    try:
        try:
            connection.send(*messages)
        except OSError:
            raise
        except Exception:  # noqa: BLE001 -- something in them cannot be pickled
            for message in messages:
                connection.send(_sendable(message))
    except OSError:  # whoever receives from it finds that
        log.debug("the kernel is gone")


def _sendable(message: Message) -> Message:
    """A message without what cannot be sent, such as a fitted model that holds a lock."""
    if _can_be_sent(message):
        return message
    log.warning("a part of what a live run tells cannot be sent: %.200r", message)
    if isinstance(message, Answer):
        return Answer(message.number, error=UsageError("the answer cannot be sent from the process of the live run"))
    if isinstance(message, Looked):
        values, records, candles = message.changes
        values = {name: value for name, value in values.items() if _can_be_sent(value)}
        records = {name: part for name, part in records.items() if _can_be_sent(part)}
        return Looked(message.key, message.anew, Changes(values, records, candles))
    return Told(message.subject, message.number, None) if isinstance(message, Told) else message


def _can_be_sent(content: object) -> bool:
    try:
        pickle.dumps(content, protocol=5)
    except Exception:  # noqa: BLE001 -- whatever it raises
        return False
    return True
