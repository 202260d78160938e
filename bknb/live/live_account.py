"""The account of a live run, or of the legs of a live portfolio: it can be taken back, saved, and taken up again.

What it decides is decided by :class:`bknb.engine.shared_account.SharedAccount`, as in a backtest. A change that cannot
be saved has not happened: the account is as it was before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import replace

from ..domain.affordable_quantity import FilledQuantity, SizedOrder
from ..domain.costs import FilledBy
from ..domain.execution_fills import execution_model
from ..domain.ledger import Ledger
from ..domain.lifecycle import position_of
from ..domain.risk import Reserve, Verdict
from ..domain.signal import OpenSignal, ScheduledSignal, SignalKey, key_of
from ..domain.signal_events import Reason
from ..domain.size_inputs import ClosedTrades
from ..domain.sizes import AtrRisk
from ..domain.sizing_formulas import Sizing
from ..domain.states import Input, Rules, State, Step
from ..engine.account_plan import AccountPlan, LegMoney
from ..engine.bar_prices import BarPrices
from ..engine.leg_account import LegAccount
from ..engine.minute_walk import minutes_that_fill
from ..engine.position_in_money import PositionInMoney
from ..engine.risk_book import RiskBook, always
from ..engine.shared_account import AccountChange, Freed, SharedAccount
from ..errors import StateError, UsageError
from ..market.calls_in_threads import user_calls_of
from ..market.candles import Candles
from ..market.series import Series
from ..market.window import Window
from .plan import LivePlan

if TYPE_CHECKING:
    from .run_progress import Reached


class SavedLeg(msgspec.Struct, frozen=True, kw_only=True):
    """What one leg has of a saved account.

    Attributes
    ----------
    key, held, first
        The signal of its position, that in money, and the quantity of its entry; ``None``: nothing is open.
    orders
        What waits: the id of the signal, the number of the order, and what was granted.
    charged, followed
        How many rows of funding were charged, and up to when (UTC ms) they have moved the price of a liquidation.
    closed
        The trades that were closed before.
    price
        The last close that was known, quote currency.
    """

    key: SignalKey | None = None
    held: PositionInMoney | None = None
    first: float = 0.0
    orders: tuple[tuple[str, int, SizedOrder], ...] = ()
    charged: int = 0
    followed: int = 0
    closed: ClosedTrades = ClosedTrades()
    price: float | None = None


class SavedMoney(msgspec.Struct, frozen=True, kw_only=True):
    """An account as it is saved.

    Attributes
    ----------
    ledger
        Now.
    before, changes
        The account before the newest bars, and after each change in them.
    freed
        Money that exits in the newest bars freed.
    solvent
        Up to when it is known to have been worth something, UTC ms.
    legs
        In declared order.
    """

    ledger: Ledger
    before: Ledger
    changes: tuple[AccountChange, ...] = ()
    freed: tuple[Freed, ...] = ()
    solvent: int = 0
    legs: tuple[SavedLeg, ...]


class _LegMark(NamedTuple):
    """A leg of an account as it was, to be taken back to."""

    positions: dict[SignalKey, PositionInMoney]
    key: SignalKey | None
    held: PositionInMoney
    state: State
    orders: tuple[tuple[str, int, SizedOrder], ...]
    filled: dict[str, tuple[FilledQuantity, FilledBy]]
    first: float
    charged: int
    followed: int
    closed: ClosedTrades


class _Mark(NamedTuple):
    ledger: Ledger
    changes: int
    rows: int
    freed: list[Freed]
    solvent: int
    legs: list[_LegMark | None]


class LiveLegAccount(LegAccount):
    """The part of an account that one leg has, live."""

    shared: LiveAccount

    def __init__(self, shared: LiveAccount, order: int, money: LegMoney) -> None:
        super().__init__(shared, order, money)
        self.is_ready = False  # once the leg has begun
        self._followed: Series | None = None

    def begin_live(
        self,
        plan: LivePlan,
        window: Window,
        places: RiskBook | None,
        state: State,
        *,
        reached: Reached,
        warn: Callable[[str], object],
        before: Mapping[SignalKey, PositionInMoney],
    ) -> None:
        """Take the plan of the leg, its candles, its risk profile, the state it goes on from, and how far it has come.

        ``before`` are its positions that earlier processes closed.

        Raises
        ------
        StateError
            The saved account does not hold what the saved state does.
        """
        self._window, self._plan, self._reached = window, plan, reached
        self.positions = dict(before)
        saved = self.shared.saved.legs[int(self.name)] if self.shared.saved is not None else SavedLeg()
        nothing = Series(Candles.empty(), step=plan.base_ms, since=0, until=0)
        self._begin(plan, BarPrices(nothing), window, places, warn)
        self.prices.earlier = saved.price
        self.state, self.first = state, saved.first
        self._sizing.closed = saved.closed
        self.funding.charged, self.liquidation.followed = saved.charged, saved.followed
        self.waiting.take_up(saved.orders)
        key = self.open_key
        if key != saved.key:
            here, there = (name if name is None else name[0] for name in (key, saved.key))
            raise StateError(
                f"the saved account of {plan.strategy.name!r} on {plan.symbol} has the position {there}, and the saved "
                f"state {here}\nstart it without capital= until nothing is open, or choose another name or store"
            )
        if key is not None and saved.held is not None:
            self._held = self.positions[key] = saved.held
        self.is_ready = True

    @property
    def open_key(self) -> SignalKey | None:
        """The signal of what is open; ``None``: nothing is."""
        held = position_of(self.state)
        return None if held is None else key_of(held.signal)

    @property
    def closes_from(self) -> int | None:
        """From when on (UTC ms) its closes are needed for what an earlier process has not charged; ``None``: never."""
        shared = self.shared
        return None if shared.saved is None or self.name not in shared.ledger.positions else shared.charged_until

    def follow(self) -> None:
        """Take the bars that have come."""
        if not self.is_ready:
            return
        known = self._window.known(self._plan.symbol, self._window.base)
        if known is not None and known is not self._followed:
            self._followed, candles = known, known.candles
            if self._reached.volume_seen and execution_model(self._plan.execution).needs_volume:
                can_fill = candles.volume > 0
            else:
                begin = int(candles.timestamp.searchsorted(self._reached.known))
                can_fill = minutes_that_fill(candles, execution_model(self._plan.execution), begin=begin)
            self.prices.follow(known, np.asarray(can_fill))

    async def ask(self, command: Reserve, *, may_open: Callable[[], bool] = always) -> Verdict:
        """As in a backtest, with the bars that have come."""
        self.shared.follow()
        return await super().ask(command, may_open=may_open)

    async def _size(self, command: Reserve) -> SizedOrder | Reason:
        """A size; a function of the user's own, and what may read candles, in a thread."""
        sizing = self.money.sizing
        if not callable(sizing) and not isinstance(sizing, AtrRisk | Sizing):
            return self._sized(command)
        calls = user_calls_of(sizing, f"sizing-{self._plan.symbol}")
        return await calls.in_thread(partial(self._sized, command))

    def step(self, state: State, given: Input, rules: Rules) -> Step:
        """As in a backtest; what it books is taken back where it cannot be saved (:meth:`LiveAccount.take_back`)."""
        self.shared.follow()
        self.shared.note_mark()
        try:
            return super().step(state, given, rules)
        except BaseException:  # of a function of costs, say
            self.shared.take_back()
            raise

    def sent(self, signal: OpenSignal | ScheduledSignal) -> float:
        """How much of a signal a broker is sent, base currency.

        Raises
        ------
        UsageError
            The account has granted nothing of it.
        """
        sized = self.waiting.get((signal.id, 0))
        if sized is not None:
            return sized.quantity
        held = self.positions.get(key_of(signal)) if isinstance(signal, OpenSignal) else None
        if held is not None and held.fills:
            return held.fills[0].fill.order.quantity
        raise UsageError(f"the account has bought nothing of {signal.id!r}")

    # --- as a value ---------------------------------------------------------------------------------------------

    def mark(self) -> _LegMark:
        """The leg as it is."""
        held = self._copy()
        key = next((key for key, each in self.positions.items() if each is self._held), None)
        rows = self.waiting.rows
        positions, filled = dict(self.positions), dict(self._filled)
        due = self.funding.charged, self.liquidation.followed
        return _LegMark(positions, key, held, self.state, rows, filled, self.first, *due, self._sizing.closed)

    def _copy(self) -> PositionInMoney:
        """What is open as it is now: it goes on changing."""
        return replace(self._held, fills=[*self._held.fills])

    def take_back(self, mark: _LegMark) -> None:
        """Be as it was."""
        self.positions, self._held, self.state = mark.positions, mark.held, mark.state
        if mark.key is not None:
            self.positions[mark.key] = mark.held
        self.waiting.take_up(mark.orders)
        self._filled, self.first = mark.filled, mark.first
        self.funding.charged, self.liquidation.followed = mark.charged, mark.followed
        self._sizing.closed = mark.closed

    def saved(self) -> SavedLeg:
        """The leg as it is saved."""
        if not self.is_ready:  # of a leg that has not begun
            before = self.shared.saved
            return SavedLeg() if before is None else before.legs[int(self.name)]
        key, known = self.open_key, self._followed
        return SavedLeg(
            key=key,
            held=None if key is None else self._copy(),
            first=self.first,
            orders=self.waiting.rows,
            charged=self.funding.charged,
            followed=self.liquidation.followed,
            closed=self._sizing.closed,
            price=float(known.candles.close[-1]) if known is not None and len(known.candles) else self.prices.earlier,
        )


class LiveAccount(SharedAccount):
    """An account whose changes can be taken back, and that can be saved.

    Parameters
    ----------
    plan
        The account.

    Attributes
    ----------
    saved
        As an earlier process saved it; ``None``: it begins anew.
    """

    legs: list[LiveLegAccount]  # type: ignore[assignment]  # as this class makes them

    def __init__(self, plan: AccountPlan) -> None:
        super().__init__(plan)
        self.saved: SavedMoney | None = None
        self._mark: _Mark | None = None

    def _leg(self, order: int, money: LegMoney) -> LiveLegAccount:
        return LiveLegAccount(self, order, money)

    @property
    def charged_until(self) -> int:
        """Up to when all that was due was charged, UTC ms."""
        return self._solvent

    def follow(self) -> None:
        """Take the bars that have come of all legs."""
        for leg in self.legs:
            leg.follow()

    def take_up(self, saved: SavedMoney, when: int) -> None:
        """Go on with an account that an earlier process saved, from a moment (UTC ms) on.

        What it was worth in between is not known any more: it has its capital up to then.
        """
        self.saved, self.ledger, self._solvent = saved, saved.ledger, saved.solvent
        first = min([when, *(change.since for change in saved.changes)])
        self.changes = [AccountChange(first, saved.before), *saved.changes]
        self._freed = list(saved.freed)

    def value(self) -> SavedMoney:
        """The account as it is saved."""
        longest = max(leg.prices.step if leg.is_ready else 0 for leg in self.legs)
        newest = max((change.since for change in self.changes), default=0) - longest
        at = len(self.changes)
        while at and self.changes[at - 1].since > newest:
            at -= 1
        before = self.changes[at - 1].ledger if at else self.begin
        return SavedMoney(
            ledger=self.ledger,
            before=before,
            changes=tuple(self.changes[at:]),
            freed=tuple(self._freed),
            solvent=self._solvent,
            legs=tuple(leg.saved() for leg in self.legs),
        )

    def note_mark(self) -> None:
        """From here on what is booked can be taken back."""
        legs = [leg.mark() if leg.is_ready else None for leg in self.legs]
        self._mark = _Mark(self.ledger, len(self.changes), len(self.rows), [*self._freed], self._solvent, legs)

    def take_back(self) -> None:
        """Be as at the last mark."""
        mark = self._mark
        if mark is None:
            return
        self.ledger, self._solvent = mark.ledger, mark.solvent
        del self.changes[mark.changes :], self.rows[mark.rows :]
        self._freed = [*mark.freed]
        for leg, was in zip(self.legs, mark.legs, strict=True):
            if was is not None:
                leg.take_back(was)
