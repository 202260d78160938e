"""Readers of records: statistics, reports and figures."""
