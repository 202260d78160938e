"""A sandbox for unreviewed strategies: a child process with limits, without files or network."""
