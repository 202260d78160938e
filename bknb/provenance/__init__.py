"""What a result was made of: source code, candles and strategy as hashes, and the card that holds them."""
