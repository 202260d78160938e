"""What brokers and functions of the quantity say or raise, whatever it is, can be saved and ends no run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from minute_clock import MinuteClock
from msgspec.structs import replace
from scenarios import ORIGIN, source

import bknb
from bknb.brokers.paper_broker import PaperBroker
from bknb.domain.broker_orders_and_ids import Order, Report
from bknb.domain.text import readable

MINUTE = 60_000
ROWS = [[ORIGIN + n * MINUTE, *[100.0] * 4, 5.0] for n in range(-60, 80)]


def brief(when: Any, price: float) -> dict[str, Any]:
    levels = {"price_take_profit": price * 1.15, "price_stop_loss": price * 0.85, "minute_estimated_time": 4}
    return {"position": "long", **levels}


def run(store: bknb.ports.StateStore, broker: Any, *, until: int = 30, start: int = 0, quantity: Any = 1.0) -> Any:
    if "brief" not in bknb.list_strategies():
        bknb.add_strategy("brief", interval="1m", get_signal=brief)
    task = bknb.Live.background(
        "BTCUSDT", strategy="brief", exchange=source(ROWS), clock=MinuteClock(ORIGIN + start * MINUTE),
        until=ORIGIN + until * MINUTE, store=store, broker=broker, quantity=quantity,
    )  # fmt: skip
    task.wait(30)
    return task


class Unwritable(PaperBroker):
    """Carries out every order, and raises a text that holds half a surrogate pair and a control character."""

    async def place(self, order: Order) -> Report:
        await super().place(order)
        raise ConnectionError("half \ud800, NUL \x00")


@pytest.mark.slow
def test_an_error_whose_text_cannot_be_written_is_saved_with_its_order(tmp_path: Path) -> None:
    broker = Unwritable()
    task = run(bknb.stores.files(tmp_path), broker)
    result = task.result(timeout=10)
    assert len(result.trades) >= 3
    assert broker.position("BTCUSDT") in (0.0, 1.0)
    assert {error.kind for error in result.errors} == {"broker"}
    assert "half \\ud800, NUL \\x00" in result.errors[0].message
    assert all(error.count == 1 for error in result.errors)
    result.report().encode()
    repr(result).encode()
    bknb.Live.dump("BTCUSDT", "brief", tmp_path)


class Names(PaperBroker):
    """Names its orders with numbers, and has nothing to say about them."""

    def named(self, report: Report | None) -> Report | None:
        return None if report is None else replace(report, broker_id=12345, note=None)

    async def place(self, order: Order) -> Any:
        return self.named(await super().place(order))

    async def report(self, client_id: str, symbol: str) -> Any:
        return self.named(await super().report(client_id, symbol))


def test_the_number_of_an_order_at_the_broker_is_saved_as_text(tmp_path: Path) -> None:
    broker = Names()
    store = bknb.stores.files(tmp_path)
    run(store, broker, until=12)
    again = run(store, broker, start=12, until=30)
    assert again.status == "fulfilled"
    assert not again.result(timeout=10).errors
    assert set(again.orders["broker_id"]) == {"12345"}


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr)
def test_a_function_of_the_quantity_ends_no_run_whatever_it_raises(error: BaseException) -> None:
    def quantity(signal: Any) -> float:
        raise error

    task = run(bknb.stores.memory(), bknb.brokers.paper(), quantity=quantity)
    result = task.result(timeout=10)
    assert len(result.trades) >= 3
    assert {error.kind for error in result.errors} == {"broker"}
    assert type(error).__name__ in result.errors[0].message


def test_a_reason_of_a_risk_rule_can_be_written() -> None:
    bknb.add_risk("strict", validations=[lambda request: "no \ud800"])
    result = bknb.backtest(
        "BTCUSDT", strategy=bknb.add_strategy("brief", interval="1m", get_signal=brief, risk="strict"),
        exchange=source(ROWS), frame=(ORIGIN, ORIGIN + 10 * MINUTE),
    )  # fmt: skip
    assert result.refused[0].note == "no \\ud800"
    result.report().encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain", "plain"), ("two\nlines\tof", "two\nlines\tof"), ("\ud800", "\\ud800"), ("\x1b[31m", "\\x1b[31m")],
)
def test_what_cannot_be_written_is_shown_escaped(text: str, shown: str) -> None:
    assert readable(text) == shown
