"""Counting tries: every strategy that is run on candles is noted in the ledger of tries, once.

A try is told from others by the code of the strategy, what it calls and the values it reads, and by its parameters.
The name of its function, docstrings and comments make no other try (``unnamed_fingerprint``), nor does a parameter that
is given as its default is. What is not seen makes
none either: levels that it reads from a file or from ``os.environ`` while it runs. Frames that overlap on an exchange
of another name are other data, unless the candles of both frames are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ..engine.plan import Plan
from ..errors import StateError
from ..market.candle_fingerprint import hash_in
from ..process import at_reset
from ..provenance.strategy_hash import params_text, unnamed_fingerprint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..research.tries_ledger import Tries
    from ..sweeps.sweep_run import SweepRun
    from .run_record import RunRecord

_place: list[Path] = []
_warned: set[str] = set()
at_reset(_warned.clear)


def keep_in(path: Path) -> None:
    """Keep the ledger of this process in another file than ``./dump/tries.jsonl``, such as one of a test."""
    _place[:] = [path]


def strategy_key(code: str, params: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> str:
    """A short hash of a strategy: of its code (``unnamed_fingerprint``) and parameters, not of its registered name.

    Parameters that are as in ``defaults`` are left out.
    """
    return hashlib.blake2b(f"{code} {params_text(params, defaults)}".encode(), digest_size=8).hexdigest()


def key_of(plan: Plan) -> str:
    """The hash of a strategy with its parameters, taken before a run changes what it reads, such as a cache."""
    return (
        strategy_key(code_of(plan), plan.strategy.params, plan.strategy.defaults) if plan.settings.count_tries else ""
    )


def code_of(plan: Plan) -> str:
    """The hash of the code of a strategy, taken before a run as ``key_of``; empty where tries are not counted."""
    return unnamed_fingerprint(plan.strategy) if plan.settings.count_tries else ""


def with_tries(record: RunRecord, key: str) -> RunRecord:
    """Return the record of a finished backtest with its strategy counted as tried on its candles.

    Parameters
    ----------
    record
        Of the run.
    key
        What ``key_of`` returned before it.
    """
    plan, minutes, warnings = record.plan, record.minutes, record.records.warnings
    assert isinstance(plan, Plan)  # a backtest  # noqa: S101
    tries = count_keys(plan, [key], minutes.timestamp, minutes.high, minutes.low, warn=warnings.append)
    return replace(record, tries=tries)


def count_sweep(run: SweepRun, code: str) -> int:
    """Count the combinations of a sweep as tried; returns how many strategies were tried on its candles, or 0.

    Parameters
    ----------
    run
        The sweep.
    code
        What ``code_of`` returned before it.
    """
    found = [0]
    for number, (plan, data) in enumerate(zip(run.plan.plans, run.data_hashes, strict=False)):
        defaults = plan.strategy.defaults
        done = [{**plan.strategy.params, **run.combinations[each]} for each, at in run.outcomes if at == number]
        keys = [strategy_key(code, each, defaults) for each in done] if plan.settings.count_tries else []
        tries = count_on(plan, keys, data, warn=run.warnings.append) if keys else None
        found.append(0 if tries is None else tries.count)
    return max(found)


def count_keys(
    plan: Plan,
    keys: Sequence[str],
    times: NDArray[np.int64],
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    *,
    warn: Callable[[str], object],
) -> Tries | None:
    """Count tries, each by its hash, on the candles of a plan's frame.

    Parameters
    ----------
    plan
        What was run.
    keys
        The hash of each try: ``strategy_key``.
    times, high, low
        One-minute candles; those outside the frame are left out.
    warn
        Told, once in a process, when tries cannot be counted; the run goes on.

    Returns
    -------
    Tries or None
        None where tries are not counted. Where the ledger cannot be read or written, those of this process; its
        ``unknown`` says why.
    """
    if not plan.settings.count_tries or not keys:
        return None
    return count_on(plan, keys, hash_in(plan.frame.start, plan.frame.last, times, high, low), warn=warn)


def count_on(plan: Plan, keys: Sequence[str], data: str, *, warn: Callable[[str], object]) -> Tries:
    """Count tries as ``count_keys`` on candles whose hash (``hash_in``) is known."""
    from ..research.tries_ledger import DEFAULT_LEDGER, Span, TriesLedger  # `import bknb` needs no disk

    start, last = plan.frame.start, plan.frame.last
    on = Span(exchange=plan.exchange.name, symbol=plan.symbol, start=start, end=last, data=data)
    ledger = TriesLedger(_place[0] if _place else Path(DEFAULT_LEDGER).absolute())
    try:
        tries = ledger.add(on, keys)
    except StateError as error:
        reason = str(error).splitlines()[0]
        _warn_once(
            warn,
            "unknown",
            f"how many strategies were tried on these data is unknown: {reason}; those of this process are counted; "
            "bknb.set_config(count_tries=False) says that none is meant to be",
        )
        return ledger.add_in_memory(on, keys, reason)
    if tries.unreadable:
        lines = "1 line" if tries.unreadable == 1 else f"{tries.unreadable:,} lines"
        _warn_once(
            warn, "unreadable", f"{lines} of {tries.path} cannot be read: the strategies tried in them are not counted"
        )
    return tries


def _warn_once(warn: Callable[[str], object], what: str, text: str) -> None:
    """Warn of what is wrong with a ledger, each kind of trouble once in a process."""
    if what not in _warned:
        _warned.add(what)
        warn(text)
