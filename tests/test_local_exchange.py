"""The local exchange in its process, asked by the real client of ccxt and killed beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from packages import need_packages

import bknb
from bknb.testing.exchange import LocalExchange

need_packages("ccxt")

WithClient: TypeAlias = Callable[..., Any]
SYMBOL = "BTC/USDT"
MINUTE = 1_700_000_100_000


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalExchange]:
    with LocalExchange(journal=tmp_path_factory.mktemp("exchange") / "journal.jsonl") as exchange:
        yield exchange


@pytest.fixture
def exchange(running: LocalExchange) -> LocalExchange:
    running.reset()
    running.price("BTCUSDT", 50_000)
    running.command("deposit", currency="BTC", amount="1")
    return running


@pytest.fixture(scope="module")
def with_client(running: LocalExchange) -> Iterator[WithClient]:
    """Run a coroutine that is given a client, one of each for all tests: it takes longer to make than most tests."""
    import ccxt.pro as ccxt

    clients: dict[str, Any] = {}

    def run(work: Callable[[Any], Awaitable[Any]], name: str = "binance") -> Any:
        async def with_it() -> Any:
            if name not in clients:
                clients[name] = getattr(ccxt, name)({**running.ccxt_config(name), "enableRateLimit": False})
                await clients[name].load_markets()
            return await work(clients[name])

        return runner.run(with_it())

    async def close() -> None:
        await asyncio.gather(*(client.close() for client in clients.values()))

    with asyncio.Runner() as runner:
        yield run
        runner.run(close())


def test_the_life_of_orders_through_the_client(exchange: LocalExchange, with_client: WithClient) -> None:
    exchange.command("clock", at=MINUTE - 60_000)

    async def life(client: Any) -> None:
        market = (await client.load_markets())[SYMBOL]
        assert (market["precision"]["price"], market["precision"]["amount"]) == (0.01, 0.00001)
        assert (market["limits"]["cost"]["min"], market["active"]) == (5.0, True)
        assert (await client.fetch_ticker(SYMBOL))["last"] == 50_000.0
        bought = await client.create_order(SYMBOL, "market", "buy", 0.01, None, {"clientOrderId": "bk1"})
        assert (bought["status"], bought["filled"], bought["average"]) == ("closed", 0.01, 50_000.0)
        assert bought["fees"] == [{"currency": "BTC", "cost": 0.00001}]
        resting = await client.create_order(SYMBOL, "limit", "buy", 0.01, 40_000, {"clientOrderId": "bk2"})
        assert (resting["status"], resting["remaining"]) == ("open", 0.01)
        stop = await client.create_order(
            SYMBOL, "market", "sell", 0.5, None, {"stopLossPrice": 45_000, "clientOrderId": "bk3"}
        )
        assert stop["id"]
        asked = await client.fetch_order(None, SYMBOL, {"clientOrderId": "bk3"})
        assert (asked["info"]["type"], asked["triggerPrice"], asked["status"]) == ("STOP_LOSS", 45_000.0, "open")
        assert {each["clientOrderId"] for each in await client.fetch_open_orders(SYMBOL)} == {"bk2", "bk3"}
        balance = await client.fetch_balance()
        assert (balance["BTC"]["free"], balance["BTC"]["used"]) == (0.50999, 0.5)
        moved = await client.private_post_order_cancelreplace(
            {
                "symbol": "BTCUSDT",
                "side": "SELL",
                "type": "STOP_LOSS",
                "quantity": "0.5",
                "stopPrice": "46000",
                "cancelReplaceMode": "STOP_ON_FAILURE",
                "cancelOrigClientOrderId": "bk3",
                "newClientOrderId": "bk4",
            }
        )
        assert moved["newOrderResult"] == "SUCCESS"
        cancelled = await client.cancel_order(None, SYMBOL, {"clientOrderId": "bk2"})
        assert cancelled["status"] == "canceled"
        exchange.candle("BTCUSDT", MINUTE, (50_000, 50_500, 45_500, 45_800))
        asked = await client.fetch_order(None, SYMBOL, {"clientOrderId": "bk4"})
        assert (asked["status"], asked["average"]) == ("closed", 46_000.0)
        fills = await client.fetch_my_trades(SYMBOL)
        assert [(fill["side"], fill["amount"], fill["price"]) for fill in fills] == [
            *(("buy", 0.01, 50_000.0), ("sell", 0.5, 46_000.0))
        ]
        (candle,) = await client.fetch_ohlcv(SYMBOL, "1m")
        assert candle[:5] == [MINUTE, 50_000.0, 50_500.0, 45_500.0, 45_800.0]

    with_client(life)


def test_a_pair_through_the_client(exchange: LocalExchange, with_client: WithClient) -> None:
    async def life(client: Any) -> None:
        told = await client.private_post_orderlist_oco(
            {
                "symbol": "BTCUSDT",
                "side": "SELL",
                "quantity": "0.5",
                "aboveType": "LIMIT_MAKER",
                "abovePrice": "55000",
                "aboveClientOrderId": "t",
                "belowType": "STOP_LOSS",
                "belowStopPrice": "45000",
                "belowClientOrderId": "s",
            }
        )
        assert told["listOrderStatus"] == "EXECUTING"
        exchange.price("BTCUSDT", 55_000)
        states = {each["clientOrderId"]: each["status"] for each in await client.fetch_orders(SYMBOL)}
        assert states == {"t": "closed", "s": "expired"}

    with_client(life)


def test_the_life_of_a_position_in_a_swap_through_the_client(exchange: LocalExchange, with_client: WithClient) -> None:
    symbol = "BTC/USDT:USDT"

    async def life(client: Any) -> None:
        market = client.market(symbol)
        assert (market["precision"]["price"], market["precision"]["amount"], market["contractSize"]) == (0.1, 0.001, 1)
        assert (await client.fetch_position_mode())["hedged"] is False
        await client.set_margin_mode("isolated", symbol)
        assert (await client.set_leverage(5, symbol))["leverage"] == 5
        assert (await client.fetch_leverage(symbol))["longLeverage"] == 5
        assert (await client.fetch_ticker(symbol))["last"] == 50_000.0
        opened = await client.create_order(symbol, "market", "buy", 0.1, None, {"clientOrderId": "bk1"})
        assert (opened["status"], opened["filled"], opened["average"]) == ("closed", 0.1, 50_000.0)
        how = {"stopLossPrice": 45_000, "reduceOnly": True, "clientOrderId": "bk2"}
        stop = await client.create_order(symbol, "market", "sell", 0.1, None, how)
        assert (stop["status"], stop["clientOrderId"], stop["reduceOnly"]) == ("open", "bk2", True)
        trigger = {"trigger": True}
        (resting,) = await client.fetch_open_orders(symbol, params=trigger)
        assert (resting["clientOrderId"], resting["triggerPrice"]) == ("bk2", 45_000.0)
        assert await client.fetch_open_orders(symbol) == []
        (held,) = await client.fetch_positions([symbol])
        assert (held["contracts"], held["side"], held["marginMode"]) == (0.1, "long", "isolated")
        assert (await client.fetch_balance())["USDT"]["used"] == 1000.0
        exchange.price("BTCUSDT", 44_900)
        asked = await client.fetch_order(None, symbol, {"clientOrderId": "bk2", **trigger})
        assert (asked["status"], asked["filled"], asked["info"]["algoStatus"]) == ("closed", 0.0, "FINISHED")
        child = await client.fetch_order(asked["info"]["actualOrderId"], symbol)
        assert (child["status"], child["average"]) == ("closed", 44_900.0)
        fills = await client.fetch_my_trades(symbol)
        assert [(fill["side"], fill["fee"]["currency"]) for fill in fills] == [("buy", "USDT"), ("sell", "USDT")]
        assert await client.fetch_positions([symbol]) == []

    with_client(life, "binanceusdm")


def test_the_life_of_a_position_at_okx_through_the_client(exchange: LocalExchange, with_client: WithClient) -> None:
    symbol = "BTC/USDT:USDT"

    async def life(client: Any) -> None:
        market = client.market(symbol)
        assert (market["precision"]["amount"], market["contractSize"]) == (0.01, 0.01)
        assert client.market(SYMBOL)["spot"]
        await client.set_leverage(5, symbol, {"mgnMode": "isolated"})
        assert (await client.fetch_ticker(symbol))["last"] == 50_000.0
        how = {"clientOrderId": "bk1", "marginMode": "isolated"}
        placed = await client.create_order(symbol, "market", "buy", 10, None, how)
        assert (placed["clientOrderId"], placed["status"]) == ("bk1", None)
        opened = await client.fetch_order(None, symbol, {"clientOrderId": "bk1"})
        assert (opened["status"], opened["filled"], opened["average"]) == ("closed", 10.0, 50_000.0)
        assert opened["fee"] == {"cost": 2.5, "currency": "USDT"}
        how = {"stopLossPrice": 45_000, "reduceOnly": True, "clientOrderId": "bk2", "algoClOrdId": "bk2"}
        await client.create_order(symbol, "market", "sell", 10, None, {**how, "marginMode": "isolated"})
        trigger = {"trigger": True}
        asked = await client.fetch_order(None, symbol, {"clientOrderId": "bk2", **trigger})
        assert (asked["status"], asked["stopLossPrice"], asked["amount"]) == ("open", 45_000.0, 10.0)
        (resting,) = await client.fetch_open_orders(symbol, params={**trigger, "ordType": "conditional"})
        assert resting["id"] == asked["id"]
        await client.private_post_trade_amend_algos(
            {"instId": "BTC-USDT-SWAP", "algoClOrdId": "bk2", "newSlTriggerPx": "46000"}
        )
        (held,) = await client.fetch_positions([symbol])
        assert (held["contracts"], held["side"], held["marginMode"]) == (10.0, "long", "isolated")
        exchange.price("BTCUSDT", 45_900)
        asked = await client.fetch_order(None, symbol, {"clientOrderId": "bk2", **trigger})
        child = await client.fetch_order(asked["info"]["ordId"], symbol)
        assert (child["status"], child["average"], child["filled"]) == ("closed", 45_900.0, 10.0)
        fills = await client.fetch_my_trades(symbol)
        assert sorted((fill["side"], fill["amount"]) for fill in fills) == [("buy", 10.0), ("sell", 10.0)]
        assert await client.fetch_positions([symbol]) == []
        balance = await client.fetch_balance()
        assert balance["USDT"]["total"] == pytest.approx(100_000 - 410 - 2.5 - 2.295)

    with_client(life, "okx")


STREAMS = [("binance", SYMBOL), ("binanceusdm", f"{SYMBOL}:USDT"), ("okx", SYMBOL)]


@pytest.mark.parametrize(("name", "symbol"), STREAMS)
def test_the_user_stream_tells_what_happens_to_an_order(
    exchange: LocalExchange, with_client: WithClient, name: str, symbol: str
) -> None:
    async def listen(client: Any) -> Any:
        first, placed = asyncio.create_task(client.watch_orders(symbol)), 0
        while not first.done():  # what comes before it has subscribed is not told
            await client.create_order(symbol, "limit", "buy", 0.01, 40_000, {"clientOrderId": f"bk{placed}"})
            placed += 1
            await asyncio.wait([first], timeout=0.2)
        heard = [order["status"] for order in first.result()]
        exchange.price("BTCUSDT", 39_000)
        while "closed" not in heard:
            heard += [order["status"] for order in await asyncio.wait_for(client.watch_orders(symbol), 10)]
        return heard

    assert with_client(listen, name)[0] == "open"


HEARD = [
    (None, ["a", "b", "c"]),
    ("event_lost", ["b", "c"]),
    ("event_twice", ["a", "a", "b", "c"]),
    ("events_reversed", ["b", "a", "c"]),
]


@pytest.mark.parametrize(("fault", "expected"), HEARD)
def test_messages_of_a_stream_are_lost_doubled_and_turned_round(
    exchange: LocalExchange, with_client: WithClient, fault: str | None, expected: list[str]
) -> None:
    import aiohttp

    async def listen(client: Any) -> list[str]:
        heard: list[str] = []
        address = client.urls["api"]["ws"]["ws-api"]["spot"]
        async with aiohttp.ClientSession() as session, session.ws_connect(address) as socket:
            how = {"id": "1", "method": "userDataStream.subscribe.signature"}
            await socket.send_json({**how, "params": {**client.sign_params({}), "signature": "wrong"}})
            assert (await socket.receive_json())["error"]["code"] == -1022
            await socket.send_json({**how, "params": client.sign_params({})})
            assert (await socket.receive_json())["status"] == 200
            if fault:
                exchange.fault(fault, on="event", client_id="a")
            for name in "abc":
                await client.create_order(SYMBOL, "limit", "buy", 0.01, 40_000, {"clientOrderId": name})
            while not heard or heard[-1] != "c":
                heard.append((await asyncio.wait_for(socket.receive_json(), 10))["event"]["c"])
            exchange.command("streams", end="expire")
            assert (await socket.receive_json())["event"]["e"] == "eventStreamTerminated"
            exchange.command("streams", end="drop")
            assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        return heard

    assert with_client(listen) == expected


WIRE = [
    ("reply_lost", {}, "NetworkError", True),
    ("request_lost", {}, "NetworkError", False),
    ("html_502", {}, "ExchangeNotAvailable", False),
    ("html_502", {"executed": True}, "ExchangeNotAvailable", True),
    ("cut_body", {}, "ExchangeError", True),
    ("reply_late", {"seconds": 0.3}, "RequestTimeout", True),
    ("request_late", {"seconds": 0.3}, "RequestTimeout", True),
]


@pytest.mark.parametrize(("name", "fields", "error", "executed"), WIRE)
def test_what_is_lost_on_the_wire_may_have_been_done(
    exchange: LocalExchange, with_client: WithClient, name: str, fields: dict[str, Any], error: str, *, executed: bool
) -> None:
    import ccxt.async_support as ccxt

    async def place(client: Any) -> Any:
        exchange.fault(name, on="place", **fields)
        client.timeout = 200
        with pytest.raises(ccxt.BaseError) as told:
            await client.create_order(SYMBOL, "limit", "buy", 0.01, 40_000, {"clientOrderId": "bk1"})
        client.timeout = 10_000
        if name == "request_late":
            assert await client.fetch_open_orders(SYMBOL) == []
            await asyncio.sleep(0.2)
        return told.value, [each["clientOrderId"] for each in await client.fetch_open_orders(SYMBOL)]

    raised, there = with_client(place)
    assert isinstance(raised, getattr(ccxt, error)), repr(raised)
    assert there == ["bk1"] * executed


@pytest.mark.parametrize(("name", "executed"), [("empty_data", True), ("html_200", False)])
def test_the_client_makes_an_order_of_nothing_where_the_answer_says_nothing(
    exchange: LocalExchange, with_client: WithClient, name: str, *, executed: bool
) -> None:
    async def place(client: Any) -> Any:
        exchange.fault(name, on="place")
        told = await client.create_order(SYMBOL, "limit", "buy", 0.01, 40_000, {"clientOrderId": "bk1"})
        return told, await client.fetch_open_orders(SYMBOL)

    told, there = with_client(place)
    assert (told["id"], told["status"]) == (None, None)
    assert len(there) == executed


def test_the_journal_tells_what_was_asked_and_done_without_keys(
    exchange: LocalExchange, with_client: WithClient
) -> None:
    begin = len(exchange.lines())

    async def place(client: Any) -> None:
        await client.create_order(SYMBOL, "market", "buy", 0.01, None, {"clientOrderId": "bk1"})

    with_client(place)
    lines = exchange.lines()[begin:]
    assert [line["event"] for line in lines if line.get("operation") != "rules"] == [
        *("request", "order", "fill", "answer")
    ]
    text = Path(str(exchange.journal)).read_text(encoding="utf-8")
    config = exchange.ccxt_config()
    assert config["apiKey"] not in text
    assert config["secret"] not in text
    assert "signature" not in text


@pytest.mark.slow
def test_it_lives_on_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    code = "import os, sys; from bknb.testing.exchange import LocalExchange; x = LocalExchange().__enter__(); "
    code += "print(x.pid, x.url.rpartition(':')[2], flush=True); os.kill(os.getpid(), 9)"
    starter = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert starter.returncode == -signal.SIGKILL
    pid, port = map(int, starter.stdout.split())
    try:
        with LocalExchange(port=port) as exchange:
            exchange.price("BTCUSDT", 1)
            assert exchange.state()["spot"]["prices"] == {"BTCUSDT": "1"}
    finally:
        os.kill(pid, signal.SIGKILL)


def test_candles_of_a_run_come_from_the_same_exchange(exchange: LocalExchange) -> None:
    for k in range(5):
        exchange.candle("BTCUSDT", MINUTE + k * 60_000, (100 + k, 102 + k, 99 + k, 101 + k), volume=2)
    source = bknb.exchanges.ccxt("binance", cache=None, config=exchange.ccxt_config())
    candles = asyncio.run(source.get_candles("BTCUSDT", "1m", MINUTE, 5))
    assert candles.close.tolist() == [101.0, 102.0, 103.0, 104.0, 105.0]


def test_a_command_that_is_none_is_refused_with_those_there_are(exchange: LocalExchange) -> None:
    with pytest.raises(ValueError, match=r"no command 'prize'; there are .*price"):
        exchange.command("prize")
    with pytest.raises(ValueError, match=r"no fault 'reply_lose'.*\nreply_lost\?"):
        exchange.fault("reply_lose")
    with pytest.raises(ValueError, match="nobody trades 'NOUSDT'"):
        exchange.price("NOUSDT", 1)
    with pytest.raises(ValueError, match=r"no reason 'tired' to refuse; there are .*timeout"):
        exchange.fault("refuse", reason="tired")
    with pytest.raises(ValueError, match="a fault has no when"):
        exchange.fault("reply_lost", when=1)
