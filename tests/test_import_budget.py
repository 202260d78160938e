"""``import bknb`` is light: counted in packages, which do not depend on the machine."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import bknb

HEAVY = {
    "numba",
    "llvmlite",
    "numpy",
    "pandas",
    "plotly",
    "ccxt",
    "matplotlib",
    "IPython",
    "ipywidgets",
    "pyarrow",
    "tqdm",
    "asyncio",
}
SLOW = HEAVY - {"numpy", "asyncio"}
# Modules of ours behind the names of a run came to be for a reason each; another one has to be named here.
OF_MANAGED = {  # answers and declared exits are in the types and checks of `Signal`; book, fills, view in every state
    f"bknb.domain.{name}"
    for name in (
        *("manage_answers", "declared_exits", "exit_validation", "manual_inputs"),
        *(
            "position_fills",
            "trailing_and_breakeven_stops",
            "position_book",
            "profit_of_partial_closes",
            "position_seen_by_manage",
        ),
    )
}
OF_THE_LIFECYCLE = {  # parts of it that became modules: they were loaded before, in larger ones
    *(
        f"bknb.domain.{name}"
        for name in ("lifecycle_entries", "lifecycle_exits", "signal_events", "states", "state_as_text")
    ),
    *(f"bknb.domain.{name}" for name in ("checked_signal", "lifecycle_inputs")),
    *(
        f"bknb.engine.{name}"
        for name in (
            "ask_in_backtest",
            "callback_names",
            "prices_that_change_a_state",
            "question_time_limit",
            "questions",
        )
    ),
    *(f"bknb.engine.{name}" for name in ("backtest_rules", "filling_minutes", "next_change", "strategy_checks")),
}
OF_WHAT_IS_GIVEN = {  # checks of arguments and of candles
    *("bknb.domain.keyword_arguments", "bknb.domain.whole_number"),
    *(
        f"bknb.market.{name}"
        for name in (
            "price_spikes_and_unit_changes",
            "prices_at_or_below_zero_refused",
            "answer_notes",
            "source_answers",
            "measured_bar_length",
            "stretched_bars",
        )
    ),
}
OF_THE_CLOCK = {  # orders for the close and lifetimes by the clock of the market are in the types of every state
    *(
        f"bknb.domain.{name}"
        for name in (
            "market_on_close_orders",
            "entry_boundaries",
            "entry_timeout",
            "unfilled_entries",
            "market_clock_protocol",
        )
    ),
    "bknb.engine.rules_clock",
    "bknb.market.bar_slots",  # of every series; the grids of bars that count from an open are not loaded
}
OF_ASKING = {f"bknb.market.{name}" for name in ("retries", "short_answers", "source_hours")}  # parts of the feed before
OF_FILES = {"bknb.runs.save_result"}  # what a result can be written to is in its class; nothing that writes is loaded
OF_THE_MEMO = {"bknb.engine.strategy_memo"}  # a few lines that look whether a strategy has one
NAMED = OF_MANAGED | OF_THE_LIFECYCLE | OF_THE_CLOCK | OF_WHAT_IS_GIVEN | OF_ASKING | OF_FILES | OF_THE_MEMO
PLAIN = 99 + len(NAMED)
ONLY_MANAGED = {  # what carries answers and exits out, and the columns of `get_signals`: only when one is there
    *(
        f"bknb.domain.{name}"
        for name in (
            *("manual_steps", "managed_fills", "order_of_fills_in_a_managed_minute"),
            *("manage_answers_refused", "manage_answers_carried_out", "moved_stops_and_targets"),
        )
    ),
    *(f"bknb.engine.{name}" for name in ("column_values", "get_signals_exit_columns", "get_signals_columns")),
    *(f"bknb.runs.{name}" for name in ("fill_table", "stop_table")),
}


ONLY_WITH_SESSIONS = {
    "bknb.domain.ranges",
    *(f"bknb.market.{name}" for name in ("holidays_by_calendar_name", "us_holidays", "sessions")),
}
ONLY_AFTER_FAILURE = {"bknb.domain.retry_pauses"}
ONLY_WITH_CAPITAL = {
    *(
        f"bknb.domain.{name}"
        for name in (
            "funding_charged_and_fills_booked",
            "quantity_or_lack_of_cash",
            "percent_risk_and_kelly_sizes",
            "size_request",
        )
    ),
    *(f"bknb.engine.{name}" for name in ("account_plan", "shared_account", "leg_account")),
    *(f"bknb.runs.{name}" for name in ("account_result", "account_equity")),
}


def test_every_module_that_is_named_here_exists() -> None:
    """One that is not there is never loaded: what is said of it would hold for ever."""
    for name in NAMED | ONLY_MANAGED | ONLY_WITH_SESSIONS | ONLY_WITH_CAPITAL | ONLY_AFTER_FAILURE:
        assert find_spec(name) is not None, name


def pulled(code: str) -> set[str]:
    """Top-level packages in memory after ``code`` ran in a process of its own."""
    script = f"{code}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.splitlines()[-1].split())


def loaded(code: str) -> set[str]:
    """Modules that ``code`` loads in a process of its own."""
    script = f"import sys\nbefore = {{*sys.modules}}\n{code}\nprint(*{{*sys.modules}} - before)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.splitlines()[-1].split())


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] == "bknb"}


@pytest.mark.slow
def test_a_process_without_files_has_what_the_lifecycle_loads_when_it_is_needed() -> None:
    """Modules of the domain that functions import: the sandbox has all but those of decisions by hand and brokers."""
    needed = {
        f"bknb.domain.{name}"
        for path in (Path(bknb.__file__).parent / "domain").glob("*.py")
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for name in ([node.module] if node.module else [alias.name for alias in node.names])
    }
    assert len(needed) > 5
    assert needed - loaded("import bknb.sandbox.child") == {"bknb.domain.manual_steps", "bknb.domain.closed_at_broker"}


def test_import_pulls_nothing_heavy() -> None:
    assert pulled("import bknb") & HEAVY == set()


def test_import_reads_the_names_and_nothing_else() -> None:
    found = loaded("import bknb")
    assert ours(found) == {"bknb", "bknb.lazy_names", "bknb.version"}
    assert found & {"ast", "dataclasses", "pathlib", "re", "typing"} == set()
    assert len(found) <= 15, sorted(found)


@pytest.mark.parametrize("namespace", ["brokers", "exchanges", "llm", "stores"])
def test_a_namespace_loads_what_is_asked_for(namespace: str) -> None:
    code = f"import bknb.{namespace}\ndir(bknb.{namespace})"
    assert ours(loaded(code)) == {"bknb", "bknb.lazy_names", "bknb.version", f"bknb.{namespace}"}


@pytest.mark.slow
def test_the_names_of_a_run_load_no_disk_and_no_other_source() -> None:
    found = loaded("import bknb\nbknb.backtest, bknb.Signal, bknb.add_strategy, bknb.exchanges.demo")
    rooms = {name.split(".")[1] for name in ours(found) if "." in name}
    assert rooms & {"brokers", "history", "jupyter", "live", "llm", "optimizer", "sandbox", "stores", "sweeps"} == set()
    assert {name for name in found if name.startswith("bknb.exchanges.")} == {
        "bknb.exchanges.demo_in_sessions_and_bundled"
    }
    assert found & {"fractions", "shutil", "sqlite3"} == set()
    assert len(ours(found)) <= PLAIN, sorted(ours(found))
    assert ours(found) >= NAMED  # else the limit is too high
    assert ours(found) & (ONLY_MANAGED | ONLY_WITH_SESSIONS | ONLY_AFTER_FAILURE) == set()


def test_looking_at_the_names_pulls_nothing_heavy() -> None:
    assert pulled("import bknb\ndir(bknb)\nbknb.set_config(percent_fee=0.05)\nbknb.UsageError") & HEAVY == set()


def test_the_command_line_starts_light() -> None:
    assert (
        pulled("import bknb.cli\ntry:\n    bknb.cli.main(['--version'])\nexcept SystemExit:\n    pass") & HEAVY == set()
    )


@pytest.mark.slow
def test_a_run_needs_no_charts_and_no_frames() -> None:
    names = [
        "backtest",
        "Backtest",
        "add_strategy",
        "get_candles",
        "listen_signal",
        "statistics",
        "exchanges",
        "Candles",
    ]
    assert pulled("import bknb\n" + "\n".join(f"bknb.{name}" for name in names)) & SLOW == set()


@pytest.mark.slow
def test_a_plain_backtest_loads_no_store_and_nothing_of_managed_positions() -> None:
    run = "bknb.backtest('BTCUSDT', strategy=lambda: None, exchange='demo', frame='2024-01-01:2024-01-02')"
    found = loaded(f"import bknb\n{run}")
    assert found & {"sqlite3", "zoneinfo", *ONLY_MANAGED, *ONLY_WITH_SESSIONS, *ONLY_AFTER_FAILURE} == set()
    assert found & ONLY_WITH_CAPITAL == set()
    assert pulled("import bknb\nbknb.exchanges.demo()\nbknb.exchanges.CandleStore") & {"sqlite3"} == set()


def test_the_budget_detects_a_heavy_import() -> None:
    assert "numpy" in pulled("import numpy")
