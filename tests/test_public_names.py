"""The public names are a promise: this list changes only on purpose."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import pickle
import pydoc
import tomllib
from pathlib import Path
from typing import Any

import pytest

import bknb
from bknb.lazy_names import read_stub

ROOT = Path(__file__).parent.parent

PUBLIC_NAMES = [
    "Active",
    "Add",
    "AddCancelled",
    "Added",
    "Asked",
    "Atr",
    "Audit",
    "Backtest",
    "BadCandle",
    "BknbError",
    "Breakeven",
    "BrokerError",
    "Cancel",
    "Cancelled",
    "Candles",
    "Card",
    "Checkup",
    "Close",
    "Closed",
    "ClosedTrade",
    "Constant",
    "CostRequest",
    "Costs",
    "DataError",
    "Downloaded",
    "Fixed",
    "Forgotten",
    "GapError",
    "Heat",
    "HeldPosition",
    "Idle",
    "InvalidSignal",
    "InvalidTransition",
    "Kelly",
    "Live",
    "LookaheadError",
    "LookbackTooShort",
    "Margin",
    "Milestone",
    "MissingDependency",
    "ModelError",
    "ModelLate",
    "Moment",
    "Move",
    "Moved",
    "NotEnoughData",
    "NotebookVerification",
    "Opened",
    "Optimizer",
    "Partial",
    "Percent",
    "Performance",
    "Perpetual",
    "Portfolio",
    "PortfolioCard",
    "PortfolioResult",
    "PositionSize",
    "Reduce",
    "Reduced",
    "Rejected",
    "ReplyRefused",
    "Result",
    "Risk",
    "RiskPercent",
    "RiskRefused",
    "RiskRequest",
    "Scaled",
    "Schedule",
    "Scheduled",
    "SeriesRows",
    "Sessions",
    "Settings",
    "Shared",
    "Signal",
    "SizeRequest",
    "Spot",
    "StateError",
    "StrategyError",
    "Sweep",
    "SweepResult",
    "Task",
    "Trailing",
    "Units",
    "UnknownName",
    "UsageError",
    "Verification",
    "Walker",
    "Weight",
    "add_exchange",
    "add_frame",
    "add_optimizer",
    "add_risk",
    "add_series",
    "add_sizing",
    "add_strategy",
    "add_walker",
    "ask_model",
    "at",
    "audit",
    "backtest",
    "belief",
    "brokers",
    "check_lookahead",
    "content_hash",
    "dashboard",
    "doctor",
    "download",
    "enable_nested",
    "exchanges",
    "format_price",
    "format_quantity",
    "get_average_price",
    "get_candles",
    "get_config",
    "get_exchange",
    "get_frame",
    "get_mode",
    "get_optimizer",
    "get_risk",
    "get_series",
    "get_sizing",
    "get_strategy",
    "get_symbol",
    "get_walker",
    "get_when",
    "heat_statistics",
    "indicator",
    "indicators",
    "interact",
    "list_exchanges",
    "list_frames",
    "list_optimizers",
    "list_risks",
    "list_series",
    "list_sizings",
    "list_strategies",
    "list_walkers",
    "listen_done_backtest",
    "listen_done_backtest_once",
    "listen_done_live",
    "listen_done_live_once",
    "listen_done_walker",
    "listen_done_walker_once",
    "listen_error",
    "listen_error_once",
    "listen_exit",
    "listen_exit_once",
    "listen_partial_loss",
    "listen_partial_loss_once",
    "listen_partial_profit",
    "listen_partial_profit_once",
    "listen_performance",
    "listen_performance_once",
    "listen_position",
    "listen_position_once",
    "listen_progress_backtest",
    "listen_progress_backtest_once",
    "listen_progress_optimizer",
    "listen_progress_optimizer_once",
    "listen_progress_walker",
    "listen_progress_walker_once",
    "listen_resumed",
    "listen_resumed_once",
    "listen_risk",
    "listen_risk_once",
    "listen_scaled",
    "listen_scaled_once",
    "listen_signal",
    "listen_signal_backtest",
    "listen_signal_backtest_once",
    "listen_signal_live",
    "listen_signal_live_once",
    "listen_signal_once",
    "listen_validation",
    "listen_validation_once",
    "listen_walker",
    "listen_walker_complete",
    "listen_walker_complete_once",
    "listen_walker_once",
    "llm",
    "luck",
    "model",
    "notify",
    "open_holdout",
    "outcomes",
    "panels",
    "portfolio",
    "protections",
    "set_config",
    "set_logger",
    "set_store",
    "share",
    "size",
    "sources",
    "statistics",
    "stores",
    "strategy",
    "sweep",
    "verify",
    "verify_notebook",
    "walk_forward",
    "walker",
    "weights",
]


def is_error(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)


def test_the_list_is_pinned() -> None:
    assert sorted(bknb.__all__) == PUBLIC_NAMES


def stub_of(package: str) -> Path:
    return ROOT / package.replace(".", "/") / "__init__.pyi"


def written(package: str) -> dict[str, str]:
    """Public name -> module it comes from, as type checkers understand the stub of a package."""
    return {
        alias.asname or alias.name: "." * node.level + (node.module or "")
        for node in ast.parse(stub_of(package).read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }


def homes() -> dict[str, str]:
    """Public name -> module below bknb it comes from; empty for the public namespaces."""
    return {name: module.removeprefix(".") for name, module in written("bknb").items()}


NAMESPACES = ["bknb.brokers", "bknb.exchanges", "bknb.llm", "bknb.stores"]


@pytest.mark.parametrize("package", ["bknb", *NAMESPACES])
def test_type_checkers_and_the_run_time_read_one_list(package: str) -> None:
    assert read_stub(str(stub_of(package))) == written(package)
    assert sorted(written(package)) == importlib.import_module(package).__all__
    assert not stub_of(package).with_suffix(".py").read_text(encoding="utf-8").count("TYPE_CHECKING")


def test_a_stub_is_read_however_its_lines_are_broken(tmp_path: Path) -> None:
    lines = [
        '"""Names as they are known."""',
        "from . import panels as panels",
        "from .config import Settings as Settings, get_config as get_config",
        "from ..domain.retry_pauses import (",
        "    Patience as Patience,  # of a source",
        ")",
    ]
    stub = tmp_path / "__init__.pyi"
    stub.write_text("\n".join(lines), encoding="utf-8")
    assert read_stub(str(stub)) == {
        "panels": ".",
        "Settings": ".config",
        "get_config": ".config",
        "Patience": "..domain.retry_pauses",
    }


@pytest.mark.parametrize("package", NAMESPACES)
def test_a_namespace_shows_its_names(package: str) -> None:
    namespace = importlib.import_module(package)
    assert {*written(package)} <= {*dir(namespace)}
    page = pydoc.plain(pydoc.render_doc(namespace))
    for name, module in written(package).items():
        value = getattr(namespace, name)
        assert value.__module__ == importlib.util.resolve_name(module, package)
        assert inspect.getdoc(value)
        assert pickle.loads(pickle.dumps(value)) is value  # noqa: S301 - what was written just now
        assert name in page


@pytest.mark.parametrize("package", NAMESPACES)
def test_a_namespace_refuses_an_unknown_name(package: str) -> None:
    namespace = importlib.import_module(package)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'papr'") as refused:
        namespace.papr  # noqa: B018
    assert (refused.value.name, refused.value.obj) == ("papr", namespace)  # Python suggests names by them


@pytest.mark.parametrize(("name", "module"), [(name, module) for name, module in homes().items() if module])
def test_a_name_is_listed_with_the_module_that_defines_it(name: str, module: str) -> None:
    assert getattr(bknb, name).__module__ == f"bknb.{module}"


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_it_can_be_imported_and_explains_itself(name: str) -> None:
    value = getattr(bknb, name)
    assert inspect.getdoc(value)
    assert name in dir(bknb)


# Not the errors: each is known by its place in the tree that bknb.errors draws. Not the modules of ready-made things.
SHOWN = [name for name, module in homes().items() if module not in {"", "errors"}]


@pytest.mark.parametrize("name", SHOWN)
def test_it_shows_an_example(name: str) -> None:
    value = getattr(bknb, name)
    text = inspect.getdoc(value) or ""
    assert "\nExamples\n--------\n" in text, f"{name} has no Examples section"
    assert ">>> " in text.split("\nExamples\n--------\n")[1], f"{name} has no runnable example"


def test_an_unknown_name_is_refused_with_its_name() -> None:
    with pytest.raises(AttributeError, match="module 'bknb' has no attribute 'backtst'"):
        bknb.backtst  # noqa: B018


def test_the_version_is_the_package_s() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert bknb.__version__ == project["version"]


def test_every_error_is_public() -> None:
    from bknb import errors

    classes = {name for name, value in vars(errors).items() if is_error(value) and value.__module__ == errors.__name__}
    assert classes <= set(PUBLIC_NAMES)


def test_an_old_name_of_an_exchange_is_told() -> None:
    with pytest.warns(DeprecationWarning, match="write: CandleStoreSource"):
        assert bknb.exchanges.ShelfSource is bknb.exchanges.CandleStoreSource
