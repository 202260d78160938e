"""Notifiers of live runs: what happens is told by Telegram, a webhook or email, with heartbeats and pings."""
