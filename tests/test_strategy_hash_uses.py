"""Sweeps, hold-outs and ledgers tell strategies apart by their hashes, and say what no hash can compare."""

from __future__ import annotations

import ast
import importlib
import itertools
import linecache
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hashed_strategies import HEAD, HELPERS, forget, hashed, later, loading

import bknb
from bknb.engine.registration_checks import make_strategy
from bknb.provenance.source_code_and_hash import read_code, source_hash
from bknb.provenance.source_text import digest_of_code
from bknb.provenance.strategy_hash import fingerprint, running
from bknb.research.holdout_ledger import HoldoutLedger, HoldoutLook
from bknb.research.sweep_trial_ledger import TrialFile


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Any]]:
    yield from loading(tmp_path, monkeypatch)


# --- sweeps -----------------------------------------------------------------------------------------------------

ROWS = """
import helpers

def get_signals(candles, hours=4):
    return {
        "position": candles.close > candles.open,
        "price_take_profit": helpers.target(candles.close),
        "price_stop_loss": candles.close * 0.98,
        "minute_estimated_time": 60 * hours,
    }

def get_signal(price):
    return {
        "position": "long",
        "price_take_profit": helpers.target(price),
        "price_stop_loss": price * 0.98,
        "minute_estimated_time": 240,
    }
"""
SWEEP: dict[str, Any] = {
    "params": {"hours": [4, 8]},
    "symbol": "BTCUSDT",
    "exchange": "demo",
    "frame": ("2024-01-01", "2024-01-08"),
    "interval": "1h",
    "metric": "total_pnl",
}


@pytest.mark.slow
def test_a_sweep_after_a_changed_helper_module_is_no_sweep_of_before(
    load: Callable[[str, str], Any], tmp_path: Path
) -> None:
    pytest.importorskip("numba")
    get_signals = load(ROWS, HELPERS).get_signals
    ledger = tmp_path / "ledger"
    first = bknb.sweep(get_signals, **SWEEP, ledger=ledger)
    assert bknb.sweep(get_signals, **SWEEP, ledger=ledger).from_ledger == 2
    (tmp_path / "helpers.py").write_text(HELPERS.replace("1.02", "1.10"))
    later(tmp_path / "helpers.py")
    importlib.reload(sys.modules["helpers"])
    again = bknb.sweep(get_signals, **SWEEP, ledger=ledger)
    truth = bknb.sweep(get_signals, **SWEEP, ledger=tmp_path / "fresh")
    assert again.from_ledger == 0
    assert list(again.table["total_pnl"]) == list(truth.table["total_pnl"]) != list(first.table["total_pnl"])
    assert len(TrialFile(ledger).all()) == 4


@pytest.mark.slow
def test_workers_run_helper_modules_as_they_are_here(load: Callable[[str, str], Any]) -> None:
    pytest.importorskip("numba")
    pytest.importorskip("cloudpickle")
    get_signals = load(ROWS, HELPERS).get_signals
    sys.modules["helpers"].UP = 1.10  # type: ignore[attr-defined]  # as a notebook does it
    here = bknb.sweep(get_signals, **SWEEP)
    assert list(bknb.sweep(get_signals, **SWEEP, executor=2).table["total_pnl"]) == list(here.table["total_pnl"])


@pytest.mark.slow
def test_functions_as_parameters_are_told_apart_by_their_code(tmp_path: Path) -> None:
    pytest.importorskip("numba")

    def rows(candles: Any, target: Any = None) -> dict[str, Any]:
        return {
            "position": candles.close > candles.open,
            "price_take_profit": target(candles.close),
            "price_stop_loss": candles.close * 0.98,
            "minute_estimated_time": 60,
        }

    def targets(up: float) -> list[Any]:
        return [lambda close: close * up, lambda close: close * (up + 0.01)]

    more = {**SWEEP, "ledger": tmp_path / "ledger"}
    assert bknb.sweep(rows, **more | {"params": {"target": targets(1.02)}}).from_ledger == 0
    assert bknb.sweep(rows, **more | {"params": {"target": targets(1.02)}}).from_ledger == 2
    assert bknb.sweep(rows, **more | {"params": {"target": targets(1.05)}}).from_ledger == 0


def test_results_of_a_strategy_that_reads_a_file_are_computed_again_and_a_line_says_so(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    up = tmp_path / "up"
    up.write_text("1.02")

    def rows(candles: Any, hours: int = 4) -> dict[str, Any]:
        return {
            "position": candles.close > candles.open,
            "price_take_profit": candles.close * float(up.read_text()),
            "price_stop_loss": candles.close * 0.98,
            "minute_estimated_time": 60 * hours,
        }

    first = bknb.sweep(rows, **SWEEP, ledger=tmp_path / "ledger")
    assert not any("ledger" in warning for warning in first.warnings)
    up.write_text("1.005")
    again = bknb.sweep(rows, **SWEEP, ledger=tmp_path / "ledger")
    assert again.from_ledger == 0
    assert list(again.table["total_pnl"]) != list(first.table["total_pnl"])
    (warning,) = [warning for warning in again.warnings if "ledger" in warning]
    assert warning.startswith("2 results in the ledger were computed again")
    assert "it reads files, databases or the network while it runs: what they hold is not compared" in warning


# --- hold-outs --------------------------------------------------------------------------------------------------


def look(path: Path, get_signal: Any) -> bknb.Holdout:
    return bknb.open_holdout(get_signal, exchange="demo", frame="2024-03-01:2024-03-04", path=path, interval="1h")


def test_a_changed_helper_module_is_another_strategy_to_the_hold_out(
    load: Callable[[str, str], Any], tmp_path: Path
) -> None:
    path = tmp_path / "openings.jsonl"
    get_signal = load(ROWS, HELPERS).get_signal
    first = look(path, get_signal)
    (tmp_path / "helpers.py").write_text(HELPERS.replace("1.02", "1.005"))
    later(tmp_path / "helpers.py")
    importlib.reload(sys.modules["helpers"])
    second, third = look(path, get_signal), look(path, get_signal)
    assert (first.strategies, second.strategies, third.strategies) == (1, 2, 2)
    assert second.opened_at > first.opened_at
    assert third.opened_at == second.opened_at
    assert all(each.strategy_hash.startswith("3:") for each in third.earlier)


def test_looks_recorded_by_an_older_bknb_are_reported_and_count(
    load: Callable[[str, str], Any], tmp_path: Path
) -> None:
    path = tmp_path / "openings.jsonl"
    get_signal = load(ROWS, HELPERS).get_signal
    fresh = look(path, get_signal)
    (now,) = HoldoutLedger(path).all()
    path.unlink()
    for number, (name, old_hash) in enumerate((("get_signal", "ab12"), ("get_signal", "ab12"), ("other", "cd34"))):
        HoldoutLedger(path).add(
            HoldoutLook(
                opened_at=1_700_000_000_000 + number, data=now.data, strategy_hash=old_hash, strategy=name,
                symbol=now.symbol, exchange=now.exchange, start=now.start, end=now.end,
            )
        )  # fmt: skip
    upgraded = look(path, get_signal)
    assert fresh.first
    assert not upgraded.first
    assert len(upgraded.earlier) == 3
    assert upgraded.strategies == 3  # two of before, and this one, as nobody can say that it is one of them
    assert upgraded.opened_at == 1_700_000_000_000
    assert "opened 3 times before, first 2023-11-14 22:13 UTC, by 3 strategies" in upgraded.verdict
    assert "3 earlier looks was hashed by an older bknb" in upgraded.verdict


# --- strategies that change themselves --------------------------------------------------------------------------

CHANGING = {
    "cache": ("CACHE = {}\n", "CACHE[price] = 1", "CACHE"),
    "list that grows": ("SEEN = [0]\n", "SEEN.append(price)", "SEEN"),
    "counter": ("COUNT = 0\n", "global COUNT; COUNT += 1", "COUNT"),
    "name that is made": ("", "global MADE; MADE = price", "MADE"),
    "attribute": ("class Book: pass\nbook = Book()\nbook.n = 0\n", "book.n += 1", "book.n"),
    "cached property": (
        "class Book:\n    @functools.cached_property\n    def n(self): return 3\nbook = Book()\n",
        "book.n",
        "book",
    ),
    "class attribute": ("class Book:\n    n = 0\n", "Book.n += 1", "Book.n"),
    "attribute of a function": ("def rule(): return rule.n\nrule.n = 0\n", "rule.n += 1; rule()", "rule.n"),
    "closure": (
        """
def made():
    n = 0
    def count():
        nonlocal n
        n += 1
        return n
    return count
count = made()
""",
        "count()",
        "count",
    ),
    "array": ("ROWS = np.zeros(3)\n", "ROWS[0] += 1", "ROWS"),
    "attribute of a module": ("", "helpers.UP += 1", "helpers.UP"),
}


@pytest.mark.parametrize("kind", CHANGING)
def test_what_a_strategy_changes_of_itself_makes_no_other_strategy(kind: str, load: Callable[[str, str], Any]) -> None:
    head, change, read = CHANGING[kind]
    text = f"{HEAD}{head}OTHER = 3\ndef get_signal(price):\n    {change}\n    return OTHER, {read}\n"
    module = load(text, HELPERS)
    strategy = make_strategy("x", module.get_signal, interval="1h")
    before = fingerprint(strategy)
    for _ in range(2):
        with running(strategy):
            module.get_signal(1)
            module.get_signal(2)
        assert fingerprint(strategy) == before
    module.OTHER = 4
    assert fingerprint(strategy) != before
    module.OTHER = 3
    assert fingerprint(strategy) == before
    module.get_signal(3)  # by the user: what changed between two runs counts, in the same place as well
    assert (fingerprint(strategy) == before) is (kind == "cached property")


def test_a_strategy_with_a_cache_is_one_strategy_to_the_hold_out_and_is_found_in_the_ledger(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    cache: dict[str, Any] = {}

    def rows(candles: Any, hours: int = 4) -> dict[str, Any]:
        cache[f"{hours} {len(candles)} {len(cache)}"] = candles.close.mean()
        return {
            "position": candles.close > candles.open,
            "price_take_profit": candles.close * 1.02,
            "price_stop_loss": candles.close * 0.98,
            "minute_estimated_time": 60 * hours,
        }

    bknb.backtest("BTCUSDT", strategy=rows, interval="1h", exchange="demo", frame="2024-03-01:2024-03-04")
    assert [look(tmp_path / "openings.jsonl", rows).strategies for _ in range(2)] == [1, 1]
    found = [bknb.sweep(rows, **SWEEP, ledger=tmp_path / "ledger").from_ledger for _ in range(2)]
    assert found == [0, 2]
    assert cache
    cache.clear()  # as a new process has it
    assert look(tmp_path / "openings.jsonl", rows).strategies == 1


@pytest.mark.parametrize(
    "path",
    [
        "pathlib.Path(__file__).parent / 'levels.csv'",
        "os.path.join(os.path.dirname(__file__), 'levels.csv')",
        "[str(pathlib.Path(__file__).resolve().parent)]",
    ],
)
def test_a_path_beside_the_strategy_is_the_same_in_another_folder(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"import os, pathlib\nLEVELS = {path}\ndef get_signal(price): return LEVELS\n"

    def in_folder(name: str, content: str) -> str:
        (tmp_path / name).mkdir()
        (tmp_path / name / "made_strategy.py").write_text(content)
        with monkeypatch.context() as patched:
            patched.syspath_prepend(tmp_path / name)
            forget()
            importlib.invalidate_caches()
            return hashed(importlib.import_module("made_strategy").get_signal)

    first, second = in_folder("one", text), in_folder("other", text)
    assert first == second
    assert in_folder("third", text.replace("levels.csv", "limits.csv").replace("[str", "['x', str")) != first
    forget()


# --- what cannot be read ------------------------------------------------------------------------------------------


class Link:
    """One of a chain of objects."""

    def __init__(self, level: int) -> None:
        self.level = level
        self.next: Link | None = None


def chain(count: int, *, last: int = 0) -> Callable[..., Any]:
    links = [Link(0) for _ in range(count)]
    for one, other in itertools.pairwise(links):
        one.next = other
    links[-1].level = last

    def get_signal(price: float) -> Any:
        return links[0].level * price

    return get_signal


@pytest.mark.slow
def test_names_in_a_long_chain_of_objects_stay_short() -> None:
    code = read_code(chain(2_000))
    assert max(map(len, code.values)) < 250
    assert len(code.values) >= 2_000
    assert source_hash(chain(2_000)) == source_hash(chain(2_000)) != source_hash(chain(2_000, last=1))


def test_equal_names_are_numbered() -> None:
    functions = [lambda level=level: level for level in range(3)]
    code = read_code(*functions)
    name = f"{functions[0].__qualname__.rpartition('<locals>.')[2]}(level)"
    assert code.values == {name: "0", f"{name} (2)": "1", f"{name} (3)": "2"}


LOADING = """\
def get_signal(price):
    import importlib
    from importlib import import_module as load
    import builtins
    {line}
"""


@pytest.mark.parametrize(
    "line",
    [
        "return importlib.import_module('helpers').target(price)",
        "h = importlib.import_module('helpers'); return h.target(price)",
        "return load('helpers').target(price)",
        "return __import__('helpers').target(price)",
        "h = load(name='helpers'); return h.target(price)",
        "return [load('helpers').target(p) for p in (1, 2)]",
        "return getattr(importlib.import_module('helpers'), 'target')(price)",
    ],
)
def test_a_helper_loaded_by_a_written_name_is_read(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for text in ("price * UP", "price / UP"):
        (tmp_path / "helpers.py").write_text(HELPERS.replace("price * UP", text))
        sys.modules.pop("helpers", None)
        importlib.invalidate_caches()
        space: dict[str, Any] = {"__name__": "__main__"}
        exec(LOADING.replace("{line}", line), space)  # noqa: S102 -- as a cell is
        code = read_code(space["get_signal"])
        assert any("target" in written.name for written in code.functions), line
        assert code.notes == ()
        found.append(source_hash(space["get_signal"]))
    sys.modules.pop("helpers", None)
    assert found[0] != found[1]


def test_a_helper_loaded_relative_to_its_package_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "__init__.py").write_text("")
    (tmp_path / "own_package" / "helpers.py").write_text(HELPERS)
    (tmp_path / "own_package" / "strategies.py").write_text(
        "import importlib\ndef get_signal(price):\n"
        "    return importlib.import_module('.helpers', __package__).target(price)\n"
    )
    code = read_code(importlib.import_module("own_package.strategies").get_signal)
    for name in [name for name in sys.modules if name.startswith("own_package")]:
        del sys.modules[name]
    assert [written.name for written in code.functions][1:] == ["own_package.helpers.target"]
    assert code.notes == ()


@pytest.mark.parametrize(
    "line",
    [
        "return importlib.import_module(price.name)",
        "return load('help' + price)",
        "return __import__(price)",
        "return list(map(load, price))",
        "return load(f'helpers_{price}')",
        "return __import__('helpers', globals())",
        "return load('.helpers', price)",
    ],
)
def test_a_helper_loaded_by_a_name_that_is_not_written_is_noted(line: str) -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(LOADING.replace("{line}", line), space)  # noqa: S102 -- as a cell is
    notes = read_code(space["get_signal"]).notes
    assert notes[-1] == "it loads a module whose name is not written in it: what that module holds is not compared"


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("return globals()[price]", "names that are not written in it"),
        ("return eval(price)", "names that are not written in it"),
        ("return eval('eval(price)')", "names that are not written in it"),
        ("import sys; return sys.modules[price].UP", "names that are not written in it"),
        ("import sys; return sys._getframe(1).f_locals", "names that are not written in it"),
        ("return open('levels').read()", "it reads files, databases"),
        ("import pathlib; return pathlib.Path('levels').read_text()", "it reads files, databases"),
        ("import pandas; return pandas.read_csv('levels')", "it reads files, databases"),
        ("import numpy; return numpy.load('levels.npy')", "it reads files, databases"),
        (
            "import sqlite3; return sqlite3.connect('levels.db').execute('select 1').fetchall()",
            "it reads files, databases",
        ),
        ("from urllib.request import urlopen; return urlopen('http://levels').read()", "it reads files, databases"),
        ("import os; return os.environ['LEVEL']", "environment variables"),
        ("import os; return os.getenv('LEVEL')", "environment variables"),
    ],
)
def test_what_cannot_be_read_is_noted(line: str, note: str) -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(f"def get_signal(price):\n    {line}", space)  # noqa: S102 -- as a cell is
    code = read_code(space["get_signal"])
    assert note in code.not_compared[0]
    assert len(code.not_compared) == 1


def test_a_note_tells_of_values_that_are_not_compared() -> None:
    rows, lock, environment = (n for n in range(3)), threading.Lock(), os.environ
    assert read_code(lambda: rows).not_compared == ("rows: its content is not compared",)
    assert read_code(lambda: lock).not_compared == ()
    code = read_code(lambda: environment)
    assert code.values == {"environment": "the environment (its content is not compared)"}
    assert code.not_compared == ("environment: its content is not compared",)


@pytest.mark.slow
def test_a_file_of_many_lambdas_is_parsed_once_and_again_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    parse = ast.parse
    monkeypatch.setattr(
        ast, "parse", lambda source, *given, **named: parsed.append(source) or parse(source, *given, **named)
    )
    name, digests = "<many lambdas>", []
    for added in (1, 2):
        source = "\n".join(f"f{at} = lambda x: x + {at * added}" for at in range(20)) + "\n"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        made: dict[str, Any] = {}
        exec(compile(source, name, "exec"), made)  # noqa: S102 -- as a cell is run
        digests.append([digest_of_code(made[f"f{at}"].__code__, None) for at in range(20)])
    del linecache.cache[name]
    assert len(parsed) == 2
    assert len(set(digests[0])) == 20
    assert digests[0][0] == digests[1][0]
    assert digests[0][2::2] == digests[1][1:10]
    assert not set(digests[0]) & set(digests[1][10:])
