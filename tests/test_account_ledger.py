"""One account, one ledger: what was there is never sold, what came by hand is told, shares of strategies stay apart."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import msgspec
import pytest
from account_life import AccountLife
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from order_events import MINUTE, closed, managed, opened, part, scheduled

import bknb
from bknb.brokers import Abilities, Order
from bknb.brokers.exchange_keys import account_name
from bknb.domain.account_ledger import AccountLedger, changes_of, own_purpose, shares_taken
from bknb.domain.broker_orders_and_ids import client_id
from bknb.errors import StateError
from bknb.live.account_with_new_key import read_ledger
from bknb.live.saved_orders import SavedOrders
from bknb.stores import MemoryStore

pytest.importorskip("ccxt")
pytest_plugins = ["exchange_fixtures"]


def coins(exchange):
    held = exchange.state()["spot"]["balances"].get("BTC", {})
    return float(held.get("free", 0)) + float(held.get("locked", 0))


def test_what_was_there_before_the_first_order_is_noted_once_and_never_sold(exchange, broker):
    exchange.command("deposit", currency="BTC", amount="2")
    life = AccountLife(broker)

    async def play():
        await life.start()
        assert life.ledger.baseline == {"BTC": 2.0, "USDT": 100_000.0}
        await life.tell(opened())
        await life.minutes()
        await life.kill()
        await life.start(states={"sma": managed()})
        assert life.ledger.baseline == {"BTC": 2.0, "USDT": 100_000.0}
        await life.tell(closed(price_close=100.0))
        await life.minutes()
        return life.ledger.manual, life.texts()

    manual, told = life.live(play)
    assert (manual, told) == ({}, [])
    assert 2.0 <= coins(exchange) < 2.0 + 1e-5


@pytest.mark.parametrize("baseline", ["0", "3"])
def test_what_is_sold_by_hand_is_taken_from_the_position_told_and_not_sold_again(exchange, broker, baseline):
    exchange.command("deposit", currency="BTC", amount=baseline)
    life = AccountLife(broker)

    async def play():
        await life.start()
        await life.tell(opened())
        exchange.command("cancel", client_id=(await broker.open_orders("BTCUSDT"))[0].client_id)
        exchange.command("trade", symbol="BTCUSDT", side="sell", quantity="0.4")
        await life.minutes(3)
        assert life.ledger.manual["BTC"] == pytest.approx(-0.4)
        assert "were sold by hand at 100; the record has them open" in life.desks["sma"].disagreement
        assert life.position() == pytest.approx(0.999 - 0.4)
        assert len(await broker.open_orders("BTCUSDT")) == 1  # for what is left
        await life.tell(closed(price_close=100.0))
        await life.minutes()
        assert await broker.open_orders("BTCUSDT") == []

    life.live(play)
    assert coins(exchange) == pytest.approx(float(baseline), abs=1e-5)
    assert coins(exchange) >= float(baseline)
    assert [text.partition(";")[0] for text in life.texts()] == ["0.4 BTCUSDT of 'a' were sold by hand at 100"]


@pytest.mark.parametrize("baseline", ["0", "3"])
def test_what_left_the_account_just_before_a_close_is_not_sold_from_what_was_there(exchange, broker, baseline):
    exchange.command("deposit", currency="BTC", amount=baseline)
    life = AccountLife(broker)

    async def play():
        await life.start()
        await life.tell(opened())
        exchange.command("cancel", client_id=(await broker.open_orders("BTCUSDT"))[0].client_id)
        exchange.command("deposit", currency="BTC", amount="-0.6")
        await life.tell(closed(price_close=100.0))
        await life.minutes()
        assert life.desks["sma"].closed_there(("a", MINUTE), before=2**62) is None  # nobody knows a price
        return life.ledger.manual["BTC"]

    assert life.live(play) == pytest.approx(-0.6)
    assert coins(exchange) == pytest.approx(float(baseline), abs=1e-5)
    assert coins(exchange) >= float(baseline)


def test_what_left_the_account_while_its_stop_rests_is_not_sold_from_what_was_there(exchange, broker):
    """The sale would take the place of the stop, by one request."""
    exchange.command("deposit", currency="BTC", amount="3")
    life = AccountLife(broker)

    async def play():
        await life.start()
        await life.tell(opened())
        exchange.command("deposit", currency="BTC", amount="-0.6")
        await life.tell(closed(price_close=100.0))
        await life.minutes()
        return life.ledger.manual["BTC"]

    assert life.live(play) == pytest.approx(-0.6)
    assert coins(exchange) == pytest.approx(3.0, abs=1e-5)
    assert coins(exchange) >= 3.0


def test_what_comes_into_the_account_is_told_and_is_not_sold(exchange, broker):
    life = AccountLife(broker)

    async def play():
        await life.start()
        await life.tell(opened())
        exchange.command("deposit", currency="BTC", amount="0.5")
        exchange.command("deposit", currency="USDT", amount="-250")
        await life.minutes()
        assert life.ledger.manual == pytest.approx({"BTC": 0.5, "USDT": -250.0})
        await life.tell(closed(price_close=100.0))
        await life.minutes()
        assert life.desks["sma"].disagreement == ""

    life.live(play)
    assert coins(exchange) == pytest.approx(0.5, abs=1e-5)
    (told,) = life.texts()
    assert [text.partition(":")[0] for text in told.split("; ")] == [
        "0.5 BTC came into the account by hand",
        "250 USDT left the account by hand",
    ]


def test_a_store_that_does_not_know_orders_at_the_exchange_refuses_to_start_until_they_are_adopted(exchange, broker):
    first, second = AccountLife(broker), AccountLife(broker, store=MemoryStore())

    async def one():
        await first.start()
        await first.tell(opened())
        return (await broker.open_orders("BTCUSDT"))[0].client_id

    stop = first.live(one)

    async def other():
        with pytest.raises(StateError, match=rf"does not know: {stop} works.*\n.*\n.*adopt=True"):
            await second.start()
        second.desks.clear()
        await second.start(adopt=True)
        assert [each.client_id for each in await broker.open_orders("BTCUSDT")] == [stop]  # it protects what is there
        assert second.ledger.baseline["BTC"] == pytest.approx(0.999)
        await second.tell(opened("b", at=3))
        await second.tell(closed("b", at=3, price_close=100.0))
        await second.kill()
        await second.start()  # once is enough
        await second.minutes()
        exchange.price("BTCUSDT", 89.0)
        second.price = 89.0
        await second.minutes(3)
        assert (second.ledger.manual, second.ledger.baseline.get("BTC", 0.0)) == ({}, pytest.approx(0.0, abs=1e-5))
        assert second.desks["sma"].disagreement == ""

    second.live(other)
    assert second.texts()[0].startswith(f"the order {stop} on BTCUSDT was taken over, and stays at binance spot")


def test_a_process_that_begins_beside_another_one_is_noticed_by_its_first_fill(exchange, broker):
    first, second = AccountLife(broker), AccountLife(broker, store=MemoryStore())

    async def play():
        with first.store, second.store:
            await first.start()
            await second.start()
            await second.tell(opened())
            await first.minutes(3)
            assert "orders of bknb on BTCUSDT that this store does not know" in first.desks["sma"].disagreement
            assert first.ledger.manual.get("BTC", 0.0) == 0.0
            await second.kill()
            await first.kill()

    asyncio.run(play())


def test_shares_of_several_strategies_stay_apart_and_a_loss_by_hand_is_shared(exchange, broker):
    exchange.command("deposit", currency="BTC", amount="1")
    life = AccountLife(broker)

    async def play():
        await life.start("sma", "two")
        await life.tell(opened())
        await life.tell(opened("b"), strategy="two")
        assert [life.position(name) for name in ("sma", "two")] == pytest.approx([0.999, 0.999])
        await life.tell(closed(price_close=100.0))
        assert [life.position(name) for name in ("sma", "two")] == pytest.approx([0.0, 0.999])
        assert coins(exchange) == pytest.approx(1.999)
        await life.tell(opened("c", at=4))
        exchange.command("deposit", currency="BTC", amount="-0.5")
        await life.minutes(3)
        assert [life.position(name) for name in ("sma", "two")] == pytest.approx([0.749, 0.749])
        await life.tell(closed("c", at=4, price_close=100.0))
        await life.tell(closed("b", price_close=100.0), strategy="two")
        await life.minutes()
        assert await broker.open_orders("BTCUSDT") == []

    life.live(play)
    assert coins(exchange) == pytest.approx(1.0, abs=3e-5)
    assert coins(exchange) >= 1.0


def test_a_part_is_a_share_of_what_was_left_in_the_account_by_hand(exchange, broker):
    exchange.command("deposit", currency="BTC", amount="1")
    life = AccountLife(broker)

    async def play():
        await life.start()
        await life.tell(opened())
        exchange.command("deposit", currency="BTC", amount="-0.4")
        await life.minutes(3)
        await life.become(managed(part()))
        assert life.position() == pytest.approx(0.599 / 2, abs=1e-5)

    life.live(play)
    assert coins(exchange) >= 1.0


def swap(**more):
    now = {"price": 100.0}
    return bknb.brokers.paper(market="swap", price_of=lambda _symbol: now["price"], **more)


def test_opposite_sides_of_one_swap_are_refused_until_the_first_is_over():
    life = AccountLife(swap())

    async def play():
        await life.start("sma", "two")
        await life.tell(opened())
        await life.tell(opened("b", position="short"), strategy="two")
        assert [life.position(name) for name in ("sma", "two")] == [1.0, 0.0]
        assert "'sma' is long there ('a'), and both would be one position" in life.desks["two"].orders[0].note
        await life.tell(opened("c", at=3), strategy="two")
        await life.tell(closed(price_close=100.0))
        assert [life.position(name) for name in ("sma", "two")] == [0.0, 1.0]
        await life.tell(closed("c", at=3, price_close=100.0), strategy="two")
        await life.tell(opened("d", at=5, position="short"))
        assert life.position() == -1.0
        await life.minutes(3)
        assert life.ledger.manual == {}

    life.live(play)
    assert life.texts() == []


def test_entries_of_one_strategy_that_wait_on_both_sides_of_a_swap_both_rest():
    life = AccountLife(swap())

    async def play():
        await life.start("sma", "two")
        await life.tell(scheduled(price=95.0), scheduled("b", price=105.0, position="short"))
        assert [order.status for order in life.desks["sma"].orders] == ["accepted", "accepted"]
        await life.tell(scheduled("c", price=105.0, position="short"), strategy="two")
        assert "'sma' is long there" in life.desks["two"].orders[0].note

    life.live(play)


def test_symbols_of_joined_exchanges_are_counted_in_their_own_currencies():
    entry = replace(web(), symbol="spot:BTCUSDT", filled_quantity=0.5, average_price=100.0)
    assert changes_of([entry], nets=False) == {"BTC": 0.5, "USDT": -50.0}


@pytest.mark.parametrize(("side", "by_hand", "held"), [("long", "sell", 0.7), ("short", "buy", -0.7)])
def test_what_is_closed_by_hand_of_a_swap_is_taken_from_the_position(side, by_hand, held):
    broker = swap()
    life = AccountLife(broker)

    async def play():
        await life.start()
        await life.tell(opened(position=side))
        (entry,) = [each for each in life.desks["sma"].orders if each.purpose == "open"]
        await broker.place(replace(entry, client_id="web1", side=by_hand, quantity=0.3))
        await life.minutes(3)
        assert life.position() == pytest.approx(held)
        assert life.ledger.manual == pytest.approx({"BTCUSDT": held - (1.0 if held > 0 else -1.0)})
        await life.tell(closed(position=side, price_close=100.0))
        await life.minutes(3)
        return broker.position("BTCUSDT")

    assert life.live(play) == pytest.approx(0.0)


def test_a_position_that_was_there_is_not_made_smaller_by_an_entry():
    broker = swap()
    life = AccountLife(broker)

    async def play():
        await broker.place(web(side="sell", quantity=2.0))
        await life.start()
        assert life.ledger.baseline == {"BTCUSDT": -2.0}
        await life.tell(opened())
        assert "a position of -2 was there before" in life.desks["sma"].orders[0].note
        return broker.position("BTCUSDT")

    assert life.live(play) == -2.0


def web(**more):
    known = Order(
        client_id="web1", signal_id="w", decided_at=0, symbol="BTCUSDT", strategy="", exchange="", purpose="open",
        side="buy", kind="market", quantity=1.0, price=None, record_price=100.0, created_at=0,
    )  # fmt: skip
    return replace(known, **more)


def test_orders_of_one_account_are_not_gone_on_with_at_another():
    store = MemoryStore()
    life, other = AccountLife(swap(), store=store), AccountLife(bknb.brokers.paper(market="spot"), store=store)

    async def play():
        await life.start()
        await life.tell(opened())
        await life.kill()
        with pytest.raises(StateError, match="are of the account paper swap, and this run trades with paper spot"):
            await other.start()
        other.desks.clear()

    life.live(play)


def test_an_account_with_a_new_key_goes_on_once_it_is_said_to_be_that_account(exchange, broker, monkeypatch):
    """All strategies go on under the new name, with the baseline of before; the position is closed, and no more."""
    exchange.command("deposit", currency="BTC", amount="2")
    life = AccountLife(broker)

    async def play():
        await life.start("sma", "rsi")
        await life.tell(opened("s"), strategy="sma")
        await life.tell(opened("r"), strategy="rsi")
        await life.kill()
        exchange.command("key", key="another-key")
        monkeypatch.setenv("BKNB_BINANCE_SANDBOX_KEY", "another-key")
        config = {**exchange.ccxt_config(), "enableRateLimit": False}
        config.pop("apiKey")
        config.pop("secret")
        life.broker = bknb.brokers.ccxt("binance", config=config)
        life.ledger = life._ledger()
        with pytest.raises(StateError, match="where it is that account with a new key, start once with adopt=True"):
            await life.start("sma")
        life.desks.clear()
        await life.start("sma", adopt=True)
        assert life.ledger.baseline == {"BTC": 2.0, "USDT": 100_000.0}
        await life.start("rsi")  # the account is known by now
        await life.tell(closed("s"), strategy="sma")
        await life.tell(closed("r"), strategy="rsi")
        await life.minutes(3)
        return life.ledger.manual, life.texts("manual")

    try:
        assert life.live(play) == ({}, [])
    finally:
        exchange.command("key", key="local-key")
    assert coins(exchange) == pytest.approx(2.0, abs=1e-9)


def test_an_account_that_has_a_ledger_of_its_own_adopts_no_other():
    with MemoryStore() as store:
        saved = SavedOrders(store, "sma", "BTCUSDT", on_problem=lambda *_: None, account="binance-spot-real-a")
        saved.put(web(status="sent"))
        for name in ("binance-spot-real-a", "binance-spot-real-b"):
            store.write("account", (name,), msgspec.json.encode(AccountLedger(since=1, baseline={name: 1.0})))
        other = SavedOrders(store, "sma", "BTCUSDT", on_problem=lambda *_: None, account="binance-spot-real-b")
        with pytest.raises(StateError, match="has a ledger of its own there, which adopt=True would replace"):
            other.load(adopt=True)
        assert read_ledger(store, "binance-spot-real-b") == AccountLedger(
            since=1, baseline={"binance-spot-real-b": 1.0}
        )
        store.delete("account", ("binance-spot-real-b",))
        other.load(adopt=True)
        assert read_ledger(store, "binance-spot-real-b").baseline == {"binance-spot-real-a": 1.0}
        assert [order.client_id for order in other.orders] == ["web1"]


def test_whoever_only_looks_at_what_is_saved_sees_orders_of_any_account(exchange, broker):
    life = AccountLife(broker)

    async def play():
        await life.start()
        await life.tell(opened())
        await life.kill()

    life.live(play)
    with life.store as store:
        looking = SavedOrders(store, "sma", "BTCUSDT", on_problem=lambda *_: None)
        looking.look()
        assert looking.orders[0].purpose == "open"
        assert looking.traded[0].filled == 1.0
        with pytest.raises(StateError, match="and this run trades with another broker"):
            SavedOrders(store, "sma", "BTCUSDT", on_problem=lambda *_: None).load()


def test_what_orders_that_are_forgotten_have_changed_is_kept_with_the_others(exchange, broker):
    life = AccountLife(broker, quantity=0.123)

    async def play():
        await life.start()
        for number in range(8):
            await life.tell(opened(f"s{number}", at=number + 2))
            await life.tell(closed(f"s{number}", at=number + 2, price_close=100.0))
        await life.minutes()
        assert len({order.signal_id for order in life.desks["sma"].orders}) < 8
        await life.kill()
        await life.start()
        await life.minutes(3)
        return life.ledger.manual, life.texts("broker")

    manual, told = life.live(play)
    assert manual == {}
    assert [text for text in told if "dust" not in text] == []


def test_an_account_that_does_not_answer_opens_nothing_and_is_told_once(exchange, broker):
    exchange.fault("html_502", on="balance", times=3)
    life = AccountLife(broker)

    async def play():
        await life.start()
        assert "did not say what its account has" in life.desks["sma"].disagreement
        await life.tell(opened())
        assert life.position() == 0.0
        await life.minutes(3)
        assert life.desks["sma"].disagreement == ""

    life.live(play)
    assert sum(text.startswith("binance spot sandbox did not say") for text in life.texts("broker")) == 1


@given(missing=st.floats(0.001, 5.0), positions=st.lists(st.floats(0.01, 2.0), min_size=1, max_size=5))
def test_what_is_missing_is_taken_from_all_positions_and_never_more_than_they_hold(missing, positions):
    parts = shares_taken(missing, positions)
    assert sum(parts) == pytest.approx(min(missing, sum(positions)), abs=1e-9)
    assert all(0.0 <= part <= position * (1 + 1e-9) for part, position in zip(parts, positions, strict=True))


@pytest.mark.parametrize("purpose", ["open", "add", "reduce", "close", "protect"])
def test_ids_of_bknb_say_what_an_order_is_for_and_others_say_nothing(purpose):
    made = client_id("Größer 2-fast", "BTC/USDT:USDT", ("a", 7), purpose, 3, 2)
    assert own_purpose(made) == purpose
    assert [own_purpose(name) for name in ("", "web_1", "bkx", made + "x", made.upper())] == [None] * 5


def test_an_account_is_known_by_a_name_that_tells_nothing_of_its_key(broker):
    account = broker.abilities().account
    assert account.startswith("binance-spot-sandbox-")
    assert account != account_name("binance", "spot", "another", real_money=False)
    assert account_name("binance", "spot", "k", real_money=True) != account_name(
        "binance", "spot", "k", real_money=False
    )
    assert broker._client._client.apiKey not in account


def test_a_stop_that_has_filled_at_a_swap_unseen_is_not_sold_again_from_the_position_of_another_strategy():
    """The record closes in the minute in which the stop has filled: a reduce-only order would sell the other's."""
    broker = swap(abilities=Abilities(stop="market", move="both", watch="both"))
    life = AccountLife(broker)

    async def play():
        await life.start("sma", "two")
        await life.tell(opened())
        await life.tell(opened("b"), strategy="two")
        stop = next(each for each in life.desks["sma"].orders if each.purpose == "protect")
        assert stop.status == "accepted"
        broker.fill(stop.client_id, price=90.0)
        await life.tell(closed(price_close=90.0))
        assert [life.position(name) for name in ("sma", "two")] == [0.0, 1.0]
        await life.minutes(3)
        assert life.ledger.manual == {}
        return broker.position("BTCUSDT")

    assert life.live(play) == 1.0


def test_a_stop_holds_no_more_than_what_is_left_where_its_coins_were_taken_by_hand(exchange, broker):
    exchange.command("deposit", currency="BTC", amount="3")
    life = AccountLife(broker)

    async def play():
        await life.start()
        await life.tell(opened())
        exchange.command("deposit", currency="BTC", amount="-0.6")
        await life.minutes(3)
        (stop,) = (each for each in life.desks["sma"].orders if each.working)
        assert stop.quantity == pytest.approx(0.399)
        exchange.price("BTCUSDT", 89.0)
        life.price = 89.0
        await life.minutes()

    life.live(play)
    assert coins(exchange) == pytest.approx(3.0, abs=1e-5)
    assert coins(exchange) >= 3.0


def test_what_another_order_of_yours_holds_is_sold_when_it_is_free(exchange, broker):
    life = AccountLife(broker)

    async def play():
        await life.start()
        await life.tell(opened())
        exchange.command("cancel", client_id=(await broker.open_orders("BTCUSDT"))[0].client_id)
        exchange.command("trade", symbol="BTCUSDT", side="sell", quantity="0.7", price="105")
        await life.tell(closed(price_close=100.0), settles=False)
        await life.until(lambda: "and 0 are there" in life.desks["sma"].orders[-1].note)
        assert life.position() == pytest.approx(0.7, abs=1e-4)
        exchange.command("cancel", client_id=(await broker.open_orders("BTCUSDT"))[0].client_id)
        await life.minutes(3)
        assert life.position() == pytest.approx(0.0, abs=1e-5)
        assert life.ledger.manual == {}

    life.live(play)
    assert coins(exchange) < 1e-5


def test_a_folder_from_an_old_backup_refuses_to_start_and_when_adopted_sells_nothing_that_is_gone(exchange, broker):
    exchange.command("deposit", currency="BTC", amount="3")
    life = AccountLife(broker)

    async def play():
        await life.start()
        await life.tell(opened())
        backup = dict(life.store.sealed)
        await life.tell(closed(price_close=100.0))
        await life.tell(opened("b", at=3))
        await life.tell(closed("b", at=3, price_close=100.0))
        await life.kill()
        life.store.sealed = backup
        with pytest.raises(StateError, match=r"that this store does not know: .* has sold 0\.999"):
            await life.start(states={"sma": managed()})
        await life.kill()
        await life.start(states={"sma": managed()}, adopt=True)
        await life.minutes(3)
        assert life.position() == pytest.approx(0.0, abs=1e-5)
        await life.tell(closed(price_close=100.0))
        await life.minutes()
        assert life.ledger.manual.get("BTC", 0.0) == pytest.approx(-0.999, abs=1e-3)
        assert await broker.open_orders("BTCUSDT") == []

    life.live(play)
    assert coins(exchange) == pytest.approx(3.0, abs=1e-4)
    assert coins(exchange) >= 3.0


def test_no_request_that_an_exchange_is_ever_sent_cancels_all_orders_after_a_time_or_at_once(exchange, broker):
    """A timer that cancels everything takes the stops, too."""
    sources = [path.read_text() for path in (Path(bknb.__file__).parent / "brokers").rglob("*.py")]
    forbidden = "countdown|cancelallafter|cancel_all|cancelall|allopenorders|cancel-all|batchorders.*delete"
    calls = [line for text in sources for line in text.splitlines() if re.search(forbidden, line.lower())]
    assert calls == []
    life = AccountLife(broker)

    async def play():
        await life.start()
        await life.tell(opened())
        await life.tell(closed(price_close=100.0))

    life.live(play)
    paths = [line["path"] for line in exchange.lines() if line["event"] == "request"]
    assert paths
    assert not [path for path in paths if re.search(forbidden, path.lower())]
