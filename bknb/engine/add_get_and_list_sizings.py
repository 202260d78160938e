"""Ways to size positions, registered by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ..domain.sizing_formulas import Sizing, make_sizing
from ..errors import UnknownName
from .registration_checks import checked_name
from .registry import registry

_ON_CALCULATE: Final = "on_calculate"


def add_sizing(
    name: str,
    *,
    method: str,
    callbacks: Mapping[str, Callable[..., Any]] | None = None,
    strict: bool = False,
    **parameters: object,
) -> Sizing:
    """Register a way to size positions.

    A run with a capital uses it by its name, as ``sizing="careful"``; ``bknb.PositionSize`` where you place orders.

    Parameters
    ----------
    name
        The name ``sizing=`` and ``bknb.PositionSize`` use.
    method
        ``"fixed-percentage"`` (``risk_percentage``), ``"kelly-criterion"`` (``kelly_multiplier``, 0.25 by default) or
        ``"atr-based"`` (``risk_percentage``, ``atr_multiplier``, 2 by default).
    callbacks
        ``on_calculate(quantity, inputs)``, after the limits.
    strict
        Refuse to replace a sizing of that name.
    **parameters
        Those of the method, and the limits ``max_position_percentage`` (percent of the balance),
        ``min_position_size`` and ``max_position_size`` (units). The minimum is applied first, then the two others.

    Raises
    ------
    UsageError
        With every problem of the parameters.

    Examples
    --------
    >>> import bknb
    >>> bknb.add_sizing("careful", method="fixed-percentage", risk_percentage=1).method
    'fixed-percentage'
    """
    made = make_sizing(checked_name("sizing", name), method, dict(parameters))
    for key in callbacks or {}:
        if key != _ON_CALCULATE:
            raise UnknownName("callback", key, known=[_ON_CALCULATE])
    registry.sizings.add(name, made, strict=strict)
    registry.sizing_callbacks.items.pop(name, None)
    if callbacks:
        registry.sizing_callbacks.add(name, callbacks[_ON_CALCULATE], strict=strict)
    return made


def list_sizings() -> list[str]:
    """Names of the registered ways to size positions, in order of registration.

    Examples
    --------
    >>> import bknb
    >>> isinstance(bknb.list_sizings(), list)
    True
    """
    return registry.sizings.names()


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
