import collections
import functools
import types

import helpers
import pandas as pd

SPACE = types.SimpleNamespace(down=0.98)
TABLE = pd.DataFrame({"hours": [4], "name": ["slow"]})
MANY = [{"a": n, "b": 2.5} for n in range(200)]


def logged(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


@logged
def stop(price):
    return price * SPACE.down


RULES = {"up": helpers.target, "same": lambda price: price, "kind": collections.OrderedDict}


class Clock:
    hours = 4

    def __init__(self):
        self.minutes = 60
        self.table = TABLE


clock = Clock()


def get_signal(price):
    from helpers import target

    return {
        "position": "long" if len(MANY) == 200 else "short",
        "price_take_profit": RULES["up"](price) + 0 * target(price),
        "price_stop_loss": stop(price),
        "minute_estimated_time": clock.minutes * Clock.hours,
    }
