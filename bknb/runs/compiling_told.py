"""Says at once that loops are compiled, and whether anybody has to wait for that a second time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ..frontend import ProgressLine, frontend
from ..kernels.jit import when_compiling
from ..market.system_clock import stopwatch

_ONCE: Final = "once for this version of bknb; that takes up to half a minute ..."
_AGAIN: Final = (
    "in each new process, as no folder for them can be written; that takes up to half a minute: set NUMBA_CACHE_DIR to "
    "a folder of yours ..."
)


@contextmanager
def compiling_told(label: str) -> Iterator[None]:
    """Tell of loops that are compiled while the block runs, and how long it took; nothing where they are in the cache.

    Parameters
    ----------
    label
        What needs them, such as ``sliders of cross BTCUSDT``.
    """
    shown: list[tuple[ProgressLine, float]] = []

    def tell(is_kept: bool) -> None:  # noqa: FBT001 -- called by `when_compiling`
        line = frontend().progress_line(label)
        shown.append((line, stopwatch()))
        line.close(f"its loops are compiled, {_ONCE if is_kept else _AGAIN}")

    with when_compiling(tell):
        yield
    for line, began in shown:
        line.close(f"its loops were compiled in {stopwatch() - began:.0f} s")
