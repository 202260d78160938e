"""Look-up of registered items: ``list_*`` and ``get_*`` for every kind."""

from __future__ import annotations

from ..domain.sizing_formulas import Sizing
from .registry import Exchange, Frame, Risk, Strategy, WalkerSpec, registry


def list_exchanges() -> list[str]:
    """Names of the exchanges that can be used.

    Examples
    --------
    >>> import bknb
    >>> "demo" in bknb.list_exchanges()
    True
    """
    return registry.exchanges.names()


def list_strategies() -> list[str]:
    """Names of the registered strategies, in order of registration.

    Examples
    --------
    >>> import bknb
    >>> isinstance(bknb.list_strategies(), list)
    True
    """
    return registry.strategies.names()


def list_frames() -> list[str]:
    """Names of the registered frames, in order of registration.

    Examples
    --------
    >>> import bknb
    >>> isinstance(bknb.list_frames(), list)
    True
    """
    return registry.frames.names()


def list_risks() -> list[str]:
    """Names of the registered risk profiles, in order of registration.

    Examples
    --------
    >>> import bknb
    >>> isinstance(bknb.list_risks(), list)
    True
    """
    return registry.risks.names()


def list_walkers() -> list[str]:
    """Names of the registered walkers, in order of registration.

    Examples
    --------
    >>> import bknb
    >>> isinstance(bknb.list_walkers(), list)
    True
    """
    return registry.walkers.names()


def list_sizings() -> list[str]:
    """Names of the registered ways to size positions, in order of registration.

    Examples
    --------
    >>> import bknb
    >>> isinstance(bknb.list_sizings(), list)
    True
    """
    return registry.sizings.names()


def list_series() -> list[str]:
    """Names of the registered point-in-time series, in order of registration.

    Examples
    --------
    >>> import bknb
    >>> _ = bknb.add_series("score", {"published_at": [1_704_067_200], "value": [0.5]})
    >>> "score" in bknb.list_series()
    True
    """
    return registry.series.names()


def get_exchange(name: str) -> Exchange:
    """The exchange of that name.

    Examples
    --------
    >>> import bknb
    >>> bknb.get_exchange("demo").name
    'demo'
    """
    return registry.exchanges.get(name)


def get_strategy(name: str) -> Strategy:
    """The strategy of that name.

    Examples
    --------
    >>> import bknb
    >>> _ = bknb.add_strategy("quiet", interval="1h", get_signal=lambda: None)
    >>> bknb.get_strategy("quiet").execution
    'pessimistic'
    """
    return registry.strategies.get(name)


def get_frame(name: str) -> Frame:
    """The frame of that name.

    Examples
    --------
    >>> import bknb
    >>> _ = bknb.add_frame("week", start="2024-01-01", end="2024-01-08")
    >>> bknb.get_frame("week").interval
    '1m'
    """
    return registry.frames.get(name)


def get_risk(name: str) -> Risk:
    """The risk profile of that name.

    Examples
    --------
    >>> import bknb
    >>> _ = bknb.add_risk("open", validations=[])
    >>> bknb.get_risk("open").validations
    ()
    """
    return registry.risks.get(name)


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


def get_sizing(name: str) -> Sizing:
    """The way to size positions of that name.

    Examples
    --------
    >>> import bknb
    >>> _ = bknb.add_sizing("one percent", method="fixed-percentage", risk_percentage=1)
    >>> bknb.get_sizing("one percent").risk_percentage
    1.0
    """
    return registry.sizings.get(name)
