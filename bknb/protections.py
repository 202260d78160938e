"""Rules for risk profiles: ``bknb.add_risk("calm", validations=[bknb.protections.daily_loss(3)])``.

Each refuses candidates by what was closed before in the profile, of all symbols and strategies that share it, or by
what is open, also in live runs. ``max_exposure`` needs a run with a capital.

Examples
--------
>>> import bknb
>>> calm = [bknb.protections.cooldown(pause="4h", losses=3), bknb.protections.max_drawdown(10)]
>>> bknb.add_risk("calm", validations=calm).validations[0].validate
Cooldown(pause='4h', losses=3, per='profile')
"""

from __future__ import annotations

from .domain.protections_of_risk_profiles import Cooldown as cooldown  # noqa: N813 -- named as the rule that it is
from .domain.protections_of_risk_profiles import Correlation as correlation  # noqa: N813
from .domain.protections_of_risk_profiles import DailyLoss as daily_loss  # noqa: N813
from .domain.protections_of_risk_profiles import MaxDrawdown as max_drawdown  # noqa: N813
from .domain.protections_of_risk_profiles import MaxExposure as max_exposure  # noqa: N813
from .domain.protections_of_risk_profiles import MaxOpen as max_open  # noqa: N813
from .domain.protections_of_risk_profiles import StopGuard as stop_guard  # noqa: N813

__all__ = ["cooldown", "correlation", "daily_loss", "max_drawdown", "max_exposure", "max_open", "stop_guard"]
