"""Candles on disk: one store by month, filled from an exchange page by page, read back offline."""
