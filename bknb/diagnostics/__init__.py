"""``bknb.doctor``: checks of this machine, and advice for those that fail."""
