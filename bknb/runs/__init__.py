"""Runs of strategies, with their tasks and results: backtest, live, walker, sweep, walk_forward, verify."""
