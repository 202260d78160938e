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

import sys
from typing import Any

import lazy_loader

from .version import __version__ as __version__

# The public names and their homes stand in __init__.pyi; nothing of them is imported before it is asked for.
_attribute, _names, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _attribute(name)
    raise AttributeError(f"module 'bknb' has no attribute {name!r}", name=name, obj=sys.modules[__name__])


def __dir__() -> list[str]:
    return [*__all__, "__all__", "__doc__", "__version__", "load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(ipython: Any) -> None:
    """Add the magics to an IPython session; ``%load_ext bknb`` calls this."""
    from .jupyter.extension import load_ipython_extension as load

    load(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """Take the magics out of an IPython session; ``%unload_ext bknb`` calls this."""
    from .jupyter.extension import unload_ipython_extension as unload

    unload(ipython)
