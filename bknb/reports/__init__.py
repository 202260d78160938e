"""Results as text, HTML, plots and dashboard data. Reads records; runs nothing."""
