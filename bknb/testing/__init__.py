"""Contract suites, simulated clock and fault injection for everybody who writes an adapter."""
