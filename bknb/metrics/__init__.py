"""Figures of accounts and of closed trades: formulas, definitions, and the tables they are computed from."""
