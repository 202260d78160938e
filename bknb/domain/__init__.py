"""Pure decisions: what a signal is, which rules hold, what happens to it. No I/O, no clock, no arrays."""
