"""A notebook toolkit for trading strategies.

Write ``get_signal`` in a cell, see what it would have done, run the same function live::

    import bknb

    @bknb.strategy("my-first", interval="15m")
    def get_signal(ctx): ...

    demo = bknb.exchanges.demo()
    result = bknb.backtest("BTCUSDT", strategy="my-first", exchange=demo, frame="2024-01-01:2024-02-01")

In a notebook, ``%load_ext bknb`` adds the magics.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from . import brokers, exchanges, llm, panels, sources, stores
    from .config import Settings, get_config, set_config
    from .diagnostics.doctor import Checkup, doctor
    from .domain.risk import RiskRequest
    from .domain.signal import (
        Active,
        Cancelled,
        Closed,
        Idle,
        Milestone,
        Opened,
        Rejected,
        RiskRefused,
        Scheduled,
        Signal,
    )
    from .domain.sizing import Constant
    from .engine.registration import add_exchange, add_frame, add_risk, add_strategy, strategy
    from .engine.registry import (
        get_exchange,
        get_frame,
        get_risk,
        get_sizing,
        get_strategy,
        get_walker,
        list_exchanges,
        list_frames,
        list_risks,
        list_sizings,
        list_strategies,
        list_walkers,
    )
    from .engine.sizing import PositionSize, add_sizing
    from .errors import (
        BadCandle,
        BknbError,
        BrokerError,
        DataError,
        GapError,
        InvalidSignal,
        InvalidTransition,
        MissingDependency,
        ModelError,
        NotEnoughData,
        ReplyRefused,
        StateError,
        StrategyError,
        UnknownName,
        UsageError,
    )
    from .events.listen import (
        listen_done_backtest,
        listen_done_backtest_once,
        listen_done_live,
        listen_done_live_once,
        listen_done_walker,
        listen_done_walker_once,
        listen_error,
        listen_error_once,
        listen_exit,
        listen_exit_once,
        listen_partial_loss,
        listen_partial_loss_once,
        listen_partial_profit,
        listen_partial_profit_once,
        listen_performance,
        listen_performance_once,
        listen_progress_backtest,
        listen_progress_backtest_once,
        listen_progress_optimizer,
        listen_progress_optimizer_once,
        listen_progress_walker,
        listen_progress_walker_once,
        listen_resumed,
        listen_resumed_once,
        listen_risk,
        listen_risk_once,
        listen_signal,
        listen_signal_backtest,
        listen_signal_backtest_once,
        listen_signal_live,
        listen_signal_live_once,
        listen_signal_once,
        listen_validation,
        listen_validation_once,
        listen_walker,
        listen_walker_complete,
        listen_walker_complete_once,
        listen_walker_once,
    )
    from .exchanges.audit import Audit, audit
    from .exchanges.download import Downloaded, download
    from .jupyter.dashboard.dashboard import dashboard
    from .llm.ask import ask_model
    from .log import set_logger
    from .market.candles import Candles, content_hash
    from .market.context import (
        format_price,
        format_quantity,
        get_average_price,
        get_candles,
        get_mode,
        get_symbol,
        get_when,
    )
    from .market.sessions import Sessions
    from .metrics.heat import heat_statistics
    from .metrics.statistics import statistics
    from .optimizer.optimizer import Optimizer
    from .optimizer.registration import add_optimizer, get_optimizer, list_optimizers
    from .provenance.card import Card
    from .research.belief import belief
    from .runs.backtest import Backtest, backtest
    from .runs.check_lookahead import check_lookahead
    from .runs.live import Live
    from .runs.make_card import Verification, verify
    from .runs.moment import Asked, Moment
    from .runs.nested_loop import enable_nested
    from .runs.reports import Heat, Performance, Schedule
    from .runs.result import Result
    from .runs.sweep import Sweep, sweep
    from .runs.sweep_result import SweepResult
    from .runs.tallies import Partial, Risk
    from .runs.task import Task
    from .runs.walk_forward import open_holdout, walk_forward
    from .runs.walker import Walker, add_walker, walker
    from .sharing.share import Shared, share
    from .sharing.verify_notebook import NotebookVerification, verify_notebook
    from .stores.choose import set_store

__version__ = "0.1.0"

__all__ = [
    "Active",
    "Asked",
    "Audit",
    "Backtest",
    "BadCandle",
    "BknbError",
    "BrokerError",
    "Cancelled",
    "Candles",
    "Card",
    "Checkup",
    "Closed",
    "Constant",
    "DataError",
    "Downloaded",
    "GapError",
    "Heat",
    "Idle",
    "InvalidSignal",
    "InvalidTransition",
    "Live",
    "Milestone",
    "MissingDependency",
    "ModelError",
    "Moment",
    "NotEnoughData",
    "NotebookVerification",
    "Opened",
    "Optimizer",
    "Partial",
    "Performance",
    "PositionSize",
    "Rejected",
    "ReplyRefused",
    "Result",
    "Risk",
    "RiskRefused",
    "RiskRequest",
    "Schedule",
    "Scheduled",
    "Sessions",
    "Settings",
    "Shared",
    "Signal",
    "StateError",
    "StrategyError",
    "Sweep",
    "SweepResult",
    "Task",
    "UnknownName",
    "UsageError",
    "Verification",
    "Walker",
    "add_exchange",
    "add_frame",
    "add_optimizer",
    "add_risk",
    "add_sizing",
    "add_strategy",
    "add_walker",
    "ask_model",
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
    "get_sizing",
    "get_strategy",
    "get_symbol",
    "get_walker",
    "get_when",
    "heat_statistics",
    "list_exchanges",
    "list_frames",
    "list_optimizers",
    "list_risks",
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
    "open_holdout",
    "panels",
    "set_config",
    "set_logger",
    "set_store",
    "share",
    "sources",
    "statistics",
    "stores",
    "strategy",
    "sweep",
    "verify",
    "verify_notebook",
    "walk_forward",
    "walker",
]

# Where each public name lives; nothing of it is imported before it is asked for.
_NAMES: Final = {
    "provenance.card": "Card",
    "metrics.heat": "heat_statistics",
    "metrics.statistics": "statistics",
    "optimizer.registration": "add_optimizer get_optimizer list_optimizers",
    "runs.make_card": "Verification verify",
    "diagnostics.doctor": "Checkup doctor",
    "research.belief": "belief",
    "runs.walker": "Walker add_walker walker",
    "config": "Settings get_config set_config",
    "domain.risk": "RiskRequest",
    "domain.signal": "Active Cancelled Closed Idle Milestone Opened Rejected RiskRefused Scheduled Signal",
    "domain.sizing": "Constant",
    "engine.registration": "add_exchange add_frame add_risk add_strategy strategy",
    "engine.registry": (
        "get_exchange get_frame get_risk get_sizing get_strategy get_walker list_exchanges list_frames "
        "list_risks list_sizings list_strategies list_walkers"
    ),
    "errors": (
        "BadCandle BknbError BrokerError DataError GapError InvalidSignal InvalidTransition MissingDependency "
        "ModelError NotEnoughData ReplyRefused StateError StrategyError UnknownName UsageError"
    ),
    "jupyter.dashboard.dashboard": "dashboard",
    "runs.live": "Live",
    "exchanges.download": "Downloaded download",
    "llm.ask": "ask_model",
    "log": "set_logger",
    "runs.check_lookahead": "check_lookahead",
    "market.candles": "Candles content_hash",
    "runs.moment": "Asked Moment",
    "market.context": "format_price format_quantity get_average_price get_candles get_mode get_symbol get_when",
    "market.sessions": "Sessions",
    "runs.nested_loop": "enable_nested",
    "optimizer.optimizer": "Optimizer",
    "runs.reports": "Heat Performance Schedule",
    "runs.result": "Result",
    "runs.backtest": "Backtest backtest",
    "sharing.verify_notebook": "NotebookVerification verify_notebook",
    "sharing.share": "Shared share",
    "engine.sizing": "PositionSize add_sizing",
    "exchanges.audit": "Audit audit",
    "stores.choose": "set_store",
    "runs.sweep_result": "SweepResult",
    "runs.sweep": "Sweep sweep",
    "runs.tallies": "Partial Risk",
    "runs.task": "Task",
    "runs.walk_forward": "open_holdout walk_forward",
}
_HOME: Final = {
    **{name: module for module, names in _NAMES.items() for name in names.split()},
    **{name: "events.listen" for name in __all__ if name.startswith("listen_")},
}
_SUBMODULES: Final = ("brokers", "exchanges", "llm", "panels", "sources", "stores")


if not TYPE_CHECKING:  # a type checker must see a wrong name as wrong

    def __getattr__(name: str) -> Any:
        from importlib import import_module

        if name in _HOME:
            value = getattr(import_module(f".{_HOME[name]}", __name__), name)
            _offer_demo()
            globals()[name] = value  # the next access does not come here
            return value
        if name in _SUBMODULES:
            return import_module(f".{name}", __name__)
        raise AttributeError(f"module 'bknb' has no attribute {name!r}", name=name, obj=sys.modules[__name__])


def _offer_demo() -> None:
    """The exchange ``"demo"`` needs no registration; the engine does not know where it comes from."""
    engine = sys.modules.get(f"{__name__}.engine.registry")
    if engine is None or "demo" in engine.registry.exchanges.built_in:
        return

    def demo() -> Any:
        from .exchanges.factories import demo

        return engine.Exchange("demo", demo())

    engine.registry.exchanges.built_in["demo"] = demo


def __dir__() -> list[str]:
    return [*__all__, "__all__", "__doc__", "__version__", "load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(ipython: Any) -> None:
    """Add the magics to an IPython session; ``%load_ext bknb`` calls this."""
    from .jupyter.extension import load_ipython_extension as load

    load(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """Take the magics out of an IPython session; ``%unload_ext bknb`` calls this."""
    from .jupyter.extension import unload_ipython_extension as unload

    unload(ipython)
