"""The legs of a portfolio as its call gave them: pairs of a symbol and a strategy, and what each symbol has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace

from ..engine.plan import StrategyLike
from ..engine.portfolio_run import LegPlan, leg_text
from ..engine.registry import Strategy, registry
from ..engine.resolve import registered
from ..errors import UsageError

if TYPE_CHECKING:
    from ..engine.plan import Plan
    from ..engine.portfolio_weights import PortfolioWeights
    from ..live.plan import LivePlan

P = TypeVar("P", "Plan", "LivePlan")


def legs_of(
    symbols: object,
    strategies: object,
    legs: object,
    *,
    make_weights: Callable[[Strategy], PortfolioWeights] | None = None,
) -> list[tuple[str, StrategyLike]]:
    """The legs that were given, in declared order; ``make_weights`` makes what legs have in common."""
    if legs is not None:
        if symbols is not None or strategies is not None:
            raise UsageError("give symbols and strategies, or legs: both were given")
        listed = [*legs] if isinstance(legs, Iterable) and not isinstance(legs, str) else []
        pairs = [leg for leg in listed if isinstance(leg, tuple | list) and len(leg) == 2]
        if not listed or len(pairs) < len(listed):
            raise UsageError(f'legs must be pairs such as [("BTCUSDT", "trend"), …], at least one, got {legs!r:.80}')
        return [(symbol, strategy) for symbol, strategy in pairs]
    if isinstance(strategies, Sequence) and not isinstance(strategies, str):
        known = [_known(strategy) for strategy in strategies]
        of_weights = [strategy for strategy in known if strategy is not None and strategy.symbols]
        if of_weights and symbols is None and len(of_weights) < len(known):
            names = ", ".join(repr(strategy.name) for strategy in of_weights)
            raise UsageError(f"{names} names its symbols, and others of the strategies do not\ngive symbols= for them")
        if of_weights and (symbols is None or len(of_weights) < len(known)):
            return [leg for strategy in strategies for leg in _legs_of(strategy, symbols, make_weights)]
        if of_weights:
            raise UsageError(f"strategy {of_weights[0].name!r} names its symbols: leave symbols= out")
    for what, given in (("symbols", symbols), ("strategies", strategies)):
        if isinstance(given, str) or not isinstance(given, Sequence) or not given:
            raise UsageError(
                f"{what} must be a list, at least one, got {given!r:.80}\n"
                'such as bknb.portfolio(symbols=["BTCUSDT", "ETHUSDT"], strategies=["trend"], exchange=…, frame=…), '
                'or legs=[("BTCUSDT", "trend"), …]'
            )
    assert isinstance(symbols, Sequence)  # looked at above  # noqa: S101
    assert isinstance(strategies, Sequence)  # noqa: S101
    return [(symbol, strategy) for strategy, symbol in product(strategies, symbols)]


def _known(strategy: StrategyLike) -> Strategy | None:
    """The strategy that a name or an object stands for, where it is one; ``None`` for a function."""
    if isinstance(strategy, str):
        return registry.strategies.items.get(strategy)
    return strategy if isinstance(strategy, Strategy) else registered(strategy)


def _legs_of(
    strategy: StrategyLike, symbols: object, make_weights: Callable[[Strategy], PortfolioWeights] | None
) -> list[tuple[str, StrategyLike]]:
    """The legs of one strategy: of one that names its symbols those, with their weights in common."""
    known = _known(strategy)
    if known is None or not known.symbols:
        return legs_of(symbols, [strategy], None)
    return weights_legs(known, make_weights)


def weights_legs(
    strategy: Strategy, make_weights: Callable[[Strategy], PortfolioWeights] | None = None
) -> list[tuple[str, StrategyLike]]:
    """The legs of a strategy that answers for several symbols at once, with their weights in common."""
    from ..engine.portfolio_weights import PortfolioWeights  # few strategies answer for several symbols

    weights = PortfolioWeights(strategy) if make_weights is None else make_weights(strategy)
    return [(symbol, weights.leg(symbol)) for symbol in strategy.symbols]


def of_symbol(given: Any, symbol: str, what: str) -> Any:
    """What a symbol has of an argument that may be a mapping by symbol; ``what`` is its name in messages."""
    if not isinstance(given, Mapping):
        return given
    if symbol not in given:
        has = f"it has {', '.join(map(repr, given))}" if given else "it is empty"
        raise UsageError(f"{what} is a mapping by symbol and has no {symbol!r}: {has}")
    return given[symbol]


def check_once(plans: Sequence[LegPlan]) -> None:
    """Raise ``UsageError`` for a leg that is there twice: results are found by symbol and strategy."""
    texts = [leg_text(plan) for plan in plans]
    twice = [text for at, text in enumerate(texts) if text in texts[:at]]
    if twice:
        raise UsageError(
            f"two legs are {twice[0]}\n"
            "name each symbol and strategy once; register functions of one name under different names"
        )


def with_symbols(plans: Sequence[P]) -> list[P]:
    """The plans of legs, each with the symbols of all legs of its strategy, where it has several.

    Raises
    ------
    UsageError
        A strategy over several exchanges asks for a model that its symbols share.
    """
    found: dict[str, set[str]] = {}
    for plan in plans:
        found.setdefault(plan.strategy.name, set()).add(plan.symbol)
    symbols = {name: tuple(sorted(each)) for name, each in found.items()}
    if registry.models.items:
        for name in symbols:
            _check_shared_models([plan for plan in plans if plan.strategy.name == name])
    return [
        replace(plan, symbols=symbols[plan.strategy.name]) if len(symbols[plan.strategy.name]) > 1 else plan
        for plan in plans
    ]


def _check_shared_models(plans: Sequence[P]) -> None:
    """Refuse a model that symbols of several exchanges share: a leg would read all of them from its own exchange."""
    if len({id(plan.exchange.source) for plan in plans}) == 1:
        return
    from ..provenance.strategy_hash import models_of  # few portfolios have models

    shared = [name for name, model in models_of(plans[0].strategy).items() if model.shared]
    if shared:
        raise UsageError(
            f"strategy {plans[0].strategy.name!r} asks for the model {shared[0]!r}, which has shared=True and reads "
            "from one exchange, and exchange= gives its symbols several\n"
            "give one exchange that has all of them, such as bknb.exchanges.joined(...)"
        )


def is_by_score(priority: object) -> bool:
    """Whether signals of one moment go by their score; raises ``UsageError`` for what is no priority."""
    if priority not in ("declared", "score"):
        raise UsageError(
            f"priority must be 'declared', the order in which legs are given, or 'score', that of Signal.score; "
            f"got {priority!r}"
        )
    return priority == "score"
