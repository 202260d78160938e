"""Run code nobody has looked at: in a process of its own, with limits, without files or network."""
