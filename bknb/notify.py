"""Notifiers: what happens in live runs is told by Telegram, a webhook or email, and silence is noticed.

Examples
--------
>>> import bknb.notify
>>> bknb.notify.running()
[]
"""

from __future__ import annotations

from .runs.notifiers.notifier import Notifier, running
from .runs.notifiers.telegram_webhook_and_email import email, telegram, webhook

__all__ = ["Notifier", "email", "running", "telegram", "webhook"]
