"""Candles, where they come from, and the only window a strategy has on them."""
