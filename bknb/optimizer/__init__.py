"""Optimizers: a language model is shown market data and proposes strategies, which are checked, run and ranked.

Nothing here runs a strategy. Whoever uses this room passes in a function that tries a draft out somewhere safe.
"""
