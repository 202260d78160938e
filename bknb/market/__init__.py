"""Candles: sources, fetching, checks, sessions, and the window a strategy reads them through."""
