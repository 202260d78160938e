"""The live engine: minute by minute, saved before it is emitted, with the orders at a broker."""
