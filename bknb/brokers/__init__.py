"""Ready-made brokers, which execute the orders of a live strategy.

``paper()`` needs nothing. A broker of your own is any object with the four methods of :class:`bknb.ports.Broker`; it
should pass :class:`bknb.testing.brokers.BrokerContract`.

Examples
--------
>>> import bknb.brokers
>>> bknb.brokers.paper()
PaperBroker(0 orders)
"""

from __future__ import annotations

from .. import lazy_names

__getattr__, __dir__, __all__ = lazy_names.attach(__name__, __file__)
