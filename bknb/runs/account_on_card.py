"""The account and the benchmark of a run on its card: how they were given, what came of them, and giving them again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import asdict, fields, replace

from ..domain.costs import Costs
from ..domain.percent_risk_and_kelly_sizes import AtrRisk, Cash, Kelly, Percent, Risk, Units, read_size
from ..domain.sizing_formulas import Sizing
from ..domain.spot_margin_and_perpetual import Margin, Perpetual, Spot, read_account
from ..engine.registry import registry
from ..errors import UsageError
from ..market.candle_fingerprint import CandleRange, SeriesRange
from ..provenance.account_card import (
    FUNCTION,
    AccountOutcome,
    CardAccount,
    CardBenchmark,
    Choice,
    Choices,
    users_function,
)
from ..provenance.source_code_and_hash import Code, read_code
from .optional_benchmark import EQUAL

if TYPE_CHECKING:
    from ..engine.account_plan import AccountPlan
    from ..metrics.benchmark_figures import Benchmark
    from .account_result import RunAccount

_KINDS: Final[dict[str, type[msgspec.Struct]]] = {
    kind.__name__: kind for kind in (Percent, Risk, Kelly, AtrRisk, Cash, Units, Spot, Margin, Perpetual, Costs)
}


# --- as given ---------------------------------------------------------------------------------------------------


def card_account(plan: AccountPlan, *, currency: object, sizing: object, account: object, costs: object) -> CardAccount:
    """What the card of a run says of its account before the run: what was given, which is valid."""
    functions = plan.functions
    return CardAccount(
        capital=plan.capital,
        currency=plan.currency,
        currency_given=currency is not None,
        sizing=_choices(sizing, _size_of),
        account=_choices(account, read_account),
        costs=_choices(costs, lambda given: given),
        code=read_code(*functions) if functions else Code(),
    )


def _choices(given: object, read: Callable[[Any], Any]) -> Choices:
    if given is None:
        return {}
    by_leg = given if isinstance(given, Mapping) else {"": given}
    return {str(leg): _choice(read(each)) for leg, each in by_leg.items()}


def _size_of(given: object) -> Any:
    if isinstance(given, Sizing):
        return given
    size = read_size(given)
    return registry.sizings.get(size) if isinstance(size, str) else size


def _choice(given: Any) -> Choice:
    if not isinstance(given, msgspec.Struct) or not isinstance(given, (*_KINDS.values(), Sizing)):
        return Choice(kind=FUNCTION, name=name_of(given))
    values: dict[str, Any] = {name: value for name, value in asdict(given).items() if name != "name"}
    rows: tuple[tuple[float, ...], ...] = ()
    if isinstance(given, Costs):
        if given.funding is not None and not isinstance(given.funding, str):
            rows = tuple(tuple(float(part) for part in row) for row in values.pop("funding"))
        defaults = {field.name: field.default for field in fields(given)}
        values = {name: value for name, value in values.items() if callable(value) or value != defaults[name]}
    called = {name: value for name, value in values.items() if callable(value)}
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    return Choice(
        kind=type(given).__name__,
        name=given.name if isinstance(given, Sizing) else "",
        # all as floats: a notebook's front end writes 20.0 as 20, and the checksum must not care
        numbers={
            name: None if value is None else float(value)
            for name, value in values.items()
            if name not in called and name not in texts
        },
        texts=texts,
        functions={name: name_of(value) for name, value in called.items()},
        rows=rows,
    )


def name_of(function: Any) -> str:
    """Module and name of a function, ``module:name``; of an object that is called those of its class."""
    thing = function if hasattr(function, "__qualname__") else type(function)
    return f"{thing.__module__}:{thing.__qualname__}"


# --- what came of it --------------------------------------------------------------------------------------------


def with_outcome(
    account: CardAccount, money: RunAccount, fills: Sequence[Mapping[str, Any]], figures: Mapping[str, Any]
) -> CardAccount:
    """The account with what came of it, once its run is over.

    Parameters
    ----------
    account
        As it was given.
    money
        The account as it was kept.
    fills
        The fills of all legs, as rows.
    figures
        Those of ``result.account``.
    """
    from ..metrics.benchmark_definitions import BENCHMARK_DEFINITIONS
    from ..provenance.row_texts import digest_of_rows

    outcome = AccountOutcome(
        figures=_numbers({name: value for name, value in figures.items() if name not in BENCHMARK_DEFINITIONS}),
        fills=len(fills),
        movements=len(money.rows),
        fills_digest=digest_of_rows(fills),
        movements_digest=digest_of_rows(row._asdict() for row in money.rows),
    )
    return replace(account, outcome=outcome)


def card_benchmark(benchmark: Benchmark, figures: Mapping[str, Any]) -> CardBenchmark:
    """What the card of a run says of its benchmark; ``figures`` are those of ``result.account``."""
    from ..metrics.benchmark_definitions import BENCHMARK_DEFINITIONS

    made_of = benchmark.made_of
    return CardBenchmark(
        name=benchmark.name,
        is_symbol=not isinstance(made_of, SeriesRange),
        candles=made_of if isinstance(made_of, CandleRange) else None,
        series=made_of if isinstance(made_of, SeriesRange) else None,
        figures=_numbers({name: value for name, value in figures.items() if name in BENCHMARK_DEFINITIONS}),
    )


def _numbers(figures: Mapping[str, Any]) -> dict[str, float | None]:
    """Figures that are numbers; ``None`` for one that is not available, not a number, or infinite."""
    return {
        name: float(value) if value is not None and math.isfinite(value) else None
        for name, value in figures.items()
        if value is None or isinstance(value, (int, float))
    }


# --- again ------------------------------------------------------------------------------------------------------


def given_again(account: CardAccount | None, benchmark: CardBenchmark | None, changes: Mapping[str, Any]) -> Any:
    """What a run of the same account is given: ``capital``, ``sizing``, ``benchmark`` and so on, by name.

    Parameters
    ----------
    account, benchmark
        Those of a card.
    changes
        What is given in their place, by name; ``None``: nothing.

    Raises
    ------
    UsageError
        A function or a series that the card only names is not known here, and none was given.
    """
    found: dict[str, Any] = {}
    if account is not None:
        found = {"capital": account.capital, "currency": account.currency if account.currency_given else None}
        for name in ("sizing", "account", "costs"):
            if changes.get(name) is None:
                found[name] = _again(getattr(account, name), name)
    if benchmark is not None and changes.get("benchmark") is None:
        from .benchmark import EQUAL_PARTS

        if not benchmark.is_symbol:
            raise UsageError(
                f"this run was set beside the series {benchmark.name!r}, and a run card holds no prices\n"
                "give it again: bknb.verify(card, benchmark=series)"
            )
        found["benchmark"] = EQUAL if benchmark.name == EQUAL_PARTS else benchmark.name
    return found | {name: value for name, value in changes.items() if value is not None}


def _again(choices: Choices, what: str) -> Any:
    if not choices:
        return None
    made = {leg: _chosen_again(choice, what) for leg, choice in choices.items()}
    return made[""] if [*made] == [""] else made


def _chosen_again(choice: Choice, what: str) -> Any:
    if choice.kind == FUNCTION:
        return _function(choice.name, what)
    if choice.kind == Sizing.__name__:
        return choice.name  # what it is now
    kind = _KINDS[choice.kind]
    whole = {field.name for field in fields(kind) if field.type in (int, "int")}
    values: dict[str, Any] = {
        name: int(value) if name in whole and value is not None else value for name, value in choice.numbers.items()
    }
    values |= choice.texts
    values |= {name: _function(called, f"{name} of {what}") for name, called in choice.functions.items()}
    if choice.rows:
        values["funding"] = tuple((int(row[0]), *row[1:]) for row in choice.rows)
    return kind(**values)


def _function(name: str, what: str) -> Any:
    """The function of a card, which ``what`` says in messages.

    Raises
    ------
    UsageError
        There is none, as of a function that another one made.
    """
    found = users_function(name)
    if found is not None:
        return found
    module, _, path = name.partition(":")
    argument = what.rpartition(" of ")[2]
    raise UsageError(
        f"the {what} of this run card is {path!r} of {module}, and no function of yours has that name here\n"
        f"define it, or give it: bknb.verify(card, {argument}=…)"
    )
