"""Loops over arrays: each has a plain-Python version that is its specification."""
