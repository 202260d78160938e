"""Running the card of a portfolio again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..domain.interval import interval_ms
from ..engine.registration_checks import make_strategy
from ..engine.registry import Strategy, registry
from ..engine.resolve import registered
from ..errors import UsageError
from ..provenance.card import Card
from ..provenance.portfolio_card import PortfolioCard
from .account_on_card import given_again
from .portfolio import all_running, plan_portfolio
from .portfolio_legs import weights_legs
from .verify_card import (
    Verification,
    check_registered,
    check_repeatable,
    frame_of,
    schedule_of,
    settings_of,
    verification_of,
)


def verify_portfolio(
    card: PortfolioCard,
    *,
    strategy: Any,
    exchange: Any,
    frame: Any,
    execution: str | None,
    settings: Any,
    **money: Any,
) -> Verification:
    """Run the card of a portfolio again, and return what differs; parameters and errors as of ``bknb.verify``."""
    check_repeatable(card)
    chosen = _chosen(card, strategy)
    check_registered((leg, chosen[leg.strategy]) for leg in card.legs)
    first = card.legs[0]
    finest = min(zip(card.legs, card.bases, strict=True), key=lambda pair: interval_ms(pair[1]))[0]  # as it was asked
    task = plan_portfolio(
        exchange={leg.symbol: leg.exchange for leg in card.legs} if exchange is None else exchange,
        frame=frame_of(finest) if frame is None else frame,
        legs=_legs(card, chosen),
        execution=execution or (first.execution if "execution" in first.given else None),
        settings=settings_of(first) if settings is None else settings,
        allow_gaps=first.allow_gaps,
        base=_bases(card),
        priority=card.priority,
        name=card.name,
        **given_again(card.account, card.benchmark, money),
    )
    with all_running(task):
        result = task.start().wait_or_stop()
    named = () if exchange is None else _of_exchanges(card, exchange)
    return verification_of(card, result, named)


def _chosen(card: PortfolioCard, given: Any) -> dict[str, Any]:
    """What each strategy of the card is run with: its name, or what was given in place of it."""
    names = list(dict.fromkeys(leg.strategy for leg in card.legs))
    if given is None:
        return {name: name for name in names}
    if not isinstance(given, Mapping):
        if len(names) > 1:
            raise UsageError(
                f"the portfolio has the strategies {', '.join(map(repr, names))}, and strategy= is one\n"
                f"give a mapping by their names: strategy={{{names[0]!r}: …}}"
            )
        return {names[0]: given}
    unknown = [name for name in given if name not in names]
    if unknown:
        raise UsageError(
            f"strategy= has {unknown[0]!r}, and the portfolio has the strategies {', '.join(map(repr, names))}"
        )
    return {name: name for name in names} | dict(given)


def _legs(card: PortfolioCard, chosen: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The legs again; those of a strategy that answers for several symbols have its weights in common."""
    found: list[tuple[str, Any]] = []
    found_weights: set[str] = set()
    for leg in card.legs:
        strategy = _strategy(leg, chosen[leg.strategy])
        if not strategy.symbols:
            found.append((leg.symbol, strategy))
        elif leg.strategy not in found_weights:
            found_weights.add(leg.strategy)
            found += weights_legs(strategy)
    return found


def _strategy(leg: Card, chosen: Any) -> Strategy:
    if isinstance(chosen, str):
        return registry.strategies.get(chosen)
    known = chosen if isinstance(chosen, Strategy) else registered(chosen)
    if known is not None:
        return known
    at = schedule_of(leg)
    return make_strategy(leg.strategy, chosen, interval=None if at else leg.interval, at=at)


def _bases(card: PortfolioCard) -> dict[str, Any] | None:
    """The intervals of base bars by symbol, where the call named them."""
    pairs = zip(card.legs, card.bases, strict=True)
    found = {leg.symbol: base if "base" in leg.given else None for leg, base in pairs}
    return found if any(found.values()) else None


def _of_exchanges(card: PortfolioCard, exchange: Any) -> tuple[str, ...]:
    """How differences begin that are of an exchange given as an object, whose name may be another."""
    given = [*exchange.values()] if isinstance(exchange, Mapping) else [exchange]
    if all(isinstance(each, str) for each in given):
        return ()
    legs = [f"{leg.strategy} on {leg.symbol}: exchange: " for leg in card.legs]
    return ("exchange: ", *(f"{count} legs: exchange: " for count in range(2, len(legs) + 1)), *legs)
