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

from .factories import paper
from .paper_broker import PaperBroker, Trouble

__all__ = ["PaperBroker", "Trouble", "paper"]
