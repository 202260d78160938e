"""Sweeps: many combinations of parameters over the same candles, on one machine or a cluster, with a trial ledger."""
