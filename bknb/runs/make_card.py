"""Making run cards of results."""

from __future__ import annotations

import functools
import hashlib
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..domain.execution_fills import execution_model
from ..errors import UsageError
from ..provenance.candle_fingerprint import SeriesRange
from ..provenance.source_walk import ASKED_AT, Code, read_code
from ..provenance.strategy_hash import functions_of
from ..provenance.value_text import value_text
from ..version import __version__
from .result_tables import without_managed_columns

if TYPE_CHECKING:
    from ..engine.plan import Plan
    from ..live.plan import LivePlan
    from ..provenance.card import Card
    from .result import Result
    from .run_record import RunRecord

_ALWAYS = ("numpy", "pandas", "msgspec")


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
    return msgspec.structs.replace(code, values={**named, **code.values})


def card_of(result: Result) -> Card:
    """Return the card of a finished run.

    Raises
    ------
    UsageError
        The run is a leg of a portfolio that shared its risk profile: alone it would have opened other positions.
    """
    from ..provenance.card import Card, outcome_of  # every run reads its code; few make a card

    record = result.run_record
    if record.money_positions is not None:
        raise UsageError(
            f"the run of {result.strategy} on {result.symbol} had a capital, and a run card does not hold an account\n"
            "for a card run it without capital=, sizing=, costs= and account="
        )
    if record.shares_risk:
        raise UsageError(
            f"the leg {result.strategy} on {result.symbol} shared the risk profile {record.plan.strategy.risk!r} with "
            "others of its portfolio, and a run card runs one leg alone\n"
            f"for a card run it alone: bknb.backtest({result.symbol!r}, strategy={result.strategy!r}, …).card"
        )
    plan, code = record.plan, record.code or code_of(record.plan)
    outcome = outcome_of(
        [without_managed_columns(row) for row in result.rows()],
        trades=len(result.trades),
        rejected=len(result.rejected),
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
        data=record.fingerprints(),
        made_with={**made_with(code.packages), "candles from": record.candles_from},
        outcome=outcome,
        _series=_series_of(record),
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


def made_with(packages: tuple[str, ...] = ()) -> dict[str, str]:
    """Return versions of Python, bknb and packages, and the platform."""
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
