"""Contract suites, simulated clocks and fault injection for tests of your own adapters; ``reset`` between tests."""

from __future__ import annotations

from ..process import reset_all

__all__ = ["reset"]


def reset() -> None:
    """Reset bknb to its state right after import.

    Runs in the background and live runs are stopped, waited for (at most 10 seconds each) and forgotten; their saved
    state stays where it is. Every listener is unsubscribed. Registered strategies, exchanges, frames, risk profiles,
    walkers, sizings, optimizers and series are forgotten, and so are settings (``bknb.set_config``), the store
    (``bknb.set_store``), the logger (``bknb.set_logger``) and measured durations (``bknb.Performance``).

    Magics belong to their IPython shell: ``%unload_ext bknb`` takes them out of it.

    Examples
    --------
    In a ``conftest.py``, so that no test leaves anything to the next one:

    >>> import pytest
    >>> from bknb.testing import reset
    >>> @pytest.fixture(autouse=True)
    ... def fresh_bknb():
    ...     yield
    ...     reset()

    >>> import bknb
    >>> _ = bknb.add_frame("january", start="2024-01-01", end="2024-02-01")
    >>> _ = bknb.set_config(percent_fee=0.05)
    >>> reset()
    >>> bknb.list_frames(), bknb.get_config().percent_fee
    ([], 0.1)
    """
    reset_all()
