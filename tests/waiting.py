"""Waiting for a condition that another thread makes true."""

from __future__ import annotations

import threading
from collections.abc import Callable


def until(condition: Callable[[], bool]) -> bool:
    """Whether it becomes true within a minute."""
    pause = threading.Event()
    return any(condition() or pause.wait(0.02) for _ in range(3000))
