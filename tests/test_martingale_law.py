"""No free money: on prints that are a martingale no rule earns before costs, whatever it orders and however it leaves.

Markets are made print by print (``tick_paths.py``), rules look for what a careless engine gives away
(``law_rules.py``), and every fill is compared with what the prints themselves make of the order (``tick_truth.py``).
Money is that of all positions, those cut off by the end of a frame or of the data included, over the cost of their
first fills. Costs are zero, seeds are fixed, and t is taken for each rule, kind of orders and side on its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from law_rules import OFF_GRID, ORDERS
from law_runs import (
    By,
    Remembering,
    Run,
    Sample,
    by_events,
    compare,
    compiled,
    gains,
    live,
    money,
    paths,
    pooled,
    winners,
)
from quick import first_quick, rest_long
from tick_paths import HALF_SPREAD, KINDS, OUTSIDE, Path, path

from bknb.domain.fills_at_stops_and_gaps import EXECUTION_MODELS, Entry, ExecutionModel, Minute
from bknb.domain.signal import ScheduledSignal
from bknb.kernels import simulate as kernel

if sys.modules.get("numba", 0) is not None:  # a test takes it away
    pytest.importorskip("numba")
pytestmark = pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaWarning")

Engine = Callable[..., Iterable[Run]]

LIMIT = 4.0  # standard errors
MINUTES = 150
FEW_RULES = ("with_last", "near_low", "far_above_avg", "below_avg", "at_once_again", "with_leader")
WAYS_OUT = {
    *(kernel.TAKE_PROFIT, kernel.STOP_LOSS, kernel.TIME_EXPIRED, kernel.FRAME_END, kernel.DATA_END),
    *(kernel.TIMEOUT, kernel.PRICE_REJECT, kernel.FRAME_END_CANCEL, kernel.DATA_END_CANCEL),
}
LIVE = (  # and the kind of market that is watched by every run of the tests; by each way to enter
    ("at_once_again", "market, stop and target near", "gaps"),
    ("below_avg", "limit near, stop and target near", "silent"),
    ("at_once_again", "stop entry near, stop", "silent"),
)
LIVE_TOO = (  # watched where more time is spent: they enter as others do
    ("far_above_avg", "market, deadline 1", "gaps"),
    ("far_above_avg", "limit passed, deadline 3", "gaps"),
    ("with_leader", "market, deadline 1", "silent"),  # the leader knows no more where a market trades every minute
)


def earns(by: By, orders: str) -> float:
    """The largest t of a rule with these orders."""
    return max(sample.t for (name, _, _), sample in by.items() if name == orders)


def check(runs: Iterable[Run], *, least: int) -> By:
    """The money of all positions, after the law and each fill beside the prints."""
    runs = list(runs)
    by = money(runs)
    assert winners(by, LIMIT) == []
    compared = compare(runs)
    assert compared.told >= least
    assert compared.different == []
    doubts = [f"{key}: {sample!r}" for key, sample in compared.doubtful.items() if sample.t > LIMIT]
    assert doubts == []
    return by


# --- the markets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", first_quick(KINDS, kept=2))
def test_the_prints_are_a_martingale_of_single_ticks(kind: str) -> None:
    markets = paths(kind, 8, MINUTES)
    assert np.median(np.concatenate([(market.high - market.low)[market.volume > 0] for market in markets])) >= 40
    for market in markets:
        traded = market.volume > 0
        inside = np.concatenate([np.diff(ticks) for ticks in market.prints if len(ticks) > 1])
        assert set(inside.tolist()) == {-1, 1}
        assert abs(inside.sum()) < LIMIT * len(inside) ** 0.5
        for row in np.flatnonzero(traded):
            ticks = market.prints[row]
            candle = (market.open[row], market.high[row], market.low[row], market.close[row])
            assert candle == (ticks[0], ticks.max(), ticks.min(), ticks[-1])


def test_each_kind_is_what_it_is_called() -> None:
    def jumps(kind: str) -> Any:
        return np.concatenate([np.abs(m.open[1:] - m.close[:-1]) for m in paths(kind, 8, MINUTES)])

    assert jumps("plain").max() == 1
    assert (jumps("gaps") > 4).mean() > 0.1
    spreads = [market.high - market.low for market in paths("clusters", 8, MINUTES)]
    assert np.quantile(spreads[0], 0.9) > 2 * np.quantile(spreads[0], 0.1)
    assert any((np.diff(market.times) > 60_000).any() for market in paths("holes", 8, MINUTES))
    assert all(0.4 < (market.volume == 0).mean() < 0.8 for market in paths("silent", 8, MINUTES))


# --- the law -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gaps", "silent"])
def test_no_rule_earns(kind: str) -> None:
    check(by_events(paths(kind, 2, MINUTES), FEW_RULES), least=2000)


@pytest.mark.slow
@pytest.mark.parametrize("kind", first_quick(["gaps", "silent"]))
def test_no_rule_earns_in_the_compiled_loop(kind: str) -> None:
    check(compiled(paths(kind, 4, MINUTES), FEW_RULES), least=4000)


@pytest.mark.slow
@pytest.mark.parametrize("count", [6, pytest.param(24, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", rest_long(["gaps", "silent", "holes", "plain", "clusters"], kept=3))
def test_no_rule_of_all_earns_in_the_compiled_loop(kind: str, count: int) -> None:
    runs = list(compiled(paths(kind, count, MINUTES)))
    by = check(runs, least=count * 5_500)
    assert {int(reason) for run in runs for reason in run.ends[:, kernel.REASON]} >= WAYS_OUT
    most = {orders: max(len(sample) for (name, _, _), sample in by.items() if name == orders) for orders in ORDERS}
    assert min(most.values()) >= count, most


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [("plain", "clusters", "holes"), pytest.param(KINDS, marks=pytest.mark.long)])
def test_no_rule_of_all_earns(kinds: tuple[str, ...]) -> None:
    """Few of the rules on the other kinds are ``test_no_rule_earns``."""
    check((run for kind in kinds for run in by_events(paths(kind, 1, MINUTES))), least=len(kinds) * 8_000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "orders", "kind"),
    [
        *LIVE,
        *rest_long(LIVE_TOO, kept=0),
        *(
            pytest.param(rule, orders, "silent" if kind == "gaps" else "gaps", marks=pytest.mark.long)
            for rule, orders, kind in (*LIVE, *LIVE_TOO)
            if rule != "with_leader"
        ),
    ],
)
def test_no_rule_earns_live_nor_at_a_paper_broker(rule: str, orders: str, kind: str) -> None:
    markets = [path(kind, seed, MINUTES) for seed in range(6 if kind == "silent" else 4)]
    runs, fills = zip(*(live(market, rule, orders) for market in markets), strict=True)
    check(runs, least=40)
    found = gains(pair for each in fills for pair in each)
    assert min(map(len, found.values())) >= 30, found  # below, a sample has no t
    assert all(sample.t <= LIMIT for sample in found.values()), found
    for market, each in zip(markets, fills, strict=True):
        check_fills(market, each)


def check_fills(market: Path, fills: Iterable[Any]) -> None:
    """What a broker filled at the market is the first print after the decision; a limit is never filled better."""
    for fill in (fill for pair in fills for fill in pair):
        rows = np.flatnonzero((market.times >= fill.created_at) & (market.volume > 0))
        opened = float(market.open[rows[0]])
        if fill.limit is None or fill.side * (opened - fill.limit) <= 0:
            assert fill.price == opened
        else:
            better = fill.side * (market.open[rows] - fill.limit) < 0
            assert fill.price == fill.limit or fill.price in market.open[rows[better]]


@pytest.mark.parametrize("engine", [by_events, compiled])
def test_levels_between_ticks_earn_unless_the_tick_is_known(engine: Engine) -> None:
    markets = paths("plain", 2, MINUTES)
    unknown = compare(engine(markets, ["at_once_again"], OFF_GRID)).ahead
    known = compare(engine(markets, ["at_once_again"], OFF_GRID, settings={"price_tick": 1.0})).ahead
    for name in OFF_GRID:
        assert unknown[name].mean > 0.2
        assert known[name].mean <= 0


# --- power: what is broken is seen --------------------------------------------------------------------------------


class AtTheAverage(ExecutionModel):
    """Broken: a market order fills at the average price it was decided at, which nobody can trade any more."""

    def entry(self, signal: ScheduledSignal, minute: Minute, *, first: bool) -> Any:
        if signal.entry == "market":
            return Entry(signal.price_open, at_open=True)
        return super().entry(signal, minute, first=first)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a broken model in the place of ``pessimistic``."""
    model = EXECUTION_MODELS["pessimistic"]

    def put(kind: type[ExecutionModel] = ExecutionModel, **changes: bool) -> None:
        monkeypatch.setitem(EXECUTION_MODELS, "pessimistic", kind(*model._replace(**changes)))

    return put


def test_an_entry_at_the_average_price_is_seen(broken: Any) -> None:
    broken(AtTheAverage)
    runs = list(by_events(paths("plain", 2, MINUTES), ["far_above_avg", "near_high"], ["market, deadline 1"]))
    assert earns(money(runs), "market, deadline 1") > 2 * LIMIT
    assert compare(runs).different


@pytest.mark.parametrize("engine", first_quick([by_events, compiled]))
def test_a_fill_in_a_minute_without_volume_is_seen(broken: Any, engine: Engine) -> None:
    broken(needs_volume=False)
    runs = list(engine(paths("silent", 12, MINUTES), ["with_leader"], ["market, deadline 1"]))
    assert earns(money(runs), "market, deadline 1") > LIMIT
    assert compare(runs).different


@pytest.mark.parametrize("engine", first_quick([by_events, compiled]))
def test_a_target_before_the_stop_is_seen(broken: Any, engine: Engine) -> None:
    broken(stop_first=False)
    orders = "market, stop and target near"
    runs = list(engine(paths("plain", 12, MINUTES), ["at_once_again"], [orders]))
    assert earns(money(runs), orders) > LIMIT
    assert compare(runs).doubtful[orders, "at_once_again"].t > LIMIT


@pytest.mark.parametrize("engine", [by_events, compiled])
def test_a_target_at_the_touch_is_seen(broken: Any, engine: Engine) -> None:
    """A touch pays a tick more than going through does: on single ticks that is fair, so only the prints tell."""
    broken(trades_through=False)
    markets = paths("plain", 2, MINUTES)
    for orders in ("market, target", "limit near, deadline 1"):
        assert compare(engine(markets, ["at_once_again"], [orders])).different


@pytest.mark.parametrize("engine", [by_events, compiled])
def test_a_stop_at_its_level_behind_a_gap_is_seen(broken: Any, engine: Engine) -> None:
    broken(gap_fills=False)
    orders = "market, stop, frame end"
    assert compare(engine(paths("gaps", 3, MINUTES), ["at_once_again"], [orders])).different


def is_selected(ends: Any) -> Any:
    """Leave out what the end of a frame or of the data cut off."""
    return ~np.isin(ends[:, kernel.REASON], (kernel.FRAME_END, kernel.DATA_END))


@pytest.mark.slow
def test_leaving_out_what_a_frame_cuts_off_is_seen() -> None:
    orders = "market, target, frame end"
    runs = list(compiled(paths("plain", 24, MINUTES), FEW_RULES, [orders]))
    assert winners(money(runs), LIMIT) == []
    assert earns(money(runs, kept=is_selected), orders) > LIMIT


@pytest.mark.slow
def test_a_broker_that_fills_at_the_average_price_is_seen() -> None:
    def fills() -> Iterable[Any]:
        for seed in range(3):
            market = path("plain", seed, MINUTES)
            broker = Stale(market)
            yield from live(market, "far_above_avg", "market, deadline 1", broker)[1]

    found = list(fills())
    assert max(sample.t for sample in gains(found).values()) > LIMIT


class Stale(Remembering):
    """Broken: it fills entries at the average price of the minutes before."""

    def __init__(self, market: Path) -> None:
        super().__init__()
        self._market = market

    def fill_at(self, created_at: int) -> float:
        return float(self._market.average[np.searchsorted(self._market.times, created_at) - 1])

    async def place(self, order: Any) -> Any:
        report = await super().place(order)
        if order.purpose == "open":
            self.fill(order.client_id, price=self.fill_at(order.created_at))
            return self.orders[order.client_id].report()
        return report


# --- outside the law: how large it is -----------------------------------------------------------------------------


OUTSIDE_ORDERS = (
    "market, deadline 15",
    "market, stop",
    "market, target",
    "limit near, deadline 1",
    "stop entry near, deadline 3",
)


def told(ahead: dict[str, Sample]) -> str:
    return "; ".join(f"{name} {sample!r}" for name, sample in ahead.items())


@pytest.mark.slow
def test_jumps_inside_a_minute_give_stops_what_nobody_traded(record_property: Callable[[str, object], None]) -> None:
    ahead = compare(compiled(paths("jumps", 12, MINUTES), ["at_once_again"], OUTSIDE_ORDERS)).ahead
    record_property("said", f"jumps inside a minute, ticks ahead of the prints: {told(ahead)}")
    assert ahead["market, stop"].mean > 1
    assert ahead["stop entry near, deadline 3"].mean > 1
    assert ahead["market, deadline 15"].mean == 0
    assert ahead["limit near, deadline 1"].mean < 0
    assert ahead["market, target"].mean < 0


@pytest.mark.slow
def test_the_bounce_between_bid_and_ask_gives_limits_the_spread(record_property: Callable[[str, object], None]) -> None:
    ahead = compare(compiled(paths("bounce", 12, MINUTES), ["at_once_again"], OUTSIDE_ORDERS)).ahead
    record_property("said", f"bounce, half a spread of {HALF_SPREAD} ticks, ticks ahead of the middle: {told(ahead)}")
    for name in ("limit near, deadline 1", "market, target"):
        assert 0 < ahead[name].mean <= HALF_SPREAD
    for name in ("market, stop", "stop entry near, deadline 3"):
        assert ahead[name].mean < 0
    assert abs(ahead["market, deadline 15"].t) < LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("kind", OUTSIDE)
def test_slippage_of_the_overshoot_and_half_the_spread_pays_for_it(kind: str) -> None:
    runs = compiled(paths(kind, 12, MINUTES), FEW_RULES, settings={"percent_slippage": 0.08})
    assert winners(money(runs), LIMIT) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("execution", "orders"),
    [("touch", "market, stop and target near"), ("vwap", "market, deadline 1")],
)
def test_the_other_models_break_the_law_by_design(
    execution: str, orders: str, record_property: Callable[[str, object], None]
) -> None:
    by = money(compiled(paths("plain", 12, MINUTES), ["far_above_avg", "at_once_again"], [orders], execution=execution))
    record_property("said", f"{execution}: {told(pooled(by))} bp, best t {earns(by, orders):.0f}")
    assert earns(by, orders) > LIMIT
