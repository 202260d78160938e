"""The public names of bknb, each with the module it lives in: the one list of them.

``bknb/__init__.py`` reads it at run time, type checkers read it as a stub, and a test pins its names.
"""

from . import at as at
from . import brokers as brokers
from . import exchanges as exchanges
from . import indicators as indicators
from . import llm as llm
from . import notify as notify
from . import panels as panels
from . import protections as protections
from . import size as size
from . import sources as sources
from . import stores as stores
from .config import (
    Settings as Settings,
)
from .config import (
    get_config as get_config,
)
from .config import (
    set_config as set_config,
)
from .diagnostics.doctor import (
    doctor as doctor,
)
from .diagnostics.findings import (
    Checkup as Checkup,
)
from .domain.closed_trade import (
    ClosedTrade as ClosedTrade,
)
from .domain.costs import CostRequest as CostRequest
from .domain.costs import Costs as Costs
from .domain.declared_exits import (
    Breakeven as Breakeven,
)
from .domain.declared_exits import (
    Trailing as Trailing,
)
from .domain.manage_answers import (
    Add as Add,
)
from .domain.manage_answers import (
    Cancel as Cancel,
)
from .domain.manage_answers import (
    Close as Close,
)
from .domain.manage_answers import (
    Move as Move,
)
from .domain.manage_answers import (
    Reduce as Reduce,
)
from .domain.percent_risk_and_kelly_sizes import Atr as Atr
from .domain.percent_risk_and_kelly_sizes import Fixed as Fixed
from .domain.percent_risk_and_kelly_sizes import Kelly as Kelly
from .domain.percent_risk_and_kelly_sizes import Percent as Percent
from .domain.percent_risk_and_kelly_sizes import RiskPercent as RiskPercent
from .domain.percent_risk_and_kelly_sizes import Units as Units
from .domain.position_seen_by_manage import (
    HeldPosition as HeldPosition,
)
from .domain.risk_request_and_verdict import (
    RiskRequest as RiskRequest,
)
from .domain.signal import Signal as Signal
from .domain.signal_events import Active as Active
from .domain.signal_events import AddCancelled as AddCancelled
from .domain.signal_events import Added as Added
from .domain.signal_events import Cancelled as Cancelled
from .domain.signal_events import Closed as Closed
from .domain.signal_events import Idle as Idle
from .domain.signal_events import Milestone as Milestone
from .domain.signal_events import Moved as Moved
from .domain.signal_events import Opened as Opened
from .domain.signal_events import Reduced as Reduced
from .domain.signal_events import Rejected as Rejected
from .domain.signal_events import RiskRefused as RiskRefused
from .domain.signal_events import Scaled as Scaled
from .domain.signal_events import Scheduled as Scheduled
from .domain.size_request import SizeRequest as SizeRequest
from .domain.sizing_formulas import (
    Constant as Constant,
)
from .domain.spot_margin_and_perpetual import Margin as Margin
from .domain.spot_margin_and_perpetual import Perpetual as Perpetual
from .domain.spot_margin_and_perpetual import Spot as Spot
from .domain.weight_with_levels import Weight as Weight
from .engine.add_and_list_series import (
    add_series as add_series,
)
from .engine.add_and_list_series import (
    list_series as list_series,
)
from .engine.add_get_and_list_exchanges_frames_and_risks import (
    add_exchange as add_exchange,
)
from .engine.add_get_and_list_exchanges_frames_and_risks import (
    add_frame as add_frame,
)
from .engine.add_get_and_list_exchanges_frames_and_risks import (
    add_risk as add_risk,
)
from .engine.add_get_and_list_exchanges_frames_and_risks import (
    get_exchange as get_exchange,
)
from .engine.add_get_and_list_exchanges_frames_and_risks import (
    get_frame as get_frame,
)
from .engine.add_get_and_list_exchanges_frames_and_risks import (
    get_risk as get_risk,
)
from .engine.add_get_and_list_exchanges_frames_and_risks import (
    list_exchanges as list_exchanges,
)
from .engine.add_get_and_list_exchanges_frames_and_risks import (
    list_frames as list_frames,
)
from .engine.add_get_and_list_exchanges_frames_and_risks import (
    list_risks as list_risks,
)
from .engine.add_get_and_list_sizings import (
    add_sizing as add_sizing,
)
from .engine.add_get_and_list_sizings import (
    get_sizing as get_sizing,
)
from .engine.add_get_and_list_sizings import (
    list_sizings as list_sizings,
)
from .engine.add_get_and_list_strategies import (
    add_strategy as add_strategy,
)
from .engine.add_get_and_list_strategies import (
    get_strategy as get_strategy,
)
from .engine.add_get_and_list_strategies import (
    list_strategies as list_strategies,
)
from .engine.add_get_and_list_strategies import (
    strategy as strategy,
)
from .engine.position_size import (
    PositionSize as PositionSize,
)
from .engine.weights_registration import (
    weights as weights,
)
from .errors import (
    BadCandle as BadCandle,
)
from .errors import (
    BknbError as BknbError,
)
from .errors import (
    BrokerError as BrokerError,
)
from .errors import (
    DataError as DataError,
)
from .errors import (
    Forgotten as Forgotten,
)
from .errors import (
    GapError as GapError,
)
from .errors import (
    InvalidSignal as InvalidSignal,
)
from .errors import (
    InvalidTransition as InvalidTransition,
)
from .errors import (
    LookaheadError as LookaheadError,
)
from .errors import (
    LookbackTooShort as LookbackTooShort,
)
from .errors import (
    MissingDependency as MissingDependency,
)
from .errors import (
    ModelError as ModelError,
)
from .errors import (
    ModelLate as ModelLate,
)
from .errors import (
    NotEnoughData as NotEnoughData,
)
from .errors import (
    ReplyRefused as ReplyRefused,
)
from .errors import (
    StateError as StateError,
)
from .errors import (
    StrategyError as StrategyError,
)
from .errors import (
    UnknownName as UnknownName,
)
from .errors import (
    UsageError as UsageError,
)
from .events.listen import (
    listen_done_backtest as listen_done_backtest,
)
from .events.listen import (
    listen_done_backtest_once as listen_done_backtest_once,
)
from .events.listen import (
    listen_done_live as listen_done_live,
)
from .events.listen import (
    listen_done_live_once as listen_done_live_once,
)
from .events.listen import (
    listen_done_walker as listen_done_walker,
)
from .events.listen import (
    listen_done_walker_once as listen_done_walker_once,
)
from .events.listen import (
    listen_error as listen_error,
)
from .events.listen import (
    listen_error_once as listen_error_once,
)
from .events.listen import (
    listen_exit as listen_exit,
)
from .events.listen import (
    listen_exit_once as listen_exit_once,
)
from .events.listen import (
    listen_partial_loss as listen_partial_loss,
)
from .events.listen import (
    listen_partial_loss_once as listen_partial_loss_once,
)
from .events.listen import (
    listen_partial_profit as listen_partial_profit,
)
from .events.listen import (
    listen_partial_profit_once as listen_partial_profit_once,
)
from .events.listen import (
    listen_performance as listen_performance,
)
from .events.listen import (
    listen_performance_once as listen_performance_once,
)
from .events.listen import (
    listen_position as listen_position,
)
from .events.listen import (
    listen_position_once as listen_position_once,
)
from .events.listen import (
    listen_progress_backtest as listen_progress_backtest,
)
from .events.listen import (
    listen_progress_backtest_once as listen_progress_backtest_once,
)
from .events.listen import (
    listen_progress_optimizer as listen_progress_optimizer,
)
from .events.listen import (
    listen_progress_optimizer_once as listen_progress_optimizer_once,
)
from .events.listen import (
    listen_progress_walker as listen_progress_walker,
)
from .events.listen import (
    listen_progress_walker_once as listen_progress_walker_once,
)
from .events.listen import (
    listen_resumed as listen_resumed,
)
from .events.listen import (
    listen_resumed_once as listen_resumed_once,
)
from .events.listen import (
    listen_risk as listen_risk,
)
from .events.listen import (
    listen_risk_once as listen_risk_once,
)
from .events.listen import (
    listen_scaled as listen_scaled,
)
from .events.listen import (
    listen_scaled_once as listen_scaled_once,
)
from .events.listen import (
    listen_signal as listen_signal,
)
from .events.listen import (
    listen_signal_backtest as listen_signal_backtest,
)
from .events.listen import (
    listen_signal_backtest_once as listen_signal_backtest_once,
)
from .events.listen import (
    listen_signal_live as listen_signal_live,
)
from .events.listen import (
    listen_signal_live_once as listen_signal_live_once,
)
from .events.listen import (
    listen_signal_once as listen_signal_once,
)
from .events.listen import (
    listen_validation as listen_validation,
)
from .events.listen import (
    listen_validation_once as listen_validation_once,
)
from .events.listen import (
    listen_walker as listen_walker,
)
from .events.listen import (
    listen_walker_complete as listen_walker_complete,
)
from .events.listen import (
    listen_walker_complete_once as listen_walker_complete_once,
)
from .events.listen import (
    listen_walker_once as listen_walker_once,
)
from .exchanges.audit import (
    Audit as Audit,
)
from .exchanges.audit import (
    audit as audit,
)
from .exchanges.download import (
    download as download,
)
from .exchanges.downloaded_candles import Downloaded as Downloaded
from .jupyter.dashboard.dashboard import (
    dashboard as dashboard,
)
from .llm.ask import (
    ask_model as ask_model,
)
from .log import (
    set_logger as set_logger,
)
from .market.candles import Candles as Candles
from .market.content_hash_of_candles import content_hash as content_hash
from .market.format_price_and_quantity import (
    format_price as format_price,
)
from .market.format_price_and_quantity import (
    format_quantity as format_quantity,
)
from .market.get_candles_series_and_average_price import (
    get_average_price as get_average_price,
)
from .market.get_candles_series_and_average_price import (
    get_candles as get_candles,
)
from .market.get_candles_series_and_average_price import (
    get_series as get_series,
)
from .market.get_when_symbol_base_and_mode import (
    get_mode as get_mode,
)
from .market.get_when_symbol_base_and_mode import (
    get_symbol as get_symbol,
)
from .market.get_when_symbol_base_and_mode import (
    get_when as get_when,
)
from .market.indicator import indicator as indicator
from .market.series_rows import (
    SeriesRows as SeriesRows,
)
from .market.sessions import (
    Sessions as Sessions,
)
from .metrics.heat_of_symbols import (
    heat_statistics as heat_statistics,
)
from .metrics.statistics import (
    statistics as statistics,
)
from .optimizer.add_get_and_list_optimizers import (
    add_optimizer as add_optimizer,
)
from .optimizer.add_get_and_list_optimizers import (
    get_optimizer as get_optimizer,
)
from .optimizer.add_get_and_list_optimizers import (
    list_optimizers as list_optimizers,
)
from .optimizer.optimizer import (
    Optimizer as Optimizer,
)
from .provenance.card import (
    Card as Card,
)
from .provenance.portfolio_card import (
    PortfolioCard as PortfolioCard,
)
from .research.belief import (
    belief as belief,
)
from .runs.add_get_and_list_walkers import (
    add_walker as add_walker,
)
from .runs.add_get_and_list_walkers import (
    get_walker as get_walker,
)
from .runs.add_get_and_list_walkers import (
    list_walkers as list_walkers,
)
from .runs.answer_at_moment import (
    Asked as Asked,
)
from .runs.backtest import (
    Backtest as Backtest,
)
from .runs.backtest import (
    backtest as backtest,
)
from .runs.check_lookahead import (
    check_lookahead as check_lookahead,
)
from .runs.heat_of_runs import (
    Heat as Heat,
)
from .runs.holdout import (
    open_holdout as open_holdout,
)
from .runs.interact import (
    interact as interact,
)
from .runs.live_runs import (
    Live as Live,
)
from .runs.luck import (
    luck as luck,
)
from .runs.model_registration import (
    model as model,
)
from .runs.moment import (
    Moment as Moment,
)
from .runs.nested_loop import (
    enable_nested as enable_nested,
)
from .runs.outcomes import (
    outcomes as outcomes,
)
from .runs.partial import (
    Partial as Partial,
)
from .runs.performance import (
    Performance as Performance,
)
from .runs.portfolio import (
    Portfolio as Portfolio,
)
from .runs.portfolio import (
    portfolio as portfolio,
)
from .runs.portfolio_result import (
    PortfolioResult as PortfolioResult,
)
from .runs.result import (
    Result as Result,
)
from .runs.risk import (
    Risk as Risk,
)
from .runs.schedule import (
    Schedule as Schedule,
)
from .runs.sweep import (
    Sweep as Sweep,
)
from .runs.sweep import (
    sweep as sweep,
)
from .runs.sweep_result import (
    SweepResult as SweepResult,
)
from .runs.task import (
    Task as Task,
)
from .runs.verify_card import (
    Verification as Verification,
)
from .runs.verify_card import (
    verify as verify,
)
from .runs.walk_forward import (
    walk_forward as walk_forward,
)
from .runs.walker import (
    Walker as Walker,
)
from .runs.walker import (
    walker as walker,
)
from .sharing.share import (
    Shared as Shared,
)
from .sharing.share import (
    share as share,
)
from .sharing.verify_notebook import (
    NotebookVerification as NotebookVerification,
)
from .sharing.verify_notebook import (
    verify_notebook as verify_notebook,
)
from .stores.default_store import (
    set_store as set_store,
)

__version__: str

def load_ipython_extension(ipython: object) -> None: ...
def unload_ipython_extension(ipython: object) -> None: ...
