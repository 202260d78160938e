"""What one leg of a run has of an account: it sizes what is opened, and books every fill.

It stands beside the risk profile of the leg, and asks that, too: it is asked before an order is made, and again when a
candle fills it, and it is told of every event before anybody else. All that is decided is in
:mod:`bknb.domain.affordable_quantity` and :mod:`bknb.domain.ledger`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from ..domain.accounts import away_from_market
from ..domain.affordable_quantity import FilledQuantity, SizedOrder, quantity_filled, sized_order
from ..domain.costs import CostRequest, FilledBy, fill_costs, filled_by
from ..domain.execution_fills import Entry
from ..domain.ledger import Booked, Ledger, LegFill
from ..domain.market_limits import reduced_by
from ..domain.risk import Reserve, Verdict
from ..domain.signal import OpenSignal, Position, SignalKey, key_of
from ..domain.signal_events import AddCancelled, Added, Cancelled, Closed, Event, Opened, Reason, Reduced
from ..domain.size_inputs import ClosedTrades, WantedSize
from ..domain.states import Entering, Flat, Holding, State
from .asked_size import asked_size
from .bar_prices import BarPrices
from .cost_requests import (
    added_order,
    asked_order,
    number_of,
    opened_order,
    ordered_part,
    part_of,
    side_of,
    trial_orders,
    was_ordered,
)
from .funding_due import FundingDue
from .risk_book import RiskBook, always

if TYPE_CHECKING:
    from ..domain.late_orders import OldPrice
    from ..market.newest_series_rows import ReadSeries
    from ..market.series import Series
    from ..market.window import Window
    from .account_plan import LegMoney
    from .plan import Plan
    from .shared_account import SharedAccount


class MoneyFill(NamedTuple):
    """A fill in money, of the position with this key; ``number`` is that of its order within the position.

    ``cut``: less was bought than was ordered, as no more cash was left. ``forgiven``: the loss beyond its margin.
    """

    key: SignalKey
    number: int
    fill: LegFill
    cut: bool = False
    forgiven: float = 0.0


class LegAccount:
    """The part of an account that one leg has; it is asked and told as a risk profile is, and asks that, too.

    Parameters
    ----------
    shared, order, money
        The account of all legs, the number of the leg from 0, and what it has of it.

    Attributes
    ----------
    shared
        The account of all legs.
    fills
        Every fill of the leg, in order.
    funding
        What has to be charged.
    """

    def __init__(self, shared: SharedAccount, order: int, money: LegMoney) -> None:
        self.shared, self.money, self.name = shared, money, str(order)
        self.fills: list[MoneyFill] = []
        self._state: State = Flat()
        self._places: RiskBook | None = None
        self._orders: dict[tuple[str, int], SizedOrder] = {}
        self._filled: dict[str, tuple[FilledQuantity, FilledBy]] = {}
        self._first = 0.0  # quantity of the entry of what is open
        self._closed = ClosedTrades()
        self.funding = FundingDue(money.costs)

    def begin(
        self, plan: Plan, window: Window, bars: Series, places: RiskBook | None, *, published: ReadSeries
    ) -> None:
        """Take the plan of the leg, its candles, its base bars, its risk profile, and published series."""
        self._symbol, self._tick = plan.symbol, plan.settings.price_tick
        self._window, self.prices, self._places = window, BarPrices(bars), places
        self.funding.read(published, plan.symbol, plan.frame.last)
        if len(bars.candles):
            for order in trial_orders(plan.symbol, bars.candles, self.shared.plan.capital):
                fill_costs(order, self.money.costs)  # a function that fails does so before anything is traded

    # --- asked ------------------------------------------------------------------------------------------------------

    async def ask(self, command: Reserve, *, may_open: Callable[[], bool] = always) -> Verdict:
        """Size an order and ask the risk profile about it, or settle what is bought of one that a candle fills.

        Where one of them refuses, nothing is reserved and no place is taken.
        """
        self.shared.charge(command.when)
        if command.fill is not None:
            return await self._fill(command, command.fill, may_open)
        sized = self._sized(command)
        if isinstance(sized, Reason):
            return self._refusal(sized)
        verdict = await self._of_profile(command, may_open)
        if verdict.allowed:
            if isinstance(command.candidate, OpenSignal) and command.order is None:  # it fills with that verdict
                verdict = verdict._replace(liquidation=self._fills_at_once(command, sized))
            key = (command.candidate.id, 0 if command.order is None else command.order.number)
            self._orders[key] = sized
            self.shared.ledger = self.shared.ledger.reserve(self._reserved(key), sized.reserved)
        return verdict

    async def _of_profile(self, command: Reserve, may_open: Callable[[], bool]) -> Verdict:
        if self._places is not None and command.again:
            return await self._places.ask(command, may_open=may_open)
        return Verdict(allowed=True) if may_open() else Verdict(allowed=False, stopped=True)

    def _refusal(self, reason: Reason) -> Verdict:
        taken = 0 if self._places is None else len(self._places.places)
        return Verdict(allowed=False, note=reason.text, open_positions=taken, by_account=True)

    def _reserved(self, key: tuple[str, int]) -> str:
        return f"{self.name} {key[0]} {key[1]}"

    def _sized(self, command: Reserve) -> SizedOrder | Reason:
        order, money = asked_order(command, self.prices.at(command.when)), self.money
        ledger = self._after(self.shared.ledger, command.earlier)
        free = self.shared.free_at_question(command.when, ledger)
        if command.order is not None:
            wanted: WantedSize | Reason = WantedSize(units=command.order.share * self._first)
        else:
            equity = ledger.mark(self.shared.prices_at(command.when)).equity
            closed, window = self._closed, self._window
            wanted = asked_size(money, command, order, equity=equity, free=free, closed=closed, window=window)
        if isinstance(wanted, Reason):
            return wanted
        return sized_order(wanted, order, free=free, account=money.account, costs=money.costs, limits=money.limits)

    async def _fill(self, command: Reserve, fill: Entry, may_open: Callable[[], bool]) -> Verdict:
        """What is bought of an entry order in a bar, and, where it rested, whether its risk profile still allows it."""
        candidate, shared, money = command.candidate, self.shared, self.money
        ledger = self._after(shared.ledger.release(self._reserved((candidate.id, 0))), command.earlier)
        by = filled_by("entry", rested=fill.rested, entry=candidate.entry)
        order = replace(asked_order(command, self.prices.at(command.when)), filled_by=by, price=candidate.price_open)
        sized = self._orders[candidate.id, 0]
        free = shared.free_in_bar(command.when, ledger, self, at_open=not fill.rested)
        filled = quantity_filled(sized, order, free=free, account=money.account, costs=money.costs, limits=money.limits)
        if filled.quantity <= 0.0:
            what = "margin" if money.account.borrows else "cash"
            text = f"too little free {what} when the order filled at {order.price:.8g}: {max(free, 0.0):.8g} was free"
            return self._refusal(Reason("no_cash", f"{text}; size smaller"))
        verdict = await self._of_profile(command, may_open)
        if verdict.allowed:
            self._filled[candidate.id] = filled, by
            return verdict._replace(liquidation=self._liquidation_after(ledger, command, order, filled))
        return verdict

    def _fills_at_once(self, command: Reserve, sized: SizedOrder) -> float | None:
        """Settle what is bought of an order that fills at the price of its answer; returns its liquidation price."""
        ledger, order = self._after(self.shared.ledger, command.earlier), asked_order(command, 0.0)
        money, free = self.money, self.shared.free_at_question(command.when, ledger)
        filled = quantity_filled(sized, order, free=free, account=money.account, costs=money.costs, limits=money.limits)
        self._filled[command.candidate.id] = filled, order.filled_by
        return self._liquidation_after(ledger, command, order, filled)

    def _liquidation_after(
        self, ledger: Ledger, command: Reserve, order: CostRequest, filled: FilledQuantity
    ) -> float | None:
        """The price at which what an order opens is liquidated (quote currency); ``None``: there is none."""
        if self.money.account.leverage <= 1.0 or filled.quantity <= 0.0:
            return None
        order = replace(order, quantity=filled.quantity)
        fill = LegFill(self.name, command.candidate.position, order, fill_costs(order, self.money.costs))
        return self._liquidation(ledger.apply(fill).ledger)

    def _liquidation(self, ledger: Ledger) -> float | None:
        """The price at which the position of the leg is liquidated (quote currency): with cross margin it is alone."""
        if self.money.account.mode == "isolated":
            return ledger.liquidation_price(self.name, self._tick)
        terms = ledger.spare_margin_terms()
        price = -terms.constant / terms.factors[self.name]
        if self._tick is not None:
            price = away_from_market(ledger.positions[self.name].side, price, self._tick)
        return price if price > 0.0 else None

    def release(self, symbol: str, strategy: str, signal_id: str) -> None:
        """Give back the place and what is reserved for a signal."""
        if self._places is not None:
            self._places.release(symbol, strategy, signal_id)
        for key in [key for key in self._orders if key[0] == signal_id]:
            self._drop(key)

    def _drop(self, key: tuple[str, int]) -> SizedOrder | None:
        sized = self._orders.pop(key, None)
        self.shared.ledger = self.shared.ledger.release(self._reserved(key))
        return sized

    # --- told -------------------------------------------------------------------------------------------------------

    def take(self, state: State, events: Sequence[Event], _old_price: OldPrice | None) -> State | None:
        """Book what happened, before anybody else is told of it; ``state`` is that of the leg after it.

        Returns the state with another liquidation price, where parts or adds have moved that.
        """
        for event in events:
            match event:
                case Opened():
                    self._opened(event)
                case Added():
                    self._added(event)
                case Reduced() | Closed():
                    self._exited(event)
                case Cancelled():
                    self._drop((event.signal.id, 0))
                case AddCancelled():
                    self._drop((event.signal.id, event.number))
                case _:
                    pass
        if not isinstance(state, Entering):  # what it says has not been told yet
            self._state = state
        moved = self.money.account.leverage > 1.0 and any(isinstance(event, Reduced | Added) for event in events)
        return self._with_liquidation(state) if moved else None

    def _with_liquidation(self, state: State) -> State | None:
        if not isinstance(state, Holding) or state.book is None or self.name not in self.shared.ledger.positions:
            return None
        level = self._liquidation(self.shared.ledger)
        book = replace(state.book, liquidation=UNSET if level is None else level)
        return replace(state, book=book)

    def _opened(self, event: Opened) -> None:
        signal = event.signal
        sized, filled = self._drop((signal.id, 0)), self._filled.pop(signal.id, None)
        by = filled_by("entry", rested=signal.rested, entry=signal.entry) if filled is None else filled[1]
        order = opened_order(signal, by)
        quantity = self._affordable(sized, order) if filled is None else filled[0]
        self._first = quantity.quantity
        self._enter(signal, 0, order, quantity)

    def _added(self, event: Added) -> None:
        signal, fill = event.signal, event.fill
        order = added_order(event)
        quantity = self._affordable(self._drop((signal.id, fill.number)), order)
        self._enter(signal, fill.number, order, quantity)

    def _affordable(self, sized: SizedOrder | None, order: CostRequest) -> FilledQuantity:
        """The quantity of what filled without being asked about in its bar."""
        if sized is None:
            return FilledQuantity(0.0, cut=True)
        money, shared = self.money, self.shared
        free = shared.free_in_bar(order.at, shared.ledger, self, at_open=order.filled_by == "market")
        return quantity_filled(sized, order, free=free, account=money.account, costs=money.costs, limits=money.limits)

    def _enter(self, signal: OpenSignal, number: int, order: CostRequest, filled: FilledQuantity) -> None:
        if filled.quantity > 0.0:
            order = replace(order, quantity=filled.quantity)
            fill = LegFill(self.name, signal.position, order, fill_costs(order, self.money.costs))
            self._apply(signal, number, fill, cut=filled.cut)

    def _exited(self, event: Reduced | Closed) -> None:
        shared, signal = self.shared, event.signal
        fill = self._left(shared.ledger, event)
        if fill is not None:
            ordered = was_ordered(fill.order, self._state)
            at, prices = fill.order.at, shared.prices_at(fill.order.at)
            before = shared.ledger.free(prices)
            self._apply(signal, number_of(event), fill)
            shared.freed(self.prices.closes(at), at if ordered else None, shared.ledger.free(prices) - before)
        if isinstance(event, Closed):
            self._first = 0.0
            self._closed = self._closed.after(event.pnl.pnl_percentage)

    def _after(self, ledger: Ledger, events: Sequence[Event]) -> Ledger:
        """A ledger after events that have not been told: without what they closed, and took back."""
        for event in events:
            if (left := self._left(ledger, event)) is not None:
                ledger = ledger.apply(left).ledger
            elif isinstance(event, Cancelled):
                ledger = ledger.release(self._reserved((event.signal.id, 0)))
        return ledger

    def _left(self, ledger: Ledger, event: Event) -> LegFill | None:
        """The fill that closed a part or all; ``None`` where the account holds nothing, or it closed nothing."""
        held = ledger.positions.get(self.name)
        if held is None or not isinstance(event, Reduced | Closed):
            return None
        signal, quantity = event.signal, abs(held.quantity)
        if isinstance(event, Closed):
            return self._leaving_fill(
                "exit", signal.position, event.closed_at, event.price_close, event.close_reason, quantity
            )
        fill = event.fill
        quantity = reduced_by(quantity, quantity * part_of(fill, event.size), fill.price, self.money.limits)
        if quantity <= 0.0:
            return None
        return self._leaving_fill("reduce", signal.position, fill.at, fill.price, fill.reason, quantity)

    def _leaving_fill(
        self, kind: Literal["exit", "reduce"], position: Position, at: int, price: float, reason: str, quantity: float
    ) -> LegFill:
        order = CostRequest(
            symbol=self._symbol,
            at=at,
            side=side_of(position, enters=False),
            kind=kind,
            filled_by=filled_by(kind, rested=self.prices.open_at(at) != price, reason=reason),
            quantity=quantity,
            price=price,
            reason=reason,
        )
        return LegFill(self.name, position, order, fill_costs(order, self.money.costs))

    def ordered_exit(self, price: float, when: int) -> LegFill | None:
        """What was ordered to leave at a moment (UTC ms) as it would fill at a price; ``None``: nothing was."""
        held, part = self.shared.ledger.positions.get(self.name), ordered_part(self._state, when)
        if held is None or part <= 0.0:
            return None
        kind: Literal["exit", "reduce"] = "exit" if part == 1.0 else "reduce"
        return self._leaving_fill(kind, held.side, when, price, "strategy", abs(held.quantity) * part)

    def _apply(self, signal: OpenSignal, number: int, fill: LegFill, *, cut: bool = False) -> None:
        shared, at, yearly = self.shared, fill.order.at, self.money.costs.borrow_yearly
        shared.charge(at)
        if yearly:
            assert not callable(yearly)  # only fills have functions  # noqa: S101
            shared.book(shared.ledger.charge_borrow(self.name, at, self.prices.at(at), yearly), at)
        forgiven = shared.ledger.forgiven
        enters = fill.order.kind in ("entry", "add")
        shared.book(shared.ledger.apply(fill) if enters else self._left_without_debt(fill), self.prices.closes(at))
        self.fills.append(MoneyFill(key_of(signal), number, fill, cut, shared.ledger.forgiven - forgiven))

    def _left_without_debt(self, fill: LegFill) -> Booked:
        """The account after a fill that closes something; with leverage no more than its margin is lost."""
        ledger, order = self.shared.ledger, fill.order
        held, booked = ledger.positions[self.name], ledger.apply(fill)
        account = self.money.account
        if account.leverage <= 1.0:
            return booked
        if account.mode == "isolated":
            share = order.quantity / abs(held.quantity)
            brought = held.quantity * share * fill.costs.price - held.cost * share - fill.costs.fee
            lost = -brought - held.margin * share
        else:  # of one leg: what is left of the account behind what is open
            lost = 0.0 if self.name in booked.ledger.positions else -booked.ledger.cash
        forgiven = booked.ledger.forgive(order.at, self.name, lost)
        return Booked(forgiven.ledger, (*booked.rows, *forgiven.rows))
