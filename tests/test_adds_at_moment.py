"""Stepping into a run with a capital: adds are as large as the account, and the risk profile, let them be then."""

from __future__ import annotations

import math
from typing import Any

import pytest
from scenarios import MINUTE, ORIGIN, source
from test_capital import FRAME, FREE, market, notes, play
from test_paid_parts import CUTS, Cut
from worlds import walk

import bknb

HALF = {"sizing": "percent:60"}
ORDERED = [
    Cut("cut when it is ordered", None, {}, [], HALF, manage={2: bknb.Add(1.0)}),
    Cut("cut when it is ordered, and rests", None, {5: (100.0, 100.0, 94.0, 95.0)}, [], HALF,
        manage={2: bknb.Add(1.0, price_open=95.0)}),
    Cut("cut, and ends with its position", None, {}, [], HALF, manage={2: bknb.Add(1.0, price_open=95.0)}),
    Cut("cut when it fills", None, {2: (110.0, 110.0, 100.0, 100.0)}, [], {"sizing": "percent:50"},
        manage={2: bknb.Add(1.0)}),
    Cut("refused", None, {}, [], manage={2: [bknb.Add(0.5), bknb.Reduce(0.25)]}),
    Cut("the second of two refused", None, {}, [], {"sizing": "percent:50"},
        manage={2: [bknb.Add(1.0), bknb.Add(0.5)], 5: bknb.Reduce(0.5)}),
    Cut("refused by a risk profile", None, {}, [], {"sizing": "percent:10", "risk": "no adds"},
        manage={2: bknb.Add(0.5), 4: bknb.Reduce(0.5)}),
]  # fmt: skip


@pytest.mark.parametrize("places", [1, 2])
@pytest.mark.parametrize("row", [*CUTS, *ORDERED], ids=lambda row: row.name)
def test_a_position_that_was_added_to_comes_out_again(row: Cut, places: int) -> None:
    if places > 1 and row.name == "one of two signals that compete":
        return  # each has a place of its own
    bknb.add_risk("no adds", validations=[lambda request: request.add == 0.0])
    seen: dict[int, Any] = {}
    result = row.play(seen=seen, places=places)
    asked = dict(seen)
    assert asked or row.name == "then the stop"
    for when, position in list(asked.items())[::2]:
        moment = result.at(when)
        again = moment.manage()
        assert (moment.position, again.position, again.diverged) == (position, position, "")
    assert seen == asked


LADDER = [(99.5, 0.4), (99.0, 0.2), (90.0, 0.1)]


def mirrored(parts: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(200.0 - price, share) for price, share in parts]


BEYOND = {
    "limits": (98.0, bknb.Signal(side="long", price_open=LADDER, price_stop_loss=80.0)),
    "limits of a short": (102.0, bknb.Signal(side="short", price_open=mirrored(LADDER), price_stop_loss=120.0)),
    "stop orders": (102.0, bknb.Signal(side="long", entry="stop", price_open=mirrored(LADDER), stop_percent=20.0)),
    "one limit, with a stop nearer to the fill than one may be": (
        98.0,
        bknb.Signal(side="long", price_open=99.0, price_stop_loss=97.9),
    ),
}
MONEY = [{"capital": None}, {"sizing": "percent:50"}, {"sizing": "percent:50", "places": 2}]


@pytest.mark.parametrize("options", MONEY, ids=str)
@pytest.mark.parametrize("name", BEYOND)
def test_an_entry_that_filled_at_its_first_open_beyond_its_price_comes_out_again(
    name: str, options: dict[str, Any]
) -> None:
    """It is ordered again at the price of its order, so that its parts are in the same order, and it is valid."""
    price, signal = BEYOND[name]
    seen: dict[int, Any] = {}
    exchange = market(dict.fromkeys(range(3, 41), (price,) * 4))
    settings = {**FREE, "max_signal_lifetime_minutes": None, "min_stop_loss_distance_percent": 0.5}
    result = play({3: signal}, exchange, seen=seen, settings=settings, **options)
    position = dict(seen)[ORIGIN + 6 * MINUTE]
    moment = result.at(ORIGIN + 6 * MINUTE)
    again = moment.manage()
    assert (moment.position, again.position, again.diverged) == (position, position, "")
    assert moment.signal.price_ordered == (99.0 if "one" in name else 200.0 - 99.5 if price > 100.0 else 99.5)


def test_a_run_without_a_capital_has_the_verdicts_of_its_risk_profile() -> None:
    bknb.add_risk("no adds", validations=[lambda request: request.add == 0.0])
    row = ORDERED[-1]
    seen: dict[int, Any] = {}
    result = row.play(seen=seen, capital=None, sizing=None, account=None)
    moment = result.at(ORIGIN + 6 * MINUTE)
    assert len(notes(result)) == 1
    assert (moment.position.size, moment.manage().diverged) == (0.5, "")


def test_a_reversal_that_was_refused_holds_no_place() -> None:
    """The place has a signal again at minute 6; as others are looked at, all is played again from the first one on."""
    bknb.add_risk("no shorts", validations=[lambda request: request.signal.position == "long"])

    def get_signal(when: Any) -> Any:
        return bknb.Signal(position="long", place="a") if when.minute in (0, 6) else None

    seen: dict[int, Any] = {}

    def manage(ctx: Any) -> Any:
        seen[ctx.when_ms] = ctx.positions
        return [bknb.Close(), bknb.Signal(position="short")] if ctx.when.minute == 3 else None

    bknb.add_strategy("turns", interval="1m", get_signal=get_signal, manage=manage, places=2, risk="no shorts")
    result = bknb.backtest("A", strategy="turns", exchange=market(), frame=FRAME, settings=FREE, capital=1_000)
    assert notes(result) == ["<lambda> refused"]
    when = ORIGIN + 8 * MINUTE
    expected = seen[when]
    assert (result.at(when).positions, result.at(when).manage().diverged) == (expected, "")


@pytest.mark.parametrize("capital", [None, 1_000])
def test_a_position_of_weights_comes_out_again(capital: float | None) -> None:
    """With what the account held, to the last digit: a weight of it decides what is bought next."""
    seen: dict[int, Any] = {}

    def get_weight(ctx: Any) -> float | None:
        seen[ctx.when_ms] = ctx.position
        minute = (ctx.when_ms - ORIGIN) // MINUTE
        return round(0.5 + 0.5 * math.sin(minute / 7), 2) if minute % 3 == 0 else None

    bknb.add_strategy("waves", interval="1m", get_weight=get_weight)
    result = bknb.backtest("A", strategy="waves", exchange=source(walk(3)), frame=FRAME, capital=capital)
    asked = {when: position for when, position in seen.items() if position is not None}
    assert len(asked) > 20
    for when in [*asked][3::5]:
        again = result.at(when).manage()
        assert (again.position, again.diverged) == (asked[when], "")
