"""Wrong exits, wrong answers and wrong registrations: what was expected, what came, what to do."""

from __future__ import annotations

import asyncio
from datetime import date
from math import nan
from typing import Any

import msgspec
import numpy as np
import pytest
from managed import Row, run_of
from msgspec.structs import replace
from scenarios import MINUTE, ORIGIN, source

import bknb
from bknb import Add, Breakeven, Close, Move, Reduce, Trailing
from bknb.config import Settings
from bknb.domain.fills_at_stops_and_gaps import execution_model
from bknb.domain.keyword_arguments import ByName
from bknb.domain.lifecycle import Reserve
from bknb.domain.manage_answers import read_answers
from bknb.domain.signal import OpenSignal
from bknb.domain.signal_events import Reason
from bknb.domain.signal_validation import broken_rules, read_answer
from bknb.engine.registration_checks import make_strategy
from bknb.engine.risk_profile_places import RiskPlaces

SIGNALS: dict[str, tuple[dict[str, Any], str]] = {
    "no side": ({}, "a signal needs position, 'long' or 'short'"),
    "both sides": ({"position": "long", "side": "short"},
                   "side is another name for position; give one of them, got position='long', side='short'"),
    "another side": ({"side": "up"}, "position must be 'long' or 'short', got 'up'"),
    "an empty ladder": ({"price_take_profit": []}, "a ladder in price_take_profit needs a level; None means no target"),
    "prices alone": ({"price_take_profit": [104.0]}, "a list of pairs (price, share), such as [(104.0, 0.5)"),
    "a share of nothing": ({"price_take_profit": [(104.0, 0.0)]},
        "each share of a ladder must be above 0 and at most 1"),
    "a share in percent": ({"price_take_profit": [(104.0, 50)]}, "a part of the first size, got 50"),
    "more than all": ({"price_take_profit": [(104.0, 0.6), (108.0, 0.6)]}, "add up to 1.2; at most 1, the first size"),
    "a price that is none": ({"price_take_profit": [(float("nan"), 0.5)]},
        "each price of a ladder must be a finite number"),
    "a level below": ({"price_take_profit": [(99.0, 0.5)]},
        "a long's price_take_profit 99 must be above its entry 100"),
    "a level within the costs": ({"price_take_profit": [(100.1, 0.5)]}, "set a price_take_profit further away"),
    "an empty trail": ({"trailing": Trailing()}, "trailing needs percent or distance, and not both"),
    "a double trail": ({"trailing": Trailing(percent=1.0, distance=1.0)}, "got percent=1.0, distance=1.0"),
    "a trail of nothing": ({"trailing": Trailing(percent=0.0)}, "must be above 0 and below 100, got 0.0"),
    "a trail of all": ({"trailing": Trailing(percent=100.0)}, "must be above 0 and below 100, got 100.0"),
    "a distance of nothing": ({"trailing": Trailing(distance=-1.0)},
        "finite number above 0, in quote currency, got -1.0"),
    "a distance of all": ({"trailing": Trailing(distance=100.0)},
        "distance of a trailing stop of a long must be below its entry 100, got 100.0"),
    "a trail before": ({"trailing": Trailing(percent=1.0, after=-1.0)}, "a percentage of at least 0, got -1.0"),
    "a number as trail": ({"trailing": 1.0},
        "trailing must be bknb.Trailing(percent=…, after=…) or None, got float: 1.0"),
    "break-even at once": ({"breakeven": Breakeven(after=0.0)}, "a percentage above 0, got 0.0"),
    "break-even within the costs": ({"breakeven": Breakeven(after=0.3)}, "give a higher after, or plus=''"),
    "break-even plus what": ({"breakeven": Breakeven(after=3.0, plus="fees")}, "must be 'costs' or '', got 'fees'"),
    "a number as break-even": ({"breakeven": 1.0}, "breakeven must be bknb.Breakeven(after=…) or None, got float: 1.0"),
    "a memo that is none": ({"memo": [1]}, "memo must be a mapping that JSON can hold, got list"),
    "a memo of objects": ({"memo": {"a": object()}}, "memo must be a mapping that JSON can hold"),
    "a memo by number": ({"memo": {1: 2}}, "with texts as keys: memo has the key 1 (int); write '1'"),
    "a memo by number within": ({"memo": {"legs": [0, {2: 1}]}}, "memo['legs'][1] has the key 2 (int); write '2'"),
    "a memo of moments": ({"memo": {"at": date(2024, 1, 1)}}, "memo['at'] is datetime.date(2024, 1, 1) (date); wri"),
    "a memo of a set": ({"memo": {"seen": {1}}}, "memo['seen'] is {1} (set); write a text, a finite number"),
    "a memo of no number": ({"memo": {"a": float("nan")}}, "memo['a'] is nan (float); write a text, a finite number"),
    "a memo nobody can write": ({"memo": {"a": "\ud800"}}, "memo must be a mapping that JSON can hold: 'utf-8' codec"),
    "a ladder by price": ({"price_take_profit": {104: 0.5}}, "got a mapping: {104: 0.5}; list(….items()) makes pairs"),
    "a memo of many bytes": ({"memo": {"a": "é" * 9_000}}, "memo must be at most 16384 bytes of JSON, got 18008"),
    "a long memo": ({"memo": {"a": "x" * 20_000}}, "memo must be at most 16384 bytes of JSON, got"),
    "half a minute": ({"minute_estimated_time": 0.5}, "minute_estimated_time must be a whole number, got 0.5"),
    "a stop that is none": ({"price_stop_loss": float("nan")}, "price_stop_loss must be a finite number, got nan"),
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNALS)
def test_a_wrong_signal_says_what_to_do(name: str) -> None:
    given, text = SIGNALS[name]
    read = read_answer(given if name == "no side" else {"position": None, **given, "side": given.get("side")}
                       if "side" in given else {"position": "long", **given})  # fmt: skip
    reasons = [read] if isinstance(read, Reason) else broken_rules(
        read, price=100.0, model=execution_model("pessimistic"), settings=Settings()
    )  # fmt: skip
    assert text in reasons[0].text


ANSWERS: dict[str, tuple[Any, str]] = {
    "text": ("close", "or a Signal behind Close() or Cancel(); got str: 'close'"),
    "a share of nothing": (Reduce(0.0), "Reduce needs a share above 0, such as 0.5 for the half, got 0.0"),
    "a share of what": (Reduce(0.5, of="all"), "of must be 'now' or 'first', got 'all'"),
    "more than there is": (Reduce(1.5), "is more than the 1 of the first size that is held; Close() closes all of it"),
    "a note that is none": (Close(note=5), "note must be text that can be written, got 5"),
    "an add of nothing": (Add(0.0), "Add needs a share above 1e-09 and at most 1e+09, in units of the first size"),
    "an add of next to nothing": (Add(1e-300), "Add needs a share above 1e-09 and at most 1e+09, in units of"),
    "next to nothing": (Reduce(1e-15), "Reduce needs more than 1e-09 of the first size, of which 1 are held, got"),
    "an add beyond measure": (Add(1e308), "Add needs a share above 1e-09 and at most 1e+09, in units of the first"),
    "an add at nothing": (Add(1.0, price_open=-1.0), "price_open of Add must be a finite number above 0, or None"),
    "an add for nothing": (Add(1.0, price_open=99.0, valid=0),
        "valid of Add in minutes must be a whole number above 0, got 0"),
    "an add too many": ([Add(0.1), Add(0.1), Add(0.1)], "the position has 2 adds already, max_adds = 2; "
                        "settings={'max_adds': 10} allows more".replace(" more", " it")),
    "an add behind the stop": (Add(1.0, price_open=89.0),
        "it would never fill; put it between the market and the stop"),
    "a stop that is none": (Move(price_stop_loss="95"),
        "price_stop_loss of Move must be a finite number above 0, or None"),
    "a target below": (Move(price_take_profit=99.0), "a long's price_take_profit 99 must be above the last close 100"),
    "a target that is none": (Move(price_take_profit="a lot"),
        "a finite number above 0, a ladder or None, got 'a lot'"),
    "a ladder by price": (Move(price_take_profit={104: 0.5}), "got a mapping: {104: 0.5}; list(….items()) makes pairs"),
    "an add for too long": (Add(1.0, price_open=99.0, valid=2000),
        "valid 2000 of Add is above max_signal_lifetime_minutes = 1440; settings={'max_signal_lifetime_minutes': No"),
    "a ladder of more": (Move(price_take_profit=[(104.0, 0.7), (105.0, 0.7)]), "can be closed; make them smaller"),
    "no minutes": (Move(minute_estimated_time=0), "minute_estimated_time must be above 0, got 0"),
    "a trail that is none": (Move(trailing=2.0), "trailing must be bknb.Trailing(percent=…, after=…) or None"),
    "a break-even that is none": (Move(breakeven=Breakeven(after=-1.0)), "a percentage above 0, got -1.0"),
    "a memo that is none": (Move(memo=5), "memo must be a mapping that JSON can hold, got int"),
    "behind a close": ([Close(), Add(1.0)], "Add behind Close() has nothing to act on; put it before, or leave it out"),
    "behind a reduce of all": ([Reduce(1.0), Move(price_stop_loss=95.0)],
        "Move behind Reduce(1, of='now'), which closes all that is held, has nothing to act on; put it before, or"),
    "a class": (Close, "got the class Close; write bknb.Close()"),
    "a class in a list": ([Reduce], "got the class Reduce; write bknb.Reduce(…)"),
    "a word for better": (Add(1.0, only_better="no"), "only_better must be True or False, got 'no'"),
    "a word for loosen": (Move(price_stop_loss=80.0, loosen="no"), "loosen must be True or False, got 'no'"),
    "an add valid at the market": (Add(1.0, valid=5),
        "valid 5 of Add is how long a limit rests, and price_open is None: give its price, or leave valid out"),
    "an add at the stop": (Add(1.0, price_open=90.0), "the stop at 90 lies at or before price_open 90 of Add"),
    "a signal behind a cancel": ([bknb.Cancel(), bknb.Signal(side="short")],
        "a Signal from manage stands behind Close(), such as [bknb.Close(), bknb.Signal(...)]: there is"),
    "a signal alone": (bknb.Signal(side="short"), "such as [bknb.Close(), bknb.Signal(...)]: there is one position"),
    "two signals": ([Close(), bknb.Signal(side="short"), bknb.Signal(side="long")],
        "one Signal stands behind Close() or Cancel(), got another: there is one position at a time; leave one out"),
    "a close behind a signal": ([Close(), bknb.Signal(side="short"), Close()],
        "a Signal opens what Close() would end; put Close() before the Signal, or leave one of them out"),
    "a trail wider than its price": (Move(trailing=Trailing(distance=100.0)),
        "distance of a trailing stop of a long must be below the last close 100, got 100.0"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_a_wrong_answer_says_what_to_do(name: str) -> None:
    answer, text = ANSWERS[name]
    row = Row(
        name,
        bknb.Signal(position="long", price_stop_loss=90.0),
        answers={4: answer},
        settings={"max_adds": 2, "max_signal_lifetime_minutes": 1440},
    )
    (rejected,) = run_of(row, "pessimistic").records.rejected
    assert text in rejected.reasons[0].text


def test_a_signal_beside_an_entry_that_waits_is_told_of_cancel() -> None:
    waiting = bknb.Signal(side="long", price_open=95.0)
    (rejected,) = run_of(Row("", waiting, answers={4: bknb.Signal(side="short")}), "pessimistic").records.rejected
    assert "stands behind Cancel(), such as [bknb.Cancel(), bknb.Signal(...)]" in rejected.reasons[0].text


@pytest.mark.parametrize("answer", [Close(note=5), Reduce(0.5, note=None), bknb.Cancel(note=1.5)], ids=repr)  # type: ignore[arg-type]
def test_what_closes_is_carried_out_without_a_note_that_is_wrong(answer: Any) -> None:
    """As all that closes, reduces or takes back beside something wrong."""
    signal = bknb.Signal(side="long", price_open=95.0 if isinstance(answer, bknb.Cancel) else None)
    records = run_of(Row("", signal, answers={4: answer}), "pessimistic").records
    assert [reason.code for each in records.rejected for reason in each.reasons] == ["note"]
    if isinstance(answer, bknb.Cancel):
        assert [each.reason for each in records.cancelled] == ["strategy"]
        return
    (closed,) = records.closed
    fill = closed.fills[1]
    assert (fill.reason, fill.at, fill.note) == ("strategy", ORIGIN + 4 * MINUTE, "")


def test_minutes_of_an_add_may_be_a_float_that_is_whole() -> None:
    (add,) = read_answers(Add(1.0, price_open=99.0, valid=5.0)).answers  # type: ignore[arg-type]
    assert repr(add) == repr(Add(1.0, price_open=99.0, valid=5))


WRITTEN: dict[str, tuple[Any, str]] = {
    "a stop without its name": (lambda: Move(99.0), r"by name, such as Move\(price_stop_loss=99.0\); got 99.0 without"),
    "a side without its name": (lambda: bknb.Signal("long"), r"such as Signal\(position='long'\)"),
    "a percentage without its name": (lambda: Trailing(1.0), r"such as Trailing\(percent=1.0\)"),
    "half a name": (lambda: Move(stop_loss=99.0), "Move has no stop_loss, did you mean price_stop_loss"),
    "another name": (lambda: Close(why="x"), "Close has no why; it takes note"),
    "nothing": (Add, "Add needs share, got nothing; it takes share, price_open"),
    "no move": (Breakeven, "Breakeven needs after, got nothing"),
    "too many": (lambda: Close("a", "b", "c"), "Close got 3 values; it takes note, at"),
    "twice": (lambda: Reduce(0.5, share=0.5), "Reduce got share twice, with its name and without"),
    "the second alone": (lambda: Breakeven(plus=1.0), "Breakeven needs after, got plus; it takes after, plus"),
    "something long": (lambda: Pair("x" * 1000), "Pair needs second, got 'x{59}; it takes first, second, third"),
    "a mistake behind it": (lambda: Pair("a", 1.0), "third is none"),
    "the first that is needed": (lambda: Named(5.0), r"such as Named\(second=5.0\); got 5.0 without a name"),
}  # fmt: skip


class Pair(ByName, frozen=True):
    first: str
    second: float
    third: str = ""

    def __post_init__(self) -> None:
        if not self.third:
            raise TypeError("third is none")


class Named(ByName, frozen=True, kw_only=True):
    first: str = ""
    second: float


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_wrongly_says_what_it_takes(name: str) -> None:
    write, text = WRITTEN[name]
    with pytest.raises(TypeError, match=text):
        write()


def test_wrong_registrations() -> None:
    def manage(position: Any, mood: Any) -> None: ...

    with pytest.raises(
        bknb.UsageError, match="manage asks for 'mood'\nmanage may ask for any of ctx, symbol, when, price, pos"
    ):
        make_strategy("a", lambda: None, interval="1m", manage=manage)
    with pytest.raises(bknb.UsageError, match="manage asks for 'mood'"):
        make_strategy("a", lambda position: None, interval="1m", manage=manage, params={"position": 1})
    with pytest.raises(bknb.UsageError, match=r"manage of strategy 'a' must be a function \(ctx, position\), got 5"):
        make_strategy("a", lambda: None, interval="1m", manage=5)  # type: ignore[arg-type]
    with pytest.raises(bknb.UsageError, match="strategy 'a' has a manage_interval and no manage\ngive manage="):
        make_strategy("a", lambda: None, interval="1m", manage_interval="5m")
    with pytest.raises(
        bknb.UsageError, match=r"price by name; what is open is decided about by a second function, manage"
    ):
        make_strategy("a", lambda ctx, position: None, interval="1m")
    with pytest.raises(bknb.UsageError, match="its parameters: fast\nwhere it is one of manage, give manage= too"):
        make_strategy("a", lambda ctx, fast=1: None, interval="1m", params={"most": 5})
    with pytest.raises(bknb.UsageError, match="max_adds must be a whole number of at least 0, or None, got -1"):
        bknb.set_config(max_adds=-1)


def test_what_manage_raises_is_counted_and_the_position_is_watched_on() -> None:
    def manage(position: Any) -> None:
        raise ValueError("no idea")

    strategy = make_strategy(
        "broken", lambda price: bknb.Signal(side="long", price_stop_loss=price * 0.99), interval="1h", manage=manage
    )
    result = bknb.backtest("BTCUSDT", strategy=strategy, exchange="demo", frame="2024-01-01:2024-01-02")
    assert {error.kind for error in result.errors} == {"strategy"}
    assert "ValueError: no idea" in result.errors[0].message
    assert len(result.trades) > 0


def test_the_position_is_what_the_fills_say() -> None:
    seen: list[Any] = []

    async def manage(ctx: Any, symbol: str, when: Any, price: float, position: Any) -> Any:
        seen.append((position, price, symbol, when))
        return [Reduce(0.5), Move(price_stop_loss=95.0, memo={"leg": 2})] if len(seen) == 2 else None

    row_signal = bknb.Signal(side="long", price_stop_loss=90.0, price_take_profit=[(104.0, 0.5)], memo={"leg": 1})
    strategy = make_strategy("seen", lambda: row_signal, interval="1h", manage=manage, manage_interval="5m")
    rows = [(1_704_067_200_000 + k * 60_000, 100.0, 101.0, 99.0, 100.0, 1.0) for k in range(-60, 40)]
    from scenarios import source

    bknb.backtest(
        "X", strategy=strategy, exchange=source(rows), frame=(1_704_067_200_000, 1_704_067_200_000 + 20 * 60_000),
        settings={"percent_fee": 0.0, "percent_slippage": 0.0},
    )  # fmt: skip
    first, third = seen[0][0], seen[2][0]
    assert [when.minute for _, _, _, when in seen] == [5, 10, 15]
    assert (first.side, first.sign, first.size, first.entries, first.minutes, first.bars) == ("long", 1, 1.0, 1, 5, 0)
    assert (first.best_price, first.worst_price, first.best_percent, first.worst_percent) == (101.0, 99.0, 1.0, -1.0)
    assert (first.price_stop_loss, dict(first.memo), first.deadline) == (90.0, {"leg": 1}, None)
    assert (third.size, third.price_stop_loss, dict(third.memo)) == (0.5, 95.0, {"leg": 2})
    assert [fill.kind for fill in third.fills] == ["entry", "reduce"]
    with pytest.raises(AttributeError):
        third.size = 2.0
    with pytest.raises(bknb.UsageError, match="is not written to"):
        third.memo["leg"] = 3


def test_a_sweep_asks_manage() -> None:
    def get_signals(candles: Any, up: float = 1.02) -> dict[str, Any]:
        close = candles.close
        return {
            "position": 1,
            "price_take_profit": close * up,
            "price_stop_loss": close * 0.98,
            "minute_estimated_time": 240,
        }

    strategy = make_strategy(
        "swept",
        get_signals=get_signals,
        interval="1h",
        manage=lambda position: Close() if position.minutes > 90 else None,
    )
    found = bknb.sweep(
        symbol="BTCUSDT", strategy=strategy, exchange="demo", frame="2024-01-01:2024-01-05", params={"up": [1.02]}
    )
    assert len(found.errors) == 0
    assert set(found.trades()["close_reason"]) >= {"strategy"}


@pytest.mark.parametrize("rows", [False, True])
def test_manage_gets_the_parameters_that_it_names(rows: bool) -> None:  # noqa: FBT001
    def get_signal(n: int = 1) -> bknb.Signal:
        return bknb.Signal(position="long")

    def get_signals(candles: bknb.Candles, n: int = 1) -> Any:
        return {"position": 1, "price_take_profit": nan, "price_stop_loss": nan, "minute_estimated_time": nan}

    def manage(position: Any, n: int = 1) -> Any:
        return Close() if position.minutes >= n else None

    candles = [(ORIGIN + k * MINUTE, 100.0, 101.0, 99.0, 100.0, 1.0) for k in range(-60, 40)]
    asked = {"get_signals": get_signals} if rows else {"get_signal": get_signal}
    strategy = bknb.add_strategy("held", interval="1m", manage=manage, **asked)
    swept = bknb.sweep(
        strategy=strategy, params={"n": [2, 9]}, symbol="X", exchange=source(candles),
        frame=(ORIGIN, ORIGIN + 30 * MINUTE),
    )  # fmt: skip
    assert swept.table["n"].tolist() == [15, 4]


@pytest.mark.parametrize("rows", [False, True])
def test_a_parameter_may_be_one_of_manage_alone(rows: bool) -> None:  # noqa: FBT001
    def get_signal(position: str = "long") -> bknb.Signal:
        return bknb.Signal(side=position)

    def get_signals(candles: bknb.Candles, position: str = "long") -> Any:
        side = 1 if position == "long" else -1
        return {"position": side, "price_take_profit": nan, "price_stop_loss": nan, "minute_estimated_time": nan}

    def manage(position: Any, most: int = 1) -> Any:
        return Close() if position.minutes >= most else None

    candles = [(ORIGIN + k * MINUTE, 100.0, 101.0, 99.0, 100.0, 1.0) for k in range(-60, 40)]
    asked = {"get_signals": get_signals} if rows else {"get_signal": get_signal}
    strategy = bknb.add_strategy("held", interval="1m", manage=manage, params={"position": "short", "most": 5}, **asked)
    run = {"symbol": "X", "exchange": source(candles), "frame": (ORIGIN, ORIGIN + 30 * MINUTE)}
    result = bknb.backtest(strategy=strategy, **run)
    assert not result.errors
    assert set(result.trades["position"]) == {"short"}
    assert bknb.sweep(strategy=strategy, params={"most": [2, 9]}, **run).table["n"].tolist() == [15, 4]
    with pytest.raises(
        bknb.UsageError, match="no parameter 'mots'; did you mean 'most'\\?\nits parameters: position, m"
    ):
        bknb.sweep(strategy=strategy, params={"mots": [2, 9]}, **run)


def test_who_adds_keeps_the_place_it_has() -> None:
    signal = OpenSignal(
        id="a", symbol="B", strategy="s", exchange="e", position="long", price_open=100.0, price_take_profit=None,
        price_stop_loss=None, minute_estimated_time=None, note="", scheduled_at=0, pending_at=0,
    )  # fmt: skip
    seen: list[bknb.RiskRequest] = []
    places = RiskPlaces(bknb.add_risk("all", validations=[seen.append]))
    assert asyncio.run(places.ask(Reserve(signal, 0, 100.0))).allowed
    before = dict(places.places)
    assert len(before) == 1
    assert asyncio.run(places.ask(Reserve(signal, 60_000, 100.0, add=0.5, size=1.0))).allowed
    assert places.places == {key: replace(place, size=1.5) for key, place in before.items()}
    assert [(request.add, request.size) for request in seen] == [(0.0, 0.0), (0.5, 1.0)]
    assert seen[1].open_position_count == 0


def test_numbers_and_texts_of_numpy_are_those_of_python() -> None:
    f, i, t = np.float64, np.int64, np.str_
    trailing, breakeven = Trailing(distance=np.float32(5), after=f(1)), Breakeven(after=f(3), plus=t("costs"))
    given = [
        Move(
            price_take_profit=np.array([[104.0, 0.5], [108.0, 0.25]]),
            trailing=trailing,
            breakeven=breakeven,
            memo={t("legs"): [i(1), {"at": np.float32(2)}]},
        ),
        Move(price_take_profit=[(f(104), np.float32(0.5))]),
        Add(f(0.5), valid=i(5), only_better=np.bool_(False)),  # noqa: FBT003
        Close(note=t("enough")),
        bknb.Signal(side=t("long"), trailing=trailing, breakeven=breakeven, memo={"legs": i(1)}, note=t("x")),
    ]
    read = read_answers(given)
    assert not read.faults
    assert msgspec.json.decode(msgspec.json.encode(read.answers[0]))["memo"] == {"legs": [1, {"at": 2.0}]}
    for answer in read.answers:
        msgspec.json.encode(answer)  # as a live run saves it


def test_a_memo_that_contains_itself_is_refused() -> None:
    memo: dict[str, Any] = {}
    memo["self"] = memo
    assert read_answers(Move(memo=memo)).faults[0].text == "memo must not contain itself, got dict"


@pytest.mark.parametrize(
    "name", ["minute_estimated_time", "bars", "until", "valid", "price_take_profit", "price_stop_loss", "size", "score"]
)
@pytest.mark.parametrize("value", [60, 60.0, 60.5, np.float64(60.0), np.int32(60)])
def test_a_signal_of_plain_numbers_is_read_as_a_mapping_of_them_is(name: str, value: Any) -> None:
    given: Any = {"position": "long", name: value}
    read = read_answer(bknb.Signal(**given))
    assert isinstance(read, bknb.Signal)
    assert read == read_answer(given)
    assert type(getattr(read, name)) is type(getattr(read_answer(given), name))
