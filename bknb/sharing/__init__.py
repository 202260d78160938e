"""Sharing of notebooks: a folder with candles, code and pinned packages, verified to give the same results."""
