"""Handing a notebook to somebody else: its candles, code and versions go along, and it is proven to run again."""
