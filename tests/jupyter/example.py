"""What the tests of the notebook layer run again and again."""

from __future__ import annotations

WEEK = "2024-01-01:2024-01-08"
RUN = f"--exchange demo --frame {WEEK}"
TRADER = """
def get_signal(ctx):
    return bknb.Signal(
        position="long",
        price_take_profit=ctx.price * 1.02,
        price_stop_loss=ctx.price * 0.99,
        minute_estimated_time=300,
    )
"""
