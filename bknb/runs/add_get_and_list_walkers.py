"""Registering walkers: strategies to compare over one frame, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..engine.plan import ExchangeLike, FrameLike, StrategyLike
from ..engine.registration_checks import checked_callbacks, checked_name
from ..engine.registry import WALKER_CALLBACKS, WalkerSpec, registry
from ..errors import UsageError
from ..research.comparison import rankable


def add_walker(
    name: str,
    *,
    exchange: ExchangeLike,
    frame: FrameLike,
    strategies: Sequence[StrategyLike],
    metric: str = "sharpe_ratio",
    callbacks: Mapping[str, Callable[..., Any]] | None = None,
    strict: bool = False,
) -> WalkerSpec:
    """Register strategies to compare over one frame.

    Parameters
    ----------
    name
        The name ``bknb.walker`` uses.
    exchange, frame
        As for ``bknb.backtest``.
    strategies
        Names of strategies, functions, or strategies; each name once.
    metric
        The statistic that ranks: any number of ``bknb.statistics``. Its definition says whether higher or lower is
        better (``max_drawdown``: lower).
    callbacks
        ``on_strategy_start(strategy, symbol)``, ``on_strategy_complete(step)``,
        ``on_strategy_error(strategy, symbol, error)``, ``on_complete(comparison)``; plain or coroutine functions.
    strict
        Refuse to replace a walker of that name.

    Examples
    --------
    >>> import bknb
    >>> bknb.add_walker("pair", exchange="demo", frame="2024-01-01:2024-02-01", strategies=["fast", "slow"]).strategies
    ('fast', 'slow')
    """
    checked_name("walker", name)
    made = walker_spec(name, exchange, frame, strategies, metric, callbacks)
    return registry.walkers.add(name, made, strict=strict)


def walker_spec(
    name: str,
    exchange: Any,
    frame: Any,
    strategies: object,
    metric: str,
    callbacks: Mapping[str, Callable[..., Any]] | None,
) -> WalkerSpec:
    """Return the checked description of a walker; arguments as for :func:`add_walker`."""
    rankable(metric)
    if isinstance(strategies, (str, bytes)) or not isinstance(strategies, Sequence) or not strategies:
        raise UsageError(f"strategies must be a list of names or functions, at least one, got {strategies!r:.80}")
    named = [each for each in strategies if isinstance(each, str)]
    twice = [each for at, each in enumerate(named) if each in named[:at]]
    if twice:
        raise UsageError(f"strategy {twice[0]!r} is there twice; each can be compared once")
    chosen = checked_callbacks("walker", callbacks, WALKER_CALLBACKS)
    return WalkerSpec(name, exchange, frame, tuple(strategies), metric, chosen)


def list_walkers() -> list[str]:
    """Names of the registered walkers, in order of registration.

    Examples
    --------
    >>> import bknb
    >>> isinstance(bknb.list_walkers(), list)
    True
    """
    return registry.walkers.names()


def get_walker(name: str) -> WalkerSpec:
    """The walker of that name.

    Examples
    --------
    >>> import bknb
    >>> _ = bknb.add_walker("pair", exchange="demo", frame="2024-01-01:2024-02-01", strategies=["fast", "slow"])
    >>> bknb.get_walker("pair").metric
    'sharpe_ratio'
    """
    return registry.walkers.get(name)
