"""Provenance of results: source code, candles and strategy as hashes, and the run card that holds them."""
