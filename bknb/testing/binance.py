"""Old path of the local exchange; import from :mod:`bknb.testing.fake_binance`."""

from __future__ import annotations

import warnings

from .fake_binance import Fault, LocalBinance, Market

__all__ = ["Fault", "LocalBinance", "Market"]

warnings.warn(
    "bknb.testing.binance is an old path and goes with the next release\n"
    "write: from bknb.testing.fake_binance import Fault, LocalBinance, Market",
    DeprecationWarning,
    stacklevel=2,
)
