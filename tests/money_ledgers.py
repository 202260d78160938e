"""Small worlds of money, every movement of cash written out by hand, and what plays them.

Steps, one a line; the first number is a minute:

* ``0 A long open 5 @ 100 [market|limit|stop]``, ``1 A long close 5 @ 110 [...]``: a fill at that price; ``close all``
* ``1 A long reduce 0.5 @ 110``: that share of what is held, as the market's limits make of it
* ``0 A long order percent:10 @ 100 [stop 95] [limit] [leaving B]``: a size is asked at the price the answer implies;
  with ``leaving B`` leg B is ordered to leave at the same moment
* ``1 A long fill @ 101 [limit]``: the order fills
* ``0 A release``, ``0 A price 100``, ``480 A funding 0.0001 @ 100``, ``1440 A borrow @ 100``
* ``3 A stop 95``: the leg has a stop from now on
* ``3 bar A 95 79 B 10 12``: open and worst price of a bar for each leg that holds something

Rows are minute, leg, kind, amount and cash after it, to the cent; the rest of a line says how it came about.
``says`` are the answers to orders, fills and parts, ``ends`` figures of the ledger marked at the newest prices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from liquidations import liquidated, stop_comes_first

from bknb.domain.costs import CostRequest, Costs, fill_costs
from bknb.domain.cross_liquidation import cross_legs, cross_liquidation, next_stop
from bknb.domain.funding_and_borrow_amounts import funding_of
from bknb.domain.funding_charged_and_fills_booked import Booked, CashRow, Ledger, LegFill
from bknb.domain.percent_risk_and_kelly_sizes import read_size, wanted_size
from bknb.domain.quantity_or_lack_of_cash import SizedOrder, quantity_filled, sized_order
from bknb.domain.quantity_step_and_least_amount import MarketLimits, reduced_by
from bknb.domain.signal_events import Reason
from bknb.domain.size_request import SizeRequest
from bknb.domain.spot_margin_and_perpetual import Account, Margin, Perpetual, Spot

MINUTE = 60_000
FREE = Costs(taker=0.0, slippage=0.0)
TAKER = Costs(taker=0.1, slippage=0.0)
TEN = Perpetual(leverage=10, maintenance=0.5, mode="isolated")
FIVE = Perpetual(leverage=5, maintenance=0.5)


@dataclass(frozen=True)
class World:
    name: str
    account: Account
    costs: Costs
    steps: str
    rows: str
    ends: str
    says: str = ""
    capital: float = 1000.0
    limits: MarketLimits = field(default_factory=MarketLimits)


WORLDS = (
    World(
        "spot: a purchase and a sale, each with the fee of a taker",
        Spot(),
        TAKER,
        """0 A long open 5 @ 100
           1 A long close 5 @ 110""",
        """0 A buy  -500.00  500.00   5 x 100
           0 A fee    -0.50  499.50   0.1 % of 500
           1 A sell  550.00 1049.50   5 x 110
           1 A fee    -0.55 1048.95   0.1 % of 550""",
        "equity 1048.95 free 1048.95 realised 50 fees 1.05 slippage 0",
    ),
    World(
        "slippage makes both prices worse, and the fee is on what is paid",
        Spot(),
        Costs(taker=0.1, slippage=0.2),
        """0 A long open 5 @ 100
           1 A long close 5 @ 110""",
        """0 A buy  -501.00  499.00   5 x 100.20
           0 A fee    -0.50  498.50   0.501
           1 A sell  548.90 1047.40   5 x 109.78
           1 A fee    -0.55 1046.85   0.5489""",
        "equity 1046.85 realised 50 fees 1.05 slippage 2.10",
    ),
    World(
        "a target is a maker: its own fee and no slippage",
        Spot(),
        Costs(taker=0.1, maker=0.02, slippage=0.2),
        """0 A long open 10 @ 50
           1 A long close 10 @ 55 limit""",
        """0 A buy  -501.00  499.00   10 x 50.10
           0 A fee    -0.50  498.50   0.501
           1 A sell  550.00 1048.50   10 x 55
           1 A fee    -0.11 1048.39   0.02 % of 550""",
        "equity 1048.39 slippage 1.00",
    ),
    World(
        "a limit entry is a maker; a stop at its level pays the overshoot beside slippage",
        Spot(),
        Costs(taker=0.1, maker=0.02, slippage=0.1, overshoot=0.3),
        """0 A long open 10 @ 50 limit
           1 A long close 10 @ 48 stop""",
        """0 A buy  -500.00  500.00   10 x 50
           0 A fee    -0.10  499.90   0.02 % of 500
           1 A sell  478.08  977.98   10 x 48 x 0.996
           1 A fee    -0.48  977.50   0.47808""",
        "equity 977.50 slippage 1.92 realised -20",
    ),
    World(
        "without a fee of makers a limit costs what all others cost",
        Spot(),
        Costs(taker=0.1, slippage=0.2),
        """0 A long open 5 @ 100 limit
           1 A long close 5 @ 110 limit""",
        """0 A buy  -501.00  499.00
           0 A fee    -0.50  498.50
           1 A sell  548.90 1047.40
           1 A fee    -0.55 1046.85""",
        "equity 1046.85",
    ),
    World(
        "a rebate of makers is received",
        Spot(),
        Costs(taker=0.05, maker=-0.01, slippage=0.0),
        """0 A long open 10 @ 50 limit
           1 A long close 10 @ 51 limit""",
        """0 A buy  -500.00  500.00
           0 A fee     0.05  500.05   0.01 % of 500
           1 A sell  510.00 1010.05
           1 A fee     0.05 1010.10   0.051""",
        "equity 1010.10 fees -0.10",
    ),
    World(
        "a fixed fee for each order, beside the percentage",
        Spot(),
        Costs(taker=0.1, slippage=0.0, fixed=1.0),
        """0 A long open 5 @ 100
           1 A long close 5 @ 90""",
        """0 A buy  -500.00  500.00
           0 A fee    -1.50  498.50   0.50 and 1
           1 A sell  450.00  948.50
           1 A fee    -1.45  947.05   0.45 and 1""",
        "equity 947.05 realised -50 fees 2.95",
    ),
    World(
        "a fee that is a function of the order: half a cent a share, at least 1",
        Spot(),
        Costs(taker=0.0, slippage=0.0, fixed=lambda order: max(1.0, 0.005 * order.quantity)),
        """0 A long open 300 @ 2
           1 A long close 100 @ 2
           2 A long close 200 @ 2""",
        """0 A buy  -600.00  400.00
           0 A fee    -1.50  398.50   300 x 0.005
           1 A sell  200.00  598.50
           1 A fee    -1.00  597.50   100 x 0.005 is less than 1
           2 A sell  400.00  997.50
           2 A fee    -1.00  996.50   200 x 0.005""",
        "equity 996.50 fees 3.50",
    ),
    World(
        "half of a spread in quote currency at each side",
        Spot(),
        Costs(taker=0.0, slippage=0.0, spread=0.02),
        """0 A long open 1000 @ 1.10
           1 A long close 1000 @ 1.15""",
        """0 A buy -1110.00  890.00   1000 x 1.11
           1 A sell 1140.00 2030.00   1000 x 1.14""",
        "equity 2030 slippage 20 fees 0",
        capital=2000.0,
    ),
    World(
        "a maker has no slippage, but the half spread stays",
        Spot(),
        Costs(taker=0.0, maker=0.0, slippage=0.5, half_spread=0.1),
        """0 A long open 10 @ 100 limit
           1 A long close 10 @ 100""",
        """0 A buy -1001.00  999.00   10 x 100.10
           1 A sell  994.00 1993.00   10 x 100 x 0.994""",
        "equity 1993 slippage 7",
        capital=2000.0,
    ),
    World(
        "an add lowers the average price",
        Spot(),
        TAKER,
        """0 A long open 5 @ 100
           1 A long open 5 @ 80
           2 A long close 10 @ 95""",
        """0 A buy  -500.00 1500.00
           0 A fee    -0.50 1499.50
           1 A buy  -400.00 1099.50
           1 A fee    -0.40 1099.10
           2 A sell  950.00 2049.10
           2 A fee    -0.95 2048.15""",
        "equity 2048.15 realised 50",  # 950 - 500 - 400
        capital=2000.0,
    ),
    World(
        "half is taken with a profit, the rest closed with as much of a loss",
        Spot(),
        TAKER,
        """0 A long open 10 @ 90
           1 A long reduce 0.5 @ 100
           2 A long close all @ 80""",
        """0 A buy  -900.00  100.00
           0 A fee    -0.90   99.10
           1 A sell  500.00  599.10   5 x 100
           1 A fee    -0.50  598.60
           2 A sell  400.00  998.60   5 x 80
           2 A fee    -0.40  998.20""",
        "equity 998.20 realised 0 fees 1.80",
        "A reduced by 5",
    ),
    World(
        "a part is rounded down to the step",
        Spot(),
        TAKER,
        """0 A long open 1 @ 100
           1 A long reduce 0.55 @ 100""",
        """0 A buy  -100.00  900.00
           0 A fee    -0.10  899.90
           1 A sell   50.00  949.90   0.5 x 100
           1 A fee    -0.05  949.85""",
        "equity 999.85 positions 50 free 949.85",
        "A reduced by 0.5",
        limits=MarketLimits(step=0.1),
    ),
    World(
        "a reduction that would leave less than the least amount closes all",
        Spot(),
        TAKER,
        """0 A long open 1 @ 100
           1 A long reduce 0.9 @ 100""",
        """0 A buy  -100.00  900.00
           0 A fee    -0.10  899.90
           1 A sell  100.00  999.90   0.1 would be worth 10, the market takes 20
           1 A fee    -0.10  999.80""",
        "equity 999.80 positions 0",
        "A reduced by 1",
        limits=MarketLimits(step=0.1, least_value=20.0),
    ),
    World(
        "margin: a short is sold first and bought back",
        Margin(),
        TAKER,
        """0 A short open 5 @ 100
           1 A short close 5 @ 90""",
        """0 A sell  500.00 1500.00
           0 A fee    -0.50 1499.50
           1 A buy  -450.00 1049.50
           1 A fee    -0.45 1049.05""",
        "equity 1049.05 realised 50",
    ),
    World(
        "margin: an open short takes its value of the equity",
        Margin(),
        TAKER,
        """0 A short open 5 @ 100
           1 A price 104""",
        """0 A sell  500.00 1500.00
           0 A fee    -0.50 1499.50""",
        # 1499.50 - 5 x 104 = 979.50, of which 520 are taken
        "equity 979.50 positions -520 unrealised -20 exposure 520 free 459.50 margin 520 maintenance 2.60",
    ),
    World(
        "a short with an add, slippage at each fill",
        Margin(),
        Costs(taker=0.1, slippage=0.1),
        """0 A short open 10 @ 100
           1 A short open 10 @ 110
           2 A short close all @ 105""",
        """0 A sell   999.00 10999.00   10 x 99.90
           0 A fee     -1.00 10998.00   0.999
           1 A sell  1098.90 12096.90   10 x 109.89
           1 A fee     -1.10 12095.80   1.0989
           2 A buy  -2102.10  9993.70   20 x 105.105
           2 A fee     -2.10  9991.60   2.1021""",
        "equity 9991.60 realised 0 slippage 4.20 fees 4.20",
        capital=10_000.0,
    ),
    World(
        "a reversal: closed and opened at the same price",
        Margin(),
        TAKER,
        """0 A long open 5 @ 100
           1 A long close all @ 104
           1 A short open 5 @ 104
           2 A short close all @ 100""",
        """0 A buy  -500.00  500.00
           0 A fee    -0.50  499.50
           1 A sell  520.00 1019.50
           1 A fee    -0.52 1018.98
           1 A sell  520.00 1538.98
           1 A fee    -0.52 1538.46
           2 A buy  -500.00 1038.46
           2 A fee    -0.50 1037.96""",
        "equity 1037.96 realised 40 fees 2.04",
    ),
    World(
        "margin: twice the equity is borrowed",
        Margin(leverage=3),
        FREE,
        """0 A long open 30 @ 100
           1 A long close all @ 110""",
        """0 A buy -3000.00 -2000.00
           1 A sell 3300.00  1300.00""",
        "equity 1300 realised 300",
    ),
    World(
        "margin: more than the leverage allows is scaled to it",
        Margin(leverage=3),
        FREE,
        """0 A long order percent:500 @ 100
           0 B long order percent:10 @ 100
           1 A long fill @ 100""",
        "1 A buy -3000.00 -2000.00",
        "equity 1000 free 0 exposure 3000 margin 1000",
        """A ordered 30 scaled, 1000 taken
           B refused: no_cash
           A filled 30""",
    ),
    World(
        "margin: all of the equity, with costs beside it, is the run without a capital",
        Margin(),
        TAKER,
        """0 A long order percent:100 @ 100
           1 A long fill @ 100
           2 A long close all @ 110""",
        """1 A buy -1000.00    0.00
           1 A fee    -1.00   -1.00
           2 A sell 1100.00 1099.00
           2 A fee    -1.10 1097.90""",
        "equity 1097.90",  # 10 % - 0.1 % x (1 + 1.1) = 9.79 %
        """A ordered 10, 1000 taken
           A filled 10""",
    ),
    World(
        "spot: all of the equity has to pay for the fee, too",
        Spot(),
        TAKER,
        """0 A long order percent:100 @ 100
           1 A long fill @ 100""",
        """1 A buy  -999.00    1.00   1000 / 1.001 = 999.001
           1 A fee    -1.00    0.00""",
        "equity 999.00 free 0",
        """A ordered 9.990010 scaled, 1000 taken
           A filled 9.990010""",
    ),
    World(
        "perpetual: only profit and fees move cash",
        FIVE,
        TAKER,
        """0 A long open 40 @ 100
           1 A long close all @ 103""",
        """0 A fee    -4.00  996.00   0.1 % of 4000
           1 A profit 120.00 1116.00   40 x 3
           1 A fee    -4.12 1111.88   0.1 % of 4120""",
        "equity 1111.88 realised 120",
    ),
    World(
        "perpetual: an open position is worth its profit, and takes a fifth of its value",
        FIVE,
        FREE,
        """0 A short open 40 @ 100
           1 A price 95""",
        "",
        "equity 1200 positions 200 exposure 3800 free 440 margin 760 maintenance 19",  # 1200 - 3800 / 5
    ),
    World(
        "perpetual: slippage is in the profit",
        FIVE,
        Costs(taker=0.05, slippage=0.1),
        """0 A long open 10 @ 100
           1 A long close all @ 110""",
        """0 A fee    -0.50  999.50   0.05 % of 1001
           1 A profit 97.90 1097.40   10 x (109.89 - 100.10)
           1 A fee    -0.55 1096.85   0.05 % of 1098.90""",
        "equity 1096.85 realised 100 slippage 2.10",
    ),
    World(
        "funding: longs pay, shorts receive; what leaves at its moment pays, what opens then does not",
        FIVE,
        FREE,
        """470 A long open 40 @ 100
           470 B short open 10 @ 50
           480 A funding 0.0001 @ 102
           480 B funding 0.0001 @ 50
           480 C funding 0.0001 @ 10
           480 A long close all @ 102
           480 C long open 20 @ 10
           960 C funding 0.0003 @ 20""",
        """480 A funding -0.41  999.59   4080 x 0.0001
           480 B funding  0.05  999.64   500 x 0.0001
           480 A profit  80.00 1079.64
           960 C funding -0.12 1079.52   400 x 0.0003""",
        "equity 1279.52 funding 0.48",  # C has 200 of profit
    ),
    World(
        "funding below 0: shorts pay",
        Perpetual(leverage=2),
        FREE,
        """0 A short open 10 @ 100
           480 A funding -0.0005 @ 90
           481 A short close all @ 90""",
        """480 A funding -0.45  999.55   900 x 0.0005
           481 A profit 100.00 1099.55""",
        "equity 1099.55 funding 0.45",
    ),
    World(
        "borrow: a short pays for each day on what it is worth then",
        Margin(),
        Costs(taker=0.0, slippage=0.0, borrow_yearly=3.65),
        """0 A short open 10 @ 100
           1440 A borrow @ 100
           2880 A borrow @ 120
           2880 A short close all @ 120""",
        """0 A sell   1000.00 2000.00
           1440 A borrow -0.10 1999.90   1000 x 0.01 %
           2880 A borrow -0.12 1999.78   1200 x 0.01 %
           2880 A buy -1200.00  799.78""",
        "equity 799.78 borrow 0.22 realised -200",
    ),
    World(
        "isolated: liquidated at its price inside a bar, the rest of the margin is kept",
        TEN,
        FREE,
        """0 A long open 20 @ 100
           3 bar A 95 88""",
        "3 A profit -190.95 809.05   (2000 - 200) / (20 x 0.995) = 90.4523",
        "equity 809.05 forgiven 0",
        "A liquidated at 90.452261",
    ),
    World(
        "isolated: a bar that opens beyond the price liquidates at that open, more than the margin is forgiven",
        TEN,
        FREE,
        """0 A long open 20 @ 100
           3 bar A 85 84""",
        """3 A profit  -300.00 700.00
           3 A forgiven 100.00 800.00""",
        "equity 800 forgiven 100 realised -300",
        "A liquidated at 85",
    ),
    World(
        "isolated: costs of the liquidation are part of the loss",
        TEN,
        TAKER,
        """0 A long open 20 @ 100
           3 bar A 89 89""",
        """0 A fee        -2.00 998.00
           3 A profit   -220.00 778.00
           3 A fee        -1.78 776.22
           3 A forgiven   21.78 798.00   220 + 1.78 - 200""",
        "equity 798 forgiven 21.78",
        "A liquidated at 89",
    ),
    World(
        "isolated short on margin: the price lies above",
        Margin(leverage=5, maintenance=1.0, mode="isolated"),
        FREE,
        """0 A short open 10 @ 100
           3 bar A 110 125""",
        """0 A sell  1000.00 2000.00
           3 A buy  -1188.12  811.88   (1000 + 200) / (10 x 1.01) = 118.8119""",
        "equity 811.88",
        "A liquidated at 118.811881",
    ),
    World(
        "isolated: another position is not touched",
        TEN,
        FREE,
        """0 A long open 20 @ 100
           0 B long open 10 @ 50
           3 bar A 85 85 B 50 50""",
        """3 A profit  -300.00 700.00
           3 A forgiven 100.00 800.00""",
        "equity 800 free 750 margin 50",
        "A liquidated at 85",
    ),
    World(
        "isolated: a stop nearer than the liquidation comes first",
        TEN,
        FREE,
        """0 A long open 20 @ 100
           1 A stop 95
           3 bar A 98 88""",
        "3 A profit -100.00 900.00   20 x 5",
        "equity 900",
        "A stopped at 95",
    ),
    World(
        "isolated: a liquidation nearer than the stop comes first",
        TEN,
        FREE,
        """0 A long open 20 @ 100
           1 A stop 90
           3 bar A 98 88""",
        "3 A profit -190.95 809.05",
        "equity 809.05",
        "A liquidated at 90.452261",
    ),
    World(
        "isolated: an add brings margin of its own, a part takes its share of it back",
        TEN,
        FREE,
        """0 A long open 10 @ 100
           1 A long open 10 @ 80
           2 A long reduce 0.5 @ 90""",
        "2 A profit 0.00 1000.00   10 x (90 - 90)",
        "equity 1000 margin 90 free 910 maintenance 4.50",  # 100 + 80, and half of it
        "A reduced by 10",
    ),
    World(
        "cross: all of the account stands behind the position",
        FIVE,
        FREE,
        """0 A long open 50 @ 100
           2 bar A 95 81
           3 bar A 95 75""",
        "3 A profit -979.90 20.10   1000 + 50 x (p - 100) = 0.5 % of 50 x p: p = 80.4020",
        "equity 20.10 forgiven 0",
        "A liquidated at 80.402010",
    ),
    World(
        "cross: a gap beyond all there is",
        FIVE,
        FREE,
        """0 A long open 50 @ 100
           3 bar A 78 75""",
        """3 A profit  -1100.00 -100.00
           3 A forgiven  100.00    0.00""",
        "equity 0 forgiven 100",
        "A liquidated at 78",
    ),
    World(
        "cross: two legs on the way to their worst at once",
        FIVE,
        FREE,
        """0 A long open 20 @ 100
           0 B short open 40 @ 50
           2 bar A 100 80 B 50 60
           3 bar A 100 70 B 50 65""",
        # bar 2: 1000 - 400 - 400 = 200, 20 needed. Bar 3: from 980 beyond what is needed to -220: 49/60 of the way
        """3 A profit -490.00 510.00   20 x (75.50 - 100)
           3 B profit -490.00  20.00   40 x (50 - 62.25)""",
        "equity 20 forgiven 0",
        """A liquidated at 75.5
           B liquidated at 62.25""",
    ),
    World(
        "cross: a stop that is met on the way closes its leg, and margin is judged again without it",
        FIVE,
        FREE,
        """0 A long open 20 @ 100
           0 B short open 40 @ 50
           0 A stop 90
           3 bar A 100 70 B 50 65""",
        # the stop is met at a third of the way, before the liquidation at 49/60. B alone: 800 - 600 is left, 13 needed
        "3 A profit -200.00 800.00   20 x 10",
        "equity 800 margin 400",
        "A stopped at 90",
    ),
    World(
        "cross: a stop farther on the way than the liquidation is not met",
        FIVE,
        FREE,
        """0 A long open 20 @ 100
           0 B short open 40 @ 50
           0 A stop 72
           3 bar A 100 70 B 50 65""",
        """3 A profit -490.00 510.00
           3 B profit -490.00  20.00""",
        "equity 20",
        """A liquidated at 75.5
           B liquidated at 62.25""",
    ),
    World(
        "cross: the stop of one leg does not save the other",
        FIVE,
        FREE,
        """0 A long open 20 @ 100
           0 B short open 40 @ 50
           0 A stop 90
           3 bar A 100 70 B 50 75""",
        # B alone behind 800: 790 beyond what is needed at 50, 800 - 1000 - 15 = -215 at 75: 790 / 1005 of 25 is 19.6517
        """3 A profit -200.00 800.00
           3 B profit -786.07  13.93   40 x 19.6517""",
        "equity 13.93 forgiven 0",
        """A stopped at 90
           B liquidated at 69.651741""",
    ),
    World(
        "a bar that opens beyond a stop fills it at that open",
        Spot(),
        FREE,
        """0 A long open 5 @ 100
           0 A stop 95
           3 bar A 90 85""",
        """0 A buy  -500.00 500.00
           3 A sell  450.00 950.00""",
        "equity 950",
        "A stopped at 90",
    ),
    World(
        "ten legs share the cash: the last gets what is left",
        Spot(),
        TAKER,
        "\n".join([f"0 {leg} long order percent:10 @ 10" for leg in "ABCDEFGHIJ"])
        + "\n"
        + "\n".join([f"1 {leg} long fill @ 10" for leg in "ABCDEFGHIJ"]),
        """1 A buy -100.00 900.00
           1 A fee   -0.10 899.90
           1 B buy -100.00 799.90
           1 B fee   -0.10 799.80
           1 C buy -100.00 699.80
           1 C fee   -0.10 699.70
           1 D buy -100.00 599.70
           1 D fee   -0.10 599.60
           1 E buy -100.00 499.60
           1 E fee   -0.10 499.50
           1 F buy -100.00 399.50
           1 F fee   -0.10 399.40
           1 G buy -100.00 299.40
           1 G fee   -0.10 299.30
           1 H buy -100.00 199.30
           1 H fee   -0.10 199.20
           1 I buy -100.00  99.20
           1 I fee   -0.10  99.10
           1 J buy  -99.00   0.10   99.10 / 1.001 = 99.001
           1 J fee   -0.10   0.00""",
        "equity 999.00 free 0 fees 1.00",
        "\n".join([f"{leg} ordered 10, 100.1 taken" for leg in "ABCDEFGHI"])
        + "\nJ ordered 9.900100 scaled, 99.1 taken\n"
        + "\n".join([f"{leg} filled 10" for leg in "ABCDEFGHI"])
        + "\nJ filled 9.900100",
    ),
    World(
        "a fill dearer than the cash left is cut to it, and to the step",
        Spot(),
        TAKER,
        """0 A long order units:9 @ 100
           1 A long fill @ 120""",
        """1 A buy  -998.40    1.60   1000 / 120.12 = 8.325, 8.32 x 120
           1 A fee    -1.00    0.60   0.9984""",
        "equity 999.00 positions 998.40",
        """A ordered 9, 900.9 taken
           A filled 8.32 cut""",
        limits=MarketLimits(step=0.01),
    ),
    World(
        "money stays, the quantity follows the price that is paid",
        Margin(),
        FREE,
        """0 A long order risk:1 @ 100 stop 95
           1 A long fill @ 101""",
        "1 A buy -2000.00 8000.00   1 % of 10000 over 5 is 20, worth 2000 at 100",
        "equity 10000 exposure 2000",
        """A ordered 20, 2000 taken
           A filled 19.801980""",
        capital=10_000.0,
    ),
    World(
        "a quantity is rounded down to the step",
        Spot(),
        TAKER,
        """0 A long order cash:500 @ 33
           1 A long fill @ 33""",
        """1 A buy  -499.95  500.05   15.15 x 33
           1 A fee    -0.50  499.55""",
        "equity 999.50",
        """A ordered 15.15, 500.5 taken
           A filled 15.15""",
        limits=MarketLimits(step=0.01),
    ),
    World(
        "refused: below the least amount, short on spot, a stop missing, less than one step",
        Spot(),
        TAKER,
        """0 A long order cash:5 @ 100
           0 B short order cash:100 @ 100
           0 C long order risk:1 @ 100
           0 D long order cash:50 @ 10000""",
        "",
        "equity 1000 free 1000",
        """A refused: too_small
           B refused: no_short
           C refused: no_stop
           D refused: too_small""",
        limits=MarketLimits(step=0.01, least_value=10.0),
    ),
    World(
        "cash of a resting entry is taken until it is filled or taken back",
        Spot(),
        FREE,
        """0 A long order cash:600 @ 95 limit
           0 B long order percent:50 @ 10
           1 B long fill @ 10
           2 C long order percent:50 @ 10
           3 A release
           3 D long order cash:500 @ 20
           4 D long fill @ 20""",
        """1 B buy -400.00 600.00
           4 D buy -500.00 100.00""",
        "equity 1000 free 100",
        """A ordered 6.315789, 600 taken
           B ordered 40 scaled, 400 taken
           B filled 40
           C refused: no_cash
           D ordered 25, 500 taken
           D filled 25""",
    ),
    World(
        "cash of an exit ordered at the same moment counts at the last close, less costs",
        Spot(),
        TAKER,
        """0 A long open 10 @ 99
           5 A price 105
           5 B long order percent:100 @ 50 leaving A
           5 A long close all @ 104
           5 B long fill @ 50""",
        """0 A buy  -990.00   10.00
           0 A fee    -0.99    9.01
           5 A sell 1040.00 1049.01
           5 A fee    -1.04 1047.97
           5 B buy -1046.92    1.05   it brought 1040 instead of 1050: 1047.97 / 1.001
           5 B fee    -1.05    0.00""",
        "equity 1046.92 free 0",
        """B ordered 21.138062 scaled, 1057.96 taken
           B filled 20.938462 cut""",  # 9.01 + 1050 - 1.05 = 1057.96
    ),
)


# --- playing ------------------------------------------------------------------------------------------------------


@dataclass
class Played:
    """A world that is being played; ``each_step`` is called after each step with the ledger and the newest prices."""

    world: World
    each_step: Callable[[Ledger, dict[str, float]], None]
    rows: list[CashRow] = field(default_factory=list)
    says: list[str] = field(default_factory=list)
    prices: dict[str, float] = field(default_factory=dict)
    stops: dict[str, float] = field(default_factory=dict)
    orders: dict[str, SizedOrder] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.ledger = Ledger.begin(self.world.capital, self.world.account)
        for line in self.world.steps.splitlines():
            self.step(line.split())
            self.each_step(self.ledger, self.prices)

    def book(self, booked: Booked) -> None:
        self.ledger = booked.ledger
        self.rows += booked.rows

    def order(self, at: int, leg: str, position: str, kind: str, quantity: float, price: float, by: str) -> CostRequest:
        enters = kind in ("entry", "add")
        side = "buy" if (position == "long") == enters else "sell"
        return CostRequest(symbol=leg, at=at, side=side, kind=kind, filled_by=by, quantity=quantity, price=price)  # type: ignore[arg-type]

    def fill(self, order: CostRequest, leg: str, position: str) -> LegFill:
        return LegFill(leg, position, order, fill_costs(order, self.world.costs))  # type: ignore[arg-type]

    def step(self, words: list[str]) -> None:
        at = int(words[0]) * MINUTE
        if words[1] == "bar":
            self.bar(at, words[2:])
            return
        leg, what = words[1], words[2]
        if what in ("long", "short"):
            self.position_step(at, leg, what, words[3:])
        elif what == "price":
            self.prices[leg] = float(words[3])
        elif what == "stop":
            self.stops[leg] = float(words[3])
        elif what == "release":
            self.ledger = self.ledger.release(leg)
        elif what == "funding":
            self.prices[leg] = float(words[5])
            (due,) = funding_of([(at, float(words[3]))])
            self.book(self.ledger.charge_funding(leg, due, self.prices[leg]))
        elif what == "borrow":
            self.prices[leg] = float(words[4])
            self.book(self.ledger.charge_borrow(leg, at, self.prices[leg], self.world.costs.borrow_yearly))
        else:
            raise AssertionError(words)

    def position_step(self, at: int, leg: str, position: str, words: list[str]) -> None:
        price = float(words[words.index("@") + 1])
        by = "limit" if "limit" in words else "stop" if words[-1] == "stop" else "market"
        held = self.ledger.positions.get(leg)
        if words[0] == "order":
            self.ask(at, leg, position, words, price, by)
            return
        if words[0] == "fill":
            self.fill_order(at, leg, position, price, by)
        else:
            size = abs(held.quantity) if held else 0.0
            quantity = size if words[1] == "all" else float(words[1])
            if words[0] == "reduce":
                quantity = reduced_by(size, size * quantity, price, self.world.limits)
                self.says.append(f"{leg} reduced by {quantity:g}")
            kind = ("add" if held else "entry") if words[0] == "open" else "exit" if quantity == size else "reduce"
            self.book(
                self.ledger.apply(self.fill(self.order(at, leg, position, kind, quantity, price, by), leg, position))
            )
        self.prices[leg] = price

    def ask(self, at: int, leg: str, position: str, words: list[str], price: float, by: str) -> None:
        self.prices.setdefault(leg, price)
        free = self.ledger.free(self.prices)
        if "leaving" in words:
            other = words[words.index("leaving") + 1]
            held = self.ledger.positions[other]
            order = self.order(at, other, held.side, "exit", abs(held.quantity), self.prices[other], "market")
            free = self.ledger.expected_free([self.fill(order, other, held.side)], self.prices)
        request = SizeRequest(
            symbol=leg,
            strategy="s",
            position=position,  # type: ignore[arg-type]
            when=at,
            entry=price,
            price_stop_loss=float(words[words.index("stop") + 1]) if "stop" in words else None,
            equity=self.ledger.mark(self.prices).equity,
            free=free,
            leverage=self.world.account.leverage,
        )
        size = read_size(words[1])
        assert not isinstance(size, str)
        wanted = wanted_size(size, request)
        made: SizedOrder | Reason = (
            wanted
            if isinstance(wanted, Reason)
            else sized_order(
                wanted,
                self.order(at, leg, position, "entry", 0.0, price, by),
                free=free,
                account=self.world.account,
                costs=self.world.costs,
                limits=self.world.limits,
            )
        )
        if isinstance(made, Reason):
            self.says.append(f"{leg} refused: {made.code}")
            return
        self.orders[leg] = made
        self.ledger = self.ledger.reserve(leg, made.reserved)
        scaled = " scaled" if made.scaled else ""
        self.says.append(f"{leg} ordered {number(made.quantity)}{scaled}, {round(made.reserved, 6):g} taken")

    def fill_order(self, at: int, leg: str, position: str, price: float, by: str) -> None:
        self.ledger = self.ledger.release(leg)
        order = self.order(at, leg, position, "entry", 0.0, price, by)
        filled = quantity_filled(
            self.orders.pop(leg),
            order,
            free=self.ledger.free(self.prices),
            account=self.world.account,
            costs=self.world.costs,
            limits=self.world.limits,
        )
        self.says.append(f"{leg} filled {number(filled.quantity)}{' cut' if filled.cut else ''}")
        order = self.order(at, leg, position, "entry", filled.quantity, price, by)
        self.book(self.ledger.apply(self.fill(order, leg, position)))

    def bar(self, at: int, words: list[str]) -> None:
        start = {leg: float(words[place + 1]) for place, leg in enumerate(words) if leg.isalpha()}
        worst = {leg: float(words[place + 2]) for place, leg in enumerate(words) if leg.isalpha()}
        self.prices |= start
        for leg in [*self.ledger.positions]:
            side, price = self.ledger.positions[leg].side, self.ledger.liquidation_price(leg)
            beyond = price is not None and (worst[leg] <= price if side == "long" else worst[leg] >= price)
            if price is not None and beyond and not stop_comes_first(side, self.stops.get(leg), price):
                opened_beyond = start[leg] <= price if side == "long" else start[leg] >= price
                self.liquidate(at, [leg], {leg: start[leg] if opened_beyond else price})
        behind = 0.0
        while stop := next_stop(self.stops, self.ledger, start, worst):
            found = cross_liquidation(self.ledger, start, worst, since=behind)
            if found is not None and found.way < stop.way:
                break
            held, price, behind = self.ledger.positions[stop.leg], self.stops.pop(stop.leg), stop.way
            price = price if stop.way else start[stop.leg]
            order = self.order(at, stop.leg, held.side, "exit", abs(held.quantity), price, "stop")
            self.says.append(f"{stop.leg} stopped at {number(price)}")
            self.book(self.ledger.apply(self.fill(order, stop.leg, held.side)))
        found = cross_liquidation(self.ledger, start, worst, since=behind)
        if found is not None:
            self.liquidate(at, [*cross_legs(self.ledger)], dict(found.prices))

    def liquidate(self, at: int, legs: list[str], prices: dict[str, float]) -> None:
        self.says += [f"{leg} liquidated at {number(prices[leg])}" for leg in legs]
        symbols = {leg: leg for leg in legs}
        costs = self.world.costs
        self.book(
            liquidated(
                self.ledger, legs, prices, at=at, symbols=symbols, costs_of=lambda leg, order: fill_costs(order, costs)
            )
        )


def number(value: float) -> str:
    """A number as the worlds write it: six decimals where it has more than two."""
    return f"{value:g}" if abs(value - round(value, 2)) < 1e-9 else f"{value:.6f}"
