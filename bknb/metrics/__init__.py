"""Figures of closed trades: formulas, definitions, and the tables they come from and go to."""
