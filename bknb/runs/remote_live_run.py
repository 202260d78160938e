"""A live run in another process as its task sees it: what was told of it last, and what can be asked of it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ..engine.records import Records
from ..engine.resolve import RunSeries
from ..errors import StateError
from ..events import messages, subjects
from ..live.ending import LISTENER_SECONDS
from ..live.recording import Recording
from ..live.run import MAX_NOTES
from ..live.silent_or_late_market import missing_in
from .live_process_messages import Orders
from .run_changes import put_in, series_with

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..domain.implementation_shortfall import TradedOrder
    from ..domain.position_seen_by_manage import HeldPosition
    from ..domain.protection_gaps import ProtectionGaps
    from ..domain.run_notes import RunNote
    from ..domain.signal_events import Event
    from ..live.manual_instructions import Instruction
    from ..live.plan import LivePlan
    from ..live.recording import Row
    from ..market.candles_of_one_symbol import Series
    from .live_process_messages import Key, Looked, Over, What

_LOOK_SECONDS: Final = 0.05
_GIVES_BACK_LOOKS: Final = 40


class RemoteByHand:
    """Decisions by hand about a run in another process."""

    def __init__(self, run: RemoteRun) -> None:
        self._run = run

    def give(self, instruction: Instruction, place: str | None = None) -> Future[str]:
        """Have a decision carried out; the future is the answer, or why it was not carried out."""
        return self._run.ask("by hand", instruction, place)

    def decisions(self) -> tuple[str, ...]:
        """What can be decided now, by name; may be another thing a moment later."""
        found: tuple[str, ...] = self._run.told["decisions"]
        return found

    def positions(self, _when: int, _price: float) -> tuple[HeldPosition, ...]:
        """What is open or waits, at the last close."""
        found: tuple[HeldPosition, ...] = self._run.told["positions"]
        return found


class RemoteOrders:
    """The orders of a run in another process, asked for again when something was told of it since."""

    def __init__(self, run: RemoteRun) -> None:
        self._run = run
        self._at, self._found = -1, Orders()

    def rows(self) -> Sequence[dict[str, Any]]:
        """Its orders at the broker, one row each."""
        return self._now().rows

    @property
    def version(self) -> int:
        """Another number whenever they may be others."""
        return self._run.looks

    @property
    def traded(self) -> tuple[TradedOrder, ...]:
        """What became of all orders that left, also of those of signals that are over for long."""
        return self._now().traded

    @property
    def manual(self) -> dict[str, float]:
        """What has come into the account by hand, by currency."""
        return dict(self._now().manual)

    @property
    def gaps(self) -> ProtectionGaps | None:
        """How long its positions were without a stop at the broker; ``None`` where that is not known."""
        return self._now().gaps

    def _now(self) -> Orders:
        if self._at != self._run.looks:
            at = self._run.looks
            with suppress(StateError):  # its process is started again: they are as they were
                self._found = self._run.orders_at_end() if self._run.is_over else self._run.ask("orders").result()
                self._at = at
        return self._found


class RemoteRun:
    """One live run in another process, with what :class:`bknb.live.run.LiveRun` has for its task.

    Parameters
    ----------
    plan
        The run.
    ask
        Asks the process about a run, by its key: an answer to come.
    on_event
        Called with each result of a minute.
    code
        Source text of the user's functions.

    Attributes
    ----------
    plan, on_event, code
        As given.
    key
        Symbol and strategy.
    records
        What was told of its events, warnings and failures.
    told
        Other values, by name, as they were told last.
    looks
        How often something was told.
    by_hand
        Has decisions by hand carried out.
    """

    mode: Final = "live"
    frame_name: Final = None

    def __init__(
        self, plan: LivePlan, ask: Callable[..., Future[Any]], on_event: Callable[[Event], None], *, code: Any
    ) -> None:
        self.plan, self.on_event, self.code = plan, on_event, code
        self.key: Key = (plan.symbol, plan.strategy.name)
        self._ask = ask
        self.by_hand, self._orders = RemoteByHand(self), RemoteOrders(self)
        self.looks = 0
        self.wants_pause, self.wants_stop = False, ""
        self._lost: list[tuple[str, int]] = []  # when and why its process ended
        self._over: Future[Any] = Future()
        self._changing = threading.Lock()
        self._begin_anew()

    def _begin_anew(self) -> None:
        now = self.plan.clock.now()
        self.records = Records(_limit=MAX_NOTES)
        self.published = RunSeries(self.plan.settings, until=None, warn=self.records.warn)
        self._series: Series | None = None
        self.told: dict[str, Any] = {
            "start": now,
            "last": now,
            "seconds": 0.0,
            "stopping": "",
            "paused": False,
            "disagreement": "",
            "silent_since": None,
            "unwatched": "",
            "positions": (),
            "decisions": (),
        }

    # --- what is told -------------------------------------------------------------------------------------------

    def looked(self, looked: Looked) -> None:
        """Take in what has changed."""
        with self._changing:
            self.looks += 1
            if looked.anew:
                self._begin_anew()
            values, records, candles = looked.changes
            self.told |= values
            put_in(self.records, records)
            if looked.anew or "_failures" in records:
                for text, when in self._lost:
                    self.records.note("state", "process", text, when=when)
            if candles is not None:
                self._series = series_with(self._series, candles, self.plan.grid)

    def goes_on(self) -> None:
        """It went on before it was followed: what was asked of it there is asked again after a new start."""
        self.wants_pause, self.wants_stop = self.told["paused"], self.told["stopping"]

    def same_event(self, event: Any) -> Any:
        """The object among the records that is equal to an event, which was told right before; else the event."""
        records = self.records
        for known in (records.events, records.positions, records.milestones, records.refused, records.rejected):
            for each in reversed(known[-8:]):
                if type(each) is type(event) and each == event:
                    return each
        return event

    def process_ended(self, text: str) -> None:
        """The process has ended, and is to begin again."""
        self._lost.append((text, self.last))
        self.records.note("state", "process", text, when=self.last)
        subjects.error.emit(
            messages.ErrorEvent(kind="state", message=text, mode="live", when=self.last, **self.plan.labels())
        )

    def over(self, over: Over) -> None:
        """It is over."""
        self.looks += 1
        if not self._over.done():
            self._over.set_result(over) if over.error is None else self._over.set_exception(over.error)

    def given_up(self, text: str) -> None:
        """Its process has ended and does not begin again."""
        held = [f"the {'position' if each.size else 'entry'} {each.id!r}" for each in self.told["positions"]]
        if held:
            self.told["unwatched"] = (
                f"{' and '.join(held)} {'is' if len(held) == 1 else 'are'} not watched any more: "
                "start the run again, it goes on from its saved state"
            )
        if not self._over.done():
            self._over.set_exception(StateError(text))

    async def run(self) -> Any:
        """Wait until it is over; returns its account and positions in money, or raises what ended it."""
        return (await asyncio.wrap_future(self._over)).money

    @property
    def is_over(self) -> bool:
        """Whether its end was told."""
        return self._over.done()

    # --- what a task asks ---------------------------------------------------------------------------------------

    def ask(self, what: What, *given: Any) -> Future[Any]:
        """Ask the process about it."""
        return self._ask(what, self.key, *given)

    def _do(self, what: What, *given: Any) -> None:
        """Ask, and wait until it is done; where the process begins again just now, it is told then."""
        with suppress(StateError):
            self.ask(what, *given).result()

    def pause(self) -> None:
        """Ask for no new entries until ``resume``."""
        self.wants_pause = True
        self._do("pause")

    def resume(self) -> None:
        """Ask for entries again."""
        self.wants_pause = False
        self._do("resume")

    def stop(self, *, now: bool = False) -> None:
        """Open nothing new, and end when nothing is open any more; ``now`` ends at once."""
        self.wants_stop = "now" if now or self.wants_stop == "now" else "entries"
        self._do("stop", now)

    start = property(lambda self: self.told["start"], doc="First moment, UTC ms.")
    last = property(lambda self: self.told["last"], doc="The moment up to which everything is done, UTC ms.")
    seconds = property(lambda self: self.told["seconds"], doc="How long it took, s.")
    disagreement = property(lambda self: self.told["disagreement"], doc="Why nothing is opened.")
    silent_since = property(lambda self: self.told["silent_since"], doc="Since when no minute has come, UTC ms.")
    unwatched = property(lambda self: self.told["unwatched"], doc="What nobody watches any more.")

    @property
    def paused(self) -> bool:
        """Whether no new entries are asked for at present."""
        return bool(self.told["paused"])

    @property
    def stopping(self) -> str:
        """``""``, ``"entries"`` once it opens nothing new any more, ``"now"`` once it leaves."""
        return self.told["stopping"] or self.wants_stop

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop."""
        return bool(self.stopping)

    @property
    def orders(self) -> RemoteOrders | None:
        """The orders at the broker, when there is one."""
        return None if self.plan.broker is None else self._orders

    def recorded(self) -> tuple[list[Row], list[RunNote]]:
        """The candles it has worked on, and its notes: asked for while it goes on, then from the disk.

        Raises
        ------
        StateError
            When they cannot be had.
        """
        if not self.is_over:
            found: tuple[list[Row], list[RunNote]] = self.ask("recorded").result()
            return found
        symbol, strategy = self.key
        for left in range(_GIVES_BACK_LOOKS, -1, -1):
            try:
                self.plan.store.acquire()
                break
            except StateError:  # its process gives the store back any moment
                if not left:
                    raise
                threading.Event().wait(_LOOK_SECONDS)
        try:
            return Recording(self.plan.store, (strategy, symbol)).load()
        finally:
            self.plan.store.release()

    def orders_at_end(self) -> Orders:
        """Its orders as they were told with its end; none where that was a failure."""
        return Orders() if self._over.exception() is not None else self._over.result().orders

    @property
    def missing(self) -> tuple[int, str]:
        """How many bars never came, and of which interval they are."""
        return missing_in(self.records.holes, self.plan.base, self.plan.grid)

    @property
    def listener_seconds(self) -> float:
        """How long (s) a run that has ended may still wait for its listeners."""
        return LISTENER_SECONDS

    def series(self) -> dict[tuple[str, str], Series]:
        """The base bars that are still in memory."""
        return {} if self._series is None else {(self.plan.symbol, self.plan.base): self._series}

    def release_candles(self) -> None:
        """Drop the candles of a run that is over."""
        self._series = None
