"""A fill rounded to the market's step is believed; while account and record may differ, nothing is opened."""

from __future__ import annotations

import asyncio
import math
import threading
from decimal import Decimal
from typing import Any

import pytest
from desk_life import ENTRY, Exchange, Life, closing, lives
from hypothesis import given
from hypothesis import strategies as st
from minute_clock import MinuteClock
from msgspec.structs import replace
from order_events import MINUTE, cancelled, candle, closed, holding, leaving, opened, resting, scheduled
from scenarios import ORIGIN, source
from test_broker_words import ROWS, brief

import bknb
from bknb.brokers.paper_broker import PaperBroker, Trouble
from bknb.domain.broker_orders_and_ids import MAX_CLOSES, Order, Report, own_prefix
from bknb.domain.quantity_step_and_least_amount import is_rounded
from bknb.events.listen import drain


@given(st.integers(1, 10**9), st.integers(0, 6), st.integers(0, 6), st.sampled_from([math.floor, round]))
def test_what_a_market_makes_of_a_quantity_is_that_quantity(whole: int, decimals: int, fewer: int, to: Any) -> None:
    asked = whole / 10**decimals
    step = 10 ** max(decimals - fewer, 0)
    rounded = to(asked * step) / step
    if rounded.is_integer():  # a whole number shows no step
        assert is_rounded(rounded, asked) == (abs(rounded - asked) <= asked * 0.01)
    else:
        assert is_rounded(rounded, asked)


@pytest.mark.parametrize("part", [0.0, 0.4, 0.5, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("asked", [1.0, 2.0, 0.37, 12.345])
def test_another_quantity_is_not(part: float, asked: float) -> None:
    if asked * part >= 0.1:
        assert not is_rounded(round(asked * part, 6), asked)


class Stepped(Exchange):
    """An exchange that rounds what it is asked to trade down to its step."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self.step = step

    async def place(self, order: Order) -> Report:
        steps = math.floor(order.quantity / self.step + 1e-9)
        if steps == 0:
            raise bknb.BrokerError("below the smallest quantity", refused=True)
        return await super().place(replace(order, quantity=round(steps * self.step, 9)))


@pytest.mark.parametrize(
    ("step", "quantity", "filled"),
    [(0.001, 2.0014, 2.001), (0.001, 0.0014, 0.001), (1.0, 700.9, 700.0), (0.25, 90.1, 90)],
)
@pytest.mark.parametrize("position", ["long", "short"])
def test_a_fill_rounded_to_the_step_is_believed(step: float, quantity: float, filled: float, position: str) -> None:
    life = Life(broker=Stepped(step), quantity=quantity)

    async def play() -> None:
        await life.receive(opened(position=position))
        assert abs(life.desk.position()) == filled
        assert life.desk.disagreement == ""
        await life.receive(closed(position=position))

    life.live(play)
    assert life.statuses == {ENTRY: "filled", closing(): "filled"}
    assert life.broker.position("BTCUSDT") == life.desk.position() == 0.0
    assert (life.told, life.desk.disagreement) == ([], "")


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (0.9995, "0.0009995 BTCUSDT of 'a' are left open, for its closing order was filled by less than it ordered: "),
        (0.991, "0.017838 BTCUSDT of 'a' are left open, for its closing order was filled by less than it ordered: "),
    ],
)
def test_what_rounding_leaves_is_told_and_not_closed_over_and_over(part: float, text: str) -> None:
    """Reports rounded twice: a closing order for what was filled is filled by a little less."""

    class Rounds(Exchange):
        async def report(self, client_id: str, symbol: str) -> Report | None:
            found = await super().report(client_id, symbol)
            return None if found is None else replace(found, filled_quantity=found.filled_quantity * part)

        async def place(self, order: Order) -> Report:
            found = await super().place(order)
            return replace(found, filled_quantity=found.filled_quantity * part)

    life = Life(broker=Rounds())

    async def play() -> None:
        await life.receive(opened())
        await life.become(leaving(ends=9))
        await life.receive(closed(price_close=109.0))  # the price of the record comes when the order was filled
        await life.restart(undelivered=[closed(price_close=109.5)])

    life.live(play)
    assert life.received == {ENTRY: 1, closing(): 1}
    ((kind, told),) = life.told  # once, also after a restart
    assert (kind, told[: len(text)]) == ("broker", text)
    assert told.endswith("by hand")
    assert life.desk.position() == pytest.approx(2 * part * (1 - part))
    assert life.desk.disagreement == ""


class Unanswered:
    """A broker that does not answer so many questions about orders."""

    silent = 0

    async def report(self, client_id: str, symbol: str) -> Report | None:
        self.silent -= 1
        if self.silent >= 0:
            raise ConnectionError("no route")
        found: Report | None = await super().report(client_id, symbol)  # type: ignore[misc] -- of the broker beside it
        return found


class Silent(Unanswered, Exchange): ...


class SilentPaper(Unanswered, PaperBroker): ...


FOR_EVER = 10**9


async def pauses(life: Life, count: int) -> None:
    """Until the desk has made so many pauses."""
    for _ in range(10_000):
        if len(life.slept) >= count:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"{len(life.slept)} pauses")


class Lying(Exchange):
    """Says something else than what is, as long as it is told to; the rest is as it should be."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer: Any = answer

    def lie(self, report: Any) -> Any:
        return report if self.answer is None else self.answer(report)

    async def place(self, order: Order) -> Any:
        return self.lie(await super().place(order))

    async def report(self, client_id: str, symbol: str) -> Any:
        return self.lie(await super().report(client_id, symbol))


LIES: dict[str, Any] = {
    "twice as much": (lambda report: replace(report, filled_quantity=4.0), "4.0 of 2 are filled"),
    "no number": (lambda report: replace(report, filled_quantity=math.nan), "its filled quantity is nan"),
    "a text": (lambda report: replace(report, filled_quantity="2"), "its filled quantity is '2' (str)"),
    "an int that no float holds": (lambda report: replace(report, filled_quantity=10**400), "an int of 1329 bits"),
    "a Decimal": (lambda report: replace(report, filled_quantity=Decimal(2)), "Decimal('2') (Decimal)"),
    "less than nothing": (lambda report: replace(report, filled_quantity=-1.0), "-1.0 of 2 are filled"),
    "filled by nothing": (lambda report: replace(report, filled_quantity=0.0), "it is filled, by 0 of 2"),
    "filled by half": (lambda report: replace(report, filled_quantity=1.0), "it is filled, by 1 of 2"),
    "no price": (lambda report: replace(report, average_price=None), "2 of 2 are filled, and it has no average price"),
    "a price that is none": (lambda report: replace(report, average_price=math.nan), "its average price is nan"),
    "a price below nothing": (lambda report: replace(report, average_price=-1.0), "its average price is -1.0"),
    "a price no market has": (lambda report: replace(report, average_price=1e30), "its average price is 1e+30"),
    "half the price": (lambda report: replace(report, average_price=50.0), "its average price is 50.0"),
    "twice the price": (lambda report: replace(report, average_price=201.0), "its average price is 201.0"),
    "another order": (lambda report: replace(report, client_id="zzz"), "it is about 'zzz'"),
    "another status": (lambda report: replace(report, status="closed"), "no order has the status 'closed'"),
    "a mapping": (lambda report: {"status": "filled"}, "a Report was expected, not {'status': 'filled'}"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_report_that_cannot_be_right_stops_entries_until_one_can(name: str) -> None:
    lie, problem = LIES[name]
    life = Life(broker=Lying(lie))

    async def play() -> None:
        life.desk.follow(opened())
        await pauses(life, 6)
        assert problem in life.desk.disagreement
        assert len(life.told) == 1  # once, however often it is asked
        (_, text), held = life.told[0], life.desk.position()
        assert held == 0.0  # a number that cannot be right is not believed
        assert problem in text
        assert text.endswith(
            "Nothing new is opened. Put it right at paper, then stop this run, delete order/sma/BTCUSDT from its "
            "state, store.delete('order', ('sma', 'BTCUSDT')), and start it again"
        )
        life.broker.answer = None
        assert await life.desk.settle(20.0)
        assert life.desk.disagreement == ""
        await life.receive(closed())

    life.live(play)
    assert life.statuses == {ENTRY: "filled", closing(): "filled"}
    assert life.broker.position("BTCUSDT") == 0.0


@pytest.mark.parametrize(("quantity", "whole"), [(1.95, 1.0), (7.9, 7.0), (1.6, 2.0)])
def test_a_whole_number_is_no_step_unless_it_is_near(quantity: float, whole: float) -> None:
    life = Life(broker=Lying(lambda report: replace(report, filled_quantity=whole)), quantity=quantity)

    async def play() -> None:
        life.desk.follow(opened())
        await pauses(life, 2)

    life.live(play)
    ((_, text),) = life.told
    expected = f"{whole} of {quantity} are filled" if whole > quantity else f"it is filled, by {whole:g} of {quantity}"
    assert expected in text
    assert expected in life.desk.disagreement
    assert ("give a whole quantity" in text) == (whole < quantity)
    assert life.desk.position() == 0.0


def test_a_price_is_believed_once_a_candle_shows_that_the_market_was_there() -> None:
    life = Life(broker=Lying(lambda report: replace(report, average_price=45.0)))

    async def play() -> None:
        life.desk.follow(opened())
        await pauses(life, 2)
        far = "its average price is 45.0, more than 1.5 times below every price of the market since it was ordered"
        assert f"{far}; the record has 100" in life.desk.disagreement
        life.desk.saw(candle(2, 100.0, 99.0, 101.0))
        await pauses(life, 4)
        assert len(life.told) == 1  # once, wherever the market goes meanwhile
        life.desk.saw(candle(3, 100.0, 40.0, 101.0))
        assert await life.desk.settle(20.0)
        assert life.desk.disagreement == ""

    life.live(play)
    assert life.statuses == {ENTRY: "filled"}


@pytest.mark.parametrize("name", ["twice as much", "twice the price"])
def test_it_still_stops_entries_after_a_restart(name: str) -> None:
    lie, problem = LIES[name]
    life = Life(broker=Lying(lie))

    async def play() -> None:
        life.desk.follow(opened())
        await pauses(life, 2)
        await life.desk.close(0.0)
        life.desk = life.made()
        await life.desk.start(holding(), when=50 * MINUTE)
        assert problem in life.desk.disagreement  # before anything was asked of the strategy

    life.live(play)


def test_an_order_nobody_answers_about_stops_entries_from_the_start_on() -> None:
    broker = Silent(script={"place": [Trouble(kind="lost_reply")]})
    life = Life(broker=broker)

    async def play() -> None:
        broker.silent = FOR_EVER
        life.desk.follow(opened())
        await pauses(life, 1)
        assert life.desk.disagreement == ""  # it may be on its way
        await life.desk.close(0.0)
        life.desk = life.made()
        await life.desk.start(holding(), when=50 * MINUTE)
        assert "has not said yet what became of it" in life.desk.disagreement
        broker.silent = 0
        assert await life.desk.settle(20.0)
        assert life.desk.disagreement == ""

    life.live(play)


def test_a_closing_order_that_got_lost_stops_no_entries() -> None:
    why: list[str] = []

    class Watched(Life):
        async def sleep(self, seconds: float) -> None:
            why.append(self.desk.disagreement)
            await super().sleep(seconds)

    life = Watched(broker=Exchange(script={"place": [None, Trouble(kind="lost_request")]}))
    life.live(lambda: life.receive(opened(), closed()))
    assert life.statuses == {ENTRY: "filled", closing(): "lost", closing(2): "filled"}
    assert len(why) >= 5
    assert set(why) == {""}


def test_an_order_that_was_lost_stays_lost_when_the_broker_answers_late_that_it_has_none() -> None:
    broker = Silent(script={"place": [Trouble(kind="lost_request")]})
    life = Life(broker=broker)

    async def play() -> None:
        await life.receive(opened())
        assert life.statuses == {ENTRY: "lost"}
        await life.desk.close(0.0)
        broker.silent = FOR_EVER
        life.desk = life.made()
        await life.desk.start(holding(), when=50 * MINUTE)
        broker.silent = 0
        asked = len(life.slept)
        assert await life.desk.settle(5.0)
        assert (life.statuses, len(life.slept), life.desk.disagreement) == ({ENTRY: "lost"}, asked, "")

    life.live(play)


def test_a_position_that_could_not_be_closed_stops_entries_and_says_what_to_do() -> None:
    life = lives(opened(), closed(), broker=Exchange(script={"place": [None, *[Trouble(kind="refuse")] * MAX_CLOSES]}))
    assert life.desk.disagreement == "2 BTCUSDT of 'a' are open and the record ended"
    assert "close them by hand" in life.told[-1][1]
    assert "delete order/sma/BTCUSDT" in life.told[-1][1]


def test_a_closing_order_that_stays_unfilled_stops_entries_until_it_fills() -> None:
    class Slow(Exchange):
        slow = True

        async def report(self, client_id: str, symbol: str) -> Report | None:
            found = await super().report(client_id, symbol)
            return (
                replace(found, status="partly_filled", filled_quantity=0.0)
                if self.slow and found is not None
                else found
            )

        async def place(self, order: Order) -> Report:
            found = await super().place(order)
            return replace(found, status="partly_filled", filled_quantity=0.0) if order.purpose == "close" else found

    life = Life(broker=Slow())

    async def play() -> None:
        await life.receive(opened())
        life.desk.follow(closed())
        await pauses(life, 3)
        assert life.desk.disagreement == ""  # it may take a moment
        await pauses(life, 8)
        assert life.desk.disagreement.endswith("is partly_filled, however often the broker is asked")
        life.broker.slow = False
        assert await life.desk.settle(20.0)
        assert life.desk.disagreement == ""

    life.live(play)


def test_an_order_of_ours_that_was_never_saved_stops_entries() -> None:
    class Foreign(Exchange):
        async def open_orders(self, symbol: str) -> list[Report]:
            name = f"{own_prefix('sma', 'BTCUSDT')}oaaaa"
            return [Report(client_id=each, symbol=symbol, status="accepted") for each in (name, "by hand")]

    life = lives(broker=Foreign())
    assert "that was never saved here" in life.desk.disagreement
    ((_, text),) = life.told
    assert text.endswith("Nothing new is opened. Cancel it at paper, then stop this run and start it again")
    assert "delete" not in text  # the orders of an open position lie in the same value


@pytest.mark.parametrize("answer", [None, 5, ["order"], [None]], ids=repr)
def test_open_orders_that_are_none_are_reported_and_the_run_starts(answer: Any) -> None:
    class Confused(Exchange):
        async def open_orders(self, symbol: str) -> Any:
            return answer

    life = lives(opened(), broker=Confused())
    assert life.statuses == {ENTRY: "filled"}
    assert [f"a list of Reports, not {answer!r}" in text for _, text in life.told] == [True]


def test_an_entry_that_is_cancelled_is_settled_though_its_reports_were_wrong() -> None:
    life = Life(broker=Lying(LIES["twice as much"][0]))

    async def play() -> None:
        life.desk.follow(scheduled())
        life.desk.follow(cancelled())
        life.broker.answer = None
        assert await life.desk.settle(20.0)
        assert life.desk.disagreement == ""

    life.live(play)
    assert life.broker.position("BTCUSDT") == life.desk.position() == 0.0


def test_a_part_of_an_entry_is_none_that_a_step_rounded() -> None:
    """One that was cancelled after a part was filled by a part, whatever its decimals say."""
    for quantity, part in ((1.95, 1.0), (0.19, 0.1)):
        life = Life(quantity=quantity)

        async def play(life: Life = life, part: float = part) -> None:
            await life.receive(scheduled())
            life.broker.fill(ENTRY, part)
            await life.broker.cancel(ENTRY, "BTCUSDT")
            life.desk.follow(opened(opened=5))
            assert await life.desk.settle(5.0)

        life.live(play)
        ((_, text),) = life.told
        assert f"is cancelled, {part:g} of {quantity} filled; the record opened it" in text


@pytest.mark.parametrize(("quantity", "part"), [(1.95, 1.0), (0.19, 0.1)])
def test_a_part_of_a_closing_order_is_none_that_a_step_rounded(quantity: float, part: float) -> None:
    class Halves(Exchange):
        async def place(self, order: Order) -> Report:
            found = await super().place(order)
            return replace(found, filled_quantity=part) if order.purpose == "close" else found

        async def report(self, client_id: str, symbol: str) -> Report | None:
            found = await super().report(client_id, symbol)
            return None if found is None else replace(found, filled_quantity=part)

    life = Life(broker=Halves(), quantity=quantity)

    async def play() -> None:
        await life.receive(opened())
        life.desk.follow(closed())
        await pauses(life, 2)
        assert f"it is filled, by {part:g} of {quantity}" in life.desk.disagreement
        assert life.desk.position() == quantity

    life.live(play)


@pytest.mark.parametrize("silent", [1, 2, 5])
def test_an_order_that_rests_is_asked_about_until_the_broker_answers(silent: int) -> None:
    life = Life(broker=Silent())

    async def play() -> None:
        await life.receive(scheduled())
        life.broker.silent = silent
        await life.restart(resting())
        assert life.desk.disagreement == ""
        assert life.statuses == {ENTRY: "accepted"}

    life.live(play)
    assert len(life.told) == 1
    assert len(life.slept) == silent - 1


# --- a live run -------------------------------------------------------------------------------------------------


def below(when: Any, price: float) -> dict[str, Any] | None:
    """An entry that rests below the market, at the first minute."""
    if (when.hour, when.minute) != (0, 0):
        return None
    return brief(when, price) | {"price_open": price * 0.97, "minute_estimated_time": 600}


def with_broker(broker: PaperBroker, fn: Any, store: Any, first: int, until: int) -> Any:
    return bknb.Live.background(
        "BTCUSDT", strategy=bknb.add_strategy("it", interval="1m", get_signal=fn), exchange=source(ROWS),
        clock=MinuteClock(ORIGIN + first * MINUTE), until=ORIGIN + until * MINUTE, store=store, broker=broker,
        quantity=1.0,
    )  # fmt: skip


class LyingOnPaper(PaperBroker):
    """Reports twice what was filled of every order, for some minutes of the market."""

    until = ORIGIN + 20 * MINUTE
    now = 0

    def saw(self, symbol: str, minute: Any) -> None:
        self.now = minute.t
        super().saw(symbol, minute)

    def lie(self, report: Any) -> Any:
        lies = self.now < self.until and report is not None
        return replace(report, filled_quantity=report.filled_quantity * 2) if lies else report

    async def report(self, client_id: str, symbol: str) -> Any:
        return self.lie(await super().report(client_id, symbol))

    async def cancel(self, client_id: str, symbol: str) -> Any:
        return self.lie(await super().cancel(client_id, symbol))


def test_a_run_opens_nothing_while_its_account_may_differ_and_goes_on_when_it_agrees() -> None:
    broker = LyingOnPaper()
    result = with_broker(broker, brief, bknb.stores.memory(), 0, 60).result(timeout=60)
    assert [event.action for event in result.events][:3] == ["opened", "closed", "opened"]  # nothing was even decided
    first, second, *_ = [event for event in result.events if event.action == "opened"]
    ended = next(event for event in result.events if event.action == "closed")
    assert ended.when - first.when == 4 * MINUTE  # watched on meanwhile
    assert second.when >= broker.until
    assert [warning.split(" at ")[0].split(" from ")[0] for warning in result.warnings] == [
        "new entries were stopped",
        "account and record agree; entries are asked for again",
    ]
    assert any("its report cannot be right: 2.0 of 1 are filled" in error.message for error in result.errors)
    assert broker.position("BTCUSDT") in (0.0, 1.0)
    assert sum(order.side == "sell" for order in broker.orders.values()) >= 3


def test_reports_that_are_right_and_wrong_in_turn_are_one_trouble() -> None:
    class InTurn(LyingOnPaper):
        until = ORIGIN + 40 * MINUTE
        asked = 0

        def lie(self, report: Any) -> Any:
            if report is None or self.now >= self.until:
                return report
            self.asked += 1
            impossible = report.filled_quantity * 2 if self.now // MINUTE % 2 else 0.0
            return replace(
                report, filled_quantity=impossible, status="accepted", average_price=100.0 if impossible else None
            )

        async def place(self, order: Order) -> Any:
            return self.lie(await super().place(order))

    broker, heard = InTurn(), []
    bknb.listen_error(heard.append)
    result = with_broker(broker, brief, bknb.stores.memory(), 0, 60).result(timeout=60)
    drain()
    texts = [
        (each.kind, each.message) for each in heard if "cannot be right" in each.message or "asked" in each.message
    ]
    assert broker.asked > 20
    assert len(texts) == len(set(texts)) <= 4
    assert max(failure.count for failure in result.errors) > 5
    assert [warning.split(" at ")[0].split(" from ")[0] for warning in result.warnings] == [
        "new entries were stopped",
        "account and record agree; entries are asked for again",
    ]


def test_an_entry_that_waits_is_cancelled_while_the_account_may_differ() -> None:
    class Strange(LyingOnPaper):
        def lie(self, report: Any) -> Any:
            return replace(report, status="open") if self.now < self.until and report is not None else report

        async def place(self, order: Order) -> Any:
            return self.lie(await super().place(order))

    broker = Strange()
    result = with_broker(broker, below, bknb.stores.memory(), 0, 50).result(timeout=60)
    (ended,) = [event for event in result.events if event.action == "cancelled"]
    assert (ended.reason, ended.when < broker.until) == ("disagreement", True)
    assert [order.status for order in broker.orders.values()] == ["cancelled"]


@pytest.mark.parametrize(("silent", "reasons"), [(1, []), (4, ["disagreement"])])
def test_an_entry_that_rests_outlives_one_question_without_an_answer(silent: int, reasons: list[str]) -> None:
    store, broker = bknb.stores.memory(), SilentPaper()
    with_broker(broker, below, store, 0, 5).result(timeout=60)
    broker.silent = silent
    result = with_broker(broker, below, store, 5, 15).result(timeout=60)
    assert result.cancelled["reason"].tolist() == reasons
    assert any("the broker did not say what became of it" in error.message for error in result.errors)


def test_an_entry_that_rests_outlives_a_second_question_that_takes_minutes() -> None:
    class Slow(SilentPaper):
        questions = 0

        async def report(self, client_id: str, symbol: str) -> Report | None:
            self.questions += 1
            if self.questions == 2:
                await answers.wait()
            return await super().report(client_id, symbol)

        def saw(self, symbol: str, minute: Any) -> None:
            super().saw(symbol, minute)
            if minute.t == ORIGIN + 10 * MINUTE:
                answers.set()

    answers = asyncio.Event()
    store, broker = bknb.stores.memory(), Slow()
    with_broker(broker, below, store, 0, 5).result(timeout=60)
    assert broker.questions == 0
    broker.silent = 1
    result = with_broker(broker, below, store, 5, 15).result(timeout=60)
    assert (broker.questions, result.cancelled["reason"].tolist()) == (2, [])
    assert len(result.warnings) == 2  # entries were stopped, and taken again


def test_a_closing_order_that_stays_unfilled_is_told_in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bknb.live.ending._SETTLE_SECONDS", 0.1)  # for the last orders, which here never come to an end

    class Stays(PaperBroker):
        async def place(self, order: Order) -> Report:
            found = await super().place(order)
            if order.purpose == "open":
                return found
            return replace(found, status="partly_filled", filled_quantity=0.0, average_price=None)

        async def report(self, client_id: str, symbol: str) -> Report | None:
            found = await super().report(client_id, symbol)
            if found is None or self.orders[client_id].side == "buy":
                return found
            return replace(found, status="partly_filled", filled_quantity=0.0, average_price=None)

    heard: list[str] = []
    bknb.listen_error(lambda event: heard.append(event.message))
    result = with_broker(Stays(), brief, bknb.stores.memory(), 0, 30).result(timeout=60)
    (error,) = [error for error in result.errors if "however often the broker is asked" in error.message]
    assert error.kind == "broker"
    assert "is partly_filled, however often the broker is asked" in error.message
    assert [message for message in heard if message == error.message] == [error.message]


def test_an_entry_that_candle_after_candle_does_not_fill_stops_entries_and_is_told() -> None:
    class Accepts(PaperBroker):
        """Says of every order, for ever, that it is accepted, though it fills them."""

        async def report(self, client_id: str, symbol: str) -> Report | None:
            found = await super().report(client_id, symbol)
            return found and replace(found, status="accepted", filled_quantity=0.0, average_price=None)

    broker = Accepts()
    result = with_broker(broker, brief, bknb.stores.memory(), 0, 60).result(timeout=60)
    (error,) = [error for error in result.errors if "however often the broker is asked" in error.message]
    assert "is accepted, however often the broker is asked" in error.message
    assert len(broker.orders) <= 4  # brief positions are opened until candles should have filled the first order
    assert "new entries were stopped at 2024-01-01 00:" in " ".join(result.warnings)


@pytest.mark.parametrize("honest", [0, 2])
def test_only_candles_behind_an_order_should_have_filled_it(honest: int) -> None:
    class Accepts(PaperBroker):
        """Says of every order but the first that it is accepted, though it fills them."""

        async def report(self, client_id: str, symbol: str) -> Report | None:
            found = await super().report(client_id, symbol)
            if found is None or client_id in [*self.orders][:honest]:
                return found
            return replace(found, status="accepted", filled_quantity=0.0, average_price=None)

    broker = Accepts()
    result = with_broker(broker, brief, bknb.stores.memory(), 0, 30).result(timeout=60)
    sent = ([*broker.orders.values()][honest].created_at - ORIGIN) // MINUTE
    assert sent == 2 * honest
    # five candles fill nothing, the last of which closes five minutes later; the next moment knows it
    assert f"new entries were stopped at 2024-01-01 00:{sent + 6:02d} UTC" in " ".join(result.warnings)


def test_where_the_account_begins_to_differ_while_the_strategy_thinks_its_answer_opens_nothing() -> None:
    thinks, told = threading.Event(), threading.Event()

    class Twice(PaperBroker):
        """Says of a closing order that it was filled twice, from the question to the strategy to the next minute."""

        lies = True

        def saw(self, symbol: str, minute: Any) -> None:
            self.lies = not thinks.is_set()
            super().saw(symbol, minute)

        async def report(self, client_id: str, symbol: str) -> Report | None:
            found = await super().report(client_id, symbol)
            if found is None or self.orders[client_id].side == "buy" or not found.filled_quantity or not self.lies:
                return found
            while not thinks.is_set():  # noqa: ASYNC110 -- set by the thread of the strategy
                await asyncio.sleep(0.001)
            return replace(found, filled_quantity=2 * found.filled_quantity)

    def get_signal(when: Any, price: float) -> dict[str, Any] | None:
        if when.minute not in (1, 10):
            return None
        if when.minute == 10:
            thinks.set()
            assert told.wait(timeout=60)
        levels = {"price_take_profit": price * 1.3, "price_stop_loss": price * 0.7, "minute_estimated_time": 3}
        return {"position": "long", **levels}

    bknb.listen_error(lambda event: told.set() if "its report cannot be right" in event.message else None)
    broker = Twice()
    result = with_broker(broker, get_signal, bknb.stores.memory(), 0, 14).result(timeout=60)
    assert [(order.side, order.status) for order in broker.orders.values()] == [("buy", "filled"), ("sell", "filled")]
    (rejected,) = result.run_record.records.rejected
    assert [reason.code for reason in rejected.reasons] == ["stopped"]
