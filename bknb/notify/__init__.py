"""Notifiers: what happens in live runs is told by Telegram, a webhook or email, and silence is noticed.

Examples
--------
>>> import bknb.notify
>>> bknb.notify.running()
[]
"""

from __future__ import annotations

from .. import lazy_names

__getattr__, __dir__, __all__ = lazy_names.attach(__name__, __file__)
