"""The benchmark of a run or a portfolio, where it has one: nothing of benchmarks is loaded for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..engine.account_plan import AccountPlan
    from ..engine.plan import Plan
    from ..metrics.benchmark_figures import Benchmark
    from .benchmark import BenchmarkPrices, PriceSeries
    from .result import Result
    from .run_record import RunRecord


EQUAL: Final = "equal"
"""A benchmark of all symbols that are traded, in equal parts bought at the start and held."""


def checked_of_account(given: object, account: AccountPlan | None) -> str | PriceSeries | None:
    """What ``benchmark=`` of a portfolio says, once it is clear that there is an account to set beside it.

    Raises
    ------
    UsageError
        There is no account, or it is neither a symbol nor a series of prices.
    """
    if given is None:
        return None
    if account is None:
        raise UsageError(
            "benchmark= of a portfolio is set beside its account, and without a capital there is none\n"
            "give capital=10_000, say"
        )
    from .benchmark import checked_benchmark

    return checked_benchmark(given)


async def load_benchmark_of(
    given: object, plans: Sequence[Plan], warn: Callable[[str], object]
) -> BenchmarkPrices | None:
    """The prices of a benchmark from the exchange of the first leg; ``None``: there is none, or a leg trades it."""
    if given is None or (isinstance(given, str) and given in (EQUAL, *(plan.symbol for plan in plans))):
        return None
    from .benchmark import load_benchmark

    return await load_benchmark(given, plans[0], warn)


def beside_legs(given: object, prices: BenchmarkPrices | None, legs: Sequence[Result]) -> Benchmark | None:
    """What is kept of a benchmark beside the account of legs, with the costs of the first one; ``None``: it has none.

    ``prices`` are those that were loaded; a symbol that a leg trades has the candles of that, and equal parts those of
    all legs.
    """
    if given is None:
        return None
    from .account_equity import closes_by_leg, marked_span
    from .benchmark import benchmark_beside

    terms, records = [leg.account_terms for leg in legs], [leg.run_record for leg in legs]
    start, end = marked_span(closes_by_leg(records).values(), terms)
    if prices is None:
        prices = prices_of_legs(given, records, start)
    return benchmark_beside(prices, start, end, slippage=terms[0].slippage, fee=terms[0].fee)


def prices_of_legs(given: object, legs: Sequence[RunRecord], start: int) -> BenchmarkPrices:
    """The prices of a benchmark that legs trade: of one of their symbols, or of all in equal parts from ``start``."""
    from .account_equity import closes_by_leg
    from .benchmark import equal_parts, prices_of_run

    chosen = [leg for leg in legs if given in (EQUAL, leg.plan.symbol)]
    bars = closes_by_leg(chosen).values()  # legs mostly have the same moments, which are many
    of_symbols = {leg.plan.symbol: prices_of_run(leg, each) for leg, each in zip(chosen, bars, strict=True)}
    return equal_parts([*of_symbols.values()], start) if given == EQUAL else of_symbols[str(given)]
