"""Run cards: they are the same everywhere, and they name what is not the same."""

from __future__ import annotations

import copyreg
import hashlib
import importlib
import io
import json
import linecache
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bknb
from bknb.market.candle_fingerprint import compare, digest, fingerprint
from bknb.market.candles import Candles
from bknb.provenance.card import Card
from bknb.provenance.card_file import encode
from bknb.provenance.portfolio_card import decode
from bknb.provenance.row_texts import digest_of_rows, row_text, row_texts
from bknb.provenance.source_code_and_hash import read_code
from bknb.provenance.value_text import value_text
from bknb.sharing.verify_notebook import compared

ROOT = Path(__file__).parent.parent
FRAME = "2024-01-02:2024-01-06"
SINCE = 1_704_067_200_000 - 86_400_000  # 2023-12-31
LENGTH = 10


def mean(values: Any) -> float:
    return float(sum(values.tolist()) / len(values))


def get_signal(price: float) -> Any:
    closes = bknb.get_candles("BTCUSDT", "15m", 31).close
    if mean(closes[-LENGTH:]) > mean(closes):
        return bknb.Signal(
            position="long",
            price_take_profit=price * 1.01,
            price_stop_loss=price * 0.99,
            minute_estimated_time=300,
        )
    return None


@pytest.fixture(scope="module")
def minutes() -> Candles:
    import asyncio

    days = 8
    return asyncio.run(bknb.exchanges.demo().get_candles("BTCUSDT", "1m", SINCE, days * 1440))


@pytest.fixture
def strategy() -> Iterator[str]:
    bknb.add_strategy("carded", interval="15m", get_signal=get_signal)
    yield "carded"
    bknb.add_strategy("carded", interval="15m", get_signal=get_signal)


@pytest.fixture
def card(strategy: str, minutes: Candles) -> Card:
    bknb.add_exchange("recorded", get_candles=bknb.exchanges.from_frame(minutes))
    return bknb.backtest("BTCUSDT", strategy=strategy, exchange="recorded", frame=FRAME).card


def with_changed(minutes: Candles, *moments: str, add: float = 0.01) -> Candles:
    """The same candles, but for some whose volume is a little more."""
    block = {name: getattr(minutes, name).copy() for name in ("timestamp", "open", "high", "low", "close", "volume")}
    for moment in moments:
        at = int(np.searchsorted(block["timestamp"], np.datetime64(moment, "ms").astype(np.int64)))
        block["volume"][at] += add
    return Candles.from_columns(**block)


def without(minutes: Candles, moment: str) -> Candles:
    at = int(np.searchsorted(minutes.timestamp, np.datetime64(moment, "ms").astype(np.int64)))
    return Candles.concat([minutes[:at], minutes[at + 1 :]])


def texts(verification: Any, kind: str) -> list[str]:
    return [part.text for part in verification.differences if part.kind == kind]


# --- the same ---------------------------------------------------------------------------------------------------


def test_a_second_run_is_the_same_to_the_last_bit(card: Card) -> None:
    assert card.outcome.trades > 5
    verification = card.verify()
    assert verification.same
    assert verification
    assert verification.differences == verification.surroundings == ()
    assert "the same" in repr(verification)
    assert "✔" in verification._repr_html_()


def test_a_card_survives_its_file(card: Card, tmp_path: Path) -> None:
    path = card.save(tmp_path / "deep" / "run.json")
    assert Card.load(path) == card
    assert bknb.verify(path).same
    assert len(path.read_text().splitlines()) > 50  # a person can read and diff it


def test_the_card_names_what_was_run(card: Card) -> None:
    assert [written.name for written in card.code.functions] == ["test_cards.get_signal", "test_cards.mean"]
    assert "if mean(closes[-LENGTH:]) > mean(closes):" in card.code.functions[0].text
    assert card.code.values == {"LENGTH": "10"}
    assert card.settings["percent_fee"] == 0.1
    assert card.settings["max_signal_lifetime_minutes"] is None
    assert (card.execution, card.rules, card.format) == ("pessimistic", 2, 2)
    assert {(part.symbol, part.interval) for part in card.data} == {("BTCUSDT", "1m"), ("BTCUSDT", "15m")}
    assert {"python", "numpy", "pandas", "bknb", "bknb code", "platform"} <= set(card.made_with)
    assert len(card.outcome.rows) == len(card.outcome.marks) == card.outcome.trades + card.outcome.cancelled
    report = card.report()
    assert card.outcome.digest[:32] in report
    assert "def mean(values" in report
    assert "| Execution | pessimistic (rules 2) |" in report
    assert "| Price tick | unknown: no rounding of levels |" in report
    assert "max_signal_lifetime_minutes not set, price_tick not set" in report


SCRIPT = """
import sys
import threading
import bknb

@bknb.strategy("sma", interval="15m")
def get_signal(price):
    closes = bknb.get_candles("BTCUSDT", "15m", 31).close
    if closes[-10:].mean() > closes.mean():
        return bknb.Signal(position="long", price_take_profit=price * 1.01, price_stop_loss=price * 0.99,
                           minute_estimated_time=300)

if sys.argv[1] == "make":
    bknb.backtest("BTCUSDT", strategy="sma", exchange="demo", frame="2024-01-02:2024-01-20").card.save(sys.argv[2])
else:
    print(bknb.verify(sys.argv[2]))
"""


@pytest.mark.slow
def test_another_process_verifies_it(tmp_path: Path) -> None:
    script, path = tmp_path / "story.py", tmp_path / "card.json"
    script.write_text(SCRIPT)
    for what in ("make", "verify"):
        command = [sys.executable, str(script), what, str(path)]
        verified = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert verified.stdout.startswith("sma on BTCUSDT: the same (")
    assert "made with" not in verified.stdout


# --- what differs is named --------------------------------------------------------------------------------------


def test_one_changed_candle_is_named_by_its_minute(card: Card, minutes: Candles) -> None:
    changed = with_changed(minutes, "2024-01-04T10:17")
    verification = card.verify(exchange=bknb.exchanges.from_frame(changed, name="recorded"))
    assert not verification.same
    assert texts(verification, "candles") == [
        "BTCUSDT 15m (recorded): candle 2024-01-04 10:15 UTC is not what it was",
        "BTCUSDT 1m (recorded): candle 2024-01-04 10:17 UTC is not what it was",
    ]
    assert texts(verification, "code") == texts(verification, "setting") == texts(verification, "value") == []


def test_a_source_given_in_place_of_a_name_may_have_another_name(card: Card, minutes: Candles) -> None:
    assert card.verify(exchange=bknb.exchanges.from_frame(minutes, name="a copy")).same
    bknb.add_exchange("other", get_candles=bknb.exchanges.from_frame(minutes))
    assert texts(card.verify(exchange="other"), "run") == ["exchange: recorded -> other"]


def test_a_missing_candle_is_named(minutes: Candles) -> None:
    before = fingerprint(minutes, exchange="e", symbol="s", interval="1m")
    after = fingerprint(without(minutes, "2024-01-04T10:17"), exchange="e", symbol="s", interval="1m")
    (change,) = compare(before, after)
    assert change.moments == (1_704_363_420_000,)
    assert (change.before, change.after) == (1440, 1439)
    assert after.gaps == ((1_704_363_420_000, 1_704_363_480_000),)
    assert before.gaps == ()


@given(st.sets(st.integers(0, 1439), min_size=1, max_size=2), st.floats(1e-9, 1e9))
def test_one_or_two_changed_candles_of_a_day_are_found(positions: set[int], amount: float) -> None:
    times = np.arange(1440) * 60_000
    prices = 100.0 + np.sin(times / 1e6)
    columns = {"open": prices, "high": prices + 1, "low": prices - 1, "close": prices}
    volume = np.full(1440, 7.0)
    other = volume.copy()
    other[list(positions)] += amount
    if np.array_equal(volume, other):
        return
    old, new = (
        fingerprint(
            Candles.from_columns(timestamp=times, volume=part, **columns), exchange="e", symbol="s", interval="1m"
        )
        for part in (volume, other)
    )
    (change,) = compare(old, new)
    assert set(change.moments) == {60_000 * at for at in positions}


def test_many_changed_candles_are_named_by_their_day(card: Card, minutes: Candles) -> None:
    changed = with_changed(minutes, "2024-01-04T10:17", "2024-01-04T11:17", "2024-01-04T12:17", "2024-01-05T00:00")
    verification = card.verify(exchange=bknb.exchanges.from_frame(changed, name="recorded"))
    assert "BTCUSDT 1m (recorded): candles of 2024-01-04 are not what they were (more than two)" in texts(
        verification, "candles"
    )
    assert "BTCUSDT 1m (recorded): candle 2024-01-05 00:00 UTC is not what it was" in texts(verification, "candles")


def from_text(text: str, filename: str = "", **names: Any) -> Callable[..., Any]:
    """A strategy as a cell defines it: its lines are known under a file name."""
    import linecache

    filename = filename or f"<cell {len(linecache.cache)}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    space = {"__name__": "__main__", "bknb": bknb, **names}
    exec(compile(text, filename, "exec"), space)  # noqa: S102
    return space["get_signal"]  # type: ignore[no-any-return]


CELL = """def get_signal(price):
    closes = bknb.get_candles("BTCUSDT", "15m", 31).close
    if closes[-LENGTH:].sum() / LENGTH > closes.sum() / 31:
        return bknb.Signal(position="long", price_take_profit=price * 1.01, price_stop_loss=price * 0.99,
                           minute_estimated_time=300)
"""


def test_a_changed_line_is_named_with_its_number() -> None:
    bknb.add_strategy("carded", interval="15m", get_signal=from_text(CELL, LENGTH=10))
    card = bknb.backtest("BTCUSDT", strategy="carded", exchange="demo", frame=FRAME).card
    bknb.add_strategy(
        "carded", interval="15m", get_signal=from_text(CELL.replace("price * 1.01", "price * 1.02"), LENGTH=10)
    )
    verification = card.verify()
    (line,) = texts(verification, "code")
    assert line.startswith("line 4 of get_signal: return bknb.Signal(position=")
    assert "price * 1.01" in line.split("->")[0]
    assert "price * 1.02" in line.split("->")[1]
    assert texts(verification, "candles") == texts(verification, "setting") == []
    assert any("price_take_profit" in text for text in texts(verification, "outcome"))


def test_a_changed_comment_is_named_and_the_outcome_is_the_same() -> None:
    bknb.add_strategy("carded", interval="15m", get_signal=from_text(CELL, LENGTH=10))
    card = bknb.backtest("BTCUSDT", strategy="carded", exchange="demo", frame=FRAME).card
    bknb.add_strategy("carded", interval="15m", get_signal=from_text(f"{CELL}    # nothing else\n", LENGTH=10))
    verification = card.verify()
    # a comment behind the last statement does not belong to the function for Python's own parser of blocks
    assert verification.same_outcome
    bknb.add_strategy(
        "carded", interval="15m", get_signal=from_text(CELL.replace("(price):", "(price):  # my best"), LENGTH=10)
    )
    verification = card.verify()
    assert texts(verification, "code") == [
        "line 1 of get_signal: def get_signal(price):  ->  def get_signal(price):  # my best"
    ]
    assert verification.same_outcome
    assert not verification.same
    assert "though something differs" in repr(verification)


def test_a_changed_constant_is_named() -> None:
    bknb.add_strategy("carded", interval="15m", get_signal=from_text(CELL, LENGTH=10))
    card = bknb.backtest("BTCUSDT", strategy="carded", exchange="demo", frame=FRAME).card
    bknb.add_strategy("carded", interval="15m", get_signal=from_text(CELL, LENGTH=12))
    verification = card.verify()
    assert texts(verification, "value") == ["LENGTH: 10 -> 12"]
    assert texts(verification, "code") == []


def test_a_changed_setting_is_named(card: Card) -> None:
    before = bknb.get_config().percent_fee
    try:
        bknb.set_config(percent_fee=0.05)
        assert texts(card.verify(), "setting") == ["setting percent_fee: 0.1 -> 0.05"]
    finally:
        bknb.set_config(percent_fee=before)
    assert card.verify().same


def test_a_limit_that_was_set_since_is_named(card: Card) -> None:
    bknb.set_config(max_signal_lifetime_minutes=1440, min_stop_loss_distance_percent=0.5)
    assert texts(card.verify(), "setting") == [
        "setting min_stop_loss_distance_percent: 0 -> 0.5",
        "setting max_signal_lifetime_minutes: not set -> 1440",
    ]


def test_a_setting_that_is_left_out_at_its_default_has_it(card: Card) -> None:
    bknb.set_config(max_adds=1)
    assert texts(card.verify(), "setting") == ["setting max_adds: 10 -> 1"]
    bknb.set_config(max_adds=None)
    assert texts(card.verify(), "setting") == ["setting max_adds: 10 -> not set"]


def test_a_limit_of_the_call_is_set_again(strategy: str) -> None:
    settings = {"max_signal_lifetime_minutes": 400, "max_stop_loss_distance_percent": None, "price_tick": 0.01}
    card = bknb.backtest("BTCUSDT", strategy=strategy, exchange="demo", frame=FRAME, settings=settings).card
    assert "| Price tick | 0.01 |" in card.report()
    bknb.set_config(max_stop_loss_distance_percent=15.0)
    verification = card.verify()
    assert verification.same, verification
    assert verification.result.settings.max_signal_lifetime_minutes == 400
    assert verification.result.settings.price_tick == 0.01


def test_verify_passes_the_arguments_of_the_call_again(strategy: str) -> None:
    card = bknb.backtest(
        "BTCUSDT", strategy=strategy, exchange="demo", frame=FRAME, execution="touch", settings={"percent_fee": 0.02}
    ).card
    assert set(card.given) == {"execution", "setting percent_fee"}
    verification = card.verify()
    assert verification.same
    assert verification.result.settings.percent_fee == 0.02
    assert texts(card.verify(execution="vwap"), "run") == ["execution: touch -> vwap"]


def test_the_text_is_that_of_the_run_not_of_a_later_cell() -> None:
    """A cell that is run again has the same file name, and other lines."""
    again = "<strategy carded>"
    bknb.add_strategy("carded", interval="15m", get_signal=from_text(CELL, again, LENGTH=10))
    result = bknb.backtest("BTCUSDT", strategy="carded", exchange="demo", frame=FRAME)
    bknb.add_strategy("carded", interval="15m", get_signal=from_text("def get_signal():\n    return None\n", again))
    assert "closes.sum() / 31" in result.card.code.functions[0].text


def test_other_versions_are_reported_and_are_no_difference(card: Card) -> None:
    import msgspec

    older = msgspec.structs.replace(card, made_with={**card.made_with, "numpy": "1.26.4"})
    verification = older.verify()
    assert verification.same
    (part,) = verification.surroundings
    assert part.text.startswith("numpy: 1.26.4 -> ")


def test_without_rows_the_marks_still_say_which(card: Card, strategy: str) -> None:
    brief = card.brief()
    assert brief.outcome.rows == ()
    assert len(encode(brief)) < 12_000
    assert brief.verify().same
    found = texts(brief.verify(settings={"percent_fee": 0.09}), "outcome")
    assert found[0] == f"row 1 of {len(card.outcome.marks)} is not what it was"


def test_the_last_bit_of_another_machine_is_called_so(card: Card) -> None:
    import msgspec

    rows = [json.loads(row) for row in card.outcome.rows]
    rows[0]["price_open"] = float(np.nextafter(rows[0]["price_open"], 0))
    lines = tuple(msgspec.json.encode(row).decode() for row in rows)
    outcome = msgspec.structs.replace(card.outcome, rows=lines, digest="0" * 64)
    (part,) = msgspec.structs.replace(card, outcome=outcome).diff(card)
    assert part.text.endswith("(the same to 1e-9: arithmetic of another machine)")


def test_a_card_survives_a_front_end_that_writes_whole_floats_as_integers(card: Card) -> None:
    def as_javascript(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: as_javascript(part) for key, part in reversed(value.items())}
        if isinstance(value, list):
            return [as_javascript(part) for part in value]
        return int(value) if isinstance(value, float) and value.is_integer() else value

    assert Card.from_json(json.dumps(as_javascript(json.loads(card.to_json())))) == card


# --- wrong use and damage ---------------------------------------------------------------------------------------


def test_a_card_changed_by_hand_is_refused(card: Card, tmp_path: Path) -> None:
    path = card.save(tmp_path / "card.json")
    path.write_text(path.read_text().replace('"percent_fee": 0.1', '"percent_fee": 0.0'))
    with pytest.raises(bknb.StateError, match="was changed after it was written"):
        Card.load(path)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"bknb_card":1,"sha256":"x","card":{}}'])
def test_a_file_that_is_no_card_is_refused(content: bytes) -> None:
    with pytest.raises(bknb.StateError, match="is not a run card"):
        decode(content, where="x.json")


def test_a_card_of_a_later_bknb_is_refused() -> None:
    with pytest.raises(bknb.StateError, match=r"written by a newer bknb \(format 99"):
        decode(b'{"bknb_card":99,"sha256":"x","card":{}}', where="x.json")


def test_a_missing_file_is_reported() -> None:
    with pytest.raises(bknb.UsageError, match="cannot read the run card"):
        bknb.verify("nowhere.json")


def test_an_unknown_strategy_is_reported(minutes: Candles) -> None:
    card = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-02:2024-01-03").card
    with pytest.raises(bknb.UnknownName, match="no strategy is called '<lambda>'"):
        card.verify()
    assert card.verify(strategy=lambda: None).same_outcome


# --- source text ------------------------------------------------------------------------------------------------


def test_closures_partials_methods_and_modules_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    helpers = types.ModuleType("my_helpers")
    helpers.LEVEL = 3
    exec("def inner(x):\n    return x + LEVEL\n", helpers.__dict__)  # noqa: S102
    monkeypatch.setitem(sys.modules, "my_helpers", helpers)
    wanted = 5

    class Rule:
        def __init__(self, level: int) -> None:
            self.level = level

        def holds(self, x: float) -> bool:
            return mean(np.array([x])) > self.level

    rule = Rule(7)

    def outer(price: float, size: int = 4) -> Any:
        return helpers.inner(price) > wanted + size and rule.holds(price)

    code = read_code(partial(outer, size=9))
    names = {written.name for written in code.functions}
    assert {"my_helpers.inner", "test_cards.outer", "test_cards.Rule", "test_cards.mean"} <= names
    assert code.values["wanted"] == "5"
    assert code.values["rule.level"] == "7"
    assert code.values["partial size"] == "9"
    assert code.values["outer(size)"] == "4"
    assert code.values["LEVEL"] == "3"
    assert code.packages == ("numpy",)


def test_a_bound_method_as_a_strategy_is_read() -> None:
    class Cross:
        fast = 3

        def __init__(self) -> None:
            self.slow = 30

        def get_signal(self, price: float) -> Any:
            return mean(np.array([price])) if price > self.slow else None

    code = read_code(Cross().get_signal)
    assert code.values == {"get_signal.slow": "30", "Cross.fast": "3"}
    assert "test_cards.mean" in [written.name for written in code.functions]


def test_chance_clocks_and_the_network_are_noted() -> None:
    import random

    def lucky(price: float) -> Any:
        return price if random.random() > 0.5 or np.random.default_rng().random() > 0.5 else None  # noqa: S311

    code = read_code(lucky)
    assert any("random" in note for note in code.notes)
    assert any("numpy.random" in note for note in code.notes)
    assert "numpy" in code.packages


def test_what_functions_call_each_other_ends() -> None:
    def even(n: int) -> bool:
        return n == 0 or odd(n - 1)

    def odd(n: int) -> bool:
        return n != 0 and even(n - 1)

    assert len(read_code(even).functions) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float64(0.1), "0.1"),
        (-0.0, "-0.0"),
        ({"b": (1, 2), "a": {3}}, "{'b': (1, 2), 'a': {3}}"),
        (np.array(3), "3"),
        (Fraction(1, 3), "Fraction(1, 3)"),
        pytest.param(
            1 << 20_000,
            "int of 5003 characters, sha256 " + hashlib.sha256(b"0x1" + b"0" * 5000).hexdigest()[:16],
            id="long",
        ),
        (threading.Event(), "a threading.Event (its content is not compared)"),
    ],
)
def test_a_value_is_spelled_the_same_everywhere(value: object, text: str) -> None:
    assert value_text(value) == text


def test_arrays_frames_and_long_texts_are_digests() -> None:
    import pandas as pd

    array = np.arange(1000.0)
    assert value_text(array) == value_text(array.astype(">f8"))
    assert value_text(array) != value_text(array + 1)
    assert value_text(pd.DataFrame({"a": [1, 2]})) != value_text(pd.DataFrame({"a": [1, 3]}))
    assert "sha256" in value_text("x" * 5000)


@pytest.mark.parametrize(("size", "times"), [(1_000, 2), (2 * 2**20, 1), (20 * 2**20, 1)])
def test_the_state_of_a_large_object_is_written_once(size: int, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []

    def reduced(value: io.BytesIO) -> Any:
        written.append(1)
        return io.BytesIO, (value.getvalue(),)

    monkeypatch.setitem(copyreg.dispatch_table, io.BytesIO, reduced)
    assert "state sha256" in value_text(io.BytesIO(b"x" * size))
    assert len(written) == times


def test_the_state_of_an_object_is_compared_up_to_16_mb() -> None:
    large = b"x" * (20 * 2**20)
    text = value_text(io.BytesIO(large))
    assert text.endswith("(its content is not compared beyond 16 MB)")
    assert value_text(io.BytesIO(large[:-1] + b"y")) == text
    assert value_text(io.BytesIO(b"y" + large[1:])) != text
    assert "not compared" not in value_text(io.BytesIO(large[: 15 * 2**20]))


# --- cards of 0.1.0 ---------------------------------------------------------------------------------------------

OLD = Path(__file__).parent / "data" / "card-0.1.0"


@pytest.fixture
def carded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module whose strategy 0.1.0 wrote a card of; its reader saw less of it than today's."""
    monkeypatch.syspath_prepend(OLD)
    yield importlib.import_module("carded")
    for name in ("carded", "helpers"):
        sys.modules.pop(name, None)


def test_a_card_of_0_1_0_is_verified_without_differences(carded: Any) -> None:
    callbacks = {"on_open": lambda *_: None}
    bknb.add_strategy("carded", interval="1h", get_signal=carded.get_signal, callbacks=callbacks)
    card = Card.load(OLD / "card.json")
    assert card.code.reader == 1
    verification = card.verify()
    assert {part.kind for part in verification.differences} == {"rules"}
    new = verification.result.card
    assert new.code.reader == 3
    assert len(new.code.functions) > len(card.code.functions)  # what 0.1.0 did not see
    assert {part.kind for part in new.diff(card)} == {part.kind for part in card.diff(new)} == {"rules", "with"}


def test_what_changed_since_a_card_of_0_1_0_is_named(carded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carded.clock, "minutes", 30)
    monkeypatch.setattr(carded, "TABLE", carded.TABLE.assign(hours=5))
    text = (OLD / "carded.py").read_text().replace("price * SPACE.down", "price * SPACE.down * 0.99")
    names: dict[str, Any] = {"__name__": "carded"}
    linecache.cache["<new>"] = (len(text), None, text.splitlines(keepends=True), "<new>")
    exec(compile(text, "<new>", "exec"), names)  # noqa: S102
    monkeypatch.setattr(carded, "stop", names["stop"])
    bknb.add_strategy("carded", interval="1h", get_signal=carded.get_signal)
    verification = bknb.verify(OLD / "card.json")
    assert not verification.same
    (line,) = texts(verification, "code")
    assert line == "line 3 of carded.stop: return price * SPACE.down  ->  return price * SPACE.down * 0.99"
    assert texts(verification, "value") == [
        "TABLE: DataFrame ['hours', 'name'] [[4, 'slow']] -> DataFrame ['hours', 'name'] [[5, 'slow']]",
        "clock.minutes: 60 -> 30",
    ]


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A strategy of which 0.1.0 wrote a card in each of two execution models."""
    monkeypatch.syspath_prepend(OLD)
    module = importlib.import_module("entries")
    bknb.add_strategy("entries", interval="1h", get_signal=module.get_signal)
    yield module
    sys.modules.pop("entries", None)


def test_a_card_of_earlier_rules_is_not_comparable_and_blames_nobody(entries: Any) -> None:
    verification = bknb.verify(OLD / "touch.json")
    (part,) = verification.differences
    assert (part.kind, part.text) == (
        "rules",
        "touch fills at other prices now (its rules 1 -> 2): outcomes cannot be compared, make a new card",
    )
    assert not verification.same
    assert repr(verification).splitlines()[0] == "entries on BTCUSDT: not comparable"
    assert "Price tick" not in verification.card.report()  # there was no grid


def test_a_result_in_a_notebook_of_earlier_rules_is_not_comparable(entries: Any) -> None:
    verification = bknb.verify(OLD / "touch.json")
    told = compared([verification.card], [verification.result.card])
    assert not told
    assert repr(told).splitlines()[0] == "result 1 (entries on BTCUSDT): not comparable"
    assert [part.kind for part in told.differences["result 1 (entries on BTCUSDT)"]] == ["rules"]


def test_what_else_differs_is_named_beside_earlier_rules(entries: Any) -> None:
    bknb.set_config(percent_fee=0.05)
    verification = bknb.verify(OLD / "touch.json")
    assert [part.kind for part in verification.differences] == ["setting", "rules"]
    assert repr(verification).startswith("entries on BTCUSDT: NOT the same\n")


def test_a_card_of_0_1_0_in_vwap_is_the_same_to_the_last_bit(entries: Any) -> None:
    """At the market and at limits, cancelled ones among them, and with the limits that were the defaults of 0.1.0."""
    card = Card.load(OLD / "vwap.json")
    assert (card.outcome.trades, card.outcome.cancelled, card.outcome.rejected) == (41, 8, 18)
    assert (card.rules, card.format, card.made_with["bknb"]) == (1, 1, "0.1.0")
    verification = bknb.verify(card)
    assert verification.same, verification
    assert verification.same_outcome
    assert verification.result.card.rules == 1


def test_defaults_of_0_1_0_are_no_setting_of_the_user(entries: Any) -> None:
    """Where a run is not told to repeat them, as in a notebook."""
    card = Card.load(OLD / "vwap.json")
    now = bknb.backtest("BTCUSDT", strategy="entries", exchange="demo", frame="2024-01-02:2024-01-06", execution="vwap")
    told = [part for part in card.diff(now.card) if "default of" in part.text]
    assert [part.text for part in told] == [
        "default of max_signal_lifetime_minutes: 1440 -> not set",
        "default of max_stop_loss_distance_percent: 20 -> not set",
        "default of min_stop_loss_distance_percent: 0.5 -> 0",
        "default of min_take_profit_distance_percent: 0.5 -> 0",
    ]
    assert {part.kind for part in told} == {"with"}
    assert "setting" not in {part.kind for part in card.diff(now.card)}


def test_a_card_of_0_1_0_survives_another_save(tmp_path: Path) -> None:
    card = Card.load(OLD / "vwap.json")
    assert Card.load(card.save(tmp_path / "again.json")) == card


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "0.0"),
        (-0.05, "-0.05"),
        (np.float64(0.5), "0.5"),
        (np.float64(-0.0), "0.0"),
        (-7, "-7"),
        ("-0.0", '"-0.0"'),
    ],
)
def test_equal_numbers_of_an_outcome_are_written_alike(value: Any, text: str) -> None:
    row, written = {"first": 0.1, "value": value}, f'{{"first":0.1,"value":{text}}}'
    assert row_text(row) == written
    lines = [written, '{"note":"two\\nlines"}', written]
    assert [*row_texts(iter([row, {"note": "two\nlines"}, row]))] == lines
    some, expected = [row, {"note": "two\nlines"}, row] * 1_500, hashlib.sha256("\n".join(lines * 1_500).encode())
    assert digest_of_rows(iter(some)) == expected.hexdigest()


def test_candles_that_are_many_have_the_fingerprint_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    candles = Candles.from_rows([(at * 60_000, 1.0 + at, 2.0 + at, 0.5, 1.5, at % 7.0) for at in range(3_000)])
    made = []
    for many in (4_000, 3_000):
        monkeypatch.setattr("bknb.market.candle_fingerprint._MANY", many)
        made.append(fingerprint(candles, exchange="paper", symbol="BTCUSDT", interval="1m"))
    assert made[0] == made[1]
    assert made[0].digest == digest(candles)


def test_the_sums_of_a_day_are_the_same_with_many_days_and_alone() -> None:
    day = 1_440
    candles = Candles.from_rows([(at * 60_000, 1.0 + at, 2.0 + at, 0.5, 1.5, at % 7.0) for at in range(13 * day)])

    def sums(part: Candles) -> Any:
        return fingerprint(part, exchange="paper", symbol="BTCUSDT", interval="1m").days

    assert sums(candles) == {
        key: value for at in range(0, 13 * day, day) for key, value in sums(candles[at : at + day]).items()
    }
