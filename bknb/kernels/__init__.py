"""Loops over arrays: each has a plain-Python twin that is its specification."""
