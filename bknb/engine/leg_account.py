"""What one leg of a run has of an account: it sizes what is opened, and books every fill.

It stands beside the risk profile of the leg, and asks that, too: it is asked before an order is made, and again when a
candle fills it, and it is told of every event before anybody else. All that is decided is in
:mod:`bknb.domain.quantity_or_lack_of_cash` and :mod:`bknb.domain.funding_charged_and_fills_booked`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec.structs import replace

from ..domain.costs import CostRequest, FilledBy, fill_costs, filled_by
from ..domain.fills_at_stops_and_gaps import Entry, execution_model
from ..domain.funding_charged_and_fills_booked import Booked, Ledger, LegFill
from ..domain.leg_position import part_name
from ..domain.lifecycle import step
from ..domain.lifecycle_inputs import Input
from ..domain.quantity_or_lack_of_cash import FilledQuantity, SizedOrder, too_little_left
from ..domain.risk_request_and_verdict import ALLOWED, Reserve, Verdict
from ..domain.signal import OpenSignal, ScheduledSignal, SignalKey, key_of
from ..domain.signal_events import AddCancelled, Added, Cancelled, Closed, Event, Opened, Reason, Reduced
from ..domain.size_request import WantedSize
from ..domain.states import AskingAdds, Entering, Flat, Holding, Rules, State, Step
from .bar_prices import BarPrices
from .cash_reserved_for_orders import LegOrders, first_part
from .cost_requests import added_order, asked_order, number_of, opened_order, trial_orders, was_ordered
from .funding_rates_not_charged_yet import FundingDue
from .leg_exits import LegExits
from .leg_liquidation import LegLiquidation
from .leg_sizing import LegSizing
from .paid_adds import share_paid, with_paid_adds
from .position_in_money import UNTOLD, MoneyFill, PositionInMoney
from .risk_profile_places import RiskPlaces, always

if TYPE_CHECKING:
    from ..market.newest_series_rows import ReadSeries
    from ..market.window import Window
    from .account_plan import LegMoney
    from .plan import Plan
    from .portfolio_run import LegPlan
    from .shared_account import SharedAccount

Warn: TypeAlias = Callable[[str], object]
_step: Final[Callable[[State, Input, Rules], Step]] = step


class LegAccount:
    """The part of an account that one leg has; it is asked and told as a risk profile is, and asks that, too.

    Parameters
    ----------
    shared, order, money
        The account of all legs, the number of the leg from 0, and what it has of it.
    of, place
        The leg that it is one of several places of, and the name of that.

    Attributes
    ----------
    shared, leg
        The account of all legs, and the one that it is a place of; ``None``: it is a leg.
    positions
        Its positions in money, by signal.
    state, first
        What is open or waits, as far as it was told; the quantity of the entry of what is open, base currency.
    at_once
        Whether what fills does so at the moment at which it was asked about.
    model, tick
        How its orders fill, and the smallest step of its prices (quote currency), where it is known.
    funding, exits, waiting, liquidation
        What has to be charged, what leaves, in money, its orders that wait, and where what it holds is liquidated.
    """

    def __init__(
        self, shared: SharedAccount, order: int, money: LegMoney, *, of: LegAccount | None = None, place: str = ""
    ) -> None:
        self.shared, self.money, self.name = shared, money, str(order) if of is None else part_name(order, place)
        self.leg = of
        self.positions: dict[SignalKey, PositionInMoney] = {}
        self._held = PositionInMoney()  # what is open, and before that the last one
        self.state: State = Flat()
        self._places: RiskPlaces | None = None
        self.waiting = LegOrders(shared, self.name)
        self._filled: dict[str, tuple[FilledQuantity, FilledBy]] = {}
        self.first, self.at_once = 0.0, False
        self.funding: FundingDue = FundingDue(money.costs) if of is None else copy(of.funding)
        self.liquidation = LegLiquidation(shared, self.name, self.funding, money.costs.borrow_yearly)

    def begin(
        self, plan: Plan, window: Window, places: RiskPlaces | None, *, published: ReadSeries, warn: Warn
    ) -> None:
        """Take the plan of the leg, its candles, its risk profile, and published series; ``warn`` takes warnings."""
        bars = window.minutes(plan.symbol)
        self._begin(plan, BarPrices(bars, window.sessions_of(plan.symbol)), window, places, warn)
        self.funding.read(published, plan.symbol, plan.frame.last)
        if len(bars.candles):
            for order in trial_orders(plan.symbol, bars.candles, self.shared.plan.capital):
                fill_costs(order, self.money.costs)  # a function that fails does so before anything is traded

    def _begin(self, plan: LegPlan, prices: BarPrices, window: Window, places: RiskPlaces | None, warn: Warn) -> None:
        self.prices, self._places = prices, places
        self.model, self.tick = execution_model(plan.execution), plan.settings.price_tick
        self.liquidation.begin(prices, self.tick)
        self._sizing = LegSizing(self.money, window, warn, tick=self.tick)
        self.exits = LegExits(self.name, plan.symbol, self.money, prices, shares_margin=self.liquidation.shares)

    def begin_place(self) -> None:
        """Take candles, sizes and the risk profile of the leg that it is a place of."""
        leg = self.leg
        assert leg is not None  # it is one  # noqa: S101
        self.prices, self._places, self.model, self.tick = leg.prices, leg._places, leg.model, leg.tick
        self._sizing = leg._sizing
        self.liquidation.begin(self.prices, self.tick)
        self.exits = LegExits(self.name, leg.exits.symbol, self.money, self.prices)

    def at_place(self, name: str) -> LegAccount:
        """What one of several places of the leg has of the account."""
        return self.shared.place(self, name)

    def held_weight(self, when: int) -> tuple[float, float]:
        """What is held at a moment (UTC ms): its weight, below 0 for a short, and its size in units of the first."""
        marked, held = self.shared.marked_at(when), self.shared.ledger.positions.get(self.name)
        if held is None or self.first <= 0.0:
            return 0.0, 0.0
        return marked.part_of_equity(held.quantity * self.prices.at(when)), abs(held.quantity) / self.first

    # --- asked ------------------------------------------------------------------------------------------------------

    async def ask(self, command: Reserve, *, may_open: Callable[[], bool] = always) -> Verdict:
        """Size an order and ask the risk profile about it, or settle what is bought of one that a candle fills.

        Where one of them refuses, nothing is reserved and no place is taken.
        """
        if command.fill is not None:
            self.shared.charge_before(self, command.when)
            return await self._fill(command, command.fill, may_open)
        self.shared.charge(command.when)
        sized = await self._size(command)
        if isinstance(sized, Reason):
            return self.refusal(sized)
        share = share_paid(command.order, sized.quantity, first=self.first)
        reduced = command if share is None else command._replace(add=share)
        verdict = await self._of_profile(reduced, sized.money / first_part(command, sized), may_open)
        if verdict.allowed:
            verdict = verdict._replace(share=share)
            if isinstance(command.candidate, OpenSignal) and command.order is None:  # it fills with that verdict
                verdict = verdict._replace(liquidation=self._fills_at_once(command, sized))
            self.waiting.add(command, sized)
        return verdict

    async def _size(self, command: Reserve) -> SizedOrder | Reason:
        return self._beside(command) or self._sized(command)

    def _beside(self, command: Reserve) -> Reason | None:
        """Why something may not be opened beside what is in other places of the leg."""
        if self.leg is None or self.money.account.owns:
            return None
        from .strategy_places_money import opposite_places  # few strategies have several

        return opposite_places(self, self.leg, command.candidate.position)

    async def _of_profile(self, command: Reserve, value: float, may_open: Callable[[], bool]) -> Verdict:
        if self._places is not None and command.again:
            return await self._places.ask(command, may_open=may_open, marks=self.shared.marks(command, self, value))
        return ALLOWED if may_open() else Verdict(allowed=False, stopped=True)

    def money_of(self, signal: OpenSignal) -> float:
        """What a position brought after all costs, quote currency; 0 where nothing was bought of it."""
        key = key_of(signal)
        held = next((part.positions[key] for part in self._parts if key in part.positions), None)
        return 0.0 if held is None else float(held.columns()["money"])

    @property
    def all_positions(self) -> dict[SignalKey, PositionInMoney]:
        """Its positions in money with those of its places, by signal."""
        return {key: held for part in self._parts for key, held in part.positions.items()}

    @property
    def _parts(self) -> list[LegAccount]:
        return [part for part in self.shared.holders.values() if part is self or part.leg is self]

    def refusal(self, reason: Reason) -> Verdict:
        """The verdict of an account that does not allow something."""
        taken = 0 if self._places is None else self._places.count
        return Verdict(allowed=False, note=reason.text, open_positions=taken, by_account=True)

    def _sized(self, command: Reserve) -> SizedOrder | Reason:
        close, at_once = self.prices.at(command.when), not self.model.fills_at_open
        order = asked_order(command, close, at_once=at_once)
        ledger = self.waiting.after(self.shared.ledger, command.earlier, self.exits)
        ledger = ledger if command.holder is None else self.waiting.without_entries(ledger)  # one of several fills
        free = self.shared.free_at_question(command.when, ledger)
        if command.order is not None:
            wanted: WantedSize | Reason = WantedSize(units=command.order.share * self.first)
        else:
            equity = ledger.mark(self.shared.prices_at(command.when)).equity
            wanted = self._sizing.wanted(command, order, equity=equity, free=free)
        if isinstance(wanted, Reason):
            return wanted
        return self.money.sized(wanted, order, free * first_part(command, order))

    async def _fill(self, command: Reserve, fill: Entry, may_open: Callable[[], bool]) -> Verdict:
        """What is bought of an entry order in a bar, and, where it rested, whether its risk profile still allows it."""
        candidate, shared = command.candidate, self.shared
        if (beside := self._beside(command)) is not None:
            return self.refusal(beside)
        if fill.rested and shared.cross is not None and (liquidated := shared.cross.refuses(self, command.when)):
            return self.refusal(liquidated)
        ledger = self.waiting.after(self.waiting.without_entries(shared.ledger), command.earlier, self.exits)
        by = filled_by("entry", rested=fill.rested, entry=candidate.entry)
        order = replace(asked_order(command, self.prices.at(command.when)), filled_by=by, price=candidate.price_open)
        sized = self.waiting[candidate.id, 0]
        free = shared.free_in_bar(command.when, ledger, self)
        filled = self.money.filled(sized, order, free)
        if filled.quantity <= 0.0:
            return self.refusal(filled.small or too_little_left(order, free, self.money.account))
        verdict = await self._of_profile(command, filled.quantity * order.price, may_open)
        if verdict.allowed:
            self._filled[candidate.id] = filled, by
            return verdict._replace(liquidation=self._liquidation_after(ledger, command, order, filled))
        return verdict

    def _fills_at_once(self, command: Reserve, sized: SizedOrder) -> float | None:
        """Settle what is bought of an order that fills at the price of its answer; returns its liquidation price."""
        ledger, order = self.waiting.after(self.shared.ledger, command.earlier, self.exits), asked_order(command, 0.0)
        filled = self.money.filled(sized, order, self.shared.free_at_question(command.when, ledger))
        self._filled[command.candidate.id] = filled, order.filled_by
        return self._liquidation_after(ledger, command, order, filled)

    def _liquidation_after(
        self, ledger: Ledger, command: Reserve, order: CostRequest, filled: FilledQuantity
    ) -> float | None:
        """The price at which what an order opens is liquidated (quote currency); ``None``: there is none."""
        if not self.liquidation.borrows or filled.quantity <= 0.0:
            return None
        assert isinstance(command.candidate, OpenSignal)  # it fills  # noqa: S101
        fill = self.entering(command.candidate, replace(order, quantity=filled.quantity))
        return self.liquidation.level(ledger.apply(fill).ledger, order.at)

    def release(
        self, symbol: str, strategy: str, signal_id: str, heir: OpenSignal | ScheduledSignal | None = None
    ) -> None:
        """Give back the place, or to an heir, and what is reserved for a signal."""
        if self._places is not None:
            self._places.release(symbol, strategy, signal_id, heir)
        self.waiting.drop_all(signal_id)

    def opened(self, signal: OpenSignal) -> None:
        """Note at the risk profile that a signal has opened."""
        if self._places is not None:
            self._places.opened(signal)

    # --- told -------------------------------------------------------------------------------------------------------

    def step(self, state: State, given: Input, rules: Rules) -> Step:
        """What an input leads to, as of :func:`bknb.domain.lifecycle.step`, and book it before anybody is told.

        Adds are no larger than what is left pays for, and parts and adds move the price of a liquidation.
        """
        state = self.liquidation.before(state, given)
        result = _step(state, given, rules)
        self.at_once, booked = isinstance(state, AskingAdds), 0
        if isinstance(state, Holding):
            self.state = state
        if result.events and any(isinstance(event, Added) for event in result.events):
            result, booked = with_paid_adds(self, state, given, rules, result)
        return result._replace(state=self.liquidation.after(self._book(result.state, result.events[booked:]), given))

    def _book(self, state: State, events: Sequence[Event]) -> State:
        """Book what happened; returns the state after it, with the price of a liquidation that parts or adds moved."""
        self.tell(events)
        if not isinstance(state, Entering):  # what it says has not been told yet
            self.state = state
        moved = any(isinstance(event, Reduced | Added) for event in events)
        return self.liquidation.moved(state) if moved else state

    def tell(self, events: Sequence[Event]) -> None:
        """Book events."""
        for event in events:
            match event:
                case Opened():
                    self._opened(event)
                case Added():
                    self._added(event)
                case Reduced() | Closed():
                    self._exited(event)
                case Cancelled():
                    self.waiting.drop_entry(event.signal)
                case AddCancelled():
                    self.waiting.drop((event.signal.id, event.number))
                case _:
                    pass

    def _opened(self, event: Opened) -> None:
        signal = event.signal
        sized, filled = self.waiting.drop((signal.id, 0)), self._filled.pop(signal.id, None)
        by = filled_by("entry", rested=signal.rested, entry=signal.entry) if filled is None else filled[1]
        order = opened_order(signal, by)
        quantity = self._affordable(sized, order) if filled is None else filled[0]
        self.first = quantity.quantity
        if signal.rungs and sized is not None:
            self.waiting.rescale(signal.id, self.first / sized.quantity)
        self._held = self.positions[key_of(signal)] = PositionInMoney()
        self._enter(signal, 0, order, quantity, scaled=sized is not None and sized.scaled)

    def _added(self, event: Added) -> None:
        signal, fill = event.signal, event.fill
        order = added_order(event, self.state)
        sized = self.waiting.drop((signal.id, fill.number))
        quantity = self._affordable(sized, order)
        self._enter(signal, fill.number, order, quantity, scaled=sized is not None and sized.scaled)

    def _affordable(self, sized: SizedOrder | None, order: CostRequest) -> FilledQuantity:
        """The quantity of what filled without being asked about in its bar."""
        none = FilledQuantity(0.0, cut=True)
        return (
            none if sized is None else self.money.filled(sized, order, self.free_to_fill(order.at, self.shared.ledger))
        )

    def free_to_fill(self, at: int, ledger: Ledger) -> float:
        """What a ledger has free for what fills in the bar that opens at a moment (UTC ms), or at that moment."""
        asks = self.shared.free_at_question
        return asks(at, ledger) if self.at_once else self.shared.free_in_bar(at, ledger, self)

    def _enter(
        self, signal: OpenSignal, number: int, order: CostRequest, filled: FilledQuantity, *, scaled: bool
    ) -> None:
        self.charge(order.at)
        self.liquidation.entered(order.at)
        if filled.quantity > 0.0:
            fill = self.entering(signal, replace(order, quantity=filled.quantity))
            self._apply(number, fill, cut=filled.cut, scaled=scaled)

    def entering(self, signal: OpenSignal, order: CostRequest) -> LegFill:
        """The fill of an entry or an add."""
        return LegFill(self.name, signal.position, order, fill_costs(order, self.money.costs))

    def _exited(self, event: Reduced | Closed) -> None:
        shared = self.shared
        self.charge(event.closed_at if isinstance(event, Closed) else event.fill.at)
        fill = self.exits.told(shared.ledger, event)
        if fill is not None:
            ordered = was_ordered(fill.order, self.state)
            at, prices = fill.order.at, shared.prices_at(fill.order.at)
            before = shared.ledger.free(prices)
            self._apply(number_of(event), fill)
            shared.freed(self.prices.closes(at), at if ordered else None, shared.ledger.free(prices) - before)
        if isinstance(event, Closed):
            if fill is not None and shared.cross is not None:
                shared.cross.left(self, self.prices.closes(fill.order.at))
            self.waiting.drop_all(event.signal.id)  # its adds
            self._held.tell(number_of(event))
            self.first = 0.0
            if (cost := self._held.first_cost) > 0.0:
                closed = self._sizing.closed.after(self._held.columns()["money"] / cost * 100)
                self._sizing.closed = closed

    def close_in_ruin(self, at: int) -> float:
        """Close what is held at a moment (UTC ms) at which the account is worth nothing; returns what that lost."""
        fill = self.exits.in_ruin(self.shared.ledger, at)
        if fill is None:
            return 0.0
        self.shared.book(self.shared.ledger.apply(fill), at)
        self._held.fills.append(MoneyFill(UNTOLD, fill))  # the event that ends it is told later
        return self.lost

    @property
    def lost(self) -> float:
        """What the position that is open, or was open last, lost after all costs, quote currency."""
        return max(-float(self._held.columns()["money"]), 0.0)

    def forgive(self, at: int, loss: float) -> None:
        """Take a loss that was left when everything was closed off the account, at a moment (UTC ms)."""
        self.shared.book(self.shared.ledger.forgive(at, self.name, loss), at)
        self._held.fills[-1] = self._held.fills[-1]._replace(forgiven=loss)

    def charge(self, at: int) -> None:
        """Charge what is due up to a moment (UTC ms), and interest up to a fill in the bar that opens then."""
        shared, yearly = self.shared, self.money.costs.borrow_yearly
        shared.charge_before(self, at)
        if yearly:
            booked = shared.ledger.charge_borrow(self.name, at, self.prices.at(at), yearly)
            self.book_charge(booked, self.prices.closes(at))

    def book_charge(self, booked: Booked, since: int) -> None:
        """Book funding or interest of what is open, from a moment (UTC ms) on."""
        self.shared.book(booked, since)
        self._held.charge(booked.rows)

    def _apply(self, number: int, fill: LegFill, *, cut: bool = False, scaled: bool = False) -> None:
        shared, at = self.shared, fill.order.at
        forgiven = shared.ledger.forgiven
        enters = fill.order.kind in ("entry", "add")
        booked = shared.ledger.apply(fill) if enters else self.exits.booked(shared.ledger, fill)
        shared.book(booked, self.prices.closes(at))
        self._held.fills.append(MoneyFill(number, fill, cut, shared.ledger.forgiven - forgiven, scaled))
