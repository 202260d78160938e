def get_signal(price, when):
    """Long and short, at the market and at a limit, some of them beyond the limits of 0.1.0."""
    hour = int(when.timestamp()) // 3600
    sign = 1 if hour % 2 else -1
    distance = (0.0045, 0.006, 0.01, 0.02)[hour // 2 % 4]
    entry = price * (1 - sign * 0.002) if hour % 3 else None
    return {
        "position": "long" if sign > 0 else "short",
        "price_open": entry,
        "price_take_profit": (entry or price) * (1 + sign * distance),
        "price_stop_loss": (entry or price) * (1 - sign * distance),
        "minute_estimated_time": 2000 if hour % 29 == 0 else 90,
    }
