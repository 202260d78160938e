"""Figures of closed trades: formulas, definitions, and the tables of trades they are computed from."""
