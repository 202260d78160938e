"""Panels that follow a run, and the static HTML that stays in the saved notebook."""
