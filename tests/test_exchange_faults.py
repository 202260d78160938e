"""Forty things that go wrong at an exchange: what is held there is what the record says, protected, and told once.

Each is a live run through the real client of ccxt at a local exchange, and ends with what
:meth:`fault_world.World.wrong` reads from the journal of that exchange: holdings are those of the record, each order
was sent once and is known here as it is there, the baseline is as it was, nothing of ours works, and nothing was held
without a stop for longer than said.
"""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from decimal import Decimal

import pytest
from fault_world import (
    CLOSING,
    LONG,
    MANAGED,
    OKX,
    OUT,
    SPOT,
    USDM,
    VENUES,
    WRONG,
    World,
    bought,
    by_hand,
    command,
    each,
    fault,
    filled,
    holds,
    price,
    rules,
    says,
    stops_gone,
)  # fmt: skip
from packages import need_packages
from quick import each_once, rest_long

import bknb

need_packages("ccxt")
pytest_plugins = ["exchange_fixtures"]


def at(*venues, here=()):
    """At some markets; elsewhere, where an order goes the same way through here, where ``-m long`` is asked for."""
    marked = [venue if venue in here or not here else pytest.param(venue, marks=pytest.mark.long) for venue in venues]
    return pytest.mark.parametrize("venue", marked, ids=str)


every = at(*VENUES, here=(SPOT,))
everywhere = at(*VENUES, here=(SPOT, USDM))
swaps = at(USDM, OKX, here=(USDM,))
at_spot = at(SPOT)
ONE_LOOK = {"naked_minutes": 1.0, "naked_requests": 2}  # what happens there is known here with the next minute


@pytest.fixture
def world(exchange, venue, monkeypatch):
    config = exchange.ccxt_config(venue.client)
    for variable, name in venue.keys:
        monkeypatch.setenv(variable, config[name])

    def made(**given):
        of_account = {name: given.pop(name) for name in ("fee_currency", "through") if name in given}
        world = World(exchange=exchange, venue=venue, **{"signals": {1: LONG}, "answers": OUT, **given})
        return world.begin(**of_account)

    return made


@everywhere
def test_nothing_goes_wrong(world):
    life = world().live()
    holds(life, quiet=True)
    assert len(life.orders) == 3 + life.venue.swap  # its target rests, too


# --- requests -------------------------------------------------------------------------------------------------------


@everywhere
def test_01_reply_lost_entry(world):
    life = world(after={0: fault("reply_lost", "place")}).live()
    holds(life, naked_minutes=0.1)
    assert len(life.trades) == 2


@every
def test_02_request_lost_entry(world):
    life = world(after={0: fault("request_lost", "place")}).live()
    holds(life)
    assert life.orders == []
    says(life, "is lost")


@every
@pytest.mark.parametrize("name", ["reply_late", "request_late"])
def test_03_reply_late(world, name):
    """It comes when nobody waits any more; the order is there once, or late."""
    life = world(after={0: fault(name, "place", seconds=0.12)}, patience_ms=80).live()
    holds(life, naked_minutes=3)
    assert len(life.trades) == 2


@every
def test_04_not_found_then_found(world):
    hidden = each(fault("not_found", seconds=90), fault("reply_lost", *CLOSING))
    life = world(after={7: hidden}).live()
    holds(life)
    assert len(life.trades) == 2


@every
@pytest.mark.parametrize("on", ["place", "stop"])
def test_05_duplicate_answer(world, on):
    life = world(after={0: fault("refuse", on, reason="duplicate", executed=True)}).live()
    holds(life, quiet=True)


@every
def test_06_id_reused_after_fill(world):
    """The exchange would take the id of an order that is done a second time; it is asked instead."""
    lost = {0: fault("reply_lost", "place"), 1: fault("reply_lost", "stop"), 7: fault("reply_lost", *CLOSING)}
    life = world(after=lost).live()
    holds(life, naked_minutes=0.1)
    assert len(life.trades) == 2


@every
@pytest.mark.parametrize(
    ("reason", "executed"),
    rest_long([("timeout", True), ("unknown_error", False), ("timeout", False), ("bus", True)], kept=2),
)
def test_07_timeout_code(world, reason, executed):
    life = world(after={0: fault("refuse", "place", reason=reason, executed=executed)}).live()
    holds(life, naked_minutes=0.1)
    says(life, "is lost", 0 if executed else 1)
    assert len(life.trades) == (2 if executed else 0)


@every
@pytest.mark.parametrize(
    "reason",
    [
        "overloaded",
        "unavailable",
    ],
)
def test_08_overloaded(world, reason):
    refused = {on: fault("refuse", *on, reason=reason) for on in (("stop",), ("place",), CLOSING)}
    life = world(after={0: refused["stop",], 7: refused[CLOSING]}).live()
    holds(life, naked_minutes=0.1, naked_requests=2)
    entry = world(after={0: refused["place",]}).live()
    holds(entry)
    assert entry.orders == []


@every
@pytest.mark.parametrize(
    ("name", "minute", "on"),
    rest_long([("banned", 0, "stop"), ("too_many", 7, "place"), ("too_many", 0, "stop")], kept=1),
)
def test_09_wait_429_and_10_ban_418(world, name, minute, on):
    life = world(after={minute: fault(name, *(CLOSING if minute else (on,)), seconds=0.1)}).live()
    holds(life, naked_minutes=0.1, naked_requests=2)
    assert len([line for line in life.lines if line.get("status") in (418, 429)]) == 1


@every
@pytest.mark.parametrize(
    ("name", "case"),
    each_once(["html_502", "html_200", "cut_body", "empty_data"], [(0, "place"), (0, "stop"), (7, "place")]),
)
def test_11_no_answer_that_can_be_read(world, name, case):
    minute, on = case
    given = {"executed": True} if name.startswith("html") else {}
    life = world(after={minute: fault(name, *(CLOSING if minute else (on,)), **given)}).live()
    holds(life, naked_minutes=0.1)
    assert len(life.orders) == 3


@every
@pytest.mark.parametrize(
    ("minute", "ahead"), rest_long([(0, 2_000), (7, -30_000), (1, -30_000), (7, 30_000), (7, -2_000)], kept=2)
)
def test_12_clock_off(world, minute, ahead):
    life = world(after={minute: command("clock", skew_ms=ahead)}).live()
    holds(life, quiet=True)


@every
@pytest.mark.parametrize(
    "key",
    [
        {"revoked": True},
        {"may_trade": False},
    ],
    ids=str,
)
def test_13_key_revoked(world, key):
    """While a position is open: its stop rests, nothing storms, and it is closed when the key is good again."""
    back = command("key", revoked=False, may_trade=True)
    life = world(after={3: command("key", **key), 10: back}, end=24).live()
    holds(life)
    assert 1 <= len(life.told) <= 4, life.story()
    assert len([line for line in life.lines if line.get("status") == 401]) < 70  # in seven minutes


# --- fills ----------------------------------------------------------------------------------------------------------


@every
def test_14_partial_entry_then_more(world):
    partly = fault("partial", share="0.3", works=True)
    life = world(after={0: partly}, at={1: filled("0.003")}).live()
    holds(life, **ONE_LOOK)
    assert bought(life) == Decimal("0.01")
    assert len(life.sent("stop")) >= 2


@every
def test_15_partial_then_expired(world):
    life = world(after={0: fault("partial", share="0.4")}).live()
    holds(life)
    assert bought(life) == Decimal("0.004")


RESTS = bknb.Signal(side="long", price_open=49_800.0, price_stop_loss=49_000.0, price_take_profit=60_000.0)


@every
@pytest.mark.parametrize(("name", "share"), each_once(["fill_during_cancel", "fill_after_cancel"], ["0.5", "1"]))
def test_16_fill_during_cancel_and_17_fill_after_cancel_ack(world, name, share):
    life = world(signals={1: RESTS}, answers={4: bknb.Cancel()}, after={2: fault(name, share=share)}).live()
    holds(life, **ONE_LOOK)


@at_spot
@pytest.mark.parametrize(
    "name",
    ["fill_during_cancel", "fill_after_cancel"],
)
def test_16_17_of_a_stop_that_is_cancelled(world, name):
    life = world(after={7: fault(name, share="0.5")}).live()
    holds(life)


@at_spot
@pytest.mark.parametrize("bnb", rest_long([None, "0.00003", "1"], kept=2))
def test_18_fee_in_base(world, bnb):
    """In the coin, in BNB, and in BNB of which there is too little half-way."""
    life = world(fee_currency="BNB" if bnb else "received")
    if bnb:
        life.exchange.price("BNBUSDT", 500)
        life.exchange.command("deposit", currency="BNB", amount=bnb)
    holds(life.live(), quiet=True)


@at_spot
def test_19_dust_left(world):
    life = world(quantity=0.01234).live()
    holds(life)
    says(life, "dust")
    assert Decimal(0) < life.held < Decimal("0.00001")
    assert len(life.trades) == 2


@at_spot
def test_20_too_small_at_stop(world):
    small = {1: bknb.Signal(side="long", price_stop_loss=46_000.0)}
    life = world(quantity=0.0001, signals=small).live()
    holds(life)
    assert life.sent("place", "stop") == []
    assert len(life.told) == 1, life.told


LOW = (48_500.0, 48_550.0, 48_400.0, 48_500.0)


@every
@pytest.mark.parametrize("beyond", [False, True])
def test_21_slippage_far(world, beyond):
    """Filled three percent worse; and where the market is beyond its stop by then."""
    acts = {0: price(48_500.0)} if beyond else {0: fault("slippage", percent="3")}
    life = world(after=acts, candles={1: LOW, 2: LOW} if beyond else {}).live()
    holds(life, naked_minutes=0.1, naked_requests=2)


# --- protection -----------------------------------------------------------------------------------------------------


@every
def test_22_stop_would_trigger(world):
    """The stop of the record is moved to where the exchange has been already."""
    fell = {4: (49_850.0, 49_870.0, 49_840.0, 49_860.0)}
    life = world(answers={4: bknb.Move(price_stop_loss=49_900.0)}, after={3: price(49_850.0)}, candles=fell).live()
    holds(life, naked_minutes=0.1)


@every
@pytest.mark.parametrize("changed", [{"band": "1.01"}, {"stops": 0}], ids=["23_stop_refused_band", "24_too_many_stops"])
def test_a_stop_is_refused(world, changed):
    """Watched here, told, and after a minute closed."""
    life = world(after={0: rules(**changed)}).live()
    holds(life, naked_minutes=1.5, naked_requests=3, again=2)
    assert life.told


@everywhere
@pytest.mark.parametrize(
    "name",
    [
        "reply_lost",
        "request_lost",
    ],
)
def test_25_stop_reply_lost(world, name):
    life = world(after={0: fault(name, "stop")}).live()
    holds(life, naked_minutes=0.2, naked_requests=2)
    assert not [line for line in life.answers_of("stop") if line["status"] >= 400]


@every
@pytest.mark.parametrize("name", ["replace_half", "refuse"])
def test_26_replace_half(world, name):
    """The old stop is gone, and the new one refused: the old level rests again."""
    act = fault("replace_half") if name == "replace_half" else fault("refuse", "stop", reason="price_band")
    life = world(answers={4: bknb.Move(price_stop_loss=49_500.0), **OUT}, after={3: act}).live()
    holds(life, naked_requests=3)


@every
@pytest.mark.parametrize(("times", "expired"), rest_long([(1, True), (2, False), (1, False)], kept=2))
def test_27_stop_gone(world, times, expired):
    gone = stops_gone(expired=expired)
    life = world(after={2: gone, 5: gone} if times == 2 else {2: gone}, end=16).live()
    holds(life, naked_minutes=1 if times == 1 else 2, naked_requests=2, again=times)


@swaps
@pytest.mark.parametrize("name", ["child_rejected", "child_cancelled", "child_partial", "child_missing"])
def test_28_stop_triggered_child(world, name):
    """The order that a stop became is refused, cancelled, filled in part, or not shown for ten seconds."""
    given = {"seconds": 10} if name == "child_missing" else {}
    fell = {4: (50_000.0, 50_000.0, 48_900.0, 48_950.0)}
    life = world(answers={}, candles=fell, at={4: fault(name, "trigger", **given)}).live()
    holds(life, naked_minutes=1, naked_requests=4)
    sold = sum(Decimal(order["filled"]) for order in life.orders if order["side"] == "sell")
    assert sold * life.size == Decimal("0.01"), life.story()


@every
def test_29_stop_and_target_together(world):
    near = {1: bknb.Signal(side="long", price_stop_loss=49_500.0, price_take_profit=50_500.0)}
    life = world(signals=near, answers={}, candles={4: (50_000.0, 50_600.0, 49_400.0, 50_000.0)}).live()
    holds(life)


@everywhere
def test_30_price_jumps_through(world):
    low = dict.fromkeys(range(4, 14), (48_000.0, 48_050.0, 47_950.0, 48_000.0))
    life = world(answers={}, candles=low).live()
    holds(life, quiet=True)
    sold = [order for order in life.orders if order["side"] == "sell" and order["filled"] != "0"]
    assert [order["average"] for order in sold] == ["48000.0"]


@swaps
def test_31_reduce_only_blocked(world):
    """A limit of the user that only reduces takes the whole position."""
    life = world(after={3: by_hand(price="59000")}).live()
    holds(life, naked_minutes=1)


@everywhere
@pytest.mark.parametrize("name", ["request_lost", "reply_lost"])
def test_32_leftover_stop(world, name):
    """The cancelling of a stop fails, and another position is opened soon: none of the old one is left by then."""
    lost = each(fault(name, "cancel", times=3), fault(name, "cancel_stop", times=3))
    life = world(signals={1: LONG, 9: LONG}, answers={**OUT, 14: bknb.Close()}, after={7: lost}, end=20).live()
    holds(life, naked_minutes=1, again=2)


# --- the account ----------------------------------------------------------------------------------------------------


@everywhere
@pytest.mark.parametrize(
    ("share", "stop_too"),
    [
        (0.4, True),
        (1.0, True),
    ],
)
def test_33_manual_sell(world, share, stop_too):
    acts = [stops_gone()] * stop_too + [by_hand(share)]
    life = world(after={3: each(*acts)}).live()
    holds(life, naked_minutes=1, by_hand=True)
    assert any("by hand" in text for text in life.told), life.story()


@every
def test_33_manual_stop_moved(world):
    def moved(life):
        (stop,) = life.stops
        life.exchange.command("move", client_id=stop["client_id"], trigger="48000", market=life.venue.book)

    life = world(after={3: moved}).live()
    holds(life)


@swaps
@pytest.mark.parametrize(
    ("prefix", "word"),
    [("autoclose-", "liquidat"), ("adl_autoclose", "adl|deleverag"), ("settlement_autoclose-", "settle")],
)
def test_34_liquidated(world, prefix, word):
    def liquidated(life):
        life.here("liquidate", price="49500", prefix=prefix)

    life = world(after={3: liquidated}).live()
    holds(life, by_hand=True)
    says(life, word)
    assert len(life.trades) == 1, life.story()


@at(USDM)
@pytest.mark.parametrize(
    "changed",
    rest_long([{"hedged": True}, {"leverage": 20}, {"margin_type": "cross"}, {"multi_assets": True}], kept=2),
    ids=str,
)
def test_35_mode_changed(world, changed):
    """Set outside while a position is open: it ends as the record says, and that is told."""

    def change(life):
        life.here("position", **changed)

    def change_back(life):
        life.here("position", hedged=False)

    life = world(after={3: change}, at={10: change_back}, end=18).live()
    holds(life, naked_minutes=0.1)
    assert 1 <= len(life.told) <= 3, life.story()


@at_spot
@pytest.mark.parametrize(
    "what",
    [
        "withdrawn",
        "locked",
    ],
)
def test_36_funds_gone(world, what):
    """Less is there than we bought: what is free is sold, and the rest is told."""

    def free_again(life):
        (locks,) = [order for order in life.book["orders"] if order["price"] == "59000"]
        life.here("cancel", client_id=locks["client_id"])

    gone = command("deposit", currency="BTC", amount="-0.504")
    if what == "locked":
        gone = command("trade", symbol="BTCUSDT", side="sell", quantity="0.504", price="59000")
    life = world(after={3: each(stops_gone(), gone)}, at={11: free_again} if what == "locked" else {}, end=18).live()
    holds(life, naked_minutes=20, naked_requests=20, by_hand=True, gone=what == "withdrawn")
    refused = [line for line in life.answers_of("place", "stop", "replace") if line["status"] >= 400]
    assert len(refused) <= 2, life.story()
    assert life.told


@everywhere
@pytest.mark.parametrize("ends", ["record", "stop"])
def test_37_two_strategies_of_one_side(world, ends):
    fell = {5: (50_000.0, 50_000.0, 48_900.0, 49_500.0)} if ends == "stop" else {}
    life = world(answers={6: bknb.Close()}, candles=fell)
    other = World(
        exchange=life.exchange, venue=life.venue, name="other", quantity=0.02, answers={9: bknb.Close()},
        signals={3: bknb.Signal(side="long", price_stop_loss=48_000.0)},
    )  # fmt: skip
    holds(life.live(beside=(other,)))


@at_spot
def test_37_several_symbols_of_one_account(world):
    """A limit of one fills while others look at the account: what it has bought did not come by hand."""
    life = world(signals={}, end=14)
    others = []
    for base, level in (("ETH", 3_000.0), ("BNB", 500.0)):
        calm = dict.fromkeys(range(-60, 40), (level, level + 1.0, level - 1.0, level))
        venue = replace(life.venue, symbol=f"{base}USDT", traded=f"{base}USDT", base=base, step=Decimal("0.001"))
        others.append(World(exchange=life.exchange, venue=venue, name=f"of{base.lower()}", candles=calm))
        life.exchange.price(f"{base}USDT", level)
        life.exchange.command("deposit", currency=base, amount="0.5")
    limit = others[-1]
    limit.candles = {**limit.candles, 1: (500.0, 500.0, 489.0, 500.0)}
    limit.signals = {0: bknb.Signal(side="long", price_open=490.0, price_stop_loss=480.0)}
    limit.answers, limit.quantity = {9: bknb.Close()}, 1.002
    life.live(beside=tuple(others))
    limit._mark = life._mark
    holds(life)
    holds(limit, words=False, dust="0.001", naked_minutes=1)


@swaps
def test_37_two_strategies_of_opposite_sides(world):
    life = world(answers={6: bknb.Close()})
    other = World(
        exchange=life.exchange, venue=life.venue, name="other", quantity=0.02, answers={9: bknb.Close()},
        signals={3: bknb.Signal(side="short", price_stop_loss=52_000.0)},
    )  # fmt: skip
    life.live(beside=(other,))
    holds(life)
    assert {order["side"] for order in life.orders if not order["reduce_only"]} == {"buy"}
    assert life.told


@every
def test_37_a_second_process_is_refused(world):
    """Another one on the same account, with a folder of its own, finds orders that it never saved."""
    life = world(answers={}).live(end=5)
    second = World(exchange=life.exchange, venue=life.venue, store=bknb.stores.memory(), traded=life.traded)
    with pytest.raises(bknb.StateError, match="adopt"):
        second.live(start=5, end=9)
    assert len(life.stops) == 1


# --- market and time ------------------------------------------------------------------------------------------------

STEP = {"step": "0.001", "least": "0.001"}


@every
@pytest.mark.parametrize(
    ("changed", "minute"),
    [
        (STEP, 0),
        ({"tick": "10"}, 0),
        ({"tick": "10"}, 4),
        ({"notional": "20"}, 4),
        (STEP, 4),
    ],
    ids=str,
)
def test_38_rules_changed(world, changed, minute):
    moved = {5: bknb.Move(price_stop_loss=49_111.11), **OUT}
    life = world(after={minute: rules(**changed)}, answers=moved, end=18).live()
    holds(life, naked_minutes=0.1, dust="0.001", naked_requests=4)


@every
def test_38_halted(world):
    """What ends a position leaves when its market opens again."""
    life = world(after={6: rules(halted=True), 10: rules(halted=False)}, end=20).live()
    holds(life, naked_minutes=4, naked_requests=10)


@pytest.mark.slow
@every
@pytest.mark.parametrize("hours", [3, pytest.param(120, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "what",
    [
        pytest.param("nothing", marks=pytest.mark.long),
        "stop filled",
        "stop cancelled",
        "sold by hand",
    ],
)
def test_40_away(world, what, hours):
    """Killed with a position and its stop; the next process comes hours later."""
    dead = {3: (50_000.0, 50_000.0, 48_900.0, 49_000.0)} if what == "stop filled" else {}
    life = world(candles=dead, answers={60 * hours + 6: bknb.Close()}, end=60 * hours + 12).live(end=3)
    if what in ("stop cancelled", "sold by hand"):
        stops_gone()(life)
    if what == "sold by hand":
        by_hand()(life)
    life.away(3, 4, 60 * hours - 1).live(start=60 * hours)
    holds(life, naked_minutes=60 * hours if what == "stop cancelled" else 0, by_hand=what == "sold by hand")
    sold = [order for order in life.orders if order["side"] == "sell" and Decimal(order["filled"])]
    assert len(sold) == (0 if what == "sold by hand" else 1), life.story()


@every
@pytest.mark.parametrize("name", ["reply_lost", "request_lost"])
def test_40_away_before_its_entry_was_answered(world, name):
    life = world(after={0: fault(name, "place")}, answers={40: bknb.Close()}, end=46).live(end=1)
    holds(life.away(1, 2, 29).live(start=30), naked_minutes=30)


@every
@pytest.mark.parametrize(
    "minute",
    [
        1,
        0,
    ],
)
def test_40_a_folder_restored_from_an_old_backup(world, tmp_path, minute):
    """One of before the entry (0), or of when it and its stop were there (1); the account went on."""
    life = world(end=20, answers={14: bknb.Close()})
    life.store = bknb.stores.files(tmp_path / "state")

    def save(_):
        shutil.copytree(tmp_path / "state", tmp_path / "backup")

    (life.at if minute else life.after)[minute] = save
    life.live(end=5)
    life.store = bknb.stores.files(tmp_path / "backup")
    if minute:
        holds(life.live(start=5))
        assert len(life.orders) == 3
    else:
        life.signals = {}
        with pytest.raises(bknb.StateError, match="adopt"):
            life.live(start=5)


# --- a whole life, and something wrong with each of its requests ----------------------------------------------------

QUICK = [("reply_lost", "replace", 0), ("request_lost", "cancel", 0), ("cut_body", "place", 2)]


def _each_request():
    for venue in VENUES:
        for name, (operation, times) in itertools.product(WRONG, venue.requests.items()):
            for skip in range(times):
                quick = venue == SPOT and (name, operation, skip) in QUICK
                marks = () if quick else pytest.mark.long
                yield pytest.param(venue, name, operation, skip, marks=marks, id=f"{venue} {name} {operation} {skip}")


@everywhere
def test_a_life_of_every_kind_of_order(world):
    life = world(**MANAGED).live()
    holds(life, naked_requests=3)
    assert {on: len(life.sent(on)) for on in life.venue.requests} == life.venue.requests, life.story()


@pytest.mark.parametrize(("venue", "name", "on", "skip"), [*_each_request()])
def test_each_request_goes_wrong(world, name, on, skip):
    life = world(**MANAGED)
    life.exchange.fault(**WRONG[name], on=on, skip=skip)
    holds(life.live(), naked_minutes=4, naked_requests=5)
