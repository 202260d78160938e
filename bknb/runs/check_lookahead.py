"""The look-ahead check: asks a strategy again after future candles were changed, and compares its answers."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..domain.whole_number import whole_number
from ..engine.plan import ExchangeLike, FrameLike, StrategyLike, plan_backtest
from ..errors import UsageError
from ..provenance.strategy_hash import running
from ..research.calling_functions import calling_scopes
from ..research.check_threads import Check, belongs
from ..research.lookahead_report import LookaheadReport
from .lookahead_of_signals_manage_and_models import report_of

if TYPE_CHECKING:
    from ..config import Settings
    from ..domain.schedules import Schedule

_LOOK_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 10.0  # for the answer to the question at which the check was interrupted

T = TypeVar("T")


def check_lookahead(
    strategy: StrategyLike,
    symbol: str = "BTCUSDT",
    *,
    exchange: ExchangeLike,
    frame: FrameLike,
    interval: str | None = None,
    at: Schedule | str | None = None,
    base: str | None = None,
    moments: int = 40,
    seed: int = 0,
    settings: Settings | dict[str, Any] | None = None,
    allow_gaps: bool = False,
) -> LookaheadReport:
    """Look for data that a strategy uses and could not have had at that moment.

    The strategy is asked at moments of the frame, half of them with a signal, and asked again after the future was cut
    off and after it was changed: an answer that changes leaked. Data in its variables (tables, candles, arrays, lists,
    dictionaries, text), and what pandas, numpy, files, databases and sources hand out while it is asked, gets another
    future as well; statements of its module or notebook that made variables of such data are run again over it. It is
    also asked twice and backwards, with less history and with shifted clocks, and watched for files and the network: a
    clock that is read while no answer depends on it, as for a log, is a remark and no finding. Point-in-time series are
    cut off and changed with the candles, and functions of them asked as of each moment. Rows of a
    ``get_signals`` are compared with those computed from fewer candles. A strategy that manages its positions is asked
    about them in the same ways, at moments at which a run over the frame has something open or waiting. Models that it
    uses are fitted again in the same ways, at up to eight of their moments. Last, the
    accuracy of its entries is held against what simple rules on past prices reach on futures shuffled in blocks.
    Entries that are right more often are a suspicion (``.suspected``): a leak that nothing else could see, or a market
    predictable by something those rules do not know, such as the clock, another symbol, or a level. So is a column of a
    series, or of data with moments, that goes with later moves of the market.

    That nothing was found is no proof: the report says what was looked at and what it cannot see.

    Parameters
    ----------
    strategy
        A registered name, a function, or a strategy; ``get_signal`` or ``get_signals``.
    symbol, exchange, frame, interval, at, base, settings, allow_gaps
        As for ``bknb.backtest``.
    moments
        How many moments to look at closely.
    seed
        Of the choice of moments and of the changed prices.

    Returns
    -------
    LookaheadReport
        It shows itself; ``.ok`` (something was compared, and nothing found or suspected), ``.suspected``,
        ``.findings``, ``.looked_at``, ``.cannot_see``, ``.remarks``, ``.accuracy``, ``.raised`` (at how many of
        ``.asked`` moments it raised), ``.managed`` (at how many moments ``manage`` was looked at),
        ``.to_pandas()``, ``.report()``.

    Raises
    ------
    UsageError
        When ``moments`` is no whole number of at least 2, when the frame holds no moment to ask at, when a strategy
        that is being checked asks for it, or when a check that was interrupted before still waits for an answer.

    Notes
    -----
    The strategy is really called, some hundred times, in a thread of its own, and writes what it writes. ``lru_cache``
    of functions it calls are emptied, before and after. Statements that are run again cannot write files, start
    programs or threads, or reach the network. Of databases they read SQLite alone, through a connection that they name
    themselves and that was made with ``check_same_thread=False``. A compiled library that writes in a function whose
    name does not say so writes again.

    What is handed out with another future is for the threads of the check: that in which it asks, those the strategy
    starts, and those of a pool while they do its work. Other threads, such as those of live runs, read what there is;
    so do threads started before that take questions from a queue, which is said. The strategy's variables, though, hold
    other data while it is asked: one that shares tables or caches with a live strategy is checked in another process.
    One check runs at a time, others wait. An interrupted one ends after the question it is at.

    Examples
    --------
    >>> import bknb
    >>> def get_signal(ctx):
    ...     closes = ctx.candles("1h", 2).close
    ...     if closes[1] > closes[0]:
    ...         return bknb.Signal(position="long", price_take_profit=ctx.price * 1.02,
    ...                            price_stop_loss=ctx.price * 0.99, minute_estimated_time=240)
    >>> bknb.check_lookahead(get_signal, exchange="demo", frame="2024-01-01:2024-01-15", interval="1h").ok
    True
    """
    given = (symbol, strategy, exchange, frame, interval, None, settings)
    plan = plan_backtest(*given, at=at, allow_gaps=allow_gaps, base=base)
    hint = "it says how many moments to look at closely: leave it out for 40"
    moments = whole_number("moments", moments, least=2, hint=hint)
    if belongs():
        raise UsageError(
            f"a strategy must not check itself: {plan.strategy.name} was to be checked by a strategy that is being "
            "checked\ncall bknb.check_lookahead outside of strategies"
        )
    check = Check(calling_scopes(sys._getframe(1)))

    def work() -> LookaheadReport:
        with check.running():
            return report_of(plan, check, moments=moments, seed=seed)

    with running(plan.strategy):
        return _in_thread(work, check)


def _in_thread(work: Callable[[], T], check: Check) -> T:
    """Return what ``work`` returns, from another thread: a notebook's has a loop, and perhaps a tracer.

    When it is interrupted, the check ends after the question it is at, which is waited for.
    """
    results: list[T] = []
    failed: list[BaseException] = []
    done = threading.Event()  # joining a thread that was interrupted before takes it for ended (Python 3.11)

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 -- raised again below
            failed.append(error)
        finally:
            done.set()

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), name="bknb-lookahead", daemon=True)
    try:
        thread.start()
        while not done.wait(_LOOK_SECONDS):
            pass
    except BaseException:
        check.over = True
        if thread.ident is not None:
            done.wait(_PATIENCE_SECONDS)
        raise
    if failed:
        raise failed[0]
    return results[0]
