"""Named subjects and queued listeners: what a run emits, and how each listener gets it in order."""
