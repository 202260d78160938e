"""Protections: what each refuses, by hand, and what a run tells them of its account and of what was closed before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from scenarios import MINUTE, ORIGIN, long, source
from test_capital import FRAME, FREE, market
from test_live import HeldClock, always
from worlds import walk

import bknb
from bknb.domain.interval import DAY_MS
from bknb.domain.risk_request_and_verdict import ClosedBefore, ClosedPosition, OpenPosition
from bknb.domain.signal import OpenSignal
from bknb.provenance.strategy_hash import fingerprint
from bknb.testing.clocks import SimulatedClock

HOUR = 60 * MINUTE
NOW = 10 * DAY_MS + 12 * HOUR


def closed(
    hours_ago: float, net: float, *, symbol: str = "A", reason: str = "strategy", money: float | None = None
) -> Any:
    at = int(NOW - hours_ago * HOUR)
    return ClosedPosition(symbol, "s", "long", at - MINUTE, at, reason, net, money)


def request(*before: ClosedPosition, **given: Any) -> bknb.RiskRequest:
    signal = {"position": "long", "price_take_profit": None, "price_stop_loss": None, "minute_estimated_time": None}
    candidate = OpenSignal(
        id="x",
        symbol="A",
        strategy="s",
        exchange="e",
        price_open=100.0,
        note="",
        scheduled_at=NOW,
        pending_at=NOW,
        **signal,
    )
    known = {"open_positions": (), "closed": ClosedBefore(before, len(before))}
    run = {"symbol": "A", "strategy": "s", "exchange": "e", "when": NOW, "price": 100.0}
    return bknb.RiskRequest(signal=candidate, **run, **known | given)


def place(symbol: str, position: Any = "long") -> Any:
    return OpenPosition(
        signal_id=symbol, symbol=symbol, strategy="s", exchange="e", position=position, price_open=1.0,
        price_take_profit=None, price_stop_loss=None, since=0, scheduled=False,
    )  # fmt: skip


def CLOSES(symbols: Any, interval: str, count: int) -> list[list[float]]:  # noqa: N802
    """A rises by 1, 0 and 1 %, B by twice as much, C falls as A rises, and D stands still."""
    assert (symbols[0], interval, count) == ("A", "1d", 4)
    if symbols[1] == "young":
        raise bknb.NotEnoughData("no such candles")
    rises = {"A": (0.01, 0.0, 0.01), "B": (0.02, 0.0, 0.02), "C": (-0.01, 0.0, -0.01), "D": (0.0, 0.0, 0.0)}
    return [[100.0 * math.prod(1 + rise for rise in rises[symbol][:n]) for n in range(count)] for symbol in symbols]


LOSS, GAIN, STOP = closed(2, -1.0), closed(1, 1.0), closed(3, -1.0, reason="stop_loss")


@pytest.mark.parametrize(
    ("rule", "before", "given", "refused"),
    [
        (bknb.protections.cooldown(), [], {}, None),
        (bknb.protections.cooldown(pause="3h"), [LOSS], {}, "a loss, the last at 1970-01-11 10:00 UTC; nothing is"),
        (bknb.protections.cooldown(pause="2h"), [LOSS], {}, None),  # over at this moment
        (bknb.protections.cooldown(pause="3h"), [LOSS, GAIN], {}, None),
        (bknb.protections.cooldown(pause="1d", losses=2), [LOSS], {}, None),
        (bknb.protections.cooldown(pause="1d", losses=2), [STOP, LOSS], {}, "cooldown: 2 losses in a row, the last at"),
        (bknb.protections.cooldown(pause="1d", losses=2, per="symbol"), [STOP, closed(2, -1.0, symbol="B")], {}, None),
        (bknb.protections.stop_guard(stops=2), [STOP, STOP], {}, "stop_guard: 2 stops within 1d, 2 are too many"),
        (bknb.protections.stop_guard(stops=2), [STOP, LOSS], {}, None),
        (bknb.protections.stop_guard(stops=2, within="3h"), [STOP, STOP], {}, None),  # three hours ago is not within
        (bknb.protections.daily_loss(3), [closed(13, -9.0), closed(2, -2.0)], {}, None),  # 13 hours ago was yesterday
        (bknb.protections.daily_loss(3), [closed(4, -2.0), closed(2, -1.0)], {}, "lost since 1970-01-11 00:00 UTC"),
        (bknb.protections.daily_loss(3), [closed(4, -9.0, money=-29.0)], {"equity": 971.0}, None),
        (bknb.protections.daily_loss(3), [closed(4, -1.0, money=-30.0)], {"equity": 970.0}, "daily_loss: 3.00 %"),
        (bknb.protections.max_drawdown(10), [closed(50, 5.0), closed(40, -6.0), closed(30, 1.0), closed(20, -5.0)], {},
         "max_drawdown: 10.00 % were lost within 30d, 10 % are the limit"),
        (bknb.protections.max_drawdown(10, "30h"), [closed(50, 5.0), closed(40, -6.0), closed(20, -5.0)], {}, None),
        (bknb.protections.max_drawdown(10), [closed(40, -20.0), closed(30, 30.0)], {}, None),
        (bknb.protections.max_drawdown(10), [closed(4, -1.0, money=-100.0)], {"equity": 900.0}, "10.00 %"),
        (bknb.protections.max_open(2), [], {"open_positions": (place("A"),)}, None),
        (bknb.protections.max_open(2), [], {"open_positions": (place("A"), place("B"))}, "2 are open, at most 2"),
        (bknb.protections.max_open(1, per="symbol"), [], {"open_positions": (place("B"),)}, None),
        (bknb.protections.max_open(1, per="symbol"), [], {"open_positions": (place("A"),)}, "at most 1 of one symbol"),
        (bknb.protections.max_open(1), [], {"open_positions": (place("A"),), "add": 1.0}, None),
        (bknb.protections.max_exposure(100), [], {}, "which a run with a capital has, live too: give it capital"),
        (bknb.protections.max_exposure(100), [], {"equity": 1000.0, "exposure": 600.0, "value": 400.0}, None),
        (bknb.protections.max_exposure(100), [], {"equity": 1000.0, "exposure": 600.0, "value": 401.0},
         "max_exposure: with it 100.1 % of the equity would be at stake, at most 100 %"),
        (bknb.protections.max_exposure(100), [], {"equity": -5.0, "exposure": 600.0, "value": 1.0}, "worth nothing"),
        (bknb.protections.max_exposure(100), [], {"equity": 0.0, "exposure": 600.0, "value": 1.0}, "worth nothing"),
        (bknb.protections.max_exposure(100), [], {"equity": 1000.0, "exposure": 600.0, "value": 401.0, "add": 1.0},
         "100.1 % of the equity"),
        (bknb.protections.cooldown(pause="3h"), [LOSS], {"add": 1.0}, "a loss, the last at"),
        (bknb.protections.stop_guard(stops=2), [STOP, STOP], {"add": 1.0}, "2 stops within 1d"),
        (bknb.protections.daily_loss(3), [closed(4, -2.0), closed(2, -1.0)], {"add": 1.0}, "lost since"),
        (bknb.protections.max_drawdown(10), [closed(4, -10.0)], {"add": 1.0}, "10.00 % were lost within"),
        (bknb.protections.correlation(0.8, 3), [], {}, None),
        (bknb.protections.correlation(0.8, 3), [], {"open_positions": (place("C"), place("B")), "closes": CLOSES},
         "correlation: 1.00 with B, which is long, over 3 returns of 1d; 0.8 is the limit"),
        (bknb.protections.correlation(0.8, 3), [], {"open_positions": (place("C"), place("D")), "closes": CLOSES},
         None),
        (bknb.protections.correlation(0.8, 3), [], {"open_positions": (place("B"),), "closes": CLOSES, "add": 1.0},
         None),
        (bknb.protections.correlation(0.8, 3), [], {"open_positions": (place("B", "short"),), "closes": CLOSES}, None),
        (bknb.protections.correlation(0.8, 3), [], {"open_positions": (place("A"),)}, "long A is open already"),
        (bknb.protections.correlation(0.8, 3), [], {"open_positions": (place("young"),), "closes": CLOSES},
         "correlation: too little history of A and young: no such candles"),
    ],
)  # fmt: skip
def test_what_each_refuses(rule: Any, before: Any, given: Any, refused: str | None) -> None:
    found = rule(request(*before, **given))
    assert found is None if refused is None else refused in found


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: bknb.protections.cooldown(pause="soon"), "a time of cooldown must be such as '30d', '4h' or '90m'"),
        (lambda: bknb.protections.cooldown(losses=0), "losses of cooldown"),
        (lambda: bknb.protections.cooldown(per="leg"), "per of cooldown must be one of profile, symbol, strategy"),
        (lambda: bknb.protections.daily_loss(0), "percent of daily_loss must be a percentage above 0 and below 100"),
        (lambda: bknb.protections.max_drawdown(10, "1y"), "a time of max_drawdown must be such as"),
        (lambda: bknb.protections.max_open(0), "positions of max_open"),
        (lambda: bknb.protections.correlation(1.0), "limit of correlation must be above 0 and below 1"),
        (lambda: bknb.protections.correlation(0.5, 2), "window of correlation"),
        (lambda: bknb.protections.correlation(0.5, interval="2d"), "unknown interval '2d'"),
        (lambda: bknb.protections.max_exposure(-1), "percent of max_exposure must be a percentage above 0"),
    ],
)
def test_what_cannot_be_is_told(make: Any, says: str) -> None:
    with pytest.raises(bknb.UsageError, match=says):
        make()


def test_a_request_that_does_not_tell_what_was_closed_is_refused() -> None:
    with pytest.raises(bknb.UsageError, match="Cooldown needs the positions that were closed before, and this request"):
        bknb.protections.cooldown()(request(closed=None))


# --- in runs ----------------------------------------------------------------------------------------------------------

FALL = {2: (100.0, 100.0, 94.0, 100.0)}


def play(answers: Mapping[int, Any], rules: list[Any], **options: Any) -> Any:
    bknb.add_risk("calm", validations=rules)
    bknb.add_strategy(
        "s", interval="1m", risk="calm", get_signal=lambda ctx: answers.get((ctx.when_ms - ORIGIN) // MINUTE)
    )
    call = {"frame": FRAME, "settings": FREE} | options
    return bknb.backtest("BTCUSDT", strategy="s", exchange=market(FALL), **call)


@pytest.mark.parametrize("capital", [None, 1000])
def test_a_cooldown_refuses_until_its_pause_is_over(capital: float | None) -> None:
    """Stopped out in minute 2, known at 3: nothing before 13."""
    answers = {k: long(110, 95, 3) for k in (0, 3, 12, 13)}
    result = play(answers, [bknb.protections.cooldown(pause="10m")], capital=capital)
    assert [(event.when - ORIGIN) // MINUTE for event in result.refused] == [3, 12]
    assert len(result.trades) == 2


def test_what_is_closed_in_a_bar_is_not_known_to_an_order_that_fills_in_it() -> None:
    """Two legs: A is stopped out in minute 2, B's limit is filled in minute 2, and again one in minute 4."""
    seen: list[tuple[str, int, int]] = []

    def notes(request: bknb.RiskRequest) -> bool:
        assert request.closed is not None
        seen.append((request.symbol, (request.when - ORIGIN) // MINUTE, len(request.closed)))
        return True

    bknb.add_risk("calm", validations=[notes])
    answers = {(0, "A"): long(110, 95, 20), (0, "B"): long(110, 80, 20, at=97.0)}
    bknb.add_strategy("s", interval="1m", risk="calm",
                      get_signal=lambda ctx: answers.get(((ctx.when_ms - ORIGIN) // MINUTE, ctx.symbol)))  # fmt: skip
    later = {4: (100.0, 100.0, 96.0, 100.0)}
    for candles, minute, known in ((FALL, 2, 0), (later, 4, 1)):
        seen.clear()
        exchange = {"A": market(FALL), "B": market(candles)}
        bknb.portfolio(symbols=["A", "B"], strategies=["s"], exchange=exchange, frame=FRAME, settings=FREE)
        assert seen == [("A", 0, 0), ("B", 0, 0), ("B", minute, known)]


def test_legs_of_a_portfolio_share_what_was_closed_and_the_exposure() -> None:
    told: list[tuple[str, int, float | None, float | None, float | None, list[float | None]]] = []

    def notes(request: bknb.RiskRequest) -> bool:
        minute = (request.when - ORIGIN) // MINUTE
        money = [each.money for each in request.closed or ()]
        told.append((request.symbol, minute, request.equity, request.exposure, request.value, money))
        return True

    bknb.add_risk("calm", validations=[notes])
    answers = {(0, "A"): long(110, 95, 20), (1, "B"): long(110, 80, 20), (5, "A"): long(110, 80, 20)}
    bknb.add_strategy("s", interval="1m", risk="calm",
                      get_signal=lambda ctx: answers.get(((ctx.when_ms - ORIGIN) // MINUTE, ctx.symbol)))  # fmt: skip
    exchange = {"A": market(FALL), "B": market()}
    bknb.portfolio(symbols=["A", "B"], strategies=["s"], exchange=exchange, frame=FRAME, settings=FREE, capital=1000,
                   sizing="cash:200")  # fmt: skip
    assert told == [
        ("A", 0, 1000.0, 0.0, 200.0, []),
        ("B", 1, 1000.0, 200.0, 200.0, []),
        ("A", 5, 990.0, 200.0, 200.0, [-10.0]),
    ]


def test_a_limit_of_exposure_is_never_exceeded_by_what_is_ordered() -> None:
    result = play({0: long(110, 90, 20)}, [bknb.protections.max_exposure(50)], capital=1000, sizing="percent:51")
    assert [event.note for event in result.refused] == [
        "max_exposure: with it 51.0 % of the equity would be at stake, at most 50 %"
    ]
    assert len(
        play({0: long(110, 90, 20)}, [bknb.protections.max_exposure(50)], capital=1000, sizing="percent:50").trades
    )


def together(answers: Mapping[Any, Any], rules: list[Any], *, manage: Any = None, **options: Any) -> Any:
    """A portfolio of A and B, which answer by minute and symbol."""
    bknb.add_risk("calm", validations=rules)
    more = {} if manage is None else {"manage": manage, "manage_interval": "1m"}
    bknb.add_strategy("s", interval="1m", risk="calm", **more,
                      get_signal=lambda ctx: answers.get(((ctx.when_ms - ORIGIN) // MINUTE, ctx.symbol)))  # fmt: skip
    call = {"exchange": market(), "frame": FRAME, "settings": FREE, "capital": 1000} | options
    return bknb.portfolio(symbols=["A", "B"], strategies=["s"], **call)


def minutes_refused(result: Any) -> list[tuple[str, int]]:
    return [(event.symbol, (event.when - ORIGIN) // MINUTE) for event in result.refused]


DIP = {3: (100.0, 100.0, 97.0, 100.0)}
LIMIT = long(110, 90, 20, at=98.0)


@pytest.mark.parametrize(
    ("answers", "candles", "refused"),
    [
        ({(0, "A"): long(110, 90, 20), (0, "B"): long(110, 90, 20)}, {}, [("B", 0)]),  # of one moment
        ({(0, "A"): LIMIT, (1, "B"): LIMIT}, {}, [("B", 1)]),  # one that rests counts
        ({(0, "A"): LIMIT, (1, "B"): long(110, 90, 20)}, DIP, [("B", 1)]),
        # What leaves is held until it has left, but for its own leg.
        ({(0, "A"): long(110, 90, 5), (5, "A"): long(110, 90, 5), (5, "B"): long(110, 90, 5)}, {}, [("B", 5)]),
        ({(0, "A"): long(110, 90, 5), (5, "B"): long(110, 90, 5), (6, "B"): long(110, 90, 5)}, {}, [("B", 5)]),
        ({(0, "A"): LIMIT, (5, "A"): None, (25, "B"): long(110, 90, 3)}, DIP, []),
    ],
)  # fmt: skip
def test_what_was_granted_before_counts_as_exposure(answers: Any, candles: Any, refused: Any) -> None:
    """Positions of 60 %, of which 100 % may be held."""
    limit = [bknb.protections.max_exposure(100)]
    result = together(
        answers, limit, exchange=market(candles), sizing="percent:60", account=bknb.Margin(3, 0, "isolated")
    )
    assert minutes_refused(result) == refused


def test_adds_of_one_moment_and_what_left_in_a_bar_count_as_exposure() -> None:
    """A of 30 % adds 30 % twice at minute 2: the second is one too many. A leaves in minute 6, in which B's rests."""
    adds = [bknb.Add(1.0), bknb.Add(1.0)]
    manage = lambda ctx, position: adds if (ctx.when_ms - ORIGIN) // MINUTE == 2 and ctx.symbol == "A" else None  # noqa: E731
    answers = {(0, "A"): long(110, 95, 20)}
    result = together(answers, [bknb.protections.max_exposure(75)], manage=manage, sizing="percent:30")
    assert minutes_refused(result) == [("A", 2)]

    told: list[Any] = []

    def notes(request: bknb.RiskRequest) -> bool:
        told.append((request.symbol, (request.when - ORIGIN) // MINUTE, request.equity, request.exposure))
        return True

    stopped = market({6: (100.0, 100.0, 94.0, 100.0)})
    answers = {(0, "A"): long(110, 95, 20), (5, "B"): long(110, 80, 20, at=97.0), (5, "A"): None}
    together(answers, [notes], exchange=stopped, sizing="percent:30")
    assert told == [("A", 0, 1000.0, 0.0), ("B", 5, 1000.0, 300.0), ("B", 6, 1000.0, 300.0)]

    told.clear()  # both rest and are filled in one bar: A is opened in it when B is asked about
    answers = {(5, "A"): long(110, 80, 20, at=97.0), (5, "B"): long(110, 80, 20, at=97.0)}
    together(answers, [notes], exchange=stopped, sizing="percent:30")
    at_97 = pytest.approx(300 * 100 / 97)  # at the open of the bar
    assert told == [("A", 5, 1000.0, 0.0), ("B", 5, 1000.0, 300.0), ("A", 6, 1000.0, 300.0), ("B", 6, 1000.0, at_97)]


def test_a_run_knows_the_candles_that_have_closed_for_a_correlation() -> None:
    """A and B move alike up to minute 20 and against each other after it; five returns of 1m."""
    rows = {
        symbol: [(ORIGIN + k * MINUTE, *[100.0 + (sign if k > 20 else 1) * (k % 3)] * 4, 100.0) for k in range(-60, 45)]
        for symbol, sign in (("A", 1), ("B", -1))
    }
    answers = {(10, "A"): long(120, 80, 40), (20, "B"): long(120, 80, 3), (26, "B"): long(120, 80, 3)}
    rule = bknb.protections.correlation(0.8, window=5, interval="1m")
    exchange = {symbol: source(each) for symbol, each in rows.items()}
    result = together(answers, [rule], exchange=exchange, capital=None)
    assert minutes_refused(result) == [("B", 20)]
    assert result.refused[0].note.startswith("correlation: 1.00 with A, which is long, over 5 returns of 1m")
    assert [trade.symbol for trade in result.events if isinstance(trade, bknb.Closed)] == ["B", "A"]


def test_a_live_run_knows_them_too() -> None:
    bknb.add_risk("calm", validations=[bknb.protections.correlation(0.8, window=5, interval="1m")])
    strategy, exchange, store = (
        bknb.add_strategy("a", interval="1m", get_signal=always(), risk="calm"),
        source(walk(36)),
        bknb.stores.memory(),
    )
    held = HeldClock(ORIGIN, hold_at=ORIGIN + 2 * MINUTE)
    first = bknb.Live.background("A", strategy=strategy, exchange=exchange, store=store, clock=held)
    assert held.held.wait(20)
    until = {"until": ORIGIN + 2 * MINUTE, "clock": SimulatedClock(ORIGIN)}
    refused = bknb.Live.background("B", strategy=strategy, exchange=exchange, store=store, **until).result(20).refused
    first.stop(now=True)
    held.freed.set()
    first.result(20)
    assert [event.note.split(",")[0] for event in refused] == ["correlation: 1.00 with A"] * 3


def test_another_limit_is_another_strategy() -> None:
    hashes = set()
    for percent in (3, 4):
        bknb.add_risk("calm", validations=[bknb.protections.daily_loss(percent)])
        hashes.add(fingerprint(bknb.add_strategy("s", interval="1h", get_signal=lambda: None, risk="calm")))
    assert len(hashes) == 2
