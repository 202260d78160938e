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
    from .analysis.belief import belief
    from .analysis.card import Card
    from .analysis.heat import heat_statistics
    from .analysis.stats import statistics
    from .assignments import add_optimizer, get_optimizer, list_optimizers
    from .cards import Verification, verify
    from .checkup import Checkup, doctor
    from .comparing import Walker, add_walker, walker
    from .config import Settings, get_config, set_config
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
    from .engine.adding import add_exchange, add_frame, add_risk, add_strategy, strategy
    from .engine.events import (
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
    from .history import Downloaded, download
    from .jupyter.dashboard import dashboard
    from .live import Live
    from .llm import ask_model
    from .log import set_logger
    from .lookahead import check_lookahead
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
    from .moment import Asked, Moment
    from .nested import enable_nested
    from .optimizers import Optimizer
    from .reporting import Heat, Performance, Schedule
    from .result import Result
    from .runs import Backtest, backtest
    from .sharing.rerun import NotebookVerification, verify_notebook
    from .sharing.share import Shared, share
    from .sizing import PositionSize, add_sizing
    from .soundness import Audit, audit
    from .stores import set_store
    from .sweep_result import SweepResult
    from .sweeps import Sweep, sweep
    from .tallies import Partial, Risk
    from .tasks import Task
    from .validating import open_holdout, walk_forward

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
    "analysis.card": "Card",
    "analysis.heat": "heat_statistics",
    "analysis.stats": "statistics",
    "assignments": "add_optimizer get_optimizer list_optimizers",
    "cards": "Verification verify",
    "checkup": "Checkup doctor",
    "analysis.belief": "belief",
    "comparing": "Walker add_walker walker",
    "config": "Settings get_config set_config",
    "domain.risk": "RiskRequest",
    "domain.signal": "Active Cancelled Closed Idle Milestone Opened Rejected RiskRefused Scheduled Signal",
    "domain.sizing": "Constant",
    "engine.adding": "add_exchange add_frame add_risk add_strategy strategy",
    "engine.registry": (
        "get_exchange get_frame get_risk get_sizing get_strategy get_walker list_exchanges list_frames "
        "list_risks list_sizings list_strategies list_walkers"
    ),
    "errors": (
        "BadCandle BknbError BrokerError DataError GapError InvalidSignal InvalidTransition MissingDependency "
        "ModelError NotEnoughData ReplyRefused StateError StrategyError UnknownName UsageError"
    ),
    "jupyter.dashboard": "dashboard",
    "live": "Live",
    "history": "Downloaded download",
    "llm": "ask_model",
    "log": "set_logger",
    "lookahead": "check_lookahead",
    "market.candles": "Candles content_hash",
    "moment": "Asked Moment",
    "market.context": "format_price format_quantity get_average_price get_candles get_mode get_symbol get_when",
    "market.sessions": "Sessions",
    "nested": "enable_nested",
    "optimizers": "Optimizer",
    "reporting": "Heat Performance Schedule",
    "result": "Result",
    "runs": "Backtest backtest",
    "sharing.rerun": "NotebookVerification verify_notebook",
    "sharing.share": "Shared share",
    "sizing": "PositionSize add_sizing",
    "soundness": "Audit audit",
    "stores": "set_store",
    "sweep_result": "SweepResult",
    "sweeps": "Sweep sweep",
    "tallies": "Partial Risk",
    "tasks": "Task",
    "validating": "open_holdout walk_forward",
}
_HOME: Final = {
    **{name: module for module, names in _NAMES.items() for name in names.split()},
    **{name: "engine.events" for name in __all__ if name.startswith("listen_")},
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
        from .exchanges import demo

        return engine.Exchange("demo", demo())

    engine.registry.exchanges.built_in["demo"] = demo


def __dir__() -> list[str]:
    return [*__all__, "__all__", "__doc__", "__version__", "load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(ipython: Any) -> None:
    """Add the magics to an IPython session; ``%load_ext bknb`` calls this."""
    from .jupyter.magics import load_ipython_extension as load

    load(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """Take the magics out of an IPython session; ``%unload_ext bknb`` calls this."""
    from .jupyter.magics import unload_ipython_extension as unload

    unload(ipython)
