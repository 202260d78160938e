"""Everything that talks to files, exchanges, brokers or models."""
