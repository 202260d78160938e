"""The registry, the plan of a run and the backtest loop that feeds minutes to the lifecycle."""
