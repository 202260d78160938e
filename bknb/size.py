"""How large a position is to be: ``bknb.size.Risk(1)`` loses 1 % of the equity at its stop.

Each answers the value of a position in quote currency, at the moment a strategy answers; ``Units`` a quantity in base
currency. As texts they are ``percent:10``, ``risk:1``, ``kelly:0.25``, ``atr:1``, ``cash:500`` and ``units:0.1``. A
function that is given a ``bknb.SizeRequest`` and answers such a value is a size, too.

Examples
--------
>>> import bknb
>>> bknb.size.Risk(1), bknb.RiskPercent is bknb.size.Risk
(Risk(percent=1), True)
"""

from __future__ import annotations

from .domain.percent_risk_and_kelly_sizes import AtrRisk, Cash, Kelly, Percent, Risk, Units

__all__ = ["AtrRisk", "Cash", "Kelly", "Percent", "Risk", "Units"]
