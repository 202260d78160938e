"""Nothing is made or lost in a ledger, whatever is filled, charged and liquidated; and what margin means."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from liquidations import liquidated
from msgspec.structs import replace
from result_with_costs import result_with_costs

from bknb.domain.costs import CostRequest, Costs, fill_costs
from bknb.domain.cross_liquidation import cross_legs, cross_liquidation
from bknb.domain.funding_and_borrow_amounts import Funding
from bknb.domain.funding_charged_and_fills_booked import Booked, CashRow, Ledger, LegFill
from bknb.domain.liquidation_price import liquidation_price
from bknb.domain.pnl import trade_pnl
from bknb.domain.position_fills import Fill
from bknb.domain.quantity_or_lack_of_cash import affordable
from bknb.domain.spot_margin_and_perpetual import Account, Margin, Perpetual, Spot, may_open, money_needed

LEGS = "ABCDEFGHIJ"
MINUTE = 60_000
CAPITAL = 10_000.0

shares = st.floats(0.01, 1.0)
percents = st.floats(0.0, 1.0)
costs_of_runs = st.builds(
    Costs,
    taker=percents,
    maker=st.none() | st.floats(-0.05, 1.0),
    fixed=st.sampled_from([0.0, 1.0]),
    slippage=percents,
    half_spread=percents,
    overshoot=percents,
    borrow_yearly=st.floats(0.0, 100.0),
)
accounts = st.one_of(
    st.just(Spot()),
    st.builds(
        lambda kind, leverage, part, mode: kind(leverage, part * 100 / leverage, mode),
        st.sampled_from([Margin, Perpetual]),
        st.floats(1.0, 50.0),
        st.floats(0.0, 0.9),
        st.sampled_from(["cross", "isolated"]),
    ),
)
moves = st.tuples(
    st.sampled_from(["fill", "fill", "fill", "close", "funding", "borrow", "bar", "bar", "reserve"]),
    st.sampled_from(LEGS),
    st.sampled_from(["long", "short"]),
    shares,
    st.floats(0.5, 2.0),
    st.sampled_from(["market", "limit", "stop"]),
)


class Life:
    """A random life of an account of ten legs."""

    def __init__(self, account: Account, others: list[Account], costs: Costs) -> None:
        self.costs = costs
        self.ledger = Ledger.begin(CAPITAL, account, dict(zip(LEGS, others, strict=False)))
        self.prices = {leg: 10.0 ** (number % 4) for number, leg in enumerate(LEGS)}
        self.rows: list[CashRow] = []

    def book(self, booked: Booked) -> None:
        self.ledger = booked.ledger
        self.rows += booked.rows

    def order(self, at: int, leg: str, side: str, kind: str, quantity: float, by: str) -> CostRequest:
        return CostRequest(
            symbol=leg,
            at=at,
            side=side,  # type: ignore[arg-type]
            kind=kind,  # type: ignore[arg-type]
            filled_by=by,  # type: ignore[arg-type]
            quantity=quantity,
            price=self.prices[leg],
        )

    def apply(self, order: CostRequest, leg: str, position: str) -> None:
        self.book(self.ledger.apply(LegFill(leg, position, order, fill_costs(order, self.costs))))  # type: ignore[arg-type]

    def move(self, at: int, what: str, leg: str, position: str, share: float, price: float, by: str) -> None:
        if what in ("close", "funding", "borrow") and self.ledger.positions:
            open_legs = [*self.ledger.positions]
            leg = open_legs[LEGS.index(leg) % len(open_legs)]
        if what in ("fill", "close"):
            self.prices[leg] *= price
        held = self.ledger.positions.get(leg)
        if what == "close" and held is not None:
            side = "sell" if held.side == "long" else "buy"
            share = 1.0 if share > 0.5 else share
            kind = "exit" if share == 1.0 else "reduce"
            self.apply(self.order(at, leg, side, kind, abs(held.quantity) * share, by), leg, held.side)
        elif what == "fill":
            self.enter(at, leg, held.side if held else position, share, by, add=held is not None)
        elif what == "funding":
            self.book(self.ledger.charge_funding(leg, Funding(at, price / 100, -price / 200), self.prices[leg]))
        elif what == "borrow":
            self.book(self.ledger.charge_borrow(leg, at, self.prices[leg], self.costs.borrow_yearly))
        elif what == "reserve":
            self.ledger = self.ledger.reserve(leg, share) if share > 0.5 else self.ledger.release(leg)
        elif what == "bar":
            self.bar(at, share)

    def enter(self, at: int, leg: str, position: str, share: float, by: str, *, add: bool) -> None:
        account = self.ledger.account_of(leg)
        if may_open(account, position) is not None:  # type: ignore[arg-type]
            return
        wanted = CAPITAL * account.leverage * share / self.prices[leg]
        order = self.order(at, leg, "buy" if position == "long" else "sell", "add" if add else "entry", wanted, by)
        quantity = affordable(order, free=self.ledger.free(self.prices), account=account, costs=self.costs)
        if quantity > 0.0:
            self.apply(replace(order, quantity=quantity), leg, position)

    def bar(self, at: int, share: float) -> None:
        """Every leg goes against its position, each on its own way."""
        worst = dict(self.prices)
        for number, (leg, held) in enumerate(self.ledger.positions.items()):
            worst[leg] *= 1 - share * 0.9 / (1 + number % 3) if held.side == "long" else 1 + share * (1 + number % 3)
        costs = {
            "at": at,
            "symbols": {leg: leg for leg in LEGS},
            "costs_of": lambda _, order: fill_costs(order, self.costs),
        }
        for leg in [*self.ledger.positions]:
            price = self.ledger.liquidation_price(leg)
            sign = 1 if self.ledger.positions[leg].side == "long" else -1
            if price is not None and sign * (worst[leg] - price) <= 0.0:
                met = self.prices[leg] if sign * (self.prices[leg] - price) <= 0.0 else price
                self.book(liquidated(self.ledger, [leg], {leg: met}, **costs))
        found = cross_liquidation(self.ledger, self.prices, worst)
        if found is not None:
            self.book(liquidated(self.ledger, cross_legs(self.ledger), found.prices, **costs))
            assert self.ledger.cross_margin(self.prices)[0] >= -1e-9 * CAPITAL
        self.prices = worst


@pytest.mark.slow
@given(accounts, st.lists(accounts, max_size=10), costs_of_runs, st.lists(moves, min_size=20, max_size=60))
def test_cash_and_positions_are_capital_and_profit_less_costs(
    account: Account, others: list[Account], costs: Costs, steps: list[tuple[str, str, str, float, float, str]]
) -> None:
    life = Life(account, others, costs)
    for number, step in enumerate(steps, 1):
        life.move(number * MINUTE, *step)
        turned = CAPITAL + sum(abs(row.amount) for row in life.rows)
        assert abs(life.ledger.imbalance(life.prices)) <= 1e-9 * CAPITAL + 1e-14 * turned
        pool, _, maintenance = life.ledger.cross_margin(life.prices)
        for terms, amount in (
            (life.ledger.equity_terms(), life.ledger.mark(life.prices).equity),
            (life.ledger.spare_margin_terms(), pool - maintenance),
        ):
            sums = sum(factor * life.prices[leg] for leg, factor in terms.factors.items())
            assert terms.constant + sums == pytest.approx(amount, rel=1e-9, abs=1e-9 * CAPITAL + 1e-14 * turned)
    sums = [*accumulate((row.amount for row in life.rows), initial=CAPITAL)][1:]
    assert [row.cash for row in life.rows] == pytest.approx(sums, rel=1e-9, abs=1e-6)
    assert life.ledger.cash == pytest.approx(sums[-1] if sums else CAPITAL, rel=1e-9, abs=1e-6)


@given(
    st.lists(
        st.tuples(st.sampled_from(["long", "short"]), st.floats(1.0, 1000.0), st.floats(0.7, 1.4)),
        min_size=1,
        max_size=30,
    ),
    st.floats(0.0, 0.3),
    st.floats(0.0, 0.3),
)
def test_all_of_the_equity_on_margin_is_the_equity_of_a_run_without_a_capital(
    trades: list[tuple[str, float, float]], fee: float, slippage: float
) -> None:
    costs = Costs(taker=fee, slippage=slippage)
    life = Life(Margin(maintenance=0.0), [], costs)
    multiple = 1.0
    for number, (position, price, factor) in enumerate(trades):
        life.prices["A"] = price
        entry = "buy" if position == "long" else "sell"
        paid = fill_costs(life.order(0, "A", entry, "entry", 1.0, "market"), costs).price
        equity = life.ledger.mark(life.prices).equity
        order = life.order(number, "A", entry, "entry", equity / paid, "market")
        free = life.ledger.free(life.prices)
        assert affordable(order, free=free, account=Margin(), costs=costs) == order.quantity
        life.apply(order, "A", position)
        life.prices["A"] = price * factor
        leaves = life.order(number, "A", "sell" if entry == "buy" else "buy", "exit", order.quantity, "market")
        life.apply(leaves, "A", position)
        pnl = trade_pnl(position, price, price * factor, slippage=slippage, fee=fee)  # type: ignore[arg-type]
        multiple *= 1 + pnl.pnl_percentage / 100
        assert life.ledger.cash / CAPITAL == pytest.approx(multiple, rel=1e-12)


@given(
    st.sampled_from(["long", "short"]),
    st.floats(0.001, 1000.0),
    st.floats(0.01, 1e5),
    st.floats(1.0, 100.0),
    st.floats(0.0, 0.9),
)
def test_at_the_liquidation_price_the_maintenance_margin_is_left(
    position: str, quantity: float, price: float, leverage: float, part: float
) -> None:
    account = Perpetual(leverage, part * 100 / leverage, "isolated")
    cost = quantity * price
    margin = cost / leverage
    found = liquidation_price(account, position, quantity=quantity, cost=cost, margin=margin)  # type: ignore[arg-type]
    if found is None:
        assert position == "long"
        assert cost - margin <= 1e-9 * cost
        return
    sign = 1 if position == "long" else -1
    left = margin + sign * (quantity * found - cost)
    assert left == pytest.approx(quantity * found * account.maintenance / 100, rel=1e-9, abs=1e-9 * cost)
    assert sign * (price - found) > 0.0


@given(st.sampled_from(["long", "short"]), st.floats(1.5, 50.0), st.floats(0.0, 0.9), st.floats(0.1, 1.0))
def test_cross_margin_of_one_leg_is_used_up_at_the_price_of_the_formula(
    position: str, leverage: float, part: float, share: float
) -> None:
    account = Perpetual(leverage, part * 100 / leverage)
    life = Life(account, [], Costs(taker=0.0, slippage=0.0))
    life.prices["A"] = 100.0
    life.enter(0, "A", position, share, "market", add=False)
    held = life.ledger.positions["A"]
    price = liquidation_price(
        account, held.side, quantity=abs(held.quantity), cost=abs(held.cost), margin=life.ledger.cash
    )
    worst = {**life.prices, "A": 0.01 if position == "long" else 1e6}
    found = cross_liquidation(life.ledger, life.prices, worst)
    if price is None or price < 0.01:
        assert found is None
    else:
        assert found is not None
        assert found.prices["A"] == pytest.approx(price, rel=1e-6)


@given(accounts, costs_of_runs, st.floats(0.0, 1e5), st.floats(0.001, 1e4), st.floats(0.01, 1e4))
def test_what_is_affordable_is_paid_for_and_nothing_more_would_be(
    account: Account, costs: Costs, free: float, quantity: float, price: float
) -> None:
    order = CostRequest(symbol="A", at=0, side="buy", kind="entry", filled_by="market", quantity=quantity, price=price)
    found = affordable(order, free=free, account=account, costs=costs)
    assert 0.0 <= found <= quantity

    def needed(bought: float) -> float:
        cost = fill_costs(replace(order, quantity=bought), costs)
        return money_needed(account, bought * cost.price, cost.fee)

    if found:
        assert needed(found) <= free * (1 + 1e-9)
    if found < quantity:
        assert needed(found * (1 + 1e-6) + 1e-9) > free * (1 - 1e-9)


@given(
    st.sampled_from(["long", "short"]),
    st.sampled_from([Margin(leverage=50.0), Perpetual(leverage=50.0)]),
    costs_of_runs,
    st.lists(
        st.tuples(
            st.sampled_from(["add", "reduce"]),
            st.floats(0.01, 0.99),
            st.floats(50.0, 200.0),
            st.sampled_from(["limit", "stop"]),
        ),
        max_size=6,
    ),
    st.floats(50.0, 200.0),
    st.floats(0.1, 100.0),
    st.sampled_from([0.0, 0.5]),
)
def test_the_ledger_and_the_percentage_of_a_trade_are_the_same_money(
    position: str,
    account: Account,
    costs: Costs,
    between: list[tuple[str, float, float, str]],
    last: float,
    quantity: float,
    spread: float,
) -> None:
    costs = replace(costs, half_spread=0.0, spread=spread) if spread else costs
    ledger, held = Ledger.begin(CAPITAL, account), 0.0
    fills, paid = [], []
    for number, (kind, share, price, by) in enumerate(
        [("entry", 1.0, 100.0, "market"), *between, ("exit", 0.0, last, "market")]
    ):
        size = share * held if kind == "reduce" else held if kind == "exit" else share
        if not size:
            continue
        enters = kind in ("entry", "add")
        held = held + size if enters else held - size
        order = CostRequest(
            symbol="A",
            at=number,
            side="buy" if enters is (position == "long") else "sell",
            kind=kind,  # type: ignore[arg-type]
            filled_by=by,  # type: ignore[arg-type]
            quantity=size * quantity,
            price=price,
        )
        paid.append(fill_costs(order, costs))
        fills.append(Fill(number=number, kind=kind, at=number, share=size, price=price))  # type: ignore[arg-type]
        ledger = ledger.apply(LegFill("A", position, order, paid[-1])).ledger  # type: ignore[arg-type]
    assert not ledger.positions
    found = result_with_costs(position, fills, paid, quantity=quantity)  # type: ignore[arg-type]
    first = quantity * paid[0].price
    assert (ledger.cash - CAPITAL) / first * 100 == pytest.approx(found.pnl_percentage, rel=1e-9, abs=1e-7)
    assert ledger.fees / first * 100 == pytest.approx(found.fee_percentage, rel=1e-9, abs=1e-9)
