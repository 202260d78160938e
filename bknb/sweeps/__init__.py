"""Sweeps: many combinations of parameters over the same candles, on one machine or a cluster, with a trial ledger."""

from .. import provenance  # noqa: F401 -- for runs with the setting indicator_cache, also in workers
