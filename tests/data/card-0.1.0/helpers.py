UP = 1.02


def target(price):
    return price * UP
