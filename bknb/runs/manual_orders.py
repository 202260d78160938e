"""What can be decided by hand about a live run while it goes on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Literal

from ..domain.manage_answers import Cancel, Close, Move, Reduce
from ..domain.signal import Signal
from ..domain.signal_events import TickResult
from ..errors import BknbError, UsageError
from ..live.manual_instructions import ActivateEntry, Flatten, Instruction
from ..live.orders_sent_to_broker import OrderDesk
from ..live.run import LiveRun
from ..live.runtime import RUNTIME
from ..market.strategy_context import current
from .run_task import RunTask

if TYPE_CHECKING:
    from ..domain.position_seen_by_manage import HeldPosition
    from ..market.candles import Candles


class TaskByHand(RunTask[TickResult]):
    """A live run that takes decisions by hand, from any thread.

    Each is on the disk before its order leaves; the record fills it at the open of the first candle at or after the
    moment it was made, and its reason is ``manual``. Of a strategy with several places ``place`` names the one that it
    is for; without it, it is for the only one it can be for, and where there are several it is refused.
    """

    _run: LiveRun

    def close(self, note: str = "", *, at: Literal["market", "close"] = "market", place: str | None = None) -> str:
        """Close the open position, at the market, or with ``at="close"`` at the close of its session.

        Like everything that is decided by hand: it is on the disk before its order leaves, the record fills it at the
        open of the first candle at or after this moment, and its reason is ``manual``.

        Returns
        -------
        str
            What will happen.

        Raises
        ------
        UsageError
            When nothing is open, it leaves already, or the run is over; the message says what to do.
        StateError
            When it could not be saved; then nothing has happened.

        Examples
        --------
        >>> import threading
        >>> import bknb
        >>> from bknb.testing.clocks import AcceleratedClock
        >>> asked = threading.Event()
        >>> task = bknb.Live.background("BTCUSDT", strategy=lambda: asked.set(), exchange="demo", interval="1m",
        ...     clock=AcceleratedClock(1_704_067_200_000, speed=600), store=bknb.stores.memory())
        >>> asked.wait(30)  # from its first question on there is a price
        True
        >>> print(task.open(bknb.Signal(side="long", id="mine")).split(" at ")[0])
        opens long BTCUSDT (mine)
        >>> task.stop(now=True)
        """
        return self._by_hand(Close(note, at), place)

    def reduce(
        self, share: float, *, of: Literal["now", "first"] = "now", note: str = "", place: str | None = None
    ) -> str:
        """Close a share of the open position, above 0 and at most all of it; else as :meth:`close`."""
        return self._by_hand(Reduce(share, of, note), place)

    def move(self, *, place: str | None = None, **levels: Any) -> str:
        """Move levels or the deadline of the open position, or an order that waits; else as :meth:`close`.

        ``levels`` are as in ``bknb.Move``: ``price_open`` is that of an entry or an add that waits.

        They are judged against the last close, and are in force from the first candle on that opens at or after this
        moment. A stop that is reached already closes the position at the market.
        """
        known = Move.__struct_fields__
        if not levels or not levels.keys() <= set(known):
            got = ", ".join(sorted(levels.keys() - set(known))) or "nothing"
            raise UsageError(f"move takes at least one of {', '.join(known)}; got {got}\nsuch as price_stop_loss=99.0")
        return self._by_hand(Move(**levels), place)

    def cancel(
        self, note: str = "", *, id: str | None = None, place: str | None = None  # noqa: A002 -- as in bknb.Cancel
    ) -> str:  # fmt: skip
        """Take back what waits, resting entries or adds, or the one of an ``id``; else as :meth:`close`."""
        return self._by_hand(Cancel(note, id), place)

    def activate(self, *, id: str | None = None, place: str | None = None) -> str:  # noqa: A002 -- as in bknb.Cancel
        """Open the entry that waits, at the market; its place at the risk profile is the one it has.

        Of several ``id`` says which; those that wait for the same place beside it are taken back.

        Else as :meth:`close`; a run that is stopped or paused refuses it.
        """
        return self._by_hand(ActivateEntry(id), place)

    def open(self, signal: Signal, *, place: str | None = None) -> str:
        """Open a signal as if the strategy had returned it: checked, and the risk profile is asked; see :meth:`close`.

        Without an id of its own it gets one that ends in ``-manual``. A run that is stopped or paused refuses it.
        """
        if not isinstance(signal, Signal):
            raise UsageError(f"open needs a bknb.Signal, such as bknb.Signal(side='long'); got {signal!r:.80}")
        return self._by_hand(signal, place)

    def flatten(self, note: str = "", *, place: str | None = None) -> str:
        """Close what is open, or take back what waits, in all places or in one; empty when there is neither.

        Else as :meth:`close`.
        """
        return self._by_hand(Flatten(note), place)

    @property
    def decisions(self) -> tuple[str, ...]:
        """The names of the methods that have something to act on now, such as ``("close", "reduce", "move")``."""
        return () if self.done else self._run.by_hand.decisions()

    @property
    def position(self) -> HeldPosition | None:
        """What is open or waits now, as ``manage`` would see it at the last close; ``None`` when nothing does.

        Of several places that of the oldest one.
        """
        return next(iter(self.positions), None)

    @property
    def positions(self) -> tuple[HeldPosition, ...]:
        """What is open or waits now in all places of the strategy, as :attr:`position`, the oldest first."""
        closes = self.candles.close
        return self._run.by_hand.positions(self.now, float(closes[-1])) if len(closes) else ()

    @property
    @abstractmethod
    def now(self) -> int:
        """The moment up to which everything is done, UTC ms."""

    @property
    @abstractmethod
    def candles(self) -> Candles:
        """The base bars in memory."""

    def _by_hand(self, instruction: Instruction, place: str | None) -> str:
        return self._give(instruction, place).result()

    def _give(self, instruction: Instruction, place: str | None = None) -> Future[str]:
        who = f"the live run of {self.strategy!r} on {self.symbol}"
        if self.done or self.worked or self.status == "ready":
            state = "has not begun" if self.status == "ready" else "is over"
            raise UsageError(
                f"{who} {state}\nstart it with the same store, then repeat this: what it holds is found again"
            )
        if RUNTIME.is_here() or current.get(None) is not None:
            raise UsageError(
                f"{who} cannot take a decision by hand from within one of its own functions\n"
                "return bknb.Close() and the like from manage, or decide from a listener or a cell"
            )
        return self._run.by_hand.give(instruction, place)


def flatten_all(tasks: Iterable[TaskByHand], note: str, seconds: float) -> dict[tuple[str, str], str]:
    """Flatten live runs, the decision of each given before the first is waited for.

    Parameters
    ----------
    tasks
        The runs.
    note
        Free text that travels with the fills.
    seconds
        How long, altogether, to wait for what brokers do that fill orders as they come.

    Returns
    -------
    dict
        By symbol and strategy, what will happen and has happened, or why it does not; runs without anything are left
        out.
    """
    given: dict[tuple[str, str], Future[str] | str] = {}
    closing: dict[tuple[str, str], _Closing] = {}
    for task in tasks:
        key, desk = (task.symbol, task.strategy), task._run.orders
        if isinstance(desk, OrderDesk) and desk.fills_at_once:
            closing[key] = _Closing(desk)
        try:
            given[key] = task._give(Flatten(note))
        except BknbError as error:  # it ended meanwhile
            given[key] = str(error)
    answers = {key: _answer_of(each) for key, each in given.items()}
    asked = {key: each for key, each in closing.items() if answers[key] and seconds > 0.0}
    for each in asked.values():
        each.begin(seconds)
    ends = {key: each.came_to() for key, each in asked.items()}
    return {key: f"{text}; {ends[key]}" if ends.get(key) else text for key, text in answers.items() if text}


class _Closing:
    """What the orders of a run come to after it was told to close."""

    def __init__(self, desk: OrderDesk) -> None:
        self._desk, self._before = desk, {order.client_id for order in desk.orders}
        self._done: Future[None] = Future()

    def begin(self, seconds: float) -> None:
        """Wait until nothing is due, for so many seconds at most."""
        RUNTIME.start(self._settle(seconds), copy_context())

    async def _settle(self, seconds: float) -> None:
        try:
            await self._desk.settle(seconds)
        finally:
            self._done.set_result(None)

    def came_to(self) -> str:
        """What was closed by the end of that time, and what is still held."""
        self._done.result()
        return self._desk.closed_since(self._before)


def _answer_of(given: Future[str] | str) -> str:
    """What a decision by hand leads to, or why it was not carried out, such as a full disk."""
    try:
        return given if isinstance(given, str) else given.result()
    except BknbError as error:
        return str(error)
