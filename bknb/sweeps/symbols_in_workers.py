"""The symbols of a sweep prepared in workers: each fetches, checks and describes candles, and saves them for all."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from ..domain.interval import DAY_MS
from ..engine.registry import Exchange
from ..market.candle_fingerprint import hash_in
from .executor_options import CannotBeSentError, processes_of
from .packed_plans import PackedPlan, packed_plan, pickled, unpacked_plan
from .prepared_candles import OverLongerBars, Prepared, prepare, with_candles_beside
from .run_units import RunsElsewhere
from .symbol_means import is_at_zero

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ..engine.plan import Plan
    from ..kernels.simulate import Market
    from ..ports import CandleSource


class Described(NamedTuple):
    """What is asked about the candles of a symbol afterwards: they themselves are not kept.

    Attributes
    ----------
    data
        Hash of all of them.
    data_hash
        Of those in the frame, by which tries are counted.
    at_zero
        Whether there are prices at or below zero.
    open_days : ndarray of int64
        The days they are of, days since 1970, ascending.
    warnings
        What there was to say of them, where another process prepared them.
    """

    data: str
    data_hash: str
    at_zero: bool
    open_days: NDArray[np.int64]
    warnings: tuple[str, ...] = ()


def described(plan: Plan, prepared: Prepared, warnings: Sequence[str] = ()) -> Described:
    """What is to be kept of the candles of a symbol."""
    frame, market = plan.frame, prepared.market
    data_hash = hash_in(frame.start, frame.last, market.times, market.high, market.low)
    return Described(prepared.data, data_hash, is_at_zero(market), _days_of(market), tuple(warnings))


def _days_of(market: Market) -> NDArray[np.int64]:
    """The days in which candles open."""
    if market.regular and market.step <= DAY_MS and len(market.times):  # each day has some
        return np.arange(market.times[0] // DAY_MS, market.times[-1] // DAY_MS + 1)
    days = market.times // DAY_MS
    found: NDArray[np.int64] = days[np.diff(days, prepend=-1) != 0]
    return found


def prepare_symbol(
    number: int,
    packed: Sequence[PackedPlan],
    folder: str,
    params: Mapping[str, Any] | None,
    hashed: bool,  # noqa: FBT001 -- units of work have no keywords
    source: CandleSource,
) -> Described | None:
    """Prepare the candles of a symbol and save them; in a worker. ``None``: only longer bars cover the plan."""
    plan, warnings = unpacked_plan(packed[number]), list[str]()
    plan = replace(plan, exchange=Exchange(plan.exchange.name, source))
    try:
        prepared = asyncio.run(prepare(plan, warnings.append, hashed=hashed))
    except OverLongerBars:
        return None
    if params is not None:
        prepared = with_candles_beside(plan, prepared, params)
    prepared.save(Path(folder) / str(number + 1))
    return described(plan, prepared, warnings)


def prepared_elsewhere(
    plans: Sequence[Plan], folder: Path, executor: object, params: Mapping[str, Any] | None, *, hashed: bool
) -> list[Described] | None:
    """What is known of all symbols but the first, once worker processes have saved their candles to a folder.

    ``params``: those of a combination whose rows read candles beside their own; ``hashed`` is as for ``prepare``.
    ``None``: this process is to prepare them, as few symbols are left, or their exchange is asked over a network, or
    cannot be sent. Raises what the first symbol raises that raises anything.
    """
    rest, source = plans[1:], plans[0].exchange.source
    if len(rest) < 2 or (processes_of(executor) or 1) < 2 or not getattr(source, "is_local", False):
        return None
    if any(plan.exchange.callbacks or plan.exchange.source is not source for plan in plans):
        return None
    packed = [packed_plan(plan, with_source=False) for plan in rest]
    try:
        content = pickled(
            (prepare_symbol, (packed, str(folder), params, hashed)), [plans[0].strategy], purpose="a sweep"
        )
    except CannotBeSentError:
        return None
    runs = RunsElsewhere(
        executor, content, len(rest), name=lambda at: rest[at].symbol, warn=lambda _: None, kept=source
    )

    async def outcomes() -> list[Described | None]:
        return [await runs.outcome(number) for number in range(len(rest))]

    with runs:
        found = asyncio.run(outcomes())
    known = [each for each in found if each is not None]
    return known if len(known) == len(found) else None
