"""Can a result be trusted: look-ahead checks, deflated Sharpe ratio, overfitting, bootstrap, hold-out."""
