"""Optimizers: a language model is shown market data and proposes strategies, which are checked, run and ranked.

Drafts run in the sandbox only.
"""
