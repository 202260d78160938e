"""Decisions by hand in a live run: given in any thread, carried out between its minutes, answered with what happens.

A decision is an input of the lifecycle like those of the strategy, with the reason ``manual``. It is on the disk before
its order leaves. What was decided within a minute fills at the open of the first candle from the next one on; a moved
level is in force from that candle on, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

import msgspec

from ..domain import manage_answers_carried_out, manual_steps, order_of_fills_in_a_managed_minute  # noqa: F401 -- a run of weeks imports nothing later
from ..domain.formatting import minute_text
from ..domain.late_orders import OldPrice, OrderRole
from ..domain.lifecycle import (
    Activate,
    Answer,
    Flat,
    Halt,
    Holding,
    Input,
    Managed,
    Opening,
    Planned,
    State,
    Waiting,
    signal_id,
    signals_of,
    step,
    waiting_signals,
)
from ..domain.manage_answers import Cancel, Close, Move, Reduce, read_answers
from ..domain.manage_answers_refused import note_fault
from ..domain.position_book import PlannedMove
from ..domain.position_seen_by_manage import HeldPosition, position_view
from ..domain.signal import Signal
from ..domain.signal_events import AddCancelled, Moved
from ..engine.strategy_loop import StrategyLoop
from ..errors import NotEnoughData, StateError, UsageError
from .live_market import LiveMarket
from .manual_instructions import Action, ActivateEntry, Flatten, Instruction, name_of
from .manual_orders_of_places import (
    PlannedInLoop,
    decisions_in,
    in_each,
    loop_to_act_on,
    loop_to_open_in,
    loops_of,
    loops_to_flatten,
    planned_moves,
)
from .manual_refusals import (
    GOES_ON,
    OVER,
    Now,
    entry_text,
    entry_to_activate,
    refuse,
    there_is,
    waiting_adds,
    waits_text,
)
from .new_entries import NewEntries
from .turn_lock import Turn


class ByHand:
    """The decisions by hand of one live run.

    Parameters
    ----------
    turn
        Held by the run while it works.
    call
        Has the loop of the run call a function soon; from any thread.
    """

    def __init__(self, turn: Turn, call: Callable[[Callable[[], object]], None]) -> None:
        self._turn = turn
        self._call = call
        self._loop: StrategyLoop | None = None
        self._market: LiveMarket | None = None
        self._began = asyncio.Event()
        self._over = False
        self._left_nothing = False  # at its end
        self._broken: list[PlannedMove] = []  # moves that were tried and raised
        self._tasks: set[asyncio.Task[None]] = set()

    # --- from any thread ----------------------------------------------------------------------------------------

    def give(self, instruction: Instruction, place: str | None = None) -> Future[str]:
        """Have a decision carried out; the future is the answer, or why it was not carried out (``UsageError``).

        ``place`` names the place of a strategy that it is for; ``None``: the only one it can be for.
        """
        answered: Future[str] = Future()
        self._call(lambda: self._start(instruction, place, answered))
        return answered

    def decisions(self) -> tuple[str, ...]:
        """What can be decided now, by name; may be another thing a moment later."""
        return () if self._over or self._loop is None else decisions_in(self._loop, self._account)

    def positions(self, when: int, price: float) -> tuple[HeldPosition, ...]:
        """What is open or waits, as ``manage`` would see it at ``when`` (UTC ms) and ``price`` (quote currency)."""
        loops = [] if self._over or self._loop is None else loops_of(self._loop)
        held = [(each.state, each.rules) for each in loops]
        return tuple(
            position_view(state, when, price, rules) for state, rules in held if isinstance(state, Holding | Waiting)
        )

    # --- on the loop of the run ---------------------------------------------------------------------------------

    def begin(self, loop: StrategyLoop, market: LiveMarket, entries: NewEntries) -> None:
        """The state is restored: decisions are carried out from now on.

        Parameters
        ----------
        loop, market
            The state of the run, its clock and prices.
        entries
            Whether something may be opened at present; its account has the orders at the broker.
        """
        self._loop, self._market = loop, market
        self._account, self._entries = entries.account, entries
        self._began.set()

    def end(self) -> None:
        """The run is over: what was not carried out by now is answered with that."""
        self._over = True
        if self._loop is not None:
            self._left_nothing = isinstance(self._loop.state, Flat)
        for task in self._tasks:
            task.cancel()

    def release(self) -> None:
        """Hold nothing of the run any more, after its end: its loop and its market hold its candles."""
        self._loop = self._market = None

    def _start(self, instruction: Instruction, place: str | None, answered: Future[str]) -> None:
        if not answered.set_running_or_notify_cancel():
            return
        if self._over:
            self._answer_over(instruction, answered)
            return
        task = asyncio.get_running_loop().create_task(self._answer(instruction, place, answered))
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not answered.done():  # the run ended before it began
                self._answer_over(instruction, answered)

        task.add_done_callback(done)

    async def _answer(self, instruction: Instruction, place: str | None, answered: Future[str]) -> None:
        try:
            await self._began.wait()
            async with self._turn:
                text = await self._carry_out(instruction, place)
            await self._account.sent()
            text += GOES_ON if self._over else ""
        except asyncio.CancelledError:
            self._answer_over(instruction, answered)
        except BaseException as error:  # noqa: BLE001 -- raised where the decision was given, exit() of a store, too
            answered.set_exception(error)
        else:
            answered.set_result(text)

    def _answer_over(self, instruction: Instruction, answered: Future[str]) -> None:
        if isinstance(instruction, Flatten) and self._left_nothing:
            answered.set_result("")
        else:
            answered.set_exception(UsageError(OVER))

    async def _carry_out(self, instruction: Instruction, place: str | None) -> str:
        loop, market = self._loop, self._market
        assert loop is not None  # it began  # noqa: S101
        assert market is not None  # noqa: S101
        now = Now.of(loop, market, waits=isinstance(instruction, Move))
        if isinstance(instruction, Flatten):
            return await in_each(loops_to_flatten(loop, place), partial(self._flatten, given=instruction, now=now))
        if isinstance(instruction, Signal):
            return await self._open(loop_to_open_in(loop, instruction, place, now.when), instruction, now)
        return await self._act(loop_to_act_on(loop, instruction, place), instruction, now)

    async def _flatten(self, loop: StrategyLoop, given: Flatten, now: Now) -> str:
        state = loop.state
        if isinstance(state, Waiting):
            return await self._cancel(loop, state, Cancel(given.note), now)
        if isinstance(state, Opening):
            return await self._take_back(loop, state, given.note, now, else_="nothing is closed yet")
        if isinstance(state, Holding) and state.leaving is None:
            return await self._managed(loop, state, Close(given.note), now)
        return ""

    async def _act(self, loop: StrategyLoop, instruction: Action, now: Now) -> str:
        state = loop.state
        if isinstance(instruction, Cancel):
            return await self._cancel(loop, state, instruction, now)
        if isinstance(instruction, ActivateEntry):
            return await self._activate(loop, state, instruction, now)
        if isinstance(instruction, Move) and instruction.price_open is not msgspec.UNSET and isinstance(state, Waiting):
            return await self._move_entry(loop, state, instruction, now)
        if not isinstance(state, Holding):
            raise UsageError(f"{name_of(instruction)} needs an open position; {self._there_is(loop)}")
        if state.leaving is not None:
            raise UsageError(f"{name_of(instruction)} came too late; {self._there_is(loop)}")
        return await self._managed(loop, state, instruction, now)

    async def _managed(self, loop: StrategyLoop, state: Holding, instruction: Close | Reduce | Move, now: Now) -> str:
        given = await self._given(state, instruction, now)
        expected = step(state, given, loop.rules)
        refuse(loop, expected.events)
        after = expected.state
        leaves = not (isinstance(after, Holding) and after.leaving is None)
        name = f"{state.signal.position} {state.signal.symbol} ({state.signal.id})"
        behind = now.when > loop.rules.bar_end(now.moment)  # minutes have closed that are to be worked on first
        if isinstance(instruction, Move) and (behind or not leaves):
            if (
                not leaves
                and instruction.memo is msgspec.UNSET
                and not any(isinstance(event, Moved | AddCancelled) for event in expected.events)
            ):
                raise UsageError(
                    f"move changes nothing: {instruction!r} leaves the levels of {name} as they are\n"
                    "a stop is moved towards the market only; loosen=True moves it away from it"
                )
            if now.when > now.moment:
                await _taken(loop, Planned(given.answers[0], now.when))  # type: ignore[arg-type]  # read_answers kept it
            else:
                await _taken(loop, given)
            return f"moves the levels of {name}; in force from {minute_text(now.when)} UTC on: {instruction!r}"
        if isinstance(instruction, Close) and instruction.at == "close" and not leaves:
            assert isinstance(after, Holding)  # one that leaves has no order  # noqa: S101
            if after.book == state.book or after.book is None or not after.book.closing:
                raise UsageError(f"close changes nothing: {name} closes at the close of its session already")
            await _taken(loop, given)
            return f"closes {name} at the close of its session, {minute_text(after.book.closing.moment)} UTC"
        await self._filled(loop, given, "closing order" if leaves else "order to reduce", now, "exit")
        if leaves:
            return f"closes {name} {now.fills}"
        assert isinstance(instruction, Reduce)  # a Close leaves, and a Move that does not was answered  # noqa: S101
        whole = "its first size" if instruction.of == "first" else "what is held"
        return f"reduces {name} by {instruction.share:g} of {whole} {now.fills}"

    async def _move_entry(self, loop: StrategyLoop, state: Waiting, instruction: Move, now: Now) -> str:
        self._check_entries("move")
        given = await self._given(state, instruction, now)
        refuse(loop, step(state, given, loop.rules).events)
        refused = loop.records.refused[-1:]
        await self._filled(loop, given, "entry order", now, "entry")
        if loop.records.refused[-1:] != refused:
            note = loop.records.refused[-1].note or "no place"
            raise UsageError(f"move took back {waits_text(state)}, and the order in its place was refused: {note}")
        return f"moves {waits_text(state)}, as an order of its own that waits from {minute_text(now.when)} UTC on"

    async def _given(self, state: Holding | Waiting, instruction: Close | Reduce | Move | Cancel, now: Now) -> Managed:
        answers, faults, text = read_answers(instruction)
        price, close = await self._prices(state.signal.price_open)
        return Managed(answers, price, now.when, close, faults, text, source="manual")

    async def _cancel(self, loop: StrategyLoop, state: State, instruction: Cancel, now: Now) -> str:
        needs = "cancel needs an entry or an add that waits"
        if isinstance(state, Opening):
            return await self._take_back(loop, state, instruction.note, now, else_=needs)
        adds = waiting_adds(state) if isinstance(state, Holding) and state.leaving is None else []
        if not (isinstance(state, Waiting) or (isinstance(state, Holding) and adds)):
            raise UsageError(f"{needs}; {self._there_is(loop)}")
        given = await self._given(state, instruction, now)
        waits = isinstance(state, Waiting) or instruction.id is not None
        refuse(loop, step(state, given, loop.rules).events if waits else ())
        await _taken(loop, given)
        if isinstance(state, Waiting):
            return f"takes back {waits_text(state) if instruction.id is None else instruction.id}"
        if instruction.id is not None:
            return f"takes back {instruction.id}"
        return f"takes back {len(adds)} add{'' if len(adds) == 1 else 's'} to {state.signal.id}"

    async def _take_back(self, loop: StrategyLoop, state: Opening, note: str, now: Now, *, else_: str) -> str:
        """Take back an entry order that has not left; else raise ``UsageError``, which begins with ``else_``."""
        if (fault := note_fault(note)) is not None:
            raise UsageError(f"cancel: {fault.text}")
        price, _ = await self._prices(state.signal.price_open)
        if self._account.has_left(state):  # asked last: it may have left meanwhile
            raise UsageError(f"{else_}; {self._there_is(loop)}")
        await _taken(loop, Halt(now.when, price, "manual", note))
        names = " and ".join(signal.id for signal in waiting_signals(state))
        return f"takes back the entry order of {names}, which has not left"

    async def _activate(self, loop: StrategyLoop, state: State, instruction: ActivateEntry, now: Now) -> str:
        if not isinstance(state, Waiting):
            raise UsageError(f"activate needs an entry that waits; {self._there_is(loop)}")
        self._check_entries("activate")
        chosen = entry_to_activate(state, instruction.id, at_broker=self._account.desk is not None)
        price, _ = await self._prices(chosen.price_open)
        self._check_entries("activate")
        others = [signal for signal in waiting_signals(state) if signal is not chosen]
        await self._filled(loop, Activate(now.when, price, chosen.id), "entry order", now, "entry")
        beside = f", and takes back {' and '.join(map(entry_text, others))}" if others else ""
        return f"opens {entry_text(chosen)} {now.fills}{beside}"

    async def _open(self, loop: StrategyLoop, instruction: Signal, now: Now) -> str:
        self._check_entries("open")
        state = loop.state
        if not (isinstance(state, Flat) or (isinstance(state, Holding) and state.leaving is not None)):
            raise UsageError(f"open needs nothing that is open or waits; {self._there_is(loop)}")
        answers, faults, _ = read_answers(instruction)
        if faults:
            raise UsageError(f"open needs a valid Signal: {faults[0].text}")
        signal = answers[0]
        assert isinstance(signal, Signal)  # it was one  # noqa: S101
        if signal.entry == "close":
            raise UsageError("open by hand takes no entry='close'\nleave entry out, or let the strategy return it")
        if signal.id is None:
            signal = msgspec.structs.replace(signal, id=f"{signal_id(loop.rules, now.when)}-manual")
        try:
            price, _ = await self._prices(None)
        except NotEnoughData as error:
            text = f"open needs a price of {loop.rules.symbol}, and no candles of it have come yet"
            raise UsageError(f"{text}\ntry again after the next minute") from error
        self._check_entries("open")
        given = Answer(now.when, price, signal)
        refuse(loop, step(state, given, loop.rules).events)
        refused = loop.records.refused
        before = refused[-1] if refused else None
        await self._filled(loop, given, "entry order", now, "entry")
        if signal.id not in {each.id for each in signals_of(loop.state)}:
            self._check_entries("open")
            refusal = refused[-1] if refused else None
            if refusal is None or refusal is before:
                text = "open needs a run that takes entries; this one was paused while its risk profile was asked"
                raise UsageError(f"{text}\nit was resumed since: repeat this")
            raise UsageError(f"open was refused by the risk profile {refusal.risk!r}: {refusal.note or 'no place'}")
        name = f"{signal.position} {loop.rules.symbol} ({signal.id})"
        if isinstance(loop.state, Waiting):
            waits = f"which waits from {minute_text(now.when)} UTC on"
            return f"opens {name} with an entry at {signal.price_open:g}, {waits}"
        entry = "" if signal.price_open is None else f" with an entry at {signal.price_open:g}"
        return f"opens {name}{entry} {now.fills}"

    async def _prices(self, otherwise: float | None) -> tuple[float, float]:
        assert self._market is not None  # it began  # noqa: S101
        return await self._market.prices(otherwise)

    async def _filled(self, loop: StrategyLoop, given: Input, order: str, now: Now, role: OrderRole) -> None:
        """Take a decision that may fill at a price of long ago, which is noted then."""
        await _taken(loop, given, OldPrice(order, (now.when, role)) if now.late_minutes else None)

    def _there_is(self, loop: StrategyLoop) -> str:
        return there_is(loop, self._account)

    def _check_entries(self, name: str) -> None:
        if reason := self._entries.refusal:
            raise UsageError(f"{name} needs a run that takes entries; {reason}")

    # --- for the run, in its turn -------------------------------------------------------------------------------

    def planned(self, when: int) -> list[PlannedInLoop]:
        """The moves by hand that are due at a moment (UTC ms), in their order; each is judged by itself."""
        found = [] if self._loop is None else planned_moves(self._loop, when)
        return [each for each in found if each[1] not in self._broken]

    async def carry_out_planned(self, planned: PlannedInLoop, when: int) -> None:
        """Carry out a planned move at a moment (UTC ms); one that raises is not tried again in this process.

        Raises
        ------
        StateError, NotEnoughData
            It has not happened: try it again.
        """
        loop, one = planned
        if not isinstance(loop.state, Holding) or loop.state.leaving is not None:
            return
        price, close = await self._prices(loop.state.signal.price_open)
        given = Managed((one.move,), price, when, close, decided_at=loop.decided_at(when, "exit"), source="manual")
        try:
            await loop.take(given)
        except (NotEnoughData, StateError):
            raise
        except Exception:
            self._broken.append(one)
            raise


async def _taken(loop: StrategyLoop, given: Input, old_price: OldPrice | None = None) -> None:
    """Take a decision; one that is saved when the run ends meanwhile is taken, for the next start goes on with it."""
    before = loop.state
    try:
        await loop.take(given, old_price=old_price)
    except asyncio.CancelledError:
        if loop.state is before:
            raise
