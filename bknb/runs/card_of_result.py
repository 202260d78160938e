"""Making run cards of results."""

from __future__ import annotations

import functools
import hashlib
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..domain.fills_at_stops_and_gaps import execution_model
from ..domain.signal import key_of
from ..errors import UsageError
from ..market.candle_fingerprint import SeriesRange
from ..provenance.source_code_and_hash import ASKED_AT, Code, read_code
from ..provenance.strategy_hash import functions_of, model_text, models_of
from ..provenance.value_text import value_text
from ..version import __version__
from .result_tables import cancelled_row, trade_row_on_card

if TYPE_CHECKING:
    from ..engine.plan import Plan
    from ..live.plan import LivePlan
    from ..market.candle_fingerprint import CandleRange
    from ..provenance.card import Card
    from ..provenance.card_models import CardModel
    from ..provenance.portfolio_card import PortfolioCard
    from .portfolio_result import PortfolioResult
    from .result import Result
    from .run_record import RunRecord

_ALWAYS = ("numpy", "pandas", "msgspec")
INDICATORS_BY = "TA-Lib"
"""What a card says of TA-Lib, where values of indicators were made."""
OF_INDICATORS = (INDICATORS_BY, "vector instructions", "numpy", "pandas", "platform")
"""What of that which a card was made with decides the last bits of its indicators."""


def code_of(plan: Plan | LivePlan) -> Code:
    """Return the source text of what a plan calls: the strategy, ``manage``, risk rules, callbacks, what they call."""
    strategy = plan.strategy
    parameters = dict(strategy.params)
    code = read_code(*functions_of(strategy).values(), *filter(callable, parameters.values()))
    named = {f"parameter {name}": value_text(value) for name, value in parameters.items()}
    if strategy.manage is not None and strategy.manages_at is None:
        named["interval of manage"] = strategy.manages_every
    if strategy.at is not None:
        named[ASKED_AT] = f"{strategy.at}{', late' if strategy.late else ''}"
    if strategy.manage_at is not None:
        named["manage at"] = str(strategy.manage_at)
    named |= {f"model {name}": when for name, when in map(model_text, models_of(strategy).values())}
    if strategy.uses:
        named["uses"] = value_text(strategy.uses)
    if strategy.places > 1:
        named["places"] = value_text(strategy.places)
    if strategy.tolerance is not None:
        named["tolerance of weights"] = value_text(strategy.tolerance)
        options = {name: getattr(strategy, name) for name in ("reenter", "together", "cash_buffer_percent")}
        named |= {name: value_text(value) for name, value in options.items() if value}
    return msgspec.structs.replace(code, values={**named, **code.values})


def card_of(result: Result) -> Card:
    """Return the card of a finished run.

    Raises
    ------
    UsageError
        The run is a leg of a portfolio that shared its risk profile or its account: alone it would have opened other
        positions.
    """
    record = result.run_record
    of_account = record.money is None and record.money_positions is not None
    if record.shares_risk or of_account:
        what = "account" if of_account else f"risk profile {record.plan.strategy.risk!r}"
        raise UsageError(
            f"the leg {result.strategy} on {result.symbol} shared the {what} with others of its portfolio, and a run "
            "card of one leg runs it alone\n"
            "take the card of the portfolio: the result of bknb.portfolio(…) has .card"
        )
    card = _card_of(result, record.fingerprints())
    if record.money is None and record.benchmark is None:
        return card
    from ..provenance.card_file import MONEY_FORMAT
    from .account_on_card import card_benchmark, with_outcome  # few runs have an account

    account = record.money.card if record.money is not None else None
    found: dict[str, Any] = {"format": MONEY_FORMAT}
    if account is not None and record.money is not None:
        found["_account"] = with_outcome(account, record.money, _fills(record), result.account)
    if record.benchmark is not None:
        found["_benchmark"] = card_benchmark(record.benchmark, result.account)
    return msgspec.structs.replace(card, **found)


def card_of_portfolio(result: PortfolioResult) -> PortfolioCard:
    """Return the card of a finished portfolio."""
    from ..provenance.portfolio_card import portfolio_card
    from .account_on_card import card_benchmark, with_outcome

    known: dict[int, CandleRange] = {}
    legs = [*result.legs.values()]
    money, account = result.run_account, None
    if money is not None and money.card is not None:
        fills = [row for leg in legs for row in _fills(leg.run_record)]
        account = with_outcome(money.card, money, fills, result.account)
    return portfolio_card(
        result.name,
        tuple(_card_of(leg, leg.run_record.fingerprints(known)) for leg in legs),
        bases=tuple(leg.run_record.plan.base for leg in legs),
        priority=result.priority,
        account=account,
        benchmark=None if result.benchmark is None else card_benchmark(result.benchmark, result.account),
    )


def _fills(record: RunRecord) -> list[dict[str, Any]]:
    from .fill_table import fill_rows

    return fill_rows(record.records, record.plan.settings, record.money_positions)


def _rows(result: Result) -> list[dict[str, Any]]:
    """The rows of trades and cancelled signals; of trades with an account their money, too."""
    records, positions = result.run_record.records, result.run_record.money_positions
    rows = [*map(trade_row_on_card, records.closed)]
    if positions is not None:
        from .account_result import trade_money

        for row, event in zip(rows, records.closed, strict=True):
            row.update(trade_money(positions.get(key_of(event.signal))))
    return [*rows, *map(cancelled_row, records.cancelled)]


def _card_of(result: Result, data: tuple[CandleRange, ...]) -> Card:
    """Return the card of a run without its account."""
    from ..provenance.card import Card, outcome_of  # every run reads its code; few make a card

    record = result.run_record
    plan, code = record.plan, record.code or code_of(record.plan)
    outcome = outcome_of(
        _rows(result),
        trades=len(record.records.closed),
        rejected=len(record.records.rejected),
        refused=len(result.refused),
    )
    frame = getattr(plan, "frame", None)  # a live run has none
    return Card(
        kind=result.mode,
        strategy=plan.strategy.name,
        symbol=plan.symbol,
        exchange=plan.exchange.name,
        interval=plan.strategy.interval,
        execution=plan.execution,
        frame=result.frame,
        start=result.start,
        end=result.end if frame is None else frame.end,
        frame_interval=plan.base if frame is None else frame.interval,
        risk=plan.strategy.risk,
        allow_gaps=plan.allow_gaps,
        stopped=result.stopped,
        given=getattr(plan, "given", ()),
        # all as floats: a notebook's front end writes 20.0 as 20, and the checksum must not care
        settings={name: None if value is None else float(value) for name, value in plan.settings.decisive().items()},
        code=code,
        data=data,
        made_with={
            **made_with(code.packages, has_indicators=bool(record.records.indicators)),
            "candles from": record.candles_from,
        },
        outcome=outcome,
        _series=_series_of(record),
        _models=_models_of(record),
        notes=code.notes,
        rules=execution_model(plan.execution).rules,
    )


def _series_of(record: RunRecord) -> tuple[SeriesRange, ...] | msgspec.UnsetType:
    """Fingerprints of the series a run read, by name."""
    readers = {} if record.published is None else record.published.readers
    if not readers:
        return msgspec.UNSET
    found = []
    for name, reader in sorted(readers.items()):
        table = reader.table
        count, first, last, digest = (0, 0, 0, "") if table is None else table.known_until(record.last)
        delay_ms = reader.source.columns.delay_ms
        found.append(SeriesRange(name=name, count=count, first=first, last=last, delay_ms=delay_ms, digest=digest))
    return tuple(found)


def _models_of(record: RunRecord) -> tuple[CardModel, ...] | msgspec.UnsetType:
    """The fits a run used, by model and symbol."""
    if not record.records.models:
        return msgspec.UNSET
    from ..provenance.card_models import card_models  # few runs have any

    return card_models(record.records.models)


def made_with(packages: tuple[str, ...] = (), *, has_indicators: bool = False) -> dict[str, str]:
    """Return versions of Python, bknb and packages, and the platform; with indicators what else decides their bits."""
    found = {
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        "bknb": __version__,
        "bknb code": _own_digest(),
    }
    names = dict.fromkeys([*_ALWAYS, *(name for name in packages if name not in sys.stdlib_module_names)])
    for name in names:
        distribution = _distribution(name)
        if distribution is not None:
            found[name] = distribution
    if has_indicators:
        from ..market.talib_functions import talib_version  # few runs have indicators
        from ..provenance.indicator_values_on_disk import vector_instructions

        found.pop("talib", None)
        found[INDICATORS_BY] = talib_version() or "not installed, formulas of bknb"
        found["vector instructions"] = vector_instructions()
    return found


@functools.cache
def _distribution(module: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, packages_distributions, version  # 18 ms, for cards alone

    try:
        return version(module)
    except PackageNotFoundError:
        names = packages_distributions().get(module)
        return version(names[0]) if names else None


@functools.cache
def _own_digest() -> str:
    """Return the first digits of the digest of bknb's source, which differ between checkouts of one version."""
    folder = Path(__file__).parent.parent
    made = hashlib.sha256()
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        made.update(path.relative_to(folder).as_posix().encode())
        made.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return made.hexdigest()[:12]
