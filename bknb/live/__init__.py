"""The live engine: state saved before events are emitted, and orders at a broker."""
