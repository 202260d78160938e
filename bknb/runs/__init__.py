"""The verbs: backtest, live, walker, sweep, walk_forward, verify; their tasks and results."""
