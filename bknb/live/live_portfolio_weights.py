"""The weights of several symbols in a live portfolio: as over history, with the plan of the newest answer on disk.

The plan is saved before the first of its changes. Each leg saves its change with its own state, so the state of a leg
says whether its change is done: a process that goes on asks the legs that have not done theirs, and tells them what the
saved plan says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..domain.formatting import utc_text
from ..domain.manage_answers import Add, Cancel, Close, Move, PositionAnswer, Reduce
from ..domain.schedules import reads_series
from ..domain.signal import Signal
from ..domain.states import Holding, State
from ..domain.weight_with_levels import Weight
from ..engine.portfolio_weights import PortfolioWeights, WeightsPlan
from ..engine.weights_together import Due
from ..errors import NotEnoughData, UsageError
from ..market.bar_slots import bar_close, slot_of
from ..market.source_hours import sessions_of
from ..ports import StateStore
from .live_account import LiveAccount
from .saved_values import decode_saved

if TYPE_CHECKING:
    from ..domain.signal_events import Event
    from ..engine.call_by_name import Ask
    from ..engine.leg_account import LegAccount
    from ..engine.registry import Strategy
    from ..market.strategy_context import Context

PLAN_VERSION: Final = 1
"""The format of saved plans."""


class SavedChanges(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one leg does, in this order."""

    cancel: Cancel | None = None
    close: Close | None = None
    reduce: Reduce | None = None
    add: Add | None = None
    move: Move | None = None
    signal: Signal | None = None

    def answers(self) -> list[PositionAnswer]:
        """As the lifecycle takes them."""
        return [each for name in self.__struct_fields__ if (each := getattr(self, name)) is not None]


class SavedPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The newest answer with weights, and what it leads to.

    Attributes
    ----------
    slot
        That it was asked for: its begin, or the moment of a schedule (UTC ms); ``None``: it was not asked yet.
    wanted
        The weight that each symbol is to have.
    done
        The symbols whose leg has had a turn since.
    when, changes, part
        At which moment (UTC ms) each leg does what, and how much of what makes positions larger is paid for.
    scaled
        How often that was less than all, up to now.
    due
        What legs have to do because of another one.
    """

    version: int = PLAN_VERSION
    slot: int | None
    wanted: dict[str, Weight]
    done: tuple[str, ...] = ()
    when: int | None = None
    changes: dict[str, SavedChanges] = {}
    part: float = 1.0
    scaled: int = 0
    due: dict[str, Due] = {}


_FIELDS: Final[dict[type, str]] = {Cancel: "cancel", Close: "close", Reduce: "reduce", Add: "add", Move: "move"}


def _saved(answers: list[PositionAnswer]) -> SavedChanges:
    given: dict[str, Any] = {"signal" if isinstance(each, Signal) else _FIELDS[type(each)]: each for each in answers}
    return SavedChanges(**given)


def _plain(value: object) -> object:
    """A number of another library as one of Python; what is none, as it is shown."""
    item: Callable[[], object] | None = getattr(value, "item", None)
    return repr(value) if item is None else item()


def _read(payload: bytes) -> SavedPlan:
    return msgspec.json.decode(payload, type=SavedPlan)


class LivePortfolioWeights(PortfolioWeights):
    """The legs of a strategy that answers for several symbols at once, in a live portfolio.

    Parameters
    ----------
    strategy
        The strategy.

    Attributes
    ----------
    other_hours
        The first symbol, and one that has other trading hours; ``None``: all have the same.
    may_ask
        Whether each leg can be asked alone at a moment (UTC ms) at which a bar of it closes, by its symbol.
    """

    def __init__(self, strategy: Strategy) -> None:
        super().__init__(strategy)
        self.other_hours: tuple[str, str] | None = None
        self.may_ask: dict[str, Callable[[int], bool]] = {}
        self._store: StateStore | None = None
        self._key: tuple[str, ...] = ()  # under which its plan is saved
        self._on_disk: SavedPlan | None = None
        self._dropped: tuple[SavedPlan, int] | None = None  # a plan whose slot was over, at this time (UTC ms)
        self._before: tuple[WeightsPlan | None, dict[str, Due]] = (None, {})  # what was noted last
        self._acting: dict[str, Due] = {}  # what a leg does in its turn
        self._now: Callable[[], int] = int

    def begin(self, symbol: str, account: LegAccount, source: object) -> None:
        """Take what the leg of a symbol has of the account, and where its candles come from."""
        super().begin(symbol, account, source)
        first, known = next(iter(self._sources.items()))
        if self.other_hours is None and sessions_of(source, symbol) != sessions_of(known, first):
            self.other_hours = first, symbol

    def check_broker(self) -> None:
        """Raise ``UsageError`` where a broker would be sent orders while the market of their symbol is closed."""
        if self.other_hours is not None:
            first, symbol = self.other_hours
            raise UsageError(
                f"with a broker, the symbols of {self._strategy.name!r} need the same trading hours, and those of "
                f"{symbol} are not those of {first}: it would be sent orders while a market is closed\n"
                "give each market weights of its own, in one portfolio"
            )

    def tell_time(self, now: Callable[[], int]) -> None:
        """Take what says the moment that the portfolio has come to (UTC ms)."""
        self._now = now

    def note(self, events: Iterable[Event]) -> None:
        """Note what a turn of a leg leads to, before it is saved."""
        if self.together is not None:
            self._before = self._plan, dict(self.together.rows)
            for event in events:
                self.told(event, self._now())

    def take_back(self) -> None:
        """What was noted last could not be saved: it has not happened."""
        if self.together is not None:
            self._plan, rows = self._before
            self.together.rows = rows

    def to_end(self) -> list[str]:
        """The symbols of legs that have something to do now because of another one."""
        now, rows = self._now(), {} if self.together is None else self.together.rows
        return [symbol for symbol, due in rows.items() if due.when <= now]

    @contextmanager
    def ending(self, symbol: str, state: State) -> Iterator[PositionAnswer | None]:
        """What a leg does because of another one.

        Where that raises, it has not been done. It is on the disk as long as the state from before it is.
        """
        assert self.together is not None  # else nothing is due  # noqa: S101
        due = self.together.rows[symbol]
        self._acting = {symbol: due}
        try:
            yield self.together.answer(symbol, state)
        except BaseException:
            self.together.rows[symbol] = due
            raise
        finally:
            self._acting = {}

    def close_of(self, symbol: str, when: int) -> float:
        """The last close of a symbol at a moment (UTC ms), quote currency."""
        return self._legs[symbol].prices.at(when)

    def call_outside(self, outside: Callable[[Ask], Ask]) -> None:
        """Have its function called outside of the loop of the live runs."""
        ask = outside(self._strategy.ask)

        async def asked(ctx: Context) -> Any:
            slot = self._slot
            try:
                return await ask(ctx)
            except NotEnoughData as error:
                if error.late and self._slot == slot:  # a candle has closed and not come: it is asked again
                    self._slot = None
                raise

        self._ask = asked

    def pass_over(self, when: int) -> None:
        """A candle of a moment (UTC ms) was waited for long enough: its slot passes without an answer."""
        self._slot = max(self._slot or 0, self._slot_of(when))

    def has_begun(self, symbol: str, when: int) -> bool:
        """Whether a bar of a leg has closed by a moment (UTC ms)."""
        self._follow()
        return self._legs[symbol].prices.last_close(when) is not None

    def closes_of_bars(self, symbol: str, after: int, until: int, step: int) -> list[int]:
        """When bars of a length (ms) of a symbol can close, behind one moment up to another (UTC ms)."""
        found, grid = list[int](), self._grids[symbol]
        when = bar_close(slot_of(after, step, grid), step, grid)
        while when <= until:
            found.append(when)
            when = bar_close(when, step, grid)
        return found

    def has_bar(self, symbol: str, when: int) -> bool:
        """Whether a bar of another leg closed at a moment (UTC ms), which can be asked then; it is the turn of a leg.

        By then all have begun.
        """
        self._follow()
        others = ((name, leg.prices) for name, leg in self._legs.items() if name != symbol)
        return any(
            len(prices.closes_between(when - 1, when)[0]) and self.may_ask[name](when) for name, prices in others
        )

    # --- on disk ----------------------------------------------------------------------------------------------------

    def save_in(self, store: StateStore, portfolio: str) -> None:
        """Have its plan saved under the name of a portfolio."""
        self._store, self._key = store, (portfolio, self._strategy.name)

    def _saved(self) -> SavedPlan | None:
        payload = None if self._store is None else self._store.read("plan", self._key)
        return None if payload is None else decode_saved({1: _read}, payload, "plan", self._key)

    def restore(self, now: int) -> None:
        """Take up the plan that an earlier process saved, at a moment of the clock (UTC ms).

        Raises
        ------
        StateError
            It cannot be read.
        """
        if (saved := self._saved()) is None:
            return
        self._on_disk, self._slot, self.scaled = saved, saved.slot, saved.scaled
        if self.together is not None:
            self.together.rows = dict(saved.due)
        if saved.slot is not None and self._is_over(saved.slot, now):
            self._dropped = saved, now
            return
        self._wanted, self._done = dict(saved.wanted), {*saved.done}
        if saved.when is not None:
            changes = {symbol: each.answers() for symbol, each in saved.changes.items()}
            self._plan = WeightsPlan(saved.when, changes, saved.part)

    def begins(self, now: int) -> int:
        """When a leg of which nothing was saved begins (UTC ms): now, or with the plan it has a part of.

        Raises
        ------
        StateError
            The plan cannot be read.
        """
        saved = self._saved()
        if saved is None or saved.slot is None or saved.when is None or self._is_over(saved.slot, now):
            return now
        return min(saved.when, now)

    def _is_over(self, slot: int, now: int) -> bool:
        """Whether the slot of an answer has ended: there is a newer one to be asked for."""
        at = self._strategy.at
        if at is None or reads_series(at):
            return self._interval_at(now) > self._interval_at(slot)
        return bool(at.moments(slot + 1, now + 1))

    def save(self) -> None:
        """Save the newest answer and its plan, where they are not on the disk; raises ``StateError``."""
        value = self._value()
        if self._store is not None and value != self._on_disk:
            self._store.write("plan", self._key, msgspec.json.encode(value, enc_hook=_plain))
            self._on_disk = value

    def _value(self) -> SavedPlan:
        plan = self._plan
        return SavedPlan(
            slot=self._slot,
            wanted=dict(self._wanted),
            done=tuple(sorted(self._done)),
            when=None if plan is None else plan.when,
            changes={} if plan is None else {symbol: _saved(each) for symbol, each in plan.changes.items() if each},
            part=1.0 if plan is None else plan.part,
            scaled=self.scaled,
            due={} if self.together is None else self.together.rows | self._acting,
        )

    # --- what is other than over history ----------------------------------------------------------------------------

    def _asked(self, ctx: Context, made: Callable[[], object]) -> Any:
        self._follow(ctx.when_ms + 1)
        if self._dropped is not None:
            self._tell_dropped(*self._dropped, ctx)
        if self._slot is not None and self._slot_of(ctx.when_ms) < self._slot:
            return None  # the others have gone on without it: it follows the newest answer
        return super()._asked(ctx, made)

    def _follow(self, until: int = 0) -> None:
        shared = self._shared
        assert isinstance(shared, LiveAccount)  # its legs are those of a live portfolio  # noqa: S101
        shared.follow(until)

    def _tell_dropped(self, saved: SavedPlan, now: int, ctx: Context) -> None:
        """Tell what a leg does not do of a plan whose slot was over at a moment (UTC ms), where it comes to it."""
        symbol, when = ctx.symbol, ctx.when_ms
        if saved.slot is None or self._is_over(saved.slot, when):
            self._dropped = None
            return
        changes, again = saved.changes.get(symbol, SavedChanges()), self._turns.get(symbol) == when
        if not any(isinstance(each, Add) == again for each in changes.answers()) or self._has_ordered(symbol, when):
            return
        text = (
            f"the plan of {self._strategy.name!r} of {utc_text(when)} is stale, as its slot was over at "
            f"{utc_text(now)}: what {symbol} had not done of it is dropped"
        )
        self._loops[symbol].note("late", "stale", text, when)

    def _has_ordered(self, symbol: str, when: int) -> bool:
        """Whether the add of a leg at a moment (UTC ms) was ordered, by the process before this one."""
        state = self._legs[symbol].state
        orders = () if not isinstance(state, Holding) or state.book is None else state.book.orders
        return any(order.kind == "add" and order.decided_at >= when for order in orders)

    def _changes(self, symbol: str, ctx: Context) -> list[PositionAnswer] | None:
        found = super()._changes(symbol, ctx)
        adds = found is not None and any(isinstance(answer, Add) for answer in found)
        return None if adds and self._has_ordered(symbol, ctx.when_ms) else found
