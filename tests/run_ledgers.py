"""Small runs of an account, every movement of cash written out by hand.

All symbols are flat at 100, and trade in each minute, but for the candles that a world names. Rows are minute, leg,
kind, amount and cash after it, to the cent; the rest of a line says how it came about. Cash at the end is the equity:
nothing is left open. ``says`` are the refusals, by symbol and how their note begins. ``past`` is how many minutes past
a full hour minute 0 is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scenarios import MINUTE, ORIGIN, Candle, long

import bknb

END = 30
Candles = Mapping[int, Candle]


@dataclass(frozen=True)
class World:
    name: str
    answers: Mapping[int, Any]
    rows: str
    candles: Mapping[str, Candles] = field(default_factory=dict)
    manage: Mapping[int, Any] = field(default_factory=dict)
    sizing: Any = "units:5"
    account: Any = "margin"
    costs: bknb.Costs = field(default_factory=lambda: FREE)
    legs: str = "A"
    capital: float = 1000.0
    currency: str | None = None
    says: str = ""
    past: int = 0


def short(take: float, stop: float, minutes: int = 10) -> dict[str, Any]:
    return long(take, stop, minutes) | {"position": "short"}


def level(price: float) -> Candle:
    return (price, price, price, price)


def from_minute(first: int, price: float) -> dict[int, Candle]:
    """Flat at this price from a minute on."""
    return dict.fromkeys(range(first, END + 11), level(price))


def ticket(order: bknb.CostRequest) -> float:
    return max(0.25, 0.1 * order.quantity)


FREE = bknb.Costs(taker=0.0, slippage=0.0)
TAKER = bknb.Costs(taker=0.1, slippage=0.0)
MAKER = bknb.Costs(taker=0.1, maker=0.02, slippage=0.0)
HOURLY = bknb.Costs(taker=0.0, slippage=0.0, borrow_yearly=365 * 24 * 6)  # 0.1 % a minute
TEN = bknb.Perpetual(leverage=10, maintenance=0.5, mode="isolated")
UP: Candles = {3: (100.0, 111.0, 100.0, 110.0)}
DOWN: Candles = {3: (100.0, 100.0, 94.0, 95.0)}
WIDE = long(120, 80, 5)
FUNDING = [(ORIGIN + minute * MINUTE, 0.001) for minute in (0, 3, 5, 8)]

WORLDS = (
    World(
        "a purchase, and a sale at its target",
        {0: long(110, 90, 20)},
        """0 A buy  -500.00  500.00   5 x 100
           3 A sell  550.00 1050.00   5 x 110""",
        {"A": UP},
    ),
    World(
        "the fee of a taker on both sides",
        {0: WIDE},
        """0 A buy  -500.00  500.00
           0 A fee    -0.50  499.50   0.1 % of 500
           5 A sell  500.00  999.50   its five minutes are over
           5 A fee    -0.50  999.00""",
        costs=TAKER,
    ),
    World(
        "slippage makes both prices worse, and the fee is on what is paid",
        {0: WIDE},
        """0 A buy  -501.00  499.00   5 x 100.20
           0 A fee    -0.50  498.50   0.501
           5 A sell  499.00  997.50   5 x 99.80
           5 A fee    -0.50  997.00   0.499""",
        costs=bknb.Costs(taker=0.1, slippage=0.2),
    ),
    World(
        "half the spread makes each fill worse",
        {0: WIDE},
        """0 A buy  -502.50  497.50   5 x 100.50
           5 A sell  497.50  995.00   5 x 99.50""",
        costs=bknb.Costs(taker=0.0, slippage=0.0, spread=1.0),
    ),
    World(
        "a fixed fee for each order",
        {0: WIDE},
        """0 A buy  -500.00  500.00
           0 A fee    -1.00  499.00
           5 A sell  500.00  999.00
           5 A fee    -1.00  998.00""",
        costs=bknb.Costs(taker=0.0, slippage=0.0, fixed=1.0),
    ),
    World(
        "a fee that a function says: ten cents a unit, 25 at least",
        {0: long(120, 80, 10)},
        """ 0 A buy  -500.00  500.00
            0 A fee    -0.50  499.50   5 x 0.10
            3 A sell  100.00  599.50   a fifth: 1 x 100
            3 A fee    -0.25  599.25   the least
           10 A sell  400.00  999.25
           10 A fee    -0.40  998.85   4 x 0.10""",
        manage={3: bknb.Reduce(0.2)},
        costs=bknb.Costs(taker=0.0, slippage=0.0, fixed=ticket),
    ),
    World(
        "a target that rested pays the fee of makers",
        {0: long(110, 90, 20)},
        """0 A buy  -500.00  500.00
           0 A fee    -0.50  499.50   0.1 % of 500
           3 A sell  550.00 1049.50
           3 A fee    -0.11 1049.39   0.02 % of 550""",
        {"A": UP},
        costs=MAKER,
    ),
    World(
        "a limit entry fills at its price as a maker",
        {0: long(120, 80, 5, at=98.0)},
        """2 A buy  -490.00  510.00   5 x 98
           2 A fee    -0.10  509.90   0.02 % of 490: 0.098
           7 A sell  500.00 1009.90   five minutes after it filled
           7 A fee    -0.50 1009.40""",
        {"A": {2: (100.0, 100.0, 97.0, 100.0)}},
        costs=MAKER,
    ),
    World(
        "a stop at its level",
        {0: long(120, 95, 20)},
        """0 A buy  -500.00  500.00
           3 A sell  475.00  975.00   5 x 95""",
        {"A": DOWN},
    ),
    World(
        "a stop that is jumped over fills worse than its level",
        {0: long(120, 95, 20)},
        """0 A buy  -500.00  500.00
           3 A sell  470.25  970.25   5 x 94.05, 1 % below 95""",
        {"A": DOWN},
        costs=bknb.Costs(taker=0.0, slippage=0.0, overshoot=1.0),
    ),
    World(
        "a stop behind the open of a bar fills at that open",
        {0: long(120, 95, 20)},
        """0 A buy  -500.00  500.00
           3 A sell  465.00  965.00   5 x 93""",
        {"A": from_minute(3, 93.0)},
    ),
    World(
        "a short sells first",
        {0: short(90, 110, 20)},
        """0 A sell  500.00 1500.00
           3 A buy  -450.00 1050.00   5 x 90""",
        {"A": {3: (100.0, 100.0, 89.0, 90.0)}},
    ),
    World(
        "a short pays interest for what it borrows: 1 % of its value a minute",
        {0: short(80, 120, 5)},
        """0 A sell    500.00 1500.00
           5 A borrow  -25.00 1475.00   5 minutes of 1 % of 500
           5 A buy    -500.00  975.00""",
        costs=bknb.Costs(taker=0.0, slippage=0.0, borrow_yearly=365 * 24 * 60),
    ),
    World(
        "a short on spot is refused",
        {0: short(90, 110, 20)},
        "",
        account="spot",
        says="A bknb.Spot() cannot sell short",
    ),
    World(
        "of a perpetual only profit and costs move cash",
        {0: long(110, 90, 20)},
        """0 A fee     -0.50  999.50   0.1 % of 500
           3 A profit  50.00 1049.50   5 x 10
           3 A fee     -0.55 1048.95   0.1 % of 550""",
        {"A": UP},
        account="perpetual",
        costs=TAKER,
    ),
    World(
        "a long pays funding at the moments after its fill, up to its exit",
        {0: WIDE},
        """3 A funding  -0.50  999.50   0.1 % of 500
           5 A funding  -0.50  999.00
           5 A profit    0.00  999.00""",
        account="perpetual",
        costs=bknb.Costs(taker=0.0, slippage=0.0, funding=FUNDING),
    ),
    World(
        "a short receives it, of what its position is worth then",
        {0: short(80, 120, 4)},
        """3 A funding   0.45 1000.45   0.1 % of 5 x 90
           4 A profit   50.00 1050.45   5 x 10""",
        {"A": from_minute(2, 90.0)},
        account="perpetual",
        costs=bknb.Costs(taker=0.0, slippage=0.0, funding=FUNDING),
    ),
    World(
        "a part leaves, the rest later and dearer",
        {0: long(120, 80, 10)},
        """ 0 A buy  -1000.00    0.00   10 x 100
            2 A sell   400.00  400.00   0.4 of 10
           10 A sell   660.00 1060.00   6 x 110""",
        {"A": from_minute(5, 110.0)},
        manage={2: bknb.Reduce(0.4)},
        sizing="units:10",
    ),
    World(
        "an add is in shares of the first quantity",
        {0: long(120, 80, 10)},
        """ 0 A buy  -200.00  800.00   2 x 100
            2 A buy  -300.00  500.00   1.5 of 2
           10 A sell  550.00 1050.00   5 x 110""",
        {"A": from_minute(5, 110.0)},
        manage={2: bknb.Add(1.5)},
        sizing="units:2",
    ),
    World(
        "an add is as large as the cash that is free",
        {0: long(120, 80, 10)},
        """ 0 A buy  -800.00  200.00
            2 A buy  -200.00    0.00   8 more were wanted
           10 A sell 1000.00 1000.00""",
        manage={2: bknb.Add(1.0)},
        sizing="units:8",
        account="spot",
    ),
    World(
        "an add without cash is refused",
        {0: long(120, 80, 10)},
        """ 0 A buy  -1000.00    0.00
           10 A sell  1000.00 1000.00""",
        manage={2: bknb.Add(0.5)},
        sizing="percent:100",
        account="spot",
        says="A no free cash: 500 wanted, 0 is free",
    ),
    World(
        "value and fee of a purchase fit into the cash",
        {0: WIDE},
        """0 A buy  -999.00    1.00   1 000 / 1.001
           0 A fee    -1.00    0.00
           5 A sell  999.00  999.00
           5 A fee    -1.00  998.00""",
        sizing="percent:100",
        account="spot",
        costs=TAKER,
    ),
    World(
        "a stop entry that fills dearer than it was sized is cut to the cash",
        {0: WIDE | {"price_open": 101.0, "entry": "stop"}},
        """2 A buy  -1000.00    0.00   1 000 / 104 in place of 9.8 units
           7 A sell   961.54  961.54   9.615385 x 100""",
        {"A": {2: level(104.0)}},
        sizing="units:9.8",
        account="spot",
    ),
    World(
        "one percent at the stop, of what there is then",
        {0: long(120, 95, 20), 5: long(120, 95, 20)},
        """0 A buy  -200.00  800.00   1 % of 1 000 over 5 a unit: 2 units
           3 A sell  190.00  990.00   10 lost
           5 A buy  -198.00  792.00   1 % of 990: 1.98 units
           9 A sell  188.10  980.10   9.90 lost""",
        {"A": {**DOWN, 9: (100.0, 100.0, 94.0, 95.0)}},
        sizing="risk:1",
    ),
    World(
        "a half of the equity each time compounds",
        {0: long(110, 90, 20), 6: long(121, 90, 20)},
        """0 A buy  -500.00  500.00
           3 A sell  550.00 1050.00
           6 A buy  -525.00  525.00   half of 1 050 at 110: 4.772727 units
           9 A sell  577.50 1102.50   at 121""",
        {"A": {**from_minute(4, 110.0), **UP, 9: (110.0, 122.0, 110.0, 121.0)}},
        sizing="percent:50",
    ),
    World(
        "a reversal closes at one open and sells short at the same",
        {0: long(120, 80, 20)},
        """ 0 A buy  -500.00  500.00
            4 A sell  525.00 1025.00   5 x 105
            4 A sell  525.00 1550.00   5 short
           14 A buy  -525.00 1025.00   its ten minutes are over""",
        {"A": from_minute(2, 105.0)},
        manage={4: [bknb.Close(), bknb.Signal(**short(90, 120, 10))]},
    ),
    World(
        "ten times: liquidated where the margin is used up to the maintenance",
        {0: long(120, 80, 20)},
        """3 A profit -477.39  522.61   50 x (100 - 90 / 0.995): 90.452261""",
        {"A": {3: (100.0, 100.0, 89.0, 95.0)}},
        sizing="units:50",
        account=TEN,
    ),
    World(
        "ten times: a stop on the way to the liquidation comes first",
        {0: long(120, 95, 20)},
        """3 A profit -250.00  750.00   50 x 5""",
        {"A": {3: (100.0, 100.0, 89.0, 95.0)}},
        sizing="units:50",
        account=TEN,
    ),
    World(
        "ten times: a bar that opens beyond it loses the margin, and the rest is forgiven",
        {0: long(120, 80, 20)},
        """3 A profit    -750.00  250.00   50 x 15
           3 A forgiven   250.00  500.00   beyond the margin of 500""",
        {"A": {3: level(85.0)}},
        sizing="units:50",
        account=TEN,
    ),
    World(
        "cross margin: all of the account stands for the position",
        {0: long(120, 80, 20)},
        """3 A profit -954.77   45.23   1 000 - 100 x (100 - p) = 0.005 x 100 x p at 90.452261""",
        {"A": {3: (100.0, 100.0, 89.0, 95.0)}},
        sizing="units:100",
        account="perpetual:10",
    ),
    World(
        "a short that rises beyond all there is leaves nothing",
        {0: short(50, 400, 20)},
        """0 A sell      1000.00  2000.00
           4 A buy      -2500.00  -500.00   worth -500 at the close of minute 3, and closed there at 250
           4 A forgiven   500.00     0.00   there is no more""",
        {"A": {**from_minute(4, 240.0), 3: level(250.0)}},
        sizing="units:10",
    ),
    World(
        "what is open at the end of the frame leaves at its last open",
        {25: long(120, 80, 20)},
        """25 A buy  -500.00  500.00
           30 A sell  510.00 1010.00   5 x 102""",
        {"A": from_minute(28, 102.0)},
    ),
    World(
        "two legs share the cash: the second has what the first left",
        {0: WIDE},
        """0 A buy  -600.00  400.00   60 % of 1 000
           0 B buy  -400.00    0.00   60 % were wanted
           5 A sell  600.00  600.00
           5 B sell  400.00 1000.00""",
        legs="AB",
        sizing="percent:60",
        account="spot",
    ),
    World(
        "a limit that rests keeps its cash from the other leg, and gives it back when its position is over",
        {0: {"A": long(120, 80, 5, at=95.0)}, 1: {"B": WIDE}, 12: {"B": WIDE}},
        """ 1 B buy  -400.00  600.00   600 of 1 000 rest at 95
            4 A buy  -600.00    0.00   6.315789 x 95
            6 B sell  400.00  400.00
            9 A sell  631.58 1031.58   at 100
           12 B buy  -618.95  412.63   60 % of 1 031.58
           17 B sell  618.95 1031.58""",
        {"A": {4: (100.0, 100.0, 94.0, 100.0)}},
        legs="AB",
        sizing="percent:60",
        account="spot",
    ),
    World(
        "an exit that is ordered at the same moment pays for an entry, at what it brings",
        {0: {"A": WIDE}, 5: {"B": WIDE}},
        """ 0 A buy  -1000.00    0.00
            5 A sell   980.00  980.00   10 x 98
            5 B buy   -980.00    0.00   10 at the last close were ordered
           10 B sell   980.00  980.00""",
        {"A": from_minute(5, 98.0)},
        legs="AB",
        sizing="percent:100",
        account="spot",
    ),
    World(
        "a stop inside a bar pays for no entry of another leg in it",
        {0: {"A": long(120, 95, 20), "B": long(130, 90, 20, at=101.0) | {"entry": "stop"}}},
        """ 0 A buy  -500.00  500.00
            3 A sell  475.00  975.00   5 x 95
            3 B buy  -500.00  475.00   4.95 at 103 are 509.85: cut to the 500 of the start of the bar
           23 B sell  500.00  975.00   at 103""",
        {"A": DOWN, "B": from_minute(3, 103.0)},
        legs="AB",
        sizing={"A": "units:5", "B": "units:4.95"},
        account="spot",
    ),
    World(
        "two legs of isolated margin: one is liquidated, the other keeps its margin",
        {0: {"A": long(120, 80, 8), "B": short(80, 120, 8)}},
        """3 A profit -190.95  809.05   20 x (100 - 90.452261)
           8 B profit  100.00  909.05   20 x 5""",
        {"A": {3: (100.0, 100.0, 89.0, 95.0)}, "B": from_minute(6, 95.0)},
        legs="AB",
        sizing="units:20",
        account=TEN,
    ),
    World(
        "two legs of cross margin are liquidated together: 1 000 - 60 x (100 - p) = 0.005 x (60 p + 30 x 100)",
        {0: {"A": long(120, 60, 20), "B": long(120, 60, 20)}},
        """3 A profit -959.80   40.20   60 x (100 - 5 015 / 59.7): 84.003350
           3 B profit    0.00   40.20   30 at 100""",
        {"A": {3: (100.0, 100.0, 80.0, 90.0)}},
        legs="AB",
        sizing={"A": "units:60", "B": "units:30"},
        account="perpetual:10",
    ),
    World(
        "cross margin: what one leg has won keeps the other from being liquidated",
        {0: {"A": long(120, 60, 8), "B": long(120, 60, 8)}},
        """8 A profit -900.00  100.00   60 x 15, below 84 at worst
           8 B profit  300.00  400.00   30 x 10""",
        {
            "A": {3: (100.0, 100.0, 83.0, 85.0), **from_minute(4, 85.0)},
            "B": from_minute(2, 110.0),
        },
        legs="AB",
        sizing={"A": "units:60", "B": "units:30"},
        account="perpetual:10",
    ),
    World(
        "cross margin: a short pays interest at each full hour, and for the rest when it is closed",
        {0: short(80, 150, 15)},
        """0 A sell    5000.00 6000.00
           10 A borrow  -50.00 5950.00   10 minutes of 0.1 % of 5 000
           15 A borrow  -25.00 5925.00
           15 A buy   -5000.00  925.00""",
        sizing="units:50",
        account="margin:10",
        costs=HOURLY,
        past=50,
    ),
    World(
        "isolated: interest is paid when the short is closed",
        {0: short(80, 150, 15)},
        """0 A sell    5000.00 6000.00
           15 A borrow  -75.00 5925.00
           15 A buy   -5000.00  925.00""",
        sizing="units:50",
        account=bknb.Margin(leverage=10, mode="isolated"),
        costs=HOURLY,
        past=50,
    ),
    World(
        "interest moves the liquidation: 950 - 50 x (p - 100) = 0.005 x 50 x p, before it 119.40",
        {0: short(80, 150, 20)},
        """0 A sell    5000.00 6000.00
           10 A borrow  -50.00 5950.00
           12 A borrow  -10.00 5940.00
           12 A buy   -5920.40   19.60   50 x 118.407960""",
        {"A": {5: (100.0, 119.0, 100.0, 100.0), 12: (100.0, 119.0, 100.0, 100.0)}},
        sizing="units:50",
        account="margin:10",
        costs=HOURLY,
        past=50,
    ),
    World(
        "more interest is due than is left behind a gap",
        {0: short(80, 150, 20)},
        """0 A sell      5000.00 6000.00
           10 A borrow    -50.00 5950.00
           12 A borrow    -10.00 5940.00
           12 A buy     -6250.00 -310.00   50 x 125
           12 A forgiven  310.00    0.00""",
        {"A": {12: level(125.0)}},
        sizing="units:50",
        account="margin:10",
        costs=HOURLY,
        past=50,
    ),
    World(
        "two legs pay interest out of what they share: 940 - 40 x (p - 100) = 0.005 x (40 p + 2 000), before it 124.13",
        {0: {"A": short(80, 150, 20), "B": short(80, 150, 20)}},
        """0 A sell    4000.00 5000.00
           0 B sell    2000.00 7000.00
           10 A borrow  -40.00 6960.00
           10 B borrow  -20.00 6940.00
           12 A borrow   -8.00 6932.00
           12 A buy   -4905.47 2026.53   40 x 4 930 / 40.2
           12 B borrow   -4.00 2022.53
           12 B buy   -2000.00   22.53""",
        {"A": {5: (100.0, 123.0, 100.0, 100.0), 12: (100.0, 123.0, 100.0, 100.0)}},
        legs="AB",
        sizing={"A": "units:40", "B": "units:20"},
        account="margin:10",
        costs=HOURLY,
        past=50,
    ),
    World(
        "a long of cross margin pays no interest, and a short only for what it borrows after a part was closed",
        {0: {"A": short(80, 150, 20), "B": long(150, 50, 20)}},
        """0 A sell    4000.00 5000.00
           0 B buy    -2000.00 3000.00
           4 A borrow  -16.00 2984.00   4 minutes of 0.1 % of 4 000
           4 A buy   -2000.00  984.00   half of it
           10 A borrow -12.00  972.00   6 minutes of 0.1 % of 2 000
           20 A borrow -20.00  952.00
           20 A buy  -2000.00 -1048.00
           20 B sell  2000.00  952.00""",
        manage={4: {"A": bknb.Reduce(0.5)}},
        legs="AB",
        sizing={"A": "units:40", "B": "units:20"},
        account="margin:10",
        costs=HOURLY,
        past=50,
    ),
    World(
        "an account in euros",
        {0: long(110, 90, 20)},
        """0 A buy  -500.00  500.00
           0 A fee    -0.50  499.50
           3 A sell  550.00 1049.50
           3 A fee    -0.55 1048.95""",
        {"A": UP},
        costs=TAKER,
        currency="EUR",
    ),
)
