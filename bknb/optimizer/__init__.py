"""From market data to proposed strategies: what a model is told, what it may answer, and what its answers are worth.

Nothing here runs a strategy. Whoever uses this room passes in a function that tries a draft out somewhere safe.
"""
