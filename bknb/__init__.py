"""A notebook toolkit for trading strategies.

Write ``get_signal`` in a cell, see what it would have done, run the same function live::

    import bknb

    @bknb.strategy("my-first", interval="15m")
    def get_signal(ctx): ...

    demo = bknb.exchanges.demo()
    result = bknb.backtest("BTCUSDT", strategy="my-first", exchange=demo, frame="2024-01-01:2024-02-01")

In a notebook, ``%load_ext bknb`` adds the magics.
"""

from __future__ import annotations

from . import lazy_names
from .version import __version__ as __version__

__getattr__, _names, __all__ = lazy_names.attach(__name__, __file__)


def __dir__() -> list[str]:
    return [*_names(), "__version__", "load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(ipython: object) -> None:
    """Add the magics to an IPython session; ``%load_ext bknb`` calls this."""
    from .jupyter.extension import load_ipython_extension as load

    load(ipython)


def unload_ipython_extension(ipython: object) -> None:
    """Take the magics out of an IPython session; ``%unload_ext bknb`` calls this."""
    from .jupyter.extension import unload_ipython_extension as unload

    unload(ipython)
