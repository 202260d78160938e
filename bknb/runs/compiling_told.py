"""Says at once that loops are compiled, which nobody has to wait for a second time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..frontend import ProgressLine, frontend
from ..kernels.jit import when_compiling
from ..market.system_clock import stopwatch


@contextmanager
def compiling_told(label: str) -> Iterator[None]:
    """Tell of loops that are compiled while the block runs, and how long it took; nothing where they are in the cache.

    Parameters
    ----------
    label
        What needs them, such as ``sliders of cross BTCUSDT``.
    """
    shown: list[tuple[ProgressLine, float]] = []

    def tell() -> None:
        line = frontend().progress_line(label)
        shown.append((line, stopwatch()))
        line.close("its loops are compiled, once for this version of bknb; that takes up to half a minute ...")

    with when_compiling(tell):
        yield
    for line, began in shown:
        line.close(f"its loops were compiled in {stopwatch() - began:.0f} s")
