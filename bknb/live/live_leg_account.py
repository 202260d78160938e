"""What one leg has of the account of a live run: with the bars that have come, and as a value that is saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec.structs import replace

from ..domain.fills_at_stops_and_gaps import Minute
from ..domain.leg_position import leg_name
from ..domain.lifecycle import Input, Rules, State, Step, position_of
from ..domain.market_clock_protocol import NEVER
from ..domain.percent_risk_and_kelly_sizes import AtrRisk
from ..domain.quantity_or_lack_of_cash import SizedOrder
from ..domain.risk_request_and_verdict import Reserve, Verdict
from ..domain.signal import OpenSignal, ScheduledSignal, SignalKey, key_of
from ..domain.signal_events import Reason
from ..domain.sizing_formulas import Sizing
from ..engine.account_plan import LegMoney
from ..engine.bar_prices import BarPrices
from ..engine.cash_reserved_for_orders import waiting_in
from ..engine.filling_minutes import minutes_that_fill
from ..engine.leg_account import LegAccount
from ..engine.marked_account_equity import LegCloses
from ..engine.position_in_money import PositionInMoney
from ..engine.risk_profile_places import RiskPlaces, always
from ..errors import StateError, UsageError
from ..market.calls_in_threads import user_calls_of
from ..market.candles import Candles
from ..market.candles_of_one_symbol import Series
from ..market.window import Window
from .account_before_turn import LegBefore
from .plan import LivePlan
from .saved_account import SavedLeg

if TYPE_CHECKING:
    from ..market.newest_series_rows import ReadSeries
    from .live_account import LiveAccount
    from .run_progress import Reached

_LATEST: Final = 1_200  # shortest bars, after which marks are kept though a leg has not come so far: they are in memory


class LiveLegAccount(LegAccount):
    """The part of an account that one leg has, live."""

    shared: LiveAccount
    leg: LiveLegAccount | None

    def __init__(
        self, shared: LiveAccount, order: int, money: LegMoney, *, of: LiveLegAccount | None = None, place: str = ""
    ) -> None:
        super().__init__(shared, order, money, of=of, place=place)
        self.is_ready = False  # once the leg has begun
        self._followed: Series | None = None

    def begin_live(
        self,
        plan: LivePlan,
        window: Window,
        places: RiskPlaces | None,
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
        self._window, self._plan, self._reached, self.warn = window, plan, reached, warn
        sessions = window.sessions_of(plan.symbol)
        self.begun, self._has_sessions = reached.done, sessions is not None
        self.positions = dict(before)
        nothing = Series(Candles.empty(), step=plan.base_ms, since=0, until=0, grid=plan.grid)
        self._begin(plan, BarPrices(nothing, sessions), window, places, warn)
        saved = self._saved_before or SavedLeg()
        self.prices.earlier = saved.price
        self._go_on(state, saved)

    def begin_place(self) -> None:
        """As in a backtest; it goes on from what is saved with :meth:`go_on_in_place`."""
        super().begin_place()
        leg = self.leg
        assert leg is not None  # it is a place of one  # noqa: S101
        self._window, self._plan, self._reached, self.warn = leg._window, leg._plan, leg._reached, leg.warn
        self.begun, self._has_sessions = leg.begun, leg._has_sessions

    def go_on_in_place(self, state: State) -> None:
        """Go on from the saved state of the place that it is of; errors as of :meth:`begin_live`."""
        saved = self._saved_before
        if saved is None:  # it was never taken: funding is charged from now on
            self.state, self.is_ready = state, True
        else:
            self._go_on(state, saved)

    @property
    def _saved_before(self) -> SavedLeg | None:
        """What an earlier process saved of it."""
        saved = self.shared.saved
        if saved is None:
            return None
        return saved.legs[int(self.name)] if self.leg is None else saved.of_places.get(self.name)

    def _go_on(self, state: State, saved: SavedLeg) -> None:
        """Go on from a saved state, and what was saved of it with the account."""
        self.state, self.first = state, saved.first
        self._sizing.closed = saved.closed
        self.funding.go_on(saved.charged, saved.funded, saved.newest_funding)
        self.liquidation.go_on(saved.liquidation)
        self.waiting.take_up(saved.orders)
        self.waiting.keep(waiting_in(state))
        key, plan = self.open_key, self._plan
        if key != saved.key:
            here, there = (name if name is None else name[0] for name in (key, saved.key))
            raise StateError(
                f"the saved account of {plan.strategy.name!r} on {plan.symbol} has the position {there}, and the saved "
                f"state {here}\nstart it without capital= until nothing is open, or choose another name or store"
            )
        if saved.left is not None:  # it may have been forgiven since, in a turn that is not on the disk
            left, self._held = saved.left
            self.positions[left] = self._held
        if key is not None and saved.held is not None:
            self._held = self.positions[key] = saved.held
        self.is_ready = True

    @property
    def parts(self) -> list[LiveLegAccount]:
        """What may hold a position of it: itself, and its places."""
        return [part for part in self.shared.all_parts if part is self or part.leg is self]

    @property
    def open_key(self) -> SignalKey | None:
        """The signal of what is open; ``None``: nothing is."""
        held = position_of(self.state)
        return None if held is None else key_of(held.signal)

    @property
    def closes_from(self) -> int | None:
        """From when on (UTC ms) its closes are needed: what is not marked, bars under way; ``None``: none are."""
        shared = self.shared
        if shared.saved is None or (marked := shared.kept.after) is None:
            return None
        holds = any(part == self.name or leg_name(part) == self.name for part in shared.ledger.positions)
        return (min(marked, shared.charged_until) if holds else marked) - shared.longest

    @property
    def known(self) -> int:
        """Up to when it has worked on all bars, UTC ms."""
        return self._reached.known

    def unchanged_until(self, newest: int, shortest: int) -> int:
        """Up to when it changes the account no more (UTC ms): what happens in a longer bar counts from its close on.

        ``newest`` is up to when (UTC ms) a leg has worked on all bars, ``shortest`` the length of the shortest, ms.
        """
        return max(self.changes_from(shortest), newest - _LATEST * shortest + 1) - 1

    def changes_from(self, shortest: int) -> int:
        """From when on (UTC ms) bars that it has not worked on can change the account; ``shortest`` as above."""
        return self.known if self.prices.step == shortest else self.prices.slot_end(self.known)

    def bars(self) -> LegCloses:
        """Its bars in memory."""
        series = self._followed if self.leg is None else self.leg._followed
        if series is None:
            return LegCloses(np.empty(0, dtype=np.int64), np.empty(0))
        return LegCloses(series.closes, series.candles.close)

    def begins(self) -> tuple[int | None, float | None]:
        """The first moment of its account (UTC ms), and the open of its first bar from then on; ``None``: not yet."""
        start = None if self._has_sessions else self.begun
        candles = Candles.empty() if self._followed is None else self._followed.candles
        at = int(candles.timestamp.searchsorted(self.begun))
        if at == len(candles):
            return start, None
        return int(candles.timestamp[at]) if start is None else start, float(candles.open[at])

    def follow(self, until: int) -> None:
        """Take the bars that have come; what is reserved for orders that ended before a moment (UTC ms) is free."""
        if not self.is_ready:
            return
        self.waiting.free_ended(self.state, known=self.known, before=until)
        if self.leg is not None:  # it has the bars of that
            return
        known = self._window.known(self._plan.symbol, self._window.base)
        if known is not None and known is not self._followed:
            self._followed, candles = known, known.candles
            if self._reached.volume_seen and self.model.needs_volume:
                can_fill = candles.volume > 0
            else:
                begin = int(candles.timestamp.searchsorted(self._reached.known))
                can_fill = minutes_that_fill(candles, self.model, begin=begin)
            self.prices.follow(known, np.asarray(can_fill))
            if self.liquidation.shares and self.model.watches == "average":
                averages = known.average_prices(self._window.price_count)
                self.prices.averages = np.where(np.isnan(averages), candles.close, averages)

    async def read_funding(self, published: ReadSeries, when: int) -> tuple[int, ...]:
        """Read the series of its funding, if it has one, in a thread; as of :meth:`FundingDue.read`."""
        if self.funding.series is None:
            return ()
        calls = user_calls_of(self.funding, f"funding-{self._plan.symbol}")
        found = await calls.in_thread(partial(self.funding.read, published, self._plan.symbol, when))
        for part in self.parts[1:]:
            await calls.in_thread(partial(part.funding.read, published, self._plan.symbol, when))
        return found

    async def ask(self, command: Reserve, *, may_open: Callable[[], bool] = always) -> Verdict:
        """As in a backtest, with the bars that have come."""
        self.shared.follow(command.when + 1 if command.fill is None else self.prices.closes(command.when))
        return await super().ask(command, may_open=may_open)

    async def _size(self, command: Reserve) -> SizedOrder | Reason:
        """A size; a function of the user's own, and what may read candles, in a thread."""
        sizing = self._sizing.of(command.candidate)
        if (beside := self._beside(command)) is not None:
            return beside
        if not callable(sizing) and not isinstance(sizing, AtrRisk | Sizing):
            return self._sized(command)
        return await user_calls_of(sizing, f"sizing-{self._plan.symbol}").in_thread(partial(self._sized, command))

    def step(self, state: State, given: Input, rules: Rules) -> Step:
        """As in a backtest; what it books is taken back where it cannot be saved (:meth:`LiveAccount.take_back`)."""
        self.shared.follow(self.prices.closes(given.t) if isinstance(given, Minute) else 0)
        if isinstance(given, Minute) and self.shared.cross is not None:
            self.shared.cross.is_used_up(self.prices.closes(given.t))
        self.shared.keep_marks()
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
        for part in self.parts:
            sized = part.waiting.get((signal.id, 0))
            if sized is not None:
                return sized.quantity
            held = part.positions.get(key_of(signal)) if isinstance(signal, OpenSignal) else None
            if held is not None and held.fills:
                return held.fills[0].fill.order.quantity
        raise UsageError(f"the account has bought nothing of {signal.id!r}")

    def kept_of(self, signal: OpenSignal) -> float | None:
        """How much of an entry was paid for, base currency, where it was cut when it filled; ``None``: it was not."""
        waits = any(part.waiting.get((signal.id, 0)) is not None for part in self.parts)
        held = next((part.positions[key] for part in self.parts if (key := key_of(signal)) in part.positions), None)
        if waits or held is None:
            return None
        entry = next((each for each in held.fills if each.number == 0), None)
        if entry is None:
            return 0.0
        return entry.fill.order.quantity if entry.cut else None

    # --- as a value ---------------------------------------------------------------------------------------------

    def mark(self) -> LegBefore:
        """The leg as it is."""
        held, positions = self._copy(), self.positions
        newest = next(reversed(positions), None)  # what is held, or was last, is the newest
        key = None if newest is None or positions[newest] is not self._held else newest
        orders = self.state, self.waiting.rows, dict(self._filled), self.first
        due = self.funding.charged, self.liquidation.due, self._sizing.closed
        return LegBefore(len(positions), key, held, *orders, *due)

    def _copy(self) -> PositionInMoney:
        """What is open as it is now: it goes on changing."""
        return replace(self._held, fills=[*self._held.fills])

    def take_back(self, mark: LegBefore) -> None:
        """Be as it was."""
        while len(self.positions) > mark.positions:
            self.positions.popitem()
        self._held, self.state = mark.held, mark.state
        if mark.key is not None:
            self.positions[mark.key] = mark.held
        self.waiting.take_up(mark.orders)
        self.waiting.keep(waiting_in(self.state))  # an add that was granted is asked about again
        self._filled, self.first = mark.filled, mark.first
        self.funding.charged, self._sizing.closed = mark.charged, mark.closed
        self.liquidation.go_on(mark.liquidation)

    @property
    def left(self) -> tuple[SignalKey, PositionInMoney] | None:
        """The signal of what it left in the newest bar in which legs with shared margin were closed, and its money."""
        cross, key = self.shared.cross, next(reversed(self.positions), None)
        if cross is None or key is None or not cross.has_closed(self) or key == self.open_key:
            return None
        return key, self._copy()

    def saved(self) -> SavedLeg:
        """The leg as it is saved."""
        if not self.is_ready:  # of a leg that has not begun
            before = self.shared.saved
            return SavedLeg() if before is None else before.legs[int(self.name)]
        key, due = self.open_key, self.liquidation.due
        known = self._followed if self.leg is None else self.leg._followed
        return SavedLeg(
            key=key,
            held=None if key is None else self._copy(),
            first=self.first,
            orders=self.waiting.rows,
            charged=self.funding.charged,
            followed=due.followed,
            used_up=None if due.bar_opens == NEVER else due[1:],
            left=self.left,
            funded=self.funding.funded,
            newest_funding=self.funding.newest,
            closed=self._sizing.closed,
            price=float(known.candles.close[-1]) if known is not None and len(known.candles) else self.prices.earlier,
        )
