"""Runs: the registry, the drivers that feed minutes to the lifecycle, and the events that come out."""
