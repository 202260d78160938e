"""Waiting for a condition that another thread makes true."""

from __future__ import annotations

import threading
from collections.abc import Callable

_PAUSE = 0.02


def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Whether it becomes true in time."""
    pause = threading.Event()
    return any(condition() or pause.wait(_PAUSE) for _ in range(round(seconds / _PAUSE)))
