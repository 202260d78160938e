"""The account of a run or of a portfolio as its call gave it: capital, kind, sizes and costs of each leg, checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..config import Settings, changed
from ..domain.costs import CostRequest, Costs, with_settings
from ..domain.leg_options import check_names, of_leg
from ..domain.percent_risk_and_kelly_sizes import Percent, Size, SizeFunction, read_size, spelling_meant
from ..domain.quantity_or_lack_of_cash import FilledQuantity, SizedOrder, quantity_filled, sized_order
from ..domain.quantity_step_and_least_amount import MarketLimits
from ..domain.signal_events import Reason
from ..domain.size_request import WantedSize
from ..domain.sizing_formulas import Sizing
from ..domain.spot_margin_and_perpetual import Account, Margin, Spot, read_account
from ..domain.states import Rules
from ..domain.text import shown
from ..domain.whole_number import is_number
from ..errors import UsageError
from .account_currency import account_currency
from .registry import registry

if TYPE_CHECKING:
    from .plan import Plan
    from .portfolio_run import LegPlan


class LegMoney(msgspec.Struct, frozen=True, kw_only=True):
    """What a leg has of an account: its kind, the size of its positions, its costs, and what its market takes."""

    account: Account
    sizing: Size | SizeFunction | Sizing
    costs: Costs
    limits: MarketLimits = MarketLimits()

    def rules(self, rules: Rules) -> Rules:
        """The rules of a run with this account."""
        weights = rules.weights
        if weights is not None:
            weights = weights._replace(leverage=self.account.leverage, shorts=self.account.shorts)
        return rules._replace(sized=True, in_money=True, weights=weights)

    def sized(self, wanted: WantedSize, order: CostRequest, free: float) -> SizedOrder | Reason:
        """What is ordered of a wanted size, as of :func:`bknb.domain.quantity_or_lack_of_cash.sized_order`."""
        return sized_order(wanted, order, free=free, account=self.account, costs=self.costs, limits=self.limits)

    def filled(self, sized: SizedOrder, order: CostRequest, free: float) -> FilledQuantity:
        """What is bought when it fills, as of :func:`bknb.domain.quantity_or_lack_of_cash.quantity_filled`."""
        return quantity_filled(sized, order, free=free, account=self.account, costs=self.costs, limits=self.limits)


class AccountPlan(msgspec.Struct, frozen=True, kw_only=True):
    """An account, its legs in declared order.

    Attributes
    ----------
    capital
        What it begins with, in ``currency``, which is empty where it is not known.
    legs
        One for each leg.
    notes
        What there is to say of what was given.
    card
        What a run card says of what was given.
    """

    capital: float
    currency: str
    legs: tuple[LegMoney, ...]
    notes: tuple[str, ...] = ()
    card: Any = None

    @property
    def shares_margin(self) -> bool:
        """Whether several legs are liquidated together: one of them has leverage with cross margin."""
        borrows = any(leg.account.leverage > 1.0 and leg.account.mode == "cross" for leg in self.legs)
        return borrows and len(self.legs) > 1

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """The functions and objects of the user's that say a size or a cost, each once."""
        values = [value for leg in self.legs for value in (leg.sizing, *msgspec.structs.astuple(leg.costs))]
        return list({id(value): value for value in values if callable(value)}.values())


def plan_account(
    plans: Sequence[LegPlan],
    *,
    capital: object,
    currency: object = None,
    sizing: object = None,
    account: object = None,
    costs: object = None,
) -> AccountPlan | None:
    """The account of legs; ``None`` without a capital.

    Parameters
    ----------
    plans
        The legs, in declared order.
    capital, currency, sizing, account, costs
        As given to ``bknb.backtest`` and ``bknb.portfolio``.

    Raises
    ------
    UsageError
        For a value that cannot be, and for what needs a capital and has none.
    UnknownName
        For a sizing that is not registered, and a mapping with a name that is no symbol or strategy of the run.
    """
    given = {"currency": currency, "sizing": sizing, "account": account, "costs": costs}
    if capital is None:
        _needs_capital(given)
        return None
    if not is_number(capital) or not 0.0 < capital < math.inf:
        text = f"capital must be an amount of money above 0, such as 10_000, got {shown(capital, 60)}"
        raise UsageError(f"{text}\nleave it out for a run in percent, which has no account")
    for plan in plans:
        if getattr(plan.exchange.source, "negative", False):
            text = f"an account needs prices above zero, and exchange {plan.exchange.name!r} may have others"
            raise UsageError(f"{text}\nrun {plan.symbol} without capital=, or with negative=False")
    for name in ("sizing", "account", "costs"):
        symbols, strategies = [plan.symbol for plan in plans], [plan.strategy.name for plan in plans]
        check_names(name, given[name], symbols=symbols, strategies=strategies)
    alone = len(plans) == 1
    legs = tuple(_leg_money(plan, sizing, account, costs) for plan in plans)
    for plan, leg in zip(plans, legs, strict=True):
        if plan.strategy.places > 1:
            from .strategy_places_money import check_account_of_places  # few strategies have several

            others = max((each.account.leverage for each in legs if each.account.mode == "cross"), default=1.0)
            check_account_of_places(plan, leg.account, shared_leverage=others)
    quote, doubt = account_currency(currency, {plan.symbol: _written_at_exchange(plan) for plan in plans})
    all_each = sizing is None and not alone and any(plan.strategy.weights is None for plan in plans)
    notes = (*([doubt] if doubt else []), *([_ALL_EACH] if all_each else []))
    return AccountPlan(capital=float(capital), currency=quote, legs=legs, notes=notes)


_ALL_EACH: Final = (
    "no sizing was given: each leg asks for all of the equity, and the first one has it; "
    "give sizing=bknb.size.Percent(50), say, or a mapping by symbol"
)


def _written_at_exchange(plan: LegPlan) -> str:
    """The symbol of a plan as its exchange writes it: of joined ones without the name in front."""
    written: Callable[[str], str] | None = getattr(plan.exchange.source, "written_at_exchange", None)
    return plan.symbol if written is None else written(plan.symbol)


def _needs_capital(given: Mapping[str, object]) -> None:
    names = [name for name, value in given.items() if value is not None]
    if names:
        raise UsageError(
            f"{' and '.join(names)} {'need' if len(names) > 1 else 'needs'} a capital, and none was given\n"
            "give capital=10_000, say; without one positions are measured in percent of their own value"
        )


def with_costs(plan: Plan, money: LegMoney) -> Plan:
    """The plan of a leg with the costs of its account: its percentages are after the same fees and slippage.

    What a percentage of each side cannot say is in the money alone, and the plan says so in its notes.
    """
    settings, notes = settings_with_costs(plan.settings, money)
    return msgspec.structs.replace(plan, settings=settings, notes=(*plan.notes, *notes))


def settings_with_costs(settings: Settings, money: LegMoney) -> tuple[Settings, tuple[str, ...]]:
    """The settings of a leg with the costs of its account, and what there is to say of those, as :func:`with_costs`."""
    costs = money.costs
    given = {"percent_fee": costs.taker, "percent_slippage": costs.slippage}
    same = {name: value for name, value in given.items() if not callable(value) and value != getattr(settings, name)}
    apart = [name for name in _APART if getattr(costs, name)]
    apart += [name for name in ("taker", "slippage") if callable(getattr(costs, name))]
    apart += ["maker"] if costs.maker is not None else []
    notes: tuple[str, ...] = ()
    if apart:
        text = f"{', '.join(sorted(apart))} of Costs are counted in money; percentages have fees of takers and slippage"
        notes = (f"{text}, {costs_text(given, settings)} %",)
    return changed(settings, same) if same else settings, notes


_APART: Final = ("fixed", "spread", "half_spread", "overshoot", "funding", "borrow_yearly")
"""Costs that are no percentage of each side."""


def costs_text(given: Mapping[str, object], settings: Settings) -> str:
    """The percentages of both costs of each side, those of the settings where a function gives them."""
    values = (getattr(settings, name) if callable(value) else value for name, value in given.items())
    return " and ".join(f"{value:g}" for value in values)


def _leg_money(plan: LegPlan, sizing: Any, account: Any, costs: Any) -> LegMoney:
    leg = {"symbol": plan.symbol, "strategy": plan.strategy.name}
    size, kind = of_leg("sizing", sizing, **leg), of_leg("account", account, **leg)
    cost = of_leg("costs", costs, **leg)
    if cost is not None and not isinstance(cost, Costs):
        raise UsageError(f"costs must be such as bknb.Costs(taker=0.05), got {shown(cost, 60)}")
    if isinstance(cost, Costs) and isinstance(cost.funding, str):
        registry.series.get(cost.funding)  # which tells of one that is not there
    if size is None and sizing is not None and plan.strategy.weights is None:
        text = f"sizing is a mapping and has nothing for {plan.symbol!r} or {plan.strategy.name!r}"
        raise UsageError(f"{text}: it has {', '.join(map(repr, sizing)) or 'no name at all'}\ngive each leg a size")
    if size is not None and plan.strategy.weights is not None:
        raise UsageError(
            f"strategy {plan.strategy.name!r} answers with weights, parts of the equity, and sizing= is given\n"
            "leave it out, or give it by strategy: sizing={'name of another': ...}"
        )
    kind = Margin() if kind is None else read_account(kind)
    if cost is not None:
        _check_held_costs(kind, cost)
    return LegMoney(
        account=kind,
        sizing=Percent(100) if size is None else _chosen_size(size),
        costs=with_settings(cost, plan.settings),
        limits=plan.exchange.limits_of(plan.symbol),
    )


def _check_held_costs(account: Account, costs: Costs) -> None:
    """Refuse costs of holding a position that an account of this kind has none of."""
    name, instead = type(account).__name__, ""
    if costs.funding is not None and isinstance(account, Spot):
        instead = "funding of Costs is paid by bknb.Perpetual(), and swaps by bknb.Margin()"
    elif costs.borrow_yearly and not isinstance(account, Margin):
        instead = "borrow_yearly of Costs is paid by shorts of bknb.Margin()"
    if instead:
        raise UsageError(f"{instead}, and the account is bknb.{name}()\nleave it out, or choose another account=")


def _chosen_size(value: object) -> Size | SizeFunction | Sizing:
    if isinstance(value, Sizing):
        return value
    size = read_size(value)
    if not isinstance(size, str):
        return size
    if size not in registry.sizings.items and (meant := spelling_meant(size)):
        raise UsageError(
            f"no sizing is called {size!r}; did you mean {meant!r}?\n"
            "as a text a size is its kind, a colon and a number: percent:10 of the equity, risk:1, cash:500, units:0.1"
        )
    return registry.sizings.get(size)
